#include "daemon/node/tunnel.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/node/member.h"
#include "overlay/core/limits.h"

#define HALF_US SEC(2)

void tunnels_init(struct tunnels *t, struct env *env, struct overlay *overlay,
                  void (*deliver)(void *ctx, const struct id *from, uint8_t *pkt, size_t len),
                  void *ctx)
{
    *t = (struct tunnels){.env = env, .overlay = overlay, .deliver = deliver, .ctx = ctx};
}

static void half_clear(struct tunnel_half *h)
{
    free(h->bytes);
    *h = (struct tunnel_half){.bytes = NULL};
}

void tunnels_clear(struct tunnels *t)
{
    for (size_t i = 0; i < TUNNEL_HALVES_MAX; i++)
        half_clear(&t->halves[i]);
}

/* Data needs a session of its own; asking for one keeps it. */
static bool send_data(struct tunnels *t, const struct id *to, const uint8_t *pkt, size_t len)
{
    return overlay_demand(t->overlay, to) == 0 && overlay_is_linked(t->overlay, to) &&
           overlay_send_data(t->overlay, to, pkt, len) == 0;
}

static void send_messages(struct tunnels *t, const struct id *to, const uint8_t *pkt, size_t len)
{
    size_t parts = (len + TUNNEL_PART_MAX - 1) / TUNNEL_PART_MAX;
    uint8_t body[OVERLAY_BODY_MAX];

    body[0] = NODE_MSG_TUNNEL;
    put_u16(body + 1, t->number++);
    for (size_t i = 0; i < parts; i++) {
        size_t part = i + 1 < parts ? TUNNEL_PART_MAX : len - i * TUNNEL_PART_MAX;

        body[3] = (uint8_t)(i << 4 | parts);
        memcpy(body + TUNNEL_HEADER_LEN, pkt + i * TUNNEL_PART_MAX, part);
        (void)!overlay_send(t->overlay, to, OVERLAY_PROTO_NODE, body, TUNNEL_HEADER_LEN + part);
    }
}

void tunnels_send(struct tunnels *t, const struct id *to, const uint8_t *pkt, size_t len)
{
    bool fits = len > 0 && len <= TUNNEL_PACKET_MAX;

    if (!fits || (pkt[0] == PACKET_DATA && !send_data(t, to, pkt, len))) {
        t->dropped++;
        return;
    }
    if (pkt[0] != PACKET_DATA)
        send_messages(t, to, pkt, len);
    t->sent++;
}

/* A stranger's first message costs every group a MAC. */
static bool stranger_allowed(struct tunnels *t)
{
    if (t->env->now_us >= t->strangers_us + SEC(1)) {
        t->strangers_us = t->env->now_us;
        t->strangers = 0;
    }
    return t->strangers++ < TUNNEL_STRANGERS_PER_S;
}

static void hand_up(struct tunnels *t, const struct id *from, uint8_t *pkt, size_t len)
{
    bool first = len > 1 && pkt[0] == PACKET_HANDSHAKE && pkt[1] == 1;

    if (pkt[0] < PACKET_HANDSHAKE || pkt[0] > PACKET_CONTROL || (first && !stranger_allowed(t))) {
        t->dropped++;
        return;
    }
    t->received++;
    t->deliver(t->ctx, from, pkt, len);
}

/* The slot that holds the packet's other half, or the one to keep this half in. */
static struct tunnel_half *half_of(struct tunnels *t, const struct id *from, uint16_t number)
{
    struct tunnel_half *victim = &t->halves[0];

    for (size_t i = 0; i < TUNNEL_HALVES_MAX; i++) {
        struct tunnel_half *h = &t->halves[i];

        if (h->bytes != NULL && t->env->now_us >= h->since_us + HALF_US)
            half_clear(h);
        if (h->bytes != NULL && h->number == number && id_eq(&h->from, from))
            return h;
        if (victim->bytes != NULL && (h->bytes == NULL || h->since_us < victim->since_us))
            victim = h;
    }
    half_clear(victim);
    return victim;
}

static void keep_half(struct tunnels *t, struct tunnel_half *h, const struct id *from,
                      uint16_t number, uint8_t part, struct reader *r)
{
    size_t len = reader_left(r);

    h->bytes = malloc(len);
    if (h->bytes == NULL)
        return;
    memcpy(h->bytes, r->p, len);
    h->from = *from;
    h->number = number;
    h->part = part;
    h->len = len;
    h->since_us = t->env->now_us;
}

static void join_halves(struct tunnels *t, const struct id *from, uint16_t number, uint8_t part,
                        struct reader *r)
{
    struct tunnel_half *h = half_of(t, from, number);
    uint8_t pkt[TUNNEL_PACKET_MAX];
    size_t len = reader_left(r), all;

    if (h->bytes == NULL || h->part == part) {
        half_clear(h);
        keep_half(t, h, from, number, part, r);
        return;
    }
    all = h->len + len;
    memcpy(pkt + (part == 0 ? 0 : h->len), r->p, len);
    memcpy(pkt + (part == 0 ? len : 0), h->bytes, h->len);
    half_clear(h);
    hand_up(t, from, pkt, all);
}

void tunnels_input(struct tunnels *t, const struct overlay_from *from, struct reader *r)
{
    uint16_t number = read_u16(r);
    uint8_t cut = read_u8(r);
    uint8_t part = cut >> 4, parts = cut & 15;
    size_t len = reader_left(r);
    uint8_t pkt[TUNNEL_PART_MAX];

    if (r->failed || parts < 1 || parts > TUNNEL_PARTS_MAX || part >= parts || len == 0 ||
        len > TUNNEL_PART_MAX || (part + 1 < parts && len != TUNNEL_PART_MAX)) {
        t->dropped++;
    } else if (parts == 1) {
        memcpy(pkt, r->p, len);
        hand_up(t, &from->node, pkt, len);
    } else {
        join_halves(t, &from->node, number, part, r);
    }
}
