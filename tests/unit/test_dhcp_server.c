// link: peal_dhcp
/* The DHCP server as a client and a DHT see it: both are scripted here, time is a number. */
#include "dhcp/server.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define SERVICE 0x0a4d0001u /* 10.77.0.1 */
#define ALICE 0x0a4d0005u
#define BOB 0x0a4d0006u
#define ELSEWHERE 0xc0a80007u

enum { LEASE_S = 86400 };

static const struct mac own = {{0x02, 0, 0, 0, 0, 0x01}}, host = {{0x02, 0, 0, 0, 0, 0x22}},
                        router = {{0x02, 0, 0, 0, 0, 0x33}};

struct world {
    struct env env;
    struct dhcp_server *server;
    /* What the server did last, and how often. */
    struct dhcp_claim claim;
    struct addr avoid[DHCP_DECLINED_MAX];
    unsigned claims, sends, gones;
    struct dhcp_reply reply;
    struct addr gone;
    enum dhcp_gone why;
    bool at_once; /* claims are granted from inside */
    uint32_t grant;
};

static void on_claim(void *ctx, const struct dhcp_claim *claim)
{
    struct world *w = ctx;
    w->claim = *claim;
    memcpy(w->avoid, claim->avoid, claim->avoid_count * sizeof w->avoid[0]);
    w->claims++;
    if (w->at_once) {
        struct dhcp_lease lease = {.addr = addr_v4(w->grant), .lease_s = LEASE_S};
        dhcp_server_claimed(w->server, claim->token, DHCP_CLAIM_GRANTED, &lease);
    }
}

static void on_gone(void *ctx, const struct addr *addr, enum dhcp_gone why)
{
    struct world *w = ctx;
    w->gone = *addr;
    w->why = why;
    w->gones++;
}

static void on_send(void *ctx, const struct dhcp_reply *reply)
{
    struct world *w = ctx;
    w->reply = *reply;
    w->sends++;
}

static const struct dhcp_ops ops = {.claim = on_claim, .gone = on_gone, .send = on_send};

static void silent(void *ctx, enum log_level level, const char *line)
{
}

static struct dhcp_config usual_config(void)
{
    struct dhcp_config c = {.service = addr_v4(SERVICE),
                            .own = own,
                            .authoritative = true,
                            .mtu = 1400,
                            .domain = "lab.peal"};
    assert_true(net_parse(&c.range, "10.77.0.0/16"));
    return c;
}

static struct world *world_new(const struct dhcp_config *config)
{
    struct world *w = calloc(1, sizeof *w);
    w->env.now_us = SEC(1000);
    w->env.level = LOG_LEVEL_DEBUG;
    w->env.log = silent;
    w->server = dhcp_server_new(&w->env, config, &ops, w);
    assert_non_null(w->server);
    return w;
}

static int setup(void **state)
{
    struct dhcp_config c = usual_config();
    *state = world_new(&c);
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    dhcp_server_free(w->server);
    free(w);
    return 0;
}

/* ---- the client */

struct say {
    enum dhcp_type type;
    struct mac mac;
    uint32_t requested, server_id, ciaddr, giaddr, src;
    uint16_t flags, max_size;
    const char *id, *name, *params;
    size_t id_len, name_len; /* 0: of the text */
};

static void say(struct world *w, const struct say *m)
{
    static uint32_t xid;
    uint8_t bytes[1400];
    struct writer b = writer_of(bytes, sizeof bytes);
    struct dhcp_header h = {.op = DHCP_BOOTREQUEST,
                            .xid = ++xid,
                            .flags = m->flags,
                            .ciaddr = m->ciaddr,
                            .giaddr = m->giaddr,
                            .mac = m->mac};
    struct addr src = addr_v4(m->src);
    dhcp_write_header(&b, &h);
    dhcp_write_u8(&b, DHCP_OPT_TYPE, (uint8_t)m->type);
    if (m->requested)
        dhcp_write_u32(&b, DHCP_OPT_REQUESTED, m->requested);
    if (m->server_id)
        dhcp_write_u32(&b, DHCP_OPT_SERVER_ID, m->server_id);
    if (m->max_size)
        dhcp_write_u16(&b, DHCP_OPT_MAX_SIZE, m->max_size);
    if (m->id)
        dhcp_write_option(&b, DHCP_OPT_CLIENT_ID, m->id, m->id_len ? m->id_len : strlen(m->id));
    if (m->name)
        dhcp_write_option(&b, DHCP_OPT_HOST_NAME, m->name,
                          m->name_len ? m->name_len : strlen(m->name));
    if (m->params)
        dhcp_write_option(&b, DHCP_OPT_PARAMETERS, m->params, strlen(m->params));
    dhcp_write_end(&b);
    dhcp_server_input(w->server, m->giaddr ? &router : &m->mac, &src, bytes, writer_len(&b));
}

static void discover(struct world *w, struct mac mac)
{
    say(w, &(struct say){.type = DHCP_DISCOVER, .mac = mac});
}

/* RFC 2131 table 4: selecting has the server, init-reboot has neither, renewing has ciaddr. */
static void select_offer(struct world *w, struct mac mac, uint32_t addr)
{
    say(w,
        &(struct say){.type = DHCP_REQUEST, .mac = mac, .requested = addr, .server_id = SERVICE});
}

static void reboot(struct world *w, struct mac mac, uint32_t addr)
{
    say(w, &(struct say){.type = DHCP_REQUEST, .mac = mac, .requested = addr});
}

