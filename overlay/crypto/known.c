#include "overlay/crypto/known.h"

#include "overlay/core/wire.h"

#include <string.h>

static const char label[] = "peal known";

enum { LABEL_LEN = sizeof label - 1, BODY_LEN = KNOWN_LEN - SIGNATURE_LEN };

static void signed_text(uint8_t text[LABEL_LEN + BODY_LEN], const uint8_t *message)
{
    memcpy(text, label, LABEL_LEN);
    memcpy(text + LABEL_LEN, message, BODY_LEN);
}

void known_write(const struct known *k, const struct sign_secret *key, uint8_t out[KNOWN_LEN])
{
    uint8_t text[LABEL_LEN + BODY_LEN];
    struct writer w = writer_of(out, KNOWN_LEN);

    write_u8(&w, 1);
    write_id(&w, &k->group);
    write_id(&w, &k->node);
    write_u64(&w, k->number);
    write_u32(&w, k->age_s);
    signed_text(text, out);
    sign(out + BODY_LEN, text, sizeof text, key);
}

bool known_read(struct known *out, const uint8_t *message, size_t len)
{
    struct reader r = reader_of(message, len);
    bool version = read_u8(&r) == 1;

    out->group = read_id(&r);
    out->node = read_id(&r);
    out->number = read_u64(&r);
    out->age_s = read_u32(&r);
    return read_bytes(&r, SIGNATURE_LEN) != NULL && reader_done(&r) && version;
}

bool known_signed_by(const uint8_t message[KNOWN_LEN], const struct sign_public *key)
{
    uint8_t text[LABEL_LEN + BODY_LEN];

    signed_text(text, message);
    return sign_verify(message + BODY_LEN, text, sizeof text, key);
}
