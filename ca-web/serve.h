/*
 * serve.h - `peal-ca serve`: the listening socket, the TLS certificate, systemd, signals;
 * everything between the command line and the HTTP server.
 *
 * SIGHUP reads the TLS certificate and key again. What cannot be read, does not belong together,
 * has expired, or is of a key that members do not pin is refused, and the one before is served on.
 */
#ifndef PEAL_CA_SERVE_H
#define PEAL_CA_SERVE_H

#include "ca-web/mailer.h"

struct serve_options {
    const char *data, *key_file;
    const char *listen; /* addr:port; port 0: any free one; a socket of systemd's comes first */
    const char *url;    /* NULL: from listen */
    const char *tls_cert, *tls_key; /* NULL: our own */
    const char *proxy; /* addresses of the reverse proxies before us, with commas; NULL: none */
    struct mailer_options mail;
    const char *log_json; /* not NULL: the log is JSON */
    const char *quiet;    /* not NULL: no line per request */
};

/* Runs until SIGTERM or SIGINT. An exit status. */
int serve(const struct serve_options *o);

#endif
