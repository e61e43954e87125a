/*
 * overlay_internal.h - struct overlay and struct link, shared by the files that make up one node of
 * an overlay and by nobody else: overlay.c (doors, public functions), link.c (one peer: roles and
 * what we tell each other), transit.c (routed messages), carry.c (session packets that travel over
 * the ring), join.c (finding one's place, keeping it), contact.c (bootstraps and lost peers),
 * shortcut.c, tcp.c (connections for whom UDP does not reach), relay.c and channel.c (relayed
 * paths, and forwarding for others), detour.c (messages around silent peers), ping.c, crawl.c,
 * broadcast.c, trail.c (data along the ring by workers).
 *
 * A call runs so: input or tick goes through sessions_input or sessions_tick, whose callbacks land
 * in these files and may send; overlay_settle then moves what is queued, brings the ring's lists up
 * to date, opens what is wanted, tells the peers what is news, and tells the host last.
 */
#ifndef PEAL_OVERLAY_OVERLAY_INTERNAL_H
#define PEAL_OVERLAY_OVERLAY_INTERNAL_H

#include "overlay/channel.h"
#include "overlay/core/err.h"
#include "overlay/core/heap.h"
#include "overlay/core/limits.h"
#include "overlay/core/table.h"
#include "overlay/core/wire.h"
#include "overlay/msg.h"
#include "overlay/natcheck.h"
#include "overlay/overlay.h"
#include "overlay/reflexive.h"
#include "overlay/ring.h"
#include "overlay/route.h"
#include "overlay/session.h"

struct overlay;

/* One timer and what it does. Names the event, not the moment. */
struct alarm {
    struct timer timer;
    void (*due)(struct overlay *o, struct alarm *alarm);
};

/* A node that we have a session with, or an attempt at one. */
struct link {
    struct ring_peer peer; /* peer.id: key of overlay.links */
    struct session *session;
    struct alarm alarm;
    struct relay *relay;                /* relayed paths to it; NULL: none were needed */
    struct trail_source *trail;         /* its data went over the ring; else NULL */
    struct endpoint ep;                 /* of the last direct path; family 0: never had one */
    uint32_t near_said, shortcuts_said; /* ring.*_version of what it was told */
    uint32_t shortcuts_heard;           /* of what it confirmed */
    usec said_us;                       /* when it was told something last */
    usec unused_us;                     /* nobody needs it since then; 0: somebody does */
    usec demand_until_us;               /* 0: no demand */
    usec tcp_at_us;                     /* TCP is tried then; 0: a direct path is there */
    uint16_t seq, seq_theirs;
    uint16_t views_said;  /* ring.views_version that it was told; 0: none */
    uint8_t mine, theirs; /* masks of enum overlay_role */
    uint8_t state_said, mine_said;
    bool pledge_said; /* that it may begin the ring (join.c) */
    bool pledges;     /* it says so of us */
    uint8_t tcp_tries;
    uint8_t says;        /* times it was told the same without a confirmation; 0: confirmed */
    uint8_t relay_spare; /* how much it would relay, as it says; 0: not at all */
    uint8_t relay_asks;  /* requests for channels since relay_asks_us */
    uint8_t nat_asks;    /* that strangers should send to it, since nat_asks_us */
    bool up : 1;
    bool touched : 1;    /* something in it changed since it was thought about */
    bool met : 1;        /* it told us something */
    bool met_lists : 1;  /* and its lists */
    bool judge_ring : 1; /* as a neighbour: is it of our ring? */
    uint16_t relay_uses; /* ways of ours through it, and measurements of it */
    uint8_t gone_said;   /* ring.gone_version of what it was told */
    usec relay_asks_us, nat_asks_us;
};

