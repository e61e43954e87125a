/*
 * mapper.c - peal-portmap PORT [TCP-PORT ...]: asks the router to let UDP to PORT in, by PCP (RFC
 * 6887), NAT-PMP (RFC 6886) or UPnP, whichever it speaks, in this order; and TCP to each TCP-PORT,
 * by what gave the first.
 *
 * UDP may come in by any port outside: the peers are told which. They try TCP at that same number
 * and at 443, so PORT's TCP is wished there and any other TCP port at its own number; what is
 * granted elsewhere is given back. Without UDP's mapping none of TCP is asked for.
 *
 * A process of its own, because these protocols block and because UPnP means reading XML from
 * whatever is on the LAN. Prints "udp ADDRESS:PORT PROTOCOL" when there is a mapping or it became
 * another one, and the same with "tcp"; "none" and ends when no router gives one. Renews at half
 * the shortest life, and when a router that speaks PCP or NAT-PMP says that it has just started.
 * Removes all and ends when its standard input ends, or by SIGTERM.
 */
#include "daemon/pcp.h"
#include "overlay/core/err.h"

#include <arpa/inet.h>
#include <errno.h>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpcommands.h>
#include <natpmp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    LIFETIME_S = 600, /* a router that restarted has forgotten: then it is half of this without */
    RENEW_LEAST_S = 30,
    ANNOUNCED_MS = 2000,   /* asked again at random within that */
    PCP_TRIES = 3,         /* 250, 500, 1000 ms: does anybody there speak it? */
    PCP_KNOWN_TRIES = 5,   /* and 2, 4 s: it does, and is slow */
    NATPMP_WAIT_MS = 2000, /* it repeats by itself until then */
    UPNP_DISCOVER_MS = 2000,
    UPNP_TTL = 2,
    UPNP_PORTS_TRIED = 4,     /* the same port, then random ones */
    UPNP_ONLY_FOR_EVER = 725, /* OnlyPermanentLeasesSupported: then we are to take it away */
    UPNP_CONFLICT = 718,      /* ConflictInMappingEntry (WANIPConnection:1 2.4.16) */
    MAPPINGS_MAX = 3,         /* UDP, TCP, tcp_port */
};

struct mapping {
    uint8_t protocol; /* PCP_PROTOCOL_* */
    uint16_t port;
    uint16_t external_port; /* as granted last; wished again */
    bool held;
    uint8_t nonce[PCP_NONCE_LEN];
    struct pcp_grant grant;
    struct endpoint said;
};

struct mapper {
    struct mapping v[MAPPINGS_MAX]; /* the first is UDP's, all others are TCP's */
    size_t count;
    const struct protocol *by;
    char upnp_url[256], upnp_type[256], upnp_client[64];
};

/* map: asks, or with lifetime_s 0 takes away; true with w->grant set. */
struct protocol {
    const char *name;
    bool (*map)(struct mapper *m, struct mapping *w, uint32_t lifetime_s);
};

static volatile sig_atomic_t ended;

static bool is_tcp(const struct mapping *w)
{
    return w->protocol == PCP_PROTOCOL_TCP;
}

/* PCP. */

static bool default_gateway(struct in_addr *out)
{
    natpmp_t n;

    if (initnatpmp(&n, 0, 0) != 0)
        return false;
    out->s_addr = n.gateway;
    closenatpmp(&n);
    return true;
}

/* A socket to the router; *client: our address towards it. -1: none. */
static int router_socket(struct addr *client)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PCP_PORT)}, us;
    socklen_t len = sizeof us;
    int fd;

    if (!default_gateway(&to.sin_addr))
        return -1;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
        getsockname(fd, (struct sockaddr *)&us, &len) == 0) {
        *client = addr_v4(ntohl(us.sin_addr.s_addr));
        return fd;
    }
    close(fd);
    return -1;
}

