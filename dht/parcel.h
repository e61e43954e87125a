/*
 * parcel.h - the messages between DHTs: their numbers, how they are built and sent.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+-----------------------------------------------+
 *   | type          | id, 8 bytes: random, chosen by the asker,     |
 *   +---------------+ repeated in the answer                        |
 *   |                                               +---------------+
 *   |                                               | body ...      |
 *   +-----------------------------------------------+---------------+
 *
 * An item is a record on its way: 1 byte flags, 4 bytes remaining seconds, the record (record.h).
 * Items: 1 byte count, then so many items.
 *
 * Best effort like everything on the overlay: whoever asks repeats. An answer is accepted only
 * under an id that is outstanding. What does not fit OVERLAY_BODY_MAX (one large record) travels as
 * two PARCEL_PARTs; at most PARTS_MAX first halves wait, 2 s each, the victim is the oldest.
 */
#ifndef PEAL_DHT_PARCEL_H
#define PEAL_DHT_PARCEL_H

#include "dht/record.h"

enum parcel_type {
    PARCEL_PART = 1, /* half 1 (0 or 1), bytes; the id joins them */

    /* Asked of the holder of a point; routed to the point, answered with VERDICT unless said. */
    PARCEL_GRANT = 2,    /* point 1, item: may it become the key's owner? */
    PARCEL_RELEASE = 3,  /* point 1 (0xff: to a neighbour, not answered), key 20, owner 20 */
    PARCEL_STORE = 4,    /* point 1, item */
    PARCEL_RENEW = 5,    /* point 1, renewal */
    PARCEL_GET = 6,      /* point 1, key 20, owner 20: those after it; answered with VALUES */
    PARCEL_WATCH = 7,    /* point 1, key 20, seconds 2 (0: no more); answered with WATCHED */
    PARCEL_VERDICT = 8,  /* enum verdict 1, items: with TAKEN the one that stands */
    PARCEL_VALUES = 9,   /* flags 1 (enum values_flag), items */
    PARCEL_WATCHED = 10, /* sum 8 of the live versions; also unasked, when it changed */

    /* Between the members that hold a point. */
    PARCEL_COPY =
        11, /* point 1 (0xff: none in particular), items; answered with COPIED unless id is 0 */
    PARCEL_COPIED = 12, /* count 1, verdict 1 each */
    PARCEL_ASK =
        13, /* lo 20, hi 20, key 20, owner 20: what you have in [lo, hi) after (key, owner) */
    PARCEL_PAGE = 14, /* flags 1 (enum values_flag), promises (count 1; key 20, owner 20,
                         milliseconds left 2 each; of the first page), items */
    PARCEL_SYNC = 15, /* lo 20, hi 20, count 4, sum 8: do we hold the same? Silence means yes */
    PARCEL_LIST = 16, /* flags 1 (enum list_flag), lo 20, hi 20, count 1, versions 8 each; of an
                         offer then a byte each: the points that it is offered for */
    PARCEL_WANT = 17, /* count 1, versions 8 each */

    PARCEL_LOST = 18,     /* items: this one stands, yours under the key does not */
    PARCEL_CERT_GET = 19, /* SHA-256 32 */
    PARCEL_CERT = 20,     /* DER */
    PARCEL_TYPES,
};

enum verdict {
    VERDICT_OK = 0,
    VERDICT_TAKEN = 1,     /* another owner's, or a newer one of the same owner, stands: the item */
    VERDICT_BUSY = 2,      /* promised to another owner */
    VERDICT_REFUSED = 3,   /* quota, memory, limits, signature */
    VERDICT_MOVED = 4,     /* not ours (any more): ask again */
    VERDICT_NOT_READY = 5, /* our range was not handed over yet: ask again */
    VERDICT_UNKNOWN = 6,   /* renewal of what we do not have: send the whole record */
};

enum item_flag {
    ITEM_PROMISE = 1,
    ITEM_POINTS = 0x3e, /* handed over for these points, the first one's bit lowest; none: to
                           whoever holds any */
};
enum { ITEM_POINTS_SHIFT = 1 };
enum values_flag {
    VALUES_MORE = 1, /* ask on after the last one */
    VALUES_READY = 2 /* PAGE: the sender's own range was handed over */
};
enum list_flag { LIST_OFFER = 1 /* not the whole of a range: only say what you lack */ };

enum {
    PARCEL_HEADER_LEN = 9,
    PARCEL_MAX = 2 * (OVERLAY_BODY_MAX - PARCEL_HEADER_LEN - 1),
    ITEM_HEAD_LEN = 5,
    PROMISES_MAX = 12, /* in a page: the newest */
    ITEMS_MAX = 12,    /* in one parcel: the smallest record is 179 bytes */
    VERSIONS_MAX = 120,
    POINT_NONE = 0xff,
    PARTS_MAX = 16,
};

struct item {
    struct record rec;
    uint32_t remaining_s;
    uint8_t flags;
};

/* One that is being built. */
struct parcel {
    struct writer w;
    uint8_t *count; /* of items, in bytes[] */
    uint8_t bytes[PARCEL_MAX];
};

struct dht;

void parcel_start(struct parcel *p, enum parcel_type type, uint64_t id);
void parcel_items(struct parcel *p); /* begins the items, none yet */
/* False: it does not fit any more (the first one always does) and was not added. */
bool parcel_item(struct parcel *p, const struct record *rec, uint32_t remaining_s, uint8_t flags);

/* Fails the reader when malformed. Returns how many; items borrow from the reader's buffer. */
size_t read_items(struct reader *r, struct item items[ITEMS_MAX]);

uint64_t parcel_new_id(const struct dht *d); /* never 0 */
void parcel_route(struct dht *d, const struct id *point, const struct parcel *p);
/* By another way: what went unanswered. */
void parcel_route_anew(struct dht *d, const struct id *point, const struct parcel *p);
void parcel_send(struct dht *d, const struct id *node, const struct parcel *p);
void parcel_answer(struct dht *d, const struct overlay_from *to, const struct parcel *p);

/* First halves that wait for their second. */
struct part;
struct parts {
    struct part *first; /* the oldest; PARTS_MAX at most, victim: that one */
    size_t count;
};
void parts_clear(struct parts *parts);
void parts_input(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void parts_tick(struct dht *d);
usec parts_deadline(const struct parts *parts);

#endif
