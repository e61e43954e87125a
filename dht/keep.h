/*
 * keep.h - our own leases: what we have written, how long it still stands, and its renewal.
 *
 * A kept lease is renewed at half of its duration, jittered, so that a day's lease costs next to
 * nothing. A renewal that fails is repeated after KEEP_RETRY_MIN_US growing to KEEP_RETRY_MAX_US;
 * the lease stands to its end all the same. What has ended unrenewed, or has another owner now, is
 * dropped and the host hears `lost`. A lease that is not kept stays here, only so that it can be
 * removed.
 *
 * Bound: DHT_KEPT_MAX leases; more are refused with -ERR_FULL before anything is sent.
 */
#ifndef PEAL_DHT_KEEP_H
#define PEAL_DHT_KEEP_H

#include "dht/record.h"

#define KEEP_RETRY_MIN_US SEC(15)
#define KEEP_RETRY_MAX_US SEC(600)
#define KEEP_CHECK_US SEC(10) /* after an upheaval all are renewed within this */

struct dht;

struct lease {
    struct record rec; /* value behind the struct */
    bool kept, busy;   /* busy: an operation of ours is writing it */
    bool lost;         /* the host is told at the end of this door, then it goes */
    struct id winner;  /* with lost; zero: nobody, it ran out */
    usec ends_us, renew_us, retry_us;
    uint8_t value[];
};
struct keep {
    struct lease **v; /* by key */
    size_t count, size;
};

void keep_clear(struct dht *d);
struct lease *keep_find(const struct dht *d, const struct id *key);
bool keep_has_room(const struct dht *d, const struct id *key);
/* A write was confirmed: this is ours until ends_us. complete: all five points have it. */
void keep_confirmed(struct dht *d, const struct record *rec, bool kept, usec ends_us,
                    bool complete);
void keep_failed(struct dht *d, const struct id *key);
void keep_lost(struct dht *d, const struct id *key, const struct id *winner);
void keep_drop(struct dht *d, const struct id *key);
/* Much changed around us: renew all within KEEP_CHECK_US. */
void keep_check_soon(struct dht *d);

void keep_tick(struct dht *d);
usec keep_deadline(const struct dht *d);
void keep_deliver(struct dht *d);

void keep_on_lost(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);

#endif
