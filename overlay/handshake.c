#include "overlay/handshake.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/crypto/noise.h"
#include "overlay/session_internal.h"

enum {
    OFFSET_SENDER = 4,
    OFFSET_RECEIVER = 8,
    HEADER1_LEN = 8,
    HEADER_LEN = 12, /* messages 2 and 3 */
    HEAD1_MAX = HEADER1_LEN + NOISE_MSG1_PSK_LEN,
    TRIES_MAX = 8, /* doublings of the interval, more than fit in the timeout */
};
static const usec retry_first_us = MSEC(250);
static const usec timeout_us = SEC(HANDSHAKE_TIMEOUT_S);
static const usec rekey_again_us = SEC(60);

/* One address that message 1 goes to. */
struct target {
    struct path_addr addr;
    struct cookie cookie;
    uint8_t mac1[MAC_LEN]; /* of what was sent last: a cookie reply is bound to it */
    bool cookie_taken;     /* in answer to that packet: one each */
};

enum attempt_state {
    ATTEMPT_ASKED,    /* message 1 is out, again and again. To ANSWERED by message 2 */
    ATTEMPT_ANSWERED, /* message 3 is out, until a packet under the new keys comes */
};

/* The initiator's side of one exchange. */
struct attempt {
    struct index_ref ref; /* ASKED; later the control keys hold the number */
    uint32_t index;
    enum attempt_state state;
    bool rekey;
    uint8_t tries;
    uint8_t target_count;
    struct target targets[HANDSHAKE_TARGETS_MAX];
    struct noise *noise;
    uint8_t head1[HEAD1_MAX]; /* header and Noise message 1 */
    struct control *next;     /* ANSWERED, rekey: not used before the peer is known to have them */
    uint8_t *packet3;
    size_t packet3_len;
    struct path_addr packet3_to;
    usec at_us, until_us;
};

/* The responder's side between messages 2 and 3. */
struct half_open {
    struct index_ref ref;
    struct half_open *next, **link;
    struct path_addr from;
    uint32_t remote_index;
    uint8_t noise1[NOISE_MSG1_PSK_LEN]; /* the Noise message 1 that it answers */
    struct noise *noise;
    uint8_t *packet2;
    size_t packet2_len;
    usec until_us;
};

static struct noise *noise_start(const struct sessions *ss, bool initiator)
{
    return noise_new(initiator, ss->prologue, sizeof(ss->prologue), &ss->dh_secret,
                     ss->config.psk ? &ss->config.group_key : NULL);
}

/* With a psk the empty payload of message 1 carries a tag. */
static size_t noise1_len(const struct sessions *ss)
{
    return ss->config.psk ? NOISE_MSG1_PSK_LEN : NOISE_MSG1_LEN;
}

/* Of message 1 as a whole: padded on UDP. */
static size_t packet1_len(const struct sessions *ss, const struct path_addr *path)
{
    return path->kind == PATH_UDP ? HANDSHAKE_PACKET1_LEN
                                  : HEADER1_LEN + noise1_len(ss) + COOKIE_MACS_LEN;
}

static void header_put(uint8_t *pkt, uint8_t number, uint32_t sender)
{
    put_u32(pkt, (uint32_t)PACKET_HANDSHAKE << 24 | (uint32_t)number << 16);
    put_u32(pkt + OFFSET_SENDER, sender);
}

/* Message 2 or 3: header, Noise message around our hello, MACs. Returns its length, 0 on failure.
 */
