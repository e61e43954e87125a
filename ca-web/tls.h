/*
 * tls.h - the service's own TLS key and certificate, and the pin of a certificate.
 *
 * The key (ECDSA P-256, DIR/tls.key) is made once and kept, because blobs pin it; the self-signed
 * certificate around it (DIR/tls.crt) is made again whenever the names have changed or its end is
 * near.
 *
 * Members know the key by its pin, so a new one is announced ahead: tls_announce makes it
 * (DIR/tls.next.key), from then on blobs and every renewal carry both pins, and when every member
 * has renewed, tls_switch puts it in the place of the old one, which is kept beside it.
 */
#ifndef PEAL_CA_TLS_H
#define PEAL_CA_TLS_H

#include "ca-web/home.h"
#include "ca-web/text.h"

enum {
    TLS_LIFE_S = 10 * 365 * 86400,
    TLS_RENEW_S = 365 * 86400, /* made again when less is left */
    TLS_NAMES_MAX = 8,
    TLS_PIN_SIZE = 45, /* base64 of SHA-256 */
};

struct tls {
    struct text certificate, key; /* PEM */
    char pin[TLS_PIN_SIZE];       /* base64 SHA-256 of the certificate's SubjectPublicKeyInfo */
    int64_t until_s;              /* the certificate's end */
};
void tls_clear(struct tls *t);

/* Reads a certificate (chain) and key that were given, and checks that they belong together. */
bool tls_load(struct tls *t, const char *certificate_file, const char *key_file, const char **why);
/* Our own, for these names (host names and addresses; duplicates are fine). */
bool tls_make(struct tls *t, const struct home *h, const char *const *names, size_t n,
              int64_t now_s, const char **why);

/* The pin of the key that was announced; false: none was. */
bool tls_next_pin(const struct home *h, char pin[TLS_PIN_SIZE]);
/* Makes the next key where there is none yet; its pin. */
bool tls_announce(const struct home *h, char pin[TLS_PIN_SIZE], const char **why);
/* The pin of a private key in a file. */
bool tls_key_pin(const char *file, char pin[TLS_PIN_SIZE], const char **why);
/* From the next start or reload on. */
bool tls_switch(const struct home *h, int64_t now_s, const char **why);

#endif
