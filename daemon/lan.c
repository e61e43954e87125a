#include "daemon/lan.h"

#include "daemon/beacon.h"
#include "daemon/log.h"
#include "daemon/network.h"
#include "overlay/core/err.h"
#include "overlay/core/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LAN_SOON_MS = 100,
    LAN_BURST = 3, /* beacons 1, 2, 4 s apart after a change, then every LAN_EVERY_S */
    LAN_BYTES_MAX = 256,
    LAN_READS_MAX = 32, /* in one turn of the loop */
};

static const char group4[] = "239.192.47.47"; /* organization-local scope (RFC 2365 6.2) */
static const char group6[] = "ff02::7065:616c";

struct ear {
    struct lan *lan;
    int fd; /* -1: none */
    uv_poll_t poll;
};

struct lan {
    struct daemon *daemon;
    struct ear v4, v6;
    uv_timer_t timer;
    unsigned burst;
    uint64_t hear_since_ms;
    unsigned heard;
    unsigned closing;
};

/* Out. */

static void send4(const struct lan *l, unsigned ifindex, const struct beacon *b,
                  const uint8_t *bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(LAN_PORT)};
    uint8_t control[CMSG_SPACE(sizeof(struct in_pktinfo))] = {0};
    struct iovec iov = {(void *)bytes, BEACON_LEN};
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen = sizeof to,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct in_pktinfo info = {.ipi_ifindex = (int)ifindex};

    inet_pton(AF_INET, group4, &to.sin_addr);
    info.ipi_spec_dst.s_addr = htonl(addr_to_v4(&b->ep.addr));
    *c = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IP, IP_PKTINFO};
    memcpy(CMSG_DATA(c), &info, sizeof info);
    (void)!sendmsg(l->v4.fd, &m, 0); /* a hint that did not go out comes again */
}

static void send6(const struct lan *l, unsigned ifindex, const struct beacon *b,
                  const uint8_t *bytes)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(LAN_PORT)};
    uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {0};
    struct iovec iov = {(void *)bytes, BEACON_LEN};
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen = sizeof to,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct in6_pktinfo info = {.ipi6_ifindex = ifindex};

    inet_pton(AF_INET6, group6, &to.sin6_addr);
    to.sin6_scope_id = ifindex;
    memcpy(&info.ipi6_addr, b->ep.addr.b, sizeof info.ipi6_addr);
    *c = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IPV6, IPV6_PKTINFO};
    memcpy(CMSG_DATA(c), &info, sizeof info);
    (void)!sendmsg(l->v6.fd, &m, 0);
}

/* Joined once for good: a second time is refused, and that is all right. */
static void listen_there(const struct lan *l, uint8_t family, unsigned ifindex)
{
    struct ip_mreqn m4 = {.imr_ifindex = (int)ifindex};
    struct ipv6_mreq m6 = {.ipv6mr_interface = ifindex};

    if (family == 4) {
        inet_pton(AF_INET, group4, &m4.imr_multiaddr);
        (void)!setsockopt(l->v4.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m4, sizeof m4);
    } else {
        inet_pton(AF_INET6, group6, &m6.ipv6mr_multiaddr);
        (void)!setsockopt(l->v6.fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m6, sizeof m6);
    }
}

/* Of each group one, naming this address. */
static void send_from(const struct lan *l, unsigned ifindex, const struct endpoint *ep)
{
    unsigned number = 0;

    for (struct network *n; (n = daemon_next(l->daemon, &number)) != NULL; number++) {
        struct beacon b = {.ep = *ep};
        uint8_t bytes[BEACON_LEN], nonce[24];
        struct secret key;

        if (!network_beacon_key(n, &key, &b.node))
            continue;
        randombytes_buf(nonce, sizeof nonce);
        beacon_seal(bytes, &b, &key, nonce);
        secret_clear(&key);
        if (ep->addr.family == 4)
            send4(l, ifindex, &b, bytes);
        else
            send6(l, ifindex, &b, bytes);
    }
}

