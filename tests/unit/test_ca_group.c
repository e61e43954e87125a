// link: peal_ca
#include "test_ca_desk.h"

#include <jansson.h>

static enum outcome wish(struct bench *b, const struct account *owner, struct group_wish w,
                         struct group *g)
{
    static int n;
    char name[16];

    snprintf(name, sizeof name, "g%d", n++);
    if (!w.name)
        w.name = name;
    return group_add(&b->desk, &w, owner, g);
}

static void a_range_is_private_and_of_a_sane_size(void **state)
{
    static const struct {
        const char *asked, *got; /* got NULL: refused */
    } rows[] = {
        {"10.77.0.0/16", "10.77.0.0/16"},
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"172.16.0.0/12", "172.16.0.0/12"},
        {"192.168.4.0/24", "192.168.4.0/24"},
        {"192.168.4.16/28", "192.168.4.16/28"},
        {"100.64.0.0/10", "100.64.0.0/10"},
        {"10.77.3.9/16", "10.77.0.0/16"}, /* host bits are dropped */
        {"10.77.0.0/29", NULL},
        {"10.77.0.0/32", NULL},
        {"10.0.0.0/7", NULL},
        {"0.0.0.0/0", NULL},
        {"8.8.8.0/24", NULL},
        {"172.16.0.0/11", NULL},
        {"172.32.0.0/16", NULL},
        {"192.168.0.0/15", NULL},
        {"127.0.0.0/8", NULL},
        {"169.254.0.0/16", NULL},
        {"224.0.0.0/8", NULL},
        {"10.77.0.0", NULL},
        {"10.77.0.0/", NULL},
        {"10.77.0.0/16x", NULL},
        {"10.77.0/16", NULL},
        {"fd00::/48", NULL},
        {"lab", NULL},
    };
    struct bench b;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct group g;
        enum outcome o = wish(&b, &owner, (struct group_wish){.ipv4 = rows[i].asked}, &g);
        if (o != (rows[i].got ? OUT_OK : OUT_BAD_RANGE))
            fail_msg("%s: %s", rows[i].asked, outcome_code(o));
        if (rows[i].got)
            assert_string_equal(g.ipv4, rows[i].got);
    }
    bench_close(&b);
}

static void bootstrap_endpoints_are_hosts_with_ports(void **state)
{
    static const struct {
        const char *asked, *got;
    } rows[] = {
        {"192.0.2.1:4747", "192.0.2.1:4747"},
        {"[2001:db8::1]:4747", "[2001:db8::1]:4747"},
        {"boot.example.org:443", "boot.example.org:443"},
        {"a:1, b:2  c:3", "a:1,b:2,c:3"},
        {"", ""},
        {"192.0.2.1", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:0", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:+1", NULL},
        {"192.0.2:4747", NULL},
        {"192.0.2.256:4747", NULL},
        {"2001:db8::1:4747", NULL},
        {":4747", NULL},
        {"-a:1", NULL},
        {"a_b:1", NULL},
        {"a:1,b", NULL},
        {"a:1;b:2", NULL},
        {"\"a\":1", NULL},
        {"a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1", NULL},
    };
    struct bench b;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct group g;
        enum outcome o = wish(&b, &owner, (struct group_wish){.bootstrap = rows[i].asked}, &g);
        if (o != (rows[i].got ? OUT_OK : OUT_BAD_ENDPOINT))
            fail_msg("%s: %s", rows[i].asked, outcome_code(o));
        if (rows[i].got)
            assert_string_equal(g.bootstrap, rows[i].got);
    }
    bench_close(&b);
}

static void how_long_leases_and_certificates_last_may_be_said(void **state)
{
    static const struct {
        const char *hours, *days;
        int64_t lease_s, certificate_s; /* 0: refused */
    } rows[] = {
        {"1", "1", 3600, 86400},
        {"168", "366", 168 * 3600, 366 * 86400},
        {"", "", GROUP_LEASE_S, GROUP_CERTIFICATE_S},
        {"12", NULL, 12 * 3600, GROUP_CERTIFICATE_S},
        {"0", "30", 0, 0},
        {"169", "30", 0, 0},
        {"24", "0", 0, 0},
        {"24", "367", 0, 0},
        {"-1", "30", 0, 0},
        {"1.5", "30", 0, 0},
        {"24", "99999999999999999999", 0, 0},
    };
    struct bench b;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct group g;
        enum outcome o = wish(
            &b, &owner,
            (struct group_wish){.lease_hours = rows[i].hours, .certificate_days = rows[i].days},
            &g);
        if (o != (rows[i].lease_s ? OUT_OK : OUT_BAD_NUMBER))
            fail_msg("%s %s: %s", rows[i].hours, rows[i].days, outcome_code(o));
        if (o != OUT_OK)
            continue;
        assert_int_equal(g.lease_s, rows[i].lease_s);
        assert_int_equal(g.certificate_s, rows[i].certificate_s);
    }
    bench_close(&b);
}

