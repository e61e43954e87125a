// link: peal_core m
/* The simulator's NAT box against RFC 4787, requirement by requirement. */
#include "tests/sim/internet.c"
#include "tests/sim/nat.c"
#include "tests/sim/random.c"
#include "tests/unit/cm.h"

/* Nobody's memory is counted here, and there is no matrix. */
struct account *account_enter(struct account *a)
{
    return NULL;
}

usec latency_one_way(const struct latency *l, uint32_t from, uint32_t to)
{
    return 0;
}

static struct event *under_way; /* the packet that was sent last */

void agenda_add(struct agenda *q, struct event *e, usec at_us)
{
    under_way = e;
}

static struct endpoint at(uint32_t addr, uint16_t port)
{
    return (struct endpoint){addr_v4(addr), port};
}

enum {
    INNER = 0xc0a80002,
    INNER2 = 0xc0a80003,
    A = 0x08080808,
    B = 0x09090909,
    OUTER = 0x64000001
};

static struct nat a_box(enum nat_dependence mapping, enum nat_dependence filtering,
                        enum nat_ports ports)
{
    struct nat_kind kind = {
        .mapping = mapping, .filtering = filtering, .ports = ports, .timeout_us = SEC(120)};
    struct addr outer = addr_v4(OUTER);
    struct nat n;

    nat_init(&n, &kind, &outer, random_new(1, RANDOM_NAT, 0));
    return n;
}

static uint16_t out(struct nat *n, usec now_us, uint32_t inner, uint32_t addr, uint16_t port)
{
    struct endpoint from = at(inner, 4747), to = at(addr, port);
    struct endpoint outer = nat_outbound(n, now_us, &from, &to);

    assert_int_equal(addr_to_v4(&outer.addr), OUTER);
    return outer.port;
}

static bool in(struct nat *n, usec now_us, uint16_t port, uint32_t addr, uint16_t from_port)
{
    struct endpoint from = at(addr, from_port), inner;
    bool passed = nat_inbound(n, now_us, port, &from, &inner);

    assert_int_equal(inner.addr.family, passed ? 4 : 0);
    return passed;
}

/* 4.1: whether two destinations see one mapping; 5: who may answer through it. */
static const struct {
    enum nat_dependence how;
    bool other_port, other_address; /* the same mapping; let in */
} dependences[] = {
    {NAT_ENDPOINT_INDEPENDENT, true, true},
    {NAT_ADDRESS_DEPENDENT, true, false},
    {NAT_ADDRESS_AND_PORT_DEPENDENT, false, false},
};

static void mapping_and_filtering_depend_on_what_their_kind_says(void **state)
{
    for (size_t m = 0; m < ARRAY_LEN(dependences); m++)
        for (size_t f = 0; f < ARRAY_LEN(dependences); f++) {
            struct nat n = a_box(dependences[m].how, dependences[f].how, NAT_PORTS_RANDOM);
            uint16_t port = out(&n, 0, INNER, A, 1);

            assert_true(in(&n, 1, port, A, 1));
            assert_int_equal(in(&n, 1, port, A, 2), dependences[f].other_port);
            assert_int_equal(in(&n, 1, port, B, 1), dependences[f].other_address);
            assert_false(in(&n, 1, (uint16_t)(port + 1), A, 1));

            assert_int_equal(out(&n, 2, INNER, A, 1), port);
            assert_int_equal(out(&n, 2, INNER, A, 2) == port, dependences[m].other_port);
            assert_int_equal(out(&n, 2, INNER, B, 1) == port, dependences[m].other_address);
            nat_clear(&n);
        }
}

static void a_mapping_is_one_inner_endpoints_own(void **state)
{
    struct nat n = a_box(NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT, NAT_PORTS_PRESERVED);
    uint16_t first = out(&n, 0, INNER, A, 1), second = out(&n, 0, INNER2, A, 1);
    struct endpoint from = at(B, 9), inner;

    assert_int_not_equal(first, second);
    assert_true(nat_inbound(&n, 1, second, &from, &inner));
    assert_int_equal(addr_to_v4(&inner.addr), INNER2);
    assert_int_equal(inner.port, 4747);
    nat_clear(&n);
}

static void ports_are_kept_or_counted_or_drawn(void **state)
{
    static const enum nat_ports kinds[] = {NAT_PORTS_PRESERVED, NAT_PORTS_SEQUENTIAL,
                                           NAT_PORTS_RANDOM};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct nat n = a_box(NAT_ADDRESS_AND_PORT_DEPENDENT, NAT_ENDPOINT_INDEPENDENT, kinds[i]);
        uint16_t ports[64];

        for (uint16_t k = 0; k < ARRAY_LEN(ports); k++) {
            ports[k] = out(&n, 0, INNER, A, k);
            assert_true(ports[k] >= NAT_PORT_FIRST);
            for (uint16_t j = 0; j < k; j++)
                assert_int_not_equal(ports[j], ports[k]);
        }
        if (kinds[i] == NAT_PORTS_PRESERVED)
            assert_int_equal(ports[0], 4747); /* the next ones find it taken */
        if (kinds[i] == NAT_PORTS_SEQUENTIAL)
            for (size_t k = 1; k < ARRAY_LEN(ports); k++)
                assert_int_equal(ports[k],
                                 ports[k - 1] == UINT16_MAX ? NAT_PORT_FIRST : ports[k - 1] + 1);
        nat_clear(&n);
    }
}

