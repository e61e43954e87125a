#include "daemon/commands.h"

#include "daemon/daemon.h"
#include "daemon/join.h"
#include "daemon/log.h"
#include "daemon/network.h"
#include "daemon/status.h"
#include "daemon/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    COMMAND_LOOK_MS = 20,        /* how often a leave in progress is looked at */
    COMMAND_LEAVE_MAX_MS = 3500, /* node_leave promises 3 s */
    COMMAND_WAIT_MAX_S = 3600,
    COMMAND_PING_TIMEOUT_MS = 3000,
    COMMAND_PING_TIMEOUT_MAX_MS = 30000,
    COMMAND_WHO_SIZE = NAME_MAX_LEN + 1,
};

/* One request that a node answers later. Lives until the node has answered, or is gone. */
struct op {
    struct op *next;
    struct request *request; /* NULL: the client has gone */
    struct network *network;
    struct daemon *daemon;
    void (*on_change)(struct op *op); /* the network's state changed; NULL: of no interest */
    uv_timer_t timer;
    bool has_timer;
    uint64_t until_ms;
    bool purge; /* leave */
    bool crawl; /* crawl, not members */
    unsigned ping_timeout_ms;
    struct id peer; /* ping, why: whom it is about, once known */
    struct node_lookup_result looked_up;
};

static void on_cancel(void *ctx)
{
    struct op *op = ctx;

    op->request = NULL;
}

static struct op *op_new(struct request *r, struct network *n)
{
    struct op *op = calloc(1, sizeof *op);

    if (!op) {
        request_fail(r, PROTOCOL_FAILED, "out of memory");
        return NULL;
    }
    op->request = r;
    op->network = n;
    op->daemon = request_daemon(r);
    op->next = *network_ops(n);
    *network_ops(n) = op;
    request_on_cancel(r, on_cancel, op);
    return op;
}

static void on_op_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Takes it off its network's list; the request is answered before or has gone. */
static void op_free(struct op *op)
{
    struct op **at = op->network ? network_ops(op->network) : NULL;

    while (at && *at && *at != op)
        at = &(*at)->next;
    if (at && *at)
        *at = op->next;
    if (op->has_timer)
        uv_close((uv_handle_t *)&op->timer, on_op_closed);
    else
        free(op);
}

static void op_done(struct op *op, json_t *result)
{
    if (op->request)
        request_done(op->request, result);
    else
        json_decref(result);
    op_free(op);
}

static void op_fail(struct op *op, enum protocol_error e, const char *message)
{
    if (op->request)
        request_fail(op->request, e, "%s", message);
    op_free(op);
}

static void op_start_timer(struct op *op, uv_timer_cb cb, uint64_t for_ms, uint64_t every_ms)
{
    uv_loop_t *loop = &op->daemon->loop;

    uv_timer_init(loop, &op->timer);
    op->timer.data = op;
    op->has_timer = true;
    uv_update_time(loop);
    op->until_ms = uv_now(loop) + for_ms;
    uv_timer_start(&op->timer, cb, every_ms ? every_ms : for_ms, every_ms);
}

void commands_network_changed(struct network *n)
{
    struct op *next;

    for (struct op *op = *network_ops(n); op; op = next) {
        next = op->next;
        if (op->on_change)
            op->on_change(op);
    }
}

void commands_network_gone(struct network *n)
{
    struct op *op;

    while ((op = *network_ops(n)) != NULL) {
        *network_ops(n) = op->next;
        op->network = NULL;
        op_fail(op, PROTOCOL_NOT_JOINED, "the group was left, or started anew, meanwhile");
    }
}

/* --- Arguments --- */

static const char *text_arg(const struct request *r, const char *key)
{
    return json_string_value(json_object_get(request_args(r), key));
}

static bool flag_arg(const struct request *r, const char *key)
{
    return json_is_true(json_object_get(request_args(r), key));
}

