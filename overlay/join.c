/*
 * Finding one's place and keeping it: joining, looking around after losses, meeting other rings.
 *
 * A joiner asks for its own id through the first node that answers. The first member on the way
 * that oversees that place introduces it to the members around it, and these open sessions to the
 * joiner, all at once and straight to the address that the first hop saw it at: of all orders the
 * one with the fewest round trips, and the joiner has their whole lists with the third message.
 *
 *   ASK        token 4, flags 1, endpoint (as the first hop sees the asker)
 *   LISTS      token 4, state 1, flags 1, left 1, right 1, ids 20 each (none for a member that is
 *              in them already), for each the endpoint that the sender reaches it at (family 0:
 * none) INTRODUCE  id 20, via 20, flags 1, endpoint
 */
#include "overlay/overlay_internal.h"

#include <string.h>

enum {
    LISTS_LEN_MAX = 8 + 2 * OVERLAY_NEAR * (ID_LEN + 19),
    INTRODUCE_LEN_MAX = 2 * ID_LEN + 1 + 19,
    INTRODUCTIONS_MAX = 128, /* taken per second; victim: the next one, its asker asks again */
    SEEKS_SOON = 4,          /* times we look around after a loss */
    MERGE_STARTS = 32,       /* nodes of a ring that ask for their place in another */
};
static const usec alone_us = SEC(1);
static const usec ask_first_us = MSEC(500);
static const usec ask_last_us = SEC(2);
static const usec hint_us = SEC(10);
static const usec introduced_first_us =
    MSEC(700); /* those who were told of us come by themselves */
static const usec seek_first_us = SEC(1);
static const usec seek_idle_us = SEC(240);
static const usec merge_apart_us = SEC(30);

static void join_due(struct overlay *o, struct alarm *alarm);
static void seek_due(struct overlay *o, struct alarm *alarm);

static bool outside(const struct overlay *o)
{
    return o->ring.state == OVERLAY_ALONE || o->ring.state == OVERLAY_JOINING;
}

void join_begin(struct overlay *o)
{
    o->join.alarm.due = join_due;
    o->join.seek.due = seek_due;
    o->join.started_us = o->env->now_us;
    alarm_set(o, &o->join.alarm, o->env->now_us + alone_us);
}

/* Asking. */

uint32_t join_token(struct overlay *o, enum ask_purpose purpose)
{
    return (uint32_t)purpose << 28 | env_random_u32(o->env) >> 4;
}

int join_ask(struct overlay *o, const struct id *key, enum route_mode mode, uint8_t flags,
             uint32_t token, struct link *first)
{
    struct route_header h = route_new(&o->ring.self, key, mode, ROUTE_PROTO_ASK);
    struct endpoint none = {.port = 0};
    uint8_t body[8];
    struct writer w = writer_of(body, sizeof body);

    if ((flags & ASK_PLACE) != 0)
        h.flags |= ROUTE_FLAG_SEEK;
    write_u32(&w, token);
    write_u8(&w, flags);
    write_endpoint(&w, &none);
    return transit_send(o, &h, first, body, writer_len(&w));
}

static void ask_for_place(struct overlay *o, struct link *through)
{
    if (o->join.token == 0)
        o->join.token = join_token(o, ASK_FOR_JOIN);
    (void)join_ask(o, &o->ring.self, ROUTE_NEAREST, ASK_PLACE, o->join.token, through);
}

/* Joining. */

static bool knows_member(const struct overlay *o)
{
    for (size_t i = 0; i < o->ring.count; i++)
        if (o->ring.peers[i]->state == OVERLAY_MEMBER)
            return true;
    return false;
}

static struct link *gate_of(const struct overlay *o)
{
    struct link *l = link_find(o, &o->join.gate);

    return l != NULL && l->up ? l : NULL;
}

static void choose_gate(struct overlay *o, struct link *l)
{
    if (gate_of(o) == NULL && !l->peer.indirect)
        o->join.gate = l->peer.id;
}

static void become_member(struct overlay *o)
{
    overlay_set_state(o, OVERLAY_MEMBER);
    o->join.token = 0;
    o->join.pledged = (struct id){{0}};
    o->join.seeks = SEEKS_SOON;
    alarm_set(o, &o->join.alarm, USEC_NEVER);
    alarm_set(o, &o->join.seek, o->env->now_us + env_jitter(o->env, seek_idle_us, 50));
    shortcuts_begin(o);
    contacts_member(o);
}

