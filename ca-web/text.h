/*
 * text.h - a growing string: what blobs, JSON answers and pages are written into.
 *
 * The first failure (no memory, or more than TEXT_MAX) sticks, so a writer asks once at the end.
 * Freed bytes are wiped: a blob passes through here with its secret and the group's key.
 */
#ifndef PEAL_CA_TEXT_H
#define PEAL_CA_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum { TEXT_MAX = 8 << 20 }; /* a CRL of CRL_ENTRIES_MAX entries fits */

struct text {
    char *p; /* NUL-terminated once anything was added; NULL before */
    size_t len, size;
    bool failed;
};

void text_add(struct text *t, const void *bytes, size_t len);
void text_str(struct text *t, const char *s);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_clear(struct text *t); /* wipes and frees; the text is empty and usable again */

#endif
