#include "tap/relay.h"

#include <string.h>

#include "overlay/core/wire.h"

static const uint32_t relay_head = (uint32_t)PACKET_RELAY << 24;

void relay_header_put(uint8_t *packet, uint32_t channel)
{
    put_u32(packet, relay_head);
    put_u32(packet + 4, channel);
}

/* Where the next packet goes on. */
struct onward {
    union sockaddr_any to;
    socklen_t to_len;
    struct stream *stream; /* NULL: to `to` */
};

/* The batch needs joined packets side by side: what came in another guise is copied. */
static void add_record(struct worker *w, struct stream *stream, uint8_t *packet, size_t len,
                       bool streamed)
{
    uint8_t *record = streamed ? packet - STREAM_HEADER_LEN : batch_packet(&w->out);
    if (!streamed) {
        stream_header_put(record, len);
        memcpy(record + STREAM_HEADER_LEN, packet, len);
    }
    batch_add_record(&w->out, record, STREAM_HEADER_LEN + len, stream);
}

static void add_datagram(struct worker *w, const struct onward *o, const struct forward_leg *leg,
                         uint8_t *packet, size_t len, bool streamed)
{
    if (streamed) {
        memcpy(batch_packet(&w->out), packet, len);
        batch_add(&w->out, len, &o->to, o->to_len, leg->flow, w->now_us);
    } else {
        batch_add_lent(&w->out, packet, len, &o->to, o->to_len, leg->flow, w->now_us);
    }
}

static void forward_packet(struct worker *w, const struct forward_leg *leg, const struct onward *o,
                           uint8_t *packet, size_t len)
{
    size_t inner_len = len - RELAY_HEADER_LEN;
    bool urgent = packet[RELAY_HEADER_LEN] != PACKET_DATA;
    if (!meter_take(leg->each, w->now_us, inner_len, urgent) ||
        !meter_take(leg->all, w->now_us, inner_len, urgent)) {
        worker_drop(w, PLANE_DROP_RELAY_RATE);
        return;
    }
    if (batch_full(&w->out)) {
        worker_flush(w);
    }
    relay_header_put(packet, leg->onward);
    if (o->stream != NULL) {
        add_record(w, o->stream, packet, len, leg->from_conn != 0);
    } else {
        add_datagram(w, o, leg, packet, len, leg->from_conn != 0);
    }
    atomic_fetch_add_explicit(&w->relayed, 1, memory_order_relaxed);
}

/* False: the workers do not have that connection. */
static bool find_onward(const struct worker *w, const struct forward_leg *leg, struct onward *o)
{
    if (leg->to_conn != 0) {
        o->stream = worker_stream(w, leg->to_conn);
        return o->stream != NULL;
    }
    o->stream = NULL;
    o->to_len = sockaddr_put(&o->to, &leg->to, w->udp_is_v6);
    return true;
}

static bool is_from(const struct forward_leg *leg, const struct endpoint *from, uint32_t conn)
{
    return leg->from_conn == conn && (conn != 0 || endpoint_eq(&leg->from, from));
}

enum relay_verdict relay_in(struct worker *w, const struct endpoint *from, uint32_t conn,
                            uint8_t *packet, size_t len)
{
    struct onward onward;
    if (len <= RELAY_HEADER_LEN) {
        worker_drop(w, PLANE_DROP_RUNT);
        return RELAY_GONE;
    }
    const struct forward_leg *leg = forward_leg(w->forward, get_u32(packet + 4));
    if (leg == NULL || get_u32(packet) != relay_head || !is_from(leg, from, conn) ||
        packet[RELAY_HEADER_LEN] == PACKET_RELAY) {
        return RELAY_UNKNOWN;
    }
    if (leg->ends_here) {
        return leg->is_public ? RELAY_PUBLIC : RELAY_INNER;
    }
    if (!find_onward(w, leg, &onward)) {
        return RELAY_UNKNOWN;
    }
    if (onward.stream == NULL && onward.to_len == 0) {
        worker_drop(w, PLANE_DROP_SEND);
        return RELAY_GONE;
    }
    forward_packet(w, leg, &onward, packet, len);
    return RELAY_GONE;
}
