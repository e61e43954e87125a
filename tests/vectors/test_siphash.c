// link: peal_crypto
/* SipHash-2-4 against the paper's appendix A, the reference table, and libsodium at every length.
 */
#include "overlay/core/err.h"
#include "overlay/core/table.h"
#include "tests/unit/cm.h"

#include <sodium.h>
#include <string.h>

static void matches_the_reference_vectors(void **state)
{
    static const struct {
        size_t len;
        uint64_t hash;
    } table[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},
        {1, UINT64_C(0x74f839c593dc67fd)},
        {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)}, /* the paper's */
    };
    uint8_t key[16], message[16];

    for (uint8_t i = 0; i < 16; i++)
        key[i] = message[i] = i;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_true(siphash(key, message, table[i].len) == table[i].hash);
}

static void agrees_with_libsodium_at_every_length(void **state)
{
    uint8_t key[16], message[100], theirs[8];

    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 73 + 5);
    memcpy(key, message + 50, sizeof key);
    for (size_t len = 0; len <= sizeof message; len++) {
        uint64_t hash = siphash(key, message, len);

        crypto_shorthash_siphash24(theirs, message, len, key);
        for (size_t i = 0; i < sizeof theirs; i++)
            assert_int_equal(theirs[i], (uint8_t)(hash >> 8 * i)); /* little-endian */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_reference_vectors),
        cmocka_unit_test(agrees_with_libsodium_at_every_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
