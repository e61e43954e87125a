// link: peal_ca
#include "test_ca_desk.h"

/* Who asks; every one of them is somebody else than the object's user unless said. */
enum who {
    STRANGER,
    OUTSIDER, /* logged in, no member of the group */
    ASKER,    /* has a request pending, and is the object's user */
    MEMBER,   /* and the object's user */
    AUDITOR,
    APPROVER,
    ADMINISTRATOR,
    OWNER,
    OTHER_OWNER, /* owner of another group */
    SERVICE,
    MACHINE,
    CONSOLE,
    WHO_COUNT,
};

/* One column each, in the order above: y may, n may not, l is told to log in. */
static const struct {
    enum verb verb;
    const char *who;
} matrix[] = {
    /*                     soam aaao osmc  */
    {VERB_REGISTER, "yyyyyyyyyyyy"},       {VERB_SETUP, "yyyyyyyyyyyy"},
    {VERB_USER_ADD, "lnnnnnnnnyny"},       {VERB_USER_EDIT, "lnyynnnnnnny"},
    {VERB_USER_LIST, "lnnnnnnnnyny"},      {VERB_ADMIN_SET, "lnnnnnnnnyny"},
    {VERB_TOKEN_MAKE, "lnyynnnnnnnn"},     {VERB_TOKEN_END, "lnyynnnnnnnn"},
    {VERB_GROUP_ADD, "lnnnnnnnnyny"},      {VERB_GROUP_ASK, "lyyyyyyyyyny"},
    {VERB_GROUP_LIST, "lnnnnnnnnyny"},     {VERB_MEMBER_LIST, "lnnnyyyynyny"},
    {VERB_MEMBER_SEE, "lnnnyyyynyny"},     {VERB_MEMBER_REQUEST, "lnyynnnnnnny"},
    {VERB_MEMBER_APPROVE, "lnnnnyyynyny"}, {VERB_MEMBER_DENY, "lnnnnyyynyny"},
    {VERB_MEMBER_REVOKE, "lnnnnnyynyny"},  {VERB_MACHINE_REVOKE, "lnnynnyynyny"},
    {VERB_ROLE_SET, "lnnnnnnynyny"},       {VERB_CA_ROLL, "lnnnnnnynyny"},
    {VERB_INVITE_LIST, "lnnnnyyynyny"},    {VERB_INVITE_MAKE, "lnnnnyyynyny"},
    {VERB_INVITE_END, "lnnnnyyynyny"},     {VERB_INVITE_USE, "lnyynnnnnnnn"},
    {VERB_GROUP_EDIT, "lnnnnnyynyny"},     {VERB_AUDIT_READ, "lnnnynyynyny"},
    {VERB_BLOB_MAKE, "lnnynnnnnnny"},      {VERB_ENROLL, "lnnnnnnnnnyn"},
    {VERB_RENEW, "lnnnnnnnnnyn"},          {VERB_REMOVALS_READ, "yyyyyyyyyyyy"},
    {VERB_REMOVALS_TELL, "lnnnnnnnnnyn"},  {VERB_MAP_TELL, "lnnnnnnnnnnn"},
    {VERB_MAP_READ, "lnnnyyyynyny"},       {VERB_MACHINE_LOST, "lnnynnnnnnnn"},
};

static void set_role(struct bench *b, const struct group *g, const struct account *user,
                     const char *role)
{
    assert_int_equal(store_run(b->desk.store,
                               "INSERT INTO roles (group_row, user_row, role) VALUES (?1, ?2, ?3)",
                               VALUES(v_int(g->row), v_int(user->row), v_text(role))),
                     1);
}

