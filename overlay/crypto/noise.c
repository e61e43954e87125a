#include "overlay/crypto/noise.h"

#include "overlay/crypto/aead.h"
#include "overlay/crypto/hmac.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    DH_LEN = 32,
    MESSAGES = 3,
    TOKENS_MAX = 5,
    MESSAGE_LEN_MAX = 65535, /* Noise 3 */
};

/* Noise 5.3 and 9. */
enum token { TOKEN_END, TOKEN_E, TOKEN_S, TOKEN_EE, TOKEN_ES, TOKEN_SE, TOKEN_PSK };

struct pattern {
    char name[64]; /* exactly h's length: Noise 5.2 pads a shorter name with zeros */
    uint8_t messages[MESSAGES][TOKENS_MAX];
};

static const struct pattern pattern_xx = {
    "Noise_XX_25519_ChaChaPoly_BLAKE2b",
    {{TOKEN_E}, {TOKEN_E, TOKEN_EE, TOKEN_S, TOKEN_ES}, {TOKEN_S, TOKEN_SE}},
};
static const struct pattern pattern_xxpsk3 = {
    "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b",
    {{TOKEN_E}, {TOKEN_E, TOKEN_EE, TOKEN_S, TOKEN_ES}, {TOKEN_S, TOKEN_SE, TOKEN_PSK}},
};

struct noise {
    const struct pattern *pattern;
    bool initiator, failed;
    bool keyed;       /* k is set: from here on payloads and statics are encrypted */
    bool has_rs;      /* rs was received */
    unsigned message; /* the next one's place in the pattern */

    uint8_t h[NOISE_HASH_LEN], ck[NOISE_HASH_LEN];
    struct secret k;
    uint64_t n;

    struct dh_secret s, e;
    struct dh_public s_public, e_public, rs, re;
    struct secret psk;
};

/* Noise 4.3, HKDF(ck, input, 3); a caller that needs two ignores the third. */
static void hkdf(const uint8_t ck[NOISE_HASH_LEN], const void *input, size_t len,
                 uint8_t out[3][NOISE_HASH_LEN])
{
    const struct bytes ikm = {input, len};
    uint8_t key[HMAC_LEN];

    hmac(key, ck, NOISE_HASH_LEN, &ikm, 1);
    for (uint8_t i = 0; i < 3; i++) {
        const uint8_t number = i + 1;
        const struct bytes chain[] = {{i > 0 ? out[i - 1] : NULL, i > 0 ? NOISE_HASH_LEN : 0},
                                      {&number, 1}};

        hmac(out[i], key, sizeof key, chain, ARRAY_LEN(chain));
    }
    wipe(key, sizeof key);
}

static void mix_hash(struct noise *n, const void *bytes, size_t len)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, NOISE_HASH_LEN);
    crypto_generichash_update(&state, n->h, NOISE_HASH_LEN);
    crypto_generichash_update(&state, bytes, len);
    crypto_generichash_final(&state, n->h, NOISE_HASH_LEN);
}

static void set_key(struct noise *n, const uint8_t key[NOISE_HASH_LEN])
{
    memcpy(n->k.b, key, sizeof n->k.b); /* Noise 5.2: a 64-byte output is cut to 32 */
    n->n = 0;
    n->keyed = true;
}

static void mix_key(struct noise *n, const void *input, size_t len)
{
    uint8_t out[3][NOISE_HASH_LEN];

    hkdf(n->ck, input, len, out);
    memcpy(n->ck, out[0], NOISE_HASH_LEN);
    set_key(n, out[1]);
    wipe(out, sizeof out);
}

static void mix_key_and_hash(struct noise *n, const struct secret *psk)
{
    uint8_t out[3][NOISE_HASH_LEN];

    hkdf(n->ck, psk->b, sizeof psk->b, out);
    memcpy(n->ck, out[0], NOISE_HASH_LEN);
    mix_hash(n, out[1], NOISE_HASH_LEN);
    set_key(n, out[2]);
    wipe(out, sizeof out);
}

static bool mix_dh(struct noise *n, const struct dh_secret *mine, const struct dh_public *theirs)
{
    struct secret shared;
    bool ok = dh(&shared, mine, theirs);

    if (ok)
        mix_key(n, shared.b, sizeof shared.b);
    secret_clear(&shared);
    return ok;
}