static size_t packet_make(struct sessions *ss, struct noise *noise, uint8_t number, uint32_t sender,
                          uint32_t receiver, uint32_t aeads, uint8_t flags,
                          uint8_t pkt[HANDSHAKE_PACKET_MAX])
{
    const struct sessions_config *c = &ss->config;
    const size_t overhead = number == 2 ? NOISE_MSG2_LEN : NOISE_MSG3_LEN;
    uint8_t payload[HANDSHAKE_PACKET_MAX];
    struct secret seed = {{0}};
    struct hello hello = {
        .flags = (uint8_t)(flags | (c->ca != NULL ? HELLO_CERTIFICATE : 0)),
        .identity = c->ca != NULL ? c->cert_der : c->pub.b,
        .identity_len = c->ca != NULL ? c->cert_len : sizeof(c->pub.b),
        .incarnation = ss->incarnation,
        .crl_number = c->crl != NULL ? cert_crl_number(c->crl) : 0,
        .aeads = aeads,
    };
    size_t eps_written;

    hello.ep_count = sessions_own_endpoints(ss, hello.eps);
    int n =
        hello_write(&hello, payload, HANDSHAKE_PACKET_MAX - HEADER_LEN - overhead - COOKIE_MACS_LEN,
                    &eps_written);

    if (n < 0)
        return 0;
    if (number == 2)
        env_random(ss->env, seed.b, sizeof(seed.b));
    header_put(pkt, number, sender);
    put_u32(pkt + OFFSET_RECEIVER, receiver);
    n = noise_write(noise, number == 2 ? &seed : NULL, payload, (size_t)n, pkt + HEADER_LEN,
                    HANDSHAKE_PACKET_MAX - HEADER_LEN - COOKIE_MACS_LEN);
    secret_clear(&seed);
    if (n < 0)
        return 0;
    size_t len = HEADER_LEN + (size_t)n + COOKIE_MACS_LEN;

    cookie_stamp(&ss->cookie_keys, NULL, ss->env->now_us, pkt, len);
    return len;
}

/* The initiator. */

static void attempt_schedule(struct sessions *ss, struct attempt *a)
{
    unsigned shift = a->tries < TRIES_MAX ? a->tries : TRIES_MAX;

    a->at_us = usec_min(ss->env->now_us + (retry_first_us << shift), a->until_us);
    a->tries++;
}

static void target_send(struct sessions *ss, const struct attempt *a, struct target *t)
{
    uint8_t pkt[HANDSHAKE_PACKET1_LEN] = {0};
    size_t len = packet1_len(ss, &t->addr);

    memcpy(pkt, a->head1, HEADER1_LEN + noise1_len(ss));
    cookie_stamp(&ss->cookie_keys, &t->cookie, ss->env->now_us, pkt, len);
    memcpy(t->mac1, pkt + len - COOKIE_MACS_LEN, MAC_LEN);
    t->cookie_taken = false;
    ss->host.send(ss->ctx, &t->addr, pkt, len);
}

/* A new ephemeral: at first, and when what looked like an answer spoilt the state. */
static bool attempt_restart(struct sessions *ss, struct attempt *a)
{
    struct secret seed;

    noise_free(a->noise);
    a->noise = noise_start(ss, true);
    if (a->noise == NULL)
        return false;
    env_random(ss->env, seed.b, sizeof(seed.b));
    header_put(a->head1, 1, a->index);
    int n = noise_write(a->noise, &seed, NULL, 0, a->head1 + HEADER1_LEN, noise1_len(ss));

    secret_clear(&seed);
    CHECK(n == (int)noise1_len(ss));
    return true;
}

static void attempt_free(struct sessions *ss, struct attempt *a)
{
    if (a == NULL)
        return;
    index_drop(ss, &a->ref);
    control_free(ss, a->next);
    noise_free(a->noise);
    free(a->packet3);
    free(a);
}

void handshake_abort(struct session *s)
{
    attempt_free(s->ss, s->attempt);
    s->attempt = NULL;
}

bool handshake_begin(struct session *s, const struct path_addr *to, bool rekey)
{
    struct sessions *ss = s->ss;
    struct attempt *a = calloc(1, sizeof(*a));

    CHECK(s->attempt == NULL);
    if (a == NULL || !index_take(ss, &a->ref, INDEX_ATTEMPT, s)) {
        free(a);
        return false;
    }
    a->index = a->ref.index;
    a->rekey = rekey;
    a->until_us = ss->env->now_us + timeout_us;
    if (!attempt_restart(ss, a)) {
        attempt_free(ss, a);
        return false;
    }
    s->attempt = a;
    attempt_schedule(ss, a);
    handshake_add_target(s, to);
    return true;
}

bool handshake_has_target(const struct session *s, const struct path_addr *to)
{
    const struct attempt *a = s->attempt;

    for (size_t i = 0; a != NULL && i < a->target_count; i++)
        if (path_addr_eq(&a->targets[i].addr, to))
            return true;
    return false;
}

