#include "overlay/crypto/ringmap.h"

#include "overlay/core/wire.h"

#include <string.h>

static const char label[] = "peal ringmap";

enum { LABEL_LEN = sizeof label - 1, VERSION = 1, FLAG_CUT = 1 };

static void write_node(struct writer *w, const struct ringmap_node *n)
{
    write_id(w, &n->node);
    write_u8(w, n->flags);
    write_u8(w, n->path);
    write_u8(w, n->count[0]);
    write_u8(w, n->count[1]);
    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; i < RINGMAP_NEAR; i++)
            write_u16(w, i < n->count[side] ? n->near[side][i] : 0);
}

size_t ringmap_write(const struct ringmap *m, const struct sign_secret *key,
                     uint8_t out[RINGMAP_MAX])
{
    struct writer w = writer_of(out, RINGMAP_MAX);
    size_t len;

    CHECK(m->count <= RINGMAP_NODES_MAX);
    write_bytes(&w, label, LABEL_LEN);
    write_u8(&w, VERSION);
    write_id(&w, &m->group);
    write_id(&w, &m->node);
    write_u64(&w, (uint64_t)m->at_s);
    write_u32(&w, m->members);
    write_u8(&w, m->cut ? FLAG_CUT : 0);
    write_u16(&w, (uint16_t)m->count);
    for (size_t i = 0; i < m->count; i++)
        write_node(&w, &m->nodes[i]);
    len = writer_len(&w);
    sign(out + len, out, len, key);
    return len + SIGNATURE_LEN;
}

/* The places that it names are other nodes of a list of `count`, none twice on a side. */
static bool places_good(const struct ringmap_node *n, size_t self, size_t side, size_t count)
{
    for (size_t i = 0; i < RINGMAP_NEAR; i++) {
        size_t place = n->near[side][i];

        if (i >= n->count[side]) {
            if (place != 0)
                return false;
            continue;
        }
        if (place >= count || place == self)
            return false;
        for (size_t before = 0; before < i; before++)
            if (n->near[side][before] == place)
                return false;
    }
    return true;
}

static bool read_node(struct reader *r, struct ringmap *m, size_t at)
{
    struct ringmap_node *n = &m->nodes[at];

    n->node = read_id(r);
    n->flags = read_u8(r);
    n->path = read_u8(r);
    n->count[0] = read_u8(r);
    n->count[1] = read_u8(r);
    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; i < RINGMAP_NEAR; i++)
            n->near[side][i] = read_u16(r);
    return (n->flags & ~RINGMAP_FLAGS) == 0 && n->path < RINGMAP_PATHS &&
           n->count[0] <= RINGMAP_NEAR && n->count[1] <= RINGMAP_NEAR &&
           (at == 0 || id_cmp(&n[-1].node, &n->node) < 0) && places_good(n, at, 0, m->count) &&
           places_good(n, at, 1, m->count);
}

bool ringmap_read(struct ringmap *out, const uint8_t *message, size_t len)
{
    struct reader r = reader_of(message, len);
    const uint8_t *begin = read_bytes(&r, LABEL_LEN);
    bool good = begin && memcmp(begin, label, LABEL_LEN) == 0 && read_u8(&r) == VERSION;
    uint64_t at_s;
    uint8_t flags;

    out->group = read_id(&r);
    out->node = read_id(&r);
    at_s = read_u64(&r);
    out->at_s = (int64_t)at_s;
    out->members = read_u32(&r);
    flags = read_u8(&r);
    out->cut = flags & FLAG_CUT;
    out->count = read_u16(&r);
    good &= at_s <= INT64_MAX && flags <= FLAG_CUT && out->count <= RINGMAP_NODES_MAX &&
            len == RINGMAP_HEAD_LEN + out->count * RINGMAP_NODE_LEN + SIGNATURE_LEN;
    if (!good)
        out->count = 0;
    for (size_t i = 0; good && i < out->count; i++)
        good = read_node(&r, out, i);
    return good && ringmap_find(out, &out->node) < out->count;
}

bool ringmap_signed_by(const uint8_t *message, size_t len, const struct sign_public *key)
{
    CHECK(len > SIGNATURE_LEN);
    len -= SIGNATURE_LEN;
    return sign_verify(message + len, message, len, key);
}

size_t ringmap_find(const struct ringmap *m, const struct id *node)
{
    size_t low = 0, high = m->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = id_cmp(&m->nodes[middle].node, node);

        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return m->count;
}
