#include "tests/sim/plot.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "overlay/core/err.h"
#include "tests/sim/svg.h"

enum {
    PAGE_WIDTH = 1500,
    PAGE_HEIGHT = 940,
    RING_X = 455, /* its middle, on the page */
    RING_Y = 480,
    RING_RADIUS = 370,
    RING_NODES_MAX = 1500, /* whose shortcuts are drawn; of more every other, third ... */
    PEERS_MAX = 256,
    CURVE_POINTS = 200,
    RAMP_STEPS = 24,
};

/* ---- the ring ---- */

static double angle_of(const struct id *id)
{
    return 2 * M_PI * id_fraction(id) - M_PI / 2;
}

static double ring_x(double angle, double radius)
{
    return RING_X + radius * cos(angle);
}

static double ring_y(double angle, double radius)
{
    return RING_Y + radius * sin(angle);
}

/* From blue for the shortest to orange for the longest. */
static void ramp_color(double share, char out[8])
{
    static const int stops[][3] = {{24, 68, 128}, {38, 140, 160}, {236, 178, 54}, {206, 66, 36}};
    double at = (share < 0 ? 0 : share > 0.999 ? 0.999 : share) * (ARRAY_LEN(stops) - 1);
    size_t i = (size_t)at;
    double part = at - (double)i;
    int rgb[3];

    for (int k = 0; k < 3; k++)
        rgb[k] = (int)(stops[i][k] + part * (stops[i + 1][k] - stops[i][k]));
    snprintf(out, 8, "#%02x%02x%02x", (unsigned)rgb[0] & 255, (unsigned)rgb[1] & 255,
             (unsigned)rgb[2] & 255);
}

static double direct_ms(const struct world *w, const struct host *a, const struct host *b)
{
    return (double)(internet_one_way(&w->internet, a->index, b->index) +
                    internet_one_way(&w->internet, b->index, a->index)) /
           1e3;
}

struct ring_picture {
    struct svg *svg;
    const struct world *world;
    double longest_ms; /* the ramp's end */
    double opacity;
};

static void draw_shortcut(const struct ring_picture *p, const struct host *from,
                          const struct host *to)
{
    double a = angle_of(&from->identity.id), b = angle_of(&to->identity.id);
    double ms = direct_ms(p->world, from, to), middle = RING_RADIUS * 0.25 * fabs(cos((a - b) / 2));
    double half = atan2(sin(a) + sin(b), cos(a) + cos(b));
    char color[8];

    ramp_color(p->longest_ms > 0 ? ms / p->longest_ms : 0, color);
    fprintf(p->svg->f,
            "<path d=\"M%.1f %.1fQ%.1f %.1f %.1f %.1f\" stroke=\"%s\" stroke-opacity=\"%.2f\"/>\n",
            ring_x(a, RING_RADIUS), ring_y(a, RING_RADIUS), ring_x(half, middle),
            ring_y(half, middle), ring_x(b, RING_RADIUS), ring_y(b, RING_RADIUS), color,
            p->opacity);
}

/* Each pair once: by the one with the lower id. */
static void draw_shortcuts_of(const struct ring_picture *p, const struct host *h)
{
    static struct overlay_peer_info peers[PEERS_MAX];
    size_t count = overlay_peers(host_overlay(h), peers, PEERS_MAX);

    for (size_t i = 0; i < count && i < PEERS_MAX; i++) {
        const struct host *to = world_host(p->world, &peers[i].node);

        if (peers[i].up && (peers[i].roles & OVERLAY_ROLE_SHORTCUT) != 0 && to != NULL &&
            id_cmp(&h->identity.id, &to->identity.id) < 0)
            draw_shortcut(p, h, to);
    }
}

static void draw_nodes(const struct ring_picture *p)
{
    double radius = 900.0 / (double)p->world->host_count;

    radius = radius < 1.3 ? 1.3 : radius > 5 ? 5 : radius;
    for (size_t i = 0; i < p->world->host_count; i++) {
        const struct host *h = &p->world->hosts[i];
        double a = angle_of(&h->identity.id);

        if (h->node != NULL)
            fprintf(p->svg->f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\"/>\n",
                    ring_x(a, RING_RADIUS), ring_y(a, RING_RADIUS), radius,
                    h->view.member ? "#222" : "#c0392b");
    }
}

