// link: peal_dht_alone
/* What a holder keeps, for how long, and who has to go when there is no room. */
#include "dht/store.h"
#include "tests/unit/cm.h"

#include <string.h>

enum { MEMORY = 64 * 1024 };

static struct env env = {.now_us = SEC(100)};
static struct creds creds;
static struct store store;
static struct entry *standing;
static struct id loser;

static struct id id_of(unsigned n)
{
    struct bytes part = {&n, sizeof(n)};

    return id_hash(&part, 1);
}

/* Unsigned: the store trusts creds_judge, which comes before it. */
static struct record record_of(uint8_t kind, unsigned key, unsigned owner, uint32_t sequence,
                               size_t len)
{
    static const uint8_t value[DHT_VALUE_MAX];
    struct record rec = {.kind = kind, .len = (uint16_t)len, .epoch = 1, .value = value};

    rec.key = id_of(key);
    rec.owner = rec.writer = id_of(owner);
    rec.sequence = sequence;
    rec.duration_s = 3600;
    memcpy(rec.signature, rec.owner.b, ID_LEN);
    put_u32(rec.signature + 40, sequence);
    return rec;
}

static enum store_verdict put(const struct record *rec)
{
    return store_put(&store, rec, NULL, 3600, 0, env.now_us, &standing, &loser);
}

static enum store_verdict put_new(uint8_t kind, unsigned key, unsigned owner, uint32_t sequence,
                                  size_t len)
{
    struct record rec = record_of(kind, key, owner, sequence, len);

    return put(&rec);
}

static void the_newest_of_an_owner_is_kept(void **state)
{
    struct id key = id_of(1), owner = id_of(2);

    assert_int_equal(put_new(RECORD_PUT, 1, 2, 5, 10), STORE_NEW);
    assert_int_equal(put_new(RECORD_PUT, 1, 2, 5, 10), STORE_SAME);
    assert_int_equal(put_new(RECORD_PUT, 1, 2, 4, 10), STORE_OLDER);
    assert_int_equal(standing->rec.sequence, 5);
    assert_int_equal(put_new(RECORD_PUT, 1, 2, 6, 20), STORE_NEW);
    assert_int_equal(store.count, 1);
    assert_int_equal(store_find(&store, &key, &owner)->rec.len, 20);
    assert_int_equal(put_new(RECORD_PUT | RECORD_REMOVED, 1, 2, 7, 0), STORE_NEW);
    assert_int_equal(put_new(RECORD_PUT, 1, 2, 6, 20), STORE_OLDER);
    assert_int_equal(store.count, 1);
    assert_int_equal(store.live, 0);
    assert_int_equal(put_new(RECORD_PUT, 1, 2, 8, 20), STORE_NEW);
    assert_int_equal(store.live, 1);
}

static void one_owner_of_a_created_key_stands(void **state)
{
    unsigned low = 2, high = 3;
    struct record a = record_of(RECORD_CREATE, 1, low, 1, 10);
    struct record b = record_of(RECORD_CREATE, 1, high, 1, 10);

    if (!creds_wins(&creds, &a, NULL, &b, NULL)) {
        low = 3;
        high = 2;
    }
    assert_int_equal(put_new(RECORD_CREATE, 1, high, 1, 10), STORE_NEW);
    assert_true(id_is_zero(&loser));
    assert_int_equal(put_new(RECORD_CREATE, 1, low, 1, 10), STORE_NEW);
    assert_true(id_eq(&loser, &(struct id[]){id_of(high)}[0]));
    assert_int_equal(store.count, 1);
    assert_int_equal(put_new(RECORD_CREATE, 1, high, 9, 10), STORE_TAKEN);
    assert_true(id_eq(&standing->rec.owner, &(struct id[]){id_of(low)}[0]));
    /* Its tombstone does not stand in the way. */
    assert_int_equal(put_new(RECORD_CREATE | RECORD_REMOVED, 1, low, 2, 0), STORE_NEW);
    assert_int_equal(put_new(RECORD_CREATE, 1, high, 9, 10), STORE_NEW);
    assert_true(id_is_zero(&loser));
    assert_int_equal(put_new(RECORD_CREATE, 1, low, 1, 10), STORE_OLDER);
}

static void time_only_runs_down(void **state)
{
    struct record rec = record_of(RECORD_PUT, 1, 2, 1, 10);
    struct id key;

    rec.duration_s = 100;
    assert_int_equal(store_put(&store, &rec, NULL, 5000, 0, env.now_us, &standing, &loser),
                     STORE_NEW);
    assert_int_equal(entry_remaining_s(standing, env.now_us), 100);
    assert_int_equal(entry_remaining_s(standing, env.now_us + 1), 99);
    assert_int_equal(
        store_put(&store, &rec, NULL, 5000, 0, env.now_us + SEC(50), &standing, &loser),
        STORE_SAME);
    assert_int_equal(entry_remaining_s(standing, env.now_us + SEC(50)), 50);
    assert_false(entry_live(standing, env.now_us + SEC(100)));
    assert_int_equal(store_deadline(&store), env.now_us + SEC(100));
    assert_false(store_expire(&store, env.now_us + SEC(100) - 1, &key));
    assert_true(store_expire(&store, env.now_us + SEC(100), &key));
    assert_true(id_eq(&key, &rec.key));
    assert_int_equal(store.count, 0);
    assert_int_equal(store.bytes, 0);
}

