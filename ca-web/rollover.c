#include "ca-web/rollover.h"

#include <sodium.h>

#include "ca-web/removal.h"

/* Signed by `signer`; the certificate of `next`. A new CRL goes with it, so that both are of one
 * number. */
static enum outcome succession_write(struct desk *d, const struct group *g,
                                     const struct authority *signer, const struct authority *next,
                                     bool only)
{
    uint8_t message[REMOVAL_MAX];
    int64_t number = removal_number_take(d, g);
    const struct issue_succession s = {.group = g->id,
                                       .number = (uint64_t)number,
                                       .at_s = d->now_s,
                                       .only = only,
                                       .der = next->der,
                                       .der_len = next->der_len};
    int len = number ? issue_succession(signer, &s, message, sizeof message) : -ERR_BAD_STATE;

    if (len > 0)
        len = store_run(
            d->store,
            "INSERT INTO successions (group_row, number, at_s, message)"
            " VALUES (?1, ?2, ?3, ?4)",
            VALUES(v_int(g->row), v_int(number), v_int(d->now_s), v_bytes(message, (size_t)len)));
    return len > 0 ? removal_crl_write(d, g, number) : desk_failed(len);
}

static int64_t trusted_count(struct desk *d, const struct group *g)
{
    return store_int(d->store, INT64_MAX,
                     "SELECT count(*) FROM authorities WHERE group_row = ?1 AND state = 'trusted'",
                     VALUES(v_int(g->row)));
}

static enum outcome begin_write(struct desk *d, const struct group *g)
{
    struct authority old, next = {0};
    int64_t row;
    enum outcome o = trusted_count(d, g) < ROLLOVER_TRUSTED_MAX ? OUT_OK : OUT_FULL_AUTHORITIES;

    if (o != OUT_OK)
        return o;
    o = group_authority(d, g, &old, &row);
    if (o == OUT_OK && store_run(d->store, "UPDATE authorities SET state = 'trusted' WHERE id = ?1",
                                 VALUES(v_int(row))) != 1)
        o = OUT_INTERNAL;
    if (o == OUT_OK)
        o = group_authority_add(d, g, &next);
    if (o == OUT_OK)
        o = succession_write(d, g, &old, &next, false);
    authority_clear(&old);
    authority_clear(&next);
    return o == OUT_OK ? desk_audit(d, VERB_CA_ROLL, g->row, g->name, "a new CA signs") : o;
}

enum outcome rollover_begin(struct desk *d, const struct group *g)
{
    enum outcome o = desk_open(d, VERB_CA_ROLL, g->row, 0);

    return o == OUT_OK ? desk_close(d, begin_write(d, g)) : o;
}

/* `ended` of them were retired just now: when none is left, the members are told. */
static enum outcome ended_tell(struct desk *d, const struct group *g, int ended)
{
    struct authority a;
    int64_t row;

    if (ended <= 0 || trusted_count(d, g) > 0)
        return ended < 0 ? desk_failed(ended) : OUT_OK;
    enum outcome o = group_authority(d, g, &a, &row);
    if (o == OUT_OK)
        o = succession_write(d, g, &a, &a, true);
    authority_clear(&a);
    return o == OUT_OK ? desk_audit(d, VERB_CA_ROLL, g->row, g->name, "the old CA has ended") : o;
}

static enum outcome end_write(struct desk *d, const struct group *g)
{
    int ended = store_run(d->store,
                          "UPDATE authorities SET state = 'retired'"
                          " WHERE group_row = ?1 AND state = 'trusted'",
                          VALUES(v_int(g->row)));

    return ended ? ended_tell(d, g, ended) : OUT_NOTHING_OLD;
}

enum outcome rollover_end(struct desk *d, const struct group *g)
{
    enum outcome o = desk_open(d, VERB_CA_ROLL, g->row, 0);

    return o == OUT_OK ? desk_close(d, end_write(d, g)) : o;
}

enum outcome rollover_settle(struct desk *d, const struct group *g)
{
    int ended = 0;

    if (trusted_count(d, g) > 0)
        ended = store_run(d->store,
                          "UPDATE authorities SET state = 'retired'"
                          " WHERE group_row = ?1 AND state = 'trusted' AND NOT EXISTS"
                          " (SELECT 1 FROM certificates c WHERE c.authority_row = authorities.id"
                          " AND c.not_after_s > ?2)",
                          VALUES(v_int(g->row), v_int(d->now_s - CERT_CLOCK_SLACK_S)));
    return ended_tell(d, g, ended);
}

enum outcome rollover_list(struct desk *d, const struct group *g,
                           void (*line)(void *ctx, const struct authority_line *line), void *ctx)
{
    enum outcome o = desk_authorize(d, VERB_GROUP_EDIT, g->row, 0);

    if (o != OUT_OK)
        return o;
    struct query q =
        store_ask(d->store,
                  "SELECT a.state = 'signing', a.made_s,"
                  " (SELECT count(*) FROM machines m WHERE m.group_row = ?1 AND m.revoked_s IS NULL"
                  "  AND (SELECT c.authority_row FROM certificates c WHERE c.machine_row = m.id"
                  "   AND c.not_after_s > ?2 ORDER BY c.not_after_s DESC LIMIT 1) = a.id)"
                  " FROM authorities a WHERE a.group_row = ?1 AND a.state <> 'retired'"
                  " ORDER BY a.id DESC",
                  VALUES(v_int(g->row), v_int(d->now_s)));
    while (query_row(&q))
        line(ctx, &(struct authority_line){.signs = query_int(&q, 0) != 0,
                                           .made_s = query_int(&q, 1),
                                           .machines = query_int(&q, 2)});
    return q.failed ? OUT_INTERNAL : OUT_OK;
}

json_t *rollover_messages(struct desk *d, const struct group *g)
{
    char text[sodium_base64_ENCODED_LEN(REMOVAL_MAX, sodium_base64_VARIANT_ORIGINAL)];
    json_t *list = json_array();
    struct query q = store_ask(d->store,
                               "SELECT message FROM (SELECT number, message FROM successions"
                               " WHERE group_row = ?1 ORDER BY number DESC LIMIT ?2)"
                               " ORDER BY number",
                               VALUES(v_int(g->row), v_int(ROLLOVER_TOLD_MAX)));

    while (query_row(&q)) {
        size_t len = 0;
        const void *message = query_bytes(&q, 0, &len);

        CHECK(len <= REMOVAL_MAX);
        sodium_bin2base64(text, sizeof text, message, len, sodium_base64_VARIANT_ORIGINAL);
        json_array_append_new(list, json_string(text));
    }
    return list;
}
