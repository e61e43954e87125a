#include "tests/sim/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "overlay/stun.h"
#include "tests/sim/world.h"

enum {

    CLOCK_OFFSET_MAX_S = 30 * 86400, /* machines were booted within a month */
    SPINS_MAX = 10000,               /* ticks in one instant: the node never comes to rest */
    MTU = 1400,
    HEADERS_V4 = 20 + 8,
    HEADERS_V6 = 40 + 8,
};

/* ---- clocks ---- */

static usec host_clock(const struct host *h)
{
    int64_t drift = (int64_t)(h->world->now_us / 1000000) * h->clock_ppm +
                    (int64_t)(h->world->now_us % 1000000) * h->clock_ppm / 1000000;

    return h->clock_offset_us + h->world->now_us + (usec)drift;
}

/* When the host's clock will show that; a little late rather than early. */
static usec host_when(const struct host *h, usec at_us)
{
    usec now_us = host_clock(h);
    double ahead;

    if (at_us <= now_us)
        return h->world->now_us;
    if (h->clock_ppm == 0)
        return h->world->now_us + (at_us - now_us);
    ahead = (double)(at_us - now_us) * 1e6 / (1e6 + h->clock_ppm);
    return h->world->now_us + (usec)ahead + 2;
}

/* ---- what the node may call ---- */

static void on_random(void *ctx, void *buf, size_t len)
{
    struct host *h = ctx;

    random_bytes(&h->random, buf, len);
}

static void on_log(void *ctx, enum log_level level, const char *line)
{
    static const char *const names[] = {"error", "warn ", "info ", "debug"};
    const struct host *h = ctx;
    char text[ID_SHORT_SIZE];

    if (h->world->config.log_host >= 0 && h->world->config.log_host != (long)h->index)
        return;
    fprintf(stderr, "%12.6f %s host %u %s: %s\n", (double)h->world->now_us / 1e6, names[level],
            (unsigned)h->index, id_short(&h->identity.id, text), line);
}

static void packet_arrives(struct world *w, struct event *e)
{
    struct packet *p = CONTAINER_OF(e, struct packet, event);
    long to = internet_arrive(&w->internet, w->now_us, p);

    if (to != INTERNET_NOBODY && w->hosts[to].state != HOST_OFF && w->hosts[to].asleep_us == 0) {
        w->delivered++;
        host_input(&w->hosts[to], &p->from, p->bytes, p->len);
    }
    free(p);
}

static void on_send(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    struct host *h = ctx;
    struct world *w = h->world;
    size_t headers = to->addr.family == 6 ? HEADERS_V6 : HEADERS_V4;

    h->tx_packets++;
    h->tx_bytes += len + headers;
    traffic_sent(&w->traffic, pkt, len, headers);
    internet_send(&w->internet, &w->agenda, w->now_us, h->index, to, pkt, len, packet_arrives);
}

/* Frames for the device go nowhere: nobody uses it. */
static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
}

static void on_addresses(void *ctx, const struct net *ipv4, const struct net *ipv6)
{
    ((struct host *)ctx)->changed = true;
}

static void on_forward_changed(void *ctx)
{
}

static void on_changed(void *ctx)
{
    ((struct host *)ctx)->changed = true;
}

static void on_dns_query(void *ctx, const uint8_t *query, size_t len)
{
}

/* It is on disk as it is. */
static void on_removed(void *ctx)
{
}

static const struct node_host callbacks = {
    .send = on_send,
    .frame = on_frame,
    .addresses = on_addresses,
    .forward_changed = on_forward_changed,
    .changed = on_changed,
    .removed = on_removed,
    .dns_query = on_dns_query,
};

/* ---- in and out ---- */

static void host_wakes(struct world *w, struct event *e)
{
    struct host *h = CONTAINER_OF(e, struct host, wake);

    host_enter(h);
    node_tick(h->node);
    host_exit(h);
}

