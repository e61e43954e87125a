/*
 * relays.c - the relay command: what pairs that cannot reach each other get, and what they could
 * have got.
 *
 * Of the pairs that are kept apart, some are drawn; one after the other demands a session. For each
 * it measures the overlay's own round trip before, then how long after its session came up a relay
 * is in place, and the round trip over the relay that carries in the end: by the matrix, so that
 * all figures are of the same kind. Beside them the bounds: the best relay among the neighbours of
 * both, and the best of all hosts. A pair that got no relay counts as a violation.
 */
#include <stdio.h>
#include <stdlib.h>

#include "overlay/core/err.h"
#include "tests/sim/report.h"
#include "tests/sim/run.h"

enum {
    PAIRS_MAX = 300,
    DRAWS_MAX = 100000,
    SETTLE_S = 120, /* shortcuts are drawn one by one */
    CHOOSE_S = 15,  /* from demand to verdict */
    NEIGHBOURS_MAX = 256,
};
static const double apart_default = 0.02;
static const usec step_us = MSEC(10), apart_us = MSEC(400);

struct pair {
    uint32_t a, b;
    usec asked_us, up_us, relayed_us;
};

struct figures {
    struct stats overlay, relay, direct, around, optimum; /* ms */
    struct stats ratio;                                   /* relay over direct, each pair */
    struct stats place_ms;                                /* from session up to relay in place */
    unsigned shorter;                                     /* than direct */
    unsigned unrelayed;
};

static double round_trip_ms(const struct world *w, uint32_t a, uint32_t b)
{
    return (double)(internet_one_way(&w->internet, a, b) + internet_one_way(&w->internet, b, a)) /
           1e3;
}

/* Through a third; < 0: one of the two cannot reach it. */
static double over_ms(const struct world *w, const struct pair *p, uint32_t relay)
{
    if (relay == p->a || relay == p->b || internet_apart(&w->internet, p->a, relay) ||
        internet_apart(&w->internet, p->b, relay))
        return -1;
    return round_trip_ms(w, p->a, relay) + round_trip_ms(w, relay, p->b);
}

