// link: peal_overlay
/* Members that reach each other over IPv6 learn where their IPv4 NAT shows them. */
#include "overlay/reflexive.h"
#include "tests/unit/overlay_net.h"

enum { MEMBERS = 5, US = MEMBERS - 1, ASKED_MAX = 64 };

static struct {
    bool v4_only[MEMBERS];
    unsigned asked[MEMBERS]; /* how often the last node was to ask this one */
    unsigned all;
} world;

static struct endpoint v4_of(unsigned number)
{
    return (struct endpoint){addr_v4(0xc6330001 + (number << 8)), 4747}; /* 198.51.number.1 */
}

static struct endpoint v6_of(unsigned number)
{
    struct endpoint ep = {.addr = {.family = 6, .b = {0x20, 0x01, 0x0d, 0xb8}}, .port = 4747};

    ep.addr.b[5] = (uint8_t)number;
    ep.addr.b[15] = 1;
    return ep;
}

/* IPv4 leads to those who have nothing else, and is silent between all others. */
static void send_by_family(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    struct net_node *n = ctx;

    for (unsigned i = 0; i < MEMBERS; i++) {
        const struct endpoint v4 = v4_of(i), v6 = v6_of(i), at = net_endpoint(i);
        bool by_v4 = endpoint_eq(to, &v4) && (world.v4_only[i] || world.v4_only[n->number]);

        if (!by_v4 && !(endpoint_eq(to, &v6) && !world.v4_only[i] && !world.v4_only[n->number]))
            continue;
        n->ep = by_v4 ? v4_of(n->number) : v6_of(n->number);
        net_send(n, &at, pkt, len);
        return;
    }
}

static void where(void *ctx, const struct endpoint *server)
{
    const struct net_node *n = ctx;

    for (unsigned i = 0; n->number == US && i < MEMBERS; i++) {
        const struct endpoint v4 = v4_of(i);

        world.asked[i] += endpoint_eq(server, &v4);
        world.all += endpoint_eq(server, &v4);
    }
}

static struct overlay_host callbacks;

/* The last one is behind a NAT for IPv4. */
static struct overlay_net *members(unsigned v4_only)
{
    struct overlay_net *net = net_new(1, MSEC(20));

    memset(&world, 0, sizeof(world));
    callbacks = net_callbacks;
    callbacks.send = send_by_family;
    callbacks.where = where;
    net->callbacks = &callbacks;
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct net_node *n = net_add(net);
        struct endpoint own[2] = {v6_of(i), v4_of(i)}, first = v6_of(0), first4 = v4_of(0);

        world.v4_only[i] = i < v4_only;
        if (i == US)
            own[1].addr = addr_v4(0xc0a80102);
        net_start(n, NULL, 0);
        overlay_set_endpoints(n->o, world.v4_only[i] ? &own[1] : own, world.v4_only[i] ? 1 : 2);
        assert_int_equal(overlay_add_bootstrap(n->o, v4_only > 0 ? &first4 : &first), 0);
    }
    net_run(net, SEC(5));
    return net;
}

static void answers(struct overlay_net *net, unsigned by, const struct endpoint *us)
{
    const struct endpoint server = v4_of(by);

    overlay_observed(net_enter(net->nodes[US]), &server, us);
}

/* The first two that were asked, or fewer. */
static unsigned who_is_asked(unsigned who[MEMBERS])
{
    unsigned n = 0;

    for (unsigned i = 0; i < MEMBERS; i++)
        if (world.asked[i] > 0)
            who[n++] = i;
    return n;
}

static const struct endpoint outer = {.addr = {.family = 4, .b = {203, 0, 113, 7}}, .port = 50000};

static struct overlay_nat nat_of_us(struct overlay_net *net)
{
    struct overlay_nat nat;

    overlay_nat(net_enter(net->nodes[US]), &nat);
    return nat;
}

static void two_are_asked_and_again_while_there_is_a_nat(void **state)
{
    struct overlay_net *net = members(0);
    unsigned who[MEMBERS];

    assert_int_equal(who_is_asked(who), REFLEXIVE_PEERS);
    assert_int_equal(world.all, 2);
    assert_int_equal(nat_of_us(net).mapping, OVERLAY_NAT_MAPPING_UNKNOWN);
    for (unsigned i = 0; i < REFLEXIVE_PEERS; i++)
        answers(net, who[i], &outer);
    struct overlay_nat nat = nat_of_us(net);

    assert_int_equal(nat.mapping, OVERLAY_NAT_MAPPING_INDEPENDENT);
    assert_true(endpoint_eq(&nat.reflexive[0], &outer));
    for (unsigned round = 1; round <= 3; round++) { /* each 20 s */
        net_run(net, SEC(20));
        assert_int_equal(world.all, 2 + 2 * round);
        answers(net, who[0], &outer);
        answers(net, who[1], &outer);
    }
    net_run(net, SEC(100)); /* they answer no more */
    assert_int_equal(world.all, 2 + 2 * 4);
    net_free(net);
}

