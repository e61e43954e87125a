// link: peal_overlay
/* What reports tell of a NAT, the ports it is likely to take next, and the search for others. */
#include <stdio.h>

#include "overlay/core/wire.h"
#include "overlay/nat.h"
#include "overlay/path.h"
#include "overlay/search.h"
#include "tests/unit/cm.h"
#include "tests/unit/session_world.h"

enum { OWN_PORT = 4747 };

static struct endpoint ep(uint8_t net, uint8_t host, uint16_t port)
{
    return (struct endpoint){addr_v4(0xc6330000u + net * 256u + host), port};
}

/* `by` host and port see us at this port. */
static struct nat_report report(uint8_t host, uint16_t by_port, uint16_t us_port)
{
    return (struct nat_report){.by = ep(1, host, by_port), .us = ep(9, 9, us_port)};
}

static void reports_tell_how_the_nat_maps(void **state)
{
    static const struct {
        struct {
            uint8_t host;
            uint16_t by, us;
        } reports[4];
        enum overlay_nat_mapping mapping;
        enum overlay_known keeps_ports;
    } rows[] = {
        {{{0}}, OVERLAY_NAT_MAPPING_UNKNOWN, OVERLAY_KNOWN_NOT},
        {{{1, 1, OWN_PORT}}, OVERLAY_NAT_MAPPING_UNKNOWN, OVERLAY_KNOWN_YES},
        {{{1, 1, 700}, {2, 1, 700}}, OVERLAY_NAT_MAPPING_INDEPENDENT, OVERLAY_KNOWN_NO},
        {{{1, 1, 700}, {1, 2, 700}}, OVERLAY_NAT_MAPPING_UNKNOWN, OVERLAY_KNOWN_NO},
        {{{1, 1, 700}, {2, 1, 701}}, OVERLAY_NAT_MAPPING_DEPENDENT, OVERLAY_KNOWN_NO},
        {{{1, 1, 700}, {1, 2, 700}, {2, 1, 701}}, OVERLAY_NAT_MAPPING_ADDRESS, OVERLAY_KNOWN_NO},
        {{{1, 1, 700}, {1, 2, 701}}, OVERLAY_NAT_MAPPING_ADDRESS_AND_PORT, OVERLAY_KNOWN_NO},
    };
    const struct endpoint own = ep(3, 3, OWN_PORT);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct nat_report v[4];
        struct overlay_nat nat = {0};
        size_t n = 0;

        for (; n < 4 && rows[i].reports[n].us != 0; n++)
            v[n] = report(rows[i].reports[n].host, rows[i].reports[n].by, rows[i].reports[n].us);
        nat_judge(v, n, &own, 1, &nat);
        assert_int_equal(nat.mapping, rows[i].mapping);
        assert_int_equal(nat.keeps_ports, rows[i].keeps_ports);
    }
}

static void only_a_nat_that_counts_is_foretold(void **state)
{
    static const struct {
        uint16_t us[4];
        size_t n;
        uint16_t next; /* 0: no telling */
    } rows[] = {
        {{5000, 5001}, 2, 0},          /* too few */
        {{5000, 5004, 5002}, 3, 5005}, /* whatever order they report in */
        {{5000, 5000, 5000}, 3, 0},    /* one port for all */
        {{5000, 5000 + 193, 5001}, 3, 0},
        {{5000, 5000 + 192, 5001}, 3, 5193},
        {{1024, 30000, 61000, 2000}, 4, 0},
        {{65533, 65534, 65535}, 3, 0}, /* begins at the bottom again, and we do not know where */
        {{65532, 65533, 65534}, 3, 65535},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct nat_report v[4];
        struct endpoint out[2];
        size_t n;

        for (size_t k = 0; k < rows[i].n; k++)
            v[k] = report((uint8_t)(k + 1), 1, rows[i].us[k]);
        n = nat_predict(v, rows[i].n, out, 2);
        assert_int_equal(n, rows[i].next == 0 ? 0 : rows[i].next == 65535 ? 1 : 2);
        if (n > 0)
            assert_int_equal(out[0].port, rows[i].next);
        if (n > 1)
            assert_int_equal(out[1].port, rows[i].next + 1);
    }
}

