/*
 * api_v1.c - the management interface: what the pages do, for programs with a token. The same
 * operations stand behind both, so nothing here decides who may.
 */
#include <stdio.h>
#include <string.h>

#include "ca-web/answer.h"
#include "ca-web/api.h"
#include "ca-web/invite.h"
#include "ca-web/openapi.h"
#include "ca-web/removal.h"
#include "ca-web/role.h"
#include "ca-web/rollover.h"
#include "ca-web/scene.h"
#include "ca-web/wanted.h"

void v1_openapi(struct visit *v)
{
    response_header(v->response, "Cache-Control", "no-cache");
    v->response->status = 200;
    v->response->type = "application/json";
    text_add(&v->response->body, openapi_json, openapi_json_len);
}

static void answer(struct visit *v, json_t *json)
{
    visit_json(v, answer_json(&v->response->body, json, JSON_COMPACT));
}

static void answer_done(struct visit *v, enum outcome o)
{
    if (o == OUT_OK)
        answer(v, json_object());
    else
        visit_json(v, o);
}

static json_t *group_json(struct visit *v, const struct group *g, const char *role,
                          const char *state)
{
    char id[ID_TEXT_SIZE];

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:b, s:b, s:I, s:s, s:s}",
                     "name", g->name, "group_id", id_text(&g->id, id), "ipv4", g->ipv4, "ipv6",
                     g->ipv6, "domain", g->domain, "lease_hours", (json_int_t)g->lease_s / 3600,
                     "certificate_days", (json_int_t)g->certificate_s / 86400, "bootstrap",
                     answer_list(g->bootstrap), "public_bootstrap",
                     answer_list(g->public_bootstrap), "members_see", g->members_see, "psk", g->psk,
                     "version", (json_int_t)g->version, "role", role, "state", state);
}

/* With its version as the ETag that an edit names in If-Match. */
static void group_answer(struct visit *v, const struct scene *s)
{
    char role[ROLE_TEXT_SIZE], etag[32];
    struct group g;

    if (group_find(&v->desk, s->group.name, &g) != OUT_OK) {
        visit_json(v, OUT_INTERNAL);
        return;
    }
    role_find(&v->desk, &g, &s->self, role);
    snprintf(etag, sizeof etag, "\"%lld\"", (long long)g.version);
    response_header(v->response, "ETag", etag);
    answer(v, group_json(v, &g, role, member_state_text(s->membership.state)));
}

void v1_groups(struct visit *v)
{
    json_t *list = json_array();
    bool all = desk_authorize(&v->desk, VERB_GROUP_LIST, 0, 0) == OUT_OK;
    struct query q =
        store_ask(v->desk.store,
                  "SELECT g.name, coalesce(r.role, 'member'), coalesce(m.state, 'none')"
                  " FROM groups g LEFT JOIN members m ON m.group_row = g.id AND m.user_row = ?1"
                  " LEFT JOIN roles r ON r.group_row = g.id AND r.user_row = ?1"
                  " WHERE (?2 OR m.id IS NOT NULL OR r.role IS NOT NULL) AND (?3 = 0 OR g.id = ?3)"
                  " ORDER BY g.name",
                  VALUES(v_int(v->desk.actor.row), v_int(all), v_int(v->desk.actor.only_group)));

    while (query_row(&q))
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", query_text(&q, 0), "role",
                                              query_text(&q, 1), "state", query_text(&q, 2)));
    answer(v, json_pack("{s:o}", "groups", list));
}

/* A list of strings as "a,b"; a string as it is; missing: what is. False: something else. */
static bool endpoints_of(const json_t *body, const char *name, const char *present,
                         struct text *out)
{
    const json_t *list = json_object_get(body, name);

    if (!list) {
        text_str(out, present);
        return !out->failed;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = json_string_value(json_array_get(list, i));
        if (!one || strchr(one, ','))
            return false;
        text_printf(out, "%s%s", i ? "," : "", one);
    }
    text_str(out, "");
    return json_is_array(list) && !out->failed;
}

/* Missing: what is. False: no integer. */
static bool integer_of(const json_t *body, const char *name, int64_t present, int64_t *out)
{
    const json_t *value = json_object_get(body, name);

    *out = value ? json_integer_value(value) : present;
    return !value || json_is_integer(value);
}

void v1_group(struct visit *v)
{
    struct scene s;

    if (!scene_load(v, &s))
        return;
    if (s.membership.state == MEMBER_APPROVED || scene_may(v, &s, VERB_MEMBER_LIST))
        group_answer(v, &s);
    else
        visit_json(v, OUT_NOT_PERMITTED);
}

