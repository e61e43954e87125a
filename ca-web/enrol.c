#include "ca-web/enrol.h"

#include <stdio.h>
#include <string.h>

#include "ca-web/blob.h"

/* A request that was read: whose key, called what. */
struct applicant {
    struct sign_public key;
    char hostname[LABEL_MAX + 1];
};

struct machine {
    int64_t row; /* 0: the key is not enrolled in this group */
    int64_t member_row;
    uint64_t enrolment;
    bool revoked;
};

static enum outcome machine_find(struct desk *d, const struct group *g,
                                 const struct sign_public *key, struct machine *out)
{
    struct query q = store_ask(d->store,
                               "SELECT id, member_row, enrolment, revoked_s IS NOT NULL"
                               " FROM machines WHERE group_row = ?1 AND key = ?2",
                               VALUES(v_int(g->row), v_bytes(key->b, sizeof key->b)));

    *out = (struct machine){0};
    if (!query_row(&q))
        return q.failed ? OUT_INTERNAL : OUT_OK;
    out->row = query_int(&q, 0);
    out->member_row = query_int(&q, 1);
    out->enrolment = (uint64_t)query_int(&q, 2);
    out->revoked = query_int(&q, 3) != 0;
    query_end(&q);
    return OUT_OK;
}

static enum outcome machine_insert(struct desk *d, const struct group *g, const struct member *m,
                                   const struct applicant *who, struct machine *out)
{
    int64_t machines = store_int(d->store, INT64_MAX,
                                 "SELECT count(*) FROM machines"
                                 " WHERE member_row = ?1 AND revoked_s IS NULL",
                                 VALUES(v_int(m->row)));
    if (machines >= ENROL_MACHINES_MAX)
        return OUT_FULL;
    out->enrolment = (uint64_t)store_int(
        d->store, 0, "SELECT next_enrolment FROM groups WHERE id = ?1", VALUES(v_int(g->row)));
    struct id node = node_id_certified(&who->key, &g->id, out->enrolment);
    int err =
        store_run(d->store, "UPDATE groups SET next_enrolment = next_enrolment + 1 WHERE id = ?1",
                  VALUES(v_int(g->row)));
    if (err == 1)
        err = store_run(d->store,
                        "INSERT INTO machines"
                        " (group_row, member_row, enrolment, key, node, hostname, enrolled_s)"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                        VALUES(v_int(g->row), v_int(m->row), v_int((int64_t)out->enrolment),
                               v_bytes(who->key.b, sizeof who->key.b), v_bytes(node.b, ID_LEN),
                               v_text(who->hostname), v_int(d->now_s)));
    if (err != 1)
        return desk_failed(err);
    out->row = store_last_row(d->store);
    out->member_row = m->row;
    return OUT_OK;
}

static enum outcome certificate_insert(struct desk *d, const struct issue_member *m,
                                       int64_t machine_row, int64_t authority_row,
                                       const struct issued *out)
{
    int err = store_run(d->store,
                        "INSERT INTO certificates (serial, machine_row, authority_row, der,"
                        " not_before_s, not_after_s) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                        VALUES(v_bytes(m->serial, sizeof m->serial), v_int(machine_row),
                               v_int(authority_row), v_bytes(out->der, out->der_len),
                               v_int(m->not_before_s), v_int(m->not_after_s)));
    return err == 1 ? OUT_OK : desk_failed(err);
}

static enum outcome certificate_issue(struct desk *d, const struct sign_public *key,
                                      const char *user, const struct machine *machine,
                                      struct issued *out)
{
    struct authority a;
    int64_t authority_row = 0;
    struct issue_member m = {.key = *key,
                             .group = out->group.id,
                             .enrolment = machine->enrolment,
                             .user = user,
                             .not_before_s = d->now_s - ISSUE_BACKDATE_S,
                             .not_after_s = d->now_s + out->group.certificate_s};
    enum outcome o = group_authority(d, &out->group, &a, &authority_row);

    if (o == OUT_OK) {
        issue_serial(m.serial);
        int len = issue_member(&a, &m, out->der, sizeof out->der);
        out->der_len = len > 0 ? (size_t)len : 0;
        o = len > 0 ? certificate_insert(d, &m, machine->row, authority_row, out) : OUT_INTERNAL;
    }
    authority_clear(&a);
    return o;
}

/* When and from where it was heard of, for people to look at. */
static enum outcome machine_seen(struct desk *d, const struct machine *machine)
{
    int err =
        store_run(d->store, "UPDATE machines SET seen_s = ?2, seen_address = ?3 WHERE id = ?1",
                  VALUES(v_int(machine->row), v_int(d->now_s), v_text(d->actor.address)));
    return err == 1 ? OUT_OK : desk_failed(err);
}

