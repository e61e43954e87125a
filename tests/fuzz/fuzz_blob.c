// link: peal_settings
/* Blobs: whatever is accepted can be kept, and what was kept is accepted again as the same. */
#include "daemon/blob.h"

#include <stdlib.h>
#include <string.h>

static void keep_and_read(const struct blob *b)
{
    json_t *o = blob_json(b);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    char why[BLOB_WHY_SIZE];
    struct blob *again;

    CHECK(text != NULL);
    again = blob_parse(text, strlen(text), why);
    CHECK(again != NULL);
    CHECK(id_eq(&again->group_id, &b->group_id) && again->secret[0] == '\0');
    CHECK(again->bootstrap.count == b->bootstrap.count && again->psk == b->psk);
    blob_free(again);
    free(text);
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char why[BLOB_WHY_SIZE];
    struct blob *b = blob_parse((const char *)data, len, why);

    if (b)
        keep_and_read(b);
    else
        CHECK(why[0] != '\0' && memchr(why, '\0', sizeof why));
    blob_free(b);
    return 0;
}
