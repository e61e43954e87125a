#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ca-web/page.h"
#include "ca-web/removal.h"

enum {
    PAGE_LINES = 50,
    PENDING_MAX = 50,
    AUDIT_LINES = 50,
    SEARCH_MAX = 100,
    PATH_SIZE = LABEL_MAX + 32,
};

/* What every page of a group starts from. */
struct scene {
    struct group group;
    struct account self;
    struct member membership; /* of self */
};

/* False when the answer is written already. */
static bool scene_load(struct visit *v, struct scene *s)
{
    enum outcome o = desk_authorize(&v->desk, VERB_GROUP_ASK, 0, 0);

    if (o == OUT_OK)
        o = group_find(&v->desk, v->params[0], &s->group);
    if (o == OUT_OK)
        o = account_find(&v->desk, v->desk.actor.name, &s->self);
    if (o == OUT_OK)
        o = member_find(&v->desk, &s->group, &s->self, &s->membership);
    if (o != OUT_OK)
        page_failure(v, o);
    return o == OUT_OK;
}

static bool may(struct visit *v, const struct scene *s, enum verb verb)
{
    return desk_authorize(&v->desk, verb, s->group.row, s->self.row) == OUT_OK;
}

/* "/groups/NAME" and what follows. */
static const char *path_of(const struct group *g, const char *rest, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "/groups/%s%s", g->name, rest);
    return out;
}

static void link_button(struct visit *v, const char *text, const char *path)
{
    html_element(&v->response->body, "a", text, "class", "button", "href", path, NULL);
}

static void back_link(struct visit *v, const struct group *g)
{
    char path[PATH_SIZE];

    html_open(&v->response->body, "p", NULL);
    html_element(&v->response->body, "a", "Back to the group", "href", path_of(g, "", path), NULL);
    html_close(&v->response->body, "p");
}

/* What ?done=... says; anything else says nothing. */
static void done_notice(struct visit *v)
{
    static const struct {
        const char *word, *text;
    } notices[] = {
        {"approved", "Approved. The member can take a configuration file now."},
        {"denied", "Denied."},
        {"revoked", "Removed. The group's machines are being told."},
        {"asked", "Your request is with the group's administrators."},
    };
    const char *done = form_value(&v->query, "done");

    for (size_t i = 0; i < ARRAY_LEN(notices); i++)
        if (!strcmp(done, notices[i].word))
            page_notice(v, notices[i].text);
}

static void network_card(struct visit *v, const struct group *g)
{
    page_card_begin(v, "Network");
    html_open(&v->response->body, "dl", NULL);
    page_fact(v, "Addresses", g->ipv4);
    page_fact(v, "IPv6", g->ipv6);
    page_fact(v, "Domain", g->domain);
    if (g->bootstrap[0])
        page_fact(v, "Bootstrap", g->bootstrap);
    html_close(&v->response->body, "dl");
    page_card_end(v);
}

static void cell_begin(struct visit *v, const char *label)
{
    html_open(&v->response->body, "td", "data-label", label, NULL);
}

static void cell(struct visit *v, const char *label, const char *text)
{
    html_element(&v->response->body, "td", text, "data-label", label, NULL);
}

static void cell_time(struct visit *v, const char *label, int64_t unix_s)
{
    cell_begin(v, label);
    page_time(v, unix_s);
    html_close(&v->response->body, "td");
}

static void table_begin(struct visit *v, const char *const *heads, size_t n)
{
    struct text *t = &v->response->body;

    html_open(t, "table", NULL);
    html_open(t, "thead", NULL);
    html_open(t, "tr", NULL);
    for (size_t i = 0; i < n; i++)
        html_element(t, "th", heads[i], "scope", "col", NULL);
    html_close(t, "tr");
    html_close(t, "thead");
    html_open(t, "tbody", NULL);
}

static void table_end(struct visit *v)
{
    html_close(&v->response->body, "tbody");
    html_close(&v->response->body, "table");
}

