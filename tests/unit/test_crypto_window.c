// link: peal_core Threads::Threads
#include "overlay/crypto/window.c"
#include "tests/unit/cm.h"

#include <pthread.h>
#include <string.h>

enum { SIZE = 512 };

static struct window *window_of(uint32_t size)
{
    struct window *w = window_new(size);

    assert_non_null(w);
    return w;
}

static void each_counter_is_accepted_once(void **state)
{
    struct window *w = window_of(SIZE);

    assert_int_equal(window_next(w), 0);
    for (uint64_t c = 0; c < 5 * SIZE; c++) {
        assert_true(window_mark(w, c));
        assert_false(window_mark(w, c));
        assert_int_equal(window_next(w), c + 1);
    }
    window_free(w);
}

static void a_new_window_has_not_seen_counter_zero(void **state)
{
    struct window *w = window_of(SIZE);

    assert_true(window_mark(w, 31));
    assert_true(window_mark(w, 0));
    assert_false(window_mark(w, 0));
    window_free(w);
}

/* Exactly the newest SIZE are open, wherever the highest lies in its block. */
static void the_window_has_its_size_at_every_alignment(void **state)
{
    for (uint64_t highest = 4 * SIZE; highest < 4 * SIZE + 2 * BLOCK_BITS; highest++) {
        struct window *w = window_of(SIZE);

        assert_true(window_mark(w, highest));
        for (uint64_t back = 1; back < SIZE; back++)
            assert_true(window_mark(w, highest - back));
        assert_false(window_mark(w, highest - SIZE));
        assert_false(window_mark(w, 0));
        for (uint64_t back = 0; back < SIZE; back++)
            assert_false(window_mark(w, highest - back));
        window_free(w);
    }
}

static void a_jump_closes_everything_behind_it(void **state)
{
    struct window *w = window_of(SIZE);

    for (uint64_t c = 0; c < SIZE; c++)
        assert_true(window_mark(w, c));
    assert_true(window_mark(w, UINT64_C(1) << 27));
    for (uint64_t c = 0; c < SIZE; c++)
        assert_false(window_mark(w, c));
    assert_true(window_mark(w, (UINT64_C(1) << 27) - 1));
    window_free(w);
}

/* Against a plain bitmap, in a random order whose spread is a little more than the window. */
static void agrees_with_a_model(void **state)
{
    enum { COUNT = 60000 };
    static bool seen[COUNT + 2 * SIZE];
    struct window *w = window_of(SIZE);
    uint64_t next = 0;
    uint32_t random = 7;

    memset(seen, 0, sizeof seen);
    for (uint64_t step = 0; step < COUNT; step++) {
        uint64_t c;
        bool expected;

        random = random * 1664525u + 1013904223u;
        c = step + (random >> 8) % (SIZE + SIZE / 2);
        expected = !seen[c] && c + SIZE >= next;
        assert_int_equal(window_mark(w, c), expected);
        seen[c] = seen[c] || expected;
        if (expected && c + 1 > next)
            next = c + 1;
    }
    window_free(w);
}

enum { THREADS = 4, RACE_COUNT = 200000, RACE_SIZE = 16384 };

struct race {
    struct window *w;
    uint64_t accepted;
    uint32_t random;
};

static atomic_uchar times_accepted[RACE_COUNT];

/* Every thread offers every counter, in an order of its own that strays by up to 64. */
static void *run(void *arg)
{
    struct race *r = arg;

    for (uint64_t c = 0; c < RACE_COUNT; c++) {
        uint64_t stray;

        r->random = r->random * 1664525u + 1013904223u;
        stray = c ^ ((r->random >> 16) & 63);
        if (stray < RACE_COUNT && window_mark(r->w, stray)) {
            atomic_fetch_add(&times_accepted[stray], 1);
            r->accepted++;
        }
    }
    return NULL;
}

static void racing_threads_accept_each_counter_at_most_once(void **state)
{
    struct window *w = window_of(RACE_SIZE);
    struct race races[THREADS];
    pthread_t threads[THREADS];
    uint64_t accepted = 0;

    for (uint32_t i = 0; i < THREADS; i++) {
        races[i] = (struct race){.w = w, .random = i + 1};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &races[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        accepted += races[i].accepted;
    }
    for (size_t c = 0; c < RACE_COUNT; c++)
        assert_true(times_accepted[c] <= 1);
    assert_true(accepted > RACE_COUNT / 2);
    assert_int_equal(window_next(w), RACE_COUNT);
    window_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_counter_is_accepted_once),
        cmocka_unit_test(a_new_window_has_not_seen_counter_zero),
        cmocka_unit_test(the_window_has_its_size_at_every_alignment),
        cmocka_unit_test(a_jump_closes_everything_behind_it),
        cmocka_unit_test(agrees_with_a_model),
        cmocka_unit_test(racing_threads_accept_each_counter_at_most_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
