/*
 * Packets of a session whose path is the ring: each travels as the body of a routed message, cut
 * into parts when it does not fit one.
 *
 *   +-------------------------------+---------------+
 *   | packet number                 | part | parts  |  inner packet or part of it ...
 *   +-------------------------------+---------------+
 *
 * They go by direct connections only: a session over the ring does not carry another one. Much data
 * goes along a trail instead (trail.h).
 */
#include "overlay/overlay_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADER_LEN = 3,
    PART_MAX = MESSAGE_MAX - ROUTE_HEADER_MAX - HEADER_LEN,
    PARTS_MAX = 2,
    PARCEL_MAX = PARTS_MAX * PART_MAX, /* above PACKET_MAX */
    PARCELS_MAX = 128,                 /* waiting, each way; victim: the newest */
    FRAGMENTS_MAX = 8,                 /* packets half here; victim: the oldest */
};
static const usec fragment_us = SEC(2);

struct fragment {
    struct id source;
    uint16_t number;
    uint8_t have;  /* mask of parts */
    uint8_t parts; /* 0: unused */
    usec since_us;
    size_t len[PARTS_MAX];
    uint8_t *bytes; /* PARCEL_MAX */
};

struct fragments {
    struct fragment slot[FRAGMENTS_MAX];
};

static void put_parcel(struct overlay *o, struct queue *q, const struct path_addr *path,
                       const uint8_t *pkt, size_t len)
{
    struct parcel *p = q->count < PARCELS_MAX ? malloc(sizeof *p + len) : NULL;

    if (p == NULL) {
        overlay_counted(o, OVERLAY_COUNT_DROP_FULL);
        return;
    }
    p->path = *path;
    p->len = len;
    memcpy(p->pkt, pkt, len);
    queue_put(q, p);
}

/* Called from within a session: it goes out when that is done. */
void carry_send(struct overlay *o, const struct path_addr *to, const uint8_t *pkt, size_t len)
{
    if (len > PARCEL_MAX)
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
    else
        put_parcel(o, &o->parcels_out, to, pkt, len);
}

struct route_header carry_header(const struct overlay *o, const struct path_addr *to, uint8_t proto)
{
    struct route_header h = route_new(&o->ring.self, &to->peer, ROUTE_EXACT, proto);
    struct id via;
    const struct link *l;

    if (ring_is_opening(&o->ring, &to->peer, &via) && id_is_zero(&to->via))
        h.through = via;
    else
        h.through = to->via;
    if (id_eq(&h.through, &o->ring.self))
        h.through = (struct id){{0}};
    l = link_find(o, &h.through);
    if (l != NULL && l->up && !l->peer.indirect)
        h.via = l->peer.id;
    return h;
}

static void dispatch(struct overlay *o, const struct parcel *p)
{
    const struct route_header h = carry_header(o, &p->path, ROUTE_PROTO_PACKET);
    size_t parts = (p->len + PART_MAX - 1) / PART_MAX;
    uint8_t body[HEADER_LEN + PART_MAX];

    put_u16(body, o->parcel_number++);
    for (size_t i = 0; i < parts; i++) {
        struct route_header each = h;
        size_t len = i + 1 < parts ? PART_MAX : p->len - i * PART_MAX;

        body[2] = (uint8_t)(i << 4 | parts);
        memcpy(body + HEADER_LEN, p->pkt + i * PART_MAX, len);
        if (!p->path.other_way || transit_send_around(o, &each, body, HEADER_LEN + len) < 0)
            (void)transit_send(o, &each, NULL, body, HEADER_LEN + len);
    }
}

/* Passing on for others what is their data is relaying, whatever the way: the same bound. */
bool carry_allowed(struct overlay *o, const uint8_t *body, size_t len)
{
    bool data = len > HEADER_LEN && body[2] >> 4 == 0 && body[HEADER_LEN] == PACKET_DATA;

    if (o->channels.bytes_per_s == 0 || meter_take(o->channels.meter, o->env->now_us, len, !data))
        return true;
    overlay_counted(o, OVERLAY_COUNT_DROP_RELAY_RATE);
    return false;
}

