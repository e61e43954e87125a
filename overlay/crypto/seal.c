#include "overlay/crypto/seal.h"

#include "overlay/core/wire.h"
#include "overlay/crypto/aead.h"
#include "overlay/crypto/window.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    OFFSET_ZERO = 2,
    OFFSET_INDEX = 4,
    OFFSET_COUNTER = 8,
};

/* Small, since a node has two for each session: 80 bytes as the allocator counts. A thread that
 * seals needs the line with the counter anyway, and finds the key on it. */
struct seal_key {
    union {                              /* a key is for one direction */
        _Atomic uint64_t counter;        /* sending, window_size 0: the next one */
        _Atomic(struct window *) window; /* receiving; NULL until a packet authenticated */
    };
    struct secret secret;
    enum seal_alg alg;
    uint32_t index, window_size;
    _Atomic uint32_t refs;
};

struct seal_worker {
    struct aead_cache *aead;
    bool lent; /* the buffer is */
    uint8_t buffer[PACKET_MAX];
};

struct seal_key *seal_key_new(enum seal_alg alg, const struct secret *key, uint32_t index,
                              uint32_t window)
{
    struct seal_key *k = calloc(1, sizeof *k);

    if (k == NULL)
        return NULL;
    k->alg = alg;
    k->index = index;
    k->window_size = window;
    k->secret = *key;
    atomic_init(&k->refs, 1);
    return k;
}

struct seal_key *seal_key_ref(struct seal_key *k)
{
    CHECK(atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed) > 0);
    return k;
}

void seal_key_unref(struct seal_key *k)
{
    if (k == NULL || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (k->window_size > 0)
        window_free(atomic_load_explicit(&k->window, memory_order_relaxed));
    wipe(k, sizeof *k);
    free(k);
}

enum seal_alg seal_key_alg(const struct seal_key *k)
{
    return k->alg;
}

uint32_t seal_key_index(const struct seal_key *k)
{
    return k->index;
}

uint64_t seal_key_counter(const struct seal_key *k)
{
    const struct window *window;
    uint64_t counter;

    if (k->window_size > 0) {
        window = atomic_load_explicit(&k->window, memory_order_acquire);
        return window != NULL ? window_next(window) : 0;
    }
    counter = atomic_load_explicit(&k->counter, memory_order_relaxed);
    return counter < SEAL_COUNTER_MAX ? counter : SEAL_COUNTER_MAX;
}

struct seal_worker *seal_worker_new(void)
{
    struct seal_worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->aead = aead_cache_new();
    if (w->aead == NULL) {
        free(w);
        return NULL;
    }
    return w;
}

void seal_worker_free(struct seal_worker *w)
{
    if (w == NULL)
        return;
    aead_cache_free(w->aead);
    free(w);
}

uint8_t *seal_buffer(struct seal_worker *w)
{
    if (w->lent)
        return malloc(PACKET_MAX);
    w->lent = true;
    return w->buffer;
}

void seal_buffer_drop(struct seal_worker *w, uint8_t *buffer)
{
    if (buffer == w->buffer)
        w->lent = false;
    else
        free(buffer);
}

static struct aead_key aead_key_of(const struct seal_key *k)
{
    return (struct aead_key){.alg = k->alg, .hint = k->index, .secret = &k->secret};
}

/* 4 zero bytes and the counter. */
static void nonce_of(uint8_t nonce[AEAD_NONCE_LEN], uint64_t counter)
{
    put_u32(nonce, 0);
    put_u64(nonce + 4, counter);
}

int seal_packet(struct seal_worker *w, struct seal_key *k, uint8_t type, uint8_t flags,
                uint8_t *pkt, size_t len)
{
    const struct aead_key key = aead_key_of(k);
    uint8_t *payload = pkt + PACKET_HEADER_LEN;
    uint8_t nonce[AEAD_NONCE_LEN];
    uint64_t counter;

    CHECK(k->window_size == 0 && len <= FRAME_MAX);
    counter = atomic_fetch_add_explicit(&k->counter, 1, memory_order_relaxed);
    if (counter >= SEAL_COUNTER_MAX)
        return -ERR_RANGE;
    pkt[0] = type;
    pkt[1] = flags;
    put_u16(pkt + OFFSET_ZERO, 0);
    put_u32(pkt + OFFSET_INDEX, k->index);
    put_u64(pkt + OFFSET_COUNTER, counter);
    nonce_of(nonce, counter);
    aead_seal(w->aead, &key, nonce, pkt, PACKET_HEADER_LEN, payload, len, payload + len);
    return (int)(PACKET_HEADER_LEN + len + PACKET_TAG_LEN);
}

/* The key's window, made now if this is the first packet that authenticated. */
static struct window *window_of(struct seal_key *k)
{
    struct window *window = atomic_load_explicit(&k->window, memory_order_acquire);
    struct window *mine;

    if (window != NULL)
        return window;
    mine = window_new(k->window_size);
    if (mine == NULL)
        return NULL;
    if (atomic_compare_exchange_strong_explicit(&k->window, &window, mine, memory_order_acq_rel,
                                                memory_order_acquire))
        return mine;
    window_free(mine); /* another thread's first packet was quicker */
    return window;
}

int open_packet(struct seal_worker *w, struct seal_key *k, uint8_t *pkt, size_t len)
{
    const struct aead_key key = aead_key_of(k);
    uint8_t *payload = pkt + PACKET_HEADER_LEN;
    uint8_t nonce[AEAD_NONCE_LEN];
    struct window *window;
    size_t payload_len;
    uint64_t counter;

    CHECK(k->window_size > 0);
    if (len < PACKET_HEADER_LEN + PACKET_TAG_LEN ||
        len > PACKET_HEADER_LEN + FRAME_MAX + PACKET_TAG_LEN || get_u16(pkt + OFFSET_ZERO) != 0 ||
        get_u32(pkt + OFFSET_INDEX) != k->index)
        return -ERR_FORMAT;
    payload_len = len - PACKET_HEADER_LEN - PACKET_TAG_LEN;
    counter = get_u64(pkt + OFFSET_COUNTER);
    if (counter >= SEAL_COUNTER_MAX)
        return -ERR_RANGE;
    nonce_of(nonce, counter);
    if (!aead_open(w->aead, &key, nonce, pkt, PACKET_HEADER_LEN, payload, payload_len,
                   payload + payload_len))
        return -ERR_CRYPTO;
    window = window_of(k);
    if (window == NULL)
        return -ERR_NOMEM;
    return window_mark(window, counter) ? (int)payload_len : -ERR_RANGE;
}

void seal_raw(struct seal_worker *w, enum seal_alg alg, const struct secret *key,
              const uint8_t nonce[12], const void *aad, size_t aad_len, uint8_t *buf, size_t len,
              uint8_t tag[PACKET_TAG_LEN])
{
    const struct aead_key k = {.alg = alg, .secret = key};

    aead_seal(w->aead, &k, nonce, aad, aad_len, buf, len, tag);
}

bool open_raw(struct seal_worker *w, enum seal_alg alg, const struct secret *key,
              const uint8_t nonce[12], const void *aad, size_t aad_len, uint8_t *buf, size_t len,
              const uint8_t tag[PACKET_TAG_LEN])
{
    const struct aead_key k = {.alg = alg, .secret = key};

    return aead_open(w->aead, &k, nonce, aad, aad_len, buf, len, tag);
}
