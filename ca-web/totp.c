#include "ca-web/totp.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/crypto/secret.h"

/* RFC 4226, 5.3: dynamic truncation. */
uint32_t totp_code(const uint8_t secret[TOTP_SECRET_LEN], int64_t step)
{
    uint8_t counter[8], mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    for (int i = 0; i < 8; i++)
        counter[i] = (uint8_t)((uint64_t)step >> (56 - 8 * i));
    CHECK(HMAC(EVP_sha1(), secret, TOTP_SECRET_LEN, counter, sizeof counter, mac, &len));
    CHECK(len == 20);
    unsigned at = mac[19] & 0xf;
    uint32_t word = (uint32_t)(mac[at] & 0x7f) << 24 | (uint32_t)mac[at + 1] << 16 |
                    (uint32_t)mac[at + 2] << 8 | mac[at + 3];
    return word % 1000000;
}

/* Exactly TOTP_DIGITS digits, blanks aside. */
static bool digits_read(const char *typed, char out[TOTP_DIGITS + 1])
{
    size_t n = 0;

    for (; *typed; typed++) {
        if (*typed == ' ')
            continue;
        if (*typed < '0' || *typed > '9' || n == TOTP_DIGITS)
            return false;
        out[n++] = *typed;
    }
    out[n] = '\0';
    return n == TOTP_DIGITS;
}

bool totp_match(const uint8_t secret[TOTP_SECRET_LEN], const char *typed, int64_t now_s,
                int64_t last_step, int64_t *step)
{
    char have[TOTP_DIGITS + 1], want[16];
    int64_t now = now_s / TOTP_STEP_S;

    *step = 0;
    if (!digits_read(typed, have))
        return false;
    for (int64_t s = now - TOTP_DRIFT; s <= now + TOTP_DRIFT; s++) {
        snprintf(want, sizeof want, "%06u", totp_code(secret, s));
        if (equal_ct(have, want, TOTP_DIGITS) && s > last_step)
            *step = s;
    }
    return *step != 0;
}

void base32_text(const uint8_t *bytes, int len, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

    CHECK(len % 5 == 0);
    for (int i = 0; i < len; i += 5) {
        uint64_t word = 0;
        for (int k = 0; k < 5; k++)
            word = word << 8 | bytes[i + k];
        for (int k = 0; k < 8; k++)
            *out++ = alphabet[word >> (35 - 5 * k) & 31];
    }
    *out = '\0';
}
