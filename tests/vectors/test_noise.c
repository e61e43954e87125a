// link: peal_crypto PkgConfig::JANSSON
/* Our two suites against the published vectors of cacophony (tests/data/noise), byte for byte. */
#include "overlay/crypto/noise.h"

#include "overlay/crypto/seal.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HANDSHAKE_MESSAGES = 3, MESSAGES_MAX = 8, MESSAGE_SIZE = 256 };

struct octets {
    uint8_t b[MESSAGE_SIZE];
    size_t len;
};

struct vector {
    struct octets prologue[2], message[MESSAGES_MAX], payload[MESSAGES_MAX], hash;
    struct dh_secret statics[2];
    struct secret ephemeral[2], psk;
    bool has_psk;
    size_t messages;
};

enum { INITIATOR, RESPONDER };

static json_t *document;

static struct octets octets_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    struct octets o = {.len = 0};

    assert_non_null(text);
    o.len = strlen(text) / 2;
    assert_true(o.len <= sizeof o.b && hex_parse(o.b, o.len, text));
    return o;
}

static void key_of(void *key, json_t *object, const char *name)
{
    struct octets o = octets_of(object, name);

    assert_int_equal(o.len, 32);
    memcpy(key, o.b, 32);
}

static struct vector vector_of(const char *protocol)
{
    json_t *list = json_object_get(document, "vectors"), *messages, *found = NULL;
    struct vector v = {.messages = 0};
    size_t i;

    for (i = 0; i < json_array_size(list) && found == NULL; i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(list, i), "protocol_name")),
                   protocol) == 0)
            found = json_array_get(list, i);
    assert_non_null(found);
    v.prologue[INITIATOR] = octets_of(found, "init_prologue");
    v.prologue[RESPONDER] = octets_of(found, "resp_prologue");
    v.hash = octets_of(found, "handshake_hash");
    key_of(&v.statics[INITIATOR], found, "init_static");
    key_of(&v.statics[RESPONDER], found, "resp_static");
    key_of(&v.ephemeral[INITIATOR], found, "init_ephemeral");
    key_of(&v.ephemeral[RESPONDER], found, "resp_ephemeral");
    if (json_object_get(found, "init_psks") != NULL) {
        const char *text =
            json_string_value(json_array_get(json_object_get(found, "init_psks"), 0));
        v.has_psk = hex_parse(v.psk.b, sizeof v.psk.b, text);
        assert_true(v.has_psk);
    }
    messages = json_object_get(found, "messages");
    v.messages = json_array_size(messages);
    assert_in_range(v.messages, HANDSHAKE_MESSAGES + 2, MESSAGES_MAX);
    for (i = 0; i < v.messages; i++) {
        v.payload[i] = octets_of(json_array_get(messages, i), "payload");
        v.message[i] = octets_of(json_array_get(messages, i), "ciphertext");
    }
    return v;
}

static struct noise *start(const struct vector *v, int role)
{
    struct noise *n = noise_new(role == INITIATOR, v->prologue[role].b, v->prologue[role].len,
                                &v->statics[role], v->has_psk ? &v->psk : NULL);

    assert_non_null(n);
    return n;
}

/* Lets `n` write message i and compares it with the vector's. */
static void write_and_compare(struct noise *n, const struct vector *v, size_t i)
{
    uint8_t out[MESSAGE_SIZE];
    int len =
        noise_write(n, &v->ephemeral[i % 2], v->payload[i].b, v->payload[i].len, out, sizeof out);

    assert_int_equal(len, v->message[i].len);
    assert_memory_equal(out, v->message[i].b, v->message[i].len);
}

static void read_and_compare(struct noise *n, const struct vector *v, size_t i)
{
    uint8_t payload[MESSAGE_SIZE];
    int len = noise_read(n, v->message[i].b, v->message[i].len, payload, sizeof payload);

    assert_int_equal(len, v->payload[i].len);
    assert_memory_equal(payload, v->payload[i].b, v->payload[i].len);
}

/* The first `messages` of the handshake, seen from one role. */
static struct noise *advance(const struct vector *v, int role, size_t messages)
{
    struct noise *n = start(v, role);

    for (size_t i = 0; i < messages; i++)
        if ((int)(i % 2) == role)
            write_and_compare(n, v, i);
        else
            read_and_compare(n, v, i);
    return n;
}