/* The endpoint with this address, when it is one of the machine's outside the groups. */
static const struct endpoint *own_endpoint(const struct daemon *d, const struct sockaddr *sa)
{
    struct addr a = {.family = 0};

    if (sa && sa->sa_family == AF_INET)
        a = addr_v4(ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr));
    else if (sa && sa->sa_family == AF_INET6)
        a = addr_v6(((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr);
    for (size_t i = 0; i < d->endpoints_count; i++) {
        if (addr_eq(&a, &d->endpoints[i].addr))
            return &d->endpoints[i];
    }
    return NULL;
}

static void send_all(const struct lan *l)
{
    struct ifaddrs *all, *i;

    if (getifaddrs(&all) != 0)
        return;
    for (i = all; i; i = i->ifa_next) {
        const struct endpoint *ep = own_endpoint(l->daemon, i->ifa_addr);
        unsigned ifindex = ep ? if_nametoindex(i->ifa_name) : 0;

        if (ifindex == 0 || !(i->ifa_flags & IFF_MULTICAST) || (i->ifa_flags & IFF_LOOPBACK) ||
            (ep->addr.family == 4 ? l->v4.fd : l->v6.fd) < 0)
            continue;
        listen_there(l, ep->addr.family, ifindex);
        send_from(l, ifindex, ep);
    }
    freeifaddrs(all);
}

static void on_timer(uv_timer_t *timer)
{
    struct lan *l = timer->data;
    uint64_t next_ms = LAN_EVERY_S * 800u + randombytes_uniform(LAN_EVERY_S * 400u);

    if (l->burst < LAN_BURST)
        next_ms = UINT64_C(1000) << l->burst++;
    send_all(l);
    uv_timer_start(timer, on_timer, next_ms, 0);
}

void lan_changed(struct lan *l)
{
    if (!l)
        return;
    l->burst = 0;
    uv_timer_start(&l->timer, on_timer, LAN_SOON_MS, 0);
}

/* In. */

static bool may_hear(struct lan *l)
{
    uint64_t now = uv_now(&l->daemon->loop);

    if (now >= l->hear_since_ms + 1000) {
        l->hear_since_ms = now;
        l->heard = 0;
    }
    return ++l->heard <= LAN_HEAR_MAX;
}

static void hear(struct lan *l, const struct addr *from, const uint8_t *bytes, size_t len)
{
    unsigned number = 0;

    if (len != BEACON_LEN || !may_hear(l))
        return;
    for (struct network *n; (n = daemon_next(l->daemon, &number)) != NULL; number++) {
        struct secret key;
        struct beacon b;
        struct id self;
        bool ours = network_beacon_key(n, &key, &self) && beacon_open(&b, bytes, len, &key, from);

        secret_clear(&key);
        if (ours && !id_eq(&b.node, &self))
            network_heard_near(n, &b.node, &b.ep);
        if (ours)
            return;
    }
}

static struct addr source_of(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET)
        return addr_v4(ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr));
    return addr_v6(((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    const struct ear *ear = poll->data;

    for (unsigned i = 0; i < LAN_READS_MAX; i++) {
        uint8_t bytes[LAN_BYTES_MAX];
        struct sockaddr_storage sa;
        socklen_t sa_len = sizeof sa;
        ssize_t len = recvfrom(ear->fd, bytes, sizeof bytes, 0, (struct sockaddr *)&sa, &sa_len);
        struct addr from;

        if (len < 0)
            return;
        from = source_of(&sa);
        hear(ear->lan, &from, bytes, (size_t)len);
    }
}

/* Begin and end. */

static bool bind_ear(int fd, int family)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(LAN_PORT)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(LAN_PORT)};
    int on = 1;

    /* Several daemons of one machine may listen. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return false;
    if (family == AF_INET)
        return bind(fd, (struct sockaddr *)&v4, sizeof v4) == 0;
    return setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 &&
           bind(fd, (struct sockaddr *)&v6, sizeof v6) == 0;
}

static bool open_ear(struct lan *l, struct ear *ear, int family)
{
    ear->lan = l;
    ear->poll.data = ear;
    ear->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (ear->fd < 0)
        return false;
    if (bind_ear(ear->fd, family) && uv_poll_init(&l->daemon->loop, &ear->poll, ear->fd) == 0) {
        uv_poll_start(&ear->poll, UV_READABLE, on_readable);
        return true;
    }
    close(ear->fd);
    ear->fd = -1;
    return false;
}

struct lan *lan_new(struct daemon *d)
{
    struct lan *l = calloc(1, sizeof *l);
    bool v4, v6;

    if (!l)
        return NULL;
    l->daemon = d;
    v4 = open_ear(l, &l->v4, AF_INET);
    v6 = open_ear(l, &l->v6, AF_INET6);
    if (!v4 && !v6) {
        log_write(LOG_LEVEL_WARN, NULL, "no LAN beacons: cannot listen on UDP port %d: %s",
                  LAN_PORT, strerror(errno));
        free(l);
        return NULL;
    }
    uv_timer_init(&d->loop, &l->timer);
    l->timer.data = l;
    lan_changed(l);
    return l;
}

static void on_closed(uv_handle_t *handle)
{
    struct lan *l = handle->type == UV_TIMER ? handle->data : ((struct ear *)handle->data)->lan;

    if (--l->closing > 0)
        return;
    if (l->v4.fd >= 0)
        close(l->v4.fd);
    if (l->v6.fd >= 0)
        close(l->v6.fd);
    free(l);
}

void lan_free(struct lan *l)
{
    if (!l)
        return;
    l->closing = 1u + (l->v4.fd >= 0) + (l->v6.fd >= 0);
    uv_close((uv_handle_t *)&l->timer, on_closed);
    if (l->v4.fd >= 0)
        uv_close((uv_handle_t *)&l->v4.poll, on_closed);
    if (l->v6.fd >= 0)
        uv_close((uv_handle_t *)&l->v6.poll, on_closed);
}
