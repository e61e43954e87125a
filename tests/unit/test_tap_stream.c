// link: peal_tap
/* Packets over connections, through whole planes: in batches, in pieces, through a coat, with too
 * much of them, and over relays. */
#include "tests/unit/plane_world.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CONN = 7, RECORD_MAX = STREAM_TAIL_BYTES };

static void socket_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
}

static struct endpoint remote_of(const char *text)
{
    return (struct endpoint){addr_of(text), 4747};
}

static void hand_over(struct machine *m, int fd, const struct plane_coat *coat, void *wear)
{
    const struct plane_stream s = {
        .number = CONN, .fd = fd, .remote = remote_of("192.0.2.1"), .coat = coat, .wear = wear};
    assert_int_equal(plane_add_stream(m->plane, &s), 0);
}

/* As table_of, over the connection. */
static struct forward *table_over(const struct machine *m, unsigned peer_number, uint32_t channel,
                                  struct seal_key *tx, struct seal_key *rx)
{
    struct forward *f = forward_new();
    struct forward_peer peer = {.path = channel != 0 ? FORWARD_RELAY : FORWARD_TCP,
                                .conn = CONN,
                                .channel = channel,
                                .tx = tx,
                                .flow = m->flow};
    char text[ADDR_TEXT_SIZE];
    assert_int_equal(forward_set_network(f, 0, &m->network), 0);
    int p = forward_add_peer(f, &peer);
    snprintf(text, sizeof(text), "10.77.0.%u", peer_number);
    struct addr v4 = addr_of(text);
    assert_int_equal(forward_add_address(f, p, &v4), 0);
    assert_int_equal(forward_add_rx(f, p, rx), 0);
    return f;
}

/* Two machines with a connection between them. */
struct joined {
    struct machine a, b;
    int fds[2];
};

static void joined_start(struct joined *j, unsigned workers)
{
    struct seal_key *ab_tx = tx_key(0), *ab_rx = rx_key(0), *ba_tx = tx_key(1), *ba_rx = rx_key(1);
    machine_start(&j->a, 2, workers);
    machine_start(&j->b, 3, workers);
    socket_pair(j->fds);
    plane_publish(j->a.plane, table_over(&j->a, 3, 0, ab_tx, ba_rx));
    plane_publish(j->b.plane, table_over(&j->b, 2, 0, ba_tx, ab_rx));
    seal_key_unref(ab_tx);
    seal_key_unref(ab_rx);
    seal_key_unref(ba_tx);
    seal_key_unref(ba_rx);
}

static void joined_stop(struct joined *j)
{
    plane_remove_stream(j->a.plane, CONN);
    plane_remove_stream(j->b.plane, CONN);
    machine_stop(&j->a);
    machine_stop(&j->b);
    close(j->fds[0]);
    close(j->fds[1]);
}

static void carry_both_ways(struct machine *a, struct machine *b)
{
    for (uint8_t i = 0; i < 50; i++) {
        carry(a, "10.77.0.2", b, "10.77.0.3", i, 1 + i * 27u);
        carry(b, "10.77.0.3", a, "10.77.0.2", i, 1 + i * 27u);
    }
}

static void data_goes_over_a_connection_once_it_was_handed_over(void **state)
{
    struct joined j;
    struct plane_item item;
    uint8_t frame[200];
    joined_start(&j, 1);
    size_t len = put_frame(frame, "10.77.0.2", "10.77.0.3", "early", 5);
    push(&j.a, frame, len);
    next_item(&j.a, &item); /* until then it is the control thread's */
    assert_int_equal(item.kind, PLANE_FRAME);
    assert_int_equal(item.len, len);
    plane_settle(j.a.plane);
    assert_false(plane_stream_send(j.a.plane, CONN, frame, 20));
    hand_over(&j.a, j.fds[0], NULL, NULL);
    hand_over(&j.b, j.fds[1], NULL, NULL);
    carry_both_ways(&j.a, &j.b);
    counts_to(&j.a.flow->rx_packets, 50);
    assert_false(plane_next(j.a.plane, &item)); /* it roams nowhere */
    assert_false(plane_next(j.b.plane, &item));
    joined_stop(&j);
}

