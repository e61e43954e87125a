#include <stdio.h>
#include <string.h>

#include "ca-web/rollover.h"
#include "ca-web/scene.h"

static const struct done dones[] = {
    {"saved", "Saved."},
    {"roll", "A new CA signs from now on. The members are being told."},
    {"end",
     "The old CA has ended. The members are being told; who has a certificate of it renews."},
    {NULL, NULL},
};

static void fixed_card(struct visit *v, const struct group *g)
{
    char id[ID_TEXT_SIZE];

    page_card_begin(v, "What stays");
    html_open(&v->response->body, "dl", NULL);
    page_fact(v, "Group id", id_text(&g->id, id));
    page_fact(v, "Addresses", g->ipv4);
    page_fact(v, "IPv6", g->ipv6);
    page_fact(v, "Domain", g->domain);
    page_fact(v, "Handshake", g->psk ? "certificates and a pre-exchanged key" : "certificates");
    html_close(&v->response->body, "dl");
    page_card_end(v);
}

struct authorities {
    struct visit *visit;
    size_t count;
    int64_t old_machines;
};

static void authority_row(void *ctx, const struct authority_line *line)
{
    struct authorities *a = ctx;
    struct visit *v = a->visit;

    a->count++;
    if (!line->signs)
        a->old_machines += line->machines;
    html_open(&v->response->body, "tr", NULL);
    page_cell_time(v, "Made", line->made_s);
    page_cell_begin(v, "State");
    page_badge(v, line->signs ? "signs" : "trusted", line->signs ? "good" : "wait");
    page_cell_end(v);
    page_cell_number(v, "Machines", line->machines);
    html_close(&v->response->body, "tr");
}

static void authority_form(struct visit *v, const struct group *g, const char *action,
                           const char *button, const char *css_class)
{
    char path[SCENE_PATH_SIZE];

    page_form_begin(v, scene_path(g, "/authority", path), "row");
    page_hidden(v, "action", action);
    page_form_end(v, button, css_class);
}

static void authority_card(struct visit *v, const struct scene *s)
{
    static const char *const heads[] = {"Made", "State", "Machines"};
    struct authorities a = {.visit = v};
    struct text *t = &v->response->body;
    char left[128];

    page_card_begin(v, "Certificate authority");
    page_table_begin(v, heads, ARRAY_LEN(heads));
    enum outcome o = rollover_list(&v->desk, &s->group, authority_row, &a);
    page_table_end(v);
    page_complaint(v, o);
    if (a.count > 1) {
        snprintf(
            left, sizeof left,
            "%lld machines still have a certificate of an old CA. It ends by itself when there "
            "are none; machines renew on their own.",
            (long long)a.old_machines);
        html_element(t, "p", left, NULL);
    }
    if (scene_may(v, s, VERB_CA_ROLL)) {
        html_element(t, "p",
                     "A roll-over makes a new CA, which signs from then on; members are told at "
                     "once and trust both. Nobody has to do anything.",
                     "class", "muted", NULL);
        if (a.count <= ROLLOVER_TRUSTED_MAX)
            authority_form(v, &s->group, "roll", "Roll over to a new CA", "plain");
        if (a.count > 1)
            authority_form(v, &s->group, "end", "End the old CA now", "danger");
    }
    page_card_end(v);
}

/* What was typed, or what is. */
static const char *typed(const struct visit *v, const char *name, const char *present)
{
    return v->request->method == HTTP_POST ? form_value(&v->form, name) : present;
}

static void edit_card(struct visit *v, const struct group *g)
{
    char path[SCENE_PATH_SIZE], hours[24], days[24], version[24];

    snprintf(hours, sizeof hours, "%lld", (long long)g->lease_s / 3600);
    snprintf(days, sizeof days, "%lld", (long long)g->certificate_s / 86400);
    snprintf(version, sizeof version, "%lld", (long long)g->version);
    page_card_begin(v, "What can be changed");
    page_form_begin(v, scene_path(g, "/settings", path), "stack");
    page_hidden(v, "version", typed(v, "version", version));
    page_field(v, &(struct field){.name = "lease_hours",
                                  .label = "Address leases, in hours",
                                  .type = "number",
                                  .value = typed(v, "lease_hours", hours),
                                  .hint = "1 to 168."});
    page_field(v, &(struct field){.name = "certificate_days",
                                  .label = "Certificates, in days",
                                  .type = "number",
                                  .value = typed(v, "certificate_days", days),
                                  .hint = "1 to 366. Those that were issued keep theirs."});
    page_field(v,
               &(struct field){.name = "bootstrap",
                               .label = "Bootstrap endpoints",
                               .type = "text",
                               .value = typed(v, "bootstrap", g->bootstrap),
                               .hint = "host:port, separated by commas. They stand in new files.",
                               .optional = true});
    page_field(v, &(struct field){.name = "public_bootstrap",
                                  .label = "Public bootstrap endpoints",
                                  .type = "text",
                                  .value = typed(v, "public_bootstrap", g->public_bootstrap),
                                  .optional = true});
    page_choice(v, "see", "Who may see whom", page_seeing,
                typed(v, "see", page_seeing[g->members_see].value), NULL);
    page_form_end(v, "Save", "primary");
    page_card_end(v);
}

static void settings_write(struct visit *v, const struct scene *s, enum outcome o)
{
    scene_begin(v, s, o, "Settings", "/settings");
    page_done(v, dones);
    page_complaint(v, o);
    edit_card(v, &s->group);
    authority_card(v, s);
    fixed_card(v, &s->group);
    page_end(v);
}

void page_settings(struct visit *v)
{
    struct scene s;

    if (scene_load_for(v, &s, VERB_GROUP_EDIT))
        settings_write(v, &s, OUT_OK);
}

void page_settings_post(struct visit *v)
{
    struct group_edit edit = {.bootstrap = form_value(&v->form, "bootstrap"),
                              .public_bootstrap = form_value(&v->form, "public_bootstrap"),
                              .members_see =
                                  !strcmp(form_value(&v->form, "see"), page_seeing[1].value)};
    struct scene s;
    char path[SCENE_PATH_SIZE];

    if (!scene_load_for(v, &s, VERB_GROUP_EDIT))
        return;
    enum outcome o = OUT_BAD_NUMBER;
    if (page_number(form_value(&v->form, "lease_hours"), 1, GROUP_LEASE_HOURS_MAX,
                    &edit.lease_hours) &&
        page_number(form_value(&v->form, "certificate_days"), 1, GROUP_CERTIFICATE_DAYS_MAX,
                    &edit.certificate_days) &&
        page_number(form_value(&v->form, "version"), 1, INT64_MAX, &edit.version))
        o = group_change(&v->desk, &s.group, &edit);
    if (o == OUT_OK)
        visit_redirect(v, scene_path(&s.group, "/settings?done=saved", path));
    else
        settings_write(v, &s, o);
}

void page_authority_post(struct visit *v)
{
    const char *action = form_value(&v->form, "action");
    enum outcome o = OUT_BAD_REQUEST;
    char path[SCENE_PATH_SIZE];
    struct scene s;

    if (!scene_load_for(v, &s, VERB_CA_ROLL))
        return;
    if (!strcmp(action, "roll"))
        o = rollover_begin(&v->desk, &s.group);
    else if (!strcmp(action, "end"))
        o = rollover_end(&v->desk, &s.group);
    if (o == OUT_OK)
        visit_redirect(v, scene_path(&s.group,
                                     *action == 'r' ? "/settings?done=roll" : "/settings?done=end",
                                     path));
    else
        settings_write(v, &s, o);
}