/* What comes within the time and answers this; PCP_OTHERS: nothing did. */
static enum pcp_verdict pcp_wait(int fd, const struct pcp_map *asked, struct pcp_grant *grant,
                                 int wait_ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    uint8_t reply[1100]; /* RFC 6887 7 */

    while (poll(&p, 1, wait_ms) > 0) {
        ssize_t len = recv(fd, reply, sizeof reply, MSG_DONTWAIT);
        enum pcp_verdict verdict =
            len < 0 ? PCP_REFUSED : pcp_response(grant, asked, reply, (size_t)len);

        if (verdict != PCP_OTHERS)
            return verdict;
    }
    return PCP_OTHERS;
}

static int pcp_tries(const struct mapper *m)
{
    return m->v[0].held && !ended ? PCP_KNOWN_TRIES : PCP_TRIES;
}

static bool pcp_map(struct mapper *m, struct mapping *w, uint32_t lifetime_s)
{
    struct pcp_map ask = {.protocol = w->protocol,
                          .internal_port = w->port,
                          .external_port = w->external_port,
                          .lifetime_s = lifetime_s};
    enum pcp_verdict verdict = PCP_OTHERS;
    uint8_t request[PCP_MAP_LEN];
    int fd = router_socket(&ask.client);

    if (fd < 0)
        return false;
    memcpy(ask.nonce, w->nonce, sizeof ask.nonce);
    pcp_request(request, &ask);
    for (int i = 0; i < pcp_tries(m) && verdict == PCP_OTHERS; i++) {
        if (send(fd, request, sizeof request, 0) < 0)
            break;
        verdict = pcp_wait(fd, &ask, &w->grant, 250 << i);
    }
    close(fd);
    return verdict == PCP_GRANTED;
}

/* NAT-PMP. */

/* What a slow router says to a repeated request comes after the answer, and is none to the next
 * request: the library leaves it to us to tell. */
static bool natpmp_answer(natpmp_t *n, uint16_t type, natpmpresp_t *out)
{
    struct timespec nap = {0, 20000000};
    int rc = NATPMP_TRYAGAIN;

    for (int ms = 0; ms < NATPMP_WAIT_MS && rc == NATPMP_TRYAGAIN; ms += 20) {
        nanosleep(&nap, NULL);
        rc = readnatpmpresponseorretry(n, out);
        if (rc == 0 && out->type != type) {
            n->has_pending_request = 1;
            rc = NATPMP_TRYAGAIN;
        }
    }
    return rc == 0;
}

static bool natpmp_ask(natpmp_t *n, struct mapping *w, uint32_t lifetime_s)
{
    bool tcp = is_tcp(w);
    natpmpresp_t r;

    if (sendpublicaddressrequest(n) < 0 || !natpmp_answer(n, NATPMP_RESPTYPE_PUBLICADDRESS, &r))
        return false;
    w->grant.external.addr = addr_v4(ntohl(r.pnu.publicaddress.addr.s_addr));
    if (sendnewportmappingrequest(n, tcp ? NATPMP_PROTOCOL_TCP : NATPMP_PROTOCOL_UDP, w->port,
                                  lifetime_s ? w->external_port : 0, lifetime_s) < 0 ||
        !natpmp_answer(n, tcp ? NATPMP_RESPTYPE_TCPPORTMAPPING : NATPMP_RESPTYPE_UDPPORTMAPPING,
                       &r))
        return false;
    w->grant.external.port = r.pnu.newportmapping.mappedpublicport;
    w->grant.lifetime_s = r.pnu.newportmapping.lifetime;
    return true;
}

static bool natpmp_map(struct mapper *m, struct mapping *w, uint32_t lifetime_s)
{
    natpmp_t n;
    bool ok;

    if (initnatpmp(&n, 0, 0) != 0)
        return false;
    ok = natpmp_ask(&n, w, lifetime_s);
    closenatpmp(&n);
    return ok;
}

/* UPnP. */

