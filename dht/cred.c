#include "dht/cred.h"

#include <stdlib.h>
#include <string.h>

void creds_init(struct creds *c, const struct dht_config *config, const struct dht_host *host,
                void *ctx, const struct env *env)
{
    *c = (struct creds){
        .overlay = config->overlay,
        .ca = config->ca,
        .removed = config->removed,
        .rendezvous = config->rendezvous,
        .env = env,
        .bound = host->bound,
        .ctx = ctx,
    };
    table_init(&c->by_hash, offsetof(struct cred, hash), HASH_LEN, CREDS_MAX, env->hash_key);
}

void creds_clear(struct creds *c)
{
    struct cred *cred;

    for (size_t i = 0; (cred = table_next(&c->by_hash, &i)) != NULL;)
        free(cred);
    table_clear(&c->by_hash);
}

struct cred *creds_find(struct creds *c, const uint8_t hash[HASH_LEN])
{
    struct cred *cred = table_get(&c->by_hash, hash);

    if (cred != NULL)
        cred->used = ++c->clock;
    return cred;
}

static void drop(struct creds *c, struct cred *cred)
{
    CHECK(cred->refs == 0);
    table_remove(&c->by_hash, cred->hash);
    c->bytes -= sizeof(*cred) + cred->len;
    c->idle--;
    free(cred);
}

static struct cred *longest_unused(const struct creds *c)
{
    struct cred *victim = NULL;
    struct cred *cred;

    for (size_t i = 0; (cred = table_next(&c->by_hash, &i)) != NULL;)
        if (cred->refs == 0 && (victim == NULL || cred->used < victim->used))
            victim = cred;
    return victim;
}

static struct cred *insert(struct creds *c, const struct cert *cert, const uint8_t *der, size_t len)
{
    struct cred *cred;

    if (c->idle >= CREDS_IDLE_MAX)
        drop(c, longest_unused(c));
    cred = calloc(1, sizeof(*cred) + len);
    if (cred == NULL)
        return NULL;
    memcpy(cred->hash, cert->hash, HASH_LEN);
    cred->node = cert->node;
    cred->site = cert->site;
    cred->enrolment = cert->enrolment;
    cred->key = cert->key;
    memcpy(cred->serial, cert->serial, cert->serial_len);
    cred->serial_len = cert->serial_len;
    cred->len = (uint16_t)len;
    cred->used = ++c->clock;
    memcpy(cred->der, der, len);
    if (table_put(&c->by_hash, cred) != 0) {
        free(cred);
        return NULL;
    }
    c->bytes += sizeof(*cred) + len;
    c->idle++;
    return cred;
}

struct cred *creds_add(struct creds *c, const uint8_t *der, size_t len)
{
    struct cert cert;
    struct cred *cred;

    if (c->ca == NULL || len > CERT_DER_MAX)
        return NULL;
    if (cert_verify_written(c->ca, der, len, c->env->wall_s, c->env->wall_known, &cert) !=
            CERT_OK ||
        (c->removed != NULL && removed_lists(c->removed, &cert)))
        return NULL;
    cred = creds_find(c, cert.hash);
    return cred != NULL ? cred : insert(c, &cert, der, len);
}

int creds_set_own(struct creds *c, const uint8_t *der, size_t len)
{
    struct cert cert;
    struct cred *cred;

    if (len > CERT_DER_MAX || cert_read(der, len, &cert) != CERT_OK)
        return -ERR_FORMAT;
    cred = creds_find(c, cert.hash);
    if (cred == NULL)
        cred = insert(c, &cert, der, len);
    if (cred == NULL)
        return -ERR_NOMEM;
    if (cred == c->own[0])
        return 0;
    cred_ref(c, cred);
    cred_unref(c, c->own[1]);
    c->own[1] = c->own[0];
    c->own[0] = cred;
    return 0;
}

void creds_own_credential(const struct creds *c, const struct sign_public *pub,
                          uint8_t out[CREDENTIAL_LEN])
{
    if (c->ca != NULL)
        memcpy(out, c->own[0]->hash, CREDENTIAL_LEN);
    else
        memcpy(out, pub->b, CREDENTIAL_LEN);
}

