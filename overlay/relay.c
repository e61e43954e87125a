#include "overlay/relay.h"

#include <stdlib.h>
#include <string.h>

enum {
    OPENS_MAX = 6,    /* of one channel; then its relay failed */
    OPENS_QUICK = 3,  /* of these follow each other as fast as an answer may come */
    ASKS_QUICK = 8,   /* of our questions, before the peer's list is here */
    ASKS_DOUBLED = 6, /* times that the interval between two later ones grows */
    BAD_DOUBLED = 5,
    REPLACE_PERCENT = 90, /* of the sum of the worst way: what a new one must stay below */
};
static const usec ask_first_us = MSEC(50);
static const usec ask_quick_us = MSEC(200);
static const usec ask_again_us = MSEC(500);
static const usec ask_idle_us = SEC(8);      /* with too few relays, but both lists known */
static const usec checks_us = MSEC(250);     /* what direct checks take when they succeed */
static const usec open_quick_us = MSEC(150); /* and no less than the messages take, if known */
static const usec open_again_us = MSEC(400);
static const usec prove_us = SEC(3);
static const usec ping_apart_us = SEC(2); /* an answer is one to the newest question only */
static const usec measure_us = SEC(3);
static const usec turn_us = MSEC(250);
static const usec settled_turn_us = SEC(5);
static const usec settling_us = SEC(6);
static const usec answer_apart_us = MSEC(100);
static const usec gain_us = MSEC(1);
static const usec left_us = SEC(1); /* packets that were sent before a goodbye was heard arrive */
static const usec bad_left_us = SEC(2); /* a relay that said goodbye may be back */

static const struct id nobody;

static void relay_due(struct overlay *o, struct alarm *alarm);

static struct path_addr way_path(const struct way *w)
{
    return (struct path_addr){.kind = PATH_RELAY, .peer = w->peer, .via = w->leg.neighbour};
}

static struct way *way_through(const struct relay *r, const struct id *relay)
{
    for (size_t i = 0; i < r->way_count; i++)
        if (id_eq(&r->ways[i]->leg.neighbour, relay))
            return r->ways[i];
    return NULL;
}

/* It has a session, and nothing direct. */
static bool is_detached(const struct link *l)
{
    return l->up && !path_addr_is_direct(session_path(l->session));
}

static bool wants(const struct overlay *o, const struct link *l)
{
    uint8_t roles = (uint8_t)((l->mine | l->theirs) & ~OVERLAY_ROLE_RELAY);
    bool needed = roles != 0 || (!l->met && l->relay != NULL && l->relay->asked);

    return is_detached(l) && needed && o->ring.state != OVERLAY_LEAVING &&
           l->peer.state != OVERLAY_LEAVING;
}

static bool drives(const struct overlay *o, const struct link *l)
{
    return id_cmp(&o->ring.self, &l->peer.id) < 0;
}

/* Our round trip to a node that could relay; 0: no direct path to it, or not measured. */
static usec rtt_to(const struct overlay *o, const struct id *id)
{
    const struct link *l = link_find(o, id);

    if (l == NULL || !leg_is_direct(o, id) || l->peer.state == OVERLAY_LEAVING)
        return 0;
    return session_rtt(l->session);
}

/* Sessions with relays and with those that may become some are held as long as they are used. */

static void use(struct overlay *o, const struct id *id)
{
    struct link *l = link_find(o, id);

    if (l != NULL && l->relay_uses++ == 0)
        link_need(o, l, OVERLAY_ROLE_RELAY, 0);
}

static void unuse(struct overlay *o, const struct id *id)
{
    struct link *l = link_find(o, id);

    if (l != NULL && l->relay_uses > 0 && --l->relay_uses == 0)
        link_need(o, l, 0, OVERLAY_ROLE_RELAY);
}

/* Relays that failed this pair. */

static struct relay_bad *bad_find(struct relay *r, const struct id *id)
{
    for (size_t i = 0; i < RELAY_BAD_MAX; i++)
        if (r->bad[i].times > 0 && id_eq(&r->bad[i].id, id))
            return &r->bad[i];
    return NULL;
}

