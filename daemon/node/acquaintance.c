#include "daemon/node/acquaintance.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/node/member.h"

struct acquaintance {
    struct id peer;
    uint8_t len;
    uint8_t told[]; /* facts as they came: every node keeps a dozen of these */
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

bool acquaintances_get(const struct acquaintances *as, const struct id *peer, struct facts *out)
{
    const struct acquaintance *a = table_get(&as->by_peer, peer);

    *out = (struct facts){.hostname = ""};
    return a && facts_read(out, a->told, a->len);
}

void acquaintances_told(struct acquaintances *as, const struct overlay_from *from, struct reader *r)
{
    size_t len = reader_left(r);
    const uint8_t *bytes = read_bytes(r, len);
    struct acquaintance *a;
    struct facts facts;

    if (!from->direct || len > FACTS_SIZE_MAX || !facts_read(&facts, bytes, len))
        return;
    a = malloc(sizeof(*a) + len);
    if (!a)
        return;
    a->peer = from->node;
    a->len = (uint8_t)len;
    memcpy(a->told, bytes, len);
    acquaintances_forget(as, &from->node);
    if (table_put(&as->by_peer, a) < 0)
        free(a);
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

void acquaintances_ask(struct overlay *overlay, const struct id *peer)
{
    const uint8_t body[] = {NODE_MSG_FACTS_ASK};

    (void)overlay_send(overlay, peer, OVERLAY_PROTO_NODE, body, sizeof(body));
}

void acquaintances_tell_all(struct overlay *overlay, const struct facts *ours)
{
    struct overlay_peer_info peers[256];
    size_t n = overlay_peers(overlay, peers, 256);

    for (size_t i = 0; i < n; i++)
        if (peers[i].up)
            acquaintances_tell(overlay, &peers[i].node, ours);
}
