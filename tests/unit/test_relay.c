// link: peal_overlay
/* Members that cannot reach each other directly: who relays, who takes over, who is refused. */
#include "overlay/channel.c"
#include "overlay/path.h"
#include "overlay/relay.h"

#include "tests/unit/overlay_net.h"

enum { MEMBERS = 8, A = 1, B = 2 };
static const usec rtt_half = MSEC(20);

/* What the hook does; set by each test. */
static struct {
    bool (*apart)(unsigned a, unsigned b); /* these two never reach each other */
    usec (*delay_of)(unsigned from, unsigned to);
    unsigned relay; /* number of the node that misbehaves; 0: none */
    enum { GOOD, DROPS, REPLAYS, ALTERS } relay_is;
} world;

static bool a_and_b(unsigned a, unsigned b)
{
    return (a == A && b == B) || (a == B && b == A);
}

static bool on_packet(struct overlay_net *net, unsigned from, unsigned to, uint8_t *pkt, size_t len)
{
    if (world.apart != NULL && world.apart(from, to))
        return false;
    if (from != world.relay || pkt[0] != PACKET_RELAY)
        return true;
    switch (world.relay_is) {
    case GOOD:
        return true;
    case DROPS:
        return false;
    case ALTERS:
        pkt[len - 1] ^= 1;
        return true;
    case REPLAYS: {
        struct net_packet *again = malloc(sizeof *again + len);

        *again = (struct net_packet){.at_us = net->now_us + SEC(1),
                                     .seq = net->seq++,
                                     .to = to,
                                     .from = net->nodes[from]->ep,
                                     .len = len};
        memcpy(again->bytes, pkt, len);
        net_push(net, again);
        return true;
    }
    }
    return true;
}

static struct overlay_net *ring(uint64_t seed, unsigned n, bool (*apart)(unsigned, unsigned))
{
    struct overlay_net *net = net_new(seed, rtt_half);

    world.apart = apart;
    world.relay = 0;
    world.relay_is = GOOD;
    net->hook = on_packet;
    net->delay_of = world.delay_of;
    for (unsigned i = 0; i < n; i++)
        net_start_new(net);
    net_settle(net, SEC(60));
    net_run(net, SEC(20));
    return net;
}

static struct link *link_between(struct overlay_net *net, unsigned a, unsigned b)
{
    return link_find(net->nodes[a]->o, &net->nodes[b]->config.node);
}

static const struct path_addr *path_between(struct overlay_net *net, unsigned a, unsigned b)
{
    static const struct path_addr none;
    const struct link *l = link_between(net, a, b);

    return l != NULL && l->up ? session_path(l->session) : &none;
}

static bool is_relayed(struct overlay_net *net, unsigned a, unsigned b)
{
    return path_between(net, a, b)->kind == PATH_RELAY &&
           path_between(net, b, a)->kind == PATH_RELAY;
}

/* The number of the node that carries between the two. */
static unsigned relay_of(struct overlay_net *net, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < net->count; i++)
        if (id_eq(&net->nodes[i]->config.node, &path_between(net, a, b)->via))
            return i;
    fail_msg("nobody relays between %u and %u", a, b);
    return 0;
}

/* How long until `done`; fails after at_most_us. */
static usec until(struct overlay_net *net, usec at_most_us,
                  bool (*done)(struct overlay_net *net, unsigned a, unsigned b))
{
    usec from_us = net->now_us;

    while (!done(net, A, B)) {
        if (net->now_us >= from_us + at_most_us)
            fail_msg("not within %.1f s", (double)at_most_us / 1e6);
        net_run(net, MSEC(5));
    }
    return net->now_us - from_us;
}

static bool is_up(struct overlay_net *net, unsigned a, unsigned b)
{
    const struct link *l = link_between(net, a, b), *m = link_between(net, b, a);

    return l != NULL && l->up && m != NULL && m->up;
}

static bool is_direct(struct overlay_net *net, unsigned a, unsigned b)
{
    return path_between(net, a, b)->kind == PATH_UDP && path_between(net, b, a)->kind == PATH_UDP;
}

/* It demands, as traffic to it would. */
static void demand(struct overlay_net *net, unsigned a, unsigned b)
{
    assert_int_equal(overlay_demand(net_enter(net->nodes[a]), &net->nodes[b]->config.node), 0);
}