/* A coat that turns every byte over and hands its output out in odd pieces. */
struct turned {
    size_t in, out;
    uint8_t in_bytes[2 * STREAM_WIRE_BYTES], out_bytes[2 * STREAM_WIRE_BYTES];
};

static void turn(uint8_t *to, const uint8_t *from, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        to[i] = from[i] ^ 0xa5;
    }
}

static bool turned_input(void *wear, const uint8_t *bytes, size_t len)
{
    struct turned *t = wear;
    turn(t->in_bytes + t->in, bytes, len);
    t->in += len;
    return true;
}

static int turned_read(void *wear, uint8_t *out, size_t size)
{
    struct turned *t = wear;
    size_t n = t->in < size ? t->in : size;
    n = n > 999 ? 999 : n;
    memcpy(out, t->in_bytes, n);
    memmove(t->in_bytes, t->in_bytes + n, t->in - n);
    t->in -= n;
    return (int)n;
}

static bool turned_write(void *wear, const uint8_t *bytes, size_t len)
{
    struct turned *t = wear;
    turn(t->out_bytes + t->out, bytes, len);
    t->out += len;
    return true;
}

static size_t turned_output(void *wear, uint8_t *out, size_t size)
{
    struct turned *t = wear;
    size_t n = t->out < size ? t->out : size;
    n = n > 777 ? 777 : n;
    memcpy(out, t->out_bytes, n);
    memmove(t->out_bytes, t->out_bytes + n, t->out - n);
    t->out -= n;
    return n;
}

static const struct plane_coat turned_coat = {turned_input, turned_read, turned_write,
                                              turned_output};

static void bytes_go_through_the_coat_both_ways(void **state)
{
    static struct turned a, b;
    struct joined j;
    joined_start(&j, 1);
    hand_over(&j.a, j.fds[0], &turned_coat, &a);
    hand_over(&j.b, j.fds[1], &turned_coat, &b);
    carry_both_ways(&j.a, &j.b);
    joined_stop(&j);
}

static size_t put_control(uint8_t *record, size_t len)
{
    memset(record + STREAM_HEADER_LEN, (int)len, len);
    record[STREAM_HEADER_LEN] = PACKET_CONTROL;
    stream_header_put(record, len);
    return STREAM_HEADER_LEN + len;
}

static void write_all(int fd, const uint8_t *bytes, size_t len)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    for (size_t at = 0; at < len;) {
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        ssize_t n = write(fd, bytes + at, len - at);
        at += n > 0 ? (size_t)n : 0;
    }
}

/* What no datagram could be is the only thing that does not come through. */
static void packets_come_whole_in_whatever_pieces(void **state)
{
    static const size_t lens[] = {40, 1, 1500, STREAM_PACKET_MAX, 17};
    static uint8_t bytes[5 * RECORD_MAX];
    size_t total = 0;
    struct machine m;
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        total += put_control(bytes + total, lens[i]);
    }
    machine_start(&m, 2, 1);
    for (size_t piece = 1; piece < 2 * total; piece = piece * 2 + 1) {
        struct plane_item item;
        int fds[2];
        socket_pair(fds);
        /* What came before it was handed over is not lost either. */
        const struct plane_stream s = {.number = CONN,
                                       .fd = fds[0],
                                       .remote = remote_of("192.0.2.1"),
                                       .begun = bytes,
                                       .begun_len = 3};
        assert_int_equal(plane_add_stream(m.plane, &s), 0);
        for (size_t at = 3; at < total; at += piece) {
            write_all(fds[1], bytes + at, total - at < piece ? total - at : piece);
        }
        for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
            if (lens[i] < STREAM_PACKET_MAX) {
                next_item(&m, &item);
                assert_int_equal(item.kind, PLANE_PACKET);
                assert_int_equal(item.conn, CONN);
                assert_true(endpoint_eq(&item.from, &s.remote));
                assert_int_equal(item.len, lens[i]);
                assert_int_equal(item.bytes[lens[i] - 1], i == 1 ? 0x82 : (uint8_t)lens[i]);
            }
        }
        plane_remove_stream(m.plane, CONN);
        close(fds[0]);
        close(fds[1]);
    }
    assert_true(plane_drops(m.plane, PLANE_DROP_TOO_BIG) > 8);
    machine_stop(&m);
}

