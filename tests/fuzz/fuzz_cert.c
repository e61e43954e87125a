// link: peal_crypto
/* Member certificates: whatever is read must be within the profile, and nothing forged verifies. */
#include "tests/unit/forge.h"

enum { GROUP = 0x11 };

static struct cert_ca *make_ca(void)
{
    char names[128], pem[FORGE_PEM_SIZE];
    EVP_PKEY *key = forge_key(1);
    struct forge f = forge_ca(key, "ring", names, sizeof names, GROUP);
    size_t len = forge_pem(&f, pem, sizeof pem);
    const char *why;
    struct cert_ca *ca = cert_ca_new(pem, len, &why);

    EVP_PKEY_free(key);
    CHECK(ca != NULL);
    return ca;
}

/* The one serial that the CA signed; the corpus holds that certificate. */
static bool is_genuine(const struct cert *c)
{
    return c->serial_len == 16 && memcmp(c->serial, "\x7a\x11\x22\x33\x44\x55", 6) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct cert_ca *ca;
    struct cert read, verified;
    enum cert_verdict verdict;

    if (ca == NULL)
        CHECK(crypto_start() == 0 && (ca = make_ca()) != NULL);
    verdict = cert_read(data, len, &read);
    if (verdict != CERT_MALFORMED) {
        CHECK(len <= CERT_DER_MAX && label_valid(read.user, strlen(read.user)));
        CHECK(read.host[0] == '\0' || label_valid(read.host, strlen(read.host)));
        CHECK(read.ipv4.family == 0 || read.ipv4.family == 4);
        CHECK(read.serial_len >= 1 && read.serial_len <= CERT_SERIAL_MAX && read.serial[0] != 0);
    }
    verdict = cert_verify(ca, NULL, data, len, 0, false, &verified);
    CHECK(memcmp(&read, &verified, sizeof read) == 0);
    CHECK(verdict != CERT_OK || is_genuine(&verified));
    return 0;
}
