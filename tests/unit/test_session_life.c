// link: peal_overlay
/* Sessions over hours: both opening at once, restarts, loss, renewed keys. */
#include <stdio.h>

#include "overlay/core/wire.h"
#include "overlay/session_internal.h"
#include "tests/unit/cm.h"
#include "tests/unit/session_world.h"

/* Both ways, a message gets through. */
static void assert_talking(struct world *w, struct world_node *a, struct world_node *b)
{
    unsigned messages_a = a->messages, messages_b = b->messages;

    assert_true(world_connected(a, b));
    assert_int_equal(session_send(world_session(a, b), MSG_UPPER, "a", 1), 0);
    assert_int_equal(session_send(world_session(b, a), MSG_UPPER, "b", 1), 0);
    world_run(w, MSEC(200));
    assert_int_equal(a->messages, messages_a + 1);
    assert_int_equal(b->messages, messages_b + 1);
}

static void both_opening_at_once_end_with_one_session(void **state)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct world *w = world_two(seed);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        w->jitter_us = MSEC(seed % 40);
        w->loss_percent = seed % 3 == 0 ? 10 : 0;
        world_open(a, b, seed % 2);
        world_run(w, MSEC(world_random(w) % 25));
        world_open(b, a, seed / 2 % 2);
        world_run(w, SEC(4));
        assert_int_equal(a->ups, 1);
        assert_int_equal(b->ups, 1);
        assert_int_equal(sessions_count(a->ss), 1);
        assert_int_equal(sessions_count(b->ss), 1);
        w->loss_percent = 0;
        world_run(w, SEC(12)); /* past the overlap */
        assert_talking(w, a, b);
        assert_int_not_equal(session_initiator(world_session(a, b)),
                             session_initiator(world_session(b, a)));
        world_free(w);
    }
}

static void a_restarted_peer_that_opens_is_taken_at_once(void **state)
{
    struct world *w = world_two_connected(1);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    world_run(w, SEC(30));
    world_start(a);
    world_open(a, b, true);
    world_run(w, MSEC(100));
    assert_int_equal(b->downs, 1);
    assert_int_equal(b->last_down, SESSION_END_REPLACED);
    assert_int_equal(b->ups, 2);
    assert_talking(w, a, b);
    world_free(w);
}

static void a_restart_right_after_coming_up_is_taken_too(void **state)
{
    struct world *w = world_two(2);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    world_open(b, a, true);
    world_run(w, SEC(1));
    world_start(a);
    world_open(a, b, true);
    world_run(w, SEC(1));
    assert_int_equal(b->last_down, SESSION_END_REPLACED);
    assert_talking(w, a, b);
    world_free(w);
}

/* The goodbye got lost and the peer opens again within the time in which two openings would merge.
 */
static void a_peer_that_forgot_us_and_opens_again_is_replaced(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct world *w = world_two(20);
        struct world_node *opened = &w->nodes[i], *forgets = &w->nodes[1 - i];

        world_open(opened, forgets, true);
        world_run(w, SEC(3));
        w->udp_cut = true;
        session_close(world_session(forgets, opened));
        world_run(w, MSEC(100));
        w->udp_cut = false;
        world_open(forgets, opened, true);
        world_run(w, SEC(1));
        assert_int_equal(opened->last_down, SESSION_END_REPLACED);
        assert_int_equal(opened->ups, 2);
        assert_int_equal(forgets->ups, 2);
        assert_talking(w, opened, forgets);
        world_run(w, SEC(60));
        assert_talking(w, opened, forgets);
        assert_int_equal(opened->downs + forgets->downs, 2);
        world_free(w);
    }
}

static void packets_of_a_forgotten_session_meet_silence(void **state)
{
    struct world *w = world_two_connected(3);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    uint64_t before;

    world_start(b);
    before = b->sent_packets;
    session_send(world_session(a, b), MSG_UPPER, "x", 1);
    world_run(w, SEC(1));
    assert_int_equal(b->sent_packets, before);
    assert_int_equal(sessions_counted(b->ss, SESSION_COUNT_NO_SESSION), 1);
    world_free(w);
}

static void a_second_open_by_endpoint_merges_into_the_session(void **state)
{
    struct world *w = world_two_connected(4);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    world_open(a, b, false);
    world_run(w, SEC(1));
    assert_int_equal(a->downs, 1);
    assert_int_equal(a->last_down, SESSION_END_REPLACED);
    assert_int_equal(a->ups, 1);
    assert_int_equal(b->ups, 1);
    assert_talking(w, a, b);
    world_free(w);
}

static void a_fifth_lost_still_comes_up_and_stays_up(void **state)
{
    unsigned up = 0;

    for (uint64_t seed = 0; seed < 100; seed++) {
        struct world *w = world_two(1000 + seed);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        w->loss_percent = 20;
        w->jitter_us = MSEC(5);
        world_open(a, b, true);
        world_run(w, SEC(5));
        up += world_connected(a, b);
        world_free(w);
    }
    assert_in_range(up, 97, 100);
}

