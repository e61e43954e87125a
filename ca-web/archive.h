/*
 * archive.h - everything of a data directory but the master key in one file, and back, beside a
 * running service.
 *
 * A backup is one consistent state of the database, with the TLS key (which blobs pin) sealed into
 * it; without the master key it opens nothing, and only that master key restores it.
 *
 * Restoring goes back in time for what the members have not: the numbers of removals and of
 * enrolments jump by ARCHIVE_JUMP, so that none is used twice; sessions, unused blobs and
 * invitations end, since some of them may have been used or taken back meanwhile. What was there
 * before is kept beside it. The live database changes in one transaction.
 *
 * Going back also undoes who was approved and removed since, who came in by an invitation, groups
 * and CAs: whoever restores is told, so that he does it again.
 */
#ifndef PEAL_CA_ARCHIVE_H
#define PEAL_CA_ARCHIVE_H

#include "ca-web/home.h"

enum { ARCHIVE_JUMP = 1000, ARCHIVE_UNDONE_MAX = 1000, ARCHIVE_PATH_SIZE = 1300 };

/* A line of the log that ends with the backup. Borrowed while the callback runs. */
struct archive_undone {
    const char *verb, *group, *object, *detail;
};

/* Into a new file (0600). False and *why. */
bool archive_write(const struct home *h, const char *path, const char **why);
/* False and *why; then nothing has changed. undone: for each decision about members, machines,
 * roles, groups and CAs that was made since the backup, the oldest first, at most
 * ARCHIVE_UNDONE_MAX; then with NULL when there were more, or when they could not all be read. */
bool archive_restore(const struct home *h, const char *path, int64_t now_s,
                     void (*undone)(void *ctx, const struct archive_undone *u), void *ctx,
                     const char **why);
/* Where a restore of that time keeps what was there before. */
char *archive_before(const struct home *h, int64_t now_s, char out[ARCHIVE_PATH_SIZE]);

#endif
