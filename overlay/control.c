/*
 * control.c - control packets of a session: its keys, messages coalesced on the way out, and the
 * table of messages on the way in.
 */
#include <stdlib.h>
#include <string.h>

#include "overlay/session_internal.h"

enum { PING_LEN = 5, PONG_LEN_MAX = 5 + 19 };
enum { COALESCE_ROOM = SESSION_COALESCE_MAX - PACKET_HEADER_LEN - PACKET_TAG_LEN };

static const usec rekey_us = SEC(3600);
/* For the end that was not the initiator. */
static const usec rekey_late_us = SEC(4500);

/* Control keys. */

struct control *control_keys_new(struct sessions *ss, struct index_ref *index,
                                 uint32_t remote_index, const struct noise_result *r,
                                 struct session *s, bool initiator)
{
    struct control *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->tx = seal_key_new(SEAL_CHACHA20_POLY1305, &r->tx, remote_index, 0);
    c->rx = seal_key_new(SEAL_CHACHA20_POLY1305, &r->rx, index->index, SEAL_WINDOW_CONTROL);
    kdf(&c->base, &r->export, "peal data base", r->hash, sizeof(r->hash));
    c->born_us = ss->env->now_us;
    c->confirmed_us = c->until_us = USEC_NEVER;
    c->initiator = initiator;
    if (c->tx == NULL || c->rx == NULL || !index_move(ss, &c->ref, index, INDEX_CONTROL, s)) {
        control_keys_free(ss, c);
        return NULL;
    }
    return c;
}

void control_keys_free(struct sessions *ss, struct control *c)
{
    if (c == NULL)
        return;
    datakey_inherit(&c->ref);
    index_drop(ss, &c->ref);
    seal_key_unref(c->tx);
    seal_key_unref(c->rx);
    seal_key_unref(c->data_tx);
    seal_key_unref(c->data_rx);
    secret_clear(&c->base);
    free(c);
}

static void keys_retire(struct session *s, struct control *c)
{
    control_keys_free(s->ss, s->old);
    s->old = c;
    c->until_us = s->ss->env->now_us + SEC(SESSION_OVERLAP_S);
}

/* Both ends began a handshake and both completed: does the other one count? */
static bool keys_outrank(const struct session *s, const struct control *c)
{
    bool both_began = s->keys->initiator != c->initiator &&
                      s->ss->env->now_us < s->keys->born_us + SEC(SESSION_OVERLAP_S);
    bool we_are_lower = id_cmp(&s->ss->config.node, &s->peer) < 0;

    return both_began && s->keys->initiator == we_are_lower;
}

void session_adopt(struct session *s, struct control *c)
{
    const struct env *env = s->ss->env;
    struct control *before = s->keys;

    session_counted(s->ss, SESSION_COUNT_HANDSHAKES);
    if (before != NULL && keys_outrank(s, c)) {
        datakey_first(s, c, false);
        keys_retire(s, c);
        return;
    }
    s->keys = c;
    datakey_first(s, c, true);
    if (before != NULL)
        keys_retire(s, before);
    s->rekey_at_us = env->now_us + (c->initiator ? env_jitter(env, rekey_us, 10)
                                                 : env_jitter(env, rekey_late_us, 5));
    datakey_rebase(s);
}

bool session_keys_fall_back(struct session *s)
{
    if (s->old == NULL || s->old->until_us <= s->ss->env->now_us)
        return false;
    struct control *lost = s->keys;

    s->keys = s->old;
    s->keys->until_us = USEC_NEVER;
    s->old = NULL;
    datakey_rebase(s);
    datakey_first_lost(s, lost);
    control_keys_free(s->ss, lost);
    return true;
}

/* Control packets out. */

static void packet_send(struct sessions *ss, struct control *c, const struct path_addr *to,
                        uint8_t *pkt, size_t len)
{
    int n = seal_packet(ss->worker, c->tx, PACKET_CONTROL, 0, pkt, len);

    if (n > 0)
        ss->host.send(ss->ctx, to, pkt, (size_t)n);
}

static size_t message_put(uint8_t *at, uint8_t type, const void *body, size_t len)
{
    at[0] = type;
    put_u16(at + 1, (uint16_t)len);
    if (len > 0)
        memcpy(at + MSG_HEADER_LEN, body, len);
    return MSG_HEADER_LEN + len;
}

/* What is not worth a packet of its own goes in one that goes anyway. */
static void ride_along(struct session *s, uint8_t *pkt)
{
    struct sessions *ss = s->ss;
    uint8_t type, body[SESSION_RIDE_MAX];
    size_t len;

    if (ss->host.ride == NULL || ss->out.len + MSG_HEADER_LEN + sizeof(body) > COALESCE_ROOM)
        return;
    len = ss->host.ride(ss->ctx, s, &type, body);
    if (len > 0)
        ss->out.len += message_put(pkt + PACKET_HEADER_LEN + ss->out.len, type, body, len);
}

