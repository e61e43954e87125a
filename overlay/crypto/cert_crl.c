#include "overlay/crypto/x509.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* Room for CRL_ENTRIES_MAX entries as our CA writes them: serial, date, at most a reason. */
#define CRL_DER_MAX ((size_t)CRL_ENTRIES_MAX * 64 + 4096)

struct serial {
    uint8_t len;
    uint8_t b[CERT_SERIAL_MAX]; /* zero after len */
};

struct cert_crl {
    uint64_t number;
    int64_t next_update_s;
    size_t count;
    struct serial serials[]; /* sorted */
};

static int serial_cmp(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct serial));
}

static X509_CRL *parse(const uint8_t *der, size_t len)
{
    const uint8_t *p = der;
    const X509_ALGOR *alg;
    X509_CRL *x;

    if (len > CRL_DER_MAX)
        return NULL;
    x = d2i_X509_CRL(NULL, &p, (long)len);
    if (x == NULL)
        return NULL;
    X509_CRL_get0_signature(x, NULL, &alg);
    if (x509_is_der_of((const ASN1_VALUE *)x, ASN1_ITEM_rptr(X509_CRL), der, len) &&
        X509_CRL_get_version(x) == X509_CRL_VERSION_2 && x509_is_ed25519(alg))
        return x;
    X509_CRL_free(x);
    return NULL;
}

static bool signed_by(const struct cert_ca *ca, X509_CRL *x)
{
    const struct ca_cert *certs;
    size_t count = cert_ca_certs(ca, &certs);

    for (size_t i = 0; i < count; i++)
        if (certs[i].ended_s == 0 &&
            X509_NAME_cmp(X509_CRL_get_issuer(x), X509_get_subject_name(certs[i].x)) == 0 &&
            X509_CRL_verify(x, X509_get0_pubkey(certs[i].x)) == 1)
            return true;
    return false;
}

/* No delta, no partial list: a critical extension would change what the list means (RFC 5280 5.2).
 */
static bool extensions_valid(const X509_CRL *x)
{
    for (int i = 0; i < X509_CRL_get_ext_count(x); i++)
        if (X509_EXTENSION_get_critical(X509_CRL_get_ext(x, i)))
            return false;
    return true;
}

static bool read_number(const X509_CRL *x, uint64_t *out)
{
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(x, NID_crl_number, NULL, NULL);
    bool ok = number != NULL && ASN1_INTEGER_get_uint64(out, number) == 1;

    ASN1_INTEGER_free(number);
    return ok;
}

static bool read_entries(X509_CRL *x, struct cert_crl *crl)
{
    STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(x);

    for (size_t i = 0; i < crl->count; i++) {
        const X509_REVOKED *entry = sk_X509_REVOKED_value(revoked, (int)i);
        struct serial *s = &crl->serials[i];

        for (int e = 0; e < X509_REVOKED_get_ext_count(entry); e++)
            if (X509_EXTENSION_get_critical(X509_REVOKED_get_ext(entry, e)))
                return false;
        if (!x509_serial(X509_REVOKED_get0_serialNumber(entry), s->b, &s->len))
            return false;
    }
    qsort(crl->serials, crl->count, sizeof crl->serials[0], serial_cmp);
    return true;
}

/* Reads a verified list into a new object. */
static struct cert_crl *read_list(X509_CRL *x, const char **why)
{
    STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(x);
    int count = revoked != NULL ? sk_X509_REVOKED_num(revoked) : 0;
    struct cert_crl *crl;

    *why = "CRL with too many entries";
    if (count > CRL_ENTRIES_MAX)
        return NULL;
    *why = "out of memory";
    crl = calloc(1, sizeof *crl + (size_t)count * sizeof crl->serials[0]);
    if (crl == NULL)
        return NULL;
    crl->count = (size_t)count;
    *why = NULL;
    if (!extensions_valid(x) || !read_entries(x, crl))
        *why = "CRL with a critical extension or a malformed entry";
    else if (!read_number(x, &crl->number))
        *why = "CRL without a number of at most 64 bits";
    else if (!x509_time(X509_CRL_get0_nextUpdate(x), &crl->next_update_s))
        *why = "CRL without a date of its next update";
    if (*why == NULL)
        return crl;
    free(crl);
    return NULL;
}

struct cert_crl *cert_crl_new(const struct cert_ca *ca, const uint8_t *der, size_t len,
                              const char **why)
{
    X509_CRL *x = parse(der, len);
    struct cert_crl *crl = NULL;

    if (x == NULL)
        *why = "not a v2 CRL signed with Ed25519";
    else if (!signed_by(ca, x))
        *why = "CRL that this group's CA did not sign";
    else
        crl = read_list(x, why);
    X509_CRL_free(x);
    ERR_clear_error();
    return crl;
}

void cert_crl_free(struct cert_crl *crl)
{
    free(crl);
}

uint64_t cert_crl_number(const struct cert_crl *crl)
{
    return crl->number;
}

size_t cert_crl_entries(const struct cert_crl *crl)
{
    return crl->count;
}

int64_t cert_crl_next_update_s(const struct cert_crl *crl)
{
    return crl->next_update_s;
}

bool cert_crl_lists(const struct cert_crl *crl, const uint8_t *serial, size_t serial_len)
{
    struct serial key = {.len = (uint8_t)serial_len};

    if (serial_len == 0 || serial_len > CERT_SERIAL_MAX)
        return false;
    memcpy(key.b, serial, serial_len);
    return bsearch(&key, crl->serials, crl->count, sizeof key, serial_cmp) != NULL;
}
