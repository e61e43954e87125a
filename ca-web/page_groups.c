#include <stdio.h>
#include <string.h>

#include "ca-web/member.h"
#include "ca-web/page.h"

enum { GROUPS_SHOWN_MAX = 500 };

static const char *badge_kind(const char *state)
{
    if (!strcmp(state, "approved"))
        return "good";
    return !strcmp(state, "requested") ? "wait" : "bad";
}

static void group_item(struct visit *v, const struct query *q)
{
    struct text *t = &v->response->body;
    const char *state = query_text(q, 1), *role = query_text(q, 2);
    char path[LABEL_MAX + 16], note[64];
    long long pending = (long long)query_int(q, 3);

    snprintf(path, sizeof path, "/groups/%s", query_text(q, 0));
    html_open(t, "li", NULL);
    html_element(t, "a", query_text(q, 0), "href", path, NULL);
    html_open(t, "span", "class", "badges", NULL);
    if (*role && pending) {
        snprintf(note, sizeof note, "%lld waiting", pending);
        page_badge(v, note, "wait");
    }
    if (*role)
        page_badge(v, role, "plain");
    else if (*state)
        page_badge(v, !strcmp(state, "approved") ? "member" : state, badge_kind(state));
    html_close(t, "span");
    html_close(t, "li");
}

/* My own groups, or for a service administrator all of them. */
static void groups_list(struct visit *v, bool all)
{
    struct text *t = &v->response->body;
    size_t shown = 0;
    struct query q = store_ask(
        v->desk.store,
        "SELECT g.name, m.state, CASE WHEN ?2 THEN coalesce(r.role, 'service') ELSE r.role END,"
        " (SELECT count(*) FROM members p WHERE p.group_row = g.id AND p.state = 'requested')"
        " + (SELECT count(*) FROM members p WHERE p.group_row = g.id AND p.further = 'asked')"
        " FROM groups g LEFT JOIN members m ON m.group_row = g.id AND m.user_row = ?1"
        " LEFT JOIN roles r ON r.group_row = g.id AND r.user_row = ?1"
        " WHERE ?2 OR m.id IS NOT NULL OR r.role IS NOT NULL ORDER BY g.name LIMIT ?3",
        VALUES(v_int(v->desk.actor.row), v_int(all), v_int(GROUPS_SHOWN_MAX)));

    html_open(t, "ul", "class", "list", NULL);
    for (; query_row(&q); shown++)
        group_item(v, &q);
    html_close(t, "ul");
    if (!shown)
        html_element(t, "p", "You are in no group yet. Ask to join one below.", "class", "muted",
                     NULL);
}

static void find_form(struct visit *v)
{
    struct text *t = &v->response->body;

    page_card_begin(v, "Join a group");
    html_open(t, "form", "method", "get", "action", "/groups", "class", "row", NULL);
    page_field(v, &(struct field){.name = "find",
                                  .label = "Name of the group",
                                  .type = "text",
                                  .value = form_value(&v->query, "find"),
                                  .hint = "Whoever invited you knows it."});
    page_form_end(v, "Go on", "primary");
    page_card_end(v);
}

static void groups_write(struct visit *v, enum outcome o)
{
    bool all = desk_authorize(&v->desk, VERB_GROUP_LIST, 0, 0) == OUT_OK;

    page_begin(v, outcome_http(o), "Groups");
    page_complaint(v, o);
    page_card_begin(v, all ? "All groups" : "Your groups");
    groups_list(v, all);
    if (desk_authorize(&v->desk, VERB_GROUP_ADD, 0, 0) == OUT_OK) {
        html_open(&v->response->body, "p", NULL);
        html_element(&v->response->body, "a", "New group", "class", "button", "href", "/new-group",
                     NULL);
        html_close(&v->response->body, "p");
    }
    page_card_end(v);
    find_form(v);
    page_end(v);
}

