#include "tests/sim/grid.h"

#include <stdio.h>
#include <string.h>

#include "tests/sim/run.h"
#include "tests/sim/world.h"

enum {
    PUBLIC = 14,     /* hosts of the ring that have public addresses */
    SIDE_A = PUBLIC, /* one host behind a box of each kind, on either side */
    SIDE_B = SIDE_A + GRID_KINDS,
    HOSTS = SIDE_B + GRID_KINDS,
    UP_S = 60, /* everybody is a member and knows how others see it */
    SETTLE_S = 30,
    WINDOW_S = 8, /* from a pair's first packet to the verdict */
    PING_S = 1,
    PING_TRIES = 24, /* with one packet of five lost on each hop */
    MAPPING_LIFE_S = 120,
    CHANGE_APART_S = 2, /* between two pairs' changes */
    CHANGE_S = 16,      /* a change is watched so long */
    CHANGE_PING_MS = 200,
    CHANGE_TRAFFIC_S = 3,
    CHANGE_DIRECT_S = 15,
    TIMES_LEAST = 50, /* figures of fewer say little */
};

/* ---- theory ---- */

static enum nat_dependence mapping_of(int kind)
{
    return (enum nat_dependence)(kind / 3);
}

static enum nat_dependence filtering_of(int kind)
{
    return (enum nat_dependence)(kind % 3);
}

struct nat_kind grid_kind(int kind, enum nat_ports ports)
{
    return (struct nat_kind){
        .mapping = mapping_of(kind),
        .filtering = filtering_of(kind),
        .ports = ports,
        .hairpin = false,
        .timeout_us = SEC(MAPPING_LIFE_S),
    };
}

/* Where the other is known to be, and where its packets will come from: the same port or not. */
bool grid_expects_direct(int a, int b)
{
    bool stays_a = mapping_of(a) == NAT_ENDPOINT_INDEPENDENT;
    bool stays_b = mapping_of(b) == NAT_ENDPOINT_INDEPENDENT;
    enum nat_dependence in_a = filtering_of(a), in_b = filtering_of(b);

    if (stays_a && stays_b)
        return true;
    if (stays_a || stays_b) /* the one that stays must let in another port of the same address */
        return (stays_a ? in_a : in_b) != NAT_ADDRESS_AND_PORT_DEPENDENT;
    /* The mapping that was told of never sent to the other: one side must let in anybody, and the
     * other any port of whom it has sent to. */
    return (in_a == NAT_ENDPOINT_INDEPENDENT && in_b != NAT_ADDRESS_AND_PORT_DEPENDENT) ||
           (in_b == NAT_ENDPOINT_INDEPENDENT && in_a != NAT_ADDRESS_AND_PORT_DEPENDENT);
}

/* ---- a pair under way ---- */

struct grid;

struct pair {
    struct grid *grid;
    int number;
    struct host *a, *b;
    bool fresh;  /* they had nothing to do with each other */
    usec rtt_us; /* over the ring; 0: not measured */
    unsigned pings;
    bool answered;                                     /* the latest ping */
    usec began_us, up_us, key_us, direct_us, relay_us; /* 0: not yet */
    bool was_direct;                                   /* before a change */
    usec again_us, direct_again_us;                    /* first round trips after it; 0: none yet */
    bool half; /* one end, at least, sent directly at some time */
};

struct grid {
    const struct grid_options *options;
    struct grid_result *result;
    struct world *world;
    struct pair pairs[GRID_KINDS]; /* of one batch */
};

/* Through a relay is not direct: udp, and a channel where there is a relay. */
static bool sees(const struct host *h, const struct host *peer, struct overlay_data *d)
{
    bool up = overlay_data(host_overlay(h), &peer->identity.id, d);

    if (!d->udp)
        d->channel = 0;
    d->udp = d->udp && d->channel == 0;
    return up;
}