/* The newest certificate of a machine; *issued_s and *not_after_s are of it. */
static enum outcome certificate_newest(struct desk *d, const struct machine *machine,
                                       struct issued *out, int64_t *issued_s, int64_t *not_after_s)
{
    struct query q = store_ask(d->store,
                               "SELECT der, not_before_s, not_after_s FROM certificates"
                               " WHERE machine_row = ?1 ORDER BY not_after_s DESC,"
                               " authority_row DESC LIMIT 1",
                               VALUES(v_int(machine->row)));
    const void *der = NULL;

    *issued_s = *not_after_s = 0;
    if (query_row(&q)) {
        der = query_bytes(&q, 0, &out->der_len);
        CHECK(out->der_len <= sizeof out->der);
        memcpy(out->der, der, out->der_len);
        *issued_s = query_int(&q, 1) + ISSUE_BACKDATE_S;
        *not_after_s = query_int(&q, 2);
    }
    query_end(&q);
    return der ? OUT_OK : OUT_INTERNAL;
}

/* What is known of the secret, read in the transaction that spends it. */
struct spent {
    struct sign_public key;
    bool used;
    int64_t expires_s;
};

static enum outcome secret_find(struct desk *d, const struct member *m,
                                const uint8_t hash[HASH_LEN], struct spent *out)
{
    struct query q = store_ask(d->store,
                               "SELECT used_s IS NOT NULL, key, expires_s FROM secrets"
                               " WHERE hash = ?1 AND member_row = ?2",
                               VALUES(v_bytes(hash, HASH_LEN), v_int(m->row)));

    *out = (struct spent){0};
    if (!query_row(&q))
        return q.failed ? OUT_INTERNAL : OUT_BAD_SECRET;
    out->used = query_int(&q, 0) != 0;
    bool ok = !out->used || query_copy(&q, 1, out->key.b, sizeof out->key.b);
    out->expires_s = query_int(&q, 2);
    query_end(&q);
    return ok ? OUT_OK : OUT_INTERNAL;
}

/* 1 when this request is the one that spends the secret. */
static int secret_spend(struct desk *d, const uint8_t hash[HASH_LEN], const struct sign_public *key)
{
    return store_run(
        d->store,
        "UPDATE secrets SET used_s = ?2, key = ?3"
        " WHERE hash = ?1 AND used_s IS NULL AND expires_s > ?2",
        VALUES(v_bytes(hash, HASH_LEN), v_int(d->now_s), v_bytes(key->b, sizeof key->b)));
}

static enum outcome enrol_first(struct desk *d, const struct applicant *who,
                                const struct account *user, const struct member *m,
                                struct issued *out)
{
    struct machine machine;
    char detail[LABEL_MAX + 32];
    enum outcome o = machine_find(d, &out->group, &who->key, &machine);

    if (o == OUT_OK && machine.row && machine.member_row != m->row)
        o = OUT_KEY_IN_USE;
    if (o == OUT_OK && machine.revoked)
        o = OUT_REVOKED;
    if (o == OUT_OK && !machine.row)
        o = machine_insert(d, &out->group, m, who, &machine);
    if (o == OUT_OK)
        o = certificate_issue(d, &who->key, user->name, &machine, out);
    if (o == OUT_OK)
        o = machine_seen(d, &machine);
    if (o != OUT_OK)
        return o;
    snprintf(detail, sizeof detail, "%s, enrolment %llu", who->hostname,
             (unsigned long long)machine.enrolment);
    return desk_audit(d, VERB_ENROLL, out->group.row, user->name, detail);
}

static enum outcome enrol_again(struct desk *d, const struct applicant *who,
                                const struct spent *spent, struct issued *out)
{
    struct machine machine;
    int64_t issued_s = 0, not_after_s = 0;

    if (!equal_ct(spent->key.b, who->key.b, sizeof who->key.b))
        return OUT_SECRET_USED;
    enum outcome o = machine_find(d, &out->group, &who->key, &machine);
    if (o == OUT_OK && machine.revoked)
        o = OUT_REVOKED;
    return o == OUT_OK ? certificate_newest(d, &machine, out, &issued_s, &not_after_s) : o;
}

/* Whoever asks has shown a secret or a key that is the user's. */
static enum outcome proved(struct desk *d, enum verb verb, const struct group *g, const char *user)
{
    d->actor.kind = ACTOR_MACHINE;
    strcpy(d->actor.name, user);
    return desk_authorize(d, verb, g->row, 0);
}

static enum outcome enrol_spend(struct desk *d, const struct applicant *who,
                                const struct account *user, const struct member *m,
                                const uint8_t hash[HASH_LEN], struct issued *out)
{
    struct spent spent;
    enum outcome o = secret_find(d, m, hash, &spent);

    if (o == OUT_OK)
        o = proved(d, VERB_ENROLL, &out->group, user->name);
    if (o != OUT_OK)
        return o;
    if (m->state != MEMBER_APPROVED)
        return m->state == MEMBER_REVOKED ? OUT_REVOKED : OUT_NOT_MEMBER;
    if (!spent.used && m->further != FURTHER_FREE)
        return OUT_HELD;
    int spend = secret_spend(d, hash, &who->key);
    if (spend < 0)
        return desk_failed(spend);
    if (spend == 1)
        return enrol_first(d, who, user, m, out);
    return spent.used ? enrol_again(d, who, &spent, out) : OUT_SECRET_EXPIRED;
}

