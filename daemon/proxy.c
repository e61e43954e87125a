#include "daemon/proxy.h"

#include <stdio.h>
#include <string.h>

size_t proxy_request(char out[PROXY_REQUEST_SIZE], const struct endpoint *to)
{
    char text[ENDPOINT_TEXT_SIZE];

    endpoint_text(to, text);
    return (size_t)snprintf(out, PROXY_REQUEST_SIZE, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                            text, text);
}

/* "HTTP/1.1 200 ...": any 2xx opens the tunnel. */
static bool is_success(const char *text, size_t len)
{
    static const char version[] = "HTTP/1.";
    const size_t at = sizeof version - 1 + 2;

    return len > at && memcmp(text, version, sizeof version - 1) == 0 && text[at - 1] == ' ' &&
           text[at] == '2';
}

enum proxy_answer proxy_reply(const char *text, size_t len, size_t *head_len)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);

    *head_len = 0;
    if (!end)
        return len < PROXY_REPLY_MAX ? PROXY_MORE : PROXY_REFUSED;
    if (!is_success(text, len))
        return PROXY_REFUSED;
    *head_len = (size_t)(end - text) + 4;
    return PROXY_OPEN;
}
