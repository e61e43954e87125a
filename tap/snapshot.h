/*
 * snapshot.h - the published forward table: one thread replaces it, many read it without a lock,
 * and it is freed when nobody can still be reading it.
 *
 * Each reader has an epoch, odd while it is between enter and leave. What was taken away (a table,
 * or a device's descriptor) may still be in use by exactly those readers whose epoch was odd then
 * and has not changed since. A reader stays inside for one round of its loop, never while it
 * sleeps, so waiting for it is short.
 */
#ifndef PEAL_TAP_SNAPSHOT_H
#define PEAL_TAP_SNAPSHOT_H

#include <stdatomic.h>

#include "tap/forward.h"

enum {
    SNAPSHOT_READERS_MAX = 16,
    SNAPSHOT_RETIRED_MAX = 8, /* replaced tables not freed yet; at the next one the writer waits */
};

struct snapshot_epochs {
    uint32_t at[SNAPSHOT_READERS_MAX];
};

struct snapshot_reader {
    _Alignas(64) _Atomic uint32_t epoch; /* a cache line each: every reader writes its own often */
};

struct snapshot {
    struct snapshot_reader readers[SNAPSHOT_READERS_MAX];
    _Alignas(64) _Atomic(struct forward *) current;
    _Atomic bool writer_waits; /* readers that leave should tell the writer */
    /* The rest is the writer's. */
    unsigned reader_count;
    struct {
        struct forward *table;
        struct snapshot_epochs since;
    } retired[SNAPSHOT_RETIRED_MAX];
    unsigned retired_count;
};

/* Publishes `first` and owns it. */
void snapshot_init(struct snapshot *s, unsigned readers, struct forward *first);
/* No reader is inside any more. Frees every table. */
void snapshot_clear(struct snapshot *s);

/* Readers. What snapshot_current returned since snapshot_enter is valid until snapshot_leave, which
 * says whether the writer wants to be woken for snapshot_reclaim. */
void snapshot_enter(struct snapshot *s, unsigned reader);
const struct forward *snapshot_current(const struct snapshot *s);
bool snapshot_leave(struct snapshot *s, unsigned reader);

/* The writer. Takes ownership of f; the table before it is freed now, or by snapshot_reclaim. */
void snapshot_publish(struct snapshot *s, struct forward *f);
void snapshot_reclaim(struct snapshot *s);
/* Returns when every reader that is inside now has left once. */
void snapshot_synchronize(const struct snapshot *s);

#endif
