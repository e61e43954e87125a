#include "ca-web/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ca-web/log.h"

struct store {
    sqlite3 *db;
    struct {
        const char *sql; /* the literal's address is its name */
        sqlite3_stmt *statement;
    } prepared[STORE_STATEMENTS_MAX];
    size_t prepared_count;
    bool in_transaction;
};

/* Step i brings the schema from version i to i + 1. A step that has shipped is never edited. */
static const char *const schema_steps[] = {
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE users ("
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, email TEXT NOT NULL,"
    "  password TEXT," /* Argon2id string; NULL: no log-in by password */
    "  admin INTEGER NOT NULL DEFAULT 0, made_s INTEGER NOT NULL) STRICT;"
    "CREATE TABLE groups ("
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, group_id BLOB NOT NULL UNIQUE,"
    "  group_key BLOB NOT NULL," /* sealed */
    "  ipv4 TEXT NOT NULL, ipv6 TEXT NOT NULL, domain TEXT NOT NULL, lease_s INTEGER NOT NULL,"
    "  certificate_s INTEGER NOT NULL, psk INTEGER NOT NULL,"
    "  bootstrap TEXT NOT NULL, public_bootstrap TEXT NOT NULL," /* host:port,host:port */
    "  next_enrolment INTEGER NOT NULL DEFAULT 1,"
    "  number INTEGER NOT NULL DEFAULT 0," /* of the last removal or CRL, one sequence */
    "  made_s INTEGER NOT NULL) STRICT;"
    /* Several per group while a CA is rolled over: one signs, older ones are still trusted. */
    "CREATE TABLE authorities ("
    "  id INTEGER PRIMARY KEY, group_row INTEGER NOT NULL REFERENCES groups(id),"
    "  certificate BLOB NOT NULL, seed BLOB NOT NULL," /* seed sealed */
    "  state TEXT NOT NULL CHECK (state IN ('signing', 'trusted', 'retired')),"
    "  made_s INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX authorities_signing ON authorities(group_row) WHERE state = 'signing';"
    "CREATE TABLE roles ("
    "  group_row INTEGER NOT NULL REFERENCES groups(id),"
    "  user_row INTEGER NOT NULL REFERENCES users(id),"
    "  role TEXT NOT NULL CHECK (role IN ('owner', 'administrator', 'approver', 'auditor')),"
    "  PRIMARY KEY (group_row, user_row)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX roles_user ON roles(user_row);"
    "CREATE TABLE members ("
    "  id INTEGER PRIMARY KEY, group_row INTEGER NOT NULL REFERENCES groups(id),"
    "  user_row INTEGER NOT NULL REFERENCES users(id),"
    "  state TEXT NOT NULL CHECK (state IN ('requested', 'approved', 'denied', 'revoked')),"
    "  reason TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', asked_s INTEGER NOT NULL,"
    "  decided_s INTEGER, decided_by TEXT,"
    "  UNIQUE (group_row, user_row)) STRICT;"
    "CREATE INDEX members_state ON members(group_row, state, asked_s);"
    "CREATE INDEX members_user ON members(user_row);"
    "CREATE TABLE machines ("
    "  id INTEGER PRIMARY KEY, group_row INTEGER NOT NULL REFERENCES groups(id),"
    "  member_row INTEGER NOT NULL REFERENCES members(id), enrolment INTEGER NOT NULL,"
    "  key BLOB NOT NULL, node BLOB NOT NULL, hostname TEXT NOT NULL,"
    "  enrolled_s INTEGER NOT NULL, revoked_s INTEGER,"
    "  UNIQUE (group_row, enrolment), UNIQUE (group_row, key)) STRICT;"
    "CREATE INDEX machines_member ON machines(member_row);"
    "CREATE INDEX machines_revoked ON machines(group_row) WHERE revoked_s IS NOT NULL;"
    "CREATE TABLE secrets ("
    "  hash BLOB PRIMARY KEY, member_row INTEGER NOT NULL REFERENCES members(id),"
    "  made_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,"
    "  used_s INTEGER, key BLOB) STRICT, WITHOUT ROWID;" /* the first request's key */
    "CREATE INDEX secrets_member ON secrets(member_row, made_s);"
    "CREATE TABLE certificates ("
    "  serial BLOB PRIMARY KEY, machine_row INTEGER NOT NULL REFERENCES machines(id),"
    "  authority_row INTEGER NOT NULL REFERENCES authorities(id), der BLOB NOT NULL,"
    "  not_before_s INTEGER NOT NULL, not_after_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX certificates_machine ON certificates(machine_row, not_after_s);"
    "CREATE TABLE removals ("
    "  group_row INTEGER NOT NULL REFERENCES groups(id), number INTEGER NOT NULL,"
    "  machine_row INTEGER NOT NULL REFERENCES machines(id), at_s INTEGER NOT NULL,"
    "  message BLOB NOT NULL, PRIMARY KEY (group_row, number)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE crls ("
    "  group_row INTEGER PRIMARY KEY REFERENCES groups(id), number INTEGER NOT NULL,"
    "  der BLOB NOT NULL, made_s INTEGER NOT NULL) STRICT;"
    "CREATE TABLE sessions ("
    "  hash BLOB PRIMARY KEY, user_row INTEGER NOT NULL REFERENCES users(id),"
    "  made_s INTEGER NOT NULL, used_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,"
    "  address TEXT NOT NULL, agent TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX sessions_user ON sessions(user_row, used_s);"
    "CREATE INDEX sessions_expiry ON sessions(expires_s);"
    "CREATE TABLE audit ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, at_s INTEGER NOT NULL, actor TEXT NOT NULL,"
    "  address TEXT NOT NULL, verb TEXT NOT NULL, group_row INTEGER, object TEXT NOT NULL,"
    "  detail TEXT NOT NULL) STRICT;"
    "CREATE INDEX audit_group ON audit(group_row, id);"
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN"
    "  SELECT RAISE(ABORT, 'the audit log is append-only'); END;"
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN"
    "  SELECT RAISE(ABORT, 'the audit log is append-only'); END;",

    "ALTER TABLE users ADD COLUMN totp BLOB;" /* sealed; NULL: no second factor */
    "ALTER TABLE users ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0;" /* last one used */
    "CREATE TABLE recovery_codes ("
    "  user_row INTEGER NOT NULL REFERENCES users(id), hash BLOB NOT NULL, used_s INTEGER,"
    "  PRIMARY KEY (user_row, hash)) STRICT, WITHOUT ROWID;"
    "ALTER TABLE groups ADD COLUMN version INTEGER NOT NULL DEFAULT 1;" /* of its settings */
    "ALTER TABLE machines ADD COLUMN seen_s INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE machines ADD COLUMN seen_address TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE invitations ("
    "  id INTEGER PRIMARY KEY, group_row INTEGER NOT NULL REFERENCES groups(id),"
    "  hash BLOB NOT NULL UNIQUE, note TEXT NOT NULL, made_s INTEGER NOT NULL,"
    "  made_by INTEGER REFERENCES users(id)," /* NULL: the console */
    "  expires_s INTEGER NOT NULL, uses_max INTEGER NOT NULL, uses INTEGER NOT NULL DEFAULT 0,"
    "  CHECK (uses <= uses_max)) STRICT;"
    "CREATE INDEX invitations_group ON invitations(group_row, expires_s);"
    "CREATE TABLE tokens ("
    "  id INTEGER PRIMARY KEY, user_row INTEGER NOT NULL REFERENCES users(id),"
    "  name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, scopes INTEGER NOT NULL,"
    "  group_row INTEGER REFERENCES groups(id)," /* NULL: every group that the user may */
    "  made_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,"
    "  used_s INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX tokens_user ON tokens(user_row, expires_s);",

    "CREATE TABLE mails ("
    "  id INTEGER PRIMARY KEY, recipient TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL,"
    "  made_s INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0, next_s INTEGER NOT NULL) STRICT;"
    "CREATE INDEX mails_next ON mails(next_s);",

    /* What a machine says that it knows of removals, and since when the last one of its group. */
    "ALTER TABLE machines ADD COLUMN knows INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE machines ADD COLUMN knew_s INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX machines_node ON machines(group_row, node);",

    /* A CA's word for the one that follows it; numbers are of the group's sequence. */
    "CREATE TABLE successions ("
    "  group_row INTEGER NOT NULL REFERENCES groups(id), number INTEGER NOT NULL,"
    "  at_s INTEGER NOT NULL, message BLOB NOT NULL,"
    "  PRIMARY KEY (group_row, number)) STRICT, WITHOUT ROWID;",

    "ALTER TABLE groups ADD COLUMN members_see INTEGER NOT NULL DEFAULT 0;", /* each other */

    /* The newest map of the ring that a member's machine sent. */
    "CREATE TABLE maps ("
    "  group_row INTEGER PRIMARY KEY REFERENCES groups(id),"
    "  machine_row INTEGER NOT NULL REFERENCES machines(id), at_s INTEGER NOT NULL,"
    "  received_s INTEGER NOT NULL, message BLOB NOT NULL) STRICT;",

    /* May more machines of a member be enrolled (member.h)? Held from now on is who was removed, or
     * lost a machine and has enrolled none since; what he holds in his hands is worth nothing. */
    "ALTER TABLE members ADD COLUMN further TEXT NOT NULL DEFAULT 'free'"
    "  CHECK (further IN ('free', 'held', 'asked', 'denied'));"
    "CREATE INDEX members_asked ON members(group_row) WHERE further = 'asked';"
    "UPDATE members SET further = 'held' WHERE state = 'revoked'"
    "  OR (state <> 'approved' AND (group_row, user_row) IN"
    "      (SELECT a.group_row, u.id FROM audit a JOIN users u ON u.name = a.object"
    "       WHERE a.verb = 'member.revoke'))"
    "  OR (state = 'approved' AND EXISTS"
    "      (SELECT 1 FROM machines r WHERE r.member_row = members.id"
    "       AND r.revoked_s >= coalesce(members.decided_s, 0) AND NOT EXISTS"
    "       (SELECT 1 FROM machines n WHERE n.member_row = members.id"
    "        AND n.enrolled_s > r.revoked_s)));"
    "UPDATE secrets SET expires_s = made_s WHERE used_s IS NULL AND member_row IN"
    "  (SELECT id FROM members WHERE further = 'held');",
};

struct value v_text(const char *s)
{
    return (struct value){.type = VALUE_TEXT, .p = s, .len = s ? strlen(s) : 0};
}

static int store_err(struct store *s, const char *sql, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -ERR_FULL;
    case SQLITE_CONSTRAINT:
        return -ERR_BAD_STATE;
    default:
        log_line(LOG_ERROR, "database: %s, at: %.120s", sqlite3_errmsg(s->db), sql);
        return -ERR_FORMAT;
    }
}

