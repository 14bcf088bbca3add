/* Links in pages that come through the proxy: attributes that hold URLs get our path in front. */
#include <ctype.h>
#include <strings.h>

#include "proxy.h"

enum { MAX_HELD = 64 << 10 };

typedef enum { H_TEXT, H_TAG, H_COMMENT, H_RAW } state_t;

struct gw_html {
  const gw_proxy_t *proxy;
  state_t state;
  char raw[10];    /* script or style: nothing in it is a tag but its own end */
  char quote;      /* within an attribute's quotes */
  kube_buf_t held; /* a tag that is not complete yet, or the end of a comment or script that may be one */
};

/* Which attributes of which elements are URLs. */
static const char *const links[][2] = {
    {"a", "href"},          {"applet", "codebase"},  {"area", "href"},       {"audio", "src"},
    {"base", "href"},       {"blockquote", "cite"},  {"body", "background"}, {"button", "formaction"},
    {"command", "icon"},    {"del", "cite"},         {"embed", "src"},       {"form", "action"},
    {"frame", "longdesc"},  {"frame", "src"},        {"head", "profile"},    {"html", "manifest"},
    {"iframe", "longdesc"}, {"iframe", "src"},       {"img", "longdesc"},    {"img", "src"},
    {"img", "usemap"},      {"input", "formaction"}, {"input", "src"},       {"input", "usemap"},
    {"ins", "cite"},        {"link", "href"},        {"object", "classid"},  {"object", "codebase"},
    {"object", "data"},     {"object", "usemap"},    {"q", "cite"},          {"script", "src"},
    {"source", "src"},      {"video", "poster"},     {"video", "src"}};

static bool is_link(kg_str_t tag, kg_str_t attribute) {
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (strlen(links[i][0]) == tag.n && !strncasecmp(links[i][0], tag.p, tag.n) && strlen(links[i][1]) == attribute.n &&
        !strncasecmp(links[i][1], attribute.p, attribute.n))
      return true;
  return false;
}

gw_html_t *gw_html_new(const gw_proxy_t *p) {
  gw_html_t *h = calloc(1, sizeof *h);
  if (h) h->proxy = p;
  return h;
}

void gw_html_free(gw_html_t *h) {
  if (!h) return;
  kube_buf_free(&h->held);
  free(h);
}

static size_t spaces(const char *p, const char *end) {
  const char *s = p;
  while (s < end && (isspace((unsigned char)*s) || *s == '/')) s++;
  return (size_t)(s - p);
}

static size_t word(const char *p, const char *end, const char *stop) {
  const char *s = p;
  while (s < end && !isspace((unsigned char)*s) && !strchr(stop, *s)) s++;
  return (size_t)(s - p);
}

/* One attribute from *at on, passed to out. */
static void attribute(gw_html_t *h, kg_str_t tag, const char **at, const char *end, kube_buf_t *out) {
  const char *name = *at, *s = name + word(name, end, "=>/");
  kg_str_t own = {name, (size_t)(s - name)}, value;
  while (s < end && isspace((unsigned char)*s)) s++;
  if (s == end || *s != '=') {
    s = own.n ? name + own.n : name + 1;
    kube_buf_add(out, name, (size_t)(s - name));
    *at = s;
    return;
  }
  for (s++; s < end && isspace((unsigned char)*s);) s++;
  char quote = s < end && (*s == '"' || *s == '\'') ? *s++ : 0;
  const char *close = quote ? memchr(s, quote, (size_t)(end - s)) : s + word(s, end, ">");
  value = (kg_str_t){s, (size_t)((close ? close : end) - s)};
  char *ours = is_link(tag, own) ? gw_proxy_url(h->proxy, value) : NULL;
  kube_buf_add(out, name, (size_t)(s - name));
  if (ours)
    kube_buf_addz(out, ours);
  else
    kube_buf_add(out, value.p, value.n);
  free(ours);
  *at = s + value.n;
  if (quote && *at < end) kube_buf_add(out, (*at)++, 1);
}

