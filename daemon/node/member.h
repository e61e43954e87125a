/*
 * member.h - what members say about themselves: answering "who are you", and asking everybody that
 * a crawl of the ring meets.
 *
 *    ask:   1 byte NODE_MSG_MEMBER_ASK, 4 bytes number
 *    reply: 1 byte NODE_MSG_MEMBER_REPLY, 4 bytes number, 1 byte length and host name, 1 byte
 * length and user, IPv4 address, IPv6 address (each 1 byte family and 0, 4 or 16 bytes), 8 bytes
 * number of the newest removal known
 *
 * What a reply says is shown to people only; the virtual network believes nothing but signed
 * leases.
 */
#ifndef PEAL_NODE_MEMBER_H
#define PEAL_NODE_MEMBER_H

#include "daemon/node/node.h"
#include "overlay/core/wire.h"

enum {
    MEMBER_WALKS_MAX = 4,      /* at once; a further one is refused */
    MEMBER_NODES_MAX = 100000, /* a walk ends there */
    MEMBER_ASKED_MAX = 256,    /* questions of one walk under way; beyond: the oldest is given up */
    MEMBER_TRIES = 3,
    MEMBER_TRY_US = 1000000,
};

struct members; /* the walks of one node */

struct members *members_new(struct env *env, struct overlay *overlay);
void members_free(struct members *ms);
int members_walk(struct members *ms, void (*member)(void *ctx, const struct node_member *m),
                 void (*end)(void *ctx, uint32_t nodes, uint32_t inconsistent), void *ctx);
void members_cancel(struct members *ms, void *ctx);
/* Answers a question about ourselves. */
void members_ask(struct overlay *overlay, const struct overlay_from *from, struct reader *r,
                 const struct node_status *us, const char *user, uint64_t removed);
/* Reads a reply; false when malformed. */
bool member_reply_read(struct reader *r, uint32_t *number, struct node_member *out);
/* True when one of our walks had asked. */
bool members_reply(struct members *ms, const struct id *from, uint32_t number,
                   struct node_member *m);
void members_tick(struct members *ms);
usec members_deadline(const struct members *ms);

/* Message types of OVERLAY_PROTO_NODE: the first byte of the body. */
enum node_msg {
    NODE_MSG_MEMBER_ASK = 1,
    NODE_MSG_MEMBER_REPLY = 2,
    NODE_MSG_LEASE_SHOW = 3, /* the signed record of the sender's IPv4 lease */
    NODE_MSG_FACTS = 4,      /* the sender's facts (facts.h), to those it has a session with */
    NODE_MSG_REMOVAL = 5,    /* this and the next: removal.h */
    NODE_MSG_REMOVED_HAVE = 6,
    NODE_MSG_REMOVED_ASK = 7,
    NODE_MSG_CRL_ASK = 8,
    NODE_MSG_CRL_PART = 9,
    NODE_MSG_TUNNEL = 10,    /* in the public overlay only: tunnel.h */
    NODE_MSG_FACTS_ASK = 11, /* empty; answered by FACTS */
};

#endif