/* A data packet to the peer arrives over whatever path there is. */
static bool data_arrives(struct overlay_net *net, unsigned a, unsigned b)
{
    uint8_t pkt[32] = {PACKET_DATA, 1, 0, 0, 1, 2, 3, 4};
    unsigned before = net->nodes[b]->messages;

    assert_int_equal(
        overlay_send_data(net_enter(net->nodes[a]), &net->nodes[b]->config.node, pkt, sizeof pkt),
        0);
    net_run(net, MSEC(300));
    return net->nodes[b]->messages == before + 1 &&
           memcmp(net->nodes[b]->last, pkt, sizeof pkt) == 0;
}

static uint64_t counted(struct overlay_net *net, unsigned n, enum overlay_count c)
{
    return net->nodes[n]->o->counts[c];
}

static void a_third_member_relays_within_a_second(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct overlay_net *net = ring(seed, MEMBERS, a_and_b);
        struct overlay_peer_info info;
        struct overlay_relay relays[MEMBERS];

        demand(net, A, B);
        until(net, SEC(2), is_up);
        assert_in_range(until(net, SEC(2), is_relayed), 0, SEC(1));
        assert_true(data_arrives(net, A, B) && data_arrives(net, B, A));
        assert_true(id_eq(&path_between(net, A, B)->via, &path_between(net, B, A)->via));
        net_run(net, SEC(5));
        assert_true(overlay_peer(net->nodes[A]->o, &net->nodes[B]->config.node, &info));
        assert_int_equal(info.standbys, 2);
        assert_true(info.standby_rtt_us[0] > 0 && info.standby_rtt_us[1] > 0);
        assert_true(id_eq(&info.relay, &path_between(net, A, B)->via));
        assert_false(info.udp);
        assert_true(info.moved.by == OVERLAY_MOVE_BETTER || info.moved.by == OVERLAY_MOVE_CHOSEN);
        assert_string_equal(info.moved.before, "overlay");
        assert_int_equal(overlay_relays(net->nodes[A]->o, &info.node, relays, MEMBERS), 3);
        for (int i = 0; i < 3; i++) {
            bool carries = id_eq(&relays[i].node, &info.relay);

            assert_int_equal(relays[i].state,
                             carries ? OVERLAY_RELAY_IN_USE : OVERLAY_RELAY_STANDS_BY);
            assert_in_range(relays[i].rtt_us, 4 * rtt_half, 5 * rtt_half);
        }
        net_free(net);
    }
}

static usec by_number(unsigned from, unsigned to)
{
    return MSEC(5) * (1 + (from > to ? from - to : to - from));
}

static void the_quickest_of_those_that_both_reach_is_chosen(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct overlay_net *net;
        unsigned relay;

        world.delay_of = by_number; /* numbers 0 and 3 lie nearest to A and B */
        net = ring(seed, MEMBERS, a_and_b);
        world.delay_of = NULL;
        demand(net, A, B);
        net_run(net, SEC(20));
        assert_true(is_relayed(net, A, B));
        relay = relay_of(net, A, B);
        assert_true(relay == 0 || relay == 3);
        assert_int_equal(session_rtt(link_between(net, A, B)->session), MSEC(50));
        net_free(net);
    }
}

/* Everybody is a neighbour of everybody in a small ring, so those whom A and B reach are kept
 * apart; what is left in common must be made. */
static void without_a_common_neighbour_one_is_made(void **state)
{
    for (uint64_t seed = 1, runs = 0; runs < 3; seed++) {
        struct overlay_net *net = ring(seed, 40, a_and_b);
        struct net_node *a = net->nodes[A], *b = net->nodes[B];

        if (link_between(net, A, B) != NULL) { /* drawn as a shortcut */
            net_free(net);
            continue;
        }
        runs++;
        /* No overlap: what they share is told to relay for nobody. */
        for (size_t i = 0; i < net->count; i++)
            if (link_find(a->o, &net->nodes[i]->config.node) != NULL &&
                link_find(b->o, &net->nodes[i]->config.node) != NULL)
                net->nodes[i]->o->relay_refused = true;
        demand(net, A, B);
        until(net, SEC(2), is_up);
        until(net, SEC(5), is_relayed);
        assert_false(net->nodes[relay_of(net, A, B)]->o->relay_refused);
        assert_true(data_arrives(net, A, B));
        net_free(net);
    }
}

