// link: peal_overlay
/* Paths: roaming, candidates, falling back to the ring, and what is never sent where. */
#include <stdio.h>

#include "overlay/core/wire.h"
#include "overlay/path.c"
#include "tests/unit/cm.h"
#include "tests/unit/session_world.h"

static struct world *two_over_the_ring(uint64_t seed)
{
    struct world *w = world_two(seed);
    struct path_addr to = world_ring_path(&w->nodes[1]);

    w->ring = true;
    assert_non_null(session_open(w->nodes[0].ss, &to, &w->nodes[1].config.node));
    return w;
}

static bool is_on(const struct world_node *a, const struct world_node *b,
                  const struct path_addr *path)
{
    return path_addr_eq(session_path(world_session(a, b)), path);
}

static void a_candidate_is_somebody_elses_unicast_address(void **state)
{
    static const struct {
        const char *text;
        bool ok, ok_on_loopback;
    } rows[] = {
        {"192.0.2.7:4747", true, true},      {"[2001:db8::7]:4747", true, true},
        {"10.0.0.1:1", true, true},          {"169.254.1.1:4747", true, true},
        {"127.0.0.1:4747", false, true},     {"[::1]:4747", false, true},
        {"0.0.0.0:4747", false, false},      {"[::]:4747", false, false},
        {"224.0.0.1:4747", false, false},    {"255.255.255.255:4747", false, false},
        {"[ff02::1]:4747", false, false},    {"[fe80::1]:4747", false, false},
        {"198.51.100.1:4747", false, false}, /* our own */
    };
    struct endpoint own[2];

    assert_true(endpoint_parse(&own[0], "198.51.100.1:4747"));
    assert_true(endpoint_parse(&own[1], "127.0.0.1:9999"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct endpoint ep;

        assert_true(endpoint_parse(&ep, rows[i].text));
        assert_int_equal(endpoint_acceptable(&ep, own, 1), rows[i].ok);
        assert_int_equal(endpoint_acceptable(&ep, own, 2), rows[i].ok_on_loopback);
        ep.port = 0;
        assert_false(endpoint_acceptable(&ep, own, 2));
    }
}

static void a_peer_that_moves_is_followed_after_the_echo(void **state)
{
    struct world *w = world_two_connected(1);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct path_addr before = world_path(a), after;

    a->ep = world_ep(50, 5050);
    after = world_path(a);
    session_send(world_session(a, b), MSG_UPPER, "x", 1);
    world_run(w, MSEC(10)); /* arrived; the challenge is on its way */
    assert_int_equal(b->messages, 1);
    assert_true(is_on(b, a, &before));
    world_run(w, MSEC(20));
    assert_true(is_on(b, a, &after));
    assert_true(b->data_changes > 0);
    session_send(world_session(b, a), MSG_UPPER, "y", 1);
    world_run(w, MSEC(20));
    assert_int_equal(a->messages, 1);
    assert_int_equal(a->ups + b->ups, 2);
    assert_int_equal(a->downs + b->downs, 0);
    world_free(w);
}

static void data_from_a_new_address_moves_the_path_too(void **state)
{
    struct world *w = world_two_connected(2);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    a->ep = world_ep(51, 5051);
    session_data_roamed(world_session(b, a), &a->ep);
    world_run(w, MSEC(30));
    assert_true(is_on(b, a, &(struct path_addr){.kind = PATH_UDP, .ep = a->ep}));
    world_free(w);
}

static void a_host_that_changes_its_address_is_back_in_three_seconds(void **state)
{
    struct world *w = world_two_connected(3);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    world_run(w, SEC(30));
    a->ep = world_ep(52, 5052);
    sessions_set_endpoints(a->ss, &a->ep, 1);
    world_run(w, MSEC(100));
    session_send(world_session(b, a), MSG_UPPER, "x", 1);
    world_run(w, MSEC(100));
    assert_int_equal(a->messages, 1);
    assert_true(endpoint_eq(&a->observed_as, &a->ep));
    world_free(w);
}

/* Bytes that went to one address. */
struct tally {
    struct endpoint to;
    size_t bytes, packets;
};

static bool count_bytes(struct world *w, struct world_node *from, const struct path_addr *to,
                        uint8_t *pkt, size_t *len)
{
    struct tally *t = w->hook_arg;

    if (to->kind == PATH_UDP && endpoint_eq(&to->ep, &t->to)) {
        t->bytes += *len;
        t->packets++;
    }
    return true;
}

static void an_unproven_address_gets_three_times_what_came_from_it(void **state)
{
    struct world *w = world_two_connected(4);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct tally t = {.to = world_ep(60, 6060)};
    struct path_addr real = world_path(a);
    size_t sent;

    w->hook = count_bytes;
    w->hook_arg = &t;
    /* Somebody on the way gives our packet another source, where nobody answers. */
    sent = w->packet_count;
    session_send(world_session(a, b), MSG_UPPER, "x", 1);
    sessions_flush(a->ss);
    assert_int_equal(w->packet_count, sent + 1);
    w->packets[sent].from.ep = t.to;
    size_t received = w->packets[sent].len;

    world_run(w, SEC(8));
    assert_int_equal(b->messages, 1);
    assert_in_range(t.packets, 1, PATH_TRIES);
    assert_in_range(t.bytes, 1, 3 * received);
    assert_true(is_on(b, a, &real));
    world_free(w);
}

static void a_replayed_packet_from_elsewhere_starts_nothing(void **state)
{
    struct world *w = world_two_connected(5);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct tally t = {.to = world_ep(61, 6161)};
    struct world_packet copy;

    session_send(world_session(a, b), MSG_UPPER, "x", 1);
    sessions_flush(a->ss);
    copy = w->packets[w->packet_count - 1];
    world_run(w, SEC(1));
    session_send(world_session(a, b), MSG_UPPER, "y", 1);
    world_run(w, SEC(1));
    w->hook = count_bytes;
    w->hook_arg = &t;
    copy.from.ep = t.to;
    world_put(w, &copy.from, &copy.to, copy.bytes, copy.len);
    world_run(w, SEC(1));
    assert_int_equal(sessions_counted(b->ss, SESSION_COUNT_REPLAY), 1);
    assert_int_equal(t.packets, 0);
    world_free(w);
}

static void an_overtaken_packet_from_the_old_address_moves_nothing_back(void **state)
{
    struct world *w = world_two_connected(6);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct path_addr after;
    struct world_packet *late;

    session_send(world_session(a, b), MSG_UPPER, "x", 1);
    sessions_flush(a->ss);
    late = &w->packets[w->packet_count - 1];
    late->at_us += SEC(2);
    a->ep = world_ep(62, 6262);
    after = world_path(a);
    session_send(world_session(a, b), MSG_UPPER, "y", 1);
    world_run(w, SEC(4));
    assert_int_equal(b->messages, 2);
    assert_true(is_on(b, a, &after));
    world_free(w);
}

static void a_session_over_the_ring_finds_the_direct_path(void **state)
{
    struct world *w = two_over_the_ring(7);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct path_addr to_a = world_path(a), to_b = world_path(b);

    world_run(w, SEC(1));
    assert_true(world_connected(a, b));
    assert_true(is_on(a, b, &to_b));
    assert_true(is_on(b, a, &to_a));
    world_free(w);
}

static void without_a_direct_path_the_ring_carries_and_tries_grow_rarer(void **state)
{
    struct world *w = two_over_the_ring(8);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct tally t = {.to = b->ep};
    size_t first_hour;

    w->udp_cut = true;
    world_run(w, SEC(1));
    assert_true(world_connected(a, b));
    assert_int_equal(session_path(world_session(a, b))->kind, PATH_RING);
    w->hook = count_bytes;
    w->hook_arg = &t;
    world_run(w, SEC(3600));
    first_hour = t.packets;
    assert_in_range(first_hour, PATH_TRIES * 9, PATH_TRIES * 14);
    world_run(w, SEC(3600));
    assert_in_range(t.packets - first_hour, PATH_TRIES * 5, PATH_TRIES * 7);
    w->udp_cut = false;
    world_run(w, SEC(700));
    assert_int_equal(session_path(world_session(a, b))->kind, PATH_UDP);
    assert_int_equal(a->ups + b->ups, 2);
    world_free(w);
}

static void a_dead_direct_path_falls_back_to_the_ring_and_returns(void **state)
{
    struct world *w = world_two_connected(9);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    w->ring = true;
    w->udp_cut = true;
    session_probe_now(world_session(a, b));
    world_run(w, SEC(2));
    assert_true(world_connected(a, b));
    assert_int_equal(session_path(world_session(a, b))->kind, PATH_RING);
    session_send(world_session(a, b), MSG_UPPER, "x", 1);
    world_run(w, MSEC(100));
    assert_int_equal(b->messages, 1);
    w->udp_cut = false;
    world_run(w, SEC(40));
    assert_int_equal(session_path(world_session(a, b))->kind, PATH_UDP);
    assert_int_equal(session_path(world_session(b, a))->kind, PATH_UDP);
    assert_int_equal(a->downs + b->downs, 0);
    world_free(w);
}

/* The way that died was another one: this one is known still, and was not heard for a minute. */
static void a_peer_is_reached_again_at_an_address_of_its_past(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct world *w = world_two_connected(16);
        struct world_node *moves = &w->nodes[i], *stays = &w->nodes[1 - i];
        const struct endpoint home = moves->ep;

        w->ring = true;
        moves->ep = world_ep(90, 9090);
        session_send(world_session(moves, stays), MSG_UPPER, "x", 1);
        world_run(w, SEC(60));
        assert_true(endpoint_eq(&session_path(world_session(stays, moves))->ep, &moves->ep));
        w->udp_cut = true;
        moves->ep = home;
        session_probe_now(world_session(stays, moves));
        session_probe_now(world_session(moves, stays));
        world_run(w, SEC(2));
        assert_int_equal(session_path(world_session(stays, moves))->kind, PATH_RING);
        w->udp_cut = false;
        world_run(w, SEC(40));
        assert_true(endpoint_eq(&session_path(world_session(stays, moves))->ep, &home));
        assert_int_equal(session_path(world_session(moves, stays))->kind, PATH_UDP);
        world_free(w);
    }
}