static void count_names(void *ctx, const char *user, int64_t machines)
{
    ++*(int *)ctx;
}

static void members_see_each_other_where_the_group_says_so(void **state)
{
    struct bench b;
    struct group g;
    int names = 0;
    int64_t total;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner"), member = bench_user(&b, "member");
    struct account asker = bench_user(&b, "asker");
    g = bench_group(&b, "club", &owner);
    bench_member(&b, &g, &member);
    assert_int_equal(member_request(&b.desk, &g, &asker, ""), OUT_OK);
    struct desk d = bench_as(&b, &member), outside = bench_as(&b, &asker);
    assert_int_equal(member_names(&d, &g, 0, 50, count_names, &names, &total), OUT_NOT_PERMITTED);
    const struct group_edit open = {.version = 1,
                                    .lease_hours = 24,
                                    .certificate_days = 30,
                                    .members_see = true,
                                    .bootstrap = "",
                                    .public_bootstrap = ""};
    assert_int_equal(group_change(&b.desk, &g, &open), OUT_OK);
    assert_int_equal(group_find(&b.desk, "club", &g), OUT_OK);
    assert_true(g.members_see);
    assert_int_equal(member_names(&d, &g, 0, 50, count_names, &names, &total), OUT_OK);
    assert_int_equal(names, 2); /* not who only asked */
    assert_int_equal(total, 2);
    struct member_filter all = {.search = "", .limit = 50};
    assert_int_equal(member_list(&d, &g, &all, NULL, NULL, &total), OUT_NOT_PERMITTED);
    assert_int_equal(member_names(&outside, &g, 0, 50, count_names, &names, &total),
                     OUT_NOT_PERMITTED);
    assert_int_equal(member_revoke(&b.desk, &g, &member, ""), OUT_OK);
    assert_int_equal(member_names(&d, &g, 0, 50, count_names, &names, &total), OUT_NOT_PERMITTED);
    bench_close(&b);
}

static void the_log_says_what_a_change_of_settings_changed(void **state)
{
    static const struct {
        struct group_edit edit;
        const char *want;
    } rows[] = {
        {{.lease_hours = 24, .certificate_days = 30, .bootstrap = "", .public_bootstrap = ""},
         "nothing changed"},
        {{.lease_hours = 12,
          .certificate_days = 30,
          .bootstrap = "a.example:4747",
          .public_bootstrap = "",
          .members_see = true},
         "lease hours 12, was 24; bootstrap a.example:4747, was none; "
         "who is a member is seen by members, was roles"},
        {{.lease_hours = 12,
          .certificate_days = 7,
          .bootstrap = "b.example:1",
          .public_bootstrap = "p.example:2"},
         "certificate days 7, was 30; bootstrap b.example:1, was a.example:4747; "
         "public bootstrap p.example:2, was none; who is a member is seen by roles, was members"},
    };
    struct bench b;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    struct group g = bench_group(&b, "club", &owner);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct group_edit edit = rows[i].edit;
        edit.version = (int64_t)i + 1;
        assert_int_equal(group_change(&b.desk, &g, &edit), OUT_OK); /* g as it was at first */
        struct query q = store_ask(b.desk.store,
                                   "SELECT detail FROM audit WHERE verb = 'group.edit'"
                                   " ORDER BY id DESC LIMIT 1",
                                   VALUES());
        assert_true(query_row(&q));
        assert_string_equal(query_text(&q, 0), rows[i].want);
        query_end(&q);
    }
    bench_close(&b);
}

static void what_is_not_said_has_a_default(void **state)
{
    struct bench b;
    struct group g, again;
    struct net net;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    g = bench_group(&b, "LAB", &owner);
    assert_string_equal(g.name, "lab");
    assert_string_equal(g.domain, "lab.peal");
    assert_int_equal(g.lease_s, 86400);
    assert_true(net_parse(&net, g.ipv4));
    assert_int_equal(net.prefix, 16);
    assert_int_equal(net.addr.b[0], 10);
    assert_true(net.addr.b[1] != 0);
    assert_true(net_parse(&net, g.ipv6));
    assert_int_equal(net.prefix, 48);
    assert_int_equal(net.addr.b[0], 0xfd);
    assert_int_equal(group_find(&b.desk, "lab", &again), OUT_OK);
    assert_memory_equal(&again.id, &g.id, sizeof g.id);
    assert_string_equal(again.ipv6, g.ipv6);
    bench_close(&b);
}

