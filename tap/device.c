#include "tap/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

_Static_assert(DEVICE_NAME_SIZE == IFNAMSIZ, "names are the kernel's");

/* One queue of the device `name`, which the kernel makes with the first. Its final name comes back.
 */
static int open_queue(char name[DEVICE_NAME_SIZE], bool many)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI)};
    if (many) {
        request.ifr_flags |= IFF_MULTI_QUEUE;
    }
    memcpy(request.ifr_name, name, strnlen(name, DEVICE_NAME_SIZE - 1));
    if (ioctl(fd, TUNSETIFF, &request) != 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    memcpy(name, request.ifr_name, DEVICE_NAME_SIZE);
    return fd;
}

int device_open(char name[DEVICE_NAME_SIZE], int *fds, unsigned queues)
{
    for (unsigned i = 0; i < queues; i++) {
        int fd = open_queue(name, queues > 1);
        if (fd < 0) {
            while (i > 0) {
                close(fds[--i]);
            }
            return fd;
        }
        fds[i] = fd;
    }
    return 0;
}

int device_mac(int fd, struct mac *out)
{
    struct ifreq request = {0};
    if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) {
        return -errno;
    }
    memcpy(out->b, request.ifr_hwaddr.sa_data, 6);
    return 0;
}
