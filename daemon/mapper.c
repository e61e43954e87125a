/*
 * mapper.c - peal-portmap PORT: asks the router to let UDP to PORT in, by PCP (RFC 6887), NAT-PMP
 * (RFC 6886) or UPnP, whichever it speaks, in this order.
 *
 * A process of its own, because these protocols block and because UPnP means reading XML from
 * whatever is on the LAN. Prints "ADDRESS:PORT" when there is a mapping or it became another one,
 * "none" and ends when no router gives one. Renews it at half its life. Removes it and ends when
 * its standard input ends, or by SIGTERM.
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
    LIFETIME_S = 3600,
    RENEW_LEAST_S = 30,
    PCP_TRIES = 3,         /* 250, 500, 1000 ms */
    NATPMP_WAIT_MS = 2000, /* it repeats by itself until then */
    UPNP_DISCOVER_MS = 2000,
    UPNP_TTL = 2,
    UPNP_PORTS_TRIED = 4,     /* the same port, then random ones */
    UPNP_ONLY_FOR_EVER = 725, /* OnlyPermanentLeasesSupported: then we are to take it away */
    UPNP_CONFLICT = 718,      /* ConflictInMappingEntry (WANIPConnection:1 2.4.16) */
};

struct mapper {
    uint16_t port;
    uint16_t external_port; /* as granted last; wished again */
    const struct protocol *by;
    uint8_t nonce[PCP_NONCE_LEN];
    struct pcp_grant grant;
    char upnp_url[256], upnp_type[256], upnp_client[64];
};

/* map: asks, or with lifetime_s 0 takes away; true with m->grant set. */
struct protocol {
    const char *name;
    bool (*map)(struct mapper *m, uint32_t lifetime_s);
};

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

static bool pcp_map(struct mapper *m, uint32_t lifetime_s)
{
    struct pcp_map ask = {
        .internal_port = m->port, .external_port = m->external_port, .lifetime_s = lifetime_s};
    enum pcp_verdict verdict = PCP_OTHERS;
    uint8_t request[PCP_MAP_LEN];
    int fd = router_socket(&ask.client);

    if (fd < 0)
        return false;
    memcpy(ask.nonce, m->nonce, sizeof ask.nonce);
    pcp_request(request, &ask);
    for (int i = 0; i < PCP_TRIES && verdict == PCP_OTHERS; i++) {
        if (send(fd, request, sizeof request, 0) < 0)
            break;
        verdict = pcp_wait(fd, &ask, &m->grant, 250 << i);
    }
    close(fd);
    return verdict == PCP_GRANTED;
}

/* NAT-PMP. */

static bool natpmp_answer(natpmp_t *n, natpmpresp_t *out)
{
    struct timespec nap = {0, 20000000};
    int rc = NATPMP_TRYAGAIN;

    for (int ms = 0; ms < NATPMP_WAIT_MS && rc == NATPMP_TRYAGAIN; ms += 20) {
        nanosleep(&nap, NULL);
        rc = readnatpmpresponseorretry(n, out);
    }
    return rc == 0;
}

static bool natpmp_ask(natpmp_t *n, struct mapper *m, uint32_t lifetime_s)
{
    natpmpresp_t r;

    if (sendpublicaddressrequest(n) < 0 || !natpmp_answer(n, &r))
        return false;
    m->grant.external.addr = addr_v4(ntohl(r.pnu.publicaddress.addr.s_addr));
    if (sendnewportmappingrequest(n, NATPMP_PROTOCOL_UDP, m->port,
                                  lifetime_s ? m->external_port : 0, lifetime_s) < 0 ||
        !natpmp_answer(n, &r))
        return false;
    m->grant.external.port = r.pnu.newportmapping.mappedpublicport;
    m->grant.lifetime_s = r.pnu.newportmapping.lifetime;
    return true;
}

static bool natpmp_map(struct mapper *m, uint32_t lifetime_s)
{
    natpmp_t n;
    bool ok;

    if (initnatpmp(&n, 0, 0) != 0)
        return false;
    ok = natpmp_ask(&n, m, lifetime_s);
    closenatpmp(&n);
    return ok;
}

/* UPnP. */