/* A whole tag, "<" to ">". */
static void tag(gw_html_t *h, const char *p, size_t n, kube_buf_t *out) {
  const char *end = p + n - 1, *s = p + 1;
  kg_str_t name = {s, word(s, end, ">/")};
  s += name.n;
  kube_buf_add(out, p, (size_t)(s - p));
  while (name.n && isalpha((unsigned char)*name.p) && s < end) {
    size_t skip = spaces(s, end);
    kube_buf_add(out, s, skip);
    s += skip;
    if (s < end) attribute(h, name, &s, end, out);
  }
  kube_buf_add(out, s, (size_t)(p + n - s));
  static const char *const raw[] = {"script", "style", "textarea", "title"};
  for (size_t i = 0; i < 4; i++)
    if (strlen(raw[i]) == name.n && !strncasecmp(raw[i], name.p, name.n)) {
      h->state = H_RAW;
      snprintf(h->raw, sizeof h->raw, "/%s", raw[i]);
    }
}

static void let_go(gw_html_t *h, kube_buf_t *out) {
  kube_buf_add(out, h->held.p, h->held.n);
  h->held.n = 0;
}

/* The tag in h->held is complete. */
static void tag_done(gw_html_t *h, kube_buf_t *out) {
  kube_buf_t whole = h->held;
  h->held = (kube_buf_t){0};
  h->state = H_TEXT;
  tag(h, whole.p, whole.n, out);
  kube_buf_free(&whole);
}

static void in_tag(gw_html_t *h, char c, kube_buf_t *out) {
  kube_buf_add(&h->held, &c, 1);
  if (h->held.n == 4 && !memcmp(h->held.p, "<!--", 4)) {
    let_go(h, out);
    h->state = H_COMMENT;
  } else if (h->quote) {
    if (c == h->quote) h->quote = 0;
  } else if (c == '>')
    tag_done(h, out);
  else if ((c == '"' || c == '\'') && h->held.n > 2)
    h->quote = c;
  if (h->held.n <= MAX_HELD) return;
  let_go(h, out); /* no page has such a tag */
  h->state = H_TEXT;
  h->quote = 0;
}

/* Up to what ends a comment ("-->") or a script ("</script"): that much of it is held as matches so far. */
static void in_opaque(gw_html_t *h, char c, kube_buf_t *out) {
  char end[12];
  snprintf(end, sizeof end, "%s%s", h->state == H_COMMENT ? "-->" : "<", h->state == H_COMMENT ? "" : h->raw);
  kube_buf_add(&h->held, &c, 1);
  while (h->held.n && (h->held.n > strlen(end) || strncasecmp(h->held.p, end, h->held.n) != 0)) {
    kube_buf_add(out, h->held.p, 1);
    memmove(h->held.p, h->held.p + 1, --h->held.n);
  }
  if (h->held.n < strlen(end)) return;
  if (h->state == H_COMMENT) let_go(h, out);
  h->state = h->state == H_COMMENT ? H_TEXT : H_TAG; /* "</script" begins a tag */
}

void gw_html_feed(gw_html_t *h, const char *p, size_t n, kube_buf_t *out) {
  for (size_t i = 0; i < n; i++) {
    if (h->state == H_COMMENT || h->state == H_RAW)
      in_opaque(h, p[i], out);
    else if (h->state == H_TAG)
      in_tag(h, p[i], out);
    else if (p[i] == '<') {
      h->state = H_TAG;
      kube_buf_add(&h->held, "<", 1);
    } else {
      const char *next = memchr(p + i, '<', n - i);
      size_t run = next ? (size_t)(next - p) - i : n - i;
      kube_buf_add(out, p + i, run);
      i += run - 1;
    }
  }
}

void gw_html_end(gw_html_t *h, kube_buf_t *out) {
  let_go(h, out);
}
