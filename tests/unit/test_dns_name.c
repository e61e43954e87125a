// link: peal_core
/* Domain names on the wire and what they mean. */
#include "dns/name.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define BYTES(s) s, sizeof(s) - 1

/* Dotted text of a name, for comparison only. */
static const char *text(const struct dns_name *name)
{
    static char out[DNS_NAME_MAX + 1];
    char *p = out;
    for (size_t i = 0; i < name->len && name->b[i] != 0; i += 1u + name->b[i]) {
        memcpy(p, name->b + i + 1, name->b[i]);
        p += name->b[i];
        *p++ = '.';
    }
    *p = '\0';
    return out;
}

static void reading_by_table(void **state)
{
    static const struct {
        const char *rule, *bytes;
        size_t len, at;
        const char *name; /* NULL: refused */
        size_t next;      /* where reading goes on */
    } cases[] = {
        {"the root", BYTES("\0"), 0, "", 1},
        {"labels", BYTES("\1a\3Bcd\0!"), 0, "a.Bcd.", 7},
        {"a pointer", BYTES("\1a\0\1b\xc0\0!"), 3, "b.a.", 7},
        {"a pointer alone", BYTES("\1a\0\xc0\0!"), 3, "a.", 5},
        {"a pointer to a pointer", BYTES("\1a\0\1b\xc0\0\1c\xc0\3!"), 7, "c.b.a.", 11},
        {"a pointer into a name", BYTES("\1a\1b\0\xc0\2"), 5, "b.", 7},
        {"nothing", BYTES(""), 0, NULL, 0},
        {"no end", BYTES("\1a"), 0, NULL, 0},
        {"a label that is cut", BYTES("\5ab"), 0, NULL, 0},
        {"a pointer that is cut", BYTES("\1a\0\xc0"), 3, NULL, 0},
        {"a pointer to itself", BYTES("\xc0\0"), 0, NULL, 0},
        {"a pointer forward", BYTES("\xc0\2\1a\0"), 0, NULL, 0},
        {"a pointer into its own name", BYTES("\1a\xc0\0"), 0, NULL, 0},
        {"a pointer beyond the end", BYTES("\1a\0\xff\xff"), 3, NULL, 0},
        {"pointers in a circle", BYTES("\1a\xc0\4\1b\xc0\0"), 4, NULL, 0},
        {"label kind 0x40",
         BYTES("\x41"
               "a\0"),
         0, NULL, 0},
        {"label kind 0x80",
         BYTES("\x81"
               "a\0"),
         0, NULL, 0},
        {"label kind 0x40 behind a pointer",
         BYTES("\x41"
               "a\0\xc0\0"),
         3, NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reader r = reader_of(cases[i].bytes, cases[i].len);
        const uint8_t *message = r.p;
        struct dns_name name;
        read_bytes(&r, cases[i].at);
        bool ok = dns_name_read(&name, &r, message);
        if (ok != (cases[i].name != NULL) || ok == r.failed)
            fail_msg("%s", cases[i].rule);
        if (ok && (strcmp(text(&name), cases[i].name) || r.p != message + cases[i].next))
            fail_msg("%s: %s", cases[i].rule, text(&name));
    }
}

static void a_name_has_255_bytes_at_most(void **state)
{
    static const uint8_t label[LABEL_MAX];
    uint8_t m[300];
    struct dns_name name;
    for (size_t last = 61; last <= 63; last++) {
        struct writer w = writer_of(m, sizeof m);
        for (int i = 0; i < 3; i++) {
            write_u8(&w, 63);
            write_bytes(&w, label, 63);
        }
        write_u8(&w, (uint8_t)last);
        write_bytes(&w, label, last);
        write_u8(&w, 0);
        struct reader r = reader_of(m, writer_len(&w));
        assert_int_equal(dns_name_read(&name, &r, m), last == 61);
    }
}

/* Each run of labels is short, all of them together are not. */
static void a_compressed_name_has_255_bytes_at_most(void **state)
{
    uint8_t m[1000] = {0};
    struct writer w = writer_of(m, sizeof m);
    struct dns_name name;
    write_u8(&w, 0);
    size_t at = 0;
    for (int n = 1; n <= 130; n++) {
        size_t start = writer_len(&w);
        write_bytes(&w, "\1x", 2);
        write_u16(&w, (uint16_t)(0xc000 | at));
        struct reader r = reader_of(m, writer_len(&w));
        read_bytes(&r, start);
        assert_int_equal(dns_name_read(&name, &r, m), n <= DNS_LABELS_MAX);
        at = start;
    }
}

static struct dns_name name_of(const char *t)
{
    struct dns_name name;
    assert_true(dns_name_from_text(&name, t));
    return name;
}

static void writing_by_table(void **state)
{
    static const struct {
        const char *rule, *names[4], *bytes;
        size_t len;
    } cases[] = {
        {"a name", {"a.b"}, BYTES("\1a\1b\0")},
        {"the root", {""}, BYTES("\0")},
        {"the same again", {"a.b", "a.b"}, BYTES("\1a\1b\0\xc0\0")},
        {"a tail", {"a.b", "b"}, BYTES("\1a\1b\0\xc0\2")},
        {"a tail of a pointer's", {"a.b", "c.b", "d.c.b"}, BYTES("\1a\1b\0\1c\xc0\2\1d\xc0\5")},
        {"case is ignored", {"A.b", "a.B"}, BYTES("\1A\1b\0\xc0\0")},
        {"a name that repeats itself", {"a.a"}, BYTES("\1a\1a\0")},
        {"no tail in common", {"a.b", "a.c"}, BYTES("\1a\1b\0\1a\1c\0")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t m[64];
        struct writer w = writer_of(m, sizeof m);
        struct dns_names names = {.count = 0};
        for (int k = 0; k < 4 && cases[i].names[k]; k++) {
            struct dns_name name = name_of(cases[i].names[k]);
            dns_name_write(&w, &names, &name);
        }
        if (writer_len(&w) != cases[i].len || memcmp(m, cases[i].bytes, cases[i].len))
            fail_msg("%s", cases[i].rule);
    }
}

static void more_names_than_remembered_stand_in_full(void **state)
{
    uint8_t m[4096];
    struct writer w = writer_of(m, sizeof m);
    struct dns_names names = {.count = 0};
    char label[8] = "aa";
    for (int i = 0; i < 3 * DNS_NAMES_MAX; i++) {
        struct dns_name written, read;
        struct reader r;
        label[0] = (char)('a' + i / 26);
        label[1] = (char)('a' + i % 26);
        written = name_of(label);
        size_t start = writer_len(&w);
        dns_name_write(&w, &names, &written);
        r = reader_of(m, writer_len(&w));
        read_bytes(&r, start);
        assert_true(dns_name_read(&read, &r, m));
        assert_true(dns_name_eq(&read, &written));
    }
    assert_int_equal(names.count, DNS_NAMES_MAX);
}

static void a_full_buffer_fails_and_nothing_more(void **state)
{
    struct dns_name name = name_of("alice.lab.peal");
    for (size_t size = 0; size < 20; size++) {
        uint8_t m[20];
        struct writer w = writer_of(m, size);
        struct dns_names names = {.count = 0};
        dns_name_write(&w, &names, &name);
        assert_int_equal(w.failed, size < name.len);
        dns_name_write(&w, &names, &name);
        assert_int_equal(w.failed, size < name.len + 2u);
    }
}

static void names_from_text_by_table(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"", true},     {"a", true},   {"lab.peal", true}, {"a-b.c1", true},
        {".", false},   {"a.", false}, {".a", false},      {"a..b", false},
        {"a_b", false}, {"-a", false}, {"a b", false},     {"a\\.b", false},
    };
    struct dns_name name;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (dns_name_from_text(&name, cases[i].text) != cases[i].ok)
            fail_msg("%s", cases[i].text);
    }
    assert_true(dns_name_from_text(&name, "lab.peal"));
    assert_int_equal(name.len, 10);
    assert_memory_equal(name.b, "\3lab\4peal\0", 10);
}

