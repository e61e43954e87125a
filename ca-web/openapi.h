/*
 * openapi.h - the description of /api/v1 (OpenAPI 3.1), openapi.json, compiled in by embed.cmake.
 */
#ifndef PEAL_CA_OPENAPI_H
#define PEAL_CA_OPENAPI_H

#include <stddef.h>

extern const unsigned char openapi_json[];
extern const size_t openapi_json_len;

#endif
