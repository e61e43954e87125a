#include "overlay/channel.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/relay.h"
#include "overlay/trail.h"

enum {
    HEADER_LEN = RELAY_HEADER_LEN,
    PACKET_LEN_MAX = 9216 + 64, /* the largest that a device makes, sealed; larger ones are cut */
    LEG_DRAWS_MAX = 64,         /* random numbers tried; of 24 bits, so some are enough */
    SPARE_STEP = 32,            /* a smaller change of what we would relay is not told */
    MBIT_BYTES = 1000 * 1000 / 8,
};

/* Legs. */

bool leg_take(struct overlay *o, struct leg *leg)
{
    for (int i = 0; i < LEG_DRAWS_MAX; i++) {
        uint32_t rx = (uint32_t)o->slot << 24 | (env_random_u32(o->env) & 0x00ffffff);

        if ((rx & 0x00ffffff) == 0 || table_get(&o->legs, &rx) != NULL)
            continue;
        leg->rx = rx;
        if (table_put(&o->legs, leg) == 0)
            return true;
        break;
    }
    leg->rx = 0;
    return false;
}

void leg_drop(struct overlay *o, struct leg *leg)
{
    if (leg->rx == 0)
        return;
    CHECK(table_remove(&o->legs, &leg->rx) == leg);
    leg->rx = 0;
    o->legs_changed = true;
}

static const struct path_addr *leg_path(const struct overlay *o, const struct id *neighbour)
{
    const struct link *l = link_find(o, neighbour);
    const struct path_addr *path = l != NULL && l->up ? session_path(l->session) : NULL;

    return path != NULL && path_addr_is_direct(path) ? path : NULL;
}

bool leg_is_direct(const struct overlay *o, const struct id *neighbour)
{
    return leg_path(o, neighbour) != NULL;
}

bool leg_send(struct overlay *o, const struct leg *leg, const uint8_t *pkt, size_t len)
{
    const struct path_addr *path = leg_path(o, &leg->neighbour);
    uint8_t relayed[HEADER_LEN + PACKET_LEN_MAX];

    if (path == NULL || leg->tx == 0 || len > PACKET_LEN_MAX)
        return false;
    put_u32(relayed, (uint32_t)PACKET_RELAY << 24);
    put_u32(relayed + 4, leg->tx);
    memcpy(relayed + HEADER_LEN, pkt, len);
    if (path->kind == PATH_TCP)
        o->host.tcp_send(o->ctx, path->conn, relayed, HEADER_LEN + len);
    else
        o->host.send(o->ctx, &path->ep, relayed, HEADER_LEN + len);
    return true;
}

/* It came by one of the direct paths of the session with the neighbour. */
static bool leg_is_from(const struct overlay *o, const struct leg *leg,
                        const struct path_addr *from)
{
    const struct link *l = link_find(o, &leg->neighbour);
    struct session_way way;

    return l != NULL && l->up && session_way(l->session, from, &way);
}

/* Of a direct path. */
static uint32_t conn_of(const struct path_addr *path)
{
    return path->kind == PATH_TCP ? path->conn : 0;
}

void leg_data(const struct overlay *o, const struct leg *leg, struct overlay_data *out)
{
    const struct path_addr *path = leg->tx != 0 ? leg_path(o, &leg->neighbour) : NULL;

    if (path == NULL)
        return;
    out->udp = path->kind == PATH_UDP;
    if (out->udp)
        out->to = path->ep;
    else
        out->conn = path->conn;
    out->channel = leg->tx;
}

/* NULL: its packets are for us. */
static const struct leg *leg_onward(const struct leg *leg)
{
    if (leg->channel != NULL)
        return &leg->channel->legs[leg == &leg->channel->legs[0]];
    return leg->trail != NULL && leg->trail->out.tx != 0 ? &leg->trail->out : NULL;
}

/* Of one that goes on. */
static struct meter *leg_meter(const struct leg *leg)
{
    return leg->channel != NULL ? leg->channel->meter : leg->trail->meter;
}

/* Relay packets. */

static void forward_packet(struct overlay *o, const struct leg *leg, const uint8_t *pkt, size_t len)
{
    bool urgent = pkt[0] != PACKET_DATA;
    bool fits = meter_take(leg_meter(leg), o->env->now_us, len, urgent) &&
                meter_take(o->channels.meter, o->env->now_us, len, urgent);

    if (!fits)
        overlay_counted(o, OVERLAY_COUNT_DROP_RELAY_RATE);
    else if (leg_send(o, leg_onward(leg), pkt, len))
        overlay_counted(o, OVERLAY_COUNT_RELAYED);
    else
        overlay_counted(o, OVERLAY_COUNT_DROP_RELAY);
}

