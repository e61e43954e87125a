// link: peal_words
/* PCP MAP (RFC 6887): the request byte by byte, and which answers count. */
#include "daemon/pcp.h"
#include "overlay/core/err.h"
#include "tests/unit/cm.h"

#include <string.h>

static struct pcp_map ask_of(void)
{
    struct pcp_map m = {.client = addr_v4(0xc0a8010a),
                        .nonce = "abcdefghijk",
                        .protocol = PCP_PROTOCOL_UDP,
                        .internal_port = 4747,
                        .external_port = 4748,
                        .lifetime_s = 3600};

    return m;
}

static const uint8_t answer[PCP_MAP_LEN] = {
    2,  0x81, 0,  0,   0,   0,   0x0e, 0x10, 0,   0,   0,   1,   0,   0,   0,   0,   0,   0, 0,   0,
    0,  0,    0,  0,   'a', 'b', 'c',  'd',  'e', 'f', 'g', 'h', 'i', 'j', 'k', 0,   17,  0, 0,   0,
    18, 139,  18, 140, 0,   0,   0,    0,    0,   0,   0,   0,   0,   0,   255, 255, 203, 0, 113, 9,
};

static void a_request_is_what_the_rfc_draws(void **state)
{
    static const uint8_t want[PCP_MAP_LEN] = {
        2,   1,   0,   0,    0,    0,   0x0e, 0x10, 0,  0,    0,    0,   0,   0,   0,
        0,   0,   0,   0xff, 0xff, 192, 168,  1,    10, 'a',  'b',  'c', 'd', 'e', 'f',
        'g', 'h', 'i', 'j',  'k',  0,   17,   0,    0,  0,    18,   139, 18,  140, 0,
        0,   0,   0,   0,    0,    0,   0,    0,    0,  0xff, 0xff, 0,   0,   0,   0};
    struct pcp_map m = ask_of();
    uint8_t out[PCP_MAP_LEN];

    pcp_request(out, &m);
    assert_memory_equal(out, want, sizeof want);
    m.protocol = PCP_PROTOCOL_TCP;
    pcp_request(out, &m);
    assert_int_equal(out[36], 6);
}

static void the_grant_is_read(void **state)
{
    struct pcp_map m = ask_of();
    struct pcp_grant g;
    char text[ENDPOINT_TEXT_SIZE];

    assert_int_equal(pcp_response(&g, &m, answer, sizeof answer), PCP_GRANTED);
    assert_string_equal(endpoint_text(&g.external, text), "203.0.113.9:4748");
    assert_int_equal(g.lifetime_s, 3600);
}

/* One byte of the answer is another. */
static void answers_that_do_not_count(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        enum pcp_verdict verdict;
    } rows[] = {
        {0, 0, PCP_UNSPOKEN},  {0, 3, PCP_OTHERS},   {1, 1, PCP_OTHERS},
        {1, 0x82, PCP_OTHERS}, {3, 1, PCP_UNSPOKEN}, {3, 2, PCP_REFUSED},
        {24, 'x', PCP_OTHERS}, {36, 6, PCP_OTHERS},  {41, 0, PCP_OTHERS},
    };
    struct pcp_map m = ask_of();
    struct pcp_grant g;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t bytes[PCP_MAP_LEN];

        memcpy(bytes, answer, sizeof bytes);
        bytes[rows[i].at] = rows[i].value;
        assert_int_equal(pcp_response(&g, &m, bytes, sizeof bytes), rows[i].verdict);
    }
    m.protocol = PCP_PROTOCOL_TCP; /* what was granted is of another protocol */
    assert_int_equal(pcp_response(&g, &m, answer, sizeof answer), PCP_OTHERS);
    for (size_t len = 4; len < sizeof answer; len++)
        assert_int_equal(pcp_response(&g, &m, answer, len), PCP_OTHERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_what_the_rfc_draws),
        cmocka_unit_test(the_grant_is_read),
        cmocka_unit_test(answers_that_do_not_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
