/*
 * plane.h - the data plane: worker threads that move frames between the TAP queues of all networks
 * and the UDP socket, in batches, by the published snapshot.
 *
 * What a worker cannot decide it hands to the control thread through a bounded one-writer ring: the
 * control packets that arrived on the UDP socket, frames to an address without a usable peer,
 * frames for the service address, packets whose inner source is not known to be the sender's. When
 * a ring is full the newest item is dropped and counted.
 *
 * ARP and neighbour solicitations for addresses in the network that are not ours are answered by
 * the worker with the virtual MAC; the first question for an address without a peer is also handed
 * up. Everything else that is not unicast IP is dropped and counted.
 *
 * Where device, kernel and path allow it, TCP and UDP travel in super-frames of up to 64 KiB, cut
 * and joined here, and inner checksums are left undone between peers. The control thread sees none
 * of that: what is handed to it are ordinary packets with finished checksums.
 *
 * Frames with VLAN tags travel with them (PACKET_FLAG_ETHERNET) between the same addresses as
 * others, once the peer is known to the workers: the control thread carries no tags, so what would
 * be handed to it is dropped instead, and only asks for the peer.
 *
 * TCP connections that carry sessions are handed over to the workers too (stream.h): then packets
 * of any kind come and go by them, in batches, and the control thread sends by plane_stream_send.
 *
 * With several workers each has a queue of the device and a socket of its own on the same port; the
 * kernel shares out flows and peers; a connection is read by one of them. Any worker may seal and
 * open packets of any session.
 *
 * Threads: all functions here belong to the control thread unless they say otherwise.
 */
#ifndef PEAL_TAP_PLANE_H
#define PEAL_TAP_PLANE_H

#include "tap/device.h"
#include "tap/forward.h"

extern const struct mac plane_virtual_mac; /* FE:FD:00:00:00:00 */

enum plane_item_kind {
    PLANE_PACKET, /* a datagram that workers do not open: handshake, cookie, control, STUN, and what
                     came over a relay but data */
    PLANE_FRAME,  /* from the device: an Ethernet frame to an address without a usable peer */
    PLANE_LOCAL,  /* from the device: an Ethernet frame for the service address, or DHCP */
    PLANE_RESOLVE,    /* somebody asked for `addr` (ARP, NDP) and no peer is known; no bytes */
    PLANE_UNVERIFIED, /* from `token`: an opened inner packet whose source is not known to be its
                         own; kind flag in `flags`; its checksum is finished */
    PLANE_ROAMED,     /* an authenticated data packet of `token` came from `from`, which is not its
                         path; no bytes */
    PLANE_STREAM_ENDED, /* nothing comes over the connection `conn` any more; no bytes. In `flags`:
                           what came last was no packet. May be missing: plane_stream_ended */
};

struct plane_item {
    enum plane_item_kind kind;
    uint16_t network;
    uint8_t flags;
    uint32_t token;
    struct endpoint from;
    uint32_t conn; /* PLANE_PACKET: it came over this connection, and not by UDP; else 0 */
    struct addr addr;
    const uint8_t *bytes; /* borrowed until the next plane_next */
    size_t len;
};

/* Why a packet was dropped; names for metrics by plane_drop_text. */
enum plane_drop {
    PLANE_DROP_RUNT,        /* shorter than its header */
    PLANE_DROP_TYPE,        /* first byte of no known packet */
    PLANE_DROP_NO_SESSION,  /* data with an index of nobody */
    PLANE_DROP_FORGED,      /* did not authenticate */
    PLANE_DROP_REPLAY,      /* counter seen before or too old */
    PLANE_DROP_INNER,       /* inner packet malformed */
    PLANE_DROP_SOURCE,      /* frame from the device with a source that is not ours */
    PLANE_DROP_DESTINATION, /* inner destination is not ours */
    PLANE_DROP_TAGGED, /* with VLAN tags, to or from an address whose peer the workers do not know
                          yet, or for the service address */
    PLANE_DROP_NOT_UNICAST, /* multicast, broadcast, or no protocol that we carry */
    PLANE_DROP_RING_FULL,   /* the control thread was behind */
    PLANE_DROP_SEND,        /* the kernel refused the datagram */
    PLANE_DROP_BACKLOG,     /* the link is slower than what is sent to it (backlog.h) */
    PLANE_DROP_TCP_QUEUE,   /* more than the connection carries (stream.h) */
    PLANE_DROP_DEVICE,      /* the kernel refused the frame */
    PLANE_DROP_TOO_BIG,
    PLANE_DROP_RELAY_RATE, /* of others, above what we would forward */
    PLANE_DROP_PUBLIC,     /* through the public overlay, and may not */
    PLANE_DROP_COUNT,
};
const char *plane_drop_text(enum plane_drop d); /* "forged", ... */

