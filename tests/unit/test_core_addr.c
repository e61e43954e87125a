// link: peal_core
#include "overlay/core/addr.h"
#include "overlay/core/err.h"
#include "tests/unit/cm.h"

#include <string.h>

static struct addr addr_of(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, text));
    return a;
}

static struct net net_of(const char *text)
{
    struct net n;

    assert_true(net_parse(&n, text));
    return n;
}

static void addresses_are_written_after_rfc_5952(void **state)
{
    static const struct {
        const char *text, *canonical; /* NULL: refused */
    } table[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"2001:DB8::1", "2001:db8::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:0db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"::", "::"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
        {"", NULL},
        {"192.0.2", NULL},
        {"192.0.2.256", NULL},
        {"192.0.2.01", NULL},
        {"0x7f.0.0.1", NULL},
        {"1", NULL},
        {" 192.0.2.1", NULL},
        {"192.0.2.1 ", NULL},
        {"fe80::1%eth0", NULL},
        {"2001:db8::1::2", NULL},
        {"1:2:3:4:5:6:7", NULL},
        {"[::1]", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char text[ADDR_TEXT_SIZE];
        struct addr a;

        memset(&a, 0xaa, sizeof a);
        assert_int_equal(addr_parse(&a, table[i].text), table[i].canonical != NULL);
        assert_string_equal(addr_text(&a, text), table[i].canonical ? table[i].canonical : "none");
    }
}

static void address_kinds(void **state)
{
    enum { LOOPBACK = 1, LINK_LOCAL = 2, PRIVATE = 4, MULTICAST = 8, UNSPECIFIED = 16 };
    static const struct {
        const char *text;
        int kinds;
    } table[] = {
        {"127.0.0.1", LOOPBACK},
        {"127.255.255.255", LOOPBACK},
        {"128.0.0.1", 0},
        {"::1", LOOPBACK},
        {"::2", 0},
        {"169.254.0.1", LINK_LOCAL},
        {"169.255.0.1", 0},
        {"fe80::1", LINK_LOCAL},
        {"febf::1", LINK_LOCAL},
        {"fec0::1", 0},
        {"10.0.0.0", PRIVATE},
        {"11.0.0.0", 0},
        {"172.16.0.1", PRIVATE},
        {"172.31.255.255", PRIVATE},
        {"172.32.0.0", 0},
        {"192.168.255.1", PRIVATE},
        {"192.169.0.0", 0},
        {"100.64.0.1", PRIVATE},
        {"100.127.255.1", PRIVATE},
        {"100.128.0.0", 0},
        {"fc00::", PRIVATE},
        {"fdff::1", PRIVATE},
        {"fe00::1", 0},
        {"224.0.0.1", MULTICAST},
        {"239.255.255.1", MULTICAST},
        {"240.0.0.1", 0},
        {"ff02::1", MULTICAST},
        {"0.0.0.0", UNSPECIFIED},
        {"::", UNSPECIFIED},
        {"0.0.0.1", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct addr a = addr_of(table[i].text);
        int kinds = (addr_is_loopback(&a) ? LOOPBACK : 0) |
                    (addr_is_link_local(&a) ? LINK_LOCAL : 0) |
                    (addr_is_private(&a) ? PRIVATE : 0) | (addr_is_multicast(&a) ? MULTICAST : 0) |
                    (addr_is_unspecified(&a) ? UNSPECIFIED : 0);

        assert_int_equal(kinds, table[i].kinds);
    }
}

static void an_address_without_family_is_nothing(void **state)
{
    const struct addr none = {.family = 0}, other = {.family = 0, .b = {1}};

    assert_true(addr_eq(&none, &other));
    assert_false(addr_is_unspecified(&none) || addr_is_loopback(&none) || addr_is_private(&none));
}

static void networks_need_a_prefix_in_range(void **state)
{
    static const struct {
        const char *text, *again; /* NULL: refused */
    } table[] = {
        {"10.77.0.0/16", "10.77.0.0/16"},
        {"10.77.1.2/16", "10.77.1.2/16"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"192.0.2.1/32", "192.0.2.1/32"},
        {"fd00::1/48", "fd00::1/48"},
        {"::/128", "::/128"},
        {"10.77.0.0", NULL},
        {"10.77.0.0/", NULL},
        {"10.77.0.0/33", NULL},
        {"::/129", NULL},
        {"10.77.0.0/016", NULL},
        {"10.77.0.0/-1", NULL},
        {"10.77.0.0/+1", NULL},
        {"10.77.0.0/16 ", NULL},
        {"/16", NULL},
        {"10.77.0.0/16/16", NULL},
        {"10.77.0.0/4294967312", NULL},
        {"x10.77.0.0/16", NULL},
        {"10.77.0.0/0x10", NULL},
        {"1111111111111111111111111111111111111111111111111111/16", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char text[NET_TEXT_SIZE];
        struct net n;

        assert_int_equal(net_parse(&n, table[i].text), table[i].again != NULL);
        if (table[i].again != NULL)
            assert_string_equal(net_text(&n, text), table[i].again);
        else
            assert_int_equal(n.addr.family, 0);
    }
}

static void containment_and_overlap(void **state)
{
    static const struct {
        const char *net, *inside, *outside;
    } contains[] = {
        {"10.77.0.0/16", "10.77.255.255", "10.78.0.0"},
        {"10.77.3.4/16", "10.77.0.0", "10.76.255.255"},
        {"10.77.0.128/25", "10.77.0.128", "10.77.0.127"},
        {"192.0.2.7/32", "192.0.2.7", "192.0.2.6"},
        {"0.0.0.0/0", "255.255.255.255", "::"},
        {"fd00:1:2::/47", "fd00:1:3:ffff::", "fd00:1:4::"},
        {"::/0", "ffff::", "0.0.0.0"},
    };
    static const struct {
        const char *a, *b;
        bool overlap;
    } overlaps[] = {
        {"10.77.0.0/16", "10.77.5.0/24", true},
        {"10.77.5.0/24", "10.77.0.0/16", true},
        {"10.77.0.0/16", "10.78.0.0/16", false},
        {"0.0.0.0/0", "10.0.0.0/8", true},
        {"::/0", "0.0.0.0/0", false},
    };
    const struct net broken = {.addr = {.family = 4}, .prefix = 33};
    const struct addr any = addr_v4(0);

    for (size_t i = 0; i < ARRAY_LEN(contains); i++) {
        struct net net = net_of(contains[i].net);
        struct addr in = addr_of(contains[i].inside), out = addr_of(contains[i].outside);

        assert_true(net_contains(&net, &in));
        assert_false(net_contains(&net, &out));
    }
    for (size_t i = 0; i < ARRAY_LEN(overlaps); i++) {
        struct net a = net_of(overlaps[i].a), b = net_of(overlaps[i].b);

        assert_int_equal(net_overlaps(&a, &b), overlaps[i].overlap);
    }
    assert_false(net_contains(&broken, &any));
}

static void hosts_are_counted_from_the_lowest_address(void **state)
{
    static const struct {
        const char *net;
        uint32_t n;
        const char *host;
        uint32_t hosts;
    } table[] = {
        {"10.77.9.9/16", 1, "10.77.0.1", 65536}, {"10.77.0.0/16", 65535, "10.77.255.255", 65536},
        {"192.0.2.5/30", 3, "192.0.2.7", 4},     {"192.0.2.5/32", 0, "192.0.2.5", 1},
        {"0.0.0.0/0", 1, "0.0.0.1", UINT32_MAX}, {"128.0.0.0/1", 0, "128.0.0.0", 0x80000000u},
    };
    struct net v6 = net_of("fd00:1:2:3:4::5/56");
    struct addr first = net_first(&v6), want = addr_of("fd00:1:2::");

    assert_true(addr_eq(&first, &want));
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct net net = net_of(table[i].net);
        struct addr host = net_host(&net, table[i].n);

        want = addr_of(table[i].host);
        assert_true(addr_eq(&host, &want));
        assert_int_equal(net_hosts(&net), table[i].hosts);
    }
}

static void what_one_customer_has_is_one_prefix(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"192.0.2.1", "192.0.2.255", true},
        {"192.0.2.1", "192.0.3.1", false},
        {"2001:db8:0:12::1", "2001:db8:0:34:5::1", true},
        {"2001:db8:0:112::1", "2001:db8:0:212::1", false},
        {"0.0.0.0", "::", false},
    };
    const struct addr none = {.family = 0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct addr a, b;

        assert_true(addr_parse(&a, cases[i].a) && addr_parse(&b, cases[i].b));
        assert_int_equal(addr_prefix(&a) == addr_prefix(&b), cases[i].same);
        assert_true(addr_prefix(&a) != 0);
    }
    assert_int_equal(addr_prefix(&none), 0);
}

