#include "tests/sim/report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "dht/dht.h"
#include "overlay/core/err.h"

enum { PROGRESS_EVERY_MS = 200 };

double wall_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double core_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of this process, at any time. */
static double resident_most(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss * 1024 : 0;
}

/* ---- progress ---- */

static double last_progress_s;

bool report_progress_due(void)
{
    double now_s = wall_seconds();

    if (!isatty(STDERR_FILENO) || now_s - last_progress_s < PROGRESS_EVERY_MS / 1e3)
        return false;
    last_progress_s = now_s;
    return true;
}

void report_progress(const struct world *w)
{
    if (!report_progress_due())
        return;
    fprintf(stderr,
            "\r\033[K%8.1f s  %zu of %zu on, %zu members, %zu with right neighbours  %.1f M events",
            (double)w->now_us / 1e6, w->on, w->host_count, w->ring.count, w->ring.closed,
            (double)w->events / 1e6);
}

void report_progress_end(void)
{
    if (last_progress_s > 0)
        fprintf(stderr, "\r\033[K");
    last_progress_s = 0;
}

/* ---- figures ---- */

static size_t links_of_all(const struct world *w)
{
    size_t links = 0;

    for (size_t i = 0; i < w->host_count; i++)
        if (w->hosts[i].node != NULL)
            links += overlay_connections(host_overlay(&w->hosts[i]));
    return links;
}

static double per_node(const struct world *w, double all)
{
    return w->on > 0 ? all / (double)w->on : 0;
}

/* Records of others, and what it takes to find them. */
static size_t records_bytes(const struct world *w)
{
    size_t bytes = 0;

    for (size_t i = 0; i < w->host_count; i++) {
        const struct dht *dht = w->hosts[i].node != NULL ? node_dht(w->hosts[i].node) : NULL;

        bytes += dht != NULL ? dht_memory(dht) + dht_index_memory(dht) : 0;
    }
    return bytes;
}

static void measure_sizes(struct report *r)
{
    const struct world *w = r->world;

    for (size_t i = 0; i < w->host_count; i++)
        if (host_is_on(&w->hosts[i]))
            stats_add(
                &r->size_error,
                100 * fabs(overlay_size_estimate(host_overlay(&w->hosts[i])) / (double)w->on - 1));
}

struct report report_of_world(const struct options *o)
{
    return (struct report){
        .options = o, .upkeep_bytes_per_s = -1, .liveness = {.ideal_s = -1, .settled_s = -1}};
}

void report_measure(struct report *r)
{
    r->memory_bytes = 0;
    for (size_t i = 0; i < r->world->host_count; i++)
        if (r->world->hosts[i].node != NULL)
            r->memory_bytes += r->world->hosts[i].account.bytes;
    r->measured = r->world->on;
    measure_sizes(r);
    r->record_bytes = records_bytes(r->world);
    r->memory_bytes -= r->record_bytes;
}

static double per_measured(const struct report *r, size_t bytes)
{
    return r->measured > 0 ? (double)bytes / (double)r->measured : 0;
}

json_t *report_stats(struct stats *s)
{
    if (s->count == 0)
        return json_null();
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:I}", "mean", stats_mean(s), "p50",
                     stats_quantile(s, 0.5), "p90", stats_quantile(s, 0.9), "p99",
                     stats_quantile(s, 0.99), "max", stats_quantile(s, 1), "count",
                     (json_int_t)s->count);
}

static json_t *json_seconds(usec at_us)
{
    return at_us > 0 ? json_real((double)at_us / 1e6) : json_null();
}

static json_t *json_unless_negative(double v)
{
    return v >= 0 ? json_real(v) : json_null();
}

/* Bytes a second and node by kind of message, the whole packets shared out. */
static json_t *json_idle(const struct report *r)
{
    double each = r->idle_s * (double)r->world->on;
    json_t *j = json_object();

    for (size_t i = 0; each > 0 && i < TRAFFIC_KINDS_MAX; i++)
        if (r->idle.messages[i] > 0)
            json_object_set_new(j, traffic_name(i), json_real((double)r->idle.bytes[i] / each));
    return j;
}

/* What the processor takes for one, with all that follows from it: that grows as caches fall short.
 */
static double forming_packet_us(const struct report *r)
{
    return 1e6 * r->forming_core_s / (double)r->forming_packets;
}

