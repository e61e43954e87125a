#include "overlay/session.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/session_internal.h"

enum { SESSIONS_FIRST = 8 /* slots of sessions.all at first */ };

static const usec silent_default_us = SEC(60);
static const usec idle_us = SEC(60);
/* After an attempt at new keys began: the next, if nothing comes of it. */
static const usec rekey_busy_us = SEC(60);
/* Without a new handshake the keys end. */
static const usec keys_life_us = SEC(3 * 3600);
/* Time stands still inside a call: nothing is due twice in it. */
static const usec timer_least_us = MSEC(1);

/* Names and texts. */

bool path_addr_eq(const struct path_addr *a, const struct path_addr *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case PATH_NONE:
        return true;
    case PATH_UDP:
        return endpoint_eq(&a->ep, &b->ep);
    case PATH_TCP:
        return a->conn == b->conn;
    case PATH_RING:
    case PATH_RELAY:
    case PATH_TUNNEL:
        return id_eq(&a->peer, &b->peer) && id_eq(&a->via, &b->via);
    }
    return false;
}

bool path_addr_is_direct(const struct path_addr *a)
{
    switch (a->kind) {
    case PATH_UDP:
    case PATH_TCP:
        return true;
    case PATH_NONE:
    case PATH_RING:
    case PATH_RELAY:
    case PATH_TUNNEL:
        return false;
    }
    return false;
}

const char *session_end_text(enum session_end end)
{
    switch (end) {
    case SESSION_END_CLOSED:
        return "closed";
    case SESSION_END_GOODBYE:
        return "the peer said goodbye";
    case SESSION_END_SILENT:
        return "the peer fell silent";
    case SESSION_END_TIMEOUT:
        return "no answer";
    case SESSION_END_REFUSED:
        return "refused";
    case SESSION_END_SELF:
        return "it is ourselves";
    case SESSION_END_REPLACED:
        return "replaced by a newer session";
    }
    return "ended";
}

const char *session_count_text(enum session_count c)
{
    static const char *const texts[SESSION_COUNT_MAX] = {
        [SESSION_COUNT_RUNT] = "runt",
        [SESSION_COUNT_TYPE] = "type",
        [SESSION_COUNT_MAC] = "mac",
        [SESSION_COUNT_HALF_OPEN_FULL] = "half_open_full",
        [SESSION_COUNT_COOKIE_SENT] = "cookie_sent",
        [SESSION_COUNT_HANDSHAKE_BAD] = "handshake_bad",
        [SESSION_COUNT_CERT_REFUSED] = "cert_refused",
        [SESSION_COUNT_HANDSHAKES] = "handshakes",
        [SESSION_COUNT_NO_SESSION] = "no_session",
        [SESSION_COUNT_FORGED] = "forged",
        [SESSION_COUNT_REPLAY] = "replay",
        [SESSION_COUNT_MESSAGE_BAD] = "message_bad",
    };

    return (unsigned)c < SESSION_COUNT_MAX ? texts[c] : "";
}

uint64_t sessions_counted(const struct sessions *ss, enum session_count c)
{
    return (unsigned)c < SESSION_COUNT_MAX ? ss->counts[c] : 0;
}

/* Life of a session. */

static bool move_allowed(enum session_state from, enum session_state to)
{
    switch (from) {
    case SESSION_OPENING:
        return to == SESSION_UP || to == SESSION_ENDING;
    case SESSION_UP:
        return to == SESSION_ENDING;
    case SESSION_ENDING:
        return false;
    }
    return false;
}

static void set_state(struct session *s, enum session_state to)
{
    static const char *const names[] = {"opening", "up", "ending"};
    char peer[ID_SHORT_SIZE];

    CHECK(move_allowed(s->state, to));
    env_log(s->ss->env, LOG_LEVEL_DEBUG, "session %06x with %s: %s -> %s",
            s->token.index & 0xffffff, s->named ? id_short(&s->peer, peer) : "?", names[s->state],
            names[to]);
    s->state = to;
}

