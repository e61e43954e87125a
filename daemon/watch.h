/*
 * watch.h - asks a group's service who was removed: its CRL, hourly; and, while this node is one of
 * the few that do so for the whole group, the removals themselves, held until there is one. And
 * tells it what this node knows, once for each newer number, so that the administrator sees how far
 * a removal has spread; the members take turns, a few a second.
 *
 * Judges nothing: what came goes to the host, which knows the CA. Failures wait longer and longer.
 */
#ifndef PEAL_DAEMON_WATCH_H
#define PEAL_DAEMON_WATCH_H

#include "daemon/daemon.h"
#include "overlay/crypto/known.h"

enum {
    WATCH_CRL_FIRST_S = 5, /* after the start, jittered as all of these */
    WATCH_CRL_S = 3600,
    WATCH_RETRY_FIRST_S = 5, /* after a failure; doubles up to ... */
    WATCH_RETRY_LAST_S = 300,
    WATCH_PAUSE_MS =
        500, /* after an answer: a service that holds nothing is not asked in a circle */
    WATCH_TELL_LEAST_MS = 1000, /* after it was learned */
    WATCH_TELL_PER_S = 20,      /* of a group's members; in all within ... */
    WATCH_TELL_LAST_S = 3600,
};

struct watch_host {
    bool (*wanted)(void *ctx); /* this node is one of the few */
    void (*removal)(void *ctx, const uint8_t *message, size_t len);
    /* False: it is of no use. Then the service is asked once for what may have been missed. */
    bool (*crl)(void *ctx, const uint8_t *der, size_t len);
    /* The CRL was asked for, with or without success. */
    void (*checked)(void *ctx);
    /* That we know everything up to `number` for age_s seconds, signed. */
    void (*known)(void *ctx, uint64_t number, uint32_t age_s, uint8_t out[KNOWN_LEN]);
};

struct watch;
/* `known`: the highest number that is known already. All is borrowed. NULL: out of memory. */
struct watch *watch_new(struct daemon *d, const struct blob *service, uint64_t known,
                        const struct watch_host *host, void *ctx);
void watch_free(struct watch *w); /* NULL is fine */
/* Whether it is wanted may have changed. */
void watch_look(struct watch *w);
/* Everything up to `number` is known now, in a group of about so many. */
void watch_learned(struct watch *w, uint64_t number, double members);
/* The service may be reachable again. */
void watch_hurry(struct watch *w);

bool watch_is_on(const struct watch *w); /* a held question is under way, or waits to be */
int64_t watch_crl_checked_s(const struct watch *w); /* wall time of the last good answer; 0: none */

#endif