/* Of a node, from cold until all had settled. */
static json_t *json_forming(const struct report *r)
{
    json_t *messages = json_object();

    for (size_t i = 0; i < TRAFFIC_KINDS_MAX; i++)
        if (r->forming.messages[i] > 0)
            json_object_set_new(messages, traffic_name(i),
                                json_real(per_node(r->world, (double)r->forming.messages[i])));
    return json_pack("{s:f, s:f, s:f, s:o}", "core_s", r->forming_core_s, "packets_per_node",
                     per_node(r->world, (double)r->forming_packets), "us_per_packet",
                     forming_packet_us(r), "messages_per_node", messages);
}

/* Of the processor for an hour of idle members; < 0: was not measured. */
static double core_s_per_hour(const struct report *r)
{
    return r->upkeep_bytes_per_s >= 0 && r->idle_s > 0 ? r->idle_core_s * 3600 / r->idle_s : -1;
}

static json_t *json_leases(struct report *r)
{
    struct leases *l = &r->leases;

    if (l->asked == 0)
        return json_null();
    return json_pack("{s:I, s:I, s:I, s:f, s:f, s:o}", "asked", (json_int_t)l->asked, "at_first",
                     (json_int_t)l->at_first, "correct", (json_int_t)l->right, "within_1_s",
                     stats_within(&l->ms, 1e3), "within_3_s", stats_within(&l->ms, 3e3), "ms",
                     report_stats(&l->ms));
}

static json_t *json_claims(struct report *r)
{
    const struct claims *c = &r->world->claims;

    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "conflicts", (json_int_t)c->conflicts,
                     "unsettled", (json_int_t)c->doubled, "doubled_at_heal",
                     (json_int_t)r->claims_apart, "taken", (json_int_t)r->claims_taken, "again",
                     (json_int_t)r->claims_again, "seconds", report_stats(&r->claim_s));
}

/* Of the options only those that the command has. */
static void set_option(json_t *j, const struct options *o, const char *option, const char *key,
                       json_t *value)
{
    if (options_take(o, option))
        json_object_set_new(j, key, value);
    else
        json_decref(value);
}

static json_t *json_options(const struct options *o)
{
    char command[1024];
    json_t *j = json_object();

    options_print(o, command, sizeof(command));
    json_object_set_new(j, "command", json_string(command));
    set_option(j, o, "latency", "latency",
               o->latency != NULL ? json_string(o->latency) : json_null());
    set_option(j, o, "delay", "delay_ms", json_real(o->delay_ms));
    set_option(j, o, "minutes", "minutes", o->minutes > 0 ? json_real(o->minutes) : json_null());
    set_option(j, o, "loss", "loss", json_real(o->loss));
    set_option(j, o, "churn", "churn_per_minute", json_real(o->churn));
    set_option(j, o, "jitter", "jitter_ms", json_real(o->jitter_ms));
    set_option(j, o, "duplicate", "duplicate", json_real(o->duplicate));
    set_option(j, o, "late", "late",
               json_pack("{s:f, s:f}", "share", o->late, "most_ms", o->late_ms));
    set_option(j, o, "drift", "drift_ppm", json_integer(o->drift_ppm));
    set_option(j, o, "skew", "skew_s", json_integer(o->skew_s));
    set_option(j, o, "start", "start_s", json_real(o->start_s));
    set_option(j, o, "bootstraps", "bootstraps", json_integer(o->bootstraps));
    set_option(j, o, "no-direct", "no_direct", json_real(o->apart));
    set_option(j, o, "join", "joins", json_integer(o->joins));
    set_option(j, o, "seeds", "seeds",
               json_pack("[I, I]", (json_int_t)o->seeds_first, (json_int_t)o->seeds_last));
    if (o->partition)
        json_object_set_new(j, "partition",
                            json_pack("{s:f, s:f, s:i}", "at_s", o->partition_at_s, "for_s",
                                      o->partition_for_s, "parts", (int)o->parts));
    if (o->cuts > 0)
        json_object_set_new(j, "cut",
                            json_pack("{s:f, s:i}", "at_s", o->cut_at_s, "ways", (int)o->cuts));
    if (o->crash)
        json_object_set_new(
            j, "crash", json_pack("{s:f, s:f}", "at_s", o->crash_at_s, "share", o->crash_share));
    if (o->restart)
        json_object_set_new(
            j, "restart",
            json_pack("{s:f, s:f}", "at_s", o->restart_at_s, "within_s", o->restart_within_s));
    set_option(j, o, "no-device", "device", json_boolean(o->device));
    json_object_set_new(j, "null_crypto", json_boolean(o->null_crypto));
    return j;
}

