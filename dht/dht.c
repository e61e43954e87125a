#include "dht/inside.h"

#include <stdlib.h>
#include <string.h>

#define LEAVE_US SEC(2)
#define LEAVE_REMOVE_US SEC(1) /* of these, for our own records */

struct dht *dht_new(const struct dht_config *config, struct env *env, struct overlay *overlay,
                    const struct dht_host *host, void *ctx)
{
    struct dht *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return NULL;
    d->env = env;
    d->overlay = overlay;
    d->host = *host;
    d->ctx = ctx;
    d->config = *config;
    d->config.cert_der = NULL; /* creds has its own copy */
    if (d->config.memory_max == 0)
        d->config.memory_max = DHT_MEMORY_DEFAULT;
    if (d->config.value_max == 0 || d->config.value_max > DHT_VALUE_MAX)
        d->config.value_max = DHT_VALUE_MAX;
    if (d->config.duration_max_s == 0 || d->config.duration_max_s > DHT_DURATION_MAX_S)
        d->config.duration_max_s = DHT_DURATION_MAX_S;
    creds_init(&d->creds, config, host, ctx, env);
    store_init(&d->store, &d->creds, d->config.memory_max, d->config.rendezvous);
    replica_init(d);
    handover_init(d);
    repair_init(d);
    ops_init(d);
    if (config->ca != NULL && creds_set_own(&d->creds, config->cert_der, config->cert_len) != 0) {
        dht_free(d);
        return NULL;
    }
    return d;
}

void dht_free(struct dht *d)
{
    if (d == NULL)
        return;
    watches_clear(d);
    ops_clear(d);
    keep_clear(d);
    handover_clear(d);
    replica_clear(d);
    pen_clear(&d->pen);
    quotas_clear(&d->quotas);
    parts_clear(&d->parts);
    store_clear(&d->store);
    creds_clear(&d->creds);
    sign_secret_clear(&d->config.sec);
    free(d);
}

void dht_count(struct dht *d, enum dht_count c)
{
    d->counts[c]++;
}

bool dht_member(const struct dht *d)
{
    return d->replica.member && overlay_state(d->overlay) == OVERLAY_MEMBER;
}

/* Messages. */

typedef void handler(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);

enum {
    LEN_ITEM = ITEM_HEAD_LEN + RECORD_HEAD_LEN,
    LEN_ITEM_MAX = ITEM_HEAD_LEN + RECORD_MAX,
};

/* Bodies without the header; the handler checks what lies between. */
static const struct {
    uint16_t least, most;
    handler *handle;
} doors[PARCEL_TYPES] = {
    [PARCEL_PART] = {2, OVERLAY_BODY_MAX, parts_input},
    [PARCEL_GRANT] = {1 + LEN_ITEM, 1 + LEN_ITEM_MAX, holder_on_grant},
    [PARCEL_RELEASE] = {1 + 2 * ID_LEN, 1 + 2 * ID_LEN, holder_on_release},
    [PARCEL_STORE] = {1 + LEN_ITEM, 1 + LEN_ITEM_MAX, holder_on_store},
    [PARCEL_RENEW] = {1 + RENEWAL_LEN, 1 + RENEWAL_LEN, holder_on_renew},
    [PARCEL_GET] = {1 + 2 * ID_LEN, 1 + 2 * ID_LEN, holder_on_get},
    [PARCEL_WATCH] = {1 + ID_LEN + 2, 1 + ID_LEN + 2, watch_on_watch},
    [PARCEL_VERDICT] = {2, 2 + LEN_ITEM_MAX, op_on_verdict},
    [PARCEL_VALUES] = {2, PARCEL_MAX, op_on_values},
    [PARCEL_WATCHED] = {8, 8, watch_on_watched},
    [PARCEL_COPY] = {2, PARCEL_MAX, replica_on_copy},
    [PARCEL_COPIED] = {1, 1 + ITEMS_MAX, replica_on_copied},
    [PARCEL_ASK] = {4 * ID_LEN, 4 * ID_LEN, fill_on_ask},
    [PARCEL_PAGE] = {3, PARCEL_MAX, fill_on_page},
    [PARCEL_SYNC] = {2 * ID_LEN + 12, 2 * ID_LEN + 12, repair_on_sync},
    [PARCEL_LIST] = {2 + 2 * ID_LEN, 2 + 2 * ID_LEN + 8 * VERSIONS_MAX, repair_on_list},
    [PARCEL_WANT] = {1, 1 + 8 * VERSIONS_MAX, repair_on_want},
    [PARCEL_LOST] = {1 + LEN_ITEM, 1 + LEN_ITEM_MAX, keep_on_lost},
    [PARCEL_CERT_GET] = {HASH_LEN, HASH_LEN, pen_on_cert_get},
    [PARCEL_CERT] = {1, CERT_DER_MAX, pen_on_cert},
};

