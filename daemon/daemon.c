#include "daemon/daemon.h"

#include "daemon/control.h"
#include "daemon/file.h"
#include "daemon/helper.h"
#include "daemon/lan.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/netlink.h"
#include "daemon/network.h"
#include "daemon/notify.h"
#include "daemon/portmap.h"
#include "daemon/privilege.h"
#include "daemon/resolve.h"
#include "daemon/tcp.h"
#include "daemon/udp.h"
#include "daemon/uv.h"
#include "daemon/words.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DAEMON_STOP_MS = 2500, /* for goodbyes; overlay_left comes after 2 s at the latest */
    DAEMON_STOP_LOOK_MS = 10,
    DAEMON_CLOSE_TURNS = 4,
    DAEMON_CORES_PER_WORKER = 4,
};

/* --- Configuration --- */

int daemon_read_config(const struct daemon_options *options, struct config *out,
                       char why[CONFIG_WHY_SIZE])
{
    int rc;

    config_init(out);
    rc = config_read(out, options->config_path, why);
    if (rc == -ENOENT && !options->config_required)
        rc = 0;
    if (rc)
        return -ERR_FORMAT;
    if (options->state)
        snprintf(out->state, sizeof out->state, "%s", options->state);
    if (options->socket)
        snprintf(out->socket, sizeof out->socket, "%s", options->socket);
    if (options->port >= 0)
        out->port = (uint16_t)options->port;
    return 0;
}

struct changes {
    json_t *applied, *restart;
};

static void on_change(void *ctx, const char *key, bool live)
{
    struct changes *c = ctx;

    json_array_append_new(live ? c->applied : c->restart, json_string(key));
    log_write(live ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, NULL, "%s: %s", key,
              live ? "changed" : "changed in the file; takes effect when peald is restarted");
}

static void on_without_effect(void *ctx, const char *key)
{
    log_write(LOG_LEVEL_WARN, NULL, "%s is set, but has no effect in this version", key);
}

json_t *daemon_reload(struct daemon *d, char why[CONFIG_WHY_SIZE])
{
    struct changes changes = {json_array(), json_array()};
    struct config now;
    unsigned i = 0;

    notify_reloading();
    if (daemon_read_config(&d->options, &now, why)) {
        config_clear(&now);
        json_decref(changes.applied);
        json_decref(changes.restart);
        log_write(LOG_LEVEL_ERROR, NULL, "not reloaded: %s", why);
        notify_ready();
        return NULL;
    }
    config_changes(&d->config, &now, on_change, &changes);
    /* Where our files are cannot change under a running daemon. */
    strcpy(now.state, d->config.state);
    strcpy(now.socket, d->config.socket);
    config_clear(&d->config);
    d->config = now;
    log_set_level(d->config.log_level);
    control_set_operators(d->control, d->config.operators);
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++)
        network_reload(n);
    notify_ready();
    return json_pack("{s:s, s:o, s:o}", "schema", "peal.reload/1", "applied", changes.applied,
                     "needs_restart", changes.restart);
}

void daemon_hostname(char out[LABEL_MAX + 1])
{
    char name[NAME_MAX_LEN + 1] = "";

    (void)!gethostname(name, sizeof name - 1);
    hostname_label(out, name);
}

/* --- Networks --- */

struct network *daemon_next(const struct daemon *d, unsigned *number)
{
    for (; *number < DAEMON_NETWORKS_MAX; (*number)++) {
        if (d->networks[*number])
            return d->networks[*number];
    }
    return NULL;
}

struct network *daemon_find(const struct daemon *d, const char *name)
{
    unsigned i = 0;

    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (!network_public(n) && strcmp(network_name(n), name) == 0)
            return n;
    }
    return NULL;
}

struct network *daemon_public(const struct daemon *d)
{
    unsigned i = 0;

    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (network_public(n))
            return n;
    }
    return NULL;
}

