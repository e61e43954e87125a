// link: peal_overlay
/* Headers, and next hops over rings drawn by hand: no sessions. */
#include <stdlib.h>
#include <string.h>

#include "overlay/core/limits.h"
#include "overlay/route.h"
#include "tests/unit/cm.h"

static uint64_t random_state;

static void fill(void *host, void *buf, size_t len)
{
    uint8_t *p = buf;

    for (size_t i = 0; i < len; i++) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(random_state >> 56);
    }
}

static struct env env = {.now_us = SEC(100), .random = fill};

static struct id random_id(void)
{
    struct id id;

    fill(NULL, id.b, sizeof id.b);
    return id;
}

static void a_header_survives_the_wire_with_and_without_ways(void **state)
{
    random_state = 1;
    for (unsigned i = 0; i < 16; i++) {
        struct id source = random_id(), key = random_id();
        struct route_header h = route_new(&source, &key, (enum route_mode)(i & 3), 5), back;
        uint8_t bytes[ROUTE_HEADER_MAX];
        struct writer w = writer_of(bytes, sizeof bytes);
        struct reader r;

        if ((i & 4) != 0)
            h.via = random_id();
        if ((i & 8) != 0)
            h.through = random_id();
        h.hops = (uint8_t)i;
        route_write(&w, &h);
        assert_false(w.failed);
        assert_int_equal(writer_len(&w),
                         ROUTE_HEADER_MIN + ((i & 4) != 0 ? 20 : 0) + ((i & 8) != 0 ? 20 : 0));
        for (size_t len = 0; len < writer_len(&w); len++) {
            r = reader_of(bytes, len);
            assert_false(route_read(&r, &back));
        }
        r = reader_of(bytes, writer_len(&w));
        assert_true(route_read(&r, &back));
        assert_true(reader_done(&r));
        assert_true(id_eq(&back.key, &key) && id_eq(&back.source, &source));
        assert_true(id_eq(&back.via, &h.via) && id_eq(&back.through, &h.through));
        assert_int_equal(back.hops, i);
        bytes[0] |= 2 * ROUTE_FLAG_ANEW_ONCE;
        r = reader_of(bytes, writer_len(&w));
        assert_true(route_read(&r, &back));
        assert_int_equal(back.flags & ROUTE_FLAG_ANEW, 2 * ROUTE_FLAG_ANEW_ONCE);
    }
}

static void the_longest_upper_body_fits_a_message_with_the_longest_header(void **state)
{
    assert_true(OVERLAY_BODY_MAX + ROUTE_HEADER_MAX <= MESSAGE_MAX);
}

/* A world of nodes, each with a ring object that knows its links and its peers' links. */

enum { NODES = 200, LINKS_MAX = 40 };

struct node {
    struct id id;
    struct ring ring;
    unsigned links[LINKS_MAX];
    size_t count;
    struct ring_peer peers[LINKS_MAX];
};

static struct node nodes[NODES];
static const struct route_way any_way;

static int by_id(const void *a, const void *b)
{
    return id_cmp(&((const struct node *)a)->id, &((const struct node *)b)->id);
}

static void connect_both(unsigned a, unsigned b)
{
    for (size_t i = 0; i < nodes[a].count; i++)
        if (nodes[a].links[i] == b)
            return;
    if (a == b || nodes[a].count == LINKS_MAX || nodes[b].count == LINKS_MAX)
        return;
    nodes[a].links[nodes[a].count++] = b;
    nodes[b].links[nodes[b].count++] = a;
}

/* What node b tells about itself: all its links as one list, which is all the same for routing. */
static void tell(struct node *to, struct ring_peer *peer, const struct node *b, unsigned lies)
{
    struct ring_entry e[LINKS_MAX];
    struct ring_said said = {.entries = e};

    for (size_t i = 0; i < b->count && said.shortcuts < OVERLAY_SHORTCUTS_MAX; i++) {
        e[said.shortcuts] = (struct ring_entry){.id = nodes[b->links[i]].id, .rtt = 10};
        if (env_random_below(&env, 100) < lies) /* out of date: a link that is gone */
            e[said.shortcuts].id = nodes[env_random_below(&env, NODES)].id;
        said.shortcuts++;
    }
    assert_int_equal(ring_hear(&to->ring, peer, &said, true), 0);
}