void session_event(struct session *s, enum session_event event)
{
    struct sessions *ss = s->ss;

    if (s->events == 0) {
        s->event_next = NULL;
        *ss->events_last = s;
        ss->events_last = &s->event_next;
    }
    s->events |= (uint8_t)event;
}

/* The oldest that nobody holds makes room; its slot is counted as free from then on. */
static bool make_room(struct sessions *ss)
{
    struct session *victim = NULL;
    size_t alive = 0;

    for (size_t i = 0; i < ss->count; i++) {
        struct session *s = ss->all[i];

        if (s->state == SESSION_ENDING)
            continue;
        alive++;
        if (s->state == SESSION_UP && !s->hold &&
            (victim == NULL || s->opened_us < victim->opened_us))
            victim = s;
    }
    if (alive < ss->config.sessions_max)
        return true;
    if (victim == NULL)
        return false;
    session_close(victim);
    return true;
}

static bool all_push(struct sessions *ss, struct session *s)
{
    if (ss->count == ss->size) {
        size_t size = ss->size == 0 ? SESSIONS_FIRST : 2 * ss->size;
        struct session **all = realloc(ss->all, size * sizeof(*all));

        if (all == NULL)
            return false;
        ss->all = all;
        ss->size = size;
    }
    s->position = ss->count;
    ss->all[ss->count++] = s;
    return true;
}

struct session *session_new(struct sessions *ss)
{
    struct session *s = make_room(ss) ? calloc(1, sizeof(*s)) : NULL;

    if (s == NULL)
        return NULL;
    s->ss = ss;
    s->state = SESSION_OPENING;
    s->timer.at_us = USEC_NEVER;
    s->opened_us = s->heard_us = s->carried_us = ss->env->now_us;
    s->silent_us = silent_default_us;
    s->data_probe_us = s->rekey_at_us = s->probe_at_us = USEC_NEVER;
    s->refusal = "";
    paths_init(&s->paths);
    if (!index_take(ss, &s->token, INDEX_TOKEN, s) || !all_push(ss, s)) {
        index_drop(ss, &s->token);
        free(s);
        return NULL;
    }
    return s;
}

/* A node that many joined through had many sessions for a while. */
static void all_give_room_back(struct sessions *ss)
{
    struct session **all;

    if (ss->size <= SESSIONS_FIRST || 3 * ss->count > ss->size)
        return;
    all = realloc(ss->all, ss->size / 2 * sizeof(*all));
    if (all == NULL)
        return;
    ss->all = all;
    ss->size /= 2;
}

static void session_free(struct session *s)
{
    struct sessions *ss = s->ss;

    heap_set(&ss->timers, &s->timer, USEC_NEVER);
    index_drop(ss, &s->token);
    ss->all[s->position] = ss->all[--ss->count];
    ss->all[s->position]->position = s->position;
    all_give_room_back(ss);
    paths_clear(&s->paths);
    free(s->cert);
    free(s);
}

/* Keys, indices and names: everything by which a packet could still reach it. */
static void session_release(struct session *s)
{
    struct sessions *ss = s->ss;

    if (ss->out.session == s)
        sessions_drop_out(ss);
    if (s->named)
        CHECK(table_remove(&ss->by_peer, &s->peer) == s);
    s->named = false;
    s->paths.search_waits = false;
    search_over(s);
    handshake_abort(s);
    control_keys_free(ss, s->keys);
    control_keys_free(ss, s->old);
    s->keys = s->old = NULL;
    datakey_free(s->data, ss);
    s->data = NULL;
    heap_set(&ss->timers, &s->timer, USEC_NEVER);
}

void session_end(struct session *s, enum session_end end, const char *why)
{
    if (s->state == SESSION_ENDING)
        return;
    set_state(s, SESSION_ENDING);
    s->end = end;
    if (why != NULL)
        s->refusal = why;
    env_log(s->ss->env, LOG_LEVEL_DEBUG, "session %06x: %s%s%s", s->token.index & 0xffffff,
            session_end_text(end), why != NULL ? ", " : "", why != NULL ? why : "");
    session_release(s);
    session_seen_changed(s);
    session_event(s, EVENT_DOWN);
}

