// link: peal_tap
/* Ethernet, IP, UDP, checksums, socket addresses: readers by table, builders against known bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/wire.h"
#include "tap/checksum.c"
#include "tap/eth.c"
#include "tap/sockaddr.c"

static const struct mac mac_a = {{0x02, 0, 0, 0, 0, 0x0a}};
static const struct mac mac_b = {{0x02, 0, 0, 0, 0, 0x0b}};

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_true(addr_parse(&a, text));
    return a;
}

static struct endpoint endpoint_of(const char *text)
{
    struct endpoint e;
    assert_true(endpoint_parse(&e, text));
    return e;
}

/* RFC 1071 3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2. */
static void checksum_is_that_of_rfc_1071(void **state)
{
    static const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    uint8_t field[2];
    checksum_put(field, checksum_add(0, bytes, sizeof(bytes)));
    assert_int_equal(get_u16(field), 0xffff - 0xddf2);
}

/* By the definition, one 16-bit word after the other, against the quick sum. */
static uint16_t slow_checksum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static void checksum_of_any_length_and_split(void **state)
{
    uint8_t bytes[1501];
    srand(1);
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        for (size_t i = 0; i < len; i++) {
            bytes[i] = len % 3 == 0 ? 0xff : (uint8_t)rand();
        }
        size_t split = len == 0 ? 0 : (size_t)rand() % len & ~(size_t)1;
        uint8_t field[2];
        uint64_t sum = checksum_add(0, bytes, split);
        checksum_put(field, checksum_add(sum, bytes + split, len - split));
        assert_int_equal(get_u16(field), slow_checksum(bytes, len));
    }
}

static void checksum_of_zero_is_ones_for_udp_only(void **state)
{
    static const uint8_t ones[2] = {0xff, 0xff};
    uint8_t field[2];
    checksum_put(field, checksum_add(0, ones, 2));
    assert_int_equal(get_u16(field), 0);
    checksum_put_udp(field, checksum_add(0, ones, 2));
    assert_int_equal(get_u16(field), 0xffff);
}

/* 192.168.0.1 to 192.168.0.199, UDP, 115 bytes: header checksum b861. */
static const uint8_t ipv4_sample[20] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                                        0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};

static void ip_put_writes_the_known_header(void **state)
{
    struct addr src = addr_of("192.168.0.1"), dst = addr_of("192.168.0.199");
    uint8_t header[IPV4_HEADER_LEN];
    assert_int_equal(ip_put(header, &src, &dst, IP_PROTO_UDP, 95), sizeof(header));
    assert_memory_equal(header, ipv4_sample, sizeof(header));
}

static void ip_parse_reads_every_field(void **state)
{
    uint8_t bytes[128] = {0};
    struct ip_packet ip;
    memcpy(bytes, ipv4_sample, sizeof(ipv4_sample));
    assert_true(ip_parse(&ip, bytes, sizeof(bytes)));
    struct addr src = addr_of("192.168.0.1"), dst = addr_of("192.168.0.199");
    assert_true(addr_eq(&ip.src, &src) && addr_eq(&ip.dst, &dst));
    assert_int_equal(ip.len, 115);
    assert_int_equal(ip.header_len, 20);
    assert_int_equal(ip.proto, IP_PROTO_UDP);
    assert_int_equal(ip.hop_limit, 64);
    assert_true(ip.first && ip.dont_fragment && !ip.fragment);

    src = addr_of("fd00::1"), dst = addr_of("fd00::2");
    (void)ip_put(bytes, &src, &dst, IP_PROTO_TCP, 77);
    bytes[7] = 9;
    assert_true(ip_parse(&ip, bytes, sizeof(bytes)));
    assert_true(addr_eq(&ip.src, &src) && addr_eq(&ip.dst, &dst));
    assert_int_equal(ip.len, 117);
    assert_int_equal(ip.header_len, 40);
    assert_int_equal(ip.proto, IP_PROTO_TCP);
    assert_int_equal(ip.hop_limit, 9);
    assert_true(ip.first && ip.dont_fragment && !ip.fragment);
}

