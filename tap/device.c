#include "tap/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

_Static_assert(DEVICE_NAME_SIZE == IFNAMSIZ, "names are the kernel's");

/* One queue of the device `name`, which the kernel makes with the first. Its final name comes back.
 */
static int open_queue(char name[DEVICE_NAME_SIZE], bool many)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)};
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

/* The first one opened: the last one takes its number, so that none is above those in use. */
static int open_writer(char name[DEVICE_NAME_SIZE], struct device_fds *out)
{
    out->writer = open_queue(name, true);
    return out->writer < 0 ? out->writer : 0;
}

static int detach_writer(const struct device_fds *fds)
{
    struct ifreq request = {.ifr_flags = IFF_DETACH_QUEUE};
    return ioctl(fds->writer, TUNSETQUEUE, &request) == 0 ? 0 : -errno;
}

int device_open(char name[DEVICE_NAME_SIZE], unsigned queues, struct device_fds *out)
{
    bool many = queues > 1;
    *out = (struct device_fds){.writer = -1};
    int err = queues > DEVICE_QUEUES_MAX ? -EINVAL : many ? open_writer(name, out) : 0;
    while (err == 0 && out->count < queues) {
        int fd = open_queue(name, many);
        if (fd < 0) {
            err = fd;
        } else {
            out->queues[out->count++] = fd;
        }
    }
    if (err == 0 && many) {
        err = detach_writer(out);
    }
    if (err != 0) {
        device_close(out);
    }
    return err;
}

void device_close(const struct device_fds *fds)
{
    for (unsigned i = 0; i < fds->count; i++) {
        close(fds->queues[i]);
    }
    if (fds->writer >= 0) {
        close(fds->writer);
    }
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

/* The kernel takes a set whole or refuses it: the larger ones first. */
unsigned device_offload(int fd)
{
    static const struct {
        unsigned long flags;
        unsigned features;
    } sets[] = {
        {TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6,
         DEVICE_HEADER | DEVICE_TSO | DEVICE_USO},
        {TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6, DEVICE_HEADER | DEVICE_TSO},
        {TUN_F_CSUM, DEVICE_HEADER},
    };
    struct ifreq request = {0};
    if (ioctl(fd, TUNGETIFF, &request) != 0 || !(request.ifr_flags & IFF_VNET_HDR)) {
        return 0;
    }
    for (unsigned i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
        if (ioctl(fd, TUNSETOFFLOAD, sets[i].flags) == 0) {
            return sets[i].features;
        }
    }
    return DEVICE_HEADER;
}

int device_write(int fd, unsigned features, const uint8_t *frame, size_t len)
{
    struct virtio_net_hdr header = {0};
    struct iovec vectors[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)frame, len}};
    ssize_t n = features & DEVICE_HEADER ? writev(fd, vectors, 2) : write(fd, frame, len);
    return n < 0 ? -errno : 0;
}
