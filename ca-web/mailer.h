/*
 * mailer.h - the thread that sends what mail.h has queued, through one SMTP server (libcurl).
 *
 * TLS is demanded of every server but one on this machine. What is not taken is tried again after
 * 1, 2, 4, ... minutes, at most 6 hours apart, and dropped after MAILER_TRIES; a mail that is
 * under way when the service stops is sent again after the next start rather than lost.
 */
#ifndef PEAL_CA_MAILER_H
#define PEAL_CA_MAILER_H

#include "ca-web/home.h"

enum {
    MAILER_TRIES = 12,
    MAILER_SEND_S = 30, /* for one mail */
    MAILER_LOOK_MS = 1000,
};

struct mailer_options {
    const char *server;     /* smtp://host:port or smtps://host:port; NULL: no mail */
    const char *from;       /* our address */
    const char *login_file; /* user on its first line, password on its second; NULL: none */
};

struct mailer;
/* Says in the database whether there is mail. NULL with *why NULL: none is wanted. */
struct mailer *mailer_start(const struct home *h, const struct mailer_options *o, const char **why);
void mailer_stop(struct mailer *m); /* NULL is fine */

#endif