void handshake_add_target(struct session *s, const struct path_addr *to)
{
    struct attempt *a = s->attempt;

    if (a == NULL || a->state != ATTEMPT_ASKED || a->target_count == HANDSHAKE_TARGETS_MAX ||
        handshake_has_target(s, to))
        return;
    struct target *t = &a->targets[a->target_count++];

    t->addr = *to;
    target_send(s->ss, a, t);
}

/* The answer was from `from`, and it was no good: another target may be the right one. False: none
 * left. */
static bool attempt_drop_target(struct attempt *a, const struct path_addr *from)
{
    for (size_t i = 0; i < a->target_count; i++)
        if (path_addr_eq(&a->targets[i].addr, from)) {
            a->targets[i] = a->targets[--a->target_count];
            break;
        }
    return a->target_count > 0;
}

/* Message 3, and behind it a ping that makes the peer send something under the new keys. */
static void packet3_send(struct session *s)
{
    struct sessions *ss = s->ss;
    const struct attempt *a = s->attempt;
    uint8_t ping[5] = {0};

    ss->host.send(ss->ctx, &a->packet3_to, a->packet3, a->packet3_len);
    if (a->next != NULL)
        session_send_under(s, a->next, &a->packet3_to, MSG_PING, ping, sizeof(ping));
    else
        path_ping(s, paths_best(&s->paths), PING_ASK_ENDPOINT);
}

/* Message 3 went out for 5 s and nothing came under its keys. */
static void attempt_unconfirmed(struct session *s)
{
    struct sessions *ss = s->ss;
    bool first = !s->attempt->rekey && s->keys != NULL && s->keys->ref.index == s->attempt->index;

    s->rekey_at_us = ss->env->now_us + env_jitter(ss->env, rekey_again_us, 25);
    handshake_abort(s);
    if (!first)
        return;
    if (s->old == NULL || s->old->until_us <= ss->env->now_us) {
        session_end(s, SESSION_END_TIMEOUT, NULL);
        return;
    }
    /* We both opened; theirs got through. */
    control_free(ss, s->keys);
    s->keys = s->old;
    s->old = NULL;
}

static void attempt_unanswered(struct session *s)
{
    if (s->attempt->rekey) {
        s->rekey_at_us = s->ss->env->now_us + env_jitter(s->ss->env, rekey_again_us, 25);
        handshake_abort(s);
        return;
    }
    session_end(s, SESSION_END_TIMEOUT, NULL);
}

void handshake_tick(struct session *s)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;

    if (a == NULL || ss->env->now_us < a->at_us)
        return;
    if (ss->env->now_us >= a->until_us) {
        if (a->state == ATTEMPT_ASKED)
            attempt_unanswered(s);
        else
            attempt_unconfirmed(s);
        return;
    }
    attempt_schedule(ss, a);
    if (a->state == ATTEMPT_ANSWERED) {
        packet3_send(s);
        return;
    }
    for (size_t i = 0; i < a->target_count; i++)
        target_send(ss, a, &a->targets[i]);
}

usec handshake_deadline(const struct session *s)
{
    return s->attempt != NULL ? s->attempt->at_us : USEC_NEVER;
}

void handshake_confirmed(struct session *s, uint32_t index)
{
    struct attempt *a = s->attempt;

    if (a == NULL || a->state != ATTEMPT_ANSWERED || a->index != index)
        return;
    struct control *next = a->next;

    a->next = NULL;
    handshake_abort(s);
    if (next != NULL)
        session_adopt(s, next);
}

struct control *handshake_next_keys(const struct session *s, uint32_t index)
{
    const struct attempt *a = s->attempt;

    return a != NULL && a->next != NULL && a->index == index ? a->next : NULL;
}

/* AES when both do it well. 0: nothing in common. */
static enum seal_alg aead_choose(uint32_t common)
{
    if ((common & 1u << SEAL_AES_256_GCM) != 0)
        return SEAL_AES_256_GCM;
    return (common & 1u << SEAL_CHACHA20_POLY1305) != 0 ? SEAL_CHACHA20_POLY1305 : 0;
}