static void two_outer_addresses_are_not_foretold(void **state)
{
    struct nat_report v[] = {report(1, 1, 5000), report(2, 1, 5001), report(3, 1, 5002)};
    struct endpoint out[2];

    v[1].us = ep(9, 8, 5001);
    assert_int_equal(nat_predict(v, 3, out, 2), 0);
}

/* The search. */

static uint8_t tried[65536]; /* ports of PEER that packets went to */
static unsigned packets, longest, elsewhere;

static bool note_udp(struct world *w, struct world_node *from, const struct path_addr *to,
                     uint8_t *pkt, size_t *len)
{
    const struct endpoint peer = ep(7, 7, 0);

    if (from != &w->nodes[0] || to->kind != PATH_UDP)
        return true;
    if (!addr_eq(&to->ep.addr, &peer.addr)) {
        elsewhere++;
        return true;
    }
    packets++;
    tried[to->ep.port] = 1;
    longest = *len > longest ? (unsigned)*len : longest;
    return true;
}

static unsigned ports_tried(void)
{
    unsigned n = 0;

    for (size_t i = 0; i < sizeof(tried); i++)
        n += tried[i];
    return n;
}

/* The peer names these ports of one address; between the two there is the ring alone. */
static struct world *apart(bool search, const uint16_t *ports, size_t n)
{
    struct world *w = world_new(1);
    struct world_node *a = world_add(w, 1), *b = world_add(w, 2);
    struct path_addr to = world_ring_path(b);
    struct endpoint eps[4];

    for (size_t i = 0; i < n; i++)
        eps[i] = ep(7, 7, ports[i]);
    w->ring = w->udp_cut = true;
    a->config.port_search = search;
    world_start(a);
    world_start(b);
    sessions_set_endpoints(b->ss, eps, n);
    memset(tried, 0, sizeof(tried));
    packets = longest = elsewhere = 0;
    w->hook = note_udp;
    session_open(a->ss, &to, &b->config.node);
    world_run(w, SEC(12));
    assert_true(world_connected(a, b));
    return w;
}

static void a_search_is_bounded_and_looks_near_first(void **state)
{
    static const uint16_t ports[] = {5000, 5003};
    struct world *w = apart(true, ports, 2);
    unsigned in_a_round = ports_tried();

    for (uint16_t p = 4995; p < 4995 + SEARCH_NEAR; p++)
        assert_int_equal(tried[p], 1);
    assert_in_range(in_a_round, SEARCH_PORTS - SEARCH_NEAR, SEARCH_PORTS);
    assert_in_range(packets, SEARCH_PORTS, SEARCH_PORTS + 8 * PATH_TRIES);
    assert_int_equal(elsewhere, 0);
    world_run(w, SEC(20)); /* the next round of candidates brings the next search */
    assert_in_range(ports_tried(), in_a_round + SEARCH_PORTS / 2, 2 * SEARCH_PORTS);
    world_free(w);
}

static void without_leave_nothing_is_searched(void **state)
{
    static const uint16_t ports[] = {5000, 5003};
    struct world *w = apart(false, ports, 2);

    assert_int_equal(ports_tried(), 2);
    world_free(w);
}

/* Its NAT has one port for all: the others lead nowhere. */
static void a_peer_with_one_port_is_not_searched_for(void **state)
{
    static const uint16_t ports[] = {5000};
    struct world *w = apart(true, ports, 1);

    assert_int_equal(ports_tried(), 1);
    world_free(w);
}

static void the_end_of_the_session_ends_the_search(void **state)
{
    static const uint16_t ports[] = {5000, 5003};
    struct world *w = apart(true, ports, 2);

    world_run(w, SEC(4)); /* the second one is under way, or about to be */
    session_close(world_session(&w->nodes[0], &w->nodes[1]));
    world_run(w, SEC(1));
    unsigned before = packets;

    world_run(w, SEC(30));
    assert_int_equal(packets, before);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_tell_how_the_nat_maps),
        cmocka_unit_test(only_a_nat_that_counts_is_foretold),
        cmocka_unit_test(two_outer_addresses_are_not_foretold),
        cmocka_unit_test(a_search_is_bounded_and_looks_near_first),
        cmocka_unit_test(without_leave_nothing_is_searched),
        cmocka_unit_test(a_peer_with_one_port_is_not_searched_for),
        cmocka_unit_test(the_end_of_the_session_ends_the_search),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
