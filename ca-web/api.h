/*
 * api.h - what the handlers of /api/v1 share: JSON bodies in, JSON out. jansson below.
 */
#ifndef PEAL_CA_API_H
#define PEAL_CA_API_H

#include <jansson.h>

#include "ca-web/visit.h"

/* The body as an object; an empty body is an empty object. NULL when it is something else. */
json_t *api_body(const struct visit *v);
/* A string member without NULs; NULL when it is missing or something else. */
const char *api_string(const json_t *object, const char *name);

#endif
