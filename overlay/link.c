/*
 * What two neighbours tell each other, in one message that replaces the one before:
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +-------------------------------+---------------+---------------+
 *   | sequence                      | state         | roles         |
 *   +---------------+---------------+---------------+---------------+  MSG_ROLES ends here
 *   | left          | right         | shortcuts     | entries ...
 *   +---------------+---------------+---------------+
 *   | endpoints of left, right: where the sender reaches them (family 0: not directly) ...
 *   +---------------+
 *
 * Roles: a mask of enum overlay_role; SAID_PLEDGE beside it: we are both outside, and the reader
 * may begin the ring (join.c). Entries: 22 each, left, right, shortcuts. Shortcuts 255: as last
 * confirmed. Endpoints are not kept: they are for whom the reader is to connect to now. It is sent
 * when it has news and again until MSG_SAID_HEARD confirms it, so an idle ring exchanges nothing.
 *
 * MSG_MEMBERS is how large we believe the ring, one 16-bit number for each of ring.h's views. A
 * packet of their own they are not worth: they ride in one that goes to that peer anyway, a probe
 * at the latest, when they have changed since. Nobody confirms them; a lost one is made up for when
 * they change again, and by what other peers say.
 */
#include "overlay/relay.h"
#include "overlay/trail.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHORTCUTS_SAME = 255,
    NEAR_MAX = 2 * OVERLAY_NEAR,
    SAYS_EVEN = 3, /* repetitions at an even interval: over a ring that loses much, a word that is
                      not heard for unused_us ends the connection */
    SAYS_MAX = 8,  /* after those the interval doubles, up to so many */
    ROLES_OF_LISTS = OVERLAY_ROLE_NEAR | OVERLAY_ROLE_SHORTCUT,
    ROLES_ALL = 31,
    SAID_PLEDGE = 128,
};
static const usec say_again_us = MSEC(300); /* at least; and more than two round trips */
static const usec say_apart_us = MSEC(100); /* between two lists, unless the state changed ... */
/* ... and these, when only lookahead would be the better for it: somebody is gone whom it may pass
 * messages on to, or is new. A ring that forms has such news all the time. */
static const usec say_gone_us = SEC(1);
static const usec say_new_us = SEC(5);
static const usec unused_us = SEC(5); /* before a connection that nobody needs is closed */
static const usec unmet_us = SEC(15); /* the same, of a peer that has not said what it needs: what
                                         it says was lost, and it says it again */
static const usec first_word_us = SEC(1);
static const usec probe_near_us = SEC(10);
static const usec probe_far_us = SEC(60);
static const usec settling_us = SEC(2); /* a new neighbour's lists are not complete before */
static const usec fresh_us = SEC(1);    /* heard, or reached, so lately: no need to ask */

static void link_alarm(struct overlay *o, struct alarm *alarm);

struct link *link_find(const struct overlay *o, const struct id *id)
{
    return table_get(&o->links, id);
}

static struct link *link_new(struct overlay *o, const struct id *id)
{
    struct link *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    l->peer.id = *id;
    l->alarm = (struct alarm){.timer.at_us = USEC_NEVER, .due = link_alarm};
    if (table_put(&o->links, l) < 0) {
        free(l);
        return NULL;
    }
    return l;
}

void link_free(struct overlay *o, struct link *l)
{
    alarm_set(o, &l->alarm, USEC_NEVER);
    (void)table_remove(&o->links, &l->peer.id);
    ring_peer_clear(&l->peer);
    free(l);
}

