/*
 * Broadcast: a message is responsible for a segment of the ring, from its holder clockwise up to
 * `end`. The holder splits the segment at its connections inside it and hands each its part: every
 * node gets it once, at a depth of O(log n).
 *
 *   origin 20, number 4, end 20, hops 1, proto 1, body
 *
 * Every part is confirmed (MSG_BROADCAST_HEARD) or sent again; when its receiver is gone, the part
 * goes to those behind it, and what lies before the first of them to the one before it. A node that
 * hears a message again with a segment that reaches further covers just the rest.
 */
#include "overlay/overlay_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADER_LEN = 46,
    SEEN_MAX = 32,     /* messages remembered; victim: the oldest */
    PARTS_MAX = 128,   /* waiting for confirmation; victim: the newest, it is sent once */
    TRIES = 8,         /* to somebody who seems to live; who is dead is noticed before */
    TRIES_DOUBLED = 2, /* so many of the pauses between them */
    HOPS_MAX = 64,
};
static const usec again_us = MSEC(300); /* at least, and more than two round trips */
static const usec seen_us = SEC(60);

/* One message; parts share it. */
struct news {
    struct id origin;
    uint32_t number;
    uint8_t hops, proto;
    unsigned users;
    size_t len;
    uint8_t body[];
};

struct part {
    struct news *news;
    struct id to, end;
    usec at_us;
    uint8_t tries;
};

struct seen {
    struct id origin, end; /* covered up to here */
    uint32_t number;
    usec at_us; /* 0: unused */
};

struct broadcast {
    struct alarm alarm;
    struct seen seen[SEEN_MAX];
    struct part *parts;
    size_t part_count, part_size;
};

static void parts_due(struct overlay *o, struct alarm *alarm);

static struct broadcast *state_of(struct overlay *o)
{
    if (o->broadcast == NULL) {
        o->broadcast = calloc(1, sizeof *o->broadcast);
        CHECK(o->broadcast != NULL);
        o->broadcast->alarm = (struct alarm){.timer.at_us = USEC_NEVER, .due = parts_due};
    }
    return o->broadcast;
}

static void news_unref(struct news *n)
{
    if (--n->users == 0)
        free(n);
}

static void send_part(struct overlay *o, struct link *l, const struct news *n, const struct id *end)
{
    uint8_t message[MESSAGE_MAX];
    struct writer w = writer_of(message, sizeof message);

    write_id(&w, &n->origin);
    write_u32(&w, n->number);
    write_id(&w, end);
    write_u8(&w, (uint8_t)(n->hops + 1));
    write_u8(&w, n->proto);
    write_bytes(&w, n->body, n->len);
    CHECK(!w.failed);
    (void)session_send(l->session, MSG_BROADCAST, message, writer_len(&w));
}

static usec part_again_at(const struct overlay *o, const struct link *l, uint8_t tries)
{
    uint8_t doublings = tries < TRIES_DOUBLED ? tries : TRIES_DOUBLED;

    return o->env->now_us + ((2 * session_rtt(l->session) + again_us) << doublings);
}

static bool room_for_part(struct broadcast *b)
{
    size_t size = b->part_size > 0 ? 2 * b->part_size : 8;
    struct part *parts;

    if (b->part_count < b->part_size)
        return true;
    parts = size <= PARTS_MAX ? realloc(b->parts, size * sizeof *parts) : NULL;
    if (parts == NULL)
        return false;
    b->parts = parts;
    b->part_size = size;
    return true;
}

static void hand_part(struct overlay *o, struct link *l, struct news *n, const struct id *end)
{
    struct broadcast *b = o->broadcast;

    send_part(o, l, n, end);
    if (!room_for_part(b)) {
        overlay_counted(o, OVERLAY_COUNT_DROP_FULL);
        return;
    }
    n->users++;
    b->parts[b->part_count] = (struct part){.news = n, .to = l->peer.id, .end = *end};
    b->parts[b->part_count].at_us = part_again_at(o, l, 0);
    alarm_sooner(o, &b->alarm, b->parts[b->part_count].at_us);
    b->part_count++;
}

static bool may_take(const struct ring_peer *peer)
{
    return peer->state == OVERLAY_MEMBER && peer->needed;
}

/* Splits what lies clockwise between start and end (both not in it). Who took the first part, or
 * NULL. */
static const struct ring_peer *cover(struct overlay *o, struct news *n, const struct id *start,
                                     const struct id *end)
{
    const struct ring *ring = &o->ring;
    const struct ring_peer *taker = NULL;
    struct link *holder = NULL;
    size_t first = 0;

    while (first < ring->count && id_cmp(&ring->peers[first]->id, start) < 0)
        first++;
    for (size_t k = 0; k < ring->count; k++) {
        struct ring_peer *peer = ring->peers[(first + k) % ring->count];

        if (!may_take(peer) || !id_between(start, &peer->id, end))
            continue;
        if (holder != NULL)
            hand_part(o, holder, n, &peer->id);
        holder = link_of(peer);
        if (taker == NULL)
            taker = peer;
    }
    if (holder != NULL)
        hand_part(o, holder, n, end);
    return taker;
}