static void join_due(struct overlay *o, struct alarm *alarm)
{
    usec wait_us = ask_first_us << (o->join.asks < 2 ? o->join.asks : 2);
    struct link *l = gate_of(o);

    if (!outside(o))
        return;
    if (o->env->now_us >= o->join.started_us + alone_us && !knows_member(o)) {
        become_member(o);
        return;
    }
    if (l != NULL)
        ask_for_place(o, l);
    if (o->join.asks < UINT8_MAX)
        o->join.asks++;
    alarm_set(o, alarm, o->env->now_us + usec_min(wait_us, ask_last_us));
}

void join_link_up(struct overlay *o, struct link *l)
{
    if (!outside(o))
        return;
    if (o->ring.state == OVERLAY_ALONE)
        overlay_set_state(o, OVERLAY_JOINING);
    choose_gate(o, l);
    if ((l->mine & OVERLAY_ROLE_LEAF) == 0 || l->peer.indirect)
        return;
    ask_for_place(o, l);
    alarm_sooner(o, &o->join.alarm, o->env->now_us + ask_first_us);
}

void join_link_down(struct overlay *o, struct link *l)
{
    if (!outside(o) || !id_eq(&l->peer.id, &o->join.gate))
        return;
    for (size_t i = 0; i < o->ring.count; i++)
        if (o->ring.peers[i]->state == OVERLAY_MEMBER)
            choose_gate(o, link_of(o->ring.peers[i]));
    alarm_sooner(o, &o->join.alarm, o->env->now_us + ask_first_us);
}

/* It may not have been a member yet when we asked through it. */
void join_member_met(struct overlay *o, struct link *l)
{
    if (outside(o)) {
        choose_gate(o, l);
        if ((l->mine & OVERLAY_ROLE_LEAF) != 0 || join_is_pledged(o, l))
            ask_for_place(o, l);
    } else {
        contact_up(o, l->session, l);
    }
}

/*
 * Those who start at the same time need not wait until each is sure to be alone. Who has heard all
 * that it asks, and no member among them, pledges to wait for the lowest node that it sees, for no
 * second one while that is there; a node begins the ring when all that it sees have pledged to it.
 * So of those around one bootstrap one begins. Whoever gets no answer waits as if alone.
 */

bool join_is_pledged(const struct overlay *o, const struct link *l)
{
    return id_eq(&o->join.pledged, &l->peer.id);
}

/* The lowest of us and all that we see; NULL: one did not say that it is outside. */
static const struct id *lowest_outside(const struct overlay *o)
{
    const struct id *lowest = &o->ring.self;

    for (size_t i = 0; i < o->ring.count; i++) {
        const struct link *l = link_of(o->ring.peers[i]);

        if (!l->met || l->peer.state > OVERLAY_JOINING)
            return NULL;
        if (id_cmp(&l->peer.id, lowest) < 0)
            lowest = &l->peer.id;
    }
    return lowest;
}

static bool all_pledge(const struct overlay *o)
{
    for (size_t i = 0; i < o->ring.count; i++)
        if (!link_of(o->ring.peers[i])->pledges)
            return false;
    return o->ring.count > 0;
}

static void pledge(struct overlay *o, const struct id *lowest)
{
    struct link *before = link_find(o, &o->join.pledged), *l = link_find(o, lowest);

    if (before != NULL && before->up)
        return;
    o->join.pledged = *lowest;
    link_need(o, l, 0, 0);
}

static void agree(struct overlay *o)
{
    const struct id *lowest = contacts_settled(o) ? lowest_outside(o) : NULL;

    if (lowest == NULL)
        return;
    if (!id_eq(lowest, &o->ring.self))
        pledge(o, lowest);
    else if (all_pledge(o))
        become_member(o);
}

void join_refresh(struct overlay *o)
{
    if (o->ring.state != OVERLAY_JOINING)
        return;
    if (ring_joined(&o->ring))
        become_member(o);
    else
        agree(o);
}

/* Answering. */