static void bad_add(struct overlay *o, struct relay *r, const struct id *id, usec for_us)
{
    struct relay_bad *bad = bad_find(r, id);

    if (bad == NULL) {
        bad = &r->bad[0];
        for (size_t i = 1; i < RELAY_BAD_MAX; i++)
            if (r->bad[i].until_us < bad->until_us)
                bad = &r->bad[i];
        *bad = (struct relay_bad){.id = *id};
    }
    bad->until_us = o->env->now_us + (for_us << bad->times);
    if (bad->times < BAD_DOUBLED)
        bad->times++;
}

static bool is_bad(const struct overlay *o, struct relay *r, const struct id *id)
{
    const struct relay_bad *bad = bad_find(r, id);

    return bad != NULL && o->env->now_us < bad->until_us;
}

/* How long a relay is left alone for that reason. */
static usec bad_us(enum relay_end why)
{
    switch (why) {
    case RELAY_END_NO:
        return SEC(300);
    case RELAY_END_FULL:
    case RELAY_END_BUSY:
    case RELAY_END_UNREACHABLE:
        return SEC(20);
    case RELAY_END_CLOSED:
    case RELAY_END_UNWANTED:
    case RELAY_END_SILENT:
    case RELAY_END_EVICTED:
    case RELAY_END_MAX:
        return SEC(2);
    }
    return SEC(2);
}

static usec bad_after_us(const struct way *w, usec unless_left_us)
{
    return w->state == WAY_LEFT ? bad_left_us : unless_left_us;
}

/* Turns. */

static void turn_by(struct overlay *o, struct relay *r, usec at_us)
{
    alarm_sooner(o, &r->alarm, at_us);
}

static void turn_soon(struct overlay *o, struct relay *r)
{
    turn_by(o, r, o->env->now_us + MSEC(1));
}

static struct relay *relay_begin(struct overlay *o, struct link *l)
{
    struct relay *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    *r = (struct relay){.link = l,
                        .alarm = {.timer.at_us = USEC_NEVER, .due = relay_due},
                        .began_us = o->env->now_us};
    r->ask_us = o->env->now_us + ask_first_us;
    l->relay = r;
    turn_by(o, r, r->ask_us);
    return r;
}

void relay_follow(struct overlay *o, struct link *l)
{
    bool wanted = wants(o, l);

    if (l->relay == NULL && wanted)
        (void)relay_begin(o, l);
    else if (l->relay != NULL && wanted == (l->relay->direct_us != 0))
        turn_soon(o, l->relay);
}

/* The search with a peer that asked for it: it may know better that one is needed. */
static struct relay *relay_asked(struct overlay *o, struct link *l)
{
    if (l->relay == NULL && is_detached(l) && o->ring.state != OVERLAY_LEAVING)
        (void)relay_begin(o, l);
    if (l->relay == NULL || !is_detached(l))
        return NULL;
    l->relay->asked = true;
    return l->relay;
}

/* Ways. */

static struct way *way_new(struct overlay *o, struct relay *r, const struct id *relay)
{
    struct way *w = r->way_count < RELAY_WAYS_MAX ? calloc(1, sizeof *w) : NULL;

    if (w == NULL)
        return NULL;
    w->leg = (struct leg){.neighbour = *relay, .way = w};
    w->peer = r->link->peer.id;
    w->since_us = o->env->now_us;
    if (!leg_take(o, &w->leg)) {
        free(w);
        return NULL;
    }
    r->ways[r->way_count++] = w;
    o->legs_changed = true;
    use(o, relay);
    return w;
}

/* Takes it from the session's paths and from us; the relay hears of it. */
static void way_close(struct overlay *o, struct relay *r, struct way *w, bool tell)
{
    const struct path_addr path = way_path(w);
    struct link *relay = link_find(o, &path.via);
    size_t i = 0;

    while (r->ways[i] != w)
        i++;
    r->ways[i] = r->ways[--r->way_count];
    if (tell && relay != NULL && relay->up)
        relay_tell_end(o, relay, &w->peer, w->leg.tx, RELAY_END_CLOSED);
    leg_drop(o, &w->leg);
    free(w);
    if (r->link->up)
        session_drop_way(r->link->session, &path);
    unuse(o, &path.via);
}

static void way_fail(struct overlay *o, struct relay *r, struct way *w, bool tell, usec bad_for_us)
{
    if (w->state == WAY_PROVEN)
        overlay_counted(o, OVERLAY_COUNT_RELAY_LOST);
    bad_add(o, r, &w->leg.neighbour, bad_for_us);
    way_close(o, r, w, tell);
    if (r->ask_us > o->env->now_us + ask_again_us)
        r->ask_us = o->env->now_us + ask_again_us;
    turn_soon(o, r);
}

