#include "daemon/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LINKS_BUFFER = 8192,   /* MNL_SOCKET_BUFFER_SIZE is a page or 8 KiB, whichever is less */
    LINKS_DOWN_MAX = 1024, /* links that may be listed; later ones count as down */
    LINKS_DEBOUNCE_MS = 100,
};

struct links {
    struct mnl_socket *requests, *events;
    uint32_t seq;
    uv_poll_t poll;
    uv_timer_t debounce;
    bool routes;      /* a default route changed since the host was told */
    unsigned closing; /* handles not closed yet */
    struct links_host host;
    void *ctx;
};

static struct mnl_socket *open_socket(unsigned groups)
{
    struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK * !!groups);

    if (s && mnl_socket_bind(s, groups, MNL_SOCKET_AUTOPID) == 0)
        return s;
    if (s)
        mnl_socket_close(s);
    return NULL;
}

static void on_quiet(uv_timer_t *timer)
{
    struct links *l = timer->data;
    bool routes = l->routes;

    l->routes = false;
    l->host.changed(l->ctx, routes);
}

static void tell_soon(struct links *l)
{
    if (!uv_is_active((uv_handle_t *)&l->debounce))
        uv_timer_start(&l->debounce, on_quiet, LINKS_DEBOUNCE_MS, 0);
}

/* Other routes come and go with containers and with our own devices; they do not move our packets.
 */
static bool is_default_route(const struct nlmsghdr *h)
{
    const struct rtmsg *route = mnl_nlmsg_get_payload(h);

    return mnl_nlmsg_get_payload_len(h) >= sizeof *route && route->rtm_dst_len == 0 &&
           route->rtm_type == RTN_UNICAST;
}

static int on_message(const struct nlmsghdr *h, void *ctx)
{
    struct links *l = ctx;

    if (h->nlmsg_type == RTM_NEWROUTE || h->nlmsg_type == RTM_DELROUTE) {
        if (!is_default_route(h))
            return MNL_CB_OK;
        l->routes = true;
    }
    tell_soon(l);
    return MNL_CB_OK;
}

/* Links and addresses are listed anew whatever the messages said, so one that was lost for want of
 * room (ENOBUFS) only has to be noticed. */
static void on_event(uv_poll_t *poll, int status, int events)
{
    struct links *l = poll->data;
    char buf[LINKS_BUFFER];
    ssize_t len;

    while ((len = mnl_socket_recvfrom(l->events, buf, sizeof buf)) > 0)
        (void)!mnl_cb_run(buf, (size_t)len, 0, 0, on_message, l);
    if (len < 0 && errno == ENOBUFS) {
        l->routes = true;
        tell_soon(l);
    }
}

struct links *links_new(uv_loop_t *loop, const struct links_host *host, void *ctx)
{
    struct links *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->host = *host;
    l->ctx = ctx;
    l->seq = (uint32_t)time(NULL);
    l->requests = open_socket(0);
    l->events = open_socket(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                            RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE);
    if (!l->requests || !l->events) {
        if (l->requests)
            mnl_socket_close(l->requests);
        free(l);
        return NULL;
    }
    l->poll.data = l->debounce.data = l;
    CHECK(uv_poll_init(loop, &l->poll, mnl_socket_get_fd(l->events)) == 0);
    uv_poll_start(&l->poll, UV_READABLE, on_event);
    uv_timer_init(loop, &l->debounce);
    return l;
}

static void on_closed(uv_handle_t *handle)
{
    struct links *l = handle->data;

    if (--l->closing > 0)
        return;
    mnl_socket_close(l->requests);
    mnl_socket_close(l->events);
    free(l);
}

void links_free(struct links *l)
{
    l->closing = 2;
    uv_close((uv_handle_t *)&l->poll, on_closed);
    uv_close((uv_handle_t *)&l->debounce, on_closed);
}

/* Sends one request and gives each part of its answer to `cb` until the kernel says done or failed.
 */
