#include <stdio.h>
#include <string.h>

#include "ca-web/chart.h"
#include "ca-web/scene.h"
#include "ca-web/spread.h"
#include "ca-web/wanted.h"

enum { PENDING_MAX = 50 };

static const struct done dones[] = {
    {"approved", "Approved. The member can take a configuration file now."},
    {"denied", "Denied."},
    {"revoked", "Removed. The group's machines are being told."},
    {"machine", "The machine was removed. The group's machines are being told."},
    {"lost",
     "The machine was removed, and the group's machines are being told. If somebody who has it "
     "could know your password, change it now: that also ends every other session of yours. "
     "You can add another machine when somebody who approves has agreed."},
    {"joined", "You are a member. Add your first machine below."},
    {NULL, NULL},
};

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

static void machines_card(struct visit *v, const struct scene *s)
{
    char path[SCENE_PATH_SIZE];

    page_card_begin(v, "My machines");
    scene_machines(v, s, s->membership.row, true);
    if (s->membership.further != FURTHER_FREE)
        html_element(&v->response->body, "p",
                     "One of your machines was removed. Somebody who approves in the group has to "
                     "agree before you add another one.",
                     "class", "muted", NULL);
    html_open(&v->response->body, "p", "class", "actions", NULL);
    page_button(v, "Add a machine", scene_path(&s->group, "/blob", path));
    html_close(&v->response->body, "p");
    page_card_end(v);
}

/* Context of the list callbacks. */
struct listing {
    struct visit *visit;
    const struct scene *scene;
    size_t lines;
    bool own; /* he may agree to his own next machine */
};

static void pending_line(void *ctx, const struct member_line *line)
{
    struct listing *l = ctx;
    struct visit *v = l->visit;
    struct text *t = &v->response->body;
    char approve[SCENE_PATH_SIZE], deny[SCENE_PATH_SIZE];

    if (!l->lines++)
        page_card_begin(v, "Waiting for approval");
    html_open(t, "article", "class", "request", NULL);
    html_open(t, "p", NULL);
    html_element(t, "strong", line->user, NULL);
    html_text(t, " ");
    html_element(t, "span", line->email, "class", "muted", NULL);
    html_text(t, " ");
    page_time(v, line->asked_s);
    if (line->further == FURTHER_ASKED) {
        html_text(t, " ");
        page_badge(v, "member, another machine", "bad");
    }
    html_close(t, "p");
    if (*line->reason)
        html_element(t, "blockquote", line->reason, NULL);
    if (line->further == FURTHER_ASKED && !l->own && !strcmp(line->user, l->scene->self.name)) {
        html_element(t, "p", "Somebody else who approves has to agree.", "class", "muted", NULL);
        html_close(t, "article");
        return;
    }
    page_form_begin(v, scene_path(&l->scene->group, "/approve", approve), "row");
    page_hidden(v, "user", line->user);
    page_field(v,
               &(struct field){
                   .name = "note", .label = "Note (optional)", .type = "text", .optional = true});
    html_element(t, "button", "Deny", "type", "submit", "class", "danger", "formaction",
                 scene_path(&l->scene->group, "/deny", deny), NULL);
    page_form_end(v, "Approve", "primary");
    html_close(t, "article");
}

static void pending_card(struct visit *v, const struct scene *s)
{
    const struct member_filter filter = {
        .state = MEMBER_REQUESTED, .search = "", .limit = PENDING_MAX};
    struct listing l = {
        .visit = v, .scene = s, .own = member_may_agree(&v->desk, &s->group, &s->self)};
    char more[80];
    int64_t total = 0;

    if (!scene_may(v, s, VERB_MEMBER_APPROVE) ||
        member_list(&v->desk, &s->group, &filter, pending_line, &l, &total) != OUT_OK || !l.lines)
        return;
    if (total > PENDING_MAX) {
        snprintf(more, sizeof more, "%lld more wait behind these.", (long long)total - PENDING_MAX);
        html_element(&v->response->body, "p", more, "class", "muted", NULL);
    }
    page_card_end(v);
}

