#include "daemon/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int path_join(char out[FILE_PATH_SIZE], const char *dir, const char *name)
{
    int len = snprintf(out, FILE_PATH_SIZE, "%s/%s", dir, name);

    return len < 0 || len >= FILE_PATH_SIZE ? -ENAMETOOLONG : 0;
}

/* Up to max + 1 bytes, so that the caller sees when there were more. */
static int read_all(int fd, char *buf, size_t size, size_t *len)
{
    ssize_t n;

    *len = 0;
    while (*len < size) {
        n = read(fd, buf + *len, size - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        *len += (size_t)n;
    }
    return 0;
}

int file_read(const char *path, size_t max, char **out, size_t *len)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    char *buf = NULL;
    int rc;

    *out = NULL;
    *len = 0;
    if (fd < 0)
        return -errno;
    buf = malloc(max + 2);
    if (!buf) {
        rc = -ENOMEM;
        goto out;
    }
    rc = read_all(fd, buf, max + 1, len);
    if (rc == 0 && *len > max)
        rc = -EFBIG;
    if (rc)
        goto out;
    buf[*len] = '\0';
    *out = buf;
    buf = NULL;
out:
    if (buf)
        explicit_bzero(buf, max + 2);
    free(buf);
    if (!is_stdin)
        close(fd);
    return rc;
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
    ssize_t n;

    while (len > 0) {
        n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* The rename is durable only once its directory is on disk. */
static int sync_parent(const char *path)
{
    char dir[FILE_PATH_SIZE];
    char *slash;
    int fd, rc;

    snprintf(dir, sizeof dir, "%s", path);
    slash = strrchr(dir, '/');
    if (slash == dir)
        slash[1] = '\0';
    else if (slash)
        *slash = '\0';
    else
        strcpy(dir, ".");
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    rc = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
    close(fd);
    return rc;
}

int file_write(const char *path, const void *bytes, size_t len, mode_t mode)
{
    char temporary[FILE_PATH_SIZE];
    int fd, rc;

    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary)
        return -ENAMETOOLONG;
    /* One writer per file (the state directory is locked), so a leftover is from a crash. */
    if (unlink(temporary) < 0 && errno != ENOENT)
        return -errno;
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    rc = write_all(fd, bytes, len);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(temporary, path) < 0)
        rc = -errno;
    if (rc) {
        unlink(temporary);
        return rc;
    }
    return sync_parent(path);
}

static int make_one(const char *path, mode_t mode, bool last)
{
    struct stat st;

    if (mkdir(path, last ? mode : 0755) == 0)
        return last && chmod(path, mode) < 0 ? -errno : 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    if (last && (st.st_mode & 07777 & ~mode) && chmod(path, st.st_mode & 07777 & mode) < 0)
        return -errno;
    return 0;
}

int dir_make(const char *path, mode_t mode)
{
    char part[FILE_PATH_SIZE];
    mode_t mask;
    int rc = 0;

    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return -ENAMETOOLONG;
    mask = umask(022); /* parents are everybody's to pass */
    for (char *p = part + 1; rc == 0 && *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        rc = make_one(part, mode, false);
        *p = '/';
    }
    if (rc == 0)
        rc = make_one(part, mode, true);
    umask(mask);
    return rc;
}

int dir_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int rc = 0;

    if (!dir)
        return errno == ENOENT ? 0 : -errno;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            rc = -errno;
    }
    closedir(dir);
    if (rc == 0 && rmdir(path) < 0)
        rc = -errno;
    return rc;
}

void file_helper(char out[FILE_HELPER_SIZE], const char *name)
{
    char self[FILE_HELPER_SIZE - 128] = "/usr/sbin/peald";
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len > 0)
        self[len] = '\0';
    snprintf(out, FILE_HELPER_SIZE, "%s/../libexec/peal/%s", dirname(self), name);
}
