#include "overlay/cookie.h"

#include <string.h>

#include "overlay/core/wire.h"

enum { SOURCE_MAX = 1 + 19 + 2 * ID_LEN };

void cookie_keys_make(struct cookie_keys *keys, const struct secret *group_key)
{
    kdf(&keys->mac1, group_key, "peal handshake mac", NULL, 0);
    kdf(&keys->seal, group_key, "peal cookie", NULL, 0);
}

void cookie_keys_clear(struct cookie_keys *keys)
{
    wipe(keys, sizeof(*keys));
}

/* A cookie as the key of MAC2. */
static struct secret cookie_as_key(const uint8_t cookie[COOKIE_LEN])
{
    struct secret key = {{0}};

    memcpy(key.b, cookie, COOKIE_LEN);
    return key;
}

void cookie_stamp(const struct cookie_keys *keys, const struct cookie *cookie, usec now_us,
                  uint8_t *pkt, size_t len)
{
    uint8_t *mac1 = pkt + len - COOKIE_MACS_LEN;
    uint8_t *mac2 = mac1 + MAC_LEN;

    CHECK(len >= COOKIE_MACS_LEN);
    mac16(mac1, &keys->mac1, pkt, (size_t)(mac1 - pkt));
    if (cookie == NULL || cookie->until_us <= now_us) {
        memset(mac2, 0, MAC_LEN);
        return;
    }
    struct secret key = cookie_as_key(cookie->b);

    mac16(mac2, &key, pkt, (size_t)(mac2 - pkt));
    secret_clear(&key);
}

bool cookie_mac1_ok(const struct cookie_keys *keys, const uint8_t *pkt, size_t len)
{
    uint8_t want[MAC_LEN];

    mac16(want, &keys->mac1, pkt, len - COOKIE_MACS_LEN);
    return equal_ct(want, pkt + len - COOKIE_MACS_LEN, MAC_LEN);
}

void cookie_jar_clear(struct cookie_jar *jar)
{
    wipe(jar, sizeof(*jar));
}

static void jar_refresh(struct cookie_jar *jar, const struct env *env)
{
    const usec life_us = SEC(COOKIE_LIFE_S);

    if (jar->drawn && env->now_us < jar->drawn_us + life_us)
        return;
    jar->has_before = jar->drawn && env->now_us < jar->drawn_us + 2 * life_us;
    jar->before = jar->now;
    env_random(env, jar->now.b, sizeof(jar->now.b));
    jar->drawn = true;
    jar->drawn_us = env->now_us;
}

static void source_cookie(const struct secret *secret, const struct path_addr *from,
                          uint8_t out[COOKIE_LEN])
{
    uint8_t source[SOURCE_MAX];
    struct writer w = writer_of(source, sizeof(source));

    write_u8(&w, (uint8_t)from->kind);
    if (path_addr_is_direct(from)) {
        write_endpoint(&w, &from->ep);
    } else {
        write_id(&w, &from->peer);
        write_id(&w, &from->via);
    }
    mac16(out, secret, source, writer_len(&w));
}

static bool mac2_is_of(const struct secret *secret, const struct path_addr *from,
                       const uint8_t *pkt, size_t len)
{
    uint8_t cookie[COOKIE_LEN], want[MAC_LEN];

    source_cookie(secret, from, cookie);
    struct secret key = cookie_as_key(cookie);

    mac16(want, &key, pkt, len - MAC_LEN);
    secret_clear(&key);
    return equal_ct(want, pkt + len - MAC_LEN, MAC_LEN);
}

bool cookie_mac2_ok(struct cookie_jar *jar, const struct env *env, const struct path_addr *from,
                    const uint8_t *pkt, size_t len)
{
    jar_refresh(jar, env);
    return mac2_is_of(&jar->now, from, pkt, len) ||
           (jar->has_before && mac2_is_of(&jar->before, from, pkt, len));
}

void cookie_reply_make(struct cookie_jar *jar, const struct cookie_keys *keys,
                       struct seal_worker *worker, const struct env *env,
                       const struct path_addr *from, const uint8_t *pkt, size_t len,
                       uint8_t out[COOKIE_REPLY_LEN])
{
    static const uint8_t zero[12];
    const uint8_t *mac1 = pkt + len - COOKIE_MACS_LEN;
    uint8_t *nonce = out + 8, *sealed = nonce + COOKIE_NONCE_LEN;
    struct secret key;

    jar_refresh(jar, env);
    put_u32(out, (uint32_t)PACKET_COOKIE << 24);
    memcpy(out + 4, pkt + 4, 4);
    env_random(env, nonce, COOKIE_NONCE_LEN);
    source_cookie(&jar->now, from, sealed);
    kdf(&key, &keys->seal, "reply", nonce, COOKIE_NONCE_LEN);
    seal_raw(worker, SEAL_CHACHA20_POLY1305, &key, zero, mac1, MAC_LEN, sealed, COOKIE_LEN,
             sealed + COOKIE_LEN);
    secret_clear(&key);
}

bool cookie_reply_open(const struct cookie_keys *keys, struct seal_worker *worker, usec now_us,
                       const uint8_t mac1[MAC_LEN], const uint8_t reply[COOKIE_REPLY_LEN],
                       struct cookie *out)
{
    static const uint8_t zero[12];
    const uint8_t *nonce = reply + 8, *sealed = nonce + COOKIE_NONCE_LEN;
    uint8_t plain[COOKIE_LEN];
    struct secret key;

    memcpy(plain, sealed, COOKIE_LEN);
    kdf(&key, &keys->seal, "reply", nonce, COOKIE_NONCE_LEN);
    bool ok = open_raw(worker, SEAL_CHACHA20_POLY1305, &key, zero, mac1, MAC_LEN, plain, COOKIE_LEN,
                       sealed + COOKIE_LEN);

    secret_clear(&key);
    if (ok) {
        memcpy(out->b, plain, COOKIE_LEN);
        out->until_us = now_us + SEC(COOKIE_LIFE_S);
    }
    return ok;
}
