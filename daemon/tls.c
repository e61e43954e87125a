#include "daemon/tls.h"

#include "overlay/core/err.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>

enum { TLS_CERTIFICATE_DAYS = 30 };

struct tls_context {
    SSL_CTX *ctx; /* from the first connection on: it takes 3 MB, and most never need it */
};

struct tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

/* Self-signed, for nobody to look at. */
static X509 *certificate_for(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;

    if (name && X509_set_version(cert, X509_VERSION_3) &&
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1, -1,
                                   0) &&
        X509_set_issuer_name(cert, name) && X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
        X509_gmtime_adj(X509_getm_notAfter(cert), TLS_CERTIFICATE_DAYS * 86400L) &&
        X509_set_pubkey(cert, key) && X509_sign(cert, key, EVP_sha256()))
        return cert;
    X509_free(cert);
    return NULL;
}

static bool use_fresh_certificate(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? certificate_for(key) : NULL;
    bool ok =
        cert && SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;

    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}

struct tls_context *tls_context_new(void)
{
    return calloc(1, sizeof(struct tls_context));
}

static SSL_CTX *new_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    if (ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_num_tickets(ctx, 0) == 1 && use_fresh_certificate(ctx)) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
        return ctx;
    }
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return NULL;
}

void tls_context_free(struct tls_context *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ctx);
    free(c);
}

struct tls *tls_new(struct tls_context *c, bool server)
{
    struct tls *t = NULL;

    if (!c->ctx)
        c->ctx = new_ctx();
    if (!c->ctx || !(t = calloc(1, sizeof *t)))
        return NULL;
    t->ssl = SSL_new(c->ctx);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->ssl || !t->in || !t->out) {
        BIO_free(t->in);
        BIO_free(t->out);
        SSL_free(t->ssl);
        free(t);
        return NULL;
    }
    SSL_set_bio(t->ssl, t->in, t->out);
    if (server) {
        SSL_set_accept_state(t->ssl);
    } else {
        SSL_set_connect_state(t->ssl);
        (void)SSL_do_handshake(t->ssl); /* its hello stands in `out` now */
        ERR_clear_error();
    }
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    free(t);
}

bool tls_input(struct tls *t, const uint8_t *bytes, size_t len)
{
    size_t written;

    return BIO_write_ex(t->in, bytes, len, &written) == 1 && written == len;
}

int tls_read(struct tls *t, uint8_t *out, size_t size)
{
    int n = SSL_read(t->ssl, out, (int)size);
    int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, n);

    ERR_clear_error();
    if (n > 0)
        return n;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

bool tls_ready(const struct tls *t)
{
    return SSL_is_init_finished(t->ssl);
}

bool tls_write(struct tls *t, const uint8_t *bytes, size_t len)
{
    size_t written;
    bool ok = SSL_write_ex(t->ssl, bytes, len, &written) == 1 && written == len;

    ERR_clear_error();
    return ok;
}

size_t tls_output_len(const struct tls *t)
{
    return BIO_ctrl_pending(t->out);
}

size_t tls_output(struct tls *t, uint8_t *out, size_t size)
{
    size_t n = 0;

    return BIO_read_ex(t->out, out, size, &n) == 1 ? n : 0;
}
