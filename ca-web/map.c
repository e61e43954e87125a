#include "ca-web/map.h"

#include <stdlib.h>
#include <string.h>

#include "ca-web/removal.h"
#include "overlay/crypto/cert.h"

struct surveyor {
    int64_t row, user_row; /* 0: nobody's */
    struct sign_public key;
};

static enum outcome surveyor_find(struct desk *d, const struct group *g, const struct id *node,
                                  struct surveyor *out)
{
    struct query q = store_ask(d->store,
                               "SELECT c.id, c.key, m.user_row FROM machines c"
                               " JOIN members m ON m.id = c.member_row"
                               " WHERE c.group_row = ?1 AND c.node = ?2 AND c.revoked_s IS NULL"
                               " AND m.state = 'approved'",
                               VALUES(v_int(g->row), v_bytes(node->b, ID_LEN)));
    bool ok = true;

    *out = (struct surveyor){0};
    if (query_row(&q)) {
        out->row = query_int(&q, 0);
        ok = query_copy(&q, 1, out->key.b, sizeof out->key.b);
        out->user_row = query_int(&q, 2);
    }
    query_end(&q);
    return ok && !q.failed ? OUT_OK : OUT_INTERNAL;
}

static enum outcome map_write(struct desk *d, const struct group *g, const struct surveyor *who,
                              int64_t at_s, const uint8_t *message, size_t len)
{
    int err = store_run(d->store,
                        "INSERT INTO maps (group_row, machine_row, at_s, received_s, message)"
                        " VALUES (?1, ?2, ?3, ?4, ?5)"
                        " ON CONFLICT (group_row) DO UPDATE SET machine_row = excluded.machine_row,"
                        " at_s = excluded.at_s, received_s = excluded.received_s,"
                        " message = excluded.message WHERE excluded.at_s > at_s",
                        VALUES(v_int(g->row), v_int(who->row), v_int(at_s), v_int(d->now_s),
                               v_bytes(message, len)));
    return err < 0 ? desk_failed(err) : OUT_OK;
}

static enum outcome told(struct desk *d, const struct group *g, const struct ringmap *m,
                         const uint8_t *message, size_t len)
{
    struct surveyor who;
    enum outcome o = surveyor_find(d, g, &m->node, &who);

    if (o == OUT_OK && (!who.row || !ringmap_signed_by(message, len, &who.key)))
        o = OUT_NOT_ENROLLED;
    if (o != OUT_OK)
        return o;
    d->actor.kind = ACTOR_MACHINE;
    d->actor.row = who.user_row;
    o = desk_authorize(d, VERB_MAP_TELL, g->row, 0);
    /* What is signed is a replay's for ever after, so it counts only while it is new. */
    if (o == OUT_OK &&
        (m->at_s < d->now_s - CERT_CLOCK_SLACK_S || m->at_s > d->now_s + CERT_CLOCK_SLACK_S))
        o = OUT_BAD_CLOCK;
    return o == OUT_OK ? map_write(d, g, &who, m->at_s, message, len) : o;
}

enum outcome map_told(struct desk *d, const struct group *g, const uint8_t *message, size_t len)
{
    struct ringmap *m = malloc(sizeof *m);
    enum outcome o = OUT_INTERNAL;

    if (m)
        o = ringmap_read(m, message, len) && id_eq(&m->group, &g->id) ? desk_begin(d)
                                                                      : OUT_BAD_REQUEST;
    if (o == OUT_OK)
        o = desk_close(d, told(d, g, m, message, len));
    free(m);
    return o;
}

static enum outcome name_find(struct desk *d, const struct group *g, const struct id *node,
                              struct map_name *out)
{
    struct account user;
    enum outcome o = machine_owner(d, g, node, &user, out->hostname);

    out->known = o == OUT_OK;
    memcpy(out->user, user.name, sizeof out->user);
    return o == OUT_NO_MACHINE ? OUT_OK : o;
}

static enum outcome ring_load(struct desk *d, const struct group *g, struct map *out)
{
    struct query q = store_ask(d->store,
                               "SELECT p.message, p.received_s FROM maps p"
                               " JOIN machines c ON c.id = p.machine_row"
                               " WHERE p.group_row = ?1 AND c.revoked_s IS NULL",
                               VALUES(v_int(g->row)));
    bool ok = true;

    if (query_row(&q)) {
        size_t len = 0;
        const void *message = query_bytes(&q, 0, &len);

        out->received_s = query_int(&q, 1);
        out->ring = malloc(sizeof *out->ring);
        ok = out->ring && ringmap_read(out->ring, message, len);
    }
    query_end(&q);
    return ok && !q.failed ? OUT_OK : OUT_INTERNAL;
}

enum outcome map_read(struct desk *d, const struct group *g, struct map *out)
{
    enum outcome o = desk_authorize(d, VERB_MAP_READ, g->row, 0);

    *out = (struct map){0};
    if (o == OUT_OK)
        o = ring_load(d, g, out);
    if (o != OUT_OK || !out->ring)
        return o;
    out->names = calloc(out->ring->count, sizeof *out->names);
    if (!out->names)
        return OUT_INTERNAL;
    for (size_t i = 0; o == OUT_OK && i < out->ring->count; i++)
        o = name_find(d, g, &out->ring->nodes[i].node, &out->names[i]);
    return o;
}

void map_clear(struct map *m)
{
    free(m->ring);
    free(m->names);
    *m = (struct map){0};
}
