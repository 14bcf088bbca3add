/* Cells of workloads, storage and events. */
#include <stdio.h>
#include <string.h>

#include "kube/values.h"
#include "table_cell.h"

static void list_cell(const kube_cell_t *c, const char *path, const char *key) {
  kube_buf_t b = {0};
  kube_list_text(&b, kube_view_in(c->o, path), key);
  kube_cell_take(c, &b, "");
}
static void containers(const kube_cell_t *c) {
  list_cell(c, "spec.template.spec.containers", "name");
}
static void images(const kube_cell_t *c) {
  list_cell(c, "spec.template.spec.containers", "image");
}
static void template_containers(const kube_cell_t *c) {
  list_cell(c, "template.spec.containers", "name");
}
static void template_images(const kube_cell_t *c) {
  list_cell(c, "template.spec.containers", "image");
}
static void cronjob_containers(const kube_cell_t *c) {
  list_cell(c, "spec.jobTemplate.spec.template.spec.containers", "name");
}
static void cronjob_images(const kube_cell_t *c) {
  list_cell(c, "spec.jobTemplate.spec.template.spec.containers", "image");
}

static void labels_cell(const kube_cell_t *c, const char *path) {
  kube_buf_t b = {0};
  kube_labels_text(&b, kube_view_in(c->o, path));
  kube_cell_take(c, &b, "<none>");
}
static void map_selector(const kube_cell_t *c) {
  labels_cell(c, "spec.selector");
}
static void daemonset_nodes(const kube_cell_t *c) {
  labels_cell(c, "spec.template.spec.nodeSelector");
}
static void template_labels(const kube_cell_t *c) {
  labels_cell(c, "template.metadata.labels");
}

static void selector_cell(const kube_cell_t *c, const char *path) {
  kube_buf_t b = {0};

  kube_selector_text(&b, kube_view_in(c->o, path));
  kube_cell_take(c, &b, "<none>");
}
static void selector(const kube_cell_t *c) {
  selector_cell(c, "spec.selector");
}
static void cronjob_selector(const kube_cell_t *c) {
  selector_cell(c, "spec.jobTemplate.spec.selector");
}
static void netpol_selector(const kube_cell_t *c) {
  selector_cell(c, "spec.podSelector");
}

static void ready_of_replicas(const kube_cell_t *c) {
  kg_pack_fmt(c->p, "%lld/%lld", (long long)kg_view_int(kube_view_in(c->o, "status.readyReplicas"), 0),
              (long long)kg_view_int(kube_view_in(c->o, "spec.replicas"), 0));
}

static void data_count(const kube_cell_t *c) {
  kg_pack_int(c->p,
              (int64_t)(kg_view_count(kg_view_get(c->o, "data")) + kg_view_count(kg_view_get(c->o, "binaryData"))));
}

/* --- jobs
 * -------------------------------------------------------------------------------------------------------------------
 */

static void job_status(const kube_cell_t *c) {
  static const char *const words[][2] = {{"Complete", "Complete"},
                                         {"Failed", "Failed"},
                                         {NULL, "Terminating"},
                                         {"Suspended", "Suspended"},
                                         {"FailureTarget", "FailureTarget"},
                                         {"SuccessCriteriaMet", "SuccessCriteriaMet"}};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    bool holds = words[i][0] ? kg_str_is(kube_view_text(kube_condition_of(c->o, words[i][0]), "status"), "True")
                             : kube_deleting(c->o);
    if (holds) {
      kg_pack_str(c->p, words[i][1]);
      return;
    }
  }
  kg_pack_str(c->p, "Running");
}
static void job_completions(const kube_cell_t *c) {
  int64_t done = kg_view_int(kube_view_in(c->o, "status.succeeded"), 0),
          want = kg_view_int(kube_view_in(c->o, "spec.completions"), -1);
  int64_t parallel = kg_view_int(kube_view_in(c->o, "spec.parallelism"), 0);
  if (want >= 0) {
    kg_pack_fmt(c->p, "%lld/%lld", (long long)done, (long long)want);
  } else if (parallel > 1) {
    kg_pack_fmt(c->p, "%lld/1 of %lld", (long long)done, (long long)parallel);
  } else {
    kg_pack_fmt(c->p, "%lld/1", (long long)done);
  }
}
static void job_duration(const kube_cell_t *c) {
  int64_t start, end = c->now;
  kg_str_t completed = kube_view_text(c->o, "status.completionTime");
  if (kube_time_parse(kube_view_text(c->o, "status.startTime"), &start) != 0) {
    kg_pack_str(c->p, "");
    return;
  }
  if (completed.n && kube_time_parse(completed, &end) != 0) end = start;
  char text[32];
  kube_duration_text(text, (end - start) / 1000000);
  kg_pack_str(c->p, text);
}

