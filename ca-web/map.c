#include "ca-web/map.h"

#include <stdlib.h>
#include <string.h>

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

/* The ids of the ring's nodes, one behind the other. */
static uint8_t *nodes_join(const struct ringmap *ring)
{
    uint8_t *nodes = malloc(ring->count * ID_LEN + 1);

    for (size_t i = 0; nodes && i < ring->count; i++)
        memcpy(nodes + i * ID_LEN, ring->nodes[i].node.b, ID_LEN);
    return nodes;
}

/* All names by one query: it cuts the ids out of one value, and looks each up by the index. */
static enum outcome names_load(struct desk *d, const struct group *g, struct map *out)
{
    size_t count = out->ring->count;
    uint8_t *nodes = nodes_join(out->ring);

    out->names = calloc(count + 1, sizeof *out->names);
    if (!nodes || !out->names) {
        free(nodes);
        return OUT_INTERNAL;
    }
    struct query q =
        store_ask(d->store,
                  "WITH RECURSIVE asked(i, node) AS (SELECT 0, substr(?2, 1, ?4) UNION ALL"
                  " SELECT i + 1, substr(?2, (i + 1) * ?4 + 1, ?4) FROM asked WHERE i + 1 < ?3)"
                  " SELECT a.i, u.name, c.hostname FROM asked a"
                  " CROSS JOIN machines c ON c.group_row = ?1 AND c.node = a.node"
                  " JOIN members m ON m.id = c.member_row JOIN users u ON u.id = m.user_row"
                  " WHERE c.revoked_s IS NULL",
                  VALUES(v_int(g->row), v_bytes(nodes, count * ID_LEN), v_int((int64_t)count),
                         v_int(ID_LEN)));
    while (query_row(&q)) {
        struct map_name *name = &out->names[query_int(&q, 0)];

        name->known = true;
        query_copy_text(&q, 1, name->user, sizeof name->user);
        query_copy_text(&q, 2, name->hostname, sizeof name->hostname);
    }
    free(nodes);
    return q.failed ? OUT_INTERNAL : OUT_OK;
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
    return o == OUT_OK && out->ring ? names_load(d, g, out) : o;
}

void map_clear(struct map *m)
{
    free(m->ring);
    free(m->names);
    *m = (struct map){0};
}
