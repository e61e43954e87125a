/*
 * privilege.h - what the process gives up: core dumps and attached debuggers before it holds a
 * key, and every capability that it does not need before it opens a socket to the world.
 */
#ifndef PEAL_DAEMON_PRIVILEGE_H
#define PEAL_DAEMON_PRIVILEGE_H

#include <stdbool.h>

/* No core files, no ptrace by others of the same user, files private by default. */
void privilege_harden(void);

/* Keeps of root's powers those over the network, and over files of others only when the state
 * directory is not our own. For good, children included. Before any thread is started. */
void privilege_drop(const char *state);

/* May make and configure devices (CAP_NET_ADMIN). */
bool privilege_net_admin(void);

#endif
