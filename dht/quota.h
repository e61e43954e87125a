/*
 * quota.h - how much may be done at one connection's word, in the public overlay, where anybody may
 * be at its other end. Memory is store.h's affair; this bounds the work: of a record to store a
 * signature to verify and two copies, of a question an answer that is longer than it is.
 *
 * Each connection starts with QUOTA_BURST and gains QUOTA_PER_S; a record costs QUOTA_STORE, a
 * question QUOTA_GET. Connections are told apart by
 * their session's token; QUOTA_CONNECTIONS_MAX are remembered, the victim is the one that asked
 * longest ago. A record that is above is refused, and the asker told so; a question is not
 * answered.
 */
#ifndef PEAL_DHT_QUOTA_H
#define PEAL_DHT_QUOTA_H

#include "overlay/overlay.h"

enum {
    QUOTA_CONNECTIONS_MAX = 256,
    QUOTA_BURST = 1024,
    QUOTA_PER_S = 32,
    QUOTA_STORE = 8,
    QUOTA_GET = 1
};

struct quota_connection {
    uint32_t token, left; /* token 0: unused */
    usec since_us;        /* left is as of then */
};

struct quotas {
    struct quota_connection *v; /* QUOTA_CONNECTIONS_MAX; NULL before the first question */
};

void quotas_clear(struct quotas *q);
/* So much more by this connection. What we ask ourselves (token 0) is always allowed. */
bool quotas_take(struct quotas *q, uint32_t token, uint32_t cost, usec now_us);

#endif
