#include "ca-web/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ca-web/map.h"
#include "ca-web/scene.h"

enum {
    WIDTH = 660,
    HEIGHT = 440,
    RADIUS = 190,
    LABEL_GAP = 14, /* from the circle */
    LABEL_CHARS = 15,
    NUMBER_SIZE = 24,
};

struct point {
    long x, y;
};

static struct point point_at(const struct ringmap *m, size_t i, int radius)
{
    double turn = 2 * M_PI * (double)i / (double)m->count;

    return (struct point){.x = WIDTH / 2 + lround(radius * sin(turn)),
                          .y = HEIGHT / 2 - lround(radius * cos(turn))};
}

/* A machine's name for people; a node that is no machine of the group has its id's beginning. */
enum { NAME_SIZE = LABEL_MAX + 16 };
static const char *name_of(const struct map *m, size_t i, char out[NAME_SIZE])
{
    char id[ID_TEXT_SIZE];

    if (m->names[i].known)
        snprintf(out, NAME_SIZE, "%s", m->names[i].hostname);
    else
        snprintf(out, NAME_SIZE, "%.8s", id_text(&m->ring->nodes[i].node, id));
    return out;
}

/* --- The drawing --- */

static void line_add(struct text *path, const struct ringmap *m, size_t a, size_t b)
{
    struct point from = point_at(m, a, RADIUS), to = point_at(m, b, RADIUS);

    text_printf(path, "M%ld %ldL%ld %ld", from.x, from.y, to.x, to.y);
}

static bool names(const struct ringmap *m, size_t a, size_t b)
{
    const struct ringmap_node *n = &m->nodes[a];

    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; i < n->count[side]; i++)
            if (n->near[side][i] == b)
                return true;
    return false;
}

/* Once for each two nodes of which one names the other; in a small ring perhaps once more. */
static void near_lines(struct text *path, const struct ringmap *m)
{
    for (size_t a = 0; a < m->count; a++)
        for (size_t side = 0; side < 2; side++)
            for (size_t i = 0; i < m->nodes[a].count[side]; i++) {
                size_t b = m->nodes[a].near[side][i];

                if (b > a || !names(m, b, a))
                    line_add(path, m, a, b);
            }
}

static void path_lines(struct text *path, const struct ringmap *m, enum ringmap_path kind)
{
    size_t self = ringmap_find(m, &m->node);

    for (size_t i = 0; i < m->count; i++)
        if (i != self && m->nodes[i].path == kind)
            line_add(path, m, self, i);
}

static void path_write(struct text *t, struct text *path, const char *css_class)
{
    if (path->len)
        html_element(t, "path", "", "class", css_class, "d", path->p, NULL);
    t->failed |= path->failed;
    text_clear(path);
}

static const char *const path_classes[RINGMAP_PATHS] = {
    [RINGMAP_NONE] = NULL,
    [RINGMAP_UDP] = "udp",
    [RINGMAP_TCP] = "tcp",
    [RINGMAP_RELAY] = "relay",
};

static const char *dot_class(const struct ringmap *m, size_t i)
{
    if (!(m->nodes[i].flags & RINGMAP_ANSWERED))
        return "silent";
    return id_eq(&m->nodes[i].node, &m->node) ? "self" : "dot";
}

static void dots_write(struct text *t, const struct map *m)
{
    const char *radius = m->ring->count <= 64 ? "6" : m->ring->count <= 300 ? "3" : "2";
    char x[NUMBER_SIZE], y[NUMBER_SIZE], name[NAME_SIZE];

    for (size_t i = 0; i < m->ring->count; i++) {
        struct point at = point_at(m->ring, i, RADIUS);

        snprintf(x, sizeof x, "%ld", at.x);
        snprintf(y, sizeof y, "%ld", at.y);
        html_open(t, "circle", "class", dot_class(m->ring, i), "cx", x, "cy", y, "r", radius, NULL);
        html_element(t, "title", name_of(m, i, name), NULL);
        html_close(t, "circle");
    }
}

