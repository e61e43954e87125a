/*
 * reflexive.h - where our IPv4 NAT shows us, when every peer is reached over IPv6.
 *
 * A peer reports the endpoint that it sees us at on the best path between us, and between two that
 * have both families that is IPv6. Among such members nobody would ever see our IPv4 NAT: one that
 * has IPv4 only, behind a NAT of its own, could not be told where to send to, and would be relayed
 * for ever. So while fewer than REFLEXIVE_PEERS outside our LAN are reached over IPv4, of the
 * others the oldest are asked by STUN at an IPv4 address that they named (every daemon answers;
 * stun.h). Two tell how the NAT maps. As long as it does they are asked at the interval of
 * keepalives, which keeps the mapping that was told of.
 *
 * The host asks (overlay_host.where), the answer comes by overlay_observed, and counts as long as
 * that peer is one of those that are asked. A peer's word makes us send 20 bytes, repeated as
 * RFC 8489 6.2.1 has it, to an address that it named: less than the challenges that it may ask of
 * us (path.h).
 */
#ifndef PEAL_OVERLAY_REFLEXIVE_H
#define PEAL_OVERLAY_REFLEXIVE_H

#include "overlay/overlay.h"

enum {
    REFLEXIVE_PEERS = 2,
    REFLEXIVE_AGAIN_S = 120, /* where none answered, and where there is no NAT */
};

struct alarm;
struct overlay;

/* A session came, went or took another path. */
void reflexive_news(struct overlay *o);
/* Our addresses are others: what was answered is void. */
void reflexive_forget(struct overlay *o);
/* An answer from there was taken. */
void reflexive_answered(struct overlay *o, const struct endpoint *by);
void reflexive_due(struct overlay *o, struct alarm *alarm);

#endif
