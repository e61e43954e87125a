#include <stdio.h>
#include <string.h>

#include "ca-web/factor.h"
#include "ca-web/page.h"

const struct field page_field_password = {.name = "password",
                                          .label = "Password",
                                          .type = "password",
                                          .autocomplete = "new-password",
                                          .hint = "At least 8 characters."};

/* Only a path of ours, as page_failure wrote it. */
static bool next_valid(const char *next)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "/-?&=+%._";
    return next[0] == '/' && next[1] != '/' && strlen(next) < 256 &&
           strspn(next, allowed) == strlen(next);
}

void page_login_form(struct visit *v, const char *next)
{
    page_form_begin(v, "/login", "stack");
    if (next_valid(next))
        page_hidden(v, "next", next);
    page_field(v, &(struct field){.name = "name",
                                  .label = "User name",
                                  .type = "text",
                                  .value = form_value(&v->form, "name"),
                                  .autocomplete = "username"});
    page_field(v, &(struct field){.name = "password",
                                  .label = "Password",
                                  .type = "password",
                                  .autocomplete = "current-password"});
    page_form_end(v, "Log in", "primary");
}

/* Name, e-mail, password: what registering and setting up ask for. */
static void person_fields(struct visit *v)
{
    page_field(v, &(struct field){.name = "name",
                                  .label = "User name",
                                  .type = "text",
                                  .value = form_value(&v->form, "name"),
                                  .autocomplete = "username",
                                  .hint = "Letters, digits and hyphens; it stands in your "
                                          "machines' certificates."});
    page_field(v, &(struct field){.name = "email",
                                  .label = "E-mail",
                                  .type = "email",
                                  .value = form_value(&v->form, "email"),
                                  .autocomplete = "email"});
    page_field(v, &page_field_password);
}

void page_entry_forms(struct visit *v, enum outcome log_in, enum outcome registering,
                      const char *next)
{
    struct text *t = &v->response->body;

    html_open(t, "div", "class", "columns", NULL);
    page_card_begin(v, "Log in");
    page_complaint(v, log_in);
    page_login_form(v, next);
    page_card_end(v);
    page_card_begin(v, "Register");
    page_complaint(v, registering);
    page_form_begin(v, "/register", "stack");
    if (next_valid(next))
        page_hidden(v, "next", next);
    person_fields(v);
    page_form_end(v, "Register", "primary");
    page_card_end(v);
    html_close(t, "div");
}

static void start_write(struct visit *v, int status, enum outcome log_in, enum outcome registering)
{
    struct text *t = &v->response->body;

    page_begin(v, status, "Your groups, one network");
    html_element(
        t, "p",
        "peal joins the machines of a group into one private network. Ask to join a group, "
        "and once somebody approves you, take your file to your machine.",
        "class", "lead", NULL);
    page_entry_forms(v, log_in, registering, form_value(&v->form, "next"));
    page_end(v);
}

void page_start(struct visit *v)
{
    if (v->desk.actor.kind == ACTOR_USER)
        visit_redirect(v, "/groups");
    else
        start_write(v, 200, OUT_OK, OUT_OK);
}

static void set_session_cookie(struct visit *v, const char *token)
{
    char value[160];

    snprintf(value, sizeof value, "__Host-peal=%s; Path=/; Secure; HttpOnly; SameSite=Strict%s",
             token, *token ? "" : "; Max-Age=0");
    response_header(v->response, "Set-Cookie", value);
}

/* Logged in, off to where he wanted to go. */
void entry_enter(struct visit *v, const struct account *account, const char *next)
{
    char token[SESSION_TOKEN_SIZE];
    enum outcome o = session_begin(&v->desk, account, v->request->agent, token);

    if (o != OUT_OK) {
        page_failure(v, o);
        return;
    }
    set_session_cookie(v, token);
    visit_redirect(v, next_valid(next) ? next : "/groups");
}

static void retry_after(struct visit *v, int wait_s)
{
    char seconds[16];

    snprintf(seconds, sizeof seconds, "%d", wait_s);
    response_header(v->response, "Retry-After", seconds);
}

