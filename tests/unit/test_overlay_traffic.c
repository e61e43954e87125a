// link: peal_overlay
/* What travels over a settled ring: routed messages, pings, broadcasts, crawls, data. */
#include <math.h>

#include "overlay/overlay_internal.h"
#include "tests/unit/overlay_net.h"

static const usec rtt_half = MSEC(70);

/* n nodes at once, then time to settle: neighbours, shortcuts, direct paths. */
static struct overlay_net *ring_at_once(uint64_t seed, unsigned n)
{
    struct overlay_net *net = net_new(seed, rtt_half);

    for (unsigned i = 0; i < n; i++)
        net_start_new(net);
    net_settle(net, SEC(60));
    net_run(net, SEC(60));
    assert_true(net_ideal(net, true));
    return net;
}

static unsigned messages_in_all(const struct overlay_net *net)
{
    unsigned n = 0;

    for (size_t i = 0; i < net->count; i++)
        n += net->nodes[i]->messages;
    return n;
}

static void every_node_reaches_every_other_by_id(void **state)
{
    struct overlay_net *net = ring_at_once(1, 24);

    for (size_t from = 0; from < net->count; from++)
        for (size_t to = 0; to < net->count; to++) {
            struct net_node *a = net->nodes[from], *b = net->nodes[to];
            unsigned before = b->messages;

            assert_int_equal(overlay_route(net_enter(a), &b->config.node, OVERLAY_EXACT,
                                           OVERLAY_PROTO_NODE, &from, sizeof from),
                             0);
            net_run(net, SEC(1));
            assert_int_equal(b->messages, before + 1);
            assert_memory_equal(b->last, &from, sizeof from);
            assert_true(id_eq(&b->last_from.node, &a->config.node));
            assert_true(id_is_zero(&b->last_from.via));
            assert_false(b->last_from.direct);
        }
    assert_int_equal(messages_in_all(net), net->count * net->count);
    net_free(net);
}

static void a_key_is_delivered_at_the_node_nearest_to_it(void **state)
{
    struct overlay_net *net = ring_at_once(2, 40);

    for (unsigned i = 0; i < 400; i++) {
        struct net_node *from = net->nodes[i % 40], *owner;
        struct id key;
        unsigned before;

        net_fill(net, key.b, sizeof key.b);
        owner = net_owner(net, &key);
        before = owner->messages;
        assert_true(overlay_owns(owner->o, &key));
        assert_int_equal(overlay_route(net_enter(from), &key, OVERLAY_NEAREST, OVERLAY_PROTO_DHT,
                                       key.b, sizeof key.b),
                         0);
        net_run(net, SEC(1));
        assert_int_equal(owner->messages, before + 1);
        assert_true(id_eq(&owner->last_from.key, &key));
    }
    assert_int_equal(messages_in_all(net), 400);
    net_free(net);
}

static void a_message_to_ourselves_comes_with_the_next_tick(void **state)
{
    struct overlay_net *net = ring_at_once(3, 2);
    struct net_node *a = net->nodes[0];

    assert_int_equal(
        overlay_route(net_enter(a), &a->config.node, OVERLAY_EXACT, OVERLAY_PROTO_DHT, "x", 1), 0);
    assert_int_equal(a->messages, 0);
    assert_int_equal(overlay_deadline(a->o), net->now_us);
    net_run(net, 0);
    assert_int_equal(a->messages, 1);
    assert_int_equal(overlay_route(net_enter(a), &a->config.node, OVERLAY_EXACT, OVERLAY_PROTO_DHT,
                                   "x", OVERLAY_BODY_MAX + 1),
                     -ERR_RANGE);
    net_free(net);
}

static void the_longest_body_travels_and_is_answered_directly(void **state)
{
    struct overlay_net *net = ring_at_once(4, 24);
    struct net_node *a = net->nodes[3], *b = net->nodes[17];
    uint8_t body[OVERLAY_BODY_MAX];

    memset(body, 0xa5, sizeof body);
    assert_int_equal(overlay_route(net_enter(a), &b->config.node, OVERLAY_EXACT, OVERLAY_PROTO_DHT,
                                   body, sizeof body),
                     0);
    net_run(net, SEC(1));
    assert_int_equal(b->messages, 1);
    assert_int_equal(
        overlay_answer(net_enter(b), &b->last_from, OVERLAY_PROTO_DHT, body, sizeof body), 0);
    net_run(net, SEC(1));
    assert_int_equal(a->messages, 1);
    net_free(net);
}