static void machine_row(struct visit *v, const struct query *q)
{
    struct text *t = &v->response->body;
    char node[ID_TEXT_SIZE] = "";
    struct id id;

    if (query_copy(q, 1, id.b, ID_LEN))
        id_text(&id, node);
    html_open(t, "tr", NULL);
    cell(v, "Machine", query_text(q, 0));
    cell_begin(v, "Node id");
    html_element(t, "code", node, NULL);
    html_close(t, "td");
    cell_time(v, "Enrolled", query_int(q, 2));
    cell_begin(v, "Certificate until");
    if (query_null(q, 4))
        page_time(v, query_int(q, 3));
    else
        page_badge(v, "removed", "bad");
    html_close(t, "td");
    html_close(t, "tr");
}

static void machines_card(struct visit *v, const struct scene *s)
{
    static const char *const heads[] = {"Machine", "Node id", "Enrolled", "Certificate until"};
    char path[PATH_SIZE];
    size_t shown = 0;
    struct query q = store_ask(
        v->desk.store,
        "SELECT m.hostname, m.node, m.enrolled_s,"
        " (SELECT max(not_after_s) FROM certificates c WHERE c.machine_row = m.id), m.revoked_s"
        " FROM machines m WHERE m.member_row = ?1 ORDER BY m.revoked_s IS NOT NULL, m.id DESC"
        " LIMIT ?2",
        VALUES(v_int(s->membership.row), v_int(PAGE_LINES)));

    page_card_begin(v, "My machines");
    for (; query_row(&q); shown++) {
        if (!shown)
            table_begin(v, heads, ARRAY_LEN(heads));
        machine_row(v, &q);
    }
    if (shown)
        table_end(v);
    else
        html_element(&v->response->body, "p", "None has been enrolled yet.", "class", "muted",
                     NULL);
    html_open(&v->response->body, "p", NULL);
    link_button(v, "Add a machine", path_of(&s->group, "/blob", path));
    html_close(&v->response->body, "p");
    page_card_end(v);
}

/* Context of the list callbacks. */
struct listing {
    struct visit *visit;
    const struct scene *scene;
    bool may_revoke;
    size_t lines;
};

static void pending_line(void *ctx, const struct member_line *line)
{
    struct listing *l = ctx;
    struct visit *v = l->visit;
    struct text *t = &v->response->body;
    char approve[PATH_SIZE], deny[PATH_SIZE];

    if (!l->lines++)
        page_card_begin(v, "Waiting for approval");
    html_open(t, "article", "class", "request", NULL);
    html_open(t, "p", NULL);
    html_element(t, "strong", line->user, NULL);
    html_text(t, " ");
    html_element(t, "span", line->email, "class", "muted", NULL);
    html_text(t, " ");
    page_time(v, line->asked_s);
    html_close(t, "p");
    if (*line->reason)
        html_element(t, "blockquote", line->reason, NULL);
    page_form_begin(v, path_of(&l->scene->group, "/approve", approve), "row");
    page_hidden(v, "user", line->user);
    page_field(v,
               &(struct field){
                   .name = "note", .label = "Note (optional)", .type = "text", .optional = true});
    html_element(t, "button", "Deny", "type", "submit", "class", "danger", "formaction",
                 path_of(&l->scene->group, "/deny", deny), NULL);
    page_form_end(v, "Approve", "primary");
    html_close(t, "article");
}

static void pending_card(struct visit *v, const struct scene *s)
{
    const struct member_filter filter = {
        .state = MEMBER_REQUESTED, .search = "", .limit = PENDING_MAX};
    struct listing l = {.visit = v, .scene = s};
    char more[80];
    int64_t total = 0;

    if (!may(v, s, VERB_MEMBER_APPROVE) ||
        member_list(&v->desk, &s->group, &filter, pending_line, &l, &total) != OUT_OK || !l.lines)
        return;
    if (total > PENDING_MAX) {
        snprintf(more, sizeof more, "%lld more wait behind these.", (long long)total - PENDING_MAX);
        html_element(&v->response->body, "p", more, "class", "muted", NULL);
    }
    page_card_end(v);
}

static const char *state_kind(enum member_state state)
{
    switch (state) {
    case MEMBER_APPROVED:
        return "good";
    case MEMBER_REQUESTED:
        return "wait";
    case MEMBER_NONE:
    case MEMBER_DENIED:
    case MEMBER_REVOKED:
        break;
    }
    return "bad";
}