void host_enter(struct host *h)
{
    CHECK(h->node != NULL);
    h->env.now_us = host_clock(h);
    h->env.wall_s = WORLD_WALL_START_S + (int64_t)(h->world->now_us / 1000000) + h->wall_skew_s;
    h->account_before = account_enter(&h->account);
}

static void host_set_wake(struct host *h)
{
    usec local_us = node_deadline(h->node);
    usec at_us = local_us == USEC_NEVER ? USEC_NEVER : host_when(h, local_us);

    h->spins = at_us == h->world->now_us ? h->spins + 1 : 0;
    if (h->spins == SPINS_MAX)
        world_violated(h->world, "host %u is due again and again in one instant",
                       (unsigned)h->index);
    if (h->spins >= SPINS_MAX)
        at_us = h->world->now_us + 1000;
    if (at_us != h->wake.at_us || h->wake.handle == 0)
        agenda_set(&h->world->agenda, &h->wake, at_us);
}

static void host_claims(struct host *h, const struct addr *addr, const char *hostname)
{
    uint8_t key[CLAIM_KEY_LEN] = {0};

    if (addr->family != 0)
        memcpy(key, addr, sizeof(*addr));
    claims_moved(h->world, h, CLAIM_ADDRESS, key);
    snprintf((char *)memset(key, 0, sizeof(key)), sizeof(key), "%s", hostname);
    claims_moved(h->world, h, CLAIM_NAME, key);
}

static void host_read_status(struct host *h)
{
    struct node_status status;

    h->changed = false;
    node_status(h->node, &status);
    h->up = status.state == NODE_UP;
    if (h->up && h->up_us == 0)
        h->up_us = h->world->now_us;
    host_claims(h, &status.ipv4.addr, status.hostname);
}

static void host_off(struct host *h)
{
    struct account *before = account_enter(&h->account);

    agenda_set(&h->world->agenda, &h->wake, USEC_NEVER);
    node_free(h->node);
    account_enter(before);
    h->node = NULL;
    h->state = HOST_OFF;
    h->off_us = h->world->now_us;
    h->up = false;
    h->world->on--;
    asks_forget_asker(&h->world->asks, h->index);
    dht_check_host_off(&h->world->dht, h->index);
    host_claims(h, &(struct addr){0}, "");
}

void host_exit(struct host *h)
{
    account_enter(h->account_before);
    if (h->account.bytes_max > h->world->account_peak)
        h->world->account_peak = h->account.bytes_max;
    if (h->changed)
        host_read_status(h);
    if (h->state == HOST_LEAVING && node_left(h->node))
        host_off(h);
    else
        host_set_wake(h);
    ring_check_touched(h->world, h);
    if (h->world->config.follow != NULL)
        dht_check_follow(h->world, h, h->world->config.follow);
}

void host_input(struct host *h, const struct endpoint *from, uint8_t *pkt, size_t len)
{
    crypto_generichash_state *digest = &h->world->digest;
    uint8_t head[14 + 16 + 2] = {0};
    struct stun_message stun;

    put_u64(head, h->world->now_us);
    put_u32(head + 8, h->index);
    put_u16(head + 12, (uint16_t)len);
    memcpy(head + 14, from->addr.b, 16);
    put_u16(head + 30, from->port);
    crypto_generichash_update(digest, head, sizeof(head));
    crypto_generichash_update(digest, pkt, len);

    host_enter(h);
    if (pkt[0] > STUN_FIRST_BYTE_MAX)
        (void)node_input(h->node, from, pkt, len);
    else if (stun_read(&stun, pkt, len) && stun.type == STUN_BINDING_INDICATION)
        overlay_indication(host_overlay(h), from, &stun.id);
    host_exit(h);
}

/* ---- life ---- */

static void host_enrol(struct host *h)
{
    struct cert cert;

    if (h->cert == NULL)
        h->cert = malloc(CERT_DER_MAX);
    CHECK(h->cert != NULL);
    h->cert_len =
        authority_enrol(&h->world->authority, &h->identity.pub, WORLD_WALL_START_S, h->cert);
    CHECK(cert_read(h->cert, h->cert_len, &cert) == CERT_OK);
    h->identity.id = cert.node;
    removed_free(h->removed);
    h->removed = removed_new();
    CHECK(h->removed != NULL);
}

