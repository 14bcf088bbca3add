/*
 * Decoding of a body by the type tables: every value is checked against its field, unknown fields are dropped, and the
 * object comes out as the API server would write it again: fields in the order of the type, empty ones left out.
 */
#include <stdlib.h>
#include <string.h>

#include "decode_values.h"
#include "structural.h"
#include "schema_tables.h"

enum { MAX_FIELDS = 80 };

/* Where we are: a chain of frames on the stack. index >= 0: an element; key: an entry of a map. */
typedef struct frame {
  const struct frame *up;
  kg_str_t name;
  int64_t index;
  bool is_key;
  const kube_type_t *owner; /* the struct the field belongs to */
} frame_t;

typedef struct decoder {
  kube_arena_t *a;
  kube_node_t *unknown;
  kg_error_t *err;
  bool failed;
  bool sparse; /* what is not given is left out, whatever the type says */
} decoder_t;

static kube_node_t *decode_struct(decoder_t *d, const frame_t *at, const kube_type_t *t, kube_node_t *n);

/* --- words
 * ------------------------------------------------------------------------------------------------------------ */

static const char *path_of(decoder_t *d, const frame_t *f, bool indices) {
  if (!f) return "";
  const char *up = path_of(d, f->up, indices);
  if (f->index >= 0) return indices ? kube_arena_fmt(d->a, "%s[%lld]", up, (long long)f->index) : up;
  if (f->is_key && !indices) return up;
  return kube_arena_fmt(d->a, "%s%s" KG_STR_FMT, up, *up ? "." : "", KG_STR_ARG(f->name));
}

/* "core.v1.PodSpec" is v1.PodSpec in Go's words. */
static const char *go_name(const char *name) {
  const char *dot = strchr(name, '.');
  return dot ? dot + 1 : name;
}

static const char *go_scalar(const kube_field_t *f) {
  if (f->kind == KUBE_T_STRUCT) return go_name(f->type->name);
  if (f->named) return go_name(f->named);
  static const char *const names[] = {[KUBE_T_STRING] = "string",
                                      [KUBE_T_BOOL] = "bool",
                                      [KUBE_T_INT32] = "int32",
                                      [KUBE_T_INT64] = "int64",
                                      [KUBE_T_FLOAT] = "float64",
                                      [KUBE_T_BYTES] = "[]uint8",
                                      [KUBE_T_TIME] = "v1.Time",
                                      [KUBE_T_MICROTIME] = "v1.MicroTime",
                                      [KUBE_T_QUANTITY] = "resource.Quantity"};
  const char *name = (size_t)f->kind < sizeof names / sizeof *names ? names[f->kind] : NULL;
  return name ? name : "string";
}

static const char *go_type(decoder_t *d, const kube_field_t *f, kube_shape_t shape) {
  switch (shape) {
  case KUBE_LIST:
    return kube_arena_fmt(d->a, "[]%s", go_scalar(f));
  case KUBE_MAP:
    return kube_arena_fmt(d->a, "map[string]%s", go_scalar(f));
  case KUBE_MAP_LIST:
    return kube_arena_fmt(d->a, "map[string][]%s", go_scalar(f));
  default:
    return go_scalar(f);
  }
}

static const char *json_kind(decoder_t *d, const kube_node_t *n, bool number_text) {
  switch (n->type) {
  case KG_V_BOOL:
    return "bool";
  case KG_V_STR:
    return "string";
  case KG_V_ARRAY:
    return "array";
  case KG_V_MAP:
    return "object";
  case KG_V_INT:
    return number_text ? kube_arena_fmt(d->a, "number %lld", (long long)n->i) : "number";
  case KG_V_UINT:
    return number_text ? kube_arena_fmt(d->a, "number %llu", (unsigned long long)n->u) : "number";
  case KG_V_FLOAT:
    return number_text ? kube_arena_fmt(d->a, "number %.17g", n->f) : "number";
  default:
    return "null";
  }
}

static const kube_type_t *owner_of(const frame_t *at) {
  while (at && !at->owner) at = at->up;
  return at ? at->owner : NULL;
}