static void member_row(void *ctx, const struct member_line *line)
{
    struct listing *l = ctx;
    struct visit *v = l->visit;
    struct text *t = &v->response->body;
    char path[2 * PATH_SIZE], number[24];

    l->lines++;
    html_open(t, "tr", NULL);
    cell_begin(v, "User");
    html_element(t, "strong", line->user, NULL);
    html_text(t, " ");
    html_element(t, "span", line->email, "class", "muted", NULL);
    html_close(t, "td");
    cell_begin(v, "State");
    page_badge(v, member_state_text(line->state), state_kind(line->state));
    html_text(t, " ");
    if (*line->role)
        page_badge(v, line->role, "plain");
    html_close(t, "td");
    snprintf(number, sizeof number, "%lld", (long long)line->machines);
    cell(v, "Machines", number);
    cell_time(v, "Since", line->decided_s ? line->decided_s : line->asked_s);
    cell_begin(v, "");
    if (l->may_revoke && line->state == MEMBER_APPROVED) {
        snprintf(path, sizeof path, "/groups/%s/revoke?user=%s", l->scene->group.name, line->user);
        html_element(t, "a", "Remove", "href", path, NULL);
    }
    html_close(t, "td");
    html_close(t, "tr");
}

/* Which page is asked for, from 1. */
static int64_t page_number(const struct visit *v)
{
    const char *text = form_value(&v->query, "page");
    size_t digits = strspn(text, "0123456789");

    return text[digits] || !digits || digits > 6 || atoi(text) < 1 ? 1 : atoi(text);
}

/* A search goes into links again; what would need an escape there is left out of them. */
static bool search_plain(const char *search)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.@_";
    return strspn(search, allowed) == strlen(search);
}

static void page_link(struct visit *v, const struct group *g, const char *text, int64_t page,
                      const char *search)
{
    char path[PATH_SIZE + SEARCH_MAX + 32];

    snprintf(path, sizeof path, "/groups/%s?page=%lld%s%s", g->name, (long long)page,
             *search ? "&q=" : "", search);
    html_element(&v->response->body, "a", text, "href", path, NULL);
}

static void pager(struct visit *v, const struct group *g, int64_t page, int64_t total,
                  const char *search)
{
    int64_t pages = (total + PAGE_LINES - 1) / PAGE_LINES;
    char here[64];

    if (pages < 2)
        return;
    html_open(&v->response->body, "nav", "class", "pager", "aria-label", "Pages", NULL);
    if (page > 1)
        page_link(v, g, "Previous", page - 1, search);
    snprintf(here, sizeof here, "Page %lld of %lld", (long long)page, (long long)pages);
    html_element(&v->response->body, "span", here, NULL);
    if (page < pages)
        page_link(v, g, "Next", page + 1, search);
    html_close(&v->response->body, "nav");
}

static void search_form(struct visit *v, const struct group *g, const char *search)
{
    char path[PATH_SIZE];

    html_open(&v->response->body, "form", "method", "get", "action", path_of(g, "", path), "class",
              "row", "role", "search", NULL);
    page_field(v, &(struct field){.name = "q",
                                  .label = "Find by name or e-mail",
                                  .type = "search",
                                  .value = search,
                                  .optional = true});
    page_form_end(v, "Find", "plain");
}

static void members_card(struct visit *v, const struct scene *s)
{
    static const char *const heads[] = {"User", "State", "Machines", "Since", ""};
    const char *asked = form_value(&v->query, "q");
    const char *search = strlen(asked) <= SEARCH_MAX && search_plain(asked) ? asked : "";
    int64_t page = page_number(v), total = 0;
    const struct member_filter filter = {
        .search = search, .offset = (page - 1) * PAGE_LINES, .limit = PAGE_LINES};
    struct listing l = {.visit = v, .scene = s, .may_revoke = may(v, s, VERB_MEMBER_REVOKE)};

    if (!may(v, s, VERB_MEMBER_LIST))
        return;
    page_card_begin(v, "Members");
    search_form(v, &s->group, search);
    table_begin(v, heads, ARRAY_LEN(heads));
    member_list(&v->desk, &s->group, &filter, member_row, &l, &total);
    table_end(v);
    if (!l.lines)
        html_element(&v->response->body, "p", "Nobody fits.", "class", "muted", NULL);
    pager(v, &s->group, page, total, search);
    page_card_end(v);
}

