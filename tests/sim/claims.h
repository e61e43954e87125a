/*
 * claims.h - judges what nodes claim: no address and no name has two live owners in one ring.
 *
 * Two owners may meet when rings that were apart become one (a partition, or starting apart); they
 * must be settled within CLAIMS_SETTLE_US. Two that claimed while the ring was whole: a violation
 * at once.
 */
#ifndef PEAL_SIM_CLAIMS_H
#define PEAL_SIM_CLAIMS_H

#include <stdint.h>

#include "overlay/core/env.h"
#include "overlay/core/table.h"

struct host;
struct world;

enum claim_kind { CLAIM_ADDRESS, CLAIM_NAME, CLAIM_KINDS };
enum { CLAIM_KEY_LEN = 64, CLAIMS_SETTLE_US = 60000000 };

/* Part of a host. */
struct claim {
    uint8_t key[CLAIM_KEY_LEN];  /* zeros: none */
    uint8_t last[CLAIM_KEY_LEN]; /* what it had before that; zeros: nothing yet */
    struct host *host;
    usec since_us;
    uint32_t held;  /* so many hosts had its record when the judge looked last */
    usec buried_us; /* since when only tombstones of its owner are left; 0: they are not */
    usec double_us; /* since when another has it too, who had it first; 0: nobody */
};

struct claims {
    struct table held[CLAIM_KINDS]; /* claims: those who had it first */
    size_t doubled;
    uint64_t conflicts; /* that were seen and allowed */
};

void claims_init(struct claims *c, size_t hosts);
void claims_clear(struct claims *c);
/* A host's claim changed; key: CLAIM_KEY_LEN bytes, zeros when it gave up or is off. */
void claims_moved(struct world *w, struct host *h, enum claim_kind kind, const uint8_t *key);
void claims_second(struct world *w);

#endif
