#include "dht/inside.h"

#include <string.h>

enum { STRAY_SLACK_S = 2 }; /* remaining time is passed on in whole seconds */

void holder_answer(struct dht *d, const struct overlay_from *to, uint64_t id, enum verdict verdict,
                   const struct entry *standing)
{
    struct parcel p;

    parcel_start(&p, PARCEL_VERDICT, id);
    write_u8(&p.w, verdict);
    parcel_items(&p);
    if (verdict == VERDICT_TAKEN)
        (void)parcel_item(&p, &standing->rec, entry_remaining_s(standing, d->env->now_us), 0);
    parcel_answer(d, to, &p);
}

enum verdict holder_verdict(enum store_verdict v)
{
    switch (v) {
    case STORE_NEW:
    case STORE_SAME:
        return VERDICT_OK;
    case STORE_OLDER:
    case STORE_TAKEN:
        return VERDICT_TAKEN;
    case STORE_REFUSED:
        return VERDICT_REFUSED;
    }
    return VERDICT_REFUSED;
}

void holder_tell_loser(struct dht *d, const struct id *writer, const struct entry *standing)
{
    struct parcel p;

    dht_count(d, COUNT_CONFLICTS);
    parcel_start(&p, PARCEL_LOST, parcel_new_id(d));
    parcel_items(&p);
    (void)parcel_item(&p, &standing->rec, entry_remaining_s(standing, d->env->now_us), 0);
    parcel_send(d, writer, &p);
}

enum store_verdict holder_take(struct dht *d, const struct record *rec, struct cred *cred,
                               uint32_t remaining_s, struct entry **standing)
{
    const struct entry *old = store_find(&d->store, &rec->key, &rec->owner);
    uint8_t pending = old != NULL ? old->pending : 0;
    struct id loser;
    enum store_verdict v;

    if (remaining_s == 0) { /* over before it came */
        *standing = NULL;
        return STORE_REFUSED;
    }
    v = store_put(&d->store, rec, cred, remaining_s, d->from->prefix, d->env->now_us, standing,
                  &loser);
    if (v == STORE_REFUSED)
        dht_count(d, COUNT_QUOTA);
    if (v != STORE_NEW)
        return v;
    (*standing)->points = replica_points(d, &rec->key);
    (*standing)->pending = pending;
    if (rec->kind == RECORD_CREATE)
        store_release_all(&d->store, &rec->key);
    if (!id_is_zero(&loser))
        holder_tell_loser(d, &loser, *standing);
    watchers_changed(d, &rec->key);
    return v;
}

/* Of two versions the newer ends sooner: not a renewal, but what two lives of one member wrote in
 * rings that were apart. The newer stands, and takes from the other the time that it had left. */
static bool cuts_short(const struct record *newer, uint32_t newer_s, uint32_t older_s)
{
    return !record_removed(newer) && newer_s + STRAY_SLACK_S < older_s;
}

enum store_verdict holder_take_stray(struct dht *d, const struct record *rec, struct cred *cred,
                                     uint32_t remaining_s, struct entry **standing)
{
    const struct entry *old = store_find(&d->store, &rec->key, &rec->owner);
    bool lived = old != NULL && entry_live(old, d->env->now_us) && !record_removed(&old->rec);
    uint32_t old_s = lived ? entry_remaining_s(old, d->env->now_us) : 0;
    enum store_verdict v = holder_take(d, rec, cred, remaining_s, standing);
    bool tell = v == STORE_TAKEN;

    if (v == STORE_NEW && lived)
        tell = record_removed(rec) || cuts_short(rec, remaining_s, old_s);
    else if (v == STORE_OLDER && !record_removed(rec))
        tell = record_removed(&(*standing)->rec) ||
               (lived && cuts_short(&(*standing)->rec, old_s, remaining_s));
    if (tell)
        holder_tell_loser(d, &rec->writer, *standing);
    return v;
}

/* For requests: false when it was answered (we are not the point's holder). */
static bool is_ours(struct dht *d, const struct overlay_from *from, uint64_t id,
                    const struct id *key, uint8_t point)
{
    struct id at = id_point(key, point, DHT_POINTS);

    if (dht_member(d) && replica_closest(d, &at))
        return true;
    holder_answer(d, from, id, VERDICT_MOVED, NULL);
    return false;
}