static struct overlay_net *relayed(uint64_t seed)
{
    struct overlay_net *net = ring(seed, MEMBERS, a_and_b);

    demand(net, A, B);
    until(net, SEC(3), is_relayed);
    net_run(net, SEC(5));
    assert_true(is_relayed(net, A, B));
    return net;
}

/* The data plane's report of what `from` has from `to`. */
static void report_data(struct overlay_net *net, unsigned from, unsigned to)
{
    struct net_node *n = net->nodes[from];
    const struct data_way way = {.relay = &n->data_via};
    struct data_seen seen = {.tx_us = net->now_us, .rx_us = n->data_us, .tx_packets = 1};

    if (overlay_data_is_back(n->o, &net->nodes[to]->config.node, &way))
        seen.back_us = n->data_us;
    overlay_data_seen(net_enter(n), session_token(link_between(net, from, to)->session), &seen);
}

/* Data is offered all the time, and the data plane reports it. */
static void carry_data(struct overlay_net *net, usec for_us)
{
    for (usec t = 0; t < for_us; t += MSEC(100)) {
        for (unsigned i = 0; i < 2; i++) {
            unsigned from = i == 0 ? A : B, to = i == 0 ? B : A;
            uint8_t pkt[32] = {PACKET_DATA, 1};

            (void)overlay_send_data(net_enter(net->nodes[from]), &net->nodes[to]->config.node, pkt,
                                    sizeof pkt);
            report_data(net, from, to);
        }
        net_run(net, MSEC(100));
    }
}

static void another_takes_over_within_3_seconds_of_a_relays_death(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct overlay_net *net = relayed(seed);
        unsigned dead;

        carry_data(net, SEC(2));
        dead = relay_of(net, A, B);
        net_kill(net->nodes[dead]);
        carry_data(net, SEC(3));
        assert_true(data_arrives(net, A, B) && data_arrives(net, B, A));
        net_run(net, SEC(5));
        assert_true(is_relayed(net, A, B));
        assert_int_not_equal(relay_of(net, A, B), dead);
        net_free(net);
    }
}

/* Each end has chosen for itself: what comes by the other's relay says nothing about its own. */
static void a_relay_that_drops_is_left_although_the_peer_sends_by_another(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct overlay_net *net = relayed(seed);
        bool a_is_lower = id_cmp(&net->nodes[A]->config.node, &net->nodes[B]->config.node) < 0;
        unsigned low = a_is_lower ? A : B, high = a_is_lower ? B : A, drops;
        struct overlay_peer_info info;
        struct path_addr other = *path_between(net, high, low);

        assert_true(overlay_peer(net->nodes[high]->o, &net->nodes[low]->config.node, &info));
        assert_int_not_equal(info.standbys, 0);
        other.via = info.standby[0];
        net_enter(net->nodes[high]);
        path_nominated(link_between(net, high, low)->session, &other);
        drops = relay_of(net, low, high);
        assert_int_not_equal(relay_of(net, high, low), drops);
        world.relay = drops;
        world.relay_is = DROPS;
        carry_data(net, SEC(3));
        assert_true(data_arrives(net, A, B) && data_arrives(net, B, A));
        net_free(net);
    }
}

static void another_takes_over_at_once_when_the_relay_says_goodbye(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct overlay_net *net = relayed(seed);
        unsigned leaver = relay_of(net, A, B);
        struct overlay_moved moved;

        overlay_leave(net_enter(net->nodes[leaver]));
        for (int i = 0; i < 10; i++) { /* nothing is lost meanwhile */
            assert_true(data_arrives(net, A, B));
            assert_true(data_arrives(net, B, A));
        }
        assert_true(is_relayed(net, A, B));
        assert_int_not_equal(relay_of(net, A, B), leaver);
        session_last_move(link_between(net, A, B)->session, &moved);
        assert_true(moved.by == OVERLAY_MOVE_LOST || moved.by == OVERLAY_MOVE_CHOSEN);
        assert_string_equal(moved.before, "relay");
        net_free(net);
    }
}

