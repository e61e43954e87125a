// link: peal_dns
/* The DNS responder as a client and a DHT see it: both are scripted here, time is a number. */
#include "dns/server.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct world {
    struct env env;
    struct dns_server *server;
    unsigned replies, lookups, forwards, randoms;
    struct dns_source to;
    uint8_t reply[DNS_MESSAGE_MAX], forwarded[DNS_MESSAGE_MAX];
    size_t reply_len, forwarded_len;
    uint32_t token;
    char asked[80];
    const struct dns_answer *at_once;
    uint16_t next_id, id_step; /* what "random" gives */
};

static void on_reply(void *ctx, const struct dns_source *to, const uint8_t *bytes, size_t len)
{
    struct world *w = ctx;
    w->replies++;
    w->to = *to;
    w->reply_len = len;
    memcpy(w->reply, bytes, len);
}

static void asked(struct world *w, uint32_t token, const char *what)
{
    w->lookups++;
    w->token = token;
    snprintf(w->asked, sizeof w->asked, "%s", what);
    if (w->at_once)
        dns_server_answered(w->server, token, w->at_once);
}

static void on_lookup_name(void *ctx, uint32_t token, const char *label)
{
    asked(ctx, token, label);
}

static void on_lookup_addr(void *ctx, uint32_t token, const struct addr *addr)
{
    char text[ADDR_TEXT_SIZE];
    asked(ctx, token, addr_text(addr, text));
}

static void on_forward(void *ctx, const uint8_t *bytes, size_t len, bool tcp)
{
    struct world *w = ctx;
    w->forwards++;
    w->forwarded_len = len;
    memcpy(w->forwarded, bytes, len);
}

static const struct dns_ops ops = {.reply = on_reply,
                                   .lookup_name = on_lookup_name,
                                   .lookup_addr = on_lookup_addr,
                                   .forward = on_forward};

static void counted(void *ctx, void *buf, size_t len)
{
    struct world *w = ctx;
    uint32_t v = w->next_id | (uint32_t)w->next_id << 16;
    assert_int_equal(len, sizeof v);
    memcpy(buf, &v, len);
    w->next_id = (uint16_t)(w->next_id + w->id_step);
    w->randoms++;
}

static struct dns_config usual_config(void)
{
    struct dns_config c = {.domain = "lab.peal", .service = addr_v4(0x0a4d0001)};
    assert_true(net_parse(&c.ipv4, "10.77.0.0/16"));
    assert_true(net_parse(&c.ipv6, "fdab:cdef:1234::/48"));
    return c;
}

static struct world *world_new(const struct dns_config *config)
{
    struct world *w = calloc(1, sizeof *w);
    w->env.now_us = SEC(1000);
    w->env.host = w;
    w->env.random = counted;
    w->id_step = 1;
    w->server = dns_server_new(&w->env, config, &ops, w);
    assert_non_null(w->server);
    return w;
}

static int setup(void **state)
{
    struct dns_config c = usual_config();
    *state = world_new(&c);
    return 0;
}

static int setup_forwarding(void **state)
{
    struct dns_config c = usual_config();
    c.forward = true;
    *state = world_new(&c);
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    dns_server_free(w->server);
    free(w);
    return 0;
}

/* ---- the client */

static const struct dns_source client = {
    .addr = {.family = 4, .b = {10, 77, 0, 9}}, .port = 5353, .mac = {{2, 0, 0, 0, 0, 9}}};

static void assert_to_client(const struct dns_source *to)
{
    assert_true(addr_eq(&to->addr, &client.addr));
    assert_int_equal(to->port, client.port);
    assert_memory_equal(to->mac.b, client.mac.b, sizeof client.mac.b);
    assert_int_equal(to->tcp, client.tcp);
}

struct ask {
    const char *name;
    uint16_t type, id, class, flags;
    bool edns;
    uint8_t version;
    const struct dns_source *from;
};

