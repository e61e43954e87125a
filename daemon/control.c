#include "daemon/control.h"

#include "daemon/commands.h"
#include "daemon/daemon.h"
#include "daemon/file.h"
#include "daemon/log.h"
#include "overlay/core/err.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CONTROL_CLIENTS_MAX = 32,
    CONTROL_BACKLOG = 16,
    CONTROL_UNSENT_MAX = 4 * 1024 * 1024,
    CONTROL_READ_SIZE = 4096,
    CONTROL_LATE_MS = 10000,
    CONTROL_SWEEP_MS = 1000,
    CONTROL_GROUPS_MAX = 1024,
    CONTROL_SOCKET_MODE = 0660,
};

static const char socket_group[] = "peal";

struct request {
    struct client *client;
    json_t *args; /* NULL: none under way */
    void (*cancel)(void *ctx);
    void *ctx;
};

struct client {
    uv_pipe_t pipe;
    struct control *control; /* NULL: being closed */
    struct client *next;
    bool may_read, may_change;
    struct request request;
    char *line; /* what has come of the next request */
    size_t line_len, line_size;
    uint64_t waiting_since_ms; /* for the rest of a request */
};

struct control {
    struct daemon *daemon;
    uv_pipe_t listener;
    uv_timer_t sweep;
    unsigned closing;
    struct client *clients;
    size_t clients_count;
    gid_t group, operators;
    bool has_operators;
    char made_dir[FILE_PATH_SIZE]; /* "" the directory was there */
};

/* --- Answering --- */

static void on_written(uv_write_t *write, int status)
{
    free(write->data);
    free(write);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;

    free(c->line);
    free(c);
}

static void client_close(struct client *c)
{
    struct control *control = c->control;
    struct client **at = &control->clients;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    control->clients_count--;
    c->control = NULL;
    if (c->request.args && c->request.cancel)
        c->request.cancel(c->request.ctx);
    json_decref(c->request.args);
    c->request.args = NULL;
    if (c->line)
        explicit_bzero(c->line, c->line_size);
    uv_close((uv_handle_t *)&c->pipe, on_client_closed);
}

/* Ends the conversation from within a request: on_read meets the end and closes. */
static void client_cut(struct client *c)
{
    uv_os_fd_t fd;

    if (uv_fileno((uv_handle_t *)&c->pipe, &fd) == 0)
        shutdown(fd, SHUT_RDWR);
}

/* Takes the reference to v. */
static void client_send(struct client *c, json_t *v)
{
    char *text = v ? json_dumps(v, JSON_COMPACT) : NULL;
    uv_write_t *write = text ? malloc(sizeof *write) : NULL;
    uv_buf_t bufs[2];

    json_decref(v);
    if (!write || uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > CONTROL_UNSENT_MAX) {
        free(text);
        free(write);
        client_cut(c);
        return;
    }
    write->data = text;
    bufs[0] = uv_buf_init(text, (unsigned)strlen(text));
    bufs[1] = uv_buf_init((char *)"\n", 1);
    if (uv_write(write, (uv_stream_t *)&c->pipe, bufs, 2, on_written) != 0)
        on_written(write, 0);
}

const json_t *request_args(const struct request *r)
{
    return r->args;
}

struct daemon *request_daemon(const struct request *r)
{
    return r->client->control->daemon;
}

void request_item(struct request *r, json_t *item)
{
    client_send(r->client, json_pack("{s:o}", "item", item));
}

/* The last line of an answer; then the next request, if it has come already. */
static void finish(struct request *r, json_t *reply)
{
    struct client *c = r->client;

    json_decref(r->args);
    r->args = NULL;
    r->cancel = NULL;
    client_send(c, reply);
    c->waiting_since_ms = uv_now(c->pipe.loop);
}

void request_done(struct request *r, json_t *result)
{
    finish(r, json_pack("{s:o}", "result", result));
}

static json_t *error_json(enum protocol_error e, const char *message)
{
    return json_pack("{s:{s:s, s:s}}", "error", "code", protocol_error_code(e), "message", message);
}