static void relays_that_failed_are_told_while_they_are_left_alone(void **state)
{
    struct overlay_net *net = relayed(11);
    struct link *l = link_between(net, A, B);
    struct overlay_relay v[MEMBERS];
    usec until_us = net->now_us + SEC(5);

    assert_int_equal(overlay_relays(net->nodes[A]->o, &l->peer.id, v, MEMBERS), RELAY_WAYS);
    l->relay->bad[0] = (struct relay_bad){.id = v[0].node, .times = 1, .until_us = until_us};
    l->relay->bad[1] = (struct relay_bad){.id = l->peer.id, .times = 1, .until_us = until_us};
    l->relay->bad[2] = (struct relay_bad){.id = l->peer.id, .times = 1, .until_us = 1};
    assert_int_equal(overlay_relays(net->nodes[A]->o, &l->peer.id, v, MEMBERS), RELAY_WAYS + 1);
    assert_int_equal(v[RELAY_WAYS].state, OVERLAY_RELAY_FAILED);
    assert_true(v[RELAY_WAYS].until_us == until_us);
    assert_int_equal(overlay_relays(net->nodes[A]->o, &l->peer.id, v, 2), 2);
    net_free(net);
}

static void a_relay_that_drops_packets_is_left_for_another(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct overlay_net *net = relayed(seed);

        world.relay = relay_of(net, A, B);
        world.relay_is = DROPS;
        carry_data(net, SEC(5));
        net_run(net, SEC(1));
        assert_true(data_arrives(net, A, B));
        assert_int_not_equal(relay_of(net, A, B), world.relay);
        net_free(net);
    }
}

static uint64_t session_count(struct overlay_net *net, unsigned n, enum session_count c)
{
    return sessions_counted(net->nodes[n]->o->sessions, c);
}

static void what_a_relay_replays_or_alters_dies_at_the_end(void **state)
{
    struct overlay_net *net = relayed(3);

    world.relay = relay_of(net, A, B);
    world.relay_is = REPLAYS;
    net_run(net, SEC(60));
    assert_true(session_count(net, A, SESSION_COUNT_REPLAY) +
                    session_count(net, B, SESSION_COUNT_REPLAY) >
                0);
    assert_true(is_relayed(net, A, B));
    world.relay = relay_of(net, A, B);
    world.relay_is = ALTERS;
    net_run(net, SEC(60));
    assert_true(session_count(net, A, SESSION_COUNT_FORGED) +
                    session_count(net, B, SESSION_COUNT_FORGED) >
                0);
    assert_int_not_equal(relay_of(net, A, B), world.relay);
    net_free(net);
}

static void who_refuses_to_relay_is_not_asked_twice_and_the_ring_carries_on(void **state)
{
    struct overlay_net *net = net_new(5, rtt_half);
    uint64_t refused = 0;

    world.apart = a_and_b;
    world.relay = 0;
    net->hook = on_packet;
    for (unsigned i = 0; i < MEMBERS; i++) {
        unsigned first = 0;
        struct net_node *n = net_add(net);

        n->config.relay_refused = true;
        net_start(n, &first, 1);
    }
    net_settle(net, SEC(60));
    demand(net, A, B);
    net_run(net, SEC(30));
    assert_true(is_up(net, A, B));
    assert_int_equal(path_between(net, A, B)->kind, PATH_RING);
    assert_true(data_arrives(net, A, B));
    for (unsigned i = 0; i < MEMBERS; i++)
        refused += counted(net, i, OVERLAY_COUNT_RELAY_REFUSED);
    assert_in_range(refused, 0, MEMBERS);
    net_free(net);
}

static void a_direct_path_takes_over_and_the_channels_go(void **state)
{
    struct overlay_net *net = relayed(6);

    world.apart = NULL;
    until(net, SEC(60), is_direct);
    net_run(net, SEC(RELAY_SPARE_S) + SEC(2));
    assert_null(link_between(net, A, B)->relay);
    assert_null(link_between(net, B, A)->relay);
    for (unsigned i = 0; i < MEMBERS; i++) {
        assert_int_equal(net->nodes[i]->o->channels.count, 0);
        assert_int_equal(net->nodes[i]->o->legs.count, 0);
    }
    net_free(net);
}

