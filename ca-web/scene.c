#include "ca-web/scene.h"

#include <stdio.h>
#include <string.h>

bool scene_load(struct visit *v, struct scene *s)
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

bool scene_load_for(struct visit *v, struct scene *s, enum verb verb)
{
    if (!scene_load(v, s))
        return false;
    enum outcome o = desk_authorize(&v->desk, verb, s->group.row, 0);
    if (o != OUT_OK)
        page_failure(v, o);
    return o == OUT_OK;
}

bool scene_may(struct visit *v, const struct scene *s, enum verb verb)
{
    return desk_authorize(&v->desk, verb, s->group.row, s->self.row) == OUT_OK;
}

const char *scene_path(const struct group *g, const char *rest, char out[SCENE_PATH_SIZE])
{
    snprintf(out, SCENE_PATH_SIZE, "/groups/%s%s", g->name, rest);
    return out;
}

static const struct tab {
    const char *rest, *name;
    enum verb verb;
} tabs[] = {
    {"", "Members", VERB_MEMBER_LIST},          {"/invitations", "Invitations", VERB_INVITE_LIST},
    {"/roles", "Roles", VERB_MEMBER_LIST},      {"/audit", "Audit log", VERB_AUDIT_READ},
    {"/settings", "Settings", VERB_GROUP_EDIT},
};

static void tabs_write(struct visit *v, const struct scene *s, const char *here)
{
    struct text *t = &v->response->body;
    char path[SCENE_PATH_SIZE];

    html_open(t, "nav", "class", "tabs", "aria-label", s->group.name, NULL);
    for (size_t i = 0; i < ARRAY_LEN(tabs); i++) {
        if (!scene_may(v, s, tabs[i].verb))
            continue;
        scene_path(&s->group, tabs[i].rest, path);
        if (here && !strcmp(here, tabs[i].rest))
            html_element(t, "a", tabs[i].name, "href", path, "aria-current", "page", NULL);
        else
            html_element(t, "a", tabs[i].name, "href", path, NULL);
    }
    html_close(t, "nav");
}

void scene_begin(struct visit *v, const struct scene *s, enum outcome o, const char *title,
                 const char *here)
{
    char whole[2 * LABEL_MAX + 32];

    /* Whose settings, whose roles: who runs several groups sees it on each page. */
    bool first = here && !*here;
    snprintf(whole, sizeof whole, "%s%s%s", s->group.name, first ? "" : ": ", first ? "" : title);
    page_begin(v, outcome_http(o), whole);
    if (scene_may(v, s, VERB_MEMBER_LIST))
        tabs_write(v, s, here);
}

void scene_back(struct visit *v, const struct group *g)
{
    char path[SCENE_PATH_SIZE];

    html_open(&v->response->body, "p", NULL);
    html_element(&v->response->body, "a", "Back to the group", "href", scene_path(g, "", path),
                 NULL);
    html_close(&v->response->body, "p");
}

void scene_decide(struct visit *v,
                  enum outcome (*change)(struct desk *, const struct group *,
                                         const struct account *, const char *),
                  enum verb verb, const char *rest)
{
    struct scene s;
    struct account user;
    char path[SCENE_PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    /* Asked first, so that only who may decide learns which users exist. */
    enum outcome o = desk_authorize(&v->desk, verb, s.group.row, 0);
    if (o == OUT_OK)
        o = account_find(&v->desk, form_value(&v->form, "user"), &user);
    if (o == OUT_OK)
        o = change(&v->desk, &s.group, &user, form_value(&v->form, "note"));
    if (o == OUT_OK)
        visit_redirect(v, scene_path(&s.group, rest, path));
    else
        page_failure(v, o);
}
