/*
 * The OpenAPI v2 document as protobuf, the form in which kubectl before 1.24 and client libraries ask for it
 * (github.com/google/gnostic, OpenAPIv2.proto): each JSON object is a message whose fields a table names.
 */
#include <string.h>

#include "kube/wire.h"

typedef enum {
  O_TEXT,   /* a string */
  O_BOOL,   /* written when true */
  O_TEXTS,  /* strings */
  O_SCHEMA, /* messages of one kind each */
  O_SCHEMAS,
  O_OPERATION,
  O_INFO,
  O_ANY, /* any JSON as YAML text */
  O_ANYS,
  O_NAMED,      /* {name: schema}: a message of pairs */
  O_TYPE,       /* string or strings, in a message of their own */
  O_ITEMS,      /* a schema in a message of its own */
  O_ADDITIONAL, /* a schema or a boolean */
  O_PATHS,
  O_PARAMETERS,
  O_RESPONSES,
} form_t;

typedef struct entry {
  const char *name;
  uint32_t number;
  form_t form;
} entry_t;

static const entry_t document_fields[] = {
    {"swagger", 1, O_TEXT}, {"info", 2, O_INFO}, {"paths", 8, O_PATHS}, {"definitions", 9, O_NAMED}, {0}};
static const entry_t info_fields[] = {{"title", 1, O_TEXT}, {"version", 2, O_TEXT}, {"description", 3, O_TEXT}, {0}};
static const entry_t path_fields[] = {
    {"get", 2, O_OPERATION},    {"put", 3, O_OPERATION},         {"post", 4, O_OPERATION},
    {"delete", 5, O_OPERATION}, {"options", 6, O_OPERATION},     {"head", 7, O_OPERATION},
    {"patch", 8, O_OPERATION},  {"parameters", 9, O_PARAMETERS}, {0}};
static const entry_t operation_fields[] = {{"tags", 1, O_TEXTS},
                                           {"summary", 2, O_TEXT},
                                           {"description", 3, O_TEXT},
                                           {"operationId", 5, O_TEXT},
                                           {"produces", 6, O_TEXTS},
                                           {"consumes", 7, O_TEXTS},
                                           {"parameters", 8, O_PARAMETERS},
                                           {"responses", 9, O_RESPONSES},
                                           {"schemes", 10, O_TEXTS},
                                           {"deprecated", 11, O_BOOL},
                                           {0}};
static const entry_t body_fields[] = {{"description", 1, O_TEXT}, {"name", 2, O_TEXT},     {"in", 3, O_TEXT},
                                      {"required", 4, O_BOOL},    {"schema", 5, O_SCHEMA}, {0}};
static const entry_t query_fields[] = {{"required", 1, O_BOOL},
                                       {"in", 2, O_TEXT},
                                       {"description", 3, O_TEXT},
                                       {"name", 4, O_TEXT},
                                       {"type", 6, O_TEXT},
                                       {"uniqueItems", 20, O_BOOL},
                                       {0}};
static const entry_t in_path_fields[] = {{"required", 1, O_BOOL},
                                         {"in", 2, O_TEXT},
                                         {"description", 3, O_TEXT},
                                         {"name", 4, O_TEXT},
                                         {"type", 5, O_TEXT},
                                         {"uniqueItems", 19, O_BOOL},
                                         {0}};
static const entry_t schema_fields[] = {{"$ref", 1, O_TEXT},         {"format", 2, O_TEXT},
                                        {"title", 3, O_TEXT},        {"description", 4, O_TEXT},
                                        {"default", 5, O_ANY},       {"pattern", 13, O_TEXT},
                                        {"uniqueItems", 16, O_BOOL}, {"required", 19, O_TEXTS},
                                        {"enum", 20, O_ANYS},        {"additionalProperties", 21, O_ADDITIONAL},
                                        {"type", 22, O_TYPE},        {"items", 23, O_ITEMS},
                                        {"allOf", 24, O_SCHEMAS},    {"properties", 25, O_NAMED},
                                        {"example", 30, O_ANY},      {0}};
enum { PATH_EXTENSIONS = 10, OPERATION_EXTENSIONS = 13, SCHEMA_EXTENSIONS = 31 };

static void put(kube_buf_t *b, const entry_t *fields, uint32_t extensions, kg_view_t v);

static void put_message(kube_buf_t *b, uint32_t number, const entry_t *fields, uint32_t extensions, kg_view_t v) {
  size_t at = wire_open(b, number);
  put(b, fields, extensions, v);
  wire_close(b, at);
}

static void put_text(kube_buf_t *b, uint32_t number, kg_view_t v) {
  kg_str_t s = kg_view_str(v);
  wire_bytes(b, number, s.p ? s.p : "", s.n);
}

/* {2: YAML}; JSON is YAML. */
static void put_any(kube_buf_t *b, uint32_t number, kg_view_t v) {
  kube_buf_t text = {0};
  kube_json_write(&text, v);
  kube_buf_addz(&text, "\n");
  size_t at = wire_open(b, number);
  wire_bytes(b, 2, text.p, text.n);
  wire_close(b, at);
  kube_buf_free(&text);
}

