#include "ca-web/issue.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "overlay/core/wire.h"

void authority_clear(struct authority *a)
{
    wipe(a, sizeof *a);
}

void issue_serial(uint8_t serial[16])
{
    do {
        randombytes_buf(serial, 16);
        serial[0] &= 0x7f;
    } while (serial[0] == 0);
}

static EVP_PKEY *authority_key(const struct authority *a)
{
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, a->seed.b, sizeof a->seed.b);
}

static bool set_time(ASN1_TIME *t, int64_t unix_s)
{
    return ASN1_TIME_adj(t, (time_t)unix_s, 0, 0) != NULL;
}

static bool set_name(X509_NAME *name, const char *cn)
{
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)cn, -1, -1, 0) == 1;
}

static bool set_serial(ASN1_INTEGER *out, const uint8_t *serial, size_t len)
{
    BIGNUM *n = BN_bin2bn(serial, (int)len, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, out) != NULL;

    BN_free(n);
    return ok;
}

static bool add_basic_constraints(X509 *x, bool ca)
{
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
    bool ok = bc != NULL;

    if (ok && ca) {
        bc->ca = 0xff;
        bc->pathlen = ASN1_INTEGER_new();
        ok = bc->pathlen && ASN1_INTEGER_set(bc->pathlen, 0);
    }
    ok = ok && X509_add1_ext_i2d(x, NID_basic_constraints, bc, 1, X509V3_ADD_APPEND) == 1;
    BASIC_CONSTRAINTS_free(bc);
    return ok;
}

/* Bit numbers of RFC 5280 4.2.1.3. */
enum { USAGE_DIGITAL_SIGNATURE = 0, USAGE_KEY_CERT_SIGN = 5, USAGE_CRL_SIGN = 6 };

static bool add_key_usage(X509 *x, bool ca)
{
    ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
    bool ok = usage != NULL;

    if (ca)
        ok = ok && ASN1_BIT_STRING_set_bit(usage, USAGE_KEY_CERT_SIGN, 1) &&
             ASN1_BIT_STRING_set_bit(usage, USAGE_CRL_SIGN, 1);
    else
        ok = ok && ASN1_BIT_STRING_set_bit(usage, USAGE_DIGITAL_SIGNATURE, 1);
    ok = ok && X509_add1_ext_i2d(x, NID_key_usage, usage, 1, X509V3_ADD_APPEND) == 1;
    ASN1_BIT_STRING_free(usage);
    return ok;
}

