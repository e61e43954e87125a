#include "overlay/stun.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/table.h"
#include "overlay/core/wire.h"

enum {
    COOKIE = 0x2112a442,
    FINGERPRINT_XOR = 0x5354554e, /* RFC 8489 14.7 */
    FINGERPRINT_LEN = 8,          /* the whole attribute */
    FAMILY_V4 = 1,                /* RFC 8489 14.1 */
    FAMILY_V6 = 2,
    OPTIONAL_FROM = 0x8000, /* attributes from there on need not be understood */
    SOURCES = 256,          /* buckets of the answers' limit; sources may share one */
};

/* RFC 8489 18.3. */
enum attribute {
    ATTRIBUTE_MAPPED_ADDRESS = 0x0001,
    ATTRIBUTE_SOURCE_ADDRESS = 0x0004,  /* RFC 3489 11.2: of old servers, of no use to us */
    ATTRIBUTE_CHANGED_ADDRESS = 0x0005, /* the same */
    ATTRIBUTE_XOR_MAPPED_ADDRESS = 0x0020,
    ATTRIBUTE_FINGERPRINT = 0x8028,
};

/* RFC 8489 6.2.1: 500 ms, doubled, seven times; after the last 16 times 500 ms. */
static const usec rto_us = MSEC(500);
static const usec last_wait_us = MSEC(500) * 16;

/* ---- codec ---- */

/* CRC-32 of ITU V.42, as in Ethernet. */
static uint32_t crc32_of(const uint8_t *bytes, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

/* The header's last 16 bytes are what an address is XORed with. */
static bool read_address(struct endpoint *out, const uint8_t *value, size_t len,
                         const uint8_t *header, bool xored)
{
    static const uint8_t plain[16];
    const uint8_t *mask = xored ? header + 4 : plain;
    size_t addr_len = len - 4;
    uint8_t b[16];

    if (len < 4 || (value[1] == FAMILY_V4 ? len != 8 : value[1] != FAMILY_V6 || len != 20))
        return false;
    for (size_t i = 0; i < addr_len; i++)
        b[i] = value[4 + i] ^ mask[i];
    out->port = get_u16(value + 2) ^ get_u16(mask);
    out->addr = addr_len == 4 ? addr_v4(get_u32(b)) : addr_v6(b);
    return true;
}

/* False: malformed. `at`: where it stands in the message. */
static bool read_attribute(struct stun_message *m, uint16_t type, const uint8_t *value, size_t len,
                           const uint8_t *bytes, size_t at, size_t whole)
{
    struct endpoint old;

    switch (type) {
    case ATTRIBUTE_XOR_MAPPED_ADDRESS:
        return read_address(&m->mapped, value, len, bytes, true);
    case ATTRIBUTE_MAPPED_ADDRESS:
        if (!read_address(&old, value, len, bytes, false))
            return false;
        if (m->mapped.addr.family == 0)
            m->mapped = old;
        return true;
    case ATTRIBUTE_FINGERPRINT: /* the last one, over all before it */
        return len == 4 && at + FINGERPRINT_LEN == whole &&
               get_u32(value) == (crc32_of(bytes, at) ^ FINGERPRINT_XOR);
    case ATTRIBUTE_SOURCE_ADDRESS:
    case ATTRIBUTE_CHANGED_ADDRESS:
        return true;
    default:
        m->unknown |= type < OPTIONAL_FROM;
        return true;
    }
}

bool stun_read(struct stun_message *m, const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len);
    uint16_t type = read_u16(&r), said = read_u16(&r);
    uint32_t cookie = read_u32(&r);

    memset(m, 0, sizeof(*m));
    m->type = (enum stun_type)type;
    read_copy(&r, m->id.b, sizeof(m->id.b));
    if (r.failed || cookie != COOKIE || said != reader_left(&r) || said % 4 != 0 ||
        (type != STUN_BINDING_REQUEST && type != STUN_BINDING_INDICATION &&
         type != STUN_BINDING_SUCCESS && type != STUN_BINDING_ERROR))
        return false;
    while (reader_left(&r) > 0) {
        size_t at = len - reader_left(&r);
        uint16_t attribute = read_u16(&r), n = read_u16(&r);
        const uint8_t *value = read_bytes(&r, n);

        (void)read_bytes(&r, (4 - n % 4) % 4); /* padding */
        if (r.failed || !read_attribute(m, attribute, n > 0 ? value : bytes, n, bytes, at, len))
            return false;
    }
    return true;
}

