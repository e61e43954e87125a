#include "daemon/status.h"

#include "daemon/join.h"
#include "daemon/membership.h"
#include "daemon/network.h"
#include "daemon/renewal.h"
#include "daemon/resolve.h"
#include "daemon/uv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    STATUS_PEERS_MAX = 1024,
    STATUS_REFUSALS_MAX = 16,
    STATUS_CANDIDATES_MAX = 32,
    STATUS_RELAYS_MAX = 16,
    ID_PREFIX_MIN = 8
};

/* --- Values --- */

static json_t *text_or_null(const char *text)
{
    return text && text[0] ? json_string(text) : json_null();
}

static json_t *id_json(const struct id *id)
{
    char text[ID_TEXT_SIZE];

    return id && !id_is_zero(id) ? json_string(id_text(id, text)) : json_null();
}

static json_t *ids_json(const struct id *ids, size_t count)
{
    json_t *a = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(a, id_json(&ids[i]));
    return a;
}

static json_t *addr_json(const struct addr *a)
{
    char text[ADDR_TEXT_SIZE];

    return a->family ? json_string(addr_text(a, text)) : json_null();
}

static json_t *net_json(const struct net *n)
{
    char text[NET_TEXT_SIZE];

    return n->addr.family ? json_string(net_text(n, text)) : json_null();
}

static json_t *endpoint_json(const struct endpoint *ep)
{
    char text[ENDPOINT_TEXT_SIZE];

    return ep->addr.family ? json_string(endpoint_text(ep, text)) : json_null();
}

