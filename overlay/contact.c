/*
 * Where a ring may be found: bootstraps, members met before, peers that fell silent, members that
 * another overlay knows. All are asked
 * for ever, ever more rarely, also when we have neighbours: so rings that formed apart, or were cut
 * apart, find each other. What one node does for this shrinks with the size of its ring, so that
 * the ring as a whole asks at a steady rate.
 */
#include "overlay/overlay_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    TRIES_AT_ONCE = 4,          /* as a member */
    TRIES_AT_ONCE_OUTSIDE = 16, /* while we have no ring */
    JITTER = 25,                /* per cent */
    CONTACTS_STEP = 4,          /* by which the table grows */
};
static const usec interval_first_us = SEC(2);
/* Of a ring of at most `shared_by` nodes. With its jitter and a join it stays below the minute in
 * which rings that were apart are one again, also when one node alone knows where to ask. */
static const usec interval_last_us = SEC(42);
static const usec lost_last_us = SEC(30);
static const usec lost_fresh_us = SEC(20 * 60); /* then as rarely as the others ... */
static const usec lost_forget_us = SEC(3600);   /* ... and then no more */
static const double shared_by = 4, lost_shared_by = 4;
static const usec try_us = MSEC(1200);     /* as a member: message 1 goes out three times */
static const usec try_outside_us = SEC(6); /* longer than a session tries by itself */
static const usec answer_us = SEC(3);
static const usec near_again_us = SEC(60);
static const usec cut_within_us = SEC(30), cut_again_us = SEC(30);
static const usec crowded_us = MSEC(250);

static void contacts_due(struct overlay *o, struct alarm *alarm);

static bool outside(const struct overlay *o)
{
    return o->ring.state == OVERLAY_ALONE || o->ring.state == OVERLAY_JOINING;
}

/* Soon, and from then on ever more rarely. */
static void ask_anew(struct contact *c)
{
    c->interval_us = interval_first_us;
    c->known = false;
}

void contacts_begin(struct overlay *o)
{
    o->contacts.alarm.due = contacts_due;
}

void contacts_clear(struct overlay *o)
{
    free(o->contacts.v);
    o->contacts = (struct contacts){.v = NULL};
}

static void forget(struct overlay *o, struct contact *c)
{
    o->contacts.count--;
    memmove(c, c + 1, (size_t)(o->contacts.v + o->contacts.count - c) * sizeof *c);
}

static size_t count_kind(const struct overlay *o, enum contact_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < o->contacts.count; i++)
        n += o->contacts.v[i].kind == kind;
    return n;
}

/* Room for one more of its kind: one lost or parted from pushes out the oldest such. */
static bool make_room(struct overlay *o, enum contact_kind kind)
{
    static const size_t most[] = {OVERLAY_BOOTSTRAPS_MAX, OVERLAY_CONTACTS_MAX, CONTACTS_LOST_MAX,
                                  CONTACTS_MET_MAX, OVERLAY_TUNNELS_MAX};
    struct contacts *all = &o->contacts;
    struct contact *oldest = NULL;

    if (count_kind(o, kind) >= most[kind]) {
        for (size_t i = 0; i < all->count; i++)
            if (all->v[i].kind == kind && all->v[i].session == NULL &&
                (oldest == NULL || all->v[i].lost_us < oldest->lost_us))
                oldest = &all->v[i];
        if (kind == CONTACT_BOOTSTRAP || kind == CONTACT_REMEMBERED || oldest == NULL)
            return false;
        forget(o, oldest);
    }
    if (all->count == all->size) {
        size_t size = all->size + CONTACTS_STEP;
        struct contact *v = realloc(all->v, size * sizeof *v);

        if (v == NULL)
            return false;
        all->v = v;
        all->size = size;
    }
    return true;
}

/* A new one, tried at once. */
static struct contact *append(struct overlay *o, enum contact_kind kind, const struct id *node)
{
    struct contact *c = &o->contacts.v[o->contacts.count++];

