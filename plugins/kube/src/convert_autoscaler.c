/*
 * HorizontalPodAutoscalers: autoscaling/v1 knows one metric, the use of CPU; the other things of v2 it keeps in
 * annotations, metrics in a form of their own and the behaviour under names that begin with capitals.
 */
#include <ctype.h>
#include <string.h>

#include "convert.h"
#include "kube/json.h"
#include "validate.h"

#define NOTE "autoscaling.alpha.kubernetes.io/"
static const char metrics_note[] = NOTE "metrics", current_note[] = NOTE "current-metrics",
                  conditions_note[] = NOTE "conditions", behavior_note[] = NOTE "behavior";

/* --- metrics in the annotations ---------------------------------------------------------------------------------- */

enum { MOST_FIELDS = 6 };
typedef struct part {
  const char *source;
  struct {
    const char *old, *path; /* in the annotation; in v2, dots between */
    bool always;            /* "0" where there is none */
  } fields[MOST_FIELDS];
} part_t;

#define REFERENCE                                                                                                      \
  {"target", "describedObject"}, {                                                                                     \
    "metricName", "metric.name"                                                                                        \
  }
#define SELECTOR                                                                                                       \
  { "selector", "metric.selector" }
static const part_t wanted[] = {
    {"object", {REFERENCE, {"targetValue", "target.value", true}, SELECTOR, {"averageValue", "target.averageValue"}}},
    {"pods", {{"metricName", "metric.name"}, {"targetAverageValue", "target.averageValue", true}, SELECTOR}},
    {"resource",
     {{"name", "name"},
      {"targetAverageUtilization", "target.averageUtilization"},
      {"targetAverageValue", "target.averageValue"}}},
    {"containerResource",
     {{"name", "name"},
      {"targetAverageUtilization", "target.averageUtilization"},
      {"targetAverageValue", "target.averageValue"},
      {"container", "container"}}},
    {"external",
     {{"metricName", "metric.name"},
      {"metricSelector", "metric.selector"},
      {"targetValue", "target.value"},
      {"targetAverageValue", "target.averageValue"}}},
    {0}};
static const part_t measured[] = {
    {"object",
     {REFERENCE, {"currentValue", "current.value", true}, SELECTOR, {"averageValue", "current.averageValue"}}},
    {"pods", {{"metricName", "metric.name"}, {"currentAverageValue", "current.averageValue", true}, SELECTOR}},
    {"resource",
     {{"name", "name"},
      {"currentAverageUtilization", "current.averageUtilization"},
      {"currentAverageValue", "current.averageValue", true}}},
    {"containerResource",
     {{"name", "name"},
      {"currentAverageUtilization", "current.averageUtilization"},
      {"currentAverageValue", "current.averageValue", true},
      {"container", "container"}}},
    {"external",
     {{"metricName", "metric.name"},
      {"metricSelector", "metric.selector"},
      {"currentValue", "current.value", true},
      {"currentAverageValue", "current.averageValue"}}},
    {0}};

static uint32_t count(const kube_node_t *list) {
  return list && list->type == KG_V_ARRAY ? list->c.n : 0;
}

static kube_node_t *to_old(kube_arena_t *a, const part_t *parts, const kube_node_t *metric) {
  kube_node_t *out = kube_map(a), *v;
  if ((v = kube_get(metric, "type"))) kube_set(a, out, "type", v);
  for (const part_t *p = parts; p->source; p++) {
    const kube_node_t *now = kube_get(metric, p->source);
    if (!now || now->type != KG_V_MAP) continue;
    kube_node_t *old = kube_sub(a, out, p->source);
    for (size_t i = 0; i < MOST_FIELDS && p->fields[i].old; i++) {
      v = (kube_node_t *)kube_node_look(now, p->fields[i].path);
      if (v || p->fields[i].always) kube_set(a, old, p->fields[i].old, v ? v : kube_str(a, "0"));
    }
  }
  return out;
}

static void set_path(kube_arena_t *a, kube_node_t *m, const char *path, kube_node_t *v) {
  const char *dot = strchr(path, '.');
  if (!dot) return kube_set(a, m, path, v);
  kube_set(a, kube_sub(a, m, kube_arena_fmt(a, "%.*s", (int)(dot - path), path)), dot + 1, v);
}

/* v2 says of what kind a target is. An object's is always written with a value, which is none if there is an average.
 */
static void set_target_type(kube_arena_t *a, kube_node_t *source) {
  kube_node_t *target = kube_get(source, "target");
  const char *type = "Value";
  if (!target || target->type != KG_V_MAP) return;
  if (kube_get(target, "averageUtilization")) {
    type = "Utilization";
  } else if (kube_get(target, "averageValue")) {
    type = "AverageValue";
    if (kg_str_is(kube_node_str(kube_get(target, "value")), "0")) kube_del(target, "value");
  }
  kube_set(a, target, "type", kube_str(a, type));
}

