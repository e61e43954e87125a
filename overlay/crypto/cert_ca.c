#include "overlay/crypto/pem.h"
#include "overlay/crypto/x509.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

enum { CA_DER_MAX = 2048 };

struct cert_ca {
    struct ca_cert certs[CA_CERTS_MAX];
    size_t count;
    struct id group;
    char name[LABEL_MAX + 1];
};

struct group_uri {
    struct id group;
    bool seen;
};

/* A CA's only subjectAltName: "peal:group:<40 hex>". */
static bool read_group_uri(void *arg, const char *uri)
{
    static const char prefix[] = "peal:group:";
    struct group_uri *g = arg;

    if (g->seen || strncmp(uri, prefix, sizeof prefix - 1) != 0)
        return false;
    g->seen = true;
    return id_parse(&g->group, uri + sizeof prefix - 1);
}

/* Fits the profile of a CA certificate; NULL or what is wrong with it. */
static const char *judge(X509 *x, struct ca_cert *out, struct id *group, char name[LABEL_MAX + 1])
{
    struct group_uri uri = {.seen = false};
    struct sign_public key;

    if (!x509_extensions_valid(x, X509_KIND_CA))
        return "a CA certificate with other extensions than a group CA has";
    if (!x509_each_uri(x, read_group_uri, &uri))
        return "a CA certificate that does not name one group";
    if (!x509_label(X509_get_subject_name(x), name))
        return "a CA certificate whose subject is not a group's name";
    if (!x509_validity(x, &out->not_before_s, &out->not_after_s))
        return "a CA certificate with malformed dates";
    if (!x509_key(X509_get0_pubkey(x), &key))
        return "a CA certificate whose key is not Ed25519";
    if (X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) != 0 ||
        X509_verify(x, X509_get0_pubkey(x)) != 1)
        return "a CA certificate that is not signed by itself";
    *group = uri.group;
    out->x = x;
    return NULL;
}

/* Takes one more trusted certificate into ca; NULL or what is wrong. */
static const char *add(struct cert_ca *ca, const uint8_t *der, size_t len)
{
    char name[LABEL_MAX + 1];
    const char *why;
    struct id group;
    X509 *x;

    if (ca->count == CA_CERTS_MAX)
        return "more CA certificates than a roll-over needs";
    ca->certs[ca->count] = (struct ca_cert){.ended_s = 0};
    x = x509_read(der, len);
    if (x == NULL)
        return "a CA certificate that is no X.509 v3 certificate signed with Ed25519";
    why = judge(x, &ca->certs[ca->count], &group, name);
    if (why == NULL && ca->count > 0 && !id_eq(&group, &ca->group))
        why = "CA certificates of different groups";
    if (why != NULL) {
        X509_free(x);
        return why;
    }
    if (ca->count++ == 0) {
        ca->group = group;
        memcpy(ca->name, name, sizeof name);
    }
    return NULL;
}

static struct ca_cert *find(struct cert_ca *ca, X509 *x)
{
    for (size_t i = 0; i < ca->count; i++)
        if (X509_cmp(ca->certs[i].x, x) == 0)
            return &ca->certs[i];
    return NULL;
}

/* Of this profile and group; to be freed. */
static X509 *read_fitting(const struct cert_ca *ca, const uint8_t *der, size_t len)
{
    X509 *x = x509_read(der, len);
    struct ca_cert one;
    struct id group;
    char name[LABEL_MAX + 1];
    bool fits = x != NULL && judge(x, &one, &group, name) == NULL && id_eq(&group, &ca->group);

    ERR_clear_error();
    if (fits)
        return x;
    X509_free(x);
    return NULL;
}

bool cert_ca_fits(const struct cert_ca *ca, const uint8_t *der, size_t len)
{
    X509 *x = read_fitting(ca, der, len);

    X509_free(x);
    return x != NULL;
}

/* The one that ended first makes room. */
static void drop_ended(struct cert_ca *ca)
{
    size_t victim = ca->count;

    for (size_t i = 0; i < ca->count; i++)
        if (ca->certs[i].ended_s != 0 &&
            (victim == ca->count || ca->certs[i].ended_s < ca->certs[victim].ended_s))
            victim = i;
    if (victim == ca->count)
        return;
    X509_free(ca->certs[victim].x);
    ca->certs[victim] = ca->certs[--ca->count];
}

bool cert_ca_add(struct cert_ca *ca, const uint8_t *der, size_t len)
{
    X509 *x = read_fitting(ca, der, len);
    struct ca_cert *known = x != NULL ? find(ca, x) : NULL;

    X509_free(x);
    if (x == NULL || known != NULL) {
        if (known != NULL)
            known->ended_s = 0;
        return x != NULL;
    }
    if (ca->count == CA_CERTS_MAX)
        drop_ended(ca);
    return add(ca, der, len) == NULL;
}

bool cert_ca_only(struct cert_ca *ca, const uint8_t *der, size_t len, int64_t ended_s)
{
    X509 *x;
    const struct ca_cert *one;

    if (!cert_ca_add(ca, der, len))
        return false;
    x = x509_read(der, len);
    CHECK(x != NULL);
    one = find(ca, x);
    X509_free(x);
    for (size_t i = 0; i < ca->count; i++)
        if (&ca->certs[i] != one && ca->certs[i].ended_s == 0)
            ca->certs[i].ended_s = ended_s;
    return true;
}

size_t cert_ca_trusted(const struct cert_ca *ca)
{
    size_t n = 0;

    for (size_t i = 0; i < ca->count; i++)
        n += ca->certs[i].ended_s == 0;
    return n;
}

char *cert_ca_pem(const struct cert_ca *ca)
{
    enum { PEM_MAX = 2 * CA_DER_MAX };
    char *pem = malloc(ca->count * PEM_MAX + 1);
    size_t used = 0;

    for (size_t i = 0; pem != NULL && i < ca->count; i++) {
        uint8_t der[CA_DER_MAX], *p = der;
        int len = i2d_X509(ca->certs[i].x, NULL);

        CHECK(len > 0 && len <= CA_DER_MAX && i2d_X509(ca->certs[i].x, &p) == len);
        len = der_to_pem("CERTIFICATE", der, (size_t)len, pem + used, PEM_MAX);
        CHECK(len > 0);
        used += strlen(pem + used);
    }
    return pem;
}

struct cert_ca *cert_ca_new(const char *pem, size_t len, const char **why)
{
    struct cert_ca *ca = calloc(1, sizeof *ca);
    struct pem_text text = {pem, len};
    uint8_t der[CA_DER_MAX];
    int der_len;

    *why = ca == NULL ? "out of memory" : NULL;
    while (*why == NULL && (der_len = pem_next(&text, "CERTIFICATE", der, sizeof der)) != 0)
        *why = der_len < 0 ? "malformed PEM" : add(ca, der, (size_t)der_len);
    if (*why == NULL && ca->count == 0)
        *why = "no CA certificate";
    ERR_clear_error();
    if (*why == NULL)
        return ca;
    cert_ca_free(ca);
    return NULL;
}

void cert_ca_free(struct cert_ca *ca)
{
    if (ca == NULL)
        return;
    for (size_t i = 0; i < ca->count; i++)
        X509_free(ca->certs[i].x);
    free(ca);
}

const struct id *cert_ca_group(const struct cert_ca *ca)
{
    return &ca->group;
}

const char *cert_ca_name(const struct cert_ca *ca)
{
    return ca->name;
}

size_t cert_ca_certs(const struct cert_ca *ca, const struct ca_cert **certs)
{
    *certs = ca->certs;
    return ca->count;
}