struct link *link_open(struct overlay *o, const struct id *id, const struct id *via,
                       const struct endpoint *ep)
{
    struct path_addr ring = {.kind = PATH_RING, .peer = *id, .via = *via};
    bool direct = ep != NULL && sessions_may_try(o->sessions, ep);
    struct link *l = link_find(o, id);
    struct session *s;

    if (l != NULL)
        return l;
    if (id_eq(via, &o->ring.self))
        ring.via = (struct id){{0}};
    l = link_new(o, id);
    if (l == NULL)
        return NULL;
    s = session_open(o->sessions, direct ? &(struct path_addr){.kind = PATH_UDP, .ep = *ep} : &ring,
                     id);
    if (s == NULL) {
        link_free(o, l);
        return NULL;
    }
    if (direct)
        session_try_path(s, &ring);
    l->session = s;
    session_set_user(s, l);
    session_set_hold(s, true);
    return l;
}

void link_came_by(const struct link *l, struct overlay_from *from)
{
    const struct path_addr *path;

    if (l == NULL)
        return;
    path = session_path(l->session);
    from->connection = session_token(l->session);
    from->prefix = addr_prefix(path_addr_is_direct(path) ? &path->ep.addr : &l->ep.addr);
}

void link_write_endpoint(const struct overlay *o, const struct id *id, struct writer *w)
{
    static const struct endpoint none;
    struct ring_peer *peer = ring_find(&o->ring, id);

    write_endpoint(w, peer != NULL && !peer->indirect ? &link_of(peer)->ep : &none);
}

/* Saying. */

static bool exchanges_lists(const struct link *l)
{
    return ((l->mine | l->theirs) & ROLES_OF_LISTS) != 0 || l->peer.welcome;
}

static bool has_state_news(const struct overlay *o, const struct link *l)
{
    return l->state_said != o->ring.state || l->mine_said != l->mine ||
           l->pledge_said != join_is_pledged(o, l);
}

static bool has_list_news(const struct overlay *o, const struct link *l)
{
    return exchanges_lists(l) &&
           (l->near_said != o->ring.near_version || l->shortcuts_said != o->ring.shortcut_version);
}

/* Who is around us concerns those around us; the rest is for lookahead and the estimate. */
static usec list_news_at(const struct overlay *o, const struct link *l)
{
    bool near = ((l->mine | l->theirs) & OVERLAY_ROLE_NEAR) != 0 || l->peer.welcome;

    if (near && l->near_said != o->ring.near_version)
        return l->said_us + say_apart_us;
    return l->said_us + (l->gone_said != o->ring.gone_version ? say_gone_us : say_new_us);
}

static size_t write_shortcuts(const struct ring *ring, const struct id *to, struct writer *w)
{
    size_t n = 0;

    for (size_t i = 0; i < ring->count && n < OVERLAY_SHORTCUTS_MAX; i++) {
        const struct ring_peer *peer = ring->peers[i];
        struct ring_entry e = {.id = peer->id, .rtt = peer->rtt};

        if (!peer->shortcut || peer->state != OVERLAY_MEMBER || id_eq(&peer->id, to))
            continue;
        if (peer->indirect)
            e.flags |= RING_ENTRY_INDIRECT;
        ring_write_entry(w, &e);
        n++;
    }
    return n;
}

static void write_lists(const struct overlay *o, const struct link *l, struct writer *w)
{
    const struct ring *ring = &o->ring;
    uint8_t *shortcuts;

    write_u8(w, ring->told_count[RING_LEFT]);
    write_u8(w, ring->told_count[RING_RIGHT]);
    shortcuts = w->p;
    write_u8(w, SHORTCUTS_SAME);
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        for (size_t i = 0; i < ring->told_count[side]; i++)
            ring_write_entry(w, &ring->told[side][i]);
    if (l->shortcuts_heard != ring->shortcut_version)
        *shortcuts = (uint8_t)write_shortcuts(ring, &l->peer.id, w);
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        for (size_t i = 0; i < ring->told_count[side]; i++)
            link_write_endpoint(o, &ring->told[side][i].id, w);
}

