// link: peal_core
#include "overlay/core/err.h"
#include "overlay/core/heap.h"
#include "tests/unit/cm.h"

#include <string.h>

static void equal_times_fire_in_the_order_they_were_set(void **state)
{
    struct timer timers[20];
    struct heap h;

    memset(timers, 0, sizeof timers);
    heap_init(&h);
    for (size_t i = 0; i < ARRAY_LEN(timers); i++)
        heap_set(&h, &timers[i], SEC(5));
    heap_set(&h, &timers[0], SEC(5)); /* set again: now the last */
    for (size_t i = 1; i < ARRAY_LEN(timers); i++)
        assert_ptr_equal(heap_pop(&h, SEC(5)), &timers[i]);
    assert_ptr_equal(heap_pop(&h, SEC(5)), &timers[0]);
    assert_null(heap_pop(&h, SEC(5)));
    heap_clear(&h);
}

static void nothing_fires_before_its_time(void **state)
{
    struct timer t = {.pos = 0};
    struct heap h;

    heap_init(&h);
    assert_true(heap_deadline(&h) == USEC_NEVER);
    assert_null(heap_pop(&h, USEC_NEVER));
    heap_set(&h, &t, 100);
    assert_int_equal(heap_deadline(&h), 100);
    assert_null(heap_pop(&h, 99));
    assert_ptr_equal(heap_pop(&h, 100), &t);
    assert_int_equal(t.pos, 0);
    assert_true(t.at_us == USEC_NEVER);
    heap_set(&h, &t, USEC_NEVER); /* taking out what is not in is fine */
    assert_true(heap_deadline(&h) == USEC_NEVER);
    heap_clear(&h);
}

static void clearing_forgets_the_timers(void **state)
{
    struct timer t = {.pos = 0};
    struct heap h;

    heap_init(&h);
    heap_set(&h, &t, 1);
    heap_clear(&h);
    assert_int_equal(t.pos, 0);
    heap_set(&h, &t, 2);
    assert_ptr_equal(heap_pop(&h, 2), &t);
    heap_clear(&h);
}

/* The earliest by (time, order of setting), found the slow way. */
static struct timer *earliest(struct timer *timers, size_t n)
{
    struct timer *best = NULL;

    for (size_t i = 0; i < n; i++)
        if (timers[i].pos != 0 && (best == NULL || timers[i].at_us < best->at_us ||
                                   (timers[i].at_us == best->at_us && timers[i].seq < best->seq)))
            best = &timers[i];
    return best;
}

static void sets_moves_and_removals_agree_with_a_model(void **state)
{
    enum { TIMERS = 100, STEPS = 20000 };
    static struct timer timers[TIMERS];
    uint32_t random = 1;
    struct heap h;

    heap_init(&h);
    for (int step = 0; step < STEPS; step++) {
        struct timer *t, *first;

        random = random * 1664525u + 1013904223u;
        t = &timers[(random >> 8) % TIMERS];
        if (random >> 30 == 0)
            heap_set(&h, t, USEC_NEVER);
        else
            heap_set(&h, t, (random >> 20) % 64);
        first = earliest(timers, TIMERS);
        assert_true(heap_deadline(&h) == (first != NULL ? first->at_us : USEC_NEVER));
        if (random >> 29 == 7)
            assert_ptr_equal(heap_pop(&h, 63), first);
    }
    for (struct timer *first; (first = earliest(timers, TIMERS)) != NULL;)
        assert_ptr_equal(heap_pop(&h, 63), first);
    assert_int_equal(h.count, 0);
    heap_clear(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_times_fire_in_the_order_they_were_set),
        cmocka_unit_test(nothing_fires_before_its_time),
        cmocka_unit_test(clearing_forgets_the_timers),
        cmocka_unit_test(sets_moves_and_removals_agree_with_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
