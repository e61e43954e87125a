// link: peal_overlay
/* Data of sessions that have no path but the ring: trails, what they carry, what they do not. */
#include "overlay/trail.c"

#include "overlay/relay.h"
#include "tests/unit/overlay_net.h"

enum { MEMBERS = 8, A = 1, B = 2, NOBODY = 1000 };
static const usec rtt_half = MSEC(20);

/* What the hook does; set by each test. */
static struct {
    bool (*apart)(unsigned a, unsigned b);
    unsigned drops; /* number of the node whose relay packets are lost, or NOBODY */
    uint64_t relay_packets;
} world;

static bool a_and_b(unsigned a, unsigned b)
{
    return (a == A && b == B) || (a == B && b == A);
}

/* A is reached by two members and B by two others: nobody could relay. */
static bool sides(unsigned a, unsigned b)
{
    if (b == A || (b == B && a != A))
        return sides(b, a);
    if (a == A)
        return b != 0 && b != 3;
    return a == B && b != 4 && b != 5;
}

static bool on_packet(struct overlay_net *net, unsigned from, unsigned to, uint8_t *pkt, size_t len)
{
    if (world.apart(from, to))
        return false;
    world.relay_packets += pkt[0] == PACKET_RELAY;
    return from != world.drops || pkt[0] != PACKET_RELAY;
}

static struct overlay_net *ring(uint64_t seed, unsigned n, bool (*apart)(unsigned, unsigned))
{
    struct overlay_net *net = net_new(seed, rtt_half);
    bool relayed = apart == sides; /* it may be tried */

    world.apart = apart;
    world.drops = NOBODY;
    world.relay_packets = 0;
    net->hook = on_packet;
    for (unsigned i = 0; i < n; i++) {
        unsigned first = relayed && i == B ? 4 : 0;
        struct net_node *node = net_add(net);

        node->config.relay_refused = !relayed;
        node->config.trails = true;
        net_start(node, &first, 1);
    }
    net_run(net, SEC(60));
    return net;
}

static struct link *link_between(struct overlay_net *net, unsigned a, unsigned b)
{
    return link_find(net->nodes[a]->o, &net->nodes[b]->config.node);
}

static uint64_t counted(struct overlay_net *net, unsigned at, enum overlay_count c)
{
    return net->nodes[at]->o->counts[c];
}

static uint64_t counted_by_all(struct overlay_net *net, enum overlay_count c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < net->count; i++)
        sum += net->nodes[i]->alive ? counted(net, i, c) : 0;
    return sum;
}

static void demand(struct overlay_net *net, unsigned a, unsigned b)
{
    assert_int_equal(overlay_demand(net_enter(net->nodes[a]), &net->nodes[b]->config.node), 0);
    net_run(net, SEC(10));
    assert_true(link_between(net, a, b)->up);
    assert_int_equal(session_path(link_between(net, a, b)->session)->kind, PATH_RING);
}

static void report(struct overlay_net *net, unsigned from, unsigned to, uint64_t packets)
{
    const struct data_seen seen = {
        .tx_us = net->now_us, .rx_us = net->now_us, .tx_packets = packets};
    const struct link *l = link_between(net, from, to);

    if (l != NULL && l->up)
        overlay_data_seen(net_enter(net->nodes[from]), session_token(l->session), &seen);
    else
        (void)overlay_demand(net_enter(net->nodes[from]), &net->nodes[to]->config.node);
}

/* So many packets a second, and the data plane reports them. Returns how many arrived. */
static unsigned send_data(struct overlay_net *net, unsigned from, unsigned to, unsigned each,
                          unsigned seconds)
{
    static uint64_t packets;
    unsigned before = net->nodes[to]->messages;

    for (unsigned s = 0; s < seconds; s++) {
        for (unsigned i = 0; i < each; i++) {
            uint8_t pkt[32] = {PACKET_DATA, 1};

            (void)overlay_send_data(net_enter(net->nodes[from]), &net->nodes[to]->config.node, pkt,
                                    sizeof pkt);
            net_run(net, SEC(1) / each);
        }
        packets += each;
        report(net, from, to, packets);
    }
    net_run(net, MSEC(500));
    return net->nodes[to]->messages - before;
}

