/*
 * peal-ca - the group web service and its admin commands.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ca-web/console.h"
#include "ca-web/options.h"
#include "ca-web/serve.h"

static const char usage_text[] =
    "usage: peal-ca serve --data DIR --listen ADDR:PORT [--url https://host:port]\n"
    "                     [--tls-cert FILE --tls-key FILE] [--key-file FILE] [--proxy ADDR,...]\n"
    "                     [--quiet] [--log-json]\n"
    "                     [--mail smtp://host:port --mail-from ADDR [--mail-login FILE]]\n"
    "       peal-ca user add NAME --email E [--password-file FILE] [--admin]\n"
    "       peal-ca user password NAME --password-file FILE\n"
    "       peal-ca user admin NAME yes|no\n"
    "       peal-ca user factor-off NAME\n"
    "       peal-ca group add NAME --owner USER [--ipv4 10.77.0.0/16] [--domain NAME.peal]\n"
    "                     [--bootstrap host:port,...] [--public-bootstrap host:port,...] [--psk]\n"
    "                     [--lease-hours 24] [--certificate-days 30] [--members-see]\n"
    "       peal-ca member request GROUP USER [--reason TEXT]\n"
    "       peal-ca member approve|deny|revoke GROUP USER [--reason TEXT]\n"
    "       peal-ca machine revoke GROUP NODE [--reason TEXT]\n"
    "       peal-ca member role GROUP USER owner|administrator|approver|auditor|member\n"
    "       peal-ca group roll GROUP | group end-old GROUP\n"
    "       peal-ca group spread|map GROUP [--json]\n"
    "       peal-ca member list GROUP [--json]\n"
    "       peal-ca blob GROUP USER [--url https://host:port]\n"
    "       peal-ca tls announce [--tls-key FILE] | tls switch\n"
    "       peal-ca backup FILE | restore FILE\n"
    "       peal-ca --help | --version\n"
    "All but the last take --data DIR, and --key-file FILE for a master key outside DIR.\n"
    "Exit status: 0 done, 1 failed, 2 usage, 4 not permitted, 5 no such user, group or member.\n";

/* Everything that can be said, for every command. */
struct line {
    struct console_options console;
    struct serve_options serve;
    const char *help, *version;
};

static int complain(const char *why)
{
    fprintf(stderr, "peal-ca: %s; see peal-ca --help\n", why);
    return EXIT_STATUS_USAGE;
}

/* `peal-ca blob lab alice > lab.peal` is how the file is made. Before root's rights are dropped. */
static void keep_secret(void)
{
    struct stat st;

    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode))
        (void)!fchmod(STDOUT_FILENO, st.st_mode & 0700);
}

static int admin(const struct line *line, const struct words *words)
{
    const char *why = NULL;
    char reason[1400];
    struct home home;

    umask(077);
    if (!strcmp(words->v[0], "blob"))
        keep_secret();
    if (!home_become_owner(line->serve.data, &why)) {
        fprintf(stderr, "peal-ca: %s: %s\n", line->serve.data, why);
        return EXIT_STATUS_NOT_PERMITTED;
    }
    /* A slip in the directory's name must not make a service beside the real one. */
    if (!console_founds(words->v) && !home_exists(line->serve.data)) {
        fprintf(stderr,
                "peal-ca: %s: no peal-ca keeps its data there; `serve` or `user add` begins\n",
                line->serve.data);
        return EXIT_STATUS_FAILED;
    }
    int status = home_open(&home, line->serve.data, line->serve.key_file, reason, sizeof reason);
    if (status) {
        fprintf(stderr, "peal-ca: %s\n", reason);
        return status;
    }
    status = console_run(&home, words->v, words->count, &line->console);
    home_close(&home);
    return status;
}

static int command(const struct line *line, const struct words *words)
{
    if (!words->count)
        return complain("say what to do");
    bool serving = !strcmp(words->v[0], "serve");
    if (!serving && console_check(words->v, words->count))
        return EXIT_STATUS_USAGE;
    if (!line->serve.data)
        return complain("--data DIR is missing");
    if (crypto_start()) {
        fprintf(stderr, "peal-ca: libsodium does not start\n");
        return EXIT_STATUS_FAILED;
    }
    if (!serving)
        return admin(line, words);
    if (words->count > 1)
        return complain("serve takes options only");
    umask(077);
    return serve(&line->serve);
}

int main(int argc, char **argv)
{
    struct line line = {0};
    struct words words;
    char why[200];
    const struct option_def defs[] = {
        {"help", true, &line.help},
        {"version", true, &line.version},
        {"data", false, &line.serve.data},
        {"key-file", false, &line.serve.key_file},
        {"listen", false, &line.serve.listen},
        {"url", false, &line.serve.url},
        {"tls-cert", false, &line.serve.tls_cert},
        {"tls-key", false, &line.serve.tls_key},
        {"proxy", false, &line.serve.proxy},
        {"quiet", true, &line.serve.quiet},
        {"log-json", true, &line.serve.log_json},
        {"mail", false, &line.serve.mail.server},
        {"mail-from", false, &line.serve.mail.from},
        {"mail-login", false, &line.serve.mail.login_file},
        {"email", false, &line.console.email},
        {"password-file", false, &line.console.password_file},
        {"admin", true, &line.console.admin},
        {"owner", false, &line.console.owner},
        {"ipv4", false, &line.console.ipv4},
        {"domain", false, &line.console.domain},
        {"bootstrap", false, &line.console.bootstrap},
        {"public-bootstrap", false, &line.console.public_bootstrap},
        {"members-see", true, &line.console.members_see},
        {"lease-hours", false, &line.console.lease_hours},
        {"certificate-days", false, &line.console.certificate_days},
        {"psk", true, &line.console.psk},
        {"reason", false, &line.console.reason},
        {"json", true, &line.console.json},
    };

    if (!options_read(argc, argv, defs, ARRAY_LEN(defs), &words, why, sizeof why))
        return complain(why);
    if (line.help || line.version) {
        fputs(line.help ? usage_text : "peal-ca " PEAL_VERSION "\n", stdout);
        return fflush(stdout) ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
    }
    line.console.url = line.serve.url;
    line.console.tls_key = line.serve.tls_key;
    return command(&line, &words);
}