/* A number in 0..max; `otherwise` when it is not said. */
static json_int_t number_arg(const struct request *r, const char *key, json_int_t max,
                             json_int_t otherwise)
{
    const json_t *v = json_object_get(request_args(r), key);
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v) || n < 0)
        return otherwise;
    return n > max ? max : n;
}

static void list_names(const struct daemon *d, char *out, size_t size)
{
    size_t len = 0;
    unsigned i = 0;

    out[0] = '\0';
    for (const struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (!network_public(n) && len < size)
            len +=
                (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "", network_name(n));
    }
}

/* The group that `key` names, or the only one. NULL: the request has been answered. */
static struct network *network_arg(struct request *r, const char *key)
{
    struct daemon *d = request_daemon(r);
    const char *name = text_arg(r, key);
    struct network *only = NULL;
    unsigned i = 0, count = 0;
    char names[512];

    if (name) {
        only = daemon_find(d, name);
        if (!only)
            request_fail(r, PROTOCOL_NOT_JOINED, "this machine is not a member of %.63s", name);
        return only;
    }
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (!network_public(n)) {
            only = n;
            count++;
        }
    }
    if (count == 1)
        return only;
    list_names(d, names, sizeof names);
    if (count == 0)
        request_fail(r, PROTOCOL_NOT_JOINED,
                     "this machine is not a member of any group; see peal join");
    else
        request_fail(r, PROTOCOL_USAGE, "several groups are joined (%s); choose one with -n",
                     names);
    return NULL;
}

/* The same, with its node running. */
static struct node *node_arg(struct request *r, struct network **n)
{
    struct node *node;

    *n = network_arg(r, "network");
    if (!*n)
        return NULL;
    node = network_enter(*n);
    if (!node)
        request_fail(r, PROTOCOL_FAILED, "%s could not be started: %s", network_name(*n),
                     network_failure(*n));
    return node;
}

static const char *who_arg(struct request *r)
{
    const char *who = text_arg(r, "who");

    if (who && who[0] && strlen(who) < COMMAND_WHO_SIZE)
        return who;
    request_fail(r, PROTOCOL_USAGE, "say who: a host name, an address or a node id");
    return NULL;
}

/* --- status, peers, netcheck, metrics, reload, gateways --- */

static void run_status(struct request *r)
{
    request_done(r, status_json(request_daemon(r)));
}

static void run_peers(struct request *r)
{
    struct network *only = NULL;

    if (text_arg(r, "network") && !(only = network_arg(r, "network")))
        return;
    request_done(r, status_peers_json(request_daemon(r), only));
}

static void run_netcheck(struct request *r)
{
    request_done(r, status_netcheck_json(request_daemon(r)));
}

static void run_metrics(struct request *r)
{
    char *text = status_metrics(request_daemon(r));

    if (text)
        request_done(r, json_pack("{s:s, s:s}", "schema", "peal.metrics/1", "text", text));
    else
        request_fail(r, PROTOCOL_FAILED, "out of memory");
    free(text);
}

static void run_reload(struct request *r)
{
    char why[CONFIG_WHY_SIZE];
    json_t *result = daemon_reload(request_daemon(r), why);

    if (result)
        request_done(r, result);
    else
        request_fail(r, PROTOCOL_FAILED, "not reloaded: %s", why);
}

static void run_gateway_list(struct request *r)
{
    struct network *n = network_arg(r, "network");

    if (n)
        request_done(r, json_pack("{s:s, s:s, s:n, s:[]}", "schema", "peal.gateways/1", "network",
                                  network_name(n), "using", "gateways"));
}

/* No full tunnel is ever on in this version, so off is what it is. */
static void run_gateway_off(struct request *r)
{
    run_gateway_list(r);
}

/* --- join --- */

