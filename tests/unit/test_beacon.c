// link: peal_settings
/* LAN beacons: read by the group, from where they say, and by nobody else. */
#include "daemon/beacon.h"
#include "overlay/core/err.h"
#include "tests/unit/cm.h"

#include <sodium.h>
#include <string.h>

static struct secret key_of(uint8_t group)
{
    struct secret group_key, key;

    memset(group_key.b, group, sizeof group_key.b);
    beacon_key(&key, &group_key);
    return key;
}

static struct beacon beacon_at(const char *endpoint)
{
    struct beacon b;

    memset(&b, 0, sizeof b);
    assert_true(endpoint_parse(&b.ep, endpoint));
    memset(b.node.b, 0x5a, sizeof b.node.b);
    return b;
}

static void seal(uint8_t out[BEACON_LEN], const struct beacon *b, const struct secret *key)
{
    uint8_t nonce[24];

    randombytes_buf(nonce, sizeof nonce);
    beacon_seal(out, b, key, nonce);
}

static void the_group_reads_what_was_said(void **state)
{
    static const char *const endpoints[] = {"192.168.1.10:4747", "[2001:db8::10]:1"};

    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        struct beacon b = beacon_at(endpoints[i]), got;
        struct secret key = key_of(1);
        uint8_t bytes[BEACON_LEN];

        seal(bytes, &b, &key);
        assert_true(beacon_open(&got, bytes, sizeof bytes, &key, &b.ep.addr));
        assert_true(endpoint_eq(&got.ep, &b.ep));
        assert_true(id_eq(&got.node, &b.node));
    }
}

static void nobody_else_reads_it_and_no_byte_may_change(void **state)
{
    struct beacon b = beacon_at("192.168.1.10:4747"), got;
    struct secret key = key_of(1), other = key_of(2);
    struct addr elsewhere = beacon_at("192.168.1.11:4747").ep.addr;
    uint8_t bytes[BEACON_LEN];

    seal(bytes, &b, &key);
    assert_false(beacon_open(&got, bytes, sizeof bytes, &other, &b.ep.addr));
    assert_false(beacon_open(&got, bytes, sizeof bytes, &key, &elsewhere));
    assert_false(beacon_open(&got, bytes, sizeof bytes - 1, &key, &b.ep.addr));
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        assert_false(beacon_open(&got, bytes, sizeof bytes, &key, &b.ep.addr));
        bytes[i] ^= 1;
    }
    assert_true(beacon_open(&got, bytes, sizeof bytes, &key, &b.ep.addr));
}

static void two_of_the_same_have_nothing_in_common(void **state)
{
    struct beacon b = beacon_at("192.168.1.10:4747");
    struct secret key = key_of(1);
    uint8_t one[BEACON_LEN], two[BEACON_LEN];
    unsigned same = 0;

    seal(one, &b, &key);
    seal(two, &b, &key);
    for (size_t i = 0; i < BEACON_LEN; i++)
        same += one[i] == two[i];
    assert_in_range(same, 0, 8); /* of 80 random bytes 0.3 are the same */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_group_reads_what_was_said),
        cmocka_unit_test(nobody_else_reads_it_and_no_byte_may_change),
        cmocka_unit_test(two_of_the_same_have_nothing_in_common),
    };

    CHECK(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
