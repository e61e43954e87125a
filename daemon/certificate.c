#include "daemon/certificate.h"

#include <stdio.h>
#include <string.h>

/* What goes behind "the certificate is". */
static const char *clause(enum cert_verdict v)
{
    switch (v) {
    case CERT_MALFORMED:
        return "malformed";
    case CERT_WRONG_GROUP:
        return "of another group";
    case CERT_WRONG_ID:
        return "for another node id than its key gives";
    case CERT_NOT_YET_VALID:
        return "not yet valid; is this machine's clock right?";
    case CERT_OK:
    case CERT_WRONG_ISSUER:
    case CERT_EXPIRED:
    case CERT_REVOKED:
        break;
    }
    return cert_verdict_text(v);
}

bool certificate_read(struct certificate *out, const struct cert_ca *ca, const char *pem,
                      const struct certificate_owner *who, char why[CERTIFICATE_WHY_SIZE])
{
    int len = pem_to_der("CERTIFICATE", pem, strlen(pem), out->der, sizeof out->der);

    out->len = len < 0 ? 0 : (size_t)len;
    out->verdict = len < 0 ? CERT_MALFORMED
                           : cert_verify(ca, NULL, out->der, out->len, who->wall_s, who->wall_known,
                                         &out->cert);
    if (out->verdict != CERT_OK) {
        snprintf(why, CERTIFICATE_WHY_SIZE, "%s",
                 len < 0 ? "no certificate" : clause(out->verdict));
        return false;
    }
    if (!equal_ct(out->cert.key.b, who->pub->b, sizeof out->cert.key.b)) {
        snprintf(why, CERTIFICATE_WHY_SIZE, "for another key");
        return false;
    }
    if (strcmp(out->cert.user, who->user) != 0) {
        snprintf(why, CERTIFICATE_WHY_SIZE, "for another user");
        return false;
    }
    return true;
}
