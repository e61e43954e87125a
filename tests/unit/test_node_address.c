// link: peal_core peal_crypto
#include "daemon/node/address.c"
#include "tests/unit/cm.h"

#include <stdlib.h>

static struct net net_of(const char *text)
{
    struct net n;

    assert_true(net_parse(&n, text));
    return n;
}

static void network_service_and_broadcast_are_nobodys(void **state)
{
    static const struct {
        const char *range, *addr;
        bool usable;
    } table[] = {
        {"10.77.0.0/16", "10.77.0.0", false},     {"10.77.0.0/16", "10.77.0.1", false},
        {"10.77.0.0/16", "10.77.0.2", true},      {"10.77.0.0/16", "10.77.255.254", true},
        {"10.77.0.0/16", "10.77.255.255", false}, {"10.77.0.0/16", "10.78.0.2", false},
        {"10.77.5.9/29", "10.77.5.9", false},     {"10.77.5.9/29", "10.77.5.10", true},
        {"10.77.5.9/29", "10.77.5.15", false},    {"10.77.0.0/16", "fd00::2", false},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct net range = net_of(table[i].range);
        struct addr addr;

        assert_true(addr_parse(&addr, table[i].addr));
        assert_int_equal(address_usable(&range, &addr), table[i].usable);
    }
}

static void every_node_meets_each_usable_address_once(void **state)
{
    static const char *const ranges[] = {"10.1.0.0/29", "10.1.0.0/28", "10.1.4.0/24",
                                         "10.1.0.0/20"};

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct net range = net_of(ranges[i]);
        uint32_t count = address_count(&range), first = addr_to_v4(&range.addr);
        bool *met = calloc(net_hosts(&range), sizeof(*met));

        for (uint8_t node = 0; node < 5; node++) {
            struct id id = {{node, 7}};

            for (uint32_t attempt = 0; attempt < count; attempt++) {
                struct addr a = address_candidate(&range, &id, attempt);

                assert_true(address_usable(&range, &a));
                assert_int_equal(met[addr_to_v4(&a) - first], node > 0 ? node % 2 == 1 : false);
                met[addr_to_v4(&a) - first] = node % 2 == 0;
            }
        }
        free(met);
    }
}

static void ranges_without_room_have_no_addresses(void **state)
{
    static const char *const ranges[] = {"10.1.0.0/30", "10.1.0.0/31", "10.1.0.0/32", "fd00::/48"};

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct net range = net_of(ranges[i]);

        assert_int_equal(address_count(&range), 0);
    }
}

static void ipv6_follows_from_the_node_id(void **state)
{
    struct net ula = net_of("fd12:3456:789a::/48"), own, none = {0};
    struct id a = {{1}}, b = {{2}};
    uint8_t hash[HASH_LEN];

    own = address_ipv6(&ula, &a);
    sha256(hash, a.b, ID_LEN);
    assert_int_equal(own.prefix, 64);
    assert_memory_equal(own.addr.b, ula.addr.b, 6);
    assert_memory_equal(own.addr.b + 6, "\0\0", 2);
    assert_memory_equal(own.addr.b + 8, hash, 8);
    none = address_ipv6(&none, &a);
    assert_int_equal(none.addr.family, 0);
    none = address_ipv6(&ula, &b);
    assert_false(addr_eq(&none.addr, &own.addr));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(network_service_and_broadcast_are_nobodys),
        cmocka_unit_test(every_node_meets_each_usable_address_once),
        cmocka_unit_test(ranges_without_room_have_no_addresses),
        cmocka_unit_test(ipv6_follows_from_the_node_id),
    };

    if (crypto_start() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
