#include "dns/server.h"

#include "overlay/core/err.h"

#include <stdlib.h>
#include <string.h>

#define SERVICE_LABEL "ns"
#define CONTACT_LABEL "hostmaster"

enum {
    TOKEN_NONE = 0,
    SOA_SERIAL = 1, /* nobody transfers the zone */
    SOA_REFRESH_S = 3600,
    SOA_RETRY_S = 600,
    SOA_EXPIRE_S = 86400,
    FORWARD_ID_TRIES = 16,
};

/* What a waiting query waits for. */
enum pending_kind { PENDING_NAME, PENDING_ADDR, PENDING_FORWARD };

struct pending {
    uint32_t token; /* TOKEN_NONE: the slot is free. Grows, so the lowest is the oldest */
    enum pending_kind kind;
    usec deadline_us;
    struct dns_source from;
    struct dns_query query;
    struct dns_name zone; /* PENDING_NAME, PENDING_ADDR: for the SOA */
    uint16_t forward_id;  /* PENDING_FORWARD */
};

struct dns_server {
    const struct env *env;
    struct dns_config config;
    const struct dns_ops *ops;
    void *ctx;

    struct dns_name domain, service_name;
    struct dns_soa soa;
    uint32_t last_token;
    struct pending pending[DNS_PENDING_MAX];
    uint64_t counts[DNS_COUNTERS];
};

/* All that is to be said about one name. */
struct facts {
    bool exists;
    const struct dns_name *zone; /* the one it is in */
    bool apex;                   /* it is that zone */
    uint32_t ttl_s;
    struct addr ipv4, ipv6;     /* family 0: no such record */
    const struct dns_name *ptr; /* NULL: no such record */
};

static const char *const counter_texts[DNS_COUNTERS] = {
    [DNS_COUNT_QUERIES] = "queries",   [DNS_COUNT_MALFORMED] = "malformed",
    [DNS_COUNT_RESPONSE] = "response", [DNS_COUNT_DUPLICATE] = "duplicate",
    [DNS_COUNT_STRAY] = "stray",       [DNS_COUNT_OVERFLOW] = "overflow",
    [DNS_COUNT_TIMEOUT] = "timeout",
};

const char *dns_counter_text(enum dns_counter counter)
{
    return counter < DNS_COUNTERS ? counter_texts[counter] : "unknown";
}

/* ---- responses */

static void begin(const struct dns_server *s, struct dns_builder *b, const struct dns_source *from,
                  const struct dns_query *q, uint16_t flags)
{
    uint16_t ra = s->config.forward ? DNS_RA : 0;
    dns_build_begin(b, q, dns_size_limit(q, from->tcp), flags | ra);
}

static void finish(struct dns_server *s, struct dns_builder *b, const struct dns_source *from,
                   enum dns_rcode rcode)
{
    size_t len = dns_build_finish(b, rcode);
    s->ops->reply(s->ctx, from, b->bytes, len);
}

/* A response that has nothing but its code. */
static void respond_code(struct dns_server *s, const struct dns_source *from,
                         const struct dns_query *q, enum dns_rcode rcode)
{
    struct dns_builder b;
    begin(s, &b, from, q, 0);
    finish(s, &b, from, rcode);
}

/* The query is for this type, or for any and nothing is said yet. */
static bool wants(const struct dns_builder *b, enum dns_type type)
{
    uint16_t asked = b->query->question.type;
    return asked == type || (asked == DNS_TYPE_ANY && b->counts[DNS_ANSWER] == 0);
}

