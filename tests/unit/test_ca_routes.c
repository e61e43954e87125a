// link: peal_ca
/*
 * Every route, asked by everybody: the table says what each of them gets, a route without a row
 * fails, and whoever is refused has changed nothing. Rows beside a route's own ask for objects of
 * another group under this group's name.
 */
#include "test_ca_desk.h"

#include <jansson.h>
#include <time.h>

#include "ca-web/invite.h"
#include "ca-web/log.h"
#include "ca-web/openapi.h"
#include "ca-web/role.h"
#include "ca-web/service.h"
#include "ca-web/token.h"
#include "ca-web/visit.h"

enum who {
    STRANGER,
    OUTSIDER, /* logged in, no member */
    ASKER,    /* has asked to join */
    MEMBER,
    AUDITOR, /* holds the role, is no member; so do the next two */
    APPROVER,
    ADMINISTRATOR,
    OWNER,
    OTHER, /* owner of the group "elsewhere" */
    SERVICE,
    WHO_COUNT,
};
static const char *const names[WHO_COUNT] = {"stranger", "outsider", "asker",         "member",
                                             "auditor",  "approver", "administrator", "owner",
                                             "other",    "service"};

struct world {
    struct bench b;
    struct service service;
    struct store *watch;
    char session[WHO_COUNT][SESSION_TOKEN_SIZE];
    /* What stands for $NODE (of member), $ALIEN (of other, elsewhere), $INVITE, and $SESSION (a
     * second one of owner). */
    char node[ID_TEXT_SIZE], alien[ID_TEXT_SIZE], invite[INVITE_TOKEN_SIZE];
    char second[2 * HASH_LEN + 1];
    int asked; /* each request from an address of its own: limits are tested elsewhere */
    char token[WHO_COUNT][TOKEN_SIZE]; /* for everything; the owner's is number OWNER */
};

static void node_of(struct world *w, const char *group, const char *user, unsigned machine,
                    char out[ID_TEXT_SIZE])
{
    struct group g;
    struct account a;
    struct issued issued;
    struct id id;
    char secret[64];

    assert_int_equal(group_find(&w->b.desk, group, &g), OUT_OK);
    assert_int_equal(account_find(&w->b.desk, user, &a), OUT_OK);
    bench_secret(&w->b, &g, &a, secret);
    assert_int_equal(bench_enrol(&w->b, group, user, secret, machine, &issued), OUT_OK);
    struct query q =
        store_ask(w->b.desk.store, "SELECT node FROM machines ORDER BY id DESC LIMIT 1", VALUES());
    assert_true(query_row(&q) && query_copy(&q, 0, id.b, ID_LEN));
    query_end(&q);
    id_text(&id, out);
}