static void each_verb_is_for_those_who_may(void **state)
{
    struct bench b;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner"), other = bench_user(&b, "other");
    struct account member = bench_user(&b, "member"), asker = bench_user(&b, "asker");
    struct account outsider = bench_user(&b, "outsider"), auditor = bench_user(&b, "auditor");
    struct account approver = bench_user(&b, "approver"), admin = bench_user(&b, "admin");
    struct account service;
    assert_int_equal(
        account_add(&b.desk, VERB_USER_ADD, "service", "s@example.org", NULL, true, &service),
        OUT_OK);
    struct group g = bench_group(&b, "lab", &owner);
    bench_group(&b, "elsewhere", &other);
    bench_member(&b, &g, &member);
    assert_int_equal(member_request(&b.desk, &g, &asker, ""), OUT_OK);
    set_role(&b, &g, &auditor, "auditor");
    set_role(&b, &g, &approver, "approver");
    set_role(&b, &g, &admin, "administrator");

    const struct {
        struct actor actor;
        int64_t object_user;
    } people[WHO_COUNT] = {
        [STRANGER] = {{.kind = ACTOR_STRANGER}, member.row},
        [OUTSIDER] = {bench_as(&b, &outsider).actor, member.row},
        [ASKER] = {bench_as(&b, &asker).actor, asker.row},
        [MEMBER] = {bench_as(&b, &member).actor, member.row},
        [AUDITOR] = {bench_as(&b, &auditor).actor, member.row},
        [APPROVER] = {bench_as(&b, &approver).actor, member.row},
        [ADMINISTRATOR] = {bench_as(&b, &admin).actor, member.row},
        [OWNER] = {bench_as(&b, &owner).actor, member.row},
        [OTHER_OWNER] = {bench_as(&b, &other).actor, member.row},
        [SERVICE] = {bench_as(&b, &service).actor, member.row},
        [MACHINE] = {{.kind = ACTOR_MACHINE}, member.row},
        [CONSOLE] = {{.kind = ACTOR_CONSOLE}, member.row},
    };
    assert_int_equal(ARRAY_LEN(matrix), VERB_COUNT);
    for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
        assert_int_equal(strlen(matrix[i].who), WHO_COUNT);
        for (int who = 0; who < WHO_COUNT; who++) {
            const struct object object = {.group_row = g.row, .user_row = people[who].object_user};
            enum outcome o = authorize(b.desk.store, &people[who].actor, matrix[i].verb, object);
            char got = o == OUT_OK ? 'y' : o == OUT_NOT_LOGGED_IN ? 'l' : 'n';
            if (got != matrix[i].who[who])
                fail_msg("%s by %d: %c, not %c", verb_text(matrix[i].verb), who, got,
                         matrix[i].who[who]);
        }
    }
    bench_close(&b);
}

/* Every operation asks, not only the pages in front of it. */
static void an_operation_refuses_whoever_may_not(void **state)
{
    struct bench b;
    struct account account;
    struct group made;
    struct text out = {0};
    int64_t total = 0;
    const struct server server = {.url = "https://x:1", .pins = ""};
    const struct group_wish wish = {.name = "new"};
    const struct member_filter all = {.search = "", .limit = 1};

    bench_open(&b);
    struct account owner = bench_user(&b, "owner"), eve = bench_user(&b, "eve");
    struct group g = bench_group(&b, "lab", &owner);
    struct desk d = bench_as(&b, &eve);
    assert_int_equal(account_add(&d, VERB_USER_ADD, "x", "x@y.z", NULL, true, &account),
                     OUT_NOT_PERMITTED);
    assert_int_equal(account_set_password(&d, &owner, "long enough"), OUT_NOT_PERMITTED);
    assert_int_equal(group_add(&d, &wish, &eve, &made), OUT_NOT_PERMITTED);
    assert_int_equal(member_request(&d, &g, &owner, ""), OUT_NOT_PERMITTED);
    assert_int_equal(member_request(&d, &g, &eve, ""), OUT_OK);
    assert_int_equal(member_approve(&d, &g, &eve, ""), OUT_NOT_PERMITTED);
    assert_int_equal(member_deny(&d, &g, &eve, ""), OUT_NOT_PERMITTED);
    assert_int_equal(member_revoke(&d, &g, &owner, ""), OUT_NOT_PERMITTED);
    assert_int_equal(member_list(&d, &g, &all, NULL, NULL, &total), OUT_NOT_PERMITTED);
    assert_int_equal(blob_make(&d, &g, &owner, &server, &out), OUT_NOT_PERMITTED);
    assert_int_equal(blob_make(&d, &g, &eve, &server, &out), OUT_NOT_MEMBER);
    assert_int_equal(out.len, 0);
    /* Nor may the owner take a file in somebody else's name. */
    bench_member(&b, &g, &eve);
    struct desk o = bench_as(&b, &owner);
    assert_int_equal(blob_make(&o, &g, &eve, &server, &out), OUT_NOT_PERMITTED);
    text_clear(&out);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_verb_is_for_those_who_may),
        cmocka_unit_test(an_operation_refuses_whoever_may_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
