/*
 * limit.h - rate limits: token buckets by name and by address, in memory.
 *
 * A bucket holds `burst` attempts and gets one back every `refill_s`. Addresses count as what one
 * customer has: a whole IPv4 address, an IPv6 /64. The table is LIMIT_SETS
 * sets of LIMIT_WAYS buckets under a keyed hash; the victim is the set's fullest bucket, that is
 * the one that has been blamed least, so somebody with many addresses cannot wash an empty one out
 * cheaply. Any thread.
 */
#ifndef PEAL_CA_LIMIT_H
#define PEAL_CA_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

enum { LIMIT_SETS = 1024, LIMIT_WAYS = 8 };

enum limit_kind {
    LIMIT_LOGIN_ACCOUNT,
    LIMIT_LOGIN_ADDRESS,
    LIMIT_REGISTER_ADDRESS,
    LIMIT_ENROLL_ADDRESS, /* refused enrolments and renewals */
    LIMIT_TOKEN_ADDRESS,  /* wrong API tokens */
    LIMIT_KINDS,
};

struct limit;
struct limit *limit_new(void); /* NULL: out of memory */
void limit_free(struct limit *l);

/* 0 when an attempt is allowed, else seconds until it is. Takes nothing. now_s never goes back. */
int limit_check(struct limit *l, enum limit_kind kind, const char *who, int64_t now_s);
/* Takes one attempt. */
void limit_take(struct limit *l, enum limit_kind kind, const char *who, int64_t now_s);

/* What an address is counted as: itself, or its /64. */
enum { LIMIT_WHO_SIZE = 64 };
void limit_address(char out[LIMIT_WHO_SIZE], const char *address);

#endif