static void ask(struct world *w, const struct ask *a)
{
    uint8_t bytes[512];
    struct writer b = writer_of(bytes, sizeof bytes);
    struct dns_names names = {.count = 0};
    struct dns_name name;
    assert_true(dns_name_from_text(&name, a->name));
    write_u16(&b, a->id);
    write_u16(&b, a->flags);
    write_u16(&b, 1);
    write_u32(&b, 0);
    write_u16(&b, a->edns);
    dns_name_write(&b, &names, &name);
    write_u16(&b, a->type);
    write_u16(&b, a->class ? a->class : DNS_CLASS_IN);
    if (a->edns) {
        write_bytes(&b, "\0\0\x29\4\xd0\0", 6);
        write_u8(&b, a->version);
        write_u32(&b, 0);
    }
    dns_server_input(w->server, a->from ? a->from : &client, bytes, writer_len(&b));
}

/* ---- what came out: the sections as text, "A 10.77.0.5; NS ns.lab.peal." */

struct said {
    uint16_t flags, counts[4];
    char text[1024];
};

static size_t put_name(char *out, const struct dns_name *name)
{
    char *p = out;
    for (size_t i = 0; name->b[i] != 0; i += 1u + name->b[i])
        p += sprintf(p, "%.*s.", name->b[i], (const char *)name->b + i + 1);
    return (size_t)(p - out);
}

static char *put_record(char *p, struct reader *r, const uint8_t *message)
{
    struct dns_name owner, target;
    struct addr addr = {.family = 0};
    char text[ADDR_TEXT_SIZE];
    assert_true(dns_name_read(&owner, r, message));
    p += put_name(p, &owner);
    uint16_t type = read_u16(r), class = read_u16(r);
    uint32_t ttl = read_u32(r);
    uint16_t len = read_u16(r);
    const uint8_t *rdata = read_bytes(r, len);
    if (type == DNS_TYPE_OPT)
        return p + sprintf(p, "OPT %u; ", class);
    assert_int_equal(class, DNS_CLASS_IN);
    p += sprintf(p, " %u ", ttl);
    if (type == DNS_TYPE_A || type == DNS_TYPE_AAAA) {
        addr.family = type == DNS_TYPE_A ? 4 : 6;
        memcpy(addr.b, rdata, len);
        return p + sprintf(p, "%s %s; ", addr.family == 4 ? "A" : "AAAA", addr_text(&addr, text));
    }
    struct reader data = reader_of(message, (size_t)(rdata + len - message));
    read_bytes(&data, (size_t)(rdata - message));
    assert_true(dns_name_read(&target, &data, message));
    p += sprintf(p, "%s ",
                 type == DNS_TYPE_NS    ? "NS"
                 : type == DNS_TYPE_SOA ? "SOA"
                 : type == DNS_TYPE_PTR ? "PTR"
                                        : "?");
    p += put_name(p, &target);
    if (type == DNS_TYPE_SOA) {
        assert_true(dns_name_read(&target, &data, message));
        read_bytes(&data, 20);
    }
    assert_true(reader_done(&data));
    return p + sprintf(p, "; ");
}

static struct said said(const struct world *w)
{
    struct said s;
    struct reader r = reader_of(w->reply, w->reply_len);
    struct dns_name name;
    char *p = s.text;
    memset(&s, 0, sizeof s);
    read_u16(&r);
    s.flags = read_u16(&r);
    for (int i = 0; i < 4; i++)
        s.counts[i] = read_u16(&r);
    if (s.counts[0]) {
        assert_true(dns_name_read(&name, &r, w->reply));
        read_u32(&r);
    }
    for (int i = s.counts[1] + s.counts[2] + s.counts[3]; i > 0; i--)
        p = put_record(p, &r, w->reply);
    assert_true(reader_done(&r));
    return s;
}

static int rcode(const struct world *w)
{
    return w->replies ? get_u16(w->reply + 2) & DNS_RCODE : -1;
}

#define LAB_SOA "lab.peal. 5 SOA ns.lab.peal.; "
#define V4_SOA "77.10.in-addr.arpa. 5 SOA ns.lab.peal.; "
#define V6_SOA "4.3.2.1.f.e.d.c.b.a.d.f.ip6.arpa. 5 SOA ns.lab.peal.; "
#define V6_HOST "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.3.2.1.f.e.d.c.b.a.d.f.ip6.arpa"

enum { YES = 1, NO, FAIL };

/* What the DHT says in the table below: alice has both addresses, found by either. */
static struct dns_answer alice(void)
{
    struct dns_answer a = {.found = true, .label = "alice", .ipv4 = addr_v4(0x0a4d0005)};
    assert_true(addr_parse(&a.ipv6, "fdab:cdef:1234::5"));
    return a;
}

