#include "ca-web/session.h"

#include <sodium.h>
#include <string.h>

enum { SESSION_TOUCH_S = 60 }; /* `used` is written no more often */

bool session_cookie(const char *header, const char *name, char out[SESSION_TOKEN_SIZE])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t name_len = strlen(name);

    out[0] = '\0';
    for (const char *p = header; *p;) {
        p += strspn(p, "; ");
        size_t len = strcspn(p, ";");
        if (len == name_len + SESSION_TOKEN_SIZE && !strncmp(p, name, name_len) &&
            p[name_len] == '=' && strspn(p + name_len + 1, alphabet) == SESSION_TOKEN_SIZE - 1) {
            memcpy(out, p + name_len + 1, SESSION_TOKEN_SIZE - 1);
            out[SESSION_TOKEN_SIZE - 1] = '\0';
            return true;
        }
        p += len;
    }
    return false;
}

void session_draw(char token[SESSION_TOKEN_SIZE])
{
    uint8_t random[32];

    randombytes_buf(random, sizeof random);
    sodium_bin2base64(token, SESSION_TOKEN_SIZE, random, sizeof random,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    wipe(random, sizeof random);
}

static void token_hash(uint8_t out[HASH_LEN], const char *token)
{
    sha256(out, token, strlen(token));
}

/* Dead sessions of anybody, and what is too much of this user. */
static int session_prune(struct desk *d, int64_t user_row)
{
    int err = store_run(d->store, "DELETE FROM sessions WHERE expires_s <= ?1 OR used_s <= ?2",
                        VALUES(v_int(d->now_s), v_int(d->now_s - SESSION_IDLE_S)));
    if (err < 0)
        return err;
    return store_run(d->store,
                     "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions"
                     " WHERE user_row = ?1 ORDER BY used_s DESC LIMIT -1 OFFSET ?2)",
                     VALUES(v_int(user_row), v_int(SESSION_PER_USER - 1)));
}

enum outcome session_begin(struct desk *d, const struct account *account, const char *agent,
                           char token[SESSION_TOKEN_SIZE])
{
    uint8_t hash[HASH_LEN];
    char short_agent[121] = "";

    session_draw(token);
    token_hash(hash, token);
    strncat(short_agent, agent, sizeof short_agent - 1);
    enum outcome o = desk_begin(d);
    if (o != OUT_OK)
        return o;
    if (session_prune(d, account->row) < 0 ||
        store_run(d->store,
                  "INSERT INTO sessions (hash, user_row, made_s, used_s, expires_s, address, agent)"
                  " VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6)",
                  VALUES(v_bytes(hash, sizeof hash), v_int(account->row), v_int(d->now_s),
                         v_int(d->now_s + SESSION_LIFE_S), v_text(d->actor.address),
                         v_text(desk_text_valid(short_agent) ? short_agent : ""))) != 1)
        o = OUT_INTERNAL;
    return desk_close(d, o);
}

bool session_resume(struct desk *d, const char *token, struct actor *actor)
{
    uint8_t hash[HASH_LEN];

    token_hash(hash, token);
    struct query q = store_ask(
        d->store,
        "SELECT u.id, u.name, s.used_s"
        " FROM sessions s JOIN users u ON u.id = s.user_row"
        " WHERE s.hash = ?1 AND s.expires_s > ?2 AND s.used_s > ?3",
        VALUES(v_bytes(hash, sizeof hash), v_int(d->now_s), v_int(d->now_s - SESSION_IDLE_S)));
    if (!query_row(&q))
        return false;
    actor->kind = ACTOR_USER;
    actor->row = query_int(&q, 0);
    query_copy_text(&q, 1, actor->name, sizeof actor->name);
    bool touch = query_int(&q, 2) + SESSION_TOUCH_S < d->now_s;
    query_end(&q);
    /* A busy database may lose the touch, not the request. */
    return !touch || store_run(d->store, "UPDATE sessions SET used_s = ?2 WHERE hash = ?1",
                               VALUES(v_bytes(hash, sizeof hash), v_int(d->now_s))) != -ERR_FORMAT;
}

enum outcome session_end(struct desk *d, const char *token)
{
    uint8_t hash[HASH_LEN];

    token_hash(hash, token);
    int err = store_run(d->store, "DELETE FROM sessions WHERE hash = ?1",
                        VALUES(v_bytes(hash, sizeof hash)));
    return err < 0 ? desk_failed(err) : OUT_OK;
}

enum outcome session_end_one(struct desk *d, const struct account *account, const char *hash_hex)
{
    uint8_t hash[HASH_LEN];
    enum outcome o = desk_open(d, VERB_USER_EDIT, 0, account->row);

    if (o != OUT_OK)
        return o;
    if (strlen(hash_hex) != 2 * sizeof hash || !hex_parse(hash, sizeof hash, hash_hex))
        return desk_close(d, OUT_NO_SESSION);
    int ended = store_run(d->store, "DELETE FROM sessions WHERE hash = ?1 AND user_row = ?2",
                          VALUES(v_bytes(hash, sizeof hash), v_int(account->row)));
    return desk_close(d, ended == 1 ? OUT_OK : ended < 0 ? desk_failed(ended) : OUT_NO_SESSION);
}

enum outcome session_end_others(struct desk *d, const struct account *account, const char *token)
{
    uint8_t hash[HASH_LEN];
    enum outcome o = desk_open(d, VERB_USER_EDIT, 0, account->row);

    if (o != OUT_OK)
        return o;
    token_hash(hash, token);
    int ended = store_run(d->store, "DELETE FROM sessions WHERE user_row = ?1 AND hash <> ?2",
                          VALUES(v_int(account->row), v_bytes(hash, sizeof hash)));
    return desk_close(d, ended < 0 ? desk_failed(ended) : OUT_OK);
}

bool session_is(const char *token, const char *hash_hex)
{
    uint8_t hash[HASH_LEN];
    char hex[2 * HASH_LEN + 1];

    token_hash(hash, token);
    return !strcmp(hex_text(hash, sizeof hash, hex), hash_hex);
}

void csrf_token(const struct secret *key, const char *cookie, char out[CSRF_SIZE])
{
    uint8_t mac[MAC_LEN];

    mac16(mac, key, cookie, strlen(cookie));
    hex_text(mac, sizeof mac, out);
}

bool csrf_valid(const struct secret *key, const char *cookie, const char *token)
{
    char want[CSRF_SIZE];

    csrf_token(key, cookie, want);
    return strlen(token) == CSRF_SIZE - 1 && equal_ct(want, token, CSRF_SIZE);
}
