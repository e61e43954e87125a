#include <stdio.h>
#include <string.h>

#include "ca-web/invite.h"
#include "ca-web/qr.h"
#include "ca-web/scene.h"

static void invitation_row(struct visit *v, const struct scene *s, const struct query *q)
{
    struct text *t = &v->response->body;
    char uses[64], path[SCENE_PATH_SIZE], number[24];

    snprintf(number, sizeof number, "%lld", (long long)query_int(q, 0));
    snprintf(uses, sizeof uses, "%lld of %lld", (long long)query_int(q, 4),
             (long long)query_int(q, 5));
    html_open(t, "tr", NULL);
    page_cell(v, "Number", number);
    page_cell(v, "Note", query_text(q, 1));
    page_cell(v, "Made by", query_text(q, 2));
    page_cell_time(v, "Until", query_int(q, 3));
    page_cell(v, "Used", uses);
    page_cell_begin(v, "");
    page_form_begin(v, scene_path(&s->group, "/invitations/end", path), "inline");
    page_hidden(v, "number", number);
    html_open(t, "button", "type", "submit", "class", "quiet", NULL);
    html_text(t, "Take back");
    html_element(t, "span", number, "class", "unseen", NULL);
    html_close(t, "button");
    html_close(t, "form");
    page_cell_end(v);
    html_close(t, "tr");
}

static void invitations_card(struct visit *v, const struct scene *s)
{
    static const char *const heads[] = {"Number", "Note", "Made by", "Until", "Used", ""};
    size_t shown = 0;
    struct query q = store_ask(
        v->desk.store,
        "SELECT i.id, i.note, coalesce(u.name, '(console)'), i.expires_s, i.uses, i.uses_max"
        " FROM invitations i LEFT JOIN users u ON u.id = i.made_by"
        " WHERE i.group_row = ?1 AND i.expires_s > ?2 AND i.uses < i.uses_max"
        " ORDER BY i.id DESC LIMIT ?3",
        VALUES(v_int(s->group.row), v_int(v->desk.now_s), v_int(INVITE_OPEN_MAX)));

    page_card_begin(v, "Open invitations");
    for (; query_row(&q); shown++) {
        if (!shown)
            page_table_begin(v, heads, ARRAY_LEN(heads));
        invitation_row(v, s, &q);
    }
    if (shown)
        page_table_end(v);
    else
        html_element(&v->response->body, "p", "There is none.", "class", "muted", NULL);
    page_card_end(v);
}

static void make_form(struct visit *v, const struct scene *s)
{
    const char *uses = form_value(&v->form, "uses"), *days = form_value(&v->form, "days");
    char path[SCENE_PATH_SIZE];

    page_card_begin(v, "Invite");
    page_form_begin(v, scene_path(&s->group, "/invitations", path), "stack");
    page_field(v, &(struct field){.name = "note",
                                  .label = "For whom",
                                  .type = "text",
                                  .value = form_value(&v->form, "note"),
                                  .hint = "Only for your own overview.",
                                  .optional = true});
    page_field(v, &(struct field){.name = "uses",
                                  .label = "How many may use it",
                                  .type = "number",
                                  .value = *uses ? uses : "1",
                                  .hint = "1 to 1000."});
    page_field(v, &(struct field){.name = "days",
                                  .label = "Good for days",
                                  .type = "number",
                                  .value = *days ? days : "7",
                                  .hint = "1 to 90."});
    page_form_end(v, "Make a link", "primary");
    page_card_end(v);
}

static void invitations_write(struct visit *v, const struct scene *s, enum outcome o,
                              const char *link)
{
    struct text *t = &v->response->body;

    scene_begin(v, s, o, "Invitations", "/invitations");
    page_done(v, (const struct done[]){{"ended", "The invitation was taken back."}, {NULL, NULL}});
    page_complaint(v, o);
    if (link) {
        page_card_begin(v, "The link");
        html_element(t, "p",
                     "Send it to whom you invite. It is shown only now, and whoever has it gets "
                     "in.",
                     NULL);
        html_open(t, "p", NULL);
        html_element(t, "code", link, NULL);
        html_close(t, "p");
        qr_write(t, link, "The invitation as a QR code");
        page_card_end(v);
    }
    make_form(v, s);
    invitations_card(v, s);
    page_end(v);
}

