// link: peal_crypto
/* The certificate profile: what it wants, and everything near it that it refuses. */
#include "tests/unit/cm.h"
#include "tests/unit/forge.h"

enum { GROUP = 0x11, OTHER_GROUP = 0x22, NOON = FORGE_NOT_BEFORE + 86400 };

/* Keys and the group's CA, made once; names as openssl.cnf writes them. */
static struct world {
    EVP_PKEY *ca_key, *other_key, *member_key;
    char ca_names[128], member_names[1024];
    struct forge ca_forge, member;
    struct cert_ca *ca;
} world;

static struct cert_ca *ca_of(const struct forge *f, const char **why)
{
    char pem[FORGE_PEM_SIZE];

    return cert_ca_new(pem, forge_pem(f, pem, sizeof pem), why);
}

static enum cert_verdict verdict_of(const struct forge *f, struct cert *out)
{
    struct forge_der der = forge_der(f);

    return cert_verify(world.ca, NULL, der.b, der.len, NOON, true, out);
}

static void a_right_certificate_says_all_it_says(void **state)
{
    struct sign_public pub = forge_public(world.member_key);
    struct forge f = world.member;
    struct forge_der der;
    struct cert cert, read;
    char names[1024];
    uint8_t hash[HASH_LEN];
    struct id site;

    forge_member_names(names, sizeof names, world.member_key, GROUP, 7,
                       ",URI:peal:host:Alice-WS,URI:peal:ipv4:10.77.0.9"
                       ",URI:peal:site:abababababababababababababababababababab"
                       ",URI:peal:role:router,URI:peal:role:gateway");
    f.names = names;
    der = forge_der(&f);
    assert_int_equal(cert_verify(world.ca, NULL, der.b, der.len, NOON, true, &cert), CERT_OK);
    assert_int_equal(cert.enrolment, 7);
    assert_memory_equal(&cert.key, &pub, sizeof pub);
    assert_string_equal(cert.user, "alice");
    assert_string_equal(cert.host, "alice-ws");
    assert_int_equal(addr_to_v4(&cert.ipv4), 0x0a4d0009);
    memset(site.b, 0xab, sizeof site.b);
    assert_true(id_eq(&cert.site, &site));
    assert_true(id_eq(&cert.group, cert_ca_group(world.ca)));
    assert_int_equal(cert.not_before_s, FORGE_NOT_BEFORE);
    assert_int_equal(cert.not_after_s, FORGE_NOT_AFTER);
    assert_int_equal(cert.serial_len, 16);
    assert_memory_equal(cert.serial, "\x7a\x11\x22\x33", 4);
    sha256(hash, der.b, der.len);
    assert_memory_equal(cert.hash, hash, sizeof hash);
    assert_int_equal(cert_read(der.b, der.len, &read), CERT_OK);
    assert_memory_equal(read.hash, cert.hash, sizeof cert.hash);
    assert_true(id_eq(&read.node, &cert.node));
    assert_string_equal(read.user, cert.user);
    assert_string_equal(read.host, cert.host);
    assert_true(addr_eq(&read.ipv4, &cert.ipv4));
}

static void optional_names_may_be_absent(void **state)
{
    struct cert cert;

    assert_int_equal(verdict_of(&world.member, &cert), CERT_OK);
    assert_string_equal(cert.host, "");
    assert_int_equal(cert.ipv4.family, 0);
    assert_true(id_is_zero(&cert.site));
}

