#include "dht/inside.h"

#include <string.h>

void write_versions(struct writer *w, const uint64_t *versions, size_t n)
{
    write_u8(w, (uint8_t)n);
    for (size_t i = 0; i < n; i++)
        write_u64(w, versions[i]);
}

size_t read_versions(struct reader *r, uint64_t versions[VERSIONS_MAX])
{
    size_t n = read_u8(r);

    if (n > VERSIONS_MAX)
        r->failed = true;
    for (size_t i = 0; i < n && !r->failed; i++)
        versions[i] = read_u64(r);
    return r->failed ? 0 : n;
}

void repair_init(struct dht *d)
{
    d->repair.left_us = USEC_NEVER;
    d->repair.right_us = d->env->now_us + env_jitter(d->env, REPAIR_PERIOD_US, 20);
}

void repair_soon(struct dht *d)
{
    usec at_us = d->env->now_us + env_jitter(d->env, SETTLE_US, 50);

    d->repair.left_us = usec_min(d->repair.left_us, at_us);
    d->repair.right_us = usec_min(d->repair.right_us, at_us);
}

static void send_sync(struct dht *d, const struct id *to, const struct id *lo, const struct id *hi)
{
    struct parcel p;
    uint32_t count;
    uint64_t sum;

    store_digest(&d->store, lo, hi, &count, &sum);
    dht_count(d, COUNT_SYNCS_SENT);
    parcel_start(&p, PARCEL_SYNC, 0);
    write_id(&p.w, lo);
    write_id(&p.w, hi);
    write_u32(&p.w, count);
    write_u64(&p.w, sum);
    parcel_send(d, to, &p);
}

/*
 * Two neighbours a and b both hold the points that either is closest to: from the middle between
 * a and the one before it to the middle between b and the one after it. When those are not
 * known the ring has at most three members, and everybody holds everything.
 */
static void sync_with(struct dht *d, const struct id *before, const struct id *a,
                      const struct id *b, const struct id *after)
{
    const struct id *peer = id_eq(a, &d->config.node) ? b : a;
    struct id lo = *a, hi = *a;

    if (before != NULL && after != NULL && !id_eq(before, b) && !id_eq(before, after)) {
        lo = range_middle(before, a);
        hi = range_middle(b, after);
    }
    send_sync(d, peer, &lo, &hi);
}

static void sync_right(struct dht *d)
{
    const struct replica *r = &d->replica;

    if (r->rights > 0)
        sync_with(d, r->lefts > 0 ? &r->left[0] : NULL, &d->config.node, &r->right[0],
                  r->rights > 1 ? &r->right[1] : NULL);
}

static void sync_left(struct dht *d)
{
    const struct replica *r = &d->replica;

    if (r->lefts > 0)
        sync_with(d, r->lefts > 1 ? &r->left[1] : NULL, &r->left[0], &d->config.node,
                  r->rights > 0 ? &r->right[0] : NULL);
}

void repair_tick(struct dht *d)
{
    usec now_us = d->env->now_us;

    if (d->replica.leaving)
        return;
    if (d->repair.right_us <= now_us) {
        d->repair.right_us = now_us + env_jitter(d->env, REPAIR_PERIOD_US, 20);
        sync_right(d);
    }
    if (d->repair.left_us <= now_us) {
        d->repair.left_us = USEC_NEVER;
        sync_left(d);
    }
}

usec repair_deadline(const struct dht *d)
{
    return d->replica.leaving ? USEC_NEVER : usec_min(d->repair.left_us, d->repair.right_us);
}

/* What we have in the range; false when it is more than a list takes. */
static bool versions_in(const struct dht *d, const struct id *lo, const struct id *hi,
                        uint64_t versions[REPAIR_LIST_MAX], size_t *n)
{
    struct arcs arcs = arcs_of(lo, hi);

    *n = 0;
    for (size_t i = 0; i < d->store.count; i++) {
        if (!arcs_have(&arcs, &d->store.v[i]->rec.key))
            continue;
        if (*n == REPAIR_LIST_MAX)
            return false;
        versions[(*n)++] = d->store.v[i]->version;
    }
    return true;
}

static void send_list(struct dht *d, const struct overlay_from *to, const struct id *lo,
                      const struct id *hi, const uint64_t *versions, size_t n)
{
    struct parcel p;

    parcel_start(&p, PARCEL_LIST, parcel_new_id(d));
    write_u8(&p.w, 0);
    write_id(&p.w, lo);
    write_id(&p.w, hi);
    write_versions(&p.w, versions, n);
    parcel_answer(d, to, &p);
}

static struct id half_way(const struct id *lo, const struct id *hi)
{
    return id_eq(lo, hi) ? id_point(lo, 1, 2) : range_middle(lo, hi);
}

