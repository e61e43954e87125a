#include "overlay/core/table.h"

#include "overlay/core/err.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE_SIZE_MIN = 16 };

static const uint8_t *key_of(const struct table *t, const void *value)
{
    return (const uint8_t *)value + t->key_offset;
}

static size_t home_of(const struct table *t, const void *key)
{
    return (size_t)siphash(t->hash_key, key, t->key_len) & (t->size - 1);
}

void table_init(struct table *t, size_t key_offset, size_t key_len, size_t max,
                const uint8_t hash_key[16])
{
    CHECK(key_offset <= UINT16_MAX && key_len <= UINT16_MAX && max <= TABLE_ENTRIES_MAX);
    *t = (struct table){
        .key_offset = (uint16_t)key_offset, .key_len = (uint16_t)key_len, .max = (uint32_t)max};
    memcpy(t->hash_key, hash_key, sizeof t->hash_key);
}

void table_clear(struct table *t)
{
    free(t->slots);
    t->slots = NULL;
    t->size = t->count = 0;
}

/* The slot that holds the key, or the empty one where it belongs. The table is never full. */
static size_t slot_of(const struct table *t, const void *key)
{
    size_t i = home_of(t, key);

    while (t->slots[i] != NULL && memcmp(key_of(t, t->slots[i]), key, t->key_len) != 0)
        i = (i + 1) & (t->size - 1);
    return i;
}

void *table_get(const struct table *t, const void *key)
{
    return t->size > 0 ? t->slots[slot_of(t, key)] : NULL;
}

static int resize(struct table *t, uint32_t size)
{
    struct table other = *t;

    other.size = size;
    other.slots = calloc(size, sizeof *other.slots);
    if (other.slots == NULL)
        return -ERR_NOMEM;
    for (size_t i = 0; i < t->size; i++)
        if (t->slots[i] != NULL)
            other.slots[slot_of(&other, key_of(t, t->slots[i]))] = t->slots[i];
    free(t->slots);
    *t = other;
    return 0;
}

int table_put(struct table *t, void *value)
{
    size_t slot;

    if (t->count >= t->max)
        return -ERR_FULL;
    if (4 * (t->count + 1) > 3 * t->size &&
        resize(t, t->size > 0 ? 2 * t->size : TABLE_SIZE_MIN) < 0)
        return -ERR_NOMEM;
    slot = slot_of(t, key_of(t, value));
    CHECK(t->slots[slot] == NULL);
    t->slots[slot] = value;
    t->count++;
    return 0;
}

/* Moves later entries of the run back, so that no search stops at the hole before its entry. */
static void close_hole(struct table *t, size_t hole)
{
    size_t mask = t->size - 1;

    for (size_t i = (hole + 1) & mask; t->slots[i] != NULL; i = (i + 1) & mask) {
        size_t home = home_of(t, key_of(t, t->slots[i]));

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = NULL;
}

void *table_remove(struct table *t, const void *key)
{
    void *value;
    size_t slot;

    if (t->size == 0)
        return NULL;
    slot = slot_of(t, key);
    value = t->slots[slot];
    if (value == NULL)
        return NULL;
    close_hole(t, slot);
    t->count--;
    if (t->size > TABLE_SIZE_MIN && 3 * t->count <= t->size)
        (void)resize(t, t->size / 2); /* out of memory: it stays wide */
    return value;
}

void *table_next(const struct table *t, size_t *i)
{
    while (*i < t->size) {
        void *value = t->slots[(*i)++];

        if (value != NULL)
            return value;
    }
    return NULL;
}
