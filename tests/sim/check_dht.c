#include "tests/sim/check_dht.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dht/dht.h"
#include "overlay/core/err.h"
#include "tests/sim/world.h"

/* ---- asking ---- */

void dht_check_clear(struct dht_check *c)
{
    stats_clear(&c->get_ms);
}

void dht_check_host_off(struct dht_check *c, uint32_t host)
{
    c->gone++;
    for (size_t i = 0; i < DHT_ASKS_MAX; i++)
        if (c->v[i].used && c->v[i].asker == host)
            c->v[i].used = false;
}

size_t dht_check_pending(const struct dht_check *c)
{
    size_t count = 0;

    for (size_t i = 0; i < DHT_ASKS_MAX; i++)
        count += c->v[i].used;
    return count;
}

static const char *claim_text(enum claim_kind kind)
{
    return kind == CLAIM_ADDRESS ? "address" : "name";
}

static void wrong_answer(struct world *w, struct dht_ask *ask, const struct dht_result *result)
{
    char text[ID_SHORT_SIZE];

    ask->waits = ask->must && w->fault_us < ask->asked_us;
    ask->used = ask->waits;
    ask->again = true;
    if (!ask->waits || w->now_us < ask->asked_us + DHT_ASK_US)
        return;
    ask->used = false;
    world_violated(w, "host %u asked for the %s of host %u (key %s) since %.3f s: %s",
                   (unsigned)ask->asker, claim_text(ask->kind), (unsigned)ask->owner_host,
                   id_short(&ask->key, text), (double)ask->asked_us / 1e6,
                   result->status == DHT_OK ? "found another owner, or an old record"
                                            : dht_status_text(result->status));
}

/* Of somebody who went off longer ago than a lease lasts: nobody can have renewed it since. */
static const struct host *outlived(const struct world *w, const struct id *owner)
{
    const struct host *h = world_host(w, owner);
    usec end_us = SEC(w->config.lease_s) + DHT_END_SLACK_US;

    return h != NULL && h->state == HOST_OFF && w->now_us >= h->off_us + end_us ? h : NULL;
}

static void judge_values(struct world *w, const struct dht_ask *ask,
                         const struct dht_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        const struct host *owner = outlived(w, &result->values[i].owner);

        if (owner != NULL)
            world_violated(w, "host %u asked for the %s of host %u, off since %.3f s: still found",
                           (unsigned)ask->asker, claim_text(ask->kind), (unsigned)owner->index,
                           (double)owner->off_us / 1e6);
    }
}

static bool is_old(const struct dht_ask *ask, const struct dht_value *v)
{
    return v->epoch != ask->epoch ? v->epoch < ask->epoch : v->sequence < ask->sequence;
}

static void get_done(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct host *from = ctx;
    struct world *w = from->world;
    struct dht_ask *ask = &w->dht.v[token];
    struct account *before = account_enter(NULL);

    CHECK(ask->used && !ask->waits && ask->asker == from->index);
    judge_values(w, ask, result);
    if (ask->outlived) {
        ask->used = false;
    } else if (result->status == DHT_OK && result->count == 1 &&
               id_eq(&result->values[0].owner, &ask->owner) && !is_old(ask, &result->values[0])) {
        ask->used = false;
        w->dht.right++;
        w->dht.at_first += !ask->again;
        w->dht.at_once += w->now_us < ask->asked_us + SEC(1);
        stats_add(&w->dht.get_ms, (double)(w->now_us - ask->asked_us) / 1e3);
    } else {
        wrong_answer(w, ask, result);
    }
    account_enter(before);
}

static void get(struct world *w, struct dht_ask *ask)
{
    struct host *from = &w->hosts[ask->asker];

    host_enter(from);
    ask->waits = false;
    ask->used = dht_get(node_dht(from->node), &ask->key, DHT_MAJORITY, get_done, from,
                        (uint64_t)(ask - w->dht.v)) == 0;
    host_exit(from);
}

/* The owner itself may have given it up meanwhile. */
static bool still_claimed(const struct world *w, const struct dht_ask *ask)
{
    const struct host *owner = &w->hosts[ask->owner_host];
    const struct claim *claim = &owner->claims[ask->kind];

    return id_eq(&owner->identity.id, &ask->owner) && claim->since_us < ask->asked_us &&
           claim->key[0] != 0;
}

static void ask_again(struct world *w)
{
    for (size_t i = 0; i < DHT_ASKS_MAX; i++) {
        struct dht_ask *ask = &w->dht.v[i];

        if (!ask->used || !ask->waits)
            continue;
        if (still_claimed(w, ask))
            get(w, ask);
        else
            ask->used = ask->waits = false;
    }
}

