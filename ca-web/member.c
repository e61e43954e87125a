#include "ca-web/member.h"

#include <stdio.h>
#include <string.h>

#include "ca-web/mail.h"

static const char *const state_names[] = {
    [MEMBER_NONE] = "none",     [MEMBER_REQUESTED] = "requested", [MEMBER_APPROVED] = "approved",
    [MEMBER_DENIED] = "denied", [MEMBER_REVOKED] = "revoked",
};

const char *member_state_text(enum member_state state)
{
    CHECK((unsigned)state < ARRAY_LEN(state_names));
    return state_names[state];
}

enum member_state member_state_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(state_names); i++)
        if (!strcmp(name, state_names[i]))
            return (enum member_state)i;
    return MEMBER_NONE;
}

static const char *const further_names[] = {
    [FURTHER_FREE] = "free",
    [FURTHER_HELD] = "held",
    [FURTHER_ASKED] = "asked",
    [FURTHER_DENIED] = "denied",
};

const char *member_further_text(enum member_further further)
{
    CHECK((unsigned)further < ARRAY_LEN(further_names));
    return further_names[further];
}

/* What is none of them frees nobody. */
enum member_further member_further_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(further_names); i++)
        if (!strcmp(name, further_names[i]))
            return (enum member_further)i;
    return FURTHER_HELD;
}

enum outcome member_find(struct desk *d, const struct group *g, const struct account *user,
                         struct member *out)
{
    struct query q =
        store_ask(d->store,
                  "SELECT id, state, reason, note, asked_s, decided_s, decided_by, further"
                  " FROM members WHERE group_row = ?1 AND user_row = ?2",
                  VALUES(v_int(g->row), v_int(user->row)));

    *out = (struct member){0};
    if (!query_row(&q))
        return q.failed ? OUT_INTERNAL : OUT_OK;
    out->row = query_int(&q, 0);
    out->state = member_state_named(query_text(&q, 1));
    query_copy_text(&q, 2, out->reason, sizeof out->reason);
    query_copy_text(&q, 3, out->note, sizeof out->note);
    out->asked_s = query_int(&q, 4);
    out->decided_s = query_int(&q, 5);
    query_copy_text(&q, 6, out->decided_by, sizeof out->decided_by);
    out->further = member_further_named(query_text(&q, 7));
    query_end(&q);
    return OUT_OK;
}

/* "another machine: why", for the audit log. */
static const char *about_machine(const char *why, char out[REASON_MAX + 24])
{
    snprintf(out, REASON_MAX + 24, "another machine%s%s", *why ? ": " : "", why);
    return out;
}

/* A member asks for one more machine. */
static enum outcome further_request(struct desk *d, const struct group *g,
                                    const struct account *user, const struct member *m,
                                    const char *reason)
{
    char detail[REASON_MAX + 24];
    int err = store_run(d->store,
                        "UPDATE members SET further = 'asked', reason = ?2, asked_s = ?3"
                        " WHERE id = ?1",
                        VALUES(v_int(m->row), v_text(reason), v_int(d->now_s)));

    if (err < 0)
        return desk_failed(err);
    if (m->further != FURTHER_ASKED)
        mail_request(d, g, user->name, MAIL_TO_ADD_A_MACHINE);
    return desk_audit(d, VERB_MEMBER_REQUEST, g->row, user->name, about_machine(reason, detail));
}

enum outcome member_request_write(struct desk *d, const struct group *g, const struct account *user,
                                  const char *reason)
{
    struct member m;
    enum outcome o = member_find(d, g, user, &m);

    if (o == OUT_OK && !desk_text_valid(reason))
        o = OUT_BAD_TEXT;
    if (o != OUT_OK)
        return o;
    if (m.state == MEMBER_APPROVED)
        return m.further == FURTHER_FREE ? OUT_ALREADY_MEMBER
                                         : further_request(d, g, user, &m, reason);
    int err = store_run(d->store,
                        "INSERT INTO members (group_row, user_row, state, reason, asked_s)"
                        " VALUES (?1, ?2, 'requested', ?3, ?4)"
                        " ON CONFLICT (group_row, user_row) DO UPDATE SET state = 'requested',"
                        " reason = excluded.reason, note = '', asked_s = excluded.asked_s,"
                        " decided_s = NULL, decided_by = NULL",
                        VALUES(v_int(g->row), v_int(user->row), v_text(reason), v_int(d->now_s)));
    if (err < 0)
        return desk_failed(err);
    if (m.state != MEMBER_REQUESTED) /* who asks again and again is announced once */
        mail_request(d, g, user->name, MAIL_TO_JOIN);
    return desk_audit(d, VERB_MEMBER_REQUEST, g->row, user->name, reason);
}

enum outcome member_request(struct desk *d, const struct group *g, const struct account *user,
                            const char *reason)
{
    enum outcome o = desk_open(d, VERB_MEMBER_REQUEST, g->row, user->row);

    if (o != OUT_OK)
        return o;
    return desk_close(d, member_request_write(d, g, user, reason));
}

