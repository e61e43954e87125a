/*
 * search.h - many ports of one address: for a peer whose NAT gives each remote a port of its own,
 * while our NAT lets in only ports that we have sent to.
 *
 * Such a peer's packets come from a port that nobody told us. When a round of candidates has
 * failed, a small packet goes to SEARCH_NEAR ports from its highest known one on, which is where
 * NATs that count upwards are found, and then to others in random order. One that hits the peer's
 * mapping opens our NAT for it and reaches the peer, which answers; the rest is path.h's. When our
 * own NAT gives each remote a port too, all but the near ones are useless and left out.
 *
 * Off unless sessions_config.port_search. The address is a claim of the peer: so a search sends at
 * most SEARCH_PORTS packets without padding, SEARCH_BURST every SEARCH_GAP_MS, and comes back with
 * the rounds of candidates only. An overlay searches for one peer at a time; others wait, and while
 * one does, all but the near ports are left out.
 */
#ifndef PEAL_OVERLAY_SEARCH_H
#define PEAL_OVERLAY_SEARCH_H

#include "overlay/core/addr.h"
#include "overlay/core/env.h"

enum {
    SEARCH_PORTS = 1024,
    SEARCH_NEAR = 64,
    SEARCH_BEFORE = 8, /* of these lie below the highest known port */
    SEARCH_BURST = 4,
    SEARCH_GAP_MS = 16,
};

struct session;
struct path_search {
    struct addr target;
    uint16_t near;  /* the first port */
    uint16_t ports; /* to be tried in all */
    uint16_t sent;
    uint32_t start, step; /* of the random order */
    usec at_us;
};

/* All candidates of the peer are silent: begins, if that is allowed and of any use. */
void search_begin(struct session *s);
/* That of s, if there is one, is through: whoever waits begins. */
void search_over(struct session *s);
void search_tick(struct session *s);

#endif
