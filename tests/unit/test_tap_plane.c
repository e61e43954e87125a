// link: peal_tap
/* Whole planes: what they do with which frame and which datagram, and under load. */
#include "tests/unit/plane_world.h"

/* What goes into one device comes out of the other, with the addresses a kernel there expects. */
static void check_delivery(struct machine *from, struct machine *to, const char *src,
                           const char *dst, size_t len)
{
    uint8_t frame[2000], got[2000], data[1500];
    memset(data, (int)len, sizeof(data));
    size_t n = put_frame(frame, src, dst, data, len);
    size_t padded = n < 60 ? 60 : n;
    memset(frame + n, 0xee, padded - n);
    push(from, frame, padded);
    assert_int_equal(read_frame(to, got, sizeof(got)), n);
    assert_memory_equal(got, &kernel_mac, 6);
    assert_memory_equal(got + 6, &plane_virtual_mac, 6);
    assert_memory_equal(got + 12, frame + 12, n - 12);
}

static void frames_go_both_ways(void **state)
{
    struct pair p;
    pair_start(&p, 1);
    for (size_t len = 0; len <= 1400; len += 100) {
        check_delivery(&p.a, &p.b, "10.77.0.2", "10.77.0.3", len);
        check_delivery(&p.b, &p.a, "10.77.0.3", "10.77.0.2", len);
        check_delivery(&p.a, &p.b, "fd00:77::2", "fd00:77::3", len);
        check_delivery(&p.b, &p.a, "fd00:77::3", "fd00:77::2", len);
    }
    assert_int_equal(atomic_load(&p.a.flow->tx_packets), 30);
    counts_to(&p.a.flow->rx_packets, 30);
    uint64_t bytes = 15 * (28 + 48) + 2 * (1400 * 15 / 2);
    assert_int_equal(atomic_load(&p.a.flow->tx_bytes), bytes);
    counts_to(&p.b.flow->rx_bytes, bytes);
    assert_true(atomic_load(&p.a.flow->last_tx_us) > 0 && atomic_load(&p.a.flow->last_rx_us) > 0);
    struct drops none = {{0}}, a = drops_of(&p.a), b = drops_of(&p.b);
    assert_true(grew_by(&none, &a, PLANE_DROP_COUNT) && grew_by(&none, &b, PLANE_DROP_COUNT));
    struct plane_item item;
    assert_false(plane_next(p.a.plane, &item));
    pair_stop(&p);
}

/* One socket for both families; a sender's address is told apart from its path by neither. */
static void frames_go_over_a_socket_for_both_families(void **state)
{
    static const enum socket_kind kinds[] = {SOCKET_BOTH_USED_BY_V4, SOCKET_BOTH_USED_BY_V6};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct pair p;
        struct plane_item item;
        pair_start_on(&p, 1, kinds[i]);
        check_delivery(&p.a, &p.b, "10.77.0.2", "10.77.0.3", 100);
        check_delivery(&p.b, &p.a, "fd00:77::3", "fd00:77::2", 100);
        assert_false(plane_next(p.a.plane, &item) || plane_next(p.b.plane, &item));
        pair_stop(&p);
    }
}

/* 16 bytes of header, the IP packet alone, 16 bytes of tag. */
static void the_packet_on_the_wire(void **state)
{
    struct machine m;
    struct endpoint at;
    int peer = udp_socket(&at);
    struct seal_key *tx = tx_key(0), *rx = rx_key(0);
    struct seal_worker *w = seal_worker_new();
    uint8_t frame[2000], packet[2000];
    machine_start(&m, 2, 1);
    plane_publish(m.plane, table_of(&m, 3, &at, tx, NULL));
    size_t n = put_frame(frame, "10.77.0.2", "10.77.0.3", "hello", 5);
    push(&m, frame, 60);
    assert_true(wait_readable(peer));
    ssize_t got = recv(peer, packet, sizeof(packet), 0);
    assert_int_equal(got, 16 + n - ETH_HEADER_LEN + 16);
    static const uint8_t header[16] = {0x83, 0x01, 0, 0, 0x0b, 0x0b, 0x0b, 0x0b};
    assert_memory_equal(packet, header, sizeof(header));
    assert_int_equal(open_packet(w, rx, packet, (size_t)got), n - ETH_HEADER_LEN);
    assert_memory_equal(packet + 16, frame + ETH_HEADER_LEN, n - ETH_HEADER_LEN);
    seal_worker_free(w);
    seal_key_unref(tx);
    seal_key_unref(rx);
    close(peer);
    machine_stop(&m);
}

enum { NOTHING = -1 }; /* no item */

