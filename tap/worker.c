#include "tap/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tap/device.h"
#include "tap/sibling.h"

enum { STACK_BYTES = 256 * 1024 };

static const usec resolve_interval_us = SEC(1); /* as often as the kernel repeats an ARP request */

/* What an epoll event is about; a device's network number otherwise, or a connection's slot. */
enum { SOURCE_STOP = NETWORKS_MAX, SOURCE_UDP, SOURCE_STREAMS };

enum { EVENTS_MAX = 128 }; /* of one round; the rest is told in the next */

void worker_drop(struct worker *w, enum plane_drop why)
{
    uint64_t n = atomic_load_explicit(&w->drops[why], memory_order_relaxed);
    atomic_store_explicit(&w->drops[why], n + 1, memory_order_relaxed);
}

void worker_upcall(struct worker *w, const struct plane_item *item)
{
    if (!upcall_put(w->upcall, item)) {
        worker_drop(w, PLANE_DROP_RING_FULL);
    }
    w->has_upcalls = true;
}

void worker_resolve(struct worker *w, uint16_t network, const struct addr *addr)
{
    if (seldom_pass(&w->seldom, SELDOM_RESOLVE, network, addr, w->now_us, resolve_interval_us)) {
        worker_upcall(
            w, &(struct plane_item){.kind = PLANE_RESOLVE, .network = network, .addr = *addr});
    }
}

void worker_lose_device(struct worker *w, uint16_t network)
{
    int fd = atomic_exchange(&w->devices[network], -1);
    atomic_store(&w->writers[network], -1);
    if (fd >= 0) {
        (void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    }
}

unsigned worker_features(const struct worker *w, uint16_t network)
{
    return atomic_load_explicit(&w->features[network], memory_order_relaxed);
}

/* A frame that was not taken: the device is down (EIO) or its queue is full, which passes; or it is
 * gone. */
static void not_written(struct worker *w, uint16_t network, int err)
{
    worker_drop(w, PLANE_DROP_DEVICE);
    if (err == EBADFD || err == ENODEV) {
        worker_lose_device(w, network);
    }
}

void worker_write_frame(struct worker *w, uint16_t network, const uint8_t *frame, size_t len)
{
    int fd = atomic_load_explicit(&w->writers[network], memory_order_relaxed);
    int err = fd < 0 ? -EAGAIN : device_write(fd, worker_features(w, network), frame, len);
    if (err != 0) {
        not_written(w, network, -err);
    }
}

void worker_write_vectors(void *worker, uint16_t network, const struct iovec *vectors, int count)
{
    struct worker *w = worker;
    int fd = atomic_load_explicit(&w->writers[network], memory_order_relaxed);
    if (fd < 0 || writev(fd, vectors, count) < 0) {
        not_written(w, network, fd < 0 ? EAGAIN : errno);
    }
}

usec worker_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return SEC(t.tv_sec) + (usec)t.tv_nsec / 1000;
}

static struct stream *stream_at(const struct worker *w, uint32_t slot)
{
    return atomic_load_explicit(&w->streams[slot], memory_order_acquire);
}

struct stream *worker_stream(const struct worker *w, uint32_t number)
{
    struct stream *s = stream_at(w, number % PLANE_STREAMS_MAX);
    return s != NULL && s->number == number ? s : NULL;
}

/* It may be gone, or another one, since the kernel told us: then there is nothing to read. */
static void serve_stream(struct worker *w, const struct epoll_event *event)
{
    struct stream *s = stream_at(w, event->data.u32 - SOURCE_STREAMS);
    if (s != NULL && (event->events & EPOLLOUT)) {
        stream_flush(s);
    }
    if (s != NULL && (event->events & ~(uint32_t)EPOLLOUT)) {
        inbound_serve_stream(w, s);
    }
}

/* False: stop. */
static bool serve(struct worker *w, const struct epoll_event *event)
{
    bool failing = event->events & (EPOLLERR | EPOLLHUP);
    switch (event->data.u32) {
    case SOURCE_STOP:
        return false;
    case SOURCE_UDP:
        inbound_serve(w, failing);
        return true;
    default:
        if (event->data.u32 >= SOURCE_STREAMS) {
            serve_stream(w, event);
            return true;
        }
        outbound_serve(w, (uint16_t)event->data.u32, failing);
        return true;
    }
}

static bool serve_round(struct worker *w, const struct epoll_event *events, int count)
{
    snapshot_enter(w->snapshot, w->number);
    w->now_us = worker_clock();
    bool go_on = true;
    for (int i = 0; i < count && go_on; i++) {
        go_on = serve(w, &events[i]);
    }
    bool writer_waits = snapshot_leave(w->snapshot, w->number);
    if (w->has_upcalls || writer_waits) {
        w->has_upcalls = false;
        bell_ring(w->bell);
    }
    return go_on;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[EVENTS_MAX];
    int count = 0;
    do {
        count = epoll_wait(w->epoll_fd, events, EVENTS_MAX, -1);
    } while (count <= 0 || serve_round(w, events, count));
    return NULL;
}

