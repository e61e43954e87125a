/*
 * token.h - API tokens: a user's own rights, or less, for a program.
 *
 * A token is "peal_" and 32 random bytes in base64url; the database has its SHA-256. It has an end,
 * scopes, and if wanted one group; what it may do is what its user may at that moment, cut down to
 * those (authorize.h). No token makes another, or changes the account.
 */
#ifndef PEAL_CA_TOKEN_H
#define PEAL_CA_TOKEN_H

#include "ca-web/group.h"

enum {
    TOKEN_SIZE = 49,
    TOKEN_NAME_MAX = 100,
    TOKEN_DAYS_MAX = 366,
    TOKEN_PER_USER = 32, /* that have not ended */
};

struct token_wish {
    const char *name;
    unsigned scopes;   /* enum scope; OUT_BAD_SCOPE when none is left */
    const char *group; /* "" every one */
    int64_t days;
};
enum outcome token_make(struct desk *d, const struct account *account,
                        const struct token_wish *wish, char token[TOKEN_SIZE]);
/* Fills *actor (all but the address) and true when an Authorization header holds a token that
 * lives. */
bool token_resume(struct desk *d, const char *header, struct actor *actor);
/* Takes one of the account's back. OUT_NO_TOKEN. */
enum outcome token_end(struct desk *d, const struct account *account, int64_t row);

/* "read"; NULL past the last. */
const char *scope_text(unsigned i);

#endif
