#include "tap/eth.h"

#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "tap/checksum.h"

enum { HOP_LIMIT = 64, IPV4_MORE = 0x2000, IPV4_DONT = 0x4000, IPV4_OFFSET = 0x1fff };

bool mac_is_multicast(const struct mac *mac)
{
    return mac->b[0] & 1;
}

bool eth_parse(struct eth_header *out, const uint8_t *frame, size_t len)
{
    if (len < ETH_HEADER_LEN) {
        return false;
    }
    memcpy(out->dst.b, frame, 6);
    memcpy(out->src.b, frame + 6, 6);
    out->type = get_u16(frame + 12);
    return true;
}

void eth_put(uint8_t frame[ETH_HEADER_LEN], const struct mac *dst, const struct mac *src,
             uint16_t type)
{
    memcpy(frame, dst->b, 6);
    memcpy(frame + 6, src->b, 6);
    put_u16(frame + 12, type);
}

static struct addr addr_at(const uint8_t *p, uint8_t family)
{
    struct addr a = {.family = family};
    memcpy(a.b, p, family == 4 ? 4 : 16);
    return a;
}

/* RFC 791 3.1 */
static bool ipv4_parse(struct ip_packet *out, const uint8_t *p, size_t len)
{
    if (len < IPV4_HEADER_LEN) {
        return false;
    }
    uint16_t fragment = get_u16(p + 6);
    *out = (struct ip_packet){
        .src = addr_at(p + 12, 4),
        .dst = addr_at(p + 16, 4),
        .len = get_u16(p + 2),
        .header_len = (p[0] & 0x0f) * 4u,
        .proto = p[9],
        .hop_limit = p[8],
        .fragment = fragment & (IPV4_MORE | IPV4_OFFSET),
        .first = !(fragment & IPV4_OFFSET),
        .dont_fragment = fragment & IPV4_DONT,
    };
    return out->header_len >= IPV4_HEADER_LEN && out->header_len <= out->len && out->len <= len;
}

/* RFC 8200 3; jumbograms (RFC 2675) have a payload length of 0 and come out as an empty packet. */
static bool ipv6_parse(struct ip_packet *out, const uint8_t *p, size_t len)
{
    if (len < IPV6_HEADER_LEN) {
        return false;
    }
    *out = (struct ip_packet){
        .src = addr_at(p + 8, 6),
        .dst = addr_at(p + 24, 6),
        .len = (size_t)IPV6_HEADER_LEN + get_u16(p + 4),
        .header_len = IPV6_HEADER_LEN,
        .proto = p[6],
        .hop_limit = p[7],
        .first = true,
        .dont_fragment = true,
    };
    return out->len <= len;
}

bool ip_parse(struct ip_packet *out, const uint8_t *packet, size_t len)
{
    if (len == 0) {
        return false;
    }
    switch (packet[0] >> 4) {
    case 4:
        return ipv4_parse(out, packet, len);
    case 6:
        return ipv6_parse(out, packet, len);
    default:
        return false;
    }
}

static size_t ipv4_put(uint8_t *p, const struct addr *src, const struct addr *dst, uint8_t proto,
                       size_t upper_len)
{
    memset(p, 0, IPV4_HEADER_LEN);
    p[0] = 0x45;
    put_u16(p + 2, (uint16_t)(IPV4_HEADER_LEN + upper_len));
    put_u16(p + 6, IPV4_DONT); /* and so an id of zero is fine (RFC 6864 4.1) */
    p[8] = HOP_LIMIT;
    p[9] = proto;
    memcpy(p + 12, src->b, 4);
    memcpy(p + 16, dst->b, 4);
    checksum_put(p + 10, checksum_add(0, p, IPV4_HEADER_LEN));
    return IPV4_HEADER_LEN;
}

static size_t ipv6_put(uint8_t *p, const struct addr *src, const struct addr *dst, uint8_t proto,
                       size_t upper_len)
{
    memset(p, 0, IPV6_HEADER_LEN);
    p[0] = 0x60;
    put_u16(p + 4, (uint16_t)upper_len);
    p[6] = proto;
    p[7] = HOP_LIMIT;
    memcpy(p + 8, src->b, 16);
    memcpy(p + 24, dst->b, 16);
    return IPV6_HEADER_LEN;
}

size_t ip_put(uint8_t *packet, const struct addr *src, const struct addr *dst, uint8_t proto,
              size_t upper_len)
{
    bool v4 = src->family == 4;
    CHECK(src->family == dst->family);
    CHECK(upper_len <= (size_t)UINT16_MAX - (v4 ? IPV4_HEADER_LEN : 0));
    return v4 ? ipv4_put(packet, src, dst, proto, upper_len)
              : ipv6_put(packet, src, dst, proto, upper_len);
}

static bool udp_checksum_ok(const struct ip_packet *ip, const uint8_t *udp, size_t len)
{
    if (udp[6] == 0 && udp[7] == 0) {
        return ip->src.family == 4; /* RFC 8200 8.1: IPv6 has no "none" */
    }
    return checksum_ok(
        checksum_add(checksum_pseudo(&ip->src, &ip->dst, IP_PROTO_UDP, (uint32_t)len), udp, len));
}

bool udp_parse(struct udp_datagram *out, const uint8_t *packet, size_t len)
{
    struct ip_packet ip;
    if (!ip_parse(&ip, packet, len) || ip.proto != IP_PROTO_UDP || ip.fragment ||
        ip.len < ip.header_len + UDP_HEADER_LEN) {
        return false;
    }
    const uint8_t *udp = packet + ip.header_len;
    size_t udp_len = get_u16(udp + 4);
    if (udp_len < UDP_HEADER_LEN || udp_len > ip.len - ip.header_len ||
        !udp_checksum_ok(&ip, udp, udp_len)) {
        return false;
    }
    *out = (struct udp_datagram){
        .src = {.addr = ip.src, .port = get_u16(udp)},
        .dst = {.addr = ip.dst, .port = get_u16(udp + 2)},
        .payload = udp + UDP_HEADER_LEN,
        .len = udp_len - UDP_HEADER_LEN,
    };
    return true;
}

size_t udp_frame(uint8_t *out, size_t size, const struct mac *dst_mac, const struct mac *src_mac,
                 const struct endpoint *src, const struct endpoint *dst, const void *payload,
                 size_t payload_len)
{
    bool v4 = src->addr.family == 4;
    size_t headers = (v4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN) + UDP_HEADER_LEN;
    if (src->addr.family != dst->addr.family || payload_len > UINT16_MAX - headers ||
        ETH_HEADER_LEN + headers + payload_len > size) {
        return 0;
    }
    size_t udp_len = UDP_HEADER_LEN + payload_len;
    eth_put(out, dst_mac, src_mac, v4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6);
    uint8_t *udp = out + ETH_HEADER_LEN;
    udp += ip_put(udp, &src->addr, &dst->addr, IP_PROTO_UDP, udp_len);
    put_u16(udp, src->port);
    put_u16(udp + 2, dst->port);
    put_u16(udp + 4, (uint16_t)udp_len);
    put_u16(udp + 6, 0);
    memcpy(udp + UDP_HEADER_LEN, payload, payload_len);
    uint64_t sum = checksum_pseudo(&src->addr, &dst->addr, IP_PROTO_UDP, (uint32_t)udp_len);
    checksum_put_udp(udp + 6, checksum_add(sum, udp, udp_len));
    return ETH_HEADER_LEN + headers + payload_len;
}
