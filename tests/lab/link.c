/*
 * link.c - a link with delay, loss and a rate, for kernels without netem: two TAP devices in two
 * namespaces, and between them a queue for each direction.
 *
 *   link NETNS_A DEV_A NETNS_B DEV_B DELAY_MS LOSS_PERCENT RATE_MBIT SECONDS
 *
 * Rate 0: as fast as it goes. Makes the devices, prints "ready", forwards frames until SECONDS have
 * passed or it is killed; the devices go with it. Frames that do not fit QUEUE_FRAMES are dropped,
 * as a router's tail drop would. Which frames are lost follows from a fixed seed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE_FRAMES = 2048, FRAME_MAX = 2048, BURST = 64 };

struct frame {
    int64_t due_ns;
    size_t len;
    uint8_t bytes[FRAME_MAX];
};

struct way {
    int from, to;
    struct frame *queue;
    size_t first, count;
    int64_t free_ns; /* when the wire has sent what it was given */
};

struct link {
    int64_t delay_ns, end_ns;
    double loss, ns_per_byte;
    uint64_t random;
    struct way ways[2];
};

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "link: %s %s: %s\n", what, which, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int open_tap(const char *netns, const char *name)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    char path[256];
    int ns, fd;

    snprintf(path, sizeof path, "/run/netns/%s", netns);
    ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
        fail("cannot enter", path);
    close(ns);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
        fail("cannot make", name);
    return fd;
}

/* xorshift64* (Vigna 2016). */
static double draw(struct link *l)
{
    l->random ^= l->random >> 12;
    l->random ^= l->random << 25;
    l->random ^= l->random >> 27;
    return (double)(l->random * UINT64_C(2685821657736338717) >> 11) / 9007199254740992.0;
}

static void take_in(struct link *l, struct way *w)
{
    for (int i = 0; i < BURST; i++) {
        struct frame *f = &w->queue[(w->first + w->count) % QUEUE_FRAMES];
        uint8_t spill[FRAME_MAX];
        int full = w->count == QUEUE_FRAMES;
        ssize_t n = read(w->from, full ? spill : f->bytes, FRAME_MAX);
        int64_t now = now_ns();

        if (n <= 0)
            return;
        if (full || draw(l) < l->loss)
            continue;
        if (w->free_ns < now)
            w->free_ns = now;
        w->free_ns += (int64_t)((double)n * l->ns_per_byte);
        f->due_ns = w->free_ns + l->delay_ns;
        f->len = (size_t)n;
        w->count++;
    }
}

static void give_out(struct way *w)
{
    while (w->count > 0 && w->queue[w->first].due_ns <= now_ns()) {
        (void)!write(w->to, w->queue[w->first].bytes, w->queue[w->first].len);
        w->first = (w->first + 1) % QUEUE_FRAMES;
        w->count--;
    }
}

static int64_t next_ns(const struct link *l)
{
    int64_t at = l->end_ns;

    for (int i = 0; i < 2; i++) {
        const struct way *w = &l->ways[i];

        if (w->count > 0 && w->queue[w->first].due_ns < at)
            at = w->queue[w->first].due_ns;
    }
    return at;
}

static void serve(struct link *l)
{
    while (now_ns() < l->end_ns) {
        struct pollfd p[2] = {{l->ways[0].from, POLLIN, 0}, {l->ways[1].from, POLLIN, 0}};
        int64_t wait = next_ns(l) - now_ns();
        struct timespec t = {0, 0};

        if (wait > 0)
            t = (struct timespec){wait / 1000000000, wait % 1000000000};
        if (ppoll(p, 2, &t, NULL) < 0 && errno != EINTR)
            fail("cannot", "poll");
        for (int i = 0; i < 2; i++) {
            if (p[i].revents)
                take_in(l, &l->ways[i]);
            give_out(&l->ways[i]);
        }
    }
}

int main(int argc, char **argv)
{
    struct link l = {.random = 88172645463325252u};
    double mbit;
    int a, b;

    if (argc != 9) {
        fprintf(
            stderr,
            "usage: link NETNS_A DEV_A NETNS_B DEV_B DELAY_MS LOSS_PERCENT RATE_MBIT SECONDS\n");
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    (void)!setpriority(PRIO_PROCESS, 0, -20); /* a wire waits for no program, if that is allowed */
    l.delay_ns = (int64_t)(atof(argv[5]) * 1e6);
    l.loss = atof(argv[6]) / 100;
    mbit = atof(argv[7]);
    l.ns_per_byte = mbit > 0 ? 8000 / mbit : 0;
    l.end_ns = now_ns() + (int64_t)(atof(argv[8]) * 1e9);
    a = open_tap(argv[1], argv[2]);
    b = open_tap(argv[3], argv[4]);
    l.ways[0] =
        (struct way){.from = a, .to = b, .queue = calloc(QUEUE_FRAMES, sizeof(struct frame))};
    l.ways[1] =
        (struct way){.from = b, .to = a, .queue = calloc(QUEUE_FRAMES, sizeof(struct frame))};
    if (!l.ways[0].queue || !l.ways[1].queue)
        fail("no", "memory");
    printf("ready\n");
    fflush(stdout);
    serve(&l);
    return 0;
}
