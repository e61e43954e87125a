#include "daemon/renewal.h"

#include "daemon/helper.h"
#include "daemon/log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 86400, RENEWAL_CSR_MAX = 4096 };

struct renewal {
    struct daemon *daemon;
    const struct blob *service;
    const struct sign_secret *key;
    const char *hostname;
    struct renewal_host host;
    void *ctx;
    struct renewal_state state;
    struct helper *helper; /* a request is under way */
    uv_timer_t *timer;     /* outlives us until it is closed */
    unsigned told_days;
    char error[RENEWAL_ERROR_SIZE];
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* x in units of the 32-bit random number: 0 <= result < x. */
static int64_t part_of(int64_t x, uint32_t random)
{
    return (int64_t)(((__int128)x * random) >> 32);
}

/* Doubling, and short where the life is short, so that there are always many tries in it. */
static int64_t back_off(const struct renewal_state *s, int64_t life)
{
    int64_t first = least(RENEWAL_FIRST_S, life / 180), last = least(RENEWAL_LAST_S, life / 48);
    int64_t wait = first;

    for (unsigned i = 1; i < s->failures && wait < last; i++)
        wait *= 2;
    wait = least(wait, last);
    wait += part_of(wait / 2, s->random * (2 * s->failures + 1));
    return wait > 1 ? wait : 1;
}

int64_t renewal_due_s(const struct renewal_state *s)
{
    int64_t life = s->not_after_s - s->not_before_s;
    int64_t due = s->not_before_s + life / 3 * 2 + part_of(life / 20, s->random);

    if (s->failures == 0)
        return due;
    return s->tried_s + back_off(s, life);
}

unsigned renewal_warning_days(const struct renewal_state *s, int64_t wall_s)
{
    static const unsigned days[] = {1, 3, 7};

    for (size_t i = 0; s->failures > 0 && i < ARRAY_LEN(days); i++) {
        if (s->not_after_s - wall_s <= (int64_t)days[i] * DAY_S)
            return days[i];
    }
    return 0;
}

static void warn(struct renewal *r, int64_t wall_s)
{
    unsigned days = renewal_warning_days(&r->state, wall_s);
    int64_t left = r->state.not_after_s - wall_s;

    if (days == 0 || days == r->told_days)
        return;
    r->told_days = days;
    if (left > 0)
        log_write(LOG_LEVEL_WARN, r->service->group,
                  "our certificate ends in %lld h and was not renewed: %s", (long long)left / 3600,
                  r->error);
    else
        log_write(LOG_LEVEL_ERROR, r->service->group,
                  "our certificate has ended and was not renewed: %s", r->error);
}

static void on_look(uv_timer_t *timer);

static void look_again(struct renewal *r)
{
    int64_t wait = renewal_due_s(&r->state) - time(NULL);

    if (wait < 0)
        wait = 0;
    uv_timer_start(r->timer, on_look, (uint64_t)least(wait, RENEWAL_LOOK_S) * 1000, 0);
}

static void failed(struct renewal *r, const char *why)
{
    r->state.failures++;
    r->state.tried_s = time(NULL);
    if (strcmp(r->error, why) != 0)
        log_write(LOG_LEVEL_INFO, r->service->group, "our certificate was not renewed: %s", why);
    snprintf(r->error, sizeof r->error, "%s", why);
    warn(r, r->state.tried_s);
    look_again(r);
}

static void on_answer(void *ctx, const json_t *answer)
{
    struct helper_error failure;
    char why[RENEWAL_ERROR_SIZE];
    struct renewal *r = ctx;

    r->helper = NULL;
    if (helper_failed(answer, &failure))
        failed(r, failure.message);
    else if (!r->host.renewed(r->ctx, answer, why))
        failed(r, why);
}

static void ask(struct renewal *r)
{
    char csr[RENEWAL_CSR_MAX];
    json_t *request;

    if (csr_make(r->key, r->hostname, csr, sizeof csr) < 0) {
        failed(r, "cannot make a certificate request");
        return;
    }
    request = json_pack("{s:s, s:s}", "what", "renew", "csr", csr);
    if (request)
        r->helper = helper_start(r->daemon, r->service, request, on_answer, r);
    if (!r->helper)
        failed(r, "out of memory");
}

static void on_look(uv_timer_t *timer)
{
    struct renewal *r = timer->data;
    int64_t now = time(NULL);

    warn(r, now);
    if (r->helper)
        return;
    if (now >= renewal_due_s(&r->state) && !r->daemon->stopping)
        ask(r);
    else
        look_again(r);
}

static void on_now(uv_timer_t *timer)
{
    struct renewal *r = timer->data;

    if (!r->helper && !r->daemon->stopping)
        ask(r);
}

void renewal_now(struct renewal *r)
{
    uv_timer_start(r->timer, on_now, randombytes_uniform(RENEWAL_NOW_MS), 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

struct renewal *renewal_new(struct daemon *d, const struct blob *service,
                            const struct sign_secret *key, const char *hostname,
                            const struct renewal_host *host, void *ctx)
{
    struct renewal *r = calloc(1, sizeof *r);
    uv_timer_t *timer = calloc(1, sizeof *timer);

    if (!r || !timer) {
        free(r);
        free(timer);
        return NULL;
    }
    r->daemon = d;
    r->service = service;
    r->key = key;
    r->hostname = hostname;
    r->host = *host;
    r->ctx = ctx;
    r->timer = timer;
    uv_timer_init(&d->loop, timer);
    timer->data = r;
    return r;
}

void renewal_free(struct renewal *r)
{
    if (!r)
        return;
    if (r->helper)
        helper_cancel(r->helper);
    uv_close((uv_handle_t *)r->timer, on_timer_closed);
    free(r);
}

void renewal_set(struct renewal *r, const struct cert *cert)
{
    r->state = (struct renewal_state){.not_before_s = cert->not_before_s,
                                      .not_after_s = cert->not_after_s,
                                      .random = randombytes_random()};
    r->told_days = 0;
    r->error[0] = '\0';
    look_again(r);
}

void renewal_hurry(struct renewal *r, int64_t gap_s)
{
    if (!r->helper && r->state.failures > 0 && time(NULL) - r->state.tried_s >= gap_s)
        ask(r);
}

const struct renewal_state *renewal_state_of(const struct renewal *r)
{
    return &r->state;
}

const char *renewal_error(const struct renewal *r)
{
    return r->error;
}
