#include "overlay/crypto/secret.h"

#include "overlay/core/wire.h"
#include "overlay/crypto/hmac.h"

#include <sodium.h>
#include <string.h>

void wipe(void *p, size_t len)
{
    sodium_memzero(p, len);
}

void secret_clear(struct secret *s)
{
    wipe(s, sizeof *s);
}

void sign_secret_clear(struct sign_secret *s)
{
    wipe(s, sizeof *s);
}

void dh_secret_clear(struct dh_secret *s)
{
    wipe(s, sizeof *s);
}

bool equal_ct(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

int crypto_start(void)
{
    return sodium_init() < 0 ? -ERR_CRYPTO : 0;
}

bool crypto_has_aes(void)
{
    return sodium_runtime_has_aesni() && sodium_runtime_has_pclmul();
}

void sign_keys(struct sign_public *pub, struct sign_secret *sec, const struct secret *seed)
{
    CHECK(crypto_sign_seed_keypair(pub->b, sec->b, seed->b) == 0);
}

void sign(uint8_t sig[SIGNATURE_LEN], const void *msg, size_t len, const struct sign_secret *sec)
{
    CHECK(crypto_sign_detached(sig, NULL, msg, len, sec->b) == 0);
}

bool sign_verify(const uint8_t sig[SIGNATURE_LEN], const void *msg, size_t len,
                 const struct sign_public *pub)
{
    return crypto_sign_verify_detached(sig, msg, len, pub->b) == 0;
}

bool sign_public_to_dh(struct dh_public *out, const struct sign_public *pub)
{
    memset(out, 0, sizeof *out);
    return crypto_sign_ed25519_pk_to_curve25519(out->b, pub->b) == 0;
}

void sign_secret_to_dh(struct dh_secret *out, const struct sign_secret *sec)
{
    CHECK(crypto_sign_ed25519_sk_to_curve25519(out->b, sec->b) == 0);
}

void dh_keys(struct dh_public *pub, struct dh_secret *sec, const struct secret *seed)
{
    memcpy(sec->b, seed->b, sizeof sec->b);
    CHECK(crypto_scalarmult_base(pub->b, sec->b) == 0);
}

bool dh(struct secret *out, const struct dh_secret *sec, const struct dh_public *pub)
{
    if (crypto_scalarmult(out->b, sec->b, pub->b) == 0)
        return true;
    secret_clear(out);
    return false;
}

void sha256(uint8_t out[HASH_LEN], const void *bytes, size_t len)
{
    CHECK(crypto_hash_sha256(out, bytes, len) == 0);
}

void sha256_parts(uint8_t out[HASH_LEN], const struct bytes *parts, size_t n)
{
    crypto_hash_sha256_state state;

    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < n; i++)
        crypto_hash_sha256_update(&state, parts[i].p, parts[i].len);
    crypto_hash_sha256_final(&state, out);
}

struct id id_hash(const struct bytes *parts, size_t n)
{
    uint8_t hash[HASH_LEN];
    struct id id;

    sha256_parts(hash, parts, n);
    memcpy(id.b, hash, ID_LEN);
    return id;
}

void mac16(uint8_t out[MAC_LEN], const struct secret *key, const void *bytes, size_t len)
{
    CHECK(crypto_generichash(out, MAC_LEN, bytes, len, key->b, sizeof key->b) == 0);
}

void kdf(struct secret *out, const struct secret *key, const char *label, const void *context,
         size_t context_len)
{
    static const uint8_t no_salt[HMAC_LEN], zero = 0, block_number = 1;
    const struct bytes ikm = {key->b, sizeof key->b};
    const struct bytes bare[] = {{label, strlen(label)}, {&block_number, 1}};
    const struct bytes bound[] = {bare[0], {&zero, 1}, {context, context_len}, bare[1]};
    uint8_t prk[HMAC_LEN], okm[HMAC_LEN];

    hmac(prk, no_salt, sizeof no_salt, &ikm, 1);
    if (context_len == 0)
        hmac(okm, prk, sizeof prk, bare, ARRAY_LEN(bare));
    else
        hmac(okm, prk, sizeof prk, bound, ARRAY_LEN(bound));
    memcpy(out->b, okm, sizeof out->b);
    wipe(prk, sizeof prk);
    wipe(okm, sizeof okm);
}

struct id node_id_certified(const struct sign_public *pub, const struct id *group,
                            uint64_t enrolment)
{
    uint8_t number[8];
    const struct bytes parts[] = {
        {pub->b, sizeof pub->b}, {group->b, sizeof group->b}, {number, sizeof number}};

    put_u64(number, enrolment);
    return id_hash(parts, ARRAY_LEN(parts));
}

struct id node_id_self(const struct sign_public *pub)
{
    const struct bytes whole = {pub->b, sizeof pub->b};

    return id_hash(&whole, 1);
}
