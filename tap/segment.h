/*
 * segment.h - cutting a super-frame, which the kernel hands over whole with a virtio header, into
 * the packets that it stands for: TCP segments (TSO) or UDP datagrams (USO) of one size but the
 * last.
 *
 * Every packet gets the super-frame's headers with its own lengths, IPv4 id (counted up), sequence
 * number, and checksums. FIN and PSH are left to the last, CWR to the first (RFC 3168 6.1.2).
 *
 * Pure functions over bytes. The header's word is taken for nothing that the packet itself does not
 * bear out; what lies is refused whole.
 */
#ifndef PEAL_TAP_SEGMENT_H
#define PEAL_TAP_SEGMENT_H

#include <linux/virtio_net.h>

#include "tap/transport.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* A super-frame on its way through the knife. */
struct segmenter {
    const uint8_t *packet; /* the IP packet; borrowed */
    size_t len;
    struct transport at;
    size_t size;        /* payload of each but the last */
    size_t taken;       /* offset of what was not cut off yet */
    bool v4;            /* the IP version */
    bool plain;         /* no IPv6 extension headers: its checksums may be left undone */
    uint16_t id;        /* IPv4: of the next packet */
    uint32_t sequence;  /* TCP: of the next packet */
    uint64_t base;      /* pseudo header without its length */
    uint64_t ipv4_base; /* IPv4 header without length, id and checksum */
};

/* `header` belongs to a frame that holds `packet` behind its Ethernet header. False: the header is
 * not of a kind that we asked for, or lies about the packet. */
bool segment_begin(struct segmenter *s, const uint8_t *packet, const struct ip_packet *ip,
                   const struct virtio_net_hdr *header);
/* The length of the longest packet that will come out. */
size_t segment_max(const struct segmenter *s);
/* Writes the next packet, with its transport checksum finished, or left undone. Returns its length;
 * 0 when there is none left. */
size_t segment_next(struct segmenter *s, uint8_t *out, bool undone);

/* A frame without segments whose checksum at header->csum_start was left to us. False: it lies
 * beyond the `len` bytes of the frame. */
bool segment_finish(uint8_t *frame, size_t len, const struct virtio_net_hdr *header);

#endif
