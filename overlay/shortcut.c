/*
 * Shortcuts: as many as ring_shortcuts_wanted says, each leading to the quickest of
 * a few nodes around a point drawn from the harmonic distribution (ring_draw_shortcut). A draw
 * takes some two seconds; a new member begins all that it wants at once.
 */
#include "overlay/overlay_internal.h"

#include <math.h>
#include <stdlib.h>

enum {
    RESIZE = 2, /* the ring grew or shrank so many times: shortcuts are drawn again, one by one */
    TRIALS_EVEN = 2, /* instead of SHORTCUT_TRIALS, when so many peers do not differ: */
    EVEN_LEAST = 2 * OVERLAY_NEAR,
};
/* After becoming a member. Soon: without shortcuts a message goes from neighbour to neighbour, and
 * a ring that forms sends most of its messages then. */
static const usec settle_us = MSEC(200);
static const usec answer_us = SEC(3);
static const usec trial_us = MSEC(800);  /* for a direct path; then round trips are measured */
static const usec timing_us = MSEC(600); /* together shorter than link.c keeps an unneeded one */
static const usec next_us = MSEC(500);   /* between two draws */
static const usec idle_us = SEC(30);
static const double spare = 1.5; /* more than wanted, before one is given up */

static void draw_due(struct overlay *o, struct alarm *alarm);

void shortcuts_init(struct overlay *o)
{
    for (size_t i = 0; i < DRAWS_MAX; i++)
        o->shortcuts.draws[i].alarm = (struct alarm){.timer.at_us = USEC_NEVER, .due = draw_due};
}

static void end_trials(struct draw *d)
{
    free(d->trial);
    d->trial = NULL;
    d->trials = 0;
}

void shortcuts_clear(struct overlay *o)
{
    for (size_t i = 0; i < DRAWS_MAX; i++)
        end_trials(&o->shortcuts.draws[i]);
}

static bool is_under_way(const struct draw *d)
{
    return d->token != 0 || d->trials > 0;
}

/* Those that are not under way look whether more are wanted. */
static void look_soon(struct overlay *o)
{
    for (size_t i = 0; i < DRAWS_MAX; i++)
        if (!is_under_way(&o->shortcuts.draws[i]))
            alarm_sooner(o, &o->shortcuts.draws[i].alarm,
                         o->env->now_us + env_jitter(o->env, settle_us, 50));
}

void shortcuts_begin(struct overlay *o)
{
    o->shortcuts.whole = (double)env_random_u32(o->env) / 4294967296.0;
    o->shortcuts.members = ring_members(&o->ring);
    look_soon(o);
}