void repair_on_sync(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint64_t versions[REPAIR_LIST_MAX];
    struct id lo = read_id(r);
    struct id hi = read_id(r);
    uint32_t their_count = read_u32(r), count;
    uint64_t their_sum = read_u64(r), sum;
    struct id middle;
    size_t n;

    if (!reader_done(r)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    if (!replica_near(d, &from->node))
        return;
    store_digest(&d->store, &lo, &hi, &count, &sum);
    if (count == their_count && sum == their_sum)
        return;
    middle = half_way(&lo, &hi);
    if (versions_in(d, &lo, &hi, versions, &n)) {
        send_list(d, from, &lo, &hi, versions, n);
    } else if (!id_eq(&middle, &lo)) {
        send_sync(d, &from->node, &lo, &middle);
        send_sync(d, &from->node, &middle, &hi);
    }
}

static bool listed(const uint64_t *versions, size_t n, uint64_t version)
{
    for (size_t i = 0; i < n; i++)
        if (versions[i] == version)
            return true;
    return false;
}

/* Copies in parcels of as many as fit. */
struct copies {
    struct parcel p;
    unsigned parcels;
};

static void copies_start(struct copies *c)
{
    parcel_start(&c->p, PARCEL_COPY, 0);
    write_u8(&c->p.w, POINT_NONE);
    parcel_items(&c->p);
}

static void copies_flush(struct dht *d, const struct overlay_from *to, struct copies *c)
{
    if (*c->p.count == 0)
        return;
    dht_count(d, COUNT_COPIES_SENT);
    parcel_answer(d, to, &c->p);
    c->parcels++;
    copies_start(c);
}

static void copies_add(struct dht *d, const struct overlay_from *to, struct copies *c,
                       const struct entry *e)
{
    uint32_t remaining_s = entry_remaining_s(e, d->env->now_us);

    if (remaining_s == 0 || c->parcels >= REPAIR_COPIES_MAX)
        return;
    if (parcel_item(&c->p, &e->rec, remaining_s, 0))
        return;
    copies_flush(d, to, c);
    if (c->parcels < REPAIR_COPIES_MAX)
        (void)parcel_item(&c->p, &e->rec, remaining_s, 0);
}

static void send_unlisted(struct dht *d, const struct overlay_from *to, const struct id *lo,
                          const struct id *hi, const uint64_t *versions, size_t n)
{
    struct arcs arcs = arcs_of(lo, hi);
    struct copies c = {.parcels = 0};

    copies_start(&c);
    for (size_t i = 0; i < d->store.count; i++) {
        const struct entry *e = d->store.v[i];

        if (arcs_have(&arcs, &e->rec.key) && !listed(versions, n, e->version))
            copies_add(d, to, &c, e);
    }
    copies_flush(d, to, &c);
}

static void send_want(struct dht *d, const struct overlay_from *to, uint64_t id,
                      const uint64_t *versions, size_t n)
{
    struct parcel p;

    parcel_start(&p, PARCEL_WANT, id);
    write_versions(&p.w, versions, n);
    parcel_answer(d, to, &p);
}

void repair_on_list(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t flags = read_u8(r);
    struct id lo = read_id(r);
    struct id hi = read_id(r);
    uint64_t versions[VERSIONS_MAX], lacking[VERSIONS_MAX];
    size_t n = read_versions(r, versions), lack = 0;
    bool offer = flags & LIST_OFFER;
    const uint8_t *points = offer ? read_bytes(r, n) : NULL;

    if (!reader_done(r)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    /* An offer may come back to us: routing does not know yet what we know of the ring. */
    if (offer ? id_eq(&from->node, &d->config.node) : !replica_near(d, &from->node))
        return;
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = store_find_version(&d->store, versions[i]);

        /* That we hold it for another point, or are ourselves about to give it away, is nothing to
         * rely on for this one. */
        if (e == NULL || (offer && (points[i] & ~e->points) != 0))
            lacking[lack++] = versions[i];
    }
    if (!offer)
        send_unlisted(d, from, &lo, &hi, versions, n);
    if (offer || lack > 0)
        send_want(d, from, id, lacking, lack);
}

void repair_on_want(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint64_t versions[VERSIONS_MAX];
    size_t n = read_versions(r, versions);
    struct copies c = {.parcels = 0};

    if (!reader_done(r)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    if (handover_wanted(d, from, id, versions, n) || !replica_near(d, &from->node))
        return;
    copies_start(&c);
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = store_find_version(&d->store, versions[i]);

        if (e != NULL)
            copies_add(d, from, &c, e);
    }
    copies_flush(d, from, &c);
}
