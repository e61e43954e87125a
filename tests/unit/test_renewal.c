// link: peal_daemon
/* When a certificate is renewed, and when people are warned. */
#include "daemon/renewal.h"
#include "tests/unit/cm.h"

enum { DAY = 86400 };

static const struct renewal_state month = {.not_before_s = 1000, .not_after_s = 1000 + 30 * DAY};

static struct renewal_state after(unsigned failures, uint32_t random)
{
    struct renewal_state s = month;

    s.failures = failures;
    s.tried_s = 1000 + 20 * DAY;
    s.random = random;
    return s;
}

static void the_first_try_comes_after_two_thirds_and_is_spread(void **state)
{
    struct renewal_state s = month;

    assert_int_equal(renewal_due_s(&s), 1000 + 20 * DAY);
    s.random = UINT32_MAX;
    assert_in_range(renewal_due_s(&s), 1000 + 21 * DAY, 1000 + 21 * DAY + DAY / 2);
}

static void failures_are_followed_by_longer_waits_up_to_a_bound(void **state)
{
    for (unsigned f = 1; f < 40; f++) {
        struct renewal_state least = after(f, 0), most = after(f, UINT32_MAX / (2 * f + 1));
        int64_t wait = renewal_due_s(&least) - least.tried_s;

        if (f <= 7)
            assert_int_equal(wait, RENEWAL_FIRST_S << (f - 1));
        else
            assert_int_equal(wait, RENEWAL_LAST_S);
        assert_true(renewal_due_s(&most) >= renewal_due_s(&least));
        assert_true(renewal_due_s(&most) - most.tried_s <= wait + wait / 2);
    }
}

static void a_short_life_has_many_tries_in_its_last_third(void **state)
{
    struct renewal_state s = {.not_before_s = 0, .not_after_s = 900, .tried_s = 600};
    unsigned tries = 0;

    for (s.failures = 1; s.tried_s < 900; s.failures++, tries++)
        s.tried_s = renewal_due_s(&s);
    assert_in_range(tries, 10, 60);
}

static void a_wait_is_never_nothing(void **state)
{
    struct renewal_state s = {.not_before_s = 5, .not_after_s = 5, .tried_s = 100, .failures = 9};

    assert_int_equal(renewal_due_s(&s), 101);
}

static void warnings_come_at_7_3_and_1_days_once_asking_has_failed(void **state)
{
    static const struct {
        int64_t left;
        unsigned days;
    } cases[] = {{8 * DAY, 0}, {7 * DAY + 1, 0}, {7 * DAY, 7}, {3 * DAY + 1, 7}, {3 * DAY, 3},
                 {DAY + 1, 3}, {DAY, 1},         {0, 1},       {-DAY, 1}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct renewal_state s = month;

        assert_int_equal(renewal_warning_days(&s, s.not_after_s - cases[i].left), 0);
        s.failures = 1;
        assert_int_equal(renewal_warning_days(&s, s.not_after_s - cases[i].left), cases[i].days);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_try_comes_after_two_thirds_and_is_spread),
        cmocka_unit_test(failures_are_followed_by_longer_waits_up_to_a_bound),
        cmocka_unit_test(a_short_life_has_many_tries_in_its_last_third),
        cmocka_unit_test(a_wait_is_never_nothing),
        cmocka_unit_test(warnings_come_at_7_3_and_1_days_once_asking_has_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
