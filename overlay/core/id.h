/*
 * id.h - 160-bit identifiers on the ring: node ids, DHT keys, group ids.
 *
 * The ring is the integers modulo 2^160, big-endian, growing clockwise ("right"). Ids are always
 * compared whole (design: "node ids are compared whole").
 */
#ifndef PEAL_CORE_ID_H
#define PEAL_CORE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ID_LEN = 20, ID_HEX_LEN = 40, ID_TEXT_SIZE = 41, ID_SHORT_SIZE = 9 };

struct id {
    uint8_t b[ID_LEN];
};

/* An id as a number, in three words: one routed message compares and subtracts some hundred ids at
 * each hop, so these few functions are here to be inlined. */
struct id_words {
    uint64_t high, middle;
    uint32_t low;
};

static inline uint32_t id_load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t id_load64(const uint8_t *p)
{
    return (uint64_t)id_load32(p) << 32 | id_load32(p + 4);
}

static inline void id_store32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline struct id_words id_words(const struct id *id)
{
    return (struct id_words){id_load64(id->b), id_load64(id->b + 8), id_load32(id->b + 16)};
}

static inline struct id id_of_words(struct id_words w)
{
    struct id id;

    id_store32(id.b, (uint32_t)(w.high >> 32));
    id_store32(id.b + 4, (uint32_t)w.high);
    id_store32(id.b + 8, (uint32_t)(w.middle >> 32));
    id_store32(id.b + 12, (uint32_t)w.middle);
    id_store32(id.b + 16, w.low);
    return id;
}

static inline int id_words_cmp(struct id_words a, struct id_words b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    if (a.middle != b.middle)
        return a.middle < b.middle ? -1 : 1;
    return a.low == b.low ? 0 : a.low < b.low ? -1 : 1;
}

static inline struct id_words id_words_sub(struct id_words b, struct id_words a)
{
    uint64_t borrow = b.low < a.low, middle = b.middle - a.middle;
    uint64_t borrow_high = (b.middle < a.middle) | (middle < borrow);

    return (struct id_words){b.high - a.high - borrow_high, middle - borrow, b.low - a.low};
}

/* As unsigned integers: <0, 0, >0. */
static inline int id_cmp(const struct id *a, const struct id *b)
{
    return id_words_cmp(id_words(a), id_words(b));
}

static inline bool id_eq(const struct id *a, const struct id *b)
{
    return id_cmp(a, b) == 0;
}

static inline bool id_words_is_zero(struct id_words a)
{
    return (a.high | a.middle | a.low) == 0;
}

static inline bool id_is_zero(const struct id *a)
{
    return id_words_is_zero(id_words(a));
}

struct id id_add(const struct id *a, const struct id *b);

/* Clockwise distance from a to b: b - a modulo 2^160. */
static inline struct id id_sub(const struct id *b, const struct id *a)
{
    return id_of_words(id_words_sub(id_words(b), id_words(a)));
}

/* The shorter way round between a and b. */
static inline struct id id_distance(const struct id *a, const struct id *b)
{
    struct id_words right = id_words_sub(id_words(b), id_words(a));
    struct id_words left = id_words_sub(id_words(a), id_words(b));

    return id_of_words(id_words_cmp(right, left) <= 0 ? right : left);
}

/* x is in the clockwise open interval (a, b); with a == b: everything but a. */
static inline bool id_between(const struct id *a, const struct id *x, const struct id *b)
{
    struct id_words zero = {0, 0, 0};
    struct id_words to_x = id_words_sub(id_words(x), id_words(a));
    struct id_words to_b = id_words_sub(id_words(b), id_words(a));

    if (id_words_cmp(to_x, zero) == 0)
        return false;
    return id_words_cmp(to_b, zero) == 0 || id_words_cmp(to_x, to_b) < 0;
}

/* a is strictly closer to key than b is, the shorter way round; at equal distance the smaller
 * id. */
bool id_closer(const struct id *key, const struct id *a, const struct id *b);
/* Fraction of the ring, 0 <= f < 1, for estimates; and back (f is taken modulo 1). A double holds
 * 53 bits: more would round up to 1. */
enum { ID_FRACTION_BITS = 53 };
static inline double id_words_fraction(struct id_words distance)
{
    return (double)(distance.high >> (64 - ID_FRACTION_BITS)) /
           (double)(UINT64_C(1) << ID_FRACTION_BITS);
}

static inline double id_fraction(const struct id *distance)
{
    return id_words_fraction(id_words(distance));
}

struct id id_from_fraction(double f);
/* The point num/den of the way round from a: a + 2^160 * num / den; den in 1..255, num < den. */
struct id id_point(const struct id *a, unsigned num, unsigned den);

/* 40 lower-case hex digits and NUL; returns out. */
char *id_text(const struct id *id, char out[ID_TEXT_SIZE]);
/* The first 8 digits, for logs only. */
char *id_short(const struct id *id, char out[ID_SHORT_SIZE]);
/* Exactly 40 hex digits of either case. */
bool id_parse(struct id *out, const char *text);

/* Bytes to hex and back, for everything else; out has 2*len+1 bytes. unhex wants exactly 2*len
 * digits. */
char *hex_text(const void *bytes, size_t len, char *out);
bool hex_parse(void *out, size_t len, const char *text);

#endif
