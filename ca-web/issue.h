/*
 * issue.h - what a group's CA signs: its own certificate, members' certificates, CRLs. The profile
 * stands in overlay/crypto/cert.h; this file writes what that one reads. libcrypto does the ASN.1.
 *
 * No database and no clock: everything is handed in. DER goes out; lengths, or -ERR_RANGE when it
 * does not fit and -ERR_CRYPTO when libcrypto refuses.
 */
#ifndef PEAL_CA_ISSUE_H
#define PEAL_CA_ISSUE_H

#include "overlay/crypto/removed.h"

enum {
    ISSUE_CA_DER_MAX = 900,
    ISSUE_CA_LIFE_S = 20 * 365 * 86400,
    ISSUE_BACKDATE_S = 600, /* for machines whose clock runs behind */
};

/* A group's CA: the seed of its Ed25519 key, and its certificate. */
struct authority {
    struct secret seed;
    uint8_t der[ISSUE_CA_DER_MAX];
    size_t der_len;
};
void authority_clear(struct authority *a);

/* A new CA around a->seed. */
int issue_authority(struct authority *a, const char *group_name, const struct id *group,
                    int64_t now_s) MUST_USE;

struct issue_member {
    struct sign_public key;
    struct id group;
    uint64_t enrolment;
    const char *user;
    uint8_t serial[16]; /* big-endian, first byte 1..127 (issue_serial) */
    int64_t not_before_s, not_after_s;
};
int issue_member(const struct authority *a, const struct issue_member *m, uint8_t *der,
                 size_t size) MUST_USE;
/* 127 random bits whose first byte is not zero, so the number is positive and 16 bytes long. */
void issue_serial(uint8_t serial[16]);

struct issue_revoked {
    uint8_t serial[CERT_SERIAL_MAX];
    uint8_t serial_len;
    int64_t revoked_s;
};
/* *der is malloc'ed by this function; its length is returned. */
int issue_crl(const struct authority *a, const struct issue_revoked *v, size_t n, uint64_t number,
              int64_t this_update_s, int64_t next_update_s, uint8_t **der) MUST_USE;

/* A removal, signed (removed.h has its form): what members broadcast and store. */
struct issue_removal {
    struct id group, node;
    uint64_t number;
    int64_t at_s;
    struct sign_public key;
    struct issue_revoked serials[REMOVAL_SERIALS_MAX];
    size_t serial_count;
};
int issue_removal(const struct authority *a, const struct issue_removal *r, uint8_t *out,
                  size_t size) MUST_USE;

/* A succession (removed.h): what members are to trust beside the CA that signs this, or alone. */
struct issue_succession {
    struct id group;
    uint64_t number;
    int64_t at_s;
    bool only;
    const uint8_t *der; /* of the CA certificate */
    size_t der_len;
};
int issue_succession(const struct authority *a, const struct issue_succession *s, uint8_t *out,
                     size_t size) MUST_USE;

#endif
