// link: peal_tap
/* Super-frames and undone checksums through whole planes, and planes that do without. */
#include "tests/unit/plane_world.h"

enum { PAYLOAD = 1000, COUNT = 20, SUPER_SIZE = 80000 };

static const unsigned all_features = DEVICE_HEADER | DEVICE_TSO | DEVICE_USO;

/* A frame with its virtio header in front, as it is read from a device and written to one. */
struct virtio_frame {
    struct virtio_net_hdr header;
    uint8_t frame[SUPER_SIZE];
} __attribute__((packed));

static struct virtio_frame out, in;

/* `count` datagrams of PAYLOAD numbered bytes in one super-frame (one: an ordinary frame), their
 * checksum left to the device. Returns the frame's length. */
static size_t put_super(struct virtio_frame *v, const char *src, const char *dst, unsigned count)
{
    static uint8_t data[COUNT * PAYLOAD];
    struct endpoint s = {addr_of(src), 5000}, d = {addr_of(dst), 6000};
    struct ip_packet ip;
    struct transport t;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7 + i / PAYLOAD);
    }
    size_t len = udp_frame(v->frame, SUPER_SIZE, &plane_virtual_mac, &kernel_mac, &s, &d, data,
                           count * PAYLOAD);
    uint8_t *packet = v->frame + ETH_HEADER_LEN;
    assert_true(ip_parse(&ip, packet, len - ETH_HEADER_LEN) && transport_parse(&t, &ip, packet));
    transport_leave(&t, &ip, packet, ip.len - t.start);
    v->header = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                        .gso_type = count > 1 ? VIRTIO_NET_HDR_GSO_UDP_L4
                                                              : VIRTIO_NET_HDR_GSO_NONE,
                                        .gso_size = count > 1 ? PAYLOAD : 0,
                                        .csum_start = (uint16_t)(ETH_HEADER_LEN + t.start),
                                        .csum_offset = UDP_CHECKSUM};
    return len;
}

static void push_virtio(const struct machine *m, const struct virtio_frame *v, size_t len)
{
    push(m, (const uint8_t *)v, sizeof(v->header) + len);
}

/* Returns the frame's length, without its header. */
static size_t read_virtio(const struct machine *m, struct virtio_frame *v)
{
    return read_frame(m, (uint8_t *)v, sizeof(*v)) - sizeof(v->header);
}

static void payload_is(const uint8_t *payload, unsigned number)
{
    for (size_t i = 0; i < PAYLOAD; i++) {
        size_t at = number * PAYLOAD + i;
        assert_int_equal(payload[i], (uint8_t)(at * 7 + at / PAYLOAD));
    }
}

static void pair_start_with(struct pair *p, unsigned features_a, unsigned features_b)
{
    pair_start(p, 1);
    plane_remove_device(p->a.plane, 0);
    plane_remove_device(p->b.plane, 0);
    close(p->a.device[0]);
    close(p->b.device[0]);
    world_features = features_a;
    add_device(&p->a, 0);
    world_features = features_b;
    add_device(&p->b, 0);
    world_features = 0;
}

static const struct {
    const char *src, *dst;
} families[] = {{"10.77.0.2", "10.77.0.3"}, {"fd00:77::2", "fd00:77::3"}};

/* Everything that came out of a device with a header, in order, until all is there. */
static void expect_payloads(const struct machine *m, bool *joined)
{
    unsigned number = 0;
    *joined = false;
    while (number < COUNT) {
        size_t len = read_virtio(m, &in);
        struct ip_packet ip;
        struct transport t;
        uint8_t *packet = in.frame + ETH_HEADER_LEN;
        assert_true(ip_parse(&ip, packet, len - ETH_HEADER_LEN));
        assert_true(transport_parse(&t, &ip, packet));
        assert_int_equal(in.header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
        *joined |= in.header.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;
        for (size_t at = t.payload; at < ip.len; at += PAYLOAD) {
            payload_is(packet + at, number++);
        }
    }
}

static void a_super_frame_goes_through(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct pair p;
        bool joined = false;
        pair_start_with(&p, all_features, all_features);
        push_virtio(&p.a, &out, put_super(&out, families[i].src, families[i].dst, COUNT));
        expect_payloads(&p.b, &joined);
        assert_true(joined);
        counts_to(&p.a.flow->tx_packets, COUNT);
        assert_int_equal(plane_plain_paths(p.a.plane), 0);
        pair_stop(&p);
    }
}

