// link: peal_overlay
/* Whom UDP does not reach, TCP does: contacts, members, and what happens when a connection ends. */
#include "overlay/overlay_internal.h"
#include "tests/unit/overlay_net.h"

static const usec half_us = MSEC(20);
static bool cut; /* connections carry nothing */

/* Connections are numbered by who opens one to whom; the one who accepted it adds the flag. */
static void put(struct overlay_net *net, unsigned to, const struct net_node *from, uint32_t conn,
                const uint8_t *pkt, size_t len)
{
    struct net_packet *p = malloc(sizeof *p + len);

    *p = (struct net_packet){.at_us = net->now_us + half_us,
                             .seq = net->seq++,
                             .to = to,
                             .from = from->ep,
                             .conn = conn,
                             .len = len};
    if (len > 0)
        memcpy(p->bytes, pkt, len);
    net_push(net, p);
}

static uint32_t tcp_open(void *ctx, const struct endpoint *to)
{
    struct net_node *n = ctx;
    uint32_t number = addr_to_v4(&to->addr) - 0x0a000001u;
    uint32_t conn = (n->number + 1) << 8 | (number + 1);

    if (number >= n->net->count || to->port != 4747)
        return 0;
    put(n->net, n->number, n, conn, NULL, 0);
    return conn;
}

static void tcp_send(void *ctx, uint32_t conn, const uint8_t *pkt, size_t len)
{
    struct net_node *n = ctx;
    bool accepted = (conn & PATH_TCP_ACCEPTED) != 0;
    unsigned to = accepted ? (conn >> 8 & 0xff) - 1 : (conn & 0xff) - 1;

    if (!cut)
        put(n->net, to, n, conn ^ PATH_TCP_ACCEPTED, pkt, len);
}

static void tcp_close(void *ctx, uint32_t conn)
{
}

static struct overlay_net *net_with_tcp(uint64_t seed)
{
    static struct overlay_host callbacks;
    struct overlay_net *net = net_new(seed, half_us);

    callbacks = net_callbacks;
    callbacks.tcp_open = tcp_open;
    callbacks.tcp_send = tcp_send;
    callbacks.tcp_close = tcp_close;
    net->callbacks = &callbacks;
    return net;
}

static struct overlay_peer_info info_of(struct net_node *a, const struct net_node *b)
{
    struct overlay_peer_info all[16], none = {.up = false};
    size_t n = overlay_peers(a->o, all, ARRAY_LEN(all));

    for (size_t i = 0; i < n; i++)
        if (id_eq(&all[i].node, &b->config.node))
            return all[i];
    return none;
}

static void a_bootstrap_that_is_silent_on_udp_is_reached_over_tcp_after_2_s(void **state)
{
    struct overlay_net *net = net_with_tcp(1);
    struct net_node *a = net_start_new(net), *b = net_add(net);
    unsigned first = 0;

    b->udp_blocked = true;
    net_start(b, &first, 1);
    net_run(net, MSEC(1950));
    assert_false(info_of(b, a).up);
    net_run(net, MSEC(550));
    assert_true(info_of(b, a).tcp);
    struct endpoint used = info_of(b, a).endpoint;

    assert_true(endpoint_eq(&used, &a->ep));
    assert_true(info_of(a, b).tcp);
    net_run(net, SEC(3));
    assert_true(net_ideal(net, true));
    net_free(net);
}

static void members_take_tcp_before_the_ring_and_udp_before_tcp(void **state)
{
    struct overlay_net *net = net_with_tcp(2);
    struct net_node *n[3];
    unsigned first = 0;

    for (int i = 0; i < 3; i++)
        n[i] = net_add(net);
    n[2]->udp_blocked = true;
    for (int i = 0; i < 3; i++)
        net_start(n[i], &first, 1);
    net_run(net, SEC(12));
    assert_true(net_ideal(net, true));
    assert_true(info_of(n[0], n[1]).udp);
    assert_true(info_of(n[2], n[0]).tcp);
    assert_true(info_of(n[2], n[1]).tcp);
    n[2]->udp_blocked = false;
    net_run(net, SEC(60));
    assert_true(info_of(n[2], n[0]).udp);
    assert_true(info_of(n[2], n[1]).udp);
    net_free(net);
}

