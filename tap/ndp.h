/*
 * ndp.h - neighbour discovery (RFC 4861): reading a neighbour solicitation, writing the
 * advertisement that answers it. The counterpart of arp.h.
 *
 * Duplicate address detection (RFC 4862 5.4, a solicitation from ::) is never a question for us: an
 * answer would take the address away from its owner.
 */
#ifndef PEAL_TAP_NDP_H
#define PEAL_TAP_NDP_H

#include "tap/eth.h"

enum { NDP_ADVERTISEMENT_FRAME_LEN = ETH_HEADER_LEN + IPV6_HEADER_LEN + 32 };

struct ndp_solicitation {
    struct mac mac;     /* who asks: the frame's source */
    struct addr source; /* unspecified: duplicate address detection */
    struct addr target;
};

/* Any message of neighbour discovery, RFC 4861 4: routers', neighbours', redirects. */
bool ndp_is_message(const struct ip_packet *ip, const uint8_t *packet);
/* A frame that holds a valid solicitation (RFC 4861 7.1.1). */
bool ndp_parse(struct ndp_solicitation *out, const uint8_t *frame, size_t len);
/* Somebody wants to talk to the target, rather than to be it. */
bool ndp_is_question(const struct ndp_solicitation *ns);
/* "ns->target is at `mac`", solicited and overriding, to whoever asked. */
void ndp_answer(uint8_t out[NDP_ADVERTISEMENT_FRAME_LEN], const struct ndp_solicitation *ns,
                const struct mac *mac);

#endif
