#include "dns/name.h"

#include "overlay/core/err.h"

#include <string.h>

enum {
    LABEL_KIND = 0xc0,    /* the upper two bits of a length byte */
    LABEL_POINTER = 0xc0, /* RFC 1035 4.1.4; 0x40 and 0x80 were never assigned a use that lived */
    POINTER_MAX = 0x3fff,
    ARPA_LABELS = 2, /* in-addr.arpa, ip6.arpa */
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* Length bytes are below 'A', so a name can be compared as one string of bytes. */
static bool bytes_eq(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (lower(a[i]) != lower(b[i]))
            return false;
    }
    return true;
}

/* One label with its length byte, the empty one included. */
static bool append_label(struct dns_name *name, const uint8_t *label, uint8_t len)
{
    if (len > LABEL_MAX || name->len + 1u + len > DNS_NAME_MAX)
        return false;
    name->b[name->len++] = len;
    if (len > 0)
        memcpy(name->b + name->len, label, len);
    name->len += len;
    return true;
}

/* ---- reading and writing */

static bool read_fail(struct dns_name *out, struct reader *r)
{
    memset(out, 0, sizeof *out);
    r->failed = true;
    return false;
}

/* Labels up to the root (true, *pointer 0) or to a pointer (true, *pointer its target + 1). */
static bool read_run(struct dns_name *out, struct reader *r, unsigned *pointer)
{
    *pointer = 0;
    for (;;) {
        uint8_t len = read_u8(r);
        if ((len & LABEL_KIND) == LABEL_POINTER) {
            *pointer = ((len & ~LABEL_KIND & 0xffu) << 8 | read_u8(r)) + 1;
            return !r->failed;
        }
        const uint8_t *label = read_bytes(r, len & LABEL_KIND ? 0 : len);
        if (r->failed || len & LABEL_KIND || !append_label(out, label, len))
            return false;
        if (len == 0)
            return true;
    }
}

bool dns_name_read(struct dns_name *out, struct reader *r, const uint8_t *message)
{
    struct reader at = *r; /* wanders; *r stays behind the first pointer */
    size_t start = (size_t)(r->p - message);
    unsigned pointer;

    memset(out, 0, sizeof *out);
    if (!read_run(out, &at, &pointer))
        return read_fail(out, r);
    *r = at;
    while (pointer) {
        size_t target = pointer - 1;
        if (target >= start)
            return read_fail(out, r);
        start = target;
        at = reader_of(message + target, (size_t)(at.end - message) - target);
        if (!read_run(out, &at, &pointer))
            return read_fail(out, r);
    }
    return true;
}

/* The name at message[at] is `tail`; written by us, so it is well formed. */
static bool stands_at(const struct writer *w, size_t at, const uint8_t *tail, size_t len)
{
    struct reader r = reader_of(w->start, writer_len(w));
    struct dns_name name;
    read_bytes(&r, at);
    return dns_name_read(&name, &r, w->start) && name.len == len && bytes_eq(name.b, tail, len);
}

/* Among the first `count` names; those behind are tails of the name that is being written. */
static bool find_tail(const struct writer *w, const struct dns_names *names, size_t count,
                      const uint8_t *tail, size_t len, uint16_t *at)
{
    for (size_t i = 0; i < count; i++) {
        if (stands_at(w, names->at[i], tail, len)) {
            *at = names->at[i];
            return true;
        }
    }
    return false;
}

void dns_name_write(struct writer *w, struct dns_names *names, const struct dns_name *name)
{
    const size_t before = names->count;
    uint16_t at;

    for (size_t i = 0; name->b[i] != 0; i += 1u + name->b[i]) {
        if (find_tail(w, names, before, name->b + i, name->len - i, &at)) {
            write_u16(w, (uint16_t)(LABEL_POINTER << 8 | at));
            return;
        }
        if (names->count < DNS_NAMES_MAX && writer_len(w) <= POINTER_MAX)
            names->at[names->count++] = (uint16_t)writer_len(w);
        write_bytes(w, name->b + i, 1u + name->b[i]);
    }
    write_u8(w, 0);
}

/* ---- what names say */

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
    return a->len == b->len && bytes_eq(a->b, b->b, a->len);
}

unsigned dns_name_labels(const struct dns_name *name)
{
    unsigned count = 0;
    for (size_t i = 0; name->b[i] != 0; i += 1u + name->b[i])
        count++;
    return count;
}

/* Where label `i` begins. */
static size_t label_at(const struct dns_name *name, unsigned i)
{
    size_t at = 0;
    while (i-- > 0) {
        CHECK(name->b[at] != 0);
        at += 1u + name->b[at];
    }
    return at;
}

struct dns_name dns_name_tail(const struct dns_name *name, unsigned labels)
{
    struct dns_name tail;
    size_t at = label_at(name, dns_name_labels(name) - labels);
    memset(&tail, 0, sizeof tail);
    tail.len = (uint8_t)(name->len - at);
    memcpy(tail.b, name->b + at, tail.len);
    return tail;
}

bool dns_name_within(const struct dns_name *name, const struct dns_name *zone)
{
    unsigned labels = dns_name_labels(zone);
    if (dns_name_labels(name) < labels)
        return false;
    struct dns_name tail = dns_name_tail(name, labels);
    return dns_name_eq(&tail, zone);
}

bool dns_name_label(const struct dns_name *name, unsigned i, char out[LABEL_MAX + 1])
{
    size_t at = label_at(name, i);
    return label_normalize(out, LABEL_MAX + 1, (const char *)name->b + at + 1, name->b[at]);
}

