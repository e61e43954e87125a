// link: peal_dns
/* DNS messages: which are read, and what is built. */
#include "dns/msg.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define BYTES(s) s, sizeof(s) - 1

/* id 0x1234, RD, one question: a. A IN */
#define HEAD(an, ns, ar) "\x12\x34\x01\x00\0\1\0" an "\0" ns "\0" ar
#define QUESTION "\1a\0\0\1\0\1"
#define OPT(size, version, flags) "\0\0\x29" size "\0" version flags "\0\0"
/* dig's usual: 1232 bytes, a cookie of 8 bytes */
#define OPT_COOKIE                                                                                 \
    "\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08"                                                   \
    "12345678"

static void queries_by_table(void **state)
{
    static const struct {
        const char *rule, *bytes;
        size_t len;
        enum dns_parse result;
        uint16_t udp_size;
        bool edns;
    } cases[] = {
        {"plain", BYTES(HEAD("\0", "\0", "\0") QUESTION), DNS_PARSE_OK, 512, false},
        {"EDNS", BYTES(HEAD("\0", "\0", "\1") QUESTION OPT("\4\xd0", "\0", "\0\0")), DNS_PARSE_OK,
         1232, true},
        {"EDNS with an option", BYTES(HEAD("\0", "\0", "\1") QUESTION OPT_COOKIE), DNS_PARSE_OK,
         1232, true},
        {"EDNS: more than we send",
         BYTES(HEAD("\0", "\0", "\1") QUESTION OPT("\xff\xff", "\0", "\0\0")), DNS_PARSE_OK, 1232,
         true},
        {"EDNS: less than DNS", BYTES(HEAD("\0", "\0", "\1") QUESTION OPT("\0\1", "\0", "\0\0")),
         DNS_PARSE_OK, 512, true},
        {"EDNS twice",
         BYTES(HEAD("\0", "\0", "\2") QUESTION OPT("\4\xd0", "\0", "\0\0")
                   OPT("\4\xd0", "\0", "\0\0")),
         DNS_PARSE_MALFORMED, 0, false},
        {"EDNS of a name", BYTES(HEAD("\0", "\0", "\1") QUESTION "\1a" OPT("\4\xd0", "\0", "\0\0")),
         DNS_PARSE_MALFORMED, 0, false},
        {"another additional record",
         BYTES(HEAD("\0", "\0", "\1") QUESTION "\0\0\xfa\0\xff\0\0\0\0\0\1x"), DNS_PARSE_OK, 512,
         false},
        {"fewer records than said", BYTES(HEAD("\0", "\0", "\1") QUESTION), DNS_PARSE_MALFORMED, 0,
         false},
        {"more bytes than said", BYTES(HEAD("\0", "\0", "\0") QUESTION "x"), DNS_PARSE_MALFORMED, 0,
         false},
        {"a query with answers", BYTES(HEAD("\1", "\0", "\0") QUESTION), DNS_PARSE_MALFORMED, 0,
         false},
        {"a query with authority", BYTES(HEAD("\0", "\1", "\0") QUESTION), DNS_PARSE_MALFORMED, 0,
         false},
        {"a name that points at itself", BYTES(HEAD("\0", "\0", "\0") "\xc0\x0c\0\1\0\1"),
         DNS_PARSE_MALFORMED, 0, false},
        {"a name that points into the header", BYTES(HEAD("\0", "\0", "\0") "\xc0\4\0\1\0\1"),
         DNS_PARSE_OK, 512, false}, /* odd, but it is a name: "" */
        {"a response", BYTES("\x12\x34\x81\x00\0\1\0\0\0\0\0\0" QUESTION), DNS_PARSE_RESPONSE, 0,
         false},
        {"no question", BYTES("\x12\x34\x01\x00\0\0\0\0\0\0\0\0"), DNS_PARSE_QUESTIONS, 512, false},
        {"two questions", BYTES("\x12\x34\x01\x00\0\2\0\0\0\0\0\0" QUESTION QUESTION),
         DNS_PARSE_QUESTIONS, 512, false},
        {"another opcode: NOTIFY", BYTES("\x12\x34\x21\x00\0\1\0\0\0\0\0\0" QUESTION),
         DNS_PARSE_NOT_QUERY, 512, false},
        {"no header", BYTES("\x12\x34\x01\x00\0\1\0\0\0\0\0"), DNS_PARSE_MALFORMED, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_query q;
        enum dns_parse result = dns_query_parse(&q, (const uint8_t *)cases[i].bytes, cases[i].len);
        if (result != cases[i].result || q.udp_size != cases[i].udp_size || q.edns != cases[i].edns)
            fail_msg("%s", cases[i].rule);
        assert_int_equal(q.id, cases[i].udp_size ? 0x1234 : 0);
    }
}

static void a_truncated_query_is_malformed(void **state)
{
    static const char bytes[] = HEAD("\0", "\0", "\1") QUESTION OPT_COOKIE;
    struct dns_query q;
    for (size_t len = 0; len < sizeof bytes - 1; len++)
        assert_int_equal(dns_query_parse(&q, (const uint8_t *)bytes, len), DNS_PARSE_MALFORMED);
    assert_int_equal(dns_query_parse(&q, (const uint8_t *)bytes, sizeof bytes - 1), DNS_PARSE_OK);
}

static struct dns_query query_of(const char *name, uint16_t type, bool edns)
{
    struct dns_query q = {.id = 0x1234,
                          .flags = DNS_RD | DNS_CD | DNS_AD,
                          .edns = edns,
                          .udp_size = edns ? 1232 : 512};
    assert_true(dns_name_from_text(&q.question.name, name));
    q.question.type = type;
    q.question.class = DNS_CLASS_IN;
    return q;
}

static void a_forwarded_query_is_the_same_question(void **state)
{
    for (int edns = 0; edns < 2; edns++) {
        struct dns_query q = query_of("www.example.com", DNS_TYPE_AAAA, edns), back;
        uint8_t bytes[300];
        q.dnssec_ok = edns;
        size_t len = dns_query_write(bytes, sizeof bytes, &q, 0x5678);
        assert_int_equal(dns_query_parse(&back, bytes, len), DNS_PARSE_OK);
        assert_int_equal(back.id, 0x5678);
        assert_int_equal(back.flags, DNS_RD | DNS_CD | DNS_AD);
        assert_true(dns_question_eq(&back.question, &q.question));
        assert_int_equal(back.edns, edns);
        assert_int_equal(back.dnssec_ok, edns);
        assert_int_equal(dns_query_write(bytes, len - 1, &q, 0x5678), 0);
    }
}

static void a_response_to_the_byte(void **state)
{
    static const uint8_t expected[] = "\x12\x34\x85\x10\0\1\0\1\0\0\0\1" /* QR AA RD CD */
                                      "\5Alice\3lab\4peal\0\0\1\0\1"
                                      "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\x4d\0\5"
                                      "\0\0\x29\4\xd0\0\0\0\0\0\0";
    struct dns_query q = query_of("Alice.lab.peal", DNS_TYPE_A, true);
    struct dns_builder b;
    struct addr addr = addr_v4(0x0a4d0005);
    dns_build_begin(&b, &q, dns_size_limit(&q, false), DNS_AA);
    dns_build_address(&b, DNS_ANSWER, &q.question.name, 30, &addr);
    size_t len = dns_build_finish(&b, DNS_NOERROR);
    assert_int_equal(len, sizeof expected - 1);
    assert_memory_equal(b.bytes, expected, len);
}

static void a_soa_to_the_byte(void **state)
{
    static const uint8_t expected[] = "\x12\x34\x81\x13\0\1\0\0\0\1\0\0"
                                      "\1x\3lab\4peal\0\0\1\0\1"
                                      "\xc0\x0e\0\6\0\1\0\0\0\5\0\x20\2ns\xc0\x0e\4mail\xc0\x0e"
                                      "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5";
    struct dns_query q = query_of("x.lab.peal", DNS_TYPE_A, false);
    struct dns_builder b;
    struct dns_soa soa = {.serial = 1, .refresh_s = 2, .retry_s = 3, .expire_s = 4, .minimum_s = 5};
    struct dns_name zone;
    dns_name_from_text(&zone, "lab.peal");
    dns_name_from_text(&soa.mname, "ns.lab.peal");
    dns_name_from_text(&soa.rname, "mail.lab.peal");
    dns_build_begin(&b, &q, 512, 0);
    dns_build_soa(&b, DNS_AUTHORITY, &zone, 5, &soa);
    size_t len = dns_build_finish(&b, DNS_NXDOMAIN);
    assert_int_equal(len, sizeof expected - 1);
    assert_memory_equal(b.bytes, expected, len);
}

static void too_long_a_response_is_cut_after_the_question(void **state)
{
    struct addr addr = addr_v4(1);
    for (int edns = 0; edns < 2; edns++) {
        struct dns_query q = query_of("a", DNS_TYPE_A, edns);
        struct dns_builder b;
        size_t question = 12 + 7, record = 16, opt = edns ? 11 : 0;
        size_t limit = dns_size_limit(&q, false), fit = (limit - opt - question) / record;
        assert_int_equal(limit, edns ? 1232 : 512);
        for (size_t n = fit; n <= fit + 1; n++) {
            dns_build_begin(&b, &q, limit, DNS_AA);
            for (size_t i = 0; i < n; i++)
                dns_build_address(&b, DNS_ANSWER, &q.question.name, 1, &addr);
            size_t len = dns_build_finish(&b, DNS_NOERROR);
            assert_int_equal(len, question + opt + (n == fit ? fit * record : 0));
            assert_int_equal(get_u16(b.bytes + 2) & DNS_TC, n == fit ? 0 : DNS_TC);
            assert_int_equal(get_u16(b.bytes + 6), n == fit ? fit : 0);
        }
    }
}

static void extended_codes_are_split(void **state)
{
    struct dns_query q = query_of("", DNS_TYPE_A, true);
    struct dns_builder b;
    dns_build_begin(&b, &q, 512, 0);
    size_t len = dns_build_finish(&b, DNS_BADVERS);
    assert_int_equal(b.bytes[3] & 0xf, 0);
    assert_int_equal(b.bytes[len - 11 + 5], 1);
}

static void responses_by_table(void **state)
{
    static const struct {
        const char *rule, *bytes;
        size_t len;
        bool ok;
    } cases[] = {
        {"a response", BYTES("\x12\x34\x81\x80\0\1\0\1\0\0\0\0" QUESTION "rest"), true},
        {"only a header and a question", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0" QUESTION), true},
        {"a query", BYTES("\x12\x34\x01\x00\0\1\0\0\0\0\0\0" QUESTION), false},
        {"no question", BYTES("\x12\x34\x81\x85\0\0\0\0\0\0\0\0"), false},
        {"another opcode", BYTES("\x12\x34\xa1\x80\0\1\0\0\0\0\0\0" QUESTION), false},
        {"a question that is cut", BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\1a\0\0\1\0"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_response r;
        bool ok = dns_response_parse(&r, (const uint8_t *)cases[i].bytes, cases[i].len);
        if (ok != cases[i].ok)
            fail_msg("%s", cases[i].rule);
        assert_int_equal(r.id, ok ? 0x1234 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_by_table),
        cmocka_unit_test(a_truncated_query_is_malformed),
        cmocka_unit_test(a_forwarded_query_is_the_same_question),
        cmocka_unit_test(a_response_to_the_byte),
        cmocka_unit_test(a_soa_to_the_byte),
        cmocka_unit_test(too_long_a_response_is_cut_after_the_question),
        cmocka_unit_test(extended_codes_are_split),
        cmocka_unit_test(responses_by_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
