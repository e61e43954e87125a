#include "daemon/node/node.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node/address.h"
#include "daemon/node/internal.h"
#include "overlay/core/err.h"

const char *node_state_text(enum node_state s)
{
    static const char *const text[] = {
        [NODE_JOINING] = "joining", [NODE_UP] = "up",           [NODE_FAILED] = "failed",
        [NODE_REMOVED] = "removed", [NODE_LEAVING] = "leaving",
    };

    return text[s];
}

/* ---- what happens in the rooms below ---- */

static void on_send(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    struct node *n = ctx;

    n->host.send(n->ctx, to, pkt, len);
}

static uint32_t on_tcp_open(void *ctx, const struct endpoint *to)
{
    struct node *n = ctx;

    return n->host.tcp_open(n->ctx, to);
}

static void on_tcp_send(void *ctx, uint32_t conn, const uint8_t *pkt, size_t len)
{
    struct node *n = ctx;

    n->host.tcp_send(n->ctx, conn, pkt, len);
}

static void on_tcp_close(void *ctx, uint32_t conn)
{
    struct node *n = ctx;

    n->host.tcp_close(n->ctx, conn);
}

static void on_member_reply(struct node *n, const struct overlay_from *from, struct reader *r)
{
    struct node_member m;
    struct facts facts;
    uint32_t number;

    if (!member_reply_read(r, &number, &m)) {
        n->drops[NODE_DROP_MESSAGE]++;
        return;
    }
    memcpy(facts.hostname, m.hostname, sizeof(facts.hostname));
    facts.ipv4 = m.ipv4;
    facts.ipv6 = m.ipv6;
    if (!members_reply(n->members, &from->node, number, &m))
        (void)lookups_reply(&n->lookups, &from->node, number, &facts);
}

static const char *node_user(const struct node *n, struct cert *cert)
{
    const struct overlay_config *c = &n->config.overlay;

    if (!c->cert_der || cert_read(c->cert_der, c->cert_len, cert) == CERT_MALFORMED)
        return "";
    return cert->user;
}

static void on_member_ask(struct node *n, const struct overlay_from *from, struct reader *r)
{
    struct node_status status;
    struct cert cert;

    node_status(n, &status);
    members_ask(n->overlay, from, r, &status, node_user(n, &cert),
                n->config.removed ? removed_number(n->config.removed) : 0);
}

static void on_node_message(struct node *n, const struct overlay_from *from, const uint8_t *body,
                            size_t len)
{
    struct reader r = reader_of(body, len);
    uint8_t type = read_u8(&r);

    switch (type) {
    case NODE_MSG_MEMBER_ASK:
        on_member_ask(n, from, &r);
        break;
    case NODE_MSG_MEMBER_REPLY:
        on_member_reply(n, from, &r);
        break;
    case NODE_MSG_TUNNEL:
        if (n->meeting)
            tunnels_input(&n->meeting->tunnels, from, &r);
        else
            n->drops[NODE_DROP_MESSAGE]++;
        break;
    case NODE_MSG_LEASE_SHOW:
        traffic_lease_shown(n, from, &r);
        break;
    case NODE_MSG_FACTS:
        acquaintances_told(&n->acquaintances, from, &r);
        break;
    case NODE_MSG_FACTS_ASK:
        if (from->direct && own_has_name(&n->own))
            acquaintances_tell(n->overlay, &from->node, &n->own.facts);
        break;
    default:
        if (!removals_input(&n->removals, type, from, &r))
            n->drops[NODE_DROP_MESSAGE]++;
        break;
    }
}

static void on_message(void *ctx, const struct overlay_from *from, uint8_t proto,
                       const uint8_t *body, size_t len)
{
    struct node *n = ctx;

    if (proto == OVERLAY_PROTO_DHT)
        dht_message(n->dht, from, body, len);
    else if (proto == OVERLAY_PROTO_NODE)
        on_node_message(n, from, body, len);
    else
        n->drops[NODE_DROP_MESSAGE]++;
}

