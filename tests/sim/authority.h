/*
 * authority.h - the CA of a simulated group: issues members' certificates and signs removals, with
 * peal-ca's own code (ca-web/issue.c).
 */
#ifndef PEAL_SIM_AUTHORITY_H
#define PEAL_SIM_AUTHORITY_H

#include "overlay/crypto/removed.h"

struct authority;
struct sim_authority {
    struct authority *issuer;
    struct cert_ca *ca; /* what members trust */
    struct id group;
    uint64_t enrolled, numbers;
};

/* The key follows from the seed; valid from wall_s on. */
void authority_start(struct sim_authority *a, const struct id *group, const struct secret *seed,
                     int64_t wall_s);
void authority_end(struct sim_authority *a);
/* A certificate for this key, valid from wall_s on; its length. */
size_t authority_enrol(struct sim_authority *a, const struct sign_public *key, int64_t wall_s,
                       uint8_t der[CERT_DER_MAX]);
/* A removal of the member with this certificate; its length. */
size_t authority_remove(struct sim_authority *a, const struct cert *who, int64_t wall_s,
                        uint8_t message[REMOVAL_MAX]);

#endif
