/*
 * scene.h - what every page of a group starts from: the group that the path names, who is looking,
 * and what he is in it; and the frame that such pages share, with links to those of them that he
 * may see.
 */
#ifndef PEAL_CA_SCENE_H
#define PEAL_CA_SCENE_H

#include "ca-web/member.h"
#include "ca-web/page.h"

enum { SCENE_PATH_SIZE = 2 * LABEL_MAX + 64 };

struct scene {
    struct group group;
    struct account self;
    struct member membership; /* of self */
};

/* From the path's first parameter. False when the answer is written already. */
bool scene_load(struct visit *v, struct scene *s);
/* The same, for pages that are nobody's who may not do `verb` in the group. */
bool scene_load_for(struct visit *v, struct scene *s, enum verb verb);
/* Towards the group and himself. */
bool scene_may(struct visit *v, const struct scene *s, enum verb verb);

/* page_begin with the group's name before the title, then the group's tabs; `here` is the one that
 * this page is ("" for the group's own, which has no title; "/roles", ...), or NULL. */
void scene_begin(struct visit *v, const struct scene *s, enum outcome o, const char *title,
                 const char *here);
/* "/groups/NAME" and what follows. */
const char *scene_path(const struct group *g, const char *rest, char out[SCENE_PATH_SIZE]);
void scene_back(struct visit *v, const struct group *g);
/* A member's machines as a table, those that were removed last. */
void scene_machines(struct visit *v, const struct scene *s, int64_t member_row, bool may_revoke);
/* Approve, deny, revoke: the form names the user. Back to the group with ?done=... */
void scene_decide(struct visit *v,
                  enum outcome (*change)(struct desk *, const struct group *,
                                         const struct account *, const char *),
                  enum verb verb, const char *rest);

#endif
