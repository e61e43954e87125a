#include "tests/sim/run.h"

#include <stdio.h>
#include <stdlib.h>

#include "overlay/core/err.h"
#include "tests/sim/plot.h"
#include "tests/sim/report.h"
#include "tests/sim/rush.h"

enum {
    SETTLE_S = 60,     /* from all up to the first idle second that is measured */
    IDLE_LEAST_S = 30, /* that are measured, or none */
    LIVENESS_QUESTIONS = 100,
    LOOKUPS_EACH = 10,         /* questions to every member in the end, but no more ... */
    LOOKUPS_MANY = 20000,      /* ... than these, or one to each */
    LOOKUPS_SECONDS = 20,      /* that they are spread over */
    LEASES_AFTER_US = 1000000, /* a crash: nobody has noticed yet */
    JOIN_APART_S = 15,         /* after a goodbye, and after a join */
};

bool run_config(const struct options *o, struct latency *latency, struct world_config *c)
{
    const char *why;
    unsigned line;

    *c = (struct world_config){
        .seed = o->seed,
        .nodes = o->nodes,
        .delay_us = (usec)(o->delay_ms * 1e3),
        .device = o->device,
        .bootstraps = o->bootstraps < o->nodes ? o->bootstraps : o->nodes,
        .lease_s = 86400,
        .log_level = o->log_level,
        .log_host = o->log_host,
        .follow = o->follow,
        .apart = o->apart,
        .clock_ppm_max = (int32_t)o->drift_ppm,
        .wall_skew_max_s = o->skew_s,
    };
    CHECK(net_parse(&c->range, c->nodes < 20000 ? "10.77.0.0/16" : "10.0.0.0/8"));
    if (o->latency == NULL)
        return true;
    if (!latency_read(latency, o->latency, &why, &line)) {
        if (line > 0)
            fprintf(stderr, "peal-sim: %s:%u: %s\n", o->latency, line, why);
        else
            fprintf(stderr, "peal-sim: %s: %s\n", o->latency, why);
        return false;
    }
    c->latency = latency;
    return true;
}

static void plan_faults(struct report *r)
{
    const struct options *o = r->options;
    struct world *w = r->world;

    if (options_bad_links(o)) {
        struct fault links = {.kind = FAULT_LINKS,
                              .links = {.loss = o->loss,
                                        .jitter_us = (usec)(o->jitter_ms * 1e3),
                                        .duplicate = o->duplicate,
                                        .late = o->late,
                                        .late_us = (usec)(o->late_ms * 1e3)}};

        fault_do(w, &links);
    }
    if (o->partition) {
        struct fault partition = {.kind = FAULT_PARTITION, .parts = o->parts};
        struct fault heal = {.kind = FAULT_REUNITE};

        faults_plan(w, (usec)(o->partition_at_s * 1e6), &partition);
        faults_plan(w, (usec)((o->partition_at_s + o->partition_for_s) * 1e6), &heal);
    }
    if (o->cuts > 0) {
        struct fault cut = {.kind = FAULT_CUT, .parts = o->cuts};

        faults_plan(w, (usec)(o->cut_at_s * 1e6), &cut);
    }
    if (o->crash) {
        struct fault crash = {.kind = FAULT_CRASH, .share = o->crash_share};

        faults_plan(w, (usec)(o->crash_at_s * 1e6), &crash);
        if (o->device)
            leases_plan(&r->leases, w, (usec)(o->crash_at_s * 1e6) + LEASES_AFTER_US);
    }
    if (o->restart) {
        struct fault crash = {.kind = FAULT_CRASH, .share = 1};
        struct fault restart = {.kind = FAULT_RESTART,
                                .spread_us = (usec)(o->restart_within_s * 1e6)};

        faults_plan(w, (usec)(o->restart_at_s * 1e6), &crash);
        faults_plan(w, (usec)(o->restart_at_s * 1e6) + 1, &restart);
    }
    if (o->churn > 0) {
        struct churn churn = {.mean_us = (usec)(60e6 / o->churn),
                              .away_us = SEC(30),
                              .leave_share = 0.5,
                              .stranger_share = 0.25,
                              .keep_share = 0.5};

        faults_churn(w, &churn);
    }
}

static uint64_t sent_bytes(const struct world *w)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < w->host_count; i++)
        bytes += w->hosts[i].tx_bytes;
    return bytes;
}