static void host_new_identity(struct host *h)
{
    struct world *w = h->world;
    struct random r = random_new(w->config.seed, RANDOM_IDENTITY, w->identities);
    struct secret seed;

    table_remove(&w->by_id, &h->identity.id);
    random_bytes(&r, seed.b, sizeof(seed.b));
    sign_keys(&h->identity.pub, &h->identity.sec, &seed);
    h->identity.id = node_id_self(&h->identity.pub);
    if (w->config.certified)
        host_enrol(h);
    h->identity.number = w->identities++;
    CHECK(table_put(&w->by_id, h) == 0);
}

static void host_starts(struct world *w, struct event *e)
{
    struct host *h = CONTAINER_OF(e, struct host, start);

    if (h->state == HOST_OFF)
        host_start(h, h->start_stranger);
}

void host_start_at(struct host *h, usec at_us, bool stranger)
{
    h->start_stranger = stranger;
    agenda_set(&h->world->agenda, &h->start, at_us);
}

void host_init(struct host *h, struct world *w, uint32_t index)
{
    struct random clock = random_new(w->config.seed, RANDOM_CLOCK, index);
    const struct world_config *c = &w->config;

    *h = (struct host){.world = w, .index = index, .wake = {.happen = host_wakes}};
    h->random = random_new(c->seed, RANDOM_NODE, index);
    h->clock_offset_us = SEC(1) + random_below(&clock, SEC(CLOCK_OFFSET_MAX_S));
    if (c->clock_ppm_max > 0)
        h->clock_ppm =
            (int32_t)random_below(&clock, 2 * (uint64_t)c->clock_ppm_max + 1) - c->clock_ppm_max;
    if (c->wall_skew_max_s > 0)
        h->wall_skew_s = (int64_t)random_below(&clock, 2 * (uint64_t)c->wall_skew_max_s + 1) -
                         c->wall_skew_max_s;
    h->wall_known = true;
    h->start.happen = host_starts;
    host_new_identity(h);
}

void host_clear(struct host *h)
{
    struct account *before = account_enter(&h->account);

    node_free(h->node);
    account_enter(before);
    h->node = NULL;
    free(h->saved);
    h->saved = NULL;
    free(h->cert);
    h->cert = NULL;
    free(h->followed);
    h->followed = NULL;
    removed_free(h->removed);
    h->removed = NULL;
}

static void host_configure(const struct host *h, struct node_config *c)
{
    const struct world *w = h->world;

    *c = (struct node_config){
        .name = "sim",
        .domain = "sim.peal",
        .overlay = {.overlay = w->group,
                    .group_key = w->group_key,
                    .psk = !w->config.certified,
                    .ca = w->authority.ca,
                    .cert_der = h->cert,
                    .cert_len = h->cert_len,
                    .pub = h->identity.pub,
                    .sec = h->identity.sec,
                    .node = h->identity.id,
                    .slot = 1,
                    .worker = w->seal,
                    .port_search = w->config.port_search,
                    .aeads = 1u << SEAL_CHACHA20_POLY1305},
        .removed = h->removed,
        .ipv4 = w->config.range,
        .lease_s = w->config.lease_s,
        .address_mode = w->config.device ? NODE_ADDRESS_AUTO : NODE_ADDRESS_NONE,
        .device_mac = {{0x02, 0, (uint8_t)(h->index >> 24), (uint8_t)(h->index >> 16),
                        (uint8_t)(h->index >> 8), (uint8_t)h->index}},
        .mtu = MTU,
    };
    CHECK(net_parse(&c->ipv6, "fd65:616c:7369::/48"));
    snprintf(c->hostname, sizeof(c->hostname), "host%u",
             (unsigned)(w->config.names > 0 ? h->index % w->config.names : h->index));
    if (h->saved != NULL)
        c->last = h->saved->last;
}

