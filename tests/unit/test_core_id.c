// link: peal_core
#include "overlay/core/err.h"
#include "overlay/core/id.h"
#include "tests/unit/cm.h"

#include <math.h>
#include <string.h>

/* Ids in tests are written by their first and last digits: "80...01" fills the middle with zeros.
 */
static struct id id_of(const char *text)
{
    const char *dots = strstr(text, "...");
    char whole[ID_TEXT_SIZE];
    struct id id;

    memset(whole, '0', ID_HEX_LEN);
    whole[ID_HEX_LEN] = '\0';
    if (dots != NULL) {
        size_t tail = strlen(dots + 3);
        memcpy(whole, text, (size_t)(dots - text));
        memcpy(whole + ID_HEX_LEN - tail, dots + 3, tail);
    } else {
        memcpy(whole, text, strlen(text));
    }
    assert_true(id_parse(&id, whole));
    return id;
}

static struct id all_ones(void)
{
    struct id id;

    memset(id.b, 0xff, sizeof id.b);
    return id;
}

static void sums_and_differences_wrap(void **state)
{
    static const struct {
        const char *a, *b, *sum;
    } table[] = {
        {"00...00", "00...00", "00...00"},   {"00...ff", "00...01", "00...0100"},
        {"80...00", "80...01", "00...01"},   {"80...00", "40...00", "c0...00"},
        {"00...01", "00...ff", "00...0100"},
    };
    struct id ones = all_ones(), one = id_of("00...01"), sum;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct id a = id_of(table[i].a), b = id_of(table[i].b), want = id_of(table[i].sum), back;

        sum = id_add(&a, &b);
        assert_memory_equal(&sum, &want, sizeof want);
        back = id_sub(&sum, &b);
        assert_memory_equal(&back, &a, sizeof a);
    }
    sum = id_add(&ones, &one);
    assert_true(id_is_zero(&sum));
    sum = id_sub(&sum, &one);
    assert_true(id_eq(&sum, &ones));
}

