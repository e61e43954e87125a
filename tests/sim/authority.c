#include "tests/sim/authority.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509.h>

#include "ca-web/issue.h"
#include "overlay/core/err.h"
#include "overlay/core/wire.h"

enum { LIFE_S = 30 * 86400, PEM_SIZE = 4096 };

void authority_start(struct sim_authority *a, const struct id *group, const struct secret *seed,
                     int64_t wall_s)
{
    char pem[PEM_SIZE];
    const char *why;
    int len;

    *a = (struct sim_authority){.group = *group, .issuer = calloc(1, sizeof(*a->issuer))};
    CHECK(a->issuer != NULL);
    a->issuer->seed = *seed;
    CHECK(issue_authority(a->issuer, "sim", group, wall_s) > 0);
    len = der_to_pem("CERTIFICATE", a->issuer->der, a->issuer->der_len, pem, sizeof(pem));
    CHECK(len > 0);
    a->ca = cert_ca_new(pem, (size_t)len, &why);
    CHECK(a->ca != NULL);
}

void authority_end(struct sim_authority *a)
{
    if (a->issuer == NULL)
        return;
    cert_ca_free(a->ca);
    authority_clear(a->issuer);
    free(a->issuer);
    a->issuer = NULL;
}

size_t authority_enrol(struct sim_authority *a, const struct sign_public *key, int64_t wall_s,
                       uint8_t der[CERT_DER_MAX])
{
    char user[CERT_USER_MAX + 1];
    struct issue_member m = {.key = *key,
                             .group = a->group,
                             .enrolment = ++a->enrolled,
                             .user = user,
                             .not_before_s = wall_s - LIFE_S / 2,
                             .not_after_s = wall_s + LIFE_S};
    int len;

    snprintf(user, sizeof(user), "user%llu", (unsigned long long)m.enrolment);
    m.serial[0] = 1;
    put_u64(m.serial + 8, m.enrolment);
    len = issue_member(a->issuer, &m, der, CERT_DER_MAX);
    CHECK(len > 0);
    return (size_t)len;
}

/* What signs as the key in the CA's certificate verifies. The null cipher's public keys are their
 * seeds, and the certificate, which OpenSSL makes, has a real one. */
static void take_signing_seed(struct authority *signer)
{
    const uint8_t *der = signer->der;
    X509 *x = d2i_X509(NULL, &der, (long)signer->der_len);
    struct sign_public shown, own;
    struct sign_secret secret;
    size_t len = sizeof(shown.b);

    CHECK(x != NULL && EVP_PKEY_get_raw_public_key(X509_get0_pubkey(x), shown.b, &len) == 1);
    X509_free(x);
    sign_keys(&own, &secret, &signer->seed);
    if (memcmp(own.b, shown.b, sizeof(own.b)) != 0)
        memcpy(signer->seed.b, shown.b, sizeof(signer->seed.b));
}

size_t authority_remove(struct sim_authority *a, const struct cert *who, int64_t wall_s,
                        uint8_t message[REMOVAL_MAX])
{
    struct issue_removal r = {.group = a->group,
                              .node = who->node,
                              .number = ++a->numbers,
                              .at_s = wall_s,
                              .key = who->key,
                              .serial_count = 1};
    struct authority signer = *a->issuer;
    int len;

    take_signing_seed(&signer);
    memcpy(r.serials[0].serial, who->serial, who->serial_len);
    r.serials[0].serial_len = who->serial_len;
    len = issue_removal(&signer, &r, message, REMOVAL_MAX);
    CHECK(len > 0);
    return (size_t)len;
}
