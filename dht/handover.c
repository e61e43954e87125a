#include "dht/inside.h"

#include <stdlib.h>
#include <string.h>

struct moving {
    struct id key, owner;
    uint64_t version;
    uint8_t bits; /* of entry.pending and entry.check that this settles */
};

/* One list of records on its way to one member. */
struct handover {
    uint64_t id;
    bool routed;  /* target is a point, and who answers for it is not known yet */
    bool copying; /* listed; now sending what it lacks, v[0..sent) are under way */
    struct id target;
    struct moving v[HANDOVER_BATCH];
    size_t count, sent;
    unsigned tries;
    usec due_us;
};

void handover_init(struct dht *d)
{
    d->handovers.next_us = USEC_NEVER;
    d->handovers.check_us = d->env->now_us + env_jitter(d->env, HANDOVER_CHECK_US, 20);
}

static void end(struct dht *d, size_t slot)
{
    free(d->handovers.v[slot]);
    d->handovers.v[slot] = NULL;
}

void handover_clear(struct dht *d)
{
    for (size_t i = 0; i < HANDOVERS_MAX; i++)
        end(d, i);
}

static void look_again(struct dht *d, usec at_us)
{
    d->handovers.next_us = usec_min(d->handovers.next_us, at_us);
}

void handover_ring_changed(struct dht *d, usec wait_us)
{
    bool pending = false;

    for (size_t i = 0; i < d->store.count; i++) {
        struct entry *e = d->store.v[i];
        uint8_t points = replica_points(d, &e->rec.key);

        e->pending = (uint8_t)((e->pending | e->points) & ~points);
        e->points = points;
        e->again_us = 0;              /* there may be others to give it to */
        e->check &= (uint8_t)~points; /* neighbours compare what they share anyway */
        pending |= e->pending != 0;
    }
    if (pending)
        look_again(d, d->env->now_us + wait_us);
}

static void check_points(struct dht *d)
{
    d->handovers.check_us = d->env->now_us + env_jitter(d->env, HANDOVER_CHECK_US, 20);
    for (size_t i = 0; i < d->store.count; i++) {
        struct entry *e = d->store.v[i];

        for (unsigned p = 0; p < DHT_POINTS; p++) {
            struct id point = id_point(&e->rec.key, p, DHT_POINTS);

            if (e->points & 1u << p && replica_closest(d, &point))
                e->check |= (uint8_t)(1u << (p + 1) % DHT_POINTS);
        }
        e->check &= (uint8_t)~e->points;
    }
    look_again(d, d->env->now_us);
}

bool handover_over(const struct dht *d)
{
    for (size_t i = 0; i < d->store.count; i++)
        if (d->store.v[i]->pending != 0)
            return false;
    return true;
}

/* Who should hold the entry for its lowest pending point, and for which others the same. */
struct aim {
    bool routed;
    struct id target;
    uint8_t bits;
};

static bool known_neighbour(const struct dht *d, size_t index)
{
    return d->replica.whole || (index > 0 && index + 1 < d->replica.count);
}

static struct aim aim_at(const struct dht *d, const struct entry *e)
{
    struct aim aim = {.bits = 0};

    for (unsigned i = 0; i < DHT_POINTS; i++) {
        struct id point = id_point(&e->rec.key, i, DHT_POINTS);
        size_t index = replica_closest_index(d, &point);
        bool routed = !known_neighbour(d, index);
        const struct id *target = routed ? &point : &d->replica.ring[index];

        if (!((e->pending | e->check) & 1u << i))
            continue;
        if (aim.bits == 0) {
            aim.routed = routed;
            aim.target = *target;
        }
        if (aim.routed == routed && id_eq(&aim.target, target))
            aim.bits |= (uint8_t)(1u << i);
    }
    return aim;
}

static bool under_way(const struct dht *d, const struct entry *e)
{
    for (size_t i = 0; i < HANDOVERS_MAX; i++) {
        const struct handover *h = d->handovers.v[i];

        for (size_t j = 0; h != NULL && j < h->count; j++)
            if (id_eq(&h->v[j].key, &e->rec.key) && id_eq(&h->v[j].owner, &e->rec.owner))
                return true;
    }
    return false;
}