enum outcome member_hold(struct desk *d, const struct member *m)
{
    int err = store_run(d->store,
                        "UPDATE members SET further = 'held' WHERE id = ?1"
                        " AND NOT (state = 'approved' AND further = 'asked')",
                        VALUES(v_int(m->row)));
    if (err >= 0)
        err = store_run(d->store,
                        "UPDATE secrets SET expires_s = min(expires_s, ?2)"
                        " WHERE member_row = ?1 AND used_s IS NULL",
                        VALUES(v_int(m->row), v_int(d->now_s)));
    return err < 0 ? desk_failed(err) : OUT_OK;
}

bool member_may_agree(struct desk *d, const struct group *g, const struct account *user)
{
    if (d->actor.kind != ACTOR_USER || d->actor.row != user->row)
        return true;
    return store_int(d->store, 1,
                     "SELECT count(*) FROM roles WHERE group_row = ?1 AND user_row <> ?2"
                     " AND role <> 'auditor'",
                     VALUES(v_int(g->row), v_int(user->row))) == 0;
}

/* About a member: may he add a machine? */
static enum outcome further_decide(struct desk *d, enum verb verb, const struct group *g,
                                   const struct account *user, const struct member *m,
                                   const char *note)
{
    char detail[REASON_MAX + 24];
    bool approve = verb == VERB_MEMBER_APPROVE;

    if (!approve && m->further != FURTHER_ASKED)
        return OUT_DENY_MEMBER;
    if (m->further == FURTHER_FREE)
        return OUT_OK;
    if (approve && !member_may_agree(d, g, user))
        return OUT_NOT_PERMITTED;
    int err = store_run(d->store,
                        "UPDATE members SET further = ?2, note = ?3, decided_s = ?4,"
                        " decided_by = ?5 WHERE id = ?1",
                        VALUES(v_int(m->row), v_text(approve ? "free" : "denied"), v_text(note),
                               v_int(d->now_s), v_text(desk_who(d))));
    if (err < 0)
        return desk_failed(err);
    mail_decision(d, g, user, verb, MAIL_TO_ADD_A_MACHINE);
    return desk_audit(d, verb, g->row, user->name, about_machine(note, detail));
}

static enum outcome decision_write(struct desk *d, enum verb verb, const struct group *g,
                                   const struct account *user, const char *note)
{
    struct member m;
    bool approve = verb == VERB_MEMBER_APPROVE;
    enum outcome o = member_find(d, g, user, &m);

    if (o != OUT_OK)
        return o;
    if (m.state == MEMBER_APPROVED)
        return further_decide(d, verb, g, user, &m, note);
    if (m.state != MEMBER_REQUESTED)
        return OUT_NO_REQUEST;
    int err = store_run(
        d->store,
        "UPDATE members SET state = ?2, further = ?3, note = ?4, decided_s = ?5, decided_by = ?6"
        " WHERE id = ?1",
        VALUES(v_int(m.row), v_text(approve ? "approved" : "denied"),
               v_text(approve ? "free" : member_further_text(m.further)), v_text(note),
               v_int(d->now_s), v_text(desk_who(d))));
    if (err < 0)
        return desk_failed(err);
    mail_decision(d, g, user, verb, MAIL_TO_JOIN);
    return desk_audit(d, verb, g->row, user->name, note);
}

static enum outcome member_decide(struct desk *d, enum verb verb, const struct group *g,
                                  const struct account *user, const char *note)
{
    enum outcome o = desk_open(d, verb, g->row, user->row);

    if (o != OUT_OK)
        return o;
    if (!desk_text_valid(note))
        return desk_close(d, OUT_BAD_TEXT);
    return desk_close(d, decision_write(d, verb, g, user, note));
}

enum outcome member_approve(struct desk *d, const struct group *g, const struct account *user,
                            const char *note)
{
    return member_decide(d, VERB_MEMBER_APPROVE, g, user, note);
}

enum outcome member_deny(struct desk *d, const struct group *g, const struct account *user,
                         const char *note)
{
    return member_decide(d, VERB_MEMBER_DENY, g, user, note);
}

/* LIKE's wildcards are escaped, so that what was typed is what is looked for; "": nothing was. */
static void like_pattern(char *out, size_t size, const char *search)
{
    size_t used = 0;

    *out = '\0';
    if (!*search)
        return;
    out[used++] = '%';
    for (; *search && used + 4 < size; search++) {
        if (strchr("%_\\", *search))
            out[used++] = '\\';
        out[used++] = *search;
    }
    out[used++] = '%';
    out[used] = '\0';
}

#define LIST_FROM                                                                                  \
    " FROM members m JOIN users u ON u.id = m.user_row WHERE m.group_row = ?1"                     \
    " AND (?2 = '' OR m.state = ?2 OR (?2 = 'requested' AND m.further = 'asked'))"                 \
    " AND (?3 = '' OR u.name LIKE ?3 ESCAPE '\\' OR u.email LIKE ?3 ESCAPE '\\')"

