/*
 * vault.h - the master key, and what is sealed with it: CA seeds and group keys.
 *
 * The key is 32 random bytes, 64 hex digits in a file of its own (0600), apart from the database:
 * whoever has only the one or the other has no CA. Sealing is XChaCha20-Poly1305 (libsodium) with a
 * random nonce; a purpose and the group's id are bound in, so a sealed value works in no other
 * place.
 */
#ifndef PEAL_CA_VAULT_H
#define PEAL_CA_VAULT_H

#include "overlay/crypto/secret.h"

struct vault;

enum {
    VAULT_OVERHEAD = 24 + 16, /* nonce and tag */
    VAULT_SECRET_LEN = 32 + VAULT_OVERHEAD,
};

/* Reads the key from path, or makes it there when `make` and the file is missing. NULL and *why. */
struct vault *vault_open(const char *path, bool make, const char **why);
void vault_close(struct vault *v); /* wipes; NULL is fine */

/* out has len + VAULT_OVERHEAD bytes. */
void vault_seal(const struct vault *v, const char *purpose, const struct id *group,
                const void *bytes, size_t len, uint8_t *out);
/* len is of the sealed bytes; false: another key, or tampered with. */
bool vault_unseal(const struct vault *v, const char *purpose, const struct id *group,
                  const uint8_t *sealed, size_t len, void *out);
/* A key for one purpose, derived from the master key. */
void vault_derive(const struct vault *v, const char *purpose, struct secret *out);

#endif
