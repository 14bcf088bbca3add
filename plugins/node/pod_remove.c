/* The last of a pod: whatever the runtime has of it goes, then its files, then what we know of it. */
#include <stdio.h>

#include "node.h"

enum { TIMEOUT_MS = 120 * 1000, RETRY_MS = 2000, ORPHAN_GRACE_MS = 1000 };

static void step(pod_t *p);

/* One more call of the removal; the last answer leads on. */
static void ask(pod_t *p, const char *topic, kg_doc_t *args, op_fn fn) {
  p->removing++;
  pod_call(p, NULL, topic, args, TIMEOUT_MS, fn);
}

static void answered(pod_t *p, const kg_msg_t *m) {
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    p->remove_failed = true;
    kg_log(p->agent->ctx, KG_LOG_WARN, "what is left of pod %s/%s could not be removed: %s", p->ns, p->name,
           kg_msg_text(m));
  }
  if (--p->removing == 0) step(p);
}

static void call_answered(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)b;
  answered(p, m);
}

static bool ours(const pod_t *p, kg_view_t sandbox) {
  return kg_str_is(VIEW_STR(sandbox, "uid"), p->uid);
}

static bool in_ours(const pod_t *p, kg_view_t list, kg_view_t container) {
  for (kg_iter_t it = kg_iter(kg_view_get(list, "sandboxes")); kg_iter_next(&it);)
    if (kg_str_eq(VIEW_STR(it.value, "id"), VIEW_STR(container, "sandbox"))) return ours(p, it.value);
  return false;
}

static void end_container(pod_t *p, kg_str_t id) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_strn(&k, "id", id);
  kg_pack_kv_int(&k, "grace_ms", ORPHAN_GRACE_MS);
  kg_pack_end(&k);
  ask(p, "runtime.container.stop", kg_pack_doc(&k), call_answered);
}

static kg_doc_t *same_id(kg_str_t id) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_strn(&k, "id", id);
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}

/* What is there says what is next: running containers end, ended ones go, sandboxes stop, stopped ones go. */
static void work_off(pod_t *p, kg_view_t list) {
  for (kg_iter_t it = kg_iter(kg_view_get(list, "containers")); kg_iter_next(&it);) {
    if (!in_ours(p, list, it.value)) continue;
    kg_str_t id = VIEW_STR(it.value, "id");
    if (kg_str_is(VIEW_STR(it.value, "state"), "running"))
      end_container(p, id);
    else
      ask(p, "runtime.container.remove", same_id(id), call_answered);
  }
  if (p->removing > 1) return; /* this answer itself counts */
  for (kg_iter_t it = kg_iter(kg_view_get(list, "sandboxes")); kg_iter_next(&it);) {
    if (!ours(p, it.value)) continue;
    bool stopped = !kg_str_is(VIEW_STR(it.value, "state"), "ready");
    ask(p, stopped ? "runtime.sandbox.remove" : "runtime.sandbox.stop", same_id(VIEW_STR(it.value, "id")),
        call_answered);
  }
  if (p->removing == 1) p->sandbox = SB_REMOVED;
}

static void listed(pod_t *p, box_t *b, const kg_msg_t *m) {
  (void)b;
  if (kg_msg_type(m) == KG_MSG_REPLY) work_off(p, kg_msg_args(m));
  answered(p, m);
}

static void remove_files(const pod_t *p) {
  char dir[4096];
  pod_dir(p, dir, sizeof dir);
  kube_remove_tree(dir);
  pod_logs_remove(p);
}

static void step(pod_t *p) {
  if (p->remove_failed) {
    p->remove_failed = false;
    p->sandbox = SB_STOPPED;
    p->sandbox_retry_ms = kg_now_ms(p->agent->ctx) + RETRY_MS;
    return pod_wake(p, p->sandbox_retry_ms);
  }
  if (p->sandbox != SB_REMOVED) return ask(p, "runtime.list", NULL, listed);
  volumes_remove(p);
  remove_files(p);
  pod_free(p);
}

void pod_remove(pod_t *p) {
  if (p->removing || p->sandbox_retry_ms > kg_now_ms(p->agent->ctx)) return;
  p->sandbox = SB_REMOVING;
  step(p);
}
