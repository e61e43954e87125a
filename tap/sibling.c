#include "tap/sibling.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Has the same size, if the system lets us. The kernel tells twice what it was asked for. */
static void copy_buffer(int from, int to, int option, int force)
{
    int bytes = 0;
    socklen_t len = sizeof(bytes);
    if (getsockopt(from, SOL_SOCKET, option, &bytes, &len) == 0) {
        bytes /= 2;
        if (setsockopt(to, SOL_SOCKET, force, &bytes, sizeof(bytes)) != 0) {
            (void)setsockopt(to, SOL_SOCKET, option, &bytes, sizeof(bytes));
        }
    }
}

static int copy_family(int from, int to, int family)
{
    int v6only = 0;
    socklen_t len = sizeof(v6only);
    if (family != AF_INET6) {
        return 0;
    }
    return getsockopt(from, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &len) != 0 ||
                   setsockopt(to, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) != 0
               ? -errno
               : 0;
}

static int bind_beside(int fd, int from, const struct sockaddr_storage *at, socklen_t len)
{
    int on = 1;
    int err = copy_family(from, fd, at->ss_family);
    if (err != 0) {
        return err;
    }
    if (setsockopt(from, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
        return -errno;
    }
    copy_buffer(from, fd, SO_RCVBUF, SO_RCVBUFFORCE);
    copy_buffer(from, fd, SO_SNDBUF, SO_SNDBUFFORCE);
    return bind(fd, (const struct sockaddr *)at, len) == 0 ? 0 : -errno;
}

int sibling_open(int from)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    if (getsockname(from, (struct sockaddr *)&at, &len) != 0) {
        return -errno;
    }
    int fd = socket(at.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int err = bind_beside(fd, from, &at, len);
    if (err != 0) {
        close(fd);
        return err;
    }
    return fd;
}