enum overlay_count {
    OVERLAY_COUNT_ROUTED, /* messages passed on */
    OVERLAY_COUNT_DELIVERED,
    OVERLAY_COUNT_DETOURS,         /* sent another way: the hop stayed silent */
    OVERLAY_COUNT_DROP_BAD,        /* malformed, or of an unknown type */
    OVERLAY_COUNT_DROP_NOBODY,     /* destination not reachable from here */
    OVERLAY_COUNT_DROP_HOPS,       /* hop limit */
    OVERLAY_COUNT_DROP_FULL,       /* one of our queues is */
    OVERLAY_COUNT_DROP_STRANGER,   /* to be passed on, and we are no member */
    OVERLAY_COUNT_JOINS,           /* nodes introduced to their neighbours */
    OVERLAY_COUNT_MERGES,          /* foreign rings met */
    OVERLAY_COUNT_REPAIRS,         /* near neighbours that fell silent */
    OVERLAY_COUNT_BROADCASTS,      /* delivered */
    OVERLAY_COUNT_RELAYED,         /* packets forwarded by the control thread */
    OVERLAY_COUNT_RELAY_CHANNELS,  /* opened for others */
    OVERLAY_COUNT_RELAY_REFUSED,   /* asked for, and not opened */
    OVERLAY_COUNT_RELAY_WAYS,      /* of ours that became paths */
    OVERLAY_COUNT_RELAY_LOST,      /* of those, given up */
    OVERLAY_COUNT_DROP_RELAY,      /* no such channel, from elsewhere, or one inside another */
    OVERLAY_COUNT_DROP_RELAY_RATE, /* above what we would relay */
    OVERLAY_COUNT_TRAILS,          /* of ours that were proven */
    OVERLAY_COUNT_TRAILS_ENDED,    /* of those: unused, needed no more, or lost */
    OVERLAY_COUNT_TRAIL_NUMBERS,   /* given out to sources and hops */
    OVERLAY_COUNT_TRAILS_REFUSED,  /* no number given out: all are in use */
    OVERLAY_COUNT_MAX,
};

struct natcheck {
    struct alarm alarm;
    enum natcheck_step step;
    struct stun_id id;     /* of the indication that is awaited */
    struct endpoint outer; /* what is known is about this address; family 0: nothing yet */
    uint8_t tries, misses; /* in this step; misses: it went out, and did not come in */
    uint8_t rung;          /* of the ladder of silences */
    uint8_t strangers;     /* that got in */
    uint8_t spoilt;        /* silences that were none */
    bool heard;            /* the neighbour says that a stranger sends */
    struct addr got_in;    /* the last one of those */
    struct id neighbour, stranger_id;
    struct endpoint stranger;
    uint32_t opened_s; /* our last request to it, as sent_s has it */
    enum overlay_nat_filtering filtering;
    enum overlay_known hairpin;
    usec lives_us, dies_us; /* a mapping does at least so long, and not so long; 0: not known */
    uint32_t sent_s[NATCHECK_SENT]; /* second after the last packet to an address; 0: never */
    uint16_t pokes;                 /* sent for others since pokes_us */
    usec pokes_us;
};

struct reflexive {
    struct alarm alarm;
    usec again_us;                          /* all are asked then */
    struct endpoint asked[REFLEXIVE_PEERS]; /* last; what they answered counts */
    uint8_t count;
};

/* A message to ourselves, for the next tick. */
struct letter {
    struct letter *next;
    struct route_header header;
    size_t len;
    uint8_t body[];
};

/* A session's packet that came over the ring or is to go over it. */
struct parcel {
    struct parcel *next;
    struct path_addr path;
    size_t len;
    uint8_t pkt[];
};

struct queue {
    void *first, **last;
    size_t count;
};

struct join {
    struct alarm alarm;
    usec started_us, asked_us;
    uint32_t token; /* of our latest question for our own place */
    uint8_t asks;
    bool answered;     /* by a member, since we last were alone */
    struct id gate;    /* while we are no member: whom our messages go through and come back by */
    struct id pledged; /* whom we wait for to begin the ring; zero: nobody */
    struct alarm seek; /* looking around our place as a member */
    uint32_t seek_token;
    uint8_t seeks;          /* since something was lost */
    usec merge_told_us;     /* last time we told, or were told, of a foreign ring; 0: never */
    uint32_t introductions; /* left of this second's */
    usec introductions_us;
};