/* One byte of a valid packet is changed, or it is cut. */
static void ip_parse_refuses_lengths_that_lie(void **state)
{
    static const struct {
        const char *rule;
        int family;
        size_t len, offset;
        uint8_t value;
        bool ok;
    } cases[] = {
        {"whole", 4, 60, 0, 0x45, true},
        {"padded", 4, 64, 0, 0x45, true},
        {"with options", 4, 60, 0, 0x4f, true},
        {"empty", 4, 0, 0, 0x45, false},
        {"a header cut short", 4, 19, 0, 0x45, false},
        {"shorter than it says", 4, 59, 0, 0x45, false},
        {"header of less than 20", 4, 60, 0, 0x44, false},
        {"version 5", 4, 60, 0, 0x55, false},
        {"version 0", 4, 60, 0, 0x05, false},
        {"total below the header", 4, 60, 3, 19, false},
        {"total of the header alone", 4, 60, 3, 20, true},
        {"total beyond the packet", 4, 60, 2, 1, false},
        {"IPv6 whole", 6, 60, 0, 0x60, true},
        {"IPv6 header cut short", 6, 39, 0, 0x60, false},
        {"IPv6 shorter than it says", 6, 59, 0, 0x60, false},
        {"IPv6 beyond the packet", 6, 60, 4, 1, false},
        {"IPv6 without payload", 6, 40, 5, 0, true},
    };
    struct addr v4 = addr_of("10.0.0.1"), v6 = addr_of("fd00::1");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct addr *a = cases[i].family == 4 ? &v4 : &v6;
        uint8_t bytes[64] = {0};
        (void)ip_put(bytes, a, a, IP_PROTO_UDP, cases[i].family == 4 ? 40 : 20);
        bytes[cases[i].offset] = cases[i].value;
        uint8_t *exact = malloc(cases[i].len + 1); /* so that the sanitizer sees a byte too far */
        memcpy(exact, bytes, cases[i].len);
        struct ip_packet ip;
        bool ok = ip_parse(&ip, exact, cases[i].len);
        if (ok != cases[i].ok) {
            fail_msg("%s: %d", cases[i].rule, ok);
        }
        free(exact);
    }
}