static void people_make(struct world *w)
{
    struct account a[WHO_COUNT] = {0};
    struct group g, elsewhere;
    char token[INVITE_TOKEN_SIZE];
    char second[SESSION_TOKEN_SIZE];
    uint8_t hash[HASH_LEN];
    const struct invite_wish wish = {.note = "", .days = 7, .uses = 1};
    const struct token_wish everything = {
        .name = "program", .scopes = (1u << SCOPE_COUNT) - 1, .group = "", .days = 1};

    for (int i = OUTSIDER; i < WHO_COUNT; i++) {
        assert_int_equal(account_add(&w->b.desk, VERB_USER_ADD, names[i], "u@example.org", NULL,
                                     i == SERVICE, &a[i]),
                         OUT_OK);
        assert_int_equal(session_begin(&w->b.desk, &a[i], "", w->session[i]), OUT_OK);
    }
    g = bench_group(&w->b, "lab", &a[OWNER]);
    elsewhere = bench_group(&w->b, "elsewhere", &a[OTHER]);
    bench_member(&w->b, &g, &a[MEMBER]);
    assert_int_equal(member_request(&w->b.desk, &g, &a[ASKER], ""), OUT_OK);
    for (int i = AUDITOR; i <= ADMINISTRATOR; i++)
        assert_int_equal(role_set(&w->b.desk, &g, &a[i], names[i]), OUT_OK);
    node_of(w, "lab", "member", 1, w->node);
    node_of(w, "elsewhere", "other", 2, w->alien);
    assert_int_equal(invite_make(&w->b.desk, &g, &wish, w->invite), OUT_OK);
    assert_int_equal(session_begin(&w->b.desk, &a[OWNER], "", second), OUT_OK);
    sha256(hash, second, strlen(second));
    hex_text(hash, sizeof hash, w->second);
    for (int i = OUTSIDER; i < WHO_COUNT; i++) {
        struct desk d = bench_as(&w->b, &a[i]);
        assert_int_equal(token_make(&d, &a[i], &everything, w->token[i]), OUT_OK);
    }
    /* Used just now: the first use of a minute is written down, which is no change of note. */
    assert_int_equal(
        store_run(w->b.desk.store, "UPDATE tokens SET used_s = ?1", VALUES(v_int(w->b.desk.now_s))),
        WHO_COUNT - OUTSIDER);
    assert_int_equal(invite_make(&w->b.desk, &elsewhere, &wish, token), OUT_OK);
}

static void world_open(struct world *w)
{
    const char *why = NULL;

    *w = (struct world){0};
    bench_open(&w->b);
    w->b.desk.now_s = time(NULL);
    people_make(w);
    w->service.home = w->b.home;
    assert_true(service_start(&w->service, &why));
    service_add_name(&w->service, "ca.example");
    strcpy(w->service.server.url, "https://ca.example");
    assert_int_equal(server_write(&w->b.desk, &w->service.server), OUT_OK);
    w->watch = home_store(&w->b.home, &why);
    assert_non_null(w->watch);
}

static void world_close(struct world *w)
{
    store_close(w->watch);
    service_stop(&w->service);
    bench_close(&w->b);
}

struct row {
    const char *method, *pattern; /* the route */
    const char *path, *body;
    /* For each of `who`: y done; l log in; f forbidden; n not found; j off to the page for asking;
     * b refused for what was asked, not for who asks. */
    const char *want;
};

