// link: peal_words peal_tap
/* What comes on a TCP connection: cut into packets alike in whatever pieces it comes, by the
 * control thread and by a worker; and a proxy's answer. */
#include "daemon/frame.h"
#include "daemon/proxy.h"
#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "tap/stream.h"

#include <stdlib.h>
#include <string.h>

struct seen {
    size_t packets, bytes;
    uint32_t sum;
};

static void see(struct seen *seen, const uint8_t *pkt, size_t n)
{
    CHECK(n > 0 && n <= FRAME_PACKET_MAX);
    seen->packets++;
    seen->bytes += n;
    for (size_t i = 0; i < n; i++)
        seen->sum = seen->sum * 31 + pkt[i];
}

static void read_piece(struct frames *f, const uint8_t *p, size_t len, struct seen *seen)
{
    uint8_t *pkt;
    size_t n;

    while ((pkt = frames_next(f, &p, &len, &n)) != NULL)
        see(seen, pkt, n);
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

/* As a worker does: behind what was left of the piece before, in place. */
static struct seen read_in_place(const uint8_t *data, size_t len, size_t piece)
{
    struct stream *s = calloc(1, sizeof *s);
    struct seen seen = {0, 0, 0};
    bool garbage = false;

    for (size_t at = 0; at < len && !garbage; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        uint8_t *room = malloc(s->tail_len + n), *pkt;
        struct stream_cut cut = {.at = room, .end = room + s->tail_len + n};

        memcpy(room, s->tail, s->tail_len);
        memcpy(room + s->tail_len, data + at, n);
        while ((pkt = stream_next(&cut, &n)) != NULL)
            see(&seen, pkt, n);
        garbage = cut.garbage;
        if (!garbage)
            stream_keep(s, &cut);
        free(room);
    }
    free(s);
    return seen;
}

static bool same(const struct seen *a, const struct seen *b)
{
    return a->packets == b->packets && a->bytes == b->bytes && a->sum == b->sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t head;

    if (len == 0)
        return 0;
    struct seen whole = read_all(data + 1, len - 1, SIZE_MAX / 2);
    struct seen pieces = read_all(data + 1, len - 1, 1u + data[0]);

    struct seen in_place = read_in_place(data + 1, len - 1, 1u + data[0]);

    CHECK(same(&whole, &pieces) && same(&whole, &in_place));
    if (proxy_reply((const char *)data, len, &head) == PROXY_OPEN)
        CHECK(head >= 4 && head <= len);
    return 0;
}