enum contact_kind {
    CONTACT_BOOTSTRAP = OVERLAY_ENTRY_BOOTSTRAP,
    CONTACT_REMEMBERED = OVERLAY_ENTRY_REMEMBERED,
    CONTACT_LOST = OVERLAY_ENTRY_LOST,
    CONTACT_MET = OVERLAY_ENTRY_MET, /* tried when nobody else is left */
    CONTACT_TUNNEL = OVERLAY_ENTRY_TUNNEL,
};

struct contact {
    union {
        struct endpoint ep;
        struct id tunnel; /* CONTACT_TUNNEL: its end */
    };
    struct id node; /* zero: not known */
    uint32_t token; /* of the question that went through it */
    uint8_t kind;
    uint8_t tries;           /* in vain */
    bool by_tcp;             /* it was reached over TCP, last */
    bool known;              /* who was asked there last had us in its ring */
    struct session *session; /* an attempt, or our leaf connection to it */
    usec next_us;            /* when it is tried, or the try is over */
    usec interval_us;
    usec lost_us;   /* when it fell silent, or was parted from */
    usec tcp_at_us; /* this try goes on over TCP then; 0: no more */
};

enum { CONTACTS_LOST_MAX = 16, CONTACTS_MET_MAX = 12 }; /* victim: the oldest of its kind */
enum {
    CONTACTS_MAX = OVERLAY_BOOTSTRAPS_MAX + OVERLAY_CONTACTS_MAX + CONTACTS_LOST_MAX +
                   CONTACTS_MET_MAX + OVERLAY_TUNNELS_MAX
};

struct contacts {
    struct alarm alarm;
    struct contact *v;
    size_t count, size;
    usec near_us;    /* when one on our LAN was tried last */
    usec cut_us;     /* when we try all whom we met, because many fell silent; 0: never yet */
    usec silent_us;  /* since when they are counted ... */
    uint32_t silent; /* ... who fell silent */
};

enum {
    SHORTCUT_TRIALS = 5, /* candidates whose round trips are compared */
    DRAWS_MAX = 3,       /* under way at the same time */
};

struct draw {
    struct alarm alarm;
    uint32_t token;   /* of the question who lives around the point; 0: none asked */
    struct id *trial; /* room for SHORTCUT_TRIALS; NULL: none under way */
    uint8_t trials;
    bool timed; /* their round trips are being measured */
};

struct shortcuts {
    struct draw draws[DRAWS_MAX];
    double whole;   /* this node's rounding of a broken number of shortcuts */
    double members; /* ring size that the last one was drawn for */
};

/* A connection that the host was asked for and that is not there yet. */
struct tcp_wish {
    uint32_t conn;
    struct id peer;          /* zero: for the contact at `contact` */
    struct endpoint contact; /* as the contact is listed */
    struct endpoint ep;      /* where the connection goes */
};

enum { TCP_WISHES_MAX = 32 }; /* under way; full: nothing new is asked for */
struct tcp {
    struct alarm alarm;
    struct tcp_wish *wishes; /* TCP_WISHES_MAX, or NULL while there is none */
    size_t count;
};

enum { PINGS_MAX = 32 };
struct ping {
    uint32_t number; /* on the wire */
    uint32_t token;
    usec sent_us, until_us;
    void (*done)(void *ctx, const struct overlay_ping_result *r);
    void *ctx;
};

struct crawl;
struct broadcast;
struct fragments;
struct trail;
struct trail_source;

struct trails {
    struct alarm alarm;
    struct trail **v; /* numbers that we gave out: TRAILS_MAX, or NULL before the first */
    size_t count;
    bool allowed; /* in this overlay */
};

