#include "tap/plane.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tap/worker.h"

const struct mac plane_virtual_mac = {{0xfe, 0xfd, 0, 0, 0, 0}};

struct device {
    bool present;
    unsigned features; /* of all queues; enum device_feature */
    struct device_fds fds;
};

struct plane {
    struct plane_config config;
    struct snapshot snapshot;
    struct bell bell;
    unsigned worker_count;            /* started */
    struct batch_out out;             /* of the control thread */
    struct forward_flow *flow;        /* the same: whether some path refuses joined messages */
    uint64_t drops[PLANE_DROP_COUNT]; /* the same */
    unsigned next_ring;               /* where plane_next looks first */
    pthread_mutex_t devices_lock;     /* any thread may write a frame; workers do not take it */
    struct device devices[NETWORKS_MAX];
    /* By number modulo their count. The control thread writes, in a round workers read. */
    _Atomic(struct stream *) streams[PLANE_STREAMS_MAX];
    struct worker workers[];
};

const char *plane_drop_text(enum plane_drop d)
{
    switch (d) {
    case PLANE_DROP_RUNT:
        return "runt";
    case PLANE_DROP_TYPE:
        return "type";
    case PLANE_DROP_NO_SESSION:
        return "no_session";
    case PLANE_DROP_FORGED:
        return "forged";
    case PLANE_DROP_REPLAY:
        return "replay";
    case PLANE_DROP_INNER:
        return "inner";
    case PLANE_DROP_SOURCE:
        return "source";
    case PLANE_DROP_DESTINATION:
        return "destination";
    case PLANE_DROP_TAGGED:
        return "tagged";
    case PLANE_DROP_NOT_UNICAST:
        return "not_unicast";
    case PLANE_DROP_RING_FULL:
        return "ring_full";
    case PLANE_DROP_SEND:
        return "send";
    case PLANE_DROP_BACKLOG:
        return "backlog";
    case PLANE_DROP_TCP_QUEUE:
        return "tcp_queue_full";
    case PLANE_DROP_DEVICE:
        return "device";
    case PLANE_DROP_TOO_BIG:
        return "too_big";
    case PLANE_DROP_RELAY_RATE:
        return "relay_rate";
    case PLANE_DROP_PUBLIC:
        return "public";
    case PLANE_DROP_COUNT:
        break;
    }
    return "unknown";
}

static int start_workers(struct plane *p)
{
    for (unsigned i = 0; i < p->config.workers; i++) {
        int err = worker_start(&p->workers[i], i, &p->config, p->streams, &p->snapshot, &p->bell);
        if (err != 0) {
            return err;
        }
        p->worker_count++;
    }
    return 0;
}

/* What the control thread has to say is not for the workers' bound: it is little, and matters. */
static int prepare_sending(struct plane *p)
{
    p->flow = forward_flow_new(UINT32_MAX);
    if (p->flow == NULL) {
        return -ERR_NOMEM;
    }
    int err = batch_out_init(&p->out, p->config.udp_fd);
    p->out.bounded = false;
    return err;
}

struct plane *plane_new(const struct plane_config *config)
{
    CHECK(config->workers >= 1 && config->workers <= SNAPSHOT_READERS_MAX);
    size_t size = sizeof(struct plane) + config->workers * sizeof(struct worker);
    struct plane *p = NULL;
    struct forward *empty = forward_new();
    if (empty == NULL || posix_memalign((void **)&p, _Alignof(struct plane), size) != 0) {
        forward_free(empty);
        errno = ENOMEM;
        return NULL;
    }
    *p = (struct plane){.config = *config, .bell = {.fd = -1}};
    snapshot_init(&p->snapshot, config->workers, empty);
    pthread_mutex_init(&p->devices_lock, NULL);
    int err = bell_init(&p->bell);
    if (err == 0) {
        err = prepare_sending(p);
    }
    if (err == 0) {
        err = start_workers(p);
    }
    if (err != 0) {
        plane_free(p);
        errno = err == -ERR_NOMEM ? ENOMEM : -err;
        return NULL;
    }
    return p;
}

