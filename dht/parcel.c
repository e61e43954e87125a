#include "dht/inside.h"

#include <stdlib.h>
#include <string.h>

#define PART_WAIT_US SEC(2)

struct part {
    struct part *next;
    struct id node;
    uint64_t id;
    usec ends_us;
    uint8_t half;
    uint16_t len;
    uint8_t bytes[];
};

void parcel_start(struct parcel *p, enum parcel_type type, uint64_t id)
{
    p->w = writer_of(p->bytes, sizeof(p->bytes));
    p->count = NULL;
    write_u8(&p->w, type);
    write_u64(&p->w, id);
}

void parcel_items(struct parcel *p)
{
    p->count = p->w.p;
    write_u8(&p->w, 0);
}

bool parcel_item(struct parcel *p, const struct record *rec, uint32_t remaining_s, uint8_t flags)
{
    size_t len = ITEM_HEAD_LEN + record_wire_len(rec);
    size_t limit = *p->count == 0 ? PARCEL_MAX : OVERLAY_BODY_MAX;

    if (*p->count >= ITEMS_MAX || writer_len(&p->w) + len > limit)
        return false;
    write_u8(&p->w, flags);
    write_u32(&p->w, remaining_s);
    record_write(&p->w, rec);
    ++*p->count;
    return true;
}

size_t read_items(struct reader *r, struct item items[ITEMS_MAX])
{
    size_t n = read_u8(r);

    if (n > ITEMS_MAX)
        r->failed = true;
    for (size_t i = 0; i < n && !r->failed; i++) {
        items[i].flags = read_u8(r);
        items[i].remaining_s = read_u32(r);
        record_read(r, &items[i].rec);
    }
    return r->failed ? 0 : n;
}

uint64_t parcel_new_id(const struct dht *d)
{
    uint64_t id;

    do
        env_random(d->env, &id, sizeof(id));
    while (id == 0);
    return id;
}

enum way { WAY_POINT, WAY_ANEW, WAY_NODE, WAY_ANSWER };
struct destination {
    enum way way;
    const struct id *id;
    const struct overlay_from *from;
};

static void send_one(struct dht *d, const struct destination *to, const uint8_t *body, size_t len)
{
    int rc = 0;

    switch (to->way) {
    case WAY_POINT:
        rc = overlay_route(d->overlay, to->id, OVERLAY_NEAREST, OVERLAY_PROTO_DHT, body, len);
        break;
    case WAY_ANEW:
        rc = overlay_route_anew(d->overlay, to->id, OVERLAY_PROTO_DHT, body, len);
        break;
    case WAY_NODE:
        rc = overlay_send(d->overlay, to->id, OVERLAY_PROTO_DHT, body, len);
        break;
    case WAY_ANSWER:
        rc = overlay_answer(d->overlay, to->from, OVERLAY_PROTO_DHT, body, len);
        break;
    }
    (void)rc; /* nobody to send to now: whoever waits for the answer asks again */
}

static void send_half(struct dht *d, const struct destination *to, uint64_t id, uint8_t half,
                      const uint8_t *bytes, size_t len)
{
    struct parcel p;

    parcel_start(&p, PARCEL_PART, id);
    write_u8(&p.w, half);
    write_bytes(&p.w, bytes, len);
    send_one(d, to, p.bytes, writer_len(&p.w));
}

static void send_parcel(struct dht *d, const struct destination *to, const struct parcel *p)
{
    size_t len = writer_len(&p->w);
    size_t first = PARCEL_MAX / 2;
    uint64_t id;

    CHECK(!p->w.failed);
    if (len <= OVERLAY_BODY_MAX) {
        send_one(d, to, p->bytes, len);
        return;
    }
    id = parcel_new_id(d);
    send_half(d, to, id, 0, p->bytes, first);
    send_half(d, to, id, 1, p->bytes + first, len - first);
}

void parcel_route(struct dht *d, const struct id *point, const struct parcel *p)
{
    send_parcel(d, &(struct destination){WAY_POINT, point, NULL}, p);
}

void parcel_route_anew(struct dht *d, const struct id *point, const struct parcel *p)
{
    send_parcel(d, &(struct destination){WAY_ANEW, point, NULL}, p);
}

void parcel_send(struct dht *d, const struct id *node, const struct parcel *p)
{
    send_parcel(d, &(struct destination){WAY_NODE, node, NULL}, p);
}

void parcel_answer(struct dht *d, const struct overlay_from *to, const struct parcel *p)
{
    send_parcel(d, &(struct destination){WAY_ANSWER, NULL, to}, p);
}

static struct part *take(struct parts *parts, struct part **at)
{
    struct part *part = *at;

    *at = part->next;
    parts->count--;
    return part;
}

void parts_clear(struct parts *parts)
{
    while (parts->first != NULL)
        free(take(parts, &parts->first));
}

static struct part *take_other_half(struct parts *parts, const struct id *node, uint64_t id,
                                    uint8_t half)
{
    for (struct part **at = &parts->first; *at != NULL; at = &(*at)->next)
        if ((*at)->id == id && (*at)->half != half && id_eq(&(*at)->node, node))
            return take(parts, at);
    return NULL;
}

static void keep_last(struct parts *parts, struct part *part)
{
    struct part **at = &parts->first;

    while (*at != NULL)
        at = &(*at)->next;
    *at = part;
    parts->count++;
}

static void hold_half(struct dht *d, const struct id *node, uint64_t id, uint8_t half,
                      const uint8_t *bytes, size_t len)
{
    struct part *part = malloc(sizeof(*part) + len);

    if (part == NULL)
        return;
    *part = (struct part){.node = *node,
                          .id = id,
                          .ends_us = d->env->now_us + PART_WAIT_US,
                          .half = half,
                          .len = (uint16_t)len};
    memcpy(part->bytes, bytes, len);
    if (d->parts.count == PARTS_MAX)
        free(take(&d->parts, &d->parts.first));
    keep_last(&d->parts, part);
}

static void join_halves(struct dht *d, const struct overlay_from *from, const uint8_t *a,
                        size_t a_len, const uint8_t *b, size_t b_len)
{
    uint8_t whole[2 * OVERLAY_BODY_MAX];

    memcpy(whole, a, a_len);
    memcpy(whole + a_len, b, b_len);
    if (whole[0] == PARCEL_PART)
        dht_count(d, COUNT_MALFORMED);
    else
        dht_dispatch(d, from, whole, a_len + b_len);
}

void parts_input(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t half = read_u8(r);
    size_t len = reader_left(r);
    const uint8_t *bytes = read_bytes(r, len);
    struct part *other;

    if (r->failed || half > 1 || len == 0) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    other = take_other_half(&d->parts, &from->node, id, half);
    if (other == NULL)
        hold_half(d, &from->node, id, half, bytes, len);
    else if (half == 1)
        join_halves(d, from, other->bytes, other->len, bytes, len);
    else
        join_halves(d, from, bytes, len, other->bytes, other->len);
    free(other);
}

void parts_tick(struct dht *d)
{
    while (d->parts.first != NULL && d->parts.first->ends_us <= d->env->now_us)
        free(take(&d->parts, &d->parts.first));
}

usec parts_deadline(const struct parts *parts)
{
    return parts->first != NULL ? parts->first->ends_us : USEC_NEVER;
}