static void renew(struct world *w, struct mac mac, uint32_t addr)
{
    say(w, &(struct say){.type = DHCP_REQUEST, .mac = mac, .ciaddr = addr});
}

/* ---- the DHT */

static void grant(struct world *w, uint32_t addr)
{
    struct dhcp_lease lease = {.addr = addr_v4(addr), .lease_s = LEASE_S, .hostname = "alice"};
    dhcp_server_claimed(w->server, w->claim.token, DHCP_CLAIM_GRANTED, &lease);
}

static void refuse(struct world *w, enum dhcp_claim_result result)
{
    dhcp_server_claimed(w->server, w->claim.token, result, NULL);
}

static void pass(struct world *w, usec time_us)
{
    w->env.now_us += time_us;
    dhcp_server_tick(w->server);
}

/* ---- what came out */

/* The value of an option of the last reply, or NULL; *len has its length. */
static const uint8_t *option(const struct world *w, uint8_t code, size_t *len)
{
    struct reader r = reader_of(w->reply.bytes, w->reply.len);
    read_bytes(&r, 240);
    for (;;) {
        uint8_t at = read_u8(&r);
        if (at == DHCP_OPT_END || r.failed)
            return NULL;
        *len = read_u8(&r);
        const uint8_t *value = read_bytes(&r, *len);
        if (at == code)
            return value;
    }
}

static uint32_t option_u32(const struct world *w, uint8_t code)
{
    size_t len = 0;
    const uint8_t *v = option(w, code, &len);
    return v && len == 4 ? get_u32(v) : 0;
}

static int reply_type(const struct world *w)
{
    size_t len;
    const uint8_t *v = w->sends ? option(w, DHCP_OPT_TYPE, &len) : NULL;
    return v ? *v : 0;
}

static uint32_t reply_yiaddr(const struct world *w)
{
    return get_u32(w->reply.bytes + 16);
}

static void bind(struct world *w, struct mac mac, uint32_t addr)
{
    discover(w, mac);
    grant(w, addr);
    select_offer(w, mac, addr);
    assert_int_equal(reply_type(w), DHCP_ACK);
    assert_int_equal(reply_yiaddr(w), addr);
}

/* ---- DISCOVER */

static void no_offer_before_the_claim(void **state)
{
    struct world *w = *state;
    discover(w, host);
    assert_int_equal(w->claims, 1);
    assert_int_equal(w->sends, 0);
    discover(w, host); /* a retransmission */
    assert_int_equal(w->claims, 1);
    assert_int_equal(w->sends, 0);
    grant(w, ALICE);
    assert_int_equal(w->sends, 1);
    assert_int_equal(reply_type(w), DHCP_OFFER);
    assert_int_equal(reply_yiaddr(w), ALICE);
    assert_int_equal(option_u32(w, DHCP_OPT_SERVER_ID), SERVICE);
    assert_int_equal(option_u32(w, DHCP_OPT_LEASE_TIME), LEASE_S);
}

static void a_claim_may_be_answered_at_once(void **state)
{
    struct world *w = *state;
    w->at_once = true;
    w->grant = ALICE;
    discover(w, host);
    assert_int_equal(reply_type(w), DHCP_OFFER);
    select_offer(w, host, ALICE);
    assert_int_equal(reply_type(w), DHCP_ACK);
    assert_int_equal(dhcp_server_leases(w->server), 1);
}

static void the_claim_says_who_asks_and_for_what(void **state)
{
    static const struct {
        const char *rule;
        struct say say;
        uint32_t wanted;
        bool own, exact;
        const char *hostname;
    } cases[] = {
        {"no wish", {.type = DHCP_DISCOVER}, 0, false, false, ""},
        {"a wish", {.type = DHCP_DISCOVER, .requested = BOB}, BOB, false, false, ""},
        {"a foreign wish", {.type = DHCP_DISCOVER, .requested = ELSEWHERE}, 0, false, false, ""},
        {"a wish for the service",
         {.type = DHCP_DISCOVER, .requested = SERVICE},
         0,
         false,
         false,
         ""},
        {"a wish for the network",
         {.type = DHCP_DISCOVER, .requested = 0x0a4d0000},
         0,
         false,
         false,
         ""},
        {"a wish for everybody",
         {.type = DHCP_DISCOVER, .requested = 0x0a4dffff},
         0,
         false,
         false,
         ""},
        {"init-reboot", {.type = DHCP_REQUEST, .requested = BOB}, BOB, false, true, ""},
        {"renewing", {.type = DHCP_REQUEST, .ciaddr = BOB}, BOB, false, true, ""},
        {"the machine itself",
         {.type = DHCP_DISCOVER, .mac = {{2, 0, 0, 0, 0, 1}}},
         0,
         true,
         false,
         ""},
        {"a name", {.type = DHCP_DISCOVER, .name = "Alice"}, 0, false, false, "alice"},
        {"a qualified name",
         {.type = DHCP_DISCOVER, .name = "bob.lab.peal"},
         0,
         false,
         false,
         "bob"},
        {"a name with NULs behind it",
         {.type = DHCP_DISCOVER, .name = "bob\0\0", .name_len = 5},
         0,
         false,
         false,
         "bob"},
        {"NULs only", {.type = DHCP_DISCOVER, .name = "\0\0", .name_len = 2}, 0, false, false, ""},
        {"no label: blank", {.type = DHCP_DISCOVER, .name = "my pc"}, 0, false, false, ""},
        {"no label: hyphen", {.type = DHCP_DISCOVER, .name = "-pc"}, 0, false, false, ""},
        {"no label: dot", {.type = DHCP_DISCOVER, .name = ".pc"}, 0, false, false, ""},
    };
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct say m = cases[i].say;
        if (m.mac.b[0] == 0)
            m.mac = (struct mac){{0x02, 1, 1, 1, 1, (uint8_t)i}};
        say(w, &m);
        assert_int_equal(w->claims, i + 1);
        uint32_t wanted = w->claim.wanted.family ? addr_to_v4(&w->claim.wanted) : 0;
        if (wanted != cases[i].wanted || w->claim.own != cases[i].own ||
            w->claim.exact != cases[i].exact || strcmp(w->claim.hostname, cases[i].hostname) ||
            memcmp(&w->claim.mac, &m.mac, sizeof m.mac))
            fail_msg("%s", cases[i].rule);
        refuse(w, DHCP_CLAIM_UNAVAILABLE);
    }
}

