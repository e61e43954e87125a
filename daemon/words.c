#include "daemon/words.h"

#include <ctype.h>
#include <string.h>

enum { WORD_MAX = 32, DEVICE_NAME_MAX = 15, LABEL_SIZE = 64 };

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Levenshtein's distance, one row at a time. Words longer than WORD_MAX are far from everything. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[WORD_MAX + 1];
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > WORD_MAX || b_len > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned above = row[j];

            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}

const char *words_nearest(const char *const *words, size_t count, const char *typed)
{
    /* A third of the letters may be wrong; more is another word. */
    unsigned best = (unsigned)strlen(typed) / 3 + 2;
    const char *found = NULL;

    for (size_t i = 0; i < count; i++) {
        unsigned d = distance(words[i], typed);

        if (d < best) {
            best = d;
            found = words[i];
        }
    }
    return found;
}

bool device_name_valid(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > DEVICE_NAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (const char *p = name; *p; p++) {
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_' && *p != '.')
            return false;
    }
    return true;
}

void hostname_label(char out[64], const char *name)
{
    size_t len = 0;

    for (; *name && *name != '.' && len < LABEL_SIZE - 1; name++) {
        unsigned char c = (unsigned char)*name;

        if (isascii(c) && isalnum(c))
            out[len++] = (char)tolower(c);
        else if (len > 0 && out[len - 1] != '-')
            out[len++] = '-';
    }
    while (len > 0 && out[len - 1] == '-')
        len--;
    out[len] = '\0';
    if (len == 0)
        strcpy(out, "node");
}