/* What nodes send while nobody asks anything: from now on. */
static void run_idle(struct report *r, usec until_us)
{
    struct world *w = r->world;
    uint64_t before = sent_bytes(w);
    double core_s = core_seconds();

    if (until_us < w->now_us + SEC(IDLE_LEAST_S)) {
        world_run(w, until_us);
        return;
    }
    r->idle = w->traffic;
    r->idle_s = (double)(until_us - w->now_us) / 1e6;
    world_run(w, until_us);
    r->idle_core_s = core_seconds() - core_s;
    for (size_t i = 0; i < TRAFFIC_KINDS_MAX; i++) {
        r->idle.bytes[i] = w->traffic.bytes[i] - r->idle.bytes[i];
        r->idle.messages[i] = w->traffic.messages[i] - r->idle.messages[i];
    }
    if (w->on > 0)
        r->upkeep_bytes_per_s = (double)(sent_bytes(w) - before) / r->idle_s / (double)w->on;
}

/* Questions from everybody to somebody, spread over some seconds; the figures are theirs alone. */
static void ask_around(struct world *w)
{
    size_t most = w->host_count > LOOKUPS_MANY ? w->host_count : LOOKUPS_MANY;
    size_t count = w->host_count * LOOKUPS_EACH < most ? w->host_count * LOOKUPS_EACH : most;
    struct random r = random_new(w->config.seed, RANDOM_ASK, 1);

    asks_forget_figures(&w->asks);
    for (size_t i = 0; i < count; i++) {
        struct host *from = world_any(w, &r), *to = world_any(w, &r);

        world_run(w, w->now_us + SEC(LOOKUPS_SECONDS) / count);
        if (from != NULL && from->view.member && to != NULL && to->view.member && from != to)
            (void)ask_now(w, from, i % 2 == 0 ? to : NULL);
    }
    world_run(w, w->now_us + SEC(10));
}

static bool in_order(const struct world *w)
{
    return w->ring.count == w->on && ring_check_is_closed(w);
}

/*
 * What the latencies alone take of a join: a handshake with somebody known to all, the question on
 * its heels, from there straight to the neighbours, and their handshakes; three packets each, the
 * lists with the third. (Less only where a detour is quicker than the straight way.)
 */
static double join_bound_ms(const struct world *w, const struct host *h)
{
    struct host *beside[2];
    size_t n = ring_check_beside(w, h, beside);
    usec least_us = USEC_NEVER;

    for (uint32_t b = 0; b < w->config.bootstraps; b++) {
        usec neighbours_us = 0;

        for (size_t i = 0; i < n; i++) {
            usec way_us = internet_one_way(&w->internet, b, beside[i]->index) +
                          3 * internet_one_way(&w->internet, beside[i]->index, h->index);

            if (beside[i]->index >= w->config.bootstraps) /* else they talk from the start */
                neighbours_us = way_us > neighbours_us ? way_us : neighbours_us;
        }
        least_us =
            usec_min(least_us, 3 * internet_one_way(&w->internet, h->index, b) + neighbours_us);
    }
    return (double)least_us / 1e3;
}

static void join_took(struct report *r, const struct host *h, usec start_us)
{
    stats_add(&r->join_ms, (double)(r->world->now_us - start_us) / 1e3);
    stats_add(&r->join_bound_ms, join_bound_ms(r->world, h));
}

/*
 * Somebody leaves for good and a stranger comes in its place, on its host: from the start of its
 * process until it is a member between its right neighbours and all is one ring.
 */
static void join_once(struct report *r, struct random *random)
{
    struct world *w = r->world;
    struct host *h = world_any(w, random);
    usec start_us;

    if (h == NULL || h->index < w->config.bootstraps || w->on < 2)
        return;
    host_leave(h);
    world_run(w, w->now_us + SEC(JOIN_APART_S));
    if (h->state != HOST_OFF || !in_order(w)) {
        world_violated(w, "host %u left, and the ring is not whole", (unsigned)h->index);
        return;
    }
    host_start(h, true);
    start_us = w->now_us;
    if (world_run_until(w, start_us + SEC(LIVENESS_S), in_order))
        join_took(r, h, start_us);
    else
        world_violated(w, "host %u does not come into the ring", (unsigned)h->index);
    world_run(w, w->now_us + SEC(JOIN_APART_S));
}

/* Somebody who may leave: those known to all stay. */
static bool somebody_may_go(const struct world *w)
{
    for (size_t i = w->config.bootstraps; w->on > 1 && i < w->host_count; i++)
        if (host_is_on(&w->hosts[i]))
            return true;
    return false;
}

static void join_some(struct report *r)
{
    struct random random = random_new(r->world->config.seed, RANDOM_FAULT, 1);

    if (!somebody_may_go(r->world))
        world_violated(r->world, "--join: nobody is left who could leave");
    while (r->join_ms.count < r->options->joins && r->world->violations == 0)
        join_once(r, &random);
}

static bool all_up(const struct world *w)
{
    return w->on == w->host_count && ring_check_is_closed(w) && world_everybody_up(w);
}

