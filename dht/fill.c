#include "dht/inside.h"

#include <string.h>

struct id range_middle(const struct id *a, const struct id *b)
{
    struct id half = id_sub(b, a);
    unsigned carry = 0;

    for (size_t i = 0; i < ID_LEN; i++) {
        unsigned digit = carry << 8 | half.b[i];

        half.b[i] = (uint8_t)(digit >> 1);
        carry = digit & 1;
    }
    return id_add(a, &half);
}

bool fill_done(const struct dht *d)
{
    for (size_t i = 0; i < FILL_SIDES; i++)
        if (d->fill.sides[i].present && !d->fill.sides[i].filled)
            return false;
    return true;
}

/* Where the records of a gap also stand. */
static struct id spot_of(const struct side *s)
{
    struct id middle = range_middle(&s->lo, &s->hi);
    struct id spots[FILL_SPOTS] = {range_middle(&s->lo, &middle), middle,
                                   range_middle(&middle, &s->hi)};

    return id_point(&spots[s->spot], 1 + (s->round + s->turn) % FILL_TURNS, DHT_POINTS);
}

static bool is_left(const struct dht *d, const struct side *s)
{
    return s == &d->fill.sides[FILL_LEFT] || s == &d->fill.sides[FILL_LEFT_GAP];
}

/* Those on this side, nearest first, then those on the other. */
static const struct id *asked_peer(const struct dht *d, const struct side *s)
{
    const struct replica *r = &d->replica;
    bool left = is_left(d, s);
    size_t n = left ? r->lefts : r->rights;
    size_t hop = s->hop % (r->lefts + r->rights);

    if (hop < n)
        return left ? &r->left[hop] : &r->right[hop];
    return left ? &r->right[hop - n] : &r->left[hop - n];
}

static void ask_page(struct dht *d, struct side *s)
{
    struct parcel p;
    struct id spot;

    parcel_start(&p, PARCEL_ASK, s->id);
    write_id(&p.w, &s->lo);
    write_id(&p.w, &s->hi);
    write_id(&p.w, &s->after_key);
    write_id(&p.w, &s->after_owner);
    s->due_us = d->env->now_us + (s->gap ? FILL_TRY_GAP_US : FILL_TRY_US);
    s->tries++;
    if (!s->gap) {
        parcel_send(d, asked_peer(d, s), &p);
        return;
    }
    spot = spot_of(s);
    parcel_route(d, &spot, &p);
}

static void ask_next_page(struct dht *d, struct side *s, const struct id *key,
                          const struct id *owner)
{
    s->after_key = *key;
    s->after_owner = *owner;
    s->id = parcel_new_id(d);
    s->tries = 0;
    ask_page(d, s);
}

static void ask_from_start(struct dht *d, struct side *s)
{
    static const struct id zero;

    ask_next_page(d, s, &zero, &zero);
}

/* From the start, too, but not before then. */
static void ask_later(struct dht *d, struct side *s, usec wait_us)
{
    static const struct id zero;

    s->after_key = s->after_owner = zero;
    s->id = parcel_new_id(d);
    s->tries = 0;
    s->due_us = d->env->now_us + wait_us;
}

/* `peer` NULL: nobody is on this side. */
static void beside(struct dht *d, struct side *s, const struct id *peer, const struct id *lo,
                   const struct id *hi)
{
    if (peer == NULL) {
        s->present = false;
        return;
    }
    if (s->present && id_eq(&s->peer, peer))
        return;
    *s = (struct side){.peer = *peer, .present = true, .lo = *lo, .hi = *hi};
    s->since_us = d->env->now_us;
    ask_from_start(d, s);
}

/* must_wait: until then we neither grant nor deny. False: there are so few members that everybody
 * holds everything. */
static bool gap(struct dht *d, struct side *s, const struct id *lo, const struct id *hi,
                bool must_wait)
{
    if (id_eq(lo, hi))
        return false;
    *s = (struct side){.gap = true, .present = true, .filled = !must_wait, .lo = *lo, .hi = *hi};
    s->since_us = d->env->now_us;
    ask_from_start(d, s);
    return true;
}