static void say(struct overlay *o, struct link *l)
{
    uint8_t body[LINK_SAID_MAX];
    struct writer w = writer_of(body, sizeof body);
    bool lists = exchanges_lists(l);

    write_u16(&w, ++l->seq);
    write_u8(&w, (uint8_t)o->ring.state);
    write_u8(&w, (uint8_t)(l->mine | (join_is_pledged(o, l) ? SAID_PLEDGE : 0)));
    if (lists) {
        write_lists(o, l, &w);
        l->near_said = o->ring.near_version;
        l->shortcuts_said = o->ring.shortcut_version;
        l->gone_said = o->ring.gone_version;
    }
    CHECK(!w.failed);
    l->state_said = (uint8_t)o->ring.state;
    l->mine_said = l->mine;
    l->pledge_said = join_is_pledged(o, l);
    l->said_us = o->env->now_us;
    if (l->says < SAYS_MAX)
        l->says++;
    (void)session_send(l->session, lists ? MSG_NEIGHBOURS : MSG_ROLES, body, writer_len(&w));
}

static usec say_again_at(const struct link *l)
{
    usec wait_us = 2 * session_rtt(l->session) + say_again_us;

    return l->said_us + (wait_us << (l->says > SAYS_EVEN ? l->says - SAYS_EVEN : 0));
}

/* Says what is due now; returns when to look again. */
static usec say_what_is_due(struct overlay *o, struct link *l)
{
    usec now_us = o->env->now_us;

    if (has_state_news(o, l) || (has_list_news(o, l) && now_us >= list_news_at(o, l))) {
        l->says = 0;
        say(o, l);
    } else if (l->says > 0 && now_us >= say_again_at(l)) {
        say(o, l);
    }
    if (has_list_news(o, l))
        return list_news_at(o, l);
    return l->says > 0 ? say_again_at(l) : USEC_NEVER;
}

_Static_assert(2 * RING_VIEWS <= SESSION_RIDE_MAX, "the views fit");

size_t link_ride(struct overlay *o, struct link *l, uint8_t *type, uint8_t body[SESSION_RIDE_MAX])
{
    uint16_t version;

    if (o->ring.state != OVERLAY_MEMBER || !exchanges_lists(l))
        return 0;
    version = ring_tell_views(&o->ring);
    if (l->views_said == version)
        return 0;
    l->views_said = version;
    *type = MSG_MEMBERS;
    for (size_t i = 0; i < RING_VIEWS; i++)
        put_u16(body + 2 * i, o->ring.told_views[i]);
    return 2 * RING_VIEWS;
}

bool link_settled(const struct link *l)
{
    return l->says == 0;
}

/* Roles. */

static void set_shortcut(struct overlay *o, struct link *l)
{
    bool shortcut = ((l->mine | l->theirs) & OVERLAY_ROLE_SHORTCUT) != 0;

    if (l->peer.shortcut == shortcut)
        return;
    l->peer.shortcut = shortcut;
    o->ring.shortcut_version++;
    ring_peer_changed(&o->ring, &l->peer);
}

static void follow_path(struct overlay *o, struct link *l)
{
    const struct path_addr *path = session_path(l->session);
    bool indirect = path->kind == PATH_RING || path->kind == PATH_NONE;

    if (path_addr_is_direct(path) && (path->conn & PATH_TCP_ACCEPTED) == 0)
        l->ep = path->ep;
    if (!path_addr_is_direct(path))
        tcp_link_indirect(o, l);
    indirect |= session_is_doubted(l->session); /* nothing is passed on by it meanwhile */
    if (l->peer.indirect != indirect) {
        l->peer.indirect = indirect;
        ring_peer_changed(&o->ring, &l->peer);
    }
    l->peer.rtt = ring_rtt_code(session_rtt(l->session));
}

static void keep_as_needed(struct overlay *o, struct link *l)
{
    uint8_t roles = l->mine | l->theirs;

    l->peer.needed = roles != 0;
    session_set_hold(l->session, l->peer.needed);
    session_set_probe(l->session, (roles & OVERLAY_ROLE_NEAR) != 0 ? probe_near_us : probe_far_us);
    if (roles != 0)
        l->unused_us = 0;
    else if (l->unused_us == 0)
        l->unused_us = o->env->now_us;
}

