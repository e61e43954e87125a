#include "tests/sim/internet.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/table.h"
#include "overlay/core/wire.h"
#include "tests/sim/account.h"

/* Address plan: hosts 11.0.0.0/8 and on, a /24 each; boxes 100.0.0.0/8, the same; inner addresses
 * 192.168.0.0/16 count hosts modulo 65000 and are told apart by the box. IPv6 2001:db8::/32: the
 * host's index in the three bytes behind, so that each has a /56. */
static const uint32_t HOST_NET = UINT32_C(11) << 24, BOX_NET = UINT32_C(100) << 24,
                      INNER_NET = UINT32_C(192) << 24 | UINT32_C(168) << 16, INNER_COUNT = 65000;

static const uint8_t host_net6[4] = {0x20, 0x01, 0x0d, 0xb8};

void internet_init(struct internet *n, size_t hosts, struct random random)
{
    CHECK(hosts <= 1 << 18); /* the address plan's room below BOX_NET */
    *n = (struct internet){.random = random, .hosts = hosts};
    n->places = calloc(hosts, sizeof(*n->places));
    CHECK(n->places != NULL);
    for (size_t i = 0; i < hosts; i++)
        n->places[i] = (struct internet_place){.families = INTERNET_V4, .box = INTERNET_NOBODY};
}

void internet_clear(struct internet *n)
{
    for (size_t i = 0; i < n->box_count; i++)
        nat_clear(&n->boxes[i]);
    free(n->places);
    n->places = NULL;
}

int internet_add_box(struct internet *n, const struct nat_kind *kind, struct random random)
{
    struct addr outer = addr_v4(BOX_NET + ((uint32_t)n->box_count << 8) + 1);

    CHECK(n->box_count < INTERNET_BOXES_MAX);
    nat_init(&n->boxes[n->box_count], kind, &outer, random);
    return (int)n->box_count++;
}

static struct addr host_v4(const struct internet *n, uint32_t host)
{
    if (n->places[host].box != INTERNET_NOBODY)
        return addr_v4(INNER_NET + 2 + host % INNER_COUNT);
    return addr_v4(HOST_NET + (host << 8) + 1);
}

static struct addr host_v6(uint32_t host)
{
    uint8_t b[16] = {0};

    memcpy(b, host_net6, sizeof(host_net6));
    b[4] = (uint8_t)(host >> 16);
    b[5] = (uint8_t)(host >> 8);
    b[6] = (uint8_t)host;
    b[15] = 1;
    return addr_v6(b);
}

size_t internet_endpoints(const struct internet *n, uint32_t host, struct endpoint out[2])
{
    size_t count = 0;

    if (n->places[host].families & INTERNET_V4)
        out[count++] = (struct endpoint){host_v4(n, host), INTERNET_PORT};
    if (n->places[host].families & INTERNET_V6)
        out[count++] = (struct endpoint){host_v6(host), INTERNET_PORT};
    return count;
}

struct endpoint internet_public_endpoint(const struct internet *n, uint32_t host)
{
    const struct internet_place *place = &n->places[host];

    if ((place->families & INTERNET_V4) && place->box == INTERNET_NOBODY)
        return (struct endpoint){host_v4(n, host), INTERNET_PORT};
    if (place->families & INTERNET_V6)
        return (struct endpoint){host_v6(host), INTERNET_PORT};
    return (struct endpoint){0};
}

/* ---- whose address it is ---- */

static long host_of_v4(const struct internet *n, uint32_t addr)
{
    uint32_t host = (addr - HOST_NET) >> 8;

    if (addr < HOST_NET || host >= n->hosts || !(n->places[host].families & INTERNET_V4) ||
        n->places[host].box != INTERNET_NOBODY || addr != HOST_NET + (host << 8) + 1)
        return INTERNET_NOBODY;
    return host;
}

static long host_of_v6(const struct internet *n, const struct addr *a)
{
    uint32_t host = (uint32_t)a->b[4] << 16 | (uint32_t)a->b[5] << 8 | a->b[6];
    struct addr whole = host_v6(host);

    if (host >= n->hosts || !(n->places[host].families & INTERNET_V6) || !addr_eq(a, &whole))
        return INTERNET_NOBODY;
    return host;
}