static void the_ipv6_range_follows_from_the_group_id(void **state)
{
    static const char label[] = "peal ula";
    struct bench b;
    uint8_t hash[HASH_LEN];
    char want[NET_TEXT_SIZE];

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    struct group g = bench_group(&b, "lab", &owner);
    uint8_t bytes[sizeof label - 1 + ID_LEN];
    memcpy(bytes, label, sizeof label - 1);
    memcpy(bytes + sizeof label - 1, g.id.b, ID_LEN);
    sha256(hash, bytes, sizeof bytes);
    uint8_t address[16] = {0xfd, hash[0], hash[1], hash[2], hash[3], hash[4]};
    const struct net net = {.addr = addr_v6(address), .prefix = 48};
    assert_string_equal(g.ipv6, net_text(&net, want));
    bench_close(&b);
}

static void names_that_are_none_are_refused(void **state)
{
    static const struct {
        struct group_wish wish;
        enum outcome want;
    } rows[] = {
        {{.name = ""}, OUT_BAD_NAME},
        {{.name = "-x"}, OUT_BAD_NAME},
        {{.name = "a.b"}, OUT_BAD_NAME},
        {{.name = "a/b"}, OUT_BAD_NAME},
        {{.name = "../x"}, OUT_BAD_NAME},
        {{.name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
         OUT_BAD_NAME},
        {{.name = "a", .domain = "x y"}, OUT_BAD_DOMAIN},
        {{.name = "a", .domain = "x..y"}, OUT_BAD_DOMAIN},
        {{.name = "a", .domain = ".x"}, OUT_BAD_DOMAIN},
        {{.name = "a", .domain = "Lab.Example.ORG"}, OUT_OK},
        {{.name = "A"}, OUT_GROUP_EXISTS},
    };
    struct bench b;
    struct group g;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(group_add(&b.desk, &rows[i].wish, &owner, &g), rows[i].want);
    assert_int_equal(group_find(&b.desk, "a", &g), OUT_OK);
    assert_string_equal(g.domain, "lab.example.org");
    assert_int_equal(group_find(&b.desk, "a b", &g), OUT_NO_GROUP);
    bench_close(&b);
}

static void the_database_alone_has_no_keys(void **state)
{
    struct bench b;
    struct secret key;
    struct authority a;
    int64_t row = 0;
    const char *why = NULL;
    char path[1200];

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    struct group g = bench_group(&b, "lab", &owner);
    assert_int_equal(group_key(&b.desk, &g, &key), OUT_OK);
    assert_int_equal(group_authority(&b.desk, &g, &a, &row), OUT_OK);
    assert_int_equal(store_int(b.desk.store, -1,
                               "SELECT (SELECT count(*) FROM groups WHERE instr(group_key, ?1)) +"
                               " (SELECT count(*) FROM authorities WHERE instr(seed, ?2))",
                               VALUES(v_bytes(key.b, 32), v_bytes(a.seed.b, 32))),
                     0);
    struct desk blind = b.desk;
    struct vault *other = vault_open(home_path(&b.home, "other.key", path), true, &why);
    blind.vault = other;
    assert_int_equal(group_key(&blind, &g, &key), OUT_INTERNAL);
    assert_int_equal(group_authority(&blind, &g, &a, &row), OUT_INTERNAL);
    vault_close(other);
    bench_close(&b);
}

static void requests_are_decided_as_drawn(void **state)
{
    enum step { REQUEST, APPROVE, DENY, REVOKE };
    static const struct {
        enum member_state from;
        enum step step;
        enum outcome want;
        enum member_state to;
    } rows[] = {
        {MEMBER_NONE, REQUEST, OUT_OK, MEMBER_REQUESTED},
        {MEMBER_NONE, APPROVE, OUT_NO_REQUEST, MEMBER_NONE},
        {MEMBER_NONE, DENY, OUT_NO_REQUEST, MEMBER_NONE},
        {MEMBER_NONE, REVOKE, OUT_NOT_MEMBER, MEMBER_NONE},
        {MEMBER_REQUESTED, REQUEST, OUT_OK, MEMBER_REQUESTED},
        {MEMBER_REQUESTED, APPROVE, OUT_OK, MEMBER_APPROVED},
        {MEMBER_REQUESTED, DENY, OUT_OK, MEMBER_DENIED},
        {MEMBER_REQUESTED, REVOKE, OUT_NOT_MEMBER, MEMBER_REQUESTED},
        {MEMBER_APPROVED, REQUEST, OUT_ALREADY_MEMBER, MEMBER_APPROVED},
        {MEMBER_APPROVED, APPROVE, OUT_OK, MEMBER_APPROVED},
        {MEMBER_APPROVED, DENY, OUT_DENY_MEMBER, MEMBER_APPROVED},
        {MEMBER_APPROVED, REVOKE, OUT_OK, MEMBER_REVOKED},
        {MEMBER_DENIED, REQUEST, OUT_OK, MEMBER_REQUESTED},
        {MEMBER_DENIED, APPROVE, OUT_NO_REQUEST, MEMBER_DENIED},
        {MEMBER_DENIED, DENY, OUT_NO_REQUEST, MEMBER_DENIED},
        {MEMBER_DENIED, REVOKE, OUT_NOT_MEMBER, MEMBER_DENIED},
        {MEMBER_REVOKED, REQUEST, OUT_OK, MEMBER_REQUESTED},
        {MEMBER_REVOKED, APPROVE, OUT_NO_REQUEST, MEMBER_REVOKED},
        {MEMBER_REVOKED, DENY, OUT_NO_REQUEST, MEMBER_REVOKED},
        {MEMBER_REVOKED, REVOKE, OUT_NOT_MEMBER, MEMBER_REVOKED},
    };
    enum outcome (*const steps[])(struct desk *, const struct group *, const struct account *,
                                  const char *) = {member_request, member_approve, member_deny,
                                                   member_revoke};
    struct bench b;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    struct group g = bench_group(&b, "lab", &owner);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[16];
        struct member m;
        snprintf(name, sizeof name, "u%zu", i);
        struct account u = bench_user(&b, name);
        if (rows[i].from != MEMBER_NONE)
            assert_int_equal(member_request(&b.desk, &g, &u, ""), OUT_OK);
        if (rows[i].from == MEMBER_DENIED)
            assert_int_equal(member_deny(&b.desk, &g, &u, ""), OUT_OK);
        if (rows[i].from == MEMBER_APPROVED || rows[i].from == MEMBER_REVOKED)
            assert_int_equal(member_approve(&b.desk, &g, &u, ""), OUT_OK);
        if (rows[i].from == MEMBER_REVOKED)
            assert_int_equal(member_revoke(&b.desk, &g, &u, ""), OUT_OK);
        assert_int_equal(steps[rows[i].step](&b.desk, &g, &u, "note"), rows[i].want);
        assert_int_equal(member_find(&b.desk, &g, &u, &m), OUT_OK);
        assert_int_equal(m.state, rows[i].to);
    }
    bench_close(&b);
}