static void endpoints_are_numeric_with_a_port(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } table[] = {
        {"192.0.2.1:4747", true},
        {"[2001:db8::1]:4747", true},
        {"192.0.2.1:1", true},
        {"[::]:65535", true},
        {"192.0.2.1", false},
        {"192.0.2.1:", false},
        {"192.0.2.1:0", false},
        {"192.0.2.1:65536", false},
        {"192.0.2.1:04747", false},
        {"2001:db8::1:4747", false},
        {"[192.0.2.1]:4747", false},
        {"[2001:db8::1]", false},
        {"[2001:db8::1]4747", false},
        {"[2001:db8::1", false},
        {"host:4747", false},
        {":4747", false},
        {"", false},
        {"[", false},
        {"192.0.2.1:+1", false},
        {"192.0.2.1:1 ", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char text[ENDPOINT_TEXT_SIZE];
        struct endpoint e, same;

        assert_int_equal(endpoint_parse(&e, table[i].text), table[i].ok);
        if (!table[i].ok) {
            assert_int_equal(e.port, 0);
            continue;
        }
        assert_string_equal(endpoint_text(&e, text), table[i].text);
        assert_true(endpoint_parse(&same, text) && endpoint_eq(&e, &same));
        same.port ^= 1;
        assert_false(endpoint_eq(&e, &same));
    }
}

