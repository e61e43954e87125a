#include "dht/store.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"

enum {
    BLOCK_EXTRA = 16, /* what an allocator takes beside a block: its size, and what it rounds up */
};

struct usage {
    struct id payer;
    uint32_t bytes;
};

void store_init(struct store *s, struct creds *creds, size_t memory_max, bool by_prefix)
{
    uint8_t hash[HASH_LEN];

    CHECK(memory_max <= UINT32_MAX);
    *s = (struct store){.creds = creds, .memory_max = memory_max, .by_prefix = by_prefix};
    sha256(hash, creds->overlay.b, ID_LEN);
    memcpy(s->version_key, hash, sizeof(s->version_key));
    heap_init(&s->ends);
    table_init(&s->payers, offsetof(struct usage, payer), ID_LEN, STORE_PAYERS_MAX,
               creds->env->hash_key);
}

void store_clear(struct store *s)
{
    struct usage *u;

    heap_clear(&s->ends);
    for (size_t i = 0; i < s->count; i++) {
        cred_unref(s->creds, s->v[i]->cred);
        free(s->v[i]);
    }
    for (size_t i = 0; (u = table_next(&s->payers, &i)) != NULL;)
        free(u);
    table_clear(&s->payers);
    free(s->v);
    free(s->promises);
}

static int place_cmp(const struct entry *e, const struct id *key, const struct id *owner)
{
    int order = id_cmp(&e->rec.key, key);

    return order != 0 ? order : id_cmp(&e->rec.owner, owner);
}

size_t store_index(const struct store *s, const struct id *key, const struct id *owner)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (place_cmp(s->v[mid], key, owner) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct entry *store_find(const struct store *s, const struct id *key, const struct id *owner)
{
    size_t i = store_index(s, key, owner);

    return i < s->count && place_cmp(s->v[i], key, owner) == 0 ? s->v[i] : NULL;
}

struct entry *store_find_version(const struct store *s, uint64_t version)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->v[i]->version == version)
            return s->v[i];
    return NULL;
}

static size_t key_begin(const struct store *s, const struct id *key)
{
    static const struct id lowest;

    return store_index(s, key, &lowest);
}

static bool at_key(const struct store *s, size_t i, const struct id *key)
{
    return i < s->count && id_eq(&s->v[i]->rec.key, key);
}

struct entry *store_standing(const struct store *s, const struct id *key)
{
    for (size_t i = key_begin(s, key); at_key(s, i, key); i++)
        if (s->v[i]->rec.kind == RECORD_CREATE)
            return s->v[i];
    return NULL;
}

uint32_t entry_remaining_s(const struct entry *e, usec now_us)
{
    return e->ends.at_us > now_us ? (uint32_t)((e->ends.at_us - now_us) / SEC(1)) : 0;
}

bool entry_live(const struct entry *e, usec now_us)
{
    return !record_removed(&e->rec) && entry_remaining_s(e, now_us) > 0;
}

static size_t cost(size_t value_len)
{
    return sizeof(struct entry) + value_len + sizeof(struct entry *);
}

/* Whom a record is charged to. All that came by connections whose other end is not known share one.
 */
static struct id payer_of(const struct store *s, const struct record *rec, uint64_t prefix)
{
    struct id payer = {{0}};

    if (!s->by_prefix)
        return rec->writer;
    put_u64(payer.b, prefix);
    return payer;
}

static size_t payer_bytes(const struct store *s, const struct id *payer)
{
    const struct usage *u = table_get(&s->payers, payer);

    return u != NULL ? u->bytes : 0;
}

size_t store_index_bytes(const struct store *s)
{
    return s->payers.count * sizeof(struct usage) + (s->payers.count + s->count) * BLOCK_EXTRA +
           (s->payers.size + s->ends.size + s->size - s->count) * sizeof(void *);
}

static bool charge(struct store *s, const struct id *payer, size_t bytes)
{
    struct usage *u = table_get(&s->payers, payer);

    if (u == NULL) {
        u = calloc(1, sizeof(*u));
        if (u == NULL)
            return false;
        u->payer = *payer;
        if (table_put(&s->payers, u) != 0) {
            free(u);
            return false;
        }
    }
    u->bytes += (uint32_t)bytes;
    s->bytes += bytes;
    return true;
}