void session_name(struct session *s, const struct id *peer)
{
    if (s->named)
        return;
    s->peer = *peer;
    CHECK(table_put(&s->ss->by_peer, s) == 0);
    s->named = true;
}

struct session *session_named(const struct sessions *ss, const struct id *peer)
{
    return table_get(&ss->by_peer, peer);
}

bool session_take_hello(struct session *s, const struct hello *h, const struct cert *who)
{
    if (s->ss->config.ca != NULL && s->cert == NULL)
        s->cert = malloc(sizeof(*s->cert));
    if (s->ss->config.ca != NULL && s->cert == NULL)
        return false;
    session_name(s, &who->node);
    if (s->cert != NULL)
        *s->cert = *who;
    s->key = who->key;
    s->known = true;
    s->incarnation = h->incarnation;
    s->crl_number = h->crl_number;
    path_set_peer_endpoints(s, h->eps, h->ep_count);
    return true;
}

void session_came_up(struct session *s)
{
    set_state(s, SESSION_UP);
    s->up_us = s->heard_us = s->carried_us = s->ss->env->now_us;
    s->refusal = "";
    path_check(s);
    session_event(s, EVENT_UP);
}

/* Sending. */

int session_send(struct session *s, uint8_t type, const void *body, size_t len)
{
    const struct path *best = paths_best(&s->paths);

    if (len > MESSAGE_MAX)
        return -ERR_RANGE;
    if (s->state != SESSION_UP || best == NULL)
        return -ERR_BAD_STATE;
    s->carried_us = s->ss->env->now_us;
    session_queue(s, &best->addr, type, body, len);
    return 0;
}

void session_send_by(struct session *s, const struct path_addr *to, uint8_t type, const void *body,
                     size_t len)
{
    if (s->state == SESSION_UP)
        session_send_under(s, s->keys, to, type, body, len);
}

/* Timers: this function alone knows all of them. */

void session_schedule(struct session *s)
{
    const struct env *env = s->ss->env;
    usec at_us = handshake_deadline(s);

    if (s->state == SESSION_ENDING)
        return;
    if (s->state == SESSION_UP) {
        at_us = usec_min(at_us, probe_deadline(s));
        at_us = usec_min(at_us, s->hold ? USEC_NEVER : s->carried_us + idle_us);
        at_us = usec_min(at_us, s->rekey_at_us);
        at_us = usec_min(at_us, s->old != NULL ? s->old->until_us : USEC_NEVER);
        at_us = usec_min(at_us, datakey_deadline(s->data));
        at_us = usec_min(at_us, paths_deadline(&s->paths));
    }
    if (at_us < env->now_us + timer_least_us)
        at_us = env->now_us + timer_least_us;
    heap_set(&s->ss->timers, &s->timer, at_us);
}

static void rekey_tick(struct session *s)
{
    const struct path *best = paths_best(&s->paths);
    usec now_us = s->ss->env->now_us;

    if (now_us >= s->keys->born_us + keys_life_us) {
        session_end(s, SESSION_END_TIMEOUT, "no new keys for three hours");
        return;
    }
    if (now_us < s->rekey_at_us)
        return;
    s->rekey_at_us = now_us + rekey_busy_us;
    if (s->attempt == NULL && best != NULL)
        handshake_begin(s, &best->addr, true);
}

static void session_tick_up(struct session *s)
{
    usec now_us = s->ss->env->now_us;

    if (s->old != NULL && now_us >= s->old->until_us) {
        control_keys_free(s->ss, s->old);
        s->old = NULL;
    }
    datakey_tick(s);
    path_tick(s);
    rekey_tick(s);
    if (s->state == SESSION_UP)
        probe_tick(s);
    if (s->state == SESSION_UP && !s->hold && now_us >= s->carried_us + idle_us)
        session_close(s);
}

static void session_tick(struct session *s)
{
    handshake_tick(s);
    if (s->state == SESSION_UP)
        session_tick_up(s);
    if (s->state != SESSION_ENDING)
        session_schedule(s);
}

