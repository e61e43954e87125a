#include "ca-web/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct vault {
    struct secret key;
};

enum { KEY_TEXT_LEN = 64 };

static int vault_read(struct secret *key, const char *path)
{
    char hex[KEY_TEXT_LEN + 2] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? -ERR_NOT_FOUND : -ERR_BAD_STATE;
    ssize_t len = read(fd, hex, sizeof hex);
    close(fd);
    bool whole = len == KEY_TEXT_LEN || (len == KEY_TEXT_LEN + 1 && hex[KEY_TEXT_LEN] == '\n');
    hex[KEY_TEXT_LEN] = '\0';
    bool ok = whole && hex_parse(key->b, sizeof key->b, hex);
    wipe(hex, sizeof hex);
    return ok ? 0 : -ERR_FORMAT;
}

static bool write_all(int fd, const char *p, size_t len)
{
    return write(fd, p, len) == (ssize_t)len && fsync(fd) == 0;
}

/* Two programs may start on a fresh directory at once: link(2) lets one of them win. */
static void vault_make(const char *path)
{
    char temporary[4096], hex[KEY_TEXT_LEN + 2];
    struct secret key;

    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%ld.new", path, (long)getpid()) >=
        sizeof temporary)
        return;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    randombytes_buf(key.b, sizeof key.b);
    hex_text(key.b, sizeof key.b, hex);
    strcat(hex, "\n");
    if (write_all(fd, hex, KEY_TEXT_LEN + 1) && link(temporary, path) != 0 && errno != EEXIST)
        perror(path);
    close(fd);
    unlink(temporary);
    secret_clear(&key);
    wipe(hex, sizeof hex);
}

struct vault *vault_open(const char *path, bool make, const char **why)
{
    struct vault *v = calloc(1, sizeof *v);
    int err = -ERR_NOMEM;

    *why = "out of memory";
    if (!v)
        return NULL;
    err = vault_read(&v->key, path);
    if (err == -ERR_NOT_FOUND && make) {
        vault_make(path);
        err = vault_read(&v->key, path);
    }
    if (!err)
        return v;
    *why = err == -ERR_FORMAT      ? "the master key's file does not hold 64 hex digits"
           : err == -ERR_NOT_FOUND ? "the master key's file is missing"
                                   : "the master key's file cannot be read";
    vault_close(v);
    return NULL;
}

void vault_close(struct vault *v)
{
    if (!v)
        return;
    secret_clear(&v->key);
    free(v);
}

static size_t associate(uint8_t out[64 + ID_LEN], const char *purpose, const struct id *group)
{
    size_t len = strlen(purpose) + 1;

    CHECK(len <= 64);
    memcpy(out, purpose, len);
    memcpy(out + len, group->b, ID_LEN);
    return len + ID_LEN;
}

void vault_seal(const struct vault *v, const char *purpose, const struct id *group,
                const void *bytes, size_t len, uint8_t *out)
{
    uint8_t ad[64 + ID_LEN];
    size_t ad_len = associate(ad, purpose, group);

    randombytes_buf(out, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
                                               NULL, bytes, len, ad, ad_len, NULL, out, v->key.b);
}

bool vault_unseal(const struct vault *v, const char *purpose, const struct id *group,
                  const uint8_t *sealed, size_t len, void *out)
{
    const size_t nonce_len = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    uint8_t ad[64 + ID_LEN];
    size_t ad_len = associate(ad, purpose, group);

    return len >= VAULT_OVERHEAD && crypto_aead_xchacha20poly1305_ietf_decrypt(
                                        out, NULL, NULL, sealed + nonce_len, len - nonce_len, ad,
                                        ad_len, sealed, v->key.b) == 0;
}

void vault_derive(const struct vault *v, const char *purpose, struct secret *out)
{
    kdf(out, &v->key, purpose, NULL, 0);
}
