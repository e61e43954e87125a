/*
 * spread.h - how far a group's last removal has spread: which machines have said that they know it,
 * and how soon after it they did.
 *
 * A machine tells the highest number that it knows (overlay/crypto/known.h), signed with its key.
 * Only the first word that covers the last removal is timed; later ones raise the number.
 */
#ifndef PEAL_CA_SPREAD_H
#define PEAL_CA_SPREAD_H

#include "ca-web/member.h"

/* OUT_BAD_REQUEST: malformed, of another group, or of a number that there is not yet;
 * OUT_NOT_ENROLLED: not signed by a machine that is in the group. */
enum outcome spread_told(struct desk *d, const struct group *g, const uint8_t *message, size_t len);

struct spread {
    int64_t number, at_s; /* of the last removal; number 0: nobody was removed */
    char user[LABEL_MAX + 1], hostname[LABEL_MAX + 1]; /* whose machine it was */
    int64_t machines;       /* not removed, with a certificate that has not expired */
    int64_t told;           /* of them */
    int64_t half_s, last_s; /* seconds after at_s when half of `told`, and all of it, knew */
};
/* VERB_MEMBER_LIST. */
enum outcome spread_read(struct desk *d, const struct group *g, struct spread *out);

#endif
