#include "overlay/core/env.h"

#include "overlay/core/err.h"

#include <stdarg.h>
#include <stdio.h>

enum { LOG_LINE_MAX = 512 };

void env_random(const struct env *env, void *buf, size_t len)
{
    env->random(env->host, buf, len);
}

uint32_t env_random_u32(const struct env *env)
{
    uint32_t v;

    env_random(env, &v, sizeof v);
    return v;
}

uint64_t env_random_below(const struct env *env, uint64_t below)
{
    uint64_t v, unbiased;

    CHECK(below > 0);
    /* The largest multiple of `below` that fits; draws at or above it would favour small results.
     */
    unbiased = UINT64_MAX - UINT64_MAX % below;
    do {
        env_random(env, &v, sizeof v);
    } while (v >= unbiased);
    return v % below;
}

usec env_jitter(const struct env *env, usec mean, unsigned percent)
{
    usec span;

    CHECK(percent <= 100);
    span = mean / 100 * percent + mean % 100 * percent / 100;
    CHECK(span < UINT64_MAX / 2 && mean <= UINT64_MAX - span);
    return mean - span + env_random_below(env, 2 * span + 1);
}

static void make_printable(char *line)
{
    for (; *line != '\0'; line++)
        if (*line < 0x20 || *line > 0x7e)
            *line = '?';
}

void env_log(const struct env *env, enum log_level level, const char *fmt, ...)
{
    char line[LOG_LINE_MAX + 1];
    va_list args;

    if (level > env->level || env->log == NULL)
        return;
    va_start(args, fmt);
    if (vsnprintf(line, sizeof line, fmt, args) < 0)
        line[0] = '\0';
    va_end(args);
    make_printable(line);
    env->log(env->host, level, line);
}