/* Cut, joined and undone as any other, its tags in front. */
static void a_tagged_super_frame_goes_through(void **state)
{
    static const uint8_t tags[] = {0x88, 0xa8, 0, 7, 0x81, 0, 0, 5};
    for (size_t i = 0; i < ARRAY_LEN(families) * 4; i++) {
        size_t family = i / 4, len_of_tags = i % 2 ? 4 : 8;
        unsigned count = i / 2 % 2 ? COUNT : 1, number = 0;
        const uint8_t *tag = tags + sizeof(tags) - len_of_tags;
        struct pair p;
        pair_start_with(&p, all_features, all_features);
        size_t len = put_super(&out, families[family].src, families[family].dst, count);
        memmove(out.frame + 12 + len_of_tags, out.frame + 12, len - 12);
        memcpy(out.frame + 12, tag, len_of_tags);
        out.header.csum_start = (uint16_t)(out.header.csum_start + len_of_tags);
        push_virtio(&p.a, &out, len + len_of_tags);
        while (number < count) {
            struct ip_packet ip;
            struct transport t;
            size_t n = read_virtio(&p.b, &in), ahead = ETH_HEADER_LEN + len_of_tags;
            assert_memory_equal(in.frame + 12, tag, len_of_tags);
            assert_true(ip_parse(&ip, in.frame + ahead, n - ahead));
            assert_true(transport_parse(&t, &ip, in.frame + ahead));
            assert_int_equal(in.header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
            assert_int_equal(in.header.csum_start, ahead + t.start);
            assert_true(in.header.hdr_len == 0 || in.header.hdr_len == ahead + t.payload);
            for (size_t at = t.payload; at < ip.len; at += PAYLOAD) {
                payload_is(in.frame + ahead + at, number++);
            }
        }
        pair_stop(&p);
    }
}

/* The far end has no use for what was left undone: it finishes it. */
static void a_device_without_headers_gets_ordinary_frames(void **state)
{
    static const unsigned features[] = {0, DEVICE_HEADER};
    for (size_t i = 0; i < ARRAY_LEN(families) * ARRAY_LEN(features); i++) {
        unsigned feature = features[i / 2], family = i % 2;
        struct pair p;
        pair_start_with(&p, all_features, feature);
        push_virtio(&p.a, &out, put_super(&out, families[family].src, families[family].dst, COUNT));
        for (unsigned n = 0; n < COUNT; n++) {
            struct udp_datagram d;
            memset(&in.header, 0xff, sizeof(in.header));
            size_t len = feature ? read_virtio(&p.b, &in) : read_frame(&p.b, in.frame, 2000);
            static const struct virtio_net_hdr none;
            assert_true(!feature || memcmp(&in.header, &none, sizeof(none)) == 0);
            assert_true(udp_parse(&d, in.frame + ETH_HEADER_LEN, len - ETH_HEADER_LEN));
            assert_int_equal(d.len, PAYLOAD);
            payload_is(d.payload, n);
        }
        pair_stop(&p);
    }
}

/* From a device without headers: nothing is vouched for, and verified before it is joined. */
static void ordinary_frames_reach_a_device_with_headers(void **state)
{
    struct pair p;
    uint8_t frame[2000], data[PAYLOAD] = {5};
    pair_start_with(&p, 0, all_features);
    size_t n = put_frame(frame, "10.77.0.2", "10.77.0.3", data, sizeof(data));
    push(&p.a, frame, n);
    assert_int_equal(read_virtio(&p.b, &in), n);
    static const struct virtio_net_hdr none;
    assert_memory_equal(&in.header, &none, sizeof(none));
    assert_memory_equal(in.frame + 12, frame + 12, n - 12);
    pair_stop(&p);
}

static void a_single_frame_stays_undone(void **state)
{
    struct pair p;
    pair_start_with(&p, all_features, all_features);
    size_t n = put_super(&out, "10.77.0.2", "10.77.0.3", 1);
    push_virtio(&p.a, &out, n);
    assert_int_equal(read_virtio(&p.b, &in), n);
    assert_memory_equal(in.frame + 12, out.frame + 12, n - 12); /* the sum of the pseudo header */
    assert_int_equal(in.header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    assert_int_equal(in.header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
    assert_int_equal(in.header.csum_start, out.header.csum_start);
    pair_stop(&p);
}

/* udp(7): no joined messages from a socket that does not make checksums. Nothing is lost by it. */
static void a_path_that_refuses_joined_messages_gets_plain_ones(void **state)
{
    struct pair p;
    int on = 1;
    pair_start_with(&p, all_features, all_features);
    assert_int_equal(setsockopt(p.a.udp, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
    for (unsigned i = 0; i < 3; i++) {
        bool joined = false;
        push_virtio(&p.a, &out, put_super(&out, "10.77.0.2", "10.77.0.3", COUNT));
        expect_payloads(&p.b, &joined); /* which may be here before the sender has counted */
        for (unsigned ms = 0; ms < WAIT_MS && plane_plain_paths(p.a.plane) == 0; ms++)
            poll(NULL, 0, 1);
        assert_int_equal(plane_plain_paths(p.a.plane), 1); /* once, not for each */
    }
    for (int i = 0; i < PLANE_DROP_COUNT; i++) {
        assert_int_equal(plane_drops(p.a.plane, (enum plane_drop)i), 0);
    }
    pair_stop(&p);
}

/* A header that lies costs its own frame; too long segments are answered. */
static void a_bad_header_costs_one_frame(void **state)
{
    struct pair p;
    bool joined = false;
    pair_start_with(&p, all_features, all_features);
    for (unsigned i = 0; i < 6; i++) {
        size_t len = put_super(&out, "10.77.0.2", "10.77.0.3", COUNT);
        out.header.gso_size = i == 0 ? 0 : out.header.gso_size;
        out.header.gso_type = i == 1 ? 77 : out.header.gso_type;
        out.header.csum_start = i == 2 ? 65535 : out.header.csum_start;
        out.header.flags = i == 3 ? 0 : out.header.flags;
        len = i == 4 ? 60 : len; /* shorter than the IP packet says */
        push_virtio(&p.a, &out, len);
    }
    expect_payloads(&p.b, &joined); /* of the sixth */
    assert_int_equal(plane_drops(p.a.plane, PLANE_DROP_INNER), 5);
    size_t len = put_super(&out, "10.77.0.2", "10.77.0.3", COUNT);
    out.header.gso_size = 1468 - 28 + 1;
    push_virtio(&p.a, &out, len);
    assert_true(read_virtio(&p.a, &in) > 0);
    assert_int_equal(get_u16(in.frame + 12), ETH_TYPE_IPV4);
    assert_int_equal(in.frame[34], ICMP4_UNREACHABLE);
    assert_int_equal(plane_drops(p.a.plane, PLANE_DROP_TOO_BIG), 1);
    pair_stop(&p);
}

/* The control thread sees ordinary frames only, whatever the device gave. */
static void what_is_handed_up_is_finished(void **state)
{
    for (unsigned count = 1; count <= COUNT; count += COUNT - 1) {
        struct machine m;
        world_features = all_features;
        machine_start(&m, 2, 1);
        world_features = 0;
        plane_publish(m.plane, table_of(&m, 3, NULL, NULL, NULL));
        push_virtio(&m, &out, put_super(&out, "10.77.0.2", "10.77.0.3", count));
        for (unsigned i = 0; i < count; i++) {
            struct plane_item item;
            struct udp_datagram d;
            next_item(&m, &item);
            assert_int_equal(item.kind, PLANE_FRAME);
            assert_true(udp_parse(&d, item.bytes + ETH_HEADER_LEN, item.len - ETH_HEADER_LEN));
            assert_int_equal(d.len, PAYLOAD);
            payload_is(d.payload, i);
        }
        machine_stop(&m);
    }
}

static void an_unverified_packet_is_finished(void **state)
{
    struct stranger s;
    struct plane_item item;
    struct udp_datagram d;
    uint8_t packet[2000];
    stranger_start(&s);
    size_t len = put_super(&out, "10.77.0.9", "10.77.0.3", 1) - ETH_HEADER_LEN;
    send_to(&s, packet,
            seal_inner(&s, packet, PACKET_FLAG_IP | PACKET_FLAG_CSUM_UNDONE,
                       out.frame + ETH_HEADER_LEN, len));
    next_item(&s.b, &item);
    assert_int_equal(item.kind, PLANE_UNVERIFIED);
    assert_int_equal(item.flags, PACKET_FLAG_IP);
    assert_true(udp_parse(&d, item.bytes, item.len));
    payload_is(d.payload, 0);
    stranger_stop(&s);
}

/* Undone is only what has a checksum that can be finished. */
static void undone_without_a_checksum_is_refused(void **state)
{
    struct stranger s;
    uint8_t packet[2000];
    stranger_start(&s);
    size_t len = put_super(&out, "10.77.0.2", "10.77.0.3", 1) - ETH_HEADER_LEN;
    static const struct {
        size_t offset;
        uint8_t byte;
    } changes[] = {{9, IP_PROTO_ICMP}, {6, 0x20}, {25, 1}};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        uint8_t inner[2000];
        memcpy(inner, out.frame + ETH_HEADER_LEN, len);
        inner[changes[i].offset] = changes[i].byte;
        send_to(&s, packet,
                seal_inner(&s, packet, PACKET_FLAG_IP | PACKET_FLAG_CSUM_UNDONE, inner, len));
        sync_socket(&s);
        assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_INNER), i + 1);
    }
    stranger_stop(&s);
}

/* One message of many datagrams, of which some are forged, replayed or nobody's. */
static void in_a_joined_message_each_is_for_itself(void **state)
{
    enum { DATAGRAMS = 30, SIZE = PACKET_HEADER_LEN + 28 + 200 + PACKET_TAG_LEN };
    static uint8_t message[DATAGRAMS * SIZE];
    struct stranger s;
    uint8_t frame[300], got[300], data[200] = {0};
    int size = SIZE;
    stranger_start(&s);
    for (uint8_t i = 0; i < DATAGRAMS; i++) {
        data[0] = i;
        size_t n = put_frame(frame, "10.77.0.2", "10.77.0.3", data, sizeof(data));
        assert_int_equal(seal_inner(&s, message + i * SIZE, PACKET_FLAG_IP, frame + ETH_HEADER_LEN,
                                    n - ETH_HEADER_LEN),
                         SIZE);
    }
    message[7 * SIZE + 50] ^= 1;                          /* forged */
    memcpy(message + 9 * SIZE, message + 8 * SIZE, SIZE); /* replayed */
    message[11 * SIZE + 4] ^= 1;                          /* nobody's */
    message[13 * SIZE] = 0xff;                            /* of no type */
    assert_int_equal(setsockopt(s.udp, IPPROTO_UDP, 103 /* UDP_SEGMENT */, &size, sizeof(size)), 0);
    send_to(&s, message, sizeof(message));
    size = 0;
    assert_int_equal(setsockopt(s.udp, IPPROTO_UDP, 103, &size, sizeof(size)), 0);
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        if (i == 7 || i == 9 || i == 11 || i == 13) {
            continue;
        }
        assert_int_equal(read_frame(&s.b, got, sizeof(got)), 14 + 28 + 200);
        assert_int_equal(got[14 + 28], i);
    }
    sync_socket(&s);
    assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_FORGED), 1);
    assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_REPLAY), 1);
    assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_NO_SESSION), 1);
    assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_TYPE), 1);
    stranger_stop(&s);
}

