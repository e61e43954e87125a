// link: peal_overlay
/*
 * What members may send to a relay, and a relay to its ends: A and B talk over R, then the input is
 * read as steps of
 *   1 byte kind, 1 byte length, bytes
 * 0 a relay packet to R as it came; 1 one of A's real channel; 2 the same to A from R; 3 time
 * passes (first byte: 100 ms); from 8 on, in three groups of 8, messages 48 to 55 of A to R, of R
 * to A and of B to A. Held up: limits, and that all is given back in the end.
 */
#define PEAL_TESTS_CM_H
#define assert_int_equal(a, b) CHECK((a) == (b))
#define fail_msg(...) CHECK(!"the ring does not settle")

#include "overlay/relay.h"
#include "tests/unit/overlay_net.h"

enum { A, B, R, NODES };

static bool a_and_b_apart(struct overlay_net *net, unsigned from, unsigned to, uint8_t *pkt,
                          size_t len)
{
    return from + to != A + B;
}

static struct link *link_of_node(struct overlay_net *net, unsigned at, unsigned of)
{
    return link_find(net->nodes[at]->o, &net->nodes[of]->config.node);
}

static void packet(struct overlay_net *net, unsigned from, unsigned to, bool real,
                   const uint8_t *bytes, size_t len)
{
    const struct overlay *o = net->nodes[to]->o;
    uint8_t pkt[RELAY_HEADER_LEN + UINT8_MAX] = {PACKET_RELAY};
    const struct leg *leg;
    size_t i = 0, head = real ? RELAY_HEADER_LEN : 0;

    while (real && (leg = table_next(&o->legs, &i)) != NULL)
        if (id_eq(&leg->neighbour, &net->nodes[from]->config.node))
            put_u32(pkt + 4, leg->rx);
    if (len > 0)
        memcpy(pkt + head, bytes, len);
    (void)overlay_input(net_enter(net->nodes[to]), &net->nodes[from]->ep, pkt, head + len);
}

static void message(struct overlay_net *net, unsigned from, unsigned to, unsigned type,
                    const uint8_t *bytes, size_t len)
{
    static bool (*const inputs[])(struct overlay * o, struct link * l, struct reader * r) = {
        relay_neighbours_input, channel_open_input, relay_invite_input,
        relay_accept_input,     relay_end_input,    channel_spare_input};
    struct link *l = link_of_node(net, to, from);
    struct reader r = reader_of(bytes, len);

    if (l != NULL && l->up && type < ARRAY_LEN(inputs))
        (void)inputs[type](net_enter(net->nodes[to]), l, &r);
}

static void step(struct overlay_net *net, uint8_t kind, const uint8_t *bytes, size_t len)
{
    static const struct {
        unsigned from, to;
    } groups[] = {{A, R}, {R, A}, {B, A}};

    if (kind == 0)
        packet(net, A, R, false, bytes, len);
    else if (kind == 1)
        packet(net, A, R, true, bytes, len);
    else if (kind == 2)
        packet(net, R, A, true, bytes, len);
    else if (kind == 3)
        net_run(net, MSEC(100) * (len > 0 ? bytes[0] : 1));
    else if (kind >= 8 && kind < 32)
        message(net, groups[kind / 8 - 1].from, groups[kind / 8 - 1].to, kind % 8, bytes, len);
}

static void limits_hold(const struct overlay_net *net)
{
    for (unsigned i = 0; i < NODES; i++) {
        const struct overlay *o = net->nodes[i]->o;

        CHECK(o->channels.count <= CHANNELS_MAX && o->relay_meets <= RELAY_MEETS_ALL);
        CHECK(o->links.count < 64);
    }
}

static struct overlay_net *begin(void)
{
    static const unsigned first = R;
    struct overlay_net *net = net_new(1, MSEC(10));

    net->hook = a_and_b_apart;
    for (unsigned i = 0; i < NODES; i++)
        (void)net_add(net);
    for (unsigned i = 0; i < NODES; i++)
        net_start(net->nodes[i], &first, 1);
    (void)net_settle(net, SEC(60));
    net_run(net, SEC(5));
    CHECK(session_path(link_of_node(net, A, B)->session)->kind == PATH_RELAY);
    return net;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct overlay_net *net = begin();
    struct reader r = reader_of(data, size);

    while (reader_left(&r) >= 2) {
        uint8_t kind = read_u8(&r);
        size_t len = read_u8(&r);

        len = len < reader_left(&r) ? len : reader_left(&r);
        step(net, kind, read_bytes(&r, len), len);
        limits_hold(net);
    }
    net_run(net, SEC(1));
    limits_hold(net);
    net_free(net);
    return 0;
}
