#include "ca-web/page.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ca-web/removal.h"
#include "ca-web/style.h"

static void navigation(struct visit *v)
{
    struct text *t = &v->response->body;

    html_open(t, "header", "class", "top", NULL);
    html_open(t, "a", "class", "brand", "href", "/", NULL);
    html_element(t, "span", "", "class", "ring", "aria-hidden", "true", NULL);
    html_text(t, "peal");
    html_close(t, "a");
    if (v->desk.actor.kind == ACTOR_USER) {
        html_open(t, "nav", "aria-label", "Main", NULL);
        html_element(t, "a", "Groups", "href", "/groups", NULL);
        html_element(t, "a", "Machines", "href", "/machines", NULL);
        if (desk_authorize(&v->desk, VERB_USER_LIST, 0, 0) == OUT_OK)
            html_element(t, "a", "Service", "href", "/service", NULL);
        html_element(t, "a", v->desk.actor.name, "href", "/account", "title", "Your account", NULL);
        page_form_begin(v, "/logout", "inline");
        page_form_end(v, "Log out", "quiet");
        html_close(t, "nav");
    }
    html_close(t, "header");
}

void page_begin(struct visit *v, int status, const char *title)
{
    struct text *t = &v->response->body;

    v->response->status = status;
    v->response->type = "text/html; charset=utf-8";
    html_begin(t);
    html_open(t, "html", "lang", "en", NULL);
    html_open(t, "head", NULL);
    html_open(t, "meta", "charset", "utf-8", NULL);
    html_open(t, "meta", "name", "viewport", "content", "width=device-width, initial-scale=1",
              NULL);
    html_open(t, "meta", "name", "color-scheme", "content", "light dark", NULL);
    html_open(t, "title", NULL);
    html_text(t, title);
    html_text(t, " - peal");
    html_close(t, "title");
    html_open(t, "link", "rel", "stylesheet", "href", "/style.css", NULL);
    html_close(t, "head");
    html_open(t, "body", NULL);
    html_element(t, "a", "Skip to the content", "class", "skip", "href", "#main", NULL);
    navigation(v);
    html_open(t, "main", "id", "main", NULL);
    html_element(t, "h1", title, NULL);
}

void page_end(struct visit *v)
{
    struct text *t = &v->response->body;

    html_close(t, "main");
    html_element(t, "footer", "peal " PEAL_VERSION, NULL);
    html_close(t, "body");
    html_close(t, "html");
    text_str(t, "\n");
}

void page_complaint(struct visit *v, enum outcome o)
{
    struct text *t = &v->response->body;
    const char *message = outcome_message(o);
    const char first[2] = {(char)toupper((unsigned char)message[0])};

    if (o == OUT_OK)
        return;
    visit_refused(v, o);
    html_open(t, "p", "class", "notice bad", "role", "alert", NULL);
    html_text(t, first);
    html_text(t, message + 1);
    html_text(t, ".");
    html_close(t, "p");
}

void page_notice(struct visit *v, const char *text)
{
    html_element(&v->response->body, "p", text, "class", "notice good", "role", "status", NULL);
}

/* "/groups/lab?page=2" of a GET that needs a log-in; "" otherwise. */
static void wanted(const struct visit *v, char *out, size_t size)
{
    const struct request *r = v->request;
    int len = r->method != HTTP_GET
                  ? 0
                  : snprintf(out, size, "%s%s%s", r->path, *r->query ? "?" : "", r->query);
    if (len <= 0 || (size_t)len >= size)
        out[0] = '\0';
}

