/*
 * cred.h - whose signature it is: the writers' keys, found by the credential in a record.
 *
 * Without a CA the credential is the writer's public key and proves itself: the writer's id is its
 * hash. With a CA it is the SHA-256 of the writer's certificate, which is fetched once from
 * whoever sent the record (PARCEL_CERT_GET), verified against the CA and what it
 * has removed and kept, DER and all, so
 * that the next one can fetch it from here. A writer's key outlives its certificates, so that what
 * it signed before a renewal stays valid.
 *
 * Cached certificates that no held record needs are bounded by CREDS_IDLE_MAX, the victim is the
 * one unused for longest. Our own two newest are never dropped.
 */
#ifndef PEAL_DHT_CRED_H
#define PEAL_DHT_CRED_H

#include "dht/record.h"
#include "overlay/core/table.h"

enum {
    CREDS_IDLE_MAX = 64,
    CREDS_MAX = 1 << 16,
};

struct cred {
    uint8_t hash[HASH_LEN];
    struct id node, site;
    uint64_t enrolment;
    struct sign_public key;
    uint8_t serial[CERT_SERIAL_MAX], serial_len; /* for removals, which need no parsing then */
    uint32_t refs;                               /* held records and pins; 0: idle */
    uint64_t used;                               /* creds.clock when it was last looked up */
    uint16_t len;
    uint8_t der[];
};

struct creds {
    struct id overlay;
    const struct cert_ca *ca; /* NULL: credentials are keys, and no struct cred is ever made */
    const struct removed *removed;
    bool rendezvous; /* as in dht_config */
    const struct env *env;
    bool (*bound)(void *ctx, const struct id *key, const struct cert *cert);
    void *ctx;
    struct table by_hash;
    struct cred *own[2]; /* newest first */
    uint64_t clock;
    size_t idle, bytes;
};

enum cred_verdict {
    CRED_OK,
    CRED_UNKNOWN, /* the certificate has to be fetched first */
    CRED_BAD,
};

void creds_init(struct creds *c, const struct dht_config *config, const struct dht_host *host,
                void *ctx, const struct env *env);
void creds_clear(struct creds *c);

/* Judges everything in the record that needs no other record. *cred is NULL without a CA; it is
 * borrowed: cred_ref what is kept past this event. */
enum cred_verdict creds_judge(struct creds *c, const struct record *rec, struct cred **cred);
struct cred *creds_find(struct creds *c, const uint8_t hash[HASH_LEN]);
/* A certificate that came in: verified, then kept. NULL when it is refused. */
struct cred *creds_add(struct creds *c, const uint8_t *der, size_t len);
/* Our own certificate: fills in the credential that we sign with. */
int creds_set_own(struct creds *c, const uint8_t *der, size_t len) MUST_USE;
void creds_own_credential(const struct creds *c, const struct sign_public *pub,
                          uint8_t out[CREDENTIAL_LEN]);

void cred_ref(struct creds *c, struct cred *cred); /* NULL is fine in both */
void cred_unref(struct creds *c, struct cred *cred);
/* Its member was removed. */
bool creds_revoked(const struct creds *c, const struct cred *cred);
void creds_drop_idle(struct creds *c); /* all that nobody holds: after a removal */

/* Two owners of one key: does a keep it against b? See dht.h. Total and the same everywhere. */
bool creds_wins(const struct creds *c, const struct record *a, const struct cred *a_cred,
                const struct record *b, const struct cred *b_cred);
/* The writer's certificate itself names the key. */
bool creds_bound(const struct creds *c, const struct id *key, const struct cred *cred);

#endif
