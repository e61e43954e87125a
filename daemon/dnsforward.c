#include "daemon/dnsforward.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FORWARD_MAX = 64,
    FORWARD_TIMEOUT_MS = 5000, /* as resolv.conf(5) */
    FORWARD_SWEEP_MS = 1000,
    FORWARD_REPLY_MAX = 4096, /* EDNS buffer size that servers honour */
    DNS_HEADER_LEN = 12,
};

struct query {
    struct dnsforward *f;
    struct query *next; /* younger */
    uv_poll_t poll;
    int fd;
    uint64_t until_ms; /* of the loop's clock */
    uint8_t id[2];
};

struct dnsforward {
    uv_loop_t *loop;
    struct query *oldest;
    size_t count;
    uv_timer_t sweep;
    void (*reply)(void *ctx, const uint8_t *bytes, size_t len);
    void *ctx;
};

static void on_query_closed(uv_handle_t *handle)
{
    struct query *q = handle->data;

    close(q->fd);
    free(q);
}

static void end(struct query *q)
{
    struct dnsforward *f = q->f;
    struct query **at = &f->oldest;

    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    f->count--;
    uv_close((uv_handle_t *)&q->poll, on_query_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct query *q = poll->data;
    struct dnsforward *f = q->f;
    uint8_t reply[FORWARD_REPLY_MAX];
    ssize_t len = recv(q->fd, reply, sizeof reply, 0);

    if (len >= 0 && (len < DNS_HEADER_LEN || memcmp(reply, q->id, sizeof q->id) != 0))
        return; /* not the answer to this; go on waiting */
    end(q);
    if (len >= 0)
        f->reply(f->ctx, reply, (size_t)len);
}

static void on_sweep(uv_timer_t *timer)
{
    struct dnsforward *f = timer->data;

    while (f->oldest && f->oldest->until_ms <= uv_now(f->loop))
        end(f->oldest);
    if (!f->oldest)
        uv_timer_stop(timer);
}

struct dnsforward *dnsforward_new(uv_loop_t *loop,
                                  void (*reply)(void *ctx, const uint8_t *bytes, size_t len),
                                  void *ctx)
{
    struct dnsforward *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->loop = loop;
    f->reply = reply;
    f->ctx = ctx;
    uv_timer_init(loop, &f->sweep);
    f->sweep.data = f;
    return f;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void dnsforward_free(struct dnsforward *f)
{
    if (!f)
        return;
    while (f->oldest)
        end(f->oldest);
    uv_close((uv_handle_t *)&f->sweep, on_closed);
}

static int connect_to(const struct endpoint *server)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(server->port)};
    bool is_v4 = server->addr.family == 4;
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    memcpy(&v4.sin_addr, server->addr.b, 4);
    memcpy(&v6.sin6_addr, server->addr.b, 16);
    if (fd >= 0 && connect(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
                           is_v4 ? sizeof v4 : sizeof v6) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void dnsforward_query(struct dnsforward *f, const struct endpoint *server, const uint8_t *query,
                      size_t len)
{
    struct query **last = &f->oldest;
    struct query *q;
    int fd;

    if (len < DNS_HEADER_LEN)
        return;
    if (f->count == FORWARD_MAX)
        end(f->oldest);
    fd = connect_to(server);
    q = fd >= 0 ? calloc(1, sizeof *q) : NULL;
    if (!q || send(fd, query, len, 0) < 0 || uv_poll_init(f->loop, &q->poll, fd) < 0) {
        free(q);
        if (fd >= 0)
            close(fd);
        return; /* the client asks again */
    }
    q->f = f;
    q->fd = fd;
    q->until_ms = uv_now(f->loop) + FORWARD_TIMEOUT_MS;
    memcpy(q->id, query, sizeof q->id);
    q->poll.data = q;
    uv_poll_start(&q->poll, UV_READABLE, on_readable);
    while (*last)
        last = &(*last)->next;
    *last = q;
    f->count++;
    if (!uv_is_active((uv_handle_t *)&f->sweep))
        uv_timer_start(&f->sweep, on_sweep, FORWARD_SWEEP_MS, FORWARD_SWEEP_MS);
}
