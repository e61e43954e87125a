// link: peal_words
/* What people type: host:port, device names, machine names, misspelt words. */
#include "daemon/hostport.h"
#include "daemon/words.h"
#include "overlay/core/err.h"

#include "tests/unit/cm.h"

#include <stdio.h>
#include <string.h>

static void host_and_port_by_table(void **state)
{
    static const struct {
        const char *text;
        bool ok, literal;
        const char *host;
        int port;
    } cases[] = {
        {"host:1", true, false, "host", 1},
        {"a.b.example:65535", true, false, "a.b.example", 65535},
        {"192.0.2.7:4747", true, true, "192.0.2.7", 4747},
        {"[2001:db8::1]:80", true, true, "2001:db8::1", 80},
        {"host", false, false, NULL, 0},
        {"host:", false, false, NULL, 0},
        {":4747", false, false, NULL, 0},
        {"host:0", false, false, NULL, 0},
        {"host:65536", false, false, NULL, 0},
        {"host:+1", false, false, NULL, 0},
        {"host:1x", false, false, NULL, 0},
        {"2001:db8::1:80", false, false, NULL, 0},
        {"[2001:db8::1]80", false, false, NULL, 0},
        {"[192.0.2.7]:80", false, false, NULL, 0},
        {"[2001:db8::1:80", false, false, NULL, 0},
        {"1.2.3.256:4747", false, false, NULL, 0},
        {"under_score:1", false, false, NULL, 0},
        {"-x:1", false, false, NULL, 0},
        {"", false, false, NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[HOSTPORT_TEXT_SIZE];
        struct endpoint ep;
        struct hostport hp;

        assert_int_equal(hostport_parse(&hp, cases[i].text), cases[i].ok);
        if (!cases[i].ok)
            continue;
        assert_string_equal(hp.host, cases[i].host);
        assert_int_equal(hp.port, cases[i].port);
        assert_int_equal(hostport_literal(&hp, &ep), cases[i].literal);
        assert_string_equal(hostport_text(&hp, text), cases[i].text);
    }
}

static void a_list_has_each_once_and_an_end(void **state)
{
    struct hostports list = {.count = 0};
    struct hostport hp;
    char text[32];

    for (int i = 0; i < HOSTPORTS_MAX; i++) {
        snprintf(text, sizeof text, "h%d:1", i);
        assert_true(hostport_parse(&hp, text));
        assert_true(hostports_add(&list, &hp));
        assert_true(hostports_add(&list, &hp));
    }
    assert_int_equal(list.count, HOSTPORTS_MAX);
    assert_true(hostport_parse(&hp, "one.more:1"));
    assert_false(hostports_add(&list, &hp));
    assert_true(hostport_parse(&hp, "H3:1"));
    assert_true(hostports_has(&list, &hp));
}

static void the_word_that_was_meant(void **state)
{
    static const char *const words[] = {"port", "tcp", "tcp_port", "public", "bootstrap", "status"};
    static const struct {
        const char *typed, *meant;
    } cases[] = {
        {"prot", "port"},
        {"prt", "port"},
        {"Port", "port"},
        {"tcpport", "tcp_port"},
        {"publik", "public"},
        {"bootstraps", "bootstrap"},
        {"statis", "status"},
        {"xyzzy", NULL},
        {"a-word-that-is-longer-than-any-key-can-be", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *meant = words_nearest(words, ARRAY_LEN(words), cases[i].typed);

        if (cases[i].meant)
            assert_string_equal(meant, cases[i].meant);
        else
            assert_null(meant);
    }
}

static void device_names_by_table(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        {"peal0", true},
        {"a", true},
        {"fifteen-letters", true},
        {"sixteen-letters-", false},
        {"", false},
        {".", false},
        {"..", false},
        {"a/b", false},
        {"a b", false},
        {"a:1", false},
        {"peal%d", false},
        {"\xc3\xa9", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(device_name_valid(cases[i].name), cases[i].valid);
}

static void any_machine_name_becomes_a_label(void **state)
{
    static const struct {
        const char *name, *label;
    } cases[] = {
        {"alice", "alice"},
        {"Alice.example.net", "alice"},
        {"Alice's PC", "alice-s-pc"},
        {"under_score", "under-score"},
        {"--x--", "x"},
        {"", "node"},
        {"...", "node"},
        {"\xc3\xa9t\xc3\xa9", "t"},
        {"a__b", "a-b"},
    };
    char out[64], longest[80];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        hostname_label(out, cases[i].name);
        assert_string_equal(out, cases[i].label);
        assert_true(label_valid(out, strlen(out)));
    }
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    hostname_label(out, longest);
    assert_int_equal(strlen(out), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_and_port_by_table),
        cmocka_unit_test(a_list_has_each_once_and_an_end),
        cmocka_unit_test(the_word_that_was_meant),
        cmocka_unit_test(device_names_by_table),
        cmocka_unit_test(any_machine_name_becomes_a_label),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