static bool one_way(struct world *w, struct world_node *from, const struct path_addr *to,
                    uint8_t *pkt, size_t *len)
{
    return from != (struct world_node *)w->hook_arg || to->kind != PATH_UDP;
}

static void a_path_that_works_one_way_only_is_given_up_by_both(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct world *w = world_two_connected(14);
        struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

        w->ring = true;
        w->hook = one_way;
        w->hook_arg = &w->nodes[i];
        world_run(w, SEC(30));
        assert_true(world_connected(a, b));
        assert_int_equal(session_path(world_session(a, b))->kind, PATH_RING);
        assert_int_equal(session_path(world_session(b, a))->kind, PATH_RING);
        w->hook = NULL;
        world_run(w, SEC(60));
        assert_int_equal(session_path(world_session(a, b))->kind, PATH_UDP);
        assert_int_equal(session_path(world_session(b, a))->kind, PATH_UDP);
        assert_int_equal(a->downs + b->downs, 0);
        world_free(w);
    }
}

/* Both know both of each other's addresses; one goes back and forth between its two. */
static void a_peer_that_returns_to_a_known_address_is_followed(void **state)
{
    for (int i = 0; i < 2; i++) {
        struct world *w = world_two_connected(15);
        struct world_node *moves = &w->nodes[i], *stays = &w->nodes[1 - i];
        struct endpoint homes[2] = {moves->ep, world_ep(90, 9090)};

        for (int k = 1; k < 6; k++) {
            unsigned before = moves->messages;

            moves->ep = homes[k % 2];
            session_send(world_session(moves, stays), MSG_UPPER, "x", 1);
            world_run(w, SEC(3));
            session_send(world_session(stays, moves), MSG_UPPER, "y", 1);
            world_run(w, MSEC(100));
            assert_int_equal(moves->messages, before + 1);
        }
        assert_int_equal(stays->downs, 0);
        world_free(w);
    }
}

