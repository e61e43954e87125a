#include "overlay/core/meter.h"

#include <stdlib.h>

struct meter *meter_new(uint64_t bytes_per_s)
{
    struct meter *m = calloc(1, sizeof *m);

    if (m == NULL)
        return NULL;
    atomic_init(&m->refs, 1);
    m->bytes_per_s = bytes_per_s;
    return m;
}

struct meter *meter_ref(struct meter *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void meter_unref(struct meter *m)
{
    if (m != NULL && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        free(m);
}

/* How far ahead of now the bytes before may be: between EARLY and BURST by what stands for chance,
 * a hash of how many were asked for. */
static uint64_t most_ahead_us(const struct meter *m, bool urgent)
{
    uint64_t n = atomic_load_explicit(&m->packets, memory_order_relaxed) +
                 atomic_load_explicit(&m->refused, memory_order_relaxed);
    uint32_t chance = (uint32_t)n * UINT32_C(2654435761) >> 16;

    if (urgent)
        return METER_BURST_US + METER_URGENT_US;
    return METER_EARLY_US + ((uint64_t)(METER_BURST_US - METER_EARLY_US) * chance >> 16);
}

/* The agreed rate allows it; then it is counted in. */
static bool conforms(struct meter *m, usec now_us, size_t bytes, bool urgent)
{
    uint64_t now_ns = now_us * 1000, cost_ns = bytes * UINT64_C(1000000000) / m->bytes_per_s;
    uint64_t most_ns = now_ns + 1000 * most_ahead_us(m, urgent);
    uint64_t before = atomic_load_explicit(&m->drained_ns, memory_order_relaxed), after;

    do {
        if (before > most_ns)
            return false;
        after = (before > now_ns ? before : now_ns) + cost_ns;
    } while (!atomic_compare_exchange_weak_explicit(&m->drained_ns, &before, after,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool meter_take(struct meter *m, usec now_us, size_t bytes, bool urgent)
{
    if (m->bytes_per_s > 0 && !conforms(m, now_us, bytes, urgent)) {
        atomic_fetch_add_explicit(&m->refused, 1, memory_order_relaxed);
        return false;
    }
    atomic_fetch_add_explicit(&m->packets, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&m->last_us, now_us, memory_order_relaxed);
    return true;
}

uint8_t meter_spare(const struct meter *m, usec now_us)
{
    uint64_t drained_us = atomic_load_explicit(&m->drained_ns, memory_order_relaxed) / 1000;

    if (m->bytes_per_s == 0 || drained_us <= now_us)
        return UINT8_MAX;
    if (drained_us >= now_us + METER_BURST_US)
        return 0;
    return (uint8_t)((now_us + METER_BURST_US - drained_us) * UINT8_MAX / METER_BURST_US);
}