/* RFC 3339, UTC. */
static json_t *time_json(int64_t wall_s)
{
    time_t t = (time_t)wall_s;
    char text[32];
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

static double seconds(usec us)
{
    return round((double)us / 1e5) / 10; /* tenths are enough for people and short to read */
}

static json_t *since_json(usec now_us, usec then_us)
{
    return then_us && then_us <= now_us ? json_real(seconds(now_us - then_us)) : json_null();
}

/* How long until then; null for USEC_NEVER. */
static json_t *until_json(usec now_us, usec then_us)
{
    if (then_us == USEC_NEVER)
        return json_null();
    return json_real(seconds(then_us > now_us ? then_us - now_us : 0));
}

static json_t *rtt_json(usec rtt_us)
{
    return rtt_us ? json_real(round((double)rtt_us) / 1000) : json_null();
}

/* --- status --- */

/* When the service is asked for the next certificate, and how that went. */
static json_t *renewal_json(const struct renewal *r)
{
    const struct renewal_state *s;

    if (!r)
        return json_null();
    s = renewal_state_of(r);
    return json_pack("{s:o, s:I, s:o, s:I}", "due", time_json(renewal_due_s(s)), "failures",
                     (json_int_t)s->failures, "error", text_or_null(renewal_error(r)),
                     "warning_days", (json_int_t)renewal_warning_days(s, time(NULL)));
}

static json_t *certificate_json(const struct network *n)
{
    const struct cert *c = n ? network_cert(n) : NULL;
    char serial[2 * CERT_SERIAL_MAX + 1];

    if (!c)
        return json_pack("{s:n, s:n, s:n, s:n}", "serial", "not_after", "authorities", "renewal");
    return json_pack("{s:s, s:o, s:I, s:o}", "serial", hex_text(c->serial, c->serial_len, serial),
                     "not_after", time_json(c->not_after_s), "authorities",
                     (json_int_t)membership_authorities(network_membership(n)), "renewal",
                     renewal_json(network_renewal(n)));
}

/* What we know of who was removed, and from whom. */
static json_t *removals_json(const struct network *n)
{
    const struct membership *m = n ? network_membership(n) : NULL;
    const struct removed *r = m ? membership_removed(m) : NULL;
    const struct watch *w = m ? membership_watch(m) : NULL;
    int64_t next = r ? removed_crl_next_s(r) : 0, checked = w ? watch_crl_checked_s(w) : 0;

    if (!r)
        return json_null();
    return json_pack(
        "{s:I, s:I, s:o, s:b, s:o, s:b}", "number", (json_int_t)removed_number(r), "listed",
        (json_int_t)(removed_count(r) > removed_crl_entries(r) ? removed_count(r)
                                                               : removed_crl_entries(r)),
        "next_update", next ? time_json(next) : json_null(), "stale", membership_crl_stale(m),
        "checked", checked ? time_json(checked) : json_null(), "watching", w && watch_is_on(w));
}

/* Before there is a node, or when there will be none; n is NULL while it is being joined. */
static json_t *network_stub_json(const char *name, const char *state, const char *reason,
                                 const struct network *n, const struct blob *blob)
{
    return json_pack("{s:s, s:s, s:o, s:n, s:n, s:o, s:n, s:s, s:n, s:n, s:{s:[], s:[]}, s:i, s:n, "
                     "s:o, s:o, s:i, s:{s:b, s:n}, s:[], s:[]}",
                     "name", name, "state", state, "reason", text_or_null(reason), "id", "hostname",
                     "domain", text_or_null(blob ? blob->network.domain : NULL), "device", "mode",
                     "workstation", "ipv4", "ipv6", "neighbours", "left", "right", "shortcuts", 0,
                     "ring_size_estimate", "certificate", certificate_json(n), "removals",
                     removals_json(n), "dht_records", 0, "gateway", "offering", 0, "using",
                     "entries", "unresolved");
}

static json_t *neighbours_json(const struct overlay *o)
{
    struct id left[OVERLAY_NEAR], right[OVERLAY_NEAR];
    size_t lefts = overlay_near_left(o, left), rights = overlay_near_right(o, right);

    return json_pack("{s:o, s:o}", "left", ids_json(left, lefts), "right", ids_json(right, rights));
}

static const char *entry_kind_word(enum overlay_entry_kind kind)
{
    switch (kind) {
    case OVERLAY_ENTRY_BOOTSTRAP:
        return "bootstrap";
    case OVERLAY_ENTRY_REMEMBERED:
        return "remembered";
    case OVERLAY_ENTRY_LOST:
        return "lost";
    case OVERLAY_ENTRY_MET:
        return "met";
    case OVERLAY_ENTRY_TUNNEL:
        return "public_overlay";
    }
    return "?";
}

static const char *entry_state_word(enum overlay_entry_state state)
{
    switch (state) {
    case OVERLAY_ENTRY_CONNECTED:
        return "connected";
    case OVERLAY_ENTRY_TRYING:
        return "trying";
    case OVERLAY_ENTRY_SILENT:
        return "silent";
    case OVERLAY_ENTRY_WAITING:
        return "waiting";
    }
    return "?";
}

/* Where the ring is looked for. */
static json_t *entries_json(const struct overlay *o, usec now_us)
{
    json_t *a = json_array();
    struct overlay_entry e;

    for (size_t i = 0; overlay_entry_next(o, &i, &e);)
        json_array_append_new(
            a, json_pack("{s:o, s:s, s:s, s:i, s:o}", "endpoint", endpoint_json(&e.ep), "kind",
                         entry_kind_word(e.kind), "state", entry_state_word(e.state), "tries",
                         (int)e.tries, "next_try_s",
                         e.state == OVERLAY_ENTRY_SILENT || e.state == OVERLAY_ENTRY_WAITING
                             ? until_json(now_us, e.next_us)
                             : json_null()));
    return a;
}

/* Bootstraps whose names have no address. */
static json_t *unresolved_json(const struct network *n)
{
    json_t *a = json_array();
    struct resolver_failure f;

    for (size_t i = 0; resolver_failure_next(network_resolver(n), &i, &f);)
        json_array_append_new(a, json_pack("{s:s, s:s, s:f}", "endpoint", f.name, "error", f.why,
                                           "next_try_s", f.next_s));
    return a;
}

json_t *status_network_json(struct network *n)
{
    struct node *node = network_enter(n);
    struct node_status s;
    const struct overlay *o;

    if (!node)
        return network_stub_json(network_name(n), "failed", network_failure(n), n, network_blob(n));
    node_status(node, &s);
    o = node_overlay(node);
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:I, s:I, s:o, s:o, "
                     "s:I, s:{s:b, s:n}, s:o, s:o}",
                     "name", network_name(n), "state", node_state_text(s.state), "reason",
                     text_or_null(s.reason), "id", id_json(network_id(n)), "hostname",
                     text_or_null(s.hostname[0] ? s.hostname : network_hostname_wanted(n)),
                     "domain", network_blob(n)->network.domain, "device",
                     text_or_null(network_device(n)), "mode", "workstation", "ipv4",
                     net_json(&s.ipv4), "ipv6", net_json(&s.ipv6), "neighbours", neighbours_json(o),
                     "shortcuts", (json_int_t)overlay_shortcuts(o), "ring_size_estimate",
                     (json_int_t)llround(overlay_size_estimate(o)), "certificate",
                     certificate_json(n), "removals", removals_json(n), "dht_records",
                     (json_int_t)s.dht_records, "gateway", "offering", 0, "using", "entries",
                     entries_json(o, network_now(n)), "unresolved", unresolved_json(n));
}