/* In the public overlay it is some group's, and comes by a relay: its ring carries no data. */
static void on_data(void *ctx, const struct data_way *way, uint8_t *pkt, size_t len)
{
    static const struct id nobody;
    struct node *n = ctx;

    if (!n->config.rendezvous)
        traffic_data_packet(n, way, pkt, len);
    else if (way->relay != NULL)
        n->host.tunnel_input(n->ctx, &nobody, pkt, len);
    else
        n->drops[NODE_DROP_PUBLIC]++;
}

static void on_peer_up(void *ctx, const struct id *peer)
{
    struct node *n = ctx;

    dht_peer_up(n->dht, peer);
    removals_peer_up(&n->removals, peer);
    if (n->meeting)
        rendezvous_peer_up(&n->meeting->rendezvous);
    if (own_has_name(&n->own))
        acquaintances_tell(n->overlay, peer, &n->own.facts);
    n->changed_dirty = true;
}

static void on_peer_down(void *ctx, const struct id *peer)
{
    struct node *n = ctx;

    traffic_peer_down(n, peer);
    if (n->config.rendezvous)
        node_set_forward_dirty(n); /* it may have been a tunnel's end */
    acquaintances_forget(&n->acquaintances, peer);
    n->changed_dirty = true;
}

static void on_data_changed(void *ctx, const struct id *peer)
{
    traffic_data_changed(ctx, peer);
}

static void on_ring_changed(void *ctx)
{
    struct node *n = ctx;

    dht_ring_changed(n->dht);
    n->changed_dirty = true;
}

static void on_legs_changed(void *ctx)
{
    node_set_forward_dirty(ctx);
}

static void on_tunnel(void *ctx, const struct id *to, const uint8_t *pkt, size_t len)
{
    struct node *n = ctx;

    if (len > 0 && pkt[0] == PACKET_DATA && !n->config.public_relay)
        n->drops[NODE_DROP_PUBLIC]++;
    else
        n->host.tunnel_send(n->ctx, to, pkt, len);
}

static void on_tunnel_used(void *ctx, const struct id *to)
{
    struct node *n = ctx;

    n->host.tunnel_used(n->ctx, to);
}

static void on_observed(void *ctx, const struct endpoint *by, const struct endpoint *us)
{
    struct node *n = ctx;

    n->host.observed(n->ctx, by, us);
}

static void on_where(void *ctx, const struct endpoint *server)
{
    struct node *n = ctx;

    n->host.where(n->ctx, server);
}

static void on_tunnelled(void *ctx, const struct id *from, uint8_t *pkt, size_t len)
{
    struct node *n = ctx;

    n->host.tunnel_input(n->ctx, from, pkt, len);
}

static void on_met(void *ctx, uint32_t token, const struct id *end, const struct id *member)
{
    struct node *n = ctx;

    n->host.met(n->ctx, token, end, member);
}

static void on_lost(void *ctx, const struct id *key, const struct id *winner)
{
    struct node *n = ctx;
    char text[ID_SHORT_SIZE];

    env_log(n->env, LOG_LEVEL_WARN,
            "an address or name of ours belongs to member %s now; taking another",
            id_short(winner, text));
    own_lost(&n->own, key);
}

/* An address or name that a certificate itself names. */
static bool on_bound(void *ctx, const struct id *key, const struct cert *cert)
{
    struct node *n = ctx;
    const struct id *group = &n->config.overlay.overlay;
    struct id bound;

    if (cert->host[0]) {
        bound = own_key_host(group, cert->host);
        if (id_eq(&bound, key))
            return true;
    }
    if (cert->ipv4.family != 4)
        return false;
    bound = own_key_ipv4(group, &cert->ipv4);
    return id_eq(&bound, key);
}

/* ---- the state, after every door ---- */