static void answers_by_table(void **state)
{
    static const struct {
        const char *rule, *name;
        uint16_t type;
        int dht; /* 0: not asked */
        const char *lookup;
        int rcode;
        const char *text;
    } cases[] = {
        {"A", "alice.lab.peal", DNS_TYPE_A, YES, "alice", 0, "alice.lab.peal. 30 A 10.77.0.5; "},
        {"AAAA", "alice.lab.peal", DNS_TYPE_AAAA, YES, "alice", 0,
         "alice.lab.peal. 30 AAAA fdab:cdef:1234::5; "},
        {"case is kept in the answer and lost in the lookup", "aLiCe.LAB.peal", DNS_TYPE_A, YES,
         "alice", 0, "aLiCe.LAB.peal. 30 A 10.77.0.5; "},
        {"ANY: one record set", "alice.lab.peal", DNS_TYPE_ANY, YES, "alice", 0,
         "alice.lab.peal. 30 A 10.77.0.5; "},
        {"no such name", "bob.lab.peal", DNS_TYPE_A, NO, "bob", DNS_NXDOMAIN, LAB_SOA},
        {"no such name, whatever the type", "bob.lab.peal", DNS_TYPE_MX, NO, "bob", DNS_NXDOMAIN,
         LAB_SOA},
        {"the name is there, the type is not", "alice.lab.peal", DNS_TYPE_MX, YES, "alice", 0,
         LAB_SOA},
        {"nobody knows", "alice.lab.peal", DNS_TYPE_A, FAIL, "alice", DNS_SERVFAIL, ""},
        {"below a host", "www.alice.lab.peal", DNS_TYPE_A, 0, "", DNS_NXDOMAIN, LAB_SOA},
        {"the apex has no address", "lab.peal", DNS_TYPE_A, 0, "", 0, LAB_SOA},
        {"SOA", "lab.peal", DNS_TYPE_SOA, 0, "", 0, "lab.peal. 60 SOA ns.lab.peal.; "},
        {"NS", "lab.peal", DNS_TYPE_NS, 0, "", 0,
         "lab.peal. 60 NS ns.lab.peal.; ns.lab.peal. 60 A 10.77.0.1; "},
        {"ANY of the apex", "lab.peal", DNS_TYPE_ANY, 0, "", 0, "lab.peal. 60 SOA ns.lab.peal.; "},
        {"SOA of a host is NODATA", "alice.lab.peal", DNS_TYPE_SOA, YES, "alice", 0, LAB_SOA},
        {"the service", "ns.lab.peal", DNS_TYPE_A, 0, "", 0, "ns.lab.peal. 60 A 10.77.0.1; "},
        {"the service has no IPv6", "ns.lab.peal", DNS_TYPE_AAAA, 0, "", 0, LAB_SOA},
        {"address-style", "C077000005.lab.peal", DNS_TYPE_A, 0, "", 0,
         "C077000005.lab.peal. 60 A 10.77.0.5; "},
        {"address-style has no AAAA", "c077000005.lab.peal", DNS_TYPE_AAAA, 0, "", 0, LAB_SOA},
        {"address-style outside the range is a name", "c078000005.lab.peal", DNS_TYPE_A, NO,
         "c078000005", DNS_NXDOMAIN, LAB_SOA},
        {"PTR", "5.0.77.10.in-addr.arpa", DNS_TYPE_PTR, YES, "10.77.0.5", 0,
         "5.0.77.10.in-addr.arpa. 30 PTR alice.lab.peal.; "},
        {"PTR of nobody", "6.0.77.10.in-addr.arpa", DNS_TYPE_PTR, NO, "10.77.0.6", DNS_NXDOMAIN,
         V4_SOA},
        {"PTR, another type", "5.0.77.10.in-addr.arpa", DNS_TYPE_A, YES, "10.77.0.5", 0, V4_SOA},
        {"PTR of the service", "1.0.77.10.in-addr.arpa", DNS_TYPE_PTR, 0, "", 0,
         "1.0.77.10.in-addr.arpa. 60 PTR ns.lab.peal.; "},
        {"the reverse apex", "77.10.in-addr.arpa", DNS_TYPE_SOA, 0, "", 0,
         "77.10.in-addr.arpa. 60 SOA ns.lab.peal.; "},
        {"between the apex and an address", "0.77.10.in-addr.arpa", DNS_TYPE_PTR, 0, "", 0, V4_SOA},
        {"below an address", "x.5.0.77.10.in-addr.arpa", DNS_TYPE_PTR, 0, "", DNS_NXDOMAIN, V4_SOA},
        {"what is no octet", "x.77.10.in-addr.arpa", DNS_TYPE_PTR, 0, "", DNS_NXDOMAIN, V4_SOA},
        {"above the apex", "10.in-addr.arpa", DNS_TYPE_PTR, 0, "", DNS_REFUSED, ""},
        {"another range", "5.0.78.10.in-addr.arpa", DNS_TYPE_PTR, 0, "", DNS_REFUSED, ""},
        {"PTR of an IPv6 address", V6_HOST, DNS_TYPE_PTR, YES, "fdab:cdef:1234::1", 0,
         V6_HOST ". 30 PTR alice.lab.peal.; "},
        {"the IPv6 apex", "4.3.2.1.f.e.d.c.b.a.d.f.ip6.arpa", DNS_TYPE_A, 0, "", 0, V6_SOA},
        {"above the IPv6 apex", "3.2.1.f.e.d.c.b.a.d.f.ip6.arpa", DNS_TYPE_NS, 0, "", DNS_REFUSED,
         ""},
        {"foreign", "www.example.com", DNS_TYPE_A, 0, "", DNS_REFUSED, ""},
        {"the root", "", DNS_TYPE_NS, 0, "", DNS_REFUSED, ""},
        {"the domain's end only", "otherlab.peal", DNS_TYPE_A, 0, "", DNS_REFUSED, ""},
        {"above the domain", "peal", DNS_TYPE_A, 0, "", DNS_REFUSED, ""},
        {"transfer", "lab.peal", DNS_TYPE_AXFR, 0, "", DNS_REFUSED, ""},
        {"incremental transfer", "lab.peal", DNS_TYPE_IXFR, 0, "", DNS_REFUSED, ""},
    };
    const struct dns_answer found = alice(), none = {.found = false};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_config config = usual_config();
        struct world *w = world_new(&config);
        ask(w,
            &(struct ask){.name = cases[i].name, .type = cases[i].type, .id = 7, .flags = DNS_RD});
        if (w->lookups != (cases[i].dht != 0) || w->replies != (cases[i].dht == 0) ||
            strcmp(w->asked, cases[i].lookup))
            fail_msg("%s: asked the DHT for \"%s\"", cases[i].rule, w->asked);
        if (cases[i].dht)
            dns_server_answered(w->server, w->token,
                                cases[i].dht == YES  ? &found
                                : cases[i].dht == NO ? &none
                                                     : NULL);
        struct said s = said(w);
        bool authoritative = cases[i].rcode != DNS_REFUSED && cases[i].rcode != DNS_SERVFAIL;
        if (rcode(w) != cases[i].rcode || strcmp(s.text, cases[i].text))
            fail_msg("%s: %d %s", cases[i].rule, rcode(w), s.text);
        assert_int_equal(s.flags & ~DNS_RCODE, DNS_QR | DNS_RD | (authoritative ? DNS_AA : 0));
        assert_int_equal(get_u16(w->reply), 7);
        assert_int_equal(s.counts[0], 1);
        assert_to_client(&w->to);
        void *done = w;
        teardown(&done);
    }
}

