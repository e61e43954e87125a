/*
 * traffic.h - what nodes send, by kind of message: where the bytes of an idle ring go.
 *
 * Control packets are read as they are sealed (the linker leads seal_packet through here), and
 * counted when they go to the network: those that travel inside another count as their carrier.
 * What a packet has besides its messages (IP, UDP, header, tag) is shared out evenly among them.
 */
#ifndef PEAL_SIM_TRAFFIC_H
#define PEAL_SIM_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

enum { TRAFFIC_KINDS_MAX = 128 }; /* victim: a kind that is new then; counted under the last */

struct traffic {
    uint64_t bytes[TRAFFIC_KINDS_MAX], messages[TRAFFIC_KINDS_MAX];
};

/* A packet goes to the network; headers: IP and UDP. */
void traffic_sent(struct traffic *t, const uint8_t *pkt, size_t len, size_t headers);
/* "ping", "route.ask", "dht.sync" ...; NULL: no such kind. */
const char *traffic_name(size_t kind);

#endif
