/*
 * meter.h - how fast something may go, how much of it went, and when it went last.
 *
 * The generic cell rate algorithm (ITU-T I.371 A.1) in one atomic number: the time at which all
 * that was let through will have drained at the agreed rate. What comes while that is more than
 * METER_BURST_US ahead of now is refused, and from METER_EARLY_US on the more of it the further
 * ahead (RFC 7567 4.2): TCP that loses a packet here and there slows down, and one that loses a
 * whole window waits for its timer. What keeps a path alive or opens a session is small, and may go
 * METER_URGENT_US further: a load that is cut off does not cut off the path with it. Any thread;
 * reference counted, because a published snapshot may still hold what its owner has given up.
 */
#ifndef PEAL_CORE_METER_H
#define PEAL_CORE_METER_H

#include <stdatomic.h>

#include "overlay/core/env.h"

enum { METER_BURST_US = 400000, METER_EARLY_US = 200000, METER_URGENT_US = 100000 };

struct meter {
    _Atomic uint32_t refs;
    uint64_t bytes_per_s; /* 0: no bound */
    _Atomic uint64_t drained_ns;
    _Atomic uint64_t packets, bytes, refused;
    _Atomic usec last_us; /* something was let through; 0: never */
};

/* NULL: out of memory. */
struct meter *meter_new(uint64_t bytes_per_s);
struct meter *meter_ref(struct meter *m);
void meter_unref(struct meter *m); /* NULL is allowed */
/* So many bytes may go now. */
bool meter_take(struct meter *m, usec now_us, size_t bytes, bool urgent);
/* Of the agreed rate, in 1/255: 255 unused, or not bounded; 0 for as long as things are refused. */
uint8_t meter_spare(const struct meter *m, usec now_us);

#endif
