#include "ca-web/proxy.h"

#include <string.h>

/* The address that stands there, blanks around it; a port after it makes it none. */
static bool address_read(struct addr *out, const char *p, size_t len)
{
    char text[ADDR_TEXT_SIZE];

    for (; len && strchr(" \t", *p); len--)
        p++;
    while (len && strchr(" \t", p[len - 1]))
        len--;
    if (len >= sizeof text)
        return false;
    memcpy(text, p, len);
    text[len] = '\0';
    return addr_parse(out, text);
}

bool proxies_read(struct proxies *p, const char *commas)
{
    const char *at = commas;

    *p = (struct proxies){.count = 0};
    for (;; at++) {
        size_t len = strcspn(at, ",");

        if (p->count == PROXIES_MAX || !address_read(&p->v[p->count], at, len))
            return false;
        p->count++;
        at += len;
        if (!*at)
            return true;
    }
}

static bool is_proxy(const struct proxies *p, const struct addr *a)
{
    for (size_t i = 0; i < p->count; i++)
        if (addr_eq(&p->v[i], a))
            return true;
    return false;
}

struct addr proxies_client(const struct proxies *p, const struct addr *from,
                           const char *forwarded_for)
{
    struct addr client = *from, before;
    size_t end = strlen(forwarded_for);

    while (end && is_proxy(p, &client)) {
        size_t start = end;

        while (start && forwarded_for[start - 1] != ',')
            start--;
        if (!address_read(&before, forwarded_for + start, end - start))
            break;
        client = before;
        end = start ? start - 1 : 0;
    }
    return client;
}
