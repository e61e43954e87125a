#include "tests/sim/record.h"

#include <stdlib.h>

#include "overlay/core/err.h"

static void sample(struct recorder *r, const struct world *w)
{
    if (r->count == r->size) {
        r->size = r->size > 0 ? 2 * r->size : 256;
        r->v = realloc(r->v, r->size * sizeof(*r->v));
        CHECK(r->v != NULL);
    }
    r->v[r->count++] = (struct record_sample){.at_us = w->now_us,
                                              .on = (uint32_t)w->on,
                                              .members = (uint32_t)w->ring.count,
                                              .closed = (uint32_t)w->ring.closed};
}

static void record_happens(struct world *w, struct event *e)
{
    struct recorder *r = CONTAINER_OF(e, struct recorder, event);

    sample(r, w);
    if (r->count < RECORD_SAMPLES_MAX)
        agenda_set(&w->agenda, e, w->now_us + RECORD_EVERY_US);
}

void recorder_start(struct recorder *r, struct world *w)
{
    *r = (struct recorder){.event = {.happen = record_happens}};
    agenda_set(&w->agenda, &r->event, w->now_us);
}

void recorder_clear(struct recorder *r)
{
    free(r->v);
    *r = (struct recorder){.count = 0};
}
