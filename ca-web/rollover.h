/*
 * rollover.h - a group's CA makes place for another one.
 *
 * Members trust several CA certificates. A roll-over makes a new one that signs everything from
 * then on; the one before vouches for it by a signed succession (overlay/crypto/removed.h), which
 * reaches members the way removals do, under a number of the same sequence. The old one stays
 * trusted until no certificate of it is left that has not expired, or until it is ended: then the
 * new one says that there is no other. A machine whose certificate is of an ended CA renews at
 * once.
 */
#ifndef PEAL_CA_ROLLOVER_H
#define PEAL_CA_ROLLOVER_H

#include <jansson.h>

#include "ca-web/group.h"

enum {
    ROLLOVER_TRUSTED_MAX = 2, /* beside the one that signs; members take CA_CERTS_MAX in all */
    ROLLOVER_TOLD_MAX = 16,   /* successions in an answer: the last ones */
};

/* OUT_FULL_AUTHORITIES: too many are trusted still. VERB_CA_ROLL. */
enum outcome rollover_begin(struct desk *d, const struct group *g);
/* All but the one that signs. OUT_NOTHING_OLD: there is no other. VERB_CA_ROLL. */
enum outcome rollover_end(struct desk *d, const struct group *g);
/* Ends those that no unexpired certificate is of. Inside a transaction. */
enum outcome rollover_settle(struct desk *d, const struct group *g);

struct authority_line {
    bool signs;
    int64_t made_s;
    int64_t machines; /* not removed, whose newest certificate is of it and has not expired */
};
/* The one that signs first. VERB_GROUP_EDIT. */
enum outcome rollover_list(struct desk *d, const struct group *g,
                           void (*line)(void *ctx, const struct authority_line *line), void *ctx);

/* The last successions in base64, oldest first. New reference; NULL: out of memory. */
json_t *rollover_messages(struct desk *d, const struct group *g);

#endif