static void what_only_tcp_carried_goes_on_by_another_way_when_it_closes(void **state)
{
    struct overlay_net *net = net_with_tcp(3);
    struct net_node *n[3];
    unsigned first = 0;

    for (int i = 0; i < 3; i++)
        n[i] = net_add(net);
    n[2]->udp_blocked = true;
    for (int i = 0; i < 3; i++)
        net_start(n[i], &first, 1);
    net_run(net, SEC(12));
    assert_true(info_of(n[2], n[1]).tcp);
    cut = true;
    net_run(net, 2 * half_us);
    for (uint32_t conn = 0x203; conn <= 0x302; conn += 0x302 - 0x203) {
        overlay_tcp_closed(net_enter(n[1]), conn | (conn == 0x302 ? PATH_TCP_ACCEPTED : 0));
        overlay_tcp_closed(net_enter(n[2]), conn | (conn == 0x203 ? PATH_TCP_ACCEPTED : 0));
    }
    net_run(net, MSEC(500));
    assert_true(info_of(n[2], n[1]).up);
    assert_false(info_of(n[2], n[1]).tcp);
    cut = false;
    net_run(net, SEC(30));
    assert_true(info_of(n[2], n[1]).tcp); /* and a new one is made */
    net_free(net);
}

/* Its one connection closes, as it was restarted: that is soon noticed, and TCP waits for no UDP.
 */
static void who_was_reached_over_tcp_and_restarts_is_reached_so_again_within_6_s(void **state)
{
    struct overlay_net *net = net_with_tcp(5);
    struct net_node *a = net_start_new(net), *b = net_add(net);
    unsigned first = 0, ms = 0;

    b->udp_blocked = true;
    net_start(b, &first, 1);
    net_run(net, SEC(5));
    assert_true(info_of(b, a).tcp);
    for (int i = 0; i < 3; i++) {
        net_kill(a);
        overlay_tcp_closed(net_enter(b), 0x201);
        net_run(net, MSEC(200));
        net_start(a, NULL, 0);
        for (ms = 200; !info_of(a, b).up && ms < 10000; ms++)
            net_run(net, MSEC(1));
        fprintf(stderr, "again: %u ms\n", ms);
        assert_in_range(ms, 200, 6000);
        assert_true(info_of(a, b).tcp);
        net_run(net, SEC(20));
        assert_true(net_ideal(net, true));
    }
    net_free(net);
}

static void only_connections_of_proven_peers_count_as_used(void **state)
{
    struct overlay_net *net = net_with_tcp(4);
    struct net_node *a = net_start_new(net), *b = net_add(net);
    const uint8_t garbage[40] = {PACKET_HANDSHAKE, 1};
    unsigned first = 0;

    b->udp_blocked = true;
    net_start(b, &first, 1);
    put(net, 0, b, 0x505 | PATH_TCP_ACCEPTED, garbage, sizeof garbage);
    net_run(net, SEC(3));
    assert_false(overlay_tcp_used(a->o, 0x505 | PATH_TCP_ACCEPTED));
    assert_true(overlay_tcp_used(a->o, 0x201 | PATH_TCP_ACCEPTED));
    assert_true(overlay_tcp_used(b->o, 0x201));
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bootstrap_that_is_silent_on_udp_is_reached_over_tcp_after_2_s),
        cmocka_unit_test(members_take_tcp_before_the_ring_and_udp_before_tcp),
        cmocka_unit_test(what_only_tcp_carried_goes_on_by_another_way_when_it_closes),
        cmocka_unit_test(who_was_reached_over_tcp_and_restarts_is_reached_so_again_within_6_s),
        cmocka_unit_test(only_connections_of_proven_peers_count_as_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
