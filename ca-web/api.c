#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ca-web/answer.h"
#include "ca-web/api.h"
#include "ca-web/enrol.h"
#include "ca-web/map.h"
#include "ca-web/removal.h"
#include "ca-web/rollover.h"
#include "ca-web/spread.h"
#include "overlay/crypto/known.h"

enum { EVENTS_AFTER_DIGITS = 18 };

static const char type_json[] = "application/json";

void visit_refused(struct visit *v, enum outcome o)
{
    atomic_fetch_add(&v->service->refusals[o], 1);
}

void visit_json(struct visit *v, enum outcome o)
{
    v->response->type = type_json;
    v->response->status = outcome_http(o);
    if (o == OUT_OK)
        return;
    visit_refused(v, o);
    text_clear(&v->response->body);
    if (answer_error(&v->response->body, o) != OUT_OK)
        v->response->status = 500;
}

const char *api_string(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);

    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

json_t *api_body(const struct visit *v)
{
    const struct text *body = v->request->body;
    json_t *json =
        body->len ? json_loadb(body->p, body->len, JSON_REJECT_DUPLICATES, NULL) : json_object();

    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

/* Who is refused too often is told to wait, whatever he asks. */
static bool limited(struct visit *v)
{
    char who[LIMIT_WHO_SIZE], seconds[16];

    limit_address(who, v->request->address);
    int wait_s = limit_check(v->service->limit, LIMIT_ENROLL_ADDRESS, who, v->desk.now_s);
    if (!wait_s)
        return false;
    snprintf(seconds, sizeof seconds, "%d", wait_s);
    response_header(v->response, "Retry-After", seconds);
    visit_json(v, OUT_TOO_MANY);
    return true;
}

static void blame(struct visit *v, enum outcome o)
{
    char who[LIMIT_WHO_SIZE];

    if (o == OUT_OK || o == OUT_BUSY || o == OUT_INTERNAL)
        return;
    limit_address(who, v->request->address);
    limit_take(v->service->limit, LIMIT_ENROLL_ADDRESS, who, v->desk.now_s);
}

static enum outcome issued_answer(struct visit *v, const struct issued *issued)
{
    char pem[2 * CERT_DER_MAX];
    struct text chain = {0};
    struct server server;
    enum outcome o = server_load(&v->desk, &server); /* a pin may have been announced meanwhile */

    if (o == OUT_OK)
        o = group_chain(&v->desk, &issued->group, &chain);

    if (o == OUT_OK && der_to_pem("CERTIFICATE", issued->der, issued->der_len, pem, sizeof pem) < 0)
        o = OUT_INTERNAL;
    if (o == OUT_OK)
        o = answer_json(&v->response->body,
                        json_pack("{s:s, s:s, s:o, s:o, s:o}", "certificate", pem, "chain", chain.p,
                                  "network", answer_network(&issued->group), "server_pins",
                                  answer_list(server.pins), "successions",
                                  rollover_messages(&v->desk, &issued->group)),
                        JSON_COMPACT);
    text_clear(&chain);
    return o;
}

static void issue(struct visit *v,
                  enum outcome (*how)(struct visit *, const json_t *, struct issued *))
{
    struct issued issued = {0};
    json_t *json = NULL;
    enum outcome o = OUT_BAD_REQUEST;

    if (limited(v))
        return;
    json = api_body(v);
    if (json)
        o = how(v, json, &issued);
    if (o == OUT_OK)
        o = issued_answer(v, &issued);
    if (o == OUT_OK)
        atomic_fetch_add(&v->service->issued, 1);
    blame(v, o);
    visit_json(v, o);
    json_decref(json);
}

static enum outcome enroll_with(struct visit *v, const json_t *json, struct issued *issued)
{
    const char *group = api_string(json, "group"), *user = api_string(json, "user");
    const char *secret = api_string(json, "secret"), *csr = api_string(json, "csr");

    if (!group || !user || !secret || !csr || strlen(secret) > ENROL_SECRET_MAX)
        return OUT_BAD_REQUEST;
    return enrol(&v->desk, group, user, secret, csr, issued);
}

void api_enroll(struct visit *v)
{
    issue(v, enroll_with);
}

static enum outcome renew_with(struct visit *v, const json_t *json, struct issued *issued)
{
    const char *group = api_string(json, "group"), *csr = api_string(json, "csr");

    return group && csr ? enrol_renew(&v->desk, group, csr, issued) : OUT_BAD_REQUEST;
}

void api_renew(struct visit *v)
{
    issue(v, renew_with);
}

/* What the client has, by its ETag; 0: nothing, or no number of ours. */
static int64_t crl_known(const char *if_none_match)
{
    long long number = 0;
    int used = 0;

    if (sscanf(if_none_match, "\"%18lld\"%n", &number, &used) != 1 || if_none_match[used])
        return 0;
    return number;
}

void api_crl(struct visit *v)
{
    struct group g;
    char etag[32];
    bool known = false;
    int64_t number = crl_known(v->request->if_none_match);
    enum outcome o = group_find(&v->desk, v->params[0], &g);

    if (o == OUT_OK)
        o = removal_crl_is(&v->desk, &g, number, &known);
    if (o == OUT_OK && !known)
        o = removal_crl(&v->desk, &g, &v->response->body, &number);
    if (o != OUT_OK) {
        visit_json(v, o);
        return;
    }
    snprintf(etag, sizeof etag, "\"%lld\"", (long long)number);
    response_header(v->response, "ETag", etag);
    response_header(v->response, "Cache-Control", "no-cache");
    v->response->status = known ? 304 : 200;
    v->response->type = known ? NULL : "application/pkix-crl";
}

static bool after_read(const char *text, int64_t *after)
{
    size_t len = strspn(text, "0123456789");

    *after = strtoll(text, NULL, 10);
    return text[len] == '\0' && len <= EVENTS_AFTER_DIGITS; /* missing is 0 */
}

void api_events(struct visit *v)
{
    struct group g;
    int64_t after = 0;
    size_t count = 0;
    enum outcome o = after_read(form_value(&v->query, "after"), &after) ? OUT_OK : OUT_BAD_REQUEST;

    if (o == OUT_OK)
        o = group_find(&v->desk, v->params[0], &g);
    if (o == OUT_OK)
        o = removal_events(&v->desk, &g, after, &v->response->body, &count);
    visit_json(v, o);
    v->response->hold = o == OUT_OK && count == 0;
}

static bool message_read(const json_t *json, uint8_t out[KNOWN_LEN])
{
    const char *text = api_string(json, "message");
    size_t len = 0;

    return text &&
           sodium_base642bin(out, KNOWN_LEN, text, strlen(text), NULL, &len, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           len == KNOWN_LEN;
}

void api_known(struct visit *v)
{
    struct group g;
    uint8_t message[KNOWN_LEN];
    json_t *json;
    enum outcome o = OUT_BAD_REQUEST;

    if (limited(v))
        return;
    json = api_body(v);
    if (json && message_read(json, message))
        o = group_find(&v->desk, v->params[0], &g);
    if (o == OUT_OK)
        o = spread_told(&v->desk, &g, message, sizeof message);
    json_decref(json);
    if (o == OUT_OK)
        o = answer_json(&v->response->body, json_object(), JSON_COMPACT);
    blame(v, o);
    visit_json(v, o);
}

/* What a machine signed, out of {"message": base64}; to be freed. NULL: it is none, or too long. */
static uint8_t *map_message(const json_t *json, size_t *len)
{
    const char *text = json ? api_string(json, "message") : NULL;
    uint8_t *message = text ? malloc(RINGMAP_MAX) : NULL;

    if (message && sodium_base642bin(message, RINGMAP_MAX, text, strlen(text), NULL, len, NULL,
                                     sodium_base64_VARIANT_ORIGINAL) == 0)
        return message;
    free(message);
    return NULL;
}

void api_map(struct visit *v)
{
    struct group g;
    size_t len = 0;

    if (limited(v))
        return;
    json_t *json = api_body(v);
    uint8_t *message = map_message(json, &len);
    enum outcome o = message ? group_find(&v->desk, v->params[0], &g) : OUT_BAD_REQUEST;
    if (o == OUT_OK)
        o = map_told(&v->desk, &g, message, len);
    free(message);
    json_decref(json);
    if (o == OUT_OK)
        o = answer_json(&v->response->body, json_object(), JSON_COMPACT);
    blame(v, o);
    visit_json(v, o);
}

void api_health(struct visit *v)
{
    bool alive = store_int(v->desk.store, 0, "SELECT 1 FROM meta LIMIT 1", VALUES()) == 1;

    v->response->status = alive ? 200 : 503;
    v->response->type = "text/plain; charset=utf-8";
    text_str(&v->response->body, alive ? "ok\n" : "the database does not answer\n");
}

static void metric(struct text *out, const char *name, const char *kind, const char *help)
{
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void metrics_requests(struct visit *v, struct text *out)
{
    metric(out, "peal_ca_requests_total", "counter", "Requests by route and status code.");
    for (size_t r = 0; route_pattern(r); r++)
        for (size_t c = 0; route_code(c); c++) {
            long long n = atomic_load(&v->service->requests[r][c]);
            if (n)
                text_printf(out,
                            "peal_ca_requests_total{method=\"%s\",route=\"%s\",code=\"%d\"} %lld\n",
                            route_method(r), route_pattern(r), route_code(c), n);
        }
}

static void metrics_refusals(struct visit *v, struct text *out)
{
    metric(out, "peal_ca_refusals_total", "counter", "What was asked for and not done, by why.");
    for (int o = OUT_OK + 1; o < OUT_COUNT; o++) {
        long long n = atomic_load(&v->service->refusals[o]);
        if (n)
            text_printf(out, "peal_ca_refusals_total{code=\"%s\"} %lld\n",
                        outcome_code((enum outcome)o), n);
    }
}

static void metrics_members(struct visit *v, struct text *out)
{
    metric(out, "peal_ca_members", "gauge", "Members and requests by state, all groups.");
    struct query q =
        store_ask(v->desk.store, "SELECT state, count(*) FROM members GROUP BY state", VALUES());
    while (query_row(&q))
        text_printf(out, "peal_ca_members{state=\"%s\"} %lld\n", query_text(&q, 0),
                    (long long)query_int(&q, 1));
}

void api_metrics(struct visit *v)
{
    struct text *out = &v->response->body;
    struct service *s = v->service;

    v->response->status = 200;
    v->response->type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_requests(v, out);
    metrics_refusals(v, out);
    metrics_members(v, out);
    metric(out, "peal_ca_machines", "gauge", "Machines that are enrolled and not removed.");
    text_printf(out, "peal_ca_machines %lld\n",
                (long long)store_int(v->desk.store, 0,
                                     "SELECT count(*) FROM machines WHERE revoked_s IS NULL",
                                     VALUES()));
    metric(out, "peal_ca_issued_total", "counter", "Certificates handed out.");
    text_printf(out, "peal_ca_issued_total %lld\n", (long long)atomic_load(&s->issued));
    metric(out, "peal_ca_login_failures_total", "counter", "Refused log-ins.");
    text_printf(out, "peal_ca_login_failures_total %lld\n",
                (long long)atomic_load(&s->login_failures));
    metric(out, "peal_ca_connections_refused_total", "counter",
           "Connections cut and requests refused before they were read whole.");
    text_printf(out, "peal_ca_connections_refused_total %lld\n",
                (long long)atomic_load(&s->refused));
    metric(out, "peal_ca_held_answers", "gauge",
           "Machines that wait for removals: answers held until there is one.");
    text_printf(out, "peal_ca_held_answers %lld\n", (long long)atomic_load(&s->held));
}