void page_groups(struct visit *v)
{
    const char *find = form_value(&v->query, "find");
    char path[LABEL_MAX + 16];
    struct group g;
    enum outcome o = desk_authorize(&v->desk, VERB_GROUP_ASK, 0, v->desk.actor.row);

    if (o != OUT_OK) {
        page_failure(v, o);
        return;
    }
    if (!*find) {
        groups_write(v, OUT_OK);
        return;
    }
    o = group_find(&v->desk, find, &g);
    if (o == OUT_OK) {
        snprintf(path, sizeof path, "/groups/%s", g.name);
        visit_redirect(v, path);
    } else
        groups_write(v, o);
}

const struct choice page_seeing[] = {
    {"administrators", "Only who has a role sees who is a member"},
    {"members", "Members see each other"},
    {NULL, NULL},
};

static void new_group_write(struct visit *v, enum outcome o)
{
    static const struct field fields[] = {
        {.name = "name", .label = "Name", .type = "text", .hint = "Letters, digits and hyphens."},
        {.name = "ipv4",
         .label = "IPv4 range",
         .type = "text",
         .hint = "Private, /8 to /28, like 10.77.0.0/16. Empty: a random 10.x.0.0/16.",
         .optional = true},
        {.name = "domain",
         .label = "DNS domain",
         .type = "text",
         .hint = "Empty: the group's name and .peal.",
         .optional = true},
        {.name = "bootstrap",
         .label = "Bootstrap endpoints",
         .type = "text",
         .hint = "host:port, separated by commas: machines of the group that are always on.",
         .optional = true},
        {.name = "public_bootstrap",
         .label = "Public bootstrap endpoints",
         .type = "text",
         .hint = "host:port of public overlay nodes, if members find each other that way.",
         .optional = true},
        {.name = "lease_hours",
         .label = "Address leases, in hours",
         .type = "number",
         .hint = "1 to 168. Empty: 24.",
         .optional = true},
        {.name = "certificate_days",
         .label = "Certificates, in days",
         .type = "number",
         .hint = "1 to 366. Empty: 30. Machines renew theirs on their own.",
         .optional = true},
    };

    page_begin(v, outcome_http(o), "New group");
    page_card_begin(v, NULL);
    page_complaint(v, o);
    page_form_begin(v, "/new-group", "stack");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct field f = fields[i];
        f.value = form_value(&v->form, f.name);
        page_field(v, &f);
    }
    page_choice(v, "see", "Who may see whom", page_seeing, form_value(&v->form, "see"), NULL);
    page_form_end(v, "Make the group", "primary");
    page_card_end(v);
    page_end(v);
}

void page_new_group(struct visit *v)
{
    enum outcome o = desk_authorize(&v->desk, VERB_GROUP_ADD, 0, 0);

    if (o == OUT_OK)
        new_group_write(v, o);
    else
        page_failure(v, o);
}

void page_new_group_post(struct visit *v)
{
    const struct group_wish wish = {.name = form_value(&v->form, "name"),
                                    .ipv4 = form_value(&v->form, "ipv4"),
                                    .domain = form_value(&v->form, "domain"),
                                    .bootstrap = form_value(&v->form, "bootstrap"),
                                    .public_bootstrap = form_value(&v->form, "public_bootstrap"),
                                    .lease_hours = form_value(&v->form, "lease_hours"),
                                    .certificate_days = form_value(&v->form, "certificate_days"),
                                    .members_see =
                                        !strcmp(form_value(&v->form, "see"), page_seeing[1].value)};
    struct account owner;
    struct group g;
    char path[LABEL_MAX + 16];
    enum outcome o = desk_authorize(&v->desk, VERB_GROUP_ADD, 0, 0);

    if (o == OUT_OK)
        o = account_find(&v->desk, v->desk.actor.name, &owner);
    if (o != OUT_OK) {
        page_failure(v, o);
        return;
    }
    o = group_add(&v->desk, &wish, &owner, &g);
    if (o != OUT_OK) {
        new_group_write(v, o);
        return;
    }
    snprintf(path, sizeof path, "/groups/%s", g.name);
    visit_redirect(v, path);
}