static void an_hour_brings_new_keys_and_nobody_notices(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct world *w = world_two_connected(2000 + seed);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        w->jitter_us = MSEC(5);
        w->loss_percent = seed % 2 ? 5 : 0;
        for (int i = 0; i < 10 * 3600; i++) {
            unsigned before = b->messages;

            session_send(world_session(a, b), MSG_UPPER, "x", 1);
            world_run(w, MSEC(400));
            if (w->loss_percent == 0)
                assert_int_equal(b->messages, before + 1);
        }
        assert_int_equal(a->ups + b->ups, 2);
        assert_int_equal(a->downs + b->downs, 0);
        assert_in_range(sessions_counted(a->ss, SESSION_COUNT_HANDSHAKES), 4, 8);
        assert_int_equal(sessions_counted(a->ss, SESSION_COUNT_FORGED), 0);
        world_free(w);
    }
}

static void both_renewing_at_once_still_talk(void **state)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct world *w = world_two_connected(5000 + seed);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        w->jitter_us = MSEC(seed % 30);
        w->loss_percent = seed % 2 ? 15 : 0;
        world_run(w, SEC(60));
        world_session(a, b)->rekey_at_us = w->now_us;
        session_schedule(world_session(a, b));
        world_run(w, MSEC(world_random(w) % 30));
        world_session(b, a)->rekey_at_us = w->now_us;
        session_schedule(world_session(b, a));
        for (int i = 0; i < 20; i++) {
            unsigned before_a = a->messages, before_b = b->messages;

            session_send(world_session(a, b), MSG_UPPER, "a", 1);
            session_send(world_session(b, a), MSG_UPPER, "b", 1);
            world_run(w, MSEC(1000));
            if (w->loss_percent == 0) {
                assert_int_equal(a->messages, before_a + 1);
                assert_int_equal(b->messages, before_b + 1);
            }
        }
        w->loss_percent = 0;
        assert_talking(w, a, b);
        assert_int_equal(a->ups + b->ups, 2);
        assert_int_equal(a->downs + b->downs, 0);
        assert_int_not_equal(session_initiator(world_session(a, b)),
                             session_initiator(world_session(b, a)));
        world_free(w);
    }
}

static void closing_while_packets_are_in_flight_is_clean(void **state)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct world *w = world_two(3000 + seed);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
        struct session *s = world_open(a, b, true);

        world_run(w, MSEC(seed));
        session_close(s);
        if (world_session(b, a) != NULL)
            session_close(world_session(b, a));
        world_run(w, SEC(70));
        assert_int_equal(a->ups <= 1 && a->downs == 1, 1);
        assert_int_equal(sessions_count(a->ss), 0);
        world_free(w);
    }
}

static void the_oldest_session_without_hold_makes_room(void **state)
{
    struct world *w = world_new(6);
    struct world_node *hub = world_add(w, 9);

    hub->config.sessions_max = 3;
    world_start(hub);
    for (uint8_t i = 0; i < 5; i++) {
        world_start(world_add(w, (uint8_t)(20 + i)));
        world_open(&w->nodes[1 + i], hub, true);
        world_run(w, SEC(1));
        if (i == 1) {
            session_set_hold(world_session(hub, &w->nodes[2]), false);
            world_run(w, SEC(1));
        }
    }
    assert_int_equal(sessions_count(hub->ss), 3);
    assert_null(
        world_session(hub, &w->nodes[2])); /* the only one without hold went for the fourth */
    assert_non_null(world_session(hub, &w->nodes[1]));
    assert_non_null(world_session(hub, &w->nodes[4]));
    assert_int_equal(w->nodes[5].last_down,
                     SESSION_END_REFUSED); /* and the fifth finds nobody to go */
    assert_string_equal(w->nodes[5].refusal, "the peer has too many sessions");
    assert_int_equal(sessions_count(w->nodes[5].ss), 0);
    world_free(w);
}

/* Data. */

static void data_waits_one_round_trip_for_its_first_key(void **state)
{
    struct world *w = world_two_connected(7);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    assert_false(world_data_send(a, world_session(a, b)));
    session_want_data(world_session(a, b));
    world_run(w, MSEC(20));
    assert_true(world_data_send(a, world_session(a, b)));
    world_run(w, MSEC(10));
    assert_int_equal(b->data_got, 1);
    assert_true(world_data_send(b, world_session(b, a)));
    world_run(w, MSEC(10));
    assert_int_equal(a->data_got, 1);
    assert_true(a->data_changes > 0 && b->data_changes > 0);
    world_free(w);
}

static void both_wanting_data_at_once_agree(void **state)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct world *w = world_two_connected(4000 + seed);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        w->jitter_us = MSEC(30);
        w->loss_percent = seed % 2 ? 20 : 0;
        session_want_data(world_session(a, b));
        world_run(w, MSEC(world_random(w) % 15));
        session_want_data(world_session(b, a));
        world_run(w, SEC(5));
        w->loss_percent = 0;
        assert_true(world_data_send(a, world_session(a, b)));
        assert_true(world_data_send(b, world_session(b, a)));
        world_run(w, SEC(1));
        assert_int_equal(a->data_got, 1);
        assert_int_equal(b->data_got, 1);
        world_free(w);
    }
}

