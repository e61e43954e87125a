#include "tests/sim/traffic.h"

#include <string.h>

#include "dht/parcel.h"
#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "overlay/msg.h"
#include "overlay/route.h"

int __real_seal_packet(struct seal_worker *w, struct seal_key *k, uint8_t type, uint8_t flags,
                       uint8_t *pkt, size_t len);
int __wrap_seal_packet(struct seal_worker *w, struct seal_key *k, uint8_t type, uint8_t flags,
                       uint8_t *pkt, size_t len);

/* Message types, then routed ones, then those of the DHT, then whole packets. */
enum {
    KIND_ROUTE = 40,
    KIND_DHT = KIND_ROUTE + 8,
    KIND_NODE = KIND_DHT + PARCEL_TYPES,
    KIND_HANDSHAKE,
    KIND_DATA,
    KIND_OTHER,
    MESSAGES_MAX = PACKET_MAX / MSG_HEADER_LEN,
};

static const char *const names[TRAFFIC_KINDS_MAX] = {
    [MSG_PING] = "ping",
    [MSG_PONG] = "pong",
    [MSG_CLOSE] = "close",
    [MSG_DATA_KEY_INIT] = "data_key.init",
    [MSG_DATA_KEY_REPLY] = "data_key.reply",
    [MSG_DATA_KEY_DONE] = "data_key.done",
    [MSG_PATH_CHALLENGE] = "path.challenge",
    [MSG_PATH_RESPONSE] = "path.response",
    [MSG_ENDPOINTS] = "endpoints",
    [MSG_NEIGHBOURS] = "neighbours",
    [MSG_ROLES] = "roles",
    [MSG_BROADCAST] = "broadcast",
    [MSG_SAID_HEARD] = "said_heard",
    [MSG_BROADCAST_HEARD] = "broadcast_heard",
    [MSG_MEMBERS] = "members",
    [KIND_ROUTE + ROUTE_PROTO_ASK - ROUTE_PROTO_ASK] = "route.ask",
    [KIND_ROUTE + ROUTE_PROTO_LISTS - ROUTE_PROTO_ASK] = "route.lists",
    [KIND_ROUTE + ROUTE_PROTO_INTRODUCE - ROUTE_PROTO_ASK] = "route.introduce",
    [KIND_ROUTE + ROUTE_PROTO_PACKET - ROUTE_PROTO_ASK] = "route.packet",
    [KIND_ROUTE + ROUTE_PROTO_PING - ROUTE_PROTO_ASK] = "route.ping",
    [KIND_ROUTE + ROUTE_PROTO_PONG - ROUTE_PROTO_ASK] = "route.pong",
    [KIND_ROUTE + ROUTE_PROTO_TRAIL - ROUTE_PROTO_ASK] = "route.trail",
    [KIND_DHT + PARCEL_PART] = "dht.part",
    [KIND_DHT + PARCEL_GRANT] = "dht.grant",
    [KIND_DHT + PARCEL_RELEASE] = "dht.release",
    [KIND_DHT + PARCEL_STORE] = "dht.store",
    [KIND_DHT + PARCEL_RENEW] = "dht.renew",
    [KIND_DHT + PARCEL_GET] = "dht.get",
    [KIND_DHT + PARCEL_WATCH] = "dht.watch",
    [KIND_DHT + PARCEL_VERDICT] = "dht.verdict",
    [KIND_DHT + PARCEL_VALUES] = "dht.values",
    [KIND_DHT + PARCEL_WATCHED] = "dht.watched",
    [KIND_DHT + PARCEL_COPY] = "dht.copy",
    [KIND_DHT + PARCEL_COPIED] = "dht.copied",
    [KIND_DHT + PARCEL_ASK] = "dht.ask",
    [KIND_DHT + PARCEL_PAGE] = "dht.page",
    [KIND_DHT + PARCEL_SYNC] = "dht.sync",
    [KIND_DHT + PARCEL_LIST] = "dht.list",
    [KIND_DHT + PARCEL_WANT] = "dht.want",
    [KIND_DHT + PARCEL_LOST] = "dht.lost",
    [KIND_DHT + PARCEL_CERT_GET] = "dht.cert_get",
    [KIND_DHT + PARCEL_CERT] = "dht.cert",
    [KIND_NODE] = "node",
    [KIND_HANDSHAKE] = "handshake",
    [KIND_DATA] = "data",
    [KIND_OTHER] = "other",
};

