#include "daemon/survey.h"

#include "daemon/helper.h"
#include "daemon/log.h"
#include "daemon/node/node.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Static_assert((int)RINGMAP_NEAR == (int)OVERLAY_NEAR, "a map has room for every near neighbour");

enum {
    SURVEY_PEERS_MAX = 1024
}; /* of our own connections that are drawn; those of the last ids are not */

struct survey {
    struct daemon *daemon;
    const struct blob *service;
    struct id group;
    const struct sign_secret *key;
    struct survey_host host;
    void *ctx;
    uv_timer_t *timer; /* outlives us until it is closed */
    struct helper *helper;
    unsigned failures;
    struct overlay_crawl_node *met; /* RINGMAP_NODES_MAX while a crawl is under way, else NULL */
    size_t count;
    const struct overlay *crawled; /* it ends the crawl, or ends with it */
};

static void on_due(uv_timer_t *timer);

static void later(struct survey *s, uint32_t wait_s)
{
    uint32_t ms = wait_s * 1000;

    uv_timer_start(s->timer, on_due, ms / 2 + randombytes_uniform(ms + 1), 0);
}

static void next(struct survey *s)
{
    unsigned doublings = s->failures < SURVEY_DOUBLINGS ? s->failures : SURVEY_DOUBLINGS;

    later(s, (uint32_t)SURVEY_S << doublings);
}

static bool wanted(const struct survey *s)
{
    return config_network(&s->daemon->config, s->service->group)->map && !s->daemon->stopping;
}

/* --- The map --- */

static void add_side(const struct ringmap *m, struct ringmap_node *n, size_t side,
                     const struct id *named, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t place = ringmap_find(m, &named[i]);

        if (place < m->count && !id_eq(&named[i], &n->node))
            n->near[side][n->count[side]++] = (uint16_t)place;
    }
}

static uint8_t path_of(const struct overlay_peer_info *peer)
{
    if (!peer->up)
        return RINGMAP_NONE;
    return peer->udp ? RINGMAP_UDP : peer->tcp ? RINGMAP_TCP : RINGMAP_RELAY;
}

static void add_peers(struct ringmap *m, const struct overlay *o)
{
    struct overlay_peer_info *peers = calloc(SURVEY_PEERS_MAX, sizeof *peers);
    size_t count = peers ? overlay_peers(o, peers, SURVEY_PEERS_MAX) : 0;

    for (size_t i = 0; i < count; i++) {
        size_t place = ringmap_find(m, &peers[i].node);

        if (place == m->count)
            continue;
        m->nodes[place].path = path_of(&peers[i]);
        if (m->nodes[place].path != RINGMAP_NONE && (peers[i].roles & OVERLAY_ROLE_SHORTCUT))
            m->nodes[place].flags |= RINGMAP_SHORTCUT;
    }
    free(peers);
}

static void draw(struct ringmap *m, const struct survey *s, const struct overlay *o)
{
    double members = overlay_size_estimate(o);

    m->group = s->group;
    m->node = *overlay_id(o);
    m->at_s = time(NULL);
    m->cut = s->count == RINGMAP_NODES_MAX;
    m->members = m->cut && members < UINT32_MAX ? (uint32_t)members : (uint32_t)s->count;
    m->count = s->count;
    for (size_t i = 0; i < s->count; i++) { /* a crawl reports in the order of ids */
        m->nodes[i].node = s->met[i].node;
        m->nodes[i].flags = (uint8_t)((s->met[i].answered ? RINGMAP_ANSWERED : 0) |
                                      (s->met[i].consistent ? RINGMAP_CONSISTENT : 0));
    }
    for (size_t i = 0; i < s->count; i++) {
        add_side(m, &m->nodes[i], 0, s->met[i].left, s->met[i].lefts);
        add_side(m, &m->nodes[i], 1, s->met[i].right, s->met[i].rights);
    }
    add_peers(m, o);
}

/* --- Telling the service --- */

