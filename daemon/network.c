#include "daemon/network.h"

#include "daemon/beacon.h"
#include "daemon/commands.h"
#include "daemon/dnsforward.h"
#include "daemon/log.h"
#include "daemon/membership.h"
#include "daemon/netlink.h"
#include "daemon/privilege.h"
#include "daemon/resolve.h"
#include "daemon/resolved.h"
#include "daemon/tcp.h"
#include "daemon/uv.h"
#include "tap/device.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NETWORK_IPV6_PREFIX = 64,
    NETWORK_CONTACTS_FIRST_S = 30, /* a ring needs so long to settle */
    NETWORK_CONTACTS_EVERY_S = 300,
    NETWORK_CONTACTS_FEW_S = 2, /* where few are stored yet: the first ones may be all there are */
};

static const char public_name[] = "public overlay";

struct network {
    struct daemon *daemon;
    unsigned number;
    char name[LABEL_MAX + 1];
    char hostname_wanted[LABEL_MAX + 1];
    bool is_public;
    uint32_t life;       /* of the node: a number that no other had */
    uint32_t meets_life; /* of the public node that lets our members meet; 0: none does */
    bool lonely, hidden; /* as that one was told */
    bool ipv6_off;       /* it was said */
    struct env env;
    char failure[STATE_WHY_SIZE]; /* why node is NULL */

    struct state_member member;    /* blob NULL: public, or not readable */
    struct membership *membership; /* NULL: a group without CA, or its CA is not readable */

    struct node_config config; /* what the node was made of, and would be made of again */
    struct node *node;
    char device[DEVICE_NAME_SIZE];
    int ifindex;
    struct net set4, set6; /* what is on the device */
    struct resolver *resolver;
    struct dnsforward *dnsforward;
    struct endpoint dns_server;
    bool resolved;

    bool dirty; /* node_host.changed was called */
    enum node_state logged_state;
    usec contacts_due_us;
    struct overlay_contact contacts[OVERLAY_CONTACTS_MAX]; /* as saved */
    size_t contacts_count;
    enum { STAYING, LEAVING, STOPPING } ending;
    struct op *ops;
};

static void fail(struct network *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct network *n, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(n->failure, sizeof n->failure, fmt, ap);
    va_end(ap);
    log_write(LOG_LEVEL_ERROR, n->name, "%s", n->failure);
}

/* --- The node's side: struct env and struct node_host --- */

static void on_log(void *host, enum log_level level, const char *line)
{
    struct network *n = host;

    log_write(level, n->name, "%s", line);
}

static void on_send(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    struct network *n = ctx;

    host_send(n->daemon->host, to, pkt, len);
}

static uint32_t on_tcp_open(void *ctx, const struct endpoint *to)
{
    struct network *n = ctx;

    return host_tcp_open(n->daemon->host, n->number, to);
}

static void on_tcp_send(void *ctx, uint32_t conn, const uint8_t *pkt, size_t len)
{
    struct network *n = ctx;

    host_tcp_send(n->daemon->host, conn, pkt, len);
}

static void on_tcp_close(void *ctx, uint32_t conn)
{
    struct network *n = ctx;

    host_tcp_close(n->daemon->host, conn);
}

static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    struct network *n = ctx;

    if (n->device[0])
        (void)!plane_write_frame(host_plane(n->daemon->host), (uint16_t)n->number, frame, len);
}

/* `now` takes the place of `set` on the device. */
static void replace_address(struct network *n, struct net *set, const struct net *now)
{
    struct links *links = n->daemon->links;
    char text[NET_TEXT_SIZE];
    int rc;

    if (addr_eq(&set->addr, &now->addr) && set->prefix == now->prefix)
        return;
    if (set->addr.family && (rc = links_remove_address(links, n->ifindex, set)) != 0)
        log_write(LOG_LEVEL_WARN, n->name, "cannot take %s from %s: %s", net_text(set, text),
                  n->device, strerror(-rc));
    memset(set, 0, sizeof *set);
    if (now->addr.family == 0)
        return;
    rc = links_add_address(links, n->ifindex, now);
    if (rc == 0) {
        *set = *now;
        log_write(LOG_LEVEL_INFO, n->name, "%s on %s", net_text(now, text), n->device);
    } else if (now->addr.family == 6 && rc == -EACCES) { /* sysctl's disable_ipv6 */
        if (!n->ipv6_off)
            log_write(LOG_LEVEL_INFO, n->name, "IPv6 is switched off here: nothing at %s",
                      net_text(now, text));
        n->ipv6_off = true;
    } else {
        log_write(LOG_LEVEL_ERROR, n->name, "cannot set %s on %s: %s", net_text(now, text),
                  n->device, strerror(-rc));
    }
}

