/*
 * proxy.h - the reverse proxies before the service, and from whom a request comes that one of them
 * passes on.
 *
 * Only a connection from an address that --proxy names is believed. Its X-Forwarded-For is read
 * from the end, where each proxy appends the address that it heard from (as RFC 7239 5.2 has it for
 * Forwarded), for as long as what stands there is a proxy as well. Everything before the first
 * address that is none was said by somebody we know nothing of, and counts for nothing: a client
 * cannot choose the address that its attempts are counted under.
 */
#ifndef PEAL_CA_PROXY_H
#define PEAL_CA_PROXY_H

#include <stddef.h>

#include "overlay/core/addr.h"

enum { PROXIES_MAX = 8 };

struct proxies {
    struct addr v[PROXIES_MAX];
    size_t count;
};

/* Addresses with commas between. False: one is none, or there are too many. */
bool proxies_read(struct proxies *p, const char *commas);
/* from: whom the connection is from. forwarded_for: the header, or "". */
struct addr proxies_client(const struct proxies *p, const struct addr *from,
                           const char *forwarded_for);

#endif
