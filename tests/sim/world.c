#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"

/* ---- violations ---- */

void world_violated(struct world *w, const char *format, ...)
{
    char text[WORLD_VIOLATION_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (w->violations++ == 0)
        snprintf(w->violation, sizeof(w->violation), "at %.3f s: %.200s", (double)w->now_us / 1e6,
                 text);
    if (!w->config.silent && w->violations <= WORLD_VIOLATIONS_SHOWN)
        fprintf(stderr, "violation at %.6f s: %s\n", (double)w->now_us / 1e6, text);
}

void world_hurt(struct world *w)
{
    w->fault_us = w->now_us;
}

/* ---- making ---- */

static void world_second(struct world *w, struct event *e)
{
    agenda_set(&w->agenda, e, w->now_us + SEC(1));
    ring_check_second(w);
    claims_second(w);
    dht_check_second(w);
    if (w->progress != NULL)
        w->progress(w);
}

static void world_place_hosts(struct world *w)
{
    struct random r = random_new(w->config.seed, RANDOM_PLACE, 0);
    uint32_t rows = w->config.latency != NULL ? w->config.latency->rows : 0;
    uint32_t *deck = calloc(rows + 1, sizeof(*deck));

    CHECK(deck != NULL);
    for (uint32_t i = 0; i < rows; i++)
        deck[i] = i;
    for (uint32_t i = 0; i < w->host_count && rows > 0; i++) { /* each row once before any twice */
        uint32_t dealt = i % rows, other = dealt + (uint32_t)random_below(&r, rows - dealt);
        uint32_t row = deck[other];

        deck[other] = deck[dealt];
        deck[dealt] = row;
        w->internet.places[i].row = row;
    }
    free(deck);
}

static void world_give_families(struct world *w)
{
    struct random r = random_new(w->config.seed, RANDOM_PLACE, 1);

    for (uint32_t i = 0; i < w->host_count; i++)
        if (random_chance(&r, w->config.families6))
            w->internet.places[i].families |= INTERNET_V6;
}

static void world_draw_apart(struct world *w)
{
    struct random r = random_new(w->config.seed, RANDOM_PLACE, 3);

    random_bytes(&r, w->internet.apart_key, sizeof(w->internet.apart_key));
}

/* Bootstraps are never boxed. */
static void world_box_hosts(struct world *w)
{
    struct random r = random_new(w->config.seed, RANDOM_PLACE, 2);
    uint32_t in_box = 0;
    int box = INTERNET_NOBODY;

    for (uint32_t i = w->config.bootstraps; i < w->host_count; i++) {
        if (!random_chance(&r, w->config.boxed))
            continue;
        if (in_box++ % w->config.hosts_per_box == 0 && w->internet.box_count < INTERNET_BOXES_MAX)
            box = internet_add_box(
                &w->internet, &w->config.box,
                random_new(w->config.seed, RANDOM_NAT, (uint64_t)w->internet.box_count));
        w->internet.places[i].box = (int16_t)box;
    }
}

struct world *world_new(const struct world_config *config)
{
    static const uint8_t no_secret[16];
    struct world *w = calloc(1, sizeof(*w));
    struct random r = random_new(config->seed, RANDOM_IDENTITY, UINT64_MAX);

    CHECK(w != NULL && config->nodes > 0 && config->bootstraps <= WORLD_BOOTSTRAPS_MAX);
    w->config = *config;
    w->host_count = config->nodes;
    w->hosts = calloc(w->host_count, sizeof(*w->hosts));
    CHECK(w->hosts != NULL);
    random_bytes(&r, w->group.b, sizeof(w->group.b));
    w->seal = seal_worker_new();
    CHECK(w->seal != NULL);
    random_bytes(&r, w->group_key.b, sizeof(w->group_key.b));
    if (config->certified)
        authority_start(&w->authority, &w->group, &w->group_key, WORLD_WALL_START_S);
    crypto_generichash_init(&w->digest, NULL, 0, 32);
    table_init(&w->by_id, offsetof(struct host, identity.id), ID_LEN, 2 * w->host_count, no_secret);
    claims_init(&w->claims, w->host_count);
    internet_init(&w->internet, w->host_count, random_new(config->seed, RANDOM_LINK, 0));
    w->internet.delay_us = config->delay_us;
    w->internet.apart = config->apart;
    w->internet.apart_from = config->bootstraps;
    world_draw_apart(w);
    w->internet.latency = config->latency;
    faults_init(&w->faults, random_new(config->seed, RANDOM_FAULT, 0));
    world_place_hosts(w);
    world_give_families(w);
    world_box_hosts(w);
    for (uint32_t i = 0; i < w->host_count; i++)
        host_init(&w->hosts[i], w, i);
    asks_init(&w->asks, random_new(config->seed, RANDOM_ASK, 0));
    w->second.happen = world_second;
    agenda_set(&w->agenda, &w->second, SEC(1));
    return w;
}

static void world_drop_packets(struct world *w)
{
    while (agenda_first(&w->agenda) != NULL) {
        struct event *e = agenda_pop(&w->agenda);

        if (host_is_packet(e))
            free(CONTAINER_OF(e, struct packet, event));
    }
}

void world_free(struct world *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->host_count; i++)
        host_clear(&w->hosts[i]);
    world_drop_packets(w);
    agenda_clear(&w->agenda);
    internet_clear(&w->internet);
    ring_check_clear(&w->ring);
    asks_clear(&w->asks);
    dht_check_clear(&w->dht);
    table_clear(&w->by_id);
    claims_clear(&w->claims);
    seal_worker_free(w->seal);
    authority_end(&w->authority);
    free(w->hosts);
    free(w);
}

