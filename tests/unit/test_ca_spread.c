// link: peal_ca
/* How far a removal has spread: who is believed, what is timed, and who counts. */
#include "test_ca_desk.h"

#include "ca-web/spread.h"
#include "overlay/crypto/known.h"

struct club {
    struct bench b;
    struct group group;
    struct account owner, gone;
};

static void enrolled(struct club *c, const struct account *user, unsigned machine)
{
    struct issued issued;
    char secret[64];

    bench_secret(&c->b, &c->group, user, secret);
    assert_int_equal(bench_enrol(&c->b, c->group.name, user->name, secret, machine, &issued),
                     OUT_OK);
}

/* Machines 1 to 4 are the owner's, 9 is that of `gone`. */
static void club_open(struct club *c)
{
    bench_open(&c->b);
    c->owner = bench_user(&c->b, "owner");
    c->gone = bench_user(&c->b, "gone");
    c->group = bench_group(&c->b, "club", &c->owner);
    bench_member(&c->b, &c->group, &c->gone);
    for (unsigned i = 1; i <= 4; i++)
        enrolled(c, &c->owner, i);
    enrolled(c, &c->gone, 9);
}

static void known_of(struct club *c, unsigned machine, uint64_t number, uint32_t age_s,
                     uint8_t out[KNOWN_LEN])
{
    struct known k = {.group = c->group.id, .number = number, .age_s = age_s};
    struct secret seed = {{(uint8_t)machine, (uint8_t)(machine >> 8), 7}};
    struct sign_public public;
    struct sign_secret secret;

    sign_keys(&public, &secret, &seed);
    struct query q = store_ask(c->b.desk.store, "SELECT node FROM machines WHERE key = ?1",
                               VALUES(v_bytes(public.b, sizeof public.b)));
    assert_true(query_row(&q) && query_copy(&q, 0, k.node.b, ID_LEN));
    query_end(&q);
    known_write(&k, &secret, out);
}

static enum outcome told(struct club *c, const struct group *g, const uint8_t *message, size_t len)
{
    struct desk d = c->b.desk;

    d.actor = (struct actor){.kind = ACTOR_STRANGER};
    return spread_told(&d, g, message, len);
}

static enum outcome tell(struct club *c, unsigned machine, uint64_t number, uint32_t age_s)
{
    uint8_t message[KNOWN_LEN];

    known_of(c, machine, number, age_s, message);
    return told(c, &c->group, message, sizeof message);
}

static struct spread spread_now(struct club *c)
{
    struct spread s;

    assert_int_equal(spread_read(&c->b.desk, &c->group, &s), OUT_OK);
    return s;
}

static void the_first_word_of_each_machine_is_counted_and_timed(void **state)
{
    struct club c;

    club_open(&c);
    assert_int_equal(spread_now(&c).number, 0);
    assert_int_equal(member_revoke(&c.b.desk, &c.group, &c.gone, ""), OUT_OK);
    struct spread s = spread_now(&c);
    uint64_t number = (uint64_t)s.number;
    assert_true(number > 0);
    assert_string_equal(s.user, "gone");
    assert_int_equal(s.machines, 4);
    assert_int_equal(s.told, 0);
    c.b.desk.now_s += 10;
    assert_int_equal(tell(&c, 1, number, 9), OUT_OK);
    assert_int_equal(tell(&c, 2, number, 7), OUT_OK);
    assert_int_equal(tell(&c, 3, number, 4000), OUT_OK); /* nobody knew before it was */
    assert_int_equal(tell(&c, 1, number, 0), OUT_OK);    /* again: nothing new */
    s = spread_now(&c);
    assert_int_equal(s.told, 3);
    assert_int_equal(s.half_s, 1);
    assert_int_equal(s.last_s, 3);
    bench_close(&c.b);
}

static void a_later_list_does_not_change_when_the_removal_was_known(void **state)
{
    struct club c;
    struct text der = {0};
    int64_t later;

    club_open(&c);
    assert_int_equal(member_revoke(&c.b.desk, &c.group, &c.gone, ""), OUT_OK);
    c.b.desk.now_s += 2;
    assert_int_equal(tell(&c, 1, (uint64_t)spread_now(&c).number, 0), OUT_OK);
    c.b.desk.now_s += 2 * CRL_REFRESH_S;
    assert_int_equal(removal_crl(&c.b.desk, &c.group, &der, &later), OUT_OK);
    text_clear(&der);
    assert_int_equal(tell(&c, 1, (uint64_t)later, 0), OUT_OK);
    assert_int_equal(spread_now(&c).told, 1);
    assert_int_equal(spread_now(&c).last_s, 2);
    bench_close(&c.b);
}

static void who_is_not_in_the_group_or_knows_the_future_is_not_believed(void **state)
{
    struct club c;
    uint8_t message[KNOWN_LEN];
    struct account other;
    struct group elsewhere;

    club_open(&c);
    other = bench_user(&c.b, "other");
    elsewhere = bench_group(&c.b, "elsewhere", &other);
    known_of(&c, 9, 1, 0, message);
    assert_int_equal(member_revoke(&c.b.desk, &c.group, &c.gone, ""), OUT_OK);
    uint64_t number = (uint64_t)spread_now(&c).number;
    assert_int_equal(told(&c, &c.group, message, sizeof message), OUT_NOT_ENROLLED);
    assert_int_equal(tell(&c, 1, number + 1, 0), OUT_BAD_REQUEST);
    assert_int_equal(tell(&c, 1, UINT64_MAX, 0), OUT_BAD_REQUEST);
    known_of(&c, 1, number, 0, message);
    assert_int_equal(told(&c, &elsewhere, message, sizeof message), OUT_BAD_REQUEST);
    for (size_t len = 0; len < sizeof message; len++)
        assert_int_equal(told(&c, &c.group, message, len), OUT_BAD_REQUEST);
    for (size_t i = 41; i < sizeof message; i++) { /* number, age, signature */
        message[i] ^= 1;
        assert_int_equal(told(&c, &c.group, message, sizeof message), OUT_NOT_ENROLLED);
        message[i] ^= 1;
    }
    assert_int_equal(spread_now(&c).told, 0);
    assert_int_equal(told(&c, &c.group, message, sizeof message), OUT_OK);
    assert_int_equal(spread_now(&c).told, 1);
    bench_close(&c.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_word_of_each_machine_is_counted_and_timed),
        cmocka_unit_test(a_later_list_does_not_change_when_the_removal_was_known),
        cmocka_unit_test(who_is_not_in_the_group_or_knows_the_future_is_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
