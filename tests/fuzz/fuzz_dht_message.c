// link: peal_dht_alone
/*
 * A member of a ring of eight under hostile messages from the others, with leases, operations,
 * watches and hand-overs of its own under way. The input is a list of chunks, each led by 3 bytes:
 * what happens (0: so many milliseconds pass, 1: the ring changes, else a message, and from whom),
 * and in 2 bytes how many, or how long it is. Random ids are small numbers, so that answers can be
 * guessed.
 */
#include "dht/dht.h"

#include <stdlib.h>
#include <string.h>

enum { NODES = 8 };

struct overlay {
    struct env env;
    struct id near[NODES];
    size_t count;
    uint8_t next_random;
    uint64_t sent;
};

static void fuzz_random(void *host, void *buf, size_t len)
{
    struct overlay *o = host;

    memset(buf, 0, len);
    ((uint8_t *)buf)[0] = ++o->next_random;
}

static void fuzz_log(void *host, enum log_level level, const char *line)
{
}

static int sent(struct overlay *o, const void *body, size_t len)
{
    CHECK(len > 0 && len <= OVERLAY_BODY_MAX && body != NULL);
    CHECK(++o->sent < 100000);
    return 0;
}

int overlay_route(struct overlay *o, const struct id *key, enum overlay_mode mode, uint8_t proto,
                  const void *body, size_t len)
{
    return sent(o, body, len);
}

int overlay_route_anew(struct overlay *o, const struct id *key, uint8_t proto, const void *body,
                       size_t len)
{
    return sent(o, body, len);
}

int overlay_pass(struct overlay *o, const struct overlay_from *from, const struct id *node,
                 uint8_t proto, const void *body, size_t len)
{
    return sent(o, body, len);
}

int overlay_send(struct overlay *o, const struct id *node, uint8_t proto, const void *body,
                 size_t len)
{
    return sent(o, body, len);
}

int overlay_answer(struct overlay *o, const struct overlay_from *to, uint8_t proto,
                   const void *body, size_t len)
{
    return sent(o, body, len);
}

enum overlay_state overlay_state(const struct overlay *o)
{
    return OVERLAY_MEMBER;
}

static size_t near(const struct overlay *o, struct id *out)
{
    size_t n = o->count < OVERLAY_NEAR ? o->count : OVERLAY_NEAR;

    memcpy(out, o->near, n * sizeof(*out));
    return n;
}

size_t overlay_near_left(const struct overlay *o, struct id out[OVERLAY_NEAR])
{
    return near(o, out);
}

size_t overlay_near_right(const struct overlay *o, struct id out[OVERLAY_NEAR])
{
    return near(o, out);
}

static void on_lost(void *ctx, const struct id *key, const struct id *winner)
{
}

static void on_done(void *ctx, uint64_t token, const struct dht_result *r)
{
    CHECK(r->count <= DHT_VALUES_MAX);
    for (size_t i = 0; i < r->count; i++)
        CHECK(r->values[i].len <= DHT_VALUE_MAX);
}

static const struct dht_host host = {.lost = on_lost};

static struct dht *start(struct overlay *o)
{
    struct dht_config config = {.memory_max = 16384};
    struct secret seed = {{1}};
    struct id key = {{0x10}}, other = {{0x20}};
    struct dht *d;

    memset(config.overlay.b, 0x77, ID_LEN);
    sign_keys(&config.pub, &config.sec, &seed);
    config.node = node_id_self(&config.pub);
    d = dht_new(&config, &o->env, o, &host, NULL);
    CHECK(d != NULL);
    CHECK(dht_create(d, &key, NULL, "a", 1, 3600, DHT_KEEP, on_done, NULL, 1) == 0);
    CHECK(dht_put(d, &other, NULL, "b", 1, 3600, DHT_KEEP, on_done, NULL, 2) == 0);
    CHECK(dht_get(d, &other, DHT_MAJORITY, on_done, NULL, 3) == 0);
    CHECK(dht_watch(d, &key, on_done, NULL, 4) == 0);
    dht_tick(d); /* a ring of one: it is told what it asked itself by the fuzzer, if at all */
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct overlay o = {
        .env = {.now_us = SEC(1000), .host = &o, .random = fuzz_random, .log = fuzz_log}};
    struct dht *d;

    CHECK(crypto_start() == 0);
    for (unsigned i = 0; i < NODES; i++)
        memset(o.near[i].b, (int)(32 * i + 5), ID_LEN);
    d = start(&o);
    while (size >= 3) {
        uint8_t what = data[0];
        size_t len = (size_t)data[1] << 8 | data[2];

        data += 3;
        size -= 3;
        if (what == 0) {
            o.env.now_us += MSEC(len);
        } else if (what == 1) {
            o.count = len % NODES;
            dht_ring_changed(d);
        } else {
            struct overlay_from from = {.node = o.near[what % NODES], .direct = true};

            len = len < size ? len : size;
            dht_message(d, &from, data, len);
            data += len;
            size -= len;
        }
        if (dht_deadline(d) <= o.env.now_us)
            dht_tick(d);
    }
    dht_leave(d);
    dht_tick(d);
    dht_free(d);
    return 0;
}