void plane_free(struct plane *p)
{
    if (p == NULL) {
        return;
    }
    for (unsigned i = 0; i < p->worker_count; i++) {
        worker_stop(&p->workers[i]);
    }
    for (uint16_t n = 0; n < NETWORKS_MAX; n++) {
        if (p->devices[n].present) {
            device_close(&p->devices[n].fds);
        }
    }
    for (unsigned i = 0; i < PLANE_STREAMS_MAX; i++) {
        stream_free(atomic_load(&p->streams[i]));
    }
    batch_out_clear(&p->out);
    forward_flow_unref(p->flow);
    bell_close(&p->bell);
    pthread_mutex_destroy(&p->devices_lock);
    snapshot_clear(&p->snapshot);
    free(p);
}

/* The first `count` workers forget the device; afterwards nobody uses its descriptors. */
static void withdraw(struct plane *p, uint16_t network, const struct device_fds *fds,
                     unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        worker_remove_device(&p->workers[i], network, fds->queues[i]);
    }
    snapshot_synchronize(&p->snapshot);
}

int plane_add_device(struct plane *p, uint16_t network, const struct device_fds *fds)
{
    if (network >= NETWORKS_MAX) {
        return -ERANGE;
    }
    CHECK(fds->count == p->worker_count);
    struct device *d = &p->devices[network];
    if (d->present) {
        return -EEXIST;
    }
    unsigned features = device_offload(fds->queues[0]);
    for (unsigned i = 0; i < p->worker_count; i++) {
        int err = worker_add_device(&p->workers[i], network, fds->queues[i], fds->writer, features);
        if (err != 0) {
            withdraw(p, network, fds, i);
            return err;
        }
    }
    pthread_mutex_lock(&p->devices_lock);
    d->present = true;
    d->features = features;
    d->fds = *fds;
    pthread_mutex_unlock(&p->devices_lock);
    return 0;
}

void plane_remove_device(struct plane *p, uint16_t network)
{
    if (network >= NETWORKS_MAX || !p->devices[network].present) {
        return;
    }
    struct device *d = &p->devices[network];
    pthread_mutex_lock(&p->devices_lock);
    d->present = false;
    pthread_mutex_unlock(&p->devices_lock);
    withdraw(p, network, &d->fds, p->worker_count);
    device_close(&d->fds);
}

/* NULL: the workers do not have it. */
static struct stream *stream_find(const struct plane *p, uint32_t number)
{
    struct stream *s =
        atomic_load_explicit(&p->streams[number % PLANE_STREAMS_MAX], memory_order_relaxed);
    return s != NULL && s->number == number ? s : NULL;
}

int plane_add_stream(struct plane *p, const struct plane_stream *stream)
{
    _Atomic(struct stream *) *slot = &p->streams[stream->number % PLANE_STREAMS_MAX];
    CHECK(stream->number != 0 && atomic_load_explicit(slot, memory_order_relaxed) == NULL);
    struct stream *s = worker_new_stream(&p->workers[stream->number % p->worker_count], stream);
    if (s == NULL) {
        return -ENOMEM;
    }
    atomic_store(slot, s);
    int err = stream_watch(s);
    if (err != 0) {
        plane_remove_stream(p, stream->number);
    }
    return err;
}

void plane_remove_stream(struct plane *p, uint32_t number)
{
    struct stream *s = stream_find(p, number);
    if (s != NULL) {
        atomic_store(&p->streams[number % PLANE_STREAMS_MAX], NULL);
        stream_unwatch(s);
        snapshot_synchronize(&p->snapshot);
        stream_free(s);
    }
}

