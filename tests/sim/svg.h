/*
 * svg.h - pictures of a run, as SVG that any browser shows: a page, and charts with axes on it.
 *
 * Colours and sizes follow one small style sheet, which is in the file; nothing is fetched from
 * elsewhere. A chart maps its own units to the page and draws nothing outside of its frame.
 */
#ifndef PEAL_SIM_SVG_H
#define PEAL_SIM_SVG_H

#include <stdbool.h>
#include <stdio.h>

struct svg {
    FILE *f;
    double width, height;
};

/* False: the file cannot be written; errno says why. */
bool svg_open(struct svg *s, const char *path, double width, double height, const char *title);
bool svg_close(struct svg *s); /* false: something was not written */

enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END };
/* `class` is one of the sheet's: title, note, label, tick, over (lines). Text is escaped. */
void svg_text(struct svg *s, double x, double y, const char *class, enum svg_anchor anchor,
              const char *text);

struct chart {
    struct svg *svg;
    double x, y, width, height;              /* of the frame, on the page */
    double x_least, x_most, y_least, y_most; /* in units */
    bool x_log, y_log;
};

/* Frame, grid, ticks at round numbers, and what the axes are. */
void chart_begin(const struct chart *c, const char *title, const char *x_name, const char *y_name);
double chart_x(const struct chart *c, double x);
double chart_y(const struct chart *c, double y);

struct chart_point {
    double x, y;
};
/* A line, or dots joined by one; `color` 0 to 3. */
void chart_line(const struct chart *c, const struct chart_point *p, size_t count, int color,
                bool dots);
/* From the floor to y. */
void chart_bar(const struct chart *c, double x, double width, double y, int color);
/* An upright line with a word beside it. */
void chart_mark(const struct chart *c, double x, const char *text);
/* Which line is which: the n-th from the left, below. */
void chart_key(const struct chart *c, unsigned n, int color, const char *text);

/* At least `value`, and 1, 2 or 5 times a power of ten. */
double svg_round_up(double value);

#endif
