#include "overlay/crypto/cert.h"

#include "overlay/crypto/x509.h"

#include <openssl/err.h>
#include <string.h>

/* What was met so far while a certificate's names are read. */
struct names {
    struct cert *cert;
    unsigned seen; /* bit per field */
    size_t roles;
    char role[CERT_ROLES_MAX][LABEL_MAX + 1];
};

const char *cert_verdict_text(enum cert_verdict v)
{
    switch (v) {
    case CERT_OK:
        return "valid";
    case CERT_MALFORMED:
        return "malformed certificate";
    case CERT_WRONG_ISSUER:
        return "not signed by this group's CA";
    case CERT_WRONG_GROUP:
        return "certificate of another group";
    case CERT_WRONG_ID:
        return "node id does not follow from the key";
    case CERT_EXPIRED:
        return "expired";
    case CERT_NOT_YET_VALID:
        return "not yet valid";
    case CERT_REVOKED:
        return "revoked";
    }
    return "unknown";
}

static bool read_node(struct names *n, const char *value)
{
    return id_parse(&n->cert->node, value);
}

static bool read_group(struct names *n, const char *value)
{
    return id_parse(&n->cert->group, value);
}

static bool read_site(struct names *n, const char *value)
{
    return id_parse(&n->cert->site, value) && !id_is_zero(&n->cert->site);
}

/* Decimal without sign or leading zero. */
static bool read_enrolment(struct names *n, const char *value)
{
    uint64_t number = 0;

    if (value[0] == '\0' || (value[0] == '0' && value[1] != '\0'))
        return false;
    for (; *value != '\0'; value++) {
        unsigned digit = (unsigned)*value - '0';

        if (digit > 9 || number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    n->cert->enrolment = number;
    return true;
}

static bool read_host(struct names *n, const char *value)
{
    return label_normalize(n->cert->host, sizeof n->cert->host, value, strlen(value));
}

static bool read_ipv4(struct names *n, const char *value)
{
    return addr_parse(&n->cert->ipv4, value) && n->cert->ipv4.family == 4;
}

/* Roles are checked here and kept by nobody yet; each may be named once. */
static bool read_role(struct names *n, const char *value)
{
    char *role = n->roles < CERT_ROLES_MAX ? n->role[n->roles] : NULL;

    if (role == NULL || !label_normalize(role, LABEL_MAX + 1, value, strlen(value)))
        return false;
    for (size_t i = 0; i < n->roles; i++)
        if (strcmp(n->role[i], role) == 0)
            return false;
    n->roles++;
    return true;
}

static const struct {
    const char *prefix;
    bool (*read)(struct names *n, const char *value);
    bool required, repeats;
} fields[] = {
    {"peal:node:", read_node, true, false},           {"peal:group:", read_group, true, false},
    {"peal:enrolment:", read_enrolment, true, false}, {"peal:host:", read_host, false, false},
    {"peal:ipv4:", read_ipv4, false, false},          {"peal:site:", read_site, false, false},
    {"peal:role:", read_role, false, true},
};

static bool read_uri(void *arg, const char *uri)
{
    struct names *n = arg;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        size_t len = strlen(fields[i].prefix);

        if (strncmp(uri, fields[i].prefix, len) != 0)
            continue;
        if ((n->seen & 1u << i) != 0 && !fields[i].repeats)
            return false;
        n->seen |= 1u << i;
        return fields[i].read(n, uri + len);
    }
    return false;
}

static bool read_names(const X509 *x, struct cert *out)
{
    struct names n = {.cert = out};

    if (!x509_each_uri(x, read_uri, &n))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].required && (n.seen & 1u << i) == 0)
            return false;
    return true;
}

static bool read_member(X509 *x, struct cert *out)
{
    return x509_extensions_valid(x, X509_KIND_MEMBER) && read_names(x, out) &&
           x509_label(X509_get_subject_name(x), out->user) &&
           x509_validity(x, &out->not_before_s, &out->not_after_s) &&
           x509_serial(X509_get0_serialNumber(x), out->serial, &out->serial_len) &&
           x509_key(X509_get0_pubkey(x), &out->key);
}