static void pair_look(const struct world *w, struct pair *p)
{
    struct overlay_data at_a, at_b;
    bool up_a = sees(p->a, p->b, &at_a), up_b = sees(p->b, p->a, &at_b);

    if (up_a && up_b && p->up_us == 0)
        p->up_us = w->now_us;
    if (up_a && at_a.tx != NULL && p->key_us == 0)
        p->key_us = w->now_us;
    p->half |= (up_a && at_a.udp) || (up_b && at_b.udp);
    if (up_a && up_b && at_a.udp && at_b.udp && p->direct_us == 0)
        p->direct_us = w->now_us;
    if (up_a && up_b && at_a.channel != 0 && at_b.channel != 0 && p->relay_us == 0)
        p->relay_us = w->now_us;
}

static void on_ping(void *ctx, const struct overlay_ping_result *r)
{
    struct pair *p = ctx;
    struct overlay_data d;

    p->answered = r->answered;
    if (r->answered && p->began_us == 0) /* the ring's, not that of a session that ends now */
        p->rtt_us = sees(p->a, p->b, &d) ? 0 : r->rtt_us;
}

static void pair_ping(struct pair *p)
{
    p->pings++;
    host_enter(p->a);
    (void)overlay_ping(host_overlay(p->a), &p->b->identity.id, OVERLAY_EXACT, SEC(PING_S), 0,
                       on_ping, p);
    host_exit(p->a);
}

/* A packet for the other end. */
static void pair_demand(struct pair *p)
{
    host_enter(p->a);
    (void)overlay_demand(host_overlay(p->a), &p->b->identity.id);
    host_exit(p->a);
}

static void pair_begin(struct grid *g, struct pair *p)
{
    struct overlay_data d;

    p->began_us = g->world->now_us;
    p->fresh = !sees(p->a, p->b, &d) && !sees(p->b, p->a, &d);
    pair_demand(p);
}

/* ---- the verdict ---- */

static void violated(struct grid *g, const struct pair *p, const char *what)
{
    static const char *const names[] = {"EI", "AD", "APD"};
    struct grid_result *r = g->result;
    int a = p->number / GRID_KINDS, b = p->number % GRID_KINDS;
    char text[sizeof(r->violation)];

    snprintf(text, sizeof(text),
             "seed %llu, mapping %s filtering %s with mapping %s filtering %s (hosts %u, %u): %s",
             (unsigned long long)g->options->seed, names[a / 3], names[a % 3], names[b / 3],
             names[b % 3], (unsigned)p->a->index, (unsigned)p->b->index, what);
    if (r->violations++ == 0)
        memcpy(r->violation, text, sizeof(text));
    if (g->options->verbose)
        fprintf(stderr, "%s\n", text);
}

static double ms_after(usec at_us, usec began_us)
{
    return at_us != 0 ? (double)(at_us - began_us) / 1e3 : -1;
}

static void print_pair(const struct grid *g, const struct pair *p)
{
    fprintf(stderr,
            "seed %llu pair %d hosts %u %u at %.3f s: round trip %.0f, up %.0f, key %.0f, direct "
            "%.0f, relay %.0f ms\n",
            (unsigned long long)g->options->seed, p->number, (unsigned)p->a->index,
            (unsigned)p->b->index, (double)p->began_us / 1e6, (double)p->rtt_us / 1e3,
            ms_after(p->up_us, p->began_us), ms_after(p->key_us, p->began_us),
            ms_after(p->direct_us, p->began_us), ms_after(p->relay_us, p->began_us));
}

static void measure(struct grid *g, const struct pair *p)
{
    struct grid_result *r = g->result;
    double rtt = (double)p->rtt_us;

    if (!p->fresh || p->rtt_us == 0)
        return;
    if (g->options->verbose)
        print_pair(g, p);
    if (p->key_us != 0)
        stats_add(&r->first_rtts, (double)(p->key_us - p->began_us) / rtt + 0.5);
    if (p->direct_us == 0 && p->relay_us != 0)
        stats_add(&r->relay_ms, ms_after(p->relay_us, p->began_us));
    if (p->direct_us == 0)
        return;
    stats_add(&r->direct_ms, ms_after(p->direct_us, p->began_us));
    stats_add(&r->direct_rtts, ((double)(p->direct_us - p->began_us) - 1e5) / rtt);
    stats_add(&r->direct_session_ms, (double)(p->direct_us - p->up_us) / 1e3);
}

/* With loss the ring may take most of the window to bring a session up; that says nothing of the
 * NATs, and is counted as reachable or not. */
