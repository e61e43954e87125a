#include "ca-web/http.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ca-web/credential.h"
#include "ca-web/log.h"
#include "overlay/core/err.h"

/* TLS 1.2 and 1.3, forward secrecy and AEAD only. */
static const char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-AES-256-CBC:"
                                     "-AES-128-CBC:-SHA1:%SERVER_PRECEDENCE";

/* A connection, in the list of its phase; each list is in the order of deadlines. */
enum link_phase {
    LINK_RECEIVING, /* from accept or the last answer, until a request is whole */
    LINK_SENDING,   /* a handler works on it, or its answer is under way */
    LINK_HELD,      /* the answer waits for an event: no deadline here, the handler has one */
    LINK_PHASES,
};

struct link {
    struct link *prev, *next;
    struct http *http;
    enum link_phase phase;
    int fd;
    bool cut;
    int64_t deadline_s;
};

struct list {
    struct link head; /* circular */
    size_t count;
};

struct http {
    struct MHD_Daemon *daemon;
    struct http_config config;
    struct credentials *credentials;
    pthread_mutex_t lock; /* of the lists, of `held` and of `exchanges` */
    struct list lists[LINK_PHASES];
    struct exchange *held;
    size_t exchanges; /* of which a line was read, and the answer is not gone */
    size_t connections_max;
    bool stopping;
};

/* One request and its answer; made with the request line, freed when the answer is gone. */
struct exchange {
    struct http *http;
    struct MHD_Connection *connection;
    struct link *link;
    char *uri;
    char *query; /* into uri */
    struct text body;
    bool begun, too_long, is_held;
    bool released;                /* is not held again */
    int64_t held_since_s;         /* 0: never */
    struct exchange *next, *prev; /* held */
};

static int64_t now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec;
}

static void list_take(struct list *lists, struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    lists[l->phase].count--;
}

static void list_put(struct list *lists, struct link *l)
{
    struct link *head = &lists[l->phase].head;

    l->next = head;
    l->prev = head->prev;
    head->prev->next = l;
    head->prev = l;
    lists[l->phase].count++;
}

static void link_enter(struct http *h, struct link *l, enum link_phase phase)
{
    pthread_mutex_lock(&h->lock);
    list_take(h->lists, l);
    l->phase = phase;
    l->deadline_s = now_s() + (phase == LINK_SENDING ? HTTP_SEND_S : HTTP_RECEIVE_S);
    list_put(h->lists, l);
    pthread_mutex_unlock(&h->lock);
}

/* Under the lock. libmicrohttpd owns the socket and closes it; it sees the end of the stream. */
static void link_cut(struct http *h, struct link *l)
{
    if (l->cut)
        return;
    l->cut = true;
    shutdown(l->fd, SHUT_RDWR);
    atomic_fetch_add(h->config.refused, 1);
}

static size_t link_count(const struct http *h)
{
    return h->lists[LINK_RECEIVING].count + h->lists[LINK_SENDING].count +
           h->lists[LINK_HELD].count;
}

/* The one that has been sending its request for the longest, if it was not cut already. */
static void make_room(struct http *h)
{
    struct link *head = &h->lists[LINK_RECEIVING].head;

    for (struct link *l = head->next; l != head; l = l->next) {
        if (l->cut)
            continue;
        link_cut(h, l);
        return;
    }
}

static void link_new(struct http *h, struct MHD_Connection *connection, void **socket_context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct link *l = calloc(1, sizeof *l);

    *socket_context = l;
    if (!l)
        return; /* on_uri gives such a connection up */
    l->http = h;
    l->fd = info->connect_fd;
    l->phase = LINK_RECEIVING;
    l->deadline_s = now_s() + HTTP_RECEIVE_S;
    pthread_mutex_lock(&h->lock);
    if (link_count(h) >= h->connections_max - h->connections_max / HTTP_CONNECTIONS_SPARE)
        make_room(h);
    list_put(h->lists, l);
    pthread_mutex_unlock(&h->lock);
}

/* Called before the socket is closed, so that link_cut never shuts down somebody else's. */
static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *h = cls;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        link_new(h, connection, socket_context);
        return;
    }
    struct link *l = *socket_context;
    if (!l)
        return;
    pthread_mutex_lock(&h->lock);
    list_take(h->lists, l);
    pthread_mutex_unlock(&h->lock);
    free(l);
    *socket_context = NULL;
}

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct exchange *x = calloc(1, sizeof *x);
    char *copy = strdup(uri);
    struct link *l =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

    if (!x || !copy || !l) {
        free(x);
        free(copy);
        return NULL;
    }
    x->http = cls;
    pthread_mutex_lock(&x->http->lock);
    x->http->exchanges++;
    pthread_mutex_unlock(&x->http->lock);
    x->connection = connection;
    x->link = l;
    x->uri = copy;
    x->query = strchr(copy, '?');
    if (x->query)
        *x->query++ = '\0';
    return x;
}