static void texts_are_printable_and_bounded(void **state)
{
    static const char most[REASON_MAX + 1] = {[0 ... REASON_MAX - 1] = 'x'};
    static const char more[REASON_MAX + 2] = {[0 ... REASON_MAX] = 'x'};
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"", true},
        {"Gr\xc3\xbc\xc3\x9f Gott, \xe2\x82\xac 3 \xf0\x9f\x94\x94\nbye\t.", true},
        {most, true},
        {more, false},
        {"\x1b[31m", false},
        {"\x7f", false},
        {"\r", false},
        {"\xff", false},
        {"\xc3", false},              /* cut */
        {"\xc0\xaf", false},          /* overlong */
        {"\xe0\x80\xaf", false},      /* overlong */
        {"\xed\xa0\x80", false},      /* surrogate */
        {"\xf4\x90\x80\x80", false},  /* past U+10FFFF */
        {"\xc2\x85", false},          /* C1 */
        {"\xe2\x80\xae evil", false}, /* right-to-left override */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(desk_text_valid(rows[i].text), rows[i].good);
}

struct seen {
    char users[8][16];
    size_t count;
};

static void see(void *ctx, const struct member_line *line)
{
    struct seen *s = ctx;
    snprintf(s->users[s->count++], 16, "%s", line->user);
}

