#ifndef KG_REMOTE_H
#define KG_REMOTE_H
/*
 * A plugin in another process, seen from the kernel: a proxy instance whose messages go over a ZeroMQ socket to its
 * host (PROTOCOL.md rules 12-15). The manager opens it; from kg_remote_create() on it belongs to its lane.
 */
#include <sys/types.h>

#include "lane.h"
#include "wire.h"

typedef struct kg_remote_spec {
  const char *name;   /* instance */
  const char *file;   /* absolute path; NULL: the host is started by somebody else and connects to `listen` */
  const char *listen; /* tcp://ADDRESS:PORT; NULL: ipc in the run directory */
  const char *dir;    /* a shadow's own directory, where it finds its data and run directory; NULL: the kernel's */
} kg_remote_spec_t;

/* Manager: binds the socket and starts the host process, if it is ours. NULL and a sentence. The caller owns the remote
 * until an instance takes it over. */
kg_remote_t *kg_remote_open(kg_kernel_t *k, const kg_remote_spec_t *spec, kg_error_t *err);
/* Manager: returns when the host has said who it is; -1 and a sentence (KG_EDEADLINE: nobody came in time). */
int kg_remote_greet(kg_remote_t *r, int64_t wait_ms, kg_error_t *err);
/* Ends the host process and frees everything. Manager, or the lane's last step. NULL is allowed. */
void kg_remote_free(kg_remote_t *r);
/* What the host said of its plugin; lives as long as the remote. Its functions are NULL: steps go to the host. */
const kg_plugin_t *kg_remote_descriptor(const kg_remote_t *r);
const char *kg_remote_path(const kg_remote_t *r);
/* Any thread while the instance is in the kernel's list. NULL: it is on another machine. */
kg_pulse_t *kg_remote_pulse(kg_remote_t *r);
pid_t kg_remote_pid(const kg_remote_t *r); /* 0: none now */

/* Any thread: it can be asked now; how often it was started again. */
bool kg_remote_up(const kg_remote_t *r);
unsigned kg_remote_restarts(const kg_remote_t *r);

/* Lane: its plugin has accept(), so that it only reads before activate(); a request of the host is on its way. */
bool kg_remote_accepts(const kg_remote_t *r);
bool kg_remote_relays(const kg_remote_t *r, uint64_t id);

/* Steps of its life, as jobs of instance.c; lane. */
void kg_remote_create(kg_ctx_t *ctx, kg_job_t *job);
void kg_remote_step(kg_ctx_t *ctx, kg_job_t *job, const char *topic);
/* Nothing more is sent or taken; the process ends. Lane. */
void kg_remote_detach(kg_ctx_t *ctx);

/* remote_process.c: the process and the socket. */
typedef struct kg_process {
  _Atomic pid_t pid; /* 0: none now */
  int pidfd;         /* can be read when it has ended; -1: none */
  int life;          /* the host ends when this is closed */
  int memory;        /* memfd of the pulse */
  kg_pulse_t *pulse; /* shared with the host */
  char address[200]; /* of the socket */
} kg_process_t;
int kg_process_prepare(kg_kernel_t *k, kg_process_t *p, const char *name, const char *listen, kg_error_t *err);
/* `dir`: a shadow's; NULL: the kernel's directories. */
int kg_process_start(kg_kernel_t *k, kg_process_t *p, const char *name, const char *file, const char *dir,
                     kg_error_t *err);
/* Kills it if it still runs, and waits for it. Text (of at least 100 bytes): how it ended. */
void kg_process_end(kg_process_t *p, char *how, size_t room);
void kg_process_free(kg_process_t *p);
/* A DEALER bound to the process's address; NULL and a sentence. */
void *kg_process_socket(kg_kernel_t *k, const kg_process_t *p, kg_error_t *err);

#endif
