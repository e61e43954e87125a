#include "overlay/nat.h"

const char *overlay_nat_mapping_text(enum overlay_nat_mapping m)
{
    switch (m) {
    case OVERLAY_NAT_MAPPING_UNKNOWN:
        break;
    case OVERLAY_NAT_MAPPING_NONE:
        return "none";
    case OVERLAY_NAT_MAPPING_INDEPENDENT:
        return "endpoint-independent";
    case OVERLAY_NAT_MAPPING_DEPENDENT:
        return "endpoint-dependent";
    case OVERLAY_NAT_MAPPING_ADDRESS:
        return "address-dependent";
    case OVERLAY_NAT_MAPPING_ADDRESS_AND_PORT:
        return "address-and-port-dependent";
    }
    return "unknown";
}

const char *overlay_nat_filtering_text(enum overlay_nat_filtering f)
{
    switch (f) {
    case OVERLAY_NAT_FILTERING_UNKNOWN:
        break;
    case OVERLAY_NAT_FILTERING_NONE:
        return "none";
    case OVERLAY_NAT_FILTERING_INDEPENDENT:
        return "endpoint-independent";
    case OVERLAY_NAT_FILTERING_DEPENDENT:
        return "endpoint-dependent";
    }
    return "unknown";
}

static bool is_own(const struct endpoint *ep, const struct endpoint *own, size_t own_count)
{
    for (size_t i = 0; i < own_count; i++)
        if (endpoint_eq(ep, &own[i]))
            return true;
    return false;
}

/* Remotes outside are asked; those on the LAN only where there are none. IPv6 has no NAT that we
 * would care for. */
static bool counts(const struct nat_report *r, bool outside)
{
    return r->by.addr.family == 4 && r->lan != outside;
}

/* Two reports about the same address of ours: what they say of how mappings depend on the remote.
 */
struct comparison {
    bool addresses_agree; /* two remotes at different addresses see the same */
    bool differ;          /* two see different ports */
    bool ports_agree;     /* two ports of one address see the same */
    bool ports_differ;
};

static void compare(const struct nat_report *a, const struct nat_report *b, struct comparison *c)
{
    bool agree = endpoint_eq(&a->us, &b->us), one_host = addr_eq(&a->by.addr, &b->by.addr);

    c->addresses_agree |= agree && !one_host;
    c->differ |= !agree;
    c->ports_agree |= agree && one_host && a->by.port != b->by.port;
    c->ports_differ |= !agree && one_host && a->by.port != b->by.port;
}

static enum overlay_nat_mapping mapping_of(const struct comparison *c)
{
    if (c->ports_differ)
        return OVERLAY_NAT_MAPPING_ADDRESS_AND_PORT;
    if (c->differ)
        return c->ports_agree ? OVERLAY_NAT_MAPPING_ADDRESS : OVERLAY_NAT_MAPPING_DEPENDENT;
    return c->addresses_agree ? OVERLAY_NAT_MAPPING_INDEPENDENT : OVERLAY_NAT_MAPPING_UNKNOWN;
}

void nat_judge(const struct nat_report *v, size_t n, const struct endpoint *own, size_t own_count,
               struct overlay_nat *out)
{
    struct comparison c = {false};
    bool outside = false, mapped = false, any = false, kept = true;

    for (size_t i = 0; i < n; i++)
        outside |= counts(&v[i], true);
    for (size_t i = 0; i < n; i++) {
        if (!counts(&v[i], outside))
            continue;
        any = true;
        mapped |= !is_own(&v[i].us, own, own_count);
        kept &= own_count > 0 && v[i].us.port == own[0].port;
    }
    if (!any)
        return;
    for (size_t i = 0; mapped && i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (counts(&v[i], outside) && counts(&v[k], outside))
                compare(&v[i], &v[k], &c);
    out->mapping = mapped ? mapping_of(&c) : OVERLAY_NAT_MAPPING_NONE;
    out->keeps_ports = kept ? OVERLAY_KNOWN_YES : OVERLAY_KNOWN_NO;
    if (!mapped)
        out->filtering = OVERLAY_NAT_FILTERING_NONE;
}

enum {
    PREDICT_LEAST = 3,   /* reports */
    PREDICT_SPREAD = 64, /* ports for each of them, between the lowest and the highest. Of three
                            random ports one set in 30,000 lies so close, of more fewer do */
};

size_t nat_predict(const struct nat_report *v, size_t n, struct endpoint *out, size_t max)
{
    const struct endpoint *low = NULL, *high = NULL;
    size_t reports = 0, count = 0;

    for (size_t i = 0; i < n; i++) {
        if (!counts(&v[i], true))
            continue;
        if (low != NULL && !addr_eq(&v[i].us.addr, &low->addr))
            return 0;
        low = low == NULL || v[i].us.port < low->port ? &v[i].us : low;
        high = high == NULL || v[i].us.port > high->port ? &v[i].us : high;
        reports++;
    }
    if (reports < PREDICT_LEAST || low->port == high->port ||
        high->port - low->port > (int)reports * PREDICT_SPREAD)
        return 0;
    for (; count < max && high->port + count + 1 <= UINT16_MAX; count++)
        out[count] = (struct endpoint){high->addr, (uint16_t)(high->port + count + 1)};
    return count;
}
