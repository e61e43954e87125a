#include "daemon/resolve.h"

#include "daemon/log.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RESOLVE_PER_NAME = 4,
    RESOLVE_RETRY_MS = 2000,
    RESOLVE_RETRY_MAX_MS = 60000,
    RESOLVE_TICK_MS = 1000,
};

struct question {
    struct resolver *r; /* NULL: the resolver is gone, forget the answer */
    uv_getaddrinfo_t request;
    uint16_t port;
};

struct name {
    struct question *asked; /* NULL: not under way */
    bool done;
    int status;                /* of the last answer; 0: none failed */
    unsigned wait_ms, left_ms; /* before the next question */
};

struct resolver {
    uv_loop_t *loop;
    uv_timer_t timer;
    char group[LABEL_MAX + 1]; /* for the log; copied, the network may go first */
    struct hostports list;
    struct name names[HOSTPORTS_MAX];
    void (*found)(void *ctx, const struct endpoint *ep);
    void *ctx;
};

static bool endpoint_of(const struct sockaddr *sa, uint16_t port, struct endpoint *out)
{
    memset(out, 0, sizeof *out);
    out->port = port;
    if (sa->sa_family == AF_INET)
        out->addr = addr_v4(ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr));
    else if (sa->sa_family == AF_INET6)
        out->addr = addr_v6(((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr);
    return out->addr.family != 0;
}

static void failed(struct resolver *r, size_t i, int status)
{
    struct name *n = &r->names[i];

    n->status = status;
    /* Said once per name; after that it is a machine without network, not news. */
    if (n->wait_ms == 0)
        log_write(LOG_LEVEL_WARN, r->group[0] ? r->group : NULL,
                  "cannot resolve %s: %s; asking again", r->list.v[i].host, uv_strerror(status));
    n->wait_ms = n->wait_ms ? n->wait_ms * 2 : RESOLVE_RETRY_MS;
    if (n->wait_ms > RESOLVE_RETRY_MAX_MS)
        n->wait_ms = RESOLVE_RETRY_MAX_MS;
    n->left_ms = n->wait_ms;
}

static void on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct question *q = request->data;
    struct resolver *r = q->r;
    struct endpoint ep;
    unsigned count = 0;
    size_t i = 0;

    while (r && r->names[i].asked != q)
        i++;
    if (r) {
        r->names[i].asked = NULL;
        r->names[i].done = status == 0;
        if (status)
            failed(r, i, status);
    }
    for (struct addrinfo *a = list; r && a && count < RESOLVE_PER_NAME; a = a->ai_next) {
        if (!endpoint_of(a->ai_addr, q->port, &ep))
            continue;
        r->found(r->ctx, &ep);
        count++;
    }
    uv_freeaddrinfo(list);
    free(q);
}

static void ask(struct resolver *r, size_t i)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct question *q = calloc(1, sizeof *q);

    if (!q) {
        failed(r, i, UV_ENOMEM);
        return;
    }
    q->r = r;
    q->port = r->list.v[i].port;
    q->request.data = q;
    if (uv_getaddrinfo(r->loop, &q->request, on_answer, r->list.v[i].host, NULL, &hints) == 0) {
        r->names[i].asked = q;
    } else {
        free(q);
        failed(r, i, UV_EAI_FAIL);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct resolver *r = timer->data;
    bool waiting = false;

    for (size_t i = 0; i < r->list.count; i++) {
        struct name *n = &r->names[i];

        if (n->done || n->asked)
            continue;
        n->left_ms -= n->left_ms < RESOLVE_TICK_MS ? n->left_ms : RESOLVE_TICK_MS;
        if (n->left_ms == 0)
            ask(r, i);
    }
    for (size_t i = 0; i < r->list.count; i++)
        waiting |= !r->names[i].done;
    if (!waiting)
        uv_timer_stop(timer);
}

struct resolver *resolver_new(uv_loop_t *loop, const char *group,
                              void (*found)(void *ctx, const struct endpoint *ep), void *ctx)
{
    struct resolver *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->loop = loop;
    snprintf(r->group, sizeof r->group, "%s", group ? group : "");
    r->found = found;
    r->ctx = ctx;
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;
    return r;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->list.count; i++) {
        if (!r->names[i].asked)
            continue;
        r->names[i].asked->r = NULL;
        uv_cancel((uv_req_t *)&r->names[i].asked->request);
    }
    uv_close((uv_handle_t *)&r->timer, on_closed);
}

void resolver_add(struct resolver *r, const struct hostports *names)
{
    struct endpoint ep;

    for (size_t i = 0; i < names->count; i++) {
        size_t at = r->list.count;

        if (hostports_has(&r->list, &names->v[i]) || !hostports_add(&r->list, &names->v[i]))
            continue;
        r->names[at].done = hostport_literal(&names->v[i], &ep);
        if (r->names[at].done) {
            r->found(r->ctx, &ep);
            continue;
        }
        ask(r, at);
        uv_timer_start(&r->timer, on_tick, RESOLVE_TICK_MS, RESOLVE_TICK_MS);
    }
}

void resolver_retry(struct resolver *r)
{
    for (size_t i = 0; i < r->list.count; i++)
        r->names[i].left_ms = 0;
}

bool resolver_failure_next(const struct resolver *r, size_t *i, struct resolver_failure *out)
{
    for (; r && *i < r->list.count; (*i)++) {
        const struct name *n = &r->names[*i];

        if (n->done || n->status == 0)
            continue;
        hostport_text(&r->list.v[*i], out->name);
        out->why = uv_strerror(n->status);
        out->next_s = n->asked ? 0 : n->left_ms / 1000.0;
        (*i)++;
        return true;
    }
    return false;
}