static bool push_uri(GENERAL_NAMES *names, const char *uri)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    if (!name || !text || !ASN1_STRING_set(text, uri, -1)) {
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(text);
        return false;
    }
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    if (sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

static bool add_uris(X509 *x, const char *const *uris, size_t n)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL;

    for (size_t i = 0; i < n && ok; i++)
        ok = push_uri(names, uris[i]);
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

/* RFC 7093, 2(1): the leftmost 160 bits of SHA-256 of the public key. */
static ASN1_OCTET_STRING *key_id(const X509 *x)
{
    const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(x);
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    uint8_t hash[HASH_LEN];

    sha256(hash, ASN1_STRING_get0_data(key), (size_t)ASN1_STRING_length(key));
    if (id && ASN1_OCTET_STRING_set(id, hash, 20))
        return id;
    ASN1_OCTET_STRING_free(id);
    return NULL;
}

static bool add_key_id(X509 *x)
{
    ASN1_OCTET_STRING *id = key_id(x);
    bool ok = id && X509_add1_ext_i2d(x, NID_subject_key_identifier, id, 0, X509V3_ADD_APPEND) == 1;

    ASN1_OCTET_STRING_free(id);
    return ok;
}

static bool set_validity(X509 *x, int64_t not_before_s, int64_t not_after_s)
{
    return set_time(X509_getm_notBefore(x), not_before_s) &&
           set_time(X509_getm_notAfter(x), not_after_s);
}

/* Ed25519 takes no digest. */
static int sign_der(X509 *x, EVP_PKEY *key, uint8_t *der, size_t size)
{
    if (!X509_sign(x, key, NULL))
        return -ERR_CRYPTO;
    int len = i2d_X509(x, NULL);
    if (len < 0)
        return -ERR_CRYPTO;
    if ((size_t)len > size)
        return -ERR_RANGE;
    return i2d_X509(x, &der);
}

int issue_authority(struct authority *a, const char *group_name, const struct id *group,
                    int64_t now_s)
{
    char hex[ID_TEXT_SIZE], uri[16 + ID_TEXT_SIZE];
    const char *uris[] = {uri};
    uint8_t serial[16];
    int len = -ERR_CRYPTO;
    EVP_PKEY *key = authority_key(a);
    X509 *x = X509_new();

    issue_serial(serial);
    snprintf(uri, sizeof uri, "peal:group:%s", id_text(group, hex));
    if (key && x && X509_set_version(x, X509_VERSION_3) &&
        set_serial(X509_get_serialNumber(x), serial, sizeof serial) &&
        set_name(X509_get_subject_name(x), group_name) &&
        set_name(X509_get_issuer_name(x), group_name) && X509_set_pubkey(x, key) &&
        set_validity(x, now_s - ISSUE_BACKDATE_S, now_s + ISSUE_CA_LIFE_S) &&
        add_basic_constraints(x, true) && add_key_usage(x, true) && add_key_id(x) &&
        add_uris(x, uris, ARRAY_LEN(uris)))
        len = sign_der(x, key, a->der, sizeof a->der);
    a->der_len = len > 0 ? (size_t)len : 0;
    X509_free(x);
    EVP_PKEY_free(key);
    return len;
}

static X509 *authority_certificate(const struct authority *a)
{
    const uint8_t *der = a->der;
    return d2i_X509(NULL, &der, (long)a->der_len);
}

static bool add_member_uris(X509 *x, const struct issue_member *m)
{
    struct id id = node_id_certified(&m->key, &m->group, m->enrolment);
    char hex[ID_TEXT_SIZE], node[64], group[64], enrolment[64];
    const char *uris[] = {node, group, enrolment};

    snprintf(node, sizeof node, "peal:node:%s", id_text(&id, hex));
    snprintf(group, sizeof group, "peal:group:%s", id_text(&m->group, hex));
    snprintf(enrolment, sizeof enrolment, "peal:enrolment:%llu", (unsigned long long)m->enrolment);
    return add_uris(x, uris, ARRAY_LEN(uris));
}

int issue_member(const struct authority *a, const struct issue_member *m, uint8_t *der, size_t size)
{
    int len = -ERR_CRYPTO;
    EVP_PKEY *key = authority_key(a);
    EVP_PKEY *member =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, m->key.b, sizeof m->key.b);
    X509 *ca = authority_certificate(a);
    X509 *x = X509_new();

    if (key && member && ca && x && X509_set_version(x, X509_VERSION_3) &&
        set_serial(X509_get_serialNumber(x), m->serial, sizeof m->serial) &&
        set_name(X509_get_subject_name(x), m->user) &&
        X509_set_issuer_name(x, X509_get_subject_name(ca)) && X509_set_pubkey(x, member) &&
        set_validity(x, m->not_before_s, m->not_after_s) && add_basic_constraints(x, false) &&
        add_key_usage(x, false) && add_member_uris(x, m))
        len = sign_der(x, key, der, size);
    X509_free(x);
    X509_free(ca);
    EVP_PKEY_free(member);
    EVP_PKEY_free(key);
    return len;
}

static bool add_revoked(X509_CRL *crl, const struct issue_revoked *r)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    ASN1_TIME *at = ASN1_TIME_new();
    bool ok = entry && serial && at && set_serial(serial, r->serial, r->serial_len) &&
              set_time(at, r->revoked_s) && X509_REVOKED_set_serialNumber(entry, serial) &&
              X509_REVOKED_set_revocationDate(entry, at) && X509_CRL_add0_revoked(crl, entry);

    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(at);
    if (!ok)
        X509_REVOKED_free(entry);
    return ok;
}

/* RFC 5280 5.2.1 */
static bool add_authority_key_id(X509_CRL *crl, const X509 *ca)
{
    AUTHORITY_KEYID *a = AUTHORITY_KEYID_new();
    bool ok =
        a && (a->keyid = key_id(ca)) &&
        X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, a, 0, X509V3_ADD_APPEND) == 1;

    AUTHORITY_KEYID_free(a);
    return ok;
}

