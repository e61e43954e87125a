/*
 * watch.h - being told when a key changes. Both ends.
 *
 * A watcher asks one point of the key, for WATCH_S at a time and again well before that ends. The
 * holder answers with a sum over the versions that it holds, and sends the sum again when it
 * changes; a sum that the watcher has not seen makes it look the key up. When the point does not
 * answer the next one is asked.
 *
 * Bounds: DHT_WATCHES_MAX watches of ours; WATCHERS_MAX watchers at a holder, the victim is the one
 * whose time ends first.
 */
#ifndef PEAL_DHT_WATCH_H
#define PEAL_DHT_WATCH_H

#include "dht/op.h"

enum { WATCH_S = 60, WATCHERS_MAX = 256 };
#define WATCH_AGAIN_US SEC(40)
#define WATCH_TRY_US MSEC(800)

struct watcher;
struct watchers {
    struct watcher *first;
    size_t count;
};
struct watch;
struct watches {
    struct watch *first;
    size_t count;
};

void watches_clear(struct dht *d);
int watch_start(struct dht *d, const struct id *key, const struct op_caller *caller) MUST_USE;
void watch_stop(struct dht *d, const struct id *key, const void *ctx);
void watches_cancel(struct dht *d, const void *ctx);
void watches_tick(struct dht *d);
usec watches_deadline(const struct dht *d);

/* The holder's end: what stands under the key has changed. */
void watchers_changed(struct dht *d, const struct id *key);

void watch_on_watch(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r);
void watch_on_watched(struct dht *d, const struct overlay_from *from, uint64_t id,
                      struct reader *r);

#endif
