#include "daemon/beacon.h"

#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "overlay/crypto/box.h"

#include <string.h>

enum {
    BEACON_VERSION = 1,
    BODY_LEN = 1 + 1 + 2 + 16 + ID_LEN,
};
_Static_assert(BODY_LEN + BOX_EXTRA_LEN == BEACON_LEN, "as drawn in beacon.h");

void beacon_key(struct secret *out, const struct secret *group_key)
{
    kdf(out, group_key, "peal lan beacon", NULL, 0);
}

void beacon_seal(uint8_t out[BEACON_LEN], const struct beacon *b, const struct secret *key,
                 const uint8_t nonce[24])
{
    uint8_t body[BODY_LEN];
    struct writer w = writer_of(body, sizeof body);

    write_u8(&w, BEACON_VERSION);
    write_u8(&w, b->ep.addr.family);
    write_u16(&w, b->ep.port);
    write_bytes(&w, b->ep.addr.b, sizeof b->ep.addr.b);
    write_id(&w, &b->node);
    CHECK(writer_len(&w) == BODY_LEN);
    box_seal(out, nonce, body, BODY_LEN, &(struct bytes){NULL, 0}, key);
}

bool beacon_open(struct beacon *out, const uint8_t *bytes, size_t len, const struct secret *key,
                 const struct addr *from)
{
    uint8_t body[BODY_LEN];
    struct reader r;
    const uint8_t *address;

    memset(out, 0, sizeof *out);
    if (len != BEACON_LEN || !box_open(body, bytes, len, &(struct bytes){NULL, 0}, key))
        return false;
    r = reader_of(body, sizeof body);
    if (read_u8(&r) != BEACON_VERSION)
        return false;
    out->ep.addr.family = read_u8(&r);
    out->ep.port = read_u16(&r);
    address = read_bytes(&r, sizeof out->ep.addr.b);
    memcpy(out->ep.addr.b, address, sizeof out->ep.addr.b);
    out->node = read_id(&r);
    return reader_done(&r) && out->ep.port != 0 && addr_eq(&out->ep.addr, from);
}
