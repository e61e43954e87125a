/*
 * agenda.h - what will happen: events ordered by (time, sequence number), never by address or hash.
 *
 * Intrusive: an event is part of what it is about (a packet, a host, a planned fault), so setting
 * one allocates nothing beyond the arrays. Moving an event counts as setting it anew.
 *
 * Keeping order touches no event: where each stands in the heap is written in an array beside it,
 * and for a packet, which nobody moves, nowhere. An event's own memory is cold until it happens.
 */
#ifndef PEAL_SIM_AGENDA_H
#define PEAL_SIM_AGENDA_H

#include "overlay/core/heap.h" /* CONTAINER_OF */

struct world;

struct event {
    usec at_us;
    uint32_t handle; /* 1 + its place in agenda.positions; 0: not set, or set for good */
    void (*happen)(struct world *w, struct event *e);
};

struct agenda_entry {
    usec at_us;
    uint64_t seq : 40;    /* enough for a hundred thousand settings a second for 127 days */
    uint64_t handle : 24; /* of the event; 0: set for good */
    struct event *event;
};

enum { AGENDA_MOVABLE_MAX = (1 << 24) - 1 }; /* events set at one time that may be moved */

struct agenda {
    struct agenda_entry *v;
    size_t count, size;
    uint64_t seq;
    uint32_t *positions; /* by handle: in v; of a free one the next free handle */
    uint32_t position_count, position_size, position_free;
};

void agenda_clear(struct agenda *q);                            /* forgets the events */
void agenda_set(struct agenda *q, struct event *e, usec at_us); /* USEC_NEVER: takes it out */
/* For good: it can neither be moved nor taken out. */
void agenda_add(struct agenda *q, struct event *e, usec at_us);
struct event *agenda_first(const struct agenda *q); /* NULL: nothing will ever happen */
struct event *agenda_pop(struct agenda *q);

#endif