static void on_addresses(void *ctx, const struct net *ipv4, const struct net *ipv6)
{
    static const struct net none;
    struct network *n = ctx;
    struct net v6 = *ipv6;

    if (!n->ifindex)
        return;
    if (v6.addr.family)
        v6.prefix = NETWORK_IPV6_PREFIX;
    replace_address(n, &n->set4, n->config.address_mode == NODE_ADDRESS_DHCP ? &none : ipv4);
    replace_address(n, &n->set6, &v6);
}

static void on_forward_changed(void *ctx)
{
    struct network *n = ctx;

    host_forward_changed(n->daemon->host);
}

static void on_changed(void *ctx)
{
    struct network *n = ctx;

    n->dirty = true;
}

static void on_removed(void *ctx)
{
    struct network *n = ctx;

    membership_keep_removed(n->membership);
}

static void on_dns_query(void *ctx, const uint8_t *query, size_t len)
{
    struct network *n = ctx;

    if (n->dnsforward && n->dns_server.addr.family)
        dnsforward_query(n->dnsforward, &n->dns_server, query, len);
}

/* Two networks in one moment: time stands still until the first one's door is closed. */
static struct node *enter_beside(struct network *n, const struct network *first)
{
    if (n->env.now_us < first->env.now_us) {
        n->env.now_us = first->env.now_us;
        n->env.wall_s = first->env.wall_s;
        n->env.wall_known = first->env.wall_known;
    }
    return n->node;
}

static void on_tunnel_send(void *ctx, const struct id *to, const uint8_t *pkt, size_t len)
{
    struct network *n = ctx, *public_one = daemon_public(n->daemon);

    if (public_one && enter_beside(public_one, n))
        node_tunnel_send(public_one->node, to, pkt, len);
}

static void on_tunnel_used(void *ctx, const struct id *to)
{
    struct network *n = ctx, *public_one = daemon_public(n->daemon);

    if (public_one && enter_beside(public_one, n))
        node_tunnel_used(public_one->node, to);
}

static bool on_tunnel_way(void *ctx, const struct id *to, struct overlay_data *way)
{
    struct network *n = ctx, *public_one = daemon_public(n->daemon);

    return public_one && public_one->node && node_tunnel_way(public_one->node, to, way);
}

/* As with datagrams: a first message is offered to each, the rest names its receiver. */
static void on_tunnel_input(void *ctx, const struct id *from, uint8_t *pkt, size_t len)
{
    struct network *public_one = ctx;
    bool first = len > 1 && pkt[0] == PACKET_HANDSHAKE && pkt[1] == 1;
    unsigned number = first ? 0 : host_slot(pkt, len) - 1;

    for (struct network *n; (n = daemon_next(public_one->daemon, &number)) != NULL; number++) {
        if (!first && host_slot(pkt, len) - 1 != number)
            return;
        if (!n->is_public && n->meets_life == public_one->life && enter_beside(n, public_one) &&
            node_tunnel_input(n->node, from, pkt, len))
            return;
    }
}

static bool is_removed(const struct network *n, const struct id *member)
{
    const struct cert cert = {.node = *member};

    return n->config.removed && removed_lists(n->config.removed, &cert);
}

static void on_met(void *ctx, uint32_t token, const struct id *end, const struct id *member)
{
    struct network *public_one = ctx;
    unsigned number = token;
    struct network *n = daemon_next(public_one->daemon, &number);

    if (n && number == token && n->meets_life == public_one->life && !is_removed(n, member) &&
        enter_beside(n, public_one))
        overlay_add_tunnel(node_overlay(n->node), member, end);
}

/* All go out by one port: the groups' nodes know at once what the public one is seen as. */
static void on_observed(void *ctx, const struct endpoint *by, const struct endpoint *us)
{
    struct network *public_one = ctx;
    unsigned number = 0;

    for (struct network *n; (n = daemon_next(public_one->daemon, &number)) != NULL; number++) {
        if (!n->is_public && n->meets_life == public_one->life && enter_beside(n, public_one))
            overlay_observed(node_overlay(n->node), by, us);
    }
}

static void on_where(void *ctx, const struct endpoint *server)
{
    struct network *n = ctx;

    host_ask_where(n->daemon->host, server);
}

