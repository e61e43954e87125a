#include "overlay/crypto/x509.h"

#include <openssl/asn1t.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

enum { URI_MAX = 128 };

bool x509_is_der_of(const ASN1_VALUE *item, const ASN1_ITEM *type, const uint8_t *der, size_t len)
{
    unsigned char *again = NULL;
    int again_len = ASN1_item_i2d(item, &again, type);
    bool same = again_len > 0 && (size_t)again_len == len && memcmp(again, der, len) == 0;

    OPENSSL_free(again);
    return same;
}

bool x509_is_ed25519(const X509_ALGOR *alg)
{
    const ASN1_OBJECT *object;
    int parameter_type;

    X509_ALGOR_get0(&object, &parameter_type, NULL, alg);
    return OBJ_obj2nid(object) == NID_ED25519 && parameter_type == V_ASN1_UNDEF;
}

static bool is_ours(const X509 *x)
{
    const ASN1_BIT_STRING *issuer_uid, *subject_uid;
    const X509_ALGOR *alg;

    X509_get0_uids(x, &issuer_uid, &subject_uid);
    X509_get0_signature(NULL, &alg, x);
    return X509_get_version(x) == X509_VERSION_3 && issuer_uid == NULL && subject_uid == NULL &&
           x509_is_ed25519(alg) && x509_is_ed25519(X509_get0_tbs_sigalg(x));
}

X509 *x509_read(const uint8_t *der, size_t len)
{
    const uint8_t *p = der;
    X509 *x;

    if (len > INT32_MAX)
        return NULL;
    x = d2i_X509(NULL, &p, (long)len);
    if (x == NULL)
        return NULL;
    if (x509_is_der_of((const ASN1_VALUE *)x, ASN1_ITEM_rptr(X509), der, len) && is_ours(x))
        return x;
    X509_free(x);
    return NULL;
}

/* Nothing but the profile's extensions, none twice. */
static bool only_known_extensions(const X509 *x)
{
    for (int i = 0; i < X509_get_ext_count(x); i++) {
        X509_EXTENSION *ext = X509_get_ext(x, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(ext));

        if (X509_get_ext_by_NID(x, nid, i) >= 0)
            return false;
        switch (nid) {
        case NID_basic_constraints:
        case NID_key_usage:
        case NID_subject_alt_name:
            break;
        case NID_subject_key_identifier:
        case NID_authority_key_identifier:
            if (X509_EXTENSION_get_critical(ext))
                return false;
            break;
        default:
            return false;
        }
    }
    return true;
}

static bool basic_constraints_valid(const X509 *x, enum x509_kind kind)
{
    int critical;
    BASIC_CONSTRAINTS *bc = X509_get_ext_d2i(x, NID_basic_constraints, &critical, NULL);
    bool valid = false;

    if (bc == NULL)
        return false;
    switch (kind) {
    case X509_KIND_MEMBER:
        valid = !bc->ca && bc->pathlen == NULL;
        break;
    case X509_KIND_CA:
        valid = bc->ca && bc->pathlen != NULL && ASN1_INTEGER_get(bc->pathlen) == 0;
        break;
    }
    BASIC_CONSTRAINTS_free(bc);
    return valid && critical == 1;
}

static bool key_usage_valid(const X509 *x, enum x509_kind kind)
{
    uint8_t wanted = kind == X509_KIND_CA ? KU_KEY_CERT_SIGN | KU_CRL_SIGN : KU_DIGITAL_SIGNATURE;
    int critical;
    ASN1_BIT_STRING *usage = X509_get_ext_d2i(x, NID_key_usage, &critical, NULL);
    bool valid;

    if (usage == NULL)
        return false;
    valid = critical == 1 && ASN1_STRING_length(usage) == 1 &&
            ASN1_STRING_get0_data(usage)[0] == wanted;
    ASN1_BIT_STRING_free(usage);
    return valid;
}

bool x509_extensions_valid(const X509 *x, enum x509_kind kind)
{
    return only_known_extensions(x) && basic_constraints_valid(x, kind) && key_usage_valid(x, kind);
}

bool x509_key(EVP_PKEY *key, struct sign_public *out)
{
    size_t len = sizeof out->b;

    return key != NULL && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 &&
           EVP_PKEY_get_raw_public_key(key, out->b, &len) == 1 && len == sizeof out->b;
}

bool x509_label(const X509_NAME *name, char out[LABEL_MAX + 1])
{
    const X509_NAME_ENTRY *entry;
    const ASN1_STRING *text;
    size_t len;
    int type;

    out[0] = '\0';
    if (X509_NAME_entry_count(name) != 1)
        return false;
    entry = X509_NAME_get_entry(name, 0);
    text = X509_NAME_ENTRY_get_data(entry);
    type = ASN1_STRING_type(text);
    len = (size_t)ASN1_STRING_length(text);
    if (OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) != NID_commonName ||
        (type != V_ASN1_UTF8STRING && type != V_ASN1_PRINTABLESTRING) ||
        !label_valid((const char *)ASN1_STRING_get0_data(text), len))
        return false;
    memcpy(out, ASN1_STRING_get0_data(text), len);
    out[len] = '\0';
    return true;
}

bool x509_time(const ASN1_TIME *t, int64_t *out)
{
    struct tm tm;

    *out = 0;
    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *out = timegm(&tm);
    return true;
}

bool x509_validity(const X509 *x, int64_t *not_before_s, int64_t *not_after_s)
{
    return x509_time(X509_get0_notBefore(x), not_before_s) &&
           x509_time(X509_get0_notAfter(x), not_after_s) && *not_before_s <= *not_after_s;
}

bool x509_serial(const ASN1_INTEGER *serial, uint8_t out[CERT_SERIAL_MAX], uint8_t *len)
{
    const uint8_t *p = ASN1_STRING_get0_data(serial);
    int n = ASN1_STRING_length(serial);

    *len = 0;
    if (ASN1_STRING_type(serial) != V_ASN1_INTEGER || n < 1 || n > CERT_SERIAL_MAX || p[0] == 0)
        return false;
    memset(out, 0, CERT_SERIAL_MAX);
    memcpy(out, p, (size_t)n);
    *len = (uint8_t)n;
    return true;
}

/* `name` as a string, if it is a URI of printable ASCII (which excludes an inner NUL). */
static bool uri_text(const GENERAL_NAME *name, char out[URI_MAX])
{
    int type, len;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    const uint8_t *p;

    if (type != GEN_URI)
        return false;
    p = ASN1_STRING_get0_data(value);
    len = ASN1_STRING_length(value);
    if (len >= URI_MAX)
        return false;
    for (int i = 0; i < len; i++)
        if (p[i] <= 0x20 || p[i] > 0x7e)
            return false;
    memcpy(out, p, (size_t)len);
    out[len] = '\0';
    return true;
}

bool x509_each_uri(const X509 *x, bool (*each)(void *arg, const char *uri), void *arg)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int count = names != NULL ? sk_GENERAL_NAME_num(names) : 0;
    bool ok = count > 0;
    char uri[URI_MAX];

    for (int i = 0; i < count && ok; i++)
        ok = uri_text(sk_GENERAL_NAME_value(names, i), uri) && each(arg, uri);
    GENERAL_NAMES_free(names);
    return ok;
}
