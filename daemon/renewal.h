/*
 * renewal.h - keeps our certificate alive: from two thirds of its life on the group's service is
 * asked for a new one, proven by the request's own signature with the enrolled key.
 *
 * An outage of the service for the last third of the life changes nothing. Later, and for as long
 * as the service renews expired certificates, it goes on asking, so that a member that was away
 * comes back by itself. Failures are told where people look: log, status, metrics.
 *
 * Never judges the answer and never stops for a refusal: the service may think again.
 */
#ifndef PEAL_DAEMON_RENEWAL_H
#define PEAL_DAEMON_RENEWAL_H

#include "daemon/daemon.h"

enum {
    RENEWAL_LOOK_S = 3600, /* the wall clock is looked at anew so often: it may jump */
    RENEWAL_FIRST_S = 300, /* after a failure; doubles up to ... */
    RENEWAL_LAST_S = 6 * 3600,
    RENEWAL_NOW_MS = 5000, /* a group's members do so at once: not all in one second */
    RENEWAL_GAP_S = 60,    /* between tries for the network's sake */
    RENEWAL_ERROR_SIZE = 512,
};

/* The certificate's life and how the last tries went. */
struct renewal_state {
    int64_t not_before_s, not_after_s;
    int64_t tried_s;   /* wall time of the last failed try */
    unsigned failures; /* since the certificate came */
    uint32_t random;   /* drawn for this certificate: spreads the members of a group */
};
/* Wall time of the next try. */
int64_t renewal_due_s(const struct renewal_state *s);
/* 7, 3 or 1 when there are no more days left than that, and asking has failed; else 0. */
unsigned renewal_warning_days(const struct renewal_state *s, int64_t wall_s);

struct renewal;
struct renewal_host {
    /* The service's answer. False, with why: it is no certificate for us that is newer. True: it is
     * in use, and renewal_set was called. */
    bool (*renewed)(void *ctx, const json_t *answer, char why[RENEWAL_ERROR_SIZE]);
};

/* Service, key and host name are borrowed. NULL: out of memory. */
struct renewal *renewal_new(struct daemon *d, const struct blob *service,
                            const struct sign_secret *key, const char *hostname,
                            const struct renewal_host *host, void *ctx);
void renewal_free(struct renewal *r);
/* The certificate in use is this one. */
void renewal_set(struct renewal *r, const struct cert *cert);
/* The service may be reachable again: after a failure it is asked at once, unless that was less
 * than gap_s ago. */
void renewal_hurry(struct renewal *r, int64_t gap_s);

/* The certificate is of no use any more: asks within some seconds. */
void renewal_now(struct renewal *r);

/* For people. */
const struct renewal_state *renewal_state_of(const struct renewal *r);
const char *renewal_error(const struct renewal *r); /* of the last try; "" */

#endif