/* The last but one column is the owner of another group, the last one a service administrator. */
static const struct row rows[] = {
    /*                                                             soam aaao os  */
    {"GET", "/", "/", "", "yyyyyyyyyy"},
    {"GET", "/style.css", "/style.css", "", "yyyyyyyyyy"},
    {"GET", "/healthz", "/healthz", "", "yyyyyyyyyy"},
    {"GET", "/metrics", "/metrics", "", "yyyyyyyyyy"},
    {"POST", "/api/v1/enroll", "/api/v1/enroll", "{}", "bbbbbbbbbb"},
    {"POST", "/api/v1/renew", "/api/v1/renew", "{}", "bbbbbbbbbb"},
    {"GET", "/api/v1/groups/{}/crl", "/api/v1/groups/lab/crl", "", "yyyyyyyyyy"},
    {"GET", "/api/v1/groups/{}/events", "/api/v1/groups/lab/events", "", "yyyyyyyyyy"},
    {"POST", "/api/v1/groups/{}/known", "/api/v1/groups/lab/known", "{}", "bbbbbbbbbb"},
    {"POST", "/api/v1/groups/{}/known", "/api/v1/groups/lab/known", "{\"message\":\"AAAA\"}",
     "bbbbbbbbbb"},
    {"POST", "/api/v1/groups/{}/map", "/api/v1/groups/lab/map", "{}", "bbbbbbbbbb"},
    {"POST", "/api/v1/groups/{}/map", "/api/v1/groups/lab/map", "{\"message\":\"AAAA\"}",
     "bbbbbbbbbb"},
    {"GET", "/api/v1/groups/{}/map", "/api/v1/groups/lab/map", "", "lfffyyyyfy"},
    {"GET", "/api/v1/groups/{}/map", "/api/v1/groups/elsewhere/map", "", "lfffffffyy"},
    {"GET", "/api/v1/groups/{}/spread", "/api/v1/groups/lab/spread", "", "lfffyyyyfy"},
    {"GET", "/api/v1/groups/{}/spread", "/api/v1/groups/elsewhere/spread", "", "lfffffffyy"},
    {"GET", "/api/v1/groups/{}/authority", "/api/v1/groups/lab/authority", "", "lfffffyyfy"},
    {"POST", "/api/v1/groups/{}/authority", "/api/v1/groups/lab/authority", "{\"action\":\"roll\"}",
     "lffffffyfy"},
    {"POST", "/api/v1/groups/{}/authority", "/api/v1/groups/lab/authority", "{\"action\":\"end\"}",
     "lffffffbfb"},
    {"POST", "/api/v1/groups/{}/authority", "/api/v1/groups/elsewhere/authority",
     "{\"action\":\"roll\"}", "lfffffffyy"},
    {"POST", "/groups/{}/authority", "/groups/lab/authority", "action=roll", "lffffffyfy"},
    {"POST", "/groups/{}/authority", "/groups/lab/authority", "action=x", "lffffffbfb"},
    {"GET", "/api/v1/openapi.json", "/api/v1/openapi.json", "", "yyyyyyyyyy"},
    {"GET", "/api/v1/groups", "/api/v1/groups", "", "lyyyyyyyyy"},
    {"POST", "/api/v1/groups", "/api/v1/groups", "{\"name\":\"third\"}", "lffffffffy"},
    {"POST", "/api/v1/groups", "/api/v1/groups", "[]", "lffffffffb"},
    {"GET", "/api/v1/groups/{}", "/api/v1/groups/lab", "", "lffyyyyyfy"},
    {"GET", "/api/v1/groups/{}", "/api/v1/groups/nowhere", "", "lnnnnnnnnn"},
    {"POST", "/api/v1/groups/{}", "/api/v1/groups/lab", "{\"lease_hours\":12}", "lfffffyyfy"},
    {"POST", "/api/v1/groups/{}", "/api/v1/groups/lab", "{\"lease_hours\":0}", "lfffffbbfb"},
    {"POST", "/api/v1/groups/{}", "/api/v1/groups/lab", "{\"bootstrap\":\"x\"}", "lfffffbbfb"},
    {"GET", "/api/v1/groups/{}/members", "/api/v1/groups/lab/members?state=approved", "",
     "lfffyyyyfy"},
    {"GET", "/api/v1/groups/{}/members/{}", "/api/v1/groups/lab/members/member", "", "lfffyyyyfy"},
    {"GET", "/api/v1/groups/{}/members/{}", "/api/v1/groups/lab/members/other", "", "lfffnnnnfn"},
    {"POST", "/api/v1/groups/{}/members/{}/request", "/api/v1/groups/lab/members/$SELF/request",
     "{}", "lyybyyybyy"},
    {"POST", "/api/v1/groups/{}/members/{}/request", "/api/v1/groups/lab/members/outsider/request",
     "{}", "lyffffffff"},
    {"POST", "/api/v1/groups/{}/members/{}/approve", "/api/v1/groups/lab/members/asker/approve",
     "{\"note\":\"x\"}", "lffffyyyfy"},
    {"POST", "/api/v1/groups/{}/members/{}/approve", "/api/v1/groups/lab/members/other/approve",
     "{}", "lffffnnnfn"},
    {"POST", "/api/v1/groups/{}/members/{}/deny", "/api/v1/groups/lab/members/asker/deny", "",
     "lffffyyyfy"},
    {"POST", "/api/v1/groups/{}/members/{}/revoke", "/api/v1/groups/lab/members/member/revoke",
     "{}", "lfffffyyfy"},
    {"POST", "/api/v1/groups/{}/members/{}/revoke", "/api/v1/groups/lab/members/nobody/revoke",
     "{}", "lfffffnnfn"},
    {"POST", "/api/v1/groups/{}/members/{}/role", "/api/v1/groups/lab/members/member/role",
     "{\"role\":\"owner\"}", "lffffffyfy"},
    {"POST", "/api/v1/groups/{}/members/{}/role", "/api/v1/groups/lab/members/owner/role",
     "{\"role\":\"member\"}", "lffffffbfb"},
    {"POST", "/api/v1/groups/{}/machines/{}/revoke", "/api/v1/groups/lab/machines/$NODE/revoke",
     "{}", "lffyffyyfy"},
    {"POST", "/api/v1/groups/{}/machines/{}/revoke", "/api/v1/groups/lab/machines/$ALIEN/revoke",
     "{}", "lfffffnnfn"},
    {"POST", "/api/v1/groups/{}/machines/{}/lost", "/api/v1/groups/lab/machines/$NODE/lost",
     "{\"note\":\"x\"}", "lffyffffff"},
    {"POST", "/api/v1/groups/{}/machines/{}/lost", "/api/v1/groups/lab/machines/$ALIEN/lost", "{}",
     "lfffffffff"},
    {"POST", "/api/v1/groups/{}/blob", "/api/v1/groups/lab/blob", "{}", "lffyfffyff"},
    {"GET", "/api/v1/groups/{}/invitations", "/api/v1/groups/lab/invitations", "", "lffffyyyfy"},
    {"POST", "/api/v1/groups/{}/invitations", "/api/v1/groups/lab/invitations", "{\"uses\":2}",
     "lffffyyyfy"},
    {"POST", "/api/v1/groups/{}/invitations", "/api/v1/groups/lab/invitations", "{\"uses\":0}",
     "lffffbbbfb"},
    {"POST", "/api/v1/groups/{}/invitations/{}/end", "/api/v1/groups/lab/invitations/1/end", "{}",
     "lffffyyyfy"},
    {"POST", "/api/v1/groups/{}/invitations/{}/end", "/api/v1/groups/lab/invitations/2/end", "{}",
     "lffffnnnfn"},
    {"GET", "/api/v1/groups/{}/audit", "/api/v1/groups/lab/audit", "", "lfffyfyyfy"},
    {"POST", "/login", "/login", "name=owner&password=wrong", "llllllllll"},
    {"POST", "/login/code", "/login/code", "proof=owner.1.x&code=123456", "llllllllll"},
    {"POST", "/logout", "/logout", "", "yyyyyyyyyy"},
    {"POST", "/register", "/register", "name=new&email=x", "bbbbbbbbbb"},
    {"GET", "/setup/{}", "/setup/nonsense", "", "ffffffffff"},
    {"POST", "/setup/{}", "/setup/nonsense", "name=new&email=n@example.org&password=long+enough",
     "ffffffffff"},
    {"GET", "/account", "/account", "", "lyyyyyyyyy"},
    {"POST", "/account", "/account", "old=x&password=x", "llllllllll"},
    {"POST", "/account/sessions", "/account/sessions", "session=others", "lyyyyyyyyy"},
    {"POST", "/account/sessions", "/account/sessions", "session=$SESSION", "lnnnnnnynn"},
    {"GET", "/account/tokens", "/account/tokens", "", "lyyyyyyyyy"},
    {"POST", "/account/tokens", "/account/tokens", "name=x&days=1&scope-read=1", "lyyyyyyyyy"},
    {"POST", "/account/tokens", "/account/tokens", "name=x&days=1", "lbbbbbbbbb"},
    {"POST", "/account/tokens/end", "/account/tokens/end", "token=7", "lnnnnnnynn"},
    {"GET", "/account/factor", "/account/factor", "", "lyyyyyyyyy"},
    {"POST", "/account/factor", "/account/factor", "offer=x&code=1", "lbbbbbbbbb"},
    {"POST", "/account/factor/off", "/account/factor/off", "old=wrong", "llllllllll"},
    {"GET", "/machines", "/machines", "", "lyyyyyyyyy"},
    {"GET", "/service", "/service?q=own&page=1", "", "lffffffffy"},
    {"POST", "/service/administrators", "/service/administrators", "user=owner&admin=yes",
     "lffffffffy"},
    {"POST", "/service/administrators", "/service/administrators", "user=service&admin=no",
     "lffffffffb"},
    {"POST", "/service/administrators", "/service/administrators", "user=nobody&admin=no",
     "lffffffffn"},
    {"GET", "/groups", "/groups", "", "lyyyyyyyyy"},
    {"GET", "/new-group", "/new-group", "", "lffffffffy"},
    {"POST", "/new-group", "/new-group", "name=third", "lffffffffy"},
    {"GET", "/groups/{}", "/groups/lab", "", "ljjyyyyyjy"},
    {"GET", "/groups/{}", "/groups/nowhere", "", "lnnnnnnnnn"},
    {"GET", "/groups/{}/join", "/groups/lab/join", "", "lyyyyyyyyy"},
    {"POST", "/groups/{}/join", "/groups/lab/join", "reason=x", "lyybyyybyy"},
    {"GET", "/groups/{}/blob", "/groups/lab/blob", "", "lffyfffyff"},
    {"POST", "/groups/{}/blob", "/groups/lab/blob", "", "lffyfffyff"},
    {"POST", "/groups/{}/approve", "/groups/lab/approve", "user=asker", "lffffyyyfy"},
    {"POST", "/groups/{}/approve", "/groups/lab/approve", "user=other", "lffffnnnfn"},
    {"POST", "/groups/{}/deny", "/groups/lab/deny", "user=asker", "lffffyyyfy"},
    {"POST", "/groups/{}/deny", "/groups/lab/deny", "user=other", "lffffnnnfn"},
    {"GET", "/groups/{}/revoke", "/groups/lab/revoke?user=member", "", "lfffffyyfy"},
    {"POST", "/groups/{}/revoke", "/groups/lab/revoke", "user=member", "lfffffyyfy"},
    {"POST", "/groups/{}/revoke", "/groups/lab/revoke", "user=other", "lfffffffff"},
    {"POST", "/groups/{}/revoke", "/groups/lab/revoke", "user=owner", "lfffffbbfb"},
    {"GET", "/groups/{}/members/{}", "/groups/lab/members/member", "", "lfffyyyyfy"},
    {"GET", "/groups/{}/members/{}", "/groups/lab/members/other", "", "lfffnnnnfn"},
    {"GET", "/groups/{}/machines/{}", "/groups/lab/machines/$NODE", "", "lffyffyyfy"},
    {"GET", "/groups/{}/machines/{}", "/groups/lab/machines/$ALIEN", "", "lfffffnnfn"},
    {"GET", "/groups/{}/machines/{}", "/groups/elsewhere/machines/$NODE", "", "lfffffffnn"},
    {"POST", "/groups/{}/machines/{}", "/groups/lab/machines/$NODE", "note=x", "lffyffyyfy"},
    {"POST", "/groups/{}/machines/{}", "/groups/lab/machines/$ALIEN", "note=x", "lfffffnnfn"},
    {"POST", "/groups/{}/machines/{}", "/groups/elsewhere/machines/$NODE", "", "lfffffffnn"},
    {"POST", "/groups/{}/machines/{}/lost", "/groups/lab/machines/$NODE/lost", "", "lffyffffff"},
    {"POST", "/groups/{}/machines/{}/lost", "/groups/lab/machines/$ALIEN/lost", "", "lfffffnnfn"},
    {"POST", "/groups/{}/machines/{}/lost", "/groups/elsewhere/machines/$NODE/lost", "",
     "lfffffffnn"},
    {"GET", "/groups/{}/roles", "/groups/lab/roles", "", "lfffyyyyfy"},
    {"POST", "/groups/{}/roles", "/groups/lab/roles", "user=member&role=owner", "lffffffyfy"},
    {"POST", "/groups/{}/roles", "/groups/lab/roles", "user=owner&role=member", "lffffffbfb"},
    {"POST", "/groups/{}/roles", "/groups/lab/roles", "user=owner&role=king", "lffffffbfb"},
    {"GET", "/groups/{}/invitations", "/groups/lab/invitations", "", "lffffyyyfy"},
    {"POST", "/groups/{}/invitations", "/groups/lab/invitations", "uses=1&days=1", "lffffyyyfy"},
    {"POST", "/groups/{}/invitations/end", "/groups/lab/invitations/end", "number=1", "lffffyyyfy"},
    {"POST", "/groups/{}/invitations/end", "/groups/lab/invitations/end", "number=2", "lffffnnnfn"},
    {"GET", "/invite/{}", "/invite/$INVITE", "", "yyyyyyyyyy"},
    {"GET", "/invite/{}", "/invite/nonsense", "", "nnnnnnnnnn"},
    {"POST", "/invite/{}", "/invite/$INVITE", "", "lyyyyyyyyy"},
    {"POST", "/invite/{}", "/invite/nonsense", "", "lnnnnnnnnn"},
    {"GET", "/groups/{}/audit", "/groups/lab/audit", "", "lfffyfyyfy"},
    {"GET", "/groups/{}/audit.csv", "/groups/lab/audit.csv", "", "lfffyfyyfy"},
    {"GET", "/groups/{}/audit.json", "/groups/lab/audit.json", "", "lfffyfyyfy"},
    {"GET", "/groups/{}/settings", "/groups/lab/settings", "", "lfffffyyfy"},
    {"POST", "/groups/{}/settings", "/groups/lab/settings",
     "version=1&lease_hours=12&certificate_days=7", "lfffffyyfy"},
    {"POST", "/groups/{}/settings", "/groups/lab/settings",
     "version=7&lease_hours=12&certificate_days=7", "lfffffbbfb"},
};