/* How far the last removal has spread. */
static void spread_card(struct visit *v, const struct scene *s)
{
    struct text *t = &v->response->body;
    char count[80], told[24], machines[24], took[96];
    struct spread spread;

    if (!scene_may(v, s, VERB_MEMBER_LIST) || spread_read(&v->desk, &s->group, &spread) != OUT_OK ||
        !spread.number)
        return;
    snprintf(told, sizeof told, "%lld", (long long)spread.told);
    snprintf(machines, sizeof machines, "%lld", (long long)spread.machines);
    if (spread.machines)
        snprintf(count, sizeof count, "%s of %s machines", told, machines);
    else
        snprintf(count, sizeof count, "no machine is left to be told");
    snprintf(took, sizeof took, "Half of them within %lld s, all of them within %lld s.",
             (long long)spread.half_s + 1, (long long)spread.last_s + 1);
    page_card_begin(v, "Last removal");
    html_open(t, "dl", NULL);
    page_fact(v, "Machine", spread.hostname);
    page_fact(v, "Of", spread.user);
    html_element(t, "dt", "Removed", NULL);
    html_open(t, "dd", NULL);
    page_time(v, spread.at_s);
    html_close(t, "dd");
    page_fact(v, "Known to", count);
    html_close(t, "dl");
    if (spread.machines)
        html_element(t, "progress", count, "aria-label", "Machines that know it", "value", told,
                     "max", machines, NULL);
    if (spread.told)
        html_element(t, "p", took, NULL);
    if (spread.told < spread.machines)
        html_element(t, "p",
                     "The others have not said so yet. One that is switched off learns it from the "
                     "first member that it meets.",
                     "class", "muted", NULL);
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
    char path[SCENE_PATH_SIZE];

    l->lines++;
    html_open(t, "tr", NULL);
    page_cell_begin(v, "User");
    snprintf(path, sizeof path, "/groups/%s/members/%s", l->scene->group.name, line->user);
    html_element(t, "a", line->user, "href", path, NULL);
    html_text(t, " ");
    html_element(t, "span", line->email, "class", "muted", NULL);
    page_cell_end(v);
    page_cell_begin(v, "State");
    page_badge(v, member_state_text(line->state), state_kind(line->state));
    html_text(t, " ");
    if (line->state == MEMBER_APPROVED && line->further != FURTHER_FREE)
        page_badge(v, line->further == FURTHER_ASKED ? "asks for a machine" : "held", "wait");
    html_text(t, " ");
    if (*line->role)
        page_badge(v, line->role, "plain");
    page_cell_end(v);
    page_cell_number(v, "Machines", line->machines);
    page_cell_time(v, "Since", line->decided_s ? line->decided_s : line->asked_s);
    html_close(t, "tr");
}

static void page_link(struct visit *v, const struct group *g, const char *text, int64_t page,
                      const struct wanted *w)
{
    char path[SCENE_PATH_SIZE + 3 * WANTED_SEARCH_MAX + 64], search[3 * WANTED_SEARCH_MAX + 1];

    page_encode(search, sizeof search, w->search);
    snprintf(path, sizeof path, "/groups/%s?page=%lld&state=%s&sort=%s&q=%s", g->name,
             (long long)page, w->state, w->sort, search);
    html_element(&v->response->body, "a", text, "href", path, NULL);
}

static void pager(struct visit *v, const struct group *g, const struct wanted *w, int64_t total)
{
    int64_t pages = (total + WANTED_LINES - 1) / WANTED_LINES;
    char here[64];

    if (pages < 2)
        return;
    html_open(&v->response->body, "nav", "class", "pager", "aria-label", "Pages", NULL);
    if (w->page > 1)
        page_link(v, g, "Previous", w->page - 1, w);
    snprintf(here, sizeof here, "Page %lld of %lld", (long long)w->page, (long long)pages);
    html_element(&v->response->body, "span", here, NULL);
    if (w->page < pages)
        page_link(v, g, "Next", w->page + 1, w);
    html_close(&v->response->body, "nav");
}