/* Relay packets that belong to no channel, or come from elsewhere. */
static void packets_that_no_leg_expects_are_dropped_and_counted(void **state)
{
    struct overlay_net *net = relayed(7);
    unsigned relay = relay_of(net, A, B);
    struct net_node *n = net->nodes[relay];
    const struct channel *c = n->o->channels.v[0];
    uint32_t good = c->legs[0].rx;
    struct net_node *owner = NULL;
    struct {
        uint8_t head, inner;
        uint32_t channel;
        bool stranger;
        size_t len;
    } rows[] = {
        {0, PACKET_CONTROL, good ^ 1, false, 40}, /* no such channel */
        {0, PACKET_CONTROL, 0, false, 40},
        {0, PACKET_CONTROL, good, true, 40},  /* from another address */
        {0, PACKET_RELAY, good, false, 40},   /* a relay packet inside */
        {1, PACKET_CONTROL, good, false, 40}, /* what must be zero is not */
        {0, PACKET_CONTROL, good, false, 8},  /* nothing inside */
        {0, PACKET_CONTROL, good, false, 3},
    };

    for (unsigned i = 0; i < MEMBERS; i++)
        if (id_eq(&net->nodes[i]->config.node, &c->legs[0].neighbour))
            owner = net->nodes[i];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t before = counted(net, relay, OVERLAY_COUNT_DROP_RELAY);
        struct endpoint from = rows[i].stranger ? net_endpoint(200) : owner->ep;
        uint8_t pkt[40] = {PACKET_RELAY, rows[i].head, 0, 0};

        put_u32(pkt + 4, rows[i].channel);
        pkt[8] = rows[i].inner;
        uint64_t sent = n->sent_packets;

        (void)overlay_input(net_enter(n), &from, pkt, rows[i].len);
        assert_int_equal(counted(net, relay, OVERLAY_COUNT_DROP_RELAY), before + 1);
        assert_int_equal(n->sent_packets, sent);
    }
    net_free(net);
}

static bool forwarded(struct overlay_net *net, unsigned relay)
{
    struct net_node *n = net->nodes[relay];
    struct channel *c = n->o->channels.v[0];
    uint64_t before = n->sent_packets;
    uint8_t pkt[1008] = {PACKET_RELAY};
    struct endpoint from = {.port = 0};

    for (unsigned i = 0; i < net->count; i++)
        if (id_eq(&net->nodes[i]->config.node, &c->legs[0].neighbour))
            from = net->nodes[i]->ep;
    put_u32(pkt + 4, c->legs[0].rx);
    pkt[8] = PACKET_DATA;
    (void)overlay_input(net_enter(n), &from, pkt, sizeof pkt);
    return n->sent_packets == before + 1;
}

static void a_relay_forwards_no_faster_than_it_was_told(void **state)
{
    struct overlay_net *net = relayed(8);
    unsigned relay = relay_of(net, A, B), sent = 0;
    struct overlay *o = net->nodes[relay]->o;

    meter_unref(o->channels.meter);
    o->channels.meter = meter_new(1000 * 1000); /* 8 Mbit/s: 1000 packets a second */
    for (int i = 0; i < 4000; i++) {
        sent += forwarded(net, relay);
        net->now_us += 500;
    }
    assert_in_range(sent, 2000, 2420);
    assert_int_equal(counted(net, relay, OVERLAY_COUNT_DROP_RELAY_RATE), 4000 - sent);
    net_free(net);
}

/* Far more data than the relay passes on, without a pause: what the ends ask each other gets
 * through, so the path stays. */
static void a_load_that_is_cut_off_does_not_cut_off_the_path(void **state)
{
    struct overlay_net *net = relayed(8);
    unsigned relay = relay_of(net, A, B);
    struct overlay *o = net->nodes[relay]->o;
    struct channel *c = o->channels.v[0];
    uint64_t dropped = counted(net, relay, OVERLAY_COUNT_DROP_RELAY_RATE);

    o->channels.bytes_per_s = c->meter->bytes_per_s = o->channels.meter->bytes_per_s = 100 * 1000;
    for (int i = 0; i < 6000; i++) { /* 1 Mbyte/s, for a minute, in tens */
        for (int k = 0; k < 10; k++)
            (void)forwarded(net, relay);
        net_run(net, MSEC(10));
    }
    assert_true(counted(net, relay, OVERLAY_COUNT_DROP_RELAY_RATE) > dropped + 50000);
    assert_true(is_relayed(net, A, B));
    assert_int_equal(relay_of(net, A, B), relay);
    net_free(net);
}

