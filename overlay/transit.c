/* Routed messages: starting them, passing them on, handing them out. */
#include "overlay/trail.h"

#include <stdlib.h>
#include <string.h>

enum {
    LETTERS_MAX = 64, /* to ourselves, waiting for the tick; victim: the newest */
};

/* While we are no member, everything goes through one node that is: that node can find us. */
static struct link *gate(const struct overlay *o)
{
    struct link *l = link_find(o, &o->join.gate);

    return l != NULL && l->up ? l : NULL;
}

/* It makes up an indirect path, and so goes by direct ones. */
static bool goes_direct(const struct route_header *h)
{
    return h->proto == ROUTE_PROTO_PACKET || h->proto == ROUTE_PROTO_TRAIL;
}

static int pass_on(struct overlay *o, struct link *to, const struct route_header *h,
                   const void *body, size_t len)
{
    uint8_t message[MESSAGE_MAX];
    struct writer w = writer_of(message, sizeof message);

    route_write(&w, h);
    write_bytes(&w, body, len);
    if (w.failed)
        return -ERR_RANGE;
    link_relied_on(o, to);
    return session_send(to->session, MSG_ROUTE, message, writer_len(&w));
}

static int put_letter(struct overlay *o, const struct route_header *h, const void *body, size_t len)
{
    struct letter *letter = o->letters.count < LETTERS_MAX ? malloc(sizeof *letter + len) : NULL;

    if (letter == NULL) {
        overlay_counted(o, OVERLAY_COUNT_DROP_FULL);
        return -ERR_FULL;
    }
    letter->header = *h;
    letter->len = len;
    if (len > 0)
        memcpy(letter->body, body, len);
    queue_put(&o->letters, letter);
    return 0;
}

static bool we_are_outside(const struct overlay *o)
{
    return o->ring.state == OVERLAY_ALONE || o->ring.state == OVERLAY_JOINING;
}

/* From outside the ring we reach ourselves and those we have a session with; the gate does the
 * rest. */
static bool needs_gate(const struct overlay *o, const struct route_header *h, bool direct)
{
    const struct ring_peer *peer;

    if (!we_are_outside(o))
        return false;
    if ((h->flags & ROUTE_FLAG_MODE) != ROUTE_EXACT)
        return true;
    peer = ring_find(&o->ring, &h->key);
    return !id_eq(&h->key, &o->ring.self) && (peer == NULL || (direct && peer->indirect));
}

/* One step, and the message on its way if it goes on; whoever stays silent under it is gone around.
 */
static enum route_verdict step(struct overlay *o, const struct passage *p, struct route_header *h,
                               int *sent)
{
    bool ours = id_is_zero(&p->from);
    struct route_way way = {.direct = goes_direct(&p->header), .from = ours ? NULL : &p->from};
    uint8_t told[TRAIL_TOLD_LEN];
    const void *body = p->body;
    struct ring_peer *next;
    struct link *hop;
    enum route_verdict verdict;

    *h = p->header;
    if (route_goes_around(h))
        detours_look(o);
    verdict = route_step(&o->ring, h, &way, &next);
    if (verdict != ROUTE_FORWARD)
        return verdict;
    if (h->proto == ROUTE_PROTO_PACKET && !ours && !carry_allowed(o, p->body, p->len))
        return verdict;
    hop = link_of(next);
    if (h->proto == ROUTE_PROTO_TRAIL) {
        hop = trail_hop(o, hop);
        if (hop == NULL || !trail_pass(o, p, &hop->peer.id, told))
            return verdict;
        body = told;
    }
    if (!ours)
        overlay_counted(o, OVERLAY_COUNT_ROUTED);
    *sent = pass_on(o, hop, h, body, p->len);
    if (route_goes_around(h))
        detour_keep(o, p, hop);
    return verdict;
}