static json_t *networks_json(struct daemon *d)
{
    json_t *a = json_array();
    const struct blob *b;
    unsigned i = 0;

    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (!network_public(n))
            json_array_append_new(a, status_network_json(n));
    }
    for (size_t k = 0; (b = join_pending(d, k)) != NULL; k++) {
        if (!daemon_find(d, b->group))
            json_array_append_new(a, network_stub_json(b->group, "enrolling", NULL, NULL, b));
    }
    return a;
}

static json_t *public_json(struct daemon *d)
{
    unsigned i = 0;

    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        struct node *node = network_public(n) ? network_enter(n) : NULL;

        if (node)
            return json_pack("{s:b, s:o, s:I, s:o}", "enabled", 1, "id", id_json(network_id(n)),
                             "connections", (json_int_t)overlay_connections(node_overlay(node)),
                             "unresolved", unresolved_json(n));
    }
    return json_pack("{s:b, s:n, s:i, s:[]}", "enabled", 0, "id", "connections", 0, "unresolved");
}

/* All networks go out by the same port: the one that knows most speaks for all. */
static void read_nat(struct daemon *d, struct overlay_nat *out)
{
    unsigned i = 0;

    *out = (struct overlay_nat){.mapping = OVERLAY_NAT_MAPPING_UNKNOWN};
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        struct node *node = network_enter(n);
        struct overlay_nat nat;

        if (!node)
            continue;
        overlay_nat(node_overlay(node), &nat);
        if (nat.mapping > out->mapping ||
            (nat.mapping == out->mapping && nat.reflexive_count > out->reflexive_count))
            *out = nat;
    }
}

/* The contract's word; which kind of dependence is in `mapping_detail`. */
static const char *mapping_word(enum overlay_nat_mapping m)
{
    return overlay_nat_mapping_text(
        m > OVERLAY_NAT_MAPPING_DEPENDENT ? OVERLAY_NAT_MAPPING_DEPENDENT : m);
}

static json_t *known_json(enum overlay_known k)
{
    return k == OVERLAY_KNOWN_NOT ? json_null() : json_boolean(k == OVERLAY_KNOWN_YES);
}

static json_t *nat_facts_json(const struct overlay_nat *nat)
{
    json_t *reflexive = json_array();

    for (size_t i = 0; i < nat->reflexive_count; i++)
        json_array_append_new(reflexive, endpoint_json(&nat->reflexive[i]));
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "mapping", mapping_word(nat->mapping),
        "mapping_detail", overlay_nat_mapping_text(nat->mapping), "filtering",
        overlay_nat_filtering_text(nat->filtering), "keeps_ports", known_json(nat->keeps_ports),
        "hairpin", known_json(nat->hairpin), "keepalive_s",
        nat->keepalive_us ? json_real(seconds(nat->keepalive_us)) : json_null(), "mapping_lives_s",
        nat->lives_us ? json_real(seconds(nat->lives_us)) : json_null(), "mapping_dies_s",
        nat->dies_us ? json_real(seconds(nat->dies_us)) : json_null(), "reflexive", reflexive);
}

