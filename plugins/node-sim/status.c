/* The status of a pretended pod. */
#include <stdio.h>

#include "sim.h"

static void time_pair(kg_pack_t *p, const char *key, int64_t us) {
  char text[32];
  kube_time_format(us, text);
  kg_pack_kv_str(p, key, text);
}

static void condition(kg_pack_t *k, const char *type, bool on, const char *reason, int64_t since_us) {
  kg_pack_map(k);
  kg_pack_kv_str(k, "type", type);
  kg_pack_kv_str(k, "status", on ? "True" : "False");
  if (reason) kg_pack_kv_str(k, "reason", reason);
  time_pair(k, "lastTransitionTime", since_us);
  kg_pack_end(k);
}

static bool is_over(const pod_t *p) {
  return p->state == P_ENDED;
}

static int64_t ready_since(const pod_t *p, bool ready) {
  const script_t *s = &p->script;
  if (ready) return p->started_us + s->ready_after * 1000;
  int64_t lost = p->started_us + s->unready_after * 1000;
  bool was_ready = p->state == P_RUNNING && s->ready_after >= 0 && s->unready_after > s->ready_after;
  if (was_ready && lost <= kg_wall_us(p->sim->ctx)) return lost;
  return p->finished_us ? p->finished_us : p->start_us;
}

static void conditions(kg_pack_t *k, const pod_t *p) {
  bool ready = pod_ready(p);
  const char *why = ready ? NULL : is_over(p) ? (p->code ? "PodFailed" : "PodCompleted") : "ContainersNotReady";
  int64_t since = ready_since(p, ready);
  kg_pack_key(k, "conditions");
  kg_pack_array(k);
  condition(k, "PodReadyToStartContainers", !is_over(p), NULL, is_over(p) ? p->finished_us : p->start_us);
  condition(k, "Initialized", true, is_over(p) && !p->code ? "PodCompleted" : NULL, p->start_us);
  condition(k, "Ready", ready, why, since);
  condition(k, "ContainersReady", ready, why, since);
  kg_pack_end(k);
}

static void terminated(kg_pack_t *k, const pod_t *p, int64_t begun_us) {
  kg_pack_key(k, "terminated");
  kg_pack_map(k);
  kg_pack_kv_int(k, "exitCode", p->code);
  if (p->unborn) {
    kg_pack_kv_str(k, "reason", "ContainerStatusUnknown");
    kg_pack_kv_str(k, "message", "The container could not be located when the pod was terminated");
    return kg_pack_end(k);
  }
  bool oom = p->script.oom && p->code == CODE_KILLED;
  kg_pack_kv_str(k, "reason", oom ? "OOMKilled" : p->code ? "Error" : "Completed");
  time_pair(k, "startedAt", begun_us);
  time_pair(k, "finishedAt", p->finished_us);
  kg_pack_end(k);
}

static void state(kg_pack_t *k, const pod_t *p) {
  kg_pack_key(k, "state");
  kg_pack_map(k);
  if (p->state == P_RUNNING) {
    kg_pack_key(k, "running");
    kg_pack_map(k);
    time_pair(k, "startedAt", p->started_us);
    kg_pack_end(k);
  } else if (p->state == P_WAITING || p->state == P_PULLING) {
    kg_pack_key(k, "waiting");
    kg_pack_map(k);
    kg_pack_kv_str(k, "reason", p->state == P_WAITING ? "CrashLoopBackOff" : "ImagePullBackOff");
    if (p->state == P_PULLING) kg_pack_kv_str(k, "message", p->script.pull_error);
    kg_pack_end(k);
  } else
    terminated(k, p, p->started_us);
  kg_pack_end(k);
  if (!p->was_ended || is_over(p)) return;
  kg_pack_key(k, "lastState");
  kg_pack_map(k);
  terminated(k, p, p->finished_us - p->script.run_time * 1000);
  kg_pack_end(k);
}

static void containers(kg_pack_t *k, const pod_t *p, kg_view_t list) {
  kg_pack_key(k, "containerStatuses");
  kg_pack_array(k);
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    kg_str_t name = kg_view_str(kg_view_get(it.value, "name"));
    kg_pack_map(k);
    kg_pack_kv_strn(k, "name", name);
    kg_pack_kv_view(k, "image", kg_view_get(it.value, "image"));
    kg_pack_kv_str(k, "imageID", "");
    kg_pack_key(k, "containerID");
    kg_pack_fmt(k, "sim://%s-" KG_STR_FMT "-%lld", p->uid, KG_STR_ARG(name), (long long)p->restarts);
    kg_pack_kv_bool(k, "ready", pod_ready(p));
    kg_pack_kv_bool(k, "started", p->state == P_RUNNING);
    kg_pack_kv_int(k, "restartCount", p->restarts);
    state(k, p);
    kg_pack_end(k);
  }
  kg_pack_end(k);
}

static void addresses(kg_pack_t *k, const char *one, const char *many, const char *ip) {
  kg_pack_kv_str(k, one, ip);
  kg_pack_key(k, many);
  kg_pack_array(k);
  kg_pack_map(k);
  kg_pack_kv_str(k, "ip", ip);
  kg_pack_end(k);
  kg_pack_end(k);
}

kg_doc_t *pod_patch(const pod_t *p) {
  kg_view_t object = pod_object(p);
  char ip[20], host[20];
  if (!kg_view_there(object)) return NULL;
  kg_pack_t k = kg_pack();
  node_address(p->node, host);
  snprintf(ip, sizeof ip, "%u.%u.%u.%u", p->ip >> 24, p->ip >> 16 & 255, p->ip >> 8 & 255, p->ip & 255);
  kg_pack_map(&k);
  kg_pack_key(&k, "status");
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "phase",
                 p->state == P_PULLING ? "Pending"
                 : !is_over(p)         ? "Running"
                 : p->code             ? "Failed"
                                       : "Succeeded");
  time_pair(&k, "startTime", p->start_us);
  conditions(&k, p);
  addresses(&k, "hostIP", "hostIPs", host);
  if (p->ip) addresses(&k, "podIP", "podIPs", ip);
  containers(&k, p, kg_view_path(object, "spec", "containers", NULL));
  kg_pack_end(&k);
  kg_pack_end(&k);
  return kg_pack_doc(&k);
}
