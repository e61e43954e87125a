#include "daemon/uv.h"

#include "daemon/frame.h"
#include "daemon/log.h"
#include "daemon/network.h"
#include "daemon/tcp.h"
#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "overlay/stun.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    HOST_ITEMS_PER_TURN = 256,      /* then timers and commands have their turn */
    HOST_WALL_KNOWN_S = 1704067200, /* 2024: an earlier date is a clock that nobody set */
    HOST_WALL_JUMP_S = 60,
    HOST_LATE_S = 3,           /* no load makes a timer so late */
    HANDSHAKE_RECEIVER_AT = 8, /* overlay/handshake.h; other packets have their index at 4 */
    INDEX_AT = 4,
    OUTBOX_BYTES = 64 * 1024, /* full: published and sent at once */
};

/* Packets of this turn. They leave after the forwarding table was published: an answer that makes
 * the far end send data must not arrive before the workers know the key that opens it. */
struct outbox {
    size_t used;
    uint8_t bytes[OUTBOX_BYTES]; /* each: struct outbox_head, then the packet */
};

struct outbox_head {
    struct endpoint to; /* by UDP, */
    uint32_t conn;      /* or over this connection; else 0 */
    size_t len;
};

struct host {
    uv_loop_t *loop;
    struct plane *plane;
    struct tcp *tcp;
    int udp_fd, timer_fd;
    unsigned workers;
    uv_poll_t plane_poll, timer_poll;
    uv_prepare_t before_sleep;
    struct network *networks[NETWORKS_MAX];
    uint8_t hash_key[16];
    usec armed_us;       /* what timer_fd is set to */
    usec due_us;         /* when it is to fire: that, or the time of setting it */
    usec suspended_us;   /* boot clock ahead of the monotonic one */
    int64_t wall_boot_s; /* wall clock ahead of the boot clock */
    bool clock_started;
    usec slept_us; /* nothing ran here for so long; seen since the last turn */
    bool restored; /* wall and boot clock jumped apart */
    bool forward_dirty;
    struct links_outside outside;
    bool outside_known;
    uint64_t dropped_no_network, dropped_stun, dropped_inside;
    struct env env; /* stun's */
    struct stun *stun;
    struct outbox outbox;
};

static usec clock_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (usec)t.tv_sec * 1000000 + (usec)t.tv_nsec / 1000;
}

usec host_now(struct host *h)
{
    return clock_us(CLOCK_BOOTTIME);
}

static void notice_sleep(struct host *h, usec slept_us)
{
    h->slept_us = h->slept_us > slept_us ? h->slept_us : slept_us;
}

/* CLOCK_BOOTTIME runs on through a suspend, CLOCK_MONOTONIC does not. */
static void notice_suspend(struct host *h, usec boot_us)
{
    usec suspended = boot_us - usec_min(boot_us, clock_us(CLOCK_MONOTONIC));

    if (h->clock_started && suspended > h->suspended_us + SEC(1))
        notice_sleep(h, suspended - h->suspended_us);
    h->suspended_us = suspended;
}

/* A machine that was halted from outside, or this process alone, has both clocks gone on: then the
 * timer is late. */
static void notice_late(struct host *h, usec boot_us)
{
    if (h->armed_us == USEC_NEVER || boot_us < h->due_us + SEC(HOST_LATE_S))
        return;
    notice_sleep(h, boot_us - h->due_us);
    h->armed_us = USEC_NEVER;
}

/* A machine restored from an image has its old boot clock and the world's wall clock. Its keys'
 * counters may have been used since, so nothing of its sessions may be used again. */
static void notice_restore(struct host *h, usec boot_us, int64_t wall_s)
{
    int64_t ahead = wall_s - (int64_t)(boot_us / 1000000);
    int64_t jump = ahead - h->wall_boot_s;

    if (h->clock_started && wall_s - jump >= HOST_WALL_KNOWN_S &&
        (jump > HOST_WALL_JUMP_S || jump < -HOST_WALL_JUMP_S)) {
        log_write(LOG_LEVEL_WARN, NULL, "the clock jumped by %lld s: all sessions start anew",
                  (long long)jump);
        h->restored = true;
    }
    h->wall_boot_s = ahead;
}

