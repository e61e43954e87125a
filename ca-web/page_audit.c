#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ca-web/answer.h"
#include "ca-web/removal.h"
#include "ca-web/scene.h"

enum {
    AUDIT_LINES = 50,
    AUDIT_EXPORT_MAX = 5000, /* rows in one answer; the Link header says where the rest begins */
};

/* Rows are numbered upwards for good: a page is what stands below a number. */
static struct query audit_below(struct visit *v, const struct scene *s, int64_t limit)
{
    int64_t before = 0;

    if (!page_number(form_value(&v->query, "before"), 1, INT64_MAX, &before))
        before = INT64_MAX;
    return store_ask(v->desk.store,
                     "SELECT id, at_s, actor, address, verb, object, detail FROM audit"
                     " WHERE group_row = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
                     VALUES(v_int(s->group.row), v_int(before), v_int(limit)));
}

static void audit_row(struct visit *v, const struct query *q)
{
    html_open(&v->response->body, "tr", NULL);
    page_cell_time(v, "When", query_int(q, 1));
    page_cell(v, "Who", query_text(q, 2));
    page_cell(v, "From", query_text(q, 3));
    page_cell(v, "What", query_text(q, 4));
    page_cell(v, "Whom", query_text(q, 5));
    page_cell(v, "Detail", query_text(q, 6));
    html_close(&v->response->body, "tr");
}

static void older_link(struct visit *v, const struct scene *s, int64_t last)
{
    char path[SCENE_PATH_SIZE];

    snprintf(path, sizeof path, "/groups/%s/audit?before=%lld", s->group.name, (long long)last);
    html_open(&v->response->body, "nav", "class", "pager", "aria-label", "Pages", NULL);
    html_element(&v->response->body, "a", "Older", "href", path, NULL);
    html_close(&v->response->body, "nav");
}

void page_audit(struct visit *v)
{
    static const char *const heads[] = {"When", "Who", "From", "What", "Whom", "Detail"};
    struct text *t = &v->response->body;
    struct scene s;
    char path[SCENE_PATH_SIZE];
    int64_t rows = 0, last = 0;

    if (!scene_load_for(v, &s, VERB_AUDIT_READ))
        return;
    scene_begin(v, &s, OUT_OK, "Audit log", "/audit");
    page_card_begin(v, NULL);
    html_open(t, "p", "class", "actions", NULL);
    page_button(v, "Download as CSV", scene_path(&s.group, "/audit.csv", path));
    html_text(t, " ");
    page_button(v, "Download as JSON", scene_path(&s.group, "/audit.json", path));
    html_close(t, "p");
    page_table_begin(v, heads, ARRAY_LEN(heads));
    for (struct query q = audit_below(v, &s, AUDIT_LINES); query_row(&q); rows++) {
        last = query_int(&q, 0);
        audit_row(v, &q);
    }
    page_table_end(v);
    if (rows == AUDIT_LINES)
        older_link(v, &s, last);
    page_card_end(v);
    page_end(v);
}

/* RFC 8288: the rest, when there is one. */
static void export_end(struct visit *v, const struct scene *s, const char *kind, int64_t rows,
                       int64_t last)
{
    char link[256], name[LABEL_MAX + 64];

    snprintf(name, sizeof name, "attachment; filename=\"%s-audit.%s\"", s->group.name, kind);
    response_header(v->response, "Content-Disposition", name);
    if (rows < AUDIT_EXPORT_MAX)
        return;
    snprintf(link, sizeof link, "</groups/%s/audit.%s?before=%lld>; rel=\"next\"", s->group.name,
             kind, (long long)last);
    response_header(v->response, "Link", link);
}

/* RFC 4180. A spreadsheet would take a value that begins like a formula for one. */
static void csv_value(struct text *out, const char *value, const char *end)
{
    text_str(out, "\"");
    if (*value && strchr("=+-@\t\r", *value))
        text_str(out, "'");
    for (; *value; value++) {
        if (*value == '"')
            text_str(out, "\"");
        text_add(out, value, 1);
    }
    text_str(out, "\"");
    text_str(out, end);
}

void page_audit_csv(struct visit *v)
{
    struct text *out = &v->response->body;
    struct scene s;
    char at[TIME_TEXT_SIZE];
    int64_t rows = 0, last = 0;

    if (!scene_load_for(v, &s, VERB_AUDIT_READ))
        return;
    text_str(out, "number,at,actor,address,verb,object,detail\r\n");
    for (struct query q = audit_below(v, &s, AUDIT_EXPORT_MAX); query_row(&q); rows++) {
        last = query_int(&q, 0);
        text_printf(out, "%lld,%s,", (long long)last, time_text(query_int(&q, 1), at));
        for (int column = 2; column < 6; column++)
            csv_value(out, query_text(&q, column), ",");
        csv_value(out, query_text(&q, 6), "\r\n");
    }
    v->response->status = 200;
    v->response->type = "text/csv; charset=utf-8";
    export_end(v, &s, "csv", rows, last);
}

void page_audit_json(struct visit *v)
{
    struct scene s;
    char at[TIME_TEXT_SIZE];
    int64_t rows = 0, last = 0;

    if (!scene_load_for(v, &s, VERB_AUDIT_READ))
        return;
    json_t *list = json_array();
    for (struct query q = audit_below(v, &s, AUDIT_EXPORT_MAX); query_row(&q); rows++) {
        last = query_int(&q, 0);
        json_array_append_new(
            list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s}", "number", (json_int_t)last, "at",
                            time_text(query_int(&q, 1), at), "actor", query_text(&q, 2), "address",
                            query_text(&q, 3), "verb", query_text(&q, 4), "object",
                            query_text(&q, 5), "detail", query_text(&q, 6)));
    }
    visit_json(v, answer_json(&v->response->body,
                              json_pack("{s:s, s:s, s:o}", "schema", "peal.ca-audit/1", "group",
                                        s.group.name, "events", list),
                              JSON_COMPACT));
    export_end(v, &s, "json", rows, last);
}
