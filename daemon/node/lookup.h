/*
 * lookup.h - questions of people: who owns this address, this name, who is this id. Addresses and
 * names are asked of the DHT, ids of the node itself.
 */
#ifndef PEAL_NODE_LOOKUP_H
#define PEAL_NODE_LOOKUP_H

#include "daemon/node/facts.h"
#include "dht/dht.h"

enum {
    LOOKUPS_MAX = 32, /* at a time; one more is refused */
    LOOKUP_US = 5000000,
    LOOKUP_TRY_US = 1200000, /* an id is asked again so often */
};

struct lookup {
    bool used;
    bool by_id;
    uint32_t number; /* of this use; in tokens and questions */
    struct id node;
    usec until_us, retry_us;
    void (*done)(void *ctx, const struct node_lookup_result *r);
    void *ctx;
};

struct lookups {
    struct env *env;
    struct overlay *overlay;
    struct dht *dht;
    struct lookup *v; /* LOOKUPS_MAX, or NULL before the first */
};

void lookups_init(struct lookups *ls, struct env *env, struct overlay *overlay, struct dht *dht);
void lookups_clear(struct lookups *ls);
int lookup_start(struct lookups *ls, const struct node_config *config, const char *what,
                 void (*done)(void *ctx, const struct node_lookup_result *r), void *ctx);
/* A member answered "who are you": true when one of ours had asked. */
bool lookups_reply(struct lookups *ls, const struct id *from, uint32_t number,
                   const struct facts *facts);
void lookups_tick(struct lookups *ls);
usec lookups_deadline(const struct lookups *ls);

#endif
