// link: peal_overlay
/*
 * What an authenticated peer may send: two nodes are connected, then the input is read as steps of
 *   1 byte kind, 2 bytes length, bytes
 * 0 a packet's decrypted content, sealed with the peer's real keys; 1 a datagram as it came;
 * 2 time passes (first byte: 10 ms); 3 the content comes from another address; 4 data is wanted
 * and seen; 5 the other way round.
 * Held up: an address that never answers gets at most 3 times the bytes that came from it.
 */
#include <stdio.h>

#include "overlay/session_internal.h"
#include "tests/unit/session_world.h"

static struct endpoint elsewhere;
static size_t elsewhere_got, elsewhere_sent;

static bool watch(struct world *w, struct world_node *from, const struct path_addr *to,
                  uint8_t *pkt, size_t *len)
{
    if (to->kind == PATH_UDP && endpoint_eq(&to->ep, &elsewhere))
        elsewhere_got += *len;
    return true;
}

/* As if `from` had sealed these bytes, coming from `ep`. */
static void deliver_sealed(struct world *w, struct world_node *from, struct world_node *to,
                           const uint8_t *bytes, size_t len, const struct endpoint *ep)
{
    struct session *s = world_session(from, to);
    struct path_addr path = {.kind = PATH_UDP, .ep = *ep};
    uint8_t pkt[WORLD_PACKET_SIZE];

    if (s == NULL || !session_is_up(s) || len > SESSION_COALESCE_MAX)
        return;
    memcpy(pkt + PACKET_HEADER_LEN, bytes, len);
    int n = seal_packet(w->worker, s->keys->tx, PACKET_CONTROL, 0, pkt, len);

    CHECK(n > 0);
    if (endpoint_eq(ep, &elsewhere))
        elsewhere_sent += (size_t)n;
    sessions_input(to->ss, &path, pkt, (size_t)n);
}

static void step(struct world *w, uint8_t kind, const uint8_t *bytes, size_t len)
{
    struct world_node *a = &w->nodes[0], *b = &w->nodes[1];
    struct path_addr from = world_path(a);
    struct session *s = world_session(b, a);
    uint8_t pkt[WORLD_PACKET_SIZE];

    switch (kind) {
    case 0:
        deliver_sealed(w, a, b, bytes, len, &a->ep);
        break;
    case 1:
        len = len < sizeof(pkt) ? len : sizeof(pkt);
        if (len > 0)
            memcpy(pkt, bytes, len);
        sessions_input(b->ss, &from, pkt, len);
        break;
    case 2:
        world_run(w, MSEC(10) * (len > 0 ? bytes[0] : 1));
        break;
    case 3:
        deliver_sealed(w, a, b, bytes, len, &elsewhere);
        break;
    case 4:
        if (s != NULL && session_is_up(s)) {
            session_want_data(s);
            session_data_seen(s, &(struct data_seen){w->now_us, w->now_us - MSEC(len),
                                                     w->now_us - MSEC(len % 7), len});
            world_data_send(b, s);
        }
        break;
    case 5:
        deliver_sealed(w, b, a, bytes, len, &b->ep);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    struct world *w = world_new(1);

    elsewhere =
        (struct endpoint){addr_v4(0x7f000009), 24000}; /* nobody may name it as a candidate */
    elsewhere_got = elsewhere_sent = 0;
    world_start(world_add(w, 1));
    world_start(world_add(w, 2));
    CHECK(world_open(&w->nodes[0], &w->nodes[1], true) != NULL);
    world_run(w, SEC(1));
    CHECK(world_connected(&w->nodes[0], &w->nodes[1]));
    w->hook = watch;
    for (int steps = 0; steps < 64 && reader_left(&r) >= 3; steps++) {
        uint8_t kind = read_u8(&r);
        size_t len = read_u16(&r);

        len = len < reader_left(&r) ? len : reader_left(&r);
        step(w, kind, read_bytes(&r, len), len);
        CHECK(elsewhere_got <= 3 * elsewhere_sent || elsewhere_sent == 0);
    }
    world_run(w, SEC(20));
    world_free(w);
    return 0;
}
