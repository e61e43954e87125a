// link: peal_ca
/*
 * Whole requests at a real service with a real database: routes, headers, forms, JSON, certificate
 * requests.
 *
 * An input is seven lines - method (G, P, O), path, query, host, origin, content type, cookie - and
 * the body. The cookie "session" stands for somebody who is logged in, a member of the group "lab"
 * but not in charge of it; his forms get their token. The cookie "token" stands for a program with
 * an API token of his for everything; its If-Match is the query. Whatever comes, he does not come
 * to be in charge.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ca-web/log.h"
#include "ca-web/service.h"
#include "ca-web/session.h"
#include "ca-web/token.h"

enum { LINES = 7, LEN_MAX = HTTP_BODY_MAX };

static struct service service;
static char cookie[128], token[CSRF_SIZE], bearer[80];

static void make_world(struct desk *d)
{
    struct account alice, bob;
    struct group g;
    const struct group_wish wish = {.name = "lab"};
    char session[SESSION_TOKEN_SIZE], api[TOKEN_SIZE];
    const struct token_wish everything = {
        .name = "program", .scopes = (1u << SCOPE_COUNT) - 1, .group = "", .days = 1};

    CHECK(account_add(d, VERB_USER_ADD, "alice", "a@b.c", NULL, true, &alice) == OUT_OK);
    CHECK(account_add(d, VERB_USER_ADD, "bob", "a@b.c", NULL, false, &bob) == OUT_OK);
    CHECK(group_add(d, &wish, &alice, &g) == OUT_OK);
    CHECK(member_request(d, &g, &bob, "") == OUT_OK && member_approve(d, &g, &bob, "") == OUT_OK);
    CHECK(session_begin(d, &bob, "", session) == OUT_OK);
    snprintf(cookie, sizeof cookie, "__Host-peal=%s", session);
    csrf_token(&service.csrf_key, session, token);
    struct desk b = *d;
    b.actor = (struct actor){.kind = ACTOR_USER, .row = bob.row, .name = "bob"};
    CHECK(token_make(&b, &bob, &everything, api) == OUT_OK);
    snprintf(bearer, sizeof bearer, "Bearer %s", api);
}

static char dir[] = "/tmp/peal-fuzz-ca-XXXXXX";

static void remove_dir(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", dir);
    CHECK(system(command) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *why = NULL;
    char reason[1400];

    log_limit(LOG_ERROR);
    CHECK(crypto_start() == 0 && mkdtemp(dir) && atexit(remove_dir) == 0);
    CHECK(home_open(&service.home, dir, NULL, reason, sizeof reason) == 0);
    strcpy(service.server.url, "https://localhost:8443");
    service_add_name(&service, "localhost");
    CHECK(service_start(&service, &why));
    struct desk d = {.store = service.stores[0],
                     .vault = service.home.vault,
                     .now_s = time(NULL),
                     .actor = {.kind = ACTOR_CONSOLE}};
    make_world(&d);
    return 0;
}

static void ask(char *lines[LINES], const struct text *body)
{
    static unsigned asked;
    struct request r = {.method = *lines[0] == 'P'   ? HTTP_POST
                                  : *lines[0] == 'G' ? HTTP_GET
                                                     : HTTP_OTHER,
                        .path = lines[1],
                        .query = lines[2],
                        .body = body,
                        .host = lines[3],
                        .origin = lines[4],
                        .fetch_site = "",
                        .type = lines[5],
                        .cookie = strcmp(lines[6], "session") ? lines[6] : cookie,
                        .agent = lines[6],
                        .authorization = strcmp(lines[6], "token") ? lines[6] : bearer,
                        .if_match = lines[2],
                        .if_none_match = lines[4],
                        .local = "127.0.0.1",
                        .may_hold = true};
    struct response response = {0};

    /* From ever new addresses, so that the limits do not end the run. */
    snprintf(r.address, sizeof r.address, "10.%u.%u.%u", asked >> 16 & 255, asked >> 8 & 255,
             asked & 255);
    asked++;
    service_handle(&service, &r, &response);
    CHECK(response.status >= 200 && response.status <= 503 && response.status != 500);
    CHECK(!response.body.failed);
    text_clear(&response.body);
}

static void check_world(void)
{
    CHECK(store_int(service.stores[0], -1,
                    "SELECT (SELECT count(*) FROM groups) * 100 +"
                    " (SELECT count(*) FROM users WHERE admin) * 10 +"
                    " (SELECT count(*) FROM roles WHERE user_row <> 1)",
                    VALUES()) == 110);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[LEN_MAX + 1];
    char *lines[LINES], *at = text;
    struct text body = {0};

    if (size > LEN_MAX)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (size_t i = 0; i < LINES; i++) {
        char *end = strchr(at, '\n');
        if (!end)
            return 0;
        *end = '\0';
        lines[i] = at;
        at = end + 1;
    }
    if (!strcmp(lines[6], "session") && *lines[0] == 'P')
        text_printf(&body, "csrf=%s&", token);
    text_add(&body, at, (size_t)(text + size - at));
    ask(lines, &body);
    text_clear(&body);
    check_world();
    return 0;
}