static long host_of(const struct internet *n, const struct addr *a)
{
    return a->family == 4   ? host_of_v4(n, addr_to_v4(a))
           : a->family == 6 ? host_of_v6(n, a)
                            : INTERNET_NOBODY;
}

static long box_of(const struct internet *n, const struct addr *a)
{
    uint32_t box;

    if (a->family != 4 || addr_to_v4(a) < BOX_NET)
        return INTERNET_NOBODY;
    box = (addr_to_v4(a) - BOX_NET) >> 8;
    return box < n->box_count && addr_eq(a, &n->boxes[box].outer) ? (long)box : INTERNET_NOBODY;
}

static long inner_host(const struct internet *n, long box, const struct endpoint *inner)
{
    for (uint32_t i = 0; i < n->hosts; i++) {
        struct addr a;

        if (n->places[i].box != box)
            continue;
        a = host_v4(n, i);
        if (addr_eq(&a, &inner->addr))
            return i;
    }
    return INTERNET_NOBODY;
}

/* The host whose place decides about delay and partition: itself, or the first behind its box. */
static long place_of(const struct internet *n, const struct addr *a)
{
    long box = box_of(n, a);

    if (box == INTERNET_NOBODY)
        return host_of(n, a);
    for (uint32_t i = 0; i < n->hosts; i++)
        if (n->places[i].box == box)
            return i;
    return INTERNET_NOBODY;
}

/* ---- ways ---- */

usec internet_one_way(const struct internet *n, uint32_t from, uint32_t to)
{
    if (n->latency == NULL)
        return n->delay_us;
    return latency_one_way(n->latency, n->places[from].row, n->places[to].row);
}

bool internet_together(const struct internet *n, uint32_t a, uint32_t b)
{
    return n->places[a].part == n->places[b].part;
}

bool internet_apart(const struct internet *n, uint32_t a, uint32_t b)
{
    const uint32_t pair[2] = {a < b ? a : b, a < b ? b : a};
    uint8_t bytes[8];

    if (n->apart <= 0 || pair[0] < n->apart_from || a == b)
        return false;
    put_u32(bytes, pair[0]);
    put_u32(bytes + 4, pair[1]);
    return (double)(siphash(n->apart_key, bytes, sizeof(bytes)) >> 11) / 0x1p53 < n->apart;
}

bool internet_connected(const struct internet *n, uint32_t from, uint32_t to)
{
    if (!internet_together(n, from, to))
        return false;
    for (size_t i = 0; i < n->cut_count; i++)
        if (n->cuts[i].from == from && n->cuts[i].to == to)
            return false;
    return true;
}

void internet_cut(struct internet *n, uint32_t from, uint32_t to)
{
    if (n->cut_count < INTERNET_CUTS_MAX)
        n->cuts[n->cut_count++] = (struct internet_cut){from, to};
}

void internet_heal(struct internet *n)
{
    n->faults = (struct internet_faults){0};
    n->cut_count = 0;
}

void internet_reunite(struct internet *n)
{
    for (size_t i = 0; i < n->hosts; i++)
        n->places[i].part = 0;
}

bool internet_is_bad(const struct internet *n)
{
    const struct internet_faults *f = &n->faults;

    return n->cut_count > 0 || f->loss > 0 || f->jitter_us > 0 || f->duplicate > 0 || f->late > 0;
}

/* ---- sending ---- */

static void set_packet(struct internet *n, struct agenda *q, usec at_us,
                       const struct endpoint *from, const struct endpoint *to, const uint8_t *bytes,
                       size_t len, void (*arrive)(struct world *w, struct event *e))
{
    struct packet *p = malloc(sizeof(*p) + len);

    CHECK(p != NULL && len <= UINT16_MAX);
    *p = (struct packet){
        .event = {.happen = arrive}, .from = *from, .to = *to, .len = (uint16_t)len};
    memcpy(p->bytes, bytes, len);
    agenda_add(q, &p->event, at_us);
}