void node_set_forward_dirty(struct node *n)
{
    n->forward_dirty = true;
    n->view_stale = true;
}

static enum node_state node_state_now(const struct node *n)
{
    bool member = overlay_state(n->overlay) == OVERLAY_MEMBER;

    if (n->leaving)
        return NODE_LEAVING;
    if (n->removed)
        return NODE_REMOVED;
    if (own_is_stuck(&n->own))
        return NODE_FAILED;
    if (!member)
        return NODE_JOINING;
    if (n->config.address_mode == NODE_ADDRESS_NONE || n->config.address_mode == NODE_ADDRESS_DHCP)
        return NODE_UP;
    return own_has_address(&n->own) && own_has_name(&n->own) ? NODE_UP : NODE_JOINING;
}

static void node_set_state(struct node *n)
{
    enum node_state now = node_state_now(n);

    if (now == n->state)
        return;
    env_log(n->env, LOG_LEVEL_DEBUG, "%s%s%s", node_state_text(now), n->own.reason[0] ? ": " : "",
            n->own.reason);
    n->state = now;
    if (now == NODE_UP)
        n->up_us = n->env->now_us;
    n->changed_dirty = true;
}

static void node_own_changed(struct node *n)
{
    n->own.changed = false;
    n->addresses_dirty = true;
    n->changed_dirty = true;
    node_set_forward_dirty(n);
    service_address_changed(n);
    traffic_show_lease_again(n);
    if (own_has_name(&n->own))
        acquaintances_tell_all(n->overlay, &n->own.facts);
}

/* Removed, or about to give back what is ours: somebody else may have it the next moment. */
static bool node_is_out(const struct node *n)
{
    return n->removed || n->leaving;
}

static void node_tell_addresses(struct node *n)
{
    static const struct net none;
    struct net ipv4 = none;

    if (own_has_address(&n->own) && n->config.address_mode != NODE_ADDRESS_DHCP && !node_is_out(n))
        ipv4 = address_with_prefix(&n->config.ipv4, &n->own.facts.ipv4);
    n->host.addresses(n->ctx, &ipv4, node_is_out(n) ? &none : &n->own.ipv6);
}

/* Whoever was removed is cut off at once: sessions, records, and we ourselves if it is us. */
static void node_removals_grew(struct node *n)
{
    struct cert own;

    n->removals.grew = false;
    n->changed_dirty = true;
    overlay_removed(n->overlay);
    dht_removed(n->dht);
    if (!n->removed &&
        cert_read(n->config.overlay.cert_der, n->config.overlay.cert_len, &own) == CERT_OK &&
        removed_lists(n->config.removed, &own)) {
        n->removed = true;
        n->addresses_dirty = true;
        snprintf(n->own.reason, sizeof(n->own.reason),
                 "the group's administrator removed this machine");
        overlay_leave(n->overlay);
    }
    n->host.removed(n->ctx);
}

void node_settle(struct node *n)
{
    if (n->removals.grew)
        node_removals_grew(n);
    if (n->own.changed)
        node_own_changed(n);
    node_set_state(n);
    if (n->addresses_dirty && node_has_device(n)) {
        n->addresses_dirty = false;
        node_tell_addresses(n);
    }
    if (n->forward_dirty) {
        n->forward_dirty = false;
        n->host.forward_changed(n->ctx);
    }
    if (n->changed_dirty) {
        n->changed_dirty = false;
        n->host.changed(n->ctx);
    }
}

/* ---- making and ending ---- */

static struct overlay *node_overlay_new(struct node *n)
{
    bool tcp = n->host.tcp_open != NULL;
    const struct overlay_host host = {
        .send = on_send,
        .tcp_open = tcp ? on_tcp_open : NULL,
        .tcp_send = tcp ? on_tcp_send : NULL,
        .tcp_close = tcp ? on_tcp_close : NULL,
        .message = on_message,
        .data = on_data,
        .peer_up = on_peer_up,
        .peer_down = on_peer_down,
        .data_changed = on_data_changed,
        .ring_changed = on_ring_changed,
        .legs_changed = on_legs_changed,
        .tunnel = n->host.tunnel_send != NULL ? on_tunnel : NULL,
        .tunnel_used = n->host.tunnel_used != NULL ? on_tunnel_used : NULL,
        .observed = n->host.observed != NULL ? on_observed : NULL,
        .where = n->host.where != NULL ? on_where : NULL,
    };