static int store_script(struct store *s, const char *sql)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : store_err(s, sql, rc);
}

/*
 * SQLite would make the file with the umask's rights. A file that exists is not opened here:
 * closing any descriptor of it would drop the POSIX locks that SQLite's other connections in this
 * process hold (fcntl(2)), and another process would then take the write-ahead log away beneath
 * them.
 */
static bool store_make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0 || (errno == EEXIST && chmod(path, 0600) == 0);
}

int store_copy(struct store *s, const char *path)
{
    if (!store_make_file(path))
        return -ERR_BAD_STATE;
    int err = store_run(s, "VACUUM INTO ?1", VALUES(v_text(path)));
    int fd = err < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!synced)
        unlink(path);
    return synced ? 0 : -ERR_BAD_STATE;
}

/*
 * What is about to be upgraded is kept as FILE.vN, whole or not at all: written beside it and
 * renamed. VACUUM INTO reads one state of the database, whoever writes meanwhile, and takes an
 * empty file of ours, which is nobody else's to read.
 */
static int store_keep(struct store *s, const char *path, int64_t version)
{
    char kept[1300], temporary[1300];

    snprintf(kept, sizeof kept, "%s.v%d", path, (int)version);
    if (snprintf(temporary, sizeof temporary, "%s.%ld.new", kept, (long)getpid()) >=
        (int)sizeof temporary)
        return -ERR_RANGE;
    return store_copy(s, temporary) || rename(temporary, kept) ? -ERR_BAD_STATE : 0;
}

