#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cronjob.h"

enum { MANY = 100, SLACK_MS = 100 };

static void warn(pass_t *p, const char *reason, const char *fmt, ...) KG_PRINTF(3, 4);
static void warn(pass_t *p, const char *reason, const char *fmt, ...) {
  char text[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  kube_event(p->ctx, p->c->base.recorder, p->object, "Warning", reason, "%s", text);
}

static int64_t seconds(kg_view_t v) {
  int64_t us;
  return kube_time_parse(kg_view_str(v), &us) ? -1 : us / 1000000;
}

static bool read_schedule(pass_t *p) {
  kg_error_t err = {0};
  char *text = ctl_text(p->arena, kg_view_str(kg_view_get(p->spec, "schedule")));
  kg_str_t zone = kg_view_str(kg_view_get(p->spec, "timeZone"));
  if (schedule_parse(text, &p->schedule, &err)) {
    warn(p, "UnparseableSchedule", "unparseable schedule: \"%s\" : %s", text, err.text);
    return false;
  }
  char *name = ctl_text(p->arena, zone.n ? zone : KG_STR("UTC"));
  p->zone = zone_load(name, &err);
  if (!p->zone) warn(p, "UnknownTimeZone", "invalid timeZone: \"%s\": %s", name, err.text);
  return p->zone != NULL;
}

/* --- when --------------------------------------------------------------------------------------------------------- */

/* The last time that has come since the job before, -1: none. */
static int64_t most_recent(pass_t *p, int64_t now) {
  int64_t last = seconds(kg_view_path(p->object, "status", "lastScheduleTime", NULL));
  int64_t deadline = kg_view_int(kg_view_get(p->spec, "startingDeadlineSeconds"), -1);
  int64_t from = last >= 0 ? last : seconds(kg_view_path(p->object, "metadata", "creationTimestamp", NULL));
  if (deadline >= 0 && now - deadline > from) from = now - deadline;
  int64_t first = schedule_next(&p->schedule, p->zone, from);
  if (first < 0 || now < first) return -1;
  int64_t second = schedule_next(&p->schedule, p->zone, first);
  if (second < 0 || now < second) return first;
  int64_t between = second - first, missed = (now - first) / between + 1, found = first;
  if (missed > MANY)
    warn(p, "TooManyMissedTimes",
         "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
  int64_t t = missed > 2 ? first + (missed - 2) * between - 1 : first;
  for (t = schedule_next(&p->schedule, p->zone, t); t >= 0 && t <= now; t = schedule_next(&p->schedule, p->zone, t))
    found = t;
  return found;
}

static void sleep_until_next(pass_t *p, int64_t now_us) {
  int64_t next = schedule_next(&p->schedule, p->zone, now_us / 1000000);
  if (p->schedule.every_s) {
    int64_t last = seconds(kg_view_path(p->object, "status", "lastScheduleTime", NULL));
    if (last < 0) last = seconds(kg_view_path(p->object, "metadata", "creationTimestamp", NULL));
    int64_t due = schedule_next(&p->schedule, p->zone, last);
    if (due * 1000000 > now_us) next = due;
  }
  if (next >= 0)
    kube_queue_add_after(p->ctx, p->c->base.work.queue, ctl_sync_key(p->sync),
                         (next * 1000000 - now_us) / 1000 + SLACK_MS);
}

/* --- the job ------------------------------------------------------------------------------------------------------ */

static void copy(pass_t *p, kube_node_t *to, kg_view_t from, const char *key) {
  kg_view_t v = kg_view_get(from, key);
  if (kg_view_count(v)) kube_set(p->arena, to, key, kube_tree_clone(p->arena, kube_tree_parse(p->arena, v)));
}

static void stamp(pass_t *p, int64_t when, char text[40]) {
  int64_t offset = zone_offset(p->zone, when);
  kube_time_format((when + offset) * 1000000, text);
  if (offset)
    snprintf(text + strlen(text) - 1, 8, "%c%02d:%02d", offset < 0 ? '-' : '+', abs((int)offset) / 3600 % 100,
             abs((int)offset) / 60 % 60);
}

static kube_node_t *job_of(pass_t *p, const char *name, int64_t when) {
  kube_arena_t *a = p->arena;
  kg_view_t tmpl = kg_view_get(p->spec, "jobTemplate"), meta = kg_view_get(tmpl, "metadata");
  kube_node_t *o = kube_map(a), *m = kube_sub(a, o, "metadata"), *refs = kube_array(a);
  char text[40];
  stamp(p, when, text);
  kube_set(a, o, "apiVersion", kube_str(a, "batch/v1"));
  kube_set(a, o, "kind", kube_str(a, "Job"));
  kube_set(a, m, "name", kube_str(a, name));
  kube_set(a, m, "namespace", kube_strn(a, kube_namespace(p->object)));
  copy(p, m, meta, "labels");
  copy(p, m, meta, "annotations");
  kube_set(a, kube_sub(a, m, "annotations"), "batch.kubernetes.io/cronjob-scheduled-timestamp", kube_str(a, text));
  kube_push(a, refs, ctl_owner_ref(a, p->object, "batch/v1", "CronJob"));
  kube_set(a, m, "ownerReferences", refs);
  copy(p, o, tmpl, "spec");
  return o;
}

typedef struct start {
  pass_t *p;
  int64_t when;
} start_t;

static void write_status(pass_t *p) {
  if (p->active->c.n)
    kube_set(p->arena, p->status, "active", p->active);
  else
    kube_del(p->status, "active");
  ctl_send_status(p->ctx, p->sync, GVR_CRONJOBS, p->object, p->status);
}

static void add_active(pass_t *p, kg_view_t job) {
  kube_arena_t *a = p->arena;
  kube_node_t *ref = kube_map(a);
  kube_set(a, ref, "kind", kube_str(a, "Job"));
  kube_set(a, ref, "namespace", kube_strn(a, kube_namespace(job)));
  kube_set(a, ref, "name", kube_strn(a, kube_name(job)));
  kube_set(a, ref, "uid", kube_strn(a, kube_uid(job)));
  kube_set(a, ref, "apiVersion", kube_str(a, "batch/v1"));
  kube_set(a, ref, "resourceVersion",
           kube_strn(a, kg_view_str(kg_view_path(job, "metadata", "resourceVersion", NULL))));
  kube_push(a, p->active, ref);
}

static void started(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  const start_t *x = arg;
  pass_t *p = x->p;
  char text[32];
  if (kg_msg_type(m) == KG_MSG_REPLY) {
    kg_view_t job = kg_view_of(kg_msg_doc(m, 0));
    ((cjc_t *)self)->started++;
    ctl_keep_msg(s, m);
    add_active(p, job);
    kube_event(ctx, p->c->base.recorder, p->object, "Normal", "SuccessfulCreate", "Created job " KG_STR_FMT,
               KG_STR_ARG(kube_name(job)));
  } else if (kg_msg_code(m) == KG_ECONFLICT) {
    ctl_sync_forgive(s); /* it was made before; we did not come to note it */
  } else {
    warn(p, "FailedCreate", "Error creating job: %s", kg_msg_text(m));
    return write_status(p);
  }
  kube_time_format(x->when * 1000000, text);
  kube_set(p->arena, p->status, "lastScheduleTime", kube_str(p->arena, text));
  write_status(p);
}

static void start_job(pass_t *p, int64_t when) {
  start_t *x = kube_arena_alloc(p->arena, sizeof *x);
  *x = (start_t){p, when};
  char *name = kube_arena_fmt(p->arena, KG_STR_FMT "-%lld", KG_STR_ARG(kube_name(p->object)), (long long)(when / 60));
  kg_doc_t *doc = kube_tree_doc(job_of(p, name, when));
  ctl_send(
      p->ctx, p->sync, CTL_CREATE,
      &(kube_call_t){
          .gvr = GVR_JOBS, .ns = ctl_text(p->arena, kube_namespace(p->object)), .object = doc, .grace_seconds = -1},
      started, x);
  kg_doc_unref(doc);
}

/* --- the pass ----------------------------------------------------------------------------------------------------- */

/* True if a job was started: its answer leads to the status. */
static bool consider(pass_t *p, int64_t now) {
  kg_str_t policy = kg_view_str(kg_view_get(p->spec, "concurrencyPolicy"));
  int64_t when = most_recent(p, now), deadline = kg_view_int(kg_view_get(p->spec, "startingDeadlineSeconds"), -1);
  if (when < 0 || seconds(kg_view_path(p->object, "status", "lastScheduleTime", NULL)) == when) return false;
  if (deadline >= 0 && when + deadline < now) {
    char text[40];
    struct tm utc;
    time_t t = when;
    if (!gmtime_r(&t, &utc) || !strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &utc)) *text = '\0';
    warn(p, "MissSchedule", "Missed scheduled time to start a job: %s", text);
    return false;
  }
  if (kg_str_is(policy, "Forbid") && p->active->c.n) {
    kube_event(p->ctx, p->c->base.recorder, p->object, "Normal", "JobAlreadyActive",
               "Not starting job because prior execution is running and concurrency policy is Forbid");
    return false;
  }
  if (kg_str_is(policy, "Replace"))
    for (size_t i = 0; i < p->n; i++)
      if (!job_end(p->jobs[i]).n && !kube_deleting(p->jobs[i])) delete_job(p, p->jobs[i]);
  start_job(p, when);
  return true;
}

static void run(pass_t *p) {
  int64_t now_us = kg_wall_us(p->ctx);
  history_read(p);
  history_clean(p);
  bool rests = kube_deleting(p->object) || kg_view_bool(kg_view_get(p->spec, "suspend"), false);
  if (rests || !read_schedule(p)) return write_status(p);
  if (!consider(p, now_us / 1000000)) write_status(p);
  sleep_until_next(p, now_us);
}

static void read_cronjob(pass_t *p) {
  kg_view_t old = kg_view_get(p->object, "status");
  p->spec = kg_view_get(p->object, "spec");
  p->status = kg_view_count(old) ? kube_tree_clone(p->arena, kube_tree_parse(p->arena, old)) : kube_map(p->arena);
  p->active = kube_get(p->status, "active");
  if (!p->active || p->active->type != KG_V_ARRAY) p->active = kube_array(p->arena);
}

void cronjob_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg) {
  (void)arg;
  cjc_t *c = self;
  kg_doc_t *doc;
  ctl_sync_t *s = ctl_sync_object(&c->base.work, key, c->base.informers[CRONJOBS], &doc);
  if (doc) {
    pass_t *p = kube_arena_alloc(ctl_arena(s), sizeof *p);
    *p = (pass_t){.ctx = ctx, .c = c, .sync = s, .arena = ctl_arena(s), .doc = doc};
    p->object = kg_view_of(doc);
    read_cronjob(p);
    run(p);
    zone_free(p->zone);
    p->zone = NULL;
  }
  ctl_sync_end(ctx, self, s);
}
