/*
 * stream.h - a TCP connection in the hands of the workers: packets leave in batches, each behind
 * its length, many with one system call, and what one read brings is cut back in place.
 *
 * Whoever opened the connection hands it over at rest and takes it back to close it; with TLS on it
 * brings a coat, through which the bytes go.
 *
 * Sending never waits, and what cannot leave never grows: how much may stand here, in the kernel
 * and in front of a slow link of ours follows what the connection carries (backlog.h), here at most
 * STREAM_QUEUE_BYTES. What is above that is dropped, the newest first, as whole packets; of what
 * was taken nothing is lost.
 *
 * Threads: any worker writes, and so does the control thread; a lock is taken once for a batch,
 * never for a packet, and never while anything waits. One worker, its home, reads.
 */
#ifndef PEAL_TAP_STREAM_H
#define PEAL_TAP_STREAM_H

#include <pthread.h>
#include <stdatomic.h>

#include "overlay/core/err.h"
#include "overlay/core/limits.h"
#include "tap/backlog.h"
#include "tap/plane.h"

enum {
    STREAM_QUEUE_BYTES = 512 * 1024,  /* not taken by the kernel yet; victim: the newest packets */
    STREAM_CONTROL_BYTES = 32 * 1024, /* beyond that, for the control thread's */
    STREAM_UNSENT_BYTES = 64 * 1024,  /* in the kernel and not under way yet */
    STREAM_READ_BYTES = 64 * 1024,    /* by one system call */
    STREAM_CHUNK_BYTES = 64 * 1024,   /* put into the coat at once */
    STREAM_WIRE_BYTES = 72 * 1024,    /* what becomes of a chunk or of a read */
    STREAM_TAIL_BYTES = STREAM_HEADER_LEN + STREAM_PACKET_MAX, /* of a packet that began */
    /* Behind a tail: what a read brings, and what was left of the one before inside the coat. */
    STREAM_ROOM = STREAM_TAIL_BYTES + STREAM_READ_BYTES + STREAM_WIRE_BYTES,
};

struct stream {
    uint32_t number;
    struct endpoint remote;
    int fd; /* the opener's */
    const struct plane_coat *coat;
    void *wear;
    int epoll_fd; /* of its home */
    uint32_t source;
    _Atomic bool ended; /* its home's: nothing is read any more */

    pthread_mutex_t lock; /* of all that follows, and of the coat */
    bool broken;          /* cannot be written to any more */
    bool waits;           /* its home is told when there is room */
    usec now_us;          /* the latest of its writers */
    struct backlog backlog;
    size_t begin, end; /* of what waits in `queue`: the rest of a packet, then whole ones */
    size_t wire_begin, wire_end; /* of what came out of the coat and did not leave yet */
    uint8_t *queue;              /* STREAM_QUEUE_BYTES + STREAM_CONTROL_BYTES */
    uint8_t *wire;               /* STREAM_WIRE_BYTES; NULL without a coat */

    size_t tail_len; /* its home's */
    uint8_t tail[STREAM_TAIL_BYTES];
};

/* Its home is told of events as `source` from stream_watch on. NULL: out of memory. */
struct stream *stream_new(const struct plane_stream *config, int epoll_fd, uint32_t source);
int stream_watch(struct stream *s) MUST_USE; /* 0 or -errno */
void stream_unwatch(struct stream *s);
/* Nobody can still be using it. */
void stream_free(struct stream *s);

/* Packets of one batch, each behind its length: how many of them were dropped. A small packet alone
 * goes as long as there is any room. `control`: they have room of their own. now_us: 0 when the
 * writer does not know. */
unsigned stream_write(struct stream *s, const uint8_t *records, size_t len, bool control,
                      usec now_us);
/* There is room now. */
void stream_flush(struct stream *s);

/* What a read brought, being cut. */
struct stream_cut {
    uint8_t *at, *end;
    bool garbage; /* from here on, for ever: a length of 0, or above STREAM_PACKET_MAX */
};
/* One read into `room`, which has STREAM_ROOM bytes; `wire` has STREAM_READ_BYTES. False: the
 * connection is at its end. */
bool stream_read(struct stream *s, uint8_t *room, uint8_t *wire, struct stream_cut *cut);
/* The next packet, in place; its length stands in front of it. NULL: no whole one is left. */
uint8_t *stream_next(struct stream_cut *cut, size_t *len);
/* After the last: what is left waits for the next read. */
void stream_keep(struct stream *s, const struct stream_cut *cut);
/* Its home reads no more of it. */
void stream_end(struct stream *s);

/* In front of a packet of `len` bytes. */
void stream_header_put(uint8_t *record, size_t len);

#endif
