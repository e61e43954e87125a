/*
 * netlink.h - the machine's links and addresses (rtnetlink(7)): sets up our devices, lists the
 * addresses that others may reach us at, and tells when those may have changed.
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
    /* Links or addresses changed; called once for a burst, 100 ms after its first message. */
    void (*changed)(void *ctx);
};

/* NULL with errno. */
struct links *links_new(uv_loop_t *loop, const struct links_host *host, void *ctx);
void links_free(struct links *l); /* takes effect when the loop has run its closing callbacks */

int links_set_mac(struct links *l, int ifindex, const struct mac *mac) MUST_USE;
int links_up(struct links *l, int ifindex, uint16_t mtu) MUST_USE;
/* IPv6 addresses are used at once: what makes them unique is not duplicate address detection. */
int links_add_address(struct links *l, int ifindex, const struct net *a) MUST_USE;
int links_remove_address(struct links *l, int ifindex, const struct net *a) MUST_USE;

/* Addresses of links that are up, without loopback, link-local, our own and those not usable
 * (tentative, deprecated), the most promising first: public before private, IPv6 before IPv4. */
size_t links_addresses(struct links *l, struct addr *out, size_t max);

/* An address range on a link that is not ours and overlaps `net`: its link's name goes into
 * `device`. False: none. */
bool links_conflict(struct links *l, const struct net *net, char device[16]);

#endif
