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

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "user", line->user, "email",
                     line->email, "state", member_state_text(line->state), "role",
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
