/*
 * dht_check.h - what must be true of several DHTs on one ring, seen from above.
 */
#ifndef PEAL_TESTS_DHT_CHECK_H
#define PEAL_TESTS_DHT_CHECK_H

#include "tests/unit/dht_world.h"

/* The three members that hold a point, by the ring as it is. */
static inline size_t true_holders(const struct world *w, const struct id *point,
                                  struct overlay *out[3])
{
    struct overlay *ring[WORLD_MAX];
    size_t n = world_ring(w, 0, ring), at = 0;

    CHECK(n > 0);
    for (size_t i = 1; i < n; i++)
        if (id_closer(point, &ring[i]->id, &ring[at]->id))
            at = i;
    out[0] = ring[at];
    out[1] = ring[(at + 1) % n];
    out[2] = ring[(at + n - 1) % n];
    return n < 3 ? n : 3;
}

static inline bool holds_version(const struct overlay *o, const struct dht_held *v)
{
    struct dht_held have;
    size_t i = 0;

    while (dht_held_next(o->dht, &i, &have))
        if (id_eq(&have.v.key, &v->v.key) && id_eq(&have.v.owner, &v->v.owner))
            return have.v.epoch == v->v.epoch && have.v.sequence == v->v.sequence;
    return false;
}

static inline bool is_one_of(const struct overlay *o, struct overlay *const *set, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (set[i] == o)
            return true;
    return false;
}

/* How often a record lacks at a member that should hold it, or lies at one that should not. */
static inline unsigned wrong_replicas(const struct world *w)
{
    unsigned wrong = 0;

    for (size_t n = 0; n < w->count; n++) {
        struct overlay *o = w->nodes[n];
        struct dht_held held;

        for (size_t i = 0; o->on && dht_held_next(o->dht, &i, &held);) {
            bool mine = false;

            for (unsigned p = 0; p < DHT_POINTS; p++) {
                struct id point = id_point(&held.v.key, p, DHT_POINTS);
                struct overlay *three[3];
                size_t holders = true_holders(w, &point, three);

                mine |= is_one_of(o, three, holders);
                for (size_t h = 0; h < holders; h++)
                    wrong += !holds_version(three[h], &held);
            }
            wrong += !mine;
        }
    }
    return wrong;
}

#endif