void dht_dispatch(struct dht *d, const struct overlay_from *from, const uint8_t *body, size_t len)
{
    struct reader r = reader_of(body, len);
    uint8_t type = read_u8(&r);
    uint64_t id = read_u64(&r);
    size_t left = reader_left(&r);

    if (r.failed || type >= PARCEL_TYPES || doors[type].handle == NULL ||
        left < doors[type].least || left > doors[type].most) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    d->from = from;
    d->body = body;
    d->body_len = len;
    doors[type].handle(d, from, id, &r);
}

bool dht_record_good(struct dht *d, const struct record *rec, struct cred **cred)
{
    uint32_t most_s =
        d->config.duration_max_s + (record_removed(rec) ? RECORD_TOMBSTONE_EXTRA_S : 0);

    *cred = NULL;
    if (rec->len <= d->config.value_max && rec->duration_s <= most_s &&
        creds_judge(&d->creds, rec, cred) == CRED_OK)
        return true;
    dht_count(d, COUNT_FORGED);
    return false;
}

/* Doors. */

static void leave_tick(struct dht *d)
{
    bool late = d->env->now_us + LEAVE_US >= d->left_us + LEAVE_REMOVE_US;

    if (d->leaving && !d->replica.leaving && (late || !ops_writing(d)))
        replica_leave(d);
}

static void deliver(struct dht *d)
{
    ops_deliver(d);
    keep_deliver(d);
}

void dht_message(struct dht *d, const struct overlay_from *from, const uint8_t *body, size_t len)
{
    dht_dispatch(d, from, body, len);
    deliver(d);
}

/* Who begins a ring has all that it holds, however soon others are in it. */
static bool begins_ring(const struct dht *d)
{
    struct id near[OVERLAY_NEAR];

    return !d->replica.member && overlay_state(d->overlay) == OVERLAY_MEMBER &&
           overlay_near_left(d->overlay, near) == 0 && overlay_near_right(d->overlay, near) == 0;
}

void dht_ring_changed(struct dht *d)
{
    d->replica.changed = true;
    d->fill.ever |= begins_ring(d);
}

void dht_peer_up(struct dht *d, const struct id *peer)
{
    replica_peer_up(d, peer);
}

void dht_tick(struct dht *d)
{
    struct id key;

    while (store_expire(&d->store, d->env->now_us, &key))
        watchers_changed(d, &key);
    leave_tick(d);
    replica_tick(d);
    parts_tick(d);
    pen_tick(d);
    keep_tick(d);
    ops_tick(d);
    watches_tick(d);
    deliver(d);
}

usec dht_deadline(const struct dht *d)
{
    usec at = store_deadline(&d->store);

    at = usec_min(at, replica_deadline(d));
    at = usec_min(at, parts_deadline(&d->parts));
    at = usec_min(at, pen_deadline(&d->pen));
    at = usec_min(at, keep_deadline(d));
    at = usec_min(at, ops_deadline(d));
    at = usec_min(at, watches_deadline(d));
    if (d->leaving && !d->replica.leaving)
        at = usec_min(at, d->left_us - LEAVE_US + LEAVE_REMOVE_US);
    else if (d->leaving && d->env->now_us < d->left_us)
        at = usec_min(at, d->left_us);
    return at;
}

