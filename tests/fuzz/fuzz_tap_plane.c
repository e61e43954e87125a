// link: peal_tap
/* One worker without its thread: the input is a frame from the device (first byte 0 modulo 4), an
 * inner packet that a peer with the right keys sent (1), a datagram from a stranger (2), or a frame
 * behind a virtio header of which only the length of the headers is left to us (3). */
#include <fcntl.h>
#include <stdlib.h>

#include "tap/inbound.c"

#define hand_up outbound_hand_up /* two files, each with statics of its own, in one unit here */
#include "tap/outbound.c"

static struct worker *w;
static struct snapshot snapshot;
static struct seal_key *tx, *rx;

static struct addr addr_of(const char *text)
{
    struct addr a;
    CHECK(addr_parse(&a, text));
    return a;
}

static struct forward *table(void)
{
    static const struct secret secret = {{1}};
    struct forward *f = forward_new();
    struct forward_network n = {.present = true,
                                .own4 = addr_of("10.77.0.2"),
                                .own6 = addr_of("fd00:77::2"),
                                .service = addr_of("10.77.0.1")};
    CHECK(net_parse(&n.ipv4, "10.77.0.0/16") && net_parse(&n.ipv6, "fd00:77::/64"));
    CHECK(forward_set_network(f, 0, &n) == 0);
    tx = seal_key_new(SEAL_CHACHA20_POLY1305, &secret, 7, 0);
    rx = seal_key_new(SEAL_CHACHA20_POLY1305, &secret, 7, SEAL_WINDOW_DATA);
    struct forward_peer peer = {.path = FORWARD_UDP,
                                .to = {addr_of("127.0.0.1"), 9},
                                .tx = tx,
                                .flow = forward_flow_new(1)};
    int p = forward_add_peer(f, &peer);
    struct addr v4 = addr_of("10.77.0.3"), v6 = addr_of("fd00:77::3");
    CHECK(forward_add_address(f, p, &v4) == 0 && forward_add_address(f, p, &v6) == 0);
    CHECK(forward_add_rx(f, p, rx) == 0);
    return f;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    CHECK(crypto_start() == 0);
    CHECK(posix_memalign((void **)&w, 64, sizeof(*w)) == 0);
    memset(w, 0, sizeof(*w));
    snapshot_init(&snapshot, 1, table());
    w->snapshot = &snapshot;
    w->forward = snapshot_current(&snapshot);
    w->udp_fd = -1;
    w->epoll_fd = -1;
    w->upcall = upcall_new();
    w->seal = seal_worker_new();
    w->frame = malloc(WORKER_FRAME_ROOM);
    CHECK(w->frame != NULL);
    w->devices[0] = w->writers[0] = open("/dev/null", O_WRONLY);
    w->features[0] = DEVICE_HEADER | DEVICE_TSO | DEVICE_USO;
    coalesce_init(&w->coalesce, worker_write_vectors, w);
    CHECK(batch_in_init(&w->in, -1) == 0 && batch_out_init(&w->out, -1) == 0);
    return 0;
}

static void frame_from_device(const uint8_t *data, size_t size, bool super)
{
    struct frame f = {.bytes = w->frame + sizeof(f.header),
                      .network = forward_network(w->forward, 0)};
    if (super && size > sizeof(f.header)) {
        memcpy(&f.header, data, sizeof(f.header));
        data += sizeof(f.header);
        size -= sizeof(f.header);
        f.super = f.header.gso_type != VIRTIO_NET_HDR_GSO_NONE;
        f.undone = f.header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
    }
    if (size > 0 && size < FRAME_ROOM) {
        memcpy(f.bytes, data, size);
        f.len = size;
        frame_out(w, &f);
    }
    for (unsigned i = 0; i < w->out.group_count; i++) {
        CHECK(w->out.groups[i].size <= PACKET_MAX);
    }
    worker_flush(w);
}

static void packet_from_network(const uint8_t *data, size_t size, bool sealed)
{
    struct datagram d = {.packet = w->in.buffers, .from = {addr_of("127.0.0.1"), 9}};
    if (size == 0 || size > INNER_MAX) {
        return;
    }
    if (sealed) {
        memcpy(d.packet + PACKET_HEADER_LEN, data + 1, size - 1);
        int n = seal_packet(w->seal, tx, PACKET_DATA, data[0], d.packet, size - 1);
        d.len = n > 0 ? (size_t)n : 1;
    } else {
        memcpy(d.packet, data, size);
        d.len = size;
    }
    datagram_in(w, &d);
    coalesce_flush(&w->coalesce);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plane_item item;
    if (size < 1) {
        return 0;
    }
    w->now_us += SEC(2);
    switch (data[0] % 4) {
    case 0:
        frame_from_device(data + 1, size - 1, false);
        break;
    case 1:
        packet_from_network(data + 1, size - 1, true);
        break;
    case 2:
        packet_from_network(data + 1, size - 1, false);
        break;
    default:
        frame_from_device(data + 1, size - 1, true);
    }
    while (upcall_take(w->upcall, &item)) {
        CHECK(item.len <= size + PACKET_HEADER_LEN);
    }
    return 0;
}