/* Callbacks, last. */

static void event_deliver(struct session *s)
{
    struct sessions *ss = s->ss;
    uint8_t events = s->events;

    s->events = 0;
    if ((events & EVENT_UP) != 0 && s->state == SESSION_UP)
        ss->host.up(ss->ctx, s);
    if ((events & EVENT_DATA) != 0 && s->state == SESSION_UP)
        ss->host.data_changed(ss->ctx, s);
    if ((events & EVENT_OBSERVED) != 0 && s->state == SESSION_UP)
        ss->host.observed(ss->ctx, s, &s->observed);
    if (s->state != SESSION_ENDING || (events & EVENT_DOWN) == 0)
        return;
    ss->host.down(ss->ctx, s, s->end);
    session_free(s);
}

static void finish(struct sessions *ss)
{
    while (ss->events_first != NULL) {
        struct session *s = ss->events_first;

        ss->events_first = s->event_next;
        if (ss->events_first == NULL)
            ss->events_last = &ss->events_first;
        event_deliver(s);
    }
    sessions_flush(ss);
}

/* The doors. */

bool sessions_input(struct sessions *ss, const struct path_addr *from, uint8_t *pkt, size_t len)
{
    bool ours = false;

    if (len < 8) {
        session_counted(ss, SESSION_COUNT_RUNT);
        return false;
    }
    switch (pkt[0]) {
    case PACKET_HANDSHAKE:
        ours = handshake_input(ss, from, pkt, len);
        break;
    case PACKET_COOKIE:
        ours = handshake_cookie_input(ss, pkt, len);
        break;
    case PACKET_CONTROL:
        ours = pkt[4] == ss->config.slot;
        control_input(ss, from, pkt, len);
        break;
    default:
        session_counted(ss, SESSION_COUNT_TYPE);
        break;
    }
    finish(ss);
    return ours;
}

void sessions_tick(struct sessions *ss)
{
    struct timer *t;

    handshake_sweep(ss);
    while ((t = heap_pop(&ss->timers, ss->env->now_us)) != NULL)
        session_tick(CONTAINER_OF(t, struct session, timer));
    finish(ss);
}

usec sessions_deadline(const struct sessions *ss)
{
    if (ss->events_first != NULL || ss->out.session != NULL)
        return ss->env->now_us;
    return usec_min(heap_deadline(&ss->timers), handshake_sweep_deadline(ss));
}

/* Making and ending. */

struct sessions *sessions_new(const struct sessions_config *config, struct env *env,
                              const struct sessions_host *host, void *ctx)
{
    struct sessions *ss = calloc(1, sizeof(*ss));

    if (ss == NULL)
        return NULL;
    ss->own_worker = config->worker == NULL ? seal_worker_new() : NULL;
    ss->worker = config->worker != NULL ? config->worker : ss->own_worker;
    if (ss->worker == NULL || !sign_public_to_dh(&ss->dh_public, &config->pub)) {
        seal_worker_free(ss->own_worker);
        free(ss);
        return NULL;
    }
    ss->config = *config;
    ss->env = env;
    ss->host = *host;
    ss->ctx = ctx;
    sign_secret_to_dh(&ss->dh_secret, &config->sec);
    memcpy(ss->prologue, "peal", 4);
    ss->prologue[4] = HELLO_VERSION;
    memcpy(ss->prologue + 5, config->overlay.b, ID_LEN);
    env_random(env, &ss->incarnation, sizeof(ss->incarnation));
    cookie_keys_make(&ss->cookie_keys, &config->group_key);
    table_init(&ss->by_peer, offsetof(struct session, peer), ID_LEN, config->sessions_max,
               env->hash_key);
    table_init(&ss->indices, offsetof(struct index_ref, index), sizeof(uint32_t),
               (size_t)config->sessions_max * SESSION_INDICES_EACH + HALF_OPEN_MAX, env->hash_key);
    heap_init(&ss->timers);
    ss->keepalive_us = SEC(SESSION_KEEPALIVE_S);
    ss->events_last = &ss->events_first;
    ss->half_open_last = &ss->half_open_first;
    return ss;
}

