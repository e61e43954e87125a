/*
 * packets - how many small datagrams a second a way carries with less than one in a hundred lost.
 *
 *     packets serve ADDRESS PORT            counts what arrives, until it is killed
 *     packets send ADDRESS PORT SIZE        searches; prints packets a second that arrived at the
 *                                           best rate, and how many arrived in the whole search
 *
 * The sender offers a rate for a while, evenly (bursts of what fell due in some tens of
 * microseconds), then asks the server how many of them came, then tries another rate: doubled while
 * all is well, then halving the gap. It ends after STEPS_MAX rates, or when it cannot send faster
 * itself.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------------------------------------------------------+
 *   | number of the step                                            |
 *   +---------------------------------------------------------------+
 *   | kind: 0 a packet that counts, 1 a question, 2 an answer       |
 *   +---------------------------------------------------------------+
 *   | how many came (answers)                                       |
 *   +---------------------------------------------------------------+
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KIND_PACKET, KIND_QUESTION, KIND_ANSWER };

enum {
    SIZE_MAX_BYTES = 1400,
    SIZE_MIN_BYTES = 12,
    BATCH = 64,
    BUFFER_BYTES = 8 << 20, /* of the server's socket: what it cannot hold is not the way's loss */
    STEPS_MAX = 14,
    STEP_US = 200 * 1000,
    PAUSE_NS = 30 * 1000,
    RATE_FIRST = 50 * 1000, /* a second */
    RATE_MAX = 4 * 1000 * 1000,
    QUESTIONS_MAX = 50,
    ANSWER_MS = 20,
    SETTLE_US = 30 * 1000, /* what is on its way arrives */
};

struct message {
    uint32_t step, kind, count;
};

struct batch {
    uint8_t bytes[BATCH][SIZE_MAX_BYTES];
    struct iovec vectors[BATCH];
    struct mmsghdr messages[BATCH];
};

static void die(const char *what)
{
    fprintf(stderr, "packets: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void pause_ns(long ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static int open_socket(const char *address, const char *port, bool serve)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST}, *to = NULL;
    int size = BUFFER_BYTES;
    if (getaddrinfo(address, port, &hints, &to) != 0) {
        errno = EINVAL;
        die(address);
    }
    int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || (serve ? bind(fd, to->ai_addr, to->ai_addrlen)
                         : connect(fd, to->ai_addr, to->ai_addrlen)) != 0) {
        die(address);
    }
    freeaddrinfo(to);
    if (serve && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0) {
        die("SO_RCVBUFFORCE");
    }
    return fd;
}

static void batch_init(struct batch *b, size_t size)
{
    memset(b, 0, sizeof(*b));
    for (unsigned i = 0; i < BATCH; i++) {
        b->vectors[i] = (struct iovec){b->bytes[i], size};
        b->messages[i].msg_hdr = (struct msghdr){.msg_iov = &b->vectors[i], .msg_iovlen = 1};
    }
}

static struct message get_message(const uint8_t *bytes)
{
    struct message m;
    memcpy(&m, bytes, sizeof(m));
    return (struct message){ntohl(m.step), ntohl(m.kind), ntohl(m.count)};
}

static void put_message(uint8_t *bytes, const struct message *m)
{
    struct message wire = {htonl(m->step), htonl(m->kind), htonl(m->count)};
    memcpy(bytes, &wire, sizeof(wire));
}

static void answer(int fd, uint32_t step, uint32_t count)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    uint8_t question[SIZE_MAX_BYTES], bytes[SIZE_MIN_BYTES];
    put_message(bytes, &(struct message){step, KIND_ANSWER, count});
    if (recvfrom(fd, question, sizeof(question), 0, (struct sockaddr *)&from, &len) >= 0) {
        (void)!sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, len);
    }
}

