#include "ca-web/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/crypto/secret.h"

/* realloc would leave the old bytes behind. */
static bool text_reserve(struct text *t, size_t more)
{
    char *p = NULL;
    size_t size = t->size ? t->size : 256;

    if (t->failed || more > TEXT_MAX - t->len - 1)
        return false;
    while (size < t->len + more + 1)
        size *= 2;
    if (size == t->size)
        return true;
    p = malloc(size);
    if (!p)
        return false;
    if (t->p) {
        memcpy(p, t->p, t->len + 1);
        wipe(t->p, t->size);
        free(t->p);
    }
    t->p = p;
    t->size = size;
    return true;
}

void text_add(struct text *t, const void *bytes, size_t len)
{
    if (!text_reserve(t, len)) {
        t->failed = true;
        return;
    }
    if (len)
        memcpy(t->p + t->len, bytes, len);
    t->len += len;
    t->p[t->len] = '\0';
}

void text_str(struct text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
    char line[1024];
    va_list args;

    va_start(args, fmt);
    int len = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof line) {
        t->failed = true;
        return;
    }
    text_add(t, line, (size_t)len);
}

void text_clear(struct text *t)
{
    if (t->p)
        wipe(t->p, t->size);
    free(t->p);
    *t = (struct text){0};
}