/* The packet that was sealed last: its messages, as they were. */
static struct {
    const uint8_t *pkt;
    size_t count;
    struct {
        uint8_t kind;
        uint16_t bytes;
    } messages[MESSAGES_MAX];
} sealed;

const char *traffic_name(size_t kind)
{
    return kind < TRAFFIC_KINDS_MAX ? names[kind] : NULL;
}

static size_t kind_of_upper(uint8_t proto, struct reader *r)
{
    uint8_t type = read_u8(r);

    if (proto == OVERLAY_PROTO_NODE)
        return KIND_NODE;
    return proto == OVERLAY_PROTO_DHT && type < PARCEL_TYPES ? KIND_DHT + type : KIND_OTHER;
}

static size_t kind_of(uint8_t type, const uint8_t *body, size_t len)
{
    struct reader r = reader_of(body, len);
    struct route_header h;

    if (type == MSG_UPPER)
        return kind_of_upper(read_u8(&r), &r);
    if (type != MSG_ROUTE)
        return type < KIND_ROUTE ? type : KIND_OTHER;
    if (!route_read(&r, &h))
        return KIND_OTHER;
    if (h.proto >= ROUTE_PROTO_ASK && h.proto <= ROUTE_PROTO_TRAIL)
        return KIND_ROUTE + (size_t)(h.proto - ROUTE_PROTO_ASK);
    return kind_of_upper(h.proto, &r);
}

int __wrap_seal_packet(struct seal_worker *w, struct seal_key *k, uint8_t type, uint8_t flags,
                       uint8_t *pkt, size_t len)
{
    struct reader r = reader_of(pkt + PACKET_HEADER_LEN, type == PACKET_CONTROL ? len : 0);

    sealed.pkt = pkt;
    sealed.count = 0;
    while (reader_left(&r) > 0) {
        uint8_t message = read_u8(&r);
        size_t n = read_u16(&r);
        const uint8_t *body = read_bytes(&r, n);

        if (r.failed || sealed.count == ARRAY_LEN(sealed.messages))
            break;
        sealed.messages[sealed.count].kind = (uint8_t)kind_of(message, body, n);
        sealed.messages[sealed.count++].bytes = (uint16_t)(MSG_HEADER_LEN + n);
    }
    return __real_seal_packet(w, k, type, flags, pkt, len);
}

static void count(struct traffic *t, size_t kind, size_t bytes)
{
    size_t at = names[kind] != NULL ? kind : KIND_OTHER;

    t->bytes[at] += bytes;
    t->messages[at]++;
}

static void count_control(struct traffic *t, size_t len)
{
    size_t left = len, share;

    for (size_t i = 0; i < sealed.count; i++)
        left -= sealed.messages[i].bytes;
    for (size_t i = 0; i < sealed.count; i++) {
        share = left / (sealed.count - i);
        left -= share;
        count(t, sealed.messages[i].kind, sealed.messages[i].bytes + share);
    }
}

void traffic_sent(struct traffic *t, const uint8_t *pkt, size_t len, size_t headers)
{
    if (len > 0 && pkt[0] == PACKET_CONTROL && pkt == sealed.pkt && sealed.count > 0)
        count_control(t, len + headers);
    else if (len > 0 && (pkt[0] == PACKET_HANDSHAKE || pkt[0] == PACKET_COOKIE))
        count(t, KIND_HANDSHAKE, len + headers);
    else
        count(t, len > 0 && pkt[0] == PACKET_DATA ? KIND_DATA : KIND_OTHER, len + headers);
    sealed.pkt = NULL;
}
