// link: peal_tap
/* Frames with VLAN tags, alone and through whole planes. */
#include "tap/vlan.h"
#include "tests/unit/plane_world.h"

/* As they stand between addresses and type. */
static const struct {
    const char *name;
    uint8_t bytes[VLAN_LEN_MAX];
    size_t len;
} tags[] = {
    {"a VLAN", {0x81, 0x00, 0x00, 0x05}, 4},
    {"a priority alone", {0x81, 0x00, 0xe0, 0x00}, 4},
    {"a service tag", {0x88, 0xa8, 0x0f, 0xfe}, 4},
    {"a service tag around a customer's", {0x88, 0xa8, 0x01, 0x02, 0x81, 0x00, 0x20, 0x03}, 8},
};

/* Puts tags into a frame in a buffer with room for them. Returns its length. */
static size_t put_tags(uint8_t *frame, size_t len, size_t which)
{
    memmove(frame + 12 + tags[which].len, frame + 12, len - 12);
    memcpy(frame + 12, tags[which].bytes, tags[which].len);
    return len + tags[which].len;
}

static void what_is_taken_off_is_put_back(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        uint8_t frame[100], plain[60], before[100];
        struct vlan_tags taken;
        for (uint8_t n = 0; n < sizeof(plain); n++) {
            plain[n] = n;
        }
        memcpy(frame, plain, sizeof(plain));
        size_t len = put_tags(frame, sizeof(plain), i);
        memcpy(before, frame, len);
        vlan_pull(&taken, frame, len);
        assert_int_equal(taken.len, tags[i].len);
        assert_memory_equal(taken.bytes, tags[i].bytes, taken.len);
        assert_memory_equal(frame + taken.len, plain, sizeof(plain));
        assert_ptr_equal(vlan_push(&taken, frame + taken.len), frame);
        assert_memory_equal(frame, before, len);
        for (size_t short_len = 0; short_len < ETH_HEADER_LEN + tags[i].len; short_len++) {
            memcpy(frame, before, len);
            vlan_pull(&taken, frame, short_len);
            assert_true(ETH_HEADER_LEN + taken.len <= short_len || taken.len == 0);
        }
    }
}

/* With their tags, their own addresses, and nothing else changed. */
static void tagged_frames_go_through(void **state)
{
    static const char *ends[][2] = {{"10.77.0.2", "10.77.0.3"}, {"fd00:77::2", "fd00:77::3"}};
    struct pair p;
    pair_start(&p, 1);
    for (size_t i = 0; i < ARRAY_LEN(tags) * ARRAY_LEN(ends); i++) {
        uint8_t frame[2000], got[2000], data[1300] = {(uint8_t)i};
        size_t len = put_frame(frame, ends[i % 2][0], ends[i % 2][1], data, sizeof(data));
        len = put_tags(frame, len, i / 2);
        push(&p.a, frame, len);
        assert_int_equal(read_frame(&p.b, got, sizeof(got)), len);
        assert_memory_equal(got, &kernel_mac, 6);
        assert_memory_equal(got + 6, &plane_virtual_mac, 6);
        assert_memory_equal(got + 12, frame + 12, len - 12);
    }
    counts_to(&p.b.flow->rx_packets, ARRAY_LEN(tags) * ARRAY_LEN(ends));
    pair_stop(&p);
}

static void questions_in_a_vlan_are_answered_there(void **state)
{
    static const struct {
        const char *target;
        bool answered, resolve;
    } cases[] = {
        {"10.77.0.3", true, false}, /* a peer */
        {"10.77.0.4", true, true},
        {"10.77.0.1", false, false}, /* the service is in no VLAN */
        {"10.77.0.2", false, false},
    };
    struct machine m;
    machine_start(&m, 2, 1);
    plane_publish(m.plane, table_of(&m, 3, NULL, NULL, NULL));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arp_packet turned = {.sender_mac = kernel_mac,
                                    .sender = addr_of(cases[i].target),
                                    .target = addr_of("10.77.0.2")};
        uint8_t frame[ARP_FRAME_LEN + VLAN_LEN_MAX], got[200];
        struct plane_item item;
        size_t which = i % ARRAY_LEN(tags);
        arp_answer(frame, &turned, &kernel_mac);
        put_u16(frame + 20, ARP_REQUEST);
        push(&m, frame, put_tags(frame, ARP_FRAME_LEN, which));
        if (cases[i].answered) {
            size_t len = tags[which].len;
            assert_int_equal(read_frame(&m, got, sizeof(got)), ARP_FRAME_LEN + len);
            assert_memory_equal(got + 12, tags[which].bytes, len);
            assert_memory_equal(got + 28 + len, turned.sender.b, 4);
        }
        sync_device(&m);
        assert_int_equal(plane_next(m.plane, &item), cases[i].resolve);
    }
    assert_int_equal(plane_drops(m.plane, PLANE_DROP_NOT_UNICAST), 2);
    machine_stop(&m);
}

