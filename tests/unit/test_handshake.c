// link: peal_overlay
/* The handshake among strangers: flipped bits, replays, floods, other groups' keys. */
#include <stdio.h>

#include "overlay/cookie.h"
#include "overlay/core/wire.h"
#include "overlay/handshake.h"
#include "overlay/hello.h"
#include "tests/unit/cm.h"
#include "tests/unit/session_world.h"

static struct world *two_with(uint64_t seed, void (*change)(struct world_node *n, int i))
{
    struct world *w = world_new(seed);

    for (int i = 0; i < 2; i++) {
        struct world_node *n = world_add(w, (uint8_t)(1 + i));

        if (change != NULL)
            change(n, i);
        world_start(n);
    }
    return w;
}

static uint64_t counted(const struct world_node *n, enum session_count c)
{
    return sessions_counted(n->ss, c);
}

/* What the two ends need to be able to talk. */

static void other_group_key(struct world_node *n, int i)
{
    n->config.group_key.b[0] = (uint8_t)i;
}

static void other_overlay(struct world_node *n, int i)
{
    n->config.overlay.b[0] = (uint8_t)i;
}

static void psk_on_one_side(struct world_node *n, int i)
{
    n->config.psk = i == 1;
}

static void psk(struct world_node *n, int i)
{
    n->config.psk = true;
}

static void aes_on_one_side(struct world_node *n, int i)
{
    n->config.aeads = 1u << (i == 0 ? SEAL_AES_256_GCM : SEAL_CHACHA20_POLY1305);
}

static void all_aeads(struct world_node *n, int i)
{
    n->config.aeads = 1u << SEAL_AES_256_GCM | 1u << SEAL_CHACHA20_POLY1305;
}

static void only_members_with_the_same_settings_connect(void **state)
{
    static const struct {
        void (*change)(struct world_node *n, int i);
        bool up;
        enum session_count why_not; /* counted by the responder */
    } rows[] = {
        {NULL, true, 0},
        {psk, true, 0},
        {all_aeads, true, 0},
        {other_group_key, false, SESSION_COUNT_MAC},
        {other_overlay, false, SESSION_COUNT_MAX},
        {psk_on_one_side, false, SESSION_COUNT_HANDSHAKE_BAD},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world *w = two_with(i, rows[i].change);

        world_open(&w->nodes[0], &w->nodes[1], true);
        world_run(w, SEC(6));
        assert_int_equal(world_connected(&w->nodes[0], &w->nodes[1]), rows[i].up);
        assert_int_equal(w->nodes[0].ups + w->nodes[1].ups, rows[i].up ? 2 : 0);
        if (!rows[i].up && rows[i].why_not < SESSION_COUNT_MAX)
            assert_true(counted(&w->nodes[1], rows[i].why_not) > 0);
        world_free(w);
    }
}

static void no_common_cipher_is_refused_with_a_reason(void **state)
{
    struct world *w = two_with(1, aes_on_one_side);

    world_open(&w->nodes[0], &w->nodes[1], true);
    world_run(w, SEC(1));
    assert_int_equal(w->nodes[0].last_down, SESSION_END_REFUSED);
    assert_string_equal(w->nodes[0].refusal, "no common cipher");
    world_free(w);
}

static void both_with_aes_use_it_for_data(void **state)
{
    struct world *w = two_with(2, all_aeads);
    struct session_data d;

    world_open(&w->nodes[0], &w->nodes[1], true);
    world_run(w, SEC(1));
    session_want_data(world_session(&w->nodes[0], &w->nodes[1]));
    world_run(w, SEC(1));
    session_data(world_session(&w->nodes[0], &w->nodes[1]), &d);
    assert_int_equal(seal_key_alg(d.tx), SEAL_AES_256_GCM);
    assert_true(world_data_send(&w->nodes[0], world_session(&w->nodes[0], &w->nodes[1])));
    world_run(w, SEC(1));
    assert_int_equal(w->nodes[1].data_got, 1);
    world_free(w);
}

