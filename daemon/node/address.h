/*
 * address.h - which addresses a node asks for: arithmetic on the group's ranges.
 *
 * Of an IPv4 range the lowest address (the network), the one after it (the network's own service
 * address) and the highest (broadcast) are nobody's. The others are visited by each node in an
 * order of its own, derived from its id, that meets each exactly once: the first is the node's
 * usual address, and a full range is known to be full.
 */
#ifndef PEAL_NODE_ADDRESS_H
#define PEAL_NODE_ADDRESS_H

#include "overlay/core/addr.h"
#include "overlay/core/id.h"

struct addr address_service(const struct net *range);
bool address_usable(const struct net *range, const struct addr *addr);
uint32_t address_count(const struct net *range); /* usable ones; 0 for ranges smaller than /29 */
/* The attempt-th address (from 0, below address_count) in this node's order. */
struct addr address_candidate(const struct net *range, const struct id *node, uint32_t attempt);
/* Subnet 0 of the group's /48 and 64 bits of SHA-256(node id). Family 0 when the group has no IPv6.
 */
struct net address_ipv6(const struct net *ula, const struct id *node);
/* The network's number: address with host bits zero, prefix kept. */
struct net address_with_prefix(const struct net *range, const struct addr *addr);

#endif