/* Puts the world's values where the text says $NAME. */
static void fill_in(const struct world *w, char *out, size_t size, const char *text, int who)
{
    const struct {
        const char *name, *value;
    } values[] = {{"$NODE", w->node},
                  {"$ALIEN", w->alien},
                  {"$INVITE", w->invite},
                  {"$SESSION", w->second},
                  {"$SELF", names[who]}};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        const char *at = strstr(text, values[i].name);
        if (!at)
            continue;
        snprintf(out, size, "%.*s%s%s", (int)(at - text), text, values[i].value,
                 at + strlen(values[i].name));
        return;
    }
    snprintf(out, size, "%s", text);
}

static char letter(const struct response *r)
{
    for (size_t i = 0; i < r->extra_count; i++) {
        size_t len = strlen(r->extra[i].value);
        if (!strcmp(r->extra[i].name, "Location") && len > 5 &&
            !strcmp(r->extra[i].value + len - 5, "/join"))
            return 'j';
    }
    switch (r->status) {
    case 401:
        return 'l';
    case 403:
        return 'f';
    case 404:
        return 'n';
    default:
        return r->status >= 500 ? '!' : r->status >= 400 ? 'b' : 'y';
    }
}

static char ask(struct world *w, const struct row *row, int who)
{
    char path[256], said[512], cookie[128], bearer[80], address[24], stranger[SESSION_TOKEN_SIZE],
        csrf[CSRF_SIZE];
    const char *token = who == STRANGER ? stranger : w->session[who];
    struct text body = {0};
    struct response response = {.status = 500};
    bool api = !strncmp(row->path, "/api/", 5);

    session_draw(stranger);
    fill_in(w, path, sizeof path, row->path, who);
    snprintf(cookie, sizeof cookie, "%s=%s", who == STRANGER ? "__Host-peal-form" : "__Host-peal",
             token);
    csrf_token(&w->service.csrf_key, token, csrf);
    fill_in(w, said, sizeof said, row->body, who);
    text_str(&body, said);
    snprintf(bearer, sizeof bearer, "Bearer %s", w->token[who]);
    snprintf(address, sizeof address, "192.0.2.%d", w->asked++ % 200);
    if (!api)
        text_printf(&body, "&csrf=%s", csrf);
    char *query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    struct request request = {.method = strcmp(row->method, "POST") ? HTTP_GET : HTTP_POST,
                              .path = path,
                              .query = query ? query : "",
                              .body = &body,
                              .host = "ca.example",
                              .origin = "https://ca.example",
                              .fetch_site = "",
                              .type =
                                  api ? "application/json" : "application/x-www-form-urlencoded",
                              .cookie = cookie,
                              .agent = "",
                              .if_none_match = "",
                              .authorization = bearer,
                              .if_match = "\"1\"",
                              .local = "192.0.2.1"};
    strcpy(request.address, address);
    service_handle(&w->service, &request, &response);
    char got = letter(&response);
    text_clear(&body);
    text_clear(&response.body);
    return got;
}