/* What is put behind the three names, and whether that is still the profile. */
static void names_outside_the_profile_are_refused(void **state)
{
#define ROLES7                                                                                     \
    "URI:peal:role:a,URI:peal:role:b,URI:peal:role:c,URI:peal:role:d,URI:peal:role:e,"             \
    "URI:peal:role:f,URI:peal:role:g"
    static const struct {
        const char *more;
        enum cert_verdict verdict;
    } table[] = {
        {"", CERT_OK},
        {",URI:peal:role:router", CERT_OK},
        {"," ROLES7 ",URI:peal:role:h", CERT_OK},
        {"," ROLES7 ",URI:peal:role:h,URI:peal:role:i", CERT_MALFORMED},
        {",URI:peal:role:router,URI:peal:role:Router", CERT_MALFORMED},
        {",URI:peal:role:not_ldh", CERT_MALFORMED},
        {",URI:peal:enrolment:8", CERT_MALFORMED},
        {",URI:peal:node:0000000000000000000000000000000000000000", CERT_MALFORMED},
        {",URI:peal:group:1111111111111111111111111111111111111111", CERT_MALFORMED},
        {",URI:peal:host:a,URI:peal:host:b", CERT_MALFORMED},
        {",URI:peal:host:a.b", CERT_MALFORMED},
        {",URI:peal:host:", CERT_MALFORMED},
        {",URI:peal:host:-a", CERT_MALFORMED},
        {",URI:peal:ipv4:10.0.0.1", CERT_OK},
        {",URI:peal:ipv4:10.0.0.1,URI:peal:ipv4:10.0.0.2", CERT_MALFORMED},
        {",URI:peal:ipv4:fd00::1", CERT_MALFORMED},
        {",URI:peal:ipv4:10.0.0", CERT_MALFORMED},
        {",URI:peal:site:abababababababababababababababababababa", CERT_MALFORMED},
        {",URI:peal:site:0000000000000000000000000000000000000000", CERT_MALFORMED},
        {",URI:peal:unknown:x", CERT_MALFORMED},
        {",URI:http://example.net/", CERT_MALFORMED},
        {",DNS:example.net", CERT_MALFORMED},
        {",IP:192.0.2.1", CERT_MALFORMED},
        {",email:alice@example.net", CERT_MALFORMED},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct forge f = world.member;
        struct cert cert;
        char names[1024];

        forge_member_names(names, sizeof names, world.member_key, GROUP, 7, table[i].more);
        f.names = names;
        assert_int_equal(verdict_of(&f, &cert), table[i].verdict);
    }
}

#define NODE "URI:peal:node:0000000000000000000000000000000000000000"
#define GROUP_URI "URI:peal:group:1111111111111111111111111111111111111111"

static void the_three_names_are_required_and_well_formed(void **state)
{
    static const char *const table[] = {
        NODE "," GROUP_URI,
        NODE ",URI:peal:enrolment:7",
        GROUP_URI ",URI:peal:enrolment:7",
        NODE "," GROUP_URI ",URI:peal:enrolment:",
        NODE "," GROUP_URI ",URI:peal:enrolment:07",
        NODE "," GROUP_URI ",URI:peal:enrolment:-7",
        NODE "," GROUP_URI ",URI:peal:enrolment:7x",
        NODE "," GROUP_URI ",URI:peal:enrolment:18446744073709551616",
        NODE "0," GROUP_URI ",URI:peal:enrolment:7",
        "URI:PEAL:node:0000000000000000000000000000000000000000," GROUP_URI ",URI:peal:enrolment:7",
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct forge f = world.member;
        struct cert cert, zero;

        f.names = table[i];
        memset(&zero, 0, sizeof zero);
        assert_int_equal(verdict_of(&f, &cert), CERT_MALFORMED);
        assert_memory_equal(&cert, &zero, sizeof zero);
    }
}

static void an_enrolment_number_has_64_bits(void **state)
{
    struct forge f = world.member;
    struct cert cert;
    char names[512];

    forge_member_names(names, sizeof names, world.member_key, GROUP, UINT64_MAX, "");
    f.names = names;
    assert_int_equal(verdict_of(&f, &cert), CERT_OK);
    assert_true(cert.enrolment == UINT64_MAX);
}

