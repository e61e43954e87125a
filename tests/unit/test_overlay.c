// link: peal_overlay
/* Whole overlays on an in-memory wire: joining, leaving, crashing, merging. */
#include "tests/unit/overlay_net.h"

static const usec rtt_half = MSEC(70);

static void one_node_is_a_ring_of_one_after_a_second(void **state)
{
    struct overlay_net *net = net_new(1, rtt_half);
    struct net_node *a = net_start_new(net);

    net_run(net, MSEC(990));
    assert_int_equal(overlay_state(a->o), OVERLAY_ALONE);
    net_run(net, MSEC(20));
    assert_int_equal(overlay_state(a->o), OVERLAY_MEMBER);
    assert_true(overlay_size_estimate(a->o) == 1);
    assert_true(overlay_owns(a->o, &a->config.overlay));
    net_free(net);
}

/* n nodes, one after the other, each into a settled ring. */
static struct overlay_net *ring_of(uint64_t seed, int n)
{
    struct overlay_net *net = net_new(seed, rtt_half);

    for (int i = 0; i < n; i++) {
        net_start_new(net);
        net_settle(net, SEC(5));
    }
    net_run(net, SEC(10));
    assert_true(net_ideal(net, true));
    return net;
}

static void a_node_is_in_its_neighbours_lists_seven_one_way_delays_after_its_start(void **state)
{
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct overlay_net *net = ring_of(seed, 7);

        net_start_new(net);
        assert_in_range(net_settle(net, SEC(5)), 0, 7 * rtt_half);
        net_free(net);
    }
}

static void small_rings_know_their_size_exactly(void **state)
{
    for (int n = 1; n <= 7; n++) {
        struct overlay_net *net = ring_of(3, n);

        for (int i = 0; i < n; i++) {
            assert_true(overlay_size_estimate(net->nodes[i]->o) == n);
            assert_int_equal(overlay_connections(net->nodes[i]->o), n - 1);
        }
        net_free(net);
    }
}

static void twenty_nodes_at_once_form_one_ring(void **state)
{
    for (uint64_t seed = 1; seed < 6; seed++) {
        struct overlay_net *net = net_new(seed, rtt_half);

        for (int i = 0; i < 20; i++)
            net_start_new(net);
        fprintf(stderr, "20 at once: %.0f ms\n", (double)net_settle(net, SEC(30)) / 1000);
        net_free(net);
    }
}

static unsigned members_of(struct overlay_net *net)
{
    unsigned n = 0;

    for (size_t i = 0; i < net->count; i++)
        n += net->nodes[i]->alive && overlay_state(net->nodes[i]->o) == OVERLAY_MEMBER;
    return n;
}

/* Also when each asks the other, as after a restart of both. */
static void two_that_start_at_once_do_not_wait_to_be_alone(void **state)
{
    static const unsigned first = 0, second = 1;

    for (uint64_t seed = 1; seed < 20; seed++) {
        struct overlay_net *net = net_new(seed, MSEC(1));
        struct net_node *a = net_add(net), *b = net_add(net);

        net_start(a, &second, seed % 2);
        net_start(b, &first, 1);
        assert_in_range(net_settle(net, SEC(5)), 0, MSEC(50));
        net_free(net);
    }
}

/* Whom they see is no lowest of all, or has lower ones around it: only one may begin. */
static void of_those_around_one_bootstrap_one_begins(void **state)
{
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct overlay_net *net = net_new(seed, rtt_half);
        usec end_us = net->now_us + MSEC(990); /* then whoever is alone begins */
        unsigned members = 0;

        for (int i = 0; i < 20; i++)
            net_start_new(net);
        while (members == 0 && net->now_us < end_us) {
            net_run(net, MSEC(1));
            members = members_of(net);
        }
        assert_int_equal(members, 1);
        net_run(net, 2 * rtt_half); /* it is a while until others know */
        assert_int_equal(members_of(net), 1);
        net_free(net);
    }
}

