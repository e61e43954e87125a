// link: peal_tap
/* One worker without its thread: the input is a frame from the device (first byte 0 modulo 3), an
 * inner packet that a peer with the right keys sent (1), or a datagram from a stranger (2). */
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
    w->devices[0] = open("/dev/null", O_WRONLY);
    CHECK(batch_init(&w->in) == 0 && batch_init(&w->out) == 0);
    return 0;
}

static void frame_from_device(const uint8_t *data, size_t size)
{
    uint8_t *packet = batch_packet(&w->out, w->out.count);
    if (size > 0 && size < FRAME_ROOM) {
        memcpy(packet + FRAME_OFFSET, data, size);
        struct frame f = {.packet = packet,
                          .bytes = packet + FRAME_OFFSET,
                          .len = size,
                          .network = forward_network(w->forward, 0)};
        frame_out(w, &f);
    }
    CHECK(w->out.count <= 1 && (w->out.count == 0 || w->out.vectors[0].iov_len <= PACKET_MAX));
    w->out.count = 0;
}

static void packet_from_network(const uint8_t *data, size_t size, bool sealed)
{
    struct datagram d = {.packet = batch_packet(&w->in, 0), .from = {addr_of("127.0.0.1"), 9}};
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plane_item item;
    if (size < 1) {
        return 0;
    }
    w->now_us += SEC(2);
    switch (data[0] % 3) {
    case 0:
        frame_from_device(data + 1, size - 1);
        break;
    case 1:
        packet_from_network(data + 1, size - 1, true);
        break;
    default:
        packet_from_network(data + 1, size - 1, false);
    }
    while (upcall_take(w->upcall, &item)) {
        CHECK(item.len <= size + PACKET_HEADER_LEN);
    }
    return 0;
}
