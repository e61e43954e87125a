#include "overlay/handshake.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/handshake_internal.h"

struct noise *handshake_noise(const struct sessions *ss, bool initiator)
{
    return noise_new(initiator, ss->prologue, sizeof(ss->prologue), &ss->dh_secret,
                     ss->config.psk ? &ss->config.group_key : NULL);
}

size_t handshake_noise1_len(const struct sessions *ss)
{
    return ss->config.psk ? NOISE_MSG1_PSK_LEN : NOISE_MSG1_LEN;
}

size_t handshake_packet1_len(const struct sessions *ss, const struct path_addr *path)
{
    return path->kind == PATH_UDP ? HANDSHAKE_PACKET1_LEN
                                  : HEADER1_LEN + handshake_noise1_len(ss) + COOKIE_MACS_LEN;
}

void handshake_header_put(uint8_t *pkt, uint8_t number, uint32_t sender)
{
    put_u32(pkt, (uint32_t)PACKET_HANDSHAKE << 24 | (uint32_t)number << 16);
    put_u32(pkt + OFFSET_SENDER, sender);
}

bool handshake_mac2_is_zero(const uint8_t *pkt, size_t len)
{
    static const uint8_t zero[MAC_LEN];

    return memcmp(pkt + len - MAC_LEN, zero, MAC_LEN) == 0;
}

static struct hello own_hello(const struct sessions *ss, const struct handshake_reply *r)
{
    const struct sessions_config *c = &ss->config;
    struct hello h = {
        .flags = (uint8_t)(r->flags | (c->ca != NULL ? HELLO_CERTIFICATE : 0)),
        .identity = c->ca != NULL ? c->cert_der : c->pub.b,
        .identity_len = c->ca != NULL ? c->cert_len : sizeof(c->pub.b),
        .incarnation = ss->incarnation,
        .crl_number = c->removed != NULL ? removed_number(c->removed) : 0,
        .aeads = r->aeads,
    };

    h.ep_count = sessions_own_endpoints(ss, h.eps);
    return h;
}

/* The whole packet into pkt. Returns its length, 0 when it cannot be made. */
static size_t reply_write(struct sessions *ss, struct noise *noise, const struct handshake_reply *r,
                          const uint8_t *payload, size_t payload_len, uint8_t *pkt)
{
    struct secret seed = {{0}};

    if (r->number == 2) /* message 3 has no ephemeral */
        env_random(ss->env, seed.b, sizeof(seed.b));
    handshake_header_put(pkt, r->number, r->sender);
    put_u32(pkt + OFFSET_RECEIVER, r->receiver);
    int n = noise_write(noise, r->number == 2 ? &seed : NULL, payload, payload_len,
                        pkt + HEADER_LEN, HANDSHAKE_PACKET_MAX - HEADER_LEN - COOKIE_MACS_LEN);

    secret_clear(&seed);
    if (n < 0)
        return 0;
    size_t len = HEADER_LEN + (size_t)n + COOKIE_MACS_LEN;

    cookie_stamp(&ss->cookie_keys, NULL, ss->env->now_us, pkt, len);
    return len;
}

uint8_t *handshake_reply_make(struct sessions *ss, struct noise *noise,
                              const struct handshake_reply *r, size_t *len, bool *told_all)
{
    const size_t overhead =
        HEADER_LEN + COOKIE_MACS_LEN + (r->number == 2 ? NOISE_MSG2_LEN : NOISE_MSG3_LEN);
    const struct hello hello = own_hello(ss, r);
    uint8_t payload[HANDSHAKE_PACKET_MAX], pkt[HANDSHAKE_PACKET_MAX];
    size_t eps_written;
    int n = hello_write(&hello, payload, HANDSHAKE_PACKET_MAX - overhead, &eps_written);

    *len = n >= 0 ? reply_write(ss, noise, r, payload, (size_t)n, pkt) : 0;
    *told_all = eps_written == hello.ep_count;
    uint8_t *copy = *len > 0 ? malloc(*len) : NULL;

    if (copy != NULL)
        memcpy(copy, pkt, *len);
    return copy;
}

bool handshake_reply_read(struct noise *noise, const uint8_t *pkt, size_t len,
                          uint8_t payload[HANDSHAKE_PACKET_MAX], struct hello *h)
{
    int n = noise_read(noise, pkt + HEADER_LEN, len - HEADER_LEN - COOKIE_MACS_LEN, payload,
                       HANDSHAKE_PACKET_MAX);

    return n >= 0 && hello_read(h, payload, (size_t)n);
}

enum seal_alg handshake_aead(uint32_t common)
{
    if ((common & 1u << SEAL_AES_256_GCM) != 0)
        return SEAL_AES_256_GCM;
    return (common & 1u << SEAL_CHACHA20_POLY1305) != 0 ? SEAL_CHACHA20_POLY1305 : 0;
}

void handshake_refused(struct sessions *ss, const struct path_addr *from, const struct cert *who,
                       enum refusal why)
{
    session_counted(ss, SESSION_COUNT_CERT_REFUSED);
    session_remember_refusal(ss, from, who, refusal_text(why));
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
    if (initiator_cookie(ref->owner, pkt))
        return true;
    session_counted(ss, SESSION_COUNT_FORGED);
    return true;
}

/* Messages 2 and 3, by the receiver index. */
static void indexed_input(struct sessions *ss, const struct path_addr *from, uint8_t number,
                          const uint8_t *pkt, size_t len)
{
    struct index_ref *ref = table_get(&ss->indices, &(uint32_t){get_u32(pkt + OFFSET_RECEIVER)});

    if (number == 2 && ref != NULL && ref->kind == INDEX_ATTEMPT) {
        struct session *s = ref->owner;

        initiator_message2(s, from, pkt, len);
        if (s->state != SESSION_ENDING)
            session_schedule(s);
    } else if (number == 3 && ref != NULL && ref->kind == INDEX_HALF_OPEN) {
        responder_message3(ss, ref->owner, from, pkt, len);
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
        responder_message1(ss, from, pkt, len);
        break;
    case 2:
    case 3:
        if (len <= HANDSHAKE_PACKET_MAX && len >= HEADER_LEN + NOISE_MSG3_LEN + COOKIE_MACS_LEN &&
            handshake_mac2_is_zero(pkt, len))
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
