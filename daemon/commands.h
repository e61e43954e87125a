/*
 * commands.h - what the control socket can be asked, as one table of name, permission and handler.
 * A command that is not in the table does not exist; one without COMMAND_READ is not for readers.
 */
#ifndef PEAL_DAEMON_COMMANDS_H
#define PEAL_DAEMON_COMMANDS_H

#include "daemon/control.h"

struct network;

enum command_permission { COMMAND_READ, COMMAND_CHANGE };

struct command {
    const char *name;
    enum command_permission permission;
    void (*run)(struct request *r);
};
const struct command *command_find(const char *name); /* NULL: unknown */

/* The network's state changed: those who wait for it look again. */
void commands_network_changed(struct network *n);
/* Its node is gone, or another one: questions to it will not be answered. */
void commands_network_gone(struct network *n);

#endif
