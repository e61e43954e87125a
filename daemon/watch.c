#include "daemon/watch.h"

#include "daemon/helper.h"
#include "daemon/https.h"
#include "daemon/log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WATCH_ETAG_SIZE = 128 };

/* One thing that is asked again and again. */
struct inquiry {
    struct watch *watch;
    uv_timer_t *timer; /* outlives us until it is closed */
    struct helper *helper;
    unsigned failures;
    helper_done *on_answer;
};

struct watch {
    struct daemon *daemon;
    const struct blob *service;
    struct watch_host host;
    void *ctx;
    struct inquiry crl, events, telling;
    uint64_t learned, told, telling_of; /* numbers; the last: what is on its way */
    int64_t learned_s;                  /* wall time */
    char etag[WATCH_ETAG_SIZE];
    uint64_t after;
    bool missed; /* something that the CRL is to be understood by: ask, whoever watches */
    int64_t checked_s;
};

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

/* In about so long. */
static void later(struct inquiry *q, uint64_t ms, uv_timer_cb due)
{
    uv_timer_start(q->timer, due, ms / 4 * 3 + randombytes_uniform((uint32_t)(ms / 2 + 1)), 0);
}

static void ask(struct inquiry *q, json_t *request)
{
    if (request && !q->watch->daemon->stopping)
        q->helper = helper_start(q->watch->daemon, q->watch->service, request, q->on_answer, q);
    else
        json_decref(request);
}

/* True: the answer is good. Else the next try is set. */
static bool answered(struct inquiry *q, const json_t *answer, uv_timer_cb due)
{
    struct helper_error failure;
    uint64_t wait = WATCH_RETRY_FIRST_S;

    q->helper = NULL;
    if (!helper_failed(answer, &failure)) {
        q->failures = 0;
        return true;
    }
    if (q->failures == 0)
        log_write(LOG_LEVEL_INFO, q->watch->service->group,
                  "cannot ask the service for removals: %s", failure.message);
    for (unsigned i = 0; i < q->failures && wait < WATCH_RETRY_LAST_S; i++)
        wait *= 2;
    q->failures++;
    later(q, (wait < WATCH_RETRY_LAST_S ? wait : WATCH_RETRY_LAST_S) * 1000, due);
    return false;
}