static void the_control_thread_writes_with_a_header(void **state)
{
    struct machine m;
    static const struct virtio_net_hdr none;
    world_features = all_features;
    machine_start(&m, 2, 1);
    world_features = 0;
    assert_int_equal(plane_write_frame(m.plane, 0, (const uint8_t *)"frame", 5), 0);
    memset(&in.header, 0xff, sizeof(in.header));
    assert_int_equal(read_virtio(&m, &in), 5);
    assert_memory_equal(&in.header, &none, sizeof(none));
    assert_memory_equal(in.frame, "frame", 5);
    machine_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_super_frame_goes_through),
        cmocka_unit_test(a_tagged_super_frame_goes_through),
        cmocka_unit_test(a_device_without_headers_gets_ordinary_frames),
        cmocka_unit_test(ordinary_frames_reach_a_device_with_headers),
        cmocka_unit_test(a_single_frame_stays_undone),
        cmocka_unit_test(a_path_that_refuses_joined_messages_gets_plain_ones),
        cmocka_unit_test(a_bad_header_costs_one_frame),
        cmocka_unit_test(what_is_handed_up_is_finished),
        cmocka_unit_test(an_unverified_packet_is_finished),
        cmocka_unit_test(undone_without_a_checksum_is_refused),
        cmocka_unit_test(in_a_joined_message_each_is_for_itself),
        cmocka_unit_test(the_control_thread_writes_with_a_header),
    };
    return crypto_start() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
