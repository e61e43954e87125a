/*
 * channel.h - relay packets and the tables that they are looked up in: legs that end here, legs
 * that go on, and what this node forwards for others.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+-----------------------------------------------+
 *   | type 0x84     | zero                                          |
 *   +---------------+-----------------------------------------------+
 *   | channel                                                       |
 *   +---------------------------------------------------------------+
 *   | packet of a session of the two ends, untouched ...            |
 *   +---------------------------------------------------------------+
 *
 * A channel leads from one end over a relay to the other end. It has a number for each leg and
 * direction, drawn at random by the node that receives with it (its top byte is the overlay's slot
 * there). A leg is such a number and where packets with it come from: a direct path of the session
 * with that neighbour, an address or a TCP connection. A relay packet from anywhere else, of an
 * unknown number, or with another relay packet inside is dropped. Nothing is opened on the way: a
 * relay rewrites 8 bytes.
 *
 * Set-up, by control messages on the sessions of both ends with the relay:
 *
 *   A                         relay                        B
 *   | OPEN: B, a1               |                           |     a1: what the relay sends A with
 *   |-------------------------->| INVITE: A, r2             |     r2: what B sends the relay with
 *   |                           |-------------------------->|
 *   |                           |      ACCEPT: A, r2, b1    |     b1: what the relay sends B with
 *   |      ACCEPT: B, a1, r1    |<--------------------------|
 *   |<--------------------------|                           |     r1: what A sends the relay with
 *
 * Each is answered the same way when it is repeated. END refuses, or ends what there is; it names
 * the number that its receiver had drawn. An OPEN comes from a member we have a direct session
 * with, and reaches another such member: nobody can have packets sent to anybody else.
 *
 * A channel is gone when nothing went through for RELAY_SILENT_S, when the session with one of its
 * ends is, or when an end says so. Limits: CHANNELS_MAX in all, CHANNELS_EACH of one requester;
 * victim: the one idle longest, if for CHANNEL_IDLE_S at least, else the newcomer. RELAY_ASKS_MAX
 * requests of one peer in RELAY_ASKS_S; bytes by the meters. Every RELAY_ROUND_S, while there are
 * channels, silent ones go, and our neighbours hear how much more we would relay when that changed.
 */
#ifndef PEAL_OVERLAY_CHANNEL_H
#define PEAL_OVERLAY_CHANNEL_H

#include "overlay/core/id.h"
#include "overlay/core/limits.h"
#include "overlay/core/meter.h"
#include "overlay/core/table.h"
#include "overlay/core/wire.h"

enum {
    CHANNELS_MAX = 256,
    CHANNELS_EACH = 32,
    CHANNEL_IDLE_S = 30,
    RELAY_SILENT_S = 60,
    RELAY_ROUND_S = 5,
    RELAY_ASKS_MAX = 24,
    RELAY_ASKS_S = 10,
};

enum relay_end {
    RELAY_END_CLOSED,      /* no more use for it */
    RELAY_END_NO,          /* we do not relay, or leave */
    RELAY_END_FULL,        /* all channels are in use */
    RELAY_END_BUSY,        /* asked too often */
    RELAY_END_UNREACHABLE, /* no direct path to the other end, or none any more */
    RELAY_END_UNWANTED,    /* the other end does not want one */
    RELAY_END_SILENT,      /* nothing went through for RELAY_SILENT_S */
    RELAY_END_EVICTED,     /* idle, and others asked */
    RELAY_END_MAX,
};

struct path_addr;
struct overlay;
struct overlay_data;
struct link;
struct way;
struct channel;
struct trail;

struct leg {
    uint32_t rx;             /* key of overlay.legs */
    uint32_t tx;             /* what the neighbour receives with; 0: not told yet */
    struct id neighbour;     /* packets with rx come from it */
    struct channel *channel; /* they go on at the other leg of this; */
    struct trail *trail;     /* or along this, or end here as it does; */
    struct way *way;         /* or are for us, of this way. Two of the three are NULL */
};

/* Forwarded for two others. */
struct channel {
    struct leg legs[2]; /* 0: of who asked for it */
    bool accepted;      /* by the other end */
    struct meter *meter;
    usec made_us;
};

struct channels {
    struct channel **v; /* oldest first; NULL before the first */
    size_t count, size;
    struct meter *meter;  /* of all together */
    uint64_t bytes_per_s; /* of one; 0: no bound */
    uint8_t spare_told;
};

/* Draws rx and enters the leg. False: no number or memory left. */
bool leg_take(struct overlay *o, struct leg *leg);
void leg_drop(struct overlay *o, struct leg *leg);
/* Sends a packet to the other side of a leg. False: there is no direct path to the neighbour. */
bool leg_send(struct overlay *o, const struct leg *leg, const uint8_t *pkt, size_t len);
/* Where data goes that takes this leg: into `out`, which stays as it is when nowhere now. */
void leg_data(const struct overlay *o, const struct leg *leg, struct overlay_data *out);
/* There is a session with this node, over a direct path. */
bool leg_is_direct(const struct overlay *o, const struct id *neighbour);

/* One message of the set-up to a neighbour. */
void relay_tell(struct overlay *o, struct link *to, uint8_t type, const struct id *other,
                uint32_t yours, uint32_t ours);
void relay_tell_end(struct overlay *o, struct link *to, const struct id *other, uint32_t yours,
                    enum relay_end why);

/* A relay packet that arrived from `from`. */
void channel_packet(struct overlay *o, const struct path_addr *from, uint8_t *pkt, size_t len);

bool channel_open_input(struct overlay *o, struct link *from, struct reader *r);
/* The end that is neighbour on this leg of a channel accepted it. */
void channel_accept(struct overlay *o, struct leg *leg, uint32_t tx);
/* An end has no use for its channel to `other`; rx: the number it sends with, 0: not known to it.
 */
void channel_end(struct overlay *o, struct link *from, const struct id *other, uint32_t rx);
/* The session with an end came up, or is gone. */
void channels_link_up(struct overlay *o, struct link *l);
void channels_link_down(struct overlay *o, const struct id *end);

bool channel_spare_input(struct overlay *o, struct link *from, struct reader *r);

/* 0 or -ERR_NOMEM. */
int channels_begin(struct overlay *o, uint32_t mbit);
void channels_clear(struct overlay *o);

#endif
