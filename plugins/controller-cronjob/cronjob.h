#ifndef CRONJOB_H
#define CRONJOB_H
/* Makes Jobs at their times. A CronJob sleeps in the queue until its next one. */
#include "control.h"
#include "cron.h"

enum { CRONJOBS, JOBS };

typedef struct cjc {
  ctl_base_t base;
  uint64_t started;
} cjc_t;

extern const kube_gvr_t GVR_CRONJOBS, GVR_JOBS;

typedef struct pass {
  kg_ctx_t *ctx;
  cjc_t *c;
  ctl_sync_t *sync;
  kube_arena_t *arena;
  kg_doc_t *doc;
  kg_view_t object, spec;
  kube_node_t *status, *active; /* to be */
  kg_view_t *jobs;              /* its own */
  size_t n;
  schedule_t schedule;
  zone_t *zone;
} pass_t;

void cronjob_sync(kg_ctx_t *ctx, void *self, const char *key, void *arg); /* pass.c */

/* history.c: what has become of its jobs */
void history_read(pass_t *p);  /* p->jobs, status.active, lastSuccessfulTime */
void history_clean(pass_t *p); /* deletes old ones */
void delete_job(pass_t *p, kg_view_t job);
kg_str_t job_end(kg_view_t job); /* "Complete", "Failed", or empty */

#endif