/* Both know only a private address of their own, as behind NATs; a third node tells them how it
 * sees them, and they tell each other over the ring. */
static void a_reflexive_address_is_passed_on_and_tried(void **state)
{
    struct world *w = world_two(16);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1], *c = world_add(w, 3);
    struct path_addr to = world_ring_path(b), to_a = world_path(a), to_b = world_path(b);
    struct endpoint told[8];

    world_start(c);
    w->ring = true;
    sessions_set_endpoints(a->ss, (struct endpoint[]){{addr_v4(0x0a000001), 1}}, 1);
    sessions_set_endpoints(b->ss, (struct endpoint[]){{addr_v4(0x0a000101), 1}}, 1);
    session_open(a->ss, &to, &b->config.node);
    world_run(w, SEC(5));
    assert_int_equal(session_path(world_session(a, b))->kind, PATH_RING);
    world_open(a, c, true);
    world_open(b, c, true);
    world_run(w, SEC(3));
    assert_true(is_on(a, b, &to_b));
    assert_true(is_on(b, a, &to_a));
    assert_int_equal(session_endpoints(world_session(b, a), told, 8), 2);
    assert_true(endpoint_eq(&told[1], &a->ep));
    world_free(w);
}

static void what_was_tried_is_told_with_its_outcome(void **state)
{
    struct world *w = two_over_the_ring(18);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct endpoint nowhere = world_ep(78, 7878);
    struct overlay_candidate c[4];
    struct overlay_moved moved;
    usec next_us;

    w->udp_cut = true;
    sessions_set_endpoints(b->ss, (struct endpoint[]){b->ep, nowhere}, 2);
    world_run(w, MSEC(500));
    assert_int_equal(session_candidates(world_session(a, b), c, 4, &next_us), 2);
    assert_int_equal(c[0].outcome, OVERLAY_TRY_UNDER_WAY);
    assert_in_range(c[0].tries, 1, PATH_TRIES);
    session_last_move(world_session(a, b), &moved);
    assert_true(moved.by == OVERLAY_MOVE_FIRST && moved.before == NULL);
    world_run(w, SEC(5));
    assert_int_equal(session_candidates(world_session(a, b), c, 4, &next_us), 2);
    assert_int_equal(c[0].outcome, OVERLAY_TRY_SILENT);
    assert_true(c[0].named && c[0].times > 0 && c[0].us.addr.family == 0);
    assert_in_range(c[0].tried_us, 1, a->env.now_us - SEC(2));
    assert_in_range(next_us, a->env.now_us, a->env.now_us + SEC(PATH_ROUND_FIRST_S));
    w->udp_cut = false;
    world_run(w, SEC(40));
    assert_int_equal(session_candidates(world_session(a, b), c, 4, &next_us), 2);
    assert_int_equal(c[0].outcome, OVERLAY_TRY_IN_USE);
    assert_true(endpoint_eq(&c[0].ep, &b->ep));
    assert_true(endpoint_eq(&c[0].us, &a->ep));
    assert_true(next_us == USEC_NEVER);
    session_last_move(world_session(a, b), &moved);
    assert_string_equal(moved.before, "overlay");
    assert_in_range(moved.at_us, a->env.now_us - SEC(40), a->env.now_us);
    world_free(w);
}

