/*
 * hostport.h - "host:port" as people write it in configuration and blobs: a name, an IPv4 address
 * or a bracketed IPv6 address, and a port. Text only; resolve.h turns names into endpoints.
 */
#ifndef PEAL_DAEMON_HOSTPORT_H
#define PEAL_DAEMON_HOSTPORT_H

#include "overlay/core/addr.h"

enum {
    HOSTPORTS_MAX = 16, /* the overlay keeps as many bootstraps (OVERLAY_BOOTSTRAPS_MAX) */
    HOSTPORT_TEXT_SIZE = NAME_MAX_LEN + 9,
};

struct hostport {
    char host[NAME_MAX_LEN + 1]; /* without brackets */
    uint16_t port;
};

struct hostports {
    struct hostport v[HOSTPORTS_MAX];
    size_t count;
};

/* The port is required, 1 to 65535. */
bool hostport_parse(struct hostport *out, const char *text);
/* As it was written; returns out. */
char *hostport_text(const struct hostport *hp, char out[HOSTPORT_TEXT_SIZE]);
/* True when the host is an address: no name service is needed. */
bool hostport_literal(const struct hostport *hp, struct endpoint *out);
/* Appends; false when full. One that is in it already is not added again. */
bool hostports_add(struct hostports *list, const struct hostport *hp);
bool hostports_has(const struct hostports *list, const struct hostport *hp);

#endif
