#include "tap/batch.h"

#include <errno.h>
#include <stdlib.h>

static void set_message(struct batch *b, unsigned i, size_t len, socklen_t name_len)
{
    b->vectors[i] = (struct iovec){.iov_base = batch_packet(b, i), .iov_len = len};
    b->messages[i] = (struct mmsghdr){
        .msg_hdr = {.msg_name = &b->names[i],
                    .msg_namelen = name_len,
                    .msg_iov = &b->vectors[i],
                    .msg_iovlen = 1},
    };
}

int batch_init(struct batch *b)
{
    b->count = 0;
    b->buffers = malloc((size_t)BATCH_PACKETS * BATCH_BUFFER_LEN);
    if (b->buffers == NULL) {
        return -ERR_NOMEM;
    }
    for (unsigned i = 0; i < BATCH_PACKETS; i++) {
        set_message(b, i, BATCH_ROOM, sizeof(b->names[i]));
    }
    return 0;
}

void batch_clear(struct batch *b)
{
    free(b->buffers);
    b->buffers = NULL;
}

void batch_add(struct batch *b, size_t len, const union sockaddr_any *to, socklen_t to_len)
{
    CHECK(b->count < BATCH_PACKETS && len <= BATCH_ROOM);
    b->names[b->count] = *to;
    set_message(b, b->count, len, to_len);
    b->count++;
}

/* sendmmsg stops at the first datagram that fails and reports why only when it is asked again. */
struct batch_refused batch_send(struct batch *b, int fd)
{
    struct batch_refused refused = {0};
    for (unsigned sent = 0; sent < b->count;) {
        int n = sendmmsg(fd, b->messages + sent, b->count - sent, MSG_DONTWAIT);
        if (n > 0) {
            sent += (unsigned)n;
        } else if (errno != EINTR) {
            sent++;
            if (errno == EMSGSIZE) {
                refused.too_big++;
            } else {
                refused.other++;
            }
        }
    }
    b->count = 0;
    return refused;
}

unsigned batch_receive(struct batch *b, int fd)
{
    for (unsigned i = 0; i < b->count;
         i++) { /* the last round's; the rest is as batch_init left it */
        set_message(b, i, BATCH_ROOM, sizeof(b->names[i]));
    }
    int n = recvmmsg(fd, b->messages, BATCH_PACKETS, MSG_DONTWAIT, NULL);
    b->count = n > 0 ? (unsigned)n : 0;
    return b->count;
}
