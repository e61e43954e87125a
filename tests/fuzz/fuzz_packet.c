// link: peal_crypto
/*
 * Sealed packets. Byte 0 picks the cipher; the rest goes in as a packet from the network, then as a
 * payload of ours with one byte changed on the way.
 */
#include "overlay/crypto/seal.h"

#include <stdlib.h>
#include <string.h>

enum { LEN_MAX = 4096, INDEX = 0 };

static struct seal_worker *worker;
static const struct secret secret = {{1, 2, 3}};

static void open_anything(enum seal_alg alg, const uint8_t *data, size_t len)
{
    struct seal_key *rx = seal_key_new(alg, &secret, INDEX, SEAL_WINDOW_CONTROL);
    uint8_t *pkt = malloc(len + 1); /* its exact size, for the sanitizer */

    CHECK(rx != NULL && pkt != NULL);
    memcpy(pkt, data, len);
    if (open_packet(worker, rx, pkt, len) >= 0) {
        memcpy(pkt, data, len);
        CHECK(open_packet(worker, rx, pkt, len) == -ERR_RANGE);
    } else {
        CHECK(seal_key_counter(rx) == 0);
    }
    free(pkt);
    seal_key_unref(rx);
}

static void seal_and_change(enum seal_alg alg, const uint8_t *data, size_t len)
{
    struct seal_key *tx = seal_key_new(alg, &secret, INDEX, 0);
    struct seal_key *rx = seal_key_new(alg, &secret, INDEX, SEAL_WINDOW_CONTROL);
    uint8_t pkt[PACKET_HEADER_LEN + LEN_MAX + PACKET_TAG_LEN], changed[sizeof pkt];
    size_t at;
    int whole;

    CHECK(tx != NULL && rx != NULL);
    memcpy(pkt + PACKET_HEADER_LEN, data, len);
    whole = seal_packet(worker, tx, PACKET_DATA, 0, pkt, len);
    CHECK(whole == (int)(PACKET_HEADER_LEN + len + PACKET_TAG_LEN));
    at = (len > 0 ? data[0] * 256u + data[len - 1] : 0) % (size_t)whole;
    memcpy(changed, pkt, (size_t)whole);
    changed[at] ^= 1;
    CHECK(open_packet(worker, rx, changed, (size_t)whole) < 0);
    CHECK(open_packet(worker, rx, pkt, (size_t)whole) == (int)len);
    CHECK(memcmp(pkt + PACKET_HEADER_LEN, data, len) == 0);
    seal_key_unref(tx);
    seal_key_unref(rx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    enum seal_alg alg;

    if (len == 0 || len > LEN_MAX)
        return 0;
    if (worker == NULL)
        CHECK(crypto_start() == 0 && (worker = seal_worker_new()) != NULL);
    alg = data[0] % 2 != 0 ? SEAL_AES_256_GCM : SEAL_CHACHA20_POLY1305;
    open_anything(alg, data + 1, len - 1);
    seal_and_change(alg, data + 1, len - 1);
    return 0;
}