/* Without a router nobody is asked: the library would complain on standard error. */
static bool upnp_find(struct mapper *m)
{
    struct in_addr router;
    struct UPNPUrls urls;
    struct IGDdatas data;
    int error, kind;
    struct UPNPDev *devices;

    if (!default_gateway(&router))
        return false;
    devices = upnpDiscover(UPNP_DISCOVER_MS, NULL, NULL, UPNP_LOCAL_PORT_ANY, 0, UPNP_TTL, &error);
    if (!devices)
        return false;
    kind = UPNP_GetValidIGD(devices, &urls, &data, m->upnp_client, sizeof m->upnp_client);
    freeUPNPDevlist(devices);
    if (kind == 0)
        return false;
    snprintf(m->upnp_url, sizeof m->upnp_url, "%s", urls.controlURL);
    snprintf(m->upnp_type, sizeof m->upnp_type, "%s", data.first.servicetype);
    FreeUPNPUrls(&urls);
    return kind == 1;
}

static const char *upnp_protocol(const struct mapping *w)
{
    return is_tcp(w) ? "TCP" : "UDP";
}

static bool upnp_take_away(struct mapper *m, const struct mapping *w)
{
    char port[8];

    snprintf(port, sizeof port, "%u", w->grant.external.port);
    return UPNP_DeletePortMapping(m->upnp_url, m->upnp_type, port, upnp_protocol(w), NULL) == 0;
}

static int upnp_add(struct mapper *m, const struct mapping *w, uint16_t external,
                    uint32_t lifetime_s)
{
    char outside[8], inside[8], lifetime[12];

    snprintf(outside, sizeof outside, "%u", external);
    snprintf(inside, sizeof inside, "%u", w->port);
    snprintf(lifetime, sizeof lifetime, "%u", lifetime_s);
    return UPNP_AddPortMapping(m->upnp_url, m->upnp_type, outside, inside, m->upnp_client, "peal",
                               upnp_protocol(w), NULL, lifetime);
}

static uint16_t random_port(void)
{
    uint16_t n = 0;

    (void)!getrandom(&n, sizeof n, 0);
    return (uint16_t)(1024 + n % (65536 - 1024));
}

static bool upnp_map(struct mapper *m, struct mapping *w, uint32_t lifetime_s)
{
    char external[40] = "";
    uint16_t port = w->external_port;
    int tries = is_tcp(w) ? 1 : UPNP_PORTS_TRIED;
    int rc = UPNP_CONFLICT;

    if (!m->upnp_url[0] && !upnp_find(m))
        return false;
    if (lifetime_s == 0)
        return upnp_take_away(m, w);
    if (UPNP_GetExternalIPAddress(m->upnp_url, m->upnp_type, external) != 0 ||
        !addr_parse(&w->grant.external.addr, external))
        return false;
    for (int i = 0; i < tries && rc == UPNP_CONFLICT; i++) {
        port = i == 0 ? w->external_port : random_port();
        rc = upnp_add(m, w, port, lifetime_s);
        if (rc == UPNP_ONLY_FOR_EVER)
            rc = upnp_add(m, w, port, 0);
    }
    w->grant.external.port = port;
    w->grant.lifetime_s = lifetime_s;
    return rc == 0;
}

/* The whole. */

static const struct protocol protocols[] = {
    {"PCP", pcp_map},
    {"NAT-PMP", natpmp_map},
    {"UPnP", upnp_map},
};

static void on_terminate(int number)
{
    ended = 1;
}

