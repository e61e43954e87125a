#include "overlay/core/id.h"

#include "overlay/core/err.h"

#include <string.h>

struct id id_add(const struct id *a, const struct id *b)
{
    struct id sum;
    unsigned carry = 0;

    for (int i = ID_LEN - 1; i >= 0; i--) {
        carry += (unsigned)a->b[i] + b->b[i];
        sum.b[i] = (uint8_t)carry;
        carry >>= 8;
    }
    return sum;
}

bool id_closer(const struct id *key, const struct id *a, const struct id *b)
{
    struct id from_a = id_distance(key, a);
    struct id from_b = id_distance(key, b);
    int order = id_cmp(&from_a, &from_b);

    return order != 0 ? order < 0 : id_cmp(a, b) < 0;
}

static const double fraction_unit = (double)(UINT64_C(1) << ID_FRACTION_BITS);

struct id id_from_fraction(double f)
{
    struct id id = {{0}};
    uint64_t top;

    /* Doubles of 2^53 and more are whole numbers; the negated comparison also catches NaN. */
    if (!(f > -fraction_unit && f < fraction_unit))
        return id;
    f -= (double)(int64_t)f;
    if (f < 0)
        f += 1;
    top = (uint64_t)(f * fraction_unit) << (64 - ID_FRACTION_BITS); /* f == 1 after rounding: 0 */
    for (int i = 7; i >= 0; i--, top >>= 8)
        id.b[i] = (uint8_t)top;
    return id;
}

struct id id_point(const struct id *a, unsigned num, unsigned den)
{
    struct id step;
    unsigned rest = num;

    CHECK(den >= 1 && den <= 255 && num < den);
    for (int i = 0; i < ID_LEN; i++) { /* long division, one base-256 digit at a time */
        rest <<= 8;
        step.b[i] = (uint8_t)(rest / den);
        rest %= den;
    }
    return id_add(a, &step);
}

char *id_text(const struct id *id, char out[ID_TEXT_SIZE])
{
    return hex_text(id->b, ID_LEN, out);
}

char *id_short(const struct id *id, char out[ID_SHORT_SIZE])
{
    return hex_text(id->b, (ID_SHORT_SIZE - 1) / 2, out);
}

bool id_parse(struct id *out, const char *text)
{
    return hex_parse(out->b, ID_LEN, text);
}

char *hex_text(const void *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = bytes;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = '\0';
    return out;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_parse(void *out, size_t len, const char *text)
{
    uint8_t *p = out;

    memset(out, 0, len);
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);

        if (low < 0) {
            memset(out, 0, len);
            return false;
        }
        p[i] = (uint8_t)(high << 4 | low);
    }
    if (text[2 * len] != '\0') {
        memset(out, 0, len);
        return false;
    }
    return true;
}