/* Every third dies, and nobody knows: their sessions would be given up after 2.4 s. */
static void a_question_of_the_dht_goes_around_those_who_just_died(void **state)
{
    struct overlay_net *net = ring_at_once(12, 60);
    struct net_node *living[40];
    size_t n = 0, came = 0;

    for (size_t i = 0; i < net->count; i++)
        if (i % 3 == 0)
            net_kill(net->nodes[i]);
        else
            living[n++] = net->nodes[i];
    for (size_t i = 0; i < n; i++)
        assert_int_equal(overlay_route(net_enter(living[i]), &living[(i + 17) % n]->config.node,
                                       OVERLAY_NEAREST, OVERLAY_PROTO_DHT, &i, sizeof i),
                         0);
    net_run(net, SEC(2));
    for (size_t i = 0; i < n; i++) {
        assert_true(living[i]->messages <= 2);
        came += living[i]->messages > 0;
    }
    assert_true(came >= 36); /* without a detour it is 29; some have lost all that is closer */
    net_free(net);
}

static struct overlay_ping_result pinged;

static void on_ping(void *ctx, const struct overlay_ping_result *r)
{
    pinged = *r;
    ++*(unsigned *)ctx;
}

static void a_ping_names_who_answered_and_how_far_it_is(void **state)
{
    struct overlay_net *net = ring_at_once(5, 24);
    struct net_node *a = net->nodes[1], *b = net->nodes[9];
    struct id right[OVERLAY_NEAR], nobody = {{1}};
    unsigned answers = 0;

    assert_int_equal(
        overlay_ping(net_enter(a), &b->config.node, OVERLAY_EXACT, SEC(3), 7, on_ping, &answers),
        0);
    net_run(net, SEC(1));
    assert_int_equal(answers, 1);
    assert_true(pinged.answered && id_eq(&pinged.node, &b->config.node));
    assert_int_equal(pinged.token, 7);
    assert_in_range(pinged.rtt_us, 2 * rtt_half, 16 * rtt_half);

    assert_true(overlay_near_right(a->o, right) == OVERLAY_NEAR);
    (void)overlay_ping(net_enter(a), &right[0], OVERLAY_EXACT, SEC(3), 8, on_ping, &answers);
    net_run(net, SEC(1));
    assert_true(pinged.answered && pinged.direct && pinged.hops == 1);
    assert_int_equal(pinged.rtt_us, 2 * rtt_half);

    (void)overlay_ping(net_enter(a), &nobody, OVERLAY_EXACT, SEC(3), 9, on_ping, &answers);
    net_run(net, SEC(2));
    assert_int_equal(answers, 2);
    net_run(net, SEC(2));
    assert_int_equal(answers, 3);
    assert_true(!pinged.answered && pinged.token == 9);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(
            overlay_ping(net_enter(a), &nobody, OVERLAY_EXACT, SEC(3), i, on_ping, &answers), 0);
    assert_int_equal(
        overlay_ping(net_enter(a), &nobody, OVERLAY_EXACT, SEC(3), 0, on_ping, &answers),
        -ERR_FULL);
    net_free(net);
}

static void a_broadcast_reaches_everybody_once(void **state)
{
    for (unsigned n = 1; n <= 64; n *= 4) {
        struct overlay_net *net = ring_at_once(n, n);

        for (unsigned i = 0; i < 5; i++) {
            assert_int_equal(
                overlay_broadcast(net_enter(net->nodes[i % n]), OVERLAY_PROTO_NODE, &i, sizeof i),
                0);
            net_run(net, SEC(3));
            for (size_t k = 0; k < net->count; k++) {
                assert_int_equal(net->nodes[k]->messages, i + 1);
                assert_true(id_eq(&net->nodes[k]->last_from.node, &net->nodes[i % n]->config.node));
            }
        }
        net_free(net);
    }
}

