/* Cells of pods and nodes, in the words kubectl's users know. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"
#include "table_cell.h"

/* What the containers of a pod add up to. */
typedef struct pod_state {
  int64_t restarts, ready, total;
  kg_str_t last_restart; /* RFC 3339 in UTC: compares as text */
  char reason[256];
} pod_state_t;

static void say(pod_state_t *s, kg_str_t text) {
  snprintf(s->reason, sizeof s->reason, KG_STR_FMT, KG_STR_ARG(text));
}

static void add_restarts(pod_state_t *s, kg_view_t status) {
  s->restarts += kg_view_int(kg_view_get(status, "restartCount"), 0);
  kg_str_t finished = kube_view_text(status, "lastState.terminated.finishedAt");
  if (kg_str_cmp(finished, s->last_restart) > 0) s->last_restart = finished;
}

/* A sidecar: an init container that is restarted. */
static bool restartable(kg_view_t pod, kg_str_t name) {
  kg_view_t init = kube_list_find(kube_view_in(pod, "spec.initContainers"), "name", name);
  return kg_str_is(kube_view_text(init, "restartPolicy"), "Always");
}

static void say_terminated(pod_state_t *s, const char *prefix, kg_view_t terminated) {
  kg_str_t reason = kube_view_text(terminated, "reason");
  int64_t signal = kg_view_int(kg_view_get(terminated, "signal"), 0);
  if (reason.n) {
    snprintf(s->reason, sizeof s->reason, "%s" KG_STR_FMT, prefix, KG_STR_ARG(reason));
  } else if (signal) {
    snprintf(s->reason, sizeof s->reason, "%sSignal:%lld", prefix, (long long)signal);
  } else {
    snprintf(s->reason, sizeof s->reason, "%sExitCode:%lld", prefix,
             (long long)kg_view_int(kg_view_get(terminated, "exitCode"), 0));
  }
}

/* true: this init container is what the pod waits for, and s->reason says how. */
static bool init_blocks(pod_state_t *s, kg_view_t pod, kg_view_t status, size_t index) {
  kg_view_t terminated = kube_view_in(status, "state.terminated");
  kg_str_t waiting = kube_view_text(status, "state.waiting.reason");
  if (kg_view_there(terminated) && kg_view_int(kg_view_get(terminated, "exitCode"), 0) == 0) return false;
  if (restartable(pod, kube_view_text(status, "name")) && kg_view_bool(kg_view_get(status, "started"), false)) {
    if (kg_view_bool(kg_view_get(status, "ready"), false)) s->ready++;
    return false;
  }
  if (kg_view_there(terminated)) {
    say_terminated(s, "Init:", terminated);
  } else if (waiting.n && !kg_str_is(waiting, "PodInitializing")) {
    snprintf(s->reason, sizeof s->reason, "Init:" KG_STR_FMT, KG_STR_ARG(waiting));
  } else {
    snprintf(s->reason, sizeof s->reason, "Init:%zu/%zu", index,
             kg_view_count(kube_view_in(pod, "spec.initContainers")));
  }
  return true;
}

static void add_containers(pod_state_t *s, kg_view_t pod) {
  kg_view_t list = kube_view_in(pod, "status.containerStatuses");
  bool running = false, told = false;
  /* The first container that has something to say wins. */
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    kg_view_t status = it.value, terminated = kube_view_in(status, "state.terminated");
    kg_str_t waiting = kube_view_text(status, "state.waiting.reason");
    add_restarts(s, status);
    if (waiting.n) {
      if (!told) say(s, waiting);
      told = true;
    } else if (kg_view_there(terminated)) {
      if (!told) say_terminated(s, "", terminated);
      told = true;
    } else if (kg_view_bool(kg_view_get(status, "ready"), false) &&
               kg_view_there(kube_view_in(status, "state.running"))) {
      running = true;
      s->ready++;
    }
  }
  if (running && strcmp(s->reason, "Completed") == 0)
    say(s, kube_condition_holds(pod, "Ready") ? KG_STR("Running") : KG_STR("NotReady"));
}

static void say_phase(pod_state_t *s, kg_view_t pod) {
  kg_str_t reason = kube_view_text(pod, "status.reason");
  say(s, reason.n ? reason : kube_view_text(pod, "status.phase"));
  kg_str_t scheduled = kube_view_text(kube_condition_of(pod, "PodScheduled"), "reason");
  if (kg_str_is(scheduled, "SchedulingGated")) say(s, scheduled);
}

static pod_state_t state_of(kg_view_t pod) {
  pod_state_t s = {.total = (int64_t)kg_view_count(kube_view_in(pod, "spec.containers"))};
  for (kg_iter_t it = kg_iter(kube_view_in(pod, "spec.initContainers")); kg_iter_next(&it);) {
    s.total += kg_str_is(kube_view_text(it.value, "restartPolicy"), "Always");
  }
  say_phase(&s, pod);
  bool blocked = false;
  size_t index = 0;
  pod_state_t sidecars = {0};
  for (kg_iter_t it = kg_iter(kube_view_in(pod, "status.initContainerStatuses")); kg_iter_next(&it) && !blocked;
       index++) {
    add_restarts(&s, it.value);
    if (restartable(pod, kube_view_text(it.value, "name"))) add_restarts(&sidecars, it.value);
    blocked = init_blocks(&s, pod, it.value, index);
  }
  if (!blocked || kube_condition_holds(pod, "Initialized")) {
    s.restarts = sidecars.restarts;
    s.last_restart = sidecars.last_restart;
    add_containers(&s, pod);
  }
  if (kube_deleting(pod)) {
    kg_str_t phase = kube_view_text(pod, "status.phase");
    if (kg_str_is(kube_view_text(pod, "status.reason"), "NodeLost")) {
      say(&s, KG_STR("Unknown"));
    } else if (!kg_str_is(phase, "Failed") && !kg_str_is(phase, "Succeeded")) {
      say(&s, KG_STR("Terminating"));
    }
  }
  return s;
}

