// link: peal_node
/* Groups in the public overlay: who meets, through what, and what strangers get of it. Real nodes
 * of both overlays on a wire in memory; members' datagrams to each other are lost. */
#include "daemon/node/rendezvous.c"
#include "daemon/node/tunnel.c"
#include "overlay/core/limits.h"
#include "tests/unit/cm.h"

#include <stdio.h>

enum { MACHINES_MAX = 8, PUBLIC = 0, GROUP = 1, SLOTS = 2, PACKETS_MAX = 4096 };
#define DELAY_US MSEC(5)

struct machine;
struct station { /* a node of one overlay */
    struct machine *at;
    struct node *node;
    struct env env;
    struct node_config config;
};

struct machine {
    struct endpoint ep;
    bool hidden; /* no datagram passes between two of these */
    bool off;
    struct station s[SLOTS];
    unsigned met;
    struct id shunned; /* a member */
    unsigned met_shunned;
};

static struct packet {
    usec at_us;
    unsigned from, to;
    size_t len;
    uint8_t bytes[PACKET_MAX];
} packets[PACKETS_MAX];
static size_t packet_count;
static struct machine machines[MACHINES_MAX];
static size_t machine_count;
static uint64_t random_state;
static usec now_us;
static int64_t wall_s;
static bool spied; /* a packet held what strangers must not see */

static void fill(void *host, void *buf, size_t len)
{
    uint8_t *p = buf;

    for (size_t i = 0; i < len; i++) {
        uint64_t z = (random_state += 0x9e3779b97f4a7c15u);

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        p[i] = (uint8_t)(z >> 32);
    }
}

static struct node *enter(struct machine *m, int slot)
{
    struct env *env = &m->s[slot].env;

    env->now_us = now_us;
    env->wall_s = wall_s;
    env->wall_known = wall_s != 0;
    return m->off ? NULL : m->s[slot].node;
}

static bool holds(const uint8_t *p, size_t len, const void *what, size_t what_len)
{
    return memmem(p, len, what, what_len) != NULL;
}

static void on_send(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    struct station *s = ctx;
    unsigned number = addr_to_v4(&to->addr) - 0x0a000001u;
    struct packet *p = &packets[packet_count];
    const struct node_config *group = &s->at->s[GROUP].config;

    assert_true(len <= sizeof(p->bytes));
    if (group->name[0])
        spied |= holds(pkt, len, group->name, strlen(group->name)) ||
                 holds(pkt, len, group->overlay.overlay.b, ID_LEN) ||
                 holds(pkt, len, group->overlay.node.b, ID_LEN);
    if (number >= machine_count || (s->at->hidden && machines[number].hidden))
        return;
    assert_true(packet_count < PACKETS_MAX);
    packet_count++;
    p->at_us = now_us + DELAY_US;
    p->from = (unsigned)(s->at - machines);
    p->to = number;
    p->len = len;
    memcpy(p->bytes, pkt, len);
}

static void on_tunnel_send(void *ctx, const struct id *to, const uint8_t *pkt, size_t len)
{
    struct station *s = ctx;

    node_tunnel_send(enter(s->at, PUBLIC), to, pkt, len);
}

static void on_tunnel_input(void *ctx, const struct id *from, uint8_t *pkt, size_t len)
{
    struct station *s = ctx;
    struct node *group = enter(s->at, GROUP);

    if (group)
        (void)node_tunnel_input(group, from, pkt, len);
}

static void on_met_here(void *ctx, uint32_t token, const struct id *end, const struct id *member)
{
    struct station *s = ctx;

    assert_int_equal(token, 7);
    s->at->met++;
    s->at->met_shunned += id_eq(member, &s->at->shunned);
    if (enter(s->at, GROUP))
        overlay_add_tunnel(node_overlay(s->at->s[GROUP].node), member, end);
}

static void on_observed(void *ctx, const struct endpoint *by, const struct endpoint *us)
{
}
static void nothing(void *ctx)
{
}
static void no_frame(void *ctx, const uint8_t *frame, size_t len)
{
}
static void no_addresses(void *ctx, const struct net *ipv4, const struct net *ipv6)
{
}

