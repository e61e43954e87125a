// link: peal_tap
/* The fast path against the plain one: random super-frames are cut by segment.c and by a naive
 * knife written here from the RFCs; packets are joined by coalesce.c, and what it wrote is cut
 * again by that knife: the same packets, in the order of each flow. PEAL_FRAMES is how many
 * (100,000).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/wire.h"
#include "tap/checksum.h"
#include "tap/coalesce.c"

enum { PACKET_SIZE = 2048, PACKETS_MAX = 2048, SEED = 20260101 };

static uint64_t random_state = SEED;

/* xorshift64* (Vigna 2016) */
static uint32_t draw(uint32_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)(random_state * UINT64_C(2685821657736338717) >> 32) % below;
}

static bool chance(uint32_t percent)
{
    return draw(100) < percent;
}

/* ----------------------------------------------------------- packets, written the slow way */

struct packet {
    size_t len;
    size_t tags_len;
    uint8_t tags[VLAN_LEN_MAX]; /* and room for them */
    uint8_t frame[ETH_HEADER_LEN + PACKET_SIZE];
};

/* What a random packet is made of. */
struct recipe {
    bool v4, tcp, dont_fragment;
    uint8_t options; /* words of IPv4 options */
    uint8_t tcp_options, tcp_flags, tos, ttl;
    uint16_t id, port, window;
    uint32_t sequence, ack;
    size_t payload;
};