static json_t *nat_json(struct daemon *d)
{
    struct overlay_nat nat;

    read_nat(d, &nat);
    return nat_facts_json(&nat);
}

json_t *status_json(struct daemon *d)
{
    usec up = host_now(d->host) - d->started_us;

    return json_pack("{s:s, s:s, s:I, s:i, s:o, s:o, s:o}", "schema", "peal.status/1", "version",
                     PEAL_VERSION, "uptime_s", (json_int_t)(up / 1000000), "port", (int)d->port,
                     "public", public_json(d), "nat", nat_json(d), "networks", networks_json(d));
}

/* --- peers --- */

static json_t *roles_json(uint32_t roles)
{
    static const struct {
        uint32_t bit;
        const char *text;
    } names[] = {
        {OVERLAY_ROLE_NEAR, "near"},     {OVERLAY_ROLE_SHORTCUT, "shortcut"},
        {OVERLAY_ROLE_DEMAND, "demand"}, {OVERLAY_ROLE_LEAF, "leaf"},
        {OVERLAY_ROLE_RELAY, "relay"},
    };
    json_t *a = json_array();

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (roles & names[i].bit)
            json_array_append_new(a, json_string(names[i].text));
    }
    return a;
}

static json_t *cipher_json(enum seal_alg alg)
{
    switch (alg) {
    case SEAL_CHACHA20_POLY1305:
        return json_string("chacha20-poly1305");
    case SEAL_AES_256_GCM:
        return json_string("aes-256-gcm");
    }
    return json_null(); /* 0: no data key yet */
}

static const char *const paths[] = {"direct", "tcp", "relay", "overlay"};

/* NULL: it is not up. */
static const char *path_text(const struct overlay_peer_info *p)
{
    if (!p->up)
        return NULL;
    return paths[!id_is_zero(&p->relay) ? 2 : p->udp ? 0 : p->tcp ? 1 : 3];
}

static json_t *path_json(const struct overlay_peer_info *p)
{
    return path_text(p) ? json_string(path_text(p)) : json_null();
}

static json_t *hostname_json(struct network *n, const struct id *peer)
{
    char hostname[NODE_HOSTNAME_SIZE] = "";
    struct addr ipv4;

    if (!id_is_zero(peer))
        (void)!node_peer_facts(network_enter(n), peer, hostname, &ipv4);
    return text_or_null(hostname);
}

static json_t *peer_endpoint_json(const struct overlay_peer_info *p)
{
    return p->udp || p->tcp ? endpoint_json(&p->endpoint) : json_null();
}

static json_t *standbys_json(struct network *n, const struct overlay_peer_info *p)
{
    json_t *a = json_array();

    for (size_t i = 0; i < p->standbys; i++)
        json_array_append_new(a, json_pack("{s:o, s:o, s:o}", "id", id_json(&p->standby[i]),
                                           "hostname", hostname_json(n, &p->standby[i]), "rtt_ms",
                                           rtt_json(p->standby_rtt_us[i])));
    return a;
}

/* Since when this path is the one in use, what made it so, and what was before. */
static json_t *path_history_json(struct network *n, const struct overlay_peer_info *p)
{
    if (!p->up)
        return json_pack("{s:n, s:n, s:n}", "path_age_s", "path_change", "path_before");
    return json_pack("{s:o, s:s, s:o}", "path_age_s", since_json(network_now(n), p->moved.at_us),
                     "path_change", overlay_move_text(p->moved.by), "path_before",
                     text_or_null(p->moved.before));
}