static bool has_had_time(const struct grid *g, const struct pair *p)
{
    return g->options->loss == 0 || (p->up_us != 0 && p->up_us < p->began_us + SEC(WINDOW_S / 2));
}

static void pair_judge(struct grid *g, const struct pair *p)
{
    struct grid_pair *sum = &g->result->pairs[p->number];
    bool expected = grid_expects_direct(p->number / GRID_KINDS, p->number % GRID_KINDS);

    sum->seeds++;
    sum->direct += p->direct_us != 0;
    sum->reached += p->answered || p->up_us != 0;
    if (!p->answered && p->up_us == 0 && g->options->loss == 0)
        violated(g, p, "not reachable");
    if (expected && p->direct_us == 0 && has_had_time(g, p))
        violated(g, p, p->half ? "direct one way only" : "not direct");
    if (!expected && p->half && !g->options->port_search && g->options->ports == NAT_PORTS_RANDOM)
        violated(g, p, p->direct_us != 0 ? "direct, against theory" : "half direct");
    measure(g, p);
}

/* ---- a world ---- */

static void look(void *ctx)
{
    struct grid *g = ctx;

    for (int i = 0; i < GRID_KINDS; i++)
        if (g->pairs[i].began_us != 0)
            pair_look(g->world, &g->pairs[i]);
}

static void run(struct grid *g, usec for_us)
{
    world_run(g->world, g->world->now_us + for_us);
}

static void ping_all(struct grid *g)
{
    bool missing = true;

    for (int i = 0; i < GRID_KINDS; i++)
        g->pairs[i].answered = false;
    for (int try = 0; try < PING_TRIES && missing; try++) {
        for (int i = 0; i < GRID_KINDS; i++)
            if (!g->pairs[i].answered)
                pair_ping(&g->pairs[i]);
        run(g, SEC(PING_S) + MSEC(10));
        missing = false;
        for (int i = 0; i < GRID_KINDS; i++)
            missing |= !g->pairs[i].answered;
    }
}

/* Nine pairs in which each host has one part. */
static void run_batch(struct grid *g, int shift)
{
    struct world *w = g->world;

    for (int i = 0; i < GRID_KINDS; i++) {
        int k = (i + shift) % GRID_KINDS;

        g->pairs[i] = (struct pair){.grid = g,
                                    .number = i * GRID_KINDS + k,
                                    .a = &w->hosts[SIDE_A + i],
                                    .b = &w->hosts[SIDE_B + k]};
    }
    w->internet.faults.loss = 0;
    ping_all(g);
    w->internet.faults.loss = g->options->loss;
    for (int i = 0; i < GRID_KINDS; i++)
        pair_begin(g, &g->pairs[i]);
    for (int s = 0; s < WINDOW_S; s++) { /* traffic that is not answered is sent again */
        run(g, SEC(1));
        for (int i = 0; i < GRID_KINDS; i++)
            pair_demand(&g->pairs[i]);
    }
    ping_all(g);
    for (int i = 0; i < GRID_KINDS; i++)
        pair_judge(g, &g->pairs[i]);
}

/* Whether it lets in strangers: members have one port each, and nobody can see more. */
static bool knows_filtering(const struct overlay_nat *nat, int kind)
{
    return nat->filtering == (filtering_of(kind) == NAT_ENDPOINT_INDEPENDENT
                                  ? OVERLAY_NAT_FILTERING_INDEPENDENT
                                  : OVERLAY_NAT_FILTERING_DEPENDENT);
}