void host_clock(struct host *h, struct env *env)
{
    env->now_us = host_now(h);
    env->wall_s = time(NULL);
    env->wall_known = env->wall_s >= HOST_WALL_KNOWN_S;
    env->level = log_get_level();
    notice_suspend(h, env->now_us);
    notice_late(h, env->now_us);
    notice_restore(h, env->now_us, env->wall_s);
    h->clock_started = true;
}

static void host_random(void *host, void *buf, size_t len)
{
    randombytes_buf(buf, len);
}

void host_env(struct host *h, struct env *env)
{
    memset(env, 0, sizeof *env);
    memcpy(env->hash_key, h->hash_key, sizeof env->hash_key);
    env->random = host_random;
    host_clock(h, env);
}

unsigned host_slot(const uint8_t *pkt, size_t len)
{
    size_t at = pkt[0] == PACKET_HANDSHAKE ? HANDSHAKE_RECEIVER_AT : INDEX_AT;

    return len > at ? pkt[at] : 0;
}

/* The network whose receiver index the packet carries, or NULL. */
static struct network *by_index(const struct host *h, const uint8_t *pkt, size_t len)
{
    unsigned slot = host_slot(pkt, len);

    return slot >= 1 && slot <= NETWORKS_MAX ? h->networks[slot - 1] : NULL;
}

/* A stranger's first message names no receiver: it is whose group key fits its MAC. */
static void offer(struct host *h, const struct plane_item *item)
{
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i] && network_packet(h->networks[i], item))
            return;
    }
    h->dropped_no_network++;
}

void host_set_outside(struct host *h, const struct links_outside *outside)
{
    h->outside_known = outside != NULL;
    if (outside)
        h->outside = *outside;
}

static bool on_outside_subnet(const struct host *h, const struct addr *a)
{
    for (size_t i = 0; i < h->outside.subnets_count; i++) {
        if (net_contains(&h->outside.subnets[i], a))
            return true;
    }
    return false;
}

/* A group's own address, unless a LAN of this machine (which the kernel prefers) has it too. */
static bool is_inside(const struct host *h, const struct addr *a)
{
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i] && network_contains(h->networks[i], a))
            return !on_outside_subnet(h, a);
    }
    return false;
}

static bool has_family(const struct host *h, uint8_t family)
{
    for (size_t i = 0; i < h->outside.subnets_count; i++) {
        if (h->outside.subnets[i].addr.family == family)
            return true;
    }
    return false;
}

static bool may_send_to(const struct host *h, const struct addr *a)
{
    return !is_inside(h, a) &&
           (!h->outside_known || addr_is_loopback(a) || has_family(h, a->family));
}

static void packet(struct host *h, const struct plane_item *item)
{
    const uint8_t *pkt = item->bytes;
    struct network *n;

    if (item->len < 2 || (pkt[0] < PACKET_HANDSHAKE && pkt[0] > STUN_FIRST_BYTE_MAX)) {
        h->dropped_stun++;
        return;
    }
    if (is_inside(h, &item->from.addr)) {
        h->dropped_inside++;
        return;
    }
    if (pkt[0] <= STUN_FIRST_BYTE_MAX) {
        host_clock(h, &h->env);
        stun_input(h->stun, &item->from, pkt, item->len);
        return;
    }
    if (pkt[0] == PACKET_HANDSHAKE && pkt[1] == 1) {
        offer(h, item);
        return;
    }
    n = by_index(h, pkt, item->len);
    if (n)
        network_packet(n, item);
    else
        h->dropped_no_network++;
}

/* --- TCP --- */

static bool offer_tcp(struct host *h, uint32_t conn, const struct endpoint *from, uint8_t *pkt,
                      size_t len)
{
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i] && network_tcp_packet(h->networks[i], conn, from, pkt, len))
            return true;
    }
    return false;
}

static bool on_tcp_packet(void *ctx, uint32_t conn, const struct endpoint *from, uint8_t *pkt,
                          size_t len)
{
    struct host *h = ctx;
    struct network *n;

    if (len < 2)
        return false;
    if (is_inside(h, &from->addr)) {
        h->dropped_inside++;
        return false;
    }
    if (pkt[0] == PACKET_HANDSHAKE && pkt[1] == 1)
        return offer_tcp(h, conn, from, pkt, len);
    n = by_index(h, pkt, len);
    return n && network_tcp_packet(n, conn, from, pkt, len);
}