/* A number as text; "" when there is none. False: it is something else. */
static bool number_text(const json_t *body, const char *name, char out[24])
{
    const json_t *value = json_object_get(body, name);

    out[0] = '\0';
    if (json_is_integer(value))
        snprintf(out, 24, "%lld", (long long)json_integer_value(value));
    return !value || json_is_integer(value);
}

void v1_group_add(struct visit *v)
{
    json_t *body = api_body(v);
    char hours[24], days[24];
    struct text bootstrap = {0}, public_bootstrap = {0};
    struct account owner;
    struct group g;
    enum outcome o = desk_authorize(&v->desk, VERB_GROUP_ADD, 0, 0);

    if (o == OUT_OK &&
        (!api_string(body, "name") || !endpoints_of(body, "bootstrap", "", &bootstrap) ||
         !endpoints_of(body, "public_bootstrap", "", &public_bootstrap) ||
         !number_text(body, "lease_hours", hours) || !number_text(body, "certificate_days", days)))
        o = OUT_BAD_REQUEST;
    if (o == OUT_OK)
        o = account_find(&v->desk, v->desk.actor.name, &owner);
    if (o == OUT_OK)
        o = group_add(
            &v->desk,
            &(struct group_wish){.name = api_string(body, "name"),
                                 .ipv4 = api_string(body, "ipv4"),
                                 .domain = api_string(body, "domain"),
                                 .bootstrap = bootstrap.p,
                                 .public_bootstrap = public_bootstrap.p,
                                 .lease_hours = hours,
                                 .certificate_days = days,
                                 .members_see = json_is_true(json_object_get(body, "members_see"))},
            &owner, &g);
    if (o == OUT_OK)
        answer(v, group_json(v, &g, "owner", "approved"));
    else
        visit_json(v, o);
    text_clear(&bootstrap);
    text_clear(&public_bootstrap);
    json_decref(body);
}

static bool version_of(const char *if_match, int64_t *version)
{
    char digits[24];
    size_t len = strlen(if_match);

    if (len < 3 || len >= sizeof digits || if_match[0] != '"' || if_match[len - 1] != '"')
        return false;
    memcpy(digits, if_match + 1, len - 2);
    digits[len - 2] = '\0';
    return page_number(digits, 1, INT64_MAX, version);
}

static enum outcome group_change_by(struct visit *v, const struct group *g, const json_t *body)
{
    struct text bootstrap = {0}, public_bootstrap = {0};
    struct group_edit edit = {0};
    enum outcome o = OUT_OK;

    if (!*v->request->if_match)
        return OUT_NO_VERSION;
    if (!version_of(v->request->if_match, &edit.version))
        return OUT_CHANGED;
    if (!body || !integer_of(body, "lease_hours", g->lease_s / 3600, &edit.lease_hours) ||
        !integer_of(body, "certificate_days", g->certificate_s / 86400, &edit.certificate_days) ||
        !endpoints_of(body, "bootstrap", g->bootstrap, &bootstrap) ||
        !endpoints_of(body, "public_bootstrap", g->public_bootstrap, &public_bootstrap))
        o = OUT_BAD_REQUEST;
    const json_t *see = json_object_get(body, "members_see");
    if (see && !json_is_boolean(see))
        o = OUT_BAD_REQUEST;
    edit.members_see = see ? json_is_true(see) : g->members_see;
    edit.bootstrap = bootstrap.p;
    edit.public_bootstrap = public_bootstrap.p;
    if (o == OUT_OK)
        o = group_change(&v->desk, g, &edit);
    text_clear(&bootstrap);
    text_clear(&public_bootstrap);
    return o;
}

void v1_group_edit(struct visit *v)
{
    struct scene s;

    if (!scene_load_for(v, &s, VERB_GROUP_EDIT))
        return;
    json_t *body = api_body(v);
    enum outcome o = group_change_by(v, &s.group, body);
    json_decref(body);
    if (o == OUT_OK)
        group_answer(v, &s);
    else
        visit_json(v, o);
}

static void line_collect(void *ctx, const struct member_line *line)
{
    json_array_append_new(ctx, answer_member(line));
}

static void authority_collect(void *ctx, const struct authority_line *line)
{
    char made[TIME_TEXT_SIZE];

    json_array_append_new(ctx, json_pack("{s:b, s:s, s:I}", "signs", line->signs, "made",
                                         time_text(line->made_s, made), "machines",
                                         (json_int_t)line->machines));
}

