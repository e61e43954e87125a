/*
 * answer.h - JSON that more than one place writes: lists, the network definition, errors. jansson
 * below.
 */
#ifndef PEAL_CA_ANSWER_H
#define PEAL_CA_ANSWER_H

#include <jansson.h>

#include "ca-web/map.h"
#include "ca-web/member.h"
#include "ca-web/spread.h"

/* "a,b" -> ["a","b"]; "" -> []. New reference. */
json_t *answer_list(const char *commas);
/* {"ipv4","ipv6","domain","lease_s"}. New reference. */
json_t *answer_network(const struct group *g);
/* {"user","email","state","further","role","reason","requested","machines"}. New reference. */
json_t *answer_member(const struct member_line *line);
/* {"removal":{..} or null,"machines","told","half_s","last_s"}. New reference. */
json_t *answer_spread(const struct group *g, const struct spread *s);
/* {"map":null or {"received","by","cut","members","nodes":[..]}}. New reference. */
json_t *answer_map(const struct group *g, const struct map *m);
/* {"error":{"code","message"}} */
enum outcome answer_error(struct text *out, enum outcome o);
/* Appends and releases `json`; NULL (out of memory on the way) is OUT_INTERNAL. */
enum outcome answer_json(struct text *out, json_t *json, size_t flags);

#endif