void link_relied_on(struct overlay *o, struct link *l)
{
    if (l->up && o->env->now_us >= session_last_reached(l->session) + fresh_us)
        session_probe_now(l->session);
}

/* A peer that came up and says nothing may be gone already: it is asked. When to look again. */
static usec first_word_at(struct overlay *o, struct link *l)
{
    usec at_us = session_up_since(l->session) + first_word_us;

    if (l->met)
        return USEC_NEVER;
    if (o->env->now_us < at_us)
        return at_us;
    session_probe_now(l->session);
    return o->env->now_us + first_word_us;
}

static usec unused_until(const struct link *l)
{
    return l->unused_us != 0 ? l->unused_us + (l->met ? unused_us : unmet_us) : USEC_NEVER;
}

/* Everything that follows from the link's facts. Ends with its alarm set, or the session closed. */
static void think(struct overlay *o, struct link *l)
{
    usec at_us;

    if (!l->up)
        return;
    l->touched = false;
    follow_path(o, l);
    set_shortcut(o, l);
    keep_as_needed(o, l);
    relay_follow(o, l);
    if (o->env->now_us >= unused_until(l)) {
        session_close(l->session);
        return;
    }
    at_us = say_what_is_due(o, l); /* first: arguments have no order */
    at_us = usec_min(at_us, first_word_at(o, l));
    at_us = usec_min(at_us, unused_until(l));
    if (l->demand_until_us != 0)
        at_us = usec_min(at_us, l->demand_until_us);
    alarm_set(o, &l->alarm, at_us);
}

void link_need(struct overlay *o, struct link *l, uint8_t add, uint8_t remove)
{
    l->mine = (uint8_t)((l->mine & ~remove) | add);
    think(o, l);
}

void link_dismiss(struct link *l)
{
    if (l->up && l->met && (l->mine | l->theirs) == 0)
        session_close(l->session);
}

/* Nothing that think() goes by has changed, or its alarm says when. A way round a missing direct
 * path is looked for at every opportunity. */
static bool is_as_thought(const struct link *l)
{
    return !l->touched && l->relay == NULL && !l->peer.indirect;
}

void link_refresh(struct overlay *o, struct link *l, bool news)
{
    uint8_t before = l->mine;

    if (ring_is_near(&o->ring, &l->peer.id))
        l->mine |= OVERLAY_ROLE_NEAR;
    else
        l->mine &= (uint8_t)~OVERLAY_ROLE_NEAR;
    if (!news && l->mine == before && is_as_thought(l))
        return;
    if (l->judge_ring && (l->mine & OVERLAY_ROLE_NEAR) != 0) {
        l->judge_ring = false;
        join_judge_ring(o, l);
    }
    think(o, l);
}

static void link_alarm(struct overlay *o, struct alarm *alarm)
{
    struct link *l = CONTAINER_OF(alarm, struct link, alarm);

    if (l->demand_until_us != 0 && o->env->now_us >= l->demand_until_us) {
        l->demand_until_us = 0;
        l->mine &= (uint8_t)~OVERLAY_ROLE_DEMAND;
    }
    think(o, l);
}

/* Coming and going. */

static void start_afresh(struct link *l)
{
    l->touched = true;
    ring_peer_clear(&l->peer);
    l->peer.state = OVERLAY_ALONE;
    l->state_said = UINT8_MAX;
    l->near_said = l->shortcuts_said = l->shortcuts_heard = l->views_said = 0;
    l->theirs = 0;
    l->pledge_said = l->pledges = false;
    l->peer.needed = false;
    l->says = 0;
    l->said_us = l->unused_us = 0;
    l->met = l->met_lists = l->judge_ring = false;
}

/* We do not need it; they use it as their way in, or nobody needs it any more. */
static bool is_of_no_use(const struct link *l)
{
    return l->met && l->mine == 0 && (l->theirs & ~OVERLAY_ROLE_LEAF) == 0;
}

