/*
 * env.h - what a state machine of ours may know of the world: the time, random bytes, a log.
 *
 * The host sets the clocks once before it enters a machine (x_input, x_tick) and time stands still
 * until the machine returns. Nothing below reads a clock or draws randomness in any other way, so
 * that a run in the simulator repeats to the byte.
 */
#ifndef PEAL_CORE_ENV_H
#define PEAL_CORE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t usec; /* microseconds; as a point in time: of CLOCK_BOOTTIME */

#define USEC_NEVER UINT64_MAX
#define MSEC(x) ((usec)(x)*1000)
#define SEC(x) ((usec)(x)*1000000)

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct env {
    usec now_us;          /* every timer and lease */
    int64_t wall_s;       /* Unix time; certificates and display only */
    bool wall_known;      /* false: wall_s must not be relied on */
    enum log_level level; /* nothing above it is formatted */
    uint8_t hash_key[16]; /* for tables keyed by what the network sends; random per process */
    void *host;           /* passed to the two below */
    void (*random)(void *host, void *buf, size_t len); /* cryptographic quality in peald; cannot fail */
    void (*log)(void *host, enum log_level level, const char *line); /* one line, no newline */
};

void env_random(const struct env *env, void *buf, size_t len);
uint32_t env_random_u32(const struct env *env);
/* Uniform in [0, below); below > 0. */
uint64_t env_random_below(const struct env *env, uint64_t below);
/* `mean` +- `percent`, uniform: jitter for timers. */
usec env_jitter(const struct env *env, usec mean, unsigned percent);

/* Formatted only when env->level lets it through and env->log is set; cut at 512 bytes; bytes outside 0x20..0x7e become '?'. */
void env_log(const struct env *env, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static inline usec usec_min(usec a, usec b)
{
    return a < b ? a : b;
}

static inline usec usec_max(usec a, usec b)
{
    return a > b ? a : b;
}

#endif