static void on_tcp_opened(void *ctx, unsigned owner, uint32_t conn)
{
    struct host *h = ctx;

    if (h->networks[owner])
        network_tcp_opened(h->networks[owner], conn);
    else
        tcp_close(h->tcp, conn);
}

static void on_tcp_closed(void *ctx, uint32_t conn)
{
    struct host *h = ctx;

    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            network_tcp_closed(h->networks[i], conn);
    }
}

static bool on_tcp_used(void *ctx, uint32_t conn)
{
    struct host *h = ctx;

    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i] && network_tcp_used(h->networks[i], conn))
            return true;
    }
    return false;
}

static const struct tcp_host tcp_host = {
    .packet = on_tcp_packet,
    .opened = on_tcp_opened,
    .closed = on_tcp_closed,
    .used = on_tcp_used,
};

struct tcp *host_tcp(struct host *h)
{
    return h->tcp;
}

uint32_t host_tcp_open(struct host *h, unsigned number, const struct endpoint *to)
{
    if (!may_send_to(h, &to->addr)) {
        h->dropped_inside++;
        return 0;
    }
    return tcp_open(h->tcp, number, to);
}

/* The plane lends the bytes until the next item; the node opens them in place. The connection may
 * have been closed since. */
static void from_stream(struct host *h, const struct plane_item *item)
{
    if (tcp_exists(h->tcp, item->conn))
        (void)on_tcp_packet(h, item->conn, &item->from, (uint8_t *)item->bytes, item->len);
}

static void dispatch(struct host *h, const struct plane_item *item)
{
    if (item->kind == PLANE_PACKET && item->conn)
        from_stream(h, item);
    else if (item->kind == PLANE_PACKET)
        packet(h, item);
    else if (item->kind == PLANE_STREAM_ENDED)
        tcp_ended(h->tcp, item->conn, item->flags != 0);
    else if (item->kind == PLANE_ROAMED && is_inside(h, &item->from.addr))
        h->dropped_inside++;
    else if (item->network < NETWORKS_MAX && h->networks[item->network])
        network_item(h->networks[item->network], item);
}

static void on_plane(uv_poll_t *poll, int status, int events)
{
    struct host *h = poll->data;
    struct plane_item item;

    for (unsigned i = 0; i < HOST_ITEMS_PER_TURN && plane_next(h->plane, &item); i++)
        dispatch(h, &item);
}

static void on_timer(uv_poll_t *poll, int status, int events)
{
    struct host *h = poll->data;
    uint64_t fired;

    if (read(h->timer_fd, &fired, sizeof fired) < 0)
        return; /* moved on meanwhile */
    host_clock(h, &h->env);
    h->armed_us = USEC_NEVER;
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            network_tick(h->networks[i]);
    }
    host_clock(h, &h->env);
    stun_tick(h->stun);
}

static void publish(struct host *h)
{
    struct forward *f = forward_new();
    bool ok = f != NULL;

    if (ok)
        forward_set_hash_key(f, h->hash_key);
    for (unsigned i = 0; ok && i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            ok = network_forward(h->networks[i], f) == 0;
    }
    if (ok) {
        plane_publish(h->plane, f);
        h->forward_dirty = false;
    } else {
        log_write(LOG_LEVEL_ERROR, NULL,
                  "no memory for a new forwarding table; keeping the old one");
        forward_free(f);
    }
}

static void flush(struct host *h)
{
    struct outbox *out = &h->outbox;

    if (h->forward_dirty)
        publish(h);
    for (size_t at = 0; at < out->used;) {
        struct outbox_head head;

        memcpy(&head, out->bytes + at, sizeof head);
        at += sizeof head;
        if (head.conn != 0)
            tcp_send(h->tcp, head.conn, out->bytes + at, head.len);
        else
            (void)!plane_send(h->plane, &head.to, out->bytes + at,
                              head.len); /* the plane counts losses */
        at += head.len;
    }
    out->used = 0;
    plane_flush(h->plane);
    tcp_flush(h->tcp);
}