static void macs(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } table[] = {
        {"fe:fd:00:00:00:0a", true},  {"FE:FD:00:00:00:0A", true},   {"fe:fd:00:00:00", false},
        {"fe:fd:00:00:00:", false},   {"fe:fd:00:00:00:0", false},   {"fe:fd:00:00:00:0a:", false},
        {"fe-fd-00-00-00-0a", false}, {"fefd0000000a", false},       {"", false},
        {"fe:fd:00:00:00:0g", false}, {"fe:fd:00:00:00:0a0", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char text[18];
        struct mac m;

        assert_int_equal(mac_parse(&m, table[i].text), table[i].ok);
        assert_string_equal(mac_text(&m, text),
                            table[i].ok ? "fe:fd:00:00:00:0a" : "00:00:00:00:00:00");
    }
}

#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void names_are_ldh_labels(void **state)
{
    static const struct {
        const char *text;
        bool label, name;
    } table[] = {
        {"a", true, true},
        {"alice-ws", true, true},
        {"3com", true, true},
        {L63, true, true},
        {L63 "a", false, false},
        {"", false, false},
        {"-a", false, false},
        {"a-", false, false},
        {"a_b", false, false},
        {"a b", false, false},
        {"a/../b", false, false},
        {"a\n", false, false},
        {"caf\xc3\xa9", false, false},
        {"a.b", false, true},
        {"a..b", false, false},
        {".a", false, false},
        {"a.", false, false},
        {L63 "." L63 "." L63 ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         false, true},
        {L63 "." L63 "." L63 ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_int_equal(label_valid(table[i].text, strlen(table[i].text)), table[i].label);
        assert_int_equal(name_valid(table[i].text), table[i].name);
    }
    assert_false(label_valid("a\0b", 3));
}

static void labels_are_lowered_or_refused(void **state)
{
    char out[8];

    assert_true(label_normalize(out, sizeof out, "AbC-9", 5));
    assert_string_equal(out, "abc-9");
    assert_true(label_normalize(out, sizeof out, "sevenxx", 7));
    assert_false(label_normalize(out, sizeof out, "eightxxx", 8));
    assert_string_equal(out, "");
    assert_false(label_normalize(out, sizeof out, "no_way", 6));
    assert_false(label_normalize(out, 0, "a", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_written_after_rfc_5952),
        cmocka_unit_test(address_kinds),
        cmocka_unit_test(an_address_without_family_is_nothing),
        cmocka_unit_test(networks_need_a_prefix_in_range),
        cmocka_unit_test(containment_and_overlap),
        cmocka_unit_test(hosts_are_counted_from_the_lowest_address),
        cmocka_unit_test(what_one_customer_has_is_one_prefix),
        cmocka_unit_test(endpoints_are_numeric_with_a_port),
        cmocka_unit_test(macs),
        cmocka_unit_test(names_are_ldh_labels),
        cmocka_unit_test(labels_are_lowered_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
