/*
 * home.h - the data directory: made 0700 or tightened, never followed through a link that others
 * could have put there; the database, the master key and the TLS key live in it.
 */
#ifndef PEAL_CA_HOME_H
#define PEAL_CA_HOME_H

#include "ca-web/desk.h"

struct home {
    char dir[1024];
    char key_file[1200]; /* the master key */
    struct vault *vault;
};

/* Started by root, the process becomes the owner of DIR, for good. False and *why when it cannot.
 */
bool home_become_owner(const char *dir, const char **why);

/*
 * Makes and tightens DIR, reads or makes the master key (key_file, else
 * $CREDENTIALS_DIRECTORY/master.key where that exists, else DIR/master.key), opens the database
 * once to bring its schema up to date, and checks that key and database belong together. An exit
 * status; a sentence in why when it is not 0.
 */
int home_open(struct home *h, const char *dir, const char *key_file, char *why, size_t why_size);
void home_close(struct home *h);

/* Is there a database in DIR? Says nothing about whether it can be read. */
bool home_exists(const char *dir);
/* One service to a directory: held until the process ends. False: another one has it. */
bool home_lock(const struct home *h);

/* Is the master key the one that sealed this database? A value sealed at the first start tells. */
bool home_key_fits(const struct home *h, struct store *s);
/* A connection of the caller's own. NULL and *why. */
struct store *home_store(const struct home *h, const char **why);
/* "DIR/name" into out. */
char *home_path(const struct home *h, const char *name, char out[1200]);

#endif