bool plane_stream_send(struct plane *p, uint32_t number, const uint8_t *pkt, size_t len)
{
    uint8_t record[STREAM_TAIL_BYTES];
    struct stream *s = stream_find(p, number);
    if (s == NULL || len == 0 || len > STREAM_PACKET_MAX) {
        return s != NULL;
    }
    stream_header_put(record, len);
    memcpy(record + STREAM_HEADER_LEN, pkt, len);
    if (stream_write(s, record, STREAM_HEADER_LEN + len, pkt[0] != PACKET_DATA, 0) > 0) {
        p->drops[PLANE_DROP_TCP_QUEUE]++;
    }
    return true;
}

bool plane_stream_ended(const struct plane *p, uint32_t number)
{
    const struct stream *s = stream_find(p, number);
    return s != NULL && atomic_load_explicit(&s->ended, memory_order_relaxed);
}

void plane_publish(struct plane *p, struct forward *f)
{
    snapshot_publish(&p->snapshot, f);
}

int plane_event_fd(const struct plane *p)
{
    return p->bell.fd;
}

/* Takes from the rings in turn. */
static bool take(struct plane *p, struct plane_item *item)
{
    for (unsigned i = 0; i < p->worker_count; i++) {
        struct worker *w = &p->workers[p->next_ring];
        p->next_ring = (p->next_ring + 1) % p->worker_count;
        if (upcall_take(w->upcall, item)) {
            return true;
        }
    }
    return false;
}

bool plane_next(struct plane *p, struct plane_item *item)
{
    if (take(p, item)) {
        return true;
    }
    bell_answer(&p->bell);
    snapshot_reclaim(&p->snapshot);
    if (!take(p, item)) {
        return false;
    }
    bell_ring(&p->bell); /* the caller may stop before the next one is missing */
    return true;
}

void plane_settle(struct plane *p)
{
    for (unsigned i = 0; i < p->worker_count; i++) {
        upcall_settle(p->workers[i].upcall);
    }
}

int plane_write_frame(struct plane *p, uint16_t network, const uint8_t *frame, size_t len)
{
    int err = -ENODEV;
    pthread_mutex_lock(&p->devices_lock);
    if (network < NETWORKS_MAX && p->devices[network].present) {
        const struct device *d = &p->devices[network];
        int fd = d->fds.writer < 0 ? d->fds.queues[0] : d->fds.writer;
        err = device_write(fd, d->features, frame, len);
    }
    pthread_mutex_unlock(&p->devices_lock);
    return err;
}

int plane_send(struct plane *p, const struct endpoint *to, const uint8_t *pkt, size_t len)
{
    union sockaddr_any addr;
    socklen_t addr_len = sockaddr_put(&addr, to, p->config.udp_is_v6);
    if (addr_len == 0) {
        return -EAFNOSUPPORT;
    }
    if (len == 0 || len > BATCH_ROOM) {
        p->drops[PLANE_DROP_TOO_BIG]++;
        return 0;
    }
    if (batch_full(&p->out)) {
        plane_flush(p);
    }
    memcpy(batch_packet(&p->out), pkt, len);
    batch_add(&p->out, len, &addr, addr_len, p->flow, worker_clock());
    return 0;
}

void plane_flush(struct plane *p)
{
    struct batch_refused refused = batch_send(&p->out, p->config.udp_fd, worker_clock());
    p->drops[PLANE_DROP_TOO_BIG] += refused.too_big;
    p->drops[PLANE_DROP_SEND] += refused.other;
}

uint64_t plane_drops(const struct plane *p, enum plane_drop d)
{
    uint64_t sum = p->drops[d];
    for (unsigned i = 0; i < p->worker_count; i++) {
        sum += atomic_load_explicit(&p->workers[i].drops[d], memory_order_relaxed);
    }
    return sum;
}

uint64_t plane_plain_paths(const struct plane *p)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < p->worker_count; i++) {
        sum += atomic_load_explicit(&p->workers[i].plain_paths, memory_order_relaxed);
    }
    return sum;
}

uint64_t plane_relayed(const struct plane *p)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < p->worker_count; i++) {
        sum += atomic_load_explicit(&p->workers[i].relayed, memory_order_relaxed);
    }
    return sum;
}
