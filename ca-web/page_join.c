#include <stdio.h>
#include <string.h>

#include "ca-web/blob.h"
#include "ca-web/qr.h"
#include "ca-web/scene.h"

static const struct done asked[] = {{"asked", "Your request is with the group's administrators."},
                                    {NULL, NULL}};

static void join_form(struct visit *v, const struct scene *s, const char *button)
{
    char path[SCENE_PATH_SIZE];

    page_form_begin(v, scene_path(&s->group, "/join", path), "stack");
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
    page_done(v, asked);
    page_card_begin(v, NULL);
    page_complaint(v, o);
    join_state(v, s);
    page_card_end(v);
    page_end(v);
}

void page_join(struct visit *v)
{
    struct scene s;
    char path[SCENE_PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    if (s.membership.state == MEMBER_APPROVED)
        visit_redirect(v, scene_path(&s.group, "", path));
    else
        join_write(v, &s, OUT_OK);
}

/* Adding a machine, for a member who lost one. */
static void blob_held(struct visit *v, const struct scene *s, enum outcome o)
{
    struct text *t = &v->response->body;
    const struct member *m = &s->membership;
    char path[SCENE_PATH_SIZE];

    scene_begin(v, s, o, "Add a machine", NULL);
    page_done(v, asked);
    page_card_begin(v, s->group.name);
    page_complaint(v, o);
    html_element(
        t, "p",
        "One of your machines was removed. Somebody who approves in the group has to agree "
        "before you add another one; your other machines go on as before.",
        NULL);
    if (m->further == FURTHER_ASKED) {
        html_open(t, "p", NULL);
        html_text(t, "You asked on ");
        page_time(v, m->asked_s);
        html_text(t, ". Come back when an administrator has decided.");
        html_close(t, "p");
    } else {
        if (m->further == FURTHER_DENIED)
            html_element(t, "p", "Your request was denied.", NULL);
        if (m->further == FURTHER_DENIED && *m->note)
            html_element(t, "blockquote", m->note, NULL);
        page_form_begin(v, scene_path(&s->group, "/join", path), "stack");
        page_field(v, &(struct field){.name = "reason",
                                      .label = "What happened to the machine?",
                                      .type = "textarea",
                                      .value = form_value(&v->form, "reason"),
                                      .hint = "Whoever decides on another machine reads it."});
        page_form_end(v, "Ask for another machine", "primary");
    }
    page_card_end(v);
    scene_back(v, &s->group);
    page_end(v);
}

void page_join_post(struct visit *v)
{
    struct scene s;
    char path[SCENE_PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    enum outcome o = member_request(&v->desk, &s.group, &s.self, form_value(&v->form, "reason"));
    bool member = s.membership.state == MEMBER_APPROVED; /* who asks to add a machine */
    if (o == OUT_OK)
        visit_redirect(
            v, scene_path(&s.group, member ? "/blob?done=asked" : "/join?done=asked", path));
    else if (member && o != OUT_ALREADY_MEMBER)
        blob_held(v, &s, o);
    else
        join_write(v, &s, o);
}

void page_blob(struct visit *v)
{
    static const char *const steps[] = {
        "Download the file, or show it as a QR code. Each is for one machine and holds a secret: "
        "give it to nobody.",
        "Take it to the machine on which peal is installed.",
    };
    struct text *t = &v->response->body;
    struct scene s;
    char path[SCENE_PATH_SIZE], command[LABEL_MAX + 32];

    if (!scene_load(v, &s))
        return;
    if (!scene_may(v, &s, VERB_BLOB_MAKE)) {
        page_failure(v, OUT_NOT_MEMBER);
        return;
    }
    if (s.membership.further != FURTHER_FREE) {
        blob_held(v, &s, OUT_OK);
        return;
    }
    scene_begin(v, &s, OUT_OK, "Add a machine", NULL);
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
    page_form_begin(v, scene_path(&s.group, "/blob", path), "stack");
    html_element(t, "button", "Download", "type", "submit", "class", "primary", NULL);
    html_text(t, " ");
    html_element(t, "button", "Show as a QR code", "type", "submit", "name", "show", "value", "qr",
                 NULL);
    html_close(t, "form");
    page_card_end(v);
    scene_back(v, &s.group);
    page_end(v);
}

static void blob_picture(struct visit *v, const struct scene *s, const struct text *blob)
{
    struct text *t = &v->response->body;

    scene_begin(v, s, OUT_OK, "Add a machine", NULL);
    page_card_begin(v, "One file, for one machine");
    html_element(t, "p",
                 "This is the whole file, shown only now. Read it with the machine's camera, or "
                 "with a reader that saves what it reads, and join with that.",
                 NULL);
    if (!qr_write(t, blob->p, "The configuration file as a QR code"))
        page_complaint(v, OUT_TOO_LONG);
    page_card_end(v);
    scene_back(v, &s->group);
    page_end(v);
}

static void blob_download(struct visit *v, const struct scene *s, const struct text *blob)
{
    char disposition[LABEL_MAX + 64];

    snprintf(disposition, sizeof disposition, "attachment; filename=\"%s.peal\"", s->group.name);
    response_header(v->response, "Content-Disposition", disposition);
    v->response->status = 200;
    v->response->type = "application/json";
    text_add(&v->response->body, blob->p, blob->len);
}

void page_blob_post(struct visit *v)
{
    struct scene s;
    struct server server;
    struct text blob = {0};

    if (!scene_load(v, &s))
        return;
    enum outcome o = server_load(&v->desk, &server); /* a pin may have been announced meanwhile */
    if (o == OUT_OK)
        o = blob_make(&v->desk, &s.group, &s.self, &server, &blob);
    if (o != OUT_OK)
        page_failure(v, o);
    else if (!strcmp(form_value(&v->form, "show"), "qr"))
        blob_picture(v, &s, &blob);
    else
        blob_download(v, &s, &blob);
    text_clear(&blob);
}
