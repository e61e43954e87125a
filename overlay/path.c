#include "overlay/path.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/session_internal.h"

enum {
    CHALLENGE_PACKET_LEN = MESSAGE_PACKET_LEN + PATH_CHALLENGE_LEN,
    LAN_PREFIX4 = 24, /* two private addresses that share it are taken for neighbours */
    LAN_PREFIX6 = 64,
};
/* After each challenge of a trial; the last is how long an answer may take. */
static const usec trial_gaps_us[PATH_TRIES] = {MSEC(100), MSEC(100), MSEC(200),
                                               MSEC(400), MSEC(800), MSEC(1000)};
static const usec alive_us = SEC(1); /* a path heard so lately is not lost yet */
static const usec timeout_least_us = MSEC(250);
static const usec timeout_most_us = MSEC(900); /* also when no RTT is known */
static const usec rtt_similar_us = MSEC(1);    /* differences below do not count */
static const usec lately_us = SEC(30);         /* heard within: it may still be there */

/* How much we like a kind of path, whatever its RTT; lower is better. */
enum rank {
    RANK_LOOPBACK,
    RANK_LAN,
    RANK_IPV6,
    RANK_IPV4,
    RANK_TCP,
    RANK_RELAY,
    RANK_TUNNEL, /* of several hops, maybe */
    RANK_RING,
};

void paths_init(struct paths *p)
{
    memset(p, 0, sizeof(*p));
    p->round_at_us = USEC_NEVER;
}

void paths_clear(struct paths *p)
{
    free(p->v);
    free(p->trials);
    free(p->peer_eps);
    paths_init(p);
}

usec paths_deadline(const struct paths *p)
{
    usec at_us = usec_min(p->round_at_us, p->search != NULL ? p->search->at_us : USEC_NEVER);

    for (size_t i = 0; i < p->trial_count; i++)
        at_us = usec_min(at_us, p->trials[i].at_us);
    return at_us;
}

struct path *paths_best(const struct paths *p)
{
    return p->count > 0 ? &p->v[p->best] : NULL;
}

/* Of ring paths there is one; by which way it goes may change. */
static struct path *paths_find(const struct paths *p, const struct path_addr *addr)
{
    for (size_t i = 0; i < p->count; i++) {
        struct path *path = &p->v[i];

        if (path->addr.kind == addr->kind &&
            (addr->kind == PATH_RING || path_addr_eq(&path->addr, addr)))
            return path;
    }
    return NULL;
}

/* The path that a packet from there came by. */
static struct path *paths_from(const struct paths *p, const struct path_addr *from)
{
    struct path *path = paths_find(p, from);

    for (size_t i = 0; path == NULL && from->kind == PATH_UDP && i < p->count; i++)
        if (p->v[i].comes_from.addr.family != 0 && endpoint_eq(&p->v[i].comes_from, &from->ep))
            path = &p->v[i];
    return path;
}

/* A packet from there shows that what we send by this path arrives, too: packets come back by the
 * address that we send to. */
static bool both_ways(const struct path *path, const struct path_addr *from)
{
    return path->addr.kind == PATH_RING ? from->kind == PATH_RING : path_addr_eq(&path->addr, from);
}

static struct path_trial *trial_find(const struct paths *p, const struct path_addr *addr)
{
    for (size_t i = 0; i < p->trial_count; i++)
        if (path_addr_eq(&p->trials[i].addr, addr))
            return &p->trials[i];
    return NULL;
}

static bool is_broadcast(const struct addr *a)
{
    return a->family == 4 && addr_to_v4(a) == UINT32_MAX;
}

static bool endpoint_acceptable(const struct endpoint *ep, const struct endpoint *own,
                                size_t own_count)
{
    bool own_loopback = false;

    for (size_t i = 0; i < own_count; i++) {
        if (endpoint_eq(ep, &own[i]))
            return false;
        own_loopback |= addr_is_loopback(&own[i].addr);
    }
    if (ep->addr.family == 0 || ep->port == 0 || addr_is_multicast(&ep->addr) ||
        addr_is_unspecified(&ep->addr) || is_broadcast(&ep->addr))
        return false;
    if (ep->addr.family == 6 && addr_is_link_local(&ep->addr))
        return false; /* means nothing without an interface */
    return own_loopback || !addr_is_loopback(&ep->addr);
}

bool sessions_may_try(const struct sessions *ss, const struct endpoint *ep)
{
    struct endpoint own[HELLO_ENDPOINTS_MAX];
    size_t n = sessions_own_endpoints(ss, own);

    return endpoint_acceptable(ep, ss->own, ss->own_count) && endpoint_acceptable(ep, own, n);
}