static enum outcome applicant_read(struct applicant *who, const char *csr_pem)
{
    return csr_read(csr_pem, strlen(csr_pem), &who->key, who->hostname) ? OUT_BAD_CSR : OUT_OK;
}

/* Which of the three was wrong is nobody's business who does not know all of them. */
static enum outcome hide(enum outcome o)
{
    return o == OUT_NO_GROUP || o == OUT_NO_USER ? OUT_BAD_SECRET : o;
}

enum outcome enrol(struct desk *d, const char *group, const char *user, const char *secret,
                   const char *csr_pem, struct issued *out)
{
    struct applicant who;
    struct account account;
    struct member m;
    uint8_t hash[HASH_LEN];
    enum outcome o = applicant_read(&who, csr_pem);

    blob_secret_hash(hash, secret);
    if (o == OUT_OK)
        o = hide(group_find(d, group, &out->group));
    if (o == OUT_OK)
        o = hide(account_find(d, user, &account));
    if (o == OUT_OK)
        o = desk_begin(d);
    if (o != OUT_OK)
        return o;
    o = member_find(d, &out->group, &account, &m);
    if (o == OUT_OK)
        o = enrol_spend(d, &who, &account, &m, hash, out);
    return desk_close(d, o);
}

/* The user that a machine belongs to, while he is an approved member. */
static enum outcome machine_user(struct desk *d, const struct machine *machine,
                                 char user[LABEL_MAX + 1])
{
    struct query q = store_ask(d->store,
                               "SELECT u.name FROM members m JOIN users u ON u.id = m.user_row"
                               " WHERE m.id = ?1 AND m.state = 'approved'",
                               VALUES(v_int(machine->member_row)));

    if (!query_row(&q))
        return q.failed ? OUT_INTERNAL : OUT_REVOKED;
    query_copy_text(&q, 0, user, LABEL_MAX + 1);
    query_end(&q);
    return OUT_OK;
}

/* Certificates of a CA that has ended count for nothing. */
static bool renewed_enough(struct desk *d, const struct machine *machine, int64_t issued_s)
{
    int64_t unexpired = store_int(d->store, INT64_MAX,
                                  "SELECT count(*) FROM certificates c"
                                  " JOIN authorities a ON a.id = c.authority_row"
                                  " WHERE c.machine_row = ?1 AND c.not_after_s > ?2"
                                  " AND a.state <> 'retired'",
                                  VALUES(v_int(machine->row), v_int(d->now_s)));
    return (unexpired > 0 && d->now_s - issued_s < ENROL_RENEW_PAUSE_S) ||
           unexpired >= REMOVAL_SERIALS_MAX;
}

static enum outcome renew_write(struct desk *d, const struct applicant *who, struct issued *out)
{
    struct machine machine;
    char user[LABEL_MAX + 1];
    int64_t issued_s = 0, not_after_s = 0;
    enum outcome o = machine_find(d, &out->group, &who->key, &machine);

    if (o != OUT_OK)
        return o;
    if (!machine.row)
        return OUT_NOT_ENROLLED;
    if (machine.revoked)
        return OUT_REVOKED;
    o = machine_user(d, &machine, user);
    if (o == OUT_OK)
        o = proved(d, VERB_RENEW, &out->group, user);
    if (o == OUT_OK)
        o = certificate_newest(d, &machine, out, &issued_s, &not_after_s);
    if (o != OUT_OK)
        return o;
    if (not_after_s + ENROL_RENEW_GRACE_S < d->now_s)
        return OUT_TOO_OLD;
    if (renewed_enough(d, &machine, issued_s))
        return OUT_OK;
    o = certificate_issue(d, &who->key, user, &machine, out);
    if (o == OUT_OK)
        o = machine_seen(d, &machine);
    return o == OUT_OK ? desk_audit(d, VERB_RENEW, out->group.row, user, who->hostname) : o;
}

enum outcome enrol_renew(struct desk *d, const char *group, const char *csr_pem, struct issued *out)
{
    struct applicant who;
    enum outcome o = applicant_read(&who, csr_pem);

    if (o == OUT_OK)
        o = group_find(d, group, &out->group) == OUT_OK ? OUT_OK : OUT_NOT_ENROLLED;
    if (o == OUT_OK)
        o = desk_begin(d);
    if (o != OUT_OK)
        return o;
    return desk_close(d, renew_write(d, &who, out));
}
