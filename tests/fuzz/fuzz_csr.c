// link: peal_crypto
/* Texts: requests, CA certificates and PEM as such. The first byte picks between PEM and bare DER.
 */
#include "overlay/crypto/cert.h"

#include <stdlib.h>
#include <string.h>

enum { DER_MAX = 2048, PEM_MAX = 4096 };

static void read_text(const char *pem, size_t len)
{
    char host[LABEL_MAX + 1];
    struct sign_public key;
    const char *why = NULL;
    struct cert_ca *ca;

    if (csr_read(pem, len, &key, host) == 0)
        CHECK(label_valid(host, strlen(host)));
    ca = cert_ca_new(pem, len, &why);
    CHECK((ca == NULL) == (why != NULL));
    if (ca != NULL)
        CHECK(label_valid(cert_ca_name(ca), strlen(cert_ca_name(ca))));
    cert_ca_free(ca);
}

/* The same bytes as DER, in either envelope: mutations then hit ASN.1 rather than base64. */
static void read_der(const uint8_t *der, size_t len)
{
    static const char *const labels[] = {"CERTIFICATE", "CERTIFICATE REQUEST", "X509 CRL"};
    uint8_t back[DER_MAX];
    char pem[PEM_MAX];

    if (len == 0 || len > DER_MAX)
        return;
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        int pem_len = der_to_pem(labels[i], der, len, pem, sizeof pem);

        CHECK(pem_len > 0);
        CHECK(pem_to_der(labels[i], pem, (size_t)pem_len, back, sizeof back) == (int)len &&
              memcmp(back, der, len) == 0);
        read_text(pem, (size_t)pem_len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    CHECK(crypto_start() == 0);
    if (data[0] == '-')
        read_text((const char *)data, len);
    else
        read_der(data + 1, len - 1);
    return 0;
}