static void settle(struct dht *d, const struct moving *m)
{
    struct entry *e = store_find(&d->store, &m->key, &m->owner);

    if (e == NULL)
        return;
    if (e->pending & m->bits)
        dht_count(d, COUNT_HANDED_OVER);
    e->pending &= (uint8_t)~m->bits;
    e->check &= (uint8_t)~m->bits;
    if (e->points == 0 && e->pending == 0)
        store_drop(&d->store, e);
}

static void send_list(struct dht *d, struct handover *h)
{
    static const struct id zero;
    uint64_t versions[HANDOVER_BATCH];
    struct parcel p;

    for (size_t i = 0; i < h->count; i++)
        versions[i] = h->v[i].version;
    parcel_start(&p, PARCEL_LIST, h->id);
    write_u8(&p.w, LIST_OFFER);
    write_id(&p.w, &zero);
    write_id(&p.w, &zero);
    write_versions(&p.w, versions, h->count);
    for (size_t i = 0; i < h->count; i++)
        write_u8(&p.w, h->v[i].bits);
    if (h->routed)
        parcel_route(d, &h->target, &p);
    else
        parcel_send(d, &h->target, &p);
}

static void forget(struct handover *h, size_t i)
{
    memmove(&h->v[i], &h->v[i + 1], (h->count - i - 1) * sizeof(h->v[0]));
    h->count--;
}

/* As many of the first as one parcel takes. What has ended meanwhile needs no hand-over. */
static void send_copies(struct dht *d, struct handover *h)
{
    struct parcel p;

    h->sent = 0;
    parcel_start(&p, PARCEL_COPY, h->id);
    write_u8(&p.w, POINT_NONE);
    parcel_items(&p);
    while (h->sent < h->count) {
        const struct entry *e = store_find(&d->store, &h->v[h->sent].key, &h->v[h->sent].owner);
        uint32_t remaining_s = e != NULL ? entry_remaining_s(e, d->env->now_us) : 0;

        if (remaining_s == 0)
            forget(h, h->sent);
        else if (parcel_item(&p, &e->rec, remaining_s,
                             (uint8_t)(h->v[h->sent].bits << ITEM_POINTS_SHIFT)))
            h->sent++;
        else
            break;
    }
    if (h->sent > 0) {
        dht_count(d, COUNT_COPIES_SENT);
        parcel_send(d, &h->target, &p);
    }
}

/* A point that could not be looked after is for the next round; what is pending stays so. */
static void postpone(struct dht *d, const struct moving *m, usec wait_us)
{
    struct entry *e = store_find(&d->store, &m->key, &m->owner);

    if (e == NULL)
        return;
    e->check &= (uint8_t)~m->bits;
    e->again_us = d->env->now_us + env_jitter(d->env, wait_us, 30);
    if (e->pending != 0)
        look_again(d, e->again_us);
}

static usec answer_us(const struct dht *d, const struct handover *h)
{
    return !h->routed && replica_near(d, &h->target) ? HANDOVER_TRY_US : HANDOVER_ROUTED_TRY_US;
}

static void drive(struct dht *d, size_t slot)
{
    struct handover *h = d->handovers.v[slot];

    if (h->tries >= HANDOVER_TRIES) {
        for (size_t i = 0; i < h->count; i++)
            postpone(d, &h->v[i], HANDOVER_AGAIN_US);
        look_again(d, d->env->now_us); /* others may wait for the slot */
        end(d, slot);
        return;
    }
    if (h->copying)
        send_copies(d, h);
    else
        send_list(d, h);
    h->due_us = d->env->now_us + (answer_us(d, h) << h->tries);
    h->tries++;
    if (h->copying && h->sent == 0) {
        look_again(d, d->env->now_us); /* maybe there are more */
        end(d, slot);
    }
}

static bool same_aim(const struct handover *h, const struct aim *aim)
{
    return h->routed == aim->routed && id_eq(&h->target, &aim->target);
}

/* Collects what goes to the same member as the first entry that is not under way. */
static struct handover *collect(struct dht *d)
{
    struct handover *h = NULL;