static bool has_trail(struct overlay_net *net, unsigned a, unsigned b)
{
    struct overlay_data d;

    return overlay_data(net->nodes[a]->o, &net->nodes[b]->config.node, &d) && d.channel != 0;
}

/* Number of the hop that a's trail to b begins with. */
static unsigned hop_of(struct overlay_net *net, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < net->count; i++)
        if (id_eq(&net->nodes[i]->config.node, &link_between(net, a, b)->trail->way.neighbour))
            return i;
    fail_msg("%u has no trail to %u", a, b);
    return 0;
}

static size_t legs_of_all(struct overlay_net *net)
{
    size_t sum = 0;

    for (unsigned i = 0; i < net->count; i++)
        sum += net->nodes[i]->alive ? net->nodes[i]->o->legs.count : 0;
    return sum;
}

static void much_data_over_the_ring_gets_a_trail_each_way(void **state)
{
    struct overlay_net *net = ring(1, MEMBERS, a_and_b);
    uint64_t routed;

    demand(net, A, B);
    assert_int_equal(send_data(net, A, B, 50, 4), 200);
    assert_true(has_trail(net, A, B));
    assert_false(has_trail(net, B, A));
    assert_int_equal(send_data(net, B, A, 50, 4), 200);
    assert_true(has_trail(net, B, A));
    assert_int_equal(send_data(net, A, B, 50, 4), 200);
    routed = counted_by_all(net, OVERLAY_COUNT_ROUTED);
    world.relay_packets = 0;
    assert_int_equal(send_data(net, A, B, 50, 4), 200);
    assert_in_range(world.relay_packets, 400, 2 * (200 + 12));
    assert_in_range(counted_by_all(net, OVERLAY_COUNT_ROUTED) - routed, 1, 40);
    assert_int_equal(session_path(link_between(net, A, B)->session)->kind, PATH_RING);
    net_free(net);
}

static void where_nobody_could_relay_a_trail_has_several_hops(void **state)
{
    struct overlay_net *net = ring(2, MEMBERS, sides);
    uint64_t numbers = 0;

    demand(net, A, B);
    assert_int_equal(send_data(net, A, B, 50, 6), 300);
    assert_true(has_trail(net, A, B));
    assert_true(hop_of(net, A, B) == 0 || hop_of(net, A, B) == 3);
    world.relay_packets = 0;
    assert_int_equal(send_data(net, A, B, 50, 2), 100);
    assert_in_range(world.relay_packets, 300, 5 * (100 + 6));
    for (unsigned i = 0; i < MEMBERS; i++)
        numbers += net->nodes[i]->o->trails.count;
    assert_in_range(numbers, 3, 5);
    net_free(net);
}

static void little_data_gets_none(void **state)
{
    struct overlay_net *net = ring(3, MEMBERS, a_and_b);

    demand(net, A, B);
    assert_int_equal(send_data(net, A, B, TRAIL_PACKETS - 1, 6), 6 * (TRAIL_PACKETS - 1));
    assert_false(has_trail(net, A, B));
    assert_int_equal(legs_of_all(net), 0);
    net_free(net);
}

/* What was told has to show that it leads to the end. */
static void a_trail_that_leads_nowhere_is_not_used(void **state)
{
    struct overlay_net *net = ring(4, MEMBERS, a_and_b);

    demand(net, A, B);
    world.drops = A;
    assert_int_equal(send_data(net, A, B, 50, 6), 300);
    assert_false(has_trail(net, A, B));
    assert_int_equal(counted(net, A, OVERLAY_COUNT_TRAILS), 0);
    assert_int_equal(link_between(net, A, B)->trail->failures, 1);
    assert_true(link_between(net, A, B)->trail->retry_us > net->now_us);
    world.drops = NOBODY;
    assert_int_equal(send_data(net, A, B, 50, 25), 1250);
    assert_true(has_trail(net, A, B));
    assert_int_equal(link_between(net, A, B)->trail->failures, 0);
    net_free(net);
}

