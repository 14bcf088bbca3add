#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_keys.h"
#include "kube/json.h"

/* A strict RFC 8259 parser that packs while it reads: no tree in between. */
typedef struct parser {
  const char *start, *p, *end;
  kg_pack_t out;
  unsigned depth, max_depth, nduplicates;
  kg_pack_t *duplicates;
  kg_error_t *err;
  kube_buf_t text; /* scratch for strings with escapes */
  kube_buf_t path; /* where we are: only kept when duplicates are wanted */
} parser_t;

static int bad(parser_t *s, const char *what) {
  return kg_error_set(s->err, KG_EINVAL, "%s at byte %zu", what, (size_t)(s->p - s->start));
}

static void blank(parser_t *s) {
  while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r')) s->p++;
}

/* Bytes of the UTF-8 sequence at p, 0 if it is malformed. */
static size_t utf8(const unsigned char *p, size_t left) {
  size_t n = p[0] < 0x80                   ? 1
             : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
             : (p[0] & 0xf0) == 0xe0       ? 3
             : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                           : 0;
  if (n == 0 || n > left) return 0;
  for (size_t i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
      (p[0] == 0xf4 && p[1] > 0x8f))
    return 0;
  return n;
}

static int hex4(parser_t *s, unsigned *out) {
  if (s->end - s->p < 4) return bad(s, "cut off \\u escape");
  *out = 0;
  for (int i = 0; i < 4; i++) {
    char c = s->p[i];
    int d = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : -1;
    if (d < 0) return bad(s, "malformed \\u escape");
    *out = *out * 16 + (unsigned)d;
  }
  s->p += 4;
  return 0;
}

static void put_utf8(kube_buf_t *b, unsigned c) {
  char z[4];
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const unsigned char first[5] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = n - 1; i > 0; i--, c >>= 6) z[i] = (char)(0x80 | (c & 0x3f));
  z[0] = (char)(first[n == 1 ? 0 : n] | c);
  kube_buf_add(b, z, n);
}

static int unicode_escape(parser_t *s) {
  unsigned c, low;
  if (hex4(s, &c)) return -1;
  if (c >= 0xdc00 && c < 0xe000) return bad(s, "lone surrogate");
  if (c >= 0xd800 && c < 0xdc00) {
    if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u') return bad(s, "lone surrogate");
    s->p += 2;
    if (hex4(s, &low)) return -1;
    if (low < 0xdc00 || low >= 0xe000) return bad(s, "lone surrogate");
    c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
  }
  put_utf8(&s->text, c);
  return 0;
}

static int escape(parser_t *s) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (s->p == s->end) return bad(s, "cut off escape");
  char c = *s->p++;
  if (c == 'u') return unicode_escape(s);
  const char *at = c ? strchr(from, c) : NULL;
  if (!at) return bad(s, "unknown escape");
  kube_buf_add(&s->text, &to[at - from], 1);
  return 0;
}

/* Passes plain characters; stops before a quote, a backslash or something malformed. */
static void plain(parser_t *s) {
  while (s->p < s->end) {
    unsigned char c = (unsigned char)*s->p;
    if (c == '"' || c == '\\' || c < 0x20) return;
    size_t n = c < 0x80 ? 1 : utf8((const unsigned char *)s->p, (size_t)(s->end - s->p));
    if (!n) return;
    s->p += n;
  }
}

/* Reads the string after its opening quote. *out is borrowed from the input or from s->text (until the next string). */
static int string(parser_t *s, kg_str_t *out) {
  const char *from = s->p;
  plain(s);
  if (s->p < s->end && *s->p == '"') {
    *out = (kg_str_t){from, (size_t)(s->p++ - from)};
    return 0;
  }
  s->text.n = 0;
  kube_buf_add(&s->text, "", 1); /* room for an empty result */
  s->text.n = 0;
  for (;;) {
    kube_buf_add(&s->text, from, (size_t)(s->p - from));
    if (s->p == s->end) return bad(s, "unexpected end of JSON input: string without an end");
    if (*s->p == '"') break;
    if (*s->p != '\\') return bad(s, (unsigned char)*s->p < 0x20 ? "control character in a string" : "invalid UTF-8");
    s->p++;
    if (escape(s)) return -1;
    from = s->p;
    plain(s);
  }
  s->p++;
  if (s->text.failed) return kg_error_set(s->err, KG_EINTERNAL, "out of memory");
  *out = (kg_str_t){s->text.p, s->text.n};
  return 0;
}

