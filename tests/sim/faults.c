#include "tests/sim/faults.h"

#include "overlay/core/err.h"
#include "tests/sim/world.h"

static void partition(struct world *w, unsigned parts)
{
    for (size_t i = 0; i < w->host_count; i++)
        w->internet.places[i].part = (uint8_t)random_below(&w->faults.random, parts);
    for (size_t i = 0; i < w->host_count; i++) { /* a box is on one side */
        int16_t box = w->internet.places[i].box;

        for (size_t k = 0; box != INTERNET_NOBODY && k < i; k++)
            if (w->internet.places[k].box == box)
                w->internet.places[i].part = w->internet.places[k].part;
    }
    w->faults_on = true;
    w->parts = parts;
    ring_check_all_touched(w);
}

static void reunite(struct world *w)
{
    internet_reunite(&w->internet);
    w->faults_on = internet_is_bad(&w->internet);
    w->parts = 0;
    w->ring.crowded_us = 0;
    ring_check_all_touched(w);
}

static void heal(struct world *w)
{
    internet_heal(&w->internet);
    reunite(w);
}

static void crash_share(struct world *w, double share)
{
    size_t want = (size_t)(share * (double)w->on + 0.5);
    struct host *h;

    for (; want > 0 && (h = world_any(w, &w->faults.random)) != NULL; want--)
        host_crash(h);
}

static void cut_some(struct world *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t from = (uint32_t)random_below(&w->faults.random, w->host_count);
        uint32_t to = (uint32_t)random_below(&w->faults.random, w->host_count);

        if (from != to)
            internet_cut(&w->internet, from, to);
    }
    w->faults_on = true;
}

static void restart_all(struct world *w, usec spread_us)
{
    for (size_t i = 0; i < w->host_count; i++)
        if (w->hosts[i].state == HOST_OFF)
            host_start_at(&w->hosts[i], w->now_us + random_below(&w->faults.random, spread_us + 1),
                          false);
}

void fault_do(struct world *w, const struct fault *fault)
{
    world_hurt(w);
    switch (fault->kind) {
    case FAULT_PARTITION:
        partition(w, fault->parts);
        w->ways_us = w->now_us;
        break;
    case FAULT_REUNITE:
        reunite(w);
        w->ways_us = w->now_us;
        break;
    case FAULT_HEAL:
        heal(w);
        w->ways_us = w->now_us;
        break;
    case FAULT_CRASH:
        crash_share(w, fault->share);
        break;
    case FAULT_CUT:
        cut_some(w, fault->parts);
        w->ways_us = w->now_us;
        break;
    case FAULT_LINKS:
        w->internet.faults = fault->links;
        w->faults_on = true;
        break;
    case FAULT_RESTART:
        restart_all(w, fault->spread_us);
        break;
    }
}

static void fault_happens(struct world *w, struct event *e)
{
    fault_do(w, CONTAINER_OF(e, struct fault, event));
}

void faults_plan(struct world *w, usec at_us, const struct fault *fault)
{
    struct fault *f = &w->faults.v[w->faults.count++];

    CHECK(w->faults.count <= FAULTS_MAX);
    *f = *fault;
    f->event = (struct event){.happen = fault_happens};
    agenda_set(&w->agenda, &f->event, at_us);
}

void faults_cancel(struct world *w)
{
    for (size_t i = 0; i < w->faults.count; i++)
        agenda_set(&w->agenda, &w->faults.v[i].event, USEC_NEVER);
    w->faults.count = 0;
    faults_churn(w, NULL);
}

/* ---- churn ---- */

static void somebody_goes(struct world *w)
{
    const struct churn *churn = &w->faults.churn;
    struct random *r = &w->faults.random;
    struct host *h = world_any(w, r);
    bool leaves = random_chance(r, churn->leave_share);
    bool stranger = random_chance(r, churn->stranger_share);
    usec away_us = MSEC(1) + (usec)random_exponential(r, (double)churn->away_us);

    if (h == NULL || (double)w->on <= churn->keep_share * (double)w->host_count)
        return;
    if (leaves) {
        host_leave(h);
        away_us += SEC(5); /* it is gone by then */
    } else {
        world_hurt(w);
        host_crash(h);
    }
    host_start_at(h, w->now_us + away_us, stranger);
}

static void churn_happens(struct world *w, struct event *e)
{
    const struct churn *churn = &w->faults.churn;

    somebody_goes(w);
    agenda_set(&w->agenda, e,
               w->now_us + 1 + (usec)random_exponential(&w->faults.random, (double)churn->mean_us));
}

void faults_churn(struct world *w, const struct churn *churn)
{
    struct event *e = &w->faults.churn.event;

    if (churn == NULL) {
        agenda_set(&w->agenda, e, USEC_NEVER);
        return;
    }
    agenda_set(&w->agenda, e, USEC_NEVER);
    w->faults.churn = *churn;
    *e = (struct event){.happen = churn_happens};
    agenda_set(&w->agenda, e,
               w->now_us + 1 + (usec)random_exponential(&w->faults.random, (double)churn->mean_us));
}

void faults_init(struct faults *f, struct random random)
{
    *f = (struct faults){.random = random};
    f->churn.event.happen = churn_happens;
}
