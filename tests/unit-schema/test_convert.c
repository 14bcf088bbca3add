/* autoscaling/v1 and v2 are one stored object: what v1 does not know it shows in annotations, and reads from there. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"
#include "kube/schema.h"

static kube_arena_t *arena;
static const kube_resource_t *v1;

static void set_up(void) {
  arena = kube_arena_new();
  v1 = kube_resource_find(KG_STR("autoscaling"), KG_STR("v1"), KG_STR("horizontalpodautoscalers"));
}

static void tear_down(void) {
  kube_arena_free(arena);
}

TestSuite(convert, .init = set_up, .fini = tear_down);

/* `as` of a whole object, as JSON; freed by the caller. */
static char *after(const char *json, kube_node_t *(*as)(kube_arena_t *, const kube_resource_t *, kube_node_t *)) {
  kg_doc_t *doc = kube_json_parse(json, strlen(json), NULL, NULL, NULL);
  cr_assert(doc, "no JSON: %s", json);
  kg_doc_t *out = kube_tree_doc(as(arena, v1, kube_tree_parse(arena, kg_view_of(doc))));
  kube_buf_t b = {0};
  kube_json_write(&b, kg_view_of(out));
  kube_buf_add(&b, "", 1);
  kg_doc_unref(out);
  kg_doc_unref(doc);
  return b.p;
}

static void becomes(const char *from, kube_node_t *(*as)(kube_arena_t *, const kube_resource_t *, kube_node_t *),
                    const char *expected) {
  char *text = after(from, as);
  cr_expect_str_eq(text, expected);
  free(text);
}

#define V2 "{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/v2\",\"metadata\":{\"name\":\"h\""
#define REF "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"},\"minReplicas\":1,\"maxReplicas\":5"
#define CPU                                                                                                            \
  "{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\","                        \
  "\"averageUtilization\":50}}}"
#define NOTE "autoscaling.alpha.kubernetes.io/"

Test(convert, cpu_is_the_one_metric_of_v1) {
  const char *now =
      V2 "},\"spec\":{" REF ",\"metrics\":[" CPU "]},\"status\":{\"desiredReplicas\":0,\"currentMetrics\":null}}";
  const char *old = V2 "},\"spec\":{" REF ",\"targetCPUUtilizationPercentage\":50},\"status\":{\"currentReplicas\":0,"
                       "\"desiredReplicas\":0}}";
  becomes(now, kube_as_shown, old);
  becomes(old, kube_as_stored, now);
}

Test(convert, nothing_wanted_is_80_percent_of_cpu) {
  char *text = after(V2 "},\"spec\":{" REF "}}", kube_as_stored);
  cr_expect(strstr(text, "\"averageUtilization\":80"), "%s", text);
  free(text);
}

#define EVERYTHING                                                                                                     \
  V2 ",\"annotations\":{\"mine\":\"x\"}},\"spec\":{" REF ",\"metrics\":["                                              \
     "{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"target\":{\"type\":\"AverageValue\","                 \
     "\"averageValue\":\"1Gi\"}}},"                                                                                    \
     "{\"type\":\"Object\",\"object\":{\"describedObject\":{\"kind\":\"Service\",\"name\":\"s\"},\"target\":{"         \
     "\"type\":\"AverageValue\",\"averageValue\":\"3\"},\"metric\":{\"name\":\"hits\"}}},"                             \
     "{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"p\"},\"target\":{\"type\":\"AverageValue\","                 \
     "\"averageValue\":\"2\"}}},"                                                                                      \
     "{\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\","   \
     "\"averageUtilization\":7},\"container\":\"c\"}},"                                                                \
     "{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"q\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}}},"  \
     "\"target\":{\"type\":\"Value\",\"value\":\"9\"}}}," CPU "],"                                                     \
     "\"behavior\":{\"scaleDown\":{\"stabilizationWindowSeconds\":60,\"policies\":[{\"type\":\"Pods\",\"value\":1,"    \
     "\"periodSeconds\":15}]}}},"                                                                                      \
     "\"status\":{\"currentReplicas\":2,\"desiredReplicas\":3,\"currentMetrics\":[{\"type\":\"Resource\","             \
     "\"resource\":{\"name\":\"cpu\",\"current\":{\"averageValue\":\"5m\",\"averageUtilization\":12}}}],"              \
     "\"conditions\":[{\"type\":\"AbleToScale\",\"status\":\"True\",\"lastTransitionTime\":null}]}}"

