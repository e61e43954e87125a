#include "ca-web/console.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ca-web/answer.h"
#include "ca-web/archive.h"
#include "ca-web/blob.h"
#include "ca-web/factor.h"
#include "ca-web/removal.h"
#include "ca-web/role.h"
#include "ca-web/rollover.h"
#include "ca-web/tls.h"

/* What a command works with. */
struct console {
    struct desk desk;
    const struct home *home;
    const struct console_options *o;
};

/* Says on stderr what went wrong, about whom. */
static int report(enum outcome o, const char *about)
{
    if (o != OUT_OK)
        fprintf(stderr, "peal-ca: %s: %s\n", about, outcome_message(o));
    return outcome_exit(o);
}

/* The first line of a file, "-" is stdin; the caller wipes. */
static bool password_read(const char *path, char out[PASSWORD_MAX + 2])
{
    FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
    bool ok = f && fgets(out, PASSWORD_MAX + 2, f);

    if (ok)
        out[strcspn(out, "\r\n")] = '\0';
    if (f && f != stdin)
        fclose(f);
    if (!ok)
        fprintf(stderr, "peal-ca: %s: cannot read a password from it\n", path);
    return ok;
}

static int user_add(struct console *c, const char *const *args)
{
    char password[PASSWORD_MAX + 2] = "";
    struct account account;

    if (!c->o->email) {
        fprintf(stderr, "peal-ca: user add needs --email\n");
        return EXIT_STATUS_USAGE;
    }
    if (c->o->password_file && !password_read(c->o->password_file, password))
        return EXIT_STATUS_FAILED;
    enum outcome o = account_add(&c->desk, VERB_USER_ADD, args[0], c->o->email,
                                 c->o->password_file ? password : NULL, c->o->admin, &account);
    wipe(password, sizeof password);
    return report(o, args[0]);
}

static int user_password(struct console *c, const char *const *args)
{
    char password[PASSWORD_MAX + 2] = "";
    struct account account;
    enum outcome o = account_find(&c->desk, args[0], &account);

    if (!c->o->password_file) {
        fprintf(stderr, "peal-ca: user password needs --password-file\n");
        return EXIT_STATUS_USAGE;
    }
    if (o == OUT_OK && !password_read(c->o->password_file, password))
        return EXIT_STATUS_FAILED;
    if (o == OUT_OK)
        o = account_set_password(&c->desk, &account, password);
    wipe(password, sizeof password);
    return report(o, args[0]);
}

static int user_admin(struct console *c, const char *const *args)
{
    struct account account;
    enum outcome o = account_find(&c->desk, args[0], &account);

    if (strcmp(args[1], "yes") && strcmp(args[1], "no")) {
        fprintf(stderr, "peal-ca: user admin takes yes or no, not %s\n", args[1]);
        return EXIT_STATUS_USAGE;
    }
    if (o == OUT_OK)
        o = account_set_admin(&c->desk, &account, !strcmp(args[1], "yes"));
    return report(o, args[0]);
}

static int user_factor_off(struct console *c, const char *const *args)
{
    struct account account;
    enum outcome o = account_find(&c->desk, args[0], &account);

    return report(o == OUT_OK ? factor_clear(&c->desk, &account) : o, args[0]);
}

static int group_add_command(struct console *c, const char *const *args)
{
    struct account owner;
    struct group g;
    const struct group_wish wish = {.name = args[0],
                                    .ipv4 = c->o->ipv4,
                                    .domain = c->o->domain,
                                    .bootstrap = c->o->bootstrap,
                                    .public_bootstrap = c->o->public_bootstrap,
                                    .lease_hours = c->o->lease_hours,
                                    .certificate_days = c->o->certificate_days,
                                    .members_see = c->o->members_see,
                                    .psk = c->o->psk};

    if (!c->o->owner) {
        fprintf(stderr, "peal-ca: group add needs --owner\n");
        return EXIT_STATUS_USAGE;
    }
    enum outcome o = account_find(&c->desk, c->o->owner, &owner);
    if (o != OUT_OK)
        return report(o, c->o->owner);
    o = group_add(&c->desk, &wish, &owner, &g);
    if (o == OUT_OK)
        fprintf(stderr, "peal-ca: group %s has %s and %s, domain %s\n", g.name, g.ipv4, g.ipv6,
                g.domain);
    return report(o, args[0]);
}

