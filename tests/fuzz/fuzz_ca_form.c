// link: peal_ca
/* What browsers and proxies send in small pieces: forms, cookies, free text, whom they heard; and
 * a URL that an administrator types. */
#include "ca-web/blob.h"
#include "ca-web/form.h"
#include "ca-web/html.h"
#include "ca-web/proxy.h"
#include "ca-web/session.h"

#include <string.h>

enum { LEN_MAX = 65536 };

static void read_form(const char *bytes, size_t len)
{
    struct form f;

    if (!form_read(&f, bytes, len))
        return;
    CHECK(f.count <= FORM_FIELDS_MAX);
    for (size_t i = 0; i < f.count; i++) {
        struct text t = {0};
        CHECK(strlen(f.v[i].name) + strlen(f.v[i].value) <= len);
        CHECK(!strpbrk(f.v[i].value, "\r\x01\x1b\x7f"));
        html_element(&t, "p", f.v[i].value, "title", f.v[i].name, NULL);
        CHECK(!t.failed && strspn(t.p, "<") == 1 && !strstr(t.p + 1, "<script"));
        desk_text_valid(f.v[i].value);
        text_clear(&t);
    }
    form_clear(&f);
}

static void read_forwarded(const char *text)
{
    struct proxies p;
    struct addr client;

    CHECK(proxies_read(&p, "127.0.0.1,::1"));
    client = proxies_client(&p, &p.v[0], text);
    CHECK(client.family == 4 || client.family == 6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[LEN_MAX + 1];
    char token[SESSION_TOKEN_SIZE], url[SERVER_URL_MAX + 1], host[SERVER_URL_MAX + 1];

    if (size > LEN_MAX)
        return 0;
    read_form((const char *)data, size);
    memcpy(text, data, size);
    text[size] = '\0';
    if (session_cookie(text, "__Host-peal", token))
        CHECK(strlen(token) == SESSION_TOKEN_SIZE - 1);
    read_forwarded(text);
    if (server_url_read(url, text)) {
        server_url_host(url, host, sizeof host);
        CHECK(*host);
    }
    return 0;
}
