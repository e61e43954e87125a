/*
 * udp.h - the daemon's one UDP socket: both families on one port where the machine has IPv6, else
 * IPv4 alone. The data plane reads and writes it.
 */
#ifndef PEAL_DAEMON_UDP_H
#define PEAL_DAEMON_UDP_H

#include "overlay/core/err.h"

struct udp {
    int fd;
    bool is_v6;    /* IPv4 goes as mapped addresses (RFC 4291 2.5.5.2) */
    uint16_t port; /* the one that was bound */
};

/* port 0: any free one. 0 or -errno. */
int udp_open(struct udp *out, uint16_t port) MUST_USE;

#endif