/* The first mistake is the one that is told, as in Go. */
static kube_node_t *mismatch(decoder_t *d, const frame_t *at, const kube_node_t *n, const char *type,
                             bool number_text) {
  if (d->failed) return NULL;
  d->failed = true;
  const kube_type_t *owner = owner_of(at);
  const char *last = owner ? strrchr(owner->name, '.') : NULL;
  kg_error_set(d->err, KG_EINVAL, "json: cannot unmarshal %s into Go struct field %s.%s of type %s",
               json_kind(d, n, number_text), last ? last + 1 : "", path_of(d, at, false), type);
  return NULL;
}

static kube_node_t *refuse(decoder_t *d, const char *sentence) {
  if (!d->failed) kg_error_set(d->err, KG_EINVAL, "%s", sentence);
  d->failed = true;
  return NULL;
}

/* --- values
 * ----------------------------------------------------------------------------------------------------------- */

static kube_node_t *decode_integer(decoder_t *d, const frame_t *at, const kube_field_t *f, kube_node_t *n) {
  bool wide = f->kind == KUBE_T_INT64;
  if (n->type == KG_V_INT && (wide || (n->i >= INT32_MIN && n->i <= INT32_MAX))) return n;
  bool number = n->type == KG_V_INT || n->type == KG_V_UINT || n->type == KG_V_FLOAT;
  return mismatch(d, at, n, go_scalar(f), number);
}

/* A schema, or several, or a plain value: structs in Go with a JSON form of their own. */
static kube_node_t *decode_either(decoder_t *d, const frame_t *at, const kube_field_t *f, kube_node_t *n) {
  const kube_type_t *schema = kube_field_find(f->type, KG_STR("Schema"))->type;
  bool many = kube_field_find(f->type, KG_STR("JSONSchemas"));
  if (n->type == KG_V_MAP) return decode_struct(d, at, schema, n);
  if (kube_field_find(f->type, KG_STR("Allows")))
    return n->type == KG_V_BOOL ? n : refuse(d, "json: cannot unmarshal: boolean or JSON schema expected");
  if (n->type != KG_V_ARRAY) return kube_nil(d->a);
  for (uint32_t i = 0; many && i < n->c.n; i++) {
    frame_t element = {.up = at, .index = i};
    if (n->c.items[i]->type != KG_V_MAP) return mismatch(d, &element, n->c.items[i], go_name(schema->name), false);
    n->c.items[i] = decode_struct(d, &element, schema, n->c.items[i]);
    if (d->failed) return NULL;
  }
  return n;
}

static kube_node_t *decode_special(decoder_t *d, const frame_t *at, const kube_field_t *f, kube_node_t *n) {
  const char *sentence = NULL;
  kube_node_t *v = NULL;
  switch (f->kind) {
  case KUBE_T_BYTES:
    if (n->type != KG_V_STR) return mismatch(d, at, n, "[]uint8", false);
    v = kube_decode_base64(d->a, n, &sentence);
    break;
  case KUBE_T_TIME:
    v = kube_decode_time(d->a, n, false, &sentence);
    break;
  case KUBE_T_MICROTIME:
    v = kube_decode_time(d->a, n, true, &sentence);
    break;
  case KUBE_T_QUANTITY:
    v = kube_decode_quantity(d->a, n, &sentence);
    break;
  case KUBE_T_INT_OR_STRING:
    v = kube_decode_int_or_string(d->a, n, &sentence);
    break;
  default: /* any JSON */
    return f->kind == KUBE_T_RAW && f->type ? decode_either(d, at, f, n) : n;
  }
  return v ? v : refuse(d, sentence);
}