static void build_world(uint64_t seed, unsigned lies)
{
    random_state = seed;
    memset(nodes, 0, sizeof nodes);
    for (unsigned i = 0; i < NODES; i++)
        nodes[i].id = random_id();
    qsort(nodes, NODES, sizeof nodes[0], by_id);
    for (unsigned i = 0; i < NODES; i++) {
        for (unsigned k = 1; k <= OVERLAY_NEAR; k++)
            connect_both(i, (i + k) % NODES);
        connect_both(i, (unsigned)env_random_below(&env, NODES));
        connect_both(i, (unsigned)env_random_below(&env, NODES));
    }
    for (unsigned i = 0; i < NODES; i++) {
        ring_init(&nodes[i].ring, &nodes[i].id, &env);
        ring_set_state(&nodes[i].ring, OVERLAY_MEMBER);
        for (size_t k = 0; k < nodes[i].count; k++) {
            struct ring_peer *peer = &nodes[i].peers[k];

            peer->id = nodes[nodes[i].links[k]].id;
            peer->state = OVERLAY_MEMBER;
            peer->needed = true;
            peer->rtt = (uint8_t)env_random_below(&env, 256);
            ring_add(&nodes[i].ring, peer);
        }
    }
    for (unsigned i = 0; i < NODES; i++)
        for (size_t k = 0; k < nodes[i].count; k++)
            tell(&nodes[i], &nodes[i].peers[k], &nodes[nodes[i].links[k]], lies);
    for (unsigned i = 0; i < NODES; i++)
        (void)ring_update(&nodes[i].ring);
}

static void clear_world(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        for (size_t k = 0; k < nodes[i].count; k++)
            ring_peer_clear(&nodes[i].peers[k]);
        ring_clear(&nodes[i].ring);
    }
}

static unsigned number_of(const struct id *id)
{
    for (unsigned i = 0; i < NODES; i++)
        if (id_eq(&nodes[i].id, id))
            return i;
    fail();
    return 0;
}

static unsigned came_twice; /* messages by a node */

/* Where a message ends. */
static unsigned follow(unsigned from, struct route_header *h, enum route_verdict *verdict)
{
    struct route_way way = {.direct = false};
    bool seen[NODES] = {false};
    struct ring_peer *next;

    while ((*verdict = route_step(&nodes[from].ring, h, &way, &next)) == ROUTE_FORWARD) {
        seen[from] = true;
        way.from = &nodes[from].id;
        from = number_of(&next->id);
        came_twice += seen[from];
    }
    return from;
}

static unsigned nearest_to(const struct id *key)
{
    unsigned best = 0;

    for (unsigned i = 1; i < NODES; i++)
        if (id_closer(key, &nodes[i].id, &nodes[best].id))
            best = i;
    return best;
}

static void every_message_arrives_in_few_hops(void **state)
{
    for (uint64_t seed = 1; seed < 4; seed++) {
        unsigned hops = 0, count = 0;

        build_world(seed, 0);
        for (unsigned i = 0; i < 2000; i++) {
            unsigned from = (unsigned)env_random_below(&env, NODES);
            unsigned to = (unsigned)env_random_below(&env, NODES);
            struct route_header h = route_new(&nodes[from].id, &nodes[to].id, ROUTE_EXACT, 1);
            enum route_verdict verdict;

            assert_int_equal(follow(from, &h, &verdict), to);
            assert_int_equal(verdict, ROUTE_DELIVER);
            assert_in_range(h.hops, from == to ? 0 : 1, 9);
            hops += h.hops;
            count++;
        }
        assert_int_equal(came_twice, 0);
        assert_in_range(hops * 10 / count, 10, 35);
        clear_world();
    }
}