/* An OPEN, the relay's INVITE and both ACCEPTs take one round trip of either end to the relay. */
static usec open_gap_us(const struct way *w)
{
    usec takes_us = w->rtt_us + MSEC(50);

    if (w->tries > OPENS_QUICK || takes_us > open_again_us)
        return open_again_us;
    return takes_us > open_quick_us ? takes_us : open_quick_us;
}

static void way_ask(struct overlay *o, struct way *w)
{
    w->tries++;
    w->at_us = o->env->now_us + open_gap_us(w);
    relay_tell(o, link_find(o, &w->leg.neighbour), MSG_RELAY_OPEN, &w->peer, 0, w->leg.rx);
}

/* Both ends and the relay agree: is it a path? */
static void way_try(struct overlay *o, struct relay *r, struct way *w, uint32_t tx)
{
    const struct path_addr path = way_path(w);

    if (w->state == WAY_LEFT)
        return;
    if (w->leg.tx != tx)
        o->legs_changed = true;
    w->leg.tx = tx;
    if (w->state == WAY_ASKED) {
        w->state = WAY_TRIED;
        w->since_us = o->env->now_us;
    }
    session_try_path(r->link->session, &path);
    turn_by(o, r, o->env->now_us + turn_us);
}

/* The session has it among its paths, or has it no more. */
static bool way_proven_holds(struct overlay *o, struct relay *r, struct way *w)
{
    const struct path_addr path = way_path(w);
    struct session_way found;

    if (!session_way(r->link->session, &path, &found) ||
        o->env->now_us >= found.heard_us + 2 * SEC(RELAY_PING_S))
        return false;
    if (o->env->now_us >= w->at_us &&
        (found.rtt_us == 0 || o->env->now_us >= found.heard_us + SEC(RELAY_PING_S))) {
        w->at_us = o->env->now_us + ping_apart_us;
        session_ping_way(r->link->session, &path);
    }
    return true;
}

static bool way_tried_holds(struct overlay *o, struct relay *r, struct way *w)
{
    const struct path_addr path = way_path(w);
    struct session_way found;

    if (!session_way(r->link->session, &path, &found))
        return o->env->now_us < w->since_us + prove_us;
    if (found.rtt_us == 0)
        session_ping_way(r->link->session, &path);
    w->at_us = o->env->now_us + ping_apart_us;
    w->state = WAY_PROVEN;
    overlay_counted(o, OVERLAY_COUNT_RELAY_WAYS);
    return true;
}

static bool way_asked_holds(struct overlay *o, struct way *w)
{
    if (o->env->now_us < w->at_us)
        return true;
    if (w->tries == OPENS_MAX)
        return false;
    way_ask(o, w);
    return true;
}

static bool way_holds(struct overlay *o, struct relay *r, struct way *w)
{
    if (!leg_is_direct(o, &w->leg.neighbour))
        return false;
    switch (w->state) {
    case WAY_ASKED:
        return way_asked_holds(o, w);
    case WAY_TRIED:
        return way_tried_holds(o, r, w);
    case WAY_PROVEN:
        return way_proven_holds(o, r, w);
    case WAY_LEFT:
        return o->env->now_us < w->since_us + left_us;
    }
    return false;
}

static bool all_proven(const struct relay *r)
{
    bool all = r->way_count > 0;

    for (size_t i = 0; i < r->way_count; i++)
        all = all && r->ways[i]->state == WAY_PROVEN;
    return all;
}

/* The one with the highest sum that does not carry. */
static struct way *worst_way(const struct relay *r)
{
    struct way *worst = NULL;

    for (size_t i = 0; i < r->way_count; i++) {
        const struct path_addr path = way_path(r->ways[i]);
        struct session_way found;

        if (session_way(r->link->session, &path, &found) && found.best)
            continue;
        if (worst == NULL || r->ways[i]->rtt_us > worst->rtt_us)
            worst = r->ways[i];
    }
    return worst;
}

static void check_ways(struct overlay *o, struct relay *r)
{
    for (size_t i = r->way_count; i-- > 0;)
        if (!way_holds(o, r, r->ways[i]))
            way_fail(o, r, r->ways[i], true, bad_after_us(r->ways[i], SEC(30)));
    if (drives(o, r->link) && r->way_count > RELAY_WAYS && all_proven(r))
        way_close(o, r, worst_way(r), true);
}

