/*
 * qr.h - a text as a QR code (ISO/IEC 18004, by libqrencode), drawn as SVG inside a page: a file
 * of its own would have to be asked for again, and what it holds is a secret that is shown once.
 */
#ifndef PEAL_CA_QR_H
#define PEAL_CA_QR_H

#include "ca-web/text.h"

enum { QR_BYTES_MAX = 2953 }; /* version 40, level L */

/* False, and nothing written, when the text is too long. */
bool qr_write(struct text *t, const char *text, const char *label);

#endif