static void extensions_outside_the_profile_are_refused(void **state)
{
    static const struct {
        const char *basic, *usage;
        int extra_nid;
        const char *extra;
        enum cert_verdict verdict;
    } table[] = {
        {"critical,CA:FALSE", "critical,digitalSignature", 0, NULL, CERT_OK},
        {"critical,CA:FALSE", "critical,digitalSignature", NID_subject_key_identifier, "hash",
         CERT_OK},
        {"CA:FALSE", "critical,digitalSignature", 0, NULL, CERT_MALFORMED},
        {"critical,CA:FALSE", "digitalSignature", 0, NULL, CERT_MALFORMED},
        {NULL, "critical,digitalSignature", 0, NULL, CERT_MALFORMED},
        {"critical,CA:FALSE", NULL, 0, NULL, CERT_MALFORMED},
        {"critical,CA:TRUE", "critical,digitalSignature", 0, NULL, CERT_MALFORMED},
        {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", 0, NULL, CERT_MALFORMED},
        {"critical,CA:FALSE", "critical,digitalSignature,keyCertSign", 0, NULL, CERT_MALFORMED},
        {"critical,CA:FALSE", "critical,keyAgreement", 0, NULL, CERT_MALFORMED},
        {"critical,CA:FALSE", "critical,digitalSignature", NID_ext_key_usage, "serverAuth",
         CERT_MALFORMED},
        {"critical,CA:FALSE", "critical,digitalSignature", NID_name_constraints,
         "critical,permitted;DNS:a", CERT_MALFORMED},
        {"critical,CA:FALSE", "critical,digitalSignature", NID_basic_constraints, "CA:TRUE",
         CERT_MALFORMED},
        {"critical,CA:FALSE", "critical,digitalSignature", NID_subject_alt_name, GROUP_URI,
         CERT_MALFORMED},
        {"critical,CA:FALSE", "critical,digitalSignature", NID_subject_key_identifier,
         "critical,hash", CERT_MALFORMED},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct forge f = world.member;
        struct cert cert;

        f.basic = table[i].basic;
        f.usage = table[i].usage;
        f.extra_nid = table[i].extra_nid;
        f.extra = table[i].extra;
        assert_int_equal(verdict_of(&f, &cert), table[i].verdict);
    }
}

static void fields_outside_the_profile_are_refused(void **state)
{
    static const struct {
        const char *subject, *serial;
        long version;
        enum cert_verdict verdict;
    } table[] = {
        {"alice", "01", X509_VERSION_3, CERT_OK},
        {"alice", "7fffffffffffffffffffffffffffffffffffffff", X509_VERSION_3, CERT_OK},
        {"alice", "ffffffffffffffffffffffffffffffffffffffffff", X509_VERSION_3, CERT_MALFORMED},
        {"alice", "00", X509_VERSION_3, CERT_MALFORMED},
        {"alice", "-01", X509_VERSION_3, CERT_MALFORMED},
        {"alice", "01", X509_VERSION_1, CERT_MALFORMED},
        {"alice@example.net", "01", X509_VERSION_3, CERT_MALFORMED},
        {"a b", "01", X509_VERSION_3, CERT_MALFORMED},
        {"../../etc/passwd", "01", X509_VERSION_3, CERT_MALFORMED},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "01", X509_VERSION_3,
         CERT_MALFORMED},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct forge f = world.member;
        struct cert cert;

        f.subject = table[i].subject;
        f.serial = table[i].serial;
        f.version = table[i].version;
        assert_int_equal(verdict_of(&f, &cert), table[i].verdict);
    }
}

static void a_subject_of_two_names_is_refused(void **state)
{
    X509 *x = forge_x509(&world.member);
    uint8_t der[FORGE_DER_SIZE], *p = der;
    struct cert cert;
    int len;

    forge_name(X509_get_subject_name(x), "mallory");
    assert_true(X509_sign(x, world.ca_key, NULL) > 0);
    len = i2d_X509(x, &p);
    assert_int_equal(cert_verify(world.ca, NULL, der, (size_t)len, NOON, true, &cert),
                     CERT_MALFORMED);
    X509_free(x);
}

static void keys_other_than_ed25519_are_refused(void **state)
{
    EVP_PKEY *p256 = EVP_EC_gen("P-256"), *x25519 = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    struct forge member = world.member, ca = world.ca_forge;
    const char *why;
    struct cert cert;

    member.key = p256;
    assert_int_equal(verdict_of(&member, &cert), CERT_MALFORMED);
    member.key = x25519;
    assert_int_equal(verdict_of(&member, &cert), CERT_MALFORMED);
    member = world.member;
    member.signer = p256; /* an ECDSA signature under the CA's name */
    member.digest = EVP_sha256();
    assert_int_equal(verdict_of(&member, &cert), CERT_MALFORMED);
    ca.key = ca.signer = p256;
    ca.digest = EVP_sha256();
    assert_null(ca_of(&ca, &why));
    EVP_PKEY_free(p256);
    EVP_PKEY_free(x25519);
}

static void the_verdict_names_what_is_wrong(void **state)
{
    static const struct {
        uint8_t key, signer, group;
        const char *issuer;
        enum cert_verdict verdict;
    } table[] = {
        {3, 1, GROUP, "ring", CERT_OK},
        {3, 2, GROUP, "ring", CERT_WRONG_ISSUER},      /* signed with another key */
        {3, 1, GROUP, "other", CERT_WRONG_ISSUER},     /* the issuer has another name */
        {3, 1, OTHER_GROUP, "ring", CERT_WRONG_GROUP}, /* our CA, another group */
        {4, 1, GROUP, "ring", CERT_WRONG_ID},          /* the id is of key 3 */
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        EVP_PKEY *key = forge_key(table[i].key), *signer = forge_key(table[i].signer);
        struct forge f = forge_member(key, signer, table[i].issuer, NULL);
        struct sign_public pub = forge_public(key);
        struct cert cert;
        char names[512];

        forge_member_names(names, sizeof names, world.member_key, table[i].group, 7, "");
        f.names = names;
        assert_int_equal(verdict_of(&f, &cert), table[i].verdict);
        assert_memory_equal(&cert.key, &pub, sizeof pub); /* filled, for the log */
        EVP_PKEY_free(key);
        EVP_PKEY_free(signer);
    }
}