static void what_the_ring_carries_for_others_is_bounded_as_well(void **state)
{
    struct overlay_net *net = relayed(8);
    unsigned relay = relay_of(net, A, B), passed = 0;
    struct overlay *o = net->nodes[relay]->o;
    uint8_t body[1000] = {0, 0, 0x01, PACKET_DATA};

    assert_true(carry_allowed(o, body, sizeof body)); /* no bound */
    meter_unref(o->channels.meter);
    o->channels.meter = meter_new(1000 * 1000);
    o->channels.bytes_per_s = 500 * 1000;
    for (int i = 0; i < 4000; i++) {
        net_enter(net->nodes[relay]);
        passed += carry_allowed(o, body, sizeof body);
        net->now_us += 500;
    }
    assert_in_range(passed, 2000, 2420);
    body[3] = PACKET_CONTROL;
    assert_true(carry_allowed(o, body, sizeof body));
    net_free(net);
}

/* An OPEN from a, as its session would deliver it. */
static void ask_for_channel(struct overlay_net *net, unsigned relay, unsigned a,
                            const struct id *far, uint32_t rx)
{
    uint8_t body[ID_LEN + 4];
    struct reader r;

    memcpy(body, far->b, ID_LEN);
    put_u32(body + ID_LEN, rx);
    r = reader_of(body, sizeof body);
    assert_true(channel_open_input(net_enter(net->nodes[relay]), link_between(net, relay, a), &r));
}

/* A ring in which the fourth node has a session with each of the others. */
static struct overlay_net *star(uint64_t seed)
{
    struct overlay_net *net = ring(seed, MEMBERS, NULL);

    for (unsigned i = 0; i < MEMBERS; i++)
        if (i != 3)
            demand(net, 3, i);
    net_run(net, SEC(2));
    return net;
}

static void a_member_that_asks_too_often_is_refused_and_others_are_not(void **state)
{
    struct overlay_net *net = star(9);
    struct overlay *o = net->nodes[3]->o;
    uint64_t made;

    for (uint32_t i = 0; i < 3 * RELAY_ASKS_MAX; i++)
        ask_for_channel(net, 3, A, &net->nodes[4]->config.node, 1 + i);
    assert_int_equal(o->channels.count, 1); /* one for each pair */
    assert_int_equal(counted(net, 3, OVERLAY_COUNT_RELAY_REFUSED), 2 * RELAY_ASKS_MAX);
    made = counted(net, 3, OVERLAY_COUNT_RELAY_CHANNELS);
    ask_for_channel(net, 3, B, &net->nodes[4]->config.node, 7);
    assert_int_equal(counted(net, 3, OVERLAY_COUNT_RELAY_CHANNELS), made + 1);
    net_free(net);
}

static void channels_that_nobody_uses_are_gone_after_a_minute(void **state)
{
    struct overlay_net *net = star(10);
    struct overlay *o = net->nodes[3]->o;

    ask_for_channel(net, 3, A, &net->nodes[4]->config.node, 1);
    assert_int_equal(o->channels.count, 1);
    world.apart = NULL;
    o->channels.v[0]->legs[1].tx = 9; /* the other end says nothing */
    net_run(net, SEC(1));
    ask_for_channel(net, 3, A, &net->nodes[5]->config.node, 2);
    net_run(net, SEC(RELAY_SILENT_S) + SEC(2 * RELAY_ROUND_S));
    assert_int_equal(o->channels.count, 0);
    assert_int_equal(o->legs.count, 0);
    net_free(net);
}

/* Fills the relay with channels that A asked for. */
static void fill_channels(struct overlay *o, const struct id *requester, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct id far = {{(uint8_t)(o->channels.count >> 8), (uint8_t)o->channels.count, 77}};

        assert_non_null(channel_new(o, requester, &far));
    }
}

