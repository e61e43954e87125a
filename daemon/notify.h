/*
 * notify.h - tells systemd how the daemon is (sd_notify(3)'s protocol: datagrams to the socket that
 * NOTIFY_SOCKET names). Does nothing when it was not started by it.
 */
#ifndef PEAL_DAEMON_NOTIFY_H
#define PEAL_DAEMON_NOTIFY_H

void notify_ready(void);
void notify_reloading(void); /* end it with notify_ready */
void notify_stopping(void);

#endif
