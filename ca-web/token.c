#include "ca-web/token.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ca-web/session.h"

static const char prefix[] = "peal_";
enum { DAY_S = 86400, TOUCH_S = 60 };

const char *scope_text(unsigned i)
{
    static const char *const names[SCOPE_COUNT] = {"read", "members", "machines", "manage"};

    return i < SCOPE_COUNT ? names[i] : NULL;
}

static void token_hash(uint8_t out[HASH_LEN], const char *token)
{
    sha256(out, token, strlen(token));
}

static enum outcome token_insert(struct desk *d, const struct account *account,
                                 const struct token_wish *wish, int64_t group_row,
                                 const char *token)
{
    uint8_t hash[HASH_LEN];
    int64_t living = store_int(d->store, TOKEN_PER_USER,
                               "SELECT count(*) FROM tokens WHERE user_row = ?1 AND expires_s > ?2",
                               VALUES(v_int(account->row), v_int(d->now_s)));

    if (living >= TOKEN_PER_USER)
        return OUT_FULL_TOKENS;
    token_hash(hash, token);
    int err = store_run(d->store,
                        "INSERT INTO tokens"
                        " (user_row, name, hash, scopes, group_row, made_s, expires_s)"
                        " VALUES (?1, ?2, ?3, ?4, nullif(?5, 0), ?6, ?7)",
                        VALUES(v_int(account->row), v_text(wish->name), v_bytes(hash, sizeof hash),
                               v_int(wish->scopes), v_int(group_row), v_int(d->now_s),
                               v_int(d->now_s + wish->days * DAY_S)));
    return err < 0 ? desk_failed(err)
                   : desk_audit(d, VERB_TOKEN_MAKE, group_row, account->name, wish->name);
}

enum outcome token_make(struct desk *d, const struct account *account,
                        const struct token_wish *wish, char token[TOKEN_SIZE])
{
    struct group g = {0};
    char random[SESSION_TOKEN_SIZE];
    enum outcome o = desk_open(d, VERB_TOKEN_MAKE, 0, account->row);

    token[0] = '\0';
    if (o != OUT_OK)
        return o;
    if (!*wish->name || strlen(wish->name) > TOKEN_NAME_MAX || !desk_text_valid(wish->name))
        return desk_close(d, OUT_BAD_TEXT);
    if (!wish->scopes || wish->scopes >> SCOPE_COUNT)
        return desk_close(d, OUT_BAD_SCOPE);
    if (wish->days < 1 || wish->days > TOKEN_DAYS_MAX)
        return desk_close(d, OUT_BAD_NUMBER);
    if (*wish->group)
        o = group_find(d, wish->group, &g);
    if (o != OUT_OK)
        return desk_close(d, o);
    session_draw(random);
    snprintf(token, TOKEN_SIZE, "%s%s", prefix, random);
    wipe(random, sizeof random);
    return desk_close(d, token_insert(d, account, wish, g.row, token));
}

bool token_resume(struct desk *d, const char *header, struct actor *actor)
{
    static const char scheme[] = "Bearer ";
    uint8_t hash[HASH_LEN];
    const char *token = header + sizeof scheme - 1;

    if (strncasecmp(header, scheme, sizeof scheme - 1) || strlen(token) != TOKEN_SIZE - 1)
        return false;
    token_hash(hash, token);
    struct query q =
        store_ask(d->store,
                  "SELECT u.id, u.name, t.scopes, coalesce(t.group_row, 0), t.used_s, t.id"
                  " FROM tokens t JOIN users u ON u.id = t.user_row"
                  " WHERE t.hash = ?1 AND t.expires_s > ?2",
                  VALUES(v_bytes(hash, sizeof hash), v_int(d->now_s)));
    if (!query_row(&q))
        return false;
    actor->kind = ACTOR_USER;
    actor->row = query_int(&q, 0);
    query_copy_text(&q, 1, actor->name, sizeof actor->name);
    actor->by_token = true;
    actor->scopes = (unsigned)query_int(&q, 2);
    actor->only_group = query_int(&q, 3);
    bool touch = query_int(&q, 4) + TOUCH_S < d->now_s;
    int64_t row = query_int(&q, 5);
    query_end(&q);
    /* A busy database may lose the touch, not the request. */
    return !touch || store_run(d->store, "UPDATE tokens SET used_s = ?2 WHERE id = ?1",
                               VALUES(v_int(row), v_int(d->now_s))) != -ERR_FORMAT;
}

enum outcome token_end(struct desk *d, const struct account *account, int64_t row)
{
    char detail[32];
    enum outcome o = desk_open(d, VERB_TOKEN_END, 0, account->row);

    if (o != OUT_OK)
        return o;
    snprintf(detail, sizeof detail, "token %lld", (long long)row);
    o = desk_end(d,
                 "UPDATE tokens SET expires_s = ?3"
                 " WHERE id = ?1 AND user_row = ?2 AND expires_s > ?3",
                 row, account->row, OUT_NO_TOKEN);
    if (o == OUT_OK)
        o = desk_audit(d, VERB_TOKEN_END, 0, account->name, detail);
    return desk_close(d, o);
}
