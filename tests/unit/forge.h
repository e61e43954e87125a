/*
 * forge.h - certificates, CRLs and requests for tests: right ones by default, wrong ones by
 * changing a field. Written with OpenSSL's extension compiler, so that the reader under test meets
 * another writer than peal-ca's.
 */
#ifndef PEAL_TESTS_FORGE_H
#define PEAL_TESTS_FORGE_H

#include "overlay/core/wire.h"
#include "overlay/crypto/removed.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { FORGE_DER_SIZE = 4096, FORGE_PEM_SIZE = 8192 };
enum { FORGE_NOT_BEFORE = 1700000000, FORGE_NOT_AFTER = FORGE_NOT_BEFORE + 30 * 86400 };

struct forge_der {
    uint8_t b[FORGE_DER_SIZE];
    size_t len;
};

/* What a certificate is made of. NULL extensions are left out. */
struct forge {
    const char *subject, *issuer;
    long version;       /* X509_VERSION_3 */
    const char *serial; /* hex */
    time_t not_before, not_after;
    const char *basic, *usage, *names; /* as in openssl.cnf */
    int extra_nid;
    const char *extra;
    EVP_PKEY *key, *signer;
    const EVP_MD *digest; /* NULL for Ed25519 */
};

static inline EVP_PKEY *forge_key(uint8_t fill)
{
    uint8_t seed[32];

    memset(seed, fill, sizeof seed);
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
}

static inline struct sign_public forge_public(const EVP_PKEY *key)
{
    struct sign_public pub = {{0}};
    size_t len = sizeof pub.b;

    CHECK(EVP_PKEY_get_raw_public_key(key, pub.b, &len) == 1);
    return pub;
}

static inline void forge_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    if (value == NULL)
        return;
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(ext != NULL && X509_add_ext(x, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

static inline void forge_name(X509_NAME *name, const char *cn)
{
    CHECK(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const uint8_t *)cn, -1,
                                     -1, 0) == 1);
}

static inline X509 *forge_x509(const struct forge *f)
{
    BIGNUM *serial = NULL;
    X509 *x = X509_new();

    CHECK(x != NULL && X509_set_version(x, f->version) == 1 && BN_hex2bn(&serial, f->serial) > 0);
    BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x));
    BN_free(serial);
    forge_name(X509_get_subject_name(x), f->subject);
    forge_name(X509_get_issuer_name(x), f->issuer);
    CHECK(ASN1_TIME_set(X509_getm_notBefore(x), f->not_before) != NULL);
    CHECK(ASN1_TIME_set(X509_getm_notAfter(x), f->not_after) != NULL);
    CHECK(X509_set_pubkey(x, f->key) == 1);
    forge_extension(x, NID_basic_constraints, f->basic);
    forge_extension(x, NID_key_usage, f->usage);
    forge_extension(x, NID_subject_alt_name, f->names);
    forge_extension(x, f->extra_nid, f->extra);
    CHECK(X509_sign(x, f->signer, f->digest) > 0);
    return x;
}

static inline struct forge_der forge_der(const struct forge *f)
{
    X509 *x = forge_x509(f);
    struct forge_der der = {.len = (size_t)i2d_X509(x, NULL)};
    uint8_t *p = der.b;

    CHECK(der.len <= sizeof der.b && i2d_X509(x, &p) > 0);
    X509_free(x);
    return der;
}

/* A CA certificate of the profile; the group's id is 20 bytes of `group`. */
static inline struct forge forge_ca(EVP_PKEY *key, const char *name, char *names, size_t size,
                                    uint8_t group)
{
    char hex[ID_TEXT_SIZE];
    struct id id;

    memset(id.b, group, sizeof id.b);
    snprintf(names, size, "URI:peal:group:%s", id_text(&id, hex));
    return (struct forge){.subject = name,
                          .issuer = name,
                          .version = X509_VERSION_3,
                          .serial = "01",
                          .not_before = FORGE_NOT_BEFORE - 86400,
                          .not_after = FORGE_NOT_BEFORE + 3650 * 86400L,
                          .basic = "critical,CA:TRUE,pathlen:0",
                          .usage = "critical,keyCertSign,cRLSign",
                          .names = names,
                          .key = key,
                          .signer = key};
}

/* The three names that every member certificate has, `more` behind them. */
static inline void forge_member_names(char *names, size_t size, const EVP_PKEY *key, uint8_t group,
                                      uint64_t enrolment, const char *more)
{
    struct sign_public pub = forge_public(key);
    char node_hex[ID_TEXT_SIZE], group_hex[ID_TEXT_SIZE];
    struct id id, node;

    memset(id.b, group, sizeof id.b);
    node = node_id_certified(&pub, &id, enrolment);
    CHECK(snprintf(names, size, "URI:peal:node:%s,URI:peal:group:%s,URI:peal:enrolment:%llu%s",
                   id_text(&node, node_hex), id_text(&id, group_hex), (unsigned long long)enrolment,
                   more) < (int)size);
}

static inline struct forge forge_member(EVP_PKEY *key, EVP_PKEY *signer, const char *ca_name,
                                        const char *names)
{
    return (struct forge){.subject = "alice",
                          .issuer = ca_name,
                          .version = X509_VERSION_3,
                          .serial = "7a112233445566778899aabbccddeeff",
                          .not_before = FORGE_NOT_BEFORE,
                          .not_after = FORGE_NOT_AFTER,
                          .basic = "critical,CA:FALSE",
                          .usage = "critical,digitalSignature",
                          .names = names,
                          .key = key,
                          .signer = signer};
}

static inline size_t forge_pem(const struct forge *f, char *pem, size_t size)
{
    struct forge_der der = forge_der(f);
    int len = der_to_pem("CERTIFICATE", der.b, der.len, pem, size);

    CHECK(len > 0);
    return (size_t)len;
}

/* The CA's signature behind a removal's or succession's first `len` bytes; the whole length. */
static inline size_t forge_sign(EVP_PKEY *ca, uint8_t *message, size_t len)
{
    static const char label[] = "peal removal";
    uint8_t text[sizeof label - 1 + REMOVAL_MAX];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    size_t signature_len = SIGNATURE_LEN;

    CHECK(len <= REMOVAL_MAX);
    memcpy(text, label, sizeof label - 1);
    memcpy(text + sizeof label - 1, message, len);
    CHECK(EVP_DigestSignInit(md, NULL, NULL, NULL, ca) == 1 &&
          EVP_DigestSign(md, message + len, &signature_len, text, sizeof label - 1 + len) == 1);
    EVP_MD_CTX_free(md);
    return len + signature_len;
}

/* A removal of the member that this certificate is of. */
static inline struct forge_der forge_removal(EVP_PKEY *ca, const struct id *group, uint64_t number,
                                             const struct cert *who)
{
    struct forge_der out;
    struct writer w = writer_of(out.b, sizeof out.b);

    write_u8(&w, 1);
    write_id(&w, group);
    write_u64(&w, number);
    write_u64(&w, FORGE_NOT_BEFORE);
    write_id(&w, &who->node);
    write_bytes(&w, who->key.b, sizeof who->key.b);
    write_u8(&w, who->serial_len > 0);
    if (who->serial_len > 0) {
        write_u8(&w, who->serial_len);
        write_bytes(&w, who->serial, who->serial_len);
    }
    out.len = forge_sign(ca, out.b, writer_len(&w));
    return out;
}

#endif
