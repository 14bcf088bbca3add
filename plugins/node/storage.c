/*
 * Limits of what pods take on disk: sizeLimit of emptyDir volumes, ephemeral-storage of containers. Who takes more is
 * evicted. Looked at only while there are pods with such limits (localStorageMonitorInterval, 10s).
 */
#include <stdio.h>

#include "node.h"

enum { PATH_SIZE = 4096, MI = 1 << 20 };

static int64_t bytes_of(kg_view_t quantity) {
  int64_t n;
  kg_str_t s = kg_view_str(quantity);
  return s.n && !kube_quantity_value(s, &n) && n > 0 ? n : 0;
}

static int64_t limit_of(kg_view_t container) {
  return bytes_of(kg_view_path(container, "resources", "limits", "ephemeral-storage", NULL));
}

static bool on_disk(kg_view_t volume) {
  kg_view_t empty = kg_view_get(volume, "emptyDir");
  return kg_view_type(empty) == KG_V_MAP && !kg_view_str(kg_view_get(empty, "medium")).n;
}

/* Whether anything of the pod has a limit; *total: that of all its containers, 0 if one of them has none. */
static bool has_limits(const pod_t *p, int64_t *total) {
  bool any = false, all = true;
  *total = 0;
  for (kg_iter_t it = kg_iter(kg_view_get(pod_spec(p), "volumes")); kg_iter_next(&it);)
    any |= on_disk(it.value) && bytes_of(kg_view_path(it.value, "emptyDir", "sizeLimit", NULL)) > 0;
  for (kg_iter_t it = kg_iter(kg_view_get(pod_spec(p), "containers")); kg_iter_next(&it);) {
    int64_t own = limit_of(it.value);
    any |= own > 0;
    all &= own > 0;
    *total += own;
  }
  if (!all) *total = 0;
  return any;
}

static bool is_watched(const pod_t *p) {
  int64_t total;
  return p->doc && p->volumes == 1 && !pod_ending(p) && has_limits(p, &total);
}

/* --- the verdict ---------------------------------------------------------------------------------------------------
 */

static void evict(pod_t *p, char *message) {
  if (!message) return;
  p->fail_reason = "Evicted";
  set_str(&p->fail_message, message);
  pod_event(p, "Warning", "Evicted", "%s", message);
  pod_kick(p);
}

static int64_t taken(kg_view_t answer, const char *kind, const char *key) {
  return kg_view_int(kg_view_path(answer, kind, key, NULL), 0);
}

static void judge(pod_t *p, kg_view_t answer) {
  char path[PATH_SIZE], log[PATH_SIZE];
  int64_t total, all = 0;
  if (!is_watched(p) || !has_limits(p, &total)) return;
  for (kg_iter_t it = kg_iter(kg_view_get(pod_spec(p), "volumes")); kg_iter_next(&it);) {
    if (!on_disk(it.value) || !volume_path(p, it.value, path, sizeof path)) continue;
    kg_str_t most = kg_view_str(kg_view_path(it.value, "emptyDir", "sizeLimit", NULL));
    int64_t n = taken(answer, "paths", path), limit = bytes_of(kg_view_path(it.value, "emptyDir", "sizeLimit", NULL));
    all += n;
    if (limit && n > limit)
      return evict(p, format("Usage of EmptyDir volume \"" KG_STR_FMT "\" exceeds the limit \"" KG_STR_FMT "\". ",
                             KG_STR_ARG(VIEW_STR(it.value, "name")), KG_STR_ARG(most)));
  }
  for (size_t i = 0; i < p->nboxes; i++) {
    const box_t *b = p->boxes[i];
    box_log_path(b, 0, log, sizeof log);
    *strrchr(log, '/') = 0; /* all of its logs */
    int64_t n = (b->id ? taken(answer, "containers", b->id) : 0) + taken(answer, "paths", log);
    kg_view_t spec = box_spec(b);
    all += n;
    if (limit_of(spec) && n > limit_of(spec))
      return evict(p, format("Container %s exceeded its local ephemeral storage limit \"" KG_STR_FMT "\". ", b->name,
                             KG_STR_ARG(VIEW_STR(spec, "resources", "limits", "ephemeral-storage"))));
  }
  if (total && all > total)
    evict(p, format(total % MI ? "Pod ephemeral local storage usage exceeds the total limit of containers %lld. "
                               : "Pod ephemeral local storage usage exceeds the total limit of containers %lldMi. ",
                    (long long)(total % MI ? total : total / MI)));
}

static void counted(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  if (kg_msg_type(m) != KG_MSG_REPLY) return;
  for (pod_t *p = a->list; p; p = p->next) judge(p, kg_msg_args(m));
}

/* --- the question --------------------------------------------------------------------------------------------------
 */

static void pack_paths(const pod_t *p, kg_pack_t *k) {
  char path[PATH_SIZE];
  for (kg_iter_t it = kg_iter(kg_view_get(pod_spec(p), "volumes")); kg_iter_next(&it);)
    if (on_disk(it.value) && volume_path(p, it.value, path, sizeof path)) kg_pack_str(k, path);
  for (size_t i = 0; i < p->nboxes; i++) {
    box_log_path(p->boxes[i], 0, path, sizeof path);
    *strrchr(path, '/') = 0;
    kg_pack_str(k, path);
  }
}

static void ask(agent_t *a) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_key(&k, "paths");
  kg_pack_array(&k);
  for (const pod_t *p = a->list; p; p = p->next)
    if (is_watched(p)) pack_paths(p, &k);
  kg_pack_end(&k);
  kg_pack_key(&k, "containers");
  kg_pack_array(&k);
  for (const pod_t *p = a->list; p; p = p->next)
    for (size_t i = 0; is_watched(p) && i < p->nboxes; i++)
      if (p->boxes[i]->id) kg_pack_str(&k, p->boxes[i]->id);
  kg_pack_end(&k);
  kg_pack_end(&k);
  agent_call(a, a->runtime, "runtime.disk", kg_pack_doc(&k), counted);
}

static void on_look(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  bool any = false;
  a->storage_timer = 0;
  for (const pod_t *p = a->list; p; p = p->next) any |= is_watched(p);
  if (!any) return;
  ask(a);
  storage_soon(a);
}

void storage_soon(agent_t *a) {
  if (!a->storage_timer)
    a->storage_timer = kg_timer(a->ctx, config_ms(a, "localStorageMonitorInterval", 10000), 0, on_look, NULL);
}