bool sessions_on_lan(const struct sessions *ss, const struct addr *a)
{
    for (size_t i = 0; i < ss->own_count; i++) {
        const struct addr *own = &ss->own[i].addr;
        struct net net = {.addr = *own, .prefix = own->family == 4 ? LAN_PREFIX4 : LAN_PREFIX6};

        if (own->family == a->family && net_contains(&net, a))
            return true;
    }
    return false;
}

static enum rank rank_of(const struct session *s, const struct path_addr *addr)
{
    if (addr->kind == PATH_RING)
        return RANK_RING;
    if (addr->kind == PATH_TCP)
        return RANK_TCP;
    if (addr->kind == PATH_RELAY)
        return RANK_RELAY;
    if (addr->kind == PATH_TUNNEL)
        return RANK_TUNNEL;
    if (addr_is_loopback(&addr->ep.addr))
        return RANK_LOOPBACK;
    if (sessions_on_lan(s->ss, &addr->ep.addr))
        return RANK_LAN;
    return addr->ep.addr.family == 6 ? RANK_IPV6 : RANK_IPV4;
}

/* Is it worth moving from `b` to `a`, of which we just heard? */
static bool better(const struct session *s, const struct path *a, const struct path *b)
{
    enum rank rank_a = rank_of(s, &a->addr), rank_b = rank_of(s, &b->addr);

    if (rank_a != rank_b && (rank_a >= RANK_TCP || rank_b >= RANK_TCP))
        return rank_a < rank_b;
    if (a->rtt_us == 0 || b->rtt_us == 0)
        return rank_a < rank_b;
    if (rank_a == RANK_RELAY)
        return a->rtt_us + rtt_similar_us < b->rtt_us - b->rtt_us / 16;
    if (a->rtt_us + rtt_similar_us < b->rtt_us - b->rtt_us / 5)
        return true;
    return rank_a < rank_b && a->rtt_us <= b->rtt_us + b->rtt_us / 5 + rtt_similar_us;
}

static void path_log(const struct session *s, const char *what, const struct path_addr *addr)
{
    char peer[ID_SHORT_SIZE], ep[ENDPOINT_TEXT_SIZE];

    if (s->ss->env->level >= LOG_LEVEL_DEBUG)
        env_log(s->ss->env, LOG_LEVEL_DEBUG, "path to %s: %s %s", id_short(&s->peer, peer), what,
                addr->kind == PATH_RING     ? "the ring"
                : addr->kind == PATH_RELAY  ? "a relay"
                : addr->kind == PATH_TUNNEL ? "the public overlay"
                                            : endpoint_text(&addr->ep, ep));
}

void path_news(struct session *s)
{
    const struct path *best = paths_best(&s->paths);

    s->paths.rounds = 0;
    s->paths.round_at_us = USEC_NEVER;
    if (best != NULL && best->addr.kind != PATH_UDP)
        path_round(s);
}

static void best_is(struct session *s, const struct path *path, enum overlay_move by)
{
    struct paths *p = &s->paths;

    p->before_kind = p->best_kind;
    p->best_kind = (uint8_t)path->addr.kind;
    p->moved_by = (uint8_t)by;
    p->moved_us = s->ss->env->now_us;
}

static void move_to(struct session *s, struct path *path, enum overlay_move by)
{
    struct paths *p = &s->paths;

    path_log(s, "moves to", &path->addr);

    p->best = (uint8_t)(path - p->v);
    path->chosen = false;
    best_is(s, path, by);
    session_event(s, EVENT_DATA);
    path_news(s);
}

static void path_remove(struct paths *p, size_t i)
{
    memmove(&p->v[i], &p->v[i + 1], (p->count - i - 1) * sizeof(*p->v));
    p->count--;
    if (p->best > i)
        p->best--;
}

/* Room for one more: the array grows to PATHS_MAX, then the one that was silent longest goes. */
static bool make_room(struct paths *p)
{
    size_t victim = SIZE_MAX;

    if (p->count < p->size)
        return true;
    if (p->size < PATHS_MAX) {
        uint8_t size = (uint8_t)(p->size == 0 ? 1 : p->size + 1);
        struct path *v = realloc(p->v, size * sizeof(*v));

        if (v == NULL)
            return false;
        p->v = v;
        p->size = size;
        return true;
    }
    for (size_t i = 0; i < p->count; i++)
        if (i != p->best && (victim == SIZE_MAX || p->v[i].heard_us < p->v[victim].heard_us))
            victim = i;
    path_remove(p, victim);
    return true;
}

