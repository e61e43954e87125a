/*
 * factor.h - an account's second factor: a TOTP secret (sealed with the master key), and recovery
 * codes for the day the phone is gone.
 *
 * A secret is offered first and kept only once a code of it was shown; until then it travels in the
 * form, sealed for this account and this hour. A code is used up in the transaction that accepts
 * it, so neither a code of the app nor a recovery code is good twice, whoever tries at once.
 */
#ifndef PEAL_CA_FACTOR_H
#define PEAL_CA_FACTOR_H

#include "ca-web/account.h"
#include "ca-web/totp.h"

enum {
    FACTOR_RECOVERIES = 10,
    FACTOR_RECOVERY_SIZE = 20, /* xxxx-xxxx-xxxx-xxxx: 80 random bits */
    FACTOR_OFFER_S = 3600,
    FACTOR_OFFER_SIZE = 2 * (TOTP_SECRET_LEN + 8 + VAULT_OVERHEAD) + 1,
};

/* Is one set up? */
bool factor_on(struct desk *d, const struct account *account);
/* Recovery codes that are left. */
int64_t factor_recoveries(struct desk *d, const struct account *account);

struct factor_offer {
    char sealed[FACTOR_OFFER_SIZE]; /* what the form carries */
    char base32[TOTP_BASE32_SIZE];  /* what is typed into an app */
};
void factor_offer(struct desk *d, const struct account *account, struct factor_offer *out);
/* The same offer again, from the form; false when it is another account's, late or broken. */
bool factor_offer_read(struct desk *d, const struct account *account, const char *sealed,
                       struct factor_offer *out);
/* OUT_WRONG_CODE, OUT_BAD_REQUEST for an offer that is none. Replaces what was; new recovery codes.
 */
enum outcome factor_set(struct desk *d, const struct account *account, const char *sealed,
                        const char *code, char recovery[FACTOR_RECOVERIES][FACTOR_RECOVERY_SIZE]);
/* A code of the app, or a recovery code; OUT_WRONG_CODE. Whose it is has shown his password. */
enum outcome factor_check(struct desk *d, const struct account *account, const char *code);
/* VERB_USER_EDIT. */
enum outcome factor_clear(struct desk *d, const struct account *account);

#endif