static void refused(struct sessions *ss, const struct path_addr *from, const struct cert *who,
                    enum refusal why)
{
    session_counted(ss, SESSION_COUNT_CERT_REFUSED);
    session_remember_refusal(ss, from, who, refusal_text(why));
}

/* What message 2 proved is not what we want. */
static void attempt_refuse(struct session *s, const struct path_addr *from, const struct cert *who,
                           enum refusal why)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;

    refused(ss, from, who, why);
    /* Somebody else in the peer's place says nothing about the peer. */
    if (s->named && !id_eq(&who->node, &s->cert.node)) {
        bool more = a->rekey || attempt_drop_target(a, from);

        if (more && attempt_restart(ss, a))
            return;
    }
    session_end(s, SESSION_END_REFUSED, refusal_text(why));
}

/* Another session is there for the peer that answered. True: it goes on, s is merged into it. */
static bool attempt_yields(struct session *s, const struct path_addr *from, const struct hello *h,
                           const struct cert *who)
{
    struct session *other = session_named(s->ss, &who->node);

    if (other == NULL || other == s)
        return false;
    if (other->state != SESSION_UP || other->incarnation != h->incarnation) {
        session_end(other, SESSION_END_REPLACED, NULL);
        return false;
    }
    session_end(s, SESSION_END_REPLACED, NULL);
    path_try(other, from);
    session_probe_now(other);
    return true;
}

/* Message 2 verified: message 3 out, keys in. */
static void attempt_complete(struct session *s, const struct path_addr *from, uint32_t remote_index,
                             const struct hello *h, const struct cert *who)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;
    enum seal_alg alg = aead_choose(ss->config.aeads & h->aeads);
    uint8_t pkt[HANDSHAKE_PACKET_MAX];
    struct noise_result result;
    size_t len = packet_make(ss, a->noise, 3, a->index, remote_index, 1u << alg,
                             a->rekey ? HELLO_REKEY : 0, pkt);

    a->packet3 = len > 0 ? malloc(len) : NULL;
    if (a->packet3 == NULL) {
        session_end(s, SESSION_END_TIMEOUT, "out of memory");
        return;
    }
    memcpy(a->packet3, pkt, len);
    a->packet3_len = len;
    a->packet3_to = *from;
    noise_split(a->noise, &result);
    noise_free(a->noise);
    a->noise = NULL;
    struct control *c = control_new(ss, &a->ref, remote_index, &result, s, true);

    noise_result_clear(&result);
    if (c == NULL) {
        session_end(s, SESSION_END_TIMEOUT, "out of memory");
        return;
    }
    a->state = ATTEMPT_ANSWERED;
    a->tries = 0;
    a->until_us = ss->env->now_us + timeout_us;
    attempt_schedule(ss, a);
    session_take_hello(s, h, who);
    s->alg = alg;
    if (a->rekey) {
        a->next = c;
    } else {
        path_proven(s, from);
        session_adopt(s, c);
        session_came_up(s);
    }
    packet3_send(s);
}

static void message2_input(struct session *s, const struct path_addr *from, const uint8_t *pkt,
                           size_t len)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;
    uint8_t payload[HANDSHAKE_PACKET_MAX];
    struct hello h;
    struct cert who;

    CHECK(a != NULL && a->state == ATTEMPT_ASKED);
    int n = noise_read(a->noise, pkt + HEADER_LEN, len - HEADER_LEN - COOKIE_MACS_LEN, payload,
                       sizeof(payload));

    if (n < 0 || !hello_read(&h, payload, (size_t)n)) {
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
        if (!attempt_restart(ss, a))
            session_end(s, SESSION_END_TIMEOUT, "out of memory");
        return;
    }
    const struct dh_public *remote = noise_remote_static(a->noise);

    if (equal_ct(remote, &ss->dh_public, sizeof(*remote))) {
        if (a->rekey)
            handshake_abort(s);
        else
            session_end(s, SESSION_END_SELF, NULL);
        return;
    }
    enum refusal why = hello_verify(&h, &ss->config, ss->env, remote, &who);

    if (why == REFUSAL_NONE && s->named && !id_eq(&who.node, &s->cert.node))
        why = REFUSAL_OTHER_NODE;
    if (why == REFUSAL_NONE && aead_choose(ss->config.aeads & h.aeads) == 0)
        why = REFUSAL_AEAD;
    if (why != REFUSAL_NONE)
        attempt_refuse(s, from, &who, why);
    else if (!attempt_yields(s, from, &h, &who))
        attempt_complete(s, from, get_u32(pkt + OFFSET_SENDER), &h, &who);
}

