/*
 * Answers in Kubernetes' protobuf, written from documents by the schema tables: what client-go and the conformance
 * suite ask for. Zero values are left out; a decoder cannot tell.
 */
#include "kube/schema.h"
#include "kube/values.h"

#include "gateway.h"
#include "kube/wire.h"

/* --- values with a form of their own ----------------------------------------------------------------------------- */

static void put_time(kube_buf_t *b, uint32_t number, kg_view_t v) {
  int64_t us;
  size_t at = wire_open(b, number);
  if (kg_view_type(v) == KG_V_STR && kube_time_parse(kg_view_str(v), &us) == 0) {
    int64_t seconds = us / 1000000, rest = us % 1000000;
    if (rest < 0) seconds--, rest += 1000000;
    wire_number(b, 1, seconds);
    wire_number(b, 2, rest * 1000);
  }
  wire_close(b, at);
}

static void put_int_or_string(kube_buf_t *b, uint32_t number, kg_view_t v) {
  bool text = kg_view_type(v) == KG_V_STR;
  size_t at = wire_open(b, number);
  wire_number(b, 1, text);
  wire_number(b, 2, text ? 0 : (uint32_t)kg_view_int(v, 0));
  kg_str_t s = kg_view_str(v);
  wire_bytes(b, 3, text ? s.p : "", text ? s.n : 0);
  wire_close(b, at);
}

/* "1h2m3.5s" as Go writes durations. */
static int64_t nanoseconds(kg_str_t s) {
  char text[64], *p = text;
  double total = 0;
  snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(s));
  bool minus = *p == '-';
  for (p += minus; *p;) {
    char *end;
    double v = strtod(p, &end), unit = 1e9;
    if (end == p) break;
    if (!strncmp(end, "ns", 2))
      unit = 1, end++;
    else if (!strncmp(end, "ms", 2))
      unit = 1e6, end++;
    else if (!strncmp(end, "us", 2))
      unit = 1e3, end++;
    else if (!strncmp(end, "\xc2\xb5s", 3))
      unit = 1e3, end += 2;
    else if (*end == 'm')
      unit = 60e9;
    else if (*end == 'h')
      unit = 3600e9;
    total += v * unit;
    p = *end ? end + 1 : end;
  }
  return (int64_t)(minus ? -total : total);
}

static void put_duration(kube_buf_t *b, uint32_t number, kg_view_t v) {
  size_t at = wire_open(b, number);
  wire_number(b, 1, nanoseconds(kg_view_str(v)));
  wire_close(b, at);
}

static void put_quantity(kube_buf_t *b, uint32_t number, kg_view_t v) {
  char text[32];
  kg_str_t s = kg_view_str(v);
  if (!s.p) s = (kg_str_t){text, (size_t)snprintf(text, sizeof text, "%lld", (long long)kg_view_int(v, 0))};
  size_t at = wire_open(b, number);
  wire_bytes(b, 1, s.p, s.n);
  wire_close(b, at);
}

static void put_base64(kube_buf_t *b, uint32_t number, kg_view_t v) {
  kg_str_t s = kg_view_str(v);
  unsigned char *out = malloc(s.n / 4 * 3 + 4);
  int n = out && s.n % 4 == 0 ? EVP_DecodeBlock(out, (const unsigned char *)s.p, (int)s.n) : 0;
  size_t pad = s.n && s.p[s.n - 1] == '=' ? (s.n > 1 && s.p[s.n - 2] == '=' ? 2 : 1) : 0;
  wire_bytes(b, number, out ? (char *)out : "", n > (int)pad ? (size_t)n - pad : 0);
  free(out);
}

/* {1: JSON text} */
static void put_json(kube_buf_t *b, uint32_t number, kg_view_t v) {
  kube_buf_t text = {0};
  kube_json_write(&text, v);
  size_t at = wire_open(b, number);
  wire_bytes(b, 1, text.p, text.n);
  wire_close(b, at);
  b->failed |= text.failed;
  kube_buf_free(&text);
}

/* --- fields, structs --------------------------------------------------------------------------------------------- */

static void put_struct(kube_buf_t *b, const kube_type_t *t, kg_view_t v);
static void put_value(kube_buf_t *b, const kube_field_t *f, uint32_t number, kg_view_t v);

