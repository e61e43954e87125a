#include "daemon/node/member.h"

#include <stdlib.h>
#include <string.h>

#include "overlay/core/err.h"

/* One node that the crawl met and that has not answered yet. */
struct asked {
    struct asked *next;
    struct overlay_crawl_node ring;
    uint32_t number;
    unsigned tries;
    usec due_us;
};

struct walk {
    bool used, crawled; /* the crawl itself is over */
    uint32_t nodes, inconsistent;
    struct members *members;
    struct asked *first, **last;
    size_t asked;
    void (*member)(void *ctx, const struct node_member *m);
    void (*end)(void *ctx, uint32_t nodes, uint32_t inconsistent);
    void *ctx;
};

struct members {
    struct env *env;
    struct overlay *overlay;
    struct walk *walks; /* MEMBER_WALKS_MAX, or NULL before the first */
};

struct members *members_new(struct env *env, struct overlay *overlay)
{
    struct members *ms = calloc(1, sizeof(*ms));

    if (ms) {
        ms->env = env;
        ms->overlay = overlay;
    }
    return ms;
}

/* for (struct walk *w = ms->walks; w < walks_end(ms); w++) ... */
static struct walk *walks_end(const struct members *ms)
{
    return ms->walks ? ms->walks + MEMBER_WALKS_MAX : NULL;
}

static void walk_clear(struct walk *w)
{
    while (w->first) {
        struct asked *a = w->first;
        w->first = a->next;
        free(a);
    }
    *w = (struct walk){0};
}

void members_free(struct members *ms)
{
    if (!ms)
        return;
    for (struct walk *w = ms->walks; w < walks_end(ms); w++)
        walk_clear(w);
    free(ms->walks);
    free(ms);
}

static void walk_send(struct members *ms, struct asked *a)
{
    uint8_t body[5] = {NODE_MSG_MEMBER_ASK};

    put_u32(body + 1, a->number);
    a->tries++;
    a->due_us = ms->env->now_us + MEMBER_TRY_US;
    (void)overlay_send(ms->overlay, &a->ring.node, OVERLAY_PROTO_NODE, body, sizeof(body));
}

/* Takes the question at *at out of the walk and tells about the node; m's other fields are filled
 * by the caller. */
static void walk_tell(struct walk *w, struct asked **at, struct node_member *m)
{
    struct asked *a = *at;

    *at = a->next;
    if (w->last == &a->next)
        w->last = at;
    w->asked--;
    m->ring = a->ring;
    free(a);
    w->member(w->ctx, m);
}

static void walk_end_if_done(struct walk *w)
{
    struct walk done = *w;

    if (!w->used || !w->crawled || w->first)
        return;
    walk_clear(w);
    done.end(done.ctx, done.nodes, done.inconsistent);
}

static void on_crawl_node(void *ctx, const struct overlay_crawl_node *n)
{
    struct walk *w = ctx;
    struct node_member none = {0};
    struct asked *a;

    if (w->asked == MEMBER_ASKED_MAX)
        walk_tell(w, &w->first, &none);
    a = calloc(1, sizeof(*a));
    if (!a)
        return;
    a->ring = *n;
    a->number = env_random_u32(w->members->env);
    *w->last = a;
    w->last = &a->next;
    w->asked++;
    walk_send(w->members, a);
}

static void on_crawl_end(void *ctx, uint32_t nodes, uint32_t inconsistent)
{
    struct walk *w = ctx;

    w->crawled = true;
    w->nodes = nodes;
    w->inconsistent = inconsistent;
    walk_end_if_done(w);
}

int members_walk(struct members *ms, void (*member)(void *ctx, const struct node_member *m),
                 void (*end)(void *ctx, uint32_t nodes, uint32_t inconsistent), void *ctx)
{
    struct walk *w = NULL;
    int r;

    if (!ms->walks)
        ms->walks = calloc(MEMBER_WALKS_MAX, sizeof(*ms->walks));
    if (!ms->walks)
        return -ERR_NOMEM;
    for (struct walk *v = ms->walks; v < walks_end(ms) && !w; v++)
        if (!v->used)
            w = v;
    if (!w)
        return -ERR_FULL;
    *w = (struct walk){
        .used = true, .members = ms, .member = member, .end = end, .ctx = ctx, .last = &w->first};
    r = overlay_crawl(ms->overlay, MEMBER_NODES_MAX, on_crawl_node, on_crawl_end, w);
    if (r < 0)
        walk_clear(w);
    return r;
}