/* Packets are counted in batches; a question is looked at before it is taken, for its sender. */
static void serve(int fd)
{
    static struct batch b;
    uint32_t step = 0, count = 0;
    batch_init(&b, SIZE_MAX_BYTES);
    puts("ready");
    fflush(stdout);
    for (;;) {
        uint8_t head[SIZE_MIN_BYTES];
        if (recv(fd, head, sizeof(head), MSG_PEEK) < (ssize_t)sizeof(head)) {
            continue;
        }
        struct message first = get_message(head);
        if (first.kind == KIND_QUESTION) {
            answer(fd, first.step, first.step == step ? count : 0);
            continue;
        }
        int n = recvmmsg(fd, b.messages, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < n; i++) {
            struct message m = get_message(b.bytes[i]);
            if (m.step != step && m.kind == KIND_PACKET) {
                step = m.step;
                count = 0;
            }
            count += m.kind == KIND_PACKET; /* a question among them is asked again */
        }
    }
}

/* Offers `rate` packets a second for one step. Returns how many were due, and how many went. */
static uint64_t offer(int fd, struct batch *b, uint32_t step, uint64_t rate, uint64_t *went)
{
    uint64_t begin = now_us(), due = 0, passed = 0;
    *went = 0;
    for (unsigned i = 0; i < BATCH; i++) {
        put_message(b->bytes[i], &(struct message){.step = step, .kind = KIND_PACKET});
    }
    while ((passed = now_us() - begin) < STEP_US) {
        due = passed * rate / 1000000;
        if (due <= *went) {
            pause_ns(PAUSE_NS);
            continue;
        }
        unsigned count = due - *went < BATCH ? (unsigned)(due - *went) : BATCH;
        int n = sendmmsg(fd, b->messages, count, 0);
        *went += n > 0 ? (unsigned)n : 1; /* refused is lost */
    }
    return due;
}

/* How many of the step's packets came, or 0 when nobody answers. */
static uint32_t ask(int fd, uint32_t step)
{
    uint8_t bytes[SIZE_MIN_BYTES];
    for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
        struct pollfd p = {fd, POLLIN, 0};
        put_message(bytes, &(struct message){.step = step, .kind = KIND_QUESTION});
        (void)!send(fd, bytes, sizeof(bytes), 0);
        while (poll(&p, 1, ANSWER_MS) > 0) {
            if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) == sizeof(bytes)) {
                struct message m = get_message(bytes);
                if (m.kind == KIND_ANSWER && m.step == step) {
                    return m.count;
                }
            }
        }
    }
    return 0;
}

static uint64_t search(int fd, size_t size, uint64_t *all)
{
    static struct batch b;
    uint64_t best = 0, low = 0, high = RATE_MAX, rate = RATE_FIRST;
    *all = 0;
    batch_init(&b, size);
    for (uint32_t step = 1; step <= STEPS_MAX && high - low > low / 40; step++) {
        uint64_t went = 0, due = offer(fd, &b, step, rate, &went);
        pause_ns(SETTLE_US * 1000L);
        uint64_t came = ask(fd, step);
        *all += came;
        bool lossy = came * 100 < went * 99;
        if (!lossy && came * 1000000 / STEP_US > best) {
            best = came * 1000000 / STEP_US;
        }
        if (!lossy && went * 100 >= due * 95) {
            low = rate;
        } else {
            high = rate; /* lost, or the sender itself cannot do more */
        }
        rate = high == RATE_MAX ? rate * 2 : (low + high) / 2;
    }
    return best;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        serve(open_socket(argv[2], argv[3], true));
    }
    unsigned long size = argc == 5 && strcmp(argv[1], "send") == 0 ? strtoul(argv[4], NULL, 10) : 0;
    if (size < SIZE_MIN_BYTES || size > SIZE_MAX_BYTES) {
        fprintf(stderr, "usage: packets serve ADDRESS PORT | send ADDRESS PORT SIZE (12..1400)\n");
        return 2;
    }
    uint64_t all = 0, best = search(open_socket(argv[2], argv[3], false), size, &all);
    printf("%llu %llu\n", (unsigned long long)best, (unsigned long long)all);
    return 0;
}
