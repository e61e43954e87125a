/*
 * What lives at the network's service address: DHCP for the client on our device, DNS, echo.
 */
#include <string.h>

#include "daemon/node/address.h"
#include "daemon/node/internal.h"
#include "overlay/core/err.h"
#include "tap/icmp.h"

static const struct mac virtual_mac = {{0xfe, 0xfd, 0, 0, 0, 0}};

static void service_send(struct node *n, const struct mac *dst_mac, const struct endpoint *src,
                         const struct endpoint *dst, const uint8_t *bytes, size_t len)
{
    uint8_t frame[ETH_HEADER_LEN + IPV4_HEADER_LEN + UDP_HEADER_LEN + 4096];
    size_t frame_len = udp_frame(frame, sizeof(frame), dst_mac, &virtual_mac, src, dst, bytes, len);

    if (frame_len > 0)
        n->host.frame(n->ctx, frame, frame_len);
}

/* ---- DHCP: the machine itself has the node's one address, whatever its client calls itself ----
 */

static bool claim_avoids(const struct dhcp_claim *claim, const struct addr *addr)
{
    for (size_t i = 0; i < claim->avoid_count; i++)
        if (addr_eq(&claim->avoid[i], addr))
            return true;
    return false;
}

/* Answers the waiting claim as things stand; false: they have not settled yet. */
static bool claim_answer(struct node *n)
{
    uint32_t token = n->dhcp_waiting;
    struct dhcp_lease lease = {.lease_s = n->config.lease_s};
    bool stuck = own_is_stuck(&n->own);

    if (!own_has_address(&n->own) && !stuck)
        return false;
    n->dhcp_waiting = 0;
    if (stuck || (n->dhcp_exact && !addr_eq(&n->dhcp_wanted, &n->own.facts.ipv4))) {
        dhcp_server_claimed(n->dhcp, token, DHCP_CLAIM_TAKEN, NULL);
        return true;
    }
    lease.addr = n->own.facts.ipv4;
    memcpy(lease.hostname, n->own.facts.hostname, sizeof(lease.hostname));
    dhcp_server_claimed(n->dhcp, token, DHCP_CLAIM_GRANTED, &lease);
    return true;
}

static void on_dhcp_claim(void *ctx, const struct dhcp_claim *claim)
{
    struct node *n = ctx;

    if (!claim->own) {
        dhcp_server_claimed(n->dhcp, claim->token, DHCP_CLAIM_UNAVAILABLE, NULL);
        return;
    }
    if (own_has_address(&n->own) && claim_avoids(claim, &n->own.facts.ipv4))
        own_avoid(&n->own);
    if (claim->wanted.family == 4)
        own_wish(&n->own, &claim->wanted);
    n->dhcp_waiting = claim->token;
    n->dhcp_exact = claim->exact;
    n->dhcp_wanted = claim->wanted;
    (void)claim_answer(n);
}

/* The node keeps its address while it is a member: the same machine gets it again. */
static void on_dhcp_gone(void *ctx, const struct addr *addr, enum dhcp_gone why)
{
    struct node *n = ctx;
    char text[ADDR_TEXT_SIZE];

    env_log(n->env, LOG_LEVEL_DEBUG, "the client on %s gave up its lease (%d)",
            addr_text(addr, text), (int)why);
}

static void on_dhcp_send(void *ctx, const struct dhcp_reply *reply)
{
    struct node *n = ctx;
    struct endpoint src = {reply->src, reply->src_port}, dst = {reply->dst, reply->dst_port};

    service_send(n, &reply->dst_mac, &src, &dst, reply->bytes, reply->len);
}

void service_address_changed(struct node *n)
{
    if (n->dhcp && n->dhcp_waiting)
        (void)claim_answer(n);
}

/* ---- DNS ---- */

static void on_dns_reply(void *ctx, const struct dns_source *to, const uint8_t *bytes, size_t len)
{
    struct node *n = ctx;
    struct endpoint src = {n->service, DNS_PORT}, dst = {to->addr, to->port};

    service_send(n, &to->mac, &src, &dst, bytes, len);
}

static void on_dns_record(void *ctx, uint64_t token, const struct dht_result *result)
{
    struct node *n = ctx;
    struct dns_answer answer = {0};
    struct facts facts;

    if (!n->dns)
        return; /* made anew since, and not asked yet */
    if (result->status != DHT_OK && result->status != DHT_NOT_FOUND) {
        dns_server_answered(n->dns, (uint32_t)token, NULL);
        return;
    }
    if (result->count > 0 && facts_read(&facts, result->values[0].value, result->values[0].len)) {
        answer.found = facts.hostname[0] != '\0';
        memcpy(answer.label, facts.hostname, sizeof(answer.label));
        answer.ipv4 = facts.ipv4;
        answer.ipv6 = facts.ipv6;
    }
    dns_server_answered(n->dns, (uint32_t)token, &answer);
}

static void dns_ask(struct node *n, uint32_t token, const struct id *key)
{
    if (dht_get(n->dht, key, DHT_ANY, on_dns_record, n, token) < 0)
        dns_server_answered(n->dns, token, NULL);
}

/* What is ours needs no question. */
static bool dns_answer_own(struct node *n, uint32_t token, bool is_own)
{
    struct dns_answer answer = {.found = true};

    if (!is_own || !own_has_name(&n->own))
        return false;
    memcpy(answer.label, n->own.facts.hostname, sizeof(answer.label));
    if (own_has_address(&n->own))
        answer.ipv4 = n->own.facts.ipv4;
    answer.ipv6 = n->own.ipv6.addr;
    dns_server_answered(n->dns, token, &answer);
    return true;
}