static bool copy_option(struct request *r, char *out, size_t size, const char *key,
                        bool (*valid)(const char *), const char *expected)
{
    const char *text = text_arg(r, key);

    if (!text)
        return true;
    if (strlen(text) >= size || !valid(text)) {
        request_fail(r, PROTOCOL_USAGE, "--%s %.64s: expected %s", key, text, expected);
        return false;
    }
    strcpy(out, text);
    return true;
}

static bool is_label(const char *text)
{
    return label_valid(text, strlen(text));
}

static bool read_mode(struct request *r, struct state_options *o)
{
    const char *mode = text_arg(r, "mode");

    if (!mode || strcmp(mode, "workstation") == 0)
        return true;
    if (strcmp(mode, "router") != 0) {
        request_fail(r, PROTOCOL_USAGE, "--mode %.32s: expected workstation or router", mode);
        return false;
    }
    o->mode = CONFIG_MODE_ROUTER;
    if (o->bridge[0])
        return true;
    request_fail(r, PROTOCOL_USAGE, "--mode router needs --bridge DEVICE, the LAN's bridge");
    return false;
}

/* What would be of no effect is refused while the person who asks for it still looks. */
static bool check_mode(struct request *r, const struct state_options *o)
{
    if (o->mode == CONFIG_MODE_ROUTER)
        request_fail(r, PROTOCOL_FAILED, "router mode is not available in this version");
    else if (o->bridge[0])
        request_fail(r, PROTOCOL_USAGE, "--bridge is for --mode router");
    else
        return true;
    return false;
}

static bool read_options(struct request *r, struct state_options *o)
{
    static const char device[] = "the name of a network device";

    memset(o, 0, sizeof *o);
    return copy_option(r, o->hostname, sizeof o->hostname, "hostname", is_label,
                       "one label of letters, digits and inner hyphens") &&
           copy_option(r, o->device, sizeof o->device, "device", device_name_valid, device) &&
           copy_option(r, o->bridge, sizeof o->bridge, "bridge", device_name_valid, device) &&
           read_mode(r, o) && check_mode(r, o);
}

/* A join under way; not an op, because there is no network yet. */
struct joining {
    struct request *request;
    unsigned wait_s;
};

static void on_joining_cancel(void *ctx)
{
    struct joining *j = ctx;

    j->request = NULL; /* the enrolment goes on */
}

static json_t *joined_json(struct network *n)
{
    return json_pack("{s:s, s:o}", "schema", "peal.join/1", "network", status_network_json(n));
}

/* Answers when the wait is over. */
static void look_at_state(struct op *op)
{
    struct node_status s;

    if (!network_node(op->network)) {
        op_fail(op, PROTOCOL_FAILED, network_failure(op->network));
        return;
    }
    node_status(network_node(op->network), &s);
    if (s.state == NODE_UP)
        op_done(op, joined_json(op->network));
    else if (s.state == NODE_REMOVED)
        op_fail(op, PROTOCOL_REFUSED, s.reason);
}

static void on_wait_over(uv_timer_t *timer)
{
    struct op *op = timer->data;
    struct node_status s = {0};
    char message[NODE_REASON_SIZE + 64];

    if (network_node(op->network))
        node_status(network_node(op->network), &s);
    snprintf(message, sizeof message, "joined, but not up yet%s%s; see peal status",
             s.reason[0] ? ": " : "", s.reason);
    op_fail(op, PROTOCOL_TIMEOUT, message);
}

static void wait_until_up(struct request *r, struct network *n, unsigned wait_s)
{
    struct op *op = op_new(r, n);

    if (!op)
        return;
    op->on_change = look_at_state;
    op_start_timer(op, on_wait_over, (uint64_t)wait_s * 1000, 0);
    look_at_state(op);
}

static void on_joined(void *ctx, const struct join_result *result)
{
    struct joining *j = ctx;
    struct request *r = j->request;
    unsigned wait_s = j->wait_s;

    free(j);
    if (!r)
        return;
    if (!result->network)
        request_fail(r, result->error, "%s", result->message);
    else if (network_failure(result->network))
        request_fail(r, PROTOCOL_FAILED, "joined, but it does not start: %s",
                     network_failure(result->network));
    else if (wait_s > 0)
        wait_until_up(r, result->network, wait_s);
    else
        request_done(r, joined_json(result->network));
}

