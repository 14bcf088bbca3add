/* Errors as Kubernetes words them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api.h"

static void details(fault_t *f, const kube_resource_t *r, kg_str_t name, const char *kind) {
  f->name = name;
  f->group = kg_str(r->group);
  f->kind = kg_str(kind);
}

/* "deployments.apps", "pods" */
#define QUALIFIED "%s%s%s"
#define QUALIFIED_ARG(r, what) (what), (r)->group[0] ? "." : "", (r)->group

static bool fill(fault_t *f, int code, const char *reason, const char *fmt, va_list args) {
  *f = (fault_t){.code = code, .reason = reason};
  vsnprintf(f->message, sizeof f->message, fmt, args);
  kg_str_mend(f->message);
  return false;
}

bool fault_other(fault_t *f, int code, const char *reason, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  fill(f, code, reason, fmt, args);
  va_end(args);
  return false;
}

bool fault_bad(fault_t *f, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  fill(f, 400, "BadRequest", fmt, args);
  va_end(args);
  return false;
}

bool fault_not_found(fault_t *f, const kube_resource_t *r, kg_str_t name) {
  fault_other(f, 404, "NotFound", QUALIFIED " \"" KG_STR_FMT "\" not found", QUALIFIED_ARG(r, r->resource),
              KG_STR_ARG(name));
  details(f, r, name, r->resource);
  return false;
}

bool fault_exists(fault_t *f, const kube_resource_t *r, kg_str_t name) {
  fault_other(f, 409, "AlreadyExists", QUALIFIED " \"" KG_STR_FMT "\" already exists", QUALIFIED_ARG(r, r->resource),
              KG_STR_ARG(name));
  details(f, r, name, r->resource);
  return false;
}

bool fault_conflict(fault_t *f, const kube_resource_t *r, const char *sub, kg_str_t name, const char *fmt, ...) {
  char why[900];
  va_list args;
  va_start(args, fmt);
  vsnprintf(why, sizeof why, fmt, args);
  kg_str_mend(why);
  va_end(args);
  fault_other(f, 409, "Conflict", "Operation cannot be fulfilled on " QUALIFIED "%s%s \"" KG_STR_FMT "\": %s",
              QUALIFIED_ARG(r, r->resource), sub ? "/" : "", sub ? sub : "", KG_STR_ARG(name), why);
  details(f, r, name, r->resource);
  return false;
}

bool fault_modified(fault_t *f, const kube_resource_t *r, kg_str_t name) {
  return fault_conflict(f, r, NULL, name,
                        "the object has been modified; please apply your changes to the latest version and try again");
}

bool fault_forbidden(fault_t *f, const kube_resource_t *r, kg_str_t name, const char *fmt, ...) {
  char why[3600]; /* what a level of pod security or a role forbids is told whole */
  va_list args;
  va_start(args, fmt);
  vsnprintf(why, sizeof why, fmt, args);
  kg_str_mend(why);
  va_end(args);
  fault_other(f, 403, "Forbidden", QUALIFIED " \"" KG_STR_FMT "\" is forbidden: %s", QUALIFIED_ARG(r, r->resource),
              KG_STR_ARG(name), why);
  details(f, r, name, r->resource);
  return false;
}

static bool same_cause(const kube_node_t *a, const kube_node_t *b) {
  return kg_str_eq(kube_node_str(kube_get(a, "field")), kube_node_str(kube_get(b, "field"))) &&
         kg_str_eq(kube_node_str(kube_get(a, "message")), kube_node_str(kube_get(b, "message")));
}