static const struct node_host public_host = {.send = on_send,
                                             .frame = no_frame,
                                             .addresses = no_addresses,
                                             .forward_changed = nothing,
                                             .changed = nothing,
                                             .removed = nothing,
                                             .tunnel_input = on_tunnel_input,
                                             .met = on_met_here,
                                             .observed = on_observed};
static const struct node_host group_host = {.send = on_send,
                                            .frame = no_frame,
                                            .addresses = no_addresses,
                                            .forward_changed = nothing,
                                            .changed = nothing,
                                            .removed = nothing,
                                            .tunnel_send = on_tunnel_send};

static void start(struct machine *m, int slot, uint8_t key)
{
    struct station *s = &m->s[slot];
    struct overlay_config *o = &s->config.overlay;
    struct secret seed;

    s->at = m;
    s->env = (struct env){.level = LOG_LEVEL_ERROR, .random = fill};
    fill(NULL, seed.b, sizeof(seed.b));
    sign_keys(&o->pub, &o->sec, &seed);
    o->node = node_id_self(&o->pub);
    memset(o->overlay.b, key, ID_LEN);
    memset(o->group_key.b, key, sizeof(o->group_key.b));
    o->slot = (uint8_t)(slot + 1);
    o->aeads = 1u << SEAL_CHACHA20_POLY1305;
    o->psk = slot == GROUP;
    s->config.address_mode = NODE_ADDRESS_NONE;
    s->config.rendezvous = slot == PUBLIC;
    s->config.public_relay = true;
    enter(m, slot);
    s->node = node_new(&s->config, &s->env, slot == PUBLIC ? &public_host : &group_host, s);
    assert_non_null(s->node);
    node_set_endpoints(s->node, &m->ep, 1);
}

static struct machine *add_machine(bool hidden)
{
    struct machine *m = &machines[machine_count];

    m->ep = (struct endpoint){.addr = addr_v4(0x0a000001u + (uint32_t)machine_count++), .port = 1};
    m->hidden = hidden;
    start(m, PUBLIC, 1);
    if (m != machines)
        assert_int_equal(node_add_bootstrap(m->s[PUBLIC].node, &machines[0].ep), 0);
    return m;
}

static void join_group(struct machine *m, uint8_t key)
{
    struct node_meeting meeting = {.token = 7};

    sprintf(m->s[GROUP].config.name, "group-of-%u", key);
    start(m, GROUP, key);
    meeting.group_key = m->s[GROUP].config.overlay.group_key;
    meeting.sec = m->s[GROUP].config.overlay.sec;
    meeting.member = m->s[GROUP].config.overlay.node;
    enter(m, PUBLIC);
    assert_int_equal(node_meet(m->s[PUBLIC].node, &meeting), 0);
}

static size_t connections(struct machine *m)
{
    return overlay_connections(node_overlay(m->s[GROUP].node));
}

static void deliver(const struct packet *p)
{
    struct machine *m = &machines[p->to];
    bool first = p->bytes[0] == PACKET_HANDSHAKE && p->bytes[1] == 1;
    unsigned slot = p->bytes[p->bytes[0] == PACKET_HANDSHAKE ? 8 : 4];
    uint8_t bytes[PACKET_MAX];

    for (int i = 0; i < SLOTS; i++) {
        memcpy(bytes, p->bytes, p->len);
        if (enter(m, i) && (first || slot == (unsigned)i + 1) &&
            node_input(m->s[i].node, &machines[p->from].ep, bytes, p->len))
            return;
    }
}

static void tell_lonely(struct machine *m)
{
    if (m->s[GROUP].node && enter(m, PUBLIC))
        node_meet_lonely(m->s[PUBLIC].node, 7, connections(m) == 0);
}

