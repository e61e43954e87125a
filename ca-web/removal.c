#include "ca-web/removal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ca-web/answer.h"
#include "ca-web/enrol.h"
#include "ca-web/mail.h"
#include "ca-web/role.h"
#include "ca-web/rollover.h"

char *time_text(int64_t unix_s, char out[TIME_TEXT_SIZE])
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(out, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
        out[0] = '\0';
    return out;
}

/* Takes the group's next number; 0 when the database fails. */
int64_t removal_number_take(struct desk *d, const struct group *g)
{
    if (store_run(d->store, "UPDATE groups SET number = number + 1 WHERE id = ?1",
                  VALUES(v_int(g->row))) != 1)
        return 0;
    return store_int(d->store, 0, "SELECT number FROM groups WHERE id = ?1", VALUES(v_int(g->row)));
}

/* Grows by doubling; CRL_ENTRIES_MAX is what a reader takes. */
struct revoked_list {
    struct issue_revoked *v;
    size_t count, size;
};

static bool revoked_push(struct revoked_list *list, const struct query *q)
{
    if (list->count == list->size) {
        size_t size = list->size ? 2 * list->size : 64;
        void *v = size <= 2 * CRL_ENTRIES_MAX ? realloc(list->v, size * sizeof *list->v) : NULL;
        if (!v)
            return false;
        list->v = v;
        list->size = size;
    }
    size_t len = 0;
    const void *serial = query_bytes(q, 0, &len);
    struct issue_revoked *r = &list->v[list->count++];
    CHECK(len <= sizeof r->serial);
    memcpy(r->serial, serial, len);
    r->serial_len = (uint8_t)len;
    r->revoked_s = query_int(q, 1);
    return true;
}

static bool revoked_load(struct desk *d, const struct group *g, struct revoked_list *list)
{
    bool ok = true;
    struct query q = store_ask(d->store,
                               "SELECT c.serial, m.revoked_s"
                               " FROM machines m JOIN certificates c ON c.machine_row = m.id"
                               " WHERE m.group_row = ?1 AND m.revoked_s IS NOT NULL"
                               " AND c.not_after_s > ?2",
                               VALUES(v_int(g->row), v_int(d->now_s - CERT_CLOCK_SLACK_S)));

    while (ok && query_row(&q))
        ok = revoked_push(list, &q);
    query_end(&q);
    return ok && !q.failed;
}

/* Signs and stores a CRL under a number that was taken. Inside a transaction. */
enum outcome removal_crl_write(struct desk *d, const struct group *g, int64_t number)
{
    struct revoked_list list = {0};
    struct authority a;
    int64_t authority_row = 0;
    uint8_t *der = NULL;
    int len = -ERR_NOMEM;
    enum outcome o = group_authority(d, g, &a, &authority_row);

    if (o == OUT_OK && revoked_load(d, g, &list))
        len = issue_crl(&a, list.v, list.count, (uint64_t)number, d->now_s, d->now_s + CRL_LIFE_S,
                        &der);
    if (len > 0)
        len = store_run(
            d->store,
            "INSERT INTO crls (group_row, number, der, made_s) VALUES (?1, ?2, ?3, ?4)"
            " ON CONFLICT (group_row) DO UPDATE SET number = excluded.number,"
            " der = excluded.der, made_s = excluded.made_s",
            VALUES(v_int(g->row), v_int(number), v_bytes(der, (size_t)len), v_int(d->now_s)));
    authority_clear(&a);
    free(list.v);
    free(der);
    return o == OUT_OK && len < 0 ? desk_failed(len) : o;
}

struct doomed {
    int64_t row;
    struct issue_removal removal;
};

static bool serials_load(struct desk *d, struct doomed *m)
{
    struct query q = store_ask(
        d->store,
        "SELECT serial FROM certificates"
        " WHERE machine_row = ?1 AND not_after_s > ?2"
        " ORDER BY not_after_s DESC LIMIT ?3",
        VALUES(v_int(m->row), v_int(d->now_s - CERT_CLOCK_SLACK_S), v_int(REMOVAL_SERIALS_MAX)));

    while (query_row(&q)) {
        struct issue_revoked *r = &m->removal.serials[m->removal.serial_count++];
        size_t len = 0;
        const void *serial = query_bytes(&q, 0, &len);
        CHECK(len <= sizeof r->serial);
        memcpy(r->serial, serial, len);
        r->serial_len = (uint8_t)len;
    }
    return !q.failed;
}

