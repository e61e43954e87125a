#include "daemon/state.h"

#include "daemon/file.h"
#include "daemon/words.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STATE_DIR_MODE = 0700,
    STATE_FILE_MODE = 0600,
    STATE_SMALL_MAX = 4096,      /* key, options, address */
    STATE_CONTACTS_BYTES = 8192, /* OVERLAY_CONTACTS_MAX lines */
    STATE_CRL_MAX = 8 * 1024 * 1024,
    STATE_SEED_TEXT = sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL),
};

static const char pending_dir[] = ".pending";
static const char public_dir[] = ".public";

static int refuse(char why[STATE_WHY_SIZE], const char *path, const char *what)
{
    snprintf(why, STATE_WHY_SIZE, "%.250s: %.250s", path, what);
    return -ERR_FORMAT;
}

/* group NULL: the public overlay. */
static int group_path(char out[FILE_PATH_SIZE], const char *root, const char *group,
                      const char *file)
{
    int len = snprintf(out, FILE_PATH_SIZE, "%s/%s%s%s", root, group ? group : public_dir,
                       file ? "/" : "", file ? file : "");

    return len < 0 || len >= FILE_PATH_SIZE ? -ENAMETOOLONG : 0;
}

void state_member_clear(struct state_member *m)
{
    blob_free(m->blob);
    free(m->cert_pem);
    wipe(m, sizeof *m);
}

int state_open(const char *root)
{
    char path[FILE_PATH_SIZE];
    int fd, rc = dir_make(root, STATE_DIR_MODE);

    if (rc == 0)
        rc = path_join(path, root, ".lock");
    if (rc)
        return rc;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, STATE_FILE_MODE);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return 0; /* the descriptor stays open: the lock goes with the process */
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

size_t state_list(const char *root, char (*names)[LABEL_MAX + 1], size_t max)
{
    DIR *dir = opendir(root);
    struct dirent *entry;
    size_t count = 0;

    if (!dir)
        return 0;
    while (count < max && (entry = readdir(dir)) != NULL) {
        if (label_valid(entry->d_name, strlen(entry->d_name)) && state_exists(root, entry->d_name))
            strcpy(names[count++], entry->d_name);
    }
    closedir(dir);
    qsort(names, count, sizeof *names, by_name);
    return count;
}

bool state_exists(const char *root, const char *group)
{
    char path[FILE_PATH_SIZE];
    struct stat st;

    return group_path(path, root, group, NULL) == 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int seed_read(const char *path, struct secret *seed)
{
    char *text;
    size_t len, got = 0;
    int rc = file_read(path, STATE_SMALL_MAX, &text, &len);

    if (rc)
        return rc;
    if (sodium_base642bin(seed->b, sizeof seed->b, text, len, "\n", &got, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        got != sizeof seed->b)
        rc = -ERR_FORMAT;
    wipe(text, len);
    free(text);
    return rc;
}

static int seed_write(const char *path, const struct secret *seed)
{
    char text[STATE_SEED_TEXT + 1];
    int rc;

    sodium_bin2base64(text, STATE_SEED_TEXT, seed->b, sizeof seed->b,
                      sodium_base64_VARIANT_ORIGINAL);
    strcat(text, "\n");
    rc = file_write(path, text, strlen(text), STATE_FILE_MODE);
    wipe(text, sizeof text);
    return rc;
}

/* Text that is one of our own fields: absent is "". */
static bool option_text(char *out, size_t size, const json_t *o, const char *key,
                        bool (*valid)(const char *))
{
    const char *text = json_string_value(json_object_get(o, key));

    out[0] = '\0';
    if (!text)
        return !json_object_get(o, key) || json_is_null(json_object_get(o, key));
    if (strlen(text) >= size || !valid(text))
        return false;
    strcpy(out, text);
    return true;
}

static bool hostname_valid(const char *text)
{
    return label_valid(text, strlen(text));
}

static bool options_read(struct state_options *out, const json_t *o)
{
    const char *mode = json_string_value(json_object_get(o, "mode"));

    memset(out, 0, sizeof *out);
    if (!json_is_object(o))
        return false;
    out->left = json_is_true(json_object_get(o, "left"));
    out->mode = mode && strcmp(mode, "router") == 0 ? CONFIG_MODE_ROUTER : CONFIG_MODE_WORKSTATION;
    return option_text(out->hostname, sizeof out->hostname, o, "hostname", hostname_valid) &&
           option_text(out->device, sizeof out->device, o, "device", device_name_valid) &&
           option_text(out->device_given, sizeof out->device_given, o, "device_given",
                       device_name_valid) &&
           option_text(out->bridge, sizeof out->bridge, o, "bridge", device_name_valid);
}

static json_t *option_json(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *options_json(const struct state_options *o)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:s, s:b}", "hostname", option_json(o->hostname),
                     "device", option_json(o->device), "device_given", option_json(o->device_given),
                     "bridge", option_json(o->bridge), "mode",
                     o->mode == CONFIG_MODE_ROUTER ? "router" : "workstation", "left", o->left);
}