static void discharge(struct store *s, const struct id *payer, size_t bytes)
{
    struct usage *u = table_get(&s->payers, payer);

    CHECK(u != NULL && u->bytes >= bytes && s->bytes >= bytes);
    u->bytes -= (uint32_t)bytes;
    s->bytes -= bytes;
    if (u->bytes == 0)
        free(table_remove(&s->payers, payer));
}

void store_drop(struct store *s, struct entry *e)
{
    size_t i = store_index(s, &e->rec.key, &e->rec.owner);
    struct id payer = payer_of(s, &e->rec, e->prefix);

    CHECK(i < s->count && s->v[i] == e);
    memmove(&s->v[i], &s->v[i + 1], (s->count - i - 1) * sizeof(*s->v));
    s->count--;
    if (!record_removed(&e->rec))
        s->live--;
    discharge(s, &payer, cost(e->rec.len));
    heap_set(&s->ends, &e->ends, USEC_NEVER);
    cred_unref(s->creds, e->cred);
    free(e);
}

/* Ties by the lower id, so that it does not depend on the table's order. */
static struct id greatest_payer(const struct store *s)
{
    const struct usage *most = NULL, *u;

    for (size_t i = 0; (u = table_next(&s->payers, &i)) != NULL;)
        if (most == NULL || u->bytes > most->bytes ||
            (u->bytes == most->bytes && id_cmp(&u->payer, &most->payer) < 0))
            most = u;
    CHECK(most != NULL);
    return most->payer;
}

static struct entry *soonest_of(const struct store *s, const struct id *payer)
{
    struct entry *victim = NULL;

    for (size_t i = 0; i < s->count; i++) {
        struct id whose = payer_of(s, &s->v[i]->rec, s->v[i]->prefix);

        if (id_eq(&whose, payer) && (victim == NULL || s->v[i]->ends.at_us < victim->ends.at_us))
            victim = s->v[i];
    }
    return victim;
}

/* Room for `need` more bytes of this payer, at the cost of the greatest one. */
static bool make_room(struct store *s, const struct id *payer, size_t need)
{
    size_t share = s->by_prefix ? 1 : STORE_WRITER_SHARE;

    if (payer_bytes(s, payer) + need > s->memory_max / share)
        return false;
    while (s->bytes + need > s->memory_max) {
        struct id most = greatest_payer(s);

        if (id_eq(&most, payer) || payer_bytes(s, &most) <= payer_bytes(s, payer) + need)
            return false;
        store_drop(s, soonest_of(s, &most));
    }
    return true;
}

static bool grow(struct store *s)
{
    size_t size = s->size > 0 ? 2 * s->size : 16;
    struct entry **v;

    if (s->count < s->size)
        return true;
    v = realloc(s->v, size * sizeof(*v));
    if (v == NULL)
        return false;
    s->v = v;
    s->size = size;
    return true;
}

static struct entry *insert(struct store *s, const struct record *rec, struct cred *cred,
                            uint32_t remaining_s, uint64_t prefix, usec now_us)
{
    size_t i = store_index(s, &rec->key, &rec->owner);
    struct entry *e = calloc(1, sizeof(*e) + rec->len);
    struct id payer = payer_of(s, rec, prefix);

    if (e == NULL || !grow(s) || !charge(s, &payer, cost(rec->len))) {
        free(e);
        return NULL;
    }
    e->rec = *rec;
    e->prefix = prefix;
    if (rec->len > 0)
        memcpy(e->value, rec->value, rec->len);
    e->rec.value = e->value;
    e->version = record_version(rec, s->version_key);
    e->cred = cred;
    cred_ref(s->creds, cred);
    memmove(&s->v[i + 1], &s->v[i], (s->count - i) * sizeof(*s->v));
    s->v[i] = e;
    s->count++;
    if (!record_removed(rec))
        s->live++;
    heap_set(&s->ends, &e->ends, now_us + SEC(remaining_s));
    return e;
}

