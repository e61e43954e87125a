/*
 * route.c - from a request to its handler: a const table, and the checks that come before every
 * handler: host, method, media type, origin, session, form token.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ca-web/log.h"
#include "ca-web/page.h"
#include "ca-web/token.h"

enum route_kind {
    ROUTE_API,   /* JSON in and out, no session */
    ROUTE_TOKEN, /* the same, in the name of the user whose token it carries */
    ROUTE_PAGE,  /* HTML; a POST carries a form and its token */
};

static const struct route {
    enum http_method method;
    enum route_kind kind;
    const char *pattern; /* {} matches one segment */
    void (*handle)(struct visit *v);
} routes[] = {
    {HTTP_POST, ROUTE_API, "/api/v1/enroll", api_enroll},
    {HTTP_POST, ROUTE_API, "/api/v1/renew", api_renew},
    {HTTP_GET, ROUTE_API, "/api/v1/groups/{}/crl", api_crl},
    {HTTP_GET, ROUTE_API, "/api/v1/groups/{}/events", api_events},
    {HTTP_POST, ROUTE_API, "/api/v1/groups/{}/known", api_known},
    {HTTP_POST, ROUTE_API, "/api/v1/groups/{}/map", api_map},
    {HTTP_GET, ROUTE_API, "/api/v1/openapi.json", v1_openapi},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups", v1_groups},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups", v1_group_add},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups/{}", v1_group},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}", v1_group_edit},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups/{}/spread", v1_spread},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups/{}/map", v1_map},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups/{}/authority", v1_authority},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/authority", v1_authority_post},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups/{}/members", v1_members},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups/{}/members/{}", v1_member},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/members/{}/request", v1_request},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/members/{}/approve", v1_approve},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/members/{}/deny", v1_deny},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/members/{}/revoke", v1_revoke},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/members/{}/role", v1_role},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/machines/{}/revoke", v1_machine_revoke},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/machines/{}/lost", v1_machine_lost},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/blob", page_blob_post},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups/{}/invitations", v1_invitations},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/invitations", v1_invite},
    {HTTP_POST, ROUTE_TOKEN, "/api/v1/groups/{}/invitations/{}/end", v1_invitation_end},
    {HTTP_GET, ROUTE_TOKEN, "/api/v1/groups/{}/audit", page_audit_json},
    {HTTP_GET, ROUTE_API, "/healthz", api_health},
    {HTTP_GET, ROUTE_API, "/metrics", api_metrics},
    {HTTP_GET, ROUTE_API, "/style.css", page_style},
    {HTTP_GET, ROUTE_PAGE, "/", page_start},
    {HTTP_POST, ROUTE_PAGE, "/login", page_log_in},
    {HTTP_POST, ROUTE_PAGE, "/login/code", page_log_in_code},
    {HTTP_POST, ROUTE_PAGE, "/logout", page_log_out},
    {HTTP_POST, ROUTE_PAGE, "/register", page_register},
    {HTTP_GET, ROUTE_PAGE, "/setup/{}", page_setup},
    {HTTP_POST, ROUTE_PAGE, "/setup/{}", page_setup_post},
    {HTTP_GET, ROUTE_PAGE, "/account", page_account},
    {HTTP_POST, ROUTE_PAGE, "/account", page_account_post},
    {HTTP_POST, ROUTE_PAGE, "/account/sessions", page_sessions_post},
    {HTTP_GET, ROUTE_PAGE, "/account/tokens", page_tokens},
    {HTTP_POST, ROUTE_PAGE, "/account/tokens", page_tokens_post},
    {HTTP_POST, ROUTE_PAGE, "/account/tokens/end", page_token_end_post},
    {HTTP_GET, ROUTE_PAGE, "/account/factor", page_factor},
    {HTTP_POST, ROUTE_PAGE, "/account/factor", page_factor_post},
    {HTTP_POST, ROUTE_PAGE, "/account/factor/off", page_factor_off_post},
    {HTTP_GET, ROUTE_PAGE, "/machines", page_machines},
    {HTTP_GET, ROUTE_PAGE, "/service", page_service},
    {HTTP_POST, ROUTE_PAGE, "/service/administrators", page_administrators_post},
    {HTTP_GET, ROUTE_PAGE, "/groups", page_groups},
    {HTTP_GET, ROUTE_PAGE, "/new-group", page_new_group},
    {HTTP_POST, ROUTE_PAGE, "/new-group", page_new_group_post},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}", page_group},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/join", page_join},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/join", page_join_post},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/blob", page_blob},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/blob", page_blob_post},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/approve", page_approve_post},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/deny", page_deny_post},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/revoke", page_revoke},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/revoke", page_revoke_post},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/members/{}", page_member},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/machines/{}", page_machine},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/machines/{}", page_machine_post},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/machines/{}/lost", page_machine_lost_post},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/roles", page_roles},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/roles", page_roles_post},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/invitations", page_invitations},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/invitations", page_invitations_post},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/invitations/end", page_invitation_end_post},
    {HTTP_GET, ROUTE_PAGE, "/invite/{}", page_invite},
    {HTTP_POST, ROUTE_PAGE, "/invite/{}", page_invite_post},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/audit", page_audit},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/audit.csv", page_audit_csv},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/audit.json", page_audit_json},
    {HTTP_GET, ROUTE_PAGE, "/groups/{}/settings", page_settings},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/settings", page_settings_post},
    {HTTP_POST, ROUTE_PAGE, "/groups/{}/authority", page_authority_post},
};
_Static_assert(ARRAY_LEN(routes) < SERVICE_ROUTES_MAX, "one row of counters is for no route");

