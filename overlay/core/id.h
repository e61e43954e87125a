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

int id_cmp(const struct id *a, const struct id *b); /* as unsigned integers: <0, 0, >0 */
bool id_eq(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *a);
struct id id_add(const struct id *a, const struct id *b);
/* Clockwise distance from a to b: b - a modulo 2^160. */
struct id id_sub(const struct id *b, const struct id *a);
/* The shorter way round between a and b. */
struct id id_distance(const struct id *a, const struct id *b);
/* x is in the clockwise open interval (a, b); with a == b: everything but a. */
bool id_between(const struct id *a, const struct id *x, const struct id *b);
/* a is strictly closer to key than b is, the shorter way round; at equal distance the smaller id. */
bool id_closer(const struct id *key, const struct id *a, const struct id *b);
/* Fraction of the ring, 0 <= f < 1, for estimates; and back (f is taken modulo 1). */
double id_fraction(const struct id *distance);
struct id id_from_fraction(double f);
/* The point num/den of the way round from a: a + 2^160 * num / den; den in 1..255, num < den. */
struct id id_point(const struct id *a, unsigned num, unsigned den);

/* 40 lower-case hex digits and NUL; returns out. */
char *id_text(const struct id *id, char out[ID_TEXT_SIZE]);
/* The first 8 digits, for logs only. */
char *id_short(const struct id *id, char out[ID_SHORT_SIZE]);
/* Exactly 40 hex digits of either case. */
bool id_parse(struct id *out, const char *text);

/* Bytes to hex and back, for everything else; out has 2*len+1 bytes. unhex wants exactly 2*len digits. */
char *hex_text(const void *bytes, size_t len, char *out);
bool hex_parse(void *out, size_t len, const char *text);

#endif