static usec next_event(void)
{
    usec at_us = packet_count > 0 ? packets[0].at_us : USEC_NEVER;

    for (size_t i = 0; i < machine_count; i++)
        for (int k = 0; k < SLOTS; k++)
            if (machines[i].s[k].node && !machines[i].off)
                at_us = usec_min(at_us, node_deadline(machines[i].s[k].node));
    return at_us > now_us ? at_us : now_us;
}

static void step(void)
{
    for (size_t i = 0; i < machine_count; i++)
        for (int k = 0; k < SLOTS; k++)
            if (enter(&machines[i], k) && node_deadline(machines[i].s[k].node) <= now_us)
                node_tick(machines[i].s[k].node);
    while (packet_count > 0 && packets[0].at_us <= now_us) {
        struct packet p = packets[0];

        memmove(&packets[0], &packets[1], --packet_count * sizeof(*packets));
        deliver(&p);
    }
    for (size_t i = 0; i < machine_count; i++)
        tell_lonely(&machines[i]);
}

static void run_until(usec until_us)
{
    unsigned steps = 0;

    for (usec at_us; (at_us = next_event()) <= until_us;) {
        assert_true(++steps < 1000000); /* nobody is due again and again */
        wall_s += wall_s != 0 ? (int64_t)(at_us / SEC(1) - now_us / SEC(1)) : 0;
        now_us = at_us == now_us ? now_us + 1 : at_us;
        step();
    }
    now_us = until_us;
}

static void run(usec for_us)
{
    run_until(now_us + for_us);
}

static int setup(void **state)
{
    assert_int_equal(crypto_start(), 0);
    random_state = 1;
    now_us = SEC(1000);
    wall_s = INT64_C(1800000000);
    packet_count = machine_count = 0;
    memset(machines, 0, sizeof(machines));
    spied = false;
    return 0;
}

static int teardown(void **state)
{
    for (size_t i = 0; i < machine_count; i++)
        for (int k = 0; k < SLOTS; k++)
            node_free(machines[i].s[k].node);
    return 0;
}

static uint64_t counted(struct machine *m, int slot, const char *name)
{
    const char *n;
    uint64_t value;

    for (size_t i = 0; node_counter(m->s[slot].node, i, &n, &value); i++)
        if (strcmp(n, name) == 0)
            return value;
    fail();
    return 0;
}

static void members_that_cannot_send_to_each_other_meet(void **state)
{
    struct machine *meet = add_machine(false), *a = add_machine(true), *b = add_machine(true);

    join_group(a, 50);
    join_group(b, 50);
    run(SEC(10));
    assert_int_equal(connections(a), 1);
    assert_int_equal(connections(b), 1);
    assert_true(overlay_size_estimate(node_overlay(a->s[GROUP].node)) > 1.5);
    assert_true(counted(meet, PUBLIC, "routed") > 0);
    assert_false(spied);
}

static void another_groups_members_stay_strangers(void **state)
{
    struct machine *a, *b, *c;

    add_machine(false);
    a = add_machine(true);
    b = add_machine(true);
    c = add_machine(true);
    join_group(a, 50);
    join_group(b, 50);
    join_group(c, 51);
    run(SEC(20));
    assert_int_equal(connections(a), 1);
    assert_int_equal(connections(b), 1);
    assert_int_equal(connections(c), 0);
    assert_int_equal(c->met, 0);
}

static void nobody_meets_before_the_date_is_known(void **state)
{
    struct machine *a, *b;

    wall_s = 0;
    add_machine(false);
    a = add_machine(true);
    b = add_machine(true);
    join_group(a, 50);
    join_group(b, 50);
    run(SEC(10));
    assert_int_equal(connections(a), 0);
    wall_s = INT64_C(1800000000);
    run(SEC(10));
    assert_int_equal(connections(a), 1);
    assert_int_equal(connections(b), 1);
}

