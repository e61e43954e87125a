#include "daemon/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOG_TEXT_MAX = 1024 };

static enum log_level level_now = LOG_LEVEL_INFO;
static bool journal;

/* systemd.exec(5): JOURNAL_STREAM is "device:inode" of the journal's socket; a redirected stderr
 * still inherits the variable, so it counts only when it names our stderr. */
static bool stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    return text && sscanf(text, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == (dev_t)dev && st.st_ino == (ino_t)ino;
}

void log_start(void)
{
    journal = stderr_is_journal();
}

void log_set_level(enum log_level level)
{
    level_now = level;
}

enum log_level log_get_level(void)
{
    return level_now;
}

static const char *level_text(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARN:
        return "warn ";
    case LOG_LEVEL_INFO:
        return "info ";
    case LOG_LEVEL_DEBUG:
        return "debug";
    }
    return "?";
}

/* syslog(3) numbers: err 3, warning 4, info 6, debug 7. */
static int level_priority(enum log_level level)
{
    static const int priority[] = {3, 4, 6, 7};

    return priority[level];
}

static void clean(char *text)
{
    for (; *text; text++) {
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
    }
}

void log_write(enum log_level level, const char *group, const char *fmt, ...)
{
    char text[LOG_TEXT_MAX];
    struct timespec now;
    struct tm tm;
    va_list ap;

    if (level > level_now)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    clean(text);
    if (journal) {
        fprintf(stderr, "<%d>%s%s%s\n", level_priority(level), group ? group : "",
                group ? ": " : "", text);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    fprintf(stderr, "%02d:%02d:%02d.%03ld %s %s%s%s\n", tm.tm_hour, tm.tm_min, tm.tm_sec,
            now.tv_nsec / 1000000, level_text(level), group ? group : "", group ? ": " : "", text);
}