static bool goes_before(const struct link *a, const struct link *b)
{
    bool needed = a->theirs != 0, joined = a->peer.state == OVERLAY_MEMBER;

    if (needed != (b->theirs != 0))
        return !needed;
    if (joined != (b->peer.state == OVERLAY_MEMBER))
        return joined;
    return session_up_since(a->session) < session_up_since(b->session);
}

/* When very many come in through us at once, no more of them are kept than this. */
static void bound_guests(struct overlay *o)
{
    struct link *victim = NULL;
    size_t guests = 0;

    if (o->ring.count <= OVERLAY_GUESTS_MAX)
        return;
    for (size_t i = 0; i < o->ring.count; i++) {
        struct link *l = link_of(o->ring.peers[i]);

        if (!is_of_no_use(l))
            continue;
        guests++;
        if (victim == NULL || goes_before(l, victim))
            victim = l;
    }
    if (guests > OVERLAY_GUESTS_MAX)
        session_close(victim->session);
}

void link_up(struct overlay *o, struct session *s)
{
    const struct id *id = session_peer(s);
    struct link *l = link_find(o, id);

    if (l == NULL)
        l = link_new(o, id);
    if (l == NULL) {
        session_close(s);
        return;
    }
    CHECK(!l->up);
    l->session = s;
    session_set_user(s, l);
    start_afresh(l);
    l->up = true;
    follow_path(o, l);
    ring_add(&o->ring, &l->peer);
    channels_link_up(o, l);
    contact_up(o, s, l);
    if (l->demand_until_us != 0)
        session_want_data(s);
    join_link_up(o, l);
    bound_guests(o);
    o->host.peer_up(o->ctx, &l->peer.id);
}

static void ask_whether_it_lives(struct overlay *o, struct link *l)
{
    if (o->env->now_us >= session_last_heard(l->session) + fresh_us)
        session_probe_now(l->session);
}

/* One is dead: others may have died with it, and those we had behind it are next to us now. */
static void ask_neighbours(struct overlay *o)
{
    for (size_t i = 0; i < o->ring.count; i++) {
        struct link *l = link_of(o->ring.peers[i]);

        if ((l->mine & OVERLAY_ROLE_NEAR) != 0)
            ask_whether_it_lives(o, l);
    }
}

/* What its end says about the peer. */
static void judge_end(struct overlay *o, struct link *l, bool was_up, enum session_end why)
{
    bool near = (l->mine & OVERLAY_ROLE_NEAR) != 0;

    switch (why) {
    case SESSION_END_SILENT:
        ring_lost(&o->ring, &l->peer.id);
        contact_lost(o, l);
        if (near) {
            overlay_counted(o, OVERLAY_COUNT_REPAIRS);
            ask_neighbours(o);
            join_seek_soon(o);
        }
        break;
    case SESSION_END_TIMEOUT:
    case SESSION_END_REFUSED:
    case SESSION_END_SELF:
        ring_lost(&o->ring, &l->peer.id);
        break;
    case SESSION_END_CLOSED:
    case SESSION_END_GOODBYE:
    case SESSION_END_REPLACED:
        if (l->peer.state == OVERLAY_LEAVING)
            ring_lost(&o->ring, &l->peer.id);
        else
            ring_released(&o->ring, &l->peer.id);
        contact_parted(o, l);
        break;
    }
}

