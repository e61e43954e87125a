// link: peal_crypto Threads::Threads
#include "overlay/crypto/seal.c"
#include "tests/unit/aborts.h"
#include "tests/unit/cm.h"

#include <pthread.h>

enum { INDEX = 0x01020304, PAYLOAD_MAX = 1400 };

static const enum seal_alg algorithms[] = {SEAL_CHACHA20_POLY1305, SEAL_AES_256_GCM};

static struct seal_worker *worker;

static struct secret secret_of(uint8_t fill)
{
    struct secret s;

    memset(s.b, fill, sizeof s.b);
    return s;
}

/* The two ends of one direction. */
struct pair {
    struct seal_key *tx, *rx;
};

static struct pair pair_of(enum seal_alg alg, uint32_t window)
{
    struct secret s = secret_of((uint8_t)alg);
    struct pair p = {seal_key_new(alg, &s, INDEX, 0), seal_key_new(alg, &s, INDEX, window)};

    assert_non_null(p.tx);
    assert_non_null(p.rx);
    return p;
}

static void pair_free(struct pair p)
{
    seal_key_unref(p.tx);
    seal_key_unref(p.rx);
}

/* A sealed packet with a payload of `len` bytes of `fill`. */
static size_t seal_fill(struct seal_key *tx, uint8_t fill, uint8_t *pkt, size_t len)
{
    int whole;

    memset(pkt + PACKET_HEADER_LEN, fill, len);
    whole = seal_packet(worker, tx, PACKET_DATA, PACKET_FLAG_IP, pkt, len);
    assert_int_equal(whole, PACKET_HEADER_LEN + len + PACKET_TAG_LEN);
    return (size_t)whole;
}

static void the_header_is_the_drawing(void **state)
{
    uint8_t pkt[PACKET_HEADER_LEN + 4 + PACKET_TAG_LEN];

    for (size_t a = 0; a < ARRAY_LEN(algorithms); a++) {
        struct pair p = pair_of(algorithms[a], SEAL_WINDOW_DATA);

        seal_fill(p.tx, 1, pkt, 4);
        assert_memory_equal(pkt, "\x83\x01\0\0\x01\x02\x03\x04\0\0\0\0\0\0\0\0", 16);
        seal_fill(p.tx, 1, pkt, 4);
        assert_memory_equal(pkt + 8, "\0\0\0\0\0\0\0\1", 8);
        assert_int_equal(seal_key_counter(p.tx), 2);
        pair_free(p);
    }
}

static void what_was_sealed_opens_once(void **state)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 64, 1280, PAYLOAD_MAX};
    uint8_t pkt[PACKET_HEADER_LEN + PAYLOAD_MAX + PACKET_TAG_LEN], copy[sizeof pkt];

    for (size_t a = 0; a < ARRAY_LEN(algorithms); a++) {
        struct pair p = pair_of(algorithms[a], SEAL_WINDOW_DATA);

        for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
            size_t len = seal_fill(p.tx, (uint8_t)i, pkt, lengths[i]);

            memcpy(copy, pkt, len);
            assert_int_equal(open_packet(worker, p.rx, pkt, len), lengths[i]);
            for (size_t b = 0; b < lengths[i]; b++)
                assert_int_equal(pkt[PACKET_HEADER_LEN + b], i);
            assert_int_equal(open_packet(worker, p.rx, copy, len), -ERR_RANGE);
            assert_int_equal(seal_key_counter(p.rx), i + 1);
        }
        pair_free(p);
    }
}