/* Frames from the device of 10.77.0.2, which knows 10.77.0.3 but has no path to it. */
static void frames_from_the_device(void **state)
{
    static const struct {
        const char *rule;
        const char *src, *dst;
        size_t offset; /* of the frame; these bytes are written there */
        uint8_t bytes[4];
        size_t count, len; /* len 0: as built */
        int item;
        enum plane_drop drop;
    } cases[] = {
        {"to a peer without a path",
         "10.77.0.2",
         "10.77.0.3",
         0,
         {0},
         0,
         0,
         PLANE_FRAME,
         PLANE_DROP_COUNT},
        {"to nobody known", "10.77.0.2", "10.77.0.4", 0, {0}, 0, 0, PLANE_FRAME, PLANE_DROP_COUNT},
        {"IPv6 to nobody known",
         "fd00:77::2",
         "fd00:77::4",
         0,
         {0},
         0,
         0,
         PLANE_FRAME,
         PLANE_DROP_COUNT},
        {"to the service", "10.77.0.2", "10.77.0.1", 0, {0}, 0, 0, PLANE_LOCAL, PLANE_DROP_COUNT},
        {"to the service from another",
         "10.77.0.5",
         "10.77.0.1",
         0,
         {0},
         0,
         0,
         NOTHING,
         PLANE_DROP_SOURCE},
        {"DHCP from nobody to all",
         "0.0.0.0",
         "255.255.255.255",
         36,
         {0, 67},
         2,
         0,
         PLANE_LOCAL,
         PLANE_DROP_COUNT},
        {"DHCP to the service",
         "10.77.0.9",
         "10.77.0.1",
         36,
         {0, 67},
         2,
         0,
         PLANE_LOCAL,
         PLANE_DROP_COUNT},
        {"DHCP to a peer is not ours",
         "10.77.0.9",
         "10.77.0.3",
         36,
         {0, 67},
         2,
         0,
         NOTHING,
         PLANE_DROP_SOURCE},
        {"broadcast",
         "10.77.0.2",
         "255.255.255.255",
         0,
         {0},
         0,
         0,
         NOTHING,
         PLANE_DROP_NOT_UNICAST},
        {"the range's broadcast",
         "10.77.0.2",
         "10.77.255.255",
         0,
         {0},
         0,
         0,
         NOTHING,
         PLANE_DROP_NOT_UNICAST},
        {"multicast", "10.77.0.2", "224.0.0.251", 0, {0}, 0, 0, NOTHING, PLANE_DROP_NOT_UNICAST},
        {"IPv6 multicast", "fd00:77::2", "ff02::fb", 0, {0}, 0, 0, NOTHING, PLANE_DROP_NOT_UNICAST},
        {"an Ethernet group",
         "10.77.0.2",
         "10.77.0.3",
         0,
         {1},
         1,
         0,
         NOTHING,
         PLANE_DROP_NOT_UNICAST},
        {"a source not ours", "10.77.0.5", "10.77.0.3", 0, {0}, 0, 0, NOTHING, PLANE_DROP_SOURCE},
        {"IPv6 link-local", "fe80::1", "fe80::2", 0, {0}, 0, 0, NOTHING, PLANE_DROP_SOURCE},
        {"outside the range",
         "10.77.0.2",
         "10.78.0.3",
         0,
         {0},
         0,
         0,
         NOTHING,
         PLANE_DROP_DESTINATION},
        {"to ourselves", "10.77.0.2", "10.77.0.2", 0, {0}, 0, 0, NOTHING, PLANE_DROP_DESTINATION},
        {"IPv6 outside the range",
         "fd00:77::2",
         "2001:db8::1",
         0,
         {0},
         0,
         0,
         NOTHING,
         PLANE_DROP_DESTINATION},
        {"another ethertype",
         "10.77.0.2",
         "10.77.0.3",
         12,
         {0x88, 0xcc},
         2,
         0,
         NOTHING,
         PLANE_DROP_NOT_UNICAST},
        {"a runt", "10.77.0.2", "10.77.0.3", 0, {0}, 0, 13, NOTHING, PLANE_DROP_RUNT},
        {"only Ethernet", "10.77.0.2", "10.77.0.3", 0, {0}, 0, 14, NOTHING, PLANE_DROP_INNER},
        {"cut short", "10.77.0.2", "10.77.0.3", 0, {0}, 0, 46, NOTHING, PLANE_DROP_INNER},
        {"a header length that lies",
         "10.77.0.2",
         "10.77.0.3",
         14,
         {0x44},
         1,
         0,
         NOTHING,
         PLANE_DROP_INNER},
        {"IPv6 in an IPv4 ethertype",
         "fd00:77::2",
         "fd00:77::4",
         12,
         {8, 0},
         2,
         0,
         NOTHING,
         PLANE_DROP_INNER},
        {"a router solicitation",
         "fd00:77::2",
         "ff02::2",
         20,
         {58},
         1,
         0,
         NOTHING,
         PLANE_DROP_NOT_UNICAST},
    };
    struct machine m;
    machine_start(&m, 2, 1);
    plane_publish(m.plane, table_of(&m, 3, NULL, NULL, NULL));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t frame[2000];
        struct plane_item item = {0};
        struct drops before = drops_of(&m);
        size_t n = put_frame(frame, cases[i].src, cases[i].dst, "payload", 7);
        memcpy(frame + cases[i].offset, cases[i].bytes, cases[i].count);
        if (cases[i].len > 0) {
            n = cases[i].len;
        }
        memset(frame + n, 0xee, 10); /* padding, which an item does not have */
        push(&m, frame, cases[i].len > 0 ? n : n + 10);
        sync_device(&m);
        struct drops after = drops_of(&m);
        bool some = plane_next(m.plane, &item);
        if (some != (cases[i].item != NOTHING) ||
            (some && (item.kind != (enum plane_item_kind)cases[i].item || item.len != n ||
                      memcmp(item.bytes, frame, n) != 0)) ||
            !grew_by(&before, &after, cases[i].drop)) {
            print_growth(&before, &after);
            fail_msg("%s: item %d, kind %d, %zu bytes", cases[i].rule, some, item.kind, item.len);
        }
        assert_false(some && plane_next(m.plane, &item));
    }
    machine_stop(&m);
}

/* Without addresses of our own nothing but DHCP and ARP is let through. */
static void without_an_address_nothing_leaves(void **state)
{
    struct machine m;
    uint8_t frame[2000];
    machine_start(&m, 2, 1);
    m.network.own4 = m.network.own6 = (struct addr){0};
    plane_publish(m.plane, table_of(&m, 3, NULL, NULL, NULL));
    push(&m, frame, put_frame(frame, "10.77.0.2", "10.77.0.3", "x", 1));
    push(&m, frame, put_frame(frame, "0.0.0.0", "10.77.0.3", "x", 1));
    push(&m, frame, put_frame(frame, "fd00:77::2", "fd00:77::3", "x", 1));
    push(&m, frame, put_frame(frame, "::", "fd00:77::3", "x", 1));
    sync_device(&m);
    struct plane_item item;
    assert_int_equal(plane_drops(m.plane, PLANE_DROP_SOURCE), 4);
    assert_false(plane_next(m.plane, &item));
    machine_stop(&m);
}

static void a_frame_of_no_network_is_dropped(void **state)
{
    struct machine m;
    uint8_t frame[2000];
    machine_start(&m, 2, 1);
    push(&m, frame, put_frame(frame, "10.77.0.2", "10.77.0.3", "x", 1));
    while (plane_drops(m.plane, PLANE_DROP_DESTINATION) == 0) {
        sched_yield();
    }
    machine_stop(&m);
}

/* UDP with its header cut by the IP length; what would be the port lies in the padding. */
static void a_datagram_without_its_header_is_not_dhcp(void **state)
{
    struct machine m;
    uint8_t frame[60] = {0};
    struct addr nobody = addr_of("0.0.0.0"), all = addr_of("255.255.255.255");
    machine_start(&m, 2, 1);
    plane_publish(m.plane, table_of(&m, 3, NULL, NULL, NULL));
    eth_put(frame, &plane_virtual_mac, &kernel_mac, ETH_TYPE_IPV4);
    (void)ip_put(frame + ETH_HEADER_LEN, &nobody, &all, IP_PROTO_UDP, 2);
    put_u16(frame + 36, 67);
    push(&m, frame, sizeof(frame));
    sync_device(&m);
    struct plane_item item;
    assert_false(plane_next(m.plane, &item));
    assert_int_equal(plane_drops(m.plane, PLANE_DROP_NOT_UNICAST), 1);
    machine_stop(&m);
}