static void a_claim_that_fails_offers_nothing(void **state)
{
    struct world *w = *state;
    discover(w, host);
    refuse(w, DHCP_CLAIM_UNAVAILABLE);
    discover(w, host);
    refuse(w, DHCP_CLAIM_TAKEN); /* the range is full */
    assert_int_equal(w->sends, 0);
    assert_int_equal(w->claims, 2);
    assert_int_equal(dhcp_server_drops(w->server, DHCP_DROP_UNAVAILABLE), 2);
    assert_true(dhcp_server_deadline(w->server) == USEC_NEVER);
}

static void a_claim_without_an_answer_ends(void **state)
{
    struct world *w = *state;
    discover(w, host);
    assert_true(dhcp_server_deadline(w->server) == w->env.now_us + CLAIM_TIMEOUT);
    pass(w, CLAIM_TIMEOUT);
    assert_true(dhcp_server_deadline(w->server) == USEC_NEVER);
    grant(w, ALICE); /* late: handed back, once */
    assert_int_equal(w->sends, 0);
    assert_int_equal(w->gones, 1);
    assert_int_equal(w->why, DHCP_GONE_NOT_WANTED);
    assert_int_equal(addr_to_v4(&w->gone), ALICE);
}

static void a_late_grant_of_a_held_address_is_not_handed_back(void **state)
{
    struct world *w = *state;
    discover(w, host);
    uint32_t late = w->claim.token;
    pass(w, CLAIM_TIMEOUT);
    bind(w, host, ALICE);
    w->claim.token = late;
    grant(w, ALICE);
    assert_int_equal(w->gones, 0);
    assert_int_equal(dhcp_server_leases(w->server), 1);
}

static void an_offer_is_kept_a_minute(void **state)
{
    struct world *w = *state;
    discover(w, host);
    grant(w, ALICE);
    pass(w, OFFER_HOLD - 1);
    assert_int_equal(w->gones, 0);
    pass(w, 1);
    assert_int_equal(w->gones, 1);
    assert_int_equal(w->why, DHCP_GONE_NOT_WANTED);
    assert_int_equal(dhcp_server_leases(w->server), 0);
}

static void a_client_that_comes_again_gets_its_address(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    discover(w, host);
    assert_int_equal(w->claims, 1);
    assert_int_equal(reply_type(w), DHCP_OFFER);
    assert_int_equal(reply_yiaddr(w), ALICE);
    assert_int_equal(dhcp_server_leases(w->server), 1);
    pass(w, OFFER_HOLD); /* it was bound: the lease goes on without a REQUEST */
    assert_int_equal(dhcp_server_leases(w->server), 1);
}

/* ---- who a client is */

static void one_client_by_table(void **state)
{
    static const struct {
        const char *rule;
        struct say first, second;
        bool same;
    } cases[] = {
        {"hardware address", {.mac = {{2, 1}}}, {.mac = {{2, 1}}}, true},
        {"another hardware address", {.mac = {{2, 2}}}, {.mac = {{2, 3}}}, false},
        {"identifier, not hardware address",
         {.mac = {{2, 4}},
          .id = "\xff"
                "duid-a"},
         {.mac = {{2, 5}},
          .id = "\xff"
                "duid-a"},
         true},
        {"another identifier",
         {.mac = {{2, 6}},
          .id = "\xff"
                "duid-b"},
         {.mac = {{2, 6}},
          .id = "\xff"
                "duid-c"},
         false},
        {"an identifier that says the hardware address (udhcpc)",
         {.mac = {{2, 7}}},
         {.mac = {{2, 7}}, .id = "\1\2\7\0\0\0\0", .id_len = 7},
         true},
        {"on the machine itself all are one",
         {.mac = {{2, 0, 0, 0, 0, 1}}},
         {.mac = {{2, 0, 0, 0, 0, 1}},
          .id = "\xff"
                "duid-d"},
         true},
    };
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct say first = cases[i].first, second = cases[i].second;
        unsigned before = w->claims;
        first.type = second.type = DHCP_DISCOVER;
        say(w, &first);
        grant(w, 0x0a4d0100 + (uint32_t)i);
        say(w, &second);
        if ((w->claims == before + 1) != cases[i].same)
            fail_msg("%s", cases[i].rule);
    }
}

/* ---- REQUEST */

static void request_selecting(void **state)
{
    struct world *w = *state;
    discover(w, host);
    grant(w, ALICE);
    pass(w, MSEC(2500));
    select_offer(w, host, ALICE);
    assert_int_equal(reply_type(w), DHCP_ACK);
    assert_int_equal(option_u32(w, DHCP_OPT_LEASE_TIME), LEASE_S - 3); /* never longer than ours */
    assert_int_equal(option_u32(w, DHCP_OPT_T1), (LEASE_S - 3) / 2);
    assert_int_equal(option_u32(w, DHCP_OPT_T2), LEASE_S - 3 - (LEASE_S - 3) / 8);
    assert_int_equal(dhcp_server_leases(w->server), 1);
    assert_int_equal(w->claims, 1);
}

