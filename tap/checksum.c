#include "tap/checksum.h"

#include <arpa/inet.h>
#include <string.h>

#include "overlay/core/err.h"

uint64_t checksum_add(uint64_t sum, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    uint32_t word = 0;
    for (; len >= 32; len -= 32, p += 32) {
        uint64_t w[4];
        memcpy(w, p, sizeof(w));
        sum += (w[0] & UINT32_MAX) + (w[0] >> 32) + (w[1] & UINT32_MAX) + (w[1] >> 32);
        sum += (w[2] & UINT32_MAX) + (w[2] >> 32) + (w[3] & UINT32_MAX) + (w[3] >> 32);
    }
    for (; len >= 4; len -= 4, p += 4) {
        memcpy(&word, p, 4);
        sum += word;
    }
    word = 0;
    memcpy(&word, p, len); /* the tail is padded with zeros at its end, in either byte order */
    return sum + word;
}

uint64_t checksum_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto,
                         uint32_t upper_len)
{
    CHECK(src->family == dst->family);
    size_t len = src->family == 4 ? 4 : 16;
    uint64_t sum = checksum_add(0, src->b, len);
    sum = checksum_add(sum, dst->b, len);
    return sum + htonl(upper_len) + htonl(proto);
}

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

void checksum_put(uint8_t field[2], uint64_t sum)
{
    uint16_t v = (uint16_t)~fold(sum);
    memcpy(field, &v, 2);
}

void checksum_put_udp(uint8_t field[2], uint64_t sum)
{
    uint16_t v = (uint16_t)~fold(sum);
    if (v == 0) {
        v = 0xffff;
    }
    memcpy(field, &v, 2);
}

void checksum_put_sum(uint8_t field[2], uint64_t sum)
{
    uint16_t v = fold(sum);
    memcpy(field, &v, 2);
}

bool checksum_ok(uint64_t sum)
{
    return fold(sum) == 0xffff;
}