/* The next of a query's machines (id, node, key) to remove; row 0: none is left. */
static bool doomed_read(struct desk *d, struct query *q, struct doomed *m)
{
    bool ok = true;

    *m = (struct doomed){0};
    if (query_row(q)) {
        m->row = query_int(q, 0);
        ok = query_copy(q, 1, m->removal.node.b, ID_LEN) &&
             query_copy(q, 2, m->removal.key.b, sizeof m->removal.key.b);
    }
    query_end(q);
    return ok && !q->failed && (!m->row || serials_load(d, m));
}

static bool doomed_next(struct desk *d, int64_t member_row, struct doomed *m)
{
    struct query q = store_ask(d->store,
                               "SELECT id, node, key FROM machines"
                               " WHERE member_row = ?1 AND revoked_s IS NULL ORDER BY id LIMIT 1",
                               VALUES(v_int(member_row)));
    return doomed_read(d, &q, m);
}

static bool doomed_find(struct desk *d, const struct group *g, const struct id *node,
                        struct doomed *m)
{
    struct query q = store_ask(d->store,
                               "SELECT id, node, key FROM machines"
                               " WHERE group_row = ?1 AND node = ?2 AND revoked_s IS NULL",
                               VALUES(v_int(g->row), v_bytes(node->b, ID_LEN)));
    return doomed_read(d, &q, m);
}

static enum outcome machine_remove(struct desk *d, const struct group *g, const struct authority *a,
                                   struct doomed *m)
{
    uint8_t message[REMOVAL_MAX];

    m->removal.group = g->id;
    m->removal.at_s = d->now_s;
    int64_t number = removal_number_take(d, g);
    m->removal.number = (uint64_t)number;
    int len = number ? issue_removal(a, &m->removal, message, sizeof message) : -ERR_BAD_STATE;
    if (len < 0 ||
        store_run(d->store, "UPDATE machines SET revoked_s = ?2 WHERE id = ?1",
                  VALUES(v_int(m->row), v_int(d->now_s))) != 1 ||
        store_run(d->store,
                  "INSERT INTO removals (group_row, number, machine_row, at_s, message)"
                  " VALUES (?1, ?2, ?3, ?4, ?5)",
                  VALUES(v_int(g->row), v_int(number), v_int(m->row), v_int(d->now_s),
                         v_bytes(message, (size_t)len))) != 1)
        return OUT_INTERNAL;
    return OUT_OK;
}

/* Every machine of the member, then one CRL under the last number. */
static enum outcome machines_remove(struct desk *d, const struct group *g, const struct member *m)
{
    struct authority a;
    struct doomed doomed;
    int64_t authority_row = 0;
    enum outcome o = group_authority(d, g, &a, &authority_row);

    for (int i = 0; o == OUT_OK && i <= ENROL_MACHINES_MAX; i++) {
        if (!doomed_next(d, m->row, &doomed))
            o = OUT_INTERNAL;
        if (o != OUT_OK || !doomed.row)
            break;
        o = machine_remove(d, g, &a, &doomed);
    }
    authority_clear(&a);
    int64_t number =
        store_int(d->store, 0, "SELECT number FROM groups WHERE id = ?1", VALUES(v_int(g->row)));
    return o == OUT_OK ? removal_crl_write(d, g, number) : o;
}

static enum outcome revoke_write(struct desk *d, const struct group *g, const struct account *user,
                                 const char *note)
{
    struct member m;
    enum outcome o = member_find(d, g, user, &m);

    if (o == OUT_OK && m.state != MEMBER_APPROVED)
        o = OUT_NOT_MEMBER;
    if (o == OUT_OK)
        o = role_write(d, g, user, "member");
    if (o != OUT_OK)
        return o;
    if (store_run(d->store,
                  "UPDATE members SET state = 'revoked', note = ?2, decided_s = ?3, decided_by = ?4"
                  " WHERE id = ?1",
                  VALUES(v_int(m.row), v_text(note), v_int(d->now_s), v_text(desk_who(d)))) != 1)
        return OUT_INTERNAL;
    mail_decision(d, g, user, VERB_MEMBER_REVOKE, MAIL_TO_JOIN);
    o = member_hold(d, &m);
    if (o == OUT_OK)
        o = machines_remove(d, g, &m);
    return o == OUT_OK ? desk_audit(d, VERB_MEMBER_REVOKE, g->row, user->name, note) : o;
}

enum outcome member_revoke(struct desk *d, const struct group *g, const struct account *user,
                           const char *note)
{
    enum outcome o = desk_open(d, VERB_MEMBER_REVOKE, g->row, user->row);

    if (o != OUT_OK)
        return o;
    if (!desk_text_valid(note))
        return desk_close(d, OUT_BAD_TEXT);
    return desk_close(d, revoke_write(d, g, user, note));
}

