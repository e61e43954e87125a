/*
 * dht.h - the group's memory: small signed records, each leased for a while and held by up to 15
 * members. Addresses, host names, gateways and site subnets are claimed and found here.
 *
 * A key stands at DHT_POINTS points spread evenly over the ring. The member closest to a point
 * holds the record there and copies it to its neighbour on either side before it acknowledges
 * anything. Votes are counted by points, so a ring of one answers itself at once and a ring of
 * three holds everything everywhere.
 *
 * Two kinds of keys: `create` gives a key to one owner, atomically (a majority of the points grants
 * first, then the record is confirmed); `put` keeps one value per owner under a key. Both are
 * leases: holders count the remaining seconds down and pass on the remainder, never more. Nobody's
 * clock decides who owns a key. When two owners meet after a partition, the one whose certificate
 * names the address or name stays, else the lower enrolment number, else (no CA) the lower
 * SHA-256(key, owner); the other is told and its node hears `lost`.
 *
 * Invariants: a holder drops an unexpired record only for a newer one, a tie-break, a certificate
 * revoked, the quota, or when the members who hold it now have said so. Nothing unsigned is stored.
 * A member that has not been handed its range yet neither grants nor says "there is none".
 *
 * A machine without I/O, on top of one struct overlay: it sends with OVERLAY_PROTO_DHT and is given
 * what arrives under that number. Doors: dht_message, dht_tick, dht_deadline, dht_ring_changed,
 * dht_peer_up.
 *
 * Inside: record.h is the wire format, cred.h whose signature it is, store.h what we hold for
 * others, holder.h how we answer, replica.h who else holds it, fill.h, handover.h and repair.h what
 * a changing ring means for it, op.h what we ask of others, keep.h our own leases, watch.h being
 * told of changes, parcel.h the messages, pen.h those that wait for a certificate.
 */
#ifndef PEAL_DHT_DHT_H
#define PEAL_DHT_DHT_H

#include "overlay/overlay.h"

enum {
    DHT_POINTS = 5,
    DHT_MAJORITY_POINTS = 3,
    DHT_VALUE_MAX = 1024,
    DHT_VALUES_MAX = 64,  /* owners under one `put` key, at a holder; more are refused */
    DHT_OPS_MAX = 256,    /* operations of ours under way; more are refused with -ERR_FULL */
    DHT_KEPT_MAX = 1024,  /* leases of ours renewed at a time; as above */
    DHT_WATCHES_MAX = 32, /* keys that we watch; as above */
    DHT_DURATION_MIN_S = 10,
    DHT_DURATION_MAX_S = 30 * 86400,
    DHT_MEMORY_DEFAULT = 1 << 20, /* bytes of others' records */
    DHT_BUCKETS = 256,
};

struct dht;

struct dht_config {
    struct id overlay;             /* group id; in every signature */
    const struct cert_ca *ca;      /* borrowed; NULL: a node id is the hash of its key */
    const struct removed *removed; /* who is no member any more. Borrowed; may be NULL */
    struct sign_public pub;
    struct sign_secret sec;
    struct id node;
    const uint8_t *cert_der; /* ours, with ca; copied */
    size_t cert_len;
    size_t memory_max;       /* 0: DHT_MEMORY_DEFAULT. Victim when full: see store.h */
    uint16_t value_max;      /* 0: DHT_VALUE_MAX; the public overlay keeps 256 bytes */
    uint32_t duration_max_s; /* 0: DHT_DURATION_MAX_S; the public overlay keeps 1 h */
    bool rendezvous;         /* nothing but what dht_put_rendezvous writes; never with ca */
};

struct dht_host {
    /* A kept record of ours has another owner now (`winner`, a node or site id): stop using it. It
     * is no longer kept. */
    void (*lost)(void *ctx, const struct id *key, const struct id *winner);
    /* Does this certificate itself name what `key` stands for (its host name, its address)? Called
     * from inside; must not call back. Never called without a CA; NULL: no. */
    bool (*bound)(void *ctx, const struct id *key, const struct cert *cert);
};
/* Callbacks come last, from dht_message and dht_tick only, with the object consistent: `lost` and
 * the `done` functions below may call anything but dht_message, dht_tick and dht_free. */