/* --- storage
 * ------------------------------------------------------------------------------------------------------------------ */

static void phase_or_terminating(const kube_cell_t *c) {
  if (kube_deleting(c->o)) {
    kg_pack_str(c->p, "Terminating");
  } else {
    kube_cell_str(c, kube_view_text(c->o, "status.phase"), "");
  }
}
static void modes_cell(const kube_cell_t *c, kg_view_t list) {
  static const char *const names[][2] = {
      {"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
  kube_buf_t b = {0};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    bool found = false;
    for (kg_iter_t it = kg_iter(list); kg_iter_next(&it) && !found;)
      found = kg_str_is(kg_view_str(it.value), names[i][0]);
    if (!found) continue;
    if (b.n) kube_buf_addz(&b, ",");
    kube_buf_addz(&b, names[i][1]);
  }
  kube_cell_take(c, &b, "");
}
static void pv_modes(const kube_cell_t *c) {
  modes_cell(c, kube_view_in(c->o, "spec.accessModes"));
}
static void pvc_modes(const kube_cell_t *c) {
  bool bound = kube_view_text(c->o, "spec.volumeName").n > 0;
  modes_cell(c, bound ? kube_view_in(c->o, "status.accessModes") : (kg_view_t){0});
}
static void pv_claim(const kube_cell_t *c) {
  kg_view_t ref = kube_view_in(c->o, "spec.claimRef");
  if (kg_view_type(ref) != KG_V_MAP) {
    kg_pack_str(c->p, "");
    return;
  }
  kg_pack_fmt(c->p, KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(kube_view_text(ref, "namespace")),
              KG_STR_ARG(kube_view_text(ref, "name")));
}
static void storageclass_name(const kube_cell_t *c) {
  kg_str_t n = kube_name(c->o);
  bool is_default =
      kg_str_is(kg_view_str(kube_annotation(c->o, "storageclass.kubernetes.io/is-default-class")), "true");
  kg_pack_fmt(c->p, KG_STR_FMT "%s", KG_STR_ARG(n), is_default ? " (default)" : "");
}
static void csidriver_tokens(const kube_cell_t *c) {
  kube_buf_t b = {0};
  kube_list_text(&b, kube_view_in(c->o, "spec.tokenRequests"), "audience");
  kube_cell_take(c, &b, "<unset>");
}

/* "cpu: 1/2, memory: 0/1Gi" of what is limited in a quota; requests are all that do not start with "limits.". */
static void quota_cell(const kube_cell_t *c, bool limits) {
  kube_buf_t b = {0};
  kg_view_t used = kube_view_in(c->o, "status.used");
  for (kg_iter_t it = kg_iter(kube_view_in(c->o, "status.hard")); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if ((key.n > 7 && memcmp(key.p, "limits.", 7) == 0) != limits) continue;
    if (b.n) kube_buf_addz(&b, ", ");
    kg_str_t u = kg_view_str(kg_view_get_str(used, key)), h = kg_view_str(it.value);
    kube_buf_fmt(&b, KG_STR_FMT ": " KG_STR_FMT "/" KG_STR_FMT, KG_STR_ARG(key), KG_STR_ARG(u.n ? u : KG_STR("0")),
                 KG_STR_ARG(h));
  }
  kube_cell_take(c, &b, "");
}
static void quota_requests(const kube_cell_t *c) {
  quota_cell(c, false);
}
static void quota_limits(const kube_cell_t *c) {
  quota_cell(c, true);
}

/* --- events: core and events.k8s.io name the same things differently
 * ------------------------------------------------------------ */

static kg_str_t either(kg_view_t o, const char *core, const char *events) {
  kg_str_t s = kube_view_text(o, core);
  return s.n ? s : kube_view_text(o, events);
}
static void since_cell(const kube_cell_t *c, kg_str_t t) {
  char text[32];
  if (!t.n) t = kube_view_text(c->o, "eventTime");
  kube_since_text(text, t, c->now);
  kg_pack_str(c->p, text);
}
static void event_last_seen(const kube_cell_t *c) {
  kg_str_t series = kube_view_text(c->o, "series.lastObservedTime");
  since_cell(c, series.n ? series : either(c->o, "lastTimestamp", "deprecatedLastTimestamp"));
}
static void event_first_seen(const kube_cell_t *c) {
  since_cell(c, either(c->o, "firstTimestamp", "deprecatedFirstTimestamp"));
}
static void event_object(const kube_cell_t *c) {
  kg_str_t kind = either(c->o, "involvedObject.kind", "regarding.kind"),
           n = either(c->o, "involvedObject.name", "regarding.name");
  char low[64];
  size_t k = 0;
  for (; k < kind.n && k + 1 < sizeof low; k++) low[k] = (char)(kind.p[k] | 0x20);
  low[k] = 0;
  kg_pack_fmt(c->p, "%s%s" KG_STR_FMT, low, n.n ? "/" : "", KG_STR_ARG(n));
}
static void event_source(const kube_cell_t *c) {
  kg_str_t component = either(c->o, "source.component", "deprecatedSource.component");
  kg_str_t host = either(c->o, "source.host", "deprecatedSource.host");
  if (!component.n) component = either(c->o, "reportingComponent", "reportingController");
  if (!host.n) host = kube_view_text(c->o, "reportingInstance");
  kg_pack_fmt(c->p, KG_STR_FMT "%s" KG_STR_FMT, KG_STR_ARG(component), host.n ? ", " : "", KG_STR_ARG(host));
}
static void event_message(const kube_cell_t *c) {
  kg_str_t m = either(c->o, "message", "note");
  while (m.n && (m.p[m.n - 1] == '\n' || m.p[m.n - 1] == ' ')) m.n--;
  kube_cell_str(c, m, "");
}
static void event_count(const kube_cell_t *c) {
  int64_t n = kg_view_int(kube_view_in(c->o, "series.count"), 0);
  if (!n) n = kg_view_int(kg_view_get(c->o, "count"), kg_view_int(kg_view_get(c->o, "deprecatedCount"), 0));
  kg_pack_int(c->p, n ? n : 1);
}

const kube_cell_fn_t kube_cells_workload[] = {
    {"containers", containers},
    {"images", images},
    {"template_containers", template_containers},
    {"template_images", template_images},
    {"template_labels", template_labels},
    {"cronjob_containers", cronjob_containers},
    {"cronjob_images", cronjob_images},
    {"cronjob_selector", cronjob_selector},
    {"map_selector", map_selector},
    {"selector", selector},
    {"netpol_selector", netpol_selector},
    {"daemonset_nodes", daemonset_nodes},
    {"ready_of_replicas", ready_of_replicas},
    {"data_count", data_count},
    {"job_status", job_status},
    {"job_completions", job_completions},
    {"job_duration", job_duration},
    {"pv_status", phase_or_terminating},
    {"pvc_status", phase_or_terminating},
    {"pv_modes", pv_modes},
    {"pvc_modes", pvc_modes},
    {"pv_claim", pv_claim},
    {"storageclass_name", storageclass_name},
    {"csidriver_tokens", csidriver_tokens},
    {"quota_requests", quota_requests},
    {"quota_limits", quota_limits},
    {"event_last_seen", event_last_seen},
    {"event_first_seen", event_first_seen},
    {"event_object", event_object},
    {"event_source", event_source},
    {"event_message", event_message},
    {"event_count", event_count},
    {0},
};