void members_cancel(struct members *ms, void *ctx)
{
    for (struct walk *w = ms->walks; w < walks_end(ms); w++) {
        if (w->used && w->ctx == ctx) {
            overlay_crawl_cancel(ms->overlay, w);
            walk_clear(w);
        }
    }
}

void members_ask(struct overlay *overlay, const struct overlay_from *from, struct reader *r,
                 const struct node_status *us, const char *user, uint64_t removed)
{
    uint8_t body[256];
    struct writer w = writer_of(body, sizeof(body));
    uint32_t number = read_u32(r);

    if (!reader_done(r))
        return;
    write_u8(&w, NODE_MSG_MEMBER_REPLY);
    write_u32(&w, number);
    write_u8(&w, (uint8_t)strlen(us->hostname));
    write_bytes(&w, us->hostname, strlen(us->hostname));
    write_u8(&w, (uint8_t)strlen(user));
    write_bytes(&w, user, strlen(user));
    write_addr(&w, &us->ipv4.addr);
    write_addr(&w, &us->ipv6.addr);
    write_u64(&w, removed);
    if (!w.failed)
        (void)overlay_answer(overlay, from, OVERLAY_PROTO_NODE, body, writer_len(&w));
}

/* A label from the wire into out, or "" and a failed reader. */
static void read_label(struct reader *r, char *out, size_t size)
{
    size_t len = read_u8(r);
    const char *text = (const char *)read_bytes(r, len);

    out[0] = '\0';
    if (len > 0 && text && !label_normalize(out, size, text, len))
        r->failed = true;
}

static struct asked **walk_find(struct walk *w, const struct id *node, uint32_t number)
{
    for (struct asked **at = &w->first; *at; at = &(*at)->next)
        if ((*at)->number == number && id_eq(&(*at)->ring.node, node))
            return at;
    return NULL;
}

bool member_reply_read(struct reader *r, uint32_t *number, struct node_member *out)
{
    *out = (struct node_member){0};
    *number = read_u32(r);
    read_label(r, out->hostname, sizeof(out->hostname));
    read_label(r, out->user, sizeof(out->user));
    out->ipv4 = read_addr(r);
    out->ipv6 = read_addr(r);
    out->removed = read_u64(r);
    return reader_done(r);
}

bool members_reply(struct members *ms, const struct id *from, uint32_t number,
                   struct node_member *m)
{
    for (struct walk *w = ms->walks; w < walks_end(ms); w++) {
        struct asked **at = w->used ? walk_find(w, from, number) : NULL;

        if (!at)
            continue;
        (*at)->ring.answered = true;
        walk_tell(w, at, m);
        walk_end_if_done(w);
        return true;
    }
    return false;
}

static void walk_tick(struct members *ms, struct walk *w)
{
    struct asked **at = &w->first;

    while (*at) {
        struct node_member none = {0};

        if ((*at)->due_us > ms->env->now_us) {
            at = &(*at)->next;
        } else if ((*at)->tries < MEMBER_TRIES) {
            walk_send(ms, *at);
            at = &(*at)->next;
        } else {
            walk_tell(w, at, &none);
        }
    }
    walk_end_if_done(w);
}

void members_tick(struct members *ms)
{
    for (struct walk *w = ms->walks; w < walks_end(ms); w++)
        if (w->used)
            walk_tick(ms, w);
}

usec members_deadline(const struct members *ms)
{
    usec at_us = USEC_NEVER;

    for (const struct walk *w = ms->walks; w < walks_end(ms); w++)
        for (const struct asked *a = w->first; a; a = a->next)
            at_us = usec_min(at_us, a->due_us);
    return at_us;
}
