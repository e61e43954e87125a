#include "ca-web/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "ca-web/log.h"
#include "ca-web/removal.h"
#include "ca-web/service.h"
#include "ca-web/tls.h"

enum {
    SERVE_TICK_MS = 100, /* how soon a held answer hears of a commit */
    SERVE_BACKLOG = 512,
};

static int failed(const char *what, const char *why, int status)
{
    log_line(LOG_ERROR, "%s: %s", what, why);
    return status;
}

/* sd_notify(3) without the library: a datagram to $NOTIFY_SOCKET. */
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    strcpy(to.sun_path, path);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, len) < 0)
        log_line(LOG_WARNING, "cannot tell the service manager: %s", strerror(errno));
    close(fd);
}

/* addr:port or [addr]:port, numeric, port 0 allowed. */
static bool listen_read(struct endpoint *out, const char *text)
{
    char host[ADDR_TEXT_SIZE];
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    bool bracket = len > 2 && text[0] == '[' && text[len - 1] == ']';
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    long port = colon ? strtol(colon + 1, NULL, 10) : -1;

    text += bracket;
    len -= bracket ? 2 : 0;
    if (!len || len >= sizeof host || !digits || digits > 5 || colon[1 + digits] || port > 65535)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    out->port = (uint16_t)port;
    return addr_parse(&out->addr, host) && (out->addr.family == 6) == bracket;
}

static socklen_t sockaddr_of(struct sockaddr_storage *out, const struct endpoint *e)
{
    *out = (struct sockaddr_storage){0};
    if (e->addr.family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(e->port);
        in->sin_addr.s_addr = htonl(addr_to_v4(&e->addr));
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(e->port);
    memcpy(in6->sin6_addr.s6_addr, e->addr.b, 16);
    return sizeof *in6;
}

/* [::] takes IPv4 as well. The port that was given goes back into *e. */
static int listen_open(struct endpoint *e)
{
    struct sockaddr_storage sa;
    socklen_t len = sockaddr_of(&sa, e);
    const int on = 1, off = 0;
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (e->addr.family == 6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, SERVE_BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&sa, &len)) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    e->port = ntohs(sa.ss_family == AF_INET ? ((struct sockaddr_in *)&sa)->sin_port
                                            : ((struct sockaddr_in6 *)&sa)->sin6_port);
    return fd;
}

/*
 * sd_listen_fds(3) without the library: descriptor 3 is a listening socket that the service manager
 * made. -1: there is none for us; -2: it is no such socket.
 */
static int listen_inherited(struct endpoint *e)
{
    enum { FIRST = 3 };
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa, on_len = sizeof(int);
    int on = 0;

    if (!pid || !count || strtol(pid, NULL, 10) != (long)getpid() || strcmp(count, "0") == 0)
        return -1;
    if (strcmp(count, "1") || getsockopt(FIRST, SOL_SOCKET, SO_ACCEPTCONN, &on, &on_len) || !on ||
        getsockname(FIRST, (struct sockaddr *)&sa, &len) || fcntl(FIRST, F_SETFL, O_NONBLOCK) ||
        fcntl(FIRST, F_SETFD, FD_CLOEXEC))
        return -2;
    if (sa.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&sa;
        *e = (struct endpoint){addr_v4(ntohl(in->sin_addr.s_addr)), ntohs(in->sin_port)};
        return FIRST;
    }
    if (sa.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&sa;
        *e = (struct endpoint){addr_v6(in6->sin6_addr.s6_addr), ntohs(in6->sin6_port)};
        return FIRST;
    }
    return -2;
}

static void host_name(char out[NAME_MAX_LEN + 1])
{
    if (gethostname(out, NAME_MAX_LEN + 1) || !memchr(out, '\0', NAME_MAX_LEN + 1) ||
        !name_valid(out))
        strcpy(out, "localhost");
}

/* Without --url: the address listened on, or the machine's name when that is a wildcard. */
static void default_url(char out[SERVER_URL_MAX + 1], const struct endpoint *e)
{
    char name[NAME_MAX_LEN + 1], text[ENDPOINT_TEXT_SIZE];

    if (addr_is_unspecified(&e->addr)) {
        host_name(name);
        snprintf(out, SERVER_URL_MAX + 1, "https://%s:%u", name, e->port);
    } else
        snprintf(out, SERVER_URL_MAX + 1, "https://%s", endpoint_text(e, text));
}

/* The names we answer under, which are also those of our own certificate. */
static void collect_names(struct service *s, const struct endpoint *e)
{
    char name[SERVER_URL_MAX + 1];

    server_url_host(s->server.url, name, sizeof name);
    service_add_name(s, name);
    service_add_name(s, "localhost");
    if (!addr_is_unspecified(&e->addr)) {
        service_add_name(s, addr_text(&e->addr, name));
        return;
    }
    host_name(name);
    service_add_name(s, name);
    service_add_name(s, "127.0.0.1");
    service_add_name(s, "::1");
}

