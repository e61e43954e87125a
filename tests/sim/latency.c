#include "tests/sim/latency.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "overlay/core/err.h"

enum {
    LINE_MAX_BYTES = LATENCY_ROWS_MAX * 12,
    RACK_US = 150,      /* one way, between hosts that share a row */
    RTT_MAX_MS = 60000, /* a value above it is an error in the file */
};

struct line {
    char text[LINE_MAX_BYTES];
    uint32_t half_us[LATENCY_ROWS_MAX];
    uint32_t count;
};

static const char *parse(struct line *line)
{
    char *p = line->text, *end;

    for (line->count = 0;; p = end) {
        double rtt_ms = strtod(p, &end);

        if (end == p)
            return p[strspn(p, " \t\r\n")] == '\0' ? NULL : "not a number";
        if (!(rtt_ms >= 0 && rtt_ms <= RTT_MAX_MS))
            return "a round trip below 0 or above 60000 ms";
        if (line->count == LATENCY_ROWS_MAX)
            return "more than 4096 numbers in a line";
        line->half_us[line->count++] = (uint32_t)lround(rtt_ms * 500);
    }
}

static const char *add_row(struct latency *l, uint32_t row, const struct line *line)
{
    if (row == 0) {
        l->rows = line->count;
        l->half_us = calloc((size_t)l->rows * l->rows + 1, sizeof(*l->half_us));
        if (l->half_us == NULL)
            return "out of memory";
    }
    if (line->count != l->rows)
        return "another number of values than in the first line";
    if (row >= l->rows)
        return "more lines than values in the first line";
    memcpy(l->half_us + (size_t)row * l->rows, line->half_us, l->rows * sizeof(*l->half_us));
    return NULL;
}

/* *number: of the line that was read last. */
static const char *read_rows(struct latency *l, gzFile file, struct line *line, unsigned *number)
{
    const char *why = NULL;
    int error;

    while (why == NULL && gzgets(file, line->text, LINE_MAX_BYTES) != NULL) {
        ++*number;
        why = parse(line);
        if (why == NULL)
            why = add_row(l, *number - 1, line);
    }
    (void)gzerror(file, &error);
    if (error == Z_BUF_ERROR || error == Z_DATA_ERROR)
        return "damaged, or cut short";
    if (why == NULL && (*number == 0 || *number < l->rows))
        why = *number == 0 ? "empty, or not readable" : "fewer lines than values in the first line";
    return why;
}

bool latency_read(struct latency *l, const char *path, const char **why, unsigned *line)
{
    gzFile file = gzopen(path, "rb");
    struct line *text = malloc(sizeof(*text));

    *l = (struct latency){0};
    *line = 0;
    *why = file == NULL ? "cannot be opened" : text == NULL ? "out of memory" : NULL;
    if (*why == NULL)
        *why = read_rows(l, file, text, line);
    if (file != NULL)
        gzclose(file);
    free(text);
    if (*why != NULL)
        latency_clear(l);
    return *why == NULL;
}

void latency_clear(struct latency *l)
{
    free(l->half_us);
    *l = (struct latency){0};
}

usec latency_one_way(const struct latency *l, uint32_t from, uint32_t to)
{
    return from == to ? RACK_US : l->half_us[(size_t)from * l->rows + to];
}
