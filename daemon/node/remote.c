#include "daemon/node/remote.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"

void remotes_init(struct remotes *rs, const struct env *env)
{
    *rs = (struct remotes){.env = env};
    table_init(&rs->by_addr, offsetof(struct remote, addr), sizeof(struct addr), REMOTE_MAX,
               env->hash_key);
    heap_init(&rs->timers);
}

struct remote_packet *remote_take(struct remotes *rs, struct remote_queue *q)
{
    struct remote_packet *p = q->first;

    if (!p)
        return NULL;
    q->first = p->next;
    if (!q->first)
        q->last = NULL;
    q->count--;
    rs->waiting--;
    return p;
}

static void queue_drop(struct remotes *rs, struct remote_queue *q)
{
    struct remote_packet *p;

    while ((p = remote_take(rs, q)) != NULL) {
        rs->dropped++;
        free(p);
    }
}

void remote_forget(struct remotes *rs, struct remote *r)
{
    queue_drop(rs, &r->out);
    queue_drop(rs, &r->in);
    heap_set(&rs->timers, &r->timer, USEC_NEVER);
    table_remove(&rs->by_addr, &r->addr);
    free(r);
}

void remotes_clear(struct remotes *rs)
{
    while (rs->timers.count > 0)
        remote_forget(rs, CONTAINER_OF(rs->timers.v[0], struct remote, timer));
    table_clear(&rs->by_addr);
    heap_clear(&rs->timers);
}

struct remote *remote_get(const struct remotes *rs, const struct addr *addr)
{
    return table_get(&rs->by_addr, addr);
}

/* The timer runs to the end of the state, or to the end of the oldest wait when that is sooner. */
static void remote_set_timer(struct remotes *rs, struct remote *r)
{
    usec at_us = r->until_us;

    if (r->out.first)
        at_us = usec_min(at_us, r->out.first->until_us);
    if (r->in.first)
        at_us = usec_min(at_us, r->in.first->until_us);
    heap_set(&rs->timers, &r->timer, at_us);
}

struct remote *remote_add(struct remotes *rs, const struct addr *addr)
{
    struct remote *r;

    if (rs->by_addr.count == REMOTE_MAX)
        remote_forget(rs, CONTAINER_OF(rs->timers.v[0], struct remote, timer));
    r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->addr = *addr;
    if (table_put(&rs->by_addr, r) < 0) {
        free(r);
        return NULL;
    }
    r->state = REMOTE_LOOKING;
    r->until_us = rs->env->now_us + REMOTE_LOOK_US;
    remote_set_timer(rs, r);
    return r;
}

void remote_found(struct remotes *rs, struct remote *r, const struct id *owner, usec until_us)
{
    r->state = REMOTE_KNOWN;
    r->owner = *owner;
    r->until_us = until_us;
    remote_set_timer(rs, r);
}

void remote_absent(struct remotes *rs, struct remote *r, usec for_us)
{
    queue_drop(rs, &r->out);
    queue_drop(rs, &r->in);
    r->state = REMOTE_ABSENT;
    r->asked_us = rs->env->now_us;
    r->until_us = r->asked_us + for_us;
    remote_set_timer(rs, r);
}

void remotes_forget_owner(struct remotes *rs, const struct id *owner)
{
    struct remote *r, *gone = NULL;

    /* The table may not change under the walk: collect one, forget it, walk again. */
    do {
        gone = NULL;
        for (size_t i = 0; !gone && (r = table_next(&rs->by_addr, &i)) != NULL;)
            if (r->state == REMOTE_KNOWN && id_eq(&r->owner, owner))
                gone = r;
        if (gone)
            remote_forget(rs, gone);
    } while (gone);
}

static bool remote_wait(struct remotes *rs, struct remote *r, struct remote_queue *q,
                        uint32_t token, usec wait_us, const uint8_t *bytes, size_t len)
{
    struct remote_packet *p = NULL;

    if (q->count < REMOTE_WAIT_PACKETS && rs->waiting < REMOTE_WAIT_ALL)
        p = malloc(sizeof(*p) + len);
    if (!p) {
        rs->dropped++;
        return false;
    }
    *p = (struct remote_packet){.until_us = rs->env->now_us + wait_us, .token = token, .len = len};
    memcpy(p->bytes, bytes, len);
    if (q->last)
        q->last->next = p;
    else
        q->first = p;
    q->last = p;
    q->count++;
    rs->waiting++;
    remote_set_timer(rs, r);
    return true;
}

bool remote_wait_out(struct remotes *rs, struct remote *r, const uint8_t *frame, size_t len)
{
    return remote_wait(rs, r, &r->out, 0, REMOTE_WAIT_OUT_US, frame, len);
}

bool remote_wait_in(struct remotes *rs, struct remote *r, uint32_t token, const uint8_t *packet,
                    size_t len)
{
    return remote_wait(rs, r, &r->in, token, REMOTE_WAIT_IN_US, packet, len);
}

static void queue_expire(struct remotes *rs, struct remote_queue *q)
{
    while (q->first && q->first->until_us <= rs->env->now_us) {
        free(remote_take(rs, q));
        rs->dropped++;
    }
}

void remotes_tick(struct remotes *rs)
{
    struct timer *t;

    while ((t = heap_pop(&rs->timers, rs->env->now_us)) != NULL) {
        struct remote *r = CONTAINER_OF(t, struct remote, timer);

        queue_expire(rs, &r->out);
        queue_expire(rs, &r->in);
        if (r->until_us <= rs->env->now_us)
            remote_forget(rs, r);
        else
            remote_set_timer(rs, r);
    }
}

usec remotes_deadline(const struct remotes *rs)
{
    return heap_deadline(&rs->timers);
}