/* Under the lock. */
static void unhold(struct exchange *x)
{
    if (!x->is_held)
        return;
    *(x->prev ? &x->prev->next : &x->http->held) = x->next;
    if (x->next)
        x->next->prev = x->prev;
    x->next = x->prev = NULL;
    x->is_held = false;
    atomic_fetch_sub(x->http->config.held, 1);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *con_cls;

    *con_cls = NULL;
    if (!x)
        return;
    pthread_mutex_lock(&x->http->lock);
    unhold(x);
    x->http->exchanges--;
    pthread_mutex_unlock(&x->http->lock);
    link_enter(x->http, x->link, LINK_RECEIVING);
    text_clear(&x->body);
    free(x->uri);
    free(x);
}

void response_header(struct response *r, const char *name, const char *value)
{
    CHECK(r->extra_count < HTTP_EXTRAS_MAX && strlen(value) < sizeof r->extra[0].value);
    r->extra[r->extra_count].name = name;
    strcpy(r->extra[r->extra_count++].value, value);
}

/* On every answer, errors included. */
static const struct {
    const char *name, *value;
} always[] = {
    {"Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self' data:;"
                                " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

static enum MHD_Result queue(struct exchange *x, const struct response *r)
{
    struct MHD_Response *m = MHD_create_response_from_buffer(
        r->body.len, r->body.p, r->body.len ? MHD_RESPMEM_MUST_COPY : MHD_RESPMEM_PERSISTENT);
    bool cached = false;

    if (!m)
        return MHD_NO;
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        MHD_add_response_header(m, always[i].name, always[i].value);
    for (size_t i = 0; i < r->extra_count; i++) {
        MHD_add_response_header(m, r->extra[i].name, r->extra[i].value);
        cached |= !strcmp(r->extra[i].name, MHD_HTTP_HEADER_CACHE_CONTROL);
    }
    if (!cached)
        MHD_add_response_header(m, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (r->type)
        MHD_add_response_header(m, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned)r->status, m);
    MHD_destroy_response(m);
    return result;
}

/* Refused before a handler saw it; the connection is not used again. */
static enum MHD_Result refuse(struct exchange *x, enum outcome o)
{
    struct response r = {.status = outcome_http(o), .type = "application/json"};

    atomic_fetch_add(x->http->config.refused, 1);
    link_enter(x->http, x->link, LINK_SENDING);
    response_header(&r, MHD_HTTP_HEADER_CONNECTION, "close");
    text_printf(&r.body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", outcome_code(o),
                outcome_message(o));
    enum MHD_Result result = queue(x, &r);
    text_clear(&r.body);
    return result;
}

struct framing {
    int hosts, lengths, encodings;
};

static enum MHD_Result count_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    struct framing *f = cls;

    f->hosts += !strcasecmp(key, MHD_HTTP_HEADER_HOST);
    f->lengths += !strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH);
    f->encodings += !strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return MHD_YES;
}

static const char *header(const struct exchange *x, const char *name)
{
    const char *value = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
    return value ? value : "";
}

/*
 * A body that is too long is refused after it was read, when that is worth it: an answer to a
 * client that is still sending is lost in the reset of the connection (RFC 9112 9.6). Who waits
 * for our word before sending (RFC 9110 10.1.1) hears it at once.
 */
static enum outcome framing_check(struct exchange *x)
{
    struct framing f = {0};

    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, count_header, &f);
    if (f.hosts != 1 || f.lengths > 1 || f.encodings > 1 || (f.lengths && f.encodings))
        return OUT_BAD_REQUEST;
    unsigned long long length = strtoull(header(x, MHD_HTTP_HEADER_CONTENT_LENGTH), NULL, 10);
    x->too_long = length > HTTP_BODY_MAX;
    bool asks_first = *header(x, MHD_HTTP_HEADER_EXPECT);
    return x->too_long && (asks_first || length > HTTP_DISCARD_MAX) ? OUT_BAD_LENGTH : OUT_OK;
}

static struct addr sockaddr_addr(const struct sockaddr *sa)
{
    struct addr a = {0};

