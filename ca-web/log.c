#include "ca-web/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum log_priority least_urgent = LOG_INFO;

void log_limit(enum log_priority least)
{
    least_urgent = least;
}

void log_line(enum log_priority priority, const char *fmt, ...)
{
    char line[512], out[600];
    va_list args;

    if (priority > least_urgent)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    for (char *p = line; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    int len = getenv("JOURNAL_STREAM") ? snprintf(out, sizeof out, "<%d>%s\n", priority, line)
                                       : snprintf(out, sizeof out, "peal-ca: %s\n", line);
    /* One write per line, so that threads do not mix; there is nobody to tell when stderr is gone.
     */
    if (write(STDERR_FILENO, out, (size_t)len) < 0)
        return;
}
