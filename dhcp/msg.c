#include "dhcp/msg.h"

#include "overlay/core/err.h"

#include <string.h>

enum { SNAME_LEN = 64, FILE_LEN = 128, CHADDR_LEN = 16 };
enum { OVERLOAD_FILE = 1, OVERLOAD_SNAME = 2, OVERLOAD_BOTH = 3 };

/* What is read of a message before its options mean anything: each option's value, joined. */
struct options {
    struct dhcp_bytes type, overload, requested, server_id, max_size;
    struct dhcp_bytes client_id, host_name, parameters;
};

/* The options that are read, and the lengths they may have. */
static const struct option_rule {
    uint8_t code, least, most;
    size_t offset; /* of its value in struct options */
} option_rules[] = {
    {DHCP_OPT_HOST_NAME, 1, 255, offsetof(struct options, host_name)},
    {DHCP_OPT_REQUESTED, 4, 4, offsetof(struct options, requested)},
    {DHCP_OPT_OVERLOAD, 1, 1, offsetof(struct options, overload)},
    {DHCP_OPT_TYPE, 1, 1, offsetof(struct options, type)},
    {DHCP_OPT_SERVER_ID, 4, 4, offsetof(struct options, server_id)},
    {DHCP_OPT_PARAMETERS, 1, 255, offsetof(struct options, parameters)},
    {DHCP_OPT_MAX_SIZE, 2, 2, offsetof(struct options, max_size)},
    {DHCP_OPT_CLIENT_ID, 2, 255, offsetof(struct options, client_id)},
};

static const struct option_rule *rule_of(uint8_t code)
{
    for (size_t i = 0; i < ARRAY_LEN(option_rules); i++) {
        if (option_rules[i].code == code)
            return &option_rules[i];
    }
    return NULL;
}

static struct dhcp_bytes *value_of(struct options *o, const struct option_rule *rule)
{
    return (struct dhcp_bytes *)((char *)o + rule->offset);
}

static bool take_option(struct options *o, uint8_t code, const uint8_t *value, uint8_t len)
{
    const struct option_rule *rule = rule_of(code);
    if (!rule)
        return true;
    struct dhcp_bytes *v = value_of(o, rule);
    if (len < rule->least || len > rule->most - v->len)
        return false;
    memcpy(v->b + v->len, value, len);
    v->len += len;
    return true;
}

/* One field's options, up to and with its end; what lies behind the end is padding. */
static bool read_options(struct options *o, struct reader r)
{
    for (;;) {
        uint8_t code = read_u8(&r);
        if (r.failed)
            return false; /* no end */
        if (code == DHCP_OPT_END)
            return true;
        if (code == DHCP_OPT_PAD)
            continue;
        uint8_t len = read_u8(&r);
        const uint8_t *value = read_bytes(&r, len);
        if (r.failed || !take_option(o, code, value, len))
            return false;
    }
}

/* RFC 2131 4.1: "the options in the 'options' field MUST be interpreted first", then file, sname.
 */
static bool read_all_options(struct options *o, struct reader options, struct reader file,
                             struct reader sname)
{
    if (!read_options(o, options))
        return false;
    if (!o->overload.len)
        return true;
    uint8_t overload = o->overload.b[0];
    if (overload < OVERLOAD_FILE || overload > OVERLOAD_BOTH)
        return false;
    /* A second overload option in those fields finds its place taken: malformed. */
    return (!(overload & OVERLOAD_FILE) || read_options(o, file)) &&
           (!(overload & OVERLOAD_SNAME) || read_options(o, sname));
}

static bool type_is_clients(uint8_t type)
{
    return type == DHCP_DISCOVER || type == DHCP_REQUEST || type == DHCP_DECLINE ||
           type == DHCP_RELEASE || type == DHCP_INFORM;
}

static bool mac_is_station(const struct mac *mac)
{
    static const struct mac zero;
    return !(mac->b[0] & 1) && memcmp(mac, &zero, sizeof zero) != 0;
}

static uint32_t u32_or_zero(const struct dhcp_bytes *v)
{
    return v->len ? get_u32(v->b) : 0;
}

