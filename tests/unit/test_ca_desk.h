/*
 * test_ca_desk.h - what unit tests of ca-web stand on: a data directory of their own, a desk in any
 * actor's name, and a clock that they set.
 */
#ifndef PEAL_TEST_CA_DESK_H
#define PEAL_TEST_CA_DESK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ca-web/blob.h"
#include "ca-web/enrol.h"
#include "ca-web/home.h"
#include "ca-web/removal.h"

enum { TEST_NOW_S = 1800000000 };

struct bench {
    char dir[64];
    struct home home;
    struct desk desk; /* the console's */
};

static inline void bench_open(struct bench *b)
{
    char why[1400];
    const char *reason = NULL;

    assert_int_equal(crypto_start(), 0);
    *b = (struct bench){0};
    /* Memory where there is some: what syncs thousands of commits to a disk is slow. */
    strcpy(b->dir,
           access("/dev/shm", W_OK) ? "/tmp/peal-test-ca-XXXXXX" : "/dev/shm/peal-test-ca-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    assert_int_equal(home_open(&b->home, b->dir, NULL, why, sizeof why), 0);
    b->desk = (struct desk){.store = home_store(&b->home, &reason),
                            .vault = b->home.vault,
                            .now_s = TEST_NOW_S,
                            .actor = {.kind = ACTOR_CONSOLE}};
    assert_non_null(b->desk.store);
}

static inline void bench_close(struct bench *b)
{
    char command[128];

    store_close(b->desk.store);
    home_close(&b->home);
    snprintf(command, sizeof command, "rm -rf %s", b->dir);
    assert_int_equal(system(command), 0);
}

static inline struct account bench_user(struct bench *b, const char *name)
{
    struct account a;

    assert_int_equal(account_add(&b->desk, VERB_USER_ADD, name, "u@example.org", NULL, false, &a),
                     OUT_OK);
    return a;
}

static inline struct group bench_group(struct bench *b, const char *name,
                                       const struct account *owner)
{
    struct group g;
    const struct group_wish wish = {.name = name};

    assert_int_equal(group_add(&b->desk, &wish, owner, &g), OUT_OK);
    return g;
}

static inline void bench_member(struct bench *b, const struct group *g, const struct account *user)
{
    assert_int_equal(member_request(&b->desk, g, user, ""), OUT_OK);
    assert_int_equal(member_approve(&b->desk, g, user, ""), OUT_OK);
}

/* The same desk in a user's name. */
static inline struct desk bench_as(const struct bench *b, const struct account *user)
{
    struct desk d = b->desk;

    d.actor = (struct actor){.kind = ACTOR_USER, .row = user->row, .address = "192.0.2.9"};
    strcpy(d.actor.name, user->name);
    return d;
}

/* The secret of a new blob. */
static inline void bench_secret(struct bench *b, const struct group *g, const struct account *user,
                                char out[64])
{
    static const struct server server = {.url = "https://ca.example:8443", .pins = "AAAA"};
    struct text blob = {0};

    assert_int_equal(blob_make(&b->desk, g, user, &server, &blob), OUT_OK);
    const char *at = strstr(blob.p, "\"secret\": \"");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\"secret\": \"%63[^\"]\"", out), 1);
    text_clear(&blob);
}

/* A request of the machine number n. */
static inline void bench_csr(unsigned n, char pem[2048])
{
    struct sign_public public;
    struct sign_secret secret;
    struct secret seed = {{(uint8_t)n, (uint8_t)(n >> 8), 7}};

    sign_keys(&public, &secret, &seed);
    assert_true(csr_make(&secret, "ws", pem, 2048) >= 0);
}

/* As a request over HTTP does it: a desk that nobody is logged in at. */
static inline enum outcome bench_enrol(struct bench *b, const char *group, const char *user,
                                       const char *secret, unsigned machine, struct issued *out)
{
    struct desk d = b->desk;
    char csr[2048];

    d.actor = (struct actor){.kind = ACTOR_STRANGER};
    bench_csr(machine, csr);
    return enrol(&d, group, user, secret, csr, out);
}

static inline enum outcome bench_renew(struct bench *b, const char *group, unsigned machine,
                                       struct issued *out)
{
    struct desk d = b->desk;
    char csr[2048];

    d.actor = (struct actor){.kind = ACTOR_STRANGER};
    bench_csr(machine, csr);
    return enrol_renew(&d, group, csr, out);
}

#endif
