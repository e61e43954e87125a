#include "tap/seldom.h"

/* FNV-1a, of which the upper bits are the good ones. A collision costs one message too many. */
static struct seldom_slot *slot_of(struct seldom *s, enum seldom_kind kind, uint16_t network,
                                   const struct addr *addr)
{
    uint32_t h = 2166136261u ^ (uint32_t)kind ^ (uint32_t)network << 8;
    for (size_t i = 0; i < sizeof(addr->b); i++) {
        h = (h * 16777619u) ^ addr->b[i];
    }
    return &s->slots[(h * 16777619u >> 16) % SELDOM_SLOTS];
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