/* Transport message i of the vector: sealed with `key` under the direction's own counter. */
static void transport_compare(const struct vector *v, size_t i, const struct secret *key)
{
    struct seal_worker *w = seal_worker_new();
    uint8_t nonce[12] = {0}, text[MESSAGE_SIZE], tag[PACKET_TAG_LEN];
    size_t len = v->payload[i].len;

    assert_non_null(w);
    nonce[4] = (uint8_t)((i - HANDSHAKE_MESSAGES) / 2); /* Noise: little-endian */
    memcpy(text, v->payload[i].b, len);
    seal_raw(w, SEAL_CHACHA20_POLY1305, key, nonce, NULL, 0, text, len, tag);
    assert_int_equal(len + sizeof tag, v->message[i].len);
    assert_memory_equal(text, v->message[i].b, len);
    assert_memory_equal(tag, v->message[i].b + len, sizeof tag);
    seal_worker_free(w);
}

static void check_vector(const char *protocol)
{
    struct vector v = vector_of(protocol);
    struct noise_result result[2];

    for (int role = INITIATOR; role <= RESPONDER; role++) {
        struct noise *n = advance(&v, role, HANDSHAKE_MESSAGES);
        struct secret seed;
        struct dh_public peer;
        struct dh_secret unused;

        assert_true(noise_done(n));
        memcpy(seed.b, v.statics[!role].b, sizeof seed.b);
        dh_keys(&peer, &unused, &seed);
        assert_memory_equal(noise_remote_static(n)->b, peer.b, sizeof peer.b);
        noise_split(n, &result[role]);
        assert_int_equal(v.hash.len, NOISE_HASH_LEN);
        assert_memory_equal(result[role].hash, v.hash.b, NOISE_HASH_LEN);
        noise_free(n);
    }
    assert_memory_equal(&result[INITIATOR].tx, &result[RESPONDER].rx, sizeof(struct secret));
    assert_memory_equal(&result[INITIATOR].rx, &result[RESPONDER].tx, sizeof(struct secret));
    assert_memory_equal(&result[INITIATOR].export, &result[RESPONDER].export,
                        sizeof(struct secret));
    assert_memory_not_equal(&result[INITIATOR].export, &result[INITIATOR].tx,
                            sizeof(struct secret));
    /* After three messages the responder speaks first. */
    for (size_t i = HANDSHAKE_MESSAGES; i < v.messages; i++)
        transport_compare(&v, i,
                          i % 2 == INITIATOR ? &result[INITIATOR].tx : &result[RESPONDER].tx);
}

static void xx_matches_the_published_vector(void **state)
{
    check_vector("Noise_XX_25519_ChaChaPoly_BLAKE2b");
}

static void xxpsk3_matches_the_published_vector(void **state)
{
    check_vector("Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b");
}

/*
 * Message i, changed as `bytes`, must end the handshake: refused where it is read, or, what XX
 * sends in clear, at the next message that the two sides exchange.
 */
static void assert_refused(const struct vector *v, size_t i, const uint8_t *bytes, size_t len)
{
    int reader = (int)(i + 1) % 2;
    struct noise *n = advance(v, reader, i);
    uint8_t payload[MESSAGE_SIZE], out[MESSAGE_SIZE];
    struct noise *writer = NULL;

    if (noise_read(n, bytes, len, payload, sizeof payload) >= 0) {
        int answered = noise_write(n, &v->ephemeral[reader], "", 0, out, sizeof out);

        assert_int_equal(i, 0); /* only message 1 may be read when it is not authentic */
        writer = advance(v, !reader, i + 1);
        if (answered >= 0)
            assert_true(noise_read(writer, out, (size_t)answered, payload, sizeof payload) < 0);
    } else {
        assert_int_equal(noise_read(n, bytes, len, payload, sizeof payload), -ERR_BAD_STATE);
    }
    noise_free(writer);
    noise_free(n);
}

static void every_flipped_bit_and_truncation_is_refused(const char *protocol)
{
    struct vector v = vector_of(protocol);

    for (size_t i = 0; i < HANDSHAKE_MESSAGES; i++) {
        for (size_t bit = 0; bit < 8 * v.message[i].len; bit++) {
            struct octets m = v.message[i];

            m.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_refused(&v, i, m.b, m.len);
        }
        for (size_t len = 0; len < v.message[i].len; len++)
            assert_refused(&v, i, v.message[i].b, len);
    }
}

static void xx_refuses_every_flipped_bit_and_truncation(void **state)
{
    every_flipped_bit_and_truncation_is_refused("Noise_XX_25519_ChaChaPoly_BLAKE2b");
}

static void xxpsk3_refuses_every_flipped_bit_and_truncation(void **state)
{
    every_flipped_bit_and_truncation_is_refused("Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b");
}