static void search_form(struct visit *v, const struct group *g, const struct wanted *w)
{
    char path[SCENE_PATH_SIZE];

    html_open(&v->response->body, "form", "method", "get", "action", scene_path(g, "", path),
              "class", "row", "role", "search", NULL);
    page_field(v, &(struct field){.name = "q",
                                  .label = "Find by name or e-mail",
                                  .type = "search",
                                  .value = w->search,
                                  .optional = true});
    page_choice(v, "state", "State", wanted_states, w->state, NULL);
    page_choice(v, "sort", "Order", wanted_sorts, w->sort, NULL);
    page_form_end(v, "Find", "plain");
}

static void members_card(struct visit *v, const struct scene *s)
{
    static const char *const heads[] = {"User", "State", "Machines", "Since"};
    struct listing l = {.visit = v, .scene = s};
    struct wanted w;
    int64_t total = 0;

    if (!scene_may(v, s, VERB_MEMBER_LIST))
        return;
    wanted_read(&v->query, &w);
    page_card_begin(v, "Members");
    search_form(v, &s->group, &w);
    page_table_begin(v, heads, ARRAY_LEN(heads));
    enum outcome o = member_list(&v->desk, &s->group, &w.filter, member_row, &l, &total);
    page_table_end(v);
    page_complaint(v, o);
    if (o == OUT_OK && !l.lines)
        html_element(&v->response->body, "p", "Nobody fits.", "class", "muted", NULL);
    pager(v, &s->group, &w, total);
    page_card_end(v);
}

static void name_row(void *ctx, const char *user, int64_t machines)
{
    struct visit *v = ctx;

    html_open(&v->response->body, "tr", NULL);
    page_cell(v, "User", user);
    page_cell_number(v, "Machines", machines);
    html_close(&v->response->body, "tr");
}

/* For members who see each other and run nothing. */
static void names_card(struct visit *v, const struct scene *s)
{
    static const char *const heads[] = {"User", "Machines"};
    struct wanted w;
    int64_t total = 0;

    if (scene_may(v, s, VERB_MEMBER_LIST) || !scene_may(v, s, VERB_MEMBER_SEE))
        return;
    wanted_read(&v->query, &w);
    page_card_begin(v, "Members");
    page_table_begin(v, heads, ARRAY_LEN(heads));
    enum outcome o = member_names(&v->desk, &s->group, (w.page - 1) * WANTED_LINES, WANTED_LINES,
                                  name_row, v, &total);
    page_table_end(v);
    page_complaint(v, o);
    pager(v, &s->group, &w, total);
    page_card_end(v);
}

void page_group(struct visit *v)
{
    struct scene s;
    char path[SCENE_PATH_SIZE];

    if (!scene_load(v, &s))
        return;
    bool runs = scene_may(v, &s, VERB_MEMBER_LIST);
    if (!runs && s.membership.state != MEMBER_APPROVED) {
        visit_redirect(v, scene_path(&s.group, "/join", path));
        return;
    }
    scene_begin(v, &s, OUT_OK, "", "");
    page_done(v, dones);
    pending_card(v, &s);
    spread_card(v, &s);
    if (s.membership.state == MEMBER_APPROVED)
        machines_card(v, &s);
    members_card(v, &s);
    names_card(v, &s);
    if (scene_may(v, &s, VERB_MAP_READ))
        chart_card(v, &s.group);
    network_card(v, &s.group);
    page_end(v);
}

void page_approve_post(struct visit *v)
{
    scene_decide(v, member_approve, VERB_MEMBER_APPROVE, "?done=approved");
}

void page_deny_post(struct visit *v)
{
    scene_decide(v, member_deny, VERB_MEMBER_DENY, "?done=denied");
}