json_t *status_way_json(struct network *n, const struct id *peer)
{
    struct node *node = network_enter(n);
    struct overlay_peer_info p;

    if (!node || !overlay_peer(node_overlay(node), peer, &p))
        return json_pack("{s:n, s:n, s:n, s:n}", "path", "endpoint", "relay", "relay_hostname");
    return json_pack("{s:o, s:o, s:o, s:o}", "path", path_json(&p), "endpoint",
                     peer_endpoint_json(&p), "relay", id_json(&p.relay), "relay_hostname",
                     hostname_json(n, &p.relay));
}

static json_t *peer_json(struct network *n, const struct overlay_peer_info *p)
{
    struct node *node = network_enter(n);
    char hostname[NODE_HOSTNAME_SIZE] = "";
    struct addr ipv4 = {0};
    uint64_t tx = 0, rx = 0;
    usec now = network_now(n);
    json_t *o, *history = path_history_json(n, p);

    (void)!node_peer_facts(node, &p->node, hostname, &ipv4);
    (void)!node_peer_traffic(node, p->token, &tx, &rx);
    o = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, "
        "s:o, s:o, s:b}",
        "id", id_json(&p->node), "network",
        network_public(n) ? json_null() : json_string(network_name(n)), "hostname",
        text_or_null(hostname), "ipv4", addr_json(&ipv4), "path", path_json(p), "endpoint",
        peer_endpoint_json(p), "relay", id_json(&p->relay), "relay_hostname",
        hostname_json(n, &p->relay), "standby_relays", ids_json(p->standby, p->standbys),
        "standbys", standbys_json(n, p), "rtt_ms", rtt_json(p->rtt_us), "roles",
        roles_json(p->roles), "cipher", cipher_json(p->cipher), "tx_bytes", (json_int_t)tx,
        "rx_bytes", (json_int_t)rx, "age_s", since_json(now, p->up_since_us), "last_seen_s",
        since_json(now, p->last_heard_us), "user", text_or_null(p->user), "why",
        text_or_null(p->why), "plain", node_peer_plain(node, p->token, now));
    json_object_update(o, history);
    json_decref(history);
    return o;
}

static json_t *refusal_json(struct network *n, const struct overlay_refusal *r)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:o}", "network",
                     network_public(n) ? json_null() : json_string(network_name(n)), "endpoint",
                     endpoint_json(&r->from), "id", id_json(&r->node), "user",
                     text_or_null(r->user), "why", r->why ? r->why : "", "ago_s",
                     since_json(network_now(n), r->at_us));
}

/* Sorted by id; to be freed. */
static struct overlay_peer_info *list_peers(struct network *n, size_t *count)
{
    struct node *node = network_enter(n);
    struct overlay_peer_info *v = node ? calloc(STATUS_PEERS_MAX, sizeof *v) : NULL;

    *count = v ? overlay_peers(node_overlay(node), v, STATUS_PEERS_MAX) : 0;
    return v;
}

static void add_peers(struct network *n, json_t *peers)
{
    size_t count;
    struct overlay_peer_info *v = list_peers(n, &count);

    for (size_t i = 0; i < count; i++)
        json_array_append_new(peers, peer_json(n, &v[i]));
    free(v);
}

static void add_refusals(struct network *n, const struct id *only, json_t *refused)
{
    struct overlay_refusal v[STATUS_REFUSALS_MAX];
    struct node *node = network_enter(n);
    size_t count = node ? overlay_refusals(node_overlay(node), v, STATUS_REFUSALS_MAX) : 0;

    for (size_t i = 0; i < count; i++) {
        if (!only || id_eq(only, &v[i].node))
            json_array_append_new(refused, refusal_json(n, &v[i]));
    }
}

json_t *status_peers_json(struct daemon *d, struct network *only)
{
    json_t *peers = json_array(), *refused = json_array();
    unsigned i = 0;

    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (only && n != only)
            continue;
        add_peers(n, peers);
        add_refusals(n, NULL, refused);
    }
    return json_pack("{s:s, s:o, s:o}", "schema", "peal.peers/1", "peers", peers, "refused",
                     refused);
}

/* --- netcheck --- */