struct overlay {
    struct env *env;
    struct overlay_host host;
    void *ctx;
    struct sessions *sessions;
    struct ring ring;
    struct table links;
    struct heap timers;
    struct alarm ring_alarm;
    struct join join;
    struct contacts contacts;
    struct shortcuts shortcuts;
    struct tcp tcp;
    struct alarm ping_alarm;
    struct ping *pings; /* NULL: none under way */
    size_t ping_count;
    struct crawl *crawl; /* NULL: none under way */
    struct broadcast *broadcast;
    struct queue letters; /* to ourselves */
    struct queue detours; /* messages that may have to go another way */
    struct alarm detour_alarm;
    struct queue parcels_in, parcels_out;
    struct fragments *fragments; /* NULL before the first */
    struct table legs;           /* of channels that end here or that we forward */
    struct channels channels;    /* that we forward */
    struct alarm channels_alarm;
    struct trails trails;
    size_t relay_meets; /* sessions held to measure whether they could relay */
    bool (*relay_better)(const struct relay_choice *a, const struct relay_choice *b);
    uint8_t slot;
    bool relay_refused;
    bool legs_changed; /* the host is to be told */
    struct natcheck natcheck;
    struct reflexive reflexive;
    struct alarm leave_alarm;
    uint16_t parcel_number;
    usec leave_us; /* when we said goodbye */
    usec awoke_us; /* from a long sleep, last */
    bool left;
    bool ring_changed;                            /* the host is to be told */
    uint32_t near_refreshed, shortcuts_refreshed; /* ring.*_version that the links know of */
    uint8_t state_refreshed;
    uint64_t counts[OVERLAY_COUNT_MAX];
};

static inline void overlay_counted(struct overlay *o, enum overlay_count c)
{
    o->counts[c]++;
}

void alarm_set(struct overlay *o, struct alarm *alarm, usec at_us);
/* Not later than before. */
void alarm_sooner(struct overlay *o, struct alarm *alarm, usec at_us);
void overlay_set_state(struct overlay *o, enum overlay_state state);

/* queue.c: first in, first out, of items that begin with their `next`. */
void queue_init(struct queue *q);
void queue_put(struct queue *q, void *item);
void *queue_take(struct queue *q); /* NULL: empty */

/* link.c */
enum { LINK_SAID_MAX = 7 + RING_SAID_MAX * RING_ENTRY_LEN + 2 * OVERLAY_NEAR * 19 };
static inline struct link *link_of(struct ring_peer *peer)
{
    return CONTAINER_OF(peer, struct link, peer);
}
struct link *link_find(const struct overlay *o, const struct id *id);
/* The link, with a session up or being opened over the ring (and to ep, which may be NULL). NULL:
 * full. */
struct link *link_open(struct overlay *o, const struct id *id, const struct id *via,
                       const struct endpoint *ep);
void link_up(struct overlay *o, struct session *s);
void link_down(struct overlay *o, struct session *s, enum session_end why);
void link_data_changed(struct overlay *o, struct session *s);
/* What we need it for: adds and takes away, tells the peer. */
void link_need(struct overlay *o, struct link *l, uint8_t add, uint8_t remove);
/* It was looked at and not chosen: closed, unless somebody needs it for something else. */
void link_dismiss(struct link *l);
/* After ring_update: near roles, news. news: what every peer is told may have changed. */
void link_refresh(struct overlay *o, struct link *l, bool news);
bool link_said_input(struct overlay *o, struct link *l, bool lists, struct reader *r);
bool link_heard_input(struct overlay *o, struct link *l, struct reader *r);
bool link_members_input(struct overlay *o, struct link *l, struct reader *r);
/* What the next packet to it takes along, as sessions_host.ride. */
size_t link_ride(struct overlay *o, struct link *l, uint8_t *type, uint8_t body[SESSION_RIDE_MAX]);
/* A message that nobody confirms goes this way now: a peer that has not lately shown to hear us is
 * asked whether it does, so that the next one does not go the same way for nothing. That it is
 * heard is not enough: the NAT that lets its packets out may have ended the mapping that ours come
 * in by. */
void link_relied_on(struct overlay *o, struct link *l);
/* Where we reach it, for others to try; family 0: we have no direct path to it. */
void link_write_endpoint(const struct overlay *o, const struct id *id, struct writer *w);
/* By which connection a message came. l NULL: from ourselves. */
void link_came_by(const struct link *l, struct overlay_from *from);
void link_free(struct overlay *o, struct link *l);
/* Told everything and it was confirmed. */
bool link_settled(const struct link *l);