static void a_trail_that_breaks_is_left_within_three_seconds(void **state)
{
    struct overlay_net *net = ring(5, MEMBERS, a_and_b);
    unsigned hop;

    demand(net, A, B);
    (void)send_data(net, A, B, 50, 4);
    hop = hop_of(net, A, B);
    world.drops = hop; /* it lives, and what it forwards is lost */
    assert_in_range(send_data(net, A, B, 50, 3), 1, 149);
    assert_false(has_trail(net, A, B));
    assert_int_equal(send_data(net, A, B, 50, 2), 100);
    assert_int_equal(counted(net, A, OVERLAY_COUNT_TRAILS_ENDED), 1);
    net_free(net);
}

/* Questions and answers get lost, too: four packets each. */
static void a_ring_that_loses_packets_keeps_its_trails(void **state)
{
    unsigned got = 0;

    for (uint64_t seed = 30; seed < 40; seed++) {
        struct overlay_net *net = ring(seed, MEMBERS, a_and_b);

        demand(net, A, B);
        (void)send_data(net, A, B, 50, 4);
        net->loss_percent = 5;
        got += send_data(net, A, B, 50, 20);
        assert_true(counted(net, A, OVERLAY_COUNT_TRAILS_ENDED) <= 1);
        net_free(net);
    }
    assert_in_range(got, 8700, 9300); /* of 10,000 over two hops */
}

static void a_hop_that_dies_takes_the_trail_with_it_and_another_is_found(void **state)
{
    for (uint64_t seed = 10; seed < 16; seed++) {
        struct overlay_net *net = ring(seed, MEMBERS, a_and_b);
        unsigned dead;

        demand(net, A, B);
        (void)send_data(net, A, B, 50, 4);
        dead = hop_of(net, A, B);
        net_kill(net->nodes[dead]);
        (void)send_data(net, A, B, 50, 4);
        assert_int_equal(send_data(net, A, B, 50, 8), 400);
        assert_true(has_trail(net, A, B));
        assert_int_not_equal(hop_of(net, A, B), dead);
        net_free(net);
    }
}

static void what_is_not_used_any_more_is_given_back(void **state)
{
    struct overlay_net *net = ring(6, MEMBERS, a_and_b);

    demand(net, A, B);
    (void)send_data(net, A, B, 50, 4);
    assert_true(has_trail(net, A, B) && legs_of_all(net) >= 2);
    net_run(net, SEC(TRAIL_UNUSED_S + 1));
    assert_false(has_trail(net, A, B));
    net_run(net, SEC(TRAIL_LIFE_S + 1));
    assert_int_equal(legs_of_all(net), 0);
    assert_int_equal(send_data(net, A, B, 50, 4), 200); /* and begins again */
    assert_true(has_trail(net, A, B));
    net_free(net);
}

static bool nobody(unsigned a, unsigned b)
{
    return false;
}

static void a_direct_path_takes_over(void **state)
{
    struct overlay_net *net = ring(7, MEMBERS, a_and_b);

    demand(net, A, B);
    (void)send_data(net, A, B, 50, 4);
    assert_true(has_trail(net, A, B));
    world.apart = nobody;
    overlay_network_changed(net_enter(net->nodes[A]));
    (void)send_data(net, A, B, 50, 60); /* by addresses, that is for the data plane */
    assert_int_equal(session_path(link_between(net, A, B)->session)->kind, PATH_UDP);
    assert_false(has_trail(net, A, B));
    assert_int_equal(legs_of_all(net), 0);
    net_free(net);
}