static void run_join(struct request *r)
{
    const json_t *blob = json_object_get(request_args(r), "blob");
    struct join_wish wish = {.blob = json_string_value(blob), .blob_len = json_string_length(blob)};
    struct joining *j;

    if (!wish.blob) {
        request_fail(r, PROTOCOL_USAGE, "the request carries no blob");
        return;
    }
    if (!read_options(r, &wish.options))
        return;
    j = calloc(1, sizeof *j);
    if (!j) {
        request_fail(r, PROTOCOL_FAILED, "out of memory");
        return;
    }
    j->request = r;
    j->wait_s = (unsigned)number_arg(r, "wait_s", COMMAND_WAIT_MAX_S, 0);
    request_on_cancel(r, on_joining_cancel, j);
    join_start(request_daemon(r), &wish, on_joined, j);
}

/* --- leave --- */

/* What stays on disk of a group that was left. */
static int settle_left(struct daemon *d, const char *name, const struct state_options *options,
                       bool purge)
{
    struct state_options left = *options;

    if (purge)
        return state_purge(d->config.state, name);
    left.left = true;
    return state_save_options(d->config.state, name, &left);
}

static void finish_leave(struct op *op)
{
    struct network *n = op->network;
    struct request *r = op->request;
    struct daemon *d = op->daemon;
    struct state_options options = *network_options(n);
    char name[LABEL_MAX + 1];
    bool purge = op->purge;
    int rc;

    strcpy(name, network_name(n));
    op_free(op);
    daemon_remove(d, n);
    daemon_check_public(d);
    rc = settle_left(d, name, &options, purge);
    log_write(LOG_LEVEL_INFO, name, "left%s", purge ? ", keys and certificate forgotten" : "");
    if (!r)
        return;
    if (rc)
        request_fail(r, PROTOCOL_FAILED, "left, but its state in %s/%s cannot be changed: %s",
                     d->config.state, name, strerror(-rc));
    else
        request_done(r, json_pack("{s:s, s:s, s:b}", "schema", "peal.leave/1", "left", name,
                                  "purged", purge));
}

static void on_leave_look(uv_timer_t *timer)
{
    struct op *op = timer->data;

    if (network_gone(op->network) || uv_now(timer->loop) >= op->until_ms)
        finish_leave(op);
}

/* Nothing of it runs; what is kept of an earlier membership may still be forgotten. */
static void purge_kept(struct request *r, const char *name)
{
    struct daemon *d = request_daemon(r);
    int rc;

    if (!is_label(name) || !state_exists(d->config.state, name)) {
        request_fail(r, PROTOCOL_NOT_JOINED, "this machine is not a member of %.63s", name);
        return;
    }
    rc = state_purge(d->config.state, name);
    if (rc)
        request_fail(r, PROTOCOL_FAILED, "cannot remove %s/%s: %s", d->config.state, name,
                     strerror(-rc));
    else
        request_done(
            r, json_pack("{s:s, s:s, s:b}", "schema", "peal.leave/1", "left", name, "purged", 1));
}

static void run_leave(struct request *r)
{
    struct daemon *d = request_daemon(r);
    const char *name = text_arg(r, "network");
    struct network *n;
    struct op *op;

    if (flag_arg(r, "purge") && name && !daemon_find(d, name)) {
        purge_kept(r, name);
        return;
    }
    n = network_arg(r, "network");
    op = n ? op_new(r, n) : NULL;
    if (!op)
        return;
    op->purge = flag_arg(r, "purge");
    network_leave(n);
    op_start_timer(op, on_leave_look, COMMAND_LEAVE_MAX_MS, COMMAND_LOOK_MS);
}

