#include "tap/fence.h"

#include <string.h>

static struct fence_slot *slot_of(struct fence *f, enum fence_side side, uint16_t network,
                                  const struct addr *addr)
{
    uint32_t h = 2166136261u ^ network;
    for (size_t i = 0; i < sizeof(addr->b); i++) {
        h = (h * 16777619u) ^ addr->b[i]; /* FNV-1a: the upper bits are the good ones */
    }
    return &f->slots[(size_t)side * FENCE_SLOTS + (h * 16777619u >> 16) % FENCE_SLOTS];
}

/* Positions only grow, and wrap. */
static bool is_behind(size_t position, size_t settled)
{
    return position - settled - 1 < SIZE_MAX / 2;
}

void fence_note(struct fence *f, enum fence_side side, uint16_t network, const struct addr *addr,
                size_t position)
{
    slot_of(f, side, network, addr)->position = position;
    f->last = position;
    f->used = true;
}

enum fence_verdict fence_ask(struct fence *f, enum fence_side side, uint16_t network,
                             const struct addr *addr, size_t settled)
{
    if (!f->used) {
        return FENCE_OPEN;
    }
    if (!is_behind(f->last, settled)) {
        *f = (struct fence){.used = false};
        return FENCE_OPEN;
    }
    struct fence_slot *slot = slot_of(f, side, network, addr);
    if (slot->position == 0 || !is_behind(slot->position, settled)) {
        slot->position = 0;
        slot->late = 0;
        return FENCE_OPEN;
    }
    return slot->late++ < FENCE_LATE_MAX ? FENCE_HELD : FENCE_LATE;
}
