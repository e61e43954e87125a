/*
 * seen.h - what a data plane saw of one session since it began, told to the control side at most
 * once a second while traffic flows.
 *
 * What comes from a peer shows that it lives; only what comes back by the path that we send by
 * shows that this path does. The other end may have left it for another one: its packets go on
 * coming while all of ours are lost.
 */
#ifndef PEAL_OVERLAY_SEEN_H
#define PEAL_OVERLAY_SEEN_H

#include "overlay/core/addr.h"
#include "overlay/core/env.h"
#include "overlay/core/id.h"

/* How a data packet came. None of the four: over the ring. */
struct data_way {
    const struct endpoint *from; /* straight by UDP; else NULL */
    uint32_t conn;               /* over this TCP connection; else 0 */
    const struct id *relay;      /* behind this one's relay header; else NULL */
    bool tunnelled;              /* through another overlay */
};

struct data_seen {
    usec tx_us, rx_us; /* the last packet out, and in by whatever path; 0: never */
    usec back_us;      /* the last one in by the path that packets went out by; 0: never */
    uint64_t tx_packets;
};

#endif
