/*
 * tcp.c - connections for those that UDP does not reach.
 *
 * A contact that did not answer on UDP within 2 s, and a peer whose best path then still is no UDP
 * path, are tried over TCP on their own port and on 443, UDP going on beside it; who was reached so
 * before, at once. A connection that
 * comes up is one more path for the session that wanted it; one that nobody wants any more is
 * closed.
 *
 * Never sends by itself and trusts no connection: whoever answers proves himself as over any path.
 */
#include "overlay/overlay_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    TCP_PORT_HTTPS = 443,   /* firewalls that block UDP mostly let it out */
    TCP_PEER_ENDPOINTS = 4, /* of one peer, each time */
    TCP_TRIES_DOUBLED = 5,  /* then the interval stays */
};
static const usec tcp_after_us = SEC(2);
static const usec tcp_again_us = SEC(20); /* doubles TCP_TRIES_DOUBLED times */

static void tcp_due(struct overlay *o, struct alarm *alarm);

void tcp_begin(struct overlay *o)
{
    o->tcp.alarm = (struct alarm){.timer.at_us = USEC_NEVER, .due = tcp_due};
}

void tcp_clear(struct overlay *o)
{
    free(o->tcp.wishes);
    o->tcp.wishes = NULL;
    o->tcp.count = 0;
}

bool tcp_possible(const struct overlay *o)
{
    return o->host.tcp_open != NULL;
}

void tcp_contact_tried(struct overlay *o, struct contact *c)
{
    if (!tcp_possible(o))
        return;
    c->tcp_at_us = o->env->now_us + (c->by_tcp ? 0 : tcp_after_us);
    alarm_sooner(o, &o->tcp.alarm, c->tcp_at_us);
}

void tcp_link_indirect(struct overlay *o, struct link *l)
{
    if (!tcp_possible(o) || l->tcp_at_us != 0)
        return;
    l->tcp_tries = 0;
    l->tcp_at_us = o->env->now_us + tcp_after_us;
    alarm_sooner(o, &o->tcp.alarm, l->tcp_at_us);
}

static bool is_wished(const struct overlay *o, const struct endpoint *ep, const struct id *peer)
{
    for (size_t i = 0; i < o->tcp.count; i++)
        if (endpoint_eq(&o->tcp.wishes[i].ep, ep) && id_eq(&o->tcp.wishes[i].peer, peer))
            return true;
    return false;
}

static void wish(struct overlay *o, const struct id *peer, const struct endpoint *contact,
                 uint16_t port)
{
    struct tcp_wish w = {.peer = *peer, .contact = *contact, .ep = *contact};

    w.ep.port = port;
    if (o->tcp.count == TCP_WISHES_MAX || is_wished(o, &w.ep, peer))
        return;
    if (o->tcp.wishes == NULL)
        o->tcp.wishes = calloc(TCP_WISHES_MAX, sizeof *o->tcp.wishes);
    if (o->tcp.wishes == NULL)
        return;
    w.conn = o->host.tcp_open(o->ctx, &w.ep);
    if (w.conn != 0)
        o->tcp.wishes[o->tcp.count++] = w;
}

static void wish_both(struct overlay *o, const struct id *peer, const struct endpoint *ep)
{
    wish(o, peer, ep, ep->port);
    if (ep->port != TCP_PORT_HTTPS)
        wish(o, peer, ep, TCP_PORT_HTTPS);
}

static void try_contacts(struct overlay *o, usec *next_us)
{
    static const struct id nobody;

    for (size_t i = 0; i < o->contacts.count; i++) {
        struct contact *c = &o->contacts.v[i];

        if (c->tcp_at_us == 0)
            continue;
        if (c->session == NULL || session_is_up(c->session)) {
            c->tcp_at_us = 0;
        } else if (c->tcp_at_us <= o->env->now_us) {
            c->tcp_at_us = 0;
            wish_both(o, &nobody, &c->ep);
        } else {
            *next_us = usec_min(*next_us, c->tcp_at_us);
        }
    }
}