static struct path *path_add(struct session *s, const struct path_addr *addr)
{
    struct paths *p = &s->paths;

    if (!make_room(p))
        return NULL;
    struct path *path = &p->v[p->count++];

    *path = (struct path){.addr = *addr, .heard_us = s->ss->env->now_us};
    if (p->best_kind == PATH_NONE)
        best_is(s, path, OVERLAY_MOVE_FIRST);
    if (p->count == 1) {
        p->best = 0;
        session_event(s, EVENT_DATA);
    }
    return path;
}

struct path *path_proven(struct session *s, const struct path_addr *addr)
{
    struct path_addr to = *addr;

    if (to.kind == PATH_RING)
        to.peer = s->peer; /* whoever the envelope named */
    struct path *path = paths_find(&s->paths, &to);

    if (path != NULL) {
        path->addr = to;
        path->heard_us = s->ss->env->now_us;
        return path;
    }
    path = path_add(s, &to);
    if (path != NULL && path != paths_best(&s->paths) && better(s, path, paths_best(&s->paths)))
        move_to(s, path, OVERLAY_MOVE_BETTER);
    return path;
}

/* Trials. */

static void trial_remove(struct paths *p, struct path_trial *t)
{
    *t = p->trials[--p->trial_count];
    if (p->trial_count > 0)
        return;
    free(p->trials);
    p->trials = NULL;
}

static struct path_trial *trial_slot(struct paths *p)
{
    struct path_trial *victim;

    if (p->trials == NULL)
        p->trials = calloc(PATH_TRIALS_MAX, sizeof(*p->trials));
    if (p->trials == NULL)
        return NULL;
    if (p->trial_count < PATH_TRIALS_MAX)
        return &p->trials[p->trial_count++];
    victim = &p->trials[0];
    for (size_t i = 1; i < p->trial_count; i++)
        if (p->trials[i].tries > victim->tries)
            victim = &p->trials[i];
    return victim;
}

static void trial_send(struct session *s, struct path_trial *t)
{
    uint8_t body[PATH_CHALLENGE_PADDED_LEN] = {0};

    t->at_us = s->ss->env->now_us + trial_gaps_us[t->tries];
    t->tries++;
    if (t->roamed && t->budget < CHALLENGE_PACKET_LEN)
        return;
    if (t->roamed)
        t->budget -= CHALLENGE_PACKET_LEN;
    memcpy(body, t->challenge, sizeof(t->challenge));
    session_queue(s, &t->addr, MSG_PATH_CHALLENGE, body,
                  t->roamed ? PATH_CHALLENGE_LEN : sizeof(body));
}

static void trial_start(struct session *s, const struct path_addr *addr, bool roamed,
                        size_t received)
{
    struct path_trial *t = trial_slot(&s->paths);

    if (t == NULL)
        return;
    *t = (struct path_trial){
        .addr = *addr,
        .roamed = roamed,
        .heard = roamed,
        .budget = (uint32_t)(received * PATH_AMPLIFICATION),
        .started_us = s->ss->env->now_us,
    };
    env_random(s->ss->env, t->challenge, sizeof(t->challenge));
    path_log(s, roamed ? "heard from" : "trying", addr);
    trial_send(s, t);
}

static bool trial_sent_now(const struct session *s, const struct path_trial *t)
{
    return t->at_us == s->ss->env->now_us + trial_gaps_us[t->tries - 1];
}

/* With an answer that goes there: in the same packet it costs none, and both ends have proven the
 * path when that one and its answer arrive. */
static void trial_send_along(struct session *s, struct path_trial *t)
{
    if (t->roamed || trial_sent_now(s, t))
        return;
    t->again = true;
    session_queue(s, &t->addr, MSG_PATH_CHALLENGE, t->challenge, sizeof(t->challenge));
}

/* The peer begins now, or is there: challenges follow each other fast again. */
static void trial_again(struct session *s, struct path_trial *t)
{
    t->again = true;
    t->tries = 0;
    trial_send(s, t);
}

static void starts_refresh(struct session *s)
{
    struct paths *p = &s->paths;
    usec now_us = s->ss->env->now_us;

    if (now_us < p->starts_us + SEC(PATH_STARTS_S))
        return;
    p->starts_us = now_us;
    p->starts = p->roams = 0;
}