/* The peer names nothing that leads to it: it is heard from where it is. */
static void what_was_not_named_and_answers_is_told_too(void **state)
{
    struct world *w = world_two(19);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct overlay_candidate c[4];
    usec next_us;

    sessions_set_endpoints(b->ss, (struct endpoint[]){world_ep(78, 7878)}, 1);
    world_open(a, b, true);
    world_run(w, SEC(1));
    assert_int_equal(session_candidates(world_session(a, b), c, 4, &next_us), 2);
    assert_true(c[0].named && c[0].outcome != OVERLAY_TRY_IN_USE);
    assert_true(!c[1].named && c[1].outcome == OVERLAY_TRY_IN_USE && !c[1].tcp);
    assert_true(endpoint_eq(&c[1].ep, &b->ep) && c[1].rtt_us > 0);
    assert_int_equal(session_candidates(world_session(a, b), c, 1, &next_us), 1);
    world_free(w);
}

/* b's own address is another than the one that two peers see. */
static void each_hears_what_the_other_knows_of_its_nat(void **state)
{
    struct world *w = world_two(20);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1], *c = world_add(w, 3);
    struct overlay_nat nat;

    world_start(c);
    sessions_set_endpoints(b->ss, (struct endpoint[]){{addr_v4(0x0a000101), 1}}, 1);
    sessions_set_filtering(b->ss, OVERLAY_NAT_FILTERING_DEPENDENT);
    world_open(a, b, true);
    world_open(b, c, true);
    world_run(w, SEC(25));
    assert_true(session_peer_nat(world_session(a, b), &nat));
    assert_int_equal(nat.mapping, OVERLAY_NAT_MAPPING_INDEPENDENT);
    assert_int_equal(nat.filtering, OVERLAY_NAT_FILTERING_DEPENDENT);
    assert_true(session_peer_nat(world_session(b, a), &nat));
    assert_int_equal(nat.mapping, OVERLAY_NAT_MAPPING_NONE);
    assert_int_equal(nat.filtering, OVERLAY_NAT_FILTERING_NONE);
    world_free(w);
}