static void who_has_none_neither_asks_nor_answers_nor_carries(void **state)
{
    for (unsigned without = 0; without < 3; without++) {
        struct overlay_net *net = ring(8, MEMBERS, a_and_b);

        for (unsigned i = 0; i < MEMBERS; i++)
            if (without == 0 ? i == A : without == 1 ? i == B : i != A && i != B)
                net->nodes[i]->o->trails.allowed = false;
        demand(net, A, B);
        assert_int_equal(send_data(net, A, B, 50, 6), 300);
        assert_false(has_trail(net, A, B));
        assert_int_equal(counted(net, A, OVERLAY_COUNT_TRAILS), 0);
        net_free(net);
    }
}

/* A routed answer as a neighbour hands it over. */
static void told(struct overlay_net *net, unsigned by, const uint8_t *token, uint32_t number,
                 size_t len)
{
    struct route_header h = route_new(&net->nodes[B]->config.node, &net->nodes[A]->config.node,
                                      ROUTE_EXACT, ROUTE_PROTO_TRAIL);
    uint8_t body[TRAIL_TOLD_LEN + 1] = {0};
    struct reader r = reader_of(body, len);

    memcpy(body, token, TRAIL_TOKEN_LEN);
    put_u32(body + TRAIL_TOKEN_LEN, number);
    trail_told_input(net_enter(net->nodes[A]), link_between(net, A, by), &h, &r);
}

static void only_the_answer_to_a_question_is_taken_up_and_once(void **state)
{
    struct overlay_net *net = ring(9, MEMBERS, a_and_b);
    uint8_t token[TRAIL_TOKEN_LEN] = {0};
    struct trail_source *t;
    struct leg way;
    uint64_t bad;

    demand(net, A, B);
    told(net, 3, token, 5, TRAIL_TOLD_LEN); /* before there is anything to answer */
    (void)send_data(net, A, B, 50, 4);
    t = link_between(net, A, B)->trail;
    way = t->way;
    told(net, 3, token, 5, TRAIL_TOLD_LEN);
    assert_true(leads_as(&t->way, &way) && t->trial.tx == 0);
    ask(net_enter(net->nodes[A]), t);
    memcpy(token, t->questions[(t->asked - 1) % TRAIL_TRIES].token, sizeof token);
    token[0] ^= 1;
    told(net, 3, token, 5, TRAIL_TOLD_LEN);
    assert_int_equal(t->trial.tx, 0);
    token[0] ^= 1;
    bad = counted(net, A, OVERLAY_COUNT_DROP_BAD);
    told(net, 3, token, 5, TRAIL_TOLD_LEN - 1);
    told(net, 3, token, 5, TRAIL_TOLD_LEN + 1);
    told(net, 3, token, 0, TRAIL_TOLD_LEN);
    assert_int_equal(counted(net, A, OVERLAY_COUNT_DROP_BAD), bad + 3);
    assert_int_equal(t->trial.tx, 0);
    told(net, 3, token, 5, TRAIL_TOLD_LEN);
    assert_int_equal(t->trial.tx, 5); /* tried, beside the one that is in use */
    assert_true(leads_as(&t->way, &way));
    told(net, 4, token, 6, TRAIL_TOLD_LEN); /* the token was used */
    assert_int_equal(t->trial.tx, 5);
    net_free(net);
}