static void packet_out(struct session *s, uint8_t *pkt)
{
    struct sessions *ss = s->ss;
    const struct path *best = paths_best(&s->paths);

    if (best != NULL && path_addr_eq(&ss->out.to, &best->addr)) {
        s->sent_us = ss->env->now_us;
        ride_along(s, pkt);
    }
    packet_send(ss, s->keys, &ss->out.to, pkt, ss->out.len);
}

void sessions_flush(struct sessions *ss)
{
    struct session *s = ss->out.session;
    uint8_t *pkt = ss->out.pkt;

    ss->out.session = NULL;
    ss->out.pkt = NULL;
    if (s != NULL)
        packet_out(s, pkt);
    seal_buffer_drop(ss->worker, pkt);
}

void sessions_drop_out(struct sessions *ss)
{
    seal_buffer_drop(ss->worker, ss->out.pkt);
    ss->out.pkt = NULL;
    ss->out.session = NULL;
}

_Static_assert((int)SESSION_PACKET_MAX <= (int)PACKET_MAX,
               "a control packet fits the worker's buffer");

void session_queue(struct session *s, const struct path_addr *to, uint8_t type, const void *body,
                   size_t len)
{
    struct sessions *ss = s->ss;

    CHECK(s->state == SESSION_UP && len <= MESSAGE_MAX);
    if (ss->out.session != s || !path_addr_eq(&ss->out.to, to) ||
        ss->out.len + MSG_HEADER_LEN + len > COALESCE_ROOM)
        sessions_flush(ss);
    if (ss->out.session == NULL) {
        ss->out.pkt = seal_buffer(ss->worker);
        if (ss->out.pkt == NULL)
            return; /* as if the network had lost it */
        ss->out.session = s;
        ss->out.to = *to;
        ss->out.len = 0;
    }
    ss->out.len += message_put(ss->out.pkt + PACKET_HEADER_LEN + ss->out.len, type, body, len);
}

void session_keepalive(struct session *s)
{
    uint8_t pkt[PACKET_HEADER_LEN + PACKET_TAG_LEN];

    s->sent_us = s->ss->env->now_us;
    packet_send(s->ss, s->keys, &paths_best(&s->paths)->addr, pkt, 0);
}

void session_send_under(struct session *s, struct control *c, const struct path_addr *to,
                        uint8_t type, const void *body, size_t len)
{
    uint8_t pkt[SESSION_PACKET_MAX];

    CHECK(len <= MESSAGE_MAX);
    packet_send(s->ss, c, to, pkt, message_put(pkt + PACKET_HEADER_LEN, type, body, len));
}

/* Control packets in. */

struct arrival {
    const struct path_addr *from;
    const struct control *keys; /* that opened it */
};

static bool ping_input(struct session *s, const struct arrival *in, struct reader *r)
{
    uint8_t body[PONG_LEN_MAX];
    struct writer w = writer_of(body, sizeof(body));
    struct endpoint none = {{0}, 0};

    write_u32(&w, read_u32(r));
    uint8_t flags = read_u8(r);
    bool ask = (flags & PING_ASK_ENDPOINT) != 0 && in->from->kind == PATH_UDP;

    session_nat_heard(s, flags);
    write_u8(&w, session_nat_flags(s->ss) | (ask ? PING_ASK_ENDPOINT : 0));
    write_endpoint(&w, ask ? &in->from->ep : &none);
    if (path_may_answer(s, in->from, MESSAGE_PACKET_LEN + writer_len(&w)))
        session_queue(s, in->from, MSG_PONG, body, writer_len(&w));
    if ((flags & PING_BEST) != 0)
        path_nominated(s, in->from);
    return true;
}

static bool pong_input(struct session *s, const struct arrival *in, struct reader *r)
{
    uint32_t nonce = read_u32(r);

    uint8_t flags = read_u8(r);
    struct endpoint us = read_endpoint(r);

    if (!reader_done(r))
        return false;
    session_nat_heard(s, flags);
    if (path_pong(s, in->from, nonce, &us))
        probe_answered(s);
    session_observed(s, &us);
    return true;
}

static bool close_input(struct session *s, const struct arrival *in, struct reader *r)
{
    uint8_t reason = read_u8(r);

    if (reason >= CLOSE_REFUSED)
        session_end(s, SESSION_END_REFUSED, refusal_text_ours(reason - CLOSE_REFUSED));
    else
        session_end(s, SESSION_END_GOODBYE, NULL);
    return true;
}

static bool data_init_input(struct session *s, const struct arrival *in, struct reader *r)
{
    return datakey_init_input(s, &in->keys->base, r);
}

static bool data_reply_input(struct session *s, const struct arrival *in, struct reader *r)
{
    return datakey_reply_input(s, r);
}

