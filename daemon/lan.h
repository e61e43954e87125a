/*
 * lan.h - members on one LAN find each other without a server: beacons (beacon.h) of each group by
 * multicast, and ears for those of others.
 *
 * Sends one for each group and each address of this machine, on the address's own link and no
 * further (TTL 1), when something changed and then every LAN_EVERY_S. Hears at most LAN_HEAR_MAX
 * datagrams a second. What a beacon says is a hint where to knock, no more: who is there proves
 * himself by the handshake.
 */
#ifndef PEAL_DAEMON_LAN_H
#define PEAL_DAEMON_LAN_H

#include "daemon/daemon.h"

enum {
    LAN_PORT = 4748,
    LAN_EVERY_S = 30, /* give or take a fifth */
    LAN_HEAR_MAX = 64,
};

struct lan;

/* NULL: no multicast here, with the reason logged; the daemon does without. */
struct lan *lan_new(struct daemon *d);
void lan_free(struct lan *l);
/* A group came, or the machine's addresses changed: beacons go out soon, and again a little later.
 */
void lan_changed(struct lan *l);

#endif
