/*
 * map.h - what a group's ring looked like to the member's machine that surveyed it last
 * (overlay/crypto/ringmap.h): one map per group, the newest; and who the machines on it are.
 *
 * A map is one machine's word. It is shown to people, and nothing is decided by it. Only machines
 * of members with a role in the group are listened to (VERB_MAP_TELL).
 */
#ifndef PEAL_CA_MAP_H
#define PEAL_CA_MAP_H

#include "ca-web/group.h"
#include "overlay/crypto/ringmap.h"

/* OUT_BAD_REQUEST: malformed, or of another group; OUT_NOT_ENROLLED: not signed by a machine that
 * is in the group; OUT_BAD_CLOCK; OUT_NOT_PERMITTED. One that is no newer than what we have is
 * well, and changes nothing. */
enum outcome map_told(struct desk *d, const struct group *g, const uint8_t *message, size_t len);

/* Who a node of the map is. */
struct map_name {
    bool known; /* a machine of the group that was not removed */
    char user[LABEL_MAX + 1], hostname[LABEL_MAX + 1];
};

struct map {
    struct ringmap *ring;   /* NULL: there is none, or who sent it was removed */
    struct map_name *names; /* of each of ring->nodes */
    int64_t received_s;
};
/* VERB_MAP_READ. To be cleared in any case. */
enum outcome map_read(struct desk *d, const struct group *g, struct map *out);
void map_clear(struct map *m);

#endif