void request_fail(struct request *r, enum protocol_error e, const char *fmt, ...)
{
    char message[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    finish(r, error_json(e, protocol_clean(message)));
}

void request_on_cancel(struct request *r, void (*cancel)(void *ctx), void *ctx)
{
    r->cancel = cancel;
    r->ctx = ctx;
}

/* --- Asking --- */

static bool allowed(const struct client *c, const struct command *command)
{
    switch (command->permission) {
    case COMMAND_READ:
        return c->may_read;
    case COMMAND_CHANGE:
        return c->may_change;
    }
    return false;
}

static void serve(struct client *c, const char *line, size_t len)
{
    struct request *r = &c->request;
    const struct command *command;
    const char *name, *why;

    r->client = c;
    r->args = protocol_parse_request(line, len, &name, &why);
    if (!r->args) {
        client_send(c, error_json(PROTOCOL_USAGE, why));
        return;
    }
    command = command_find(name);
    if (!command)
        request_fail(r, PROTOCOL_USAGE, "this peald knows no command \"%.32s\"", name);
    else if (!allowed(c, command))
        request_fail(
            r, PROTOCOL_NOT_PERMITTED,
            "\"%s\" is for root and the users of the group set as `operators` in peald.conf", name);
    else
        command->run(r);
}

/* Requests are served one by one; a line that came early waits in the buffer. */
static void serve_next(struct client *c)
{
    while (c->control && !c->request.args && c->line_len > 0) {
        char *end = memchr(c->line, '\n', c->line_len);
        size_t len;

        if (!end)
            return;
        len = (size_t)(end - c->line);
        serve(c, c->line, len);
        explicit_bzero(c->line, len); /* it may have been a blob */
        c->line_len -= len + 1;
        memmove(c->line, end + 1, c->line_len);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *c = handle->data;
    size_t size = c->line_size;
    char *grown;

    if (size - c->line_len < CONTROL_READ_SIZE && size < PROTOCOL_REQUEST_MAX) {
        size = size ? size * 2 : CONTROL_READ_SIZE;
        grown = realloc(c->line, size);
        if (grown) {
            c->line = grown;
            c->line_size = size;
        }
    }
    *buf =
        uv_buf_init(c->line ? c->line + c->line_len : NULL, (unsigned)(c->line_size - c->line_len));
}

/* UV_ENOBUFS is a request that is too long. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;

    if (!c->control || n == 0)
        return;
    if (n < 0) {
        client_close(c);
        return;
    }
    if (c->line_len == 0)
        c->waiting_since_ms = uv_now(stream->loop);
    c->line_len += (size_t)n;
    serve_next(c);
}

/* A client that connects and says nothing, or half a request, is sent away. */
static void on_sweep(uv_timer_t *timer)
{
    struct control *control = timer->data;
    uint64_t now = uv_now(timer->loop);
    struct client *next;

    for (struct client *c = control->clients; c; c = next) {
        next = c->next;
        serve_next(c);
        if (!c->request.args && now - c->waiting_since_ms > CONTROL_LATE_MS)
            client_close(c);
    }
    if (!control->clients)
        uv_timer_stop(timer);
}

/* --- Who asks --- */

static bool has_group(const gid_t *groups, size_t count, gid_t wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (groups[i] == wanted)
            return true;
    }
    return false;
}

static void judge(struct client *c, const struct control *control)
{
    gid_t groups[CONTROL_GROUPS_MAX + 1];
    socklen_t len = sizeof(gid_t) * CONTROL_GROUPS_MAX, cred_len = sizeof(struct ucred);
    struct ucred cred;
    size_t count = 0;
    uv_os_fd_t fd;

    if (uv_fileno((uv_handle_t *)&c->pipe, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) == 0)
        count = len / sizeof(gid_t);
    groups[count++] = cred.gid;
    c->may_change = cred.uid == 0 || cred.uid == geteuid() ||
                    (control->has_operators && has_group(groups, count, control->operators));
    c->may_read = c->may_change || has_group(groups, count, control->group);
}

static void on_turned_away(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct control *control = listener->data;
    struct client *c = calloc(1, sizeof *c);

    if (!c)
        return;
    uv_pipe_init(listener->loop, &c->pipe, 0);
    c->pipe.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->pipe) != 0 ||
        control->clients_count == CONTROL_CLIENTS_MAX) {
        uv_close((uv_handle_t *)&c->pipe, on_turned_away);
        return;
    }
    judge(c, control);
    c->control = control;
    c->next = control->clients;
    c->waiting_since_ms = uv_now(listener->loop);
    control->clients = c;
    control->clients_count++;
    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
    if (!uv_is_active((uv_handle_t *)&control->sweep))
        uv_timer_start(&control->sweep, on_sweep, CONTROL_SWEEP_MS, CONTROL_SWEEP_MS);
}

