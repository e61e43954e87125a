// link: peal_tap
/* What lies between workers and the control thread: upcall rings, the bell, snapshots; and what a
 * worker says seldom. Two of the tests are races for the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "tap/seldom.c"
#include "tap/snapshot.c"
#include "tap/upcall.c"

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void a_ring_keeps_order_and_bytes(void **state)
{
    struct upcall *u = upcall_new();
    struct plane_item out;
    uint8_t bytes[3000];
    assert_false(upcall_take(u, &out));
    for (uint32_t i = 0; i < 2000; i++) { /* goes round many times, in every alignment */
        size_t len = i * 7 % sizeof(bytes);
        memset(bytes, (int)i, len);
        struct plane_item in = {
            .kind = PLANE_LOCAL, .network = 5, .flags = 6, .token = i, .bytes = bytes, .len = len};
        assert_true(upcall_put(u, &in));
        in.token = ~i;
        in.len = 0;
        assert_true(upcall_put(u, &in));
        assert_true(upcall_take(u, &out));
        assert_int_equal(out.token, i);
        assert_int_equal(out.network, 5);
        assert_int_equal(out.flags, 6);
        assert_int_equal(out.len, len);
        assert_memory_equal(out.bytes, bytes, len);
        assert_true(upcall_take(u, &out));
        assert_int_equal(out.token, ~i);
        assert_false(upcall_take(u, &out));
    }
    upcall_free(u);
}

static unsigned fill(struct upcall *u, const struct plane_item *item)
{
    unsigned n = 0;
    while (upcall_put(u, item)) {
        n++;
    }
    return n;
}

static void a_full_ring_keeps_what_it_has(void **state)
{
    uint8_t bytes[1000] = {0};
    struct upcall *u = upcall_new();
    struct plane_item item = {.kind = PLANE_LOCAL, .bytes = bytes, .len = sizeof(bytes)}, out;
    for (int round = 0; round < 5; round++) {
        unsigned put = fill(u, &item), taken = 0;
        assert_in_range(put, UPCALL_RING_BYTES / 1200, UPCALL_RING_BYTES / 1000);
        while (upcall_take(u, &out)) {
            taken++;
        }
        assert_int_equal(put, taken);
    }
    upcall_free(u);
}

/* What a reader still looks at is not written over. */
static void an_item_stays_until_the_next_is_taken(void **state)
{
    uint8_t first[1000], second[1000];
    memset(first, 1, sizeof(first));
    memset(second, 2, sizeof(second));
    struct upcall *u = upcall_new();
    struct plane_item item = {.kind = PLANE_LOCAL, .bytes = first, .len = sizeof(first)}, out;
    assert_true(upcall_put(u, &item));
    assert_true(upcall_take(u, &out));
    item.bytes = second;
    (void)fill(u, &item);
    assert_memory_equal(out.bytes, first, sizeof(first));
    upcall_free(u);
}

/* Least important first: each kind still fits where the one before was refused. */
static void floods_leave_room_for_what_matters_more(void **state)
{
    uint8_t frame[1000] = {0}, handshake[1000] = {PACKET_HANDSHAKE},
            control[1000] = {PACKET_CONTROL};
    struct plane_item items[] = {
        {.kind = PLANE_FRAME, .bytes = frame, .len = 1000},
        {.kind = PLANE_PACKET, .bytes = handshake, .len = 1000},
        {.kind = PLANE_PACKET, .bytes = control, .len = 1000},
    };
    struct upcall *u = upcall_new();
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        assert_in_range(fill(u, &items[i]), 50, 150);
        for (size_t j = 0; j <= i; j++) {
            assert_false(upcall_put(u, &items[j]));
        }
    }
    upcall_free(u);
}

static void a_bell_is_readable_until_answered(void **state)
{
    struct bell b;
    assert_int_equal(bell_init(&b), 0);
    assert_false(readable(b.fd));
    bell_ring(&b);
    bell_ring(&b);
    assert_true(readable(b.fd));
    bell_answer(&b);
    assert_false(readable(b.fd));
    bell_ring(&b);
    assert_true(readable(b.fd));
    bell_close(&b);
}

enum { RACE_ITEMS = 100000 };

struct race {
    struct upcall *ring;
    struct bell bell;
};

static void *write_items(void *arg)
{
    struct race *r = arg;
    for (uint32_t i = 0; i < RACE_ITEMS; i++) {
        uint8_t bytes[64];
        memset(bytes, (int)i, sizeof(bytes));
        struct plane_item item = {
            .kind = PLANE_LOCAL, .token = i, .bytes = bytes, .len = i % sizeof(bytes)};
        while (!upcall_put(r->ring, &item)) {
            bell_ring(&r->bell);
            sched_yield();
        }
        bell_ring(&r->bell);
    }
    return NULL;
}

/* The reader sleeps on the bell whenever it found the ring empty: no item may be missed. */
static void no_wake_up_is_lost(void **state)
{
    struct race r = {.ring = upcall_new()};
    pthread_t writer;
    struct plane_item item;
    assert_int_equal(bell_init(&r.bell), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_items, &r), 0);
    for (uint32_t next = 0; next < RACE_ITEMS;) {
        struct pollfd p = {.fd = r.bell.fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 20000), 1);
        bell_answer(&r.bell);
        while (upcall_take(r.ring, &item)) {
            assert_int_equal(item.token, next);
            assert_int_equal(item.len, next % 64);
            assert_true(item.len == 0 || item.bytes[item.len - 1] == (uint8_t)next);
            next++;
        }
    }
    pthread_join(writer, NULL);
    bell_close(&r.bell);
    upcall_free(r.ring);
}

