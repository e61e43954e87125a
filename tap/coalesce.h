/*
 * coalesce.h - joining packets of one flow that arrive together into super-frames, each written to
 * the device once with a virtio header. The counterpart of segment.h.
 *
 * Joined is only what a kernel that cuts the super-frame again would make the same packets of:
 * consecutive TCP segments that carry data and differ in nothing but length, id, sequence number
 * and PSH, or UDP datagrams; all of one size but the last, in one VLAN; no IPv4 options, no
 * fragments, no IPv6 extension headers. A super-frame tells the kernel that checksums need no look.
 * So a packet joins only when its own is right, or was vouched for by the peer that sent it (RFC
 * 9293 3.1 leaves no room for another choice).
 *
 * Packets of one flow are written in the order in which they were added; flows may overtake each
 * other until the next flush. Nothing is copied: packets must stay where they are until then, and
 * nothing waits: whoever adds flushes at the end of its round.
 */
#ifndef PEAL_TAP_COALESCE_H
#define PEAL_TAP_COALESCE_H

#include <sys/uio.h>

#include "tap/segment.h"
#include "tap/vlan.h"

enum {
    COALESCE_FLOWS = 16,    /* with packets waiting; at the next one all are written */
    COALESCE_SEGMENTS = 64, /* of one super-frame; then the next one begins */
    COALESCE_VECTORS = 2 + COALESCE_SEGMENTS,
};

/* The frame of one packet. Its Ethernet header is in front of it, without its VLAN tags, for which
 * there is room in front of that. */
struct coalesce_packet {
    uint8_t *frame;
    struct vlan_tags tags;
    struct ip_packet ip;
    uint16_t network;
    bool undone; /* its transport checksum is left undone and vouched for */
    bool uso;    /* the device takes UDP super-frames */
};

/* Writes one frame to the device; vectors[0] is the virtio header. */
typedef void coalesce_write(void *ctx, uint16_t network, const struct iovec *vectors, int count);

struct coalesce_flow {
    struct coalesce_packet first;
    struct transport at;
    unsigned segments;
    size_t size;       /* payload of each but the last */
    size_t len;        /* of all payloads */
    uint16_t id;       /* IPv4: of the last */
    uint32_t sequence; /* TCP: of the next */
    bool closed;       /* the last one was short, or pushed */
    struct iovec vectors[COALESCE_VECTORS];
};

struct coalesce {
    coalesce_write *write;
    void *ctx;
    unsigned count;
    struct coalesce_flow flows[COALESCE_FLOWS];
};

void coalesce_init(struct coalesce *c, coalesce_write *write, void *ctx);
/* The packet's bytes are changed, and borrowed until the next flush. Undone are only packets that
 * transport_parse knows. */
void coalesce_add(struct coalesce *c, const struct coalesce_packet *p);
void coalesce_flush(struct coalesce *c);

#endif
