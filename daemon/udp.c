#include "daemon/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Some 20 ms of 1 Gbit/s in full packets while a worker is held up. */
enum { UDP_BUFFER_BYTES = 4 * 1024 * 1024 };

static void set_buffer(int fd, int force, int option)
{
    int bytes = UDP_BUFFER_BYTES;

    /* Above net.core.[rw]mem_max only with CAP_NET_ADMIN; else as much as the system allows. */
    if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof bytes) < 0)
        (void)!setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes);
}

static int bind_v6(int fd, uint16_t port)
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int off = 0;

    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0)
        return -errno;
    return bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
}

static int bind_v4(int fd, uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};

    return bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -errno : 0;
}

static int open_family(struct udp *out, int family, uint16_t port)
{
    int rc;

    out->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (out->fd < 0)
        return -errno;
    rc = family == AF_INET6 ? bind_v6(out->fd, port) : bind_v4(out->fd, port);
    if (rc) {
        close(out->fd);
        out->fd = -1;
    }
    return rc;
}

int udp_open(struct udp *out, uint16_t port)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    int rc;

    memset(out, 0, sizeof *out);
    rc = open_family(out, AF_INET6, port);
    out->is_v6 = rc == 0;
    /* EADDRNOTAVAIL: IPv6 is there, but switched off (disable_ipv6). */
    if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL)
        rc = open_family(out, AF_INET, port);
    if (rc)
        return rc;
    set_buffer(out->fd, SO_RCVBUFFORCE, SO_RCVBUF);
    set_buffer(out->fd, SO_SNDBUFFORCE, SO_SNDBUF);
    CHECK(getsockname(out->fd, (struct sockaddr *)&sa, &len) == 0);
    out->port = ntohs(out->is_v6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                 : ((struct sockaddr_in *)&sa)->sin_port);
    return 0;
}
