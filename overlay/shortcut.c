/*
 * Shortcuts: as many as ring_shortcuts_wanted says, each leading to the quickest of
 * a few nodes around a point drawn from the harmonic distribution (ring_draw_shortcut).
 */
#include "overlay/overlay_internal.h"

#include <math.h>

enum {
    RESIZE = 2, /* the ring grew or shrank so many times: shortcuts are drawn again, one by one */
    TRIALS_EVEN = 2, /* instead of SHORTCUT_TRIALS, when so many peers do not differ: */
    EVEN_LEAST = 2 * OVERLAY_NEAR,
};
/* After becoming a member. Soon: without shortcuts a message goes from neighbour to neighbour, and
 * a ring that forms sends most of its messages then. */
static const usec settle_us = MSEC(300);
static const usec answer_us = SEC(3);
static const usec trial_us = MSEC(800);  /* for a direct path; then round trips are measured */
static const usec timing_us = MSEC(600); /* together shorter than link.c keeps an unneeded one */
static const usec next_us = MSEC(500);   /* between two draws */
static const usec idle_us = SEC(30);
static const double spare = 1.5; /* more than wanted, before one is given up */

static void shortcuts_due(struct overlay *o, struct alarm *alarm);

void shortcuts_begin(struct overlay *o)
{
    o->shortcuts.alarm.due = shortcuts_due;
    o->shortcuts.whole = (double)env_random_u32(o->env) / 4294967296.0;
    o->shortcuts.members = ring_members(&o->ring);
    alarm_set(o, &o->shortcuts.alarm, o->env->now_us + env_jitter(o->env, settle_us, 50));
}

void shortcut_lost(struct overlay *o)
{
    if (o->ring.state == OVERLAY_MEMBER)
        alarm_sooner(o, &o->shortcuts.alarm, o->env->now_us + env_jitter(o->env, settle_us, 50));
}

/* Ours, not those that others opened to us. */
static size_t count_own(struct overlay *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->ring.count; i++) {
        struct link *l = link_of(o->ring.peers[i]);

        if ((l->mine & OVERLAY_ROLE_SHORTCUT) == 0)
            continue;
        if ((l->mine & OVERLAY_ROLE_NEAR) != 0)
            link_need(o, l, 0, OVERLAY_ROLE_SHORTCUT); /* it became a neighbour */
        else
            n++;
    }
    return n;
}

/* The slowest shortcut of ours. */
static void give_one_up(struct overlay *o)
{
    struct link *worst = NULL;

    for (size_t i = 0; i < o->ring.count; i++) {
        struct link *l = link_of(o->ring.peers[i]);

        if ((l->mine & OVERLAY_ROLE_SHORTCUT) != 0 &&
            (worst == NULL || l->peer.rtt > worst->peer.rtt))
            worst = l;
    }
    if (worst != NULL)
        link_need(o, worst, 0, OVERLAY_ROLE_SHORTCUT);
}

static void ask_around_point(struct overlay *o)
{
    struct id point = ring_draw_shortcut(&o->ring);

    o->shortcuts.token = join_token(o, ASK_FOR_SHORTCUT);
    (void)join_ask(o, &point, ROUTE_NEAREST, 0, o->shortcuts.token, NULL);
}

static usec trial_rtt(const struct link *l)
{
    usec rtt_us = session_rtt(l->session);

    return l->peer.indirect || rtt_us == 0 ? USEC_NEVER - 1 : rtt_us;
}

/* Each is asked for a sign of life over the path that it has by now. */
static void time_trial(struct overlay *o)
{
    for (size_t i = 0; i < o->shortcuts.trials; i++) {
        struct link *l = link_find(o, &o->shortcuts.trial[i]);

        if (l != NULL && l->up)
            session_probe_now(l->session);
    }
    o->shortcuts.timed = true;
}

