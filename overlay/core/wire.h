/*
 * wire.h - bounds-checked cursors over bytes. The first failure sticks: callers read a whole message
 * and ask once. Integers are big-endian. Reading past the end yields zeros and NULL, never a fault.
 */
#ifndef PEAL_CORE_WIRE_H
#define PEAL_CORE_WIRE_H

#include "overlay/core/addr.h"
#include "overlay/core/id.h"

struct reader {
    const uint8_t *p, *end;
    bool failed;
};

struct writer {
    uint8_t *start, *p, *end;
    bool failed;
};

struct reader reader_of(const void *bytes, size_t len);
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
/* Borrowed from the buffer; NULL when there are not that many (and len > 0). */
const uint8_t *read_bytes(struct reader *r, size_t len);
void read_copy(struct reader *r, void *out, size_t len); /* zeros on failure */
struct id read_id(struct reader *r);
/* 1 byte family (4, 6 or 0), then 4, 16 or 0 bytes; anything else fails. */
struct addr read_addr(struct reader *r);
struct endpoint read_endpoint(struct reader *r); /* addr, 2 bytes port */
size_t reader_left(const struct reader *r);
/* Nothing failed and nothing is left: what every message parser ends with. */
bool reader_done(const struct reader *r);

struct writer writer_of(void *bytes, size_t size);
void write_u8(struct writer *w, uint8_t v);
void write_u16(struct writer *w, uint16_t v);
void write_u32(struct writer *w, uint32_t v);
void write_u64(struct writer *w, uint64_t v);
void write_bytes(struct writer *w, const void *bytes, size_t len);
void write_id(struct writer *w, const struct id *id);
void write_addr(struct writer *w, const struct addr *a);
void write_endpoint(struct writer *w, const struct endpoint *e);
size_t writer_len(const struct writer *w); /* bytes written so far */
size_t writer_left(const struct writer *w);

static inline uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}
static inline void put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void put_u32(uint8_t *p, uint32_t v)
{
    put_u16(p, (uint16_t)(v >> 16));
    put_u16(p + 2, (uint16_t)v);
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
    put_u32(p, (uint32_t)(v >> 32));
    put_u32(p + 4, (uint32_t)v);
}

#endif
