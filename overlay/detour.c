/*
 * Messages that were passed on to a peer which had not lately shown to hear us: kept until it does,
 * sent another way when it does not.
 *
 * link_relied_on asks such a peer with the message itself, so whether it is there is known a round
 * trip later. Until a silent session is given up (2.4 s) all that went by it would be lost; when
 * many die at once, at every hop. So the message is routed anew from here, as it came here, around
 * all peers that owe an answer: at most DETOURS_EACH times, and as every try needs a silence first,
 * one that meets the living only is sent once. When nobody closer answers it is delivered here.
 *
 * It may so arrive twice, and at another than the closest: for messages that their askers repeat
 * anyway and whose receivers know what is theirs, that is the DHT's.
 */
#include "overlay/overlay_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    DETOURS_MAX = 64, /* victim: the newest, which goes one way only */
    DETOURS_EACH = 4,
};

struct detour {
    struct detour *next;
    struct route_header header; /* as it came here */
    struct id from;             /* who handed it over; zero: it is ours */
    struct id hop;
    usec sent_us, at_us;
    unsigned tries;
    size_t len;
    uint8_t body[];
};

void detours_look(struct overlay *o)
{
    for (size_t i = 0; i < o->ring.count; i++) {
        struct ring_peer *peer = o->ring.peers[i];

        peer->silent = session_silent_from(link_of(peer)->session) <= o->env->now_us;
    }
}

void detour_keep(struct overlay *o, const struct passage *p, const struct link *hop)
{
    usec at_us = session_silent_from(hop->session);
    struct detour *d;

    if (at_us <= o->env->now_us || at_us == USEC_NEVER || /* nobody else was left, or it is there */
        p->tries >= DETOURS_EACH || o->detours.count >= DETOURS_MAX)
        return;
    d = malloc(sizeof *d + p->len);
    if (d == NULL)
        return;
    *d = (struct detour){.header = p->header,
                         .from = p->from,
                         .hop = hop->peer.id,
                         .sent_us = o->env->now_us,
                         .at_us = at_us,
                         .tries = p->tries + 1,
                         .len = p->len};
    if (p->len > 0)
        memcpy(d->body, p->body, p->len);
    queue_put(&o->detours, d);
    alarm_sooner(o, &o->detour_alarm, d->at_us);
}

static bool hop_heard_it(const struct overlay *o, const struct detour *d)
{
    const struct link *l = link_find(o, &d->hop);

    return l != NULL && l->up && session_last_reached(l->session) > d->sent_us;
}

/* One is silent: others may be, and who is there shall be known before the next message comes. */
static void ask_all_peers(struct overlay *o)
{
    for (size_t i = 0; i < o->ring.count; i++)
        link_relied_on(o, link_of(o->ring.peers[i]));
}

static void go_around(struct overlay *o, const struct detour *d)
{
    const struct passage p = {
        .header = d->header, .from = d->from, .tries = d->tries, .body = d->body, .len = d->len};

    overlay_counted(o, OVERLAY_COUNT_DETOURS);
    ask_all_peers(o);
    transit_again(o, &p);
}

void detours_due(struct overlay *o, struct alarm *alarm)
{
    size_t n = o->detours.count; /* those that are kept meanwhile have their own time */

    while (n-- > 0) {
        struct detour *d = queue_take(&o->detours);

        if (d->at_us > o->env->now_us) {
            queue_put(&o->detours, d);
            alarm_sooner(o, alarm, d->at_us);
            continue;
        }
        if (!hop_heard_it(o, d))
            go_around(o, d);
        free(d);
    }
}

void detours_clear(struct overlay *o)
{
    void *d;

    while ((d = queue_take(&o->detours)) != NULL)
        free(d);
}