struct plane;
struct plane_config {
    int udp_fd;       /* bound, non-blocking; borrowed. May be -1 in tests */
    bool udp_is_v6;   /* AF_INET6 socket with IPV6_V6ONLY off: IPv4 goes as mapped addresses */
    unsigned workers; /* 1..16; all but the first open sockets of their own beside udp_fd */
};
/* NULL and errno on failure. Workers start at once. */
struct plane *plane_new(const struct plane_config *config);
void plane_free(struct plane *p); /* stops and joins the workers; closes devices */

/* Takes over `fds` (a queue for each worker) when it returns 0; otherwise (-errno) they stay the
 * caller's. The network's number is the caller's. */
int plane_add_device(struct plane *p, uint16_t network, const struct device_fds *fds);
/* Closes the queues; comes back when no worker uses them any more. */
void plane_remove_device(struct plane *p, uint16_t network);

/* Takes ownership of f; the one before is freed when no worker reads it any more. */
void plane_publish(struct plane *p, struct forward *f);

/* What a connection's bytes go through, TLS; none when plain. No I/O. One thread at a time. */
struct plane_coat {
    bool (*input)(void *wear, const uint8_t *bytes, size_t len); /* from the wire */
    /* Plain bytes of that: how many; 0 none yet; -1: broken, or at its end. */
    int (*read)(void *wear, uint8_t *out, size_t size);
    bool (*write)(void *wear, const uint8_t *bytes, size_t len); /* plain bytes in */
    size_t (*output)(void *wear, uint8_t *out, size_t size);     /* to the wire */
};

enum { PLANE_STREAMS_MAX = 1024 }; /* no two numbers at once are the same modulo it */

/* A connection at rest: nothing waits to be sent, and nobody else reads from it or writes to it. */
struct plane_stream {
    uint32_t number; /* not 0 */
    int fd;          /* non-blocking; stays the caller's, who closes it after it was removed */
    struct endpoint remote;
    const struct plane_coat *coat; /* NULL: plain */
    void *wear;                    /* the caller's, as fd */
    const uint8_t *begun;          /* of a packet that did not come whole yet; copied */
    size_t begun_len;
};
/* 0 or -errno. */
int plane_add_stream(struct plane *p, const struct plane_stream *stream) MUST_USE;
/* Comes back when no worker uses it any more. */
void plane_remove_stream(struct plane *p, uint32_t number);
/* Best effort. False: the workers do not have it. */
bool plane_stream_send(struct plane *p, uint32_t number, const uint8_t *pkt, size_t len);
/* It was handed over, and nothing more can come by it. */
bool plane_stream_ended(const struct plane *p, uint32_t number);

/* Readable when an item may be there. */
int plane_event_fd(const struct plane *p);
/* False when there is none. Clears the event when it runs dry. */
bool plane_next(struct plane *p, struct plane_item *item);

/* What came of all items so far has left: sent, delivered, or waiting for something else than us.
 * Until then the workers let nothing overtake them. */
void plane_settle(struct plane *p);

/* Writes one Ethernet frame to a network's device. Any thread. 0 or -errno. */
int plane_write_frame(struct plane *p, uint16_t network, const uint8_t *frame, size_t len);
/* A datagram, which leaves with plane_flush at the latest, in order, joined with others to the same
 * address where that can be; what the kernel refuses is counted. 0, or -EAFNOSUPPORT. */
int plane_send(struct plane *p, const struct endpoint *to, const uint8_t *pkt, size_t len);
void plane_flush(struct plane *p);

uint64_t plane_drops(const struct plane *p, enum plane_drop d);
/* How often a path was found to refuse joined messages (UDP_SEGMENT) and was given plain ones. */
uint64_t plane_plain_paths(const struct plane *p);
/* Packets forwarded for others. */
uint64_t plane_relayed(const struct plane *p);

#endif