static bool prepare_tls(struct service *s, const struct serve_options *o, struct tls *tls,
                        const char **why)
{
    const char *names[SERVICE_NAMES_MAX];

    if (o->tls_cert)
        return tls->certificate.len > 0; /* read while still root, if it was */
    for (size_t i = 0; i < s->name_count; i++)
        names[i] = s->names[i];
    return tls_make(tls, &s->home, names, s->name_count, time(NULL), why);
}

/* Members see a proxy's key, not ours: they pin none. */
static bool unpinned(const struct serve_options *o)
{
    return o->proxy && !o->tls_cert;
}

/*
 * The pin that is served, and the one to come: of our own keys the one that was made for it, of one
 * that was given what was announced while it was served. Behind a proxy members never see our own
 * key: they trust whom their system trusts, unless we were given the proxy's.
 */
static void collect_pins(struct desk *d, const struct service *s, const struct serve_options *o,
                         const struct tls *tls, char pins[sizeof s->server.pins])
{
    char next[TLS_PIN_SIZE] = "";
    struct server before;
    size_t len = strlen(tls->pin);

    pins[0] = '\0';
    if (unpinned(o))
        return;
    if (!o->tls_cert)
        (void)!tls_next_pin(&s->home, next);
    else if (server_load(d, &before) == OUT_OK && !strncmp(before.pins, tls->pin, len) &&
             before.pins[len] == ',')
        snprintf(next, sizeof next, "%s", before.pins + len + 1);
    snprintf(pins, sizeof s->server.pins, "%s%s%s", tls->pin, *next ? "," : "", next);
}

/* Members' blobs quote the address and the pins, whoever makes them. `store` is the caller's. */
static enum outcome publish(const struct service *s, const struct serve_options *o,
                            const struct tls *tls, struct store *store)
{
    struct desk d = {.store = store, .vault = s->home.vault, .now_s = time(NULL)};
    struct server server = s->server;
    enum outcome out = desk_begin(&d);

    if (out != OUT_OK)
        return out;
    collect_pins(&d, s, o, tls, server.pins);
    server.given = o->tls_cert != NULL;
    return desk_close(&d, server_write(&d, &server));
}

static void offer_setup(struct service *s)
{
    struct desk d = {.store = s->stores[0], .vault = s->home.vault, .now_s = time(NULL)};
    char token[SETUP_TOKEN_SIZE];

    if (account_setup_token(&d, token) != OUT_OK)
        return;
    /* Not through the log: this line is the one that has a secret in it. */
    fprintf(stderr, "peal-ca: make the first administrator here, once: %s/setup/%s\n",
            s->server.url, token);
    wipe(token, sizeof token);
}