    *c = (struct contact){.kind = (uint8_t)kind, .interval_us = interval_first_us};
    if (node != NULL)
        c->node = *node;
    c->next_us = o->env->now_us;
    c->lost_us = o->env->now_us;
    return c;
}

bool contact_is_at(const struct contact *c, const struct endpoint *ep)
{
    return c->kind != CONTACT_TUNNEL && endpoint_eq(&c->ep, ep);
}

/* Who was met rests until nobody else is left. */
static void try_first(struct overlay *o, struct contact *c)
{
    c->next_us = c->kind == CONTACT_MET ? USEC_NEVER : o->env->now_us;
    if (c->kind == CONTACT_LOST)
        c->next_us += env_jitter(o->env, SEC(1), 100);
    alarm_sooner(o, &o->contacts.alarm, c->next_us);
}

/* There is a reason now to try whom we only met. */
static void promote(struct overlay *o, struct contact *c, enum contact_kind kind)
{
    c->kind = (uint8_t)kind;
    c->lost_us = o->env->now_us;
    if (c->session != NULL)
        return;
    ask_anew(c);
    try_first(o, c);
}

int contact_add(struct overlay *o, enum contact_kind kind, const struct id *node,
                const struct endpoint *ep)
{
    struct contact *c;

    for (size_t i = 0; i < o->contacts.count; i++) {
        c = &o->contacts.v[i];
        if (!contact_is_at(c, ep))
            continue;
        if (c->kind == CONTACT_MET && kind != CONTACT_MET)
            promote(o, c, kind);
        return 0;
    }
    if (!make_room(o, kind))
        return -ERR_FULL;
    c = append(o, kind, node);
    c->ep = *ep;
    try_first(o, c);
    return 0;
}

void contact_add_tunnel(struct overlay *o, const struct id *node, const struct id *end)
{
    for (size_t i = 0; i < o->contacts.count; i++) {
        struct contact *c = &o->contacts.v[i];

        if (c->kind != CONTACT_TUNNEL || !id_eq(&c->node, node))
            continue;
        c->tunnel = *end;
        c->lost_us = o->env->now_us;
        return;
    }
    if (!make_room(o, CONTACT_TUNNEL))
        return;
    append(o, CONTACT_TUNNEL, node)->tunnel = *end;
    alarm_sooner(o, &o->contacts.alarm, o->env->now_us);
}

/* It is us who were away: whoever it is lives, and waits for nothing. */
static bool just_awoke(const struct overlay *o)
{
    return o->awoke_us != 0 && o->env->now_us < o->awoke_us + SEC(1);
}

static void try_soon(struct overlay *o, struct contact *c, usec from_us)
{
    ask_anew(c);
    c->next_us = usec_min(c->next_us, from_us + env_random_below(o->env, interval_first_us));
    alarm_sooner(o, &o->contacts.alarm, c->next_us);
}

/* As many fell silent as are left: so did the way to them, and behind it others may look for us.
 * Once in cut_again_us: what comes sooner waits for that. */
static void look_for_others(struct overlay *o)
{
    struct contacts *all = &o->contacts;
    usec at_us = o->env->now_us;

    if (at_us >= all->silent_us + cut_within_us) {
        all->silent_us = at_us;
        all->silent = 0;
    }
    all->silent++;
    if (o->ring.state != OVERLAY_MEMBER || all->silent < o->ring.count || all->cut_us > at_us)
        return;
    if (all->cut_us != 0 && at_us < all->cut_us + cut_again_us)
        at_us = all->cut_us + cut_again_us;
    for (size_t i = 0; i < all->count; i++) {
        if (all->v[i].kind != CONTACT_MET || all->v[i].session != NULL)
            continue;
        all->cut_us = at_us;
        try_soon(o, &all->v[i], at_us);
    }
}

