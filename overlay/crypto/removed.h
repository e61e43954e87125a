/*
 * removed.h - who is no member any more: all that the group's CA has said about it. That is its CRL
 * (RFC 5280 5: the serials of every unexpired certificate of theirs), and its removals, one signed
 * message for each removed machine, which travel faster. All are numbered in one sequence.
 *
 *   removal: version (1 byte, 1), group id (20), number (8), time (8), node id (20), public key
 *   (32), count (1), count times: length (1), serial; then the CA's Ed25519 signature (64) over
 *   "peal removal" (12 bytes) and everything before the signature.
 *
 * The CA's own succession travels with them, under a number like theirs: another certificate that
 * it may sign with from now on, or the only one from now on. Whoever holds the trusted certificates
 * applies it (removed_trust).
 *
 *   succession: version (1 byte, 2), group id (20), number (8), time (8), flags (1; bit 0: only
 * this one), CA certificate (DER); then the signature as above.
 *
 * A match on any of node id, key or serial removes. Only what the CA signed gets in, so the set is
 * the same wherever it came from, and it only grows: nothing in it is taken back.
 */
#ifndef PEAL_CRYPTO_REMOVED_H
#define PEAL_CRYPTO_REMOVED_H

#include "overlay/crypto/cert.h"

enum {
    REMOVAL_SERIALS_MAX = 16,
    SUCCESSION_HEAD = 1 + 20 + 8 + 8 + 1,
    SUCCESSION_DER_MAX = 600,
    SUCCESSION_ONLY = 1,                                     /* flag */
    REMOVAL_MAX = SUCCESSION_HEAD + SUCCESSION_DER_MAX + 64, /* of either kind */
    REMOVED_MAX = 4096, /* removals kept; victim: the lowest number, which a CRL has by then */
};

/* One removal, the first bytes of the message, before the serials, read; or a succession. */
struct removal {
    uint64_t number;
    int64_t at_s;
    struct id node; /* zero, as the key: a succession */
    struct sign_public key;
    uint16_t len;
    uint8_t bytes[]; /* the message as it was signed */
};

struct removed;
struct removed *removed_new(void); /* NULL: out of memory */
void removed_free(struct removed *r);

bool removed_is_succession(const uint8_t *message, size_t len);
/* Applies every succession, in the order of their numbers. */
void removed_trust(const struct removed *r, struct cert_ca *ca);

enum removed_news {
    REMOVED_NEW,
    REMOVED_KNOWN,
    REMOVED_BAD, /* malformed, of another group, or not signed by its CA */
    REMOVED_NOMEM,
};
enum removed_news removed_add(struct removed *r, const struct cert_ca *ca, const uint8_t *message,
                              size_t len);
/* Takes a CRL whose number is higher than that of the one we have. On REMOVED_BAD *why is static
 * text. */
enum removed_news removed_add_crl(struct removed *r, const struct cert_ca *ca, const uint8_t *der,
                                  size_t len, const char **why);

bool removed_lists(const struct removed *r, const struct cert *cert);
/* By its removal: a CRL names serials only. */
bool removed_names(const struct removed *r, const struct id *node);
/* Highest number of anything in it; 0: nothing. */
uint64_t removed_number(const struct removed *r);

/* The CRL: NULL, or its DER. */
const uint8_t *removed_crl(const struct removed *r, size_t *len);
uint64_t removed_crl_number(const struct removed *r); /* 0: none */
int64_t removed_crl_next_s(const struct removed *r);  /* it is stale from then on; 0: none */
size_t removed_crl_entries(const struct removed *r);
/* The removal with the lowest number above that one, or NULL. */
const struct removal *removed_after(const struct removed *r, uint64_t number);
size_t removed_count(const struct removed *r); /* removals */

#endif
