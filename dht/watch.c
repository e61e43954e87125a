#include "dht/inside.h"

#include <stdlib.h>
#include <string.h>

/* At the holder. */
struct watcher {
    struct watcher *next;
    struct id key;
    uint64_t id; /* chosen by the watcher */
    struct overlay_from from;
    usec ends_us;
};

/* Ours. */
struct watch {
    struct watch *next;
    struct id key;
    uint64_t id;
    struct op_caller caller;
    unsigned point;
    uint64_t sum;
    bool seen;     /* sum is what the point said last */
    bool answered; /* the last question was */
    usec due_us;
};

static void free_watcher(struct dht *d, struct watcher **at)
{
    struct watcher *w = *at;

    *at = w->next;
    d->watchers.count--;
    free(w);
}

static void free_watch(struct dht *d, struct watch **at)
{
    struct watch *w = *at;

    *at = w->next;
    d->watches.count--;
    free(w);
}

void watches_clear(struct dht *d)
{
    while (d->watches.first != NULL)
        free_watch(d, &d->watches.first);
    while (d->watchers.first != NULL)
        free_watcher(d, &d->watchers.first);
}

/* The watcher's end. */

static void ask(struct dht *d, struct watch *w, uint16_t seconds)
{
    struct id point = id_point(&w->key, w->point, DHT_POINTS);
    struct parcel p;

    parcel_start(&p, PARCEL_WATCH, w->id);
    write_u8(&p.w, (uint8_t)w->point);
    write_id(&p.w, &w->key);
    write_u16(&p.w, seconds);
    parcel_route(d, &point, &p);
    w->answered = false;
    w->due_us = d->env->now_us + WATCH_TRY_US;
}

int watch_start(struct dht *d, const struct id *key, const struct op_caller *caller)
{
    struct watch **at = &d->watches.first;
    struct watch *w;

    watch_stop(d, key, caller->ctx);
    if (d->watches.count >= DHT_WATCHES_MAX)
        return -ERR_FULL;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -ERR_NOMEM;
    w->key = *key;
    w->caller = *caller;
    w->id = parcel_new_id(d);
    w->point = d->config.node.b[ID_LEN - 1] % DHT_POINTS; /* spreads the watchers of one key */
    w->due_us = d->env->now_us;
    w->answered = true;
    while (*at != NULL)
        at = &(*at)->next;
    *at = w;
    d->watches.count++;
    return 0;
}

void watch_stop(struct dht *d, const struct id *key, const void *ctx)
{
    for (struct watch **at = &d->watches.first; *at != NULL; at = &(*at)->next) {
        if ((*at)->caller.ctx != ctx || !id_eq(&(*at)->key, key))
            continue;
        ask(d, *at, 0);
        free_watch(d, at);
        return;
    }
}

void watches_cancel(struct dht *d, const void *ctx)
{
    struct watch **at = &d->watches.first;

    while (*at != NULL) {
        if ((*at)->caller.ctx != ctx) {
            at = &(*at)->next;
            continue;
        }
        ask(d, *at, 0);
        free_watch(d, at);
    }
}

static void watch_tick(struct dht *d, struct watch *w)
{
    if (w->due_us > d->env->now_us)
        return;
    if (!dht_member(d)) {
        w->due_us = d->env->now_us + LOOK_US;
        return;
    }
    if (!w->answered)
        w->point = (w->point + 1) % DHT_POINTS;
    ask(d, w, WATCH_S);
}

static void watcher_ends(struct dht *d)
{
    struct watcher **at = &d->watchers.first;

    while (*at != NULL) {
        if ((*at)->ends_us <= d->env->now_us)
            free_watcher(d, at);
        else
            at = &(*at)->next;
    }
}

void watches_tick(struct dht *d)
{
    for (struct watch *w = d->watches.first; w != NULL; w = w->next)
        watch_tick(d, w);
    watcher_ends(d);
}

usec watches_deadline(const struct dht *d)
{
    usec at = USEC_NEVER;

    for (const struct watch *w = d->watches.first; w != NULL; w = w->next)
        at = usec_min(at, w->due_us);
    for (const struct watcher *w = d->watchers.first; w != NULL; w = w->next)
        at = usec_min(at, w->ends_us);
    return at;
}

void watch_on_watched(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint64_t sum = read_u64(r);
    struct watch *w = d->watches.first;

    if (!reader_done(r)) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    while (w != NULL && w->id != id)
        w = w->next;
    if (w == NULL) {
        dht_count(d, COUNT_UNASKED);
        return;
    }
    if (!w->answered)
        w->due_us = d->env->now_us + env_jitter(d->env, WATCH_AGAIN_US, 20);
    w->answered = true;
    if (w->seen && w->sum == sum)
        return;
    w->seen = op_lookup_at(d, &w->key, w->point, &w->caller) == 0; /* full: at the next answer */
    w->sum = sum;
}

/* The holder's end. */

static void tell(struct dht *d, const struct watcher *w)
{
    struct parcel p;

    parcel_start(&p, PARCEL_WATCHED, w->id);
    write_u64(&p.w, store_key_sum(&d->store, &w->key));
    parcel_answer(d, &w->from, &p);
}

void watchers_changed(struct dht *d, const struct id *key)
{
    for (const struct watcher *w = d->watchers.first; w != NULL; w = w->next)
        if (id_eq(&w->key, key))
            tell(d, w);
}

static struct watcher **find_watcher(struct dht *d, const struct id *node, uint64_t id)
{
    struct watcher **at = &d->watchers.first;

    while (*at != NULL && ((*at)->id != id || !id_eq(&(*at)->from.node, node)))
        at = &(*at)->next;
    return at;
}

static void drop_soonest(struct dht *d)
{
    struct watcher **victim = &d->watchers.first;

    for (struct watcher **at = &d->watchers.first; *at != NULL; at = &(*at)->next)
        if ((*at)->ends_us < (*victim)->ends_us)
            victim = at;
    free_watcher(d, victim);
}

void watch_on_watch(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t point = read_u8(r);
    struct id key = read_id(r);
    uint16_t seconds = read_u16(r);
    struct watcher **at;
    struct id where;

    if (!reader_done(r) || point >= DHT_POINTS || seconds > WATCH_S) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    at = find_watcher(d, &from->node, id);
    if (*at != NULL)
        free_watcher(d, at);
    where = id_point(&key, point, DHT_POINTS);
    if (seconds == 0 || !dht_member(d) || !replica_closest(d, &where) || !replica_ready(d))
        return; /* not ours to watch: it asks the next point */
    if (d->watchers.count >= WATCHERS_MAX)
        drop_soonest(d);
    at = find_watcher(d, &from->node, id);
    *at = calloc(1, sizeof(**at));
    if (*at == NULL)
        return;
    **at = (struct watcher){NULL, key, id, *from, d->env->now_us + SEC(seconds)};
    d->watchers.count++;
    tell(d, *at);
}
