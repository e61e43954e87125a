#include "tests/sim/svg.h"

#include <math.h>

enum { COLORS = 4, KEY_APART = 120 /* one after the other */ };
static const char *const colors[COLORS] = {"#2563a8", "#d9692b", "#3f8f5b", "#8a5aa8"};

static const char sheet[] =
    "text{font-family:Inter,\"Helvetica Neue\",Helvetica,Arial,sans-serif;fill:#222}"
    ".title{font-size:22px;font-weight:600}.note{font-size:13px;fill:#666}"
    ".label{font-size:14px;font-weight:600}.tick{font-size:12px;fill:#666}"
    ".over{font-size:12px;fill:#444;stroke:#fff;stroke-width:4px;paint-order:stroke}"
    ".frame{fill:none;stroke:#999}.grid{stroke:#e4e4e4}"
    ".mark{stroke:#c0392b;stroke-dasharray:4 3}";

bool svg_open(struct svg *s, const char *path, double width, double height, const char *title)
{
    *s = (struct svg){.f = fopen(path, "w"), .width = width, .height = height};
    if (s->f == NULL)
        return false;
    fprintf(s->f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" "
            "height=\"%g\">\n<style>%s</style>\n<rect width=\"100%%\" height=\"100%%\" "
            "fill=\"#fff\"/>\n",
            width, height, width, height, sheet);
    svg_text(s, 30, 40, "title", SVG_START, title);
    return true;
}

bool svg_close(struct svg *s)
{
    bool ok;

    fprintf(s->f, "</svg>\n");
    ok = !ferror(s->f);
    return fclose(s->f) == 0 && ok;
}

static void put_escaped(FILE *f, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '&')
            fputs("&amp;", f);
        else if (*text == '<')
            fputs("&lt;", f);
        else
            fputc(*text, f);
    }
}

void svg_text(struct svg *s, double x, double y, const char *class, enum svg_anchor anchor,
              const char *text)
{
    static const char *const anchors[] = {"start", "middle", "end"};

    fprintf(s->f, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x, y,
            anchors[anchor]);
    put_escaped(s->f, text);
    fputs("</text>\n", s->f);
}

/* ---- charts ---- */

static double share(double v, double least, double most, bool is_log)
{
    double s;

    if (is_log)
        s = (log(v > least ? v : least) - log(least)) / (log(most) - log(least));
    else
        s = (v - least) / (most - least);
    return s < 0 ? 0 : s > 1 ? 1 : s;
}

double chart_x(const struct chart *c, double x)
{
    return c->x + c->width * share(x, c->x_least, c->x_most, c->x_log);
}

double chart_y(const struct chart *c, double y)
{
    return c->y + c->height * (1 - share(y, c->y_least, c->y_most, c->y_log));
}

double svg_round_up(double value)
{
    double step = pow(10, floor(log10(value > 0 ? value : 1)));

    while (step < value * 0.999999)
        step *= fabs(step / pow(10, floor(log10(step))) - 2) < 0.01 ? 2.5 : 2;
    return step;
}

static void tick_x(const struct chart *c, double v)
{
    double x = chart_x(c, v);
    char text[32];

    fprintf(c->svg->f, "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>\n", x, c->y, c->y + c->height);
    snprintf(text, sizeof(text), v >= 10000 ? "%.0fk" : "%g", v >= 10000 ? v / 1000 : v);
    svg_text(c->svg, x, c->y + c->height + 17, "tick", SVG_MIDDLE, text);
}

static void tick_y(const struct chart *c, double v)
{
    double y = chart_y(c, v);
    char text[32];

    fprintf(c->svg->f, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>\n", c->x, y, c->x + c->width);
    snprintf(text, sizeof(text), "%g", v);
    svg_text(c->svg, c->x - 6, y + 4, "tick", SVG_END, text);
}

/* At 1 and 3 times the powers of ten. */
static void log_ticks(const struct chart *c, double least, double most,
                      void (*tick)(const struct chart *c, double v))
{
    for (double v = pow(10, floor(log10(least))); v <= most * 1.0001; v *= 10) {
        if (v >= least * 0.9999)
            tick(c, v);
        if (3 * v >= least * 0.9999 && 3 * v <= most * 1.0001)
            tick(c, 3 * v);
    }
}

static void ticks(const struct chart *c, double least, double most, bool is_log,
                  void (*tick)(const struct chart *c, double v))
{
    double step = svg_round_up((most - least) / 6);

    if (is_log) {
        log_ticks(c, least, most, tick);
        return;
    }
    for (int i = 0; least + i * step <= most * 1.0001; i++)
        tick(c, least + i * step);
}

void chart_begin(const struct chart *c, const char *title, const char *x_name, const char *y_name)
{
    ticks(c, c->x_least, c->x_most, c->x_log, tick_x);
    ticks(c, c->y_least, c->y_most, c->y_log, tick_y);
    fprintf(c->svg->f,
            "<rect class=\"frame\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", c->x,
            c->y, c->width, c->height);
    svg_text(c->svg, c->x, c->y - 10, "label", SVG_START, title);
    svg_text(c->svg, c->x + c->width, c->y + c->height + 34, "tick", SVG_END, x_name);
    svg_text(c->svg, c->x + c->width, c->y - 10, "tick", SVG_END, y_name);
}

void chart_line(const struct chart *c, const struct chart_point *p, size_t count, int color,
                bool dots)
{
    FILE *f = c->svg->f;

    fprintf(f, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"2\" d=\"", colors[color % COLORS]);
    for (size_t i = 0; i < count; i++)
        fprintf(f, "%c%.1f %.1f", i == 0 ? 'M' : 'L', chart_x(c, p[i].x), chart_y(c, p[i].y));
    fprintf(f, "\"/>\n");
    for (size_t i = 0; dots && i < count; i++)
        fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", chart_x(c, p[i].x),
                chart_y(c, p[i].y), colors[color % COLORS]);
}

void chart_bar(const struct chart *c, double x, double width, double y, int color)
{
    double left = chart_x(c, x - width / 2), right = chart_x(c, x + width / 2), top = chart_y(c, y);

    fprintf(c->svg->f,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" "
            "fill-opacity=\"0.85\"/>\n",
            left, top, right - left, c->y + c->height - top, colors[color % COLORS]);
}

void chart_mark(const struct chart *c, double x, const char *text)
{
    double at = chart_x(c, x);

    fprintf(c->svg->f, "<path class=\"mark\" d=\"M%.1f %.1fV%.1f\"/>\n", at, c->y,
            c->y + c->height);
    svg_text(c->svg, at + 4, c->y + c->height - 8, "over", SVG_START, text);
}

void chart_key(const struct chart *c, unsigned n, int color, const char *text)
{
    double y = c->y + c->height + 30, x = c->x + KEY_APART * n;

    fprintf(c->svg->f, "<path stroke=\"%s\" stroke-width=\"3\" d=\"M%.1f %.1fH%.1f\"/>\n",
            colors[color % COLORS], x, y, x + 20);
    svg_text(c->svg, x + 26, y + 4, "tick", SVG_START, text);
}