void sessions_free(struct sessions *ss)
{
    if (ss == NULL)
        return;
    while (ss->count > 0) {
        struct session *s = ss->all[ss->count - 1];

        if (s->state != SESSION_ENDING)
            session_release(s);
        session_free(s);
    }
    handshake_clear(ss);
    heap_clear(&ss->timers);
    table_clear(&ss->by_peer);
    table_clear(&ss->indices);
    cookie_keys_clear(&ss->cookie_keys);
    cookie_jar_clear(&ss->jar);
    sessions_drop_out(ss);
    seal_worker_free(ss->own_worker);
    free(ss->all);
    free(ss->refused);
    free(ss->outside);
    wipe(ss, sizeof(*ss));
    free(ss);
}

static struct session *opening_to(const struct sessions *ss, const struct path_addr *to)
{
    for (size_t i = 0; i < ss->count; i++)
        if (ss->all[i]->state == SESSION_OPENING && handshake_has_target(ss->all[i], to))
            return ss->all[i];
    return NULL;
}

/* Neighbours may name it for a while, until they have learned it. */
static bool is_removed(const struct sessions *ss, const struct id *peer)
{
    return ss->config.removed != NULL && removed_names(ss->config.removed, peer);
}

struct session *session_open(struct sessions *ss, const struct path_addr *to,
                             const struct id *expect)
{
    struct session *s = expect != NULL ? session_named(ss, expect) : opening_to(ss, to);

    if (s != NULL) {
        session_try_path(s, to);
        return s;
    }
    if (expect != NULL && is_removed(ss, expect))
        return NULL;
    s = session_new(ss);
    if (s == NULL)
        return NULL;
    if (expect != NULL)
        session_name(s, expect);
    if (!handshake_begin(s, to, false)) {
        session_release(s);
        session_free(s);
        return NULL;
    }
    session_schedule(s);
    return s;
}

void session_close(struct session *s)
{
    const struct path *best = paths_best(&s->paths);
    uint8_t reason = CLOSE_BYE;

    if (s->state == SESSION_UP && best != NULL) {
        session_queue(s, &best->addr, MSG_CLOSE, &reason, 1);
        sessions_flush(s->ss);
    }
    session_end(s, SESSION_END_CLOSED, NULL);
}

void session_try_path(struct session *s, const struct path_addr *to)
{
    if (s->state == SESSION_OPENING)
        handshake_add_target(s, to);
    else if (s->state == SESSION_UP)
        path_try(s, to);
    session_schedule(s);
}

bool session_way(const struct session *s, const struct path_addr *addr, struct session_way *out)
{
    *out = (struct session_way){.best = false};
    return s->state == SESSION_UP && path_way(s, addr, out);
}

void session_ping_way(struct session *s, const struct path_addr *addr)
{
    if (s->state == SESSION_UP)
        path_ping_way(s, addr);
}

void session_drop_way(struct session *s, const struct path_addr *addr)
{
    if (s->state != SESSION_UP)
        return;
    path_drop(s, addr);
    session_schedule(s);
}

bool session_has_way(const struct session *s, const struct path_addr *addr)
{
    return s->state == SESSION_UP && path_known(s, addr);
}

void sessions_removed(struct sessions *ss)
{
    const struct removed *removed = ss->config.removed;

    for (size_t i = 0; removed != NULL && i < ss->count; i++) {
        struct session *s = ss->all[i];

        if ((s->known && s->cert != NULL && removed_lists(removed, s->cert)) ||
            (s->named && removed_names(removed, &s->peer)))
            session_end(s, SESSION_END_REFUSED, refusal_text(REFUSAL_REVOKED));
    }
}

void sessions_give_up(struct sessions *ss)
{
    for (size_t i = 0; i < ss->count; i++)
        if (ss->all[i]->state == SESSION_UP)
            session_end(ss->all[i], SESSION_END_SILENT, NULL);
}