/* --- The socket file --- */

/* A file left by a crash is in nobody's hands: connecting to it is refused. */
static bool somebody_listens(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool listens;

    strcpy(sa.sun_path, path);
    listens = fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    if (fd >= 0)
        close(fd);
    return listens;
}

static bool make_parent(struct control *c, const char *path, char why[512])
{
    char copy[FILE_PATH_SIZE];
    const char *dir;
    struct stat st;
    int rc;

    snprintf(copy, sizeof copy, "%s", path);
    dir = dirname(copy);
    if (stat(dir, &st) == 0)
        return true; /* somebody else's, perhaps /tmp: left as it is */
    rc = dir_make(dir, 0755);
    if (rc == 0) {
        snprintf(c->made_dir, sizeof c->made_dir, "%s", dir);
        return true;
    }
    snprintf(why, 512, "cannot make the directory %.300s: %s", dir, strerror(-rc));
    return false;
}

static bool clear_path(const char *path, char why[512])
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return true;
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(why, 512, "%.300s is there already and is no socket", path);
        return false;
    }
    if (somebody_listens(path)) {
        snprintf(why, 512, "another peald listens on %.300s; stop it, or give this one --socket",
                 path);
        return false;
    }
    if (unlink(path) == 0)
        return true;
    snprintf(why, 512, "cannot remove the old socket %.300s: %s", path, strerror(errno));
    return false;
}

static void choose_group(struct control *c)
{
    struct group *g = getgrnam(socket_group);

    if (g)
        c->group = g->gr_gid;
    else
        c->group = c->has_operators ? c->operators : getegid();
}

void control_set_operators(struct control *c, const char *operators)
{
    struct group *g = operators[0] ? getgrnam(operators) : NULL;

    c->has_operators = g != NULL;
    c->operators = g ? g->gr_gid : 0;
    if (operators[0] && !g)
        log_write(LOG_LEVEL_WARN, NULL,
                  "operators = %s: there is no such group of users; only root may change things",
                  operators);
}

static bool listen_on(struct control *c, const char *path, char why[512])
{
    int rc = uv_pipe_bind(&c->listener, path);

    if (rc == 0 && (chmod(path, CONTROL_SOCKET_MODE) < 0 || chown(path, (uid_t)-1, c->group) < 0) &&
        c->group != getegid())
        log_write(LOG_LEVEL_WARN, NULL, "cannot give %s to its group: %s", path, strerror(errno));
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&c->listener, CONTROL_BACKLOG, on_connection);
    if (rc == 0)
        return true;
    snprintf(why, 512, "cannot listen on %.300s: %s", path, uv_strerror(rc));
    return false;
}

static void on_control_closed(uv_handle_t *handle)
{
    struct control *c = handle->data;

    if (--c->closing > 0)
        return;
    if (c->made_dir[0])
        rmdir(c->made_dir);
    free(c);
}

struct control *control_open(struct daemon *d, const char *path, const char *operators,
                             char why[512])
{
    struct control *c = calloc(1, sizeof *c);
    bool ok;

    if (!c) {
        snprintf(why, 512, "out of memory");
        return NULL;
    }
    c->daemon = d;
    uv_pipe_init(&d->loop, &c->listener, 0);
    uv_timer_init(&d->loop, &c->sweep);
    c->listener.data = c->sweep.data = c;
    control_set_operators(c, operators);
    choose_group(c);
    ok = strlen(path) < sizeof((struct sockaddr_un *)0)->sun_path;
    if (!ok)
        snprintf(why, 512, "the socket's path %.300s is longer than unix(7) allows", path);
    if (ok && make_parent(c, path, why) && clear_path(path, why) && listen_on(c, path, why))
        return c;
    control_close(c);
    return NULL;
}

void control_close(struct control *c)
{
    while (c->clients)
        client_close(c->clients);
    c->closing = 2;
    uv_close((uv_handle_t *)&c->sweep, on_control_closed);
    uv_close((uv_handle_t *)&c->listener, on_control_closed); /* libuv removes the file */
}
