#include "ca-web/wanted.h"

#include <string.h>

const struct choice wanted_states[] = {
    {"", "all"},          {"requested", "requested"}, {"approved", "approved"},
    {"denied", "denied"}, {"revoked", "removed"},     {NULL, NULL}};
const struct choice wanted_sorts[] = {
    {"state", "waiting first"}, {"name", "by name"}, {"time", "newest first"}, {NULL, NULL}};
static const enum member_sort sort_of[] = {MEMBER_BY_STATE, MEMBER_BY_NAME, MEMBER_BY_TIME};

static const char *choice_of(const struct choice *choices, const char *value, size_t *at)
{
    for (*at = 0; choices[*at].value; ++*at)
        if (!strcmp(choices[*at].value, value))
            return value;
    *at = 0;
    return choices[0].value;
}

void wanted_read(const struct form *query, struct wanted *w)
{
    size_t at = 0, sort = 0;
    const char *search = form_value(query, "q");

    *w = (struct wanted){.search = strlen(search) <= WANTED_SEARCH_MAX ? search : ""};
    w->state = choice_of(wanted_states, form_value(query, "state"), &at);
    w->sort = choice_of(wanted_sorts, form_value(query, "sort"), &sort);
    if (!page_number(form_value(query, "page"), 1, WANTED_PAGES_MAX, &w->page))
        w->page = 1;
    w->filter = (struct member_filter){.sort = sort_of[sort],
                                       .state = member_state_named(w->state),
                                       .search = w->search,
                                       .offset = (w->page - 1) * WANTED_LINES,
                                       .limit = WANTED_LINES};
}
