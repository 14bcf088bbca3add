#ifndef KUBE_VALIDATE_H
#define KUBE_VALIDATE_H
/* What the files of the validation share: where we are, how an error is told, and the forms of names. */
#include "schema_tables.h"

typedef struct kube_check kube_check_t;
typedef struct kube_check_rule kube_check_rule_t;
typedef void (*kube_complaint_fn)(void *arg, const char *sentence);
/* Forms of names: each calls back with every complaint, as Kubernetes' functions return lists of them. */
typedef void (*kube_form_fn)(kg_str_t s, kube_complaint_fn complain, void *arg);
/* A check of the field v (NULL: absent; the whole struct where the rule's field is "-"), old its value before the
 * update or NULL. The path is at the struct, or at the element of a list where the rule says so. */
typedef void (*kube_rule_fn)(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old);

/* One line of schema/validate.txt; those of one type end with field NULL. */
struct kube_check_rule {
  const char *field; /* a path; "-": the struct itself */
  bool each;         /* every element of the list */
  bool names;        /* says something of the whole kind: the form of metadata.name, passes */
  bool kept;         /* compares with what was before: also after other complaints */
  bool fresh;        /* not in an update */
  bool late;         /* after what the struct contains */
  kube_rule_fn fn;
  kube_form_fn form;
  int64_t low, high;
  const char *text;          /* words, values, a key: as the check takes it */
  const char *as;            /* how errors call the field; NULL: by its name; "-": the struct */
  const kube_clause_t *when; /* or NULL */
};
extern const kube_check_rule_t kube_check_rules[];

struct kube_check {
  kube_arena_t *a;
  kube_node_t *causes;
  const kube_resource_t *r;
  const kube_node_t *root, *old_root; /* old_root NULL: a creation */
  const kube_node_t *self;            /* the struct whose rules run */
  const kube_type_t *type;            /* and its type */
  kube_node_t *volumes;               /* names of the pod's volumes, once a mount asked for them */
  char path[1024];
  size_t n; /* length of path */
  bool updating;
  bool status; /* the status is what is written, else all but the status */
};

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
/* The value has the wrong type; detail says which it should have. */
void kube_type_invalid(kube_check_t *c, const char *field, const kube_node_t *value, const char *detail);
/* An Invalid error of no field, as Kubernetes tells of numbers out of the range of their format. */
void kube_checked_invalid(kube_check_t *c, const char *detail);
void kube_unsupported_of(kube_check_t *c, const char *field, const kube_node_t *value, const kube_node_t *values);
/* For forms: counts complaints in an unsigned. */
void kube_count_complaint(void *arg, const char *sentence);
/* An error whose reason and message are made already. */
void kube_told(kube_check_t *c, const char *field, const char *reason, const char *message);
/* values: blank-separated. */
void kube_unsupported(kube_check_t *c, const char *field, const kube_node_t *value, const char *values);
void kube_too_long(kube_check_t *c, const char *field, size_t most);
void kube_too_many(kube_check_t *c, const char *field, size_t count, size_t most);

void kube_check_form(kube_check_t *c, const char *field, kg_str_t value, kube_form_fn form);
void kube_form_qualified_name(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_label_value(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_dns1123_label(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_dns1123_subdomain(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_search_domain(kg_str_t s, kube_complaint_fn complain, void *arg); /* a subdomain, with underscores */
void kube_form_dns1035_label(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_path_segment(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_env_name(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_config_key(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_ip(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_ipv4(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_cidr(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_port_name(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_percent(kg_str_t s, kube_complaint_fn complain, void *arg);
void kube_form_header_name(kg_str_t s, kube_complaint_fn complain, void *arg);

void kube_check_labels(kube_check_t *c, const char *field, const kube_node_t *labels);
void kube_check_annotations(kube_check_t *c, const char *field, const kube_node_t *annotations);
void kube_check_finalizers(kube_check_t *c, const char *field, const kube_node_t *list);
/* How often a kind checks what is the same for all kinds (`passes` in validate.txt). */
typedef struct kube_passes {
  int update, whole; /* of the metadata, in an update */
  int spec;          /* of the rest, in an update */
  int create;        /* of everything, in a creation */
  bool generic;      /* metadata as any object's: Kubernetes' own rules for finalizers do not count */
} kube_passes_t;
/* `metadata` of the object; name_form: what its name must look like. */
void kube_check_metadata(kube_check_t *c, kube_form_fn name_form, const kube_passes_t *passes);
/* Runs the rules of t and of what it contains on a new struct, at the path. */
void kube_check_struct(kube_check_t *c, const kube_type_t *t, const kube_node_t *n);
/* Whether `key` was noted in the map `seen` before; notes it. Comparing each with each would cost the square. */
bool kube_noted(kube_check_t *c, kube_node_t *seen, const char *key);
/* A value as errors show it: text in quotes, everything else as JSON. */
const char *kube_value_text(kube_check_t *c, const kube_node_t *v);
/* The elements of an array of strings: "a", "b" */
const char *kube_value_list(kube_check_t *c, const kube_node_t *list);

bool kube_node_empty(const kube_node_t *n);                                /* absent, null, "", 0, [] or {} */
const kube_node_t *kube_node_look(const kube_node_t *n, const char *path); /* "a.b" */

/* Marks of a kind: see schema/validate.txt. */
void kube_rule_passes(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old);
void kube_rule_generic(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old);
void kube_rule_guarded(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old);
void kube_rule_twice(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old);
void kube_rule_required_form(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old);

/* For the files that define what `call NAME` runs. */
#define KUBE_CALL(name)                                                                                                \
  void kube_call_##name(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old);    \
  void kube_call_##name(kube_check_t *c, const kube_check_rule_t *r, const kube_node_t *v, const kube_node_t *old)

/* Element i of a list, NULL: it is no list or ends before. */
static inline const kube_node_t *kube_at(const kube_node_t *list, uint32_t i) {
  return list && list->type == KG_V_ARRAY && i < list->c.n ? list->c.items[i] : NULL;
}
static inline kg_str_t kube_text(const kube_node_t *n, const char *key) {
  return kube_node_str(kube_get(n, key));
}
static inline bool kube_is(const kube_node_t *n, const char *key, const char *z) {
  return kg_str_is(kube_text(n, key), z);
}
static inline uint32_t kube_count(const kube_node_t *n) {
  return n && (n->type == KG_V_ARRAY || n->type == KG_V_MAP) ? n->c.n : 0;
}

#endif
