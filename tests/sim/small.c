/*
 * small.c - small rings exhaustively: every order in which up to N hosts can join, leave and crash,
 * with steps close together (in the middle of handshakes) and far apart, judged like any swarm
 * seed.
 *
 * Hosts join in the order of their numbers; their places on the ring are random, by a seed that
 * counts the sequences. A step is J (the next one joins), or L or C and the number of a host that
 * is there: it leaves, or crashes. A sequence ends when everybody has joined.
 *
 * Of orders that come to the same only one is run. Goodbyes and crashes in a row are all under way
 * at once, so their order among each other is that of the hosts' numbers. And where steps are so
 * far apart that the ring has settled, all members are alike (each is everybody's neighbour, places
 * are random anyway): the one with the lowest number goes. What is left for 1 to 5 hosts, 8334
 * sequences, takes a quarter of a minute with the null cipher.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "tests/sim/liveness.h"
#include "tests/sim/report.h"
#include "tests/sim/run.h"

enum { SMALL_HOSTS_MAX = 6, SMALL_STEPS_MAX = 2 * SMALL_HOSTS_MAX, SMALL_QUESTIONS = 6 };

struct step {
    char what; /* J, L or C */
    uint8_t host;
};

struct small {
    const struct options *options;
    uint32_t hosts;
    usec gap_us;
    struct step steps[SMALL_STEPS_MAX];
    size_t count;
    bool there[SMALL_HOSTS_MAX];
    uint64_t sequences, violated;
    struct report_sum sum;
};

static void sequence_text(const struct small *s, char out[4 * SMALL_STEPS_MAX + 1])
{
    char *p = out;

    for (size_t i = 0; i < s->count; i++)
        p += sprintf(p, "%s%c%u", i > 0 ? "," : "", s->steps[i].what, s->steps[i].host);
}

static void do_step(struct world *w, const struct step *step)
{
    struct host *h = &w->hosts[step->host];

    switch (step->what) {
    case 'J':
        host_start(h, false);
        break;
    case 'L':
        host_leave(h);
        break;
    default:
        world_hurt(w);
        host_crash(h);
    }
}

static void run_sequence(struct small *s)
{
    struct world_config config = {.seed = s->sequences,
                                  .nodes = s->hosts,
                                  .delay_us = MSEC(20),
                                  .device = true,
                                  .bootstraps = s->hosts,
                                  .lease_s = 86400,
                                  .log_level = s->options->log_level,
                                  .log_host = s->options->log_host,
                                  .follow = s->options->follow,
                                  .silent = s->options->sequence == NULL,
                                  .stop_at_violation = true};
    char text[4 * SMALL_STEPS_MAX + 1];
    struct liveness liveness;
    struct world *w;

    CHECK(net_parse(&config.range, "10.77.0.0/24"));
    if (s->options->sequence != NULL)
        config.seed = s->options->seed;
    w = world_new(&config);
    for (size_t i = 0; i < s->count && !world_must_stop(w); i++) {
        do_step(w, &s->steps[i]);
        world_run(w, w->now_us + s->gap_us);
    }
    liveness_judge(w, &liveness, SMALL_QUESTIONS, true);
    s->sequences++;
    report_sum_add(&s->sum, w);
    if (report_progress_due())
        fprintf(stderr, "\r\033[K%llu sequences, %llu violated", (unsigned long long)s->sequences,
                (unsigned long long)s->violated);
    if (w->violations > 0) {
        s->violated++;
        sequence_text(s, text);
        fprintf(stderr,
                "%s\nto see it again: peal-sim small --nodes %u --delay %.0f --seed %llu "
                "--sequence %s%s\n",
                w->violation, (unsigned)s->hosts, (double)s->gap_us / 1e3,
                (unsigned long long)config.seed, text,
                s->options->null_crypto ? " --null-crypto" : "");
    }
    world_free(w);
}

/* ---- all of them ---- */

/* Between two steps: whatever one of them began has come to an end. */
static const usec settled_us = SEC(4);

