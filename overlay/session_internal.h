/*
 * session_internal.h - the structs that the files of one session share: session.c (its life),
 * handshake.c, initiator.c, responder.c, control.c, datakey.c, path.c, probe.c, endpoints.c,
 * refused.c, index.c. Nobody else includes it.
 *
 * One struct session per peer is alive at most; it is found by peer id (once known or expected) and
 * by the receiver indices that it holds. Every receiver index of the overlay, whatever it is for,
 * is one entry of sessions.indices, so no number is ever given out twice.
 */
#ifndef PEAL_OVERLAY_SESSION_INTERNAL_H
#define PEAL_OVERLAY_SESSION_INTERNAL_H

#include "overlay/cookie.h"
#include "overlay/core/heap.h"
#include "overlay/core/table.h"
#include "overlay/crypto/noise.h"
#include "overlay/datakey.h"
#include "overlay/handshake.h"
#include "overlay/hello.h"
#include "overlay/msg.h"
#include "overlay/nat.h"
#include "overlay/path.h"

enum {
    SESSION_INDICES_EACH = 10, /* receiver indices one session can hold at most */
    SESSION_REFUSED_MAX = 16,  /* refusals remembered; victim: the oldest */
    SESSION_PREDICTED_MAX = 2,
    SESSION_SEEN_MAX = 4,     /* reflexive endpoints told of; victim: that of fewest reporters */
    SESSION_OUTSIDE_MAX = 8,  /* STUN answers kept; victim: the oldest */
    SESSION_SUSPECT_S = 5,    /* between two rounds of asking whether our NAT has changed */
    SESSION_KEEPALIVE_S = 20, /* longest silence on a path through a NAT of ours that is not known
                                 to bear more */
    SESSION_COALESCE_MAX = 1200,
    MESSAGE_PACKET_LEN = PACKET_HEADER_LEN + MSG_HEADER_LEN + PACKET_TAG_LEN, /* plus a body */
    SESSION_PACKET_MAX = MESSAGE_PACKET_LEN + MESSAGE_MAX,
    SESSION_OVERLAP_S =
        10, /* two opened at once: both keys are accepted so long; and old keys after new ones */
};

enum index_kind {
    INDEX_TOKEN,     /* owner: session; no packet carries it */
    INDEX_ATTEMPT,   /* owner: session; message 2 and cookies */
    INDEX_HALF_OPEN, /* owner: half-open slot; message 3 */
    INDEX_CONTROL,   /* owner: session */
    INDEX_DATA,      /* owner: session; data packets, opened by the data plane */
};

struct index_ref {
    uint32_t index; /* 0: not taken */
    enum index_kind kind;
    void *owner;
};

/* One handshake's control keys. */
struct control {
    struct index_ref ref;
    struct seal_key *tx, *rx;
    struct secret base;                 /* of the data keys */
    struct seal_key *data_tx, *data_rx; /* the first ones, until they are adopted; or NULL */
    usec born_us;
    usec confirmed_us; /* the first packet under them came; USEC_NEVER before */
    usec until_us;     /* of the older ones: accepted until then */
    bool initiator;    /* we were */
};

enum session_state {
    SESSION_OPENING, /* our message 1 is out. To UP by message 2 or an incoming message 3; to ENDING
                      */
    SESSION_UP,      /* from OPENING, or created by message 3. To ENDING */
    SESSION_ENDING,  /* holds no index and no name any more; down() is due, then it is freed */
};

enum session_event {
    EVENT_UP = 1,
    EVENT_DATA = 2,
    EVENT_OBSERVED = 4,
    EVENT_DOWN = 8,
};