bool handshake_cookie_input(struct sessions *ss, const uint8_t *pkt, size_t len)
{
    if (len != COOKIE_REPLY_LEN || (get_u32(pkt) & 0x00ffffff) != 0) {
        session_counted(ss, SESSION_COUNT_RUNT);
        return false;
    }
    const struct index_ref *ref =
        table_get(&ss->indices, &(uint32_t){get_u32(pkt + OFFSET_SENDER)});

    if (ref == NULL || ref->kind != INDEX_ATTEMPT) {
        session_counted(ss, SESSION_COUNT_NO_SESSION);
        return false;
    }
    struct attempt *a = ((struct session *)ref->owner)->attempt;

    for (size_t i = 0; i < a->target_count; i++) {
        struct target *t = &a->targets[i];

        if (t->cookie_taken || !cookie_reply_open(&ss->cookie_keys, ss->worker, ss->env->now_us,
                                                  t->mac1, pkt, &t->cookie))
            continue;
        /* At once, for the first cookie only: a peer that answers each try with one waits for the
         * timer. */
        bool again = a->tries <= 1;

        t->cookie_taken = true;
        if (again) {
            a->tries++;
            target_send(ss, a, t);
        }
        return true;
    }
    session_counted(ss, SESSION_COUNT_FORGED);
    return true;
}

/* The responder. */

static void half_open_free(struct sessions *ss, struct half_open *ho)
{
    *ho->link = ho->next;
    if (ho->next != NULL)
        ho->next->link = ho->link;
    else
        ss->half_open_last = ho->link;
    ss->half_open_count--;
    index_drop(ss, &ho->ref);
    noise_free(ho->noise);
    free(ho->packet2);
    free(ho);
}

void handshake_sweep(struct sessions *ss)
{
    while (ss->half_open_first != NULL && ss->half_open_first->until_us <= ss->env->now_us)
        half_open_free(ss, ss->half_open_first);
}

usec handshake_sweep_deadline(const struct sessions *ss)
{
    return ss->half_open_first != NULL ? ss->half_open_first->until_us : USEC_NEVER;
}

void handshake_clear(struct sessions *ss)
{
    while (ss->half_open_first != NULL)
        half_open_free(ss, ss->half_open_first);
}

/* One host: an IPv4 address, an IPv6 /64, a node behind the ring. */
static bool same_source(const struct path_addr *a, const struct path_addr *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind != PATH_UDP)
        return id_eq(&a->peer, &b->peer);
    if (a->ep.addr.family == 6 && b->ep.addr.family == 6)
        return memcmp(a->ep.addr.b, b->ep.addr.b, 8) == 0;
    return addr_eq(&a->ep.addr, &b->ep.addr);
}

/* Room for one more of this source: the oldest goes, its own first. */
static void half_open_make_room(struct sessions *ss, const struct path_addr *from)
{
    struct half_open *oldest = NULL;
    size_t n = 0;

    for (struct half_open *ho = ss->half_open_first; ho != NULL; ho = ho->next) {
        if (!same_source(&ho->from, from))
            continue;
        if (oldest == NULL)
            oldest = ho;
        n++;
    }
    if (n >= HALF_OPEN_PER_SOURCE)
        half_open_free(ss, oldest);
    else if (ss->half_open_count >= HALF_OPEN_MAX)
        half_open_free(ss, ss->half_open_first);
    else
        return;
    session_counted(ss, SESSION_COUNT_HALF_OPEN_FULL);
}

/* The slot that answered this very message 1 before. */
static struct half_open *half_open_find(const struct sessions *ss, const struct path_addr *from,
                                        const uint8_t *pkt)
{
    struct half_open *ho = ss->half_open_first;

    while (ho != NULL &&
           !(ho->remote_index == get_u32(pkt + OFFSET_SENDER) && path_addr_eq(&ho->from, from) &&
             memcmp(ho->noise1, pkt + HEADER1_LEN, noise1_len(ss)) == 0))
        ho = ho->next;
    return ho;
}

