#include "dht/inside.h"

#include <stdlib.h>
#include <string.h>

struct penned {
    struct overlay_from from;
    usec ends_us, again_us;
    uint16_t len;
    uint8_t body[];
};

struct pen_asked {
    uint8_t hash[HASH_LEN];
    usec at_us; /* 0: unused */
};

static struct penned *take(struct pen *pen, size_t i)
{
    struct penned *p = pen->waiting[i];

    memmove(&pen->waiting[i], &pen->waiting[i + 1], (pen->count - i - 1) * sizeof(pen->waiting[0]));
    pen->count--;
    return p;
}

/* Nobody waits any more. */
static void pen_empty(struct pen *pen)
{
    free(pen->waiting);
    free(pen->asked);
    pen->waiting = NULL;
    pen->asked = NULL;
    pen->asked_next = 0;
}

void pen_clear(struct pen *pen)
{
    while (pen->count > 0)
        free(take(pen, 0));
    pen_empty(pen);
}

static bool asked_lately(const struct pen *pen, const uint8_t *hash, usec now_us)
{
    for (size_t i = 0; pen->asked != NULL && i < PEN_ASKED_MAX; i++)
        if (pen->asked[i].at_us != 0 && now_us - pen->asked[i].at_us < PEN_ASK_AGAIN_US &&
            memcmp(pen->asked[i].hash, hash, HASH_LEN) == 0)
            return true;
    return false;
}

static void note_asked(struct pen *pen, const uint8_t *hash, usec now_us)
{
    if (pen->asked == NULL)
        pen->asked = calloc(PEN_ASKED_MAX, sizeof(*pen->asked));
    if (pen->asked == NULL)
        return;
    memcpy(pen->asked[pen->asked_next].hash, hash, HASH_LEN);
    pen->asked[pen->asked_next].at_us = now_us;
    pen->asked_next = (pen->asked_next + 1) % PEN_ASKED_MAX;
}

static void ask_for(struct dht *d, const uint8_t *hash)
{
    struct parcel p;

    if (asked_lately(&d->pen, hash, d->env->now_us))
        return;
    note_asked(&d->pen, hash, d->env->now_us);
    parcel_start(&p, PARCEL_CERT_GET, parcel_new_id(d));
    write_bytes(&p.w, hash, HASH_LEN);
    parcel_answer(d, d->from, &p);
}

/* The asker repeats itself: the same message under the same id takes the place of the one that
 * waits. */
static void forget_same(struct dht *d)
{
    for (size_t i = 0; i < d->pen.count; i++) {
        const struct penned *p = d->pen.waiting[i];

        if (id_eq(&p->from.node, &d->from->node) &&
            memcmp(p->body, d->body, PARCEL_HEADER_LEN) == 0) {
            free(take(&d->pen, i));
            return;
        }
    }
}

static void hold(struct dht *d)
{
    struct penned *p;

    if (d->pen.waiting == NULL)
        d->pen.waiting = calloc(PEN_MAX, sizeof(*d->pen.waiting));
    p = d->pen.waiting != NULL ? malloc(sizeof(*p) + d->body_len) : NULL;
    if (p == NULL)
        return;
    forget_same(d);
    if (d->pen.count == PEN_MAX) {
        free(take(&d->pen, 0));
        dht_count(d, COUNT_PEN_FULL);
    }
    p->from = *d->from;
    p->ends_us = d->pen.ends_us != 0 ? d->pen.ends_us : d->env->now_us + PEN_WAIT_US;
    p->again_us = usec_min(p->ends_us, d->env->now_us + PEN_ASK_AGAIN_US);
    p->len = (uint16_t)d->body_len;
    memcpy(p->body, d->body, d->body_len);
    d->pen.waiting[d->pen.count++] = p;
}

bool pen_holds(struct dht *d, const struct item *items, size_t n)
{
    bool missing = false;

    if (d->creds.ca == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        missing |= creds_find(&d->creds, items[i].rec.credential) == NULL;
    if (!missing)
        return false;
    if (d->pen.ends_us != 0 && d->pen.ends_us <= d->env->now_us) {
        dht_count(d, COUNT_PEN_TIMEOUT);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        if (creds_find(&d->creds, items[i].rec.credential) == NULL)
            ask_for(d, items[i].rec.credential);
    hold(d);
    return true;
}

static void handle_again(struct dht *d, struct penned *p)
{
    d->pen.ends_us = p->ends_us;
    dht_dispatch(d, &p->from, p->body, p->len);
    d->pen.ends_us = 0;
    free(p);
}

/* All that waits now, each once: what still lacks a certificate goes back in. */
static void handle_all_again(struct dht *d)
{
    struct penned *now[PEN_MAX];
    size_t n = d->pen.count;

    if (n > 0)
        memcpy(now, d->pen.waiting, n * sizeof(now[0]));
    d->pen.count = 0;
    for (size_t i = 0; i < n; i++)
        handle_again(d, now[i]);
}

void pen_tick(struct dht *d)
{
    if (d->pen.count == 0) {
        pen_empty(&d->pen);
        return;
    }
    if (pen_deadline(&d->pen) <= d->env->now_us)
        handle_all_again(d);
}

usec pen_deadline(const struct pen *pen)
{
    usec at = USEC_NEVER;

    for (size_t i = 0; i < pen->count; i++)
        at = usec_min(at, pen->waiting[i]->again_us);
    return at;
}

void pen_on_cert_get(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    uint8_t hash[HASH_LEN];
    const struct cred *cred;
    struct parcel p;

    read_copy(r, hash, HASH_LEN);
    if (!reader_done(r) || d->creds.ca == NULL) {
        dht_count(d, COUNT_MALFORMED);
        return;
    }
    cred = creds_find(&d->creds, hash);
    if (cred == NULL)
        return;
    parcel_start(&p, PARCEL_CERT, id);
    write_bytes(&p.w, cred->der, cred->len);
    parcel_answer(d, from, &p);
}

/* Needs no outstanding id: it proves itself, and is only kept when somebody waits for it. */
void pen_on_cert(struct dht *d, const struct overlay_from *from, uint64_t id, struct reader *r)
{
    size_t len = reader_left(r);
    const uint8_t *der = read_bytes(r, len);
    uint8_t hash[HASH_LEN];
    bool wanted = false;

    sha256(hash, der, len);
    for (size_t i = 0; d->pen.asked != NULL && i < PEN_ASKED_MAX; i++)
        wanted |= d->pen.asked[i].at_us != 0 && memcmp(d->pen.asked[i].hash, hash, HASH_LEN) == 0;
    if (!wanted) {
        dht_count(d, COUNT_UNASKED);
        return;
    }
    if (creds_add(&d->creds, der, len) == NULL) {
        dht_count(d, COUNT_CERT_BAD);
        return;
    }
    handle_all_again(d);
}