static void another_node_than_expected_is_refused(void **state)
{
    struct world *w = world_two(3);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct path_addr to = world_path(b);
    struct session_refused r[4];
    struct id other = b->config.node;

    other.b[0] ^= 1;
    session_open(a->ss, &to, &other);
    world_run(w, SEC(1));
    assert_int_equal(a->last_down, SESSION_END_REFUSED);
    assert_string_equal(a->refusal, "another node answered");
    assert_int_equal(sessions_refused(a->ss, r, ARRAY_LEN(r)), 1);
    assert_true(id_eq(&r[0].peer, &b->config.node));
    assert_true(path_addr_eq(&r[0].from, &to));
    assert_int_equal(b->ups, 0);
    world_free(w);
}

static void the_right_one_of_several_targets_wins(void **state)
{
    struct world *w = world_two(4);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1], *c = world_add(w, 3);
    struct path_addr wrong = world_path(c), right = world_path(b);

    world_start(c);
    session_open(a->ss, &wrong, &b->config.node);
    session_open(a->ss, &right, &b->config.node);
    world_run(w, SEC(2));
    assert_true(world_connected(a, b));
    assert_int_equal(a->downs, 0);
    world_free(w);
}

/* The n-th handshake packet (1, 2 or 3) that passes. */
struct grab {
    uint8_t number;
    bool drop;
    size_t len;
    struct path_addr from, to;
    uint8_t bytes[WORLD_PACKET_SIZE];
};

static bool grab_packet(struct world *w, struct world_node *from, const struct path_addr *to,
                        uint8_t *pkt, size_t *len)
{
    struct grab *g = w->hook_arg;

    if (pkt[0] != PACKET_HANDSHAKE || pkt[1] != g->number)
        return true;
    if (g->len == 0) {
        g->len = *len;
        g->from = world_path(from);
        g->to = *to;
        memcpy(g->bytes, pkt, *len);
    }
    return !g->drop;
}

/* Two nodes in the middle of a handshake: everything before message `number` arrived, that one is
 * in g. */
static struct world *two_stopped_at(uint64_t seed, uint8_t number, struct grab *g)
{
    struct world *w = world_two(seed);

    *g = (struct grab){.number = number, .drop = true};
    w->hook = grab_packet;
    w->hook_arg = g;
    world_open(&w->nodes[0], &w->nodes[1], true);
    world_run(w, MSEC(10) * (number - 1));
    assert_true(g->len > 0);
    return w;
}

static void deliver(struct world *w, const struct grab *g, const uint8_t *bytes, size_t len)
{
    struct world_node *n = endpoint_eq(&g->to.ep, &w->nodes[0].ep) ? &w->nodes[0] : &w->nodes[1];
    uint8_t copy[WORLD_PACKET_SIZE];

    memcpy(copy, bytes, len);
    sessions_input(n->ss, &g->from, copy, len);
}

/* A receiver of handshake packet `number`: no session by it. */
static bool session_by_packet(const struct world *w, uint8_t number)
{
    return number == 2 ? w->nodes[0].ups > 0 : w->nodes[1].ups > 0;
}

static void every_flipped_bit_of_each_message_gives_no_session(void **state)
{
    for (uint8_t number = 1; number <= 3; number++) {
        struct grab g;
        struct world *w = two_stopped_at(5, number, &g);
        uint64_t sent = w->nodes[1].sent_packets;

        for (size_t bit = 0; bit < g.len * 8; bit++) {
            g.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            deliver(w, &g, g.bytes, g.len);
            g.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(session_by_packet(w, number));
        }
        /* A MAC2 that is neither zero nor right brings a cookie, which is smaller than any message.
         */
        assert_int_equal(w->nodes[1].sent_packets - sent, number == 1 ? 128 : 0);
        assert_int_equal(counted(&w->nodes[1], SESSION_COUNT_COOKIE_SENT), number == 1 ? 128 : 0);
        deliver(w, &g, g.bytes, g.len);
        if (number > 1)
            assert_true(session_by_packet(w, number));
        world_free(w);
    }
}

