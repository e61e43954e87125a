// link: peal_core
#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "tests/unit/cm.h"

#include <string.h>

/* One of everything that the cursors know. */
struct sample {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    uint8_t bytes[3];
    struct id id;
    struct addr none, v4, v6;
    struct endpoint endpoint;
};

static const struct sample sample = {
    .u8 = 0x01,
    .u16 = 0x0203,
    .u32 = 0x04050607,
    .u64 = 0x08090a0b0c0d0e0f,
    .bytes = {0x10, 0x11, 0x12},
    .id = {{0xaa, [19] = 0xbb}},
    .v4 = {.family = 4, .b = {192, 0, 2, 1}},
    .v6 = {.family = 6, .b = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}},
    .endpoint = {.addr = {.family = 4, .b = {192, 0, 2, 9}}, .port = 4747},
};

enum { SAMPLE_LEN = 1 + 2 + 4 + 8 + 3 + 20 + 1 + 5 + 17 + 7 };

static void write_sample(struct writer *w, const struct sample *s)
{
    write_u8(w, s->u8);
    write_u16(w, s->u16);
    write_u32(w, s->u32);
    write_u64(w, s->u64);
    write_bytes(w, s->bytes, sizeof s->bytes);
    write_id(w, &s->id);
    write_addr(w, &s->none);
    write_addr(w, &s->v4);
    write_addr(w, &s->v6);
    write_endpoint(w, &s->endpoint);
}

static struct sample read_sample(struct reader *r)
{
    struct sample s;

    s.u8 = read_u8(r);
    s.u16 = read_u16(r);
    s.u32 = read_u32(r);
    s.u64 = read_u64(r);
    read_copy(r, s.bytes, sizeof s.bytes);
    s.id = read_id(r);
    s.none = read_addr(r);
    s.v4 = read_addr(r);
    s.v6 = read_addr(r);
    s.endpoint = read_endpoint(r);
    return s;
}

/* Field by field: what a compiler leaves in the padding is nobody's affair. */
static void assert_same_sample(const struct sample *a, const struct sample *b)
{
    assert_int_equal(a->u8, b->u8);
    assert_int_equal(a->u16, b->u16);
    assert_int_equal(a->u32, b->u32);
    assert_true(a->u64 == b->u64);
    assert_memory_equal(a->bytes, b->bytes, sizeof a->bytes);
    assert_true(id_eq(&a->id, &b->id));
    assert_true(addr_eq(&a->none, &b->none));
    assert_true(addr_eq(&a->v4, &b->v4));
    assert_true(addr_eq(&a->v6, &b->v6));
    assert_true(endpoint_eq(&a->endpoint, &b->endpoint));
}

static void what_was_written_is_read(void **state)
{
    uint8_t buf[SAMPLE_LEN];
    struct writer w = writer_of(buf, sizeof buf);
    struct reader r = reader_of(buf, sizeof buf);
    struct sample got;

    write_sample(&w, &sample);
    assert_false(w.failed);
    assert_int_equal(writer_len(&w), SAMPLE_LEN);
    assert_int_equal(writer_left(&w), 0);
    assert_memory_equal(
        buf, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\xaa", 19);
    got = read_sample(&r);
    assert_true(reader_done(&r));
    assert_same_sample(&got, &sample);
}

static void every_truncation_fails_and_stays_failed(void **state)
{
    uint8_t buf[SAMPLE_LEN];
    struct writer w = writer_of(buf, sizeof buf);

    write_sample(&w, &sample);
    for (size_t len = 0; len < SAMPLE_LEN; len++) {
        struct reader r = reader_of(buf, len);

        read_sample(&r);
        assert_true(r.failed);
        assert_false(reader_done(&r));
        assert_int_equal(reader_left(&r), 0);
        assert_int_equal(read_u8(&r), 0);
        assert_null(read_bytes(&r, 1));
    }
}

static void every_buffer_too_small_fails_and_is_not_overrun(void **state)
{
    for (size_t size = 0; size < SAMPLE_LEN; size++) {
        uint8_t buf[SAMPLE_LEN + 1];
        struct writer w = writer_of(buf, size);

        memset(buf, 0x77, sizeof buf);
        write_sample(&w, &sample);
        assert_true(w.failed);
        assert_true(writer_len(&w) <= size);
        assert_int_equal(writer_left(&w), 0);
        for (size_t i = size; i < sizeof buf; i++)
            assert_int_equal(buf[i], 0x77);
    }
}

static void what_is_left_over_is_not_done(void **state)
{
    struct reader r = reader_of("abc", 3);

    assert_int_equal(reader_left(&r), 3);
    assert_memory_equal(read_bytes(&r, 2), "ab", 2);
    assert_false(reader_done(&r));
    assert_int_equal(reader_left(&r), 1);
    read_u8(&r);
    assert_true(reader_done(&r));
}

static void lengths_beyond_the_buffer_do_not_wrap(void **state)
{
    struct reader r = reader_of("abc", 3);
    uint8_t buf[3];
    struct writer w = writer_of(buf, sizeof buf);

    assert_null(read_bytes(&r, SIZE_MAX));
    assert_true(r.failed);
    write_bytes(&w, buf, SIZE_MAX);
    assert_true(w.failed);
    assert_int_equal(writer_len(&w), 0);
}

static void address_families_other_than_4_6_and_0_fail(void **state)
{
    for (unsigned family = 0; family < 256; family++) {
        uint8_t bytes[17] = {(uint8_t)family}, out[17];
        size_t len = family == 4 ? 5 : family == 6 ? 17 : 1;
        struct reader r = reader_of(bytes, len);
        struct addr a = read_addr(&r), odd = {.family = (uint8_t)family};
        struct writer w = writer_of(out, sizeof out);
        bool known = family == 0 || family == 4 || family == 6;

        assert_int_equal(reader_done(&r), known);
        assert_int_equal(a.family, known ? family : 0);
        write_addr(&w, &odd);
        assert_int_equal(w.failed, !known);
    }
}

static void no_buffer_at_all_is_an_empty_one(void **state)
{
    struct reader r = reader_of(NULL, 0);
    struct writer w = writer_of(NULL, 0);

    read_copy(&r, NULL, 0);
    write_bytes(&w, NULL, 0);
    assert_true(reader_done(&r));
    assert_false(w.failed);
    write_u8(&w, 1);
    assert_true(w.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(every_truncation_fails_and_stays_failed),
        cmocka_unit_test(every_buffer_too_small_fails_and_is_not_overrun),
        cmocka_unit_test(what_is_left_over_is_not_done),
        cmocka_unit_test(lengths_beyond_the_buffer_do_not_wrap),
        cmocka_unit_test(address_families_other_than_4_6_and_0_fail),
        cmocka_unit_test(no_buffer_at_all_is_an_empty_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