static void authority_answer(struct visit *v, const struct scene *s)
{
    json_t *list = json_array();
    enum outcome o = rollover_list(&v->desk, &s->group, authority_collect, list);

    if (o == OUT_OK)
        answer(v, json_pack("{s:s, s:s, s:O}", "schema", "peal.ca-authority/1", "group",
                            s->group.name, "authorities", list));
    else
        visit_json(v, o);
    json_decref(list);
}

void v1_authority(struct visit *v)
{
    struct scene s;

    if (scene_load_for(v, &s, VERB_GROUP_EDIT))
        authority_answer(v, &s);
}

void v1_authority_post(struct visit *v)
{
    struct scene s;
    json_t *json;

    if (!scene_load_for(v, &s, VERB_CA_ROLL))
        return;
    json = api_body(v);
    const char *action = json ? api_string(json, "action") : NULL;
    enum outcome o = OUT_BAD_REQUEST;
    if (action && !strcmp(action, "roll"))
        o = rollover_begin(&v->desk, &s.group);
    else if (action && !strcmp(action, "end"))
        o = rollover_end(&v->desk, &s.group);
    json_decref(json);
    if (o == OUT_OK)
        authority_answer(v, &s);
    else
        visit_json(v, o);
}

void v1_spread(struct visit *v)
{
    struct scene s;
    struct spread spread;

    if (!scene_load_for(v, &s, VERB_MEMBER_LIST))
        return;
    enum outcome o = spread_read(&v->desk, &s.group, &spread);
    if (o == OUT_OK)
        answer(v, answer_spread(&s.group, &spread));
    else
        visit_json(v, o);
}

void v1_map(struct visit *v)
{
    struct scene s;
    struct map map;

    if (!scene_load_for(v, &s, VERB_MAP_READ))
        return;
    enum outcome o = map_read(&v->desk, &s.group, &map);
    if (o == OUT_OK)
        answer(v, answer_map(&s.group, &map));
    else
        visit_json(v, o);
    map_clear(&map);
}

void v1_members(struct visit *v)
{
    struct scene s;
    struct wanted w;
    int64_t total = 0;

    if (!scene_load_for(v, &s, VERB_MEMBER_LIST))
        return;
    wanted_read(&v->query, &w);
    json_t *list = json_array();
    enum outcome o = member_list(&v->desk, &s.group, &w.filter, line_collect, list, &total);
    if (o == OUT_OK)
        answer(v, json_pack("{s:s, s:s, s:I, s:I, s:O}", "schema", "peal.ca-members/1", "group",
                            s.group.name, "total", (json_int_t)total, "page", (json_int_t)w.page,
                            "members", list));
    else
        visit_json(v, o);
    json_decref(list);
}

static json_t *machines_json(struct visit *v, int64_t member_row)
{
    char enrolled[TIME_TEXT_SIZE], seen[TIME_TEXT_SIZE], until[TIME_TEXT_SIZE], node[ID_TEXT_SIZE];
    json_t *list = json_array();
    struct id id;
    struct query q =
        store_ask(v->desk.store,
                  "SELECT hostname, node, enrolled_s, seen_s, seen_address, revoked_s IS NOT NULL,"
                  " (SELECT max(not_after_s) FROM certificates c WHERE c.machine_row = m.id)"
                  " FROM machines m WHERE member_row = ?1 ORDER BY id",
                  VALUES(v_int(member_row)));

    while (query_row(&q)) {
        if (!query_copy(&q, 1, id.b, ID_LEN))
            continue;
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "hostname", query_text(&q, 0), "node",
                      id_text(&id, node), "enrolled", time_text(query_int(&q, 2), enrolled), "seen",
                      time_text(query_int(&q, 3), seen), "seen_address", query_text(&q, 4),
                      "certificate_until", time_text(query_int(&q, 6), until), "removed",
                      (int)query_int(&q, 5)));
    }
    return list;
}

void v1_member(struct visit *v)
{
    char role[ROLE_TEXT_SIZE] = "", asked[TIME_TEXT_SIZE];
    struct scene s;
    struct account user;
    struct member m = {0};

    if (!scene_load_for(v, &s, VERB_MEMBER_LIST))
        return;
    enum outcome o = role_holder(&v->desk, &s.group, v->params[1], &user, &m, role);
    if (o != OUT_OK) {
        visit_json(v, o);
        return;
    }
    answer(v, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "user", user.name,
                        "email", user.email, "state", member_state_text(m.state), "further",
                        member_further_text(m.further), "role", role, "reason", m.reason, "note",
                        m.note, "requested", time_text(m.asked_s, asked), "decided_by",
                        m.decided_by, "machines", machines_json(v, m.row)));
}

