// link: peal_core
#include "overlay/core/env.h"
#include "overlay/core/err.h"
#include "tests/unit/aborts.h"
#include "tests/unit/cm.h"

#include <string.h>

struct host {
    uint64_t state;
    char line[1024];
    int lines;
};

static void host_random(void *arg, void *buf, size_t len)
{
    struct host *host = arg;
    uint8_t *p = buf;

    while (len-- > 0) {
        host->state = host->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        *p++ = (uint8_t)(host->state >> 56);
    }
}

static void host_log(void *arg, enum log_level level, const char *line)
{
    struct host *host = arg;

    assert_true(strlen(line) < sizeof host->line);
    strcpy(host->line, line);
    host->lines++;
}

static struct env env_of(struct host *host)
{
    memset(host, 0, sizeof *host);
    return (struct env){
        .level = LOG_LEVEL_INFO, .host = host, .random = host_random, .log = host_log};
}

static void numbers_below_are_in_range_and_even(void **state)
{
    struct host host;
    struct env env = env_of(&host);
    unsigned count[6] = {0};

    for (int i = 0; i < 60000; i++)
        count[env_random_below(&env, 6)]++;
    for (size_t i = 0; i < ARRAY_LEN(count); i++)
        assert_in_range(count[i], 9500, 10500);
    assert_int_equal(env_random_below(&env, 1), 0);
    for (int i = 0; i < 100; i++)
        assert_true(env_random_below(&env, UINT64_MAX) < UINT64_MAX);
}

static void jitter_stays_within_its_percent(void **state)
{
    static const struct {
        usec mean;
        unsigned percent;
        usec low, high;
    } table[] = {
        {SEC(10), 10, SEC(9), SEC(11)},
        {SEC(10), 0, SEC(10), SEC(10)},
        {SEC(3), 100, 0, SEC(6)},
        {7, 50, 4, 10},
        {0, 50, 0, 0},
    };
    struct host host;
    struct env env = env_of(&host);

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        usec low = USEC_NEVER, high = 0;

        for (int n = 0; n < 2000; n++) {
            usec v = env_jitter(&env, table[i].mean, table[i].percent);
            low = usec_min(low, v);
            high = v > high ? v : high;
        }
        assert_in_range(low, table[i].low, table[i].low + table[i].mean / 50);
        assert_in_range(high, table[i].high - table[i].mean / 50, table[i].high);
    }
}

static void lines_above_the_level_are_not_logged(void **state)
{
    struct host host;
    struct env env = env_of(&host);

    env_log(&env, LOG_LEVEL_DEBUG, "no");
    assert_int_equal(host.lines, 0);
    env_log(&env, LOG_LEVEL_INFO, "%s %d", "yes", 1);
    assert_string_equal(host.line, "yes 1");
}

static void nothing_from_outside_reaches_a_terminal_unescaped(void **state)
{
    struct host host;
    struct env env = env_of(&host);

    env_log(&env, LOG_LEVEL_WARN, "a%sb", "\x1b[2J\n\r\x7f\xc3\xa9 ~");
    assert_string_equal(host.line, "a?[2J????? ~b");
}

static void long_lines_are_cut_at_512_bytes(void **state)
{
    struct host host;
    struct env env = env_of(&host);

    env_log(&env, LOG_LEVEL_WARN, "%0600d", 1);
    assert_int_equal(strlen(host.line), 512);
}

static void a_host_without_a_log_is_fine(void **state)
{
    struct host host;
    struct env env = env_of(&host);

    env.log = NULL;
    env_log(&env, LOG_LEVEL_ERROR, "unheard");
    assert_int_equal(host.lines, 0);
}

static void every_error_has_its_text(void **state)
{
    static const int errors[] = {ERR_FORMAT,    ERR_CRYPTO, ERR_FULL, ERR_NOT_FOUND,
                                 ERR_BAD_STATE, ERR_NOMEM,  ERR_RANGE};

    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        assert_string_equal(err_text(errors[i]), err_text(-errors[i]));
        assert_string_not_equal(err_text(errors[i]), err_text(1));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(err_text(errors[i]), err_text(errors[k]));
    }
}

static void check_this(void *arg)
{
    CHECK(*(int *)arg == 1);
}

static void a_failed_check_aborts_and_a_true_one_does_not(void **state)
{
    int one = 1, two = 2;

    assert_true(aborts(check_this, &two));
    assert_false(aborts(check_this, &one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_below_are_in_range_and_even),
        cmocka_unit_test(jitter_stays_within_its_percent),
        cmocka_unit_test(lines_above_the_level_are_not_logged),
        cmocka_unit_test(nothing_from_outside_reaches_a_terminal_unescaped),
        cmocka_unit_test(long_lines_are_cut_at_512_bytes),
        cmocka_unit_test(a_host_without_a_log_is_fine),
        cmocka_unit_test(every_error_has_its_text),
        cmocka_unit_test(a_failed_check_aborts_and_a_true_one_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
