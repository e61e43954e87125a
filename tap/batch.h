/*
 * batch.h - packets on their way out or in: fixed buffers with headroom, moved by one system call.
 *
 * A buffer's packet starts at `packet`, right behind the headroom; the payload of a data packet, an
 * IP packet, then starts PACKET_HEADER_LEN later, and its Ethernet header overlays the tail of the
 * packet header. So a frame is read from a device to where it is sealed, and opened to where it is
 * written to a device, without a copy.
 */
#ifndef PEAL_TAP_BATCH_H
#define PEAL_TAP_BATCH_H

#include <sys/socket.h>

#include "overlay/core/err.h"
#include "overlay/core/limits.h"
#include "tap/sockaddr.h"

enum {
    BATCH_PACKETS = 64, /* per system call */
    BATCH_BUFFER_LEN = 2048,
    BATCH_HEADROOM = 64,
    BATCH_ROOM = BATCH_BUFFER_LEN - BATCH_HEADROOM, /* for the packet */
};
_Static_assert((int)BATCH_ROOM >= (int)PACKET_MAX, "a buffer holds the largest packet");

/* One batch either sends or receives. Buffers are allocated once and touched in order, so that
 * light traffic needs one page. */
struct batch {
    uint8_t *buffers;
    unsigned count; /* packets in it */
    struct mmsghdr messages[BATCH_PACKETS];
    struct iovec vectors[BATCH_PACKETS];
    union sockaddr_any names[BATCH_PACKETS];
};

int batch_init(struct batch *b) MUST_USE; /* 0 or -ERR_NOMEM */
void batch_clear(struct batch *b);

static inline uint8_t *batch_packet(struct batch *b, unsigned i)
{
    return b->buffers + (size_t)i * BATCH_BUFFER_LEN + BATCH_HEADROOM;
}

/* Sending: the packet in buffer number b->count has `len` bytes and goes to `to`. */
void batch_add(struct batch *b, size_t len, const union sockaddr_any *to, socklen_t to_len);

struct batch_refused {
    unsigned too_big, other; /* datagrams that the kernel did not take */
};
/* Sends all and empties the batch. What the kernel refuses is not tried again. */
struct batch_refused batch_send(struct batch *b, int fd);

/* Receiving: fills the batch with what is there. Returns b->count. */
unsigned batch_receive(struct batch *b, int fd);
static inline size_t batch_len(const struct batch *b, unsigned i)
{
    return b->messages[i].msg_len;
}
static inline bool batch_truncated(const struct batch *b, unsigned i)
{
    return b->messages[i].msg_hdr.msg_flags & MSG_TRUNC;
}

#endif