void page_failure(struct visit *v, enum outcome o)
{
    char next[256] = "";

    if (v->api) {
        visit_json(v, o);
        return;
    }
    text_clear(&v->response->body);
    if (o == OUT_NOT_LOGGED_IN) {
        page_begin(v, outcome_http(o), "Log in");
        page_complaint(v, o);
        wanted(v, next, sizeof next);
        page_card_begin(v, NULL);
        page_login_form(v, next);
        page_card_end(v);
    } else {
        page_begin(v, outcome_http(o),
                   o == OUT_NO_PAGE || o == OUT_NO_GROUP ? "Not found" : "That did not work");
        page_complaint(v, o);
        html_open(&v->response->body, "p", NULL);
        html_element(&v->response->body, "a", "Go to the start", "href", "/", NULL);
        html_close(&v->response->body, "p");
    }
    page_end(v);
}

void page_form_begin(struct visit *v, const char *action, const char *css_class)
{
    html_open(&v->response->body, "form", "method", "post", "action", action, "class", css_class,
              NULL);
    page_hidden(v, "csrf", v->csrf);
}

void page_form_end(struct visit *v, const char *button, const char *css_class)
{
    html_element(&v->response->body, "button", button, "type", "submit", "class", css_class, NULL);
    html_close(&v->response->body, "form");
}

void page_hidden(struct visit *v, const char *name, const char *value)
{
    html_open(&v->response->body, "input", "type", "hidden", "name", name, "value", value, NULL);
}

static void field_input(struct text *t, const struct field *f, const char *id, const char *hint_id)
{
    const char *value = f->value ? f->value : "";
    const char *complete = f->autocomplete ? f->autocomplete : "off";

    if (!strcmp(f->type, "textarea"))
        html_element(t, "textarea", value, "id", id, "name", f->name, "rows", "3", "maxlength",
                     "500", "aria-describedby", hint_id, NULL);
    else if (f->optional)
        html_open(t, "input", "id", id, "name", f->name, "type", f->type, "value", value,
                  "autocomplete", complete, "aria-describedby", hint_id, NULL);
    else
        html_open(t, "input", "id", id, "name", f->name, "type", f->type, "value", value,
                  "autocomplete", complete, "aria-describedby", hint_id, "required", "", NULL);
}

void page_field(struct visit *v, const struct field *f)
{
    struct text *t = &v->response->body;
    char id[64], hint_id[72];

    /* Two forms of one page may have a field of the same name. */
    snprintf(id, sizeof id, "f%zu-%s", t->len, f->name);
    snprintf(hint_id, sizeof hint_id, "%s-hint", id);
    html_open(t, "div", "class", "field", NULL);
    html_element(t, "label", f->label, "for", id, NULL);
    field_input(t, f, id, hint_id);
    html_element(t, "small", f->hint ? f->hint : "", "id", hint_id, NULL);
    html_close(t, "div");
}

void page_card_begin(struct visit *v, const char *heading)
{
    html_open(&v->response->body, "section", "class", "card", NULL);
    if (heading)
        html_element(&v->response->body, "h2", heading, NULL);
}

void page_card_end(struct visit *v)
{
    html_close(&v->response->body, "section");
}

void page_fact(struct visit *v, const char *name, const char *value)
{
    html_element(&v->response->body, "dt", name, NULL);
    html_element(&v->response->body, "dd", value, NULL);
}

void page_button(struct visit *v, const char *text, const char *path)
{
    html_element(&v->response->body, "a", text, "class", "button", "href", path, NULL);
}

void page_choice(struct visit *v, const char *name, const char *label, const struct choice *choices,
                 const char *chosen, const char *hint)
{
    struct text *t = &v->response->body;
    char id[64], hint_id[72];

    snprintf(id, sizeof id, "f%zu-%s", t->len, name);
    snprintf(hint_id, sizeof hint_id, "%s-hint", id);
    html_open(t, "div", "class", "field", NULL);
    html_element(t, "label", label, "for", id, NULL);
    html_open(t, "select", "id", id, "name", name, "aria-describedby", hint_id, NULL);
    for (; choices->value; choices++) {
        if (!strcmp(choices->value, chosen))
            html_element(t, "option", choices->label, "value", choices->value, "selected", "",
                         NULL);
        else
            html_element(t, "option", choices->label, "value", choices->value, NULL);
    }
    html_close(t, "select");
    html_element(t, "small", hint ? hint : "", "id", hint_id, NULL);
    html_close(t, "div");
}

