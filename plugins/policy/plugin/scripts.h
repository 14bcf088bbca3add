#ifndef POLICY_SCRIPTS_H
#define POLICY_SCRIPTS_H
/* The plugin `policy`: named scripts, each with its last good version in force. Lane thread. */
#include "kube/json.h"
#include "kube/schema.h"
#include "policy/policy.h"

typedef enum { FN_VALIDATE, FN_MUTATE, FN_FILTER, FN_SCORE, FN_RECONCILE, FN_COUNT } function_t;
extern const char *const function_names[FN_COUNT];

typedef struct script {
  struct script *next; /* by name */
  char *name, *source;
  policy_t *policy;
  int fn[FN_COUNT];
  int asked; /* function that policy.call used last, and its name */
  char asked_name[64];
  kg_doc_t *match;    /* NULL: everything */
  bool lenient, kept; /* on_error = "allow"; survives a restart */
  int64_t version;    /* how many different texts there were under this name, this one included */
  char digest[9];     /* of the text */
  uint64_t calls, errors;
  char last_error[300], stale[400]; /* why a newer version is not in force */
} script_t;

typedef struct plugin {
  script_t *scripts;
  char offline[256]; /* only for `policy test`: the socket where no server answers; "": there is one */
  policy_options_t options;
} plugin_t;

/* scripts.c */
script_t *script_named(plugin_t *pl, kg_str_t name);
/* Compiles, checks, tries on a sample, and only then puts it in force; else the last good one stays and knows it is
 * stale. NULL and a sentence. `keep`: it is written to the data directory. */
script_t *script_load(kg_ctx_t *ctx, plugin_t *pl, const char *name, kg_str_t source, bool keep, bool *replaced,
                      kg_error_t *err);
int script_unload(kg_ctx_t *ctx, plugin_t *pl, kg_str_t name, kg_error_t *err);
void script_free(script_t *s);
/* A script that is not in the list, for a test. */
script_t *script_make(plugin_t *pl, const char *name, kg_str_t source, kg_error_t *err);
/* Calls and counts. */
int script_call(script_t *s, int fn, const policy_arg_t *args, size_t n, policy_result_t *out, kg_error_t *err);
kg_doc_t *script_doc(const script_t *s, bool replaced); /* the answer of policy.load; caller owns the reference */
kg_doc_t *scripts_doc(const plugin_t *pl);              /* the answer of policy.list; caller owns the reference */
void scripts_read_kept(kg_ctx_t *ctx, plugin_t *pl);
char *read_text(const char *path, size_t most, size_t *size, kg_error_t *err); /* caller frees */

/* admit.c */
typedef struct admission {
  kg_str_t operation, group, version, resource, sub, ns, name;
  kg_view_t user, object, old;
} admission_t;
admission_t admission_of(kg_view_t args, kg_view_t object, kg_view_t old);
bool script_wants(const script_t *s, const admission_t *a);
/* 0: *out is the changed object (owned by the caller) or NULL; -1: the script failed. */
int script_mutate(script_t *s, const admission_t *a, kg_doc_t **out, kg_error_t *err);
/* 0: allowed; 1: denied with err's code and sentence; -1: the script failed. */
int script_validate(script_t *s, const admission_t *a, kg_error_t *err);
void on_admit(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_wanted(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

/* sample.c: what a new script is tried with */
int script_try(plugin_t *pl, script_t *s, kg_error_t *err);
/* reconcile.c: objects of a file for a controller's get() and list(): those of its list `objects` */
enum { STOCK_NAMES = 16 };
typedef struct stock {
  kg_view_t input;
  char names[STOCK_NAMES][200]; /* of collections */
  int n;
  policy_documents_t documents;
} stock_t;
void stock_open(stock_t *s, kg_view_t input); /* *s must stay where it is */
int script_reconcile(kg_ctx_t *ctx, script_t *s, kg_view_t input, policy_result_t *r, kg_error_t *err);

/* cli.c */
void on_cli(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_complete(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

#endif