static void every_truncation_and_extension_gives_no_session(void **state)
{
    for (uint8_t number = 1; number <= 3; number++) {
        struct grab g;
        struct world *w = two_stopped_at(6, number, &g);
        uint64_t sent = w->nodes[0].sent_packets + w->nodes[1].sent_packets;

        for (size_t len = 0; len < g.len; len++)
            deliver(w, &g, g.bytes, len);
        for (size_t len = g.len + 1; len < g.len + 64; len++)
            deliver(w, &g, g.bytes, len);
        assert_int_equal(w->nodes[0].sent_packets + w->nodes[1].sent_packets, sent);
        assert_int_equal(w->nodes[0].ups > (number == 3) || w->nodes[1].ups > 0, 0);
        deliver(w, &g, g.bytes, g.len);
        assert_true(number == 1 || session_by_packet(w, number));
        world_free(w);
    }
}

/* With right MACs (a member wrote it) but wrong inside: Noise refuses, and the attempt survives. */
static void a_forged_message_2_of_a_member_does_not_stop_the_attempt(void **state)
{
    struct grab g;
    struct world *w = two_stopped_at(7, 2, &g);
    struct cookie_keys keys;
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];

    cookie_keys_make(&keys, &a->config.group_key);
    g.bytes[40] ^= 1;
    cookie_stamp(&keys, NULL, 0, g.bytes, g.len);
    deliver(w, &g, g.bytes, g.len);
    assert_int_equal(counted(a, SESSION_COUNT_HANDSHAKE_BAD), 1);
    w->hook = NULL;
    world_run(w, SEC(3));
    assert_true(world_connected(a, b));
    world_free(w);
}

static void a_replayed_message_1_costs_one_message_2_and_no_session(void **state)
{
    struct grab g;
    struct world *w = two_stopped_at(8, 1, &g);
    struct world_node *b = &w->nodes[1];

    g.drop = false;
    world_run(w, SEC(4));
    assert_true(world_connected(&w->nodes[0], b));
    uint64_t sent = b->sent_packets, bytes = b->sent_bytes;

    for (int i = 0; i < 50; i++)
        deliver(w, &g, g.bytes, g.len);
    assert_in_range(b->sent_packets - sent, 1, 50);
    assert_in_range(b->sent_bytes - bytes, 1, 50 * HANDSHAKE_PACKET_MAX);
    world_run(w, SEC(6));
    assert_int_equal(b->ups, 1);
    assert_int_equal(b->downs, 0);
    assert_int_equal(sessions_count(b->ss), 1);
    world_free(w);
}

static void a_repeated_message_1_is_answered_with_the_same_message_2(void **state)
{
    struct grab g, again = {.number = 2};
    struct world *w = two_stopped_at(9, 1, &g);
    struct grab first = {.number = 2};

    w->hook_arg = &first;
    deliver(w, &g, g.bytes, g.len);
    w->hook_arg = &again;
    deliver(w, &g, g.bytes, g.len);
    assert_int_equal(first.len, again.len);
    assert_memory_equal(first.bytes, again.bytes, first.len);
    world_free(w);
}

/* All that ever passed between two nodes. */
struct record {
    struct world_packet packets[256];
    size_t count;
};

static bool record_packet(struct world *w, struct world_node *from, const struct path_addr *to,
                          uint8_t *pkt, size_t *len)
{
    struct record *r = w->hook_arg;

    if (r->count < ARRAY_LEN(r->packets)) {
        struct world_packet *p = &r->packets[r->count++];

        p->from = world_path(from);
        p->to = *to;
        p->len = *len;
        memcpy(p->bytes, pkt, *len);
    }
    return true;
}

