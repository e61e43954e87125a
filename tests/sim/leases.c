#include "tests/sim/leases.h"

static void leases_ask(struct world *w, struct event *e)
{
    struct leases *l = CONTAINER_OF(e, struct leases, event);
    struct random r = random_new(w->config.seed, RANDOM_ASK, 3);

    for (size_t i = 0; i < w->host_count; i++) {
        const struct host *whose = &w->hosts[i];

        if (host_is_on(whose))
            l->asked += dht_check_ask(w, world_any(w, &r), whose, CLAIM_ADDRESS, !w->faults_on);
    }
}

void leases_plan(struct leases *l, struct world *w, usec at_us)
{
    l->event = (struct event){.happen = leases_ask};
    l->at_us = at_us;
    agenda_set(&w->agenda, &l->event, at_us);
}

void leases_take(struct leases *l, struct world *w)
{
    if (l->event.happen == NULL)
        return;
    if (w->now_us < l->at_us + DHT_ASK_US)
        world_run(w, l->at_us + DHT_ASK_US);
    l->at_first = w->dht.at_first;
    l->right = w->dht.right;
    l->ms = w->dht.get_ms;
    w->dht.get_ms = (struct stats){.count = 0};
    w->dht.asked = w->dht.at_first = w->dht.at_once = w->dht.right = 0;
}

void leases_clear(struct leases *l)
{
    stats_clear(&l->ms);
}
