/*
 * inside.h - struct dht itself, for the files of this folder, and who calls whom:
 *
 *   dht.c      the doors; hands each message to its handler
 *   holder.c   requests to us as a holder of a point      -> store, replica
 *   replica.c  who else holds it, and copies to them       -> store
 *   fill.c, handover.c, repair.c  what a changed ring means for what we hold -> store
 *   op.c       our requests to holders, with retries      -> keep (what we own now)
 *   keep.c     our own leases, renewed by operations      -> op
 *   watch.c    both ends of watches                       -> op
 *   quota.c    how much one connection may ask to be stored, in the public overlay
 *   pen.c, parcel.c  messages waiting for certificates; building, sending, joining halves
 */
#ifndef PEAL_DHT_INSIDE_H
#define PEAL_DHT_INSIDE_H

#include "dht/holder.h"
#include "dht/keep.h"
#include "dht/op.h"
#include "dht/pen.h"
#include "dht/quota.h"
#include "dht/replica.h"
#include "dht/store.h"
#include "dht/watch.h"

/* Names in dht.c. */
enum dht_count {
    COUNT_MALFORMED,   /* too short, too long, unknown type, bad fields */
    COUNT_UNASKED,     /* an answer under no outstanding id */
    COUNT_FORGED,      /* a record that does not verify */
    COUNT_CERT_BAD,    /* a certificate that was refused */
    COUNT_PEN_FULL,    /* a waiting message made room for a newer one */
    COUNT_PEN_TIMEOUT, /* the certificate did not come */
    COUNT_QUOTA,       /* a record refused: quota or memory */
    COUNT_CONFLICTS,   /* two owners of a key met and were settled */
    COUNT_GRANTS,
    COUNT_STORES,
    COUNT_GETS,
    COUNT_COPIES_SENT,
    COUNT_HANDED_OVER, /* records whose new holders said that they have them */
    COUNT_SYNCS_SENT,
    COUNT_OPS,
    COUNT_OPS_FAILED,
    COUNT_TAKEN, /* claims of ours: another was the owner */
    COUNT_AGAIN, /* or was claiming it at the same time: we let go and came back */
    COUNT_LOST,
    COUNT_MAX,
};

struct dht {
    struct env *env;
    struct overlay *overlay;
    struct dht_host host;
    void *ctx;
    struct dht_config config;
    struct creds creds;
    struct store store;
    struct quotas quotas; /* used with config.rendezvous only */
    struct parts parts;
    struct pen pen;
    struct replica replica;
    struct fill fill;
    struct handovers handovers;
    struct repair repair;
    struct watchers watchers;
    struct ops ops;
    struct keep keep;
    struct watches watches;

    /* The message being handled, for pen_holds. */
    const struct overlay_from *from;
    const uint8_t *body;
    size_t body_len;

    bool leaving;
    usec left_us; /* when leaving is over at the latest */
    uint64_t counts[COUNT_MAX];
};

/* One whole message to its handler: the way in for parts and pen, too. */
void dht_dispatch(struct dht *d, const struct overlay_from *from, const uint8_t *body, size_t len);
void dht_count(struct dht *d, enum dht_count c);
bool dht_member(const struct dht *d); /* in the ring (or a ring of one): may ask and answer */
struct dht_value dht_value_of(const struct record *rec, const struct cred *cred,
                              uint32_t remaining_s);
/* Judged, and within this overlay's limits; counts what is not. Unknown certificates are bad here:
 * pen_holds comes first. */
bool dht_record_good(struct dht *d, const struct record *rec, struct cred **cred);

#endif