static void draw_ramp(const struct ring_picture *p)
{
    double x = RING_X - 120, y = PAGE_HEIGHT - 32;
    char color[8], text[64];

    for (int i = 0; i < RAMP_STEPS; i++) {
        ramp_color((i + 0.5) / RAMP_STEPS, color);
        fprintf(p->svg->f,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"10.2\" height=\"10\" fill=\"%s\"/>\n",
                x + 10 * i, y, color);
    }
    svg_text(p->svg, x - 8, y + 10, "tick", SVG_END, "shortcuts by round trip: 0");
    snprintf(text, sizeof(text), "%.0f ms and more", p->longest_ms);
    svg_text(p->svg, x + 10 * RAMP_STEPS + 8, y + 10, "tick", SVG_START, text);
}

static double longest_direct(struct report *r)
{
    struct stats *direct = &r->world->asks.direct_ms;

    return direct->count > 0 ? svg_round_up(stats_mean(direct)) : 1;
}

static void draw_ring(struct svg *svg, struct report *r)
{
    const struct world *w = r->world;
    size_t step = w->host_count / RING_NODES_MAX + 1;
    struct ring_picture p = {.svg = svg, .world = w, .longest_ms = longest_direct(r)};
    double drawn = (double)w->host_count / (double)step;

    p.opacity = drawn < 100 ? 0.75 : drawn < 300 ? 0.45 : 0.25;
    fprintf(svg->f, "<g fill=\"none\" stroke-width=\"%g\">\n", drawn < 100 ? 1.6 : 0.9);
    for (size_t i = 0; i < w->host_count; i += step)
        if (w->hosts[i].node != NULL && w->hosts[i].view.member)
            draw_shortcuts_of(&p, &w->hosts[i]);
    fprintf(svg->f, "<circle cx=\"%d\" cy=\"%d\" r=\"%d\" stroke=\"#999\"/>\n</g>\n", RING_X,
            RING_Y, RING_RADIUS);
    draw_nodes(&p);
    draw_ramp(&p);
}

/* ---- hops, latencies, time ---- */

static struct chart chart_at(struct svg *svg, double y, double height)
{
    return (struct chart){.svg = svg, .x = 950, .y = y, .width = 510, .height = height};
}

static void draw_hops(struct svg *svg, struct report *r)
{
    struct stats *hops = &r->world->asks.hops;
    struct chart c = chart_at(svg, 110, 190);
    int most = (int)stats_quantile(hops, 1);
    double highest = 0, *shares = calloc((size_t)most + 2, sizeof(*shares));
    char text[96];

    CHECK(shares != NULL);
    for (size_t i = 0; i < hops->count; i++)
        shares[(int)hops->v[i]] += 100.0 / (double)hops->count;
    for (int i = 0; i <= most; i++)
        highest = shares[i] > highest ? shares[i] : highest;
    c.y_most = svg_round_up(highest);
    snprintf(text, sizeof(text), "Hops: mean %.2f, p99 %.0f, most %d", stats_mean(hops),
             stats_quantile(hops, 0.99), most);
    c.x_most = most + 1;
    chart_begin(&c, text, "hops of a lookup", "% of lookups");
    for (int i = 0; i <= most; i++)
        chart_bar(&c, i, 0.8, shares[i], 0);
    free(shares);
}

/* Which share of the values is below each. */
static void draw_shares(const struct chart *c, struct stats *s, int color)
{
    struct chart_point p[CURVE_POINTS + 1];

    if (s->count == 0)
        return;
    for (int i = 0; i <= CURVE_POINTS; i++) {
        double share = (double)i / CURVE_POINTS;

        p[i] = (struct chart_point){stats_quantile(s, share), 100 * share};
    }
    chart_line(c, p, CURVE_POINTS + 1, color, false);
}