/* Lists. */

static uint8_t log_age(const struct overlay *o, const struct link *l)
{
    uint64_t age_s = (o->env->now_us - session_up_since(l->session)) / SEC(1);
    uint8_t log = 0;

    while (age_s >>= 1)
        log++;
    return log;
}

struct told {
    const struct link *link;
    usec rtt_us;
};

static int nearest_first(const void *a, const void *b)
{
    const struct told *x = a, *y = b;

    return x->rtt_us != y->rtt_us ? (x->rtt_us > y->rtt_us) - (x->rtt_us < y->rtt_us)
                                  : id_cmp(&x->link->peer.id, &y->link->peer.id);
}

/* Direct neighbours, nearest first. Those whose round trip is not known yet are asked for it. */
static size_t could_relay(struct overlay *o, const struct link *to, struct told **out)
{
    struct told *all = calloc(o->ring.count + 1, sizeof *all);
    size_t n = 0;

    *out = all;
    for (size_t i = 0; all != NULL && i < o->ring.count; i++) {
        const struct link *l = link_of(o->ring.peers[i]);
        usec rtt_us = rtt_to(o, &l->peer.id);

        if (l == to || l->relay_spare == 0 || l->peer.state == OVERLAY_LEAVING)
            continue;
        if (rtt_us > 0)
            all[n++] = (struct told){l, rtt_us};
        else if (leg_is_direct(o, &l->peer.id))
            session_probe_now(l->session);
    }
    if (n > 0)
        qsort(all, n, sizeof *all, nearest_first);
    return n < RELAY_CANDIDATES_MAX ? n : RELAY_CANDIDATES_MAX;
}

/* Candidates of the peer that we have measured by now. */
static uint8_t count_common(const struct overlay *o, const struct relay *r)
{
    uint8_t n = 0;

    for (size_t i = 0; i < r->candidate_count; i++)
        n += rtt_to(o, &r->candidates[i].id) > 0;
    return n;
}

static void tell_list(struct overlay *o, struct relay *r, uint8_t flags)
{
    uint8_t body[2 + RELAY_CANDIDATES_MAX * RELAY_ENTRY_LEN];
    struct writer w = writer_of(body, sizeof body);
    struct told *told;
    size_t n = could_relay(o, r->link, &told);

    write_u8(&w, flags);
    write_u8(&w, (uint8_t)n);
    for (size_t i = 0; i < n; i++) {
        usec rtt = told[i].rtt_us / RELAY_RTT_UNIT_US;

        write_id(&w, &told[i].link->peer.id);
        write_u16(&w, rtt == 0 ? 1 : rtt < UINT16_MAX ? (uint16_t)rtt : UINT16_MAX);
        write_u8(&w, log_age(o, told[i].link));
        write_u8(&w, told[i].link->relay_spare);
    }
    free(told);
    r->told_us = o->env->now_us;
    r->told_common = count_common(o, r);
    (void)session_send(r->link->session, MSG_RELAY_NEIGHBOURS, body, writer_len(&w));
}

static usec ask_interval_us(const struct relay *r)
{
    unsigned later = r->heard ? r->asks : (unsigned)r->asks - ASKS_QUICK;

    if (!r->heard && r->asks < ASKS_QUICK)
        return ask_quick_us;
    later = later < ASKS_DOUBLED ? later : ASKS_DOUBLED;
    return (r->heard ? ask_idle_us : ask_again_us) << later;
}

static void ask(struct overlay *o, struct relay *r)
{
    bool told_only = r->asks == 0 && !drives(o, r->link); /* the other end asks at the same time */

    if (o->env->now_us < r->ask_us || r->way_count >= RELAY_WAYS)
        return;
    r->ask_us = o->env->now_us + env_jitter(o->env, ask_interval_us(r), 10);
    r->asks++;
    tell_list(o, r, told_only ? 0 : RELAY_LIST_ANSWER);
}

static struct relay_candidate *candidate_find(struct relay_candidate *v, size_t n,
                                              const struct id *id)
{
    for (size_t i = 0; i < n; i++)
        if (id_eq(&v[i].id, id))
            return &v[i];
    return NULL;
}

