#include <stdio.h>

#include "sim.h"

void script_defaults(script_t *s) {
  *s = (script_t){.run_time = -1, .unready_after = -1, .nexits = 1};
}

/* The value for this container, or else for all of the pod. */
static kg_str_t value_of(kg_view_t from, const char *prefix, const char *key, const char *container) {
  char name[400];
  snprintf(name, sizeof name, "%s%s.%s", prefix, key, container ? container : "");
  kg_view_t v = container ? kg_view_get(from, name) : (kg_view_t){0};
  snprintf(name, sizeof name, "%s%s", prefix, key);
  return kg_view_str(kg_view_there(v) ? v : kg_view_get(from, name));
}

int64_t script_exit(const script_t *s, int64_t attempt) {
  return s->exits[attempt < (int64_t)s->nexits ? attempt : (int64_t)s->nexits - 1];
}

void script_read(script_t *s, kg_view_t from, const char *prefix, const char *container) {
  const struct {
    const char *key;
    int64_t *to;
  } times[] = {{"start-delay", &s->start_delay},
               {"run-time", &s->run_time},
               {"stop-delay", &s->stop_delay},
               {"ready-after", &s->ready_after},
               {"unready-after", &s->unready_after}};
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    kg_str_t v = value_of(from, prefix, times[i].key, container);
    if (v.n && kube_duration_ms(v, times[i].to))
      *times[i].to = kg_str_is(v, "forever") || kg_str_is(v, "never") ? -1 : *times[i].to;
  }
  kg_str_t v = value_of(from, prefix, "exit-code", container);
  if (v.n) s->nexits = kube_quantity_list(v, s->exits, SCRIPT_EXITS);
  if ((v = value_of(from, prefix, "exec-exit-code", container)).n) kube_quantity_value(v, &s->exec_code);
  if ((v = value_of(from, prefix, "cpu", container)).n) kube_quantity_milli(v, &s->cpu_milli);
  if ((v = value_of(from, prefix, "memory", container)).n) kube_quantity_value(v, &s->memory);
  if ((v = value_of(from, prefix, "oom", container)).n) s->oom = kg_str_is(v, "true");
  if ((v = value_of(from, prefix, "start-error", container)).p)
    snprintf(s->error, sizeof s->error, KG_STR_FMT, KG_STR_ARG(v));
}
