/*
 * netlink.h - the machine's links, addresses and default routes (rtnetlink(7)): sets up our
 * devices, lists the addresses that others may reach us at, and tells when those may have changed.
 *
 * Touches no device but those it is given; what it added vanishes with the device.
 * Functions return 0 or -errno. Control thread only.
 */
#ifndef PEAL_DAEMON_NETLINK_H
#define PEAL_DAEMON_NETLINK_H

#include "overlay/core/addr.h"
#include "overlay/core/err.h"

#include <uv.h>

struct links;

struct links_host {
    /* This link is one of our own devices: its addresses are no way to reach us. */
    bool (*ours)(void *ctx, int ifindex);
    /* Links, addresses or default routes changed; called once for a burst, 100 ms after its first
     * message. routes: a default route did, so the same addresses may lead elsewhere now. */
    void (*changed)(void *ctx, bool routes);
};

/* NULL with errno. */
struct links *links_new(uv_loop_t *loop, const struct links_host *host, void *ctx);
void links_free(struct links *l); /* takes effect when the loop has run its closing callbacks */

int links_set_mac(struct links *l, int ifindex, const struct mac *mac) MUST_USE;
int links_up(struct links *l, int ifindex, uint16_t mtu) MUST_USE;
/* IPv6 addresses are used at once: what makes them unique is not duplicate address detection. */
int links_add_address(struct links *l, int ifindex, const struct net *a) MUST_USE;
int links_remove_address(struct links *l, int ifindex, const struct net *a) MUST_USE;

enum { LINKS_ADDRS_MAX = 8, LINKS_SUBNETS_MAX = 64 };

/* Where this machine stands, our own devices left out. */
struct links_outside {
    /* Addresses that others may reach us at: of links that are up, without loopback, link-local and
     * those not usable (tentative, deprecated); the most promising first: public before private,
     * IPv6 before IPv4. */
    struct addr addrs[LINKS_ADDRS_MAX];
    size_t addrs_count;
    /* All of them with their prefixes, as far as there is room. */
    struct net subnets[LINKS_SUBNETS_MAX];
    size_t subnets_count;
};
/* False: the kernel did not tell, and nothing is known. */
bool links_look(struct links *l, struct links_outside *out);

/* An address range on a link that is not ours and overlaps `net`: its link's name goes into
 * `device`. False: none. */
bool links_conflict(struct links *l, const struct net *net, char device[16]);

#endif