/* RFC 1071 over bytes, in pairs, as the RFC has it. */
static uint32_t slow_sum(uint32_t sum, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint16_t slow_checksum(const uint8_t *packet, size_t at, size_t len, uint8_t proto)
{
    bool v4 = packet[0] >> 4 == 4;
    uint32_t sum = v4 ? slow_sum(0, packet + 12, 8) : slow_sum(0, packet + 8, 32);
    uint8_t tail[4] = {0, proto, (uint8_t)((len - at) >> 8), (uint8_t)(len - at)};
    sum = slow_sum(slow_sum(sum, tail, 4), packet + at, len - at);
    uint16_t v = (uint16_t)~sum;
    return v == 0 && proto == IP_PROTO_UDP ? 0xffff : v;
}

static size_t ip_header_len(const struct recipe *r)
{
    return r->v4 ? 20 + r->options * 4u : 40;
}

static void put_lengths_and_sums(uint8_t *p, const struct recipe *r, size_t len)
{
    size_t at = ip_header_len(r), field = at + (r->tcp ? 16 : 6);
    if (r->v4) {
        put_u16(p + 2, (uint16_t)len);
        put_u16(p + 10, 0);
        put_u16(p + 10, (uint16_t)~slow_sum(0, p, at));
    } else {
        put_u16(p + 4, (uint16_t)(len - 40));
    }
    if (!r->tcp) {
        put_u16(p + at + 4, (uint16_t)(len - at));
    }
    put_u16(p + field, 0);
    put_u16(p + field, slow_checksum(p, at, len, r->tcp ? IP_PROTO_TCP : IP_PROTO_UDP));
}

static size_t headers_len(const struct recipe *r)
{
    return ip_header_len(r) + (r->tcp ? 20 + r->tcp_options * 4u : 8);
}

/* The whole packet at `p`, its payload random; returns its length. */
static size_t build(uint8_t *p, const struct recipe *r)
{
    size_t at = ip_header_len(r), headers = headers_len(r), len = headers + r->payload;
    memset(p, 0, headers);
    p[0] = r->v4 ? (uint8_t)(0x40 | at / 4) : (uint8_t)(0x60 | r->tos >> 4);
    p[1] = r->v4 ? r->tos : (uint8_t)(r->tos << 4);
    if (r->v4) {
        put_u16(p + 4, r->id);
        put_u16(p + 6, r->dont_fragment ? 0x4000 : 0);
        p[8] = r->ttl;
        p[9] = r->tcp ? IP_PROTO_TCP : IP_PROTO_UDP;
        memcpy(p + 12, "\x0a\x4d\0\2\x0a\x4d\0\3", 8);
        memset(p + 20, 1, at - 20); /* no operation */
    } else {
        p[6] = r->tcp ? IP_PROTO_TCP : IP_PROTO_UDP;
        p[7] = r->ttl;
        p[8] = p[24] = 0xfd;
        p[23] = 2;
        p[39] = 3;
    }
    put_u16(p + at, r->port);
    put_u16(p + at + 2, 80);
    if (r->tcp) {
        put_u32(p + at + 4, r->sequence);
        put_u32(p + at + 8, r->ack);
        p[at + 12] = (uint8_t)((5 + r->tcp_options) << 4);
        p[at + 13] = r->tcp_flags;
        put_u16(p + at + 14, r->window);
        memset(p + at + 20, r->tcp_options, r->tcp_options * 4u);
    }
    for (size_t i = headers; i < len; i++) {
        p[i] = (uint8_t)draw(256);
    }
    put_lengths_and_sums(p, r, len);
    return len;
}

static struct recipe random_recipe(void)
{
    return (struct recipe){.v4 = chance(50),
                           .tcp = chance(60),
                           .dont_fragment = chance(70),
                           .options = chance(10) ? (uint8_t)draw(11) : 0,
                           .tcp_options = chance(70) ? 3 : (uint8_t)draw(11),
                           .tcp_flags = chance(80) ? TCP_ACK : (uint8_t)draw(256),
                           .tos = (uint8_t)draw(256),
                           .ttl = (uint8_t)(1 + draw(255)),
                           .id = (uint16_t)draw(65536),
                           .port = (uint16_t)(1000 + draw(6)),
                           .window = (uint16_t)draw(65536),
                           .sequence = draw(UINT32_MAX),
                           .ack = draw(UINT32_MAX)};
}

/* ------------------------------------------------------------------- the naive knife */

/* Packet number `i` of the super-frame that `whole` of `len` bytes is; 0: there is none. */
static size_t slow_segment(uint8_t *out, const uint8_t *whole, size_t len, const struct recipe *r,
                           size_t size, unsigned i)
{
    size_t headers = headers_len(r), at = ip_header_len(r), from = headers + i * size;
    if (from >= len) {
        return 0;
    }
    size_t n = len - from < size ? len - from : size;
    memcpy(out, whole, headers);
    memcpy(out + headers, whole + from, n);
    if (r->v4) {
        put_u16(out + 4, (uint16_t)(get_u16(whole + 4) + i));
    }
    if (r->tcp) {
        put_u32(out + at + 4, (uint32_t)(get_u32(whole + at + 4) + i * size));
        out[at + 13] &= i > 0 ? (uint8_t)~0x80 : 0xff;
        out[at + 13] &= from + n < len ? (uint8_t)~0x09 : 0xff;
    }
    put_lengths_and_sums(out, r, headers + n);
    return headers + n;
}

/* As the kernel leaves it: the sum of the pseudo header in the field. */
static struct virtio_net_hdr leave_to_device(uint8_t *packet, const struct recipe *r, size_t len,
                                             size_t size)
{
    struct ip_packet ip;
    size_t at = ip_header_len(r), offset = r->tcp ? 16 : 6;
    assert_true(ip_parse(&ip, packet, len));
    checksum_put_sum(packet + at + offset,
                     checksum_pseudo(&ip.src, &ip.dst, ip.proto, (uint32_t)(len - at)));
    return (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                   .gso_type = !r->tcp ? VIRTIO_NET_HDR_GSO_UDP_L4
                                               : r->v4 ? VIRTIO_NET_HDR_GSO_TCPV4
                                                       : VIRTIO_NET_HDR_GSO_TCPV6,
                                   .gso_size = (uint16_t)size,
                                   .csum_start = (uint16_t)(ETH_HEADER_LEN + at),
                                   .csum_offset = (uint16_t)offset};
}

static unsigned frames_wanted(void)
{
    const char *text = getenv("PEAL_FRAMES");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 100000;
}

/* An undone packet may hold anything in its checksum: finished, it is the same. */
static void finish_again(uint8_t *p, size_t len)
{
    struct ip_packet ip;
    struct transport t;
    assert_true(ip_parse(&ip, p, len) && ip.len == len);
    assert_true(transport_parse(&t, &ip, p));
    transport_finish(&t, &ip, p);
}

static void segments_are_what_a_naive_knife_cuts(void **state)
{
    static uint8_t whole[70000], super[70000], got[PACKET_SIZE], wanted[PACKET_SIZE];
    unsigned frames = frames_wanted() / 8;
    for (unsigned cut = 0; cut < frames;) {
        struct recipe r = random_recipe();
        size_t size = 1 + draw(1400), most = 65535 - headers_len(&r);
        r.payload = chance(5) ? most : 1 + draw((uint32_t)(chance(30) ? most : size * 4));
        r.payload = r.payload > most ? most : r.payload;
        if (r.payload / size > 200) {
            continue;
        }
        size_t len = build(whole, &r);
        memcpy(super, whole, len);
        struct virtio_net_hdr header = leave_to_device(super, &r, len, size);
        struct segmenter s;
        struct ip_packet ip;
        bool undone = chance(50);
        assert_true(ip_parse(&ip, super, len));
        assert_true(segment_begin(&s, super, &ip, &header));
        for (unsigned i = 0;; i++, cut++) {
            size_t n = segment_next(&s, got, undone && s.plain);
            assert_int_equal(n, slow_segment(wanted, whole, len, &r, size, i));
            if (n == 0) {
                break;
            }
            assert_true(n <= segment_max(&s));
            if (undone) {
                finish_again(got, n);
            }
            assert_memory_equal(got, wanted, n);
        }
    }
}

/* ----------------------------------------------------------------------------- joining */

/* What was added, and what came out again, per flow in order. */
struct trace {
    unsigned count[2], writes, super_frames;
    struct packet packets[2][PACKETS_MAX];
};

/* Ids mean nothing with DF: left out of the comparison. */
static void note(struct trace *t, unsigned side, const uint8_t *tags, size_t tags_len,
                 const uint8_t *packet, size_t len)
{
    struct packet *p = &t->packets[side][t->count[side]++];
    p->tags_len = tags_len;
    memcpy(p->tags, tags, tags_len);
    assert_true(t->count[side] <= PACKETS_MAX && len <= PACKET_SIZE);
    p->len = len;
    memcpy(p->frame, packet, len);
    if (packet[0] >> 4 == 4 && (packet[6] & 0x40)) {
        put_u16(p->frame + 4, 0);
        put_u16(p->frame + 10, 0);
    }
}

/* Which recipe a written packet is of, as far as the knife needs it. */
static struct recipe recipe_of(const uint8_t *p)
{
    struct recipe r = {.v4 = p[0] >> 4 == 4};
    r.options = r.v4 ? (uint8_t)((p[0] & 15) - 5) : 0;
    r.tcp = (r.v4 ? p[9] : p[6]) == IP_PROTO_TCP;
    r.tcp_options = r.tcp ? (uint8_t)((p[ip_header_len(&r) + 12] >> 4) - 5) : 0;
    return r;
}

/* A kernel: checks the header, and cuts. */
static void kernel_takes(void *ctx, uint16_t network, const struct iovec *vectors, int count)
{
    static uint8_t frame[70000];
    struct trace *t = ctx;
    const struct virtio_net_hdr *h = vectors[0].iov_base;
    size_t n = 0;
    t->writes++;
    assert_int_equal(vectors[0].iov_len, sizeof(*h));
    for (int i = 1; i < count; i++) {
        memcpy(frame + n, vectors[i].iov_base, vectors[i].iov_len);
        n += vectors[i].iov_len;
    }
    size_t tags_len = 0;
    while (frame[12 + tags_len] == 0x81 || frame[12 + tags_len] == 0x88) {
        tags_len += 4;
    }
    uint8_t *tags = frame + 12, *packet = frame + ETH_HEADER_LEN + tags_len;
    size_t len = n - ETH_HEADER_LEN - tags_len;
    if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        struct recipe r = recipe_of(packet);
        uint8_t before[2], *field = frame + h->csum_start + h->csum_offset;
        memcpy(before, field, 2);
        struct virtio_net_hdr again = leave_to_device(packet, &r, len, h->gso_size);
        assert_memory_equal(before, field, 2);
        assert_int_equal(again.csum_start + tags_len, h->csum_start);
        assert_int_equal(again.csum_offset, h->csum_offset);
        finish_again(packet, len);
    }
    if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
        note(t, 1, tags, tags_len, packet, len);
        return;
    }
    struct recipe r = recipe_of(packet);
    uint8_t out[PACKET_SIZE];
    t->super_frames++;
    assert_int_equal(h->hdr_len, tags_len + ETH_HEADER_LEN + headers_len(&r));
    for (unsigned i = 0;; i++) {
        size_t cut = slow_segment(out, packet, len, &r, h->gso_size, i);
        if (cut == 0) {
            break;
        }
        note(t, 1, tags, tags_len, out, cut);
    }
}

