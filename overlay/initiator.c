/*
 * initiator.c - the side that begins: message 1 to every target until message 2 comes, message 3
 * until the peer shows that it has it.
 */
#include <stdlib.h>
#include <string.h>

#include "overlay/handshake_internal.h"

/*
 * Over UDP the interval doubles. A way of several hops loses several times as much: there the
 * packets are small, tries follow each other faster, and from the second on each is sent by two
 * ways that begin with different hops; message 3, which ends the exchange, is from the first on.
 * Two copies by one way would travel in one packet, and be lost together. Where an address
 * is known as well the first try goes there alone: mostly it is answered, and each hop is spared a
 * packet.
 */
enum { TRIES_MAX = 10, TRIES_ONCE = 1 };
static const usec retry_udp_us[TRIES_MAX] = {MSEC(250), MSEC(500), SEC(1), SEC(2), SEC(4),
                                             SEC(4),    SEC(4),    SEC(4), SEC(4), SEC(4)};
static const usec retry_ring_us[TRIES_MAX] = {MSEC(200), MSEC(200), MSEC(200), MSEC(200), MSEC(300),
                                              MSEC(400), MSEC(600), MSEC(800), SEC(1),    SEC(1)};
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
    bool data; /* ANSWERED: data follows message 3 */
    uint8_t tries;
    uint8_t cookies; /* received */
    uint8_t target_count;
    struct target targets[HANDSHAKE_TARGETS_MAX];
    struct noise *noise;
    uint8_t head1[HEADER1_LEN + NOISE_MSG1_PSK_LEN]; /* header and Noise message 1 */
    struct control *next; /* ANSWERED, rekey: not used before the peer is known to have them */
    uint8_t *packet3;
    size_t packet3_len;
    struct path_addr packet3_to;
    usec at_us, until_us;
};

static bool is_hop_by_hop(const struct path_addr *addr)
{
    return addr->kind == PATH_RING;
}

static bool attempt_over_ring(const struct attempt *a)
{
    bool over_ring = a->state == ATTEMPT_ANSWERED && is_hop_by_hop(&a->packet3_to);

    for (size_t i = 0; i < a->target_count && a->state == ATTEMPT_ASKED; i++)
        over_ring |= is_hop_by_hop(&a->targets[i].addr);
    return over_ring;
}

static void attempt_schedule(struct sessions *ss, struct attempt *a)
{
    const usec *gaps_us = attempt_over_ring(a) ? retry_ring_us : retry_udp_us;
    unsigned n = a->tries < TRIES_MAX ? a->tries : TRIES_MAX - 1;

    a->at_us = usec_min(ss->env->now_us + gaps_us[n], a->until_us);
    a->tries++;
}

/* How often a packet goes there in the try that is next; 0: not in this one. */
static int copies(const struct attempt *a, const struct path_addr *to)
{
    if (is_hop_by_hop(to))
        return a->tries > TRIES_ONCE || a->state == ATTEMPT_ANSWERED ? 2 : 1;
    return attempt_over_ring(a) && a->tries % 2 == 0 ? 0 : 1;
}

static void target_send(struct sessions *ss, const struct attempt *a, struct target *t,
                        bool other_way)
{
    struct path_addr to = t->addr;
    uint8_t pkt[HANDSHAKE_PACKET1_LEN] = {0};
    size_t len = handshake_packet1_len(ss, &t->addr);

    memcpy(pkt, a->head1, HEADER1_LEN + handshake_noise1_len(ss));
    cookie_stamp(&ss->cookie_keys, &t->cookie, ss->env->now_us, pkt, len);
    memcpy(t->mac1, pkt + len - COOKIE_MACS_LEN, MAC_LEN);
    t->cookie_taken = false;
    to.other_way = other_way;
    ss->host.send(ss->ctx, &to, pkt, len);
}

/* A new ephemeral: at first, and when what looked like an answer spoilt the state. */
static bool attempt_restart(struct sessions *ss, struct attempt *a)
{
    struct secret seed;

    noise_free(a->noise);
    a->noise = handshake_noise(ss, true);
    if (a->noise == NULL)
        return false;
    env_random(ss->env, seed.b, sizeof(seed.b));
    handshake_header_put(a->head1, 1, a->index);
    int n = noise_write(a->noise, &seed, NULL, 0, a->head1 + HEADER1_LEN, handshake_noise1_len(ss));

    secret_clear(&seed);
    CHECK(n == (int)handshake_noise1_len(ss));
    return true;
}

static void attempt_free(struct sessions *ss, struct attempt *a)
{
    if (a == NULL)
        return;
    index_drop(ss, &a->ref);
    control_keys_free(ss, a->next);
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
    handshake_add_target(s, to);
    attempt_schedule(ss, a);
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
    if (!is_hop_by_hop(to) || a->target_count == 1)
        target_send(s->ss, a, t, false);
}

void handshake_hurry(struct session *s)
{
    struct attempt *a = s->attempt;

    if (a == NULL || a->state != ATTEMPT_ASKED || a->tries > TRIES_ONCE)
        return;
    for (size_t i = 0; i < a->target_count; i++)
        if (is_hop_by_hop(&a->targets[i].addr))
            target_send(s->ss, a, &a->targets[i], true);
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
    struct path_addr to = a->packet3_to;
    uint8_t ping[5] = {0};

    for (int i = copies(a, &to); i > 0; i--) {
        ss->host.send(ss->ctx, &to, a->packet3, a->packet3_len);
        to.other_way = id_is_zero(&to.via);
        to.via = (struct id){{0}}; /* the way that the answer named may be broken */
    }
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
    /* When both opened, theirs may have got through. */
    if (!session_keys_fall_back(s))
        session_end(s, SESSION_END_TIMEOUT, NULL);
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
        for (int n = 0, most = copies(a, &a->targets[i].addr); n < most; n++)
            target_send(ss, a, &a->targets[i], n > 0);
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
    path_check(s); /* what we sent before it had the keys was for nothing */
}

