#include "daemon/metrics.h"

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/status.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    METRICS_CLIENTS_MAX = 8,
    METRICS_BACKLOG = 4,
    METRICS_REQUEST_MAX = 4096,
    METRICS_LATE_MS = 5000,
};

struct scrape {
    struct metrics *metrics;
    struct scrape *next;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    unsigned closing;
    char request[METRICS_REQUEST_MAX];
    size_t len;
    char head[160];
    char *body;
};

struct metrics {
    struct daemon *daemon;
    uv_tcp_t listener;
    struct scrape *scrapes;
    size_t count;
};

static void on_scrape_closed(uv_handle_t *handle)
{
    struct scrape *s = handle->data;

    if (--s->closing > 0)
        return;
    free(s->body);
    free(s);
}

static void end(struct scrape *s)
{
    struct scrape **at = &s->metrics->scrapes;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->metrics->count--;
    s->closing = 2;
    uv_close((uv_handle_t *)&s->tcp, on_scrape_closed);
    uv_close((uv_handle_t *)&s->timer, on_scrape_closed);
}

static void on_late(uv_timer_t *timer)
{
    end(timer->data);
}

static void on_written(uv_write_t *write, int status)
{
    struct scrape *s = write->data;

    if (!uv_is_closing((uv_handle_t *)&s->tcp))
        end(s);
}

static void answer(struct scrape *s)
{
    bool get = strncmp(s->request, "GET ", 4) == 0;
    uv_buf_t bufs[2];

    uv_read_stop((uv_stream_t *)&s->tcp);
    s->body = get ? status_metrics(s->metrics->daemon) : strdup("only GET is answered\n");
    if (!s->body) {
        end(s);
        return;
    }
    snprintf(s->head, sizeof s->head,
             "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\n"
             "Connection: close\r\n\r\n",
             get ? "200 OK" : "405 Method Not Allowed", strlen(s->body));
    bufs[0] = uv_buf_init(s->head, (unsigned)strlen(s->head));
    bufs[1] = uv_buf_init(s->body, (unsigned)strlen(s->body));
    s->write.data = s;
    if (uv_write(&s->write, (uv_stream_t *)&s->tcp, bufs, 2, on_written) != 0)
        end(s);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct scrape *s = handle->data;

    *buf = uv_buf_init(s->request + s->len, (unsigned)(sizeof s->request - 1 - s->len));
}

/* UV_ENOBUFS: a request that is too long. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct scrape *s = stream->data;

    if (n < 0) {
        end(s);
        return;
    }
    s->len += (size_t)n;
    s->request[s->len] = '\0';
    if (strstr(s->request, "\r\n\r\n"))
        answer(s);
}

static void on_turned_away(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct metrics *m = listener->data;
    struct scrape *s = calloc(1, sizeof *s);

    if (!s)
        return;
    uv_tcp_init(listener->loop, &s->tcp);
    s->tcp.data = s->timer.data = s;
    if (uv_accept(listener, (uv_stream_t *)&s->tcp) != 0 || m->count == METRICS_CLIENTS_MAX) {
        uv_close((uv_handle_t *)&s->tcp, on_turned_away);
        return;
    }
    s->metrics = m;
    s->next = m->scrapes;
    m->scrapes = s;
    m->count++;
    uv_timer_init(listener->loop, &s->timer);
    uv_timer_start(&s->timer, on_late, METRICS_LATE_MS, 0);
    uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
}

static int listen_at(struct metrics *m, const struct endpoint *at)
{
    char text[ADDR_TEXT_SIZE];
    struct sockaddr_storage sa;
    int rc;

    addr_text(&at->addr, text);
    rc = at->addr.family == 4 ? uv_ip4_addr(text, at->port, (struct sockaddr_in *)&sa)
                              : uv_ip6_addr(text, at->port, (struct sockaddr_in6 *)&sa);
    if (rc == 0)
        rc = uv_tcp_bind(&m->listener, (struct sockaddr *)&sa, 0);
    return rc ? rc : uv_listen((uv_stream_t *)&m->listener, METRICS_BACKLOG, on_connection);
}

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

struct metrics *metrics_open(struct daemon *d, const struct endpoint *at)
{
    struct metrics *m = calloc(1, sizeof *m);
    char text[ENDPOINT_TEXT_SIZE];
    int rc;

    if (!m)
        return NULL;
    m->daemon = d;
    uv_tcp_init(&d->loop, &m->listener);
    m->listener.data = m;
    rc = listen_at(m, at);
    if (rc == 0)
        return m;
    log_write(LOG_LEVEL_ERROR, NULL, "cannot offer metrics at %s: %s", endpoint_text(at, text),
              uv_strerror(rc));
    metrics_close(m);
    return NULL;
}

void metrics_close(struct metrics *m)
{
    while (m->scrapes)
        end(m->scrapes);
    uv_close((uv_handle_t *)&m->listener, on_listener_closed);
}
