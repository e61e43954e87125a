#include "overlay/core/addr.h"

#include "overlay/core/err.h"
#include "overlay/core/id.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static unsigned addr_bits(const struct addr *a)
{
    return a->family == 4 ? 32 : a->family == 6 ? 128 : 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->family != b->family)
        return false;
    if (a->family == 4)
        return memcmp(a->b, b->b, 4) == 0;
    return a->family != 6 || memcmp(a->b, b->b, 16) == 0;
}

struct addr addr_v4(uint32_t host_order)
{
    struct addr a = {.family = 4};

    a.b[0] = (uint8_t)(host_order >> 24);
    a.b[1] = (uint8_t)(host_order >> 16);
    a.b[2] = (uint8_t)(host_order >> 8);
    a.b[3] = (uint8_t)host_order;
    return a;
}

struct addr addr_v6(const uint8_t b[16])
{
    struct addr a = {.family = 6};

    memcpy(a.b, b, 16);
    return a;
}

uint32_t addr_to_v4(const struct addr *a)
{
    CHECK(a->family == 4);
    return (uint32_t)a->b[0] << 24 | (uint32_t)a->b[1] << 16 | (uint32_t)a->b[2] << 8 | a->b[3];
}

/* `a` lies in the range that starts with these bytes; of a prefix of at most 16 bits. */
static bool in_range(const struct addr *a, uint8_t family, unsigned prefix, uint8_t b0, uint8_t b1)
{
    unsigned differs = (unsigned)(a->b[0] ^ b0) << 8 | (unsigned)(a->b[1] ^ b1);

    return a->family == family && differs >> (16 - prefix) == 0;
}

bool addr_is_loopback(const struct addr *a)
{
    static const struct addr v6 = {.family = 6, .b = {[15] = 1}};

    return in_range(a, 4, 8, 127, 0) || addr_eq(a, &v6);
}

bool addr_is_link_local(const struct addr *a)
{
    return in_range(a, 4, 16, 169, 254) || in_range(a, 6, 10, 0xfe, 0x80);
}

bool addr_is_private(const struct addr *a)
{
    return in_range(a, 4, 8, 10, 0) || in_range(a, 4, 12, 172, 16) ||
           in_range(a, 4, 16, 192, 168) || in_range(a, 4, 10, 100, 64) ||
           in_range(a, 6, 7, 0xfc, 0);
}

bool addr_is_multicast(const struct addr *a)
{
    return in_range(a, 4, 4, 224, 0) || in_range(a, 6, 8, 0xff, 0);
}

bool addr_is_unspecified(const struct addr *a)
{
    static const struct addr v4 = {.family = 4}, v6 = {.family = 6};

    return addr_eq(a, &v4) || addr_eq(a, &v6);
}

char *addr_text(const struct addr *a, char out[ADDR_TEXT_SIZE])
{
    int family = a->family == 4 ? AF_INET : AF_INET6;

    if (addr_bits(a) == 0 || inet_ntop(family, a->b, out, ADDR_TEXT_SIZE) == NULL)
        snprintf(out, ADDR_TEXT_SIZE, "none");
    return out;
}

uint64_t addr_prefix(const struct addr *a)
{
    size_t len = a->family == 4 ? 3 : a->family == 6 ? 7 : 0;
    uint64_t prefix = a->family;

    for (size_t i = 0; i < len; i++)
        prefix = prefix << 8 | a->b[i];
    return prefix;
}

bool addr_parse(struct addr *out, const char *text)
{
    struct addr a = {.family = 4};

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, a.b) != 1) {
        a.family = 6;
        if (inet_pton(AF_INET6, text, a.b) != 1)
            return false;
    }
    *out = a;
    return true;
}

