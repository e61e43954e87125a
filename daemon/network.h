/*
 * network.h - one group this machine is a member of: its key, certificate, node and device. Also
 * the public overlay's node, which has neither certificate nor device.
 *
 * The node (daemon/node) decides; this file does for it what needs a machine: opens and configures
 * the device, saves address and contacts, resolves bootstraps, forwards foreign DNS queries,
 * tells systemd-resolved. A group that cannot start stays in the list as failed, with the reason,
 * and disturbs nobody.
 */
#ifndef PEAL_DAEMON_NETWORK_H
#define PEAL_DAEMON_NETWORK_H

#include "daemon/daemon.h"
#include "daemon/node/node.h"
#include "tap/plane.h"

struct network;
struct op;

/* Takes *m over. Never fails for what is wrong with the group: see network_failure. NULL: out of
 * memory. */
struct network *network_new(struct daemon *d, unsigned number, struct state_member *m);
/* A group whose state cannot be read. */
struct network *network_new_broken(struct daemon *d, unsigned number, const char *name,
                                   const char *why);
struct network *network_new_public(struct daemon *d, unsigned number, const struct secret *seed);
void network_free(struct network *n);

/* From the host. True when the packet was this network's. */
bool network_packet(struct network *n, const struct plane_item *item);
/* The same from a TCP connection; pkt may be changed. And what becomes of connections. */
bool network_tcp_packet(struct network *n, uint32_t conn, const struct endpoint *from, uint8_t *pkt,
                        size_t len);
void network_tcp_opened(struct network *n, uint32_t conn);
void network_tcp_closed(struct network *n, uint32_t conn);
bool network_tcp_used(const struct network *n, uint32_t conn);
void network_item(struct network *n, const struct plane_item *item);
void network_tick(struct network *n);
usec network_deadline(const struct network *n);
int network_forward(struct network *n, struct forward *f) MUST_USE;
/* Before the loop sleeps: saves and tells what changed. */
void network_turn(struct network *n);
/* All that it sent has left. */
void network_flushed(struct network *n);

/* Everything outside may be different: probe. */
void network_outside_changed(struct network *n);
/* The same, after nothing ran here for so long that peers have given us up. */
void network_awoke(struct network *n);
/* The daemon's endpoints are others now. */
void network_set_endpoints(struct network *n);
/* A new node with the same identity: no key of the old one is used again. The device stays. */
void network_restart(struct network *n);
/* Takes up what a running network can of a new configuration. */
void network_reload(struct network *n);

/* Goodbye for good: lease and name are freed. */
void network_leave(struct network *n);
/* Goodbye until the next start: the lease is kept. */
void network_stop(struct network *n);
bool network_gone(
    const struct network *n); /* either is done, or there is nothing to say goodbye with */

/* The key of this group's LAN beacons and our id in it. False: it has none (the public overlay, or
 * not running). */
bool network_beacon_key(const struct network *n, struct secret *key, struct id *self);
/* Another member is on our LAN. */
void network_heard_near(struct network *n, const struct id *node, const struct endpoint *ep);

/* For commands and status. */
const char *network_name(const struct network *n);
bool network_public(const struct network *n);
bool network_contains(const struct network *n, const struct addr *a); /* in the group's ranges */
unsigned network_number(const struct network *n);
const char *
network_failure(const struct network *n); /* why there is no node; NULL when there is one */
/* NULL when it failed to start. Enter it only by network_enter, which sets its clock. */
struct node *network_node(struct network *n);
struct node *network_enter(struct network *n);
/* The public overlay's node: from its own and all groups' lists, to those it has already. */
void network_add_bootstraps(struct network *n);
/* A STUN server, `by`, sees our port as `us`. */
void network_observed(struct network *n, const struct endpoint *by, const struct endpoint *us);
struct stun_id;
/* Something went there by our port. */
void network_sent(struct network *n, const struct addr *to);
/* A STUN Binding indication came by our port. */
void network_indication(struct network *n, const struct endpoint *from, const struct stun_id *id);
usec network_now(const struct network *n);                /* as of the last entry */
const struct id *network_id(const struct network *n);     /* NULL: not known */
const struct blob *network_blob(const struct network *n); /* NULL: not readable, or public */
const struct cert *network_cert(const struct network *n); /* NULL: none */
struct membership;
const struct membership *network_membership(const struct network *n); /* NULL: none */
struct renewal;
const struct renewal *
network_renewal(const struct network *n);            /* NULL: there is no service to ask */
const char *network_device(const struct network *n); /* "" none */
int network_ifindex(const struct network *n);        /* 0 none */
const char *network_hostname_wanted(const struct network *n);
struct resolver;
const struct resolver *
network_resolver(const struct network *n); /* of its bootstraps' names; NULL: there are none */
const struct state_options *network_options(const struct network *n);
/* Requests of clients that wait for this network's node; commands.c owns the entries. */
struct op **network_ops(struct network *n);

#endif
