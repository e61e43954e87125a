/*
 * own.h - what is ours in the group: an IPv4 address and a host name, each by DHT `create`, and the
 * record that leads from our IPv6 address to us. Claims them once we are in the ring, keeps them,
 * and looks for others when the DHT says that somebody else has them.
 *
 * Each of the two is a small machine: it asks for one candidate after the other until one is ours.
 * The address: the wish (a fixed one, a DHCP client's, the last one), then the node's own order
 * through the range (address.h). The name: the wanted one, then with -2, -3 ... behind it. Address
 * and name are claimed at the same time, each record saying what the other is expected to be; where
 * that was wrong the records are written again.
 *
 * Without a device nothing is claimed.
 */
#ifndef PEAL_NODE_OWN_H
#define PEAL_NODE_OWN_H

#include "daemon/node/facts.h"
#include "dht/dht.h"

enum {
    OWN_ADDRESS_TRIES = 256, /* candidates of a large range before we say that it is full */
    OWN_NAME_TRIES = 99,
};

enum own_state {
    OWN_IDLE,   /* not begun, or begun again after a loss: the next tick asks */
    OWN_ASKING, /* `create` is under way */
    OWN_HELD,   /* ours; left when the DHT says lost, or to write the record again */
    OWN_WAIT,   /* no answer, or no candidate left: asks again at retry_us */
};

struct own_claim {
    enum own_state state;
    bool held;            /* it is ours; stays so while its record is written again */
    uint32_t attempt;     /* candidates that were refused */
    uint32_t failures;    /* in a row without an answer */
    struct id key;        /* of the candidate */
    struct facts written; /* the value that the DHT has, or is being asked to take */
    usec retry_us;
};

struct own {
    const struct node_config *config;
    struct env *env;
    struct dht *dht;
    struct own_claim address, name, reverse; /* reverse: the IPv6 record */
    struct addr wish;   /* asked for before the node's own order; family 0: none */
    bool wish_spent;    /* refused once: not wished for again */
    struct facts facts; /* as they stand, or are being asked for */
    struct net ipv6;
    bool changed;                  /* since the caller last cleared it */
    char reason[NODE_REASON_SIZE]; /* why there is no address; "" */
};

/* config, env and dht are borrowed. */
void own_init(struct own *o, const struct node_config *config, struct env *env, struct dht *dht);
void own_tick(struct own *o); /* only while we are a member of the ring */
usec own_deadline(const struct own *o);
/* A kept record of ours went to another owner. */
void own_lost(struct own *o, const struct id *key);
/* A DHCP client's wish, or an address it found in use: tried next, or passed over. */
void own_wish(struct own *o, const struct addr *addr);
void own_avoid(struct own *o);
/* config->hostname is another one now: the old name is freed, the new one claimed. */
void own_rename(struct own *o);

bool own_has_address(const struct own *o);
bool own_has_name(const struct own *o);
/* No address is to be had as things are: o->reason says why. */
bool own_is_stuck(const struct own *o);

/* The key in the DHT of an address or a host name. */
struct id own_key_ipv4(const struct id *group, const struct addr *addr);
struct id own_key_ipv6(const struct id *group, const struct addr *addr);
struct id own_key_host(const struct id *group, const char *label);

#endif
