// link: peal_ca
#include "test_ca_desk.h"

#include "ca-web/store.c"

#include <sys/stat.h>

static int64_t users(struct store *s)
{
    return store_int(s, -1, "SELECT count(*) FROM users", VALUES());
}

static int add(struct store *s, const char *name)
{
    return store_run(s, "INSERT INTO users (name, email, made_s) VALUES (?1, 'e', 0)",
                     VALUES(v_text(name)));
}

static void what_is_not_committed_is_gone(void **state)
{
    struct bench b;

    bench_open(&b);
    assert_int_equal(store_begin(b.desk.store), 0);
    assert_int_equal(add(b.desk.store, "a"), 1);
    store_rollback(b.desk.store);
    assert_int_equal(users(b.desk.store), 0);
    assert_int_equal(store_begin(b.desk.store), 0);
    assert_int_equal(add(b.desk.store, "a"), 1);
    assert_int_equal(store_commit(b.desk.store), 0);
    assert_int_equal(users(b.desk.store), 1);
    bench_close(&b);
}

static void a_constraint_is_told_apart_from_a_failure(void **state)
{
    struct bench b;

    bench_open(&b);
    assert_int_equal(add(b.desk.store, "a"), 1);
    assert_int_equal(add(b.desk.store, "a"), -ERR_BAD_STATE);
    assert_int_equal(store_run(b.desk.store,
                               "INSERT INTO roles (group_row, user_row, role)"
                               " VALUES (99, 99, 'owner')",
                               VALUES()),
                     -ERR_BAD_STATE); /* foreign keys are on */
    bench_close(&b);
}

/* Opening or closing one must not take another's locks, nor its log of changes, away. */
static void connections_see_each_others_commits_at_once(void **state)
{
    struct bench b;
    const char *why = NULL;

    bench_open(&b);
    struct store *second = home_store(&b.home, &why);
    assert_non_null(second);
    int64_t change = store_change(b.desk.store);
    for (int i = 0; i < 20; i++) {
        char name[16];
        struct store *third = home_store(&b.home, &why);
        assert_non_null(third);
        snprintf(name, sizeof name, "u%d", i);
        assert_int_equal(add(third, name), 1);
        store_close(third);
        assert_int_equal(users(b.desk.store), i + 1);
        assert_int_equal(users(second), i + 1);
    }
    assert_true(store_change(b.desk.store) != change);
    store_close(second);
    bench_close(&b);
}

static void the_audit_log_only_grows(void **state)
{
    struct bench b;

    bench_open(&b);
    bench_user(&b, "a");
    assert_int_equal(store_int(b.desk.store, 0, "SELECT count(*) FROM audit", VALUES()), 1);
    assert_true(store_run(b.desk.store, "UPDATE audit SET actor = 'x'", VALUES()) < 0);
    assert_true(store_run(b.desk.store, "DELETE FROM audit", VALUES()) < 0);
    assert_int_equal(store_int(b.desk.store, 0,
                               "SELECT count(*) FROM audit WHERE actor = '(console)'", VALUES()),
                     1);
    bench_close(&b);
}

/* What a peal-ca of that schema version left behind. */
static void old_database(const char *path, int version)
{
    sqlite3 *db = NULL;
    char pragma[48];

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (int i = 0; i < version; i++)
        assert_int_equal(sqlite3_exec(db, schema_steps[i], NULL, NULL, NULL), SQLITE_OK);
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", version);
    assert_int_equal(sqlite3_exec(db, pragma, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "INSERT INTO users (name, email, made_s)"
                                  " VALUES ('alice', 'a@example.org', 1)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

static int64_t version_of(const char *path)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL), 0);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t version = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return version;
}