void channel_packet(struct overlay *o, const struct path_addr *from, uint8_t *pkt, size_t len)
{
    const uint32_t rx = len > HEADER_LEN ? get_u32(pkt + 4) : 0;
    struct leg *leg = table_get(&o->legs, &rx);

    if (leg == NULL || get_u32(pkt) != (uint32_t)PACKET_RELAY << 24 ||
        pkt[HEADER_LEN] == PACKET_RELAY || !leg_is_from(o, leg, from))
        overlay_counted(o, OVERLAY_COUNT_DROP_RELAY);
    else if (leg_onward(leg) != NULL)
        forward_packet(o, leg, pkt + HEADER_LEN, len - HEADER_LEN);
    else if (leg->trail != NULL)
        trail_packet(o, leg->trail, pkt + HEADER_LEN, len - HEADER_LEN);
    else
        relay_packet(o, leg->way, pkt + HEADER_LEN, len - HEADER_LEN);
}

/* Messages. */

void relay_tell(struct overlay *o, struct link *to, uint8_t type, const struct id *other,
                uint32_t yours, uint32_t ours)
{
    uint8_t body[ID_LEN + 8];
    struct writer w = writer_of(body, sizeof body);

    write_id(&w, other);
    if (type == MSG_RELAY_ACCEPT)
        write_u32(&w, yours);
    write_u32(&w, ours);
    (void)session_send(to->session, type, body, writer_len(&w));
}

void relay_tell_end(struct overlay *o, struct link *to, const struct id *other, uint32_t yours,
                    enum relay_end why)
{
    uint8_t body[ID_LEN + 5];
    struct writer w = writer_of(body, sizeof body);

    write_id(&w, other);
    write_u32(&w, yours);
    write_u8(&w, (uint8_t)why);
    (void)session_send(to->session, MSG_RELAY_END, body, writer_len(&w));
}

/* Channels that we forward. */

static void channel_free(struct overlay *o, struct channel *c)
{
    leg_drop(o, &c->legs[0]);
    leg_drop(o, &c->legs[1]);
    meter_unref(c->meter);
    free(c);
}

static void channel_remove(struct overlay *o, struct channel *c)
{
    struct channels *all = &o->channels;
    size_t i = 0;

    while (all->v[i] != c)
        i++;
    all->count--;
    memmove(&all->v[i], &all->v[i + 1], (all->count - i) * sizeof(struct channel *));
    channel_free(o, c);
}

/* Both ends hear why, as far as they can be told. */
static void channel_close(struct overlay *o, struct channel *c, enum relay_end why)
{
    for (int side = 0; side < 2; side++) {
        struct link *l = link_find(o, &c->legs[side].neighbour);

        if (l != NULL && l->up)
            relay_tell_end(o, l, &c->legs[!side].neighbour, c->legs[side].tx, why);
    }
    channel_remove(o, c);
}

static struct channel *channel_between(const struct overlay *o, const struct id *a,
                                       const struct id *b, int *side_a)
{
    for (size_t i = 0; i < o->channels.count; i++)
        for (int side = 0; side < 2; side++) {
            struct channel *c = o->channels.v[i];

            if (!id_eq(&c->legs[side].neighbour, a) || !id_eq(&c->legs[!side].neighbour, b))
                continue;
            *side_a = side;
            return c;
        }
    return NULL;
}

static usec channel_used_us(const struct channel *c)
{
    usec last_us = atomic_load_explicit(&c->meter->last_us, memory_order_relaxed);

    return last_us > c->made_us ? last_us : c->made_us;
}

/* The one idle longest, of this requester or (NULL) of all. */
static struct channel *idle_channel(const struct overlay *o, const struct id *requester)
{
    struct channel *idle = NULL;

    for (size_t i = 0; i < o->channels.count; i++) {
        struct channel *c = o->channels.v[i];

        if (requester != NULL && !id_eq(&c->legs[0].neighbour, requester))
            continue;
        if (idle == NULL || channel_used_us(c) < channel_used_us(idle))
            idle = c;
    }
    if (idle == NULL || o->env->now_us < channel_used_us(idle) + SEC(CHANNEL_IDLE_S))
        return NULL;
    return idle;
}

static bool make_room(struct overlay *o, const struct id *requester)
{
    size_t of_requester = 0;
    struct channel *victim;

    for (size_t i = 0; i < o->channels.count; i++)
        of_requester += id_eq(&o->channels.v[i]->legs[0].neighbour, requester);
    if (of_requester < CHANNELS_EACH && o->channels.count < CHANNELS_MAX)
        return true;
    victim = idle_channel(o, of_requester >= CHANNELS_EACH ? requester : NULL);
    if (victim == NULL)
        return false;
    channel_close(o, victim, RELAY_END_EVICTED);
    return true;
}

