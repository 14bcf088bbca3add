#ifndef SIM_H
#define SIM_H
/*
 * Sandboxes and containers that only pretend: they are what their script says, in this process's memory. What is there
 * is handed over in a swap; with the process it is gone, as containers are with their machine. Lane thread.
 */
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"
#include "kube/values.h"

typedef struct sim sim_t;
typedef struct pretended container_t;

enum { SCRIPT_EXITS = 16 };

/* How a container goes. Times in milliseconds; -1: never. */
typedef struct script {
  int64_t start_delay, run_time, stop_delay, ready_after, unready_after, exec_code, cpu_milli, memory;
  int64_t exits[SCRIPT_EXITS]; /* exit codes of its attempts; the last is that of all further ones */
  size_t nexits;
  bool oom;
  char error[128]; /* why it does not start; "": it does */
} script_t;

typedef struct sandbox {
  struct sandbox *next;
  char *id, *ip;
  kg_doc_t *args; /* of sandbox.run */
  int64_t created_us;
  bool ready;
} sandbox_t;

typedef enum { C_CREATED, C_RUNNING, C_EXITED } state_t;

struct pretended {
  container_t *next;
  sim_t *sim;
  char *id, *sandbox, *name, *image, *log_path;
  int64_t attempt, created_us, started_us, finished_us, exit_code;
  state_t state;
  script_t script;
  uint64_t timer;                /* its start, or its end */
  kg_msg_t *starting, *stopping; /* requests that wait for it */
};

typedef struct stream { /* a watch, or a log that is followed */
  struct stream *next;
  kg_msg_t *request;
  container_t *of; /* logs */
} stream_t;

struct sim {
  kg_ctx_t *ctx;
  script_t usual; /* the configuration's */
  kg_doc_t *pulled;
  sandbox_t *sandboxes;
  container_t *containers;
  stream_t *watches, *follows;
  uint32_t first_ip, ips, next_ip;
};

/* script.c: keys of a map with `prefix` before and maybe ".NAME" of the container behind override what is there */
void script_read(script_t *s, kg_view_t from, const char *prefix, const char *container);
void script_defaults(script_t *s);
int64_t script_exit(const script_t *s, int64_t attempt);

/* containers.c */
container_t *container_find(const sim_t *s, kg_str_t id);
sandbox_t *sandbox_find(const sim_t *s, kg_str_t id);
void sandbox_run(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void sandbox_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void sandbox_remove(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_create(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_start(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_remove(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void runtime_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void runtime_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
kg_doc_t *containers_pack(const sim_t *s); /* what runtime.list answers, and what a successor takes over */
void containers_unpack(sim_t *s, kg_view_t list);
void containers_resume(sim_t *s); /* timers of what was taken over */
void containers_free(sim_t *s);

/* logs.c: watches and logs */
void runtime_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void runtime_logs(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void watches_tell(sim_t *s, const container_t *c, const char *type);
void watches_end(sim_t *s);                                 /* and who follows logs: there is another runtime now */
void logs_more(sim_t *s, container_t *c, const char *text); /* to those who follow */
void logs_end(sim_t *s, container_t *c);
void streams_free(sim_t *s);
void reply_map(kg_ctx_t *ctx, const kg_msg_t *m, kg_pack_t *p); /* closes the open map, answers */
void pack_container(kg_pack_t *p, const container_t *c);

/* exec.c */
void runtime_exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

/* images.c */
void images_handle(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
bool image_there(const sim_t *s, kg_str_t name);
void image_id(kg_str_t name, char buf[80]);

#endif
