/*
 * http.h - HTTPS: libmicrohttpd over GnuTLS, wrapped so that nothing else knows of it.
 *
 * A request reaches the handler whole or not at all. Bounds, and who loses:
 *
 * - body: HTTP_BODY_MAX; longer is 413, after up to HTTP_DISCARD_MAX of it were thrown away, so
 *   that a client which sends before it reads gets the answer.
 * - headers: HTTP_MEMORY_MAX per connection; longer is 431 or 414.
 * - time: HTTP_RECEIVE_S from accept (or from the last answer) until the request is whole,
 *   HTTP_SEND_S until the answer is gone; then the connection is cut.
 * - connections: HTTP_CONNECTIONS_MAX, or what the process may open; when one in
 *   HTTP_CONNECTIONS_SPARE is left, the one that has been sending its request for the longest is
 *   cut.
 * - held answers, which wait for an event: HTTP_HELD_MAX; the victim of one more is the one that
 *   has waited for the longest, and is answered.
 *
 * Transfer-Encoding beside Content-Length, and a second Host, Content-Length or Transfer-Encoding,
 * are refused (RFC 9112 6.1, 3.2).
 *
 * Handlers run on HTTP_THREADS threads at once. http_certify, http_tick and http_stop belong to the
 * thread that started the server.
 */
#ifndef PEAL_CA_HTTP_H
#define PEAL_CA_HTTP_H

#include <stdatomic.h>

#include "ca-web/proxy.h"
#include "ca-web/text.h"
#include "ca-web/tls.h"
#include "overlay/core/addr.h"

enum {
    HTTP_BODY_MAX = 64 * 1024,
    HTTP_DISCARD_MAX = 1024 * 1024,
    HTTP_MEMORY_MAX = 24 * 1024,
    HTTP_RECEIVE_S = 15,
    HTTP_SEND_S = 60,
    HTTP_HOLD_S = 55, /* an answer is held no longer */
    HTTP_CONNECTIONS_MAX = 4096,
    HTTP_CONNECTIONS_SPARE = 8,
    HTTP_FILES_SPARE = 64, /* files that are not connections */
    HTTP_HELD_MAX = 1024,
    HTTP_THREADS = 6,
    HTTP_STOP_S = 10, /* how long http_stop waits for requests and answers under way */
    HTTP_EXTRAS_MAX = 6,
};

enum http_method { HTTP_GET = 1, HTTP_POST = 2, HTTP_OTHER = 4 };

/* Header values are "" when absent. Borrowed for the handler's run. */
struct request {
    enum http_method method;  /* HEAD is a GET whose body is not sent */
    const char *path, *query; /* as sent: nothing is decoded */
    const struct text *body;
    const char *host, *origin, *fetch_site, *type, *cookie, *agent, *if_none_match;
    const char *authorization, *if_match;
    char address[ADDR_TEXT_SIZE]; /* the client's: the peer's, or what a proxy of ours says */
    char local[ADDR_TEXT_SIZE];   /* ours, of this connection */
    int64_t waited_s;             /* how long the answer has been held; 0 the first time */
    bool may_hold;                /* `hold` would be honoured */
};

struct response {
    int status;
    const char *type; /* static */
    struct text body;
    struct {
        const char *name; /* static */
        char value[320];
    } extra[HTTP_EXTRAS_MAX];
    size_t extra_count;
    bool hold; /* call the handler again when something may have changed */
};
/* Adds a header; CHECKs that it fits. */
void response_header(struct response *r, const char *name, const char *value);

struct http;
struct http_config {
    int listen_fd; /* taken over */
    const struct tls *tls;
    struct proxies proxies;
    void (*handle)(void *ctx, const struct request *request, struct response *response);
    void *ctx;
    atomic_llong *refused; /* counts connections cut and requests refused before a handler */
    atomic_llong *held;    /* how many answers wait for an event now */
};
struct http *http_start(const struct http_config *config, const char **why);
/* Another certificate for every handshake from now on; connections that are there go on as they
 * are. False and *why: the one before is shown on. */
bool http_certify(struct http *h, const struct tls *tls, const char **why);
/* Several times a second: cuts what is late. changed: held answers may be ready. */
void http_tick(struct http *h, bool changed);
/* No new connections; held answers go out; waits for those under way, and for requests that have
 * begun to come, then ends. */
void http_stop(struct http *h);

#endif
