#ifndef KG_REMOTE_INTERNAL_H
#define KG_REMOTE_INTERNAL_H
/* The two halves of the proxy: remote.c, its life; remote_pass.c, its messages. All in its lane. */
#include "deliver.h"
#include "instance.h"
#include "remote.h"

#define KG_FIRST_PAUSE_MS 10
#define KG_LONGEST_PAUSE_MS 10000
#define KG_STABLE_MS 10000 /* a process that lived so long starts with the first pause again */
#define KG_END_MS 3000     /* a process that has not ended by then is killed */
#define KG_FIRST_REQUEST_ID (1ull << 40)

struct kg_remote {
  kg_port_t port; /* first */
  kg_wire_t wire;
  kg_kernel_t *k;
  kg_ctx_t *ctx; /* borrowed; NULL before kg_remote_create() */
  kg_process_t proc;
  char *name, *file, *dir;
  bool own; /* the process is ours: started, restarted and ended here */
  kg_plugin_t desc;
  char *texts[4], **services;
  kg_table_t calls; /* the host's id of a request -> kg_relayed_t */
  kg_table_t steps; /* id -> kg_job_t, or the remote itself if nobody waits */
  uint64_t last_step, start_timer;
  kg_job_t *last_job; /* host.destroy, answered */
  bool ending, accepts;
  atomic_bool serving;
  atomic_uint restarts;
  int64_t pause_ms, up_since_us;
  kg_port_t monitor;  /* of a tcp socket */
  int64_t connection; /* descriptor of the accepted one; -1: none */
};

/* 0 sent, 1 the host takes nothing now, -1 */
int kg_remote_send(kg_remote_t *r, const kg_msg_t *m, uint64_t id, kg_error_t *err);
void kg_remote_deliver(kg_lane_t *lane, kg_ctx_t *ctx, kg_parcel_t *p);
void kg_remote_receive(kg_lane_t *lane, kg_port_t *port);
void kg_remote_flush(kg_lane_t *lane, kg_port_t *port);
void kg_remote_said(kg_ctx_t *ctx, const kg_msg_t *m);
void kg_remote_step_answered(kg_ctx_t *ctx, const kg_msg_t *m);
void kg_remote_ended(kg_ctx_t *ctx);
void kg_remote_kill(kg_ctx_t *ctx);
void kg_remote_await_end(kg_ctx_t *ctx);
int kg_remote_monitor(kg_remote_t *r, kg_error_t *err);
void kg_remote_monitor_end(kg_remote_t *r);
void kg_remote_came_by(kg_remote_t *r, int fd);
void kg_remote_look_at_connection(kg_remote_t *r);

#endif
