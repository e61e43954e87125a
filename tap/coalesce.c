#include "tap/coalesce.h"

#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "tap/checksum.h"

enum {
    IP_LEN_MAX = 65535,
    IPV4_TOS = 1,
    IPV4_LEN = 2,
    IPV4_ID = 4,
    IPV4_FRAGMENT = 6, /* flags and offset */
    IPV4_TTL = 8,
    IPV4_CHECKSUM = 10,
    IPV6_LEN = 4,
    IPV6_HOP_LIMIT = 7,
};

/* A packet and what was found in it. */
struct candidate {
    const struct coalesce_packet *p;
    uint8_t *packet; /* behind the Ethernet header */
    struct transport at;
    size_t len; /* of its payload */
};

void coalesce_init(struct coalesce *c, coalesce_write *write, void *ctx)
{
    *c = (struct coalesce){.write = write, .ctx = ctx};
}

static const uint8_t *flow_packet(const struct coalesce_flow *f)
{
    return f->first.frame + ETH_HEADER_LEN;
}

/* The headers of the first packet become those of the whole. */
static void put_lengths(const struct coalesce_flow *f, uint8_t *packet, size_t len)
{
    if (f->first.ip.src.family == 4) {
        put_u16(packet + IPV4_LEN, (uint16_t)len);
        put_u16(packet + IPV4_CHECKSUM, 0);
        checksum_put(packet + IPV4_CHECKSUM, checksum_add(0, packet, IPV4_HEADER_LEN));
    } else {
        put_u16(packet + IPV6_LEN, (uint16_t)(len - IPV6_HEADER_LEN));
    }
    if (f->at.proto == IP_PROTO_UDP) {
        put_u16(packet + f->at.start + UDP_LENGTH, (uint16_t)(len - f->at.start));
    }
}

static uint8_t gso_type(const struct coalesce_flow *f)
{
    if (f->at.proto == IP_PROTO_UDP) {
        return VIRTIO_NET_HDR_GSO_UDP_L4;
    }
    return f->first.ip.src.family == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
}

/* The frame's beginning and end, its tags put on. */
static struct iovec tagged(const struct coalesce_packet *p)
{
    return (struct iovec){vlan_push(&p->tags, p->frame), p->tags.len + ETH_HEADER_LEN + p->ip.len};
}

static void flow_write(struct coalesce *c, struct coalesce_flow *f)
{
    struct virtio_net_hdr header = {0};
    uint8_t *packet = f->first.frame + ETH_HEADER_LEN;
    size_t len = f->at.payload + f->len, ahead = f->first.tags.len + ETH_HEADER_LEN;
    if (f->segments > 1) {
        put_lengths(f, packet, len);
        header.gso_type = gso_type(f);
        header.gso_size = (uint16_t)f->size;
        header.hdr_len = (uint16_t)(ahead + f->at.payload);
    }
    if (f->segments > 1 || f->first.undone) {
        header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header.csum_start = (uint16_t)(ahead + f->at.start);
        header.csum_offset = (uint16_t)(f->at.checksum - f->at.start);
        transport_leave(&f->at, &f->first.ip, packet, len - f->at.start);
    }
    f->vectors[0] = (struct iovec){&header, sizeof(header)};
    f->vectors[1] = tagged(&f->first);
    c->write(c->ctx, f->first.network, f->vectors, (int)f->segments + 1);
    f->segments = 0;
}

void coalesce_flush(struct coalesce *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->flows[i].segments > 0) {
            flow_write(c, &c->flows[i]);
        }
    }
    c->count = 0;
}

static bool same_flow(const struct coalesce_flow *f, const struct candidate *k)
{
    return memcmp(flow_packet(f) + f->at.start, k->packet + k->at.start, 4) == 0 && /* ports */
           f->at.proto == k->at.proto && f->first.network == k->p->network &&
           vlan_eq(&f->first.tags, &k->p->tags) && addr_eq(&f->first.ip.src, &k->p->ip.src) &&
           addr_eq(&f->first.ip.dst, &k->p->ip.dst);
}

/* The slot of the packet's flow; a free one when it has none yet (segments 0). */
static struct coalesce_flow *find_flow(struct coalesce *c, const struct candidate *k)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->flows[i].segments > 0 && same_flow(&c->flows[i], k)) {
            return &c->flows[i];
        }
    }
    if (c->count == COALESCE_FLOWS) {
        coalesce_flush(c);
    }
    return &c->flows[c->count];
}

/* It may be the first, or another one, of a super-frame. */
static bool joinable(const struct candidate *k)
{
    const struct ip_packet *ip = &k->p->ip;
    if (k->len == 0 || (ip->src.family == 4 && ip->header_len != IPV4_HEADER_LEN)) {
        return false;
    }
    if (k->at.proto == IP_PROTO_UDP && !k->p->uso) {
        return false;
    }
    if (k->at.proto == IP_PROTO_TCP && (k->packet[k->at.start + TCP_FLAGS] & ~TCP_PSH) != TCP_ACK) {
        return false;
    }
    return k->p->undone || transport_verify(&k->at, ip, k->packet);
}