/* Sessions held to be measured, and those that the peer's new list does not name. */
static void unmeet(struct overlay *o, struct relay *r)
{
    for (size_t i = 0; i < r->candidate_count; i++) {
        struct relay_candidate *c = &r->candidates[i];

        if (!c->met)
            continue;
        c->met = false;
        o->relay_meets--;
        unuse(o, &c->id);
    }
}

static bool read_candidates(struct reader *r, struct relay_candidate *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct relay_candidate){.id = read_id(r)};
        out[i].rtt = read_u16(r);
        out[i].log_age = read_u8(r);
        out[i].spare = read_u8(r);
    }
    return reader_done(r);
}

/* Ourselves, the peer and what stands there twice are no candidates. */
static void take_list(struct overlay *o, struct relay *r, const struct relay_candidate *list,
                      size_t n)
{
    struct relay_candidate *kept = calloc(RELAY_CANDIDATES_MAX, sizeof *kept);
    size_t count = 0;

    if (kept == NULL)
        return;
    for (size_t i = 0; i < n; i++) {
        struct relay_candidate *before =
            candidate_find(r->candidates, r->candidate_count, &list[i].id);

        if (id_eq(&list[i].id, &o->ring.self) || id_eq(&list[i].id, &r->link->peer.id) ||
            candidate_find(kept, count, &list[i].id) != NULL)
            continue;
        kept[count] = list[i];
        if (before != NULL && before->met) {
            kept[count].met = true;
            before->met = false;
        }
        count++;
    }
    unmeet(o, r);
    free(r->candidates);
    r->candidates = kept;
    r->candidate_count = count;
}

/* Measuring. */

static bool worth_meeting(const struct overlay *o, struct relay *r, const struct relay_candidate *c)
{
    return !c->met && c->rtt > 0 && c->spare > 0 && !leg_is_direct(o, &c->id) &&
           !is_bad(o, r, &c->id);
}

/* The nearest of the peer's neighbours that we do not know. */
static void meet(struct overlay *o, struct relay *r)
{
    for (int i = 0; i < RELAY_MEETS && o->relay_meets < RELAY_MEETS_ALL; i++) {
        struct relay_candidate *best = NULL;

        for (size_t k = 0; k < r->candidate_count; k++) {
            struct relay_candidate *c = &r->candidates[k];

            if (worth_meeting(o, r, c) && (best == NULL || c->rtt < best->rtt))
                best = c;
        }
        if (best == NULL || link_open(o, &best->id, &nobody, NULL) == NULL)
            return;
        best->met = true;
        o->relay_meets++;
        use(o, &best->id);
    }
}

/* Those whom we just met have a path by now, but no round trip perhaps. */
static void time_candidates(struct overlay *o, struct relay *r)
{
    for (size_t i = 0; i < r->candidate_count; i++) {
        const struct id *id = &r->candidates[i].id;

        if (leg_is_direct(o, id) && rtt_to(o, id) == 0)
            session_probe_now(link_find(o, id)->session);
    }
}

/* The end that drives learns what we measured. */
static void measure(struct overlay *o, struct relay *r)
{
    if (r->meet_us == 0)
        return;
    time_candidates(o, r);
    if (!drives(o, r->link) && count_common(o, r) > r->told_common)
        tell_list(o, r, 0);
    if (o->env->now_us < r->meet_us)
        return;
    r->meet_us = 0;
    unmeet(o, r);
}

/* Choosing. */

static struct relay_choice choice_of(const struct overlay *o, const struct relay_candidate *c)
{
    const struct link *l = link_find(o, &c->id);
    uint8_t age = log_age(o, l), younger = age < c->log_age ? age : c->log_age;

    return (struct relay_choice){
        .rtt_us = rtt_to(o, &c->id) + (usec)c->rtt * RELAY_RTT_UNIT_US,
        .age_s = UINT32_C(1) << (younger < 31 ? younger : 31),
        .spare = c->spare < l->relay_spare ? c->spare : l->relay_spare,
    };
}

/* The best that is not in use yet. */
static const struct relay_candidate *choose(const struct overlay *o, struct relay *r,
                                            struct relay_choice *choice)
{
    const struct relay_candidate *best = NULL;