static void the_id_binds_group_and_enrolment(void **state)
{
    static const char enrolment[] = "peal:enrolment:", node[] = "peal:node:";
    char names[512], *at;
    struct forge f = world.member;
    struct cert cert;

    forge_member_names(names, sizeof names, world.member_key, GROUP, 7, "");
    f.names = names;
    at = strstr(names, enrolment) + strlen(enrolment);
    *at = '8';
    assert_int_equal(verdict_of(&f, &cert), CERT_WRONG_ID);
    *at = '7';
    assert_int_equal(verdict_of(&f, &cert), CERT_OK);
    at = strstr(names, node) + strlen(node);
    at[ID_HEX_LEN - 1] = at[ID_HEX_LEN - 1] == '0' ? '1' : '0'; /* the last digit counts too */
    assert_int_equal(verdict_of(&f, &cert), CERT_WRONG_ID);
}

static void dates_are_judged_with_slack_and_only_by_a_known_clock(void **state)
{
    static const struct {
        int64_t wall_s;
        bool known;
        enum cert_verdict verdict;
    } table[] = {
        {FORGE_NOT_BEFORE, true, CERT_OK},
        {FORGE_NOT_BEFORE - CERT_CLOCK_SLACK_S, true, CERT_OK},
        {FORGE_NOT_BEFORE - CERT_CLOCK_SLACK_S - 1, true, CERT_NOT_YET_VALID},
        {FORGE_NOT_AFTER, true, CERT_OK},
        {FORGE_NOT_AFTER + CERT_CLOCK_SLACK_S, true, CERT_OK},
        {FORGE_NOT_AFTER + CERT_CLOCK_SLACK_S + 1, true, CERT_EXPIRED},
        {FORGE_NOT_BEFORE + 4000 * 86400L, true, CERT_EXPIRED},
        {0, true, CERT_NOT_YET_VALID},
        {0, false, CERT_OK},
        {INT64_C(9999999999), false, CERT_OK},
    };
    struct forge_der der = forge_der(&world.member);

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct cert cert;

        assert_int_equal(
            cert_verify(world.ca, NULL, der.b, der.len, table[i].wall_s, table[i].known, &cert),
            table[i].verdict);
    }
}

static void dates_after_2049_are_generalized_time(void **state)
{
    struct forge f = world.member;
    struct cert cert;

    f.not_after = 2600000000;
    assert_int_equal(verdict_of(&f, &cert), CERT_OK);
    assert_int_equal(cert.not_after_s, 2600000000);
    f.not_after = f.not_before - 1;
    assert_int_equal(verdict_of(&f, &cert), CERT_MALFORMED);
}

static void a_ca_that_ran_out_vouches_for_nobody(void **state)
{
    struct forge ca_forge = world.ca_forge;
    struct forge_der der = forge_der(&world.member);
    const char *why;
    struct cert_ca *ca;
    struct cert cert;

    ca_forge.not_after = FORGE_NOT_BEFORE;
    ca = ca_of(&ca_forge, &why);
    assert_non_null(ca);
    assert_int_equal(cert_verify(ca, NULL, der.b, der.len, NOON, true, &cert), CERT_EXPIRED);
    assert_int_equal(cert_verify(ca, NULL, der.b, der.len, NOON, false, &cert), CERT_OK);
    cert_ca_free(ca);
}

static void every_flipped_bit_and_truncation_is_refused(void **state)
{
    struct forge_der der = forge_der(&world.member);
    struct cert cert;

    for (size_t bit = 0; bit < 8 * der.len; bit++) {
        der.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(cert_verify(world.ca, NULL, der.b, der.len, NOON, true, &cert),
                             CERT_OK);
        der.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < der.len; len++)
        assert_int_equal(cert_verify(world.ca, NULL, der.b, len, NOON, true, &cert),
                         CERT_MALFORMED);
    assert_int_equal(cert_verify(world.ca, NULL, der.b, der.len, NOON, true, &cert), CERT_OK);
}

