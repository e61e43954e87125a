#include "ca-web/html.h"

#include <stdarg.h>
#include <string.h>

#include "overlay/core/err.h"

static void name_add(struct text *t, const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

    CHECK(*name && strspn(name, allowed) == strlen(name));
    text_str(t, name);
}

void html_text(struct text *t, const char *text)
{
    while (*text) {
        size_t plain = strcspn(text, "&<>\"'");
        text_add(t, text, plain);
        text += plain;
        switch (*text) {
        case '&':
            text_str(t, "&amp;");
            break;
        case '<':
            text_str(t, "&lt;");
            break;
        case '>':
            text_str(t, "&gt;");
            break;
        case '"':
            text_str(t, "&quot;");
            break;
        case '\'':
            text_str(t, "&#39;");
            break;
        }
        text += *text != '\0';
    }
}

static bool leads_away(const char *name, const char *value)
{
    bool link = !strcmp(name, "href") || !strcmp(name, "action") || !strcmp(name, "formaction");
    return link && value[0] != '#' && (value[0] != '/' || value[1] == '/');
}

static void attributes_add(struct text *t, va_list args)
{
    for (const char *name; (name = va_arg(args, const char *));) {
        const char *value = va_arg(args, const char *);
        CHECK(value);
        CHECK(!leads_away(name, value));
        text_str(t, " ");
        name_add(t, name);
        text_str(t, "=\"");
        html_text(t, value);
        text_str(t, "\"");
    }
    text_str(t, ">");
}

void html_open(struct text *t, const char *element, ...)
{
    va_list args;

    text_str(t, "<");
    name_add(t, element);
    va_start(args, element);
    attributes_add(t, args);
    va_end(args);
}

void html_close(struct text *t, const char *element)
{
    text_str(t, "</");
    name_add(t, element);
    text_str(t, ">");
}

void html_element(struct text *t, const char *element, const char *text, ...)
{
    va_list args;

    text_str(t, "<");
    name_add(t, element);
    va_start(args, text);
    attributes_add(t, args);
    va_end(args);
    html_text(t, text);
    html_close(t, element);
}

void html_begin(struct text *t)
{
    text_str(t, "<!doctype html>\n");
}