static void add_answers(const struct dns_server *s, struct dns_builder *b, const struct facts *f)
{
    const struct dns_name *owner = &b->query->question.name;
    if (f->ipv4.family && wants(b, DNS_TYPE_A))
        dns_build_address(b, DNS_ANSWER, owner, f->ttl_s, &f->ipv4);
    if (f->ipv6.family && wants(b, DNS_TYPE_AAAA))
        dns_build_address(b, DNS_ANSWER, owner, f->ttl_s, &f->ipv6);
    if (f->ptr && wants(b, DNS_TYPE_PTR))
        dns_build_name(b, DNS_ANSWER, owner, f->ttl_s, DNS_TYPE_PTR, f->ptr);
    if (f->apex && wants(b, DNS_TYPE_SOA))
        dns_build_soa(b, DNS_ANSWER, owner, DNS_TTL_FIXED_S, &s->soa);
    if (f->apex && wants(b, DNS_TYPE_NS)) {
        dns_build_name(b, DNS_ANSWER, owner, DNS_TTL_FIXED_S, DNS_TYPE_NS, &s->service_name);
        dns_build_address(b, DNS_ADDITIONAL, &s->service_name, DNS_TTL_FIXED_S, &s->config.service);
    }
}

/* NXDOMAIN and NODATA carry the SOA, whose TTL says how long they are true (RFC 2308 3). */
static void respond(struct dns_server *s, const struct dns_source *from, const struct dns_query *q,
                    const struct facts *f)
{
    struct dns_builder b;
    begin(s, &b, from, q, DNS_AA);
    if (f->exists)
        add_answers(s, &b, f);
    if (b.counts[DNS_ANSWER] == 0)
        dns_build_soa(&b, DNS_AUTHORITY, f->zone, DNS_TTL_NEGATIVE_S, &s->soa);
    finish(s, &b, from, f->exists ? DNS_NOERROR : DNS_NXDOMAIN);
}

/* ---- queries that wait */

static bool source_eq(const struct dns_source *a, const struct dns_source *b)
{
    return addr_eq(&a->addr, &b->addr) && a->port == b->port && a->tcp == b->tcp;
}

static bool is_waiting(const struct dns_server *s, const struct dns_source *from,
                       const struct dns_query *q)
{
    for (size_t i = 0; i < DNS_PENDING_MAX; i++) {
        const struct pending *p = &s->pending[i];
        if (p->token != TOKEN_NONE && p->query.id == q->id && source_eq(&p->from, from) &&
            dns_question_eq(&p->query.question, &q->question))
            return true;
    }
    return false;
}

static struct pending *pending_oldest(struct dns_server *s)
{
    struct pending *oldest = NULL;
    for (size_t i = 0; i < DNS_PENDING_MAX; i++) {
        struct pending *p = &s->pending[i];
        if (p->token != TOKEN_NONE && (!oldest || (int32_t)(p->token - oldest->token) < 0))
            oldest = p;
    }
    return oldest;
}

/* The one that times out first; of equal ones the oldest. */
static const struct pending *pending_first(const struct dns_server *s)
{
    const struct pending *first = NULL;
    for (size_t i = 0; i < DNS_PENDING_MAX; i++) {
        const struct pending *p = &s->pending[i];
        if (p->token == TOKEN_NONE)
            continue;
        if (!first || p->deadline_us < first->deadline_us ||
            (p->deadline_us == first->deadline_us && (int32_t)(p->token - first->token) < 0))
            first = p;
    }
    return first;
}

static struct pending *pending_find(struct dns_server *s, uint32_t token)
{
    for (size_t i = 0; i < DNS_PENDING_MAX; i++) {
        if (token != TOKEN_NONE && s->pending[i].token == token)
            return &s->pending[i];
    }
    return NULL;
}

/* Empties the slot; what it held is the caller's to answer. */
static struct pending pending_take(struct pending *p)
{
    struct pending taken = *p;
    p->token = TOKEN_NONE;
    return taken;
}

static void pending_fail(struct dns_server *s, struct pending *p, enum dns_counter why)
{
    struct pending taken = pending_take(p);
    s->counts[why]++;
    respond_code(s, &taken.from, &taken.query, DNS_SERVFAIL);
}