enum outcome machine_owner(struct desk *d, const struct group *g, const struct id *node,
                           struct account *user, char hostname[LABEL_MAX + 1])
{
    struct query q = store_ask(d->store,
                               "SELECT u.id, u.name, c.hostname, u.email FROM machines c"
                               " JOIN members m ON m.id = c.member_row"
                               " JOIN users u ON u.id = m.user_row"
                               " WHERE c.group_row = ?1 AND c.node = ?2 AND c.revoked_s IS NULL",
                               VALUES(v_int(g->row), v_bytes(node->b, ID_LEN)));

    *user = (struct account){0};
    hostname[0] = '\0';
    if (!query_row(&q))
        return q.failed ? OUT_INTERNAL : OUT_NO_MACHINE;
    user->row = query_int(&q, 0);
    query_copy_text(&q, 1, user->name, sizeof user->name);
    query_copy_text(&q, 2, hostname, LABEL_MAX + 1);
    query_copy_text(&q, 3, user->email, sizeof user->email);
    query_end(&q);
    return OUT_OK;
}

static enum outcome machine_revoke_write(struct desk *d, enum verb verb, const struct group *g,
                                         const struct id *node, const struct account *user,
                                         const char *hostname, const char *note)
{
    char detail[LABEL_MAX + REASON_MAX + 8];
    struct authority a;
    struct doomed doomed;
    struct member m;
    int64_t authority_row = 0;

    if (!doomed_find(d, g, node, &doomed))
        return OUT_INTERNAL;
    if (!doomed.row)
        return OUT_NO_MACHINE;
    enum outcome o = group_authority(d, g, &a, &authority_row);
    if (o == OUT_OK)
        o = machine_remove(d, g, &a, &doomed);
    authority_clear(&a);
    if (o == OUT_OK)
        o = removal_crl_write(d, g, (int64_t)doomed.removal.number);
    if (o == OUT_OK)
        o = member_find(d, g, user, &m);
    if (o == OUT_OK)
        o = member_hold(d, &m);
    if (o != OUT_OK)
        return o;
    mail_decision(d, g, user, VERB_MACHINE_REVOKE, MAIL_TO_JOIN);
    snprintf(detail, sizeof detail, "%s%s%s", hostname, *note ? ": " : "", note);
    return desk_audit(d, verb, g->row, user->name, detail);
}

/* Inside the transaction; asks whether the actor may. */
static enum outcome machine_revoke_ask(struct desk *d, enum verb verb, const struct group *g,
                                       const struct id *node, const char *note,
                                       struct account *user, char hostname[LABEL_MAX + 1])
{
    enum outcome found = machine_owner(d, g, node, user, hostname);
    enum outcome o = desk_authorize(d, verb, g->row, user->row);

    if (o == OUT_OK)
        o = found;
    if (o == OUT_OK && !desk_text_valid(note))
        o = OUT_BAD_TEXT;
    return o == OUT_OK ? machine_revoke_write(d, verb, g, node, user, hostname, note) : o;
}

enum outcome machine_revoke(struct desk *d, const struct group *g, const struct id *node,
                            const char *note)
{
    struct account user;
    char hostname[LABEL_MAX + 1];
    enum outcome o = desk_begin(d);

    if (o == OUT_OK)
        o = desk_close(d,
                       machine_revoke_ask(d, VERB_MACHINE_REVOKE, g, node, note, &user, hostname));
    return o;
}

/* A request holds less than a note and a name: then the note stands in the audit log alone. */
static enum outcome lost_request(struct desk *d, const struct group *g, const struct account *user,
                                 const char *hostname, const char *note)
{
    char reason[REASON_MAX + 1];
    int len = snprintf(reason, sizeof reason, "lost %s%s%s", hostname, *note ? ": " : "", note);

    if ((size_t)len >= sizeof reason)
        snprintf(reason, sizeof reason, "lost %s", hostname);
    return member_request_write(d, g, user, reason);
}

enum outcome machine_lost(struct desk *d, const struct group *g, const struct id *node,
                          const char *note)
{
    char hostname[LABEL_MAX + 1];
    struct account user;
    enum outcome o = desk_begin(d);

    if (o != OUT_OK)
        return o;
    o = machine_revoke_ask(d, VERB_MACHINE_LOST, g, node, note, &user, hostname);
    if (o == OUT_OK)
        o = lost_request(d, g, &user, hostname, note);
    return desk_close(d, o);
}