void link_down(struct overlay *o, struct session *s, enum session_end why)
{
    struct link *l = session_user(s);
    struct id id;
    bool was_up;

    contact_down(o, s, why);
    if (l == NULL || l->session != s)
        return;
    id = l->peer.id;
    was_up = l->up;
    if (was_up) {
        l->up = false;
        ring_remove(&o->ring, &l->peer);
        broadcast_link_down(o, l);
        relay_free(o, l);
        channels_link_down(o, &id);
        trails_link_down(o, l);
    }
    relays_link_down(o, &id);
    l->session = sessions_find(o->sessions, &id);
    if (l->session != NULL) { /* another handshake with the same node takes its place */
        session_set_user(l->session, l);
        alarm_set(o, &l->alarm, USEC_NEVER);
    } else {
        judge_end(o, l, was_up, why);
        if ((l->mine & OVERLAY_ROLE_SHORTCUT) != 0)
            shortcut_lost(o);
        join_link_down(o, l);
        contacts_check(o);
        link_free(o, l);
    }
    if (was_up)
        o->host.peer_down(o->ctx, &id);
}

void link_data_changed(struct overlay *o, struct session *s)
{
    struct link *l = session_user(s);

    if (l == NULL || !l->up)
        return;
    follow_path(o, l);
    relay_follow(o, l);
    if (l->relay_uses > 0 && !leg_is_direct(o, &l->peer.id))
        relays_lost(o, &l->peer.id);
    o->host.data_changed(o->ctx, &l->peer.id);
}

/* Hearing. */

/*
 * A node that belongs into the teller's list, by all we know, and is not there: the teller cannot
 * reach it. We do not believe it dead, we ask it.
 */
static void ask_missing(struct overlay *o, const struct link *teller, const struct ring_said *said,
                        enum ring_side side)
{
    const struct ring_entry *e = ring_said_side(said, side);
    size_t n = said->counts[side];
    struct id reach = {{0}};

    if (n == OVERLAY_NEAR)
        reach = side == RING_RIGHT ? id_sub(&e[n - 1].id, &teller->peer.id)
                                   : id_sub(&teller->peer.id, &e[n - 1].id);
    for (size_t i = 0; i < o->ring.count; i++) {
        struct link *l = link_of(o->ring.peers[i]);
        bool named = false;
        struct id d;

        if (l == teller || l->peer.state != OVERLAY_MEMBER || (l->mine & OVERLAY_ROLE_NEAR) == 0)
            continue;
        d = side == RING_RIGHT ? id_sub(&l->peer.id, &teller->peer.id)
                               : id_sub(&teller->peer.id, &l->peer.id);
        if (n == OVERLAY_NEAR && id_cmp(&d, &reach) >= 0)
            continue;
        for (size_t k = 0; k < n && !named; k++)
            named = id_eq(&e[k].id, &l->peer.id);
        if (!named)
            ask_whether_it_lives(o, l);
    }
}

static bool read_lists(struct reader *r, struct ring_said *said, struct ring_entry *entries,
                       struct endpoint eps[NEAR_MAX], bool *with_shortcuts)
{
    size_t n, nears;

    said->counts[RING_LEFT] = read_u8(r);
    said->counts[RING_RIGHT] = read_u8(r);
    said->shortcuts = read_u8(r);
    *with_shortcuts = said->shortcuts != SHORTCUTS_SAME;
    if (!*with_shortcuts)
        said->shortcuts = 0;
    if (said->counts[RING_LEFT] > OVERLAY_NEAR || said->counts[RING_RIGHT] > OVERLAY_NEAR ||
        said->shortcuts > OVERLAY_SHORTCUTS_MAX)
        return false;
    nears = (size_t)said->counts[RING_LEFT] + said->counts[RING_RIGHT];
    n = nears + said->shortcuts;
    for (size_t i = 0; i < n; i++)
        ring_read_entry(r, &entries[i]);
    for (size_t i = 0; i < nears; i++)
        eps[i] = read_endpoint(r);
    said->entries = entries;
    return true;
}

/* It leaves: those around it are our neighbours soon. */
static void take_over_from(struct overlay *o, const struct ring_peer *peer)
{
    size_t n = (size_t)peer->said.counts[RING_LEFT] + peer->said.counts[RING_RIGHT];

    for (size_t i = 0; i < n; i++)
        if ((peer->said.entries[i].flags & RING_ENTRY_JOINING) == 0)
            ring_hint(&o->ring, &peer->said.entries[i].id, NULL, NULL, 0, SEC(10));
}