static bool channels_grow(struct channels *all)
{
    size_t size = all->size > 0 ? 2 * all->size : 4;
    struct channel **v;

    if (all->count < all->size)
        return true;
    v = realloc(all->v, size * sizeof(struct channel *));
    if (v == NULL)
        return false;
    all->v = v;
    all->size = size;
    return true;
}

static struct channel *channel_new(struct overlay *o, const struct id *requester,
                                   const struct id *far)
{
    struct channel *c = channels_grow(&o->channels) ? calloc(1, sizeof *c) : NULL;

    if (c == NULL)
        return NULL;
    c->legs[0] = (struct leg){.neighbour = *requester, .channel = c};
    c->legs[1] = (struct leg){.neighbour = *far, .channel = c};
    c->made_us = o->env->now_us;
    c->meter = meter_new(o->channels.bytes_per_s);
    if (c->meter == NULL || !leg_take(o, &c->legs[0]) || !leg_take(o, &c->legs[1])) {
        channel_free(o, c);
        return NULL;
    }
    o->channels.v[o->channels.count++] = c;
    o->legs_changed = true;
    alarm_sooner(o, &o->channels_alarm, o->env->now_us + SEC(RELAY_ROUND_S));
    overlay_counted(o, OVERLAY_COUNT_RELAY_CHANNELS);
    return c;
}

/* A peer may ask so often in a while and no more. */
static bool ask_allowed(struct overlay *o, struct link *from)
{
    if (o->env->now_us >= from->relay_asks_us + SEC(RELAY_ASKS_S)) {
        from->relay_asks_us = o->env->now_us;
        from->relay_asks = 0;
    }
    if (from->relay_asks == RELAY_ASKS_MAX)
        return false;
    from->relay_asks++;
    return true;
}

static bool willing(const struct overlay *o)
{
    return !o->relay_refused && o->ring.state != OVERLAY_LEAVING;
}

/* CLOSED: it may have one. */
static enum relay_end judge_open(struct overlay *o, struct link *from, const struct id *far)
{
    int side;

    if (!willing(o))
        return RELAY_END_NO;
    if (!ask_allowed(o, from))
        return RELAY_END_BUSY;
    if (!leg_is_direct(o, &from->peer.id) || !leg_is_direct(o, far))
        return RELAY_END_UNREACHABLE;
    if (channel_between(o, &from->peer.id, far, &side) == NULL && !make_room(o, &from->peer.id))
        return RELAY_END_FULL;
    return RELAY_END_CLOSED;
}

/* Invites the other end, or says again that it accepted. */
static void channel_ask(struct overlay *o, struct channel *c, int side, struct link *from,
                        uint32_t tx)
{
    struct link *far = link_find(o, &c->legs[!side].neighbour);

    if (c->legs[side].tx != tx) {
        c->legs[side].tx = tx;
        c->accepted = false;
        o->legs_changed = true;
    }
    if (c->accepted)
        relay_tell(o, from, MSG_RELAY_ACCEPT, &far->peer.id, tx, c->legs[side].rx);
    else
        relay_tell(o, far, MSG_RELAY_INVITE, &from->peer.id, 0, c->legs[!side].rx);
}

bool channel_open_input(struct overlay *o, struct link *from, struct reader *r)
{
    struct id far = read_id(r);
    uint32_t tx = read_u32(r);
    struct channel *c;
    enum relay_end why;
    int side = 0;

    if (!reader_done(r) || tx == 0 || id_eq(&far, &o->ring.self) || id_eq(&far, &from->peer.id))
        return false;
    why = judge_open(o, from, &far);
    c = why == RELAY_END_CLOSED ? channel_between(o, &from->peer.id, &far, &side) : NULL;
    if (why == RELAY_END_CLOSED && c == NULL) {
        c = channel_new(o, &from->peer.id, &far);
        why = RELAY_END_FULL;
    }
    if (c != NULL) {
        channel_ask(o, c, side, from, tx);
        return true;
    }
    overlay_counted(o, OVERLAY_COUNT_RELAY_REFUSED);
    relay_tell_end(o, from, &far, tx, why);
    return true;
}

void channel_accept(struct overlay *o, struct leg *leg, uint32_t tx)
{
    struct channel *c = leg->channel;
    struct leg *asker_leg = &c->legs[leg == &c->legs[0]];
    struct link *asker = link_find(o, &asker_leg->neighbour);

    leg->tx = tx;
    c->accepted = true;
    o->legs_changed = true;
    if (asker != NULL && asker->up)
        relay_tell(o, asker, MSG_RELAY_ACCEPT, &leg->neighbour, asker_leg->tx, asker_leg->rx);
}