static void a_lost_ack_is_sent_again(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    select_offer(w, host, ALICE);
    assert_int_equal(w->sends, 3);
    assert_int_equal(reply_type(w), DHCP_ACK);
    assert_int_equal(w->claims, 1);
}

static void another_servers_offer_frees_ours(void **state)
{
    struct world *w = *state;
    discover(w, host);
    grant(w, ALICE);
    say(w, &(struct say){
               .type = DHCP_REQUEST, .mac = host, .requested = ELSEWHERE, .server_id = ELSEWHERE});
    assert_int_equal(w->sends, 1);
    assert_int_equal(w->gones, 1);
    assert_int_equal(w->why, DHCP_GONE_NOT_WANTED);
}

static void request_by_table(void **state)
{
    /* For a client that we never met: after our restart, or one from another network. */
    static const struct {
        const char *rule;
        struct say say;
        int at_once; /* type sent without a claim */
        int when_granted, when_taken, when_unavailable;
    } cases[] = {
        {"init-reboot", {.requested = ALICE}, 0, DHCP_ACK, DHCP_NAK, 0},
        {"renewing", {.ciaddr = ALICE}, 0, DHCP_ACK, DHCP_NAK, 0},
        {"rebinding", {.ciaddr = ALICE, .flags = DHCP_FLAG_BROADCAST}, 0, DHCP_ACK, DHCP_NAK, 0},
        {"selecting", {.requested = ALICE, .server_id = SERVICE}, 0, DHCP_ACK, DHCP_NAK, 0},
        {"moved from another network", {.requested = ELSEWHERE}, DHCP_NAK, 0, 0, 0},
        {"renewing another network's", {.ciaddr = ELSEWHERE}, DHCP_NAK, 0, 0, 0},
        {"the service address", {.requested = SERVICE}, DHCP_NAK, 0, 0, 0},
        {"the broadcast address", {.requested = 0x0a4dffff}, DHCP_NAK, 0, 0, 0},
        {"no address", {.server_id = SERVICE}, -1, 0, 0, 0},
        {"another server's", {.requested = ALICE, .server_id = ELSEWHERE}, -1, 0, 0, 0},
    };
    static const enum dhcp_claim_result results[] = {DHCP_CLAIM_GRANTED, DHCP_CLAIM_TAKEN,
                                                     DHCP_CLAIM_UNAVAILABLE};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t r = 0; r < ARRAY_LEN(results); r++) {
            struct dhcp_config config = usual_config();
            struct world *w = world_new(&config);
            struct say m = cases[i].say;
            int expected[] = {cases[i].when_granted, cases[i].when_taken,
                              cases[i].when_unavailable};
            m.type = DHCP_REQUEST;
            m.mac = host;
            say(w, &m);
            if (w->claims != (cases[i].at_once == 0) ||
                reply_type(w) != (cases[i].at_once > 0 ? cases[i].at_once : 0))
                fail_msg("%s", cases[i].rule);
            if (w->claims && results[r] == DHCP_CLAIM_GRANTED)
                grant(w, ALICE);
            else if (w->claims)
                refuse(w, results[r]);
            if (w->claims && reply_type(w) != expected[r])
                fail_msg("%s, result %u", cases[i].rule, (unsigned)r);
            void *done = w;
            teardown(&done);
        }
    }
}

static void a_bound_client_is_held_to_its_address(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    reboot(w, host, BOB);
    assert_int_equal(reply_type(w), DHCP_NAK);
    assert_int_equal(reply_yiaddr(w), 0);
    renew(w, host, BOB);
    assert_int_equal(reply_type(w), DHCP_NAK);
    reboot(w, host, ALICE);
    assert_int_equal(reply_type(w), DHCP_ACK);
    assert_int_equal(w->claims, 1);
}

static void on_a_shared_lan_foreign_addresses_are_not_our_business(void **state)
{
    struct dhcp_config config = usual_config();
    config.authoritative = false;
    struct world *w = world_new(&config);
    reboot(w, host, ELSEWHERE);
    renew(w, host, ELSEWHERE);
    assert_int_equal(w->sends, 0);
    assert_int_equal(dhcp_server_drops(w->server, DHCP_DROP_NOT_OURS), 2);
    bind(w, host, ALICE);
    reboot(w, host, ELSEWHERE); /* this one is ours */
    assert_int_equal(reply_type(w), DHCP_NAK);
    void *done = w;
    teardown(&done);
}

static void an_old_lease_is_claimed_anew(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    pass(w, SEC(LEASE_S) / 4);
    renew(w, host, ALICE); /* three quarters are left */
    assert_int_equal(w->claims, 1);
    assert_int_equal(option_u32(w, DHCP_OPT_LEASE_TIME), LEASE_S / 4 * 3);
    pass(w, SEC(LEASE_S) / 4);
    unsigned sends = w->sends;
    renew(w, host, ALICE);
    renew(w, host, ALICE);
    assert_int_equal(w->claims, 2);
    assert_int_equal(w->sends, sends);
    assert_true(w->claim.exact);
    assert_int_equal(addr_to_v4(&w->claim.wanted), ALICE);
    grant(w, ALICE);
    assert_int_equal(w->sends, sends + 1);
    assert_int_equal(option_u32(w, DHCP_OPT_LEASE_TIME), LEASE_S);
    pass(w, SEC(LEASE_S) - 1);
    assert_int_equal(dhcp_server_leases(w->server), 1);
    pass(w, 1);
    assert_int_equal(dhcp_server_leases(w->server), 0);
    assert_int_equal(w->why, DHCP_GONE_EXPIRED);
}