static const int codes[SERVICE_CODES_MAX - 1] = {200, 303, 304, 400, 401, 403, 404, 405, 409,
                                                 412, 413, 415, 421, 428, 429, 500, 503};

const char *route_pattern(size_t i)
{
    return i < ARRAY_LEN(routes) ? routes[i].pattern : i == ARRAY_LEN(routes) ? "(none)" : NULL;
}

const char *route_method(size_t i)
{
    if (i >= ARRAY_LEN(routes))
        return "any";
    return routes[i].method == HTTP_POST ? "POST" : "GET";
}

int route_code(size_t i)
{
    return i < ARRAY_LEN(codes) ? codes[i] : 0;
}

/* Segments are compared as sent: nothing that needs an escape is a path of ours. */
static bool route_matches(const char *pattern, const char *path,
                          char params[VISIT_PARAMS_MAX][VISIT_PARAM_SIZE])
{
    size_t n = 0;

    while (*pattern && *path) {
        if (!strncmp(pattern, "{}", 2)) {
            size_t len = strcspn(path, "/");
            if (!len || len >= VISIT_PARAM_SIZE || n == VISIT_PARAMS_MAX)
                return false;
            memcpy(params[n], path, len);
            params[n++][len] = '\0';
            pattern += 2;
            path += len;
        } else if (*pattern++ != *path++)
            return false;
    }
    return !*pattern && !*path;
}

/* The host of "host:port", "[v6]:port" or either without a port. */
static bool host_known(const struct service *s, const struct request *r)
{
    char host[NAME_MAX_LEN + 1];
    const char *p = r->host;
    size_t len = *p == '[' ? strcspn(++p, "]") : strcspn(p, ":");

    if (!len || len >= sizeof host)
        return false;
    memcpy(host, p, len);
    host[len] = '\0';
    if (!strcasecmp(host, r->local))
        return true;
    for (size_t i = 0; i < s->name_count; i++)
        if (!strcasecmp(host, s->names[i]))
            return true;
    return false;
}

/* A browser says where a form comes from; other programs say nothing and have no cookies to abuse.
 */
static bool origin_ours(const struct request *r)
{
    static const char scheme[] = "https://";

    if (*r->fetch_site && strcmp(r->fetch_site, "same-origin") && strcmp(r->fetch_site, "none"))
        return false;
    return !*r->origin || (!strncmp(r->origin, scheme, sizeof scheme - 1) &&
                           !strcasecmp(r->origin + sizeof scheme - 1, r->host));
}

static bool type_is(const struct request *r, const char *type)
{
    size_t len = strlen(type);

    return !strncasecmp(r->type, type, len) && (!r->type[len] || strchr("; \t", r->type[len]));
}

/* Whoever has no session gets a cookie for his forms. */
static void session_load(struct visit *v)
{
    const char *cookies = v->request->cookie;
    char value[128];

    if (session_cookie(cookies, "__Host-peal", v->session) &&
        session_resume(&v->desk, v->session, &v->desk.actor)) {
        csrf_token(&v->service->csrf_key, v->session, v->csrf);
        return;
    }
    if (!session_cookie(cookies, "__Host-peal-form", v->session)) {
        session_draw(v->session);
        snprintf(value, sizeof value,
                 "__Host-peal-form=%s; Path=/; Secure; HttpOnly; SameSite=Strict", v->session);
        response_header(v->response, "Set-Cookie", value);
    }
    csrf_token(&v->service->csrf_key, v->session, v->csrf);
}

static enum outcome post_check(struct visit *v, enum route_kind kind)
{
    const struct request *r = v->request;