/* The first `bits` bits are the same. */
static bool bits_eq(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8;
    uint8_t mask = (uint8_t)(0xff00u >> bits % 8);

    return memcmp(a, b, whole) == 0 && (bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

static bool net_valid(const struct net *net)
{
    return net->addr.family != 0 && net->prefix <= addr_bits(&net->addr);
}

bool net_contains(const struct net *net, const struct addr *a)
{
    return net_valid(net) && net->addr.family == a->family &&
           bits_eq(net->addr.b, a->b, net->prefix);
}

bool net_overlaps(const struct net *a, const struct net *b)
{
    return net_valid(a) && net_valid(b) && a->addr.family == b->addr.family &&
           bits_eq(a->addr.b, b->addr.b, a->prefix < b->prefix ? a->prefix : b->prefix);
}

struct addr net_first(const struct net *net)
{
    struct addr first = net->addr;

    for (unsigned i = 0; i < sizeof first.b; i++) {
        unsigned kept = net->prefix > 8 * i ? net->prefix - 8 * i : 0;
        if (kept < 8)
            first.b[i] &= (uint8_t)(0xff00u >> kept);
    }
    return first;
}

struct addr net_host(const struct net *net, uint32_t n)
{
    struct addr first = net_first(net);

    return addr_v4(addr_to_v4(&first) + n);
}

uint32_t net_hosts(const struct net *net)
{
    CHECK(net->addr.family == 4 && net->prefix <= 32);
    return net->prefix == 0 ? UINT32_MAX : (uint32_t)(UINT64_C(1) << (32 - net->prefix));
}

char *net_text(const struct net *net, char out[NET_TEXT_SIZE])
{
    char text[ADDR_TEXT_SIZE];

    snprintf(out, NET_TEXT_SIZE, "%s/%u", addr_text(&net->addr, text), net->prefix);
    return out;
}

/* A decimal number without sign, space or leading zero, the whole of text. */
static bool decimal_parse(unsigned *out, const char *text, unsigned max)
{
    unsigned v = 0;

    *out = 0;
    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = v * 10 + (unsigned)(*text - '0');
        if (v > max)
            return false;
    }
    *out = v;
    return true;
}

/* The address that text[0..len) spells. */
static bool addr_parse_part(struct addr *out, const char *text, size_t len)
{
    char part[ADDR_TEXT_SIZE];

    if (len >= sizeof part)
        return false;
    memcpy(part, text, len);
    part[len] = '\0';
    return addr_parse(out, part);
}

bool net_parse(struct net *out, const char *text)
{
    const char *slash = strchr(text, '/');
    struct net net = {.prefix = 0};
    unsigned prefix;

    memset(out, 0, sizeof *out);
    if (slash == NULL || !addr_parse_part(&net.addr, text, (size_t)(slash - text)) ||
        !decimal_parse(&prefix, slash + 1, addr_bits(&net.addr)))
        return false;
    net.prefix = (uint8_t)prefix;
    *out = net;
    return true;
}

bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && addr_eq(&a->addr, &b->addr);
}

int endpoint_cmp(const struct endpoint *a, const struct endpoint *b)
{
    int bytes = memcmp(a->addr.b, b->addr.b, sizeof(a->addr.b));

    if (a->addr.family != b->addr.family)
        return a->addr.family < b->addr.family ? -1 : 1;
    return bytes != 0 ? bytes : (a->port > b->port) - (a->port < b->port);
}

char *endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_SIZE])
{
    char text[ADDR_TEXT_SIZE];

    snprintf(out, ENDPOINT_TEXT_SIZE, e->addr.family == 6 ? "[%s]:%u" : "%s:%u",
             addr_text(&e->addr, text), e->port);
    return out;
}

bool endpoint_parse(struct endpoint *out, const char *text)
{
    uint8_t family = text[0] == '[' ? 6 : 4;
    const char *end = strchr(text, family == 6 ? ']' : ':');
    struct endpoint e;
    unsigned port;

    memset(out, 0, sizeof *out);
    if (end == NULL)
        return false;
    if (family == 6)
        text++;
    if (!addr_parse_part(&e.addr, text, (size_t)(end - text)) || e.addr.family != family)
        return false;
    if (family == 6)
        end++;
    if (*end != ':' || !decimal_parse(&port, end + 1, UINT16_MAX) || port == 0)
        return false;
    e.port = (uint16_t)port;
    *out = e;
    return true;
}

char *mac_text(const struct mac *m, char out[18])
{
    snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m->b[0], m->b[1], m->b[2], m->b[3], m->b[4],
             m->b[5]);
    return out;
}

bool mac_parse(struct mac *out, const char *text)
{
    struct mac mac;

    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < sizeof mac.b; i++) {
        char pair[3] = {0};

        if (strnlen(text, 3) < 2 || text[2] != (i + 1 < sizeof mac.b ? ':' : '\0'))
            return false;
        memcpy(pair, text, 2);
        if (!hex_parse(&mac.b[i], 1, pair))
            return false;
        text += 3;
    }
    *out = mac;
    return true;
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool label_valid(const char *text, size_t len)
{
    if (len == 0 || len > LABEL_MAX || text[0] == '-' || text[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_letter_or_digit(text[i]) && text[i] != '-')
            return false;
    return true;
}

bool name_valid(const char *text)
{
    size_t left = strnlen(text, NAME_MAX_LEN + 1);

    if (left > NAME_MAX_LEN)
        return false;
    for (;;) {
        const char *dot = memchr(text, '.', left);
        size_t len = dot != NULL ? (size_t)(dot - text) : left;

        if (!label_valid(text, len))
            return false;
        if (dot == NULL)
            return true;
        text += len + 1;
        left -= len + 1;
    }
}

bool label_normalize(char *out, size_t size, const char *text, size_t len)
{
    if (size > 0)
        out[0] = '\0';
    if (!label_valid(text, len) || len >= size)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + ('a' - 'A') : text[i]);
    out[len] = '\0';
    return true;
}
