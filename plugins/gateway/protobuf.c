/*
 * Request bodies in Kubernetes' protobuf (kubectl's typed commands send it), read into documents by the schema tables.
 * The envelope: "k8s\0" and a message {1: {1: apiVersion, 2: kind}, 2: the object}.
 */
#include "kube/schema.h"
#include "kube/tree.h"
#include "kube/values.h"
#include "kube/wire.h"

#include "gateway.h"

enum { MAX_DEPTH = 100 };

typedef wire_span_t span_t;
typedef wire_item_t item_t;
typedef struct reader {
  kube_arena_t *a;
  kg_error_t *err;
} reader_t;

static kg_str_t text_of(span_t s) {
  return (kg_str_t){(const char *)s.p, (size_t)(s.end - s.p)};
}

static kube_node_t *bad(reader_t *r, const char *what) {
  kg_error_set(r->err, KG_EINVAL, "protobuf: %s", what);
  return NULL;
}

static kube_node_t *string_node(reader_t *r, span_t s) {
  return kube_strn(r->a, text_of(s));
}

/* The one field of these messages that counts. */
static span_t only(span_t s, uint32_t number) {
  item_t f;
  span_t found = {s.p, s.p};
  while (wire_next(&s, &f) == 1)
    if (f.number == number && f.wire == WIRE_BYTES) found = f.bytes;
  return found;
}

static kube_node_t *time_node(reader_t *r, span_t s, bool micro) {
  item_t f;
  int64_t seconds = 0, nanos = 0;
  char text[32];
  bool any = false;
  while (wire_next(&s, &f) == 1) {
    if (f.number == 1) seconds = (int64_t)f.value, any = true;
    if (f.number == 2) nanos = (int32_t)f.value;
  }
  if (!any) return kube_nil(r->a); /* the zero time is JSON's null */
  if (seconds > 253402300799 || seconds < -62135596800) return bad(r, "a time is out of range");
  int64_t us = seconds * 1000000 + nanos / 1000;
  if (micro)
    kube_time_format_micro(us, text);
  else
    kube_time_format(us, text);
  return kube_str(r->a, text);
}

static kube_node_t *int_or_string(reader_t *r, span_t s) {
  item_t f;
  uint64_t type = 0;
  int64_t number = 0;
  span_t text = {s.p, s.p};
  while (wire_next(&s, &f) == 1) {
    if (f.number == 1) type = f.value;
    if (f.number == 2) number = (int32_t)f.value;
    if (f.number == 3 && f.wire == WIRE_BYTES) text = f.bytes;
  }
  return type ? string_node(r, text) : kube_int(r->a, number);
}

/* Go's form of a duration, good enough for every whole number of nanoseconds. */
static kube_node_t *duration(reader_t *r, span_t s) {
  item_t f;
  int64_t ns = 0;
  while (wire_next(&s, &f) == 1)
    if (f.number == 1) ns = (int64_t)f.value;
  if (ns % 1000000000)
    return kube_strf(r->a, "%lld.%09llds", (long long)(ns / 1000000000), (long long)llabs(ns % 1000000000));
  int64_t t = ns / 1000000000;
  if (t >= 3600)
    return kube_strf(r->a, "%lldh%lldm%llds", (long long)(t / 3600), (long long)(t / 60 % 60), (long long)(t % 60));
  if (t >= 60) return kube_strf(r->a, "%lldm%llds", (long long)(t / 60), (long long)(t % 60));
  return kube_strf(r->a, "%llds", (long long)t);
}

static kube_node_t *base64(reader_t *r, span_t s) {
  size_t n = (size_t)(s.end - s.p);
  char *out = kube_arena_alloc(r->a, KUBE_BASE64_SIZE(n));
  kube_base64(out, s.p, n);
  return kube_str(r->a, out);
}

static kube_node_t *raw_json(reader_t *r, span_t s) {
  kg_str_t text = text_of(s);
  if (!text.n) return kube_nil(r->a);
  kg_doc_t *doc = kube_json_parse(text.p, text.n, NULL, NULL, r->err);
  kube_node_t *n = NULL;
  if (doc) { /* strings of a tree lie in what it was parsed from */
    char *copy = kube_arena_alloc(r->a, kg_doc_size(doc));
    memcpy(copy, kg_doc_data(doc), kg_doc_size(doc));
    n = kube_tree_parse(r->a, kg_view_bytes(copy, kg_doc_size(doc)));
  }
  kg_doc_unref(doc);
  return n;
}

static int message(reader_t *r, const kube_type_t *t, span_t s, kube_node_t *into, unsigned depth);

