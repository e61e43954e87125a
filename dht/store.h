/*
 * store.h - what we hold for others: verified records with the time they have left, tombstones, and
 * the promises (grants) of `create`.
 *
 * Entries are sorted by key and owner, so that every walk is the same on every machine. At most one
 * live RECORD_CREATE entry per key: putting a second owner's settles it at once by creds_wins.
 *
 * Memory is bounded by memory_max, and one writer by a quarter of it. When it is full, the victim
 * is of the writer that holds most: its record with the least time left. If that is the writer of
 * the newcomer, the newcomer is refused instead. In the public overlay, where writers cost
 * nothing, the same is done by the prefix (/24, /56) of the connection that a record came by, and
 * one may hold all of the memory for as long as nobody else wants it.
 * Promises are bounded by STORE_PROMISES_MAX, and STORE_PROMISES_OWNER for one owner; more are
 * refused.
 */
#ifndef PEAL_DHT_STORE_H
#define PEAL_DHT_STORE_H

#include "dht/cred.h"
#include "overlay/core/heap.h"

enum {
    STORE_WRITER_SHARE = 4, /* one writer may fill 1/4 of the memory */
    STORE_PAYERS_MAX = 1 << 16,
    STORE_TOMBSTONES_MAX = 64, /* per key; the victim has the least time left */
    STORE_PROMISES_MAX = 512,
    STORE_PROMISES_OWNER = 64,
    STORE_PROMISE_S = 10,
};

struct entry {
    struct timer ends;
    struct record rec; /* its value lies behind the struct */
    struct cred *cred; /* a reference; NULL without a CA */
    uint64_t version;
    uint8_t points;  /* bit i: we are one of the members that hold it for point i */
    uint8_t pending; /* bit i: we were; those who are now have not said yet that they have it */
    uint8_t check;   /* bit i: to be offered to who holds point i, should it lack it */
    usec again_us;   /* neither before then: the last try failed */
    uint64_t prefix; /* that is charged for it; 0: its writer is */
    uint8_t value[];
};

struct promise {
    struct id key, owner;
    usec ends_us;
};

struct store {
    struct creds *creds;
    uint8_t version_key[16];
    size_t memory_max;
    struct entry **v;
    size_t count, size;
    size_t live; /* entries that are no tombstones */
    size_t bytes;
    struct heap ends;
    struct table payers; /* struct usage by payer: a writer, or a prefix */
    bool by_prefix;
    struct promise *promises;
    size_t promise_count, promise_size;
};

/* What finding, charging and ending them takes beside them. */
size_t store_index_bytes(const struct store *s);

enum store_verdict {
    STORE_NEW,     /* stored, *standing is it */
    STORE_SAME,    /* we have this very version, *standing */
    STORE_OLDER,   /* we have a newer one of this owner, *standing */
    STORE_TAKEN,   /* another owner keeps the key, *standing */
    STORE_REFUSED, /* a quota or the memory is full */
};

/* by_prefix: charged is whom a record came by, not who wrote it. */
void store_init(struct store *s, struct creds *creds, size_t memory_max, bool by_prefix);
void store_clear(struct store *s);

struct entry *store_find(const struct store *s, const struct id *key, const struct id *owner);
struct entry *store_find_version(const struct store *s, uint64_t version);
/* Index of the first entry at or after (key, owner); s->count when there is none. */
size_t store_index(const struct store *s, const struct id *key, const struct id *owner);
/* The owner of a `create` key, or NULL. */
struct entry *store_standing(const struct store *s, const struct id *key);
/* Rounded down, so that passing it on never lengthens a lease. */
uint32_t entry_remaining_s(const struct entry *e, usec now_us);
bool entry_live(const struct entry *e, usec now_us);

/* A record that creds_judge found good. remaining_s is cut to its duration. When it displaced
 * another owner's, *loser is that one's writer, else zero. prefix: of the connection that it came
 * by, 0 when that is not known; it counts only by_prefix. */
enum store_verdict store_put(struct store *s, const struct record *rec, struct cred *cred,
                             uint32_t remaining_s, uint64_t prefix, usec now_us,
                             struct entry **standing, struct id *loser);
void store_drop(struct store *s, struct entry *e);
/* Takes out one entry whose time is up and names its key; false when there is none. */
bool store_expire(struct store *s, usec now_us, struct id *key);
usec store_deadline(const struct store *s);

/* The keys that have a point in [lo, hi) of the ring; lo == hi is all of it. */
struct arcs {
    struct id lo[DHT_POINTS], width;
};
struct arcs arcs_of(const struct id *lo, const struct id *hi);
bool arcs_have(const struct arcs *arcs, const struct id *key);
/* Count and sum (exclusive or) of the versions with a point in the range. */
void store_digest(const struct store *s, const struct id *lo, const struct id *hi, uint32_t *count,
                  uint64_t *sum);
/* The same over the live entries of one key, for watchers. */
uint64_t store_key_sum(const struct store *s, const struct id *key);

/* 0; -ERR_BAD_STATE: promised to another owner; -ERR_FULL. Again by the same owner starts the 10 s
 * anew. */
int store_promise(struct store *s, const struct id *key, const struct id *owner,
                  usec now_us) MUST_USE;
/* The same, heard of from who held the key before us: only where nothing else is promised. */
void store_promise_heard(struct store *s, const struct id *key, const struct id *owner,
                         usec ends_us, usec now_us);
bool store_promised(const struct store *s, const struct id *key, const struct id *owner,
                    usec now_us);
void store_release(struct store *s, const struct id *key, const struct id *owner);
void store_release_all(struct store *s, const struct id *key); /* a lease stands now */

#endif
