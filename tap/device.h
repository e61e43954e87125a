/*
 * device.h - a Linux TAP device (tun(4)), one queue per worker: opening it, and frames with the
 * virtio header with which the kernel leaves us work and we leave it some (super-frames,
 * checksums). Names only and flags: addresses, MTU and link state are set through netlink by the
 * daemon.
 */
#ifndef PEAL_TAP_DEVICE_H
#define PEAL_TAP_DEVICE_H

#include "overlay/core/addr.h"

enum { DEVICE_NAME_SIZE = 16 }; /* IFNAMSIZ */

/* What a queue's frames may be. */
enum device_feature {
    DEVICE_HEADER = 1, /* each frame has a virtio header in front, in both directions */
    DEVICE_TSO = 2,    /* TCP super-frames */
    DEVICE_USO = 4,    /* UDP super-frames; Linux 6.2 */
};

/* name: "peal0", or with %d for the next free number; the name given comes back in it. Opens
 * `queues` non-blocking descriptors into fds. 0 or -errno (and nothing open). */
int device_open(char name[DEVICE_NAME_SIZE], int *fds, unsigned queues)
    __attribute__((warn_unused_result));
int device_mac(int fd, struct mac *out) __attribute__((warn_unused_result));

/* Asks the kernel for as much as it can do and returns what it agreed to (enum device_feature). 0
 * for a descriptor that is no queue of ours. */
unsigned device_offload(int fd);
/* Writes an ordinary frame. 0 or -errno. */
int device_write(int fd, unsigned features, const uint8_t *frame, size_t len)
    __attribute__((warn_unused_result));

#endif