static const struct node_host public_host = {
    .send = on_send,
    .tcp_open = on_tcp_open,
    .tcp_send = on_tcp_send,
    .tcp_close = on_tcp_close,
    .frame = on_frame,
    .addresses = on_addresses,
    .forward_changed = on_forward_changed,
    .changed = on_changed,
    .removed = on_removed,
    .dns_query = on_dns_query,
    .tunnel_input = on_tunnel_input,
    .met = on_met,
    .observed = on_observed,
    .where = on_where,
};

static const struct node_host node_host = {
    .send = on_send,
    .tcp_open = on_tcp_open,
    .tcp_send = on_tcp_send,
    .tcp_close = on_tcp_close,
    .frame = on_frame,
    .addresses = on_addresses,
    .forward_changed = on_forward_changed,
    .changed = on_changed,
    .removed = on_removed,
    .dns_query = on_dns_query,
    .tunnel_send = on_tunnel_send,
    .tunnel_used = on_tunnel_used,
    .tunnel_way = on_tunnel_way,
    .where = on_where,
};

/* --- The machine's side --- */

static void on_bootstrap(void *ctx, const struct endpoint *ep)
{
    struct network *n = ctx;
    char text[ENDPOINT_TEXT_SIZE];

    if (network_enter(n) && node_add_bootstrap(n->node, ep) != 0)
        log_write(LOG_LEVEL_WARN, n->name, "bootstrap %s left out: there are %d already",
                  endpoint_text(ep, text), OVERLAY_BOOTSTRAPS_MAX);
}

static void on_dns_reply(void *ctx, const uint8_t *bytes, size_t len)
{
    struct network *n = ctx;

    if (network_enter(n))
        node_dns_reply(n->node, bytes, len);
}

void network_observed(struct network *n, const struct endpoint *by, const struct endpoint *us)
{
    if (network_enter(n))
        overlay_observed(node_overlay(n->node), by, us);
}

void network_sent(struct network *n, const struct addr *to)
{
    if (n->node)
        overlay_sent(node_overlay(n->node), to);
}

void network_indication(struct network *n, const struct endpoint *from, const struct stun_id *id)
{
    if (network_enter(n))
        overlay_indication(node_overlay(n->node), from, id);
}

struct node *network_enter(struct network *n)
{
    host_clock(n->daemon->host, &n->env);
    return n->node;
}

bool network_packet(struct network *n, const struct plane_item *item)
{
    /* The plane lends the bytes until the next item; the node opens them in place. */
    return network_enter(n) && node_input(n->node, &item->from, (uint8_t *)item->bytes, item->len);
}

bool network_tcp_packet(struct network *n, uint32_t conn, const struct endpoint *from, uint8_t *pkt,
                        size_t len)
{
    return network_enter(n) && node_tcp_input(n->node, conn, from, pkt, len);
}

void network_tcp_opened(struct network *n, uint32_t conn)
{
    if (network_enter(n))
        node_tcp_opened(n->node, conn);
    else
        on_tcp_close(n, conn);
}

void network_tcp_closed(struct network *n, uint32_t conn)
{
    if (network_enter(n))
        node_tcp_closed(n->node, conn);
}

bool network_tcp_used(const struct network *n, uint32_t conn)
{
    return n->node && overlay_tcp_used(node_overlay(n->node), conn);
}

void network_item(struct network *n, const struct plane_item *item)
{
    if (!network_enter(n))
        return;
    switch (item->kind) {
    case PLANE_PACKET:
    case PLANE_STREAM_ENDED:
        break; /* the host's */
    case PLANE_FRAME:
        node_frame(n->node, item->bytes, item->len);
        break;
    case PLANE_LOCAL:
        node_local(n->node, item->bytes, item->len);
        break;
    case PLANE_RESOLVE:
        node_resolve(n->node, &item->addr);
        break;
    case PLANE_UNVERIFIED:
        node_unverified(n->node, item->token, item->flags, item->bytes, item->len);
        break;
    case PLANE_ROAMED:
        node_roamed(n->node, item->token, &item->from);
        break;
    }
}

void network_tick(struct network *n)
{
    if (network_enter(n))
        node_tick(n->node);
}

usec network_deadline(const struct network *n)
{
    return n->node ? usec_min(node_deadline(n->node), n->contacts_due_us) : USEC_NEVER;
}

int network_forward(struct network *n, struct forward *f)
{
    return n->node ? node_forward(n->node, f) : 0;
}

