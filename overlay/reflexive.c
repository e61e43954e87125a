#include "overlay/reflexive.h"

#include <string.h>

#include "overlay/overlay_internal.h"
#include "overlay/path.h"

static const usec soon_us = MSEC(300); /* sessions rarely come up alone */

/* One to be asked. */
struct reflector {
    struct endpoint ep;
    usec since_us;
};

static bool is_outside(const struct overlay *o, const struct endpoint *ep, uint8_t family)
{
    return ep->addr.family == family && !addr_is_loopback(&ep->addr) &&
           !sessions_on_lan(o->sessions, &ep->addr);
}

static bool has_ipv4(const struct overlay *o)
{
    struct endpoint own[PATH_PEER_ENDPOINTS_MAX];
    size_t n = sessions_own_endpoints(o->sessions, own);

    for (size_t i = 0; i < n; i++)
        if (own[i].addr.family == 4 && !addr_is_loopback(&own[i].addr))
            return true;
    return false;
}

/* Reached over that family, by somebody who is not on our LAN. */
static bool is_reached(const struct overlay *o, const struct session *s, uint8_t family)
{
    const struct path_addr *path = session_path(s);

    return session_is_up(s) && path->kind == PATH_UDP && is_outside(o, &path->ep, family);
}

/* How many are to be asked beside those who see us anyway. */
static size_t needed(const struct overlay *o)
{
    const struct session *s;
    size_t i = 0, seeing = 0;

    if (o->ring.state == OVERLAY_LEAVING || !has_ipv4(o))
        return 0;
    while ((s = sessions_next(o->sessions, &i)) != NULL)
        seeing += is_reached(o, s, 4);
    return seeing < REFLEXIVE_PEERS ? REFLEXIVE_PEERS - seeing : 0;
}

/* Where it says that it is on the IPv4 Internet. */
static bool address_of(const struct overlay *o, const struct session *s, struct endpoint *out)
{
    struct endpoint eps[PATH_PEER_ENDPOINTS_MAX];
    size_t n = session_endpoints(s, eps, PATH_PEER_ENDPOINTS_MAX);

    for (size_t i = 0; i < n; i++)
        if (is_outside(o, &eps[i], 4) && !addr_is_private(&eps[i].addr) &&
            sessions_may_try(o->sessions, &eps[i])) {
            *out = eps[i];
            return true;
        }
    return false;
}

static bool is_older(const struct reflector *a, const struct reflector *b)
{
    return a->since_us != b->since_us ? a->since_us < b->since_us
                                      : endpoint_cmp(&a->ep, &b->ep) < 0;
}

/* The oldest; two at one address would not tell how a NAT maps. */
static void choose(struct reflector v[REFLEXIVE_PEERS], size_t *n, const struct reflector *r)
{
    size_t at = 0;

    for (size_t i = 0; i < *n; i++)
        if (addr_eq(&v[i].ep.addr, &r->ep.addr))
            return;
    while (at < *n && !is_older(r, &v[at]))
        at++;
    if (at == REFLEXIVE_PEERS)
        return;
    if (*n < REFLEXIVE_PEERS)
        ++*n;
    memmove(&v[at + 1], &v[at], (*n - 1 - at) * sizeof(*v));
    v[at] = *r;
}

static size_t reflectors(const struct overlay *o, struct endpoint out[REFLEXIVE_PEERS], size_t max)
{
    struct reflector v[REFLEXIVE_PEERS], r;
    const struct session *s;
    size_t i = 0, n = 0;

    while ((s = sessions_next(o->sessions, &i)) != NULL) {
        r.since_us = session_up_since(s);
        if (is_reached(o, s, 6) && address_of(o, s, &r.ep))
            choose(v, &n, &r);
    }
    n = n < max ? n : max;
    for (i = 0; i < n; i++)
        out[i] = v[i].ep;
    return n;
}

static bool is_among(const struct endpoint *ep, const struct endpoint *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (endpoint_eq(ep, &list[i]))
            return true;
    return false;
}

void reflexive_due(struct overlay *o, struct alarm *alarm)
{
    struct reflexive *r = &o->reflexive;
    struct endpoint eps[REFLEXIVE_PEERS];
    size_t n = reflectors(o, eps, needed(o));
    bool again = o->env->now_us >= r->again_us;

    for (size_t i = 0; i < r->count; i++)
        if (!is_among(&r->asked[i], eps, n))
            sessions_unobserved_by(o->sessions, &r->asked[i]);
    for (size_t i = 0; i < n; i++)
        if (again || !is_among(&eps[i], r->asked, r->count))
            o->host.where(o->ctx, &eps[i]);
    if (n > 0)
        memcpy(r->asked, eps, n * sizeof(*eps));
    r->count = (uint8_t)n;
    if (again)
        r->again_us = o->env->now_us + SEC(REFLEXIVE_AGAIN_S);
    alarm_set(o, alarm, n > 0 ? r->again_us : USEC_NEVER);
}

void reflexive_news(struct overlay *o)
{
    if (o->host.where != NULL)
        alarm_sooner(o, &o->reflexive.alarm, o->env->now_us + soon_us);
}

void reflexive_forget(struct overlay *o)
{
    o->reflexive.count = 0;
    o->reflexive.again_us = 0;
    reflexive_news(o);
}

void reflexive_answered(struct overlay *o, const struct endpoint *by)
{
    struct reflexive *r = &o->reflexive;
    struct overlay_nat nat;

    sessions_nat(o->sessions, &nat);
    if (!is_among(by, r->asked, r->count) || nat.mapping == OVERLAY_NAT_MAPPING_NONE ||
        nat.keepalive_us == 0) /* what it answered was no place, and nobody sees us elsewhere */
        return;
    r->again_us = usec_min(r->again_us, o->env->now_us + nat.keepalive_us);
    alarm_sooner(o, &r->alarm, r->again_us);
}