/* One of several things in JSON, a struct with a field for each in protobuf (JSONSchemaPropsOrBool and its kin). */
static void put_choice(kube_buf_t *b, const kube_type_t *t, uint32_t number, kg_view_t v) {
  kg_vtype_t type = kg_view_type(v);
  size_t at = wire_open(b, number);
  for (const kube_field_t *f = t->own; f->name; f++) {
    bool list = f->shape == KUBE_LIST, own = f->kind == KUBE_T_STRUCT && !list;
    if (f->kind == KUBE_T_BYTES || f->kind == KUBE_T_RAW) { /* JSON: {Raw} */
      kube_buf_t text = {0};
      kube_json_write(&text, v);
      wire_bytes(b, f->proto, text.p, text.n);
      kube_buf_free(&text);
    } else if (f->kind == KUBE_T_BOOL && (type == KG_V_BOOL || type == KG_V_MAP))
      wire_number(b, f->proto, type == KG_V_MAP || kg_view_bool(v, false));
    else if (own && type == KG_V_MAP)
      put_value(b, f, f->proto, v);
    else if (list && type == KG_V_ARRAY)
      for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) put_value(b, f, f->proto, it.value);
  }
  wire_close(b, at);
}

static void put_value(kube_buf_t *b, const kube_field_t *f, uint32_t number, kg_view_t v) {
  double d;
  size_t at;
  switch (f->kind) {
  case KUBE_T_BOOL:
    wire_number(b, number, kg_view_bool(v, false));
    break;
  case KUBE_T_INT32:
  case KUBE_T_INT64:
    wire_number(b, number, kg_view_int(v, 0));
    break;
  case KUBE_T_FLOAT:
    d = kg_view_float(v, 0);
    wire_tag(b, number, WIRE_FIXED64);
    kube_buf_add(b, &d, sizeof d);
    break;
  case KUBE_T_STRING:
    wire_bytes(b, number, kg_view_str(v).p ? kg_view_str(v).p : "", kg_view_str(v).n);
    break;
  case KUBE_T_BYTES:
    put_base64(b, number, v);
    break;
  case KUBE_T_TIME:
  case KUBE_T_MICROTIME:
    put_time(b, number, v);
    break;
  case KUBE_T_QUANTITY:
    put_quantity(b, number, v);
    break;
  case KUBE_T_INT_OR_STRING:
    put_int_or_string(b, number, v);
    break;
  case KUBE_T_DURATION:
    put_duration(b, number, v);
    break;
  case KUBE_T_RAW:
    if (f->type)
      put_choice(b, f->type, number, v);
    else
      put_json(b, number, v);
    break;
  case KUBE_T_FIELDS:
    put_json(b, number, v);
    break;
  case KUBE_T_STRUCT:
    at = wire_open(b, number);
    put_struct(b, f->type, v);
    wire_close(b, at);
    break;
  }
}

static void put_entry(kube_buf_t *b, const kube_field_t *f, kg_str_t key, kg_view_t v) {
  size_t entry = wire_open(b, f->proto);
  wire_bytes(b, 1, key.p, key.n);
  if (f->shape == KUBE_MAP)
    put_value(b, f, 2, v);
  else { /* a list in a map is a message {1: the elements} */
    size_t list = wire_open(b, 2);
    for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) put_value(b, f, 1, it.value);
    wire_close(b, list);
  }
  wire_close(b, entry);
}

static void put_field(kube_buf_t *b, const kube_field_t *f, kg_view_t v) {
  kg_vtype_t type = kg_view_type(v);
  bool bare = type == KG_V_NIL && f->shape == KUBE_ONE &&
              ((f->kind == KUBE_T_RAW && !f->type) || f->kind == KUBE_T_FIELDS); /* there, with nothing in it */
  if (bare && f->proto) wire_bytes(b, f->proto, "", 0);
  bool time = f->kind == KUBE_T_TIME || f->kind == KUBE_T_MICROTIME;
  if (!f->proto || type == KG_V_NONE || (type == KG_V_NIL && !time)) return;
  if (f->shape == KUBE_ONE)
    put_value(b, f, f->proto, v);
  else
    for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);)
      if (f->shape == KUBE_LIST)
        put_value(b, f, f->proto, it.value);
      else
        put_entry(b, f, kg_view_str(it.key), it.value);
}

static bool any_of(const kube_type_t *t, kg_view_t v) {
  for (const kube_field_t *f = t->fields; f->name; f++)
    if (kg_view_there(kg_view_get(v, f->name))) return true;
  return false;
}

static void put_struct(kube_buf_t *b, const kube_type_t *t, kg_view_t v) {
  if (kg_view_type(v) != KG_V_MAP) return;
  for (const kube_field_t *f = t->own; f->name; f++) {
    if (!f->inlined) {
      put_field(b, f, kg_view_get(v, f->name));
    } else if (f->proto && any_of(f->type, v)) {
      size_t at = wire_open(b, f->proto);
      put_struct(b, f->type, v);
      wire_close(b, at);
    }
  }
}

/* --- objects ----------------------------------------------------------------------------------------------------- */