static void arm(struct host *h, usec at_us)
{
    struct itimerspec t = {{0, 0}, {0, 0}};

    if (at_us == h->armed_us)
        return;
    h->armed_us = at_us;
    h->due_us = at_us > host_now(h) ? at_us : host_now(h);
    if (at_us != USEC_NEVER) {
        t.it_value.tv_sec = (time_t)(at_us / 1000000);
        t.it_value.tv_nsec = (long)(at_us % 1000000) * 1000;
        if (at_us == 0)
            t.it_value.tv_nsec = 1; /* zero would disarm it */
    }
    CHECK(timerfd_settime(h->timer_fd, TFD_TIMER_ABSTIME, &t, NULL) == 0);
}

void host_ask_again(struct host *h)
{
    host_clock(h, &h->env);
    stun_ask_again(h->stun);
}

static void outside_changed(struct host *h)
{
    bool restored = h->restored, long_gone = h->slept_us >= SEC(OVERLAY_GIVEN_UP_S);

    if (h->slept_us == 0 && !restored)
        return;
    if (h->slept_us > 0)
        log_write(LOG_LEVEL_INFO, NULL, "back after %llu s asleep: asking all peers anew",
                  (unsigned long long)(h->slept_us / SEC(1)));
    h->slept_us = 0;
    h->restored = false;
    host_ask_again(h);
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (!h->networks[i])
            continue;
        if (restored)
            network_restart(h->networks[i]);
        else if (long_gone)
            network_awoke(h->networks[i]);
        else
            network_outside_changed(h->networks[i]);
    }
}

/* The workers need not wait for this thread any more. */
static void all_left(struct host *h)
{
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            network_flushed(h->networks[i]);
    }
    plane_settle(h->plane);
}

static void on_before_sleep(uv_prepare_t *prepare)
{
    struct host *h = prepare->data;
    usec least;

    outside_changed(h);
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            network_turn(h->networks[i]);
    }
    least = stun_deadline(h->stun);
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            least = usec_min(least, network_deadline(h->networks[i]));
    }
    flush(h);
    all_left(h);
    arm(h, least);
}

static bool poll_start(struct host *h, uv_poll_t *poll, int fd, uv_poll_cb cb)
{
    poll->data = h;
    return uv_poll_init(h->loop, poll, fd) == 0 && uv_poll_start(poll, UV_READABLE, cb) == 0;
}

static void on_stun_send(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    host_send(ctx, to, pkt, len);
}

/* Every group goes out by the same port. */
static void on_stun_seen(void *ctx, const struct endpoint *server, const struct endpoint *us)
{
    struct host *h = ctx;

    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            network_observed(h->networks[i], server, us);
    }
}

static void on_stun_indication(void *ctx, const struct endpoint *from, const struct stun_id *id)
{
    struct host *h = ctx;

    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            network_indication(h->networks[i], from, id);
    }
}

static const struct stun_host stun_host = {
    .send = on_stun_send, .seen = on_stun_seen, .indication = on_stun_indication};

void host_add_stun(struct host *h, const struct endpoint *server)
{
    char text[ENDPOINT_TEXT_SIZE];

    host_clock(h, &h->env);
    if (stun_add_server(h->stun, server) != 0)
        log_write(LOG_LEVEL_WARN, NULL, "more than %d STUN servers: %s is not asked",
                  STUN_SERVERS_MAX, endpoint_text(server, text));
}

void host_ask_where(struct host *h, const struct endpoint *server)
{
    stun_ask(h->stun, server);
}

struct host *host_new(uv_loop_t *loop, int udp_fd, bool udp_is_v6, unsigned workers)
{
    const struct plane_config config = {
        .udp_fd = udp_fd, .udp_is_v6 = udp_is_v6, .workers = workers};
    struct host *h = calloc(1, sizeof *h);