static void what_is_no_stream_of_packets_ends_it(void **state)
{
    static const struct {
        const char *rule;
        uint8_t bytes[5];
        size_t len;
        bool garbage;
    } rows[] = {
        {"a length of 0", {0, 0, 0x82, 1, 2}, 5, true},
        {"longer than any packet", {0xff, 0xff, 0x82, 1, 2}, 5, true},
        {"what only UDP carries", {0, 3, 0x00, 1, 2}, 5, true},
        {"the end", {0}, 0, false},
        {"the end amid a packet", {0, 9, 0x82, 1, 2}, 5, false},
    };
    struct machine m;
    machine_start(&m, 2, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct plane_item item;
        int fds[2];
        socket_pair(fds);
        hand_over(&m, fds[0], NULL, NULL);
        write_all(fds[1], rows[i].bytes, rows[i].len);
        if (!rows[i].garbage) {
            assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
        }
        next_item(&m, &item);
        if (item.kind != PLANE_STREAM_ENDED || item.conn != CONN || item.flags != rows[i].garbage ||
            !plane_stream_ended(m.plane, CONN)) {
            fail_msg("%s", rows[i].rule);
        }
        plane_remove_stream(m.plane, CONN);
        assert_false(plane_stream_ended(m.plane, CONN));
        close(fds[0]);
        close(fds[1]);
    }
    machine_stop(&m);
}

static void read_all(int fd, uint8_t *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        assert_true(wait_readable(fd));
        ssize_t n = read(fd, bytes + at, len - at);
        assert_true(n > 0);
        at += (size_t)n;
    }
}

/* Reads the next packet of a stream that is open; its length. */
static size_t read_packet(int fd, uint8_t *packet)
{
    uint8_t head[STREAM_HEADER_LEN];
    read_all(fd, head, sizeof(head));
    read_all(fd, packet, get_u16(head));
    return get_u16(head);
}

/* Above what fits nothing is sent in parts, nothing changes places, and what the control thread has
 * to say still goes. */
static void a_far_end_that_does_not_read_loses_whole_packets(void **state)
{
    enum { FRAMES = 2000, SIZE = 1200 };
    struct joined j;
    uint8_t frame[1600], data[SIZE], packet[RECORD_MAX], *inner = packet + PACKET_HEADER_LEN;
    joined_start(&j, 1);
    hand_over(&j.a, j.fds[0], NULL, NULL);
    for (uint16_t i = 0; i < FRAMES; i++) {
        memset(data, i, sizeof(data));
        put_u16(data, i);
        push(&j.a, frame, put_frame(frame, "10.77.0.2", "10.77.0.3", data, sizeof(data)));
        if (i % 64 == 63) {
            sync_device(&j.a);
        }
    }
    sync_device(&j.a);
    snapshot_synchronize(&j.a.plane->snapshot); /* what was read has been sent */
    uint64_t lost = plane_drops(j.a.plane, PLANE_DROP_TCP_QUEUE);
    assert_true(lost > FRAMES / 4);
    memset(packet, PACKET_CONTROL, 100);
    assert_true(plane_stream_send(j.a.plane, CONN, packet, 100));

    struct seal_worker *w = seal_worker_new();
    struct seal_key *rx = rx_key(0);
    unsigned found = 0;
    int last = -1;
    while (read_packet(j.fds[1], packet) != 100) {
        size_t len = PACKET_HEADER_LEN + 28 + SIZE + PACKET_TAG_LEN;
        assert_int_equal(open_packet(w, rx, packet, len), 28 + SIZE);
        assert_true(get_u16(inner + 28) > last);
        last = get_u16(inner + 28);
        assert_int_equal(inner[28 + SIZE - 1], (uint8_t)last);
        found++;
    }
    assert_int_equal(packet[99], PACKET_CONTROL);
    assert_int_equal(found + lost, FRAMES);
    /* And there is room again. */
    hand_over(&j.b, j.fds[1], NULL, NULL);
    carry_both_ways(&j.a, &j.b);
    seal_key_unref(rx);
    seal_worker_free(w);
    joined_stop(&j);
}

