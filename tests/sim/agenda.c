#include "tests/sim/agenda.h"

#include <stdlib.h>

#include "overlay/core/err.h"

enum { AGENDA_ARITY = 4 }; /* flatter than binary: fewer cache lines for a pop */

static bool before(const struct agenda_entry *a, const struct agenda_entry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void put(struct agenda *q, size_t i, struct agenda_entry entry)
{
    q->v[i] = entry;
    if (entry.handle != 0)
        q->positions[entry.handle - 1] = (uint32_t)i;
}

static void sift_up(struct agenda *q, size_t i, struct agenda_entry entry)
{
    while (i > 0) {
        size_t parent = (i - 1) / AGENDA_ARITY;

        if (!before(&entry, &q->v[parent]))
            break;
        put(q, i, q->v[parent]);
        i = parent;
    }
    put(q, i, entry);
}

static size_t least_child(const struct agenda *q, size_t i)
{
    size_t first = i * AGENDA_ARITY + 1, least = first;

    for (size_t c = first + 1; c < first + AGENDA_ARITY && c < q->count; c++)
        if (before(&q->v[c], &q->v[least]))
            least = c;
    return least;
}

static void sift_down(struct agenda *q, size_t i, struct agenda_entry entry)
{
    while (i * AGENDA_ARITY + 1 < q->count) {
        size_t child = least_child(q, i);

        if (!before(&q->v[child], &entry))
            break;
        put(q, i, q->v[child]);
        i = child;
    }
    put(q, i, entry);
}

static void place(struct agenda *q, size_t i, struct agenda_entry entry)
{
    if (i > 0 && before(&entry, &q->v[(i - 1) / AGENDA_ARITY]))
        sift_up(q, i, entry);
    else
        sift_down(q, i, entry);
}

/* ---- handles ---- */

static uint32_t handle_take(struct agenda *q)
{
    uint32_t handle = q->position_free;

    if (handle != 0) {
        q->position_free = q->positions[handle - 1];
        return handle;
    }
    if (q->position_count == q->position_size) {
        q->position_size = q->position_size > 0 ? 2 * q->position_size : 1024;
        q->positions = realloc(q->positions, q->position_size * sizeof(*q->positions));
        CHECK(q->positions != NULL);
    }
    CHECK(q->position_count < AGENDA_MOVABLE_MAX);
    return ++q->position_count;
}

static void handle_drop(struct agenda *q, uint32_t handle)
{
    q->positions[handle - 1] = q->position_free;
    q->position_free = handle;
}

/* ---- in and out ---- */

static void take_out(struct agenda *q, size_t i)
{
    struct event *e = q->v[i].event;

    if (e->handle != 0)
        handle_drop(q, e->handle);
    e->handle = 0;
    e->at_us = USEC_NEVER;
    q->count--;
    if (i < q->count)
        place(q, i, q->v[q->count]);
}

static void make_room(struct agenda *q)
{
    if (q->count < q->size)
        return;
    q->size = q->size > 0 ? 2 * q->size : 1024;
    q->v = realloc(q->v, q->size * sizeof(*q->v));
    CHECK(q->v != NULL && q->size < UINT32_MAX);
}

static void insert(struct agenda *q, struct event *e, usec at_us)
{
    make_room(q);
    e->at_us = at_us;
    sift_up(q, q->count++, (struct agenda_entry){at_us, q->seq++, e->handle, e});
}

void agenda_add(struct agenda *q, struct event *e, usec at_us)
{
    CHECK(e->handle == 0 && at_us != USEC_NEVER);
    insert(q, e, at_us);
}

void agenda_set(struct agenda *q, struct event *e, usec at_us)
{
    if (at_us == USEC_NEVER) {
        if (e->handle != 0)
            take_out(q, q->positions[e->handle - 1]);
        return;
    }
    if (e->handle == 0) {
        e->handle = handle_take(q);
        insert(q, e, at_us);
        return;
    }
    e->at_us = at_us;
    place(q, q->positions[e->handle - 1], (struct agenda_entry){at_us, q->seq++, e->handle, e});
}

struct event *agenda_first(const struct agenda *q)
{
    return q->count > 0 ? q->v[0].event : NULL;
}

struct event *agenda_pop(struct agenda *q)
{
    struct event *e = agenda_first(q);

    CHECK(e != NULL);
    take_out(q, 0);
    return e;
}

void agenda_clear(struct agenda *q)
{
    free(q->v);
    free(q->positions);
    *q = (struct agenda){0};
}