/* Takes the reference to v. */
static int json_write(const char *path, json_t *v)
{
    char *text = v ? json_dumps(v, JSON_INDENT(2)) : NULL;
    int rc = -ENOMEM;

    if (text) {
        rc = file_write(path, text, strlen(text), STATE_FILE_MODE);
        wipe(text, strlen(text));
    }
    free(text);
    json_decref(v);
    return rc;
}

static int load_blob(struct state_member *out, const char *root, const char *group,
                     char why[STATE_WHY_SIZE])
{
    char path[FILE_PATH_SIZE], reason[BLOB_WHY_SIZE];
    char *text;
    size_t len;
    int rc = group_path(path, root, group, "blob.json");

    if (rc == 0)
        rc = file_read(path, BLOB_FILE_MAX, &text, &len);
    if (rc)
        return refuse(why, path, strerror(-rc));
    out->blob = blob_parse(text, len, reason);
    wipe(text, len);
    free(text);
    if (!out->blob)
        return refuse(why, path, reason);
    if (strcmp(out->blob->group, group) != 0)
        return refuse(why, path, "is the blob of another group than its directory is named after");
    return 0;
}

static int load_key(struct state_member *out, const char *root, const char *group,
                    char why[STATE_WHY_SIZE])
{
    char path[FILE_PATH_SIZE];
    int rc = group_path(path, root, group, "key");

    if (rc == 0)
        rc = seed_read(path, &out->seed);
    if (rc == -ERR_FORMAT)
        return refuse(why, path, "is not a key: 32 bytes in base64 were expected");
    return rc ? refuse(why, path, strerror(-rc)) : 0;
}

static int load_cert(struct state_member *out, const char *root, const char *group,
                     char why[STATE_WHY_SIZE])
{
    char path[FILE_PATH_SIZE];
    size_t len;
    int rc = group_path(path, root, group, "cert.pem");

    if (rc == 0)
        rc = file_read(path, BLOB_FILE_MAX, &out->cert_pem, &len);
    return rc ? refuse(why, path, strerror(-rc)) : 0;
}

static int load_options(struct state_member *out, const char *root, const char *group,
                        char why[STATE_WHY_SIZE])
{
    char path[FILE_PATH_SIZE];
    json_t *o;
    bool ok;
    int rc = group_path(path, root, group, "options");

    if (rc)
        return refuse(why, path, strerror(-rc));
    o = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    ok = options_read(&out->options, o);
    json_decref(o);
    return ok ? 0 : refuse(why, path, "cannot be read, or is malformed");
}

/* The address is a wish: whatever is wrong with it, the node asks for another. */
static void load_address(struct state_member *out, const char *root, const char *group)
{
    char path[FILE_PATH_SIZE];
    char *text;
    size_t len;

    if (group_path(path, root, group, "address") || file_read(path, STATE_SMALL_MAX, &text, &len))
        return;
    text[strcspn(text, "\n")] = '\0';
    if (!addr_parse(&out->address, text) || out->address.family != 4)
        memset(&out->address, 0, sizeof out->address);
    free(text);
}

int state_load(struct state_member *out, const char *root, const char *group,
               char why[STATE_WHY_SIZE])
{
    int rc;

    memset(out, 0, sizeof *out);
    why[0] = '\0';
    rc = load_blob(out, root, group, why);
    if (rc == 0)
        rc = load_key(out, root, group, why);
    if (rc == 0 && out->blob->ca)
        rc = load_cert(out, root, group, why);
    if (rc == 0)
        rc = load_options(out, root, group, why);
    if (rc == 0)
        load_address(out, root, group);
    else
        state_member_clear(out);
    return rc;
}

static int write_member(const char *dir, const struct state_member *m)
{
    char path[FILE_PATH_SIZE];
    int rc = path_join(path, dir, "blob.json");

    if (rc == 0)
        rc = json_write(path, blob_json(m->blob));
    if (rc == 0 && (rc = path_join(path, dir, "key")) == 0)
        rc = seed_write(path, &m->seed);
    if (rc == 0 && m->cert_pem && (rc = path_join(path, dir, "cert.pem")) == 0)
        rc = file_write(path, m->cert_pem, strlen(m->cert_pem), STATE_FILE_MODE);
    if (rc == 0 && (rc = path_join(path, dir, "options")) == 0)
        rc = json_write(path, options_json(&m->options));
    return rc;
}

