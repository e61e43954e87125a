#include <stdio.h>
#include <string.h>

#include "ca-web/factor.h"
#include "ca-web/page.h"
#include "ca-web/qr.h"
#include "ca-web/token.h"

enum { MACHINES_SHOWN_MAX = 500 };

/* Who is logged in, and may change himself. False when the answer is written already. */
static bool self_load(struct visit *v, struct account *self)
{
    enum outcome o = desk_authorize(&v->desk, VERB_USER_EDIT, 0, v->desk.actor.row);

    if (o == OUT_OK)
        o = account_find(&v->desk, v->desk.actor.name, self);
    if (o != OUT_OK)
        page_failure(v, o);
    return o == OUT_OK;
}

static void profile_card(struct visit *v, const struct account *self)
{
    page_card_begin(v, self->name);
    html_open(&v->response->body, "dl", NULL);
    page_fact(v, "E-mail", self->email);
    page_fact(v, "Service", self->admin ? "administrator" : "user");
    html_close(&v->response->body, "dl");
    page_card_end(v);
}

static void password_card(struct visit *v, enum outcome o)
{
    page_card_begin(v, "Change the password");
    page_complaint(v, o);
    page_form_begin(v, "/account", "stack");
    page_field(v, &(struct field){.name = "old",
                                  .label = "Present password",
                                  .type = "password",
                                  .autocomplete = "current-password"});
    page_field(v, &page_field_password);
    page_form_end(v, "Change", "primary");
    html_element(&v->response->body, "p", "Every other session of yours ends.", "class", "muted",
                 NULL);
    page_card_end(v);
}

static void factor_card(struct visit *v, const struct account *self)
{
    struct text *t = &v->response->body;
    char left[64];

    page_card_begin(v, "Second factor");
    if (factor_on(&v->desk, self)) {
        snprintf(left, sizeof left, "On. Recovery codes left: %lld.",
                 (long long)factor_recoveries(&v->desk, self));
        html_element(t, "p", left, NULL);
    } else
        html_element(
            t, "p", "Off. With an authenticator app, a stolen password alone opens nothing.", NULL);
    html_open(t, "p", NULL);
    page_button(v, factor_on(&v->desk, self) ? "Change or turn off" : "Turn on", "/account/factor");
    html_close(t, "p");
    page_card_end(v);
}

static void session_row(struct visit *v, const struct query *q)
{
    struct text *t = &v->response->body;
    char id[2 * HASH_LEN + 1] = "";
    size_t len = 0;
    const void *hash = query_bytes(q, 0, &len);

    if (len == HASH_LEN)
        hex_text(hash, len, id);
    html_open(t, "tr", NULL);
    page_cell(v, "Browser", query_text(q, 4));
    page_cell(v, "From", query_text(q, 3));
    page_cell_time(v, "Since", query_int(q, 1));
    page_cell_time(v, "Last used", query_int(q, 2));
    page_cell_begin(v, "");
    if (session_is(v->session, id))
        page_badge(v, "this one", "good");
    else {
        page_form_begin(v, "/account/sessions", "inline");
        page_hidden(v, "session", id);
        page_form_end(v, "End", "quiet");
    }
    page_cell_end(v);
    html_close(t, "tr");
}

static void sessions_card(struct visit *v)
{
    static const char *const heads[] = {"Browser", "From", "Since", "Last used", ""};
    struct query q =
        store_ask(v->desk.store,
                  "SELECT hash, made_s, used_s, address, agent FROM sessions"
                  " WHERE user_row = ?1 AND expires_s > ?2 AND used_s > ?3 ORDER BY used_s DESC",
                  VALUES(v_int(v->desk.actor.row), v_int(v->desk.now_s),
                         v_int(v->desk.now_s - SESSION_IDLE_S)));

    page_card_begin(v, "Sessions");
    page_table_begin(v, heads, ARRAY_LEN(heads));
    while (query_row(&q))
        session_row(v, &q);
    page_table_end(v);
    page_form_begin(v, "/account/sessions", "inline");
    page_hidden(v, "session", "others");
    page_form_end(v, "End all others", "plain");
    page_card_end(v);
}

