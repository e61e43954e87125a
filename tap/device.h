/*
 * device.h - opening a Linux TAP device (tun(4)), one queue per worker. Names only and flags:
 * addresses, MTU and link state are set through netlink by the daemon.
 */
#ifndef PEAL_TAP_DEVICE_H
#define PEAL_TAP_DEVICE_H

#include "overlay/core/addr.h"

enum { DEVICE_NAME_SIZE = 16 }; /* IFNAMSIZ */

/* name: "peal0", or with %d for the next free number; the name given comes back in it. Opens
 * `queues` non-blocking descriptors into fds. 0 or -errno (and nothing open). */
int device_open(char name[DEVICE_NAME_SIZE], int *fds, unsigned queues)
    __attribute__((warn_unused_result));
int device_mac(int fd, struct mac *out) __attribute__((warn_unused_result));

#endif
