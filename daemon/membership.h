/*
 * membership.h - our standing in a group that has a CA: the CA, our certificate and its renewal,
 * and who was removed.
 *
 * A certificate that has ended keeps the node from starting, not the renewal from asking: such a
 * member comes back by itself when the service gives it a new one.
 */
#ifndef PEAL_DAEMON_MEMBERSHIP_H
#define PEAL_DAEMON_MEMBERSHIP_H

#include "daemon/certificate.h"
#include "daemon/daemon.h"
#include "daemon/node/node.h"
#include "daemon/renewal.h"
#include "daemon/survey.h"
#include "daemon/watch.h"

struct membership;
struct membership_config {
    struct daemon *daemon;
    struct state_member *member; /* blob and cert_pem are replaced after a renewal */
    const struct sign_public *pub;
    const struct sign_secret *sec;
    const char *hostname; /* for requests; a label */
    int64_t wall_s;
    bool wall_known;
};
struct membership_host {
    /* Another certificate is in use; the one before is freed after this call. */
    void (*certificate)(void *ctx);
    /* The node that what the service says is for; NULL: there is none now. */
    struct node *(*node)(void *ctx);
};

/* All is borrowed. NULL with a clause in why: the CA cannot be read, or out of memory. */
struct membership *membership_new(const struct membership_config *config,
                                  const struct membership_host *host, void *ctx,
                                  char why[CERTIFICATE_WHY_SIZE]);
void membership_free(struct membership *m); /* NULL is fine */

/* Why our certificate is of no use: a clause as of certificate_read; NULL: it is. */
const char *membership_failure(const struct membership *m);
/* CA, certificate and node id into c: borrowed until the membership changes its certificate. */
void membership_fill(const struct membership *m, struct overlay_config *c);
const struct cert *membership_cert(const struct membership *m); /* NULL: not readable */
size_t membership_authorities(const struct membership *m); /* CAs whose certificates we accept */
/* What we know of removals, for node_config.removed: it lives as long as the membership. */
struct removed *membership_removed(const struct membership *m);
/* The CRL's next update is past: shown loudly, and nobody is cut off for it. */
bool membership_crl_stale(const struct membership *m);
/* It grew: is written down, and the service told in time. */
void membership_keep_removed(struct membership *m);
/* The node's place on the ring may have changed. */
void membership_look(struct membership *m);
const struct watch *membership_watch(const struct membership *m); /* NULL: no service */
const struct renewal *membership_renewal(const struct membership *m);
/* As renewal_hurry. */
void membership_hurry(struct membership *m, int64_t gap_s);
/* The configuration may be another. */
void membership_reload(struct membership *m);

#endif
