#include "dht/inside.h"

#include <stdlib.h>
#include <string.h>

struct asker {
    bool waits;
    struct overlay_from from;
    uint64_t request;
};

/* A copy under way to both neighbours. */
struct write {
    struct write *next;
    uint64_t id, version;
    struct id key, owner;
    bool promise;
    struct asker askers[DHT_POINTS]; /* in a small ring one node answers for several points */
    struct id acked[2];
    size_t acks;
    unsigned tries;
    usec due_us;
    uint16_t len;
    uint8_t body[]; /* the PARCEL_COPY */
};

enum { COPY_REMAINING_OFFSET = PARCEL_HEADER_LEN + 1 + 1 + 1 }; /* point, count, flags */

void replica_init(struct dht *d)
{
    d->replica.ring[0] = d->config.node;
    d->replica.count = 1;
    d->replica.whole = true;
}

static void end_write(struct dht *d, struct write *w)
{
    struct write **at = &d->replica.writes;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    d->replica.write_count--;
    free(w);
}

void replica_clear(struct dht *d)
{
    while (d->replica.writes != NULL)
        end_write(d, d->replica.writes);
}

/* The ring around us. */

static void forget_ack(struct write *w, const struct id *by)
{
    for (size_t i = 0; i < w->acks; i++)
        if (id_eq(&w->acked[i], by))
            w->acked[i] = w->acked[--w->acks];
}

static bool has(const struct id *ids, size_t n, const struct id *id)
{
    for (size_t i = 0; i < n; i++)
        if (id_eq(&ids[i], id))
            return true;
    return false;
}

static void look_around(struct dht *d)
{
    struct replica *r = &d->replica;

    r->lefts = overlay_near_left(d->overlay, r->left);
    r->rights = overlay_near_right(d->overlay, r->right);
    r->count = 0;
    r->whole = r->lefts < OVERLAY_NEAR || r->rights < OVERLAY_NEAR;
    for (size_t i = r->lefts; i-- > 0;)
        r->ring[r->count++] = r->left[i];
    r->self = r->count;
    r->ring[r->count++] = d->config.node;
    for (size_t i = 0; i < r->rights; i++) {
        if (has(r->left, r->lefts, &r->right[i]))
            r->whole = true;
        else
            r->ring[r->count++] = r->right[i];
    }
}

size_t replica_closest_index(const struct dht *d, const struct id *point)
{
    const struct replica *r = &d->replica;
    size_t best = r->leaving && r->count > 1 ? (r->self + 1) % r->count : r->self;

    for (size_t i = 0; i < r->count; i++)
        if (!(r->leaving && i == r->self) && id_closer(point, &r->ring[i], &r->ring[best]))
            best = i;
    return best;
}

bool replica_closest(const struct dht *d, const struct id *point)
{
    return !d->replica.leaving && replica_closest_index(d, point) == d->replica.self;
}

static bool one_of_three(const struct dht *d, const struct id *point)
{
    const struct replica *r = &d->replica;
    const struct id *closest = &r->ring[replica_closest_index(d, point)];

    if (id_eq(closest, &d->config.node))
        return true;
    return (r->lefts > 0 && id_eq(closest, &r->left[0])) ||
           (r->rights > 0 && id_eq(closest, &r->right[0]));
}

uint8_t replica_points(const struct dht *d, const struct id *key)
{
    uint8_t points = 0;

    if (d->replica.leaving)
        return 0;
    for (unsigned i = 0; i < DHT_POINTS; i++) {
        struct id point = id_point(key, i, DHT_POINTS);

        if (one_of_three(d, &point))
            points |= (uint8_t)(1u << i);
    }
    return points;
}

bool replica_near(const struct dht *d, const struct id *node)
{
    return has(d->replica.ring, d->replica.count, node);
}

bool replica_ready(const struct dht *d)
{
    return d->replica.member && !d->replica.leaving && fill_done(d);
}

/* Half of those around us are gone at once: many died, or rings have merged. What we own may have
 * lost holders, or found a rival. */
static void notice_upheaval(struct dht *d)
{
    struct replica *r = &d->replica;
    size_t gone = 0;

    for (size_t i = 0; i < r->knowns; i++)
        gone += !replica_near(d, &r->known[i]);
    if (gone > 0 && 2 * gone >= r->knowns - 1)
        keep_check_soon(d);
    else if (d->env->now_us < r->known_us + UPHEAVAL_US)
        return;
    memcpy(r->known, r->ring, sizeof(r->known));
    r->knowns = r->count;
    r->known_us = d->env->now_us;
}

