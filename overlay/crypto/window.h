/*
 * window.h - which packet counters were accepted (RFC 6479's idea of blocks, made lock-free).
 *
 * Any number of threads may mark; each counter is accepted exactly once, whatever their order. The
 * newest `size` counters are told apart one by one, all older ones are refused.
 */
#ifndef PEAL_CRYPTO_WINDOW_H
#define PEAL_CRYPTO_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct window;

/* NULL when out of memory. Counters are below 2^36. */
struct window *window_new(uint32_t size);
void window_free(struct window *w); /* NULL is fine */
/* True for the first caller with this counter; false when it was marked before or is too old. */
bool window_mark(struct window *w, uint64_t counter);
uint64_t window_next(const struct window *w); /* 1 + the highest counter marked; 0: none yet */

#endif
