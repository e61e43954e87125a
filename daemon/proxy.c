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

/* "HTTP/1.1 200 ..." */
unsigned proxy_status(const char *text, size_t len)
{
    static const char version[] = "HTTP/1.";
    const size_t at = sizeof version - 1 + 2;
    unsigned number = 0;

    if (len < at + 3 || memcmp(text, version, sizeof version - 1) != 0 || text[at - 1] != ' ')
        return 0;
    for (size_t i = at; i < at + 3; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        number = 10 * number + (unsigned)(text[i] - '0');
    }
    return number >= 100 && number < 600 ? number : 0;
}

enum proxy_answer proxy_reply(const char *text, size_t len, size_t *head_len)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);

    *head_len = 0;
    if (!end)
        return len < PROXY_REPLY_MAX ? PROXY_MORE : PROXY_REFUSED;
    if (proxy_status(text, len) / 100 != 2)
        return PROXY_REFUSED;
    *head_len = (size_t)(end - text) + 4;
    return PROXY_OPEN;
}
