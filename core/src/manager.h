#ifndef KG_MANAGER_H
#define KG_MANAGER_H
/* What the manager thread does; kernel.manage is held in all of these. */
#include "instance.h"
#include "loader.h"
#include "remote.h"

/* A plugin about to be started: from a file or built in. */
typedef struct kg_source {
  const kg_plugin_t *desc;
  kg_loaded_t loaded;  /* code NULL: built in */
  kg_remote_t *remote; /* or in another process */
  kg_shade_t *shade;   /* as a shadow */
} kg_source_t;

/* Runs fn in the instance's lane and waits for it. The job (caller's reference) or NULL with a sentence if it did not
 * end within timeout_ms; `what` completes "lane main did not finish to ... plugin x". */
kg_job_t *kg_run_job(kg_ctx_t *ctx, kg_job_fn fn, kg_job_t *job, int64_t timeout_ms, const char *what, kg_error_t *err);
kg_job_t *kg_job_new(kg_kernel_t *k);
/* Same for jobs that only succeed or fail. */
int kg_do(kg_ctx_t *ctx, kg_job_fn fn, int64_t timeout_ms, const char *what, kg_error_t *err);

/* Waits until ready / drained. */
int kg_wait_ready(kg_ctx_t *ctx, int64_t timeout_ms, kg_error_t *err);
int kg_wait_drained(kg_ctx_t *ctx, int64_t timeout_ms, kg_error_t *err);

int kg_enlist(kg_kernel_t *k, kg_ctx_t *ctx);  /* host.c: it is among the instances now; -1 out of memory */
void kg_unlist(kg_kernel_t *k, kg_ctx_t *ctx); /* and not any more */
/* Drains, unlists and takes it down. -1 and a sentence if it does not end. */
int kg_stop(kg_kernel_t *k, kg_ctx_t *ctx, const char *why, kg_error_t *err);
kg_ctx_t *kg_find(kg_kernel_t *k, const char *name); /* borrowed; NULL if there is none */
kg_lane_t *kg_lane_named(kg_kernel_t *k, const char *name, kg_error_t *err);

/* Loads the file, after a trial in a process of its own, with this name and configuration, if it was never seen before
 * and `tried`. */
int kg_source_open(kg_kernel_t *k, const char *path, const char *name, kg_doc_t *config, bool tried, kg_source_t *out,
                   kg_error_t *err);
/* Same in a process of its own, or from another machine. */
int kg_source_remote(kg_kernel_t *k, const kg_remote_spec_t *spec, kg_source_t *out, kg_error_t *err);
void kg_source_close(kg_source_t *s);

/* Makes an instance, takes the source over, and brings it up to ready. NULL and a sentence; nothing is left then. */
kg_ctx_t *kg_bring_up(kg_kernel_t *k, const char *name, kg_lane_t *lane, kg_source_t *src, kg_doc_t *config,
                      char **wanted, kg_ctx_t *predecessor, kg_error_t *err);
/* Destroys the instance in its lane, unloads its file, drops the reference. `why` is for those who still wait. -1 and a
 * sentence, also in the log, if its lane did not do so in time: it will be taken down when it does. */
int kg_take_down(kg_ctx_t *ctx, const char *why, kg_error_t *err);
/* Takes away what ended late; `all`: there are no lanes any more, nothing can still run. */
void kg_bury(kg_kernel_t *k, bool all);

/*
 * The steps of a swap (swap.c). kg_hold(): from now on requests to `old` are held, until kg_go_on(): it serves again; a
 * successor `new` (may be NULL) that hung in activate() has the names already. Between them the state, which the caller
 * owns, goes from one to the other.
 */
void kg_hold(kg_ctx_t *old);
int kg_get_state(kg_ctx_t *old, kg_doc_t **state, kg_error_t *err);
int kg_give_state(kg_ctx_t *new, kg_doc_t *state, kg_error_t *err);
void kg_go_on(kg_ctx_t *old, kg_ctx_t *new);

/* kg_kernel_load() with the lock held; `tried`: a file never seen before is tried in a process of its own first. 1: it
 * is waited for. */
int kg_load(kg_kernel_t *k, const kg_plugin_spec_t *spec, bool tried, kg_error_t *err);

/* Its second half: starts what was opened, which is taken over. The name must be free. */
int kg_load_source(kg_kernel_t *k, const kg_plugin_spec_t *spec, kg_source_t *src, kg_error_t *err);
char **kg_names_copy(const char *const *names); /* NULL of NULL; caller frees */

/* Ends the lanes, whose instances must be gone. */
void kg_kernel_end_lanes(kg_kernel_t *k);

/* trial.c: runs the file in a process of its own. */
int kg_trial(kg_kernel_t *k, const char *path, const char *name, kg_doc_t *config, kg_error_t *err);

#endif
