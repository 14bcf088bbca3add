#ifndef SCHEDULER_LUA_H
#define SCHEDULER_LUA_H
/* A scheduler whose filter and score are a script. It is asked once per class of pods and group of nodes. */
#include "policy/policy.h"
#include "scheduler.h"

/* What the script said about pods of one class on nodes of one group in one state. */
typedef struct verdict {
  uint64_t key; /* 0: empty */
  float score;
  int16_t reason; /* -1: fits, else index into reasons */
} verdict_t;

enum { VERDICTS = 1 << 14, REASONS = 64 };

typedef struct node_class {
  kg_doc_t *doc; /* the state of the node that was hashed */
  uint64_t hash;
} node_class_t;

typedef struct lua {
  policy_t *policy;
  int filter, score;
  bool per_node; /* the script wants to be asked for every node by itself */
  verdict_t *verdicts;
  size_t used;
  char *reasons[REASONS];
  size_t nreasons;
  node_class_t *nodes;
  size_t nnodes;
  kg_doc_t *pod; /* whose class this is */
  uint64_t pod_class;
  uint64_t asked, remembered, errors;
} lua_t;

/* script.c: puts the script of the configuration in force, or leaves the old one and says why. */
int script_configure(kg_ctx_t *ctx, lua_t *l, kg_view_t config, kg_error_t *err);
/* Asks the script; fills score and reason. */
void script_ask(kg_ctx_t *ctx, lua_t *l, const sched_pod_t *pod, const sched_node_t *node, verdict_t *v);
void script_free(lua_t *l);

/* classes.c */
verdict_t *classes_verdict(kg_ctx_t *ctx, lua_t *l, const sched_t *s, const sched_pod_t *pod, uint32_t node);
void classes_forget(lua_t *l); /* another script: nothing said before holds */
void classes_free(lua_t *l);
int16_t classes_reason(lua_t *l, kg_str_t text);

#endif
