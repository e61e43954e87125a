#include "tests/sim/claims.h"

#include <string.h>

#include "overlay/core/err.h"
#include "tests/sim/world.h"

enum { APART_US = 2000000 }; /* the judge may learn so late that there were two rings */

static const uint8_t no_key[CLAIM_KEY_LEN];

void claims_init(struct claims *c, size_t hosts)
{
    for (size_t i = 0; i < CLAIM_KINDS; i++)
        table_init(&c->held[i], offsetof(struct claim, key), CLAIM_KEY_LEN, hosts, no_key);
}

void claims_clear(struct claims *c)
{
    for (size_t i = 0; i < CLAIM_KINDS; i++)
        table_clear(&c->held[i]);
}

static const char *what(enum claim_kind kind, const struct claim *claim, char out[ADDR_TEXT_SIZE])
{
    struct addr addr;

    if (kind == CLAIM_NAME)
        return (const char *)claim->key;
    memcpy(&addr, claim->key, sizeof(addr));
    return addr_text(&addr, out);
}

static bool reachable(const struct world *w, const struct host *a, const struct host *b)
{
    return internet_connected(&w->internet, a->index, b->index) &&
           internet_connected(&w->internet, b->index, a->index);
}

static void violated(struct world *w, enum claim_kind kind, const struct claim *c,
                     const struct claim *first, const char *how)
{
    struct id key = dht_check_key(w, c->key, kind);
    char text[ADDR_TEXT_SIZE], digits[ID_SHORT_SIZE];

    world_violated(w, "%s (key %s) belongs to hosts %u (since %.3f s) and %u (since %.3f s), %s",
                   what(kind, c, text), id_short(&key, digits), (unsigned)first->host->index,
                   (double)first->since_us / 1e6, (unsigned)c->host->index,
                   (double)c->since_us / 1e6, how);
}

static void claim_put(struct world *w, struct claim *c, enum claim_kind kind)
{
    struct claim *first = table_get(&w->claims.held[kind], c->key);

    if (first == NULL) {
        CHECK(table_put(&w->claims.held[kind], c) == 0);
        return;
    }
    c->double_us = w->now_us;
    w->claims.doubled++;
    w->claims.conflicts++;
    ring_check_count(w);
    if (reachable(w, c->host, first->host) && w->ring.broken_us + APART_US < first->since_us)
        violated(w, kind, c, first, "both claimed in one whole ring");
}

/* Another becomes the first. */
static void claim_pass_on(struct world *w, const uint8_t *key, enum claim_kind kind)
{
    for (size_t i = 0; w->claims.doubled > 0 && i < w->host_count; i++) {
        struct claim *c = &w->hosts[i].claims[kind];

        if (c->double_us == 0 || memcmp(c->key, key, CLAIM_KEY_LEN) != 0)
            continue;
        c->double_us = 0;
        w->claims.doubled--;
        CHECK(table_put(&w->claims.held[kind], c) == 0);
        return;
    }
}

static void claim_take(struct world *w, struct claim *c, enum claim_kind kind)
{
    if (c->double_us != 0) {
        c->double_us = 0;
        w->claims.doubled--;
        return;
    }
    CHECK(table_remove(&w->claims.held[kind], c->key) == c);
    claim_pass_on(w, c->key, kind);
}

void claims_moved(struct world *w, struct host *h, enum claim_kind kind, const uint8_t *key)
{
    struct claim *c = &h->claims[kind], before = *c;

    if (memcmp(c->key, key, CLAIM_KEY_LEN) == 0)
        return;
    if (memcmp(c->key, no_key, CLAIM_KEY_LEN) != 0)
        claim_take(w, c, kind);
    *c = (struct claim){.host = h, .since_us = w->now_us};
    memcpy(c->key, key, CLAIM_KEY_LEN);
    memcpy(c->last, before.key[0] != 0 ? before.key : before.last, CLAIM_KEY_LEN);
    if (memcmp(key, no_key, CLAIM_KEY_LEN) != 0)
        claim_put(w, c, kind);
}

static void claim_judge(struct world *w, struct claim *c, enum claim_kind kind)
{
    const struct claim *first;
    usec since_us;

    if (c->double_us == 0)
        return;
    first = table_get(&w->claims.held[kind], c->key);
    since_us = w->ring.broken_us > c->double_us ? w->ring.broken_us : c->double_us;
    if (reachable(w, c->host, first->host) && w->now_us > since_us + CLAIMS_SETTLE_US) {
        violated(w, kind, c, first, "not settled for 60 s");
        c->double_us = w->now_us;
    }
}

void claims_second(struct world *w)
{
    for (size_t i = 0; w->claims.doubled > 0 && i < w->host_count; i++)
        for (enum claim_kind kind = 0; kind < CLAIM_KINDS; kind++)
            claim_judge(w, &w->hosts[i].claims[kind], kind);
}
