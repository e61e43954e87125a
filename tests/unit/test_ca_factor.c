// link: peal_ca
#include "test_ca_desk.h"

#include "ca-web/factor.h"
#include "ca-web/token.h"

/* RFC 6238, appendix B (SHA-1); the last six of its eight digits. */
static void codes_are_those_of_the_rfc(void **state)
{
    static const struct {
        int64_t at_s;
        uint32_t code;
    } rows[] = {{59, 287082},       {1111111109, 81804},  {1111111111, 50471},
                {1234567890, 5924}, {2000000000, 279037}, {20000000000, 353130}};
    const uint8_t *secret = (const uint8_t *)"12345678901234567890";

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(totp_code(secret, rows[i].at_s / TOTP_STEP_S), rows[i].code);
}

static void a_typed_code_is_taken_within_a_step_and_once(void **state)
{
    const uint8_t *secret = (const uint8_t *)"12345678901234567890";
    static const struct {
        const char *typed;
        int64_t now_s, last;
        bool want;
    } rows[] = {
        {"287082", 59, 0, true},         {"287 082", 59, 0, true},
        {"287082", 89, 0, true},         {"287082", 29, 0, true},
        {"287082", 119, 0, false},       {"287082", 59, 1, false},
        {"287083", 59, 0, false},        {"28708", 59, 0, false},
        {"2870822", 59, 0, false},       {"", 59, 0, false},
        {"28708a", 59, 0, false},        {"-87082", 59, 0, false},
        {"081804", 1111111109, 0, true}, {"81804", 1111111109, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t step = 0;
        if (totp_match(secret, rows[i].typed, rows[i].now_s, rows[i].last, &step) != rows[i].want)
            fail_msg("row %zu", i);
    }
}

static void base32_is_rfc_4648s(void **state)
{
    char out[TOTP_BASE32_SIZE];

    base32_text((const uint8_t *)"fooba", 5, out);
    assert_string_equal(out, "MZXW6YTB");
    base32_text((const uint8_t *)"12345678901234567890", 20, out);
    assert_string_equal(out, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
}

/* The code that an app which was given this key shows. */
static void app_code(const char *base32, int64_t now_s, char out[16])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t secret[TOTP_SECRET_LEN] = {0};

    for (int bit = 0; bit < TOTP_SECRET_LEN * 8; bit++) {
        long value = strchr(alphabet, base32[bit / 5]) - alphabet;
        if (value >> (4 - bit % 5) & 1)
            secret[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    }
    snprintf(out, 16, "%06u", totp_code(secret, now_s / TOTP_STEP_S));
}

static void a_factor_is_kept_once_it_was_shown_to_work(void **state)
{
    struct bench b;
    struct factor_offer offer, again;
    char recovery[FACTOR_RECOVERIES][FACTOR_RECOVERY_SIZE], code[16];

    bench_open(&b);
    struct account alice = bench_user(&b, "alice"), eve = bench_user(&b, "eve");
    struct desk d = bench_as(&b, &alice), e = bench_as(&b, &eve);
    assert_false(factor_on(&d, &alice));
    assert_int_equal(factor_check(&d, &alice, "123456"), OUT_WRONG_CODE);
    factor_offer(&d, &alice, &offer);
    assert_true(factor_offer_read(&d, &alice, offer.sealed, &again));
    assert_string_equal(again.base32, offer.base32);
    /* Somebody else's, a broken one, and another account's form. */
    assert_false(factor_offer_read(&d, &eve, offer.sealed, &again));
    assert_int_equal(factor_set(&d, &alice, "", "123456", recovery), OUT_BAD_REQUEST);
    app_code(offer.base32, d.now_s, code);
    assert_int_equal(factor_set(&e, &alice, offer.sealed, code, recovery), OUT_NOT_PERMITTED);
    assert_int_equal(factor_set(&d, &alice, offer.sealed, "000 00", recovery), OUT_WRONG_CODE);
    assert_false(factor_on(&d, &alice));
    assert_int_equal(factor_set(&d, &alice, offer.sealed, code, recovery), OUT_OK);
    assert_true(factor_on(&d, &alice));
    assert_int_equal(factor_recoveries(&d, &alice), FACTOR_RECOVERIES);

    /* The code that turned it on is used up; the next step's is good once. */
    assert_int_equal(factor_check(&d, &alice, code), OUT_WRONG_CODE);
    d.now_s += TOTP_STEP_S;
    app_code(offer.base32, d.now_s, code);
    assert_int_equal(factor_check(&d, &alice, code), OUT_OK);
    assert_int_equal(factor_check(&d, &alice, code), OUT_WRONG_CODE);

    /* Recovery codes: once each, as people type them, and nobody else's. */
    for (char *p = recovery[3]; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    assert_int_equal(factor_check(&d, &eve, recovery[3]), OUT_WRONG_CODE);
    assert_int_equal(factor_check(&d, &alice, recovery[3]), OUT_OK);
    assert_int_equal(factor_check(&d, &alice, recovery[3]), OUT_WRONG_CODE);
    assert_int_equal(factor_recoveries(&d, &alice), FACTOR_RECOVERIES - 1);

    assert_int_equal(factor_clear(&e, &alice), OUT_NOT_PERMITTED);
    assert_int_equal(factor_clear(&b.desk, &alice), OUT_OK);
    assert_false(factor_on(&d, &alice));
    assert_int_equal(factor_check(&d, &alice, recovery[4]), OUT_WRONG_CODE);
    /* An hour later the offer is worth nothing. */
    d.now_s += FACTOR_OFFER_S;
    assert_false(factor_offer_read(&d, &alice, offer.sealed, &again));
    bench_close(&b);
}

/* As a request with this token asks. */
static enum outcome by_token(struct bench *b, const char *token, enum verb verb, int64_t group_row,
                             int64_t user_row)
{
    char header[80];
    struct desk d = b->desk;

    d.actor = (struct actor){.kind = ACTOR_STRANGER};
    snprintf(header, sizeof header, "Bearer %s", token);
    if (!token_resume(&d, header, &d.actor))
        return OUT_BAD_TOKEN;
    return desk_authorize(&d, verb, group_row, user_row);
}

static void a_token_may_what_its_user_may_and_it_is_for(void **state)
{
    struct bench b;
    char reading[TOKEN_SIZE], one[TOKEN_SIZE], chief[TOKEN_SIZE], header[80];
    const unsigned everything = (1u << SCOPE_COUNT) - 1;
    const struct token_wish wishes[] = {
        {.name = "reads", .scopes = 1u << SCOPE_READ, .group = "", .days = 1},
        {.name = "one group", .scopes = everything, .group = "lab", .days = 1},
        {.name = "all", .scopes = everything, .group = "", .days = 1},
    };

    bench_open(&b);
    struct account alice = bench_user(&b, "alice"), service;
    assert_int_equal(
        account_add(&b.desk, VERB_USER_ADD, "chief", "c@example.org", NULL, true, &service),
        OUT_OK);
    struct group lab = bench_group(&b, "lab", &alice), other = bench_group(&b, "other", &alice);
    struct desk d = bench_as(&b, &alice), c = bench_as(&b, &service);
    assert_int_equal(token_make(&d, &alice, &wishes[0], reading), OUT_OK);
    assert_int_equal(token_make(&d, &alice, &wishes[1], one), OUT_OK);
    assert_int_equal(token_make(&c, &service, &wishes[1], chief), OUT_OK);
    assert_int_equal(token_make(&c, &alice, &wishes[2], header), OUT_NOT_PERMITTED);

    assert_int_equal(by_token(&b, reading, VERB_MEMBER_LIST, lab.row, 0), OUT_OK);
    assert_int_equal(by_token(&b, reading, VERB_MEMBER_APPROVE, lab.row, 0), OUT_NOT_PERMITTED);
    assert_int_equal(by_token(&b, one, VERB_MEMBER_APPROVE, lab.row, 0), OUT_OK);
    assert_int_equal(by_token(&b, one, VERB_ROLE_SET, lab.row, 0), OUT_OK);
    assert_int_equal(by_token(&b, one, VERB_MEMBER_APPROVE, other.row, 0), OUT_NOT_PERMITTED);
    assert_int_equal(by_token(&b, one, VERB_MEMBER_LIST, other.row, 0), OUT_NOT_PERMITTED);
    /* One group's token makes no other group, though its user could. */
    assert_int_equal(by_token(&b, chief, VERB_GROUP_ADD, 0, 0), OUT_NOT_PERMITTED);
    assert_int_equal(by_token(&b, chief, VERB_GROUP_LIST, 0, 0), OUT_NOT_PERMITTED);
    /* No token touches the account or makes a token. */
    assert_int_equal(by_token(&b, one, VERB_USER_EDIT, 0, alice.row), OUT_NOT_PERMITTED);
    assert_int_equal(by_token(&b, one, VERB_TOKEN_MAKE, 0, alice.row), OUT_NOT_PERMITTED);
    assert_int_equal(by_token(&b, one, VERB_INVITE_USE, 0, alice.row), OUT_NOT_PERMITTED);

    assert_int_equal(token_end(&c, &alice, 2), OUT_NOT_PERMITTED);
    assert_int_equal(token_end(&d, &alice, 3), OUT_NO_TOKEN); /* the other one's */
    assert_int_equal(token_end(&d, &alice, 2), OUT_OK);
    assert_int_equal(token_end(&d, &alice, 2), OUT_NO_TOKEN);
    assert_int_equal(by_token(&b, one, VERB_MEMBER_LIST, lab.row, 0), OUT_BAD_TOKEN);
    b.desk.now_s += 86400;
    assert_int_equal(by_token(&b, reading, VERB_MEMBER_LIST, lab.row, 0), OUT_BAD_TOKEN);
    assert_int_equal(by_token(&b, "peal_", VERB_MEMBER_LIST, lab.row, 0), OUT_BAD_TOKEN);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_the_rfc),
        cmocka_unit_test(a_typed_code_is_taken_within_a_step_and_once),
        cmocka_unit_test(base32_is_rfc_4648s),
        cmocka_unit_test(a_factor_is_kept_once_it_was_shown_to_work),
        cmocka_unit_test(a_token_may_what_its_user_may_and_it_is_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