bool dns_name_from_text(struct dns_name *out, const char *text)
{
    memset(out, 0, sizeof *out);
    if (text[0] != '\0' && !name_valid(text))
        return false;
    while (*text != '\0') {
        size_t len = strcspn(text, ".");
        CHECK(append_label(out, (const uint8_t *)text, (uint8_t)len));
        text += len + (text[len] == '.');
    }
    return append_label(out, NULL, 0);
}

bool dns_name_under(struct dns_name *out, const char *label, const struct dns_name *zone)
{
    size_t len = strlen(label);
    memset(out, 0, sizeof *out);
    if (!label_valid(label, len) || !append_label(out, (const uint8_t *)label, (uint8_t)len) ||
        out->len + zone->len > DNS_NAME_MAX) {
        memset(out, 0, sizeof *out);
        return false;
    }
    memcpy(out->b + out->len, zone->b, zone->len);
    out->len += zone->len;
    return true;
}

/* ---- reverse names */

/* A decimal octet without leading zeros, or one hexadecimal nibble. */
static bool parse_part(const struct dns_name *name, unsigned i, bool hex, unsigned *value)
{
    const uint8_t *label = name->b + label_at(name, i);
    uint8_t len = label[0];
    *value = 0;
    if (len == 0 || len > (hex ? 1 : 3) || (len > 1 && label[1] == '0'))
        return false;
    for (unsigned k = 1; k <= len; k++) {
        uint8_t c = lower(label[k]);
        if (c >= '0' && c <= '9')
            *value = *value * 10 + (c - '0');
        else if (hex && c >= 'a' && c <= 'f')
            *value = 10u + (c - 'a');
        else
            return false;
    }
    return *value <= 255;
}

static bool parse_parts(const struct dns_name *name, struct addr *out, unsigned *bits, bool v6)
{
    const unsigned width = v6 ? 4 : 8, most = v6 ? 32 : 4;
    unsigned count = dns_name_labels(name) - ARPA_LABELS, value;
    if (count > most)
        return false;
    out->family = v6 ? 6 : 4;
    for (unsigned k = 0; k < count; k++) { /* the most significant is the rightmost */
        if (!parse_part(name, count - 1 - k, v6, &value))
            return false;
        if (v6)
            out->b[k / 2] |= (uint8_t)(k % 2 ? value : value << 4);
        else
            out->b[k] = (uint8_t)value;
    }
    *bits = count * width;
    return true;
}

bool dns_name_to_addr(const struct dns_name *name, struct addr *out, unsigned *bits)
{
    static const char *const arpa[] = {"in-addr.arpa", "ip6.arpa"};
    struct addr addr;
    struct dns_name zone;

    memset(out, 0, sizeof *out);
    *bits = 0;
    for (size_t i = 0; i < ARRAY_LEN(arpa); i++) {
        memset(&addr, 0, sizeof addr);
        CHECK(dns_name_from_text(&zone, arpa[i]));
        if (dns_name_within(name, &zone) && parse_parts(name, &addr, bits, i == 1)) {
            *out = addr;
            return true;
        }
    }
    return false;
}

static void append_octet(struct dns_name *name, uint8_t octet)
{
    uint8_t text[3], len = 0;
    if (octet >= 100)
        text[len++] = (uint8_t)('0' + octet / 100);
    if (octet >= 10)
        text[len++] = (uint8_t)('0' + octet / 10 % 10);
    text[len++] = (uint8_t)('0' + octet % 10);
    CHECK(append_label(name, text, len));
}

static void append_nibble(struct dns_name *name, unsigned nibble)
{
    uint8_t digit = (uint8_t) "0123456789abcdef"[nibble];
    CHECK(append_label(name, &digit, 1));
}

struct dns_name dns_name_of_addr(const struct addr *addr, unsigned bits)
{
    struct dns_name name, arpa;
    const bool v6 = addr->family == 6;

    CHECK(bits % (v6 ? 4 : 8) == 0 && bits <= (v6 ? 128 : 32));
    memset(&name, 0, sizeof name);
    if (v6) {
        for (unsigned k = bits / 4; k-- > 0;)
            append_nibble(&name, k % 2 ? addr->b[k / 2] & 0xf : addr->b[k / 2] >> 4);
    } else {
        for (unsigned k = bits / 8; k-- > 0;)
            append_octet(&name, addr->b[k]);
    }
    CHECK(dns_name_from_text(&arpa, v6 ? "ip6.arpa" : "in-addr.arpa"));
    memcpy(name.b + name.len, arpa.b, arpa.len); /* 32 nibbles and 10 bytes at most */
    name.len += arpa.len;
    return name;
}

bool dns_label_to_addr(const char *label, const struct net *range, struct addr *out)
{
    const char *p = label + 1;
    memset(out, 0, sizeof *out);
    if (lower((uint8_t)label[0]) != 'c' || strlen(p) != 9 || strspn(p, "0123456789") != 9)
        return false;
    struct addr addr = net_first(range); /* its first octet */
    for (unsigned k = 1; k <= 3; k++, p += 3) {
        unsigned value =
            (unsigned)(p[0] - '0') * 100 + (unsigned)(p[1] - '0') * 10 + (unsigned)(p[2] - '0');
        if (value > 255)
            return false;
        addr.b[k] = (uint8_t)value;
    }
    if (!net_contains(range, &addr))
        return false;
    *out = addr;
    return true;
}
