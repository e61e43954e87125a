// link: peal_crypto
/* Removal lists behind the signature, which no fuzzer would get past. */
#include "overlay/crypto/cert_crl.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    X509_CRL *x = parse(data, len);
    const char *why = NULL;
    struct cert_crl *crl;

    if (x == NULL) {
        ERR_clear_error();
        return 0;
    }
    crl = read_list(x, &why);
    CHECK((crl == NULL) == (why != NULL));
    if (crl != NULL)
        for (size_t i = 0; i < cert_crl_entries(crl); i++)
            CHECK(cert_crl_lists(crl, crl->serials[i].b, crl->serials[i].len));
    cert_crl_free(crl);
    X509_CRL_free(x);
    ERR_clear_error();
    return 0;
}