struct id dht_check_key(const struct world *w, const uint8_t *claimed, enum claim_kind kind)
{
    const char *name = (const char *)claimed;
    struct addr addr;

    if (kind == CLAIM_NAME)
        return dht_key(&w->group, "host", name, strlen(name));
    memcpy(&addr, claimed, sizeof(addr));
    return dht_key(&w->group, "ipv4", addr.b, 4);
}

static struct dht_ask *free_ask(struct world *w)
{
    for (size_t i = 0; i < DHT_ASKS_MAX; i++)
        if (!w->dht.v[i].used)
            return &w->dht.v[i];
    return NULL;
}

bool dht_check_ask(struct world *w, struct host *from, const struct host *whose,
                   enum claim_kind kind, bool must)
{
    const struct claim *claim = &whose->claims[kind];
    struct dht_value written = {.epoch = 0};
    struct dht_ask *ask = free_ask(w);

    if (ask == NULL || claim->key[0] == 0)
        return false;
    *ask = (struct dht_ask){.must = must,
                            .key = dht_check_key(w, claim->key, kind),
                            .owner = whose->identity.id,
                            .asker = from->index,
                            .owner_host = whose->index,
                            .asked_us = w->now_us,
                            .kind = kind};
    if (dht_kept(node_dht(whose->node), &ask->key, &written)) {
        ask->epoch = written.epoch;
        ask->sequence = written.sequence;
    }
    get(w, ask);
    w->dht.asked += ask->used;
    return ask->used;
}

void dht_check_ask_outlived(struct world *w, struct host *from, const struct host *whose,
                            enum claim_kind kind)
{
    const struct claim *claim = &whose->claims[kind];
    struct dht_ask *ask = free_ask(w);

    if (ask == NULL || claim->last[0] == 0 || outlived(w, &whose->identity.id) == NULL)
        return;
    *ask = (struct dht_ask){.outlived = true,
                            .key = dht_check_key(w, claim->last, kind),
                            .asker = from->index,
                            .kind = kind};
    get(w, ask);
}

/* ---- looking ---- */

struct replica_seen {
    struct id key, owner;
    uint32_t epoch, sequence, duration_s, remaining_s;
    const struct host *holder;
    bool tombstone;
};

static int by_record(const void *a, const void *b)
{
    const struct replica_seen *x = a, *y = b;
    int order = id_cmp(&x->key, &y->key);

    if (order == 0)
        order = id_cmp(&x->owner, &y->owner);
    if (order == 0)
        order = x->holder->index < y->holder->index ? -1 : x->holder->index > y->holder->index;
    return order;
}

static struct replica_seen *all_held(const struct world *w, size_t *count)
{
    struct replica_seen *v = NULL;
    size_t size = 0;

    *count = 0;
    for (size_t h = 0; h < w->host_count; h++) {
        const struct host *host = &w->hosts[h];
        struct dht_held held;

        for (size_t i = 0; host->node != NULL && dht_held_next(node_dht(host->node), &i, &held);) {
            if (*count == size) {
                size = size > 0 ? 2 * size : 1024;
                v = realloc(v, size * sizeof(*v));
                CHECK(v != NULL);
            }
            v[(*count)++] = (struct replica_seen){.key = held.v.key,
                                                  .owner = held.v.owner,
                                                  .epoch = held.v.epoch,
                                                  .sequence = held.v.sequence,
                                                  .duration_s = held.duration_s,
                                                  .remaining_s = held.v.remaining_s,
                                                  .holder = host,
                                                  .tombstone = held.tombstone};
        }
    }
    if (*count > 0)
        qsort(v, *count, sizeof(*v), by_record);
    return v;
}

/* ---- every second ---- */

