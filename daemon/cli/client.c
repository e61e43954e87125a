#include "daemon/cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECT_TIMEOUT_S = 5,
    DECIMALS = 15, /* what a double always holds: 9.1, not 9.0999999999999996 */
};

struct client {
    const struct cli *cli;
    int fd;
    char *line;
    size_t len; /* read, and not yet used */
};

int cli_error(const struct cli *cli, enum protocol_error e, const char *fmt, ...)
{
    char message[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    fprintf(stderr, "peal: %s\n", protocol_clean(message));
    if (cli->json)
        cli_print_json(json_pack("{s:{s:s, s:s}}", "error", "code", protocol_error_code(e),
                                 "message", message));
    return protocol_error_exit(protocol_error_code(e));
}

int cli_error_json(const struct cli *cli, const json_t *error)
{
    const char *code = text_of(error, "code", "failed");

    fprintf(stderr, "peal: %s\n", text_of(error, "message", "failed"));
    if (cli->json)
        cli_print_json(json_pack("{s:O}", "error", error));
    return protocol_error_exit(code);
}

void cli_print_json(json_t *v)
{
    json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(DECIMALS));
    putchar('\n');
    json_decref(v);
}

json_t *cli_request(const struct cli *cli, const char *command)
{
    json_t *r = json_pack("{s:s}", "command", command);

    if (cli->network)
        json_object_set_new(r, "network", json_string(cli->network));
    return r;
}

static int explain_connect(const struct cli *cli, int error)
{
    if (error == EACCES || error == EPERM)
        return cli_error(
            cli, PROTOCOL_NOT_PERMITTED,
            "no permission to talk to peald at %s: be root, or in the group of that file",
            cli->socket);
    return cli_error(cli, PROTOCOL_UNREACHABLE,
                     "peald is not running at %s (%s); start it: "
                     "systemctl enable --now peald",
                     cli->socket, strerror(error));
}

int client_open(struct client **out, const struct cli *cli)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_S};
    struct client *c;
    int error;

    *out = NULL;
    if (strlen(cli->socket) >= sizeof sa.sun_path)
        return cli_error(cli, PROTOCOL_USAGE, "the socket's path is too long: %s", cli->socket);
    strcpy(sa.sun_path, cli->socket);
    c = calloc(1, sizeof *c);
    if (!c || !(c->line = malloc(PROTOCOL_REPLY_MAX))) {
        free(c);
        return cli_error(cli, PROTOCOL_FAILED, "out of memory");
    }
    c->cli = cli;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
        error = errno;
        client_close(c);
        return explain_connect(cli, error);
    }
    *out = c;
    return CLI_OK;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    free(c->line);
    free(c);
}

static bool send_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_request(struct client *c, json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    bool ok = text && send_all(c->fd, text, strlen(text)) && send_all(c->fd, "\n", 1);

    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
    json_decref(request);
    return ok;
}

static long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum received { RECEIVED_LINE, RECEIVED_END, RECEIVED_LATE };

/* The next line's length, without its end; it lies at c->line until the next call. */
static enum received receive_line(struct client *c, long until_ms, size_t *len)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    char *end;

    while (!(end = memchr(c->line, '\n', c->len))) {
        long left = until_ms - now_ms();
        ssize_t n;

        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return RECEIVED_LATE;
        n = read(c->fd, c->line + c->len, PROTOCOL_REPLY_MAX - c->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return RECEIVED_END;
        c->len += (size_t)n;
    }
    *len = (size_t)(end - c->line);
    return RECEIVED_LINE;
}

static json_t *receive(struct client *c, long until_ms, enum received *how)
{
    json_t *v;
    size_t len;

    *how = receive_line(c, until_ms, &len);
    if (*how != RECEIVED_LINE)
        return NULL;
    v = json_loadb(c->line, len, 0, NULL);
    c->len -= len + 1;
    memmove(c->line, c->line + len + 1, c->len);
    return v;
}

int client_ask(struct client *c, json_t *request, int timeout_s,
               void (*item)(void *ctx, const json_t *item), void *ctx, json_t **result)
{
    long until_ms = now_ms() + timeout_s * 1000L;
    enum received how = RECEIVED_END;
    json_t *reply;
    int rc;

    *result = NULL;
    if (!send_request(c, request))
        return cli_error(c->cli, PROTOCOL_UNREACHABLE, "peald closed the connection");
    while ((reply = receive(c, until_ms, &how)) != NULL) {
        const json_t *error = json_object_get(reply, "error");

        *result = json_incref(json_object_get(reply, "result"));
        rc = error ? cli_error_json(c->cli, error) : CLI_OK;
        if (item && json_object_get(reply, "item"))
            item(ctx, json_object_get(reply, "item"));
        json_decref(reply);
        if (error || *result)
            return rc;
    }
    if (how == RECEIVED_LATE)
        return cli_error(c->cli, PROTOCOL_TIMEOUT, "peald gave no answer in %d s", timeout_s);
    return cli_error(c->cli, PROTOCOL_UNREACHABLE, "peald closed the connection");
}

int cli_ask(const struct cli *cli, json_t *request, int timeout_s, json_t **result)
{
    struct client *c;
    int rc = client_open(&c, cli);

    *result = NULL;
    if (rc) {
        json_decref(request);
        return rc;
    }
    rc = client_ask(c, request, timeout_s, NULL, NULL, result);
    client_close(c);
    return rc;
}
