#include "daemon/protocol.h"

#include <string.h>

static const struct {
    const char *code;
    int exit;
} errors[PROTOCOL_ERROR_COUNT] = {
    [PROTOCOL_FAILED] = {"failed", 1},
    [PROTOCOL_USAGE] = {"usage", 2},
    [PROTOCOL_UNREACHABLE] = {"daemon_unreachable", 3},
    [PROTOCOL_NOT_PERMITTED] = {"not_permitted", 4},
    [PROTOCOL_NOT_JOINED] = {"not_joined", 5},
    [PROTOCOL_REFUSED] = {"refused", 5},
    [PROTOCOL_TIMEOUT] = {"timeout", 6},
    [PROTOCOL_BAD_BLOB] = {"bad_blob", 1},
    [PROTOCOL_WRONG_PIN] = {"wrong_pin", 1},
    [PROTOCOL_NO_SERVICE] = {"service_unreachable", 1},
    [PROTOCOL_NOT_FOUND] = {"not_found", 5},
};

const char *protocol_error_code(enum protocol_error e)
{
    return errors[e].code;
}

int protocol_error_exit(const char *code)
{
    for (size_t i = 0; i < PROTOCOL_ERROR_COUNT; i++) {
        if (strcmp(errors[i].code, code) == 0)
            return errors[i].exit;
    }
    return 1;
}

char *protocol_clean(char *text)
{
    for (char *p = text; *p; p++) {
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    }
    return text;
}

json_t *protocol_parse_request(const char *line, size_t len, const char **command, const char **why)
{
    json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

    *command = json_string_value(json_object_get(request, "command"));
    *why = "";
    if (!request)
        *why = "the request is not one JSON object on a line";
    else if (!*command)
        *why = "the request names no command";
    if (**why == '\0')
        return request;
    json_decref(request);
    return NULL;
}