static void hear_state(struct overlay *o, struct link *l, enum overlay_state state)
{
    enum overlay_state before = l->peer.state;
    const struct path_addr *path = session_path(l->session);
    bool welcome = state == OVERLAY_JOINING && ((l->mine | l->theirs) & OVERLAY_ROLE_NEAR) != 0;

    l->peer.state = (uint8_t)state;
    if (state != before || (welcome && !l->peer.welcome)) {
        l->peer.welcome |= welcome;
        ring_peer_changed(&o->ring, &l->peer);
    }
    if (state == before)
        return;
    if (state == OVERLAY_MEMBER && path->kind == PATH_RING && !id_is_zero(&path->via)) {
        struct path_addr ring = {.kind = PATH_RING, .peer = l->peer.id};

        session_try_path(l->session, &ring); /* it can be reached by its own name now */
    }
    if (l->peer.shortcut)
        o->ring.shortcut_version++;
    if (state == OVERLAY_LEAVING) {
        o->ring.gone_version++;
        take_over_from(o, &l->peer);
        relays_leave(o, &l->peer.id);
    }
}

bool link_said_input(struct overlay *o, struct link *l, bool lists, struct reader *r)
{
    struct ring_entry entries[RING_SAID_MAX];
    struct ring_said said = {.entries = entries};
    struct endpoint eps[NEAR_MAX];
    uint16_t seq = read_u16(r);
    uint8_t state = read_u8(r), roles = read_u8(r);
    bool with_shortcuts = false, joined;
    uint8_t heard[2];

    if (state > OVERLAY_LEAVING ||
        (lists && !read_lists(r, &said, entries, eps, &with_shortcuts)) || !reader_done(r))
        return false;
    put_u16(heard, seq);
    (void)session_send(l->session, MSG_SAID_HEARD, heard, sizeof heard);
    if (l->met && (int16_t)(seq - l->seq_theirs) <= 0)
        return true; /* overtaken by a newer one, or repeated */
    l->met = true;
    l->seq_theirs = seq;
    l->theirs = roles & ROLES_ALL;
    l->pledges = (roles & SAID_PLEDGE) != 0;
    joined = l->peer.state != OVERLAY_MEMBER && state == OVERLAY_MEMBER;
    if (lists && ring_hear(&o->ring, &l->peer, &said, with_shortcuts) < 0)
        return true;
    for (size_t i = 0; lists && i < (size_t)said.counts[RING_LEFT] + said.counts[RING_RIGHT]; i++)
        ring_hear_endpoint(&o->ring, &entries[i].id, &eps[i]);
    if (lists && !l->met_lists)
        l->met_lists = l->judge_ring = true;
    hear_state(o, l, (enum overlay_state)state);
    l->touched = true;
    ring_touch(&o->ring);
    if (lists && o->env->now_us >= session_up_since(l->session) + settling_us) {
        ask_missing(o, l, &l->peer.said, RING_LEFT);
        ask_missing(o, l, &l->peer.said, RING_RIGHT);
    }
    if (joined)
        join_member_met(o, l);
    return true;
}

bool link_members_input(struct overlay *o, struct link *l, struct reader *r)
{
    uint16_t views[RING_VIEWS];

    for (size_t i = 0; i < RING_VIEWS; i++)
        views[i] = read_u16(r);
    if (!reader_done(r))
        return false;
    ring_hear_views(&o->ring, &l->peer, views);
    return true;
}

bool link_heard_input(struct overlay *o, struct link *l, struct reader *r)
{
    uint16_t seq = read_u16(r);

    if (!reader_done(r))
        return false;
    if (seq != l->seq || l->says == 0)
        return true;
    l->says = 0;
    l->shortcuts_heard = l->shortcuts_said;
    think(o, l);
    return true;
}