static void distance_is_the_shorter_way_round(void **state)
{
    static const struct {
        const char *a, *b, *distance;
    } table[] = {
        {"10...00", "30...00", "20...00"},
        {"30...00", "10...00", "20...00"},
        {"f0...00", "10...00", "20...00"},
        {"00...00", "80...00", "80...00"},
        {"00...00", "80...01", "7fffffffffffffffffffffffffffffffffffffff"},
        {"12...34", "12...34", "00...00"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct id a = id_of(table[i].a), b = id_of(table[i].b);
        struct id got = id_distance(&a, &b), want = id_of(table[i].distance);

        assert_memory_equal(&got, &want, sizeof want);
    }
}

static void between_is_open_and_clockwise(void **state)
{
    static const struct {
        const char *a, *x, *b;
        bool inside;
    } table[] = {
        {"10", "20", "30", true},  {"10", "10", "30", false}, {"10", "30", "30", false},
        {"30", "20", "10", false}, {"30", "40", "10", true},  {"30", "00", "10", true},
        {"f0", "00", "10", true},  {"f0", "f8", "10", true},  {"f0", "10", "10", false},
        {"20", "30", "20", true},  {"20", "20", "20", false}, {"20", "10", "20", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct id a = id_of(table[i].a), x = id_of(table[i].x), b = id_of(table[i].b);

        assert_int_equal(id_between(&a, &x, &b), table[i].inside);
    }
}

static void closer_is_strict_and_breaks_ties_by_the_smaller_id(void **state)
{
    static const struct {
        const char *key, *a, *b;
        bool closer;
    } table[] = {
        {"50", "51", "60", true},  {"50", "60", "51", false}, {"50", "40", "60", true},
        {"50", "60", "40", false}, {"50", "51", "51", false}, {"00", "f0", "20", true},
        {"00", "f0", "10", false}, {"00", "10", "f0", true},  {"00", "80", "7f", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct id key = id_of(table[i].key), a = id_of(table[i].a), b = id_of(table[i].b);

        assert_int_equal(id_closer(&key, &a, &b), table[i].closer);
    }
}

static void fractions_go_there_and_back(void **state)
{
    static const double table[] = {0.0, 0.25, 0.5, 0.75, 0x1p-53, 1 - 0x1p-53, 0.1, 1.0 / 3};
    struct id ones = all_ones(), zero = {{0}}, id;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        id = id_from_fraction(table[i]);
        assert_true(fabs(id_fraction(&id) - table[i]) <= 0x1p-53);
    }
    assert_true(id_fraction(&ones) < 1.0);
    assert_true(id_fraction(&zero) == 0.0);
}

static void fractions_are_taken_modulo_one(void **state)
{
    static const struct {
        double f, want;
    } table[] = {
        {1.0, 0.0}, {1.25, 0.25}, {-0.25, 0.75}, {-1.0, 0.0},   {-3.5, 0.5},
        {1e300, 0}, {-1e300, 0},  {NAN, 0},      {INFINITY, 0}, {-1e-300, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct id id = id_from_fraction(table[i].f);

        assert_true(id_fraction(&id) == table[i].want);
    }
}

static void points_divide_the_ring_evenly(void **state)
{
    struct id a = id_of("f0...07"), fifth = {{0}}, sum = a, first = id_point(&a, 0, 5), half, want;

    assert_true(id_eq(&first, &a));
    half = id_point(&a, 1, 2);
    want = id_of("70...07");
    assert_true(id_eq(&half, &want));
    memset(fifth.b, 0x33, sizeof fifth.b); /* 2^160 / 5, rounded down */
    for (unsigned i = 1; i < 5; i++) {
        struct id point = id_point(&a, i, 5);

        sum = id_add(&sum, &fifth);
        assert_true(id_eq(&point, &sum));
    }
    for (unsigned den = 1; den <= 255; den++) { /* num/den rounds down: never a whole turn */
        struct id zero = {{0}}, last = id_point(&zero, den - 1, den);

        assert_true(fabs(id_fraction(&last) - (double)(den - 1) / den) < 0x1p-50);
    }
}

static void only_forty_hex_digits_are_an_id(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } table[] = {
        {"0123456789abcdef0123456789abcdef01234567", true},
        {"0123456789ABCDEF0123456789abcdef01234567", true},
        {"", false},
        {"0123456789abcdef0123456789abcdef0123456", false},
        {"0123456789abcdef0123456789abcdef012345678", false},
        {"0123456789abcdef0123456789abcdef0123456g", false},
        {" 123456789abcdef0123456789abcdef01234567", false},
        {"0x23456789abcdef0123456789abcdef01234567", false},
    };
    char text[ID_TEXT_SIZE], brief[ID_SHORT_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct id id;

        memset(&id, 0xaa, sizeof id);
        assert_int_equal(id_parse(&id, table[i].text), table[i].ok);
        if (table[i].ok) {
            assert_string_equal(id_text(&id, text), "0123456789abcdef0123456789abcdef01234567");
            assert_string_equal(id_short(&id, brief), "01234567");
        } else {
            assert_true(id_is_zero(&id));
        }
    }
}

static void ids_order_as_unsigned_integers(void **state)
{
    struct id low = id_of("7f...ff"), high = id_of("80...00"), last = id_of("80...01");

    assert_true(id_cmp(&low, &high) < 0);
    assert_true(id_cmp(&last, &high) > 0);
    assert_int_equal(id_cmp(&high, &high), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_differences_wrap),
        cmocka_unit_test(distance_is_the_shorter_way_round),
        cmocka_unit_test(between_is_open_and_clockwise),
        cmocka_unit_test(closer_is_strict_and_breaks_ties_by_the_smaller_id),
        cmocka_unit_test(fractions_go_there_and_back),
        cmocka_unit_test(fractions_are_taken_modulo_one),
        cmocka_unit_test(points_divide_the_ring_evenly),
        cmocka_unit_test(only_forty_hex_digits_are_an_id),
        cmocka_unit_test(ids_order_as_unsigned_integers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