static void replaying_everything_changes_nothing(void **state)
{
    struct world *w = world_two(10);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct record *r = calloc(1, sizeof(*r));

    w->hook = record_packet;
    w->hook_arg = r;
    world_open(a, b, true);
    world_run(w, SEC(1));
    session_want_data(world_session(a, b));
    session_send(world_session(a, b), MSG_UPPER, "x", 1);
    world_run(w, SEC(30));
    w->hook = NULL;
    unsigned messages = b->messages, changes = a->data_changes + b->data_changes;

    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < r->count; i++) {
            const struct world_packet *p = &r->packets[i];

            world_put(w, &p->from, &p->to, p->bytes, p->len);
        }
        world_run(w, SEC(20));
    }
    assert_true(r->count > 10);
    assert_true(world_connected(a, b));
    assert_int_equal(a->ups + b->ups, 2);
    assert_int_equal(a->downs + b->downs, 0);
    assert_int_equal(b->messages, messages);
    assert_int_equal(a->data_changes + b->data_changes, changes);
    assert_true(counted(a, SESSION_COUNT_REPLAY) + counted(b, SESSION_COUNT_REPLAY) > 0);
    free(r);
    world_free(w);
}

static void garbage_meets_silence(void **state)
{
    struct world *w = world_two(11);
    struct world_node *b = &w->nodes[1];
    struct path_addr from = world_path(&w->nodes[0]);
    uint8_t pkt[1200];

    for (int i = 0; i < 100000; i++) {
        size_t len = world_random(w) % sizeof(pkt);

        for (size_t k = 0; k < len && k < 64; k++)
            pkt[k] = (uint8_t)world_random(w);
        if (len > 2) {
            pkt[0] = (uint8_t)(0x80 + world_random(w) % 4);
            pkt[1] = pkt[0] == PACKET_HANDSHAKE ? (uint8_t)(world_random(w) % 4) : pkt[1];
            pkt[2] = pkt[3 < len ? 3 : 2] = 0;
        }
        sessions_input(b->ss, &from, pkt, len);
    }
    assert_int_equal(b->sent_packets, 0);
    assert_int_equal(sessions_count(b->ss), 0);
    assert_true(counted(b, SESSION_COUNT_MAC) > 0);
    world_free(w);
}

/* Floods. A stranger that knows the group key, from any address it likes. */

static struct world_node *flooder(struct world *w)
{
    struct world_node *n = world_add(w, 77);

    world_start(n);
    return n;
}

/* One message 1 of a new attempt, put into `to` as if from `from`. */
static void flood_one(struct world *w, struct world_node *n, struct world_node *to,
                      struct endpoint from)
{
    struct grab g = {.number = 1, .drop = true};
    struct path_addr path = {.kind = PATH_UDP, .ep = from};

    w->hook = grab_packet;
    w->hook_arg = &g;
    n->env.now_us = to->env.now_us = w->now_us;
    struct session *s = world_open(n, to, false);

    assert_non_null(s);
    session_close(s);
    sessions_tick(n->ss);
    w->hook = NULL;
    sessions_input(to->ss, &path, g.bytes, g.len);
}

static void one_source_takes_four_slots(void **state)
{
    struct world *w = world_two(12);
    struct world_node *b = &w->nodes[1], *n = flooder(w);

    for (uint16_t i = 0; i < 20; i++)
        flood_one(w, n, b, world_ep(200, (uint16_t)(1000 + i)));
    assert_int_equal(counted(b, SESSION_COUNT_HALF_OPEN_FULL), 16);
    assert_int_equal(b->sent_packets, 20);
    world_free(w);
}

