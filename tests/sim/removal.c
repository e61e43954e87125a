/*
 * Somebody is removed from a settled group with certificates. The members that watch the service
 * hear of it; measured is how long it takes until everybody else knows and has no session with the
 * removed one left. Meanwhile a part of the group is away and comes back, and never has a session
 * with the removed one, and another member broadcasts a forged removal and the true one again: no
 * honest member is ever cut.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "tests/sim/latency.h"
#include "tests/sim/report.h"
#include "tests/sim/run.h"

enum {
    UP_WITHIN_S = 120,
    SETTLE_S = 30,
    LEARN_WITHIN_S = 60,
    BACK_AFTER_S = 20,
    AFTERWARDS_S = 5,
    LOOK_MS = 5,            /* the figures' grain */
    SERVICE_DELAY_MS = 100, /* an event reaches each watcher within */
    ASIDE = 10,             /* one in so many is away */
};

struct removal_run {
    const struct options *options;
    struct world *world;
    struct host *victim;
    struct cert cert;
    uint8_t message[REMOVAL_MAX];
    size_t len;
    usec at_us;
    usec *done_us;         /* by host; 0: not yet */
    struct stats known_ms; /* of those who were there */
    struct stats back_ms;  /* of those who were away, since their start */
    uint64_t watchers, too_late;
};

static bool all_up(const struct world *w)
{
    return w->on == w->host_count && world_everybody_up(w);
}

static bool has_session(const struct removal_run *r, const struct host *h)
{
    struct cert cert;

    return overlay_peer_cert(host_overlay(h), &r->victim->identity.id, &cert);
}

static bool has_cut(const struct removal_run *r, const struct host *h)
{
    return removed_number(h->removed) == r->world->authority.numbers && !has_session(r, h);
}

/* Whoever has cut it off, and whoever was away when it was removed, never talks to it again. */
static void look_for_relapse(const struct removal_run *r, const struct host *h, bool done)
{
    if ((done || h->on_us > r->at_us) && has_session(r, h))
        world_violated(r->world, "host %u has a session with the removed one", (unsigned)h->index);
}

/* Who has just learned it; and nobody else takes himself for removed. */
static void look(struct removal_run *r)
{
    struct world *w = r->world;
    struct node_status s;

    for (size_t i = 0; i < w->host_count; i++) {
        struct host *h = &w->hosts[i];

        if (h == r->victim || h->node == NULL)
            continue;
        look_for_relapse(r, h, r->done_us[i] != 0);
        if (r->done_us[i] != 0 || !has_cut(r, h))
            continue;
        r->done_us[i] = w->now_us;
        if (h->on_us <= r->at_us)
            stats_add(&r->known_ms, (double)(w->now_us - r->at_us) / 1e3);
        else
            stats_add(&r->back_ms, (double)(w->now_us - h->on_us) / 1e3);
        node_status(h->node, &s);
        if (s.state == NODE_REMOVED)
            world_violated(w, "host %u was not removed and thinks so", (unsigned)h->index);
    }
}

static bool all_know(const struct removal_run *r)
{
    const struct world *w = r->world;

    for (size_t i = 0; i < w->host_count; i++)
        if (&w->hosts[i] != r->victim && r->done_us[i] == 0)
            return false;
    return true;
}

static void run_and_look(struct removal_run *r, usec until_us)
{
    struct world *w = r->world;

    while (w->now_us < until_us && !world_must_stop(w)) {
        world_run(w, usec_min(until_us, w->now_us + MSEC(LOOK_MS)));
        look(r);
    }
}

static void tell(struct host *h, const uint8_t *message, size_t len)
{
    host_enter(h);
    (void)node_removal(h->node, message, len);
    host_exit(h);
}

static void tell_watchers(struct removal_run *r)
{
    struct world *w = r->world;
    struct random random = random_new(w->config.seed, RANDOM_FAULT, 7);

    for (size_t i = 0; i < w->host_count; i++) {
        struct host *h = &w->hosts[i];

        if (h->node == NULL || !node_watches_removals(h->node))
            continue;
        r->watchers++;
        run_and_look(r, w->now_us + MSEC(random_below(&random, SERVICE_DELAY_MS / 3)));
        tell(h, r->message, r->len);
    }
}

/* A member that wants to be rid of another: as it is, with another node id in it, and twice. */
static void forge(struct removal_run *r)
{
    struct world *w = r->world;
    struct host *liar = &w->hosts[1], *honest = &w->hosts[2];
    uint8_t body[1 + REMOVAL_MAX];

    if (liar->node == NULL || w->host_count < 4)
        return;
    body[0] = 5; /* NODE_MSG_REMOVAL */
    memcpy(body + 1, r->message, r->len);
    memcpy(body + 1 + 1 + ID_LEN + 16, honest->identity.id.b, ID_LEN);
    host_enter(liar);
    (void)overlay_broadcast(host_overlay(liar), OVERLAY_PROTO_NODE, body, 1 + r->len);
    memcpy(body + 1, r->message, r->len);
    (void)overlay_broadcast(host_overlay(liar), OVERLAY_PROTO_NODE, body, 1 + r->len);
    host_exit(liar);
}

