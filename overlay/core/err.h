/*
 * err.h - CHECK, for broken invariants of our own, and the room's error numbers.
 *
 * Functions return 0 or a negative enum err (or bool where there is one way to fail). What came
 * from the network, a file or a user is never CHECKed.
 */
#ifndef PEAL_CORE_ERR_H
#define PEAL_CORE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum err {
    ERR_FORMAT = 1000, /* malformed bytes */
    ERR_CRYPTO,        /* authentication failed, or the library refused */
    ERR_FULL,          /* a bounded table is full */
    ERR_NOT_FOUND,
    ERR_BAD_STATE,     /* not allowed in this state; ERR_STATE is a type of OpenSSL's */
    ERR_NOMEM,
    ERR_RANGE,         /* a value outside its limits */
};

/* A short English phrase; static. Takes -ERR_X or ERR_X. */
const char *err_text(int err);

/* Kept in release builds. Prints file:line and the expression through the abort handler, aborts. */
#define CHECK(x) ((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))
_Noreturn void check_failed(const char *what, const char *file, int line);

#define MUST_USE __attribute__((warn_unused_result))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