void replica_peer_up(struct dht *d, const struct id *peer)
{
    static const struct id nobody;
    struct replica *r = &d->replica;

    for (size_t i = 0; i < r->knowns; i++) {
        if (!id_eq(&r->known[i], peer))
            continue;
        r->known[i] = nobody;
        r->changed = true;
    }
    for (struct write *w = r->writes; w != NULL; w = w->next)
        forget_ack(w, peer);
}

static void ring_changed(struct dht *d)
{
    bool was_alone = d->replica.count == 1;

    d->replica.changed = false;
    d->replica.member = true;
    look_around(d);
    fill_ring_changed(d);
    /* Changes come in groups, but who was alone has what nobody else knows of. */
    handover_ring_changed(d, was_alone ? 0 : env_jitter(d->env, SETTLE_US, 30));
    repair_soon(d);
    notice_upheaval(d);
    for (struct write *w = d->replica.writes; w != NULL; w = w->next) {
        w->due_us = d->env->now_us;
        w->tries = 0; /* of those who are our neighbours now */
    }
}

/* Writes. */

static size_t neighbours(const struct dht *d, const struct id *out[2])
{
    const struct replica *r = &d->replica;
    size_t n = 0;

    if (r->lefts > 0)
        out[n++] = &r->left[0];
    if (r->rights > 0 && (n == 0 || !id_eq(&r->right[0], out[0])))
        out[n++] = &r->right[0];
    return n;
}

static size_t unacked(const struct dht *d, const struct write *w)
{
    const struct id *peers[2];
    size_t n = neighbours(d, peers);
    size_t missing = 0;

    for (size_t i = 0; i < n; i++)
        missing += !has(w->acked, w->acks, peers[i]);
    return missing;
}

static void answer_askers(struct dht *d, const struct write *w, enum verdict verdict,
                          const struct entry *standing)
{
    for (size_t i = 0; i < DHT_POINTS; i++)
        if (w->askers[i].waits)
            holder_answer(d, &w->askers[i].from, w->askers[i].request, verdict, standing);
}

/* The promise is over when somebody's record came meanwhile. */
static void finish_promise(struct dht *d, const struct write *w)
{
    const struct entry *standing = store_standing(&d->store, &w->key);

    if (store_promised(&d->store, &w->key, &w->owner, d->env->now_us))
        answer_askers(d, w, VERDICT_OK, NULL);
    else if (standing != NULL)
        answer_askers(d, w, VERDICT_TAKEN, standing);
    else
        answer_askers(d, w, VERDICT_BUSY, NULL);
}

/* What stands now may be something else than what was written: a neighbour knew better. */
static void finish_record(struct dht *d, const struct write *w)
{
    const struct entry *e = store_find(&d->store, &w->key, &w->owner);

    if (e != NULL && e->version == w->version) {
        answer_askers(d, w, VERDICT_OK, NULL);
        return;
    }
    if (e == NULL)
        e = store_standing(&d->store, &w->key);
    answer_askers(d, w, e != NULL ? VERDICT_TAKEN : VERDICT_REFUSED, e);
}

static void finish_write(struct dht *d, struct write *w)
{
    if (w->promise)
        finish_promise(d, w);
    else
        finish_record(d, w);
    if (!w->promise && unacked(d, w) > 0)
        repair_soon(d);
    end_write(d, w);
}

static void send_copies(struct dht *d, struct write *w)
{
    const struct entry *e = store_find(&d->store, &w->key, &w->owner);
    const struct id *peers[2];
    size_t n = neighbours(d, peers);
    struct parcel p;

    if (!w->promise && e != NULL)
        put_u32(w->body + COPY_REMAINING_OFFSET, entry_remaining_s(e, d->env->now_us));
    p.w = writer_of(p.bytes, sizeof(p.bytes));
    write_bytes(&p.w, w->body, w->len);
    for (size_t i = 0; i < n; i++) {
        if (has(w->acked, w->acks, peers[i]))
            continue;
        dht_count(d, COUNT_COPIES_SENT);
        parcel_send(d, peers[i], &p);
    }
    w->tries++;
    w->due_us = d->env->now_us + WRITE_TRY_US * w->tries;
}