void network_flushed(struct network *n)
{
    if (n->node)
        node_sent(n->node);
}

static int contact_by_id(const void *a, const void *b)
{
    const struct overlay_contact *x = a, *y = b;

    return id_cmp(&x->node, &y->node);
}

static bool same_contacts(const struct overlay_contact *a, const struct overlay_contact *b,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!id_eq(&a[i].node, &b[i].node) || !endpoint_eq(&a[i].ep, &b[i].ep))
            return false;
    }
    return true;
}

/* As state.h calls it. */
static const char *state_name(const struct network *n)
{
    return n->is_public ? NULL : n->name;
}

static void save_contacts(struct network *n)
{
    struct overlay_contact now[OVERLAY_CONTACTS_MAX];
    size_t count = overlay_contacts(node_overlay(n->node), now, OVERLAY_CONTACTS_MAX);

    if (count == 0)
        return; /* contacts that cannot be reached today may be there tomorrow */
    qsort(now, count, sizeof *now, contact_by_id);
    count = state_merge_contacts(now, count, n->contacts, n->contacts_count);
    if (count == n->contacts_count && same_contacts(now, n->contacts, count))
        return;
    if (state_save_contacts(n->daemon->config.state, state_name(n), now, count) == 0) {
        memcpy(n->contacts, now, count * sizeof *now);
        n->contacts_count = count;
    }
}

static void save_address(struct network *n, const struct addr *a)
{
    int rc;

    if (n->is_public || a->family != 4 || addr_eq(a, &n->member.address))
        return;
    n->member.address = *a;
    rc = state_save_address(n->daemon->config.state, n->name, a);
    if (rc)
        log_write(LOG_LEVEL_WARN, n->name, "cannot save the address: %s", strerror(-rc));
}

static void log_state(struct network *n, const struct node_status *s)
{
    char ipv4[ADDR_TEXT_SIZE];

    if (s->state == n->logged_state)
        return;
    n->logged_state = s->state;
    if (s->state == NODE_UP && s->ipv4.addr.family)
        log_write(LOG_LEVEL_INFO, n->name, "up: %s has %s", s->hostname,
                  addr_text(&s->ipv4.addr, ipv4));
    else
        log_write(
            s->state == NODE_FAILED || s->state == NODE_REMOVED ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
            n->name, "%s%s%s", node_state_text(s->state), s->reason[0] ? ": " : "", s->reason);
}

static void tell_resolved(struct network *n, const struct addr *service)
{
    const struct resolved_link link = {.device = n->device,
                                       .service = service,
                                       .domain = n->config.domain,
                                       .ipv4 = &n->config.ipv4,
                                       .ipv6 = &n->config.ipv6};

    resolved_register(&n->daemon->loop, &link);
}

static void take_up_change(struct network *n)
{
    struct node_status s;

    n->dirty = false;
    node_status(n->node, &s);
    log_state(n, &s);
    if (n->membership)
        membership_look(n->membership);
    save_address(n, &s.ipv4.addr);
    if (n->contacts_count < STATE_CONTACTS_LEAST &&
        overlay_connections(node_overlay(n->node)) > n->contacts_count)
        n->contacts_due_us =
            usec_min(n->contacts_due_us, n->env.now_us + SEC(NETWORK_CONTACTS_FEW_S));
    if (s.state == NODE_UP && n->device[0] && !n->resolved) {
        n->resolved = true;
        tell_resolved(n, &s.service);
    }
    commands_network_changed(n);
}

static bool meets_in_public(const struct network *n)
{
    return n->member.blob && n->member.blob->public_bootstrap.count > 0 && n->ending == STAYING;
}

/* Members of a group whose blob names public nodes find each other there. */
static void meet(struct network *n)
{
    struct network *public_one = meets_in_public(n) ? daemon_public(n->daemon) : NULL;
    bool lonely = overlay_connections(node_overlay(n->node)) == 0, hidden = !node_is_host(n->node);

    if (!public_one || !network_enter(public_one))
        return;
    if (n->meets_life != public_one->life) {
        struct node_meeting m = {.token = n->number,
                                 .group_key = n->config.overlay.group_key,
                                 .sec = n->config.overlay.sec,
                                 .member = n->config.overlay.node};

        if (node_meet(public_one->node, &m) == 0)
            n->meets_life = public_one->life;
        n->lonely = true;
        n->hidden = false;
        wipe(&m, sizeof m);
    }
    if (n->lonely != lonely)
        node_meet_lonely(public_one->node, n->number, lonely);
    if (n->hidden != hidden)
        node_meet_hidden(public_one->node, n->number, hidden);
    n->lonely = lonely;
    n->hidden = hidden;
}