/* ---- running ---- */

static bool world_step(struct world *w, usec until_us)
{
    struct event *e = agenda_first(&w->agenda);

    if (e == NULL || e->at_us > until_us)
        return false;
    w->now_us = e->at_us;
    w->events++;
    agenda_pop(&w->agenda);
    e->happen(w, e);
    if (w->watch != NULL)
        w->watch(w->watch_ctx);
    return true;
}

bool world_run_until(struct world *w, usec until_us, bool (*done)(const struct world *w))
{
    bool is_done = done != NULL && done(w);

    CHECK(until_us >= w->now_us);

    while (!is_done && !world_must_stop(w) && world_step(w, until_us))
        is_done = done != NULL && done(w);
    if (!is_done && !world_must_stop(w))
        w->now_us = until_us;
    return is_done;
}

void world_run(struct world *w, usec until_us)
{
    (void)world_run_until(w, until_us, NULL);
}

bool world_must_stop(const struct world *w)
{
    return w->config.stop_at_violation && w->violations > 0;
}

void world_digest(const struct world *w, char out[65])
{
    crypto_generichash_state state = w->digest;
    uint8_t hash[32];

    crypto_generichash_final(&state, hash, sizeof(hash));
    hex_text(hash, sizeof(hash), out);
}

/* ---- hosts ---- */

struct host *world_host(const struct world *w, const struct id *id)
{
    return table_get(&w->by_id, id);
}

struct host *world_any(struct world *w, struct random *r)
{
    size_t start = random_below(r, w->host_count);

    for (size_t i = 0; i < w->host_count; i++) {
        struct host *h = &w->hosts[(start + i) % w->host_count];

        if (host_is_on(h))
            return h;
    }
    return NULL;
}

size_t world_bootstraps(const struct world *w, struct endpoint out[WORLD_BOOTSTRAPS_MAX])
{
    size_t count = 0;

    for (uint32_t i = 0; i < w->config.bootstraps && i < w->host_count; i++) {
        out[count] = internet_public_endpoint(&w->internet, i);
        if (out[count].addr.family != 0)
            count++;
    }
    return count;
}

void world_start_all(struct world *w, usec spread_us, usec known_us)
{
    struct random r = random_new(w->config.seed, RANDOM_START, 0);

    for (size_t i = 0; i < w->host_count; i++) {
        usec within_us = i < w->config.bootstraps ? usec_min(spread_us, known_us) : spread_us;

        if (w->hosts[i].state == HOST_OFF)
            host_start_at(&w->hosts[i], w->now_us + random_below(&r, within_us + 1), false);
    }
}

unsigned world_look_seconds(const struct world *w)
{
    size_t s = (w->host_count + WORLD_LOOK_HOSTS - 1) / WORLD_LOOK_HOSTS;

    return s < WORLD_LOOK_SECONDS_MAX ? (unsigned)s : WORLD_LOOK_SECONDS_MAX;
}

bool world_everybody_up(const struct world *w)
{
    for (size_t i = 0; i < w->host_count; i++)
        if (w->hosts[i].node != NULL && !w->hosts[i].up)
            return false;
    return true;
}
