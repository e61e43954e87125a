/*
 * holder.h - requests to us as the member closest to a point: grant, release, store, renew, get.
 *
 * A request for a point that we are not closest to is answered with MOVED, so that the asker
 * repeats it to whoever is. A grant, a store and a renewal are acknowledged only after our
 * neighbours have a copy (replica_write). While our range has not been handed to us we store and
 * find, but neither grant nor say "there is none".
 *
 * Someone else's live record refuses a grant, unless the asker's certificate names the key and the
 * other's does not.
 */
#ifndef PEAL_DHT_HOLDER_H
#define PEAL_DHT_HOLDER_H

#include "dht/parcel.h"
#include "dht/store.h"

void holder_on_grant(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void holder_on_release(struct dht *d, const struct overlay_from *from, uint64_t id,
                       struct reader *r);
void holder_on_store(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void holder_on_renew(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void holder_on_get(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);

/* Puts a good record into the store, whoever brought it: what it displaced is told, watchers are
 * told, promises under the key are over. */
enum store_verdict holder_take(struct dht *d, const struct record *rec, struct cred *cred,
                               uint32_t remaining_s, struct entry **standing);
/* One that nobody asked us to write: handed over, fetched or repaired. Whoever lost by it is told,
 * also a member whose lease met a newer record or the tombstone of its own earlier life, left in
 * another ring. */
enum store_verdict holder_take_stray(struct dht *d, const struct record *rec, struct cred *cred,
                                     uint32_t remaining_s, struct entry **standing);
/* The live record in the way of a grant to this owner, his own included, or NULL. */
struct entry *holder_obstacle(struct dht *d, const struct record *rec, const struct cred *cred);
enum verdict holder_verdict(enum store_verdict v);
void holder_answer(struct dht *d, const struct overlay_from *to, uint64_t id, enum verdict verdict,
                   const struct entry *standing);
/* Tells the writer of a record that lost its key. */
void holder_tell_loser(struct dht *d, const struct id *writer, const struct entry *standing);

#endif
