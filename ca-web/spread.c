#include "ca-web/spread.h"

#include "overlay/crypto/known.h"

/* Machines of group ?1 that are to hear of removals, at the time ?2. */
#define LISTENING                                                                                  \
    " FROM machines m WHERE m.group_row = ?1 AND m.revoked_s IS NULL AND EXISTS"                   \
    " (SELECT 1 FROM certificates c WHERE c.machine_row = m.id AND c.not_after_s > ?2)"

struct teller {
    int64_t row; /* 0: nobody's */
    struct sign_public key;
};

static enum outcome teller_find(struct desk *d, const struct group *g, const struct id *node,
                                struct teller *out)
{
    struct query q = store_ask(d->store,
                               "SELECT id, key FROM machines"
                               " WHERE group_row = ?1 AND node = ?2 AND revoked_s IS NULL",
                               VALUES(v_int(g->row), v_bytes(node->b, ID_LEN)));
    bool ok = true;

    *out = (struct teller){0};
    if (query_row(&q)) {
        out->row = query_int(&q, 0);
        ok = query_copy(&q, 1, out->key.b, sizeof out->key.b);
    }
    query_end(&q);
    return ok && !q.failed ? OUT_OK : OUT_INTERNAL;
}

static enum outcome told_write(struct desk *d, const struct group *g, const struct teller *teller,
                               const struct known *k)
{
    int64_t last = store_int(d->store, 0, "SELECT max(number) FROM removals WHERE group_row = ?1",
                             VALUES(v_int(g->row)));
    int err = store_run(d->store,
                        "UPDATE machines SET knows = ?2,"
                        " knew_s = CASE WHEN knows < ?3 AND ?2 >= ?3 THEN ?4 ELSE knew_s END"
                        " WHERE id = ?1 AND knows < ?2",
                        VALUES(v_int(teller->row), v_int((int64_t)k->number), v_int(last),
                               v_int(d->now_s - (int64_t)k->age_s)));
    return err < 0 ? desk_failed(err) : OUT_OK;
}

static enum outcome told(struct desk *d, const struct group *g, const uint8_t *message,
                         const struct known *k)
{
    struct teller teller;
    enum outcome o = teller_find(d, g, &k->node, &teller);

    if (o == OUT_OK && (!teller.row || !known_signed_by(message, &teller.key)))
        o = OUT_NOT_ENROLLED;
    if (o != OUT_OK)
        return o;
    d->actor.kind = ACTOR_MACHINE;
    o = desk_authorize(d, VERB_REMOVALS_TELL, g->row, 0);
    int64_t number =
        store_int(d->store, 0, "SELECT number FROM groups WHERE id = ?1", VALUES(v_int(g->row)));
    if (o == OUT_OK && k->number > (uint64_t)number)
        o = OUT_BAD_REQUEST;
    return o == OUT_OK ? told_write(d, g, &teller, k) : o;
}

enum outcome spread_told(struct desk *d, const struct group *g, const uint8_t *message, size_t len)
{
    struct known k;

    if (!known_read(&k, message, len) || !id_eq(&k.group, &g->id))
        return OUT_BAD_REQUEST;
    enum outcome o = desk_begin(d);
    return o == OUT_OK ? desk_close(d, told(d, g, message, &k)) : o;
}

static enum outcome removal_last(struct desk *d, const struct group *g, struct spread *out)
{
    struct query q = store_ask(d->store,
                               "SELECT r.number, r.at_s, u.name, c.hostname FROM removals r"
                               " JOIN machines c ON c.id = r.machine_row"
                               " JOIN members m ON m.id = c.member_row"
                               " JOIN users u ON u.id = m.user_row"
                               " WHERE r.group_row = ?1 ORDER BY r.number DESC LIMIT 1",
                               VALUES(v_int(g->row)));

    *out = (struct spread){0};
    if (query_row(&q)) {
        out->number = query_int(&q, 0);
        out->at_s = query_int(&q, 1);
        query_copy_text(&q, 2, out->user, sizeof out->user);
        query_copy_text(&q, 3, out->hostname, sizeof out->hostname);
    }
    query_end(&q);
    return q.failed ? OUT_INTERNAL : OUT_OK;
}

static int64_t took_s(const struct spread *s, int64_t knew_s)
{
    return knew_s > s->at_s ? knew_s - s->at_s : 0;
}

enum outcome spread_read(struct desk *d, const struct group *g, struct spread *out)
{
    enum outcome o = desk_authorize(d, VERB_MEMBER_LIST, g->row, 0);

    *out = (struct spread){0};
    if (o == OUT_OK)
        o = removal_last(d, g, out);
    if (o != OUT_OK || !out->number)
        return o;
    /* The last column: when the half of those who told, rounded up, knew. */
    struct query q = store_ask(
        d->store,
        "WITH listening AS MATERIALIZED (SELECT m.knows >= ?3 AS told, m.knew_s AS at_s" LISTENING
        ") SELECT count(*), coalesce(sum(told), 0), coalesce(max(CASE WHEN told THEN at_s END), 0),"
        " coalesce((SELECT at_s FROM listening WHERE told ORDER BY at_s LIMIT 1"
        "  OFFSET (SELECT max(coalesce(sum(told), 1) - 1, 0) / 2 FROM listening)), 0) FROM "
        "listening",
        VALUES(v_int(g->row), v_int(d->now_s), v_int(out->number)));
    if (query_row(&q)) {
        out->machines = query_int(&q, 0);
        out->told = query_int(&q, 1);
        out->last_s = took_s(out, query_int(&q, 2));
        out->half_s = took_s(out, query_int(&q, 3));
    }
    query_end(&q);
    return q.failed ? OUT_INTERNAL : OUT_OK;
}
