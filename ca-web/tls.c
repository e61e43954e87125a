#include "ca-web/tls.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ca-web/issue.h"

enum { TLS_FILE_MAX = 256 * 1024 };

void tls_clear(struct tls *t)
{
    text_clear(&t->certificate);
    text_clear(&t->key);
    *t = (struct tls){0};
}

static bool file_read(struct text *out, const char *path)
{
    char block[4096];
    FILE *f = fopen(path, "re");

    if (!f)
        return false;
    for (size_t len; (len = fread(block, 1, sizeof block, f)) > 0 && out->len < TLS_FILE_MAX;)
        text_add(out, block, len);
    bool ok = !ferror(f) && feof(f) && out->len && !out->failed;
    fclose(f);
    wipe(block, sizeof block);
    return ok;
}

/* Written beside and renamed, so that a reader never meets half a file. */
static bool file_write(const char *path, const struct text *t)
{
    char temporary[1300];

    snprintf(temporary, sizeof temporary, "%s.%ld.new", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool ok = fchmod(fd, 0600) == 0 && write(fd, t->p, t->len) == (ssize_t)t->len && fsync(fd) == 0;
    close(fd);
    ok = ok && rename(temporary, path) == 0;
    if (!ok)
        unlink(temporary);
    return ok;
}

static X509 *parse_certificate(const struct text *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->p, (int)pem->len);
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return x;
}

/* A key behind a passphrase is refused: nobody is there to type it. */
static int no_passphrase(char *buf, int size, int rwflag, void *ctx)
{
    return -1;
}

static EVP_PKEY *parse_key(const struct text *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->p, (int)pem->len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    return key;
}

static bool bio_to_text(BIO *bio, struct text *out)
{
    char *p = NULL;
    long len = BIO_get_mem_data(bio, &p);

    if (len <= 0)
        return false;
    text_add(out, p, (size_t)len);
    return !out->failed;
}

static bool write_pin(char pin[TLS_PIN_SIZE], X509 *x)
{
    uint8_t *der = NULL, hash[HASH_LEN];
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);

    if (len <= 0)
        return false;
    sha256(hash, der, (size_t)len);
    OPENSSL_free(der);
    sodium_bin2base64(pin, TLS_PIN_SIZE, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL);
    return true;
}

/* 0: it has none that makes sense. */
static int64_t certificate_end(const X509 *x)
{
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

bool tls_load(struct tls *t, const char *certificate_file, const char *key_file, const char **why)
{
    X509 *x = NULL;
    EVP_PKEY *key = NULL;
    bool ok = false;

    *t = (struct tls){0};
    *why = "cannot read the certificate or the key";
    if (file_read(&t->certificate, certificate_file) && file_read(&t->key, key_file)) {
        *why = "the certificate or the key is not PEM";
        x = parse_certificate(&t->certificate);
        key = parse_key(&t->key);
    }
    if (x && key) {
        *why = "the key is not the certificate's";
        ok = X509_check_private_key(x, key) == 1 && write_pin(t->pin, x);
        t->until_s = certificate_end(x);
    }
    X509_free(x);
    EVP_PKEY_free(key);
    if (!ok)
        tls_clear(t);
    return ok;
}

static bool key_make(const char *path, struct text *out)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_secmem());
    bool ok = key && bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 &&
              bio_to_text(bio, out) && file_write(path, out);

    BIO_free(bio);
    EVP_PKEY_free(key);
    return ok;
}

/* A name's kind decides the check, as in a client. */
static bool covers(X509 *x, const char *name)
{
    struct addr address;

    return addr_parse(&address, name) ? X509_check_ip_asc(x, name, 0) == 1
                                      : X509_check_host(x, name, 0, 0, NULL) == 1;
}

static bool certificate_good(const struct text *pem, EVP_PKEY *key, const char *const *names,
                             size_t n, int64_t now_s)
{
    X509 *x = parse_certificate(pem);
    time_t soon = (time_t)(now_s + TLS_RENEW_S), now = (time_t)now_s;
    bool good = x && X509_check_private_key(x, key) == 1 &&
                X509_cmp_time(X509_get0_notAfter(x), &soon) > 0 &&
                X509_cmp_time(X509_get0_notBefore(x), &now) < 0;

    for (size_t i = 0; i < n && good; i++)
        good = covers(x, names[i]);
    X509_free(x);
    return good;
}

static bool add_names(X509 *x, const char *const *names, size_t n)
{
    char list[TLS_NAMES_MAX * 300] = "";
    struct addr address;
    size_t used = 0;

    CHECK(n <= TLS_NAMES_MAX);
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s:%s", i ? "," : "",
                                 addr_parse(&address, names[i]) ? "IP" : "DNS", names[i]);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, list);
    X509_EXTENSION *use = X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, "serverAuth");
    X509_EXTENSION *basic =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:FALSE");
    bool ok = san && use && basic && X509_add_ext(x, san, -1) && X509_add_ext(x, use, -1) &&
              X509_add_ext(x, basic, -1);
    X509_EXTENSION_free(san);
    X509_EXTENSION_free(use);
    X509_EXTENSION_free(basic);
    return ok;
}