/* Where there is no room: a ping in the middle of an upload, but not every one of many. */
static void a_small_packet_among_larger_ones_goes_in_any_case(void **state)
{
    static const size_t lens[] = {1400, 80, 1400, 1400, 90, 91, 92, 1400};
    static uint8_t bytes[ARRAY_LEN(lens) * RECORD_MAX];
    uint8_t packet[RECORD_MAX];
    size_t total = 0;
    int fds[2], epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        total += put_control(bytes + total, lens[i]);
    }
    socket_pair(fds);
    const struct plane_stream config = {.number = CONN, .fd = fds[0]};
    struct stream *s = stream_new(&config, epoll_fd, 0);
    assert_int_equal(stream_watch(s), 0);
    s->backlog = (struct backlog){.begin_us = SEC(1), .least = SIZE_MAX, .limit = 1000};
    assert_int_equal(stream_write(s, bytes, total, false, SEC(1)), ARRAY_LEN(lens) - 2);
    assert_int_equal(read_packet(fds[1], packet), 80);
    assert_int_equal(read_packet(fds[1], packet), 90);
    assert_int_equal(recv(fds[1], packet, 1, MSG_DONTWAIT), -1);
    stream_free(s);
    close(fds[0]);
    close(fds[1]);
    close(epoll_fd);
}

enum { A_IN = 0x01aaaaaa, B_IN = 0x01bbbbbb, R_FROM_A = 0x01000a0a, R_FROM_B = 0x01000b0b };

/* One of the two ends of a relay. */
struct side {
    struct machine m;
    bool tcp;
    int fds[2]; /* the end's, the relay's */
};

static void side_start(struct side *s, unsigned number, bool tcp)
{
    machine_start(&s->m, number, 1);
    s->tcp = tcp;
    socket_pair(s->fds);
    if (tcp) {
        hand_over(&s->m, s->fds[0], NULL, NULL);
    }
}

static void side_stop(struct side *s)
{
    plane_remove_stream(s->m.plane, CONN);
    machine_stop(&s->m);
    close(s->fds[0]);
    close(s->fds[1]);
}

static void side_table(struct side *s, const struct machine *r, unsigned peer_number, uint32_t out,
                       uint32_t in, unsigned direction)
{
    struct seal_key *tx = tx_key(direction), *rx = rx_key(1 - direction);
    struct forward *f = forward_new();
    struct forward_leg leg = {
        .channel = in, .from = r->at, .from_conn = s->tcp ? CONN : 0, .ends_here = true};
    struct forward_peer peer = {.path = FORWARD_RELAY,
                                .to = r->at,
                                .conn = s->tcp ? CONN : 0,
                                .channel = out,
                                .tx = tx,
                                .flow = s->m.flow};
    char text[ADDR_TEXT_SIZE];
    assert_int_equal(forward_set_network(f, 0, &s->m.network), 0);
    int p = forward_add_peer(f, &peer);
    snprintf(text, sizeof(text), "10.77.0.%u", peer_number);
    struct addr v4 = addr_of(text);
    assert_int_equal(forward_add_address(f, p, &v4), 0);
    assert_int_equal(forward_add_rx(f, p, rx), 0);
    assert_int_equal(forward_add_leg(f, &leg), 0);
    plane_publish(s->m.plane, f);
    seal_key_unref(tx);
    seal_key_unref(rx);
}

