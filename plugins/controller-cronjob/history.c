#include <stdlib.h>
#include <string.h>

#include "cronjob.h"

kg_str_t job_end(kg_view_t job) {
  if (kube_condition_holds(job, "Complete")) return KG_STR("Complete");
  if (kube_condition_holds(job, "Failed")) return KG_STR("Failed");
  return (kg_str_t){NULL, 0};
}

static void event(pass_t *p, const char *type, const char *reason, const char *text, kg_str_t name) {
  kube_event(p->ctx, p->c->base.recorder, p->object, type, reason, "%s" KG_STR_FMT, text, KG_STR_ARG(name));
}

static int64_t started(kg_view_t job) {
  int64_t t = 0;
  if (kube_time_parse(kg_view_str(kg_view_path(job, "status", "startTime", NULL)), &t))
    kube_time_parse(kg_view_str(kg_view_path(job, "metadata", "creationTimestamp", NULL)), &t);
  return t;
}

static int by_start(const void *x, const void *y) {
  const kg_view_t *a = x, *b = y;
  int64_t s = started(*a), t = started(*b);
  return s != t ? (s < t ? -1 : 1) : kg_str_cmp(kube_name(*a), kube_name(*b));
}

static uint32_t active_index(const pass_t *p, kg_str_t uid) {
  uint32_t i = 0;
  while (i < p->active->c.n && !kg_str_eq(kube_node_str(kube_get(p->active->c.items[i], "uid")), uid)) i++;
  return i;
}

static void note_success(pass_t *p, kg_view_t job) {
  kg_str_t done = kg_view_str(kg_view_path(job, "status", "completionTime", NULL)),
           last = kube_node_str(kube_get(p->status, "lastSuccessfulTime"));
  if (done.n && (!last.n || kg_str_cmp(last, done) < 0))
    kube_set(p->arena, p->status, "lastSuccessfulTime", kube_strn(p->arena, done));
}

static void look_at(pass_t *p, kg_view_t job) {
  uint32_t i = active_index(p, kube_uid(job));
  kg_str_t end = job_end(job);
  bool there = i < p->active->c.n;
  if (!there && !end.n)
    return event(p, "Warning", "UnexpectedJob",
                 "Saw a job that the controller did not create or forgot: ", kube_name(job));
  if (there && end.n) {
    kube_remove_at(p->active, i);
    kube_event(p->ctx, p->c->base.recorder, p->object, "Normal", "SawCompletedJob",
               "Saw completed job: " KG_STR_FMT ", condition: " KG_STR_FMT, KG_STR_ARG(kube_name(job)),
               KG_STR_ARG(end));
  }
  if (kg_str_is(end, "Complete")) note_success(p, job);
}

static bool has_job(const pass_t *p, kg_str_t uid) {
  for (size_t i = 0; i < p->n; i++)
    if (kg_str_eq(kube_uid(p->jobs[i]), uid)) return true;
  return false;
}

void history_read(pass_t *p) {
  size_t first, count;
  const kube_informer_t *jobs = p->c->base.informers[JOBS];
  kube_informer_ns(jobs, kube_namespace(p->object), &first, &count);
  p->jobs = kube_arena_alloc(p->arena, (count + 1) * sizeof *p->jobs);
  for (size_t i = first; i < first + count; i++) {
    kg_doc_t *doc = kube_informer_at(jobs, i);
    if (ctl_owned_by(kg_view_of(doc), p->object)) p->jobs[p->n++] = kg_view_of(ctl_keep(p->sync, doc));
  }
  for (size_t i = 0; i < p->n; i++) look_at(p, p->jobs[i]);
  for (uint32_t i = 0; i < p->active->c.n; i++) {
    const kube_node_t *ref = p->active->c.items[i];
    if (has_job(p, kube_node_str(kube_get(ref, "uid")))) continue;
    event(p, "Normal", "MissingJob", "Active job went missing: ", kube_node_str(kube_get(ref, "name")));
    kube_remove_at(p->active, i--);
  }
}

void delete_job(pass_t *p, kg_view_t job) {
  uint32_t i = active_index(p, kube_uid(job));
  if (i < p->active->c.n) kube_remove_at(p->active, i);
  ctl_send(p->ctx, p->sync, CTL_DELETE,
           &(kube_call_t){.gvr = GVR_JOBS,
                          .ns = ctl_text(p->arena, kube_namespace(job)),
                          .name = ctl_text(p->arena, kube_name(job)),
                          .precondition_uid = ctl_text(p->arena, kube_uid(job)),
                          .propagation = "Background",
                          .grace_seconds = -1},
           NULL, NULL);
  event(p, "Normal", "SuccessfulDelete", "Deleted job ", kube_name(job));
}

static void keep_last(pass_t *p, const char *end, int64_t limit) {
  int64_t have = 0;
  for (size_t i = 0; i < p->n; i++) have += kg_str_is(job_end(p->jobs[i]), end);
  for (size_t i = 0; i < p->n && have > limit; i++) {
    if (!kg_str_is(job_end(p->jobs[i]), end) || kube_deleting(p->jobs[i])) continue;
    delete_job(p, p->jobs[i]);
    have--;
  }
}

void history_clean(pass_t *p) {
  if (p->n > 1) qsort(p->jobs, p->n, sizeof *p->jobs, by_start);
  keep_last(p, "Complete", kg_view_int(kg_view_get(p->spec, "successfulJobsHistoryLimit"), 3));
  keep_last(p, "Failed", kg_view_int(kg_view_get(p->spec, "failedJobsHistoryLimit"), 1));
}