static int watch(struct worker *w, int fd, uint32_t source, uint32_t flags)
{
    struct epoll_event event = {.events = EPOLLIN | flags, .data.u32 = source};
    return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static void forget_device(struct worker *w, uint16_t network)
{
    atomic_store(&w->devices[network], -1);
    atomic_store(&w->writers[network], -1);
}

int worker_add_device(struct worker *w, uint16_t network, int queue, int writer, unsigned features)
{
    atomic_store(&w->features[network], (uint8_t)features);
    atomic_store(&w->devices[network], queue);
    atomic_store(&w->writers[network], writer < 0 ? queue : writer);
    int err = watch(w, queue, network, 0);
    if (err != 0) {
        forget_device(w, network);
    }
    return err;
}

void worker_remove_device(struct worker *w, uint16_t network, int fd)
{
    forget_device(w, network);
    (void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* ENOENT when it was lost before */
}

struct stream *worker_new_stream(struct worker *w, const struct plane_stream *config)
{
    return stream_new(config, w->epoll_fd, SOURCE_STREAMS + config->number % PLANE_STREAMS_MAX);
}

/* The thread has no signals, a small stack and a name. */
static int start_thread(struct worker *w)
{
    pthread_attr_t attr;
    sigset_t all, before;
    char name[16];
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&w->thread, &attr, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (err == 0) {
        snprintf(name, sizeof(name), "peal-data/%u", w->number);
        (void)pthread_setname_np(w->thread, name);
    }
    return -err;
}

static void release(struct worker *w)
{
    if (w->epoll_fd >= 0) {
        close(w->epoll_fd);
    }
    if (w->stop_fd >= 0) {
        close(w->stop_fd);
    }
    if (w->owns_udp_fd) {
        close(w->udp_fd);
    }
    batch_out_clear(&w->out);
    batch_in_clear(&w->in);
    free(w->frame);
    free(w->stream_room);
    free(w->stream_wire);
    seal_worker_free(w->seal);
    upcall_free(w->upcall);
}

static void take_sibling(struct worker *w)
{
    int fd = w->number > 0 ? sibling_open(w->udp_fd) : -1;
    if (fd >= 0) {
        w->udp_fd = fd;
        w->owns_udp_fd = true;
    }
}

static int allocate(struct worker *w)
{
    w->seal = seal_worker_new();
    w->upcall = upcall_new();
    w->frame = malloc(WORKER_FRAME_ROOM);
    w->stream_room = malloc(STREAM_ROOM);
    w->stream_wire = malloc(STREAM_READ_BYTES);
    coalesce_init(&w->coalesce, worker_write_vectors, w);
    if (w->seal == NULL || w->upcall == NULL || w->frame == NULL || w->stream_room == NULL ||
        w->stream_wire == NULL || batch_out_init(&w->out, w->udp_fd) != 0 ||
        batch_in_init(&w->in, w->udp_fd) != 0) {
        return -ERR_NOMEM;
    }
    return 0;
}

static int open_descriptors(struct worker *w)
{
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->epoll_fd < 0 || w->stop_fd < 0) {
        return -errno;
    }
    int err = watch(w, w->stop_fd, SOURCE_STOP, 0);
    if (err == 0 && w->udp_fd >= 0) {
        /* Where it is shared, one worker wakes up, not all. */
        err = watch(w, w->udp_fd, SOURCE_UDP, EPOLLEXCLUSIVE);
    }
    return err;
}

int worker_start(struct worker *w, unsigned number, const struct plane_config *config,
                 _Atomic(struct stream *) *streams, struct snapshot *snapshot, struct bell *bell)
{
    *w = (struct worker){.number = number,
                         .udp_fd = config->udp_fd,
                         .udp_is_v6 = config->udp_is_v6,
                         .streams = streams,
                         .snapshot = snapshot,
                         .bell = bell,
                         .epoll_fd = -1,
                         .stop_fd = -1};
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        atomic_init(&w->devices[i], -1);
        atomic_init(&w->writers[i], -1);
    }
    take_sibling(w);
    int err = allocate(w);
    if (err == 0) {
        err = open_descriptors(w);
    }
    if (err == 0) {
        err = start_thread(w);
    }
    if (err != 0) {
        release(w);
    }
    return err;
}

void worker_stop(struct worker *w)
{
    uint64_t one = 1;
    ssize_t n = write(w->stop_fd, &one, sizeof(one));
    CHECK(n == sizeof(one));
    pthread_join(w->thread, NULL);
    release(w);
}