static bool is_within(struct dht *d, const struct overlay_from *from, uint32_t cost)
{
    if (!d->config.rendezvous || quotas_take(&d->quotas, from->connection, cost, d->env->now_us))
        return true;
    dht_count(d, COUNT_QUOTA);
    return false;
}

/* Before the signature is looked at. True: it was answered. */
static bool is_too_much(struct dht *d, const struct overlay_from *from, uint64_t id)
{
    if (is_within(d, from, QUOTA_STORE))
        return false;
    holder_answer(d, from, id, VERDICT_REFUSED, NULL);
    return true;
}

/* One item that asks for something, read and judged; false when it was answered or waits. */
static bool request_item(struct dht *d, const struct overlay_from *from, uint64_t id,
                         struct reader *r, uint8_t *point, struct item *item, struct cred **cred)
{
    *point = read_u8(r);
    item->flags = read_u8(r);
    item->remaining_s = read_u32(r);
    record_read(r, &item->rec);
    if (!reader_done(r) || *point >= DHT_POINTS) {
        dht_count(d, COUNT_MALFORMED);
        return false;
    }
    if (!is_ours(d, from, id, &item->rec.key, *point) || is_too_much(d, from, id) ||
        pen_holds(d, item, 1))
        return false;
    if (dht_record_good(d, &item->rec, cred))
        return true;
    holder_answer(d, from, id, VERDICT_REFUSED, NULL);
    return false;
}

struct entry *holder_obstacle(struct dht *d, const struct record *rec, const struct cred *cred)
{
    struct entry *standing = store_standing(&d->store, &rec->key);

    if (standing == NULL || !entry_live(standing, d->env->now_us))
        return NULL;
    if (id_eq(&standing->rec.owner, &rec->owner))
        return standing;
    if (creds_bound(&d->creds, &rec->key, cred) &&
        !creds_bound(&d->creds, &rec->key, standing->cred))
        return NULL;
    return standing;
}

void holder_on_grant(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    const struct entry *obstacle;
    struct item item;
    struct cred *cred;
    uint8_t point;

    if (!request_item(d, from, id, r, &point, &item, &cred))
        return;
    obstacle = holder_obstacle(d, &item.rec, cred);
    if (item.rec.kind != RECORD_CREATE)
        holder_answer(d, from, id, VERDICT_REFUSED, NULL);
    else if (obstacle != NULL)
        holder_answer(d, from, id, VERDICT_TAKEN, obstacle);
    else if (!replica_ready(d))
        holder_answer(d, from, id, VERDICT_NOT_READY, NULL);
    else if (store_promise(&d->store, &item.rec.key, &item.rec.owner, d->env->now_us) != 0)
        holder_answer(d, from, id, VERDICT_BUSY, NULL);
    else {
        dht_count(d, COUNT_GRANTS);
        replica_write(d, &item.rec, point, STORE_PROMISE_S, true, from, id);
    }
}

void holder_on_release(struct dht *d, const struct overlay_from *from, uint64_t id,
                       struct reader *r)
{
    uint8_t point = read_u8(r);
    struct id key = read_id(r);
    struct id owner = read_id(r);

