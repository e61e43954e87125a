// link: peal_overlay
/* Data keys that come out of the handshake, for data that waited before the session was up. */
#include <stdio.h>

#include "overlay/core/wire.h"
#include "tests/unit/cm.h"
#include "tests/unit/session_world.h"

/* Opens over the ring, as traffic for somebody unknown does. */
static struct session *demand(struct world_node *a, const struct world_node *b)
{
    struct path_addr to = world_ring_path(b);

    a->env.now_us = a->world->now_us;
    struct session *s = session_open(a->ss, &to, &b->config.node);

    session_want_data(s);
    return s;
}

static struct world *ring_of_two(uint64_t seed)
{
    struct world *w = world_two(seed);

    w->ring = true;
    w->udp_cut = true;
    return w;
}

static bool send_between(struct world_node *a, const struct world_node *b)
{
    struct session *s = world_session(a, b);

    return s != NULL && session_is_up(s) && world_data_send(a, s);
}

/* One packet each way arrives and is opened. */
static void assert_both_ways(struct world *w)
{
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    uint64_t at_a = a->data_got, at_b = b->data_got;

    assert_true(send_between(a, b));
    assert_true(send_between(b, a));
    world_run(w, SEC(1));
    assert_int_equal(a->data_got, at_a + 1);
    assert_int_equal(b->data_got, at_b + 1);
}

static void the_first_packet_is_there_after_one_and_a_half_round_trips(void **state)
{
    struct world *w = ring_of_two(1);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    demand(a, b);
    world_run(w, 2 * w->delay_us);
    assert_true(send_between(a, b));
    world_run(w, w->delay_us);
    assert_int_equal(b->data_got, 1);
    assert_true(send_between(b, a)); /* at once, and without an exchange */
    world_run(w, w->delay_us);
    assert_int_equal(a->data_got, 1);
    world_free(w);
}

static void without_data_waiting_there_are_no_keys(void **state)
{
    struct world *w = ring_of_two(2);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct path_addr to = world_ring_path(b);
    struct session_data d;

    session_open(a->ss, &to, &b->config.node);
    world_run(w, SEC(1));
    session_data(world_session(a, b), &d);
    assert_null(d.tx);
    assert_null(d.rx[0]);
    session_data(world_session(b, a), &d);
    assert_null(d.rx[0]);
    world_free(w);
}

/* There a worker of the peer reads the packet before anybody has read message 3. */
static void over_udp_an_exchange_makes_the_first_key(void **state)
{
    struct world *w = world_two(3);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    session_want_data(world_open(a, b, true));
    world_run(w, 2 * w->delay_us);
    assert_true(session_is_up(world_session(a, b)));
    assert_false(send_between(a, b));
    session_want_data(world_session(a, b));
    world_run(w, 3 * w->delay_us);
    assert_both_ways(w);
    world_free(w);
}

static void both_beginning_at_once_hear_each_other(void **state)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct world *w = ring_of_two(100 + seed);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        w->jitter_us = seed % 3 == 0 ? 0 : MSEC(30);
        w->loss_percent = seed % 2 ? 20 : 0;
        demand(a, b);
        world_run(w, seed % 5 == 0 ? 0 : MSEC(world_random(w) % 25));
        demand(b, a);
        world_run(w, SEC(5));
        w->loss_percent = 0;
        world_run(w, SEC(1));
        assert_both_ways(w);
        world_run(w, SEC(12)); /* one of the two handshakes is forgotten */
        assert_both_ways(w);
        assert_int_equal(a->data_refused + b->data_refused, 0);
        world_free(w);
    }
}

static void different_speeds_do_not_matter(void **state)
{
    for (usec delay_us = MSEC(1); delay_us < SEC(1); delay_us *= 3) {
        struct world *w = ring_of_two(4);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        w->delay_us = delay_us;
        demand(a, b);
        world_run(w, 2 * delay_us);
        assert_true(send_between(a, b));
        world_run(w, SEC(5));
        assert_int_equal(b->data_got, 1);
        assert_both_ways(w);
        world_free(w);
    }
}

static void a_restarted_end_begins_anew(void **state)
{
    for (int who = 0; who < 2; who++) {
        struct world *w = ring_of_two(5);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        demand(a, b);
        world_run(w, SEC(1));
        assert_both_ways(w);
        world_start(&w->nodes[who]);
        demand(&w->nodes[who], &w->nodes[1 - who]);
        world_run(w, SEC(1));
        assert_both_ways(w);
        assert_int_equal(a->data_refused + b->data_refused, 0);
        world_free(w);
    }
}

static void renewal_of_the_first_keys_loses_no_packet(void **state)
{
    struct world *w = ring_of_two(6);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct session_data first, last;

    w->jitter_us = MSEC(40);
    demand(a, b);
    world_run(w, SEC(1));
    session_data(world_session(a, b), &first);
    uint32_t index = seal_key_index(first.tx);

    for (int i = 0; i < 4000; i++) {
        assert_true(send_between(a, b));
        assert_true(send_between(b, a));
        world_run(w, MSEC(100));
        world_data_report(a, world_session(a, b));
        world_data_report(b, world_session(b, a));
    }
    world_run(w, SEC(1));
    session_data(world_session(a, b), &last);
    assert_int_not_equal(seal_key_index(last.tx), index);
    assert_int_equal(a->data_got, b->data_sent);
    assert_int_equal(b->data_got, a->data_sent);
    world_free(w);
}

/* Nothing of a handshake that nobody finished opens anything. */
static bool drop_message_3(struct world *w, struct world_node *from, const struct path_addr *to,
                           uint8_t *pkt, size_t *len)
{
    return !(pkt[0] == PACKET_HANDSHAKE && pkt[1] == 3);
}

static void without_message_3_data_is_refused_and_the_session_ends(void **state)
{
    struct world *w = ring_of_two(7);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    w->hook = drop_message_3;
    demand(a, b);
    world_run(w, 2 * w->delay_us);
    assert_true(send_between(a, b));
    world_run(w, SEC(10));
    assert_int_equal(b->data_got, 0);
    assert_int_equal(b->data_refused, 1);
    assert_int_equal(a->last_down, SESSION_END_TIMEOUT);
    w->hook = NULL;
    demand(a, b);
    world_run(w, SEC(1));
    assert_both_ways(w);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_packet_is_there_after_one_and_a_half_round_trips),
        cmocka_unit_test(without_data_waiting_there_are_no_keys),
        cmocka_unit_test(over_udp_an_exchange_makes_the_first_key),
        cmocka_unit_test(both_beginning_at_once_hear_each_other),
        cmocka_unit_test(different_speeds_do_not_matter),
        cmocka_unit_test(a_restarted_end_begins_anew),
        cmocka_unit_test(renewal_of_the_first_keys_loses_no_packet),
        cmocka_unit_test(without_message_3_data_is_refused_and_the_session_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