static bool upnp_find(struct mapper *m)
{
    struct UPNPUrls urls;
    struct IGDdatas data;
    int error, kind;
    struct UPNPDev *devices =
        upnpDiscover(UPNP_DISCOVER_MS, NULL, NULL, UPNP_LOCAL_PORT_ANY, 0, UPNP_TTL, &error);

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

static bool upnp_take_away(struct mapper *m)
{
    char port[8];

    snprintf(port, sizeof port, "%u", m->grant.external.port);
    return UPNP_DeletePortMapping(m->upnp_url, m->upnp_type, port, "UDP", NULL) == 0;
}

static int upnp_add(struct mapper *m, uint16_t external, uint32_t lifetime_s)
{
    char outside[8], inside[8], lifetime[12];

    snprintf(outside, sizeof outside, "%u", external);
    snprintf(inside, sizeof inside, "%u", m->port);
    snprintf(lifetime, sizeof lifetime, "%u", lifetime_s);
    return UPNP_AddPortMapping(m->upnp_url, m->upnp_type, outside, inside, m->upnp_client, "peal",
                               "UDP", NULL, lifetime);
}

static uint16_t random_port(void)
{
    uint16_t n = 0;

    (void)!getrandom(&n, sizeof n, 0);
    return (uint16_t)(1024 + n % (65536 - 1024));
}

static bool upnp_map(struct mapper *m, uint32_t lifetime_s)
{
    char external[40] = "";
    uint16_t port = m->external_port;
    int rc = UPNP_CONFLICT;

    if (!m->upnp_url[0] && !upnp_find(m))
        return false;
    if (lifetime_s == 0)
        return upnp_take_away(m);
    if (UPNP_GetExternalIPAddress(m->upnp_url, m->upnp_type, external) != 0 ||
        !addr_parse(&m->grant.external.addr, external))
        return false;
    for (int i = 0; i < UPNP_PORTS_TRIED && rc == UPNP_CONFLICT; i++) {
        port = i == 0 ? m->external_port : random_port();
        rc = upnp_add(m, port, lifetime_s);
        if (rc == UPNP_ONLY_FOR_EVER)
            rc = upnp_add(m, port, 0);
    }
    m->grant.external.port = port;
    m->grant.lifetime_s = lifetime_s;
    return rc == 0;
}

/* The whole. */

static const struct protocol protocols[] = {
    {"PCP", pcp_map},
    {"NAT-PMP", natpmp_map},
    {"UPnP", upnp_map},
};

static volatile sig_atomic_t ended;

static void on_terminate(int number)
{
    ended = 1;
}

/* True when so much time has passed; false when it is time to go. */
static bool wait_or_end(unsigned seconds)
{
    struct pollfd p = {STDIN_FILENO, POLLIN, 0};
    char ignored[64];
    int rc = ended ? 1 : poll(&p, 1, (int)seconds * 1000);

    if (ended)
        return false;
    return rc == 0 || (rc > 0 && read(STDIN_FILENO, ignored, sizeof ignored) > 0);
}

static bool find(struct mapper *m)
{
    for (size_t i = 0; i < ARRAY_LEN(protocols) && !ended; i++) {
        m->by = &protocols[i];
        if (m->by->map(m, LIFETIME_S))
            return true;
    }
    return false;
}

static void say(const struct mapper *m)
{
    char text[ENDPOINT_TEXT_SIZE];

    printf("%s %s\n", endpoint_text(&m->grant.external, text), m->by->name);
    fflush(stdout);
}

/* A router that forgot, or is another one now: found anew, or given up. */
static void keep(struct mapper *m)
{
    struct endpoint said = {{0}, 0};

    do {
        unsigned life_s;

        if (!endpoint_eq(&m->grant.external, &said)) {
            said = m->grant.external;
            m->external_port = said.port;
            say(m);
        }
        life_s = m->grant.lifetime_s < LIFETIME_S ? m->grant.lifetime_s : LIFETIME_S;
        if (!wait_or_end(life_s / 2 > RENEW_LEAST_S ? life_s / 2 : RENEW_LEAST_S)) {
            (void)m->by->map(m, 0);
            return;
        }
    } while (m->by->map(m, LIFETIME_S) || find(m));
    puts("none");
}

int main(int argc, char **argv)
{
    struct mapper m = {.port = argc == 2 ? (uint16_t)atoi(argv[1]) : 0};
    struct sigaction sa = {.sa_handler = on_terminate};

    if (m.port == 0) {
        fprintf(stderr, "usage: peal-portmap PORT\n");
        return 2;
    }
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    m.external_port = m.port;
    if (getrandom(m.nonce, sizeof m.nonce, 0) != sizeof m.nonce)
        return 1;
    if (find(&m))
        keep(&m);
    else if (!ended)
        puts("none");
    return 0;
}
