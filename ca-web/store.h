/*
 * store.h - the database: one SQLite file in WAL mode, DIR/peal-ca.sqlite.
 *
 * Every statement is a literal with bound values, prepared once per connection and kept; nothing is
 * ever pasted into SQL. Foreign keys are enforced, commits are synced: what was answered survives a
 * power cut, and a kill at any write leaves the state before or after the whole transaction. The
 * schema carries a version (PRAGMA user_version) and grows by the list of steps in store.c, after a
 * copy was put aside as FILE.vN; a file of a newer version is refused.
 *
 * A connection belongs to one thread at a time. Any number of processes may have the file open;
 * nothing is cached here, so all of them see a commit at once.
 */
#ifndef PEAL_CA_STORE_H
#define PEAL_CA_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "overlay/core/err.h"

struct store;

enum {
    STORE_BUSY_MS = 5000,       /* how long a writer waits for another */
    STORE_STATEMENTS_MAX = 192, /* different statements in the program; CHECKed */
};

/* A bound value. Text and bytes are borrowed until the statement has run. */
struct value {
    enum { VALUE_INT, VALUE_TEXT, VALUE_BYTES } type;
    int64_t i;
    const void *p; /* NULL: SQL NULL */
    size_t len;
};

static inline struct value v_int(int64_t i)
{
    return (struct value){.type = VALUE_INT, .i = i};
}
struct value v_text(const char *s);
static inline struct value v_bytes(const void *p, size_t len)
{
    return (struct value){.type = VALUE_BYTES, .p = p, .len = len};
}

/* Opens, makes (0600) and brings the schema up to date. NULL and a sentence in *why (static) when
 * not. */
struct store *store_open(const char *path, const char **why);
void store_close(struct store *s); /* NULL is fine */

/* One consistent state of everything into a new file (0600), while others read and write. */
int store_copy(struct store *s, const char *path) MUST_USE;

/* Is every page of it whole? */
bool store_sound(struct store *s);
/* Makes everything what `from` has, in one transaction, while others read and write. */
int store_load(struct store *s, struct store *from) MUST_USE;

/* BEGIN IMMEDIATE: the write lock is taken now or not at all. 0, or -ERR_FULL when others hold it.
 */
int store_begin(struct store *s) MUST_USE;
int store_commit(struct store *s) MUST_USE; /* on failure everything is rolled back */
void store_rollback(struct store *s);       /* no transaction open: nothing happens */

/* Values are written VALUES(v_int(1), v_text(name)) and number the ?1, ?2, ... of the statement. */
#define VALUES(...)                                                                                \
    (const struct value[]){__VA_ARGS__},                                                           \
        sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value)

/* Runs a statement that answers no rows. Rows changed, -ERR_BAD_STATE when a constraint forbids it
 * (nothing was changed), -ERR_FULL when the database is busy, -ERR_FORMAT for anything else
 * (logged). */
int store_run(struct store *s, const char *sql, const struct value *v, size_t n) MUST_USE;
int64_t store_last_row(const struct store *s);

/* Rows, one at a time: for (struct query q = store_ask(...); query_row(&q);) ...; the query ends
 * itself when the last row was read, else by query_end. Columns count from 0; text and bytes are
 * borrowed until the next row; NULL reads as 0, "" and 0 bytes. */
struct query {
    struct store *store;
    void *statement;
    bool failed;
};
struct query store_ask(struct store *s, const char *sql, const struct value *v, size_t n);
bool query_row(struct query *q);
int64_t query_int(const struct query *q, int column);
const char *query_text(const struct query *q, int column);
const void *query_bytes(const struct query *q, int column, size_t *len);
/* Copies exactly `len` bytes; false when the column has another length. */
bool query_copy(const struct query *q, int column, void *out, size_t len);
void query_copy_text(const struct query *q, int column, char *out,
                     size_t size); /* CHECKs that it fits */
bool query_null(const struct query *q, int column);
void query_end(struct query *q);

/* The first column of the first row, or `otherwise`. */
int64_t store_int(struct store *s, int64_t otherwise, const char *sql, const struct value *v,
                  size_t n);

/* A number that changes when another connection has committed. */
int64_t store_change(struct store *s);

/* Small named values: the service's URL, its pins, ... Get: false when there is none or it is too
 * long. */
bool store_get_meta(struct store *s, const char *name, char *out, size_t size);
int store_set_meta(struct store *s, const char *name, const char *value) MUST_USE;

#endif