static void every_flipped_bit_and_truncation_is_refused(void **state)
{
    enum { LEN = 40, WHOLE = PACKET_HEADER_LEN + LEN + PACKET_TAG_LEN };
    uint8_t pkt[WHOLE], copy[WHOLE];

    for (size_t a = 0; a < ARRAY_LEN(algorithms); a++) {
        struct pair p = pair_of(algorithms[a], SEAL_WINDOW_DATA);

        seal_fill(p.tx, 0x55, pkt, LEN);
        for (size_t bit = 0; bit < 8 * WHOLE; bit++) {
            memcpy(copy, pkt, WHOLE);
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_true(open_packet(worker, p.rx, copy, WHOLE) < 0);
        }
        for (size_t len = 0; len < WHOLE; len++) {
            memcpy(copy, pkt, len);
            assert_int_equal(open_packet(worker, p.rx, copy, len),
                             len < PACKET_HEADER_LEN + PACKET_TAG_LEN ? -ERR_FORMAT : -ERR_CRYPTO);
        }
        assert_int_equal(seal_key_counter(p.rx), 0); /* nothing of that touched the window */
        assert_int_equal(open_packet(worker, p.rx, pkt, WHOLE), LEN);
        pair_free(p);
    }
}

static void headers_that_are_not_ours_are_refused_by_reason(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        int error;
    } table[] = {
        {2, 1, -ERR_FORMAT},  {3, 1, -ERR_FORMAT},  {7, 0xff, -ERR_FORMAT},
        {8, 1, -ERR_RANGE},   {12, 16, -ERR_RANGE}, {12, 15, -ERR_CRYPTO},
        {15, 1, -ERR_CRYPTO}, {1, 2, -ERR_CRYPTO},  {0, PACKET_CONTROL, -ERR_CRYPTO},
    };
    uint8_t pkt[PACKET_HEADER_LEN + 8 + PACKET_TAG_LEN];
    struct pair p = pair_of(SEAL_AES_256_GCM, SEAL_WINDOW_CONTROL);

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        size_t len = seal_fill(p.tx, 1, pkt, 8);

        pkt[table[i].at] = table[i].value;
        assert_int_equal(open_packet(worker, p.rx, pkt, len), table[i].error);
    }
    pair_free(p);
}

static void packets_older_than_the_window_are_refused(void **state)
{
    static const uint32_t windows[] = {SEAL_WINDOW_CONTROL, SEAL_WINDOW_DATA};
    enum { LEN = 4, WHOLE = PACKET_HEADER_LEN + LEN + PACKET_TAG_LEN };

    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        struct pair p = pair_of(SEAL_CHACHA20_POLY1305, windows[i]);
        uint8_t first[WHOLE], second[WHOLE], last[WHOLE];

        seal_fill(p.tx, 1, first, LEN);
        seal_fill(p.tx, 2, second, LEN);
        for (uint32_t c = 2; c <= windows[i]; c++)
            seal_fill(p.tx, 3, last, LEN);
        assert_int_equal(open_packet(worker, p.rx, last, WHOLE), LEN);
        assert_int_equal(open_packet(worker, p.rx, second, WHOLE), LEN);
        assert_int_equal(open_packet(worker, p.rx, first, WHOLE), -ERR_RANGE);
        pair_free(p);
    }
}

static void a_key_stops_at_the_end_of_its_counter(void **state)
{
    uint8_t pkt[PACKET_HEADER_LEN + PACKET_TAG_LEN];
    struct pair p = pair_of(SEAL_AES_256_GCM, SEAL_WINDOW_DATA);

    atomic_store(&p.tx->counter, SEAL_COUNTER_MAX - 1);
    assert_int_equal(seal_packet(worker, p.tx, PACKET_DATA, 0, pkt, 0), sizeof pkt);
    assert_int_equal(open_packet(worker, p.rx, pkt, sizeof pkt), 0);
    assert_int_equal(seal_key_counter(p.rx), SEAL_COUNTER_MAX);
    for (int i = 0; i < 3; i++)
        assert_int_equal(seal_packet(worker, p.tx, PACKET_DATA, 0, pkt, 0), -ERR_RANGE);
    assert_int_equal(seal_key_counter(p.tx), SEAL_COUNTER_MAX);
    pair_free(p);
}