/* --- lookup, ping, why --- */

static bool start_lookup(struct request *r, struct op *op, const char *who,
                         void (*done)(void *ctx, const struct node_lookup_result *result))
{
    int rc = node_lookup(network_enter(op->network), who, done, op);

    if (rc == 0)
        return true;
    op->request = NULL;
    op_free(op);
    if (rc == -ERR_FORMAT)
        request_fail(r, PROTOCOL_USAGE, "\"%s\" is no host name, address or node id", who);
    else
        request_fail(r, PROTOCOL_FAILED, "cannot ask the DHT: %s", err_text(rc));
    return false;
}

static void on_looked_up(void *ctx, const struct node_lookup_result *result)
{
    struct op *op = ctx;

    if (result->timed_out)
        op_fail(op, PROTOCOL_TIMEOUT, "the DHT did not answer in time");
    else
        op_done(op, status_lookup_json(result));
}

static void run_lookup(struct request *r)
{
    const char *who = who_arg(r);
    struct network *n;
    struct op *op;

    if (!who || !node_arg(r, &n))
        return;
    op = op_new(r, n);
    if (op)
        start_lookup(r, op, who, on_looked_up);
}

/* By which path the ping went: over our session with the peer, or from member to member. */
static json_t *ping_way_json(struct op *op, const struct overlay_ping_result *p)
{
    if (p->answered && p->direct)
        return status_way_json(op->network, &op->peer);
    return json_pack("{s:o, s:n, s:n, s:n}", "path",
                     p->answered ? json_string("overlay") : json_null(), "endpoint", "relay",
                     "relay_hostname");
}

static json_t *ping_json(struct op *op, const struct overlay_ping_result *p)
{
    struct node *node = network_enter(op->network);
    char id[ID_TEXT_SIZE], hostname[NODE_HOSTNAME_SIZE] = "", ipv4_text[ADDR_TEXT_SIZE];
    struct addr ipv4 = {0};
    json_t *o, *way;

    if (op->looked_up.found) {
        strcpy(hostname, op->looked_up.hostname);
        ipv4 = op->looked_up.ipv4;
    } else {
        (void)!node_peer_facts(node, &op->peer, hostname, &ipv4);
    }
    o = json_pack("{s:s, s:s, s:o, s:o, s:b, s:o, s:o}", "schema", "peal.ping/1", "id",
                  id_text(&op->peer, id), "hostname",
                  hostname[0] ? json_string(hostname) : json_null(), "ipv4",
                  ipv4.family ? json_string(addr_text(&ipv4, ipv4_text)) : json_null(), "answered",
                  p->answered, "hops", p->answered ? json_integer(p->hops) : json_null(), "rtt_ms",
                  p->answered ? json_real((double)p->rtt_us / 1000) : json_null());
    way = ping_way_json(op, p);
    json_object_update(o, way);
    json_decref(way);
    return o;
}

static void on_ping(void *ctx, const struct overlay_ping_result *p)
{
    struct op *op = ctx;

    op_done(op, ping_json(op, p));
}

static void start_ping(struct op *op)
{
    struct node *node = network_enter(op->network);
    int rc = node ? overlay_ping(node_overlay(node), &op->peer, OVERLAY_EXACT,
                                 MSEC(op->ping_timeout_ms), 0, on_ping, op)
                  : -ERR_BAD_STATE;

    if (rc)
        op_fail(op, PROTOCOL_FAILED, err_text(rc));
}

static void explain_not_found(struct op *op, const struct node_lookup_result *result)
{
    if (result->timed_out)
        op_fail(op, PROTOCOL_TIMEOUT, "the DHT did not answer in time");
    else
        op_fail(op, PROTOCOL_NOT_FOUND, "no member has that name, address or id");
}

static void on_ping_target(void *ctx, const struct node_lookup_result *result)
{
    struct op *op = ctx;

    op->looked_up = *result;
    op->peer = result->node;
    if (result->found)
        start_ping(op);
    else
        explain_not_found(op, result);
}

