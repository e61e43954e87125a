/*
 * account.h - whose memory it is. The linker leads every malloc, calloc, realloc, aligned_alloc and
 * free of the simulator's objects through here (--wrap), OpenSSL's too; each block is charged to
 * the account that is current, which is a node's while we are inside of it.
 *
 * A block is counted as the allocator counts it: its usable size and the word before it. Shared
 * libraries' own blocks (libsodium makes none) are not seen.
 */
#ifndef PEAL_SIM_ACCOUNT_H
#define PEAL_SIM_ACCOUNT_H

#include <stddef.h>

struct account {
    size_t bytes, bytes_max;
};

/* Before the first use of OpenSSL. */
void account_start(void);
/* NULL: nobody's. Returns whose turn it was. */
struct account *account_enter(struct account *a);

/* Where the current blocks were allocated: off unless this is called first; then slow. */
void account_trace(void);
/* The sites with most bytes, of accounts only, to stderr. */
void account_print_sites(size_t accounts);

#endif