    if (sa->sa_family == AF_INET)
        a = addr_v4(ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr));
    if (sa->sa_family == AF_INET6) {
        const uint8_t *b = ((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr;
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        a = memcmp(b, mapped, sizeof mapped)
                ? addr_v6(b)
                : addr_v4((uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 |
                          b[15]);
    }
    return a;
}

/* Of several lines the last one counts: a proxy that does not append to the client's line adds one
 * behind it. */
static enum MHD_Result last_line(void *cls, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    const char **last = cls;

    if (!strcasecmp(key, "X-Forwarded-For"))
        *last = value ? value : "";
    return MHD_YES;
}

static void client_text(const struct exchange *x, char out[ADDR_TEXT_SIZE])
{
    const union MHD_ConnectionInfo *peer =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct addr a = sockaddr_addr(peer->client_addr);
    const char *forwarded_for = "";

    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, last_line, &forwarded_for);
    a = proxies_client(&x->http->config.proxies, &a, forwarded_for);
    addr_text(&a, out);
}

static enum http_method method_named(const char *name)
{
    if (!strcmp(name, MHD_HTTP_METHOD_GET) || !strcmp(name, MHD_HTTP_METHOD_HEAD))
        return HTTP_GET;
    return strcmp(name, MHD_HTTP_METHOD_POST) ? HTTP_OTHER : HTTP_POST;
}

static void request_fill(struct request *r, const struct exchange *x, const char *method)
{
    struct sockaddr_storage local = {0};
    socklen_t len = sizeof local;

    *r = (struct request){.method = method_named(method),
                          .path = x->uri,
                          .query = x->query ? x->query : "",
                          .body = &x->body,
                          .host = header(x, MHD_HTTP_HEADER_HOST),
                          .origin = header(x, MHD_HTTP_HEADER_ORIGIN),
                          .fetch_site = header(x, "Sec-Fetch-Site"),
                          .type = header(x, MHD_HTTP_HEADER_CONTENT_TYPE),
                          .cookie = header(x, MHD_HTTP_HEADER_COOKIE),
                          .agent = header(x, MHD_HTTP_HEADER_USER_AGENT),
                          .if_none_match = header(x, MHD_HTTP_HEADER_IF_NONE_MATCH),
                          .authorization = header(x, MHD_HTTP_HEADER_AUTHORIZATION),
                          .if_match = header(x, MHD_HTTP_HEADER_IF_MATCH)};
    client_text(x, r->address);
    getsockname(x->link->fd, (struct sockaddr *)&local, &len);
    struct addr ours = sockaddr_addr((struct sockaddr *)&local);
    addr_text(&ours, r->local);
    r->waited_s = x->held_since_s ? now_s() - x->held_since_s : 0;
}

/* Under the lock: the exchange's handler is asked again, on a thread of the library's. */
static void resume(struct exchange *x)
{
    unhold(x);
    MHD_resume_connection(x->connection);
}

/* Under the lock: whoever has waited for the longest is not held again; of one second the one that
 * was held first, which is the last in the list. */
static void release_oldest(struct http *h)
{
    struct exchange *oldest = h->held;

    for (struct exchange *x = h->held; x; x = x->next)
        if (x->held_since_s <= oldest->held_since_s)
            oldest = x;
    oldest->released = true;
    resume(oldest);
}

/* libmicrohttpd calls the handler again once the connection is resumed. */
static void hold(struct exchange *x)
{
    struct http *h = x->http;

    MHD_suspend_connection(x->connection);
    if (!x->held_since_s)
        x->held_since_s = now_s();
    link_enter(h, x->link, LINK_HELD);
    pthread_mutex_lock(&h->lock);
    x->is_held = true;
    atomic_fetch_add(h->config.held, 1);
    x->prev = NULL;
    x->next = h->held;
    if (x->next)
        x->next->prev = x;
    h->held = x;
    if (h->stopping)
        resume(x);
    else if (h->lists[LINK_HELD].count > HTTP_HELD_MAX)
        release_oldest(h);
    pthread_mutex_unlock(&h->lock);
}

static bool may_hold(const struct exchange *x, int64_t waited_s)
{
    struct http *h = x->http;

    pthread_mutex_lock(&h->lock);
    bool may = !h->stopping && !x->released && waited_s < HTTP_HOLD_S;
    pthread_mutex_unlock(&h->lock);
    return may;
}

static enum MHD_Result dispatch(struct exchange *x, const char *method)
{
    struct request request;
    struct response response = {.status = 500};
    enum MHD_Result result = MHD_YES;

    link_enter(x->http, x->link, LINK_SENDING);
    request_fill(&request, x, method);
    request.may_hold = may_hold(x, request.waited_s);
    x->http->config.handle(x->http->config.ctx, &request, &response);
    if (response.hold && request.may_hold)
        hold(x);
    else
        result = queue(x, &response);
    text_clear(&response.body);
    return result;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **con_cls)
{
    struct exchange *x = *con_cls;

    if (!x)
        return MHD_NO;
    if (!x->begun) {
        x->begun = true;
        enum outcome o = framing_check(x);
        return o == OUT_OK ? MHD_YES : refuse(x, o);
    }
    if (*upload_len) {
        x->too_long |= x->body.len + *upload_len > HTTP_BODY_MAX;
        if (!x->too_long)
            text_add(&x->body, upload, *upload_len);
        *upload_len = 0;
        return MHD_YES;
    }
    if (x->too_long || x->body.failed)
        return refuse(x, x->too_long ? OUT_BAD_LENGTH : OUT_INTERNAL);
    return dispatch(x, method);
}

/* In a handshake: GnuTLS asks what to show. libmicrohttpd gives it the connection as its pointer.
 */
static int on_handshake(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
                        const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                        gnutls_pcert_st **chain, unsigned *length, gnutls_privkey_t *key)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        gnutls_session_get_ptr(session), MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct link *l = info ? info->socket_context : NULL;

    if (!l)
        return -1;
    credentials_current(l->http->credentials, chain, length, key);
    return 0;
}

