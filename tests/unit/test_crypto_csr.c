// link: peal_crypto
/* Textual encodings and certificate requests. */
#include "tests/unit/cm.h"
#include "tests/unit/forge.h"

static void pem_goes_there_and_back_at_every_length(void **state)
{
    uint8_t der[200], back[200];
    char pem[512];

    for (size_t i = 0; i < sizeof der; i++)
        der[i] = (uint8_t)(i * 37);
    for (size_t len = 1; len <= sizeof der; len++) {
        int pem_len = der_to_pem("X509 CRL", der, len, pem, sizeof pem);

        assert_int_equal(pem_len, strlen(pem));
        for (char *line = strtok(strdupa(pem), "\n"); line != NULL; line = strtok(NULL, "\n"))
            assert_true(strlen(line) <= 64);
        assert_int_equal(pem_to_der("X509 CRL", pem, (size_t)pem_len, back, sizeof back), len);
        assert_memory_equal(back, der, len);
        assert_int_equal(pem_to_der("X509 CRL", pem, (size_t)pem_len, back, len - 1), -ERR_RANGE);
        assert_int_equal(der_to_pem("X509 CRL", der, len, pem, (size_t)pem_len), -ERR_RANGE);
        assert_int_equal(der_to_pem("X509 CRL", der, len, pem, (size_t)pem_len + 1), pem_len);
    }
    assert_int_equal(der_to_pem("X509 CRL", der, 1, pem, 0), -ERR_RANGE);
}

static void text_around_an_object_is_passed_over(void **state)
{
#define BEGIN "-----BEGIN CERTIFICATE-----\n"
#define END "-----END CERTIFICATE-----\n"
    static const struct {
        const char *pem;
        int len;
    } table[] = {
        {BEGIN "AQID\n" END, 3},
        {"Subject: x\n" BEGIN "AQID\n" END "trailer", 3},
        {BEGIN "AQ\r\nID\r\n" END, 3},
        {BEGIN "AQI=\n" END, 2},
        {"", -ERR_FORMAT},
        {BEGIN, -ERR_FORMAT},
        {BEGIN "AQID\n", -ERR_FORMAT},
        {BEGIN END, -ERR_FORMAT},
        {BEGIN "AQI\n" END, -ERR_FORMAT},
        {BEGIN "AQ!D\n" END, -ERR_FORMAT},
        {BEGIN "Proc-Type: 4,ENCRYPTED\n\nAQID\n" END, -ERR_FORMAT},
        {BEGIN "AQID\n" END BEGIN "AQID\n" END, -ERR_FORMAT},
        {BEGIN "AQID\n-----END X509 CRL-----\n", -ERR_FORMAT},
        {"-----BEGIN X509 CRL-----\nAQID\n-----END X509 CRL-----\n", -ERR_FORMAT},
        {"-----BEGIN CERTIFICATE----\nAQID\n" END, -ERR_FORMAT},
    };
    uint8_t der[64];

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(
            pem_to_der("CERTIFICATE", table[i].pem, strlen(table[i].pem), der, sizeof der),
            table[i].len);
}

static struct sign_public keys_of(struct sign_secret *sec, uint8_t fill)
{
    struct sign_public pub;
    struct secret seed;

    memset(seed.b, fill, sizeof seed.b);
    sign_keys(&pub, sec, &seed);
    return pub;
}

static void a_request_carries_key_and_host(void **state)
{
    struct sign_secret sec;
    struct sign_public pub = keys_of(&sec, 5), got;
    char pem[512], host[LABEL_MAX + 1], longest[LABEL_MAX + 2];

    assert_int_equal(csr_make(&sec, "Alice-WS", pem, sizeof pem), 0);
    assert_int_equal(csr_read(pem, strlen(pem), &got, host), 0);
    assert_memory_equal(&got, &pub, sizeof pub);
    assert_string_equal(host, "alice-ws");
    memset(longest, 'a', sizeof longest);
    longest[LABEL_MAX] = '\0';
    assert_int_equal(csr_make(&sec, longest, pem, sizeof pem), 0);
    assert_int_equal(csr_read(pem, strlen(pem), &got, host), 0);
    assert_string_equal(host, longest);
}

