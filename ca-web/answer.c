#include "ca-web/answer.h"

#include <string.h>

#include "ca-web/removal.h"

json_t *answer_list(const char *commas)
{
    json_t *list = json_array();

    while (list && *commas) {
        size_t len = strcspn(commas, ",");
        if (json_array_append_new(list, json_stringn(commas, len))) {
            json_decref(list);
            return NULL;
        }
        commas += len + (commas[len] == ',');
    }
    return list;
}

json_t *answer_network(const struct group *g)
{
    return json_pack("{s:s, s:s, s:s, s:I}", "ipv4", g->ipv4, "ipv6", g->ipv6, "domain", g->domain,
                     "lease_s", (json_int_t)g->lease_s);
}

json_t *answer_member(const struct member_line *line)
{
    char asked[TIME_TEXT_SIZE];

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "user", line->user, "email",
                     line->email, "state", member_state_text(line->state), "further",
                     member_further_text(line->further), "role",
                     line->role[0] ? line->role : "member", "reason", line->reason, "requested",
                     time_text(line->asked_s, asked), "machines", (json_int_t)line->machines);
}

static int append(const char *bytes, size_t len, void *ctx)
{
    struct text *out = ctx;

    text_add(out, bytes, len);
    return out->failed ? -1 : 0;
}

enum outcome answer_json(struct text *out, json_t *json, size_t flags)
{
    bool ok = json && json_dump_callback(json, append, out, flags) == 0;

    json_decref(json);
    return ok ? OUT_OK : OUT_INTERNAL;
}

enum outcome answer_error(struct text *out, enum outcome o)
{
    return answer_json(out,
                       json_pack("{s:{s:s, s:s}}", "error", "code", outcome_code(o), "message",
                                 outcome_message(o)),
                       JSON_COMPACT);
}

json_t *answer_spread(const struct group *g, const struct spread *s)
{
    char at[TIME_TEXT_SIZE];

    if (!s->number)
        return json_pack("{s:s, s:s, s:n}", "schema", "peal.ca-spread/1", "group", g->name,
                         "removal");
    return json_pack("{s:s, s:s, s:{s:I, s:s, s:s, s:s}, s:I, s:I, s:o, s:o}", "schema",
                     "peal.ca-spread/1", "group", g->name, "removal", "number",
                     (json_int_t)s->number, "at", time_text(s->at_s, at), "user", s->user,
                     "hostname", s->hostname, "machines", (json_int_t)s->machines, "told",
                     (json_int_t)s->told, "half_s", s->told ? json_integer(s->half_s) : json_null(),
                     "last_s", s->told ? json_integer(s->last_s) : json_null());
}

static json_t *node_list(const struct ringmap *m, const struct ringmap_node *n, size_t side)
{
    json_t *list = json_array();
    char id[ID_TEXT_SIZE];

    for (size_t i = 0; i < n->count[side]; i++)
        json_array_append_new(list, json_string(id_text(&m->nodes[n->near[side][i]].node, id)));
    return list;
}

static json_t *node_json(const struct map *m, size_t i)
{
    static const char *const paths[RINGMAP_PATHS] = {NULL, "udp", "tcp", "relay"};
    const struct ringmap_node *n = &m->ring->nodes[i];
    char id[ID_TEXT_SIZE];

    return json_pack("{s:s, s:s?, s:s?, s:b, s:b, s:s?, s:b, s:o, s:o}", "id",
                     id_text(&n->node, id), "user", m->names[i].known ? m->names[i].user : NULL,
                     "hostname", m->names[i].known ? m->names[i].hostname : NULL, "answered",
                     n->flags & RINGMAP_ANSWERED, "consistent", n->flags & RINGMAP_CONSISTENT,
                     "path", paths[n->path], "shortcut", n->flags & RINGMAP_SHORTCUT, "left",
                     node_list(m->ring, n, 0), "right", node_list(m->ring, n, 1));
}

json_t *answer_map(const struct group *g, const struct map *m)
{
    char received[TIME_TEXT_SIZE], by[ID_TEXT_SIZE];
    json_t *nodes;

    if (!m->ring)
        return json_pack("{s:s, s:s, s:n}", "schema", "peal.ca-map/1", "group", g->name, "map");
    nodes = json_array();
    for (size_t i = 0; i < m->ring->count; i++)
        json_array_append_new(nodes, node_json(m, i));
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:b, s:I, s:o}}", "schema", "peal.ca-map/1", "group",
                     g->name, "map", "received", time_text(m->received_s, received), "by",
                     id_text(&m->ring->node, by), "cut", m->ring->cut, "members",
                     (json_int_t)m->ring->members, "nodes", nodes);
}