/* The tokens that both sides process alike. False: a point of low order. */
static bool mix_token(struct noise *n, enum token token)
{
    switch (token) {
    case TOKEN_EE:
        return mix_dh(n, &n->e, &n->re);
    case TOKEN_ES:
        return n->initiator ? mix_dh(n, &n->e, &n->rs) : mix_dh(n, &n->s, &n->re);
    case TOKEN_SE:
        return n->initiator ? mix_dh(n, &n->s, &n->re) : mix_dh(n, &n->e, &n->rs);
    case TOKEN_PSK:
        mix_key_and_hash(n, &n->psk);
        return true;
    case TOKEN_E:
    case TOKEN_S:
    case TOKEN_END:
        break;
    }
    CHECK(false);
}

/* Noise 9.2: with a psk the ephemeral is mixed into the key as well, for its randomness. */
static void mix_ephemeral(struct noise *n, const struct dh_public *e)
{
    mix_hash(n, e->b, sizeof e->b);
    if (n->pattern == &pattern_xxpsk3)
        mix_key(n, e->b, sizeof e->b);
}

/* Noise 12.3: 32 zero bits and the counter, little-endian. */
static void next_nonce(struct noise *n, uint8_t nonce[AEAD_NONCE_LEN])
{
    uint64_t counter = n->n++;

    memset(nonce, 0, 4);
    for (int i = 4; i < AEAD_NONCE_LEN; i++, counter >>= 8)
        nonce[i] = (uint8_t)counter;
}

static size_t sealed_len(const struct noise *n, size_t len)
{
    return len + (n->keyed ? PACKET_TAG_LEN : 0);
}

/* EncryptAndHash; out has sealed_len(n, len) bytes. */
static void encrypt_and_hash(struct noise *n, uint8_t *out, const void *text, size_t len)
{
    const struct aead_key key = {.alg = SEAL_CHACHA20_POLY1305, .secret = &n->k};
    uint8_t nonce[AEAD_NONCE_LEN];
    size_t whole = sealed_len(n, len);

    if (len > 0)
        memcpy(out, text, len);
    if (n->keyed) {
        next_nonce(n, nonce);
        aead_seal(NULL, &key, nonce, n->h, sizeof n->h, out, len, out + len);
    }
    mix_hash(n, out, whole);
}

/* DecryptAndHash; sealed has sealed_len(n, len) bytes, out gets len. */
static bool decrypt_and_hash(struct noise *n, uint8_t *out, const uint8_t *sealed, size_t len)
{
    const struct aead_key key = {.alg = SEAL_CHACHA20_POLY1305, .secret = &n->k};
    uint8_t nonce[AEAD_NONCE_LEN];
    size_t whole = sealed_len(n, len);

    if (len > 0)
        memcpy(out, sealed, len);
    if (n->keyed) {
        next_nonce(n, nonce);
        if (!aead_open(NULL, &key, nonce, n->h, sizeof n->h, out, len, sealed + len))
            return false;
    }
    mix_hash(n, sealed, whole);
    return true;
}

struct noise *noise_new(bool initiator, const void *prologue, size_t prologue_len,
                        const struct dh_secret *static_secret, const struct secret *psk)
{
    struct noise *n = calloc(1, sizeof *n);
    struct secret seed;

    if (n == NULL)
        return NULL;
    n->initiator = initiator;
    n->pattern = psk != NULL ? &pattern_xxpsk3 : &pattern_xx;
    memcpy(seed.b, static_secret->b, sizeof seed.b);
    dh_keys(&n->s_public, &n->s, &seed);
    secret_clear(&seed);
    if (psk != NULL)
        n->psk = *psk;
    memcpy(n->h, n->pattern->name, sizeof n->h);
    memcpy(n->ck, n->h, sizeof n->ck);
    mix_hash(n, prologue, prologue_len);
    return n;
}

void noise_free(struct noise *n)
{
    if (n == NULL)
        return;
    wipe(n, sizeof *n);
    free(n);
}

static bool our_turn(const struct noise *n)
{
    return n->message < MESSAGES && (n->message % 2 == 0) == n->initiator;
}

/* Of no use from here on: nothing secret stays. */
static int fail(struct noise *n, int err)
{
    wipe(n, sizeof *n);
    n->failed = true;
    return err;
}

