/*
 * flow.h - the data side of sessions as this node's forwarding sees it: per peer the counters that
 * workers write (struct forward_flow), by session token.
 *
 * A flow lives as long as its session. Once a second, while there are any, it tells the overlay
 * what the data plane saw, so that probes, idle timers and key renewal follow data packets too.
 */
#ifndef PEAL_NODE_FLOW_H
#define PEAL_NODE_FLOW_H

#include "overlay/core/table.h"
#include "overlay/overlay.h"
#include "tap/forward.h"

enum { FLOW_POLL_US = 1000000 };

struct flow {
    struct id peer; /* the key of flows.by_peer */
    uint32_t token;
    bool lease_shown;          /* our lease went to this peer over this session */
    uint64_t told_rx, told_tx; /* packets when the overlay was last told */
    struct forward_flow *counters;
};

struct flows {
    struct table by_peer;
    usec poll_us; /* USEC_NEVER: no flow */
};

/* Flows of which this thread has packets that did not leave yet; nothing of theirs may overtake
 * those by the workers (forward_flow.held). Full: the victim is the newest, whose order is not
 * kept. */
enum { HELD_MAX = 64 };
struct held {
    size_t count;
    struct forward_flow **flows; /* HELD_MAX, referenced; NULL before the first */
};
void held_add(struct held *h, struct forward_flow *flow);
void held_release(struct held *h); /* they have left */
void held_clear(struct held *h);

void flows_init(struct flows *f, const struct env *env);
void flows_clear(struct flows *f);
struct flow *flows_get(const struct flows *f, const struct id *peer);
struct flow *flows_by_token(const struct flows *f, uint32_t token);
/* The flow of this session; a new session with the same peer starts it afresh. NULL: out of memory.
 */
struct flow *flows_add(struct flows *f, const struct env *env, const struct overlay_data *data);
void flows_remove(struct flows *f, const struct id *peer);
/* Tells the overlay, when it is time. */
void flows_tick(struct flows *f, const struct env *env, struct overlay *overlay);

#endif
