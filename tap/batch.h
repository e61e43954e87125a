/*
 * batch.h - packets on their way out or in, moved by one system call.
 *
 * Out: packets are written, and sealed, one behind the other into one buffer; what is passed on for
 * others stays where it was received. Consecutive packets of one size to one address, the last
 * perhaps shorter, are one message, a single run of bytes that the kernel cuts again, as late as it
 * can (UDP_SEGMENT).
 *
 * In: the kernel joins datagrams of one size from one address (UDP_GRO) into one of a few large
 * buffers, in which they are opened, and from which they are written to a device.
 *
 * A kernel without either, or a path that refuses joined messages, gets plain ones.
 */
#ifndef PEAL_TAP_BATCH_H
#define PEAL_TAP_BATCH_H

#include <sys/socket.h>

#include "overlay/core/err.h"
#include "overlay/core/limits.h"
#include "tap/backlog.h"
#include "tap/forward.h"
#include "tap/sockaddr.h"

enum {
    BATCH_PACKETS = 128,            /* at most, on their way out */
    BATCH_ROOM = 1984,              /* for one packet, out and in */
    BATCH_BUFFER_LEN = 192 * 1024,  /* for all that are on their way out; fits a core's cache */
    BATCH_SEGMENTS = 64,            /* of one message: the kernel's UDP_MAX_SEGMENTS */
    BATCH_MESSAGE_MAX = 65507,      /* bytes of one message, on IPv4 (RFC 768, 791) */
    BATCH_MESSAGES_IN = 16,         /* per system call */
    BATCH_MESSAGE_ROOM = 64 * 1024, /* no datagram is longer, nor what GRO makes of them */
    BATCH_SPARSE_LEN = 256,         /* a packet alone and no longer never waits for room */
    BATCH_CONTROL_LEN = 32,         /* CMSG_SPACE of the one control message either way */
};
_Static_assert((int)BATCH_ROOM >= (int)PACKET_MAX, "a buffer holds the largest packet");

struct stream;

/* Packets that leave as one message. */
struct batch_group {
    uint8_t *bytes;
    unsigned count;            /* packets */
    size_t size, len;          /* of each but the last; of all */
    struct forward_flow *flow; /* borrowed */
    struct stream *stream; /* not NULL: they go there, each behind its length, and not to `to` */
    struct iovec vector;   /* all bytes */
    union sockaddr_any to;
    _Alignas(8) uint8_t control[BATCH_CONTROL_LEN];
};

/* The buffer is allocated once and touched in order, so that light traffic needs one page. */
struct batch_out {
    bool joins;     /* the kernel cuts messages for this socket */
    bool bounded;   /* what there is no room for below us is dropped; else all is sent */
    unsigned count; /* packets in it */
    unsigned group_count;
    size_t used; /* bytes of the buffer */
    struct backlog backlog;
    uint8_t *buffer;
    struct mmsghdr messages[BATCH_PACKETS];
    struct batch_group groups[BATCH_PACKETS];
};

int batch_out_init(struct batch_out *b, int fd) MUST_USE; /* 0 or -ERR_NOMEM */
void batch_out_clear(struct batch_out *b);

static inline bool batch_full(const struct batch_out *b)
{
    return b->count == BATCH_PACKETS || b->used + BATCH_ROOM > BATCH_BUFFER_LEN;
}

/* Where the next packet of up to BATCH_ROOM bytes is written. The batch must not be full. */
static inline uint8_t *batch_packet(struct batch_out *b)
{
    return b->buffer + b->used;
}

/* The packet at batch_packet has `len` bytes and goes to `to`, a path of `flow`. `flow` is borrowed
 * until the batch is sent; on a path that lately refused joined messages it is sent plain. */
void batch_add(struct batch_out *b, size_t len, const union sockaddr_any *to, socklen_t to_len,
               struct forward_flow *flow, usec now_us);

/* The same for a packet that lies elsewhere, where it stays as it is until the batch is sent. */
void batch_add_lent(struct batch_out *b, uint8_t *packet, size_t len, const union sockaddr_any *to,
                    socklen_t to_len, struct forward_flow *flow, usec now_us);

/* The same for a packet behind its length, `len` bytes together, that goes over a connection; it
 * may lie at batch_packet or elsewhere. */
void batch_add_record(struct batch_out *b, uint8_t *record, size_t len, struct stream *stream);

struct batch_refused {
    unsigned too_big, other; /* packets that the kernel did not take */
    unsigned stream;         /* packets that the connection did not take */
    unsigned backlog;        /* packets not sent since too many wait already (backlog.h) */
    unsigned plain;          /* paths that were found to refuse joined messages */
};
/* Sends all that there is room for below us, if bounded, and empties the batch. Of what there is no
 * room for, a small packet alone (a ping, a question, an acknowledgement) goes all the same. What
 * the kernel refuses is not tried again, but for joined messages, which are then sent as plain
 * ones. */
struct batch_refused batch_send(struct batch_out *b, int fd, usec now_us);

struct batch_in {
    unsigned count; /* messages in it */
    uint8_t *buffers;
    struct mmsghdr messages[BATCH_MESSAGES_IN];
    struct iovec vectors[BATCH_MESSAGES_IN];
    union sockaddr_any names[BATCH_MESSAGES_IN];
    _Alignas(8) uint8_t controls[BATCH_MESSAGES_IN][BATCH_CONTROL_LEN];
};

/* What one message holds: datagrams of `size` bytes, the last one perhaps shorter. */
struct batch_joined {
    uint8_t *bytes;
    size_t len, size;
    bool truncated;
};

int batch_in_init(struct batch_in *b, int fd) MUST_USE; /* 0 or -ERR_NOMEM */
void batch_in_clear(struct batch_in *b);
/* Fills the batch with what is there. Returns b->count. */
unsigned batch_receive(struct batch_in *b, int fd);
struct batch_joined batch_message(struct batch_in *b, unsigned i);

#endif