struct control *handshake_next_keys(const struct session *s, uint32_t index)
{
    const struct attempt *a = s->attempt;

    return a != NULL && a->next != NULL && a->index == index ? a->next : NULL;
}

/* What message 2 proved is not what we want. */
static void attempt_refuse(struct session *s, const struct path_addr *from, const struct cert *who,
                           enum refusal why)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;

    handshake_refused(ss, from, who, why);
    /* Somebody else in the peer's place says nothing about the peer. */
    if (s->named && !id_eq(&who->node, &s->peer)) {
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

/* Data behind message 3 must not overtake it: of UDP the peer's data plane reads it first. */
static bool data_may_follow(const struct session *s, const struct path_addr *from)
{
    return s->wants_data && !s->attempt->rekey &&
           (from->kind == PATH_RING || from->kind == PATH_TCP);
}

/* Message 3 and the control keys. False: out of memory. */
static bool attempt_answer(struct session *s, const struct path_addr *from, uint32_t remote_index,
                           bool *told_all, struct control **keys)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;

    a->data = data_may_follow(s, from);
    const struct handshake_reply reply = {
        .number = 3,
        .sender = a->index,
        .receiver = remote_index,
        .aeads = 1u << s->alg,
        .flags = (uint8_t)((a->rekey ? HELLO_REKEY : 0) | (a->data ? HELLO_DATA : 0)),
    };
    struct noise_result result;

    a->packet3 = handshake_reply_make(ss, a->noise, &reply, &a->packet3_len, told_all);
    if (a->packet3 == NULL)
        return false;
    noise_split(a->noise, &result);
    noise_free(a->noise);
    a->noise = NULL;
    *keys = control_keys_new(ss, &a->ref, remote_index, &result, s, true);
    if (*keys != NULL && a->data)
        datakey_first_make(*keys, s->alg, &result);
    noise_result_clear(&result);
    return *keys != NULL;
}

/* Message 2 verified: message 3 out, keys in. */
static void attempt_complete(struct session *s, const struct path_addr *from, uint32_t remote_index,
                             const struct hello *h, const struct cert *who)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;
    struct control *keys = NULL;
    bool told_all;

    s->alg = handshake_aead(ss->config.aeads & h->aeads);
    if (!session_take_hello(s, h, who) ||
        !attempt_answer(s, from, remote_index, &told_all, &keys)) {
        session_end(s, SESSION_END_TIMEOUT, "out of memory");
        return;
    }
    a->packet3_to = *from;
    a->state = ATTEMPT_ANSWERED;
    a->tries = 0;
    a->until_us = ss->env->now_us + timeout_us;
    attempt_schedule(ss, a);
    if (a->rekey) {
        a->next = keys;
    } else {
        path_proven(s, from);
        session_adopt(s, keys);
        session_came_up(s);
    }
    packet3_send(s);
    if (!told_all)
        session_tell_endpoints(s);
}

/* Noise authenticated the key of whoever sent this hello: is it the one we want? */
static void attempt_judge(struct session *s, const struct path_addr *from, uint32_t remote_index,
                          const struct hello *h)
{
    struct sessions *ss = s->ss;
    const struct dh_public *remote = noise_remote_static(s->attempt->noise);
    struct cert who;

    if (equal_ct(remote, &ss->dh_public, sizeof(*remote))) {
        if (s->attempt->rekey)
            handshake_abort(s);
        else
            session_end(s, SESSION_END_SELF, NULL);
        return;
    }
    enum refusal why = hello_verify(h, &ss->config, ss->env, remote, &who);

    if (why == REFUSAL_NONE && s->named && !id_eq(&who.node, &s->peer))
        why = REFUSAL_OTHER_NODE;
    if (why == REFUSAL_NONE && handshake_aead(ss->config.aeads & h->aeads) == 0)
        why = REFUSAL_AEAD;
    if (why != REFUSAL_NONE)
        attempt_refuse(s, from, &who, why);
    else if (!attempt_yields(s, from, h, &who))
        attempt_complete(s, from, remote_index, h, &who);
}

void initiator_message2(struct session *s, const struct path_addr *from, const uint8_t *pkt,
                        size_t len)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;
    uint8_t payload[HANDSHAKE_PACKET_MAX];
    struct hello h;

    CHECK(a != NULL && a->state == ATTEMPT_ASKED);
    if (handshake_reply_read(a->noise, pkt, len, payload, &h)) {
        attempt_judge(s, from, get_u32(pkt + OFFSET_SENDER), &h);
        return;
    }
    session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
    if (!attempt_restart(ss, a))
        session_end(s, SESSION_END_TIMEOUT, "out of memory");
}

bool initiator_cookie(struct session *s, const uint8_t *pkt)
{
    struct sessions *ss = s->ss;
    struct attempt *a = s->attempt;

    for (size_t i = 0; i < a->target_count; i++) {
        struct target *t = &a->targets[i];

        if (t->cookie_taken || !cookie_reply_open(&ss->cookie_keys, ss->worker, ss->env->now_us,
                                                  t->mac1, pkt, &t->cookie))
            continue;
        t->cookie_taken = true;
        /* At once the first time; a peer that answers each try with one waits for the timer. */
        if (a->cookies++ == 0)
            target_send(ss, a, t, false);
        return true;
    }
    return false;
}

bool initiator_unconfirmed(const struct session *s)
{
    return s->attempt != NULL && s->attempt->state == ATTEMPT_ANSWERED;
}