void sessions_set_cert(struct sessions *ss, const uint8_t *der, size_t len)
{
    ss->config.cert_der = der;
    ss->config.cert_len = len;
}

/* Asking. */

struct session *sessions_find(const struct sessions *ss, const struct id *peer)
{
    return session_named(ss, peer);
}

struct session *sessions_next(const struct sessions *ss, size_t *i)
{
    while (*i < ss->count) {
        struct session *s = ss->all[(*i)++];

        if (s->state != SESSION_ENDING)
            return s;
    }
    return NULL;
}

size_t sessions_count(const struct sessions *ss)
{
    size_t n = 0;

    for (size_t i = 0; sessions_next(ss, &i) != NULL;)
        n++;
    return n;
}

bool session_is_up(const struct session *s)
{
    return s->state == SESSION_UP;
}

bool session_initiator(const struct session *s)
{
    return s->keys != NULL ? s->keys->initiator : s->attempt != NULL;
}

const struct id *session_peer(const struct session *s)
{
    return s->named || s->known ? &s->peer : NULL;
}

void session_cert(const struct session *s, struct cert *out)
{
    if (s->cert != NULL) {
        *out = *s->cert;
        return;
    }
    *out = (struct cert){.node = s->peer, .key = s->key};
    memcpy(out->hash, &s->key, sizeof(out->hash));
}

const struct path_addr *session_path(const struct session *s)
{
    static const struct path_addr none = {.kind = PATH_NONE};
    const struct path *best = paths_best(&s->paths);

    return best != NULL ? &best->addr : &none;
}

usec session_rtt(const struct session *s)
{
    const struct path *best = paths_best(&s->paths);

    return best != NULL ? best->rtt_us : 0;
}

usec session_up_since(const struct session *s)
{
    return s->up_us;
}

usec session_last_heard(const struct session *s)
{
    return s->heard_us;
}

usec session_last_reached(const struct session *s)
{
    const struct path *best = paths_best(&s->paths);

    return best != NULL ? best->heard_us : s->heard_us;
}

uint32_t session_token(const struct session *s)
{
    return s->token.index;
}

struct session *sessions_by_token(const struct sessions *ss, uint32_t token)
{
    const struct index_ref *ref = table_get(&ss->indices, &token);

    return ref != NULL && ref->kind == INDEX_TOKEN ? ref->owner : NULL;
}

const char *session_refusal(const struct session *s)
{
    return s->refusal;
}

uint64_t session_crl_number(const struct session *s)
{
    return s->crl_number;
}

size_t session_endpoints(const struct session *s, struct endpoint *out, size_t max)
{
    size_t n = s->paths.peer_ep_count < max ? s->paths.peer_ep_count : max;

    for (size_t i = 0; i < n; i++)
        out[i] = s->paths.peer_eps[i].ep;
    return n;
}

void session_set_hold(struct session *s, bool hold)
{
    if (s->hold == hold)
        return;
    if (!hold)
        s->carried_us = s->ss->env->now_us;
    s->hold = hold;
    session_schedule(s);
}

void session_set_user(struct session *s, void *user)
{
    s->user = user;
}

void *session_user(const struct session *s)
{
    return s->user;
}

void session_data(const struct session *s, struct session_data *out)
{
    memset(out, 0, sizeof(*out));
    out->token = s->token.index;
    out->path = *session_path(s);
    datakey_get(s->data, out);
}

void session_want_data(struct session *s)
{
    if (s->state == SESSION_OPENING && !s->wants_data) {
        s->wants_data = true;
        handshake_hurry(s);
    }
    if (s->state != SESSION_UP)
        return;
    s->carried_us = s->ss->env->now_us;
    datakey_want(s);
    session_schedule(s);
}

void session_data_roamed(struct session *s, const struct endpoint *from)
{
    if (s->state != SESSION_UP)
        return;
    path_roamed(s, from, PACKET_HEADER_LEN + PACKET_TAG_LEN);
    probe_heard(s, &(struct path_addr){.kind = PATH_UDP, .ep = *from});
    session_schedule(s);
}