struct session {
    struct id peer;           /* first known by `expect`, then proven; key of sessions.by_peer */
    struct sign_public key;   /* once known */
    struct endpoint observed; /* how the peer sees us */
    struct cert *cert;        /* NULL without a CA, and until known */
    struct sessions *ss;
    struct timer timer;
    struct session *event_next;
    struct index_ref token;
    void *user;
    struct control *keys; /* those that we send with */
    struct control *old;  /* still accepted */
    struct attempt *attempt;
    struct datakeys *data;
    struct paths paths;
    uint64_t incarnation, crl_number; /* the peer's */
    usec opened_us, up_us;
    usec heard_us;    /* anything authenticated */
    usec carried_us;  /* anything of the user's, either way */
    usec probe_at_us; /* the next probe, or the end of the one under way */
    usec probe_since_us;
    usec data_probe_us; /* data went out unanswered: probe then; USEC_NEVER */
    usec sent_us;       /* anything over the best path; a NAT's mapping lives from then */
    usec rekey_at_us;
    const char *refusal;
    uint32_t silent_us; /* how long it may be silent before it is probed */
    uint32_t position;  /* in sessions.all */
    uint8_t peer_nat;   /* the peer's ping flags with PING_NAT; 0: it told nothing */
    uint8_t state;      /* enum session_state */
    uint8_t end;        /* enum session_end */
    uint8_t alg;        /* enum seal_alg, of the data keys */
    uint8_t events;     /* mask of enum session_event; in the queue when not 0 */
    uint8_t probes;     /* unanswered so far; 0: none under way */
    bool named : 1;     /* in by_peer */
    bool known : 1;     /* peer and key were proven */
    bool hold : 1;
    bool wants_data : 1; /* since before it came up */
};

struct half_open;

struct sessions {
    struct sessions_config config;
    struct env *env;
    struct sessions_host host;
    void *ctx;
    struct seal_worker *worker, *own_worker; /* own_worker: to be freed, or NULL */
    struct dh_secret dh_secret;
    struct dh_public dh_public;
    uint8_t prologue[4 + 1 + ID_LEN];
    uint64_t incarnation;

    struct table by_peer, indices;
    struct session **all;
    size_t count, size;
    struct heap timers;
    struct session *events_first, **events_last;

    struct cookie_keys cookie_keys;
    struct cookie_jar jar;
    struct half_open *half_open_first, **half_open_last; /* oldest first */
    size_t half_open_count;
    usec load_since_us; /* the second that load_count counts */
    uint32_t load_count, load_before;

    struct endpoint own[HELLO_ENDPOINTS_MAX];
    struct endpoint seen[SESSION_SEEN_MAX];           /* reflexive, that of most reporters first */
    struct endpoint predicted[SESSION_PREDICTED_MAX]; /* our NAT's next ports, if it counts */
    struct nat_report *outside; /* SESSION_OUTSIDE_MAX, not of peers, newest first; or NULL */
    uint8_t own_count, seen_count, outside_count, predicted_count;
    struct session *searching; /* the one that has paths.search, or NULL */
    usec keepalive_us;         /* longest silence on a path through a NAT of ours */
    uint8_t mapping;           /* enum overlay_nat_mapping of it, for peers to know */
    uint8_t filtering;         /* enum overlay_nat_filtering, too */
    usec suspected_us;         /* our NAT was suspected last */

    struct { /* messages waiting for the end of the call: of one session and one path */
        struct session *session;
        struct path_addr to;
        size_t len;   /* of messages */
        uint8_t *pkt; /* of seal_buffer while session is not NULL */
    } out;

    struct session_refused *refused; /* SESSION_REFUSED_MAX, newest first; NULL before the first */
    size_t refused_count;
    uint64_t counts[SESSION_COUNT_MAX];
};

/* index.c */

/* Takes an unused random index for owner. False: the table is full or out of memory. */
bool index_take(struct sessions *ss, struct index_ref *ref, enum index_kind kind, void *owner);
void index_drop(struct sessions *ss, struct index_ref *ref);
/* Keeps the number under another kind and owner, in another place. False: out of memory, both are
 * dropped. */
bool index_move(struct sessions *ss, struct index_ref *to, struct index_ref *from,
                enum index_kind kind, void *owner);

static inline void session_counted(struct sessions *ss, enum session_count c)
{
    ss->counts[c]++;
}

