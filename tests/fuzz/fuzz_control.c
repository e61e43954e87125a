// link: peal_words
/* Requests of the control socket: one object with a command, or a reason. */
#include "daemon/protocol.h"
#include "overlay/core/err.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char *command, *why;
    json_t *request = protocol_parse_request((const char *)data, len, &command, &why);

    if (request)
        CHECK(strlen(command) <= len && why[0] == '\0');
    else
        CHECK(why[0] != '\0');
    json_decref(request);
    return 0;
}
