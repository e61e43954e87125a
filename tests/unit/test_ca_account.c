// link: peal_ca
#include "test_ca_desk.h"

#include "ca-web/limit.h"
#include "ca-web/session.h"

static void names_mails_and_passwords_are_checked(void **state)
{
    static const char long_password[PASSWORD_MAX + 2] = {[0 ... PASSWORD_MAX] = 'x'};
    static const struct {
        const char *name, *email, *password;
        enum outcome want;
    } rows[] = {
        {"alice", "alice@example.org", "8 chars!", OUT_OK},
        {"Alice2", "a.b+c@example.org", NULL, OUT_OK},
        {"ALICE", "a@example.org", NULL, OUT_USER_EXISTS},
        {"", "a@example.org", NULL, OUT_BAD_NAME},
        {"-a", "a@example.org", NULL, OUT_BAD_NAME},
        {"a-", "a@example.org", NULL, OUT_BAD_NAME},
        {"a b", "a@example.org", NULL, OUT_BAD_NAME},
        {"a.b", "a@example.org", NULL, OUT_BAD_NAME},
        {"a\n", "a@example.org", NULL, OUT_BAD_NAME},
        {"\xc3\xa4", "a@example.org", NULL, OUT_BAD_NAME},
        {"a'; DROP TABLE users; --", "a@example.org", NULL, OUT_BAD_NAME},
        {"b", "", NULL, OUT_BAD_EMAIL},
        {"b", "example.org", NULL, OUT_BAD_EMAIL},
        {"b", "@example.org", NULL, OUT_BAD_EMAIL},
        {"b", "a@", NULL, OUT_BAD_EMAIL},
        {"b", "a b@example.org", NULL, OUT_BAD_EMAIL},
        {"b", "<a@example.org>", NULL, OUT_BAD_EMAIL},
        {"b", "a@example.org\nBcc: x", NULL, OUT_BAD_EMAIL},
        {"b", "a@example.org", "7 chars", OUT_BAD_PASSWORD},
        {"b", "a@example.org", long_password, OUT_BAD_PASSWORD},
    };
    struct bench b;

    bench_open(&b);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct account a;
        enum outcome o = account_add(&b.desk, VERB_USER_ADD, rows[i].name, rows[i].email,
                                     rows[i].password, false, &a);
        if (o != rows[i].want)
            fail_msg("row %zu: %s", i, outcome_code(o));
    }
    assert_int_equal(store_int(b.desk.store, 0, "SELECT count(*) FROM users", VALUES()), 2);
    bench_close(&b);
}

static void the_service_keeps_an_administrator(void **state)
{
    struct bench b;
    struct account chief;

    bench_open(&b);
    assert_int_equal(
        account_add(&b.desk, VERB_USER_ADD, "chief", "c@example.org", NULL, true, &chief), OUT_OK);
    struct account alice = bench_user(&b, "alice");
    struct desk d = bench_as(&b, &alice);
    assert_int_equal(account_set_admin(&d, &alice, true), OUT_NOT_PERMITTED);
    assert_int_equal(account_set_admin(&b.desk, &chief, false), OUT_LAST_ADMIN);
    assert_int_equal(account_set_admin(&b.desk, &alice, true), OUT_OK);
    assert_int_equal(account_set_admin(&b.desk, &alice, true), OUT_OK);
    assert_int_equal(account_set_admin(&b.desk, &chief, false), OUT_OK);
    assert_int_equal(account_find(&b.desk, "alice", &alice), OUT_OK);
    assert_true(alice.admin);
    assert_int_equal(account_set_admin(&b.desk, &alice, false), OUT_LAST_ADMIN);
    assert_int_equal(
        store_int(b.desk.store, 0, "SELECT count(*) FROM audit WHERE verb = 'admin.set'", VALUES()),
        2);
    bench_close(&b);
}