static void audit_card(struct visit *v, const struct scene *s)
{
    static const char *const heads[] = {"When", "Who", "What", "Whom", "Detail"};
    struct text *t = &v->response->body;

    if (!may(v, s, VERB_AUDIT_READ))
        return;
    html_open(t, "details", "class", "card", NULL);
    html_element(t, "summary", "Audit log", NULL);
    table_begin(v, heads, ARRAY_LEN(heads));
    struct query q = store_ask(v->desk.store,
                               "SELECT at_s, actor, verb, object, detail FROM audit"
                               " WHERE group_row = ?1 ORDER BY id DESC LIMIT ?2",
                               VALUES(v_int(s->group.row), v_int(AUDIT_LINES)));
    while (query_row(&q)) {
        html_open(t, "tr", NULL);
        cell_time(v, "When", query_int(&q, 0));
        cell(v, "Who", query_text(&q, 1));
        cell(v, "What", query_text(&q, 2));
        cell(v, "Whom", query_text(&q, 3));
        cell(v, "Detail", query_text(&q, 4));
        html_close(t, "tr");
    }
    table_end(v);
    html_close(t, "details");
}

void page_group(struct visit *v)
{
    struct scene s;
    char path[PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    bool runs = may(v, &s, VERB_MEMBER_LIST);
    if (!runs && s.membership.state != MEMBER_APPROVED) {
        visit_redirect(v, path_of(&s.group, "/join", path));
        return;
    }
    page_begin(v, 200, s.group.name);
    done_notice(v);
    pending_card(v, &s);
    if (s.membership.state == MEMBER_APPROVED)
        machines_card(v, &s);
    members_card(v, &s);
    network_card(v, &s.group);
    audit_card(v, &s);
    page_end(v);
}

static void join_form(struct visit *v, const struct scene *s, const char *button)
{
    char path[PATH_SIZE];

    page_form_begin(v, path_of(&s->group, "/join", path), "stack");
    page_field(v, &(struct field){.name = "reason",
                                  .label = "Who are you, and why do you want to join?",
                                  .type = "textarea",
                                  .value = form_value(&v->form, "reason"),
                                  .hint = "The group's administrators read this."});
    page_form_end(v, button, "primary");
}

/* The state a request is in, and what can be done about it. */
static void join_state(struct visit *v, const struct scene *s)
{
    struct text *t = &v->response->body;
    const struct member *m = &s->membership;

    switch (m->state) {
    case MEMBER_NONE:
        join_form(v, s, "Ask to join");
        return;
    case MEMBER_REQUESTED:
        html_open(t, "p", NULL);
        html_text(t, "You asked on ");
        page_time(v, m->asked_s);
        html_text(t, ". Come back when an administrator has decided.");
        html_close(t, "p");
        return;
    case MEMBER_APPROVED:
        html_element(t, "p", "You are a member.", NULL);
        return;
    case MEMBER_DENIED:
    case MEMBER_REVOKED:
        html_element(t, "p",
                     m->state == MEMBER_DENIED ? "Your request was denied."
                                               : "You were removed from this group.",
                     NULL);
        if (*m->note)
            html_element(t, "blockquote", m->note, NULL);
        join_form(v, s, "Ask again");
        return;
    }
}

static void join_write(struct visit *v, const struct scene *s, enum outcome o)
{
    char title[LABEL_MAX + 16];

    snprintf(title, sizeof title, "Join %s", s->group.name);
    page_begin(v, outcome_http(o), title);
    done_notice(v);
    page_card_begin(v, NULL);
    page_complaint(v, o);
    join_state(v, s);
    page_card_end(v);
    page_end(v);
}

void page_join(struct visit *v)
{
    struct scene s;
    char path[PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    if (s.membership.state == MEMBER_APPROVED)
        visit_redirect(v, path_of(&s.group, "", path));
    else
        join_write(v, &s, OUT_OK);
}

void page_join_post(struct visit *v)
{
    struct scene s;
    char path[PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    enum outcome o = member_request(&v->desk, &s.group, &s.self, form_value(&v->form, "reason"));
    if (o == OUT_OK)
        visit_redirect(v, path_of(&s.group, "/join?done=asked", path));
    else
        join_write(v, &s, o);
}

void page_blob(struct visit *v)
{
    static const char *const steps[] = {
        "Download the file. Each file is for one machine and holds a secret: give it to nobody.",
        "Take it to the machine on which peal is installed.",
    };
    struct text *t = &v->response->body;
    struct scene s;
    char path[PATH_SIZE], command[LABEL_MAX + 32];

    if (!scene_load(v, &s))
        return;
    if (!may(v, &s, VERB_BLOB_MAKE)) {
        page_failure(v, OUT_NOT_MEMBER);
        return;
    }
    page_begin(v, 200, "Add a machine");
    page_card_begin(v, s.group.name);
    html_open(t, "ol", NULL);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        html_element(t, "li", steps[i], NULL);
    html_open(t, "li", NULL);
    html_text(t, "Run ");
    snprintf(command, sizeof command, "sudo peal join %s.peal", s.group.name);
    html_element(t, "code", command, NULL);
    html_text(t, " there.");
    html_close(t, "li");
    html_close(t, "ol");
    page_form_begin(v, path_of(&s.group, "/blob", path), "stack");
    page_form_end(v, "Download", "primary");
    page_card_end(v);
    back_link(v, &s.group);
    page_end(v);
}

void page_blob_post(struct visit *v)
{
    struct scene s;
    char disposition[LABEL_MAX + 64];

    if (!scene_load(v, &s))
        return;
    enum outcome o =
        blob_make(&v->desk, &s.group, &s.self, &v->service->server, &v->response->body);
    if (o != OUT_OK) {
        page_failure(v, o);
        return;
    }
    snprintf(disposition, sizeof disposition, "attachment; filename=\"%s.peal\"", s.group.name);
    response_header(v->response, "Content-Disposition", disposition);
    v->response->status = 200;
    v->response->type = "application/json";
}

/* approve, deny, revoke: the form names the user. */
static void decide(struct visit *v,
                   enum outcome (*change)(struct desk *, const struct group *,
                                          const struct account *, const char *),
                   enum verb verb, const char *rest)
{
    struct scene s;
    struct account user;
    char path[PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    /* Asked first, so that only who may decide learns which users exist. */
    enum outcome o = desk_authorize(&v->desk, verb, s.group.row, 0);
    if (o == OUT_OK)
        o = account_find(&v->desk, form_value(&v->form, "user"), &user);
    if (o == OUT_OK)
        o = change(&v->desk, &s.group, &user, form_value(&v->form, "note"));
    if (o == OUT_OK)
        visit_redirect(v, path_of(&s.group, rest, path));
    else
        page_failure(v, o);
}

void page_approve_post(struct visit *v)
{
    decide(v, member_approve, VERB_MEMBER_APPROVE, "?done=approved");
}

void page_deny_post(struct visit *v)
{
    decide(v, member_deny, VERB_MEMBER_DENY, "?done=denied");
}

void page_revoke_post(struct visit *v)
{
    decide(v, member_revoke, VERB_MEMBER_REVOKE, "?done=revoked");
}

void page_revoke(struct visit *v)
{
    struct text *t = &v->response->body;
    struct scene s;
    struct account user;
    char path[PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    enum outcome o = desk_authorize(&v->desk, VERB_MEMBER_REVOKE, s.group.row, 0);
    if (o == OUT_OK)
        o = account_find(&v->desk, form_value(&v->query, "user"), &user);
    if (o != OUT_OK) {
        page_failure(v, o);
        return;
    }
    page_begin(v, 200, "Remove a member");
    page_card_begin(v, user.name);
    html_element(
        t, "p",
        "All machines of this member lose their sessions and addresses in the group, and "
        "their certificates are revoked. This cannot be undone; the member may ask to join "
        "again.",
        NULL);
    page_form_begin(v, path_of(&s.group, "/revoke", path), "stack");
    page_hidden(v, "user", user.name);
    page_field(v, &(struct field){.name = "note",
                                  .label = "Why",
                                  .type = "text",
                                  .hint = "The member can read it.",
                                  .optional = true});
    page_form_end(v, "Remove from the group", "danger");
    page_card_end(v);
    back_link(v, &s.group);
    page_end(v);
}
