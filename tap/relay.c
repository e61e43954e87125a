#include "tap/relay.h"

#include "overlay/core/wire.h"

static const uint32_t relay_head = (uint32_t)PACKET_RELAY << 24;

void relay_header_put(uint8_t *packet, uint32_t channel)
{
    put_u32(packet, relay_head);
    put_u32(packet + 4, channel);
}

static void forward_packet(struct worker *w, const struct forward_leg *leg, uint8_t *packet,
                           size_t len)
{
    union sockaddr_any to;
    socklen_t to_len = sockaddr_put(&to, &leg->to, w->udp_is_v6);
    size_t inner_len = len - RELAY_HEADER_LEN;
    if (to_len == 0) {
        worker_drop(w, PLANE_DROP_SEND);
        return;
    }
    if (!meter_take(leg->each, w->now_us, inner_len) ||
        !meter_take(leg->all, w->now_us, inner_len)) {
        worker_drop(w, PLANE_DROP_RELAY_RATE);
        return;
    }
    if (batch_full(&w->out)) {
        worker_flush(w);
    }
    relay_header_put(packet, leg->onward);
    batch_add_lent(&w->out, packet, len, &to, to_len, leg->flow, w->now_us);
    atomic_fetch_add_explicit(&w->relayed, 1, memory_order_relaxed);
}

enum relay_verdict relay_in(struct worker *w, const struct endpoint *from, uint8_t *packet,
                            size_t len)
{
    if (len <= RELAY_HEADER_LEN) {
        worker_drop(w, PLANE_DROP_RUNT);
        return RELAY_GONE;
    }
    const struct forward_leg *leg = forward_leg(w->forward, get_u32(packet + 4));
    if (leg == NULL || get_u32(packet) != relay_head || !endpoint_eq(&leg->from, from) ||
        packet[RELAY_HEADER_LEN] == PACKET_RELAY) {
        return RELAY_UNKNOWN;
    }
    if (leg->ends_here) {
        return RELAY_INNER;
    }
    forward_packet(w, leg, packet, len);
    return RELAY_GONE;
}