static void without_an_answer_or_a_nat_it_is_rarely_asked(void **state)
{
    for (int none = 0; none < 2; none++) {
        struct overlay_net *net = members(0);
        const struct endpoint inner = {addr_v4(0xc0a80102), 4747};
        unsigned who[MEMBERS];

        assert_int_equal(who_is_asked(who), 2);
        for (unsigned i = 0; none && i < 2; i++)
            answers(net, who[i], &inner);
        net_run(net, SEC(100));
        assert_int_equal(world.all, 2);
        net_run(net, SEC(30));
        assert_int_equal(world.all, 4);
        net_free(net);
    }
}

/* Each answer would be followed by a question at once. */
static void an_answer_that_names_no_place_is_none(void **state)
{
    struct overlay_net *net = members(0);
    const struct endpoint nowhere[] = {{addr_v4(0), 4747}, {outer.addr, 0}};
    unsigned who[MEMBERS];

    assert_int_equal(who_is_asked(who), 2);
    for (unsigned i = 0; i < 20; i++) {
        answers(net, who[i % 2], &nowhere[i / 10]);
        net_run(net, SEC(1));
    }
    assert_int_equal(world.all, 2);
    net_free(net);
}

static void those_reached_over_ipv4_need_not_be_asked(void **state)
{
    for (unsigned v4_only = 1; v4_only <= 2; v4_only++) {
        struct overlay_net *net = members(v4_only);

        net_run(net, SEC(60));
        assert_int_equal(overlay_connections(net->nodes[US]->o), MEMBERS - 1);
        for (unsigned i = 0; i < v4_only; i++)
            assert_int_equal(world.asked[i], 0);
        assert_int_equal(world.all > 0, v4_only < REFLEXIVE_PEERS);
        net_free(net);
    }
}

static void without_an_address_of_ipv4_nobody_is_asked(void **state)
{
    struct overlay_net *net = members(0);
    const struct endpoint own = v6_of(US);

    overlay_set_endpoints(net_enter(net->nodes[US]), &own, 1);
    world.all = 0;
    net_run(net, SEC(130));
    assert_int_equal(world.all, 0);
    net_free(net);
}

static void who_is_gone_is_replaced_and_counts_no_more(void **state)
{
    struct overlay_net *net = members(0);
    struct endpoint moved = outer;
    unsigned who[MEMBERS];

    assert_int_equal(who_is_asked(who), 2);
    answers(net, who[0], &outer);
    answers(net, who[1], &outer);
    net_kill(net->nodes[who[0]]);
    moved.port++; /* of a NAT that was restarted meanwhile */
    net_run(net, SEC(30));
    assert_int_equal(who_is_asked(who), 3);
    for (unsigned i = 0; i < MEMBERS; i++)
        if (net->nodes[i]->alive && world.asked[i] > 0)
            answers(net, i, &moved);
    assert_int_equal(nat_of_us(net).mapping, OVERLAY_NAT_MAPPING_INDEPENDENT);
    net_free(net);
}

static void many_addresses_leave_room_for_the_one_outside(void **state)
{
    struct overlay_net *net = members(0);
    struct endpoint own[OVERLAY_ENDPOINTS_MAX] = {v6_of(US)}, told[OVERLAY_ENDPOINTS_MAX];
    unsigned who[MEMBERS], found = 0;

    for (unsigned i = 1; i < OVERLAY_ENDPOINTS_MAX; i++)
        own[i] = (struct endpoint){addr_v4(0xac100001 + (i << 16)), 4747};
    overlay_set_endpoints(net_enter(net->nodes[US]), own, OVERLAY_ENDPOINTS_MAX);
    assert_int_equal(overlay_endpoints(net->nodes[US]->o, told), OVERLAY_ENDPOINTS_MAX);
    net_run(net, SEC(1));
    assert_true(who_is_asked(who) > 0);
    answers(net, who[0], &outer);
    assert_int_equal(overlay_endpoints(net->nodes[US]->o, told), OVERLAY_ENDPOINTS_MAX);
    for (unsigned i = 0; i < OVERLAY_ENDPOINTS_MAX; i++)
        found += endpoint_eq(&told[i], &outer);
    assert_int_equal(found, 1);
    assert_true(endpoint_eq(&told[0], &own[0]) && endpoint_eq(&told[1], &own[1]));
    net_free(net);
}

static void at_another_address_all_is_asked_anew(void **state)
{
    struct overlay_net *net = members(0);
    const struct endpoint own[] = {v6_of(US), {addr_v4(0xc0a80202), 4747}};
    unsigned who[MEMBERS];

    assert_int_equal(who_is_asked(who), 2);
    answers(net, who[0], &outer);
    overlay_set_endpoints(net_enter(net->nodes[US]), own, 2);
    assert_int_equal(nat_of_us(net).mapping, OVERLAY_NAT_MAPPING_UNKNOWN);
    net_run(net, SEC(1));
    assert_int_equal(world.all, 4);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_are_asked_and_again_while_there_is_a_nat),
        cmocka_unit_test(without_an_answer_or_a_nat_it_is_rarely_asked),
        cmocka_unit_test(an_answer_that_names_no_place_is_none),
        cmocka_unit_test(those_reached_over_ipv4_need_not_be_asked),
        cmocka_unit_test(without_an_address_of_ipv4_nobody_is_asked),
        cmocka_unit_test(who_is_gone_is_replaced_and_counts_no_more),
        cmocka_unit_test(many_addresses_leave_room_for_the_one_outside),
        cmocka_unit_test(at_another_address_all_is_asked_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
