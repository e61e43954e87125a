#include "overlay/core/meter.h"
#include "tests/unit/cm.h"

/* How many of `tries` packets, one every `apart_us`, it lets through. */
static unsigned let_through(uint64_t bytes_per_s, size_t bytes, usec apart_us, unsigned tries)
{
    struct meter *m = meter_new(bytes_per_s);
    unsigned n = 0;

    for (unsigned i = 0; i < tries; i++)
        n += meter_take(m, SEC(1000) + i * apart_us, bytes, false);
    assert_int_equal(atomic_load(&m->packets), n);
    assert_int_equal(atomic_load(&m->bytes), n * bytes);
    assert_int_equal(atomic_load(&m->refused), tries - n);
    meter_unref(m);
    return n;
}

static void what_is_above_the_rate_is_refused_and_what_is_below_is_not(void **state)
{
    static const struct {
        uint64_t bytes_per_s;
        size_t bytes;
        usec apart_us;
        unsigned tries, least, most;
    } rows[] = {
        {0, 1500, 0, 100000, 100000, 100000},          /* no bound */
        {1000000, 1000, MSEC(1), 10000, 10000, 10000}, /* just the rate */
        {1000000, 1000, MSEC(2), 1000, 1000, 1000},
        {1000000, 1000, 500, 10000, 5200,
         5401},                              /* twice the rate for 5 s; bursts of 0.2 to 0.4 s */
        {1000000, 1000, 0, 10000, 390, 401}, /* all at once */
        {125, 1500, SEC(1), 60, 5, 6},       /* slower than a packet a second */
        {UINT64_C(12500000000), 1500, 0, 1000, 1000, 1000},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned n =
            let_through(rows[i].bytes_per_s, rows[i].bytes, rows[i].apart_us, rows[i].tries);

        assert_in_range(n, rows[i].least, rows[i].most);
    }
}

static void spare_is_what_is_left_of_the_burst(void **state)
{
    struct meter *m = meter_new(1000000);

    assert_int_equal(meter_spare(m, SEC(1000)), 255);
    assert_true(meter_take(m, SEC(1000), 200000, false));
    assert_int_equal(meter_spare(m, SEC(1000)), 127);
    assert_true(meter_take(m, SEC(1000), 210000, false));
    assert_int_equal(meter_spare(m, SEC(1000)), 0);
    assert_false(meter_take(m, SEC(1000), 1, false));
    assert_int_equal(meter_spare(m, SEC(1001)), 255);
    assert_int_equal(atomic_load(&m->last_us), SEC(1000));
    meter_unref(m);
}

static void what_is_urgent_finds_room_under_any_load_and_is_bounded(void **state)
{
    struct meter *m = meter_new(1000000);
    unsigned data = 0, urgent = 0;

    for (unsigned i = 0; i < 10000; i++) { /* ten times the rate, for a second */
        data += meter_take(m, SEC(1000) + i * 100, 1000, false);
        if (i % 1000 == 999)
            urgent += meter_take(m, SEC(1000) + i * 100, 100, true);
    }
    assert_int_equal(urgent, 10);
    assert_in_range(data, 1200, 1401);
    for (unsigned i = 0; i < 1000; i++)
        urgent += meter_take(m, SEC(1001), 1000, true);
    assert_in_range(urgent, 10 + 100, 10 + 200);
    meter_unref(m);
}

/* Half again as much as the rate: a third is refused, and never many in a row. */
static void what_is_too_much_is_refused_here_and_there(void **state)
{
    struct meter *m = meter_new(1000000);
    unsigned refused = 0, row = 0, longest = 0;

    for (unsigned i = 0; i < 15000; i++) {
        bool ok = meter_take(m, SEC(1000) + i * 667, 1000, false);

        row = ok ? 0 : row + 1;
        longest = row > longest ? row : longest;
        refused += !ok;
    }
    assert_in_range(refused, 4500, 5000);
    assert_in_range(longest, 1, 8);
    meter_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_above_the_rate_is_refused_and_what_is_below_is_not),
        cmocka_unit_test(spare_is_what_is_left_of_the_burst),
        cmocka_unit_test(what_is_too_much_is_refused_here_and_there),
        cmocka_unit_test(what_is_urgent_finds_room_under_any_load_and_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