/* Seconds to wait; by account and by address, whichever is longer. */
static int login_wait(struct visit *v, const char *name, const char *address)
{
    struct limit *l = v->service->limit;
    int account_s = limit_check(l, LIMIT_LOGIN_ACCOUNT, name, v->desk.now_s);
    int address_s = limit_check(l, LIMIT_LOGIN_ADDRESS, address, v->desk.now_s);

    return account_s > address_s ? account_s : address_s;
}

static void login_blame(struct visit *v, const char *name, const char *address)
{
    atomic_fetch_add(&v->service->login_failures, 1);
    limit_take(v->service->limit, LIMIT_LOGIN_ACCOUNT, name, v->desk.now_s);
    limit_take(v->service->limit, LIMIT_LOGIN_ADDRESS, address, v->desk.now_s);
}

/* The spelling under which attempts on an account are counted, whether it exists or not. */
static void account_spelling(char out[LABEL_MAX + 1], const char *name)
{
    if (!label_normalize(out, LABEL_MAX + 1, name, strlen(name)))
        strcpy(out, "(none)");
}

enum outcome entry_password(struct visit *v, const char *name, const char *password,
                            struct account *out)
{
    char spelling[LABEL_MAX + 1], address[LIMIT_WHO_SIZE];

    account_spelling(spelling, name);
    limit_address(address, v->request->address);
    int wait_s = login_wait(v, spelling, address);
    if (wait_s) {
        retry_after(v, wait_s);
        return OUT_TOO_MANY;
    }
    enum outcome o = account_log_in(&v->desk, name, password, out);
    if (o == OUT_WRONG_LOGIN)
        login_blame(v, spelling, address);
    return o;
}

/*
 * Between the password and the code nothing is stored: the form carries who has shown his password
 * and when, under a MAC that is bound to the browser's form cookie.
 */
enum { PROOF_S = 300, PROOF_SIZE = LABEL_MAX + 24 + CSRF_SIZE };

static void proof_mac(const struct visit *v, const char *name, int64_t at_s, char out[CSRF_SIZE])
{
    char text[LABEL_MAX + SESSION_TOKEN_SIZE + 48];

    snprintf(text, sizeof text, "password shown %s %lld %s", name, (long long)at_s, v->session);
    csrf_token(&v->service->csrf_key, text, out);
}

static void proof_write(const struct visit *v, const char *name, char out[PROOF_SIZE])
{
    char mac[CSRF_SIZE];

    proof_mac(v, name, v->desk.now_s, mac);
    snprintf(out, PROOF_SIZE, "%s.%lld.%s", name, (long long)v->desk.now_s, mac);
}

static bool proof_read(const struct visit *v, const char *proof, char name[LABEL_MAX + 1])
{
    char mac[CSRF_SIZE];
    long long at_s = 0;
    int used = 0;

    if (sscanf(proof, "%63[a-z0-9-].%18lld.%n", name, &at_s, &used) != 2 || !used)
        return false;
    proof_mac(v, name, at_s, mac);
    return strlen(proof + used) == CSRF_SIZE - 1 && equal_ct(mac, proof + used, CSRF_SIZE) &&
           at_s <= v->desk.now_s && at_s + PROOF_S > v->desk.now_s;
}

static void code_write(struct visit *v, enum outcome o, const char *name, const char *next)
{
    char proof[PROOF_SIZE];

    proof_write(v, name, proof);
    page_begin(v, outcome_http(o), "One more step");
    page_card_begin(v, NULL);
    page_complaint(v, o);
    page_form_begin(v, "/login/code", "stack");
    page_hidden(v, "proof", proof);
    if (next_valid(next))
        page_hidden(v, "next", next);
    page_field(v, &(struct field){.name = "code",
                                  .label = "Code",
                                  .type = "text",
                                  .autocomplete = "one-time-code",
                                  .hint = "Six digits from your authenticator app, or one of your "
                                          "recovery codes."});
    page_form_end(v, "Log in", "primary");
    page_card_end(v);
    page_end(v);
}