static void msg_fill(struct dhcp_msg *m, const struct options *o)
{
    m->type = o->type.b[0];
    m->requested = u32_or_zero(&o->requested);
    m->server_id = u32_or_zero(&o->server_id);
    m->max_size = o->max_size.len ? get_u16(o->max_size.b) : 0;
    m->client_id = o->client_id;
    m->host_name = o->host_name;
    m->parameters = o->parameters;
}

/* The fixed part; sname and file are left for the options. */
static bool read_header(struct dhcp_header *h, struct reader *r, struct reader *file,
                        struct reader *sname)
{
    h->op = read_u8(r);
    uint8_t htype = read_u8(r), hlen = read_u8(r);
    read_u8(r); /* hops */
    h->xid = read_u32(r);
    h->secs = read_u16(r);
    h->flags = read_u16(r);
    h->ciaddr = read_u32(r);
    h->yiaddr = read_u32(r);
    read_u32(r); /* siaddr */
    h->giaddr = read_u32(r);
    read_copy(r, h->mac.b, sizeof h->mac.b);
    read_bytes(r, CHADDR_LEN - sizeof h->mac.b);
    const uint8_t *sname_at = read_bytes(r, SNAME_LEN), *file_at = read_bytes(r, FILE_LEN);
    uint32_t cookie = read_u32(r);
    if (r->failed)
        return false;
    *sname = reader_of(sname_at, SNAME_LEN);
    *file = reader_of(file_at, FILE_LEN);
    return h->op == DHCP_BOOTREQUEST && htype == DHCP_HTYPE_ETHERNET && hlen == sizeof h->mac.b &&
           cookie == DHCP_COOKIE && mac_is_station(&h->mac);
}

bool dhcp_msg_parse(struct dhcp_msg *out, const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len), file, sname;
    struct options options;
    memset(&options, 0, sizeof options);
    memset(out, 0, sizeof *out);
    if (!read_header(&out->header, &r, &file, &sname) ||
        !read_all_options(&options, r, file, sname) || !options.type.len ||
        !type_is_clients(options.type.b[0])) {
        memset(out, 0, sizeof *out);
        return false;
    }
    msg_fill(out, &options);
    return true;
}

bool dhcp_msg_wants(const struct dhcp_msg *m, enum dhcp_option code)
{
    return !m->parameters.len || memchr(m->parameters.b, code, m->parameters.len);
}

void dhcp_write_header(struct writer *w, const struct dhcp_header *h)
{
    static const uint8_t zero[SNAME_LEN + FILE_LEN];
    write_u8(w, h->op);
    write_u8(w, DHCP_HTYPE_ETHERNET);
    write_u8(w, sizeof h->mac.b);
    write_u8(w, 0); /* hops */
    write_u32(w, h->xid);
    write_u16(w, h->secs);
    write_u16(w, h->flags);
    write_u32(w, h->ciaddr);
    write_u32(w, h->yiaddr);
    write_u32(w, 0); /* siaddr */
    write_u32(w, h->giaddr);
    write_bytes(w, h->mac.b, sizeof h->mac.b);
    write_bytes(w, zero, CHADDR_LEN - sizeof h->mac.b);
    write_bytes(w, zero, SNAME_LEN + FILE_LEN);
    write_u32(w, DHCP_COOKIE);
}

bool dhcp_write_option(struct writer *w, enum dhcp_option code, const void *value, size_t len)
{
    if (len > DHCP_OPTION_MAX || writer_left(w) < 2 + len + 1)
        return false;
    write_u8(w, (uint8_t)code);
    write_u8(w, (uint8_t)len);
    write_bytes(w, value, len);
    return true;
}

bool dhcp_write_u8(struct writer *w, enum dhcp_option code, uint8_t value)
{
    return dhcp_write_option(w, code, &value, 1);
}

bool dhcp_write_u16(struct writer *w, enum dhcp_option code, uint16_t value)
{
    uint8_t b[2];
    put_u16(b, value);
    return dhcp_write_option(w, code, b, sizeof b);
}

bool dhcp_write_u32(struct writer *w, enum dhcp_option code, uint32_t value)
{
    uint8_t b[4];
    put_u32(b, value);
    return dhcp_write_option(w, code, b, sizeof b);
}

void dhcp_write_end(struct writer *w)
{
    write_u8(w, DHCP_OPT_END);
    while (!w->failed && writer_len(w) < DHCP_SIZE_MIN)
        write_u8(w, 0);
}
