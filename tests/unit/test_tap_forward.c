// link: peal_tap
/* The forward table: what is found, who owns what, at ten thousand peers too; and references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tap/forward.c"

static const struct secret secret = {{7}};

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_true(addr_parse(&a, text));
    return a;
}

static struct seal_key *key_of(uint32_t index)
{
    struct seal_key *k = seal_key_new(SEAL_CHACHA20_POLY1305, &secret, index, SEAL_WINDOW_DATA);
    assert_non_null(k);
    return k;
}

/* Adds a peer with a flow of that token; usable unless path is FORWARD_NONE. */
static int add_peer(struct forward *f, uint16_t network, uint32_t token, enum forward_path path)
{
    struct forward_flow *flow = forward_flow_new(token);
    struct seal_key *tx = seal_key_new(SEAL_CHACHA20_POLY1305, &secret, token, 0);
    struct forward_peer peer = {
        .network = network, .path = path, .tx = path == FORWARD_NONE ? NULL : tx, .flow = flow};
    int position = forward_add_peer(f, &peer);
    seal_key_unref(tx);
    forward_flow_unref(flow);
    return position;
}

static uint32_t token_at(const struct forward *f, uint16_t network, const char *addr)
{
    struct addr a = addr_of(addr);
    const struct forward_peer *peer = forward_lookup(f, network, &a);
    return peer == NULL ? 0 : peer->flow->token;
}

static void an_empty_table_finds_nothing(void **state)
{
    struct forward *f = forward_new();
    const struct forward_peer *peer = (const struct forward_peer *)f;
    assert_int_equal(token_at(f, 0, "10.0.0.1"), 0);
    assert_null(forward_rx(f, 5, &peer));
    assert_null(peer);
    assert_null(forward_network(f, 0));
    assert_null(forward_network(f, NETWORKS_MAX));
    forward_free(f);
    forward_free(NULL);
}

static void networks_are_apart(void **state)
{
    struct forward *f = forward_new();
    struct forward_network net = {.present = true, .own4 = addr_of("10.0.0.2")};
    struct addr a = addr_of("10.0.0.1");
    assert_int_equal(forward_set_network(f, NETWORKS_MAX, &net), -ERR_RANGE);
    assert_int_equal(forward_set_network(f, 3, &net), 0);
    assert_true(addr_eq(&forward_network(f, 3)->own4, &net.own4));
    assert_null(forward_network(f, 2));
    int p3 = add_peer(f, 3, 33, FORWARD_UDP), p4 = add_peer(f, 4, 44, FORWARD_UDP);
    assert_int_equal(forward_add_address(f, p3, &a), 0);
    assert_int_equal(forward_add_address(f, p4, &a), 0);
    assert_int_equal(token_at(f, 3, "10.0.0.1"), 33);
    assert_int_equal(token_at(f, 4, "10.0.0.1"), 44);
    assert_int_equal(token_at(f, 5, "10.0.0.1"), 0);
    assert_false(forward_source_ok(f, &f->peers[p3].peer, &(struct addr){0}));
    forward_free(f);
}

static void families_do_not_mix(void **state)
{
    struct forward *f = forward_new();
    struct addr v4 = addr_of("10.0.0.1"), v6 = {.family = 6}, none = {0};
    memcpy(v6.b, v4.b, sizeof(v6.b));
    int p = add_peer(f, 0, 1, FORWARD_UDP);
    assert_int_equal(forward_add_address(f, p, &none), -ERR_RANGE);
    assert_int_equal(forward_add_address(f, p, &v4), 0);
    assert_null(forward_lookup(f, 0, &v6));
    assert_non_null(forward_lookup(f, 0, &v4));
    forward_free(f);
}

/* Routers of one LAN: the first that is usable, in the order in which they were added. */
static void several_owners_of_one_address(void **state)
{
    struct forward *f = forward_new();
    struct addr a = addr_of("10.0.0.1"), other = addr_of("10.0.0.2");
    int p1 = add_peer(f, 0, 1, FORWARD_NONE), p2 = add_peer(f, 0, 2, FORWARD_UDP);
    int p3 = add_peer(f, 0, 3, FORWARD_UDP);
    assert_int_equal(forward_add_address(f, p1, &a), 0);
    assert_int_equal(token_at(f, 0, "10.0.0.1"), 1);
    assert_int_equal(forward_add_address(f, p3, &a), 0);
    assert_int_equal(token_at(f, 0, "10.0.0.1"), 3);
    assert_int_equal(forward_add_address(f, p2, &a), 0);
    assert_int_equal(forward_add_address(f, p2, &a), 0); /* twice is once */
    assert_int_equal(f->route_count, 3);
    assert_int_equal(token_at(f, 0, "10.0.0.1"), 3);
    assert_true(forward_source_ok(f, &f->peers[p1].peer, &a));
    assert_true(forward_source_ok(f, &f->peers[p2].peer, &a));
    assert_true(forward_source_ok(f, &f->peers[p3].peer, &a));
    assert_false(forward_source_ok(f, &f->peers[p1].peer, &other));
    for (uint32_t i = 4; i <= OWNERS_MAX; i++) {
        assert_int_equal(forward_add_address(f, add_peer(f, 0, i, FORWARD_UDP), &a), 0);
    }
    assert_int_equal(forward_add_address(f, add_peer(f, 0, 99, FORWARD_UDP), &a), -ERR_RANGE);
    forward_free(f);
}

