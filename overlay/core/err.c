#include "overlay/core/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *err_text(int err)
{
    switch (err < 0 ? -err : err) {
    case 0:
        return "no error";
    case ERR_FORMAT:
        return "malformed";
    case ERR_CRYPTO:
        return "does not authenticate";
    case ERR_FULL:
        return "table is full";
    case ERR_NOT_FOUND:
        return "not found";
    case ERR_BAD_STATE:
        return "not possible in this state";
    case ERR_NOMEM:
        return "out of memory";
    case ERR_RANGE:
        return "out of range";
    }
    return "unknown error";
}

_Noreturn void check_failed(const char *what, const char *file, int line)
{
    char text[256];
    int len = snprintf(text, sizeof text, "%s:%d: CHECK(%s) failed\n", file, line, what);

    if (len >= (int)sizeof text)
        len = sizeof text - 1;
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        abort(); /* nobody reads fd 2; the core dump says the rest */
    abort();
}
