#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H
/*
 * Lua 5.4 in a sandbox, for plugins whose decisions are scripts (plugins/contracts/policy.md says what a script sees).
 * A policy is one script in a Lua state of its own. Everything about one policy happens in one thread.
 */
#include "kogge/plugin.h"

typedef struct policy policy_t;

/* Documents that get() and list() show to the script, from collections whose names it knows. The views must stay for
 * the call. */
typedef struct policy_documents {
  int (*find)(void *arg, kg_str_t collection);                                  /* -1: there is none */
  kg_view_t (*get)(void *arg, int collection, kg_str_t ns, kg_str_t name);      /* absent: it is not there */
  bool (*at)(void *arg, int collection, kg_str_t ns, size_t i, kg_view_t *out); /* ns "": all; false: past the end */
  void *arg;
} policy_documents_t;

typedef struct policy_options {
  size_t memory;   /* bytes the state may hold; 0: 8 MiB */
  int64_t time_us; /* processor time of one call; 0: 20,000. Noticed with a precision of a quarter */
  uint64_t seed;   /* of math.random */
  void (*log)(void *arg, const char *text); /* print() and log(); NULL: nowhere */
  void *log_arg;
  const policy_documents_t *documents; /* NULL: there is no get() and no list(); must outlive the policy */
} policy_options_t;

#define POLICY_MAX_SOURCE (256u << 10)

/* The script that a configuration names: the text `source`, or the file `script`. Caller frees; NULL and why. */
char *policy_configured(kg_view_t config, char name[256], size_t *size, kg_error_t *err);

/* Compiles the script and runs its top level once. The caller owns the policy. NULL and a sentence with the line. */
KG_NODISCARD policy_t *policy_new(const char *name, kg_str_t source, const policy_options_t *o, kg_error_t *err);
void policy_free(policy_t *p); /* NULL is allowed */

/* Number of the global function `name` for policy_call(); 0: there is none. Stays the same while the policy lives. */
int policy_function(policy_t *p, const char *name);
/* The global variable `name` as a document (caller owns the reference; NULL there if it is nil). */
int policy_global(policy_t *p, const char *name, kg_doc_t **out, kg_error_t *err);

typedef struct policy_arg {
  enum { POLICY_NIL, POLICY_BOOL, POLICY_INT, POLICY_NUMBER, POLICY_STR, POLICY_VIEW } type;
  const char *key; /* set: a field of one table, together with its neighbours that have a key; NULL: an argument */
  union {
    bool b;
    int64_t i;
    double n;
    kg_str_t s;
    kg_view_t v; /* borrowed for the call; scalars become values */
  };
} policy_arg_t;

#define POLICY_ARG_INT(x) ((policy_arg_t){.type = POLICY_INT, .i = (x)})
#define POLICY_ARG_NUMBER(x) ((policy_arg_t){.type = POLICY_NUMBER, .n = (x)})
#define POLICY_ARG_VIEW(x) ((policy_arg_t){.type = POLICY_VIEW, .v = (x)})
#define POLICY_FIELD_STR(k, x) ((policy_arg_t){.type = POLICY_STR, .key = (k), .s = (x)})
#define POLICY_FIELD_INT(k, x) ((policy_arg_t){.type = POLICY_INT, .key = (k), .i = (x)})
#define POLICY_FIELD_NUMBER(k, x) ((policy_arg_t){.type = POLICY_NUMBER, .key = (k), .n = (x)})
#define POLICY_FIELD_VIEW(k, x) ((policy_arg_t){.type = POLICY_VIEW, .key = (k), .v = (x)})

typedef struct policy_result {
  kg_vtype_t type; /* of the first result: NIL, BOOL, INT, FLOAT, STR, ARRAY, MAP */
  bool truth;      /* neither nil nor false */
  double number;   /* INT and FLOAT */
  kg_doc_t *doc;   /* STR, ARRAY, MAP: owned by the caller */
  kg_doc_t *extra; /* the second result, if there is one that is not nil: owned by the caller */
} policy_result_t;

/* Calls function `fn`. -1 and a sentence if the script fails or exceeds what it may use; nothing is in *out then. */
int policy_call(policy_t *p, int fn, const policy_arg_t *args, size_t n, policy_result_t *out, kg_error_t *err);
static inline void policy_result_clear(policy_result_t *r) {
  kg_doc_clear(&r->doc);
  kg_doc_clear(&r->extra);
}

/* A pod, a node and the numbers of a scheduler as {object, node, n}: what scripts are tried with. Caller owns it. */
kg_doc_t *policy_sample(kg_error_t *err);
/* The arguments of filter and score from a map {pod or object, node, n} or from a pod; what is missing from `sample`.
 */
size_t policy_scoring_args(kg_view_t input, kg_view_t sample, policy_arg_t args[3]);
/* Calls the functions (0: none) and checks what they give. */
int policy_try_scoring(policy_t *p, int filter, int score, kg_view_t input, kg_view_t sample, kg_error_t *err);

const char *policy_name(const policy_t *p);
size_t policy_memory(const policy_t *p); /* bytes held now */

#endif