/* Counts what the newcomer adds to: live values of a list, or tombstones. */
static size_t count_like(const struct store *s, const struct record *rec, struct entry **soonest)
{
    size_t n = 0;

    *soonest = NULL;
    for (size_t i = key_begin(s, &rec->key); at_key(s, i, &rec->key); i++) {
        struct entry *e = s->v[i];

        if (e->rec.kind == RECORD_CREATE || record_removed(&e->rec) != record_removed(rec) ||
            id_eq(&e->rec.owner, &rec->owner))
            continue;
        n++;
        if (*soonest == NULL || e->ends.at_us < (*soonest)->ends.at_us)
            *soonest = e;
    }
    return n;
}

static bool key_has_room(struct store *s, const struct record *rec)
{
    struct entry *soonest;
    size_t n = count_like(s, rec, &soonest);

    if (record_removed(rec) && n >= STORE_TOMBSTONES_MAX)
        store_drop(s, soonest);
    return record_removed(rec) || rec->kind == RECORD_CREATE || n < DHT_VALUES_MAX;
}

static bool has_room(struct store *s, const struct record *rec, uint64_t prefix,
                     const struct entry *old)
{
    struct id payer = payer_of(s, rec, prefix);
    size_t need = cost(rec->len);

    if (old != NULL && id_eq(&old->rec.writer, &rec->writer) && cost(old->rec.len) >= need)
        return true; /* it takes the place of its older version */
    return make_room(s, &payer, need);
}

enum store_verdict store_put(struct store *s, const struct record *rec, struct cred *cred,
                             uint32_t remaining_s, uint64_t prefix, usec now_us,
                             struct entry **standing, struct id *loser)
{
    struct entry *old = store_find(s, &rec->key, &rec->owner);
    struct entry *rival = rec->kind == RECORD_CREATE ? store_standing(s, &rec->key) : NULL;

    *standing = old;
    *loser = (struct id){{0}};
    if (old != NULL && memcmp(old->rec.signature, rec->signature, SIGNATURE_LEN) == 0)
        return STORE_SAME;
    if (old != NULL && record_newer(&old->rec, rec))
        return STORE_OLDER;
    if (rival == old || (rival != NULL && !entry_live(rival, now_us)))
        rival = NULL;
    if (rival != NULL && !creds_wins(s->creds, rec, cred, &rival->rec, rival->cred)) {
        *standing = rival;
        return STORE_TAKEN;
    }
    if (!key_has_room(s, rec) || !has_room(s, rec, prefix, old))
        return STORE_REFUSED;
    /* Making room may have taken either of them. */
    old = store_find(s, &rec->key, &rec->owner);
    if (old != NULL)
        store_drop(s, old);
    rival = rec->kind == RECORD_CREATE ? store_standing(s, &rec->key) : NULL;
    if (rival != NULL) {
        if (entry_live(rival, now_us))
            *loser = rival->rec.writer;
        store_drop(s, rival);
    }
    if (remaining_s > rec->duration_s)
        remaining_s = rec->duration_s;
    *standing = insert(s, rec, cred, remaining_s, prefix, now_us);
    return *standing != NULL ? STORE_NEW : STORE_REFUSED;
}

static void sweep_promises(struct store *s, usec now_us);

bool store_expire(struct store *s, usec now_us, struct id *key)
{
    struct timer *t = heap_pop(&s->ends, now_us);
    struct entry *e;

    sweep_promises(s, now_us);
    if (t == NULL)
        return false;
    e = CONTAINER_OF(t, struct entry, ends);
    *key = e->rec.key;
    store_drop(s, e);
    return true;
}

usec store_deadline(const struct store *s)
{
    return heap_deadline(&s->ends);
}

/* Point i of a key is in the range when the key is in the range turned back by i steps. */
struct arcs arcs_of(const struct id *lo, const struct id *hi)
{
    static const struct id zero;
    struct arcs arcs = {.width = id_sub(hi, lo)};

    for (unsigned i = 0; i < DHT_POINTS; i++) {
        struct id turn = id_point(&zero, i, DHT_POINTS);

        arcs.lo[i] = id_sub(lo, &turn);
    }
    return arcs;
}

