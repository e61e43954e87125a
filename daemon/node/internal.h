/*
 * internal.h - struct node, shared by the files of this folder: node.c (doors and state), traffic.c
 * (frames and packets), service.c (what lives at the service address), lookup.c (questions of
 * people).
 */
#ifndef PEAL_NODE_INTERNAL_H
#define PEAL_NODE_INTERNAL_H

#include "daemon/node/acquaintance.h"
#include "daemon/node/flow.h"
#include "daemon/node/lookup.h"
#include "daemon/node/member.h"
#include "daemon/node/own.h"
#include "daemon/node/remote.h"
#include "daemon/node/removal.h"
#include "daemon/node/rendezvous.h"
#include "daemon/node/tunnel.h"
#include "dhcp/server.h"
#include "dns/server.h"

enum {
    NODE_LOOKS_MAX = 64,         /* addresses being looked up; one more is ABSENT for a moment */
    NODE_PUBLIC_VALUE_MAX = 256, /* bytes of a record in the public overlay */
};

/* Why the node itself dropped a packet. */
enum node_drop {
    NODE_DROP_INNER,       /* malformed, or of a kind that we do not carry */
    NODE_DROP_DESTINATION, /* not for an address of the group, or not for ours */
    NODE_DROP_SOURCE,      /* the sender does not own the inner source address */
    NODE_DROP_ABSENT,      /* nobody owns the destination */
    NODE_DROP_SEALED,      /* a data packet that did not open, or of no session */
    NODE_DROP_MESSAGE,     /* a message of OVERLAY_PROTO_NODE that was malformed */
    NODE_DROP_PUBLIC,      /* data that would have gone through the public overlay, and may not */
    NODE_DROP_COUNT,
};

/* A question who owns an address. */
struct look {
    bool used;
    struct addr addr;
};

/* What the public overlay's node is for. */
struct meeting {
    struct rendezvous rendezvous;
    struct tunnels tunnels;
};

struct node {
    struct node_config config;
    struct env *env;
    struct node_host host;
    void *ctx;
    struct overlay *overlay;
    struct dht *dht;
    struct dhcp_server *dhcp; /* NULL before the first frame for it */
    struct dns_server *dns;   /* the same */
    struct members *members;
    struct lookups lookups;
    struct acquaintances acquaintances;
    struct seal_worker *seal, *own_seal; /* this thread's; own_seal: to be freed, or NULL */
    struct own own;
    struct removals removals;
    struct meeting *meeting; /* with config.rendezvous; else NULL */
    struct flows flows;
    struct remotes remotes;
    struct look *looks; /* NODE_LOOKS_MAX, or NULL before the first */
    struct addr service;
    uint32_t dhcp_waiting; /* token of a claim of our own DHCP client's, or 0 */
    bool dhcp_exact;
    struct addr dhcp_wanted;
    enum node_state state;
    usec up_us; /* when it last became NODE_UP */
    bool leaving, overlay_leaving;
    bool removed; /* we are no member any more */
    bool forward_dirty, addresses_dirty, changed_dirty, view_stale;
    struct held held; /* until node_sent */
    struct forward
        *view; /* our part of the forwarding snapshot, for packets that come to this thread */
    uint64_t drops[NODE_DROP_COUNT];
};

/* Without one it is a node of the overlay only. */
static inline bool node_has_device(const struct node *n)
{
    return n->config.address_mode != NODE_ADDRESS_NONE;
}

/* Called at the end of every door: new state, and the host's callbacks, once each. */
void node_settle(struct node *n);
void node_set_forward_dirty(struct node *n);

/* traffic.c */
void traffic_data_changed(struct node *n, const struct id *peer);
void traffic_peer_down(struct node *n, const struct id *peer);
void traffic_data_packet(struct node *n, const struct data_way *way, uint8_t *pkt,
                         size_t len); /* sealed, from the ring or a host without a plane */
void traffic_lease_shown(struct node *n, const struct overlay_from *from, struct reader *r);
void traffic_show_lease_again(
    struct node *n); /* our address changed: to everybody we have data with */
/* Of the records under an address's key the one that counts: IPv4 has one owner, IPv6 the node that
 * it derives from. */
const struct dht_value *traffic_owner_of(const struct node *n, const struct addr *addr,
                                         const struct dht_result *result);
void traffic_tick(struct node *n);
void traffic_clear(struct node *n);

/* service.c */
bool service_start(struct node *n);           /* false: config.domain is no name */
void service_address_changed(struct node *n); /* our address was got, lost, or is not to be had */
/* With the settings as they are now; questions under way are forgotten, clients ask again. */
void service_restart_dns(struct node *n);
void service_tick(struct node *n);
usec service_deadline(const struct node *n);
void service_stop(struct node *n);

#endif
