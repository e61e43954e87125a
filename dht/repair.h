/*
 * repair.h - finding out what two neighbours hold differently, and making it the same.
 *
 * Each member compares a digest (count and exclusive or of versions) of the range that it shares
 * with its right neighbour every REPAIR_PERIOD_US, and with both neighbours soon after the ring or
 * what it holds has changed. Silence means equal. A range that differs and holds more than
 * REPAIR_LIST_MAX is halved, else its versions are listed: the other sends what we lack and says
 * what it wants. The idle cost is one message of 54 bytes a minute.
 *
 * Only ring neighbours are listened to. One list is answered with at most REPAIR_COPIES_MAX
 * parcels; the next comparison brings the rest.
 */
#ifndef PEAL_DHT_REPAIR_H
#define PEAL_DHT_REPAIR_H

#include "dht/parcel.h"

enum { REPAIR_LIST_MAX = 100, REPAIR_COPIES_MAX = 24 };
#define REPAIR_PERIOD_US SEC(60)

struct repair {
    usec left_us, right_us; /* when to compare with whom */
};

void repair_init(struct dht *d);
/* Compare soon with both. */
void repair_soon(struct dht *d);
void repair_tick(struct dht *d);
usec repair_deadline(const struct dht *d);

void repair_on_sync(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void repair_on_list(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void repair_on_want(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);

/* Writes a PARCEL_LIST's versions: the count, then each. */
void write_versions(struct writer *w, const uint64_t *versions, size_t n);
size_t read_versions(struct reader *r, uint64_t versions[VERSIONS_MAX]);

#endif
