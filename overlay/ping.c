/* PING and PONG carry the asker's 4-byte number; PONG also the hops that the PING took. */
#include "overlay/overlay_internal.h"

#include <stdlib.h>
#include <string.h>

int overlay_ping(struct overlay *o, const struct id *key, enum overlay_mode mode, usec timeout_us,
                 uint32_t token, void (*done)(void *ctx, const struct overlay_ping_result *r),
                 void *ctx)
{
    struct route_header h = route_new(&o->ring.self, key, (enum route_mode)mode, ROUTE_PROTO_PING);
    uint8_t body[4];
    struct ping *p;

    if (o->ping_count == PINGS_MAX)
        return -ERR_FULL;
    p = realloc(o->pings, (o->ping_count + 1) * sizeof *p);
    if (p == NULL)
        return -ERR_FULL;
    o->pings = p;
    p += o->ping_count++;
    *p = (struct ping){.number = env_random_u32(o->env),
                       .token = token,
                       .sent_us = o->env->now_us,
                       .until_us = o->env->now_us + timeout_us,
                       .done = done,
                       .ctx = ctx};
    put_u32(body, p->number);
    (void)transit_send(o, &h, NULL, body, sizeof body); /* lost is lost: the timeout tells */
    alarm_sooner(o, &o->ping_alarm, p->until_us);
    return 0;
}

void ping_input(struct overlay *o, const struct route_header *h, struct reader *r)
{
    uint8_t body[5];

    put_u32(body, read_u32(r));
    body[4] = h->hops;
    if (reader_done(r))
        (void)transit_answer(o, h, NULL, ROUTE_PROTO_PONG, body, sizeof body);
    else
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
}

static void finish(struct overlay *o, size_t i, const struct overlay_ping_result *r)
{
    struct ping p = o->pings[i];
    struct overlay_ping_result result = *r;

    result.token = p.token;
    o->ping_count--;
    memmove(o->pings + i, o->pings + i + 1, (o->ping_count - i) * sizeof p);
    if (o->ping_count == 0) {
        free(o->pings);
        o->pings = NULL;
    }
    p.done(p.ctx, &result);
}

void pong_input(struct overlay *o, const struct route_header *h, struct reader *r)
{
    uint32_t number = read_u32(r);
    struct overlay_ping_result result = {.answered = true, .node = h->source, .hops = read_u8(r)};

    if (!reader_done(r)) {
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
        return;
    }
    for (size_t i = 0; i < o->ping_count; i++)
        if (o->pings[i].number == number) {
            result.direct = result.hops == 1 && ring_find(&o->ring, &h->source) != NULL;
            result.rtt_us = o->env->now_us - o->pings[i].sent_us;
            finish(o, i, &result);
            return;
        }
}

void ping_due(struct overlay *o, struct alarm *alarm)
{
    static const struct overlay_ping_result silence;
    usec at_us = USEC_NEVER;

    for (size_t i = 0; i < o->ping_count;) {
        if (o->pings[i].until_us <= o->env->now_us) {
            finish(o, i, &silence);
            i = 0; /* done() may have begun others */
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < o->ping_count; i++)
        at_us = usec_min(at_us, o->pings[i].until_us);
    alarm_set(o, alarm, at_us);
}
