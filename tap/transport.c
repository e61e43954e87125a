#include "tap/transport.h"

#include "overlay/core/wire.h"
#include "tap/checksum.h"

static bool tcp_parse(struct transport *t, const struct ip_packet *ip, const uint8_t *packet)
{
    if (ip->len < t->start + TCP_HEADER_LEN) {
        return false;
    }
    size_t header_len = (packet[t->start + TCP_OFFSET] >> 4) * 4u;
    t->payload = t->start + header_len;
    t->checksum = t->start + TCP_CHECKSUM;
    return header_len >= TCP_HEADER_LEN && t->payload <= ip->len;
}

static bool udp_lengths_ok(struct transport *t, const struct ip_packet *ip, const uint8_t *packet)
{
    t->payload = t->start + UDP_HEADER_LEN;
    t->checksum = t->start + UDP_CHECKSUM;
    return ip->len >= t->payload && get_u16(packet + t->start + UDP_LENGTH) == ip->len - t->start;
}

bool transport_parse(struct transport *t, const struct ip_packet *ip, const uint8_t *packet)
{
    *t = (struct transport){.proto = ip->proto, .start = ip->header_len};
    if (ip->fragment) {
        return false;
    }
    return ip->proto == IP_PROTO_TCP   ? tcp_parse(t, ip, packet)
           : ip->proto == IP_PROTO_UDP ? udp_lengths_ok(t, ip, packet)
                                       : false;
}

static uint64_t pseudo_sum(const struct transport *t, const struct ip_packet *ip, size_t len)
{
    return checksum_pseudo(&ip->src, &ip->dst, t->proto, (uint32_t)len);
}

bool transport_verify(const struct transport *t, const struct ip_packet *ip, const uint8_t *packet)
{
    size_t len = ip->len - t->start;
    if (t->proto == IP_PROTO_UDP && get_u16(packet + t->checksum) == 0) {
        return false;
    }
    return checksum_ok(checksum_add(pseudo_sum(t, ip, len), packet + t->start, len));
}

void transport_finish(const struct transport *t, const struct ip_packet *ip, uint8_t *packet)
{
    size_t len = ip->len - t->start;
    put_u16(packet + t->checksum, 0);
    uint64_t sum = checksum_add(pseudo_sum(t, ip, len), packet + t->start, len);
    if (t->proto == IP_PROTO_UDP) {
        checksum_put_udp(packet + t->checksum, sum);
    } else {
        checksum_put(packet + t->checksum, sum);
    }
}

void transport_leave(const struct transport *t, const struct ip_packet *ip, uint8_t *packet,
                     size_t len)
{
    checksum_put_sum(packet + t->checksum, pseudo_sum(t, ip, len));
}
