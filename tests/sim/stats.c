#include "tests/sim/stats.h"

#include <math.h>
#include <stdlib.h>

#include "overlay/core/err.h"

void stats_add(struct stats *s, double value)
{
    if (s->count == s->size) {
        s->size = s->size > 0 ? 2 * s->size : 256;
        s->v = realloc(s->v, s->size * sizeof(*s->v));
        CHECK(s->v != NULL);
    }
    s->v[s->count++] = value;
    s->sorted = false;
}

void stats_clear(struct stats *s)
{
    free(s->v);
    *s = (struct stats){0};
}

double stats_mean(const struct stats *s)
{
    double sum = 0;

    for (size_t i = 0; i < s->count; i++)
        sum += s->v[i];
    return s->count > 0 ? sum / (double)s->count : 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

double stats_within(const struct stats *s, double value)
{
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++)
        n += s->v[i] <= value;
    return s->count > 0 ? (double)n / (double)s->count : 0;
}

double stats_quantile(struct stats *s, double share)
{
    size_t rank;

    if (s->count == 0)
        return 0;
    if (!s->sorted)
        qsort(s->v, s->count, sizeof(*s->v), ascending);
    s->sorted = true;
    rank = (size_t)ceil(share * (double)s->count);
    return s->v[rank > 0 ? rank - 1 : 0];
}
