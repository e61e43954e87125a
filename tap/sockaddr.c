#include "tap/sockaddr.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static socklen_t put_v4(struct sockaddr_in *out, const struct endpoint *e)
{
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(e->port)};
    memcpy(&out->sin_addr, e->addr.b, 4);
    return sizeof(*out);
}

static socklen_t put_v6(struct sockaddr_in6 *out, const struct endpoint *e)
{
    *out = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(e->port)};
    if (e->addr.family == 4) {
        memcpy(out->sin6_addr.s6_addr, mapped_prefix, sizeof(mapped_prefix));
        memcpy(out->sin6_addr.s6_addr + 12, e->addr.b, 4);
    } else {
        memcpy(out->sin6_addr.s6_addr, e->addr.b, 16);
    }
    return sizeof(*out);
}

socklen_t sockaddr_put(union sockaddr_any *out, const struct endpoint *e, bool socket_is_v6)
{
    if (e->addr.family == 0 || (e->addr.family == 6 && !socket_is_v6)) {
        return 0;
    }
    return socket_is_v6 ? put_v6(&out->v6, e) : put_v4(&out->v4, e);
}

bool sockaddr_get(struct endpoint *out, const union sockaddr_any *in)
{
    *out = (struct endpoint){0};
    switch (in->any.sa_family) {
    case AF_INET:
        out->port = ntohs(in->v4.sin_port);
        out->addr.family = 4;
        memcpy(out->addr.b, &in->v4.sin_addr, 4);
        return true;
    case AF_INET6:
        out->port = ntohs(in->v6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in->v6.sin6_addr)) {
            out->addr.family = 4;
            memcpy(out->addr.b, in->v6.sin6_addr.s6_addr + 12, 4);
        } else {
            out->addr = addr_v6(in->v6.sin6_addr.s6_addr);
        }
        return true;
    default:
        return false;
    }
}
