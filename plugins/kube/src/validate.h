#ifndef KUBE_VALIDATE_H
#define KUBE_VALIDATE_H
/* What the files of the validation share: where we are, how an error is told, and the forms of names. */
#include "schema_tables.h"

typedef struct kube_check {
  kube_arena_t *a;
  kube_node_t *causes;
  const kube_resource_t *r;
  const kube_node_t *root, *old_root; /* old_root NULL: a creation */
  char path[1024];
  size_t n; /* length of path */
} kube_check_t;

/* Appends ".name" or "[index]" to the path; kube_path_pop() with what it returned takes it away again. */
size_t kube_path_push(kube_check_t *c, const char *name);
size_t kube_path_index(kube_check_t *c, uint32_t index);
size_t kube_path_key(kube_check_t *c, kg_str_t key);
void kube_path_pop(kube_check_t *c, size_t n);

/* Errors at the path, followed by ".field" when field is not NULL. detail may be NULL where it is optional. */
void kube_required(kube_check_t *c, const char *field, const char *detail);
void kube_invalid(kube_check_t *c, const char *field, const kube_node_t *value, const char *detail);
void kube_invalid_str(kube_check_t *c, const char *field, kg_str_t value, const char *detail);
void kube_duplicate(kube_check_t *c, const char *field, const kube_node_t *value);
void kube_not_found(kube_check_t *c, const char *field, const kube_node_t *value);
void kube_forbidden(kube_check_t *c, const char *field, const char *detail);
/* values: blank-separated. */
void kube_unsupported(kube_check_t *c, const char *field, const kube_node_t *value, const char *values);
void kube_too_long(kube_check_t *c, const char *field, size_t most);

/* Forms of names: each calls back with every complaint, as Kubernetes' functions return lists of them. */
typedef void (*kube_complaint_fn)(void *arg, const char *sentence);
typedef void (*kube_form_fn)(kg_str_t s, kube_complaint_fn complain, void *arg);
kube_form_fn kube_form_find(kg_str_t name); /* "dns1123_label"...; NULL: none */
void kube_check_form(kube_check_t *c, const char *field, kg_str_t value, kube_form_fn form);
void kube_form_qualified(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_label_value(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_dns1123_label(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_dns1123_subdomain(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_dns1035_label(kg_str_t s, kube_complaint_fn complain, void *arg);

void kube_check_labels(kube_check_t *c, const char *field, const kube_node_t *labels);
void kube_check_annotations(kube_check_t *c, const char *field, const kube_node_t *annotations);
void kube_check_finalizers(kube_check_t *c, const char *field, const kube_node_t *list);
/* `metadata` of the object; name_form: what its name must look like. */
void kube_check_metadata(kube_check_t *c, kg_str_t name_form);

bool kube_node_empty(const kube_node_t *n);                                /* absent, null, "", 0, [] or {} */
const kube_node_t *kube_node_look(const kube_node_t *n, const char *path); /* "a.b" */

/* Runs the check `call:NAME` on a struct; old: the same struct before, or NULL. false: there is no such check. */
bool kube_check_call(kube_check_t *c, const char *name, const kube_node_t *n, const kube_node_t *old);

#endif
