#include "ca-web/limit.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/addr.h"
#include "overlay/core/err.h"
#include "overlay/core/table.h"

static const struct {
    int burst, refill_s;
} rates[LIMIT_KINDS] = {
    [LIMIT_LOGIN_ACCOUNT] = {10, 30},    [LIMIT_LOGIN_ADDRESS] = {20, 10},
    [LIMIT_REGISTER_ADDRESS] = {60, 10}, [LIMIT_ENROLL_ADDRESS] = {60, 1},
    [LIMIT_TOKEN_ADDRESS] = {20, 5},
};

struct bucket {
    uint64_t key;
    int64_t full_s; /* when it will be full again; 0: unused */
};

struct limit {
    pthread_mutex_t lock;
    uint8_t hash_key[16];
    struct bucket sets[LIMIT_SETS][LIMIT_WAYS];
};

struct limit *limit_new(void)
{
    struct limit *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    randombytes_buf(l->hash_key, sizeof l->hash_key);
    return l;
}

void limit_free(struct limit *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static uint64_t key_of(const struct limit *l, enum limit_kind kind, const char *who)
{
    char text[LIMIT_WHO_SIZE + 16];
    int len = snprintf(text, sizeof text, "%d %s", (int)kind, who);

    CHECK(len > 0 && (size_t)len < sizeof text);
    return siphash(l->hash_key, text, (size_t)len);
}

/* Under the lock: the bucket of the key, or the set's victim made over to it. */
static struct bucket *bucket_of(struct limit *l, uint64_t key)
{
    struct bucket *set = l->sets[key % LIMIT_SETS], *victim = set;

    for (size_t i = 0; i < LIMIT_WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].full_s < victim->full_s)
            victim = &set[i];
    }
    *victim = (struct bucket){.key = key};
    return victim;
}

int limit_check(struct limit *l, enum limit_kind kind, const char *who, int64_t now_s)
{
    CHECK((unsigned)kind < LIMIT_KINDS);
    int64_t most_s = (int64_t)(rates[kind].burst - 1) * rates[kind].refill_s;

    pthread_mutex_lock(&l->lock);
    int64_t wait_s = bucket_of(l, key_of(l, kind, who))->full_s - now_s - most_s;
    pthread_mutex_unlock(&l->lock);
    return wait_s > 0 ? (int)wait_s : 0;
}

void limit_take(struct limit *l, enum limit_kind kind, const char *who, int64_t now_s)
{
    CHECK((unsigned)kind < LIMIT_KINDS);
    pthread_mutex_lock(&l->lock);
    struct bucket *b = bucket_of(l, key_of(l, kind, who));
    b->full_s = (b->full_s > now_s ? b->full_s : now_s) + rates[kind].refill_s;
    pthread_mutex_unlock(&l->lock);
}

void limit_address(char out[LIMIT_WHO_SIZE], const char *address)
{
    struct addr a = {0};

    if (addr_parse(&a, address) && a.family == 6)
        memset(a.b + 8, 0, 8);
    addr_text(&a, out);
}
