// link: peal_dht_alone
/*
 * Random rings from a seed: members join, leave, crash and come back, messages are lost, and all
 * the while they claim, renew, remove and look up a few contended keys. Checked after every event:
 * no key is kept by two living members. Checked in the end: who keeps a key is who everybody finds,
 * and every copy is where it should be. With arguments A B it runs the seeds A to B.
 */
#include "tests/unit/dht_check.h"

enum { KEYS = 12, SEEDS = 40 };

struct swarm {
    struct world w;
    uint64_t random;
    usec crash_us; /* the next crash may be then: repair has had its time */
    unsigned conflicts;
};

static uint64_t below(struct swarm *s, uint64_t n)
{
    return world_mix(&s->random) % n;
}

static struct overlay *any_node(struct swarm *s)
{
    struct overlay *o;

    do
        o = s->w.nodes[below(s, s->w.count)];
    while (!o->on);
    return o;
}

static size_t living(const struct world *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->count; i++)
        n += w->nodes[i]->on;
    return n;
}

static unsigned keepers(const struct world *w, const struct id *key, struct overlay **keeper)
{
    unsigned n = 0;
    struct dht_value v;

    for (size_t i = 0; i < w->count; i++)
        if (w->nodes[i]->on && dht_kept(w->nodes[i]->dht, key, &v)) {
            *keeper = w->nodes[i];
            n++;
        }
    return n;
}

static void no_key_has_two_keepers(struct world *w)
{
    for (unsigned k = 0; k < KEYS; k++) {
        struct id key = world_key(k);
        struct overlay *keeper;

        if (keepers(w, &key, &keeper) > 1) {
            fprintf(stderr, "key %u has two keepers at %.6f s\n", k, (double)w->now_us / 1e6);
            abort();
        }
    }
}

static void claim_or_so(struct swarm *s)
{
    struct overlay *o = any_node(s);
    struct id key = world_key((unsigned)below(s, KEYS));
    int rc;

    switch (below(s, 4)) {
    case 0:
    case 1:
        rc = dht_create(o->dht, &key, NULL, "v", 1, 600, DHT_KEEP, world_done, o, 0);
        break;
    case 2:
        rc = dht_get(o->dht, &key, below(s, 2) ? DHT_ANY : DHT_MAJORITY, world_done, o, 0);
        break;
    default:
        rc = dht_remove(o->dht, &key, NULL, NULL, 0);
        break;
    }
    assert_true(rc == 0 || rc == -ERR_NOT_FOUND || rc == -ERR_BAD_STATE);
}

static void leave(struct swarm *s)
{
    struct overlay *o = any_node(s);

    dht_leave(o->dht);
    while (!dht_left(o->dht))
        world_run(&s->w, MSEC(10));
    world_gone(o);
}

static void churn(struct swarm *s, size_t most)
{
    struct world *w = &s->w;
    size_t n = living(w);

    switch (below(s, 3)) {
    case 0:
        if (n < most && w->count < WORLD_MAX - 2)
            world_add(w);
        break;
    case 1:
        if (n > 1 && w->count < WORLD_MAX - 2)
            leave(s);
        break;
    default:
        if (n > 1 && w->now_us >= s->crash_us) {
            struct overlay *o = any_node(s);

            world_crash(o);
            s->crash_us = w->now_us + w->notice_us + SEC(20);
            if (below(s, 2)) {
                world_run(w, below(s, SEC(15)));
                world_again(o);
            }
        }
    }
}

/* Everybody finds the keeper, and all copies are right. */
static void check_end(struct swarm *s)
{
    struct world *w = &s->w;

    for (unsigned k = 0; k < KEYS; k++) {
        struct id key = world_key(k);
        struct overlay *keeper = NULL, *asker = any_node(s);
        unsigned done = asker->done;

        if (keepers(w, &key, &keeper) == 0)
            continue;
        assert_int_equal(dht_get(asker->dht, &key, DHT_MAJORITY, world_done, asker, 0), 0);
        assert_true(world_run_until_done(w, asker, done + 1, SEC(30)));
        assert_int_equal(asker->status, DHT_OK);
        assert_true(id_eq(&asker->value.owner, &keeper->id));
    }
    for (unsigned i = 0; i < 10 && wrong_replicas(w) > 0; i++)
        world_run(w, SEC(2)); /* a renewal may be under way */
    assert_int_equal(wrong_replicas(w), 0);
}

/* Parts go on claiming; a minute after they meet again every key has one keeper. */
static void partition(struct swarm *s)
{
    struct world *w = &s->w;

    w->after_event = NULL;
    world_split(w, 2 + (unsigned)below(s, 3));
    for (unsigned i = 0; i < 60; i++) {
        claim_or_so(s);
        world_run(w, below(s, SEC(8)));
    }
    world_merge(w);
    world_run(w, SEC(60));
    w->after_event = no_key_has_two_keepers;
    no_key_has_two_keepers(w);
}

static void run_seed(uint64_t seed)
{
    struct swarm s = {.random = seed};
    struct world *w = &s.w;
    size_t most;
    bool churns, parts;

    world_init(w, seed);
    most = 2 + below(&s, 20);
    churns = below(&s, 4) > 0;
    parts = below(&s, 3) == 0;
    w->loss_percent = below(&s, 2) ? (unsigned)below(&s, 12) : 0;
    w->delay_max_us = MSEC(5) + below(&s, MSEC(150));
    world_grow(w, 1 + below(&s, most), below(&s, MSEC(400)));
    world_run(w, SEC(10));
    w->after_event = no_key_has_two_keepers;
    s.crash_us = w->now_us;
    for (unsigned i = 0; i < 150; i++) {
        claim_or_so(&s);
        world_run(w, below(&s, SEC(2)));
        if (churns && below(&s, 10) == 0)
            churn(&s, most);
        if (parts && i == 75)
            partition(&s);
    }
    w->loss_percent = 0;
    world_run(w, SEC(180));
    check_end(&s);
    world_clear(w);
}

static uint64_t first_seed = 1, last_seed = SEEDS;

static void every_seed_keeps_the_rules(void **state)
{
    for (uint64_t seed = first_seed; seed <= last_seed; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed); /* the last one repeats a failure */
        run_seed(seed);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(every_seed_keeps_the_rules)};

    if (argc == 3) {
        first_seed = strtoull(argv[1], NULL, 10);
        last_seed = strtoull(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