/* In one step also where there is an old one, which takes the temporary name then. */
static int put_in_place(const char *temporary, const char *path)
{
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    return rename(temporary, path) < 0 ? -errno : 0;
}

int state_create(const char *root, const struct state_member *m)
{
    char temporary[FILE_PATH_SIZE], path[FILE_PATH_SIZE], name[LABEL_MAX + 8];
    int rc;

    snprintf(name, sizeof name, ".new-%s", m->blob->group);
    rc = path_join(temporary, root, name);
    if (rc == 0)
        rc = group_path(path, root, m->blob->group, NULL);
    if (rc == 0)
        rc = dir_remove(temporary); /* a crash's */
    if (rc == 0)
        rc = dir_make(temporary, STATE_DIR_MODE);
    if (rc == 0)
        rc = write_member(temporary, m);
    if (rc == 0)
        rc = put_in_place(temporary, path);
    (void)!dir_remove(temporary); /* the old one, or what could not be put in place */
    if (rc == 0 && m->address.family)
        rc = state_save_address(root, m->blob->group, &m->address);
    return rc;
}

int state_save_renewal(const char *root, const struct blob *blob, const char *cert_pem)
{
    char path[FILE_PATH_SIZE];
    int rc = group_path(path, root, blob->group, "cert.pem");

    if (rc == 0)
        rc = file_write(path, cert_pem, strlen(cert_pem), STATE_FILE_MODE);
    if (rc == 0 && (rc = group_path(path, root, blob->group, "blob.json")) == 0)
        rc = json_write(path, blob_json(blob));
    return rc;
}

static int save_removals(const char *path, const struct removed *r)
{
    enum { LINE = sodium_base64_ENCODED_LEN(REMOVAL_MAX, sodium_base64_VARIANT_ORIGINAL) };
    char *text = malloc(removed_count(r) * LINE + 1);
    const struct removal *one;
    size_t len = 0;
    int rc;

    if (!text)
        return -ENOMEM;
    for (uint64_t n = 0; (one = removed_after(r, n)) != NULL; n = one->number) {
        sodium_bin2base64(text + len, LINE, one->bytes, one->len, sodium_base64_VARIANT_ORIGINAL);
        len += strlen(text + len);
        text[len++] = '\n';
    }
    rc = file_write(path, text, len, STATE_FILE_MODE);
    free(text);
    return rc;
}

int state_save_removed(const char *root, const char *group, const struct removed *r)
{
    char path[FILE_PATH_SIZE];
    size_t len;
    const uint8_t *der = removed_crl(r, &len);
    int rc = 0;

    if (der && (rc = group_path(path, root, group, "crl.der")) == 0)
        rc = file_write(path, (const char *)der, len, STATE_FILE_MODE);
    if (rc == 0 && removed_count(r) > 0 && (rc = group_path(path, root, group, "removals")) == 0)
        rc = save_removals(path, r);
    return rc;
}

static void load_removal(struct removed *out, struct cert_ca *ca, const char *line)
{
    uint8_t message[REMOVAL_MAX];
    size_t len;

    if (sodium_base642bin(message, sizeof message, line, strlen(line), NULL, &len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) == 0 &&
        removed_add(out, ca, message, len) == REMOVED_NEW && removed_is_succession(message, len))
        removed_trust(out, ca);
}

/* In the order of their numbers: what comes behind a succession may be signed by the new CA. */
static void load_removals(const char *path, struct cert_ca *ca, struct removed *out)
{
    char *text, *rest = NULL;
    size_t len;

    if (file_read(path, STATE_CRL_MAX, &text, &len))
        return;
    for (char *l = strtok_r(text, "\n", &rest); l; l = strtok_r(NULL, "\n", &rest))
        load_removal(out, ca, l);
    free(text);
}

void state_load_removed(const char *root, const char *group, struct cert_ca *ca,
                        struct removed *out)
{
    char path[FILE_PATH_SIZE], *text;
    const char *why;
    size_t len;

    if (group_path(path, root, group, "removals") == 0)
        load_removals(path, ca, out);
    if (group_path(path, root, group, "crl.der") == 0 &&
        file_read(path, STATE_CRL_MAX, &text, &len) == 0) {
        (void)removed_add_crl(out, ca, (const uint8_t *)text, len, &why);
        free(text);
    }
}

int state_save_options(const char *root, const char *group, const struct state_options *o)
{
    char path[FILE_PATH_SIZE];
    int rc = group_path(path, root, group, "options");

    return rc ? rc : json_write(path, options_json(o));
}

