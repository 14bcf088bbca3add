#ifndef KUBE_SCHEMA_TABLES_H
#define KUBE_SCHEMA_TABLES_H
/* What schema/generate.lua writes, and what the files of this library that work on it share. */
#include "kube/schema.h"

extern const kube_type_t kube_types[]; /* in order of name */
extern const size_t kube_type_count;
extern const kube_resource_t kube_resources[];
extern const size_t kube_resource_count;

/* A value of the tables. MAP: text is JSON. */
typedef struct kube_literal {
  kg_vtype_t type;
  int64_t number; /* INT, BOOL */
  const char *text;
} kube_literal_t;

/* "FIELD = VALUE", "FIELD absent"; a list of them ends with field NULL and holds if all of them do. */
typedef struct kube_clause {
  const char *field; /* a path, dots between */
  enum {
    KUBE_IF_PRESENT,
    KUBE_IF_ABSENT, /* or empty */
    KUBE_IF_THERE,
    KUBE_IF_GONE,
    KUBE_IF_EQUAL,
    KUBE_IF_DIFFERENT,
    KUBE_IF_LESS,
    KUBE_IF_MORE
  } op;
  kube_literal_t value;
} kube_clause_t;

/* One line of schema/defaults.txt; those of one type end with field NULL. */
typedef struct kube_default_rule {
  const char *field; /* a path; "-": the struct itself, with call */
  kube_literal_t value;
  const char *same; /* a copy of this path */
  void (*call)(kube_arena_t *a, kube_node_t *n);
  const kube_clause_t *when; /* or NULL */
} kube_default_rule_t;
extern const kube_default_rule_t kube_default_rules[];

/* Whether the conditions hold for the struct n (NULL: none, they do). */
bool kube_condition(const kube_node_t *n, const kube_clause_t *when);
/* A JSON value as the tables write it (no escapes). */
kube_node_t *kube_literal(kube_arena_t *a, const char *json);

#endif
