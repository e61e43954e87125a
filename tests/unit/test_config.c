// link: peal_settings
/* peald.conf: every key, and every way to get one wrong told with its line. */
#include "daemon/config.c"

#include "tests/unit/cm.h"

static void a_whole_file_is_read(void **state)
{
    static const char text[] = "# first line\n"
                               "[daemon]\n"
                               "port = 4848        # a comment\n"
                               "tcp=no\n"
                               "tcp_port = 443\n"
                               "public = yes\n"
                               "bootstrap = a.example.net:4747 192.0.2.1:1 [2001:db8::1]:65535\n"
                               "state = /tmp/s\n"
                               "socket = /tmp/s/ctl\n"
                               "operators = wheel\n"
                               "stun = stun.example.net:3478\n"
                               "proxy = proxy:3128\n"
                               "port_mapping = no\n"
                               "port_search = yes\n"
                               "lan_discovery = no\n"
                               "workers = 3\n"
                               "relay = no\n"
                               "relay_mbit = 20\n"
                               "metrics = localhost:9747\n"
                               "log_level = debug\n"
                               "\n"
                               "[network lab]\n"
                               "device = lab0\n"
                               "hostname = Alice-WS\n"
                               "address = 10.77.0.9\n"
                               "mode = router\n"
                               "bridge = br0\n"
                               "gateway = no\n"
                               "full_tunnel = bob\n"
                               "mtu = 1380\n"
                               "dns_forward = 192.0.2.53\n"
                               "[network empty]\n";
    char why[CONFIG_WHY_SIZE];
    const struct config_network *n;
    struct config c;

    config_init(&c);
    assert_int_equal(config_parse(&c, text, "f", why), 0);
    assert_int_equal(c.port, 4848);
    assert_false(c.tcp);
    assert_int_equal(c.tcp_port, 443);
    assert_int_equal(c.public_node, CONFIG_PUBLIC_YES);
    assert_int_equal(c.bootstrap.count, 3);
    assert_string_equal(c.bootstrap.v[2].host, "2001:db8::1");
    assert_int_equal(c.bootstrap.v[2].port, 65535);
    assert_string_equal(c.state, "/tmp/s");
    assert_string_equal(c.operators, "wheel");
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.relay_mbit, 20);
    assert_int_equal(c.metrics.port, 9747);
    assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
    n = config_network(&c, "lab");
    assert_string_equal(n->hostname, "alice-ws");
    assert_int_equal(n->address, CONFIG_ADDRESS_FIXED);
    assert_int_equal(addr_to_v4(&n->fixed), 0x0a4d0009);
    assert_int_equal(n->mode, CONFIG_MODE_ROUTER);
    assert_string_equal(n->full_tunnel, "bob");
    assert_int_equal(n->mtu, 1380);
    assert_int_equal(n->dns_forward.port, 53);
    assert_true(config_network_says(n, "mtu"));
    assert_false(config_network_says(config_network(&c, "empty"), "mtu"));
    config_clear(&c);
}

static void defaults_are_those_of_the_manual(void **state)
{
    char why[CONFIG_WHY_SIZE];
    struct config c;

    config_init(&c);
    assert_int_equal(config_parse(&c, "", "f", why), 0);
    assert_int_equal(c.port, 4747);
    assert_true(c.tcp && c.port_mapping && c.lan_discovery && c.relay);
    assert_false(c.port_search);
    assert_int_equal(c.public_node, CONFIG_PUBLIC_AUTO);
    assert_string_equal(c.state, "/var/lib/peal");
    assert_string_equal(c.socket, "/run/peal/peald.sock");
    assert_int_equal(config_network(&c, "any")->mtu, 1400);
    config_clear(&c);
}

