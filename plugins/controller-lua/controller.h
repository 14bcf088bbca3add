#ifndef CONTROLLER_LUA_H
#define CONTROLLER_LUA_H
/* A controller whose reconciliation is a script (plugins/contracts/policy.md). */
#include "control.h"
#include "policy/policy.h"

/* A script that has been read: not yet in force, or the one in force. */
typedef struct script {
  policy_t *policy;
  int reconcile, keys; /* keys 0: the script has no such function */
  kg_doc_t *watch;     /* where the strings of watches are */
  char *texts[CTL_INFORMERS * 4];
  size_t ntexts;
  ctl_watch_t watches[CTL_INFORMERS + 1];
} script_t;

typedef struct lua_controller {
  ctl_base_t base; /* first */
  ctl_spec_t spec; /* with the watches of the script */
  script_t script;
  const script_t *trying; /* while a new one is tried: it sees its collections empty */
  policy_documents_t documents;
  char manager[80];
  uint64_t errors, actions;
  char last_error[300];
} lua_controller_t;

/* script.c: compiles, checks and tries what the configuration names. 0 and *out (the caller frees it), or -1 and why.
 */
int script_read(kg_ctx_t *ctx, lua_controller_t *c, kg_view_t config, script_t *out, kg_error_t *err);
void script_free(script_t *s);
bool script_same_watches(const script_t *a, const script_t *b);
/* Adds the keys that a change of `object`, of another collection than the first, concerns. */
void script_keys(kg_ctx_t *ctx, lua_controller_t *c, kg_view_t object);
void script_failed(kg_ctx_t *ctx, lua_controller_t *c, const char *key, const kg_error_t *err);

/* actions.c: sends what the script wants. -1 and a sentence if it wants something that is not there; nothing of a list
 * is sent then. */
int actions_send(kg_ctx_t *ctx, lua_controller_t *c, ctl_sync_t *s, kg_view_t object, kg_view_t actions,
                 kg_error_t *err);

/* "group/version/resource" (core: "version/resource") of a watch. */
int gvr_read(kube_arena_t *a, kg_str_t text, kube_gvr_t *out, kg_error_t *err);

#endif
