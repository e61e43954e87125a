#include "ca-web/form.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/crypto/secret.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool character_allowed(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t' || c == '\n';
}

/* Decodes in place and ends the string; false when malformed. */
static bool decode(char *text)
{
    char *out = text;

    for (char *p = text; *p; p++) {
        char c = *p == '+' ? ' ' : *p;
        if (*p == '%') {
            int high = hex_digit(p[1]);
            int low = high < 0 ? -1 : hex_digit(p[2]);
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            p += 2;
        }
        if (c == '\r')
            continue; /* a browser ends lines with CR LF */
        if (!character_allowed((unsigned char)c))
            return false;
        *out++ = c;
    }
    *out = '\0';
    return true;
}

static bool field_add(struct form *f, char *field)
{
    char *equals = strchr(field, '=');

    if (f->count == FORM_FIELDS_MAX)
        return false;
    if (equals)
        *equals = '\0';
    char *value = equals ? equals + 1 : field + strlen(field);
    f->v[f->count].name = field;
    f->v[f->count++].value = value;
    return decode(field) && (!equals || decode(value));
}

bool form_read(struct form *f, const char *bytes, size_t len)
{
    *f = (struct form){0};
    if (len && memchr(bytes, '\0', len))
        return false;
    f->bytes = malloc(len + 1);
    if (!f->bytes)
        return false;
    f->size = len + 1;
    if (len)
        memcpy(f->bytes, bytes, len);
    f->bytes[len] = '\0';
    for (char *field = f->bytes; field;) {
        char *next = strchr(field, '&');
        if (next)
            *next++ = '\0';
        if (*field && !field_add(f, field)) {
            form_clear(f);
            return false;
        }
        field = next;
    }
    return true;
}

const char *form_value(const struct form *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (!strcmp(f->v[i].name, name))
            return f->v[i].value;
    return "";
}

void form_clear(struct form *f)
{
    if (f->bytes)
        wipe(f->bytes, f->size);
    free(f->bytes);
    *f = (struct form){0};
}