/* args: GROUP USER */
static enum outcome group_and_user(struct console *c, const char *const *args, struct group *g,
                                   struct account *user, const char **about)
{
    *about = args[0];
    enum outcome o = group_find(&c->desk, args[0], g);
    if (o != OUT_OK)
        return o;
    *about = args[1];
    return account_find(&c->desk, args[1], user);
}

static int member_change(struct console *c, const char *const *args,
                         enum outcome (*change)(struct desk *, const struct group *,
                                                const struct account *, const char *))
{
    struct group g;
    struct account user;
    const char *about = NULL;
    enum outcome o = group_and_user(c, args, &g, &user, &about);

    if (o == OUT_OK)
        o = change(&c->desk, &g, &user, c->o->reason ? c->o->reason : "");
    return report(o, about);
}

static int member_request_command(struct console *c, const char *const *args)
{
    return member_change(c, args, member_request);
}

static int member_approve_command(struct console *c, const char *const *args)
{
    return member_change(c, args, member_approve);
}

static int member_deny_command(struct console *c, const char *const *args)
{
    return member_change(c, args, member_deny);
}

static int member_revoke_command(struct console *c, const char *const *args)
{
    return member_change(c, args, member_revoke);
}

static int machine_revoke_command(struct console *c, const char *const *args)
{
    struct group g;
    struct id node;
    enum outcome o = group_find(&c->desk, args[0], &g);

    if (o != OUT_OK)
        return report(o, args[0]);
    o = id_parse(&node, args[1])
            ? machine_revoke(&c->desk, &g, &node, c->o->reason ? c->o->reason : "")
            : OUT_NO_MACHINE;
    return report(o, args[1]);
}

static int member_role_command(struct console *c, const char *const *args)
{
    struct group g;
    struct account user;
    const char *about = NULL;
    enum outcome o = group_and_user(c, args, &g, &user, &about);

    return report(o == OUT_OK ? role_set(&c->desk, &g, &user, args[2]) : o, about);
}

static void line_print(void *ctx, const struct member_line *line)
{
    char asked[TIME_TEXT_SIZE];

    printf("%-24s %-10s %-14s %8lld  %-7s  %s  %s\n", line->user, member_state_text(line->state),
           line->role[0] ? line->role : "member", (long long)line->machines,
           member_further_text(line->further), time_text(line->asked_s, asked), line->email);
}

static void line_collect(void *ctx, const struct member_line *line)
{
    json_array_append_new(ctx, answer_member(line));
}