static kube_node_t *to_now(kube_arena_t *a, const part_t *parts, const kube_node_t *metric) {
  kube_node_t *out = kube_map(a), *v;
  if ((v = kube_get(metric, "type"))) kube_set(a, out, "type", v);
  for (const part_t *p = parts; p->source; p++) {
    const kube_node_t *old = kube_get(metric, p->source);
    if (!old || old->type != KG_V_MAP) continue;
    kube_node_t *now = kube_sub(a, out, p->source);
    for (size_t i = 0; i < MOST_FIELDS && p->fields[i].old; i++)
      if ((v = kube_get(old, p->fields[i].old))) set_path(a, now, p->fields[i].path, v);
    if (parts == wanted) set_target_type(a, now);
  }
  return out;
}

static kube_node_t *each(kube_arena_t *a, const part_t *parts, const kube_node_t *list,
                         kube_node_t *(*to)(kube_arena_t *, const part_t *, const kube_node_t *)) {
  kube_node_t *out = kube_array(a);
  for (uint32_t i = 0; i < count(list); i++) kube_push(a, out, to(a, parts, list->c.items[i]));
  return out;
}

/* --- the behaviour in its annotation ------------------------------------------------------------------------------ */

static kube_node_t *cased(kube_arena_t *a, const kube_node_t *n, int (*first)(int)) {
  if (!n || (n->type != KG_V_MAP && n->type != KG_V_ARRAY)) return (kube_node_t *)n;
  kube_node_t *out = n->type == KG_V_MAP ? kube_map(a) : kube_array(a);
  for (uint32_t i = 0; i < n->c.n; i++) {
    kube_node_t *v = cased(a, n->c.items[i], first);
    if (n->type == KG_V_ARRAY) {
      kube_push(a, out, v);
    } else if (n->c.keys[i].n) {
      char *key = kube_arena_fmt(a, KG_STR_FMT, KG_STR_ARG(n->c.keys[i]));
      key[0] = (char)first((unsigned char)key[0]);
      kube_set(a, out, key, v);
    }
  }
  return out;
}

/* All of these names, null where there is nothing. */
static kube_node_t *with_all(kube_arena_t *a, const kube_node_t *n, const char *const *names) {
  kube_node_t *out = kube_map(a);
  for (; *names; names++) {
    kube_node_t *v = kube_get(n, *names);
    kube_set(a, out, *names, v ? v : kube_nil(a));
  }
  return out;
}

static kube_node_t *behavior_old(kube_arena_t *a, const kube_node_t *behavior) {
  static const char *const sides[] = {"ScaleUp", "ScaleDown", NULL};
  static const char *const rules[] = {"StabilizationWindowSeconds", "SelectPolicy", "Policies", "Tolerance", NULL};
  kube_node_t *out = with_all(a, cased(a, behavior, toupper), sides);
  for (uint32_t i = 0; i < out->c.n; i++)
    if (out->c.items[i]->type == KG_V_MAP) out->c.items[i] = with_all(a, out->c.items[i], rules);
  return out;
}

/* --- annotations -------------------------------------------------------------------------------------------------- */

static void forget_notes(kube_node_t *object) {
  static const char *const all[] = {metrics_note, current_note, conditions_note, behavior_note};
  kube_node_t *meta = kube_get(object, "metadata"), *notes = kube_get(meta, "annotations");
  for (size_t i = 0; notes && notes->type == KG_V_MAP && i < sizeof all / sizeof *all; i++) kube_del(notes, all[i]);
  if (notes && notes->type == KG_V_MAP && !notes->c.n) kube_del(meta, "annotations");
}

static void note(kube_arena_t *a, kube_node_t *object, const char *name, const kube_node_t *v) {
  kube_buf_t b = {0};
  kg_doc_t *doc = kube_tree_doc(v);
  if (doc) kube_json_write(&b, kg_view_of(doc));
  kube_node_t *notes = kube_sub(a, kube_sub(a, object, "metadata"), "annotations");
  if (b.n && !b.failed) kube_set(a, notes, name, kube_strn(a, (kg_str_t){b.p, b.n}));
  kube_buf_free(&b);
  kg_doc_unref(doc);
}

static bool all_maps(const kube_node_t *list) {
  for (uint32_t i = 0; i < count(list); i++)
    if (list->c.items[i]->type != KG_V_MAP) return false;
  return true;
}

/* What an annotation says; NULL: there is none, or it is no JSON map, or list of maps, as asked for. */
static kube_node_t *noted(kube_arena_t *a, const kube_node_t *object, const char *name, kg_vtype_t type) {
  kg_str_t text = kube_node_str(kube_path(object, "metadata", "annotations", name, NULL));
  kg_doc_t *doc = text.n ? kube_json_parse(text.p, text.n, NULL, NULL, NULL) : NULL;
  if (!doc) return NULL;
  size_t size = kg_doc_size(doc);
  void *bytes = kube_arena_alloc(a, size); /* whose strings the tree borrows */
  memcpy(bytes, kg_doc_data(doc), size);
  kg_doc_unref(doc);
  kube_node_t *v = kube_tree_parse(a, kg_view_bytes(bytes, size));
  return v && v->type == type && all_maps(v) ? v : NULL;
}