static bool free_number(const struct daemon *d, unsigned *number)
{
    for (*number = 0; *number < DAEMON_NETWORKS_MAX; (*number)++) {
        if (!d->networks[*number])
            return true;
    }
    return false;
}

struct network *daemon_add(struct daemon *d, struct state_member *member)
{
    unsigned number;

    if (!free_number(d, &number))
        return NULL;
    d->networks[number] = network_new(d, number, member);
    lan_changed(d->lan);
    return d->networks[number];
}

void daemon_remove(struct daemon *d, struct network *n)
{
    d->networks[network_number(n)] = NULL;
    network_free(n);
}

static bool public_wanted(const struct daemon *d)
{
    unsigned i = 0;

    if (d->config.public_node != CONFIG_PUBLIC_AUTO)
        return d->config.public_node == CONFIG_PUBLIC_YES;
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (network_blob(n) && network_blob(n)->public_bootstrap.count > 0)
            return true;
    }
    return false;
}

static void start_public(struct daemon *d)
{
    struct secret fresh, seed;
    unsigned number;
    int rc;

    randombytes_buf(fresh.b, sizeof fresh.b);
    rc = state_public_key(d->config.state, &fresh, &seed);
    if (rc)
        log_write(LOG_LEVEL_ERROR, NULL, "cannot keep the public overlay's key: %s",
                  rc == -ERR_FORMAT ? "the file is malformed" : strerror(-rc));
    else if (free_number(d, &number))
        d->networks[number] = network_new_public(d, number, &seed);
    secret_clear(&fresh);
    secret_clear(&seed);
}

void daemon_check_public(struct daemon *d)
{
    struct network *n = daemon_public(d);

    if (public_wanted(d) && !n)
        start_public(d);
    else if (!public_wanted(d) && n)
        daemon_remove(d, n);
    else if (n)
        network_add_bootstraps(n);
}

static void start_group(struct daemon *d, const char *name)
{
    char why[STATE_WHY_SIZE];
    struct state_member member;
    unsigned number;

    if (!free_number(d, &number))
        return;
    if (state_load(&member, d->config.state, name, why) != 0)
        d->networks[number] = network_new_broken(d, number, name, why);
    else if (member.options.left)
        state_member_clear(&member);
    else
        d->networks[number] = network_new(d, number, &member);
}

static void start_groups(struct daemon *d)
{
    static char names[DAEMON_NETWORKS_MAX][LABEL_MAX + 1];
    size_t count = state_list(d->config.state, names, DAEMON_NETWORKS_MAX);

    for (size_t i = 0; i < count; i++)
        start_group(d, names[i]);
}

/* --- The machine's addresses --- */

static bool is_ours(void *ctx, int ifindex)
{
    const struct daemon *d = ctx;
    unsigned i = 0;

    for (const struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (network_ifindex(n) == ifindex)
            return true;
    }
    return false;
}

static bool read_endpoints(struct daemon *d)
{
    struct endpoint now[DAEMON_ENDPOINTS_MAX];
    struct links_outside outside;
    bool known = links_look(d->links, &outside), same;

    host_set_outside(d->host, known ? &outside : NULL);
    same = outside.addrs_count == d->endpoints_count;
    for (size_t i = 0; i < outside.addrs_count; i++) {
        now[i] = (struct endpoint){.addr = outside.addrs[i], .port = d->port};
        same = same && endpoint_eq(&now[i], &d->endpoints[i]);
    }
    memcpy(d->endpoints, now, outside.addrs_count * sizeof *now);
    d->endpoints_count = outside.addrs_count;
    return !same;
}

static void on_mapped(void *ctx, const struct endpoint *mapped)
{
    struct daemon *d = ctx;
    unsigned i = 0;

    d->mapped = *mapped;
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++)
        network_set_endpoints(n);
}