static void pod_ready(const kube_cell_t *c) {
  pod_state_t s = state_of(c->o);
  kg_pack_fmt(c->p, "%lld/%lld", (long long)s.ready, (long long)s.total);
}
static void pod_status(const kube_cell_t *c) {
  pod_state_t s = state_of(c->o);
  kg_pack_str(c->p, s.reason);
}
static void pod_restarts(const kube_cell_t *c) {
  pod_state_t s = state_of(c->o);
  if (s.restarts == 0 || !s.last_restart.n) {
    kg_pack_fmt(c->p, "%lld", (long long)s.restarts);
    return;
  }
  char ago[32];
  kube_since_text(ago, s.last_restart, c->now);
  kg_pack_fmt(c->p, "%lld (%s ago)", (long long)s.restarts, ago);
}
static void pod_ip(const kube_cell_t *c) {
  kg_str_t ip = kube_view_text(kg_view_at(kube_view_in(c->o, "status.podIPs"), 0), "ip");
  kube_cell_str(c, ip.n ? ip : kube_view_text(c->o, "status.podIP"), "<none>");
}
static void pod_gates(const kube_cell_t *c) {
  kg_view_t gates = kube_view_in(c->o, "spec.readinessGates");
  long held = 0;
  for (kg_iter_t it = kg_iter(gates); kg_iter_next(&it);) {
    char type[317];
    snprintf(type, sizeof type, KG_STR_FMT, KG_STR_ARG(kube_view_text(it.value, "conditionType")));
    held += kube_condition_holds(c->o, type);
  }
  if (kg_view_count(gates)) {
    kg_pack_fmt(c->p, "%ld/%zu", held, kg_view_count(gates));
  } else {
    kg_pack_str(c->p, "<none>");
  }
}

/* --- nodes
 * ------------------------------------------------------------------------------------------------------------------ */

static void node_status(const kube_cell_t *c) {
  kg_str_t ready = kube_view_text(kube_condition_of(c->o, "Ready"), "status");
  const char *word = !ready.n ? "Unknown" : kg_str_is(ready, "True") ? "Ready" : "NotReady";
  kg_pack_fmt(c->p, "%s%s", word,
              kg_view_bool(kube_view_in(c->o, "spec.unschedulable"), false) ? ",SchedulingDisabled" : "");
}

static int by_text(const void *a, const void *b) {
  return kg_str_cmp(*(const kg_str_t *)a, *(const kg_str_t *)b);
}

static void node_roles(const kube_cell_t *c) {
  enum { MOST = 32 };
  static const char prefix[] = "node-role.kubernetes.io/";
  kg_str_t roles[MOST];
  size_t n = 0;
  for (kg_iter_t it = kg_iter(kube_labels(c->o)); n < MOST && kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key), value = kg_view_str(it.value);
    size_t skip = sizeof prefix - 1;
    if (key.n > skip && memcmp(key.p, prefix, skip) == 0) {
      roles[n++] = (kg_str_t){key.p + skip, key.n - skip};
    } else if (kg_str_is(key, "kubernetes.io/role") && value.n) {
      roles[n++] = value;
    }
  }
  qsort(roles, n, sizeof *roles, by_text);
  kube_buf_t b = {0};
  for (size_t i = 0; i < n; i++) {
    if (i && kg_str_eq(roles[i], roles[i - 1])) continue;
    if (i) kube_buf_addz(&b, ",");
    kube_buf_str(&b, roles[i]);
  }
  kube_cell_take(c, &b, "<none>");
}

static void node_address(const kube_cell_t *c, const char *type) {
  for (kg_iter_t it = kg_iter(kube_view_in(c->o, "status.addresses")); kg_iter_next(&it);) {
    if (kg_str_is(kube_view_text(it.value, "type"), type)) {
      kube_cell_str(c, kube_view_text(it.value, "address"), "<none>");
      return;
    }
  }
  kg_pack_str(c->p, "<none>");
}
static void node_internal_ip(const kube_cell_t *c) {
  node_address(c, "InternalIP");
}
static void node_external_ip(const kube_cell_t *c) {
  node_address(c, "ExternalIP");
}

const kube_cell_fn_t kube_cells_pod[] = {
    {"pod_ready", pod_ready},
    {"pod_status", pod_status},
    {"pod_restarts", pod_restarts},
    {"pod_ip", pod_ip},
    {"pod_gates", pod_gates},
    {"node_status", node_status},
    {"node_roles", node_roles},
    {"node_internal_ip", node_internal_ip},
    {"node_external_ip", node_external_ip},
    {0},
};