json_t *report_json_begin(const struct options *o)
{
    static const char *const measured[] = {
        "digest",          "events",         "violations",
        "first_violation", "virtual_s",      "wall_s",
        "core_s",          "bytes_per_node", "hops",
        "latency_ms",      "links_per_node", "upkeep_bytes_per_s",
        "ring_complete_s", "lookups"};
    bool one = !options_take(o, "seeds") || o->seeds_first == o->seeds_last;
    json_t *j = json_object();

    json_object_set_new(j, "schema", json_string("peal.sim/1"));
    json_object_set_new(
        j, "seed",
        !one ? json_null()
             : json_integer((json_int_t)(options_take(o, "seeds") ? o->seeds_first : o->seed)));
    json_object_set_new(j, "nodes", o->nodes > 0 ? json_integer(o->nodes) : json_null());
    json_object_set_new(j, "options", json_options(o));
    for (size_t i = 0; i < ARRAY_LEN(measured); i++)
        json_object_set_new(j, measured[i], json_null());
    return j;
}

void report_json_end(json_t *j)
{
    json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(j);
}

void report_text_begin(const struct options *o, const char *digest)
{
    char command[1024];

    options_print(o, command, sizeof(command));
    printf("%s\ndigest %.16s\n", command, digest);
}

void report_sum_add_digest(struct report_sum *s, const char digest[65])
{
    uint8_t one[sizeof(s->digest)];

    CHECK(hex_parse(one, sizeof(one), digest));
    for (size_t i = 0; i < sizeof(one); i++)
        s->digest[i] ^= one[i];
}

void report_sum_add(struct report_sum *s, const struct world *w)
{
    char digest[65];

    world_digest(w, digest);
    report_sum_add_digest(s, digest);
    s->worlds++;
    s->events += w->events;
    s->virtual_s += (double)w->now_us / 1e6;
}

void report_sum_digest(const struct report_sum *s, char out[65])
{
    hex_text(s->digest, sizeof(s->digest), out);
}

void report_sum_json(json_t *j, const struct report_sum *s)
{
    char digest[65];

    report_sum_digest(s, digest);
    json_object_set_new(j, "digest", json_string(digest));
    json_object_set_new(j, "events", json_integer((json_int_t)s->events));
    json_object_set_new(j, "virtual_s", json_real(s->virtual_s));
    json_object_set_new(j, "core_s", json_real(core_seconds()));
}

