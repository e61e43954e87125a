#include "dns/msg.h"

#include "overlay/core/err.h"

#include <string.h>

enum {
    OPT_LEN = 11, /* an OPT record without options */
    OPT_DO = 0x8000,
    FLAGS_COPIED = DNS_OPCODE | DNS_RD | DNS_CD,
};

struct header {
    uint16_t id, flags, questions, answers, authority, additional;
};

static struct header read_header(struct reader *r)
{
    struct header h;
    h.id = read_u16(r);
    h.flags = read_u16(r);
    h.questions = read_u16(r);
    h.answers = read_u16(r);
    h.authority = read_u16(r);
    h.additional = read_u16(r);
    return h;
}

static bool read_question(struct dns_question *q, struct reader *r, const uint8_t *message)
{
    dns_name_read(&q->name, r, message);
    q->type = read_u16(r);
    q->class = read_u16(r);
    return !r->failed;
}

bool dns_question_eq(const struct dns_question *a, const struct dns_question *b)
{
    return a->type == b->type && a->class == b->class && dns_name_eq(&a->name, &b->name);
}

/* ---- queries */

static uint16_t clamp_size(uint16_t size)
{
    if (size < DNS_UDP_SIZE)
        return DNS_UDP_SIZE; /* RFC 6891 6.2.3 */
    return size < DNS_EDNS_SIZE ? size : DNS_EDNS_SIZE;
}

/* RFC 6891 6.1.2: the class is the size, the TTL holds extended rcode, version and DO. */
static bool take_opt(struct dns_query *q, const struct dns_name *owner, uint16_t size, uint32_t ttl)
{
    if (q->edns || owner->len != 1)
        return false; /* "If a query contains more than one OPT RR, FORMERR": malformed */
    q->edns = true;
    q->udp_size = clamp_size(size);
    q->edns_version = (uint8_t)(ttl >> 16);
    q->dnssec_ok = ttl & OPT_DO;
    return true;
}

/* One additional record: OPT is taken, all others (TSIG, ...) are passed over. */
static bool read_additional(struct dns_query *q, struct reader *r, const uint8_t *message)
{
    struct dns_name owner;
    dns_name_read(&owner, r, message);
    uint16_t type = read_u16(r), class = read_u16(r);
    uint32_t ttl = read_u32(r);
    read_bytes(r, read_u16(r));
    if (r->failed)
        return false;
    return type != DNS_TYPE_OPT || take_opt(q, &owner, class, ttl);
}

static bool read_query_body(struct dns_query *q, const struct header *h, struct reader *r,
                            const uint8_t *message)
{
    if (h->answers || h->authority || !read_question(&q->question, r, message))
        return false;
    for (unsigned i = 0; i < h->additional; i++) {
        if (!read_additional(q, r, message))
            return false; /* at the latest where the bytes end */
    }
    return reader_done(r);
}

static enum dns_parse parse_query(struct dns_query *q, const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len);
    struct header h = read_header(&r);

    if (r.failed || len > DNS_MESSAGE_MAX)
        return DNS_PARSE_MALFORMED;
    if (h.flags & DNS_QR)
        return DNS_PARSE_RESPONSE;
    q->id = h.id;
    q->flags = h.flags;
    q->udp_size = DNS_UDP_SIZE;
    if (h.flags & DNS_OPCODE)
        return DNS_PARSE_NOT_QUERY;
    if (h.questions != 1)
        return DNS_PARSE_QUESTIONS;
    return read_query_body(q, &h, &r, bytes) ? DNS_PARSE_OK : DNS_PARSE_MALFORMED;
}

enum dns_parse dns_query_parse(struct dns_query *out, const uint8_t *bytes, size_t len)
{
    memset(out, 0, sizeof *out);
    enum dns_parse result = parse_query(out, bytes, len);
    if (result == DNS_PARSE_MALFORMED || result == DNS_PARSE_RESPONSE)
        memset(out, 0, sizeof *out);
    return result;
}

static void write_opt(struct writer *w, uint16_t size, uint8_t rcode_high, bool dnssec_ok)
{
    write_u8(w, 0); /* the root */
    write_u16(w, DNS_TYPE_OPT);
    write_u16(w, size);
    write_u8(w, rcode_high);
    write_u8(w, 0); /* version */
    write_u16(w, dnssec_ok ? OPT_DO : 0);
    write_u16(w, 0);
}

static void write_header(struct writer *w, const struct header *h)
{
    write_u16(w, h->id);
    write_u16(w, h->flags);
    write_u16(w, h->questions);
    write_u16(w, h->answers);
    write_u16(w, h->authority);
    write_u16(w, h->additional);
}

static void write_question(struct writer *w, struct dns_names *names, const struct dns_question *q)
{
    dns_name_write(w, names, &q->name);
    write_u16(w, q->type);
    write_u16(w, q->class);
}

size_t dns_query_write(uint8_t *out, size_t size, const struct dns_query *query, uint16_t id)
{
    struct writer w = writer_of(out, size);
    struct dns_names names = {.count = 0};
    struct header h = {.id = id,
                       .flags = query->flags & (DNS_RD | DNS_AD | DNS_CD),
                       .questions = 1,
                       .additional = query->edns};
    write_header(&w, &h);
    write_question(&w, &names, &query->question);
    if (query->edns)
        write_opt(&w, query->udp_size, 0, query->dnssec_ok);
    return w.failed ? 0 : writer_len(&w);
}

