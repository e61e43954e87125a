#include "overlay/crypto/pem.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum {
    LINE_BYTES = 48, /* 64 characters, RFC 7468 2 */
    BOUNDARY_SIZE = 64,
};

static const char blanks[] = " \t\r\n";

/* "-----BEGIN label-----"; empty for a label that no object of ours has. */
static size_t boundary(char out[BOUNDARY_SIZE], const char *verb, const char *label)
{
    int len = snprintf(out, BOUNDARY_SIZE, "-----%s %s-----", verb, label);

    CHECK(len > 0 && len < BOUNDARY_SIZE);
    return (size_t)len;
}

/* Bytes that the base64 in text stands for, if it is base64. */
static size_t decoded_len(const char *text, size_t len)
{
    size_t digits = 0;

    for (size_t i = 0; i < len; i++)
        digits += strchr(blanks, text[i]) == NULL && text[i] != '=';
    return digits * 3 / 4;
}

static int decode(uint8_t *der, size_t size, const char *text, size_t len)
{
    size_t der_len;

    if (decoded_len(text, len) > size)
        return -ERR_RANGE;
    if (sodium_base642bin(der, size, text, len, blanks, &der_len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        der_len == 0)
        return -ERR_FORMAT;
    return (int)der_len;
}

int pem_next(struct pem_text *text, const char *label, uint8_t *der, size_t size)
{
    static const char any[] = "-----BEGIN ";
    char begin[BOUNDARY_SIZE], end[BOUNDARY_SIZE];
    size_t begin_len = boundary(begin, "BEGIN", label), end_len = boundary(end, "END", label);
    const char *limit = text->p + text->left, *start, *stop;

    start = text->left > 0 ? memmem(text->p, text->left, any, sizeof any - 1) : NULL;
    if (start == NULL)
        return 0;
    if ((size_t)(limit - start) < begin_len || memcmp(start, begin, begin_len) != 0)
        return -ERR_FORMAT;
    start += begin_len;
    stop = memmem(start, (size_t)(limit - start), end, end_len);
    if (stop == NULL)
        return -ERR_FORMAT;
    text->p = stop + end_len;
    text->left = (size_t)(limit - text->p);
    return decode(der, size, start, (size_t)(stop - start));
}

int pem_to_der(const char *label, const char *pem, size_t len, uint8_t *der, size_t size)
{
    struct pem_text text = {pem, len};
    int der_len = pem_next(&text, label, der, size);

    if (der_len == 0)
        return -ERR_FORMAT;
    if (der_len > 0 && text.left > 0 && memmem(text.p, text.left, "-----BEGIN ", 11) != NULL)
        return -ERR_FORMAT; /* one object was asked for: which would be meant? */
    return der_len;
}

int der_to_pem(const char *label, const uint8_t *der, size_t len, char *pem, size_t size)
{
    char begin[BOUNDARY_SIZE], end[BOUNDARY_SIZE];
    size_t lines = (len + LINE_BYTES - 1) / LINE_BYTES;
    size_t need = boundary(begin, "BEGIN", label) + boundary(end, "END", label) + 2 +
                  (len + 2) / 3 * 4 + lines;
    char *p = pem;

    if (size == 0)
        return -ERR_RANGE;
    pem[0] = '\0';
    if (len > INT32_MAX / 2 || need >= size)
        return -ERR_RANGE;
    p += snprintf(p, size, "%s\n", begin);
    for (size_t done = 0; done < len; done += LINE_BYTES) {
        size_t part = len - done < LINE_BYTES ? len - done : LINE_BYTES;

        sodium_bin2base64(p, size - (size_t)(p - pem), der + done, part,
                          sodium_base64_VARIANT_ORIGINAL);
        p += strlen(p);
        *p++ = '\n';
    }
    p += snprintf(p, size - (size_t)(p - pem), "%s\n", end);
    return (int)(p - pem);
}
