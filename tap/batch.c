#include "tap/batch.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/udp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tap/stream.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

_Static_assert(CMSG_SPACE(sizeof(int)) <= BATCH_CONTROL_LEN, "control messages fit");

/* A path that refused a joined message gets plain ones for so long: routes and paths change. */
static const usec plain_us = SEC(60);

int batch_out_init(struct batch_out *b, int fd)
{
    int none = 0;
    b->bounded = true;
    b->count = b->group_count = 0;
    b->used = 0;
    backlog_init(&b->backlog);
    /* A kernel that does not know the option would ignore the control message. */
    b->joins = setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &none, sizeof(none)) == 0;
    b->buffer = malloc(BATCH_BUFFER_LEN);
    return b->buffer == NULL ? -ERR_NOMEM : 0;
}

void batch_out_clear(struct batch_out *b)
{
    free(b->buffer);
    b->buffer = NULL;
}

static bool is_plain(const struct forward_flow *flow, usec now_us)
{
    return atomic_load_explicit(&flow->plain_until_us, memory_order_relaxed) > now_us;
}

/* The packet may be one more of the last group. */
static bool group_takes(const struct batch_out *b, const uint8_t *packet, size_t len,
                        const union sockaddr_any *to, socklen_t to_len,
                        const struct forward_flow *flow, usec now_us)
{
    if (!b->joins || b->group_count == 0) {
        return false;
    }
    const struct batch_group *g = &b->groups[b->group_count - 1];
    const struct msghdr *h = &b->messages[b->group_count - 1].msg_hdr;
    return packet == g->bytes + g->len && len <= g->size &&
           g->len == g->count * g->size && /* none was shorter yet */
           g->stream == NULL && g->count < BATCH_SEGMENTS && g->len + len <= BATCH_MESSAGE_MAX &&
           g->flow == flow && h->msg_namelen == to_len && memcmp(&g->to, to, to_len) == 0 &&
           !is_plain(flow, now_us);
}

static void group_begin(struct batch_out *b, uint8_t *packet, size_t len,
                        const union sockaddr_any *to, socklen_t to_len, struct forward_flow *flow)
{
    struct batch_group *g = &b->groups[b->group_count];
    g->bytes = packet;
    g->count = 0;
    g->size = len;
    g->len = 0;
    g->flow = flow;
    g->stream = NULL;
    g->to = *to;
    b->messages[b->group_count] = (struct mmsghdr){
        .msg_hdr = {.msg_name = &g->to,
                    .msg_namelen = to_len,
                    .msg_iov = &g->vector,
                    .msg_iovlen = 1},
    };
    b->group_count++;
}

static void group_join(struct batch_group *g, struct msghdr *h, size_t len)
{
    g->count++;
    g->len += len;
    g->vector = (struct iovec){g->bytes, g->len};
    if (g->count == 2) {
        uint16_t size = (uint16_t)g->size;
        h->msg_control = g->control;
        h->msg_controllen = CMSG_SPACE(sizeof(size));
        struct cmsghdr *c = CMSG_FIRSTHDR(h);
        *c = (struct cmsghdr){.cmsg_level = IPPROTO_UDP,
                              .cmsg_type = UDP_SEGMENT,
                              .cmsg_len = CMSG_LEN(sizeof(size))};
        memcpy(CMSG_DATA(c), &size, sizeof(size));
    }
}

void batch_add_lent(struct batch_out *b, uint8_t *packet, size_t len, const union sockaddr_any *to,
                    socklen_t to_len, struct forward_flow *flow, usec now_us)
{
    CHECK(!batch_full(b) && len > 0 && len <= BATCH_ROOM);
    if (!group_takes(b, packet, len, to, to_len, flow, now_us)) {
        group_begin(b, packet, len, to, to_len, flow);
    }
    unsigned last = b->group_count - 1;
    group_join(&b->groups[last], &b->messages[last].msg_hdr, len);
    b->count++;
}