static void meet_no_more(struct network *n)
{
    struct network *public_one = daemon_public(n->daemon);

    if (n->meets_life && public_one && public_one->node && n->meets_life == public_one->life)
        node_meet_no_more(public_one->node, n->number);
    n->meets_life = 0;
}

void network_turn(struct network *n)
{
    if (!n->node)
        return;
    meet(n);
    if (n->dirty)
        take_up_change(n);
    if (n->env.now_us >= n->contacts_due_us) {
        n->contacts_due_us = n->env.now_us + SEC(NETWORK_CONTACTS_EVERY_S);
        save_contacts(n);
    }
}

/* --- Starting --- */

static bool start_node(struct network *n);
static bool open_device(struct network *n);

/* A renewal's answer. The first one that is of use starts what could not start without. */
static void on_certificate(void *ctx)
{
    struct network *n = ctx;

    membership_fill(n->membership, &n->config.overlay);
    n->config.removed = membership_removed(n->membership);
    if (network_enter(n))
        node_set_cert(n->node, n->config.overlay.cert_der, n->config.overlay.cert_len);
    else if (n->ending == STAYING && (n->device[0] || open_device(n)) && start_node(n))
        n->failure[0] = '\0';
}

static struct node *on_node(void *ctx)
{
    return network_enter(ctx);
}

static bool start_membership(struct network *n)
{
    static const struct membership_host host = {.certificate = on_certificate, .node = on_node};
    const struct membership_config config = {.daemon = n->daemon,
                                             .member = &n->member,
                                             .pub = &n->config.overlay.pub,
                                             .sec = &n->config.overlay.sec,
                                             .hostname = n->hostname_wanted,
                                             .wall_s = n->env.wall_s,
                                             .wall_known = n->env.wall_known};
    char why[CERTIFICATE_WHY_SIZE];
    const char *failure;

    n->membership = membership_new(&config, &host, n, why);
    if (!n->membership) {
        fail(n, "the group's CA certificate: %s", why);
        return false;
    }
    failure = membership_failure(n->membership);
    if (failure) {
        fail(n, "our certificate is %s; %s", failure,
             membership_renewal(n->membership) ? "asking for a new one"
                                               : "join again with a new blob");
        return false;
    }
    membership_fill(n->membership, &n->config.overlay);
    n->config.removed = membership_removed(n->membership);
    return true;
}

static void set_identity(struct network *n, const struct secret *seed)
{
    struct overlay_config *o = &n->config.overlay;

    sign_keys(&o->pub, &o->sec, seed);
    o->node = node_id_self(&o->pub);
    o->slot = (uint8_t)(n->number + 1);
    o->port_search = n->daemon->config.port_search;
    o->relay_refused = !n->daemon->config.relay;
    o->relay_mbit = n->daemon->config.relay_mbit;
    o->aeads = 1u << SEAL_CHACHA20_POLY1305 | (crypto_has_aes() ? 1u << SEAL_AES_256_GCM : 0);
}

static void set_address_mode(struct network *n, const struct config_network *section)
{
    switch (section->address) {
    case CONFIG_ADDRESS_AUTO:
        n->config.address_mode = NODE_ADDRESS_AUTO;
        break;
    case CONFIG_ADDRESS_DHCP:
        n->config.address_mode = NODE_ADDRESS_DHCP;
        break;
    case CONFIG_ADDRESS_FIXED:
        n->config.address_mode = NODE_ADDRESS_FIXED;
        n->config.fixed = section->fixed;
        break;
    }
}

/* What the configuration says; else what was said at joining; else the machine's own. */
static void choose_hostname(struct network *n, const struct config_network *section)
{
    if (section->hostname[0])
        strcpy(n->hostname_wanted, section->hostname);
    else if (n->member.options.hostname[0])
        strcpy(n->hostname_wanted, n->member.options.hostname);
    else
        daemon_hostname(n->hostname_wanted);
}