/* Of an earlier version, or a later one. */
static void flags_without_a_nat_or_with_an_unheard_of_one_tell_nothing(void **state)
{
    struct world *w = world_two_connected(21);
    struct session *s = world_session(&w->nodes[0], &w->nodes[1]);
    struct overlay_nat nat;

    s->peer_nat = 0;
    session_nat_heard(s, PING_ASK_ENDPOINT | PING_BEST);
    assert_false(session_peer_nat(s, &nat));
    session_nat_heard(s, PING_NAT | PING_NAT_MAPPING | PING_NAT_FILTERING);
    assert_true(session_peer_nat(s, &nat));
    assert_int_equal(nat.mapping, OVERLAY_NAT_MAPPING_UNKNOWN);
    assert_int_equal(nat.filtering, OVERLAY_NAT_FILTERING_DEPENDENT);
    world_free(w);
}

static void a_lan_address_beats_the_public_one(void **state)
{
    struct world *w = world_two(10);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct endpoint lan_a = {addr_v4(0x0a000001), 4001}, lan_b = {addr_v4(0x0a000002), 4002};
    struct endpoint far = world_ep(77, 7777);
    struct path_addr to = {.kind = PATH_UDP, .ep = lan_b};

    a->ep = lan_a;
    b->ep = lan_b;
    sessions_set_endpoints(a->ss, &lan_a, 1);
    sessions_set_endpoints(b->ss, (struct endpoint[]){lan_b, far}, 2);
    w->ring = true;
    struct path_addr ring = world_ring_path(b);

    session_open(a->ss, &ring, &b->config.node);
    world_run(w, SEC(1));
    assert_true(is_on(a, b, &to));
    world_free(w);
}

static void a_ring_envelope_with_another_sender_adds_no_path(void **state)
{
    struct world *w = world_two_connected(11);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    w->ring = true;
    session_send(world_session(a, b), MSG_UPPER, "x", 1);
    sessions_flush(a->ss);
    struct world_packet *p = &w->packets[w->packet_count - 1];

    p->from = world_ring_path(b); /* not who sealed it */
    w->udp_cut = true;
    world_run(w, SEC(1));
    assert_int_equal(b->messages, 1);
    assert_int_equal(session_path(world_session(b, a))->kind, PATH_UDP);
    world_free(w);
}

static void an_unanswered_challenge_is_sent_six_times(void **state)
{
    struct world *w = world_two_connected(12);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct tally t = {.to = {{.family = 4, .b = {10, 9, 9, 9}}, 4747}};

    w->hook = count_bytes;
    w->hook_arg = &t;
    sessions_set_endpoints(a->ss, (struct endpoint[]){a->ep, {addr_v4(0x0a090908), 4747}}, 2);
    session_try_path(world_session(a, b), &(struct path_addr){.kind = PATH_UDP, .ep = t.to});
    world_run(w, SEC(20));
    assert_int_equal(t.packets, PATH_TRIES);
    assert_int_equal(session_path(world_session(a, b))->kind, PATH_UDP);
    world_free(w);
}

static bool count_elsewhere(struct world *w, struct world_node *from, const struct path_addr *to,
                            uint8_t *pkt, size_t *len)
{
    struct tally *t = w->hook_arg;

    if (to->kind == PATH_UDP && !endpoint_eq(&to->ep, &t->to))
        t->packets++;
    return true;
}

