#include "overlay/crypto/removed.h"

#include "overlay/core/wire.h"
#include "overlay/crypto/x509.h"

#include <stdlib.h>
#include <string.h>

static const char label[] = "peal removal";

struct removed {
    struct cert_crl *crl;
    uint8_t *der; /* of crl */
    size_t der_len;
    struct removal **v; /* sorted by number */
    size_t count, size;
};

struct removed *removed_new(void)
{
    return calloc(1, sizeof(struct removed));
}

void removed_free(struct removed *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->v[i]);
    free(r->v);
    cert_crl_free(r->crl);
    free(r->der);
    free(r);
}

/* --- Removals --- */

static bool signed_by(const struct cert_ca *ca, const uint8_t *message, size_t len)
{
    uint8_t text[sizeof label - 1 + REMOVAL_MAX];
    const struct ca_cert *certs;
    size_t count = cert_ca_certs(ca, &certs), body = len - SIGNATURE_LEN;
    struct sign_public key;

    memcpy(text, label, sizeof label - 1);
    memcpy(text + sizeof label - 1, message, body);
    for (size_t i = 0; i < count; i++) {
        if (certs[i].ended_s == 0 && x509_key(X509_get0_pubkey(certs[i].x), &key) &&
            sign_verify(message + body, text, sizeof label - 1 + body, &key))
            return true;
    }
    return false;
}

/* Serials: `count` of them, each of 1 to CERT_SERIAL_MAX bytes. */
static bool skip_serials(struct reader *r, uint8_t count)
{
    for (uint8_t i = 0; i < count; i++) {
        uint8_t len = read_u8(r);

        if (len == 0 || len > CERT_SERIAL_MAX || read_bytes(r, len) == NULL)
            return false;
    }
    return count <= REMOVAL_SERIALS_MAX;
}

enum { VERSION_REMOVAL = 1, VERSION_SUCCESSION = 2 };

bool removed_is_succession(const uint8_t *message, size_t len)
{
    return len > SUCCESSION_HEAD + SIGNATURE_LEN && message[0] == VERSION_SUCCESSION;
}

static bool is_succession(const struct removal *one)
{
    return one->bytes[0] == VERSION_SUCCESSION;
}

static size_t succession_der(const struct removal *one, const uint8_t **der)
{
    *der = one->bytes + SUCCESSION_HEAD;
    return one->len - SUCCESSION_HEAD - SIGNATURE_LEN;
}

static bool read_succession(struct removal *out, const struct cert_ca *ca, const uint8_t *message,
                            size_t len)
{
    struct reader r = reader_of(message, len);
    struct id group;
    uint8_t flags;

    (void)read_u8(&r);
    group = read_id(&r);
    *out = (struct removal){.number = read_u64(&r), .at_s = (int64_t)read_u64(&r)};
    flags = read_u8(&r);
    return !r.failed && reader_left(&r) > SIGNATURE_LEN && out->number > 0 &&
           (flags & ~SUCCESSION_ONLY) == 0 && id_eq(&group, cert_ca_group(ca)) &&
           signed_by(ca, message, len) &&
           cert_ca_fits(ca, message + SUCCESSION_HEAD, len - SUCCESSION_HEAD - SIGNATURE_LEN);
}

static bool read_removal(struct removal *out, const struct cert_ca *ca, const uint8_t *message,
                         size_t len)
{
    struct reader r = reader_of(message, len);
    bool known = read_u8(&r) == VERSION_REMOVAL;
    struct id group = read_id(&r);

    out->number = read_u64(&r);
    out->at_s = (int64_t)read_u64(&r);
    out->node = read_id(&r);
    read_copy(&r, out->key.b, sizeof out->key.b);
    return known && skip_serials(&r, read_u8(&r)) && read_bytes(&r, SIGNATURE_LEN) != NULL &&
           reader_done(&r) && out->number > 0 && id_eq(&group, cert_ca_group(ca)) &&
           signed_by(ca, message, len);
}

