/*
 * account.h - users: adding them, and checking passwords.
 *
 * Names are labels in lower case. Passwords are kept as Argon2id strings (libsodium, INTERACTIVE
 * limits: 64 MiB and some 70 ms each), and few are computed at a time, so that log-ins can take
 * neither the machine's memory nor all threads. An unknown name costs the same time as a wrong
 * password. Hashing happens outside every transaction.
 */
#ifndef PEAL_CA_ACCOUNT_H
#define PEAL_CA_ACCOUNT_H

#include "ca-web/desk.h"

enum {
    ACCOUNT_HASHES_MAX = 2,  /* at a time */
    ACCOUNT_WAITING_MAX = 2, /* more are told to come again (OUT_BUSY) */
    PASSWORD_MIN = 8,
    PASSWORD_MAX = 1024,
    EMAIL_MAX = 254, /* RFC 5321 4.5.3.1.3 */
};

struct account {
    int64_t row;
    bool admin;
    char name[LABEL_MAX + 1];
    char email[EMAIL_MAX + 1];
};

bool account_email_valid(const char *email);
/* By name in any case. OUT_NO_USER (also for what is no name at all). */
enum outcome account_find(struct desk *d, const char *name, struct account *out);

/* password NULL: no log-in by password. Verb: VERB_USER_ADD, or VERB_REGISTER by a stranger (never
 * an administrator). */
enum outcome account_add(struct desk *d, enum verb verb, const char *name, const char *email,
                         const char *password, bool admin, struct account *out);
enum outcome account_set_password(struct desk *d, const struct account *account,
                                  const char *password);
/* Service administrator or not. OUT_LAST_ADMIN. VERB_ADMIN_SET. */
enum outcome account_set_admin(struct desk *d, const struct account *account, bool admin);
/* OUT_OK and *out, or OUT_WRONG_LOGIN. */
enum outcome account_log_in(struct desk *d, const char *name, const char *password,
                            struct account *out);

/*
 * The first administrator. A set-up token is made as long as there is none (OUT_SETUP_DONE after
 * that); only the newest token is good, once. Only its hash is stored.
 */
enum { SETUP_TOKEN_SIZE = 44 };
enum outcome account_setup_token(struct desk *d, char token[SETUP_TOKEN_SIZE]);
bool account_setup_valid(struct desk *d, const char *token);
enum outcome account_setup(struct desk *d, const char *token, const char *name, const char *email,
                           const char *password, struct account *out);

#endif
