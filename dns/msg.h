/*
 * msg.h - DNS messages (RFC 1035 4.1, EDNS of RFC 6891): queries read, responses built.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +-------------------------------+-+-------+-+-+-+-+-+-+-+-------+
 *   | id                            |Q| opcode|A|T|R|R|0|A|C| rcode |
 *   +-------------------------------+-+-------+-+-+-+-+-+-+-+-------+
 *   | questions                     | answers                       |
 *   +-------------------------------+-------------------------------+
 *   | authority                     | additional                    |
 *   +-------------------------------+-------------------------------+
 *
 * One question a message. A response that outgrows what the client can take is cut after the
 * question and says so (TC), never in the middle of a record.
 */
#ifndef PEAL_DNS_MSG_H
#define PEAL_DNS_MSG_H

#include "dns/name.h"

enum {
    DNS_PORT = 53,
    DNS_HEADER_LEN = 12,
    DNS_UDP_SIZE = 512,   /* RFC 1035 2.3.4: without EDNS */
    DNS_EDNS_SIZE = 1232, /* ours: no fragment on any IPv6 path */
    DNS_TCP_SIZE = 4096,  /* ours; nothing we say is near it */
    DNS_MESSAGE_MAX = 4096,
};

enum dns_flag {
    DNS_QR = 0x8000,
    DNS_OPCODE = 0x7800, /* 0: QUERY */
    DNS_AA = 0x0400,
    DNS_TC = 0x0200,
    DNS_RD = 0x0100,
    DNS_RA = 0x0080,
    DNS_AD = 0x0020,
    DNS_CD = 0x0010,
    DNS_RCODE = 0x000f,
};

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16, /* the upper bits are in the OPT record */
};

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_IXFR = 251,
    DNS_TYPE_AXFR = 252,
    DNS_TYPE_ANY = 255,
};

enum { DNS_CLASS_IN = 1 };

struct dns_question {
    struct dns_name name;
    uint16_t type, class;
};

struct dns_query {
    uint16_t id, flags;
    struct dns_question question;
    bool edns, dnssec_ok; /* an OPT record was there; its DO bit */
    uint8_t edns_version;
    uint16_t udp_size; /* what the client can take: 512 to DNS_EDNS_SIZE */
};

enum dns_parse {
    DNS_PARSE_OK,
    DNS_PARSE_MALFORMED, /* *out is zeroed: say nothing */
    DNS_PARSE_RESPONSE,  /* likewise: QR is set, and answering responses makes loops */
    DNS_PARSE_QUESTIONS, /* none or several: id and flags are valid, the answer is FORMERR (RFC
                            9619) */
    DNS_PARSE_NOT_QUERY, /* another opcode: id and flags are valid, the answer is NOTIMP */
};
enum dns_parse dns_query_parse(struct dns_query *out, const uint8_t *bytes, size_t len);

bool dns_question_eq(const struct dns_question *a, const struct dns_question *b);

/* The query as another server may see it: same question, DO and CD, another id, no other option. */
size_t dns_query_write(uint8_t *out, size_t size, const struct dns_query *query, uint16_t id);

/*
 * A response to a query: id, question, QR, RCODE. False when it is malformed up to there. What
 * follows the question is not looked at: it is the client's.
 */
struct dns_response {
    uint16_t id, flags;
    struct dns_question question;
};
bool dns_response_parse(struct dns_response *out, const uint8_t *bytes, size_t len);

/* Building a response: begin, records in the order of the sections, finish. */
enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL, DNS_SECTIONS };

struct dns_builder {
    struct writer w;
    struct dns_names names;
    const struct dns_query *query;
    uint16_t flags;
    uint16_t counts[DNS_SECTIONS];
    size_t question_end;
    bool no_question; /* the query had none that we could repeat */
    uint8_t bytes[DNS_MESSAGE_MAX];
};

/* What the client can take: tcp, EDNS or neither. */
size_t dns_size_limit(const struct dns_query *query, bool tcp);

/* `flags` besides QR and those that are copied from the query (opcode, RD, CD). */
void dns_build_begin(struct dns_builder *b, const struct dns_query *query, size_t size_max,
                     uint16_t flags);
void dns_build_address(struct dns_builder *b, enum dns_section section,
                       const struct dns_name *owner, uint32_t ttl_s,
                       const struct addr *addr); /* A or AAAA */
void dns_build_name(struct dns_builder *b, enum dns_section section, const struct dns_name *owner,
                    uint32_t ttl_s, enum dns_type type,
                    const struct dns_name *target); /* NS, PTR */

struct dns_soa {
    struct dns_name mname, rname;
    uint32_t serial, refresh_s, retry_s, expire_s, minimum_s;
};
void dns_build_soa(struct dns_builder *b, enum dns_section section, const struct dns_name *owner,
                   uint32_t ttl_s, const struct dns_soa *soa);
/* Returns the length of b->bytes. */
size_t dns_build_finish(struct dns_builder *b, enum dns_rcode rcode);

#endif