static struct half_open *half_open_new(struct sessions *ss, const struct path_addr *from,
                                       const uint8_t *pkt)
{
    half_open_make_room(ss, from);
    struct half_open *ho = calloc(1, sizeof(*ho));

    if (ho == NULL || !index_take(ss, &ho->ref, INDEX_HALF_OPEN, ho)) {
        free(ho);
        return NULL;
    }
    ho->from = *from;
    ho->remote_index = get_u32(pkt + OFFSET_SENDER);
    memcpy(ho->noise1, pkt + HEADER1_LEN, noise1_len(ss));
    ho->until_us = ss->env->now_us + timeout_us;
    ho->link = ss->half_open_last;
    *ho->link = ho;
    ss->half_open_last = &ho->next;
    ss->half_open_count++;
    return ho;
}

/* Reads message 1, makes message 2. */
static bool half_open_answer(struct sessions *ss, struct half_open *ho)
{
    uint8_t pkt[HANDSHAKE_PACKET_MAX], none[1];

    ho->noise = noise_start(ss, false);
    if (ho->noise == NULL ||
        noise_read(ho->noise, ho->noise1, noise1_len(ss), none, sizeof(none)) < 0)
        return false;
    size_t len =
        packet_make(ss, ho->noise, 2, ho->ref.index, ho->remote_index, ss->config.aeads, 0, pkt);

    ho->packet2 = len > 0 ? malloc(len) : NULL;
    if (ho->packet2 == NULL)
        return false;
    memcpy(ho->packet2, pkt, len);
    ho->packet2_len = len;
    return true;
}

/* Counts this message 1. More in this second or the last than we care to answer? */
static bool under_load(struct sessions *ss)
{
    usec now_us = ss->env->now_us;

    if (now_us >= ss->load_since_us + SEC(1)) {
        ss->load_before = now_us < ss->load_since_us + SEC(2) ? ss->load_count : 0;
        ss->load_count = 0;
        ss->load_since_us = now_us;
    }
    ss->load_count++;
    return ss->load_count > HANDSHAKE_LOAD || ss->load_before > HANDSHAKE_LOAD ||
           ss->half_open_count > HALF_OPEN_BUSY;
}

static bool padding_is_zero(const struct sessions *ss, const uint8_t *pkt, size_t len)
{
    uint8_t any = 0;

    for (size_t i = HEADER1_LEN + noise1_len(ss); i < len - COOKIE_MACS_LEN; i++)
        any |= pkt[i];
    return any == 0;
}

static bool mac2_is_zero(const uint8_t *pkt, size_t len)
{
    static const uint8_t zero[MAC_LEN];

    return memcmp(pkt + len - MAC_LEN, zero, MAC_LEN) == 0;
}

/* Without load no cookie is asked for, but one that is shown must be right. */
static bool cookie_needed(struct sessions *ss, const struct path_addr *from, const uint8_t *pkt,
                          size_t len, bool busy)
{
    if (!busy && mac2_is_zero(pkt, len))
        return false;
    return !cookie_mac2_ok(&ss->jar, ss->env, from, pkt, len);
}

static void cookie_send(struct sessions *ss, const struct path_addr *from, const uint8_t *pkt,
                        size_t len)
{
    uint8_t reply[COOKIE_REPLY_LEN];

    cookie_reply_make(&ss->jar, &ss->cookie_keys, ss->worker, ss->env, from, pkt, len, reply);
    session_counted(ss, SESSION_COUNT_COOKIE_SENT);
    ss->host.send(ss->ctx, from, reply, sizeof(reply));
}