static struct pending *pending_slot(struct dns_server *s)
{
    for (size_t i = 0; i < DNS_PENDING_MAX; i++) {
        if (s->pending[i].token == TOKEN_NONE)
            return &s->pending[i];
    }
    struct pending *victim = pending_oldest(s);
    pending_fail(s, victim, DNS_COUNT_OVERFLOW);
    return victim;
}

static struct pending *pending_add(struct dns_server *s, const struct dns_source *from,
                                   const struct dns_query *q, enum pending_kind kind)
{
    struct pending *p = pending_slot(s);
    if (++s->last_token == TOKEN_NONE)
        s->last_token++;
    memset(p, 0, sizeof *p);
    p->token = s->last_token;
    p->kind = kind;
    p->deadline_us =
        s->env->now_us + (kind == PENDING_FORWARD ? DNS_FORWARD_TIMEOUT : DNS_LOOKUP_TIMEOUT);
    p->from = *from;
    p->query = *q;
    return p;
}

/* ---- the group's names */

static void domain_question(struct dns_server *s, const struct dns_source *from,
                            const struct dns_query *q)
{
    const struct dns_name *name = &q->question.name;
    struct facts f = {.exists = true, .zone = &s->domain, .ttl_s = DNS_TTL_FIXED_S};
    unsigned below = dns_name_labels(name) - dns_name_labels(&s->domain);
    char label[LABEL_MAX + 1];

    if (below == 0) {
        f.apex = true;
    } else if (below > 1 || !dns_name_label(name, 0, label)) {
        f.exists = false;
    } else if (strcmp(label, SERVICE_LABEL) == 0) {
        f.ipv4 = s->config.service;
        f.ipv6 = s->config.service6;
    } else if (!dns_label_to_addr(label, &s->config.ipv4, &f.ipv4)) {
        struct pending *p = pending_add(s, from, q, PENDING_NAME);
        p->zone = s->domain;
        s->ops->lookup_name(s->ctx, p->token, label);
        return;
    }
    respond(s, from, q, &f);
}

/* A reverse name and where it is: at, above or below an address. */
struct reverse {
    struct addr addr;
    unsigned bits, zone_bits;
    bool below; /* there are labels that say nothing of an address */
};

/* The longest tail of the name that is a reverse name in one of our zones. */
static bool reverse_find(const struct dns_server *s, const struct dns_name *name, struct reverse *r)
{
    unsigned labels = dns_name_labels(name), count = labels;
    struct dns_name tail = *name;

    while (!dns_name_to_addr(&tail, &r->addr, &r->bits)) {
        if (count == 0)
            return false;
        tail = dns_name_tail(name, --count);
    }
    const bool v6 = r->addr.family == 6;
    const struct net *range = v6 ? &s->config.ipv6 : &s->config.ipv4;
    const unsigned step = v6 ? 4 : 8;
    r->below = count < labels;
    r->zone_bits = (range->prefix + step - 1) / step * step;
    return range->addr.family && r->bits >= r->zone_bits && net_contains(range, &r->addr);
}

static bool addr_is_service(const struct dns_server *s, const struct addr *addr)
{
    return addr_eq(addr, &s->config.service) || addr_eq(addr, &s->config.service6);
}

static void reverse_question(struct dns_server *s, const struct dns_source *from,
                             const struct dns_query *q, const struct reverse *r)
{
    struct dns_name zone = dns_name_of_addr(&r->addr, r->zone_bits);
    struct facts f = {.exists = !r->below, .zone = &zone, .ttl_s = DNS_TTL_FIXED_S};
    bool whole = r->bits == (r->addr.family == 6 ? 128 : 32);

    if (whole && !r->below && addr_is_service(s, &r->addr)) {
        f.ptr = &s->service_name;
    } else if (whole && !r->below) {
        struct pending *p = pending_add(s, from, q, PENDING_ADDR);
        p->zone = zone;
        s->ops->lookup_addr(s->ctx, p->token, &r->addr);
        return;
    }
    f.apex = f.exists && r->bits == r->zone_bits;
    respond(s, from, q, &f);
}

