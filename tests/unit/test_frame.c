// link: peal_words
/* Packets in a stream, and what proxies say. */
#include "daemon/frame.h"
#include "daemon/proxy.h"
#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "tests/unit/cm.h"

#include <string.h>

static void packets_come_whole_in_whatever_pieces(void **state)
{
    static const uint8_t stream[] = {0, 3, 'a', 'b', 'c', 0, 1, 'x', 0, 2, 'y'};

    for (size_t piece = 1; piece <= sizeof stream; piece++) {
        struct frames f = {.len = 0};
        char got[8] = "";

        for (size_t at = 0; at < sizeof stream; at += piece) {
            const uint8_t *p = stream + at;
            size_t len = sizeof stream - at < piece ? sizeof stream - at : piece, n;
            uint8_t *pkt;

            while ((pkt = frames_next(&f, &p, &len, &n)) != NULL)
                strncat(got, (char *)pkt, n);
            assert_int_equal(len, 0);
        }
        assert_string_equal(got, "abcx");
        assert_false(frames_garbage(&f));
    }
}

static void a_length_that_no_packet_has_is_garbage_for_ever(void **state)
{
    static const uint16_t lengths[] = {0, FRAME_PACKET_MAX + 1, 0xffff};

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct frames f = {.len = 0};
        uint8_t stream[] = {0, 0, 0, 1, 'x'};
        const uint8_t *p = stream;
        size_t len = sizeof stream, n;

        put_u16(stream, lengths[i]);
        assert_null(frames_next(&f, &p, &len, &n));
        assert_true(frames_garbage(&f));
        p = stream + 2;
        len = 3;
        assert_null(frames_next(&f, &p, &len, &n));
    }
}

static void a_proxy_opens_with_2xx_and_a_whole_head_only(void **state)
{
    static const struct {
        const char *text;
        enum proxy_answer answer;
        size_t head;
        unsigned status;
    } rows[] = {
        {"HTTP/1.1 200 Connection established\r\n\r\n", PROXY_OPEN, 39, 200},
        {"HTTP/1.0 200 OK\r\nX: y\r\n\r\n\x16", PROXY_OPEN, 25, 200},
        {"HTTP/1.1 204 \r\n\r\n", PROXY_OPEN, 17, 204},
        {"HTTP/1.1 200 OK\r\n", PROXY_MORE, 0, 200},
        {"", PROXY_MORE, 0, 0},
        {"HTTP/1.1 403 Forbidden\r\n\r\n", PROXY_REFUSED, 0, 403},
        {"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", PROXY_REFUSED, 0, 407},
        {"HTTP/1.1 2\r\n\r\n", PROXY_REFUSED, 0, 0},
        {"HTTP/1.1 2x0\r\n\r\n", PROXY_REFUSED, 0, 0},
        {"HTTP/1.1 099\r\n\r\n", PROXY_REFUSED, 0, 0},
        {"SSH-2.0-x\r\n\r\n", PROXY_REFUSED, 0, 0},
        {"\r\n\r\n", PROXY_REFUSED, 0, 0},
    };
    static char endless[PROXY_REPLY_MAX];
    size_t head;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(proxy_reply(rows[i].text, strlen(rows[i].text), &head), rows[i].answer);
        assert_int_equal(head, rows[i].head);
        assert_int_equal(proxy_status(rows[i].text, strlen(rows[i].text)), rows[i].status);
    }
    memset(endless, 'x', sizeof endless);
    assert_int_equal(proxy_reply(endless, sizeof endless, &head), PROXY_REFUSED);
}

static void a_proxy_is_asked_for_an_endpoint(void **state)
{
    struct endpoint ep;
    char out[PROXY_REQUEST_SIZE];

    assert_true(endpoint_parse(&ep, "[2001:db8::1]:443"));
    size_t len = proxy_request(out, &ep);

    assert_int_equal(len, strlen(out));
    assert_string_equal(out,
                        "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_come_whole_in_whatever_pieces),
        cmocka_unit_test(a_length_that_no_packet_has_is_garbage_for_ever),
        cmocka_unit_test(a_proxy_opens_with_2xx_and_a_whole_head_only),
        cmocka_unit_test(a_proxy_is_asked_for_an_endpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
