#include "overlay/trail.h"

#include <stdlib.h>
#include <string.h>

/* Numbers given out. */

static void trail_free(struct overlay *o, struct trail *t)
{
    leg_drop(o, &t->in);
    meter_unref(t->meter);
    free(t);
}

static void trail_remove(struct overlay *o, size_t i)
{
    struct trails *all = &o->trails;

    trail_free(o, all->v[i]);
    all->count--;
    memmove(&all->v[i], &all->v[i + 1], (all->count - i) * sizeof(struct trail *));
}

static bool is_same(const struct trail *a, const struct trail *b)
{
    return a->out.tx == b->out.tx && id_eq(&a->out.neighbour, &b->out.neighbour) &&
           id_eq(&a->source, &b->source) && id_eq(&a->in.neighbour, &b->in.neighbour);
}

/* They lead to one neighbour, or end here for one source. */
static bool is_akin(const struct trail *a, const struct trail *b)
{
    return id_eq(&a->out.neighbour, &b->out.neighbour) && id_eq(&a->source, &b->source);
}

static struct trail *trail_like(const struct overlay *o, const struct trail *like)
{
    for (size_t i = 0; i < o->trails.count; i++)
        if (is_same(o->trails.v[i], like))
            return o->trails.v[i];
    return NULL;
}

/* The oldest first: the one named longest ago, among its kin or (NULL) all. */
static bool make_room(struct overlay *o, const struct trail *like)
{
    const struct trails *all = &o->trails;
    size_t akin = 0, victim = SIZE_MAX;
    bool full;

    for (size_t i = 0; i < all->count; i++)
        akin += is_akin(all->v[i], like);
    full = all->count == TRAILS_MAX;
    if (!full && akin < TRAILS_EACH)
        return true;
    for (size_t i = 0; i < all->count; i++)
        if ((akin < TRAILS_EACH || is_akin(all->v[i], like)) &&
            (victim == SIZE_MAX || all->v[i]->named_us < all->v[victim]->named_us))
            victim = i;
    if (o->env->now_us < all->v[victim]->named_us + SEC(TRAIL_STALE_S))
        return false;
    trail_remove(o, victim);
    return true;
}

void trails_due(struct overlay *o, struct alarm *alarm)
{
    for (size_t i = o->trails.count; i-- > 0;)
        if (o->env->now_us >= o->trails.v[i]->named_us + SEC(TRAIL_LIFE_S))
            trail_remove(o, i);
    if (o->trails.count > 0)
        alarm_set(o, alarm, o->env->now_us + SEC(1));
}

static struct trail *trail_new(struct overlay *o, const struct trail *like)
{
    struct trails *all = &o->trails;
    struct trail *t;

    if (!make_room(o, like))
        return NULL;
    if (all->v == NULL)
        all->v = calloc(TRAILS_MAX, sizeof(struct trail *));
    t = all->v != NULL ? malloc(sizeof *t) : NULL;
    if (t == NULL)
        return NULL;
    *t = *like;
    t->in.trail = t;
    t->meter = meter_new(o->channels.bytes_per_s);
    if (t->meter == NULL || !leg_take(o, &t->in)) {
        trail_free(o, t);
        return NULL;
    }
    all->v[all->count++] = t;
    o->legs_changed = true;
    if (all->count == 1)
        alarm_set(o, &all->alarm, o->env->now_us + SEC(1));
    return t;
}

struct link *trail_hop(const struct overlay *o, struct link *next)
{
    const struct path_addr *path = session_path(next->session);
    struct link *hop = path->kind == PATH_RELAY ? link_find(o, &path->via) : next;

    return hop != NULL && leg_is_direct(o, &hop->peer.id) ? hop : NULL;
}

bool trail_pass(struct overlay *o, const struct passage *p, const struct id *next,
                uint8_t told[TRAIL_TOLD_LEN])
{
    bool ours = id_is_zero(&p->from);
    struct trail like = {.in.neighbour = *next, .out.neighbour = p->from};
    struct trail *t;

    if (!o->trails.allowed || o->ring.state != OVERLAY_MEMBER || p->len != TRAIL_TOLD_LEN)
        return false;
    memcpy(told, p->body, TRAIL_TOLD_LEN);
    like.out.tx = get_u32(told + TRAIL_TOKEN_LEN);
    if (ours)
        like.source = p->header.key;
    if ((like.out.tx == 0) != ours || (!ours && !leg_is_direct(o, &p->from)))
        return false;
    t = trail_like(o, &like);
    if (t == NULL) {
        t = trail_new(o, &like);
        overlay_counted(o, t == NULL ? OVERLAY_COUNT_TRAILS_REFUSED : OVERLAY_COUNT_TRAIL_NUMBERS);
    }
    if (t == NULL)
        return false;
    t->named_us = o->env->now_us;
    put_u32(told + TRAIL_TOKEN_LEN, t->in.rx);
    return true;
}

/* The end. */

