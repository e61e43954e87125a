// link: peal_dhcp
/*
 * A DHCP server under hostile messages and a moody DHT. The input is a list of chunks, each led by
 * 3 bytes: what happens (the lower 2 bits: message, claim's end, time passes, address lost), a
 * parameter, and for a message the number of bytes, in units of 4, that follow.
 */
#include "dhcp/server.h"
#include "overlay/core/err.h"

#include <string.h>

enum { CLAIMS_KEPT = 8 };

struct world {
    struct env env;
    struct dhcp_server *server;
    struct dhcp_config config;
    struct {
        uint32_t token, wanted;
    } claims[CLAIMS_KEPT];
    unsigned count;
};

static void on_claim(void *ctx, const struct dhcp_claim *claim)
{
    struct world *w = ctx;
    unsigned i = w->count++ % CLAIMS_KEPT;
    CHECK(claim->token != 0 && claim->avoid_count <= DHCP_DECLINED_MAX);
    CHECK(!claim->wanted.family || net_contains(&w->config.range, &claim->wanted));
    CHECK(claim->hostname[0] == '\0' || label_valid(claim->hostname, strlen(claim->hostname)));
    w->claims[i].token = claim->token;
    w->claims[i].wanted = claim->wanted.family ? addr_to_v4(&claim->wanted) : 0;
}

static void on_gone(void *ctx, const struct addr *addr, enum dhcp_gone why)
{
    struct world *w = ctx;
    CHECK(net_contains(&w->config.range, addr) && why <= DHCP_GONE_DECLINED);
}

static void on_send(void *ctx, const struct dhcp_reply *reply)
{
    CHECK(reply->len >= DHCP_SIZE_MIN && reply->len <= DHCP_REPLY_MAX);
    CHECK(reply->bytes[0] == DHCP_BOOTREPLY && reply->src_port == DHCP_SERVER_PORT);
    CHECK(reply->dst.family == 4 && !addr_is_unspecified(&reply->dst));
}

static void on_random(void *ctx, void *buf, size_t len)
{
    memset(buf, 1, len);
}

static void on_log(void *ctx, enum log_level level, const char *line)
{
    CHECK(line[0] != '\0');
}

static const struct dhcp_ops ops = {.claim = on_claim, .gone = on_gone, .send = on_send};

static void end_claim(struct world *w, uint8_t parameter)
{
    unsigned i = parameter % CLAIMS_KEPT;
    uint32_t addr = w->claims[i].wanted ? w->claims[i].wanted : 0x0a4d0100u + parameter;
    struct dhcp_lease lease = {.addr = addr_v4(addr), .lease_s = 1 + parameter * 16u};
    enum dhcp_claim_result result = parameter >> 6 < 3 ? parameter >> 6 : DHCP_CLAIM_GRANTED;
    dhcp_server_claimed(w->server, w->claims[i].token, result,
                        result == DHCP_CLAIM_GRANTED ? &lease : NULL);
}

static void step(struct world *w, struct reader *r)
{
    static const struct mac mac = {{2, 0, 0, 0, 0, 9}};
    uint8_t what = read_u8(r), parameter = read_u8(r), quads = read_u8(r);
    struct addr addr = addr_v4(0x0a4d0100u + parameter);
    const uint8_t *bytes;
    size_t len;

    switch (what & 3) {
    case 0:
        len = quads * 4u < reader_left(r) ? quads * 4u : reader_left(r);
        bytes = read_bytes(r, len);
        dhcp_server_input(w->server, &mac, &addr, bytes, len);
        break;
    case 1:
        end_claim(w, parameter);
        break;
    case 2:
        w->env.now_us += (usec)parameter * parameter * parameter * 1000;
        dhcp_server_tick(w->server);
        CHECK(dhcp_server_deadline(w->server) > w->env.now_us);
        break;
    case 3:
        dhcp_server_lost(w->server, &addr);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.env = {.level = LOG_LEVEL_DEBUG, .random = on_random, .log = on_log},
                      .config = {.service = addr_v4(0x0a4d0001),
                                 .own = {{2, 0, 0, 0, 0, 1}},
                                 .authoritative = true,
                                 .mtu = 1400,
                                 .domain = "lab.peal"}};
    struct reader r = reader_of(data, size);
    CHECK(net_parse(&w.config.range, "10.77.0.0/16"));
    w.server = dhcp_server_new(&w.env, &w.config, &ops, &w);
    CHECK(w.server != NULL);
    while (reader_left(&r) > 3)
        step(&w, &r);
    dhcp_server_free(w.server);
    return 0;
}