static void a_list_holds_64_values(void **state)
{
    for (unsigned owner = 0; owner < DHT_VALUES_MAX; owner++)
        assert_int_equal(put_new(RECORD_PUT, 1, owner, 1, 10), STORE_NEW);
    assert_int_equal(put_new(RECORD_PUT, 1, 1000, 1, 10), STORE_REFUSED);
    assert_int_equal(put_new(RECORD_PUT, 1, 7, 2, 10), STORE_NEW);
    assert_int_equal(put_new(RECORD_PUT, 2, 1000, 1, 10), STORE_NEW);
    assert_int_equal(put_new(RECORD_PUT | RECORD_REMOVED, 1, 7, 3, 0), STORE_NEW);
    assert_int_equal(put_new(RECORD_PUT, 1, 1000, 1, 10), STORE_NEW);
}

static void tombstones_of_a_key_are_bounded(void **state)
{
    for (unsigned owner = 0; owner < 3 * STORE_TOMBSTONES_MAX; owner++) {
        struct record rec = record_of(RECORD_PUT | RECORD_REMOVED, 1, owner, 1, 0);

        assert_int_equal(
            store_put(&store, &rec, NULL, 100 + owner, 0, env.now_us, &standing, &loser),
            STORE_NEW);
    }
    assert_int_equal(store.count, STORE_TOMBSTONES_MAX);
    for (size_t i = 0; i < store.count; i++) /* the last ones: those with the most time left */
        assert_true(entry_remaining_s(store.v[i], env.now_us) >= 100 + 2 * STORE_TOMBSTONES_MAX);
}

static void one_writer_gets_a_quarter_of_the_memory(void **state)
{
    unsigned n = 0;

    while (put_new(RECORD_CREATE, n, 1, 1, 100) == STORE_NEW)
        n++;
    assert_true(store.bytes <= MEMORY / STORE_WRITER_SHARE);
    assert_true(store.bytes > MEMORY / STORE_WRITER_SHARE - 1000);
    assert_int_equal(put_new(RECORD_CREATE, n, 2, 1, 100), STORE_NEW);
    assert_int_equal(put_new(RECORD_CREATE, 0, 1, 2, 100), STORE_NEW); /* its renewals go on */
}

static void when_all_is_full_the_greatest_writer_makes_room(void **state)
{
    unsigned key = 0;

    for (unsigned writer = 1; writer <= 4; writer++)
        while (put_new(RECORD_CREATE, key, writer, 1, 900) == STORE_NEW)
            key++;
    for (unsigned n = 0; n < 30; n++) {
        assert_int_equal(put_new(RECORD_CREATE, 100000 + n, 10 + n, 1, 900), STORE_NEW);
        assert_true(store.bytes <= MEMORY);
    }
    for (unsigned n = 0; n < 30; n++) { /* the small ones were not the victims */
        struct id at = id_of(100000 + n);

        assert_non_null(store_standing(&store, &at));
    }
}

/* Everybody writes under keys of his own making: only where it came from counts. */
static void in_public_the_prefix_that_holds_most_makes_room(void **state)
{
    enum { FLOODER = 1, FLOOD = 1000 };
    unsigned key = 0, writer = 100;
    size_t floods = 0, others = 0;

    store.by_prefix = true;
    for (; key < FLOOD; key++, writer++) {
        struct record rec = record_of(RECORD_PUT, key, writer, 1, 200);

        (void)store_put(&store, &rec, NULL, 3600, FLOODER, env.now_us, &standing, &loser);
    }
    assert_true(store.bytes <= MEMORY && store.bytes > MEMORY - 1000); /* nobody else wants it */
    for (unsigned n = 0; n < 40; n++, key++, writer++) {
        struct record rec = record_of(RECORD_PUT, key, writer, 1, 200);

        assert_int_equal(store_put(&store, &rec, NULL, 60, 2 + n, env.now_us, &standing, &loser),
                         STORE_NEW);
        assert_true(store.bytes <= MEMORY);
        rec = record_of(RECORD_PUT, FLOOD + 1000 + n, writer + 1000, 1, 200);
        assert_int_equal(
            store_put(&store, &rec, NULL, 3600, FLOODER, env.now_us, &standing, &loser),
            STORE_REFUSED);
    }
    for (size_t i = 0; i < store.count; i++) {
        floods += store.v[i]->prefix == FLOODER;
        others += store.v[i]->prefix != FLOODER;
    }
    assert_int_equal(others, 40);
    assert_true(floods > 0);
}

