// link: peal_tap
/* First contact: what the control thread still has is not overtaken by what a worker could send or
 * deliver itself by now. */
#include "tests/unit/plane_world.h"

#include "tap/fence.h"

static size_t numbered(uint8_t *frame, uint16_t number)
{
    uint8_t data[2];
    put_u16(data, number);
    return put_frame(frame, "10.77.0.2", "10.77.0.3", data, sizeof(data));
}

static void push_numbered(const struct machine *m, uint16_t number)
{
    uint8_t frame[100];
    push(m, frame, numbered(frame, number));
}

static void takes_numbered(struct machine *m, uint16_t number)
{
    struct plane_item item;
    next_item(m, &item);
    assert_int_equal(item.kind, PLANE_FRAME);
    assert_int_equal(get_u16(item.bytes + item.len - 2), number);
}

static void arrives_numbered(const struct machine *m, uint16_t number)
{
    uint8_t frame[200];
    size_t len = read_frame(m, frame, sizeof(frame));
    assert_int_equal(get_u16(frame + len - 2), number);
}

/* A does not know B yet, B knows A. */
static void strangers_start(struct pair *p)
{
    struct seal_key *back = tx_key(1), *rx = rx_key(0);
    machine_start(&p->a, 2, 1);
    machine_start(&p->b, 3, 1);
    plane_publish(p->a.plane, table_of(&p->a, 3, NULL, NULL, NULL));
    plane_publish(p->b.plane, table_of(&p->b, 2, &p->a.at, back, rx));
    seal_key_unref(back);
    seal_key_unref(rx);
}

static void meet(struct pair *p, struct seal_key *tx)
{
    plane_publish(p->a.plane, table_of(&p->a, 3, &p->b.at, tx, NULL));
    snapshot_synchronize(&p->a.plane->snapshot); /* its round with the table before is over */
}

static void frames_wait_behind_those_that_were_handed_up(void **state)
{
    struct pair p;
    struct plane_item item;
    struct seal_key *tx = tx_key(0);
    strangers_start(&p);
    push_numbered(&p.a, 1);
    sync_device(&p.a);
    meet(&p, tx);
    push_numbered(&p.a, 2); /* the first is still in the ring */
    takes_numbered(&p.a, 1);
    takes_numbered(&p.a, 2);
    push_numbered(&p.a, 3); /* both were taken, and may not have left yet */
    takes_numbered(&p.a, 3);
    assert_false(plane_next(p.a.plane, &item));
    plane_settle(p.a.plane);
    push_numbered(&p.a, 4);
    arrives_numbered(&p.b, 4);
    assert_false(plane_next(p.a.plane, &item));
    seal_key_unref(tx);
    pair_stop(&p);
}

static void frames_wait_while_the_control_thread_is_sending(void **state)
{
    struct pair p;
    pair_start(&p, 1);
    push_numbered(&p.a, 1);
    arrives_numbered(&p.b, 1);
    atomic_store(&p.a.flow->held, true);
    push_numbered(&p.a, 2);
    takes_numbered(&p.a, 2);
    atomic_store(&p.a.flow->held, false);
    plane_settle(p.a.plane);
    push_numbered(&p.a, 3);
    arrives_numbered(&p.b, 3);
    pair_stop(&p);
}

/* It loses some of them rather than that none goes the short way ever. */
static void a_flow_that_outruns_the_control_thread_comes_to_rest(void **state)
{
    enum { MORE = 20 };
    struct pair p;
    struct plane_item item;
    struct seal_key *tx = tx_key(0);
    unsigned taken = 0;
    strangers_start(&p);
    push_numbered(&p.a, 0);
    sync_device(&p.a);
    meet(&p, tx);
    for (uint16_t i = 1; i <= FENCE_LATE_MAX + MORE; i++) {
        push_numbered(&p.a, i);
    }
    sync_device(&p.a);
    assert_int_equal(plane_drops(p.a.plane, PLANE_DROP_RING_FULL), MORE);
    while (plane_next(p.a.plane, &item)) {
        assert_int_equal(get_u16(item.bytes + item.len - 2), taken);
        taken++;
    }
    assert_int_equal(taken, FENCE_LATE_MAX + 1);
    plane_settle(p.a.plane);
    push_numbered(&p.a, 1000);
    arrives_numbered(&p.b, 1000);
    seal_key_unref(tx);
    pair_stop(&p);
}

static void packets_wait_behind_those_whose_source_is_being_asked_for(void **state)
{
    struct pair p;
    struct plane_item item;
    struct seal_key *tx = tx_key(0), *back = tx_key(1), *rx = rx_key(0);
    strangers_start(&p);
    meet(&p, tx);
    /* B opens what A sends, but its table has another address for A. */
    plane_publish(p.b.plane, table_of(&p.b, 9, &p.a.at, back, rx));
    push_numbered(&p.a, 1);
    assert_true(wait_readable(plane_event_fd(p.b.plane)));
    plane_publish(p.b.plane, table_of(&p.b, 2, &p.a.at, back, rx));
    push_numbered(&p.a, 2);
    for (uint16_t i = 1; i <= 2; i++) {
        next_item(&p.b, &item);
        assert_int_equal(item.kind, PLANE_UNVERIFIED);
        assert_int_equal(get_u16(item.bytes + item.len - 2), i);
    }
    plane_settle(p.b.plane);
    push_numbered(&p.a, 3);
    arrives_numbered(&p.b, 3);
    seal_key_unref(tx);
    seal_key_unref(back);
    seal_key_unref(rx);
    pair_stop(&p);
}

/* Addresses far apart do not wait for one another, and positions may wrap. */
static void a_fence_holds_its_own_address_only(void **state)
{
    struct fence f = {.used = false};
    struct addr a = addr_of("10.77.0.3"), b = addr_of("10.77.0.4");
    size_t at = SIZE_MAX - 10;
    assert_int_equal(fence_ask(&f, FENCE_OUT, 0, &a, at), FENCE_OPEN);
    fence_note(&f, FENCE_OUT, 0, &a, at + 20);
    assert_int_equal(fence_ask(&f, FENCE_OUT, 0, &a, at), FENCE_HELD);
    assert_int_equal(fence_ask(&f, FENCE_OUT, 0, &b, at), FENCE_OPEN);
    assert_int_equal(fence_ask(&f, FENCE_IN, 0, &a, at), FENCE_OPEN);
    assert_int_equal(fence_ask(&f, FENCE_OUT, 0, &a, at + 19), FENCE_HELD);
    assert_int_equal(fence_ask(&f, FENCE_OUT, 0, &a, at + 20), FENCE_OPEN);
    assert_false(f.used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_wait_behind_those_that_were_handed_up),
        cmocka_unit_test(frames_wait_while_the_control_thread_is_sending),
        cmocka_unit_test(a_flow_that_outruns_the_control_thread_comes_to_rest),
        cmocka_unit_test(packets_wait_behind_those_whose_source_is_being_asked_for),
        cmocka_unit_test(a_fence_holds_its_own_address_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