static void only_the_right_password_logs_in(void **state)
{
    struct bench b;
    struct account a, in;

    bench_open(&b);
    assert_int_equal(
        account_add(&b.desk, VERB_USER_ADD, "alice", "a@b.c", "correct horse", false, &a), OUT_OK);
    bench_user(&b, "mute"); /* has no password */
    assert_int_equal(account_log_in(&b.desk, "alice", "correct horse", &in), OUT_OK);
    assert_int_equal(in.row, a.row);
    assert_int_equal(account_log_in(&b.desk, "ALICE", "correct horse", &in), OUT_OK);
    assert_int_equal(account_log_in(&b.desk, "alice", "correct hors", &in), OUT_WRONG_LOGIN);
    assert_int_equal(in.row, 0);
    assert_int_equal(account_log_in(&b.desk, "alice", "", &in), OUT_WRONG_LOGIN);
    assert_int_equal(account_log_in(&b.desk, "nobody", "correct horse", &in), OUT_WRONG_LOGIN);
    assert_int_equal(account_log_in(&b.desk, "mute", "", &in), OUT_WRONG_LOGIN);
    assert_int_equal(account_set_password(&b.desk, &a, "another one"), OUT_OK);
    assert_int_equal(account_log_in(&b.desk, "alice", "correct horse", &in), OUT_WRONG_LOGIN);
    assert_int_equal(account_log_in(&b.desk, "alice", "another one", &in), OUT_OK);
    assert_int_equal(store_int(b.desk.store, 0,
                               "SELECT count(*) FROM users WHERE password LIKE"
                               " '$argon2id$v=19$m=65536,t=2,p=1$%'",
                               VALUES()),
                     1);
    bench_close(&b);
}

static void the_set_up_link_works_once(void **state)
{
    struct bench b;
    struct account a;
    char old[SETUP_TOKEN_SIZE], token[SETUP_TOKEN_SIZE];

    bench_open(&b);
    struct desk stranger = b.desk;
    stranger.actor.kind = ACTOR_STRANGER;
    assert_int_equal(account_setup_token(&b.desk, old), OUT_OK);
    assert_int_equal(account_setup_token(&b.desk, token), OUT_OK);
    assert_false(account_setup_valid(&stranger, old)); /* only the newest */
    assert_false(account_setup_valid(&stranger, ""));
    assert_true(account_setup_valid(&stranger, token));
    assert_int_equal(account_setup(&stranger, old, "root", "r@b.c", "long enough", &a),
                     OUT_SETUP_DONE);
    assert_int_equal(account_setup(&stranger, token, "-", "r@b.c", "long enough", &a),
                     OUT_BAD_NAME); /* a slip does not spend it */
    assert_int_equal(account_setup(&stranger, token, "root", "r@b.c", "long enough", &a), OUT_OK);
    assert_true(a.admin);
    assert_int_equal(account_setup(&stranger, token, "eve", "r@b.c", "long enough", &a),
                     OUT_SETUP_DONE);
    assert_int_equal(account_setup_token(&b.desk, token), OUT_SETUP_DONE);
    bench_close(&b);
}

static void a_session_ends_unused_old_or_by_log_out(void **state)
{
    struct bench b;
    struct actor actor = {0};
    char token[SESSION_TOKEN_SIZE], wrong[SESSION_TOKEN_SIZE];

    bench_open(&b);
    struct account a = bench_user(&b, "alice");
    struct desk d = b.desk;
    assert_int_equal(session_begin(&d, &a, "agent\x01", token), OUT_OK);
    assert_true(session_resume(&d, token, &actor));
    assert_int_equal(actor.row, a.row);
    assert_int_equal(actor.kind, ACTOR_USER);
    strcpy(wrong, token);
    wrong[3] ^= 1;
    assert_false(session_resume(&d, wrong, &actor));
    d.now_s += SESSION_IDLE_S - 1;
    assert_true(session_resume(&d, token, &actor)); /* and counts as used */
    d.now_s += SESSION_IDLE_S - 1;
    assert_true(session_resume(&d, token, &actor));
    d.now_s += SESSION_IDLE_S;
    assert_false(session_resume(&d, token, &actor));
    assert_int_equal(session_begin(&d, &a, "", token), OUT_OK);
    for (int64_t end_s = d.now_s + SESSION_LIFE_S; d.now_s < end_s; d.now_s += 3600)
        assert_true(session_resume(&d, token, &actor));
    assert_false(session_resume(&d, token, &actor));
    assert_int_equal(session_begin(&d, &a, "", token), OUT_OK);
    assert_int_equal(session_end(&d, token), OUT_OK);
    assert_false(session_resume(&d, token, &actor));
    assert_int_equal(session_begin(&d, &a, "", token), OUT_OK);
    assert_int_equal(account_set_password(&d, &a, "long enough"), OUT_OK);
    assert_false(session_resume(&d, token, &actor));
    bench_close(&b);
}

static void one_session_too_many_costs_the_longest_unused(void **state)
{
    struct bench b;
    struct actor actor;
    char tokens[SESSION_PER_USER + 1][SESSION_TOKEN_SIZE];

    bench_open(&b);
    struct account a = bench_user(&b, "alice");
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        b.desk.now_s++;
        assert_int_equal(session_begin(&b.desk, &a, "", tokens[i]), OUT_OK);
    }
    assert_false(session_resume(&b.desk, tokens[0], &actor));
    for (size_t i = 1; i < ARRAY_LEN(tokens); i++)
        assert_true(session_resume(&b.desk, tokens[i], &actor));
    bench_close(&b);
}

