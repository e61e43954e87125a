// link: peal_crypto
/* Maps of a ring: what is taken is written as it was read, and names only what is there. */
#include "overlay/crypto/ringmap.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct ringmap m;
    static uint8_t again[RINGMAP_MAX];
    static const struct sign_secret key;

    if (!ringmap_read(&m, data, len))
        return 0;
    CHECK(m.count > 0 && m.count <= RINGMAP_NODES_MAX);
    for (size_t i = 0; i < m.count; i++)
        for (size_t side = 0; side < 2; side++)
            for (size_t k = 0; k < m.nodes[i].count[side]; k++)
                CHECK(m.nodes[i].near[side][k] < m.count);
    CHECK(ringmap_write(&m, &key, again) == len);
    CHECK(memcmp(again, data, len - SIGNATURE_LEN) == 0);
    return 0;
}