    for (size_t i = 0; i < r->candidate_count; i++) {
        const struct relay_candidate *c = &r->candidates[i];
        struct relay_choice other;

        if (c->rtt == 0 || rtt_to(o, &c->id) == 0 || is_bad(o, r, &c->id) ||
            way_through(r, &c->id) != NULL)
            continue;
        other = choice_of(o, c);
        if (other.spare > 0 && (best == NULL || o->relay_better(&other, choice))) {
            *choice = other;
            best = c;
        }
    }
    return best;
}

static bool may_open(const struct overlay *o, const struct relay *r,
                     const struct relay_choice *choice)
{
    const struct way *worst = worst_way(r);

    if (r->way_count < RELAY_WAYS)
        return true;
    return r->way_count == RELAY_WAYS && all_proven(r) && worst != NULL &&
           choice->rtt_us + gain_us < worst->rtt_us * REPLACE_PERCENT / 100;
}

static void open_ways(struct overlay *o, struct relay *r)
{
    const struct relay_candidate *c;
    struct relay_choice choice;

    if (!drives(o, r->link) || o->env->now_us < r->began_us + checks_us)
        return;
    while ((c = choose(o, r, &choice)) != NULL && may_open(o, r, &choice)) {
        struct way *w = way_new(o, r, &c->id);

        if (w == NULL)
            return;
        w->rtt_us = choice.rtt_us;
        way_ask(o, w);
    }
}

/* One turn. */

/* The first ways are opened, and what was sent and not answered is sent again. */
static usec send_us(const struct overlay *o, const struct relay *r)
{
    usec at_us = r->way_count < RELAY_WAYS && !r->heard ? r->ask_us : USEC_NEVER;

    if (r->heard && drives(o, r->link) && o->env->now_us < r->began_us + checks_us)
        at_us = r->began_us + checks_us;
    for (size_t i = 0; i < r->way_count; i++)
        if (r->ways[i]->state == WAY_ASKED && r->ways[i]->tries > 0)
            at_us = usec_min(at_us, r->ways[i]->at_us);
    return at_us;
}

static usec next_turn_us(const struct overlay *o, const struct relay *r)
{
    bool settled = r->way_count >= RELAY_WAYS && all_proven(r);
    usec now_us = o->env->now_us;

    if (r->meet_us != 0 || (r->way_count > 0 && !all_proven(r)))
        return now_us + turn_us;
    if (!settled && now_us < r->began_us + settling_us)
        return now_us + turn_us;
    return usec_min(now_us + settled_turn_us, r->ask_us > now_us ? r->ask_us : USEC_NEVER);
}

static void relay_due(struct overlay *o, struct alarm *alarm)
{
    struct relay *r = CONTAINER_OF(alarm, struct relay, alarm);

    if (!wants(o, r->link)) {
        if (r->direct_us == 0)
            r->direct_us = o->env->now_us;
        if (o->env->now_us >= r->direct_us + SEC(RELAY_SPARE_S))
            relay_free(o, r->link);
        else
            turn_by(o, r, r->direct_us + SEC(RELAY_SPARE_S));
        return;
    }
    r->direct_us = 0;
    check_ways(o, r);
    ask(o, r);
    measure(o, r);
    open_ways(o, r);
    turn_by(o, r, usec_min(next_turn_us(o, r), send_us(o, r)));
}

/* Endings. */

void relay_free(struct overlay *o, struct link *l)
{
    struct relay *r = l->relay;

    if (r == NULL)
        return;
    while (r->way_count > 0)
        way_close(o, r, r->ways[0], true);
    unmeet(o, r);
    relay_discard(o, l);
}

void relay_discard(struct overlay *o, struct link *l)
{
    struct relay *r = l->relay;

    if (r == NULL)
        return;
    alarm_set(o, &r->alarm, USEC_NEVER);
    for (size_t i = 0; i < r->way_count; i++) {
        leg_drop(o, &r->ways[i]->leg);
        free(r->ways[i]);
    }
    free(r->candidates);
    free(r);
    l->relay = NULL;
}

void relays_leave(struct overlay *o, const struct id *relay)
{
    for (size_t i = 0; i < o->ring.count; i++) {
        struct relay *r = link_of(o->ring.peers[i])->relay;
        struct way *w = r != NULL ? way_through(r, relay) : NULL;
        struct path_addr path;

        if (w == NULL || w->state == WAY_LEFT)
            continue;
        w->state = WAY_LEFT;
        w->since_us = o->env->now_us;
        path = way_path(w);
        session_drop_way(r->link->session, &path);
        turn_soon(o, r);
    }
}

