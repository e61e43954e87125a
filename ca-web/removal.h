/*
 * removal.h - taking members and machines out of a group: numbered, signed removals, and the CRL.
 *
 * Removals and CRLs of a group share one sequence of numbers, so "newer than N" has one meaning for
 * both. A removal, its number, the new CRL and the audit row are one transaction. The CRL lists
 * every serial of a removed machine that has not expired; it is signed again daily even if nothing
 * happened, so a member can tell a quiet group from an old list.
 */
#ifndef PEAL_CA_REMOVAL_H
#define PEAL_CA_REMOVAL_H

#include "ca-web/member.h"

enum {
    CRL_LIFE_S = 7 * 86400,
    CRL_REFRESH_S = 86400,
    EVENTS_MAX = 256, /* in one answer; who is behind further asks again */
};

/* The member and all his machines. OUT_NOT_MEMBER, OUT_LAST_OWNER. */
enum outcome member_revoke(struct desk *d, const struct group *g, const struct account *user,
                           const char *note);

/* One machine, by its node id; its member stays one, but adds none until an approver has agreed
 * (member.h). OUT_NO_MACHINE. VERB_MACHINE_REVOKE. */
enum outcome machine_revoke(struct desk *d, const struct group *g, const struct id *node,
                            const char *note);
/* One's own: the same, and the request for another one with it. VERB_MACHINE_LOST. */
enum outcome machine_lost(struct desk *d, const struct group *g, const struct id *node,
                          const char *note);
/* Whose machine it is, and what it is called; user->row 0 when it is nobody's. Authorises nothing.
 */
enum outcome machine_owner(struct desk *d, const struct group *g, const struct id *node,
                           struct account *user, char hostname[LABEL_MAX + 1]);

/* The current CRL, in DER, signed anew when it is a day old. */
enum outcome removal_crl(struct desk *d, const struct group *g, struct text *der, int64_t *number);

/* Is the current CRL the one of this number? Without reading the list. */
enum outcome removal_crl_is(struct desk *d, const struct group *g, int64_t number, bool *is);

/* For what shares the numbers of the group; inside a transaction. The number, or 0 when the
 * database fails; then a CRL under it. */
int64_t removal_number_take(struct desk *d, const struct group *g);
enum outcome removal_crl_write(struct desk *d, const struct group *g, int64_t number);

/* JSON {"group","number","events":[{"number","at","node","removal"(base64)}]} of what is numbered
 * above `after`; "number" is what to ask `after` next; *count is how many events there are. */
enum outcome removal_events(struct desk *d, const struct group *g, int64_t after, struct text *out,
                            size_t *count);

/* RFC 3339, UTC. */
enum { TIME_TEXT_SIZE = 24 };
char *time_text(int64_t unix_s, char out[TIME_TEXT_SIZE]);

#endif