/* JSONSchemaPropsOrArray and its kin: a struct in protobuf, one of several things in JSON. */
static kube_node_t *one_of(reader_t *r, const kube_type_t *t, span_t s, unsigned depth) {
  kube_node_t *m = kube_map(r->a), *v;
  if (message(r, t, s, m, depth)) return NULL;
  static const char *const choices[] = {"JSONSchemas", "Property", "Schema", "Raw", "Allows"};
  for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
    if ((v = kube_get(m, choices[i])) && (v->type != KG_V_ARRAY || v->c.n)) return v;
  bool or_bool = kube_field_find(t, KG_STR("Allows")); /* false is written as nothing */
  return or_bool ? kube_bool(r->a, false) : kube_nil(r->a);
}

static kube_node_t *value(reader_t *r, const kube_field_t *f, const item_t *it, unsigned depth) {
  bool number = f->kind == KUBE_T_BOOL || f->kind == KUBE_T_INT32 || f->kind == KUBE_T_INT64;
  if (f->kind == KUBE_T_FLOAT) {
    double d;
    memcpy(&d, &it->value, sizeof d);
    return it->wire == WIRE_FIXED64 ? kube_float(r->a, d) : bad(r, "a float has another wire type");
  }
  if (number != (it->wire == WIRE_VARINT) || (!number && it->wire != WIRE_BYTES))
    return bad(r, "a field has another wire type");
  span_t s = it->bytes;
  switch (f->kind) {
  case KUBE_T_BOOL:
    return kube_bool(r->a, it->value != 0);
  case KUBE_T_INT32:
    return kube_int(r->a, (int32_t)it->value);
  case KUBE_T_INT64:
    return kube_int(r->a, (int64_t)it->value);
  case KUBE_T_STRING:
    return string_node(r, s);
  case KUBE_T_BYTES:
    return base64(r, s);
  case KUBE_T_TIME:
    return time_node(r, s, false);
  case KUBE_T_MICROTIME:
    return time_node(r, s, true);
  case KUBE_T_QUANTITY:
    return string_node(r, only(s, 1));
  case KUBE_T_INT_OR_STRING:
    return int_or_string(r, s);
  case KUBE_T_DURATION:
    return duration(r, s);
  case KUBE_T_RAW:
    return f->type ? one_of(r, f->type, s, depth) : raw_json(r, only(s, 1));
  case KUBE_T_FIELDS:
    return raw_json(r, only(s, 1));
  case KUBE_T_STRUCT: {
    kube_node_t *m = kube_map(r->a);
    return message(r, f->type, s, m, depth + 1) ? NULL : m;
  }
  default:
    return bad(r, "a field of unknown kind");
  }
}

static int map_entry(reader_t *r, const kube_field_t *f, span_t s, kube_node_t *map, unsigned depth) {
  item_t it, v = {.number = 2, .wire = WIRE_BYTES, .bytes = {s.p, s.p}};
  kg_str_t key = {"", 0};
  while (wire_next(&s, &it) == 1) {
    if (it.number == 1 && it.wire == WIRE_BYTES) key = text_of(it.bytes);
    if (it.number == 2) v = it;
  }
  kube_node_t *n = NULL;
  if (f->shape == KUBE_MAP)
    n = value(r, f, &v, depth);
  else { /* a list in a map is a message {1: the elements} */
    n = kube_array(r->a);
    for (span_t list = v.bytes; wire_next(&list, &it) == 1;) {
      kube_node_t *e = it.number == 1 ? value(r, f, &it, depth) : NULL;
      if (e) kube_push(r->a, n, e);
    }
  }
  if (!n) return -1;
  kube_setn(r->a, map, key, n);
  return 0;
}

static int push_packed(reader_t *r, const kube_field_t *f, span_t s, kube_node_t *list, unsigned depth) {
  item_t it = {.wire = WIRE_VARINT};
  while (s.p < s.end) {
    if (wire_read_varint(&s, &it.value)) return bad(r, "a packed list is cut short") ? 0 : -1;
    kube_push(r->a, list, value(r, f, &it, depth));
  }
  return 0;
}

static bool is_zero(const kube_node_t *n) {
  switch (n->type) {
  case KG_V_NIL:
    return true;
  case KG_V_BOOL:
    return !n->b;
  case KG_V_INT:
    return !n->i;
  case KG_V_FLOAT:
    return n->f == 0;
  case KG_V_STR:
    return !n->s.n;
  case KG_V_MAP:
    return !n->c.n;
  default:
    return false;
  }
}

