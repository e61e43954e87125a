/*
 * x509.h - what member certificates, CA certificates, CRLs and requests have in common, in
 * OpenSSL's types. Private to overlay/crypto: the profile that other rooms see is cert.h.
 *
 * Everything is read strictly: DER must encode back to the same bytes, so that one certificate has
 * one hash, and nothing can hide behind its end. Nothing here judges a date against a clock.
 */
#ifndef PEAL_CRYPTO_X509_H
#define PEAL_CRYPTO_X509_H

#include "overlay/crypto/cert.h"

#include <openssl/x509.h>

/* NULL when it is not one DER certificate, v3, signed with Ed25519, without unique identifiers. */
X509 *x509_read(const uint8_t *der, size_t len);
/* `der` is what `item` encodes to: no trailing bytes, no BER. */
bool x509_is_der_of(const ASN1_VALUE *item, const ASN1_ITEM *type, const uint8_t *der, size_t len);
/* Ed25519 without parameters, RFC 8410 3. */
bool x509_is_ed25519(const X509_ALGOR *alg);

enum x509_kind { X509_KIND_MEMBER, X509_KIND_CA };
/* Extensions are those of cert.h's profile for this kind, each once and rightly marked critical. */
bool x509_extensions_valid(const X509 *x, enum x509_kind kind);

bool x509_key(EVP_PKEY *key, struct sign_public *out);
/* The name is a single CN, and that is a label; as written. */
bool x509_label(const X509_NAME *name, char out[LABEL_MAX + 1]);
bool x509_time(const ASN1_TIME *t, int64_t *out); /* Unix seconds */
bool x509_validity(const X509 *x, int64_t *not_before_s, int64_t *not_after_s);
/* Big-endian without leading zeros; only positive numbers of at most CERT_SERIAL_MAX bytes. */
bool x509_serial(const ASN1_INTEGER *serial, uint8_t out[CERT_SERIAL_MAX], uint8_t *len);

/* Calls `each` for every subjectAltName; false when one is no URI of printable characters, when
 * `each` answers false, or when there are none. */
bool x509_each_uri(const X509 *x, bool (*each)(void *arg, const char *uri), void *arg);

/* The certificates of a group's CA, those that have ended as well, borrowed; `*certs` has as many as the result says. */
struct ca_cert {
    X509 *x;
    int64_t not_before_s, not_after_s;
    int64_t ended_s; /* 0: trusted */
};
enum { CA_CERTS_MAX = 4 };
size_t cert_ca_certs(const struct cert_ca *ca, const struct ca_cert **certs);

#endif