/* transit.c */
/* Starts a message of ours. first: the peer to begin with, or NULL. 0, -ERR_RANGE, -ERR_BAD_STATE.
 */
int transit_send(struct overlay *o, struct route_header *h, struct link *first, const void *body,
                 size_t len);
/* The same, beginning with another peer than that would. -ERR_BAD_STATE, and h as it was: there is
 * none, or everything goes through one. */
int transit_send_around(struct overlay *o, struct route_header *h, const void *body, size_t len);
/* The same to a peer at random that does not owe an answer, and on from there. */
int transit_anew(struct overlay *o, struct route_header *h, const void *body, size_t len);
int transit_answer(struct overlay *o, const struct route_header *to, const struct id *via,
                   uint8_t proto, const void *body, size_t len);
bool transit_input(struct overlay *o, struct link *from, const uint8_t *bytes, size_t len);
/* A message that is passed on, as it came here. */
struct passage {
    struct route_header header;
    struct id from; /* who handed it over; zero: it is ours */
    unsigned tries; /* hops that stayed silent */
    const void *body;
    size_t len;
};
/* The hop it went to stays silent. */
void transit_again(struct overlay *o, const struct passage *p);
void transit_deliver_letters(struct overlay *o);

/* detour.c */
/* Before a step of such a message: sets each ring_peer.silent. */
void detours_look(struct overlay *o);
/* It went to `hop` just now: looks after it if that one owes an answer. */
void detour_keep(struct overlay *o, const struct passage *p, const struct link *hop);
void detours_due(struct overlay *o, struct alarm *alarm);
void detours_clear(struct overlay *o);

/* carry.c */
/* Of a message to whoever a session's packet goes to by that path, PATH_RING: whom it goes through,
 * and whom the answer is to come back through. While a neighbour is being connected to, the ring
 * between us may not be whole, and only those we have a session with find us. */
struct route_header carry_header(const struct overlay *o, const struct path_addr *to,
                                 uint8_t proto);
void carry_send(struct overlay *o, const struct path_addr *to, const uint8_t *pkt, size_t len);
void carry_input(struct overlay *o, const struct route_header *h, struct reader *r);
/* A packet of others, as it stands in a routed message, may go on from here. */
bool carry_allowed(struct overlay *o, const uint8_t *body, size_t len);
/* Moves what is queued. True when something was. */
bool carry_run(struct overlay *o);
void carry_free(struct overlay *o);

/* join.c */
enum ask_flag {
    ASK_PLACE = 1,  /* the source wants neighbours: introduce it to those around it */
    ASK_MEMBER = 2, /* the source is a member of a ring */
};
enum lists_flag { LISTS_KNOWN = 1 /* the asker is in them, or near enough and a member here */ };
/* The upper 4 bits of a question's token: whose it is. */
enum ask_purpose {
    ASK_FOR_JOIN = 1,
    ASK_FOR_CONTACT = 2,
    ASK_FOR_SEEK = 3,
    ASK_FOR_SHORTCUT = 4,
    ASK_FOR_CRAWL = 5,
};
void join_begin(struct overlay *o);
void join_link_up(struct overlay *o, struct link *l);
void join_link_down(struct overlay *o, struct link *l);
void join_member_met(struct overlay *o, struct link *l);
bool join_is_pledged(const struct overlay *o, const struct link *l);
/* The ring's lists changed. */
void join_refresh(struct overlay *o);
/* A near neighbour fell silent: look around soon. */
void join_seek_soon(struct overlay *o);
/* Sends a question; with ASK_PLACE it is about ourselves. 0 or as transit_send. */
int join_ask(struct overlay *o, const struct id *key, enum route_mode mode, uint8_t flags,
             uint32_t token, struct link *first);
