/*
 * file.h - small files read whole and written whole: to a temporary name, fsync, rename, so that
 * after a crash a file is the old one or the new one.
 *
 * Functions return 0 or -errno.
 */
#ifndef PEAL_DAEMON_FILE_H
#define PEAL_DAEMON_FILE_H

#include "overlay/core/err.h"

#include <sys/types.h>

enum { FILE_PATH_SIZE = 4096 };

/* dir/name; -ENAMETOOLONG when it does not fit. */
int path_join(char out[FILE_PATH_SIZE], const char *dir, const char *name) MUST_USE;

/* The whole file, NUL-terminated, to be freed by the caller; -EFBIG above max bytes. `-` is stdin.
 */
int file_read(const char *path, size_t max, char **out, size_t *len) MUST_USE;
int file_write(const char *path, const void *bytes, size_t len, mode_t mode) MUST_USE;

enum { FILE_HELPER_SIZE = 4096 };
/* Where a helper program of ours is: beside peald in the build tree and after installation alike,
 * ../libexec/peal/NAME. */
void file_helper(char out[FILE_HELPER_SIZE], const char *name);

/* Makes the directory and its parents; one that is there already is tightened to `mode`. */
int dir_make(const char *path, mode_t mode) MUST_USE;
/* Removes a directory and the plain files in it; not being there is success. */
int dir_remove(const char *path) MUST_USE;

#endif