/* Does UDP get through? Null: nobody is there to tell. */
static json_t *udp_json(struct daemon *d)
{
    bool tcp = false;
    unsigned i = 0;

    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        size_t count;
        struct overlay_peer_info *v = list_peers(n, &count);
        bool udp = false;

        for (size_t k = 0; k < count; k++) {
            udp |= v[k].udp;
            tcp |= v[k].tcp;
        }
        free(v);
        if (udp)
            return json_true();
    }
    return tcp ? json_false() : json_null();
}

json_t *status_netcheck_json(struct daemon *d)
{
    json_t *own = json_array();

    for (size_t i = 0; i < d->endpoints_count; i++)
        json_array_append_new(own, endpoint_json(&d->endpoints[i]));
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "schema", "peal.netcheck/1", "port",
                     (int)d->port, "endpoints", own, "udp", udp_json(d), "mapped",
                     endpoint_json(&d->mapped), "nat", nat_json(d));
}

/* --- why --- */

static json_t *candidate_json(const struct overlay_candidate *c, usec now_us)
{
    return json_pack("{s:o, s:o, s:b, s:b, s:s, s:I, s:o, s:o}", "endpoint", endpoint_json(&c->ep),
                     "local", endpoint_json(&c->us), "named", c->named, "tcp", c->tcp, "outcome",
                     overlay_try_text(c->outcome), "times_tried", (json_int_t)c->times,
                     "tried_ago_s", since_json(now_us, c->tried_us), "rtt_ms", rtt_json(c->rtt_us));
}

static json_t *port_search_json(const struct overlay_tries *t)
{
    return t->ports == 0 ? json_null()
                         : json_pack("{s:I, s:I}", "sent", (json_int_t)t->ports_sent, "ports",
                                     (json_int_t)t->ports);
}

/* What was tried to reach the peer directly, and when that is done again. */
static void add_candidates(const struct overlay *o, usec now_us, const struct id *peer, json_t *why)
{
    struct overlay_candidate v[STATUS_CANDIDATES_MAX];
    struct endpoint own[OVERLAY_ENDPOINTS_MAX];
    struct overlay_tries tries;
    size_t count = overlay_candidates(o, peer, v, ARRAY_LEN(v), &tries);
    size_t own_count = overlay_endpoints(o, own);
    json_t *list = json_array(), *local = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, candidate_json(&v[i], now_us));
    for (size_t i = 0; i < own_count; i++)
        json_array_append_new(local, endpoint_json(&own[i]));
    json_object_set_new(why, "local_endpoints", local);
    json_object_set_new(why, "candidates", list);
    json_object_set_new(why, "next_try_s", until_json(now_us, tries.next_us));
    json_object_set_new(why, "next_tcp_s", until_json(now_us, tries.tcp_us));
    json_object_set_new(why, "port_search", port_search_json(&tries));
}

static void add_relays(struct network *n, const struct overlay *o, const struct id *peer,
                       json_t *why)
{
    struct overlay_relay v[STATUS_RELAYS_MAX];
    size_t count = overlay_relays(o, peer, v, ARRAY_LEN(v));
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:s, s:o, s:o, s:o}", "id", id_json(&v[i].node), "hostname",
                      hostname_json(n, &v[i].node), "state", overlay_relay_text(v[i].state),
                      "rtt_ms", rtt_json(v[i].rtt_us), "chosen_by_ms", rtt_json(v[i].told_rtt_us),
                      "again_s",
                      v[i].state == OVERLAY_RELAY_FAILED ? until_json(network_now(n), v[i].until_us)
                                                         : json_null()));
    json_object_set_new(why, "relays", list);
}

/* Ours, and the peer's as far as it told. */
static void add_nats(const struct overlay *o, const struct id *peer, json_t *why)
{
    struct overlay_nat nat;

    overlay_nat(o, &nat);
    json_object_set_new(why, "nat", nat_facts_json(&nat));
    json_object_set_new(why, "peer_nat",
                        overlay_peer_nat(o, peer, &nat)
                            ? json_pack("{s:s, s:s, s:s}", "mapping", mapping_word(nat.mapping),
                                        "mapping_detail", overlay_nat_mapping_text(nat.mapping),
                                        "filtering", overlay_nat_filtering_text(nat.filtering))
                            : json_null());
}