/* The nearest before `gone` that is known to us. */
static struct ring_peer *last_before(struct overlay *o, const struct id *gone)
{
    struct ring_peer *before = NULL;

    for (size_t i = 0; i < o->ring.count; i++) {
        struct ring_peer *peer = o->ring.peers[i];

        if (may_take(peer) && id_between(&o->ring.self, &peer->id, gone) &&
            (before == NULL || id_between(&before->id, &peer->id, gone)))
            before = peer;
    }
    return before;
}

/* The receiver of a part is gone: those behind it share the part. Between it and the first of them
 * there may be some that only its neighbours know: the one before it takes that over. */
static void cover_again(struct overlay *o, struct news *n, const struct id *gone,
                        const struct id *end)
{
    const struct ring_peer *behind = cover(o, n, gone, end);
    struct ring_peer *before = last_before(o, gone);

    if (before != NULL)
        hand_part(o, link_of(before), n, behind != NULL ? &behind->id : end);
}

static void drop_part(struct broadcast *b, size_t i)
{
    b->part_count--;
    memmove(b->parts + i, b->parts + i + 1, (b->part_count - i) * sizeof b->parts[0]);
    if (b->part_count > 0)
        return;
    free(b->parts); /* an idle node keeps no room for the next one */
    b->parts = NULL;
    b->part_size = 0;
}

static void give_up_part(struct overlay *o, size_t i)
{
    struct part p = o->broadcast->parts[i];

    drop_part(o->broadcast, i);
    cover_again(o, p.news, &p.to, &p.end);
    news_unref(p.news);
}

/* When the oldest message that is remembered need not be any more. */
static usec forgotten_at(const struct overlay *o)
{
    usec at_us = USEC_NEVER;

    for (size_t i = 0; i < SEEN_MAX; i++) {
        const struct seen *s = &o->broadcast->seen[i];

        if (s->at_us != 0 && o->env->now_us < s->at_us + seen_us)
            at_us = usec_min(at_us, s->at_us + seen_us);
    }
    return at_us;
}

static void parts_due(struct overlay *o, struct alarm *alarm)
{
    struct broadcast *b = o->broadcast;
    usec at_us = USEC_NEVER;

    for (size_t i = 0; i < b->part_count;) {
        struct part *p = &b->parts[i];
        struct link *l = link_find(o, &p->to);

        if (p->at_us > o->env->now_us) {
            i++;
        } else if (l == NULL || !l->up || ++p->tries == TRIES) {
            give_up_part(o, i); /* the new parts stand at the end, and are due later */
        } else {
            send_part(o, l, p->news, &p->end);
            p->at_us = part_again_at(o, l, p->tries);
            i++;
        }
    }
    for (size_t i = 0; i < b->part_count; i++)
        at_us = usec_min(at_us, b->parts[i].at_us);
    alarm_set(o, alarm, usec_min(at_us, forgotten_at(o)));
    if (alarm->timer.at_us == USEC_NEVER) /* rare, and then many: nothing is kept in between */
        broadcast_free(o);
}

void broadcast_link_down(struct overlay *o, struct link *l)
{
    size_t n = o->broadcast != NULL ? o->broadcast->part_count : 0;

    for (size_t i = 0; i < n; i++)
        if (id_eq(&o->broadcast->parts[i].to, &l->peer.id)) {
            o->broadcast->parts[i].at_us = o->env->now_us;
            alarm_sooner(o, &o->broadcast->alarm, o->env->now_us);
        }
}

/* The slot of this message, and whether it is there for the first time. */
static struct seen *remember(struct overlay *o, const struct id *origin, uint32_t number,
                             bool *is_new)
{
    struct broadcast *b = state_of(o);
    struct seen *victim = &b->seen[0];

    for (size_t i = 0; i < SEEN_MAX; i++) {
        struct seen *s = &b->seen[i];

        if (s->at_us != 0 && o->env->now_us >= s->at_us + seen_us)
            s->at_us = 0;
        *is_new = false;
        if (s->at_us != 0 && s->number == number && id_eq(&s->origin, origin))
            return s;
        if (s->at_us < victim->at_us)
            victim = s;
    }
    *is_new = true;
    *victim = (struct seen){
        .origin = *origin, .end = o->ring.self, .number = number, .at_us = o->env->now_us};
    alarm_sooner(o, &b->alarm, o->env->now_us + seen_us);
    return victim;
}