void stun_write(enum stun_type type, const struct stun_id *id, uint8_t out[STUN_HEADER_LEN])
{
    put_u16(out, (uint16_t)type);
    put_u16(out + 2, 0);
    put_u32(out + 4, COOKIE);
    memcpy(out + 8, id->b, STUN_ID_LEN);
}

size_t stun_write_success(const struct stun_id *id, const struct endpoint *mapped,
                          uint8_t out[STUN_ANSWER_MAX])
{
    size_t addr_len = mapped->addr.family == 4 ? 4 : 16;
    uint8_t *value = out + STUN_HEADER_LEN + 4;

    stun_write(STUN_BINDING_SUCCESS, id, out);
    put_u16(out + 2, (uint16_t)(8 + addr_len));
    put_u16(out + STUN_HEADER_LEN, ATTRIBUTE_XOR_MAPPED_ADDRESS);
    put_u16(out + STUN_HEADER_LEN + 2, (uint16_t)(4 + addr_len));
    put_u16(value, addr_len == 4 ? FAMILY_V4 : FAMILY_V6);
    put_u16(value + 2, mapped->port ^ get_u16(out + 4));
    for (size_t i = 0; i < addr_len; i++)
        value[4 + i] = mapped->addr.b[i] ^ out[4 + i];
    return STUN_HEADER_LEN + 8 + addr_len;
}

/* ---- the machine ---- */

struct server {
    struct endpoint ep;
    struct stun_id id;
    uint8_t tries; /* of the question under way; 0: none is */
    bool once;     /* to be forgotten when it has answered, or did not */
    usec at_us;
};

struct stun {
    struct env *env;
    struct stun_host host;
    void *ctx;
    struct server servers[STUN_SERVERS_MAX + STUN_ONCE_MAX]; /* in the order that they came in */
    size_t server_count, once_count;                         /* once_count: of them */
    usec second_us;                                          /* the second that these count */
    uint16_t all;
    uint8_t each[SOURCES];
    uint64_t counts[STUN_COUNT_MAX];
};

struct stun *stun_new(struct env *env, const struct stun_host *host, void *ctx)
{
    struct stun *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->env = env;
    s->host = *host;
    s->ctx = ctx;
    return s;
}

void stun_free(struct stun *s)
{
    free(s);
}

static struct server *server_find(struct stun *s, const struct endpoint *ep)
{
    for (size_t i = 0; i < s->server_count; i++)
        if (endpoint_eq(&s->servers[i].ep, ep))
            return &s->servers[i];
    return NULL;
}

static struct server *server_add(struct stun *s, const struct endpoint *ep)
{
    struct server *server = &s->servers[s->server_count++];

    *server = (struct server){.ep = *ep, .at_us = s->env->now_us};
    return server;
}

int stun_add_server(struct stun *s, const struct endpoint *ep)
{
    struct server *server = server_find(s, ep);

    if (server != NULL && !server->once)
        return 0;
    if (s->server_count - s->once_count == STUN_SERVERS_MAX)
        return -ERR_FULL;
    if (server == NULL) {
        server_add(s, ep);
        return 0;
    }
    server->once = false;
    s->once_count--;
    return 0;
}

static void server_forget(struct stun *s, struct server *server)
{
    size_t i = (size_t)(server - s->servers);

    s->server_count--;
    s->once_count--;
    memmove(server, server + 1, (s->server_count - i) * sizeof(*server));
}

static void forget_oldest(struct stun *s)
{
    for (size_t i = 0; i < s->server_count; i++)
        if (s->servers[i].once) {
            server_forget(s, &s->servers[i]);
            return;
        }
}

void stun_ask(struct stun *s, const struct endpoint *ep)
{
    struct server *server = server_find(s, ep);

    if (server != NULL && server->tries == 0)
        server->at_us = s->env->now_us;
    if (server != NULL)
        return;
    if (s->once_count == STUN_ONCE_MAX)
        forget_oldest(s);
    server_add(s, ep)->once = true;
    s->once_count++;
}

void stun_ask_again(struct stun *s)
{
    for (size_t i = 0; i < s->server_count; i++) {
        s->servers[i].tries = 0;
        s->servers[i].at_us = s->env->now_us;
    }
}

/* It answered, or did not: no question is under way. */
static void server_rest(struct stun *s, struct server *server)
{
    server->tries = 0;
    server->at_us = s->env->now_us + SEC(STUN_AGAIN_S);
    if (server->once)
        server_forget(s, server);
}

