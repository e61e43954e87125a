/*
 * enrol.h - a machine gets its certificate: first with a blob's secret, later with its own key.
 *
 * A secret is spent by one conditional UPDATE inside the transaction that issues, and is bound to
 * the key of that first request: the same secret with the same key gets the same certificate again
 * (a lost reply strands nobody), with another key it is refused. An enrolled key keeps its
 * enrolment number, and so its node id, for good. In the name of a member one of whose machines was
 * removed nothing is enrolled until an approver has agreed (member.h). Renewal is proven by the
 * request's own signature with the enrolled key; a replayed renewal gains nothing, since the
 * certificate is of use only to who holds the key.
 */
#ifndef PEAL_CA_ENROL_H
#define PEAL_CA_ENROL_H

#include "ca-web/member.h"

enum {
    ENROL_MACHINES_MAX = 64,          /* not revoked, per member */
    ENROL_RENEW_GRACE_S = 90 * 86400, /* an expired certificate renews this long */
    ENROL_RENEW_PAUSE_S = 60, /* a renewal within this time gets the same certificate again */
    ENROL_SECRET_MAX = 128,   /* characters */
};

struct issued {
    struct group group;
    uint8_t der[CERT_DER_MAX];
    size_t der_len;
};

/* group, user and secret that do not belong together: OUT_BAD_SECRET, whichever of them is wrong.
 */
enum outcome enrol(struct desk *d, const char *group, const char *user, const char *secret,
                   const char *csr_pem, struct issued *out);
enum outcome enrol_renew(struct desk *d, const char *group, const char *csr_pem,
                         struct issued *out);

#endif
