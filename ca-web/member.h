/*
 * member.h - who belongs to a group: asking, approving, denying, listing.
 *
 *   (nothing) --request--> requested --approve--> approved --revoke--> revoked
 *                              ^   \---deny---> denied                    |
 *                              |                  |                       |
 *                              +-----request------+-------request---------+
 *
 * A request never changes the state of an approved member. Revoking stands in removal.h.
 *
 * Beside that stands whether more machines of his may be enrolled. Who lost a machine may have lost
 * his password with it, so once one was removed nothing more is enrolled in his name until somebody
 * who approves has agreed; the machines that he has go on.
 *
 *   free --a machine is removed--> held --request--> asked --approve--> free
 *                                   |                  \---deny---> denied --request--> asked
 *                                   |                                   |\---approve--> free
 *                                   \--approve--> free                  \--one more--> held
 *
 * Nobody agrees to his own next machine, whatever his role: whoever took the last one may be logged
 * in as he is. Only who is alone in the group in being able to agree does: he would be locked out.
 *
 * Removing the member holds him too: only an approver lets him in again, no invitation.
 */
#ifndef PEAL_CA_MEMBER_H
#define PEAL_CA_MEMBER_H

#include "ca-web/group.h"

enum member_state { MEMBER_NONE, MEMBER_REQUESTED, MEMBER_APPROVED, MEMBER_DENIED, MEMBER_REVOKED };
const char *member_state_text(enum member_state state); /* "approved"; "none" */
enum member_state member_state_named(const char *name); /* MEMBER_NONE for what is none */

enum member_further { FURTHER_FREE, FURTHER_HELD, FURTHER_ASKED, FURTHER_DENIED };
const char *member_further_text(enum member_further further); /* "free" */
enum member_further member_further_named(const char *name);

struct member {
    int64_t row;
    enum member_state state;
    enum member_further further;
    char reason[REASON_MAX + 1], note[REASON_MAX + 1];
    int64_t asked_s, decided_s; /* decided_s 0: not yet */
    char decided_by[LABEL_MAX + 1];
};

/* Not asking is no error: the state is MEMBER_NONE. Authorises nothing. */
enum outcome member_find(struct desk *d, const struct group *g, const struct account *user,
                         struct member *out);

/* To become a member, or as one who is held to add a machine. OUT_ALREADY_MEMBER when there is
 * nothing to ask for. Asking twice keeps the newer reason. */
enum outcome member_request(struct desk *d, const struct group *g, const struct account *user,
                            const char *reason);
/* OUT_NO_REQUEST when nothing is pending; approving a member again is no error, and frees one who
 * is held; OUT_NOT_PERMITTED when that is oneself. */
enum outcome member_approve(struct desk *d, const struct group *g, const struct account *user,
                            const char *note);
enum outcome member_deny(struct desk *d, const struct group *g, const struct account *user,
                         const char *note);

/* May the actor, if he may approve at all, agree to another machine of this user's? */
bool member_may_agree(struct desk *d, const struct group *g, const struct account *user);

/* For removal.h, inside its transaction. Nothing more of his is enrolled, and files that he has not
 * used are worthless, also when he is free again. A request that waits goes on waiting. */
enum outcome member_hold(struct desk *d, const struct member *m);
/* The same for one's own reports: what member_request does, when that has been authorised. */
enum outcome member_request_write(struct desk *d, const struct group *g, const struct account *user,
                                  const char *reason);

/* Those who are members, by name: for members, in a group where they see each other.
 * VERB_MEMBER_SEE. *total: all. */
enum outcome member_names(struct desk *d, const struct group *g, int64_t offset, int64_t limit,
                          void (*name)(void *ctx, const char *user, int64_t machines), void *ctx,
                          int64_t *total);

/* A line of a list. Borrowed while the callback runs; it may not use the database. */
struct member_line {
    const char *user, *email, *role, *reason, *decided_by; /* role "" for a plain member */
    enum member_state state;
    enum member_further further;
    int64_t asked_s, decided_s, machines; /* machines that are enrolled and not revoked */
};
enum member_sort {
    MEMBER_BY_STATE, /* pending first: members who lost a machine, then who asks to join, the oldest
                        request first; then by name */
    MEMBER_BY_NAME,
    MEMBER_BY_TIME, /* the newest decision or request first */
    MEMBER_SORTS,
};
struct member_filter {
    enum member_sort sort;
    enum member_state state; /* MEMBER_NONE: all; MEMBER_REQUESTED: also members who ask */
    const char *search;      /* part of a name or e-mail; "" all */
    int64_t offset, limit;
};
/* *total: lines that match without the limits. */
enum outcome member_list(struct desk *d, const struct group *g, const struct member_filter *filter,
                         void (*line)(void *ctx, const struct member_line *line), void *ctx,
                         int64_t *total);

#endif
