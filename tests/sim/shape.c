#include "tests/sim/shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "overlay/core/err.h"

enum { LEAVING_S = 4 }; /* gone by then */

static void say(struct shape *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct shape *s, const char *format, ...)
{
    size_t len = strlen(s->text);
    va_list args;

    va_start(args, format);
    vsnprintf(s->text + len, sizeof(s->text) - len, format, args);
    va_end(args);
}

static uint64_t between(struct random *r, uint64_t least, uint64_t most)
{
    return least + random_below(r, most - least + 1);
}

static uint32_t draw_size(struct random *r)
{
    uint64_t share = random_below(r, 100);

    if (share < 55)
        return (uint32_t)between(r, 1, 7);
    if (share < 90)
        return (uint32_t)between(r, 8, 24);
    return (uint32_t)(share < 99 ? between(r, 25, 50) : between(r, 51, 120));
}

static void draw_config(struct shape *s, struct random *r, uint64_t seed, uint32_t nodes)
{
    struct world_config *c = &s->config;
    uint64_t room;

    *c = (struct world_config){.seed = seed, .nodes = draw_size(r), .log_host = -1};
    if (nodes > 0)
        c->nodes = nodes;
    c->delay_us = MSEC(between(r, 1, random_chance(r, 0.3) ? 150 : 40));
    c->device = !random_chance(r, 0.15);
    c->bootstraps = (uint32_t)between(r, 1, 3);
    if (c->bootstraps > c->nodes)
        c->bootstraps = c->nodes;
    c->lease_s = 86400;
    room = random_chance(r, 0.5) ? 24 : 16;
    for (c->range = (struct net){addr_v4(10 << 24 | 77 << 16), (uint8_t)room};
         net_hosts(&c->range) < 6 * c->nodes + 16;)
        c->range.prefix--;
    c->clock_ppm_max = random_chance(r, 0.3) ? 200 : 0;
    c->wall_skew_max_s = random_chance(r, 0.3) ? (int64_t)between(r, 1, 300) : 0;
    c->families6 = random_chance(r, 0.3) ? random_unit(r) : 0;
    say(s, "%u hosts, %u known to all, %u ms apart%s, range /%u", (unsigned)c->nodes,
        (unsigned)c->bootstraps, (unsigned)(c->delay_us / 1000), c->device ? "" : ", no device",
        (unsigned)c->range.prefix);
    if (c->clock_ppm_max > 0)
        say(s, ", clocks drift");
    if (c->wall_skew_max_s > 0)
        say(s, ", wall clocks +-%d s", (int)c->wall_skew_max_s);
    if (c->families6 > 0)
        say(s, ", %.0f%% with IPv6", 100 * c->families6);
}

static void draw_boxes(struct shape *s, struct random *r)
{
    struct world_config *c = &s->config;

    if (!random_chance(r, 0.15))
        return;
    c->boxed = random_unit(r) * 0.6;
    c->hosts_per_box = (uint32_t)between(r, 1, 3);
    c->box = (struct nat_kind){.mapping = (enum nat_dependence)random_below(r, 3),
                               .filtering = (enum nat_dependence)random_below(r, 3),
                               .ports = (enum nat_ports)random_below(r, 3),
                               .hairpin = random_chance(r, 0.5),
                               .timeout_us = SEC(between(r, 30, 300))};
    say(s, ", %.0f%% behind NAT (mapping %d, filtering %d)", 100 * c->boxed, c->box.mapping,
        c->box.filtering);
}

static void draw_links(struct shape *s, struct random *r)
{
    struct internet_faults *l = &s->links;

    if (random_chance(r, 0.5))
        l->jitter_us = MSEC(between(r, 1, 50));
    if (random_chance(r, 0.35))
        l->loss = random_unit(r) * 0.08;
    if (random_chance(r, 0.3))
        l->duplicate = random_unit(r) * 0.2;
    if (random_chance(r, 0.3)) {
        l->late = random_unit(r) * 0.1;
        l->late_us = MSEC(between(r, 50, 2000));
    }
    if (l->jitter_us > 0)
        say(s, ", jitter %u ms", (unsigned)(l->jitter_us / 1000));
    if (l->loss > 0)
        say(s, ", loss %.1f%%", 100 * l->loss);
    if (l->duplicate > 0)
        say(s, ", twice %.0f%%", 100 * l->duplicate);
    if (l->late > 0)
        say(s, ", late %.0f%% by %u ms", 100 * l->late, (unsigned)(l->late_us / 1000));
}

static void add_fault(struct shape *s, usec at_us, const struct fault *fault)
{
    CHECK(s->fault_count < SHAPE_FAULTS_MAX);
    s->faults[s->fault_count].at_us = at_us;
    s->faults[s->fault_count++].fault = *fault;
}

static usec some_time(struct shape *s, struct random *r)
{
    return SEC(1) + random_below(r, s->safety_us);
}

