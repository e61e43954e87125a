/*
 * op.h - what we ask of holders: create, write (put, confirm, renew, remove), get. One operation
 * asks the five points of its key, repeats what is not answered, and counts votes by points.
 *
 *             OP_WAIT -- MEMBER, and filled -----+
 *                                                v
 *   create: OP_GRANT -- majority, nobody says taken --> OP_WRITE -- majority --> done
 *              |  ^         |                              |
 *       lost   |  | 0.2-1 s |  ours already                +-- a newer one of ours: next epoch
 *              v  |         +-----------------------> OP_WRITE
 *           OP_RELEASE
 *   put, renew, remove: OP_WRITE            get: OP_GET
 *
 * The caller hears the outcome as soon as it is certain; the operation lingers until every point
 * was asked its share of times, so that all five hold the record. A question that is not answered
 * is repeated ASK_TRIES times, first after RTT-based 250 to 1000 ms, then doubled (a lookup's
 * ASK_TRIES_GET times, never later than after ASK_TIMEOUT_MAX_US, and by another way); MOVED and
 * NOT_READY are asked again after ASK_LATER_US, at first after a quarter and a half of it,
 * ASK_WAITS_MAX times. Bounds: DHT_OPS_MAX operations; more are refused.
 */
#ifndef PEAL_DHT_OP_H
#define PEAL_DHT_OP_H

#include "dht/parcel.h"

enum {
    ASK_TRIES = 3,
    ASK_TRIES_GET = 8, /* a lookup outlasts the noticing of those who died on its way */
    ASK_WAITS_MAX = 40,
    CREATE_TRIES = 5,
    WRITE_ROUNDS = 3,  /* a write that gets no majority goes round so often */
    LOOKUP_ROUNDS = 3, /* and a lookup whose points disagree: they may be about to agree */
    FIRST_SEQUENCES = 1 << 24,
    BUMPS_MAX = 3, /* a newer one of ours was found */
};
#define ASK_TIMEOUT_MIN_US MSEC(250)
#define ASK_TIMEOUT_LOOKUP_US MSEC(500) /* before any was measured */
#define ASK_TIMEOUT_WRITE_US SEC(1)     /* likewise (RFC 6298) */
#define ASK_TIMEOUT_MAX_US SEC(1)
#define ASK_LATER_US MSEC(200)
#define LOSER_WAIT_MIN_US MSEC(200)
#define LOSER_WAIT_MAX_US SEC(1)
#define DISAGREED_WAIT_US MSEC(500)
#define MEMBER_WAIT_US SEC(30)
#define CLAIM_WAIT_US SEC(8) /* for being filled; lookups do not wait for it */
#define WRITER_WAIT_US MSEC(50) /* another operation of ours is writing the key */

enum op_kind { OP_CREATE, OP_PUT, OP_RENEWAL, OP_REMOVAL, OP_LOOKUP };

struct op;
struct ops {
    struct op *first, **last; /* in the order of their start */
    size_t count;
    usec srtt_us, rttvar_us; /* RFC 6298, of first tries; 0: not measured */
};

struct op_caller {
    dht_done *done;
    void *ctx;
    uint64_t token;
};

void ops_init(struct dht *d);
void ops_clear(struct dht *d);
/* kind OP_CREATE or OP_PUT, or OP_RENEWAL or OP_REMOVAL of a lease of ours; rec is signed here, its
 * value copied. */
int op_write(struct dht *d, enum op_kind kind, const struct record *rec, unsigned flags,
             const struct op_caller *caller) MUST_USE;
/* The same, signed by another one than us. */
int op_write_as(struct dht *d, enum op_kind kind, const struct record *rec,
                const struct sign_public *pub, const struct sign_secret *sec,
                const struct op_caller *caller) MUST_USE;
int op_lookup(struct dht *d, const struct id *key, enum dht_mode mode,
              const struct op_caller *caller) MUST_USE;
/* Lookup that asks this point first: what a watch saw change there. */
int op_lookup_at(struct dht *d, const struct id *key, unsigned point,
                 const struct op_caller *caller) MUST_USE;
void ops_cancel(struct dht *d, const void *ctx);
bool ops_writing(const struct dht *d); /* one that writes is not finished */

void ops_tick(struct dht *d);
usec ops_deadline(const struct dht *d);
/* Calls back those that are finished. The last thing that a door does. */
void ops_deliver(struct dht *d);

void op_on_verdict(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void op_on_values(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);

#endif
