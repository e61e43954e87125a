/*
 * icmp.h - the few ICMP (RFC 792) and ICMPv6 (RFC 4443) messages that peal itself sends into its
 * own device: echo replies for the service address, and "too big" for packets that no path carries.
 */
#ifndef PEAL_TAP_ICMP_H
#define PEAL_TAP_ICMP_H

#include "tap/eth.h"

enum icmp_type {
    ICMP4_ECHO_REPLY = 0,
    ICMP4_UNREACHABLE = 3, /* code 4: fragmentation needed and DF set (RFC 1191 4) */
    ICMP4_ECHO_REQUEST = 8,
    ICMP6_PACKET_TOO_BIG = 2,
    ICMP6_ECHO_REQUEST = 128,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_ROUTER_SOLICITATION = 133,
    ICMP6_NEIGHBOUR_SOLICITATION = 135,
    ICMP6_NEIGHBOUR_ADVERTISEMENT = 136,
    ICMP6_REDIRECT = 137,
};

enum {
    ICMP_HEADER_LEN = 8,
    ICMP_TOO_BIG_FRAME_MAX = ETH_HEADER_LEN + 1280, /* RFC 4443 2.4(c); IPv4 stays below */
};

/* The reply to a frame that holds an unfragmented echo request with a right checksum; out may not
 * overlap frame. Returns the reply's length, or 0: no such request, or more than size. */
size_t icmp_echo_reply(uint8_t *out, size_t size, const uint8_t *frame, size_t len);

/*
 * Tells the sender of `frame` that packets may have at most `mtu` bytes. `from` is the router that
 * says so; of the packet's family. Returns the length, or 0 where none may be sent: IPv4 without
 * DF, not a first fragment, an ICMP error, to or from anything but a unicast address (RFC
 * 1122 3.2.2, RFC 4443 2.4(e)), or size below ICMP_TOO_BIG_FRAME_MAX.
 */
size_t icmp_too_big(uint8_t *out, size_t size, const uint8_t *frame, size_t len,
                    const struct addr *from, uint16_t mtu);

#endif