void contact_lost(struct overlay *o, const struct link *l)
{
    look_for_others(o);
    if (l->ep.addr.family == 0)
        return;
    (void)contact_add(o, CONTACT_LOST, &l->peer.id, &l->ep);
    for (size_t i = 0; i < o->contacts.count; i++) {
        struct contact *c = &o->contacts.v[i];

        if (contact_is_at(c, &l->ep) && c->session == NULL) {
            ask_anew(c);
            c->next_us = o->env->now_us;
            if (!just_awoke(o))
                c->next_us += env_jitter(o->env, c->interval_us, JITTER);
            alarm_sooner(o, &o->contacts.alarm, c->next_us);
        }
    }
}

void contact_parted(struct overlay *o, const struct link *l)
{
    if (l->ep.addr.family != 0 && l->peer.state == OVERLAY_MEMBER)
        (void)contact_add(o, CONTACT_MET, &l->peer.id, &l->ep);
}

/* With neighbours it is only about rings that formed apart: there is no hurry, and a LAN of
 * hundreds says so every second. */
void contact_heard_near(struct overlay *o, const struct id *node, const struct endpoint *ep)
{
    const struct link *l = link_find(o, node);

    if (l != NULL && l->up)
        return;
    if (o->ring.count > 0 && o->contacts.near_us != 0 &&
        o->env->now_us < o->contacts.near_us + near_again_us)
        return;
    o->contacts.near_us = o->env->now_us;
    (void)contact_add(o, CONTACT_LOST, node, ep);
}

/* Nobody left: those we once met may know the ring, and a bootstrap that said goodbye is back soon.
 */
void contacts_check(struct overlay *o)
{
    if (o->ring.state != OVERLAY_MEMBER || o->ring.count > 0)
        return;
    for (size_t i = 0; i < o->contacts.count; i++)
        if (o->contacts.v[i].session == NULL && o->contacts.v[i].kind != CONTACT_LOST)
            try_soon(o, &o->contacts.v[i], o->env->now_us);
}

static usec longest_interval(const struct overlay *o, const struct contact *c)
{
    bool fresh = c->kind == CONTACT_LOST && o->env->now_us < c->lost_us + lost_fresh_us;
    double share = ring_members(&o->ring) / (c->kind == CONTACT_LOST ? lost_shared_by : shared_by);
    usec least_us = fresh ? lost_last_us : interval_last_us;

    return share > 1 ? (usec)((double)least_us * share) : least_us;
}

/* The ring grew since it was asked: the turn of each of us comes later, at any time of that. */
static bool turn_comes_later(struct overlay *o, struct contact *c)
{
    usec longest_us = longest_interval(o, c);

    if (!c->known || c->interval_us >= longest_us / 2)
        return false;
    c->interval_us = longest_us;
    c->next_us = o->env->now_us + env_random_below(o->env, longest_us);
    return true;
}

static void rest(struct overlay *o, struct contact *c)
{
    usec longest_us = longest_interval(o, c);

    c->session = NULL;
    c->token = 0;
    if (outside(o))
        ring_touch(&o->ring);
    if (c->kind == CONTACT_MET && o->ring.count > 0) {
        c->next_us = USEC_NEVER;
        return;
    }
    c->next_us = o->env->now_us + env_jitter(o->env, usec_min(c->interval_us, longest_us), JITTER);
    c->interval_us = usec_min(2 * c->interval_us, longest_us);
    alarm_sooner(o, &o->contacts.alarm, c->next_us);
}

/* We have a session with the node that lives there. */
static bool is_connected(const struct overlay *o, const struct contact *c)
{
    const struct link *l = link_find(o, &c->node);

    if (!id_is_zero(&c->node) && l != NULL && l->up)
        return true;
    for (size_t i = 0; i < o->ring.count; i++) {
        l = link_of(o->ring.peers[i]);
        if (!l->peer.indirect && contact_is_at(c, &l->ep))
            return true;
    }
    return false;
}