/* A peer may send us to so many addresses in a while and no more: we are nobody's reflector. */
static bool start_allowed(struct session *s)
{
    starts_refresh(s);
    if (s->paths.starts == PATH_STARTS_MAX)
        return false;
    s->paths.starts++;
    return true;
}

static bool roam_allowed(struct session *s)
{
    starts_refresh(s);
    if (s->paths.roams == PATH_ROAMS_MAX)
        return false;
    s->paths.roams++;
    return true;
}

/* A direct path that is there while the best is none: it is proven anew, like one that was never
 * known. */
static bool has_failed(const struct session *s, const struct path *path)
{
    return path_addr_is_direct(&path->addr) && !path_addr_is_direct(&paths_best(&s->paths)->addr);
}

static bool is_new(const struct session *s, const struct path_addr *addr)
{
    const struct path *path = paths_find(&s->paths, addr);

    return trial_find(&s->paths, addr) == NULL && (path == NULL || has_failed(s, path));
}

static struct path_named *named_find(struct path_named *v, size_t n, const struct endpoint *ep)
{
    for (size_t i = 0; i < n; i++)
        if (endpoint_eq(&v[i].ep, ep))
            return &v[i];
    return NULL;
}

static void named_tried(struct session *s, const struct endpoint *ep)
{
    struct path_named *named = named_find(s->paths.peer_eps, s->paths.peer_ep_count, ep);

    if (named == NULL)
        return;
    named->tried_us = s->ss->env->now_us;
    if (named->times < UINT16_MAX)
        named->times++;
}

/* Starts a trial, or the one under way over again, unless the path is known already. */
static void candidate_try(struct session *s, const struct endpoint *ep)
{
    const struct path_addr addr = {.kind = PATH_UDP, .ep = *ep};
    struct path_trial *t = trial_find(&s->paths, &addr);

    if (t != NULL && !t->roamed && start_allowed(s))
        trial_again(s, t);
    else if (is_new(s, &addr) && sessions_may_try(s->ss, ep) && start_allowed(s))
        trial_start(s, &addr, false, 0);
    else
        return;
    named_tried(s, ep);
}

static void round_later(struct session *s)
{
    struct paths *p = &s->paths;
    usec interval_us = usec_min(SEC(PATH_ROUND_FIRST_S) << p->rounds, SEC(PATH_ROUND_LAST_S));

    p->round_at_us = s->ss->env->now_us + env_jitter(s->ss->env, interval_us, 10);
    if (interval_us < SEC(PATH_ROUND_LAST_S))
        p->rounds++;
}

void path_check(struct session *s)
{
    struct paths *p = &s->paths;
    const struct path *best = paths_best(p);

    if (s->state != SESSION_UP || best == NULL)
        return;
    for (int rank = RANK_LOOPBACK; rank < (int)rank_of(s, &best->addr); rank++)
        for (size_t i = 0; i < p->peer_ep_count; i++) {
            const struct path_addr addr = {.kind = PATH_UDP, .ep = p->peer_eps[i].ep};

            if ((int)rank_of(s, &addr) == rank)
                candidate_try(s, &addr.ep);
        }
    if (best->addr.kind == PATH_UDP)
        p->round_at_us = USEC_NEVER;
    else if (p->round_at_us == USEC_NEVER)
        round_later(s);
}

void path_round_heard(struct session *s)
{
    path_check(s);
    if (s->paths.round_at_us != USEC_NEVER)
        round_later(s);
}

void path_round(struct session *s)
{
    const struct path *best = paths_best(&s->paths);

    if (s->state != SESSION_UP || best == NULL)
        return;
    if (best->addr.kind != PATH_UDP) {
        session_tell_endpoints(s);
        round_later(s);
    }
    path_check(s);
}

void path_set_peer_endpoints(struct session *s, const struct endpoint *eps, size_t n)
{
    struct paths *p = &s->paths;
    struct path_named *kept = malloc(PATH_PEER_ENDPOINTS_MAX * sizeof(*kept));
    uint8_t count = 0;

    if (kept == NULL)
        return;
    for (size_t i = 0; i < n && count < PATH_PEER_ENDPOINTS_MAX; i++) {
        const struct path_named *before = named_find(p->peer_eps, p->peer_ep_count, &eps[i]);

        if (sessions_may_try(s->ss, &eps[i]))
            kept[count++] = before != NULL ? *before : (struct path_named){.ep = eps[i]};
    }
    free(p->peer_eps);
    p->peer_eps = count > 0 ? realloc(kept, count * sizeof(*kept)) : NULL;
    if (count > 0 && p->peer_eps == NULL)
        p->peer_eps = kept;
    if (count == 0)
        free(kept);
    p->peer_ep_count = count;
}