static int store_upgrade_prepare(struct store *s, const char *path, const char **why)
{
    int64_t version = store_int(s, -1, "PRAGMA user_version", VALUES());

    if (version <= 0 || version >= (int64_t)ARRAY_LEN(schema_steps))
        return 0;
    *why = "the database is of an older version, and no copy of it can be made before the upgrade";
    return store_keep(s, path, version);
}

static int store_migrate(struct store *s, const char **why)
{
    const int64_t newest = ARRAY_LEN(schema_steps);
    char pragma[48];
    int err = store_begin(s);

    *why = "the database is busy or cannot be written";
    if (err)
        return err;
    int64_t version = store_int(s, -1, "PRAGMA user_version", VALUES());
    if (version < 0 || version > newest) {
        *why = "the database was written by a newer peal-ca";
        err = -ERR_BAD_STATE;
    }
    for (int64_t i = version; !err && i < newest; i++)
        err = store_script(s, schema_steps[i]);
    if (!err && version < newest) {
        snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", (int)newest);
        err = store_script(s, pragma);
    }
    if (err) {
        store_rollback(s);
        return err;
    }
    return store_commit(s);
}

/* The change to WAL wants the file for itself and does not wait for it: two first starts may meet.
 */
static int store_wal(struct store *s)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    int rc = SQLITE_BUSY;

    for (int i = 0; i < STORE_BUSY_MS / 10 && rc == SQLITE_BUSY; i++) {
        rc = sqlite3_exec(s->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) & 0xff;
        if (rc == SQLITE_BUSY)
            nanosleep(&pause, NULL);
    }
    return rc == SQLITE_OK ? 0 : store_err(s, "journal_mode", rc);
}

