#include "overlay/core/heap.h"

#include "overlay/core/err.h"

#include <stdlib.h>

enum { HEAP_SIZE_MIN = 16 };

void heap_init(struct heap *h)
{
    *h = (struct heap){.first_us = USEC_NEVER};
}

void heap_clear(struct heap *h)
{
    for (size_t i = 0; i < h->count; i++) {
        h->v[i]->pos = 0;
        h->v[i]->at_us = USEC_NEVER;
    }
    free(h->v);
    heap_init(h);
}

static bool before(const struct timer *a, const struct timer *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void place(struct heap *h, size_t i, struct timer *t)
{
    h->v[i] = t;
    t->pos = i + 1;
    if (i == 0)
        h->first_us = t->at_us;
}

static void sift_up(struct heap *h, size_t i, struct timer *t)
{
    while (i > 0 && before(t, h->v[(i - 1) / 2])) {
        place(h, i, h->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, t);
}

static void sift_down(struct heap *h, size_t i, struct timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < h->count && before(h->v[child + 1], h->v[child]))
            child++;
        if (child >= h->count || before(t, h->v[child]))
            break;
        place(h, i, h->v[child]);
        i = child;
    }
    place(h, i, t);
}

/* Puts t, whose time may have changed, where it belongs around slot i. */
static void settle(struct heap *h, size_t i, struct timer *t)
{
    if (i > 0 && before(t, h->v[(i - 1) / 2]))
        sift_up(h, i, t);
    else
        sift_down(h, i, t);
}

/* When two thirds of the array are empty. */
static void give_room_back(struct heap *h)
{
    struct timer **v;

    if (h->size <= HEAP_SIZE_MIN || 3 * h->count > h->size)
        return;
    v = realloc(h->v, h->size / 2 * sizeof(struct timer *));
    if (v == NULL)
        return;
    h->v = v;
    h->size /= 2;
}

static void take_out(struct heap *h, struct timer *t)
{
    size_t i = t->pos - 1;
    struct timer *last = h->v[--h->count];

    t->pos = 0;
    if (last != t)
        settle(h, i, last);
    else if (h->count == 0)
        h->first_us = USEC_NEVER;
    give_room_back(h);
}

static void make_room(struct heap *h)
{
    size_t size = h->size > 0 ? 2 * h->size : HEAP_SIZE_MIN;
    struct timer **v;

    CHECK(h->count < HEAP_TIMERS_MAX);
    if (h->count < h->size)
        return;
    v = realloc(h->v, size * sizeof(struct timer *));
    CHECK(v != NULL);
    h->v = v;
    h->size = size;
}

void heap_set(struct heap *h, struct timer *t, usec at_us)
{
    CHECK(t->pos <= h->count && (t->pos == 0 || h->v[t->pos - 1] == t));
    t->at_us = at_us;
    if (at_us == USEC_NEVER) {
        if (t->pos != 0)
            take_out(h, t);
        return;
    }
    t->seq = h->seq++;
    if (t->pos != 0) {
        settle(h, t->pos - 1, t);
        return;
    }
    make_room(h);
    sift_up(h, h->count++, t);
}

struct timer *heap_pop(struct heap *h, usec now_us)
{
    struct timer *t;

    if (h->count == 0 || h->first_us > now_us)
        return NULL;
    t = h->v[0];
    take_out(h, t);
    t->at_us = USEC_NEVER;
    return t;
}

usec heap_deadline(const struct heap *h)
{
    return h->first_us;
}