static void a_key_ends_at_the_nearest_node(void **state)
{
    build_world(5, 0);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned from = (unsigned)env_random_below(&env, NODES);
        struct id key = random_id();
        struct route_header h = route_new(&nodes[from].id, &key, ROUTE_NEAREST, 1);
        enum route_verdict verdict;

        assert_int_equal(follow(from, &h, &verdict), nearest_to(&key));
        assert_int_equal(verdict, ROUTE_DELIVER);
        h = route_new(&nodes[from].id, &key, ROUTE_NEAREST, 1);
        assert_int_equal(follow(nearest_to(&key), &h, &verdict), nearest_to(&key));
        assert_int_equal(h.hops, 0);
    }
    clear_world();
}

static void lists_out_of_date_lead_astray_but_never_round_in_circles(void **state)
{
    unsigned right = 0;

    for (uint64_t seed = 1; seed < 6; seed++) {
        build_world(seed, 40);
        for (unsigned i = 0; i < 1000; i++) {
            unsigned from = (unsigned)env_random_below(&env, NODES);
            struct id key = random_id();
            struct route_header h = route_new(&nodes[from].id, &key, ROUTE_NEAREST, 1);
            enum route_verdict verdict;

            right += follow(from, &h, &verdict) == nearest_to(&key);
            assert_int_equal(verdict, ROUTE_DELIVER);
            assert_true(h.hops < 60);
        }
        clear_world();
    }
    assert_true(right > 4900); /* near lists are right at the end of the way */
}

static void seeking_left_and_right_finds_the_neighbours_of_a_place(void **state)
{
    build_world(6, 0);
    for (unsigned i = 0; i < 500; i++) {
        unsigned self = (unsigned)env_random_below(&env, NODES);
        unsigned start = nodes[self].links[env_random_below(&env, nodes[self].count)];
        enum route_verdict verdict;
        struct route_header h = route_new(&nodes[self].id, &nodes[self].id, ROUTE_RIGHT, 64);

        h.flags |= ROUTE_FLAG_SEEK;
        assert_int_equal(follow(start, &h, &verdict), (self + 1) % NODES);
        h = route_new(&nodes[self].id, &nodes[self].id, ROUTE_LEFT, 64);
        h.flags |= ROUTE_FLAG_SEEK;
        assert_int_equal(follow(start, &h, &verdict), (self + NODES - 1) % NODES);
        assert_int_equal(verdict, ROUTE_DELIVER);
    }
    clear_world();
}

static void a_node_off_the_ring_is_reached_through_its_gate(void **state)
{
    struct id outside, via;
    struct ring_peer leaf = {.state = OVERLAY_JOINING};
    struct route_header h;
    struct ring_peer *next;
    enum route_verdict verdict;
    unsigned at;

    build_world(7, 0);
    leaf.id = outside = random_id();
    via = nodes[50].id;
    ring_add(&nodes[50].ring, &leaf);
    h = route_new(&nodes[150].id, &outside, ROUTE_EXACT, 1);
    h.through = via;
    for (at = 150; at != 50; at = number_of(&next->id))
        assert_int_equal(route_step(&nodes[at].ring, &h, &any_way, &next), ROUTE_FORWARD);
    assert_int_equal(route_step(&nodes[at].ring, &h, &any_way, &next), ROUTE_FORWARD);
    assert_ptr_equal(next, &leaf);
    assert_true(id_is_zero(&h.through));

    h = route_new(&nodes[150].id, &outside, ROUTE_EXACT, 1); /* by its own name nobody knows it */
    (void)follow(150, &h, &verdict);
    assert_int_equal(verdict, ROUTE_NOBODY);
    clear_world();
}

