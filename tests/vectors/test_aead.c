// link: peal_crypto
/* The two AEADs against published vectors, and each against a second implementation. */
#include "overlay/crypto/aead.h"
#include "tests/unit/cm.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

enum { TEXT_MAX = 128 };

static struct seal_worker *worker;

struct octets {
    uint8_t b[TEXT_MAX];
    size_t len;
};

static struct octets octets_of(const char *hex)
{
    struct octets o = {.len = strlen(hex) / 2};

    assert_true(o.len <= TEXT_MAX && hex_parse(o.b, o.len, hex));
    return o;
}

static const char sunscreen[] =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one "
    "tip for the future, sunscreen would be it.";

/* RFC 8439 2.8.2. */
static void chacha20_poly1305_matches_rfc_8439(void **state)
{
    const struct octets nonce = octets_of("070000004041424344454647"),
                        aad = octets_of("50515253c0c1c2c3c4c5c6c7"),
                        sealed = octets_of(
                            "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
                            "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
                            "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
                            "3ff4def08e4b7a9de576d26586cec64b6116"),
                        tag = octets_of("1ae10b594f09e26a7e902ecbd0600691");
    uint8_t text[sizeof sunscreen - 1], got[PACKET_TAG_LEN];
    struct secret key;

    for (int i = 0; i < 32; i++)
        key.b[i] = (uint8_t)(0x80 + i);
    memcpy(text, sunscreen, sizeof text);
    assert_int_equal(sealed.len, sizeof text);
    seal_raw(worker, SEAL_CHACHA20_POLY1305, &key, nonce.b, aad.b, aad.len, text, sizeof text, got);
    assert_memory_equal(text, sealed.b, sealed.len);
    assert_memory_equal(got, tag.b, sizeof got);
    assert_true(open_raw(worker, SEAL_CHACHA20_POLY1305, &key, nonce.b, aad.b, aad.len, text,
                         sizeof text, got));
    assert_memory_equal(text, sunscreen, sizeof text);
}

#define GCM_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define GCM_IV "cafebabefacedbaddecaf888"
#define GCM_TEXT                                                                                   \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"                             \
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define GCM_SEALED                                                                                 \
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"                             \
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"

/* McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, cases 13 to 16. */
static void aes_256_gcm_matches_the_submission_to_nist(void **state)
{
    static const struct {
        const char *key, *iv, *aad, *text, *sealed, *tag;
    } table[] = {
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "00000000000000000000000000000000",
         "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
        {GCM_KEY, GCM_IV, "", GCM_TEXT "1aafd255", GCM_SEALED "898015ad",
         "b094dac5d93471bdec1a502270e3cc6c"},
        {GCM_KEY, GCM_IV, "feedfacedeadbeeffeedfacedeadbeefabaddad2", GCM_TEXT, GCM_SEALED,
         "76fc6ece0f4e1768cddf8853bb2d551b"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct octets key = octets_of(table[i].key), iv = octets_of(table[i].iv),
                      aad = octets_of(table[i].aad), text = octets_of(table[i].text),
                      sealed = octets_of(table[i].sealed), tag = octets_of(table[i].tag),
                      work = text;
        uint8_t got[PACKET_TAG_LEN];
        struct secret secret;

        memcpy(secret.b, key.b, sizeof secret.b);
        seal_raw(worker, SEAL_AES_256_GCM, &secret, iv.b, aad.b, aad.len, work.b, work.len, got);
        assert_memory_equal(work.b, sealed.b, sealed.len);
        assert_memory_equal(got, tag.b, sizeof got);
        assert_true(open_raw(worker, SEAL_AES_256_GCM, &secret, iv.b, aad.b, aad.len, work.b,
                             work.len, got));
        assert_memory_equal(work.b, text.b, text.len);
    }
}

/* A case of every length with bytes that repeat from run to run. */
struct sample {
    struct secret key;
    uint8_t nonce[AEAD_NONCE_LEN], aad[64], text[TEXT_MAX];
    size_t aad_len, len;
};

static struct sample sample_of(size_t i)
{
    struct sample s = {.aad_len = i % 65, .len = i % (TEXT_MAX + 1)};
    uint8_t seed[crypto_generichash_BYTES];

    crypto_generichash(seed, sizeof seed, (const uint8_t *)&i, sizeof i, NULL, 0);
    memcpy(s.key.b, seed, sizeof s.key.b);
    for (size_t n = 0; n < sizeof s.text; n++)
        s.text[n] = (uint8_t)(seed[n % 32] + n);
    memcpy(s.aad, s.text + 7, sizeof s.aad);
    memcpy(s.nonce, s.text + 20, sizeof s.nonce);
    return s;
}

static void chacha20_poly1305_agrees_with_openssl(void **state)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    for (size_t i = 0; i < 600; i++) {
        struct sample s = sample_of(i);
        uint8_t theirs[TEXT_MAX + 16], their_tag[PACKET_TAG_LEN], tag[PACKET_TAG_LEN];
        int n;

        assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, s.key.b, s.nonce),
                         1);
        assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, s.aad, (int)s.aad_len), 1);
        assert_int_equal(EVP_EncryptUpdate(ctx, theirs, &n, s.text, (int)s.len), 1);
        assert_int_equal(EVP_EncryptFinal_ex(ctx, theirs, &n), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, their_tag), 1);
        seal_raw(worker, SEAL_CHACHA20_POLY1305, &s.key, s.nonce, s.aad, s.aad_len, s.text, s.len,
                 tag);
        assert_memory_equal(s.text, theirs, s.len);
        assert_memory_equal(tag, their_tag, sizeof tag);
    }
    EVP_CIPHER_CTX_free(ctx);
}