/* Whoever knows the number but is not the neighbour that was told it gets nothing forwarded. */
static void a_number_is_of_use_to_whom_it_was_told_alone(void **state)
{
    struct overlay_net *net = ring(20, MEMBERS, a_and_b);
    uint8_t pkt[RELAY_HEADER_LEN + 32] = {PACKET_RELAY};
    unsigned hop, other;
    uint64_t before;

    demand(net, A, B);
    (void)send_data(net, A, B, 50, 4);
    hop = hop_of(net, A, B);
    other = hop == 3 ? 4 : 3;
    put_u32(pkt + 4, link_between(net, A, B)->trail->way.tx);
    pkt[RELAY_HEADER_LEN] = PACKET_DATA;
    before = counted(net, hop, OVERLAY_COUNT_RELAYED);
    (void)overlay_input(net_enter(net->nodes[hop]), &net->nodes[other]->ep, pkt, sizeof pkt);
    assert_int_equal(counted(net, hop, OVERLAY_COUNT_RELAYED), before);
    assert_int_equal(counted(net, hop, OVERLAY_COUNT_DROP_RELAY), 1);
    (void)overlay_input(net_enter(net->nodes[hop]), &net->nodes[A]->ep, pkt, sizeof pkt);
    assert_int_equal(counted(net, hop, OVERLAY_COUNT_RELAYED), before + 1);
    net_free(net);
}

/* Nor can that neighbour make more of it than a number: it is no relay's. */
static void a_number_is_none_of_a_relayed_path(void **state)
{
    struct overlay_net *net = ring(24, MEMBERS, a_and_b);
    uint8_t body[ID_LEN + 8];
    struct reader r;
    unsigned hop;

    demand(net, A, B);
    (void)send_data(net, A, B, 50, 4);
    hop = hop_of(net, A, B);
    memcpy(body, net->nodes[B]->config.node.b, ID_LEN);
    put_u32(body + ID_LEN, link_between(net, A, B)->trail->way.tx);
    put_u32(body + ID_LEN + 4, 7);
    r = reader_of(body, sizeof body);
    assert_true(relay_accept_input(net_enter(net->nodes[hop]), link_between(net, hop, A), &r));
    body[ID_LEN + 4] = RELAY_END_UNWANTED;
    r = reader_of(body, ID_LEN + 5);
    assert_true(relay_end_input(net_enter(net->nodes[hop]), link_between(net, hop, A), &r));
    assert_int_equal(send_data(net, A, B, 50, 2), 100);
    assert_true(has_trail(net, A, B));
    net_free(net);
}

static bool passes(struct overlay_net *net, unsigned at, unsigned from, unsigned next,
                   uint32_t number)
{
    uint8_t body[TRAIL_TOLD_LEN] = {0}, out[TRAIL_TOLD_LEN];
    const struct passage p = {.from = net->nodes[from]->config.node,
                              .header = {.proto = ROUTE_PROTO_TRAIL},
                              .body = body,
                              .len = sizeof body};

    put_u32(body + TRAIL_TOKEN_LEN, number);
    return trail_pass(net_enter(net->nodes[at]), &p, &net->nodes[next]->config.node, out);
}

static void full_the_number_named_longest_ago_goes_or_the_newcomer(void **state)
{
    struct overlay_net *net = ring(21, MEMBERS, nobody);
    struct overlay *o = net->nodes[3]->o;
    unsigned far[8], n = 0;

    for (unsigned i = 0; i < MEMBERS; i++)
        if (leg_is_direct(o, &net->nodes[i]->config.node))
            far[n++] = i;
    assert_true(n >= 5);
    for (uint32_t i = 0; i < TRAILS_EACH; i++)
        assert_true(passes(net, 3, far[0], far[1], 1 + i));
    assert_true(passes(net, 3, far[0], far[1], 1)); /* again: it is the same one */
    assert_int_equal(o->trails.count, TRAILS_EACH);
    assert_false(passes(net, 3, far[0], far[1], 1 + TRAILS_EACH));
    assert_int_equal(counted(net, 3, OVERLAY_COUNT_TRAILS_REFUSED), 1);
    for (unsigned k = 1; k < 4; k++)
        for (uint32_t i = 0; i < TRAILS_EACH; i++)
            assert_true(passes(net, 3, far[k], far[k + 1], 1 + i));
    assert_int_equal(o->trails.count, TRAILS_MAX);
    assert_false(passes(net, 3, far[4], far[0], 1));
    net_run(net, SEC(TRAIL_STALE_S));
    assert_true(passes(net, 3, far[0], far[1], 1)); /* not the victim any more */
    assert_true(passes(net, 3, far[4], far[0], 1));
    assert_int_equal(o->trails.count, TRAILS_MAX);
    assert_true(passes(net, 3, far[0], far[1], 1));
    assert_int_equal(o->trails.count, TRAILS_MAX);
    net_run(net, SEC(TRAIL_LIFE_S + 1));
    assert_int_equal(o->trails.count, 0);
    assert_int_equal(o->legs.count, 0);
    net_free(net);
}

