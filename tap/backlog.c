#include "tap/backlog.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TARGET_MIN = 4 * 1024,       /* some two full packets: as little waits on any link */
    LIMIT_MIN = 8 * 1024,        /* some five: a link's device must not run dry */
    LIMIT_MAX = 4 * 1024 * 1024, /* about what sockets hold; beyond it there is no limit */
};

static const usec interval_us = MSEC(100); /* RFC 8289 4.2: a round trip of the Internet */
static const usec target_us = MSEC(5);
static const usec limit_us = MSEC(8);
static const usec dry_us = MSEC(1);

void backlog_init(struct backlog *b)
{
    *b = (struct backlog){.least = SIZE_MAX, .limit = BACKLOG_NO_LIMIT};
}

/* What the link carries in `us` when it carried so much in the interval. */
static size_t worth(size_t carried, usec us, usec passed_us)
{
    return (size_t)((uint64_t)carried * us / passed_us);
}

static size_t at_least(size_t bytes, size_t least)
{
    return bytes < least ? least : bytes;
}

static void grow(struct backlog *b)
{
    b->limit = b->limit > LIMIT_MAX / 2 ? BACKLOG_NO_LIMIT : b->limit * 2;
}

static size_t limit_of(size_t rate)
{
    return at_least(worth(rate, limit_us, interval_us), LIMIT_MIN);
}

static void hold(struct backlog *b, size_t rate)
{
    b->rate = rate;
    b->limit = limit_of(rate);
}

/* A sender that backs off lets the link run dry now and then, and yet it carries what it can. */
static bool is_busy(const struct backlog *b, size_t carried)
{
    return b->limit != BACKLOG_NO_LIMIT && carried >= b->rate - b->rate / 8 &&
           carried <= b->rate + b->rate / 8;
}

/* Up soon, down slowly: what a link carries at times it can carry. */
static size_t smoothed(size_t rate, size_t carried)
{
    return carried > rate ? rate + (carried - rate) / 4 : rate - (rate - carried) / 16;
}

/* What the limit grew by goes step by step, and stays while the link runs dry with it. */
static void settle(struct backlog *b, size_t carried, bool dry)
{
    b->rate = smoothed(b->rate, carried);
    size_t limit = limit_of(b->rate), more = b->limit > limit ? b->limit - limit : 0;
    b->limit = limit + (dry ? more : more - more / 4);
}

static void interval_end(struct backlog *b, size_t waiting, usec passed_us)
{
    size_t in = b->before + b->sent;
    size_t carried = worth(in > waiting ? in - waiting : 0, interval_us, passed_us);
    bool dry = b->least <= worth(carried, dry_us, interval_us);
    if (passed_us >= 2 * interval_us) {
        backlog_init(b); /* nobody sent for a while: nothing stands */
    } else if (b->least > at_least(worth(carried, target_us, interval_us), TARGET_MIN)) {
        hold(b, carried);
    } else if (is_busy(b, carried)) {
        settle(b, carried, dry);
    } else if (dry) {
        grow(b);
    }
}

size_t backlog_room(struct backlog *b, size_t waiting, usec now_us)
{
    usec passed_us = now_us - b->begin_us;
    if (waiting < b->least) {
        b->least = waiting;
    }
    if (passed_us >= interval_us) {
        interval_end(b, waiting, passed_us);
        b->begin_us = now_us;
        b->before = waiting;
        b->sent = 0;
        b->least = waiting;
    }
    return waiting < b->limit ? b->limit - waiting : 0;
}

void backlog_sent(struct backlog *b, size_t sent)
{
    b->sent += sent;
}