static void hand_in(struct overlay *o, struct parcel *p)
{
    if (p->len > 0 && p->pkt[0] == PACKET_DATA)
        o->host.data(o->ctx, &(struct data_way){.from = NULL}, p->pkt, p->len);
    else if (o->ring.state != OVERLAY_LEAVING || p->len < 2 || p->pkt[0] != PACKET_HANDSHAKE ||
             p->pkt[1] != 1)
        (void)sessions_input(o->sessions, &p->path, p->pkt, p->len);
}

bool carry_run(struct overlay *o)
{
    size_t out = o->parcels_out.count, in = o->parcels_in.count;

    for (size_t i = 0; i < out; i++) {
        struct parcel *p = queue_take(&o->parcels_out);

        dispatch(o, p);
        free(p);
    }
    for (size_t i = 0; i < in; i++) {
        struct parcel *p = queue_take(&o->parcels_in);

        hand_in(o, p);
        free(p);
    }
    return out + in > 0;
}

static void fragment_clear(struct fragment *f)
{
    free(f->bytes);
    *f = (struct fragment){.parts = 0};
}

/* The packet's slot, made if need be. */
static struct fragment *fragment_of(struct overlay *o, const struct id *source, uint16_t number,
                                    uint8_t parts)
{
    struct fragment *victim = NULL;

    if (o->fragments == NULL)
        o->fragments = calloc(1, sizeof *o->fragments);
    if (o->fragments == NULL)
        return NULL;
    for (size_t i = 0; i < FRAGMENTS_MAX; i++) {
        struct fragment *f = &o->fragments->slot[i];

        if (f->parts != 0 && o->env->now_us >= f->since_us + fragment_us)
            fragment_clear(f);
        if (f->parts == parts && f->number == number && id_eq(&f->source, source))
            return f;
        if (victim == NULL || (victim->parts != 0 && f->since_us < victim->since_us))
            victim = f;
    }
    fragment_clear(victim);
    victim->bytes = malloc(PARCEL_MAX);
    if (victim->bytes == NULL)
        return NULL;
    victim->source = *source;
    victim->number = number;
    victim->parts = parts;
    victim->since_us = o->env->now_us;
    return victim;
}

static void join_parts(struct overlay *o, const struct path_addr *from, uint16_t number,
                       uint8_t part, uint8_t parts, struct reader *r)
{
    struct fragment *f = fragment_of(o, &from->peer, number, parts);
    size_t len = 0;

    if (f == NULL)
        return;
    f->len[part] = reader_left(r);
    memcpy(f->bytes + (size_t)part * PART_MAX, r->p, f->len[part]);
    f->have |= (uint8_t)(1u << part);
    if (f->have != (1u << parts) - 1)
        return;
    for (size_t i = 0; i < parts; i++)
        len += f->len[i];
    put_parcel(o, &o->parcels_in, from, f->bytes, len);
    fragment_clear(f);
}

void carry_input(struct overlay *o, const struct route_header *h, struct reader *r)
{
    struct path_addr from = {.kind = PATH_RING, .peer = h->source, .via = h->via};
    uint16_t number = read_u16(r);
    uint8_t cut = read_u8(r);
    uint8_t part = cut >> 4, parts = cut & 15;
    size_t len = reader_left(r);

    /* All but the last part are full, or the packet could not be put together. */
    if (r->failed || parts < 1 || parts > PARTS_MAX || part >= parts || len == 0 ||
        len > PART_MAX || (part + 1 < parts && len != PART_MAX)) {
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
        return;
    }
    if (parts == 1)
        put_parcel(o, &o->parcels_in, &from, r->p, len);
    else
        join_parts(o, &from, number, part, parts, r);
}

void carry_free(struct overlay *o)
{
    void *p;

    while ((p = queue_take(&o->parcels_out)) != NULL)
        free(p);
    while ((p = queue_take(&o->parcels_in)) != NULL)
        free(p);
    for (size_t i = 0; o->fragments != NULL && i < FRAGMENTS_MAX; i++)
        fragment_clear(&o->fragments->slot[i]);
    free(o->fragments);
}