static void within_and_tail(void **state)
{
    static const struct {
        const char *name, *zone;
        bool within;
    } cases[] = {
        {"lab.peal", "lab.peal", true},     {"a.LAB.peal", "lab.Peal", true},
        {"a.b.lab.peal", "lab.peal", true}, {"peal", "lab.peal", false},
        {"xlab.peal", "lab.peal", false},   {"lab.peal.com", "lab.peal", false},
        {"a.lab.peal", "", true},           {"", "lab.peal", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_name name = name_of(cases[i].name), zone = name_of(cases[i].zone);
        if (dns_name_within(&name, &zone) != cases[i].within)
            fail_msg("%s in %s", cases[i].name, cases[i].zone);
    }
    struct dns_name name = name_of("a.b.c");
    struct dns_name tail = dns_name_tail(&name, 2);
    assert_string_equal(text(&tail), "b.c.");
    tail = dns_name_tail(&name, 0);
    assert_string_equal(text(&tail), "");
    assert_int_equal(dns_name_labels(&name), 3);
}

static void labels(void **state)
{
    struct reader r = reader_of("\5Alice\4a_sd\1\0\3a.b\0", 19);
    struct dns_name name;
    char label[LABEL_MAX + 1];
    assert_true(dns_name_read(&name, &r, r.p));
    assert_true(dns_name_label(&name, 0, label));
    assert_string_equal(label, "alice");
    for (unsigned i = 1; i < 4; i++)
        assert_false(dns_name_label(&name, i, label));
}

static void under_a_zone(void **state)
{
    struct dns_name zone = name_of("lab.peal"), name;
    char longest[254];
    assert_true(dns_name_under(&name, "alice", &zone));
    assert_string_equal(text(&name), "alice.lab.peal.");
    assert_false(dns_name_under(&name, "", &zone));
    assert_false(dns_name_under(&name, "a.b", &zone));
    assert_false(dns_name_under(&name, "a_b", &zone));
    memset(longest, 'a', sizeof longest);
    for (size_t i = 50; i < 250; i += 50)
        longest[i] = '.';
    longest[252] = '\0';
    zone = name_of(longest);
    assert_false(dns_name_under(&name, "a", &zone));
    longest[251] = '\0';
    zone = name_of(longest);
    assert_true(dns_name_under(&name, "a", &zone));
    assert_int_equal(name.len, DNS_NAME_MAX);
}

static void reverse_names_by_table(void **state)
{
    static const struct {
        const char *name, *addr; /* NULL: not one */
        unsigned bits;
    } cases[] = {
        {"5.0.77.10.in-addr.arpa", "10.77.0.5", 32},
        {"5.0.77.10.IN-ADDR.Arpa", "10.77.0.5", 32},
        {"77.10.in-addr.arpa", "10.77.0.0", 16},
        {"in-addr.arpa", "0.0.0.0", 0},
        {"255.255.255.255.in-addr.arpa", "255.255.255.255", 32},
        {"256.0.77.10.in-addr.arpa", NULL, 0},
        {"05.0.77.10.in-addr.arpa", NULL, 0},
        {"0005.0.77.10.in-addr.arpa", NULL, 0},
        {"a.0.77.10.in-addr.arpa", NULL, 0},
        {"1.5.0.77.10.in-addr.arpa", NULL, 0},
        {"5.0.77.10.in-addr.arpa.peal", NULL, 0},
        {"arpa", NULL, 0},
        {"", NULL, 0},
        {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.a.d.F.ip6.arpa", "fdab::1",
         128},
        {"d.f.ip6.arpa", "fd00::", 8},
        {"f.ip6.arpa", "f000::", 4},
        {"fd.ip6.arpa", NULL, 0},
        {"g.ip6.arpa", NULL, 0},
        {"1.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.a.d.f.ip6.arpa", NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dns_name name = name_of(cases[i].name), back;
        struct addr addr, expected;
        unsigned bits;
        bool ok = dns_name_to_addr(&name, &addr, &bits);
        if (ok != (cases[i].addr != NULL))
            fail_msg("%s", cases[i].name);
        if (!ok)
            continue;
        assert_true(addr_parse(&expected, cases[i].addr));
        back = dns_name_of_addr(&addr, bits);
        if (!addr_eq(&addr, &expected) || bits != cases[i].bits || !dns_name_eq(&back, &name))
            fail_msg("%s", cases[i].name);
    }
}

static void address_labels_by_table(void **state)
{
    static const struct {
        const char *label, *range, *addr;
    } cases[] = {
        {"c077000005", "10.77.0.0/16", "10.77.0.5"},
        {"C077000005", "10.77.0.0/16", "10.77.0.5"},
        {"c255255255", "10.0.0.0/8", "10.255.255.255"},
        {"c077000005", "10.78.0.0/16", NULL},
        {"c077000256", "10.77.0.0/16", NULL},
        {"c07700005", "10.77.0.0/16", NULL},
        {"c0770000055", "10.77.0.0/16", NULL},
        {"c07700000x", "10.77.0.0/16", NULL},
        {"d077000005", "10.77.0.0/16", NULL},
        {"c", "10.77.0.0/16", NULL},
        {"", "10.77.0.0/16", NULL},
        {"c168001009", "192.168.1.0/24", "192.168.1.9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct net range;
        struct addr addr, expected = {.family = 0};
        assert_true(net_parse(&range, cases[i].range));
        if (cases[i].addr)
            assert_true(addr_parse(&expected, cases[i].addr));
        if (dns_label_to_addr(cases[i].label, &range, &addr) != (cases[i].addr != NULL) ||
            !addr_eq(&addr, &expected))
            fail_msg("%s in %s", cases[i].label, cases[i].range);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_by_table),
        cmocka_unit_test(a_name_has_255_bytes_at_most),
        cmocka_unit_test(a_compressed_name_has_255_bytes_at_most),
        cmocka_unit_test(writing_by_table),
        cmocka_unit_test(more_names_than_remembered_stand_in_full),
        cmocka_unit_test(a_full_buffer_fails_and_nothing_more),
        cmocka_unit_test(names_from_text_by_table),
        cmocka_unit_test(within_and_tail),
        cmocka_unit_test(labels),
        cmocka_unit_test(under_a_zone),
        cmocka_unit_test(reverse_names_by_table),
        cmocka_unit_test(address_labels_by_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
