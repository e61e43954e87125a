/*
 * acquaintance.h - names of the peers that we have a session with, as they tell them themselves
 * when the session comes up and when they change. That may be lost on the way, so whoever is looked
 * at without a name is asked. For people only: the virtual network believes nothing but signed
 * leases.
 */
#ifndef PEAL_NODE_ACQUAINTANCE_H
#define PEAL_NODE_ACQUAINTANCE_H

#include "daemon/node/facts.h"
#include "overlay/core/table.h"
#include "overlay/core/wire.h"

enum { ACQUAINTANCES_MAX = 4096 }; /* sessions are fewer; beyond, a peer is shown without a name */

struct acquaintances {
    struct table by_peer;
};

void acquaintances_init(struct acquaintances *as, const struct env *env);
void acquaintances_clear(struct acquaintances *as);
/* False: it told nothing yet. */
bool acquaintances_get(const struct acquaintances *as, const struct id *peer, struct facts *out);
void acquaintances_told(struct acquaintances *as, const struct overlay_from *from,
                        struct reader *r);
void acquaintances_forget(struct acquaintances *as, const struct id *peer);
void acquaintances_tell(struct overlay *overlay, const struct id *peer, const struct facts *ours);
void acquaintances_ask(struct overlay *overlay, const struct id *peer);
void acquaintances_tell_all(struct overlay *overlay, const struct facts *ours);

#endif
