// link: peal_core
/* The DHCP wire format: what is read, what is refused, what is written. */
#include "dhcp/msg.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum {
    AT_OP = 0,
    AT_HTYPE = 1,
    AT_HLEN = 2,
    AT_CHADDR = 28,
    AT_SNAME = 44,
    AT_FILE = 108,
    AT_COOKIE = 236,
    AT_OPTIONS = 240
};

static const uint8_t station[6] = {0x02, 0, 0, 0, 0, 0x11};

/* A message with nothing wrong in its fixed part and no options. */
static void fixed_part(uint8_t *m)
{
    memset(m, 0, AT_OPTIONS);
    m[AT_OP] = DHCP_BOOTREQUEST;
    m[AT_HTYPE] = 1;
    m[AT_HLEN] = 6;
    put_u32(m + 4, 0xdeadbeef);
    put_u16(m + 8, 7);
    put_u16(m + 10, DHCP_FLAG_BROADCAST);
    memcpy(m + AT_CHADDR, station, 6);
    put_u32(m + AT_COOKIE, DHCP_COOKIE);
}

#define TYPE "\x35\x01\x01"
#define END "\xff"
#define BYTES(s) s, sizeof(s) - 1

struct bytes {
    const char *b;
    size_t len;
};

static size_t with_options(uint8_t *m, struct bytes options, struct bytes file, struct bytes sname)
{
    fixed_part(m);
    if (file.len)
        memcpy(m + AT_FILE, file.b, file.len);
    if (sname.len)
        memcpy(m + AT_SNAME, sname.b, sname.len);
    memcpy(m + AT_OPTIONS, options.b, options.len);
    return AT_OPTIONS + options.len;
}

static void options_by_table(void **state)
{
    static const struct {
        const char *rule;
        struct bytes options, file, sname;
        bool ok;
    } cases[] = {
        {"the type and the end are enough", {BYTES(TYPE END)}, {0}, {0}, true},
        {"pads are skipped", {BYTES("\0\0" TYPE "\0" END)}, {0}, {0}, true},
        {"what lies behind the end is padding", {BYTES(TYPE END "\x35\x09")}, {0}, {0}, true},
        {"unknown options are skipped", {BYTES(TYPE "\xfa\x02\1\2" END)}, {0}, {0}, true},
        {"unknown options may be empty", {BYTES(TYPE "\x50\x00" END)}, {0}, {0}, true},
        {"an empty options field has no end", {BYTES("")}, {0}, {0}, false},
        {"the end must be there", {BYTES(TYPE)}, {0}, {0}, false},
        {"pads are no end", {BYTES(TYPE "\0\0\0")}, {0}, {0}, false},
        {"a length must be there", {BYTES(TYPE "\x32")}, {0}, {0}, false},
        {"a value must be whole", {BYTES(TYPE "\x32\x04\1\2\3")}, {0}, {0}, false},
        {"plain BOOTP has no type", {BYTES(END)}, {0}, {0}, false},
        {"type 0 does not exist", {BYTES("\x35\x01\x00" END)}, {0}, {0}, false},
        {"servers offer, clients do not", {BYTES("\x35\x01\x02" END)}, {0}, {0}, false},
        {"servers acknowledge", {BYTES("\x35\x01\x05" END)}, {0}, {0}, false},
        {"servers refuse", {BYTES("\x35\x01\x06" END)}, {0}, {0}, false},
        {"nobody forces a renewal here", {BYTES("\x35\x01\x09" END)}, {0}, {0}, false},
        {"a type is one byte", {BYTES("\x35\x02\x01\x01" END)}, {0}, {0}, false},
        {"a type is not empty", {BYTES("\x35\x00" END)}, {0}, {0}, false},
        {"a type comes once", {BYTES(TYPE TYPE END)}, {0}, {0}, false},
        {"an address has four bytes", {BYTES(TYPE "\x32\x03\1\2\3" END)}, {0}, {0}, false},
        {"an address has no more", {BYTES(TYPE "\x32\x05\1\2\3\4\5" END)}, {0}, {0}, false},
        {"an address comes once",
         {BYTES(TYPE "\x32\x04\1\2\3\4\x32\x04\1\2\3\4" END)},
         {0},
         {0},
         false},
        {"a server has four bytes", {BYTES(TYPE "\x36\x01\1" END)}, {0}, {0}, false},
        {"a size has two bytes", {BYTES(TYPE "\x39\x01\1" END)}, {0}, {0}, false},
        {"a client identifier has a type and more",
         {BYTES(TYPE "\x3d\x01\1" END)},
         {0},
         {0},
         false},
        {"a host name is not empty", {BYTES(TYPE "\x0c\x00" END)}, {0}, {0}, false},
        {"a parameter list is not empty", {BYTES(TYPE "\x37\x00" END)}, {0}, {0}, false},
        {"overload 1: file", {BYTES("\x34\x01\1" END)}, {BYTES(TYPE END)}, {0}, true},
        {"overload 2: sname", {BYTES("\x34\x01\2" END)}, {0}, {BYTES(TYPE END)}, true},
        {"overload 3: both",
         {BYTES("\x34\x01\3" END)},
         {BYTES(TYPE END)},
         {BYTES("\x0c\x01"
                "a" END)},
         true},
        {"overload 1 does not read sname",
         {BYTES("\x34\x01\1" END)},
         {0},
         {BYTES(TYPE END)},
         false},
        {"overload fields have an end", {BYTES(TYPE "\x34\x01\3" END)}, {BYTES(END)}, {0}, false},
        {"overload 0 does not exist", {BYTES(TYPE "\x34\x01\0" END)}, {0}, {0}, false},
        {"overload 4 does not exist", {BYTES(TYPE "\x34\x01\4" END)}, {0}, {0}, false},
        {"overload is not overloaded",
         {BYTES(TYPE "\x34\x01\1" END)},
         {BYTES("\x34\x01\2" END)},
         {0},
         false},
        {"without overload file is a name", {BYTES(TYPE END)}, {BYTES("\x34\x01\x09")}, {0}, true},
    };
    uint8_t m[600];
    struct dhcp_msg out;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = with_options(m, cases[i].options, cases[i].file, cases[i].sname);
        if (dhcp_msg_parse(&out, m, len) != cases[i].ok)
            fail_msg("%s", cases[i].rule);
    }
}