static void extend(struct small *s, uint32_t joined, uint32_t from);

static void with_step(struct small *s, uint32_t joined, char what, uint32_t host)
{
    s->steps[s->count++] = (struct step){what, (uint8_t)host};
    s->there[host] = what == 'J';
    extend(s, joined + (what == 'J'), what == 'J' ? 0 : host + 1);
    s->there[host] = what != 'J';
    s->count--;
}

/* from: the lowest number that may go now. */
static void extend(struct small *s, uint32_t joined, uint32_t from)
{
    bool anybody = false, settled = s->gap_us >= settled_us;

    for (uint32_t i = 0; i < joined; i++)
        anybody |= s->there[i];
    if (joined == s->hosts && anybody)
        run_sequence(s);
    if (joined < s->hosts)
        with_step(s, joined, 'J', joined);
    for (uint32_t i = settled ? 0 : from; i < joined; i++) {
        if (!s->there[i])
            continue;
        with_step(s, joined, 'L', i);
        with_step(s, joined, 'C', i);
        if (settled)
            return;
    }
}

/* ---- one of them ---- */

static bool parse_sequence(struct small *s, const char *text)
{
    bool joined[SMALL_HOSTS_MAX] = {0};

    for (const char *p = text; *p != '\0'; p += p[2] == ',' ? 3 : 2) {
        uint8_t host = (uint8_t)(p[1] - '0');

        if (strchr("JLC", p[0]) == NULL || p[1] < '0' || host >= s->hosts ||
            (p[2] != ',' && p[2] != '\0') || s->count == SMALL_STEPS_MAX)
            return false;
        if (p[0] == 'J' ? joined[host] : !s->there[host])
            return false;
        joined[host] = true;
        s->there[host] = p[0] == 'J';
        s->steps[s->count++] = (struct step){p[0], host};
    }
    return s->count > 0;
}

static void report(const struct small *s, uint32_t hosts_max, double wall_s)
{
    char digest[65];
    json_t *j;

    report_progress_end();
    if (!s->options->json) {
        report_sum_digest(&s->sum, digest);
        report_text_begin(s->options, digest);
        printf("%llu sequences of 1 to %u hosts, %llu violated, %.1f s\n",
               (unsigned long long)s->sequences, (unsigned)hosts_max,
               (unsigned long long)s->violated, wall_s);
        return;
    }
    j = report_json_begin(s->options);
    json_object_set_new(j, "nodes", json_integer(hosts_max));
    report_sum_json(j, &s->sum);
    json_object_set_new(j, "sequences", json_integer((json_int_t)s->sequences));
    json_object_set_new(j, "violations", json_integer((json_int_t)s->violated));
    json_object_set_new(j, "wall_s", json_real(wall_s));
    report_json_end(j);
}

int small_command(const struct options *o)
{
    const usec gaps_us[] = {MSEC(30), settled_us};
    uint32_t hosts_max = o->nodes > 0 ? o->nodes : 3;
    struct small s = {.options = o, .hosts = hosts_max};
    double start_s = wall_seconds();

    if (hosts_max > SMALL_HOSTS_MAX) {
        fprintf(stderr, "peal-sim: small is for 1 to %d nodes\n", SMALL_HOSTS_MAX);
        return EXIT_USAGE;
    }
    if (o->sequence != NULL) {
        s.gap_us = (usec)(o->delay_ms * 1e3);
        if (!parse_sequence(&s, o->sequence)) {
            fprintf(stderr, "peal-sim: not a sequence of steps: \"%s\"\n", o->sequence);
            return EXIT_USAGE;
        }
        run_sequence(&s);
    } else {
        for (s.hosts = 1; s.hosts <= hosts_max; s.hosts++)
            for (size_t i = 0; i < ARRAY_LEN(gaps_us); i++) {
                s.gap_us = gaps_us[i];
                extend(&s, 0, 0);
            }
    }
    report(&s, hosts_max, wall_seconds() - start_s);
    return s.violated > 0 ? EXIT_VIOLATED : 0;
}