json_t *report_json(struct report *r)
{
    struct world *w = r->world;
    struct asks *a = &w->asks;
    json_t *j = report_json_begin(r->options);
    char digest[65];

    world_digest(w, digest);
    json_object_set_new(j, "digest", json_string(digest));
    json_object_set_new(j, "events", json_integer((json_int_t)w->events));
    json_object_set_new(j, "packets", json_integer((json_int_t)w->delivered));
    json_object_set_new(j, "violations", json_integer((json_int_t)w->violations));
    json_object_set_new(j, "first_violation",
                        w->violations > 0 ? json_string(w->violation) : json_null());
    json_object_set_new(j, "virtual_s", json_real((double)w->now_us / 1e6));
    json_object_set_new(j, "wall_s", json_real(r->wall_s));
    json_object_set_new(j, "core_s", json_real(core_seconds()));
    json_object_set_new(j, "resident_bytes_max", json_real(resident_most()));
    json_object_set_new(j, "core_s_per_idle_hour", json_unless_negative(core_s_per_hour(r)));
    json_object_set_new(j, "bytes_per_node", json_real(per_measured(r, r->memory_bytes)));
    json_object_set_new(j, "record_bytes_per_node", json_real(per_measured(r, r->record_bytes)));
    json_object_set_new(j, "bytes_one_node_max", json_integer((json_int_t)w->account_peak));
    json_object_set_new(j, "hops", report_stats(&a->hops));
    json_object_set_new(j, "latency_ms",
                        json_pack("{s:o, s:o, s:o}", "overlay", report_stats(&a->overlay_ms),
                                  "relay", json_null(), "direct", report_stats(&a->direct_ms)));
    json_object_set_new(j, "links_per_node", json_real(per_node(w, (double)links_of_all(w))));
    json_object_set_new(j, "size_error_percent", report_stats(&r->size_error));
    json_object_set_new(j, "upkeep_bytes_per_s", json_unless_negative(r->upkeep_bytes_per_s));
    json_object_set_new(j, "upkeep_by_message", json_idle(r));
    json_object_set_new(j, "forming", r->forming_packets > 0 ? json_forming(r) : json_null());
    json_object_set_new(j, "ring_complete_s", json_seconds(w->ring.complete_us));
    json_object_set_new(j, "faults_end_s", json_seconds(r->faults_end_us));
    json_object_set_new(j, "heal_s", json_unless_negative(r->liveness.ideal_s));
    json_object_set_new(j, "rings_parted",
                        w->ring.rings_parted > 0 ? json_integer((json_int_t)w->ring.rings_parted)
                                                 : json_null());
    json_object_set_new(j, "settled_s", json_unless_negative(r->liveness.settled_s));
    json_object_set_new(j, "join_ms", report_stats(&r->join_ms));
    json_object_set_new(j, "join_bound_ms", report_stats(&r->join_bound_ms));
    json_object_set_new(j, "all_up_s", json_seconds(w->all_up_us));
    json_object_set_new(j, "lookups",
                        json_pack("{s:I, s:I, s:I, s:I}", "asked", (json_int_t)a->asked, "answered",
                                  (json_int_t)a->answered, "at_once", (json_int_t)a->at_once,
                                  "correct", (json_int_t)a->correct));
    json_object_set_new(j, "gets",
                        json_pack("{s:I, s:I, s:I, s:o}", "asked", (json_int_t)w->dht.asked,
                                  "at_once", (json_int_t)w->dht.at_once, "correct",
                                  (json_int_t)w->dht.right, "ms", report_stats(&w->dht.get_ms)));
    json_object_set_new(j, "leases_after_crash", json_leases(r));
    json_object_set_new(j, "claims", json_claims(r));
    return j;
}

static void print_stats(const char *name, struct stats *s)
{
    if (s->count > 0)
        printf("  %-22s mean %.2f  p50 %.2f  p90 %.2f  p99 %.2f  max %.2f\n", name, stats_mean(s),
               stats_quantile(s, 0.5), stats_quantile(s, 0.9), stats_quantile(s, 0.99),
               stats_quantile(s, 1));
}

static void print_seconds(const char *name, double s)
{
    if (s > 0)
        printf("  %-22s %.3f s\n", name, s);
}

static void print_idle(const struct report *r)
{
    double each = r->idle_s * (double)r->world->on;

    printf("  %-22s %.1f bytes/s per node\n", "upkeep", r->upkeep_bytes_per_s);
    for (size_t i = 0; i < TRAFFIC_KINDS_MAX; i++)
        if (r->idle.messages[i] > 0)
            printf("    %-20s %.2f bytes/s in %.2f messages a minute\n", traffic_name(i),
                   (double)r->idle.bytes[i] / each, (double)r->idle.messages[i] * 60 / each);
    printf("  %-22s %.1f core seconds for an idle hour of all\n", "speed", core_s_per_hour(r));
}

static void print_forming(const struct report *r)
{
    printf("  %-22s %.1f core seconds, %.0f packets per node, %.1f us each\n", "forming",
           r->forming_core_s, per_node(r->world, (double)r->forming_packets), forming_packet_us(r));
    for (size_t i = 0; i < TRAFFIC_KINDS_MAX; i++)
        if (r->forming.messages[i] > 0)
            printf("    %-20s %.1f messages per node\n", traffic_name(i),
                   per_node(r->world, (double)r->forming.messages[i]));
}

static void print_leases(struct leases *l)
{
    if (l->asked == 0)
        return;
    printf("  %-22s %llu asked for, %llu found at the first question, %llu in time\n",
           "leases after the crash", (unsigned long long)l->asked, (unsigned long long)l->at_first,
           (unsigned long long)l->right);
    print_stats("lease answer, ms", &l->ms);
    printf("  %-22s %.1f%% within 1 s, %.1f%% within 3 s\n", "", 100 * stats_within(&l->ms, 1e3),
           100 * stats_within(&l->ms, 3e3));
}

