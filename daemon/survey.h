/*
 * survey.h - while a group's section of peald.conf says "map = yes": crawls the ring every few
 * minutes and sends the group's service a map of it (overlay/crypto/ringmap.h), for the page of the
 * group. The service decides whose machines' maps it takes.
 *
 * Only the newest map matters: one that did not arrive is not sent again, the next one is, later
 * and later while the service refuses. Of a ring with more than RINGMAP_NODES_MAX members a part is
 * mapped.
 */
#ifndef PEAL_DAEMON_SURVEY_H
#define PEAL_DAEMON_SURVEY_H

#include "daemon/daemon.h"
#include "overlay/crypto/ringmap.h"

enum {
    SURVEY_FIRST_S = 5, /* jittered as all of these: half to one and a half of it */
    SURVEY_S = 300,
    SURVEY_DOUBLINGS = 4, /* of SURVEY_S, after failures */
};

struct node;
struct survey_host {
    struct node *(*node)(void *ctx); /* NULL: there is none now */
};

struct survey;
/* All is borrowed. NULL: out of memory. */
struct survey *survey_new(struct daemon *d, const struct blob *service, const struct id *group,
                          const struct sign_secret *key, const struct survey_host *host, void *ctx);
void survey_free(struct survey *s); /* NULL is fine */
/* The configuration may say otherwise now. */
void survey_look(struct survey *s);

#endif