static struct news *news_new(const struct id *origin, uint32_t number, uint8_t hops, uint8_t proto,
                             const void *body, size_t len)
{
    struct news *n = malloc(sizeof *n + len);

    if (n == NULL)
        return NULL;
    *n = (struct news){
        .origin = *origin, .number = number, .hops = hops, .proto = proto, .users = 1, .len = len};
    if (len > 0)
        memcpy(n->body, body, len);
    return n;
}

static void deliver(struct overlay *o, const struct news *n)
{
    struct overlay_from from = {.node = n->origin, .key = o->ring.self, .hops = n->hops};
    struct reader r = reader_of(n->body, n->len);

    overlay_counted(o, OVERLAY_COUNT_BROADCASTS);
    if (n->proto == BROADCAST_PROTO_MERGE)
        join_merge_input(o, &r);
    else if (n->proto == OVERLAY_PROTO_DHT || n->proto == OVERLAY_PROTO_NODE)
        o->host.message(o->ctx, &from, n->proto, n->body, n->len);
    else
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
}

int broadcast_start(struct overlay *o, uint8_t proto, const void *body, size_t len)
{
    struct route_header to_us = route_new(&o->ring.self, &o->ring.self, ROUTE_EXACT, proto);
    struct news *n;
    bool is_new;

    if (len > OVERLAY_BODY_MAX)
        return -ERR_RANGE;
    if (o->ring.state != OVERLAY_MEMBER)
        return -ERR_BAD_STATE;
    n = news_new(&o->ring.self, env_random_u32(o->env), 0, proto, body, len);
    if (n == NULL)
        return -ERR_NOMEM;
    (void)remember(o, &n->origin, n->number, &is_new);
    (void)cover(o, n, &o->ring.self, &o->ring.self);
    news_unref(n);
    if (proto == BROADCAST_PROTO_MERGE) {
        struct reader r = reader_of(body, len);

        join_merge_input(o, &r);
        return 0;
    }
    return transit_send(o, &to_us, NULL, body, len);
}

/* How much of the circle clockwise of us lies before end; all of it when end is ourselves. */
static struct id reach(const struct overlay *o, const struct id *end)
{
    struct id d = id_sub(end, &o->ring.self);

    if (id_is_zero(&d))
        memset(d.b, 0xff, sizeof d.b);
    return d;
}

static void accept_news(struct overlay *o, struct news *n, const struct id *end)
{
    bool is_new;
    struct seen *s = remember(o, &n->origin, n->number, &is_new);
    struct id start = s->end, covered = reach(o, &start), wanted = reach(o, end);
    struct ring_peer *next;

    if (!is_new && id_cmp(&wanted, &covered) <= 0)
        return;
    s->end = *end;
    if (is_new) {
        (void)cover(o, n, &o->ring.self, end);
        deliver(o, n);
        return;
    }
    next = ring_find(&o->ring, &start);
    if (next != NULL && may_take(next))
        hand_part(o, link_of(next), n, end);
    else
        cover_again(o, n, &start, end);
}

bool broadcast_input(struct overlay *o, struct link *from, struct reader *r)
{
    uint8_t heard[ID_LEN + 4];
    struct id origin = read_id(r), end;
    uint32_t number = read_u32(r);
    uint8_t hops, proto;
    struct news *n;

    end = read_id(r);
    hops = read_u8(r);
    proto = read_u8(r);
    if (r->failed || hops > HOPS_MAX || reader_left(r) > OVERLAY_BODY_MAX)
        return false;
    memcpy(heard, origin.b, ID_LEN);
    put_u32(heard + ID_LEN, number);
    if (o->ring.state != OVERLAY_MEMBER) /* it would be passed on to nobody */
        return true;
    (void)session_send(from->session, MSG_BROADCAST_HEARD, heard, sizeof heard);
    n = news_new(&origin, number, hops, proto, r->p, reader_left(r));
    if (n == NULL)
        return true;
    accept_news(o, n, &end);
    news_unref(n);
    return true;
}

bool broadcast_heard_input(struct overlay *o, struct link *from, struct reader *r)
{
    struct id origin = read_id(r);
    uint32_t number = read_u32(r);
    struct broadcast *b = o->broadcast;

    if (!reader_done(r))
        return false;
    for (size_t i = 0; b != NULL && i < b->part_count; i++) {
        struct news *n = b->parts[i].news;

        if (n->number != number || !id_eq(&b->parts[i].to, &from->peer.id) ||
            !id_eq(&n->origin, &origin))
            continue;
        drop_part(b, i);
        news_unref(n);
        break;
    }
    return true;
}

void broadcast_free(struct overlay *o)
{
    for (size_t i = 0; o->broadcast != NULL && i < o->broadcast->part_count; i++)
        news_unref(o->broadcast->parts[i].news);
    if (o->broadcast != NULL)
        free(o->broadcast->parts);
    free(o->broadcast);
    o->broadcast = NULL;
}