static void what_says_no_number_is_not_passed_on(void **state)
{
    struct overlay_net *net = ring(22, MEMBERS, a_and_b);
    uint8_t body[TRAIL_TOLD_LEN + 1] = {0}, out[TRAIL_TOLD_LEN];
    struct passage p = {.from = net->nodes[3]->config.node, .body = body, .len = sizeof body - 1};

    demand(net, A, B);
    assert_false(passes(net, 0, 3, 4, 0));
    assert_true(passes(net, 0, 3, 4, 1));
    assert_false(passes(net, A, B, 3, 1)); /* not reached directly */
    assert_null(trail_hop(net->nodes[A]->o, link_between(net, A, B)));
    put_u32(body + TRAIL_TOKEN_LEN, 1);
    p.len++;
    assert_false(trail_pass(net_enter(net->nodes[0]), &p, &net->nodes[4]->config.node, out));
    p.len -= 2;
    assert_false(trail_pass(net_enter(net->nodes[0]), &p, &net->nodes[4]->config.node, out));
    net_free(net);
}

static void a_trail_is_bounded_as_what_is_relayed(void **state)
{
    struct overlay_net *net = ring(23, MEMBERS, a_and_b);
    unsigned hop, got;

    for (unsigned i = 0; i < MEMBERS; i++) {
        struct channels *c = &net->nodes[i]->o->channels;

        meter_unref(c->meter);
        c->meter = meter_new(2 * 32 * 500);
        c->bytes_per_s = 32 * 500; /* 500 packets a second */
    }
    demand(net, A, B);
    (void)send_data(net, A, B, 50, 4);
    hop = hop_of(net, A, B);
    got = send_data(net, A, B, 1000, 4);
    assert_in_range(got, 1900, 2300);
    assert_in_range(counted(net, hop, OVERLAY_COUNT_DROP_RELAY_RATE), 1700, 2100);
    assert_true(has_trail(net, A, B)); /* the questions come through */
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_data_over_the_ring_gets_a_trail_each_way),
        cmocka_unit_test(where_nobody_could_relay_a_trail_has_several_hops),
        cmocka_unit_test(little_data_gets_none),
        cmocka_unit_test(a_trail_that_leads_nowhere_is_not_used),
        cmocka_unit_test(a_trail_that_breaks_is_left_within_three_seconds),
        cmocka_unit_test(a_ring_that_loses_packets_keeps_its_trails),
        cmocka_unit_test(a_hop_that_dies_takes_the_trail_with_it_and_another_is_found),
        cmocka_unit_test(what_is_not_used_any_more_is_given_back),
        cmocka_unit_test(a_direct_path_takes_over),
        cmocka_unit_test(who_has_none_neither_asks_nor_answers_nor_carries),
        cmocka_unit_test(only_the_answer_to_a_question_is_taken_up_and_once),
        cmocka_unit_test(a_number_is_of_use_to_whom_it_was_told_alone),
        cmocka_unit_test(a_number_is_none_of_a_relayed_path),
        cmocka_unit_test(full_the_number_named_longest_ago_goes_or_the_newcomer),
        cmocka_unit_test(what_says_no_number_is_not_passed_on),
        cmocka_unit_test(a_trail_is_bounded_as_what_is_relayed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