bool arcs_have(const struct arcs *arcs, const struct id *key)
{
    if (id_is_zero(&arcs->width))
        return true;
    for (size_t i = 0; i < DHT_POINTS; i++) {
        struct id at = id_sub(key, &arcs->lo[i]);

        if (id_cmp(&at, &arcs->width) < 0)
            return true;
    }
    return false;
}

void store_digest(const struct store *s, const struct id *lo, const struct id *hi, uint32_t *count,
                  uint64_t *sum)
{
    struct arcs arcs = arcs_of(lo, hi);

    *count = 0;
    *sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (!arcs_have(&arcs, &s->v[i]->rec.key))
            continue;
        ++*count;
        *sum ^= s->v[i]->version;
    }
}

uint64_t store_key_sum(const struct store *s, const struct id *key)
{
    uint64_t sum = 0;

    for (size_t i = key_begin(s, key); at_key(s, i, key); i++)
        if (!record_removed(&s->v[i]->rec))
            sum ^= s->v[i]->version;
    return sum;
}

/* Promises are few and short-lived: an array, the expired ones swept when it is touched. */
static void sweep_promises(struct store *s, usec now_us)
{
    size_t n = 0;

    for (size_t i = 0; i < s->promise_count; i++)
        if (s->promises[i].ends_us > now_us)
            s->promises[n++] = s->promises[i];
    s->promise_count = n;
    if (n == 0) {
        free(s->promises);
        s->promises = NULL;
        s->promise_size = 0;
    }
}

static struct promise *promise_at(const struct store *s, const struct id *key, usec now_us)
{
    for (size_t i = 0; i < s->promise_count; i++)
        if (id_eq(&s->promises[i].key, key) && s->promises[i].ends_us > now_us)
            return &s->promises[i];
    return NULL;
}

static bool grow_promises(struct store *s)
{
    size_t size = s->promise_size > 0 ? 2 * s->promise_size : 4;
    struct promise *p;

    if (s->promise_count < s->promise_size)
        return true;
    p = realloc(s->promises, size * sizeof(*p));
    if (p == NULL)
        return false;
    s->promises = p;
    s->promise_size = size;
    return true;
}

static size_t promises_of(const struct store *s, const struct id *owner)
{
    size_t n = 0;

    for (size_t i = 0; i < s->promise_count; i++)
        n += id_eq(&s->promises[i].owner, owner);
    return n;
}

static int add_promise(struct store *s, const struct id *key, const struct id *owner, usec ends_us)
{
    if (s->promise_count >= STORE_PROMISES_MAX || promises_of(s, owner) >= STORE_PROMISES_OWNER ||
        !grow_promises(s))
        return -ERR_FULL;
    s->promises[s->promise_count++] = (struct promise){*key, *owner, ends_us};
    return 0;
}

int store_promise(struct store *s, const struct id *key, const struct id *owner, usec now_us)
{
    struct promise *p;

    sweep_promises(s, now_us);
    p = promise_at(s, key, now_us);
    if (p != NULL && !id_eq(&p->owner, owner))
        return -ERR_BAD_STATE;
    if (p == NULL)
        return add_promise(s, key, owner, now_us + SEC(STORE_PROMISE_S));
    p->ends_us = now_us + SEC(STORE_PROMISE_S);
    return 0;
}

void store_promise_heard(struct store *s, const struct id *key, const struct id *owner,
                         usec ends_us, usec now_us)
{
    sweep_promises(s, now_us);
    if (promise_at(s, key, now_us) == NULL)
        (void)add_promise(s, key, owner, ends_us); /* full: as if it had not been heard */
}

bool store_promised(const struct store *s, const struct id *key, const struct id *owner,
                    usec now_us)
{
    const struct promise *p = promise_at(s, key, now_us);

    return p != NULL && id_eq(&p->owner, owner);
}

void store_release(struct store *s, const struct id *key, const struct id *owner)
{
    for (size_t i = 0; i < s->promise_count; i++)
        if (id_eq(&s->promises[i].key, key) && id_eq(&s->promises[i].owner, owner))
            s->promises[i].ends_us = 0;
}

void store_release_all(struct store *s, const struct id *key)
{
    for (size_t i = 0; i < s->promise_count; i++)
        if (id_eq(&s->promises[i].key, key))
            s->promises[i].ends_us = 0;
}
