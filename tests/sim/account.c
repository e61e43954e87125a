#include "tests/sim/account.h"

#include <execinfo.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "overlay/core/err.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);

static struct account *current;

/* ---- sites, when asked for: a table from block to return address ---- */

struct block {
    void *p, *site;
    size_t size;
};

static struct block *blocks;
static size_t block_count, block_size;
static bool tracing;

static size_t block_slot(const void *p)
{
    size_t i = (size_t)((uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15)) & (block_size - 1);

    while (blocks[i].p != NULL && blocks[i].p != p)
        i = (i + 1) & (block_size - 1);
    return i;
}

static void blocks_grow(void)
{
    struct block *old = blocks;
    size_t old_size = block_size;

    block_size = old_size > 0 ? 2 * old_size : 1 << 16;
    blocks = __real_calloc(block_size, sizeof(*blocks));
    CHECK(blocks != NULL);
    for (size_t i = 0; i < old_size; i++)
        if (old[i].p != NULL)
            blocks[block_slot(old[i].p)] = old[i];
    __real_free(old);
}

static void block_add(void *p, void *site)
{
    if (2 * block_count >= block_size)
        blocks_grow();
    blocks[block_slot(p)] = (struct block){p, site, malloc_usable_size(p) + sizeof(size_t)};
    block_count++;
}

/* Closes the hole that a removed entry leaves in its probe sequence. */
static void block_drop(const void *p)
{
    size_t hole = block_size > 0 ? block_slot(p) : 0;

    CHECK(block_size > 0 && blocks[hole].p != NULL); /* it was not charged to anybody */
    block_count--;
    blocks[hole].p = NULL;
    for (size_t i = (hole + 1) & (block_size - 1); blocks[i].p != NULL;
         i = (i + 1) & (block_size - 1)) {
        struct block b = blocks[i];

        blocks[i].p = NULL;
        blocks[block_slot(b.p)] = b;
    }
}

/* ---- counting ---- */

static void charge(void *p, void *site)
{
    if (p == NULL || current == NULL)
        return;
    current->bytes += malloc_usable_size(p) + sizeof(size_t);
    if (current->bytes > current->bytes_max)
        current->bytes_max = current->bytes;
    if (tracing)
        block_add(p, site);
}

static void discharge(void *p)
{
    if (p == NULL || current == NULL)
        return;
    CHECK(current->bytes >= malloc_usable_size(p) + sizeof(size_t)); /* somebody else's */
    current->bytes -= malloc_usable_size(p) + sizeof(size_t);
    if (tracing)
        block_drop(p);
}

void *__wrap_malloc(size_t size)
{
    void *p = __real_malloc(size);

    charge(p, __builtin_return_address(0));
    return p;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *p = __real_calloc(count, size);

    charge(p, __builtin_return_address(0));
    return p;
}

void *__wrap_realloc(void *p, size_t size)
{
    void *grown;

    discharge(p);
    grown = __real_realloc(p, size);
    charge(grown != NULL || size == 0 ? grown : p, __builtin_return_address(0));
    return grown;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    void *p = __real_aligned_alloc(alignment, size);

    charge(p, __builtin_return_address(0));
    return p;
}

void __wrap_free(void *p)
{
    discharge(p);
    __real_free(p);
}

struct account *account_enter(struct account *a)
{
    struct account *before = current;

    current = a;
    return before;
}

static void *ssl_malloc(size_t size, const char *file, int line)
{
    return __wrap_malloc(size);
}

static void *ssl_realloc(void *p, size_t size, const char *file, int line)
{
    if (size > 0)
        return __wrap_realloc(p, size);
    __wrap_free(p);
    return NULL;
}

static void ssl_free(void *p, const char *file, int line)
{
    __wrap_free(p);
}

void account_start(void)
{
    CHECK(CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) == 1);
}

void account_trace(void)
{
    tracing = true;
}

/* ---- the table of sites ---- */

struct site {
    void *at;
    size_t bytes, count;
};

static int by_site(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    return x->site < y->site ? -1 : x->site > y->site;
}

static int by_bytes(const void *a, const void *b)
{
    const struct site *x = a, *y = b;

    return x->bytes > y->bytes ? -1 : x->bytes < y->bytes;
}

static size_t sites_of(struct block *sorted, size_t count, struct site *sites)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        if (n == 0 || sites[n - 1].at != sorted[i].site)
            sites[n++] = (struct site){.at = sorted[i].site};
        sites[n - 1].bytes += sorted[i].size;
        sites[n - 1].count++;
    }
    return n;
}

void account_print_sites(size_t accounts)
{
    struct block *sorted = __real_calloc(block_count + 1, sizeof(*sorted));
    struct site *sites = __real_calloc(block_count + 1, sizeof(*sites));
    size_t count = 0, n;

    CHECK(sorted != NULL && sites != NULL && accounts > 0);
    for (size_t i = 0; i < block_size; i++)
        if (blocks[i].p != NULL)
            sorted[count++] = blocks[i];
    qsort(sorted, count, sizeof(*sorted), by_site);
    n = sites_of(sorted, count, sites);
    qsort(sites, n, sizeof(*sites), by_bytes);
    fprintf(stderr, "%12s %10s  allocated at (addr2line -fe PROGRAM OFFSET names it)\n",
            "bytes/node", "blocks");
    for (size_t i = 0; i < n && i < 40; i++) {
        char **name = backtrace_symbols(&sites[i].at, 1);

        fprintf(stderr, "%12.1f %10.1f  %s\n", (double)sites[i].bytes / (double)accounts,
                (double)sites[i].count / (double)accounts, name != NULL ? name[0] : "?");
        __real_free(name);
    }
    __real_free(sorted);
    __real_free(sites);
}