struct store *store_open(const char *path, const char **why)
{
    struct store *s = calloc(1, sizeof *s);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;

    *why = "out of memory";
    if (!s)
        return NULL;
    *why = "the database cannot be opened or made";
    if (!store_make_file(path) || sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK)
        goto fail;
    sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (store_wal(s) ||
        store_script(s, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                        "PRAGMA secure_delete = ON") ||
        store_upgrade_prepare(s, path, why) || store_migrate(s, why))
        goto fail;
    *why = NULL;
    return s;
fail:
    store_close(s);
    return NULL;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->prepared_count; i++)
        sqlite3_finalize(s->prepared[i].statement);
    sqlite3_close(s->db);
    free(s);
}

bool store_sound(struct store *s)
{
    struct query q = store_ask(s, "PRAGMA integrity_check(1)", VALUES());
    bool sound = query_row(&q) && !strcmp(query_text(&q, 0), "ok");

    query_end(&q);
    return sound;
}

int store_load(struct store *s, struct store *from)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    sqlite3_backup *backup = sqlite3_backup_init(s->db, "main", from->db, "main");
    int rc = SQLITE_BUSY;

    if (!backup)
        return store_err(s, "restore", sqlite3_errcode(s->db));
    for (int i = 0; i < STORE_BUSY_MS / 10 && (rc == SQLITE_BUSY || rc == SQLITE_LOCKED); i++) {
        rc = sqlite3_backup_step(backup, -1) & 0xff;
        if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
            nanosleep(&pause, NULL);
    }
    sqlite3_backup_finish(backup);
    return rc == SQLITE_DONE ? 0 : store_err(s, "restore", rc);
}

int store_begin(struct store *s)
{
    CHECK(!s->in_transaction);
    int err = store_run(s, "BEGIN IMMEDIATE", VALUES());
    s->in_transaction = err >= 0;
    return err < 0 ? err : 0;
}

int store_commit(struct store *s)
{
    CHECK(s->in_transaction);
    int err = store_run(s, "COMMIT", VALUES());
    if (err < 0)
        store_rollback(s);
    s->in_transaction = false;
    return err < 0 ? err : 0;
}

void store_rollback(struct store *s)
{
    if (s->in_transaction && !sqlite3_get_autocommit(s->db) &&
        store_run(s, "ROLLBACK", VALUES()) < 0)
        log_line(LOG_ERROR, "database: the roll-back failed");
    s->in_transaction = false;
}

static sqlite3_stmt *store_prepare(struct store *s, const char *sql)
{
    sqlite3_stmt *statement = NULL;

    for (size_t i = 0; i < s->prepared_count; i++)
        if (s->prepared[i].sql == sql)
            return s->prepared[i].statement;
    CHECK(s->prepared_count < STORE_STATEMENTS_MAX);
    int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (rc != SQLITE_OK) {
        (void)store_err(s, sql, rc);
        return NULL;
    }
    s->prepared[s->prepared_count].sql = sql;
    s->prepared[s->prepared_count++].statement = statement;
    return statement;
}