    n->config.overlay.trails = !n->config.rendezvous; /* in the public one nobody is a member */
    return overlay_new(&n->config.overlay, n->env, &host, n);
}

static struct dht *node_dht_new(struct node *n)
{
    static const struct dht_host host = {.lost = on_lost, .bound = on_bound};
    const struct overlay_config *c = &n->config.overlay;
    struct dht_config config = {
        .overlay = c->overlay,
        .ca = c->ca,
        .removed = c->removed,
        .pub = c->pub,
        .sec = c->sec,
        .node = c->node,
        .cert_der = c->cert_der,
        .cert_len = c->cert_len,
        .rendezvous = n->config.rendezvous,
        .value_max = n->config.rendezvous ? NODE_PUBLIC_VALUE_MAX : 0,
        .duration_max_s = n->config.rendezvous ? RENDEZVOUS_LEASE_S : 0,
    };
    struct dht *dht = dht_new(&config, n->env, n->overlay, &host, n);

    sign_secret_clear(&config.sec);
    return dht;
}

static bool meeting_new(struct node *n)
{
    struct meeting *m = malloc(sizeof(*m));

    n->meeting = m;
    if (!m)
        return false;
    rendezvous_init(&m->rendezvous, &n->config, n->env, n->dht, on_met, n);
    tunnels_init(&m->tunnels, n->env, n->overlay, on_tunnelled, n);
    return true;
}

static void meeting_free(struct meeting *m)
{
    if (!m)
        return;
    rendezvous_clear(&m->rendezvous);
    tunnels_clear(&m->tunnels);
    free(m);
}

struct node *node_new(const struct node_config *config, struct env *env,
                      const struct node_host *host, void *ctx)
{
    struct node *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    n->config = *config;
    n->config.overlay.removed = config->removed;
    n->env = env;
    n->host = *host;
    n->ctx = ctx;
    n->state = NODE_JOINING;
    flows_init(&n->flows, env);
    remotes_init(&n->remotes, env);
    acquaintances_init(&n->acquaintances, env);
    if (!config->overlay.worker)
        n->own_seal = seal_worker_new();
    n->seal = config->overlay.worker ? config->overlay.worker : n->own_seal;
    n->config.overlay.worker = n->seal;
    if (n->seal)
        n->overlay = node_overlay_new(n);
    if (n->overlay)
        n->dht = node_dht_new(n);
    if (n->dht)
        n->members = members_new(env, n->overlay);
    if (!n->members) {
        node_free(n);
        return NULL;
    }
    own_init(&n->own, &n->config, env, n->dht);
    removals_init(&n->removals, &n->config, env, n->overlay, n->dht);
    lookups_init(&n->lookups, env, n->overlay, n->dht);
    if ((config->rendezvous && !meeting_new(n)) || (node_has_device(n) && !service_start(n))) {
        node_free(n);
        return NULL;
    }
    n->addresses_dirty = n->changed_dirty = true;
    node_set_forward_dirty(n);
    return n;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    service_stop(n);
    members_free(n->members);
    if (n->dht)
        removals_clear(&n->removals);
    meeting_free(n->meeting);
    dht_free(n->dht);
    overlay_free(n->overlay);
    traffic_clear(n);
    acquaintances_clear(&n->acquaintances);
    lookups_clear(&n->lookups);
    free(n->looks);
    seal_worker_free(n->own_seal);
    sign_secret_clear(&n->config.overlay.sec);
    secret_clear(&n->config.overlay.group_key);
    free(n);
}