static void a_lease_that_cannot_grow_is_good_to_its_end(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    pass(w, SEC(LEASE_S) / 2);
    renew(w, host, ALICE);
    refuse(w, DHCP_CLAIM_UNAVAILABLE);
    assert_int_equal(reply_type(w), DHCP_ACK);
    assert_int_equal(option_u32(w, DHCP_OPT_LEASE_TIME), LEASE_S / 2);
    renew(w, host, ALICE);
    pass(w, CLAIM_TIMEOUT); /* no answer at all */
    assert_int_equal(dhcp_server_leases(w->server), 1);
    pass(w, SEC(LEASE_S) / 2);
    assert_int_equal(w->gones, 1);
    assert_int_equal(w->why, DHCP_GONE_EXPIRED);
}

static void a_lease_ends_while_being_claimed_anew(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    pass(w, SEC(LEASE_S) - SEC(5));
    renew(w, host, ALICE);
    pass(w, SEC(5));
    assert_int_equal(w->why, DHCP_GONE_EXPIRED);
    refuse(w, DHCP_CLAIM_TAKEN); /* nobody waits */
    assert_int_equal(dhcp_server_leases(w->server), 0);
    assert_true(dhcp_server_deadline(w->server) == USEC_NEVER);
}

static void the_last_second_of_a_lease_is_not_given_away(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    pass(w, SEC(LEASE_S) - MSEC(500));
    unsigned sends = w->sends;
    renew(w, host, ALICE);
    refuse(w, DHCP_CLAIM_UNAVAILABLE);
    assert_int_equal(w->sends, sends);
    assert_int_equal(dhcp_server_drops(w->server, DHCP_DROP_UNAVAILABLE), 1);
    pass(w, MSEC(500));
    assert_int_equal(w->why, DHCP_GONE_EXPIRED);
}

static void a_lost_address_is_refused(void **state)
{
    struct world *w = *state;
    struct addr alice = addr_v4(ALICE);
    bind(w, host, ALICE);
    dhcp_server_lost(w->server, &alice);
    assert_int_equal(w->gones, 0);
    renew(w, host, ALICE);
    refuse(w, DHCP_CLAIM_TAKEN);
    assert_int_equal(reply_type(w), DHCP_NAK);
    bind(w, host, BOB);
    pass(w, SEC(LEASE_S) / 2);
    renew(w, host, BOB);
    refuse(w, DHCP_CLAIM_TAKEN);
    assert_int_equal(reply_type(w), DHCP_NAK);
    assert_int_equal(dhcp_server_leases(w->server), 0);
}

static void a_discover_with_an_old_lease_may_move(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    pass(w, SEC(LEASE_S) / 2);
    discover(w, host);
    assert_false(w->claim.exact);
    assert_int_equal(addr_to_v4(&w->claim.wanted), ALICE);
    grant(w, BOB);
    assert_int_equal(reply_type(w), DHCP_OFFER);
    assert_int_equal(reply_yiaddr(w), BOB);
    assert_int_equal(addr_to_v4(&w->gone), ALICE);
    select_offer(w, host, BOB);
    assert_int_equal(reply_type(w), DHCP_ACK);
}

/* ---- DECLINE, RELEASE, INFORM */

static void a_declined_address_is_avoided(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    say(w,
        &(struct say){.type = DHCP_DECLINE, .mac = host, .requested = ALICE, .server_id = SERVICE});
    assert_int_equal(w->why, DHCP_GONE_DECLINED);
    assert_int_equal(addr_to_v4(&w->gone), ALICE);
    discover(w, host);
    assert_int_equal(w->claim.avoid_count, 1);
    assert_int_equal(addr_to_v4(&w->avoid[0]), ALICE);
    grant(w, BOB);
    assert_int_equal(reply_yiaddr(w), BOB);
    pass(w, DECLINED_HOLD);
    discover(w, own);
    assert_int_equal(w->claim.avoid_count, 0);
}

static void declined_addresses_are_bounded(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < DHCP_DECLINED_MAX + 1; i++) {
        bind(w, host, ALICE + i);
        say(w, &(struct say){.type = DHCP_DECLINE, .mac = host, .requested = ALICE + i});
        pass(w, SEC(1));
    }
    discover(w, host);
    assert_int_equal(w->claim.avoid_count, DHCP_DECLINED_MAX);
    for (size_t i = 0; i < DHCP_DECLINED_MAX; i++)
        assert_int_not_equal(addr_to_v4(&w->avoid[i]), ALICE); /* the oldest went */
}

