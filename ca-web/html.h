/*
 * html.h - HTML that is escaped by construction: there is no way to write raw markup.
 *
 * Elements are opened and closed by name, attributes are name-value pairs that end with NULL, and
 * every text and every value is escaped (& < > " '), whoever it comes from. Names of elements and
 * attributes are literals of ours; they are CHECKed. Values of href, action and formaction begin
 * with one "/": a link never leaves us.
 */
#ifndef PEAL_CA_HTML_H
#define PEAL_CA_HTML_H

#include "ca-web/text.h"

/* html_open(t, "a", "href", path, NULL) */
void html_open(struct text *t, const char *element, ...) __attribute__((sentinel));
void html_close(struct text *t, const char *element);
void html_text(struct text *t, const char *text);
/* Opened, filled with the text, closed. */
void html_element(struct text *t, const char *element, const char *text, ...)
    __attribute__((sentinel));
void html_begin(struct text *t); /* <!doctype html> */

#endif