/* Of one seed in ten some never heard it: those that only the neighbours of a dead one know. */
static void a_broadcast_survives_loss_and_a_crash_on_its_way(void **state)
{
    static const uint64_t seeds[] = {4, 6, 12, 15, 16, 19, 37, 40, 52, 59, 197};

    for (size_t s = 0; s < ARRAY_LEN(seeds); s++) {
        struct overlay_net *net = ring_at_once(seeds[s], 40);
        unsigned i = 0;

        net->loss_percent = 10;
        net_kill(net->nodes[7]);
        net_kill(net->nodes[23]);
        (void)overlay_broadcast(net_enter(net->nodes[0]), OVERLAY_PROTO_NODE, &i, sizeof i);
        net_run(net, SEC(20));
        for (size_t k = 0; k < net->count; k++)
            if (net->nodes[k]->alive)
                assert_int_equal(net->nodes[k]->messages, 1);
        net_free(net);
    }
}

struct crawled {
    unsigned nodes, consistent, ends;
    uint32_t inconsistent;
};

static void on_crawl_node(void *ctx, const struct overlay_crawl_node *n)
{
    struct crawled *c = ctx;

    c->nodes++;
    c->consistent += n->consistent;
}

static void on_crawl_end(void *ctx, uint32_t nodes, uint32_t inconsistent)
{
    struct crawled *c = ctx;

    c->ends++;
    assert_int_equal(nodes, c->nodes);
    c->inconsistent = inconsistent;
}

static void a_crawl_meets_every_member_and_finds_the_ring_consistent(void **state)
{
    for (unsigned n = 1; n <= 50; n += 7) {
        struct overlay_net *net = ring_at_once(n, n);
        struct crawled c = {0};

        assert_int_equal(
            overlay_crawl(net_enter(net->nodes[n / 2]), 1000, on_crawl_node, on_crawl_end, &c), 0);
        net_run(net, SEC(10));
        assert_int_equal(c.ends, 1);
        assert_int_equal(c.nodes, n);
        assert_int_equal(c.consistent, n);
        assert_int_equal(c.inconsistent, 0);
        net_free(net);
    }
}

static void a_crawl_says_who_does_not_answer(void **state)
{
    struct overlay_net *net = ring_at_once(8, 20);
    struct crawled c = {0};

    net_kill(net->nodes[5]);
    (void)overlay_crawl(net_enter(net->nodes[0]), 1000, on_crawl_node, on_crawl_end, &c);
    net_run(net, SEC(30));
    assert_int_equal(c.ends, 1);
    assert_true(c.nodes == 20 || c.nodes == 19);
    assert_true(c.inconsistent >= c.nodes - 19);
    (void)overlay_crawl(net_enter(net->nodes[0]), 1000, on_crawl_node, on_crawl_end, &c);
    overlay_crawl_cancel(net->nodes[0]->o, &c);
    net_run(net, SEC(30));
    assert_int_equal(c.ends, 1);
    net_free(net);
}

static void demand_brings_a_session_with_data_keys_and_lets_it_go_when_idle(void **state)
{
    struct overlay_net *net = ring_at_once(9, 60);
    struct net_node *a = net->nodes[5], *b = NULL;
    struct overlay_data d;
    size_t before;

    for (size_t i = 6; i < net->count && b == NULL; i++)
        if (!overlay_data(a->o, &net->nodes[i]->config.node, &d))
            b = net->nodes[i];
    assert_non_null(b);
    net_run(net, SEC(60)); /* what was only tried for a shortcut is gone */
    before = overlay_connections(a->o);
    assert_int_equal(overlay_demand(net_enter(a), &b->config.node), 0);
    net_run(net, SEC(2));
    assert_true(overlay_data(a->o, &b->config.node, &d));
    assert_true(d.udp && endpoint_eq(&d.to, &b->ep));
    assert_non_null(d.tx);
    net_run(net, SEC(100));
    overlay_data_seen(net_enter(a), d.token,
                      &(struct data_seen){net->now_us, net->now_us, net->now_us, 5});
    net_run(net, SEC(100));
    assert_true(overlay_data(a->o, &b->config.node, &d));
    net_run(net, SEC(60));
    assert_false(overlay_data(a->o, &b->config.node, &d));
    assert_int_equal(overlay_connections(a->o), before);
    net_free(net);
}