struct dht *dht_new(const struct dht_config *config, struct env *env, struct overlay *overlay,
                    const struct dht_host *host, void *ctx);
void dht_free(struct dht *d); /* forgets; pending operations end without their callback */

/* An upper message of OVERLAY_PROTO_DHT. Malformed ones are counted and dropped. */
void dht_message(struct dht *d, const struct overlay_from *from, const uint8_t *body, size_t len);
void dht_tick(struct dht *d);
usec dht_deadline(const struct dht *d);
/* From overlay_host.ring_changed. Only notes it: the work is done in dht_tick. */
void dht_ring_changed(struct dht *d);
/* From overlay_host.peer_up. It may have started anew under the same id and hold nothing: what we
 * believed it to hold is forgotten. Only notes it, as above. */
void dht_peer_up(struct dht *d, const struct id *peer);
/* After a renewal of our certificate (same key). Records signed before stay valid, and are signed
 * anew soon. */
void dht_set_cert(struct dht *d, const uint8_t *der, size_t len);
/* config.removed grew: drops what those that it lists have written. */
void dht_removed(struct dht *d);

/* A record as it is handed out: borrowed until the callback returns. */
struct dht_value {
    struct id key, owner, writer;
    uint64_t enrolment; /* the writer's; 0 without a CA */
    uint32_t epoch, sequence;
    uint32_t remaining_s;
    bool single; /* made by `create`: the key's only owner */
    uint16_t len;
    const uint8_t *value;
};

enum dht_status {
    DHT_OK,
    DHT_TAKEN,       /* create: the key has another owner, values[0] */
    DHT_BUSY,        /* create: others were claiming it at the same time, five tries long */
    DHT_NOT_FOUND,   /* get: every point says that there is none */
    DHT_NO_MAJORITY, /* get, DHT_MAJORITY: the points disagree */
    DHT_TIMEOUT,     /* too few points answered */
    DHT_REFUSED,     /* holders refuse it: a quota is full, or it does not verify there */
};
const char *dht_status_text(enum dht_status s);

struct dht_result {
    enum dht_status status;
    struct id key;
    size_t count; /* of values: 0, or 1, or for a `put` key up to DHT_VALUES_MAX, sorted by owner */
    const struct dht_value *values;
};
/* ctx and token are the caller's own. Called once for each operation that was accepted. */
typedef void dht_done(void *ctx, uint64_t token, const struct dht_result *result);

enum dht_flag {
    DHT_KEEP = 1, /* create, put: renew it at half of its duration until dht_unkeep, dht_remove or
                     dht_leave */
};
enum dht_mode {
    DHT_ANY,      /* the first valid record that a point has */
    DHT_MAJORITY, /* the owner that most points name: for what must be sure */
};

/*
 * All return 0, -ERR_RANGE (value or duration outside its limits), -ERR_FULL, -ERR_BAD_STATE
 * (leaving). They wait while the overlay is not MEMBER yet (30 s at most), and then end within
 * about 8 s a try. `done` may be NULL.
 *
 * owner NULL is this node; else it is a site id that our certificate names. Creating a key that is
 * the owner's already succeeds at once as a renewal, also after a restart without any state, and
 * takes the new value. DHT_OK: values[0] is the record as the points hold it.
 */
int dht_create(struct dht *d, const struct id *key, const struct id *owner, const void *value,
               size_t len, uint32_t duration_s, unsigned flags, dht_done *done, void *ctx,
               uint64_t token) MUST_USE;
int dht_put(struct dht *d, const struct id *key, const struct id *owner, const void *value,
            size_t len, uint32_t duration_s, unsigned flags, dht_done *done, void *ctx,
            uint64_t token) MUST_USE;
/*
 * Where those meet who share a key pair that nobody else has: its public half names the place in
 * the DHT, what stands there is signed with it, and each has an owner id of his own choice. Holders
 * refuse all else under such a key, so a stranger cannot put anything there. Not kept; again
 * replaces. As dht_put; token and done too.
 */
struct id dht_rendezvous_key(const struct id *overlay, const struct sign_public *pub);
int dht_put_rendezvous(struct dht *d, const struct sign_public *pub, const struct sign_secret *sec,
                       const struct id *owner, const void *value, size_t len, uint32_t duration_s,
                       dht_done *done, void *ctx, uint64_t token) MUST_USE;