enum { R_CONN_A = 11, R_CONN_B = 12 };

static void relay_side(struct machine *r, const struct side *s, uint32_t number)
{
    const struct plane_stream stream = {.number = number, .fd = s->fds[1]};
    if (s->tcp) {
        assert_int_equal(plane_add_stream(r->plane, &stream), 0);
    }
}

static void relay_table(struct machine *r, const struct side *a, const struct side *b,
                        struct meter *meter)
{
    struct forward *f = forward_new();
    struct forward_leg there = {.channel = R_FROM_A,
                                .from = a->m.at,
                                .from_conn = a->tcp ? R_CONN_A : 0,
                                .to = b->m.at,
                                .to_conn = b->tcp ? R_CONN_B : 0,
                                .onward = B_IN,
                                .each = meter,
                                .all = meter};
    struct forward_leg back = {.channel = R_FROM_B,
                               .from = b->m.at,
                               .from_conn = b->tcp ? R_CONN_B : 0,
                               .to = a->m.at,
                               .to_conn = a->tcp ? R_CONN_A : 0,
                               .onward = A_IN,
                               .each = meter,
                               .all = meter};
    assert_int_equal(forward_add_leg(f, &there), 0);
    assert_int_equal(forward_add_leg(f, &back), 0);
    plane_publish(r->plane, f);
}

static void a_relay_joins_connections_and_datagrams(void **state)
{
    for (unsigned kinds = 0; kinds < 4; kinds++) {
        struct meter *meter = meter_new(0);
        struct side a, b;
        struct machine r;
        struct plane_item item;
        machine_start(&r, 9, 1);
        side_start(&a, 2, kinds & 1);
        side_start(&b, 3, kinds & 2);
        side_table(&a, &r, 3, R_FROM_A, A_IN, 0);
        side_table(&b, &r, 2, R_FROM_B, B_IN, 1);
        relay_side(&r, &a, R_CONN_A);
        relay_side(&r, &b, R_CONN_B);
        relay_table(&r, &a, &b, meter);
        carry_both_ways(&a.m, &b.m);
        assert_int_equal(plane_relayed(r.plane), 100);
        assert_false(plane_next(r.plane, &item));
        plane_remove_stream(r.plane, R_CONN_A);
        plane_remove_stream(r.plane, R_CONN_B);
        side_stop(&a);
        side_stop(&b);
        machine_stop(&r);
        meter_unref(meter);
    }
}

/* A channel is of the connection that it was made on, and of no other. */
static void a_relay_packet_by_another_way_is_handed_up(void **state)
{
    struct meter *meter = meter_new(0);
    struct side a, b;
    struct machine r;
    struct plane_item item;
    uint8_t record[STREAM_HEADER_LEN + 60] = {0};
    machine_start(&r, 9, 1);
    side_start(&a, 2, true);
    side_start(&b, 3, true);
    relay_side(&r, &a, R_CONN_A);
    relay_side(&r, &b, R_CONN_B);
    relay_table(&r, &a, &b, meter);
    stream_header_put(record, 60);
    put_u32(record + 2, (uint32_t)PACKET_RELAY << 24);
    put_u32(record + 6, R_FROM_A);
    record[10] = PACKET_DATA;
    write_all(b.fds[0], record, sizeof(record));
    next_item(&r, &item);
    assert_int_equal(item.kind, PLANE_PACKET);
    assert_int_equal(item.conn, R_CONN_B);
    assert_int_equal(plane_relayed(r.plane), 0);
    /* The way onward ended: the control thread knows another, perhaps. */
    plane_remove_stream(r.plane, R_CONN_B);
    write_all(a.fds[0], record, sizeof(record));
    next_item(&r, &item);
    assert_int_equal(item.conn, R_CONN_A);
    plane_remove_stream(r.plane, R_CONN_A);
    side_stop(&a);
    side_stop(&b);
    machine_stop(&r);
    meter_unref(meter);
}

