/*
 * facts.h - the value of a node's three records in the DHT (its IPv4 address, its host name, its
 * IPv6 address): the same under all of them, so that any one lookup tells the others.
 *
 *    1 byte version (1), 1 byte length and host name, IPv4 address, IPv6 address
 *    (an address: 1 byte family and 0, 4 or 16 bytes)
 */
#ifndef PEAL_NODE_FACTS_H
#define PEAL_NODE_FACTS_H

#include "daemon/node/node.h"

enum { FACTS_VERSION = 1, FACTS_SIZE_MAX = 1 + 64 + 5 + 17 };

struct facts {
    char hostname[NODE_HOSTNAME_SIZE]; /* "": none yet */
    struct addr ipv4, ipv6;
};

size_t facts_write(const struct facts *f, uint8_t out[FACTS_SIZE_MAX]);
/* False (and zeroed) when malformed: a name that is no label, a wrong family, bytes left over. */
bool facts_read(struct facts *f, const uint8_t *bytes, size_t len);
bool facts_eq(const struct facts *a, const struct facts *b);

#endif