static void each_route_is_for_those_who_may(void **state)
{
    struct world w;

    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(strlen(rows[i].want), WHO_COUNT);
        for (int who = 0; who < WHO_COUNT; who++) {
            int64_t before = store_change(w.watch);
            char got = ask(&w, &rows[i], who);
            bool changed = store_change(w.watch) != before;
            if (got != rows[i].want[who])
                fail_msg("%s %s %s by %s: %c, not %c", rows[i].method, rows[i].path, rows[i].body,
                         names[who], got, rows[i].want[who]);
            if (changed && got != 'y')
                fail_msg("%s %s by %s was refused and changed something", rows[i].method,
                         rows[i].path, names[who]);
            if (changed) { /* the next one finds everything as it was */
                world_close(&w);
                world_open(&w);
            }
        }
    }
    world_close(&w);
}

static void each_route_has_a_row(void **state)
{
    for (size_t r = 0; strcmp(route_pattern(r), "(none)"); r++) {
        bool found = false;
        for (size_t i = 0; i < ARRAY_LEN(rows) && !found; i++)
            found = !strcmp(rows[i].method, route_method(r)) &&
                    !strcmp(rows[i].pattern, route_pattern(r));
        if (!found)
            fail_msg("%s %s has no row", route_method(r), route_pattern(r));
    }
}