void page_log_in(struct visit *v)
{
    struct account account;
    enum outcome o =
        entry_password(v, form_value(&v->form, "name"), form_value(&v->form, "password"), &account);

    if (o != OUT_OK)
        start_write(v, outcome_http(o), o, OUT_OK);
    else if (factor_on(&v->desk, &account))
        code_write(v, OUT_OK, account.name, form_value(&v->form, "next"));
    else
        entry_enter(v, &account, form_value(&v->form, "next"));
}

void page_log_in_code(struct visit *v)
{
    char name[LABEL_MAX + 1], address[LIMIT_WHO_SIZE];
    struct account account;
    enum outcome o = OUT_TOO_MANY;

    if (!proof_read(v, form_value(&v->form, "proof"), name)) {
        start_write(v, 401, OUT_LATE_CODE, OUT_OK);
        return;
    }
    limit_address(address, v->request->address);
    int wait_s = login_wait(v, name, address);
    if (wait_s)
        retry_after(v, wait_s);
    else
        o = account_find(&v->desk, name, &account);
    if (o == OUT_OK)
        o = factor_check(&v->desk, &account, form_value(&v->form, "code"));
    if (o == OUT_WRONG_CODE)
        login_blame(v, name, address);
    if (o == OUT_OK)
        entry_enter(v, &account, form_value(&v->form, "next"));
    else
        code_write(v, o, name, form_value(&v->form, "next"));
}

void page_log_out(struct visit *v)
{
    enum outcome o = session_end(&v->desk, v->session);

    if (o != OUT_OK) {
        page_failure(v, o);
        return;
    }
    set_session_cookie(v, "");
    visit_redirect(v, "/");
}

void page_register(struct visit *v)
{
    char address[LIMIT_WHO_SIZE];
    struct account account;
    enum outcome o = OUT_TOO_MANY;

    limit_address(address, v->request->address);
    int wait_s = limit_check(v->service->limit, LIMIT_REGISTER_ADDRESS, address, v->desk.now_s);
    if (wait_s) {
        retry_after(v, wait_s);
    } else {
        limit_take(v->service->limit, LIMIT_REGISTER_ADDRESS, address, v->desk.now_s);
        o = account_add(&v->desk, VERB_REGISTER, form_value(&v->form, "name"),
                        form_value(&v->form, "email"), form_value(&v->form, "password"), false,
                        &account);
    }
    if (o == OUT_OK)
        entry_enter(v, &account, form_value(&v->form, "next"));
    else
        start_write(v, outcome_http(o), OUT_OK, o);
}

static void setup_write(struct visit *v, enum outcome o)
{
    char action[VISIT_PARAM_SIZE + 16];

    snprintf(action, sizeof action, "/setup/%s", v->params[0]);
    page_begin(v, outcome_http(o), "Set up peal");
    html_element(&v->response->body, "p",
                 "You are the first here. This account administers the service; the link works "
                 "once.",
                 "class", "lead", NULL);
    page_card_begin(v, "The first administrator");
    page_complaint(v, o);
    page_form_begin(v, action, "stack");
    person_fields(v);
    page_form_end(v, "Set up", "primary");
    page_card_end(v);
    page_end(v);
}

void page_setup(struct visit *v)
{
    if (account_setup_valid(&v->desk, v->params[0]))
        setup_write(v, OUT_OK);
    else
        page_failure(v, OUT_SETUP_DONE);
}

void page_setup_post(struct visit *v)
{
    struct account account;
    enum outcome o =
        account_setup(&v->desk, v->params[0], form_value(&v->form, "name"),
                      form_value(&v->form, "email"), form_value(&v->form, "password"), &account);

    if (o == OUT_OK)
        entry_enter(v, &account, "/groups");
    else if (o == OUT_SETUP_DONE)
        page_failure(v, o);
    else
        setup_write(v, o);
}