static int bind(sqlite3_stmt *statement, int at, const struct value *v)
{
    switch (v->type) {
    case VALUE_INT:
        return sqlite3_bind_int64(statement, at, v->i);
    case VALUE_TEXT:
        return sqlite3_bind_text64(statement, at, v->p, v->len, SQLITE_STATIC, SQLITE_UTF8);
    case VALUE_BYTES:
        return sqlite3_bind_blob64(statement, at, v->p, v->len, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

struct query store_ask(struct store *s, const char *sql, const struct value *v, size_t n)
{
    struct query q = {.store = s, .statement = store_prepare(s, sql)};

    q.failed = !q.statement;
    CHECK(q.failed || (size_t)sqlite3_bind_parameter_count(q.statement) == n);
    CHECK(q.failed || !sqlite3_stmt_busy(q.statement));
    for (size_t i = 0; i < n && !q.failed; i++)
        q.failed = bind(q.statement, (int)i + 1, &v[i]) != SQLITE_OK;
    return q;
}

void query_end(struct query *q)
{
    if (!q->statement)
        return;
    sqlite3_reset(q->statement);
    sqlite3_clear_bindings(q->statement);
    q->statement = NULL;
}

bool query_row(struct query *q)
{
    if (!q->failed && q->statement) {
        int rc = sqlite3_step(q->statement);
        if (rc == SQLITE_ROW)
            return true;
        q->failed = rc != SQLITE_DONE;
        if (q->failed)
            (void)store_err(q->store, sqlite3_sql(q->statement), rc);
    }
    query_end(q);
    return false;
}

int64_t query_int(const struct query *q, int column)
{
    return sqlite3_column_int64(q->statement, column);
}

const char *query_text(const struct query *q, int column)
{
    const unsigned char *text = sqlite3_column_text(q->statement, column);
    return text ? (const char *)text : "";
}

const void *query_bytes(const struct query *q, int column, size_t *len)
{
    const void *p = sqlite3_column_blob(q->statement, column);
    *len = (size_t)sqlite3_column_bytes(q->statement, column);
    return p;
}

bool query_copy(const struct query *q, int column, void *out, size_t len)
{
    size_t have = 0;
    const void *p = query_bytes(q, column, &have);

    if (have != len || !p)
        return false;
    memcpy(out, p, len);
    return true;
}

void query_copy_text(const struct query *q, int column, char *out, size_t size)
{
    const char *text = query_text(q, column);

    CHECK(strlen(text) < size);
    strcpy(out, text);
}

bool query_null(const struct query *q, int column)
{
    return sqlite3_column_type(q->statement, column) == SQLITE_NULL;
}

int store_run(struct store *s, const char *sql, const struct value *v, size_t n)
{
    struct query q = store_ask(s, sql, v, n);

    if (q.failed) {
        query_end(&q);
        return -ERR_FORMAT;
    }
    int rc = sqlite3_step(q.statement);
    int changed = rc == SQLITE_DONE ? sqlite3_changes(s->db) : store_err(s, sql, rc);
    query_end(&q);
    return changed;
}

int64_t store_last_row(const struct store *s)
{
    return sqlite3_last_insert_rowid(s->db);
}

int64_t store_int(struct store *s, int64_t otherwise, const char *sql, const struct value *v,
                  size_t n)
{
    struct query q = store_ask(s, sql, v, n);
    int64_t i = otherwise;

    if (query_row(&q) && !query_null(&q, 0))
        i = query_int(&q, 0);
    query_end(&q);
    return i;
}

int64_t store_change(struct store *s)
{
    return store_int(s, -1, "PRAGMA data_version", VALUES());
}

bool store_get_meta(struct store *s, const char *name, char *out, size_t size)
{
    struct query q = store_ask(s, "SELECT value FROM meta WHERE name = ?1", VALUES(v_text(name)));
    bool found = query_row(&q) && strlen(query_text(&q, 0)) < size;

    if (found)
        strcpy(out, query_text(&q, 0));
    query_end(&q);
    return found;
}

int store_set_meta(struct store *s, const char *name, const char *value)
{
    int err = store_run(s,
                        "INSERT INTO meta (name, value) VALUES (?1, ?2)"
                        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                        VALUES(v_text(name), v_text(value)));
    return err < 0 ? err : 0;
}