static void a_promise_lasts_ten_seconds(void **state)
{
    struct id key = id_of(1), a = id_of(2), b = id_of(3);
    usec now_us = env.now_us;

    assert_int_equal(store_promise(&store, &key, &a, now_us), 0);
    assert_int_equal(store_promise(&store, &key, &a, now_us), 0);
    assert_int_equal(store_promise(&store, &key, &b, now_us), -ERR_BAD_STATE);
    assert_true(store_promised(&store, &key, &a, now_us + SEC(10) - 1));
    assert_false(store_promised(&store, &key, &a, now_us + SEC(10)));
    assert_int_equal(store_promise(&store, &key, &b, now_us + SEC(10)), 0);
    store_release(&store, &key, &a); /* not his any more */
    assert_int_equal(store_promise(&store, &key, &a, now_us + SEC(10)), -ERR_BAD_STATE);
    store_release(&store, &key, &b);
    assert_int_equal(store_promise(&store, &key, &a, now_us + SEC(10)), 0);
    assert_null(store_standing(&store, &key)); /* and nobody sees it */
    for (unsigned n = 0; n < 2 * STORE_PROMISES_MAX; n++) {
        struct id other = id_of(100 + n);

        (void)!store_promise(&store, &other, &b, now_us + SEC(10));
    }
    assert_int_equal(store.promise_count, 1 + STORE_PROMISES_OWNER);
    for (unsigned n = 0; n < 2 * STORE_PROMISES_MAX; n++) {
        struct id other = id_of(100000 + n), owner = id_of(200000 + n);

        (void)!store_promise(&store, &other, &owner, now_us + SEC(10));
    }
    assert_int_equal(store.promise_count, STORE_PROMISES_MAX);
}

static void a_range_holds_the_keys_with_a_point_in_it(void **state)
{
    for (unsigned n = 0; n < 2000; n++) {
        struct id key = id_of(n), lo = id_of(10000 + n), hi = id_of(20000 + n);
        struct id width = id_sub(&hi, &lo);
        struct arcs arcs;
        bool want = false;

        if (n % 3 > 0) { /* mostly narrow ones */
            memset(width.b, 0, n % 3);
            hi = id_add(&lo, &width);
        }
        for (unsigned i = 0; i < DHT_POINTS; i++) {
            struct id point = id_point(&key, i, DHT_POINTS);
            struct id at = id_sub(&point, &lo);

            width = id_sub(&hi, &lo);
            want |= id_cmp(&at, &width) < 0;
        }
        arcs = arcs_of(&lo, &hi);
        assert_int_equal(arcs_have(&arcs, &key), want);
        arcs = arcs_of(&lo, &lo);
        assert_true(arcs_have(&arcs, &key));
    }
}

static void digests_of_two_ranges_add_up(void **state)
{
    uint32_t count, left, right;
    uint64_t sum, left_sum, right_sum;
    struct id lo = {{0}}, middle = id_point(&lo, 1, 20), hi = id_point(&lo, 1, 10);

    for (unsigned n = 0; n < 200; n++)
        (void)put_new(RECORD_CREATE, n, n, 1, 0);
    store_digest(&store, &lo, &hi, &count, &sum);
    store_digest(&store, &lo, &middle, &left, &left_sum);
    store_digest(&store, &middle, &hi, &right, &right_sum);
    assert_true(count > 0);
    assert_int_equal(left + right, count);
    assert_true((left_sum ^ right_sum) == sum);
}

static int fresh(void **state)
{
    static const struct dht_host host;
    struct dht_config config = {.memory_max = 0};

    creds_init(&creds, &config, &host, NULL, &env);
    store_init(&store, &creds, MEMORY, false);
    return 0;
}

static int done(void **state)
{
    store_clear(&store);
    creds_clear(&creds);
    return 0;
}

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, fresh, done)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(the_newest_of_an_owner_is_kept),
        STORE_TEST(one_owner_of_a_created_key_stands),
        STORE_TEST(time_only_runs_down),
        STORE_TEST(a_list_holds_64_values),
        STORE_TEST(tombstones_of_a_key_are_bounded),
        STORE_TEST(one_writer_gets_a_quarter_of_the_memory),
        STORE_TEST(when_all_is_full_the_greatest_writer_makes_room),
        STORE_TEST(in_public_the_prefix_that_holds_most_makes_room),
        STORE_TEST(a_promise_lasts_ten_seconds),
        STORE_TEST(a_range_holds_the_keys_with_a_point_in_it),
        STORE_TEST(digests_of_two_ranges_add_up),
    };

    CHECK(crypto_start() == 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