void dht_set_cert(struct dht *d, const uint8_t *der, size_t len)
{
    if (d->creds.ca != NULL && creds_set_own(&d->creds, der, len) != 0)
        env_log(d->env, LOG_LEVEL_WARN, "dht: our new certificate does not read; using the old");
    keep_check_soon(d);
}

void dht_removed(struct dht *d)
{
    for (size_t i = d->store.count; i-- > 0;) {
        struct entry *e = d->store.v[i];
        struct id key = e->rec.key;

        if (e->cred == NULL || !creds_revoked(&d->creds, e->cred))
            continue;
        store_drop(&d->store, e);
        watchers_changed(d, &key);
    }
    creds_drop_idle(&d->creds); /* to be verified anew when they are met again */
}

/* Operations. */

static int write_new(struct dht *d, uint8_t kind, const struct id *key, const struct id *owner,
                     const void *value, size_t len, uint32_t duration_s, unsigned flags,
                     const struct op_caller *caller)
{
    struct record rec = {.key = *key, .kind = kind, .value = value, .duration_s = duration_s};

    if (d->leaving)
        return -ERR_BAD_STATE;
    if (len > d->config.value_max || duration_s < DHT_DURATION_MIN_S ||
        duration_s > d->config.duration_max_s)
        return -ERR_RANGE;
    if (!keep_has_room(d, key))
        return -ERR_FULL;
    rec.writer = d->config.node;
    rec.owner = owner != NULL ? *owner : d->config.node;
    rec.len = (uint16_t)len;
    return op_write(d, kind == RECORD_CREATE ? OP_CREATE : OP_PUT, &rec, flags, caller);
}

int dht_create(struct dht *d, const struct id *key, const struct id *owner, const void *value,
               size_t len, uint32_t duration_s, unsigned flags, dht_done *done, void *ctx,
               uint64_t token)
{
    return write_new(d, RECORD_CREATE, key, owner, value, len, duration_s, flags,
                     &(struct op_caller){done, ctx, token});
}

int dht_put(struct dht *d, const struct id *key, const struct id *owner, const void *value,
            size_t len, uint32_t duration_s, unsigned flags, dht_done *done, void *ctx,
            uint64_t token)
{
    return write_new(d, RECORD_PUT, key, owner, value, len, duration_s, flags,
                     &(struct op_caller){done, ctx, token});
}

int dht_put_rendezvous(struct dht *d, const struct sign_public *pub, const struct sign_secret *sec,
                       const struct id *owner, const void *value, size_t len, uint32_t duration_s,
                       dht_done *done, void *ctx, uint64_t token)
{
    struct record rec = {.key = dht_rendezvous_key(&d->config.overlay, pub),
                         .owner = *owner,
                         .writer = node_id_self(pub),
                         .kind = RECORD_PUT,
                         .len = (uint16_t)len,
                         .value = value,
                         .duration_s = duration_s};

    if (d->leaving)
        return -ERR_BAD_STATE;
    if (len > d->config.value_max || duration_s < DHT_DURATION_MIN_S ||
        duration_s > d->config.duration_max_s)
        return -ERR_RANGE;
    if (!keep_has_room(d, &rec.key))
        return -ERR_FULL;
    return op_write_as(d, OP_PUT, &rec, pub, sec, &(struct op_caller){done, ctx, token});
}

int dht_get(struct dht *d, const struct id *key, enum dht_mode mode, dht_done *done, void *ctx,
            uint64_t token)
{
    if (d->leaving)
        return -ERR_BAD_STATE;
    return op_lookup(d, key, mode, &(struct op_caller){done, ctx, token});
}

static int remove_lease(struct dht *d, const struct lease *lease, const struct op_caller *caller)
{
    struct record rec = record_tombstone(&lease->rec);
    int rc = op_write(d, OP_REMOVAL, &rec, 0, caller);

    if (rc == 0)
        keep_drop(d, &rec.key);
    return rc;
}