static void another_psk_is_refused(void **state)
{
    struct vector v = vector_of("Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b"), other = v;
    uint8_t payload[MESSAGE_SIZE];
    struct noise *n;

    other.psk.b[31] ^= 1;
    n = advance(&other, RESPONDER, 2); /* the psk enters with message 3 */
    assert_int_equal(noise_read(n, v.message[2].b, v.message[2].len, payload, sizeof payload),
                     -ERR_CRYPTO);
    noise_free(n);
}

static void another_prologue_is_refused(void **state)
{
    struct vector v = vector_of("Noise_XX_25519_ChaChaPoly_BLAKE2b"), other = v;
    uint8_t payload[MESSAGE_SIZE], out[MESSAGE_SIZE];
    struct noise *initiator, *responder;
    int len;

    other.prologue[RESPONDER].b[0] ^= 1;
    initiator = advance(&v, INITIATOR, 1);
    responder = start(&other, RESPONDER);
    assert_true(noise_read(responder, v.message[0].b, v.message[0].len, payload, sizeof payload) >=
                0);
    len = noise_write(responder, &v.ephemeral[RESPONDER], "", 0, out, sizeof out);
    assert_int_equal(len, NOISE_MSG2_LEN);
    assert_int_equal(noise_read(initiator, out, (size_t)len, payload, sizeof payload), -ERR_CRYPTO);
    noise_free(initiator);
    noise_free(responder);
}

/* RFC 7748 6.1: all-zero shared secrets come from these; no session may rest on one. */
static void a_low_order_ephemeral_is_refused(void **state)
{
    static const uint8_t points[][32] = {{0}, {1}};
    struct vector v = vector_of("Noise_XX_25519_ChaChaPoly_BLAKE2b");
    uint8_t payload[MESSAGE_SIZE], out[MESSAGE_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        struct noise *n = start(&v, RESPONDER);

        assert_int_equal(noise_read(n, points[i], 32, payload, sizeof payload), 0);
        assert_int_equal(noise_write(n, &v.ephemeral[RESPONDER], "", 0, out, sizeof out),
                         -ERR_CRYPTO);
        assert_int_equal(noise_write(n, &v.ephemeral[RESPONDER], "", 0, out, sizeof out),
                         -ERR_BAD_STATE);
        noise_free(n);
    }
}

static void overheads_are_the_headers_numbers(void **state)
{
    static const struct {
        const char *protocol;
        size_t overhead[HANDSHAKE_MESSAGES];
    } table[] = {
        {"Noise_XX_25519_ChaChaPoly_BLAKE2b", {NOISE_MSG1_LEN, NOISE_MSG2_LEN, NOISE_MSG3_LEN}},
        {"Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b",
         {NOISE_MSG1_PSK_LEN, NOISE_MSG2_LEN, NOISE_MSG3_LEN}},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct vector v = vector_of(table[i].protocol);

        for (size_t m = 0; m < HANDSHAKE_MESSAGES; m++)
            assert_int_equal(v.message[m].len - v.payload[m].len, table[i].overhead[m]);
    }
}

static void a_buffer_too_small_changes_nothing(void **state)
{
    struct vector v = vector_of("Noise_XX_25519_ChaChaPoly_BLAKE2b");
    struct noise *n = start(&v, INITIATOR);
    uint8_t out[MESSAGE_SIZE];
    size_t short_by_one = v.message[0].len - 1;

    assert_int_equal(
        noise_write(n, &v.ephemeral[0], v.payload[0].b, v.payload[0].len, out, short_by_one),
        -ERR_RANGE);
    assert_int_equal(noise_write(n, &v.ephemeral[0], out, SIZE_MAX, out, sizeof out), -ERR_RANGE);
    write_and_compare(n, &v, 0);
    noise_free(n);
}

static int setup(void **state)
{
    document = json_load_file("data/noise/cacophony-subset.json", 0, NULL);
    return document != NULL && crypto_start() == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    json_decref(document);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xx_matches_the_published_vector),
        cmocka_unit_test(xxpsk3_matches_the_published_vector),
        cmocka_unit_test(xx_refuses_every_flipped_bit_and_truncation),
        cmocka_unit_test(xxpsk3_refuses_every_flipped_bit_and_truncation),
        cmocka_unit_test(another_psk_is_refused),
        cmocka_unit_test(another_prologue_is_refused),
        cmocka_unit_test(a_low_order_ephemeral_is_refused),
        cmocka_unit_test(overheads_are_the_headers_numbers),
        cmocka_unit_test(a_buffer_too_small_changes_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