/* "/api/v1/groups/{group}" is "/api/v1/groups/{}". */
static bool described_as(const char *described, const char *pattern)
{
    while (*described && *described == *pattern) {
        if (*pattern == '{')
            described = strchr(described, '}') - 1;
        described++;
        pattern++;
    }
    return !*described && !*pattern;
}

static void each_route_of_the_interface_is_described(void **state)
{
    json_t *described = json_loadb((const char *)openapi_json, openapi_json_len, 0, NULL);
    json_t *operations;
    const char *path;
    size_t routes = 0, found = 0;

    assert_non_null(described);
    for (size_t r = 0; route_pattern(r); r++) {
        if (strncmp(route_pattern(r), "/api/v1/", 8))
            continue;
        routes++;
        json_object_foreach(json_object_get(described, "paths"), path, operations) found +=
            described_as(path, route_pattern(r)) &&
            json_object_get(operations, strcmp(route_method(r), "POST") ? "get" : "post");
    }
    assert_int_equal(found, routes);
    json_object_foreach(json_object_get(described, "paths"), path, operations) routes -=
        json_object_size(operations);
    assert_int_equal(routes, 0);
    json_decref(described);
}

static void an_invitation_dies_with_its_makers_right(void **state)
{
    struct world w;
    struct group g, found;
    struct account approver, outsider, member;
    char token[INVITE_TOKEN_SIZE];
    const struct invite_wish wish = {.note = "", .days = 7, .uses = 1};

    world_open(&w);
    assert_int_equal(group_find(&w.b.desk, "lab", &g), OUT_OK);
    assert_int_equal(account_find(&w.b.desk, "approver", &approver), OUT_OK);
    assert_int_equal(account_find(&w.b.desk, "outsider", &outsider), OUT_OK);
    assert_int_equal(account_find(&w.b.desk, "member", &member), OUT_OK);
    struct desk d = bench_as(&w.b, &approver), o = bench_as(&w.b, &outsider);
    struct desk m = bench_as(&w.b, &member);
    assert_int_equal(invite_make(&d, &g, &wish, token), OUT_OK);
    assert_int_equal(role_set(&w.b.desk, &g, &approver, "member"), OUT_OK);
    assert_int_equal(invite_find(&w.b.desk, token, &found), OUT_NO_INVITATION);
    assert_int_equal(invite_use(&o, token, &outsider, &found), OUT_NO_INVITATION);
    assert_int_equal(role_set(&w.b.desk, &g, &approver, "approver"), OUT_OK);
    assert_int_equal(invite_use(&m, token, &member, &found), OUT_ALREADY_MEMBER); /* uses nothing */
    assert_int_equal(invite_use(&o, token, &outsider, &found), OUT_OK);
    for (int i = 0; i < 100; i++)
        assert_int_equal(invite_use(&o, token, &outsider, &found), OUT_NO_INVITATION);
    /* Who was removed does not come back by a link. */
    assert_int_equal(member_revoke(&w.b.desk, &g, &outsider, ""), OUT_OK);
    assert_int_equal(invite_use(&o, w.invite, &outsider, &found), OUT_REVOKED);
    assert_int_equal(member_request(&o, &g, &outsider, ""), OUT_OK);
    assert_int_equal(invite_use(&o, w.invite, &outsider, &found), OUT_REVOKED);
    assert_int_equal(member_deny(&w.b.desk, &g, &outsider, ""), OUT_OK);
    assert_int_equal(invite_use(&o, w.invite, &outsider, &found), OUT_REVOKED);
    /* Nor does a link outlive its time. */
    w.b.desk.now_s += 8 * 86400;
    assert_int_equal(invite_find(&w.b.desk, w.invite, &found), OUT_NO_INVITATION);
    world_close(&w);
}