int dht_remove(struct dht *d, const struct id *key, dht_done *done, void *ctx, uint64_t token)
{
    const struct lease *lease = keep_find(d, key);

    if (d->leaving)
        return -ERR_BAD_STATE;
    if (lease == NULL)
        return -ERR_NOT_FOUND;
    return remove_lease(d, lease, &(struct op_caller){done, ctx, token});
}

int dht_remove_rendezvous(struct dht *d, const struct sign_public *pub,
                          const struct sign_secret *sec, dht_done *done, void *ctx, uint64_t token)
{
    struct id key = dht_rendezvous_key(&d->config.overlay, pub);
    const struct lease *lease = keep_find(d, &key);
    struct record rec;
    int rc;

    if (d->leaving)
        return -ERR_BAD_STATE;
    if (lease == NULL)
        return -ERR_NOT_FOUND;
    rec = record_tombstone(&lease->rec);
    rc = op_write_as(d, OP_REMOVAL, &rec, pub, sec, &(struct op_caller){done, ctx, token});
    if (rc == 0)
        keep_drop(d, &rec.key);
    return rc;
}

void dht_cancel(struct dht *d, const void *ctx)
{
    ops_cancel(d, ctx);
    watches_cancel(d, ctx);
}

int dht_watch(struct dht *d, const struct id *key, dht_done *changed, void *ctx, uint64_t token)
{
    if (d->leaving)
        return -ERR_BAD_STATE;
    return watch_start(d, key, &(struct op_caller){changed, ctx, token});
}

void dht_unwatch(struct dht *d, const struct id *key, const void *ctx)
{
    watch_stop(d, key, ctx);
}

bool dht_unkeep(struct dht *d, const struct id *key)
{
    struct lease *lease = keep_find(d, key);
    bool kept = lease != NULL && lease->kept;

    if (kept)
        lease->kept = false;
    return kept;
}

static uint32_t seconds_until(usec at_us, usec now_us)
{
    return at_us > now_us ? (uint32_t)((at_us - now_us) / SEC(1)) : 0;
}

bool dht_kept(const struct dht *d, const struct id *key, struct dht_value *out)
{
    const struct lease *lease = keep_find(d, key);

    if (lease == NULL || !lease->kept)
        return false;
    *out =
        dht_value_of(&lease->rec, d->creds.own[0], seconds_until(lease->ends_us, d->env->now_us));
    return true;
}

/* First our own records off their keys, then what we hold for others to those who hold it next. */
void dht_leave(struct dht *d)
{
    if (d->leaving)
        return;
    d->leaving = true;
    d->left_us = d->env->now_us + LEAVE_US;
    for (size_t i = d->keep.count; i-- > 0;)
        if (d->keep.v[i]->lost || remove_lease(d, d->keep.v[i], NULL) != 0)
            keep_drop(d, &d->keep.v[i]->rec.key);
}

bool dht_left(const struct dht *d)
{
    if (!d->leaving)
        return false;
    return d->env->now_us >= d->left_us ||
           (d->replica.leaving && handover_over(d) && !ops_writing(d));
}

int dht_record_export(const struct dht *d, const struct id *key, uint8_t *out, size_t size)
{
    const struct lease *lease = keep_find(d, key);
    struct writer w = writer_of(out, size);

    if (lease == NULL)
        return -ERR_NOT_FOUND;
    record_write(&w, &lease->rec);
    return w.failed ? -ERR_RANGE : (int)writer_len(&w);
}

int dht_record_check(const struct dht *d, const struct cert *peer, const uint8_t *bytes, size_t len,
                     struct dht_value *out)
{
    struct reader r = reader_of(bytes, len);
    struct record rec;

    memset(out, 0, sizeof(*out));
    if (!record_read(&r, &rec) || !reader_done(&r) || record_removed(&rec))
        return -ERR_FORMAT;
    if (!id_eq(&rec.writer, &peer->node) || record_outdated(&rec, d->env))
        return -ERR_CRYPTO;
    if (!id_eq(&rec.owner, &peer->node) &&
        (id_is_zero(&peer->site) || !id_eq(&rec.owner, &peer->site)))
        return -ERR_CRYPTO;
    if (!record_verify(&rec, &d->config.overlay, &peer->key))
        return -ERR_CRYPTO;
    *out = dht_value_of(&rec, NULL, rec.duration_s);
    out->enrolment = peer->enrolment;
    return 0;
}

