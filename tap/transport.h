/*
 * transport.h - TCP (RFC 9293) and UDP (RFC 768) inside an IP packet, as far as their lengths and
 * checksums go.
 *
 * A checksum may be "undone": the kernel left it to its device, and between peers it stays so
 * (PACKET_FLAG_CSUM_UNDONE), since the AEAD covers the way between. Then the field holds nothing of
 * worth until it is finished, or is given back to a kernel that is told so.
 */
#ifndef PEAL_TAP_TRANSPORT_H
#define PEAL_TAP_TRANSPORT_H

#include "tap/eth.h"

enum {
    TCP_HEADER_LEN = 20, /* without options */
    TCP_SEQUENCE = 4,    /* offsets in the header */
    TCP_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_CHECKSUM = 16,
    UDP_LENGTH = 4,
    UDP_CHECKSUM = 6,
};

enum tcp_flag { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_ACK = 0x10, TCP_CWR = 0x80 };

struct transport {
    uint8_t proto;
    size_t start;    /* of its header, from the start of the IP packet */
    size_t payload;  /* of what it carries */
    size_t checksum; /* of its checksum */
};

/* False: neither, a fragment, behind IPv6 extension headers, or of lengths that lie. */
bool transport_parse(struct transport *t, const struct ip_packet *ip, const uint8_t *packet);
/* The checksum is there and right. */
bool transport_verify(const struct transport *t, const struct ip_packet *ip, const uint8_t *packet);
/* Writes the checksum, whatever the field held. */
void transport_finish(const struct transport *t, const struct ip_packet *ip, uint8_t *packet);
/* Writes what a kernel that shall finish it expects: the sum of the pseudo header, for a packet
 * whose TCP or UDP part has `len` bytes. */
void transport_leave(const struct transport *t, const struct ip_packet *ip, uint8_t *packet,
                     size_t len);

#endif