static void judge_trial(struct overlay *o)
{
    struct link *best = NULL;

    for (size_t i = 0; i < o->shortcuts.trials; i++) {
        struct link *l = link_find(o, &o->shortcuts.trial[i]);

        if (l == NULL || !l->up || l->peer.state != OVERLAY_MEMBER ||
            ((l->mine | l->theirs) & (OVERLAY_ROLE_NEAR | OVERLAY_ROLE_SHORTCUT)) != 0)
            continue;
        if (best == NULL || trial_rtt(l) < trial_rtt(best))
            best = l;
    }
    if (best != NULL) {
        o->shortcuts.members = ring_members(&o->ring);
        link_need(o, best, OVERLAY_ROLE_SHORTCUT, 0);
    }
    for (size_t i = 0; i < o->shortcuts.trials; i++) {
        struct link *l = link_find(o, &o->shortcuts.trial[i]);

        if (l != NULL)
            link_dismiss(l);
    }
    o->shortcuts.trials = 0;
}

static bool resized(const struct overlay *o)
{
    double by = ring_members(&o->ring) / o->shortcuts.members;

    return by > RESIZE || by < 1.0 / RESIZE;
}

static void shortcuts_due(struct overlay *o, struct alarm *alarm)
{
    double wanted = ring_shortcuts_wanted(&o->ring);
    size_t have;

    if (o->ring.state != OVERLAY_MEMBER)
        return;
    if (o->shortcuts.trials > 0 && !o->shortcuts.timed) {
        time_trial(o);
        alarm_set(o, alarm, o->env->now_us + timing_us);
        return;
    }
    if (o->shortcuts.trials > 0)
        judge_trial(o);
    o->shortcuts.token = 0;
    have = count_own(o);
    if (resized(o)) {
        o->shortcuts.members = ring_members(&o->ring);
        give_one_up(o);
        have = count_own(o);
    }
    if ((double)have > wanted + spare)
        give_one_up(o);
    if ((double)have < floor(wanted + o->shortcuts.whole) && have < OVERLAY_SHORTCUTS_MAX) {
        ask_around_point(o);
        alarm_set(o, alarm, o->env->now_us + answer_us);
    } else {
        alarm_set(o, alarm, o->env->now_us + env_jitter(o->env, idle_us, 30));
    }
}

/* Where all peers are equally far, as in one data centre, there is little to compare. */
static size_t trials_most(const struct overlay *o)
{
    usec least_us = USEC_NEVER, most_us = 0;
    size_t measured = 0;

    for (size_t i = 0; i < o->ring.count; i++) {
        usec rtt_us = trial_rtt(link_of(o->ring.peers[i]));

        if (rtt_us == USEC_NEVER - 1)
            continue;
        least_us = usec_min(least_us, rtt_us);
        most_us = usec_max(most_us, rtt_us);
        measured++;
    }
    return measured >= EVEN_LEAST && most_us - least_us <= least_us / 4 ? TRIALS_EVEN
                                                                        : SHORTCUT_TRIALS;
}

/* A candidate for this point: not connected to for the ring's sake already. */
static void try_candidate(struct overlay *o, const struct id *id, const struct endpoint *ep,
                          size_t most)
{
    static const struct id nobody;
    const struct link *l = link_find(o, id);

    if (o->shortcuts.trials == most || id_eq(id, &o->ring.self) || ring_is_near(&o->ring, id))
        return;
    if (l != NULL && ((l->mine | l->theirs) & OVERLAY_ROLE_SHORTCUT) != 0)
        return;
    if (link_open(o, id, &nobody, ep) != NULL)
        o->shortcuts.trial[o->shortcuts.trials++] = *id;
}

void shortcut_lists(struct overlay *o, const struct lists *lists)
{
    size_t most = trials_most(o);

    if (lists->token != o->shortcuts.token || o->ring.state != OVERLAY_MEMBER)
        return;
    o->shortcuts.token = 0;
    o->shortcuts.trials = 0;
    o->shortcuts.timed = false;
    for (size_t i = 0; i < OVERLAY_NEAR; i++)
        for (int side = RING_LEFT; side <= RING_RIGHT; side++)
            if (i < lists->side[side].count)
                try_candidate(o, &lists->side[side].id[i], &lists->ep[side][i], most);
    try_candidate(o, &lists->from, NULL, most);
    alarm_set(o, &o->shortcuts.alarm,
              o->env->now_us + (o->shortcuts.trials > 0 ? trial_us : next_us));
}
