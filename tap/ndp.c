#include "tap/ndp.h"

#include <string.h>

#include "overlay/core/wire.h"
#include "tap/checksum.h"
#include "tap/icmp.h"

enum {
    NDP_HOP_LIMIT = 255, /* RFC 4861 7.1.1: nobody off the link can have sent it */
    NDP_FIXED_LEN = 24,  /* both messages, before their options */
    NDP_OPTION_SOURCE = 1,
    NDP_OPTION_TARGET = 2,
    NDP_SOLICITED = 0x40,
    NDP_OVERRIDE = 0x20,
};

bool ndp_is_message(const struct ip_packet *ip, const uint8_t *packet)
{
    return ip->src.family == 6 && ip->proto == IP_PROTO_ICMPV6 && ip->len > IPV6_HEADER_LEN &&
           packet[IPV6_HEADER_LEN] >= ICMP6_ROUTER_SOLICITATION &&
           packet[IPV6_HEADER_LEN] <= ICMP6_REDIRECT;
}

/* Every option has a length that is not zero (RFC 4861 4.6); `has_source` tells of one kind. */
static bool walk_options(struct reader *r, bool *has_source)
{
    *has_source = false;
    while (reader_left(r) > 0) {
        uint8_t type = read_u8(r);
        uint8_t units = read_u8(r);
        if (units == 0) {
            return false;
        }
        (void)read_bytes(r, units * 8u - 2);
        *has_source |= type == NDP_OPTION_SOURCE;
    }
    return !r->failed;
}

static bool is_solicited_node(const struct addr *a)
{
    static const uint8_t prefix[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    return memcmp(a->b, prefix, sizeof(prefix)) == 0;
}

static bool is_solicitation(const struct ip_packet *ip, const uint8_t *icmp, size_t len)
{
    if (ip->src.family != 6 || ip->proto != IP_PROTO_ICMPV6 || ip->hop_limit != NDP_HOP_LIMIT ||
        len < NDP_FIXED_LEN) {
        return false;
    }
    uint64_t pseudo = checksum_pseudo(&ip->src, &ip->dst, IP_PROTO_ICMPV6, (uint32_t)len);
    return icmp[0] == ICMP6_NEIGHBOUR_SOLICITATION && icmp[1] == 0 &&
           checksum_ok(checksum_add(pseudo, icmp, len));
}

bool ndp_parse(struct ndp_solicitation *out, const uint8_t *frame, size_t len)
{
    struct eth_header eth;
    struct ip_packet ip;
    if (!eth_parse(&eth, frame, len) || eth.type != ETH_TYPE_IPV6 || mac_is_multicast(&eth.src) ||
        !ip_parse(&ip, frame + ETH_HEADER_LEN, len - ETH_HEADER_LEN)) {
        return false;
    }
    const uint8_t *icmp = frame + ETH_HEADER_LEN + ip.header_len;
    size_t icmp_len = ip.len - ip.header_len;
    if (!is_solicitation(&ip, icmp, icmp_len)) {
        return false;
    }
    *out = (struct ndp_solicitation){.mac = eth.src, .source = ip.src, .target = addr_v6(icmp + 8)};
    struct reader options = reader_of(icmp + NDP_FIXED_LEN, icmp_len - NDP_FIXED_LEN);
    bool has_source;
    if (!walk_options(&options, &has_source) || addr_is_multicast(&out->target)) {
        return false;
    }
    return !addr_is_unspecified(&ip.src) || (is_solicited_node(&ip.dst) && !has_source);
}

bool ndp_is_question(const struct ndp_solicitation *ns)
{
    return !addr_is_unspecified(&ns->source) && !addr_is_multicast(&ns->source);
}

void ndp_answer(uint8_t out[NDP_ADVERTISEMENT_FRAME_LEN], const struct ndp_solicitation *ns,
                const struct mac *mac)
{
    enum { ICMP_LEN = NDP_FIXED_LEN + 8 };
    eth_put(out, &ns->mac, mac, ETH_TYPE_IPV6);
    uint8_t *packet = out + ETH_HEADER_LEN;
    (void)ip_put(packet, &ns->target, &ns->source, IP_PROTO_ICMPV6, ICMP_LEN);
    packet[7] = NDP_HOP_LIMIT;
    uint8_t *icmp = packet + IPV6_HEADER_LEN;
    struct writer w = writer_of(icmp, ICMP_LEN);
    write_u8(&w, ICMP6_NEIGHBOUR_ADVERTISEMENT);
    write_u8(&w, 0);
    write_u16(&w, 0);
    write_u32(&w, (uint32_t)(NDP_SOLICITED | NDP_OVERRIDE) << 24);
    write_bytes(&w, ns->target.b, 16);
    write_u8(&w, NDP_OPTION_TARGET);
    write_u8(&w, 1);
    write_bytes(&w, mac->b, 6);
    uint64_t pseudo = checksum_pseudo(&ns->target, &ns->source, IP_PROTO_ICMPV6, ICMP_LEN);
    checksum_put(icmp + 2, checksum_add(pseudo, icmp, ICMP_LEN));
}