void path_try(struct session *s, const struct path_addr *to)
{
    if (to->kind == PATH_UDP) {
        candidate_try(s, &to->ep);
    } else if (to->kind == PATH_RING && paths_find(&s->paths, to) == NULL) {
        session_queue(s, to, MSG_PING, (uint8_t[5]){0}, 5);
    } else if (to->kind != PATH_RING && to->kind != PATH_NONE && is_new(s, to)) {
        trial_start(s, to, false, 0);
    }
}

bool path_known(const struct session *s, const struct path_addr *addr)
{
    return paths_find(&s->paths, addr) != NULL;
}

bool path_way(const struct session *s, const struct path_addr *addr, struct session_way *out)
{
    const struct path *path = paths_from(&s->paths, addr);

    if (path == NULL)
        return false;
    *out = (struct session_way){path == paths_best(&s->paths), path->heard_us, path->rtt_us};
    return true;
}

void path_ping_way(struct session *s, const struct path_addr *addr)
{
    path_ping(s, paths_find(&s->paths, addr), 0);
}

/* The best of those that were heard lately, or the ring: it needs no proof. */
static void replace_best(struct session *s)
{
    const struct path_addr ring = {.kind = PATH_RING, .peer = s->peer};
    struct paths *p = &s->paths;
    struct path *next = NULL;

    for (size_t i = 0; i < p->count; i++) {
        bool lately = s->ss->env->now_us < p->v[i].heard_us + lately_us;

        if (lately && (next == NULL || better(s, &p->v[i], next)))
            next = &p->v[i];
    }
    if (next == NULL)
        next = paths_find(p, &ring);
    if (next == NULL)
        next = path_add(s, &ring);
    if (next != NULL)
        move_to(s, next, OVERLAY_MOVE_LOST);
}

void path_drop(struct session *s, const struct path_addr *addr)
{
    struct path_trial *t = trial_find(&s->paths, addr);
    struct path *path = paths_find(&s->paths, addr);

    if (t != NULL)
        trial_remove(&s->paths, t);
    if (path == NULL)
        return;
    bool best = path == paths_best(&s->paths);

    path_remove(&s->paths, (size_t)(path - s->paths.v));
    if (best)
        replace_best(s);
}

void path_tick(struct session *s)
{
    struct paths *p = &s->paths;
    usec now_us = s->ss->env->now_us;
    bool silent = p->trial_count > 0;

    for (size_t i = p->trial_count; i-- > 0;) {
        struct path_trial *t = &p->trials[i];

        if (t->at_us > now_us)
            continue;
        if (t->tries < PATH_TRIES) {
            trial_send(s, t);
            continue;
        }
        path_log(s, "no answer from", &t->addr);
        trial_remove(p, t);
    }
    if (silent && p->trial_count == 0)
        search_begin(s);
    search_tick(s);
    if (p->round_at_us <= now_us)
        path_round(s);
}

/* Packets that came. */

/* From another port of where a live path leads: its NAT has more than one mapping, and a challenge
 * to each would make it use one more. */
static bool is_other_mapping(const struct session *s, const struct endpoint *from)
{
    const struct path *best = paths_best(&s->paths);

    return best != NULL && best->addr.kind == PATH_UDP &&
           s->ss->env->now_us < best->heard_us + alive_us &&
           addr_eq(&best->addr.ep.addr, &from->addr);
}

/* The peer is there now: what is under way goes on, at once and from the start. */
static void trial_heard(struct session *s, struct path_trial *t, size_t len)
{
    if (t->roamed) {
        t->budget += (uint32_t)(len * PATH_AMPLIFICATION);
        return;
    }
    if (t->heard)
        return;
    t->heard = true;
    trial_again(s, t);
}

static void path_carried(struct session *s, struct path *path, const struct path_addr *from)
{
    usec now_us = s->ss->env->now_us;

    if (both_ways(path, from))
        path->heard_us = now_us;
    if (has_failed(s, path) && now_us >= path->pinged_us + timeout_least_us)
        path_ping(s, path, 0); /* the peer is there again */
}

void path_roamed(struct session *s, const struct endpoint *from, size_t len)
{
    const struct path_addr addr = {.kind = PATH_UDP, .ep = *from};
    struct path_trial *t = trial_find(&s->paths, &addr);
    struct path *path = paths_from(&s->paths, &addr);

    if (path != NULL)
        path_carried(s, path, &addr);
    else if (t != NULL)
        trial_heard(s, t, len);
    else if (!is_other_mapping(s, from) && roam_allowed(s))
        trial_start(s, &addr, true, len);
}