static void draw_latencies(struct svg *svg, struct report *r)
{
    struct asks *a = &r->world->asks;
    struct chart c = chart_at(svg, 395, 190);
    char text[96];

    c.x_most = svg_round_up(stats_quantile(&a->overlay_ms, 0.98));
    c.y_most = 100;
    snprintf(text, sizeof(text), "Round trips, means: ring %.0f ms, direct %.0f ms",
             stats_mean(&a->overlay_ms), stats_mean(&a->direct_ms));
    chart_begin(&c, text, "ms", "% of lookups faster");
    draw_shares(&c, &a->direct_ms, 2);
    draw_shares(&c, &a->overlay_ms, 1);
    chart_key(&c, 0, 2, "direct");
    chart_key(&c, 1, 1, "over the ring");
}

static void draw_series(const struct chart *c, const struct recorder *h, size_t offset, int color)
{
    struct chart_point *p = calloc(h->count + 1, sizeof(*p));

    CHECK(p != NULL);
    for (size_t i = 0; i < h->count; i++)
        p[i] = (struct chart_point){
            (double)h->v[i].at_us / 1e6,
            *(const uint32_t *)((const char *)&h->v[i] + offset),
        };
    chart_line(c, p, h->count, color, false);
    free(p);
}

/* When it last changed, and a little more: a flat line tells nothing. */
static double interesting_s(const struct recorder *h)
{
    size_t last = 0;

    for (size_t i = 1; i < h->count; i++)
        if (h->v[i].on != h->v[i - 1].on || h->v[i].members != h->v[i - 1].members ||
            h->v[i].closed != h->v[i - 1].closed)
            last = i;
    return h->count > 0 ? 1.15 * (double)h->v[last].at_us / 1e6 + 2 : 1;
}

static void mark_faults(const struct chart *c, const struct options *o)
{
    if (o->partition) {
        chart_mark(c, o->partition_at_s, "parted");
        chart_mark(c, o->partition_at_s + o->partition_for_s, "healed");
    }
    if (o->crash)
        chart_mark(c, o->crash_at_s, "crash");
    if (o->restart)
        chart_mark(c, o->restart_at_s, "all restart");
}

static const char *healed_text(const struct report *r, char *out, size_t size)
{
    out[0] = '\0';
    if (r->faults_end_us > 0 && r->liveness.ideal_s >= 0)
        snprintf(out, size, ", again %.1f s after the last fault", r->liveness.ideal_s);
    return out;
}

static void draw_time(struct svg *svg, struct report *r, const struct recorder *history)
{
    struct chart c = chart_at(svg, 680, 190);
    char healed[64], text[160];

    c.x_most = interesting_s(history);
    c.y_most = svg_round_up((double)r->world->host_count);
    if (r->world->ring.complete_us == 0)
        snprintf(text, sizeof(text), "Hosts: the ring was never complete");
    else
        snprintf(text, sizeof(text), "Hosts: ring complete after %.1f s%s",
                 (double)r->world->ring.complete_us / 1e6, healed_text(r, healed, sizeof(healed)));
    chart_begin(&c, text, "s", "");
    draw_series(&c, history, offsetof(struct record_sample, on), 3);
    draw_series(&c, history, offsetof(struct record_sample, members), 0);
    draw_series(&c, history, offsetof(struct record_sample, closed), 2);
    mark_faults(&c, r->options);
    chart_key(&c, 0, 3, "on");
    chart_key(&c, 1, 0, "members");
    chart_key(&c, 2, 2, "with right neighbours");
}

/* ---- pages ---- */

bool plot_possible(const char *path)
{
    bool is_new = access(path, F_OK) != 0;
    FILE *f = fopen(path, "a");

    if (f == NULL) {
        fprintf(stderr, "peal-sim: %s: %s\n", path, strerror(errno));
        return false;
    }
    fclose(f);
    if (is_new)
        unlink(path);
    return true;
}

static bool page_open(struct svg *svg, const struct options *o, const char *title)
{
    char command[200];

    if (!svg_open(svg, o->plot, PAGE_WIDTH, PAGE_HEIGHT, title)) {
        fprintf(stderr, "peal-sim: %s: %s\n", o->plot, strerror(errno));
        return false;
    }
    options_print(o, command, sizeof(command));
    svg_text(svg, 30, 62, "note", SVG_START, command);
    return true;
}

