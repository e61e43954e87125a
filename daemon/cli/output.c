#include "daemon/cli/cli.h"

#include "overlay/core/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *text_of(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : otherwise;
}

char *span_text(double seconds, char out[32])
{
    long s = (long)seconds;

    if (s < 60)
        snprintf(out, 32, "%ld s", s);
    else if (s < 3600)
        snprintf(out, 32, "%ld min", s / 60);
    else if (s < 86400)
        snprintf(out, 32, "%ld h %ld min", s / 3600, s / 60 % 60);
    else
        snprintf(out, 32, "%ld d %ld h", s / 86400, s / 3600 % 24);
    return out;
}

char *bytes_text(json_int_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t u = 0;

    while (v >= 1000 && u + 1 < ARRAY_LEN(units)) {
        v /= 1000;
        u++;
    }
    snprintf(out, 32, u == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

char *ms_text(const json_t *ms, char out[32])
{
    double v = json_number_value(ms);

    if (!json_is_number(ms))
        strcpy(out, "-");
    else
        snprintf(out, 32, v < 10 ? "%.2f ms" : "%.1f ms", v);
    return out;
}

char *list_text(const json_t *array, char *out, size_t size)
{
    size_t len = 0, i;
    const json_t *v;

    snprintf(out, size, "-");
    json_array_foreach(array, i, v)
    {
        int n = snprintf(out + len, size - len, "%s%s", len ? ", " : "",
                         json_string_value(v) ? json_string_value(v) : "?");

        if (n < 0 || (size_t)n >= size - len)
            break;
        len += (size_t)n;
    }
    return out;
}

char *short_id(const json_t *id, char out[9])
{
    snprintf(out, 9, "%s", json_string_value(id) ? json_string_value(id) : "-");
    return out;
}

const char *name_of(const json_t *object, const char *hostname_key, const char *id_key, char id[9])
{
    return text_of(object, hostname_key, short_id(json_object_get(object, id_key), id));
}

char *age_text(const json_t *seconds, char out[32])
{
    if (json_is_number(seconds))
        return span_text(json_number_value(seconds), out);
    strcpy(out, "-");
    return out;
}

/* --- Columns --- */

struct table {
    size_t columns, count, size; /* cells, headings included */
    char **cells;
};

struct table *table_new(const char *const *headings, size_t columns)
{
    struct table *t = calloc(1, sizeof *t);

    CHECK(t != NULL);
    t->columns = columns;
    for (size_t i = 0; i < columns; i++)
        table_cell(t, headings[i]);
    return t;
}

void table_cell(struct table *t, const char *text)
{
    if (t->count == t->size) {
        t->size = t->size ? t->size * 2 : 64;
        t->cells = realloc(t->cells, t->size * sizeof *t->cells);
        CHECK(t->cells != NULL);
    }
    t->cells[t->count] = strdup(text);
    CHECK(t->cells[t->count] != NULL);
    protocol_clean(t->cells[t->count++]);
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t width = 0;

    for (size_t i = column; i < t->count; i += t->columns) {
        if (strlen(t->cells[i]) > width)
            width = strlen(t->cells[i]);
    }
    return width;
}

void table_print(struct table *t)
{
    size_t *widths = calloc(t->columns, sizeof *widths);

    CHECK(widths != NULL);
    for (size_t i = 0; i < t->columns; i++)
        widths[i] = column_width(t, i);
    for (size_t i = 0; i < t->count; i++) {
        bool last = i % t->columns == t->columns - 1;

        if (last)
            printf("%s\n", t->cells[i]);
        else
            printf("%-*s  ", (int)widths[i % t->columns], t->cells[i]);
        free(t->cells[i]);
    }
    free(widths);
    free(t->cells);
    free(t);
}