static void on_links_changed(void *ctx, bool routes)
{
    struct daemon *d = ctx;
    unsigned i = 0;
    bool addresses;

    if (d->stopping)
        return;
    addresses = read_endpoints(d);
    if (!addresses && !routes)
        return;
    log_write(LOG_LEVEL_INFO, NULL, "this machine's %s changed: asking all peers anew",
              addresses ? "addresses" : "default route");
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        network_set_endpoints(n);
        network_outside_changed(n);
    }
    lan_changed(d->lan);
    portmap_restart(d->portmap);
    host_ask_again(d->host);
    resolver_retry(d->stun_names);
}

/* --- Start and end --- */

static int lock_state(struct daemon *d)
{
    int rc = state_open(d->config.state);

    if (rc == -EWOULDBLOCK)
        log_write(LOG_LEVEL_ERROR, NULL, "another peald uses %s; stop it, or give this one --state",
                  d->config.state);
    else if (rc)
        log_write(LOG_LEVEL_ERROR, NULL, "cannot use the state directory %s: %s", d->config.state,
                  strerror(-rc));
    return rc;
}

static int start_control(struct daemon *d)
{
    char why[512];

    d->control = control_open(d, d->config.socket, d->config.operators, why);
    if (!d->control)
        log_write(LOG_LEVEL_ERROR, NULL, "%s", why);
    return d->control ? 0 : -1;
}

static unsigned worker_count(const struct daemon *d)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned workers = d->config.workers;

    if (workers == 0)
        workers = cores < DAEMON_CORES_PER_WORKER ? 1 : (unsigned)cores / DAEMON_CORES_PER_WORKER;
    return workers < CONFIG_WORKERS_MAX ? workers : CONFIG_WORKERS_MAX;
}

static int open_udp(struct daemon *d)
{
    struct udp udp;
    int rc = udp_open(&udp, d->config.port);

    if (rc) {
        log_write(LOG_LEVEL_ERROR, NULL, "cannot bind UDP port %u: %s%s", d->config.port,
                  strerror(-rc),
                  rc == -EADDRINUSE ? "; is another peald running? --port 0 takes any" : "");
        return -1;
    }
    d->port = udp.port;
    d->host = host_new(&d->loop, udp.fd, udp.is_v6, worker_count(d));
    return d->host ? 0 : -1;
}

static void on_proxy(void *ctx, const struct endpoint *ep)
{
    struct daemon *d = ctx;

    tcp_set_proxy(host_tcp(d->host), ep);
}

/* The port, or 0 when that cannot be. */
static uint16_t listen_tcp(struct daemon *d, uint16_t port)
{
    int rc = tcp_listen(host_tcp(d->host), port);

    if (rc == 0)
        return port;
    log_write(LOG_LEVEL_WARN, NULL,
              "cannot listen on TCP port %u: %s; members whom UDP does not reach cannot come in "
              "by it",
              port, uv_strerror(rc));
    return 0;
}

/* Without TCP there is still UDP: nothing here ends the daemon. */
static void open_tcp(struct daemon *d, uint16_t listening[PORTMAP_TCP_MAX])
{
    if (d->config.tcp)
        listening[0] = listen_tcp(d, d->port);
    if (d->config.tcp_port && !(d->config.tcp && d->config.tcp_port == d->port))
        listening[1] = listen_tcp(d, d->config.tcp_port);
    if (d->config.proxy.count == 0)
        return;
    d->proxy = resolver_new(&d->loop, "proxy", on_proxy, d);
    if (d->proxy)
        resolver_add(d->proxy, &d->config.proxy);
}

static int open_links(struct daemon *d)
{
    const struct links_host host = {.ours = is_ours, .changed = on_links_changed};

    d->links = links_new(&d->loop, &host, d);
    if (!d->links) {
        log_write(LOG_LEVEL_ERROR, NULL, "cannot open a netlink socket: %s", strerror(errno));
        return -1;
    }
    read_endpoints(d);
    return 0;
}

static int open_metrics(struct daemon *d)
{
    if (d->config.metrics.addr.family)
        d->metrics = metrics_open(d, &d->config.metrics);
    return d->config.metrics.addr.family && !d->metrics ? -1 : 0;
}

