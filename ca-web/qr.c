#include "ca-web/qr.h"

#include <qrencode.h>
#include <stdio.h>
#include <string.h>

#include "ca-web/html.h"

enum { QUIET = 4 }; /* light modules around the symbol (ISO/IEC 18004, 9.1) */

static bool dark(const QRcode *code, int x, int y)
{
    return code->data[y * code->width + x] & 1;
}

/* Each run of dark modules of a line is one rectangle of the path. */
static void path_line(struct text *path, const QRcode *code, int y)
{
    for (int x = 0; x < code->width;) {
        int from = x;
        while (x < code->width && dark(code, x, y))
            x++;
        if (x > from)
            text_printf(path, "M%d %dh%dv1h-%dz", from + QUIET, y + QUIET, x - from, x - from);
        else
            x++;
    }
}

static void svg_write(struct text *t, const QRcode *code, const char *label)
{
    struct text path = {0};
    char box[48];

    for (int y = 0; y < code->width; y++)
        path_line(&path, code, y);
    snprintf(box, sizeof box, "0 0 %d %d", code->width + 2 * QUIET, code->width + 2 * QUIET);
    html_open(t, "svg", "class", "qr", "viewbox", box, "role", "img", "aria-label", label, NULL);
    html_element(t, "path", "", "d", path.failed ? "" : path.p, NULL);
    html_close(t, "svg");
    t->failed |= path.failed;
    text_clear(&path);
}

bool qr_write(struct text *t, const char *text, const char *label)
{
    size_t len = strlen(text);
    QRcode *code = len && len <= QR_BYTES_MAX
                       ? QRcode_encodeData((int)len, (const unsigned char *)text, 0, QR_ECLEVEL_L)
                       : NULL;

    if (!code)
        return false;
    svg_write(t, code, label);
    QRcode_free(code);
    return true;
}
