#include "dht/quota.h"

#include <stdlib.h>

void quotas_clear(struct quotas *q)
{
    free(q->v);
    q->v = NULL;
}

/* The connection's, or what becomes it. */
static struct quota_connection *connection_of(struct quotas *q, uint32_t token, usec now_us)
{
    struct quota_connection *victim = &q->v[0];

    for (size_t i = 0; i < QUOTA_CONNECTIONS_MAX; i++) {
        struct quota_connection *c = &q->v[i];

        if (c->token == token)
            return c;
        if (victim->token != 0 && (c->token == 0 || c->since_us < victim->since_us))
            victim = c;
    }
    *victim = (struct quota_connection){token, QUOTA_BURST, now_us};
    return victim;
}

static void refill(struct quota_connection *c, usec now_us)
{
    usec gained = (now_us - c->since_us) * QUOTA_PER_S / SEC(1);

    if (gained == 0)
        return;
    c->left = gained + c->left < QUOTA_BURST ? (uint32_t)gained + c->left : QUOTA_BURST;
    c->since_us = now_us;
}

bool quotas_take(struct quotas *q, uint32_t token, uint32_t cost, usec now_us)
{
    struct quota_connection *c;

    if (token == 0)
        return true;
    if (q->v == NULL)
        q->v = calloc(QUOTA_CONNECTIONS_MAX, sizeof(*q->v));
    if (q->v == NULL)
        return false;
    c = connection_of(q, token, now_us);
    refill(c, now_us);
    if (c->left < cost)
        return false;
    c->left -= cost;
    return true;
}
