/*
 * resolved.h - tells systemd-resolved, where it runs, to ask a group's service address for the
 * group's names, and nothing else (split DNS, systemd's RESOLVED-VPNS). The setting belongs to the
 * device and goes with it.
 */
#ifndef PEAL_DAEMON_RESOLVED_H
#define PEAL_DAEMON_RESOLVED_H

#include "overlay/core/addr.h"

#include <uv.h>

struct resolved_link {
    const char *device;
    const struct addr *service;
    const char *domain;
    const struct net *ipv4, *ipv6; /* whose reverse names are the group's too */
};

/* Starts resolvectl(1) with fixed words, never a shell. Without systemd-resolved it does nothing;
 * what fails is logged. */
void resolved_register(uv_loop_t *loop, const struct resolved_link *link);

#endif
