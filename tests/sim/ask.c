#include "tests/sim/ask.h"

#include <string.h>

#include "overlay/core/err.h"
#include "tests/sim/world.h"

enum {
    ASK_TRIES = 4,     /* as whoever asks would: a message may be lost, or have met a dead node */
    ASK_TRY_S = 2,     /* and ... */
    ASK_TRY_WAYS = 10, /* ... so many times the delay that is everywhere the same */
    ASK_CALM_S = 60,   /* nothing hurt for so long */
};

static uint64_t hop_limit_drops(const struct host *h)
{
    const char *name;
    uint64_t value;

    for (size_t i = 0; overlay_counter(host_overlay(h), i, &name, &value); i++)
        if (strcmp(name, "drop_hop_limit") == 0)
            return value;
    CHECK(!"the overlay counts what dies of its hop limit");
    return 0;
}

void asks_look(struct world *w)
{
    uint64_t before = w->asks.too_far;

    w->asks.looked_us = w->now_us;
    w->asks.too_far = 0;
    for (size_t i = 0; i < w->host_count; i++)
        if (w->hosts[i].node != NULL)
            w->asks.too_far += hop_limit_drops(&w->hosts[i]);
    if (w->asks.too_far > before)
        world_violated(w, "%llu messages reached their hop limit",
                       (unsigned long long)(w->asks.too_far - before));
}

static void look_now_and_then(struct world *w)
{
    if (w->now_us >= w->asks.looked_us + SEC(world_look_seconds(w)))
        asks_look(w);
}

static void ask_next(struct world *w, struct event *e)
{
    struct host *from = world_any(w, &w->asks.random);

    look_now_and_then(w);
    if (from != NULL && from->view.member)
        (void)ask_now(w, from, NULL);
    if (w->asks.mean_us > 0)
        agenda_set(&w->agenda, e,
                   w->now_us + 1 +
                       (usec)random_exponential(&w->asks.random, (double)w->asks.mean_us));
}

void asks_init(struct asks *a, struct random random)
{
    a->random = random;
    a->next.happen = ask_next;
}

void asks_clear(struct asks *a)
{
    asks_forget_figures(a);
}

void asks_forget_figures(struct asks *a)
{
    stats_clear(&a->hops);
    stats_clear(&a->overlay_ms);
    stats_clear(&a->direct_ms);
}

void asks_go_on(struct world *w, usec mean_us)
{
    w->asks.mean_us = mean_us;
    agenda_set(&w->agenda, &w->asks.next, mean_us > 0 ? w->now_us + mean_us : USEC_NEVER);
}

void asks_forget_asker(struct asks *a, uint32_t host)
{
    for (size_t i = 0; i < ASKS_MAX; i++)
        if (a->v[i].used && a->v[i].asker == host)
            a->v[i].used = false;
}

size_t asks_pending(const struct asks *a)
{
    size_t count = 0;

    for (size_t i = 0; i < ASKS_MAX; i++)
        count += a->v[i].used;
    return count;
}

/* When who answered could have heard that the owner is a member now. */
static usec known_us(const struct world *w, const struct host *owner, const struct id *who)
{
    const struct host *h = world_host(w, who);

    return owner->view.member_us +
           (h != NULL ? internet_one_way(&w->internet, owner->index, h->index) : 0);
}

/* Somebody was there from question to answer and is closer to the key than who answered. */
static bool somebody_closer(const struct world *w, const struct ask *ask, const struct host *from,
                            const struct id *who)
{
    const struct host *owner = ring_check_owner(w, from, &ask->key);

    return owner != NULL && !id_eq(&owner->identity.id, who) &&
           known_us(w, owner, who) < ask->asked_us &&
           id_closer(&ask->key, &owner->identity.id, who);
}

/* From the question on, too. */
static bool was_calm(const struct world *w, const struct ask *ask)
{
    return ask->calm && w->fault_us < ask->asked_us;
}

/* A way that comes by nobody twice is not longer. */
static void judge_way(struct world *w, const struct ask *ask, const struct host *from,
                      const struct overlay_ping_result *r)
{
    if (was_calm(w, ask) && r->hops > w->on)
        world_violated(w, "host %u's question of %.3f s took %u hops in a ring of %zu",
                       (unsigned)from->index, (double)ask->asked_us / 1e6, (unsigned)r->hops,
                       w->on);
}