static void fixed_part_by_table(void **state)
{
    static const struct {
        const char *rule;
        size_t at;
        uint8_t value;
        bool ok;
    } cases[] = {
        {"nothing changed", AT_OP, DHCP_BOOTREQUEST, true},
        {"answers are not for servers", AT_OP, DHCP_BOOTREPLY, false},
        {"op 0", AT_OP, 0, false},
        {"only Ethernet", AT_HTYPE, 6, false},
        {"a hardware address is six bytes", AT_HLEN, 16, false},
        {"a hardware address is not empty", AT_HLEN, 0, false},
        {"the cookie", AT_COOKIE + 3, 0x64, false},
        {"a group is no client", AT_CHADDR, 0x03, false},
        {"hops may be anything", 3, 9, true},
    };
    uint8_t m[AT_OPTIONS + 4];
    struct dhcp_msg out;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len =
            with_options(m, (struct bytes){BYTES(TYPE END)}, (struct bytes){0}, (struct bytes){0});
        m[cases[i].at] = cases[i].value;
        if (dhcp_msg_parse(&out, m, len) != cases[i].ok)
            fail_msg("%s", cases[i].rule);
    }
    with_options(m, (struct bytes){BYTES(TYPE END)}, (struct bytes){0}, (struct bytes){0});
    memset(m + AT_CHADDR, 0, 6);
    assert_false(dhcp_msg_parse(&out, m, sizeof m));
}

/* What dhclient sends in REQUEST, more or less. */
#define WHOLE                                                                                      \
    "\x35\x01\x03"                                                                                 \
    "\x36\x04\x0a\x4d\x00\x01"                                                                     \
    "\x32\x04\x0a\x4d\x00\x05"                                                                     \
    "\x39\x02\x05\xdc"                                                                             \
    "\x0c\x05"                                                                                     \
    "alice"                                                                                        \
    "\x3d\x07\x01\x02\x00\x00\x00\x00\x11"                                                         \
    "\x37\x03\x01\x1c\x03" END

