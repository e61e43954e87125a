// link: peal_node
/* Rendezvous records and tunnel messages: anything from outside is refused or passed on within
 * bounds; anything that a member could have sealed is read within bounds. */
#include "daemon/node/rendezvous.c"
#include "daemon/node/tunnel.c"

static void on_deliver(void *ctx, const struct id *from, uint8_t *pkt, size_t len)
{
    CHECK(len > 0 && len <= TUNNEL_PACKET_MAX);
    CHECK(pkt[0] >= PACKET_HANDSHAKE && pkt[0] <= PACKET_CONTROL);
    memset(pkt, 0, len); /* all of it may be written to */
}

static void read_value(const uint8_t *data, size_t len)
{
    static const struct secret key = {{1}};
    static const struct id owner = {{2}};
    const uint8_t nonce[BOX_NONCE_LEN] = {3};
    const struct bytes aad = {owner.b, ID_LEN};
    uint8_t body[BODY_LEN] = {0}, value[VALUE_LEN];
    struct id end, member;

    CHECK(!value_open(&end, &member, data, len, &owner, &key));
    memcpy(body, data, len < sizeof(body) ? len : sizeof(body));
    box_seal(value, nonce, body, sizeof(body), &aad, &key);
    if (value_open(&end, &member, value, sizeof(value), &owner, &key))
        CHECK(body[0] == RENDEZVOUS_VERSION && !id_is_zero(&end) && !id_is_zero(&member));
}

/* Messages, each behind its length (2 bytes), its sender and how much later it comes (1 each). */
static void read_messages(const uint8_t *data, size_t len)
{
    struct env env = {.now_us = SEC(1)};
    struct reader r = reader_of(data, len);
    struct tunnels t;

    tunnels_init(&t, &env, NULL, on_deliver, NULL);
    while (reader_left(&r) >= 4) {
        size_t most = read_u16(&r) % (OVERLAY_BODY_MAX + 1);
        struct overlay_from from = {.node = {{read_u8(&r)}}};
        struct reader message;

        env.now_us += MSEC(100) * read_u8(&r);
        most = most < reader_left(&r) ? most : reader_left(&r);
        message = reader_of(r.p, most);
        (void)read_bytes(&r, most);
        tunnels_input(&t, &from, &message);
    }
    tunnels_clear(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    read_value(data, len);
    read_messages(data, len);
    return 0;
}