/* Everybody knows by now what its box does. */
static void judge_knowledge(struct grid *g)
{
    for (int i = 0; i < 2 * GRID_KINDS; i++) {
        struct pair p = {.number = i % GRID_KINDS * (GRID_KINDS + 1),
                         .a = &g->world->hosts[SIDE_A + i],
                         .b = &g->world->hosts[SIDE_A + i]};
        enum overlay_nat_mapping right = mapping_of(i % GRID_KINDS) == NAT_ENDPOINT_INDEPENDENT
                                             ? OVERLAY_NAT_MAPPING_INDEPENDENT
                                             : OVERLAY_NAT_MAPPING_DEPENDENT;
        struct overlay_nat nat;

        overlay_nat(host_overlay(p.a), &nat);
        g->result->known += nat.mapping == right;
        if (nat.mapping != right)
            violated(g, &p, "does not know its own mapping");
        if (nat.filtering != OVERLAY_NAT_FILTERING_UNKNOWN &&
            !knows_filtering(&nat, i % GRID_KINDS))
            violated(g, &p, "is wrong about whom its box lets in");
        if (nat.hairpin == OVERLAY_KNOWN_YES)
            violated(g, &p, "is wrong about its box's hairpin");
        g->result->known_filtering += knows_filtering(&nat, i % GRID_KINDS);
        g->result->known_hairpin += nat.hairpin == OVERLAY_KNOWN_NO;
    }
}

/* ---- changes ---- */

static void on_change_ping(void *ctx, const struct overlay_ping_result *r)
{
    struct pair *p = ctx;
    const struct grid_options *o = p->grid->options;
    usec now_us = p->grid->world->now_us;

    if (!r->answered || now_us - r->rtt_us < p->began_us)
        return;
    if (p->again_us == 0)
        p->again_us = now_us;
    if (p->direct_again_us == 0 && r->rtt_us < 2 * o->delay_us + MSEC(5))
        p->direct_again_us = now_us;
}

static void change_judge(struct grid *g, const struct pair *p, struct grid_change *c)
{
    double traffic_s = (double)(p->again_us - p->began_us) / 1e6;
    double direct_s = (double)(p->direct_again_us - p->began_us) / 1e6;

    if (p->again_us != 0)
        stats_add(&c->traffic_s, traffic_s);
    if (p->was_direct && p->direct_again_us != 0)
        stats_add(&c->direct_s, direct_s);
    if (g->options->loss > 0)
        return;
    if (p->again_us == 0 || traffic_s > CHANGE_TRAFFIC_S)
        violated(g, p, "no traffic again in time after a change");
    if (p->was_direct && (p->direct_again_us == 0 || direct_s > CHANGE_DIRECT_S))
        violated(g, p, "not direct again in time after a change");
}

static void pair_change_ping(struct pair *p)
{
    if (p->a->asleep_us != 0)
        return;
    host_enter(p->a);
    (void)overlay_demand(host_overlay(p->a), &p->b->identity.id);
    (void)overlay_ping(host_overlay(p->a), &p->b->identity.id, OVERLAY_EXACT, SEC(PING_S), 0,
                       on_change_ping, p);
    host_exit(p->a);
}

static void note_direct(struct grid *g)
{
    for (int i = 0; i < GRID_KINDS; i++) {
        struct overlay_data at_a, at_b;
        struct pair *p = &g->pairs[i];

        p->was_direct = grid_expects_direct(p->number / GRID_KINDS, p->number % GRID_KINDS) &&
                        sees(p->a, p->b, &at_a) && sees(p->b, p->a, &at_b) && at_a.udp && at_b.udp;
    }
}

/* One pair after the other sees the change, and pings before it and until all is as before. */
static void change_all(struct grid *g, void (*change)(struct grid *g, struct pair *p),
                       struct grid_change *c)
{
    int apart = CHANGE_APART_S * 1000 / CHANGE_PING_MS, changed = 0;

    for (int n = 0; n < CHANGE_S * 1000 / CHANGE_PING_MS + GRID_KINDS * apart; n++) {
        if (n % apart == 0 && changed < GRID_KINDS) {
            struct pair *p = &g->pairs[changed++];

            p->began_us = g->world->now_us;
            p->again_us = p->direct_again_us = 0;
            change(g, p);
        }
        for (int i = 0; i < GRID_KINDS; i++)
            pair_change_ping(&g->pairs[i]);
        run(g, MSEC(CHANGE_PING_MS));
    }
    run(g, SEC(PING_S));
    for (int i = 0; i < GRID_KINDS; i++)
        change_judge(g, &g->pairs[i], c);
}

static void all_sleep(struct grid *g)
{
    for (int i = 0; i < GRID_KINDS; i++)
        host_sleep(g->pairs[i].a);
    run(g, SEC(GRID_SLEEP_S));
}