static void every_field_is_read(void **state)
{
    uint8_t m[600];
    struct dhcp_msg out;
    size_t len =
        with_options(m, (struct bytes){BYTES(WHOLE)}, (struct bytes){0}, (struct bytes){0});
    put_u32(m + 12, 0x0a4d0006);
    put_u32(m + 24, 0x0a4d0007);
    assert_true(dhcp_msg_parse(&out, m, len));
    assert_int_equal(out.header.xid, 0xdeadbeef);
    assert_int_equal(out.header.secs, 7);
    assert_int_equal(out.header.flags, DHCP_FLAG_BROADCAST);
    assert_int_equal(out.header.ciaddr, 0x0a4d0006);
    assert_int_equal(out.header.giaddr, 0x0a4d0007);
    assert_memory_equal(out.header.mac.b, station, 6);
    assert_int_equal(out.type, DHCP_REQUEST);
    assert_int_equal(out.requested, 0x0a4d0005);
    assert_int_equal(out.server_id, 0x0a4d0001);
    assert_int_equal(out.max_size, 1500);
    assert_int_equal(out.client_id.len, 7);
    assert_memory_equal(out.host_name.b, "alice", 5);
    assert_true(dhcp_msg_wants(&out, DHCP_OPT_BROADCAST));
    assert_false(dhcp_msg_wants(&out, DHCP_OPT_MTU));
    out.parameters.len = 0;
    assert_true(dhcp_msg_wants(&out, DHCP_OPT_MTU));
}

