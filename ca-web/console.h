/*
 * console.h - the admin commands of peal-ca, done on the machine itself beside a running service.
 */
#ifndef PEAL_CA_CONSOLE_H
#define PEAL_CA_CONSOLE_H

#include "ca-web/home.h"

/* Options that commands take; NULL: not given. */
struct console_options {
    const char *email, *password_file, *admin;
    const char *owner, *ipv4, *domain, *bootstrap, *public_bootstrap, *psk;
    const char *lease_hours, *certificate_days, *members_see;
    const char *reason, *url, *json, *tls_key;
};

/* Are words[0..n) a command of this file, with as many words as it takes? Else it says so and
 * returns EXIT_STATUS_USAGE. */
int console_check(const char *const *words, size_t n);
/* May the command stand at the beginning of everything, where there is no database yet? */
bool console_founds(const char *const *words);
/* Runs words that were checked. An exit status; answers on stdout, everything else on stderr. */
int console_run(const struct home *h, const char *const *words, size_t n,
                const struct console_options *o);

#endif