/* Several workers and the control thread write to one connection, which then is taken away. */
enum { THREADS = 3, EACH = 400 };

struct feeder {
    const struct machine *m;
    unsigned queue;
    pthread_t thread;
};

static void *feed(void *arg)
{
    const struct feeder *f = arg;
    for (uint32_t i = 0; i < EACH; i++) {
        uint8_t frame[400], data[300] = {0};
        data[0] = (uint8_t)f->queue;
        put_u32(data + 1, i);
        size_t len = put_frame(frame, "10.77.0.2", "10.77.0.3", data, 5 + i % 290);
        struct pollfd p = {.fd = f->m->device[f->queue], .events = POLLOUT};
        while (write(p.fd, frame, len) != (ssize_t)len) {
            assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        }
    }
    return NULL;
}

static void threads_share_a_connection(void **state)
{
    struct joined j;
    struct feeder feeders[THREADS];
    uint32_t next[THREADS] = {0};
    unsigned data = 0, control = 0; /* arrived, sent */
    joined_start(&j, THREADS);
    hand_over(&j.a, j.fds[0], NULL, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        feeders[i] = (struct feeder){.m = &j.a, .queue = i};
        assert_int_equal(pthread_create(&feeders[i].thread, NULL, feed, &feeders[i]), 0);
    }
    struct seal_worker *w = seal_worker_new();
    struct seal_key *rx = rx_key(0);
    while (data + plane_drops(j.a.plane, PLANE_DROP_TCP_QUEUE) < THREADS * EACH) {
        uint8_t packet[RECORD_MAX] = {PACKET_CONTROL};
        struct pollfd p = {.fd = j.fds[1], .events = POLLIN};
        if (control * 8 <= data) {
            assert_true(plane_stream_send(j.a.plane, CONN, packet, 50));
            control++;
        }
        if (poll(&p, 1, 20) == 0) {
            continue; /* the last one was dropped, perhaps */
        }
        size_t len = read_packet(j.fds[1], packet);
        if (packet[0] == PACKET_CONTROL) {
            assert_int_equal(len, 50);
            continue;
        }
        assert_true(open_packet(w, rx, packet, len) > 28);
        const uint8_t *inner = packet + PACKET_HEADER_LEN + 28;
        assert_true(inner[0] < THREADS);
        assert_true(get_u32(inner + 1) >= next[inner[0]]); /* in order */
        next[inner[0]] = get_u32(inner + 1) + 1;
        data++;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(feeders[i].thread, NULL), 0);
        assert_int_equal(pthread_create(&feeders[i].thread, NULL, feed, &feeders[i]), 0);
    }
    plane_remove_stream(j.a.plane, CONN);
    shutdown(j.fds[0], SHUT_RDWR);
    for (unsigned i = 0; i < THREADS; i++) {
        struct plane_item item;
        assert_int_equal(pthread_join(feeders[i].thread, NULL), 0);
        while (plane_next(j.a.plane, &item)) {
        }
    }
    seal_key_unref(rx);
    seal_worker_free(w);
    joined_stop(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_goes_over_a_connection_once_it_was_handed_over),
        cmocka_unit_test(bytes_go_through_the_coat_both_ways),
        cmocka_unit_test(packets_come_whole_in_whatever_pieces),
        cmocka_unit_test(what_is_no_stream_of_packets_ends_it),
        cmocka_unit_test(a_far_end_that_does_not_read_loses_whole_packets),
        cmocka_unit_test(a_small_packet_among_larger_ones_goes_in_any_case),
        cmocka_unit_test(a_relay_joins_connections_and_datagrams),
        cmocka_unit_test(a_relay_packet_by_another_way_is_handed_up),
        cmocka_unit_test(threads_share_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