static void a_member_cannot_make_us_a_reflector(void **state)
{
    struct world *w = two_over_the_ring(13);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct tally t = {.to = a->ep};

    world_run(w, SEC(1));
    w->udp_cut = true;
    session_probe_now(world_session(b, a));
    world_run(w, SEC(11)); /* both are back on the ring */
    w->hook = count_elsewhere;
    w->hook_arg = &t;
    for (unsigned i = 0; i < 100; i++) {
        uint8_t body[1 + 8 * 7];
        struct writer out = writer_of(body, sizeof(body));

        write_u8(&out, 8);
        for (unsigned k = 0; k < 8; k++)
            write_endpoint(&out, &(struct endpoint){addr_v4(0xcb007100u + 8 * i + k), 53});
        session_send(world_session(a, b), MSG_ENDPOINTS, body, writer_len(&out));
        world_run(w, MSEC(50));
    }
    assert_in_range(t.packets, PATH_TRIES, PATH_TRIES * 2 * PATH_STARTS_MAX);
    world_free(w);
}

/* A NAT with a mapping for each remote: what it sends comes from another port than reaches it. */
struct boxed {
    struct world_node *node;
    bool lets_in;           /* by the port that it sends from */
    bool ended;             /* the mapping that is sent to; the one that it sends from stays */
    struct endpoint beside; /* one more that lets in; family 0: none */
};

static bool through_a_box(struct world *w, struct world_node *from, const struct path_addr *to,
                          uint8_t *pkt, size_t *len)
{
    const struct boxed *b = w->hook_arg;
    struct path_addr outer = world_path(b->node), inner = outer;

    if (to->kind != PATH_UDP)
        return true;
    outer.ep.port++;
    if (from == b->node)
        world_put(w, &outer, to, pkt, *len);
    else if ((path_addr_eq(to, &outer) && b->lets_in) || endpoint_eq(&to->ep, &b->beside))
        world_put(w, &(struct path_addr){.kind = PATH_UDP, .ep = from->ep}, &inner, pkt, *len);
    else
        return path_addr_eq(to, &inner) && !b->ended;
    return false;
}

static void a_peer_that_answers_from_another_port_lives(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = world_two_connected(40 + i);
        struct world_node *boxed = &w->nodes[i], *other = &w->nodes[1 - i];
        struct path_addr way = world_path(boxed);
        struct boxed b = {.node = boxed};

        w->hook = through_a_box;
        w->hook_arg = &b;
        world_run(w, SEC(120));
        assert_int_equal(other->downs + boxed->downs, 0);
        assert_true(is_on(other, boxed, &way));
        world_free(w);
    }
}

/* Whoever probes: hearing the peer does not show that it hears us. */
static void a_way_out_that_ended_is_noticed_while_the_peer_is_heard(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = world_two_connected(42 + i);
        struct world_node *boxed = &w->nodes[i], *other = &w->nodes[1 - i];
        struct boxed b = {.node = boxed, .lets_in = true};

        w->ring = true;
        w->hook = through_a_box;
        w->hook_arg = &b;
        world_run(w, SEC(30));
        b.ended = true;
        for (unsigned k = 0; k < 30; k++) { /* it is heard twice a second */
            session_send(world_session(boxed, other), MSG_UPPER, "x", 1);
            world_run(w, MSEC(500));
        }
        boxed->messages = 0;
        session_send(world_session(other, boxed), MSG_UPPER, "y", 1);
        world_run(w, MSEC(100));
        assert_int_equal(boxed->messages, 1);
        assert_int_equal(other->downs + boxed->downs, 0);
        world_free(w);
    }
}

/* So whoever relies on it asks, and has another way before the next message. */
static void a_peer_that_is_heard_may_be_out_of_reach(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = world_two_connected(44 + i);
        struct world_node *boxed = &w->nodes[i], *other = &w->nodes[1 - i];
        struct session *s = world_session(other, boxed);
        struct boxed b = {.node = boxed};

        w->ring = true;
        w->hook = through_a_box;
        w->hook_arg = &b;
        world_run(w, SEC(30));
        session_probe_now(s); /* answered: the next is not due for 10 s */
        world_run(w, MSEC(300));
        b.ended = true;
        for (unsigned k = 0; k < 3; k++) {
            session_send(world_session(boxed, other), MSG_UPPER, "x", 1);
            world_run(w, MSEC(500));
        }
        assert_true(w->now_us < session_last_heard(s) + MSEC(500));
        assert_true(w->now_us >= session_last_reached(s) + MSEC(1500));
        session_probe_now(s);
        world_run(w, SEC(2));
        boxed->messages = 0;
        session_send(s, MSG_UPPER, "y", 1);
        world_run(w, MSEC(100));
        assert_int_equal(boxed->messages, 1);
        world_free(w);
    }
}

