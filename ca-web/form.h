/*
 * form.h - fields of an application/x-www-form-urlencoded body or of a query string.
 *
 * Strict: a broken %-escape, a NUL, a control character other than tab and line feed, or more than
 * FORM_FIELDS_MAX fields refuse the whole form. Carriage returns are dropped. Of a field given
 * twice the first counts.
 */
#ifndef PEAL_CA_FORM_H
#define PEAL_CA_FORM_H

#include <stdbool.h>
#include <stddef.h>

enum { FORM_FIELDS_MAX = 32 };

struct form {
    struct {
        const char *name, *value;
    } v[FORM_FIELDS_MAX];
    size_t count;
    char *bytes; /* what the fields point into */
    size_t size;
};

bool form_read(struct form *f, const char *bytes, size_t len);
const char *form_value(const struct form *f, const char *name); /* "" when it is not there */
void form_clear(struct form *f);                                /* wipes: passwords pass through */

#endif