static void aes_256_gcm_agrees_with_libsodium(void **state)
{
    if (!crypto_aead_aes256gcm_is_available())
        skip(); /* libsodium's needs AES instructions */
    for (size_t i = 0; i < 600; i++) {
        struct sample s = sample_of(i);
        uint8_t theirs[TEXT_MAX], their_tag[PACKET_TAG_LEN], tag[PACKET_TAG_LEN];

        crypto_aead_aes256gcm_encrypt_detached(theirs, their_tag, NULL, s.text, s.len, s.aad,
                                               s.aad_len, NULL, s.nonce, s.key.b);
        seal_raw(worker, SEAL_AES_256_GCM, &s.key, s.nonce, s.aad, s.aad_len, s.text, s.len, tag);
        assert_memory_equal(s.text, theirs, s.len);
        assert_memory_equal(tag, their_tag, sizeof tag);
    }
}

/* One changed bit anywhere: in the key, nonce, associated data, text or tag. */
static void no_changed_bit_opens(void **state)
{
    static const enum seal_alg algorithms[] = {SEAL_CHACHA20_POLY1305, SEAL_AES_256_GCM};

    for (size_t a = 0; a < ARRAY_LEN(algorithms); a++) {
        struct {
            struct secret key;
            uint8_t nonce[AEAD_NONCE_LEN], aad[16], text[24], tag[PACKET_TAG_LEN];
        } whole = {.key = sample_of(1).key}, changed;
        static const uint8_t zero[sizeof whole.text];

        seal_raw(worker, algorithms[a], &whole.key, whole.nonce, whole.aad, sizeof whole.aad,
                 whole.text, sizeof whole.text, whole.tag);
        for (size_t bit = 0; bit < 8 * sizeof whole; bit++) {
            changed = whole;
            ((uint8_t *)&changed)[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(open_raw(worker, algorithms[a], &changed.key, changed.nonce, changed.aad,
                                  sizeof changed.aad, changed.text, sizeof changed.text,
                                  changed.tag));
            assert_memory_equal(changed.text, zero, sizeof zero); /* no plaintext leaks out */
        }
        assert_true(open_raw(worker, algorithms[a], &whole.key, whole.nonce, whole.aad,
                             sizeof whole.aad, whole.text, sizeof whole.text, whole.tag));
    }
}

static int setup(void **state)
{
    if (crypto_start() < 0)
        return -1;
    worker = seal_worker_new();
    return worker != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    seal_worker_free(worker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chacha20_poly1305_matches_rfc_8439),
        cmocka_unit_test(aes_256_gcm_matches_the_submission_to_nist),
        cmocka_unit_test(chacha20_poly1305_agrees_with_openssl),
        cmocka_unit_test(aes_256_gcm_agrees_with_libsodium),
        cmocka_unit_test(no_changed_bit_opens),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
