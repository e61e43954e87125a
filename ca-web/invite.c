#include "ca-web/invite.h"

#include <stdio.h>
#include <string.h>

#include "ca-web/session.h"

enum { DAY_S = 86400 };

static void invite_hash(uint8_t out[HASH_LEN], const char *token)
{
    sha256(out, token, strlen(token));
}

static bool too_many(struct desk *d, const struct group *g)
{
    return store_int(d->store, INVITE_OPEN_MAX,
                     "SELECT count(*) FROM invitations"
                     " WHERE group_row = ?1 AND expires_s > ?2 AND uses < uses_max",
                     VALUES(v_int(g->row), v_int(d->now_s))) >= INVITE_OPEN_MAX;
}

static enum outcome invite_insert(struct desk *d, const struct group *g,
                                  const struct invite_wish *wish, const char *token)
{
    uint8_t hash[HASH_LEN];
    char detail[REASON_MAX + 64];

    if (too_many(d, g))
        return OUT_FULL_INVITATIONS;
    invite_hash(hash, token);
    int err = store_run(d->store,
                        "INSERT INTO invitations"
                        " (group_row, hash, note, made_s, made_by, expires_s, uses_max)"
                        " VALUES (?1, ?2, ?3, ?4, nullif(?5, 0), ?6, ?7)",
                        VALUES(v_int(g->row), v_bytes(hash, sizeof hash), v_text(wish->note),
                               v_int(d->now_s), v_int(d->actor.row),
                               v_int(d->now_s + wish->days * DAY_S), v_int(wish->uses)));
    if (err < 0)
        return desk_failed(err);
    snprintf(detail, sizeof detail, "%lld uses, %lld days%s%s", (long long)wish->uses,
             (long long)wish->days, *wish->note ? ": " : "", wish->note);
    char object[24];
    snprintf(object, sizeof object, "%lld", (long long)store_last_row(d->store));
    return desk_audit(d, VERB_INVITE_MAKE, g->row, object, detail);
}

enum outcome invite_make(struct desk *d, const struct group *g, const struct invite_wish *wish,
                         char token[INVITE_TOKEN_SIZE])
{
    enum outcome o = desk_open(d, VERB_INVITE_MAKE, g->row, 0);

    token[0] = '\0';
    if (o != OUT_OK)
        return o;
    if (!desk_text_valid(wish->note))
        return desk_close(d, OUT_BAD_TEXT);
    if (wish->days < 1 || wish->days > INVITE_DAYS_MAX || wish->uses < 1 ||
        wish->uses > INVITE_USES_MAX)
        return desk_close(d, OUT_BAD_NUMBER);
    session_draw(token);
    return desk_close(d, invite_insert(d, g, wish, token));
}

struct invitation {
    int64_t row, made_by; /* made_by 0: the console */
    char group[LABEL_MAX + 1];
};

/* May whoever made it still approve? */
static bool maker_may(struct desk *d, const struct invitation *i, const struct group *g)
{
    const struct actor maker = {.kind = ACTOR_USER, .row = i->made_by};
    const struct object object = {.group_row = g->row};

    return !i->made_by || authorize(d->store, &maker, VERB_MEMBER_APPROVE, object) == OUT_OK;
}

static enum outcome invite_load(struct desk *d, const char *token, struct invitation *i,
                                struct group *g)
{
    uint8_t hash[HASH_LEN];

    *i = (struct invitation){0};
    invite_hash(hash, token);
    struct query q = store_ask(d->store,
                               "SELECT i.id, i.made_by, g.name"
                               " FROM invitations i JOIN groups g ON g.id = i.group_row"
                               " WHERE i.hash = ?1 AND i.expires_s > ?2 AND i.uses < i.uses_max",
                               VALUES(v_bytes(hash, sizeof hash), v_int(d->now_s)));
    if (!query_row(&q))
        return q.failed ? OUT_INTERNAL : OUT_NO_INVITATION;
    i->row = query_int(&q, 0);
    i->made_by = query_int(&q, 1);
    query_copy_text(&q, 2, i->group, sizeof i->group);
    query_end(&q);
    enum outcome o = group_find(d, i->group, g);
    return o != OUT_OK ? o : maker_may(d, i, g) ? OUT_OK : OUT_NO_INVITATION;
}

enum outcome invite_find(struct desk *d, const char *token, struct group *out)
{
    struct invitation i;

    return invite_load(d, token, &i, out);
}

static enum outcome invite_spend(struct desk *d, const struct invitation *i, const struct group *g,
                                 const struct account *user)
{
    char detail[48];
    struct member m;
    enum outcome o = member_find(d, g, user, &m);

    if (o != OUT_OK)
        return o;
    if (m.state == MEMBER_APPROVED)
        return OUT_ALREADY_MEMBER;
    if (m.further != FURTHER_FREE) /* also when he has asked again since */
        return OUT_REVOKED;
    int spent = store_run(d->store,
                          "UPDATE invitations SET uses = uses + 1"
                          " WHERE id = ?1 AND expires_s > ?2 AND uses < uses_max",
                          VALUES(v_int(i->row), v_int(d->now_s)));
    if (spent != 1)
        return spent < 0 ? desk_failed(spent) : OUT_NO_INVITATION;
    snprintf(detail, sizeof detail, "invitation %lld", (long long)i->row);
    int err =
        store_run(d->store,
                  "INSERT INTO members (group_row, user_row, state, reason, asked_s, decided_s,"
                  " decided_by) VALUES (?1, ?2, 'approved', ?3, ?4, ?4, 'invitation')"
                  " ON CONFLICT (group_row, user_row) DO UPDATE SET state = 'approved',"
                  " decided_s = excluded.decided_s, decided_by = excluded.decided_by",
                  VALUES(v_int(g->row), v_int(user->row), v_text(detail), v_int(d->now_s)));
    return err < 0 ? desk_failed(err) : desk_audit(d, VERB_INVITE_USE, g->row, user->name, detail);
}

enum outcome invite_use(struct desk *d, const char *token, const struct account *user,
                        struct group *out)
{
    struct invitation i;
    enum outcome o = desk_open(d, VERB_INVITE_USE, 0, user->row);

    *out = (struct group){0};
    if (o != OUT_OK)
        return o;
    o = invite_load(d, token, &i, out);
    if (o == OUT_OK)
        o = invite_spend(d, &i, out, user);
    return desk_close(d, o);
}

enum outcome invite_end(struct desk *d, const struct group *g, int64_t row)
{
    char object[24];
    enum outcome o = desk_open(d, VERB_INVITE_END, g->row, 0);

    if (o != OUT_OK)
        return o;
    snprintf(object, sizeof object, "%lld", (long long)row);
    o = desk_end(d,
                 "UPDATE invitations SET expires_s = ?3"
                 " WHERE id = ?1 AND group_row = ?2 AND expires_s > ?3",
                 row, g->row, OUT_NO_INVITATION);
    if (o == OUT_OK)
        o = desk_audit(d, VERB_INVITE_END, g->row, object, "");
    return desk_close(d, o);
}