/* A kernel that cuts the super-frame counts the ids up. With DF they mean nothing (RFC 6864 4.1).
 */
static bool ipv4_follows(const struct coalesce_flow *f, const struct candidate *k)
{
    const uint8_t *a = flow_packet(f), *b = k->packet;
    return a[IPV4_TOS] == b[IPV4_TOS] && a[IPV4_TTL] == b[IPV4_TTL] &&
           memcmp(a + IPV4_FRAGMENT, b + IPV4_FRAGMENT, 2) == 0 &&
           (k->p->ip.dont_fragment || get_u16(b + IPV4_ID) == (uint16_t)(f->id + 1));
}

/* Class and flow label in the first four bytes. */
static bool ipv6_follows(const struct coalesce_flow *f, const struct candidate *k)
{
    const uint8_t *a = flow_packet(f), *b = k->packet;
    return memcmp(a, b, 4) == 0 && a[IPV6_HOP_LIMIT] == b[IPV6_HOP_LIMIT];
}

/* The next segment, with the same acknowledgement, window and options. */
static bool tcp_follows(const struct coalesce_flow *f, const struct candidate *k)
{
    const uint8_t *a = flow_packet(f) + f->at.start, *b = k->packet + k->at.start;
    size_t options = k->at.payload - k->at.start - TCP_HEADER_LEN;
    return get_u32(b + TCP_SEQUENCE) == f->sequence && memcmp(a + 8, b + 8, 5) == 0 &&
           memcmp(a + 14, b + 14, 2) == 0 && memcmp(a + 18, b + 18, 2 + options) == 0;
}

static bool follows(const struct coalesce_flow *f, const struct candidate *k)
{
    return !f->closed && f->segments < COALESCE_SEGMENTS && f->first.undone == k->p->undone &&
           f->at.payload == k->at.payload && k->len <= f->size &&
           f->at.payload + f->len + k->len <= IP_LEN_MAX &&
           (k->p->ip.src.family == 4 ? ipv4_follows(f, k) : ipv6_follows(f, k)) &&
           (k->at.proto == IP_PROTO_UDP || tcp_follows(f, k));
}

/* Ends the super-frame when this packet must be its last. */
static void note_end(struct coalesce_flow *f, const struct candidate *k)
{
    f->closed = k->len < f->size;
    if (k->at.proto == IP_PROTO_TCP && (k->packet[k->at.start + TCP_FLAGS] & TCP_PSH)) {
        f->first.frame[ETH_HEADER_LEN + f->at.start + TCP_FLAGS] |= TCP_PSH;
        f->closed = true;
    }
}

static void flow_begin(struct coalesce_flow *f, const struct candidate *k)
{
    f->first = *k->p;
    f->at = k->at;
    f->segments = 1;
    f->size = f->len = k->len;
    f->id = k->p->ip.src.family == 4 ? get_u16(k->packet + IPV4_ID) : 0;
    f->sequence = k->at.proto == IP_PROTO_TCP
                      ? get_u32(k->packet + k->at.start + TCP_SEQUENCE) + (uint32_t)k->len
                      : 0;
    note_end(f, k);
}

static void flow_join(struct coalesce_flow *f, const struct candidate *k)
{
    f->segments++;
    f->vectors[f->segments] = (struct iovec){k->packet + k->at.payload, k->len};
    f->len += k->len;
    f->sequence += (uint32_t)k->len;
    f->id++;
    note_end(f, k);
}

/* No TCP, no UDP, or a part of it: nothing that may belong to the same flow is overtaken. */
static void write_other(struct coalesce *c, const struct coalesce_packet *p)
{
    struct virtio_net_hdr header = {0};
    struct iovec vectors[2] = {{&header, sizeof(header)}, tagged(p)};
    CHECK(!p->undone);
    coalesce_flush(c);
    c->write(c->ctx, p->network, vectors, 2);
}

void coalesce_add(struct coalesce *c, const struct coalesce_packet *p)
{
    struct candidate k = {.p = p, .packet = p->frame + ETH_HEADER_LEN};
    if (!transport_parse(&k.at, &p->ip, k.packet)) {
        write_other(c, p);
        return;
    }
    k.len = p->ip.len - k.at.payload;
    struct coalesce_flow *f = find_flow(c, &k);
    bool joins = joinable(&k);
    if (f->segments > 0 && joins && follows(f, &k)) {
        flow_join(f, &k);
        return;
    }
    if (f->segments > 0) {
        flow_write(c, f);
    } else if (joins) {
        c->count++;
    }
    flow_begin(f, &k);
    if (!joins) {
        flow_write(c, f);
    }
}