/* *fresh: there is one and it is younger than a day. */
static enum outcome crl_read(struct desk *d, const struct group *g, struct text *der,
                             int64_t *number, bool *fresh)
{
    struct query q =
        store_ask(d->store, "SELECT der, number, made_s FROM crls WHERE group_row = ?1",
                  VALUES(v_int(g->row)));

    *fresh = false;
    if (query_row(&q)) {
        size_t len = 0;
        const void *bytes = query_bytes(&q, 0, &len);
        *number = query_int(&q, 1);
        *fresh = query_int(&q, 2) + CRL_REFRESH_S > d->now_s;
        if (*fresh)
            text_add(der, bytes, len);
    }
    query_end(&q);
    return q.failed || der->failed ? OUT_INTERNAL : OUT_OK;
}

/* 0: there is none, or it is a day old. */
static int64_t crl_number(struct desk *d, const struct group *g)
{
    return store_int(d->store, 0,
                     "SELECT number FROM crls WHERE group_row = ?1 AND made_s + ?2 > ?3",
                     VALUES(v_int(g->row), v_int(CRL_REFRESH_S), v_int(d->now_s)));
}

enum outcome removal_crl_is(struct desk *d, const struct group *g, int64_t number, bool *is)
{
    enum outcome o = desk_authorize(d, VERB_REMOVALS_READ, g->row, 0);

    *is = o == OUT_OK && number && crl_number(d, g) == number;
    return o;
}

enum outcome removal_crl(struct desk *d, const struct group *g, struct text *der, int64_t *number)
{
    bool fresh = false;
    enum outcome o = desk_authorize(d, VERB_REMOVALS_READ, g->row, 0);

    *number = 0;
    if (o == OUT_OK)
        o = crl_read(d, g, der, number, &fresh);
    if (o != OUT_OK || fresh)
        return o;
    o = desk_begin(d);
    if (o != OUT_OK)
        return o;
    o = crl_read(d, g, der, number, &fresh); /* another thread may have been faster */
    if (o == OUT_OK && !fresh) {
        o = rollover_settle(d, g);
        int64_t next = o == OUT_OK ? removal_number_take(d, g) : 0;
        o = next ? removal_crl_write(d, g, next) : OUT_INTERNAL;
    }
    o = desk_close(d, o);
    return o == OUT_OK && !fresh ? crl_read(d, g, der, number, &fresh) : o;
}

static json_t *event_json(const struct query *q)
{
    char at[TIME_TEXT_SIZE], node[ID_TEXT_SIZE];
    char message[sodium_base64_ENCODED_LEN(REMOVAL_MAX, sodium_base64_VARIANT_ORIGINAL)];
    struct id id;
    size_t len = 0;
    const void *bytes = query_bytes(q, 2, &len);

    CHECK(len <= REMOVAL_MAX);
    sodium_bin2base64(message, sizeof message, bytes, len, sodium_base64_VARIANT_ORIGINAL);
    bool removal = !query_null(q, 3) && query_copy(q, 3, id.b, ID_LEN);
    return json_pack("{s:I, s:s, s:o, s:s}", "number", (json_int_t)query_int(q, 0), "at",
                     time_text(query_int(q, 1), at), "node",
                     removal ? json_string(id_text(&id, node)) : json_null(), "removal", message);
}

enum outcome removal_events(struct desk *d, const struct group *g, int64_t after, struct text *out,
                            size_t *count)
{
    enum outcome o = desk_authorize(d, VERB_REMOVALS_READ, g->row, 0);
    json_t *events = json_array();

    *count = 0;
    if (o != OUT_OK) {
        json_decref(events);
        return o;
    }
    int64_t number =
        store_int(d->store, 0, "SELECT number FROM groups WHERE id = ?1", VALUES(v_int(g->row)));
    struct query q = store_ask(d->store,
                               "SELECT r.number, r.at_s, r.message, m.node"
                               " FROM removals r JOIN machines m ON m.id = r.machine_row"
                               " WHERE r.group_row = ?1 AND r.number > ?2"
                               " UNION ALL SELECT number, at_s, message, NULL FROM successions"
                               " WHERE group_row = ?1 AND number > ?2"
                               " ORDER BY 1 LIMIT ?3",
                               VALUES(v_int(g->row), v_int(after), v_int(EVENTS_MAX)));
    int64_t last = 0;
    while (query_row(&q)) {
        last = query_int(&q, 0);
        if (json_array_append_new(events, event_json(&q)) == 0)
            ++*count;
    }
    /* A removal may have come between the two reads, or the answer may be cut. */
    if (last > number || *count == EVENTS_MAX)
        number = last;
    if (q.failed) {
        json_decref(events);
        return OUT_INTERNAL;
    }
    return answer_json(out,
                       json_pack("{s:s, s:I, s:o}", "group", g->name, "number", (json_int_t)number,
                                 "events", events),
                       JSON_COMPACT);
}
