#include "overlay/ring.h"

#include "overlay/core/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GAPS_MAX = 256,   /* looked at for the size estimate; more add nothing */
    VIEW_UNIT = 2048, /* of log2 in views of the size */
    VIEW_MAX = UINT16_MAX,
    VIEW_TELL = VIEW_UNIT / 50, /* a view that moved by a seventieth is told, once a second */
    VIEW_LATE = VIEW_UNIT / 2, /* two means so far apart: the ring changed, and one does not know */
    OPINIONS_MAX = 64,         /* of one mean; more add nothing */
    SHORTCUT_NEAREST = 8, /* gaps away at least: lookahead sees twice as far as the near lists */
    LINKS_LEAST = 11,     /* a ring of 100 gains a tenth of its hops by the last of them */
    FAILURES_MAX = 3,     /* the quiet time doubles no further */
    PEERS_LEAST = 16,     /* slots for peers that are never given back */
};
static const usec tell_views_us = SEC(1);
static const usec quiet_us = SEC(2);    /* after a first failure */
static const usec yield_us = MSEC(300); /* the lower id of two opens at once, the higher waits */
static const double circle_closed = 0.9999; /* gaps known cover the ring */

void ring_init(struct ring *ring, const struct id *self, struct env *env)
{
    *ring = (struct ring){.env = env,
                          .self = *self,
                          .members = 1,
                          .stale = true,
                          .picks_stale = true,
                          .gaps_stale = true,
                          .near_version = 1,
                          .views_version = 1,
                          .shortcut_version = 1};
}

void ring_clear(struct ring *ring)
{
    free(ring->peers);
    free(ring->candidates);
    ring->peers = NULL;
    ring->candidates = NULL;
    ring->count = ring->size = ring->candidate_count = ring->candidate_size = 0;
}

void ring_set_state(struct ring *ring, enum overlay_state state)
{
    ring->state = state;
    ring->stale = ring->picks_stale = true;
}

void ring_touch(struct ring *ring)
{
    ring->stale = true;
}

/* A node that was introduced counts before it has said a word: it waits to hear that. */
static bool counts(const struct ring_peer *peer)
{
    return peer->state == OVERLAY_MEMBER || (peer->state != OVERLAY_LEAVING && peer->welcome);
}

/* What can change our lists, and what cannot. A node hears far more news than concern it: its
 * shortcuts' neighbours are not its own. */

/* By its first 8 bytes alone, and so with one unit of slack: the lower bytes may borrow. */
static bool is_beyond(uint64_t distance_top, uint64_t reach)
{
    return distance_top != 0 && distance_top - 1 > reach;
}

static bool is_within(const struct ring *ring, const struct id *id, const uint64_t reach[2])
{
    uint64_t right = id_load64(id->b) - id_load64(ring->self.b);

    return !is_beyond(right, reach[RING_RIGHT]) || !is_beyond(-right, reach[RING_LEFT]);
}

static size_t said_count(const struct ring_said *said)
{
    return (size_t)said->counts[RING_LEFT] + said->counts[RING_RIGHT] + said->shortcuts;
}

static bool said_concerns(const struct ring *ring, const struct ring_said *said)
{
    size_t n = said_count(said);

    for (size_t i = 0; i < n; i++)
        if (is_within(ring, &said->entries[i].id, ring->near_reach))
            return true;
    return false;
}

void ring_peer_changed(struct ring *ring, const struct ring_peer *peer)
{
    ring->stale = ring->gaps_stale = true;
    if (!ring->picks_stale)
        ring->picks_stale =
            is_within(ring, &peer->id, ring->told_reach) || said_concerns(ring, &peer->said);
}

/* Peers: an array of pointers sorted by id. */