static void judge_answer(struct world *w, const struct ask *ask, const struct host *from,
                         const struct overlay_ping_result *r)
{
    bool right = ask->exact ? id_eq(&r->node, &w->hosts[ask->target].identity.id)
                            : !somebody_closer(w, ask, from, &r->node);
    const struct host *who = world_host(w, &r->node);

    w->asks.answered++;
    w->asks.correct += right;
    w->asks.wrong += !right;
    /* When it is cut off from the others it is asked again in its part of the ring, whose owner is
     * another. */
    if (!right && ask->calm && w->ways_us < ask->asked_us) {
        w->asks.wrong_calm++;
        world_violated(w, "host %u's question of %.3f s was answered by host %ld, not the owner",
                       (unsigned)from->index, (double)ask->asked_us / 1e6,
                       who != NULL ? (long)who->index : -1);
    }
    judge_way(w, ask, from, r);
    stats_add(&w->asks.hops, r->hops);
    if (who == NULL || who == from)
        return;
    stats_add(&w->asks.overlay_ms, (double)r->rtt_us / 1e3);
    stats_add(&w->asks.direct_ms,
              (double)(internet_one_way(&w->internet, from->index, who->index) +
                       internet_one_way(&w->internet, who->index, from->index)) /
                  1e3);
}

static void judge_silence(struct world *w, const struct ask *ask, const struct host *from)
{
    const struct host *owner = ring_check_owner(w, from, &ask->key);
    char text[ID_SHORT_SIZE];

    if (!was_calm(w, ask) || w->faults_on)
        return;
    w->asks.unanswered_calm++;
    world_violated(w,
                   "host %u's question of %.3f s %s %s (host %ld's) was not answered with nothing "
                   "broken",
                   (unsigned)from->index, (double)ask->asked_us / 1e6,
                   ask->exact ? "to" : "for key", id_short(&ask->key, text),
                   owner != NULL ? (long)owner->index : -1);
}

static bool ask_try(struct world *w, struct ask *ask);

static void ask_done(void *ctx, const struct overlay_ping_result *r)
{
    struct host *from = ctx;
    struct world *w = from->world;
    struct ask *ask = &w->asks.v[r->token % ASKS_MAX];
    struct account *before = account_enter(NULL);

    CHECK(ask->used && ask->asker == from->index);
    if (r->answered && ask->tries == 1)
        w->asks.at_once++;
    if (!r->answered && ask->tries < ASK_TRIES && ask_try(w, ask)) {
        account_enter(before);
        return;
    }
    ask->used = false;
    if (r->answered)
        judge_answer(w, ask, from, r);
    else
        judge_silence(w, ask, from);
    account_enter(before);
}

/* From inside the asker's node, or between host_enter and host_exit. */
static bool ask_try(struct world *w, struct ask *ask)
{
    struct host *from = &w->hosts[ask->asker];
    struct account *before = account_enter(&from->account);
    int r =
        overlay_ping(host_overlay(from), &ask->key, ask->exact ? OVERLAY_EXACT : OVERLAY_NEAREST,
                     SEC(ASK_TRY_S) + ASK_TRY_WAYS * w->config.delay_us,
                     (uint32_t)(ask - w->asks.v), ask_done, from);

    account_enter(before);
    ask->tries++;
    return r == 0;
}

static struct ask *ask_take(struct asks *a)
{
    for (uint32_t i = 0; i < ASKS_MAX; i++) {
        struct ask *ask = &a->v[(a->asked + i) % ASKS_MAX];

        if (!ask->used)
            return ask;
    }
    return NULL;
}

bool ask_now(struct world *w, struct host *from, const struct host *target)
{
    struct ask *ask = ask_take(&w->asks);

    if (ask == NULL)
        return false;
    *ask = (struct ask){.exact = target != NULL, .asker = from->index, .asked_us = w->now_us};
    ask->calm = !w->faults_on && w->ring.ideal_us != 0 &&
                w->now_us - w->ring.ideal_us > SEC(ASK_SESSIONS_S) &&
                (w->calm || w->now_us - w->fault_us > SEC(ASK_CALM_S));
    if (target != NULL) {
        ask->target = target->index;
        ask->key = target->identity.id;
    } else {
        random_bytes(&w->asks.random, ask->key.b, sizeof(ask->key.b));
    }
    host_enter(from);
    ask->used = ask_try(w, ask);
    w->asks.asked += ask->used;
    host_exit(from);
    return ask->used;
}