/* The ring delivers by id: nothing to prove, no address that could be somebody else's. What comes
 * by it is often overtaken: not fresh, it still shows that there is a way. */
static void ring_heard(struct session *s, const struct path_addr *from, bool fresh)
{
    struct path *path = paths_find(&s->paths, from);

    if (!id_eq(&from->peer, &s->peer))
        return;
    if (path == NULL)
        path_add(s, from);
    else if (fresh)
        path->addr = *from;
}

/* The peer's choice shows that its packets arrive by this path. Ours may not: the mapping that we
 * send to is another one than they come from, and may have ended. */
static void follow_when_answered(struct session *s, struct path *path)
{
    path->chosen = true;
    if (path->pinged_us != s->ss->env->now_us)
        path_ping(s, path, 0);
}

void path_nominated(struct session *s, const struct path_addr *from)
{
    struct paths *p = &s->paths;
    struct path *path = paths_from(p, from), *best = paths_best(p);

    for (size_t i = 0; i < p->count; i++)
        p->v[i].chosen = false;
    if (path == NULL || path == best || path->addr.kind == PATH_RING ||
        (!path_addr_is_direct(&path->addr) && path_addr_is_direct(&best->addr)))
        return;
    if (id_cmp(&s->peer, &s->ss->config.node) >= 0)
        return;
    if (both_ways(path, from) || s->ss->env->now_us < path->heard_us + alive_us)
        move_to(s, path, OVERLAY_MOVE_CHOSEN);
    else
        follow_when_answered(s, path);
}

void path_heard(struct session *s, const struct path_addr *from, size_t len, bool fresh)
{
    if (from->kind == PATH_RING)
        ring_heard(s, from, fresh);
    struct path *path = paths_from(&s->paths, from);

    if (path != NULL) {
        path_carried(s, path, from);
    } else if (fresh && from->kind == PATH_UDP) {
        path_roamed(s, &from->ep, len);
    } else if (fresh && (from->kind == PATH_TCP || from->kind == PATH_TUNNEL) &&
               trial_find(&s->paths, from) == NULL) {
        /* TCP itself has proven the address; through a tunnel nobody is reached but its end. */
        trial_start(s, from, false, 0);
    }
}

enum path_shows path_shows(const struct session *s, const struct path_addr *from)
{
    const struct path *best = paths_best(&s->paths);

    if (best == NULL || both_ways(best, from))
        return SHOWS_BEST;
    return paths_from(&s->paths, from) == best ? SHOWS_HALF : SHOWS_OTHER;
}

bool path_may_answer(struct session *s, const struct path_addr *to, size_t len)
{
    struct path_trial *t = trial_find(&s->paths, to);

    if (paths_from(&s->paths, to) != NULL || (t != NULL && !t->roamed))
        return true;
    if (t == NULL || t->budget < len)
        return false;
    t->budget -= (uint32_t)len;
    return true;
}

/* The peer proves the best path anew: it has seen us come from elsewhere. */
static void ask_where_we_are(struct session *s, const struct path_addr *from)
{
    struct path *best = paths_best(&s->paths);

    if (best->addr.kind == PATH_UDP && paths_from(&s->paths, from) == best && best->pinged_us == 0)
        path_ping(s, best, PING_ASK_ENDPOINT);
}

bool path_challenge_input(struct session *s, const struct path_addr *from, struct reader *r)
{
    uint8_t body[PATH_CHALLENGE_LEN + 19];
    struct writer w = writer_of(body, sizeof(body));
    const struct endpoint none = {{0}, 0};
    const uint8_t *challenge = read_bytes(r, PATH_CHALLENGE_LEN);
    struct path_trial *t = trial_find(&s->paths, from);

    if (challenge == NULL)
        return false;
    (void)read_bytes(r, reader_left(r)); /* padding */
    write_bytes(&w, challenge, PATH_CHALLENGE_LEN);
    write_endpoint(&w, from->kind == PATH_UDP ? &from->ep : &none);
    if (path_may_answer(s, from, MESSAGE_PACKET_LEN + writer_len(&w)))
        session_queue(s, from, MSG_PATH_RESPONSE, body, writer_len(&w));
    if (t != NULL)
        trial_send_along(s, t);
    ask_where_we_are(s, from);
    return true;
}

