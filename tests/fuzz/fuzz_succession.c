// link: peal_crypto
/*
 * What members do with words that their CA has signed, whatever the words are: removals and
 * successions. An input is a message without its group and signature, which are put in: a fuzzer
 * would not guess the one, and cannot make the other. However it reads, somebody is trusted
 * afterwards, and what is trusted can be written to disk and read again.
 */
#include "overlay/crypto/removed.h"
#include "tests/unit/forge.h"

#include <stdlib.h>

enum { GROUP = 0x11, GROUP_AT = 1 };

static EVP_PKEY *key;
static char pem[FORGE_PEM_SIZE];
static size_t pem_len;

static void make_ca(void)
{
    char names[128];

    CHECK(crypto_start() == 0);
    key = forge_key(1);
    struct forge f = forge_ca(key, "ring", names, sizeof names, GROUP);
    pem_len = forge_pem(&f, pem, sizeof pem);
}

static struct cert_ca *load(const char *text, size_t len)
{
    const char *why;
    struct cert_ca *ca = cert_ca_new(text, len, &why);

    CHECK(ca != NULL);
    return ca;
}

static void trust(const struct removed *r)
{
    struct cert_ca *ca = load(pem, pem_len), *again;
    char *text;

    removed_trust(r, ca);
    CHECK(cert_ca_trusted(ca) >= 1);
    text = cert_ca_pem(ca);
    CHECK(text != NULL);
    again = load(text, strlen(text));
    CHECK(id_eq(cert_ca_group(again), cert_ca_group(ca)));
    cert_ca_free(again);
    free(text);
    cert_ca_free(ca);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t message[REMOVAL_MAX + 1];
    struct cert_ca *ca;
    struct removed *r;
    size_t len;

    if (key == NULL)
        make_ca();
    if (size < GROUP_AT || size > sizeof message - ID_LEN - SIGNATURE_LEN)
        return 0;
    memcpy(message, data, GROUP_AT);
    memset(message + GROUP_AT, GROUP, ID_LEN);
    memcpy(message + GROUP_AT + ID_LEN, data + GROUP_AT, size - GROUP_AT);
    len = forge_sign(key, message, size + ID_LEN);
    ca = load(pem, pem_len);
    r = removed_new();
    CHECK(r != NULL);
    if (removed_add(r, ca, message, len) == REMOVED_NEW) {
        CHECK(removed_count(r) == 1 && removed_number(r) > 0);
        CHECK(removed_after(r, 0)->len == len);
        CHECK(removed_add(r, ca, message, len) == REMOVED_KNOWN);
        trust(r);
    }
    message[len - 1] ^= 1;
    CHECK(removed_add(r, ca, message, len) == REMOVED_BAD);
    removed_free(r);
    cert_ca_free(ca);
    return 0;
}
