#include "tap/vlan.h"

#include <string.h>

#include "overlay/core/wire.h"

enum {
    ADDRESSES_LEN = 12,
    TYPE_CUSTOMER = 0x8100, /* 802.1Q 9.5 */
    TYPE_SERVICE = 0x88a8,
};

static bool is_tag(const uint8_t *p)
{
    uint16_t type = get_u16(p);
    return type == TYPE_CUSTOMER || type == TYPE_SERVICE;
}

void vlan_pull(struct vlan_tags *tags, uint8_t *frame, size_t len)
{
    *tags = (struct vlan_tags){0};
    while (tags->len < VLAN_LEN_MAX && ETH_HEADER_LEN + tags->len + VLAN_TAG_LEN <= len &&
           is_tag(frame + ADDRESSES_LEN + tags->len)) {
        tags->len += VLAN_TAG_LEN;
    }
    if (tags->len > 0) {
        memcpy(tags->bytes, frame + ADDRESSES_LEN, tags->len);
        memmove(frame + tags->len, frame, ADDRESSES_LEN);
    }
}

uint8_t *vlan_push(const struct vlan_tags *tags, uint8_t *frame)
{
    if (tags->len == 0) {
        return frame;
    }
    uint8_t *tagged = frame - tags->len;
    memmove(tagged, frame, ADDRESSES_LEN);
    memcpy(tagged + ADDRESSES_LEN, tags->bytes, tags->len);
    return tagged;
}

bool vlan_eq(const struct vlan_tags *a, const struct vlan_tags *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}
