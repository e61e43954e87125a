#include "daemon/node/address.h"

#include <string.h>

#include "overlay/core/wire.h"
#include "overlay/crypto/secret.h"

enum { ADDRESS_RESERVED = 3 }; /* network, service, broadcast */

struct addr address_service(const struct net *range)
{
    return net_host(range, 1);
}

bool address_usable(const struct net *range, const struct addr *addr)
{
    uint32_t n;

    if (addr->family != 4 || range->addr.family != 4 || !net_contains(range, addr))
        return false;
    struct addr first = net_first(range);
    n = addr_to_v4(addr) - addr_to_v4(&first);
    return n >= 2 && n < net_hosts(range) - 1;
}

uint32_t address_count(const struct net *range)
{
    return range->addr.family == 4 && range->prefix <= 29 ? net_hosts(range) - ADDRESS_RESERVED : 0;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

struct addr address_candidate(const struct net *range, const struct id *node, uint32_t attempt)
{
    uint32_t count = address_count(range), start, step;
    uint8_t hash[HASH_LEN];

    sha256_parts(hash, (struct bytes[]){{"peal address", 12}, {node->b, ID_LEN}}, 2);
    start = (uint32_t)(get_u64(hash) % count);
    step = 1 + (uint32_t)(get_u64(hash + 8) % (count - 1));
    while (gcd(step, count) != 1)
        step = step % (count - 1) + 1;
    return net_host(range, 2 + (uint32_t)((start + (uint64_t)step * attempt) % count));
}

struct net address_ipv6(const struct net *ula, const struct id *node)
{
    struct net out = {.prefix = 64};
    uint8_t hash[HASH_LEN];

    if (ula->addr.family != 6)
        return (struct net){0};
    out.addr = net_first(ula);
    sha256(hash, node->b, ID_LEN);
    memcpy(out.addr.b + 8, hash, 8);
    return out;
}

struct net address_with_prefix(const struct net *range, const struct addr *addr)
{
    return (struct net){.addr = *addr, .prefix = range->prefix};
}