static void host_names_that_are_no_labels_are_refused(void **state)
{
    static const char *const table[] = {
        "",
        "a.b",
        "-a",
        "a_b",
        "a b",
        "caf\xc3\xa9",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct sign_secret sec;
    char pem[512];

    keys_of(&sec, 5);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(csr_make(&sec, table[i], pem, sizeof pem), -ERR_FORMAT);
    assert_int_equal(csr_make(&sec, "a", pem, 100), -ERR_RANGE);
}

/* A request by another hand, to be wrong in ways that csr_make is not. */
static int read_request(EVP_PKEY *key, EVP_PKEY *signer, const EVP_MD *digest, const char *name,
                        bool two_names)
{
    char pem[2048], host[LABEL_MAX + 1];
    X509_REQ *req = X509_REQ_new();
    unsigned char *der = NULL;
    struct sign_public got;
    int len;

    forge_name(X509_REQ_get_subject_name(req), name);
    if (two_names)
        forge_name(X509_REQ_get_subject_name(req), name);
    X509_REQ_set_pubkey(req, key);
    assert_true(X509_REQ_sign(req, signer, digest) > 0);
    len = i2d_X509_REQ(req, &der);
    len = der_to_pem("CERTIFICATE REQUEST", der, (size_t)len, pem, sizeof pem);
    assert_true(len > 0);
    OPENSSL_free(der);
    X509_REQ_free(req);
    return csr_read(pem, (size_t)len, &got, host);
}

static void requests_with_other_keys_names_or_signatures_are_refused(void **state)
{
    EVP_PKEY *key = forge_key(5), *other = forge_key(6), *p256 = EVP_EC_gen("P-256");

    assert_int_equal(read_request(key, key, NULL, "host", false), 0);
    assert_int_equal(read_request(key, other, NULL, "host", false), -ERR_CRYPTO);
    assert_int_equal(read_request(key, key, NULL, "host", true), -ERR_FORMAT);
    assert_int_equal(read_request(key, key, NULL, "ho_st", false), -ERR_FORMAT);
    assert_int_equal(read_request(p256, p256, EVP_sha256(), "host", false), -ERR_FORMAT);
    assert_int_equal(read_request(key, p256, EVP_sha256(), "host", false), -ERR_FORMAT);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    EVP_PKEY_free(p256);
}

static void every_flipped_bit_and_truncation_is_refused(void **state)
{
    struct sign_public got, zero = {{0}};
    struct sign_secret sec;
    char pem[512], host[LABEL_MAX + 1];
    uint8_t der[512];
    int len;

    keys_of(&sec, 5);
    assert_int_equal(csr_make(&sec, "host", pem, sizeof pem), 0);
    len = pem_to_der("CERTIFICATE REQUEST", pem, strlen(pem), der, sizeof der);
    assert_true(len > 0);
    for (int bit = 0; bit < 8 * len; bit++) {
        der[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(der_to_pem("CERTIFICATE REQUEST", der, (size_t)len, pem, sizeof pem) > 0);
        assert_true(csr_read(pem, strlen(pem), &got, host) < 0);
        assert_memory_equal(&got, &zero, sizeof zero);
        assert_string_equal(host, "");
        der[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (int cut = 1; cut < len; cut++) {
        assert_true(der_to_pem("CERTIFICATE REQUEST", der, (size_t)cut, pem, sizeof pem) > 0);
        assert_int_equal(csr_read(pem, strlen(pem), &got, host), -ERR_FORMAT);
    }
    der[len] = 0;
    assert_true(der_to_pem("CERTIFICATE REQUEST", der, (size_t)len + 1, pem, sizeof pem) > 0);
    assert_int_equal(csr_read(pem, strlen(pem), &got, host), -ERR_FORMAT);
}

static int setup(void **state)
{
    return crypto_start();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pem_goes_there_and_back_at_every_length),
        cmocka_unit_test(text_around_an_object_is_passed_over),
        cmocka_unit_test(a_request_carries_key_and_host),
        cmocka_unit_test(host_names_that_are_no_labels_are_refused),
        cmocka_unit_test(requests_with_other_keys_names_or_signatures_are_refused),
        cmocka_unit_test(every_flipped_bit_and_truncation_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
