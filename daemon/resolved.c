#include "daemon/resolved.h"

#include "daemon/log.h"
#include "overlay/core/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RESOLVED_STEPS = 3, RESOLVED_WORDS = 5 };

/* Three calls, one after the other; then it frees itself. */
struct registration {
    uv_process_t process;
    uv_loop_t *loop;
    unsigned step;
    char device[16];
    char service[ADDR_TEXT_SIZE];
    char domain[NAME_MAX_LEN + 2]; /* "~" makes it a routing domain, not a search domain */
};

static void next_step(struct registration *r);

static void on_closed(uv_handle_t *handle)
{
    struct registration *r = handle->data;

    if (++r->step < RESOLVED_STEPS)
        next_step(r);
    else
        free(r);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct registration *r = process->data;

    if (status != 0 || signal != 0)
        log_write(LOG_LEVEL_WARN, NULL, "resolvectl for %s ended with status %lld", r->device,
                  (long long)status);
    uv_close((uv_handle_t *)process, on_closed);
}

static void next_step(struct registration *r)
{
    char *words[RESOLVED_STEPS][RESOLVED_WORDS] = {
        {(char *)"resolvectl", (char *)"dns", r->device, r->service, NULL},
        {(char *)"resolvectl", (char *)"domain", r->device, r->domain, NULL},
        {(char *)"resolvectl", (char *)"default-route", r->device, (char *)"no", NULL},
    };
    uv_process_options_t options = {0};
    int rc;

    options.file = "resolvectl";
    options.args = words[r->step];
    options.exit_cb = on_exit_status;
    r->process.data = r;
    rc = uv_spawn(r->loop, &r->process, &options);
    if (rc == 0) {
        uv_unref((uv_handle_t *)&r->process); /* the daemon does not stay for it */
        return;
    }
    log_write(LOG_LEVEL_WARN, NULL, "cannot run resolvectl: %s", uv_strerror(rc));
    r->step = RESOLVED_STEPS; /* the others would fail likewise */
    uv_close((uv_handle_t *)&r->process, on_closed);
}

void resolved_register(uv_loop_t *loop, const char *device, const struct addr *service,
                       const char *domain)
{
    struct registration *r;

    if (access("/run/systemd/resolve", F_OK) < 0)
        return;
    r = calloc(1, sizeof *r);
    if (!r)
        return;
    r->loop = loop;
    snprintf(r->device, sizeof r->device, "%s", device);
    addr_text(service, r->service);
    snprintf(r->domain, sizeof r->domain, "~%s", domain);
    next_step(r);
}
