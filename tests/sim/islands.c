#include "tests/sim/islands.h"

#include "overlay/core/err.h"
#include "tests/sim/world.h"

enum { PEERS_MAX = 512 };

/* The one that stands for its island. */
static struct host *island_of(struct host *h)
{
    while (h->view.island != h)
        h = h->view.island = h->view.island->view.island;
    return h;
}

/* Returns by how many the islands became fewer. */
static size_t join_with_peers(struct world *w, struct host *h)
{
    static struct overlay_peer_info peers[PEERS_MAX];
    size_t count = overlay_peers(host_overlay(h), peers, PEERS_MAX), joined = 0;

    for (size_t i = 0; i < count; i++) {
        struct host *other = peers[i].up ? world_host(w, &peers[i].node) : NULL;

        if (other == NULL || !other->view.member ||
            !internet_together(&w->internet, h->index, other->index) ||
            island_of(h) == island_of(other))
            continue;
        island_of(other)->view.island = island_of(h);
        joined++;
    }
    return joined;
}

size_t islands_count(struct world *w)
{
    const struct ring_check *c = &w->ring;
    size_t islands = c->count;

    for (size_t i = 0; i < c->count; i++)
        c->members[i].host->view.island = c->members[i].host;
    for (size_t i = 0; i < c->count; i++)
        islands -= join_with_peers(w, c->members[i].host);
    return islands;
}