static bool page_close(struct svg *svg, const struct options *o)
{
    bool ok = svg_close(svg);

    if (!ok)
        fprintf(stderr, "peal-sim: %s: not all of it could be written\n", o->plot);
    return ok;
}

bool plot_run(struct report *r, const struct recorder *history)
{
    struct svg svg;
    char title[96];

    snprintf(title, sizeof(title), "A ring of %zu", r->world->ring.count);
    if (r->world->ring.count < r->world->host_count)
        snprintf(title, sizeof(title), "A ring of %zu of %zu hosts", r->world->ring.count,
                 r->world->host_count);
    if (!page_open(&svg, r->options, title))
        return false;
    draw_ring(&svg, r);
    draw_hops(&svg, r);
    draw_latencies(&svg, r);
    draw_time(&svg, r, history);
    return page_close(&svg, r->options);
}

/* ---- against size ---- */

struct series {
    const char *name;
    size_t offset; /* in struct report_size */
};

static double value_of(const struct report_size *p, size_t offset)
{
    return *(const double *)((const char *)p + offset);
}

static struct chart size_chart(struct svg *svg, unsigned place, const struct report_size *v,
                               size_t count)
{
    return (struct chart){.svg = svg,
                          .x = 80 + 740 * (place % 2),
                          .y = 120 + 420 * (place / 2),
                          .width = 620,
                          .height = 310,
                          .x_least = v[0].nodes,
                          .x_most = count > 1 ? v[count - 1].nodes : v[0].nodes * 10,
                          .x_log = true};
}

static void draw_against_size(struct chart c, const struct report_size *v, size_t count,
                              const char *title, const struct series *series, size_t series_count)
{
    struct chart_point *p = calloc(count, sizeof(*p));

    CHECK(p != NULL);
    for (size_t k = 0; k < series_count; k++)
        for (size_t i = 0; i < count; i++)
            c.y_most = fmax(c.y_most, value_of(&v[i], series[k].offset));
    c.y_most = svg_round_up(c.y_most);
    chart_begin(&c, title, "nodes", "");
    for (unsigned k = 0; k < series_count; k++) {
        for (size_t i = 0; i < count; i++)
            p[i] = (struct chart_point){v[i].nodes, value_of(&v[i], series[k].offset)};
        chart_line(&c, p, count, (int)k, true);
        if (series_count > 1)
            chart_key(&c, k, (int)k, series[k].name);
    }
    free(p);
}

bool plot_sizes(const struct options *o, const struct report_size *v, size_t count)
{
    static const struct series hops[] = {{"mean", offsetof(struct report_size, hops_mean)},
                                         {"p99", offsetof(struct report_size, hops_p99)},
                                         {"most", offsetof(struct report_size, hops_max)}};
    static const struct series latency[] = {
        {"direct", offsetof(struct report_size, direct_ms)},
        {"over the ring", offsetof(struct report_size, overlay_ms)}};
    static const struct series links[] = {{"links", offsetof(struct report_size, links)}};
    static const struct series upkeep[] = {{"bytes/s", offsetof(struct report_size, upkeep)}};
    struct svg svg;

    if (!page_open(&svg, o, "The cost of a node against the size of the ring"))
        return false;
    draw_against_size(size_chart(&svg, 0, v, count), v, count, "Hops of a lookup", hops,
                      ARRAY_LEN(hops));
    draw_against_size(size_chart(&svg, 1, v, count), v, count, "Round trip, mean, ms", latency,
                      ARRAY_LEN(latency));
    draw_against_size(size_chart(&svg, 2, v, count), v, count, "Connections of a node", links,
                      ARRAY_LEN(links));
    draw_against_size(size_chart(&svg, 3, v, count), v, count,
                      "Upkeep sent by an idle node, bytes/s", upkeep, ARRAY_LEN(upkeep));
    return page_close(&svg, o);
}