/* 0x83, as the data plane of the far end would get it. */
static void a_large_data_packet_goes_over_the_ring_in_parts(void **state)
{
    struct overlay_net *net = net_new(10, rtt_half);
    struct net_node *a, *b;
    uint8_t pkt[PACKET_MAX];
    struct overlay_data d;

    memset(pkt, 0x5a, sizeof pkt);
    pkt[0] = PACKET_DATA;
    for (unsigned i = 0; i < 12; i++) {
        struct net_node *n = net_add(net);
        unsigned first = 0;

        n->config.relay_refused = true; /* else it would not stay on the ring */
        net_start(n, &first, 1);
    }
    a = net->nodes[2];
    b = net->nodes[8];
    a->deaf_to = b->number + 1;
    b->deaf_to = a->number + 1;
    net_settle(net, SEC(60));
    (void)overlay_demand(net_enter(a), &b->config.node);
    net_run(net, SEC(5));
    assert_true(overlay_data(a->o, &b->config.node, &d));
    assert_false(d.udp);
    b->messages = 0;
    for (size_t len = 100; len <= sizeof pkt; len += 700) {
        assert_int_equal(overlay_send_data(net_enter(a), &b->config.node, pkt, len), 0);
        net_run(net, SEC(1));
        assert_int_equal(b->messages, 1);
        assert_memory_equal(b->last, pkt, b->last_len);
        b->messages = 0;
    }
    net_free(net);
}

static void neighbours_without_a_direct_path_keep_the_ring_whole(void **state)
{
    struct overlay_net *net = net_new(11, rtt_half);

    for (unsigned i = 0; i < 20; i++)
        net_start_new(net);
    for (unsigned i = 1; i + 1 < 20; i += 2) { /* ten pairs that never hear each other */
        net->nodes[i]->deaf_to = i + 2;
        net->nodes[i + 1]->deaf_to = i + 1;
    }
    net_settle(net, SEC(60));
    net_run(net, SEC(120));
    assert_true(net_ideal(net, true));
    net_free(net);
}

static const struct ring *ring_of_peer(const struct overlay_net *net, const struct id *id)
{
    for (size_t i = 0; i < net->count; i++)
        if (id_eq(overlay_id(net->nodes[i]->o), id))
            return &net->nodes[i]->o->ring;
    fail();
    return NULL;
}

static void all_peers_know_how_large_each_believes_the_ring(void **state)
{
    struct overlay_net *net = ring_at_once(5, 60);

    net_run(net, SEC(RING_VIEWS * 70)); /* each view follows from those before; a probe a minute */
    for (size_t i = 0; i < net->count; i++) {
        const struct ring *ring = &net->nodes[i]->o->ring;

        assert_true(fabs(ring_members(ring) / 60 - 1) < 0.15);
        for (size_t p = 0; p < ring->count; p++) {
            const struct ring *theirs = ring_of_peer(net, &ring->peers[p]->id);

            if (!ring_is_near(ring, &ring->peers[p]->id) && !ring->peers[p]->shortcut)
                continue;
            for (size_t k = 0; k < RING_VIEWS; k++) /* in 1/2048 of its log2: within a tenth */
                assert_true(abs(ring->peers[p]->views[k] - theirs->views[k]) < 280);
        }
    }
    net_free(net);
}

static void a_size_told_in_another_length_is_not_taken(void **state)
{
    static const uint8_t words[2 * RING_VIEWS + 1] = {0x12, 0x34};
    struct overlay_net *net = ring_at_once(6, 3);
    struct overlay *o = net->nodes[0]->o, *other = net->nodes[1]->o;
    const struct link *there = link_find(o, &other->ring.self);
    uint64_t bad = o->counts[OVERLAY_COUNT_DROP_BAD];

    for (size_t len = 2 * RING_VIEWS - 1; len <= 2 * RING_VIEWS + 1; len++) {
        (void)session_send(link_find(net_enter(net->nodes[1]), &o->ring.self)->session, MSG_MEMBERS,
                           words, len);
        sessions_flush(other->sessions);
        net_run(net, SEC(1));
        assert_int_equal(there->peer.views[0] == 0x1234, len >= 2 * RING_VIEWS);
    }
    assert_int_equal(o->counts[OVERLAY_COUNT_DROP_BAD], bad + 2);
    net_free(net);
}

static size_t shortcuts_of(struct overlay *o, size_t *under_way)
{
    size_t own = 0;

    *under_way = 0;
    for (size_t i = 0; i < DRAWS_MAX; i++)
        *under_way += o->shortcuts.draws[i].token != 0 || o->shortcuts.draws[i].trials > 0;
    for (size_t i = 0; i < o->ring.count; i++)
        own += (link_of(o->ring.peers[i])->mine & OVERLAY_ROLE_SHORTCUT) != 0;
    return own;
}

