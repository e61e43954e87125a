/*
 * fill.h - being handed our range: each member that is new beside us is asked, page by page, for
 * what it holds of the range that we share with it.
 *
 * Until both sides have answered we are not filled, and neither grant nor deny. When a neighbour is
 * not filled itself (several joined beside each other), or is silent, the next one on that side is
 * asked, then those on the other: the first that was filled had everything before the others came
 * between us, and they have said what they were given since. A member that was filled before takes
 * the first answer. One page is under way per side, repeated until it comes. The first also says
 * what is promised there (PROMISES_MAX at most, the newest): else a claim that is under way would
 * be granted once more by who came between.
 *
 * When nobody beside us was filled (yet: they go on being asked), or all that we knew on one side
 * are gone within FILL_GAP_US or two, a point's three holders may have died together. Then nobody
 * near has its records, and those who hold the other points are asked for the gap: at FILL_SPOTS
 * spots of it, each turned by one point after the other until somebody answers who was filled,
 * FILL_WAIT_US at most for all. And once more, at other points, after FILL_GAP_AGAIN_US: those who
 * were asked may have been in the same trouble not long before.
 */
#ifndef PEAL_DHT_FILL_H
#define PEAL_DHT_FILL_H

#include "dht/parcel.h"

#define FILL_TRY_US MSEC(400)
#define FILL_TRY_GAP_US SEC(1) /* many hops away */
#define FILL_AGAIN_US MSEC(50) /* after all who could be asked were not filled */
#define FILL_WAIT_US SEC(5)
#define FILL_GAP_US SEC(15)
#define FILL_GAP_AGAIN_US SEC(8)
enum { FILL_SPOTS = 3, FILL_TURNS = DHT_POINTS - 1, FILL_ROUNDS = 2, FILL_TRIES = 2 };

/* A range that we are being given, by a neighbour or (a gap) by the holders of other points. */
struct side {
    bool present; /* somebody is there; of a gap: it is still being asked for */
    bool filled;  /* nobody has to wait for it */
    bool gap;
    bool doubted; /* its gap is asked for, too; of a gap: for that reason, not as many are gone */
    uint8_t spot, round; /* of a gap */
    uint32_t turn;       /* likewise; who is alone asks itself, hundreds of times in FILL_WAIT_US */
    struct id peer;      /* our neighbour on that side; of a gap: who said all of it, spot > 0 */
    uint32_t hop;        /* which one on that side is asked: 0 is the neighbour */
    uint32_t tries;      /* of this page */
    uint64_t id;         /* of the page that was asked for */
    struct id lo, hi;    /* lo == hi: all of the ring */
    struct id after_key, after_owner;
    usec since_us; /* when it began, or the last page came that had more behind it */
    usec due_us;
};
enum fill_side { FILL_LEFT, FILL_RIGHT, FILL_LEFT_GAP, FILL_RIGHT_GAP, FILL_SIDES };
/* Who was beside us at some time. */
struct fill_sight {
    struct id left[OVERLAY_NEAR], right[OVERLAY_NEAR];
    uint8_t lefts, rights;
};
struct fill {
    struct side sides[FILL_SIDES];
    struct fill_sight now, newer, older; /* to see gaps: newer and older are FILL_GAP_US apart */
    usec newer_us;
    bool ever; /* all were filled once */
};

void fill_ring_changed(struct dht *d);
void fill_tick(struct dht *d);
usec fill_deadline(const struct dht *d);
bool fill_done(const struct dht *d);

void fill_on_ask(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void fill_on_page(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);

/* The point half-way from a clockwise to b. */
struct id range_middle(const struct id *a, const struct id *b);

#endif
