// link: peal_tap
/* A real TAP device, in a network namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "overlay/core/wire.h"
#include "tap/checksum.h"
#include "tap/device.h"
#include "tap/eth.h"

enum {
    QUEUES = 4,
    FLOWS = 64,
    FIRST_PORT = 20000,
    IP_AT = ETH_HEADER_LEN,
    UDP_AT = IP_AT + 20,
    FRAME_LEN = UDP_AT + 8,
    HEADER_LEN = 10, /* of virtio */
};

static const char own[] = "10.77.0.2", peer[] = "10.77.0.3";
static const uint8_t peer_mac[6] = {0x02, 0, 0, 0, 0, 9};

struct world {
    char name[DEVICE_NAME_SIZE];
    struct device_fds fds;
    struct mac mac;
    int sockets[FLOWS];
};

static struct sockaddr_in address(const char *text, unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    assert_int_equal(inet_pton(AF_INET, text, &a.sin_addr), 1);
    return a;
}

static void configure(const struct world *w)
{
    struct sockaddr_in own_address = address(own, 0), mask = address("255.255.0.0", 0),
                       peer_address = address(peer, 0);
    struct arpreq arp = {.arp_flags = ATF_PERM | ATF_COM};
    struct ifreq request = {0};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(request.ifr_name, w->name, sizeof(w->name));
    memcpy(&request.ifr_addr, &own_address, sizeof(own_address));
    assert_int_equal(ioctl(s, SIOCSIFADDR, &request), 0);
    memcpy(&request.ifr_netmask, &mask, sizeof(mask));
    assert_int_equal(ioctl(s, SIOCSIFNETMASK, &request), 0);
    request.ifr_flags = IFF_UP;
    assert_int_equal(ioctl(s, SIOCSIFFLAGS, &request), 0);
    memcpy(&arp.arp_pa, &peer_address, sizeof(peer_address));
    memcpy(arp.arp_ha.sa_data, peer_mac, sizeof(peer_mac));
    memcpy(arp.arp_dev, w->name, sizeof(arp.arp_dev));
    assert_int_equal(ioctl(s, SIOCSARP, &arp), 0);
    close(s);
}

static void start(struct world *w)
{
    struct sockaddr_in to = address(peer, 7);
    struct timeval patience = {.tv_sec = 2};
    *w = (struct world){.name = "test%d"};
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        skip();
    }
    int err = device_open(w->name, QUEUES, &w->fds);
    if (err == -ENOENT || err == -EACCES || err == -EPERM) {
        skip(); /* no /dev/net/tun for us */
    }
    assert_int_equal(err, 0);
    assert_int_equal(device_mac(w->fds.queues[0], &w->mac), 0);
    configure(w);
    for (unsigned i = 0; i < FLOWS; i++) {
        struct sockaddr_in from = address(own, FIRST_PORT + i);
        w->sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        assert_int_equal(
            setsockopt(w->sockets[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
        assert_int_equal(bind(w->sockets[i], (struct sockaddr *)&from, sizeof(from)), 0);
        assert_int_equal(connect(w->sockets[i], (struct sockaddr *)&to, sizeof(to)), 0);
    }
}

static void stop(struct world *w)
{
    for (unsigned i = 0; i < FLOWS; i++) {
        close(w->sockets[i]);
    }
    device_close(&w->fds);
}

static bool is_of_flow(const uint8_t *frame, ssize_t len, unsigned flow)
{
    return len >= HEADER_LEN + FRAME_LEN && frame[HEADER_LEN + IP_AT + 9] == IPPROTO_UDP &&
           get_u16(frame + HEADER_LEN + UDP_AT) == FIRST_PORT + flow;
}

/* The queue on which the next packet of the flow arrives. */
static unsigned queue_of(const struct world *w, unsigned flow)
{
    uint8_t frame[2048];
    assert_int_equal(send(w->sockets[flow], "x", 1, 0), 1);
    for (;;) {
        struct pollfd polled[QUEUES];
        for (unsigned q = 0; q < QUEUES; q++) {
            polled[q] = (struct pollfd){.fd = w->fds.queues[q], .events = POLLIN};
        }
        assert_true(poll(polled, QUEUES, 2000) > 0);
        for (unsigned q = 0; q < QUEUES; q++) {
            if (is_of_flow(frame, read(polled[q].fd, frame, sizeof(frame)), flow)) {
                return q;
            }
        }
    }
}

static void answer(const struct world *w, unsigned flow)
{
    struct sockaddr_in from = address(peer, 0), to = address(own, 0);
    uint8_t f[FRAME_LEN] = {0}, got[1];
    memcpy(f, w->mac.b, 6);
    memcpy(f + 6, peer_mac, 6);
    put_u16(f + 12, ETH_TYPE_IPV4);
    f[IP_AT] = 0x45;
    put_u16(f + IP_AT + 2, FRAME_LEN - IP_AT);
    f[IP_AT + 8] = 64;
    f[IP_AT + 9] = IPPROTO_UDP;
    memcpy(f + IP_AT + 12, &from.sin_addr, 4);
    memcpy(f + IP_AT + 16, &to.sin_addr, 4);
    checksum_put(f + IP_AT + 10, checksum_add(0, f + IP_AT, 20));
    put_u16(f + UDP_AT, 7);
    put_u16(f + UDP_AT + 2, (uint16_t)(FIRST_PORT + flow));
    put_u16(f + UDP_AT + 4, 8);
    assert_int_equal(device_write(w->fds.writer, DEVICE_HEADER, f, sizeof(f)), 0);
    assert_int_equal(recv(w->sockets[flow], got, sizeof(got), 0), 0); /* it counts */
}

static void an_answer_moves_no_flow_to_another_queue(void **state)
{
    struct world w;
    unsigned used = 0;
    start(&w);
    for (unsigned i = 0; i < FLOWS; i++) {
        unsigned queue = queue_of(&w, i);
        used |= 1U << queue;
        answer(&w, i);
        assert_int_equal(queue_of(&w, i), queue);
    }
    assert_int_equal(used, (1U << QUEUES) - 1); /* each has some */
    stop(&w);
}

static void a_device_of_one_queue_has_no_other_descriptor(void **state)
{
    struct device_fds fds;
    char name[DEVICE_NAME_SIZE] = "test%d";
    if (device_open(name, 1, &fds) != 0) {
        skip();
    }
    assert_int_equal(fds.count, 1);
    assert_int_equal(fds.writer, -1);
    device_close(&fds);
    assert_int_equal(if_nametoindex(name), 0);
    assert_int_equal(device_open(name, DEVICE_QUEUES_MAX + 1, &fds), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_moves_no_flow_to_another_queue),
        cmocka_unit_test(a_device_of_one_queue_has_no_other_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