static void under_load_a_cookie_comes_first(void **state)
{
    struct world *w = world_two(13);
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1], *n = flooder(w);

    for (unsigned i = 0; i < 500; i++)
        flood_one(w, n, b, (struct endpoint){addr_v4(0xcb007100u + i), 1000});
    assert_int_equal(counted(b, SESSION_COUNT_COOKIE_SENT), 500 - HANDSHAKE_LOAD);
    assert_int_equal(b->sent_packets, 500);
    assert_in_range(b->sent_bytes, 1,
                    HANDSHAKE_LOAD * HANDSHAKE_PACKET_MAX + 436 * COOKIE_REPLY_LEN);
    /* A real peer still gets in, one round trip later. */
    world_open(a, b, true);
    world_run(w, MSEC(55));
    assert_true(world_connected(a, b));
    assert_int_equal(counted(b, SESSION_COUNT_COOKIE_SENT), 500 - HANDSHAKE_LOAD + 1);
    world_free(w);
}

static void slots_are_bounded_and_end_after_five_seconds(void **state)
{
    struct world *w = world_two(14);
    struct world_node *b = &w->nodes[1], *n = flooder(w);

    /* Below the rate that counts as load, from ever new sources. */
    for (unsigned i = 0; i < 600; i++) {
        flood_one(w, n, b, (struct endpoint){addr_v4(0xcb000000u + i * 256), 1000});
        world_run(w, MSEC(16));
    }
    assert_true(counted(b, SESSION_COUNT_COOKIE_SENT) > 0); /* three quarters are taken */
    assert_int_equal(counted(b, SESSION_COUNT_HALF_OPEN_FULL), 0);
    uint64_t cookies = counted(b, SESSION_COUNT_COOKIE_SENT);

    world_run(w, SEC(6));
    flood_one(w, n, b, world_ep(201, 1));
    assert_int_equal(counted(b, SESSION_COUNT_COOKIE_SENT), cookies);
    world_free(w);
}