static size_t tries_under_way(const struct overlay *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->contacts.count; i++)
        n += o->contacts.v[i].session != NULL;
    return n;
}

/* Worth a try that is long enough for TCP to join in. */
static bool may_need_tcp(const struct overlay *o, const struct contact *c)
{
    return c->kind == CONTACT_BOOTSTRAP || o->ring.count == 0;
}

static void try_contact(struct overlay *o, struct contact *c)
{
    bool tunnel = c->kind == CONTACT_TUNNEL;
    struct path_addr to = {.kind = PATH_UDP};

    if (tries_under_way(o) >= (outside(o) ? TRIES_AT_ONCE_OUTSIDE : TRIES_AT_ONCE)) {
        c->next_us = o->env->now_us + crowded_us;
        return;
    }
    if (tunnel)
        to = (struct path_addr){.kind = PATH_TUNNEL, .peer = c->tunnel};
    else
        to.ep = c->ep;
    c->tries += c->tries < UINT8_MAX;
    c->session = session_open(o->sessions, &to, NULL);
    if (c->session == NULL) {
        rest(o, c);
        return;
    }
    bool patient = outside(o) || (may_need_tcp(o, c) && tcp_possible(o));

    c->next_us = o->env->now_us + (patient ? try_outside_us : try_us);
    if (patient && !tunnel)
        tcp_contact_tried(o, c);
}

/* Our place by the ring that this contact is of. */
static void ask_contact(struct overlay *o, struct contact *c, struct link *l)
{
    c->token = join_token(o, ASK_FOR_CONTACT);
    c->next_us = o->env->now_us + answer_us;
    (void)join_ask(o, &o->ring.self, ROUTE_NEAREST, ASK_PLACE | ASK_MEMBER, c->token, l);
}

static void end_try(struct overlay *o, struct contact *c)
{
    struct session *s = c->session;
    struct link *l = session_user(s);

    if (!session_is_up(s)) {
        rest(o, c);
        if (l == NULL)
            session_close(s);
    } else if (outside(o)) {
        c->next_us = o->env->now_us + answer_us;
    } else if (c->token == 0 && l != NULL && !l->peer.indirect) {
        ask_contact(o, c, l);
    } else {
        rest(o, c);
        if (l != NULL)
            link_need(o, l, 0, OVERLAY_ROLE_LEAF);
    }
}

/* One contact whose time has come. False: it was forgotten. */
static bool contact_due(struct overlay *o, struct contact *c)
{
    if (c->session != NULL) {
        end_try(o, c);
    } else if (is_connected(o, c)) {
        if (c->kind == CONTACT_LOST) {
            forget(o, c);
            return false;
        }
        rest(o, c);
    } else if ((c->kind == CONTACT_LOST || c->kind == CONTACT_TUNNEL) &&
               o->env->now_us >= c->lost_us + lost_forget_us) {
        forget(o, c);
        return false;
    } else if (!turn_comes_later(o, c)) {
        try_contact(o, c);
    }
    return true;
}

static void contacts_due(struct overlay *o, struct alarm *alarm)
{
    usec at_us = USEC_NEVER;

    if (o->ring.state == OVERLAY_LEAVING)
        return;
    for (size_t i = 0; i < o->contacts.count;) {
        struct contact *c = &o->contacts.v[i];

        if (c->next_us <= o->env->now_us && !contact_due(o, c))
            continue;
        at_us = usec_min(at_us, c->next_us);
        i++;
    }
    alarm_set(o, alarm, at_us);
}

static struct contact *contact_by_session(struct overlay *o, const struct session *s)
{
    for (size_t i = 0; i < o->contacts.count; i++)
        if (o->contacts.v[i].session == s)
            return &o->contacts.v[i];
    return NULL;
}

