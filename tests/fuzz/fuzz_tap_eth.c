// link: peal_tap
/* Every reader of Ethernet, IP, ARP, NDP, ICMP and UDP over one frame; what they return lies
 * inside. */
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "tap/arp.h"
#include "tap/icmp.h"
#include "tap/ndp.h"
#include "tap/plane.h"

static void read_ip(const uint8_t *packet, size_t len)
{
    struct ip_packet ip;
    struct udp_datagram udp;
    if (ip_parse(&ip, packet, len)) {
        CHECK(ip.len <= len && ip.header_len <= ip.len && ip.src.family == ip.dst.family);
        CHECK(ip.src.family == (packet[0] >> 4));
        (void)ndp_is_message(&ip, packet);
    }
    if (udp_parse(&udp, packet, len)) {
        CHECK(udp.payload >= packet && udp.payload + udp.len <= packet + len);
    }
}

static void answer(const uint8_t *frame, size_t len)
{
    static uint8_t out[70000];
    struct arp_packet arp;
    struct ndp_solicitation ns;
    if (arp_parse(&arp, frame, len) && arp_is_question(&arp)) {
        arp_answer(out, &arp, &plane_virtual_mac);
        CHECK(arp_parse(&arp, out, ARP_FRAME_LEN) && arp.op == ARP_REPLY);
    }
    if (ndp_parse(&ns, frame, len) && ndp_is_question(&ns)) {
        ndp_answer(out, &ns, &plane_virtual_mac);
    }
    size_t n = icmp_echo_reply(out, sizeof(out), frame, len);
    CHECK(n <= sizeof(out) && icmp_echo_reply(out, sizeof(out), out, n) == 0);
    struct addr from = addr_v4(0x0a4d0001);
    n = icmp_too_big(out, sizeof(out), frame, len, &from, 1300);
    CHECK(n <= ICMP_TOO_BIG_FRAME_MAX && icmp_too_big(out, sizeof(out), out, n, &from, 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eth_header eth;
    if (eth_parse(&eth, data, size)) {
        read_ip(data + ETH_HEADER_LEN, size - ETH_HEADER_LEN);
    }
    read_ip(data, size);
    answer(data, size);
    return 0;
}
