/*
 * heap.h - timers: an intrusive binary min-heap ordered by (at_us, seq), so equal times fire in the
 * order in which they were set.
 */
#ifndef PEAL_CORE_HEAP_H
#define PEAL_CORE_HEAP_H

#include "overlay/core/env.h"

struct timer {
    usec at_us; /* USEC_NEVER: not set */
    /* Set by the heap. Narrow, since every session, link and record has a timer. */
    uint64_t seq : 40; /* enough for a thousand settings a second for 34 years */
    uint64_t pos : 24; /* index + 1 in the heap; 0: not in it */
};

enum { HEAP_TIMERS_MAX = (1 << 24) - 1 };

struct heap {
    struct timer **v;
    size_t count, size;
    uint64_t seq;
    usec first_us; /* of the earliest: asked for after every packet, when that timer is cold */
};

void heap_init(struct heap *h);
void heap_clear(struct heap *h); /* forgets the timers, frees the array */
/* Moves the timer to at_us, puts it in, or with USEC_NEVER takes it out. Aborts when out of memory,
 * or with more than HEAP_TIMERS_MAX. */
void heap_set(struct heap *h, struct timer *t, usec at_us);
/* The earliest timer if it is due at now_us, taken out of the heap; else NULL. */
struct timer *heap_pop(struct heap *h, usec now_us);
usec heap_deadline(const struct heap *h); /* USEC_NEVER when empty */

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif
