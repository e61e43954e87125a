#include "daemon/tcp.h"

#include "daemon/frame.h"
#include "daemon/log.h"
#include "daemon/proxy.h"
#include "daemon/tls.h"
#include "overlay/core/err.h"
#include "overlay/core/limits.h"
#include "overlay/core/wire.h"
#include "tap/plane.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TCP_PORT_TLS = 443,
    TCP_BACKLOG = 64,
    TCP_READ_BYTES = 64 * 1024,
    TCP_WRITE_BYTES = 64 * 1024, /* in one write; the next waits for it */
    TCP_SWEEP_MS = 1000,
    TCP_KEEPALIVE_S = 30,
    PACKET_TYPE_FIRST = 0x80, /* STUN has no place in a stream of ours */
    SOURCE_PREFIX6_LEN = 8,
};

enum conn_state {
    CONN_CONNECTING, /* ours; to PROXYING, SHAKING or OPEN */
    CONN_PROXYING,   /* the proxy was asked; to SHAKING */
    CONN_SNIFFING,   /* accepted, nothing came yet; to SHAKING or OPEN by the first byte */
    CONN_SHAKING,    /* TLS is not ready; to OPEN */
    CONN_OPEN,       /* to HANDED once it is proven and at rest */
    CONN_HANDED,     /* the data plane has it */
    CONN_CLOSING,    /* from any; not in the list any more */
};

/* A packet that waits. */
struct item {
    struct item *next;
    size_t len;
    uint8_t pkt[];
};

struct line {
    struct item *first, **last;
};

struct conn {
    struct tcp *tcp;
    struct conn *next;
    uint32_t number;
    unsigned owner; /* of what we opened */
    enum conn_state state;
    struct endpoint remote;
    bool accepted, proven;
    bool writing;
    uint64_t used_ms; /* when it was made, or a session was seen to use it */
    struct tls *tls;  /* NULL: plain */
    struct line control, data;
    size_t queued; /* bytes of both */
    uint8_t *out;  /* of the write under way */
    char *reply;   /* the proxy's, while PROXYING */
    size_t reply_len;
    uv_tcp_t handle;
    uv_connect_t connect;
    uv_write_t write;
    struct frames in;
};

enum tcp_count { TCP_REFUSED, TCP_GARBAGE, TCP_STRANGER_LATE, TCP_PROXY_REFUSED, TCP_COUNT_MAX };

/* What a proxy did with a request; or its HTTP status. */
enum { PROXY_SAID_NO_HTTP = 1, PROXY_SAID_NOTHING, PROXY_AWAY, PROXY_WANTS_PASSWORD = 407 };

struct listener {
    uv_tcp_t handle;
    struct listener *next;
};

struct tcp {
    uv_loop_t *loop;
    struct tcp_host host;
    void *ctx;
    struct tls_context *tls;
    struct plane *plane; /* NULL: not yet */
    struct listener *listeners;
    struct conn *conns;
    size_t count;
    uint32_t last_number;
    struct endpoint proxy; /* family 0: none */
    unsigned proxy_did;    /* when it last refused; 0: it never did */
    uv_timer_t sweep;
    bool dirty; /* something waits to be written */
    uint64_t counts[TCP_COUNT_MAX], queue_full;
    uint8_t read[TCP_READ_BYTES];
    uint8_t plain[TCP_READ_BYTES];
};

static void conn_flush(struct conn *c);
static void conn_hand_over(struct conn *c);
static bool is_stranger(struct conn *c);

/* Lines of packets. */

static void line_init(struct line *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static void line_put(struct line *l, struct item *i)
{
    i->next = NULL;
    *l->last = i;
    l->last = &i->next;
}

static struct item *line_take(struct line *l)
{
    struct item *i = l->first;

    if (!i)
        return NULL;
    l->first = i->next;
    if (!l->first)
        l->last = &l->first;
    return i;
}

static void line_clear(struct line *l)
{
    struct item *i;

    while ((i = line_take(l)) != NULL)
        free(i);
}

/* Connections begin and end. */

static struct conn *conn_find(const struct tcp *t, uint32_t number)
{
    struct conn *c = t->conns;

    while (c && c->number != number)
        c = c->next;
    return c;
}

static void on_conn_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;

    tls_free(c->tls);
    line_clear(&c->control);
    line_clear(&c->data);
    free(c->out);
    free(c->reply);
    free(c);
}

static void conn_end(struct conn *c)
{
    struct conn **at = &c->tcp->conns;

    if (c->state == CONN_CLOSING)
        return;
    if (c->state == CONN_HANDED)
        plane_remove_stream(c->tcp->plane, c->number);
    c->state = CONN_CLOSING;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->tcp->count--;
    uv_close((uv_handle_t *)&c->handle, on_conn_closed);
}

/* Not by our own doing: who relied on it is told. */
static void conn_lost(struct conn *c)
{
    struct tcp *t = c->tcp;
    uint32_t number = c->number;

    if (c->state == CONN_CLOSING)
        return;
    conn_end(c);
    t->host.closed(t->ctx, number);
}

/* The plane tells connections apart by less than the number. */
static bool slot_taken(const struct tcp *t, uint32_t number)
{
    const struct conn *c = t->conns;

    while (c && c->number % PLANE_STREAMS_MAX != number % PLANE_STREAMS_MAX)
        c = c->next;
    return c != NULL;
}

static struct conn *conn_new(struct tcp *t, bool accepted, unsigned owner)
{
    struct conn *c = t->count < TCP_CONNS_MAX ? calloc(1, sizeof *c) : NULL;

    if (!c)
        return NULL;
    if (uv_tcp_init(t->loop, &c->handle) != 0) {
        free(c);
        return NULL;
    }
    c->tcp = t;
    c->handle.data = c->connect.data = c->write.data = c;
    c->accepted = accepted;
    c->owner = owner;
    c->state = accepted ? CONN_SNIFFING : CONN_CONNECTING;
    c->used_ms = uv_now(t->loop);
    line_init(&c->control);
    line_init(&c->data);
    do
        t->last_number = t->last_number + 1 < PATH_TCP_ACCEPTED ? t->last_number + 1 : 1;
    while (slot_taken(t, t->last_number));
    c->number = t->last_number | (accepted ? PATH_TCP_ACCEPTED : 0);
    c->next = t->conns;
    t->conns = c;
    t->count++;
    return c;
}

static struct endpoint endpoint_of(const struct sockaddr_storage *sa)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
    struct endpoint ep = {{0}, 0};

    if (sa->ss_family == AF_INET) {
        ep.addr = addr_v4(ntohl(v4->sin_addr.s_addr));
        ep.port = ntohs(v4->sin_port);
    } else if (sa->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        ep.addr = addr_v4(get_u32(v6->sin6_addr.s6_addr + 12));
        ep.port = ntohs(v6->sin6_port);
    } else if (sa->ss_family == AF_INET6) {
        ep.addr = addr_v6(v6->sin6_addr.s6_addr);
        ep.port = ntohs(v6->sin6_port);
    }
    return ep;
}

static void sockaddr_of(const struct endpoint *ep, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (ep->addr.family == 4) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(ep->port);
        v4->sin_addr.s_addr = htonl(addr_to_v4(&ep->addr));
    } else {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(ep->port);
        memcpy(v6->sin6_addr.s6_addr, ep->addr.b, sizeof ep->addr.b);
    }
}

/* Out. */

static void on_written(uv_write_t *write, int status)
{
    struct conn *c = write->data;

    c->writing = false;
    free(c->out);
    c->out = NULL;
    if (status < 0)
        conn_lost(c);
    else if (c->state != CONN_CLOSING)
        conn_flush(c);
    conn_hand_over(c);
}

/* out is taken over. */
static void conn_write(struct conn *c, uint8_t *out, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)out, (unsigned)len);

    c->out = out;
    c->writing = uv_write(&c->write, (uv_stream_t *)&c->handle, &buf, 1, on_written) == 0;
    if (!c->writing)
        conn_lost(c);
}

/* As many packets as fit, each behind its length; control first. */
static size_t pack(struct conn *c, uint8_t *out, size_t size)
{
    size_t len = 0;

    for (;;) {
        struct line *l = c->control.first ? &c->control : &c->data;
        struct item *i = l->first;

        if (!i || len + FRAME_HEADER_LEN + i->len > size)
            return len;
        put_u16(out + len, (uint16_t)i->len);
        memcpy(out + len + FRAME_HEADER_LEN, i->pkt, i->len);
        len += FRAME_HEADER_LEN + i->len;
        c->queued -= i->len;
        free(line_take(l));
    }
}

static void flush_tls(struct conn *c)
{
    size_t len = c->state == CONN_OPEN ? pack(c, c->tcp->plain, TCP_WRITE_BYTES) : 0;
    uint8_t *out;

    if (len > 0 && !tls_write(c->tls, c->tcp->plain, len)) {
        conn_lost(c);
        return;
    }
    len = tls_output_len(c->tls);
    if (len == 0)
        return;
    out = malloc(len);
    if (out)
        conn_write(c, out, tls_output(c->tls, out, len));
    else
        conn_lost(c);
}

static void flush_plain(struct conn *c)
{
    uint8_t *out = c->queued > 0 ? malloc(TCP_WRITE_BYTES) : NULL;

    if (out)
        conn_write(c, out, pack(c, out, TCP_WRITE_BYTES));
}

static void conn_flush(struct conn *c)
{
    if (c->writing || c->state == CONN_CLOSING)
        return;
    if (c->tls)
        flush_tls(c);
    else if (c->state == CONN_OPEN)
        flush_plain(c);
}

static bool is_data(const uint8_t *pkt)
{
    return pkt[0] == PACKET_DATA;
}

/* True when there is room now. */
static bool make_room(struct conn *c, size_t len)
{
    while (c->queued + len > TCP_QUEUE_BYTES) {
        struct item *oldest = line_take(&c->data);

        c->tcp->queue_full++;
        if (!oldest)
            return false;
        c->queued -= oldest->len;
        free(oldest);
    }
    return true;
}

void tcp_send(struct tcp *t, uint32_t conn, const uint8_t *pkt, size_t len)
{
    struct conn *c = conn_find(t, conn);
    struct item *i;

    if (!c || len == 0 || len > FRAME_PACKET_MAX)
        return;
    if (c->state == CONN_HANDED) {
        (void)plane_stream_send(t->plane, conn, pkt, len);
        return;
    }
    if (!make_room(c, len))
        return;
    i = malloc(sizeof *i + len);
    if (!i)
        return;
    i->len = len;
    memcpy(i->pkt, pkt, len);
    line_put(is_data(pkt) ? &c->data : &c->control, i);
    c->queued += len;
    t->dirty = true;
}

void tcp_flush(struct tcp *t)
{
    if (!t->dirty)
        return;
    t->dirty = false;
    for (struct conn *c = t->conns, *next; c; c = next) {
        next = c->next;
        if (c->queued > 0)
            conn_flush(c);
    }
}

/* In. */

static void conn_garbage(struct conn *c)
{
    c->tcp->counts[TCP_GARBAGE]++;
    conn_lost(c);
}

static void take_frames(struct conn *c, const uint8_t *bytes, size_t len)
{
    struct tcp *t = c->tcp;
    uint8_t *pkt;
    size_t n;

    while (c->state == CONN_OPEN && (pkt = frames_next(&c->in, &bytes, &len, &n)) != NULL) {
        if (pkt[0] < PACKET_TYPE_FIRST ||
            (!t->host.packet(t->ctx, c->number, &c->remote, pkt, n) && is_stranger(c))) {
            conn_garbage(c);
            return;
        }
    }
    if (frames_garbage(&c->in))
        conn_garbage(c);
}

static void conn_opened(struct conn *c)
{
    struct tcp *t = c->tcp;

    c->state = CONN_OPEN;
    if (!c->accepted)
        t->host.opened(t->ctx, c->owner, c->number);
}

static bool start_tls(struct conn *c)
{
    c->tls = tls_new(c->tcp->tls, c->accepted);
    c->state = CONN_SHAKING;
    return c->tls != NULL;
}

static void take_tls(struct conn *c, const uint8_t *bytes, size_t len)
{
    struct tcp *t = c->tcp;
    int n;

    if (!tls_input(c->tls, bytes, len)) {
        conn_lost(c);
        return;
    }
    while ((n = tls_read(c->tls, t->plain, sizeof t->plain)) > 0) {
        if (c->state == CONN_SHAKING)
            conn_opened(c);
        if (c->state == CONN_OPEN)
            take_frames(c, t->plain, (size_t)n);
        if (c->state == CONN_CLOSING)
            return;
    }
    if (n < 0) {
        conn_lost(c);
        return;
    }
    if (c->state == CONN_SHAKING && tls_ready(c->tls))
        conn_opened(c);
    if (c->state != CONN_CLOSING)
        conn_flush(c);
}

static const char *proxy_why(unsigned did)
{
    switch (did) {
    case PROXY_SAID_NO_HTTP:
        return "what it answers is no HTTP";
    case PROXY_SAID_NOTHING:
        return "it does not answer";
    case PROXY_AWAY:
        return "it cannot be reached";
    case PROXY_WANTS_PASSWORD:
        return "it wants a password (407), and peald has none";
    default:
        return NULL;
    }
}

/* 403 for one port may be normal, and so is what the proxy cannot reach (5xx). */
static void proxy_refused(const struct conn *c, unsigned did)
{
    char at[ENDPOINT_TEXT_SIZE], to[ENDPOINT_TEXT_SIZE], number[32];
    const char *why = proxy_why(did);
    struct tcp *t = c->tcp;

    t->counts[TCP_PROXY_REFUSED]++;
    if (did == t->proxy_did)
        return;
    t->proxy_did = did;
    snprintf(number, sizeof number, "HTTP status %u", did);
    log_write(why ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, NULL, "no way to %s by the proxy %s: %s",
              endpoint_text(&c->remote, to), endpoint_text(&t->proxy, at), why ? why : number);
}

static void take_bytes(struct conn *c, const uint8_t *bytes, size_t len);

static void take_reply(struct conn *c, const uint8_t *bytes, size_t len)
{
    size_t room = PROXY_REPLY_MAX - c->reply_len, n = len < room ? len : room, head;

    memcpy(c->reply + c->reply_len, bytes, n);
    c->reply_len += n;
    switch (proxy_reply(c->reply, c->reply_len, &head)) {
    case PROXY_MORE:
        return;
    case PROXY_REFUSED:
        head = proxy_status(c->reply, c->reply_len);
        proxy_refused(c, head ? (unsigned)head : PROXY_SAID_NO_HTTP);
        conn_lost(c);
        return;
    case PROXY_OPEN:
        break;
    }
    /* Behind the head nothing can stand yet: TLS speaks after our hello. */
    if (head == c->reply_len && n == len && start_tls(c))
        conn_flush(c);
    else
        conn_lost(c);
}

static void sniff(struct conn *c, const uint8_t *bytes, size_t len)
{
    if (bytes[0] != TLS_FIRST_BYTE)
        conn_opened(c);
    else if (!start_tls(c))
        conn_lost(c);
    if (c->state != CONN_CLOSING)
        take_bytes(c, bytes, len);
}

static void take_bytes(struct conn *c, const uint8_t *bytes, size_t len)
{
    switch (c->state) {
    case CONN_SNIFFING:
        sniff(c, bytes, len);
        break;
    case CONN_PROXYING:
        take_reply(c, bytes, len);
        break;
    case CONN_SHAKING:
    case CONN_OPEN:
        if (c->tls)
            take_tls(c, bytes, len);
        else
            take_frames(c, bytes, len);
        break;
    case CONN_CONNECTING:
    case CONN_HANDED:
    case CONN_CLOSING:
        break;
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *c = handle->data;

    *buf = uv_buf_init((char *)c->tcp->read, sizeof c->tcp->read);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = stream->data;

    if (n < 0 && c->state == CONN_PROXYING)
        proxy_refused(c, PROXY_SAID_NOTHING);
    if (n < 0)
        conn_lost(c);
    else if (n > 0)
        take_bytes(c, (const uint8_t *)buf->base, (size_t)n);
    conn_hand_over(c);
}

/* Both ends alike from here on. */
static bool start_reading(struct conn *c)
{
    uv_tcp_nodelay(&c->handle, 1);
    uv_tcp_keepalive(&c->handle, 1, TCP_KEEPALIVE_S);
    return uv_read_start((uv_stream_t *)&c->handle, on_alloc, on_read) == 0;
}

/* Connecting. */

static bool ask_proxy(struct conn *c)
{
    uint8_t *request = malloc(PROXY_REQUEST_SIZE);

    c->reply = malloc(PROXY_REPLY_MAX);
    c->state = CONN_PROXYING;
    if (!request || !c->reply) {
        free(request);
        return false;
    }
    conn_write(c, request, proxy_request((char *)request, &c->remote));
    return c->state != CONN_CLOSING;
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct conn *c = connect->data;
    bool ok = status == 0 && c->state == CONN_CONNECTING && start_reading(c);

    if (status != 0 && c->state == CONN_CONNECTING && c->tcp->proxy.addr.family)
        proxy_refused(c, PROXY_AWAY);
    if (ok && c->tcp->proxy.addr.family)
        ok = ask_proxy(c);
    else if (ok && c->remote.port == TCP_PORT_TLS)
        ok = start_tls(c);
    else if (ok)
        conn_opened(c);
    if (!ok)
        conn_lost(c);
    else if (c->state != CONN_CLOSING)
        conn_flush(c);
}

uint32_t tcp_open(struct tcp *t, unsigned owner, const struct endpoint *to)
{
    struct conn *c = conn_new(t, false, owner);
    struct sockaddr_storage sa;

    if (!c)
        return 0;
    c->remote = *to;
    sockaddr_of(t->proxy.addr.family ? &t->proxy : to, &sa);
    if (uv_tcp_connect(&c->connect, &c->handle, (struct sockaddr *)&sa, on_connected) == 0)
        return c->number;
    conn_end(c);
    return 0;
}

void tcp_close(struct tcp *t, uint32_t conn)
{
    struct conn *c = conn_find(t, conn);

    if (c)
        conn_end(c);
}

bool tcp_exists(const struct tcp *t, uint32_t conn)
{
    return conn_find(t, conn) != NULL;
}

/* Strangers. */

static bool same_source(const struct addr *a, const struct addr *b)
{
    if (a->family == 6 && b->family == 6)
        return memcmp(a->b, b->b, SOURCE_PREFIX6_LEN) == 0;
    return addr_eq(a, b);
}

/* Is it still one? Asked often enough, as what is proven stays so for a while. */
static bool is_stranger(struct conn *c)
{
    struct tcp *t = c->tcp;

    if (!c->proven && t->host.used(t->ctx, c->number)) {
        c->proven = true;
        c->used_ms = uv_now(t->loop);
    }
    return !c->proven;
}

static bool may_come_in(struct tcp *t, const struct conn *newcomer)
{
    size_t all = 0, of_source = 0;

    for (struct conn *c = t->conns; c; c = c->next) {
        if (c == newcomer || !c->accepted || !is_stranger(c))
            continue;
        all++;
        of_source += same_source(&c->remote.addr, &newcomer->remote.addr);
    }
    return all < TCP_STRANGERS_MAX && of_source < TCP_STRANGERS_PER_SOURCE;
}

static bool take_in(struct conn *c, uv_stream_t *listener)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;

    if (uv_accept(listener, (uv_stream_t *)&c->handle) != 0 ||
        uv_tcp_getpeername(&c->handle, (struct sockaddr *)&sa, &len) != 0)
        return false;
    c->remote = endpoint_of(&sa);
    return may_come_in(c->tcp, c) && start_reading(c);
}

static void on_refused_closed(uv_handle_t *handle)
{
    free(handle);
}

/* libuv accepts no more until what it accepted was taken. */
static void turn_away(struct tcp *t, uv_stream_t *listener)
{
    uv_tcp_t *handle = malloc(sizeof *handle);

    if (!handle || uv_tcp_init(t->loop, handle) != 0) {
        free(handle);
        return;
    }
    (void)uv_accept(listener, (uv_stream_t *)handle);
    uv_close((uv_handle_t *)handle, on_refused_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct tcp *t = listener->data;
    struct conn *c = status == 0 ? conn_new(t, true, 0) : NULL;

    if (c && take_in(c, listener))
        return;
    t->counts[TCP_REFUSED]++;
    if (c)
        conn_end(c);
    else if (status == 0)
        turn_away(t, listener);
}

/* Handing over. */

static bool coat_input(void *wear, const uint8_t *bytes, size_t len)
{
    return tls_input(wear, bytes, len);
}

static int coat_read(void *wear, uint8_t *out, size_t size)
{
    return tls_read(wear, out, size);
}

static bool coat_write(void *wear, const uint8_t *bytes, size_t len)
{
    return tls_write(wear, bytes, len);
}

static size_t coat_output(void *wear, uint8_t *out, size_t size)
{
    return tls_output(wear, out, size);
}

static const struct plane_coat tls_coat = {coat_input, coat_read, coat_write, coat_output};

static bool at_rest(const struct conn *c)
{
    return c->state == CONN_OPEN && !c->writing && c->queued == 0 &&
           (!c->tls || tls_output_len(c->tls) == 0);
}

static bool plane_takes(struct conn *c)
{
    struct plane_stream stream = {.number = c->number, .remote = c->remote};
    uv_os_fd_t fd;

    if (uv_fileno((uv_handle_t *)&c->handle, &fd) != 0)
        return false;
    stream.fd = fd;
    stream.coat = c->tls ? &tls_coat : NULL;
    stream.wear = c->tls;
    stream.begun = frames_begun(&c->in, &stream.begun_len);
    return plane_add_stream(c->tcp->plane, &stream) == 0;
}

/* What cannot be handed over now stays here; there will be another occasion. */
static void conn_hand_over(struct conn *c)
{
    if (!c->tcp->plane || !at_rest(c) || is_stranger(c))
        return;
    uv_read_stop((uv_stream_t *)&c->handle);
    if (plane_takes(c))
        c->state = CONN_HANDED;
    else
        (void)uv_read_start((uv_stream_t *)&c->handle, on_alloc, on_read);
}

void tcp_set_plane(struct tcp *t, struct plane *plane)
{
    t->plane = plane;
}

void tcp_ended(struct tcp *t, uint32_t conn, bool garbage)
{
    struct conn *c = conn_find(t, conn);

    if (!c || c->state != CONN_HANDED)
        return;
    t->counts[TCP_GARBAGE] += garbage;
    conn_lost(c);
}

static void on_sweep(uv_timer_t *timer)
{
    struct tcp *t = timer->data;
    uint64_t now = uv_now(t->loop);

    for (struct conn *c = t->conns, *next; c; c = next) {
        next = c->next;
        if (c->state == CONN_HANDED && plane_stream_ended(t->plane, c->number)) {
            conn_lost(c);
            continue;
        }
        if (now < c->used_ms + TCP_STRANGER_S * 1000)
            continue;
        if (t->host.used(t->ctx, c->number)) {
            c->proven = true;
            c->used_ms = now;
            conn_hand_over(c);
            continue;
        }
        t->counts[TCP_STRANGER_LATE] += !c->proven && c->accepted;
        if (c->state == CONN_PROXYING)
            proxy_refused(c, PROXY_SAID_NOTHING);
        if (c->state == CONN_CONNECTING && t->proxy.addr.family)
            proxy_refused(c, PROXY_AWAY);
        conn_lost(c);
    }
}

/* The whole. */

static int listen_on(struct listener *l, int family, uint16_t port)
{
    struct endpoint any = {.addr = {.family = (uint8_t)family}, .port = port};
    struct sockaddr_storage sa;
    int rc;

    sockaddr_of(&any, &sa);
    rc = uv_tcp_bind(&l->handle, (struct sockaddr *)&sa, 0);
    return rc ? rc : uv_listen((uv_stream_t *)&l->handle, TCP_BACKLOG, on_connection);
}

static void on_listener_closed(uv_handle_t *handle)
{
    free((struct listener *)handle); /* its first member */
}

static int listen_family(struct tcp *t, int family, uint16_t port)
{
    struct listener *l = calloc(1, sizeof *l);
    int rc = l ? uv_tcp_init(t->loop, &l->handle) : UV_ENOMEM;

    if (rc) {
        free(l);
        return rc;
    }
    l->handle.data = t;
    rc = listen_on(l, family, port);
    if (rc) {
        uv_close((uv_handle_t *)&l->handle, on_listener_closed);
        return rc;
    }
    l->next = t->listeners;
    t->listeners = l;
    return 0;
}

int tcp_listen(struct tcp *t, uint16_t port)
{
    int rc = listen_family(t, 6, port);

    if (rc == UV_EAFNOSUPPORT || rc == UV_EADDRNOTAVAIL)
        rc = listen_family(t, 4, port);
    return rc;
}

void tcp_set_proxy(struct tcp *t, const struct endpoint *proxy)
{
    t->proxy = *proxy;
}

struct tcp *tcp_new(uv_loop_t *loop, const struct tcp_host *host, void *ctx)
{
    struct tcp *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->tls = tls_context_new();
    if (!t->tls) {
        free(t);
        return NULL;
    }
    t->loop = loop;
    t->host = *host;
    t->ctx = ctx;
    uv_timer_init(loop, &t->sweep);
    t->sweep.data = t;
    uv_timer_start(&t->sweep, on_sweep, TCP_SWEEP_MS, TCP_SWEEP_MS);
    return t;
}

static void on_tcp_closed(uv_handle_t *handle)
{
    struct tcp *t = handle->data;

    tls_context_free(t->tls);
    free(t);
}

void tcp_free(struct tcp *t)
{
    if (!t)
        return;
    while (t->conns)
        conn_end(t->conns);
    while (t->listeners) {
        struct listener *l = t->listeners;

        t->listeners = l->next;
        uv_close((uv_handle_t *)&l->handle, on_listener_closed);
    }
    uv_close((uv_handle_t *)&t->sweep, on_tcp_closed);
}

uint64_t tcp_queue_full(const struct tcp *t)
{
    return t->queue_full;
}

bool tcp_counter(const struct tcp *t, size_t i, const char **name, uint64_t *value)
{
    static const char *const names[TCP_COUNT_MAX] = {
        [TCP_REFUSED] = "tcp_refused",
        [TCP_GARBAGE] = "tcp_garbage",
        [TCP_STRANGER_LATE] = "tcp_stranger_late",
        [TCP_PROXY_REFUSED] = "tcp_proxy_refused",
    };

    if (i >= TCP_COUNT_MAX)
        return false;
    *name = names[i];
    *value = t->counts[i];
    return true;
}
