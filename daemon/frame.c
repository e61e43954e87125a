#include "daemon/frame.h"

#include "overlay/core/wire.h"

#include <string.h>

/* Moves what is missing up to `want`. True when all of it is there. */
static bool fill(struct frames *f, size_t want, const uint8_t **bytes, size_t *len)
{
    size_t n = want - f->len;

    n = n < *len ? n : *len;
    if (n > 0)
        memcpy(f->bytes + f->len, *bytes, n);
    f->len += n;
    *bytes += n;
    *len -= n;
    return f->len == want;
}

uint8_t *frames_next(struct frames *f, const uint8_t **bytes, size_t *len, size_t *packet_len)
{
    size_t n;

    *packet_len = 0;
    if (f->garbage || (f->len < FRAME_HEADER_LEN && !fill(f, FRAME_HEADER_LEN, bytes, len)))
        return NULL;
    n = get_u16(f->bytes);
    if (n == 0 || n > FRAME_PACKET_MAX) {
        f->garbage = true;
        return NULL;
    }
    if (!fill(f, FRAME_HEADER_LEN + n, bytes, len))
        return NULL;
    f->len = 0;
    *packet_len = n;
    return f->bytes + FRAME_HEADER_LEN;
}

bool frames_garbage(const struct frames *f)
{
    return f->garbage;
}

const uint8_t *frames_begun(const struct frames *f, size_t *len)
{
    *len = f->len;
    return f->bytes;
}
