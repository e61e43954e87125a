#include <stdio.h>
#include <string.h>

#include "ca-web/removal.h"
#include "ca-web/role.h"
#include "ca-web/scene.h"

enum { MACHINES_SHOWN_MAX = 200, CERTIFICATES_SHOWN_MAX = 50 };

/* hostname, node, enrolled, newest certificate's begin and end, revoked, seen from */
static void machine_row(struct visit *v, const struct scene *s, const struct query *q,
                        int64_t member_row, bool may_revoke)
{
    struct text *t = &v->response->body;
    char node[ID_TEXT_SIZE] = "", path[SCENE_PATH_SIZE];
    struct id id;

    if (query_copy(q, 1, id.b, ID_LEN))
        id_text(&id, node);
    html_open(t, "tr", NULL);
    page_cell_begin(v, "Machine");
    html_element(t, "strong", query_text(q, 0), NULL);
    html_text(t, " ");
    html_element(t, "code", node, NULL);
    page_cell_end(v);
    page_cell_time(v, "Enrolled", query_int(q, 2));
    page_cell_time(v, "Last renewal", query_int(q, 3) ? query_int(q, 3) + ISSUE_BACKDATE_S : 0);
    page_cell(v, "From", query_text(q, 6));
    page_cell_begin(v, "Certificate until");
    if (query_null(q, 5))
        page_time(v, query_int(q, 4));
    else
        page_badge(v, "removed", "bad");
    page_cell_end(v);
    page_cell_begin(v, "");
    if (may_revoke && query_null(q, 5)) {
        snprintf(path, sizeof path, "/groups/%s/machines/%s", s->group.name, node);
        html_open(t, "a", "href", path, NULL);
        html_text(t, member_row == s->membership.row ? "Lost? Remove " : "Remove ");
        html_element(t, "span", query_text(q, 0), "class", "unseen", NULL);
        html_close(t, "a");
    }
    page_cell_end(v);
    html_close(t, "tr");
}

void scene_machines(struct visit *v, const struct scene *s, int64_t member_row, bool may_revoke)
{
    static const char *const heads[] = {"Machine", "Enrolled",          "Last renewal",
                                        "From",    "Certificate until", ""};
    size_t shown = 0;
    struct query q =
        store_ask(v->desk.store,
                  "SELECT m.hostname, m.node, m.enrolled_s,"
                  " (SELECT max(not_before_s) FROM certificates c WHERE c.machine_row = m.id),"
                  " (SELECT max(not_after_s) FROM certificates c WHERE c.machine_row = m.id),"
                  " m.revoked_s, m.seen_address FROM machines m WHERE m.member_row = ?1"
                  " ORDER BY m.revoked_s IS NOT NULL, m.id DESC LIMIT ?2",
                  VALUES(v_int(member_row), v_int(MACHINES_SHOWN_MAX)));

    for (; query_row(&q); shown++) {
        if (!shown)
            page_table_begin(v, heads, ARRAY_LEN(heads));
        machine_row(v, s, &q, member_row, may_revoke);
    }
    if (shown)
        page_table_end(v);
    else
        html_element(&v->response->body, "p", "None has been enrolled yet.", "class", "muted",
                     NULL);
}

static void certificates_card(struct visit *v, const struct member *m)
{
    static const char *const heads[] = {"Serial number", "Machine", "From", "Until"};
    struct text *t = &v->response->body;
    char serial[2 * CERT_SERIAL_MAX + 1];

    html_open(t, "details", "class", "card", NULL);
    html_element(t, "summary", "Certificates", NULL);
    page_table_begin(v, heads, ARRAY_LEN(heads));
    struct query q =
        store_ask(v->desk.store,
                  "SELECT c.serial, m.hostname, c.not_before_s, c.not_after_s"
                  " FROM machines m JOIN certificates c ON c.machine_row = m.id"
                  " WHERE m.member_row = ?1 ORDER BY c.not_after_s DESC, c.serial LIMIT ?2",
                  VALUES(v_int(m->row), v_int(CERTIFICATES_SHOWN_MAX)));
    while (query_row(&q)) {
        size_t len = 0;
        const void *bytes = query_bytes(&q, 0, &len);
        CHECK(len <= CERT_SERIAL_MAX);
        hex_text(bytes, len, serial);
        html_open(t, "tr", NULL);
        page_cell_begin(v, "Serial number");
        html_element(t, "code", serial, NULL);
        page_cell_end(v);
        page_cell(v, "Machine", query_text(&q, 1));
        page_cell_time(v, "From", query_int(&q, 2));
        page_cell_time(v, "Until", query_int(&q, 3));
        html_close(t, "tr");
    }
    page_table_end(v);
    html_close(t, "details");
}