static void raise_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void block_signals(sigset_t *ours)
{
    sigemptyset(ours);
    sigaddset(ours, SIGTERM);
    sigaddset(ours, SIGINT);
    sigaddset(ours, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ours, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Do members who have pins know this key? Else they would never talk to us again. */
static bool pinned(const struct service *s, const struct serve_options *o, const struct tls *tls,
                   struct store *store)
{
    struct desk d = {.store = store, .vault = s->home.vault, .now_s = time(NULL)};
    struct server server;

    return unpinned(o) ||
           (server_load(&d, &server) == OUT_OK && strstr(server.pins, tls->pin) != NULL);
}

static bool reload_read(struct service *s, const struct serve_options *o, struct store *store,
                        struct tls *fresh, const char **why)
{
    if (o->tls_cert ? !tls_load(fresh, o->tls_cert, o->tls_key, why)
                    : !prepare_tls(s, o, fresh, why))
        return false;
    *why = "the certificate has expired";
    if (fresh->until_s <= time(NULL))
        return false;
    *why = "members do not know this key yet: keep the key when the certificate is renewed, or "
           "announce the next one first (peal-ca tls announce)";
    return pinned(s, o, fresh, store);
}

static void reload(struct service *s, const struct serve_options *o, struct http *http,
                   struct store *store)
{
    char until[TIME_TEXT_SIZE];
    struct tls fresh = {0};
    const char *why = NULL;

    if (!reload_read(s, o, store, &fresh, &why) || !http_certify(http, &fresh, &why))
        log_line(LOG_ERROR, "reload: %s: %s; the certificate before is served on",
                 o->tls_cert ? o->tls_cert : o->data, why);
    else if (publish(s, o, &fresh, store) != OUT_OK)
        log_line(LOG_ERROR, "reload: the database is busy; pins change with the next reload");
    else
        log_line(LOG_NOTICE, "reloaded: the certificate that is served now ends %s",
                 time_text(fresh.until_s, until));
    tls_clear(&fresh);
}

/* Until a signal ends it. `watch` is a connection of this thread's own. */
static void loop(struct service *s, const struct serve_options *o, struct http *http,
                 struct store *watch, const sigset_t *ours)
{
    const struct timespec tick = {.tv_nsec = SERVE_TICK_MS * 1000 * 1000};
    int64_t seen = store_change(watch);
    int sign;

    while ((sign = sigtimedwait(ours, NULL, &tick)) < 0 || sign == SIGHUP) {
        if (sign == SIGHUP)
            reload(s, o, http, watch);
        int64_t now = store_change(watch);
        http_tick(http, now != seen);
        seen = now;
    }
}

static int run(struct service *s, const struct serve_options *o, int fd, const struct tls *tls,
               const struct proxies *proxies, const struct endpoint *e, const sigset_t *ours)
{
    char text[ENDPOINT_TEXT_SIZE];
    const char *why = NULL;
    struct store *watch = home_store(&s->home, &why);

    if (!watch) {
        close(fd);
        return failed(s->home.dir, why, EXIT_STATUS_FAILED);
    }
    struct http *http = http_start(&(struct http_config){.listen_fd = fd,
                                                         .tls = tls,
                                                         .proxies = *proxies,
                                                         .handle = service_handle,
                                                         .ctx = s,
                                                         .refused = &s->refused,
                                                         .held = &s->held},
                                   &why);
    if (http) {
        offer_setup(s);
        log_line(LOG_NOTICE, "listening on https://%s", endpoint_text(e, text));
        notify("READY=1");
        loop(s, o, http, watch, ours);
        notify("STOPPING=1");
        http_stop(http);
        log_line(LOG_NOTICE, "stopped");
    }
    store_close(watch);
    return http ? EXIT_STATUS_OK : failed("serve", why, EXIT_STATUS_FAILED);
}

/* With home and socket in hand. */
static int serve_home(struct service *s, const struct serve_options *o, int fd, struct tls *tls,
                      const struct proxies *proxies, const struct endpoint *e, const sigset_t *ours)
{
    const char *why = NULL;
    int status = EXIT_STATUS_FAILED;

    if (!home_lock(&s->home)) {
        close(fd);
        return failed(o->data, "another peal-ca serves from it; stop that one first", status);
    }
    if (!service_start(s, &why) || !prepare_tls(s, o, tls, &why)) {
        close(fd);
        failed(o->data, why, status);
    } else {
        struct mailer *mailer = NULL;
        why = "the database is busy";
        if (publish(s, o, tls, s->stores[0]) == OUT_OK)
            mailer = mailer_start(&s->home, &o->mail, &why);
        if (!why) {
            status = run(s, o, fd, tls, proxies, e, ours);
            mailer_stop(mailer);
        } else {
            close(fd);
            failed("serve", why, status);
        }
    }
    service_stop(s);
    return status;
}

static int usage(const char *what, const char *why)
{
    return failed(what, why, EXIT_STATUS_USAGE);
}

int serve(const struct serve_options *o)
{
    struct service s = {0};
    struct endpoint e = {0};
    struct tls tls = {0};
    struct proxies proxies = {0};
    const char *why = NULL;
    char reason[1400];
    sigset_t ours;

    int fd = listen_inherited(&e);
    if (fd == -2)
        return usage("LISTEN_FDS", "the service manager hands over one listening TCP socket");
    if (fd < 0 && !o->listen)
        return usage("serve", "--listen ADDR:PORT is missing");
    if (fd < 0 && !listen_read(&e, o->listen))
        return usage(o->listen, "--listen takes ADDR:PORT with a numeric address");
    if (o->url && !server_url_read(s.server.url, o->url))
        return usage(o->url, outcome_message(OUT_BAD_URL));
    if (o->proxy && !proxies_read(&proxies, o->proxy))
        return usage(o->proxy, "--proxy takes up to 8 numeric addresses, with commas between");
    if (!o->tls_cert != !o->tls_key)
        return usage("serve", "--tls-cert and --tls-key go together");
    /* What needs root's rights comes before they are dropped. */
    if (o->tls_cert && !tls_load(&tls, o->tls_cert, o->tls_key, &why))
        return failed(o->tls_cert, why, EXIT_STATUS_FAILED);
    if (o->log_json)
        log_json();
    if (o->quiet)
        log_limit(LOG_NOTICE);
    raise_files();
    if (fd < 0)
        fd = listen_open(&e);
    if (fd < 0) {
        tls_clear(&tls);
        return failed(o->listen, strerror(errno), EXIT_STATUS_FAILED);
    }
    if (!o->url)
        default_url(s.server.url, &e);
    collect_names(&s, &e);
    block_signals(&ours);
    int status = EXIT_STATUS_FAILED;
    if (!home_become_owner(o->data, &why))
        failed(o->data, why, status);
    else if ((status = home_open(&s.home, o->data, o->key_file, reason, sizeof reason)))
        log_line(LOG_ERROR, "%s", reason);
    if (status) {
        close(fd);
    } else {
        status = serve_home(&s, o, fd, &tls, &proxies, &e, &ours);
        home_close(&s.home);
    }
    tls_clear(&tls);
    return status;
}