json_t *status_why_json(struct daemon *d, struct network *n, const struct id *peer)
{
    struct node *node = network_enter(n);
    struct overlay_peer_info p;
    json_t *refused = json_array(), *why, *udp = udp_json(d);
    bool found = node && overlay_peer(node_overlay(node), peer, &p);

    add_refusals(n, peer, refused);
    if (!node || (!found && json_array_size(refused) == 0)) {
        json_decref(refused);
        json_decref(udp);
        return NULL;
    }
    why = json_pack("{s:s, s:o, s:o, s:o}", "schema", "peal.why/1", "peer",
                    found ? peer_json(n, &p) : json_null(), "refused", refused, "udp", udp);
    add_candidates(node_overlay(node), network_now(n), peer, why);
    add_relays(n, node_overlay(node), peer, why);
    add_nats(node_overlay(node), peer, why);
    return why;
}

static bool has_prefix(const struct id *id, const char *prefix)
{
    char text[ID_TEXT_SIZE];

    return strncasecmp(id_text(id, text), prefix, strlen(prefix)) == 0;
}

bool status_find_prefix(struct network *n, const char *prefix, struct id *out)
{
    size_t len = strlen(prefix), count, found = 0;
    struct overlay_peer_info *v;

    if (len < ID_PREFIX_MIN || len > ID_HEX_LEN || strspn(prefix, "0123456789abcdefABCDEF") != len)
        return false;
    if (id_parse(out, prefix))
        return true;
    if (network_id(n) && has_prefix(network_id(n), prefix)) {
        *out = *network_id(n);
        found++;
    }
    v = list_peers(n, &count);
    for (size_t i = 0; i < count; i++) {
        if (has_prefix(&v[i].node, prefix)) {
            *out = v[i].node;
            found++;
        }
    }
    free(v);
    return found == 1;
}

/* --- Members, crawl, lookup --- */

json_t *status_member_json(const struct node_member *m)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:I}", "id", id_json(&m->ring.node),
                     "hostname", text_or_null(m->hostname), "user", text_or_null(m->user), "ipv4",
                     addr_json(&m->ipv4), "ipv6", addr_json(&m->ipv6), "answered", m->ring.answered,
                     "removals", (json_int_t)m->removed);
}

json_t *status_crawl_json(const struct node_member *m)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:b}", "id", id_json(&m->ring.node),
                     "hostname", text_or_null(m->hostname), "ipv4", addr_json(&m->ipv4), "left",
                     ids_json(m->ring.left, m->ring.lefts), "right",
                     ids_json(m->ring.right, m->ring.rights), "answered", m->ring.answered,
                     "consistent", m->ring.consistent);
}

json_t *status_lookup_json(const struct node_lookup_result *r)
{
    return json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "schema", "peal.lookup/1", "found",
                     r->found, "id", id_json(&r->node), "hostname", text_or_null(r->hostname),
                     "ipv4", addr_json(&r->ipv4), "ipv6", addr_json(&r->ipv6), "lease_s",
                     r->found ? json_integer(r->remaining_s) : json_null());
}

/* --- Metrics --- */

/* The rooms of a node name their counters without regard to each other; one name is one series.
 * False: an earlier one has it already. */
static bool sum_counter(const struct node *node, size_t at, const char *name, uint64_t *sum)
{
    const char *other;
    uint64_t value;

    *sum = 0;
    for (size_t i = 0; node_counter(node, i, &other, &value); i++) {
        if (strcmp(other, name) != 0)
            continue;
        if (i < at)
            return false;
        *sum += value;
    }
    return true;
}

