/*
 * pem.h - textual encodings of DER (RFC 7468). The two public functions are in cert.h; this adds
 * the walk over a text with several objects. Text around the objects is passed over, headers inside
 * (RFC 1421) are refused.
 */
#ifndef PEAL_CRYPTO_PEM_H
#define PEAL_CRYPTO_PEM_H

#include "overlay/crypto/cert.h"

struct pem_text {
    const char *p;
    size_t left;
};

/* Decodes the next object and moves past it. Its length; 0 when there is none left; -ERR_FORMAT
 * when it has another label, is cut or not base64; -ERR_RANGE when it does not fit. */
int pem_next(struct pem_text *text, const char *label, uint8_t *der, size_t size) MUST_USE;

#endif