void batch_add_record(struct batch_out *b, uint8_t *record, size_t len, struct stream *stream)
{
    CHECK(!batch_full(b) && len > STREAM_HEADER_LEN && len <= BATCH_ROOM);
    struct batch_group *g = b->group_count > 0 ? &b->groups[b->group_count - 1] : NULL;
    if (g == NULL || g->stream != stream || record != g->bytes + g->len) {
        g = &b->groups[b->group_count++];
        *g = (struct batch_group){.bytes = record, .stream = stream};
    }
    g->count++;
    g->len += len;
    b->used += record == batch_packet(b) ? len : 0;
    b->count++;
}

void batch_add(struct batch_out *b, size_t len, const union sockaddr_any *to, socklen_t to_len,
               struct forward_flow *flow, usec now_us)
{
    batch_add_lent(b, batch_packet(b), len, to, to_len, flow, now_us);
    b->used += len;
}

static void count_refused(struct batch_refused *refused, int err, unsigned packets)
{
    if (err == EMSGSIZE) {
        refused->too_big += packets;
    } else {
        refused->other += packets;
    }
}

static void send_plain(struct batch_out *b, unsigned i, int fd, struct batch_refused *refused)
{
    const struct batch_group *g = &b->groups[i];
    for (size_t at = 0; at < g->len; at += g->size) {
        struct iovec packet = {g->bytes + at, g->len - at < g->size ? g->len - at : g->size};
        struct msghdr h = {.msg_name = b->messages[i].msg_hdr.msg_name,
                           .msg_namelen = b->messages[i].msg_hdr.msg_namelen,
                           .msg_iov = &packet,
                           .msg_iovlen = 1};
        if (sendmsg(fd, &h, MSG_DONTWAIT) < 0) {
            count_refused(refused, errno, 1);
        }
    }
}

/* udp(7): EINVAL and EMSGSIZE when a segment does not fit the path's MTU, EIO when the way out
 * (IPsec, a device without checksums) cannot take joined messages. */
static bool refuses_joined(int err)
{
    return err == EINVAL || err == EMSGSIZE || err == EIO || err == EOPNOTSUPP;
}

static void group_failed(struct batch_out *b, unsigned i, int fd, int err, usec now_us,
                         struct batch_refused *refused)
{
    struct batch_group *g = &b->groups[i];
    if (g->count == 1 || !refuses_joined(err)) {
        count_refused(refused, err, g->count);
        return;
    }
    refused->plain += !is_plain(g->flow, now_us);
    atomic_store_explicit(&g->flow->plain_until_us, now_us + plain_us, memory_order_relaxed);
    send_plain(b, i, fd, refused);
}

static bool is_sparse(const struct batch_group *g)
{
    return g->stream == NULL && g->count == 1 && g->len <= BATCH_SPARSE_LEN;
}

/* Shortens the group to what fits into `room`, perhaps to nothing. A short packet behind longer
 * ones (a ping that came with an upload) moves up. Returns the group's length. */
static size_t group_trim(struct batch_group *g, size_t room, struct batch_refused *refused)
{
    if (g->len > room && !is_sparse(g)) {
        unsigned fit = (unsigned)(room / g->size);
        size_t last = (g->count - 1) * g->size, last_len = g->len - last;
        bool moves = last_len < g->size && last_len <= BATCH_SPARSE_LEN;
        memmove(g->bytes + fit * g->size, g->bytes + last, moves ? last_len : 0);
        refused->backlog += g->count - fit - moves;
        g->count = fit + moves;
        g->len = fit * g->size + (moves ? last_len : 0);
        g->vector.iov_len = g->len;
    }
    return g->len;
}

/* What the kernel took of us and did not send yet, in memory; headers of its own included. */
static size_t waiting_bytes(int fd)
{
    int waiting = 0;
    return ioctl(fd, SIOCOUTQ, &waiting) == 0 && waiting > 0 ? (size_t)waiting : 0;
}

static void trim(struct batch_out *b, int fd, usec now_us, struct batch_refused *refused)
{
    if (b->group_count == 1 && is_sparse(&b->groups[0])) {
        backlog_sent(&b->backlog, b->groups[0].len);
        return; /* it goes in any case, and without a system call more */
    }
    size_t room = backlog_room(&b->backlog, waiting_bytes(fd), now_us);
    for (unsigned i = 0; i < b->group_count; i++) {
        if (b->groups[i].stream != NULL) {
            continue;
        }
        size_t len = group_trim(&b->groups[i], room, refused);
        room = len < room ? room - len : 0;
        backlog_sent(&b->backlog, len);
    }
}