/* The flow of a packet: its version, protocol and source port. Others are flow 0. */
static unsigned flow_of(const uint8_t *p)
{
    struct recipe r = recipe_of(p);
    uint8_t proto = r.v4 ? p[9] : p[6];
    bool whole = !r.v4 || !(get_u16(p + 6) & 0x3fff);
    if (!whole || (proto != IP_PROTO_TCP && proto != IP_PROTO_UDP)) {
        return 0;
    }
    return 1 + (r.v4 ? 0u : 1u) + (proto == IP_PROTO_TCP ? 0 : 2u) +
           4u * get_u16(p + ip_header_len(&r));
}

static bool same_flow_and_tags(const struct packet *a, const struct packet *b)
{
    return flow_of(a->frame) == flow_of(b->frame) && a->tags_len == b->tags_len &&
           memcmp(a->tags, b->tags, a->tags_len) == 0;
}

/* Each packet of a flow came out, in the flow's order. */
static void check_trace(struct trace *t)
{
    static bool taken[PACKETS_MAX];
    memset(taken, 0, sizeof(taken));
    assert_int_equal(t->count[0], t->count[1]);
    for (unsigned i = 0; i < t->count[0]; i++) {
        const struct packet *p = &t->packets[0][i];
        unsigned k = 0;
        while (k < t->count[1] && (taken[k] || !same_flow_and_tags(&t->packets[1][k], p))) {
            k++;
        }
        assert_true(k < t->count[1]);
        assert_int_equal(t->packets[1][k].len, p->len);
        assert_memory_equal(t->packets[1][k].frame, p->frame, p->len);
        taken[k] = true;
    }
}

