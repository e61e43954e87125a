/*
 * status.h - what the daemon, its groups and their peers look like to people: the JSON objects that
 * peal(1) promises. Every key is always there; null where nothing is known.
 *
 * The functions return new references.
 */
#ifndef PEAL_DAEMON_STATUS_H
#define PEAL_DAEMON_STATUS_H

#include "daemon/daemon.h"
#include "daemon/node/node.h"

json_t *status_json(struct daemon *d);          /* peal.status/1 */
json_t *status_network_json(struct network *n); /* one of its networks */
json_t *status_peers_json(struct daemon *d,
                          struct network *only); /* peal.peers/1; only: NULL for all */
json_t *status_netcheck_json(struct daemon *d);  /* peal.netcheck/1 */
/* The way that a ping over our session with that node took: path, endpoint, relay and its name. */
json_t *status_way_json(struct network *n, const struct id *peer);
json_t *status_member_json(const struct node_member *m);
json_t *status_crawl_json(const struct node_member *m);
json_t *status_lookup_json(const struct node_lookup_result *r);
/* peal.why/1: the peers entry of one node, what was tried to reach it, both NATs, and handshakes
 * refused lately; NULL when there is neither session nor refusal. */
json_t *status_why_json(struct daemon *d, struct network *n, const struct id *peer);
/* Prometheus text, to be freed; NULL when out of memory. */
char *status_metrics(struct daemon *d);

/* The unique peer (or we ourselves) whose id begins with these hex digits, at least 8. False: none
 * or several. */
bool status_find_prefix(struct network *n, const char *prefix, struct id *out);

#endif