static void labels_write(struct text *t, const struct map *m)
{
    char x[NUMBER_SIZE], y[NUMBER_SIZE], name[NAME_SIZE];

    for (size_t i = 0; i < m->ring->count; i++) {
        struct point at = point_at(m->ring, i, RADIUS + LABEL_GAP);
        long side = at.x - WIDTH / 2;

        snprintf(x, sizeof x, "%ld", at.x);
        snprintf(y, sizeof y, "%ld", at.y + 4);
        name_of(m, i, name);
        if (strlen(name) > LABEL_CHARS)
            strcpy(name + LABEL_CHARS - 1, "\u2026");
        html_element(t, "text", name, "x", x, "y", y, "text-anchor",
                     side > 1    ? "start"
                     : side < -1 ? "end"
                                 : "middle",
                     NULL);
    }
}

static void svg_write(struct text *t, const struct map *m)
{
    struct text path = {0};
    char box[48];

    snprintf(box, sizeof box, "0 0 %d %d", WIDTH, HEIGHT);
    html_open(t, "svg", "class", "chart", "viewbox", box, "role", "img", "aria-label",
              "The group's ring; the table below says the same", NULL);
    near_lines(&path, m->ring);
    path_write(t, &path, "near");
    for (int kind = RINGMAP_UDP; kind < RINGMAP_PATHS; kind++) {
        path_lines(&path, m->ring, (enum ringmap_path)kind);
        path_write(t, &path, path_classes[kind]);
    }
    dots_write(t, m);
    if (m->ring->count <= CHART_LABELS_MAX)
        labels_write(t, m);
    html_close(t, "svg");
}

static void legend_write(struct text *t, const struct map *m, size_t self)
{
    static const char *const texts[RINGMAP_PATHS] = {
        [RINGMAP_NONE] = "neighbours on the ring, as they say themselves",
        [RINGMAP_UDP] = "a direct connection",
        [RINGMAP_TCP] = "a direct connection over TCP",
        [RINGMAP_RELAY] = "a connection by way of others",
    };
    char key[32], name[NAME_SIZE], from[NAME_SIZE + 96];

    html_open(t, "ul", "class", "legend", NULL);
    for (int kind = RINGMAP_NONE; kind < RINGMAP_PATHS; kind++) {
        snprintf(key, sizeof key, "key %s", kind == RINGMAP_NONE ? "near" : path_classes[kind]);
        snprintf(from, sizeof from, "%s%s%s", texts[kind], kind == RINGMAP_NONE ? "" : " of ",
                 kind == RINGMAP_NONE ? "" : name_of(m, self, name));
        html_open(t, "li", NULL);
        html_element(t, "span", "", "class", key, NULL);
        html_text(t, from);
        html_close(t, "li");
    }
    html_close(t, "ul");
}

/* --- The table --- */

static const char *path_text(const struct ringmap *m, size_t i)
{
    static const char *const texts[RINGMAP_PATHS][2] = {
        [RINGMAP_NONE] = {"none", "none"},
        [RINGMAP_UDP] = {"direct", "direct, shortcut"},
        [RINGMAP_TCP] = {"TCP", "TCP, shortcut"},
        [RINGMAP_RELAY] = {"by way of others", "by way of others, shortcut"},
    };

    if (id_eq(&m->nodes[i].node, &m->node))
        return "made this map";
    return texts[m->nodes[i].path][(m->nodes[i].flags & RINGMAP_SHORTCUT) != 0];
}

static void machine_cell(struct visit *v, const struct group *g, const struct map *m, size_t i)
{
    struct text *t = &v->response->body;
    const struct ringmap_node *n = &m->ring->nodes[i];
    char path[SCENE_PATH_SIZE], name[NAME_SIZE], id[ID_TEXT_SIZE];

    page_cell_begin(v, "Machine");
    name_of(m, i, name);
    snprintf(path, sizeof path, "/groups/%s/machines/%s", g->name, id_text(&n->node, id));
    if (m->names[i].known)
        html_element(t, "a", name, "href", path, NULL);
    else
        html_text(t, name);
    html_text(t, " ");
    if (!m->names[i].known)
        page_badge(v, "unknown", "plain");
    if (!(n->flags & RINGMAP_ANSWERED))
        page_badge(v, "silent", "bad");
    else if (!(n->flags & RINGMAP_CONSISTENT) && !m->ring->cut)
        page_badge(v, "unsettled", "wait");
    page_cell_end(v);
}