static void rtt_sample(struct path *path, usec sample_us)
{
    uint32_t us = sample_us < SEC(60) ? (uint32_t)sample_us : (uint32_t)SEC(60);

    us = us > 0 ? us : 1;
    path->rtt_us = path->rtt_us == 0 ? us : path->rtt_us - path->rtt_us / 8 + us / 8;
}

/* Its answers come from there. */
static void set_source(struct session *s, struct path *path, const struct path_addr *from)
{
    struct path_trial *t = trial_find(&s->paths, from);

    if (from->kind != PATH_UDP || path->addr.kind != PATH_UDP ||
        endpoint_eq(&path->addr.ep, &from->ep) || paths_find(&s->paths, from) != NULL)
        return;
    path->comes_from = from->ep;
    if (t != NULL)
        trial_remove(&s->paths, t);
}

static void trial_passed(struct session *s, struct path_trial *t, const struct path_addr *from,
                         const struct endpoint *us)
{
    const struct path_trial done = *t;

    path_log(s, "proven,", &done.addr);
    trial_remove(&s->paths, t);
    struct path *path = paths_find(&s->paths, &done.addr);

    if (path == NULL)
        path = path_add(s, &done.addr);
    if (path == NULL)
        return;
    path->heard_us = s->ss->env->now_us;
    path->us = *us;
    set_source(s, path, from);
    if (done.tries == 1 && !done.again)
        rtt_sample(path, s->ss->env->now_us - done.started_us);
    const struct path *best = paths_best(&s->paths);
    bool moved = done.heard && best->heard_us <= done.started_us;

    if (path != best && (moved || better(s, path, best)))
        move_to(s, path, moved ? OVERLAY_MOVE_ROAMED : OVERLAY_MOVE_BETTER);
    if (path->rtt_us == 0) /* which challenge was answered is not known */
        path_ping(s, path, 0);
}

bool path_response_input(struct session *s, const struct path_addr *from, struct reader *r)
{
    const uint8_t *challenge = read_bytes(r, PATH_CHALLENGE_LEN);
    struct endpoint us = read_endpoint(r);

    if (!reader_done(r))
        return false;
    for (size_t i = 0; i < s->paths.trial_count; i++)
        if (equal_ct(s->paths.trials[i].challenge, challenge, PATH_CHALLENGE_LEN)) {
            trial_passed(s, &s->paths.trials[i], from, &us);
            break;
        }
    session_observed(s, &us);
    return true;
}

/* Probing. */

void path_ping(struct session *s, struct path *p, uint8_t flags)
{
    uint8_t body[5];

    if (p == NULL)
        return;
    p->ping_nonce = env_random_u32(s->ss->env);
    p->pinged_us = s->ss->env->now_us;
    put_u32(body, p->ping_nonce);
    body[4] = flags | session_nat_flags(s->ss) | (p == paths_best(&s->paths) ? PING_BEST : 0);
    session_queue(s, &p->addr, MSG_PING, body, sizeof(body));
}

void path_ping_others(struct session *s)
{
    const struct path_addr ring = {.kind = PATH_RING, .peer = s->peer};
    struct paths *p = &s->paths;

    for (size_t i = 0; i < p->count; i++)
        if (i != p->best)
            path_ping(s, &p->v[i], 0);
    path_try(s, &ring);
}

/* Whose question this answers. It may come from another port than the one that was asked. */
static struct path *path_asked(const struct paths *p, uint32_t nonce)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->v[i].pinged_us != 0 && p->v[i].ping_nonce == nonce)
            return &p->v[i];
    return NULL;
}

bool path_pong(struct session *s, const struct path_addr *from, uint32_t nonce,
               const struct endpoint *us)
{
    struct path *path = path_asked(&s->paths, nonce);

    if (path == NULL)
        return false;
    set_source(s, path, from);
    if (us->addr.family != 0)
        path->us = *us;
    rtt_sample(path, s->ss->env->now_us - path->pinged_us);
    path->pinged_us = 0;
    path->heard_us = s->ss->env->now_us;
    if (path != paths_best(&s->paths) && (path->chosen || better(s, path, paths_best(&s->paths))))
        move_to(s, path, path->chosen ? OVERLAY_MOVE_CHOSEN : OVERLAY_MOVE_BETTER);
    return path == paths_best(&s->paths);
}

bool path_fail_over(struct session *s, usec since_us)
{
    struct paths *p = &s->paths;
    struct path *next = NULL;

    for (size_t i = 0; i < p->count; i++) {
        struct path *path = &p->v[i];

        if (i != p->best && path->heard_us >= since_us && (next == NULL || better(s, path, next)))
            next = path;
    }
    if (next == NULL)
        return false;
    const struct path_addr dead = paths_best(p)->addr, to = next->addr;

    path_remove(p, p->best);
    move_to(s, paths_find(p, &to), OVERLAY_MOVE_SILENT);
    if (dead.kind == PATH_UDP)
        candidate_try(s, &dead.ep);
    return true;
}

