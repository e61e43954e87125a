#include "tap/segment.h"

#include <arpa/inet.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "tap/checksum.h"

enum { IPV4_LEN = 2, IPV4_ID = 4, IPV4_CHECKSUM = 10, IPV6_LEN = 4 };

/* The transport protocol that such a header announces for packets of this family; 0: none. */
static uint8_t announced(const struct virtio_net_hdr *header, uint8_t family)
{
    switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
        return family == 4 ? IP_PROTO_TCP : 0;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return family == 6 ? IP_PROTO_TCP : 0;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return IP_PROTO_UDP;
    default:
        return 0;
    }
}

/* Where the transport header is: said by csum_start, which knows about IPv6 extension headers. */
static bool find_transport(struct transport *t, const uint8_t *packet, const struct ip_packet *ip,
                           const struct virtio_net_hdr *header)
{
    bool tcp = t->proto == IP_PROTO_TCP;
    size_t least = tcp ? TCP_HEADER_LEN : UDP_HEADER_LEN;
    if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || header->csum_start < ETH_HEADER_LEN ||
        header->csum_offset != (tcp ? TCP_CHECKSUM : UDP_CHECKSUM)) {
        return false;
    }
    t->start = header->csum_start - (size_t)ETH_HEADER_LEN;
    if (t->start < ip->header_len || t->start + least > ip->len ||
        (t->start > ip->header_len && ip->src.family == 4) ||
        (t->start == ip->header_len && ip->proto != t->proto)) {
        return false;
    }
    size_t header_len = tcp ? (packet[t->start + TCP_OFFSET] >> 4) * 4u : least;
    t->payload = t->start + header_len;
    t->checksum = t->start + header->csum_offset;
    return header_len >= least && t->payload < ip->len;
}

/* What is the same in all packets' checksums. The field holds the sum of the pseudo header with the
 * length of the whole, which is taken out again by adding its complement. */
static void sum_bases(struct segmenter *s, const struct ip_packet *ip)
{
    uint16_t field = 0, whole = (uint16_t)~htons((uint16_t)(s->len - s->at.start));
    memcpy(&field, s->packet + s->at.checksum, 2);
    s->base = (uint64_t)field + whole;
    if (s->v4) {
        s->ipv4_base = checksum_add(0, s->packet, IPV4_LEN);
        s->ipv4_base = checksum_add(s->ipv4_base, s->packet + 6, 4);
        s->ipv4_base = checksum_add(s->ipv4_base, s->packet + 12, ip->header_len - 12);
    }
}

bool segment_begin(struct segmenter *s, const uint8_t *packet, const struct ip_packet *ip,
                   const struct virtio_net_hdr *header)
{
    *s = (struct segmenter){
        .packet = packet, .len = ip->len, .v4 = ip->src.family == 4, .size = header->gso_size};
    s->at.proto = announced(header, ip->src.family);
    if (s->at.proto == 0 || s->size == 0 || ip->fragment ||
        !find_transport(&s->at, packet, ip, header)) {
        return false;
    }
    s->taken = s->at.payload;
    s->plain = s->at.start == ip->header_len;
    s->id = s->v4 ? get_u16(packet + IPV4_ID) : 0;
    s->sequence = s->at.proto == IP_PROTO_TCP ? get_u32(packet + s->at.start + TCP_SEQUENCE) : 0;
    sum_bases(s, ip);
    return true;
}

size_t segment_max(const struct segmenter *s)
{
    size_t rest = s->len - s->at.payload;
    return s->at.payload + (rest < s->size ? rest : s->size);
}

static void put_ip(struct segmenter *s, uint8_t *out, size_t len)
{
    if (!s->v4) {
        put_u16(out + IPV6_LEN, (uint16_t)(len - IPV6_HEADER_LEN));
        return;
    }
    put_u16(out + IPV4_LEN, (uint16_t)len);
    put_u16(out + IPV4_ID, s->id);
    checksum_put(out + IPV4_CHECKSUM, s->ipv4_base + htons((uint16_t)len) + htons(s->id));
    s->id++;
}

static void put_tcp(struct segmenter *s, uint8_t *tcp, size_t payload_len)
{
    put_u32(tcp + TCP_SEQUENCE, s->sequence);
    s->sequence += (uint32_t)payload_len;
    if (s->taken > s->at.payload) {
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    }
    if (s->taken + payload_len < s->len) {
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    }
}

static void put_checksum(const struct segmenter *s, uint8_t *out, size_t len, bool undone)
{
    size_t covered = len - s->at.start;
    put_u16(out + s->at.checksum, 0);
    if (undone) {
        return;
    }
    uint64_t sum = checksum_add(s->base + htons((uint16_t)covered), out + s->at.start, covered);
    if (s->at.proto == IP_PROTO_UDP) {
        checksum_put_udp(out + s->at.checksum, sum);
    } else {
        checksum_put(out + s->at.checksum, sum);
    }
}

size_t segment_next(struct segmenter *s, uint8_t *out, bool undone)
{
    size_t rest = s->len - s->taken;
    size_t payload_len = rest < s->size ? rest : s->size;
    size_t len = s->at.payload + payload_len;
    if (rest == 0) {
        return 0;
    }
    CHECK(!undone || s->plain);
    memcpy(out, s->packet, s->at.payload);
    memcpy(out + s->at.payload, s->packet + s->taken, payload_len);
    put_ip(s, out, len);
    if (s->at.proto == IP_PROTO_TCP) {
        put_tcp(s, out + s->at.start, payload_len);
    } else {
        put_u16(out + s->at.start + UDP_LENGTH, (uint16_t)(len - s->at.start));
    }
    put_checksum(s, out, len, undone);
    s->taken += payload_len;
    return len;
}

bool segment_finish(uint8_t *frame, size_t len, const struct virtio_net_hdr *header)
{
    size_t start = header->csum_start, field = start + header->csum_offset;
    if (start < ETH_HEADER_LEN || field + 2 > len) {
        return false;
    }
    uint64_t sum = checksum_add(0, frame + start, len - start);
    if (header->csum_offset == UDP_CHECKSUM) {
        checksum_put_udp(frame + field, sum);
    } else {
        checksum_put(frame + field, sum);
    }
    return true;
}