int state_save_address(const char *root, const char *group, const struct addr *a)
{
    char path[FILE_PATH_SIZE], text[ADDR_TEXT_SIZE + 1];
    int rc = group_path(path, root, group, "address");

    addr_text(a, text);
    strcat(text, "\n");
    return rc ? rc : file_write(path, text, strlen(text), STATE_FILE_MODE);
}

int state_save_contacts(const char *root, const char *group, const struct overlay_contact *v,
                        size_t count)
{
    char path[FILE_PATH_SIZE], text[STATE_CONTACTS_BYTES], id[ID_TEXT_SIZE], ep[ENDPOINT_TEXT_SIZE];
    size_t len = 0;
    int rc = group_path(path, root, group, "contacts");

    for (size_t i = 0; i < count && len + ID_TEXT_SIZE + ENDPOINT_TEXT_SIZE + 2 < sizeof text; i++)
        len += (size_t)sprintf(text + len, "%s %s\n", id_text(&v[i].node, id),
                               endpoint_text(&v[i].ep, ep));
    return rc ? rc : file_write(path, text, len, STATE_FILE_MODE);
}

static bool is_among(const struct overlay_contact *v, size_t count, const struct id *node)
{
    for (size_t i = 0; i < count; i++) {
        if (id_eq(&v[i].node, node))
            return true;
    }
    return false;
}

size_t state_merge_contacts(struct overlay_contact now[OVERLAY_CONTACTS_MAX], size_t count,
                            const struct overlay_contact *before, size_t before_count)
{
    for (size_t i = 0; i < before_count && count < STATE_CONTACTS_LEAST; i++) {
        if (!is_among(now, count, &before[i].node))
            now[count++] = before[i];
    }
    return count;
}

size_t state_load_contacts(const char *root, const char *group, struct overlay_contact *v,
                           size_t max)
{
    char path[FILE_PATH_SIZE];
    char *text, *rest = NULL;
    size_t len, count = 0;

    if (group_path(path, root, group, "contacts") ||
        file_read(path, STATE_CONTACTS_BYTES, &text, &len))
        return 0;
    for (char *l = strtok_r(text, "\n", &rest); l && count < max; l = strtok_r(NULL, "\n", &rest)) {
        char *space = strchr(l, ' ');

        if (!space)
            continue;
        *space = '\0';
        if (id_parse(&v[count].node, l) && endpoint_parse(&v[count].ep, space + 1))
            count++;
    }
    free(text);
    return count;
}

int state_purge(const char *root, const char *group)
{
    char path[FILE_PATH_SIZE];
    int rc = group_path(path, root, group, NULL);

    return rc ? rc : dir_remove(path);
}

int state_public_key(const char *root, const struct secret *fresh, struct secret *out)
{
    char dir[FILE_PATH_SIZE], path[FILE_PATH_SIZE];
    int rc = path_join(dir, root, public_dir);

    if (rc == 0)
        rc = path_join(path, dir, "key");
    if (rc == 0)
        rc = seed_read(path, out);
    if (rc != -ENOENT)
        return rc;
    rc = dir_make(dir, STATE_DIR_MODE);
    if (rc == 0)
        rc = seed_write(path, fresh);
    *out = *fresh;
    return rc;
}

static int pending_path(char out[FILE_PATH_SIZE], const char *root, const struct id *tag)
{
    char name[sizeof pending_dir + ID_TEXT_SIZE], hex[ID_TEXT_SIZE];

    snprintf(name, sizeof name, "%s/%s", pending_dir, id_text(tag, hex));
    return path_join(out, root, name);
}

int state_pending_save(const char *root, const struct id *tag, const struct secret *seed)
{
    char dir[FILE_PATH_SIZE], path[FILE_PATH_SIZE];
    int rc = path_join(dir, root, pending_dir);

    if (rc == 0)
        rc = dir_make(dir, STATE_DIR_MODE);
    if (rc == 0)
        rc = pending_path(path, root, tag);
    return rc ? rc : seed_write(path, seed);
}

bool state_pending_load(const char *root, const struct id *tag, struct secret *seed)
{
    char path[FILE_PATH_SIZE];

    return pending_path(path, root, tag) == 0 && seed_read(path, seed) == 0;
}

void state_pending_drop(const char *root, const struct id *tag)
{
    char path[FILE_PATH_SIZE];

    if (pending_path(path, root, tag) == 0)
        unlink(path);
    if (path_join(path, root, pending_dir) == 0)
        rmdir(path); /* fails while others are pending */
}