usec path_timeout_us(const struct session *s)
{
    const struct path *best = paths_best(&s->paths);

    if (best == NULL || best->rtt_us == 0 || 4 * (usec)best->rtt_us > timeout_most_us)
        return timeout_most_us;
    return 4 * (usec)best->rtt_us > timeout_least_us ? 4 * (usec)best->rtt_us : timeout_least_us;
}

/* For people. */

static struct overlay_candidate candidate_of(const struct session *s,
                                             const struct path_named *named)
{
    const struct path_addr addr = {.kind = PATH_UDP, .ep = named->ep};
    const struct path *path = paths_find(&s->paths, &addr), *best = paths_best(&s->paths);
    const struct path_trial *t = trial_find(&s->paths, &addr);
    struct overlay_candidate c = {.ep = named->ep,
                                  .named = true,
                                  .times = named->times,
                                  .tried_us = named->tried_us,
                                  .outcome = OVERLAY_TRY_SILENT};

    if (path != NULL) {
        c.outcome = path == best ? OVERLAY_TRY_IN_USE : OVERLAY_TRY_ANSWERED;
        c.rtt_us = path->rtt_us;
        c.us = path->us;
    } else if (t != NULL) {
        c.outcome = OVERLAY_TRY_UNDER_WAY;
        c.tries = t->tries;
    } else if (best != NULL && rank_of(s, &addr) >= rank_of(s, &best->addr)) {
        c.outcome = OVERLAY_TRY_NO_NEED;
    } else if (named->tried_us == 0) {
        c.outcome = OVERLAY_TRY_NOT_YET;
    }
    return c;
}

/* It has an address of its own, and the peer did not name it. */
static bool is_found(const struct session *s, const struct path_addr *addr)
{
    return path_addr_is_direct(addr) &&
           (addr->kind != PATH_UDP ||
            named_find(s->paths.peer_eps, s->paths.peer_ep_count, &addr->ep) == NULL);
}

size_t session_candidates(const struct session *s, struct overlay_candidate *out, size_t max,
                          usec *next_us)
{
    const struct paths *p = &s->paths;
    size_t n = 0;

    for (size_t i = 0; i < p->peer_ep_count && n < max; i++)
        out[n++] = candidate_of(s, &p->peer_eps[i]);
    for (size_t i = 0; i < p->count && n < max; i++)
        if (is_found(s, &p->v[i].addr))
            out[n++] = (struct overlay_candidate){.ep = p->v[i].addr.ep,
                                                  .us = p->v[i].us,
                                                  .tcp = p->v[i].addr.kind == PATH_TCP,
                                                  .outcome = i == p->best ? OVERLAY_TRY_IN_USE
                                                                          : OVERLAY_TRY_ANSWERED,
                                                  .rtt_us = p->v[i].rtt_us};
    for (size_t i = 0; i < p->trial_count && n < max; i++)
        if (is_found(s, &p->trials[i].addr))
            out[n++] = (struct overlay_candidate){.ep = p->trials[i].addr.ep,
                                                  .tcp = p->trials[i].addr.kind == PATH_TCP,
                                                  .outcome = OVERLAY_TRY_UNDER_WAY,
                                                  .tries = p->trials[i].tries,
                                                  .times = 1,
                                                  .tried_us = p->trials[i].started_us};
    *next_us = p->round_at_us;
    return n;
}

static const char *kind_text(enum path_kind kind)
{
    switch (kind) {
    case PATH_NONE:
        break;
    case PATH_UDP:
        return "direct";
    case PATH_TCP:
        return "tcp";
    case PATH_RELAY:
        return "relay";
    case PATH_RING:
    case PATH_TUNNEL:
        return "overlay";
    }
    return NULL;
}

void session_last_move(const struct session *s, struct overlay_moved *out)
{
    *out = (struct overlay_moved){.at_us = s->paths.moved_us,
                                  .by = (enum overlay_move)s->paths.moved_by,
                                  .before = kind_text((enum path_kind)s->paths.before_kind)};
}

uint16_t session_searched(const struct session *s, uint16_t *of)
{
    const struct path_search *search = s->paths.search;

    *of = search != NULL ? search->ports : 0;
    return search != NULL ? search->sent : 0;
}