static void a_group_keeps_an_owner(void **state)
{
    struct world w;
    struct group g;
    struct account owner, member;
    char role[ROLE_TEXT_SIZE];

    world_open(&w);
    assert_int_equal(group_find(&w.b.desk, "lab", &g), OUT_OK);
    assert_int_equal(account_find(&w.b.desk, "owner", &owner), OUT_OK);
    assert_int_equal(account_find(&w.b.desk, "member", &member), OUT_OK);
    static const char *const less[] = {"administrator", "approver", "auditor", "member"};
    for (size_t i = 0; i < ARRAY_LEN(less); i++)
        assert_int_equal(role_set(&w.b.desk, &g, &owner, less[i]), OUT_LAST_OWNER);
    assert_int_equal(member_revoke(&w.b.desk, &g, &owner, ""), OUT_LAST_OWNER);
    assert_int_equal(role_set(&w.b.desk, &g, &owner, "owner"), OUT_OK);
    assert_int_equal(role_set(&w.b.desk, &g, &member, "owner"), OUT_OK);
    assert_int_equal(member_revoke(&w.b.desk, &g, &owner, ""), OUT_OK);
    role_find(&w.b.desk, &g, &owner, role);
    assert_string_equal(role, "member");
    assert_int_equal(role_set(&w.b.desk, &g, &member, "member"), OUT_LAST_OWNER);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_route_has_a_row),
        cmocka_unit_test(each_route_of_the_interface_is_described),
        cmocka_unit_test(each_route_is_for_those_who_may),
        cmocka_unit_test(an_invitation_dies_with_its_makers_right),
        cmocka_unit_test(a_group_keeps_an_owner),
    };
    log_limit(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