Test(convert, the_rest_is_in_annotations) {
  char *text = after(EVERYTHING, kube_as_shown);
  static const char *const parts[] = {
      "\"targetCPUUtilizationPercentage\":50",
      "\"currentCPUUtilizationPercentage\":12",
      "\"mine\":\"x\"",
      "{\\\"name\\\":\\\"memory\\\",\\\"targetAverageValue\\\":\\\"1Gi\\\"}",
      "\\\"target\\\":{\\\"kind\\\":\\\"Service\\\",\\\"name\\\":\\\"s\\\"},\\\"metricName\\\":\\\"hits\\\","
      "\\\"targetValue\\\":\\\"0\\\",\\\"averageValue\\\":\\\"3\\\"",
      NOTE "behavior\":\"{\\\"ScaleUp\\\":null,\\\"ScaleDown\\\":{\\\"StabilizationWindowSeconds\\\":60,"
           "\\\"SelectPolicy\\\":null,\\\"Policies\\\":[{\\\"Type\\\":\\\"Pods\\\",\\\"Value\\\":1,"
           "\\\"PeriodSeconds\\\":15}],\\\"Tolerance\\\":null}}\"",
      NOTE "current-metrics\":\"[{\\\"type\\\":\\\"Resource\\\",\\\"resource\\\":{\\\"name\\\":\\\"cpu\\\","
           "\\\"currentAverageUtilization\\\":12,\\\"currentAverageValue\\\":\\\"5m\\\"}}]\"",
      NOTE "conditions\":\"[{\\\"type\\\":\\\"AbleToScale\\\",\\\"status\\\":\\\"True\\\""};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    cr_expect(strstr(text, parts[i]), "%s is not in %s", parts[i], text);
  cr_expect(!strstr(text, "\"metrics\":"), "%s", text);
  becomes(text, kube_as_stored, EVERYTHING);
  free(text);
}

Test(convert, annotations_that_are_empty_say_nothing) {
  static const char *const names[] = {"metrics", "conditions", "current-metrics", "behavior"};
  static const char *const empty[] = {"[]", "{}", "null", ""};
  for (size_t i = 0; i < 16; i++) {
    char *from = kube_arena_fmt(arena, V2 ",\"annotations\":{\"" NOTE "%s\":\"%s\"}},\"spec\":{" REF "}}", names[i / 4],
                                empty[i % 4]);
    char *text = after(from, kube_as_stored);
    cr_expect(!strstr(text, "annotations") && strstr(text, "\"averageUtilization\":80"), "%s", text);
    free(text);
  }
}

Test(convert, an_annotation_that_is_wrong_says_nothing) {
  const char *wrong[] = {"[{", "7", "[3]", "[{\\\"type\\\":\\\"Resource\\\",\\\"resource\\\":{\\\"name\\\":{}}}]"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    char *from = kube_arena_fmt(arena,
                                V2 ",\"annotations\":{\"" NOTE "metrics\":\"%s\"}},\"spec\":{" REF
                                   ",\"targetCPUUtilizationPercentage\":50}}",
                                wrong[i]);
    char *text = after(from, kube_as_stored);
    cr_expect(!strstr(text, "annotations"), "%s", text);
    cr_expect(strstr(text, "\"metrics\":[" CPU "]"), "%s", text);
    free(text);
  }
}