void shortcut_lost(struct overlay *o)
{
    if (o->ring.state == OVERLAY_MEMBER)
        look_soon(o);
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

static void ask_around_point(struct overlay *o, struct draw *d)
{
    struct id point = ring_draw_shortcut(&o->ring);

    d->token = join_token(o, ASK_FOR_SHORTCUT);
    (void)join_ask(o, &point, ROUTE_NEAREST, 0, d->token, NULL);
}

static usec trial_rtt(const struct link *l)
{
    usec rtt_us = session_rtt(l->session);

    return l->peer.indirect || rtt_us == 0 ? USEC_NEVER - 1 : rtt_us;
}

/* Each is asked for a sign of life over the path that it has by now. */
static void time_trial(struct overlay *o, struct draw *d)
{
    for (size_t i = 0; i < d->trials; i++) {
        struct link *l = link_find(o, &d->trial[i]);

        if (l != NULL && l->up)
            session_probe_now(l->session);
    }
    d->timed = true;
}

static void judge_trial(struct overlay *o, struct draw *d)
{
    struct link *best = NULL;

    for (size_t i = 0; i < d->trials; i++) {
        struct link *l = link_find(o, &d->trial[i]);

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
    for (size_t i = 0; i < d->trials; i++) {
        struct link *l = link_find(o, &d->trial[i]);

        if (l != NULL)
            link_dismiss(l);
    }
    end_trials(d);
}

static bool resized(const struct overlay *o)
{
    double by = ring_members(&o->ring) / o->shortcuts.members;

    return by > RESIZE || by < 1.0 / RESIZE;
}

static size_t count_under_way(const struct overlay *o)
{
    size_t n = 0;

    for (size_t i = 0; i < DRAWS_MAX; i++)
        n += is_under_way(&o->shortcuts.draws[i]);
    return n;
}

/* Too many, or of the wrong lengths. */
static void give_up_unfit(struct overlay *o, double wanted)
{
    if (resized(o)) {
        o->shortcuts.members = ring_members(&o->ring);
        give_one_up(o);
    }
    if ((double)count_own(o) > wanted + spare)
        give_one_up(o);
}

static void draw_due(struct overlay *o, struct alarm *alarm)
{
    struct draw *d = CONTAINER_OF(alarm, struct draw, alarm);
    double wanted = ring_shortcuts_wanted(&o->ring);
    size_t have;

    if (o->ring.state != OVERLAY_MEMBER)
        return;
    if (d->trials > 0 && !d->timed) {
        time_trial(o, d);
        alarm_set(o, alarm, o->env->now_us + timing_us);
        return;
    }
    if (d->trials > 0)
        judge_trial(o, d);
    d->token = 0;
    give_up_unfit(o, wanted);
    have = count_own(o) + count_under_way(o);
    if ((double)have < floor(wanted + o->shortcuts.whole) && have < OVERLAY_SHORTCUTS_MAX) {
        ask_around_point(o, d);
        alarm_set(o, alarm, o->env->now_us + answer_us);
    } else if (d == &o->shortcuts.draws[0]) {
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

static bool is_tried(const struct overlay *o, const struct id *id)
{
    for (size_t i = 0; i < DRAWS_MAX; i++)
        for (size_t k = 0; k < o->shortcuts.draws[i].trials; k++)
            if (id_eq(&o->shortcuts.draws[i].trial[k], id))
                return true;
    return false;
}

/* A candidate for this point: not connected to for the ring's sake already. */
static void try_candidate(struct overlay *o, struct draw *d, const struct id *id,
                          const struct endpoint *ep, size_t most)
{
    static const struct id nobody;
    const struct link *l = link_find(o, id);

    if (d->trial == NULL || d->trials == most || id_eq(id, &o->ring.self) ||
        ring_is_near(&o->ring, id) || is_tried(o, id))
        return;
    if (l != NULL && ((l->mine | l->theirs) & OVERLAY_ROLE_SHORTCUT) != 0)
        return;
    if (link_open(o, id, &nobody, ep) != NULL)
        d->trial[d->trials++] = *id;
}

static struct draw *asked_draw(struct overlay *o, uint32_t token)
{
    for (size_t i = 0; i < DRAWS_MAX; i++)
        if (o->shortcuts.draws[i].token == token)
            return &o->shortcuts.draws[i];
    return NULL;
}

void shortcut_lists(struct overlay *o, const struct lists *lists)
{
    struct draw *d = asked_draw(o, lists->token);
    size_t most = trials_most(o);

    if (d == NULL || o->ring.state != OVERLAY_MEMBER)
        return;
    d->token = 0;
    d->timed = false;
    d->trial = calloc(SHORTCUT_TRIALS, sizeof *d->trial);
    for (size_t i = 0; i < OVERLAY_NEAR; i++)
        for (int side = RING_LEFT; side <= RING_RIGHT; side++)
            if (i < lists->side[side].count)
                try_candidate(o, d, &lists->side[side].id[i], &lists->ep[side][i], most);
    try_candidate(o, d, &lists->from, NULL, most);
    if (d->trials == 0)
        end_trials(d);
    alarm_set(o, &d->alarm, o->env->now_us + (d->trials > 0 ? trial_us : next_us));
}