/* First which 50 of the 10,000, then what stands on their lines: a sort carries ids only. */
#define LIST_LINES(order)                                                                          \
    "SELECT u.name, u.email, m.state, m.reason, m.asked_s, m.decided_s, m.decided_by,"             \
    " (SELECT count(*) FROM machines c WHERE c.member_row = m.id AND c.revoked_s IS NULL),"        \
    " (SELECT role FROM roles r WHERE r.group_row = m.group_row AND r.user_row = u.id),"           \
    " m.further"                                                                                   \
    " FROM members m JOIN users u ON u.id = m.user_row"                                            \
    " WHERE m.id IN (SELECT m.id" LIST_FROM order " LIMIT ?4 OFFSET ?5)" order

static const char *const list_statements[MEMBER_SORTS] = {
    [MEMBER_BY_STATE] = LIST_LINES(" ORDER BY m.further <> 'asked', m.state <> 'requested',"
                                   " CASE WHEN m.further = 'asked' OR m.state = 'requested'"
                                   " THEN m.asked_s END, u.name"),
    [MEMBER_BY_NAME] = LIST_LINES(" ORDER BY u.name"),
    [MEMBER_BY_TIME] = LIST_LINES(" ORDER BY coalesce(m.decided_s, m.asked_s) DESC, u.name"),
};

/* Counting all needs no names. */
static int64_t list_count(struct desk *d, const struct group *g, const char *state,
                          const char *pattern)
{
    if (*pattern)
        return store_int(d->store, 0, "SELECT count(*)" LIST_FROM,
                         VALUES(v_int(g->row), v_text(state), v_text(pattern)));
    return store_int(
        d->store, 0,
        "SELECT (SELECT count(*) FROM members WHERE group_row = ?1 AND (?2 = '' OR state = ?2))"
        " + (SELECT count(*) FROM members WHERE group_row = ?1 AND further = 'asked'"
        " AND ?2 = 'requested')",
        VALUES(v_int(g->row), v_text(state)));
}

enum outcome member_list(struct desk *d, const struct group *g, const struct member_filter *filter,
                         void (*line)(void *ctx, const struct member_line *line), void *ctx,
                         int64_t *total)
{
    char pattern[2 * 128];
    const char *state = filter->state == MEMBER_NONE ? "" : member_state_text(filter->state);
    enum outcome o = desk_authorize(d, VERB_MEMBER_LIST, g->row, 0);

    *total = 0;
    if (o != OUT_OK)
        return o;
    like_pattern(pattern, sizeof pattern, filter->search);
    *total = list_count(d, g, state, pattern);
    CHECK((unsigned)filter->sort < MEMBER_SORTS);
    struct query q = store_ask(d->store, list_statements[filter->sort],
                               VALUES(v_int(g->row), v_text(state), v_text(pattern),
                                      v_int(filter->limit), v_int(filter->offset)));
    while (query_row(&q)) {
        const struct member_line one = {.user = query_text(&q, 0),
                                        .email = query_text(&q, 1),
                                        .state = member_state_named(query_text(&q, 2)),
                                        .reason = query_text(&q, 3),
                                        .asked_s = query_int(&q, 4),
                                        .decided_s = query_int(&q, 5),
                                        .decided_by = query_text(&q, 6),
                                        .machines = query_int(&q, 7),
                                        .role = query_text(&q, 8),
                                        .further = member_further_named(query_text(&q, 9))};
        line(ctx, &one);
    }
    return q.failed ? OUT_INTERNAL : OUT_OK;
}

enum outcome member_names(struct desk *d, const struct group *g, int64_t offset, int64_t limit,
                          void (*name)(void *ctx, const char *user, int64_t machines), void *ctx,
                          int64_t *total)
{
    enum outcome o = desk_authorize(d, VERB_MEMBER_SEE, g->row, 0);

    *total = 0;
    if (o != OUT_OK)
        return o;
    *total = store_int(d->store, 0,
                       "SELECT count(*) FROM members WHERE group_row = ?1 AND state = 'approved'",
                       VALUES(v_int(g->row)));
    struct query q = store_ask(d->store,
                               "SELECT u.name, (SELECT count(*) FROM machines c"
                               " WHERE c.member_row = m.id AND c.revoked_s IS NULL)"
                               " FROM members m JOIN users u ON u.id = m.user_row"
                               " WHERE m.group_row = ?1 AND m.state = 'approved'"
                               " ORDER BY u.name LIMIT ?2 OFFSET ?3",
                               VALUES(v_int(g->row), v_int(limit), v_int(offset)));
    while (query_row(&q))
        name(ctx, query_text(&q, 0), query_int(&q, 1));
    return q.failed ? OUT_INTERNAL : OUT_OK;
}