static int print_text(const struct text *t)
{
    bool ok = fwrite(t->p, 1, t->len, stdout) == t->len && fflush(stdout) == 0;
    if (!ok)
        perror("peal-ca: stdout");
    return ok ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

static int report_json(enum outcome o, const char *about)
{
    struct text out = {0};

    (void)!answer_json(&out,
                       json_pack("{s:{s:s, s:s}}", "error", "code", outcome_code(o), "message",
                                 outcome_message(o)),
                       JSON_COMPACT);
    text_str(&out, "\n");
    (void)!print_text(&out);
    text_clear(&out);
    return report(o, about);
}

static int member_list_json(struct console *c, const struct group *g,
                            const struct member_filter *all)
{
    struct text out = {0};
    json_t *members = json_array();
    int64_t total = 0;
    enum outcome o = member_list(&c->desk, g, all, line_collect, members, &total);

    if (o == OUT_OK)
        o = answer_json(&out,
                        json_pack("{s:s, s:s, s:O}", "schema", "peal.ca-members/1", "group",
                                  g->name, "members", members),
                        JSON_COMPACT);
    json_decref(members);
    text_str(&out, "\n");
    int status = o == OUT_OK ? print_text(&out) : report_json(o, g->name);
    text_clear(&out);
    return status;
}

static int member_list_command(struct console *c, const char *const *args)
{
    const struct member_filter all = {.search = "", .limit = INT64_MAX};
    struct group g;
    int64_t total = 0;
    enum outcome o = group_find(&c->desk, args[0], &g);

    if (o != OUT_OK)
        return c->o->json ? report_json(o, args[0]) : report(o, args[0]);
    if (c->o->json)
        return member_list_json(c, &g, &all);
    printf("%-24s %-10s %-14s %8s  %-7s  %-20s  %s\n", "USER", "STATE", "ROLE", "MACHINES",
           "FURTHER", "REQUESTED", "E-MAIL");
    return report(member_list(&c->desk, &g, &all, line_print, NULL, &total), args[0]);
}

static int spread_print(const struct spread *s)
{
    char at[TIME_TEXT_SIZE];

    if (!s->number)
        printf("nobody was removed yet\n");
    else
        printf("number %lld, %s of %s, removed %s: known to %lld of %lld machines\n",
               (long long)s->number, s->hostname, s->user, time_text(s->at_s, at),
               (long long)s->told, (long long)s->machines);
    if (s->told)
        printf("half of them within %lld s, all of them within %lld s\n", (long long)s->half_s + 1,
               (long long)s->last_s + 1);
    return EXIT_STATUS_OK;
}

/* One line of JSON, or why there is none. */
static int print_answer(struct console *c, enum outcome o, const char *about, struct text *out)
{
    int status;

    if (o == OUT_OK)
        text_str(out, "\n");
    if (o == OUT_OK)
        status = print_text(out);
    else
        status = c->o->json ? report_json(o, about) : report(o, about);
    text_clear(out);
    return status;
}

static int spread_command(struct console *c, const char *const *args)
{
    struct text out = {0};
    struct spread spread;
    struct group g;
    enum outcome o = group_find(&c->desk, args[0], &g);

    if (o == OUT_OK)
        o = spread_read(&c->desk, &g, &spread);
    if (o == OUT_OK && !c->o->json)
        return spread_print(&spread);
    if (o == OUT_OK)
        o = answer_json(&out, answer_spread(&g, &spread), JSON_COMPACT);
    return print_answer(c, o, args[0], &out);
}

static int map_print(const struct map *m)
{
    static const char *const paths[RINGMAP_PATHS] = {"none", "udp", "tcp", "relay"};
    char id[ID_TEXT_SIZE], at[TIME_TEXT_SIZE];

    if (!m->ring) {
        printf("no machine has sent a map yet\n");
        return EXIT_STATUS_OK;
    }
    printf("received %s from %s\n", time_text(m->received_s, at), id_text(&m->ring->node, id));
    for (size_t i = 0; i < m->ring->count; i++) {
        const struct ringmap_node *n = &m->ring->nodes[i];

        printf("%s %s %s %s %s\n", id_text(&n->node, id),
               m->names[i].known ? m->names[i].hostname : "-",
               m->names[i].known ? m->names[i].user : "-",
               n->flags & RINGMAP_ANSWERED ? "answered" : "silent", paths[n->path]);
    }
    return EXIT_STATUS_OK;
}

static int map_command(struct console *c, const char *const *args)
{
    struct text out = {0};
    struct map map = {0};
    struct group g;
    enum outcome o = group_find(&c->desk, args[0], &g);
    int status;

    if (o == OUT_OK)
        o = map_read(&c->desk, &g, &map);
    if (o == OUT_OK && c->o->json)
        o = answer_json(&out, answer_map(&g, &map), JSON_COMPACT);
    status = o == OUT_OK && !c->o->json ? map_print(&map) : print_answer(c, o, args[0], &out);
    map_clear(&map);
    return status;
}

static int rollover(struct console *c, const char *name,
                    enum outcome (*how)(struct desk *d, const struct group *g))
{
    struct group g;
    enum outcome o = group_find(&c->desk, name, &g);

    return report(o == OUT_OK ? how(&c->desk, &g) : o, name);
}

static int roll_command(struct console *c, const char *const *args)
{
    return rollover(c, args[0], rollover_begin);
}

static int end_old_command(struct console *c, const char *const *args)
{
    return rollover(c, args[0], rollover_end);
}

/* The running service's address, or --url with the TLS key that a later serve will use. */
static enum outcome blob_server(struct console *c, struct server *server)
{
    struct tls tls;
    char host[SERVER_URL_MAX + 1];
    const char *why = NULL, *names[] = {host, "localhost"};
    bool known = server_load(&c->desk, server) == OUT_OK;

    if (!c->o->url)
        return known ? OUT_OK : OUT_NO_ADDRESS;
    if (!server_url_read(server->url, c->o->url))
        return OUT_BAD_URL;
    if (known)
        return OUT_OK; /* the pins of the certificate that is served */
    server_url_host(server->url, host, sizeof host);
    if (!tls_make(&tls, c->home, names, ARRAY_LEN(names), c->desk.now_s, &why)) {
        fprintf(stderr, "peal-ca: %s\n", why);
        return OUT_INTERNAL;
    }
    strcpy(server->pins, tls.pin);
    tls_clear(&tls);
    return OUT_OK;
}

static int blob_command(struct console *c, const char *const *args)
{
    struct group g;
    struct account user;
    struct server server = {0};
    struct text out = {0};
    const char *about = NULL;
    enum outcome o = group_and_user(c, args, &g, &user, &about);

    if (o == OUT_OK) {
        about = "blob";
        o = blob_server(c, &server);
    }
    if (o == OUT_OK) {
        about = args[1];
        o = blob_make(&c->desk, &g, &user, &server, &out);
    }
    int status = o == OUT_OK ? print_text(&out) : report(o, about);
    text_clear(&out);
    return status;
}

static int backup_command(struct console *c, const char *const *args)
{
    const char *why = NULL;
    bool ok = archive_write(c->home, args[0], &why);

    if (!ok)
        fprintf(stderr, "peal-ca: %s: %s\n", args[0], why);
    return ok ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

struct undone {
    struct text lines;
    bool more;
};

/* One line each, whatever lines are in the words of users. */
static void collect_undone(void *ctx, const struct archive_undone *u)
{
    struct undone *all = ctx;
    struct text *t = &all->lines;
    size_t begin = t->len;

    if (!u) {
        all->more = true;
        return;
    }
    text_printf(t, "peal-ca: undone, since it was after the backup: %s %s %s%s%s%s", u->verb,
                u->group, u->object, *u->detail ? " (" : "", u->detail, *u->detail ? ")" : "");
    for (size_t i = begin; i < t->len; i++)
        if (t->p[i] == '\n' || t->p[i] == '\t')
            t->p[i] = ' ';
    text_str(t, "\n");
}

static int restore_command(struct console *c, const char *const *args)
{
    const char *why = NULL;
    char before[ARCHIVE_PATH_SIZE];
    struct undone undone = {0};
    bool ok = archive_restore(c->home, args[0], c->desk.now_s, collect_undone, &undone, &why);

    if (!ok)
        fprintf(stderr, "peal-ca: %s: %s\n", args[0], why);
    else if (undone.lines.len)
        fputs(undone.lines.p, stderr);
    if (ok && (undone.more || undone.lines.failed))
        fprintf(stderr, "peal-ca: more was undone: it stands in the audit log in %s\n",
                archive_before(c->home, c->desk.now_s, before));
    text_clear(&undone.lines);
    return ok ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

/* In the place of one that was announced before. */
static enum outcome pin_announce(struct desk *d, const char *pin)
{
    struct server server;
    enum outcome o = desk_begin(d);

    if (o != OUT_OK)
        return o;
    o = server_load(d, &server);
    if (o == OUT_OK && !strstr(server.pins, pin)) {
        size_t used = strcspn(server.pins, ",");
        snprintf(server.pins + used, sizeof server.pins - used, ",%s", pin);
        o = server_write(d, &server);
    }
    return desk_close(d, o);
}

/* NULL: this is the way to announce this service's next key. */
static const char *announce_wrong(const struct server *server, bool file)
{
    if (!*server->pins)
        return "members see a reverse proxy's key and pin none";
    if (server->given && !file)
        return "the service is given its certificate: name its next key with --tls-key";
    if (!server->given && file)
        return "the service makes its own keys: leave out --tls-key";
    return NULL;
}

/* The pin of the next key beside the present one, for everybody who renews from now on: of a key
 * that was given, or of one that is made here. */
static int tls_announce_command(struct console *c, const char *const *args)
{
    struct server server;
    char pin[TLS_PIN_SIZE];
    const char *why = NULL;
    enum outcome o = server_load(&c->desk, &server);

    if (o != OUT_OK)
        return report(o, "tls announce");
    why = announce_wrong(&server, c->o->tls_key != NULL);
    if (why) {
        fprintf(stderr, "peal-ca: tls announce: %s\n", why);
        return EXIT_STATUS_FAILED;
    }
    if (c->o->tls_key ? !tls_key_pin(c->o->tls_key, pin, &why)
                      : !tls_announce(c->home, pin, &why)) {
        fprintf(stderr, "peal-ca: %s: %s\n", c->o->tls_key ? c->o->tls_key : "tls announce", why);
        return EXIT_STATUS_FAILED;
    }
    return report(pin_announce(&c->desk, pin), "tls announce");
}

static int tls_switch_command(struct console *c, const char *const *args)
{
    const char *why = NULL;
    bool ok = tls_switch(c->home, c->desk.now_s, &why);

    if (!ok)
        fprintf(stderr, "peal-ca: tls switch: %s\n", why);
    return ok ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}

static const struct command {
    const char *noun, *verb; /* verb NULL: none */
    size_t args;
    int (*run)(struct console *c, const char *const *args);
    const char *usage;
} commands[] = {
    {"user", "add", 1, user_add, "user add NAME --email E [--password-file F] [--admin]"},
    {"user", "password", 1, user_password, "user password NAME --password-file F"},
    {"user", "admin", 2, user_admin, "user admin NAME yes|no"},
    {"user", "factor-off", 1, user_factor_off, "user factor-off NAME"},
    {"group", "add", 1, group_add_command, "group add NAME --owner USER"},
    {"group", "roll", 1, roll_command, "group roll GROUP"},
    {"group", "end-old", 1, end_old_command, "group end-old GROUP"},
    {"group", "spread", 1, spread_command, "group spread GROUP [--json]"},
    {"group", "map", 1, map_command, "group map GROUP [--json]"},
    {"member", "request", 2, member_request_command, "member request GROUP USER [--reason TEXT]"},
    {"member", "approve", 2, member_approve_command, "member approve GROUP USER"},
    {"member", "deny", 2, member_deny_command, "member deny GROUP USER"},
    {"member", "revoke", 2, member_revoke_command, "member revoke GROUP USER"},
    {"member", "role", 3, member_role_command,
     "member role GROUP USER owner|administrator|approver|auditor|member"},
    {"member", "list", 1, member_list_command, "member list GROUP [--json]"},
    {"machine", "revoke", 2, machine_revoke_command, "machine revoke GROUP NODE [--reason TEXT]"},
    {"tls", "announce", 0, tls_announce_command, "tls announce [--tls-key FILE]"},
    {"tls", "switch", 0, tls_switch_command, "tls switch"},
    {"backup", NULL, 1, backup_command, "backup FILE"},
    {"restore", NULL, 1, restore_command, "restore FILE"},
    {"blob", NULL, 2, blob_command, "blob GROUP USER [--url https://host:port]"},
};

static const struct command *command_find(const char *const *words, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];
        if (!strcmp(c->noun, words[0]) && (!c->verb || (n > 1 && !strcmp(c->verb, words[1]))))
            return c;
    }
    return NULL;
}

static size_t words_before_args(const struct command *command)
{
    return command->verb ? 2 : 1;
}

int console_check(const char *const *words, size_t n)
{
    const struct command *command = command_find(words, n);

    if (!command) {
        fprintf(stderr, "peal-ca: unknown command \"%s%s%s\"; see peal-ca --help\n", words[0],
                n > 1 ? " " : "", n > 1 ? words[1] : "");
        return EXIT_STATUS_USAGE;
    }
    if (n != words_before_args(command) + command->args) {
        fprintf(stderr, "usage: peal-ca %s --data DIR\n", command->usage);
        return EXIT_STATUS_USAGE;
    }
    return EXIT_STATUS_OK;
}

bool console_founds(const char *const *words)
{
    return !strcmp(words[0], "user") ||
           !strcmp(words[0],
                   "restore"); /* everything else is about somebody who was added before */
}

int console_run(const struct home *h, const char *const *words, size_t n,
                const struct console_options *o)
{
    const char *why = NULL;
    struct console c = {
        .home = h,
        .o = o,
        .desk = {.vault = h->vault, .now_s = time(NULL), .actor = {.kind = ACTOR_CONSOLE}}};
    const struct command *command = command_find(words, n);

    CHECK(command);
    c.desk.store = home_store(h, &why);
    if (!c.desk.store) {
        fprintf(stderr, "peal-ca: %s: %s\n", h->dir, why);
        return EXIT_STATUS_FAILED;
    }
    int status = command->run(&c, words + words_before_args(command));
    store_close(c.desk.store);
    return status;
}