/* approve, deny, revoke, ask; the path names the user, the body a note. */
static void decide(struct visit *v, enum verb verb, const char *note_name,
                   enum outcome (*change)(struct desk *, const struct group *,
                                          const struct account *, const char *))
{
    struct scene s;
    struct account user;
    json_t *body = NULL;

    if (!scene_load(v, &s))
        return;
    enum outcome o = account_find(&v->desk, v->params[1], &user);
    /* Asked first, so that only who may decide learns which users exist. */
    enum outcome may = desk_authorize(&v->desk, verb, s.group.row, o == OUT_OK ? user.row : 0);
    o = may != OUT_OK ? may : o;
    if (o == OUT_OK) {
        body = api_body(v);
        const char *note = api_string(body, note_name);
        o = body ? change(&v->desk, &s.group, &user, note ? note : "") : OUT_BAD_REQUEST;
    }
    json_decref(body);
    answer_done(v, o);
}

void v1_request(struct visit *v)
{
    decide(v, VERB_MEMBER_REQUEST, "reason", member_request);
}

void v1_approve(struct visit *v)
{
    decide(v, VERB_MEMBER_APPROVE, "note", member_approve);
}

void v1_deny(struct visit *v)
{
    decide(v, VERB_MEMBER_DENY, "note", member_deny);
}

void v1_revoke(struct visit *v)
{
    decide(v, VERB_MEMBER_REVOKE, "note", member_revoke);
}

void v1_role(struct visit *v)
{
    decide(v, VERB_ROLE_SET, "role", role_set);
}

static void machine_change(struct visit *v,
                           enum outcome (*change)(struct desk *, const struct group *,
                                                  const struct id *, const char *))
{
    struct scene s;
    struct id node;

    if (!scene_load(v, &s))
        return;
    json_t *body = api_body(v);
    const char *note = api_string(body, "note");
    enum outcome o = !body ? OUT_BAD_REQUEST
                     : id_parse(&node, v->params[1])
                         ? change(&v->desk, &s.group, &node, note ? note : "")
                         : OUT_NO_MACHINE;
    json_decref(body);
    answer_done(v, o);
}

void v1_machine_revoke(struct visit *v)
{
    machine_change(v, machine_revoke);
}

void v1_machine_lost(struct visit *v)
{
    machine_change(v, machine_lost);
}

void v1_invitations(struct visit *v)
{
    char until[TIME_TEXT_SIZE];
    struct scene s;

    if (!scene_load_for(v, &s, VERB_INVITE_LIST))
        return;
    json_t *list = json_array();
    struct query q =
        store_ask(v->desk.store,
                  "SELECT id, note, expires_s, uses, uses_max FROM invitations"
                  " WHERE group_row = ?1 AND expires_s > ?2 AND uses < uses_max ORDER BY id",
                  VALUES(v_int(s.group.row), v_int(v->desk.now_s)));
    while (query_row(&q))
        json_array_append_new(
            list,
            json_pack("{s:I, s:s, s:s, s:I, s:I}", "number", (json_int_t)query_int(&q, 0), "note",
                      query_text(&q, 1), "until", time_text(query_int(&q, 2), until), "uses",
                      (json_int_t)query_int(&q, 3), "uses_max", (json_int_t)query_int(&q, 4)));
    answer(v, json_pack("{s:o}", "invitations", list));
}

void v1_invite(struct visit *v)
{
    char token[INVITE_TOKEN_SIZE], link[SERVER_URL_MAX + INVITE_TOKEN_SIZE + 16];
    struct invite_wish wish = {0};
    struct scene s;

    if (!scene_load_for(v, &s, VERB_INVITE_MAKE))
        return;
    json_t *body = api_body(v);
    wish.note = api_string(body, "note") ? api_string(body, "note") : "";
    enum outcome o =
        body && integer_of(body, "days", 7, &wish.days) && integer_of(body, "uses", 1, &wish.uses)
            ? invite_make(&v->desk, &s.group, &wish, token)
            : OUT_BAD_REQUEST;
    json_decref(body);
    if (o != OUT_OK) {
        visit_json(v, o);
        return;
    }
    snprintf(link, sizeof link, "%s/invite/%s", v->service->server.url, token);
    answer(v, json_pack("{s:s}", "link", link));
    wipe(token, sizeof token);
    wipe(link, sizeof link);
}

void v1_invitation_end(struct visit *v)
{
    struct scene s;
    int64_t row = 0;

    if (!scene_load_for(v, &s, VERB_INVITE_END))
        return;
    answer_done(v, page_number(v->params[1], 1, INT64_MAX, &row)
                       ? invite_end(&v->desk, &s.group, row)
                       : OUT_NO_INVITATION);
}