/* Where the first one with a number above that is, or would be. */
static size_t position_after(const struct removed *r, uint64_t number)
{
    size_t low = 0, high = r->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (r->v[middle]->number > number)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool make_room(struct removed *r)
{
    struct removal **v;
    size_t size = r->size ? 2 * r->size : 8;

    if (r->count == REMOVED_MAX) {
        free(r->v[0]);
        memmove(r->v, r->v + 1, --r->count * sizeof(struct removal *));
    }
    if (r->count < r->size)
        return true;
    v = realloc(r->v, size * sizeof(struct removal *));
    if (v == NULL)
        return false;
    r->v = v;
    r->size = size;
    return true;
}

enum removed_news removed_add(struct removed *r, const struct cert_ca *ca, const uint8_t *message,
                              size_t len)
{
    struct removal *one;
    size_t at;

    if (len > REMOVAL_MAX)
        return REMOVED_BAD;
    one = malloc(sizeof *one + len);
    if (one == NULL)
        return REMOVED_NOMEM;
    if (!(removed_is_succession(message, len) ? read_succession : read_removal)(one, ca, message,
                                                                                len)) {
        free(one);
        return REMOVED_BAD;
    }
    at = position_after(r, one->number);
    if (at > 0 && r->v[at - 1]->number == one->number) {
        free(one);
        return REMOVED_KNOWN;
    }
    if (!make_room(r)) {
        free(one);
        return REMOVED_NOMEM;
    }
    one->len = (uint16_t)len;
    memcpy(one->bytes, message, len);
    at = position_after(r, one->number);
    memmove(r->v + at + 1, r->v + at, (r->count - at) * sizeof(struct removal *));
    r->v[at] = one;
    r->count++;
    return REMOVED_NEW;
}

/* --- The CRL --- */

enum removed_news removed_add_crl(struct removed *r, const struct cert_ca *ca, const uint8_t *der,
                                  size_t len, const char **why)
{
    struct cert_crl *crl = cert_crl_new(ca, der, len, why);
    uint8_t *copy;

    if (crl == NULL)
        return REMOVED_BAD;
    if (cert_crl_number(crl) <= removed_crl_number(r)) {
        cert_crl_free(crl);
        return REMOVED_KNOWN;
    }
    copy = malloc(len);
    if (copy == NULL) {
        cert_crl_free(crl);
        return REMOVED_NOMEM;
    }
    memcpy(copy, der, len);
    cert_crl_free(r->crl);
    free(r->der);
    r->crl = crl;
    r->der = copy;
    r->der_len = len;
    return REMOVED_NEW;
}

const uint8_t *removed_crl(const struct removed *r, size_t *len)
{
    *len = r->der_len;
    return r->der;
}

uint64_t removed_crl_number(const struct removed *r)
{
    return r->crl != NULL ? cert_crl_number(r->crl) : 0;
}

int64_t removed_crl_next_s(const struct removed *r)
{
    return r->crl != NULL ? cert_crl_next_update_s(r->crl) : 0;
}

size_t removed_crl_entries(const struct removed *r)
{
    return r->crl != NULL ? cert_crl_entries(r->crl) : 0;
}

/* --- Asking --- */

static bool has_serial(const struct removal *one, const struct cert *cert)
{
    const uint8_t *p = one->bytes + 1 + ID_LEN + 8 + 8 + ID_LEN + sizeof one->key.b;
    uint8_t count = *p++;

    for (uint8_t i = 0; i < count; p += 1 + p[0], i++) {
        if (p[0] == cert->serial_len && memcmp(p + 1, cert->serial, cert->serial_len) == 0)
            return true;
    }
    return false;
}

bool removed_lists(const struct removed *r, const struct cert *cert)
{
    if (r->crl != NULL && cert->serial_len > 0 &&
        cert_crl_lists(r->crl, cert->serial, cert->serial_len))
        return true;
    for (size_t i = 0; i < r->count; i++) {
        const struct removal *one = r->v[i];

        if (is_succession(one))
            continue;
        if (id_eq(&one->node, &cert->node) ||
            memcmp(one->key.b, cert->key.b, sizeof one->key.b) == 0 || has_serial(one, cert))
            return true;
    }
    return false;
}

bool removed_names(const struct removed *r, const struct id *node)
{
    for (size_t i = 0; i < r->count; i++)
        if (!is_succession(r->v[i]) && id_eq(&r->v[i]->node, node))
            return true;
    return false;
}

void removed_trust(const struct removed *r, struct cert_ca *ca)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct removal *one = r->v[i];
        const uint8_t *der;
        size_t len;

        if (!is_succession(one))
            continue;
        len = succession_der(one, &der);
        if ((one->bytes[SUCCESSION_HEAD - 1] & SUCCESSION_ONLY) != 0)
            (void)!cert_ca_only(ca, der, len, one->at_s);
        else
            (void)!cert_ca_add(ca, der, len);
    }
}

uint64_t removed_number(const struct removed *r)
{
    uint64_t crl = removed_crl_number(r), last = r->count > 0 ? r->v[r->count - 1]->number : 0;

    return crl > last ? crl : last;
}

const struct removal *removed_after(const struct removed *r, uint64_t number)
{
    size_t at = position_after(r, number);

    return at < r->count ? r->v[at] : NULL;
}

size_t removed_count(const struct removed *r)
{
    return r->count;
}