static bool data_done_input(struct session *s, const struct arrival *in, struct reader *r)
{
    return datakey_done_input(s, r);
}

static bool challenge_input(struct session *s, const struct arrival *in, struct reader *r)
{
    return path_challenge_input(s, in->from, r);
}

static bool response_input(struct session *s, const struct arrival *in, struct reader *r)
{
    return path_response_input(s, in->from, r);
}

static bool endpoints_input(struct session *s, const struct arrival *in, struct reader *r)
{
    struct endpoint eps[HELLO_ENDPOINTS_MAX];
    size_t n = read_u8(r);

    if (n > HELLO_ENDPOINTS_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        eps[i] = read_endpoint(r);
    if (!reader_done(r))
        return false;
    path_set_peer_endpoints(s, eps, n);
    path_round_heard(s);
    return true;
}

static const struct message_rule {
    uint16_t least, most;
    bool (*input)(struct session *s, const struct arrival *in, struct reader *r);
} rules[] = {
    [MSG_PING] = {PING_LEN, PING_LEN, ping_input},
    [MSG_PONG] = {8, PONG_LEN_MAX, pong_input},
    [MSG_CLOSE] = {1, 1, close_input},
    [MSG_DATA_KEY_INIT] = {40, 40, data_init_input},
    [MSG_DATA_KEY_REPLY] = {40, 40, data_reply_input},
    [MSG_DATA_KEY_DONE] = {4, 4, data_done_input},
    [MSG_PATH_CHALLENGE] = {PATH_CHALLENGE_LEN, 200, challenge_input},
    [MSG_PATH_RESPONSE] = {11, 27, response_input},
    [MSG_ENDPOINTS] = {1, 1 + 8 * 19, endpoints_input},
};

/* One message of a packet. False: the rest is not read either. */
static bool message_input(struct session *s, const struct arrival *in, uint8_t type,
                          const uint8_t *body, size_t len)
{
    struct sessions *ss = s->ss;

    if (type >= MSG_ROUTE) {
        s->carried_us = ss->env->now_us;
        ss->host.message(ss->ctx, s, type, body, len);
        return true;
    }
    if (type >= ARRAY_LEN(rules) || rules[type].input == NULL) {
        session_counted(ss, SESSION_COUNT_MESSAGE_BAD); /* of a later version, perhaps */
        return true;
    }
    struct reader r = reader_of(body, len);

    if (len >= rules[type].least && len <= rules[type].most && rules[type].input(s, in, &r))
        return true;
    session_counted(ss, SESSION_COUNT_MESSAGE_BAD);
    return false;
}

static void messages_input(struct session *s, const struct arrival *in, const uint8_t *bytes,
                           size_t len)
{
    struct reader r = reader_of(bytes, len);

    while (reader_left(&r) > 0 && s->state == SESSION_UP) {
        uint8_t type = read_u8(&r);
        size_t n = read_u16(&r);
        const uint8_t *body = read_bytes(&r, n);

        if (r.failed) {
            session_counted(s->ss, SESSION_COUNT_MESSAGE_BAD);
            return;
        }
        if (!message_input(s, in, type, body, n))
            return;
    }
}

static struct control *control_of(struct session *s, uint32_t index)
{
    if (s->keys != NULL && s->keys->ref.index == index)
        return s->keys;
    if (s->old != NULL && s->old->ref.index == index)
        return s->old;
    return handshake_next_keys(s, index);
}

void control_input(struct sessions *ss, const struct path_addr *from, uint8_t *pkt, size_t len)
{
    const struct index_ref *ref =
        len >= PACKET_HEADER_LEN ? table_get(&ss->indices, &(uint32_t){get_u32(pkt + 4)}) : NULL;

    if (ref == NULL || ref->kind != INDEX_CONTROL) {
        session_counted(ss, SESSION_COUNT_NO_SESSION);
        return;
    }
    struct session *s = ref->owner;
    uint32_t index = ref->index;
    struct control *c = control_of(s, index);
    uint64_t counter = get_u64(pkt + 8);

    CHECK(c != NULL);
    int n = open_packet(ss->worker, c->rx, pkt, len);

    if (n < 0) {
        session_counted(ss, n == -ERR_RANGE    ? SESSION_COUNT_REPLAY
                            : n == -ERR_CRYPTO ? SESSION_COUNT_FORGED
                                               : SESSION_COUNT_RUNT);
        return;
    }
    c->confirmed_us = usec_min(c->confirmed_us, ss->env->now_us);
    handshake_confirmed(s, index);
    bool fresh = c == s->keys && seal_key_counter(c->rx) == counter + 1;

    path_heard(s, from, len, fresh);
    probe_heard(s, from);
    messages_input(s, &(struct arrival){from, c}, pkt + PACKET_HEADER_LEN, (size_t)n);
    if (s->state != SESSION_ENDING)
        session_schedule(s);
}
