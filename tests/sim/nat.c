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

/* Its place is taken by the last. */
static void mapping_drop(struct nat *n, size_t i)
{
    free(n->v[i].remotes);
    n->v[i] = n->v[--n->count];
}

void nat_forget(struct nat *n)
{
    while (n->count > 0)
        mapping_drop(n, n->count - 1);
}

void nat_clear(struct nat *n)
{
    nat_forget(n);
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
            mapping_drop(n, i);
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
    mapping_drop(n, oldest);
}

static struct nat_remote *remote_slot(struct nat_mapping *m)
{
    struct nat_remote *oldest = m->remotes;

    if (m->remote_count == m->remote_size && m->remote_size < NAT_REMOTES_MAX) {
        m->remote_size = m->remote_size > 0 ? 2 * m->remote_size : 16;
        m->remotes = realloc(m->remotes, m->remote_size * sizeof(*m->remotes));
        CHECK(m->remotes != NULL);
    }
    if (m->remote_count < m->remote_size)
        return &m->remotes[m->remote_count++];
    for (size_t i = 1; i < m->remote_count; i++)
        if (m->remotes[i].sent_us < oldest->sent_us)
            oldest = &m->remotes[i];
    return oldest;
}

static void let_in(struct nat_mapping *m, usec now_us, const struct endpoint *remote)
{
    size_t i = 0;

    while (i < m->remote_count && !endpoint_eq(&m->remotes[i].ep, remote))
        i++;
    struct nat_remote *r = i < m->remote_count ? &m->remotes[i] : remote_slot(m);

    *r = (struct nat_remote){*remote, now_us};
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
    let_in(m, now_us, remote);
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
    for (size_t i = 0; i < m->remote_count; i++) {
        if (!same(n->kind.filtering, &m->remotes[i].ep, remote))
            continue;
        *inner = m->inner;
        return true;
    }
    return false;
}
