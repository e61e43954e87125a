// link: peal_dht_alone
/* A record and a renewal from the wire: what reads well is written again to the same bytes. */
#include "dht/record.h"

#include <string.h>

static void check_record(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    uint8_t again[RECORD_MAX];
    struct writer w = writer_of(again, sizeof(again));
    struct record rec;
    struct sign_public pub;

    if (!record_read(&r, &rec))
        return;
    record_write(&w, &rec);
    CHECK(!w.failed && writer_len(&w) == size - reader_left(&r));
    CHECK(memcmp(again, data, writer_len(&w)) == 0);
    CHECK(rec.len <= DHT_VALUE_MAX && (!record_removed(&rec) || rec.len == 0));
    memcpy(pub.b, rec.credential, CREDENTIAL_LEN);
    (void)record_verify(&rec, &rec.key, &pub);
    CHECK(!record_newer(&rec, &rec));
}

static void check_renewal(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    uint8_t again[RENEWAL_LEN];
    struct writer w = writer_of(again, sizeof(again));
    struct renewal renewal;
    struct record rec = {.kind = RECORD_PUT};

    if (!renewal_read(&r, &renewal))
        return;
    rec.key = renewal.key;
    rec.owner = renewal.owner;
    rec = record_renewed(&rec, &renewal);
    renewal_write(&w, &rec);
    CHECK(!w.failed && memcmp(again, data, RENEWAL_LEN) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CHECK(crypto_start() == 0);
    check_record(data, size);
    check_renewal(data, size);
    return 0;
}
