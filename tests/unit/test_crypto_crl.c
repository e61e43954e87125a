// link: peal_crypto
/* Lists of removed members: what is on one, and which lists are refused. */
#include "tests/unit/cm.h"
#include "tests/unit/forge.h"

#include <stdlib.h>

enum { GROUP = 0x11, NOON = FORGE_NOT_BEFORE + 86400, NEXT_UPDATE = FORGE_NOT_BEFORE + 7200 };

static EVP_PKEY *ca_key, *other_key, *member_key;
static struct cert_ca *ca;

/* What a list is made of. */
struct list {
    const char *issuer;
    long version;
    bool next_update;
    const char *number; /* decimal; NULL: none */
    size_t entries;     /* serials 1, 2, ... in falling order */
    int extra_nid;
    bool extra_critical, entry_critical;
    EVP_PKEY *signer;
};

static struct list list_of(size_t entries)
{
    return (struct list){.issuer = "ring",
                         .version = X509_CRL_VERSION_2,
                         .next_update = true,
                         .number = "42",
                         .entries = entries,
                         .signer = ca_key};
}

static void add_entry(X509_CRL *x, long serial, bool critical)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *date = ASN1_TIME_set(NULL, FORGE_NOT_BEFORE);
    ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();

    ASN1_INTEGER_set(number, serial);
    ASN1_ENUMERATED_set(reason, CRL_REASON_CESSATION_OF_OPERATION);
    X509_REVOKED_set_serialNumber(entry, number);
    X509_REVOKED_set_revocationDate(entry, date);
    if (critical)
        X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 1, 0);
    assert_int_equal(X509_CRL_add0_revoked(x, entry), 1);
    ASN1_ENUMERATED_free(reason);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(date);
}

static void add_number(X509_CRL *x, const char *decimal)
{
    ASN1_INTEGER *number = s2i_ASN1_INTEGER(NULL, decimal);

    assert_non_null(number);
    assert_int_equal(X509_CRL_add1_ext_i2d(x, NID_crl_number, number, 0, X509V3_ADD_APPEND), 1);
    ASN1_INTEGER_free(number);
}

/* An extension whose value is the INTEGER 1, whatever its type says. */
static void add_extension(X509_CRL *x, int nid, bool critical)
{
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext;

    ASN1_OCTET_STRING_set(value, (const uint8_t *)"\2\1\1", 3);
    ext = X509_EXTENSION_create_by_NID(NULL, nid, critical, value);
    assert_int_equal(X509_CRL_add_ext(x, ext, -1), 1);
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);
}

static size_t encode(const struct list *l, uint8_t **der)
{
    X509_CRL *x = X509_CRL_new();
    ASN1_TIME *now = ASN1_TIME_set(NULL, FORGE_NOT_BEFORE),
              *next = ASN1_TIME_set(NULL, NEXT_UPDATE);
    X509_NAME *issuer = X509_NAME_new();
    int len;

    forge_name(issuer, l->issuer);
    X509_CRL_set_version(x, l->version);
    X509_CRL_set_issuer_name(x, issuer);
    X509_CRL_set1_lastUpdate(x, now);
    if (l->next_update)
        X509_CRL_set1_nextUpdate(x, next);
    if (l->number != NULL)
        add_number(x, l->number);
    if (l->extra_nid != 0)
        add_extension(x, l->extra_nid, l->extra_critical);
    for (size_t i = l->entries; i > 0; i--)
        add_entry(x, (long)i, l->entry_critical);
    assert_true(X509_CRL_sign(x, l->signer, NULL) > 0);
    *der = NULL;
    len = i2d_X509_CRL(x, der);
    assert_true(len > 0);
    X509_NAME_free(issuer);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    X509_CRL_free(x);
    return (size_t)len;
}

static struct cert_crl *crl_of(const struct list *l, const char **why)
{
    uint8_t *der;
    size_t len = encode(l, &der);
    struct cert_crl *crl = cert_crl_new(ca, der, len, why);

    OPENSSL_free(der);
    return crl;
}

static void a_list_names_its_serials_and_no_others(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 3, 127, 200, 3000};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct list l = list_of(sizes[i]);
        const char *why = "unset";
        struct cert_crl *crl = crl_of(&l, &why);

        assert_non_null(crl);
        assert_null(why);
        assert_int_equal(cert_crl_number(crl), 42);
        assert_int_equal(cert_crl_entries(crl), sizes[i]);
        assert_int_equal(cert_crl_next_update_s(crl), NEXT_UPDATE);
        for (size_t serial = 1; serial <= sizes[i] + 1; serial++) {
            uint8_t bytes[2] = {(uint8_t)(serial >> 8), (uint8_t)serial};
            size_t len = serial > 255 ? 2 : 1;

            assert_int_equal(cert_crl_lists(crl, bytes + 2 - len, len), serial <= sizes[i]);
        }
        assert_false(cert_crl_lists(crl, (const uint8_t *)"\0\1", 2)); /* not how 1 is written */
        assert_false(cert_crl_lists(crl, NULL, 0));
        assert_false(cert_crl_lists(crl, (const uint8_t *)"123456789012345678901", 21));
        cert_crl_free(crl);
    }
}

