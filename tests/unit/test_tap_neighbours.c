// link: peal_tap
/* ARP, neighbour discovery and ICMP: real frames in, expected frames out, damaged ones refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/wire.h"
#include "tap/arp.c"
#include "tap/checksum.h"
#include "tap/icmp.c"
#include "tap/ndp.c"
#include "tap/plane.h"

static const struct mac mac_a = {{0x02, 0, 0, 0, 0, 0x0a}};
static const struct mac virtual_mac = {{0xfe, 0xfd, 0, 0, 0, 0}};

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_true(addr_parse(&a, text));
    return a;
}

/* "who has 10.77.0.9, tell 10.77.0.5", padded by Ethernet to 60 bytes. */
static const uint8_t arp_question[60] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x08, 0x06,
    0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a,
    10,   77,   0,    5,    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 10,   77,   0,    9};

static const uint8_t arp_expected[ARP_FRAME_LEN] = {
    0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0xfe, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x08, 0x06,
    0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02, 0xfe, 0xfd, 0x00, 0x00, 0x00, 0x00,
    10,   77,   0,    9,    0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 10,   77,   0,    5};

static void arp_request_gets_the_reply_of_rfc_826(void **state)
{
    struct arp_packet arp;
    uint8_t out[ARP_FRAME_LEN];
    assert_true(arp_parse(&arp, arp_question, sizeof(arp_question)));
    assert_true(arp_is_question(&arp));
    arp_answer(out, &arp, &virtual_mac);
    assert_memory_equal(out, arp_expected, sizeof(out));
}