void relays_lost(struct overlay *o, const struct id *relay)
{
    for (size_t i = 0; i < o->ring.count; i++) {
        struct relay *r = link_of(o->ring.peers[i])->relay;
        struct way *w = r != NULL ? way_through(r, relay) : NULL;

        if (w != NULL)
            way_fail(o, r, w, true, bad_after_us(w, SEC(10)));
    }
}

void relays_link_down(struct overlay *o, const struct id *relay)
{
    relays_lost(o, relay);
    for (size_t i = 0; i < o->ring.count; i++) {
        struct relay *r = link_of(o->ring.peers[i])->relay;
        struct relay_candidate *c =
            r != NULL ? candidate_find(r->candidates, r->candidate_count, relay) : NULL;

        if (c == NULL || !c->met)
            continue;
        c->met = false;
        o->relay_meets--;
        unuse(o, relay);
    }
}

/* Packets. */

void relay_send(struct overlay *o, const struct path_addr *to, const uint8_t *pkt, size_t len)
{
    const struct link *l = link_find(o, &to->peer);
    const struct way *w = l != NULL && l->relay != NULL ? way_through(l->relay, &to->via) : NULL;

    if (w == NULL || !leg_send(o, &w->leg, pkt, len))
        overlay_counted(o, OVERLAY_COUNT_DROP_RELAY);
}

void relay_packet(struct overlay *o, const struct way *w, uint8_t *pkt, size_t len)
{
    const struct path_addr from = way_path(w);

    if (pkt[0] == PACKET_DATA)
        o->host.data(o->ctx, &(struct data_way){.relay = &from.via}, pkt, len);
    else if (o->ring.state != OVERLAY_LEAVING || pkt[0] != PACKET_HANDSHAKE)
        (void)sessions_input(o->sessions, &from, pkt, len);
}

void relay_data(const struct overlay *o, const struct path_addr *path, struct overlay_data *out)
{
    const struct link *l = link_find(o, &path->peer);
    const struct way *w = l != NULL && l->relay != NULL ? way_through(l->relay, &path->via) : NULL;

    if (w != NULL)
        leg_data(o, &w->leg, out);
}

/* Measured over it; 0: not yet. */
static usec way_rtt(const struct link *l, const struct way *w)
{
    const struct path_addr path = way_path(w);
    struct session_way found;

    return session_way(l->session, &path, &found) ? found.rtt_us : 0;
}

void relay_info(const struct link *l, struct overlay_peer_info *out)
{
    const struct path_addr *best = session_path(l->session);
    const struct relay *r = l->relay;

    if (best->kind == PATH_RELAY)
        out->relay = best->via;
    for (size_t i = 0; r != NULL && i < r->way_count; i++) {
        const struct way *w = r->ways[i];

        if (w->state == WAY_PROVEN && !id_eq(&w->leg.neighbour, &out->relay) &&
            out->standbys < OVERLAY_STANDBYS_MAX) {
            out->standby_rtt_us[out->standbys] = way_rtt(l, w);
            out->standby[out->standbys++] = w->leg.neighbour;
        }
    }
}

static struct overlay_relay relay_of_way(const struct link *l, const struct way *w)
{
    static const enum overlay_relay_state states[] = {
        [WAY_ASKED] = OVERLAY_RELAY_ASKED,
        [WAY_TRIED] = OVERLAY_RELAY_TRIED,
        [WAY_PROVEN] = OVERLAY_RELAY_STANDS_BY,
        [WAY_LEFT] = OVERLAY_RELAY_LEFT,
    };
    const struct path_addr path = way_path(w), *best = session_path(l->session);
    struct overlay_relay out = {.node = w->leg.neighbour,
                                .state = states[w->state],
                                .rtt_us = way_rtt(l, w),
                                .told_rtt_us = w->rtt_us};

    if (path_addr_eq(&path, best))
        out.state = OVERLAY_RELAY_IN_USE;
    return out;
}

static bool has_way_through(const struct overlay_relay *v, size_t n, const struct id *relay)
{
    while (n-- > 0)
        if (id_eq(&v[n].node, relay))
            return true;
    return false;
}