static void an_older_database_is_kept_and_upgraded(void **state)
{
    struct bench b;
    const char *why = NULL;
    char path[1300], kept[1320];
    struct stat st;

    bench_open(&b);
    for (int version = 1; version < (int)ARRAY_LEN(schema_steps); version++) {
        snprintf(path, sizeof path, "%s/old%d.sqlite", b.dir, version);
        snprintf(kept, sizeof kept, "%s.v%d", path, version);
        old_database(path, version);
        struct store *s = store_open(path, &why);
        assert_non_null(s);
        assert_int_equal(users(s), 1);
        assert_int_equal(store_int(s, 0, "PRAGMA user_version", VALUES()), ARRAY_LEN(schema_steps));
        store_close(s);
        assert_int_equal(version_of(kept), version);
        assert_int_equal(stat(kept, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        /* What is up to date is not copied again. */
        assert_int_equal(unlink(kept), 0);
        store_close(store_open(path, &why));
        assert_int_equal(access(kept, F_OK), -1);
    }
    bench_close(&b);
}

/* Version 7 knew nothing of members who may add no machine. */
static void an_upgrade_holds_who_lost_a_machine_before_it(void **state)
{
    static const char people[] =
        "INSERT INTO users (id, name, email, made_s) VALUES (2, 'bob', '', 1), (3, 'carol', '', 1),"
        " (4, 'dave', '', 1), (5, 'erin', '', 1), (6, 'frank', '', 1), (7, 'grace', '', 1);"
        "INSERT INTO groups (id, name, group_id, group_key, ipv4, ipv6, domain, lease_s,"
        " certificate_s, psk, bootstrap, public_bootstrap, made_s)"
        " VALUES (1, 'lab', x'01', x'02', '', '', '', 1, 1, 0, '', '', 1);"
        "INSERT INTO members (id, group_row, user_row, state, reason, asked_s, decided_s) VALUES"
        " (1, 1, 1, 'approved', '', 1, 2), (2, 1, 2, 'approved', '', 1, 2),"
        " (3, 1, 3, 'approved', '', 1, 2), (4, 1, 4, 'revoked', '', 1, 2),"
        " (5, 1, 5, 'requested', '', 9, NULL), (6, 1, 6, 'requested', '', 1, NULL),"
        " (7, 1, 7, 'approved', '', 20, 30);"
        "INSERT INTO machines (group_row, member_row, enrolment, key, node, hostname, enrolled_s,"
        " revoked_s) VALUES (1, 1, 1, x'01', x'01', 'a', 5, NULL), (1, 2, 2, x'02', x'02', 'b', 5,"
        " 10), (1, 3, 3, x'03', x'03', 'c', 5, 10), (1, 3, 4, x'04', x'04', 'd', 15, NULL),"
        " (1, 7, 5, x'05', x'05', 'e', 5, 10);"
        "INSERT INTO audit (at_s, actor, address, verb, group_row, object, detail)"
        " VALUES (8, 'alice', '', 'member.revoke', 1, 'erin', '');"
        "INSERT INTO secrets (hash, member_row, made_s, expires_s) VALUES (x'01', 1, 5, 100),"
        " (x'02', 2, 5, 100);";
    static const struct {
        int64_t row;
        const char *further;
    } want[] = {
        {1, "free"}, /* has lost none */
        {2, "held"}, /* lost one */
        {3, "free"}, /* lost one, and has enrolled another one since */
        {4, "held"}, /* was removed */
        {5, "held"}, /* was removed, and has asked since */
        {6, "free"}, /* never was in */
        {7, "free"}, /* was removed, and let in again since */
    };
    struct bench b;
    const char *why = NULL;
    char path[1300];
    sqlite3 *db = NULL;

    bench_open(&b);
    snprintf(path, sizeof path, "%s/old.sqlite", b.dir);
    old_database(path, 7);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, people, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct store *s = store_open(path, &why);
    assert_non_null(s);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct query q =
            store_ask(s, "SELECT further FROM members WHERE id = ?1", VALUES(v_int(want[i].row)));
        assert_true(query_row(&q));
        assert_string_equal(query_text(&q, 0), want[i].further);
        query_end(&q);
    }
    assert_int_equal(
        store_int(s, 0, "SELECT expires_s FROM secrets WHERE member_row = 1", VALUES()), 100);
    assert_int_equal(
        store_int(s, 0, "SELECT expires_s FROM secrets WHERE member_row = 2", VALUES()), 5);
    store_close(s);
    snprintf(path, sizeof path, "%s/old.sqlite.v7", b.dir);
    assert_int_equal(version_of(path), 7);
    bench_close(&b);
}

static void a_newer_database_is_left_alone(void **state)
{
    struct bench b;
    const char *why = NULL;
    char path[1200], name[1200];

    bench_open(&b);
    assert_true(store_run(b.desk.store, "PRAGMA user_version = 1000", VALUES()) >= 0);
    strcpy(path, home_path(&b.home, "peal-ca.sqlite", name));
    assert_null(store_open(path, &why));
    assert_string_equal(why, "the database was written by a newer peal-ca");
    bench_close(&b);
}

static void everything_in_the_directory_is_the_owners_alone(void **state)
{
    static const char *const files[] = {"master.key", "peal-ca.sqlite", "peal-ca.sqlite-wal",
                                        "peal-ca.sqlite-shm"};
    struct bench b;
    struct stat st;
    char path[1200], why[1400];
    struct home again;

    bench_open(&b);
    assert_int_equal(chmod(b.dir, 0755), 0);
    assert_int_equal(chmod(home_path(&b.home, "peal-ca.sqlite", path), 0644), 0);
    assert_int_equal(home_open(&again, b.dir, NULL, why, sizeof why), 0);
    assert_int_equal(stat(b.dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        assert_int_equal(stat(home_path(&b.home, files[i], path), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    home_close(&again);
    bench_close(&b);
}

static void what_is_sealed_opens_only_in_its_own_place(void **state)
{
    struct bench b;
    const char *why = NULL;
    const struct id here = {{1}}, there = {{2}};
    uint8_t sealed[4 + VAULT_OVERHEAD], opened[4];
    char path[1200];

    bench_open(&b);
    vault_seal(b.home.vault, "one", &here, "word", 4, sealed);
    assert_true(vault_unseal(b.home.vault, "one", &here, sealed, sizeof sealed, opened));
    assert_memory_equal(opened, "word", 4);
    assert_false(vault_unseal(b.home.vault, "two", &here, sealed, sizeof sealed, opened));
    assert_false(vault_unseal(b.home.vault, "one", &there, sealed, sizeof sealed, opened));
    assert_false(vault_unseal(b.home.vault, "one", &here, sealed, VAULT_OVERHEAD - 1, opened));
    for (size_t i = 0; i < sizeof sealed; i++) {
        sealed[i] ^= 1;
        assert_false(vault_unseal(b.home.vault, "one", &here, sealed, sizeof sealed, opened));
        sealed[i] ^= 1;
    }
    struct vault *other = vault_open(home_path(&b.home, "other.key", path), true, &why);
    assert_non_null(other);
    assert_false(vault_unseal(other, "one", &here, sealed, sizeof sealed, opened));
    vault_close(other);
    bench_close(&b);
}

static void another_master_key_is_refused(void **state)
{
    struct bench b;
    struct home wrong;
    const char *made = NULL;
    char path[1200], why[1400];

    bench_open(&b);
    home_path(&b.home, "other.key", path);
    /* Not made where a database exists already: it could never be the right one. */
    assert_int_equal(home_open(&wrong, b.dir, path, why, sizeof why), 4);
    vault_close(vault_open(path, true, &made));
    assert_int_equal(home_open(&wrong, b.dir, path, why, sizeof why), 1);
    assert_non_null(strstr(why, "not the one the database was made with"));
    bench_close(&b);
}

static void the_master_key_is_64_hex_digits(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", true},
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", true},
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeef", false},
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0", false},
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\n", false},
        {"00112233445566778899aabbccddeegg00112233445566778899aabbccddeeff", false},
        {"", false},
    };
    struct bench b;
    char path[1200];

    bench_open(&b);
    home_path(&b.home, "some.key", path);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why = NULL;
        FILE *f = fopen(path, "w");
        fputs(rows[i].text, f);
        fclose(f);
        struct vault *v = vault_open(path, true, &why);
        assert_int_equal(v != NULL, rows[i].good);
        vault_close(v);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_committed_is_gone),
        cmocka_unit_test(a_constraint_is_told_apart_from_a_failure),
        cmocka_unit_test(connections_see_each_others_commits_at_once),
        cmocka_unit_test(the_audit_log_only_grows),
        cmocka_unit_test(an_older_database_is_kept_and_upgraded),
        cmocka_unit_test(an_upgrade_holds_who_lost_a_machine_before_it),
        cmocka_unit_test(a_newer_database_is_left_alone),
        cmocka_unit_test(everything_in_the_directory_is_the_owners_alone),
        cmocka_unit_test(what_is_sealed_opens_only_in_its_own_place),
        cmocka_unit_test(another_master_key_is_refused),
        cmocka_unit_test(the_master_key_is_64_hex_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