static void message1_input(struct sessions *ss, const struct path_addr *from, const uint8_t *pkt,
                           size_t len)
{
    if (len != packet1_len(ss, from) || !padding_is_zero(ss, pkt, len)) {
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
        return;
    }
    struct half_open *ho = half_open_find(ss, from, pkt);

    if (cookie_needed(ss, from, pkt, len, under_load(ss) && ho == NULL)) {
        cookie_send(ss, from, pkt, len);
        return;
    }
    if (ho == NULL)
        ho = half_open_new(ss, from, pkt);
    if (ho == NULL)
        return;
    if (ho->packet2 == NULL && !half_open_answer(ss, ho)) {
        half_open_free(ss, ho);
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
        return;
    }
    ss->host.send(ss->ctx, from, ho->packet2, ho->packet2_len);
}

/* The session that an incoming handshake gives keys to: made, or the one there already. NULL and
 * *why. */
static struct session *responder_session(struct sessions *ss, const struct hello *h,
                                         const struct cert *who, enum refusal *why)
{
    struct session *s = session_named(ss, &who->node);
    bool rekey = (h->flags & HELLO_REKEY) != 0;

    if (rekey) {
        bool known = s != NULL && s->state == SESSION_UP && s->incarnation == h->incarnation;

        return known ? s : NULL;
    }
    if (s != NULL && s->state == SESSION_UP) {
        /* Two that we both opened become one; anything else is a peer that started again. */
        bool both_opened = s->incarnation == h->incarnation && s->keys->initiator &&
                           ss->env->now_us < s->up_us + SEC(SESSION_OVERLAP_S);

        if (both_opened)
            return s;
        session_end(s, SESSION_END_REPLACED, NULL);
        s = NULL;
    }
    if (s == NULL)
        s = session_new(ss);
    if (s == NULL)
        *why = REFUSAL_FULL;
    return s;
}

/* The peer is who it says, and not welcome: it learns why under the keys that it just proved. */
static void responder_refuse(struct sessions *ss, const struct half_open *ho,
                             const struct noise_result *r, const struct cert *who, enum refusal why)
{
    uint8_t pkt[PACKET_HEADER_LEN + MSG_HEADER_LEN + 1 + PACKET_TAG_LEN];
    uint8_t *message = pkt + PACKET_HEADER_LEN;
    struct seal_key *tx = seal_key_new(SEAL_CHACHA20_POLY1305, &r->tx, ho->remote_index, 0);

    refused(ss, &ho->from, who, why);
    if (tx == NULL)
        return;
    message[0] = MSG_CLOSE;
    put_u16(message + 1, 1);
    message[3] = (uint8_t)(CLOSE_REFUSED + why);
    int len = seal_packet(ss->worker, tx, PACKET_CONTROL, 0, pkt, MSG_HEADER_LEN + 1);

    if (len > 0)
        ss->host.send(ss->ctx, &ho->from, pkt, (size_t)len);
    seal_key_unref(tx);
}

/* A session with the very key that is refused now ends as well. */
static void refused_ends(struct sessions *ss, const struct dh_public *remote,
                         const struct cert *who, enum refusal why)
{
    struct session *s = session_named(ss, &who->node);
    struct dh_public key;

    if (s != NULL && s->state == SESSION_UP && sign_public_to_dh(&key, &s->cert.key) &&
        equal_ct(&key, remote, sizeof(key)))
        session_end(s, SESSION_END_REFUSED, refusal_text(why));
}

static void responder_complete(struct sessions *ss, struct half_open *ho,
                               const struct noise_result *result, struct session *s,
                               const struct hello *h, const struct cert *who)
{
    struct control *c = control_new(ss, &ho->ref, ho->remote_index, result, s, false);

    if (c == NULL) {
        if (s->state == SESSION_OPENING)
            session_end(s, SESSION_END_TIMEOUT, "out of memory");
        return;
    }
    session_name(s, &who->node);
    session_take_hello(s, h, who);
    s->alg = aead_choose(h->aeads);
    path_proven(s, &ho->from);
    session_adopt(s, c);
    /* Two opened at once: ours goes on only when it is the one that counts and may have arrived. */
    if (s->attempt != NULL &&
        (s->attempt->state == ATTEMPT_ASKED || id_cmp(&ss->config.node, &who->node) > 0))
        handshake_abort(s);
    if (s->state == SESSION_OPENING)
        session_came_up(s);
    path_ping(s, paths_best(&s->paths), PING_ASK_ENDPOINT);
}

