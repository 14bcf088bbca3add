#ifndef KG_INSTANCE_H
#define KG_INSTANCE_H
/* Steps of an instance's life, as jobs for its lane. Each ends with job->rc and job->err. */
#include "lane.h"

kg_ctx_t *kg_instance_new(kg_kernel_t *k, const char *name, kg_lane_t *lane, const kg_plugin_t *desc, kg_doc_t *config);

/* It owns its names now. */
void kg_instance_activate(kg_ctx_t *ctx);

void kg_job_create(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job);    /* create() and start() */
void kg_job_claim(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job);     /* first load: claims its names, activate() */
void kg_job_drain(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job);     /* drain(); kg_drained() comes later */
void kg_job_hand_over(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job); /* job->doc: the state, may stay NULL */
void kg_job_accept(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job);    /* job->doc: the state */
void kg_job_take(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job); /* job->arg: the old instance, whose names it takes */
void kg_job_resume(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job);    /* rolled back: serve again; arg: who failed */
void kg_job_configure(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job); /* job->doc: the new configuration */
void kg_job_destroy(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job);   /* job->text: why, for those who wait */
void kg_job_stop_lane(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job);

#endif