static void host_introduce(struct host *h)
{
    struct endpoint eps[WORLD_BOOTSTRAPS_MAX];
    size_t count = internet_endpoints(&h->world->internet, h->index, eps);

    node_set_endpoints(h->node, eps, count);
    count = world_bootstraps(h->world, eps);
    for (size_t i = 0; i < count; i++)
        CHECK(node_add_bootstrap(h->node, &eps[i]) == 0);
    for (size_t i = 0; h->saved != NULL && i < h->saved->contact_count; i++)
        (void)overlay_add_contact(node_overlay(h->node), &h->saved->contacts[i]);
}

/* All that it is told of are away, and all that it remembers: it is a ring of its own until another
 * node asks around. */
static bool finds_nobody(const struct host *h)
{
    const struct world *w = h->world;

    for (size_t i = 0; i < w->config.bootstraps; i++)
        if (host_is_on(&w->hosts[i]))
            return false;
    for (size_t i = 0; h->saved != NULL && i < h->saved->contact_count; i++) {
        const struct host *other = world_host(w, &h->saved->contacts[i].node);

        if (other != NULL && host_is_on(other))
            return false;
    }
    return true;
}

void host_start(struct host *h, bool stranger)
{
    struct world *w = h->world;
    struct node_config config;

    CHECK(h->state == HOST_OFF);
    if (stranger) {
        free(h->saved);
        h->saved = NULL;
        host_new_identity(h);
    }
    if (finds_nobody(h))
        w->ring.stranded_us = w->now_us;
    host_configure(h, &config);
    h->env = (struct env){
        .now_us = host_clock(h),
        .wall_known = h->wall_known,
        .level = w->config.log_level,
        .host = h,
        .random = on_random,
        .log = on_log,
    };
    random_bytes(&h->random, h->env.hash_key, sizeof(h->env.hash_key));
    h->account = (struct account){0};
    h->account_before = account_enter(&h->account);
    h->node = node_new(&config, &h->env, &callbacks, h);
    account_enter(h->account_before);
    CHECK(h->node != NULL);
    h->state = HOST_ON;
    h->on_us = w->now_us;
    h->up_us = 0;
    w->on++;
    host_enter(h);
    host_introduce(h);
    host_exit(h);
}

static void host_save(struct host *h)
{
    if (h->saved == NULL)
        h->saved = calloc(1, sizeof(*h->saved));
    CHECK(h->saved != NULL);
    h->saved->contact_count =
        overlay_contacts(node_overlay(h->node), h->saved->contacts, OVERLAY_CONTACTS_MAX);
    if (host_address(h).family == 4)
        h->saved->last = host_address(h);
}

void host_crash(struct host *h)
{
    CHECK(h->state != HOST_OFF);
    host_save(h);
    host_off(h);
    ring_check_touched(h->world, h);
}

void host_leave(struct host *h)
{
    CHECK(h->state == HOST_ON);
    host_save(h);
    h->state = HOST_LEAVING;
    host_enter(h);
    node_leave(h->node);
    host_exit(h);
}

void host_sleep(struct host *h)
{
    CHECK(h->state == HOST_ON && h->asleep_us == 0);
    h->asleep_us = h->world->now_us;
    agenda_set(&h->world->agenda, &h->wake, USEC_NEVER);
}

void host_awake(struct host *h)
{
    bool long_gone = h->world->now_us >= h->asleep_us + SEC(OVERLAY_GIVEN_UP_S);

    h->asleep_us = 0;
    host_enter(h);
    if (long_gone)
        node_awoke(h->node);
    else
        node_network_changed(h->node);
    host_exit(h);
}

struct overlay *host_overlay(const struct host *h)
{
    return node_overlay(h->node);
}

bool host_is_on(const struct host *h)
{
    return h->state == HOST_ON;
}

struct addr host_address(const struct host *h)
{
    struct addr addr;

    memcpy(&addr, h->claims[CLAIM_ADDRESS].key, sizeof(addr));
    return addr;
}

bool host_is_packet(const struct event *e)
{
    return e->happen == packet_arrives;
}