/* session.c */

/* NULL: full, and nobody without a hold to make room. */
struct session *session_new(struct sessions *ss);
/* The peer is known, or expected. */
void session_name(struct session *s, const struct id *peer);
struct session *session_named(const struct sessions *ss, const struct id *peer);
/* Ends it now, tells the user at the end of the call. why may be NULL. */
void session_end(struct session *s, enum session_end end, const char *why);
void session_event(struct session *s, enum session_event event);
/* Sets the session's timer to its earliest deadline. */
void session_schedule(struct session *s);

/* OPENING to UP. */
void session_came_up(struct session *s);
/* What the peer said of itself. False: out of memory, nothing was taken. */
bool session_take_hello(struct session *s, const struct hello *h, const struct cert *who);

/* endpoints.c */

/* Our NAT in the flags of a ping or pong, and the peer's out of them. */
uint8_t session_nat_flags(const struct sessions *ss);
void session_nat_heard(struct session *s, uint8_t flags);

/* MSG_ENDPOINTS with all of them. */
void session_tell_endpoints(struct session *s);

/* The peer told us how it sees us. */
void session_observed(struct session *s, const struct endpoint *us);

/* The way to it leads through a NAT of ours, by what it sees. */
bool session_is_mapped(const struct session *s);

/* It reports no more. */
void session_seen_changed(struct session *s);

/* refused.c */

void session_remember_refusal(struct sessions *ss, const struct path_addr *from,
                              const struct cert *who, const char *why);

/* control.c */

/* From a handshake's end. index is moved into the new object. NULL: out of memory, the index is
 * dropped. */
struct control *control_keys_new(struct sessions *ss, struct index_ref *index,
                                 uint32_t remote_index, const struct noise_result *r,
                                 struct session *s, bool initiator);
void control_keys_free(struct sessions *ss, struct control *c);
/* The session sends with these from now on, or (two opened at once) goes on with what it has. */
void session_adopt(struct session *s, struct control *c);
/* The newest keys never reached the peer: back to the older ones. False: there are none. */
bool session_keys_fall_back(struct session *s);
/* A control packet for one of our indices. */
void control_input(struct sessions *ss, const struct path_addr *from, uint8_t *pkt, size_t len);

/* Forgets what is coalesced. */
void sessions_drop_out(struct sessions *ss);
/* A packet with nothing in it, over the best path. */
void session_keepalive(struct session *s);
/* One message over a given path, coalesced where it can be. */
void session_queue(struct session *s, const struct path_addr *to, uint8_t type, const void *body,
                   size_t len);
/* One packet of one message under given keys at once: a session's own keys may be others. */
void session_send_under(struct session *s, struct control *c, const struct path_addr *to,
                        uint8_t type, const void *body, size_t len);

/* probe.c */

/* Something authenticated arrived, not necessarily over the best path. */
void probe_heard(struct session *s, const struct path_addr *from);
void probe_answered(struct session *s); /* by the best path */
void probe_tick(struct session *s);
/* Our NAT may have changed: asks every peer that we reach through it. */
void sessions_suspect_nat(struct sessions *ss);
usec probe_deadline(const struct session *s);

enum ping_flag {
    PING_ASK_ENDPOINT = 0x01, /* in PONG: the endpoint is given */
    PING_BEST = 0x02,         /* the sender's best path: the higher id makes it its own as well */
    /* In PING and PONG: the sender's NAT, for people who ask why there is no direct path. Nothing
       else depends on it. */
    PING_NAT = 0x80,
    PING_NAT_MAPPING = 0x1c,   /* enum overlay_nat_mapping */
    PING_NAT_FILTERING = 0x60, /* enum overlay_nat_filtering */
    PING_NAT_MAPPING_SHIFT = 2,
    PING_NAT_FILTERING_SHIFT = 5,
};

/* MSG_CLOSE's reason. */
enum close_reason {
    CLOSE_BYE = 0,
    CLOSE_REFUSED = 64, /* plus an enum refusal */
};

#endif
