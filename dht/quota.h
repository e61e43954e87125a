/*
 * quota.h - how many records may be stored at one connection's word, in the public overlay, where
 * anybody may be at its other end. Memory is store.h's affair; this bounds the work: a signature to
 * verify and two copies for each.
 *
 * Each connection starts with QUOTA_BURST and gains QUOTA_PER_S. Connections are told apart by
 * their session's token; QUOTA_CONNECTIONS_MAX are remembered, the victim is the one that asked
 * longest ago. What is above is refused, and the asker told so.
 */
#ifndef PEAL_DHT_QUOTA_H
#define PEAL_DHT_QUOTA_H

#include "overlay/overlay.h"

enum { QUOTA_CONNECTIONS_MAX = 256, QUOTA_BURST = 128, QUOTA_PER_S = 4 };

struct quota_connection {
    uint32_t token, left; /* token 0: unused */
    usec since_us;        /* left is as of then */
};

struct quotas {
    struct quota_connection *v; /* QUOTA_CONNECTIONS_MAX; NULL before the first question */
};

void quotas_clear(struct quotas *q);
/* One more record by this connection. What we ask ourselves (token 0) is always allowed. */
bool quotas_take(struct quotas *q, uint32_t token, usec now_us);

#endif
