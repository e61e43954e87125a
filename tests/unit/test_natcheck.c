// link: peal_overlay
/* What a node behind a NAT finds out about it with the help of members that it never sent to. */
#include "overlay/natcheck.h"
#include "overlay/overlay_internal.h"
#include "tests/unit/overlay_net.h"

enum { MEMBERS = 40, BOXED = MEMBERS, OTHERS_MAX = 64 };

static const usec one_way = MSEC(20);

/* The box of the node BOXED: one mapping for all. */
static struct {
    bool lets_all_in, hairpin;
    usec life_us; /* of its memory of whom was sent to */
    usec sent_us[OTHERS_MAX];
    unsigned stun_out[OTHERS_MAX], stun_in;
} box;

static bool through_the_box(struct overlay_net *net, unsigned from, unsigned to, uint8_t *pkt,
                            size_t len)
{
    bool stun = pkt[0] <= STUN_FIRST_BYTE_MAX;

    if (from == BOXED && to == BOXED)
        return box.hairpin;
    if (stun)
        box.stun_out[from]++;
    if (from == BOXED)
        box.sent_us[to] = net->now_us;
    if (to != BOXED)
        return true;
    bool in = box.lets_all_in ||
              (box.sent_us[from] != 0 && net->now_us < box.sent_us[from] + box.life_us);

    box.stun_in += stun && in;
    return in;
}

/* A ring of members outside, and one node behind the box. */
static struct overlay_net *behind_the_box(uint64_t seed)
{
    const struct endpoint inner = {addr_v4(0xc0a80102), 4747};
    struct overlay_net *net = net_new(seed, one_way);

    memset(box.sent_us, 0, sizeof(box.sent_us));
    memset(box.stun_out, 0, sizeof(box.stun_out));
    box.stun_in = 0;
    for (int i = 0; i < MEMBERS; i++)
        net_start_new(net);
    net_run(net, SEC(60));
    net->hook = through_the_box;
    net_start_new(net);
    overlay_set_endpoints(net_enter(net->nodes[BOXED]), &inner, 1);
    return net;
}

static struct overlay_nat nat_after(struct overlay_net *net, usec for_us)
{
    struct overlay_nat nat;

    net_run(net, for_us);
    overlay_nat(net->nodes[BOXED]->o, &nat);
    return nat;
}

static void a_box_that_lets_all_in_is_known(void **state)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        box.lets_all_in = box.hairpin = true;
        struct overlay_net *net = behind_the_box(seed);
        struct overlay_nat nat = nat_after(net, SEC(60));

        assert_int_equal(nat.mapping, OVERLAY_NAT_MAPPING_INDEPENDENT);
        assert_int_equal(nat.filtering, OVERLAY_NAT_FILTERING_INDEPENDENT);
        assert_int_equal(nat.hairpin, OVERLAY_KNOWN_YES);
        assert_int_equal(nat.keepalive_us, SEC(20));
        net_free(net);
    }
}

static void how_long_a_box_remembers_is_known_and_used(void **state)
{
    static const struct {
        usec life_us, lives_us, dies_us, keepalive_us;
    } rows[] = {
        {SEC(25), 0, SEC(30), SEC(20)}, /* keepalives as short as before anything was known */
        {SEC(45), SEC(30), SEC(60), MSEC(22500)},
        {SEC(100), SEC(60), SEC(120), SEC(45)},
        {SEC(300), SEC(120), 0, SEC(90)},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        box.lets_all_in = box.hairpin = false;
        box.life_us = rows[i].life_us;
        struct overlay_net *net = behind_the_box(40 + i);
        struct overlay_nat nat = nat_after(net, SEC(600));

        assert_int_equal(nat.filtering, OVERLAY_NAT_FILTERING_DEPENDENT);
        assert_int_equal(nat.hairpin, OVERLAY_KNOWN_NO);
        assert_int_equal(nat.lives_us, rows[i].lives_us);
        assert_int_equal(nat.dies_us, rows[i].dies_us);
        assert_int_equal(nat.keepalive_us, rows[i].keepalive_us);
        net_free(net);
    }
}

static void lost_packets_are_not_taken_for_open_doors(void **state)
{
    box.lets_all_in = box.hairpin = false;
    box.life_us = SEC(100);
    for (uint64_t seed = 20; seed < 22; seed++) {
        struct overlay_net *net = behind_the_box(seed);

        net->loss_percent = 5;
        struct overlay_nat nat = nat_after(net, SEC(300));

        assert_int_not_equal(nat.filtering, OVERLAY_NAT_FILTERING_INDEPENDENT);
        assert_int_not_equal(nat.hairpin, OVERLAY_KNOWN_YES);
        assert_true(nat.lives_us <= SEC(60));
        net_free(net);
    }
}

/* Where everybody was sent to nobody can tell. */
static void three_members_know_no_stranger(void **state)
{
    const struct endpoint inner = {addr_v4(0xc0a80102), 4747};
    struct overlay_net *net = net_new(30, one_way);
    struct overlay_nat nat;

    for (int i = 0; i < 3; i++)
        net_start_new(net);
    overlay_set_endpoints(net_enter(net->nodes[2]), &inner, 1);
    net_run(net, SEC(120));
    overlay_nat(net->nodes[2]->o, &nat);
    assert_int_equal(nat.mapping, OVERLAY_NAT_MAPPING_INDEPENDENT);
    assert_int_equal(nat.filtering, OVERLAY_NAT_FILTERING_UNKNOWN);
    assert_int_equal(nat.lives_us, 0);
    net_free(net);
}

/* A member without measure has strangers send no more than so much. */
static void asking_is_capped(void **state)
{
    static const struct id nobody;
    struct overlay_net *net = net_new(31, one_way);
    uint8_t body[NATCHECK_ASK_LEN] = {1};
    unsigned stun = 0;

    for (int i = 0; i < MEMBERS; i++)
        net_start_new(net);
    net_run(net, SEC(60));
    memset(box.stun_out, 0, sizeof(box.stun_out));
    net->hook = through_the_box; /* counts */
    struct overlay *o = net_enter(net->nodes[0]);
    struct link *l = link_of(o->ring.peers[0]);

    memcpy(body + STUN_ID_LEN, nobody.b, ID_LEN);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(session_send(l->session, MSG_NAT_ASK, body, sizeof(body)), 0);
        sessions_flush(o->sessions);
        net_run(net, MSEC(40));
        net_enter(net->nodes[0]);
    }
    for (int i = 0; i < OTHERS_MAX; i++)
        stun += box.stun_out[i];
    assert_in_range(stun, 1, NATCHECK_ASKS);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_box_that_lets_all_in_is_known),
        cmocka_unit_test(how_long_a_box_remembers_is_known_and_used),
        cmocka_unit_test(lost_packets_are_not_taken_for_open_doors),
        cmocka_unit_test(three_members_know_no_stranger),
        cmocka_unit_test(asking_is_capped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