static void send_some_away(struct removal_run *r)
{
    struct world *w = r->world;

    for (size_t i = w->config.bootstraps; i < w->host_count; i++)
        if (i % ASIDE == 0 && &w->hosts[i] != r->victim)
            host_crash(&w->hosts[i]);
}

static void bring_back(struct removal_run *r)
{
    struct world *w = r->world;

    for (size_t i = 0; i < w->host_count; i++)
        if (w->hosts[i].state == HOST_OFF)
            host_start_at(&w->hosts[i], w->now_us + MSEC(i), false);
}

static void judge(struct removal_run *r)
{
    struct world *w = r->world;
    size_t lost = 0;

    for (size_t i = 0; i < w->host_count; i++)
        lost += &w->hosts[i] != r->victim && r->done_us[i] == 0;
    if (lost > 0)
        world_violated(w, "%zu hosts did not learn it within %d s", lost, LEARN_WITHIN_S);
    for (size_t i = 0; i < r->known_ms.count; i++)
        r->too_late += r->known_ms.v[i] > 10000;
    if (r->too_late * 100 > r->known_ms.count)
        world_violated(w, "%llu of %zu took more than 10 s", (unsigned long long)r->too_late,
                       r->known_ms.count);
}

static void run(struct removal_run *r)
{
    struct world *w = r->world;
    struct fault links = {.kind = FAULT_LINKS, .links = {.loss = r->options->loss}};

    world_start_all(w, SEC(1), SEC(1));
    if (!world_run_until(w, SEC(UP_WITHIN_S), all_up)) {
        world_violated(w, "not everybody is up within %d s", UP_WITHIN_S);
        return;
    }
    world_run(w, w->now_us + SEC(SETTLE_S));
    fault_do(w, &links);
    r->victim = &w->hosts[w->host_count / 2];
    CHECK(cert_read(r->victim->cert, r->victim->cert_len, &r->cert) == CERT_OK);
    send_some_away(r);
    world_run(w, w->now_us + SEC(1));
    r->len = authority_remove(&w->authority, &r->cert, r->victim->env.wall_s, r->message);
    r->at_us = w->now_us;
    forge(r);
    tell_watchers(r);
    run_and_look(r, r->at_us + SEC(BACK_AFTER_S));
    bring_back(r);
    while (!all_know(r) && w->now_us < r->at_us + SEC(BACK_AFTER_S + LEARN_WITHIN_S) &&
           !world_must_stop(w))
        run_and_look(r, w->now_us + SEC(1));
    run_and_look(r, w->now_us + SEC(AFTERWARDS_S)); /* nobody else is cut */
    judge(r);
}

static void print(struct removal_run *r, double wall_s)
{
    struct report report = report_of_world(r->options);
    char digest[65];
    json_t *j;

    if (!r->options->json) {
        world_digest(r->world, digest);
        report_text_begin(r->options, digest);
        printf("removed from a group of %u: %zu members had cut it off after p50 %.0f ms, p99 %.0f "
               "ms, "
               "max %.0f ms; %zu that were away after p50 %.0f ms, max %.0f ms of theirs; "
               "%llu violations\n",
               (unsigned)r->world->host_count, r->known_ms.count, stats_quantile(&r->known_ms, 0.5),
               stats_quantile(&r->known_ms, 0.99), stats_quantile(&r->known_ms, 1),
               r->back_ms.count, stats_quantile(&r->back_ms, 0.5), stats_quantile(&r->back_ms, 1),
               (unsigned long long)r->world->violations);
        return;
    }
    report.world = r->world;
    report.wall_s = wall_s;
    report_measure(&report);
    j = report_json(&report);
    json_object_set_new(j, "loss", json_real(r->options->loss));
    json_object_set_new(j, "known_ms", report_stats(&r->known_ms));
    json_object_set_new(j, "back_ms", report_stats(&r->back_ms));
    json_object_set_new(j, "watchers", json_integer((json_int_t)r->watchers));
    report_json_end(j);
    report_clear(&report);
}

int removal_command(const struct options *o)
{
    struct removal_run r = {.options = o};
    struct world_config c;
    struct latency latency = {0};
    double start_s = wall_seconds();
    int status;

    if (!run_config(o, &latency, &c))
        return EXIT_USAGE;
    c.certified = true;
    r.world = world_new(&c);
    r.done_us = calloc(r.world->host_count, sizeof(*r.done_us));
    CHECK(r.done_us != NULL);
    r.world->progress = report_progress;
    run(&r);
    report_progress_end();
    print(&r, wall_seconds() - start_s);
    status = r.world->violations > 0 ? EXIT_VIOLATED : 0;
    stats_clear(&r.known_ms);
    stats_clear(&r.back_ms);
    free(r.done_us);
    world_free(r.world);
    latency_clear(&latency);
    return status;
}
