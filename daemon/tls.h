/*
 * tls.h - TLS 1.3 without I/O, for connections that must look like the web: to port 443 and through
 * proxies. The certificate is made at start and thrown away at the end, and nobody looks at it: who
 * the other end is, Noise shows. So TLS hides here; it protects nothing that is not protected
 * inside.
 */
#ifndef PEAL_DAEMON_TLS_H
#define PEAL_DAEMON_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context; /* key and certificate, shared by all connections */
struct tls;         /* one connection */

/* NULL: no memory. */
struct tls_context *tls_context_new(void);
void tls_context_free(struct tls_context *c);

enum { TLS_FIRST_BYTE = 22 }; /* of a client's hello: content type handshake (RFC 8446 5.1) */

/* NULL: no memory, or OpenSSL does not want to. */
struct tls *tls_new(struct tls_context *c, bool server);
void tls_free(struct tls *t);

/* What came from the wire. False: no memory. */
bool tls_input(struct tls *t, const uint8_t *bytes, size_t len);
/* Plain bytes of it: how many; 0 none yet; -1: the connection is broken or at its end. */
int tls_read(struct tls *t, uint8_t *out, size_t size);
/* The handshake is done; before, tls_write must not be called. */
bool tls_ready(const struct tls *t);
bool tls_write(struct tls *t, const uint8_t *bytes, size_t len);
/* What is to go to the wire: how many bytes were put to out. */
size_t tls_output(struct tls *t, uint8_t *out, size_t size);
size_t tls_output_len(const struct tls *t);

#endif