static bool set_config(struct network *n)
{
    const struct config_network *section = config_network(&n->daemon->config, n->name);
    const struct blob *b = n->member.blob;
    struct node_config *c = &n->config;

    strcpy(c->name, n->name);
    strcpy(c->domain, b->network.domain);
    choose_hostname(n, section);
    strcpy(c->hostname, n->hostname_wanted);
    c->overlay.overlay = b->group_id;
    c->overlay.group_key = b->group_key;
    c->overlay.psk = b->psk;
    c->ipv4 = b->network.ipv4;
    c->ipv6 = b->network.ipv6;
    c->lease_s = b->network.lease_s;
    c->last = n->member.address;
    c->network = (uint16_t)n->number;
    c->mtu = section->mtu;
    c->dns_forward = section->dns_forward.addr.family != 0;
    c->public_relay = section->public_relay;
    n->dns_server = section->dns_forward;
    set_address_mode(n, section);
    if (c->address_mode == NODE_ADDRESS_FIXED && !net_contains(&c->ipv4, &c->fixed)) {
        char range[NET_TEXT_SIZE], fixed[ADDR_TEXT_SIZE];

        fail(n, "[network %s] address = %s is outside the group's range %s", n->name,
             addr_text(&c->fixed, fixed), net_text(&c->ipv4, range));
        return false;
    }
    if (b->public_bootstrap.count > 0 && n->daemon->config.public_node == CONFIG_PUBLIC_NO)
        log_write(
            LOG_LEVEL_WARN, n->name,
            "the group's members meet in the public overlay, but public = no: others are found "
            "by bootstraps, on the LAN and where they were before only");
    if (n->member.options.mode == CONFIG_MODE_ROUTER)
        log_write(LOG_LEVEL_WARN, n->name, "router mode has no effect in this version");
    return true;
}

/* The same at every start, so that DHCP servers and neighbours know the machine again: locally
 * administered (IEEE 802 8.4), from the node id. */
static struct mac device_mac_of(const struct id *node)
{
    static const char label[] = "peal mac";
    const struct bytes parts[] = {{label, sizeof label - 1}, {node->b, sizeof node->b}};
    struct id hash = id_hash(parts, ARRAY_LEN(parts));
    struct mac mac;

    memcpy(mac.b, hash.b, sizeof mac.b);
    mac.b[0] = 0x02;
    return mac;
}

/* What was asked for; else the free name that it had before; else any free one. */
static void choose_device(struct network *n)
{
    const struct state_options *o = &n->member.options;
    const char *configured = config_network(&n->daemon->config, n->name)->device;
    const char *name = configured[0] ? configured : o->device;

    if (!name[0] && o->device_given[0] && if_nametoindex(o->device_given) == 0)
        name = o->device_given;
    snprintf(n->device, sizeof n->device, "%s", name[0] ? name : "peal%d");
}

static void remember_device(struct network *n)
{
    struct state_options *o = &n->member.options;

    if (strcmp(o->device_given, n->device) == 0)
        return;
    strcpy(o->device_given, n->device);
    if (state_save_options(n->daemon->config.state, n->name, o) != 0)
        log_write(LOG_LEVEL_WARN, n->name, "cannot save the device's name");
}

static int configure_device(struct network *n)
{
    struct mac mac = device_mac_of(&n->config.overlay.node);
    int rc = links_set_mac(n->daemon->links, n->ifindex, &mac);

    n->config.device_mac = mac;
    return rc ? rc : links_up(n->daemon->links, n->ifindex, n->config.mtu);
}

static bool open_device(struct network *n)
{
    struct plane *plane = host_plane(n->daemon->host);
    unsigned workers = host_workers(n->daemon->host);
    struct device_fds fds;
    int rc;

    choose_device(n);
    rc = device_open(n->device, workers, &fds);
    if (rc) {
        fail(n, "cannot open the device %s: %s%s", n->device, strerror(-rc),
             privilege_net_admin() ? "" : " (peald needs CAP_NET_ADMIN; start it as root)");
        n->device[0] = '\0';
        return false;
    }
    n->ifindex = (int)if_nametoindex(n->device);
    rc = configure_device(n);
    if (rc == 0)
        rc = plane_add_device(plane, (uint16_t)n->number, &fds);
    if (rc == 0) {
        remember_device(n);
        return true;
    }
    fail(n, "cannot set up the device %s: %s", n->device, strerror(-rc));
    device_close(&fds);
    n->device[0] = '\0';
    n->ifindex = 0;
    return false;
}

static void add_contacts(struct network *n)
{
    n->contacts_count = state_load_contacts(n->daemon->config.state, state_name(n), n->contacts,
                                            OVERLAY_CONTACTS_MAX);
    for (size_t i = 0; i < n->contacts_count; i++)
        (void)!overlay_add_contact(node_overlay(n->node), &n->contacts[i]);
}