static size_t count_digits(const char *p, const char *end) {
  size_t n = 0;
  while (p + n < end && p[n] >= '0' && p[n] <= '9') n++;
  return n;
}

/* The extent of a number by the grammar; *real: it has a fraction or an exponent. 0 if malformed. */
static size_t number_extent(const char *p, const char *end, bool *real) {
  const char *at = p;
  *real = false;
  if (at < end && *at == '-') at++;
  size_t n = count_digits(at, end);
  if (n == 0 || (n > 1 && *at == '0')) return 0;
  at += n;
  if (at < end && *at == '.') {
    *real = true;
    if (!(n = count_digits(at + 1, end))) return 0;
    at += 1 + n;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    *real = true;
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    if (!(n = count_digits(at, end))) return 0;
    at += n;
  }
  return (size_t)(at - p);
}

static int number(parser_t *s) {
  bool real;
  char buf[64];
  size_t n = number_extent(s->p, s->end, &real);
  if (!n) return bad(s, "malformed number");
  if (!real && n <= 18) {
    int64_t v = 0;
    for (size_t i = *s->p == '-'; i < n; i++) v = v * 10 + (s->p[i] - '0');
    kg_pack_int(&s->out, *s->p == '-' ? -v : v);
    s->p += n;
    return 0;
  }
  if (n >= sizeof buf) return bad(s, "number too long");
  memcpy(buf, s->p, n);
  buf[n] = '\0';
  errno = 0;
  if (!real) {
    long long v = strtoll(buf, NULL, 10);
    if (!errno) return kg_pack_int(&s->out, v), s->p += n, 0;
    errno = 0;
  }
  double d = strtod(buf, NULL);
  if (d > 1.7976931348623157e308 || d < -1.7976931348623157e308) return bad(s, "number out of range");
  kg_pack_float(&s->out, d);
  s->p += n;
  return 0;
}

static int literal(parser_t *s, const char *word) {
  size_t n = strlen(word);
  if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return bad(s, "invalid character");
  s->p += n;
  return 0;
}

static int value(parser_t *s);

static void note_duplicate(parser_t *s, kg_str_t key) {
  enum { MOST = 100 }; /* as many as Kubernetes tells */
  if (!s->duplicates || s->nduplicates++ >= MOST) return;
  if (s->path.n)
    kg_pack_fmt(s->duplicates, "%.*s.%.*s", (int)s->path.n, s->path.p, (int)key.n, key.p);
  else
    kg_pack_strn(s->duplicates, key);
}

static int member(parser_t *s, json_keys_t *keys) {
  kg_str_t key;
  if (s->p == s->end || *s->p != '"') return bad(s, "expected a key");
  s->p++;
  if (string(s, &key)) return -1;
  json_key_t *old = json_keys_find(keys, &s->out, key);
  size_t path = s->path.n, at = s->out.size;
  if (old) {
    note_duplicate(s, key);
    keys->twice = true;
  }
  kg_pack_strn(&s->out, key);
  if (s->out.failed) return kg_error_set(s->err, KG_EINVAL, "JSON is too big or nested too deep");
  if (old)
    old->value = (uint32_t)s->out.size;
  else if (json_keys_add(keys, &s->out, (json_key_t){(uint32_t)at, (uint32_t)s->out.size}) < 0)
    return kg_error_set(s->err, KG_EINTERNAL, "out of memory");
  if (s->duplicates) kube_buf_fmt(&s->path, "%s%.*s", path ? "." : "", (int)key.n, key.p);
  blank(s);
  if (s->p == s->end || *s->p != ':') return bad(s, "expected ':' after a key");
  s->p++;
  if (value(s)) return -1;
  s->path.n = path;
  return 0;
}