#define TOKEN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-_"

static void a_cookie_is_found_whole_or_not_at_all(void **state)
{
    static const struct {
        const char *header;
        bool found;
    } rows[] = {
        {"__Host-peal=" TOKEN, true},
        {"a=b; __Host-peal=" TOKEN "; c=d", true},
        {"__Host-peal=short; __Host-peal=" TOKEN, true},
        {"__Host-peal=" TOKEN "x", false},
        {"x__Host-peal=" TOKEN, false},
        {"__Host-peal-form=" TOKEN, false},
        {"__Host-peal=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO-'", false},
        {"__Host-peal", false},
        {";;; ", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char token[SESSION_TOKEN_SIZE];
        assert_int_equal(session_cookie(rows[i].header, "__Host-peal", token), rows[i].found);
        assert_string_equal(token, rows[i].found ? TOKEN : "");
    }
}

static void a_forms_token_fits_its_session_only(void **state)
{
    const struct secret key = {{1}}, other = {{2}};
    char token[CSRF_SIZE];

    csrf_token(&key, "session-a", token);
    assert_true(csrf_valid(&key, "session-a", token));
    assert_false(csrf_valid(&key, "session-b", token));
    assert_false(csrf_valid(&other, "session-a", token));
    assert_false(csrf_valid(&key, "session-a", ""));
    token[0] ^= 1;
    assert_false(csrf_valid(&key, "session-a", token));
}

static void attempts_run_out_and_come_back(void **state)
{
    struct limit *l = limit_new();
    int64_t now = 1000;
    int taken = 0;

    for (; taken < 100 && !limit_check(l, LIMIT_LOGIN_ACCOUNT, "alice", now); taken++)
        limit_take(l, LIMIT_LOGIN_ACCOUNT, "alice", now);
    assert_int_equal(taken, 10);
    int wait_s = limit_check(l, LIMIT_LOGIN_ACCOUNT, "alice", now);
    assert_in_range(wait_s, 1, 30);
    assert_int_equal(limit_check(l, LIMIT_LOGIN_ACCOUNT, "bob", now), 0);
    assert_int_equal(limit_check(l, LIMIT_LOGIN_ADDRESS, "alice", now), 0);
    assert_int_equal(limit_check(l, LIMIT_LOGIN_ACCOUNT, "alice", now + wait_s), 0);
    limit_take(l, LIMIT_LOGIN_ACCOUNT, "alice", now + wait_s);
    assert_true(limit_check(l, LIMIT_LOGIN_ACCOUNT, "alice", now + wait_s) > 0);
    limit_free(l);
}

static void a_flood_of_others_does_not_forgive_the_guilty(void **state)
{
    struct limit *l = limit_new();
    char name[32];

    for (int i = 0; i < 10; i++)
        limit_take(l, LIMIT_LOGIN_ACCOUNT, "alice", 1000);
    for (int i = 0; i < 8 * LIMIT_SETS * LIMIT_WAYS; i++) {
        snprintf(name, sizeof name, "u%d", i);
        limit_take(l, LIMIT_LOGIN_ACCOUNT, name, 1000);
    }
    assert_true(limit_check(l, LIMIT_LOGIN_ACCOUNT, "alice", 1000) > 0);
    limit_free(l);
}

static void an_address_counts_as_what_one_customer_has(void **state)
{
    static const struct {
        const char *address, *who;
    } rows[] = {{"192.0.2.1", "192.0.2.1"},
                {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
                {"2001:db8:1:2::9", "2001:db8:1:2::"},
                {"", "none"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char who[LIMIT_WHO_SIZE];
        limit_address(who, rows[i].address);
        assert_string_equal(who, rows[i].who);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_mails_and_passwords_are_checked),
        cmocka_unit_test(the_service_keeps_an_administrator),
        cmocka_unit_test(only_the_right_password_logs_in),
        cmocka_unit_test(the_set_up_link_works_once),
        cmocka_unit_test(a_session_ends_unused_old_or_by_log_out),
        cmocka_unit_test(one_session_too_many_costs_the_longest_unused),
        cmocka_unit_test(a_cookie_is_found_whole_or_not_at_all),
        cmocka_unit_test(a_forms_token_fits_its_session_only),
        cmocka_unit_test(attempts_run_out_and_come_back),
        cmocka_unit_test(a_flood_of_others_does_not_forgive_the_guilty),
        cmocka_unit_test(an_address_counts_as_what_one_customer_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
