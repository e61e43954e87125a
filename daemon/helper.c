#include "daemon/helper.h"

#include "daemon/file.h"
#include "daemon/https.h"
#include "daemon/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HELPER_MS = (HTTPS_TOTAL_S + 2) * 1000, /* longer than it gives itself */
    HELPER_HANDLES = 4,
    HELPER_READ = 64 * 1024,
};

struct helper {
    struct daemon *daemon;
    struct helper *next;
    helper_done *done; /* NULL: cancelled */
    void *ctx;

    uv_process_t process;
    uv_pipe_t in, out;
    uv_timer_t timer;
    uv_write_t write;
    char *request; /* with its line's end */
    char *reply;
    size_t reply_len, reply_size;
    unsigned open_handles;
    bool exited, reply_ended;
};

static void forget(struct helper *h)
{
    struct helper **at = &h->daemon->helpers;

    while (*at && *at != h)
        at = &(*at)->next;
    if (*at)
        *at = h->next;
    if (h->request)
        wipe(h->request, strlen(h->request));
    free(h->request);
    free(h->reply);
    free(h);
}

static void on_closed(uv_handle_t *handle)
{
    struct helper *h = handle->data;
    json_t *answer;

    if (--h->open_handles > 0)
        return;
    answer =
        h->reply_len > 0 ? json_loadb(h->reply, h->reply_len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (h->done)
        h->done(h->ctx, answer);
    json_decref(answer);
    forget(h);
}

/* It has ended and all it wrote is here. */
static void finish(struct helper *h)
{
    if (!h->exited || !h->reply_ended || uv_is_closing((uv_handle_t *)&h->timer))
        return;
    uv_close((uv_handle_t *)&h->process, on_closed);
    uv_close((uv_handle_t *)&h->in, on_closed);
    uv_close((uv_handle_t *)&h->out, on_closed);
    uv_close((uv_handle_t *)&h->timer, on_closed);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    struct helper *h = process->data;

    h->exited = true;
    finish(h);
}

/* No room given: libuv reports UV_ENOBUFS, and the answer counts as ended. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct helper *h = handle->data;

    if (h->reply_size - h->reply_len < HELPER_READ && h->reply_size < HTTPS_OUTPUT_MAX) {
        size_t size = h->reply_size ? 2 * h->reply_size : 2 * HELPER_READ;
        char *grown = realloc(h->reply, size);

        if (grown) {
            h->reply = grown;
            h->reply_size = size;
        }
    }
    *buf = uv_buf_init(h->reply ? h->reply + h->reply_len : NULL,
                       (unsigned)(h->reply_size - h->reply_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct helper *h = stream->data;

    if (n >= 0) {
        h->reply_len += (size_t)n;
        return;
    }
    if (n != UV_EOF)
        h->reply_len = 0; /* cut short: worth nothing */
    uv_read_stop(stream);
    h->reply_ended = true;
    if (n != UV_EOF && !h->exited)
        uv_process_kill(&h->process, SIGKILL);
    finish(h);
}

static void on_late(uv_timer_t *timer)
{
    struct helper *h = timer->data;

    if (!h->exited)
        uv_process_kill(&h->process, SIGKILL);
}

static void on_written(uv_write_t *write, int status)
{
    /* A helper that died meanwhile is noticed by its exit. */
}

/* uv_spawn initialises the process handle even when it fails. */
static int spawn(struct helper *h)
{
    char path[FILE_HELPER_SIZE];
    char *args[] = {path, NULL};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&h->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&h->out},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    uv_process_options_t options = {
        .file = path, .args = args, .stdio = stdio, .stdio_count = 3, .exit_cb = on_exit_of};
    int rc;

    file_helper(path, "peal-https");
    rc = uv_spawn(&h->daemon->loop, &h->process, &options);
    if (rc)
        log_write(LOG_LEVEL_ERROR, NULL, "cannot start %s: %s", path, uv_strerror(rc));
    return rc;
}

static void start_handles(struct helper *h)
{
    uv_loop_t *loop = &h->daemon->loop;

    uv_pipe_init(loop, &h->in, 0);
    uv_pipe_init(loop, &h->out, 0);
    uv_timer_init(loop, &h->timer);
    h->open_handles = HELPER_HANDLES;
}

static void run(struct helper *h)
{
    uv_buf_t buf = uv_buf_init(h->request, (unsigned)strlen(h->request));

    start_handles(h);
    if (spawn(h) != 0) {
        h->exited = h->reply_ended = true;
    } else {
        uv_write(&h->write, (uv_stream_t *)&h->in, &buf, 1, on_written);
        uv_read_start((uv_stream_t *)&h->out, on_alloc, on_read);
        uv_timer_start(&h->timer, on_late, HELPER_MS, 0);
    }
    h->process.data = h->in.data = h->out.data = h->timer.data = h;
    finish(h);
}

/* One line of JSON; taken over. */
static char *request_line(const struct daemon *d, const struct blob *service, json_t *request)
{
    const struct hostports *proxy = &d->config.proxy;
    char proxy_text[HOSTPORT_TEXT_SIZE];
    json_t *pins = json_array();
    char *text = NULL, *line = NULL;
    size_t len;

    for (size_t i = 0; i < service->pins.count; i++)
        json_array_append_new(pins, json_string(service->pins.v[i]));
    if (json_object_set_new(request, "server", json_string(service->server)) == 0 &&
        json_object_set_new(request, "group", json_string(service->group)) == 0 &&
        json_object_set(request, "server_pins", pins) == 0 &&
        json_object_set_new(request, "proxy",
                            proxy->count ? json_string(hostport_text(&proxy->v[0], proxy_text))
                                         : json_null()) == 0)
        text = json_dumps(request, JSON_COMPACT);
    json_decref(pins);
    json_decref(request);
    len = text ? strlen(text) : 0;
    if (text && (line = malloc(len + 2)) != NULL) {
        memcpy(line, text, len);
        memcpy(line + len, "\n", 2);
    }
    if (text)
        wipe(text, len); /* an enrolment's has the secret in it */
    free(text);
    return line;
}

struct helper *helper_start(struct daemon *d, const struct blob *service, json_t *request,
                            helper_done *done, void *ctx)
{
    struct helper *h = calloc(1, sizeof *h);
    char *line = request_line(d, service, request);

    if (!h || !line) {
        free(h);
        free(line);
        return NULL;
    }
    h->daemon = d;
    h->done = done;
    h->ctx = ctx;
    h->request = line;
    h->next = d->helpers;
    d->helpers = h;
    run(h);
    return h;
}

static void end(struct helper *h)
{
    if (!h->exited)
        uv_process_kill(&h->process, SIGKILL);
}

void helper_cancel(struct helper *h)
{
    h->done = NULL;
    end(h);
}

void helper_abort_all(struct daemon *d)
{
    for (struct helper *h = d->helpers; h; h = h->next)
        end(h);
}

bool helper_failed(const json_t *answer, struct helper_error *out)
{
    const json_t *error = json_object_get(answer, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));

    if (answer && !error)
        return false;
    out->code = code ? code : HTTPS_FAILED;
    out->message = message ? message : "the helper that asks the service gave no answer";
    return true;
}
