/*
 * desk.h - what an operation works with: a connection to the database, the master key, the time,
 * and in whose name it is done. One is set up per request (http) or per command (console).
 *
 * Also the audit log, which every operation that changes something writes inside its own
 * transaction.
 */
#ifndef PEAL_CA_DESK_H
#define PEAL_CA_DESK_H

#include "ca-web/authorize.h"
#include "ca-web/store.h"
#include "ca-web/text.h"
#include "ca-web/vault.h"

struct desk {
    struct store *store;
    const struct vault *vault;
    int64_t now_s; /* Unix time */
    struct actor actor;
};

enum {
    REASON_MAX = 500, /* characters of a reason or a note */
};

/* The store's errors as an outcome: -ERR_FULL is OUT_BUSY. */
enum outcome desk_failed(int err);

/* Opens the transaction and asks inside it whether the actor may, so that nobody loses a role
 * between the question and the deed. Anything but OUT_OK: no transaction is open. */
enum outcome desk_open(struct desk *d, enum verb verb, int64_t group_row, int64_t user_row);
/* Without a question: for what no verb stands for, and for whoever proves himself inside. */
enum outcome desk_begin(struct desk *d);
/* Commits when o is OUT_OK, else rolls back; answers what the caller is to answer. */
enum outcome desk_close(struct desk *d, enum outcome o);

enum outcome desk_authorize(struct desk *d, enum verb verb, int64_t group_row, int64_t user_row);

/* The actor's name for people: a user's, "(console)", "(stranger)". */
const char *desk_who(const struct desk *d);

/* One row of the audit log. object: whom or what; detail may be "". */
enum outcome desk_audit(struct desk *d, enum verb verb, int64_t group_row, const char *object,
                        const char *detail);

/* Ends, inside the transaction, what `sql` updates: ?1 is its row, ?2 whose it is, ?3 the time now,
 * which is its end. `none` when there is no such thing, or it has ended before. */
enum outcome desk_end(struct desk *d, const char *sql, int64_t row, int64_t of, enum outcome none);

/* Free text from a form: printable UTF-8, at most REASON_MAX bytes. */
bool desk_text_valid(const char *text);

#endif