static void around_midnight_a_clock_that_is_late_finds_the_others(void **state)
{
    struct machine *a, *b;

    add_machine(false);
    a = add_machine(true);
    b = add_machine(true);
    wall_s = INT64_C(1800000000) / RENDEZVOUS_DAY_S * RENDEZVOUS_DAY_S - 1200;
    join_group(a, 50);
    run(SEC(30)); /* it has published under that day */
    assert_int_equal(counted(a, PUBLIC, "rendezvous_published"), 1);
    wall_s += 1800;
    join_group(b, 50);
    run(SEC(10));
    assert_int_equal(connections(a), 1);
    assert_int_equal(connections(b), 1);
}

static void a_group_left_is_looked_for_no_more(void **state)
{
    struct machine *a, *b;

    add_machine(false);
    a = add_machine(true);
    b = add_machine(true);
    join_group(a, 50);
    join_group(b, 50);
    enter(a, PUBLIC);
    node_meet_no_more(a->s[PUBLIC].node, 7);
    run(SEC(20));
    assert_int_equal(a->met, 0);
    assert_int_equal(counted(a, PUBLIC, "rendezvous_published"), 0);
}

/* Joins, and says how often it met that one. */
static unsigned newcomer_meets(struct machine *whom)
{
    struct machine *m = add_machine(true);

    m->shunned = whom->s[GROUP].config.overlay.node;
    join_group(m, 50);
    run(SEC(10));
    assert_true(connections(m) > 0);
    return m->met_shunned;
}

static void who_hides_is_not_found_and_finds_the_others(void **state)
{
    struct machine *a, *b;

    add_machine(false);
    a = add_machine(true);
    b = add_machine(true);
    join_group(a, 50);
    join_group(b, 50);
    run(SEC(10));
    assert_int_not_equal(newcomer_meets(b), 0);
    enter(b, PUBLIC);
    node_meet_hidden(b->s[PUBLIC].node, 7, true);
    run(SEC(20));
    assert_int_equal(counted(b, PUBLIC, "rendezvous_hidden"), 1);
    assert_int_equal(newcomer_meets(b), 0);
    run(SEC(RENDEZVOUS_LEASE_S));
    assert_int_equal(newcomer_meets(b), 0); /* nor does it write again */
    enter(b, PUBLIC);
    node_meet_hidden(b->s[PUBLIC].node, 7, false);
    run(SEC(2));
    assert_int_not_equal(newcomer_meets(b), 0);
}

static void records_come_back_when_their_holders_are_gone(void **state)
{
    struct machine *meet = add_machine(false), *a = add_machine(true), *b;

    join_group(a, 50);
    run(SEC(20));
    meet->off = true;
    run(SEC(1900)); /* it is written again meanwhile */
    meet->off = false;
    b = add_machine(true);
    join_group(b, 50);
    run(SEC(90));
    assert_int_equal(connections(a), 1);
    assert_int_equal(connections(b), 1);
}

static size_t public_connections(struct machine *m)
{
    return overlay_connections(node_overlay(m->s[PUBLIC].node));
}

static void wait_long_then_meet(uint64_t seed)
{
    struct machine *meet, *a, *b;

    random_state = seed;
    meet = add_machine(false);
    a = add_machine(true);
    b = add_machine(true);
    meet->off = true;
    join_group(a, 50);
    join_group(b, 50);
    run(SEC(300)); /* so long that lookups are a minute apart */
    assert_int_equal(public_connections(a) + public_connections(b), 0);
    meet->off = false;
    for (unsigned s = 0; s < 90 && (public_connections(a) == 0 || public_connections(b) == 0); s++)
        run(SEC(1));
    run(SEC(6));
    assert_int_equal(connections(a), 1);
    assert_int_equal(connections(b), 1);
}

static void who_waited_long_for_the_public_overlay_looks_as_soon_as_it_is_there(void **state)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        wait_long_then_meet(seed);
        (void)!teardown(state);
        (void)!setup(state);
    }
}

/* What a record says. */