static void full_the_channel_idle_longest_goes_or_the_newcomer(void **state)
{
    struct overlay_net *net = star(11);
    struct net_node *n = net->nodes[3];
    const struct id *far = &net->nodes[4]->config.node;
    struct overlay *o = net_enter(n);
    uint32_t oldest;

    fill_channels(o, &net->nodes[A]->config.node, CHANNELS_EACH);
    ask_for_channel(net, 3, A, far, 1); /* none of its own is idle yet */
    assert_int_equal(o->channels.count, CHANNELS_EACH);
    assert_int_equal(counted(net, 3, OVERLAY_COUNT_RELAY_REFUSED), 1);
    ask_for_channel(net, 3, B, far, 1); /* that is no other's limit */
    assert_int_equal(o->channels.count, CHANNELS_EACH + 1);

    n->env.now_us = net->now_us += SEC(CHANNEL_IDLE_S);
    for (size_t i = 0; i < o->channels.count; i++)
        if (i != 4)
            (void)meter_take(o->channels.v[i]->meter, net->now_us - SEC(1), 1, false);
    oldest = o->channels.v[4]->legs[0].rx;
    ask_for_channel(net, 3, A, far, 1);
    assert_int_equal(o->channels.count, CHANNELS_EACH + 1);
    for (size_t i = 0; i < o->channels.count; i++)
        assert_int_not_equal(o->channels.v[i]->legs[0].rx, oldest);

    for (uint8_t i = 0; o->channels.count < CHANNELS_MAX; i++)
        fill_channels(o, &(struct id){{9, i}}, 1);
    ask_for_channel(net, 3, B, &net->nodes[5]->config.node, 1);
    assert_int_equal(o->channels.count, CHANNELS_MAX);
    assert_int_equal(counted(net, 3, OVERLAY_COUNT_RELAY_REFUSED), 2);
    net_free(net);
}

/* Attempts included; the shortcuts that others draw to us are no affair of ours, nor are
 * connections that nobody needs, which may become such. */
static size_t links_of_our_own(const struct overlay *o)
{
    size_t count = o->links.count;

    for (size_t i = 0; i < o->ring.count; i++)
        count -= (link_of(o->ring.peers[i])->theirs & ~OVERLAY_ROLE_SHORTCUT) == 0 &&
                 link_of(o->ring.peers[i])->mine == 0;
    return count;
}

static void a_liar_makes_us_meet_a_few_and_no_more(void **state)
{
    struct overlay_net *net = ring(12, MEMBERS, a_and_b);
    struct overlay *o = net->nodes[A]->o;
    size_t links;

    for (unsigned i = 0; i < MEMBERS; i++)
        net->nodes[i]->o->relay_refused = true;
    demand(net, A, B);
    net_run(net, SEC(10));
    links = links_of_our_own(o);
    for (int k = 0; k < 100; k++) {
        struct link *from = link_between(net, A, B);
        uint8_t body[2 + RELAY_CANDIDATES_MAX * RELAY_ENTRY_LEN] = {0, RELAY_CANDIDATES_MAX};
        struct reader r;

        net_fill(net, body + 2, sizeof body - 2);
        r = reader_of(body, sizeof body);
        assert_true(relay_neighbours_input(net_enter(net->nodes[A]), from, &r));
        net_run(net, MSEC(100));
        assert_in_range(o->relay_meets, 0, RELAY_MEETS);
        assert_in_range(links_of_our_own(o), links, links + 3 * RELAY_MEETS); /* attempts of 5 s */
    }
    net_run(net, SEC(20));
    assert_int_equal(o->relay_meets, 0);
    assert_in_range(links_of_our_own(o), 0, links);
    assert_true(data_arrives(net, A, B));
    net_free(net);
}