/* The control thread would carry them without their tags: it hears of the address alone. */
static void tagged_frames_are_not_handed_up(void **state)
{
    static const struct {
        const char *rule, *src, *dst;
        enum plane_drop drop;
        bool resolve;
    } rows[] = {
        {"a peer without a session", "10.77.0.2", "10.77.0.3", PLANE_DROP_TAGGED, true},
        {"an address of nobody", "10.77.0.2", "10.77.0.4", PLANE_DROP_TAGGED, true},
        {"again within a second", "10.77.0.2", "10.77.0.4", PLANE_DROP_TAGGED, false},
        {"the service", "10.77.0.2", "10.77.0.1", PLANE_DROP_TAGGED, false},
        {"not our source", "10.77.0.9", "10.77.0.3", PLANE_DROP_SOURCE, false},
        {"another range", "10.77.0.2", "192.0.2.1", PLANE_DROP_DESTINATION, false},
        {"broadcast", "10.77.0.2", "10.77.255.255", PLANE_DROP_NOT_UNICAST, false},
    };
    struct machine m;
    machine_start(&m, 2, 1);
    plane_publish(m.plane, table_of(&m, 3, NULL, NULL, NULL));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct drops before = drops_of(&m);
        struct plane_item item;
        uint8_t frame[2000];
        size_t len = put_frame(frame, rows[i].src, rows[i].dst, "x", 1);
        push(&m, frame, put_tags(frame, len, 0));
        sync_device(&m);
        struct drops after = drops_of(&m);
        struct addr dst = addr_of(rows[i].dst);
        bool some = plane_next(m.plane, &item);
        if (some != rows[i].resolve ||
            (some && (item.kind != PLANE_RESOLVE || !addr_eq(&item.addr, &dst))) ||
            !grew_by(&before, &after, rows[i].drop)) {
            print_growth(&before, &after);
            fail_msg("%s", rows[i].rule);
        }
    }
    machine_stop(&m);
}

static void a_third_tag_is_of_no_known_type(void **state)
{
    struct pair p;
    uint8_t frame[2000];
    pair_start(&p, 1);
    size_t len = put_frame(frame, "10.77.0.2", "10.77.0.3", "x", 1);
    len = put_tags(frame, len, 0);
    push(&p.a, frame, put_tags(frame, len, 3));
    sync_device(&p.a);
    assert_int_equal(plane_drops(p.a.plane, PLANE_DROP_NOT_UNICAST), 1);
    pair_stop(&p);
}

/* The frame's header travels too, and leaves that much less. */
static void too_big_is_said_in_the_vlan(void **state)
{
    struct pair p;
    uint8_t frame[3000], got[2000], data[2000] = {0};
    enum { MTU = 1468 - ETH_HEADER_LEN - VLAN_TAG_LEN };
    pair_start(&p, 1);
    for (size_t more = 0; more < 2; more++) {
        size_t len = put_frame(frame, "10.77.0.2", "10.77.0.3", data, MTU - 28 + more);
        push(&p.a, frame, put_tags(frame, len, 0));
    }
    assert_int_equal(read_frame(&p.b, got, sizeof(got)), ETH_HEADER_LEN + VLAN_TAG_LEN + MTU);
    assert_true(read_frame(&p.a, got, sizeof(got)) > 0);
    assert_memory_equal(got + 12, tags[0].bytes, VLAN_TAG_LEN);
    assert_int_equal(got[34 + VLAN_TAG_LEN], ICMP4_UNREACHABLE);
    assert_int_equal(get_u16(got + 40 + VLAN_TAG_LEN), MTU);
    assert_int_equal(plane_drops(p.a.plane, PLANE_DROP_TOO_BIG), 1);
    pair_stop(&p);
}

/* What a peer sends as a frame is checked as everything else. */
static void frames_from_a_peer(void **state)
{
    static const struct {
        const char *rule, *src, *dst;
        bool tagged;
        size_t cut; /* bytes missing at the end */
        enum plane_drop drop;
    } rows[] = {
        {"tagged", "10.77.0.2", "10.77.0.3", true, 0, PLANE_DROP_COUNT},
        {"without tags", "10.77.0.2", "10.77.0.3", false, 0, PLANE_DROP_INNER},
        {"cut short", "10.77.0.2", "10.77.0.3", true, 1, PLANE_DROP_INNER},
        {"a header alone", "10.77.0.2", "10.77.0.3", true, 29, PLANE_DROP_INNER},
        {"half a tag", "10.77.0.2", "10.77.0.3", true, 31, PLANE_DROP_INNER},
        {"for another", "10.77.0.2", "10.77.0.4", true, 0, PLANE_DROP_DESTINATION},
        {"from who knows", "10.77.0.9", "10.77.0.3", true, 0, PLANE_DROP_TAGGED},
    };
    struct stranger s;
    stranger_start(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct drops before = drops_of(&s.b);
        uint8_t frame[2000], packet[2000], got[2000];
        struct plane_item item;
        size_t len = put_frame(frame, rows[i].src, rows[i].dst, "x", 1);
        len = rows[i].tagged ? put_tags(frame, len, 0) : len;
        send_to(&s, packet, seal_inner(&s, packet, PACKET_FLAG_ETHERNET, frame, len - rows[i].cut));
        if (rows[i].drop == PLANE_DROP_COUNT) {
            assert_int_equal(read_frame(&s.b, got, sizeof(got)), len);
            assert_memory_equal(got + 12, frame + 12, len - 12);
        } else if (rows[i].drop == PLANE_DROP_TAGGED) {
            struct addr src = addr_of(rows[i].src);
            next_item(&s.b, &item);
            assert_int_equal(item.kind, PLANE_RESOLVE);
            assert_true(addr_eq(&item.addr, &src));
        }
        sync_socket(&s);
        struct drops after = drops_of(&s.b);
        if (!grew_by(&before, &after, rows[i].drop)) {
            print_growth(&before, &after);
            fail_msg("%s", rows[i].rule);
        }
    }
    stranger_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_off_is_put_back),
        cmocka_unit_test(tagged_frames_go_through),
        cmocka_unit_test(questions_in_a_vlan_are_answered_there),
        cmocka_unit_test(tagged_frames_are_not_handed_up),
        cmocka_unit_test(a_third_tag_is_of_no_known_type),
        cmocka_unit_test(too_big_is_said_in_the_vlan),
        cmocka_unit_test(frames_from_a_peer),
    };
    return crypto_start() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