/* hello verified or not: who gets what. */
static void message3_judge(struct sessions *ss, struct half_open *ho, const struct path_addr *from,
                           const struct hello *h)
{
    const struct dh_public remote = *noise_remote_static(ho->noise);
    struct noise_result result;
    struct cert who;

    if (equal_ct(&remote, &ss->dh_public, sizeof(remote)))
        return; /* our own attempt finds out by message 2 */
    enum refusal why = hello_verify(h, &ss->config, ss->env, &remote, &who);
    bool one_aead = h->aeads != 0 && (h->aeads & (h->aeads - 1)) == 0;

    if (why == REFUSAL_NONE && (!one_aead || aead_choose(ss->config.aeads & h->aeads) == 0))
        why = REFUSAL_AEAD;
    struct session *s = why == REFUSAL_NONE ? responder_session(ss, h, &who, &why) : NULL;

    noise_split(ho->noise, &result);
    if (why != REFUSAL_NONE) {
        responder_refuse(ss, ho, &result, &who, why);
        refused_ends(ss, &remote, &who, why);
    }
    if (s != NULL)
        responder_complete(ss, ho, &result, s, h, &who);
    noise_result_clear(&result);
    if (s != NULL && s->state == SESSION_UP && !path_addr_eq(from, &ho->from))
        path_heard(s, from, HEADER_LEN + NOISE_MSG3_LEN, true);
    if (s != NULL && s->state != SESSION_ENDING)
        session_schedule(s);
}

static void message3_input(struct sessions *ss, struct half_open *ho, const struct path_addr *from,
                           const uint8_t *pkt, size_t len)
{
    uint8_t payload[HANDSHAKE_PACKET_MAX];
    struct hello h;

    if (get_u32(pkt + OFFSET_SENDER) != ho->remote_index) {
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
        return;
    }
    int n = noise_read(ho->noise, pkt + HEADER_LEN, len - HEADER_LEN - COOKIE_MACS_LEN, payload,
                       sizeof(payload));

    if (n >= 0 && hello_read(&h, payload, (size_t)n))
        message3_judge(ss, ho, from, &h);
    else
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
    half_open_free(ss, ho);
}

/* Messages 2 and 3, by the receiver index. */
static void indexed_input(struct sessions *ss, const struct path_addr *from, uint8_t number,
                          const uint8_t *pkt, size_t len)
{
    struct index_ref *ref = table_get(&ss->indices, &(uint32_t){get_u32(pkt + OFFSET_RECEIVER)});

    if (number == 2 && ref != NULL && ref->kind == INDEX_ATTEMPT) {
        struct session *s = ref->owner;

        message2_input(s, from, pkt, len);
        if (s->state != SESSION_ENDING)
            session_schedule(s);
    } else if (number == 3 && ref != NULL && ref->kind == INDEX_HALF_OPEN) {
        message3_input(ss, ref->owner, from, pkt, len);
    } else {
        session_counted(ss, SESSION_COUNT_NO_SESSION); /* repeated, or late */
    }
}

bool handshake_input(struct sessions *ss, const struct path_addr *from, const uint8_t *pkt,
                     size_t len)
{
    if (len < HEADER1_LEN + NOISE_MSG1_LEN + COOKIE_MACS_LEN || len > HANDSHAKE_PACKET1_LEN ||
        get_u16(pkt + 2) != 0) {
        session_counted(ss, SESSION_COUNT_RUNT);
        return false;
    }
    if (!cookie_mac1_ok(&ss->cookie_keys, pkt, len)) {
        session_counted(ss, SESSION_COUNT_MAC);
        return false;
    }
    switch (pkt[1]) {
    case 1:
        message1_input(ss, from, pkt, len);
        break;
    case 2:
    case 3:
        if (len <= HANDSHAKE_PACKET_MAX && len >= HEADER_LEN + NOISE_MSG3_LEN + COOKIE_MACS_LEN &&
            mac2_is_zero(pkt, len))
            indexed_input(ss, from, pkt[1], pkt, len);
        else
            session_counted(ss, SESSION_COUNT_RUNT);
        break;
    default:
        session_counted(ss, SESSION_COUNT_TYPE);
        break;
    }
    return true;
}