static void a_list_shows_who_waits_first(void **state)
{
    static const char *const names[] = {"zoe", "bob", "amy", "a-b"};
    struct bench b;
    struct seen seen = {0};
    struct member_filter filter = {.search = "", .limit = 8};
    int64_t total = 0;

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    struct group g = bench_group(&b, "lab", &owner);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct account u = bench_user(&b, names[i]);
        b.desk.now_s++;
        assert_int_equal(member_request(&b.desk, &g, &u, ""), OUT_OK);
        if (i >= 2)
            assert_int_equal(member_approve(&b.desk, &g, &u, ""), OUT_OK);
    }
    assert_int_equal(member_list(&b.desk, &g, &filter, see, &seen, &total), OUT_OK);
    static const char *const want[] = {"zoe", "bob", "a-b", "amy", "owner"};
    assert_int_equal(total, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(seen.users[i], want[i]);
    seen.count = 0;
    filter = (struct member_filter){.search = "", .offset = 1, .limit = 1};
    assert_int_equal(member_list(&b.desk, &g, &filter, see, &seen, &total), OUT_OK);
    assert_int_equal(seen.count, 1);
    assert_int_equal(total, 5);
    assert_string_equal(seen.users[0], "bob");
    filter = (struct member_filter){.search = "%", .limit = 8}; /* no wildcard */
    assert_int_equal(member_list(&b.desk, &g, &filter, see, &seen, &total), OUT_OK);
    assert_int_equal(total, 0);
    filter = (struct member_filter){.search = "o", .state = MEMBER_REQUESTED, .limit = 0};
    assert_int_equal(member_list(&b.desk, &g, &filter, see, &seen, &total), OUT_OK);
    assert_int_equal(total, 5 - 3); /* zoe and bob; all addresses have an o as well */
    /* Before them who is a member and lost a machine, from when he asks for another. */
    assert_int_equal(store_run(b.desk.store,
                               "UPDATE members SET further = 'held' WHERE user_row ="
                               " (SELECT id FROM users WHERE name = 'amy')",
                               VALUES()),
                     1);
    struct account amy;
    assert_int_equal(account_find(&b.desk, "amy", &amy), OUT_OK);
    filter = (struct member_filter){.search = "", .state = MEMBER_REQUESTED, .limit = 8};
    assert_int_equal(member_list(&b.desk, &g, &filter, see, &seen, &total), OUT_OK);
    assert_int_equal(total, 2);
    b.desk.now_s++;
    assert_int_equal(member_request(&b.desk, &g, &amy, ""), OUT_OK);
    seen.count = 0;
    assert_int_equal(member_list(&b.desk, &g, &filter, see, &seen, &total), OUT_OK);
    assert_int_equal(total, 3);
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.users[0], "amy");
    assert_string_equal(seen.users[1], "zoe");
    filter.search = "amy";
    assert_int_equal(member_list(&b.desk, &g, &filter, see, &seen, &total), OUT_OK);
    assert_int_equal(total, 1);
    bench_close(&b);
}

