/*
 * A walk round the ring: every node met is asked for its near lists, and those name the next. It
 * starts at all the nodes that our peers told us of, so it runs in many places at once.
 */
#include "overlay/overlay_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    ASKED_MAX = 32, /* questions under way */
    TRIES = 4,
    CHECKED = 2, /* nearest on each side that must be right */
};
static const usec answer_us = MSEC(1500);

enum crawl_state { CRAWL_WAITING, CRAWL_ASKED, CRAWL_ANSWERED, CRAWL_SILENT };

struct crawl_entry {
    struct overlay_crawl_node node;
    enum crawl_state state;
    uint8_t tries;
    usec at_us;
};

struct crawl {
    struct alarm alarm;
    uint32_t token;
    struct crawl_entry *v; /* sorted by id */
    size_t count, size, max;
    size_t asked;
    void (*node)(void *ctx, const struct overlay_crawl_node *n);
    void (*end)(void *ctx, uint32_t nodes, uint32_t inconsistent);
    void *ctx;
};

static size_t slot_of(const struct crawl *c, const struct id *id, bool *found)
{
    size_t low = 0, high = c->count;

    *found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = id_cmp(&c->v[middle].node.node, id);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void meet(struct crawl *c, const struct id *id)
{
    bool found;
    size_t slot = slot_of(c, id, &found);

    if (found || c->count >= c->max)
        return;
    if (c->count == c->size) {
        size_t size = c->size > 0 ? 2 * c->size : 32;
        struct crawl_entry *v = realloc(c->v, size * sizeof *v);

        if (v == NULL)
            return;
        c->v = v;
        c->size = size;
    }
    memmove(c->v + slot + 1, c->v + slot, (c->count - slot) * sizeof *c->v);
    c->v[slot] = (struct crawl_entry){.node.node = *id};
    c->count++;
}

static void take_answer(struct crawl *c, struct crawl_entry *e, const struct ring_list side[2])
{
    struct overlay_crawl_node *n = &e->node;

    e->state = CRAWL_ANSWERED;
    n->answered = true;
    n->lefts = side[RING_LEFT].count;
    n->rights = side[RING_RIGHT].count;
    memcpy(n->left, side[RING_LEFT].id, sizeof n->left);
    memcpy(n->right, side[RING_RIGHT].id, sizeof n->right);
    for (int s = RING_LEFT; s <= RING_RIGHT; s++) /* e moves with the first one met */
        for (size_t i = 0; i < side[s].count; i++)
            meet(c, &side[s].id[i]);
}

/* The nearest answering nodes on one side of entry i are those that it named. */
static bool side_right(const struct crawl *c, size_t i, bool right, const struct id *named,
                       size_t count)
{
    size_t at = i, checked = 0;

    for (size_t step = 1; step < c->count && checked < CHECKED; step++) {
        at = right ? (at + 1) % c->count : (at + c->count - 1) % c->count;
        if (c->v[at].state != CRAWL_ANSWERED)
            continue;
        if (checked >= count || !id_eq(&named[checked], &c->v[at].node.node))
            return false;
        checked++;
    }
    return true;
}

static void report(struct crawl *c)
{
    uint32_t inconsistent = 0;

    for (size_t i = 0; i < c->count; i++) {
        struct overlay_crawl_node *n = &c->v[i].node;

        n->consistent = n->answered && side_right(c, i, true, n->right, n->rights) &&
                        side_right(c, i, false, n->left, n->lefts);
        inconsistent += !n->consistent;
        c->node(c->ctx, n);
    }
    c->end(c->ctx, (uint32_t)c->count, inconsistent);
}

static void crawl_end(struct overlay *o)
{
    struct crawl *c = o->crawl;

    alarm_set(o, &c->alarm, USEC_NEVER);
    o->crawl = NULL; /* the callbacks may begin another */
    report(c);
    free(c->v);
    free(c);
}

static void ask(struct overlay *o, struct crawl *c, struct crawl_entry *e)
{
    if (e->state == CRAWL_WAITING)
        c->asked++;
    e->state = CRAWL_ASKED;
    e->tries++;
    e->at_us = o->env->now_us + answer_us;
    (void)join_ask(o, &e->node.node, ROUTE_EXACT, 0, c->token, NULL);
}

static void crawl_due(struct overlay *o, struct alarm *alarm)
{
    struct crawl *c = o->crawl;
    usec at_us = USEC_NEVER;
    bool busy = false;

    for (size_t i = 0; i < c->count; i++) {
        struct crawl_entry *e = &c->v[i];

        if (e->state == CRAWL_ASKED && e->at_us <= o->env->now_us) {
            if (e->tries < TRIES) {
                ask(o, c, e);
            } else {
                e->state = CRAWL_SILENT;
                c->asked--;
            }
        } else if (e->state == CRAWL_WAITING && c->asked < ASKED_MAX) {
            ask(o, c, e);
        }
        busy |= e->state == CRAWL_WAITING || e->state == CRAWL_ASKED;
        if (e->state == CRAWL_ASKED)
            at_us = usec_min(at_us, e->at_us);
    }
    if (busy)
        alarm_set(o, alarm, at_us != USEC_NEVER ? at_us : o->env->now_us);
    else
        crawl_end(o);
}

void crawl_lists(struct overlay *o, const struct lists *lists)
{
    struct crawl *c = o->crawl;
    bool found;
    size_t slot;

    if (c == NULL || lists->token != c->token)
        return;
    slot = slot_of(c, &lists->from, &found);
    if (!found || c->v[slot].state != CRAWL_ASKED)
        return;
    c->asked--;
    take_answer(c, &c->v[slot], lists->side);
    alarm_sooner(o, &c->alarm, o->env->now_us);
}

int overlay_crawl(struct overlay *o, uint32_t nodes_max,
                  void (*node)(void *ctx, const struct overlay_crawl_node *n),
                  void (*end)(void *ctx, uint32_t nodes, uint32_t inconsistent), void *ctx)
{
    struct crawl *c;
    bool found;

    if (o->crawl != NULL)
        return -ERR_FULL;
    if (o->ring.state != OVERLAY_MEMBER || nodes_max == 0)
        return -ERR_BAD_STATE;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ERR_NOMEM;
    c->alarm = (struct alarm){.timer.at_us = USEC_NEVER, .due = crawl_due};
    c->token = join_token(o, ASK_FOR_CRAWL);
    c->max = nodes_max;
    c->node = node;
    c->end = end;
    c->ctx = ctx;
    o->crawl = c;
    meet(c, &o->ring.self);
    take_answer(c, &c->v[slot_of(c, &o->ring.self, &found)], o->ring.near);
    for (size_t i = 0; i < o->ring.count; i++) {
        const struct ring_peer *peer = o->ring.peers[i];

        if (peer->state == OVERLAY_MEMBER)
            meet(c, &peer->id);
    }
    alarm_set(o, &c->alarm, o->env->now_us);
    return 0;
}

void overlay_crawl_cancel(struct overlay *o, void *ctx)
{
    if (o->crawl != NULL && o->crawl->ctx == ctx)
        crawl_free(o);
}

void crawl_free(struct overlay *o)
{
    if (o->crawl == NULL)
        return;
    alarm_set(o, &o->crawl->alarm, USEC_NEVER);
    free(o->crawl->v);
    free(o->crawl);
    o->crawl = NULL;
}
