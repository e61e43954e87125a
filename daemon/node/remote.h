/*
 * remote.h - who owns an inner address: the cache between frames and the DHT.
 *
 * One remote per address of the group that a frame went to or came from. It starts as LOOKING with
 * a majority `get`; the answer makes it KNOWN (with the owner, until its lease ends) or ABSENT (for
 * a short time, so that a scan of the range does not become a flood of lookups). Frames to it, and
 * packets from it whose sender is not known to own it, wait in it: at most REMOTE_WAIT_PACKETS each
 * way, REMOTE_WAIT_OUT_US and REMOTE_WAIT_IN_US; the newest is dropped when full.
 *
 * A table only: node.c starts the lookups, opens sessions and empties the queues.
 */
#ifndef PEAL_NODE_REMOTE_H
#define PEAL_NODE_REMOTE_H

#include "overlay/core/addr.h"
#include "overlay/core/env.h"
#include "overlay/core/heap.h"
#include "overlay/core/id.h"
#include "overlay/core/table.h"

enum {
    REMOTE_MAX = 16384,       /* victim when full: the one whose timer ends first */
    REMOTE_WAIT_PACKETS = 64, /* each way, per address */
    REMOTE_WAIT_ALL = 1024,   /* packets waiting in one node */
    REMOTE_WAIT_OUT_US = 3000000,
    REMOTE_WAIT_IN_US = 500000,
    REMOTE_ABSENT_US = 2000000,
    REMOTE_ABSENT_YOUNG_US = 200000, /* while our own ring is still forming */
    REMOTE_LOOK_US = 4000000, /* a lookup takes at most this long */
};

enum remote_state {
    REMOTE_LOOKING, /* a lookup is under way; from nothing, or from ABSENT when that ran out */
    REMOTE_KNOWN,   /* owner holds the address until until_us; then forgotten */
    REMOTE_ABSENT,  /* nobody holds it, as of asked_us; forgotten at until_us */
};

struct remote_packet {
    struct remote_packet *next;
    usec until_us;
    uint32_t token; /* of the session it came by; 0 on the way out */
    size_t len;
    uint8_t bytes[];
};

struct remote_queue {
    struct remote_packet *first, *last;
    unsigned count;
};

struct remote {
    struct addr addr; /* the key */
    enum remote_state state;
    struct id owner;
    struct remote_queue out, in; /* frames to it; packets from it */
    struct timer timer;          /* at until_us, or sooner when a waiting packet's time is over */
    usec until_us;
    usec asked_us; /* when it was answered that nobody holds it */
};

struct remotes {
    const struct env *env;
    struct table by_addr;
    struct heap timers;
    unsigned waiting; /* packets, all queues */
    uint64_t dropped; /* packets whose wait was in vain, or that found no room */
};

void remotes_init(struct remotes *rs, const struct env *env);
void remotes_clear(struct remotes *rs);
struct remote *remote_get(const struct remotes *rs, const struct addr *addr);
/* A new one, LOOKING. NULL: out of memory. */
struct remote *remote_add(struct remotes *rs, const struct addr *addr);
void remote_found(struct remotes *rs, struct remote *r, const struct id *owner, usec until_us);
/* Drops what waits to go out and in, and is believed for so long. */
void remote_absent(struct remotes *rs, struct remote *r, usec for_us);
void remote_forget(struct remotes *rs, struct remote *r);
/* Forgets the addresses of this owner: its session ended, so they are asked for anew. */
void remotes_forget_owner(struct remotes *rs, const struct id *owner);
bool remote_wait_out(struct remotes *rs, struct remote *r, const uint8_t *frame, size_t len);
bool remote_wait_in(struct remotes *rs, struct remote *r, uint32_t token, const uint8_t *packet,
                    size_t len);
/* Takes the oldest packet; the caller frees it. NULL: none. */
struct remote_packet *remote_take(struct remotes *rs, struct remote_queue *q);
/* Forgets what ran out. */
void remotes_tick(struct remotes *rs);
usec remotes_deadline(const struct remotes *rs);

#endif
