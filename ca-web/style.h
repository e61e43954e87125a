/*
 * style.h - the pages' one style sheet, style.css, compiled in by embed.cmake.
 */
#ifndef PEAL_CA_STYLE_H
#define PEAL_CA_STYLE_H

#include <stddef.h>

extern const unsigned char style_css[];
extern const size_t style_css_len;

#endif