void node_leave(struct node *n)
{
    if (n->leaving)
        return;
    n->leaving = true;
    n->addresses_dirty = true;
    dht_leave(n->dht);
    node_settle(n);
}

bool node_left(const struct node *n)
{
    return n->overlay_leaving && overlay_left(n->overlay);
}

/* ---- doors ---- */

bool node_input(struct node *n, const struct endpoint *from, uint8_t *pkt, size_t len)
{
    bool taken = true;

    if (len > 0 && pkt[0] == PACKET_DATA)
        traffic_data_packet(n, &(struct data_way){.from = from}, pkt, len);
    else
        taken = overlay_input(n->overlay, from, pkt, len);
    node_settle(n);
    return taken;
}

bool node_tcp_input(struct node *n, uint32_t conn, const struct endpoint *from, uint8_t *pkt,
                    size_t len)
{
    bool taken = true;

    if (len > 0 && pkt[0] == PACKET_DATA)
        traffic_data_packet(n, &(struct data_way){.conn = conn}, pkt, len);
    else
        taken = overlay_tcp_input(n->overlay, conn, from, pkt, len);
    node_settle(n);
    return taken;
}

bool node_tunnel_input(struct node *n, const struct id *from, uint8_t *pkt, size_t len)
{
    bool taken = true;

    if (len > 0 && pkt[0] == PACKET_DATA && !n->config.public_relay)
        n->drops[NODE_DROP_PUBLIC]++;
    else if (len > 0 && pkt[0] == PACKET_DATA)
        traffic_data_packet(n, &(struct data_way){.tunnelled = true}, pkt, len);
    else
        taken = overlay_tunnel_input(n->overlay, from, pkt, len);
    node_settle(n);
    return taken;
}

void node_tunnel_send(struct node *n, const struct id *to, const uint8_t *pkt, size_t len)
{
    tunnels_send(&n->meeting->tunnels, to, pkt, len);
}

void node_tunnel_used(struct node *n, const struct id *to)
{
    (void)overlay_demand(n->overlay, to);
}

bool node_tunnel_way(struct node *n, const struct id *to, struct overlay_data *way)
{
    return overlay_data(n->overlay, to, way) && (way->udp || way->conn != 0);
}

int node_meet(struct node *n, const struct node_meeting *m)
{
    return rendezvous_add(&n->meeting->rendezvous, m);
}

void node_meet_no_more(struct node *n, uint32_t token)
{
    rendezvous_remove(&n->meeting->rendezvous, token);
}

void node_meet_lonely(struct node *n, uint32_t token, bool lonely)
{
    rendezvous_set_lonely(&n->meeting->rendezvous, token, lonely);
}

void node_meet_hidden(struct node *n, uint32_t token, bool hidden)
{
    rendezvous_set_hidden(&n->meeting->rendezvous, token, hidden);
}

void node_tcp_opened(struct node *n, uint32_t conn)
{
    overlay_tcp_opened(n->overlay, conn);
    node_settle(n);
}

void node_tcp_closed(struct node *n, uint32_t conn)
{
    overlay_tcp_closed(n->overlay, conn);
    node_settle(n);
}

void node_tick(struct node *n)
{
    overlay_tick(n->overlay);
    dht_tick(n->dht);
    if (!n->leaving && overlay_state(n->overlay) == OVERLAY_MEMBER)
        own_tick(&n->own);
    if (n->leaving && !n->overlay_leaving && dht_left(n->dht)) {
        n->overlay_leaving = true;
        overlay_leave(n->overlay);
    }
    traffic_tick(n);
    removals_tick(&n->removals);
    if (n->meeting && !n->leaving)
        rendezvous_tick(&n->meeting->rendezvous);
    members_tick(n->members);
    lookups_tick(&n->lookups);
    service_tick(n);
    node_settle(n);
}