/* All at the same time, and then it has so many. */
static void a_new_member_draws_all_shortcuts_that_it_wants(void **state)
{
    struct overlay_net *net = ring_at_once(7, 60);
    unsigned seen = 0;

    for (int i = 0; i < 8; i++) {
        struct overlay *o = net_start_new(net)->o;
        size_t wanted, under_way;

        while (o->ring.state != OVERLAY_MEMBER)
            net_run(net, MSEC(1));
        net_run(net, MSEC(451));
        wanted = (size_t)(ring_shortcuts_wanted(&o->ring) + o->shortcuts.whole);
        assert_int_equal(shortcuts_of(o, &under_way), 0);
        assert_int_equal(under_way, wanted);
        seen |= 1u << wanted;
        net_run(net, SEC(4));
        assert_int_equal(shortcuts_of(o, &under_way), wanted);
        assert_int_equal(under_way, 0);
    }
    assert_int_equal(seen, 1u << 2 | 1u << 3); /* 2.5, rounded by each its own way */
    net_free(net);
}

/* As when a name resolves late, and also where it was only met before. */
static void who_is_told_of_another_ring_makes_them_one_at_once(void **state)
{
    for (int met = 0; met < 2; met++) {
        struct overlay_net *net = net_new(14, rtt_half);
        struct net_node *teller, *other;

        for (unsigned i = 0; i < 80; i++) {
            unsigned first = i / 40 * 40;

            net_start(net_add(net), &first, 1);
        }
        net_run(net, SEC(100));
        assert_false(net_ideal(net, true));
        teller = net->nodes[20];
        other = net->nodes[60];
        if (met == 1)
            assert_int_equal(
                contact_add(net_enter(teller), CONTACT_MET, &other->config.node, &other->ep), 0);
        net_run(net, SEC(60));
        assert_false(net_ideal(net, true));
        assert_int_equal(overlay_add_bootstrap(net_enter(teller), &other->ep), 0);
        assert_true(net_settle(net, SEC(10)) < SEC(5));
        net_free(net);
    }
}

/* Few of those with whom a member has sessions are in its part: the others are whom it met. (Of
 * some seeds a part falls in two, who know nothing of each other.) */
static void a_part_of_a_ring_becomes_one_ring(void **state)
{
    for (unsigned seed = 16; seed < 20; seed++) {
        struct overlay_net *net = net_new(seed, rtt_half);

        for (unsigned i = 0; i < 80; i++)
            net_start(net_add(net), (const unsigned[]){0, 1}, i < 2 ? 1 : 2);
        net_run(net, SEC(100));
        assert_true(net_ideal(net, true));
        for (unsigned i = 0; i < 80; i++)
            net->nodes[i]->part = i % 4;
        assert_true(net_settle(net, SEC(60)) < SEC(40));
        net_free(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_node_reaches_every_other_by_id),
        cmocka_unit_test(a_key_is_delivered_at_the_node_nearest_to_it),
        cmocka_unit_test(a_message_to_ourselves_comes_with_the_next_tick),
        cmocka_unit_test(the_longest_body_travels_and_is_answered_directly),
        cmocka_unit_test(a_question_of_the_dht_goes_around_those_who_just_died),
        cmocka_unit_test(a_ping_names_who_answered_and_how_far_it_is),
        cmocka_unit_test(a_broadcast_reaches_everybody_once),
        cmocka_unit_test(a_broadcast_survives_loss_and_a_crash_on_its_way),
        cmocka_unit_test(a_crawl_meets_every_member_and_finds_the_ring_consistent),
        cmocka_unit_test(a_crawl_says_who_does_not_answer),
        cmocka_unit_test(demand_brings_a_session_with_data_keys_and_lets_it_go_when_idle),
        cmocka_unit_test(a_large_data_packet_goes_over_the_ring_in_parts),
        cmocka_unit_test(neighbours_without_a_direct_path_keep_the_ring_whole),
        cmocka_unit_test(all_peers_know_how_large_each_believes_the_ring),
        cmocka_unit_test(a_size_told_in_another_length_is_not_taken),
        cmocka_unit_test(a_new_member_draws_all_shortcuts_that_it_wants),
        cmocka_unit_test(who_is_told_of_another_ring_makes_them_one_at_once),
        cmocka_unit_test(a_part_of_a_ring_becomes_one_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