static struct trace trace;
static struct packet pool[PACKETS_MAX];

static void add(struct coalesce *c, struct packet *p, bool undone, bool uso)
{
    struct coalesce_packet q = {.frame = p->frame, .undone = undone, .uso = uso};
    struct transport t;
    q.tags.len = p->tags_len;
    memcpy(q.tags.bytes, p->tags, p->tags_len);
    put_u16(p->frame + 12, p->frame[ETH_HEADER_LEN] >> 4 == 4 ? ETH_TYPE_IPV4 : ETH_TYPE_IPV6);
    assert_true(ip_parse(&q.ip, p->frame + ETH_HEADER_LEN, p->len));
    note(&trace, 0, p->tags, p->tags_len, p->frame + ETH_HEADER_LEN, p->len);
    if (undone && transport_parse(&t, &q.ip, p->frame + ETH_HEADER_LEN)) {
        memset(p->frame + ETH_HEADER_LEN + t.checksum, (int)draw(256), 2);
    } else {
        q.undone = false;
    }
    coalesce_add(c, &q);
}

/* The same for most packets of a stream. */
static void put_tags(struct packet *p, const struct recipe *r)
{
    static const uint8_t tags[] = {0x88, 0xa8, 0, 7, 0x81, 0};
    p->tags_len = 4u * (r->port % 3);
    memcpy(p->tags, p->tags_len == 8 ? tags : tags + 4, p->tags_len == 8 ? 6 : 2);
    put_u16(p->tags + p->tags_len - (p->tags_len > 0 ? 2 : 0), chance(3) ? 6 : 5);
}

/* A stream that mostly goes on as it should, so that much can be joined, with every fault. */
static void next_of_stream(struct recipe *r, size_t *size, struct packet *p)
{
    if (chance(3)) {
        *r = random_recipe();
        *size = 1 + draw(1400);
    }
    r->payload = chance(92) ? *size : draw(1400);
    if (chance(3)) {
        r->tcp_flags = (uint8_t)draw(256);
    } else if (chance(50)) {
        r->tcp_flags = chance(10) ? TCP_ACK | TCP_PSH : TCP_ACK;
    }
    r->window = chance(2) ? (uint16_t)draw(65536) : r->window;
    r->ttl = chance(1) ? (uint8_t)(1 + draw(255)) : r->ttl;
    p->len = build(p->frame + ETH_HEADER_LEN, r);
    put_tags(p, r);
    r->sequence += (uint32_t)r->payload + (chance(2) ? draw(3000) : 0);
    r->id = (uint16_t)(r->id + (chance(2) ? draw(65536) : 1));
}