/* What routers say when they start comes to all hosts of a LAN; -1: cannot be heard. */
static int announcements(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PCP_CLIENT_PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

/* One datagram is taken. */
static bool router_started(int fd)
{
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    struct in_addr router;
    char ignored[64];

    return recvfrom(fd, ignored, sizeof ignored, MSG_DONTWAIT, (struct sockaddr *)&from, &len) >=
               0 &&
           from.sin_port == htons(PCP_PORT) && default_gateway(&router) &&
           from.sin_addr.s_addr == router.s_addr;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* True when so much time has passed, or a router has started; false when it is time to go. */
static bool wait_or_end(unsigned seconds, int announced)
{
    struct pollfd p[] = {{STDIN_FILENO, POLLIN, 0}, {announced, POLLIN, 0}};
    int64_t end_ms = now_ms() + seconds * INT64_C(1000), left_ms;
    char ignored[64];

    while (!ended && (left_ms = end_ms - now_ms()) > 0) {
        int rc = poll(p, 2, (int)left_ms);

        if (rc > 0 && p[0].revents && read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
            return false;
        if (rc > 0 && p[1].revents && router_started(announced) && left_ms > ANNOUNCED_MS)
            end_ms = now_ms() + random_port() % ANNOUNCED_MS; /* others heard it, too */
    }
    return !ended;
}

static bool find(struct mapper *m)
{
    for (size_t i = 0; i < ARRAY_LEN(protocols) && !ended; i++) {
        m->by = &protocols[i];
        if (m->by->map(m, &m->v[0], LIFETIME_S))
            return true;
    }
    return false;
}

static void take_away(struct mapper *m, struct mapping *w)
{
    if (w->held)
        (void)m->by->map(m, w, 0);
    w->held = false;
}

/* Where TCP to this port of ours is looked for from outside. */
static uint16_t tcp_wish(const struct mapper *m, const struct mapping *w)
{
    return w->port == m->v[0].port ? m->v[0].grant.external.port : w->port;
}

static void map_tcp(struct mapper *m, struct mapping *w)
{
    uint16_t wish = tcp_wish(m, w);

    if (w->external_port != wish)
        take_away(m, w);
    w->external_port = wish;
    w->held = m->by->map(m, w, LIFETIME_S);
    if (w->held && w->grant.external.port != wish)
        take_away(m, w);
}

static void say(const struct mapper *m, struct mapping *w)
{
    static const struct endpoint nowhere;
    const struct endpoint *ep = w->held ? &w->grant.external : &nowhere;
    char text[ENDPOINT_TEXT_SIZE];

    if (endpoint_eq(ep, &w->said))
        return;
    w->said = *ep;
    if (w->held)
        printf("%s %s %s\n", is_tcp(w) ? "tcp" : "udp", endpoint_text(ep, text), m->by->name);
    fflush(stdout);
}

static unsigned shortest_life_s(const struct mapper *m)
{
    unsigned life_s = LIFETIME_S;

    for (size_t i = 0; i < m->count; i++)
        if (m->v[i].held && m->v[i].grant.lifetime_s < life_s)
            life_s = m->v[i].grant.lifetime_s;
    return life_s;
}

/* A router that forgot, or is another one now: found anew, or given up. */
static void keep(struct mapper *m)
{
    struct mapping *udp = &m->v[0];
    int announced = announcements();
    unsigned wait_s;

    do {
        udp->held = true;
        udp->external_port = udp->grant.external.port;
        say(m, udp);
        for (size_t i = 1; i < m->count && !ended; i++) {
            map_tcp(m, &m->v[i]);
            say(m, &m->v[i]);
        }
        wait_s = shortest_life_s(m) / 2;
        if (!wait_or_end(wait_s > RENEW_LEAST_S ? wait_s : RENEW_LEAST_S, announced)) {
            for (size_t i = 0; i < m->count; i++)
                take_away(m, &m->v[i]);
            return;
        }
    } while (m->by->map(m, udp, LIFETIME_S) || find(m));
    puts("none");
}

/* False: that is no port, or there are too many. */
static bool add(struct mapper *m, uint8_t protocol, const char *text)
{
    int port = atoi(text);
    struct mapping *w;

    if (port < 1 || port > 65535 || m->count == MAPPINGS_MAX)
        return false;
    w = &m->v[m->count++];
    w->protocol = protocol;
    w->port = w->external_port = (uint16_t)port;
    return getrandom(w->nonce, sizeof w->nonce, 0) == sizeof w->nonce;
}

int main(int argc, char **argv)
{
    struct mapper m = {.count = 0};
    struct sigaction sa = {.sa_handler = on_terminate};
    bool ok = argc > 1;

    for (int i = 1; i < argc && ok; i++)
        ok = add(&m, i == 1 ? PCP_PROTOCOL_UDP : PCP_PROTOCOL_TCP, argv[i]);
    if (!ok) {
        fprintf(stderr, "usage: peal-portmap PORT [TCP-PORT ...]\n");
        return 2;
    }
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (find(&m))
        keep(&m);
    else if (!ended)
        puts("none");
    return 0;
}