/* One packet each way, ten times a second; the data planes report every second. Both always have a
 * key. */
static void data_second(struct world *w, struct world_node *a, struct world_node *b)
{
    for (int i = 0; i < 10; i++) {
        assert_true(world_data_send(a, world_session(a, b)));
        assert_true(world_data_send(b, world_session(b, a)));
        world_run(w, MSEC(100));
    }
    world_data_report(a, world_session(a, b));
    world_data_report(b, world_session(b, a));
}

static void a_thousand_key_renewals_lose_no_packet(void **state)
{
    struct world *w = world_two_connected(8);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct session_data d;
    uint32_t index = 0;
    unsigned renewals = 0;

    w->jitter_us = MSEC(40);
    session_want_data(world_session(a, b));
    world_run(w, SEC(2));
    while (renewals < 1000) {
        data_second(w, a, b);
        session_data(world_session(a, b), &d);
        renewals += seal_key_index(d.tx) != index;
        index = seal_key_index(d.tx);
    }
    world_run(w, SEC(1));
    assert_int_equal(b->data_got, a->data_sent);
    assert_int_equal(a->data_got, b->data_sent);
    assert_int_equal(a->data_refused + b->data_refused, 0);
    assert_int_equal(a->ups + b->ups, 2); /* through some thirty hourly handshakes as well */
    world_free(w);
}

static void renewal_with_a_fifth_lost_costs_no_packet_of_its_own(void **state)
{
    struct world *w = world_two_connected(9);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    session_want_data(world_session(a, b));
    world_run(w, SEC(2));
    w->loss_percent = 20;
    for (int i = 0; i < 3600; i++)
        data_second(w, a, b);
    /* What arrived was opened: losses are the wire's alone. */
    assert_int_equal(a->data_refused + b->data_refused, 0);
    assert_int_equal(a->downs + b->downs, 0);
    world_free(w);
}

static void an_idle_session_renews_nothing_and_forgets_its_keys(void **state)
{
    struct world *w = world_two_connected(10);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct session_data d;

    session_want_data(world_session(a, b));
    world_run(w, SEC(1));
    data_second(w, a, b);
    world_run(w, SEC(179));
    session_data(world_session(a, b), &d);
    assert_null(d.tx);
    assert_non_null(d.rx[0]);
    world_run(w, SEC(16));
    session_data(world_session(a, b), &d);
    assert_null(d.rx[0]);
    session_want_data(world_session(b, a));
    world_run(w, MSEC(20));
    assert_true(world_data_send(b, world_session(b, a)));
    world_run(w, MSEC(20));
    assert_int_equal(a->data_got, 11);
    world_free(w);
}

static void a_crashed_peer_with_data_flowing_is_noticed_in_four_seconds(void **state)
{
    for (usec delay_us = MSEC(1); delay_us <= MSEC(200); delay_us += MSEC(33)) {
        struct world *w = world_two_connected(11);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
        usec crashed_us;

        w->delay_us = delay_us;
        w->ring = true;
        session_want_data(world_session(a, b));
        world_run(w, SEC(2));
        for (int i = 0; i < 5; i++)
            data_second(w, a, b);
        b->dead = true;
        crashed_us = w->now_us;
        while (a->downs == 0) {
            world_data_send(a, world_session(a, b));
            world_run(w, MSEC(100));
            if (w->now_us / SEC(1) != (w->now_us - MSEC(100)) / SEC(1) && a->downs == 0)
                world_data_report(a, world_session(a, b));
        }
        assert_int_equal(a->last_down, SESSION_END_SILENT);
        assert_in_range(w->now_us - crashed_us, 0, SEC(4));
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_opening_at_once_end_with_one_session),
        cmocka_unit_test(a_restarted_peer_that_opens_is_taken_at_once),
        cmocka_unit_test(a_restart_right_after_coming_up_is_taken_too),
        cmocka_unit_test(a_peer_that_forgot_us_and_opens_again_is_replaced),
        cmocka_unit_test(packets_of_a_forgotten_session_meet_silence),
        cmocka_unit_test(a_second_open_by_endpoint_merges_into_the_session),
        cmocka_unit_test(a_fifth_lost_still_comes_up_and_stays_up),
        cmocka_unit_test(an_hour_brings_new_keys_and_nobody_notices),
        cmocka_unit_test(both_renewing_at_once_still_talk),
        cmocka_unit_test(closing_while_packets_are_in_flight_is_clean),
        cmocka_unit_test(the_oldest_session_without_hold_makes_room),
        cmocka_unit_test(data_waits_one_round_trip_for_its_first_key),
        cmocka_unit_test(both_wanting_data_at_once_agree),
        cmocka_unit_test(a_thousand_key_renewals_lose_no_packet),
        cmocka_unit_test(renewal_with_a_fifth_lost_costs_no_packet_of_its_own),
        cmocka_unit_test(an_idle_session_renews_nothing_and_forgets_its_keys),
        cmocka_unit_test(a_crashed_peer_with_data_flowing_is_noticed_in_four_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
