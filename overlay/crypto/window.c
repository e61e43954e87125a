#include "overlay/crypto/window.h"

#include "overlay/core/err.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { BLOCK_BITS = 32 };

/*
 * One word is one block of 32 counters: 1 + the block's number in the upper half (0: never used),
 * one bit a counter in the lower. Blocks that are `blocks` apart share a word. A word's number only
 * grows, so a counter whose block was displaced can never be marked again: that, and the single
 * compare-and-swap that sets the bit, is the whole proof. `next` only makes the refusal of old
 * counters independent of which blocks happened to be displaced. Nothing else is published through
 * these words, so relaxed order is enough.
 */
struct window {
    uint32_t size, blocks;
    _Atomic uint64_t next;
    _Atomic uint64_t words[];
};

struct window *window_new(uint32_t size)
{
    /* One more, so that `size` counters that start inside a block have all their blocks. */
    uint32_t blocks = (size + BLOCK_BITS - 1) / BLOCK_BITS + 1;
    struct window *w = calloc(1, sizeof *w + blocks * sizeof w->words[0]);

    if (w == NULL)
        return NULL;
    w->size = size;
    w->blocks = blocks;
    return w;
}

void window_free(struct window *w)
{
    free(w);
}

static bool mark_bit(_Atomic uint64_t *word, uint32_t block, uint64_t bit)
{
    uint64_t tag = (uint64_t)block + 1;
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t new;

    do {
        if (old >> BLOCK_BITS > tag || (old >> BLOCK_BITS == tag && (old & bit) != 0))
            return false;
        new = (old >> BLOCK_BITS == tag ? old : tag << BLOCK_BITS) | bit;
    } while (!atomic_compare_exchange_weak_explicit(word, &old, new, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void raise_next(struct window *w, uint64_t next)
{
    uint64_t old = atomic_load_explicit(&w->next, memory_order_relaxed);

    while (old < next && !atomic_compare_exchange_weak_explicit(
                             &w->next, &old, next, memory_order_relaxed, memory_order_relaxed))
        ;
}

bool window_mark(struct window *w, uint64_t counter)
{
    uint32_t block = (uint32_t)(counter / BLOCK_BITS);

    CHECK(counter / BLOCK_BITS < UINT32_MAX);
    if (counter + w->size < window_next(w))
        return false;
    if (!mark_bit(&w->words[block % w->blocks], block, UINT64_C(1) << counter % BLOCK_BITS))
        return false;
    raise_next(w, counter + 1);
    return true;
}

uint64_t window_next(const struct window *w)
{
    return atomic_load_explicit(&w->next, memory_order_relaxed);
}