void channel_end(struct overlay *o, struct link *from, const struct id *other, uint32_t rx)
{
    int side;
    struct channel *c = channel_between(o, &from->peer.id, other, &side);
    struct link *far = link_find(o, other);

    if (c == NULL || (rx != 0 && c->legs[side].rx != rx))
        return;
    if (far != NULL && far->up)
        relay_tell_end(o, far, &from->peer.id, c->legs[!side].tx, RELAY_END_UNWANTED);
    channel_remove(o, c);
}

void channels_link_down(struct overlay *o, const struct id *end)
{
    for (size_t i = o->channels.count; i-- > 0;) {
        struct channel *c = o->channels.v[i];

        if (id_eq(&c->legs[0].neighbour, end) || id_eq(&c->legs[1].neighbour, end))
            channel_close(o, c, RELAY_END_UNREACHABLE);
    }
}

/* What is left of us for others. */
static uint8_t spare_now(const struct overlay *o)
{
    uint8_t room = (uint8_t)((CHANNELS_MAX - o->channels.count) * UINT8_MAX / CHANNELS_MAX);
    uint8_t rate = meter_spare(o->channels.meter, o->env->now_us);

    if (!willing(o))
        return 0;
    return room < rate ? room : rate;
}

static void tell_spare(struct overlay *o, struct link *l)
{
    if (l->up)
        (void)session_send(l->session, MSG_RELAY_SPARE, &o->channels.spare_told, 1);
}

void channels_link_up(struct overlay *o, struct link *l)
{
    l->relay_spare = UINT8_MAX; /* until it says otherwise */
    if (o->channels.spare_told != UINT8_MAX)
        tell_spare(o, l);
}

bool channel_spare_input(struct overlay *o, struct link *from, struct reader *r)
{
    from->relay_spare = read_u8(r);
    return reader_done(r);
}

static void tell_spare_to_all(struct overlay *o)
{
    uint8_t before = o->channels.spare_told, spare = spare_now(o);

    if (abs(spare - before) < SPARE_STEP && (spare == 0) == (before == 0))
        return;
    o->channels.spare_told = spare;
    for (size_t i = 0; i < o->ring.count; i++)
        tell_spare(o, link_of(o->ring.peers[i]));
}

/* As long as there are channels, and until our neighbours know that there are none. */
static void channels_due(struct overlay *o, struct alarm *alarm)
{

    for (size_t i = o->channels.count; i-- > 0;) {
        struct channel *c = o->channels.v[i];

        if (o->env->now_us >= channel_used_us(c) + SEC(RELAY_SILENT_S))
            channel_close(o, c, RELAY_END_SILENT);
    }
    tell_spare_to_all(o);
    if (o->channels.count > 0)
        alarm_set(o, alarm, o->env->now_us + SEC(RELAY_ROUND_S));
}

int channels_begin(struct overlay *o, uint32_t mbit)
{
    o->channels.meter = meter_new((uint64_t)mbit * MBIT_BYTES);
    if (o->channels.meter == NULL)
        return -ERR_NOMEM;
    o->channels_alarm = (struct alarm){.timer.at_us = USEC_NEVER, .due = channels_due};
    o->channels.bytes_per_s = (uint64_t)mbit * MBIT_BYTES / 2;
    o->channels.spare_told = willing(o) ? UINT8_MAX : 0;
    return 0;
}

void channels_clear(struct overlay *o)
{
    for (size_t i = 0; i < o->channels.count; i++)
        channel_free(o, o->channels.v[i]);
    free(o->channels.v);
    meter_unref(o->channels.meter);
}

bool overlay_leg_next(const struct overlay *o, size_t *i, struct overlay_leg *out)
{
    const struct leg *leg;

    *out = (struct overlay_leg){.channel = 0};
    while ((leg = table_next(&o->legs, i)) != NULL) {
        const struct leg *onward = leg_onward(leg);
        const struct path_addr *from = leg_path(o, &leg->neighbour);
        const struct path_addr *to = onward != NULL ? leg_path(o, &onward->neighbour) : NULL;

        if (from == NULL || (onward != NULL && (to == NULL || onward->tx == 0)))
            continue;
        *out = (struct overlay_leg){.from = from->ep,
                                    .from_conn = conn_of(from),
                                    .channel = leg->rx,
                                    .ends_here = onward == NULL};
        if (to != NULL) {
            out->to = to->ep;
            out->to_conn = conn_of(to);
            out->onward = onward->tx;
            out->each = leg_meter(leg);
            out->all = o->channels.meter;
        }
        return true;
    }
    return false;
}