/* As the session knows the ring's way to it. */
static struct path_addr ring_path(const struct overlay *o, const struct id *peer)
{
    const struct link *l = link_find(o, peer);
    const struct path_addr *path = l != NULL && l->up ? session_path(l->session) : NULL;

    if (path != NULL && path->kind == PATH_RING)
        return *path;
    return (struct path_addr){.kind = PATH_RING, .peer = *peer};
}

bool trail_ask_input(struct overlay *o, struct link *from, struct reader *r)
{
    struct path_addr back = ring_path(o, &from->peer.id);
    struct route_header h = carry_header(o, &back, ROUTE_PROTO_TRAIL);
    uint8_t told[TRAIL_TOLD_LEN] = {0};

    read_copy(r, told, TRAIL_TOKEN_LEN);
    if (!reader_done(r))
        return false;
    if (o->trails.allowed && o->ring.state == OVERLAY_MEMBER)
        (void)transit_send(o, &h, NULL, told, sizeof told);
    return true;
}

void trail_packet(struct overlay *o, const struct trail *t, uint8_t *pkt, size_t len)
{
    const struct path_addr from = ring_path(o, &t->source);

    if (pkt[0] == PACKET_DATA)
        o->host.data(o->ctx, &(struct data_way){.from = NULL}, pkt, len);
    else if (pkt[0] == PACKET_CONTROL)
        (void)sessions_input(o->sessions, &from, pkt, len);
    else
        overlay_counted(o, OVERLAY_COUNT_DROP_RELAY);
}

/* The source. */

bool trail_is_proven(const struct link *l)
{
    return l->trail != NULL && l->trail->way.tx != 0;
}

/* And the first hop is not doubted. */
static bool is_usable(const struct overlay *o, const struct link *l)
{
    const struct link *first = trail_is_proven(l) ? link_find(o, &l->trail->way.neighbour) : NULL;

    return first != NULL && !first->peer.indirect;
}

void trail_data(const struct overlay *o, const struct link *l, struct overlay_data *out)
{
    if (is_usable(o, l))
        leg_data(o, &l->trail->way, out);
}

bool trail_send(struct overlay *o, const struct link *l, const uint8_t *pkt, size_t len)
{
    return is_usable(o, l) && session_path(l->session)->kind == PATH_RING &&
           leg_send(o, &l->trail->way, pkt, len);
}

void trail_send_question(struct overlay *o, const struct path_addr *to, const uint8_t *pkt,
                         size_t len)
{
    const struct link *l = link_find(o, &to->peer);
    const struct trail_source *t = l != NULL ? l->trail : NULL;

    if (t == NULL || !leg_send(o, t->trial.tx != 0 ? &t->trial : &t->way, pkt, len))
        overlay_counted(o, OVERLAY_COUNT_DROP_RELAY);
}

/* Sooner while an answer is missing. */
static usec ask_again_us(const struct trail_source *t)
{
    return t->in_vain > 1 ? TRAIL_AGAIN_US + session_rtt(t->link->session) : TRAIL_ASK_US;
}

static void ask(struct overlay *o, struct trail_source *t)
{
    struct link *first = link_find(o, t->trial.tx != 0 ? &t->trial.neighbour : &t->way.neighbour);
    struct path_addr along = ring_path(o, &t->link->peer.id);
    struct trail_question *q = &t->questions[t->asked++ % TRAIL_TRIES];

    env_random(o->env, q->token, sizeof q->token);
    q->open = true;
    q->trial = t->trial.tx != 0;
    t->in_vain++;
    along.by_trail = t->trial.tx != 0 || t->way.tx != 0;
    session_send_by(t->link->session, &along, MSG_TRAIL_ASK, q->token, sizeof q->token);
    if (along.by_trail && first != NULL)
        link_relied_on(o, first);
    alarm_set(o, &t->alarm, o->env->now_us + ask_again_us(t));
}

static void stop(struct overlay *o, struct trail_source *t)
{
    bool was = t->way.tx != 0;

    t->sought = false;
    t->way.tx = t->trial.tx = 0;
    alarm_set(o, &t->alarm, USEC_NEVER);
    if (was) {
        overlay_counted(o, OVERLAY_COUNT_TRAILS_ENDED);
        o->host.data_changed(o->ctx, &t->link->peer.id);
    }
}

static void give_up(struct overlay *o, struct trail_source *t)
{
    unsigned doublings = t->failures < 8 ? t->failures++ : 8;

    t->retry_us =
        o->env->now_us + usec_min(SEC(TRAIL_RETRY_S) << doublings, SEC(TRAIL_RETRY_MAX_S));
    stop(o, t);
}

static void source_due(struct overlay *o, struct alarm *alarm)
{
    struct trail_source *t = CONTAINER_OF(alarm, struct trail_source, alarm);

    if (session_path(t->link->session)->kind != PATH_RING ||
        o->env->now_us >= t->used_us + SEC(TRAIL_UNUSED_S))
        stop(o, t);
    else if (t->in_vain >= TRAIL_TRIES)
        give_up(o, t);
    else
        ask(o, t);
}

