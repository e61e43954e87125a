/*
 * ring.h - this node's place on the Symphony ring (Manku et al. 2003): who its near neighbours are,
 * whom it should connect to, how large the ring is, where its shortcuts should lead.
 *
 * Keeps the OVERLAY_NEAR closest members on either side. Follows Zave's repaired Chord
 * (arXiv:1610.01140), whose two rules the original lacks: a joiner adopts its neighbour's whole
 * list before anyone learns of it, and a list never skips a live member. Three things keep them
 * here:
 *   - What is told to others is first-hand only: peers we have a session with. A dead node is
 *     forgotten when the last session with it ends; no rumour of it can go round.
 *   - Our own near lists also hold what our peers tell (hearsay), so one message adopts a whole
 *     list, and a crashed neighbour's successor stands in our list before we have talked to it.
 *   - A joiner is told to others with a flag: members ignore it, other joiners wait for it. It
 * turns member when both its ring neighbours name it as theirs (ring_joined).
 *
 * How large the ring is follows from the gaps between the ids that it knows of, and from what its
 * peers say follows from theirs: ring.c tells how a ring of thousands is known to within 15%
 * everywhere, and why a liar among the peers does not matter much.
 *
 * Owns no session: it names the peers it wants, and is told who is up. All of its answers follow
 * from the ids, in their order on the ring, never from the order of events in one instant.
 */
#ifndef PEAL_OVERLAY_RING_H
#define PEAL_OVERLAY_RING_H

#include "overlay/core/wire.h"
#include "overlay/overlay.h"

enum {
    RING_SAID_MAX = 2 * OVERLAY_NEAR + OVERLAY_SHORTCUTS_MAX,
    RING_CANDIDATES_MAX = 64, /* victim: a new one that is only hearsay is not taken */
    RING_RTT_UNIT_US = 2000,  /* of the round trips told; 255: longer, or not known */
    RING_ENTRY_LEN = 22,      /* on the wire: id 20, round trip 1, flags 1 */
    RING_VIEWS = 3,           /* of the ring's size that peers tell each other */
};

enum ring_side { RING_LEFT, RING_RIGHT };

enum ring_entry_flag {
    RING_ENTRY_JOINING = 1,  /* not a member yet */
    RING_ENTRY_INDIRECT = 2, /* the teller's session with it has no direct path */
};

struct ring_entry {
    struct id id;
    uint8_t rtt;
    uint8_t flags;
};

/* What a node says about itself in MSG_NEIGHBOURS: first-hand only, closest first. */
struct ring_said {
    uint8_t counts[2]; /* by enum ring_side */
    uint8_t shortcuts;
    struct ring_entry *entries; /* left, right, shortcuts */
};

/* A node that we have a session with. Part of struct link, which owns it. */
struct ring_peer {
    struct id id;
    uint8_t state;    /* enum overlay_state, as it says; OVERLAY_ALONE before it said anything */
    uint8_t rtt;      /* as in ring_entry */
    bool welcome : 1; /* no member yet, but introduced, or one of us wants the other as neighbour */
    bool indirect : 1; /* no direct path */
    bool silent : 1;   /* it owes an answer, when last looked (detours_look) */
    bool needed : 1;   /* by one of us; else it is about to close, and carries nothing for others */
    bool shortcut : 1; /* ours or theirs */
    uint16_t views[RING_VIEWS]; /* as in struct ring, as it says; 0: none */
    struct ring_said said;
};

/* A node we may want a session with and have none. */
struct ring_candidate {
    struct id id, via;   /* via not zero: reached through that node */
    struct endpoint ep;  /* family 0: not known */
    usec open_at_us;     /* when wanted and not tried yet */
    usec heard_until_us; /* named by an answer or an introduction, not by a peer's list */
    usec quiet_until_us; /* it failed: not tried again before */
    uint8_t failures;    /* since it was up; with any, hearsay does not bring it into our lists */
    bool wanted;
    bool introduced; /* it asked to be our neighbour */
    bool trying;     /* an attempt is under way, until ring_add, ring_lost or ring_released */
};

struct ring_list {
    uint8_t count;
    struct id id[OVERLAY_NEAR];
};

struct ring {
    struct env *env;
    struct id self;
    enum overlay_state state;
    struct ring_peer **peers; /* sorted by id */
    size_t count, size;
    struct ring_candidate *candidates; /* sorted by id */
    size_t candidate_count, candidate_size;
    struct ring_list near[2];   /* by enum ring_side: hearsay included */
    struct ring_list wanted[2]; /* also introduced and, while we join, joining ones */
    struct ring_entry told[2][OVERLAY_NEAR];
    uint8_t told_count[2];
    uint16_t views[RING_VIEWS + 1]; /* of the ring's size, log2 in 1/2048: our own, then each the
                                       mean of the one before as we and our peers have it */
    uint16_t told_views[RING_VIEWS], views_version;
    usec told_views_us;
    uint32_t near_version, shortcut_version; /* of what we tell */
    uint8_t gone_version;                    /* of those whom we told of, who is gone */
    double members;
    uint64_t told_reach[2]; /* first 8 bytes of the distance to the farthest in told ... */
    uint64_t near_reach[2]; /* ... and in near; UINT64_MAX: there is room for more */
    usec picks_until_us;    /* time itself changes the lists then */
    bool stale;             /* something changed since ring_update */
    bool picks_stale;       /* something that our lists follow from */
    bool gaps_stale;        /* something that the size estimate follows from */
    bool means_stale;       /* a peer's views changed */
    bool counted;           /* the gaps known close the circle: members is exact */
};