/* RFC 3021: a range of two addresses has no broadcast. */
static void the_last_address_of_a_pair_is_a_host(void **state)
{
    struct machine m;
    struct plane_item item;
    uint8_t frame[200];
    machine_start(&m, 2, 1);
    m.network.ipv4 = net_of("10.77.0.2/31");
    plane_publish(m.plane, table_of(&m, 3, NULL, NULL, NULL));
    push(&m, frame, put_frame(frame, "10.77.0.2", "10.77.0.3", "x", 1));
    next_item(&m, &item);
    assert_int_equal(item.kind, PLANE_FRAME);
    machine_stop(&m);
}

static void push_arp(const struct machine *m, const char *sender, const char *target)
{
    struct arp_packet turned = {
        .sender_mac = kernel_mac, .sender = addr_of(target), .target = addr_of(sender)};
    uint8_t frame[ARP_FRAME_LEN];
    arp_answer(frame, &turned, &kernel_mac);
    put_u16(frame + 20, ARP_REQUEST);
    push(m, frame, sizeof(frame));
}

static void push_ns(const struct machine *m, const char *source, const char *target)
{
    struct ndp_solicitation turned = {
        .mac = kernel_mac, .source = addr_of("ff02::1:ff00:4"), .target = addr_of(source)};
    struct addr asked = addr_of(target);
    uint8_t frame[NDP_ADVERTISEMENT_FRAME_LEN];
    ndp_answer(frame, &turned, &kernel_mac);
    uint8_t *icmp = frame + ETH_HEADER_LEN + IPV6_HEADER_LEN;
    icmp[0] = ICMP6_NEIGHBOUR_SOLICITATION;
    put_u16(icmp + 2, 0);
    memcpy(icmp + 8, asked.b, 16);
    size_t len = 32;
    if (addr_is_unspecified(&turned.target)) { /* detection has no source option */
        len = 24;
        put_u16(frame + ETH_HEADER_LEN + 4, 24);
    } else {
        icmp[24] = 1;
    }
    checksum_put(icmp + 2, checksum_add(checksum_pseudo(&turned.target, &turned.source,
                                                        IP_PROTO_ICMPV6, (uint32_t)len),
                                        icmp, len));
    push(m, frame, ETH_HEADER_LEN + IPV6_HEADER_LEN + len);
}

/* Who is answered for, and what is also handed up. */
static void questions_for_neighbours(void **state)
{
    static const struct {
        const char *rule;
        const char *sender, *target;
        bool answered, resolve;
    } cases[] = {
        {"nobody known", "10.77.0.2", "10.77.0.4", true, true},
        {"again within a second", "10.77.0.2", "10.77.0.4", true, false},
        {"another", "10.77.0.2", "10.77.0.5", true, true},
        {"a known peer", "10.77.0.2", "10.77.0.3", true, false},
        {"the service", "10.77.0.2", "10.77.0.1", true, false},
        {"ourselves", "10.77.0.9", "10.77.0.2", false, false},
        {"a probe", "0.0.0.0", "10.77.0.6", false, false},
        {"an announcement", "10.77.0.2", "10.77.0.2", false, false},
        {"an announcement of another", "10.77.0.6", "10.77.0.6", false, false},
        {"outside the range", "10.77.0.2", "10.78.0.4", false, false},
        {"broadcast", "10.77.0.2", "10.77.255.255", false, false},
        {"IPv6: nobody known", "fd00:77::2", "fd00:77::4", true, true},
        {"IPv6: again", "fd00:77::2", "fd00:77::4", true, false},
        {"IPv6: a known peer", "fd00:77::2", "fd00:77::3", true, false},
        {"IPv6: from link-local", "fe80::77", "fd00:77::5", true, true},
        {"IPv6: ourselves", "fe80::77", "fd00:77::2", false, false},
        {"IPv6: detection", "::", "fd00:77::4", false, false},
        {"IPv6: link-local", "fe80::77", "fe80::1", false, false},
        {"IPv6: outside the range", "fd00:77::2", "2001:db8::1", false, false},
    };
    struct machine m;
    machine_start(&m, 2, 1);
    plane_publish(m.plane, table_of(&m, 3, NULL, NULL, NULL));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool v4 = strchr(cases[i].target, ':') == NULL;
        struct drops before = drops_of(&m);
        struct plane_item item;
        uint8_t answer[200];
        if (v4) {
            push_arp(&m, cases[i].sender, cases[i].target);
        } else {
            push_ns(&m, cases[i].sender, cases[i].target);
        }
        if (cases[i].answered) {
            size_t n = read_frame(&m, answer, sizeof(answer));
            struct addr target = addr_of(cases[i].target);
            assert_int_equal(n, v4 ? ARP_FRAME_LEN : NDP_ADVERTISEMENT_FRAME_LEN);
            assert_memory_equal(answer, &kernel_mac, 6);
            assert_memory_equal(answer + 6, &plane_virtual_mac, 6);
            assert_memory_equal(answer + (v4 ? 28 : 22), target.b, v4 ? 4 : 16);
        }
        sync_device(&m);
        struct drops after = drops_of(&m);
        bool some = plane_next(m.plane, &item);
        struct addr target = addr_of(cases[i].target);
        if (some != cases[i].resolve ||
            (some && (item.kind != PLANE_RESOLVE || !addr_eq(&item.addr, &target))) ||
            !grew_by(&before, &after,
                     cases[i].answered ? PLANE_DROP_COUNT : PLANE_DROP_NOT_UNICAST)) {
            print_growth(&before, &after);
            fail_msg("%s: item %d", cases[i].rule, some);
        }
    }
    machine_stop(&m);
}

