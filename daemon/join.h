/*
 * join.h - from a blob to a running group: a key of our own, a certificate for it from the group's
 * service (fetched by the helper, enroll.c), and the state on disk.
 *
 * Nothing on this machine changes before everything is verified: the certificate must be for our
 * key, in this group, signed by the CA in the blob. The one exception is the key of an enrolment
 * whose answer was lost; it is kept, because the service gives the same secret its certificate
 * again only for the same key.
 */
#ifndef PEAL_DAEMON_JOIN_H
#define PEAL_DAEMON_JOIN_H

#include "daemon/daemon.h"
#include "daemon/protocol.h"

struct join_wish {
    const char *blob; /* borrowed during the call */
    size_t blob_len;
    struct state_options options;
};

struct join_result {
    struct network *network; /* NULL: it failed */
    enum protocol_error error;
    const char *message; /* of a failure; borrowed during the call */
};

/* `done` is called once, perhaps from here. */
void join_start(struct daemon *d, const struct join_wish *wish,
                void (*done)(void *ctx, const struct join_result *result), void *ctx);

/* The groups being enrolled in now, for status: the i-th one's blob, or NULL past the last. */
const struct blob *join_pending(const struct daemon *d, size_t i);

#endif