static kube_node_t *decode_scalar(decoder_t *d, const frame_t *at, const kube_field_t *f, kube_node_t *n) {
  switch (f->kind) {
  case KUBE_T_STRUCT:
    if (n->type != KG_V_MAP) return mismatch(d, at, n, go_scalar(f), false);
    return decode_struct(d, at, f->type, n);
  case KUBE_T_STRING:
  case KUBE_T_DURATION:
    return n->type == KG_V_STR ? n : mismatch(d, at, n, go_scalar(f), false);
  case KUBE_T_BOOL:
    return n->type == KG_V_BOOL ? n : mismatch(d, at, n, "bool", false);
  case KUBE_T_INT32:
  case KUBE_T_INT64:
    return decode_integer(d, at, f, n);
  case KUBE_T_FLOAT:
    if (n->type == KG_V_INT || n->type == KG_V_UINT || n->type == KG_V_FLOAT) return n;
    return mismatch(d, at, n, "float64", false);
  default:
    return decode_special(d, at, f, n);
  }
}

/* What Go has where JSON says nothing: the zero value, or NULL when it is not written. */
static kube_node_t *zero_of(decoder_t *d, const frame_t *at, const kube_field_t *f) {
  switch (f->kind) {
  case KUBE_T_STRUCT:
    return decode_struct(d, at, f->type, kube_map(d->a));
  case KUBE_T_STRING:
  case KUBE_T_DURATION:
    return kube_str(d->a, "");
  case KUBE_T_BOOL:
    return kube_bool(d->a, false);
  case KUBE_T_INT32:
  case KUBE_T_INT64:
  case KUBE_T_FLOAT:
  case KUBE_T_INT_OR_STRING:
    return kube_int(d->a, 0);
  case KUBE_T_QUANTITY:
    return kube_str(d->a, "0");
  default:
    return kube_nil(d->a);
  }
}

static kube_node_t *decode_list(decoder_t *d, const frame_t *at, const kube_field_t *f, kube_shape_t shape,
                                kube_node_t *n) {
  if (n->type != KG_V_ARRAY) return mismatch(d, at, n, go_type(d, f, shape), false);
  for (uint32_t i = 0; i < n->c.n; i++) {
    frame_t element = {.up = at, .index = i};
    kube_node_t *v = n->c.items[i];
    n->c.items[i] = v->type == KG_V_NIL ? zero_of(d, &element, f) : decode_scalar(d, &element, f, v);
    if (d->failed) return NULL;
  }
  return n;
}

static kube_node_t *decode_map(decoder_t *d, const frame_t *at, const kube_field_t *f, kube_node_t *n) {
  if (n->type != KG_V_MAP) return mismatch(d, at, n, go_type(d, f, f->shape), false);
  for (uint32_t i = 0; i < n->c.n; i++) {
    frame_t entry = {.up = at, .name = n->c.keys[i], .index = -1, .is_key = true};
    kube_node_t *v = n->c.items[i];
    if (f->shape == KUBE_MAP_LIST) {
      n->c.items[i] = v->type == KG_V_NIL ? v : decode_list(d, &entry, f, KUBE_LIST, v);
    } else {
      n->c.items[i] = v->type == KG_V_NIL ? zero_of(d, &entry, f) : decode_scalar(d, &entry, f, v);
    }
    if (d->failed) return NULL;
  }
  kube_sort_keys(d->a, n, false); /* Go writes maps in the order of their keys */
  return n;
}

static bool is_empty(const kube_node_t *n) {
  switch (n->type) {
  case KG_V_BOOL:
    return !n->b;
  case KG_V_INT:
    return n->i == 0;
  case KG_V_UINT:
    return n->u == 0;
  case KG_V_FLOAT:
    return n->f == 0;
  case KG_V_STR:
    return n->s.n == 0;
  case KG_V_ARRAY:
  case KG_V_MAP:
    return n->c.n == 0;
  default:
    return true;
  }
}

/* Structs cannot be left out by Go's omitempty; the one exception is marked omitzero there. */
static bool struct_in_go(const kube_field_t *f) {
  switch (f->kind) {
  case KUBE_T_STRUCT:
  case KUBE_T_MICROTIME:
  case KUBE_T_QUANTITY:
  case KUBE_T_INT_OR_STRING:
    return true;
  case KUBE_T_TIME:
    return strcmp(f->name, "creationTimestamp") != 0;
  case KUBE_T_RAW:
    return !f->type;
  default:
    return false;
  }
}

