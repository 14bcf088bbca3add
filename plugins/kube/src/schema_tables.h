#ifndef KUBE_SCHEMA_TABLES_H
#define KUBE_SCHEMA_TABLES_H
/* What schema/generate.lua writes, and what the files of this library that work on it share. */
#include "kube/schema.h"

extern const kube_type_t kube_types[]; /* in order of name */
extern const size_t kube_type_count;
extern const kube_resource_t kube_resources[];
extern const size_t kube_resource_count;

/* One line of schema/defaults.txt. */
typedef struct kube_default_rule {
  unsigned type;         /* index in kube_types; the table is in this order */
  const char *field;     /* NULL at the end of the table */
  const char *value;     /* JSON text, "call:NAME" or "same:FIELD" */
  const char *condition; /* or NULL */
} kube_default_rule_t;
extern const kube_default_rule_t kube_default_rules[];
extern const size_t kube_default_rule_count;

/* One line of schema/validate.txt. */
typedef struct kube_check_rule {
  unsigned type;     /* index in kube_types; the table is in this order */
  const char *field; /* NULL at the end of the table; "-": the struct itself */
  const char *check, *args;
  const char *as;        /* how errors call the field; NULL: by its name */
  const char *condition; /* or NULL */
} kube_check_rule_t;
extern const kube_check_rule_t kube_check_rules[];
extern const size_t kube_check_rule_count;

#endif
