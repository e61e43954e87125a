#include "overlay/crypto/x509.h"

#include <openssl/err.h>
#include <string.h>

enum { CSR_DER_MAX = 1024 };

static const char csr_label[] = "CERTIFICATE REQUEST";

/* Fills and signs; false only when out of memory. */
static bool fill(X509_REQ *req, EVP_PKEY *key, const char *hostname)
{
    X509_NAME *subject = X509_REQ_get_subject_name(req);

    return X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
           X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC,
                                      (const unsigned char *)hostname, -1, -1, 0) == 1 &&
           X509_REQ_set_pubkey(req, key) == 1 && X509_REQ_sign(req, key, NULL) > 0;
}

int csr_make(const struct sign_secret *key, const char *hostname, char *pem, size_t size)
{
    unsigned char *der = NULL;
    X509_REQ *req = NULL;
    EVP_PKEY *pkey = NULL;
    int len = -ERR_NOMEM;

    if (size > 0)
        pem[0] = '\0';
    if (!label_valid(hostname, strnlen(hostname, LABEL_MAX + 1)))
        return -ERR_FORMAT;
    pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->b, 32); /* the seed */
    req = X509_REQ_new();
    if (pkey == NULL || req == NULL || !fill(req, pkey, hostname))
        goto out;
    len = i2d_X509_REQ(req, &der);
    len = len > 0 ? der_to_pem(csr_label, der, (size_t)len, pem, size) : -ERR_NOMEM;
out:
    OPENSSL_free(der);
    X509_REQ_free(req);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return len < 0 ? len : 0;
}

static int read_request(X509_REQ *req, struct sign_public *key, char hostname[LABEL_MAX + 1])
{
    char name[LABEL_MAX + 1];
    const X509_ALGOR *alg;

    X509_REQ_get0_signature(req, NULL, &alg);
    if (X509_REQ_get_version(req) != X509_REQ_VERSION_1 || !x509_is_ed25519(alg) ||
        !x509_label(X509_REQ_get_subject_name(req), name) ||
        !x509_key(X509_REQ_get0_pubkey(req), key))
        return -ERR_FORMAT;
    if (X509_REQ_verify(req, X509_REQ_get0_pubkey(req)) != 1)
        return -ERR_CRYPTO;
    return label_normalize(hostname, LABEL_MAX + 1, name, strlen(name)) ? 0 : -ERR_FORMAT;
}

int csr_read(const char *pem, size_t len, struct sign_public *key, char hostname[LABEL_MAX + 1])
{
    uint8_t der[CSR_DER_MAX];
    const uint8_t *p = der;
    int err = -ERR_FORMAT;
    X509_REQ *req;
    int der_len;

    memset(key, 0, sizeof *key);
    hostname[0] = '\0';
    der_len = pem_to_der(csr_label, pem, len, der, sizeof der);
    if (der_len < 0)
        return -ERR_FORMAT;
    req = d2i_X509_REQ(NULL, &p, der_len);
    if (req != NULL &&
        x509_is_der_of((const ASN1_VALUE *)req, ASN1_ITEM_rptr(X509_REQ), der, (size_t)der_len))
        err = read_request(req, key, hostname);
    if (err < 0)
        memset(key, 0, sizeof *key);
    X509_REQ_free(req);
    ERR_clear_error();
    return err;
}
