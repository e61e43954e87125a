/*
 * eth.h - Ethernet II, IPv4 (RFC 791), IPv6 (RFC 8200) and UDP (RFC 768) as far as a virtual device
 * needs them: reading headers, and wrapping a UDP payload into a frame.
 *
 * Pure functions over bytes. Readers never look past the length they are given and refuse headers
 * whose own lengths lie; what follows an IP packet in its frame (Ethernet pads to 60 bytes) is left
 * out of every length that they return.
 */
#ifndef PEAL_TAP_ETH_H
#define PEAL_TAP_ETH_H

#include "overlay/core/addr.h"

enum {
    ETH_HEADER_LEN = 14,
    IPV4_HEADER_LEN = 20, /* without options */
    IPV6_HEADER_LEN = 40,
    UDP_HEADER_LEN = 8,
};

enum eth_type {
    ETH_TYPE_IPV4 = 0x0800,
    ETH_TYPE_ARP = 0x0806,
    ETH_TYPE_IPV6 = 0x86dd,
};

enum ip_proto {
    IP_PROTO_ICMP = 1,
    IP_PROTO_TCP = 6,
    IP_PROTO_UDP = 17,
    IP_PROTO_ICMPV6 = 58,
};

struct eth_header {
    struct mac dst, src;
    uint16_t type;
};

/* What an IP header says. */
struct ip_packet {
    struct addr src, dst;
    size_t len;         /* of the whole packet, padding left out */
    size_t header_len;  /* IPv6: 40; extension headers are not walked */
    uint8_t proto;      /* IPv6: the first next header */
    uint8_t hop_limit;  /* IPv4: TTL */
    bool fragment;      /* IPv4 only: a part of a packet, the first one included */
    bool first;         /* IPv4 only: starts at offset 0, so the upper header is here */
    bool dont_fragment; /* IPv6: always */
};

struct udp_datagram {
    struct endpoint src, dst;
    const uint8_t *payload; /* borrowed from the packet */
    size_t len;
};

bool mac_is_multicast(const struct mac *mac); /* broadcast included */

bool eth_parse(struct eth_header *out, const uint8_t *frame, size_t len);
void eth_put(uint8_t frame[ETH_HEADER_LEN], const struct mac *dst, const struct mac *src,
             uint16_t type);

/* Version 4 or 6 by its first nibble. The header's checksum is left to the kernel that gets it. */
bool ip_parse(struct ip_packet *out, const uint8_t *packet, size_t len);
/* Writes a header without options and its checksum; DF set, TTL or hop limit 64. Families equal. */
size_t ip_put(uint8_t *packet, const struct addr *src, const struct addr *dst, uint8_t proto,
              size_t upper_len);

/* The datagram of an unfragmented IP packet; a wrong checksum is refused, and none on IPv6 too. */
bool udp_parse(struct udp_datagram *out, const uint8_t *packet, size_t len);
/* A whole frame around payload into out. Returns its length; 0 when it does not fit into size or
 * into an IP packet, or when the families of src and dst differ. */
size_t udp_frame(uint8_t *out, size_t size, const struct mac *dst_mac, const struct mac *src_mac,
                 const struct endpoint *src, const struct endpoint *dst, const void *payload,
                 size_t payload_len);

#endif