    if (!reader_done(r) || (point >= DHT_POINTS && point != POINT_NONE)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    if (point == POINT_NONE) {
        store_release(&d->store, &key, &owner);
        return;
    }
    if (!is_ours(d, from, id, &key, point))
        return;
    store_release(&d->store, &key, &owner);
    replica_release(d, &key, &owner);
    holder_answer(d, from, id, VERDICT_OK, NULL);
}

static void store_and_copy(struct dht *d, const struct overlay_from *from, uint64_t id,
                           uint8_t point, const struct item *item, struct cred *cred)
{
    struct entry *standing;
    enum verdict verdict =
        holder_verdict(holder_take(d, &item->rec, cred, item->remaining_s, &standing));

    if (verdict != VERDICT_OK) {
        holder_answer(d, from, id, verdict, standing);
        return;
    }
    dht_count(d, COUNT_STORES);
    replica_write(d, &standing->rec, point, entry_remaining_s(standing, d->env->now_us), false,
                  from, id);
}

void holder_on_store(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    struct item item;
    struct cred *cred;
    uint8_t point;

    if (request_item(d, from, id, r, &point, &item, &cred))
        store_and_copy(d, from, id, point, &item, cred);
}

void holder_on_renew(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t point = read_u8(r);
    uint8_t value[DHT_VALUE_MAX];
    struct renewal renewal;
    const struct entry *old, *standing;
    struct item item = {.flags = 0};
    struct cred *cred;
    bool taken;

    renewal_read(r, &renewal);
    if (!reader_done(r) || point >= DHT_POINTS) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    if (!is_ours(d, from, id, &renewal.key, point) || is_too_much(d, from, id))
        return;
    old = store_find(&d->store, &renewal.key, &renewal.owner);
    if (old == NULL || record_removed(&old->rec)) {
        standing = store_standing(&d->store, &renewal.key);
        taken = standing != NULL && entry_live(standing, d->env->now_us);
        holder_answer(d, from, id, taken ? VERDICT_TAKEN : VERDICT_UNKNOWN, standing);
        return;
    }
    item.rec = record_renewed(&old->rec, &renewal);
    item.remaining_s = item.rec.duration_s;
    memcpy(value, old->rec.value, old->rec.len); /* the entry goes when the new one comes */
    item.rec.value = value;
    if (pen_holds(d, &item, 1))
        return;
    if (dht_record_good(d, &item.rec, &cred))
        store_and_copy(d, from, id, point, &item, cred);
    else /* maybe of a value that we never saw */
        holder_answer(d, from, id, VERDICT_UNKNOWN, NULL);
}

/* What there is to say: the one owner of a `create` key, else the list after `after`. */
static size_t add_values(struct dht *d, struct parcel *p, const struct id *key,
                         const struct id *after, bool *more)
{
    const struct entry *single = store_standing(&d->store, key);
    usec now_us = d->env->now_us;
    size_t n = 0;

    *more = false;
    if (single != NULL && entry_live(single, now_us))
        return parcel_item(p, &single->rec, entry_remaining_s(single, now_us), 0);
    for (size_t i = store_index(&d->store, key, after); i < d->store.count; i++) {
        const struct entry *e = d->store.v[i];

        if (!id_eq(&e->rec.key, key))
            break;
        if (!entry_live(e, now_us) || id_cmp(&e->rec.owner, after) <= 0)
            continue;
        *more = !parcel_item(p, &e->rec, entry_remaining_s(e, now_us), 0);
        if (*more)
            break;
        n++;
    }
    return n;
}

/*
 * A question for a point came to us while another is closer: that one is silent, or gone and not
 * given up yet. We have no such record, but the others that hold the point may. Only what came for
 * the point itself is passed on, so nothing is twice.
 */
static bool pass_to_holders(struct dht *d, const struct overlay_from *from, const struct id *point)
{
    const struct replica *r = &d->replica;
    size_t closest = replica_closest_index(d, point);
    size_t first = closest > 0 ? closest - 1 : 0;

    if (!dht_member(d) || closest == r->self || !id_eq(&from->key, point))
        return false;
    for (size_t i = first; i <= closest + 1 && i < r->count; i++)
        if (i != r->self)
            (void)overlay_pass(d->overlay, from, &r->ring[i], OVERLAY_PROTO_DHT, d->body,
                               d->body_len); /* as sure as any question: it is repeated */
    return true;
}

void holder_on_get(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t point = read_u8(r);
    struct id key = read_id(r);
    struct id after = read_id(r);
    struct id at;
    struct parcel p;
    uint8_t *flags;
    bool more;

    if (!reader_done(r) || point >= DHT_POINTS) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    if (!is_within(d, from, QUOTA_GET))
        return;
    dht_count(d, COUNT_GETS);
    at = id_point(&key, point, DHT_POINTS);
    parcel_start(&p, PARCEL_VALUES, id);
    flags = p.w.p;
    write_u8(&p.w, 0);
    parcel_items(&p);
    if (add_values(d, &p, &key, &after, &more) == 0 && id_is_zero(&after)) {
        if (pass_to_holders(d, from, &at))
            return;
        if (!dht_member(d) || !replica_closest(d, &at)) {
            holder_answer(d, from, id, VERDICT_MOVED, NULL);
            return;
        }
        if (!replica_ready(d)) {
            holder_answer(d, from, id, VERDICT_NOT_READY, NULL);
            return;
        }
    }
    *flags = more ? VALUES_MORE : 0;
    parcel_answer(d, from, &p);
}