/* Damage that a checksum finds, and fragments: never joined, never changed. */
static void damage(struct packet *p)
{
    uint8_t *packet = p->frame + ETH_HEADER_LEN;
    if (chance(2)) {
        packet[p->len - 1] ^= (uint8_t)(1 + draw(255));
    } else if (chance(1) && packet[0] >> 4 == 4) {
        put_u16(packet + 6, chance(50) ? 0x2000 : (uint16_t)(1 + draw(8191)));
    } else if (chance(1)) {
        packet[packet[0] >> 4 == 4 ? 9 : 6] = IP_PROTO_ICMP;
    }
}

static void joined_packets_are_the_packets(void **state)
{
    enum { STREAMS = 5 };
    struct recipe streams[STREAMS];
    size_t sizes[STREAMS];
    unsigned frames = frames_wanted(), writes = 0, super_frames = 0;
    for (unsigned i = 0; i < STREAMS; i++) {
        streams[i] = random_recipe();
        sizes[i] = 1400;
    }
    for (unsigned done = 0; done < frames;) {
        static struct coalesce c;
        unsigned round = 1 + draw(chance(50) ? 10 : 400), stream = 0;
        coalesce_init(&c, kernel_takes, &trace);
        trace.count[0] = trace.count[1] = trace.writes = trace.super_frames = 0;
        for (unsigned i = 0; i < round; i++, done++) {
            bool undone = chance(50);
            stream = chance(80) ? stream : draw(STREAMS);
            next_of_stream(&streams[stream], &sizes[stream], &pool[i]);
            if (!undone) {
                damage(&pool[i]);
            }
            add(&c, &pool[i], undone, draw(4) > 0);
        }
        coalesce_flush(&c);
        check_trace(&trace);
        writes += trace.writes;
        super_frames += trace.super_frames;
    }
    assert_true(super_frames > frames / 100 && writes < frames); /* it was about something */
}

/* Two packets, the second changed in one thing: joined or not. */
struct join_case {
    const char *rule;
    bool v4, tcp;
    size_t offset; /* of a byte of the second that becomes `byte`; its checksum is mended */
    uint8_t byte;
    int longer; /* the second one's payload against the first's */
    bool joined;
};

static bool joins_second(const struct join_case *k, bool corrupt, bool uso)
{
    static struct coalesce c;
    struct recipe r = {.v4 = k->v4,
                       .tcp = k->tcp,
                       .tcp_options = 3,
                       .tcp_flags = TCP_ACK,
                       .ttl = 64,
                       .id = 7,
                       .sequence = 1000,
                       .payload = 100,
                       .port = 9};
    pool[0].tags_len = pool[1].tags_len = 0;
    pool[0].len = build(pool[0].frame + ETH_HEADER_LEN, &r);
    r.sequence += 100;
    r.id++;
    r.payload = (size_t)(100 + k->longer);
    pool[1].len = build(pool[1].frame + ETH_HEADER_LEN, &r);
    uint8_t *second = pool[1].frame + ETH_HEADER_LEN;
    second[k->offset] = k->byte;
    struct recipe changed = recipe_of(second);
    if (second[0] >> 4 == (k->v4 ? 4 : 6) && changed.tcp == k->tcp) {
        put_lengths_and_sums(second, &r, pool[1].len);
    }
    second[pool[1].len - 1] ^= corrupt;
    coalesce_init(&c, kernel_takes, &trace);
    trace.count[0] = trace.count[1] = trace.writes = trace.super_frames = 0;
    add(&c, &pool[0], false, uso);
    add(&c, &pool[1], false, uso);
    coalesce_flush(&c);
    if (!corrupt) {
        check_trace(&trace);
    }
    return trace.writes == 1;
}