static void put_schema(kube_buf_t *b, uint32_t number, kg_view_t v) {
  put_message(b, number, schema_fields, SCHEMA_EXTENSIONS, v);
}

static void put_named(kube_buf_t *b, uint32_t number, kg_view_t v) {
  size_t all = wire_open(b, number);
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
    size_t pair = wire_open(b, 1);
    put_text(b, 1, it.key);
    put_schema(b, 2, it.value);
    wire_close(b, pair);
  }
  wire_close(b, all);
}

static void put_paths(kube_buf_t *b, uint32_t number, kg_view_t v) {
  size_t all = wire_open(b, number);
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
    size_t pair = wire_open(b, 2);
    put_text(b, 1, it.key);
    put_message(b, 2, path_fields, PATH_EXTENSIONS, it.value);
    wire_close(b, pair);
  }
  wire_close(b, all);
}

/* {1: {1: body} or {1: {2: {3: query or 4: path}}} */
static void put_parameter(kube_buf_t *b, uint32_t number, kg_view_t v) {
  kg_str_t in = kg_view_str(kg_view_get(v, "in"));
  size_t item = wire_open(b, number), parameter = wire_open(b, 1);
  if (kg_str_is(in, "body")) {
    put_message(b, 1, body_fields, 0, v);
  } else {
    size_t other = wire_open(b, 2);
    bool path = kg_str_is(in, "path");
    put_message(b, path ? 4 : 3, path ? in_path_fields : query_fields, 0, v);
    wire_close(b, other);
  }
  wire_close(b, parameter);
  wire_close(b, item);
}

static void put_responses(kube_buf_t *b, uint32_t number, kg_view_t v) {
  size_t all = wire_open(b, number);
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
    size_t pair = wire_open(b, 1);
    put_text(b, 1, it.key);
    size_t value = wire_open(b, 2), response = wire_open(b, 1);
    put_text(b, 1, kg_view_get(it.value, "description"));
    if (kg_view_there(kg_view_get(it.value, "schema"))) {
      size_t schema = wire_open(b, 2);
      put_schema(b, 1, kg_view_get(it.value, "schema"));
      wire_close(b, schema);
    }
    wire_close(b, response);
    wire_close(b, value);
    wire_close(b, pair);
  }
  wire_close(b, all);
}

static void put_wrapped(kube_buf_t *b, const entry_t *e, kg_view_t v) {
  size_t at = wire_open(b, e->number);
  if (e->form == O_ITEMS)
    put_schema(b, 1, v);
  else if (e->form == O_ADDITIONAL && kg_view_type(v) == KG_V_BOOL)
    wire_number(b, 2, kg_view_bool(v, false));
  else if (e->form == O_ADDITIONAL)
    put_schema(b, 1, v);
  else if (kg_view_type(v) == KG_V_STR)
    put_text(b, 1, v);
  else
    for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) put_text(b, 1, it.value);
  wire_close(b, at);
}

static void put_list(kube_buf_t *b, const entry_t *e, kg_view_t v) {
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
    if (e->form == O_TEXTS) put_text(b, e->number, it.value);
    if (e->form == O_SCHEMAS) put_schema(b, e->number, it.value);
    if (e->form == O_ANYS) put_any(b, e->number, it.value);
    if (e->form == O_PARAMETERS) put_parameter(b, e->number, it.value);
  }
}

static void put_field(kube_buf_t *b, const entry_t *e, kg_view_t v) {
  switch (e->form) {
  case O_TEXT:
    return put_text(b, e->number, v);
  case O_BOOL:
    if (kg_view_bool(v, false)) wire_number(b, e->number, 1);
    return;
  case O_SCHEMA:
    return put_schema(b, e->number, v);
  case O_OPERATION:
    return put_message(b, e->number, operation_fields, OPERATION_EXTENSIONS, v);
  case O_INFO:
    return put_message(b, e->number, info_fields, 0, v);
  case O_ANY:
    return put_any(b, e->number, v);
  case O_NAMED:
    return put_named(b, e->number, v);
  case O_PATHS:
    return put_paths(b, e->number, v);
  case O_RESPONSES:
    return put_responses(b, e->number, v);
  case O_TYPE:
  case O_ITEMS:
  case O_ADDITIONAL:
    return put_wrapped(b, e, v);
  default:
    return put_list(b, e, v);
  }
}

static void put_extension(kube_buf_t *b, uint32_t number, kg_view_t key, kg_view_t v) {
  size_t at = wire_open(b, number);
  put_text(b, 1, key);
  put_any(b, 2, v);
  wire_close(b, at);
}

static void put(kube_buf_t *b, const entry_t *fields, uint32_t extensions, kg_view_t v) {
  for (const entry_t *e = fields; e->name; e++) {
    kg_view_t value = kg_view_get(v, e->name);
    if (kg_view_there(value)) put_field(b, e, value);
  }
  for (kg_iter_t it = kg_iter(v); extensions && kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if (key.n > 2 && !memcmp(key.p, "x-", 2)) put_extension(b, extensions, it.key, it.value);
  }
}

void gw_openapi_protobuf(kube_buf_t *b, kg_view_t document) {
  put(b, document_fields, 0, document);
}