static void who_waits_for_an_answer_does_not_begin(void **state)
{
    static const unsigned two[] = {0, 1};
    struct overlay_net *net = net_new(1, MSEC(1));

    for (int i = 0; i < 3; i++)
        (void)net_add(net);
    net_start(net->nodes[1], two, 1);
    net_start(net->nodes[2], two, 2); /* where 0 is, that is silent */
    net_run(net, MSEC(900));
    assert_int_equal(overlay_connections(net->nodes[2]->o), 1);
    assert_int_equal(members_of(net), 0);
    net_run(net, MSEC(200));
    assert_true(members_of(net) > 0);
    net_free(net);
}

/* More than it keeps for those that only come in through it. */
static void a_way_in_for_very_many_keeps_no_more_of_them_than_it_should(void **state)
{
    enum { JOINERS = OVERLAY_GUESTS_MAX + 200, OWN_MAX = 40 };
    struct overlay_net *net = net_new(8, MSEC(10));
    size_t most = 0;

    net_start_new(net);
    net_settle(net, SEC(5));
    for (int i = 0; i < JOINERS; i++) {
        size_t now = overlay_connections(net->nodes[0]->o);

        net_start_new(net);
        net_run(net, MSEC(10));
        most = now > most ? now : most;
    }
    assert_in_range(most, OVERLAY_GUESTS_MAX, OVERLAY_GUESTS_MAX + OWN_MAX);
    net_settle(net, SEC(30));
    net_free(net);
}

static void a_goodbye_closes_the_ring_within_a_second(void **state)
{
    struct overlay_net *net = ring_of(4, 12);

    for (int i = 1; i < 11; i++) {
        struct net_node *n = net->nodes[i];

        overlay_leave(net_enter(n));
        assert_int_equal(overlay_state(n->o), OVERLAY_LEAVING);
        for (int k = 0; k < 300 && !overlay_left(n->o); k++)
            net_run(net, MSEC(10));
        assert_true(overlay_left(n->o));
        net_run(net, MSEC(1)); /* the last packet leaves with the tick */
        net_kill(n);
        fprintf(stderr, "leave: %.0f ms\n", (double)net_settle(net, SEC(1)) / 1000);
    }
    net_free(net);
}

static void a_crash_is_repaired_within_15_seconds(void **state)
{
    struct overlay_net *net = ring_of(5, 20);

    for (int i = 1; i < 15; i++) {
        net_kill(net->nodes[i]);
        fprintf(stderr, "crash: %.0f ms\n", (double)net_settle(net, SEC(15)) / 1000);
        net_run(net, SEC(30));
        assert_true(net_ideal(net, true));
    }
    net_free(net);
}

static struct overlay_entry only_entry(struct net_node *n)
{
    struct overlay_entry e;
    size_t i = 0;

    assert_true(overlay_entry_next(n->o, &i, &e));
    assert_false(overlay_entry_next(n->o, &i, &(struct overlay_entry){.tries = 0}));
    return e;
}

static void who_is_alone_can_tell_what_was_tried(void **state)
{
    struct overlay_net *net = net_new(7, MSEC(10));
    struct net_node *far = net_add(net), *n = net_add(net);
    const unsigned bootstrap = 0;
    struct overlay_entry e;

    net_start(n, &bootstrap, 1);
    assert_int_equal(only_entry(n).state, OVERLAY_ENTRY_WAITING);
    net_run(net, SEC(1));
    assert_int_equal(only_entry(n).state, OVERLAY_ENTRY_TRYING);
    net_run(net, SEC(30));
    for (unsigned ms = 0; only_entry(n).state == OVERLAY_ENTRY_TRYING && ms < 10000; ms++)
        net_run(net, MSEC(1));
    e = only_entry(n);
    assert_int_equal(e.state, OVERLAY_ENTRY_SILENT);
    assert_int_equal(e.kind, OVERLAY_ENTRY_BOOTSTRAP);
    assert_true(endpoint_eq(&e.ep, &far->ep));
    assert_in_range(e.tries, 2, 10);
    assert_in_range(e.next_us, net->now_us, net->now_us + SEC(60));
    net_start(far, NULL, 0);
    net_run(net, SEC(60));
    e = only_entry(n);
    assert_int_equal(e.state, OVERLAY_ENTRY_CONNECTED);
    assert_int_equal(e.tries, 0);
    net_free(net);
}

