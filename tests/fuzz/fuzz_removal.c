// link: peal_crypto
/* Removals behind the signature, which no fuzzer would get past: read, then asked. And what members
 * say that they know of them. */
#include "overlay/crypto/known.h"
#include "overlay/crypto/removed.c"

static bool walk(const uint8_t *data, size_t len)
{
    struct reader r = reader_of(data, len);

    read_bytes(&r, 1 + ID_LEN + 8 + 8 + ID_LEN + 32);
    return skip_serials(&r, read_u8(&r)) && read_bytes(&r, SIGNATURE_LEN) != NULL &&
           reader_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cert cert = {.serial_len = 16};
    struct known known;
    struct removal *one;

    (void)known_read(&known, data, len);
    if (len > REMOVAL_MAX || !walk(data, len))
        return 0;
    one = calloc(1, sizeof *one + len);
    CHECK(one != NULL);
    memcpy(one->bytes, data, len);
    CHECK(!has_serial(one, &cert) || len > 0);
    free(one);
    return 0;
}
