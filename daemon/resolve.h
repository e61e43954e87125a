/*
 * resolve.h - names of bootstraps and STUN servers to endpoints, in libuv's threads. A name that
 * cannot be resolved is asked again, 2 s growing to 60 s; addresses are given at once.
 */
#ifndef PEAL_DAEMON_RESOLVE_H
#define PEAL_DAEMON_RESOLVE_H

#include "daemon/hostport.h"

#include <uv.h>

struct resolver;

/* group: for the log; NULL for the daemon's own. `found` is called for each endpoint of each name,
 * at most RESOLVE_PER_NAME of one, later or from resolver_add itself. NULL: out of memory. */
struct resolver *resolver_new(uv_loop_t *loop, const char *group,
                              void (*found)(void *ctx, const struct endpoint *ep), void *ctx);
void resolver_free(struct resolver *r); /* nothing is called any more */
/* Names that it has already are left alone. */
void resolver_add(struct resolver *r, const struct hostports *names);
/* The network is another one: ask what failed again now. */
void resolver_retry(struct resolver *r);

/* A name that has no address yet because asking failed, for people. */
struct resolver_failure {
    char name[HOSTPORT_TEXT_SIZE];
    const char *why;
    double next_s; /* until it is asked again; 0: now */
};
/* The next from *i on, which is moved behind it. False: no more. r may be NULL. */
bool resolver_failure_next(const struct resolver *r, size_t *i, struct resolver_failure *out);

#endif
