#include "tests/sim/random.h"

#include <math.h>

#include "overlay/core/err.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

struct random random_new(uint64_t seed, enum random_purpose purpose, uint64_t index)
{
    uint64_t state = seed;
    struct random r;

    state = splitmix(&state) ^ (uint64_t)purpose << 56;
    state = splitmix(&state) ^ index;
    for (size_t i = 0; i < ARRAY_LEN(r.s); i++)
        r.s[i] = splitmix(&state);
    return r;
}

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t random_u64(struct random *r)
{
    uint64_t result = rotate(r->s[1] * 5, 7) * 9, t = r->s[1] << 17;

    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotate(r->s[3], 45);
    return result;
}

uint64_t random_below(struct random *r, uint64_t below)
{
    uint64_t v, unbiased;

    CHECK(below > 0);
    unbiased = UINT64_MAX - UINT64_MAX % below;
    do {
        v = random_u64(r);
    } while (v >= unbiased);
    return v % below;
}

double random_unit(struct random *r)
{
    return (double)(random_u64(r) >> 11) * 0x1p-53;
}

bool random_chance(struct random *r, double probability)
{
    return probability > 0 && random_unit(r) < probability;
}

void random_bytes(struct random *r, void *out, size_t len)
{
    uint8_t *p = out;

    while (len > 0) {
        uint64_t v = random_u64(r);

        for (int i = 0; i < 8 && len > 0; i++, len--, v >>= 8)
            *p++ = (uint8_t)v;
    }
}

double random_exponential(struct random *r, double mean)
{
    return -mean * log1p(-random_unit(r));
}