/* Gone for certain: we would see it if it lived, and not only because others joined between. */
static bool gone(const struct dht *d, const struct id *id)
{
    const struct replica *r = &d->replica;

    return !replica_near(d, id) &&
           (r->whole || id_between(&r->ring[0], id, &r->ring[r->count - 1]));
}

static bool all_gone(const struct dht *d, const struct id *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!gone(d, &ids[i]))
            return false;
    return n == OVERLAY_NEAR;
}

static struct fill_sight sight(const struct replica *r)
{
    struct fill_sight s = {.lefts = r->lefts, .rights = r->rights};

    memcpy(s.left, r->left, sizeof(s.left));
    memcpy(s.right, r->right, sizeof(s.right));
    return s;
}

/* f->now is still what we saw until this change. */
static void look_back(struct dht *d)
{
    struct fill *f = &d->fill;
    usec age_us = d->env->now_us - f->newer_us;

    if (age_us < FILL_GAP_US)
        return;
    f->older = age_us < 2 * FILL_GAP_US ? f->newer : f->now;
    f->newer = f->now;
    f->newer_us = d->env->now_us;
}

static void find_gaps(struct dht *d)
{
    const struct replica *r = &d->replica;
    struct fill *f = &d->fill;
    bool left, right;

    look_back(d);
    left = all_gone(d, f->newer.left, f->newer.lefts) || all_gone(d, f->older.left, f->older.lefts);
    right = all_gone(d, f->newer.right, f->newer.rights) ||
            all_gone(d, f->older.right, f->older.rights);
    f->now = sight(r);
    if (left || right)
        f->newer = f->older = f->now;
    if (left && r->lefts > 0)
        (void)gap(d, &f->sides[FILL_LEFT_GAP], &r->left[0], &d->config.node, true);
    if (right && r->rights > 0)
        (void)gap(d, &f->sides[FILL_RIGHT_GAP], &d->config.node, &r->right[0], true);
}

/*
 * What a neighbour shares with us is what it is closest to and what we are closest to. Of the
 * latter each side is asked for its half: between the two neighbours and us all copies were
 * the same before we came.
 */
void fill_ring_changed(struct dht *d)
{
    const struct replica *r = &d->replica;
    const struct id *self = &d->config.node;
    bool one = r->rights > 0 && r->lefts > 0 && id_eq(&r->left[0], &r->right[0]);
    struct id lo = *self, hi = *self;

    if (r->lefts >= 2)
        lo = range_middle(&r->left[1], &r->left[0]);
    if (r->rights >= 2)
        hi = range_middle(&r->right[0], &r->right[1]);
    beside(d, &d->fill.sides[FILL_LEFT], r->lefts > 0 ? &r->left[0] : NULL, &lo, self);
    beside(d, &d->fill.sides[FILL_RIGHT], r->rights > 0 && !one ? &r->right[0] : NULL, self, &hi);
    find_gaps(d);
    d->fill.ever |= fill_done(d);
}

static void filled(struct dht *d, struct side *s)
{
    s->filled = true;
    d->fill.ever |= fill_done(d);
    repair_soon(d);
}

/* Nobody who was filled has said all of this side: those beside us may all have started anew. */
static bool doubt(struct dht *d, struct side *s, bool must_wait)
{
    struct side *g = &d->fill.sides[is_left(d, s) ? FILL_LEFT_GAP : FILL_RIGHT_GAP];

    s->doubted = true;
    if (!gap(d, g, &s->lo, &s->hi, must_wait))
        return false;
    g->doubted = true;
    return true;
}

/* Somebody beside us was filled: what the gap still brings need not be waited for. */
static void filled_beside(struct dht *d, struct side *s)
{
    struct side *g = &d->fill.sides[is_left(d, s) ? FILL_LEFT_GAP : FILL_RIGHT_GAP];

    if (g->doubted)
        g->filled = true;
    else if (s->hop > 0)
        (void)doubt(d, s, false);
    filled(d, s);
}

