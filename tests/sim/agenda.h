/*
 * agenda.h - what will happen: events ordered by (time, sequence number), never by address or hash.
 *
 * Intrusive: an event is part of what it is about (a packet, a host, a planned fault), so setting
 * one allocates nothing beyond the array. Moving an event counts as setting it anew.
 */
#ifndef PEAL_SIM_AGENDA_H
#define PEAL_SIM_AGENDA_H

#include "overlay/core/heap.h" /* CONTAINER_OF */

struct world;

struct event {
    usec at_us;
    uint32_t position; /* in the heap, + 1; 0: not set */
    void (*happen)(struct world *w, struct event *e);
};

struct agenda_entry {
    usec at_us;
    uint64_t seq;
    struct event *event;
};

struct agenda {
    struct agenda_entry *v;
    size_t count, size;
    uint64_t seq;
};

void agenda_clear(struct agenda *q);                            /* forgets the events */
void agenda_set(struct agenda *q, struct event *e, usec at_us); /* USEC_NEVER: takes it out */
struct event *agenda_first(const struct agenda *q);             /* NULL: nothing will ever happen */
struct event *agenda_pop(struct agenda *q);

#endif
