/*
 * limits.h - the sizes and limits that more than one room must agree on. A limit that only one
 * file uses stands in that file.
 */
#ifndef PEAL_CORE_LIMITS_H
#define PEAL_CORE_LIMITS_H

enum {
    PACKET_MAX = 1500,       /* the largest packet we put on a UDP path that is not segmented */
    PACKET_HEADER_LEN = 16,  /* control and data: type, flags, zero, index, counter */
    PACKET_TAG_LEN = 16,
    RELAY_HEADER_LEN = 8,    /* in front of a packet on its way to or from a relay: type, zero, channel */
    MESSAGE_MAX = 1280,      /* a control message's body, so that it fits any path with its route header */
    FRAME_MAX = 65550,       /* an inner frame with a super-frame's length */
    NETWORKS_MAX = 64,       /* groups and the public overlay in one daemon */
    STREAM_HEADER_LEN = 2,   /* in front of each packet on a TCP connection: its length (design 3) */
    STREAM_PACKET_MAX = 9216 + 32, /* the largest there: the largest device MTU, sealed */
    PATH_TCP_ACCEPTED = 0x40000000, /* in the number of a TCP connection that the other end opened */
};

/* Packet types: the first byte of every datagram on our port. 0x00-0x3f is STUN (RFC 8489 5). */
enum packet_type {
    PACKET_HANDSHAKE = 0x80,
    PACKET_COOKIE = 0x81,
    PACKET_CONTROL = 0x82,
    PACKET_DATA = 0x83,
    PACKET_RELAY = 0x84,
};

/* Flags of PACKET_DATA, authenticated. */
enum packet_flag {
    PACKET_FLAG_KIND_MASK = 0x03,
    PACKET_FLAG_IP = 0x01,       /* the payload is an IPv4 or IPv6 packet */
    PACKET_FLAG_ETHERNET = 0x02, /* the payload is an Ethernet frame without FCS */
    PACKET_FLAG_CSUM_UNDONE = 0x04, /* inner checksum undone and vouched for by the sender */
};

#endif
