#include "daemon/hostport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool port_parse(uint16_t *out, const char *text)
{
    unsigned long v = 0;
    size_t len = strlen(text);

    if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
        return false;
    v = strtoul(text, NULL, 10);
    *out = (uint16_t)v;
    return v >= 1 && v <= 65535;
}

/* "[v6]:port": host and port; else the last colon parts them. False: there is no port. */
static bool split(const char *text, const char **host, size_t *host_len, const char **port)
{
    const char *end;

    if (text[0] == '[') {
        end = strchr(text, ']');
        if (!end || end[1] != ':')
            return false;
        *host = text + 1;
        *host_len = (size_t)(end - *host);
        *port = end + 2;
        return true;
    }
    end = strrchr(text, ':');
    if (!end)
        return false;
    *host = text;
    *host_len = (size_t)(end - text);
    *port = end + 1;
    return true;
}

bool hostport_parse(struct hostport *out, const char *text)
{
    const char *host, *port;
    struct addr a;
    size_t len;

    memset(out, 0, sizeof *out);
    if (!split(text, &host, &len, &port) || len == 0 || len >= sizeof out->host)
        return false;
    memcpy(out->host, host, len);
    if (!port_parse(&out->port, port))
        return false;
    if (text[0] == '[')
        return addr_parse(&a, out->host) && a.family == 6;
    if (addr_parse(&a, out->host))
        return a.family == 4;
    /* Digits and dots alone are an address that is wrong, not a name. */
    return name_valid(out->host) && strspn(out->host, "0123456789.") != len;
}

char *hostport_text(const struct hostport *hp, char out[HOSTPORT_TEXT_SIZE])
{
    bool v6 = strchr(hp->host, ':') != NULL;

    snprintf(out, HOSTPORT_TEXT_SIZE, "%s%s%s:%u", v6 ? "[" : "", hp->host, v6 ? "]" : "",
             hp->port);
    return out;
}

bool hostport_literal(const struct hostport *hp, struct endpoint *out)
{
    out->port = hp->port;
    return addr_parse(&out->addr, hp->host);
}

bool hostports_has(const struct hostports *list, const struct hostport *hp)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->v[i].port == hp->port && strcasecmp(list->v[i].host, hp->host) == 0)
            return true;
    }
    return false;
}

bool hostports_add(struct hostports *list, const struct hostport *hp)
{
    if (hostports_has(list, hp))
        return true;
    if (list->count == HOSTPORTS_MAX)
        return false;
    list->v[list->count++] = *hp;
    return true;
}