uint32_t join_token(struct overlay *o, enum ask_purpose purpose);
void join_ask_input(struct overlay *o, struct link *from, const struct route_header *h,
                    struct reader *r);
void join_lists_input(struct overlay *o, const struct route_header *h, struct reader *r);
void join_introduce_input(struct overlay *o, const struct route_header *h, struct reader *r);
/* A new near neighbour: of another ring, perhaps; then everybody is to look for theirs. */
void join_judge_ring(struct overlay *o, struct link *l);
/* A broadcast says so. */
void join_merge_input(struct overlay *o, struct reader *r);

/* An answer's lists as they came: closest first. */
struct lists {
    uint32_t token;
    struct id from, via;
    enum overlay_state state;
    bool known;
    struct ring_list side[2];
    struct endpoint ep[2][OVERLAY_NEAR]; /* of those; family 0: not told */
};

/* Nodes of a ring that does not know us. via: through whom they can be reached, or NULL. */
void join_learn_lists(struct overlay *o, const struct lists *lists, const struct id *via);

/* contact.c */
void contacts_begin(struct overlay *o);
void contacts_clear(struct overlay *o);
int contact_add(struct overlay *o, enum contact_kind kind, const struct id *node,
                const struct endpoint *ep);
/* A peer that fell silent: it may be behind a cut that heals. */
void contact_lost(struct overlay *o, const struct link *l);
/* A peer that is connected to no more. */
void contact_parted(struct overlay *o, const struct link *l);
/* A member on our LAN, by its own unproven word. */
void contact_heard_near(struct overlay *o, const struct id *node, const struct endpoint *ep);
/* It is tried there, and not through a tunnel. */
bool contact_is_at(const struct contact *c, const struct endpoint *ep);
void contact_add_tunnel(struct overlay *o, const struct id *node, const struct id *end);
/* A link ended: the last, perhaps. */
void contacts_check(struct overlay *o);
void contact_up(struct overlay *o, struct session *s, struct link *l);
void contact_down(struct overlay *o, struct session *s, enum session_end why);
void contact_lists(struct overlay *o, const struct lists *lists);
/* We became a member. */
void contacts_member(struct overlay *o);
/* All have been tried, and none is being tried now but for those that answered. */
bool contacts_settled(const struct overlay *o);
/* Tries all lost ones now. */
void contacts_retry_lost(struct overlay *o);
/* Tries everything now: our addresses changed. */
void contacts_retry_all(struct overlay *o);

/* tcp.c */
void tcp_begin(struct overlay *o);
void tcp_clear(struct overlay *o);
/* The host does TCP at all. */
bool tcp_possible(const struct overlay *o);
/* A try by UDP begins; TCP joins in after TCP_AFTER_US. */
void tcp_contact_tried(struct overlay *o, struct contact *c);
/* The best path of this link is no direct one. */
void tcp_link_indirect(struct overlay *o, struct link *l);

/* shortcut.c */
void shortcuts_init(struct overlay *o);
void shortcuts_clear(struct overlay *o);
void shortcuts_begin(struct overlay *o); /* we have become a member */
void shortcut_lists(struct overlay *o, const struct lists *lists);
void shortcut_lost(struct overlay *o);

/* ping.c */
void ping_input(struct overlay *o, const struct route_header *h, struct reader *r);
void pong_input(struct overlay *o, const struct route_header *h, struct reader *r);
void ping_due(struct overlay *o, struct alarm *alarm);

/* crawl.c */
void crawl_lists(struct overlay *o, const struct lists *lists);
void crawl_free(struct overlay *o);

/* broadcast.c */
enum broadcast_proto { BROADCAST_PROTO_MERGE = 64 }; /* the ring's own, beside enum overlay_proto */
int broadcast_start(struct overlay *o, uint8_t proto, const void *body, size_t len);
bool broadcast_input(struct overlay *o, struct link *from, struct reader *r);
bool broadcast_heard_input(struct overlay *o, struct link *from, struct reader *r);
void broadcast_link_down(struct overlay *o, struct link *l);
void broadcast_free(struct overlay *o);

#endif
