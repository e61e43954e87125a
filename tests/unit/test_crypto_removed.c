// link: peal_crypto
/* Who was removed: what gets into the set, what a match is, and what is passed on. */
#include "tests/unit/cm.h"
#include "tests/unit/forge.h"

#include <stdlib.h>

enum { GROUP = 0x11 };

static EVP_PKEY *ca_key, *other_key;
static struct cert_ca *ca;
static struct id group;

/* A member of which every part is made of n. */
static struct cert member(uint8_t n)
{
    struct cert c = {.group = group, .serial_len = 16};

    memset(c.node.b, n, sizeof c.node.b);
    memset(c.key.b, n ^ 0x40, sizeof c.key.b);
    memset(c.serial, n ^ 0x20, 16);
    return c;
}

static enum removed_news add(struct removed *r, uint64_t number, uint8_t n)
{
    struct cert c = member(n);
    struct forge_der m = forge_removal(ca_key, &group, number, &c);

    return removed_add(r, ca, m.b, m.len);
}

static void node_id_key_or_serial_is_enough(void **state)
{
    struct removed *r = removed_new();
    struct cert same = member(1), other = member(2), c;

    assert_int_equal(add(r, 1, 1), REMOVED_NEW);
    assert_true(removed_lists(r, &same));
    assert_false(removed_lists(r, &other));
    assert_true(removed_names(r, &same.node));
    assert_false(removed_names(r, &other.node));
    c = other;
    c.node = same.node;
    assert_true(removed_lists(r, &c));
    c = other;
    c.key = same.key;
    assert_true(removed_lists(r, &c));
    c = other;
    memcpy(c.serial, same.serial, sizeof c.serial);
    assert_true(removed_lists(r, &c));
    c.serial_len = 15;
    assert_false(removed_lists(r, &c));
    removed_free(r);
}

static void numbers_are_kept_in_order_and_each_once(void **state)
{
    static const uint8_t order[] = {5, 1, 9, 3, 5, 9};
    struct removed *r = removed_new();
    uint64_t last = 0;

    assert_int_equal(removed_number(r), 0);
    for (size_t i = 0; i < sizeof order; i++)
        assert_int_equal(add(r, order[i], order[i]), i < 4 ? REMOVED_NEW : REMOVED_KNOWN);
    assert_int_equal(removed_count(r), 4);
    assert_int_equal(removed_number(r), 9);
    for (const struct removal *one; (one = removed_after(r, last)) != NULL; last = one->number)
        assert_true(one->number > last);
    assert_int_equal(last, 9);
    assert_int_equal(removed_after(r, 3)->number, 5);
    assert_null(removed_after(r, 9));
    removed_free(r);
}

static void what_the_ca_did_not_sign_gets_nowhere(void **state)
{
    struct removed *r = removed_new();
    struct cert c = member(1);
    struct forge_der m = forge_removal(other_key, &group, 1, &c);
    struct id other_group = group;

    assert_int_equal(removed_add(r, ca, m.b, m.len), REMOVED_BAD);
    other_group.b[0] ^= 1;
    m = forge_removal(ca_key, &other_group, 1, &c);
    assert_int_equal(removed_add(r, ca, m.b, m.len), REMOVED_BAD);
    m = forge_removal(ca_key, &group, 0, &c);
    assert_int_equal(removed_add(r, ca, m.b, m.len), REMOVED_BAD);
    m = forge_removal(ca_key, &group, 1, &c);
    for (size_t bit = 0; bit < 8 * m.len; bit++) {
        m.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(removed_add(r, ca, m.b, m.len), REMOVED_BAD);
        m.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < m.len; len++)
        assert_int_equal(removed_add(r, ca, m.b, len), REMOVED_BAD);
    assert_int_equal(removed_add(r, ca, m.b, REMOVAL_MAX + 1), REMOVED_BAD);
    assert_int_equal(removed_count(r), 0);
    assert_false(removed_lists(r, &c));
    assert_int_equal(removed_add(r, ca, m.b, m.len), REMOVED_NEW);
    removed_free(r);
}

static void beyond_the_limit_the_oldest_goes(void **state)
{
    struct removed *r = removed_new();

    for (unsigned i = 1; i <= REMOVED_MAX + 3; i++)
        assert_int_equal(add(r, i, (uint8_t)i), REMOVED_NEW);
    assert_int_equal(removed_count(r), REMOVED_MAX);
    assert_int_equal(removed_after(r, 0)->number, 4);
    assert_int_equal(removed_number(r), REMOVED_MAX + 3);
    removed_free(r);
}

static int setup(void **state)
{
    struct forge f;
    char names[128], pem[FORGE_PEM_SIZE];
    const char *why;

    memset(group.b, GROUP, ID_LEN);
    ca_key = forge_key(1);
    other_key = forge_key(2);
    f = forge_ca(ca_key, "ring", names, sizeof names, GROUP);
    ca = cert_ca_new(pem, forge_pem(&f, pem, sizeof pem), &why);
    return ca ? 0 : -1;
}

static int teardown(void **state)
{
    cert_ca_free(ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(other_key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_id_key_or_serial_is_enough),
        cmocka_unit_test(numbers_are_kept_in_order_and_each_once),
        cmocka_unit_test(what_the_ca_did_not_sign_gets_nowhere),
        cmocka_unit_test(beyond_the_limit_the_oldest_goes),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
