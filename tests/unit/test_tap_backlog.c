// link: peal_tap
/* A link of a given rate below a sender that offers more or less than it carries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tap/backlog.c"

enum { STEP_US = 500 };

struct link {
    struct backlog backlog;
    size_t waiting, bytes_a_step; /* what it carries */
    usec now_us;
    size_t offered, refused;
};

static void link_init(struct link *l, size_t mbit)
{
    *l = (struct link){.bytes_a_step = mbit * STEP_US / 8, .now_us = SEC(1)};
    backlog_init(&l->backlog);
}

/* For `us`, `percent` of what the link carries is offered, in bursts of `burst` steps. */
static void offer(struct link *l, usec us, unsigned percent, unsigned burst)
{
    for (usec end = l->now_us + us; l->now_us < end; l->now_us += STEP_US) {
        l->waiting -= l->waiting < l->bytes_a_step ? l->waiting : l->bytes_a_step;
        if (l->now_us / STEP_US % burst != 0) {
            continue;
        }
        size_t want = l->bytes_a_step * percent / 100 * burst;
        size_t room = backlog_room(&l->backlog, l->waiting, l->now_us);
        size_t sent = want < room ? want : room;
        backlog_sent(&l->backlog, sent);
        l->waiting += sent;
        l->offered += want;
        l->refused += want - sent;
    }
}

static usec delay_us(const struct link *l)
{
    return (usec)l->waiting * STEP_US / l->bytes_a_step;
}

static void a_link_that_keeps_up_has_no_limit(void **state)
{
    static const size_t mbits[] = {10, 100, 10000};
    for (size_t i = 0; i < sizeof(mbits) / sizeof(*mbits); i++) {
        struct link l;
        link_init(&l, mbits[i]);
        offer(&l, SEC(3), 95, 1);
        offer(&l, SEC(3), 90, 40); /* 20 ms at once, then nothing */
        assert_int_equal(l.refused, 0);
        assert_true(l.backlog.limit == BACKLOG_NO_LIMIT);
    }
}

static void a_standing_queue_is_held_short(void **state)
{
    static const size_t mbits[] = {25, 50, 200, 1000, 5000};
    for (size_t i = 0; i < sizeof(mbits) / sizeof(*mbits); i++) {
        struct link l;
        link_init(&l, mbits[i]);
        offer(&l, MSEC(300), 150, 1);
        for (unsigned n = 0; n < 100; n++) {
            offer(&l, MSEC(20), 150, 1);
            assert_in_range(delay_us(&l), MSEC(2), MSEC(8)); /* short, and never dry */
        }
    }
}

static void a_slow_link_keeps_some_packets(void **state)
{
    struct link l;
    link_init(&l, 2);
    offer(&l, SEC(3), 200, 1);
    assert_in_range(l.waiting, LIMIT_MIN / 2, LIMIT_MIN);
}

/* As TCP does when a packet was dropped. */
static void a_sender_that_backs_off_now_and_then_gets_no_more_room(void **state)
{
    static const size_t mbits[] = {10, 30, 100, 1000};
    for (size_t i = 0; i < sizeof(mbits) / sizeof(*mbits); i++) {
        struct link l;
        link_init(&l, mbits[i]);
        offer(&l, MSEC(400), 150, 1);
        for (unsigned n = 0; n < 50; n++) {
            offer(&l, MSEC(60), 150, 1);
            assert_in_range(delay_us(&l), MSEC(2), MSEC(8));
            offer(&l, MSEC(12), 0, 1);
            assert_int_equal(l.waiting, 0);
        }
    }
}

static void the_limit_goes_when_the_link_gets_faster(void **state)
{
    struct link l;
    link_init(&l, 20);
    offer(&l, SEC(2), 200, 1);
    assert_true(l.backlog.limit != BACKLOG_NO_LIMIT);
    l.bytes_a_step *= 50;
    offer(&l, SEC(3), 80, 1);
    assert_true(l.backlog.limit == BACKLOG_NO_LIMIT);
    l.refused = 0;
    offer(&l, SEC(1), 80, 1);
    assert_int_equal(l.refused, 0);
}

static void silence_forgets(void **state)
{
    struct link l;
    link_init(&l, 20);
    offer(&l, SEC(2), 200, 1);
    assert_true(l.backlog.limit != BACKLOG_NO_LIMIT);
    assert_true(backlog_room(&l.backlog, 0, l.now_us + SEC(1)) == BACKLOG_NO_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_that_keeps_up_has_no_limit),
        cmocka_unit_test(a_standing_queue_is_held_short),
        cmocka_unit_test(a_slow_link_keeps_some_packets),
        cmocka_unit_test(a_sender_that_backs_off_now_and_then_gets_no_more_room),
        cmocka_unit_test(the_limit_goes_when_the_link_gets_faster),
        cmocka_unit_test(silence_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
