#include "ca-web/desk.h"

#include <string.h>

enum outcome desk_failed(int err)
{
    return err == -ERR_FULL ? OUT_BUSY : OUT_INTERNAL;
}

enum outcome desk_begin(struct desk *d)
{
    int err = store_begin(d->store);
    return err ? desk_failed(err) : OUT_OK;
}

enum outcome desk_open(struct desk *d, enum verb verb, int64_t group_row, int64_t user_row)
{
    enum outcome o = desk_begin(d);

    if (o != OUT_OK)
        return o;
    o = desk_authorize(d, verb, group_row, user_row);
    if (o != OUT_OK)
        store_rollback(d->store);
    return o;
}

enum outcome desk_close(struct desk *d, enum outcome o)
{
    if (o != OUT_OK) {
        store_rollback(d->store);
        return o;
    }
    int err = store_commit(d->store);
    return err ? desk_failed(err) : OUT_OK;
}

enum outcome desk_authorize(struct desk *d, enum verb verb, int64_t group_row, int64_t user_row)
{
    return authorize(d->store, &d->actor, verb,
                     (struct object){.group_row = group_row, .user_row = user_row});
}

const char *desk_who(const struct desk *d)
{
    switch (d->actor.kind) {
    case ACTOR_STRANGER:
        return "(stranger)";
    case ACTOR_CONSOLE:
        return "(console)";
    case ACTOR_USER:
    case ACTOR_MACHINE:
        break;
    }
    return d->actor.name;
}

enum outcome desk_audit(struct desk *d, enum verb verb, int64_t group_row, const char *object,
                        const char *detail)
{
    int err = store_run(d->store,
                        "INSERT INTO audit (at_s, actor, address, verb, group_row, object, detail)"
                        " VALUES (?1, ?2, ?3, ?4, nullif(?5, 0), ?6, ?7)",
                        VALUES(v_int(d->now_s), v_text(desk_who(d)), v_text(d->actor.address),
                               v_text(verb_text(verb)), v_int(group_row), v_text(object),
                               v_text(detail)));
    return err < 0 ? desk_failed(err) : OUT_OK;
}

enum outcome desk_end(struct desk *d, const char *sql, int64_t row, int64_t of, enum outcome none)
{
    int ended = store_run(d->store, sql, VALUES(v_int(row), v_int(of), v_int(d->now_s)));

    return ended == 1 ? OUT_OK : ended < 0 ? desk_failed(ended) : none;
}

/* Bytes of the UTF-8 character at p, 0 when malformed (RFC 3629) or a control character. */
static size_t character_len(const unsigned char *p)
{
    if (p[0] < 0x80)
        return (p[0] >= 0x20 && p[0] != 0x7f) || p[0] == '\n' || p[0] == '\t' ? 1 : 0;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    uint32_t code = p[0] & (0x7fu >> len);

    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    bool overlong = (len == 3 && code < 0x800) || (len == 4 && code < 0x10000);
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    bool bidi = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    bool control = code < 0xa0;
    return overlong || surrogate || bidi || control || code > 0x10ffff ? 0 : len;
}

bool desk_text_valid(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    if (strlen(text) > REASON_MAX)
        return false;
    while (*p) {
        size_t len = character_len(p);
        if (!len)
            return false;
        p += len;
    }
    return true;
}