static void drive_write(struct dht *d, struct write *w)
{
    if (unacked(d, w) == 0 || (w->acks > 0 && w->tries >= WRITE_ENOUGH_TRIES))
        finish_write(d, w);
    else if (w->tries >= WRITE_TRIES)
        end_write(d, w); /* not safe: the asker has to ask again */
    else
        send_copies(d, w);
}

static struct write *find_write(const struct dht *d, uint64_t version, bool promise)
{
    for (struct write *w = d->replica.writes; w != NULL; w = w->next)
        if (w->version == version && w->promise == promise)
            return w;
    return NULL;
}

static struct write *new_write(struct dht *d, const struct record *rec, uint8_t point,
                               uint32_t remaining_s, bool promise)
{
    struct parcel p;
    struct write *w;
    uint64_t id = parcel_new_id(d);

    if (d->replica.write_count >= WRITES_MAX)
        return NULL;
    parcel_start(&p, PARCEL_COPY, id);
    write_u8(&p.w, point);
    parcel_items(&p);
    (void)parcel_item(&p, rec, remaining_s, promise ? ITEM_PROMISE : 0);
    w = calloc(1, sizeof(*w) + writer_len(&p.w));
    if (w == NULL)
        return NULL;
    w->id = id;
    w->version = record_version(rec, d->store.version_key);
    w->key = rec->key;
    w->owner = rec->owner;
    w->promise = promise;
    w->len = (uint16_t)writer_len(&p.w);
    memcpy(w->body, p.bytes, w->len);
    w->next = d->replica.writes;
    d->replica.writes = w;
    d->replica.write_count++;
    return w;
}

void replica_write(struct dht *d, const struct record *rec, uint8_t point, uint32_t remaining_s,
                   bool promise, const struct overlay_from *asker, uint64_t request)
{
    uint64_t version = record_version(rec, d->store.version_key);
    struct write *w = find_write(d, version, promise);
    bool fresh = w == NULL;

    if (fresh)
        w = new_write(d, rec, point, remaining_s, promise);
    if (w == NULL)
        return;
    w->askers[point] = (struct asker){true, *asker, request};
    if (fresh)
        drive_write(d, w);
}

void replica_release(struct dht *d, const struct id *key, const struct id *owner)
{
    const struct id *peers[2];
    size_t n = neighbours(d, peers);
    struct parcel p;

    parcel_start(&p, PARCEL_RELEASE, parcel_new_id(d));
    write_u8(&p.w, POINT_NONE);
    write_id(&p.w, key);
    write_id(&p.w, owner);
    for (size_t i = 0; i < n; i++)
        parcel_send(d, peers[i], &p);
}

/* Copies that come in. */

/* Tell a sender that has less than we do; never in answer to such an answer (id 0). */
static void correct(struct dht *d, const struct overlay_from *from, const struct entry *standing)
{
    struct parcel p;

    parcel_start(&p, PARCEL_COPY, 0);
    write_u8(&p.w, POINT_NONE);
    parcel_items(&p);
    (void)parcel_item(&p, &standing->rec, entry_remaining_s(standing, d->env->now_us), 0);
    parcel_answer(d, from, &p);
}

static enum verdict copy_promise(struct dht *d, const struct overlay_from *from, uint8_t point,
                                 const struct record *rec, const struct cred *cred)
{
    const struct entry *obstacle = holder_obstacle(d, rec, cred);
    struct id at;

    if (point >= DHT_POINTS)
        return VERDICT_REFUSED;
    if (obstacle != NULL && !id_eq(&obstacle->rec.owner, &rec->owner)) {
        correct(d, from, obstacle);
        return VERDICT_TAKEN;
    }
    /* The holder knows whether our copy of another promise still counts. */
    at = id_point(&rec->key, point, DHT_POINTS);
    if (id_eq(&from->node, &d->replica.ring[replica_closest_index(d, &at)]))
        store_release_all(&d->store, &rec->key);
    return store_promise(&d->store, &rec->key, &rec->owner, d->env->now_us) == 0 ? VERDICT_OK
                                                                                 : VERDICT_BUSY;
}

static enum verdict copy_record(struct dht *d, const struct overlay_from *from, uint64_t id,
                                uint8_t point, const struct item *item, struct cred *cred)
{
    struct entry *standing;
    bool stray = point == POINT_NONE;
    enum store_verdict v = (stray ? holder_take_stray : holder_take)(d, &item->rec, cred,
                                                                     item->remaining_s, &standing);

    if (v == STORE_NEW && stray)
        repair_soon(d); /* a write's copies reach our neighbours by themselves, others do not */
    if (v == STORE_TAKEN && !stray)
        holder_tell_loser(d, &item->rec.writer, standing);
    if (id != 0 && (v == STORE_TAKEN || v == STORE_OLDER))
        correct(d, from, standing);
    return holder_verdict(v);
}