static void add_public_bootstraps(struct network *n)
{
    unsigned number = 0;

    resolver_add(n->resolver, &n->daemon->config.bootstrap);
    for (const struct network *g; (g = daemon_next(n->daemon, &number)) != NULL; number++) {
        if (g->member.blob)
            resolver_add(n->resolver, &g->member.blob->public_bootstrap);
    }
}

void network_add_bootstraps(struct network *n)
{
    if (!n->resolver)
        n->resolver = resolver_new(&n->daemon->loop, n->name, on_bootstrap, n);
    if (!n->resolver)
        return;
    if (n->is_public)
        add_public_bootstraps(n);
    else
        resolver_add(n->resolver, &n->member.blob->bootstrap);
}

static bool start_node(struct network *n)
{
    n->node = node_new(&n->config, &n->env, n->is_public ? &public_host : &node_host, n);
    if (!n->node) {
        fail(n, "out of memory");
        return false;
    }
    n->life = ++n->daemon->lives;
    n->dirty = true;
    n->logged_state = NODE_LEAVING; /* so that the first one is told */
    n->contacts_due_us = n->env.now_us + SEC(NETWORK_CONTACTS_FIRST_S);
    network_set_endpoints(n);
    add_contacts(n);
    network_add_bootstraps(n);
    host_ask_again(
        n->daemon->host); /* STUN servers that answered before there was anybody to tell */
    host_forward_changed(n->daemon->host);
    return true;
}

static struct network *new_empty(struct daemon *d, unsigned number, const char *name)
{
    struct network *n = calloc(1, sizeof *n);

    if (!n)
        return NULL;
    n->daemon = d;
    n->number = number;
    snprintf(n->name, sizeof n->name, "%s", name);
    host_env(d->host, &n->env);
    n->env.host = n;
    n->env.log = on_log;
    host_attach(d->host, number, n);
    return n;
}

struct network *network_new(struct daemon *d, unsigned number, struct state_member *m)
{
    struct network *n = new_empty(d, number, m->blob->group);

    if (!n)
        return NULL;
    n->member = *m;
    memset(m, 0, sizeof *m);
    set_identity(n, &n->member.seed);
    n->dnsforward = dnsforward_new(&d->loop, on_dns_reply, n);
    if (set_config(n) && (!n->member.blob->ca || start_membership(n)) && open_device(n))
        (void)start_node(n);
    return n;
}

struct network *network_new_broken(struct daemon *d, unsigned number, const char *name,
                                   const char *why)
{
    struct network *n = new_empty(d, number, name);

    if (n)
        fail(n, "%s", why);
    return n;
}

struct network *network_new_public(struct daemon *d, unsigned number, const struct secret *seed)
{
    static const char id_label[] = "peal public overlay";
    static const char key_label[] = "peal public overlay key";
    const struct bytes part = {id_label, sizeof id_label - 1};
    struct network *n = new_empty(d, number, public_name);

    if (!n)
        return NULL;
    n->is_public = true;
    set_identity(n, seed);
    strcpy(n->config.name, "public");
    daemon_hostname(n->config.hostname);
    n->config.overlay.overlay = id_hash(&part, 1);
    /* No secret: it only tells one overlay's strangers from another's. */
    sha256(n->config.overlay.group_key.b, key_label, sizeof key_label - 1);
    n->config.address_mode = NODE_ADDRESS_NONE;
    n->config.rendezvous = true;
    n->config.network = (uint16_t)number;
    (void)start_node(n);
    return n;
}

/* --- While it runs --- */

void network_set_endpoints(struct network *n)
{
    struct endpoint all[DAEMON_ENDPOINTS_MAX];
    size_t count = n->daemon->endpoints_count;

    memcpy(all, n->daemon->endpoints, sizeof all);
    if (n->daemon->mapped.addr.family) {
        count = count < DAEMON_ENDPOINTS_MAX ? count : DAEMON_ENDPOINTS_MAX - 1;
        all[count++] = n->daemon->mapped;
    }
    if (network_enter(n))
        node_set_endpoints(n->node, all, count);
}

static void outside_changed(struct network *n, void (*tell)(struct node *node))
{
    if (n->membership)
        membership_hurry(n->membership, RENEWAL_GAP_S);
    if (!network_enter(n))
        return;
    tell(n->node);
    if (n->resolver)
        resolver_retry(n->resolver);
}

void network_outside_changed(struct network *n)
{
    outside_changed(n, node_network_changed);
}

void network_awoke(struct network *n)
{
    outside_changed(n, node_awoke);
}

