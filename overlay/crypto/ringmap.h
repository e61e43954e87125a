/*
 * ringmap.h - what a member that surveys its group's ring tells the service: who answered on it,
 * whom each names as nearest, and how this member itself is connected to them.
 *
 *   "peal ringmap" (12 bytes), version (1 byte, 1), group id (20), node id of the surveyor (20),
 *   Unix time (8), about how many members there are (4), flags (1: the ring is larger than what
 *   follows), nodes (2); then, sorted by id, for each node
 *     id (20), flags (1), the surveyor's path to it (1), how many it names left and right (1 each),
 *     left (3 times 2), right (3 times 2): places in this list, nearest first, the rest zeros
 *   and the surveyor's Ed25519 signature (64) over everything before it.
 *
 * At most RINGMAP_NODES_MAX nodes, so that it fits a request of 64 KiB as base64. Of a larger ring
 * the nodes met last are left out, and who names them names fewer. The message begins with its own
 * label, so that nothing else that a member signs can be taken for it.
 */
#ifndef PEAL_CRYPTO_RINGMAP_H
#define PEAL_CRYPTO_RINGMAP_H

#include "overlay/core/id.h"
#include "overlay/crypto/secret.h"

enum {
    RINGMAP_NODES_MAX = 1200,
    RINGMAP_NEAR = 3,
    RINGMAP_HEAD_LEN = 12 + 1 + ID_LEN + ID_LEN + 8 + 4 + 1 + 2,
    RINGMAP_NODE_LEN = ID_LEN + 4 + 2 * RINGMAP_NEAR * 2,
    RINGMAP_MAX = RINGMAP_HEAD_LEN + RINGMAP_NODES_MAX * RINGMAP_NODE_LEN + SIGNATURE_LEN,
};

enum ringmap_flag {
    RINGMAP_ANSWERED = 1,
    RINGMAP_CONSISTENT = 2, /* its nearest are those that the survey met */
    RINGMAP_SHORTCUT = 4, /* the surveyor's path to it is a shortcut of the ring, not a near link */
    RINGMAP_FLAGS = 7,
};

/* From the surveyor to the node. */
enum ringmap_path {
    RINGMAP_NONE,  /* no connection of its own, or itself */
    RINGMAP_UDP,   /* direct */
    RINGMAP_TCP,   /* direct */
    RINGMAP_RELAY, /* through another member, or over the ring */
    RINGMAP_PATHS,
};

struct ringmap_node {
    struct id node;
    uint8_t flags, path;
    uint8_t count[2];               /* left, right */
    uint16_t near[2][RINGMAP_NEAR]; /* places in ringmap.nodes */
};

struct ringmap {
    struct id group, node;
    int64_t at_s; /* Unix time, by the surveyor's clock */
    uint32_t members;
    bool cut;
    size_t count;
    struct ringmap_node nodes[RINGMAP_NODES_MAX];
};

/* Returns the message's length. The map is one that ringmap_read would take. */
size_t ringmap_write(const struct ringmap *m, const struct sign_secret *key,
                     uint8_t out[RINGMAP_MAX]);
/* False: malformed, not sorted, naming what is not there, or without its own surveyor. Does not
 * judge the signature: whose key that is follows from the node. */
bool ringmap_read(struct ringmap *out, const uint8_t *message, size_t len);
/* Of a message that ringmap_read took. */
bool ringmap_signed_by(const uint8_t *message, size_t len, const struct sign_public *key);

/* The place of a node; count when it is not there. */
size_t ringmap_find(const struct ringmap *m, const struct id *node);

#endif
