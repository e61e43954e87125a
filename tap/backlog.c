#include "tap/backlog.h"

#include <stdint.h>

enum {
    LIMIT_MIN = 16 * 1024,       /* some ten full packets: a link's device must not run dry */
    LIMIT_MAX = 4 * 1024 * 1024, /* about what sockets hold; beyond it there is no limit */
};

static const usec interval_us = MSEC(100); /* RFC 8289 4.2: a round trip of the Internet */
static const usec target_us = MSEC(4);
static const usec limit_us = MSEC(6);
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

static void interval_end(struct backlog *b, size_t waiting, usec passed_us)
{
    size_t in = b->before + b->sent, carried = in > waiting ? in - waiting : 0;
    if (passed_us >= 2 * interval_us) {
        backlog_init(b); /* nobody sent for a while: nothing stands */
    } else if (b->least > at_least(worth(carried, target_us, passed_us), LIMIT_MIN)) {
        b->limit = at_least(worth(carried, limit_us, passed_us), LIMIT_MIN);
    } else if (b->least <= worth(carried, dry_us, passed_us)) {
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