static bool certificate_fill(X509 *x, EVP_PKEY *key, const char *const *names, size_t n,
                             int64_t now_s)
{
    uint8_t serial[16];
    X509_NAME *subject = X509_get_subject_name(x);

    issue_serial(serial);
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) &&
              X509_set_version(x, X509_VERSION_3) &&
              X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                         (const unsigned char *)"peal-ca", -1, -1, 0) &&
              X509_set_issuer_name(x, subject) && X509_set_pubkey(x, key) &&
              ASN1_TIME_adj(X509_getm_notBefore(x), (time_t)(now_s - ISSUE_BACKDATE_S), 0, 0) &&
              ASN1_TIME_adj(X509_getm_notAfter(x), (time_t)(now_s + TLS_LIFE_S), 0, 0) &&
              add_names(x, names, n);
    BN_free(number);
    return ok && X509_sign(x, key, EVP_sha256());
}

static bool certificate_make(const char *path, EVP_PKEY *key, const char *const *names, size_t n,
                             int64_t now_s, struct text *out)
{
    X509 *x = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = x && bio && certificate_fill(x, key, names, n, now_s) &&
              PEM_write_bio_X509(bio, x) == 1 && bio_to_text(bio, out) && file_write(path, out);

    BIO_free(bio);
    X509_free(x);
    return ok;
}

bool tls_make(struct tls *t, const struct home *h, const char *const *names, size_t n,
              int64_t now_s, const char **why)
{
    char key_path[1200], certificate_path[1200];
    EVP_PKEY *key = NULL;
    X509 *x = NULL;

    *t = (struct tls){0};
    *why = "cannot make the TLS key and certificate";
    home_path(h, "tls.key", key_path);
    home_path(h, "tls.crt", certificate_path);
    /* A key that is there but cannot be read is not replaced: blobs pin it. */
    bool ok =
        access(key_path, F_OK) == 0 ? file_read(&t->key, key_path) : key_make(key_path, &t->key);
    key = ok ? parse_key(&t->key) : NULL;
    ok = key && ((file_read(&t->certificate, certificate_path) &&
                  certificate_good(&t->certificate, key, names, n, now_s)) ||
                 (text_clear(&t->certificate),
                  certificate_make(certificate_path, key, names, n, now_s, &t->certificate)));
    x = ok ? parse_certificate(&t->certificate) : NULL;
    ok = x && write_pin(t->pin, x);
    t->until_s = x ? certificate_end(x) : 0;
    X509_free(x);
    EVP_PKEY_free(key);
    if (!ok)
        tls_clear(t);
    return ok;
}

static bool pin_of_key(const struct text *pem, char pin[TLS_PIN_SIZE])
{
    EVP_PKEY *key = parse_key(pem);
    X509 *x = X509_new();
    bool ok = key && x && X509_set_pubkey(x, key) && write_pin(pin, x);

    X509_free(x);
    EVP_PKEY_free(key);
    return ok;
}

bool tls_next_pin(const struct home *h, char pin[TLS_PIN_SIZE])
{
    struct text key = {0};
    char path[1200];
    bool ok = file_read(&key, home_path(h, "tls.next.key", path)) && pin_of_key(&key, pin);

    text_clear(&key);
    return ok;
}

bool tls_key_pin(const char *file, char pin[TLS_PIN_SIZE], const char **why)
{
    struct text key = {0};

    *why = "cannot read a private key in PEM from it";
    bool ok = file_read(&key, file) && pin_of_key(&key, pin);
    text_clear(&key);
    return ok;
}

bool tls_announce(const struct home *h, char pin[TLS_PIN_SIZE], const char **why)
{
    struct text key = {0};
    char path[1200];

    *why = "the next TLS key cannot be made or read";
    home_path(h, "tls.next.key", path);
    bool ok = access(path, F_OK) == 0 || key_make(path, &key);
    text_clear(&key);
    return ok && tls_next_pin(h, pin);
}

bool tls_switch(const struct home *h, int64_t now_s, const char **why)
{
    char pin[TLS_PIN_SIZE], key[1200], next[1200], kept[1300];

    *why = "no key was announced";
    if (!tls_next_pin(h, pin))
        return false;
    *why = "the keys cannot be renamed";
    home_path(h, "tls.key", key);
    home_path(h, "tls.next.key", next);
    snprintf(kept, sizeof kept, "%s.before-%lld", key, (long long)now_s);
    /* A name more for the old one, then one rename(2): there is a key at every moment. */
    return link(key, kept) == 0 && rename(next, key) == 0;
}
