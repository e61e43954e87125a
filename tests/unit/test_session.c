// link: peal_overlay
#include <stdio.h>

#include "overlay/core/wire.h"
#include "tests/unit/cm.h"
#include "tests/unit/session_world.h"

static void a_session_comes_up_in_two_round_trips(void **state)
{
    struct world *w = world_two(1);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct session *s = world_open(a, b, false);
    struct cert cert;

    assert_non_null(s);
    assert_false(session_is_up(s));
    assert_null(session_peer(s));
    world_run(w, MSEC(20));
    assert_int_equal(a->ups, 1);
    world_run(w, MSEC(10));
    assert_int_equal(b->ups, 1);
    assert_true(world_connected(a, b));
    assert_true(id_eq(session_peer(s), &b->config.node));
    assert_true(session_initiator(s));
    assert_false(session_initiator(world_session(b, a)));
    session_cert(s, &cert);
    assert_memory_equal(&cert.key, &b->config.pub, sizeof(b->config.pub));
    world_run(w, SEC(1));
    assert_int_equal(session_rtt(s), MSEC(20));
    assert_true(endpoint_eq(&a->observed_as, &a->ep));
    world_free(w);
}

static void messages_arrive_in_order_of_sending(void **state)
{
    struct world *w = world_two_connected(2);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    uint8_t body[MESSAGE_MAX] = {7};

    assert_int_equal(session_send(world_session(a, b), MSG_UPPER, "x", 1), 0);
    assert_int_equal(session_send(world_session(a, b), MSG_ROUTE, body, sizeof(body)), 0);
    assert_int_equal(session_send(world_session(a, b), MSG_ROUTE, body, sizeof(body) + 1),
                     -ERR_RANGE);
    world_run(w, MSEC(100));
    assert_int_equal(b->messages, 2);
    assert_int_equal(b->last_type, MSG_ROUTE);
    assert_int_equal(b->last_len, sizeof(body));
    session_send(world_session(b, a), MSG_UPPER, NULL, 0);
    world_run(w, MSEC(100));
    assert_int_equal(a->messages, 1);
    assert_int_equal(a->last_len, 0);
    world_free(w);
}

static void small_messages_share_a_packet(void **state)
{
    struct world *w = world_two_connected(3);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    uint64_t before = a->sent_packets;

    for (int i = 0; i < 20; i++)
        session_send(world_session(a, b), MSG_UPPER, "0123456789", 10);
    world_run(w, MSEC(100));
    assert_int_equal(b->messages, 20);
    assert_int_equal(a->sent_packets - before, 1);
    world_free(w);
}

static void closing_says_goodbye(void **state)
{
    struct world *w = world_two_connected(4);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    session_close(world_session(a, b));
    assert_null(world_session(a, b));
    world_run(w, MSEC(100));
    assert_int_equal(a->downs, 1);
    assert_int_equal(a->last_down, SESSION_END_CLOSED);
    assert_int_equal(b->downs, 1);
    assert_int_equal(b->last_down, SESSION_END_GOODBYE);
    assert_int_equal(sessions_count(a->ss) + sessions_count(b->ss), 0);
    world_free(w);
}

static void nobody_there_is_a_timeout_after_five_seconds(void **state)
{
    struct world *w = world_two(5);
    struct world_node *a = &w->nodes[0];

    w->nodes[1].dead = true;
    world_open(a, &w->nodes[1], true);
    world_run(w, MSEC(4990));
    assert_int_equal(a->downs, 0);
    world_run(w, MSEC(20));
    assert_int_equal(a->downs, 1);
    assert_int_equal(a->last_down, SESSION_END_TIMEOUT);
    world_free(w);
}

static void idle_without_hold_is_closed_after_a_minute(void **state)
{
    struct world *w = world_two_connected(6);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    session_set_hold(world_session(a, b), false);
    world_run(w, SEC(59));
    assert_true(world_connected(a, b));
    world_run(w, SEC(2));
    assert_int_equal(a->last_down, SESSION_END_CLOSED);
    assert_int_equal(b->last_down, SESSION_END_GOODBYE);
    world_free(w);
}

