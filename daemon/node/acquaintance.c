#include "daemon/node/acquaintance.h"

#include <stdlib.h>

#include "daemon/node/member.h"

struct acquaintance {
    struct id peer;
    struct facts facts;
};

void acquaintances_init(struct acquaintances *as, const struct env *env)
{
    table_init(&as->by_peer, offsetof(struct acquaintance, peer), ID_LEN, ACQUAINTANCES_MAX,
               env->hash_key);
}

void acquaintances_clear(struct acquaintances *as)
{
    struct acquaintance *a;

    for (size_t i = 0; (a = table_next(&as->by_peer, &i)) != NULL;)
        free(a);
    table_clear(&as->by_peer);
}

const struct facts *acquaintances_get(const struct acquaintances *as, const struct id *peer)
{
    const struct acquaintance *a = table_get(&as->by_peer, peer);

    return a ? &a->facts : NULL;
}

void acquaintances_told(struct acquaintances *as, const struct overlay_from *from, struct reader *r)
{
    struct acquaintance *a;
    struct facts facts;
    size_t len = reader_left(r);

    if (!from->direct || !facts_read(&facts, read_bytes(r, len), len))
        return;
    a = table_get(&as->by_peer, &from->node);
    if (!a) {
        a = calloc(1, sizeof(*a));
        if (!a)
            return;
        a->peer = from->node;
        if (table_put(&as->by_peer, a) < 0) {
            free(a);
            return;
        }
    }
    a->facts = facts;
}

void acquaintances_forget(struct acquaintances *as, const struct id *peer)
{
    free(table_remove(&as->by_peer, peer));
}

void acquaintances_tell(struct overlay *overlay, const struct id *peer, const struct facts *ours)
{
    uint8_t body[1 + FACTS_SIZE_MAX] = {NODE_MSG_FACTS};

    (void)overlay_send(overlay, peer, OVERLAY_PROTO_NODE, body, 1 + facts_write(ours, body + 1));
}

void acquaintances_tell_all(struct overlay *overlay, const struct facts *ours)
{
    struct overlay_peer_info peers[256];
    size_t n = overlay_peers(overlay, peers, 256);

    for (size_t i = 0; i < n; i++)
        if (peers[i].up)
            acquaintances_tell(overlay, &peers[i].node, ours);
}