static enum verdict copy_item(struct dht *d, const struct overlay_from *from, uint64_t id,
                              uint8_t point, const struct item *item)
{
    uint8_t points = replica_points(d, &item->rec.key);
    struct cred *cred;

    if (points == 0 || ((item->flags & ITEM_POINTS) >> ITEM_POINTS_SHIFT & ~points) != 0)
        return VERDICT_MOVED;
    if (!dht_record_good(d, &item->rec, &cred))
        return VERDICT_REFUSED;
    if (item->flags & ITEM_PROMISE)
        return copy_promise(d, from, point, &item->rec, cred);
    return copy_record(d, from, id, point, item, cred);
}

void replica_on_copy(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t point = read_u8(r);
    struct item items[ITEMS_MAX];
    size_t n = read_items(r, items);
    struct parcel p;

    if (!reader_done(r)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    if (pen_holds(d, items, n))
        return;
    parcel_start(&p, PARCEL_COPIED, id);
    write_u8(&p.w, (uint8_t)n);
    for (size_t i = 0; i < n; i++)
        write_u8(&p.w, (uint8_t)copy_item(d, from, id, point, &items[i]));
    if (id != 0)
        parcel_answer(d, from, &p);
}

static struct write *write_by_id(const struct dht *d, uint64_t id)
{
    for (struct write *w = d->replica.writes; w != NULL; w = w->next)
        if (w->id == id)
            return w;
    return NULL;
}

static void write_copied(struct dht *d, struct write *w, const struct id *by, uint8_t verdict)
{
    if (verdict == VERDICT_MOVED)
        return; /* it does not know us as its neighbour yet; asked again */
    if (w->promise && (verdict == VERDICT_BUSY || verdict == VERDICT_TAKEN)) {
        /* With TAKEN comes the record that stands: the asker will hear of it when it asks again. */
        store_release(&d->store, &w->key, &w->owner);
        answer_askers(d, w, verdict == VERDICT_BUSY ? VERDICT_BUSY : VERDICT_NOT_READY, NULL);
        end_write(d, w);
        return;
    }
    if (w->acks < ARRAY_LEN(w->acked) && !has(w->acked, w->acks, by))
        w->acked[w->acks++] = *by;
    if (unacked(d, w) == 0)
        finish_write(d, w);
}

void replica_on_copied(struct dht *d, const struct overlay_from *from, uint64_t id,
                       struct reader *r)
{
    size_t n = read_u8(r);
    const uint8_t *verdicts = read_bytes(r, n);
    struct write *w = write_by_id(d, id);

    if (!reader_done(r) || n == 0)
        dht_count(d, COUNT_MALFORMED);
    else if (w != NULL)
        write_copied(d, w, &from->node, verdicts[0]);
    else if (!handover_copied(d, id, verdicts, n))
        dht_count(d, COUNT_UNASKED);
}

/* Time. */

void replica_leave(struct dht *d)
{
    d->replica.leaving = true;
    handover_ring_changed(d, 0);
}

static void writes_tick(struct dht *d)
{
    struct write *next;

    for (struct write *w = d->replica.writes; w != NULL; w = next) {
        next = w->next;
        if (w->due_us <= d->env->now_us)
            drive_write(d, w);
    }
}

void replica_tick(struct dht *d)
{
    bool member = overlay_state(d->overlay) == OVERLAY_MEMBER;

    if (member && (d->replica.changed || !d->replica.member))
        ring_changed(d);
    if (!d->replica.member) {
        d->replica.look_us = d->env->now_us + LOOK_US;
        return;
    }
    writes_tick(d);
    fill_tick(d);
    handover_tick(d);
    repair_tick(d);
}

usec replica_deadline(const struct dht *d)
{
    usec at = USEC_NEVER;

    if (!d->replica.member)
        return d->replica.look_us;
    if (d->replica.changed && overlay_state(d->overlay) == OVERLAY_MEMBER)
        return d->env->now_us;
    for (const struct write *w = d->replica.writes; w != NULL; w = w->next)
        at = usec_min(at, w->due_us);
    at = usec_min(at, fill_deadline(d));
    at = usec_min(at, handover_deadline(d));
    return usec_min(at, repair_deadline(d));
}