static void on_library_log(void *cls, const char *fmt, va_list args)
{
    /* What clients do wrong is counted, not logged. */
}

static size_t no_unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    return strlen(text);
}

/* What the process may open, less what it needs itself. */
static size_t connections_most(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) ||
        files.rlim_cur > HTTP_CONNECTIONS_MAX + HTTP_FILES_SPARE)
        return HTTP_CONNECTIONS_MAX;
    return files.rlim_cur > 2 * HTTP_FILES_SPARE ? files.rlim_cur - HTTP_FILES_SPARE
                                                 : HTTP_FILES_SPARE;
}

struct http *http_start(const struct http_config *config, const char **why)
{
    struct http *h = calloc(1, sizeof *h);

    CHECK(h);
    h->config = *config;
    h->credentials = credentials_new(config->tls, why);
    if (!h->credentials) {
        close(config->listen_fd);
        free(h);
        return NULL;
    }
    h->connections_max = connections_most();
    pthread_mutex_init(&h->lock, NULL);
    for (size_t i = 0; i < LINK_PHASES; i++)
        h->lists[i].head.next = h->lists[i].head.prev = &h->lists[i].head;
    h->daemon = MHD_start_daemon(
        MHD_USE_TLS | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
            MHD_USE_ITC,
        0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, config->listen_fd, MHD_OPTION_HTTPS_CERT_CALLBACK, on_handshake,
        MHD_OPTION_HTTPS_PRIORITIES, tls_priorities, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)h->connections_max,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MEMORY_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)HTTP_SEND_S, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, h, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, h, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL, MHD_OPTION_END);
    if (h->daemon)
        return h;
    *why = "the HTTPS server does not start";
    close(config->listen_fd);
    credentials_free(h->credentials);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return NULL;
}

bool http_certify(struct http *h, const struct tls *tls, const char **why)
{
    return credentials_replace(h->credentials, tls, now_s(), why);
}

/* Those whose answer may be ready: all, or who has waited long enough. */
static void resume_held(struct http *h, bool all, int64_t now)
{
    for (struct exchange *x = h->held, *next; x; x = next) {
        next = x->next;
        if (all || now - x->held_since_s >= HTTP_HOLD_S)
            resume(x);
    }
}

static void cut_late(struct http *h, enum link_phase phase, int64_t now)
{
    struct link *head = &h->lists[phase].head;

    for (struct link *l = head->next; l != head && l->deadline_s < now; l = l->next)
        link_cut(h, l);
}

void http_tick(struct http *h, bool changed)
{
    int64_t now = now_s();

    pthread_mutex_lock(&h->lock);
    cut_late(h, LINK_RECEIVING, now);
    cut_late(h, LINK_SENDING, now);
    resume_held(h, changed, now);
    pthread_mutex_unlock(&h->lock);
}

static bool busy(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    bool any = h->exchanges > 0;
    pthread_mutex_unlock(&h->lock);
    return any;
}

void http_stop(struct http *h)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    int fd = MHD_quiesce_daemon(h->daemon);

    if (fd >= 0)
        close(fd);
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    resume_held(h, true, 0);
    pthread_mutex_unlock(&h->lock);
    for (int i = 0; i < HTTP_STOP_S * 50 && busy(h); i++)
        nanosleep(&pause, NULL);
    MHD_stop_daemon(h->daemon);
    credentials_free(h->credentials);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
