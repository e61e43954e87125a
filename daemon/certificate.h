/*
 * certificate.h - our own certificate: whether one that we were given, or kept, is for us.
 */
#ifndef PEAL_DAEMON_CERTIFICATE_H
#define PEAL_DAEMON_CERTIFICATE_H

#include "daemon/blob.h"

enum { CERTIFICATE_WHY_SIZE = 160 };

struct certificate {
    uint8_t der[CERT_DER_MAX];
    size_t len;
    struct cert cert;
    enum cert_verdict verdict; /* der, len and cert are there unless CERT_MALFORMED */
};

/* Who we are, and when. */
struct certificate_owner {
    const struct sign_public *pub;
    const char *user;
    int64_t wall_s;
    bool wall_known;
};

/* An enrolment's or a renewal's answer brings the CA's successions, for whoever missed them. True:
 * what is trusted may have changed. */
bool certificate_follow_ca(struct cert_ca *ca, const json_t *answer);

/* Signed by the group's CA, valid now, for our key and our user. When not: false, with a clause in
 * why that goes behind "the certificate ... is". */
bool certificate_read(struct certificate *out, const struct cert_ca *ca, const char *pem,
                      const struct certificate_owner *who, char why[CERTIFICATE_WHY_SIZE]);

#endif