void dns_server_answered(struct dns_server *s, uint32_t token, const struct dns_answer *answer)
{
    struct pending *p = pending_find(s, token);
    if (!p || p->kind == PENDING_FORWARD)
        return;
    struct pending taken = pending_take(p);
    struct facts f = {.zone = &taken.zone, .ttl_s = DNS_TTL_LOOKUP_S};
    struct dns_name target;

    if (!answer) {
        respond_code(s, &taken.from, &taken.query, DNS_SERVFAIL);
        return;
    }
    f.exists = answer->found;
    if (answer->found && taken.kind == PENDING_NAME) {
        f.ipv4 = answer->ipv4;
        f.ipv6 = answer->ipv6;
    } else if (answer->found) {
        f.exists = dns_name_under(&target, answer->label, &s->domain);
        f.ptr = f.exists ? &target : NULL;
    }
    respond(s, &taken.from, &taken.query, &f);
}

/* ---- other people's names */

static bool forward_id_free(const struct dns_server *s, uint16_t id)
{
    for (size_t i = 0; i < DNS_PENDING_MAX; i++) {
        const struct pending *p = &s->pending[i];
        if (p->token != TOKEN_NONE && p->kind == PENDING_FORWARD && p->forward_id == id)
            return false;
    }
    return true;
}

/* At most 64 of 65,536 are taken: sixteen misses in a row do not happen, and would do no harm. */
static uint16_t forward_id_draw(const struct dns_server *s)
{
    uint16_t id = (uint16_t)env_random_u32(s->env);
    for (int i = 0; i < FORWARD_ID_TRIES && !forward_id_free(s, id); i++)
        id = (uint16_t)env_random_u32(s->env);
    return id;
}

static void foreign_question(struct dns_server *s, const struct dns_source *from,
                             const struct dns_query *q)
{
    uint8_t bytes[DNS_UDP_SIZE];
    if (!s->config.forward || !(q->flags & DNS_RD)) {
        respond_code(s, from, q, DNS_REFUSED);
        return;
    }
    struct pending *p = pending_add(s, from, q, PENDING_FORWARD);
    p->forward_id = forward_id_draw(s);
    size_t len = dns_query_write(bytes, sizeof bytes, q, p->forward_id);
    CHECK(len > 0);
    s->ops->forward(s->ctx, bytes, len, from->tcp);
}

static struct pending *pending_of_response(struct dns_server *s, const struct dns_response *r)
{
    for (size_t i = 0; i < DNS_PENDING_MAX; i++) {
        struct pending *p = &s->pending[i];
        if (p->token != TOKEN_NONE && p->kind == PENDING_FORWARD && p->forward_id == r->id &&
            dns_question_eq(&p->query.question, &r->question))
            return p;
    }
    return NULL;
}

/* Too long for the client: it learns so and may come back over TCP. */
static void relay_cut(struct dns_server *s, const struct pending *p, const struct dns_response *r)
{
    struct dns_builder b;
    begin(s, &b, &p->from, &p->query, DNS_TC);
    finish(s, &b, &p->from, r->flags & DNS_RCODE);
}

void dns_server_forwarded(struct dns_server *s, const uint8_t *bytes, size_t len)
{
    uint8_t copy[DNS_MESSAGE_MAX];
    struct dns_response r;
    struct pending *p = dns_response_parse(&r, bytes, len) ? pending_of_response(s, &r) : NULL;
    if (!p) {
        s->counts[DNS_COUNT_STRAY]++;
        return;
    }
    struct pending taken = pending_take(p);
    if (len > dns_size_limit(&taken.query, taken.from.tcp)) {
        relay_cut(s, &taken, &r);
        return;
    }
    memcpy(copy, bytes, len);
    put_u16(copy, taken.query.id);
    put_u16(copy + 2, r.flags | DNS_RA);
    s->ops->reply(s->ctx, &taken.from, copy, len);
}