static void awake_host(struct grid *g, struct pair *p)
{
    host_awake(p->a);
}

static void reboot_box(struct grid *g, struct pair *p)
{
    nat_forget(&g->world->internet.boxes[g->world->internet.places[p->a->index].box]);
}

static void move_to_box(struct grid *g, struct pair *p, int16_t box)
{
    struct endpoint eps[2];

    g->world->internet.places[p->a->index].box = box;
    host_enter(p->a);
    node_set_endpoints(p->a->node, eps, internet_endpoints(&g->world->internet, p->a->index, eps));
    node_network_changed(p->a->node);
    host_exit(p->a);
}

/* It finds itself in a public network. */
static void move_host(struct grid *g, struct pair *p)
{
    move_to_box(g, p, INTERNET_NOBODY);
}

static void move_home(struct grid *g, struct pair *p)
{
    p->was_direct = true;
    move_to_box(g, p, g->world->internet.places[p->b->index].box);
}

static void judge_home(struct grid *g)
{
    for (int i = 0; i < GRID_KINDS; i++) {
        struct pair *p = &g->pairs[i];
        struct overlay_data at_a, at_b;

        if (!sees(p->a, p->b, &at_a) || !sees(p->b, p->a, &at_b) || !at_a.udp || !at_b.udp ||
            !addr_is_private(&at_a.to.addr) || !addr_is_private(&at_b.to.addr))
            violated(g, p, "behind one box, and not over their LAN");
    }
}

static void change_everything(struct grid *g)
{
    struct grid_result *r = g->result;

    note_direct(g);
    all_sleep(g);
    change_all(g, awake_host, &r->sleep);
    note_direct(g);
    change_all(g, reboot_box, &r->reboot);
    note_direct(g);
    change_all(g, move_host, &r->move);
    change_all(g, move_home, &r->home);
    judge_home(g);
}

static void put_in_boxes(struct grid *g)
{
    struct internet *n = &g->world->internet;

    for (int i = 0; i < 2 * GRID_KINDS; i++) {
        struct nat_kind kind = grid_kind(i % GRID_KINDS, g->options->ports);
        struct random r = random_new(g->options->seed, RANDOM_NAT, (uint64_t)i);

        n->places[SIDE_A + i].box = (int16_t)internet_add_box(n, &kind, r);
    }
}

void grid_run(const struct grid_options *o, struct grid_result *r)
{
    struct world_config config = {.seed = o->seed,
                                  .nodes = HOSTS,
                                  .delay_us = o->delay_us,
                                  .bootstraps = 2,
                                  .lease_s = 86400,
                                  .port_search = o->port_search,
                                  .log_level = o->log_level,
                                  .log_host = o->log_host,
                                  .silent = true};
    struct grid g = {.options = o, .result = r};

    g.world = world_new(&config);
    put_in_boxes(&g);
    world_start_all(g.world, SEC(1), SEC(1));
    (void)world_run_until(g.world, SEC(UP_S), world_everybody_up);
    run(&g, SEC(SETTLE_S));
    g.world->watch = look;
    g.world->watch_ctx = &g;
    judge_knowledge(&g);
    for (int shift = 0; shift < GRID_KINDS; shift++)
        run_batch(&g, shift);
    g.world->watch = NULL;
    change_everything(&g);
    report_sum_add(&r->sum, g.world);
    world_free(g.world);
}

/* ---- the command ---- */

static void print_grid(const struct grid_result *r)
{
    static const char *const names[] = {"EI", "AD", "APD"};

    printf("mapping/filtering  ");
    for (int b = 0; b < GRID_KINDS; b++)
        printf("%4s/%-4s", names[b / 3], names[b % 3]);
    for (int a = 0; a < GRID_KINDS; a++) {
        printf("\n  %4s/%-12s", names[a / 3], names[a % 3]);
        for (int b = 0; b < GRID_KINDS; b++) {
            const struct grid_pair *p = &r->pairs[a * GRID_KINDS + b];

            printf("%7.2f%c ", p->seeds > 0 ? (double)p->direct / p->seeds : 0,
                   grid_expects_direct(a, b) ? '*' : ' ');
        }
    }
    printf("\n  share of seeds in which the pair ended direct; * where theory says so\n");
}

