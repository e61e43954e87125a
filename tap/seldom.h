/*
 * seldom.h - what a worker said lately about which address, so that it does not say it again for
 * every packet. A small table without chains: a new address takes the place of the one that shares
 * its slot, which may then be mentioned again early.
 */
#ifndef PEAL_TAP_SELDOM_H
#define PEAL_TAP_SELDOM_H

#include "overlay/core/addr.h"
#include "overlay/core/env.h"

enum { SELDOM_SLOTS = 64 }; /* a power of two */

enum seldom_kind {
    SELDOM_RESOLVE = 1,
    SELDOM_TOO_BIG,
};

struct seldom {
    struct seldom_slot {
        struct addr addr;
        uint16_t network;
        uint8_t kind; /* 0: never used */
        usec at_us;
    } slots[SELDOM_SLOTS];
};

/* True, and remembered, when this was not said within the last interval_us. All zeros is empty. */
bool seldom_pass(struct seldom *s, enum seldom_kind kind, uint16_t network, const struct addr *addr,
                 usec now_us, usec interval_us);

#endif
