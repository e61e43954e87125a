// link: peal_ca
#include "cm.h"

#include "ca-web/proxy.h"

static void the_last_address_that_is_no_proxy_of_ours_is_the_client(void **state)
{
    static const struct {
        const char *proxies, *from, *forwarded, *client;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", "203.0.113.9", "203.0.113.9"},
        {"192.0.2.1", "192.0.2.1", "", "192.0.2.1"},
        /* Who is no proxy says what he likes. */
        {"192.0.2.1", "192.0.2.2", "203.0.113.9", "192.0.2.2"},
        /* A client puts words before what the proxy appends. */
        {"192.0.2.1", "192.0.2.1", "10.0.0.1, 203.0.113.9", "203.0.113.9"},
        {"192.0.2.1", "192.0.2.1", "192.0.2.1,203.0.113.9", "203.0.113.9"},
        /* Two of ours, one behind the other; the client cannot go on with their addresses. */
        {"192.0.2.1,2001:db8::1", "192.0.2.1", "203.0.113.9 , 2001:db8::1", "203.0.113.9"},
        {"192.0.2.1,2001:db8::1", "192.0.2.1", "10.1.1.1, 203.0.113.9,2001:DB8:0::1",
         "203.0.113.9"},
        {"192.0.2.1,192.0.2.2", "192.0.2.1", "192.0.2.2,192.0.2.1", "192.0.2.2"},
        {"192.0.2.1", "192.0.2.1", "2001:db8::77", "2001:db8::77"},
        /* What is no address ends it. */
        {"192.0.2.1", "192.0.2.1", "203.0.113.9, unknown", "192.0.2.1"},
        {"192.0.2.1", "192.0.2.1", "203.0.113.9:1234", "192.0.2.1"},
        {"192.0.2.1", "192.0.2.1", "203.0.113.9,", "192.0.2.1"},
        {"192.0.2.1", "192.0.2.1", ",", "192.0.2.1"},
        {"192.0.2.1", "192.0.2.1", "  \t ", "192.0.2.1"},
        {"192.0.2.1", "192.0.2.1",
         "00000000000000000000000000000000000000000000000000000000000000000000001", "192.0.2.1"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct proxies p;
        struct addr from, client;
        char text[ADDR_TEXT_SIZE];

        assert_true(proxies_read(&p, rows[i].proxies));
        assert_true(addr_parse(&from, rows[i].from));
        client = proxies_client(&p, &from, rows[i].forwarded);
        assert_string_equal(addr_text(&client, text), rows[i].client);
    }
}

static void without_proxies_nobody_is_believed(void **state)
{
    struct proxies none = {.count = 0};
    struct addr from, client;

    assert_true(addr_parse(&from, "192.0.2.1"));
    client = proxies_client(&none, &from, "203.0.113.9");
    assert_true(addr_eq(&client, &from));
}

static void a_list_is_whole_or_refused(void **state)
{
    static const struct {
        const char *text;
        size_t count; /* 0: refused */
    } rows[] = {
        {"127.0.0.1", 1},
        {"127.0.0.1, ::1", 2},
        {"1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5,6.6.6.6,7.7.7.7,8.8.8.8", 8},
        {"1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5,6.6.6.6,7.7.7.7,8.8.8.8,9.9.9.9", 0},
        {"", 0},
        {",", 0},
        {"127.0.0.1,", 0},
        {"localhost", 0},
        {"127.0.0.1:8443", 0},
        {"10.0.0.0/8", 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct proxies p;

        assert_int_equal(proxies_read(&p, rows[i].text), rows[i].count > 0);
        if (rows[i].count)
            assert_int_equal(p.count, rows[i].count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_address_that_is_no_proxy_of_ours_is_the_client),
        cmocka_unit_test(without_proxies_nobody_is_believed),
        cmocka_unit_test(a_list_is_whole_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