/* Takes away what the call above wrote last there, as dht_remove does. -ERR_NOT_FOUND: nothing that
 * still stands. */
int dht_remove_rendezvous(struct dht *d, const struct sign_public *pub,
                          const struct sign_secret *sec, dht_done *done, void *ctx,
                          uint64_t token) MUST_USE;
int dht_get(struct dht *d, const struct id *key, enum dht_mode mode, dht_done *done, void *ctx,
            uint64_t token) MUST_USE;
/* Takes our record (kept or not) off the key and leaves a signed tombstone; the key is free at
 * once. -ERR_NOT_FOUND: we neither keep it nor have written it since we started. */
int dht_remove(struct dht *d, const struct id *key, dht_done *done, void *ctx,
               uint64_t token) MUST_USE;
/* Forgets the callbacks of every operation and watch of this ctx; operations go on to their end. */
void dht_cancel(struct dht *d, const void *ctx);

/* `changed` is called with what one point holds under the key: soon after the watch began, and when
 * it changes. 0, -ERR_FULL. One watch for each (key, ctx); again replaces. */
int dht_watch(struct dht *d, const struct id *key, dht_done *changed, void *ctx,
              uint64_t token) MUST_USE;
void dht_unwatch(struct dht *d, const struct id *key, const void *ctx);

/* Stop renewing; the record lives to its end. False: not kept. */
bool dht_unkeep(struct dht *d, const struct id *key);
/* A kept record of ours as it stands; false when we keep none under this key. Borrowed until the
 * next call. */
bool dht_kept(const struct dht *d, const struct id *key, struct dht_value *out);

/* Leaving for good: removes what we kept and hands our range to the neighbours, before
 * overlay_leave. dht_left() is true when all of it was acknowledged, or 2 s later. No operation is
 * accepted from then on. */
void dht_leave(struct dht *d);
bool dht_left(const struct dht *d);

/*
 * The source check (design 7). Export writes the signed record of ours that we keep under `key`, to
 * be shown to a peer: its length, -ERR_NOT_FOUND, -ERR_RANGE. Check verifies one that a peer shows,
 * against the identity of the session it came over (overlay_peer_cert): 0 and *out (borrows from
 * bytes; remaining_s is the whole duration), -ERR_FORMAT, -ERR_CRYPTO. A record that passes is
 * genuine but maybe old or outvoted: ask dht_get(DHT_MAJORITY) and compare the owner.
 */
enum { DHT_RECORD_MAX = DHT_VALUE_MAX + 179 };
int dht_record_export(const struct dht *d, const struct id *key, uint8_t *out,
                      size_t size) MUST_USE;
int dht_record_check(const struct dht *d, const struct cert *peer, const uint8_t *bytes, size_t len,
                     struct dht_value *out) MUST_USE;

/* The key of a thing: SHA-256 of overlay id, what it is ("ipv4", "host", ...), and its name in
 * canonical form. */
struct id dht_key(const struct id *overlay, const char *what, const void *name, size_t len);
/* Long lists are split by owner into DHT_BUCKETS keys: the key of one bucket, and the bucket of an
 * owner. */
struct id dht_list_key(const struct id *list, uint8_t bucket);
uint8_t dht_list_bucket(const struct id *owner);

/* For people, metrics and the simulator's checks. */
size_t dht_records(const struct dht *d); /* live records held, tombstones not counted */
size_t dht_memory(const struct dht *d);  /* bytes that they and the certificates they need take */
/* Bytes of the tables by which those are found, charged and ended; they grow with the records,
 * within their number. */
size_t dht_index_memory(const struct dht *d);
bool dht_ready(const struct dht *d); /* our range was handed over: we grant and deny */
struct dht_held {
    struct dht_value v;
    uint32_t duration_s;
    bool tombstone;
    uint8_t points; /* bit i: we hold it for point i */
};
/* All that is held, by key and owner. *i starts at 0; borrowed until the next call. */
bool dht_held_next(const struct dht *d, size_t *i, struct dht_held *out);
/* Counters: static text. False past the last. */
bool dht_counter(const struct dht *d, size_t i, const char **name, uint64_t *value);

#endif