/* More keys than cache slots, keys of one slot among them, and each sealed and opened in turn. */
static void keys_that_share_a_cache_slot_stay_apart(void **state)
{
    enum { KEYS = 80, LEN = 32, WHOLE = PACKET_HEADER_LEN + LEN + PACKET_TAG_LEN };
    struct seal_key *tx[KEYS], *rx[KEYS];
    uint8_t pkt[WHOLE];

    for (uint32_t i = 0; i < KEYS; i++) {
        struct secret s = secret_of((uint8_t)i);

        tx[i] = seal_key_new(SEAL_AES_256_GCM, &s, i / 2, 0);
        rx[i] = seal_key_new(SEAL_AES_256_GCM, &s, i / 2, SEAL_WINDOW_CONTROL);
    }
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < KEYS; i++) {
            seal_fill(tx[i], (uint8_t)i, pkt, LEN);
            assert_int_equal(open_packet(worker, rx[i], pkt, WHOLE), LEN);
            assert_int_equal(pkt[PACKET_HEADER_LEN], i);
            seal_fill(tx[i], (uint8_t)i, pkt, LEN);
            assert_int_equal(open_packet(worker, rx[i ^ 1], pkt, WHOLE), -ERR_CRYPTO);
        }
    for (size_t i = 0; i < KEYS; i++) {
        seal_key_unref(tx[i]);
        seal_key_unref(rx[i]);
    }
}

static void the_other_algorithm_does_not_open_it(void **state)
{
    struct secret s = secret_of(9);
    struct seal_key *tx = seal_key_new(SEAL_AES_256_GCM, &s, 1, 0);
    struct seal_key *rx = seal_key_new(SEAL_CHACHA20_POLY1305, &s, 1, SEAL_WINDOW_DATA);
    uint8_t pkt[64];
    size_t len = seal_fill(tx, 1, pkt, 8);

    assert_int_equal(open_packet(worker, rx, pkt, len), -ERR_CRYPTO);
    assert_int_equal(seal_key_alg(tx), SEAL_AES_256_GCM);
    assert_int_equal(seal_key_index(rx), 1);
    seal_key_unref(tx);
    seal_key_unref(rx);
}

static void a_reference_keeps_the_key(void **state)
{
    struct pair p = pair_of(SEAL_CHACHA20_POLY1305, SEAL_WINDOW_DATA);
    uint8_t pkt[64];

    assert_ptr_equal(seal_key_ref(p.tx), p.tx);
    seal_key_unref(p.tx);
    assert_int_equal(open_packet(worker, p.rx, pkt, seal_fill(p.tx, 1, pkt, 8)), 8);
    seal_key_unref(NULL);
    pair_free(p);
}

enum { THREADS = 4, RACE_PACKETS = 20000, RACE_LEN = PACKET_HEADER_LEN + PACKET_TAG_LEN };

struct race {
    struct pair p;
    uint8_t (*packets)[RACE_LEN];
    unsigned opened, replayed;
};

static void *seal_many(void *arg)
{
    struct race *r = arg;
    struct seal_worker *w = seal_worker_new();

    for (size_t i = 0; i < RACE_PACKETS; i++)
        if (seal_packet(w, r->p.tx, PACKET_DATA, 0, r->packets[i], 0) != RACE_LEN)
            r->replayed++;
    seal_worker_free(w);
    return NULL;
}

static void *open_many(void *arg)
{
    struct race *r = arg;
    struct seal_worker *w = seal_worker_new();

    for (size_t i = 0; i < RACE_PACKETS; i++) {
        uint8_t pkt[RACE_LEN];
        int result;

        memcpy(pkt, r->packets[i], sizeof pkt);
        result = open_packet(w, r->p.rx, pkt, sizeof pkt);
        r->opened += result == 0;
        r->replayed += result == -ERR_RANGE;
    }
    seal_worker_free(w);
    return NULL;
}