static void one_certificate_has_one_encoding(void **state)
{
    struct forge_der der = forge_der(&world.member), longer = der;
    struct cert cert;

    longer.b[longer.len++] = 0;
    assert_int_equal(cert_read(longer.b, longer.len, &cert), CERT_MALFORMED);
    /* The outer SEQUENCE's length in three bytes where two do: BER, not DER. */
    assert_memory_equal(der.b, "\x30\x82", 2);
    memcpy(longer.b, "\x30\x83\x00", 3);
    memcpy(longer.b + 3, der.b + 2, der.len - 2);
    longer.len = der.len + 1;
    assert_int_equal(cert_read(longer.b, longer.len, &cert), CERT_MALFORMED);
}

static void a_certificate_that_fills_a_message_is_refused(void **state)
{
    struct forge f = world.member;
    struct forge_der der;
    struct cert cert;
    char names[1024], more[700];

    more[0] = '\0';
    for (char c = 'a'; c < 'i'; c++) { /* eight roles of full length: all of it in profile */
        char role[LABEL_MAX + 1];

        memset(role, c, LABEL_MAX);
        role[LABEL_MAX] = '\0';
        strcat(strcat(more, ",URI:peal:role:"), role);
    }
    forge_member_names(names, sizeof names, world.member_key, GROUP, 7, more);
    f.names = names;
    der = forge_der(&f);
    assert_true(der.len > CERT_DER_MAX);
    assert_int_equal(cert_read(der.b, der.len, &cert), CERT_MALFORMED);
}

static void a_full_certificate_fits(void **state)
{
    char names[1024], more[512], label[LABEL_MAX + 1];
    struct forge f = world.member;
    struct forge_der der;
    struct cert cert;

    memset(label, 'x', LABEL_MAX);
    label[LABEL_MAX] = '\0';
    snprintf(more, sizeof more,
             ",URI:peal:host:%s,URI:peal:ipv4:255.255.255.255"
             ",URI:peal:site:abababababababababababababababababababab",
             label);
    forge_member_names(names, sizeof names, world.member_key, GROUP, UINT64_MAX, more);
    f.names = names;
    f.subject = label;
    f.extra_nid = NID_subject_key_identifier;
    f.extra = "hash";
    der = forge_der(&f);
    assert_true(der.len <= CERT_DER_MAX);
    assert_int_equal(verdict_of(&f, &cert), CERT_OK);
}

