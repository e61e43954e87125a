// link: peal_core
#include "daemon/node/remote.c"
#include "tests/unit/cm.h"

static struct env env;
static struct remotes rs;

static int setup(void **state)
{
    env = (struct env){.now_us = SEC(100)};
    remotes_init(&rs, &env);
    return 0;
}

static int teardown(void **state)
{
    remotes_clear(&rs);
    return 0;
}

static struct addr address(uint32_t n)
{
    return addr_v4(0x0a4d0000 + n);
}

static struct remote *add(uint32_t n)
{
    struct addr a = address(n);

    return remote_add(&rs, &a);
}

static void packets_leave_in_the_order_they_came(void **state)
{
    struct remote *r = add(2);

    for (uint8_t i = 0; i < 5; i++)
        assert_true(remote_wait_out(&rs, r, &i, 1));
    for (uint8_t i = 0; i < 5; i++) {
        struct remote_packet *p = remote_take(&rs, &r->out);

        assert_int_equal(p->bytes[0], i);
        free(p);
    }
    assert_null(remote_take(&rs, &r->out));
    assert_int_equal(rs.waiting, 0);
}

static void the_newest_is_dropped_when_a_queue_is_full(void **state)
{
    struct remote *r = add(2);

    for (unsigned i = 0; i < REMOTE_WAIT_PACKETS; i++)
        assert_true(remote_wait_in(&rs, r, 7, (const uint8_t *)"x", 1));
    assert_false(remote_wait_in(&rs, r, 7, (const uint8_t *)"y", 1));
    assert_int_equal(rs.dropped, 1);
}

static void all_queues_together_are_bounded(void **state)
{
    unsigned taken = 0;

    for (uint32_t n = 2; n < 2 + 2 * REMOTE_WAIT_ALL / REMOTE_WAIT_PACKETS; n++) {
        struct remote *r = add(n);

        for (unsigned i = 0; i < REMOTE_WAIT_PACKETS; i++)
            taken += remote_wait_out(&rs, r, (const uint8_t *)"x", 1);
    }
    assert_int_equal(taken, REMOTE_WAIT_ALL);
}

static void packets_wait_no_longer_than_they_may(void **state)
{
    struct remote *r = add(2);

    remote_wait_in(&rs, r, 7, (const uint8_t *)"x", 1);
    remote_wait_out(&rs, r, (const uint8_t *)"y", 1);
    assert_int_equal(remotes_deadline(&rs), env.now_us + REMOTE_WAIT_IN_US);
    env.now_us += REMOTE_WAIT_IN_US;
    remotes_tick(&rs);
    assert_int_equal(r->in.count, 0);
    assert_int_equal(r->out.count, 1);
    env.now_us = SEC(100) + REMOTE_WAIT_OUT_US;
    remotes_tick(&rs);
    assert_int_equal(r->out.count, 0);
    assert_int_equal(rs.dropped, 2);
}

static void what_nobody_owns_is_forgotten_soon(void **state)
{
    struct addr a = address(2);
    struct remote *r = add(2);

    remote_wait_out(&rs, r, (const uint8_t *)"y", 1);
    remote_absent(&rs, r, REMOTE_ABSENT_US);
    assert_int_equal(rs.waiting, 0);
    env.now_us += REMOTE_ABSENT_US - 1;
    remotes_tick(&rs);
    assert_non_null(remote_get(&rs, &a));
    env.now_us += 1;
    remotes_tick(&rs);
    assert_null(remote_get(&rs, &a));
}

static void a_lost_owner_takes_its_addresses_along(void **state)
{
    struct id owner = {{1}}, other = {{2}};
    struct addr a2 = address(2), a3 = address(3), a4 = address(4);

    remote_found(&rs, add(2), &owner, SEC(1000));
    remote_found(&rs, add(3), &other, SEC(1000));
    remote_found(&rs, add(4), &owner, SEC(1000));
    remotes_forget_owner(&rs, &owner);
    assert_null(remote_get(&rs, &a2));
    assert_non_null(remote_get(&rs, &a3));
    assert_null(remote_get(&rs, &a4));
}

static void a_full_table_gives_up_the_one_that_ends_first(void **state)
{
    struct id owner = {{1}};
    struct addr victim = address(9);

    for (uint32_t n = 2; n < 2 + REMOTE_MAX; n++)
        remote_found(&rs, add(n), &owner, n == 9 ? SEC(200) : SEC(300));
    assert_non_null(add(2 + REMOTE_MAX));
    assert_null(remote_get(&rs, &victim));
    assert_int_equal(rs.by_addr.count, REMOTE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packets_leave_in_the_order_they_came, setup, teardown),
        cmocka_unit_test_setup_teardown(the_newest_is_dropped_when_a_queue_is_full, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(all_queues_together_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(packets_wait_no_longer_than_they_may, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_owns_is_forgotten_soon, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_owner_takes_its_addresses_along, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_table_gives_up_the_one_that_ends_first, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