struct id dht_list_key(const struct id *list, uint8_t bucket)
{
    static const char prefix[] = "peal dht bucket";
    struct bytes parts[] = {{prefix, sizeof(prefix)}, {list->b, ID_LEN}, {&bucket, 1}};

    return id_hash(parts, ARRAY_LEN(parts));
}

uint8_t dht_list_bucket(const struct id *owner)
{
    return owner->b[0];
}

/* For people. */

struct dht_value dht_value_of(const struct record *rec, const struct cred *cred,
                              uint32_t remaining_s)
{
    return (struct dht_value){
        .key = rec->key,
        .owner = rec->owner,
        .writer = rec->writer,
        .enrolment = cred != NULL ? cred->enrolment : 0,
        .epoch = rec->epoch,
        .sequence = rec->sequence,
        .remaining_s = remaining_s,
        .single = record_single(rec),
        .len = rec->len,
        .value = rec->value,
    };
}

const char *dht_status_text(enum dht_status s)
{
    switch (s) {
    case DHT_OK:
        return "done";
    case DHT_TAKEN:
        return "taken by another member";
    case DHT_BUSY:
        return "others are claiming it at the same time";
    case DHT_NOT_FOUND:
        return "not found";
    case DHT_NO_MAJORITY:
        return "the holders disagree";
    case DHT_TIMEOUT:
        return "too few holders answered";
    case DHT_REFUSED:
        return "refused by the holders";
    }
    return "unknown";
}

size_t dht_records(const struct dht *d)
{
    return d->store.live;
}

size_t dht_memory(const struct dht *d)
{
    return d->store.bytes + d->creds.bytes;
}

size_t dht_index_memory(const struct dht *d)
{
    return store_index_bytes(&d->store);
}

bool dht_ready(const struct dht *d)
{
    return replica_ready(d);
}

bool dht_held_next(const struct dht *d, size_t *i, struct dht_held *out)
{
    const struct entry *e;

    if (*i >= d->store.count)
        return false;
    e = d->store.v[(*i)++];
    *out = (struct dht_held){
        .v = dht_value_of(&e->rec, e->cred, entry_remaining_s(e, d->env->now_us)),
        .duration_s = e->rec.duration_s,
        .tombstone = record_removed(&e->rec),
        .points = e->points,
    };
    return true;
}

static const char *const count_names[COUNT_MAX] = {
    [COUNT_MALFORMED] = "drop_malformed",
    [COUNT_UNASKED] = "drop_unasked",
    [COUNT_FORGED] = "drop_forged",
    [COUNT_CERT_BAD] = "certificates_refused",
    [COUNT_PEN_FULL] = "waiting_dropped",
    [COUNT_PEN_TIMEOUT] = "waiting_timeout",
    [COUNT_QUOTA] = "quota_refused",
    [COUNT_CONFLICTS] = "conflicts",
    [COUNT_GRANTS] = "grants",
    [COUNT_STORES] = "stores",
    [COUNT_GETS] = "gets",
    [COUNT_COPIES_SENT] = "copies_sent",
    [COUNT_HANDED_OVER] = "handed_over",
    [COUNT_SYNCS_SENT] = "syncs_sent",
    [COUNT_OPS] = "operations",
    [COUNT_OPS_FAILED] = "operations_failed",
    [COUNT_TAKEN] = "claims_taken",
    [COUNT_AGAIN] = "claims_again",
    [COUNT_LOST] = "leases_lost",
};

bool dht_counter(const struct dht *d, size_t i, const char **name, uint64_t *value)
{
    if (i >= COUNT_MAX)
        return false;
    *name = count_names[i];
    *value = d->counts[i];
    return true;
}