static int field(reader_t *r, const kube_field_t *f, const item_t *it, kube_node_t *into, unsigned depth) {
  if (f->inlined) return it->wire == WIRE_BYTES ? message(r, f->type, it->bytes, into, depth + 1) : -1;
  if (f->shape == KUBE_MAP || f->shape == KUBE_MAP_LIST)
    return it->wire == WIRE_BYTES ? map_entry(r, f, it->bytes, kube_sub(r->a, into, f->name), depth) : -1;
  if (f->shape == KUBE_LIST) {
    kube_node_t *list = kube_get(into, f->name);
    bool number = f->kind == KUBE_T_BOOL || f->kind == KUBE_T_INT32 || f->kind == KUBE_T_INT64;
    if (number && it->wire == WIRE_BYTES && it->bytes.p == it->bytes.end) return 0; /* packed, with nothing in it */
    if (!list) kube_set(r->a, into, f->name, list = kube_array(r->a));
    if (number && it->wire == WIRE_BYTES) return push_packed(r, f, it->bytes, list, depth);
    kube_node_t *e = value(r, f, it, depth);
    if (e) kube_push(r->a, list, e);
    return e ? 0 : -1;
  }
  kube_node_t *n = value(r, f, it, depth);
  if (!n) return -1;
  /* Go's encoder writes zero values of fields that are no pointers; in JSON they are absent. */
  if (f->ptr || f->always || !is_zero(n)) kube_set(r->a, into, f->name, n);
  return 0;
}

static int message(reader_t *r, const kube_type_t *t, span_t s, kube_node_t *into, unsigned depth) {
  item_t it;
  int more;
  if (depth > MAX_DEPTH) return kg_error_set(r->err, KG_EINVAL, "protobuf: nested too deep");
  while ((more = wire_next(&s, &it)) == 1)
    for (const kube_field_t *f = t->own; f->name; f++)
      if (f->proto == it.number) {
        if (field(r, f, &it, into, depth))
          return kg_error_set(r->err, KG_EINVAL, "protobuf: field %s of %s is malformed", f->name, t->name);
        break;
      }
  return more ? kg_error_set(r->err, KG_EINVAL, "protobuf: a field of %s is malformed", t->name) : 0;
}

/* "authentication.k8s.io/v1" TokenRequest -> authentication.v1.TokenRequest, for kinds that are no collections of their
 * own. */
const kube_type_t *gw_protobuf_type(kg_str_t api_version, kg_str_t kind) {
  const char *slash = api_version.n ? memchr(api_version.p, '/', api_version.n) : NULL;
  kg_str_t group = slash ? (kg_str_t){api_version.p, (size_t)(slash - api_version.p)} : (kg_str_t){"", 0};
  kg_str_t version = slash ? (kg_str_t){slash + 1, api_version.n - group.n - 1} : api_version;
  const kube_resource_t *res = kube_resource_by_kind(group, version, kind);
  if (res) return res->type;
  char name[256];
  int n = snprintf(name, sizeof name, "%.*s." KG_STR_FMT "." KG_STR_FMT, group.n ? (int)strcspn(group.p, "./") : 4,
                   group.n ? group.p : "core", KG_STR_ARG(version), KG_STR_ARG(kind));
  const kube_type_t *t = n > 0 && (size_t)n < sizeof name ? kube_type_find(kg_str(name)) : NULL;
  if (t) return t;
  snprintf(name, sizeof name, "meta.v1." KG_STR_FMT, KG_STR_ARG(kind));
  return kube_type_find(kg_str(name));
}

kg_doc_t *gw_protobuf_parse(const char *p, size_t n, kg_error_t *err) {
  if (n < 4 || memcmp(p, "k8s\0", 4)) {
    kg_error_set(err, KG_EINVAL, "protobuf: the body does not begin with k8s\\0");
    return NULL;
  }
  span_t all = {(const uint8_t *)p + 4, (const uint8_t *)p + n};
  span_t meta = only(all, 1), raw = only(all, 2);
  kg_str_t api_version = text_of(only(meta, 1)), kind = text_of(only(meta, 2));
  const kube_type_t *t = gw_protobuf_type(api_version, kind);
  if (!t) {
    kg_error_set(err, KG_EINVAL, "no kind \"" KG_STR_FMT "\" is registered for version \"" KG_STR_FMT "\"",
                 KG_STR_ARG(kind), KG_STR_ARG(api_version));
    return NULL;
  }
  reader_t r = {.a = kube_arena_new(), .err = err};
  kube_node_t *o = kube_map(r.a);
  kube_set(r.a, o, "kind", kube_strn(r.a, kind));
  kube_set(r.a, o, "apiVersion", kube_strn(r.a, api_version));
  kg_doc_t *doc = message(&r, t, raw, o, 0) ? NULL : kube_tree_doc(o);
  kube_arena_free(r.a);
  /* Strings came unchecked. */
  if (doc && kg_doc_check(kg_doc_data(doc), kg_doc_size(doc), err)) kg_doc_clear(&doc);
  return doc;
}