static void decline_and_release_by_table(void **state)
{
    static const struct {
        const char *rule;
        struct say say;
        bool gone;
    } cases[] = {
        {"decline", {.type = DHCP_DECLINE, .requested = ALICE, .server_id = SERVICE}, true},
        {"decline another's", {.type = DHCP_DECLINE, .requested = BOB}, false},
        {"decline nothing", {.type = DHCP_DECLINE}, false},
        {"decline at another server",
         {.type = DHCP_DECLINE, .requested = ALICE, .server_id = ELSEWHERE},
         false},
        {"a stranger declines", {.type = DHCP_DECLINE, .mac = {{2, 9}}, .requested = ALICE}, false},
        {"release", {.type = DHCP_RELEASE, .ciaddr = ALICE, .server_id = SERVICE}, true},
        {"release another's", {.type = DHCP_RELEASE, .ciaddr = BOB}, false},
        {"release nothing", {.type = DHCP_RELEASE}, false},
        {"release at another server",
         {.type = DHCP_RELEASE, .ciaddr = ALICE, .server_id = ELSEWHERE},
         false},
        {"a stranger releases", {.type = DHCP_RELEASE, .mac = {{2, 9}}, .ciaddr = ALICE}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dhcp_config config = usual_config();
        struct world *w = world_new(&config);
        struct say m = cases[i].say;
        bind(w, host, ALICE);
        unsigned sends = w->sends;
        if (m.mac.b[0] == 0)
            m.mac = host;
        say(w, &m);
        if ((w->gones == 1) != cases[i].gone || w->sends != sends)
            fail_msg("%s", cases[i].rule);
        assert_int_equal(dhcp_server_drops(w->server, DHCP_DROP_NOT_OURS), !cases[i].gone);
        void *done = w;
        teardown(&done);
    }
}

static void a_release_while_being_claimed_anew(void **state)
{
    struct world *w = *state;
    bind(w, host, ALICE);
    pass(w, SEC(LEASE_S) / 2);
    renew(w, host, ALICE);
    say(w, &(struct say){.type = DHCP_RELEASE, .mac = host, .ciaddr = ALICE});
    assert_int_equal(w->why, DHCP_GONE_RELEASED);
    grant(w, ALICE);
    assert_int_equal(w->gones, 2);
    assert_int_equal(w->why, DHCP_GONE_NOT_WANTED);
    assert_int_equal(dhcp_server_leases(w->server), 0);
}

static void inform_gives_options_and_no_lease(void **state)
{
    struct world *w = *state;
    say(w, &(struct say){.type = DHCP_INFORM, .mac = host, .ciaddr = ALICE});
    assert_int_equal(reply_type(w), DHCP_ACK);
    assert_int_equal(reply_yiaddr(w), 0);
    assert_int_equal(option_u32(w, DHCP_OPT_LEASE_TIME), 0);
    assert_int_equal(option_u32(w, DHCP_OPT_DNS), SERVICE);
    assert_int_equal(addr_to_v4(&w->reply.dst), ALICE);
    say(w, &(struct say){.type = DHCP_INFORM, .mac = host, .src = BOB});
    assert_int_equal(addr_to_v4(&w->reply.dst), BOB);
    say(w, &(struct say){.type = DHCP_INFORM, .mac = host});
    say(w, &(struct say){.type = DHCP_INFORM, .mac = host, .ciaddr = ELSEWHERE});
    assert_int_equal(w->sends, 2);
    assert_int_equal(w->claims, 0);
}

/* ---- to whom, and what */

static void destination_by_table(void **state)
{
    /* RFC 2131 4.1; the client has had ALICE offered. */
    static const struct {
        const char *rule;
        struct say say;
        int type;
        uint32_t dst;
        uint16_t port;
        uint8_t mac_last; /* 0x22 the client's, 0x33 the relay's, 0xff everybody's */
    } cases[] = {
        {"offer: to the offered address", {.type = DHCP_DISCOVER}, DHCP_OFFER, ALICE, 68, 0x22},
        {"offer: broadcast flag",
         {.type = DHCP_DISCOVER, .flags = 0x8000},
         DHCP_OFFER,
         UINT32_MAX,
         68,
         0xff},
        {"only the top flag is one",
         {.type = DHCP_DISCOVER, .flags = 0x7fff},
         DHCP_OFFER,
         ALICE,
         68,
         0x22},
        {"offer: relay agent",
         {.type = DHCP_DISCOVER, .giaddr = BOB, .flags = 0x8000},
         DHCP_OFFER,
         BOB,
         67,
         0x33},
        {"ack: selecting",
         {.type = DHCP_REQUEST, .requested = ALICE, .server_id = SERVICE},
         DHCP_ACK,
         ALICE,
         68,
         0x22},
        {"ack: renewing", {.type = DHCP_REQUEST, .ciaddr = ALICE}, DHCP_ACK, ALICE, 68, 0x22},
        {"ack: rebinding",
         {.type = DHCP_REQUEST, .ciaddr = ALICE, .flags = 0x8000},
         DHCP_ACK,
         ALICE,
         68,
         0x22},
        {"nak: to everybody",
         {.type = DHCP_REQUEST, .requested = BOB},
         DHCP_NAK,
         UINT32_MAX,
         68,
         0xff},
        {"nak: renewing too",
         {.type = DHCP_REQUEST, .ciaddr = BOB},
         DHCP_NAK,
         UINT32_MAX,
         68,
         0xff},
        {"nak: relay agent",
         {.type = DHCP_REQUEST, .requested = ELSEWHERE, .giaddr = BOB},
         DHCP_NAK,
         BOB,
         67,
         0x33},
        {"inform", {.type = DHCP_INFORM, .ciaddr = BOB, .flags = 0x8000}, DHCP_ACK, BOB, 68, 0x22},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dhcp_config config = usual_config();
        struct world *w = world_new(&config);
        struct say m = cases[i].say;
        discover(w, host);
        grant(w, ALICE);
        m.mac = host;
        say(w, &m);
        if (reply_type(w) != cases[i].type || addr_to_v4(&w->reply.dst) != cases[i].dst ||
            w->reply.dst_port != cases[i].port || w->reply.dst_mac.b[5] != cases[i].mac_last)
            fail_msg("%s", cases[i].rule);
        assert_int_equal(w->reply.src_port, 67);
        assert_int_equal(addr_to_v4(&w->reply.src), SERVICE);
        assert_true(w->reply.len >= DHCP_SIZE_MIN);
        /* A relay must not unicast a NAK (RFC 2131 4.3.2). */
        if (m.type == DHCP_REQUEST && m.giaddr)
            assert_int_equal(get_u16(w->reply.bytes + 10), DHCP_FLAG_BROADCAST);
        void *done = w;
        teardown(&done);
    }
}

static void a_relay_outside_the_range_is_dropped(void **state)
{
    struct world *w = *state;
    say(w, &(struct say){.type = DHCP_DISCOVER, .mac = host, .giaddr = ELSEWHERE});
    assert_int_equal(w->claims, 0);
    assert_int_equal(dhcp_server_drops(w->server, DHCP_DROP_RELAY), 1);
}

/* The codes of the last reply's options in their order, as text. */
static void option_order(const struct world *w, char *out)
{
    struct reader r = reader_of(w->reply.bytes, w->reply.len);
    read_bytes(&r, 240);
    *out = '\0';
    for (uint8_t code; (code = read_u8(&r)) != DHCP_OPT_END && !r.failed;) {
        out += sprintf(out, "%s%d", code == DHCP_OPT_TYPE ? "" : " ", code);
        read_bytes(&r, read_u8(&r));
    }
}

static void parameters_by_table(void **state)
{
    static const struct {
        const char *rule, *params, *id, *order;
        bool router, routes;
    } cases[] = {
        {"no list: all but router and routes", NULL, NULL, "53 54 51 58 59 1 28 26 6 15", false,
         false},
        {"the client's order", "\x1c\x06\x0c\x1a\x0f", NULL, "53 54 51 58 59 28 6 12 26 15", false,
         false},
        {"the mask first", "\x06\x03\x01", NULL, "53 54 51 58 59 1 6 3", true, false},
        {"no router unless configured", "\x03\x01", NULL, "53 54 51 58 59 1", false, false},
        {"no routes unless configured", "\x79\x01", NULL, "53 54 51 58 59 1", false, false},
        {"routes", "\x79\x03\x01", NULL, "53 54 51 58 59 1 121 3", true, true},
        {"each once", "\x06\x06\x01\x01", NULL, "53 54 51 58 59 1 6", false, false},
        {"what we do not have is left out", "\x2c\x2f\x06", NULL, "53 54 51 58 59 6", false, false},
        {"times are given once, asked or not", "\x33\x3a\x3b\x35\x36", NULL, "53 54 51 58 59",
         false, false},
        {"the identifier comes back (RFC 6842)", "\x06",
         "\xff"
         "duid",
         "53 54 51 58 59 61 6", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dhcp_config config = usual_config();
        char order[200];
        if (cases[i].router)
            config.router = addr_v4(BOB);
        config.route_count = cases[i].routes;
        struct world *w = world_new(&config);
        say(w,
            &(struct say){
                .type = DHCP_DISCOVER, .mac = host, .params = cases[i].params, .id = cases[i].id});
        grant(w, ALICE);
        option_order(w, order);
        if (strcmp(order, cases[i].order))
            fail_msg("%s: %s", cases[i].rule, order);
        void *done = w;
        teardown(&done);
    }
}

static void option_values(void **state)
{
    struct world *w = *state;
    size_t len;
    bind(w, host, ALICE);
    assert_int_equal(option_u32(w, DHCP_OPT_SUBNET_MASK), 0xffff0000);
    assert_int_equal(option_u32(w, DHCP_OPT_BROADCAST), 0x0a4dffff);
    assert_int_equal(option_u32(w, DHCP_OPT_DNS), SERVICE);
    assert_memory_equal(option(w, DHCP_OPT_DOMAIN, &len), "lab.peal", 8);
    assert_int_equal(len, 8);
    assert_int_equal(get_u16(option(w, DHCP_OPT_MTU, &len)), 1400);
    say(w, &(struct say){.type = DHCP_DISCOVER, .mac = host, .params = "\x0c"});
    assert_memory_equal(option(w, DHCP_OPT_HOST_NAME, &len), "alice", 5);
}

/* RFC 3442's own example of the encoding, with the default route that takes option 3's place. */
static void classless_routes_are_packed(void **state)
{
    static const uint8_t expected[] = {0,  10, 77, 0,  6,                 /* 0.0.0.0/0 */
                                       8,  10, 10, 77, 0,   5,            /* 10.0.0.0/8 */
                                       25, 10, 0,  0,  128, 10, 77, 0, 5, /* 10.0.0.128/25 */
                                       16, 10, 17, 0,  0,   0,  0};       /* on the link */
    struct dhcp_config config = usual_config();
    size_t len;
    config.router = addr_v4(BOB);
    config.route_count = 3;
    net_parse(&config.routes[0].to, "10.1.2.3/8");
    net_parse(&config.routes[1].to, "10.0.0.128/25");
    net_parse(&config.routes[2].to, "10.17.0.0/16");
    config.routes[0].via = config.routes[1].via = addr_v4(ALICE);
    struct world *w = world_new(&config);
    bind(w, host, ALICE);
    const uint8_t *value = option(w, DHCP_OPT_CLASSLESS_ROUTES, &len);
    assert_non_null(value);
    assert_int_equal(len, sizeof expected);
    assert_memory_equal(value, expected, sizeof expected);
    void *done = w;
    teardown(&done);
}

static void a_reply_fits_what_the_client_can_take(void **state)
{
    static const struct {
        uint16_t max_size, mtu;
        size_t most;
        bool domain;
    } cases[] = {
        {0, 1400, 576 - 28, false},   {500, 1400, 576 - 28, false},
        {576, 1400, 576 - 28, false}, {1400, 1400, 1400 - 28, true},
        {1500, 900, 900 - 28, true},  {65535, 0, DHCP_REPLY_MAX, true},
    };
    char id[250];
    memset(id, 'x', sizeof id);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dhcp_config config = usual_config();
        size_t len;
        memset(config.domain, 'a', 250); /* identifier and domain do not both fit into 576 */
        config.mtu = cases[i].mtu;
        struct world *w = world_new(&config);
        say(w, &(struct say){.type = DHCP_DISCOVER,
                             .mac = host,
                             .max_size = cases[i].max_size,
                             .id = id,
                             .id_len = sizeof id});
        grant(w, ALICE);
        assert_true(w->reply.len <= cases[i].most);
        assert_int_equal(option(w, DHCP_OPT_DOMAIN, &len) != NULL, cases[i].domain);
        assert_int_equal(option_u32(w, DHCP_OPT_DNS), SERVICE);
        void *done = w;
        teardown(&done);
    }
}

/* ---- bounds */

static struct mac nth(uint32_t n)
{
    return (struct mac){{0x02, 0x77, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 0}};
}

static void claims_are_bounded(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < DHCP_CLAIMS_MAX + 3; i++)
        discover(w, nth(i));
    assert_int_equal(w->claims, DHCP_CLAIMS_MAX);
    assert_int_equal(dhcp_server_drops(w->server, DHCP_DROP_FULL), 3);
    grant(w, ALICE);
    discover(w, nth(DHCP_CLAIMS_MAX));
    assert_int_equal(w->claims, DHCP_CLAIMS_MAX + 1);
}

