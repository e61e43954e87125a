/*
 * cli.h - what the commands of `peal` share: the words of the command line, the conversation with
 * peald, and how answers and errors reach people and scripts.
 *
 * stdout carries only the answer, everything else goes to stderr. With --json the answer, or an
 * error, is one JSON object on stdout. Each command is one file with one function; main.c has the
 * table.
 */
#ifndef PEAL_CLI_CLI_H
#define PEAL_CLI_CLI_H

#include "daemon/protocol.h"

#include <stdbool.h>
#include <stddef.h>

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_WORDS_MAX = 4 };

/* The command line, taken apart. What was not said is NULL, 0 or -1. */
struct cli {
    const char *socket;
    bool json;
    const char *network;
    const char *words[CLI_WORDS_MAX]; /* after the command */
    int words_count;
    /* Options of single commands. */
    const char *hostname, *device, *mode, *bridge, *ipv4, *bootstrap, *public_bootstrap;
    int wait_s, count; /* -1 */
    bool purge, dot;
};

/* Says what is wrong, with --json as an object too, and returns the exit status for it. */
int cli_error(const struct cli *cli, enum protocol_error e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for an error object of peald's. */
int cli_error_json(const struct cli *cli, const json_t *error);
/* Prints v as one line of JSON. Takes the reference. */
void cli_print_json(json_t *v);

/* --- client.c: one connection to peald --- */
struct client;
/* 0 with a connection, or an exit status after the error was said. */
int client_open(struct client **out, const struct cli *cli);
void client_close(struct client *c);
/* Sends a request (its reference is taken) and waits for the answer at most timeout_s. item is
 * called for each item before it (NULL: there are none). 0 with *result, to be released, or an exit
 * status after the error was said. */
int client_ask(struct client *c, json_t *request, int timeout_s,
               void (*item)(void *ctx, const json_t *item), void *ctx, json_t **result);
/* Connects, asks once, closes. */
int cli_ask(const struct cli *cli, json_t *request, int timeout_s, json_t **result);
/* {"command":name, "network":cli->network if it was said}. */
json_t *cli_request(const struct cli *cli, const char *command);

/* --- output.c: values for people --- */
const char *text_of(const json_t *object, const char *key, const char *otherwise);
/* "3 min", "2 h 5 min", "4 d" */
char *span_text(double seconds, char out[32]);
char *bytes_text(json_int_t bytes, char out[32]);
char *ms_text(const json_t *ms, char out[32]); /* "12.3 ms", "-" for null */
/* "a, b"; "-" for an empty list. */
char *list_text(const json_t *array, char *out, size_t size);
/* The first 8 digits of an id, "-" for null. */
char *short_id(const json_t *id, char out[9]);
/* A node's host name; where there is none, its short id. */
const char *name_of(const json_t *object, const char *hostname_key, const char *id_key, char id[9]);
char *age_text(const json_t *seconds, char out[32]); /* as span_text, "-" for null */

/* Rows printed in columns as wide as their widest cell; headings first. Cells are copied. */
struct table;
struct table *table_new(const char *const *headings, size_t columns);
void table_cell(struct table *t, const char *text);
void table_print(struct table *t); /* and frees it */

/* --- The commands --- */
int cli_join(const struct cli *cli);
int cli_leave(const struct cli *cli);
int cli_new(const struct cli *cli);
int cli_status(const struct cli *cli);
int cli_peers(const struct cli *cli);
int cli_members(const struct cli *cli);
int cli_ping(const struct cli *cli);
int cli_why(const struct cli *cli);
int cli_lookup(const struct cli *cli);
int cli_netcheck(const struct cli *cli);
int cli_crawl(const struct cli *cli);
int cli_gateway(const struct cli *cli);
int cli_metrics(const struct cli *cli);
int cli_reload(const struct cli *cli);

#endif
