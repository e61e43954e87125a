/*
 * mail.h - notices by e-mail: somebody asks to join, or a member to add a machine after one was
 * removed; somebody was approved, denied or removed, or a machine of his was.
 *
 * A notice is written into the database in the transaction of what it tells of, and sent later by a
 * thread of `serve` (mailer.h), so a mail server that is slow or gone delays nobody and loses
 * nothing. It has no text that a user typed, only names, which are labels, and a link: nobody makes
 * us send his words. Without a sender's address in the database (serve --mail) nothing is written.
 *
 * At most MAILS_MAX wait; the victim of one more is the newest, which is counted in the log.
 */
#ifndef PEAL_CA_MAIL_H
#define PEAL_CA_MAIL_H

#include "ca-web/group.h"

enum { MAILS_MAX = 10000, MAIL_DECIDERS_MAX = 20 };

/* All inside the caller's transaction. What cannot be written is logged; it stops nothing. */

enum mail_wish { MAIL_TO_JOIN, MAIL_TO_ADD_A_MACHINE };
/* To whoever may approve in the group. */
void mail_request(struct desk *d, const struct group *g, const char *user, enum mail_wish wish);
/* To the user: what the verb (approve, deny, revoke, revoke a machine) did. */
void mail_decision(struct desk *d, const struct group *g, const struct account *user,
                   enum verb verb, enum mail_wish wish);

#endif