static void draw_faults(struct shape *s, struct random *r)
{
    struct fault fault;
    usec at_us;

    if (random_chance(r, 0.35)) {
        at_us = some_time(s, r);
        fault = (struct fault){.kind = FAULT_PARTITION,
                               .parts = (unsigned)between(r, 2, random_chance(r, 0.3) ? 8 : 3)};
        add_fault(s, at_us, &fault);
        say(s, ", %u parts from %.1f s", fault.parts, (double)at_us / 1e6);
        if (random_chance(r, 0.5))
            add_fault(s, at_us + SEC(between(r, 5, 60)), &(struct fault){.kind = FAULT_HEAL});
    }
    if (random_chance(r, 0.2)) {
        at_us = some_time(s, r);
        fault = (struct fault){.kind = FAULT_CUT,
                               .parts = (unsigned)between(r, 1, 1 + s->config.nodes / 2)};
        add_fault(s, at_us, &fault);
        say(s, ", %u cuts at %.1f s", fault.parts, (double)at_us / 1e6);
    }
    if (random_chance(r, 0.3)) {
        at_us = some_time(s, r);
        fault = (struct fault){.kind = FAULT_CRASH, .share = random_unit(r) * 0.7};
        add_fault(s, at_us, &fault);
        say(s, ", %.0f%% crash at %.1f s", 100 * fault.share, (double)at_us / 1e6);
        if (random_chance(r, 0.6)) { /* one draw a statement: compilers differ in the order */
            fault = (struct fault){.kind = FAULT_RESTART, .spread_us = MSEC(between(r, 1, 5000))};
            add_fault(s, at_us + MSEC(between(r, 1, 20000)), &fault);
        }
    }
    if (random_chance(r, 0.1)) {
        at_us = some_time(s, r);
        add_fault(s, at_us, &(struct fault){.kind = FAULT_CRASH, .share = 1});
        add_fault(s, at_us + SEC(1),
                  &(struct fault){.kind = FAULT_RESTART, .spread_us = MSEC(between(r, 1, 10000))});
        say(s, ", all restart at %.1f s", (double)at_us / 1e6);
    }
}

static void draw_churn(struct shape *s, struct random *r)
{
    if (!random_chance(r, 0.45))
        return;
    s->churn.mean_us = MSEC(between(r, 500, 20000));
    s->churn.away_us = MSEC(between(r, 10, 30000));
    s->churn.leave_share = random_chance(r, 0.3) ? 1 : random_unit(r);
    s->churn.stranger_share = random_chance(r, 0.5) ? 0 : random_unit(r) * 0.5;
    s->churn.keep_share = random_unit(r) * 0.7;
    say(s, ", one goes each %.1f s (%.0f%% with goodbye, %.0f%% back as strangers)",
        (double)s->churn.mean_us / 1e6, 100 * s->churn.leave_share, 100 * s->churn.stranger_share);
}

/* Leases that are renewed, and end, within the run. */
static void draw_lease(struct shape *s, uint64_t seed)
{
    struct random r = random_new(seed, RANDOM_SHAPE, 1);

    if (!random_chance(&r, 0.3))
        return;
    s->config.lease_s = (uint32_t)between(&r, 40, 300);
    say(s, ", leases of %u s", (unsigned)s->config.lease_s);
}

void shape_draw(struct shape *s, uint64_t seed, uint32_t nodes, usec safety_us)
{
    struct random r = random_new(seed, RANDOM_SHAPE, 0);

    *s = (struct shape){0};
    draw_config(s, &r, seed, nodes);
    draw_boxes(s, &r);
    s->start_spread_us =
        random_chance(&r, 0.5) ? MSEC(between(&r, 0, 200)) : SEC(between(&r, 1, 20));
    s->safety_us = SEC(between(&r, 20, 120));
    if (safety_us > 0)
        s->safety_us = safety_us;
    say(s, ", start within %.1f s, %.0f s of", (double)s->start_spread_us / 1e6,
        (double)s->safety_us / 1e6);
    draw_links(s, &r);
    draw_faults(s, &r);
    draw_churn(s, &r);
    s->return_share = random_unit(&r);
    draw_lease(s, seed);
}

void shape_begin(const struct shape *s, struct world *w)
{
    const struct internet_faults *l = &s->links;

    if (l->jitter_us > 0 || l->loss > 0 || l->duplicate > 0 || l->late > 0)
        fault_do(w, &(struct fault){.kind = FAULT_LINKS, .links = *l});
    for (size_t i = 0; i < s->fault_count; i++)
        faults_plan(w, s->faults[i].at_us, &s->faults[i].fault);
    if (s->churn.mean_us > 0)
        faults_churn(w, &s->churn);
    world_start_all(w, s->start_spread_us, s->start_spread_us);
}

/* Those known to all always come back: without any of them, rings that formed apart cannot meet. */
void shape_end(const struct shape *s, struct world *w)
{
    liveness_end_faults(w);
    for (size_t i = 0; i < w->host_count; i++) {
        bool returns =
            i < w->config.bootstraps || random_chance(&w->faults.random, s->return_share);

        if (w->hosts[i].state == HOST_OFF && returns)
            host_start(&w->hosts[i], false);
        else if (w->hosts[i].state == HOST_LEAVING && returns)
            host_start_at(&w->hosts[i], w->now_us + SEC(LEAVING_S), false);
    }
}