static void malformed_messages_are_refused(void **state)
{
    struct overlay_net *net = star(13);
    struct overlay *o = net_enter(net->nodes[3]);
    struct link *from = link_between(net, 3, A);
    static const struct {
        bool (*input)(struct overlay *o, struct link *from, struct reader *r);
        uint8_t body[40];
        size_t len;
    } rows[] = {
        {relay_neighbours_input, {0, 1}, 2},                        /* an entry is missing */
        {relay_neighbours_input, {0, RELAY_CANDIDATES_MAX + 1}, 2}, /* too many */
        {relay_neighbours_input, {0, 0, 1}, 3},                     /* a byte too many */
        {channel_open_input, {1}, 24},                              /* channel 0 */
        {channel_open_input, {1}, 23},
        {relay_invite_input, {1}, 24},
        {relay_accept_input, {1}, 28},
        {relay_end_input, {[24] = RELAY_END_MAX}, 25},
        {relay_end_input, {0}, 24},
        {channel_spare_input, {0}, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reader r = reader_of(rows[i].body, rows[i].len);

        assert_false(rows[i].input(o, from, &r));
    }
    assert_int_equal(o->channels.count, 0);
    net_free(net);
}

static bool a_fifth(unsigned a, unsigned b)
{
    unsigned low = a < b ? a : b, high = a < b ? b : a;

    return low > 0 && (low * 7919u + high * 104729u) % 5 == 0;
}

static void a_ring_closes_although_a_fifth_of_all_pairs_cannot_connect(void **state)
{
    struct overlay_net *net = ring(14, 40, a_fifth);
    unsigned apart = 0;

    for (unsigned i = 0; i < net->count; i++)
        for (size_t k = 0; k < net->nodes[i]->o->ring.count; k++) {
            const struct link *l = link_of(net->nodes[i]->o->ring.peers[k]);

            if (session_path(l->session)->kind == PATH_RELAY)
                apart++;
            if ((l->mine & OVERLAY_ROLE_NEAR) != 0)
                assert_int_not_equal(session_path(l->session)->kind, PATH_RING);
        }
    assert_true(apart > 0);
    net_free(net);
}

static void the_better_relay(void **state)
{
    static const struct {
        const char *why;
        struct relay_choice a, b; /* a is the better one */
    } rows[] = {
        {"the quicker", {MSEC(50), 10, 255}, {MSEC(60), 100, 255}},
        {"of two as quick, the older", {MSEC(50), 100, 255}, {MSEC(50) + 300, 10, 255}},
        {"not the busy one", {MSEC(60), 10, 255}, {MSEC(50), 10, 50}},
        {"a busy one that is much quicker", {MSEC(30), 10, 1}, {MSEC(60), 10, 255}},
        {"who relays at all", {SEC(5), 1, 1}, {MSEC(1), 1000, 0}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!choose_better(&rows[i].a, &rows[i].b) || choose_better(&rows[i].b, &rows[i].a))
            fail_msg("%s", rows[i].why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_better_relay),
        cmocka_unit_test(a_third_member_relays_within_a_second),
        cmocka_unit_test(the_quickest_of_those_that_both_reach_is_chosen),
        cmocka_unit_test(without_a_common_neighbour_one_is_made),
        cmocka_unit_test(another_takes_over_within_3_seconds_of_a_relays_death),
        cmocka_unit_test(a_relay_that_drops_is_left_although_the_peer_sends_by_another),
        cmocka_unit_test(another_takes_over_at_once_when_the_relay_says_goodbye),
        cmocka_unit_test(relays_that_failed_are_told_while_they_are_left_alone),
        cmocka_unit_test(a_relay_that_drops_packets_is_left_for_another),
        cmocka_unit_test(what_a_relay_replays_or_alters_dies_at_the_end),
        cmocka_unit_test(who_refuses_to_relay_is_not_asked_twice_and_the_ring_carries_on),
        cmocka_unit_test(a_direct_path_takes_over_and_the_channels_go),
        cmocka_unit_test(packets_that_no_leg_expects_are_dropped_and_counted),
        cmocka_unit_test(a_relay_forwards_no_faster_than_it_was_told),
        cmocka_unit_test(a_load_that_is_cut_off_does_not_cut_off_the_path),
        cmocka_unit_test(what_the_ring_carries_for_others_is_bounded_as_well),
        cmocka_unit_test(a_member_that_asks_too_often_is_refused_and_others_are_not),
        cmocka_unit_test(channels_that_nobody_uses_are_gone_after_a_minute),
        cmocka_unit_test(full_the_channel_idle_longest_goes_or_the_newcomer),
        cmocka_unit_test(a_liar_makes_us_meet_a_few_and_no_more),
        cmocka_unit_test(malformed_messages_are_refused),
        cmocka_unit_test(a_ring_closes_although_a_fifth_of_all_pairs_cannot_connect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