static void run_all(struct race *races, void *(*body)(void *))
{
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, &races[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void racing_threads_never_share_a_counter_or_accept_one_twice(void **state)
{
    struct pair p = pair_of(SEAL_AES_256_GCM, SEAL_WINDOW_DATA);
    uint8_t(*packets)[RACE_LEN] = malloc(THREADS * RACE_PACKETS * sizeof *packets);
    bool *used = calloc(THREADS * RACE_PACKETS, sizeof *used);
    struct race races[THREADS];
    unsigned opened = 0;

    assert_true(packets != NULL && used != NULL);
    for (size_t i = 0; i < THREADS; i++)
        races[i] = (struct race){.p = p, .packets = packets + i * RACE_PACKETS};
    run_all(races, seal_many);
    for (size_t i = 0; i < THREADS * RACE_PACKETS; i++) {
        uint64_t counter = get_u64(packets[i] + 8);

        assert_true(counter < THREADS * RACE_PACKETS && !used[counter]);
        used[counter] = true;
    }
    for (size_t i = 0; i < THREADS; i++) { /* all open the same packets */
        assert_int_equal(races[i].replayed, 0);
        races[i].packets = packets;
    }
    run_all(races, open_many);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(races[i].opened + races[i].replayed, RACE_PACKETS);
        opened += races[i].opened;
    }
    assert_in_range(opened, 1, RACE_PACKETS);
    free(used);
    free(packets);
    pair_free(p);
}

static void seal_with_a_receiving_key(void *arg)
{
    uint8_t pkt[PACKET_HEADER_LEN + PACKET_TAG_LEN];
    struct pair *p = arg;

    if (seal_packet(worker, p->rx, PACKET_DATA, 0, pkt, 0) < 0)
        _exit(1);
}

static void a_receiving_key_never_seals(void **state)
{
    struct pair p = pair_of(SEAL_CHACHA20_POLY1305, SEAL_WINDOW_DATA);

    assert_true(aborts(seal_with_a_receiving_key, &p));
    pair_free(p);
}

static int setup(void **state)
{
    worker = seal_worker_new();
    return worker != NULL ? crypto_start() : -1;
}

static int teardown(void **state)
{
    seal_worker_free(worker);
    return 0;
}

static void a_packet_inside_another_gets_a_buffer_of_its_own(void **state)
{
    struct seal_worker *w = seal_worker_new();
    uint8_t *outer = seal_buffer(w), *inner = seal_buffer(w);

    assert_non_null(inner);
    assert_ptr_not_equal(outer, inner);
    memset(outer, 1, PACKET_MAX);
    memset(inner, 2, PACKET_MAX);
    assert_int_equal(outer[PACKET_MAX - 1], 1);
    seal_buffer_drop(w, inner);
    seal_buffer_drop(w, outer);
    assert_ptr_equal(seal_buffer(w), outer); /* the worker's own is free again */
    seal_buffer_drop(w, NULL);
    seal_worker_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_is_the_drawing),
        cmocka_unit_test(what_was_sealed_opens_once),
        cmocka_unit_test(every_flipped_bit_and_truncation_is_refused),
        cmocka_unit_test(headers_that_are_not_ours_are_refused_by_reason),
        cmocka_unit_test(packets_older_than_the_window_are_refused),
        cmocka_unit_test(a_key_stops_at_the_end_of_its_counter),
        cmocka_unit_test(keys_that_share_a_cache_slot_stay_apart),
        cmocka_unit_test(the_other_algorithm_does_not_open_it),
        cmocka_unit_test(a_reference_keeps_the_key),
        cmocka_unit_test(racing_threads_never_share_a_counter_or_accept_one_twice),
        cmocka_unit_test(a_receiving_key_never_seals),
        cmocka_unit_test(a_packet_inside_another_gets_a_buffer_of_its_own),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
