// link: peal_crypto
/* Signatures, key agreement, hashes and derivations against published vectors and other hands. */
#include "overlay/crypto/hmac.h"
#include "tests/unit/cm.h"

#include <string.h>

static void assert_hex(const void *bytes, size_t len, const char *hex)
{
    char text[2 * 128 + 1];

    assert_true(len <= 128);
    assert_string_equal(hex_text(bytes, len, text), hex);
}

static struct secret secret_of(const char *hex)
{
    struct secret s;

    assert_true(hex_parse(s.b, sizeof s.b, hex));
    return s;
}

/* 00 01 02 ... 1f */
static struct secret counting(void)
{
    struct secret s;

    for (size_t i = 0; i < sizeof s.b; i++)
        s.b[i] = (uint8_t)i;
    return s;
}

/* RFC 8032 7.1, tests 1 to 3. */
static void ed25519_matches_rfc_8032(void **state)
{
    static const struct {
        const char *seed, *public, *message, *signature;
    } table[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
         "cf9b46b"
         "d25bf5f0595bbe24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "\x72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d"
         "0f11d8c"
         "387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "\xaf\x82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f7609"
         "84dc659"
         "4a7c15e9716ed28dc027beceea1ec40a"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct secret seed = secret_of(table[i].seed);
        size_t len = strlen(table[i].message);
        uint8_t signature[SIGNATURE_LEN];
        struct sign_public pub;
        struct sign_secret sec;

        sign_keys(&pub, &sec, &seed);
        assert_hex(pub.b, sizeof pub.b, table[i].public);
        sign(signature, table[i].message, len, &sec);
        assert_hex(signature, sizeof signature, table[i].signature);
        assert_true(sign_verify(signature, table[i].message, len, &pub));
        for (size_t bit = 0; bit < 8 * SIGNATURE_LEN; bit++) {
            signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(sign_verify(signature, table[i].message, len, &pub));
            signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_false(sign_verify(signature, "another", 7, &pub));
    }
}

/* RFC 8032 5.1.7: S must be below the group's order, or each signature would have a twin. */
static void a_signature_has_no_twin(void **state)
{
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
                                      0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    struct secret seed = counting();
    uint8_t signature[SIGNATURE_LEN];
    struct sign_public pub;
    struct sign_secret sec;
    unsigned carry = 0;

    sign_keys(&pub, &sec, &seed);
    sign(signature, "message", 7, &sec);
    assert_true(sign_verify(signature, "message", 7, &pub));
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_false(sign_verify(signature, "message", 7, &pub));
}

/* With the neutral element as key, (R, S) = (neutral, 0) would sign everything. */
static void a_key_of_small_order_verifies_nothing(void **state)
{
    struct sign_public neutral = {{1}};
    uint8_t signature[SIGNATURE_LEN] = {1};
    struct dh_public out;

    assert_false(sign_verify(signature, "message", 7, &neutral));
    assert_false(sign_public_to_dh(&out, &neutral));
}

/* RFC 7748 6.1. */
static void x25519_matches_rfc_7748(void **state)
{
    struct secret alice =
                      secret_of("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
                  bob =
                      secret_of("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
                  shared;
    struct dh_secret alice_sec, bob_sec;
    struct dh_public alice_pub, bob_pub;

    dh_keys(&alice_pub, &alice_sec, &alice);
    dh_keys(&bob_pub, &bob_sec, &bob);
    assert_hex(&alice_pub, 32, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    assert_hex(&bob_pub, 32, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    assert_true(dh(&shared, &alice_sec, &bob_pub));
    assert_hex(&shared, 32, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_true(dh(&shared, &bob_sec, &alice_pub));
    assert_hex(&shared, 32, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

/* RFC 7748 5.2: the function applied to its own results. */
static void x25519_iterates_as_in_rfc_7748(void **state)
{
    struct dh_secret k = {{9}};
    struct dh_public u = {{9}};
    struct secret out;

    for (int i = 1; i <= 1000; i++) {
        assert_true(dh(&out, &k, &u));
        memcpy(u.b, k.b, sizeof u.b);
        memcpy(k.b, out.b, sizeof k.b);
        if (i == 1)
            assert_hex(&k, 32, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
    assert_hex(&k, 32, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

static void points_of_low_order_agree_on_nothing(void **state)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    static const struct secret zero;
    struct dh_secret sec;
    struct dh_public pub;
    struct secret seed = counting(), out;

    dh_keys(&pub, &sec, &seed);
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        memset(&out, 0xaa, sizeof out);
        assert_true(hex_parse(pub.b, sizeof pub.b, points[i]));
        assert_false(dh(&out, &sec, &pub));
        assert_memory_equal(&out, &zero, sizeof zero);
    }
}

/* The pair of libsodium's own test of its conversion; both halves must fit together. */
static void signing_keys_convert_to_agreement_keys(void **state)
{
    struct secret seed =
                      secret_of("421151a459faeade3d247115f94aedae42318124095afabe4d1451a559faedee"),
                  as_seed;
    struct sign_public pub;
    struct sign_secret sec;
    struct dh_secret dh_sec, again;
    struct dh_public dh_pub, from_secret;

    sign_keys(&pub, &sec, &seed);
    sign_secret_to_dh(&dh_sec, &sec);
    assert_true(sign_public_to_dh(&dh_pub, &pub));
    assert_hex(&dh_pub, 32, "f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50");
    assert_hex(&dh_sec, 32, "8052030376d47112be7f73ed7a019293dd12ad910b654455798b4667d73de166");
    memcpy(as_seed.b, dh_sec.b, sizeof as_seed.b);
    dh_keys(&from_secret, &again, &as_seed);
    assert_memory_equal(&from_secret, &dh_pub, sizeof dh_pub);
}

static void sha256_is_the_same_whole_and_in_parts(void **state)
{
    const struct bytes parts[] = {{"a", 1}, {NULL, 0}, {"bc", 2}};
    uint8_t whole[HASH_LEN], in_parts[HASH_LEN];
    struct id id = id_hash(parts, ARRAY_LEN(parts));

    sha256(whole, "abc", 3); /* FIPS 180-2 B.1 */
    assert_hex(whole, sizeof whole,
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_parts(in_parts, parts, ARRAY_LEN(parts));
    assert_memory_equal(whole, in_parts, sizeof whole);
    assert_memory_equal(id.b, whole, ID_LEN);
}

/* The tables from here on are Python's hashlib and hmac. */
static void macs_match_hashlib(void **state)
{
    static const struct {
        char fill;
        size_t len;
        const char *mac;
    } table[] = {
        {'q', 0, "3daf97bce7888fd59773c66bf647459c"},
        {'q', 1000, "90496843e9badeb7fd58db8578c014a6"},
    };
    struct secret key = counting();
    uint8_t mac[MAC_LEN];

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char message[1000];

        memset(message, table[i].fill, sizeof message);
        mac16(mac, &key, message, table[i].len);
        assert_hex(mac, sizeof mac, table[i].mac);
    }
    mac16(mac, &key, "abc", 3);
    assert_hex(mac, sizeof mac, "1a64be47e4729d951c302ee543f97cf3");
}

static void hmacs_match_pythons(void **state)
{
    const struct bytes message[] = {{"message", 7}}, split[] = {{"ab", 2}, {"", 0}, {"cdef", 4}};
    uint8_t key[128], out[HMAC_LEN];
    char longer[300];
    const struct bytes fills[] = {{longer, sizeof longer}};

    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    memset(longer, 'z', sizeof longer);
    hmac(out, NULL, 0, NULL, 0);
    assert_hex(out, sizeof out,
               "198cd2006f66ff83fbbd913f78aca2251caf4f19fe9475aade8cf2091b99a684"
               "66775177424f58286886cbae8229644cec747237d4b721735485e17372fdf59c");
    hmac(out, "key", 3, message, 1);
    assert_hex(out, sizeof out,
               "04e9ada930688cde75eec939782eed653073dd621d7643f813702976257cf037"
               "d325b50eedd417c01b6ad1f978fbe2980a93d27d854044e8626df6fa279d6680");
    hmac(out, key, 64, split, ARRAY_LEN(split));
    assert_hex(out, sizeof out,
               "a84f457d66b33bc5a391e406cc679426091c2de0a8b015a227abfc7f8e1190b7"
               "e7058910d1fc45e885d29243ad5d6ac46bdc881a2e9c3d42d28f3191aa3e24af");
    hmac(out, key, 128, fills, 1);
    assert_hex(out, sizeof out,
               "063f076e4d3ff6585cae49906e223fa697850e11a7560343f64e3db0e2eda4b0"
               "c2916121236d335f4e80b8c15a6ea334d7d73621e12a1b72ff2ba266ed05d5e4");
}

static void derivations_match_pythons(void **state)
{
    static const struct {
        const char *label, *context, *key;
    } table[] = {
        {"", "", "5f00fc95cfc2e3645f60393222f709d9e4c41314a55392eb5c5b7b04e33096fd"},
        {"peal test", "", "187eeef95a6792a4c698e1afdede90ac83ff830e7e2990dc257b52cc7cc6fea8"},
        {"peal test", "context",
         "ea19fecdf752ff0e8b631250f4bdf5f4aa52be8af2bf50247862cfa277aaceee"},
        {"peal ", "test", "bdf82b15c8ac3ac55325c43f7657d130351bd69c88c1b1dfc962643f44ab5fe5"},
    };
    struct secret key = counting(), out;
    char label[201];
    uint8_t context[256];

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        kdf(&out, &key, table[i].label, table[i].context, strlen(table[i].context));
        assert_hex(&out, sizeof out, table[i].key);
    }
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = '\0';
    for (size_t i = 0; i < sizeof context; i++)
        context[i] = (uint8_t)i;
    kdf(&out, &key, label, context, sizeof context);
    assert_hex(&out, sizeof out,
               "88b42cd08f752b9a3b212c574c5029aa3fa5cb252f75de9a015ab3da672c9053");
}

static void node_ids_follow_from_key_group_and_enrolment(void **state)
{
    struct secret bytes = counting();
    struct sign_public pub;
    struct id group, id;

    memcpy(pub.b, bytes.b, sizeof pub.b);
    memset(group.b, 0x11, sizeof group.b);
    id = node_id_certified(&pub, &group, 7);
    assert_hex(id.b, ID_LEN, "188ac5b0ab9e752542b160871c7465f2762c1aea");
    id = node_id_self(&pub);
    assert_hex(id.b, ID_LEN, "630dcd2966c4336691125448bbb25b4ff412a49c");
}

static void wiped_is_zero_and_equal_is_equal(void **state)
{
    static const struct sign_secret zero;
    struct sign_secret s;

    memset(&s, 0xaa, sizeof s);
    assert_false(equal_ct(&s, &zero, sizeof s));
    sign_secret_clear(&s);
    assert_true(equal_ct(&s, &zero, sizeof s));
    s.b[63] = 1;
    assert_false(equal_ct(&s, &zero, sizeof s));
    assert_true(equal_ct(&s, &zero, 63));
}

static int setup(void **state)
{
    return crypto_start();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ed25519_matches_rfc_8032),
        cmocka_unit_test(a_signature_has_no_twin),
        cmocka_unit_test(a_key_of_small_order_verifies_nothing),
        cmocka_unit_test(x25519_matches_rfc_7748),
        cmocka_unit_test(x25519_iterates_as_in_rfc_7748),
        cmocka_unit_test(points_of_low_order_agree_on_nothing),
        cmocka_unit_test(signing_keys_convert_to_agreement_keys),
        cmocka_unit_test(sha256_is_the_same_whole_and_in_parts),
        cmocka_unit_test(macs_match_hashlib),
        cmocka_unit_test(hmacs_match_pythons),
        cmocka_unit_test(derivations_match_pythons),
        cmocka_unit_test(node_ids_follow_from_key_group_and_enrolment),
        cmocka_unit_test(wiped_is_zero_and_equal_is_equal),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
