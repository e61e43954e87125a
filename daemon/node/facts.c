#include "daemon/node/facts.h"

#include <string.h>

#include "overlay/core/wire.h"

size_t facts_write(const struct facts *f, uint8_t out[FACTS_SIZE_MAX])
{
    struct writer w = writer_of(out, FACTS_SIZE_MAX);

    write_u8(&w, FACTS_VERSION);
    write_u8(&w, (uint8_t)strlen(f->hostname));
    write_bytes(&w, f->hostname, strlen(f->hostname));
    write_addr(&w, &f->ipv4);
    write_addr(&w, &f->ipv6);
    return writer_len(&w);
}

bool facts_read(struct facts *f, const uint8_t *bytes, size_t len)
{
    struct reader r = reader_of(bytes, len);
    uint8_t version = read_u8(&r), name_len = read_u8(&r);
    const char *name = (const char *)read_bytes(&r, name_len);
    bool ok = true;

    *f = (struct facts){0};
    if (name_len > 0)
        ok = name && label_normalize(f->hostname, sizeof(f->hostname), name, name_len);
    f->ipv4 = read_addr(&r);
    f->ipv6 = read_addr(&r);
    ok = ok && version == FACTS_VERSION && reader_done(&r) && f->ipv4.family != 6 &&
         f->ipv6.family != 4;
    if (!ok)
        *f = (struct facts){0};
    return ok;
}

bool facts_eq(const struct facts *a, const struct facts *b)
{
    return strcmp(a->hostname, b->hostname) == 0 && addr_eq(&a->ipv4, &b->ipv4) &&
           addr_eq(&a->ipv6, &b->ipv6);
}