static void what_joins(void **state)
{
    static const struct join_case cases[] = {
        {"TCP on IPv4", true, true, 0, 0x45, 0, true},
        {"TCP on IPv6", false, true, 0, 0x60, 0, true},
        {"UDP on IPv4", true, false, 0, 0x45, 0, true},
        {"UDP on IPv6", false, false, 0, 0x60, 0, true},
        {"a shorter last one", true, true, 0, 0x45, -1, true},
        {"a longer one", true, true, 0, 0x45, 1, false},
        {"nothing in it", true, true, 0, 0x45, -100, false},
        {"another TOS, or ECN mark", true, true, 1, 3, 0, false},
        {"another traffic class", false, true, 1, 0x30, 0, false},
        {"another flow label", false, true, 3, 1, 0, false},
        {"another TTL", true, true, 8, 63, 0, false},
        {"another hop limit", false, true, 7, 63, 0, false},
        {"an id out of order", true, true, 5, 9, 0, false},
        {"DF on one only", true, true, 6, 0x40, 0, false},
        {"another source", true, true, 15, 4, 0, false},
        {"another source on IPv6", false, true, 23, 4, 0, false},
        {"another port", true, true, 21, 10, 0, false},
        {"a gap in the sequence", true, true, 27, 0xff, 0, false},
        {"another acknowledgement", true, true, 31, 1, 0, false},
        {"PSH on the last", true, true, 33, TCP_ACK | TCP_PSH, 0, true},
        {"FIN", true, true, 33, TCP_ACK | TCP_FIN, 0, false},
        {"SYN", true, true, 33, TCP_ACK | 0x02, 0, false},
        {"RST", true, true, 33, TCP_ACK | 0x04, 0, false},
        {"URG", true, true, 33, TCP_ACK | 0x20, 0, false},
        {"ECE", true, true, 33, TCP_ACK | 0x40, 0, false},
        {"CWR", true, true, 33, TCP_ACK | TCP_CWR, 0, false},
        {"no ACK", true, true, 33, 0, 0, false},
        {"another window", true, true, 35, 1, 0, false},
        {"an urgent pointer", true, true, 39, 1, 0, false},
        {"another timestamp", true, true, 51, 1, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (joins_second(&cases[i], false, true) != cases[i].joined) {
            fail_msg("%s", cases[i].rule);
        }
        if (joins_second(&cases[i], true, true)) {
            fail_msg("%s, and a wrong checksum", cases[i].rule);
        }
    }
    assert_false(joins_second(&cases[2], false, false)); /* a device without USO */
    assert_true(joins_second(&cases[0], false, false));
}

/* ------------------------------------------------------------- headers that lie */

static void headers_that_lie_are_refused(void **state)
{
    static const struct {
        const char *rule;
        bool v4, tcp;
        struct virtio_net_hdr header; /* what is not 0xff.. replaces the right one's */
        size_t offset;                /* of the packet */
        uint8_t byte;
        bool accepted;
    } cases[] = {
        {"as it was", true, true, {0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff}, 0, 0x45, true},
        {"IPv6", false, true, {0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff}, 0, 0x60, true},
        {"UDP", true, false, {0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff}, 0, 0x45, true},
        {"a header length of nothing",
         true,
         true,
         {0xff, 0xff, 0, 0xffff, 0xffff, 0xffff},
         0,
         0x45,
         true},
        {"ECN", true, true, {0xff, 0x81, 0xffff, 0xffff, 0xffff, 0xffff}, 0, 0x45, true},
        {"no checksum wanted",
         true,
         true,
         {0, 0xff, 0xffff, 0xffff, 0xffff, 0xffff},
         0,
         0x45,
         false},
        {"UDP fragments (UFO)",
         true,
         false,
         {0xff, 3, 0xffff, 0xffff, 0xffff, 0xffff},
         0,
         0x45,
         false},
        {"an unknown kind", true, true, {0xff, 9, 0xffff, 0xffff, 0xffff, 0xffff}, 0, 0x45, false},
        {"the other family", true, true, {0xff, 4, 0xffff, 0xffff, 0xffff, 0xffff}, 0, 0x45, false},
        {"the other family's",
         false,
         true,
         {0xff, 1, 0xffff, 0xffff, 0xffff, 0xffff},
         0,
         0x60,
         false},
        {"TCP said to be UDP",
         true,
         true,
         {0xff, 5, 0xffff, 0xffff, 0xffff, 0xffff},
         0,
         0x45,
         false},
        {"UDP said to be TCP",
         true,
         false,
         {0xff, 1, 0xffff, 0xffff, 0xffff, 0xffff},
         0,
         0x45,
         false},
        {"segments of nothing",
         true,
         true,
         {0xff, 0xff, 0xffff, 0, 0xffff, 0xffff},
         0,
         0x45,
         false},
        {"a start in the Ethernet header",
         true,
         true,
         {0xff, 0xff, 0xffff, 0xffff, 13, 0xffff},
         0,
         0x45,
         false},
        {"a start in the IP header",
         true,
         true,
         {0xff, 0xff, 0xffff, 0xffff, 33, 0xffff},
         0,
         0x45,
         false},
        {"a start later", true, true, {0xff, 0xff, 0xffff, 0xffff, 35, 0xffff}, 0, 0x45, false},
        {"a start beyond the end",
         true,
         true,
         {0xff, 0xff, 0xffff, 0xffff, 65000, 0xffff},
         0,
         0x45,
         false},
        {"another field", true, true, {0xff, 0xff, 0xffff, 0xffff, 0xffff, 6}, 0, 0x45, false},
        {"a TCP header too short",
         true,
         true,
         {0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff},
         32,
         0x40,
         false},
        {"a TCP header longer than all",
         true,
         true,
         {0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff},
         32,
         0xf0,
         false},
        {"a fragment", true, true, {0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff}, 6, 0x20, false},
        {"another protocol", true, true, {0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff}, 9, 1, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct virtio_net_hdr *say = &cases[i].header;
        struct recipe r = {.v4 = cases[i].v4, .tcp = cases[i].tcp, .payload = 19};
        struct ip_packet ip;
        struct segmenter s;
        uint8_t packet[200];
        size_t len = build(packet, &r);
        struct virtio_net_hdr h = leave_to_device(packet, &r, len, 10);
        packet[cases[i].offset] = cases[i].byte;
        h.flags = say->flags == 0xff ? h.flags : say->flags;
        h.gso_type = say->gso_type == 0xff ? h.gso_type : say->gso_type;
        h.hdr_len = say->hdr_len;
        h.gso_size = say->gso_size == 0xffff ? h.gso_size : say->gso_size;
        h.csum_start = say->csum_start == 0xffff ? h.csum_start : say->csum_start;
        h.csum_offset = say->csum_offset == 0xffff ? h.csum_offset : say->csum_offset;
        assert_true(ip_parse(&ip, packet, len));
        if (segment_begin(&s, packet, &ip, &h) != cases[i].accepted) {
            fail_msg("%s", cases[i].rule);
        }
    }
}

/* Behind extension headers checksums cannot stay undone, and are right all the same. */
static void segments_behind_extension_headers(void **state)
{
    struct recipe r = {.tcp = true, .payload = 300, .tcp_flags = TCP_ACK, .port = 5};
    static uint8_t plain[400], packet[408], out[400];
    size_t len = build(plain, &r);
    struct virtio_net_hdr h = leave_to_device(plain, &r, len, 100);
    memcpy(packet, plain, 40);
    memcpy(packet + 48, plain + 40, len - 40);
    put_u16(packet + 4, (uint16_t)(len - 40 + 8));
    packet[6] = 60; /* destination options (RFC 8200 4.6) */
    packet[40] = IP_PROTO_TCP;
    packet[42] = 1; /* PadN */
    packet[43] = 4;
    h.csum_start += 8;
    struct ip_packet ip;
    struct segmenter s;
    assert_true(ip_parse(&ip, packet, len + 8));
    assert_true(segment_begin(&s, packet, &ip, &h));
    assert_false(s.plain);
    for (unsigned i = 0; i < 3; i++) {
        size_t n = segment_next(&s, out, false);
        assert_int_equal(n, 40 + 8 + 20 + 100);
        memmove(out + 40, out + 48, n - 48); /* without them, it is what it was */
        assert_int_equal(slow_checksum(out, 40, n - 8, IP_PROTO_TCP), 0);
    }
    assert_int_equal(segment_next(&s, out, false), 0);
}

static void an_ordinary_frame_is_finished(void **state)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        struct recipe r = {.v4 = true, .tcp = tcp, .payload = 33};
        uint8_t frame[200] = {0}, wanted[200];
        size_t len = build(frame + ETH_HEADER_LEN, &r);
        memcpy(wanted, frame, sizeof(wanted));
        struct virtio_net_hdr h = leave_to_device(frame + ETH_HEADER_LEN, &r, len, 0);
        assert_true(segment_finish(frame, ETH_HEADER_LEN + len, &h));
        assert_memory_equal(frame, wanted, ETH_HEADER_LEN + len);
        for (unsigned start = 0; start < 0x10000; start += 7) {
            h.csum_start = (uint16_t)start;
            bool inside = start >= ETH_HEADER_LEN && start + h.csum_offset + 2 <= len;
            assert_int_equal(segment_finish(frame, len, &h), inside);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_are_what_a_naive_knife_cuts),
        cmocka_unit_test(joined_packets_are_the_packets),
        cmocka_unit_test(what_joins),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(segments_behind_extension_headers),
        cmocka_unit_test(an_ordinary_frame_is_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