static size_t decode(const json_t *text, uint8_t *out, size_t size)
{
    size_t len = 0;

    if (!json_is_string(text) ||
        sodium_base642bin(out, size, json_string_value(text), json_string_length(text), NULL, &len,
                          NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return 0;
    return len;
}

/* --- The CRL --- */

static void on_crl_due(uv_timer_t *timer)
{
    struct inquiry *q = timer->data;
    const char *etag = q->watch->etag;

    if (!q->helper)
        ask(q, json_pack("{s:s, s:o}", "what", "crl", "etag",
                         etag[0] ? json_string(etag) : json_null()));
}

static void on_events_due(uv_timer_t *timer);

static void take_crl(struct watch *w, const json_t *answer)
{
    const json_t *text = json_object_get(answer, "crl");
    const char *etag = json_string_value(json_object_get(answer, "etag"));
    size_t size = json_string_length(text) / 4 * 3 + 3, len;
    uint8_t *der = malloc(size);
    bool good;

    len = der ? decode(text, der, size) : 0;
    good = len > 0 && w->host.crl(w->ctx, der, len);
    free(der);
    if (good && etag && strlen(etag) < sizeof w->etag)
        strcpy(w->etag, etag);
    if (len > 0 && !good) {
        w->missed = true;
        if (!w->events.helper)
            on_events_due(w->events.timer);
    }
}

static void on_crl(void *ctx, const json_t *answer)
{
    struct inquiry *q = ctx;

    if (answered(q, answer, on_crl_due)) {
        q->watch->checked_s = time(NULL);
        later(q, (uint64_t)WATCH_CRL_S * 1000, on_crl_due);
        if (!json_is_true(json_object_get(answer, "unchanged")))
            take_crl(q->watch, answer);
    }
    q->watch->host.checked(q->watch->ctx);
}

/* --- Removals --- */

static void on_events_due(uv_timer_t *timer)
{
    struct inquiry *q = timer->data;
    struct watch *w = q->watch;

    if (!q->helper && (w->missed || w->host.wanted(w->ctx)))
        ask(q, json_pack("{s:s, s:I}", "what", "events", "after", (json_int_t)w->after));
}

static void take_events(struct watch *w, const json_t *answer)
{
    const json_t *events = json_object_get(answer, "events"), *event;
    json_int_t number = json_integer_value(json_object_get(answer, "number"));
    uint8_t message[REMOVAL_MAX];
    size_t i, len;

    json_array_foreach(events, i, event)
    {
        len = decode(json_object_get(event, "removal"), message, sizeof message);
        if (len > 0)
            w->host.removal(w->ctx, message, len);
    }
    if (number > 0 && (uint64_t)number > w->after)
        w->after = (uint64_t)number;
}

static void on_events(void *ctx, const json_t *answer)
{
    struct inquiry *q = ctx;

    if (!answered(q, answer, on_events_due))
        return;
    later(q, WATCH_PAUSE_MS, on_events_due);
    take_events(q->watch, answer);
    if (q->watch->missed) {
        q->watch->missed = false;
        later(&q->watch->crl, WATCH_PAUSE_MS, on_crl_due);
    }
}

/* --- Telling --- */

static json_t *known_request(struct watch *w)
{
    char text[sodium_base64_ENCODED_LEN(KNOWN_LEN, sodium_base64_VARIANT_ORIGINAL)];
    int64_t age_s = time(NULL) - w->learned_s;
    uint8_t message[KNOWN_LEN];

    w->telling_of = w->learned;
    w->host.known(w->ctx, w->learned, age_s > 0 ? (uint32_t)age_s : 0, message);
    sodium_bin2base64(text, sizeof text, message, sizeof message, sodium_base64_VARIANT_ORIGINAL);
    return json_pack("{s:s, s:s}", "what", "known", "message", text);
}

static void on_telling_due(uv_timer_t *timer)
{
    struct inquiry *q = timer->data;

    if (!q->helper && q->watch->learned > q->watch->told)
        ask(q, known_request(q->watch));
}

static void on_told(void *ctx, const json_t *answer)
{
    struct inquiry *q = ctx;
    struct watch *w = q->watch;

    if (!answered(q, answer, on_telling_due))
        return;
    w->told = w->telling_of;
    if (w->learned > w->told)
        later(q, WATCH_TELL_LEAST_MS, on_telling_due);
}

void watch_learned(struct watch *w, uint64_t number, double members)
{
    double ms = members * 1000 / WATCH_TELL_PER_S;
    struct inquiry *q = &w->telling;

    if (number <= w->learned)
        return;
    w->learned = number;
    w->learned_s = time(NULL);
    if (q->helper || uv_is_active((const uv_handle_t *)q->timer))
        return;
    if (ms > WATCH_TELL_LAST_S * 1000.0)
        ms = WATCH_TELL_LAST_S * 1000.0;
    uv_timer_start(q->timer, on_telling_due,
                   WATCH_TELL_LEAST_MS + randombytes_uniform((uint32_t)ms + 1), 0);
}

/* --- Its life --- */

static bool inquiry_init(struct inquiry *q, struct watch *w, helper_done *on_answer)
{
    q->watch = w;
    q->on_answer = on_answer;
    q->timer = calloc(1, sizeof *q->timer);
    if (!q->timer)
        return false;
    uv_timer_init(&w->daemon->loop, q->timer);
    q->timer->data = q;
    return true;
}

static void inquiry_end(struct inquiry *q)
{
    if (q->helper)
        helper_cancel(q->helper);
    if (q->timer)
        uv_close((uv_handle_t *)q->timer, on_timer_closed);
}

struct watch *watch_new(struct daemon *d, const struct blob *service, uint64_t known,
                        const struct watch_host *host, void *ctx)
{
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->daemon = d;
    w->service = service;
    w->after = known;
    w->host = *host;
    w->ctx = ctx;
    if (!inquiry_init(&w->crl, w, on_crl) || !inquiry_init(&w->events, w, on_events) ||
        !inquiry_init(&w->telling, w, on_told)) {
        watch_free(w);
        return NULL;
    }
    later(&w->crl, (uint64_t)WATCH_CRL_FIRST_S * 1000, on_crl_due);
    return w;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    inquiry_end(&w->crl);
    inquiry_end(&w->events);
    inquiry_end(&w->telling);
    free(w);
}

void watch_look(struct watch *w)
{
    struct inquiry *q = &w->events;

    if (w->missed || w->host.wanted(w->ctx)) {
        if (!watch_is_on(w))
            on_events_due(q->timer);
        return;
    }
    uv_timer_stop(q->timer);
    if (q->helper)
        helper_cancel(q->helper);
    q->helper = NULL;
}

void watch_hurry(struct watch *w)
{
    if (w->crl.failures > 0)
        on_crl_due(w->crl.timer);
    if (w->events.failures > 0)
        on_events_due(w->events.timer);
    if (w->telling.failures > 0)
        on_telling_due(w->telling.timer);
}

bool watch_is_on(const struct watch *w)
{
    return w->events.helper || uv_is_active((const uv_handle_t *)w->events.timer);
}

int64_t watch_crl_checked_s(const struct watch *w)
{
    return w->checked_s;
}
