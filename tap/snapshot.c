#include "tap/snapshot.h"

#include <time.h>

#include "overlay/core/err.h"

enum { SYNCHRONIZE_PAUSE_NS = 20 * 1000 };

void snapshot_init(struct snapshot *s, unsigned readers, struct forward *first)
{
    CHECK(readers <= SNAPSHOT_READERS_MAX && first != NULL);
    *s = (struct snapshot){.reader_count = readers};
    atomic_init(&s->current, first);
}

void snapshot_clear(struct snapshot *s)
{
    for (unsigned i = 0; i < s->retired_count; i++) {
        forward_free(s->retired[i].table);
    }
    forward_free(atomic_load(&s->current));
    *s = (struct snapshot){0};
}

/* The order of epoch, current and writer_waits between the threads is what all of this rests on;
 * they are sequentially consistent throughout. Either the writer sees a reader inside, or that
 * reader, entering later, sees what the writer published before it looked. */
void snapshot_enter(struct snapshot *s, unsigned reader)
{
    atomic_fetch_add(&s->readers[reader].epoch, 1);
}

const struct forward *snapshot_current(const struct snapshot *s)
{
    return atomic_load(&s->current);
}

bool snapshot_leave(struct snapshot *s, unsigned reader)
{
    atomic_fetch_add(&s->readers[reader].epoch, 1);
    return atomic_load(&s->writer_waits);
}

static struct snapshot_epochs epochs_now(const struct snapshot *s)
{
    struct snapshot_epochs now = {{0}};
    for (unsigned i = 0; i < s->reader_count; i++) {
        now.at[i] = atomic_load(&s->readers[i].epoch);
    }
    return now;
}

/* Nobody who was inside at `since` still is. */
static bool all_left(const struct snapshot *s, const struct snapshot_epochs *since)
{
    for (unsigned i = 0; i < s->reader_count; i++) {
        if (since->at[i] % 2 == 1 && atomic_load(&s->readers[i].epoch) == since->at[i]) {
            return false;
        }
    }
    return true;
}

static void free_unused(struct snapshot *s)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < s->retired_count; i++) {
        if (all_left(s, &s->retired[i].since)) {
            forward_free(s->retired[i].table);
        } else {
            s->retired[kept++] = s->retired[i];
        }
    }
    s->retired_count = kept;
}

void snapshot_reclaim(struct snapshot *s)
{
    free_unused(s);
    atomic_store(&s->writer_waits, s->retired_count > 0);
    if (s->retired_count > 0) {
        free_unused(s); /* the last reader may have left just before it could know that we wait */
    }
}

void snapshot_publish(struct snapshot *s, struct forward *f)
{
    if (s->retired_count == SNAPSHOT_RETIRED_MAX) {
        snapshot_synchronize(s);
        free_unused(s);
    }
    struct forward *before = atomic_exchange(&s->current, f);
    s->retired[s->retired_count].table = before;
    s->retired[s->retired_count].since = epochs_now(s);
    s->retired_count++;
    snapshot_reclaim(s);
}

void snapshot_synchronize(const struct snapshot *s)
{
    const struct snapshot_epochs since = epochs_now(s);
    while (!all_left(s, &since)) {
        nanosleep(&(struct timespec){.tv_nsec = SYNCHRONIZE_PAUSE_NS}, NULL);
    }
}