size_t relay_list(const struct overlay *o, const struct link *l, struct overlay_relay *out,
                  size_t max)
{
    const struct relay *r = l->relay;
    size_t n = 0, ways;

    for (size_t i = 0; r != NULL && i < r->way_count && n < max; i++)
        out[n++] = relay_of_way(l, r->ways[i]);
    ways = n;
    for (size_t i = 0; r != NULL && i < RELAY_BAD_MAX && n < max; i++)
        if (r->bad[i].times > 0 && o->env->now_us < r->bad[i].until_us &&
            !has_way_through(out, ways, &r->bad[i].id))
            out[n++] = (struct overlay_relay){.node = r->bad[i].id,
                                              .state = OVERLAY_RELAY_FAILED,
                                              .until_us = r->bad[i].until_us};
    return n;
}

/* Messages. */

bool relay_neighbours_input(struct overlay *o, struct link *from, struct reader *in)
{
    struct relay_candidate list[RELAY_CANDIDATES_MAX];
    uint8_t flags = read_u8(in);
    size_t n = read_u8(in);
    struct relay *r;

    if (n > RELAY_CANDIDATES_MAX || !read_candidates(in, list, n))
        return false;
    r = relay_asked(o, from);
    if (r == NULL)
        return true;
    take_list(o, r, list, n);
    if ((flags & RELAY_LIST_ANSWER) != 0 && o->env->now_us >= r->told_us + answer_apart_us)
        tell_list(o, r, 0);
    if (!r->heard || (r->way_count == 0 && r->meet_us == 0)) {
        r->heard = true;
        r->meet_us = o->env->now_us + measure_us;
        meet(o, r);
    }
    turn_soon(o, r);
    return true;
}

bool relay_invite_input(struct overlay *o, struct link *from, struct reader *in)
{
    struct id requester = read_id(in);
    uint32_t tx = read_u32(in);
    struct link *l = link_find(o, &requester);
    struct relay *r = l != NULL && l != from ? relay_asked(o, l) : NULL;
    struct way *w = NULL;

    if (!reader_done(in) || tx == 0)
        return false;
    if (r != NULL && leg_is_direct(o, &from->peer.id)) {
        w = way_through(r, &from->peer.id);
        if (w == NULL)
            w = way_new(o, r, &from->peer.id);
    }
    if (w == NULL) {
        relay_tell_end(o, from, &requester, tx, RELAY_END_UNWANTED);
        return true;
    }
    if (w->state == WAY_ASKED)
        w->state = WAY_TRIED;
    relay_tell(o, from, MSG_RELAY_ACCEPT, &requester, tx, w->leg.rx);
    way_try(o, r, w, tx);
    return true;
}

/* A leg with that number, of that neighbour; trails have numbers, too, that nobody asks for so. */
static struct leg *leg_named(const struct overlay *o, const struct link *from, uint32_t rx)
{
    struct leg *leg = table_get(&o->legs, &rx);

    if (leg == NULL || leg->trail != NULL || !id_eq(&leg->neighbour, &from->peer.id))
        return NULL;
    return leg;
}

bool relay_accept_input(struct overlay *o, struct link *from, struct reader *in)
{
    struct id other = read_id(in);
    uint32_t rx = read_u32(in), tx = read_u32(in);
    struct leg *leg = leg_named(o, from, rx);
    struct link *peer;

    if (!reader_done(in) || tx == 0)
        return false;
    if (leg == NULL)
        return true; /* given up meanwhile */
    if (leg->channel != NULL) {
        channel_accept(o, leg, tx);
        return true;
    }
    peer = link_find(o, &leg->way->peer);
    if (id_eq(&leg->way->peer, &other) && peer != NULL && peer->up)
        way_try(o, peer->relay, leg->way, tx);
    return true;
}

bool relay_end_input(struct overlay *o, struct link *from, struct reader *in)
{
    struct id other = read_id(in);
    uint32_t rx = read_u32(in);
    uint8_t why = read_u8(in);
    struct leg *leg = leg_named(o, from, rx);
    struct link *peer;

    if (!reader_done(in) || why >= RELAY_END_MAX)
        return false;
    if (leg == NULL || leg->way == NULL) {
        channel_end(o, from, &other, rx);
        return true;
    }
    peer = link_find(o, &leg->way->peer);
    if (id_eq(&leg->way->peer, &other) && peer != NULL)
        way_fail(o, peer->relay, leg->way, false, bad_us((enum relay_end)why));
    return true;
}
