// link: peal_overlay
/*
 * Handshake packets: the first byte says what the rest is.
 *   0 a datagram as it came; 1 one whose MAC1 is right (a member wrote it); 2 a hello;
 *   3 the hello of a message 3 that Noise accepts; 4 a message 2 with such a hello, to an initiator
 */
#include <stdio.h>

#include "overlay/cookie.h"
#include "overlay/core/wire.h"
#include "overlay/crypto/noise.h"
#include "overlay/handshake.h"
#include "overlay/hello.h"
#include "tests/unit/session_world.h"

enum { HEADER1 = 8, HEADER = 12, ROOM = 1100 };

/* What the node under test sent last. */
static uint8_t last[WORLD_PACKET_SIZE];
static size_t last_len;

static bool keep_last(struct world *w, struct world_node *from, const struct path_addr *to,
                      uint8_t *pkt, size_t *len)
{
    memcpy(last, pkt, *len);
    last_len = *len;
    return false;
}

static struct noise *stranger_noise(const struct world_node *n, bool initiator, uint8_t key)
{
    uint8_t prologue[25] = {'p', 'e', 'a', 'l', HELLO_VERSION};
    struct sign_public pub;
    struct sign_secret sec;
    struct dh_secret dh_sec;
    struct secret seed;

    memset(seed.b, key, sizeof(seed.b));
    sign_keys(&pub, &sec, &seed);
    sign_secret_to_dh(&dh_sec, &sec);
    memcpy(prologue + 5, n->config.overlay.b, ID_LEN);
    return noise_new(initiator, prologue, sizeof(prologue), &dh_sec, NULL);
}

static void stamp_and_deliver(struct world_node *n, uint8_t *pkt, size_t len)
{
    struct path_addr from = {.kind = PATH_UDP, .ep = world_ep(99, 99)};
    struct cookie_keys keys;

    cookie_keys_make(&keys, &n->config.group_key);
    cookie_stamp(&keys, NULL, 0, pkt, len);
    sessions_input(n->ss, &from, pkt, len);
}

static size_t header(uint8_t *pkt, uint8_t number, uint32_t sender, uint32_t receiver)
{
    put_u32(pkt, (uint32_t)PACKET_HANDSHAKE << 24 | (uint32_t)number << 16);
    put_u32(pkt + 4, sender);
    put_u32(pkt + 8, receiver);
    return HEADER;
}

static void hello_in_message_3(struct world_node *n, const uint8_t *bytes, size_t len)
{
    struct noise *noise = stranger_noise(n, true, 7);
    struct secret seed = {{1}};
    uint8_t pkt[WORLD_PACKET_SIZE] = {0}, payload[WORLD_PACKET_SIZE];

    header(pkt, 1, 0x01020304, 0);
    CHECK(noise_write(noise, &seed, NULL, 0, pkt + HEADER1, NOISE_MSG1_LEN) == NOISE_MSG1_LEN);
    memset(pkt + HEADER1 + NOISE_MSG1_LEN, 0, HANDSHAKE_PACKET1_LEN - HEADER1 - NOISE_MSG1_LEN);
    stamp_and_deliver(n, pkt, HANDSHAKE_PACKET1_LEN);
    CHECK(last_len > HEADER && last[1] == 2);
    CHECK(noise_read(noise, last + HEADER, last_len - HEADER - COOKIE_MACS_LEN, payload,
                     sizeof(payload)) > 0);
    header(pkt, 3, 0x01020304, get_u32(last + 4));
    int wrote = noise_write(noise, NULL, bytes, len, pkt + HEADER,
                            HANDSHAKE_PACKET_MAX - HEADER - COOKIE_MACS_LEN);

    CHECK(wrote > 0);
    stamp_and_deliver(n, pkt, HEADER + (size_t)wrote + COOKIE_MACS_LEN);
    noise_free(noise);
}

static void hello_in_message_2(struct world_node *n, const uint8_t *bytes, size_t len)
{
    struct noise *noise = stranger_noise(n, false, 7);
    struct path_addr to = {.kind = PATH_UDP, .ep = world_ep(99, 99)};
    struct secret seed = {{2}};
    uint8_t pkt[WORLD_PACKET_SIZE], none[1];

    CHECK(session_open(n->ss, &to, NULL) != NULL && last_len == HANDSHAKE_PACKET1_LEN);
    CHECK(noise_read(noise, last + HEADER1, NOISE_MSG1_LEN, none, sizeof(none)) == 0);
    header(pkt, 2, 0x01020304, get_u32(last + 4));
    int wrote = noise_write(noise, &seed, bytes, len, pkt + HEADER,
                            HANDSHAKE_PACKET_MAX - HEADER - COOKIE_MACS_LEN);

    CHECK(wrote > 0);
    stamp_and_deliver(n, pkt, HEADER + (size_t)wrote + COOKIE_MACS_LEN);
    noise_free(noise);
}

/* What was read is what would be written. */
static void hello_round_trip(const uint8_t *bytes, size_t len)
{
    uint8_t back[WORLD_PACKET_SIZE];
    struct hello h;
    size_t eps;

    if (!hello_read(&h, bytes, len))
        return;
    int n = hello_write(&h, back, sizeof(back), &eps);

    CHECK(n == (int)len && eps == h.ep_count && memcmp(bytes, back, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > ROOM)
        return 0;
    struct world *w = world_new(1);
    struct world_node *n = world_add(w, 1);
    struct path_addr from = {.kind = PATH_UDP, .ep = world_ep(99, 99)};
    uint8_t pkt[WORLD_PACKET_SIZE];

    last_len = 0;
    w->hook = keep_last;
    world_start(n);
    memcpy(pkt, data + 1, size - 1);
    switch (data[0]) {
    case 0:
        sessions_input(n->ss, &from, pkt, size - 1);
        break;
    case 1:
        memset(pkt + size - 1, 0, COOKIE_MACS_LEN);
        pkt[0] = PACKET_HANDSHAKE;
        stamp_and_deliver(n, pkt, size - 1 + COOKIE_MACS_LEN);
        break;
    case 2:
        hello_round_trip(data + 1, size - 1);
        break;
    case 3:
        hello_in_message_3(n, data + 1, size - 1 < 1000 ? size - 1 : 1000);
        break;
    case 4:
        hello_in_message_2(n, data + 1, size - 1 < 1000 ? size - 1 : 1000);
        break;
    }
    world_run(w, SEC(6));
    world_free(w);
    return 0;
}
