// link: peal_tap
/* What goes when there is no room for all: what comes first, and a short packet behind longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tap/batch.c"

#include <sys/epoll.h>
#include <unistd.h>

#include "tap/stream.h"

static void a_group_keeps_its_first_and_a_short_last(void **state)
{
    static const struct {
        const char *rule;
        unsigned count;
        size_t last_len, room;
        unsigned left;
        size_t left_len;
        bool last_stays;
    } rows[] = {
        {"all fits", 5, 84, 5000, 5, 4084, true},
        {"two, and the short one", 5, 84, 2500, 3, 2084, true},
        {"only the short one", 5, 84, 0, 1, 84, true},
        {"all but one of the long ones", 5, 84, 3999, 4, 3084, true},
        {"the last is as long as the others", 5, 1000, 2500, 2, 2000, false},
        {"the last is shorter, and not short", 5, BATCH_SPARSE_LEN + 1, 2500, 2, 2000, false},
        {"one long packet", 1, 1000, 0, 0, 0, false},
        {"one short packet", 1, 84, 0, 1, 84, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t bytes[5000];
        struct batch_refused refused = {0};
        size_t size = rows[i].count == 1 ? rows[i].last_len : 1000;
        size_t len = (rows[i].count - 1) * size + rows[i].last_len;
        for (size_t at = 0; at < len; at++) {
            bytes[at] = (uint8_t)(1 + at / size);
        }
        struct batch_group g = {.bytes = bytes, .count = rows[i].count, .size = size, .len = len};
        size_t left = group_trim(&g, rows[i].room, &refused);
        bool last_stays = left > 0 && bytes[left - 1] == rows[i].count;
        if (left != rows[i].left_len || g.len != left || g.count != rows[i].left ||
            refused.backlog != rows[i].count - rows[i].left || last_stays != rows[i].last_stays) {
            fail_msg("%s: %u packets, %zu bytes", rows[i].rule, g.count, left);
        }
    }
}

static size_t put_record(uint8_t *out, size_t len, uint8_t fill)
{
    stream_header_put(out, len);
    memset(out + STREAM_HEADER_LEN, fill, len);
    return STREAM_HEADER_LEN + len;
}

/* All that can be read without waiting is thrown away; the last byte of it, 0: none. */
static uint8_t last_byte(int fd)
{
    uint8_t buffer[4096], last = 0;
    for (ssize_t n; (n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0;) {
        last = buffer[n - 1];
    }
    return last;
}

static void a_connection_takes_a_short_packet_behind_what_it_drops(void **state)
{
    enum { LONG = 1200, LONGS = 40, SHORT = 84, BATCHES = 40 };
    static uint8_t records[LONGS * (STREAM_HEADER_LEN + LONG) + STREAM_HEADER_LEN + SHORT];
    int fds[2], epoll_fd = epoll_create1(0);
    size_t len = 0;
    unsigned lost = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    const struct plane_stream config = {.number = 1, .fd = fds[0]};
    struct stream *s = stream_new(&config, epoll_fd, 0);
    assert_non_null(s);
    assert_int_equal(stream_watch(s), 0);
    for (unsigned i = 0; i < LONGS; i++) {
        len += put_record(records + len, LONG, 1);
    }
    size_t longs = len;
    len += put_record(records + len, SHORT, 2);
    while (lost == 0) { /* nobody reads: the kernel is full, then the queue */
        lost = stream_write(s, records, longs, false, 0);
    }
    assert_int_equal(stream_write(s, records, longs, false, 0), LONGS);
    assert_int_equal(stream_write(s, records, len, false, 0), LONGS);
    for (uint8_t last, end = 0; !end; end = last == 2) {
        last = last_byte(fds[1]);
        assert_int_not_equal(last, 0);
        stream_flush(s);
    }
    stream_unwatch(s);
    stream_free(s);
    close(fds[0]);
    close(fds[1]);
    close(epoll_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_keeps_its_first_and_a_short_last),
        cmocka_unit_test(a_connection_takes_a_short_packet_behind_what_it_drops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