/* After an element: 1 go on, 0 closed, -1 malformed. */
static int more(parser_t *s, char close) {
  blank(s);
  if (s->p == s->end) return bad(s, "unexpected end of JSON input");
  char c = *s->p++;
  if (c == close) return 0;
  if (c != ',') return s->p--, bad(s, "expected ',' or the end");
  blank(s);
  return 1;
}

static int members(parser_t *s, json_keys_t *keys) {
  int again;
  do {
    if (s->out.failed || s->out.depth == 0)
      return kg_error_set(s->err, KG_EINVAL, "JSON is too big or nested too deep");
    if (member(s, keys)) return -1;
  } while ((again = more(s, '}')) > 0);
  return again;
}

static int object(parser_t *s) {
  kg_pack_map(&s->out);
  size_t first = s->out.size;
  s->p++;
  blank(s);
  if (s->p < s->end && *s->p == '}') {
    s->p++;
  } else {
    json_keys_t keys;
    json_keys_start(&keys);
    int failed = members(s, &keys);
    if (!failed && json_keys_settle(&keys, &s->out, first) < 0)
      failed = kg_error_set(s->err, KG_EINTERNAL, "out of memory");
    json_keys_free(&keys);
    if (failed) return -1;
  }
  kg_pack_end(&s->out);
  return 0;
}

static int array(parser_t *s) {
  kg_pack_array(&s->out);
  s->p++;
  blank(s);
  if (s->p < s->end && *s->p == ']') {
    s->p++;
  } else {
    int again;
    size_t path = s->path.n;
    unsigned index = 0;
    do {
      if (s->duplicates) kube_buf_fmt(&s->path, "[%u]", index++);
      if (value(s)) return -1;
      s->path.n = path;
    } while ((again = more(s, ']')) > 0);
    if (again < 0) return -1;
  }
  kg_pack_end(&s->out);
  return 0;
}

static int container(parser_t *s) {
  if (++s->depth > s->max_depth) return bad(s, "nested too deep");
  int failed = *s->p == '{' ? object(s) : array(s);
  s->depth--;
  return failed;
}

static int value(parser_t *s) {
  kg_str_t text;
  blank(s);
  if (s->p == s->end) return bad(s, "unexpected end of JSON input");
  switch (*s->p) {
  case '{':
  case '[':
    return container(s);
  case '"':
    s->p++;
    if (string(s, &text)) return -1;
    kg_pack_strn(&s->out, text);
    return 0;
  case 't':
    return literal(s, "true") ? -1 : (kg_pack_bool(&s->out, true), 0);
  case 'f':
    return literal(s, "false") ? -1 : (kg_pack_bool(&s->out, false), 0);
  case 'n':
    return literal(s, "null") ? -1 : (kg_pack_nil(&s->out), 0);
  default:
    return *s->p == '-' || (*s->p >= '0' && *s->p <= '9') ? number(s) : bad(s, "invalid character");
  }
}

kg_doc_t *kube_json_parse(const char *text, size_t n, const kube_json_limits_t *limits, kg_pack_t *duplicates,
                          kg_error_t *err) {
  size_t max = limits && limits->max_bytes ? limits->max_bytes : 3u << 20;
  parser_t s = {.start = text, .p = text, .end = text + n, .duplicates = duplicates, .err = err};
  s.out = kg_pack();
  s.max_depth =
      limits && limits->max_depth && limits->max_depth < KG_DOC_MAX_DEPTH ? limits->max_depth : KG_DOC_MAX_DEPTH - 1;
  if (n > max) {
    kg_error_set(err, KG_ETOOBIG, "JSON of %zu bytes is over the limit of %zu", n, max);
    return NULL;
  }
  int failed = value(&s);
  blank(&s);
  if (!failed && s.p != s.end) failed = bad(&s, "data after the JSON value");
  kg_doc_t *doc = failed ? NULL : kg_pack_doc(&s.out);
  if (!doc) kg_pack_free(&s.out);
  if (!failed && !doc) kg_error_set(err, KG_EINTERNAL, "out of memory");
  kube_buf_free(&s.text);
  kube_buf_free(&s.path);
  return doc;
}