/* The certificate, and in *out what it says; NULL, and *out zero, when it is malformed. */
static X509 *parse(const uint8_t *der, size_t len, struct cert *out)
{
    X509 *x = len <= CERT_DER_MAX ? x509_read(der, len) : NULL;

    memset(out, 0, sizeof *out);
    if (x != NULL && read_member(x, out)) {
        sha256(out->hash, der, len);
        return x;
    }
    X509_free(x);
    memset(out, 0, sizeof *out);
    return NULL;
}

static bool id_follows(const struct cert *c)
{
    struct id derived = node_id_certified(&c->key, &c->group, c->enrolment);

    return id_eq(&derived, &c->node);
}

enum cert_verdict cert_read(const uint8_t *der, size_t len, struct cert *out)
{
    X509 *x = parse(der, len, out);

    ERR_clear_error();
    if (x == NULL)
        return CERT_MALFORMED;
    X509_free(x);
    return id_follows(out) ? CERT_OK : CERT_WRONG_ID;
}

/* The CA certificate that signed x, or NULL; ended_s: one that ended before does not count. */
static const struct ca_cert *signer_of(const struct cert_ca *ca, X509 *x, int64_t ended_s)
{
    const struct ca_cert *certs;
    size_t count = cert_ca_certs(ca, &certs);

    for (size_t i = 0; i < count; i++)
        if ((certs[i].ended_s == 0 || certs[i].ended_s > ended_s) &&
            X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(certs[i].x)) == 0 &&
            X509_verify(x, X509_get0_pubkey(certs[i].x)) == 1)
            return &certs[i];
    return NULL;
}

static enum cert_verdict judge_dates(int64_t not_before_s, int64_t not_after_s, int64_t wall_s)
{
    if (wall_s > not_after_s + CERT_CLOCK_SLACK_S)
        return CERT_EXPIRED;
    return wall_s < not_before_s - CERT_CLOCK_SLACK_S ? CERT_NOT_YET_VALID : CERT_OK;
}

static enum cert_verdict verify(const struct cert_ca *ca, const struct cert_crl *crl,
                                const uint8_t *der, size_t len, int64_t wall_s, bool wall_known,
                                int64_t ended_s, struct cert *out)
{
    X509 *x = parse(der, len, out);
    const struct ca_cert *signer = x != NULL ? signer_of(ca, x, ended_s) : NULL;
    bool well_formed = x != NULL;
    enum cert_verdict dates;

    X509_free(x);
    ERR_clear_error();
    if (!well_formed)
        return CERT_MALFORMED;
    if (signer == NULL)
        return CERT_WRONG_ISSUER;
    if (!id_eq(&out->group, cert_ca_group(ca)))
        return CERT_WRONG_GROUP;
    if (!id_follows(out))
        return CERT_WRONG_ID;
    if (crl != NULL && cert_crl_lists(crl, out->serial, out->serial_len))
        return CERT_REVOKED; /* before the dates: it does not depend on anybody's clock */
    if (!wall_known)
        return CERT_OK;
    dates = judge_dates(signer->not_before_s, signer->not_after_s, wall_s);
    return dates != CERT_OK ? dates : judge_dates(out->not_before_s, out->not_after_s, wall_s);
}

enum cert_verdict cert_verify(const struct cert_ca *ca, const struct cert_crl *crl,
                              const uint8_t *der, size_t len, int64_t wall_s, bool wall_known,
                              struct cert *out)
{
    return verify(ca, crl, der, len, wall_s, wall_known, INT64_MAX, out);
}

enum cert_verdict cert_verify_written(const struct cert_ca *ca, const uint8_t *der, size_t len,
                                      int64_t wall_s, bool wall_known, struct cert *out)
{
    return verify(ca, NULL, der, len, wall_s, wall_known, wall_s - CERT_ENDED_S, out);
}