int transit_send(struct overlay *o, struct route_header *h, struct link *first, const void *body,
                 size_t len)
{
    bool direct = goes_direct(h);
    struct passage p = {.header = *h, .body = body, .len = len};
    int sent = 0;

    if (len > MESSAGE_MAX - ROUTE_HEADER_MAX)
        return -ERR_RANGE;
    if (first == NULL && needs_gate(o, h, direct)) {
        first = gate(o);
        if (first == NULL || (direct && first->peer.indirect)) { /* it would carry itself */
            overlay_counted(o, OVERLAY_COUNT_DROP_NOBODY);
            return -ERR_BAD_STATE;
        }
    }
    if (first != NULL) {
        h->via = first->peer.id;
        h->hops = 1;
        return pass_on(o, first, h, body, len);
    }
    switch (step(o, &p, h, &sent)) {
    case ROUTE_FORWARD:
        return sent;
    case ROUTE_DELIVER:
        return put_letter(o, h, body, len);
    case ROUTE_NOBODY:
    case ROUTE_TOO_FAR:
        break;
    }
    overlay_counted(o, OVERLAY_COUNT_DROP_NOBODY);
    return -ERR_BAD_STATE;
}

int transit_send_around(struct overlay *o, struct route_header *h, const void *body, size_t len)
{
    bool direct = goes_direct(h);
    struct route_header usual = *h, other = *h;
    struct route_way way = {.direct = direct};
    struct ring_peer *except, *next;

    if (len > MESSAGE_MAX - ROUTE_HEADER_MAX)
        return -ERR_RANGE;
    if (needs_gate(o, h, direct) || route_step(&o->ring, &usual, &way, &except) != ROUTE_FORWARD)
        return -ERR_BAD_STATE;
    way.except = except;
    if (route_step(&o->ring, &other, &way, &next) != ROUTE_FORWARD)
        return -ERR_BAD_STATE;
    *h = other;
    return pass_on(o, link_of(next), h, body, len);
}

int transit_anew(struct overlay *o, struct route_header *h, const void *body, size_t len)
{
    const struct passage p = {.header = *h, .body = body, .len = len};
    struct ring_peer *first;
    int sent;

    detours_look(o);
    first = route_anywhere(&o->ring);
    if (first == NULL || we_are_outside(o))
        return transit_send(o, h, NULL, body, len);
    h->hops = 1;
    sent = pass_on(o, link_of(first), h, body, len);
    detour_keep(o, &p, link_of(first));
    return sent;
}

int transit_answer(struct overlay *o, const struct route_header *to, const struct id *via,
                   uint8_t proto, const void *body, size_t len)
{
    struct route_header h = route_new(&o->ring.self, &to->source, ROUTE_EXACT, proto);

    if (!id_eq(&to->via, &o->ring.self))
        h.through = to->via;
    if (via != NULL)
        h.via = *via;
    return transit_send(o, &h, NULL, body, len);
}

/* For us. `from`: the peer that handed it over, NULL when we sent it ourselves. */
static void deliver(struct overlay *o, struct link *from, const struct route_header *h,
                    struct reader *r)
{
    overlay_counted(o, OVERLAY_COUNT_DELIVERED);
    switch (h->proto) {
    case ROUTE_PROTO_ASK:
        join_ask_input(o, from, h, r);
        return;
    case ROUTE_PROTO_LISTS:
        join_lists_input(o, h, r);
        return;
    case ROUTE_PROTO_INTRODUCE:
        join_introduce_input(o, h, r);
        return;
    case ROUTE_PROTO_PACKET:
        carry_input(o, h, r);
        return;
    case ROUTE_PROTO_TRAIL:
        trail_told_input(o, from, h, r);
        return;
    case ROUTE_PROTO_PING:
        ping_input(o, h, r);
        return;
    case ROUTE_PROTO_PONG:
        pong_input(o, h, r);
        return;
    case OVERLAY_PROTO_DHT:
    case OVERLAY_PROTO_NODE: {
        struct overlay_from f = {.node = h->source, .via = h->via, .key = h->key, .hops = h->hops};

        link_came_by(from, &f);
        o->host.message(o->ctx, &f, h->proto, r->p, reader_left(r));
        return;
    }
    default:
        overlay_counted(o, OVERLAY_COUNT_DROP_BAD);
    }
}