/* tests/data/dhcp: what programs that others wrote put on the wire. */
static void real_clients_are_understood(void **state)
{
    static const struct {
        const char *file;
        enum dhcp_type type;
        uint32_t requested, server_id, ciaddr;
        uint16_t max_size;
        uint8_t id_len;
        const char *name;
    } cases[] = {
        {"dhclient-discover", DHCP_DISCOVER, 0, 0, 0, 0, 0, "ws"},
        {"dhclient-request", DHCP_REQUEST, 0x0a4d0505, 0x0a4d0001, 0, 0, 0, "ws"},
        {"dhclient-renew", DHCP_REQUEST, 0, 0, 0x0a4d0505, 0, 0, "ws"},
        {"dhclient-release", DHCP_RELEASE, 0, 0x0a4d0001, 0x0a4d0505, 0, 0, "ws"},
        {"udhcpc-discover", DHCP_DISCOVER, 0, 0, 0, 576, 7, "alice"},
        {"udhcpc-request", DHCP_REQUEST, 0x0a4d0505, 0x0a4d0001, 0, 576, 7, "alice"},
        {"udhcpc-renew", DHCP_REQUEST, 0, 0, 0x0a4d0505, 576, 7, "alice"},
        {"udhcpc-release", DHCP_RELEASE, 0, 0x0a4d0001, 0x0a4d0505, 0, 7, ""},
        {"dhcpcd-discover", DHCP_DISCOVER, 0, 0, 0, 1472, 19, "alice"},
        {"dhcpcd-request", DHCP_REQUEST, 0x0a4d0505, 0x0a4d0001, 0, 1472, 19, "alice"},
        {"dhcpcd-renew", DHCP_REQUEST, 0, 0, 0x0a4d0506, 1472, 19, "alice"},
        {"dhcpcd-decline", DHCP_DECLINE, 0x0a4d0505, 0x0a4d0001, 0, 0, 19, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char path[64];
        uint8_t bytes[600];
        struct dhcp_msg m;
        snprintf(path, sizeof path, "data/dhcp/%s.bin", cases[i].file);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t len = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        if (!dhcp_msg_parse(&m, bytes, len) || m.type != cases[i].type ||
            m.requested != cases[i].requested || m.server_id != cases[i].server_id ||
            m.header.ciaddr != cases[i].ciaddr || m.max_size != cases[i].max_size ||
            m.client_id.len != cases[i].id_len || m.host_name.len != strlen(cases[i].name) ||
            memcmp(m.host_name.b, cases[i].name, m.host_name.len) != 0)
            fail_msg("%s", cases[i].file);
        assert_memory_equal(m.header.mac.b, "\2\0\0\0\0\x11", 6);
    }
}

static void a_truncated_message_is_malformed(void **state)
{
    uint8_t m[600];
    struct dhcp_msg out;
    size_t len =
        with_options(m, (struct bytes){BYTES(WHOLE)}, (struct bytes){0}, (struct bytes){0});
    for (size_t cut = 0; cut < len; cut++)
        assert_false(dhcp_msg_parse(&out, m, cut));
    assert_int_equal(out.header.xid, 0);
}

static void split_options_are_one(void **state)
{
    uint8_t m[600];
    struct dhcp_msg out;
    static const char split[] = TYPE "\x0c\x02"
                                     "al"
                                     "\x34\x01\1"
                                     "\x0c\x01"
                                     "i" END;
    size_t len = with_options(m, (struct bytes){split, sizeof split - 1},
                              (struct bytes){BYTES("\x0c\x02"
                                                   "ce" END)},
                              (struct bytes){0});
    assert_true(dhcp_msg_parse(&out, m, len));
    assert_int_equal(out.host_name.len, 5);
    assert_memory_equal(out.host_name.b, "alice", 5);
}

static void split_options_have_a_limit(void **state)
{
    uint8_t m[AT_OPTIONS + 3 + 2 + 255 + 3 + 1];
    struct dhcp_msg out;
    fixed_part(m);
    memcpy(m + AT_OPTIONS, TYPE "\x3d\xff", 5);
    memset(m + AT_OPTIONS + 5, 'x', 255);
    memcpy(m + AT_OPTIONS + 260, "\x3d\x01y" END, 4);
    assert_false(dhcp_msg_parse(&out, m, sizeof m));
    m[AT_OPTIONS + 260] = DHCP_OPT_END;
    assert_true(dhcp_msg_parse(&out, m, sizeof m));
    assert_int_equal(out.client_id.len, 255);
}

static void what_is_written_can_be_read(void **state)
{
    uint8_t m[600];
    struct dhcp_msg out;
    struct writer w = writer_of(m, sizeof m);
    struct dhcp_header h = {.op = DHCP_BOOTREQUEST,
                            .xid = 1,
                            .secs = 2,
                            .flags = 3,
                            .ciaddr = 4,
                            .yiaddr = 5,
                            .giaddr = 6};
    memcpy(h.mac.b, station, 6);
    dhcp_write_header(&w, &h);
    assert_int_equal(writer_len(&w), AT_OPTIONS);
    assert_true(dhcp_write_u8(&w, DHCP_OPT_TYPE, DHCP_INFORM));
    assert_true(dhcp_write_u16(&w, DHCP_OPT_MAX_SIZE, 1234));
    assert_true(dhcp_write_u32(&w, DHCP_OPT_REQUESTED, 0x01020304));
    assert_true(dhcp_write_option(&w, DHCP_OPT_HOST_NAME, "bob", 3));
    dhcp_write_end(&w);
    assert_int_equal(writer_len(&w), DHCP_SIZE_MIN);
    assert_true(dhcp_msg_parse(&out, m, writer_len(&w)));
    assert_int_equal(out.header.xid, 1);
    assert_int_equal(out.header.secs, 2);
    assert_int_equal(out.header.flags, 3);
    assert_int_equal(out.header.ciaddr, 4);
    assert_int_equal(out.header.yiaddr, 5);
    assert_int_equal(out.header.giaddr, 6);
    assert_memory_equal(out.header.mac.b, station, 6);
    assert_int_equal(out.type, DHCP_INFORM);
    assert_int_equal(out.max_size, 1234);
    assert_int_equal(out.requested, 0x01020304);
    assert_memory_equal(out.host_name.b, "bob", 3);
}

static void an_option_leaves_room_for_the_end(void **state)
{
    uint8_t m[10];
    struct writer w = writer_of(m, sizeof m);
    assert_false(dhcp_write_option(&w, DHCP_OPT_DOMAIN, "12345678", 8));
    assert_int_equal(writer_len(&w), 0);
    assert_true(dhcp_write_option(&w, DHCP_OPT_DOMAIN, "1234567", 7));
    assert_false(dhcp_write_u8(&w, DHCP_OPT_TYPE, 1));
    write_u8(&w, DHCP_OPT_END);
    assert_false(w.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_by_table),
        cmocka_unit_test(fixed_part_by_table),
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(real_clients_are_understood),
        cmocka_unit_test(a_truncated_message_is_malformed),
        cmocka_unit_test(split_options_are_one),
        cmocka_unit_test(split_options_have_a_limit),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(an_option_leaves_room_for_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