static void print_claims(struct report *r)
{
    if (r->claim_s.count == 0)
        return;
    print_stats("time to claim, s", &r->claim_s);
    printf("  %-22s %llu had an owner, %llu met others", "claims",
           (unsigned long long)r->claims_taken, (unsigned long long)r->claims_again);
    if (r->options->partition)
        printf(", %zu taken twice when parts met", r->claims_apart);
    printf("\n");
}

/* What came of the faults; the times count from the last one's end. */
static void print_faults(const struct report *r)
{
    printf("  %-22s ended at %.1f s", "faults", (double)r->faults_end_us / 1e6);
    if (r->liveness.ideal_s >= 0)
        printf("; all lists ideal %.3f s later", r->liveness.ideal_s);
    if (r->liveness.settled_s >= 0)
        printf(", everybody up %.3f s later", r->liveness.settled_s);
    printf("\n");
    if (r->world->ring.rings_parted > 0)
        printf("  %-22s %zu rings in %u parts before they met again\n", "partition",
               r->world->ring.rings_parted, r->options->parts);
}

static void print_text(struct report *r)
{
    struct world *w = r->world;
    char digest[65];

    world_digest(w, digest);
    report_text_begin(r->options, digest);
    printf("seed %llu, %zu hosts, %.1f virtual s in %.2f s, %llu events\n",
           (unsigned long long)w->config.seed, w->host_count, (double)w->now_us / 1e6, r->wall_s,
           (unsigned long long)w->events);
    print_seconds("ring complete", (double)w->ring.complete_us / 1e6);
    print_seconds("everybody up", (double)w->all_up_us / 1e6);
    if (r->faults_end_us > 0)
        print_faults(r);
    print_stats("join, ms", &r->join_ms);
    print_stats("join, bound, ms", &r->join_bound_ms);
    print_stats("size estimate, % off", &r->size_error);
    print_stats("hops", &w->asks.hops);
    print_stats("overlay round trip, ms", &w->asks.overlay_ms);
    print_stats("direct round trip, ms", &w->asks.direct_ms);
    printf("  %-22s %.1f\n", "links per node", per_node(w, (double)links_of_all(w)));
    if (r->forming_packets > 0)
        print_forming(r);
    if (r->upkeep_bytes_per_s >= 0)
        print_idle(r);
    printf("  %-22s %.0f bytes per node, and %.0f for records that it holds for others; at most "
           "%zu at any time\n",
           "memory", per_measured(r, r->memory_bytes), per_measured(r, r->record_bytes),
           w->account_peak);
    printf("  %-22s %llu asked, %llu answered (%llu at once), %llu right\n", "lookups",
           (unsigned long long)w->asks.asked, (unsigned long long)w->asks.answered,
           (unsigned long long)w->asks.at_once, (unsigned long long)w->asks.correct);
    printf("  %-22s %llu asked, %llu right at once, %llu in time\n", "DHT questions",
           (unsigned long long)w->dht.asked, (unsigned long long)w->dht.at_once,
           (unsigned long long)w->dht.right);
    print_stats("DHT answer, ms", &w->dht.get_ms);
    print_leases(&r->leases);
    print_claims(r);
    printf("  %-22s %llu%s%s\n", "violations", (unsigned long long)w->violations,
           w->violations > 0 ? ", the first " : "", w->violation);
}

void report_print(struct report *r)
{
    if (r->options->json)
        report_json_end(report_json(r));
    else
        print_text(r);
}

void report_sum_up(struct report *r)
{
    struct world *w = r->world;
    struct asks *a = &w->asks;

    r->size = (struct report_size){
        .nodes = (double)(w->host_count),
        .hops_mean = stats_mean(&a->hops),
        .hops_p99 = stats_quantile(&a->hops, 0.99),
        .hops_max = stats_quantile(&a->hops, 1),
        .overlay_ms = stats_mean(&a->overlay_ms),
        .direct_ms = stats_mean(&a->direct_ms),
        .links = per_node(w, (double)links_of_all(w)),
        .upkeep = r->upkeep_bytes_per_s,
        .node_bytes = per_measured(r, r->memory_bytes),
    };
}

void report_clear(struct report *r)
{
    stats_clear(&r->join_ms);
    stats_clear(&r->join_bound_ms);
    stats_clear(&r->claim_s);
    stats_clear(&r->size_error);
    leases_clear(&r->leases);
}