static kube_node_t *decode_collection(decoder_t *d, const frame_t *at, const kube_field_t *f, kube_node_t *n) {
  return f->shape == KUBE_LIST ? decode_list(d, at, f, KUBE_LIST, n) : decode_map(d, at, f, n);
}

/* The value of one field as it is written, NULL: not at all. n NULL or nil: not given. */
static kube_node_t *decode_field(decoder_t *d, const frame_t *at, const kube_field_t *f, kube_node_t *n) {
  bool given = n && n->type != KG_V_NIL;
  if (d->sparse) return !given ? n : f->shape == KUBE_ONE ? decode_scalar(d, at, f, n) : decode_collection(d, at, f, n);
  if (f->shape != KUBE_ONE) {
    if (!given) return f->always ? kube_nil(d->a) : NULL;
    n = decode_collection(d, at, f, n);
    if (!n || n->c.n || f->ptr) return n;
    /* What is empty comes back from protobuf as nothing. */
    return f->always ? kube_nil(d->a) : NULL;
  }
  if (!given) {
    if (f->ptr) return f->always ? kube_nil(d->a) : NULL;
    if (f->kind == KUBE_T_BYTES) return f->always ? kube_nil(d->a) : NULL;
    return f->always || struct_in_go(f) ? zero_of(d, at, f) : NULL;
  }
  n = decode_scalar(d, at, f, n);
  if (!n || f->always || f->ptr || struct_in_go(f)) return n;
  return is_empty(n) && f->kind != KUBE_T_RAW ? NULL : n;
}

/* --- structs
 * ---------------------------------------------------------------------------------------------------------- */

static void note_unknown(decoder_t *d, const frame_t *at, kg_str_t key) {
  if (!d->unknown || d->unknown->c.n >= KUBE_MOST_UNKNOWN) return;
  const char *up = path_of(d, at, true);
  kube_push(d->a, d->unknown, kube_strf(d->a, "%s%s" KG_STR_FMT, up, *up ? "." : "", KG_STR_ARG(key)));
}

static kube_node_t *decode_struct(decoder_t *d, const frame_t *at, const kube_type_t *t, kube_node_t *n) {
  kube_node_t *given[MAX_FIELDS] = {0};
  for (uint32_t i = 0; i < n->c.n; i++) {
    const kube_field_t *f = kube_field_find(t, n->c.keys[i]);
    if (f && f - t->fields < MAX_FIELDS) {
      given[f - t->fields] = n->c.items[i];
    } else {
      note_unknown(d, at, n->c.keys[i]);
    }
  }
  kube_node_t *out = kube_map(d->a);
  for (const kube_field_t *f = t->fields; f->name; f++) {
    frame_t field = {.up = at, .name = kg_str(f->name), .index = -1, .owner = t};
    kube_node_t *v = decode_field(d, &field, f, given[f - t->fields]);
    if (d->failed) return NULL;
    if (v) kube_set(d->a, out, f->name, v);
  }
  return out;
}

static int decode(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, kube_node_t *unknown, bool sparse,
                  kg_error_t *err) {
  decoder_t d = {.a = a, .unknown = unknown, .err = err, .sparse = sparse};
  if (r->structural) return kube_custom_decode(a, r, object, unknown, sparse, err);
  if (object->type != KG_V_MAP) {
    return kg_error_set(err, KG_EINVAL, "json: cannot unmarshal %s into Go value of type %s",
                        json_kind(&d, object, false), go_name(r->type->name));
  }
  kube_node_t *out = decode_struct(&d, NULL, r->type, object);
  if (!out) return -1;
  *object = *out;
  return 0;
}

int kube_decode(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, kube_node_t *unknown, kg_error_t *err) {
  return decode(a, r, object, unknown, false, err);
}

int kube_decode_given(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, kube_node_t *unknown,
                      kg_error_t *err) {
  return decode(a, r, object, unknown, true, err);
}

kube_node_t *kube_empty(kube_arena_t *a, const kube_type_t *t) {
  kg_error_t err = {0};
  decoder_t d = {.a = a, .err = &err};
  return decode_struct(&d, NULL, t, kube_map(a));
}