static void datagrams_by_their_first_byte(void **state)
{
    static const struct {
        const char *rule;
        uint8_t bytes[24];
        size_t len;
        bool item;
        enum plane_drop drop;
    } cases[] = {
        {"empty", {0}, 0, false, PLANE_DROP_RUNT},
        {"handshake", {0x80}, 24, true, PLANE_DROP_COUNT},
        {"cookie", {0x81}, 24, true, PLANE_DROP_COUNT},
        {"control", {0x82}, 24, true, PLANE_DROP_COUNT},
        {"relay", {0x84}, 24, true, PLANE_DROP_COUNT},
        {"STUN", {0x01, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, true, PLANE_DROP_COUNT},
        {"STUN's last type", {0x3f, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, true, PLANE_DROP_COUNT},
        {"no STUN", {0x40, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, false, PLANE_DROP_TYPE},
        {"STUN without cookie",
         {0x00, 1, 0, 0, 0x21, 0x12, 0xa4, 0x43},
         20,
         false,
         PLANE_DROP_TYPE},
        {"STUN cut short", {0x00, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 19, false, PLANE_DROP_TYPE},
        {"one byte", {0x00}, 1, false, PLANE_DROP_TYPE},
        {"nothing of ours", {0x85}, 24, false, PLANE_DROP_TYPE},
        {"nothing of ours", {0xff}, 24, false, PLANE_DROP_TYPE},
        {"data cut short", {0x83}, 24, false, PLANE_DROP_RUNT},
    };
    struct stranger s;
    stranger_start(&s);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct drops before = drops_of(&s.b);
        send_to(&s, cases[i].bytes, cases[i].len);
        if (cases[i].item) {
            struct plane_item item;
            next_item(&s.b, &item);
            assert_int_equal(item.kind, PLANE_PACKET);
            assert_int_equal(item.len, cases[i].len);
            assert_memory_equal(item.bytes, cases[i].bytes, item.len);
            assert_true(endpoint_eq(&item.from, &s.at));
        }
        sync_socket(&s);
        struct drops after = drops_of(&s.b);
        if (!grew_by(&before, &after, cases[i].drop)) {
            print_growth(&before, &after);
            fail_msg("%s", cases[i].rule);
        }
    }
    stranger_stop(&s);
}

/* What a peer that holds the keys may not send. 10.77.0.2 sends to 10.77.0.3. */
static void inner_packets_are_checked(void **state)
{
    static const struct {
        const char *rule;
        const char *src, *dst;
        uint8_t flags;
        size_t offset; /* of the inner packet */
        uint8_t byte;
        int extra; /* bytes more, or less, than the header says */
        int item;
        enum plane_drop drop;
    } cases[] = {
        {"another destination", "10.77.0.2", "10.77.0.4", 1, 0, 0x45, 0, NOTHING,
         PLANE_DROP_DESTINATION},
        {"the service", "10.77.0.2", "10.77.0.1", 1, 0, 0x45, 0, NOTHING, PLANE_DROP_DESTINATION},
        {"broadcast", "10.77.0.2", "255.255.255.255", 1, 0, 0x45, 0, NOTHING,
         PLANE_DROP_DESTINATION},
        {"IPv6 multicast", "fd00:77::2", "ff02::1", 1, 0, 0x60, 0, NOTHING, PLANE_DROP_DESTINATION},
        {"loopback", "10.77.0.2", "127.0.0.1", 1, 0, 0x45, 0, NOTHING, PLANE_DROP_DESTINATION},
        {"another source", "10.77.0.4", "10.77.0.3", 1, 0, 0x45, 0, PLANE_UNVERIFIED,
         PLANE_DROP_COUNT},
        {"our own source", "10.77.0.3", "10.77.0.3", 1, 0, 0x45, 0, PLANE_UNVERIFIED,
         PLANE_DROP_COUNT},
        {"IPv6: another source", "fd00:77::4", "fd00:77::3", 1, 0, 0x60, 0, PLANE_UNVERIFIED,
         PLANE_DROP_COUNT},
        {"IPv6: link-local source", "fe80::2", "fd00:77::3", 1, 0, 0x60, 0, PLANE_UNVERIFIED,
         PLANE_DROP_COUNT},
        {"longer than it says", "10.77.0.2", "10.77.0.3", 1, 0, 0x45, 1, NOTHING, PLANE_DROP_INNER},
        {"shorter than it says", "10.77.0.2", "10.77.0.3", 1, 0, 0x45, -1, NOTHING,
         PLANE_DROP_INNER},
        {"nothing", "10.77.0.2", "10.77.0.3", 1, 0, 0x45, -35, NOTHING, PLANE_DROP_INNER},
        {"a header of 16", "10.77.0.2", "10.77.0.3", 1, 0, 0x44, 0, NOTHING, PLANE_DROP_INNER},
        {"a header beyond the end", "10.77.0.2", "10.77.0.3", 1, 0, 0x4f, 0, NOTHING,
         PLANE_DROP_INNER},
        {"version 7", "10.77.0.2", "10.77.0.3", 1, 0, 0x75, 0, NOTHING, PLANE_DROP_INNER},
        {"neither IP nor Ethernet", "10.77.0.2", "10.77.0.3", 0, 0, 0x45, 0, NOTHING,
         PLANE_DROP_INNER},
        {"Ethernet", "10.77.0.2", "10.77.0.3", 2, 0, 0x45, 0, NOTHING, PLANE_DROP_INNER},
        {"an unknown flag", "10.77.0.2", "10.77.0.3", 0x81, 0, 0x45, 0, NOTHING, PLANE_DROP_INNER},
        {"neighbour discovery", "fd00:77::2", "fd00:77::3", 1, 6, 58, 0, NOTHING, PLANE_DROP_INNER},
    };
    struct stranger s;
    stranger_start(&s);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct drops before = drops_of(&s.b);
        struct plane_item item;
        uint8_t frame[200] = {0}, packet[300];
        bool v4 = strchr(cases[i].src, ':') == NULL;
        uint8_t *inner = frame + ETH_HEADER_LEN;
        (void)put_frame(frame, cases[i].src, cases[i].dst, "payload", 7);
        inner[40] = v4 ? inner[40] : ICMP6_NEIGHBOUR_ADVERTISEMENT;
        inner[cases[i].offset] = cases[i].byte;
        size_t len = (size_t)((v4 ? 35 : 55) + cases[i].extra);
        send_to(&s, packet, seal_inner(&s, packet, cases[i].flags, inner, len));
        if (cases[i].item != NOTHING) {
            struct addr src = addr_of(cases[i].src);
            next_item(&s.b, &item);
            assert_int_equal(item.kind, cases[i].item);
            assert_int_equal(item.token, TOKEN);
            assert_int_equal(item.flags, 1);
            assert_int_equal(item.len, len);
            assert_memory_equal(item.bytes, inner, len);
            assert_true(addr_eq(&item.addr, &src));
        }
        sync_socket(&s);
        struct drops after = drops_of(&s.b);
        if (!grew_by(&before, &after, cases[i].drop)) {
            print_growth(&before, &after);
            fail_msg("%s", cases[i].rule);
        }
    }
    counts_to(&s.b.flow->rx_packets, ARRAY_LEN(cases));
    stranger_stop(&s);
}

/* Every single bit of a packet, and every length; then the packet itself, once. */
static void forged_and_replayed_packets(void **state)
{
    struct stranger s;
    uint8_t frame[200], packet[300], got[300];
    stranger_start(&s);
    size_t n = put_frame(frame, "10.77.0.2", "10.77.0.3", "payload", 7) - ETH_HEADER_LEN;
    size_t len = seal_inner(&s, packet, PACKET_FLAG_IP, frame + ETH_HEADER_LEN, n);
    for (size_t bit = 8; bit < len * 8; bit++) {
        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        send_to(&s, packet, len);
        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (bit % 32 == 31) {
            sync_socket(&s);
        }
    }
    for (size_t cut = 1; cut < len; cut++) {
        send_to(&s, packet, cut);
    }
    sync_socket(&s);
    uint64_t late = plane_drops(s.b.plane, PLANE_DROP_REPLAY); /* counters beyond the end */
    uint64_t bad = plane_drops(s.b.plane, PLANE_DROP_FORGED) + late;
    assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_NO_SESSION), 32);
    assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_RUNT), 31);
    assert_int_equal(bad, (len - 1) * 8 - 32 + (len - 32));
    assert_int_equal(atomic_load(&s.b.flow->rx_packets), 0);
    for (int i = 0; i < 3; i++) {
        send_to(&s, packet, len);
    }
    assert_int_equal(read_frame(&s.b, got, sizeof(got)), ETH_HEADER_LEN + n);
    sync_socket(&s);
    assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_REPLAY) - late, 2);
    assert_int_equal(recv(s.b.device[0], got, sizeof(got), 0), -1);
    stranger_stop(&s);
}

