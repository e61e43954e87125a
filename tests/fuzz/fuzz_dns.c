// link: peal_dns
/*
 * A DNS responder under hostile queries, a moody DHT and a hostile upstream. The input is a list
 * of chunks, each led by 3 bytes: what happens (the lower 2 bits: query, lookup's end, message from
 * upstream, time passes), a parameter, and the number of bytes that follow. Whatever the server
 * sends must be well formed.
 */
#include "dns/server.h"
#include "overlay/core/err.h"

#include <string.h>

struct world {
    struct env env;
    struct dns_server *server;
    uint32_t token;
    uint16_t id; /* of the last forwarded query */
    bool relaying;
};

/* Skips a record; its names must be readable where names stand. */
static void check_record(struct reader *r, const uint8_t *message)
{
    struct dns_name name;
    CHECK(dns_name_read(&name, r, message));
    read_u32(r);
    read_u32(r);
    read_bytes(r, read_u16(r));
}

static void on_reply(void *ctx, const struct dns_source *to, const uint8_t *bytes, size_t len)
{
    struct world *w = ctx;
    struct reader r = reader_of(bytes, len);
    struct dns_name name;
    CHECK(len >= DNS_HEADER_LEN && len <= (to->tcp ? DNS_TCP_SIZE : DNS_EDNS_SIZE));
    CHECK(get_u16(bytes + 2) & DNS_QR);
    if (w->relaying)
        return; /* what upstream says behind the question is the client's to judge */
    read_bytes(&r, DNS_HEADER_LEN);
    if (get_u16(bytes + 4)) {
        CHECK(dns_name_read(&name, &r, bytes));
        read_u32(&r);
    }
    for (int n = get_u16(bytes + 6) + get_u16(bytes + 8) + get_u16(bytes + 10); n > 0; n--)
        check_record(&r, bytes);
    CHECK(reader_done(&r));
}

static void on_lookup_name(void *ctx, uint32_t token, const char *label)
{
    struct world *w = ctx;
    CHECK(label_valid(label, strlen(label)));
    w->token = token;
}

static void on_lookup_addr(void *ctx, uint32_t token, const struct addr *addr)
{
    struct world *w = ctx;
    CHECK(addr->family == 4 || addr->family == 6);
    w->token = token;
}

static void on_forward(void *ctx, const uint8_t *bytes, size_t len, bool tcp)
{
    struct world *w = ctx;
    struct dns_query q;
    CHECK(dns_query_parse(&q, bytes, len) == DNS_PARSE_OK);
    w->id = q.id;
}

static void on_random(void *ctx, void *buf, size_t len)
{
    memset(buf, 1, len);
}

static const struct dns_ops ops = {.reply = on_reply,
                                   .lookup_name = on_lookup_name,
                                   .lookup_addr = on_lookup_addr,
                                   .forward = on_forward};

static void end_lookup(struct world *w, uint8_t parameter, const uint8_t *bytes, size_t len)
{
    struct dns_answer answer = {.found = parameter & 1, .ipv4 = addr_v4(0x0a4d0005)};
    memcpy(answer.label, bytes, len < LABEL_MAX ? len : LABEL_MAX);
    dns_server_answered(w->server, w->token - (parameter >> 4), parameter & 2 ? NULL : &answer);
}

static void from_upstream(struct world *w, uint8_t parameter, const uint8_t *bytes, size_t len)
{
    uint8_t copy[256];
    memcpy(copy, bytes, len);
    if (len >= 2 && parameter & 1)
        put_u16(copy, w->id);
    w->relaying = true;
    dns_server_forwarded(w->server, copy, len);
    w->relaying = false;
}

static void step(struct world *w, struct reader *r)
{
    uint8_t what = read_u8(r), parameter = read_u8(r), said = read_u8(r);
    size_t len = said < reader_left(r) ? said : reader_left(r);
    const uint8_t *bytes = read_bytes(r, len);
    struct dns_source from = {.port = parameter, .tcp = parameter & 1};

    switch (what & 3) {
    case 0:
        dns_server_input(w->server, &from, bytes, len);
        break;
    case 1:
        end_lookup(w, parameter, bytes ? bytes : &parameter, len);
        break;
    case 2:
        from_upstream(w, parameter, bytes ? bytes : &parameter, len);
        break;
    case 3:
        w->env.now_us += MSEC(100) * parameter;
        dns_server_tick(w->server);
        CHECK(dns_server_deadline(w->server) > w->env.now_us);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.env = {.random = on_random}};
    struct dns_config config = {
        .domain = "lab.peal", .service = addr_v4(0x0a4d0001), .forward = true};
    struct reader r = reader_of(data, size);
    CHECK(net_parse(&config.ipv4, "10.77.0.0/16") &&
          net_parse(&config.ipv6, "fdab:cdef:1234::/48"));
    w.server = dns_server_new(&w.env, &config, &ops, &w);
    CHECK(w.server != NULL);
    while (reader_left(&r) > 3)
        step(&w, &r);
    dns_server_free(w.server);
    return 0;
}
