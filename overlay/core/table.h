/*
 * table.h - a hash table of pointers under fixed-size keys, keyed hash (SipHash-2-4), hard limit.
 *
 * The key lies inside the value at a fixed offset, so an entry costs one pointer. Open addressing,
 * grows by doubling up to `max` entries (TABLE_ENTRIES_MAX at most), and shrinks when two thirds
 * are empty. Iteration is in slot order; code whose result depends on the order of iteration must
 * sort, or the simulator's digest differs between machines.
 */
#ifndef PEAL_CORE_TABLE_H
#define PEAL_CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_ENTRIES_MAX = 1 << 29 };

struct table {
    void **slots;  /* NULL, or the value */
    uint32_t size; /* power of two, or 0 before the first put */
    uint32_t count, max;
    uint16_t key_offset, key_len;
    uint8_t hash_key[16];
};

void table_init(struct table *t, size_t key_offset, size_t key_len, size_t max,
                const uint8_t hash_key[16]);
/* Frees the slots, not the values. */
void table_clear(struct table *t);
void *table_get(const struct table *t, const void *key);
/* 0, -ERR_FULL, -ERR_NOMEM; CHECKs that the key is not in it yet. */
int table_put(struct table *t, void *value);
/* Returns the value that was removed, or NULL. */
void *table_remove(struct table *t, const void *key);
/* for (size_t i = 0; (v = table_next(&t, &i)) != NULL;) ... ; the current value may be removed only
 * after the loop. */
void *table_next(const struct table *t, size_t *i);

uint64_t siphash(const uint8_t key[16], const void *bytes, size_t len);

#endif