/* And the other way round: the holders of other points have said it. */
static void filled_gap(struct dht *d, struct side *g)
{
    struct side *s = &d->fill.sides[is_left(d, g) ? FILL_LEFT : FILL_RIGHT];

    if (g->doubted && s->doubted)
        s->filled = true;
    filled(d, g);
}

/* The one that was asked is not filled itself, or silent. */
static void next_beside(struct dht *d, struct side *s)
{
    if (++s->hop % (d->replica.lefts + d->replica.rights) != 0) {
        ask_from_start(d, s);
        return;
    }
    if (!s->doubted)
        (void)doubt(d, s, true);
    if (d->env->now_us - s->since_us >= FILL_WAIT_US)
        filled_beside(d, s);
    else
        ask_later(d, s, FILL_AGAIN_US);
}

static void gap_round_over(struct dht *d, struct side *s)
{
    s->spot = s->turn = 0;
    if (++s->round == FILL_ROUNDS)
        s->present = false;
    else
        ask_later(d, s, FILL_GAP_AGAIN_US);
    s->since_us = s->due_us;
    filled_gap(d, s);
}

/* Nobody who was filled has answered there. */
static void gap_next_turn(struct dht *d, struct side *s)
{
    if (d->env->now_us - s->since_us >= FILL_WAIT_US)
        gap_round_over(d, s);
    else if (++s->turn % FILL_TURNS != 0)
        ask_from_start(d, s);
    else
        ask_later(d, s, FILL_AGAIN_US);
}

static void gap_next_spot(struct dht *d, struct side *s, const struct id *said_by)
{
    s->turn = 0;
    s->peer = *said_by;
    if (++s->spot == FILL_SPOTS)
        gap_round_over(d, s);
    else
        ask_from_start(d, s);
}

static bool is_asking(const struct side *s)
{
    return s->present && (s->gap || !s->filled);
}

static void side_tick(struct dht *d, struct side *s)
{
    if (!is_asking(s) || s->due_us > d->env->now_us)
        return;
    if (s->tries < FILL_TRIES)
        ask_page(d, s);
    else if (s->gap)
        gap_next_turn(d, s);
    else
        next_beside(d, s);
}

void fill_tick(struct dht *d)
{
    for (size_t i = 0; i < FILL_SIDES; i++)
        side_tick(d, &d->fill.sides[i]);
}

usec fill_deadline(const struct dht *d)
{
    usec at = USEC_NEVER;

    for (size_t i = 0; i < FILL_SIDES; i++)
        if (is_asking(&d->fill.sides[i]))
            at = usec_min(at, d->fill.sides[i].due_us);
    return at;
}

/* Claims that are under way here: who comes between may be asked for the same key next. */
static void write_promises(const struct dht *d, const struct arcs *arcs, uint8_t most,
                           struct writer *w)
{
    const struct store *store = &d->store;
    uint8_t *count = w->p;

    write_u8(w, 0);
    for (size_t i = store->promise_count; i-- > 0 && *count < most;) {
        const struct promise *p = &store->promises[i];

        if (p->ends_us <= d->env->now_us || !arcs_have(arcs, &p->key))
            continue;
        write_id(w, &p->key);
        write_id(w, &p->owner);
        write_u16(w, (uint16_t)((p->ends_us - d->env->now_us) / MSEC(1)));
        ++*count;
    }
}

static size_t read_promises(struct reader *r, usec now_us, struct promise promises[PROMISES_MAX])
{
    size_t n = read_u8(r);

    if (n > PROMISES_MAX)
        r->failed = true;
    for (size_t i = 0; i < n && !r->failed; i++) {
        usec left_us;

        promises[i].key = read_id(r);
        promises[i].owner = read_id(r);
        left_us = MSEC(read_u16(r));
        if (left_us > SEC(STORE_PROMISE_S))
            r->failed = true;
        promises[i].ends_us = now_us + left_us;
    }
    return r->failed ? 0 : n;
}

