/*
 * totp.h - one-time passwords by time (RFC 6238 over RFC 4226, HMAC-SHA-1, six digits, 30 seconds):
 * what every authenticator app computes. No clock and no state: who checks a code keeps the last
 * step that was used, so that nobody uses a code twice (RFC 6238, 5.2).
 */
#ifndef PEAL_CA_TOTP_H
#define PEAL_CA_TOTP_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TOTP_SECRET_LEN = 20, /* RFC 4226, 4: at least 128 bits, 160 recommended */
    TOTP_STEP_S = 30,
    TOTP_DIGITS = 6,
    TOTP_DRIFT = 1,        /* steps either way that a phone's clock may be off */
    TOTP_BASE32_SIZE = 33, /* 20 bytes in base32, without padding */
};

uint32_t totp_code(const uint8_t secret[TOTP_SECRET_LEN], int64_t step);
/* Digits, blanks between them allowed. *step: which step's code it is, later than `last_step`. */
bool totp_match(const uint8_t secret[TOTP_SECRET_LEN], const char *typed, int64_t now_s,
                int64_t last_step, int64_t *step);
/* RFC 4648, without padding; len is a multiple of 5, out has len / 5 * 8 + 1 bytes. */
void base32_text(const uint8_t *bytes, int len, char *out);

#endif