void page_invitations(struct visit *v)
{
    struct scene s;

    if (scene_load_for(v, &s, VERB_INVITE_LIST))
        invitations_write(v, &s, OUT_OK, NULL);
}

void page_invitations_post(struct visit *v)
{
    struct invite_wish wish = {.note = form_value(&v->form, "note")};
    struct scene s;
    char token[INVITE_TOKEN_SIZE], link[SERVER_URL_MAX + INVITE_TOKEN_SIZE + 16];

    if (!scene_load_for(v, &s, VERB_INVITE_MAKE))
        return;
    enum outcome o = OUT_BAD_NUMBER;
    if (page_number(form_value(&v->form, "days"), 1, INVITE_DAYS_MAX, &wish.days) &&
        page_number(form_value(&v->form, "uses"), 1, INVITE_USES_MAX, &wish.uses))
        o = invite_make(&v->desk, &s.group, &wish, token);
    if (o == OUT_OK)
        snprintf(link, sizeof link, "%s/invite/%s", v->service->server.url, token);
    invitations_write(v, &s, o, o == OUT_OK ? link : NULL);
    wipe(token, sizeof token);
    wipe(link, sizeof link);
}

void page_invitation_end_post(struct visit *v)
{
    struct scene s;
    int64_t row = 0;
    char path[SCENE_PATH_SIZE];

    if (!scene_load_for(v, &s, VERB_INVITE_END))
        return;
    enum outcome o = page_number(form_value(&v->form, "number"), 1, INT64_MAX, &row)
                         ? invite_end(&v->desk, &s.group, row)
                         : OUT_NO_INVITATION;
    if (o == OUT_OK)
        visit_redirect(v, scene_path(&s.group, "/invitations?done=ended", path));
    else
        page_failure(v, o);
}

static void invite_write(struct visit *v, const struct group *g)
{
    struct text *t = &v->response->body;
    char title[LABEL_MAX + 32], action[VISIT_PARAM_SIZE + 16];

    snprintf(title, sizeof title, "You are invited to %s", g->name);
    snprintf(action, sizeof action, "/invite/%s", v->params[0]);
    page_begin(v, 200, title);
    if (v->desk.actor.kind == ACTOR_USER) {
        page_card_begin(v, NULL);
        html_element(t, "p", "You become a member at once, and can add your machines.", NULL);
        page_form_begin(v, action, "stack");
        page_form_end(v, "Join", "primary");
        page_card_end(v);
    } else {
        html_element(t, "p", "Register, or log in, and you are nearly there.", "class", "lead",
                     NULL);
        page_entry_forms(v, OUT_OK, OUT_OK, action);
    }
    page_end(v);
}

void page_invite(struct visit *v)
{
    struct group g;
    enum outcome o = invite_find(&v->desk, v->params[0], &g);

    if (o == OUT_OK)
        invite_write(v, &g);
    else
        page_failure(v, o);
}

void page_invite_post(struct visit *v)
{
    struct group g;
    struct account self = {0};
    char path[SCENE_PATH_SIZE];
    enum outcome o = desk_authorize(&v->desk, VERB_INVITE_USE, 0, v->desk.actor.row);

    if (o == OUT_OK)
        o = account_find(&v->desk, v->desk.actor.name, &self);
    if (o == OUT_OK)
        o = invite_use(&v->desk, v->params[0], &self, &g);
    if (o == OUT_OK || o == OUT_ALREADY_MEMBER)
        visit_redirect(v, scene_path(&g, "?done=joined", path));
    else
        page_failure(v, o);
}
