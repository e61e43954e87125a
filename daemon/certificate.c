#include "daemon/certificate.h"

#include "overlay/crypto/removed.h"

#include <sodium.h>
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

bool certificate_follow_ca(struct cert_ca *ca, const json_t *answer)
{
    const json_t *list = json_object_get(answer, "successions"), *text;
    struct removed *r = json_array_size(list) > 0 ? removed_new() : NULL;
    uint8_t message[REMOVAL_MAX];
    size_t i, len;

    if (!r)
        return false;
    json_array_foreach(list, i, text)
    {
        const char *p = json_string_value(text);

        if (p &&
            sodium_base642bin(message, sizeof message, p, strlen(p), NULL, &len, NULL,
                              sodium_base64_VARIANT_ORIGINAL) == 0 &&
            removed_is_succession(message, len) && removed_add(r, ca, message, len) == REMOVED_NEW)
            removed_trust(r, ca);
    }
    removed_free(r);
    return true;
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