static void lists_outside_the_profile_are_refused(void **state)
{
    struct list table[16], *l = table;
    size_t good;

    *l++ = list_of(2);
    *l = list_of(2), l++->extra_nid = NID_delta_crl; /* unusual, but not critical */
    *l = list_of(2), l++->number = "18446744073709551615";
    good = (size_t)(l - table);
    *l = list_of(2), l++->issuer = "other";
    *l = list_of(2), l++->signer = other_key;
    *l = list_of(2), l++->version = X509_CRL_VERSION_1;
    *l = list_of(2), l++->next_update = false;
    *l = list_of(2), l++->number = NULL;
    *l = list_of(2), l++->number = "18446744073709551616";
    *l = list_of(2), l++->number = "-1";
    *l = list_of(2), l->extra_nid = NID_crl_number, l++->extra_critical = false;
    *l = list_of(2), l->extra_nid = NID_delta_crl, l++->extra_critical = true;
    *l = list_of(2), l->extra_nid = NID_issuing_distribution_point, l++->extra_critical = true;
    *l = list_of(2), l++->entry_critical = true;
    for (size_t i = 0; i < (size_t)(l - table); i++) {
        const char *why = NULL;
        struct cert_crl *crl = crl_of(&table[i], &why);

        assert_int_equal(crl != NULL, i < good);
        assert_int_equal(why == NULL, i < good);
        cert_crl_free(crl);
    }
}

static void every_flipped_bit_and_truncation_is_refused(void **state)
{
    struct list l = list_of(2);
    const char *why;
    uint8_t *der;
    size_t len = encode(&l, &der);

    for (size_t bit = 0; bit < 8 * len; bit++) {
        der[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_null(cert_crl_new(ca, der, len, &why));
        der[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < len; cut++)
        assert_null(cert_crl_new(ca, der, cut, &why));
    OPENSSL_free(der);
}

static void trailing_bytes_are_refused(void **state)
{
    struct list l = list_of(1);
    uint8_t *der, longer[1024] = {0};
    const char *why;
    size_t len = encode(&l, &der);

    assert_true(len < sizeof longer);
    memcpy(longer, der, len);
    assert_null(cert_crl_new(ca, longer, len + 1, &why));
    OPENSSL_free(der);
}

static void a_revoked_certificate_is_refused_whatever_its_dates(void **state)
{
    struct list l = list_of(3);
    const char *why;
    struct cert_crl *crl = crl_of(&l, &why);
    struct forge f;
    struct cert cert;
    char names[512];

    forge_member_names(names, sizeof names, member_key, GROUP, 7, "");
    f = forge_member(member_key, ca_key, "ring", names);
    for (int serial = 1; serial <= 4; serial++) {
        char text[3] = {'0', (char)('0' + serial), '\0'};
        enum cert_verdict wanted = serial <= 3 ? CERT_REVOKED : CERT_OK;
        struct forge_der der;

        f.serial = text;
        der = forge_der(&f);
        assert_int_equal(cert_verify(ca, crl, der.b, der.len, NOON, true, &cert), wanted);
        assert_int_equal(cert_verify(ca, crl, der.b, der.len, 0, false, &cert), wanted);
        assert_int_equal(cert_verify(ca, NULL, der.b, der.len, NOON, true, &cert), CERT_OK);
        assert_int_equal(cert_verify(ca, crl, der.b, der.len, INT64_C(1) << 33, true, &cert),
                         serial <= 3 ? CERT_REVOKED : CERT_EXPIRED);
    }
    cert_crl_free(crl);
}

static int setup(void **state)
{
    char names[128], pem[FORGE_PEM_SIZE];
    struct forge f;
    const char *why;

    ca_key = forge_key(1);
    other_key = forge_key(2);
    member_key = forge_key(3);
    f = forge_ca(ca_key, "ring", names, sizeof names, GROUP);
    ca = cert_ca_new(pem, forge_pem(&f, pem, sizeof pem), &why);
    return ca != NULL ? crypto_start() : -1;
}

static int teardown(void **state)
{
    cert_ca_free(ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(other_key);
    EVP_PKEY_free(member_key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_names_its_serials_and_no_others),
        cmocka_unit_test(lists_outside_the_profile_are_refused),
        cmocka_unit_test(every_flipped_bit_and_truncation_is_refused),
        cmocka_unit_test(trailing_bytes_are_refused),
        cmocka_unit_test(a_revoked_certificate_is_refused_whatever_its_dates),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