static void packets_of_indirect_paths_take_direct_hops_only(void **state)
{
    struct route_header h;
    struct ring_peer *next, *peer;

    build_world(8, 0);
    peer = &nodes[0].peers[0];
    peer->indirect = true;
    h = route_new(&nodes[0].id, &peer->id, ROUTE_EXACT, ROUTE_PROTO_PACKET);
    assert_int_equal(route_step(&nodes[0].ring, &h, &(struct route_way){.direct = true}, &next),
                     ROUTE_FORWARD);
    assert_ptr_not_equal(next, peer);
    h = route_new(&nodes[0].id, &peer->id, ROUTE_EXACT, 1);
    assert_int_equal(route_step(&nodes[0].ring, &h, &any_way, &next), ROUTE_FORWARD);
    assert_ptr_equal(next, peer);
    clear_world();
}

static void a_copy_that_goes_around_a_peer_begins_with_another_and_arrives(void **state)
{
    unsigned others = 0;

    build_world(11, 3);
    for (unsigned to = 1; to < NODES; to++) {
        struct route_header h = route_new(&nodes[0].id, &nodes[to].id, ROUTE_EXACT, 1), usual = h;
        struct ring_peer *first, *next;
        enum route_verdict verdict;

        assert_int_equal(route_step(&nodes[0].ring, &usual, &any_way, &first), ROUTE_FORWARD);
        if (route_step(&nodes[0].ring, &h, &(struct route_way){.except = first}, &next) !=
            ROUTE_FORWARD)
            continue;
        others++;
        assert_ptr_not_equal(next, first);
        assert_int_equal(follow(number_of(&next->id), &h, &verdict), to);
        assert_int_equal(verdict, ROUTE_DELIVER);
    }
    assert_true(others > NODES / 2);
    clear_world();
}

static void a_connection_that_nobody_needs_carries_nothing_for_others(void **state)
{
    struct ring_peer *next, *peer;
    struct route_header h;

    build_world(9, 0);
    peer = ring_find(&nodes[0].ring, &nodes[1].id);
    h = route_new(&nodes[0].id, &nodes[2].id, ROUTE_NEAREST, 1);
    for (size_t k = 0; k < nodes[0].count; k++)
        nodes[0].peers[k].needed = &nodes[0].peers[k] == peer;
    assert_int_equal(route_step(&nodes[0].ring, &h, &any_way, &next), ROUTE_FORWARD);
    assert_ptr_equal(next, peer);
    peer->needed = false;
    h = route_new(&nodes[0].id, &nodes[2].id, ROUTE_NEAREST, 1);
    assert_int_equal(route_step(&nodes[0].ring, &h, &any_way, &next), ROUTE_DELIVER);
    clear_world();
}

static void a_leaving_node_hands_keys_on(void **state)
{
    struct route_header h;
    struct ring_peer *next;

    build_world(10, 0);
    ring_set_state(&nodes[10].ring, OVERLAY_LEAVING);
    h = route_new(&nodes[90].id, &nodes[10].id, ROUTE_NEAREST, 1);
    assert_int_equal(route_step(&nodes[10].ring, &h, &any_way, &next), ROUTE_FORWARD);
    clear_world();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_survives_the_wire_with_and_without_ways),
        cmocka_unit_test(the_longest_upper_body_fits_a_message_with_the_longest_header),
        cmocka_unit_test(every_message_arrives_in_few_hops),
        cmocka_unit_test(a_key_ends_at_the_nearest_node),
        cmocka_unit_test(lists_out_of_date_lead_astray_but_never_round_in_circles),
        cmocka_unit_test(seeking_left_and_right_finds_the_neighbours_of_a_place),
        cmocka_unit_test(a_node_off_the_ring_is_reached_through_its_gate),
        cmocka_unit_test(packets_of_indirect_paths_take_direct_hops_only),
        cmocka_unit_test(a_copy_that_goes_around_a_peer_begins_with_another_and_arrives),
        cmocka_unit_test(a_connection_that_nobody_needs_carries_nothing_for_others),
        cmocka_unit_test(a_leaving_node_hands_keys_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
