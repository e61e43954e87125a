#include "daemon/resolved.h"

#include "daemon/log.h"
#include "overlay/core/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RESOLVED_STEPS = 3, RESOLVED_WORDS = 7, REVERSE_SIZE = 80 };

/* Three calls, one after the other; then it frees itself. */
struct registration {
    uv_process_t process;
    uv_loop_t *loop;
    unsigned step;
    char device[16];
    char service[ADDR_TEXT_SIZE];
    char domain[NAME_MAX_LEN + 1];                       /* also searched for short names */
    char reverse4[REVERSE_SIZE], reverse6[REVERSE_SIZE]; /* only asked: they begin with "~" */
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
        {(char *)"resolvectl", (char *)"domain", r->device, r->domain, r->reverse6,
         r->reverse4[0] ? r->reverse4 : NULL, NULL},
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

/* RFC 1035 3.5, RFC 3596 2.5: `bits` at a time, last first. A range that ends within a label has no
 * zone of its own: "". */
static void reverse_zone(char out[REVERSE_SIZE], const struct net *net)
{
    unsigned bits = net->addr.family == 4 ? 8 : 4;
    size_t len = 1;

    strcpy(out, "~");
    if (net->prefix % bits != 0 || net->prefix == 0) {
        out[0] = '\0';
        return;
    }
    for (unsigned i = net->prefix / bits; i-- > 0;) {
        unsigned byte = net->addr.b[i * bits / 8];

        if (bits == 4)
            byte = i % 2 == 0 ? byte >> 4 : byte & 0x0f;
        len += (size_t)snprintf(out + len, REVERSE_SIZE - len, bits == 4 ? "%x." : "%u.", byte);
    }
    snprintf(out + len, REVERSE_SIZE - len, bits == 4 ? "ip6.arpa" : "in-addr.arpa");
}

void resolved_register(uv_loop_t *loop, const struct resolved_link *link)
{
    struct registration *r;

    if (access("/run/systemd/resolve", F_OK) < 0)
        return;
    r = calloc(1, sizeof *r);
    if (!r)
        return;
    r->loop = loop;
    snprintf(r->device, sizeof r->device, "%s", link->device);
    snprintf(r->domain, sizeof r->domain, "%s", link->domain);
    addr_text(link->service, r->service);
    reverse_zone(r->reverse4, link->ipv4);
    reverse_zone(r->reverse6, link->ipv6);
    next_step(r);
}
