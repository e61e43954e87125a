#include "ca-web/role.h"

#include <stdio.h>
#include <string.h>

static bool role_valid(const char *role)
{
    static const char *const names[] = {"owner", "administrator", "approver", "auditor", "member"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(role, names[i]))
            return true;
    return false;
}

void role_find(struct desk *d, const struct group *g, const struct account *user,
               char out[ROLE_TEXT_SIZE])
{
    struct query q =
        store_ask(d->store, "SELECT role FROM roles WHERE group_row = ?1 AND user_row = ?2",
                  VALUES(v_int(g->row), v_int(user->row)));

    strcpy(out, "member");
    if (query_row(&q))
        query_copy_text(&q, 0, out, ROLE_TEXT_SIZE);
    query_end(&q);
}

enum outcome role_holder(struct desk *d, const struct group *g, const char *name,
                         struct account *user, struct member *m, char role[ROLE_TEXT_SIZE])
{
    enum outcome o = account_find(d, name, user);

    if (o == OUT_OK)
        o = member_find(d, g, user, m);
    if (o != OUT_OK)
        return o;
    role_find(d, g, user, role);
    return m->row || strcmp(role, "member") ? OUT_OK : OUT_NO_USER;
}

static bool owned_by_another(struct desk *d, const struct group *g, const struct account *user)
{
    return store_int(d->store, 0,
                     "SELECT 1 FROM roles WHERE group_row = ?1 AND role = 'owner'"
                     " AND user_row <> ?2 LIMIT 1",
                     VALUES(v_int(g->row), v_int(user->row))) != 0;
}

enum outcome role_write(struct desk *d, const struct group *g, const struct account *user,
                        const char *role)
{
    if (strcmp(role, "owner") && !owned_by_another(d, g, user))
        return OUT_LAST_OWNER;
    int err =
        !strcmp(role, "member")
            ? store_run(d->store, "DELETE FROM roles WHERE group_row = ?1 AND user_row = ?2",
                        VALUES(v_int(g->row), v_int(user->row)))
            : store_run(d->store,
                        "INSERT INTO roles (group_row, user_row, role) VALUES (?1, ?2, ?3)"
                        " ON CONFLICT (group_row, user_row) DO UPDATE SET role = excluded.role",
                        VALUES(v_int(g->row), v_int(user->row), v_text(role)));
    return err < 0 ? desk_failed(err) : OUT_OK;
}

enum outcome role_set(struct desk *d, const struct group *g, const struct account *user,
                      const char *role)
{
    char before[ROLE_TEXT_SIZE], detail[2 * ROLE_TEXT_SIZE + 8];
    enum outcome o = desk_open(d, VERB_ROLE_SET, g->row, user->row);

    if (o != OUT_OK)
        return o;
    if (!role_valid(role))
        return desk_close(d, OUT_BAD_ROLE);
    role_find(d, g, user, before);
    o = role_write(d, g, user, role);
    snprintf(detail, sizeof detail, "%s, was %s", role, before);
    if (o == OUT_OK && strcmp(role, before))
        o = desk_audit(d, VERB_ROLE_SET, g->row, user->name, detail);
    return desk_close(d, o);
}