static void a_value_is_read_by_the_group_under_its_owner_and_day_only(void **state)
{
    static const struct secret group = {{1}}, other = {{2}};
    static const struct id end = {{3}}, member = {{4}}, owner = {{5}}, thief = {{6}};
    const uint8_t nonce[BOX_NONCE_LEN] = {7};
    uint8_t value[VALUE_LEN];
    struct day today, tomorrow, theirs;
    struct id e, m;

    day_keys(&today, &group, 100);
    day_keys(&tomorrow, &group, 101);
    day_keys(&theirs, &other, 100);
    value_seal(value, &end, &member, &owner, &today.seal, nonce);
    assert_true(value_open(&e, &m, value, sizeof(value), &owner, &today.seal));
    assert_true(id_eq(&e, &end) && id_eq(&m, &member));
    assert_false(value_open(&e, &m, value, sizeof(value), &thief, &today.seal));
    assert_false(value_open(&e, &m, value, sizeof(value), &owner, &tomorrow.seal));
    assert_false(value_open(&e, &m, value, sizeof(value), &owner, &theirs.seal));
    assert_false(equal_ct(today.pub.b, tomorrow.pub.b, sizeof(today.pub.b)));
    for (size_t len = 0; len < sizeof(value); len++)
        assert_false(value_open(&e, &m, value, len, &owner, &today.seal));
    for (size_t i = 0; i < sizeof(value); i++) {
        value[i] ^= 1;
        assert_false(value_open(&e, &m, value, sizeof(value), &owner, &today.seal));
        value[i] ^= 1;
    }
    value_seal(value, &(struct id){{0}}, &member, &owner, &today.seal, nonce);
    assert_false(value_open(&e, &m, value, sizeof(value), &owner, &today.seal));
}

/* Tunnels. */

static uint8_t got[2 * PACKET_MAX];
static size_t got_len;
static unsigned got_count;

static void on_deliver(void *ctx, const struct id *from, uint8_t *pkt, size_t len)
{
    memcpy(got, pkt, len);
    got_len = len;
    got_count++;
}

static void tunnel_in(struct tunnels *t, uint8_t from, uint16_t number, uint8_t cut,
                      const uint8_t *bytes, size_t len)
{
    struct overlay_from f = {.node = {{from}}};
    uint8_t body[OVERLAY_BODY_MAX + 8] = {0};
    struct reader r = reader_of(body, 3 + len);

    put_u16(body, number);
    body[2] = cut;
    memcpy(body + 3, bytes, len);
    tunnels_input(t, &f, &r);
}

static void halves_are_joined_in_any_order_and_of_one_sender(void **state)
{
    struct env env = {.now_us = SEC(1)};
    struct tunnels t;
    uint8_t bytes[TUNNEL_PACKET_MAX];

    memset(bytes, 0x5a, sizeof(bytes));
    bytes[0] = PACKET_CONTROL;
    bytes[TUNNEL_PART_MAX] = 0x77;
    got_count = 0;
    tunnels_init(&t, &env, NULL, on_deliver, NULL);
    tunnel_in(&t, 1, 1, 0x12, bytes + TUNNEL_PART_MAX, 100);
    tunnel_in(&t, 2, 1, 0x02, bytes, TUNNEL_PART_MAX); /* another's */
    assert_int_equal(got_count, 0);
    tunnel_in(&t, 1, 1, 0x02, bytes, TUNNEL_PART_MAX);
    assert_int_equal(got_count, 1);
    assert_int_equal(got_len, TUNNEL_PART_MAX + 100);
    assert_memory_equal(got, bytes, got_len);
    tunnel_in(&t, 2, 1, 0x12, bytes + TUNNEL_PART_MAX, 1);
    assert_int_equal(got_count, 2);
    tunnel_in(&t, 1, 2, 0x02, bytes, TUNNEL_PART_MAX);
    env.now_us += SEC(3); /* too late */
    tunnel_in(&t, 1, 2, 0x12, bytes, 1);
    assert_int_equal(got_count, 2);
    tunnels_clear(&t);
}

