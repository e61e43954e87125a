/*
 * cert.h - the X.509 profile of peal (RFC 5280, RFC 8410 Ed25519): reading and verifying member
 * certificates, CA certificates and CRLs. OpenSSL's libcrypto does the ASN.1 and the signatures;
 * times are handed in. Issuing lives in ca-web/issue.c, which includes this header for the profile.
 *
 * Group CA certificate: self-signed Ed25519; CN = group name; basicConstraints critical CA:TRUE,
 *   pathlen:0; keyUsage critical keyCertSign, cRLSign; subjectAltName URI "peal:group:<40 hex>".
 * Member certificate: Ed25519 key of the node; issuer the group CA; CN = user name; serialNumber 127
 *   random bits; basicConstraints critical CA:FALSE; keyUsage critical digitalSignature;
 *   subjectAltName URIs, each exactly once unless said:
 *     peal:node:<40 hex>      the node id: SHA-256(public key, group id, enrolment number as 8 bytes), first 20
 *     peal:group:<40 hex>
 *     peal:enrolment:<decimal>
 *     peal:host:<label>       optional: a host name that is this member's by certificate
 *     peal:ipv4:<address>     optional: an address that is this member's by certificate
 *     peal:site:<40 hex>      optional: a site it may write for
 *     peal:role:<label>       optional, up to 8
 * Both may carry subjectKeyIdentifier and authorityKeyIdentifier (RFC 5280 4.2.1.1), not critical and
 * not used. Anything else, a second instance, or an id that does not match its derivation is refused.
 * DER of a member certificate is at most CERT_DER_MAX bytes, so that it fits a handshake message.
 */
#ifndef PEAL_CRYPTO_CERT_H
#define PEAL_CRYPTO_CERT_H

#include "overlay/core/addr.h"
#include "overlay/crypto/secret.h"

enum {
    CERT_DER_MAX = 900,
    CERT_SERIAL_MAX = 20, /* RFC 5280 4.1.2.2 */
    CERT_USER_MAX = 63,
    CERT_ROLES_MAX = 8,
    CERT_CLOCK_SLACK_S = 600, /* two clocks may differ so much */
    CERT_ENDED_S = 2 * 86400,  /* records are signed anew at once, most others live a day */
    CRL_ENTRIES_MAX = 100000,
};

/* What a verified member certificate says. Plain data. */
struct cert {
    struct id node, group, site; /* site zero: none */
    uint64_t enrolment;
    struct sign_public key;
    uint8_t serial[CERT_SERIAL_MAX];
    uint8_t serial_len;
    int64_t not_before_s, not_after_s; /* Unix time */
    char user[CERT_USER_MAX + 1];      /* a label */
    char host[LABEL_MAX + 1];          /* "" none */
    struct addr ipv4;                  /* family 0: none */
    uint8_t hash[HASH_LEN];            /* SHA-256 of the DER */
};

struct cert_ca;  /* a group's CA: certificate(s) trusted, group id, name */
struct cert_crl; /* a verified CRL */

enum cert_verdict {
    CERT_OK,
    CERT_MALFORMED,
    CERT_WRONG_ISSUER, /* another group's CA, or the signature is wrong */
    CERT_WRONG_GROUP,
    CERT_WRONG_ID, /* node id does not follow from key, group and enrolment */
    CERT_EXPIRED,
    CERT_NOT_YET_VALID,
    CERT_REVOKED,
};
/* "expired", "revoked", ...: static text for logs and `why`. */
const char *cert_verdict_text(enum cert_verdict v);

/* From PEM, one or several certificates (roll-over): each must be a CA of this profile for one and
 * the same group. Copies. NULL and *why (static text) when not. */
struct cert_ca *cert_ca_new(const char *pem, size_t len, const char **why);
void cert_ca_free(struct cert_ca *ca);
const struct id *cert_ca_group(const struct cert_ca *ca);
const char *cert_ca_name(const struct cert_ca *ca);

/* Roll-over: one more certificate is trusted; or no other than this one any more since ended_s (Unix
 * time). True also when it was so before; false, and nothing changed: it is none of this profile and
 * group, or too many are trusted. One that has ended is kept, victim when there are too many, for
 * what was signed before (cert_verify_written). */
bool cert_ca_add(struct cert_ca *ca, const uint8_t *der, size_t len);
bool cert_ca_only(struct cert_ca *ca, const uint8_t *der, size_t len, int64_t ended_s);
size_t cert_ca_trusted(const struct cert_ca *ca); /* how many have not ended */
/* It is a CA certificate of this profile, for the same group. */
bool cert_ca_fits(const struct cert_ca *ca, const uint8_t *der, size_t len);
/* All, those that have ended as well; to be freed. NULL: out of memory. */
char *cert_ca_pem(const struct cert_ca *ca);

/* Reads and verifies a member certificate. wall_known false: validity dates are not judged.
 * crl may be NULL. *out is filled whenever the DER could be read, also when the verdict is bad. */
enum cert_verdict cert_verify(const struct cert_ca *ca, const struct cert_crl *crl, const uint8_t *der,
                              size_t len, int64_t wall_s, bool wall_known, struct cert *out);
/* The same for the writer of a record, who wrote it before his CA ended: for CERT_ENDED_S after that
 * its certificates still say who wrote what, and let nobody in. */
enum cert_verdict cert_verify_written(const struct cert_ca *ca, const uint8_t *der, size_t len,
                                      int64_t wall_s, bool wall_known, struct cert *out);
/* Reads without judging the signature (our own certificate from disk, before the CA is known). */
enum cert_verdict cert_read(const uint8_t *der, size_t len, struct cert *out);

/* DER CRL: signed by the CA, cRLNumber present. A CRL past nextUpdate is used and flagged stale (it stops nobody).
 * NULL and *why when malformed or not the CA's. */
struct cert_crl *cert_crl_new(const struct cert_ca *ca, const uint8_t *der, size_t len, const char **why);
void cert_crl_free(struct cert_crl *crl);
uint64_t cert_crl_number(const struct cert_crl *crl);
size_t cert_crl_entries(const struct cert_crl *crl);
int64_t cert_crl_next_update_s(const struct cert_crl *crl);
bool cert_crl_lists(const struct cert_crl *crl, const uint8_t *serial, size_t serial_len);

/* PEM <-> DER of one object; label "CERTIFICATE", "CERTIFICATE REQUEST", "X509 CRL". Lengths or -ERR_FORMAT / -ERR_RANGE. */
int pem_to_der(const char *label, const char *pem, size_t len, uint8_t *der, size_t size) MUST_USE;
int der_to_pem(const char *label, const uint8_t *der, size_t len, char *pem, size_t size) MUST_USE; /* NUL-terminated */

/* A certificate request (PKCS#10, RFC 2986) with CN = hostname, signed with the node's key; PEM into
 * pem, NUL-terminated. 0, -ERR_FORMAT (hostname is no label), -ERR_RANGE (does not fit; 512 bytes do), -ERR_NOMEM. */
int csr_make(const struct sign_secret *key, const char *hostname, char *pem, size_t size) MUST_USE;
/* Reads a PEM request, verifies its own signature; only Ed25519 keys pass. The host name in lower
 * case. 0 or -ERR_FORMAT / -ERR_CRYPTO. */
int csr_read(const char *pem, size_t len, struct sign_public *key, char hostname[LABEL_MAX + 1]) MUST_USE;

#endif
