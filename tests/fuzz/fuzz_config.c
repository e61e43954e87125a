// link: peal_settings
/* peald.conf: any text is read within its limits, or refused with its file and line. */
#include "daemon/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char why[CONFIG_WHY_SIZE];
    struct config c;
    char *text = malloc(len + 1);
    int rc;

    memcpy(text, data, len);
    text[len] = '\0';
    config_init(&c);
    rc = config_parse(&c, text, "f", why);
    CHECK(rc == 0 || (rc == -ERR_FORMAT && strncmp(why, "f:", 2) == 0));
    CHECK(rc != 0 || (c.workers <= CONFIG_WORKERS_MAX && c.networks_count <= CONFIG_NETWORKS_MAX));
    config_clear(&c);
    free(text);
    return 0;
}