static void print_stats(const char *name, struct stats *s)
{
    printf("  %-36s p50 %8.2f  p90 %8.2f  p99 %8.2f  max %8.2f  (%zu)\n", name,
           stats_quantile(s, 0.5), stats_quantile(s, 0.9), stats_quantile(s, 0.99),
           stats_quantile(s, 1), s->count);
}

static void count(const struct grid_result *r, uint32_t sums[3])
{
    memset(sums, 0, 3 * sizeof(sums[0]));
    for (int i = 0; i < GRID_PAIRS; i++) {
        const struct grid_pair *p = &r->pairs[i];

        sums[grid_expects_direct(i / GRID_KINDS, i % GRID_KINDS) ? 0 : 1] += p->direct;
        sums[2] += p->reached;
    }
}

static void print_text(struct grid_result *r, const struct options *o, uint64_t seeds)
{
    uint32_t sums[3];
    char digest[65];

    count(r, sums);
    report_sum_digest(&r->sum, digest);
    report_text_begin(o, digest);
    print_grid(r);
    printf("  direct where theory says so          %.4f of 45 pairs in %llu seeds\n",
           (double)sums[0] / 45 / (double)seeds, (unsigned long long)seeds);
    printf("  direct where it says not             %.4f of 36 (ports foretold or found)\n",
           (double)sums[1] / 36 / (double)seeds);
    printf("  reachable                            %.4f of 81\n",
           (double)sums[2] / 81 / (double)seeds);
    printf("  know how their box maps              %.4f of 18 hosts\n",
           (double)r->known / 18 / (double)seeds);
    printf("  know whom it lets in                 %.4f of 18\n",
           (double)r->known_filtering / 18 / (double)seeds);
    printf("  know that it has no hairpin          %.4f of 18\n",
           (double)r->known_hairpin / 18 / (double)seeds);
    print_stats("time to first packet, round trips", &r->first_rtts);
    print_stats("time to direct, ms", &r->direct_ms);
    print_stats("the same less 100 ms, round trips", &r->direct_rtts);
    print_stats("time to direct from the session, ms", &r->direct_session_ms);
    print_stats("time to a relay in place, ms", &r->relay_ms);
    print_stats("traffic after one end awakes, s", &r->sleep.traffic_s);
    print_stats("direct again, s", &r->sleep.direct_s);
    print_stats("traffic after a box restarts, s", &r->reboot.traffic_s);
    print_stats("direct again, s", &r->reboot.direct_s);
    print_stats("traffic after one end moves, s", &r->move.traffic_s);
    print_stats("direct again, s", &r->move.direct_s);
    print_stats("traffic after it is on the LAN, s", &r->home.traffic_s);
    print_stats("direct there, s", &r->home.direct_s);
    printf("  violations                           %llu%s%s\n", (unsigned long long)r->violations,
           r->violations > 0 ? ", the first " : "", r->violation);
}

static json_t *json_stats(struct stats *s)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:I}", "p50", stats_quantile(s, 0.5), "p90",
                     stats_quantile(s, 0.9), "p99", stats_quantile(s, 0.99), "max",
                     stats_quantile(s, 1), "count", (json_int_t)s->count);
}

