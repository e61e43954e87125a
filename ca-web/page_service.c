#include <stdio.h>
#include <string.h>

#include "ca-web/page.h"
#include "ca-web/wanted.h"

enum { AUDIT_LINES = 50, ACCOUNTS_LINES = 50 };

/* False when the answer is written already. */
static bool service_load(struct visit *v, enum verb verb)
{
    enum outcome o = desk_authorize(&v->desk, verb, 0, 0);

    if (o != OUT_OK)
        page_failure(v, o);
    return o == OUT_OK;
}

static void account_row(struct visit *v, const struct query *q)
{
    struct text *t = &v->response->body;
    bool admin = query_int(q, 3) != 0;

    html_open(t, "tr", NULL);
    page_cell_begin(v, "User");
    html_element(t, "strong", query_text(q, 0), NULL);
    html_text(t, " ");
    html_element(t, "span", query_text(q, 1), "class", "muted", NULL);
    html_text(t, " ");
    if (admin)
        page_badge(v, "administrator", "plain");
    page_cell_end(v);
    page_cell_time(v, "Since", query_int(q, 2));
    page_cell_number(v, "Groups", query_int(q, 4));
    page_cell(v, "Second factor", query_int(q, 5) ? "on" : "off");
    page_cell_begin(v, "");
    page_form_begin(v, "/service/administrators", "inline");
    page_hidden(v, "user", query_text(q, 0));
    page_hidden(v, "admin", admin ? "no" : "yes");
    html_open(t, "button", "type", "submit", "class", "quiet", NULL);
    html_text(t, admin ? "Make a user" : "Make an administrator");
    html_element(t, "span", query_text(q, 0), "class", "unseen", NULL);
    html_close(t, "button");
    html_close(t, "form");
    page_cell_end(v);
    html_close(t, "tr");
}

static void accounts_pager(struct visit *v, const struct wanted *w, int64_t shown)
{
    char path[3 * WANTED_SEARCH_MAX + 64], search[3 * WANTED_SEARCH_MAX + 1];

    page_encode(search, sizeof search, w->search);
    html_open(&v->response->body, "nav", "class", "pager", "aria-label", "Pages", NULL);
    if (w->page > 1) {
        snprintf(path, sizeof path, "/service?page=%lld&q=%s", (long long)w->page - 1, search);
        html_element(&v->response->body, "a", "Previous", "href", path, NULL);
    }
    if (shown == ACCOUNTS_LINES) {
        snprintf(path, sizeof path, "/service?page=%lld&q=%s", (long long)w->page + 1, search);
        html_element(&v->response->body, "a", "Next", "href", path, NULL);
    }
    html_close(&v->response->body, "nav");
}

static void accounts_card(struct visit *v)
{
    static const char *const heads[] = {"User", "Since", "Groups", "Second factor", ""};
    struct wanted w;
    int64_t shown = 0;

    wanted_read(&v->query, &w);
    page_card_begin(v, "Accounts");
    html_open(&v->response->body, "form", "method", "get", "action", "/service", "class", "row",
              "role", "search", NULL);
    page_field(v, &(struct field){.name = "q",
                                  .label = "Find by name or e-mail",
                                  .type = "search",
                                  .value = w.search,
                                  .optional = true});
    page_form_end(v, "Find", "plain");
    page_table_begin(v, heads, ARRAY_LEN(heads));
    struct query q = store_ask(
        v->desk.store,
        "SELECT u.name, u.email, u.made_s, u.admin,"
        " (SELECT count(*) FROM members m WHERE m.user_row = u.id AND m.state = 'approved'),"
        " u.totp IS NOT NULL FROM users u WHERE u.id IN (SELECT id FROM users"
        " WHERE ?1 = '' OR instr(name, lower(?1)) OR instr(lower(email), lower(?1))"
        " ORDER BY admin DESC, name LIMIT ?2 OFFSET ?3) ORDER BY u.admin DESC, u.name",
        VALUES(v_text(w.search), v_int(ACCOUNTS_LINES), v_int((w.page - 1) * ACCOUNTS_LINES)));
    for (; query_row(&q); shown++)
        account_row(v, &q);
    page_table_end(v);
    accounts_pager(v, &w, shown);
    page_card_end(v);
}

/* What belongs to no group: accounts, second factors, tokens. */
static void audit_card(struct visit *v)
{
    static const char *const heads[] = {"When", "Who", "From", "What", "Whom", "Detail"};
    struct query q = store_ask(v->desk.store,
                               "SELECT at_s, actor, address, verb, object, detail FROM audit"
                               " WHERE group_row IS NULL ORDER BY id DESC LIMIT ?1",
                               VALUES(v_int(AUDIT_LINES)));

    html_open(&v->response->body, "details", "class", "card", NULL);
    html_element(&v->response->body, "summary", "Audit log of accounts", NULL);
    page_table_begin(v, heads, ARRAY_LEN(heads));
    while (query_row(&q)) {
        html_open(&v->response->body, "tr", NULL);
        page_cell_time(v, heads[0], query_int(&q, 0));
        for (int column = 1; column < (int)ARRAY_LEN(heads); column++)
            page_cell(v, heads[column], query_text(&q, column));
        html_close(&v->response->body, "tr");
    }
    page_table_end(v);
    html_close(&v->response->body, "details");
}

static void service_write(struct visit *v, enum outcome o)
{
    page_begin(v, outcome_http(o), "Service");
    page_done(v, (const struct done[]){{"set", "Changed."}, {NULL, NULL}});
    page_complaint(v, o);
    accounts_card(v);
    audit_card(v);
    page_end(v);
}

void page_service(struct visit *v)
{
    if (service_load(v, VERB_USER_LIST))
        service_write(v, OUT_OK);
}

void page_administrators_post(struct visit *v)
{
    struct account user;

    if (!service_load(v, VERB_ADMIN_SET))
        return;
    enum outcome o = account_find(&v->desk, form_value(&v->form, "user"), &user);
    if (o == OUT_OK)
        o = account_set_admin(&v->desk, &user, !strcmp(form_value(&v->form, "admin"), "yes"));
    if (o != OUT_OK)
        service_write(v, o);
    else
        visit_redirect(v, user.row == v->desk.actor.row ? "/groups" : "/service?done=set");
}