static void the_victim_is_the_longest_without_a_lease(void **state)
{
    struct world *w = *state;
    w->at_once = true;
    for (uint32_t i = 0; i < DHCP_CLIENTS_MAX; i++) {
        w->grant = 0x0a4d0100 + i;
        discover(w, nth(i));
        if (i != 7 && i != 8)
            select_offer(w, nth(i), w->grant);
        pass(w, MSEC(1));
    }
    for (uint32_t i = 0; i < 2; i++) {
        w->grant = ALICE + i;
        discover(w, nth(2000 + i));
        select_offer(w, nth(2000 + i), ALICE + i);
        assert_int_equal(reply_type(w), DHCP_ACK);
        assert_int_equal(w->gones, i + 1);
        assert_int_equal(addr_to_v4(&w->gone), 0x0a4d0107 + i);
    }
    discover(w, nth(3000)); /* all have leases */
    assert_int_equal(w->gones, 2);
    assert_int_equal(dhcp_server_leases(w->server), DHCP_CLIENTS_MAX);
    assert_int_equal(dhcp_server_drops(w->server, DHCP_DROP_FULL), 1);
}

static void malformed_messages_are_dropped(void **state)
{
    struct world *w = *state;
    struct addr src = addr_v4(0);
    uint8_t junk[300];
    memset(junk, 0x55, sizeof junk);
    dhcp_server_input(w->server, &host, &src, junk, sizeof junk);
    dhcp_server_input(w->server, &host, &src, junk, 0);
    assert_int_equal(dhcp_server_drops(w->server, DHCP_DROP_MALFORMED), 2);
    assert_int_equal(w->sends + w->claims + w->gones, 0);
    for (int d = 0; d < DHCP_DROP_COUNT; d++)
        assert_string_not_equal(dhcp_drop_text(d), "unknown");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_offer_before_the_claim),
        TEST(a_claim_may_be_answered_at_once),
        TEST(the_claim_says_who_asks_and_for_what),
        TEST(a_claim_that_fails_offers_nothing),
        TEST(a_claim_without_an_answer_ends),
        TEST(a_late_grant_of_a_held_address_is_not_handed_back),
        TEST(an_offer_is_kept_a_minute),
        TEST(a_client_that_comes_again_gets_its_address),
        TEST(one_client_by_table),
        TEST(request_selecting),
        TEST(a_lost_ack_is_sent_again),
        TEST(another_servers_offer_frees_ours),
        TEST(request_by_table),
        TEST(a_bound_client_is_held_to_its_address),
        TEST(on_a_shared_lan_foreign_addresses_are_not_our_business),
        TEST(an_old_lease_is_claimed_anew),
        TEST(a_lease_that_cannot_grow_is_good_to_its_end),
        TEST(a_lease_ends_while_being_claimed_anew),
        TEST(the_last_second_of_a_lease_is_not_given_away),
        TEST(a_lost_address_is_refused),
        TEST(a_discover_with_an_old_lease_may_move),
        TEST(a_declined_address_is_avoided),
        TEST(declined_addresses_are_bounded),
        TEST(decline_and_release_by_table),
        TEST(a_release_while_being_claimed_anew),
        TEST(inform_gives_options_and_no_lease),
        TEST(destination_by_table),
        TEST(a_relay_outside_the_range_is_dropped),
        TEST(parameters_by_table),
        TEST(option_values),
        TEST(classless_routes_are_packed),
        TEST(a_reply_fits_what_the_client_can_take),
        TEST(claims_are_bounded),
        TEST(the_victim_is_the_longest_without_a_lease),
        TEST(malformed_messages_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
