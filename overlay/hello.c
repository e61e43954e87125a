#include "overlay/hello.h"

#include <string.h>

static const struct {
    const char *theirs, *ours;
} texts[REFUSAL_MAX] = {
    [REFUSAL_NONE] = {"", ""},
    [REFUSAL_MALFORMED] = {"certificate malformed", "the peer cannot read our certificate"},
    [REFUSAL_GROUP] = {"certificate of another group", "the peer belongs to another group"},
    [REFUSAL_ID] = {"node id does not match", "the peer says our node id does not match"},
    [REFUSAL_EXPIRED] = {"certificate expired", "the peer says our certificate expired"},
    [REFUSAL_NOT_YET_VALID] = {"certificate not yet valid",
                               "the peer says our certificate is not yet valid"},
    [REFUSAL_REVOKED] = {"certificate revoked", "the peer says our certificate is revoked"},
    [REFUSAL_NO_CERTIFICATE] = {"no certificate shown",
                                "the peer wants a certificate and we have none"},
    [REFUSAL_KEY] = {"certificate of another key",
                     "the peer says our certificate is of another key"},
    [REFUSAL_OTHER_NODE] = {"another node answered", "the peer expected another node"},
    [REFUSAL_AEAD] = {"no common cipher", "the peer says there is no common cipher"},
    [REFUSAL_FULL] = {"too many sessions", "the peer has too many sessions"},
};

const char *refusal_text(enum refusal r)
{
    return (unsigned)r < REFUSAL_MAX ? texts[r].theirs : "refused";
}

const char *refusal_text_ours(enum refusal r)
{
    return (unsigned)r < REFUSAL_MAX ? texts[r].ours : "the peer refused us";
}

int hello_write(const struct hello *h, uint8_t *out, size_t size, size_t *eps_written)
{
    struct writer w = writer_of(out, size);
    size_t n = 0;

    *eps_written = 0;
    CHECK(h->identity_len <= UINT16_MAX && h->ep_count <= HELLO_ENDPOINTS_MAX);
    write_u8(&w, HELLO_VERSION);
    write_u8(&w, h->flags);
    write_u16(&w, (uint16_t)h->identity_len);
    write_bytes(&w, h->identity, h->identity_len);
    write_u64(&w, h->incarnation);
    write_u64(&w, h->crl_number);
    write_u32(&w, h->aeads);
    if (w.failed || writer_left(&w) == 0)
        return -ERR_RANGE;
    uint8_t *count = w.p;

    write_u8(&w, 0);
    while (n < h->ep_count) {
        struct writer before = w;

        write_endpoint(&w, &h->eps[n]);
        if (w.failed) {
            w = before;
            break;
        }
        n++;
    }
    *count = (uint8_t)n;
    *eps_written = n;
    return (int)writer_len(&w);
}

bool hello_read(struct hello *out, const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len);

    memset(out, 0, sizeof(*out));
    uint8_t version = read_u8(&r);

    out->flags = read_u8(&r);
    out->identity_len = read_u16(&r);
    out->identity = read_bytes(&r, out->identity_len);
    out->incarnation = read_u64(&r);
    out->crl_number = read_u64(&r);
    out->aeads = read_u32(&r);
    size_t n = read_u8(&r);

    if (r.failed || version != HELLO_VERSION || n > HELLO_ENDPOINTS_MAX || out->identity_len == 0 ||
        (out->flags & ~(HELLO_CERTIFICATE | HELLO_REKEY | HELLO_DATA)) != 0)
        return false;
    for (; out->ep_count < n; out->ep_count++) {
        out->eps[out->ep_count] = read_endpoint(&r);
        if (out->eps[out->ep_count].addr.family == 0)
            return false;
    }
    return reader_done(&r);
}

static enum refusal refusal_of(enum cert_verdict v)
{
    switch (v) {
    case CERT_OK:
        return REFUSAL_NONE;
    case CERT_MALFORMED:
        return REFUSAL_MALFORMED;
    case CERT_WRONG_ISSUER:
    case CERT_WRONG_GROUP:
        return REFUSAL_GROUP;
    case CERT_WRONG_ID:
        return REFUSAL_ID;
    case CERT_EXPIRED:
        return REFUSAL_EXPIRED;
    case CERT_NOT_YET_VALID:
        return REFUSAL_NOT_YET_VALID;
    case CERT_REVOKED:
        return REFUSAL_REVOKED;
    }
    return REFUSAL_MALFORMED;
}

/* The signing key that was shown, converted, is the key that Noise authenticated. */
static bool key_is(const struct sign_public *key, const struct dh_public *remote)
{
    struct dh_public converted;

    return sign_public_to_dh(&converted, key) && equal_ct(&converted, remote, sizeof(converted));
}

static enum refusal verify_bare_key(const struct hello *h, const struct dh_public *remote,
                                    struct cert *who)
{
    if ((h->flags & HELLO_CERTIFICATE) != 0 || h->identity_len != sizeof(who->key))
        return REFUSAL_MALFORMED;
    memcpy(&who->key, h->identity, sizeof(who->key));
    if (!key_is(&who->key, remote))
        return REFUSAL_KEY;
    who->node = node_id_self(&who->key);
    memcpy(who->hash, &who->key, sizeof(who->key));
    return REFUSAL_NONE;
}

enum refusal hello_verify(const struct hello *h, const struct sessions_config *config,
                          const struct env *env, const struct dh_public *remote, struct cert *who)
{
    memset(who, 0, sizeof(*who));
    if (config->ca == NULL)
        return verify_bare_key(h, remote, who);
    if ((h->flags & HELLO_CERTIFICATE) == 0)
        return REFUSAL_NO_CERTIFICATE;
    enum cert_verdict v = cert_verify(config->ca, NULL, h->identity, h->identity_len, env->wall_s,
                                      env->wall_known, who);

    if (v == CERT_OK && config->removed != NULL && removed_lists(config->removed, who))
        v = CERT_REVOKED;
    if (v != CERT_OK)
        return refusal_of(v);
    return key_is(&who->key, remote) ? REFUSAL_NONE : REFUSAL_KEY;
}
