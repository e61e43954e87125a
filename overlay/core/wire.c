#include "overlay/core/wire.h"

#include <string.h>

struct reader reader_of(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    return (struct reader){.p = p, .end = len > 0 ? p + len : p};
}

/* The next len bytes, or NULL; after a failure always NULL. */
static const uint8_t *take(struct reader *r, size_t len)
{
    const uint8_t *p = r->p;

    if (r->failed || len > (size_t)(r->end - r->p)) {
        r->failed = true;
        return NULL;
    }
    if (len > 0)
        r->p += len;
    return p;
}

uint8_t read_u8(struct reader *r)
{
    const uint8_t *p = take(r, 1);

    return p != NULL ? p[0] : 0;
}

uint16_t read_u16(struct reader *r)
{
    const uint8_t *p = take(r, 2);

    return p != NULL ? get_u16(p) : 0;
}

uint32_t read_u32(struct reader *r)
{
    const uint8_t *p = take(r, 4);

    return p != NULL ? get_u32(p) : 0;
}

uint64_t read_u64(struct reader *r)
{
    const uint8_t *p = take(r, 8);

    return p != NULL ? get_u64(p) : 0;
}

const uint8_t *read_bytes(struct reader *r, size_t len)
{
    return take(r, len);
}

void read_copy(struct reader *r, void *out, size_t len)
{
    const uint8_t *p = take(r, len);

    if (len == 0)
        return;
    if (p != NULL)
        memcpy(out, p, len);
    else
        memset(out, 0, len);
}

struct id read_id(struct reader *r)
{
    struct id id;

    read_copy(r, id.b, ID_LEN);
    return id;
}

static size_t family_len(uint8_t family)
{
    return family == 4 ? 4 : family == 6 ? 16 : 0;
}

struct addr read_addr(struct reader *r)
{
    struct addr a = {.family = read_u8(r)};

    if (a.family != 0 && family_len(a.family) == 0)
        r->failed = true;
    read_copy(r, a.b, family_len(a.family));
    if (r->failed)
        a = (struct addr){.family = 0};
    return a;
}

struct endpoint read_endpoint(struct reader *r)
{
    struct endpoint e = {.addr = read_addr(r)};

    e.port = read_u16(r);
    if (r->failed)
        e = (struct endpoint){.port = 0};
    return e;
}

size_t reader_left(const struct reader *r)
{
    return r->failed ? 0 : (size_t)(r->end - r->p);
}

bool reader_done(const struct reader *r)
{
    return !r->failed && r->p == r->end;
}

struct writer writer_of(void *bytes, size_t size)
{
    uint8_t *p = bytes;

    return (struct writer){.start = p, .p = p, .end = size > 0 ? p + size : p};
}

/* Room for the next len bytes, or NULL; after a failure always NULL. */
static uint8_t *give(struct writer *w, size_t len)
{
    uint8_t *p = w->p;

    if (w->failed || len > (size_t)(w->end - w->p)) {
        w->failed = true;
        return NULL;
    }
    if (len > 0)
        w->p += len;
    return p;
}

void write_u8(struct writer *w, uint8_t v)
{
    uint8_t *p = give(w, 1);

    if (p != NULL)
        p[0] = v;
}

void write_u16(struct writer *w, uint16_t v)
{
    uint8_t *p = give(w, 2);

    if (p != NULL)
        put_u16(p, v);
}

void write_u32(struct writer *w, uint32_t v)
{
    uint8_t *p = give(w, 4);

    if (p != NULL)
        put_u32(p, v);
}

void write_u64(struct writer *w, uint64_t v)
{
    uint8_t *p = give(w, 8);

    if (p != NULL)
        put_u64(p, v);
}

void write_bytes(struct writer *w, const void *bytes, size_t len)
{
    uint8_t *p = give(w, len);

    if (p != NULL && len > 0)
        memcpy(p, bytes, len);
}

void write_id(struct writer *w, const struct id *id)
{
    write_bytes(w, id->b, ID_LEN);
}

void write_addr(struct writer *w, const struct addr *a)
{
    if (a->family != 0 && family_len(a->family) == 0)
        w->failed = true;
    write_u8(w, a->family);
    write_bytes(w, a->b, family_len(a->family));
}

void write_endpoint(struct writer *w, const struct endpoint *e)
{
    write_addr(w, &e->addr);
    write_u16(w, e->port);
}

size_t writer_len(const struct writer *w)
{
    return (size_t)(w->p - w->start);
}

size_t writer_left(const struct writer *w)
{
    return w->failed ? 0 : (size_t)(w->end - w->p);
}
