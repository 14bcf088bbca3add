/* The script: from the configuration into force, and the questions to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua.h"

/* Without a script of one's own: the least loaded node, as the scheduler `default`. */
static const char house_script[] = "function score(pod, node, n)\n"
                                   "  local function left(of, used) return of > used and (of - used) / of or 0 end\n"
                                   "  return left(n.cpu, n.cpu_used + n.pod_cpu) +\n"
                                   "         left(n.memory, n.memory_used + n.pod_memory)\n"
                                   "end\n";

static void log_line(void *ctx, const char *text) {
  kg_log(ctx, KG_LOG_INFO, "%s", text);
}

static bool read_flag(policy_t *p, const char *name) {
  kg_doc_t *doc = NULL;
  policy_global(p, name, &doc, NULL);
  kg_doc_unref(doc);
  return doc != NULL;
}

/* Compile, check, try; then replace. */
static int put(kg_ctx_t *ctx, lua_t *l, const char *name, kg_str_t source, kg_error_t *err) {
  policy_options_t o = {.seed = kg_random(ctx), .log = log_line, .log_arg = ctx};
  kg_doc_t *sample = policy_sample(err), *own = NULL;
  policy_t *p = sample ? policy_new(name, source, &o, err) : NULL;
  int filter = p ? policy_function(p, "filter") : 0, score = p ? policy_function(p, "score") : 0;
  int rc = p ? 0 : -1;
  if (p && !filter && !score) rc = kg_error_set(err, KG_EINVAL, "%s has neither filter nor score", name);
  if (rc == 0) rc = policy_global(p, "sample", &own, err);
  if (rc == 0) rc = policy_try_scoring(p, filter, score, kg_view_of(own ? own : sample), kg_view_of(sample), err);
  kg_doc_unref(own);
  kg_doc_unref(sample);
  if (rc < 0) {
    policy_free(p);
    return -1;
  }
  policy_free(l->policy);
  l->policy = p;
  l->filter = filter;
  l->score = score;
  l->per_node = read_flag(p, "per_node");
  classes_forget(l);
  return 0;
}

int script_configure(kg_ctx_t *ctx, lua_t *l, kg_view_t config, kg_error_t *err) {
  char name[256];
  size_t size;
  if (!kg_view_there(kg_view_get(config, "script")) && !kg_view_there(kg_view_get(config, "source")))
    return put(ctx, l, "default", KG_STR(house_script), err);
  char *text = policy_configured(config, name, &size, err);
  int rc = text ? put(ctx, l, name, (kg_str_t){text, size}, err) : -1;
  free(text);
  return rc;
}

void script_free(lua_t *l) {
  policy_free(l->policy);
}

/* --- questions ------------------------------------------------------------------------------------------------------
 */

static void failed(kg_ctx_t *ctx, lua_t *l, const kg_error_t *err, verdict_t *v) {
  char text[200];
  l->errors++;
  kg_log(ctx, KG_LOG_WARN, "the script failed: %s", err->text);
  snprintf(text, sizeof text, "node(s) on which the policy failed: %.150s", err->text);
  v->reason = classes_reason(l, kg_str(text));
}

void script_ask(kg_ctx_t *ctx, lua_t *l, const sched_pod_t *pod, const sched_node_t *node, verdict_t *v) {
  policy_arg_t args[] = {POLICY_ARG_VIEW(kg_view_of(pod->doc)),
                         POLICY_ARG_VIEW(kg_view_of(node->doc)),
                         POLICY_FIELD_INT("cpu", node->allocatable.of[SCHED_CPU]),
                         POLICY_FIELD_INT("memory", node->allocatable.of[SCHED_MEMORY]),
                         POLICY_FIELD_INT("cpu_used", node->scored_cpu),
                         POLICY_FIELD_INT("memory_used", node->scored_memory),
                         POLICY_FIELD_INT("pods", node->pods),
                         POLICY_FIELD_INT("max_pods", node->max_pods),
                         POLICY_FIELD_INT("pod_cpu", pod->scored_cpu),
                         POLICY_FIELD_INT("pod_memory", pod->scored_memory)};
  const size_t n = sizeof args / sizeof *args;
  policy_result_t r;
  kg_error_t err = {0};
  v->score = 0;
  v->reason = -1;
  if (l->filter) {
    if (policy_call(l->policy, l->filter, args, n, &r, &err) < 0) {
      failed(ctx, l, &err, v);
      return;
    }
    kg_str_t why = kg_view_str(kg_view_of(r.doc));
    if (!r.truth || r.type == KG_V_STR)
      v->reason = classes_reason(l, why.n ? why : KG_STR("node(s) refused by policy"));
    policy_result_clear(&r);
    if (v->reason >= 0) return;
  }
  if (!l->score) return;
  if (policy_call(l->policy, l->score, args, n, &r, &err) < 0) {
    failed(ctx, l, &err, v);
    return;
  }
  v->score = (float)r.number;
  policy_result_clear(&r);
}