static size_t first_of_key(const struct replica_seen *v, size_t count, const struct id *key)
{
    size_t low = 0, high = count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (id_cmp(&v[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct standing {
    uint32_t records;    /* a rival's stands for it: who meets one has yet to be told */
    uint32_t tombstones; /* of its owner's earlier life, left in another ring: likewise */
};

static struct standing count_standing(const struct replica_seen *v, size_t count,
                                      const struct id *key, const struct id *owner)
{
    struct standing s = {0};

    for (size_t i = first_of_key(v, count, key); i < count && id_eq(&v[i].key, key); i++) {
        s.records += !v[i].tombstone;
        s.tombstones += v[i].tombstone && id_eq(&v[i].owner, owner);
    }
    return s;
}

/* Since when has it had nothing but tombstones, with nothing to keep its owner from writing? */
static void judge_buried(struct world *w, const struct host *h, enum claim_kind kind,
                         struct claim *claim, const struct standing *s)
{
    if (s->records > 0 || s->tombstones == 0 || w->faults_on || w->ring.rings != 1)
        claim->buried_us = 0;
    else if (claim->buried_us == 0)
        claim->buried_us = w->now_us;
    else if (w->now_us - claim->buried_us > DHT_BURIED_US) {
        world_violated(w, "the %s of host %u has nothing but its own tombstone since %.3f s",
                       claim_text(kind), (unsigned)h->index, (double)claim->buried_us / 1e6);
        claim->buried_us = w->now_us;
    }
}

static void judge_claim(struct world *w, struct host *h, enum claim_kind kind,
                        const struct replica_seen *v, size_t count)
{
    struct claim *claim = &h->claims[kind];
    struct standing s;
    struct id key;

    if (claim->key[0] == 0)
        return;
    key = dht_check_key(w, claim->key, kind);
    s = count_standing(v, count, &key, &h->identity.id);
    if (s.records + s.tombstones == 0 && claim->held > w->dht.gone)
        world_violated(w,
                       "the %s of host %u is nowhere any more; %u hosts held its record, %u went "
                       "off since",
                       claim_text(kind), (unsigned)h->index, (unsigned)claim->held,
                       (unsigned)w->dht.gone);
    claim->held = s.records;
    judge_buried(w, h, kind, claim, &s);
}

static void judge_end(struct world *w, const struct replica_seen *seen)
{
    const struct host *owner = outlived(w, &seen->owner);

    if (seen->tombstone || seen->remaining_s == 0 || owner == NULL)
        return;
    world_violated(w, "host %u holds a record of host %u, off since %.3f s, for %u s more",
                   (unsigned)seen->holder->index, (unsigned)owner->index,
                   (double)owner->off_us / 1e6, (unsigned)seen->remaining_s);
}

static void look(struct world *w)
{
    size_t count;
    struct replica_seen *v = all_held(w, &count);

    for (size_t i = 0; i < count; i++)
        judge_end(w, &v[i]);
    for (size_t i = 0; i < w->host_count; i++)
        for (enum claim_kind kind = 0; w->hosts[i].state == HOST_ON && kind < CLAIM_KINDS; kind++)
            judge_claim(w, &w->hosts[i], kind, v, count);
    w->dht.gone = 0;
    free(v);
}

void dht_check_second(struct world *w)
{
    ask_again(w);
    if (w->config.device && w->now_us / SEC(1) % world_look_seconds(w) == 0)
        look(w);
}

/* ---- replicas ---- */

/* What this host has of the record that starts at v; NULL: nothing. */
static const struct replica_seen *of_holder(const struct replica_seen *v, size_t n,
                                            const struct host *host)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].holder == host)
            return &v[i];
    return NULL;
}

static bool newer(const struct replica_seen *a, const struct replica_seen *b)
{
    return a->epoch != b->epoch ? a->epoch > b->epoch : a->sequence > b->sequence;
}

enum point_state {
    POINT_WHOLE, /* all of its holders have the newest */
    POINT_LOST,  /* none has it: they died at once, or were all new */
    POINT_TORN,
};

static enum point_state point_judge(const struct world *w, const struct replica_seen *v, size_t n,
                                    const struct replica_seen *newest, unsigned point, bool explain)
{
    struct id at = id_point(&v->key, point, DHT_POINTS);
    struct host *holders[3] = {ring_check_owner(w, w->ring.members[0].host, &at)};
    size_t count = 1 + ring_check_beside(w, holders[0], holders + 1), missing = 0;

    for (size_t i = 0; i < count; i++) {
        const struct replica_seen *seen = of_holder(v, n, holders[i]);

        if (seen != NULL && seen->epoch == newest->epoch && seen->sequence == newest->sequence)
            continue;
        missing++;
        if (explain)
            fprintf(stderr, "  point %u: host %u (%s) %s\n", point, (unsigned)holders[i]->index,
                    i == 0 ? "closest" : "beside", seen == NULL ? "has nothing" : "has an old one");
    }
    return missing == 0 ? POINT_WHOLE : missing == count ? POINT_LOST : POINT_TORN;
}

static void record_explain(const struct world *w, const struct replica_seen *v, size_t n,
                           const struct replica_seen *newest)
{
    const struct host *owner = world_host(w, &v->owner);
    char text[ID_SHORT_SIZE];

    fprintf(stderr, "record %s of %s %d, epoch %u, sequence %u, %zu replicas, newest at host %u:\n",
            id_short(&v->key, text),
            owner == NULL        ? "a stranger"
            : owner->view.member ? "host"
                                 : "dead host",
            owner != NULL ? (int)owner->index : -1, (unsigned)newest->epoch,
            (unsigned)newest->sequence, n, (unsigned)newest->holder->index);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "  host %u: sequence %u, %u s left\n", (unsigned)v[i].holder->index,
                (unsigned)v[i].sequence, (unsigned)v[i].remaining_s);
    for (unsigned point = 0; point < DHT_POINTS; point++)
        (void)point_judge(w, v, n, newest, point, true);
}