static void answer_lists(struct overlay *o, const struct route_header *h, const struct link *from,
                         uint32_t token, bool known, bool with_lists)
{
    enum route_mode mode = (enum route_mode)(h->flags & ROUTE_FLAG_MODE);
    bool around = mode == ROUTE_RIGHT || mode == ROUTE_LEFT;
    const struct id *via = NULL;
    uint8_t body[LISTS_LEN_MAX];
    struct writer w = writer_of(body, sizeof body);

    /* Where the ring is torn we are found the way that the question came. */
    if (around && from != NULL && !id_eq(&from->peer.id, &h->source))
        via = &from->peer.id;
    write_u32(&w, token);
    write_u8(&w, (uint8_t)o->ring.state);
    write_u8(&w, known ? LISTS_KNOWN : 0);
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        write_u8(&w, with_lists ? o->ring.near[side].count : 0);
    for (int side = RING_LEFT; with_lists && side <= RING_RIGHT; side++)
        for (size_t i = 0; i < o->ring.near[side].count; i++) {
            write_id(&w, &o->ring.near[side].id[i]);
            link_write_endpoint(o, &o->ring.near[side].id[i], &w);
        }
    (void)transit_answer(o, h, via, ROUTE_PROTO_LISTS, body, writer_len(&w));
}

struct introduction {
    struct id id, via;
    struct endpoint ep;
    uint8_t flags; /* as in the question */
};

static bool introductions_left(struct overlay *o)
{
    if (o->env->now_us >= o->join.introductions_us + SEC(1)) {
        o->join.introductions_us = o->env->now_us;
        o->join.introductions = INTRODUCTIONS_MAX;
    }
    if (o->join.introductions == 0)
        return false;
    o->join.introductions--;
    return true;
}

/* Somebody who wants to be our neighbour. */
static void meet(struct overlay *o, const struct introduction *in)
{
    struct link *l = link_find(o, &in->id);

    if (id_eq(&in->id, &o->ring.self) || outside(o) || !introductions_left(o))
        return;
    if (l == NULL || !l->up) {
        ring_welcome(&o->ring, &in->id, &in->via, &in->ep, hint_us);
        if (l != NULL && in->ep.addr.family != 0) {
            struct path_addr udp = {.kind = PATH_UDP, .ep = in->ep};

            session_try_path(l->session, &udp);
        }
        return;
    }
    l->peer.welcome = true;
    l->touched = true;
    ring_peer_changed(&o->ring, &l->peer);
    if (l->peer.state == OVERLAY_MEMBER && (in->flags & ASK_MEMBER) == 0)
        session_probe_now(l->session); /* it started again, and our session is the old one */
}

static void send_introduction(struct overlay *o, const struct id *to, const struct introduction *in)
{
    struct route_header h = route_new(&o->ring.self, to, ROUTE_EXACT, ROUTE_PROTO_INTRODUCE);
    uint8_t body[INTRODUCE_LEN_MAX];
    struct writer w = writer_of(body, sizeof body);

    if (id_eq(to, &o->ring.self)) {
        meet(o, in);
        return;
    }
    write_id(&w, &in->id);
    write_id(&w, &in->via);
    write_u8(&w, in->flags);
    write_endpoint(&w, &in->ep);
    (void)transit_send(o, &h, NULL, body, writer_len(&w));
}

static bool in_list(const struct ring_list *list, const struct id *id)
{
    for (size_t i = 0; i < list->count; i++)
        if (id_eq(&list->id[i], id))
            return true;
    return false;
}

static void introduce(struct overlay *o, const struct introduction *in)
{
    struct ring_list around[2];

    overlay_counted(o, OVERLAY_COUNT_JOINS);
    ring_around(&o->ring, &in->id, &in->id, around);
    for (size_t i = 0; i < around[RING_RIGHT].count; i++)
        send_introduction(o, &around[RING_RIGHT].id[i], in);
    for (size_t i = 0; i < around[RING_LEFT].count; i++)
        if (!in_list(&around[RING_RIGHT], &around[RING_LEFT].id[i])) /* small rings */
            send_introduction(o, &around[RING_LEFT].id[i], in);
}