static void on_told(void *ctx, const json_t *answer)
{
    struct helper_error failure;
    struct survey *s = ctx;

    s->helper = NULL;
    if (!helper_failed(answer, &failure)) {
        s->failures = 0;
    } else {
        if (s->failures == 0)
            log_write(LOG_LEVEL_WARN, s->service->group,
                      "the service did not take our map of the ring: %s", failure.message);
        s->failures++;
    }
    next(s);
}

static json_t *request_of(const struct survey *s, const struct overlay *o)
{
    struct ringmap *m = calloc(1, sizeof *m);
    uint8_t *message = malloc(RINGMAP_MAX);
    char *text = malloc(sodium_base64_ENCODED_LEN(RINGMAP_MAX, sodium_base64_VARIANT_ORIGINAL));
    json_t *request = NULL;

    if (m && message && text) {
        draw(m, s, o);
        sodium_bin2base64(
            text, sodium_base64_ENCODED_LEN(RINGMAP_MAX, sodium_base64_VARIANT_ORIGINAL), message,
            ringmap_write(m, s->key, message), sodium_base64_VARIANT_ORIGINAL);
        request = json_pack("{s:s, s:s}", "what", "map", "message", text);
    }
    free(m);
    free(message);
    free(text);
    return request;
}

/* --- The crawl --- */

static void forget(struct survey *s)
{
    free(s->met);
    s->met = NULL;
    s->count = 0;
    s->crawled = NULL;
}

static void on_node(void *ctx, const struct overlay_crawl_node *n)
{
    struct survey *s = ctx;

    if (s->count < RINGMAP_NODES_MAX)
        s->met[s->count++] = *n;
}

static void on_end(void *ctx, uint32_t nodes, uint32_t inconsistent)
{
    struct survey *s = ctx;
    json_t *request = request_of(s, s->crawled);

    forget(s);
    if (request && wanted(s))
        s->helper = helper_start(s->daemon, s->service, request, on_told, s);
    else
        json_decref(request);
    if (!s->helper)
        next(s);
}

static bool crawl(struct survey *s)
{
    struct node *n = s->host.node(s->ctx);
    struct overlay *o = n ? node_overlay(n) : NULL;

    forget(s); /* of a crawl that went with its node */
    if (!o)
        return false;
    overlay_crawl_cancel(o, s);
    s->crawled = o;
    s->met = calloc(RINGMAP_NODES_MAX, sizeof *s->met);
    if (s->met && overlay_crawl(o, RINGMAP_NODES_MAX, on_node, on_end, s) == 0)
        return true;
    forget(s);
    return false;
}

static void on_due(uv_timer_t *timer)
{
    struct survey *s = timer->data;

    if (s->helper || !wanted(s))
        return;
    if (crawl(s))
        next(s); /* also when the node goes, and the crawl with it */
    else
        later(s, SURVEY_FIRST_S); /* not in the ring yet, or somebody else's crawl is under way */
}

/* --- Its life --- */

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

struct survey *survey_new(struct daemon *d, const struct blob *service, const struct id *group,
                          const struct sign_secret *key, const struct survey_host *host, void *ctx)
{
    struct survey *s = calloc(1, sizeof *s);
    uv_timer_t *timer = calloc(1, sizeof *timer);

    if (!s || !timer) {
        free(s);
        free(timer);
        return NULL;
    }
    *s = (struct survey){.daemon = d,
                         .service = service,
                         .group = *group,
                         .key = key,
                         .host = *host,
                         .ctx = ctx,
                         .timer = timer};
    uv_timer_init(&d->loop, timer);
    timer->data = s;
    survey_look(s);
    return s;
}

void survey_free(struct survey *s)
{
    struct node *n;

    if (!s)
        return;
    n = s->host.node(s->ctx);
    if (n)
        overlay_crawl_cancel(node_overlay(n), s);
    if (s->helper)
        helper_cancel(s->helper);
    uv_close((uv_handle_t *)s->timer, on_timer_closed);
    forget(s);
    free(s);
}

void survey_look(struct survey *s)
{
    bool busy = s->helper || uv_is_active((const uv_handle_t *)s->timer);

    if (wanted(s) && !busy) {
        s->failures = 0;
        later(s, SURVEY_FIRST_S);
    } else if (!wanted(s)) {
        uv_timer_stop(s->timer);
    }
}