static void free_node(struct network *n)
{
    struct node *node = n->node;

    meet_no_more(n);
    n->node = NULL;
    if (node)
        node_free(node);
    commands_network_gone(n);
}

void network_restart(struct network *n)
{
    if (!network_enter(n) || n->ending != STAYING)
        return;
    n->config.last = n->member.address;
    free_node(n);
    resolver_free(n->resolver);
    n->resolver = NULL;
    (void)start_node(n);
}

void network_reload(struct network *n)
{
    const struct config_network *section = config_network(&n->daemon->config, n->name);

    n->dns_server = section->dns_forward;
    if (n->membership)
        membership_reload(n->membership);
    if (!n->node)
        return;
    node_set_dns_forward(network_enter(n), section->dns_forward.addr.family != 0);
    network_add_bootstraps(n);
    if (n->member.blob) {
        choose_hostname(n, section);
        if (strcmp(n->hostname_wanted, n->config.hostname) != 0) {
            strcpy(n->config.hostname, n->hostname_wanted);
            node_set_hostname(network_enter(n), n->hostname_wanted);
        }
    }
}

void network_leave(struct network *n)
{
    if (n->ending == STAYING && network_enter(n)) {
        save_contacts(n);
        meet_no_more(n);
        node_leave(n->node);
    }
    n->ending = LEAVING;
}

void network_stop(struct network *n)
{
    if (n->ending == STAYING && network_enter(n)) {
        save_contacts(n);
        overlay_leave(node_overlay(n->node));
        n->ending = STOPPING;
    }
}

bool network_gone(const struct network *n)
{
    if (!n->node)
        return true;
    return n->ending == LEAVING ? node_left(n->node) : overlay_left(node_overlay(n->node));
}

void network_free(struct network *n)
{
    free_node(n);
    host_detach(n->daemon->host, n->number);
    if (n->device[0])
        plane_remove_device(host_plane(n->daemon->host), (uint16_t)n->number);
    resolver_free(n->resolver);
    dnsforward_free(n->dnsforward);
    membership_free(n->membership);
    state_member_clear(&n->member);
    wipe(n, sizeof *n);
    free(n);
}

/* --- The LAN --- */

bool network_beacon_key(const struct network *n, struct secret *key, struct id *self)
{
    memset(key, 0, sizeof *key);
    *self = n->config.overlay.node;
    if (n->is_public || !n->node || n->ending != STAYING)
        return false;
    beacon_key(key, &n->config.overlay.group_key);
    return true;
}

void network_heard_near(struct network *n, const struct id *node, const struct endpoint *ep)
{
    const struct overlay_contact contact = {.node = *node, .ep = *ep};

    if (network_enter(n))
        overlay_heard_near(node_overlay(n->node), &contact);
}

/* --- For commands and status --- */

const char *network_name(const struct network *n)
{
    return n->name;
}

bool network_public(const struct network *n)
{
    return n->is_public;
}

bool network_contains(const struct network *n, const struct addr *a)
{
    return n->member.blob && (net_contains(&n->member.blob->network.ipv4, a) ||
                              net_contains(&n->member.blob->network.ipv6, a));
}

unsigned network_number(const struct network *n)
{
    return n->number;
}

const char *network_failure(const struct network *n)
{
    return n->node ? NULL : n->failure;
}

struct node *network_node(struct network *n)
{
    return n->node;
}

usec network_now(const struct network *n)
{
    return n->env.now_us;
}

const struct id *network_id(const struct network *n)
{
    return id_is_zero(&n->config.overlay.node) ? NULL : &n->config.overlay.node;
}

const struct blob *network_blob(const struct network *n)
{
    return n->member.blob;
}

const struct cert *network_cert(const struct network *n)
{
    return n->membership ? membership_cert(n->membership) : NULL;
}

const struct membership *network_membership(const struct network *n)
{
    return n->membership;
}

const struct renewal *network_renewal(const struct network *n)
{
    return n->membership ? membership_renewal(n->membership) : NULL;
}

const char *network_device(const struct network *n)
{
    return n->device;
}

int network_ifindex(const struct network *n)
{
    return n->ifindex;
}

const char *network_hostname_wanted(const struct network *n)
{
    return n->hostname_wanted;
}

const struct resolver *network_resolver(const struct network *n)
{
    return n->resolver;
}

const struct state_options *network_options(const struct network *n)
{
    return &n->member.options;
}

struct op **network_ops(struct network *n)
{
    return &n->ops;
}
