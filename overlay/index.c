/*
 * index.c - receiver indices: 24 random bits under the overlay's slot, each given out once,
 * whatever for.
 */
#include "overlay/session_internal.h"

enum { INDEX_DRAWS_MAX = 64 /* random numbers tried; of 24 bits, so some are enough */ };

static bool index_put(struct sessions *ss, struct index_ref *ref)
{
    if (table_put(&ss->indices, ref) == 0)
        return true;
    ref->index = 0;
    return false;
}

bool index_take(struct sessions *ss, struct index_ref *ref, enum index_kind kind, void *owner)
{
    for (int i = 0; i < INDEX_DRAWS_MAX; i++) {
        uint32_t index = (uint32_t)ss->config.slot << 24 | (env_random_u32(ss->env) & 0x00ffffff);

        if ((index & 0x00ffffff) == 0 || table_get(&ss->indices, &index) != NULL)
            continue;
        *ref = (struct index_ref){.index = index, .kind = kind, .owner = owner};
        return index_put(ss, ref);
    }
    return false;
}

void index_drop(struct sessions *ss, struct index_ref *ref)
{
    if (ref->index == 0)
        return;
    CHECK(table_remove(&ss->indices, &ref->index) == ref);
    ref->index = 0;
}

bool index_move(struct sessions *ss, struct index_ref *to, struct index_ref *from,
                enum index_kind kind, void *owner)
{
    uint32_t index = from->index;

    index_drop(ss, from);
    *to = (struct index_ref){.index = index, .kind = kind, .owner = owner};
    return index_put(ss, to);
}