/* "k8s\0", {1: {1: apiVersion, 2: kind}, 2: the object ...; returns where the object began. */
static size_t open_object(kube_buf_t *b, kg_str_t api_version, kg_str_t kind) {
  kube_buf_add(b, "k8s\0", 4);
  size_t meta = wire_open(b, 1);
  wire_bytes(b, 1, api_version.p, api_version.n);
  wire_bytes(b, 2, kind.p, kind.n);
  wire_close(b, meta);
  return wire_open(b, 2);
}

static void close_object(kube_buf_t *b, size_t at) {
  wire_close(b, at);
  wire_bytes(b, 3, "", 0);
  wire_bytes(b, 4, "", 0);
}

bool gw_protobuf_object(kube_buf_t *b, kg_view_t object) {
  kg_str_t api_version = kg_view_str(kg_view_get(object, "apiVersion")),
           kind = kg_view_str(kg_view_get(object, "kind"));
  const kube_type_t *t = gw_protobuf_type(api_version, kind);
  if (!t) return false;
  size_t at = open_object(b, api_version, kind);
  put_struct(b, t, object);
  close_object(b, at);
  return true;
}

static void put_meta_object(kube_buf_t *b, kg_view_t object) {
  const kube_type_t *t = kube_type_find(KG_STR("meta.v1.ObjectMeta"));
  size_t at = wire_open(b, 1);
  if (t) put_struct(b, t, kg_view_get(object, "metadata"));
  wire_close(b, at);
}

void gw_protobuf_meta(kube_buf_t *b, kg_view_t object) {
  size_t at = open_object(b, KG_STR("meta.k8s.io/v1"), KG_STR("PartialObjectMetadata"));
  put_meta_object(b, object);
  close_object(b, at);
}

static void put_list_meta(kube_buf_t *b, kg_view_t args) {
  char text[32];
  kg_view_t rv = kg_view_get(args, "rv"), left = kg_view_get(args, "remaining");
  kg_str_t cont = kg_view_str(kg_view_get(args, "continue")), revision = kg_view_str(rv);
  if (!revision.p)
    revision = (kg_str_t){text, (size_t)snprintf(text, sizeof text, "%lld", (long long)kg_view_int(rv, 0))};
  size_t at = wire_open(b, 1);
  wire_bytes(b, 2, revision.p, revision.n);
  if (cont.n) wire_bytes(b, 3, cont.p, cont.n);
  if (kg_view_there(left)) wire_number(b, 4, kg_view_int(left, 0));
  wire_close(b, at);
}

bool gw_protobuf_list(kube_buf_t *b, const kg_msg_t *m, bool meta) {
  kg_view_t args = kg_msg_args(m);
  size_t n = kg_msg_ndocs(m);
  kg_str_t api_version = meta ? KG_STR("meta.k8s.io/v1") : kg_view_str(kg_view_get(args, "apiVersion"));
  kg_str_t kind = meta ? KG_STR("PartialObjectMetadataList") : kg_view_str(kg_view_get(args, "kind"));
  const kube_type_t *t = NULL;
  if (n && !meta) t = gw_protobuf_type(api_version, kg_view_str(kg_view_get(kg_view_of(kg_msg_doc(m, 0)), "kind")));
  if (n && !meta && !t) return false;
  size_t at = open_object(b, api_version, kind);
  put_list_meta(b, args);
  for (size_t i = 0; i < n; i++) {
    size_t item = wire_open(b, 2);
    if (meta)
      put_meta_object(b, kg_view_of(kg_msg_doc(m, i)));
    else
      put_struct(b, t, kg_view_of(kg_msg_doc(m, i)));
    wire_close(b, item);
  }
  close_object(b, at);
  return true;
}

/* A frame of a watch: its length in four bytes, then {1: type, 2: {1: the object in its envelope}}. */
bool gw_protobuf_event(kube_buf_t *b, const char *type, bool meta, kg_view_t object) {
  kube_buf_t own = {0};
  bool ok = true;
  if (meta)
    gw_protobuf_meta(&own, object);
  else
    ok = gw_protobuf_object(&own, object);
  size_t start = b->n;
  kube_buf_add(b, "\0\0\0\0", 4);
  wire_bytes(b, 1, type, strlen(type));
  size_t at = wire_open(b, 2);
  wire_bytes(b, 1, own.p, own.n);
  wire_close(b, at);
  if (b->failed || own.failed || !ok) ok = false;
  kube_buf_free(&own);
  if (!ok) return false;
  uint32_t n = (uint32_t)(b->n - start - 4);
  unsigned char head[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                           (unsigned char)n};
  memcpy(b->p + start, head, 4);
  return true;
}