static int ask(struct links *l, struct nlmsghdr *request, mnl_cb_t cb, void *ctx)
{
    unsigned port = mnl_socket_get_portid(l->requests);
    char buf[LINKS_BUFFER];
    int rc = MNL_CB_OK;
    ssize_t len;

    request->nlmsg_seq = ++l->seq;
    if (mnl_socket_sendto(l->requests, request, request->nlmsg_len) < 0)
        return -errno;
    while (rc > MNL_CB_STOP) {
        len = mnl_socket_recvfrom(l->requests, buf, sizeof buf);
        if (len < 0)
            return -errno;
        rc = mnl_cb_run(buf, (size_t)len, l->seq, port, cb, ctx);
    }
    return rc < 0 ? -errno : 0;
}

static struct nlmsghdr *link_request(char *buf, int ifindex, unsigned flags, unsigned change)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    struct ifinfomsg *info;

    h->nlmsg_type = RTM_NEWLINK;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    info = mnl_nlmsg_put_extra_header(h, sizeof *info);
    info->ifi_index = ifindex;
    info->ifi_flags = flags;
    info->ifi_change = change;
    return h;
}

int links_set_mac(struct links *l, int ifindex, const struct mac *mac)
{
    char buf[LINKS_BUFFER];
    struct nlmsghdr *h = link_request(buf, ifindex, 0, 0);

    mnl_attr_put(h, IFLA_ADDRESS, sizeof mac->b, mac->b);
    return ask(l, h, NULL, NULL);
}

int links_up(struct links *l, int ifindex, uint16_t mtu)
{
    char buf[LINKS_BUFFER];
    struct nlmsghdr *h = link_request(buf, ifindex, IFF_UP, IFF_UP);

    mnl_attr_put_u32(h, IFLA_MTU, mtu);
    return ask(l, h, NULL, NULL);
}

static struct nlmsghdr *address_request(char *buf, int ifindex, uint16_t type, uint16_t flags,
                                        const struct net *a)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    size_t len = a->addr.family == 4 ? 4 : 16;
    struct ifaddrmsg *info;

    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    info = mnl_nlmsg_put_extra_header(h, sizeof *info);
    info->ifa_family = a->addr.family == 4 ? AF_INET : AF_INET6;
    info->ifa_prefixlen = a->prefix;
    info->ifa_flags = a->addr.family == 6 ? IFA_F_NODAD : 0;
    info->ifa_index = (unsigned)ifindex;
    mnl_attr_put(h, IFA_LOCAL, len, a->addr.b);
    mnl_attr_put(h, IFA_ADDRESS, len, a->addr.b);
    return h;
}

int links_add_address(struct links *l, int ifindex, const struct net *a)
{
    char buf[LINKS_BUFFER];
    uint8_t broadcast[4];
    struct nlmsghdr *h =
        address_request(buf, ifindex, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, a);

    if (a->addr.family == 4) {
        for (unsigned i = 0; i < 4; i++) {
            unsigned host_bits =
                a->prefix >= 8 * (i + 1) ? 0 : 0xffu >> (a->prefix > 8 * i ? a->prefix - 8 * i : 0);

            broadcast[i] = (uint8_t)(a->addr.b[i] | host_bits);
        }
        mnl_attr_put(h, IFA_BROADCAST, sizeof broadcast, broadcast);
    }
    return ask(l, h, NULL, NULL);
}

int links_remove_address(struct links *l, int ifindex, const struct net *a)
{
    char buf[LINKS_BUFFER];

    return ask(l, address_request(buf, ifindex, RTM_DELADDR, 0, a), NULL, NULL);
}

/* The links that are up and not ours. */
struct usable {
    struct links *l;
    int up[LINKS_DOWN_MAX];
    size_t count;
};

static int on_link(const struct nlmsghdr *h, void *ctx)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
    struct usable *u = ctx;

    if (h->nlmsg_type == RTM_NEWLINK && (info->ifi_flags & IFF_UP) &&
        !(info->ifi_flags & IFF_LOOPBACK) && u->count < LINKS_DOWN_MAX &&
        !u->l->host.ours(u->l->ctx, info->ifi_index))
        u->up[u->count++] = info->ifi_index;
    return MNL_CB_OK;
}

static bool usable_has(const struct usable *u, int ifindex)
{
    for (size_t i = 0; i < u->count; i++) {
        if (u->up[i] == ifindex)
            return true;
    }
    return false;
}