/* How many messages from the first on are sent by one call: up to one that was trimmed away, or
 * goes elsewhere. */
static unsigned sendable(const struct batch_out *b, unsigned first)
{
    unsigned end = first;
    while (end < b->group_count && b->groups[end].count > 0 && b->groups[end].stream == NULL) {
        end++;
    }
    return end - first;
}

static bool goes_by_udp(const struct batch_out *b)
{
    for (unsigned i = 0; i < b->group_count; i++) {
        if (b->groups[i].stream == NULL) {
            return true;
        }
    }
    return false;
}

static unsigned send_stream(const struct batch_group *g, usec now_us)
{
    return g->stream != NULL ? stream_write(g->stream, g->bytes, g->len, false, now_us) : 0;
}

/* sendmmsg stops at the first message that fails and reports why only when it is asked again. */
struct batch_refused batch_send(struct batch_out *b, int fd, usec now_us)
{
    struct batch_refused refused = {0};
    if (b->group_count == 0) {
        return refused;
    }
    if (b->bounded && goes_by_udp(b)) {
        trim(b, fd, now_us, &refused);
    }
    for (unsigned sent = 0, run = 0; sent < b->group_count;) {
        if ((run = sendable(b, sent)) == 0) {
            refused.stream += send_stream(&b->groups[sent], now_us);
            sent++;
            continue;
        }
        int n = sendmmsg(fd, b->messages + sent, run, MSG_DONTWAIT);
        if (n > 0) {
            sent += (unsigned)n;
        } else if (errno != EINTR) {
            group_failed(b, sent, fd, errno, now_us, &refused);
            sent++;
        }
    }
    b->count = b->group_count = 0;
    b->used = 0;
    return refused;
}

static void make_room(struct batch_in *b, unsigned i)
{
    b->vectors[i] = (struct iovec){.iov_base = b->buffers + (size_t)i * BATCH_MESSAGE_ROOM,
                                   .iov_len = BATCH_MESSAGE_ROOM};
    b->messages[i] = (struct mmsghdr){
        .msg_hdr = {.msg_name = &b->names[i],
                    .msg_namelen = sizeof(b->names[i]),
                    .msg_iov = &b->vectors[i],
                    .msg_iovlen = 1,
                    .msg_control = b->controls[i],
                    .msg_controllen = sizeof(b->controls[i])},
    };
}

int batch_in_init(struct batch_in *b, int fd)
{
    int on = 1;
    b->count = 0;
    b->buffers = malloc((size_t)BATCH_MESSAGES_IN * BATCH_MESSAGE_ROOM);
    if (b->buffers == NULL) {
        return -ERR_NOMEM;
    }
    (void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)); /* else they come one by one */
    for (unsigned i = 0; i < BATCH_MESSAGES_IN; i++) {
        make_room(b, i);
    }
    return 0;
}

void batch_in_clear(struct batch_in *b)
{
    free(b->buffers);
    b->buffers = NULL;
}

unsigned batch_receive(struct batch_in *b, int fd)
{
    for (unsigned i = 0; i < b->count; i++) { /* the last round's; the rest is as it was made */
        make_room(b, i);
    }
    int n = recvmmsg(fd, b->messages, BATCH_MESSAGES_IN, MSG_DONTWAIT, NULL);
    b->count = n > 0 ? (unsigned)n : 0;
    return b->count;
}

struct batch_joined batch_message(struct batch_in *b, unsigned i)
{
    struct msghdr *h = &b->messages[i].msg_hdr;
    struct batch_joined m = {.bytes = b->vectors[i].iov_base,
                             .len = b->messages[i].msg_len,
                             .size = b->messages[i].msg_len,
                             .truncated = h->msg_flags & MSG_TRUNC};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        int size = 0;
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&size, CMSG_DATA(c), sizeof(size));
            m.size = size > 0 ? (size_t)size : m.len;
        }
    }
    return m;
}
