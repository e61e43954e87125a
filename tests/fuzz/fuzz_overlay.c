// link: peal_overlay PkgConfig::CMOCKA
/*
 * What a member may say to another: three nodes are one ring, then the input is read as steps of
 *   1 byte kind, 2 bytes length, bytes
 * 0 to 127: a message of that type from the second to the first over their session; 128 and more:
 * time passes (first byte: 100 ms).
 * Held up: the first two stay sane whatever one of them is told: lists in order, nobody twice.
 */
#include "overlay/overlay_internal.h"
#include "tests/unit/overlay_net.h"

enum { STEPS_MAX = 32, TIME = 128 };

static void say_to_first(struct overlay_net *net, uint8_t type, const uint8_t *bytes, size_t len)
{
    struct overlay *o = net_enter(net->nodes[1]);
    struct link *l = link_find(o, &net->nodes[0]->o->ring.self);

    if (l == NULL || !l->up || len > MESSAGE_MAX)
        return;
    (void)session_send(l->session, type, bytes, len);
    sessions_flush(o->sessions);
}

static void judge(const struct ring *ring)
{
    for (int side = RING_LEFT; side <= RING_RIGHT; side++) {
        const struct ring_list *list = &ring->near[side];

        CHECK(list->count <= OVERLAY_NEAR);
        for (size_t i = 0; i < list->count; i++) {
            struct id d = side == RING_RIGHT ? id_sub(&list->id[i], &ring->self)
                                             : id_sub(&ring->self, &list->id[i]);
            struct id before = {{0}};

            if (i > 0)
                before = side == RING_RIGHT ? id_sub(&list->id[i - 1], &ring->self)
                                            : id_sub(&ring->self, &list->id[i - 1]);
            CHECK(id_cmp(&before, &d) < 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct overlay_net *net = net_new(1, MSEC(1));
    struct reader r = reader_of(data, size);

    for (int i = 0; i < 3; i++)
        net_start_new(net);
    net_run(net, SEC(3));
    for (int steps = 0; steps < STEPS_MAX && reader_left(&r) >= 3; steps++) {
        uint8_t kind = read_u8(&r);
        size_t len = read_u16(&r);
        const uint8_t *bytes;

        len = len < reader_left(&r) ? len : reader_left(&r);
        bytes = read_bytes(&r, len);
        if (kind < TIME)
            say_to_first(net, kind, bytes, len);
        net_run(net, kind < TIME ? MSEC(5) : MSEC(100) * (len > 0 ? bytes[0] : 1));
        judge(&net->nodes[0]->o->ring);
        judge(&net->nodes[1]->o->ring);
    }
    net_run(net, SEC(5));
    judge(&net->nodes[0]->o->ring);
    net_free(net);
    return 0;
}