void fill_on_ask(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    struct id lo = read_id(r);
    struct id hi = read_id(r);
    struct id key = read_id(r);
    struct id owner = read_id(r);
    struct arcs arcs = arcs_of(&lo, &hi);
    struct parcel p;
    uint8_t *flags;

    if (!reader_done(r)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    parcel_start(&p, PARCEL_PAGE, id);
    flags = p.w.p;
    write_u8(&p.w, replica_ready(d) ? VALUES_READY : 0);
    write_promises(d, &arcs, id_is_zero(&key) ? PROMISES_MAX : 0, &p.w);
    parcel_items(&p);
    for (size_t i = store_index(&d->store, &key, &owner); i < d->store.count; i++) {
        const struct entry *e = d->store.v[i];
        uint32_t remaining_s = entry_remaining_s(e, d->env->now_us);

        if (remaining_s == 0 || !arcs_have(&arcs, &e->rec.key) ||
            (id_eq(&e->rec.key, &key) && id_eq(&e->rec.owner, &owner)))
            continue;
        if (!parcel_item(&p, &e->rec, remaining_s, 0)) {
            *flags |= VALUES_MORE;
            break;
        }
    }
    parcel_answer(d, from, &p);
}

/* Only of a first page: nobody fills our table with promises that nobody made. */
static void take_promises(struct dht *d, const struct side *s, const struct promise *promises,
                          size_t n)
{
    if (!id_is_zero(&s->after_key))
        return;
    for (size_t i = 0; i < n; i++)
        if (replica_points(d, &promises[i].key) != 0)
            store_promise_heard(&d->store, &promises[i].key, &promises[i].owner,
                                promises[i].ends_us, d->env->now_us);
}

static void take_page(struct dht *d, const struct item *items, size_t n)
{
    struct entry *standing;
    struct cred *cred;

    for (size_t i = 0; i < n; i++) {
        if (replica_points(d, &items[i].rec.key) == 0 || !dht_record_good(d, &items[i].rec, &cred))
            continue;
        (void)holder_take_stray(d, &items[i].rec, cred, items[i].remaining_s, &standing);
    }
}

/* The spots of a gap are near each other: mostly the same holder answers for the next one. */
static bool said_all_before(const struct side *s, const struct id *peer)
{
    return s->gap && s->spot > 0 && id_eq(&s->peer, peer);
}

static void end_of_pages(struct dht *d, struct side *s, const struct id *peer, bool peer_ready)
{
    if (s->gap && peer_ready) {
        gap_next_spot(d, s, peer);
    } else if (s->gap) {
        gap_next_turn(d, s);
    } else if (peer_ready || d->fill.ever) {
        filled_beside(d, s);
    } else {
        next_beside(d, s);
    }
}

static struct side *asked_side(struct dht *d, uint64_t id)
{
    for (size_t i = 0; i < FILL_SIDES; i++) {
        struct side *s = &d->fill.sides[i];

        if (is_asking(s) && s->id == id)
            return s;
    }
    return NULL;
}

void fill_on_page(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t flags = read_u8(r);
    struct promise promises[PROMISES_MAX];
    struct item items[ITEMS_MAX];
    size_t promised = read_promises(r, d->env->now_us, promises);
    size_t n = read_items(r, items);
    struct side *s;

    if (!reader_done(r)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    s = asked_side(d, id);
    if (s == NULL) {
        dht_count(d, COUNT_UNASKED);
        return;
    }
    take_promises(d, s, promises, promised);
    if (pen_holds(d, items, n))
        return;
    take_page(d, items, n);
    if (!(flags & VALUES_MORE) || n == 0 || said_all_before(s, &from->node)) {
        end_of_pages(d, s, &from->node, flags & VALUES_READY);
        return;
    }
    if (s->turn < FILL_TURNS && s->hop < OVERLAY_NEAR) /* not again and again */
        s->since_us = d->env->now_us;
    ask_next_page(d, s, &items[n - 1].rec.key, &items[n - 1].rec.owner);
}