static usec disturb(struct internet *n, usec delay_us)
{
    const struct internet_faults *f = &n->faults;

    if (f->jitter_us > 0)
        delay_us += random_below(&n->random, f->jitter_us + 1);
    if (f->late_us > 0 && random_chance(&n->random, f->late))
        delay_us += random_below(&n->random, f->late_us + 1);
    return delay_us;
}

/* Rewrites the source on the way out of a box. False: there is no way out. */
static bool leave_box(struct internet *n, usec now_us, uint32_t host, struct endpoint *from,
                      const struct endpoint *to)
{
    int box = n->places[host].box;

    if (to->addr.family != 4)
        return true;
    if (addr_is_private(&to->addr))
        return box != INTERNET_NOBODY && inner_host(n, box, to) != INTERNET_NOBODY;
    if (box != INTERNET_NOBODY)
        *from = nat_outbound(&n->boxes[box], now_us, from, to);
    return true;
}

static bool source_of(const struct internet *n, uint32_t host, uint8_t family,
                      struct endpoint *from)
{
    struct endpoint own[2];
    size_t count = internet_endpoints(n, host, own);

    for (size_t i = 0; i < count; i++) {
        if (own[i].addr.family != family)
            continue;
        *from = own[i];
        return true;
    }
    return false;
}

static long destination(const struct internet *n, uint32_t host, const struct endpoint *to)
{
    if (to->addr.family == 4 && addr_is_private(&to->addr))
        return inner_host(n, n->places[host].box, to);
    return place_of(n, &to->addr);
}

void internet_send(struct internet *n, struct agenda *q, usec now_us, uint32_t host,
                   const struct endpoint *to, const uint8_t *bytes, size_t len,
                   void (*arrive)(struct world *w, struct event *e))
{
    struct account *before = account_enter(NULL);
    struct endpoint from;
    long place = destination(n, host, to);
    int copies = 1;

    n->sent++;
    if (place == INTERNET_NOBODY || !source_of(n, host, to->addr.family, &from) ||
        !leave_box(n, now_us, host, &from, to) || !internet_connected(n, host, (uint32_t)place) ||
        internet_apart(n, host, (uint32_t)place) || random_chance(&n->random, n->faults.loss)) {
        n->lost++;
        copies = 0;
    } else if (random_chance(&n->random, n->faults.duplicate)) {
        copies = 2;
    }
    while (copies-- > 0)
        set_packet(n, q, now_us + disturb(n, internet_one_way(n, host, (uint32_t)place)), &from, to,
                   bytes, len, arrive);
    account_enter(before);
}

/* Through a box from outside; from a host of its own only with hairpinning. */
static long enter_box(struct internet *n, usec now_us, long box, const struct packet *p)
{
    struct nat *nat = &n->boxes[box];
    struct endpoint inner;

    if (addr_eq(&p->from.addr, &nat->outer) && !nat->kind.hairpin)
        return INTERNET_NOBODY;
    if (!nat_inbound(nat, now_us, p->to.port, &p->from, &inner))
        return INTERNET_NOBODY;
    return inner_host(n, box, &inner);
}

long internet_arrive(struct internet *n, usec now_us, const struct packet *p)
{
    long box;

    if (p->to.addr.family == 4 && addr_is_private(&p->to.addr)) {
        for (uint32_t i = 0; i < n->hosts; i++) { /* both ends are behind one box */
            struct endpoint own[2];

            if (n->places[i].box == INTERNET_NOBODY || internet_endpoints(n, i, own) == 0)
                continue;
            if (endpoint_eq(&own[0], &p->from))
                return inner_host(n, n->places[i].box, &p->to);
        }
        return INTERNET_NOBODY;
    }
    box = box_of(n, &p->to.addr);
    if (box != INTERNET_NOBODY)
        return enter_box(n, now_us, box, p);
    return p->to.port == INTERNET_PORT ? host_of(n, &p->to.addr) : INTERNET_NOBODY;
}