/* It stands in our lists, and not only by this very session. */
static bool knows_as_member(const struct overlay *o, const struct id *id)
{
    const struct ring_peer *peer = ring_find(&o->ring, id);

    if (peer != NULL)
        return peer->state == OVERLAY_MEMBER && ring_is_near(&o->ring, id);
    return in_list(&o->ring.near[RING_LEFT], id) || in_list(&o->ring.near[RING_RIGHT], id);
}

void join_ask_input(struct overlay *o, struct link *from, const struct route_header *h,
                    struct reader *r)
{
    struct introduction in = {.id = h->source, .via = h->via};
    uint32_t token = read_u32(r);
    bool known, all_is_well;

    in.flags = read_u8(r);
    in.ep = read_endpoint(r);
    if (!reader_done(r)) {
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
        return;
    }
    if (o->ring.state != OVERLAY_MEMBER)
        return;
    known = knows_as_member(o, &h->source);
    all_is_well = known && (in.flags & ASK_MEMBER) != 0;
    answer_lists(o, h, from, token, known, !all_is_well);
    if ((in.flags & ASK_PLACE) != 0 && !all_is_well)
        introduce(o, &in);
}

void join_introduce_input(struct overlay *o, const struct route_header *h, struct reader *r)
{
    struct introduction in;

    in.id = read_id(r);
    in.via = read_id(r);
    in.flags = read_u8(r);
    in.ep = read_endpoint(r);
    if (reader_done(r))
        meet(o, &in);
    else
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
}

/* Answers. */

static void hint_lists(struct overlay *o, const struct lists *lists, const struct id *via,
                       usec delay_us)
{
    ring_hint(&o->ring, &lists->from, via, NULL, delay_us, hint_us);
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        for (size_t i = 0; i < lists->side[side].count; i++)
            ring_hint(&o->ring, &lists->side[side].id[i], via, &lists->ep[side][i], delay_us,
                      hint_us);
}

void join_learn_lists(struct overlay *o, const struct lists *lists, const struct id *via)
{
    hint_lists(o, lists, via, introduced_first_us);
}

static void use_lists(struct overlay *o, const struct lists *lists)
{
    switch ((enum ask_purpose)(lists->token >> 28)) {
    case ASK_FOR_JOIN:
        if (outside(o) && lists->token == o->join.token)
            hint_lists(o, lists, NULL, introduced_first_us);
        return;
    case ASK_FOR_CONTACT:
        contact_lists(o, lists);
        return;
    case ASK_FOR_SEEK:
        if (lists->token == o->join.seek_token && !lists->known)
            hint_lists(o, lists, id_is_zero(&lists->via) ? NULL : &lists->via, introduced_first_us);
        return;
    case ASK_FOR_SHORTCUT:
        shortcut_lists(o, lists);
        return;
    case ASK_FOR_CRAWL:
        crawl_lists(o, lists);
        return;
    }
}

void join_lists_input(struct overlay *o, const struct route_header *h, struct reader *r)
{
    struct lists lists = {.token = read_u32(r), .from = h->source, .via = h->via};
    uint8_t state = read_u8(r);

    lists.state = (enum overlay_state)state;
    lists.known = (read_u8(r) & LISTS_KNOWN) != 0;
    lists.side[RING_LEFT].count = read_u8(r);
    lists.side[RING_RIGHT].count = read_u8(r);
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        for (size_t i = 0; i < lists.side[side].count && i < OVERLAY_NEAR; i++) {
            lists.side[side].id[i] = read_id(r);
            lists.ep[side][i] = read_endpoint(r);
        }
    if (!reader_done(r) || state != OVERLAY_MEMBER || lists.side[RING_LEFT].count > OVERLAY_NEAR ||
        lists.side[RING_RIGHT].count > OVERLAY_NEAR) {
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
        return;
    }
    use_lists(o, &lists);
}

/* Looking around. */

void join_seek_soon(struct overlay *o)
{
    o->join.seeks = 0;
    alarm_sooner(o, &o->join.seek, o->env->now_us + seek_first_us);
}

/* Somebody far away if we can: those around us would only say what we know. */
static struct link *seek_through(struct overlay *o)
{
    struct link *near = NULL, *far = NULL;
    uint64_t nears = 0, fars = 0;