static const char *const further_words[] = {
    [FURTHER_FREE] = "",
    [FURTHER_HELD] = "one was removed; another one was not asked for yet",
    [FURTHER_ASKED] = "one was removed; another one was asked for",
    [FURTHER_DENIED] = "one was removed; another one was denied",
};

/* So that an approver need not wait to be asked. */
static void further_card(struct visit *v, const struct scene *s, const struct account *user,
                         const struct member *m)
{
    char path[SCENE_PATH_SIZE];

    if (m->state != MEMBER_APPROVED || m->further == FURTHER_FREE ||
        !scene_may(v, s, VERB_MEMBER_APPROVE) || !member_may_agree(&v->desk, &s->group, user))
        return;
    page_card_begin(v, "Another machine");
    html_element(
        &v->response->body, "p",
        "A machine of this member was removed. Agree to another one when you are sure that "
        "it is this member who wants it, and that nobody else has the password.",
        NULL);
    page_form_begin(v, scene_path(&s->group, "/approve", path), "row");
    page_hidden(v, "user", user->name);
    page_field(v,
               &(struct field){
                   .name = "note", .label = "Note (optional)", .type = "text", .optional = true});
    page_form_end(v, "Allow another machine", "primary");
    page_card_end(v);
}

static void member_card(struct visit *v, const struct scene *s, const struct account *user,
                        const struct member *m, const char *role)
{
    struct text *t = &v->response->body;
    char path[2 * SCENE_PATH_SIZE];

    page_card_begin(v, "Member");
    html_open(t, "dl", NULL);
    page_fact(v, "State", member_state_text(m->state));
    page_fact(v, "Role", role);
    page_fact(v, "E-mail", user->email);
    if (m->state == MEMBER_APPROVED && m->further != FURTHER_FREE)
        page_fact(v, "Machines", further_words[m->further]);
    if (m->row) {
        html_element(t, "dt", "Asked", NULL);
        html_open(t, "dd", NULL);
        page_time(v, m->asked_s);
        html_close(t, "dd");
        page_fact(v, "Reason", *m->reason ? m->reason : "-");
    }
    if (m->decided_s) {
        html_element(t, "dt", "Decided", NULL);
        html_open(t, "dd", NULL);
        page_time(v, m->decided_s);
        html_text(t, " by ");
        html_text(t, m->decided_by);
        html_close(t, "dd");
        page_fact(v, "Note", *m->note ? m->note : "-");
    }
    html_close(t, "dl");
    if (m->state == MEMBER_APPROVED && scene_may(v, s, VERB_MEMBER_REVOKE)) {
        snprintf(path, sizeof path, "/groups/%s/revoke?user=%s", s->group.name, user->name);
        html_open(t, "p", "class", "actions", NULL);
        html_element(t, "a", "Remove this member", "class", "button danger", "href", path, NULL);
        html_close(t, "p");
    }
    page_card_end(v);
}

void page_member(struct visit *v)
{
    struct scene s;
    struct account user;
    struct member m;
    char role[ROLE_TEXT_SIZE];

    if (!scene_load_for(v, &s, VERB_MEMBER_LIST))
        return;
    enum outcome o = role_holder(&v->desk, &s.group, v->params[1], &user, &m, role);
    if (o != OUT_OK) {
        page_failure(v, o);
        return;
    }
    scene_begin(v, &s, OUT_OK, user.name, NULL);
    member_card(v, &s, &user, &m, role);
    further_card(v, &s, &user, &m);
    page_card_begin(v, "Machines");
    scene_machines(v, &s, m.row, scene_may(v, &s, VERB_MEMBER_REVOKE));
    page_card_end(v);
    certificates_card(v, &m);
    scene_back(v, &s.group);
    page_end(v);
}

void page_revoke_post(struct visit *v)
{
    scene_decide(v, member_revoke, VERB_MEMBER_REVOKE, "?done=revoked");
}

static const struct field field_why = {.name = "note",
                                       .label = "Why",
                                       .type = "text",
                                       .hint = "The member can read it.",
                                       .optional = true};

static const struct field field_log = {.name = "note",
                                       .label = "Why",
                                       .type = "text",
                                       .hint = "It stands in the audit log.",
                                       .optional = true};

