// link: peal_overlay
/*
 * What members may send along trails, and to lay them: A has one to B over a hop, then the input is
 * read as steps of
 *   1 byte kind, 1 byte length, bytes
 * 0 a relay packet to the hop as it came; 1 one with A's real number; 2 the same to B from the hop;
 * 3 time passes (first byte: 100 ms); 4 MSG_TRAIL_ASK of A to B; 5 an answer from the hop to A; 6
 * the same with a token that A waits for; 7 an answer of B to the hop, to go on to A; 8 data of A
 * to B, so many packets; 9 MSG_RELAY_ACCEPT or, after an odd first byte, MSG_RELAY_END of A to the
 * hop, about B and A's real number. Held up: limits, and that all is given back in the end.
 */
#define PEAL_TESTS_CM_H
#define assert_int_equal(a, b) CHECK((a) == (b))
#define fail_msg(...) CHECK(!"the ring does not settle")

#include "overlay/relay.h"
#include "overlay/trail.h"
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

/* The last number of `at` that `from` was told; 0: none. */
static uint32_t number_told(struct overlay_net *net, unsigned at, unsigned from)
{
    const struct overlay *o = net->nodes[at]->o;
    const struct leg *leg;
    uint32_t number = 0;

    for (size_t i = 0; (leg = table_next(&o->legs, &i)) != NULL;)
        if (id_eq(&leg->neighbour, &net->nodes[from]->config.node))
            number = leg->rx;
    return number;
}

static void packet(struct overlay_net *net, unsigned from, unsigned to, bool real,
                   const uint8_t *bytes, size_t len)
{
    uint8_t pkt[RELAY_HEADER_LEN + UINT8_MAX] = {PACKET_RELAY};
    size_t head = real ? RELAY_HEADER_LEN : 0;

    if (real)
        put_u32(pkt + 4, number_told(net, to, from));
    if (len > 0)
        memcpy(pkt + head, bytes, len);
    (void)overlay_input(net_enter(net->nodes[to]), &net->nodes[from]->ep, pkt, head + len);
}

static void question(struct overlay_net *net, const uint8_t *bytes, size_t len)
{
    struct link *l = link_of_node(net, B, A);
    struct reader r = reader_of(bytes, len);

    if (l != NULL && l->up)
        (void)trail_ask_input(net_enter(net->nodes[B]), l, &r);
}

/* As it arrives at `at`, from `from`. */
static void answer(struct overlay_net *net, unsigned from, unsigned at, bool real,
                   const uint8_t *bytes, size_t len)
{
    struct route_header h = route_new(&net->nodes[B]->config.node, &net->nodes[A]->config.node,
                                      ROUTE_EXACT, ROUTE_PROTO_TRAIL);
    struct link *l = link_of_node(net, at, from), *source = link_of_node(net, A, B);
    uint8_t message[ROUTE_HEADER_MAX + UINT8_MAX];
    struct writer w = writer_of(message, sizeof message);
    uint8_t body[UINT8_MAX];

    if (len > 0)
        memcpy(body, bytes, len);
    if (real && source != NULL && source->trail != NULL && len >= TRAIL_TOKEN_LEN)
        memcpy(body, source->trail->questions[0].token, TRAIL_TOKEN_LEN);
    route_write(&w, &h);
    write_bytes(&w, body, len);
    if (l != NULL && l->up)
        (void)transit_input(net_enter(net->nodes[at]), l, message, writer_len(&w));
}

static void relay_answer(struct overlay_net *net, const uint8_t *bytes, size_t len)
{
    struct link *l = link_of_node(net, R, A);
    bool end = len > 0 && (bytes[0] & 1) != 0;
    uint8_t body[ID_LEN + 4 + UINT8_MAX];
    struct writer w = writer_of(body, sizeof body);
    struct reader r;

    write_id(&w, &net->nodes[B]->config.node);
    write_u32(&w, number_told(net, R, A));
    if (len > 1)
        write_bytes(&w, bytes + 1, len - 1);
    r = reader_of(body, writer_len(&w));
    if (l != NULL && l->up)
        (void)(end ? relay_end_input : relay_accept_input)(net_enter(net->nodes[R]), l, &r);
}

static void data(struct overlay_net *net, unsigned packets)
{
    struct link *l = link_of_node(net, A, B);
    struct overlay *o = net_enter(net->nodes[A]);
    static uint64_t sent;

    sent += packets;
    if (l != NULL && l->up)
        overlay_data_seen(o, session_token(l->session),
                          &(struct data_seen){.tx_us = net->now_us, .tx_packets = sent});
    else
        (void)overlay_demand(o, &net->nodes[B]->config.node);
}

static void step(struct overlay_net *net, uint8_t kind, const uint8_t *bytes, size_t len)
{
    if (kind == 0)
        packet(net, A, R, false, bytes, len);
    else if (kind == 1)
        packet(net, A, R, true, bytes, len);
    else if (kind == 2)
        packet(net, R, B, true, bytes, len);
    else if (kind == 3)
        net_run(net, MSEC(100) * (len > 0 ? bytes[0] : 1));
    else if (kind == 4)
        question(net, bytes, len);
    else if (kind == 5 || kind == 6)
        answer(net, R, A, kind == 6, bytes, len);
    else if (kind == 7)
        answer(net, B, R, false, bytes, len);
    else if (kind == 8)
        data(net, len > 0 ? bytes[0] : 0);
    else if (kind == 9)
        relay_answer(net, bytes, len);
}

static void limits_hold(const struct overlay_net *net)
{
    for (unsigned i = 0; i < NODES; i++) {
        const struct overlay *o = net->nodes[i]->o;

        CHECK(o->trails.count <= TRAILS_MAX && o->legs.count == o->trails.count);
        CHECK(o->links.count < 64);
    }
}

static struct overlay_net *begin(void)
{
    static const unsigned first = R;
    struct overlay_net *net = net_new(1, MSEC(10));

    net->hook = a_and_b_apart;
    for (unsigned i = 0; i < NODES; i++) {
        struct net_node *n = net_add(net);

        n->config.relay_refused = true; /* else it would not stay on the ring */
        n->config.trails = true;
    }
    for (unsigned i = 0; i < NODES; i++)
        net_start(net->nodes[i], &first, 1);
    (void)net_settle(net, SEC(60));
    net_run(net, SEC(5));
    for (unsigned i = 0; i < 3; i++) {
        data(net, TRAIL_PACKETS);
        net_run(net, SEC(1));
    }
    CHECK(trail_is_proven(link_of_node(net, A, B)));
    return net;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct overlay_net *net = begin();
    struct reader r = reader_of(bytes, size);

    while (reader_left(&r) >= 2) {
        uint8_t kind = read_u8(&r);
        size_t len = read_u8(&r);

        len = len < reader_left(&r) ? len : reader_left(&r);
        step(net, kind, read_bytes(&r, len), len);
        limits_hold(net);
    }
    net_run(net, SEC(TRAIL_UNUSED_S + TRAIL_LIFE_S + 2));
    for (unsigned i = 0; i < NODES; i++)
        CHECK(net->nodes[i]->o->trails.count == 0 && net->nodes[i]->o->legs.count == 0);
    net_free(net);
    return 0;
}
