#include "dht/inside.h"

#include <stdlib.h>
#include <string.h>

void keep_clear(struct dht *d)
{
    for (size_t i = 0; i < d->keep.count; i++)
        free(d->keep.v[i]);
    free(d->keep.v);
    d->keep = (struct keep){.v = NULL};
}

static size_t place(const struct dht *d, const struct id *key)
{
    size_t low = 0, high = d->keep.count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (id_cmp(&d->keep.v[mid]->rec.key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct lease *keep_find(const struct dht *d, const struct id *key)
{
    size_t i = place(d, key);

    if (i == d->keep.count || !id_eq(&d->keep.v[i]->rec.key, key) || d->keep.v[i]->lost)
        return NULL;
    return d->keep.v[i];
}

bool keep_has_room(const struct dht *d, const struct id *key)
{
    return d->keep.count < DHT_KEPT_MAX || keep_find(d, key) != NULL;
}

static void take_out(struct dht *d, size_t i)
{
    free(d->keep.v[i]);
    memmove(&d->keep.v[i], &d->keep.v[i + 1], (d->keep.count - i - 1) * sizeof(d->keep.v[0]));
    d->keep.count--;
}

void keep_drop(struct dht *d, const struct id *key)
{
    size_t i = place(d, key);

    if (i < d->keep.count && id_eq(&d->keep.v[i]->rec.key, key))
        take_out(d, i);
}

static bool grow(struct keep *k)
{
    size_t size = k->size > 0 ? 2 * k->size : 4;
    struct lease **v;

    if (k->count < k->size)
        return true;
    v = realloc(k->v, size * sizeof(*v));
    if (v == NULL)
        return false;
    k->v = v;
    k->size = size;
    return true;
}

static struct lease *insert(struct dht *d, const struct record *rec)
{
    struct lease *lease = calloc(1, sizeof(*lease) + rec->len);
    size_t i = place(d, &rec->key);

    if (lease == NULL || !grow(&d->keep)) {
        free(lease);
        return NULL;
    }
    lease->rec = *rec;
    if (rec->len > 0)
        memcpy(lease->value, rec->value, rec->len);
    lease->rec.value = lease->value;
    memmove(&d->keep.v[i + 1], &d->keep.v[i], (d->keep.count - i) * sizeof(d->keep.v[0]));
    d->keep.v[i] = lease;
    d->keep.count++;
    return lease;
}

/* Not everywhere yet, or not at all: again soon, then less and less often. */
static void retry_later(struct dht *d, struct lease *lease)
{
    lease->retry_us =
        lease->retry_us == 0 ? KEEP_RETRY_MIN_US : usec_min(2 * lease->retry_us, KEEP_RETRY_MAX_US);
    lease->renew_us = d->env->now_us + env_jitter(d->env, lease->retry_us, 30);
}

void keep_confirmed(struct dht *d, const struct record *rec, bool kept, usec ends_us, bool complete)
{
    const struct lease *old = keep_find(d, &rec->key);
    usec retry_us = old != NULL ? old->retry_us : 0;
    usec renew_us = old != NULL ? old->renew_us : 0;
    bool same = old != NULL && memcmp(old->rec.signature, rec->signature, SIGNATURE_LEN) == 0;
    struct lease *lease;

    kept |= old != NULL && old->kept;
    keep_drop(d, &rec->key);
    lease = insert(d, rec);
    if (lease == NULL)
        return;
    lease->kept = kept;
    lease->ends_us = ends_us;
    lease->retry_us = retry_us;
    if (complete) {
        lease->retry_us = 0;
        lease->renew_us = d->env->now_us + env_jitter(d->env, SEC(rec->duration_s) / 2, 10);
    } else if (same) {
        lease->renew_us = renew_us;
    } else {
        retry_later(d, lease);
    }
}

void keep_failed(struct dht *d, const struct id *key)
{
    struct lease *lease = keep_find(d, key);

    if (lease == NULL)
        return;
    lease->busy = false;
    retry_later(d, lease);
}

void keep_lost(struct dht *d, const struct id *key, const struct id *winner)
{
    struct lease *lease = keep_find(d, key);

    if (lease == NULL)
        return;
    lease->lost = true;
    lease->winner = *winner;
    dht_count(d, COUNT_LOST);
}

void keep_check_soon(struct dht *d)
{
    for (size_t i = 0; i < d->keep.count; i++)
        d->keep.v[i]->renew_us = usec_min(d->keep.v[i]->renew_us,
                                          d->env->now_us + env_random_below(d->env, KEEP_CHECK_US));
}

static void lease_tick(struct dht *d, struct lease *lease)
{
    static const struct id nobody;

    if (lease->ends_us <= d->env->now_us) {
        keep_lost(d, &lease->rec.key, &nobody);
        return;
    }
    if (!lease->kept || lease->busy || lease->renew_us > d->env->now_us)
        return;
    if (op_write(d, OP_RENEWAL, &lease->rec, 0, NULL) == 0)
        lease->busy = true;
    else
        retry_later(d, lease);
}

void keep_tick(struct dht *d)
{
    for (size_t i = 0; i < d->keep.count; i++)
        if (!d->keep.v[i]->lost)
            lease_tick(d, d->keep.v[i]);
}

usec keep_deadline(const struct dht *d)
{
    usec at = USEC_NEVER;

    for (size_t i = 0; i < d->keep.count; i++) {
        const struct lease *lease = d->keep.v[i];

        at = usec_min(at, lease->ends_us);
        if (lease->kept && !lease->busy)
            at = usec_min(at, lease->renew_us);
    }
    return at;
}

static size_t first_lost(const struct dht *d)
{
    size_t i = 0;

    while (i < d->keep.count && !d->keep.v[i]->lost)
        i++;
    return i;
}

void keep_deliver(struct dht *d)
{
    size_t i;

    /* The callback may create and remove leases. */
    while ((i = first_lost(d)) < d->keep.count) {
        struct id key = d->keep.v[i]->rec.key;
        struct id winner = d->keep.v[i]->winner;
        bool kept = d->keep.v[i]->kept;

        take_out(d, i);
        if (kept && d->host.lost != NULL)
            d->host.lost(d->ctx, &key, &winner);
    }
}

/* Hearsay: it only makes us look now. The points themselves say who owns the key. Our own record is
 * news when it is newer than the lease: a tombstone that an earlier life of ours left behind. */
void keep_on_lost(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    struct item items[ITEMS_MAX];
    size_t n = read_items(r, items);
    struct lease *lease;
    struct cred *cred;

    if (!reader_done(r) || n != 1) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    lease = keep_find(d, &items[0].rec.key);
    if (lease == NULL || pen_holds(d, items, n) || !dht_record_good(d, &items[0].rec, &cred))
        return;
    if (id_eq(&lease->rec.owner, &items[0].rec.owner) ? record_newer(&items[0].rec, &lease->rec)
                                                      : items[0].rec.kind == RECORD_CREATE)
        lease->renew_us = d->env->now_us;
}
