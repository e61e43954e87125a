/*
 * invite.h - invitations: links that let whoever has an account into a group without a decision,
 * because whoever made the link has decided already.
 *
 * A link holds 32 random bytes, of which the database has the SHA-256. It ends with its time, with
 * its number of uses, when it is taken back, and when whoever made it may no longer approve. Each
 * use is one conditional UPDATE in the transaction that makes the member; who is a member already
 * uses nothing up. Somebody who was removed from the group is not let in by it.
 */
#ifndef PEAL_CA_INVITE_H
#define PEAL_CA_INVITE_H

#include "ca-web/member.h"

enum {
    INVITE_TOKEN_SIZE = 44,
    INVITE_USES_MAX = 1000,
    INVITE_DAYS_MAX = 90,
    INVITE_OPEN_MAX = 200, /* per group, that have neither ended nor been used up */
};

struct invite_wish {
    const char *note;
    int64_t days, uses;
};
/* OUT_BAD_NUMBER, OUT_BAD_TEXT, OUT_FULL_INVITATIONS. VERB_INVITE_MAKE. */
enum outcome invite_make(struct desk *d, const struct group *g, const struct invite_wish *wish,
                         char token[INVITE_TOKEN_SIZE]);
/* The group of a link that is still good; OUT_NO_INVITATION. */
enum outcome invite_find(struct desk *d, const char *token, struct group *out);
/* OUT_NO_INVITATION, OUT_ALREADY_MEMBER, OUT_REVOKED. VERB_INVITE_USE. */
enum outcome invite_use(struct desk *d, const char *token, const struct account *user,
                        struct group *out);
/* Takes a link of this group back. VERB_INVITE_END. */
enum outcome invite_end(struct desk *d, const struct group *g, int64_t row);

#endif