/* Just written, and on its way to the others still: with many short leases some always are. */
static bool is_young(const struct replica_seen *newest)
{
    return newest->remaining_s + DHT_YOUNG_S > newest->duration_s;
}

/* Holders drop it one after the other: each counts from when the write reached it, and a write may
 * be repeated for seconds; whole seconds are passed on. */
static bool is_ending(const struct replica_seen *v, size_t n, const struct replica_seen *newest)
{
    uint32_t first_s = newest->remaining_s, last_s = newest->remaining_s;

    for (size_t i = 0; i < n; i++) {
        if (newer(newest, &v[i]))
            continue;
        first_s = v[i].remaining_s < first_s ? v[i].remaining_s : first_s;
        last_s = v[i].remaining_s > last_s ? v[i].remaining_s : last_s;
    }
    return first_s < DHT_ENDING_S && last_s < first_s + DHT_ENDS_APART_S;
}

/* Of n replicas of one record: is no point torn, and of a live owner's a majority there? */
static bool record_is_whole(const struct world *w, const struct replica_seen *v, size_t n,
                            bool explain)
{
    const struct host *owner = world_host(w, &v->owner);
    bool owner_lives = owner != NULL && owner->view.member;
    const struct replica_seen *newest = v;
    unsigned whole = 0, torn = 0;

    for (size_t i = 1; i < n; i++)
        if (newer(&v[i], newest))
            newest = &v[i];
    if (newest->tombstone || is_ending(v, n, newest) || is_young(newest))
        return true;
    for (unsigned point = 0; point < DHT_POINTS; point++) {
        enum point_state state = point_judge(w, v, n, newest, point, false);

        whole += state == POINT_WHOLE;
        torn += state == POINT_TORN;
    }
    if (torn == 0 && (whole >= DHT_MAJORITY_POINTS || !owner_lives))
        return true;
    if (explain)
        record_explain(w, v, n, newest);
    return false;
}

size_t dht_check_replicas(const struct world *w, size_t *records, size_t explain)
{
    size_t count, bad = 0;
    struct replica_seen *v = all_held(w, &count);

    *records = 0;
    for (size_t i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && id_eq(&v[i + n].key, &v[i].key) &&
                    id_eq(&v[i + n].owner, &v[i].owner);)
            n++;
        ++*records;
        bad += !record_is_whole(w, v + i, n, bad < explain);
    }
    free(v);
    return bad;
}

/* All that it holds of the records that are followed; false: nothing. */
static bool held_text(const struct world *w, const struct host *h, const char *prefix, char *text,
                      size_t size)
{
    struct dht_held held;
    char id[ID_TEXT_SIZE];
    size_t len = 0;

    text[0] = 0;
    for (size_t i = 0; h->node != NULL && dht_held_next(node_dht(h->node), &i, &held);) {
        const struct host *owner = world_host(w, &held.v.owner);

        if (len >= size || strncmp(id_text(&held.v.key, id), prefix, strlen(prefix)) != 0)
            continue;
        id_short(&held.v.owner, id);
        len += (size_t)snprintf(text + len, size - len, "%s%s of %s (%d) %u.%u at %02x",
                                len > 0 ? ", " : "", held.tombstone ? "tombstone" : "record", id,
                                owner != NULL ? (int)owner->index : -1, (unsigned)held.v.epoch,
                                (unsigned)held.v.sequence, held.points);
    }
    return len > 0;
}

void dht_check_follow(const struct world *w, struct host *h, const char *prefix)
{
    char now[512], text[ID_SHORT_SIZE];

    if (!held_text(w, h, prefix, now, sizeof(now)))
        snprintf(now, sizeof(now), "nothing");
    if (strcmp(now, h->followed != NULL ? h->followed : "") == 0)
        return;
    free(h->followed);
    h->followed = strdup(now);
    fprintf(stderr, "%12.6f follow host %u %s holds %s\n", (double)w->now_us / 1e6,
            (unsigned)h->index, id_short(&h->identity.id, text), now);
}
