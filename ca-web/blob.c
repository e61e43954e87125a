#include "ca-web/blob.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ca-web/answer.h"

enum { SECRET_TEXT_SIZE = 44 }; /* 32 bytes in base64url */

enum outcome server_load(struct desk *d, struct server *out)
{
    bool known = store_get_meta(d->store, "server_url", out->url, sizeof out->url) &&
                 store_get_meta(d->store, "server_pins", out->pins, sizeof out->pins);
    char given[8] = "";

    out->given = store_get_meta(d->store, "server_given", given, sizeof given) && *given == '1';
    return known ? OUT_OK : OUT_NO_ADDRESS;
}

enum outcome server_write(struct desk *d, const struct server *server)
{
    bool ok = !store_set_meta(d->store, "server_url", server->url) &&
              !store_set_meta(d->store, "server_pins", server->pins) &&
              !store_set_meta(d->store, "server_given", server->given ? "1" : "0");

    return ok ? OUT_OK : OUT_INTERNAL;
}

void server_url_host(const char *url, char *out, size_t size)
{
    const char *host = url + strlen("https://");
    size_t len = *host == '[' ? strcspn(host + 1, "]") : strcspn(host, ":");

    host += *host == '[';
    CHECK(len < size);
    memcpy(out, host, len);
    out[len] = '\0';
}

static bool port_valid(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    long port = strtol(text, NULL, 10);

    return digits > 0 && digits <= 5 && text[digits] == '\0' && port > 0 && port <= 65535;
}

bool server_url_read(char out[SERVER_URL_MAX + 1], const char *text)
{
    static const char scheme[] = "https://";
    char host[SERVER_URL_MAX + 1];
    struct addr address;
    size_t len = strlen(text);

    while (len && text[len - 1] == '/')
        len--;
    if (len > SERVER_URL_MAX || len <= sizeof scheme - 1)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    out[len] = '\0';
    if (strncmp(out, scheme, sizeof scheme - 1))
        return false;
    bool bracket = out[sizeof scheme - 1] == '[';
    const char *rest = out + sizeof scheme - 1;
    rest = bracket ? strchr(rest, ']') : rest + strcspn(rest, ":");
    if (!rest)
        return false;
    rest += bracket;
    if (*rest && (*rest != ':' || !port_valid(rest + 1)))
        return false;
    server_url_host(out, host, sizeof host);
    return addr_parse(&address, host) ? bracket == (address.family == 6)
                                      : !bracket && name_valid(host);
}

void blob_secret_hash(uint8_t out[HASH_LEN], const char *secret)
{
    sha256(out, secret, strlen(secret));
}

static enum outcome secret_insert(struct desk *d, const struct member *m, const char *secret)
{
    uint8_t hash[HASH_LEN];

    blob_secret_hash(hash, secret);
    int err = store_run(d->store,
                        "INSERT INTO secrets (hash, member_row, made_s, expires_s)"
                        " VALUES (?1, ?2, ?3, ?4)",
                        VALUES(v_bytes(hash, sizeof hash), v_int(m->row), v_int(d->now_s),
                               v_int(d->now_s + BLOB_LIFE_S)));
    if (err >= 0)
        err = store_run(d->store,
                        "DELETE FROM secrets WHERE member_row = ?1 AND used_s IS NULL AND hash IN"
                        " (SELECT hash FROM secrets WHERE member_row = ?1 AND used_s IS NULL"
                        "  ORDER BY hash = ?2 DESC, made_s DESC LIMIT -1 OFFSET ?3)",
                        VALUES(v_int(m->row), v_bytes(hash, sizeof hash), v_int(BLOB_UNUSED_MAX)));
    return err < 0 ? desk_failed(err) : OUT_OK;
}

/* Inside the transaction: checked and written in one breath, so a member revoked now gets none. */
static enum outcome secret_draw(struct desk *d, const struct group *g, const struct account *user,
                                char secret[SECRET_TEXT_SIZE])
{
    uint8_t random[32];
    struct member m;
    enum outcome o = member_find(d, g, user, &m);

    if (o != OUT_OK)
        return o;
    if (m.state != MEMBER_APPROVED)
        return OUT_NOT_MEMBER;
    if (m.further != FURTHER_FREE)
        return OUT_HELD;
    randombytes_buf(random, sizeof random);
    sodium_bin2base64(secret, SECRET_TEXT_SIZE, random, sizeof random,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    wipe(random, sizeof random);
    o = secret_insert(d, &m, secret);
    return o == OUT_OK ? desk_audit(d, VERB_BLOB_MAKE, g->row, user->name, "") : o;
}

static enum outcome blob_write(struct desk *d, const struct group *g, const struct account *user,
                               const struct server *server, const char *secret, struct text *out)
{
    struct secret key;
    char key_text[sodium_base64_ENCODED_LEN(sizeof key.b, sodium_base64_VARIANT_ORIGINAL)];
    char id[ID_TEXT_SIZE];
    struct text chain = {0};
    enum outcome o = group_key(d, g, &key);

    if (o == OUT_OK)
        o = group_chain(d, g, &chain);
    if (o == OUT_OK) {
        sodium_bin2base64(key_text, sizeof key_text, key.b, sizeof key.b,
                          sodium_base64_VARIANT_ORIGINAL);
        json_t *blob =
            json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:b}", "peal",
                      1, "group", g->name, "group_id", id_text(&g->id, id), "group_key", key_text,
                      "ca", chain.p, "user", user->name, "secret", secret, "server", server->url,
                      "server_pins", answer_list(server->pins), "network", answer_network(g),
                      "bootstrap", answer_list(g->bootstrap), "public_bootstrap",
                      answer_list(g->public_bootstrap), "psk", g->psk);
        o = answer_json(out, blob, JSON_INDENT(2));
        text_str(out, "\n");
    }
    secret_clear(&key);
    wipe(key_text, sizeof key_text);
    text_clear(&chain);
    return o;
}

enum outcome blob_make(struct desk *d, const struct group *g, const struct account *user,
                       const struct server *server, struct text *out)
{
    char secret[SECRET_TEXT_SIZE];
    struct member m;
    enum outcome o = member_find(d, g, user, &m);

    /* To whoever may ask, "not a member" is the better answer. */
    if (o == OUT_OK && m.state != MEMBER_APPROVED &&
        (d->actor.kind == ACTOR_CONSOLE || d->actor.row == user->row))
        o = OUT_NOT_MEMBER;
    if (o == OUT_OK)
        o = desk_open(d, VERB_BLOB_MAKE, g->row, user->row);
    if (o != OUT_OK)
        return o;
    o = secret_draw(d, g, user, secret);
    if (o == OUT_OK)
        o = blob_write(d, g, user, server, secret, out);
    wipe(secret, sizeof secret);
    return desk_close(d, o);
}
