#ifndef NODE_SIM_H
#define NODE_SIM_H
/*
 * N nodes that are only objects: registered, kept alive by leases, and the pods bound to them go as their annotations
 * say, without a runtime. What happens is written to the API, so that a restart goes on from there. Lane thread.
 */
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"
#include "kube/client.h"
#include "kube/informer.h"
#include "kube/tree.h"
#include "kube/values.h"

typedef struct sim sim_t;
typedef struct pod pod_t;

/* How a pod's containers go. Times in milliseconds; -1: never. */
enum { SCRIPT_EXITS = 16 };
typedef struct script {
  int64_t start_delay, ready_after, unready_after, run_time, stop_delay;
  int64_t exits[SCRIPT_EXITS]; /* exit codes of its attempts; the last is that of all further ones */
  size_t nexits;
  bool oom;
  char pull_error[200]; /* why its images do not come; "": they do */
} script_t;

/* Waiting: for its restart; pulling: for an image that does not come. */
typedef enum { P_NEW, P_PULLING, P_RUNNING, P_WAITING, P_ENDED } pod_state_t;
enum { CODE_KILLED = 137, CODE_TERMINATED = 143 };

struct pod {
  pod_t *next; /* of the same hash */
  sim_t *sim;
  char *uid, *ns, *name;
  uint32_t node;
  pod_state_t state;
  script_t script;
  bool sending, again, was_ended;     /* again: has changed meanwhile; was_ended: it has ended at least once */
  bool deleting, delete_sent, unborn; /* unborn: it ended before it ran */
  int64_t code;                       /* with which it ended last */
  int64_t restarts, backoff_ms, start_us, started_us, finished_us; /* start: of the pod; started: of its containers */
  uint32_t ip;                                                     /* 0: none yet */
  uint64_t timer, call;
};

typedef struct node {
  bool there, leased, lease_sending;
  char uid[40];
} node_t;

struct sim {
  kg_ctx_t *ctx;
  char *prefix;
  node_t *nodes;
  uint32_t count, registered, next_register, in_flight, next_lease;
  int64_t lease_s;
  uint64_t lease_timer, register_timer;
  script_t usual;
  kube_informer_t *informer;
  pod_t **table;
  size_t pods, room; /* room: a power of two */
  uint32_t first_ip, ips, next_ip;
  bool active;
};

/* nodes.c */
void nodes_register(sim_t *s);
void node_name(const sim_t *s, uint32_t i, char buf[256]);
bool node_index(const sim_t *s, kg_str_t name, uint32_t *i);
void node_address(uint32_t i, char buf[20]);

/* pods.c */
void pods_changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg);
void pods_adopt(sim_t *s); /* all that the informer has */
void pods_free(sim_t *s);
kg_view_t pod_object(const pod_t *p); /* absent: the API has it no more */
bool pod_ready(const pod_t *p);
void script_read(script_t *s, kg_view_t from, const char *prefix);

/* status.c */
kg_doc_t *pod_patch(const pod_t *p); /* its status, as a kubelet would report it */

#endif
