// link: peal_tap
/* Relay packets through whole planes: A and B talk over R, which has no keys of theirs. */
#include "tests/unit/plane_world.h"

enum { A_IN = 0x01aaaaaa, B_IN = 0x01bbbbbb, R_FROM_A = 0x01000a0a, R_FROM_B = 0x01000b0b };

struct trio {
    struct machine a, b, r;
    struct meter *each, *all;
};

/* A machine that reaches its peer over R only. */
static struct forward *end_table(const struct machine *m, unsigned peer_number,
                                 const struct machine *r, uint32_t out, uint32_t in,
                                 struct seal_key *tx, struct seal_key *rx)
{
    struct forward *f = forward_new();
    struct forward_peer peer = {
        .path = FORWARD_RELAY, .to = r->at, .channel = out, .tx = tx, .flow = m->flow};
    struct forward_leg leg = {.channel = in, .from = r->at, .ends_here = true};
    char text[ADDR_TEXT_SIZE];

    assert_int_equal(forward_set_network(f, 0, &m->network), 0);
    int p = forward_add_peer(f, &peer);
    snprintf(text, sizeof(text), "10.77.0.%u", peer_number);
    struct addr v4 = addr_of(text);
    assert_int_equal(forward_add_address(f, p, &v4), 0);
    assert_int_equal(forward_add_rx(f, p, rx), 0);
    assert_int_equal(forward_add_leg(f, &leg), 0);
    return f;
}

static void relay_table(struct trio *t)
{
    struct forward *f = forward_new();
    struct forward_leg there = {.channel = R_FROM_A,
                                .from = t->a.at,
                                .to = t->b.at,
                                .onward = B_IN,
                                .each = t->each,
                                .all = t->all};
    struct forward_leg back = {.channel = R_FROM_B,
                               .from = t->b.at,
                               .to = t->a.at,
                               .onward = A_IN,
                               .each = t->each,
                               .all = t->all};

    assert_int_equal(forward_add_leg(f, &there), 0);
    assert_int_equal(forward_add_leg(f, &back), 0);
    plane_publish(t->r.plane, f);
}

static void trio_start(struct trio *t, uint64_t bytes_per_s)
{
    struct seal_key *ab_tx = tx_key(0), *ab_rx = rx_key(0), *ba_tx = tx_key(1), *ba_rx = rx_key(1);

    machine_start(&t->a, 2, 1);
    machine_start(&t->b, 3, 1);
    machine_start(&t->r, 9, 1);
    t->each = meter_new(bytes_per_s);
    t->all = meter_new(0);
    plane_publish(t->a.plane, end_table(&t->a, 3, &t->r, R_FROM_A, A_IN, ab_tx, ba_rx));
    plane_publish(t->b.plane, end_table(&t->b, 2, &t->r, R_FROM_B, B_IN, ba_tx, ab_rx));
    relay_table(t);
    seal_key_unref(ab_tx);
    seal_key_unref(ab_rx);
    seal_key_unref(ba_tx);
    seal_key_unref(ba_rx);
}

static void trio_stop(struct trio *t)
{
    machine_stop(&t->a);
    machine_stop(&t->b);
    machine_stop(&t->r);
    assert_int_equal(atomic_load(&t->each->refs), 1); /* the table let go of them */
    meter_unref(t->each);
    meter_unref(t->all);
}

static void data_goes_over_a_relay_that_cannot_read_it(void **state)
{
    struct trio t;
    struct plane_item item;

    trio_start(&t, 0);
    for (uint8_t i = 0; i < 50; i++) {
        carry(&t.a, "10.77.0.2", &t.b, "10.77.0.3", i, 1 + i * 27u);
        carry(&t.b, "10.77.0.3", &t.a, "10.77.0.2", i, 1 + i * 27u);
    }
    assert_int_equal(plane_relayed(t.r.plane), 100);
    assert_int_equal(atomic_load(&t.each->packets), 100);
    counts_to(&t.a.flow->rx_packets, 50);
    counts_to(&t.b.flow->rx_packets, 50);
    /* The relay's address is no new address of the peer. */
    assert_false(plane_next(t.a.plane, &item));
    assert_false(plane_next(t.b.plane, &item));
    assert_false(plane_next(t.r.plane, &item));
    trio_stop(&t);
}

