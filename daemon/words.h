/*
 * words.h - what people type: the nearest known word to a misspelt one, names of devices, host
 * names made into labels.
 */
#ifndef PEAL_DAEMON_WORDS_H
#define PEAL_DAEMON_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* The word at the smallest edit distance to `typed`, or NULL when none is near enough to be meant.
 */
const char *words_nearest(const char *const *words, size_t count, const char *typed);

/* Linux's rules for an interface name (dev_valid_name), less the odd characters. */
bool device_name_valid(const char *name);

/* The first label of a machine's name, made LDH: "Alice's PC.lan" gives "alice-s-pc". Never empty.
 */
void hostname_label(char out[64], const char *name);

#endif