static void only_the_profiles_ca_is_a_ca(void **state)
{
    static const char group[] = GROUP_URI;
    static const struct {
        const char *name, *basic, *usage, *names;
        bool ok;
    } table[] = {
        {"ring", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", group, true},
        {"ring", "critical,CA:TRUE", "critical,keyCertSign,cRLSign", group, false},
        {"ring", "critical,CA:TRUE,pathlen:1", "critical,keyCertSign,cRLSign", group, false},
        {"ring", "CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", group, false},
        {"ring", "critical,CA:FALSE", "critical,keyCertSign,cRLSign", group, false},
        {"ring", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign", group, false},
        {"ring", "critical,CA:TRUE,pathlen:0", "keyCertSign,cRLSign", group, false},
        {"ring", "critical,CA:TRUE,pathlen:0", NULL, group, false},
        {"ring", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", NULL, false},
        {"ring", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", NODE, false},
        {"ring", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign",
         GROUP_URI "," GROUP_URI, false},
        {"my ring", "critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", group, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct forge f = world.ca_forge;
        const char *why = "unset";
        struct cert_ca *ca;

        f.subject = f.issuer = table[i].name;
        f.basic = table[i].basic;
        f.usage = table[i].usage;
        f.names = table[i].names;
        ca = ca_of(&f, &why);
        assert_int_equal(ca != NULL, table[i].ok);
        assert_int_equal(why == NULL, table[i].ok);
        cert_ca_free(ca);
    }
}

static void a_ca_that_another_signed_is_refused(void **state)
{
    struct forge f = world.ca_forge;
    const char *why;

    f.signer = world.other_key;
    assert_null(ca_of(&f, &why));
    f = world.ca_forge;
    f.issuer = "root";
    assert_null(ca_of(&f, &why));
}

static void roll_over_trusts_both_certificates_of_one_group(void **state)
{
    char pem[2 * FORGE_PEM_SIZE];
    struct forge next = world.ca_forge, by_next = world.member;
    struct forge_der der;
    const char *why;
    struct cert_ca *ca;
    struct cert cert;
    size_t len;

    next.key = next.signer = by_next.signer = world.other_key;
    len = forge_pem(&world.ca_forge, pem, sizeof pem);
    len += forge_pem(&next, pem + len, sizeof pem - len);
    ca = cert_ca_new(pem, len, &why);
    assert_non_null(ca);
    assert_string_equal(cert_ca_name(ca), "ring");
    der = forge_der(&world.member);
    assert_int_equal(cert_verify(ca, NULL, der.b, der.len, NOON, true, &cert), CERT_OK);
    der = forge_der(&by_next);
    assert_int_equal(cert_verify(ca, NULL, der.b, der.len, NOON, true, &cert), CERT_OK);
    assert_int_equal(verdict_of(&by_next, &cert), CERT_WRONG_ISSUER);
    cert_ca_free(ca);
}

static void certificates_of_two_groups_are_no_ca(void **state)
{
    char pem[2 * FORGE_PEM_SIZE], names[128];
    struct forge other = forge_ca(world.other_key, "ring", names, sizeof names, OTHER_GROUP);
    size_t len = forge_pem(&world.ca_forge, pem, sizeof pem);
    const char *why;

    len += forge_pem(&other, pem + len, sizeof pem - len);
    assert_null(cert_ca_new(pem, len, &why));
    assert_string_equal(why, "CA certificates of different groups");
}

static void a_ca_text_without_certificates_is_refused(void **state)
{
    static const char *const table[] = {
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA=\n",
        "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *why = NULL;

        assert_null(cert_ca_new(table[i], strlen(table[i]), &why));
        assert_non_null(why);
    }
}

static void verdicts_have_texts(void **state)
{
    for (int v = CERT_OK; v <= CERT_REVOKED; v++) {
        assert_string_not_equal(cert_verdict_text(v), "unknown");
        for (int w = CERT_OK; w < v; w++)
            assert_string_not_equal(cert_verdict_text(v), cert_verdict_text(w));
    }
}

static int setup(void **state)
{
    const char *why;

    if (crypto_start() < 0)
        return -1;
    world.ca_key = forge_key(1);
    world.other_key = forge_key(2);
    world.member_key = forge_key(3);
    world.ca_forge = forge_ca(world.ca_key, "ring", world.ca_names, sizeof world.ca_names, GROUP);
    forge_member_names(world.member_names, sizeof world.member_names, world.member_key, GROUP, 7,
                       "");
    world.member = forge_member(world.member_key, world.ca_key, "ring", world.member_names);
    world.ca = ca_of(&world.ca_forge, &why);
    return world.ca != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    cert_ca_free(world.ca);
    EVP_PKEY_free(world.ca_key);
    EVP_PKEY_free(world.other_key);
    EVP_PKEY_free(world.member_key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_certificate_says_all_it_says),
        cmocka_unit_test(optional_names_may_be_absent),
        cmocka_unit_test(names_outside_the_profile_are_refused),
        cmocka_unit_test(the_three_names_are_required_and_well_formed),
        cmocka_unit_test(an_enrolment_number_has_64_bits),
        cmocka_unit_test(extensions_outside_the_profile_are_refused),
        cmocka_unit_test(fields_outside_the_profile_are_refused),
        cmocka_unit_test(a_subject_of_two_names_is_refused),
        cmocka_unit_test(keys_other_than_ed25519_are_refused),
        cmocka_unit_test(the_verdict_names_what_is_wrong),
        cmocka_unit_test(the_id_binds_group_and_enrolment),
        cmocka_unit_test(dates_are_judged_with_slack_and_only_by_a_known_clock),
        cmocka_unit_test(dates_after_2049_are_generalized_time),
        cmocka_unit_test(a_ca_that_ran_out_vouches_for_nobody),
        cmocka_unit_test(every_flipped_bit_and_truncation_is_refused),
        cmocka_unit_test(one_certificate_has_one_encoding),
        cmocka_unit_test(a_certificate_that_fills_a_message_is_refused),
        cmocka_unit_test(a_full_certificate_fits),
        cmocka_unit_test(only_the_profiles_ca_is_a_ca),
        cmocka_unit_test(a_ca_that_another_signed_is_refused),
        cmocka_unit_test(roll_over_trusts_both_certificates_of_one_group),
        cmocka_unit_test(certificates_of_two_groups_are_no_ca),
        cmocka_unit_test(a_ca_text_without_certificates_is_refused),
        cmocka_unit_test(verdicts_have_texts),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
