/*
 * arp.h - address resolution (RFC 826) for IPv4 on Ethernet: reading a request, writing the answer.
 *
 * Whom to answer for is the caller's decision. Two kinds of request want no answer here: probes
 * (sender 0.0.0.0, RFC 5227 2.1.1) ask whether an address is free, which in peal the DHT says and
 * not the wire; announcements (sender equals target) ask nothing.
 */
#ifndef PEAL_TAP_ARP_H
#define PEAL_TAP_ARP_H

#include "tap/eth.h"

enum { ARP_FRAME_LEN = ETH_HEADER_LEN + 28 };

enum arp_op { ARP_REQUEST = 1, ARP_REPLY = 2 };

struct arp_packet {
    enum arp_op op;
    struct mac sender_mac;
    struct addr sender, target;
};

/* False: not ARP for IPv4 on Ethernet, too short, another operation, or a multicast sender. */
bool arp_parse(struct arp_packet *out, const uint8_t *frame, size_t len);
/* A request that is neither a probe nor an announcement. */
bool arp_is_question(const struct arp_packet *arp);
/* "request->target is at `mac`", to its sender. */
void arp_answer(uint8_t out[ARP_FRAME_LEN], const struct arp_packet *request,
                const struct mac *mac);

#endif
