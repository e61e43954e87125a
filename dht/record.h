/*
 * record.h - a record: its wire format, its signature, and which of two is newer.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------------------------------------------------------+
 *   | key, 20 bytes                                                 |
 *   +---------------+-----------------------------------------------+
 *   | kind          | owner, 20 bytes: a node id or a site id       |
 *   +---------------+-----------------------------------------------+
 *   | writer, 20 bytes: node id                                     |
 *   +---------------------------------------------------------------+
 *   | epoch                                                         |
 *   +---------------------------------------------------------------+
 *   | sequence                                                      |
 *   +---------------------------------------------------------------+
 *   | duration, seconds                                             |
 *   +---------------------------------------------------------------+
 *   | not after, Unix time, seconds; 0: the writer knew no time     |
 *   |                                                               |
 *   +-------------------------------+-------------------------------+
 *   | value length, 0..1024         | value ...                     |
 *   +-------------------------------+-------------------------------+
 *   | credential, 32 bytes: SHA-256 of the writer's certificate,    |
 *   | without a CA the writer's public key                          |
 *   +---------------------------------------------------------------+
 *   | signature, 64 bytes (Ed25519) by the writer                   |
 *   +---------------------------------------------------------------+
 *
 * Signed are: "peal dht record 1" and a zero byte, the overlay id, all fields above up to `not
 * after`, SHA-256 of the value, the credential. The value enters as its hash, so that a renewal
 * (struct renewal: the fields that change and a new signature) lets a holder build the whole
 * new record from the one it has, and that record verifies on its own afterwards.
 *
 * The seconds that remain travel outside of the signature, before the record: they only shrink.
 * A tombstone is a record with RECORD_REMOVED in its kind and no value; its duration is how long
 * an older record of the same owner could still be shown around.
 *
 * Newest is by (epoch, sequence). A writer begins with epoch 1 and any sequence; one that has lost
 * its numbers learns them from the holders and goes on with the next epoch.
 */
#ifndef PEAL_DHT_RECORD_H
#define PEAL_DHT_RECORD_H

#include "dht/dht.h"
#include "overlay/core/wire.h"

enum record_kind {
    RECORD_CREATE = 1,     /* one owner per key */
    RECORD_PUT = 2,        /* one value per key and owner */
    RECORD_REMOVED = 0x80, /* or-ed: a tombstone */
};

enum {
    RECORD_HEAD_LEN = 179, /* all but the value */
    RECORD_MAX = RECORD_HEAD_LEN + DHT_VALUE_MAX,
    RENEWAL_LEN = 156,
    CREDENTIAL_LEN = 32,
    RECORD_CLOCK_SLACK_S = 600,    /* two clocks may differ so much */
    RECORD_NOT_AFTER_STEP_S = 600, /* `not after` is rounded up to it: it tells nobody the second */
    RECORD_TOMBSTONE_EXTRA_S = RECORD_CLOCK_SLACK_S + RECORD_NOT_AFTER_STEP_S,
};

struct record {
    struct id key, owner, writer;
    uint8_t kind;
    uint16_t len;
    uint32_t epoch, sequence;
    uint32_t duration_s;
    uint64_t not_after_s;
    uint8_t credential[CREDENTIAL_LEN];
    uint8_t signature[SIGNATURE_LEN];
    const uint8_t *value; /* borrowed */
};

/* What a renewal changes: key 20, owner 20, epoch 4, sequence 4, duration 4, not after 8,
 * credential 32, signature 64. */
struct renewal {
    struct id key, owner;
    uint32_t epoch, sequence, duration_s;
    uint64_t not_after_s;
    uint8_t credential[CREDENTIAL_LEN];
    uint8_t signature[SIGNATURE_LEN];
};

static inline bool record_removed(const struct record *r)
{
    return r->kind & RECORD_REMOVED;
}
static inline bool record_single(const struct record *r)
{
    return (r->kind & ~RECORD_REMOVED) == RECORD_CREATE;
}
static inline size_t record_wire_len(const struct record *r)
{
    return RECORD_HEAD_LEN + (size_t)r->len;
}

/* *out borrows the value from the reader's buffer. False (and the reader failed): cut short, an
 * unknown kind, a value too long, a tombstone with a value, a duration outside its limits. */
bool record_read(struct reader *r, struct record *out);
void record_write(struct writer *w, const struct record *rec);
bool renewal_read(struct reader *r, struct renewal *out);
void renewal_write(struct writer *w, const struct record *rec);
/* The record that `old` becomes; the value stays borrowed from where old's is. */
struct record record_renewed(const struct record *old, const struct renewal *renewal);
/* What removes it, yet to be numbered and signed. */
struct record record_tombstone(const struct record *rec);

void record_sign(struct record *rec, const struct id *overlay, const struct sign_secret *sec);
bool record_verify(const struct record *rec, const struct id *overlay,
                   const struct sign_public *pub);

/* Of one owner and key: a is newer than b. Never true both ways; false both ways only for the same
 * signed bytes. */
bool record_newer(const struct record *a, const struct record *b);
/* 8 bytes that stand for this version in digests and lists; `key` is the same for a whole group. */
uint64_t record_version(const struct record *rec, const uint8_t key[16]);
/* Its last moment by the calendar is past, with slack. Never when either clock is unknown. */
bool record_outdated(const struct record *rec, const struct env *env);

#endif