static void ip_parse_knows_fragments(void **state)
{
    static const struct {
        uint16_t field;
        bool fragment, first, dont;
    } cases[] = {
        {0x0000, false, true, false}, {0x4000, false, true, true},  {0x2000, true, true, false},
        {0x2001, true, false, false}, {0x0001, true, false, false}, {0x1fff, true, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t bytes[115] = {0};
        struct ip_packet ip;
        memcpy(bytes, ipv4_sample, sizeof(ipv4_sample));
        put_u16(bytes + 6, cases[i].field);
        assert_true(ip_parse(&ip, bytes, sizeof(bytes)));
        assert_int_equal(ip.fragment, cases[i].fragment);
        assert_int_equal(ip.first, cases[i].first);
        assert_int_equal(ip.dont_fragment, cases[i].dont);
    }
}

static const struct {
    const char *src, *dst;
} udp_pairs[] = {{"10.77.0.1:67", "10.77.3.4:68"}, {"[fd00::1]:53", "[fd00::2]:5353"}};

static void udp_frame_is_read_back(void **state)
{
    uint8_t payload[300], frame[1500];
    memset(payload, 0xa5, sizeof(payload));
    for (size_t i = 0; i < ARRAY_LEN(udp_pairs); i++) {
        struct endpoint src = endpoint_of(udp_pairs[i].src), dst = endpoint_of(udp_pairs[i].dst);
        size_t headers = src.addr.family == 4 ? 42 : 62;
        for (size_t len = 0; len <= sizeof(payload); len++) {
            size_t n = udp_frame(frame, sizeof(frame), &mac_a, &mac_b, &src, &dst, payload, len);
            assert_int_equal(n, headers + len);
            struct eth_header eth;
            assert_true(eth_parse(&eth, frame, n));
            assert_memory_equal(&eth.dst, &mac_a, 6);
            assert_memory_equal(&eth.src, &mac_b, 6);
            struct udp_datagram udp;
            assert_true(udp_parse(&udp, frame + ETH_HEADER_LEN, n - ETH_HEADER_LEN));
            assert_true(endpoint_eq(&udp.src, &src) && endpoint_eq(&udp.dst, &dst));
            assert_int_equal(udp.len, len);
            assert_memory_equal(udp.payload, payload, len);
        }
    }
}

/* 10.77.0.1:67 to 10.77.3.4:68, "abc": checksum added up by hand. */
static void udp_frame_has_the_right_checksum(void **state)
{
    struct endpoint src = endpoint_of("10.77.0.1:67"), dst = endpoint_of("10.77.3.4:68");
    uint8_t frame[64];
    size_t n = udp_frame(frame, sizeof(frame), &mac_a, &mac_b, &src, &dst, "abc", 3);
    uint32_t sum = 0x0a4d + 0x0001 + 0x0a4d + 0x0304 + 17 + 11; /* pseudo header */
    sum += 67 + 68 + 11 + 0x6162 + 0x6300;
    sum = (sum & 0xffff) + (sum >> 16);
    assert_int_equal(n, 45);
    assert_int_equal(get_u16(frame + 40), (uint16_t)~sum);
}

static void udp_frame_refuses_what_does_not_fit(void **state)
{
    static uint8_t big[70000], out[70000];
    struct endpoint v4 = endpoint_of("10.0.0.1:1"), v6 = endpoint_of("[fd00::1]:1");
    assert_int_equal(udp_frame(out, sizeof(out), &mac_a, &mac_b, &v4, &v6, big, 1), 0);
    assert_int_equal(udp_frame(out, 141, &mac_a, &mac_b, &v4, &v4, big, 100), 0);
    assert_int_equal(udp_frame(out, 142, &mac_a, &mac_b, &v4, &v4, big, 100), 142);
    assert_int_equal(udp_frame(out, sizeof(out), &mac_a, &mac_b, &v4, &v4, big, 65508), 0);
    assert_int_equal(udp_frame(out, sizeof(out), &mac_a, &mac_b, &v4, &v4, big, 65507), 65549);
    assert_int_equal(udp_frame(out, sizeof(out), &mac_a, &mac_b, &v6, &v6, big, 65488), 0);
    assert_int_equal(udp_frame(out, sizeof(out), &mac_a, &mac_b, &v6, &v6, big, 65487), 65549);
}

static void udp_parse_refuses(void **state)
{
    static const struct {
        const char *rule;
        size_t pair, offset;
        uint8_t flip;
    } cases[] = {
        {"another protocol", 0, 9, 17 ^ 6},
        {"a fragment", 0, 6, 0x20},
        {"a wrong checksum", 0, 27, 1},
        {"a damaged payload", 0, 30, 0x80},
        {"a wrong source address", 0, 15, 1},
        {"a length beyond the packet", 0, 24, 1},
        {"a length below the header", 0, 25, 20 ^ 7},
        {"IPv6: a wrong destination", 1, 39, 1},
        {"IPv6: a damaged payload", 1, 55, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct endpoint src = endpoint_of(udp_pairs[cases[i].pair].src);
        struct endpoint dst = endpoint_of(udp_pairs[cases[i].pair].dst);
        uint8_t frame[100];
        struct udp_datagram udp;
        size_t n = udp_frame(frame, sizeof(frame), &mac_a, &mac_b, &src, &dst, "0123456789ab", 12);
        assert_true(udp_parse(&udp, frame + ETH_HEADER_LEN, n - ETH_HEADER_LEN));
        frame[ETH_HEADER_LEN + cases[i].offset] ^= cases[i].flip;
        if (udp_parse(&udp, frame + ETH_HEADER_LEN, n - ETH_HEADER_LEN)) {
            fail_msg("%s was accepted", cases[i].rule);
        }
    }
}

/* Nor by a datagram without checksum, whose damage nothing else would show. */
static void udp_parse_refuses_a_length_beyond_the_packet(void **state)
{
    struct endpoint src = endpoint_of(udp_pairs[0].src), dst = endpoint_of(udp_pairs[0].dst);
    uint8_t frame[100] = {0};
    struct udp_datagram udp;
    size_t n = udp_frame(frame, sizeof(frame), &mac_a, &mac_b, &src, &dst, "x", 1);
    put_u16(frame + 40, 0);
    put_u16(frame + 38, 10);
    assert_false(udp_parse(&udp, frame + ETH_HEADER_LEN, n - ETH_HEADER_LEN));
    assert_false(udp_parse(&udp, frame + ETH_HEADER_LEN, n + 9 - ETH_HEADER_LEN));
}

static void udp_without_checksum_is_for_ipv4_only(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(udp_pairs); i++) {
        struct endpoint src = endpoint_of(udp_pairs[i].src), dst = endpoint_of(udp_pairs[i].dst);
        uint8_t frame[100];
        struct udp_datagram udp;
        size_t n = udp_frame(frame, sizeof(frame), &mac_a, &mac_b, &src, &dst, "x", 1);
        put_u16(frame + n - 3, 0);
        assert_int_equal(udp_parse(&udp, frame + ETH_HEADER_LEN, n - ETH_HEADER_LEN),
                         src.addr.family == 4);
    }
}

static void sockaddr_maps_ipv4_on_a_v6_socket(void **state)
{
    static const struct {
        const char *text;
        bool v6;
        socklen_t len;
        int family;
    } cases[] = {
        {"192.0.2.1:4747", false, sizeof(struct sockaddr_in), AF_INET},
        {"192.0.2.1:4747", true, sizeof(struct sockaddr_in6), AF_INET6},
        {"[2001:db8::1]:65535", true, sizeof(struct sockaddr_in6), AF_INET6},
        {"[2001:db8::1]:1", false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct endpoint e = endpoint_of(cases[i].text), back;
        union sockaddr_any a;
        assert_int_equal(sockaddr_put(&a, &e, cases[i].v6), cases[i].len);
        if (cases[i].len > 0) {
            assert_int_equal(a.any.sa_family, cases[i].family);
            assert_true(sockaddr_get(&back, &a));
            assert_true(endpoint_eq(&e, &back));
        }
    }
    struct endpoint none = {0};
    union sockaddr_any a = {.any.sa_family = AF_UNIX};
    assert_int_equal(sockaddr_put(&a, &none, true), 0);
    assert_false(sockaddr_get(&none, &a));
}

static void sockaddr_writes_the_mapped_form(void **state)
{
    struct endpoint e = endpoint_of("192.0.2.1:4747");
    union sockaddr_any a;
    char text[INET6_ADDRSTRLEN];
    (void)sockaddr_put(&a, &e, true);
    assert_string_equal(inet_ntop(AF_INET6, &a.v6.sin6_addr, text, sizeof(text)),
                        "::ffff:192.0.2.1");
    assert_int_equal(ntohs(a.v6.sin6_port), 4747);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum_is_that_of_rfc_1071),
        cmocka_unit_test(checksum_of_any_length_and_split),
        cmocka_unit_test(checksum_of_zero_is_ones_for_udp_only),
        cmocka_unit_test(ip_put_writes_the_known_header),
        cmocka_unit_test(ip_parse_reads_every_field),
        cmocka_unit_test(ip_parse_refuses_lengths_that_lie),
        cmocka_unit_test(ip_parse_knows_fragments),
        cmocka_unit_test(udp_frame_is_read_back),
        cmocka_unit_test(udp_frame_has_the_right_checksum),
        cmocka_unit_test(udp_frame_refuses_what_does_not_fit),
        cmocka_unit_test(udp_parse_refuses),
        cmocka_unit_test(udp_parse_refuses_a_length_beyond_the_packet),
        cmocka_unit_test(udp_without_checksum_is_for_ipv4_only),
        cmocka_unit_test(sockaddr_maps_ipv4_on_a_v6_socket),
        cmocka_unit_test(sockaddr_writes_the_mapped_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