/* What this message takes besides its payload, tags included. */
static size_t overhead(const struct noise *n)
{
    bool keyed = n->keyed;
    size_t len = 0;

    for (const uint8_t *t = n->pattern->messages[n->message]; *t != TOKEN_END; t++) {
        if (*t == TOKEN_E)
            len += DH_LEN;
        else if (*t == TOKEN_S)
            len += DH_LEN + (keyed ? PACKET_TAG_LEN : 0);
        keyed = keyed || *t != TOKEN_E || n->pattern == &pattern_xxpsk3;
    }
    return len + (keyed ? PACKET_TAG_LEN : 0);
}

int noise_write(struct noise *n, const struct secret *ephemeral_seed, const void *payload,
                size_t payload_len, uint8_t *out, size_t out_size)
{
    uint8_t *p = out;
    size_t need;

    if (n->failed)
        return -ERR_BAD_STATE;
    CHECK(our_turn(n));
    need = overhead(n);
    if (payload_len > MESSAGE_LEN_MAX - need || payload_len + need > out_size)
        return -ERR_RANGE;
    for (const uint8_t *t = n->pattern->messages[n->message]; *t != TOKEN_END; t++) {
        if (*t == TOKEN_E) {
            dh_keys(&n->e_public, &n->e, ephemeral_seed);
            memcpy(p, n->e_public.b, DH_LEN);
            mix_ephemeral(n, &n->e_public);
            p += DH_LEN;
        } else if (*t == TOKEN_S) {
            size_t len = sealed_len(n, DH_LEN);
            encrypt_and_hash(n, p, n->s_public.b, DH_LEN);
            p += len;
        } else if (!mix_token(n, *t)) {
            return fail(n, -ERR_CRYPTO);
        }
    }
    encrypt_and_hash(n, p, payload, payload_len);
    n->message++;
    return (int)(need + payload_len);
}

int noise_read(struct noise *n, const uint8_t *msg, size_t msg_len, uint8_t *payload,
               size_t payload_size)
{
    const uint8_t *p = msg;
    size_t need, payload_len;

    if (n->failed)
        return -ERR_BAD_STATE;
    CHECK(n->message < MESSAGES && !our_turn(n));
    need = overhead(n);
    if (msg_len < need || msg_len > MESSAGE_LEN_MAX || msg_len - need > payload_size)
        return fail(n, -ERR_FORMAT);
    payload_len = msg_len - need;
    for (const uint8_t *t = n->pattern->messages[n->message]; *t != TOKEN_END; t++) {
        if (*t == TOKEN_E) {
            memcpy(n->re.b, p, DH_LEN);
            mix_ephemeral(n, &n->re);
            p += DH_LEN;
        } else if (*t == TOKEN_S) {
            size_t len = sealed_len(n, DH_LEN);
            if (!decrypt_and_hash(n, n->rs.b, p, DH_LEN))
                return fail(n, -ERR_CRYPTO);
            n->has_rs = true;
            p += len;
        } else if (!mix_token(n, *t)) {
            return fail(n, -ERR_CRYPTO);
        }
    }
    if (!decrypt_and_hash(n, payload, p, payload_len))
        return fail(n, -ERR_CRYPTO);
    n->message++;
    return (int)payload_len;
}

const struct dh_public *noise_remote_static(const struct noise *n)
{
    CHECK(n->has_rs);
    return &n->rs;
}

bool noise_done(const struct noise *n)
{
    return n->message == MESSAGES;
}

void noise_split(struct noise *n, struct noise_result *out)
{
    uint8_t keys[3][NOISE_HASH_LEN];

    CHECK(noise_done(n) && n->keyed); /* once: the chaining key is gone afterwards */
    hkdf(n->ck, NULL, 0, keys); /* the first two are Noise's Split(), the third is our export */
    memcpy(out->tx.b, keys[n->initiator ? 0 : 1], sizeof out->tx.b);
    memcpy(out->rx.b, keys[n->initiator ? 1 : 0], sizeof out->rx.b);
    memcpy(out->export.b, keys[2], sizeof out->export.b);
    memcpy(out->hash, n->h, sizeof out->hash);
    wipe(keys, sizeof keys);
    n->keyed = false;
    secret_clear(&n->k);
    secret_clear(&n->psk);
    dh_secret_clear(&n->s);
    dh_secret_clear(&n->e);
    wipe(n->ck, sizeof n->ck);
}

void noise_result_clear(struct noise_result *r)
{
    wipe(r, sizeof *r);
}
