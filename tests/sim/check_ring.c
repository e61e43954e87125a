#include "tests/sim/check_ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"
#include "overlay/core/wire.h"
#include "tests/sim/islands.h"
#include "tests/sim/world.h"

enum side { LEFT, RIGHT };

void ring_check_clear(struct ring_check *c)
{
    free(c->members);
    c->members = NULL;
}

/* ---- the members, sorted ---- */

static int place_cmp(const struct ring_place *p, const struct id *id, uint64_t prefix)
{
    if (p->prefix != prefix)
        return p->prefix < prefix ? -1 : 1;
    return id_cmp(&p->host->identity.id, id);
}

/* The first member whose id is not below; count when there is none. */
static size_t position(const struct ring_check *c, const struct id *id)
{
    uint64_t prefix = get_u64(id->b);
    size_t low = 0, high = c->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (place_cmp(&c->members[middle], id, prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void member_add(struct ring_check *c, struct host *h)
{
    size_t at = position(c, &h->identity.id);

    if (c->count == c->size) {
        c->size = c->size > 0 ? 2 * c->size : 64;
        c->members = realloc(c->members, c->size * sizeof(*c->members));
        CHECK(c->members != NULL);
    }
    memmove(c->members + at + 1, c->members + at, (c->count - at) * sizeof(*c->members));
    c->members[at] = (struct ring_place){get_u64(h->identity.id.b), h};
    c->count++;
}

static void member_drop(struct ring_check *c, const struct host *h)
{
    size_t at = position(c, &h->identity.id);

    CHECK(at < c->count && c->members[at].host == h);
    c->count--;
    memmove(c->members + at, c->members + at + 1, (c->count - at) * sizeof(*c->members));
}

/* The members nearest to a place on one side that h can reach, at most `max`, h itself not. */
static size_t ideal_near(const struct world *w, const struct host *h, enum side side, size_t max,
                         struct host **out)
{
    const struct ring_check *c = &w->ring;
    size_t at = position(c, &h->identity.id), found = 0;

    for (size_t step = 1; step <= c->count && found < max; step++) {
        size_t i = side == RIGHT ? at + step - (h->view.member ? 0 : 1) : at + c->count - step;
        struct host *other = c->members[i % c->count].host;

        if (other != h && internet_together(&w->internet, h->index, other->index))
            out[found++] = other;
    }
    return found;
}

struct host *ring_check_owner(const struct world *w, const struct host *from, const struct id *key)
{
    const struct ring_check *c = &w->ring;
    struct host *best = NULL;

    if (c->count == 0)
        return NULL;
    for (int side = LEFT; side <= RIGHT; side++) {
        size_t at = position(c, key);

        for (size_t step = 0; step < c->count; step++) {
            size_t i = side == RIGHT ? at + step : at + 2 * c->count - 1 - step;
            struct host *h = c->members[i % c->count].host;

            if (h != from && !internet_together(&w->internet, from->index, h->index))
                continue;
            if (best == NULL || id_closer(key, &h->identity.id, &best->identity.id))
                best = h;
            break;
        }
    }
    return best;
}

size_t ring_check_beside(const struct world *w, const struct host *h, struct host *out[2])
{
    size_t count = ideal_near(w, h, LEFT, 1, out);

    if (count == 0)
        return 0;
    count += ideal_near(w, h, RIGHT, 1, out + 1);
    return count == 2 && out[0] == out[1] ? 1 : count;
}

/* ---- one host's lists ---- */

static struct id distance(enum side side, const struct id *from, const struct id *to)
{
    return side == RIGHT ? id_sub(to, from) : id_sub(from, to);
}

/* In order, nobody twice, not its owner. */
static void judge_order(struct world *w, const struct host *h, enum side side)
{
    const struct host_view *v = &h->view;
    struct id last = {0};

    for (size_t i = 0; i < v->counts[side]; i++) {
        struct id d = distance(side, &h->identity.id, &v->near[side][i]);

        if (id_cmp(&d, &last) <= 0)
            world_violated(w, "host %u's %s list is not in order, or names somebody twice",
                           (unsigned)h->index, side == RIGHT ? "right" : "left");
        if (world_host(w, &v->near[side][i]) == NULL && w->identities <= w->host_count)
            world_violated(w, "host %u's list names somebody who never was", (unsigned)h->index);
        last = d;
    }
}

static void judge_skip(struct world *w, struct host *h, enum side side, const struct host *nearest)
{
    struct host_view *v = &h->view;
    bool skips = false;

    if (v->member && nearest != NULL) {
        struct id ideal = distance(side, &h->identity.id, &nearest->identity.id);
        struct id first = v->counts[side] > 0 ? distance(side, &h->identity.id, &v->near[side][0])
                                              : (struct id){0};

        skips = v->counts[side] == 0 || id_cmp(&ideal, &first) < 0;
    }
    if (skips == (v->skips_us[side] != 0))
        return;
    v->skips_us[side] = skips ? w->now_us : 0;
}

static bool side_is_ideal(const struct host *h, enum side side, struct host *const *ideal,
                          size_t count)
{
    if (h->view.counts[side] != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!id_eq(&h->view.near[side][i], &ideal[i]->identity.id))
            return false;
    return true;
}

/* Compares with what the lists ought to be. */
static void compare(struct world *w, struct host *h)
{
    struct host_view *v = &h->view;
    struct ring_check *c = &w->ring;
    bool was_closed = v->first_right[LEFT] && v->first_right[RIGHT], was_ideal = v->ideal;

    v->ideal = v->member;
    for (int side = LEFT; side <= RIGHT; side++) {
        struct host *ideal[OVERLAY_NEAR];
        size_t count = ideal_near(w, h, side, OVERLAY_NEAR, ideal);

        v->first_right[side] =
            v->member &&
            (count == 0 ? v->counts[side] == 0
                        : v->counts[side] > 0 && id_eq(&v->near[side][0], &ideal[0]->identity.id));
        v->ideal &= side_is_ideal(h, side, ideal, count);
        judge_skip(w, h, side, count > 0 ? ideal[0] : NULL);
    }
    c->closed += (v->first_right[LEFT] && v->first_right[RIGHT]) - was_closed;
    c->ideal += v->ideal - was_ideal;
}

static void note_times(struct world *w)
{
    struct ring_check *c = &w->ring;

    if (c->complete_us == 0 && ring_check_is_closed(w))
        c->complete_us = w->now_us;
    if (!ring_check_is_ideal(w))
        c->ideal_us = 0;
    else if (c->ideal_us == 0)
        c->ideal_us = w->now_us;
}

/* What the node's lists are now. True: otherwise than before. */
static bool look(struct host *h)
{
    struct host_view *v = &h->view;
    struct id near[2][OVERLAY_NEAR];
    uint8_t counts[2] = {0};

    if (h->node != NULL) {
        counts[LEFT] = (uint8_t)overlay_near_left(host_overlay(h), near[LEFT]);
        counts[RIGHT] = (uint8_t)overlay_near_right(host_overlay(h), near[RIGHT]);
    }
    if (memcmp(counts, v->counts, sizeof(counts)) == 0 &&
        memcmp(near[LEFT], v->near[LEFT], counts[LEFT] * sizeof(struct id)) == 0 &&
        memcmp(near[RIGHT], v->near[RIGHT], counts[RIGHT] * sizeof(struct id)) == 0)
        return false;
    memcpy(v->counts, counts, sizeof(counts));
    memcpy(v->near[LEFT], near[LEFT], counts[LEFT] * sizeof(struct id));
    memcpy(v->near[RIGHT], near[RIGHT], counts[RIGHT] * sizeof(struct id));
    return true;
}

static void compare_around(struct world *w, struct host *h)
{
    for (int side = LEFT; side <= RIGHT; side++) {
        struct host *around[OVERLAY_NEAR];
        size_t count = ideal_near(w, h, side, OVERLAY_NEAR, around);

        for (size_t i = 0; i < count; i++)
            compare(w, around[i]);
    }
}

void ring_check_touched(struct world *w, struct host *h)
{
    bool member = h->node != NULL && overlay_state(host_overlay(h)) == OVERLAY_MEMBER;
    bool moved = look(h);

    if (moved)
        for (int side = LEFT; side <= RIGHT; side++)
            judge_order(w, h, side);
    if (member != h->view.member) {
        if (member)
            member_add(&w->ring, h);
        else
            member_drop(&w->ring, h);
        h->view.member = member;
        h->view.member_us = w->now_us;
        compare(w, h);
        compare_around(w, h);
        note_times(w);
    } else if (moved) {
        compare(w, h);
        note_times(w);
    }
}

void ring_check_all_touched(struct world *w)
{
    for (size_t i = 0; i < w->ring.count; i++)
        compare(w, w->ring.members[i].host);
    note_times(w);
}

bool ring_check_is_closed(const struct world *w)
{
    return w->on > 0 && w->ring.count == w->on && w->ring.closed == w->on;
}

bool ring_check_is_ideal(const struct world *w)
{
    return w->on > 0 && w->ring.count == w->on && w->ring.ideal == w->on;
}

/* ---- all of it ---- */

/* The first live member to the right that the host itself knows. */
static struct host *known_right(const struct world *w, const struct host *h)
{
    for (size_t i = 0; i < h->view.counts[RIGHT]; i++) {
        struct host *next = world_host(w, &h->view.near[RIGHT][i]);

        if (next != NULL && next->view.member &&
            internet_together(&w->internet, h->index, next->index))
            return next;
    }
    return NULL;
}

/* How often this cycle goes round: each step past zero is one more time. */
static size_t rounds_of(const struct world *w, struct host *start)
{
    struct host *h = start, *next;
    size_t rounds = 0;

    do {
        next = known_right(w, h);
        rounds += id_cmp(&next->identity.id, &h->identity.id) <= 0;
        h = next;
    } while (h != start);
    return rounds;
}

/* Cycles of known_right, each as often as it goes round, and ends where it leads no further (who is
 * alone is one). One ordered ring of all: 1. */
static size_t count_rings(struct world *w)
{
    size_t rings = 0;
    uint32_t walk = 0;

    for (size_t i = 0; i < w->ring.count; i++)
        w->ring.members[i].host->view.walk = 0;
    for (size_t i = 0; i < w->ring.count; i++) {
        struct host *h = w->ring.members[i].host, *last = NULL;

        for (walk++; h != NULL && h->view.walk == 0; h = known_right(w, h)) {
            h->view.walk = walk;
            last = h;
        }
        if (h == NULL && last != NULL)
            rings++;
        else if (h != NULL && h->view.walk == walk)
            rings += rounds_of(w, h);
    }
    return rings;
}

/* How long its list has passed over a live member with nothing broken: what was healed, or is told
 * of nobody who is there, may take the time that rings take to become one. */
static usec skips_calmly(const struct world *w, const struct host *h, enum side side)
{
    usec since_us = h->view.skips_us[side];

    if (since_us == 0 || w->faults_on)
        return 0;
    since_us = since_us > w->fault_us ? since_us : w->fault_us;
    since_us = since_us > w->ring.stranded_us ? since_us : w->ring.stranded_us;
    return w->now_us - since_us;
}

static void judge_skips(struct world *w, struct host *h)
{
    for (int side = LEFT; side <= RIGHT; side++) {
        usec for_us = skips_calmly(w, h, side);

        if (for_us > w->ring.skip_longest_us)
            w->ring.skip_longest_us = for_us;
        if (for_us <= SEC(RING_CHECK_SETTLE_S))
            continue;
        world_violated(w, "host %u's %s list has passed over a live member since %.3f s",
                       (unsigned)h->index, side == RIGHT ? "right" : "left",
                       (double)h->view.skips_us[side] / 1e6);
        h->view.skips_us[side] = w->now_us;
    }
}

void ring_check_count(struct world *w)
{
    w->ring.rings = count_rings(w);
    if (w->ring.rings != 1 || w->faults_on)
        w->ring.broken_us = w->now_us;
}

/* Parts that have a member. */
static size_t parts_peopled(const struct world *w)
{
    bool seen[UINT8_MAX + 1] = {false};
    size_t parts = 0;

    for (size_t i = 0; i < w->ring.count; i++) {
        uint8_t part = w->internet.places[w->ring.members[i].host->index].part;

        parts += !seen[part];
        seen[part] = true;
    }
    return parts;
}

/* Whoever a session joins is in one ring with him, soon: more rings than islands may there be only
 * for as long as that takes. */
static void judge_islands(struct world *w)
{
    struct ring_check *c = &w->ring;
    usec since_us;

    c->rings_parted = c->rings;
    if (c->rings <= parts_peopled(w) || c->rings <= islands_count(w)) {
        c->crowded_us = 0;
        return;
    }
    if (c->crowded_us == 0)
        c->crowded_us = w->now_us;
    since_us = c->crowded_us > w->fault_us ? c->crowded_us : w->fault_us;
    if (w->now_us <= since_us + SEC(RING_CHECK_SETTLE_S))
        return;
    world_violated(w, "%zu rings, though sessions join the members to %zu islands", c->rings,
                   islands_count(w));
    c->crowded_us = w->now_us;
}

void ring_check_second(struct world *w)
{
    struct ring_check *c = &w->ring;
    bool was_one = c->rings == 1;

    ring_check_count(w);
    if (w->parts > 0)
        judge_islands(w);
    if (c->complete_us != 0 && was_one && c->rings > 1 && !w->faults_on &&
        w->now_us - w->fault_us > SEC(RING_CHECK_SETTLE_S) &&
        w->now_us - c->stranded_us > SEC(RING_CHECK_SETTLE_S))
        world_violated(w, "the ring fell into %zu with nothing broken", c->rings);
    for (size_t i = 0; i < c->count; i++)
        judge_skips(w, c->members[i].host);
}

/* ---- for people ---- */

static void explain_side(const struct world *w, const struct host *h, enum side side)
{
    struct host *ideal[OVERLAY_NEAR];
    size_t count = ideal_near(w, h, side, OVERLAY_NEAR, ideal);

    fprintf(stderr, "  %s: is", side == RIGHT ? "right" : "left");
    for (size_t i = 0; i < h->view.counts[side]; i++) {
        const struct host *other = world_host(w, &h->view.near[side][i]);

        if (other == NULL)
            fprintf(stderr, " (gone)");
        else
            fprintf(stderr, " %u%s", (unsigned)other->index,
                    other->view.member        ? ""
                    : other->state == HOST_ON ? "(joining)"
                                              : "(dead)");
    }
    fprintf(stderr, "; ought to be");
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, " %u", (unsigned)ideal[i]->index);
    fprintf(stderr, "\n");
}

void ring_check_explain(const struct world *w, size_t max)
{
    char text[ID_SHORT_SIZE];

    for (size_t i = 0; i < w->host_count && max > 0; i++) {
        const struct host *h = &w->hosts[i];

        if (h->node == NULL || h->view.ideal)
            continue;
        max--;
        fprintf(stderr, "host %u (%s)%s:\n", (unsigned)h->index, id_short(&h->identity.id, text),
                h->view.member ? "" : ", no member");
        explain_side(w, h, LEFT);
        explain_side(w, h, RIGHT);
    }
}
