#include "dhcp/reply.h"

#include "overlay/core/err.h"

#include <string.h>

enum { IP_UDP_HEADERS = 28, ROUTE_BYTES_MAX = 9 };

static const struct mac broadcast_mac = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

static uint32_t v4(const struct addr *a)
{
    return a->family ? addr_to_v4(a) : 0;
}

static uint32_t mask_of(const struct net *range)
{
    return range->prefix ? UINT32_MAX << (32 - range->prefix) : 0;
}

static bool write_text(struct writer *w, enum dhcp_option code, const char *text)
{
    return text[0] && dhcp_write_option(w, code, text, strlen(text));
}

/* RFC 3442: prefix length, the prefix's significant octets, router. */
static void put_route(struct writer *w, const struct dhcp_route *route)
{
    write_u8(w, route->to.prefix);
    write_bytes(w, net_first(&route->to).b, (route->to.prefix + 7u) / 8);
    write_u32(w, v4(&route->via));
}

/* A client that takes this option ignores the router option, so the default route is told here too.
 */
static bool write_routes(struct writer *w, const struct dhcp_config *config)
{
    uint8_t value[(DHCP_ROUTES_MAX + 1) * ROUTE_BYTES_MAX];
    struct writer v = writer_of(value, sizeof value);
    if (!config->route_count)
        return false;
    if (config->router.family) {
        struct dhcp_route all = {.to = {.addr = addr_v4(0)}, .via = config->router};
        put_route(&v, &all);
    }
    for (size_t i = 0; i < config->route_count; i++)
        put_route(&v, &config->routes[i]);
    return dhcp_write_option(w, DHCP_OPT_CLASSLESS_ROUTES, value, writer_len(&v));
}

/* One option by the client's wish; false when it is not configured, or does not fit. */
static bool write_wish(struct writer *w, const struct dhcp_config *config, const char *hostname,
                       uint8_t code)
{
    uint32_t mask = mask_of(&config->range);
    switch (code) {
    case DHCP_OPT_SUBNET_MASK:
        return dhcp_write_u32(w, DHCP_OPT_SUBNET_MASK, mask);
    case DHCP_OPT_ROUTER:
        return config->router.family && dhcp_write_u32(w, DHCP_OPT_ROUTER, v4(&config->router));
    case DHCP_OPT_DNS:
        return dhcp_write_u32(w, DHCP_OPT_DNS, v4(&config->service));
    case DHCP_OPT_HOST_NAME:
        return write_text(w, DHCP_OPT_HOST_NAME, hostname);
    case DHCP_OPT_DOMAIN:
        return write_text(w, DHCP_OPT_DOMAIN, config->domain);
    case DHCP_OPT_MTU:
        return config->mtu && dhcp_write_u16(w, DHCP_OPT_MTU, config->mtu);
    case DHCP_OPT_BROADCAST:
        return dhcp_write_u32(w, DHCP_OPT_BROADCAST, v4(&config->range.addr) | ~mask);
    case DHCP_OPT_CLASSLESS_ROUTES:
        return write_routes(w, config);
    default:
        return false;
    }
}

/* The client's list in its order, or ours; each once, the mask first (RFC 2132 3.3). */
static void write_wishes(struct writer *w, const struct dhcp_config *config,
                         const struct dhcp_msg *request, const char *hostname)
{
    static const uint8_t usual[] = {
        DHCP_OPT_SUBNET_MASK, DHCP_OPT_BROADCAST,       DHCP_OPT_MTU, DHCP_OPT_DNS, DHCP_OPT_DOMAIN,
        DHCP_OPT_ROUTER,      DHCP_OPT_CLASSLESS_ROUTES};
    const uint8_t *list = request->parameters.len ? request->parameters.b : usual;
    size_t count = request->parameters.len ? request->parameters.len : sizeof usual;
    bool done[256] = {[DHCP_OPT_SUBNET_MASK] = true};

    if (dhcp_msg_wants(request, DHCP_OPT_SUBNET_MASK))
        write_wish(w, config, hostname, DHCP_OPT_SUBNET_MASK);
    for (size_t i = 0; i < count; i++) {
        if (!done[list[i]])
            write_wish(w, config, hostname, list[i]);
        done[list[i]] = true;
    }
}

