/*
 * null_crypto.c - what peal-sim-null has in place of ciphers, signatures, Diffie-Hellman and the
 * verifying of certificates, led here by the linker (--wrap). Packets keep their lengths and
 * layout, wrong keys still do not open, and nothing is secret: for rings of a size that real
 * arithmetic would make wait.
 */
#include <stdlib.h>
#include <string.h>

#include "overlay/core/table.h"
#include "overlay/core/wire.h"
#include "overlay/crypto/aead.h"
#include "overlay/crypto/cert.h"
#include "overlay/crypto/hmac.h"

enum { SEEN_MAX = 1 << 13 }; /* victim: the one in the same place */

struct aead_cache *__wrap_aead_cache_new(void);
void __wrap_aead_cache_free(struct aead_cache *cache);
void __wrap_aead_seal(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                      const void *aad, size_t aad_len, uint8_t *buf, size_t len, uint8_t *tag);
bool __wrap_aead_open(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                      const void *aad, size_t aad_len, uint8_t *buf, size_t len,
                      const uint8_t *tag);
void __wrap_sign_keys(struct sign_public *pub, struct sign_secret *sec, const struct secret *seed);
void __wrap_sign(uint8_t *sig, const void *msg, size_t len, const struct sign_secret *sec);
bool __wrap_sign_verify(const uint8_t *sig, const void *msg, size_t len,
                        const struct sign_public *pub);
bool __wrap_sign_public_to_dh(struct dh_public *out, const struct sign_public *pub);
void __wrap_sign_secret_to_dh(struct dh_secret *out, const struct sign_secret *sec);
void __wrap_dh_keys(struct dh_public *pub, struct dh_secret *sec, const struct secret *seed);
void __wrap_hmac(uint8_t out[HMAC_LEN], const void *key, size_t key_len, const struct bytes *parts,
                 size_t n);
bool __wrap_dh(struct secret *out, const struct dh_secret *sec, const struct dh_public *pub);

enum cert_verdict __wrap_cert_verify(const struct cert_ca *ca, const struct cert_crl *crl,
                                     const uint8_t *der, size_t len, int64_t wall_s,
                                     bool wall_known, struct cert *out);
enum cert_verdict __wrap_cert_verify_written(const struct cert_ca *ca, const uint8_t *der,
                                             size_t len, int64_t wall_s, bool wall_known,
                                             struct cert *out);
enum cert_verdict __real_cert_verify(const struct cert_ca *ca, const struct cert_crl *crl,
                                     const uint8_t *der, size_t len, int64_t wall_s,
                                     bool wall_known, struct cert *out);

/* Certificates that were found good: OpenSSL needs a quarter of a millisecond for each, and no run
 * is as long as their lives. */
static struct seen {
    size_t len;
    uint8_t der[CERT_DER_MAX];
    struct cert cert;
} * seen[SEEN_MAX];

enum cert_verdict __wrap_cert_verify(const struct cert_ca *ca, const struct cert_crl *crl,
                                     const uint8_t *der, size_t len, int64_t wall_s,
                                     bool wall_known, struct cert *out)
{
    static const uint8_t key[16];
    struct seen **at = &seen[siphash(key, der, len) % SEEN_MAX];
    enum cert_verdict verdict;

    if (*at != NULL && (*at)->len == len && memcmp((*at)->der, der, len) == 0) {
        *out = (*at)->cert;
        return CERT_OK;
    }
    verdict = __real_cert_verify(ca, crl, der, len, wall_s, wall_known, out);
    if (verdict != CERT_OK)
        return verdict;
    if (*at == NULL)
        *at = malloc(sizeof(**at));
    CHECK(*at != NULL);
    (*at)->len = len;
    memcpy((*at)->der, der, len);
    (*at)->cert = *out;
    return CERT_OK;
}

enum cert_verdict __wrap_cert_verify_written(const struct cert_ca *ca, const uint8_t *der,
                                             size_t len, int64_t wall_s, bool wall_known,
                                             struct cert *out)
{
    return __wrap_cert_verify(ca, NULL, der, len, wall_s, wall_known, out);
}

struct aead_cache *__wrap_aead_cache_new(void)
{
    return malloc(1);
}