void transit_deliver_letters(struct overlay *o)
{
    size_t n = o->letters.count; /* those that come in meanwhile wait for the next tick */

    while (n-- > 0) {
        struct letter *letter = queue_take(&o->letters);
        struct reader r = reader_of(letter->body, letter->len);

        deliver(o, NULL, &letter->header, &r);
        free(letter);
    }
}

/* The first hop writes down where it sees the asker: nobody can have others probed in its place. */
static void stamp_asker(const struct link *from, const struct route_header *h, struct reader *r,
                        uint8_t stamped[MESSAGE_MAX])
{
    const struct path_addr *path = session_path(from->session);
    struct endpoint none = {.port = 0};
    struct writer w = writer_of(stamped, MESSAGE_MAX);
    uint32_t token;
    uint8_t flags;

    if (h->proto != ROUTE_PROTO_ASK || !id_eq(&h->source, &from->peer.id))
        return;
    token = read_u32(r);
    flags = read_u8(r);
    (void)read_endpoint(r);
    if (!reader_done(r))
        return;
    write_u32(&w, token);
    write_u8(&w, flags);
    write_endpoint(&w, path->kind == PATH_UDP ? &path->ep : &none);
    *r = reader_of(stamped, writer_len(&w));
}

/* A question for a place that we oversee is answered here, before it reaches the very nearest. */
static bool is_ours_to_answer(const struct overlay *o, const struct route_header *h,
                              const struct reader *r)
{
    enum route_mode mode = (enum route_mode)(h->flags & ROUTE_FLAG_MODE);

    return h->proto == ROUTE_PROTO_ASK && mode == ROUTE_NEAREST &&
           (h->flags & ROUTE_FLAG_SEEK) != 0 && reader_left(r) > 4 && (r->p[4] & ASK_PLACE) != 0 &&
           o->ring.state == OVERLAY_MEMBER && ring_spans(&o->ring, &h->key);
}

/* To where it belongs from here: another node, or us. */
static void go_on(struct overlay *o, struct link *from, const struct passage *p)
{
    struct reader r = reader_of(p->body, p->len);
    struct route_header h;
    int sent = 0; /* what could not be sent is lost, as on the wire */

    switch (step(o, p, &h, &sent)) {
    case ROUTE_FORWARD:
        break;
    case ROUTE_DELIVER:
        deliver(o, from, &h, &r);
        break;
    case ROUTE_NOBODY:
        overlay_counted(o, OVERLAY_COUNT_DROP_NOBODY);
        break;
    case ROUTE_TOO_FAR:
        overlay_counted(o, OVERLAY_COUNT_DROP_HOPS);
        break;
    }
}

bool transit_input(struct overlay *o, struct link *from, const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len);
    uint8_t stamped[MESSAGE_MAX];
    struct route_header h;
    struct passage p;

    if (!route_read(&r, &h))
        return false;
    stamp_asker(from, &h, &r, stamped);
    if (is_ours_to_answer(o, &h, &r)) {
        deliver(o, from, &h, &r);
        return true;
    }
    if (we_are_outside(o) && !id_eq(&h.key, &o->ring.self)) {
        overlay_counted(o, OVERLAY_COUNT_DROP_STRANGER);
        return true;
    }
    p = (struct passage){.header = h, .from = from->peer.id, .body = r.p, .len = reader_left(&r)};
    go_on(o, from, &p);
    return true;
}

void transit_again(struct overlay *o, const struct passage *p)
{
    struct link *from = link_find(o, &p->from);

    if (id_is_zero(&p->from) || (from != NULL && from->up))
        go_on(o, from, p);
}
