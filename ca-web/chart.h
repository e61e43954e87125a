/*
 * chart.h - a group's map (map.h) on its page: an SVG, the members round a circle in the order of
 * their ids, and the same as a table for who cannot see it.
 *
 * The caller has asked whether the visitor may see it, names included.
 */
#ifndef PEAL_CA_CHART_H
#define PEAL_CA_CHART_H

#include "ca-web/page.h"

enum {
    CHART_LABELS_MAX = 36, /* machines that are named in the drawing; with more none is */
    CHART_ROWS_MAX = 200,  /* of the table; the rest are in the API's answer */
    CHART_OLD_S = 20 * 60, /* so old is a map that did not come when it should have */
};

void chart_card(struct visit *v, const struct group *g);

#endif