    for (size_t i = 0; i < d->store.count && (h == NULL || h->count < HANDOVER_BATCH); i++) {
        const struct entry *e = d->store.v[i];
        struct aim aim;

        if ((e->pending | e->check) == 0 || under_way(d, e))
            continue;
        if (e->again_us > d->env->now_us) {
            look_again(d, e->again_us);
            continue;
        }
        aim = aim_at(d, e);
        if (h == NULL) {
            h = calloc(1, sizeof(*h));
            if (h == NULL)
                return NULL;
            h->id = parcel_new_id(d);
            h->routed = aim.routed;
            h->target = aim.target;
        }
        if (same_aim(h, &aim))
            h->v[h->count++] = (struct moving){e->rec.key, e->rec.owner, e->version, aim.bits};
    }
    return h;
}

/* We are alone: there is nobody to give anything to. */
static void nobody_left(struct dht *d)
{
    for (size_t i = 0; i < d->store.count; i++)
        d->store.v[i]->pending = d->store.v[i]->check = 0;
    d->handovers.next_us = USEC_NEVER;
}

static void start_more(struct dht *d)
{
    d->handovers.next_us = USEC_NEVER;
    if (d->replica.count == 1) {
        nobody_left(d);
        return;
    }
    for (size_t i = 0; i < HANDOVERS_MAX; i++) {
        if (d->handovers.v[i] != NULL)
            continue;
        d->handovers.v[i] = collect(d);
        if (d->handovers.v[i] == NULL)
            return;
        drive(d, i);
    }
}

void handover_tick(struct dht *d)
{
    for (size_t i = 0; i < HANDOVERS_MAX; i++)
        if (d->handovers.v[i] != NULL && d->handovers.v[i]->due_us <= d->env->now_us)
            drive(d, i);
    if (d->handovers.check_us <= d->env->now_us)
        check_points(d);
    if (d->handovers.next_us <= d->env->now_us)
        start_more(d);
}

usec handover_deadline(const struct dht *d)
{
    usec at = usec_min(d->handovers.next_us, d->handovers.check_us);

    for (size_t i = 0; i < HANDOVERS_MAX; i++)
        if (d->handovers.v[i] != NULL)
            at = usec_min(at, d->handovers.v[i]->due_us);
    return at;
}

static size_t slot_of(const struct dht *d, uint64_t id)
{
    size_t i = 0;

    while (i < HANDOVERS_MAX && (d->handovers.v[i] == NULL || d->handovers.v[i]->id != id))
        i++;
    return i;
}

static bool listed(const uint64_t *versions, size_t n, uint64_t version)
{
    for (size_t i = 0; i < n; i++)
        if (versions[i] == version)
            return true;
    return false;
}

bool handover_wanted(struct dht *d, const struct overlay_from *from, uint64_t id,
                     const uint64_t *versions, size_t n)
{
    size_t slot = slot_of(d, id);
    struct handover *h;

    if (slot == HANDOVERS_MAX)
        return false;
    h = d->handovers.v[slot];
    if (h->copying)
        return true;
    for (size_t i = h->count; i-- > 0;) {
        const struct entry *e = store_find(&d->store, &h->v[i].key, &h->v[i].owner);

        if (listed(versions, n, h->v[i].version) || (e != NULL && e->version != h->v[i].version))
            continue; /* it lacks it, or what was listed is old by now */
        settle(d, &h->v[i]);
        forget(h, i);
    }
    h->target = from->node;
    h->routed = false;
    h->copying = true;
    h->tries = 0;
    drive(d, slot);
    return true;
}

/* Refused, or moved on: later. */
bool handover_copied(struct dht *d, uint64_t id, const uint8_t *verdicts, size_t n)
{
    size_t slot = slot_of(d, id);
    struct handover *h;

    if (slot == HANDOVERS_MAX)
        return false;
    h = d->handovers.v[slot];
    if (!h->copying || n != h->sent)
        return true;
    for (size_t i = n; i-- > 0;) {
        if (verdicts[i] == VERDICT_OK || verdicts[i] == VERDICT_TAKEN)
            settle(d, &h->v[i]);
        else
            postpone(d, &h->v[i],
                     verdicts[i] == VERDICT_REFUSED ? HANDOVER_REFUSED_US : HANDOVER_AGAIN_US);
        forget(h, i);
    }
    h->tries = 0;
    drive(d, slot);
    return true;
}