/* Who came as a stranger while those known to all were away has nobody else to find the others by.
 */
static void bring_back_known(struct world *w)
{
    for (uint32_t i = 0; i < w->config.bootstraps; i++)
        if (w->hosts[i].state == HOST_OFF)
            host_start(&w->hosts[i], false);
}

static void run_until_up(struct world *w, usec end_us)
{
    if (world_run_until(w, end_us, all_up))
        w->all_up_us = w->now_us;
}

/* Through the faults, and until the ring is right again. */
static void run_faults(struct report *r, usec end_us)
{
    struct world *w = r->world;

    run_until_up(w, end_us);
    asks_go_on(w, MSEC(200));
    world_run(w, end_us);
    asks_go_on(w, 0);
    r->claims_apart = w->claims.doubled;
    r->faults_end_us = w->now_us;
    liveness_end_faults(w);
    if (r->options->churn > 0)
        bring_back_known(w);
    if (!liveness_judge_ring(w, &r->liveness))
        return;
    if (r->options->crash)
        leases_take(&r->leases, w);
    liveness_judge_answers(w, &r->liveness, LIVENESS_QUESTIONS, true);
}

/* What it took until all had settled. */
static void note_forming(struct report *r)
{
    r->forming = r->world->traffic;
    r->forming_packets = r->world->delivered;
    r->forming_core_s = core_seconds();
}

static void run_world(struct report *r)
{
    struct world *w = r->world;
    const struct options *o = r->options;
    usec end_us = (usec)(o->minutes * 60e6);
    usec faults_us = (usec)(options_faults_end_s(o) * 1e6) + 1; /* what happens then comes first */
    bool faults = o->churn > 0 || o->partition || o->cuts > 0 || o->crash || o->restart ||
                  options_bad_links(o);

    r->upkeep_bytes_per_s = -1;
    plan_faults(r);
    world_start_all(w, (usec)(o->start_s * 1e6), SEC(1));
    if (faults)
        run_faults(r, usec_min(faults_us, end_us));
    else
        run_until_up(w, end_us);
    if (w->now_us < end_us)
        world_run(w, usec_min(w->now_us + SEC(SETTLE_S), end_us));
    if (!faults)
        note_forming(r);
    if (w->now_us < end_us)
        run_idle(r, end_us);
    report_measure(r);
    if (!faults)
        liveness_judge(w, &r->liveness, LIVENESS_QUESTIONS, false);
    ask_around(w);
    if (r->options->joins > 0)
        join_some(r);
}

static int run_one(const struct options *o, struct report *report)
{
    struct latency latency = {0};
    struct world_config config;
    struct recorder history = {.count = 0};
    double start_s = wall_seconds();
    int status;

    *report = (struct report){.options = o};
    if (o->plot != NULL && o->size_count == 0 && !plot_possible(o->plot))
        return EXIT_USAGE;
    if (!run_config(o, &latency, &config))
        return EXIT_USAGE;
    config.certified = o->certified;
    if (o->command == COMMAND_CLAIMS)
        rush_config(o, &config);
    report->world = world_new(&config);
    report->world->progress = report_progress;
    if (o->plot != NULL && o->size_count == 0)
        recorder_start(&history, report->world);
    if (o->command == COMMAND_CLAIMS)
        rush_run(report);
    else
        run_world(report);
    report->wall_s = wall_seconds() - start_s;
    report_progress_end();
    report_print(report);
    if (o->sites)
        account_print_sites(report->world->on);
    status = report->world->violations > 0 ? EXIT_VIOLATED : 0;
    if (o->plot != NULL && o->size_count == 0 && !plot_run(report, &history))
        status = EXIT_USAGE;
    report_sum_up(report);
    world_free(report->world);
    report->world = NULL;
    recorder_clear(&history);
    report_clear(report);
    latency_clear(&latency);
    return status;
}

static int run_sizes(const struct options *o)
{
    struct report_size v[OPTIONS_SIZES_MAX];
    struct report report;
    int status = o->plot != NULL && !plot_possible(o->plot) ? EXIT_USAGE : 0;

    for (size_t i = 0; i < o->size_count && status != EXIT_USAGE; i++) {
        struct options one = *o;
        int s;

        options_take_size(&one, o->sizes[i]);
        s = run_one(&one, &report);
        status = s != 0 ? s : status;
        v[i] = report.size;
    }
    if (o->plot != NULL && status != EXIT_USAGE && !plot_sizes(o, v, o->size_count))
        status = EXIT_USAGE;
    return status;
}

int run_command(const struct options *o)
{
    struct report report;

    return o->size_count > 0 ? run_sizes(o) : run_one(o, &report);
}
