/*
 * wanted.h - which part of a group's members a query string asks for: ?q=, &state=, &sort=, &page=.
 * What makes no sense is the default.
 */
#ifndef PEAL_CA_WANTED_H
#define PEAL_CA_WANTED_H

#include "ca-web/form.h"
#include "ca-web/member.h"
#include "ca-web/page.h"

enum { WANTED_LINES = 50, WANTED_PAGES_MAX = 999999, WANTED_SEARCH_MAX = 100 };

extern const struct choice wanted_states[], wanted_sorts[];

struct wanted {
    const char *search, *state, *sort;
    int64_t page; /* from 1 */
    struct member_filter filter;
};
void wanted_read(const struct form *query, struct wanted *w);

#endif
