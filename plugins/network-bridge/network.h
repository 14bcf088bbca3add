#ifndef NETWORK_H
#define NETWORK_H
/*
 * Pod addresses over a bridge. The lane's thread keeps the state (pods, addresses, records); whatever talks to the
 * system's network is a job for one worker thread, because that must enter other namespaces and may wait for the
 * kernel. DATA/network/pods/ID   record of an attached pod (msgpack), written before its link is made
 *   DATA/network/bridge    name of the bridge, for scripts/node-reset
 *   DATA/network/cidr      the pod network, so that a restart adopts before the node agent has said it again
 */
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"
#include "kube/values.h"
#include "netfilter/flows.h"
#include "netfilter/nft.h"

enum { PATH_SIZE = 512 };

typedef struct network network_t;

typedef struct cidr {
  uint32_t net;  /* host byte order */
  unsigned bits; /* 0: none */
} cidr_t;

typedef struct pod {
  struct pod *next;
  char *id;
  char *netns;
  char link[IFNAMSIZ]; /* the host's end */
  uint32_t ip;         /* host byte order */
  int64_t number;      /* grows with every pod */
  kg_doc_t *ports;     /* array of {hostPort, containerPort, protocol, hostIP}; NULL: none */
} pod_t;

/* --- addresses.c -----------------------------------------------------------------------------------------------------
 */

int cidr_parse(kg_str_t text, cidr_t *c, kg_error_t *err);
uint32_t cidr_gateway(const cidr_t *c);
bool cidr_holds(const cidr_t *c, uint32_t ip);
void ip_text(uint32_t ip, char text[16]);

typedef struct addresses {
  uint8_t *taken; /* a bit for each */
  uint32_t size, last;
  cidr_t cidr;
} addresses_t;
int addresses_init(addresses_t *a, const cidr_t *c, kg_error_t *err); /* frees what was there */
void addresses_free(addresses_t *a);
/* The next free one after the last taken, so that one just freed comes back as late as can be. 0: all are taken. */
uint32_t addresses_take(addresses_t *a);
void addresses_keep(addresses_t *a, uint32_t ip); /* a known pod has it */
void addresses_give(addresses_t *a, uint32_t ip);

/* --- record.c --------------------------------------------------------------------------------------------------------
 */

int record_write(network_t *n, const pod_t *p, kg_error_t *err);
void record_remove(network_t *n, const char *id);
int records_read(network_t *n, kg_error_t *err); /* fills n->pods; those whose namespace is gone are dropped */
int note_write(network_t *n, const char *name, const char *text, kg_error_t *err);
char *note_read(network_t *n, const char *name); /* malloc'ed; NULL: none */

/* --- rules.c ---------------------------------------------------------------------------------------------------------
 */

/* Input for nft, malloc'ed; NULL: out of memory. The whole table, host ports of all pods included. */
char *rules_table(const network_t *n);
/* Only the host ports of all pods. */
char *rules_ports(const network_t *n);
bool pod_has_host_port(const pod_t *p);
/* Its host ports for UDP, and where they lead to; there false: nowhere any more. */
void pod_udp_ports(const pod_t *p, bool there, leds_t *out);

/* --- worker.c, work.c ------------------------------------------------------------------------------------------------
 */

typedef enum { JOB_BRIDGE, JOB_ATTACH, JOB_RULES, JOB_SWEEP } job_kind_t;

typedef struct job job_t;
struct job {
  job_t *next;
  job_kind_t kind;
  kg_msg_t *request; /* to answer; NULL: none */
  char *id, *netns, *rules;
  leds_t udp; /* host ports that come or go: their clients follow when the rules have changed */
  char bridge[IFNAMSIZ], link[IFNAMSIZ];
  cidr_t cidr;
  uint32_t ip;
  unsigned mtu;            /* ATTACH: to set; BRIDGE: set by the worker to what it found */
  char (*links)[IFNAMSIZ]; /* BRIDGE: those to keep; SWEEP: those to remove */
  size_t nlinks;
  void (*done)(network_t *n, job_t *j); /* lane thread; the job is freed afterwards */
  kg_error_t err;                       /* code 0: it was done */
  char warning[200];
};
job_t *job_new(job_kind_t kind, const kg_msg_t *request,
               void (*done)(network_t *n, job_t *j)); /* NULL: out of memory */
void job_free(job_t *j);

typedef struct worker worker_t;
int worker_start(network_t *n, worker_t **w, kg_error_t *err);
void worker_stop(network_t *n, worker_t *w); /* waits for the job under way; drops the others; NULL is allowed */
void worker_give(network_t *n, worker_t *w, job_t *j); /* takes the job over */
size_t worker_waiting(const worker_t *w);              /* jobs not done yet */

typedef struct netlink netlink_t;
/* Worker thread: does one job. host: the host's namespace and a netlink socket in it. False: the thread is lost in a
 * pod's namespace and may do no more. */
bool work(job_t *j, netlink_t *host, int host_ns);

/* --- netlink.c, links.c: worker thread -------------------------------------------------------------------------------
 */

netlink_t *netlink_open(kg_error_t *err);
void netlink_close(netlink_t *nl);
struct nlmsghdr;
/* Begins a message in the batch; every message is acknowledged. what: for sentences, a literal. */
struct nlmsghdr *netlink_add(netlink_t *nl, const char *what, int type, int flags, const void *head, size_t n);
/* Sends the batch and waits for all answers. The first failure that is not `forgive` (an errno, 0: none) is the result.
 */
int netlink_send(netlink_t *nl, int forgive, kg_error_t *err);
/* Calls fn for each message of a dump. */
int netlink_dump(netlink_t *nl, int type, const void *head, size_t n, void (*fn)(const struct nlmsghdr *m, void *arg),
                 void *arg, kg_error_t *err);

int bridge_make(netlink_t *nl, job_t *j);
bool bridge_is_used(const char *bridge, uint32_t own); /* any thread: it has ports, or another address than `own` */
int pod_link_make(netlink_t *nl, const job_t *j, int netns, kg_error_t *err); /* both ends, the other one named eth0 */
int pod_inside_make(netlink_t *inside, const job_t *j, kg_error_t *err);      /* lo, address, routes */
void links_remove(netlink_t *nl, char (*names)[IFNAMSIZ], size_t n);
/* Removes ports of the bridge that are not among the names to keep. */
void links_remove_others(netlink_t *nl, const job_t *j);

/* --- the state, pods.c, plugin.c
 * --------------------------------------------------------------------------------------*/

struct network {
  kg_ctx_t *ctx;
  char *dir;
  char bridge[IFNAMSIZ];
  cidr_t cidr, cluster; /* cluster: addresses that are reached without masquerade; bits 0: only the node's */
  bool ready;           /* the bridge is there */
  unsigned mtu;
  addresses_t addresses;
  pod_t *pods;
  int64_t number;
  worker_t *worker;
  char (*leaving)[IFNAMSIZ]; /* links of detached pods, removed soon unless their namespace took them away */
  size_t nleaving;
  uint64_t sweep_timer;
  nft_watch_t *watch;
  flows_t *flows;
  bool draining;
};

pod_t *pod_find(const network_t *n, kg_str_t id);
void pod_free(pod_t *p);
void pods_attach(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void pods_detach(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void pods_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void network_give(network_t *n, job_t *j); /* to the worker */

#endif
