#include "ca-web/credential.h"

#include <pthread.h>
#include <stdlib.h>

#include "overlay/core/err.h"

struct credential {
    struct credential *older;
    gnutls_pcert_st chain[CREDENTIAL_CHAIN_MAX];
    unsigned length;
    gnutls_privkey_t key;
    int64_t replaced_s;
};

struct credentials {
    pthread_mutex_t lock; /* of current */
    struct credential *current;
};

static void credential_free(struct credential *one)
{
    for (unsigned i = 0; i < one->length; i++)
        gnutls_pcert_deinit(&one->chain[i]);
    gnutls_privkey_deinit(one->key);
    free(one);
}

static struct credential *credential_make(const struct tls *tls, const char **why)
{
    const gnutls_datum_t certificate = {(unsigned char *)tls->certificate.p,
                                        (unsigned)tls->certificate.len};
    const gnutls_datum_t key = {(unsigned char *)tls->key.p, (unsigned)tls->key.len};
    struct credential *one = calloc(1, sizeof *one);
    unsigned length = CREDENTIAL_CHAIN_MAX;

    *why = "out of memory";
    if (!one || gnutls_privkey_init(&one->key)) {
        free(one);
        return NULL;
    }
    *why = "TLS does not take the key";
    if (gnutls_privkey_import_x509_raw(one->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0))
        goto fail;
    *why = "TLS does not take the certificate, or there are more than eight in its chain";
    if (gnutls_pcert_list_import_x509_raw(one->chain, &length, &certificate, GNUTLS_X509_FMT_PEM,
                                          0))
        goto fail;
    one->length = length;
    return one;
fail:
    credential_free(one);
    return NULL;
}

struct credentials *credentials_new(const struct tls *tls, const char **why)
{
    struct credentials *c = calloc(1, sizeof *c);

    CHECK(c);
    c->current = credential_make(tls, why);
    if (!c->current) {
        free(c);
        return NULL;
    }
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void credentials_free(struct credentials *c)
{
    if (!c)
        return;
    for (struct credential *one = c->current, *older; one; one = older) {
        older = one->older;
        credential_free(one);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* Frees what nobody can be looking at any more; how many linger. */
static size_t credentials_sweep(struct credentials *c, int64_t now_s)
{
    size_t kept = 0;

    for (struct credential **at = &c->current->older; *at;) {
        struct credential *one = *at;

        if (now_s - one->replaced_s > CREDENTIAL_LINGER_S) {
            *at = one->older;
            credential_free(one);
        } else {
            at = &one->older;
            kept++;
        }
    }
    return kept;
}

bool credentials_replace(struct credentials *c, const struct tls *tls, int64_t now_s,
                         const char **why)
{
    *why = "it was replaced too often within two minutes; try again later";
    if (credentials_sweep(c, now_s) >= CREDENTIALS_KEPT)
        return false;
    struct credential *one = credential_make(tls, why);
    if (!one)
        return false;
    c->current->replaced_s = now_s;
    one->older = c->current;
    pthread_mutex_lock(&c->lock);
    c->current = one;
    pthread_mutex_unlock(&c->lock);
    return true;
}

void credentials_current(struct credentials *c, gnutls_pcert_st **chain, unsigned *length,
                         gnutls_privkey_t *key)
{
    pthread_mutex_lock(&c->lock);
    *chain = c->current->chain;
    *length = c->current->length;
    *key = c->current->key;
    pthread_mutex_unlock(&c->lock);
}