/* In a small ring a neighbour is one on both sides. */
static bool is_left(const struct ringmap_node *n, size_t place)
{
    for (size_t i = 0; i < n->count[0]; i++)
        if (n->near[0][i] == place)
            return true;
    return false;
}

static void near_cell(struct visit *v, const struct map *m, size_t i)
{
    const struct ringmap_node *n = &m->ring->nodes[i];
    char name[NAME_SIZE];
    bool first = true;

    page_cell_begin(v, "Neighbours");
    for (size_t side = 0; side < 2; side++)
        for (size_t at = 0; at < n->count[side]; at++) {
            size_t other = n->near[side][at];

            if (side == 1 && is_left(n, other))
                continue;
            html_text(&v->response->body, first ? "" : ", ");
            html_text(&v->response->body, name_of(m, other, name));
            first = false;
        }
    if (first)
        html_text(&v->response->body, "-");
    page_cell_end(v);
}

static void table_write(struct visit *v, const struct group *g, const struct map *m)
{
    static const char *const heads[] = {"Machine", "Of", "Path", "Neighbours"};
    struct text *t = &v->response->body;
    size_t rows = m->ring->count < CHART_ROWS_MAX ? m->ring->count : CHART_ROWS_MAX;
    char more[128];

    html_open(t, "details", NULL);
    html_element(t, "summary", "The map as a table", NULL);
    page_table_begin(v, heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < rows; i++) {
        html_open(t, "tr", NULL);
        machine_cell(v, g, m, i);
        page_cell(v, "Of", m->names[i].known ? m->names[i].user : "");
        page_cell(v, "Path", path_text(m->ring, i));
        near_cell(v, m, i);
        html_close(t, "tr");
    }
    page_table_end(v);
    if (rows < m->ring->count) {
        snprintf(more, sizeof more, "%zu more are in what the API answers.", m->ring->count - rows);
        html_element(t, "p", more, "class", "muted", NULL);
    }
    html_close(t, "details");
}

/* --- The card --- */

static void facts_write(struct visit *v, const struct map *m, size_t self)
{
    struct text *t = &v->response->body;
    size_t answered = 0, unsettled = 0;
    char text[160], name[NAME_SIZE];

    for (size_t i = 0; i < m->ring->count; i++) {
        answered += (m->ring->nodes[i].flags & RINGMAP_ANSWERED) != 0;
        unsettled += (m->ring->nodes[i].flags & RINGMAP_CONSISTENT) == 0;
    }
    html_open(t, "dl", NULL);
    snprintf(text, sizeof text, "%s of %s", name_of(m, self, name), m->names[self].user);
    page_fact(v, "Seen by", text);
    html_element(t, "dt", "Received", NULL);
    html_open(t, "dd", NULL);
    page_time(v, m->received_s);
    int64_t age_s = v->desk.now_s - m->received_s;
    snprintf(text, sizeof text, " (%lld min ago) ", (long long)(age_s > 0 ? age_s / 60 : 0));
    html_text(t, text);
    if (age_s > CHART_OLD_S)
        page_badge(v, "old", "wait");
    html_close(t, "dd");
    if (m->ring->cut)
        snprintf(text, sizeof text, "%zu of about %u", m->ring->count, m->ring->members);
    else
        snprintf(text, sizeof text, "%zu; %zu answered, %zu not settled among their neighbours",
                 m->ring->count, answered, unsettled);
    page_fact(v, "Machines", text);
    html_close(t, "dl");
}

void chart_card(struct visit *v, const struct group *g)
{
    struct map m;

    if (map_read(&v->desk, g, &m) == OUT_OK && m.ring) {
        size_t self = ringmap_find(m.ring, &m.ring->node);

        page_card_begin(v, "Map of the ring");
        facts_write(v, &m, self);
        svg_write(&v->response->body, &m);
        legend_write(&v->response->body, &m, self);
        table_write(v, g, &m);
        page_card_end(v);
    }
    map_clear(&m);
}