static void server_ask(struct stun *s, struct server *server)
{
    uint8_t pkt[STUN_HEADER_LEN];

    if (server->tries == STUN_TRIES) {
        server_rest(s, server);
        return;
    }
    if (server->tries == 0)
        env_random(s->env, server->id.b, sizeof(server->id.b));
    server->at_us =
        s->env->now_us + (server->tries + 1 == STUN_TRIES ? last_wait_us : rto_us << server->tries);
    server->tries++;
    stun_write(STUN_BINDING_REQUEST, &server->id, pkt);
    s->host.send(s->ctx, &server->ep, pkt, sizeof(pkt));
}

void stun_tick(struct stun *s)
{
    for (size_t i = s->server_count; i-- > 0;) /* one may go */
        if (s->servers[i].at_us <= s->env->now_us)
            server_ask(s, &s->servers[i]);
}

usec stun_deadline(const struct stun *s)
{
    usec at_us = USEC_NEVER;

    for (size_t i = 0; i < s->server_count; i++)
        at_us = usec_min(at_us, s->servers[i].at_us);
    return at_us;
}

/* One more answer to this source, in this second. */
static bool answer_allowed(struct stun *s, const struct addr *source)
{
    size_t len = source->family == 4 ? 4 : 8;
    uint8_t *each = &s->each[siphash(s->env->hash_key, source->b, len) % SOURCES];

    if (s->env->now_us >= s->second_us + SEC(1)) {
        s->second_us = s->env->now_us;
        s->all = 0;
        memset(s->each, 0, sizeof(s->each));
    }
    if (s->all == STUN_ANSWERS_ALL || *each == STUN_ANSWERS_EACH)
        return false;
    s->all++;
    (*each)++;
    return true;
}

static enum stun_count request_input(struct stun *s, const struct endpoint *from,
                                     const struct stun_message *m)
{
    uint8_t pkt[STUN_ANSWER_MAX];

    if (m->unknown)
        return STUN_COUNT_UNKNOWN;
    if (!answer_allowed(s, &from->addr))
        return STUN_COUNT_LIMITED;
    s->host.send(s->ctx, from, pkt, stun_write_success(&m->id, from, pkt));
    return STUN_COUNT_ANSWERED;
}

static enum stun_count response_input(struct stun *s, const struct endpoint *from,
                                      const struct stun_message *m)
{
    for (size_t i = 0; i < s->server_count; i++) {
        struct server *server = &s->servers[i];

        if (server->tries == 0 || !endpoint_eq(&server->ep, from) ||
            memcmp(server->id.b, m->id.b, STUN_ID_LEN) != 0)
            continue;
        server_rest(s, server);
        if (m->type == STUN_BINDING_ERROR || m->unknown || m->mapped.addr.family == 0)
            return STUN_COUNT_UNKNOWN;
        s->host.seen(s->ctx, from, &m->mapped);
        return STUN_COUNT_SEEN;
    }
    return STUN_COUNT_UNASKED;
}

static enum stun_count message_input(struct stun *s, const struct endpoint *from,
                                     const struct stun_message *m)
{
    switch (m->type) {
    case STUN_BINDING_REQUEST:
        return request_input(s, from, m);
    case STUN_BINDING_SUCCESS:
    case STUN_BINDING_ERROR:
        return response_input(s, from, m);
    case STUN_BINDING_INDICATION:
        if (s->host.indication != NULL)
            s->host.indication(s->ctx, from, &m->id);
        return STUN_COUNT_UNASKED;
    }
    return STUN_COUNT_MALFORMED;
}

void stun_input(struct stun *s, const struct endpoint *from, const uint8_t *pkt, size_t len)
{
    struct stun_message m;
    enum stun_count c = STUN_COUNT_MALFORMED;

    if (from->port != 0 && stun_read(&m, pkt, len))
        c = message_input(s, from, &m);
    s->counts[c]++;
}

uint64_t stun_counted(const struct stun *s, enum stun_count c)
{
    return (unsigned)c < STUN_COUNT_MAX ? s->counts[c] : 0;
}

const char *stun_count_text(enum stun_count c)
{
    static const char *const texts[STUN_COUNT_MAX] = {
        [STUN_COUNT_ANSWERED] = "answered",   [STUN_COUNT_SEEN] = "seen",
        [STUN_COUNT_MALFORMED] = "malformed", [STUN_COUNT_UNKNOWN] = "unknown_attribute",
        [STUN_COUNT_LIMITED] = "limited",     [STUN_COUNT_UNASKED] = "unasked",
    };

    return (unsigned)c < STUN_COUNT_MAX ? texts[c] : "";
}
