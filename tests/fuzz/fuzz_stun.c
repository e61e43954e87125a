// link: peal_overlay
/*
 * STUN under hostile packets, one server asked. The first byte of the input says where the packet
 * comes from and whether its transaction id is made the open question's. What we send must be
 * readable and no longer than an answer.
 */
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/stun.h"

struct world {
    struct stun_id asked;
    size_t answers;
};

static const struct endpoint server = {{4, {203, 0, 113, 1}}, 3478};

static void on_send(void *ctx, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    struct world *w = ctx;
    struct stun_message m;

    CHECK(len <= STUN_ANSWER_MAX && stun_read(&m, pkt, len));
    if (m.type == STUN_BINDING_REQUEST)
        w->asked = m.id;
    else
        CHECK(m.type == STUN_BINDING_SUCCESS && endpoint_eq(&m.mapped, to) && ++w->answers == 1);
}

static void on_seen(void *ctx, const struct endpoint *from, const struct endpoint *us)
{
    CHECK(endpoint_eq(from, &server) && (us->addr.family == 4 || us->addr.family == 6));
}

static void on_random(void *ctx, void *buf, size_t len)
{
    memset(buf, 1, len);
}

static const struct stun_host host = {.send = on_send, .seen = on_seen};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct env env = {.now_us = SEC(1), .random = on_random};
    struct endpoint from = server;
    struct world w = {0};
    uint8_t pkt[1500];
    struct stun *s = stun_new(&env, &host, &w);

    CHECK(s != NULL && stun_add_server(s, &server) == 0);
    stun_tick(s);
    if (size > 0 && size <= sizeof(pkt)) {
        memcpy(pkt, data + 1, size - 1);
        if ((data[0] & 1) != 0)
            from.port++;
        if ((data[0] & 2) != 0 && size > STUN_HEADER_LEN)
            memcpy(pkt + 8, w.asked.b, STUN_ID_LEN);
        stun_input(s, &from, pkt, size - 1);
    }
    stun_free(s);
    return 0;
}