static void certificate_metrics(FILE *out, const struct network *n)
{
    const struct renewal *r = network_renewal(n);

    if (network_cert(n))
        fprintf(out, "peal_cert_expiry_timestamp_seconds{network=\"%s\"} %lld\n", network_name(n),
                (long long)network_cert(n)->not_after_s);
    if (r)
        fprintf(out, "peal_cert_renewal_failures{network=\"%s\"} %u\n", network_name(n),
                renewal_state_of(r)->failures);
}

static void removals_metrics(FILE *out, const struct network *n)
{
    const struct membership *m = network_membership(n);
    const struct removed *r = m ? membership_removed(m) : NULL;

    if (!r)
        return;
    fprintf(out, "peal_removal_number{network=\"%s\"} %llu\n", network_name(n),
            (unsigned long long)removed_number(r));
    if (removed_crl_next_s(r))
        fprintf(out,
                "peal_crl_next_update_timestamp_seconds{network=\"%s\"} %lld\n"
                "peal_crl_stale{network=\"%s\"} %d\n",
                network_name(n), (long long)removed_crl_next_s(r), network_name(n),
                membership_crl_stale(m));
}

static void paths_metrics(FILE *out, struct network *n)
{
    size_t count;
    struct overlay_peer_info *v = list_peers(n, &count);

    for (size_t k = 0; k < sizeof paths / sizeof paths[0]; k++) {
        size_t peers = 0;

        for (size_t i = 0; i < count; i++)
            peers += path_text(&v[i]) == paths[k];
        fprintf(out, "peal_peers{network=\"%s\",path=\"%s\"} %zu\n", network_name(n), paths[k],
                peers);
    }
    free(v);
}

static void network_metrics(FILE *out, struct network *n)
{
    struct node *node = network_enter(n);
    const char *name = network_name(n), *counter;
    struct node_status s;
    uint64_t value;

    certificate_metrics(out, n);
    removals_metrics(out, n);
    fprintf(out, "peal_network_up{network=\"%s\"} ", name);
    if (!node) {
        fprintf(out, "0\n");
        return;
    }
    node_status(node, &s);
    fprintf(out, "%d\n", s.state == NODE_UP);
    fprintf(out, "peal_connections{network=\"%s\"} %zu\n", name,
            overlay_connections(node_overlay(node)));
    paths_metrics(out, n);
    fprintf(out, "peal_ring_size_estimate{network=\"%s\"} %.0f\n", name,
            overlay_size_estimate(node_overlay(node)));
    fprintf(out, "peal_dht_records{network=\"%s\"} %zu\n", name, s.dht_records);
    for (size_t i = 0; node_counter(node, i, &counter, &value); i++) {
        if (sum_counter(node, i, counter, &value))
            fprintf(out, "peal_node_events_total{network=\"%s\",event=\"%s\"} %llu\n", name,
                    counter, (unsigned long long)value);
    }
}

char *status_metrics(struct daemon *d)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    const char *name;
    uint64_t value;
    unsigned i = 0;

    if (!out)
        return NULL;
    fprintf(out,
            "# TYPE peal_build_info gauge\npeal_build_info{version=\"%s\"} 1\n"
            "# TYPE peal_uptime_seconds gauge\npeal_uptime_seconds %llu\n"
            "# TYPE peal_packets_dropped_total counter\n",
            PEAL_VERSION, (unsigned long long)((host_now(d->host) - d->started_us) / 1000000));
    for (size_t k = 0; host_counter(d->host, k, &name, &value); k++)
        fprintf(out, "peal_packets_dropped_total{reason=\"%s\"} %llu\n", name,
                (unsigned long long)value);
    fprintf(out, "# TYPE peal_plain_paths_total counter\npeal_plain_paths_total %llu\n",
            (unsigned long long)plane_plain_paths(host_plane(d->host)));
    fprintf(out, "# TYPE peal_relayed_packets_total counter\npeal_relayed_packets_total %llu\n",
            (unsigned long long)plane_relayed(host_plane(d->host)));
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++)
        network_metrics(out, n);
    return fclose(out) == 0 ? text : NULL;
}
