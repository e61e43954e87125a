// link: peal_words
/* What comes on a TCP connection: cut into packets alike in whatever pieces it comes; and a proxy's
 * answer. */
#include "daemon/frame.h"
#include "daemon/proxy.h"
#include "overlay/core/err.h"
#include "overlay/core/wire.h"

#include <stdlib.h>
#include <string.h>

struct seen {
    size_t packets, bytes;
    uint32_t sum;
};

static void read_piece(struct frames *f, const uint8_t *p, size_t len, struct seen *seen)
{
    uint8_t *pkt;
    size_t n;

    while ((pkt = frames_next(f, &p, &len, &n)) != NULL) {
        CHECK(n > 0 && n <= FRAME_PACKET_MAX);
        seen->packets++;
        seen->bytes += n;
        for (size_t i = 0; i < n; i++)
            seen->sum = seen->sum * 31 + pkt[i];
    }
    CHECK(len == 0 || frames_garbage(f));
}

static struct seen read_all(const uint8_t *data, size_t len, size_t piece)
{
    struct frames *f = calloc(1, sizeof *f);
    struct seen seen = {0, 0, 0};

    for (size_t at = 0; at < len; at += piece)
        read_piece(f, data + at, len - at < piece ? len - at : piece, &seen);
    free(f);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t head;

    if (len == 0)
        return 0;
    struct seen whole = read_all(data + 1, len - 1, SIZE_MAX / 2);
    struct seen pieces = read_all(data + 1, len - 1, 1u + data[0]);

    CHECK(whole.packets == pieces.packets && whole.bytes == pieces.bytes &&
          whole.sum == pieces.sum);
    if (proxy_reply((const char *)data, len, &head) == PROXY_OPEN)
        CHECK(head >= 4 && head <= len);
    return 0;
}
