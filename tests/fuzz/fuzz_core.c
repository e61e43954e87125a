// link: peal_core
/*
 * Cursors, addresses and ids: the first byte picks a reader, the rest is what it reads. What parses
 * must print and parse again to the same value.
 */
#include "overlay/core/err.h"
#include "overlay/core/wire.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 300 };

/* A program of reads: each byte is a kind, and what it reads comes from the same bytes. */
static void run_reads(const uint8_t *data, size_t len)
{
    struct reader r = reader_of(data, len);
    uint8_t copy[64];
    struct endpoint e;
    struct writer w;

    while (!r.failed && reader_left(&r) > 0) {
        size_t left = reader_left(&r);

        switch (read_u8(&r) % 8) {
        case 0:
            read_u16(&r);
            break;
        case 1:
            read_u32(&r);
            break;
        case 2:
            read_u64(&r);
            break;
        case 3:
            read_bytes(&r, read_u16(&r));
            break;
        case 4:
            read_copy(&r, copy, read_u8(&r) % sizeof copy);
            break;
        case 5:
            read_id(&r);
            break;
        default:
            e = read_endpoint(&r);
            w = writer_of(copy, sizeof copy);
            write_endpoint(&w, &e);
            CHECK(!w.failed &&
                  (r.failed || memcmp(copy, r.p - writer_len(&w), writer_len(&w)) == 0));
            break;
        }
        CHECK(reader_left(&r) < left && r.p <= r.end);
    }
}

static void parse_texts(const char *text)
{
    char out[ENDPOINT_TEXT_SIZE + TEXT_MAX];
    struct endpoint e, same_e;
    struct addr a, same_a;
    struct net n, same_n;
    struct mac m, same_m;
    struct id id, same_id;

    if (addr_parse(&a, text))
        CHECK(addr_parse(&same_a, addr_text(&a, out)) && addr_eq(&a, &same_a));
    if (net_parse(&n, text))
        CHECK(net_parse(&same_n, net_text(&n, out)) && net_contains(&n, &same_n.addr));
    if (endpoint_parse(&e, text))
        CHECK(endpoint_parse(&same_e, endpoint_text(&e, out)) && endpoint_eq(&e, &same_e));
    if (mac_parse(&m, text))
        CHECK(mac_parse(&same_m, mac_text(&m, out)) && memcmp(&m, &same_m, sizeof m) == 0);
    if (id_parse(&id, text))
        CHECK(id_parse(&same_id, id_text(&id, out)) && id_eq(&id, &same_id));
    if (name_valid(text))
        CHECK(strlen(text) <= NAME_MAX_LEN && strchr(text, '/') == NULL);
    if (label_normalize(out, LABEL_MAX + 1, text, strlen(text)))
        CHECK(label_valid(out, strlen(out)) && strlen(out) == strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[TEXT_MAX + 1];

    if (len == 0 || len > TEXT_MAX)
        return 0;
    if (data[0] == 0) {
        run_reads(data + 1, len - 1);
        return 0;
    }
    memcpy(text, data + 1, len - 1);
    text[len - 1] = '\0';
    parse_texts(text);
    return 0;
}
