#include "ca-web/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static enum log_priority least_urgent = LOG_INFO;
static bool as_json;

void log_limit(enum log_priority least)
{
    least_urgent = least;
}

void log_json(void)
{
    as_json = true;
}

/* Printable ASCII, and in JSON without what would need an escape there. */
static void clean(char *line)
{
    for (char *p = line; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
        else if (as_json && (*p == '"' || *p == '\\'))
            *p = '\'';
}

static const char *level(enum log_priority priority)
{
    switch (priority) {
    case LOG_ERROR:
        return "error";
    case LOG_WARNING:
        return "warning";
    case LOG_NOTICE:
        return "notice";
    case LOG_INFO:
        break;
    }
    return "info";
}

/* message is clean; more: further members of the object, each with a comma before it, or "". */
static void put(enum log_priority priority, const char *message, const char *more)
{
    char out[1400], at[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    int len;

    if (as_json && gmtime_r(&now, &tm))
        strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (as_json)
        len = snprintf(out, sizeof out, "{\"at\":\"%s\",\"level\":\"%s\",\"message\":\"%s\"%s}\n",
                       at, level(priority), message, more);
    else if (getenv("JOURNAL_STREAM"))
        len = snprintf(out, sizeof out, "<%d>%s\n", priority, message);
    else
        len = snprintf(out, sizeof out, "peal-ca: %s\n", message);
    /* One write per line, so that threads do not mix; there is nobody to tell when stderr is gone.
     */
    if (len < 0 || write(STDERR_FILENO, out, (size_t)len) < 0)
        return;
}

void log_line(enum log_priority priority, const char *fmt, ...)
{
    char line[512];
    va_list args;

    if (priority > least_urgent)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    clean(line);
    put(priority, line, "");
}

/* Routes, addresses and names have no quotes: they are patterns of ours, numbers and labels. */
void log_request(enum log_priority priority, const struct log_request *r)
{
    char line[256], more[512] = "";

    if (priority > least_urgent)
        return;
    snprintf(line, sizeof line, "%s %s %d %s", r->method, r->route, r->status, r->address);
    clean(line);
    if (as_json)
        snprintf(more, sizeof more,
                 ",\"method\":\"%s\",\"route\":\"%s\",\"status\":%d,\"address\":\"%s\","
                 "\"user\":\"%s\",\"ms\":%ld",
                 r->method, r->route, r->status, r->address, r->user, r->ms);
    put(priority, line, more);
}