/* Sets a field of v2 if its value has that field's form: annotations are anybody's. */
static void set_if_good(kube_arena_t *a, kube_node_t *object, const char *part, const char *field, kube_node_t *v) {
  const kube_resource_t *r =
      kube_resource_find(KG_STR("autoscaling"), KG_STR("v2"), KG_STR("horizontalpodautoscalers"));
  kg_error_t err = {0};
  kube_node_t *probe = kube_map(a);
  kube_set(a, kube_sub(a, probe, part), field, v);
  if (kube_decode(a, r, probe, NULL, &err) < 0) return;
  v = kube_path(probe, part, field, NULL); /* gone if it was empty */
  if (v) kube_set(a, kube_sub(a, object, part), field, v);
}

/* --- both ways ---------------------------------------------------------------------------------------------------- */

/* The share of CPU that a metric wants or has measured; NULL: it is another one. */
static kube_node_t *cpu_share(const kube_node_t *metric, const char *path) {
  const kube_node_t *resource = kube_get(metric, "resource");
  bool cpu = kg_str_is(kube_node_str(kube_get(metric, "type")), "Resource") &&
             kg_str_is(kube_node_str(kube_get(resource, "name")), "cpu");
  return cpu ? (kube_node_t *)kube_node_look(resource, path) : NULL;
}

static void show_metrics(kube_arena_t *a, kube_node_t *object) {
  kube_node_t *spec = kube_sub(a, object, "spec"), *list = kube_get(spec, "metrics"), *others = kube_array(a);
  const char *const name = "targetCPUUtilizationPercentage";
  for (uint32_t i = 0; i < count(list); i++) {
    kube_node_t *share = cpu_share(list->c.items[i], "target.averageUtilization");
    if (!share)
      kube_push(a, others, to_old(a, wanted, list->c.items[i]));
    else if (!kube_get(spec, name))
      kube_set(a, spec, name, share);
  }
  if (others->c.n) note(a, object, metrics_note, others);
}

static void show(kube_arena_t *a, kube_node_t *object) {
  kube_node_t *status = kube_get(object, "status"), *current = kube_get(status, "currentMetrics");
  kube_node_t *conditions = kube_get(status, "conditions"), *behavior = kube_path(object, "spec", "behavior", NULL);
  forget_notes(object);
  show_metrics(a, object);
  for (uint32_t i = 0; i < count(current); i++) {
    kube_node_t *share = cpu_share(current->c.items[i], "current.averageUtilization");
    if (share) kube_set(a, status, "currentCPUUtilizationPercentage", share);
  }
  if (count(current)) note(a, object, current_note, each(a, measured, current, to_old));
  if (count(conditions)) note(a, object, conditions_note, conditions);
  if (behavior && behavior->type == KG_V_MAP) note(a, object, behavior_note, behavior_old(a, behavior));
}

static kube_node_t *cpu_metric(kube_arena_t *a, const char *part, kube_node_t *share) {
  kube_node_t *out = kube_map(a), *resource, *amount;
  kube_set(a, out, "type", kube_str(a, "Resource"));
  kube_set(a, resource = kube_sub(a, out, "resource"), "name", kube_str(a, "cpu"));
  amount = kube_sub(a, resource, part);
  if (!strcmp(part, "target")) kube_set(a, amount, "type", kube_str(a, "Utilization"));
  kube_set(a, amount, "averageUtilization", share);
  return out;
}

/* An autoscaler that wants nothing else wants 80 % of the CPU. */
static void store_metrics(kube_arena_t *a, kube_node_t *object) {
  kube_node_t *spec = kube_sub(a, object, "spec"), *share = kube_get(spec, "targetCPUUtilizationPercentage");
  kube_node_t *others = noted(a, object, metrics_note, KG_V_ARRAY);
  if (others) set_if_good(a, object, "spec", "metrics", each(a, wanted, others, to_now));
  kube_node_t *list = kube_get(spec, "metrics");
  if (!count(list)) kube_set(a, spec, "metrics", list = kube_array(a));
  if (share || !list->c.n) kube_push(a, list, cpu_metric(a, "target", share ? share : kube_int(a, 80)));
}

static void store(kube_arena_t *a, kube_node_t *object) {
  kube_node_t *share = kube_path(object, "status", "currentCPUUtilizationPercentage", NULL);
  kube_node_t *current = noted(a, object, current_note, KG_V_ARRAY);
  kube_node_t *conditions = noted(a, object, conditions_note, KG_V_ARRAY);
  kube_node_t *behavior = noted(a, object, behavior_note, KG_V_MAP);
  store_metrics(a, object);
  if (share) {
    kube_node_t *list = kube_array(a);
    kube_push(a, list, cpu_metric(a, "current", share));
    kube_set(a, kube_sub(a, object, "status"), "currentMetrics", list);
  }
  if (current) set_if_good(a, object, "status", "currentMetrics", each(a, measured, current, to_now));
  if (conditions) set_if_good(a, object, "status", "conditions", conditions);
  if (behavior) set_if_good(a, object, "spec", "behavior", cased(a, behavior, tolower));
  forget_notes(object);
}

const kube_conversion_t kube_convert_autoscaler = {show, store};