void ring_init(struct ring *ring, const struct id *self, struct env *env);
void ring_clear(struct ring *ring); /* its tables; the peers are the links' */

void ring_set_state(struct ring *ring, enum overlay_state state);
/* A session came up or ended. The peer's memory stays valid in between. */
void ring_add(struct ring *ring, struct ring_peer *peer);
void ring_remove(struct ring *ring, struct ring_peer *peer);
struct ring_peer *ring_find(const struct ring *ring, const struct id *id);
/* Something in a peer (state, welcome, path, role) was changed by the caller. */
void ring_peer_changed(struct ring *ring, const struct ring_peer *peer);
/* ring_update is due, though nothing in the ring changed: what goes by it is to be looked at. */
void ring_touch(struct ring *ring);
/* What a peer says now; counts above the limits are the parser's affair. -ERR_NOMEM leaves it as it
 * was. */
int ring_hear(struct ring *ring, struct ring_peer *peer, const struct ring_said *said,
              bool with_shortcuts);
/* How large a peer believes the ring: any numbers, for what they are worth. */
void ring_hear_views(struct ring *ring, struct ring_peer *peer, const uint16_t views[RING_VIEWS]);
/* What follows from those that were heard: once for all of a packet. */
void ring_settle_views(struct ring *ring);
/* Our told_views to be up to date, if that is worth it. Returns views_version, which says whether a
 * peer was told these. Never 0. */
uint16_t ring_tell_views(struct ring *ring);
/* Where a near neighbour of a peer can be reached: kept only if the next ring_update wants it. */
void ring_hear_endpoint(struct ring *ring, const struct id *id, const struct endpoint *ep);
/* One side of what was said, closest first; NULL: nobody. */
const struct ring_entry *ring_said_side(const struct ring_said *said, enum ring_side side);
void ring_peer_clear(struct ring_peer *peer);

/* Somebody named this node: worth a session if it turns out to be near, not opened before delay_us
 * have passed. via and ep may be NULL. */
void ring_hint(struct ring *ring, const struct id *id, const struct id *via,
               const struct endpoint *ep, usec delay_us, usec for_us);
/* Introduced by itself: it is alive, whatever failed before. */
void ring_welcome(struct ring *ring, const struct id *id, const struct id *via,
                  const struct endpoint *ep, usec for_us);
/* We are opening a session to it. *via: through whom it can be reached; zero: by its own name. */
bool ring_is_opening(const struct ring *ring, const struct id *id, struct id *via);
/* A neighbour that we want is not there: the ring may be torn here. */
bool ring_is_torn(const struct ring *ring);
/* A session with it went silent, or an attempt failed: left alone for a growing while. */
void ring_lost(struct ring *ring, const struct id *id);
/* It closed or an attempt ended for a reason that says nothing about it. */
void ring_released(struct ring *ring, const struct id *id);

/* Brings the lists up to date. True when ring_near changed. */
bool ring_update(struct ring *ring);
/* The next candidate to open a session to, or NULL; it counts as tried from now on. Borrowed until
 * the next call. */
const struct ring_candidate *ring_due(struct ring *ring);
usec ring_deadline(const struct ring *ring);

/* Our near list holds it, or ought to: a session with it is worth keeping. */
bool ring_is_near(const struct ring *ring, const struct id *id);
/* Both ring neighbours of a joiner name it as theirs. */
bool ring_joined(const struct ring *ring);
/* We are the closest member that we know of. False before we are a member. */
bool ring_owns(const struct ring *ring, const struct id *key);
/* Members, ourselves included: exact while our peers' lists close the circle. */
double ring_members(const struct ring *ring);
/* Everybody can be everybody's near neighbour. */
bool ring_is_small(const struct ring *ring);
/* A point among our near neighbours: we know everybody around it. */
bool ring_spans(const struct ring *ring, const struct id *point);
/* The members closest to a point on each side, ourselves included, `except` not. */
void ring_around(const struct ring *ring, const struct id *point, const struct id *except,
                 struct ring_list out[2]);
/* The point that a new shortcut should lead to: harmonic over the distances past our near lists. */
struct id ring_draw_shortcut(const struct ring *ring);
/* Shortcuts that a node should open so that connections average log2(n) + 3, in a ring of less than
 * 256 members 11, those that others open to it included; but never to more than half of those that
 * are not its neighbours. */
double ring_shortcuts_wanted(const struct ring *ring);

/* Wire: entries as in ring_entry. */
void ring_write_entry(struct writer *w, const struct ring_entry *e);
void ring_read_entry(struct reader *r, struct ring_entry *e);
uint8_t ring_rtt_code(usec rtt_us);

#endif