static void names_that_are_no_labels_are_not_looked_up(void **state)
{
    static const char question[] = "\0\1\1\0\0\1\0\0\0\0\0\0\4_tcp\3lab\4peal\0\0\1\0\1";
    struct world *w = *state;
    dns_server_input(w->server, &client, (const uint8_t *)question, sizeof question - 1);
    assert_int_equal(w->lookups, 0);
    assert_int_equal(rcode(w), DNS_NXDOMAIN);
}

static void a_host_name_of_the_dht_that_is_no_label_is_not_told(void **state)
{
    struct world *w = *state;
    struct dns_answer bad = {.found = true, .label = "al ice"};
    ask(w, &(struct ask){.name = "5.0.77.10.in-addr.arpa", .type = DNS_TYPE_PTR});
    dns_server_answered(w->server, w->token, &bad);
    assert_int_equal(rcode(w), DNS_NXDOMAIN);
}

static void ranges_that_end_inside_an_octet(void **state)
{
    static const struct {
        const char *range, *name;
        int rcode;
        const char *text;
    } cases[] = {
        {"10.77.16.0/20", "9.17.77.10.in-addr.arpa", -1, ""},
        {"10.77.16.0/20", "17.77.10.in-addr.arpa", 0,
         "17.77.10.in-addr.arpa. 5 SOA ns.lab.peal.; "},
        {"10.77.16.0/20", "32.77.10.in-addr.arpa", DNS_REFUSED, ""},
        {"10.77.16.0/20", "77.10.in-addr.arpa", DNS_REFUSED, ""},
        {"10.77.0.0/28", "9.0.77.10.in-addr.arpa", -1, ""},
        {"10.77.0.0/28", "16.0.77.10.in-addr.arpa", DNS_REFUSED, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_config config = usual_config();
        net_parse(&config.ipv4, cases[i].range);
        struct world *w = world_new(&config);
        ask(w, &(struct ask){.name = cases[i].name, .type = DNS_TYPE_PTR});
        if (rcode(w) != cases[i].rcode)
            fail_msg("%s in %s", cases[i].name, cases[i].range);
        if (w->replies)
            assert_string_equal(said(w).text, cases[i].text);
        void *done = w;
        teardown(&done);
    }
}

static void the_service_may_have_ipv6(void **state)
{
    struct dns_config config = usual_config();
    addr_parse(&config.service6, "fdab:cdef:1234::1");
    struct world *w = world_new(&config);
    ask(w, &(struct ask){.name = "ns.lab.peal", .type = DNS_TYPE_AAAA});
    assert_string_equal(said(w).text, "ns.lab.peal. 60 AAAA fdab:cdef:1234::1; ");
    ask(w, &(struct ask){.name = V6_HOST, .type = DNS_TYPE_PTR});
    assert_string_equal(said(w).text, V6_HOST ". 60 PTR ns.lab.peal.; ");
    void *done = w;
    teardown(&done);
}

static void a_lookup_may_be_answered_at_once(void **state)
{
    struct world *w = *state;
    const struct dns_answer found = alice();
    w->at_once = &found;
    ask(w, &(struct ask){.name = "alice.lab.peal", .type = DNS_TYPE_A});
    assert_int_equal(w->replies, 1);
    assert_int_equal(rcode(w), 0);
    dns_server_answered(w->server, w->token, &found);
    assert_int_equal(w->replies, 1);
}

static void edns_is_answered_with_edns(void **state)
{
    struct world *w = *state;
    ask(w, &(struct ask){.name = "ns.lab.peal", .type = DNS_TYPE_A, .edns = true});
    assert_string_equal(said(w).text, "ns.lab.peal. 60 A 10.77.0.1; OPT 1232; ");
    ask(w, &(struct ask){.name = "ns.lab.peal", .type = DNS_TYPE_A, .edns = true, .version = 1});
    assert_string_equal(said(w).text, "OPT 1232; ");
    assert_int_equal(w->reply[w->reply_len - 11 + 5], 1); /* BADVERS is 1 << 4 */
}

static void other_classes_are_refused(void **state)
{
    struct world *w = *state;
    ask(w, &(struct ask){.name = "version.bind", .type = DNS_TYPE_TXT, .class = 3});
    assert_int_equal(rcode(w), DNS_REFUSED);
    ask(w, &(struct ask){.name = "alice.lab.peal", .type = DNS_TYPE_A, .class = 255});
    assert_int_equal(rcode(w), DNS_REFUSED);
    assert_int_equal(w->lookups, 0);
}

static void messages_that_are_no_question(void **state)
{
    static const struct {
        const char *rule, *bytes;
        size_t len;
        int rcode; /* -1: no answer */
        enum dns_counter counter;
    } cases[] = {
        {"no question", "\0\1\1\0\0\0\0\0\0\0\0\0", 12, DNS_FORMERR, DNS_COUNTERS},
        {"another opcode", "\0\1\x28\0\0\1\0\0\0\0\0\0", 12, DNS_NOTIMP, DNS_COUNTERS},
        {"a response", "\0\1\x80\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, -1, DNS_COUNT_RESPONSE},
        {"junk", "\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 18, -1, DNS_COUNT_MALFORMED},
        {"nothing", "", 0, -1, DNS_COUNT_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_config config = usual_config();
        struct world *w = world_new(&config);
        dns_server_input(w->server, &client, (const uint8_t *)cases[i].bytes, cases[i].len);
        if (rcode(w) != cases[i].rcode)
            fail_msg("%s", cases[i].rule);
        if (w->replies)
            assert_int_equal(w->reply_len, DNS_HEADER_LEN); /* not longer than the request */
        else
            assert_int_equal(dns_server_count(w->server, cases[i].counter), 1);
        void *done = w;
        teardown(&done);
    }
}

/* ---- waiting */

static void a_lookup_takes_two_seconds_at_most(void **state)
{
    struct world *w = *state;
    const struct dns_answer found = alice();
    assert_true(dns_server_deadline(w->server) == USEC_NEVER);
    ask(w, &(struct ask){.name = "alice.lab.peal", .type = DNS_TYPE_A});
    assert_true(dns_server_deadline(w->server) == w->env.now_us + SEC(2));
    w->env.now_us += SEC(2) - 1;
    dns_server_tick(w->server);
    assert_int_equal(w->replies, 0);
    w->env.now_us += 1;
    dns_server_tick(w->server);
    assert_int_equal(rcode(w), DNS_SERVFAIL);
    assert_true(dns_server_deadline(w->server) == USEC_NEVER);
    dns_server_answered(w->server, w->token, &found); /* late */
    assert_int_equal(w->replies, 1);
    assert_int_equal(dns_server_count(w->server, DNS_COUNT_TIMEOUT), 1);
}

static void a_retransmission_is_not_asked_again(void **state)
{
    struct dns_source other = client;
    other.port++;
    const struct {
        const char *rule;
        struct ask ask;
        bool again;
    } cases[] = {
        {"the same", {.name = "alice.lab.peal", .type = DNS_TYPE_A, .id = 1}, false},
        {"the same in other case", {.name = "ALICE.lab.peal", .type = DNS_TYPE_A, .id = 1}, false},
        {"another id", {.name = "alice.lab.peal", .type = DNS_TYPE_A, .id = 2}, true},
        {"another type", {.name = "alice.lab.peal", .type = DNS_TYPE_AAAA, .id = 1}, true},
        {"another name", {.name = "bob.lab.peal", .type = DNS_TYPE_A, .id = 1}, true},
        {"another port",
         {.name = "alice.lab.peal", .type = DNS_TYPE_A, .id = 1, .from = &other},
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_config config = usual_config();
        struct world *w = world_new(&config);
        const struct dns_answer found = alice();
        ask(w, &cases[0].ask);
        ask(w, &cases[i].ask);
        if ((w->lookups == 2) != cases[i].again)
            fail_msg("%s", cases[i].rule);
        dns_server_answered(w->server, w->token, &found);
        assert_int_equal(w->replies, 1);
        void *done = w;
        teardown(&done);
    }
}

static void the_victim_is_the_oldest(void **state)
{
    struct world *w = *state;
    for (uint16_t i = 0; i < DNS_PENDING_MAX; i++) {
        ask(w, &(struct ask){.name = "alice.lab.peal", .type = DNS_TYPE_A, .id = i});
        w->env.now_us++;
    }
    assert_int_equal(w->replies, 0);
    for (uint16_t i = 0; i < 3; i++) {
        ask(w, &(struct ask){.name = "alice.lab.peal", .type = DNS_TYPE_A, .id = 1000});
        ask(w,
            &(struct ask){.name = "bob.lab.peal", .type = DNS_TYPE_A, .id = (uint16_t)(2000 + i)});
        assert_int_equal(rcode(w), DNS_SERVFAIL);
        assert_int_equal(get_u16(w->reply), i + 1); /* 1000 pushed out number 0 */
    }
    assert_int_equal(dns_server_count(w->server, DNS_COUNT_OVERFLOW), 4);
}

static void timeouts_come_in_the_order_of_the_questions(void **state)
{
    struct world *w = *state;
    ask(w, &(struct ask){.name = "alice.lab.peal", .type = DNS_TYPE_A, .id = 1});
    w->env.now_us += SEC(1);
    ask(w, &(struct ask){.name = "alice.lab.peal", .type = DNS_TYPE_A, .id = 2});
    w->env.now_us += SEC(1);
    dns_server_tick(w->server);
    assert_int_equal(w->replies, 1);
    assert_int_equal(get_u16(w->reply), 1);
    w->env.now_us += SEC(1);
    dns_server_tick(w->server);
    assert_int_equal(w->replies, 2);
    assert_int_equal(get_u16(w->reply), 2);
}

/* ---- forwarding */

/* The other server's answer: its query with QR set, and some bytes behind it. */
static void upstream_says(struct world *w, uint16_t id, uint16_t flags, size_t more)
{
    uint8_t bytes[DNS_MESSAGE_MAX + 1] = {0};
    memcpy(bytes, w->forwarded, w->forwarded_len);
    put_u16(bytes, id);
    put_u16(bytes + 2, DNS_QR | flags);
    dns_server_forwarded(w->server, bytes, w->forwarded_len + more);
}

static void foreign_names_are_forwarded_when_configured(void **state)
{
    struct world *w = *state;
    w->next_id = 0x4242;
    ask(w, &(struct ask){.name = "www.example.com", .type = DNS_TYPE_A, .id = 7, .flags = DNS_RD});
    assert_int_equal(w->forwards, 1);
    assert_int_equal(w->replies, 0);
    assert_int_equal(get_u16(w->forwarded), 0x4242);
    assert_true(dns_server_deadline(w->server) == w->env.now_us + DNS_FORWARD_TIMEOUT);
    upstream_says(w, 0x4242, DNS_RD, 10);
    assert_int_equal(w->replies, 1);
    assert_int_equal(get_u16(w->reply), 7);
    assert_int_equal(get_u16(w->reply + 2), DNS_QR | DNS_RD | DNS_RA);
    assert_int_equal(w->reply_len, w->forwarded_len + 10);
    assert_to_client(&w->to);
    upstream_says(w, 0x4242, DNS_RD, 10); /* once only */
    assert_int_equal(w->replies, 1);
    assert_int_equal(dns_server_count(w->server, DNS_COUNT_STRAY), 1);
}

static void forged_answers_are_not_passed_on(void **state)
{
    struct world *w = *state;
    uint8_t forged[DNS_MESSAGE_MAX];
    ask(w, &(struct ask){.name = "www.example.com", .type = DNS_TYPE_A, .id = 7, .flags = DNS_RD});
    size_t len = w->forwarded_len;
    uint16_t id = get_u16(w->forwarded);
    upstream_says(w, (uint16_t)(id + 1), 0, 0); /* another id */
    memcpy(forged, w->forwarded, len);
    dns_server_forwarded(w->server, forged, len); /* a query */
    put_u16(forged + 2, DNS_QR);
    forged[13] = 'v'; /* another name */
    dns_server_forwarded(w->server, forged, len);
    forged[13] = 'w';
    forged[len - 3] = DNS_TYPE_AAAA; /* another type */
    dns_server_forwarded(w->server, forged, len);
    dns_server_forwarded(w->server, forged, 5);
    assert_int_equal(w->replies, 0);
    assert_int_equal(dns_server_count(w->server, DNS_COUNT_STRAY), 5);
    upstream_says(w, id, 0, 0); /* the true one is still welcome */
    assert_int_equal(w->replies, 1);
}

static void a_long_answer_is_cut_for_a_short_client(void **state)
{
    struct world *w = *state;
    for (int tcp = 0; tcp < 2; tcp++) {
        struct dns_source from = client;
        from.tcp = tcp;
        ask(w, &(struct ask){
                   .name = "www.example.com", .type = DNS_TYPE_A, .flags = DNS_RD, .from = &from});
        upstream_says(w, get_u16(w->forwarded), DNS_NXDOMAIN, 600);
        assert_int_equal(rcode(w), DNS_NXDOMAIN);
        assert_int_equal(get_u16(w->reply + 2) & DNS_TC, tcp ? 0 : DNS_TC);
        assert_int_equal(w->reply_len, w->forwarded_len + (tcp ? 600 : 0));
    }
}

static void no_recursion_unless_asked_for(void **state)
{
    struct world *w = *state;
    ask(w, &(struct ask){.name = "www.example.com", .type = DNS_TYPE_A});
    assert_int_equal(w->forwards, 0);
    assert_int_equal(rcode(w), DNS_REFUSED);
}

static void our_names_never_leave(void **state)
{
    static const char *const names[] = {"alice.lab.peal", "a.b.lab.peal", "5.0.77.10.in-addr.arpa",
                                        "x.77.10.in-addr.arpa", V6_HOST};
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ask(w, &(struct ask){
                   .name = names[i], .type = DNS_TYPE_A, .id = (uint16_t)i, .flags = DNS_RD});
    assert_int_equal(w->forwards, 0);
    ask(w, &(struct ask){.name = "ns.lab.peal", .type = DNS_TYPE_A, .flags = DNS_RD});
    assert_int_equal(get_u16(w->reply + 2), DNS_QR | DNS_AA | DNS_RD | DNS_RA);
}

static void two_forwarded_queries_have_two_ids(void **state)
{
    struct world *w = *state;
    w->id_step = 0;
    w->next_id = 5;
    ask(w, &(struct ask){.name = "a.example", .type = DNS_TYPE_A, .id = 1, .flags = DNS_RD});
    assert_int_equal(w->randoms, 1);
    ask(w, &(struct ask){.name = "b.example", .type = DNS_TYPE_A, .id = 2, .flags = DNS_RD});
    assert_int_equal(w->randoms,
                     2 + FORWARD_ID_TRIES); /* it tried; then the question tells them apart */
    upstream_says(w, 5, 0, 0);
    assert_int_equal(get_u16(w->reply), 2);
    w->id_step = 1;
    ask(w, &(struct ask){.name = "c.example", .type = DNS_TYPE_A, .id = 3, .flags = DNS_RD});
    assert_int_equal(get_u16(w->forwarded), 6);
}

static void a_silent_upstream_is_a_failure(void **state)
{
    struct world *w = *state;
    ask(w, &(struct ask){.name = "www.example.com", .type = DNS_TYPE_A, .flags = DNS_RD});
    w->env.now_us += DNS_FORWARD_TIMEOUT;
    dns_server_tick(w->server);
    assert_int_equal(rcode(w), DNS_SERVFAIL);
    dns_server_answered(w->server, 1, NULL); /* a lookup's end is none of a forwarded query's */
    assert_int_equal(w->replies, 1);
}

static void counters_have_names(void **state)
{
    for (int c = 0; c < DNS_COUNTERS; c++)
        assert_string_not_equal(dns_counter_text(c), "unknown");
    assert_string_equal(dns_counter_text(DNS_COUNTERS), "unknown");
}

static void domains_by_table(void **state)
{
    static const struct {
        const char *domain;
        bool ok;
    } cases[] = {
        {"lab.peal", true}, {"peal", true}, {"", false}, {"lab_peal", false}, {".peal", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_config config = usual_config();
        struct env env = {.now_us = 0};
        strcpy(config.domain, cases[i].domain);
        struct dns_server *s = dns_server_new(&env, &config, &ops, NULL);
        assert_int_equal(s != NULL, cases[i].ok);
        dns_server_free(s);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_FORWARDING(f) cmocka_unit_test_setup_teardown(f, setup_forwarding, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_by_table),
        TEST(names_that_are_no_labels_are_not_looked_up),
        TEST(a_host_name_of_the_dht_that_is_no_label_is_not_told),
        cmocka_unit_test(ranges_that_end_inside_an_octet),
        cmocka_unit_test(the_service_may_have_ipv6),
        TEST(a_lookup_may_be_answered_at_once),
        TEST(edns_is_answered_with_edns),
        TEST(other_classes_are_refused),
        cmocka_unit_test(messages_that_are_no_question),
        TEST(a_lookup_takes_two_seconds_at_most),
        cmocka_unit_test(a_retransmission_is_not_asked_again),
        TEST(the_victim_is_the_oldest),
        TEST(timeouts_come_in_the_order_of_the_questions),
        TEST_FORWARDING(foreign_names_are_forwarded_when_configured),
        TEST_FORWARDING(forged_answers_are_not_passed_on),
        TEST_FORWARDING(a_long_answer_is_cut_for_a_short_client),
        TEST_FORWARDING(no_recursion_unless_asked_for),
        TEST_FORWARDING(our_names_never_leave),
        TEST_FORWARDING(two_forwarded_queries_have_two_ids),
        TEST_FORWARDING(a_silent_upstream_is_a_failure),
        cmocka_unit_test(domains_by_table),
        cmocka_unit_test(counters_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