void page_cell_begin(struct visit *v, const char *label)
{
    html_open(&v->response->body, "td", "data-label", label, NULL);
}

void page_cell_end(struct visit *v)
{
    html_close(&v->response->body, "td");
}

void page_cell(struct visit *v, const char *label, const char *text)
{
    html_element(&v->response->body, "td", text, "data-label", label, NULL);
}

void page_cell_time(struct visit *v, const char *label, int64_t unix_s)
{
    page_cell_begin(v, label);
    page_time(v, unix_s);
    page_cell_end(v);
}

void page_cell_number(struct visit *v, const char *label, int64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)number);
    page_cell(v, label, text);
}

void page_table_begin(struct visit *v, const char *const *heads, size_t n)
{
    struct text *t = &v->response->body;

    html_open(t, "table", NULL);
    html_open(t, "thead", NULL);
    html_open(t, "tr", NULL);
    for (size_t i = 0; i < n; i++) {
        if (*heads[i])
            html_element(t, "th", heads[i], "scope", "col", NULL);
        else
            html_element(t, "td", "", NULL);
    }
    html_close(t, "tr");
    html_close(t, "thead");
    html_open(t, "tbody", NULL);
}

void page_table_end(struct visit *v)
{
    html_close(&v->response->body, "tbody");
    html_close(&v->response->body, "table");
}

void page_encode(char *out, size_t size, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t used = 0;

    for (; *text; text++) {
        bool as_is = strchr(plain, *text) != NULL;
        int len = snprintf(out + used, size - used, as_is ? "%c" : "%%%02x",
                           as_is ? *text : (unsigned char)*text);
        CHECK(len > 0 && (size_t)len < size - used);
        used += (size_t)len;
    }
    out[used] = '\0';
}

void page_done(struct visit *v, const struct done *table)
{
    const char *done = form_value(&v->query, "done");

    for (; table->word; table++)
        if (!strcmp(done, table->word))
            page_notice(v, table->text);
}

bool page_number(const char *text, int64_t least, int64_t most, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");

    *out = digits && digits <= 18 ? strtoll(text, NULL, 10) : -1;
    return digits && !text[digits] && *out >= least && *out <= most;
}

void page_time(struct visit *v, int64_t unix_s)
{
    char machine[TIME_TEXT_SIZE], people[40] = "-";
    time_t t = (time_t)unix_s;
    struct tm tm;

    if (!unix_s) {
        html_text(&v->response->body, people);
        return;
    }
    if (gmtime_r(&t, &tm))
        strftime(people, sizeof people, "%e %b %Y, %H:%M UTC", &tm);
    html_element(&v->response->body, "time", people + strspn(people, " "), "datetime",
                 time_text(unix_s, machine), NULL);
}

void page_badge(struct visit *v, const char *text, const char *kind)
{
    char css[40];

    snprintf(css, sizeof css, "badge %s", kind);
    html_element(&v->response->body, "span", text, "class", css, NULL);
}

void visit_redirect(struct visit *v, const char *path)
{
    text_clear(&v->response->body);
    v->response->status = 303;
    v->response->type = NULL;
    response_header(v->response, "Location", path);
}

void page_style(struct visit *v)
{
    uint8_t hash[HASH_LEN];
    char etag[20] = "\"";

    sha256(hash, style_css, style_css_len);
    hex_text(hash, 8, etag + 1);
    strcat(etag, "\"");
    response_header(v->response, "ETag", etag);
    response_header(v->response, "Cache-Control", "no-cache");
    v->response->status = 304;
    if (!strcmp(v->request->if_none_match, etag))
        return;
    v->response->status = 200;
    v->response->type = "text/css; charset=utf-8";
    text_add(&v->response->body, style_css, style_css_len);
}