/* REQ-5 and 6: it lives for its time, packets from inside renew it, packets from outside do not. */
static void only_packets_from_inside_keep_a_mapping(void **state)
{
    struct nat n = a_box(NAT_ENDPOINT_INDEPENDENT, NAT_ENDPOINT_INDEPENDENT, NAT_PORTS_RANDOM);
    uint16_t port = out(&n, 0, INNER, A, 1);

    assert_true(in(&n, SEC(119), port, A, 1));
    assert_int_equal(out(&n, SEC(119), INNER, A, 1), port);
    assert_true(in(&n, SEC(238), port, A, 1));
    assert_true(in(&n, SEC(239) - 1, port, A, 1));
    assert_false(in(&n, SEC(239), port, A, 1));
    assert_int_not_equal(out(&n, SEC(240), INNER, A, 1), port);
    nat_forget(&n);
    assert_int_equal(n.count, 0);
    nat_clear(&n);
}

static void the_mapping_used_least_lately_makes_room(void **state)
{
    struct nat n =
        a_box(NAT_ADDRESS_AND_PORT_DEPENDENT, NAT_ENDPOINT_INDEPENDENT, NAT_PORTS_SEQUENTIAL);
    uint16_t first = out(&n, 0, INNER, A, 0), second = out(&n, 1, INNER, A, 1);

    for (uint32_t k = 2; k < NAT_MAPPINGS_MAX; k++)
        (void)out(&n, 2, INNER, A, (uint16_t)k);
    assert_int_equal(out(&n, 3, INNER, A, 0), first);
    (void)out(&n, 4, INNER, B, 1);
    assert_int_equal(n.count, NAT_MAPPINGS_MAX);
    assert_true(in(&n, 5, first, A, 0));
    assert_false(in(&n, 5, second, A, 1));
    nat_clear(&n);
}

static void of_those_let_in_the_one_sent_to_least_lately_is_forgotten(void **state)
{
    struct nat n =
        a_box(NAT_ENDPOINT_INDEPENDENT, NAT_ADDRESS_AND_PORT_DEPENDENT, NAT_PORTS_RANDOM);
    uint16_t port = 0;

    for (uint16_t k = 0; k < NAT_REMOTES_MAX; k++)
        port = out(&n, k, INNER, A, (uint16_t)(100 + k));
    (void)out(&n, NAT_REMOTES_MAX, INNER, A, 100); /* known longest, and not forgotten */
    (void)out(&n, NAT_REMOTES_MAX + 1, INNER, A, 100 + NAT_REMOTES_MAX);
    assert_true(in(&n, NAT_REMOTES_MAX + 2, port, A, 100));
    assert_false(in(&n, NAT_REMOTES_MAX + 2, port, A, 101));
    assert_true(in(&n, NAT_REMOTES_MAX + 2, port, A, 102));
    assert_true(in(&n, NAT_REMOTES_MAX + 2, port, A, 100 + NAT_REMOTES_MAX));
    nat_clear(&n);
}

/* ---- hairpin: two hosts behind one box, and a third outside ---- */

enum { OUTSIDE, INSIDE, BESIDE, HOSTS };

static void never(struct world *w, struct event *e)
{
}

/* Sends a packet and lets it arrive. Who got it, and from where. */
static long carried(struct internet *n, uint32_t from, const struct endpoint *to,
                    struct endpoint *source)
{
    struct packet *p;
    long who;

    *source = (struct endpoint){0};
    under_way = NULL;
    internet_send(n, NULL, 0, from, to, (const uint8_t *)"x", 1, never);
    if (under_way == NULL)
        return INTERNET_NOBODY;
    p = CONTAINER_OF(under_way, struct packet, event);
    *source = p->from;
    who = internet_arrive(n, 0, p);
    free(p);
    return who;
}

/* REQ-9: with it, a host behind the box reaches another by its outer address, and is seen by its
 * own outer one. */
static void hairpins_lead_back_inside_where_the_box_has_them(void **state)
{
    for (int hairpin = 0; hairpin <= 1; hairpin++) {
        struct nat_kind kind = {.hairpin = hairpin == 1, .timeout_us = SEC(120)};
        struct endpoint seen, back, to_outside;
        struct internet n;

        internet_init(&n, HOSTS, random_new(1, RANDOM_LINK, 0));
        n.places[INSIDE].box = n.places[BESIDE].box =
            (int16_t)internet_add_box(&n, &kind, random_new(1, RANDOM_NAT, 0));
        to_outside = internet_public_endpoint(&n, OUTSIDE);
        assert_int_equal(carried(&n, INSIDE, &to_outside, &seen), OUTSIDE);
        assert_true(addr_eq(&seen.addr, &n.boxes[0].outer));
        assert_int_equal(carried(&n, OUTSIDE, &seen, &back), INSIDE);

        assert_int_equal(carried(&n, BESIDE, &seen, &back),
                         hairpin == 1 ? INSIDE : INTERNET_NOBODY);
        if (hairpin == 1)
            assert_true(addr_eq(&back.addr, &n.boxes[0].outer));
        internet_clear(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mapping_and_filtering_depend_on_what_their_kind_says),
        cmocka_unit_test(a_mapping_is_one_inner_endpoints_own),
        cmocka_unit_test(ports_are_kept_or_counted_or_drawn),
        cmocka_unit_test(only_packets_from_inside_keep_a_mapping),
        cmocka_unit_test(the_mapping_used_least_lately_makes_room),
        cmocka_unit_test(of_those_let_in_the_one_sent_to_least_lately_is_forgotten),
        cmocka_unit_test(hairpins_lead_back_inside_where_the_box_has_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