static void on_dns_name(void *ctx, uint32_t token, const char *label)
{
    struct node *n = ctx;
    struct id key = own_key_host(&n->config.overlay.overlay, label);

    if (!dns_answer_own(n, token, strcmp(label, n->own.facts.hostname) == 0))
        dns_ask(n, token, &key);
}

static void on_dns_addr(void *ctx, uint32_t token, const struct addr *addr)
{
    struct node *n = ctx;
    const struct id *group = &n->config.overlay.overlay;
    struct id key = addr->family == 4 ? own_key_ipv4(group, addr) : own_key_ipv6(group, addr);
    bool is_own = (own_has_address(&n->own) && addr_eq(addr, &n->own.facts.ipv4)) ||
                  addr_eq(addr, &n->own.ipv6.addr);

    if (!dns_answer_own(n, token, is_own))
        dns_ask(n, token, &key);
}

static void on_dns_forward(void *ctx, const uint8_t *bytes, size_t len, bool tcp)
{
    struct node *n = ctx;

    n->host.dns_query(n->ctx, bytes, len);
}

void node_dns_reply(struct node *n, const uint8_t *reply, size_t len)
{
    if (n->dns)
        dns_server_forwarded(n->dns, reply, len);
    node_settle(n);
}

/* ---- the servers, made with the first question that they get ---- */

static struct dns_server *service_dns(struct node *n)
{
    static const struct dns_ops ops = {on_dns_reply, on_dns_name, on_dns_addr, on_dns_forward};
    struct dns_config config = {
        .ipv4 = n->config.ipv4,
        .ipv6 = n->config.ipv6,
        .service = n->service,
        .forward = n->config.dns_forward,
    };

    memcpy(config.domain, n->config.domain, sizeof(config.domain));
    return dns_server_new(n->env, &config, &ops, n);
}

static struct dhcp_server *service_dhcp(struct node *n)
{
    static const struct dhcp_ops ops = {on_dhcp_claim, on_dhcp_gone, on_dhcp_send};
    struct dhcp_config config = {
        .range = n->config.ipv4,
        .service = n->service,
        .own = n->config.device_mac,
        .authoritative = true,
        .mtu = n->config.mtu,
    };

    memcpy(config.domain, n->config.domain, sizeof(config.domain));
    return dhcp_server_new(n->env, &config, &ops, n);
}

/* False: out of memory; clients ask again. */
static bool service_has_dns(struct node *n)
{
    if (!n->dns)
        n->dns = service_dns(n);
    return n->dns != NULL;
}

static bool service_has_dhcp(struct node *n)
{
    if (!n->dhcp)
        n->dhcp = service_dhcp(n);
    return n->dhcp != NULL;
}

/* ---- frames ---- */

static void service_udp(struct node *n, const struct eth_header *eth,
                        const struct udp_datagram *udp)
{
    struct dns_source from = {.addr = udp->src.addr, .port = udp->src.port, .mac = eth->src};

    if (udp->dst.port == DHCP_SERVER_PORT && service_has_dhcp(n))
        dhcp_server_input(n->dhcp, &eth->src, &udp->src.addr, udp->payload, udp->len);
    else if (udp->dst.port == DNS_PORT && addr_eq(&udp->dst.addr, &n->service) &&
             service_has_dns(n))
        dns_server_input(n->dns, &from, udp->payload, udp->len);
}

static void service_frame(struct node *n, const uint8_t *frame, size_t len)
{
    uint8_t reply[9216];
    struct eth_header eth;
    struct ip_packet ip;
    struct udp_datagram udp;
    size_t reply_len;

    if (!eth_parse(&eth, frame, len) ||
        !ip_parse(&ip, frame + ETH_HEADER_LEN, len - ETH_HEADER_LEN)) {
        n->drops[NODE_DROP_INNER]++;
        return;
    }
    if (ip.proto == IP_PROTO_UDP && udp_parse(&udp, frame + ETH_HEADER_LEN, ip.len)) {
        service_udp(n, &eth, &udp);
        return;
    }
    reply_len =
        addr_eq(&ip.dst, &n->service) ? icmp_echo_reply(reply, sizeof(reply), frame, len) : 0;
    if (reply_len > 0)
        n->host.frame(n->ctx, reply, reply_len);
    else
        n->drops[NODE_DROP_INNER]++;
}

void node_local(struct node *n, const uint8_t *frame, size_t len)
{
    if (node_has_device(n))
        service_frame(n, frame, len);
    node_settle(n);
}

bool service_start(struct node *n)
{
    struct dns_name domain;

    n->service = address_service(&n->config.ipv4);
    return dns_name_from_text(&domain, n->config.domain);
}

void service_restart_dns(struct node *n)
{
    dns_server_free(n->dns);
    n->dns = NULL;
}

void service_tick(struct node *n)
{
    if (n->dhcp)
        dhcp_server_tick(n->dhcp);
    if (n->dns)
        dns_server_tick(n->dns);
}

usec service_deadline(const struct node *n)
{
    usec dhcp_us = n->dhcp ? dhcp_server_deadline(n->dhcp) : USEC_NEVER;

    return n->dns ? usec_min(dhcp_us, dns_server_deadline(n->dns)) : dhcp_us;
}

void service_stop(struct node *n)
{
    dns_server_free(n->dns);
    dhcp_server_free(n->dhcp);
}
