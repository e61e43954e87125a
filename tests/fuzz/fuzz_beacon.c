// link: peal_settings
/* LAN beacons: anything from outside is refused; anything that a member could have sealed is read
 * within bounds. */
#include "daemon/beacon.h"
#include "overlay/core/err.h"

#include <sodium.h>
#include <string.h>

enum { NONCE_LEN = 24, BODY_LEN = BEACON_LEN - NONCE_LEN - 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct secret key = {{1}};
    const struct addr from = addr_v4(0xc0a8010a);
    uint8_t body[BODY_LEN] = {0}, sealed[BEACON_LEN] = {0};
    struct beacon b;

    CHECK(!beacon_open(&b, data, len, &key, &from));
    memcpy(body, data, len < sizeof body ? len : sizeof body);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_LEN, NULL, body, sizeof body, NULL, 0,
                                               NULL, sealed, key.b);
    if (beacon_open(&b, sealed, sizeof sealed, &key, &from))
        CHECK(b.ep.port != 0 && addr_eq(&b.ep.addr, &from));
    return 0;
}
