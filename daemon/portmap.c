#include "daemon/portmap.h"

#include "daemon/file.h"
#include "daemon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PORTMAP_LINE_MAX = 128,
    PORTMAP_SOON_MS = 500, /* addresses and routes rarely change alone */
};

/* One run of the helper. Outlives the portmap that started it. */
struct run {
    struct portmap *owner; /* NULL: nobody listens any more */
    uv_process_t process;
    uv_pipe_t in, out;
    unsigned handles;
    char line[PORTMAP_LINE_MAX];
    size_t len;
};

struct portmap {
    uv_loop_t *loop;
    uint16_t port, tcp[PORTMAP_TCP_MAX]; /* tcp: 0: none */
    struct run *run;                     /* NULL: none */
    uv_timer_t timer;
    struct endpoint mapped;
    void (*changed)(void *ctx, const struct endpoint *mapped);
    void *ctx;
};

static void start(struct portmap *p);

static void set_mapped(struct portmap *p, const struct endpoint *ep)
{
    if (endpoint_eq(ep, &p->mapped))
        return;
    p->mapped = *ep;
    p->changed(p->ctx, ep);
}

static void on_timer(uv_timer_t *timer)
{
    start(timer->data);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct run *r = handle->data;

    if (--r->handles == 0)
        free(r);
}

/* Closing its standard input is how the helper is told to end. */
static void let_go(struct run *r)
{
    r->owner = NULL;
    if (!uv_is_closing((uv_handle_t *)&r->in))
        uv_close((uv_handle_t *)&r->in, on_handle_closed);
}

static void on_exit_of(uv_process_t *process, int64_t status, int number)
{
    static const struct endpoint none;
    struct run *r = process->data;
    struct portmap *p = r->owner;

    let_go(r);
    uv_close((uv_handle_t *)&r->out, on_handle_closed);
    uv_close((uv_handle_t *)&r->process, on_handle_closed);
    if (!p)
        return;
    p->run = NULL;
    set_mapped(p, &none);
    uv_timer_start(&p->timer, on_timer, PORTMAP_AGAIN_S * 1000, 0);
}

static void take_line(struct portmap *p, const char *line)
{
    char what[4], where[ENDPOINT_TEXT_SIZE], by[16];
    bool tcp;
    struct endpoint ep;

    /* The widths are those of the arrays. "none": its exit follows. */
    if (sscanf(line, "%3s %55s %15s", what, where, by) != 3 || !endpoint_parse(&ep, where))
        return;
    tcp = strcmp(what, "tcp") == 0;
    log_write(LOG_LEVEL_INFO, NULL, "the router maps %s%s to us (%s)", tcp ? "TCP " : "", where,
              by);
    if (!tcp)
        set_mapped(p, &ep);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct run *r = handle->data;

    if (r->len == sizeof r->line - 1)
        r->len = 0; /* no line of ours is so long */
    *buf = uv_buf_init(r->line + r->len, (unsigned)(sizeof r->line - 1 - r->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct run *r = stream->data;
    char *end;

    if (n < 0) {
        uv_read_stop(stream);
        return;
    }
    r->len += (size_t)n;
    r->line[r->len] = '\0';
    while ((end = strchr(r->line, '\n')) != NULL) {
        *end = '\0';
        if (r->owner)
            take_line(r->owner, r->line);
        r->len -= (size_t)(end + 1 - r->line);
        memmove(r->line, end + 1, r->len + 1);
    }
}

static int spawn(struct run *r)
{
    char path[FILE_HELPER_SIZE], ports[1 + PORTMAP_TCP_MAX][8];
    char *args[2 + PORTMAP_TCP_MAX + 1] = {path, ports[0]};
    size_t count = 2;
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&r->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&r->out},
        {.flags = UV_IGNORE}, /* its libraries print that there is no way to a router */
    };
    uv_process_options_t options = {
        .file = path, .args = args, .stdio = stdio, .stdio_count = 3, .exit_cb = on_exit_of};

    snprintf(ports[0], sizeof ports[0], "%u", r->owner->port);
    for (size_t i = 0; i < PORTMAP_TCP_MAX; i++) {
        if (r->owner->tcp[i] == 0)
            continue;
        snprintf(ports[1 + i], sizeof ports[1 + i], "%u", r->owner->tcp[i]);
        args[count++] = ports[1 + i];
    }
    file_helper(path, "peal-portmap");
    return uv_spawn(r->owner->loop, &r->process, &options);
}

static void start(struct portmap *p)
{
    struct run *r = calloc(1, sizeof *r);
    int rc;

    if (!r)
        return;
    r->owner = p;
    r->handles = 3;
    r->process.data = r->in.data = r->out.data = r;
    uv_pipe_init(p->loop, &r->in, 0);
    uv_pipe_init(p->loop, &r->out, 0);
    p->run = r;
    rc = spawn(r);
    if (rc == 0) {
        uv_read_start((uv_stream_t *)&r->out, on_alloc, on_read);
        return;
    }
    log_write(LOG_LEVEL_WARN, NULL, "no port mapping: cannot start peal-portmap: %s",
              uv_strerror(rc));
    on_exit_of(&r->process, 0, 0);
}

struct portmap *portmap_new(uv_loop_t *loop, uint16_t port, const uint16_t tcp[PORTMAP_TCP_MAX],
                            void (*changed)(void *ctx, const struct endpoint *mapped), void *ctx)
{
    struct portmap *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->loop = loop;
    p->port = port;
    memcpy(p->tcp, tcp, sizeof p->tcp);
    p->changed = changed;
    p->ctx = ctx;
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    start(p);
    return p;
}

void portmap_restart(struct portmap *p)
{
    if (!p)
        return;
    if (p->run)
        let_go(p->run);
    p->run = NULL;
    uv_timer_start(&p->timer, on_timer, PORTMAP_SOON_MS, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void portmap_free(struct portmap *p)
{
    if (!p)
        return;
    if (p->run)
        let_go(p->run);
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}
