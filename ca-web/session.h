/*
 * session.h - who is logged in, and the tokens that forms carry.
 *
 * A session is 32 random bytes in the cookie __Host-peal (Secure, HttpOnly, SameSite=Strict); the
 * database has their SHA-256. It ends after SESSION_IDLE_S unused or SESSION_LIFE_S in all; a user
 * has at most SESSION_PER_USER, the victim of one more is the one unused for the longest.
 *
 * Strangers' forms (log in, register, set up) hang on a random cookie of the same kind,
 * __Host-peal-form, that the server does not store. A form's token is a MAC of its cookie under a
 * key derived from the master key: no other session's token fits, and the token ends with its
 * session.
 */
#ifndef PEAL_CA_SESSION_H
#define PEAL_CA_SESSION_H

#include "ca-web/account.h"

enum {
    SESSION_IDLE_S = 12 * 3600,
    SESSION_LIFE_S = 7 * 86400,
    SESSION_PER_USER = 16,
    SESSION_TOKEN_SIZE = 44, /* 32 bytes in base64url */
    CSRF_SIZE = 2 * MAC_LEN + 1,
};

/* Copies the value of the cookie `name` out of a Cookie header; false when it is not a token of
 * ours. */
bool session_cookie(const char *header, const char *name, char out[SESSION_TOKEN_SIZE]);
void session_draw(char token[SESSION_TOKEN_SIZE]);

enum outcome session_begin(struct desk *d, const struct account *account, const char *agent,
                           char token[SESSION_TOKEN_SIZE]);
/* Fills *actor (all but the address) and true when the token's session lives. */
bool session_resume(struct desk *d, const char *token, struct actor *actor);
enum outcome session_end(struct desk *d, const char *token);
/* A session of the account, named by its hash in hex as lists show it; or all but this one.
 * OUT_NO_SESSION. VERB_USER_EDIT. */
enum outcome session_end_one(struct desk *d, const struct account *account, const char *hash_hex);
enum outcome session_end_others(struct desk *d, const struct account *account, const char *token);
/* Is this the session with that hash? */
bool session_is(const char *token, const char *hash_hex);

void csrf_token(const struct secret *key, const char *cookie, char out[CSRF_SIZE]);
bool csrf_valid(const struct secret *key, const char *cookie, const char *token);

#endif