static void errors_name_the_line_and_what_was_meant(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"[daemon]\nprot = 1\n", "f:2: unknown key \"prot\" in [daemon]; did you mean \"port\"?"},
        {"[daemon]\nzzzzzz = 1\n", "f:2: unknown key \"zzzzzz\" in [daemon]"},
        {"[network lab]\nport = 1\n", "f:2: unknown key \"port\" in [network lab]"},
        {"[demon]\n", "f:1: unknown section [demon]; there are [daemon] and [network NAME]"},
        {"\n\n[daemon\n", "f:3: no ']' at the end of the section's name"},
        {"port = 1\n", "f:1: \"port\" stands before any section; put [daemon] above it"},
        {"[daemon]\n\nport = 70000\n", "f:3: port = 70000: expected a port, 0 to 65535"},
        {"[daemon]\nport = 47 47\n", "f:2: port = 47 47: expected a port, 0 to 65535"},
        {"[daemon]\nport =\n", "f:2: port = : expected a port, 0 to 65535"},
        {"[daemon]\nport = 1\nport = 2\n", "f:3: \"port\" stands twice in [daemon]"},
        {"[daemon]\nport\n", "f:2: expected \"key = value\""},
        {"[daemon]\nrelay = maybe\n", "f:2: relay = maybe: expected yes or no"},
        {"[daemon]\ntcp_port = 0\n", "f:2: tcp_port = 0: expected a port, 1 to 65535, or nothing"},
        {"[daemon]\nstate = lib\n", "f:2: state = lib: expected an absolute path"},
        {"[daemon]\nbootstrap = host\n",
         "f:2: bootstrap = host: expected up to 16 of host:port, with spaces between them"},
        {"[daemon]\nbootstrap = 300.1.1.1:5\n",
         "f:2: bootstrap = 300.1.1.1:5: expected up to 16 of host:port, with spaces between them"},
        {"[daemon]\nproxy = a:1 b:2\n", "f:2: proxy = a:1 b:2: expected one host:port"},
        {"[daemon]\nmetrics = 192.0.2.1:9\n",
         "f:2: metrics = 192.0.2.1:9: expected host:port on loopback, as 127.0.0.1:9747"},
        {"[daemon]\nworkers = 17\n", "f:2: workers = 17: expected 0 to 16"},
        {"[network a_b]\n",
         "f:1: [network a_b]: the group's name is one label of letters, digits and hyphens"},
        {"[network lab]\nmtu = 1279\n",
         "f:2: mtu = 1279: expected 1280 (the least that IPv6 allows) to 9000"},
        {"[network lab]\naddress = 10.1\n",
         "f:2: address = 10.1: expected auto, dhcp or an IPv4 address"},
        {"[network lab]\nhostname = under_score\n",
         "f:2: hostname = under_score: expected one label: letters, digits and inner hyphens, up "
         "to 63"},
        {"[network lab]\ndevice = a/b\n",
         "f:2: device = a/b: expected the name of a network device, up to 15 letters, digits, - _ "
         "and ."},
        {"[network lab]\nmode = router\n",
         "f:2: [network lab] has mode = router but no bridge = DEVICE of the LAN"},
        {"[network lab]\ngateway = yes\nfull_tunnel = yes\n",
         "f:3: [network lab] cannot both offer a full tunnel and use one"},
    };
    char why[CONFIG_WHY_SIZE];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c;

        config_init(&c);
        assert_int_equal(config_parse(&c, cases[i].text, "f", why), -ERR_FORMAT);
        assert_string_equal(why, cases[i].why);
        config_clear(&c);
    }
}

static void a_line_too_long_is_refused(void **state)
{
    char text[CONFIG_LINE_MAX + 64] = "[daemon]\noperators = ", why[CONFIG_WHY_SIZE];
    struct config c;

    memset(text + strlen(text), 'x', CONFIG_LINE_MAX);
    config_init(&c);
    assert_int_equal(config_parse(&c, text, "f", why), -ERR_FORMAT);
    assert_string_equal(why, "f:2: longer than 2048 characters");
    config_clear(&c);
}

static void a_long_list_of_bootstraps_fits_on_one_line(void **state)
{
    char text[CONFIG_LINE_MAX] = "[daemon]\nbootstrap =", why[CONFIG_WHY_SIZE];
    struct config c;

    for (int i = 0; i < HOSTPORTS_MAX; i++)
        sprintf(text + strlen(text), " a-rather-long-name-of-host-%d.example.net:4747", i);
    config_init(&c);
    assert_int_equal(config_parse(&c, text, "f", why), 0);
    assert_int_equal(c.bootstrap.count, HOSTPORTS_MAX);
    config_clear(&c);
}

struct seen {
    char live[256], restart[256];
};

static void note_change(void *ctx, const char *key, bool live)
{
    struct seen *s = ctx;

    strcat(strcat(live ? s->live : s->restart, key), " ");
}

static void a_reload_tells_what_waits_for_a_restart(void **state)
{
    static const char before[] =
        "[daemon]\nport = 1\nbootstrap = a:1\nrelay = yes\n"
        "[network lab]\nmtu = 1400\nhostname = a\n[network old]\nmtu = 1300\n";
    static const char after[] =
        "[daemon]\nport = 2\nbootstrap = b:1\nrelay = yes\n"
        "[network lab]\nmtu = 1400\nhostname = b\n[network new]\nmtu = 1300\n";
    struct seen seen = {"", ""};
    char why[CONFIG_WHY_SIZE];
    struct config a, b;

    config_init(&a);
    config_init(&b);
    assert_int_equal(config_parse(&a, before, "f", why), 0);
    assert_int_equal(config_parse(&b, after, "f", why), 0);
    config_changes(&a, &b, note_change, &seen);
    assert_string_equal(seen.live, "bootstrap lab.hostname ");
    assert_string_equal(seen.restart, "port new.mtu old.mtu ");
    config_clear(&a);
    config_clear(&b);
}

static void note_key(void *ctx, const char *key)
{
    strcat(strcat(ctx, key), " ");
}

static void what_this_version_does_not_use_is_told(void **state)
{
    static const char text[] = "[daemon]\nport = 1\nstun = a:1\n[network lab]\nmtu = 1400\n"
                               "gateway = no\n";
    char why[CONFIG_WHY_SIZE], keys[256] = "";
    struct config c;

    config_init(&c);
    assert_int_equal(config_parse(&c, text, "f", why), 0);
    config_without_effect(&c, note_key, keys);
    assert_string_equal(keys, "lab.gateway ");
    config_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_is_read),
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(errors_name_the_line_and_what_was_meant),
        cmocka_unit_test(a_line_too_long_is_refused),
        cmocka_unit_test(a_long_list_of_bootstraps_fits_on_one_line),
        cmocka_unit_test(what_this_version_does_not_use_is_told),
        cmocka_unit_test(a_reload_tells_what_waits_for_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