/* A table that can be told apart and whose death can be seen: by the references of its flow. */
static struct forward *table_of(struct forward_flow *flow)
{
    struct forward *f = forward_new();
    struct forward_peer peer = {.flow = flow};
    int p = forward_add_peer(f, &peer);
    struct addr a = addr_v4(1);
    assert_int_equal(forward_add_address(f, p, &a), 0);
    return f;
}

static void a_snapshot_lives_as_long_as_its_readers(void **state)
{
    struct snapshot s;
    struct forward_flow *first = forward_flow_new(1), *second = forward_flow_new(2);
    struct addr a = addr_v4(1);
    snapshot_init(&s, 2, table_of(first));
    snapshot_enter(&s, 0);
    const struct forward *seen = snapshot_current(&s);
    snapshot_publish(&s, table_of(second));
    assert_int_equal(atomic_load(&first->refs), 2);
    assert_int_equal(forward_lookup(seen, 0, &a)->flow->token, 1);
    snapshot_enter(&s, 1);
    const struct forward *newer = snapshot_current(&s);
    assert_int_equal(forward_lookup(newer, 0, &a)->flow->token, 2);
    snapshot_reclaim(&s);
    assert_int_equal(atomic_load(&first->refs), 2);
    assert_true(snapshot_leave(&s, 0)); /* the writer waits for this one */
    snapshot_reclaim(&s);
    assert_int_equal(atomic_load(&first->refs), 1);
    assert_false(snapshot_leave(&s, 1));
    snapshot_clear(&s);
    assert_int_equal(atomic_load(&second->refs), 1);
    forward_flow_unref(first);
    forward_flow_unref(second);
}

/* A reader that left and came back reads the new table, so the old one is free. */
static void a_reader_that_came_back_holds_nothing_old(void **state)
{
    struct snapshot s;
    struct forward_flow *flow = forward_flow_new(1);
    snapshot_init(&s, 1, table_of(flow));
    snapshot_enter(&s, 0);
    snapshot_publish(&s, forward_new());
    (void)snapshot_leave(&s, 0);
    snapshot_enter(&s, 0);
    snapshot_reclaim(&s);
    assert_int_equal(atomic_load(&flow->refs), 1);
    (void)snapshot_leave(&s, 0);
    snapshot_clear(&s);
    forward_flow_unref(flow);
}

struct readers {
    struct snapshot snapshot;
    _Atomic bool stop;
    _Atomic unsigned started;
};

static void *read_tables(void *arg)
{
    struct readers *r = arg;
    unsigned me = atomic_fetch_add(&r->started, 1);
    struct addr a = addr_v4(1);
    while (!atomic_load(&r->stop)) {
        snapshot_enter(&r->snapshot, me);
        const struct forward *f = snapshot_current(&r->snapshot);
        if (forward_lookup(f, 0, &a)->flow->token != 1) { /* a freed table would not say so */
            return r;
        }
        (void)snapshot_leave(&r->snapshot, me);
    }
    return NULL;
}

static void tables_change_under_readers(void **state)
{
    struct readers r = {0};
    pthread_t threads[3];
    struct forward_flow *flow = forward_flow_new(1);
    snapshot_init(&r.snapshot, ARRAY_LEN(threads), table_of(flow));
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_tables, &r), 0);
    }
    while (atomic_load(&r.started) < ARRAY_LEN(threads)) {
        sched_yield();
    }
    for (unsigned i = 0; i < 3000; i++) {
        snapshot_publish(&r.snapshot, table_of(flow));
        assert_in_range(atomic_load(&flow->refs), 2, 2 + SNAPSHOT_RETIRED_MAX);
        snapshot_reclaim(&r.snapshot);
    }
    snapshot_synchronize(&r.snapshot);
    snapshot_reclaim(&r.snapshot);
    assert_int_equal(atomic_load(&flow->refs), 2);
    atomic_store(&r.stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *failed = &r;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    snapshot_clear(&r.snapshot);
    forward_flow_unref(flow);
}

static void the_same_is_said_once_an_interval(void **state)
{
    struct seldom s = {0};
    struct addr a = addr_v4(1), b = addr_v4(2);
    assert_true(seldom_pass(&s, SELDOM_RESOLVE, 0, &a, 0, SEC(1)));
    assert_false(seldom_pass(&s, SELDOM_RESOLVE, 0, &a, SEC(1) - 1, SEC(1)));
    assert_true(seldom_pass(&s, SELDOM_RESOLVE, 0, &b, 5, SEC(1)));
    assert_true(seldom_pass(&s, SELDOM_TOO_BIG, 0, &a, 5, SEC(1)));
    assert_true(seldom_pass(&s, SELDOM_RESOLVE, 1, &a, 5, SEC(1)));
    assert_false(seldom_pass(&s, SELDOM_RESOLVE, 0, &b, 5, SEC(1)));
    assert_true(seldom_pass(&s, SELDOM_RESOLVE, 0, &a, SEC(1), SEC(1)));
    assert_false(seldom_pass(&s, SELDOM_RESOLVE, 0, &a, SEC(1) + 1, SEC(1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_keeps_order_and_bytes),
        cmocka_unit_test(a_full_ring_keeps_what_it_has),
        cmocka_unit_test(an_item_stays_until_the_next_is_taken),
        cmocka_unit_test(floods_leave_room_for_what_matters_more),
        cmocka_unit_test(a_bell_is_readable_until_answered),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(a_snapshot_lives_as_long_as_its_readers),
        cmocka_unit_test(a_reader_that_came_back_holds_nothing_old),
        cmocka_unit_test(tables_change_under_readers),
        cmocka_unit_test(the_same_is_said_once_an_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
