// link: peal_crypto
/*
 * Handshake messages: the first byte picks suite and message, the rest is what the reader gets.
 * What is authenticated opens only when it is what the other side wrote.
 */
#include "overlay/crypto/noise.h"

#include <string.h>

enum { BUFFER = 2048 };

static const struct dh_secret statics[2] = {{{1}}, {{2}}};
static const struct secret ephemerals[2] = {{{3}}, {{4}}}, psk = {{5}};

/* Two ends that have exchanged `messages`, and the message that comes next. */
struct exchange {
    struct noise *end[2]; /* initiator, responder */
    uint8_t next[BUFFER];
    int next_len;
};

static struct exchange exchange_of(bool with_psk, unsigned messages)
{
    uint8_t payload[BUFFER];
    struct exchange x;

    for (int i = 0; i < 2; i++)
        x.end[i] = noise_new(i == 0, "prologue", 8, &statics[i], with_psk ? &psk : NULL);
    for (unsigned m = 0;; m++) {
        x.next_len =
            noise_write(x.end[m % 2], &ephemerals[m % 2], "payload", 7, x.next, sizeof x.next);
        CHECK(x.next_len > 0);
        if (m == messages)
            return x;
        CHECK(noise_read(x.end[(m + 1) % 2], x.next, (size_t)x.next_len, payload, sizeof payload) ==
              7);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t payload[BUFFER];
    struct exchange x;
    unsigned message;
    bool with_psk;
    int result;

    if (len == 0 || crypto_start() < 0)
        return 0;
    with_psk = (data[0] & 4) != 0;
    message = (data[0] & 3) % 3;
    x = exchange_of(with_psk, message);
    result = noise_read(x.end[(message + 1) % 2], data + 1, len - 1, payload, sizeof payload);
    if (message > 0 && result >= 0)
        CHECK(len - 1 == (size_t)x.next_len && memcmp(x.next, data + 1, len - 1) == 0);
    CHECK(noise_done(x.end[(message + 1) % 2]) == (message == 2 && result >= 0));
    noise_free(x.end[0]);
    noise_free(x.end[1]);
    return 0;
}