static void our_own_endpoint_is_recognised(void **state)
{
    struct world *w = world_two(7);
    struct world_node *a = &w->nodes[0];

    world_open(a, a, false);
    world_run(w, SEC(1));
    assert_int_equal(a->downs, 1);
    assert_int_equal(a->ups, 0);
    assert_int_equal(a->last_down, SESSION_END_SELF);
    world_free(w);
}

static void an_idle_crashed_peer_is_noticed_by_both_sides(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct world *w = world_two_connected(8);
        struct world_node *dies = &w->nodes[i], *stays = &w->nodes[1 - i];
        bool lower = id_cmp(&stays->config.node, &dies->config.node) < 0;

        world_run(w, SEC(100));
        assert_true(world_connected(dies, stays));
        dies->dead = true;
        world_run(w, lower ? MSEC(12500) : SEC(15));
        assert_int_equal(stays->downs, 1);
        assert_int_equal(stays->last_down, SESSION_END_SILENT);
        world_free(w);
    }
}

static void an_idle_session_costs_one_ping_and_pong_per_interval(void **state)
{
    struct world *w = world_two_connected(9);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    world_run(w, SEC(10));
    a->sent_packets = b->sent_packets = a->sent_bytes = b->sent_bytes = 0;
    world_run(w, SEC(1000));
    assert_true(world_connected(a, b));
    assert_in_range(a->sent_packets, 98, 101);
    assert_in_range(b->sent_packets, 98, 101);
    /* With IP and UDP headers a pair costs at most 16 bytes a second. */
    assert_in_range((a->sent_bytes + b->sent_bytes + 28 * 200) / 1000, 1, 16);
    world_free(w);
}

static void what_rides_along_needs_no_packet_and_comes_last(void **state)
{
    struct world *w = world_two_connected(10);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    uint64_t before;

    a->rides = SESSION_RIDE_MAX;
    before = a->sent_packets;
    world_run(w, SEC(1));
    assert_int_equal(a->sent_packets, before); /* it makes no packet go */
    session_send(world_session(a, b), MSG_UPPER, "0123456789", 10);
    world_run(w, MSEC(100));
    assert_int_equal(a->sent_packets, before + 1);
    assert_int_equal(b->messages, 2);
    assert_int_equal(b->last_type, MSG_MEMBERS);
    assert_int_equal(b->last_len, SESSION_RIDE_MAX);
    world_run(w, SEC(15)); /* in a probe, or in its answer */
    assert_int_equal(b->messages, 3);
    world_free(w);
}

static void nothing_rides_in_a_full_packet(void **state)
{
    static const uint8_t much[MESSAGE_MAX];
    struct world *w = world_two_connected(11);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    a->rides = SESSION_RIDE_MAX;
    session_send(world_session(a, b), MSG_UPPER, much, sizeof much);
    world_run(w, MSEC(100));
    assert_int_equal(b->messages, 1);
    assert_int_equal(b->last_type, MSG_UPPER);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_comes_up_in_two_round_trips),
        cmocka_unit_test(messages_arrive_in_order_of_sending),
        cmocka_unit_test(small_messages_share_a_packet),
        cmocka_unit_test(closing_says_goodbye),
        cmocka_unit_test(nobody_there_is_a_timeout_after_five_seconds),
        cmocka_unit_test(idle_without_hold_is_closed_after_a_minute),
        cmocka_unit_test(our_own_endpoint_is_recognised),
        cmocka_unit_test(an_idle_crashed_peer_is_noticed_by_both_sides),
        cmocka_unit_test(an_idle_session_costs_one_ping_and_pong_per_interval),
        cmocka_unit_test(what_rides_along_needs_no_packet_and_comes_last),
        cmocka_unit_test(nothing_rides_in_a_full_packet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