static void scopes_text(unsigned scopes, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (unsigned i = 0; scope_text(i); i++)
        if (scopes & 1u << i)
            used +=
                (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", scope_text(i));
}

static void token_row(struct visit *v, const struct query *q)
{
    struct text *t = &v->response->body;
    char scopes[96], number[24];

    scopes_text((unsigned)query_int(q, 2), scopes, sizeof scopes);
    snprintf(number, sizeof number, "%lld", (long long)query_int(q, 0));
    html_open(t, "tr", NULL);
    page_cell(v, "Name", query_text(q, 1));
    page_cell(v, "May", scopes);
    page_cell(v, "Group", query_text(q, 3));
    page_cell_time(v, "Until", query_int(q, 4));
    page_cell_time(v, "Last used", query_int(q, 5));
    page_cell_begin(v, "");
    page_form_begin(v, "/account/tokens/end", "inline");
    page_hidden(v, "token", number);
    html_open(t, "button", "type", "submit", "class", "quiet", NULL);
    html_text(t, "End");
    html_element(t, "span", query_text(q, 1), "class", "unseen", NULL);
    html_close(t, "button");
    html_close(t, "form");
    page_cell_end(v);
    html_close(t, "tr");
}

static void tokens_table(struct visit *v)
{
    static const char *const heads[] = {"Name", "May", "Group", "Until", "Last used", ""};
    size_t shown = 0;
    struct query q =
        store_ask(v->desk.store,
                  "SELECT t.id, t.name, t.scopes, coalesce(g.name, 'all'), t.expires_s, t.used_s"
                  " FROM tokens t LEFT JOIN groups g ON g.id = t.group_row"
                  " WHERE t.user_row = ?1 AND t.expires_s > ?2 ORDER BY t.id DESC",
                  VALUES(v_int(v->desk.actor.row), v_int(v->desk.now_s)));

    for (; query_row(&q); shown++) {
        if (!shown)
            page_table_begin(v, heads, ARRAY_LEN(heads));
        token_row(v, &q);
    }
    if (shown)
        page_table_end(v);
}

static void scope_check(struct visit *v, unsigned scope, const char *meaning)
{
    struct text *t = &v->response->body;
    char id[40], name[32];

    snprintf(name, sizeof name, "scope-%s", scope_text(scope));
    snprintf(id, sizeof id, "f-%s", name);
    html_open(t, "div", "class", "check", NULL);
    if (*form_value(&v->form, name) || (v->request->method == HTTP_GET && scope == SCOPE_READ))
        html_open(t, "input", "type", "checkbox", "id", id, "name", name, "value", "1", "checked",
                  "", NULL);
    else
        html_open(t, "input", "type", "checkbox", "id", id, "name", name, "value", "1", NULL);
    html_element(t, "label", meaning, "for", id, NULL);
    html_close(t, "div");
}

static void token_form(struct visit *v)
{
    const char *days = form_value(&v->form, "days");

    page_form_begin(v, "/account/tokens", "stack");
    page_field(v, &(struct field){.name = "name",
                                  .label = "What the token is for",
                                  .type = "text",
                                  .value = form_value(&v->form, "name")});
    html_open(&v->response->body, "fieldset", NULL);
    html_element(&v->response->body, "legend", "What it may do", NULL);
    scope_check(v, SCOPE_READ, "Read members, settings and the audit log");
    scope_check(v, SCOPE_MEMBERS, "Ask, approve, deny, remove, invite");
    scope_check(v, SCOPE_MACHINES, "Make files for my machines, and remove machines");
    scope_check(v, SCOPE_MANAGE, "Make groups, change settings and roles");
    html_close(&v->response->body, "fieldset");
    page_field(v, &(struct field){.name = "group",
                                  .label = "Only in this group",
                                  .type = "text",
                                  .value = form_value(&v->form, "group"),
                                  .hint = "Empty: in all of mine.",
                                  .optional = true});
    page_field(v, &(struct field){.name = "days",
                                  .label = "Good for days",
                                  .type = "number",
                                  .value = *days ? days : "90",
                                  .hint = "1 to 366."});
    page_form_end(v, "Make a token", "primary");
}

static void tokens_write(struct visit *v, enum outcome o, const char *token)
{
    struct text *t = &v->response->body;

    page_begin(v, outcome_http(o), "API tokens");
    page_done(v, (const struct done[]){{"ended", "The token has ended."}, {NULL, NULL}});
    page_complaint(v, o);
    if (token) {
        page_card_begin(v, "The token");
        html_element(t, "p",
                     "It is shown only now. Whoever has it may do in your name what it is for.",
                     NULL);
        html_open(t, "p", NULL);
        html_element(t, "code", token, NULL);
        html_close(t, "p");
        page_card_end(v);
    }
    page_card_begin(v, "Tokens");
    html_open(t, "p", "class", "muted", NULL);
    html_text(t,
              "For programs: they send it as \"Authorization: Bearer ...\". What there is to ask "
              "stands in the ");
    html_element(t, "a", "OpenAPI description", "href", "/api/v1/openapi.json", NULL);
    html_text(t, ".");
    html_close(t, "p");
    tokens_table(v);
    if (token)
        form_clear(&v->form); /* the next one begins empty */
    token_form(v);
    page_card_end(v);
    page_end(v);
}

static void account_write(struct visit *v, enum outcome o, const struct account *self)
{
    page_begin(v, outcome_http(o), "Your account");
    page_done(v, (const struct done[]){{"ended", "The session has ended."},
                                       {"factor-off", "The second factor is off."},
                                       {NULL, NULL}});
    profile_card(v, self);
    factor_card(v, self);
    password_card(v, o);
    sessions_card(v);
    page_card_begin(v, "Programs");
    html_element(&v->response->body, "p", "Tokens let programs do some of what you may.", NULL);
    html_open(&v->response->body, "p", NULL);
    page_button(v, "API tokens", "/account/tokens");
    html_close(&v->response->body, "p");
    page_card_end(v);
    page_end(v);
}

void page_account(struct visit *v)
{
    struct account self;

    if (self_load(v, &self))
        account_write(v, OUT_OK, &self);
}

void page_account_post(struct visit *v)
{
    struct account self, proven;

    if (!self_load(v, &self))
        return;
    enum outcome o = entry_password(v, self.name, form_value(&v->form, "old"), &proven);
    if (o == OUT_OK)
        o = account_set_password(&v->desk, &self, form_value(&v->form, "password"));
    if (o == OUT_OK)
        entry_enter(v, &self, "/account");
    else
        account_write(v, o, &self);
}

void page_sessions_post(struct visit *v)
{
    const char *which = form_value(&v->form, "session");
    struct account self;

    if (!self_load(v, &self))
        return;
    enum outcome o = !strcmp(which, "others") ? session_end_others(&v->desk, &self, v->session)
                                              : session_end_one(&v->desk, &self, which);
    if (o == OUT_OK)
        visit_redirect(v, "/account?done=ended");
    else
        page_failure(v, o);
}

void page_tokens(struct visit *v)
{
    struct account self;

    if (self_load(v, &self))
        tokens_write(v, OUT_OK, NULL);
}

void page_tokens_post(struct visit *v)
{
    struct token_wish wish = {.name = form_value(&v->form, "name"),
                              .group = form_value(&v->form, "group")};
    struct account self;
    char token[TOKEN_SIZE], name[32];

    if (!self_load(v, &self))
        return;
    for (unsigned i = 0; scope_text(i); i++) {
        snprintf(name, sizeof name, "scope-%s", scope_text(i));
        if (*form_value(&v->form, name))
            wish.scopes |= 1u << i;
    }
    enum outcome o = OUT_BAD_NUMBER;
    if (page_number(form_value(&v->form, "days"), 1, TOKEN_DAYS_MAX, &wish.days))
        o = token_make(&v->desk, &self, &wish, token);
    tokens_write(v, o, o == OUT_OK ? token : NULL);
    wipe(token, sizeof token);
}

void page_token_end_post(struct visit *v)
{
    struct account self;
    int64_t row = 0;

    if (!self_load(v, &self))
        return;
    enum outcome o = page_number(form_value(&v->form, "token"), 1, INT64_MAX, &row)
                         ? token_end(&v->desk, &self, row)
                         : OUT_NO_TOKEN;
    if (o == OUT_OK)
        visit_redirect(v, "/account/tokens?done=ended");
    else
        page_failure(v, o);
}

static const struct field field_code = {.name = "code",
                                        .label = "Code",
                                        .type = "text",
                                        .autocomplete = "one-time-code",
                                        .hint = "Six digits, from your authenticator app."};

static void factor_offer_card(struct visit *v, const struct account *self,
                              const struct factor_offer *offer)
{
    struct text *t = &v->response->body;
    char uri[256];

    snprintf(uri, sizeof uri, "otpauth://totp/peal:%s?secret=%s&issuer=peal", self->name,
             offer->base32);
    page_card_begin(v, "1. Read this with an authenticator app");
    qr_write(t, uri, "The key for the app as a QR code");
    html_open(t, "p", NULL);
    html_text(t, "Or type it in: ");
    html_element(t, "code", offer->base32, NULL);
    html_close(t, "p");
    page_card_end(v);
    wipe(uri, sizeof uri);
    page_card_begin(v, "2. Show that it works");
    page_form_begin(v, "/account/factor", "stack");
    page_hidden(v, "offer", offer->sealed);
    page_field(v, &field_code);
    page_form_end(v, "Turn on", "primary");
    page_card_end(v);
}

static void factor_off_card(struct visit *v)
{
    page_card_begin(v, "Turn it off");
    page_form_begin(v, "/account/factor/off", "stack");
    page_field(v, &(struct field){.name = "old",
                                  .label = "Password",
                                  .type = "password",
                                  .autocomplete = "current-password"});
    page_form_end(v, "Turn off", "danger");
    page_card_end(v);
}

static void factor_write(struct visit *v, enum outcome o, const struct account *self)
{
    struct factor_offer offer;

    if (!factor_offer_read(&v->desk, self, form_value(&v->form, "offer"), &offer))
        factor_offer(&v->desk, self, &offer);
    page_begin(v, outcome_http(o), "Second factor");
    page_complaint(v, o);
    factor_offer_card(v, self, &offer);
    if (factor_on(&v->desk, self))
        factor_off_card(v);
    page_end(v);
    wipe(&offer, sizeof offer);
}

void page_factor(struct visit *v)
{
    struct account self;

    if (self_load(v, &self))
        factor_write(v, OUT_OK, &self);
}

static void recovery_write(struct visit *v, char recovery[FACTOR_RECOVERIES][FACTOR_RECOVERY_SIZE])
{
    struct text *t = &v->response->body;

    page_begin(v, 200, "The second factor is on");
    page_card_begin(v, "Recovery codes");
    html_element(t, "p",
                 "Each of these logs you in once when the app is gone. They are shown only now: "
                 "print them, or write them down.",
                 NULL);
    html_open(t, "ol", "class", "codes", NULL);
    for (int i = 0; i < FACTOR_RECOVERIES; i++) {
        html_open(t, "li", NULL);
        html_element(t, "code", recovery[i], NULL);
        html_close(t, "li");
    }
    html_close(t, "ol");
    html_open(t, "p", NULL);
    page_button(v, "Done", "/account");
    html_close(t, "p");
    page_card_end(v);
    page_end(v);
}

void page_factor_post(struct visit *v)
{
    char recovery[FACTOR_RECOVERIES][FACTOR_RECOVERY_SIZE];
    struct account self;

    if (!self_load(v, &self))
        return;
    enum outcome o = factor_set(&v->desk, &self, form_value(&v->form, "offer"),
                                form_value(&v->form, "code"), recovery);
    if (o == OUT_OK)
        recovery_write(v, recovery);
    else
        factor_write(v, o, &self);
    wipe(recovery, sizeof recovery);
}

void page_factor_off_post(struct visit *v)
{
    struct account self, proven;

    if (!self_load(v, &self))
        return;
    enum outcome o = entry_password(v, self.name, form_value(&v->form, "old"), &proven);
    if (o == OUT_OK)
        o = factor_clear(&v->desk, &self);
    if (o == OUT_OK)
        visit_redirect(v, "/account?done=factor-off");
    else
        factor_write(v, o, &self);
}

static void machine_row(struct visit *v, const struct query *q)
{
    struct text *t = &v->response->body;
    char path[LABEL_MAX + 16], lost[LABEL_MAX + ID_TEXT_SIZE + 32], node[ID_TEXT_SIZE];
    struct id id;

    snprintf(path, sizeof path, "/groups/%s", query_text(q, 0));
    html_open(t, "tr", NULL);
    page_cell(v, "Machine", query_text(q, 1));
    page_cell_begin(v, "Group");
    html_element(t, "a", query_text(q, 0), "href", path, NULL);
    page_cell_end(v);
    page_cell_time(v, "Last heard of", query_int(q, 2));
    page_cell_time(v, "Certificate until", query_int(q, 3));
    page_cell_begin(v, "");
    if (query_copy(q, 4, id.b, ID_LEN)) {
        snprintf(lost, sizeof lost, "%s/machines/%s", path, id_text(&id, node));
        html_open(t, "a", "href", lost, NULL);
        html_text(t, "Lost? Remove ");
        html_element(t, "span", query_text(q, 1), "class", "unseen", NULL);
        html_close(t, "a");
    }
    page_cell_end(v);
    html_close(t, "tr");
}

void page_machines(struct visit *v)
{
    static const char *const heads[] = {"Machine", "Group", "Last heard of", "Certificate until",
                                        ""};
    struct account self;
    size_t shown = 0;

    if (!self_load(v, &self))
        return;
    page_begin(v, 200, "My machines");
    page_card_begin(v, NULL);
    struct query q = store_ask(
        v->desk.store,
        "SELECT g.name, c.hostname, c.seen_s,"
        " (SELECT max(not_after_s) FROM certificates x WHERE x.machine_row = c.id), c.node"
        " FROM members m JOIN machines c ON c.member_row = m.id JOIN groups g ON g.id = m.group_row"
        " WHERE m.user_row = ?1 AND c.revoked_s IS NULL ORDER BY g.name, c.hostname LIMIT ?2",
        VALUES(v_int(self.row), v_int(MACHINES_SHOWN_MAX)));
    for (; query_row(&q); shown++) {
        if (!shown)
            page_table_begin(v, heads, ARRAY_LEN(heads));
        machine_row(v, &q);
    }
    if (shown)
        page_table_end(v);
    else
        html_element(&v->response->body, "p",
                     "None yet. Machines are added on the page of a group that you are in.",
                     "class", "muted", NULL);
    page_card_end(v);
    page_end(v);
}