/* Where id is or belongs. */
static size_t peer_slot(const struct ring *ring, const struct id *id, bool *found)
{
    size_t low = 0, high = ring->count;

    *found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = id_cmp(&ring->peers[middle]->id, id);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct ring_peer *ring_find(const struct ring *ring, const struct id *id)
{
    bool found;
    size_t slot = peer_slot(ring, id, &found);

    return found ? ring->peers[slot] : NULL;
}

/* Grows an array so that one more fits. An overlay cannot go on without its tables. */
static void *make_room(void *array, size_t count, size_t *size, size_t each)
{
    if (count < *size)
        return array;
    *size = *size > 0 ? 2 * *size : 8;
    array = realloc(array, *size * each);
    CHECK(array != NULL);
    return array;
}

static bool forget_candidate(struct ring *ring, const struct id *id);

void ring_add(struct ring *ring, struct ring_peer *peer)
{
    bool found;
    size_t slot = peer_slot(ring, &peer->id, &found);

    CHECK(!found);
    ring->peers = make_room(ring->peers, ring->count, &ring->size, sizeof *ring->peers);
    memmove(ring->peers + slot + 1, ring->peers + slot, (ring->count - slot) * sizeof *ring->peers);
    ring->peers[slot] = peer;
    ring->count++;
    ring->stale = true;
    if (forget_candidate(ring, &peer->id))
        ring->picks_stale = true;
    if (counts(peer))
        ring_peer_changed(ring, peer);
}

/* Many come in through one node at times. */
static void give_peers_room_back(struct ring *ring)
{
    struct ring_peer **fewer;

    if (3 * ring->count > ring->size || ring->size <= PEERS_LEAST)
        return;
    fewer = realloc(ring->peers, ring->size / 2 * sizeof *fewer);
    if (fewer == NULL)
        return;
    ring->peers = fewer;
    ring->size /= 2;
}

void ring_remove(struct ring *ring, struct ring_peer *peer)
{
    bool found;
    size_t slot = peer_slot(ring, &peer->id, &found);

    CHECK(found && ring->peers[slot] == peer);
    ring->count--;
    memmove(ring->peers + slot, ring->peers + slot + 1, (ring->count - slot) * sizeof *ring->peers);
    give_peers_room_back(ring);
    ring->stale = true;
    if (peer->state != OVERLAY_ALONE || counts(peer))
        ring_peer_changed(ring, peer);
    else if (is_within(ring, &peer->id, ring->near_reach) || said_concerns(ring, &peer->said))
        ring->picks_stale = true; /* it said nothing, and yet we may want it, or wait for it */
    if (peer->shortcut)
        ring->shortcut_version++;
    if (peer->shortcut || is_within(ring, &peer->id, ring->told_reach))
        ring->gone_version++;
}

const struct ring_entry *ring_said_side(const struct ring_said *said, enum ring_side side)
{
    if (said->counts[side] == 0)
        return NULL;
    return said->entries + (side == RING_LEFT ? 0 : said->counts[RING_LEFT]);
}

/* The size estimate sees the same in both. */
static bool same_gaps(const struct ring_said *a, const struct ring_said *b)
{
    size_t n = (size_t)a->counts[RING_LEFT] + a->counts[RING_RIGHT];

    if (a->counts[RING_LEFT] != b->counts[RING_LEFT] ||
        a->counts[RING_RIGHT] != b->counts[RING_RIGHT])
        return false;
    for (size_t i = 0; i < n; i++)
        if (a->entries[i].flags != b->entries[i].flags ||
            !id_eq(&a->entries[i].id, &b->entries[i].id))
            return false;
    return true;
}

static void take_said(struct ring *ring, struct ring_peer *peer, const struct ring_said *said)
{
    ring->stale = true;
    ring->gaps_stale |= !same_gaps(&peer->said, said);
    if (!ring->picks_stale)
        ring->picks_stale = said_concerns(ring, &peer->said) || said_concerns(ring, said);
    free(peer->said.entries);
    peer->said = *said;
}

int ring_hear(struct ring *ring, struct ring_peer *peer, const struct ring_said *said,
              bool with_shortcuts)
{
    const struct ring_said *old = &peer->said;
    size_t nears = (size_t)said->counts[RING_LEFT] + said->counts[RING_RIGHT];
    size_t old_nears = (size_t)old->counts[RING_LEFT] + old->counts[RING_RIGHT];
    size_t shortcuts = with_shortcuts ? said->shortcuts : old->shortcuts;
    struct ring_entry *entries = NULL;

    if (nears + shortcuts > 0) {
        entries = malloc((nears + shortcuts) * sizeof *entries);
        if (entries == NULL)
            return -ERR_NOMEM;
        if (nears > 0)
            memcpy(entries, said->entries, nears * sizeof *entries);
        if (shortcuts > 0)
            memcpy(entries + nears,
                   with_shortcuts ? said->entries + nears : old->entries + old_nears,
                   shortcuts * sizeof *entries);
    }
    take_said(ring, peer,
              &(struct ring_said){.counts = {said->counts[RING_LEFT], said->counts[RING_RIGHT]},
                                  .shortcuts = (uint8_t)shortcuts,
                                  .entries = entries});
    return 0;
}

void ring_peer_clear(struct ring_peer *peer)
{
    free(peer->said.entries);
    peer->said = (struct ring_said){.entries = NULL};
    memset(peer->views, 0, sizeof peer->views);
}

/* Candidates. */

static struct ring_candidate *candidate_slot(const struct ring *ring, const struct id *id,
                                             bool *found)
{
    size_t i = 0;
    int order = 1;

    while (i < ring->candidate_count && (order = id_cmp(&ring->candidates[i].id, id)) < 0)
        i++;
    *found = i < ring->candidate_count && order == 0;
    return ring->candidates != NULL ? ring->candidates + i : NULL;
}

static struct ring_candidate *find_candidate(const struct ring *ring, const struct id *id)
{
    bool found;
    struct ring_candidate *c = candidate_slot(ring, id, &found);

    return found ? c : NULL;
}

static bool forget_candidate(struct ring *ring, const struct id *id)
{
    struct ring_candidate *c = find_candidate(ring, id);

    if (c == NULL)
        return false;
    ring->candidate_count--;
    memmove(c, c + 1,
            (size_t)(ring->candidates + ring->candidate_count - c) * sizeof *ring->candidates);
    return true;
}

/* NULL when the table is full. */
static struct ring_candidate *need_candidate(struct ring *ring, const struct id *id)
{
    bool found;
    struct ring_candidate *c = candidate_slot(ring, id, &found);
    size_t i = (size_t)(c - ring->candidates);

    if (found)
        return c;
    if (ring->candidate_count >= RING_CANDIDATES_MAX)
        return NULL;
    ring->candidates = make_room(ring->candidates, ring->candidate_count, &ring->candidate_size,
                                 sizeof *ring->candidates);
    c = ring->candidates + i;
    memmove(c + 1, c, (ring->candidate_count - i) * sizeof *c);
    ring->candidate_count++;
    *c = (struct ring_candidate){.id = *id, .open_at_us = USEC_NEVER};
    return c;
}

void ring_hint(struct ring *ring, const struct id *id, const struct id *via,
               const struct endpoint *ep, usec delay_us, usec for_us)
{
    struct ring_candidate *c;

    if (id_eq(id, &ring->self) || ring_find(ring, id) != NULL)
        return;
    c = need_candidate(ring, id);
    if (c == NULL)
        return;
    c->heard_until_us = ring->env->now_us + for_us;
    if (c->failures == 0)
        c->open_at_us = usec_min(c->open_at_us, ring->env->now_us + delay_us);
    if (via != NULL)
        c->via = *via;
    if (ep != NULL)
        c->ep = *ep;
    ring->stale = ring->picks_stale = true;
}

void ring_hear_endpoint(struct ring *ring, const struct id *id, const struct endpoint *ep)
{
    struct ring_candidate *c;

    if (ep->addr.family == 0 || !(ring->picks_stale || is_within(ring, id, ring->near_reach)) ||
        id_eq(id, &ring->self) || ring_find(ring, id) != NULL)
        return;
    c = need_candidate(ring, id);
    if (c != NULL && c->ep.addr.family == 0)
        c->ep = *ep;
}

void ring_welcome(struct ring *ring, const struct id *id, const struct id *via,
                  const struct endpoint *ep, usec for_us)
{
    struct ring_candidate *c = find_candidate(ring, id);

    if (c != NULL && !c->trying) {
        c->failures = 0;
        c->quiet_until_us = 0;
        c->open_at_us = USEC_NEVER;
    }
    ring_hint(ring, id, via, ep, 0, for_us);
    c = find_candidate(ring, id);
    if (c != NULL)
        c->introduced = true;
}

bool ring_is_opening(const struct ring *ring, const struct id *id, struct id *via)
{
    const struct ring_candidate *c = find_candidate(ring, id);

    *via = c != NULL ? c->via : (struct id){{0}};
    return c != NULL;
}

bool ring_is_torn(const struct ring *ring)
{
    for (size_t i = 0; i < ring->candidate_count; i++)
        if (ring->candidates[i].wanted)
            return true;
    return ring->count == 0;
}

void ring_lost(struct ring *ring, const struct id *id)
{
    struct ring_candidate *c = need_candidate(ring, id);

    ring->stale = ring->picks_stale = true;
    if (c == NULL)
        return;
    c->quiet_until_us = ring->env->now_us + (quiet_us << c->failures);
    c->open_at_us = c->quiet_until_us;
    c->trying = false;
    if (c->failures < FAILURES_MAX)
        c->failures++;
}

void ring_released(struct ring *ring, const struct id *id)
{
    struct ring_candidate *c = find_candidate(ring, id);

    ring->stale = true;
    if (c == NULL)
        return;
    ring->picks_stale = true;
    c->trying = false;
    c->open_at_us = ring->env->now_us + yield_us;
}

/* Choosing the closest on each side. */

struct pick {
    const struct ring *ring;
    struct id_words centre;
    size_t count[2];
    struct id_words distance[2][OVERLAY_NEAR];
    struct id id[2][OVERLAY_NEAR];
    const struct ring_peer *peer[2][OVERLAY_NEAR];   /* up; NULL: hearsay or a hint */
    const struct ring_peer *teller[2][OVERLAY_NEAR]; /* of hearsay: has a session with it */
    const struct ring_peer *told_by;
    uint64_t reach[2]; /* of the farthest that stands on that side; UINT64_MAX: there is room */
};

static struct pick pick_around(const struct ring *ring, const struct id *centre)
{
    return (struct pick){
        .ring = ring, .centre = id_words(centre), .reach = {UINT64_MAX, UINT64_MAX}};
}

static void pick_on_side(struct pick *p, enum ring_side side, struct id_words distance,
                         const struct id *id, const struct ring_peer *peer)
{
    size_t n = p->count[side], i = 0;
    int order = 1;

    while (i < n && (order = id_words_cmp(p->distance[side][i], distance)) < 0)
        i++;
    if (i < n && order == 0)
        return;
    if (i == OVERLAY_NEAR)
        return;
    if (n == OVERLAY_NEAR)
        n--;
    for (size_t k = n; k > i; k--) {
        p->distance[side][k] = p->distance[side][k - 1];
        p->id[side][k] = p->id[side][k - 1];
        p->peer[side][k] = p->peer[side][k - 1];
        p->teller[side][k] = p->teller[side][k - 1];
    }
    p->distance[side][i] = distance;
    p->id[side][i] = *id;
    p->peer[side][i] = peer;
    p->teller[side][i] = p->told_by;
    p->count[side] = n + 1;
    if (n + 1 == OVERLAY_NEAR)
        p->reach[side] = p->distance[side][n].high;
}

static bool is_in_reach(const struct pick *p, const struct id *id)
{
    uint64_t top = id_load64(id->b) - p->centre.high;

    return !is_beyond(top, p->reach[RING_RIGHT]) || !is_beyond(-top, p->reach[RING_LEFT]);
}

static void pick_offer(struct pick *p, const struct id *id, const struct ring_peer *peer)
{
    struct id_words at = id_words(id);
    struct id_words right = id_words_sub(at, p->centre), left = id_words_sub(p->centre, at);

    if (id_words_is_zero(right))
        return;
    if (right.high <= p->reach[RING_RIGHT])
        pick_on_side(p, RING_RIGHT, right, id, peer);
    if (left.high <= p->reach[RING_LEFT])
        pick_on_side(p, RING_LEFT, left, id, peer);
}

/* slot: counted on past the last one, for once. */
static bool offer_peer(struct pick *p, size_t slot)
{
    const struct ring *ring = p->ring;
    const struct ring_peer *peer = ring->peers[slot < ring->count ? slot : slot - ring->count];

    if (!counts(peer) || id_eq(&peer->id, &ring->self))
        return false;
    pick_offer(p, &peer->id, peer);
    return true;
}

/* In their order from ourselves on, either way: the first that count are the closest. */
static void offer_peers(struct pick *p)
{
    bool found;
    size_t n = p->ring->count, slot = peer_slot(p->ring, &p->ring->self, &found);

    for (size_t i = 0, offered = 0; i < n && offered < OVERLAY_NEAR; i++)
        offered += offer_peer(p, slot + i);
    for (size_t i = 1, offered = 0; i <= n && offered < OVERLAY_NEAR; i++)
        offered += offer_peer(p, slot + n - i);
}

/* Hearsay brings in a node that failed us only when `anyway` and its quiet time is over. */
static bool believable(const struct ring *ring, const struct id *id, bool anyway)
{
    const struct ring_candidate *c;
    const struct ring_peer *peer = ring_find(ring, id);

    if (peer != NULL && peer->state != OVERLAY_ALONE) /* what it says itself is worth more */
        return counts(peer) || (anyway && peer->state == OVERLAY_JOINING);
    c = find_candidate(ring, id);
    if (c == NULL || c->failures == 0)
        return true;
    return anyway && c->quiet_until_us <= ring->env->now_us;
}

/* Another offer of it changes nothing. */
static bool is_picked(const struct pick *p, const struct id *id)
{
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        for (size_t i = 0; i < p->count[side]; i++)
            if (id_eq(&p->id[side][i], id))
                return true;
    return false;
}

/* True when something was not believed that may be believed `anyway`. */
static bool offer_hearsay(struct pick *p, bool joiners, bool anyway)
{
    const struct ring *ring = p->ring;
    bool disbelieved = false;

    for (size_t i = 0; i < ring->count; i++) {
        const struct ring_peer *peer = ring->peers[i];
        size_t n = said_count(&peer->said);

        if (peer->state != OVERLAY_MEMBER && !joiners)
            continue;
        p->told_by = peer;
        for (size_t k = 0; k < n; k++) {
            const struct ring_entry *e = &peer->said.entries[k];

            if ((e->flags & RING_ENTRY_JOINING) != 0 && !joiners)
                continue;
            if (!is_in_reach(p, &e->id) || is_picked(p, &e->id)) /* as nearly all are */
                continue;
            if (believable(ring, &e->id, anyway))
                pick_offer(p, &e->id, NULL);
            else
                disbelieved = true;
        }
    }
    p->told_by = NULL;
    return disbelieved;
}

static void offer_hints(struct pick *p)
{
    const struct ring *ring = p->ring;

    for (size_t i = 0; i < ring->candidate_count; i++) {
        const struct ring_candidate *c = &ring->candidates[i];

        if (c->heard_until_us > ring->env->now_us && c->quiet_until_us <= ring->env->now_us)
            pick_offer(p, &c->id, NULL);
    }
}

static bool take_list(struct ring_list *list, const struct pick *p, enum ring_side side)
{
    bool same = list->count == p->count[side];

    for (size_t i = 0; same && i < list->count; i++)
        same = id_eq(&list->id[i], &p->id[side][i]);
    list->count = (uint8_t)p->count[side];
    memcpy(list->id, p->id[side], p->count[side] * sizeof list->id[0]);
    return !same;
}

static struct ring_entry entry_of(const struct ring_peer *peer)
{
    struct ring_entry e = {.id = peer->id, .rtt = peer->rtt};

    if (peer->state != OVERLAY_MEMBER)
        e.flags |= RING_ENTRY_JOINING;
    if (peer->indirect)
        e.flags |= RING_ENTRY_INDIRECT;
    return e;
}

/* First-hand lists; a change of round-trip time alone is not news. */
static bool update_told(struct ring *ring, const struct pick *p)
{
    bool changed = false;

    for (int side = RING_LEFT; side <= RING_RIGHT; side++) {
        changed |= ring->told_count[side] != p->count[side];
        ring->told_count[side] = (uint8_t)p->count[side];
        for (size_t i = 0; i < p->count[side]; i++) {
            struct ring_entry e = entry_of(p->peer[side][i]);
            struct ring_entry *old = &ring->told[side][i];

            changed |= !id_eq(&old->id, &e.id) || old->flags != e.flags;
            *old = e;
        }
    }
    return changed;
}

/* Through who told us of it, if that is how we know: there is a session from there. */
static void want(struct ring *ring, const struct id *id, const struct ring_peer *teller)
{
    struct ring_candidate *c;
    usec at_us;

    if (ring_find(ring, id) != NULL)
        return;
    c = need_candidate(ring, id);
    if (c == NULL)
        return;
    c->wanted = true;
    if (teller != NULL && !c->trying && !teller->indirect)
        c->via = teller->id;
    if (c->open_at_us != USEC_NEVER || c->trying)
        return;
    at_us = ring->env->now_us + (id_cmp(&ring->self, id) < 0 ? 0 : yield_us);
    c->open_at_us = at_us > c->quiet_until_us ? at_us : c->quiet_until_us;
}

/* A joiner knows many candidates, a settled node none. */
static void give_room_back(struct ring *ring)
{
    struct ring_candidate *fewer;

    if (ring->candidate_count == 0) {
        free(ring->candidates);
        ring->candidates = NULL;
        ring->candidate_size = 0;
    } else if (4 * ring->candidate_count <= ring->candidate_size) {
        fewer = realloc(ring->candidates, ring->candidate_size / 2 * sizeof *fewer);
        if (fewer == NULL)
            return;
        ring->candidates = fewer;
        ring->candidate_size /= 2;
    }
}

static void drop_idle_candidates(struct ring *ring)
{
    size_t kept = 0;
    usec now_us = ring->env->now_us;

    for (size_t i = 0; i < ring->candidate_count; i++) {
        const struct ring_candidate *c = &ring->candidates[i];

        if (c->wanted || c->trying || c->heard_until_us > now_us || c->quiet_until_us > now_us)
            ring->candidates[kept++] = *c;
    }
    ring->candidate_count = kept;
    give_room_back(ring);
}

static void update_wanted(struct ring *ring, const struct pick *p)
{
    for (size_t i = 0; i < ring->candidate_count; i++)
        ring->candidates[i].wanted = false;
    for (int side = RING_LEFT; side <= RING_RIGHT; side++) {
        (void)take_list(&ring->wanted[side], p, (enum ring_side)side);
        for (size_t i = 0; i < p->count[side]; i++)
            if (p->peer[side][i] == NULL)
                want(ring, &p->id[side][i], p->teller[side][i]);
    }
    drop_idle_candidates(ring);
}

static void update_members(struct ring *ring);

/* The next time that passes changes what is believed and what is hinted at. */
static usec candidates_news_at(const struct ring *ring)
{
    usec at_us = USEC_NEVER;

    for (size_t i = 0; i < ring->candidate_count; i++) {
        const struct ring_candidate *c = &ring->candidates[i];

        if (c->heard_until_us > ring->env->now_us)
            at_us = usec_min(at_us, c->heard_until_us);
        if (c->quiet_until_us > ring->env->now_us)
            at_us = usec_min(at_us, c->quiet_until_us);
    }
    return at_us;
}

/* All lists anew. True when ring_near changed. */
static bool update_picks(struct ring *ring)
{
    struct pick p = pick_around(ring, &ring->self);
    bool joiners = ring->state != OVERLAY_MEMBER, disbelieved, changed;

    ring->picks_stale = false;
    offer_peers(&p);
    memcpy(ring->told_reach, p.reach, sizeof ring->told_reach);
    if (update_told(ring, &p)) {
        ring->gaps_stale = true;
        ring->near_version++;
    }

    disbelieved = offer_hearsay(&p, false, false);
    memcpy(ring->near_reach, p.reach, sizeof ring->near_reach);
    changed = take_list(&ring->near[RING_LEFT], &p, RING_LEFT);
    changed |= take_list(&ring->near[RING_RIGHT], &p, RING_RIGHT);

    if (joiners || disbelieved)
        (void)offer_hearsay(&p, joiners, true);
    offer_hints(&p);
    update_wanted(ring, &p);
    ring->picks_until_us = candidates_news_at(ring);
    return changed;
}

/* Nothing that the lists follow from has changed. */
static void keep_picks(struct ring *ring)
{
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        for (size_t i = 0; i < ring->told_count[side]; i++) {
            const struct ring_peer *peer = ring_find(ring, &ring->told[side][i].id);

            CHECK(peer != NULL);
            ring->told[side][i].rtt = peer->rtt;
        }
    drop_idle_candidates(ring);
}

bool ring_update(struct ring *ring)
{
    bool changed = false;

    ring->stale = false;
    if (ring->picks_stale || ring->env->now_us >= ring->picks_until_us)
        changed = update_picks(ring);
    else
        keep_picks(ring);
    if (ring->gaps_stale)
        update_members(ring);
    return changed;
}

const struct ring_candidate *ring_due(struct ring *ring)
{
    for (size_t i = 0; i < ring->candidate_count; i++) {
        struct ring_candidate *c = &ring->candidates[i];

        if (c->wanted && !c->trying && c->open_at_us <= ring->env->now_us) {
            c->trying = true;
            return c;
        }
    }
    return NULL;
}

usec ring_deadline(const struct ring *ring)
{
    usec at_us = ring->stale ? ring->env->now_us : USEC_NEVER;

    for (size_t i = 0; i < ring->candidate_count; i++)
        if (ring->candidates[i].wanted && !ring->candidates[i].trying)
            at_us = usec_min(at_us, ring->candidates[i].open_at_us);
    return usec_min(at_us, candidates_news_at(ring));
}

static bool list_has(const struct ring_list *list, const struct id *id)
{
    for (size_t i = 0; i < list->count; i++)
        if (id_eq(&list->id[i], id))
            return true;
    return false;
}

bool ring_is_near(const struct ring *ring, const struct id *id)
{
    if (!is_within(ring, id, ring->near_reach)) /* as most are, and all are asked about */
        return false;
    return list_has(&ring->near[RING_LEFT], id) || list_has(&ring->near[RING_RIGHT], id) ||
           list_has(&ring->wanted[RING_LEFT], id) || list_has(&ring->wanted[RING_RIGHT], id);
}

/* The first of our wanted list on that side is up and says that we are its first on the other. */
static bool taken_in(const struct ring *ring, enum ring_side side)
{
    enum ring_side back = side == RING_LEFT ? RING_RIGHT : RING_LEFT;
    const struct ring_list *list = &ring->wanted[side];
    const struct ring_peer *peer;
    const struct ring_entry *first;

    if (list->count == 0)
        return false;
    peer = ring_find(ring, &list->id[0]);
    first = peer != NULL ? ring_said_side(&peer->said, back) : NULL;
    return first != NULL && id_eq(&first->id, &ring->self);
}

bool ring_joined(const struct ring *ring)
{
    return taken_in(ring, RING_LEFT) && taken_in(ring, RING_RIGHT);
}

bool ring_owns(const struct ring *ring, const struct id *key)
{
    if (ring->state != OVERLAY_MEMBER)
        return false;
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        for (size_t i = 0; i < ring->near[side].count; i++) {
            const struct id *id = &ring->near[side].id[i];
            const struct ring_peer *peer = ring_find(ring, id);

            if (peer != NULL && peer->state != OVERLAY_MEMBER)
                continue; /* taken in, but not answering yet */
            if (id_closer(key, id, &ring->self))
                return false;
        }
    return true;
}

/*
 * The size estimate. Every list is a run of consecutive members; each pair of followers in it is
 * one gap. With k distinct gaps that cover a part S of the circle, the rest holds about
 * (1 - S)(k - 1)/S more; when they cover it all, k is the number of members. A shortcut was found
 * by drawing a point, and points fall into wide gaps: each of ours (half of all) counts for one
 * more.
 */

struct gap {
    struct id_words from;
    double width;
};

/* In order; of two opinions on where a gap ends the narrower one. */
struct gaps {
    size_t count;
    size_t opinions;
    size_t last; /* where the last one was put */
    struct gap gap[GAPS_MAX];
};

/* Put in its place at once: each is told beside the one before, so it has few others to pass, and
 * GAPS_MAX of them whatever peers say. */
static void add_gap(struct gaps *g, const struct id *from_id, const struct id *to_id)
{
    struct id_words from = id_words(from_id), width = id_words_sub(id_words(to_id), from);
    struct gap gap = {from, id_words_fraction(width)};
    size_t i = g->last;

    if (g->opinions == GAPS_MAX || id_words_is_zero(width))
        return;
    g->opinions++;
    while (i < g->count && id_words_cmp(g->gap[i].from, from) < 0)
        i++;
    while (i > 0 && id_words_cmp(g->gap[i - 1].from, from) >= 0)
        i--;
    g->last = i;
    if (i < g->count && id_words_cmp(g->gap[i].from, from) == 0) {
        if (gap.width < g->gap[i].width)
            g->gap[i] = gap;
        return;
    }
    for (size_t k = g->count++; k > i; k--)
        g->gap[k] = g->gap[k - 1];
    g->gap[i] = gap;
}

static void add_run(struct gaps *g, const struct id *centre, const struct ring_entry *left,
                    size_t lefts, const struct ring_entry *right, size_t rights)
{
    const struct id *last = centre;

    for (size_t i = 0; i < rights; i++) {
        if ((right[i].flags & RING_ENTRY_JOINING) != 0)
            continue;
        add_gap(g, last, &right[i].id);
        last = &right[i].id;
    }
    last = centre;
    for (size_t i = 0; i < lefts; i++) {
        if ((left[i].flags & RING_ENTRY_JOINING) != 0)
            continue;
        add_gap(g, &left[i].id, last);
        last = &left[i].id;
    }
}

static double members_from_gaps(const struct gaps *g, double wide, bool *exact)
{
    double covered = 0;
    size_t k = g->count;

    for (size_t i = 0; i < k; i++)
        covered += g->gap[i].width;
    *exact = k == 0 || covered >= circle_closed;
    if (*exact || k < 2 || covered <= 0)
        return k > 0 ? (double)k : 1;
    return (double)k + (1 - covered) * ((double)(k - 1) + wide) / covered;
}

/*
 * One node's gaps are some fifty, and what they say is off by a seventh. Peers tell each other
 * their views; the mean of those is the second view, the mean of the peers' second views the third,
 * and of those what we believe: by then everybody has the gaps of hundreds of nodes in it. A view
 * follows from views before it only, so that nothing false or outdated keeps itself alive.
 * Neighbours see much the same gaps, and count for half. The highest and the lowest quarter do not
 * count at all: liars may be among the peers, and views from before the ring changed.
 */

struct opinion {
    uint16_t view;
    uint8_t weight;
};

struct opinions {
    size_t count;
    uint32_t weight; /* of all */
    struct opinion v[OPINIONS_MAX];
};

/* In their order. */
static void add_opinion(struct opinions *o, uint16_t view, uint8_t weight)
{
    size_t i = o->count;

    if (view == 0 || o->count == OPINIONS_MAX)
        return;
    o->count++;
    o->weight += weight;
    for (; i > 0 && o->v[i - 1].view > view; i--)
        o->v[i] = o->v[i - 1];
    o->v[i] = (struct opinion){view, weight};
}

/* The mean of the middle half, by weight: counted in quarters, from one to three of all. */
static uint16_t middle_of(const struct opinions *o)
{
    uint32_t sum = 0, at = 0, low = o->weight, high = 3 * o->weight;

    if (o->count == 0)
        return 0;
    for (size_t i = 0; i < o->count; i++) {
        uint32_t end = at + 4u * o->v[i].weight;
        uint32_t from = at > low ? at : low, to = end < high ? end : high;

        if (to > from)
            sum += (to - from) * o->v[i].view;
        at = end;
    }
    return (uint16_t)((sum + o->weight) / (high - low));
}

static uint16_t mean_view(const struct ring *ring, size_t k)
{
    struct opinions o;

    o.count = o.weight = 0;
    add_opinion(&o, ring->views[k], 2);
    for (size_t i = 0; i < ring->count; i++) {
        const struct ring_peer *peer = ring->peers[i];

        if (peer->state == OVERLAY_MEMBER)
            add_opinion(&o, peer->views[k], peer->shortcut ? 2 : 1);
    }
    return middle_of(&o);
}

/* A later view is better, and knows of a ring that grows or shrinks much when its peers do. */
static double believed_members(const struct ring *ring)
{
    size_t k = 1;

    while (k < RING_VIEWS && abs(ring->views[k + 1] - ring->views[k]) <= VIEW_LATE)
        k++;
    return exp2((double)ring->views[k] / VIEW_UNIT);
}

static void update_means(struct ring *ring)
{
    for (size_t k = 0; k < RING_VIEWS; k++)
        ring->views[k + 1] = ring->counted ? ring->views[0] : mean_view(ring, k);
    if (!ring->counted)
        ring->members = believed_members(ring);
    ring->means_stale = false;
}

static uint16_t view_of(double members)
{
    double view = log2(members) * VIEW_UNIT;

    return view < VIEW_MAX ? (uint16_t)view : VIEW_MAX;
}

static void update_members(struct ring *ring)
{
    struct gaps g;
    double own, wide = 0;

    ring->gaps_stale = false;
    g.count = g.opinions = g.last = 0;
    add_run(&g, &ring->self, ring->told[RING_LEFT], ring->told_count[RING_LEFT],
            ring->told[RING_RIGHT], ring->told_count[RING_RIGHT]);
    for (size_t i = 0; i < ring->count; i++) {
        const struct ring_peer *peer = ring->peers[i];
        const struct ring_said *said = &peer->said;

        if (peer->state != OVERLAY_MEMBER)
            continue;
        wide += peer->shortcut ? 0.5 : 0;
        add_run(&g, &peer->id, ring_said_side(said, RING_LEFT), said->counts[RING_LEFT],
                ring_said_side(said, RING_RIGHT), said->counts[RING_RIGHT]);
    }
    own = members_from_gaps(&g, wide, &ring->counted);
    ring->views[0] = view_of(own);
    if (ring->counted)
        ring->members = own;
    update_means(ring);
}

void ring_hear_views(struct ring *ring, struct ring_peer *peer, const uint16_t views[RING_VIEWS])
{
    memcpy(peer->views, views, sizeof peer->views);
    ring->means_stale = true;
}

void ring_settle_views(struct ring *ring)
{
    if (ring->means_stale)
        update_means(ring);
}

uint16_t ring_tell_views(struct ring *ring)
{
    bool moved = false;

    if (ring->env->now_us < ring->told_views_us + tell_views_us)
        return ring->views_version;
    for (size_t k = 0; k < RING_VIEWS; k++)
        moved |= abs(ring->views[k] - ring->told_views[k]) > VIEW_TELL;
    if (!moved)
        return ring->views_version;
    memcpy(ring->told_views, ring->views, sizeof ring->told_views);
    ring->told_views_us = ring->env->now_us;
    if (++ring->views_version == 0)
        ring->views_version = 1;
    return ring->views_version;
}

double ring_members(const struct ring *ring)
{
    return ring->members;
}

bool ring_is_small(const struct ring *ring)
{
    return ring->members < 2 * OVERLAY_NEAR + 1.5;
}

bool ring_spans(const struct ring *ring, const struct id *point)
{
    const struct ring_list *left = &ring->near[RING_LEFT], *right = &ring->near[RING_RIGHT];

    if (ring_is_small(ring))
        return true;
    return left->count == OVERLAY_NEAR && right->count == OVERLAY_NEAR &&
           id_between(&left->id[OVERLAY_NEAR - 1], point, &right->id[OVERLAY_NEAR - 1]);
}

void ring_around(const struct ring *ring, const struct id *point, const struct id *except,
                 struct ring_list out[2])
{
    struct pick p = pick_around(ring, point);

    if (ring->state == OVERLAY_MEMBER)
        pick_offer(&p, &ring->self, NULL);
    for (size_t i = 0; i < ring->count; i++)
        if (ring->peers[i]->state == OVERLAY_MEMBER && !id_eq(&ring->peers[i]->id, except))
            pick_offer(&p, &ring->peers[i]->id, ring->peers[i]);
    for (int side = RING_LEFT; side <= RING_RIGHT; side++)
        for (size_t i = 0; i < ring->near[side].count; i++)
            if (!id_eq(&ring->near[side].id[i], except))
                pick_offer(&p, &ring->near[side].id[i], NULL);
    (void)take_list(&out[RING_LEFT], &p, RING_LEFT);
    (void)take_list(&out[RING_RIGHT], &p, RING_RIGHT);
}

struct id ring_draw_shortcut(const struct ring *ring)
{
    double nearest = SHORTCUT_NEAREST / ring->members;
    double u = (double)env_random_u32(ring->env) / 4294967296.0;
    double at = nearest < 0.5 ? nearest * pow(0.5 / nearest, u) : 0.5;
    struct id distance = id_from_fraction(at);

    return (env_random_u32(ring->env) & 1) != 0 ? id_add(&ring->self, &distance)
                                                : id_sub(&ring->self, &distance);
}

double ring_shortcuts_wanted(const struct ring *ring)
{
    double most = (ring->members - 1 - 2 * OVERLAY_NEAR) / 2;
    double links = log2(ring->members) + 3;

    if (ring_is_small(ring))
        return 0;
    links = (links > LINKS_LEAST ? links : LINKS_LEAST) - 2 * OVERLAY_NEAR;
    return (links < most ? links : most) / 2;
}

void ring_write_entry(struct writer *w, const struct ring_entry *e)
{
    write_id(w, &e->id);
    write_u8(w, e->rtt);
    write_u8(w, e->flags);
}

void ring_read_entry(struct reader *r, struct ring_entry *e)
{
    e->id = read_id(r);
    e->rtt = read_u8(r);
    e->flags = read_u8(r);
}

uint8_t ring_rtt_code(usec rtt_us)
{
    usec code = rtt_us / RING_RTT_UNIT_US;

    return rtt_us == 0 || code > 254 ? 255 : (uint8_t)code;
}