static int dump(struct links *l, uint16_t type, mnl_cb_t cb, void *ctx)
{
    char buf[LINKS_BUFFER];
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    struct rtgenmsg *general;

    h->nlmsg_type = type;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    general = mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    general->rtgen_family = AF_UNSPEC;
    return ask(l, h, cb, ctx);
}

struct found_address {
    struct net net;
    int ifindex;
};

struct found {
    struct usable usable;
    struct found_address v[LINKS_SUBNETS_MAX];
    size_t count;
};

/* On a point-to-point link IFA_ADDRESS is the other end, IFA_LOCAL is ours; IPv6 has only
 * IFA_ADDRESS. */
static bool address_of(const struct nlmsghdr *h, struct net *out, uint32_t *flags)
{
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(h);
    size_t len = info->ifa_family == AF_INET ? 4 : 16;
    bool local = false;
    const struct nlattr *attr;

    memset(out, 0, sizeof *out);
    out->prefix = info->ifa_prefixlen;
    *flags = info->ifa_flags;
    mnl_attr_for_each(attr, h, sizeof *info)
    {
        uint16_t type = mnl_attr_get_type(attr);

        if (type == IFA_FLAGS && mnl_attr_get_payload_len(attr) == 4)
            *flags = mnl_attr_get_u32(attr);
        if ((type != IFA_LOCAL && (type != IFA_ADDRESS || local)) ||
            mnl_attr_get_payload_len(attr) != len)
            continue;
        local = type == IFA_LOCAL;
        out->addr.family = len == 4 ? 4 : 6;
        memcpy(out->addr.b, mnl_attr_get_payload(attr), len);
    }
    return (info->ifa_family == AF_INET || info->ifa_family == AF_INET6) && out->addr.family != 0;
}

static int on_address(const struct nlmsghdr *h, void *ctx)
{
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(h);
    struct found *f = ctx;
    uint32_t flags;
    struct net net;

    if (h->nlmsg_type != RTM_NEWADDR || f->count == LINKS_SUBNETS_MAX ||
        !usable_has(&f->usable, (int)info->ifa_index) || !address_of(h, &net, &flags))
        return MNL_CB_OK;
    if ((flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED)) ||
        addr_is_link_local(&net.addr) || addr_is_loopback(&net.addr))
        return MNL_CB_OK;
    f->v[f->count].net = net;
    f->v[f->count++].ifindex = (int)info->ifa_index;
    return MNL_CB_OK;
}

/* NULL when it could not be listed; to be freed. */
static struct found *find_addresses(struct links *l)
{
    struct found *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->usable.l = l;
    if (dump(l, RTM_GETLINK, on_link, &f->usable) == 0 && dump(l, RTM_GETADDR, on_address, f) == 0)
        return f;
    free(f);
    return NULL;
}

static int rank(const struct addr *a)
{
    return (addr_is_private(a) ? 2 : 0) + (a->family == 4 ? 1 : 0);
}

/* The best first; equal ones in the order in which their links were made: those of the machine come
 * before the bridges of its containers, which may be too many to tell of. */
static int by_rank(const void *a, const void *b)
{
    const struct found_address *x = a, *y = b;
    int d = rank(&x->net.addr) - rank(&y->net.addr);

    if (d == 0)
        d = (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);
    return d ? d : memcmp(x->net.addr.b, y->net.addr.b, sizeof x->net.addr.b);
}

bool links_look(struct links *l, struct links_outside *out)
{
    struct found *f = find_addresses(l);

    memset(out, 0, sizeof *out);
    if (!f)
        return false;
    qsort(f->v, f->count, sizeof *f->v, by_rank);
    for (size_t i = 0; i < f->count; i++)
        out->subnets[i] = f->v[i].net;
    out->subnets_count = f->count;
    out->addrs_count = f->count < LINKS_ADDRS_MAX ? f->count : LINKS_ADDRS_MAX;
    for (size_t i = 0; i < out->addrs_count; i++)
        out->addrs[i] = f->v[i].net.addr;
    free(f);
    return true;
}

bool links_conflict(struct links *l, const struct net *net, char device[16])
{
    struct found *f = find_addresses(l);
    bool found = false;

    for (size_t i = 0; f && !found && i < f->count; i++) {
        if (net_overlaps(net, &f->v[i].net) && if_indextoname((unsigned)f->v[i].ifindex, device))
            found = true;
    }
    free(f);
    return found;
}