static double shorter_of(double a, double b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static double optimum_ms(const struct world *w, const struct pair *p)
{
    double best = -1;

    for (uint32_t i = 0; i < w->host_count; i++)
        best = shorter_of(best, over_ms(w, p, i));
    return best;
}

/* The best among those that one end has a direct session with. */
static double around_ms(const struct world *w, const struct pair *p, uint32_t end, double best)
{
    const struct overlay *o = host_overlay(&w->hosts[end]);
    struct overlay_data data;
    const struct host *h;

    for (size_t i = 0; overlay_data_next(o, &i, &data);) {
        h = world_host(w, &data.peer);
        if (h != NULL && data.udp && data.channel == 0)
            best = shorter_of(best, over_ms(w, p, h->index));
    }
    return best;
}

static bool among(const struct pair *pairs, size_t n, uint32_t a, uint32_t b)
{
    for (size_t i = 0; i < n; i++)
        if ((pairs[i].a == a && pairs[i].b == b) || (pairs[i].a == b && pairs[i].b == a))
            return true;
    return false;
}

/* Pairs that are kept apart and have no session. */
static size_t draw_pairs(struct world *w, struct pair *pairs)
{
    struct random r = random_new(w->config.seed, RANDOM_ASK, 2);
    size_t n = 0;

    for (int i = 0; i < DRAWS_MAX && n < PAIRS_MAX; i++) {
        struct host *a = world_any(w, &r), *b = world_any(w, &r);
        struct overlay_data data;

        if (a == NULL || b == NULL || !internet_apart(&w->internet, a->index, b->index) ||
            overlay_data(host_overlay(a), &b->identity.id, &data) ||
            among(pairs, n, a->index, b->index))
            continue;
        pairs[n++] = (struct pair){.a = a->index, .b = b->index};
    }
    return n;
}

static void demand(struct world *w, struct pair *p)
{
    struct host *a = &w->hosts[p->a];

    p->asked_us = w->now_us;
    host_enter(a);
    (void)overlay_demand(host_overlay(a), &w->hosts[p->b].identity.id);
    host_exit(a);
}

static bool data_of(const struct world *w, uint32_t from, uint32_t to, struct overlay_data *out)
{
    return overlay_data(host_overlay(&w->hosts[from]), &w->hosts[to].identity.id, out);
}

static void watch(const struct world *w, struct pair *p)
{
    struct overlay_data there, back;
    bool up = data_of(w, p->a, p->b, &there) && data_of(w, p->b, p->a, &back);

    if (up && p->up_us == 0)
        p->up_us = w->now_us;
    if (up && there.channel != 0 && back.channel != 0)
        p->relayed_us = w->now_us;
}

/* Who carries from a to b now; NULL: nobody. */
static const struct host *relay_of(const struct world *w, const struct pair *p)
{
    static struct overlay_peer_info peers[NEIGHBOURS_MAX];
    size_t n = overlay_peers(host_overlay(&w->hosts[p->a]), peers, NEIGHBOURS_MAX);

    for (size_t i = 0; i < n; i++)
        if (id_eq(&peers[i].node, &w->hosts[p->b].identity.id) && !id_is_zero(&peers[i].relay))
            return world_host(w, &peers[i].relay);
    return NULL;
}

static void judge(const struct world *w, const struct pair *p, struct figures *f)
{
    const struct host *relay = relay_of(w, p);
    double direct_ms = round_trip_ms(w, p->a, p->b), relay_ms;

    if (relay == NULL || p->relayed_us == 0) {
        f->unrelayed++;
        return;
    }
    relay_ms = over_ms(w, p, relay->index);
    stats_add(&f->relay, relay_ms);
    stats_add(&f->direct, direct_ms);
    stats_add(&f->optimum, optimum_ms(w, p));
    stats_add(&f->place_ms, (double)(p->relayed_us - p->up_us) / 1e3);
    if (direct_ms > 0)
        stats_add(&f->ratio, relay_ms / direct_ms);
    f->shorter += relay_ms < direct_ms;
}

static void run_pairs(struct world *w, struct pair *pairs, size_t n, struct figures *f)
{
    size_t begun = 0, judged = 0;
    usec first_us = w->now_us;

    while (judged < n) {
        if (begun < n && w->now_us >= first_us + begun * apart_us) {
            struct pair *p = &pairs[begun++];
            double around = around_ms(w, p, p->a, -1);

            around = around_ms(w, p, p->b, around);
            stats_add(&f->around, around > 0 ? around : 0);
            demand(w, p);
        }
        world_run(w, w->now_us + step_us);
        for (size_t i = judged; i < begun; i++)
            if (pairs[i].relayed_us == 0)
                watch(w, &pairs[i]);
        while (judged < begun && w->now_us >= pairs[judged].asked_us + SEC(CHOOSE_S))
            judge(w, &pairs[judged++], f);
    }
}

/* The overlay's own round trips between the same pairs. */
static void ask_pairs(struct world *w, const struct pair *pairs, size_t n, struct figures *f)
{
    for (size_t i = 0; i < n; i++) {
        (void)ask_now(w, &w->hosts[pairs[i].a], &w->hosts[pairs[i].b]);
        world_run(w, w->now_us + MSEC(50));
    }
    world_run(w, w->now_us + SEC(10));
    for (size_t i = 0; i < w->asks.overlay_ms.count; i++)
        stats_add(&f->overlay, w->asks.overlay_ms.v[i]);
}

static void print_json(struct report *r, struct figures *f)
{
    double direct_ms = stats_mean(&f->direct);
    json_t *j = report_json(r);

    json_object_set_new(j, "pairs", json_integer((json_int_t)f->relay.count));
    json_object_set_new(j, "unrelayed", json_integer(f->unrelayed));
    json_object_set_new(j, "shorter_than_direct", json_integer(f->shorter));
    json_object_set_new(
        j, "latency_ms",
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "overlay", report_stats(&f->overlay), "relay",
                  report_stats(&f->relay), "direct", report_stats(&f->direct), "bound_neighbours",
                  report_stats(&f->around), "bound_all", report_stats(&f->optimum)));
    json_object_set_new(j, "relay_over_direct",
                        direct_ms > 0 ? json_real(stats_mean(&f->relay) / direct_ms) : json_null());
    json_object_set_new(j, "in_place_ms", report_stats(&f->place_ms));
    report_json_end(j);
}

