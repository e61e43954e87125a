/*
 * worker.h - one thread of the data plane, private to this room: its descriptors, buffers, counters
 * and loop. What it does with a frame is in outbound.c (device to UDP), with a datagram in
 * inbound.c; what comes by a
 * TCP connection is served there too.
 *
 * The loop sleeps until something is readable, enters the snapshot, serves every readable source
 * once with at most one batch, leaves the snapshot, and sleeps again. So neither a flood from the
 * network nor one from a device can keep the other side waiting, nothing waits for a batch to fill,
 * and an idle worker never wakes up.
 */
#ifndef PEAL_TAP_WORKER_H
#define PEAL_TAP_WORKER_H

#include <pthread.h>

#include "tap/batch.h"
#include "tap/coalesce.h"
#include "tap/eth.h"
#include "tap/fence.h"
#include "tap/seldom.h"
#include "tap/snapshot.h"
#include "tap/stream.h"
#include "tap/upcall.h"

/* The datagrams served just now that came from one peer: what would be the same for each of them.
 * Ends with the peer, the inner source and the round. */
struct run {
    const struct forward_peer *peer; /* NULL: none yet */
    struct addr source;              /* known to be the peer's; family 0: not looked at */
    uint64_t packets, bytes;         /* not counted in the peer's flow yet */
    bool back;                       /* one came by the path that ours leave by */
};

enum { WORKER_FRAME_ROOM = sizeof(struct virtio_net_hdr) + FRAME_MAX };

struct worker {
    /* Set before the thread starts. */
    unsigned number;
    int udp_fd;
    bool owns_udp_fd; /* else it is the plane's, perhaps shared */
    bool udp_is_v6;
    struct snapshot *snapshot;
    struct bell *bell;
    _Atomic(struct stream *) *streams; /* the plane's, PLANE_STREAMS_MAX of them */
    struct upcall *upcall;             /* the worker writes, the control thread reads */
    int epoll_fd, stop_fd;
    pthread_t thread;

    /* Descriptor of this worker's queue of each network's device, or -1. Set by the control thread
     * when a device comes and goes, and to -1 by the worker when the kernel took the device away.
     */
    _Atomic int devices[NETWORKS_MAX];
    _Atomic int writers[NETWORKS_MAX];      /* where to write frames: the same, or shared by all */
    _Atomic uint8_t features[NETWORKS_MAX]; /* of that queue; enum device_feature */
    _Atomic uint64_t drops[PLANE_DROP_COUNT]; /* written by the worker */
    _Atomic uint64_t plain_paths;             /* the same */
    _Atomic uint64_t relayed;                 /* packets forwarded for others; the same */

    /* The worker's own. */
    const struct forward *forward; /* read by each serve, valid during a round */
    usec now_us;                   /* read once a round */
    bool has_upcalls;              /* since the bell was rung */
    struct seal_worker *seal;
    struct batch_out out;
    struct batch_in in;
    struct coalesce coalesce;
    uint8_t *frame; /* WORKER_FRAME_ROOM bytes: a virtio header and a frame as read from a device */
    uint8_t *stream_room; /* STREAM_ROOM bytes: where packets of connections are opened */
    uint8_t *stream_wire; /* STREAM_READ_BYTES: what came by one with a coat */
    struct run run;
    struct seldom seldom;
    struct fence fence;
};

/* Makes and starts it; workers but the first get a socket of their own if the kernel can. On
 * failure (-errno or -ERR_NOMEM) nothing is left behind. */
int worker_start(struct worker *w, unsigned number, const struct plane_config *config,
                 _Atomic(struct stream *) *streams, struct snapshot *snapshot,
                 struct bell *bell) MUST_USE;
void worker_stop(struct worker *w); /* joins the thread and frees everything but devices */

/* The control thread. A descriptor taken away may be closed after snapshot_synchronize. writer: -1,
 * frames are written to the queue itself. 0 or -errno. */
int worker_add_device(struct worker *w, uint16_t network, int queue, int writer,
                      unsigned features) MUST_USE;
void worker_remove_device(struct worker *w, uint16_t network, int fd);
/* The worker becomes the connection's home. NULL: out of memory. */
struct stream *worker_new_stream(struct worker *w, const struct plane_stream *config);

/* The time of the boot clock, any thread. */
usec worker_clock(void);

/* The worker's thread: */
void worker_drop(struct worker *w, enum plane_drop why);
unsigned worker_features(const struct worker *w, uint16_t network);
void worker_upcall(struct worker *w,
                   const struct plane_item *item); /* dropped when the ring is full */
/* The control thread shall find the peer of that address; asked once a second. */
void worker_resolve(struct worker *w, uint16_t network, const struct addr *addr);
void worker_write_frame(struct worker *w, uint16_t network, const uint8_t *frame, size_t len);
/* Writes super-frames: a coalesce_write of a struct worker. */
void worker_write_vectors(void *worker, uint16_t network, const struct iovec *vectors, int count);
/* The kernel took the device away: forget the queue, or its error would wake us for ever. */
void worker_lose_device(struct worker *w, uint16_t network);

/* Sends what is in the batch. */
void worker_flush(struct worker *w);

/* At most one batch each. `failing`: the kernel reports an error on the queue. */
void outbound_serve(struct worker *w, uint16_t network, bool failing);
void inbound_serve(struct worker *w, bool failing);
void inbound_serve_stream(struct worker *w, struct stream *stream);

/* The connection of that number, if the workers have it. Any worker; valid during a round. */
struct stream *worker_stream(const struct worker *w, uint32_t number);

#endif