static void several_addresses_of_one_peer(void **state)
{
    struct forward *f = forward_new();
    struct addr a = addr_of("10.0.0.1"), b = addr_of("fd00::1"), c = addr_of("10.0.0.3");
    int p1 = add_peer(f, 0, 1, FORWARD_UDP), p2 = add_peer(f, 0, 2, FORWARD_UDP);
    assert_int_equal(forward_add_address(f, p1, &a), 0);
    assert_int_equal(forward_add_address(f, p1, &b), 0);
    assert_int_equal(forward_add_address(f, p2, &c), 0);
    assert_int_equal(token_at(f, 0, "10.0.0.1"), 1);
    assert_int_equal(token_at(f, 0, "fd00::1"), 1);
    assert_false(forward_source_ok(f, &f->peers[p1].peer, &c));
    assert_false(forward_source_ok(f, &f->peers[p2].peer, &b));
    forward_free(f);
}

static void a_peer_of_a_network_out_of_range_is_refused(void **state)
{
    struct forward *f = forward_new();
    assert_int_equal(add_peer(f, NETWORKS_MAX, 1, FORWARD_UDP), -ERR_RANGE);
    forward_free(f);
}

/* Old and new keys of one peer at once; neighbouring indexes share slots. */
static void receivers_are_found_by_index(void **state)
{
    static const uint32_t indexes[] = {0, 16, 32, 1, 0xffffffff, 0xfffffff0};
    struct forward *f = forward_new();
    const struct forward_peer *peer;
    int p1 = add_peer(f, 0, 1, FORWARD_UDP), p2 = add_peer(f, 0, 2, FORWARD_NONE);
    for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
        struct seal_key *k = key_of(indexes[i]);
        assert_int_equal(forward_add_rx(f, i % 2 == 0 ? p1 : p2, k), 0);
        seal_key_unref(k);
    }
    for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
        struct seal_key *k = forward_rx(f, indexes[i], &peer);
        assert_int_equal(seal_key_index(k), indexes[i]);
        assert_ptr_equal(peer, &f->peers[i % 2 == 0 ? p1 : p2]);
    }
    assert_null(forward_rx(f, 48, &peer));
    assert_null(peer);
    assert_null(forward_rx(f, 2, &peer));
    forward_free(f);
}

/* The table holds references of its own and gives back exactly these. */
static void references_are_taken_and_given_back(void **state)
{
    struct forward_flow *flow = forward_flow_new(5);
    struct forward *f = forward_new();
    struct seal_key *rx = key_of(9);
    struct forward_peer peer = {.flow = flow};
    int p = forward_add_peer(f, &peer);
    assert_int_equal(atomic_load(&flow->refs), 2);
    assert_int_equal(forward_add_rx(f, p, rx), 0);
    seal_key_unref(rx); /* the sanitizer sees a key freed early or never */
    const struct forward_peer *found;
    assert_int_equal(seal_key_index(forward_rx(f, 9, &found)), 9);
    forward_free(f);
    assert_int_equal(atomic_load(&flow->refs), 1);
    forward_flow_unref(flow);
    forward_flow_unref(NULL);
}

static void ten_thousand_peers(void **state)
{
    enum { PEERS = 10000 };
    struct forward *f = forward_new();
    forward_set_hash_key(f, (const uint8_t[16]){1, 2, 3});
    for (uint32_t i = 0; i < PEERS; i++) {
        struct addr v4 = addr_v4(0x0a000000 + i), v6 = addr_of("fd00::");
        memcpy(v6.b + 12, &i, 4);
        int p = add_peer(f, 0, i + 1, FORWARD_UDP);
        struct seal_key *rx = key_of(i * 2654435761u);
        assert_int_equal(p, i);
        assert_int_equal(forward_add_address(f, p, &v4), 0);
        assert_int_equal(forward_add_address(f, p, &v6), 0);
        assert_int_equal(forward_add_rx(f, p, rx), 0);
        seal_key_unref(rx);
    }
    assert_true(f->head_count * 2 <= f->head_size && f->receiver_count * 2 <= f->receiver_size);
    for (uint32_t i = 0; i < PEERS; i++) {
        struct addr v4 = addr_v4(0x0a000000 + i), v6 = addr_of("fd00::");
        const struct forward_peer *peer;
        memcpy(v6.b + 12, &i, 4);
        assert_int_equal(forward_lookup(f, 0, &v4)->flow->token, i + 1);
        assert_int_equal(forward_lookup(f, 0, &v6)->flow->token, i + 1);
        assert_non_null(forward_rx(f, i * 2654435761u, &peer));
        assert_int_equal(peer->flow->token, i + 1);
        assert_true(forward_source_ok(f, peer, &v6));
        assert_false(forward_source_ok(f, &f->peers[(i + 1) % PEERS].peer, &v4));
    }
    assert_int_equal(token_at(f, 0, "10.0.39.16"), 0);
    forward_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_finds_nothing),
        cmocka_unit_test(networks_are_apart),
        cmocka_unit_test(families_do_not_mix),
        cmocka_unit_test(several_owners_of_one_address),
        cmocka_unit_test(several_addresses_of_one_peer),
        cmocka_unit_test(a_peer_of_a_network_out_of_range_is_refused),
        cmocka_unit_test(receivers_are_found_by_index),
        cmocka_unit_test(references_are_taken_and_given_back),
        cmocka_unit_test(ten_thousand_peers),
    };
    return crypto_start() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
