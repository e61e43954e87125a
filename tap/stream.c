#include "tap/stream.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "overlay/core/wire.h"
#include "tap/batch.h"

#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT 25
#endif

enum { QUEUE_ROOM = STREAM_QUEUE_BYTES + STREAM_CONTROL_BYTES + STREAM_TAIL_BYTES };

struct stream *stream_new(const struct plane_stream *config, int epoll_fd, uint32_t source)
{
    struct stream *s = calloc(1, sizeof(*s));
    int unsent = STREAM_UNSENT_BYTES;
    if (s == NULL) {
        return NULL;
    }
    s->number = config->number;
    s->remote = config->remote;
    s->fd = config->fd;
    s->coat = config->coat;
    s->wear = config->wear;
    s->epoll_fd = epoll_fd;
    s->source = source;
    backlog_init(&s->backlog);
    pthread_mutex_init(&s->lock, NULL);
    s->queue = malloc(QUEUE_ROOM);
    s->wire = s->coat != NULL ? malloc(STREAM_WIRE_BYTES) : NULL;
    CHECK(config->begun_len < sizeof(s->tail));
    s->tail_len = config->begun_len;
    if (config->begun_len > 0) {
        memcpy(s->tail, config->begun, config->begun_len);
    }
    if (s->queue == NULL || (s->coat != NULL && s->wire == NULL)) {
        stream_free(s);
        return NULL;
    }
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    return s;
}

void stream_free(struct stream *s)
{
    if (s == NULL) {
        return;
    }
    pthread_mutex_destroy(&s->lock);
    free(s->queue);
    free(s->wire);
    free(s);
}

int stream_watch(struct stream *s)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = s->source};
    return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) == 0 ? 0 : -errno;
}

void stream_unwatch(struct stream *s)
{
    (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL); /* ENOENT when it has ended */
}

void stream_end(struct stream *s)
{
    atomic_store_explicit(&s->ended, true, memory_order_relaxed);
    pthread_mutex_lock(&s->lock);
    s->broken = true;
    pthread_mutex_unlock(&s->lock);
    stream_unwatch(s);
}

void stream_header_put(uint8_t *record, size_t len)
{
    put_u16(record, (uint16_t)len);
}

static size_t record_len(const uint8_t *record)
{
    return STREAM_HEADER_LEN + get_u16(record);
}

/* --- Out, under the lock --- */

/* How many bytes the kernel took. Whether the connection has ended its reader finds out. */
static size_t put(struct stream *s, const uint8_t *bytes, size_t len)
{
    ssize_t n = len == 0 ? 0 : send(s->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
        return (size_t)n;
    }
    s->broken = s->broken || (errno != EAGAIN && errno != EINTR);
    return 0;
}

/* True when nothing that came out of the coat is left. */
static bool put_wire(struct stream *s)
{
    while (s->wire_begin == s->wire_end) {
        s->wire_begin = 0;
        s->wire_end = s->coat->output(s->wear, s->wire, STREAM_WIRE_BYTES);
        if (s->wire_end == 0) {
            return true;
        }
        s->wire_begin = put(s, s->wire, s->wire_end);
    }
    s->wire_begin += put(s, s->wire + s->wire_begin, s->wire_end - s->wire_begin);
    return s->wire_begin == s->wire_end;
}

/* What goes into the coat has left, as far as we are concerned. */
static size_t push_coated(struct stream *s, const uint8_t *bytes, size_t len)
{
    size_t done = 0;
    while (done < len && put_wire(s) && !s->broken) {
        size_t chunk = len - done < STREAM_CHUNK_BYTES ? len - done : STREAM_CHUNK_BYTES;
        s->broken = !s->coat->write(s->wear, bytes + done, chunk);
        done += chunk;
    }
    (void)put_wire(s);
    return done;
}

static size_t push(struct stream *s, const uint8_t *bytes, size_t len)
{
    return s->coat != NULL ? push_coated(s, bytes, len) : put(s, bytes, len);
}

static bool is_idle(const struct stream *s)
{
    return s->begin == s->end && s->wire_begin == s->wire_end;
}

/* Its home wakes up when the kernel has room again, as long as something waits. */
static void watch_room(struct stream *s)
{
    bool waits = !is_idle(s) && !s->broken;
    struct epoll_event event = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.u32 = s->source};
    if (waits != s->waits && epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, s->fd, &event) == 0) {
        s->waits = waits;
    }
}

void stream_flush(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    if (!s->broken) {
        s->begin += push(s, s->queue + s->begin, s->end - s->begin);
        if (s->begin == s->end) {
            s->begin = s->end = 0;
        }
    }
    watch_room(s);
    pthread_mutex_unlock(&s->lock);
}

