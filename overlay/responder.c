/*
 * responder.c - the side that is asked: half-open slots, cookies under load, and who gets a
 * session.
 */
#include <stdlib.h>
#include <string.h>

#include "overlay/handshake_internal.h"

static const usec timeout_us = SEC(HANDSHAKE_TIMEOUT_S);

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
    bool told_all;  /* our endpoints fitted into it */
    bool other_way; /* of two message 1, the second is answered by another way of the ring */
    usec born_us, until_us;
};

static void half_open_append(struct sessions *ss, struct half_open *ho)
{
    ho->next = NULL;
    ho->link = ss->half_open_last;
    *ho->link = ho;
    ss->half_open_last = &ho->next;
}

static void half_open_unlink(struct sessions *ss, struct half_open *ho)
{
    *ho->link = ho->next;
    if (ho->next != NULL)
        ho->next->link = ho->link;
    else
        ss->half_open_last = ho->link;
}

/* Its message 1 came again: message 3 may take as long from now. Twice the time is all there is. */
static void half_open_again(struct sessions *ss, struct half_open *ho)
{
    ho->until_us = usec_min(ss->env->now_us + timeout_us, ho->born_us + 2 * timeout_us);
    half_open_unlink(ss, ho);
    half_open_append(ss, ho);
}

static void half_open_free(struct sessions *ss, struct half_open *ho)
{
    half_open_unlink(ss, ho);
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
    if (!path_addr_is_direct(a))
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
             memcmp(ho->noise1, pkt + HEADER1_LEN, handshake_noise1_len(ss)) == 0))
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
    memcpy(ho->noise1, pkt + HEADER1_LEN, handshake_noise1_len(ss));
    ho->born_us = ss->env->now_us;
    ho->until_us = ss->env->now_us + timeout_us;
    half_open_append(ss, ho);
    ss->half_open_count++;
    return ho;
}

/* Reads message 1, makes message 2. */
static bool half_open_answer(struct sessions *ss, struct half_open *ho)
{
    uint8_t none[1];

    ho->noise = handshake_noise(ss, false);
    if (ho->noise == NULL ||
        noise_read(ho->noise, ho->noise1, handshake_noise1_len(ss), none, sizeof(none)) < 0)
        return false;
    const struct handshake_reply reply = {
        .number = 2,
        .sender = ho->ref.index,
        .receiver = ho->remote_index,
        .aeads = ss->config.aeads,
    };

    ho->packet2 = handshake_reply_make(ss, ho->noise, &reply, &ho->packet2_len, &ho->told_all);
    return ho->packet2 != NULL;
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

    for (size_t i = HEADER1_LEN + handshake_noise1_len(ss); i < len - COOKIE_MACS_LEN; i++)
        any |= pkt[i];
    return any == 0;
}

/* Without load no cookie is asked for, but one that is shown must be right. */
static bool cookie_needed(struct sessions *ss, const struct path_addr *from, const uint8_t *pkt,
                          size_t len, bool busy)
{
    if (!busy && handshake_mac2_is_zero(pkt, len))
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

void responder_message1(struct sessions *ss, const struct path_addr *from, const uint8_t *pkt,
                        size_t len)
{
    if (len != handshake_packet1_len(ss, from) || !padding_is_zero(ss, pkt, len)) {
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
        return;
    }
    struct half_open *ho = half_open_find(ss, from, pkt);

    if (cookie_needed(ss, from, pkt, len, under_load(ss) && ho == NULL)) {
        cookie_send(ss, from, pkt, len);
        return;
    }
    if (ho != NULL)
        half_open_again(ss, ho);
    else
        ho = half_open_new(ss, from, pkt);
    if (ho == NULL)
        return;
    if (ho->packet2 == NULL && !half_open_answer(ss, ho)) {
        half_open_free(ss, ho);
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
        return;
    }
    struct path_addr to = *from;

    to.other_way = ho->other_way;
    ho->other_way = !ho->other_way;
    ss->host.send(ss->ctx, &to, ho->packet2, ho->packet2_len);
}

/*
 * Our own attempt at this peer completed: is the incoming one the other half of two that began at
 * once? Then the peer began it before it can have had our message 3. Later ones come from a peer
 * that forgot the session.
 */
static bool both_opened(const struct session *s, const struct half_open *ho, const struct hello *h)
{
    usec began_us = ho->born_us;

    return s->incarnation == h->incarnation && s->keys->initiator &&
           began_us < s->up_us + SEC(SESSION_OVERLAP_S) && began_us <= s->keys->confirmed_us;
}

/* The session that an incoming handshake gives keys to: made, or the one there already. NULL and
 * *why. */
static struct session *responder_session(struct sessions *ss, const struct half_open *ho,
                                         const struct hello *h, const struct cert *who,
                                         enum refusal *why)
{
    struct session *s = session_named(ss, &who->node);
    bool up = s != NULL && s->state == SESSION_UP;

    if ((h->flags & HELLO_REKEY) != 0) {
        if (up && s->incarnation == h->incarnation)
            return s;
        session_counted(ss, SESSION_COUNT_NO_SESSION); /* it finds out by our silence */
        return NULL;
    }
    if (up && !both_opened(s, ho, h)) {
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

    handshake_refused(ss, &ho->from, who, why);
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

    if (s != NULL && s->state == SESSION_UP && sign_public_to_dh(&key, &s->key) &&
        equal_ct(&key, remote, sizeof(key)))
        session_end(s, SESSION_END_REFUSED, refusal_text(why));
}

static void responder_complete(struct sessions *ss, struct half_open *ho,
                               const struct noise_result *result, struct session *s,
                               const struct hello *h, const struct cert *who)
{
    struct control *c = NULL;

    if (session_take_hello(s, h, who))
        c = control_keys_new(ss, &ho->ref, ho->remote_index, result, s, false);
    if (c == NULL) {
        if (s->state == SESSION_OPENING)
            session_end(s, SESSION_END_TIMEOUT, "out of memory");
        return;
    }
    s->alg = handshake_aead(h->aeads);
    if ((h->flags & HELLO_DATA) != 0)
        datakey_first_make(c, s->alg, result);
    path_proven(s, &ho->from);
    session_adopt(s, c);
    /* Two opened at once: ours goes on only when it is the one that counts and may have arrived. */
    if (!initiator_unconfirmed(s) || id_cmp(&ss->config.node, &who->node) > 0)
        handshake_abort(s);
    if (s->state == SESSION_OPENING)
        session_came_up(s);
    path_ping(s, paths_best(&s->paths), PING_ASK_ENDPOINT);
    if (!ho->told_all)
        session_tell_endpoints(s);
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

    if (why == REFUSAL_NONE && (!one_aead || handshake_aead(ss->config.aeads & h->aeads) == 0))
        why = REFUSAL_AEAD;
    struct session *s = why == REFUSAL_NONE ? responder_session(ss, ho, h, &who, &why) : NULL;

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

void responder_message3(struct sessions *ss, struct half_open *ho, const struct path_addr *from,
                        const uint8_t *pkt, size_t len)
{
    uint8_t payload[HANDSHAKE_PACKET_MAX];
    struct hello h;

    if (get_u32(pkt + OFFSET_SENDER) != ho->remote_index) {
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
        return;
    }
    if (handshake_reply_read(ho->noise, pkt, len, payload, &h))
        message3_judge(ss, ho, from, &h);
    else
        session_counted(ss, SESSION_COUNT_HANDSHAKE_BAD);
    half_open_free(ss, ho);
}