static const struct field field_what = {
    .name = "note",
    .label = "What happened",
    .type = "text",
    .hint =
        "Left in a train, stolen, broken, sold. It stands in the audit log; with a report, whoever "
        "decides on another machine reads it too.",
    .optional = true};

void page_revoke(struct visit *v)
{
    struct scene s;
    struct account user;
    char path[SCENE_PATH_SIZE];

    if (!scene_load_for(v, &s, VERB_MEMBER_REVOKE))
        return;
    enum outcome o = account_find(&v->desk, form_value(&v->query, "user"), &user);
    if (o != OUT_OK) {
        page_failure(v, o);
        return;
    }
    scene_begin(v, &s, OUT_OK, "Remove a member", NULL);
    page_card_begin(v, user.name);
    html_element(
        &v->response->body, "p",
        "All machines of this member lose their sessions and addresses in the group, and "
        "their certificates are revoked. This cannot be undone; the member may ask to join "
        "again.",
        NULL);
    page_form_begin(v, scene_path(&s.group, "/revoke", path), "stack");
    page_hidden(v, "user", user.name);
    page_field(v, &field_why);
    page_form_end(v, "Remove from the group", "danger");
    page_card_end(v);
    scene_back(v, &s.group);
    page_end(v);
}

/* The machine that the path names, for whoever may remove it: its member or an administrator. */
static bool machine_load(struct visit *v, struct scene *s, struct id *node, char *hostname,
                         bool *own)
{
    struct account user = {0};

    if (!scene_load(v, s))
        return false;
    enum outcome found = id_parse(node, v->params[1])
                             ? machine_owner(&v->desk, &s->group, node, &user, hostname)
                             : OUT_NO_MACHINE;
    enum outcome o = desk_authorize(&v->desk, VERB_MACHINE_REVOKE, s->group.row, user.row);
    if (o == OUT_OK)
        o = found;
    if (o != OUT_OK)
        page_failure(v, o);
    *own = user.row == s->self.row;
    return o == OUT_OK;
}

/* What becomes of whose machine it is. */
static void machine_warning(struct visit *v, bool own)
{
    html_element(&v->response->body, "p",
                 "This machine loses its sessions and its address in the group, and its "
                 "certificates are revoked. This cannot be undone.",
                 NULL);
    html_element(&v->response->body, "p",
                 own ? "After this, somebody who approves in the group has to agree before you add "
                       "another machine, and files that you have not used are worthless. To move "
                       "to a new machine, add that one first. Reporting this one lost asks for "
                       "another one at once."
                     : "Its member stays one, but adds no other machine before somebody who "
                       "approves in the group has agreed.",
                 NULL);
}

void page_machine(struct visit *v)
{
    struct text *t = &v->response->body;
    struct scene s;
    struct id node;
    bool own;
    char path[2 * SCENE_PATH_SIZE], lost[2 * SCENE_PATH_SIZE + 8], hostname[LABEL_MAX + 1];

    if (!machine_load(v, &s, &node, hostname, &own))
        return;
    scene_begin(v, &s, OUT_OK, "Remove a machine", NULL);
    page_card_begin(v, hostname);
    html_open(t, "p", NULL);
    html_element(t, "code", v->params[1], NULL);
    html_close(t, "p");
    machine_warning(v, own);
    snprintf(path, sizeof path, "/groups/%s/machines/%s", s.group.name, v->params[1]);
    snprintf(lost, sizeof lost, "%s/lost", path);
    page_form_begin(v, path, "stack");
    page_field(v, own ? &field_what : &field_log);
    if (own)
        html_element(t, "button", "Report it lost", "type", "submit", "class", "danger",
                     "formaction", lost, NULL);
    page_form_end(v, "Remove this machine", "danger");
    page_card_end(v);
    scene_back(v, &s.group);
    page_end(v);
}

static void machine_change(struct visit *v,
                           enum outcome (*change)(struct desk *, const struct group *,
                                                  const struct id *, const char *),
                           const char *rest)
{
    struct scene s;
    struct id node;
    bool own;
    char path[SCENE_PATH_SIZE], hostname[LABEL_MAX + 1];

    if (!machine_load(v, &s, &node, hostname, &own))
        return;
    enum outcome o = change(&v->desk, &s.group, &node, form_value(&v->form, "note"));
    if (o == OUT_OK)
        visit_redirect(v, scene_path(&s.group, rest, path));
    else
        page_failure(v, o);
}

void page_machine_post(struct visit *v)
{
    machine_change(v, machine_revoke, "?done=machine");
}

void page_machine_lost_post(struct visit *v)
{
    machine_change(v, machine_lost, "?done=lost");
}