static struct trail_source *source_new(struct link *l, uint64_t packets)
{
    struct trail_source *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->link = l;
    t->packets = packets;
    t->alarm = (struct alarm){.timer.at_us = USEC_NEVER, .due = source_due};
    return t;
}

void trail_data_seen(struct overlay *o, struct link *l, uint64_t tx_packets)
{
    struct trail_source *t = l->trail;
    uint64_t since;

    if (!o->trails.allowed || session_path(l->session)->kind != PATH_RING)
        return;
    if (t == NULL) {
        l->trail = source_new(l, tx_packets); /* the next report shows how much it is */
        return;
    }
    since = tx_packets - (tx_packets < t->packets ? 0 : t->packets);
    t->packets = tx_packets;
    if (since < TRAIL_PACKETS)
        return;
    t->used_us = o->env->now_us;
    if (t->sought || o->env->now_us < t->retry_us)
        return;
    t->sought = true;
    t->in_vain = 0;
    ask(o, t);
}

static struct trail_question *question_of(struct trail_source *t, const uint8_t *token)
{
    for (size_t i = 0; i < TRAIL_TRIES; i++)
        if (t->questions[i].open && equal_ct(t->questions[i].token, token, TRAIL_TOKEN_LEN))
            return &t->questions[i];
    return NULL;
}

static bool leads_as(const struct leg *a, const struct leg *b)
{
    return a->tx == b->tx && id_eq(&a->neighbour, &b->neighbour);
}

/* The answer names the way that is known, or another one to try: the first one at once. */
static void take_up(struct overlay *o, struct trail_source *t, const struct leg *told)
{
    bool first;

    if (leads_as(&t->way, told)) {
        t->trial.tx = 0;
        return;
    }
    if (leads_as(&t->trial, told))
        return;
    first = t->way.tx == 0 && t->trial.tx == 0;
    t->trial = *told;
    for (size_t i = 0; i < TRAIL_TRIES; i++)
        t->questions[i].trial = false; /* that was another one */
    if (first)
        ask(o, t);
}

static void prove(struct overlay *o, struct trail_source *t)
{
    if (t->way.tx == 0)
        overlay_counted(o, OVERLAY_COUNT_TRAILS);
    t->way = t->trial;
    t->trial.tx = 0;
    t->failures = 0;
}

void trail_told_input(struct overlay *o, const struct link *from, const struct route_header *h,
                      struct reader *r)
{
    struct link *l = link_find(o, &h->source);
    struct trail_source *t = l != NULL && l->up ? l->trail : NULL;
    const uint8_t *token = read_bytes(r, TRAIL_TOKEN_LEN);
    struct leg told = {.tx = read_u32(r)};
    struct trail_question *q;
    bool proves;

    if (!reader_done(r) || told.tx == 0 || from == NULL) {
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
        return;
    }
    told.neighbour = from->peer.id;
    q = t != NULL && t->sought ? question_of(t, token) : NULL;
    if (q == NULL || !leg_is_direct(o, &told.neighbour))
        return;
    q->open = false;
    t->in_vain = 0;
    proves = q->trial && t->trial.tx != 0;
    if (proves)
        prove(o, t);
    take_up(o, t, &told);
    if (proves)
        o->host.data_changed(o->ctx, &l->peer.id);
}

/* The end of neighbours, and of all. */

/* A trail that begins with this neighbour leads nowhere any more. */
static void leave_neighbour(struct overlay *o, const struct id *neighbour)
{
    for (size_t i = 0; i < o->ring.count; i++) {
        struct trail_source *t = link_of(o->ring.peers[i])->trail;

        if (t != NULL && ((t->way.tx != 0 && id_eq(&t->way.neighbour, neighbour)) ||
                          (t->trial.tx != 0 && id_eq(&t->trial.neighbour, neighbour))))
            stop(o, t);
    }
}

void trails_link_down(struct overlay *o, struct link *l)
{
    const struct id *id = &l->peer.id;

    for (size_t i = o->trails.count; i-- > 0;) {
        const struct trail *t = o->trails.v[i];

        if (id_eq(&t->in.neighbour, id) || id_eq(&t->out.neighbour, id) || id_eq(&t->source, id))
            trail_remove(o, i);
    }
    if (l->trail != NULL) {
        alarm_set(o, &l->trail->alarm, USEC_NEVER);
        free(l->trail);
        l->trail = NULL;
    }
    leave_neighbour(o, id);
}

void trails_clear(struct overlay *o)
{
    struct link *l;

    for (size_t i = 0; (l = table_next(&o->links, &i)) != NULL;)
        free(l->trail);
    for (size_t i = 0; i < o->trails.count; i++)
        trail_free(o, o->trails.v[i]);
    free(o->trails.v);
}