static void send_from(const struct machine *from, const struct machine *to, const uint8_t *pkt,
                      size_t len)
{
    union sockaddr_any a;
    socklen_t a_len = sockaddr_put(&a, &to->at, false);

    assert_int_equal(sendto(from->udp, pkt, len, 0, &a.any, a_len), len);
}

static void what_fits_no_leg_is_the_control_threads_or_nobodys(void **state)
{
    static const struct {
        const char *rule;
        uint32_t head, channel;
        bool from_b;
        uint8_t inner;
        size_t len;
        bool item;
        enum plane_drop drop;
    } rows[] = {
        {"no such channel", 0x84000000, 0x01777777, false, 0x82, 40, true, PLANE_DROP_COUNT},
        {"channel 0", 0x84000000, 0, false, 0x82, 40, true, PLANE_DROP_COUNT},
        {"another's channel", 0x84000000, R_FROM_A, true, 0x82, 40, true, PLANE_DROP_COUNT},
        {"not zero", 0x84000001, R_FROM_A, false, 0x82, 40, true, PLANE_DROP_COUNT},
        {"relay in relay", 0x84000000, R_FROM_A, false, 0x84, 40, true, PLANE_DROP_COUNT},
        {"nothing inside", 0x84000000, R_FROM_A, false, 0, 8, false, PLANE_DROP_RUNT},
        {"cut short", 0x84000000, R_FROM_A, false, 0, 5, false, PLANE_DROP_RUNT},
    };
    struct trio t;

    trio_start(&t, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct drops before = drops_of(&t.r);
        uint64_t relayed = plane_relayed(t.r.plane);
        uint8_t pkt[40] = {0};
        struct plane_item item;

        put_u32(pkt, rows[i].head);
        put_u32(pkt + 4, rows[i].channel);
        pkt[8] = rows[i].inner;
        send_from(rows[i].from_b ? &t.b : &t.a, &t.r, pkt, rows[i].len);
        if (rows[i].item) {
            next_item(&t.r, &item);
            assert_int_equal(item.kind, PLANE_PACKET);
            assert_int_equal(item.len, rows[i].len);
            assert_memory_equal(item.bytes, pkt, item.len);
        }
        carry(&t.a, "10.77.0.2", &t.b, "10.77.0.3", 1, 100); /* what was sent before was seen */
        struct drops after = drops_of(&t.r);

        if (!grew_by(&before, &after, rows[i].drop) || plane_relayed(t.r.plane) != relayed + 1) {
            print_growth(&before, &after);
            fail_msg("%s", rows[i].rule);
        }
    }
    trio_stop(&t);
}

static void control_packets_that_end_here_go_up_whole(void **state)
{
    uint8_t pkt[40] = {PACKET_RELAY};
    struct plane_item item;
    struct trio t;

    trio_start(&t, 0);
    put_u32(pkt + 4, R_FROM_A);
    pkt[8] = PACKET_CONTROL;
    send_from(&t.a, &t.r, pkt, sizeof(pkt));
    next_item(&t.b, &item);
    assert_int_equal(item.kind, PLANE_PACKET);
    assert_int_equal(item.len, sizeof(pkt));
    assert_int_equal(get_u32(item.bytes + 4), B_IN);
    assert_memory_equal(item.bytes + 8, pkt + 8, sizeof(pkt) - 8);
    assert_true(endpoint_eq(&item.from, &t.r.at));
    trio_stop(&t);
}

/* What came as one message goes on in as few, but for what lies between and goes elsewhere. */
static void joined_packets_go_on_joined(void **state)
{
    enum { PACKETS = 40, SIZE = 1000, OURS = 17, LAST = 333 };
    static uint8_t message[(PACKETS - 1) * SIZE + LAST];
    struct plane_item item;
    struct trio t;
    int size = SIZE;

    trio_start(&t, 0);
    for (uint8_t i = 0; i < PACKETS; i++) {
        uint8_t *pkt = message + i * SIZE;
        pkt[0] = PACKET_RELAY;
        put_u32(pkt + 4, i == OURS ? 0x01777777 : R_FROM_A);
        pkt[8] = PACKET_CONTROL;
        memset(pkt + 9, i, (i < PACKETS - 1 ? SIZE : LAST) - 9);
    }
    assert_int_equal(setsockopt(t.a.udp, IPPROTO_UDP, 103 /* UDP_SEGMENT */, &size, sizeof(size)),
                     0);
    send_from(&t.a, &t.r, message, sizeof(message));
    for (uint8_t i = 0; i < PACKETS; i++) {
        uint8_t *pkt = message + i * SIZE;
        struct machine *to = i == OURS ? &t.r : &t.b;
        next_item(to, &item);
        assert_int_equal(item.len, i < PACKETS - 1 ? SIZE : LAST);
        put_u32(pkt + 4, i == OURS ? 0x01777777 : B_IN);
        assert_memory_equal(item.bytes, pkt, item.len);
    }
    assert_int_equal(plane_relayed(t.r.plane), PACKETS - 1);
    trio_stop(&t);
}