static void run_ping(struct request *r)
{
    const char *who = who_arg(r);
    struct network *n;
    struct op *op;

    if (!who || !node_arg(r, &n) || !(op = op_new(r, n)))
        return;
    op->ping_timeout_ms =
        (unsigned)number_arg(r, "timeout_ms", COMMAND_PING_TIMEOUT_MAX_MS, COMMAND_PING_TIMEOUT_MS);
    if (status_find_prefix(n, who, &op->peer))
        start_ping(op);
    else
        start_lookup(r, op, who, on_ping_target);
}

static void tell_why(struct op *op)
{
    const struct id *self = network_id(op->network);
    json_t *result;

    if (self && id_eq(self, &op->peer)) {
        op_fail(op, PROTOCOL_FAILED, "that is this machine itself: no path leads there");
        return;
    }
    result = status_why_json(op->daemon, op->network, &op->peer);
    if (result)
        op_done(op, result);
    else
        op_fail(op, PROTOCOL_NOT_FOUND,
                "no session with it now, and no refused one: sessions are opened when packets go "
                "there, as by ping(8)");
}

static void on_why_target(void *ctx, const struct node_lookup_result *result)
{
    struct op *op = ctx;

    op->peer = result->node;
    if (result->found && network_node(op->network))
        tell_why(op);
    else
        explain_not_found(op, result);
}

static void run_why(struct request *r)
{
    const char *who = who_arg(r);
    struct network *n;
    struct op *op;

    if (!who || !node_arg(r, &n) || !(op = op_new(r, n)))
        return;
    if (status_find_prefix(n, who, &op->peer))
        tell_why(op);
    else
        start_lookup(r, op, who, on_why_target);
}

/* --- members, crawl --- */

static void on_member(void *ctx, const struct node_member *m)
{
    struct op *op = ctx;

    if (op->request)
        request_item(op->request, op->crawl ? status_crawl_json(m) : status_member_json(m));
}

static void on_walk_end(void *ctx, uint32_t nodes, uint32_t inconsistent)
{
    struct op *op = ctx;

    op_done(op, json_pack("{s:s, s:I, s:I}", "network", network_name(op->network), "nodes",
                          (json_int_t)nodes, "inconsistent", (json_int_t)inconsistent));
}

static void start_walk(struct request *r, bool crawl)
{
    struct network *n;
    struct node *node = node_arg(r, &n);
    struct op *op = node ? op_new(r, n) : NULL;
    int rc;

    if (!op)
        return;
    op->crawl = crawl;
    rc = node_members(node, on_member, on_walk_end, op);
    if (rc == -ERR_BAD_STATE)
        op_fail(op, PROTOCOL_FAILED,
                "this machine is not on the group's ring yet; see peal status");
    else if (rc)
        op_fail(op, PROTOCOL_FAILED, err_text(rc));
}

static void run_members(struct request *r)
{
    start_walk(r, false);
}

static void run_crawl(struct request *r)
{
    start_walk(r, true);
}

static const struct command commands[] = {
    {"status", COMMAND_READ, run_status},
    {"peers", COMMAND_READ, run_peers},
    {"members", COMMAND_READ, run_members},
    {"ping", COMMAND_READ, run_ping},
    {"why", COMMAND_READ, run_why},
    {"lookup", COMMAND_READ, run_lookup},
    {"netcheck", COMMAND_READ, run_netcheck},
    {"crawl", COMMAND_READ, run_crawl},
    {"metrics", COMMAND_READ, run_metrics},
    {"gateway_list", COMMAND_READ, run_gateway_list},
    {"gateway_off", COMMAND_CHANGE, run_gateway_off},
    {"join", COMMAND_CHANGE, run_join},
    {"leave", COMMAND_CHANGE, run_leave},
    {"reload", COMMAND_CHANGE, run_reload},
};

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}