static void try_link(struct overlay *o, struct link *l)
{
    struct endpoint eps[TCP_PEER_ENDPOINTS];
    size_t n = session_endpoints(l->session, eps, TCP_PEER_ENDPOINTS);

    l->tcp_at_us = o->env->now_us + env_jitter(o->env, tcp_again_us << l->tcp_tries, 20);
    if (l->tcp_tries < TCP_TRIES_DOUBLED)
        l->tcp_tries++;
    for (size_t i = 0; i < n; i++)
        wish_both(o, &l->peer.id, &eps[i]);
}

static void try_links(struct overlay *o, usec *next_us)
{
    for (size_t i = 0; i < o->ring.count; i++) {
        struct link *l = link_of(o->ring.peers[i]);

        if (l->tcp_at_us == 0)
            continue;
        if (path_addr_is_direct(session_path(l->session)))
            l->tcp_at_us = 0;
        else if (l->tcp_at_us <= o->env->now_us)
            try_link(o, l);
        if (l->tcp_at_us != 0)
            *next_us = usec_min(*next_us, l->tcp_at_us);
    }
}

static void tcp_due(struct overlay *o, struct alarm *alarm)
{
    usec next_us = USEC_NEVER;

    if (o->ring.state == OVERLAY_LEAVING)
        return;
    try_contacts(o, &next_us);
    try_links(o, &next_us);
    alarm_set(o, alarm, next_us);
}

/* The session that the connection was wished for, if it still has no better path. */
static struct session *wisher(const struct overlay *o, const struct tcp_wish *w)
{
    const struct link *l = link_find(o, &w->peer);

    if (!id_is_zero(&w->peer))
        return l != NULL && l->up && !path_addr_is_direct(session_path(l->session)) ? l->session
                                                                                    : NULL;
    for (size_t i = 0; i < o->contacts.count; i++) {
        const struct contact *c = &o->contacts.v[i];

        if (contact_is_at(c, &w->contact))
            return c->session != NULL && !session_is_up(c->session) ? c->session : NULL;
    }
    return NULL;
}

/* Takes the wish out. False: there is none for that connection. */
static bool wish_take(struct overlay *o, uint32_t conn, struct tcp_wish *out)
{
    for (size_t i = 0; i < o->tcp.count; i++) {
        if (o->tcp.wishes[i].conn != conn)
            continue;
        *out = o->tcp.wishes[i];
        o->tcp.wishes[i] = o->tcp.wishes[--o->tcp.count];
        if (o->tcp.count == 0)
            tcp_clear(o);
        return true;
    }
    return false;
}

void overlay_tcp_opened(struct overlay *o, uint32_t conn)
{
    struct tcp_wish w;
    struct session *s = wish_take(o, conn, &w) ? wisher(o, &w) : NULL;

    if (s == NULL) {
        o->host.tcp_close(o->ctx, conn);
        return;
    }
    session_try_path(s, &(struct path_addr){.kind = PATH_TCP, .ep = w.ep, .conn = conn});
    sessions_flush(o->sessions);
}

/* Its connection ended. It may have gone down, or only the connection: it is asked by what is left,
 * and for a new connection. */
static void bereave(struct overlay *o, struct session *s, const struct path_addr *addr)
{
    struct link *l = session_user(s);

    session_drop_way(s, addr);
    if (l == NULL || !l->up || path_addr_is_direct(session_path(s)))
        return;
    session_probe_now(s);
    l->tcp_tries = 0;
    l->tcp_at_us = o->env->now_us;
    alarm_sooner(o, &o->tcp.alarm, l->tcp_at_us);
}

void overlay_tcp_closed(struct overlay *o, uint32_t conn)
{
    const struct path_addr addr = {.kind = PATH_TCP, .conn = conn};
    struct tcp_wish w;
    struct session *s;
    size_t i = 0;

    (void)wish_take(o, conn, &w);
    while ((s = sessions_next(o->sessions, &i)) != NULL)
        if (session_has_way(s, &addr))
            bereave(o, s, &addr);
    sessions_flush(o->sessions);
}

bool overlay_tcp_used(const struct overlay *o, uint32_t conn)
{
    const struct path_addr addr = {.kind = PATH_TCP, .conn = conn};
    const struct session *s;
    size_t i = 0;

    while ((s = sessions_next(o->sessions, &i)) != NULL)
        if (session_has_way(s, &addr))
            return true;
    return false;
}