static void what_is_cut_wrongly_or_is_no_packet_is_dropped(void **state)
{
    static const struct {
        uint8_t cut;
        size_t len;
        uint8_t type;
    } bad[] = {
        {0x01, 0, PACKET_CONTROL},  {0x00, 10, PACKET_CONTROL},
        {0x11, 10, PACKET_CONTROL}, {0x03, 10, PACKET_CONTROL},
        {0x22, 10, PACKET_CONTROL}, {0x02, 10, PACKET_CONTROL},
        {0x01, 10, PACKET_RELAY},   {0x01, 10, 0x00},
        {0x01, 10, 0xff},           {0x01, TUNNEL_PART_MAX + 1, PACKET_CONTROL},
    };
    struct env env = {.now_us = SEC(1)};
    struct tunnels t;

    got_count = 0;
    tunnels_init(&t, &env, NULL, on_deliver, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint8_t bytes[OVERLAY_BODY_MAX] = {bad[i].type};

        tunnel_in(&t, 1, (uint16_t)i, bad[i].cut, bytes, bad[i].len);
        assert_int_equal(t.dropped, i + 1);
    }
    assert_int_equal(got_count, 0);
    tunnels_clear(&t);
}

static void first_messages_of_strangers_are_bounded(void **state)
{
    const uint8_t first[100] = {PACKET_HANDSHAKE, 1}, control[100] = {PACKET_CONTROL};
    struct env env = {.now_us = SEC(1)};
    struct tunnels t;

    got_count = 0;
    tunnels_init(&t, &env, NULL, on_deliver, NULL);
    for (unsigned i = 0; i < 1000; i++)
        tunnel_in(&t, (uint8_t)i, (uint16_t)i, 0x01, first, sizeof(first));
    assert_int_equal(got_count, TUNNEL_STRANGERS_PER_S);
    tunnel_in(&t, 1, 1, 0x01, control, sizeof(control));
    assert_int_equal(got_count, TUNNEL_STRANGERS_PER_S + 1);
    env.now_us += SEC(1);
    tunnel_in(&t, 1, 1, 0x01, first, sizeof(first));
    assert_int_equal(got_count, TUNNEL_STRANGERS_PER_S + 2);
    tunnels_clear(&t);
}

static void halves_beyond_the_bound_cost_the_oldest(void **state)
{
    uint8_t bytes[TUNNEL_PART_MAX] = {PACKET_CONTROL};
    struct env env = {.now_us = SEC(1)};
    struct tunnels t;

    got_count = 0;
    tunnels_init(&t, &env, NULL, on_deliver, NULL);
    for (uint16_t i = 0; i < TUNNEL_HALVES_MAX + 1; i++, env.now_us++)
        tunnel_in(&t, 1, i, 0x02, bytes, sizeof(bytes));
    tunnel_in(&t, 1, TUNNEL_HALVES_MAX, 0x12, bytes, 1);
    assert_int_equal(got_count, 1);
    tunnel_in(&t, 1, 0, 0x12, bytes, 1); /* its other half had to go */
    assert_int_equal(got_count, 1);
    tunnels_clear(&t);
}

#define MEET(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEET(members_that_cannot_send_to_each_other_meet),
        MEET(another_groups_members_stay_strangers),
        MEET(nobody_meets_before_the_date_is_known),
        MEET(around_midnight_a_clock_that_is_late_finds_the_others),
        MEET(a_group_left_is_looked_for_no_more),
        MEET(who_hides_is_not_found_and_finds_the_others),
        MEET(records_come_back_when_their_holders_are_gone),
        MEET(who_waited_long_for_the_public_overlay_looks_as_soon_as_it_is_there),
        cmocka_unit_test(a_value_is_read_by_the_group_under_its_owner_and_day_only),
        cmocka_unit_test(halves_are_joined_in_any_order_and_of_one_sender),
        cmocka_unit_test(what_is_cut_wrongly_or_is_no_packet_is_dropped),
        cmocka_unit_test(first_messages_of_strangers_are_bounded),
        cmocka_unit_test(halves_beyond_the_bound_cost_the_oldest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