bool dns_response_parse(struct dns_response *out, const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len);
    struct header h = read_header(&r);

    memset(out, 0, sizeof *out);
    if (r.failed || !(h.flags & DNS_QR) || h.flags & DNS_OPCODE || h.questions != 1 ||
        !read_question(&out->question, &r, bytes)) {
        memset(out, 0, sizeof *out);
        return false;
    }
    out->id = h.id;
    out->flags = h.flags;
    return true;
}

/* ---- responses */

size_t dns_size_limit(const struct dns_query *query, bool tcp)
{
    if (tcp)
        return DNS_TCP_SIZE;
    return query->edns ? query->udp_size : DNS_UDP_SIZE;
}

void dns_build_begin(struct dns_builder *b, const struct dns_query *query, size_t size_max,
                     uint16_t flags)
{
    const size_t opt = query->edns ? OPT_LEN : 0;
    memset(b, 0, offsetof(struct dns_builder, bytes));
    CHECK(size_max <= sizeof b->bytes);
    b->w = writer_of(b->bytes, size_max - opt); /* its place is kept */
    b->query = query;
    b->flags = DNS_QR | flags | (query->flags & FLAGS_COPIED);
    b->no_question = query->question.name.len == 0;
    write_header(&b->w, &(struct header){.id = 0});
    if (!b->no_question)
        write_question(&b->w, &b->names, &query->question);
    CHECK(!b->w.failed); /* 512 bytes hold any question */
    b->question_end = writer_len(&b->w);
}

/* Name, type, class, TTL, and the place of RDLENGTH, which record_end fills. */
static size_t record_begin(struct dns_builder *b, enum dns_section section,
                           const struct dns_name *owner, enum dns_type type, uint32_t ttl_s)
{
    b->counts[section]++;
    dns_name_write(&b->w, &b->names, owner);
    write_u16(&b->w, (uint16_t)type);
    write_u16(&b->w, DNS_CLASS_IN);
    write_u32(&b->w, ttl_s);
    write_u16(&b->w, 0);
    return writer_len(&b->w);
}

static void record_end(struct dns_builder *b, size_t rdata)
{
    if (!b->w.failed)
        put_u16(b->bytes + rdata - 2, (uint16_t)(writer_len(&b->w) - rdata));
}

void dns_build_address(struct dns_builder *b, enum dns_section section,
                       const struct dns_name *owner, uint32_t ttl_s, const struct addr *addr)
{
    const bool v6 = addr->family == 6;
    size_t rdata = record_begin(b, section, owner, v6 ? DNS_TYPE_AAAA : DNS_TYPE_A, ttl_s);
    write_bytes(&b->w, addr->b, v6 ? 16 : 4);
    record_end(b, rdata);
}

void dns_build_name(struct dns_builder *b, enum dns_section section, const struct dns_name *owner,
                    uint32_t ttl_s, enum dns_type type, const struct dns_name *target)
{
    size_t rdata = record_begin(b, section, owner, type, ttl_s);
    dns_name_write(&b->w, &b->names, target);
    record_end(b, rdata);
}

void dns_build_soa(struct dns_builder *b, enum dns_section section, const struct dns_name *owner,
                   uint32_t ttl_s, const struct dns_soa *soa)
{
    size_t rdata = record_begin(b, section, owner, DNS_TYPE_SOA, ttl_s);
    dns_name_write(&b->w, &b->names, &soa->mname);
    dns_name_write(&b->w, &b->names, &soa->rname);
    write_u32(&b->w, soa->serial);
    write_u32(&b->w, soa->refresh_s);
    write_u32(&b->w, soa->retry_s);
    write_u32(&b->w, soa->expire_s);
    write_u32(&b->w, soa->minimum_s);
    record_end(b, rdata);
}

/* RFC 2181 9: back to the question, TC set; the client asks again over TCP. */
static void cut_off(struct dns_builder *b)
{
    b->w.p = b->w.start + b->question_end;
    b->w.failed = false;
    b->flags |= DNS_TC;
    memset(b->counts, 0, sizeof b->counts);
}

size_t dns_build_finish(struct dns_builder *b, enum dns_rcode rcode)
{
    if (b->w.failed)
        cut_off(b);
    if (b->query->edns) {
        b->w.end += OPT_LEN;
        write_opt(&b->w, DNS_EDNS_SIZE, (uint8_t)(rcode >> 4), b->query->dnssec_ok);
        b->counts[DNS_ADDITIONAL]++;
    }
    struct writer head = writer_of(b->bytes, DNS_HEADER_LEN);
    write_header(&head, &(struct header){.id = b->query->id,
                                         .flags = b->flags | (rcode & DNS_RCODE),
                                         .questions = !b->no_question,
                                         .answers = b->counts[DNS_ANSWER],
                                         .authority = b->counts[DNS_AUTHORITY],
                                         .additional = b->counts[DNS_ADDITIONAL]});
    CHECK(!b->w.failed);
    return writer_len(&b->w);
}