static void print_line(const char *name, struct stats *s, double direct_ms)
{
    printf("  %-26s mean %7.1f  p50 %7.1f  p90 %7.1f  p99 %7.1f  %.2fx direct\n", name,
           stats_mean(s), stats_quantile(s, 0.5), stats_quantile(s, 0.9), stats_quantile(s, 0.99),
           direct_ms > 0 ? stats_mean(s) / direct_ms : 0);
}

static void print_text(const struct options *o, const struct world *w, struct figures *f)
{
    double direct_ms = stats_mean(&f->direct);
    char digest[65];

    world_digest(w, digest);
    report_text_begin(o, digest);
    printf("seed %llu, %zu hosts, %zu pairs relayed, %u not\nround trips, ms\n",
           (unsigned long long)w->config.seed, w->host_count, f->relay.count, f->unrelayed);
    print_line("over the ring", &f->overlay, direct_ms);
    print_line("over the relay", &f->relay, direct_ms);
    print_line("direct, if it could be", &f->direct, direct_ms);
    print_line("best of both's neighbours", &f->around, direct_ms);
    print_line("best of all hosts", &f->optimum, direct_ms);
    printf("  %-26s %u of %zu pairs\n", "shorter than direct", f->shorter, f->relay.count);
    printf("relay in place after the session came up, ms\n");
    print_line("", &f->place_ms, 0);
    printf("violations %llu%s%s\n", (unsigned long long)w->violations,
           w->violations > 0 ? ", the first " : "", w->violation);
}

static void figures_clear(struct figures *f)
{
    struct stats *all[] = {&f->overlay, &f->relay, &f->direct,  &f->around,
                           &f->optimum, &f->ratio, &f->place_ms};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        stats_clear(all[i]);
}

static bool settled(const struct world *w)
{
    return w->on == w->host_count && ring_check_is_closed(w);
}

int relay_command(const struct options *o)
{
    static struct pair pairs[PAIRS_MAX];
    struct latency latency = {0};
    struct world_config config;
    struct figures f = {0};
    struct report report = report_of_world(o);
    double start_s = wall_seconds();
    struct world *w;
    bool violated;
    size_t n;

    if (!run_config(o, &latency, &config))
        return EXIT_USAGE;
    config.device = false; /* the overlay is what is measured */
    if (config.apart <= 0)
        config.apart = apart_default;
    report.world = w = world_new(&config);
    w->progress = report_progress;
    world_start_all(w, (usec)(o->start_s * 1e6), SEC(1));
    (void)world_run_until(w, SEC(SETTLE_S), settled);
    world_run(w, w->now_us + SEC(SETTLE_S));
    report_measure(&report);
    n = draw_pairs(w, pairs);
    ask_pairs(w, pairs, n, &f);
    run_pairs(w, pairs, n, &f);
    report_progress_end();
    if (f.unrelayed > 0)
        world_violated(w, "%u of %zu pairs that cannot reach each other got no relay", f.unrelayed,
                       n);
    report.wall_s = wall_seconds() - start_s;
    if (o->json)
        print_json(&report, &f);
    else
        print_text(o, w, &f);
    violated = w->violations > 0;
    figures_clear(&f);
    report_clear(&report);
    world_free(w);
    latency_clear(&latency);
    return violated ? EXIT_VIOLATED : 0;
}
