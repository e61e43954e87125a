#include "tests/sim/nat.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"

enum { NAT_PORT_FIRST = 1024, NAT_PORT_COUNT = 65536 - NAT_PORT_FIRST };

void nat_init(struct nat *n, const struct nat_kind *kind, const struct addr *outer,
              struct random random)
{
    *n = (struct nat){.kind = *kind, .outer = *outer, .random = random};
    n->next_port = (uint16_t)(NAT_PORT_FIRST + random_below(&n->random, NAT_PORT_COUNT));
}

void nat_forget(struct nat *n)
{
    n->count = 0;
}

void nat_clear(struct nat *n)
{
    free(n->v);
    n->v = NULL;
    n->count = n->size = 0;
}

/* The same as far as this dependence looks. */
static bool same(enum nat_dependence how, const struct endpoint *a, const struct endpoint *b)
{
    switch (how) {
    case NAT_ENDPOINT_INDEPENDENT:
        return true;
    case NAT_ADDRESS_DEPENDENT:
        return addr_eq(&a->addr, &b->addr);
    case NAT_ADDRESS_AND_PORT_DEPENDENT:
        return endpoint_eq(a, b);
    }
    return false;
}

static void drop_old(struct nat *n, usec now_us)
{
    for (size_t i = 0; i < n->count;) {
        if (n->v[i].until_us <= now_us)
            n->v[i] = n->v[--n->count];
        else
            i++;
    }
}

static struct nat_mapping *by_port(struct nat *n, uint16_t port)
{
    for (size_t i = 0; i < n->count; i++)
        if (n->v[i].port == port)
            return &n->v[i];
    return NULL;
}

static struct nat_mapping *by_inner(struct nat *n, const struct endpoint *inner,
                                    const struct endpoint *remote)
{
    for (size_t i = 0; i < n->count; i++)
        if (endpoint_eq(&n->v[i].inner, inner) && same(n->kind.mapping, &n->v[i].remote, remote))
            return &n->v[i];
    return NULL;
}

static uint16_t next_port(struct nat *n)
{
    n->next_port = n->next_port == UINT16_MAX ? NAT_PORT_FIRST : (uint16_t)(n->next_port + 1);
    return n->next_port;
}

static uint16_t free_port(struct nat *n, uint16_t inner_port)
{
    uint16_t port = n->kind.ports == NAT_PORTS_PRESERVED ? inner_port
                    : n->kind.ports == NAT_PORTS_SEQUENTIAL
                        ? next_port(n)
                        : (uint16_t)(NAT_PORT_FIRST + random_below(&n->random, NAT_PORT_COUNT));

    while (by_port(n, port) != NULL) /* ends: far fewer mappings than ports */
        port = next_port(n);
    return port;
}

static void make_room(struct nat *n)
{
    size_t oldest = 0;

    if (n->count < n->size)
        return;
    if (n->count < NAT_MAPPINGS_MAX) {
        n->size = n->size > 0 ? 2 * n->size : 16;
        n->v = realloc(n->v, n->size * sizeof(*n->v));
        CHECK(n->v != NULL);
        return;
    }
    for (size_t i = 1; i < n->count; i++)
        if (n->v[i].until_us < n->v[oldest].until_us)
            oldest = i;
    n->v[oldest] = n->v[--n->count];
}

static void let_in(struct nat_mapping *m, const struct endpoint *remote)
{
    for (uint8_t i = 0; i < m->remote_count; i++)
        if (endpoint_eq(&m->remotes[i], remote))
            return;
    if (m->remote_count == NAT_REMOTES_MAX) {
        memmove(m->remotes, m->remotes + 1, (NAT_REMOTES_MAX - 1) * sizeof(m->remotes[0]));
        m->remote_count--;
    }
    m->remotes[m->remote_count++] = *remote;
}

struct endpoint nat_outbound(struct nat *n, usec now_us, const struct endpoint *inner,
                             const struct endpoint *remote)
{
    struct nat_mapping *m;

    drop_old(n, now_us);
    m = by_inner(n, inner, remote);
    if (m == NULL) {
        uint16_t port = free_port(n, inner->port);

        make_room(n);
        m = &n->v[n->count++];
        *m = (struct nat_mapping){.inner = *inner, .remote = *remote, .port = port};
    }
    m->until_us = now_us + n->kind.timeout_us;
    let_in(m, remote);
    return (struct endpoint){n->outer, m->port};
}

bool nat_inbound(struct nat *n, usec now_us, uint16_t port, const struct endpoint *remote,
                 struct endpoint *inner)
{
    struct nat_mapping *m;

    *inner = (struct endpoint){0};
    drop_old(n, now_us);
    m = by_port(n, port);
    if (m == NULL)
        return false;
    for (uint8_t i = 0; i < m->remote_count; i++) {
        if (!same(n->kind.filtering, &m->remotes[i], remote))
            continue;
        *inner = m->inner;
        return true;
    }
    return false;
}
