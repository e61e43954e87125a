/*
 * device.h - a Linux TAP device (tun(4)), one queue per worker: opening it, and frames with the
 * virtio header with which the kernel leaves us work and we leave it some (super-frames,
 * checksums). Names only and flags: addresses, MTU and link state are set through netlink by the
 * daemon.
 *
 * The kernel chooses a queue by a hash of the flow. But when a frame of the opposite direction is
 * written to another queue it moves the flow there, and what it puts into that one overtakes what
 * still waits in the first. So a device of several queues has a descriptor more, whose queue is
 * detached: nothing arrives there, and what is written there moves no flow.
 */
#ifndef PEAL_TAP_DEVICE_H
#define PEAL_TAP_DEVICE_H

#include "overlay/core/addr.h"

enum {
    DEVICE_NAME_SIZE = 16, /* IFNAMSIZ */
    DEVICE_QUEUES_MAX = 16,
};

/* What a queue's frames may be. */
enum device_feature {
    DEVICE_HEADER = 1, /* each frame has a virtio header in front, in both directions */
    DEVICE_TSO = 2,    /* TCP super-frames */
    DEVICE_USO = 4,    /* UDP super-frames; Linux 6.2 */
};

/* Descriptors of one device, all non-blocking. */
struct device_fds {
    unsigned count;
    int queues[DEVICE_QUEUES_MAX]; /* `count` of them: frames arrive here */
    int writer;                    /* frames are written here; -1: to any of the queues */
};

/* name: "peal0", or with %d for the next free number; the name given comes back in it. 0 or -errno
 * (and nothing open). */
int device_open(char name[DEVICE_NAME_SIZE], unsigned queues, struct device_fds *out)
    __attribute__((warn_unused_result));
void device_close(const struct device_fds *fds);
int device_mac(int fd, struct mac *out) __attribute__((warn_unused_result));

/* Asks the kernel for as much as it can do and returns what it agreed to (enum device_feature). 0
 * for a descriptor that is no queue of ours. */
unsigned device_offload(int fd);
/* Writes an ordinary frame. 0 or -errno. */
int device_write(int fd, unsigned features, const uint8_t *frame, size_t len)
    __attribute__((warn_unused_result));

#endif