/* One of a list under the key that the writer's own stands for. */
static bool meets_there(const struct creds *c, const struct record *rec,
                        const struct sign_public *pub)
{
    struct id key = dht_rendezvous_key(&c->overlay, pub);

    return !record_single(rec) && id_eq(&key, &rec->key);
}

static enum cred_verdict judge_bare(const struct creds *c, const struct record *rec)
{
    struct sign_public pub;
    struct id node;

    memcpy(pub.b, rec->credential, CREDENTIAL_LEN);
    node = node_id_self(&pub);
    if (!id_eq(&node, &rec->writer) ||
        !(c->rendezvous ? meets_there(c, rec, &pub) : id_eq(&rec->owner, &rec->writer)))
        return CRED_BAD;
    return record_verify(rec, &c->overlay, &pub) ? CRED_OK : CRED_BAD;
}

static bool may_write(const struct cred *cred, const struct record *rec)
{
    if (!id_eq(&cred->node, &rec->writer))
        return false;
    if (id_eq(&rec->owner, &rec->writer))
        return true;
    return !id_is_zero(&cred->site) && id_eq(&rec->owner, &cred->site);
}

enum cred_verdict creds_judge(struct creds *c, const struct record *rec, struct cred **cred)
{
    *cred = NULL;
    if (record_outdated(rec, c->env))
        return CRED_BAD;
    if (c->ca == NULL)
        return judge_bare(c, rec);
    *cred = creds_find(c, rec->credential);
    if (*cred == NULL)
        return CRED_UNKNOWN;
    if (!may_write(*cred, rec))
        return CRED_BAD;
    return record_verify(rec, &c->overlay, &(*cred)->key) ? CRED_OK : CRED_BAD;
}

void cred_ref(struct creds *c, struct cred *cred)
{
    if (cred == NULL)
        return;
    if (cred->refs++ == 0)
        c->idle--;
}

void cred_unref(struct creds *c, struct cred *cred)
{
    if (cred == NULL)
        return;
    CHECK(cred->refs > 0);
    if (--cred->refs > 0)
        return;
    c->idle++;
    if (c->idle > CREDS_IDLE_MAX)
        drop(c, longest_unused(c));
}

bool creds_revoked(const struct creds *c, const struct cred *cred)
{
    struct cert cert = {.node = cred->node, .key = cred->key, .serial_len = cred->serial_len};

    memcpy(cert.serial, cred->serial, cred->serial_len);
    return c->removed != NULL && removed_lists(c->removed, &cert);
}

void creds_drop_idle(struct creds *c)
{
    while (c->idle > 0)
        drop(c, longest_unused(c));
}

bool creds_bound(const struct creds *c, const struct id *key, const struct cred *cred)
{
    struct cert cert;

    if (cred == NULL || c->bound == NULL || cert_read(cred->der, cred->len, &cert) != CERT_OK)
        return false;
    return c->bound(c->ctx, key, &cert);
}

static struct id lot(const struct id *key, const struct id *owner)
{
    struct bytes parts[] = {{key->b, ID_LEN}, {owner->b, ID_LEN}};

    return id_hash(parts, ARRAY_LEN(parts));
}

bool creds_wins(const struct creds *c, const struct record *a, const struct cred *a_cred,
                const struct record *b, const struct cred *b_cred)
{
    struct id a_lot = lot(&a->key, &a->owner);
    struct id b_lot = lot(&b->key, &b->owner);

    if (a_cred != NULL && b_cred != NULL) {
        bool a_bound = creds_bound(c, &a->key, a_cred);
        bool b_bound = creds_bound(c, &b->key, b_cred);

        if (a_bound != b_bound)
            return a_bound;
        if (a_cred->enrolment != b_cred->enrolment)
            return a_cred->enrolment < b_cred->enrolment;
    }
    return id_cmp(&a_lot, &b_lot) < 0;
}