/* Some peers have given it up, the others still have their sessions. */
static void who_slept_long_is_back_within_3_seconds(void **state)
{
    struct overlay_net *net = ring_of(6, 20);

    for (int i = 1; i < 8; i++) {
        struct net_node *n = net->nodes[i];
        usec took_us;

        if (i == 4)
            net->loss_percent = 5;
        overlay_awoke(net_enter(n));
        net_run(net, MSEC(1));
        assert_true(overlay_connections(n->o) == 0);
        took_us = net_settle(net, SEC(5));
        fprintf(stderr, "awoke: %.0f ms\n", (double)took_us / 1000);
        assert_true(took_us < SEC(3));
        net_run(net, SEC(20));
        assert_true(net_ideal(net, true));
    }
    net_free(net);
}

static void two_rings_become_one_when_a_bootstrap_answers(void **state)
{
    struct overlay_net *net = net_new(6, rtt_half);
    unsigned first[2] = {0, 8};

    for (unsigned i = 0; i < 16; i++) {
        struct net_node *n = net_add(net);

        n->part = i / 8;
        net_start(n, first, 2);
    }
    net_settle(net, SEC(30));
    net_run(net, SEC(100));
    for (unsigned i = 8; i < 16; i++)
        net->nodes[i]->part = 0;
    fprintf(stderr, "merge: %.0f ms\n", (double)net_settle(net, SEC(60)) / 1000);
    net_free(net);
}

static void a_cut_that_heals_leaves_one_ring(void **state)
{
    for (unsigned parts = 2; parts <= 8; parts += 3) {
        struct overlay_net *net = net_new(parts, rtt_half);

        for (unsigned i = 0; i < 40; i++)
            net_start_new(net);
        net_settle(net, SEC(60));
        net_run(net, SEC(60));
        for (unsigned i = 0; i < 40; i++)
            net->nodes[i]->part = (unsigned)(net_random(net) % parts);
        net_run(net, SEC(600)); /* parts may fall to pieces: a node knows few of its own */
        for (unsigned i = 0; i < 40; i++)
            net->nodes[i]->part = 0;
        fprintf(stderr, "heal of %u: %.0f ms\n", parts, (double)net_settle(net, SEC(60)) / 1000);
        net_free(net);
    }
}

static void a_killed_node_that_comes_back_is_in_the_ring_within_5_seconds(void **state)
{
    struct overlay_net *net = ring_of(7, 10);
    unsigned first = 0;

    for (int i = 1; i < 6; i++) {
        net_kill(net->nodes[i]);
        net_run(net, MSEC(200));
        net_start(net->nodes[i], &first, 1);
        fprintf(stderr, "restart: %.0f ms\n", (double)net_settle(net, SEC(5)) / 1000);
    }
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node_is_a_ring_of_one_after_a_second),
        cmocka_unit_test(a_node_is_in_its_neighbours_lists_seven_one_way_delays_after_its_start),
        cmocka_unit_test(small_rings_know_their_size_exactly),
        cmocka_unit_test(twenty_nodes_at_once_form_one_ring),
        cmocka_unit_test(two_that_start_at_once_do_not_wait_to_be_alone),
        cmocka_unit_test(of_those_around_one_bootstrap_one_begins),
        cmocka_unit_test(who_waits_for_an_answer_does_not_begin),
        cmocka_unit_test(a_way_in_for_very_many_keeps_no_more_of_them_than_it_should),
        cmocka_unit_test(a_goodbye_closes_the_ring_within_a_second),
        cmocka_unit_test(a_crash_is_repaired_within_15_seconds),
        cmocka_unit_test(who_is_alone_can_tell_what_was_tried),
        cmocka_unit_test(who_slept_long_is_back_within_3_seconds),
        cmocka_unit_test(two_rings_become_one_when_a_bootstrap_answers),
        cmocka_unit_test(a_cut_that_heals_leaves_one_ring),
        cmocka_unit_test(a_killed_node_that_comes_back_is_in_the_ring_within_5_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
