/*
 * beacon.h - one LAN beacon as bytes: where a member of a group can be reached, for other members
 * on its LAN and for nobody else. No I/O.
 *
 *   +-----------+-------------------------------------------------------+---------+
 *   | nonce, 24 | sealed: version, family, port, address, node id       | tag, 16 |
 *   +-----------+-------------------------------------------------------+---------+
 *
 * Always BEACON_LEN bytes under a key made of the group's, with a random nonce
 * (XChaCha20-Poly1305): to anybody else two beacons look like nothing, and like nothing of each
 * other. One that was recorded and comes again, from anywhere, names the address that it named, and
 * counts only when it comes from there.
 */
#ifndef PEAL_DAEMON_BEACON_H
#define PEAL_DAEMON_BEACON_H

#include "overlay/core/addr.h"
#include "overlay/core/id.h"
#include "overlay/crypto/secret.h"

enum { BEACON_LEN = 80 };

struct beacon {
    struct endpoint ep;
    struct id node;
};

/* The key of a group's beacons. */
void beacon_key(struct secret *out, const struct secret *group_key);
/* nonce: 24 random bytes. */
void beacon_seal(uint8_t out[BEACON_LEN], const struct beacon *b, const struct secret *key,
                 const uint8_t nonce[24]);
/* False: not of this group, or not from where it says. */
bool beacon_open(struct beacon *out, const uint8_t *bytes, size_t len, const struct secret *key,
                 const struct addr *from);

#endif
