// link: peal_overlay PkgConfig::JANSSON
/* Our STUN reader and writer against the sample messages of RFC 5769 and RFC 8489 B.1. */
#include "overlay/stun.c"

#include <jansson.h>

#include "tests/unit/cm.h"

enum { MESSAGE_SIZE = 512 };

static size_t message_of(json_t *vector, uint8_t out[MESSAGE_SIZE])
{
    const char *hex = json_string_value(json_object_get(vector, "hex"));
    size_t len = strlen(hex) / 2;

    assert_true(len <= MESSAGE_SIZE && hex_parse(out, len, hex));
    return len;
}

/* What the answer says about the address, written by us: the attribute's bytes are in the vector.
 */
static void writes_the_same(const struct stun_message *m, const uint8_t *bytes, size_t len)
{
    uint8_t ours[STUN_ANSWER_MAX];
    size_t attribute = stun_write_success(&m->id, &m->mapped, ours) - STUN_HEADER_LEN, i = 0;

    while (i + attribute <= len && memcmp(bytes + i, ours + STUN_HEADER_LEN, attribute) != 0)
        i += 4;
    assert_true(i + attribute <= len);
    assert_memory_equal(bytes + 4, ours + 4, 4 + STUN_ID_LEN);
}

static void every_sample_is_read_and_its_address_written_back(void **state)
{
    json_t *doc = json_load_file("data/stun/stun-vectors.json", 0, NULL), *v;
    size_t i, addresses = 0;

    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        const char *mapped = json_string_value(json_object_get(v, "xor_mapped"));
        uint8_t bytes[MESSAGE_SIZE];
        size_t len = message_of(v, bytes);
        struct stun_message m;
        struct endpoint ep;

        assert_true(stun_read(&m, bytes, len));
        assert_int_equal(m.mapped.addr.family != 0, mapped != NULL);
        if (mapped == NULL)
            continue;
        assert_int_equal(m.type, STUN_BINDING_SUCCESS);
        assert_true(endpoint_parse(&ep, mapped));
        assert_true(endpoint_eq(&ep, &m.mapped));
        writes_the_same(&m, bytes, len);
        addresses++;
    }
    assert_int_equal(addresses, 2);
    json_decref(doc);
}

static void a_changed_byte_under_a_fingerprint_is_found(void **state)
{
    json_t *doc = json_load_file("data/stun/stun-vectors.json", 0, NULL), *v;
    size_t i, changed = 0;

    json_array_foreach(json_object_get(doc, "vectors"), i, v)
    {
        uint8_t bytes[MESSAGE_SIZE];
        size_t len = message_of(v, bytes);
        struct stun_message m;

        if (!json_is_true(json_object_get(v, "fingerprint")))
            continue;
        for (size_t at = 0; at < len; at++, changed++) {
            if (at == len - FINGERPRINT_LEN || at == len - FINGERPRINT_LEN + 1)
                continue; /* then it is no FINGERPRINT any more */
            bytes[at] ^= 0x10;
            assert_false(stun_read(&m, bytes, len));
            bytes[at] ^= 0x10;
        }
    }
    assert_true(changed > 200);
    json_decref(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_is_read_and_its_address_written_back),
        cmocka_unit_test(a_changed_byte_under_a_fingerprint_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