static void on_stun_server(void *ctx, const struct endpoint *server)
{
    struct daemon *d = ctx;

    host_add_stun(d->host, server);
}

static int open_stun(struct daemon *d)
{
    d->stun_names = resolver_new(&d->loop, NULL, on_stun_server, d);
    if (d->stun_names)
        resolver_add(d->stun_names, &d->config.stun);
    return d->stun_names ? 0 : -1;
}

int daemon_start(struct daemon *d, const struct daemon_options *options, struct config *config)
{
    uint16_t tcp[PORTMAP_TCP_MAX] = {0};

    memset(d, 0, sizeof *d);
    d->options = *options;
    d->config = *config;
    memset(config, 0, sizeof *config);
    uv_loop_init(&d->loop);
    uv_timer_init(&d->loop, &d->stop_timer);
    d->stop_timer.data = d;
    log_set_level(d->config.log_level);
    /* Files and names first, while we may; then powers go, then threads and sockets come. */
    if (lock_state(d) || start_control(d))
        return -1;
    privilege_drop(d->config.state);
    if (open_udp(d) || open_stun(d) || open_links(d) || open_metrics(d))
        return -1;
    open_tcp(d, tcp);
    d->started_us = host_now(d->host);
    config_without_effect(&d->config, on_without_effect, NULL);
    start_groups(d);
    if (d->config.port_mapping)
        d->portmap = portmap_new(&d->loop, d->port, tcp, on_mapped, d);
    if (d->config.lan_discovery)
        d->lan = lan_new(d);
    daemon_check_public(d);
    log_write(LOG_LEVEL_INFO, NULL, "peald %s on UDP port %u, %u worker%s", PEAL_VERSION, d->port,
              host_workers(d->host), host_workers(d->host) == 1 ? "" : "s");
    return 0;
}

static bool all_gone(const struct daemon *d)
{
    unsigned i = 0;

    for (const struct network *n; (n = daemon_next(d, &i)) != NULL; i++) {
        if (!network_gone(n))
            return false;
    }
    return true;
}

static void on_stop_look(uv_timer_t *timer)
{
    struct daemon *d = timer->data;

    if (all_gone(d) || uv_now(&d->loop) >= d->stop_at_ms)
        uv_stop(&d->loop);
}

void daemon_stop(struct daemon *d)
{
    unsigned i = 0;

    if (d->stopping) {
        uv_stop(&d->loop);
        return;
    }
    d->stopping = true;
    notify_stopping();
    log_write(LOG_LEVEL_INFO, NULL, "saying goodbye");
    helper_abort_all(d);
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++)
        network_stop(n);
    uv_update_time(&d->loop);
    d->stop_at_ms = uv_now(&d->loop) + DAEMON_STOP_MS;
    uv_timer_start(&d->stop_timer, on_stop_look, DAEMON_STOP_LOOK_MS, DAEMON_STOP_LOOK_MS);
}

bool daemon_close(struct daemon *d)
{
    unsigned i = 0;

    if (d->control)
        control_close(d->control);
    for (struct network *n; (n = daemon_next(d, &i)) != NULL; i++)
        daemon_remove(d, n);
    if (d->metrics)
        metrics_close(d->metrics);
    resolver_free(d->proxy);
    lan_free(d->lan);
    portmap_free(d->portmap);
    resolver_free(d->stun_names);
    if (d->links)
        links_free(d->links);
    if (d->host)
        host_free(d->host);
    uv_close((uv_handle_t *)&d->stop_timer, NULL);
    /* Closing callbacks, and what they close in turn. */
    for (unsigned turn = 0; turn < DAEMON_CLOSE_TURNS; turn++)
        uv_run(&d->loop, UV_RUN_NOWAIT);
    config_clear(&d->config);
    return uv_loop_close(&d->loop) == 0;
}