static void a_sender_elsewhere_is_reported_once_a_second(void **state)
{
    struct stranger s;
    struct endpoint elsewhere_at;
    int elsewhere = udp_socket(&elsewhere_at), home = 0;
    uint8_t frame[200], packet[300], got[300];
    struct plane_item item;
    usec reported_us = 0;
    stranger_start(&s);
    size_t n = put_frame(frame, "10.77.0.2", "10.77.0.3", "payload", 7) - ETH_HEADER_LEN;
    home = s.udp;
    for (int i = 0; i < 5; i++) {
        s.udp = i == 0 ? home : elsewhere;
        send_to(&s, packet, seal_inner(&s, packet, PACKET_FLAG_IP, frame + ETH_HEADER_LEN, n));
        assert_int_equal(read_frame(&s.b, got, sizeof(got)), ETH_HEADER_LEN + n); /* delivered */
        usec roamed_us = atomic_load(&s.b.flow->roamed_us);
        assert_int_equal(roamed_us != 0, i > 0);
        if (roamed_us != reported_us) { /* more than once only where all this takes so long */
            next_item(&s.b, &item);
            assert_int_equal(item.kind, PLANE_ROAMED);
            assert_int_equal(item.token, TOKEN);
            assert_true(endpoint_eq(&item.from, &elsewhere_at));
            assert_true(i == 1 || roamed_us - reported_us >= SEC(1));
            reported_us = roamed_us;
        }
        sync_socket(&s); /* would find any other item first */
    }
    s.udp = home;
    close(elsewhere);
    stranger_stop(&s);
}

static void a_datagram_beyond_the_buffer_is_dropped(void **state)
{
    struct stranger s;
    static uint8_t big[BATCH_ROOM + 1] = {PACKET_HANDSHAKE};
    struct plane_item item;
    stranger_start(&s);
    send_to(&s, big, sizeof(big));
    sync_socket(&s);
    assert_int_equal(plane_drops(s.b.plane, PLANE_DROP_TOO_BIG), 1);
    send_to(&s, big, sizeof(big) - 1);
    next_item(&s.b, &item);
    assert_int_equal(item.len, BATCH_ROOM);
    stranger_stop(&s);
}

static void push_too_big(const struct machine *m)
{
    static const uint8_t data[1468 - 27];
    uint8_t frame[2000];
    push(m, frame, put_frame(frame, "10.77.0.2", "10.77.0.3", data, sizeof(data)));
}

/* The largest packet goes through; one byte more is answered with what would fit. */
static void a_packet_too_big_is_answered(void **state)
{
    struct pair p;
    uint8_t frame[3000] = {0}, answer[ICMP_TOO_BIG_FRAME_MAX];
    unsigned pushed = 0, answers = 0;
    pair_start(&p, 1);
    check_delivery(&p.a, &p.b, "10.77.0.2", "10.77.0.3", 1468 - 28);
    usec begin_us = worker_clock();
    for (; pushed < 10; pushed++) {
        push_too_big(&p.a);
    }
    push_service_arp(&p.a);
    while (read_frame(&p.a, answer, sizeof(answer)) != ARP_FRAME_LEN) {
        assert_int_equal(answer[34], 3);
        assert_int_equal(answer[35], 4);
        assert_int_equal(get_u16(answer + 40), 1468);
        answers++;
    }
    /* No second one so soon. */
    assert_in_range(answers, 1, 1 + (worker_clock() - begin_us) / MSEC(100));
    push(&p.a, frame, sizeof(frame)); /* larger than any buffer */
    sync_device(&p.a);
    assert_int_equal(plane_drops(p.a.plane, PLANE_DROP_TOO_BIG), pushed + 1);
    pair_stop(&p);
}

/* The socket refuses (broadcast is not allowed on it), or cannot reach that family. */
static void what_the_kernel_does_not_send_is_counted(void **state)
{
    static const char *const refused[] = {"255.255.255.255:9", "[::1]:9"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct machine m;
        struct endpoint to;
        struct seal_key *tx = tx_key(0);
        uint8_t frame[200];
        assert_true(endpoint_parse(&to, refused[i]));
        machine_start(&m, 2, 1);
        plane_publish(m.plane, table_of(&m, 3, &to, tx, NULL));
        for (int j = 0; j < 3; j++) {
            push(&m, frame, put_frame(frame, "10.77.0.2", "10.77.0.3", "x", 1));
        }
        while (plane_drops(m.plane, PLANE_DROP_SEND) < 3) {
            sched_yield();
        }
        sync_device(&m);
        assert_int_equal(plane_drops(m.plane, PLANE_DROP_SEND), 3);
        seal_key_unref(tx);
        machine_stop(&m);
    }
}

