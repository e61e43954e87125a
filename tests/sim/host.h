/*
 * host.h - a machine: a real node, its clocks, its memory's account, what it keeps on disk, and its
 * life: off, on, crashed, left, started again with its state or as a stranger.
 *
 * Every entry into the node goes through host_enter and host_exit: the first sets its clocks and
 * account, the second moves its wake-up and shows the judge what changed.
 */
#ifndef PEAL_SIM_HOST_H
#define PEAL_SIM_HOST_H

#include "daemon/node/node.h"
#include "tests/sim/account.h"
#include "tests/sim/claims.h"
#include "tests/sim/internet.h"

enum host_state {
    HOST_OFF,
    HOST_ON,
    HOST_LEAVING, /* told to; off when the node says it left */
};

struct host_identity {
    struct id id;
    struct sign_public pub;
    struct sign_secret sec;
    uint32_t number; /* which of the run's identities */
};

/* What the judge saw of it last. */
struct host_view {
    bool member;
    uint8_t counts[2];
    struct id near[2][OVERLAY_NEAR]; /* left, right */
    bool first_right[2];             /* by side: the first entry is the nearest live member there */
    uint32_t walk;                   /* of the full check */
    struct host *island;             /* of islands_count */
    bool ideal;                      /* both whole lists are */
    usec member_us;                  /* since when it is a member */
    usec skips_us[2]; /* since when its list passes over a live member; 0: it does not */
};

struct host {
    struct host_identity identity;
    struct world *world;
    uint32_t index;
    enum host_state state;
    struct event wake;
    struct node *node;
    struct env env;
    struct random random;
    struct account account, *account_before;
    usec clock_offset_us;
    int32_t clock_ppm;
    int64_t wall_skew_s;
    bool wall_known;
    usec on_us;                    /* last start */
    usec off_us;                   /* last end */
    usec up_us;                    /* NODE_UP first since this start; 0: not yet */
    bool up;                       /* it is now */
    usec asleep_us;                /* suspended since then; 0: awake */
    uint64_t tx_packets, tx_bytes; /* IP and UDP headers included; over all lives */
    uint32_t spins;                /* ticks in a row in one instant */
    bool changed;                  /* the node said so */
    struct claim claims[CLAIM_KINDS];
    struct event start; /* to come back */
    bool start_stranger;
    struct { /* on disk */
        struct overlay_contact contacts[OVERLAY_CONTACTS_MAX];
        size_t contact_count;
        struct addr last;
    } * saved;
    uint8_t *cert; /* CERT_DER_MAX, in a group with certificates; else NULL */
    size_t cert_len;
    struct removed *removed; /* what it knows of removals: kept over restarts */
    struct host_view view;
    char *followed; /* what it held last of the record that is followed; NULL: nothing yet */
};

void host_init(struct host *h, struct world *w, uint32_t index);
void host_clear(struct host *h);
/* A process starts. As a stranger: with a new key and no memory. */
void host_start(struct host *h, bool stranger);
/* The same, later. */
void host_start_at(struct host *h, usec at_us, bool stranger);
void host_crash(struct host *h);
void host_leave(struct host *h);
/* The machine is suspended: its clock runs on, what comes is lost. Nobody may enter it. */
void host_sleep(struct host *h);
void host_awake(struct host *h);
void host_input(struct host *h, const struct endpoint *from, uint8_t *pkt, size_t len);

/* Around every call that may change the node. */
void host_enter(struct host *h);
void host_exit(struct host *h);
struct overlay *host_overlay(const struct host *h);
bool host_is_on(const struct host *h);
/* Family 0: it has none. */
struct addr host_address(const struct host *h);
/* An event that is a packet on its way. */
bool host_is_packet(const struct event *e);

#endif
