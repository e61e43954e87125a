/*
 * role.h - who holds which role in a group: owner, administrator, approver, auditor; everybody else
 * who was approved is a plain member. Invariant: a group has an owner, whoever takes a role away
 * and in whichever way.
 *
 * What a role may do stands in authorize.c. A role needs no membership: an auditor may run no
 * machine in the group.
 */
#ifndef PEAL_CA_ROLE_H
#define PEAL_CA_ROLE_H

#include "ca-web/member.h"

/* role: one of the four, or "member" for none. OUT_BAD_ROLE, OUT_LAST_OWNER. VERB_ROLE_SET. */
enum outcome role_set(struct desk *d, const struct group *g, const struct account *user,
                      const char *role);
/* The same inside a transaction of the caller's, who has asked whether he may and writes the audit
 * row. */
enum outcome role_write(struct desk *d, const struct group *g, const struct account *user,
                        const char *role);
/* "owner"; "member" when there is none. */
enum { ROLE_TEXT_SIZE = 16 };
void role_find(struct desk *d, const struct group *g, const struct account *user,
               char out[ROLE_TEXT_SIZE]);
/* Whoever has something to do with this group: asked, was a member, or has a role in it without
 * being one (m->row 0). OUT_NO_USER: nobody of that name does. */
enum outcome role_holder(struct desk *d, const struct group *g, const char *name,
                         struct account *user, struct member *m, char role[ROLE_TEXT_SIZE]);

#endif