static void arp_parse_and_questions(void **state)
{
    static const struct {
        const char *rule;
        size_t len, offset;
        uint8_t bytes[4];
        size_t count;
        bool ok, question;
    } cases[] = {
        {"without padding", 42, 0, {0}, 0, true, true},
        {"one byte short", 41, 0, {0}, 0, false, false},
        {"only Ethernet", 14, 0, {0}, 0, false, false},
        {"nothing", 0, 0, {0}, 0, false, false},
        {"another ethertype", 60, 12, {8, 0}, 2, false, false},
        {"another hardware", 60, 15, {6}, 1, false, false},
        {"another protocol", 60, 16, {0x86, 0xdd}, 2, false, false},
        {"hardware addresses of 8", 60, 18, {8}, 1, false, false},
        {"protocol addresses of 16", 60, 19, {16}, 1, false, false},
        {"operation 0", 60, 21, {0}, 1, false, false},
        {"reverse ARP", 60, 21, {3}, 1, false, false},
        {"operation 257", 60, 20, {1, 1}, 2, false, false},
        {"a reply is no question", 60, 21, {2}, 1, true, false},
        {"a multicast sender", 60, 22, {3}, 1, false, false},
        {"a probe, RFC 5227", 60, 28, {0, 0, 0, 0}, 4, true, false},
        {"an announcement", 60, 28, {10, 77, 0, 9}, 4, true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t *frame = malloc(60);
        memcpy(frame, arp_question, 60);
        memcpy(frame + cases[i].offset, cases[i].bytes, cases[i].count);
        uint8_t *exact = malloc(cases[i].len + 1);
        memcpy(exact, frame, cases[i].len);
        struct arp_packet arp;
        bool ok = arp_parse(&arp, exact, cases[i].len);
        bool question = ok && arp_is_question(&arp);
        if (ok != cases[i].ok || question != cases[i].question) {
            fail_msg("%s: parsed %d, question %d", cases[i].rule, ok, question);
        }
        free(frame);
        free(exact);
    }
}

/* A neighbour solicitation with `options` bytes of options, its checksum right. */
static size_t put_solicitation(uint8_t *frame, const char *src, const char *dst, const char *target,
                               const uint8_t *options, size_t options_len)
{
    struct addr s = addr_of(src), d = addr_of(dst), t = addr_of(target);
    static const struct mac group = {{0x33, 0x33, 0xff, 0, 0, 9}};
    eth_put(frame, &group, &mac_a, ETH_TYPE_IPV6);
    uint8_t *packet = frame + ETH_HEADER_LEN, *icmp = packet + IPV6_HEADER_LEN;
    size_t len = 24 + options_len;
    (void)ip_put(packet, &s, &d, IP_PROTO_ICMPV6, len);
    packet[7] = 255;
    memset(icmp, 0, 8);
    icmp[0] = ICMP6_NEIGHBOUR_SOLICITATION;
    memcpy(icmp + 8, t.b, 16);
    if (options_len > 0) {
        memcpy(icmp + 24, options, options_len);
    }
    checksum_put(icmp + 2, icmp_sum(&s, &d, icmp, len));
    return ETH_HEADER_LEN + IPV6_HEADER_LEN + len;
}

static const uint8_t source_option[8] = {1, 1, 0x02, 0, 0, 0, 0, 0x0a};

static void ndp_solicitation_gets_a_solicited_override(void **state)
{
    uint8_t frame[128], out[NDP_ADVERTISEMENT_FRAME_LEN];
    struct ndp_solicitation ns;
    size_t n = put_solicitation(frame, "fd00::5", "ff02::1:ff00:9", "fd00::9", source_option, 8);
    assert_true(ndp_parse(&ns, frame, n));
    assert_true(ndp_is_question(&ns));
    ndp_answer(out, &ns, &virtual_mac);

    struct eth_header eth;
    struct ip_packet ip;
    assert_true(eth_parse(&eth, out, sizeof(out)));
    assert_memory_equal(&eth.dst, &mac_a, 6);
    assert_memory_equal(&eth.src, &virtual_mac, 6);
    assert_true(ip_parse(&ip, out + ETH_HEADER_LEN, sizeof(out) - ETH_HEADER_LEN));
    struct addr asker = addr_of("fd00::5"), target = addr_of("fd00::9");
    assert_true(addr_eq(&ip.src, &target) && addr_eq(&ip.dst, &asker));
    assert_int_equal(ip.hop_limit, 255);
    assert_int_equal(ip.len, IPV6_HEADER_LEN + 32);
    const uint8_t *icmp = out + ETH_HEADER_LEN + IPV6_HEADER_LEN;
    assert_int_equal(icmp[0], 136);
    assert_int_equal(get_u32(icmp + 4), 0x60000000);
    assert_memory_equal(icmp + 8, target.b, 16);
    static const uint8_t option[8] = {2, 1, 0xfe, 0xfd, 0, 0, 0, 0};
    assert_memory_equal(icmp + 24, option, 8);
    assert_true(checksum_ok(icmp_sum(&ip.src, &ip.dst, icmp, 32)));
}

static void ndp_refuses_what_rfc_4861_7_1_1_refuses(void **state)
{
    static const struct {
        const char *rule;
        const char *src, *dst, *target;
        uint8_t options[16];
        size_t options_len;
        size_t offset; /* of the frame; this byte is flipped and the checksum not mended */
        uint8_t flip;
        bool ok;
    } cases[] = {
        {"plain", "fd00::5", "ff02::1:ff00:9", "fd00::9", {0}, 0, 0, 0, true},
        {"unicast, as reachability is probed", "fd00::5", "fd00::9", "fd00::9", {0}, 0, 0, 0, true},
        {"unknown option", "fd00::5", "fd00::9", "fd00::9", {14, 1}, 8, 0, 0, true},
        {"two options",
         "fd00::5",
         "fd00::9",
         "fd00::9",
         {14, 1, 0, 0, 0, 0, 0, 0, 1, 1},
         16,
         0,
         0,
         true},
        {"hop limit 254", "fd00::5", "fd00::9", "fd00::9", {0}, 0, 21, 1, false},
        {"wrong checksum", "fd00::5", "fd00::9", "fd00::9", {0}, 0, 56, 1, false},
        {"wrong payload", "fd00::5", "fd00::9", "fd00::9", {0}, 0, 77, 1, false},
        {"code 1", "fd00::5", "fd00::9", "fd00::9", {0}, 0, 55, 1, false},
        {"another type", "fd00::5", "fd00::9", "fd00::9", {0}, 0, 54, 1, false},
        {"another protocol", "fd00::5", "fd00::9", "fd00::9", {0}, 0, 20, 1, false},
        {"multicast target", "fd00::5", "fd00::9", "ff02::9", {0}, 0, 0, 0, false},
        {"option of length 0", "fd00::5", "fd00::9", "fd00::9", {14, 0}, 8, 0, 0, false},
        {"option beyond the end", "fd00::5", "fd00::9", "fd00::9", {14, 2}, 8, 0, 0, false},
        {"half an option header", "fd00::5", "fd00::9", "fd00::9", {14}, 1, 0, 0, false},
        {"detection", "::", "ff02::1:ff00:9", "fd00::9", {0}, 0, 0, 0, true},
        {"detection to unicast", "::", "fd00::9", "fd00::9", {0}, 0, 0, 0, false},
        {"detection with an address", "::", "ff02::1:ff00:9", "fd00::9", {1, 1}, 8, 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t frame[128];
        struct ndp_solicitation ns;
        size_t n = put_solicitation(frame, cases[i].src, cases[i].dst, cases[i].target,
                                    cases[i].options, cases[i].options_len);
        frame[cases[i].offset] ^= cases[i].flip;
        if (ndp_parse(&ns, frame, n) != cases[i].ok) {
            fail_msg("%s: not %d", cases[i].rule, cases[i].ok);
        }
    }
}

static void ndp_refuses_every_truncation(void **state)
{
    uint8_t frame[128];
    size_t n = put_solicitation(frame, "fd00::5", "ff02::1:ff00:9", "fd00::9", source_option, 8);
    for (size_t len = 0; len < n; len++) {
        uint8_t *exact = malloc(len + 1);
        struct ndp_solicitation ns;
        memcpy(exact, frame, len);
        assert_false(ndp_parse(&ns, exact, len));
        free(exact);
    }
}

static void ndp_detection_is_no_question(void **state)
{
    uint8_t frame[128];
    struct ndp_solicitation ns;
    size_t n = put_solicitation(frame, "::", "ff02::1:ff00:9", "fd00::9", NULL, 0);
    assert_true(ndp_parse(&ns, frame, n));
    assert_false(ndp_is_question(&ns));
}

static size_t put_echo(uint8_t *frame, const char *src, const char *dst, size_t data_len)
{
    struct addr s = addr_of(src), d = addr_of(dst);
    bool v4 = s.family == 4;
    eth_put(frame, &virtual_mac, &mac_a, v4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6);
    uint8_t *icmp = frame + ETH_HEADER_LEN;
    size_t len = ICMP_HEADER_LEN + data_len;
    icmp += ip_put(icmp, &s, &d, v4 ? IP_PROTO_ICMP : IP_PROTO_ICMPV6, len);
    memset(icmp, 0, ICMP_HEADER_LEN);
    icmp[0] = v4 ? 8 : 128;
    put_u32(icmp + 4, 0x12340007);
    memset(icmp + ICMP_HEADER_LEN, 0x5a, data_len);
    checksum_put(icmp + 2, icmp_sum(&s, &d, icmp, len));
    return (size_t)(icmp - frame) + len;
}

static const struct {
    const char *src, *dst;
    size_t headers;
    uint8_t reply;
} echo_pairs[] = {{"10.77.0.5", "10.77.0.1", 34, 0}, {"fd00::5", "fd00::1", 54, 129}};

static void echo_is_replied(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(echo_pairs); i++) {
        uint8_t frame[200], out[200];
        size_t n = put_echo(frame, echo_pairs[i].src, echo_pairs[i].dst, 57);
        memset(frame + n, 0xee, 3); /* padding is not echoed */
        assert_int_equal(icmp_echo_reply(out, sizeof(out), frame, n + 3), n);
        struct eth_header eth;
        struct ip_packet ip;
        assert_true(eth_parse(&eth, out, n));
        assert_memory_equal(&eth.dst, &mac_a, 6);
        assert_memory_equal(&eth.src, &virtual_mac, 6);
        assert_true(ip_parse(&ip, out + ETH_HEADER_LEN, n - ETH_HEADER_LEN));
        struct addr asker = addr_of(echo_pairs[i].src), asked = addr_of(echo_pairs[i].dst);
        assert_true(addr_eq(&ip.src, &asked) && addr_eq(&ip.dst, &asker));
        const uint8_t *icmp = out + echo_pairs[i].headers;
        assert_int_equal(icmp[0], echo_pairs[i].reply);
        assert_int_equal(icmp[1], 0);
        assert_memory_equal(icmp + 4, frame + echo_pairs[i].headers + 4, 4 + 57);
        assert_true(checksum_ok(icmp_sum(&ip.src, &ip.dst, icmp, ip.len - ip.header_len)));
        assert_int_equal(icmp_echo_reply(out, n - 1, frame, n), 0);
        assert_int_equal(icmp_echo_reply(out, n, frame, n), n);
    }
}

static void echo_of_the_largest_packet_fits_or_is_refused(void **state)
{
    static uint8_t frame[66000], out[66000];
    size_t n = put_echo(frame, "10.77.0.5", "10.77.0.1", 65535 - 28);
    assert_int_equal(icmp_echo_reply(out, sizeof(out), frame, n), n);
    n = put_echo(frame, "fd00::5", "fd00::1", 65535 - 8);
    assert_int_equal(icmp_echo_reply(out, sizeof(out), frame, n), n);
}

static void echo_refuses(void **state)
{
    static const struct {
        const char *rule;
        size_t pair, offset, cut;
        uint8_t flip;
    } cases[] = {
        {"a reply", 0, 34, 0, 8},
        {"a code", 0, 35, 0, 1},
        {"a wrong checksum", 0, 36, 0, 1},
        {"damaged data", 0, 50, 0, 1},
        {"UDP", 0, 23, 0, 16},
        {"a fragment", 0, 20, 0, 0x20},
        {"a cut packet", 0, 14, 1, 0},
        {"IPv6: a reply", 1, 54, 0, 1},
        {"IPv6: damaged", 1, 60, 0, 1},
        {"IPv6: another address", 1, 37, 0, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *src = echo_pairs[cases[i].pair].src, *dst = echo_pairs[cases[i].pair].dst;
        uint8_t frame[200], out[200];
        size_t n = put_echo(frame, src, dst, 56) - cases[i].cut;
        frame[cases[i].offset] ^= cases[i].flip;
        if (icmp_echo_reply(out, sizeof(out), frame, n) != 0) {
            fail_msg("%s was answered", cases[i].rule);
        }
    }
}

/* A code that RFC 792 does not know, with a checksum that is right. */
static void echo_with_a_code_is_not_answered(void **state)
{
    uint8_t frame[200], out[200];
    size_t n = put_echo(frame, "10.77.0.5", "10.77.0.1", 56);
    frame[35] = 1;
    put_u16(frame + 36, 0);
    checksum_put(frame + 36, checksum_add(0, frame + 34, n - 34));
    assert_int_equal(icmp_echo_reply(out, sizeof(out), frame, n), 0);
}

static void too_big_quotes_the_packet(void **state)
{
    static const struct {
        const char *src, *dst, *from;
        size_t data, quoted;
    } cases[] = {
        {"10.77.0.5", "10.77.0.9", "10.77.0.1", 1500, 548},
        {"10.77.0.5", "10.77.0.9", "10.77.0.1", 100, 128},
        {"fd00::5", "fd00::9", "fd00::9", 1500, 1232},
        {"fd00::5", "fd00::9", "fd00::9", 100, 148},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t frame[2000], out[ICMP_TOO_BIG_FRAME_MAX];
        struct addr from = addr_of(cases[i].from), asker = addr_of(cases[i].src);
        bool v4 = from.family == 4;
        size_t n = put_echo(frame, cases[i].src, cases[i].dst, cases[i].data);
        size_t m = icmp_too_big(out, sizeof(out), frame, n, &from, 1340);
        struct eth_header eth;
        struct ip_packet ip;
        assert_true(eth_parse(&eth, out, m));
        assert_memory_equal(&eth.dst, &mac_a, 6);
        assert_memory_equal(&eth.src, &virtual_mac, 6);
        assert_int_equal(eth.type, v4 ? 0x0800 : 0x86dd);
        assert_true(ip_parse(&ip, out + ETH_HEADER_LEN, m - ETH_HEADER_LEN));
        assert_true(addr_eq(&ip.src, &from) && addr_eq(&ip.dst, &asker));
        assert_int_equal(ip.proto, v4 ? 1 : 58);
        assert_int_equal(ip.len, ip.header_len + 8 + cases[i].quoted);
        assert_int_equal(m, ETH_HEADER_LEN + ip.len);
        const uint8_t *icmp = out + ETH_HEADER_LEN + ip.header_len;
        assert_int_equal(icmp[0], v4 ? 3 : 2);
        assert_int_equal(icmp[1], v4 ? 4 : 0);
        assert_int_equal(get_u32(icmp + 4), 1340);
        assert_memory_equal(icmp + 8, frame + ETH_HEADER_LEN, cases[i].quoted);
        assert_true(checksum_ok(icmp_sum(&ip.src, &ip.dst, icmp, ip.len - ip.header_len)));
    }
}

static void too_big_is_not_told_where_rfc_1122_forbids(void **state)
{
    static const struct {
        const char *rule;
        const char *src, *dst;
        size_t offset;
        uint8_t flip;
        bool told;
    } cases[] = {
        {"an echo request", "10.77.0.5", "10.77.0.9", 0, 0, true},
        {"an echo reply", "10.77.0.5", "10.77.0.9", 34, 8, true},
        {"any other protocol", "10.77.0.5", "10.77.0.9", 23, 1 ^ 6, true},
        {"without DF", "10.77.0.5", "10.77.0.9", 20, 0x40, false},
        {"a later fragment", "10.77.0.5", "10.77.0.9", 21, 1, false},
        {"an error: unreachable", "10.77.0.5", "10.77.0.9", 34, 8 ^ 3, false},
        {"an error: time exceeded", "10.77.0.5", "10.77.0.9", 34, 8 ^ 11, false},
        {"to a group", "10.77.0.5", "224.0.0.9", 0, 0, false},
        {"from a group", "224.0.0.5", "10.77.0.9", 0, 0, false},
        {"from nobody", "0.0.0.0", "10.77.0.9", 0, 0, false},
        {"an Ethernet group", "10.77.0.5", "10.77.0.9", 0, 1, false},
        {"IPv6: an echo request", "fd00::5", "fd00::9", 0, 0, true},
        {"IPv6: an error", "fd00::5", "fd00::9", 54, 0x80, false},
        {"IPv6: from ::", "::", "fd00::9", 0, 0, false},
        {"IPv6: to a group", "fd00::5", "ff02::1", 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t frame[2000], out[ICMP_TOO_BIG_FRAME_MAX];
        size_t n = put_echo(frame, cases[i].src, cases[i].dst, 1400);
        frame[cases[i].offset] ^= cases[i].flip;
        struct addr from = addr_of(strchr(cases[i].src, ':') ? "fd00::1" : "10.77.0.1");
        size_t m = icmp_too_big(out, sizeof(out), frame, n, &from, 1340);
        if ((m > 0) != cases[i].told) {
            fail_msg("%s: %zu", cases[i].rule, m);
        }
    }
}

static void too_big_needs_room_and_one_family(void **state)
{
    uint8_t frame[2000], out[ICMP_TOO_BIG_FRAME_MAX];
    size_t n = put_echo(frame, "10.77.0.5", "10.77.0.9", 1400);
    struct addr v4 = addr_of("10.77.0.1"), v6 = addr_of("fd00::1");
    assert_int_equal(icmp_too_big(out, sizeof(out), frame, n, &v6, 1340), 0);
    assert_int_equal(icmp_too_big(out, sizeof(out) - 1, frame, n, &v4, 1340), 0);
    assert_int_not_equal(icmp_too_big(out, sizeof(out), frame, n, &v4, 1340), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arp_request_gets_the_reply_of_rfc_826),
        cmocka_unit_test(arp_parse_and_questions),
        cmocka_unit_test(ndp_solicitation_gets_a_solicited_override),
        cmocka_unit_test(ndp_refuses_what_rfc_4861_7_1_1_refuses),
        cmocka_unit_test(ndp_refuses_every_truncation),
        cmocka_unit_test(ndp_detection_is_no_question),
        cmocka_unit_test(echo_is_replied),
        cmocka_unit_test(echo_of_the_largest_packet_fits_or_is_refused),
        cmocka_unit_test(echo_refuses),
        cmocka_unit_test(echo_with_a_code_is_not_answered),
        cmocka_unit_test(too_big_quotes_the_packet),
        cmocka_unit_test(too_big_is_not_told_where_rfc_1122_forbids),
        cmocka_unit_test(too_big_needs_room_and_one_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