    for (size_t i = 0; i < o->ring.count; i++) {
        struct link *l = link_of(o->ring.peers[i]);

        if (l->peer.state != OVERLAY_MEMBER || l->peer.indirect)
            continue;
        if ((l->mine & OVERLAY_ROLE_NEAR) != 0) {
            if (env_random_below(o->env, ++nears) == 0)
                near = l;
        } else if (env_random_below(o->env, ++fars) == 0) {
            far = l;
        }
    }
    return far != NULL ? far : near;
}

static void seek(struct overlay *o, enum route_mode mode)
{
    struct link *through = seek_through(o);

    if (through != NULL)
        (void)join_ask(o, &o->ring.self, mode, ASK_PLACE | ASK_MEMBER, o->join.seek_token, through);
}

static void seek_due(struct overlay *o, struct alarm *alarm)
{
    bool torn = ring_is_torn(&o->ring), soon = o->join.seeks < SEEKS_SOON || torn;

    if (o->ring.state != OVERLAY_MEMBER)
        return;
    o->join.seek_token = join_token(o, ASK_FOR_SEEK);
    if (soon || (o->join.seeks & 1) == 0)
        seek(o, ROUTE_RIGHT);
    if (soon || (o->join.seeks & 1) == 1)
        seek(o, ROUTE_LEFT);
    if (soon) {
        uint8_t doublings = o->join.seeks < SEEKS_SOON ? o->join.seeks : SEEKS_SOON;

        alarm_set(o, alarm, o->env->now_us + (seek_first_us << doublings));
        if (o->join.seeks < SEEKS_SOON)
            o->join.seeks++;
    } else {
        o->join.seeks = SEEKS_SOON + ((o->join.seeks + 1) & 1);
        alarm_set(o, alarm, o->env->now_us + env_jitter(o->env, seek_idle_us, 30));
    }
}

/* Other rings. */

static bool anybody_else_knows(const struct overlay *o, const struct link *l, const struct id *id)
{
    if (id_eq(id, &o->ring.self))
        return false;
    if (ring_find(&o->ring, id) != NULL)
        return true;
    for (size_t i = 0; i < o->ring.count; i++) {
        const struct ring_peer *peer = o->ring.peers[i];
        size_t n = (size_t)peer->said.counts[RING_LEFT] + peer->said.counts[RING_RIGHT];

        if (peer == &l->peer)
            continue;
        for (size_t k = 0; k < n; k++)
            if (id_eq(&peer->said.entries[k].id, id))
                return true;
    }
    return false;
}

/* Neighbours of one ring have neighbours in common; one that has others, and none of ours, is of
 * another. */
void join_judge_ring(struct overlay *o, struct link *l)
{
    const struct ring_said *said = &l->peer.said;
    size_t n = (size_t)said->counts[RING_LEFT] + said->counts[RING_RIGHT], strangers = 0;
    uint8_t body[ID_LEN + 19];
    struct writer w = writer_of(body, sizeof body);

    if (o->ring.state != OVERLAY_MEMBER || l->peer.state != OVERLAY_MEMBER || o->ring.count < 2)
        return;
    for (size_t i = 0; i < n; i++) {
        if (anybody_else_knows(o, l, &said->entries[i].id))
            return;
        strangers += !id_eq(&said->entries[i].id, &o->ring.self);
    }
    if (strangers == 0)
        return;
    overlay_counted(o, OVERLAY_COUNT_MERGES);
    if (o->join.merge_told_us != 0 && o->env->now_us < o->join.merge_told_us + merge_apart_us)
        return;
    o->join.merge_told_us = o->env->now_us;
    write_id(&w, &l->peer.id);
    write_endpoint(&w, &l->ep);
    (void)broadcast_start(o, BROADCAST_PROTO_MERGE, body, writer_len(&w));
}

void join_merge_input(struct overlay *o, struct reader *r)
{
    struct id foreign = read_id(r);
    struct endpoint ep = read_endpoint(r);
    double chance = MERGE_STARTS / ring_members(&o->ring) * 4294967296.0;

    if (!reader_done(r)) {
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
        return;
    }
    o->join.merge_told_us = o->env->now_us;
    contacts_retry_lost(o);
    if (ep.addr.family != 0 && ring_find(&o->ring, &foreign) == NULL &&
        (double)env_random_u32(o->env) < chance)
        (void)contact_add(o, CONTACT_LOST, &foreign, &ep);
}
