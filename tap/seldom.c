#include "tap/seldom.h"

/* A collision costs one message too many, so no more than a spread over neighbours is asked for. */
static struct seldom_slot *slot_of(struct seldom *s, enum seldom_kind kind, uint16_t network,
                                   const struct addr *addr)
{
    uint32_t h = (uint32_t)kind + network;
    for (size_t i = 0; i < sizeof(addr->b); i++) {
        h = h * 31 + addr->b[i];
    }
    return &s->slots[h % SELDOM_SLOTS];
}

bool seldom_pass(struct seldom *s, enum seldom_kind kind, uint16_t network, const struct addr *addr,
                 usec now_us, usec interval_us)
{
    struct seldom_slot *slot = slot_of(s, kind, network, addr);
    if (slot->kind == kind && slot->network == network && addr_eq(&slot->addr, addr) &&
        now_us < slot->at_us + interval_us) {
        return false;
    }
    *slot = (struct seldom_slot){.addr = *addr, .network = network, .kind = kind, .at_us = now_us};
    return true;
}
