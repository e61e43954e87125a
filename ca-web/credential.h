/*
 * credential.h - the certificate (chain) and key that the HTTPS server shows, as GnuTLS holds them.
 *
 * One is current. Another can take its place while the server runs; the one before stays for
 * CREDENTIAL_LINGER_S, because handshakes that began with it still point into it and no handshake
 * lasts that long (http.h). At most CREDENTIALS_KEPT linger: one more replacement is refused until
 * the oldest has gone.
 *
 * Any thread may look at the current one; replacing belongs to one thread.
 */
#ifndef PEAL_CA_CREDENTIAL_H
#define PEAL_CA_CREDENTIAL_H

#include <gnutls/abstract.h>
#include <stdbool.h>
#include <stdint.h>

#include "ca-web/tls.h"

enum {
    CREDENTIAL_CHAIN_MAX = 8, /* certificates */
    CREDENTIAL_LINGER_S = 120,
    CREDENTIALS_KEPT = 16,
};

struct credentials;

/* NULL and *why when GnuTLS does not take it. */
struct credentials *credentials_new(const struct tls *tls, const char **why);
void credentials_free(struct credentials *c);

/* False and *why: the one before stays. */
bool credentials_replace(struct credentials *c, const struct tls *tls, int64_t now_s,
                         const char **why);

/* Borrowed for CREDENTIAL_LINGER_S. */
void credentials_current(struct credentials *c, gnutls_pcert_st **chain, unsigned *length,
                         gnutls_privkey_t *key);

#endif