/* ---- input and time */

/* Questions about the zone as a whole, or about the message itself. */
static bool type_is_meta(uint16_t type)
{
    return type == DNS_TYPE_OPT || type == DNS_TYPE_IXFR || type == DNS_TYPE_AXFR;
}

static void question(struct dns_server *s, const struct dns_source *from, const struct dns_query *q)
{
    struct reverse reverse;
    if (q->question.class != DNS_CLASS_IN || type_is_meta(q->question.type))
        respond_code(s, from, q, DNS_REFUSED);
    else if (dns_name_within(&q->question.name, &s->domain))
        domain_question(s, from, q);
    else if (reverse_find(s, &q->question.name, &reverse))
        reverse_question(s, from, q, &reverse);
    else
        foreign_question(s, from, q);
}

static void query_input(struct dns_server *s, const struct dns_source *from,
                        const struct dns_query *q)
{
    s->counts[DNS_COUNT_QUERIES]++;
    if (q->edns && q->edns_version != 0)
        respond_code(s, from, q, DNS_BADVERS);
    else if (is_waiting(s, from, q))
        s->counts[DNS_COUNT_DUPLICATE]++;
    else
        question(s, from, q);
}

void dns_server_input(struct dns_server *s, const struct dns_source *from, const uint8_t *bytes,
                      size_t len)
{
    struct dns_query q;
    switch (dns_query_parse(&q, bytes, len)) {
    case DNS_PARSE_OK:
        query_input(s, from, &q);
        break;
    case DNS_PARSE_MALFORMED:
        s->counts[DNS_COUNT_MALFORMED]++;
        break;
    case DNS_PARSE_RESPONSE:
        s->counts[DNS_COUNT_RESPONSE]++;
        break;
    case DNS_PARSE_QUESTIONS:
        respond_code(s, from, &q, DNS_FORMERR);
        break;
    case DNS_PARSE_NOT_QUERY:
        respond_code(s, from, &q, DNS_NOTIMP);
        break;
    }
}

void dns_server_tick(struct dns_server *s)
{
    const struct pending *p;
    while ((p = pending_first(s)) != NULL && p->deadline_us <= s->env->now_us)
        pending_fail(s, pending_find(s, p->token), DNS_COUNT_TIMEOUT);
}

usec dns_server_deadline(const struct dns_server *s)
{
    const struct pending *p = pending_first(s);
    return p ? p->deadline_us : USEC_NEVER;
}

/* ---- the object */

static bool make_names(struct dns_server *s)
{
    s->soa.serial = SOA_SERIAL;
    s->soa.refresh_s = SOA_REFRESH_S;
    s->soa.retry_s = SOA_RETRY_S;
    s->soa.expire_s = SOA_EXPIRE_S;
    s->soa.minimum_s = DNS_TTL_NEGATIVE_S;
    if (s->config.domain[0] == '\0' || !dns_name_from_text(&s->domain, s->config.domain) ||
        !dns_name_under(&s->service_name, SERVICE_LABEL, &s->domain) ||
        !dns_name_under(&s->soa.rname, CONTACT_LABEL, &s->domain))
        return false;
    s->soa.mname = s->service_name;
    return true;
}

struct dns_server *dns_server_new(const struct env *env, const struct dns_config *config,
                                  const struct dns_ops *ops, void *ctx)
{
    CHECK(config->ipv4.addr.family == 4 && config->service.family == 4);
    CHECK(!config->forward || ops->forward);
    struct dns_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->env = env;
    s->config = *config;
    s->ops = ops;
    s->ctx = ctx;
    if (!make_names(s)) {
        free(s);
        return NULL;
    }
    return s;
}

void dns_server_free(struct dns_server *s)
{
    free(s);
}

uint64_t dns_server_count(const struct dns_server *s, enum dns_counter counter)
{
    return counter < DNS_COUNTERS ? s->counts[counter] : 0;
}
