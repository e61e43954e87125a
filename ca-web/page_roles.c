#include <stdio.h>
#include <string.h>

#include "ca-web/role.h"
#include "ca-web/scene.h"

enum { ROLES_SHOWN_MAX = 500 };

static const struct choice choices[] = {
    {"owner", "Owner"},     {"administrator", "Administrator"}, {"approver", "Approver"},
    {"auditor", "Auditor"}, {"member", "Member (no role)"},     {NULL, NULL}};

static void role_row(struct visit *v, const struct scene *s, const struct query *q, bool may_set)
{
    struct text *t = &v->response->body;
    char path[SCENE_PATH_SIZE];

    html_open(t, "tr", NULL);
    page_cell_begin(v, "User");
    snprintf(path, sizeof path, "/groups/%s/members/%s", s->group.name, query_text(q, 0));
    html_element(t, "a", query_text(q, 0), "href", path, NULL);
    html_text(t, " ");
    html_element(t, "span", query_text(q, 1), "class", "muted", NULL);
    page_cell_end(v);
    page_cell_begin(v, "Role");
    page_badge(v, query_text(q, 2), "plain");
    page_cell_end(v);
    page_cell_begin(v, "");
    if (may_set) {
        page_form_begin(v, scene_path(&s->group, "/roles", path), "inline");
        page_hidden(v, "user", query_text(q, 0));
        page_hidden(v, "role", "member");
        html_open(t, "button", "type", "submit", "class", "quiet", NULL);
        html_text(t, "Take away");
        html_element(t, "span", query_text(q, 0), "class", "unseen", NULL);
        html_close(t, "button");
        html_close(t, "form");
    }
    page_cell_end(v);
    html_close(t, "tr");
}

static void roles_table(struct visit *v, const struct scene *s, bool may_set)
{
    static const char *const heads[] = {"User", "Role", ""};
    struct query q = store_ask(
        v->desk.store,
        "SELECT u.name, u.email, r.role FROM roles r JOIN users u ON u.id = r.user_row"
        " WHERE r.group_row = ?1"
        " ORDER BY instr('owner administrator approver auditor', r.role), u.name LIMIT ?2",
        VALUES(v_int(s->group.row), v_int(ROLES_SHOWN_MAX)));

    page_table_begin(v, heads, ARRAY_LEN(heads));
    while (query_row(&q))
        role_row(v, s, &q, may_set);
    page_table_end(v);
}

static void give_form(struct visit *v, const struct scene *s)
{
    const char *chosen = form_value(&v->form, "role");
    char path[SCENE_PATH_SIZE];

    page_card_begin(v, "Give a role");
    page_form_begin(v, scene_path(&s->group, "/roles", path), "stack");
    page_field(v, &(struct field){.name = "user",
                                  .label = "User name",
                                  .type = "text",
                                  .value = form_value(&v->form, "user")});
    page_choice(v, "role", "Role", choices, *chosen ? chosen : "approver",
                "Whoever has a role already gets this one instead.");
    page_form_end(v, "Give the role", "primary");
    page_card_end(v);
}

static void meaning_card(struct visit *v)
{
    html_open(&v->response->body, "details", "class", "card", NULL);
    html_element(&v->response->body, "summary", "What each role may do", NULL);
    html_open(&v->response->body, "dl", NULL);
    page_fact(v, "Owner", "everything in the group, roles included; a group keeps one");
    page_fact(v, "Administrator", "approve, invite, remove, change settings, read the audit log");
    page_fact(v, "Approver", "approve, deny, invite, see the members");
    page_fact(v, "Auditor", "see the members, read the audit log");
    page_fact(v, "Member", "add and remove machines of his own");
    html_close(&v->response->body, "dl");
    html_close(&v->response->body, "details");
}

static void roles_write(struct visit *v, const struct scene *s, enum outcome o)
{
    bool may_set = scene_may(v, s, VERB_ROLE_SET);

    scene_begin(v, s, o, "Roles", "/roles");
    page_done(v, (const struct done[]){{"set", "The role was changed."}, {NULL, NULL}});
    page_complaint(v, o);
    page_card_begin(v, NULL);
    roles_table(v, s, may_set);
    page_card_end(v);
    if (may_set)
        give_form(v, s);
    meaning_card(v);
    page_end(v);
}

void page_roles(struct visit *v)
{
    struct scene s;

    if (scene_load_for(v, &s, VERB_MEMBER_LIST))
        roles_write(v, &s, OUT_OK);
}

void page_roles_post(struct visit *v)
{
    struct scene s;
    struct account user;
    char path[SCENE_PATH_SIZE];

    if (!scene_load_for(v, &s, VERB_ROLE_SET))
        return;
    enum outcome o = account_find(&v->desk, form_value(&v->form, "user"), &user);
    if (o == OUT_OK)
        o = role_set(&v->desk, &s.group, &user, form_value(&v->form, "role"));
    if (o != OUT_OK)
        roles_write(v, &s, o);
    else if (scene_may(v, &s, VERB_MEMBER_LIST))
        visit_redirect(v, scene_path(&s.group, "/roles?done=set", path));
    else
        visit_redirect(v, scene_path(&s.group, "", path)); /* he took his own away */
}