    if (!origin_ours(r))
        return OUT_BAD_ORIGIN;
    if (kind != ROUTE_PAGE)
        return type_is(r, "application/json") ? OUT_OK : OUT_BAD_TYPE;
    if (!type_is(r, "application/x-www-form-urlencoded"))
        return OUT_BAD_TYPE;
    if (!form_read(&v->form, r->body->p, r->body->len))
        return OUT_BAD_REQUEST;
    return csrf_valid(&v->service->csrf_key, v->session, form_value(&v->form, "csrf"))
               ? OUT_OK
               : OUT_BAD_CSRF;
}

/* RFC 6750. Whoever tries tokens is told to wait, whatever he sends then. */
static enum outcome token_load(struct visit *v)
{
    struct limit *limit = v->service->limit;
    char who[LIMIT_WHO_SIZE], seconds[16];

    limit_address(who, v->request->address);
    int wait_s = limit_check(limit, LIMIT_TOKEN_ADDRESS, who, v->desk.now_s);
    if (wait_s) {
        snprintf(seconds, sizeof seconds, "%d", wait_s);
        response_header(v->response, "Retry-After", seconds);
        return OUT_TOO_MANY;
    }
    if (token_resume(&v->desk, v->request->authorization, &v->desk.actor))
        return OUT_OK;
    limit_take(limit, LIMIT_TOKEN_ADDRESS, who, v->desk.now_s);
    response_header(v->response, "WWW-Authenticate", "Bearer");
    return OUT_BAD_TOKEN;
}

/* *route: what the path matches; *allow: the methods that it takes. */
static enum outcome route_find(const struct request *r, const struct route **route, unsigned *allow,
                               char params[VISIT_PARAMS_MAX][VISIT_PARAM_SIZE])
{
    *route = NULL;
    *allow = 0;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!route_matches(routes[i].pattern, r->path, params))
            continue;
        *allow |= routes[i].method;
        if (routes[i].method == r->method) {
            *route = &routes[i];
            return OUT_OK;
        }
    }
    return *allow ? OUT_BAD_METHOD : OUT_NO_PAGE;
}

static void answer_failure(struct visit *v, enum outcome o, unsigned allow)
{
    if (o == OUT_BAD_METHOD)
        response_header(v->response, "Allow",
                        allow == HTTP_GET    ? "GET, HEAD"
                        : allow == HTTP_POST ? "POST"
                                             : "GET, HEAD, POST");
    page_failure(v, o);
}

static void visit_run(struct visit *v, const struct route **route)
{
    unsigned allow = 0;
    enum outcome o = OUT_OK;

    if (!host_known(v->service, v->request))
        o = OUT_BAD_HOST;
    if (o == OUT_OK)
        o = route_find(v->request, route, &allow, v->params);
    if (o == OUT_OK && !form_read(&v->query, v->request->query, strlen(v->request->query)))
        o = OUT_BAD_REQUEST;
    v->api = *route ? (*route)->kind != ROUTE_PAGE : !strncmp(v->request->path, "/api/", 5);
    if (o == OUT_OK && (*route)->kind == ROUTE_PAGE)
        session_load(v);
    if (o == OUT_OK && (*route)->kind == ROUTE_TOKEN)
        o = token_load(v);
    if (o == OUT_OK && (*route)->method == HTTP_POST)
        o = post_check(v, (*route)->kind);
    if (o == OUT_OK)
        (*route)->handle(v);
    else
        answer_failure(v, o, allow);
    if (v->response->body.failed) {
        text_clear(&v->response->body);
        visit_json(v, OUT_INTERNAL);
    }
}

static void count(struct service *s, const struct route *route, int status)
{
    size_t r = route ? (size_t)(route - routes) : ARRAY_LEN(routes);

    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i] == status)
            atomic_fetch_add(&s->requests[r][i], 1);
}

static int64_t clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void service_handle(void *ctx, const struct request *request, struct response *response)
{
    const int64_t began_ms = clock_ms();
    struct visit v = {.service = ctx, .request = request, .response = response};
    const struct route *route = NULL;

    v.desk = (struct desk){
        .store = service_borrow(v.service), .vault = v.service->home.vault, .now_s = time(NULL)};
    strcpy(v.desk.actor.address, request->address);
    visit_run(&v, &route);
    service_return(v.service, v.desk.store);
    form_clear(&v.form);
    form_clear(&v.query);
    wipe(v.session, sizeof v.session);
    if (response->hold && request->may_hold)
        return;
    count(v.service, route, response->status);
    log_request(response->status >= 500 ? LOG_ERROR : LOG_INFO,
                &(struct log_request){.method = request->method == HTTP_POST ? "POST" : "GET",
                                      .route = route ? route->pattern : "(none)",
                                      .address = request->address,
                                      .user = v.desk.actor.name,
                                      .status = response->status,
                                      .ms = (long)(clock_ms() - began_ms)});
}