/* With IP_RECVERR refused datagrams come back on an error queue, which would keep a worker awake.
 */
static void the_error_queue_is_emptied(void **state)
{
    struct machine m;
    struct endpoint to;
    int on = 1;
    struct seal_key *tx = tx_key(0);
    uint8_t frame[200];
    assert_true(endpoint_parse(&to, "127.0.0.1:1")); /* nobody draws it, and nobody has it */
    machine_start(&m, 2, 1);
    assert_int_equal(setsockopt(m.udp, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
    plane_publish(m.plane, table_of(&m, 3, &to, tx, NULL));
    for (int i = 0; i < 5; i++) {
        push(&m, frame, put_frame(frame, "10.77.0.2", "10.77.0.3", "x", 1));
        sync_device(&m);
    }
    struct pollfd p = {.fd = m.udp, .events = POLLIN};
    while (poll(&p, 1, 0) > 0) {
        sched_yield();
    }
    seal_key_unref(tx);
    machine_stop(&m);
}

static void a_control_thread_that_is_behind_loses_the_newest(void **state)
{
    struct stranger s;
    uint8_t packet[1000] = {PACKET_CONTROL};
    struct plane_item item;
    stranger_start(&s);
    for (uint32_t i = 0; plane_drops(s.b.plane, PLANE_DROP_RING_FULL) == 0; i++) {
        put_u32(packet + 4, i);
        send_to(&s, packet, sizeof(packet));
    }
    for (uint32_t i = 0; i < 200; i++) {
        next_item(&s.b, &item);
        assert_int_equal(get_u32(item.bytes + 4), i);
    }
    stranger_stop(&s);
}

/* The event stays readable as long as there may be something left, however little is taken. */
static void the_event_is_readable_until_all_is_taken(void **state)
{
    struct stranger s;
    static const uint8_t packet[100] = {PACKET_CONTROL};
    struct plane_item item;
    unsigned taken = 0;
    stranger_start(&s);
    for (int i = 0; i < 100; i++) {
        send_to(&s, packet, sizeof(packet));
    }
    while (taken < 100) {
        assert_true(wait_readable(plane_event_fd(s.b.plane)));
        taken += plane_next(s.b.plane, &item); /* one at a time */
    }
    while (plane_next(s.b.plane, &item)) {
    }
    struct pollfd p = {.fd = plane_event_fd(s.b.plane), .events = POLLIN};
    sync_device(&s.b); /* nor do rounds without items ring */
    sync_device(&s.b);
    assert_int_equal(poll(&p, 1, 0), 0);
    stranger_stop(&s);
}

static void the_control_thread_writes_and_sends(void **state)
{
    struct machine m;
    struct endpoint at, v6;
    int peer = udp_socket(&at);
    uint8_t got[100];
    assert_true(endpoint_parse(&v6, "[::1]:5"));
    machine_start(&m, 2, 1);
    assert_int_equal(plane_write_frame(m.plane, 0, (const uint8_t *)"frame", 5), 0);
    assert_int_equal(read_frame(&m, got, sizeof(got)), 5);
    assert_int_equal(plane_write_frame(m.plane, 1, (const uint8_t *)"frame", 5), -ENODEV);
    assert_int_equal(plane_write_frame(m.plane, NETWORKS_MAX, (const uint8_t *)"x", 1), -ENODEV);
    assert_int_equal(plane_send(m.plane, &v6, (const uint8_t *)"x", 1), -EAFNOSUPPORT);
    for (uint16_t i = 0; i < 500; i++) { /* more than a batch, of sizes that join and that do not */
        put_u16(got, i);
        assert_int_equal(plane_send(m.plane, &at, got, i % 7 == 0 ? 100 : 50), 0);
    }
    plane_flush(m.plane);
    for (uint16_t i = 0; i < 500; i++) {
        assert_true(wait_readable(peer));
        assert_int_equal(recv(peer, got, sizeof(got), 0), i % 7 == 0 ? 100 : 50);
        assert_int_equal(get_u16(got), i);
    }
    assert_int_equal(plane_drops(m.plane, PLANE_DROP_TOO_BIG), 0);
    static const uint8_t huge[BATCH_ROOM + 1];
    assert_int_equal(plane_send(m.plane, &at, huge, sizeof(huge)), 0);
    assert_int_equal(plane_drops(m.plane, PLANE_DROP_TOO_BIG), 1);
    close(peer);
    machine_stop(&m);
}

static void devices_come_and_go(void **state)
{
    struct pair p;
    struct plane_item item;
    struct device_fds fds = {.count = 1, .queues = {-1}, .writer = -1};
    pair_start(&p, 1);
    assert_int_equal(plane_add_device(p.a.plane, 0, &fds), -EEXIST);
    assert_int_equal(plane_add_device(p.a.plane, 1, &fds), -EBADF);
    assert_int_equal(plane_add_device(p.a.plane, NETWORKS_MAX, &fds), -ERANGE);
    for (int i = 0; i < 20; i++) {
        check_delivery(&p.a, &p.b, "10.77.0.2", "10.77.0.3", 100);
        plane_remove_device(p.b.plane, 0);
        plane_remove_device(p.b.plane, 0);
        assert_int_equal(read(p.b.device[0], &item, 1), 0); /* closed */
        assert_int_equal(plane_write_frame(p.b.plane, 0, (const uint8_t *)"x", 1), -ENODEV);
        close(p.b.device[0]);
        add_device(&p.b, 0);
    }
    pair_stop(&p);
}

/* The kernel hangs up, as when somebody deletes the interface: counted once, and then asleep. */
static void a_device_taken_away_is_forgotten(void **state)
{
    struct pair p;
    uint8_t frame[200];
    pair_start(&p, 1);
    shutdown(p.b.device[0], SHUT_RDWR);
    while (atomic_load(&p.b.plane->workers[0].devices[0]) >= 0) {
        sched_yield();
    }
    assert_int_equal(plane_drops(p.b.plane, PLANE_DROP_DEVICE), 1);
    push(&p.a, frame, put_frame(frame, "10.77.0.2", "10.77.0.3", "x", 1));
    while (plane_drops(p.b.plane, PLANE_DROP_DEVICE) < 2) {
        sched_yield();
    }
    plane_remove_device(p.b.plane, 0);
    close(p.b.device[0]);
    add_device(&p.b, 0);
    check_delivery(&p.a, &p.b, "10.77.0.2", "10.77.0.3", 100);
    pair_stop(&p);
}

/* ------------------------------------------------------------------------- under load */

enum { LOAD_FRAMES = 20000, LOAD_WINDOW = 100, LOAD_KEY_FRAMES = 1500 };

/* Pushes numbered frames into A, at most LOAD_WINDOW ahead of what came out of B, and no more than
 * LOAD_KEY_FRAMES before new keys, which are to come often however slow the thread that makes them.
 */
struct load {
    struct pair *p;
    _Atomic uint32_t received, renewed_at;
    _Atomic bool failed;
};

static void *push_numbers(void *arg)
{
    struct load *l = arg;
    uint8_t frame[200];
    for (uint32_t i = 0; i < LOAD_FRAMES && !atomic_load(&l->failed);) {
        if (i - atomic_load(&l->received) >= LOAD_WINDOW ||
            i - atomic_load(&l->renewed_at) >= LOAD_KEY_FRAMES) {
            sched_yield();
            continue;
        }
        struct endpoint src = {l->p->a.network.own4, 5000}, dst = {l->p->b.network.own4, 6000};
        size_t n = udp_frame(frame, sizeof(frame), &plane_virtual_mac, &kernel_mac, &src, &dst, &i,
                             sizeof(i));
        if (write(l->p->a.device[i % l->p->a.workers], frame, n) == (ssize_t)n) {
            i++;
        }
    }
    return NULL;
}

/* Marks which numbers came out of B, each at most once. */
static void *pull_numbers(void *arg)
{
    static uint8_t seen[LOAD_FRAMES];
    struct load *l = arg;
    memset(seen, 0, sizeof(seen));
    for (uint32_t n = 0; n < LOAD_FRAMES && !atomic_load(&l->failed);) {
        struct pollfd fds[SNAPSHOT_READERS_MAX];
        for (unsigned i = 0; i < l->p->b.workers; i++) {
            fds[i] = (struct pollfd){.fd = l->p->b.device[i], .events = POLLIN};
        }
        if (poll(fds, l->p->b.workers, WAIT_MS) <= 0) {
            atomic_store(&l->failed, true);
        }
        for (unsigned i = 0; i < l->p->b.workers; i++) {
            uint8_t frame[200];
            uint32_t number;
            while (read(fds[i].fd, frame, sizeof(frame)) == 46) {
                memcpy(&number, frame + 42, 4);
                if (number >= LOAD_FRAMES || seen[number]++ > 0) {
                    atomic_store(&l->failed, true);
                    return NULL;
                }
                atomic_store(&l->received, ++n);
            }
        }
    }
    return NULL;
}

/* The key of the direction A to B, at both ends. The receiver hears the one before it too. */
struct load_keys {
    struct seal_key *tx, *rx, *old_rx;
};

static void renew_keys(struct load_keys *k, uint32_t index)
{
    seal_key_unref(k->tx);
    seal_key_unref(k->old_rx);
    k->tx = seal_key_new(SEAL_CHACHA20_POLY1305, &secrets[0], index, 0);
    k->old_rx = k->rx;
    k->rx = seal_key_new(SEAL_CHACHA20_POLY1305, &secrets[0], index, SEAL_WINDOW_DATA);
}

/* The receiver learns of new keys before the sender. */
static void publish_both(struct pair *p, const struct load_keys *k)
{
    struct forward *b = table_of(&p->b, 2, &p->a.at, NULL, k->rx);
    if (k->old_rx != NULL) {
        assert_int_equal(forward_add_rx(b, 0, k->old_rx), 0);
    }
    plane_publish(p->b.plane, b);
    plane_publish(p->a.plane, table_of(&p->a, 3, &p->b.at, k->tx, NULL));
}

/* New tables at either end as fast as they can be made, and new keys whenever all that was sent
 * with the key before the last has arrived. */
static void change_everything(struct pair *p, struct load *l, struct load_keys *k)
{
    struct plane_item item;
    uint32_t received = 0, index = INDEX_B;
    while (received < LOAD_FRAMES && !atomic_load(&l->failed)) {
        /* One is sent, one on its way. */
        bool renew = received - atomic_load(&l->renewed_at) >= 3 * LOAD_WINDOW;
        if (renew) {
            renew_keys(k, ++index);
        }
        publish_both(p, k);
        while (plane_next(p->a.plane, &item) || plane_next(p->b.plane, &item)) {
        }
        received = atomic_load(&l->received);
        if (renew) {
            atomic_store(&l->renewed_at, received);
        }
    }
    assert_true(index - INDEX_B >= LOAD_FRAMES / LOAD_KEY_FRAMES);
}

static void run_load(unsigned workers)
{
    struct pair p;
    struct load l = {.p = &p};
    struct load_keys keys = {0};
    pthread_t pusher, puller;
    pair_start(&p, workers);
    renew_keys(&keys, INDEX_B);
    publish_both(&p, &keys);
    assert_int_equal(pthread_create(&puller, NULL, pull_numbers, &l), 0);
    assert_int_equal(pthread_create(&pusher, NULL, push_numbers, &l), 0);
    change_everything(&p, &l, &keys);
    pthread_join(pusher, NULL);
    pthread_join(puller, NULL);
    struct drops none = {{0}}, a = drops_of(&p.a), b = drops_of(&p.b);
    print_growth(&none, &a);
    print_growth(&none, &b);
    assert_false(atomic_load(&l.failed));
    assert_int_equal(atomic_load(&l.received), LOAD_FRAMES);
    seal_key_unref(keys.tx);
    seal_key_unref(keys.rx);
    seal_key_unref(keys.old_rx);
    pair_stop(&p);
}

static void tables_and_keys_change_under_load(void **state)
{
    run_load(1);
}

static void so_they_do_with_three_workers(void **state)
{
    run_load(3);
}

/* Strangers' garbage as fast as a socket takes it; frames go on in both directions. */
struct flood {
    const struct stranger *s;
    _Atomic bool stop;
    uint64_t sent;
};

static void *send_garbage(void *arg)
{
    struct flood *f = arg;
    uint8_t packet[200] = {0};
    union sockaddr_any to;
    socklen_t to_len = sockaddr_put(&to, &f->s->b.at, false);
    unsigned seed = 1;
    while (!atomic_load(&f->stop)) {
        for (size_t i = 0; i < sizeof(packet); i++) {
            packet[i] = (uint8_t)rand_r(&seed);
        }
        packet[0] = f->sent % 4 == 0   ? PACKET_DATA
                    : f->sent % 4 == 1 ? PACKET_HANDSHAKE
                                       : packet[0];
        f->sent += sendto(f->s->udp, packet, sizeof(packet), 0, &to.any, to_len) > 0;
    }
    return NULL;
}

static void a_flood_does_not_stop_the_device(void **state)
{
    struct stranger s;
    struct flood f = {.s = &s};
    pthread_t thread;
    stranger_start(&s);
    assert_int_equal(pthread_create(&thread, NULL, send_garbage, &f), 0);
    for (int i = 0; i < 2000; i++) {
        sync_device(&s.b);
    }
    atomic_store(&f.stop, true);
    pthread_join(thread, NULL);
    struct plane_item item;
    while (plane_next(s.b.plane, &item)) {
        assert_int_equal(item.kind, PLANE_PACKET);
    }
    assert_true(plane_drops(s.b.plane, PLANE_DROP_NO_SESSION) > 0);
    assert_true(plane_drops(s.b.plane, PLANE_DROP_TYPE) > 0);
    assert_int_equal(atomic_load(&s.b.flow->rx_packets), 0);
    stranger_stop(&s);
}

/* Packets of one session come from several ports, so that several workers open them, each packet
 * from each port. Its device gets it once. */
enum { ONCE_PORTS = 12, ONCE_PACKETS = 500 };

/* The device queue on which a frame comes. */
static unsigned readable_queue(const struct machine *m)
{
    struct pollfd fds[SNAPSHOT_READERS_MAX];
    unsigned i = 0;
    for (unsigned k = 0; k < m->workers; k++) {
        fds[k] = (struct pollfd){.fd = m->device[k], .events = POLLIN};
    }
    assert_true(poll(fds, m->workers, WAIT_MS) > 0);
    while (!(fds[i].revents & POLLIN)) {
        i++;
    }
    return i;
}

static void copies_are_delivered_once_whoever_opens_them(void **state)
{
    struct stranger s;
    struct endpoint at;
    union sockaddr_any to;
    uint8_t frame[200], packet[300];
    int ports[ONCE_PORTS];
    unsigned delivered[3] = {0};
    stranger_start_against(&s, 3);
    socklen_t to_len = sockaddr_put(&to, &s.b.at, false);
    for (unsigned i = 0; i < ONCE_PORTS; i++) {
        ports[i] = udp_socket(&at);
    }
    for (uint32_t number = 0; number < ONCE_PACKETS; number++) {
        size_t n = put_frame(frame, "10.77.0.2", "10.77.0.3", &number, 4) - ETH_HEADER_LEN;
        size_t len = seal_inner(&s, packet, PACKET_FLAG_IP, frame + ETH_HEADER_LEN, n);
        for (unsigned i = 0; i < ONCE_PORTS; i++) {
            int port = ports[(number + i) % ONCE_PORTS];
            assert_int_equal(sendto(port, packet, len, 0, &to.any, to_len), len);
        }
        unsigned queue = readable_queue(&s.b);
        assert_int_equal(read(s.b.device[queue], frame, sizeof(frame)), 46);
        assert_memory_equal(frame + 42, &number, 4);
        delivered[queue]++;
    }
    while (plane_drops(s.b.plane, PLANE_DROP_REPLAY) < (ONCE_PORTS - 1) * ONCE_PACKETS) {
        poll(NULL, 0, 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_true(delivered[i] <
                    ONCE_PACKETS); /* or one worker did it all, and nothing is shown */
        assert_int_equal(recv(s.b.device[i], frame, sizeof(frame), 0), -1);
    }
    counts_to(&s.b.flow->rx_packets, ONCE_PACKETS);
    for (unsigned i = 0; i < ONCE_PORTS; i++) {
        close(ports[i]);
    }
    stranger_stop(&s);
}

static void every_reason_has_a_name(void **state)
{
    for (int i = 0; i < PLANE_DROP_COUNT; i++) {
        const char *text = plane_drop_text((enum plane_drop)i);
        assert_string_not_equal(text, "unknown");
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(text, plane_drop_text((enum plane_drop)j));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_go_both_ways),
        cmocka_unit_test(frames_go_over_a_socket_for_both_families),
        cmocka_unit_test(the_packet_on_the_wire),
        cmocka_unit_test(frames_from_the_device),
        cmocka_unit_test(without_an_address_nothing_leaves),
        cmocka_unit_test(a_frame_of_no_network_is_dropped),
        cmocka_unit_test(a_datagram_without_its_header_is_not_dhcp),
        cmocka_unit_test(the_last_address_of_a_pair_is_a_host),
        cmocka_unit_test(questions_for_neighbours),
        cmocka_unit_test(datagrams_by_their_first_byte),
        cmocka_unit_test(inner_packets_are_checked),
        cmocka_unit_test(forged_and_replayed_packets),
        cmocka_unit_test(a_sender_elsewhere_is_reported_once_a_second),
        cmocka_unit_test(a_datagram_beyond_the_buffer_is_dropped),
        cmocka_unit_test(a_packet_too_big_is_answered),
        cmocka_unit_test(what_the_kernel_does_not_send_is_counted),
        cmocka_unit_test(the_error_queue_is_emptied),
        cmocka_unit_test(a_control_thread_that_is_behind_loses_the_newest),
        cmocka_unit_test(the_event_is_readable_until_all_is_taken),
        cmocka_unit_test(the_control_thread_writes_and_sends),
        cmocka_unit_test(devices_come_and_go),
        cmocka_unit_test(a_device_taken_away_is_forgotten),
        cmocka_unit_test(tables_and_keys_change_under_load),
        cmocka_unit_test(so_they_do_with_three_workers),
        cmocka_unit_test(a_flood_does_not_stop_the_device),
        cmocka_unit_test(copies_are_delivered_once_whoever_opens_them),
        cmocka_unit_test(every_reason_has_a_name),
    };
    return crypto_start() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
