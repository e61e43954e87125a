#include "tap/icmp.h"

#include <string.h>

#include "overlay/core/wire.h"
#include "tap/checksum.h"

enum {
    ICMP4_FRAGMENTATION_NEEDED = 4,
    ICMP4_QUOTE_MAX = 548, /* RFC 1812 4.3.2.3: the whole message at most 576 bytes */
    ICMP6_QUOTE_MAX = 1280 - IPV6_HEADER_LEN - ICMP_HEADER_LEN,
};

static uint64_t icmp_sum(const struct addr *src, const struct addr *dst, const uint8_t *icmp,
                         size_t len)
{
    uint64_t pseudo =
        src->family == 6 ? checksum_pseudo(src, dst, IP_PROTO_ICMPV6, (uint32_t)len) : 0;
    return checksum_add(pseudo, icmp, len);
}

static bool is_icmp(const struct ip_packet *ip)
{
    return ip->proto == (ip->src.family == 4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6);
}

static bool is_echo_request(const struct ip_packet *ip, const uint8_t *packet)
{
    if (!is_icmp(ip) || ip->fragment || ip->len < ip->header_len + ICMP_HEADER_LEN) {
        return false;
    }
    const uint8_t *icmp = packet + ip->header_len;
    uint8_t request = ip->src.family == 4 ? ICMP4_ECHO_REQUEST : ICMP6_ECHO_REQUEST;
    return icmp[0] == request && icmp[1] == 0 &&
           checksum_ok(icmp_sum(&ip->src, &ip->dst, icmp, ip->len - ip->header_len));
}

/* Fills in the checksum of an ICMP message that follows its IP header and returns the frame's
 * length. */
static size_t finish(uint8_t *icmp, size_t icmp_len, const struct addr *src, const struct addr *dst,
                     size_t header_len)
{
    put_u16(icmp + 2, 0);
    checksum_put(icmp + 2, icmp_sum(src, dst, icmp, icmp_len));
    return ETH_HEADER_LEN + header_len + icmp_len;
}

size_t icmp_echo_reply(uint8_t *out, size_t size, const uint8_t *frame, size_t len)
{
    struct eth_header eth;
    struct ip_packet ip;
    if (!eth_parse(&eth, frame, len) ||
        !ip_parse(&ip, frame + ETH_HEADER_LEN, len - ETH_HEADER_LEN) ||
        !is_echo_request(&ip, frame + ETH_HEADER_LEN)) {
        return 0;
    }
    size_t icmp_len = ip.len - ip.header_len;
    size_t own_header_len = ip.src.family == 4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
    if (ETH_HEADER_LEN + own_header_len + icmp_len > size) {
        return 0;
    }
    eth_put(out, &eth.src, &eth.dst, eth.type);
    uint8_t *packet = out + ETH_HEADER_LEN;
    uint8_t *icmp = packet + ip_put(packet, &ip.dst, &ip.src, ip.proto, icmp_len);
    memcpy(icmp, frame + ETH_HEADER_LEN + ip.header_len, icmp_len);
    icmp[0] = ip.src.family == 4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY;
    return finish(icmp, icmp_len, &ip.dst, &ip.src, own_header_len);
}

/* ICMP that is not an error: queries of IPv4 one by one, in ICMPv6 everything from 128 (RFC
 * 4443 2.1). */
static bool is_icmp_query(uint8_t family, uint8_t type)
{
    return family == 6 ? type >= 128 : type == ICMP4_ECHO_REQUEST || type == ICMP4_ECHO_REPLY;
}

static bool may_be_told(const struct eth_header *eth, const struct ip_packet *ip,
                        const uint8_t *packet)
{
    if (mac_is_multicast(&eth->dst) || addr_is_multicast(&ip->dst) || addr_is_multicast(&ip->src) ||
        addr_is_unspecified(&ip->src) || !ip->first || !ip->dont_fragment) {
        return false;
    }
    return !is_icmp(ip) ||
           (ip->len > ip->header_len && is_icmp_query(ip->src.family, packet[ip->header_len]));
}

static size_t put_quote(uint8_t *icmp, const struct ip_packet *ip, const uint8_t *packet,
                        uint16_t mtu)
{
    bool v4 = ip->src.family == 4;
    size_t quote_max = v4 ? ICMP4_QUOTE_MAX : ICMP6_QUOTE_MAX;
    size_t quote = ip->len < quote_max ? ip->len : quote_max;
    icmp[0] = v4 ? ICMP4_UNREACHABLE : ICMP6_PACKET_TOO_BIG;
    icmp[1] = v4 ? ICMP4_FRAGMENTATION_NEEDED : 0;
    put_u16(icmp + 2, 0);
    put_u32(icmp + 4, mtu); /* RFC 1191: 16 bits unused, 16 bits MTU; RFC 4443 3.2: 32 bits MTU */
    memcpy(icmp + ICMP_HEADER_LEN, packet, quote);
    return ICMP_HEADER_LEN + quote;
}

size_t icmp_too_big(uint8_t *out, size_t size, const uint8_t *frame, size_t len,
                    const struct addr *from, uint16_t mtu)
{
    struct eth_header eth;
    struct ip_packet ip;
    if (size < ICMP_TOO_BIG_FRAME_MAX || !eth_parse(&eth, frame, len)) {
        return 0;
    }
    const uint8_t *packet = frame + ETH_HEADER_LEN;
    if (!ip_parse(&ip, packet, len - ETH_HEADER_LEN) || from->family != ip.src.family ||
        !may_be_told(&eth, &ip, packet)) {
        return 0;
    }
    bool v4 = ip.src.family == 4;
    size_t header_len = v4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
    uint8_t *icmp = out + ETH_HEADER_LEN + header_len;
    size_t icmp_len = put_quote(icmp, &ip, packet, mtu);
    eth_put(out, &eth.src, &eth.dst, v4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6);
    (void)ip_put(out + ETH_HEADER_LEN, from, &ip.src, v4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6,
                 icmp_len);
    return finish(icmp, icmp_len, from, &ip.src, header_len);
}