    CHECK(h != NULL); /* at start, before anybody depends on us */
    h->loop = loop;
    h->udp_fd = udp_fd;
    h->workers = workers;
    h->armed_us = USEC_NEVER;
    randombytes_buf(h->hash_key, sizeof h->hash_key);
    host_env(h, &h->env);
    h->stun = stun_new(&h->env, &stun_host, h);
    CHECK(h->stun != NULL);
    h->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    CHECK(h->timer_fd >= 0);
    h->tcp = tcp_new(loop, &tcp_host, h);
    CHECK(h->tcp != NULL);
    h->plane = plane_new(&config);
    if (!h->plane) {
        tcp_free(h->tcp);
        log_write(LOG_LEVEL_ERROR, NULL, "cannot start the data plane: %s", strerror(errno));
        close(h->timer_fd);
        close(udp_fd);
        stun_free(h->stun);
        free(h);
        return NULL;
    }
    tcp_set_plane(h->tcp, h->plane);
    CHECK(poll_start(h, &h->plane_poll, plane_event_fd(h->plane), on_plane));
    CHECK(poll_start(h, &h->timer_poll, h->timer_fd, on_timer));
    uv_prepare_init(loop, &h->before_sleep);
    h->before_sleep.data = h;
    uv_prepare_start(&h->before_sleep, on_before_sleep);
    return h;
}

static void on_last_closed(uv_handle_t *handle)
{
    struct host *h = handle->data;

    plane_free(h->plane);
    stun_free(h->stun);
    close(h->timer_fd);
    close(h->udp_fd);
    free(h);
}

void host_free(struct host *h)
{
    flush(h);
    tcp_free(h->tcp);
    uv_close((uv_handle_t *)&h->plane_poll, NULL);
    uv_close((uv_handle_t *)&h->timer_poll, NULL);
    uv_close((uv_handle_t *)&h->before_sleep, on_last_closed);
}

void host_attach(struct host *h, unsigned number, struct network *n)
{
    CHECK(number < NETWORKS_MAX && !h->networks[number]);
    h->networks[number] = n;
    h->forward_dirty = true;
}

void host_detach(struct host *h, unsigned number)
{
    h->networks[number] = NULL;
    /* At once: the snapshot must not name what is about to be freed. */
    publish(h);
}

struct plane *host_plane(struct host *h)
{
    return h->plane;
}

unsigned host_workers(const struct host *h)
{
    return h->workers;
}

static void outbox_put(struct host *h, struct outbox_head head, const uint8_t *pkt)
{
    CHECK(sizeof head + head.len <= OUTBOX_BYTES);
    if (h->outbox.used + sizeof head + head.len > OUTBOX_BYTES)
        flush(h);
    memcpy(h->outbox.bytes + h->outbox.used, &head, sizeof head);
    memcpy(h->outbox.bytes + h->outbox.used + sizeof head, pkt, head.len);
    h->outbox.used += sizeof head + head.len;
}

void host_tcp_send(struct host *h, uint32_t conn, const uint8_t *pkt, size_t len)
{
    if (len <= FRAME_PACKET_MAX)
        outbox_put(h, (struct outbox_head){.conn = conn, .len = len}, pkt);
}

void host_tcp_close(struct host *h, uint32_t conn)
{
    flush(h);
    tcp_close(h->tcp, conn);
}

void host_send(struct host *h, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    if (!may_send_to(h, &to->addr)) {
        h->dropped_inside++;
        return;
    }
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (h->networks[i])
            network_sent(h->networks[i], &to->addr);
    }
    outbox_put(h, (struct outbox_head){.to = *to, .len = len}, pkt);
}

void host_forward_changed(struct host *h)
{
    h->forward_dirty = true;
}

bool host_counter(const struct host *h, size_t i, const char **name, uint64_t *value)
{
    static const char *const names[] = {"no_network", "stun", "inside"};
    uint64_t values[] = {h->dropped_no_network, h->dropped_stun, h->dropped_inside};

    for (int c = STUN_COUNT_MALFORMED; c < STUN_COUNT_MAX; c++)
        values[1] += stun_counted(h->stun, (enum stun_count)c);

    if (i < PLANE_DROP_COUNT) {
        *name = plane_drop_text((enum plane_drop)i);
        *value = plane_drops(h->plane, (enum plane_drop)i) +
                 (i == PLANE_DROP_TCP_QUEUE ? tcp_queue_full(h->tcp) : 0);
        return true;
    }
    i -= PLANE_DROP_COUNT;
    if (i >= ARRAY_LEN(names))
        return tcp_counter(h->tcp, i - ARRAY_LEN(names), name, value);
    *name = names[i];
    *value = values[i];
    return true;
}
