/*
 * sockaddr.h - endpoints to and from the kernel's socket addresses. On an AF_INET6 socket that
 * takes both families IPv4 endpoints are written as mapped addresses (RFC 4291 2.5.5.2), and they
 * are always read back as IPv4.
 */
#ifndef PEAL_TAP_SOCKADDR_H
#define PEAL_TAP_SOCKADDR_H

#include <netinet/in.h>

#include "overlay/core/addr.h"

union sockaddr_any {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* The address's length; 0 when the endpoint has none, or is IPv6 and the socket is not. */
socklen_t sockaddr_put(union sockaddr_any *out, const struct endpoint *e, bool socket_is_v6);
/* False for other families. */
bool sockaddr_get(struct endpoint *out, const union sockaddr_any *in);

#endif