usec node_deadline(const struct node *n)
{
    usec at_us = usec_min(overlay_deadline(n->overlay), dht_deadline(n->dht));

    if (!n->leaving && overlay_state(n->overlay) == OVERLAY_MEMBER)
        at_us = usec_min(at_us, own_deadline(&n->own));
    if (n->leaving && !n->overlay_leaving && dht_left(n->dht))
        return 0;
    at_us = usec_min(at_us, usec_min(n->flows.poll_us, remotes_deadline(&n->remotes)));
    at_us = usec_min(at_us, removals_deadline(&n->removals));
    if (n->meeting && !n->leaving)
        at_us = usec_min(at_us, rendezvous_deadline(&n->meeting->rendezvous));
    at_us = usec_min(at_us, usec_min(members_deadline(n->members), lookups_deadline(&n->lookups)));
    return usec_min(at_us, service_deadline(n));
}

void node_roamed(struct node *n, uint32_t token, const struct endpoint *from)
{
    overlay_data_roamed(n->overlay, token, from);
    node_settle(n);
}

void node_set_endpoints(struct node *n, const struct endpoint *eps, size_t count)
{
    overlay_set_endpoints(n->overlay, eps, count);
    node_settle(n);
}

int node_add_bootstrap(struct node *n, const struct endpoint *ep)
{
    int r = overlay_add_bootstrap(n->overlay, ep);

    node_settle(n);
    return r;
}

void node_network_changed(struct node *n)
{
    overlay_network_changed(n->overlay);
    node_settle(n);
}

void node_awoke(struct node *n)
{
    overlay_awoke(n->overlay);
    node_settle(n);
}

void node_set_hostname(struct node *n, const char *hostname)
{
    if (!label_normalize(n->config.hostname, sizeof(n->config.hostname), hostname,
                         strlen(hostname)))
        return;
    own_rename(&n->own);
    node_settle(n);
}

void node_set_cert(struct node *n, const uint8_t *der, size_t len)
{
    n->config.overlay.cert_der = der;
    n->config.overlay.cert_len = len;
    overlay_set_cert(n->overlay, der, len);
    dht_set_cert(n->dht, der, len);
}

void node_set_dns_forward(struct node *n, bool forward)
{
    if (forward != n->config.dns_forward) {
        n->config.dns_forward = forward;
        service_restart_dns(n);
    }
}

enum removed_news node_removal(struct node *n, const uint8_t *message, size_t len)
{
    enum removed_news news = removals_told(&n->removals, message, len);

    node_settle(n);
    return news;
}

enum removed_news node_crl(struct node *n, const uint8_t *der, size_t len, const char **why)
{
    enum removed_news news = removals_told_crl(&n->removals, der, len, why);

    node_settle(n);
    return news;
}

bool node_watches_removals(const struct node *n)
{
    return removals_watching(&n->removals);
}

bool node_is_host(const struct node *n)
{
    return !n->removals.set || removed_number(n->removals.set) == 0 ||
           overlay_state(n->overlay) != OVERLAY_MEMBER || removals_watching(&n->removals);
}

struct overlay *node_overlay(struct node *n)
{
    return n->overlay;
}

struct dht *node_dht(struct node *n)
{
    return n->dht;
}

/* ---- for people ---- */

void node_status(const struct node *n, struct node_status *out)
{
    *out = (struct node_status){.state = n->state, .service = n->service};
    memcpy(out->reason, n->own.reason, sizeof(out->reason));
    out->dht_records = dht_records(n->dht);
    out->dht_bytes = dht_memory(n->dht);
    if (node_is_out(n))
        return;
    if (own_has_name(&n->own))
        memcpy(out->hostname, n->own.facts.hostname, sizeof(out->hostname));
    if (own_has_address(&n->own))
        out->ipv4 = address_with_prefix(&n->config.ipv4, &n->own.facts.ipv4);
    if (node_has_device(n))
        out->ipv6 = n->own.ipv6;
}