static void a_services_url_is_https_and_a_host(void **state)
{
    static const struct {
        const char *asked, *got, *host;
    } rows[] = {
        {"https://CA.example.org:8443", "https://ca.example.org:8443", "ca.example.org"},
        {"https://ca.example.org/", "https://ca.example.org", "ca.example.org"},
        {"https://192.0.2.1:1", "https://192.0.2.1:1", "192.0.2.1"},
        {"https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443", "2001:db8::1"},
        {"https://[2001:db8::1]", "https://[2001:db8::1]", "2001:db8::1"},
        {"http://ca.example.org", NULL, NULL},
        {"ca.example.org", NULL, NULL},
        {"https://", NULL, NULL},
        {"https://:8443", NULL, NULL},
        {"https://a:", NULL, NULL},
        {"https://a:0", NULL, NULL},
        {"https://a:65536", NULL, NULL},
        {"https://a:1x", NULL, NULL},
        {"https://a/path", NULL, NULL},
        {"https://user@a", NULL, NULL},
        {"https://a?b", NULL, NULL},
        {"https://[192.0.2.1]", NULL, NULL},
        {"https://[2001:db8::1", NULL, NULL},
        {"https://[2001:db8::1]x", NULL, NULL},
        {"https://2001:db8::1", NULL, NULL},
        {"https://a b", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char url[SERVER_URL_MAX + 1], host[SERVER_URL_MAX + 1];
        if (server_url_read(url, rows[i].asked) != (rows[i].got != NULL))
            fail_msg("%s", rows[i].asked);
        if (!rows[i].got)
            continue;
        assert_string_equal(url, rows[i].got);
        server_url_host(url, host, sizeof host);
        assert_string_equal(host, rows[i].host);
    }
}

static void a_blob_has_what_joining_needs(void **state)
{
    struct bench b;
    struct server server;
    struct text out = {0};
    struct secret key;
    const struct group_wish w = {
        .name = "lab", .bootstrap = "192.0.2.1:4747,b:1", .public_bootstrap = "p:2", .psk = true};
    struct group g;
    char hex[ID_TEXT_SIZE];

    bench_open(&b);
    struct account owner = bench_user(&b, "owner");
    assert_int_equal(group_add(&b.desk, &w, &owner, &g), OUT_OK);
    assert_int_equal(server_load(&b.desk, &server), OUT_NO_ADDRESS);
    strcpy(server.url, "https://ca.example:8443");
    strcpy(server.pins, "pin1,pin2");
    assert_int_equal(server_write(&b.desk, &server), OUT_OK);
    assert_int_equal(server_load(&b.desk, &server), OUT_OK);
    assert_int_equal(blob_make(&b.desk, &g, &owner, &server, &out), OUT_OK);
    json_t *j = json_loadb(out.p, out.len, 0, NULL);
    assert_non_null(j);
    assert_int_equal(json_object_size(j), 13);
    assert_int_equal(json_integer_value(json_object_get(j, "peal")), 1);
    assert_string_equal(json_string_value(json_object_get(j, "group")), "lab");
    assert_string_equal(json_string_value(json_object_get(j, "group_id")), id_text(&g.id, hex));
    assert_string_equal(json_string_value(json_object_get(j, "user")), "owner");
    assert_string_equal(json_string_value(json_object_get(j, "server")), server.url);
    assert_int_equal(json_array_size(json_object_get(j, "server_pins")), 2);
    assert_int_equal(json_array_size(json_object_get(j, "bootstrap")), 2);
    assert_int_equal(json_array_size(json_object_get(j, "public_bootstrap")), 1);
    assert_true(json_is_true(json_object_get(j, "psk")));
    const json_t *network = json_object_get(j, "network");
    assert_string_equal(json_string_value(json_object_get(network, "ipv4")), g.ipv4);
    assert_string_equal(json_string_value(json_object_get(network, "ipv6")), g.ipv6);
    assert_string_equal(json_string_value(json_object_get(network, "domain")), "lab.peal");
    assert_int_equal(json_integer_value(json_object_get(network, "lease_s")), 86400);
    const char *ca = json_string_value(json_object_get(j, "ca")), *why = NULL;
    struct cert_ca *read = cert_ca_new(ca, strlen(ca), &why);
    assert_non_null(read);
    assert_memory_equal(cert_ca_group(read), &g.id, sizeof g.id);
    assert_string_equal(cert_ca_name(read), "lab");
    cert_ca_free(read);
    assert_int_equal(group_key(&b.desk, &g, &key), OUT_OK);
    assert_int_equal(strlen(json_string_value(json_object_get(j, "group_key"))), 44);
    /* Only the secret's hash is kept. */
    const char *secret = json_string_value(json_object_get(j, "secret"));
    uint8_t hash[HASH_LEN];
    blob_secret_hash(hash, secret);
    assert_int_equal(store_int(b.desk.store, 0, "SELECT count(*) FROM secrets WHERE hash = ?1",
                               VALUES(v_bytes(hash, sizeof hash))),
                     1);
    json_decref(j);
    text_clear(&out);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_is_private_and_of_a_sane_size),
        cmocka_unit_test(bootstrap_endpoints_are_hosts_with_ports),
        cmocka_unit_test(how_long_leases_and_certificates_last_may_be_said),
        cmocka_unit_test(members_see_each_other_where_the_group_says_so),
        cmocka_unit_test(the_log_says_what_a_change_of_settings_changed),
        cmocka_unit_test(what_is_not_said_has_a_default),
        cmocka_unit_test(the_ipv6_range_follows_from_the_group_id),
        cmocka_unit_test(names_that_are_none_are_refused),
        cmocka_unit_test(the_database_alone_has_no_keys),
        cmocka_unit_test(requests_are_decided_as_drawn),
        cmocka_unit_test(texts_are_printable_and_bounded),
        cmocka_unit_test(a_list_shows_who_waits_first),
        cmocka_unit_test(a_services_url_is_https_and_a_host),
        cmocka_unit_test(a_blob_has_what_joining_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