/* RFC 2131 4.4.5: T1 at half, T2 at seven eighths. */
static void write_times(struct writer *w, uint32_t lease_s)
{
    dhcp_write_u32(w, DHCP_OPT_LEASE_TIME, lease_s);
    dhcp_write_u32(w, DHCP_OPT_T1, lease_s / 2);
    dhcp_write_u32(w, DHCP_OPT_T2, lease_s - lease_s / 8);
}

static size_t size_limit(const struct dhcp_config *config, const struct dhcp_msg *request)
{
    size_t limit = request->max_size > DHCP_SIZE_USUAL ? request->max_size : DHCP_SIZE_USUAL;
    if (config->mtu >= DHCP_SIZE_USUAL && limit > config->mtu)
        limit = config->mtu;
    limit -= IP_UDP_HEADERS;
    return limit < DHCP_REPLY_MAX ? limit : DHCP_REPLY_MAX;
}

/* RFC 2131 table 3: what the fixed fields of each answer hold. */
static struct dhcp_header header_of(const struct dhcp_msg *request, enum dhcp_type type,
                                    const struct dhcp_lease *lease)
{
    struct dhcp_header h = {
        .op = DHCP_BOOTREPLY,
        .xid = request->header.xid,
        .flags = request->header.flags & DHCP_FLAG_BROADCAST,
        .giaddr = request->header.giaddr,
        .mac = request->header.mac,
        .ciaddr = type == DHCP_ACK ? request->header.ciaddr : 0,
        .yiaddr = lease ? v4(&lease->addr) : 0,
    };
    /* The relay agent must not unicast a NAK to a client whose address is wrong. */
    if (type == DHCP_NAK && h.giaddr)
        h.flags |= DHCP_FLAG_BROADCAST;
    return h;
}

static void set_destination(struct dhcp_reply *out, const struct dhcp_header *h,
                            const struct mac *from_mac, enum dhcp_type type)
{
    out->dst_mac = h->mac;
    out->dst_port = DHCP_CLIENT_PORT;
    if (h->giaddr) {
        out->dst = addr_v4(h->giaddr);
        out->dst_mac = *from_mac;
        out->dst_port = DHCP_SERVER_PORT;
    } else if (type != DHCP_NAK && h->ciaddr) {
        out->dst = addr_v4(h->ciaddr);
    } else if (type == DHCP_NAK || (h->flags & DHCP_FLAG_BROADCAST)) {
        out->dst = addr_v4(UINT32_MAX);
        out->dst_mac = broadcast_mac;
    } else {
        out->dst = addr_v4(h->yiaddr);
    }
}

static void write_body(struct writer *w, const struct dhcp_config *config,
                       const struct dhcp_msg *request, enum dhcp_type type,
                       const struct dhcp_lease *lease)
{
    dhcp_write_u8(w, DHCP_OPT_TYPE, (uint8_t)type);
    dhcp_write_u32(w, DHCP_OPT_SERVER_ID, v4(&config->service));
    if (lease)
        write_times(w, lease->lease_s);
    if (request->client_id.len)
        dhcp_write_option(w, DHCP_OPT_CLIENT_ID, request->client_id.b, request->client_id.len);
    if (type == DHCP_NAK)
        write_text(w, DHCP_OPT_MESSAGE, "this address is not yours here");
    else
        write_wishes(w, config, request, lease ? lease->hostname : "");
}

void dhcp_reply_build(struct dhcp_reply *out, const struct dhcp_config *config,
                      const struct dhcp_msg *request, const struct mac *from_mac,
                      enum dhcp_type type, const struct dhcp_lease *lease)
{
    struct dhcp_header h = header_of(request, type, lease);
    struct writer w = writer_of(out->bytes, size_limit(config, request));

    out->src = config->service;
    out->src_port = DHCP_SERVER_PORT;
    set_destination(out, &h, from_mac, type);
    dhcp_write_header(&w, &h);
    write_body(&w, config, request, type, lease);
    dhcp_write_end(&w);
    CHECK(!w.failed);
    out->len = writer_len(&w);
}