void contact_up(struct overlay *o, struct session *s, struct link *l)
{
    struct contact *c = contact_by_session(o, s);

    if (c == NULL)
        return;
    c->tries = 0;
    c->by_tcp = session_path(s)->kind == PATH_TCP;
    c->node = l->peer.id;
    l->mine |= OVERLAY_ROLE_LEAF;
    l->touched = true;
    if (outside(o))
        c->next_us = o->env->now_us + answer_us;
    else if (!l->peer.indirect)
        ask_contact(o, c, l);
    alarm_sooner(o, &o->contacts.alarm, c->next_us);
}

void contact_down(struct overlay *o, struct session *s, enum session_end why)
{
    struct contact *c = contact_by_session(o, s);

    if (c == NULL)
        return;
    if (why == SESSION_END_SELF) {
        forget(o, c);
        ring_touch(&o->ring);
    } else {
        rest(o, c);
    }
}

void contact_lists(struct overlay *o, const struct lists *lists)
{
    for (size_t i = 0; i < o->contacts.count; i++) {
        struct contact *c = &o->contacts.v[i];

        if (c->token != lists->token || c->session == NULL)
            continue;
        c->known = lists->known;
        if (c->known) /* one ring: no hurry to ask again */
            c->interval_us = longest_interval(o, c);
        else
            join_learn_lists(o, lists, &c->node);
        c->next_us = o->env->now_us;
        alarm_sooner(o, &o->contacts.alarm, c->next_us);
        return;
    }
}

/* Leaf connections have done their work; one question more, as a member, shows that all is one
 * ring. */
void contacts_member(struct overlay *o)
{
    for (size_t i = 0; i < o->contacts.count; i++) {
        struct contact *c = &o->contacts.v[i];

        if (c->session == NULL || !session_is_up(c->session))
            continue;
        c->next_us = o->env->now_us;
        alarm_sooner(o, &o->contacts.alarm, c->next_us);
    }
}

bool contacts_settled(const struct overlay *o)
{
    for (size_t i = 0; i < o->contacts.count; i++) {
        const struct contact *c = &o->contacts.v[i];
        bool tried = c->session != NULL ? session_is_up(c->session) : c->tries > 0;

        if (!tried && c->kind != CONTACT_MET && !is_connected(o, c))
            return false;
    }
    return true;
}

static enum overlay_entry_state state_of(const struct overlay *o, const struct contact *c)
{
    if (is_connected(o, c) || (c->session != NULL && session_is_up(c->session)))
        return OVERLAY_ENTRY_CONNECTED;
    if (c->session != NULL)
        return OVERLAY_ENTRY_TRYING;
    return c->tries > 0 ? OVERLAY_ENTRY_SILENT : OVERLAY_ENTRY_WAITING;
}

bool overlay_entry_next(const struct overlay *o, size_t *i, struct overlay_entry *out)
{
    const struct contact *c;

    *out = (struct overlay_entry){.tries = 0};
    if (*i >= o->contacts.count)
        return false;
    c = &o->contacts.v[(*i)++];
    *out = (struct overlay_entry){.kind = (enum overlay_entry_kind)c->kind,
                                  .state = state_of(o, c),
                                  .tries = c->tries,
                                  .next_us = c->next_us};
    if (c->kind != CONTACT_TUNNEL)
        out->ep = c->ep;
    return true;
}

void contacts_retry_lost(struct overlay *o)
{
    for (size_t i = 0; i < o->contacts.count; i++) {
        struct contact *c = &o->contacts.v[i];

        if (c->kind != CONTACT_LOST || c->session != NULL)
            continue;
        ask_anew(c);
        c->next_us = o->env->now_us + env_random_below(o->env, SEC(1));
        alarm_sooner(o, &o->contacts.alarm, c->next_us);
    }
}

void contacts_retry_all(struct overlay *o)
{
    for (size_t i = 0; i < o->contacts.count; i++) {
        struct contact *c = &o->contacts.v[i];

        if (c->session != NULL)
            continue;
        ask_anew(c);
        c->next_us = o->env->now_us;
        alarm_sooner(o, &o->contacts.alarm, c->next_us);
    }
}