/* `Deployment.apps "x" is invalid: spec.a: Required value`, several causes in brackets. */
bool fault_invalid(fault_t *f, const kube_resource_t *r, kg_str_t name, const kube_node_t *causes) {
  fault_other(f, 422, "Invalid", QUALIFIED " \"" KG_STR_FMT "\" is invalid: ", QUALIFIED_ARG(r, r->kind),
              KG_STR_ARG(name));
  details(f, r, name, r->kind);
  f->causes = causes;
  size_t at = strlen(f->message);
  uint32_t told = 0;
  bool many = false; /* the same words are said once */
  for (uint32_t i = 1; i < causes->c.n && !many; i++) many = !same_cause(causes->c.items[i], causes->c.items[0]);
  for (uint32_t i = 0; i < causes->c.n && at < sizeof f->message; i++) {
    kg_str_t field = kube_node_str(kube_get(causes->c.items[i], "field"));
    kg_str_t message = kube_node_str(kube_get(causes->c.items[i], "message"));
    uint32_t k = 0;
    while (k < i && !same_cause(causes->c.items[k], causes->c.items[i])) k++;
    if (k < i) continue;
    at += (size_t)snprintf(f->message + at, sizeof f->message - at, "%s" KG_STR_FMT "%s" KG_STR_FMT,
                           told++ ? ", "
                           : many ? "["
                                  : "",
                           KG_STR_ARG(field), field.n ? ": " : "", KG_STR_ARG(message));
  }
  if (many && at + 1 < sizeof f->message) memcpy(f->message + at, "]", 2);
  return false;
}

void cause_add(kube_arena_t *a, kube_node_t *causes, const char *reason, const char *field, const char *fmt, ...) {
  char text[700];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  kg_str_mend(text);
  va_end(args);
  kube_node_t *cause = kube_map(a);
  kube_set(a, cause, "reason", kube_str(a, reason));
  kube_set(a, cause, "message", kube_str(a, text));
  if (field) kube_set(a, cause, "field", kube_str(a, field));
  kube_push(a, causes, cause);
}

static void pack_head(kg_pack_t *p, const char *status, const char *next) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "kind", "Status");
  kg_pack_kv_str(p, "apiVersion", "v1");
  kg_pack_key(p, "metadata");
  kg_pack_map(p);
  if (next) kg_pack_kv_str(p, "continue", next);
  kg_pack_end(p);
  kg_pack_kv_str(p, "status", status);
}

static void pack_details(kg_pack_t *p, const fault_t *f) {
  kg_pack_key(p, "details");
  kg_pack_map(p);
  if (f->name.n) kg_pack_kv_strn(p, "name", f->name);
  if (f->group.n) kg_pack_kv_strn(p, "group", f->group);
  if (f->kind.n) kg_pack_kv_strn(p, "kind", f->kind);
  if (f->uid.n) kg_pack_kv_strn(p, "uid", f->uid);
  if (f->causes && f->causes->c.n) {
    kg_pack_key(p, "causes");
    kube_tree_pack(f->causes, p);
  }
  if (f->retry_after) kg_pack_kv_int(p, "retryAfterSeconds", f->retry_after);
  kg_pack_end(p);
}

kg_doc_t *fault_doc(const fault_t *f) {
  kg_pack_t p = kg_pack();
  pack_head(&p, "Failure", f->next);
  kg_pack_kv_str(&p, "message", f->message);
  if (f->reason[0]) kg_pack_kv_str(&p, "reason", f->reason);
  if (f->kind.n || f->causes || f->retry_after || f->bare) pack_details(&p, f);
  kg_pack_kv_int(&p, "code", f->code);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

kg_doc_t *success_doc(const kube_resource_t *r, kg_str_t name, kg_str_t uid) {
  fault_t f = {.uid = uid};
  kg_pack_t p = kg_pack();
  pack_head(&p, "Success", NULL);
  if (r) {
    details(&f, r, name, r->resource);
    pack_details(&p, &f);
  } else {
    kg_pack_kv_int(&p, "code", 201);
  }
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

void fault_answer(const req_t *q, const fault_t *f) {
  if (!q->m) {
    kg_log(q->ctx, KG_LOG_WARN, "a write of the api's own failed: %s", f->message);
    return;
  }
  kg_doc_t *doc = fault_doc(f);
  kg_fail_doc(q->ctx, q->m, f->code, f->message, doc);
  kg_doc_unref(doc);
}
