#include "daemon/pcp.h"

#include "overlay/core/wire.h"

#include <string.h>

enum {
    PCP_VERSION = 2,
    NATPMP_VERSION = 0,
    PCP_OPCODE_MAP = 1,
    PCP_RESPONSE = 0x80,
    PCP_SUCCESS = 0,
    PCP_UNSUPP_VERSION = 1,
};

/* IPv4 as ::ffff:a.b.c.d (RFC 6887 5). */
static void write_address(struct writer *w, const struct addr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (a->family == 6) {
        write_bytes(w, a->b, 16);
    } else {
        write_bytes(w, mapped, sizeof mapped);
        write_bytes(w, a->b, 4);
    }
}

static struct addr read_address(struct reader *r)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *b = read_bytes(r, 16);
    struct addr none = {.family = 0};

    if (!b)
        return none;
    return memcmp(b, mapped, sizeof mapped) == 0 ? addr_v4(get_u32(b + 12)) : addr_v6(b);
}

void pcp_request(uint8_t out[PCP_MAP_LEN], const struct pcp_map *m)
{
    static const struct addr any = {.family = 4};
    struct writer w = writer_of(out, PCP_MAP_LEN);

    write_u8(&w, PCP_VERSION);
    write_u8(&w, PCP_OPCODE_MAP);
    write_u16(&w, 0);
    write_u32(&w, m->lifetime_s);
    write_address(&w, &m->client);
    write_bytes(&w, m->nonce, sizeof m->nonce);
    write_u32(&w, (uint32_t)m->protocol << 24);
    write_u16(&w, m->internal_port);
    write_u16(&w, m->external_port);
    write_address(&w, &any);
}

enum pcp_verdict pcp_response(struct pcp_grant *out, const struct pcp_map *asked,
                              const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len);
    uint8_t version = read_u8(&r), opcode = read_u8(&r), result;
    const uint8_t *nonce;
    bool ours;

    memset(out, 0, sizeof *out);
    if (r.failed || !(opcode & PCP_RESPONSE))
        return PCP_OTHERS;
    if (version == NATPMP_VERSION)
        return PCP_UNSPOKEN;
    if (version != PCP_VERSION || opcode != (PCP_RESPONSE | PCP_OPCODE_MAP))
        return PCP_OTHERS;
    read_u8(&r);
    result = read_u8(&r);
    out->lifetime_s = read_u32(&r);
    (void)read_bytes(&r, 16); /* epoch, reserved */
    nonce = read_bytes(&r, PCP_NONCE_LEN);
    if (result == PCP_UNSUPP_VERSION)
        return PCP_UNSPOKEN;
    ours = nonce && memcmp(nonce, asked->nonce, PCP_NONCE_LEN) == 0 &&
           read_u32(&r) >> 24 == asked->protocol && read_u16(&r) == asked->internal_port;
    out->external.port = read_u16(&r);
    out->external.addr = read_address(&r);
    if (!ours || r.failed)
        return PCP_OTHERS;
    return result == PCP_SUCCESS && (out->external.port != 0 || asked->lifetime_s == 0)
               ? PCP_GRANTED
               : PCP_REFUSED;
}