void __wrap_aead_cache_free(struct aead_cache *cache)
{
    free(cache);
}

/* A checksum that differs by key, word by word. */
static uint64_t sum_of(const uint8_t key[8], const uint8_t *bytes, size_t len)
{
    uint64_t sum = get_u64(key) + len;

    for (; len >= 8; bytes += 8, len -= 8) {
        sum = (sum ^ get_u64(bytes)) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 29;
    }
    for (; len > 0; bytes++, len--)
        sum = (sum ^ *bytes) * UINT64_C(0x9e3779b97f4a7c15);
    return sum ^ sum >> 32;
}

/* A tag that only the same key, nonce and bytes give. */
static void tag_of(const struct aead_key *key, const uint8_t *nonce, const void *aad,
                   size_t aad_len, const uint8_t *buf, size_t len, uint8_t *tag)
{
    memset(tag, 0, PACKET_TAG_LEN);
    put_u64(tag, sum_of(key->secret->b, buf, len));
    put_u64(tag + 8, sum_of(key->secret->b + 8, aad, aad_len) ^ get_u64(nonce + 4));
}

void __wrap_aead_seal(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                      const void *aad, size_t aad_len, uint8_t *buf, size_t len, uint8_t *tag)
{
    tag_of(key, nonce, aad, aad_len, buf, len, tag);
}

bool __wrap_aead_open(struct aead_cache *cache, const struct aead_key *key, const uint8_t *nonce,
                      const void *aad, size_t aad_len, uint8_t *buf, size_t len, const uint8_t *tag)
{
    uint8_t expected[PACKET_TAG_LEN];

    tag_of(key, nonce, aad, aad_len, buf, len, expected);
    return memcmp(expected, tag, PACKET_TAG_LEN) == 0;
}

/* Another for other keys or parts: each word of it is the sum under the one before. */
void __wrap_hmac(uint8_t out[HMAC_LEN], const void *key, size_t key_len, const struct bytes *parts,
                 size_t n)
{
    static const uint8_t no_key[8];
    uint8_t word[8];

    put_u64(word, sum_of(no_key, key, key_len));
    for (size_t i = 0; i < n; i++)
        put_u64(word, sum_of(word, parts[i].p, parts[i].len));
    for (size_t i = 0; i < HMAC_LEN; i += sizeof(word)) {
        put_u64(word, sum_of(word, &(uint8_t){(uint8_t)i}, 1));
        memcpy(out + i, word, sizeof(word));
    }
}

/* The public key is the seed itself. */
void __wrap_sign_keys(struct sign_public *pub, struct sign_secret *sec, const struct secret *seed)
{
    memcpy(pub->b, seed->b, sizeof(pub->b));
    memcpy(sec->b, seed->b, 32);
    memcpy(sec->b + 32, pub->b, 32);
}

void __wrap_sign(uint8_t *sig, const void *msg, size_t len, const struct sign_secret *sec)
{
    memset(sig, 0, SIGNATURE_LEN);
    put_u64(sig, siphash(sec->b + 32, msg, len));
}

bool __wrap_sign_verify(const uint8_t *sig, const void *msg, size_t len,
                        const struct sign_public *pub)
{
    return get_u64(sig) == siphash(pub->b, msg, len);
}

bool __wrap_sign_public_to_dh(struct dh_public *out, const struct sign_public *pub)
{
    memcpy(out->b, pub->b, sizeof(out->b));
    return true;
}

void __wrap_sign_secret_to_dh(struct dh_secret *out, const struct sign_secret *sec)
{
    memcpy(out->b, sec->b, sizeof(out->b));
}

void __wrap_dh_keys(struct dh_public *pub, struct dh_secret *sec, const struct secret *seed)
{
    memcpy(sec->b, seed->b, sizeof(sec->b));
    memcpy(pub->b, seed->b, sizeof(pub->b));
}

bool __wrap_dh(struct secret *out, const struct dh_secret *sec, const struct dh_public *pub)
{
    for (size_t i = 0; i < sizeof(out->b); i++) /* the same from either end */
        out->b[i] = (uint8_t)(sec->b[i] + pub->b[i]);
    return true;
}