static void above_the_agreed_rate_is_dropped(void **state)
{
    uint8_t pkt[1008] = {PACKET_RELAY};
    struct trio t;

    trio_start(&t, 1000); /* a byte a millisecond: one packet, and the bucket is full */
    put_u32(pkt + 4, R_FROM_A);
    pkt[8] = PACKET_CONTROL;
    for (int i = 0; i < 20; i++)
        send_from(&t.a, &t.r, pkt, sizeof(pkt));
    for (unsigned ms = 0;
         plane_drops(t.r.plane, PLANE_DROP_RELAY_RATE) + plane_relayed(t.r.plane) < 20 &&
         ms < WAIT_MS;
         ms++)
        poll(NULL, 0, 1);
    assert_in_range(plane_relayed(t.r.plane), 1, 3);
    assert_int_equal(plane_drops(t.r.plane, PLANE_DROP_RELAY_RATE), 20 - plane_relayed(t.r.plane));
    trio_stop(&t);
}

/* Behind a leg's header, from the stranger that stands for the relay. */
static void relayed_in(struct stranger *s, uint8_t mark)
{
    uint8_t frame[200], pkt[300] = {PACKET_RELAY};
    size_t len = put_frame(frame, "10.77.0.2", "10.77.0.3", &mark, 1) - ETH_HEADER_LEN;

    put_u32(pkt + 4, B_IN);
    len = seal_inner(s, pkt + RELAY_HEADER_LEN, PACKET_FLAG_IP, frame + ETH_HEADER_LEN, len);
    send_to(s, pkt, RELAY_HEADER_LEN + len);
}

static void data_by_the_public_overlay_needs_leave(void **state)
{
    static const struct {
        bool is_public, allowed, comes;
    } rows[] = {
        {false, false, true},
        {false, true, true},
        {true, false, false},
        {true, true, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stranger s;
        uint8_t got[200];

        stranger_start(&s);
        s.b.network.public_relay = rows[i].allowed;
        struct forward *f = table_of(&s.b, 2, NULL, NULL, s.rx);
        struct forward_leg leg = {
            .channel = B_IN, .from = s.at, .ends_here = true, .is_public = rows[i].is_public};
        assert_int_equal(forward_add_leg(f, &leg), 0);
        plane_publish(s.b.plane, f);
        relayed_in(&s, (uint8_t)i);
        if (rows[i].comes) {
            size_t len = read_frame(&s.b, got, sizeof(got));
            assert_int_equal(got[len - 1], i);
        }
        sync_socket(&s);
        assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_PUBLIC), !rows[i].comes);
        stranger_stop(&s);
    }
}

static void every_leg_is_found_again(void **state)
{
    struct forward *f = forward_new();

    assert_null(forward_leg(f, 1));
    for (uint32_t i = 1; i <= 1000; i++) {
        struct forward_leg leg = {
            .channel = i * 0x10001u, .ends_here = true, .from = {addr_v4(i), (uint16_t)i}};

        assert_int_equal(forward_add_leg(f, &leg), 0);
    }
    for (uint32_t i = 1; i <= 1000; i++) {
        const struct forward_leg *leg = forward_leg(f, i * 0x10001u);

        assert_non_null(leg);
        assert_int_equal(leg->from.port, i);
        assert_null(forward_leg(f, i * 0x10001u + 1));
    }
    forward_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_leg_is_found_again),
        cmocka_unit_test(data_goes_over_a_relay_that_cannot_read_it),
        cmocka_unit_test(what_fits_no_leg_is_the_control_threads_or_nobodys),
        cmocka_unit_test(control_packets_that_end_here_go_up_whole),
        cmocka_unit_test(joined_packets_go_on_joined),
        cmocka_unit_test(above_the_agreed_rate_is_dropped),
        cmocka_unit_test(data_by_the_public_overlay_needs_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