int node_lookup(struct node *n, const char *what,
                void (*done)(void *ctx, const struct node_lookup_result *r), void *ctx)
{
    return lookup_start(&n->lookups, &n->config, what, done, ctx);
}

int node_members(struct node *n, void (*member)(void *ctx, const struct node_member *m),
                 void (*end)(void *ctx, uint32_t nodes, uint32_t inconsistent), void *ctx)
{
    return members_walk(n->members, member, end, ctx);
}

void node_members_cancel(struct node *n, void *ctx)
{
    members_cancel(n->members, ctx);
}

bool node_peer_facts(struct node *n, const struct id *peer, char hostname[NODE_HOSTNAME_SIZE],
                     struct addr *ipv4)
{
    struct facts facts;
    bool known = acquaintances_get(&n->acquaintances, peer, &facts);

    if (!known && !n->config.rendezvous && overlay_is_linked(n->overlay, peer))
        acquaintances_ask(n->overlay, peer);
    memcpy(hostname, facts.hostname, NODE_HOSTNAME_SIZE);
    *ipv4 = facts.ipv4;
    return known;
}

bool node_peer_traffic(const struct node *n, uint32_t token, uint64_t *tx_bytes, uint64_t *rx_bytes)
{
    const struct flow *flow = flows_by_token(&n->flows, token);

    *tx_bytes = *rx_bytes = 0;
    if (!flow)
        return false;
    *tx_bytes = atomic_load_explicit(&flow->counters->tx_bytes, memory_order_relaxed);
    *rx_bytes = atomic_load_explicit(&flow->counters->rx_bytes, memory_order_relaxed);
    return true;
}

bool node_peer_plain(const struct node *n, uint32_t token, usec now_us)
{
    const struct flow *flow = flows_by_token(&n->flows, token);

    return flow &&
           atomic_load_explicit(&flow->counters->plain_until_us, memory_order_relaxed) > now_us;
}

static bool meeting_counter(const struct meeting *m, size_t i, const char **name, uint64_t *value)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"rendezvous_published", m->rendezvous.published},
        {"rendezvous_hidden", m->rendezvous.hidden},
        {"rendezvous_found", m->rendezvous.found},
        {"rendezvous_refused", m->rendezvous.refused},
        {"tunnel_sent", m->tunnels.sent},
        {"tunnel_received", m->tunnels.received},
        {"tunnel_dropped", m->tunnels.dropped},
    };

    if (i >= ARRAY_LEN(counts))
        return false;
    *name = counts[i].name;
    *value = counts[i].value;
    return true;
}

static bool node_own_counter(const struct node *n, size_t i, const char **name, uint64_t *value)
{
    static const char *const names[NODE_DROP_COUNT] = {
        [NODE_DROP_INNER] = "node_drop_inner",   [NODE_DROP_DESTINATION] = "node_drop_destination",
        [NODE_DROP_SOURCE] = "node_drop_source", [NODE_DROP_ABSENT] = "node_drop_absent",
        [NODE_DROP_SEALED] = "node_drop_sealed", [NODE_DROP_MESSAGE] = "node_drop_message",
        [NODE_DROP_PUBLIC] = "node_drop_public",
    };

    if (i > NODE_DROP_COUNT)
        return n->meeting && meeting_counter(n->meeting, i - NODE_DROP_COUNT - 1, name, value);
    *name = i < NODE_DROP_COUNT ? names[i] : "node_drop_waited";
    *value = i < NODE_DROP_COUNT ? n->drops[i] : n->remotes.dropped;
    return true;
}

bool node_counter(const struct node *n, size_t i, const char **name, uint64_t *value)
{
    size_t below = 0;

    while (overlay_counter(n->overlay, below, name, value))
        if (below++ == i)
            return true;
    i -= below;
    for (below = 0; dht_counter(n->dht, below, name, value);)
        if (below++ == i)
            return true;
    return node_own_counter(n, i - below, name, value);
}
