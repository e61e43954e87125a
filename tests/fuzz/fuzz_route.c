// link: peal_overlay
/*
 * A routed message comes to a node that has some peers: the header is read, the next hop chosen.
 *   1 byte peers, for each: 2 bytes of its id, state, flags, number of entries, 2 bytes of each's
 * id; then the message. Held up: what is read is written the same; a message goes on to a peer
 * only, with one hop more, never to its own source while that seeks its place, and not beyond the
 * limit.
 */
#include "overlay/core/err.h"
#include "overlay/route.h"

#include <string.h>

enum { PEERS_MAX = 12 };

static struct id id_of(uint16_t top)
{
    struct id id = {{0}};

    put_u16(id.b, top);
    id.b[ID_LEN - 1] = 1;
    return id;
}

static void no_random(void *host, void *buf, size_t len)
{
    memset(buf, 0, len);
}

static void no_log(void *host, enum log_level level, const char *line)
{
}

static void add_peer(struct ring *ring, struct ring_peer *peer, struct reader *r)
{
    struct ring_entry entries[RING_SAID_MAX];
    struct ring_said said = {.entries = entries};
    uint8_t flags, n;

    peer->id = id_of(read_u16(r));
    peer->state = read_u8(r) % (OVERLAY_LEAVING + 1);
    flags = read_u8(r);
    peer->indirect = (flags & 1) != 0;
    peer->needed = (flags & 2) != 0;
    peer->welcome = (flags & 4) != 0;
    peer->shortcut = (flags & 8) != 0;
    peer->rtt = flags;
    n = read_u8(r) % (RING_SAID_MAX + 1);
    said.counts[RING_LEFT] = n < OVERLAY_NEAR ? n : OVERLAY_NEAR;
    n -= said.counts[RING_LEFT];
    said.counts[RING_RIGHT] = n < OVERLAY_NEAR ? n : OVERLAY_NEAR;
    said.shortcuts = n - said.counts[RING_RIGHT];
    n = (uint8_t)(said.counts[RING_LEFT] + n);
    for (size_t i = 0; i < n; i++)
        entries[i] = (struct ring_entry){
            .id = id_of(read_u16(r)), .rtt = peer->rtt, .flags = (uint8_t)(i & 3)};
    if (id_eq(&peer->id, &ring->self) || ring_find(ring, &peer->id) != NULL)
        return;
    CHECK(ring_hear(ring, peer, &said, true) == 0);
    ring_add(ring, peer);
}

static void judge(const struct ring *ring, const struct route_header *came,
                  const struct route_header *h, const struct ring_peer *next,
                  enum route_verdict verdict)
{
    if (verdict != ROUTE_FORWARD) {
        CHECK(h->hops == came->hops);
        return;
    }
    CHECK(next != NULL && ring_find(ring, &next->id) == next);
    CHECK(h->hops == came->hops + 1 && h->hops <= ROUTE_HOPS_MAX);
    CHECK((h->flags & ROUTE_FLAG_SEEK) == 0 || !id_eq(&next->id, &h->source) ||
          (h->flags & ROUTE_FLAG_MODE) == ROUTE_EXACT);
}

static void take(const struct ring *ring, const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len);
    struct route_header came, h, again;
    enum route_verdict verdict;
    struct ring_peer *next;
    uint8_t out[ROUTE_HEADER_MAX];
    struct writer w = writer_of(out, sizeof out);

    if (!route_read(&r, &came))
        return;
    route_write(&w, &came);
    CHECK(!w.failed);
    r = reader_of(out, writer_len(&w));
    CHECK(route_read(&r, &again) && reader_done(&r));
    CHECK(id_eq(&again.key, &came.key) && id_eq(&again.source, &came.source) &&
          id_eq(&again.via, &came.via) && id_eq(&again.through, &came.through) &&
          memcmp(again.bound, came.bound, sizeof came.bound) == 0 && again.hops == came.hops);
    for (int direct = 0; direct < 2; direct++) {
        h = came;
        verdict = route_step(ring, &h, &(struct route_way){.direct = direct != 0}, &next);
        judge(ring, &came, &h, next, verdict);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct env env = {.random = no_random, .log = no_log, .now_us = SEC(1)};
    struct id self = id_of(0x8000);
    struct ring_peer peers[PEERS_MAX] = {0};
    struct reader r = reader_of(data, size);
    struct ring ring;
    size_t n = read_u8(&r) % (PEERS_MAX + 1);

    ring_init(&ring, &self, &env);
    ring_set_state(&ring, n % 3 == 2 ? OVERLAY_JOINING : OVERLAY_MEMBER);
    for (size_t i = 0; i < n && !r.failed; i++)
        add_peer(&ring, &peers[i], &r);
    if (!r.failed) {
        (void)ring_update(&ring);
        take(&ring, r.p, reader_left(&r));
    }
    ring_clear(&ring);
    for (size_t i = 0; i < PEERS_MAX; i++)
        ring_peer_clear(&peers[i]);
    return 0;
}