static void print_json(struct grid_result *r, const struct options *o, uint64_t seeds,
                       double wall_s)
{
    json_t *pairs = json_array(), *j = report_json_begin(o), *found;
    uint32_t sums[3];

    count(r, sums);
    for (int i = 0; i < GRID_PAIRS; i++)
        json_array_append_new(pairs, json_integer(r->pairs[i].direct));
    found = json_pack(
        "{s:I, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o, s:o, s:o, s:I, s:s?}",
        "seeds", (json_int_t)seeds, "direct", pairs, "direct_expected", (json_int_t)sums[0],
        "direct_beyond_theory", (json_int_t)sums[1], "reachable", (json_int_t)sums[2],
        "know_mapping", (json_int_t)r->known, "first_packet_rtts", json_stats(&r->first_rtts),
        "direct_ms", json_stats(&r->direct_ms), "direct_less_100ms_rtts",
        json_stats(&r->direct_rtts), "direct_from_session_ms", json_stats(&r->direct_session_ms),
        "relay_ms", json_stats(&r->relay_ms), "sleep_traffic_s", json_stats(&r->sleep.traffic_s),
        "sleep_direct_s", json_stats(&r->sleep.direct_s), "home_traffic_s",
        json_stats(&r->home.traffic_s), "home_direct_s", json_stats(&r->home.direct_s),
        "reboot_traffic_s", json_stats(&r->reboot.traffic_s), "reboot_direct_s",
        json_stats(&r->reboot.direct_s), "move_traffic_s", json_stats(&r->move.traffic_s),
        "move_direct_s", json_stats(&r->move.direct_s), "violations", (json_int_t)r->violations,
        "first_violation", r->violations > 0 ? r->violation : NULL);
    json_object_update(j, found);
    json_decref(found);
    report_sum_json(j, &r->sum);
    json_object_set_new(j, "nodes", json_integer(HOSTS));
    json_object_set_new(j, "wall_s", json_real(wall_s));
    report_json_end(j);
}

/* Where ports can be foretold and may be searched for, some must be found. */
static void judge_search(struct grid_result *r, const struct options *o)
{
    uint32_t sums[3];

    count(r, sums);
    if (!o->port_search || o->ports == NAT_PORTS_RANDOM || sums[1] > 0)
        return;
    if (r->violations++ == 0)
        snprintf(r->violation, sizeof(r->violation), "no port was foretold or found");
}

static void judge_one(struct grid_result *r, struct stats *s, double quantile, double most,
                      const char *what)
{
    double is = stats_quantile(s, quantile);

    if (s->count < TIMES_LEAST || is <= most)
        return;
    if (r->violations++ == 0)
        snprintf(r->violation, sizeof(r->violation), "%s: %.2f at p%.0f, more than %.2f", what, is,
                 100 * quantile, most);
}

/* What the first packet and better paths may take. */
static void judge_times(struct grid_result *r, const struct options *o)
{
    if (o->loss == 0) {
        judge_one(r, &r->first_rtts, 1, 2, "round trips to the first packet");
        judge_one(r, &r->direct_rtts, 0.5, 3, "round trips, and 100 ms, to direct");
    }
    judge_one(r, &r->relay_ms, 0.5, 1000, "ms to a relay");
    judge_one(r, &r->relay_ms, 0.99, 3000, "ms to a relay");
    if (!o->port_search) /* a search takes what it takes */
        judge_one(r, &r->direct_ms, 0.99, 2000, "ms to direct");
}

static void result_clear(struct grid_result *r)
{
    struct grid_change *changes[] = {&r->sleep, &r->reboot, &r->move, &r->home};

    stats_clear(&r->first_rtts);
    stats_clear(&r->direct_ms);
    stats_clear(&r->direct_rtts);
    stats_clear(&r->direct_session_ms);
    stats_clear(&r->relay_ms);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        stats_clear(&changes[i]->traffic_s);
        stats_clear(&changes[i]->direct_s);
    }
}

int nat_command(const struct options *o)
{
    struct grid_result r = {0};
    uint64_t seeds = o->seeds_last - o->seeds_first + 1;
    double start_s = wall_seconds();

    for (uint64_t seed = o->seeds_first; seed <= o->seeds_last; seed++) {
        struct grid_options g = {.seed = seed,
                                 .loss = o->loss,
                                 .ports = o->ports,
                                 .port_search = o->port_search,
                                 .delay_us = (usec)(o->delay_ms * 1e3),
                                 .log_level = o->log_level,
                                 .log_host = o->log_host,
                                 .verbose = o->verbose};

        grid_run(&g, &r);
        if (report_progress_due())
            fprintf(stderr, "\r\033[K%llu of %llu seeds, %llu violations",
                    (unsigned long long)r.sum.worlds, (unsigned long long)seeds,
                    (unsigned long long)r.violations);
    }
    report_progress_end();
    judge_search(&r, o);
    judge_times(&r, o);
    if (o->json)
        print_json(&r, o, seeds, wall_seconds() - start_s);
    else
        print_text(&r, o, seeds);
    result_clear(&r);
    return r.violations > 0 ? EXIT_VIOLATED : 0;
}