static bool add_number(X509_CRL *crl, uint64_t number)
{
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    bool ok = n && ASN1_INTEGER_set_uint64(n, number) &&
              X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, X509V3_ADD_APPEND) == 1;

    ASN1_INTEGER_free(n);
    return ok;
}

static bool set_updates(X509_CRL *crl, int64_t this_update_s, int64_t next_update_s)
{
    ASN1_TIME *this_update = ASN1_TIME_new();
    ASN1_TIME *next_update = ASN1_TIME_new();
    bool ok = this_update && next_update && set_time(this_update, this_update_s) &&
              set_time(next_update, next_update_s) && X509_CRL_set1_lastUpdate(crl, this_update) &&
              X509_CRL_set1_nextUpdate(crl, next_update);

    ASN1_TIME_free(this_update);
    ASN1_TIME_free(next_update);
    return ok;
}

int issue_crl(const struct authority *a, const struct issue_revoked *v, size_t n, uint64_t number,
              int64_t this_update_s, int64_t next_update_s, uint8_t **der)
{
    EVP_PKEY *key = authority_key(a);
    X509 *ca = authority_certificate(a);
    X509_CRL *crl = X509_CRL_new();
    int len = -ERR_CRYPTO;
    bool ok = key && ca && crl && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) &&
              set_updates(crl, this_update_s, next_update_s);

    *der = NULL;
    for (size_t i = 0; i < n && ok; i++)
        ok = add_revoked(crl, &v[i]);
    if (ok && add_authority_key_id(crl, ca) && add_number(crl, number) && X509_CRL_sort(crl) &&
        X509_CRL_sign(crl, key, NULL))
        len = i2d_X509_CRL(crl, der);
    X509_CRL_free(crl);
    X509_free(ca);
    EVP_PKEY_free(key);
    return len > 0 ? len : -ERR_CRYPTO;
}

static void sign_removal(const struct authority *a, struct writer *w)
{
    static const char label[] = "peal removal";
    uint8_t message[sizeof label - 1 + REMOVAL_MAX], signature[SIGNATURE_LEN];
    struct sign_public public;
    struct sign_secret secret;
    size_t len = writer_len(w);

    memcpy(message, label, sizeof label - 1);
    memcpy(message + sizeof label - 1, w->start, len);
    sign_keys(&public, &secret, &a->seed);
    sign(signature, message, sizeof label - 1 + len, &secret);
    sign_secret_clear(&secret);
    write_bytes(w, signature, sizeof signature);
}

int issue_removal(const struct authority *a, const struct issue_removal *r, uint8_t *out,
                  size_t size)
{
    struct writer w = writer_of(out, size);

    if (size < REMOVAL_MAX || r->serial_count > REMOVAL_SERIALS_MAX)
        return -ERR_RANGE;
    write_u8(&w, 1);
    write_id(&w, &r->group);
    write_u64(&w, r->number);
    write_u64(&w, (uint64_t)r->at_s);
    write_id(&w, &r->node);
    write_bytes(&w, r->key.b, sizeof r->key.b);
    write_u8(&w, (uint8_t)r->serial_count);
    for (size_t i = 0; i < r->serial_count; i++) {
        write_u8(&w, r->serials[i].serial_len);
        write_bytes(&w, r->serials[i].serial, r->serials[i].serial_len);
    }
    sign_removal(a, &w);
    return (int)writer_len(&w);
}

int issue_succession(const struct authority *a, const struct issue_succession *s, uint8_t *out,
                     size_t size)
{
    struct writer w = writer_of(out, size);

    if (size < REMOVAL_MAX || s->der_len > SUCCESSION_DER_MAX)
        return -ERR_RANGE;
    write_u8(&w, 2);
    write_id(&w, &s->group);
    write_u64(&w, s->number);
    write_u64(&w, (uint64_t)s->at_s);
    write_u8(&w, s->only ? SUCCESSION_ONLY : 0);
    write_bytes(&w, s->der, s->der_len);
    sign_removal(a, &w);
    return (int)writer_len(&w);
}