/* The peer's choice shows that it is heard; whether it is reached there, an answer. */
static void a_choice_is_followed_when_what_we_send_there_arrives(void **state)
{
    struct world *w = world_two_connected(46);
    unsigned low = id_cmp(&w->nodes[0].config.node, &w->nodes[1].config.node) < 0 ? 0 : 1;
    struct world_node *chooses = &w->nodes[low], *follows = &w->nodes[1 - low];
    struct session *s = world_session(follows, chooses);
    struct boxed b = {.node = chooses, .beside = world_ep(91, 9191)};
    struct path_addr way = world_path(chooses), beside = {.kind = PATH_UDP, .ep = b.beside};

    w->hook = through_a_box;
    w->hook_arg = &b;
    session_try_path(s, &beside);
    session_probe_now(s);
    world_run(w, SEC(2)); /* both are proven, and not heard just now */
    move_to(s, paths_find(&s->paths, &beside), OVERLAY_MOVE_BETTER);
    for (int ended = 1; ended >= 0; ended--) {
        b.ended = ended;
        chooses->messages = 0;
        session_probe_now(world_session(chooses, follows));
        for (unsigned k = 0; k < 10; k++) { /* at no time is anything lost */
            world_run(w, MSEC(50));
            session_send(s, MSG_UPPER, "x", 1);
        }
        world_run(w, MSEC(50));
        assert_int_equal(chooses->messages, 10);
        assert_true(is_on(follows, chooses, ended ? &beside : &way));
    }
    assert_int_equal(chooses->downs + follows->downs, 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_candidate_is_somebody_elses_unicast_address),
        cmocka_unit_test(a_peer_that_moves_is_followed_after_the_echo),
        cmocka_unit_test(data_from_a_new_address_moves_the_path_too),
        cmocka_unit_test(a_host_that_changes_its_address_is_back_in_three_seconds),
        cmocka_unit_test(an_unproven_address_gets_three_times_what_came_from_it),
        cmocka_unit_test(a_replayed_packet_from_elsewhere_starts_nothing),
        cmocka_unit_test(an_overtaken_packet_from_the_old_address_moves_nothing_back),
        cmocka_unit_test(a_session_over_the_ring_finds_the_direct_path),
        cmocka_unit_test(without_a_direct_path_the_ring_carries_and_tries_grow_rarer),
        cmocka_unit_test(a_dead_direct_path_falls_back_to_the_ring_and_returns),
        cmocka_unit_test(a_peer_is_reached_again_at_an_address_of_its_past),
        cmocka_unit_test(a_path_that_works_one_way_only_is_given_up_by_both),
        cmocka_unit_test(a_peer_that_returns_to_a_known_address_is_followed),
        cmocka_unit_test(a_reflexive_address_is_passed_on_and_tried),
        cmocka_unit_test(what_was_tried_is_told_with_its_outcome),
        cmocka_unit_test(what_was_not_named_and_answers_is_told_too),
        cmocka_unit_test(each_hears_what_the_other_knows_of_its_nat),
        cmocka_unit_test(flags_without_a_nat_or_with_an_unheard_of_one_tell_nothing),
        cmocka_unit_test(a_lan_address_beats_the_public_one),
        cmocka_unit_test(a_ring_envelope_with_another_sender_adds_no_path),
        cmocka_unit_test(an_unanswered_challenge_is_sent_six_times),
        cmocka_unit_test(a_member_cannot_make_us_a_reflector),
        cmocka_unit_test(a_peer_that_answers_from_another_port_lives),
        cmocka_unit_test(a_way_out_that_ended_is_noticed_while_the_peer_is_heard),
        cmocka_unit_test(a_peer_that_is_heard_may_be_out_of_reach),
        cmocka_unit_test(a_choice_is_followed_when_what_we_send_there_arrives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