static void enqueue(struct stream *s, const uint8_t *bytes, size_t len)
{
    if (s->end + len > QUEUE_ROOM) {
        memmove(s->queue, s->queue + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->begin = 0;
    }
    CHECK(s->end + len <= QUEUE_ROOM);
    memcpy(s->queue + s->end, bytes, len);
    s->end += len;
}

/* What TCP has sent and the interface's queue and device have not, in memory; a slow link below us
 * makes it wait there, where nothing overtakes it. */
static size_t leaving_bytes(int fd)
{
    uint32_t mem[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof(mem);
    return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len) == 0 ? mem[SK_MEMINFO_WMEM_ALLOC] : 0;
}

/* What waits here and in the kernel for its turn; not what is under way to the far end. */
static size_t waiting_bytes(const struct stream *s)
{
    int unsent = 0;
    size_t here = s->end - s->begin + (s->wire_end - s->wire_begin) + leaving_bytes(s->fd);
    return ioctl(s->fd, SIOCOUTQNSD, &unsent) == 0 && unsent > 0 ? here + (size_t)unsent : here;
}

static bool is_sparse(const uint8_t *records, size_t len)
{
    return len <= BATCH_SPARSE_LEN && len == record_len(records);
}

/* The whole packets that fit into `room`, and at least what ends the packet that `begun` is in. */
static size_t fitting(const uint8_t *records, size_t len, size_t begun, size_t room)
{
    size_t fit = 0;
    if (len <= room) {
        return len;
    }
    while (fit < begun || fit + record_len(records + fit) <= room) {
        fit += record_len(records + fit);
    }
    return fit;
}

static unsigned count(const uint8_t *records, size_t len)
{
    unsigned n = 0;
    for (size_t at = 0; at < len; at += record_len(records + at)) {
        n++;
    }
    return n;
}

static size_t write_locked(struct stream *s, const uint8_t *records, size_t len, bool control,
                           usec now_us)
{
    s->now_us = now_us > s->now_us ? now_us : s->now_us;
    bool exempt = control || is_sparse(records, len);
    size_t room = exempt ? SIZE_MAX : backlog_room(&s->backlog, waiting_bytes(s), s->now_us);
    size_t fit = fitting(records, len, 0, room);
    size_t pushed = is_idle(s) ? push(s, records, fit) : 0;
    size_t queued = s->end - s->begin;
    size_t limit = STREAM_QUEUE_BYTES + (control ? STREAM_CONTROL_BYTES : 0);
    room = pushed + (queued < limit ? limit - queued : 0);
    fit = fitting(records, fit, pushed, room);
    enqueue(s, records + pushed, fit - pushed);
    backlog_sent(&s->backlog, fit);
    return fit;
}

/* What does not fit, but for a small packet among larger ones (a ping that came with an upload). */
static unsigned drop(struct stream *s, const uint8_t *records, size_t len, usec now_us)
{
    unsigned dropped = 0;
    bool small = false;
    for (size_t at = 0, n = 0; at < len; at += n) {
        bool after_small = small;
        n = record_len(records + at);
        small = is_sparse(records + at, n);
        dropped += after_small || !small || write_locked(s, records + at, n, false, now_us) == 0;
    }
    return dropped;
}

unsigned stream_write(struct stream *s, const uint8_t *records, size_t len, bool control,
                      usec now_us)
{
    size_t fit = 0;
    unsigned dropped = 0;
    pthread_mutex_lock(&s->lock);
    if (!s->broken) {
        fit = write_locked(s, records, len, control, now_us);
        dropped = fit < len ? drop(s, records + fit, len - fit, now_us) : 0;
        watch_room(s);
    } else {
        dropped = count(records, len);
    }
    pthread_mutex_unlock(&s->lock);
    return dropped;
}

/* --- In, by its home --- */

/* Bytes, 0: none now, -1: the end. */
static ssize_t get(const struct stream *s, uint8_t *out, size_t size)
{
    ssize_t n = recv(s->fd, out, size, MSG_DONTWAIT);
    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    return n == 0 ? -1 : n;
}

/* What the coat wants to say by itself (new keys of its own) must leave too. */
static ssize_t uncoat(struct stream *s, const uint8_t *wire, size_t wire_len, uint8_t *out)
{
    enum { SIZE = STREAM_ROOM - STREAM_TAIL_BYTES };
    size_t len = 0;
    int n = s->coat->input(s->wear, wire, wire_len) ? 0 : -1;
    while (n >= 0 && len < SIZE && (n = s->coat->read(s->wear, out + len, SIZE - len)) > 0) {
        len += (size_t)n;
    }
    if (is_idle(s)) {
        (void)put_wire(s);
        watch_room(s);
    }
    return n < 0 && len == 0 ? -1 : (ssize_t)len;
}

static ssize_t get_coated(struct stream *s, uint8_t *out, uint8_t *wire)
{
    ssize_t n = get(s, wire, STREAM_READ_BYTES);
    if (n <= 0) {
        return n;
    }
    pthread_mutex_lock(&s->lock);
    n = uncoat(s, wire, (size_t)n, out);
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool stream_read(struct stream *s, uint8_t *room, uint8_t *wire, struct stream_cut *cut)
{
    uint8_t *at = room + STREAM_TAIL_BYTES;
    ssize_t n = s->coat != NULL ? get_coated(s, at, wire) : get(s, at, STREAM_READ_BYTES);
    *cut = (struct stream_cut){.at = at - s->tail_len, .end = at + (n > 0 ? n : 0)};
    memcpy(cut->at, s->tail, s->tail_len);
    return n >= 0;
}

uint8_t *stream_next(struct stream_cut *cut, size_t *len)
{
    size_t left = (size_t)(cut->end - cut->at);
    uint8_t *record = cut->at;
    *len = left < STREAM_HEADER_LEN ? 0 : get_u16(record);
    if (cut->garbage || left < STREAM_HEADER_LEN) {
        return NULL;
    }
    if (*len == 0 || *len > STREAM_PACKET_MAX) {
        cut->garbage = true;
        return NULL;
    }
    if (left < STREAM_HEADER_LEN + *len) {
        return NULL;
    }
    cut->at += STREAM_HEADER_LEN + *len;
    return record + STREAM_HEADER_LEN;
}

void stream_keep(struct stream *s, const struct stream_cut *cut)
{
    s->tail_len = (size_t)(cut->end - cut->at);
    CHECK(s->tail_len < sizeof(s->tail));
    memcpy(s->tail, cut->at, s->tail_len);
}