static void a_cookie_is_bound_to_its_source_and_time(void **state)
{
    struct world *w = world_two(15);
    struct world_node *n = &w->nodes[0];
    struct cookie_keys keys;
    struct cookie_jar jar = {.drawn = false};
    struct path_addr from = world_path(n), other = world_path(&w->nodes[1]);
    uint8_t pkt[200] = {PACKET_HANDSHAKE, 1, 0, 0, 1, 2, 3, 4}, reply[COOKIE_REPLY_LEN],
            mac1[MAC_LEN];
    struct cookie c = {.until_us = 0};

    cookie_keys_make(&keys, &n->config.group_key);
    cookie_stamp(&keys, NULL, w->now_us, pkt, sizeof(pkt));
    assert_true(cookie_mac1_ok(&keys, pkt, sizeof(pkt)));
    assert_false(cookie_mac2_ok(&jar, &n->env, &from, pkt, sizeof(pkt)));
    memcpy(mac1, pkt + sizeof(pkt) - COOKIE_MACS_LEN, MAC_LEN);
    cookie_reply_make(&jar, &keys, w->worker, &n->env, &from, pkt, sizeof(pkt), reply);
    for (size_t bit = 64; bit < sizeof(reply) * 8; bit++) {
        reply[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(cookie_reply_open(&keys, w->worker, w->now_us, mac1, reply, &c));
        reply[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(cookie_reply_open(&keys, w->worker, w->now_us, mac1, reply, &c));
    mac1[0] ^= 1;
    assert_false(cookie_reply_open(&keys, w->worker, w->now_us, mac1, reply, &c));
    cookie_stamp(&keys, &c, w->now_us, pkt, sizeof(pkt));
    assert_true(cookie_mac2_ok(&jar, &n->env, &from, pkt, sizeof(pkt)));
    assert_false(cookie_mac2_ok(&jar, &n->env, &other, pkt, sizeof(pkt)));
    n->env.now_us += SEC(COOKIE_LIFE_S);
    assert_true(cookie_mac2_ok(&jar, &n->env, &from, pkt, sizeof(pkt)));
    n->env.now_us += SEC(COOKIE_LIFE_S);
    assert_false(cookie_mac2_ok(&jar, &n->env, &from, pkt, sizeof(pkt)));
    world_free(w);
}

/* The hello inside. */

static struct hello hello_example(void)
{
    static uint8_t key[32];
    struct hello h = {
        .identity = key,
        .identity_len = sizeof(key),
        .incarnation = 0x0102030405060708,
        .crl_number = 9,
        .aeads = 2,
        .ep_count = 3,
    };

    assert_true(endpoint_parse(&h.eps[0], "192.0.2.1:4747"));
    assert_true(endpoint_parse(&h.eps[1], "[2001:db8::1]:4747"));
    assert_true(endpoint_parse(&h.eps[2], "10.0.0.1:1"));
    return h;
}

static void a_hello_survives_the_wire(void **state)
{
    struct hello h = hello_example(), back;
    uint8_t bytes[1100];
    size_t eps;
    int n = hello_write(&h, bytes, sizeof(bytes), &eps);

    assert_true(n > 0);
    assert_int_equal(eps, 3);
    assert_true(hello_read(&back, bytes, (size_t)n));
    assert_memory_equal(back.identity, h.identity, 32);
    assert_int_equal(back.incarnation, h.incarnation);
    assert_int_equal(back.crl_number, 9);
    assert_int_equal(back.aeads, 2);
    assert_int_equal(back.ep_count, 3);
    assert_true(endpoint_eq(&back.eps[1], &h.eps[1]));
    for (size_t len = 0; len < (size_t)n; len++)
        assert_false(hello_read(&back, bytes, len));
    bytes[n] = 0;
    assert_false(hello_read(&back, bytes, (size_t)n + 1));
    /* As many endpoints as fit, never a torn one. */
    n = hello_write(&h, bytes, HELLO_FIXED_LEN + 32 + 7 + 18, &eps);
    assert_int_equal(eps, 1);
    assert_true(hello_read(&back, bytes, (size_t)n));
    assert_int_equal(hello_write(&h, bytes, HELLO_FIXED_LEN + 31, &eps), -ERR_RANGE);
}

static void a_hello_with_anything_unknown_is_refused(void **state)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } rows[] = {
        {0, 0},            /* version */
        {0, 2},   {1, 8},  /* an unknown flag */
        {1, 128}, {3, 31}, /* identity length */
        {3, 0},   {56, 9}, /* nine endpoints */
        {57, 0},           /* an endpoint of no family */
        {57, 5},
    };
    struct hello h = hello_example(), back;
    uint8_t good[1100], bytes[1100];
    size_t eps;
    int n = hello_write(&h, good, sizeof(good), &eps);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        memcpy(bytes, good, (size_t)n);
        assert_int_not_equal(bytes[rows[i].offset], rows[i].value);
        bytes[rows[i].offset] = rows[i].value;
        assert_false(hello_read(&back, bytes, (size_t)n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_members_with_the_same_settings_connect),
        cmocka_unit_test(no_common_cipher_is_refused_with_a_reason),
        cmocka_unit_test(both_with_aes_use_it_for_data),
        cmocka_unit_test(another_node_than_expected_is_refused),
        cmocka_unit_test(the_right_one_of_several_targets_wins),
        cmocka_unit_test(every_flipped_bit_of_each_message_gives_no_session),
        cmocka_unit_test(every_truncation_and_extension_gives_no_session),
        cmocka_unit_test(a_forged_message_2_of_a_member_does_not_stop_the_attempt),
        cmocka_unit_test(a_replayed_message_1_costs_one_message_2_and_no_session),
        cmocka_unit_test(a_repeated_message_1_is_answered_with_the_same_message_2),
        cmocka_unit_test(replaying_everything_changes_nothing),
        cmocka_unit_test(garbage_meets_silence),
        cmocka_unit_test(one_source_takes_four_slots),
        cmocka_unit_test(under_load_a_cookie_comes_first),
        cmocka_unit_test(slots_are_bounded_and_end_after_five_seconds),
        cmocka_unit_test(a_cookie_is_bound_to_its_source_and_time),
        cmocka_unit_test(a_hello_survives_the_wire),
        cmocka_unit_test(a_hello_with_anything_unknown_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
