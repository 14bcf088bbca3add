#ifndef NODE_H
#define NODE_H
/*
 * The agent of one node: what it knows, and what its parts offer each other. Everything runs in the lane's thread.
 * Strings in structures are malloc'ed and owned by them unless said otherwise.
 */
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"
#include "kube/client.h"
#include "kube/host.h"
#include "kube/informer.h"
#include "kube/json.h"
#include "kube/tree.h"
#include "kube/values.h"

typedef struct agent agent_t;
typedef struct pod pod_t;
typedef struct box box_t;

/* --- containers
 * ------------------------------------------------------------------------------------------------------- */

typedef enum { BOX_MAIN, BOX_INIT, BOX_SIDECAR, BOX_EPHEMERAL } box_kind_t;
typedef enum { BOX_NONE, BOX_RUNNING, BOX_EXITED } box_state_t;                        /* what the runtime has */
typedef enum { STEP_IDLE, STEP_IMAGE, STEP_PULL, STEP_CREATE, STEP_START } box_step_t; /* what is under way */

/* How a container ended; also the present end while state is BOX_EXITED. */
typedef struct box_end {
  bool there;
  char *id;
  int64_t exit, started_us, finished_us; /* wall clock */
  const char *reason;                    /* literal: Completed, Error, OOMKilled, StartError, ContainerStatusUnknown */
  char *message;
} box_end_t;

#define LOST_MESSAGE "The container could not be located when the pod was terminated"

typedef enum { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_KINDS } probe_kind_t;

typedef struct probe_net probe_net_t; /* probe_net.c: a connection under way */

/* One probe of one running container. */
typedef struct probe {
  box_t *box;
  probe_kind_t kind;
  bool there, known, good;     /* the container has such a probe; a result counts; which */
  bool on;                     /* it runs, or its next turn is due; false: never again for this container */
  int64_t successes, failures; /* in a row */
  int64_t began_ms;            /* the last turn */
  uint64_t timer, timeout, call;
  probe_net_t *net; /* NULL: none */
  kube_buf_t out;   /* what an exec probe said */
  int64_t exit;     /* of an exec probe; -1: not yet */
} probe_t;

struct box {
  pod_t *pod;
  char *name;
  box_kind_t kind;
  box_state_t state;
  box_step_t step;
  int64_t attempt; /* of the container that is or was; the restart count */
  char *id;        /* of it; NULL: none yet */
  int64_t started_us;
  unsigned images_left; /* volumes' images that are still to be looked for before its own */
  char *image;          /* name of the one it is made of, or that was last looked for; NULL: none yet */
  char *image_id;
  kg_doc_t *user;          /* {uid, gid, additionalGids} of its first process; NULL: not known */
  char *image_user;        /* of the image that is here: whom it runs as if nobody says; NULL: not known */
  int64_t in_sandbox;      /* attempt of the sandbox it is or was in */
  box_end_t end, last;     /* end: how the present one ended; last: the one before it */
  const char *wait_reason; /* literal; NULL: ContainerCreating or PodInitializing */
  char *wait_message;
  int64_t retry_ms;                    /* not before this (monotonic) */
  int64_t crash_ms, crash_at, pull_ms; /* present backoffs; wall clock in ms when the crash backoff grew last */
  int64_t pull_began_us, pull_failed_ms;
  char *pull_error; /* NULL: the last one went well */
  uint64_t timer, pull_call;
  bool stopping, hook_running, hook_done; /* hook: postStart; done: ran, or there is none */
  bool lost;                              /* its end came with the runtime's: no reason to wait with the next one */
  bool awaits_turn;                       /* it is to end, its preStop hook is over, and others end before it */
  bool renewing; /* it was ended so that the next one comes, whatever its restart policy says of its end */
  int64_t stop_grace_ms, stop_began_ms;
  kg_doc_t *applied;  /* the pod whose spec's resources are in force in what runs; NULL: not known */
  kg_doc_t *applying; /* the one a resize under way brings */
  int64_t resize_retry_ms;
  char *resize_error; /* of the last resize; NULL: it went well */
  struct hook *hook;  /* under way; NULL: none */
  probe_t probe[PROBE_KINDS];
};

/* --- pods
 * --------------------------------------------------------------------------------------------------------------- */

typedef enum { SB_NONE, SB_STARTING, SB_READY, SB_STOPPING, SB_STOPPED, SB_REMOVING, SB_REMOVED } sandbox_state_t;

typedef struct condition {
  const char *type; /* literal */
  bool there, on;
  const char *reason; /* literal or NULL */
  char *message;
  char since[32];
} condition_t;
enum {
  COND_SANDBOX,
  COND_INITIALIZED,
  COND_READY,
  COND_CONTAINERS,
  COND_SCHEDULED,
  COND_DISRUPTION,
  COND_RESIZE,
  COND_PENDING,
  CONDITIONS
};

typedef struct op op_t;
typedef void (*op_fn)(pod_t *p, box_t *b, const kg_msg_t *m);

/* A service account token for one projected source. */
typedef struct token {
  struct token *next;
  pod_t *pod;
  char *audience; /* "": the API server's */
  int64_t seconds;
  char *text;           /* NULL: none yet */
  uint64_t call, timer; /* a request under way; when the next one is due */
  char *error;          /* of the last request, until it was told */
} token_t;

struct pod {
  pod_t *next;
  agent_t *agent;
  char *uid, *ns, *name;
  char *logs;          /* directory of its containers' logs */
  kg_doc_t *doc;       /* the API's object, latest; NULL for an orphan */
  kg_doc_t *allocated; /* the one whose resources the node has granted; NULL: none yet */
  char *deferred;      /* why it does not grant those of the latest; NULL: it does */
  int64_t deferred_generation;
  bool resizing; /* it was told that a resize began */
  bool gone;     /* the API has it no more */
  bool is_static;
  char *mirror_uid; /* of a static pod: the API's object that shows it; NULL: none now */
  bool finished;    /* every container has ended for good */
  const char *fail_reason;
  char *fail_message; /* the agent ended it: DeadlineExceeded, ... */
  sandbox_state_t sandbox;
  char *sandbox_id, *ip, *netns; /* netns: path; NULL: the host's, or not known */
  bool initialized;              /* init containers are done in the present sandbox */
  int64_t sandbox_attempt, sandbox_retry_ms, sandbox_backoff_ms;
  int volumes;             /* 0: not ready, 1: ready */
  struct claimed *claims;  /* where the volumes behind its claims are, those that were found */
  int64_t claims_since_ms; /* since when it waits for others; 0: it did not have to */
  int64_t volumes_retry_ms, volumes_backoff_ms;
  token_t *tokens;
  box_t **boxes; /* in the order of the spec, ephemeral ones last; each has its place for good */
  size_t nboxes, room;
  op_t *ops;
  uint64_t sync_timer, wake_timer;
  int64_t wake_ms;
  condition_t cond[CONDITIONS];
  char start_time[32];
  kg_doc_t *sent; /* last patch acknowledged or under way */
  bool sending, sent_final, delete_asked;
  uint64_t status_retry;
  unsigned removing; /* calls of the removal under way */
  bool remove_failed;
};

/* --- agent
 * --------------------------------------------------------------------------------------------------------------- */

enum { NODE_MEMORY, NODE_DISK, NODE_PID, NODE_READY, NODE_CONDITIONS };
typedef struct node_condition {
  bool known, on;
  char since[32];
} node_condition_t;

struct stats;                 /* stats.c */
typedef struct fixed fixed_t; /* static.c */

struct agent {
  kg_ctx_t *ctx;
  char *name, *runtime, *network, *pod_cidr, *pods_dir, *ip, *cgroup_root;
  char *log_dir, *claims_dir;         /* of all pods' logs, for everybody; which of them are ours (log_dirs.c) */
  char *cluster_domain, *cluster_dns; /* cluster_dns: NULL: pods use the host's resolver */
  int64_t max_pods;
  kube_recorder_t *recorder;
  kube_informer_t *pods, *services, *node, *configmaps, *secrets, *classes; /* node: this one alone */
  kube_informer_t *claims, *persistent;                                     /* NULL: no pod here had a claim yet */
  pod_t *list;
  char *runtime_name, *runtime_version; /* NULL until it answered */
  bool runtime_up, network_up, active;
  bool mounts_recursively, strict_groups; /* what the runtime can: read-only mounts with all below, groupsPolicy */
  char *network_error;
  uint64_t watch_call, relist_timer, connect_timer;
  bool listing, adopted;
  int64_t list_asked_us;
  kg_doc_t *listed; /* the first list, until the pods are adopted */
  kg_doc_t *handed; /* backoffs to hand over, or taken over until the pods are adopted */
  /* node object and lease */
  bool registered, registering, node_sending, node_again, lease_there;
  char *node_uid;
  kg_doc_t *images;
  uint64_t node_timer, lease_timer, sweep_timer, rotate_timer, storage_timer;
  int64_t images_ms; /* when the images were looked at; 0: never */
  node_condition_t conditions[NODE_CONDITIONS];
  kg_doc_t *node_sent;  /* status that the API has, without its heartbeats */
  int64_t node_sent_ms; /* when */
  uint64_t lease_call;
  struct stats *stats;
  fixed_t *fixed; /* static pods */
  char *static_dir;
  int static_fd;
  uint64_t static_timer;
};

/* agent.c */
void agent_connect(agent_t *a); /* version, network, list, watch: until they answer, again and again */
void agent_relist(agent_t *a, int64_t delay_ms);
void agent_call(agent_t *a, const char *service, const char *topic, kg_doc_t *args, kg_reply_fn fn); /* takes args */
kube_informer_t *agent_configmaps(agent_t *a); /* started at first use; may not be synced yet */
kube_informer_t *agent_secrets(agent_t *a);
kube_informer_t *agent_runtime_classes(agent_t *a);
kube_informer_t *agent_claims(agent_t *a);
kube_informer_t *agent_persistent_volumes(agent_t *a);
pod_t *agent_pod(agent_t *a, kg_str_t ns, kg_str_t name); /* with an API object */
void agent_config_changed(agent_t *a, kg_str_t ns);       /* a configMap or secret: files and containers that wait */
void agent_stop(agent_t *a);                              /* forgets pods and calls; nothing is ended */
box_t *agent_box(agent_t *a, kg_str_t id);
void agent_watch_pods(agent_t *a); /* and services: kg_ready() when both are known */

/* pod.c */
pod_t *pod_new(agent_t *a, kg_view_t object, kg_doc_t *doc); /* linked into the agent */
pod_t *pod_new_orphan(agent_t *a, kg_view_t sandbox);
void pod_free(pod_t *p);                /* unlinks, cancels */
void pod_kick(pod_t *p);                /* pod_sync after the present handler, once */
void pod_wake(pod_t *p, int64_t at_ms); /* pod_kick at that time at the latest */
void pod_update(pod_t *p, kg_doc_t *doc);
kg_view_t pod_object(const pod_t *p);
kg_view_t pod_spec(const pod_t *p);
bool pod_ending(const pod_t *p); /* deleted, gone, finished or failed: nothing is started any more */
/* Sends to the runtime on behalf of a pod; takes args. fn is not called if the pod goes first. */
uint64_t pod_call(pod_t *p, box_t *b, const char *topic, kg_doc_t *args, int64_t timeout_ms, op_fn fn);
op_t *pod_op(pod_t *p, box_t *b, op_fn fn); /* for kube_api_*: arg for pod_replied */
void pod_op_set(op_t *op, uint64_t call);
void pod_replied(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *op);
void pod_cancel(pod_t *p, uint64_t call);
void pod_event(pod_t *p, const char *type, const char *reason, const char *fmt, ...) KG_PRINTF(4, 5);
/* The same about one of its containers (involvedObject.fieldPath). */
void box_event(box_t *b, const char *type, const char *reason, const char *fmt, ...) KG_PRINTF(4, 5);
void pod_dir(const pod_t *p, char *buf, size_t n);
kg_doc_t *id_args(const char *id);

/* pod_adopt.c */
void pod_adopt(pod_t *p, kg_view_t list); /* takes from runtime.list what belongs to it */
void pod_relisted(pod_t *p, kg_view_t list, int64_t asked_us);

/* handover.c */
kg_doc_t *backoffs_pack(const agent_t *a);
void backoffs_take(pod_t *p);

/* pod_remove.c: of a pod that has gone and whose containers have ended; frees it in the end */
void pod_remove(pod_t *p);

/* pod_sync.c */
void pod_sync(pod_t *p);

/* box.c */
void boxes_make(pod_t *p);
void boxes_add_ephemeral(pod_t *p);   /* those that came since */
const char *box_list(const box_t *b); /* of the spec: containers, initContainers, ephemeralContainers */
void box_free(box_t *b);
box_t *pod_box(const pod_t *p, kg_str_t name);
kg_view_t box_spec(const box_t *b);
void box_ensure(box_t *b);                              /* brings it a step closer to running */
bool box_policy_is(const box_t *b, const char *policy); /* the container's own restartPolicy, or else the pod's */
bool box_restarts(const box_t *b);                      /* its end is not final */
bool box_busy(const box_t *b);
/* preStop hook, TERM, KILL after the grace period. Records no event. Again with less grace: shortens it. */
void box_stop(box_t *b, int64_t grace_ms);
void box_signal(box_t *b);                          /* TERM for one that awaits its turn, if this is it */
void box_user_known(box_t *b, kg_view_t container); /* `user` of what the runtime says of it */
int64_t box_grace(const box_t *b);                  /* ms that its pod gives it to end */
void box_renew(box_t *b, int64_t grace_ms);         /* box_stop, and then the next one */
void box_follow_image(box_t *b);                    /* its spec names another image: it is made anew of that one */
void box_exited(box_t *b, int64_t exit, bool oom, int64_t started_us, int64_t finished_us, bool known);
void box_lost(box_t *b); /* the runtime that had it has gone, or forgot everything */
void box_wait(box_t *b, const char *reason, const char *fmt, ...) KG_PRINTF(3, 4);
void box_id(const pod_t *p, const char *name, int64_t attempt, char *buf, size_t n);
enum { SHOWN_ID = 65 };
/* As others see it: 64 hexadecimal digits, which collectors of logs and metrics count on. Returns buf. */
const char *box_shown_id(const char *id, char buf[SHOWN_ID]);
void box_log_path(const box_t *b, int64_t attempt, char *buf, size_t n);
void box_message_path(const box_t *b, int64_t attempt, char *buf, size_t n);
void box_is_running(box_t *b, int64_t started_us); /* the runtime started it, or has it running */
bool box_started(const box_t *b);
bool box_ready(const box_t *b);

/* image.c: brings the image here, then box_create() */
void box_image(box_t *b);
void box_create(box_t *b);

/* pull_secrets.c: 0 with *auth ({username, password}, caller owns; NULL: none), 1: the secrets are not known yet */
int pull_auth(pod_t *p, kg_str_t image, kg_doc_t **auth);

/* hooks.c, message.c */
/* done: error NULL: it went well, or there is none. It is called at once or later, not if hook_cancel comes first. */
typedef void (*hook_fn)(box_t *b, const char *error);
void box_run_hook(box_t *b, const char *name, int64_t timeout_ms, hook_fn done);
void hook_cancel(box_t *b);
char *box_termination_message(box_t *b);

/* args.c */
kg_doc_t *sandbox_args(pod_t *p, const char *id);
kg_doc_t *box_args(box_t *b, int64_t attempt, kg_error_t *err);
kg_doc_t *sandbox_update_args(const pod_t *p); /* for runtime.sandbox.update, of what it was granted */
kg_doc_t *update_args(const box_t *b);         /* for runtime.container.update, of the present spec */

/* env.c */
typedef struct env {
  char **names, **values;
  size_t n, room;
} env_t;
void env_set(env_t *e, kg_str_t name, const char *value); /* replaces */
const char *env_get(const env_t *e, kg_str_t name);
void env_free(env_t *e);
/* $(NAME) becomes its value, $$ a dollar, unknown names stay as they are. malloc'ed. */
char *env_expand(const env_t *e, kg_str_t text);
int env_build(box_t *b, env_t *e, kg_error_t *err);
kg_view_t config_object(pod_t *p, bool secret, kg_str_t name, kg_error_t *err); /* absent: 404, or 503 not known yet */
char *config_key(kg_view_t object, bool secret, kg_str_t key, size_t *n);       /* malloc'ed; NULL: no such key */
/* env_file.c: value of a fileKeyRef; 0 with *value (malloc'ed, NULL: optional and absent), or -1. */
int file_key(pod_t *p, kg_view_t ref, char **value, kg_error_t *err);
/* fields.c */
/* Value of a fieldRef or resourceFieldRef; malloc'ed, NULL with a sentence. b may be NULL for volumes. */
char *field_value(pod_t *p, kg_str_t path, kg_error_t *err);
char *resource_value(pod_t *p, kg_view_t ref, const box_t *b, kg_error_t *err);

/* resize.c, allocate.c: a new spec's resources are granted if the node has them; what runs then follows. */
void pod_allocate(pod_t *p);
void pod_allocation_found(pod_t *p);         /* after a restart: what the status says it was granted */
void pods_allocate_again(agent_t *a);        /* something has become free */
kg_view_t pod_allocated(const pod_t *p);     /* the spec with what it was granted */
kg_view_t box_allocated(const box_t *b);     /* the container in it */
kg_doc_t *pod_granted(const pod_t *p);       /* the object it stands in; borrowed */
bool amounts_same(kg_view_t a, kg_view_t b); /* two "resources"; one that is empty is as none */
void pod_resize_event(pod_t *p, const char *type, const char *reason, const char *what, const char *error);
void pod_limits_follow(pod_t *p); /* while it is resized: the group of the whole pod has what it was granted */
void pod_resize(pod_t *p);        /* has what is running follow what was granted */
/* True: some container does not have yet what it was granted. *error: why the last attempt failed, or NULL; borrowed.
 */
bool pod_resizing(const pod_t *p, const char **error);
kg_view_t box_amounts(const box_t *b); /* `resources` in force; of one that does not run: those granted */
void box_amounts_apply(box_t *b);      /* a container is made of what was granted */
/* One that runs was found; shown: its status in the API, which says whether its spec was changed meanwhile. */
void box_amounts_found(box_t *b, kg_view_t shown);
void box_amounts_free(box_t *b);

/* admit.c: the reason (literal) and *message (malloc'ed) if the node does not run such pods; NULL: it does */
const char *pod_refused(const pod_t *p, char **message);
const char *pod_too_big(const pod_t *p, char **message); /* only whether its spec's requests fit beside the others' */

/* resources.c */
const char *pod_qos(kg_view_t spec); /* Guaranteed, Burstable, BestEffort */
typedef struct limits {
  int64_t cpu_shares, cpu_quota, cpu_period, memory;
} limits_t;
void box_limits(kg_view_t container, limits_t *l);
int64_t pod_request(kg_view_t spec, const char *resource); /* in thousandths, of all together */
void pod_limits(kg_view_t spec, limits_t *l); /* of all together; quota and memory 0: one of them has none */

/* volumes.c: 0 ready, 1 wait (something comes), -1 with a sentence */
int volumes_prepare(pod_t *p, kg_error_t *err);
void volumes_refresh(pod_t *p); /* sources changed: write them again */
void volumes_remove(pod_t *p);
const char *volume_path(const pod_t *p, kg_view_t volume, char *buf, size_t n); /* on the host; NULL: not supported */
int64_t pod_fs_group(const pod_t *p);                                           /* -1: none */
bool mount_is_read_only(kg_view_t mount, kg_view_t volume);
/* Read-only with all that is mounted below: it asks for it, and the runtime can. */
bool mount_is_recursive(const pod_t *p, kg_view_t mount, kg_view_t volume);
bool volume_is_source(kg_view_t volume); /* configMap, secret, downwardAPI, projected: read-only for containers */
void volumes_remove_strange(agent_t *a); /* files of pods that nobody knows */
void volumes_sweep(agent_t *a);          /* what was left in the trash, bit by bit */

int host_path_check(kg_view_t volume, kg_error_t *err); /* makes it, if its type says so */

/* ownership.c: all that is in `root` is given to a group, which may read and write it */
typedef struct ownership ownership_t;
/* unless_root_is: nothing is to be done if the root is the group's already. NULL: nothing is (or no memory). */
ownership_t *ownership_new(const char *root, int64_t gid, bool unless_root_is);
int ownership_go_on(ownership_t *o, kg_error_t *err); /* 1: there is more to do; 0: all is done; -1 */
void ownership_free(ownership_t *o);                  /* NULL is allowed */

/* claims.c: a volume behind a claim, persistentVolumeClaim or ephemeral */
bool volume_is_claim(kg_view_t volume);
int claim_prepare(pod_t *p, kg_view_t volume, bool as_device, kg_error_t *err); /* as volumes_prepare */
const char *claim_path(const pod_t *p, kg_view_t volume); /* on the host; NULL: not prepared yet */
void claims_free(pod_t *p);

kg_view_t volume_named(const pod_t *p, kg_str_t name); /* of its spec; absent: there is none */

/* mounts.c: the volumes a container wants, and hosts, host name and resolver; packs into an open array */
int volume_mounts(box_t *b, const env_t *e, kg_pack_t *out, kg_error_t *err);
/* Mounts path `sub` of directory `root` at `target`, whatever links are on the way; made if it is not there. */
int mount_beneath(const char *root, const char *sub, const char *target, kg_error_t *err);

/* etc.c */
int etc_files(pod_t *p, kg_error_t *err); /* hosts, hostname, resolv.conf; once the address is known */
void pod_hostname(const pod_t *p, char buf[256]);

/* sources.c: files of one configMap, secret, downwardAPI or projected volume */
typedef struct file {
  struct file *next;
  char *path;
  char *data;
  size_t n;
  int mode;
  int64_t uid; /* whose it is; -1: root's */
} file_t;
int source_files(pod_t *p, kg_view_t volume, file_t **files, kg_error_t *err); /* as volumes_prepare */
void files_free(file_t *f);

/* files.c */
int make_dirs(const char *path, int mode, kg_error_t *err);
int write_file(const char *path, const void *data, size_t n, int mode, kg_error_t *err); /* whole or not at all */
int write_atomically(const char *dir, const file_t *files, int64_t gid, int64_t now_us, kg_error_t *err);
bool is_mounted(const char *path); /* a file system of its own */
bool path_is_local(kg_str_t path); /* relative, without .. */

/* tokens.c */
int token_text(pod_t *p, kg_view_t source, const char **text, kg_error_t *err); /* as volumes_prepare */
void tokens_free(pod_t *p);

/* probes.c, probe_net.c */
void probes_start(box_t *b);
void probes_stop(box_t *b);
void probe_done(probe_t *pr, bool good, const char *text);
void probe_unknown(probe_t *pr, const char *text); /* it could not be done: counts for nothing. NULL: and is not told */
void probe_warning(probe_t *pr, const char *text); /* good, but */
void probe_quiet(probe_t *pr);                     /* ends what is under way */
void probe_connect(probe_t *pr, kg_view_t spec);   /* httpGet, tcpSocket, grpc */
void probe_net_free(probe_t *pr);
/* Of a probe or hook over the network: */
int box_port(const box_t *b, kg_view_t port);     /* by number or name; 0: there is none */
char *box_host(const box_t *b, kg_view_t action); /* malloc'ed; its own, or else the pod's address */
char *http_path(kg_view_t action);                /* malloc'ed */
/* The request for an httpGet action; at: host and port. */
void http_get(kube_buf_t *out, kg_view_t action, const char *path, const char *at, const char *agent);
/* probe_grpc.c: frames of one call of grpc.health.v1.Health/Check */
typedef struct grpc_check grpc_check_t;
grpc_check_t *grpc_check_new(const char *authority, kg_str_t service);
void grpc_check_free(grpc_check_t *g);
int grpc_check_in(grpc_check_t *g, const void *data, size_t n); /* -1: this is no HTTP/2 */
int grpc_check_out(grpc_check_t *g, kube_buf_t *out);
bool grpc_check_over(const grpc_check_t *g, bool *good, char text[256]);

/* status.c */
kube_node_t *box_status(kube_arena_t *ar, box_t *b);
const char *pod_phase(const pod_t *p);
/* status_send.c */
void status_send(pod_t *p);          /* sends what has changed */
bool status_settled(const pod_t *p); /* nothing to send, nothing under way */
void status_adopt(pod_t *p);         /* times from the API's object */

/* node_status.c, node_facts.c, lease.c */
void node_register(agent_t *a);
void node_changed(agent_t *a);                         /* send the node's status soon */
kube_node_t *node_facts(agent_t *a, kube_arena_t *ar); /* capacity, allocatable, addresses, nodeInfo, ... */
void node_resources(agent_t *a, kube_arena_t *ar, kube_node_t *status); /* sets capacity and allocatable in it */
void lease_start(agent_t *a);
char *host_ip(void); /* malloc'ed */
void boot_id(char buf[64]);
void node_labels(agent_t *a, kube_arena_t *ar, kube_node_t *labels);
/* Whether one of the first three conditions holds: too little memory, disk or process ids left. */
bool node_pressure(agent_t *a, int condition);

/* Thousandths of what the node has to give pods of a resource. */
int64_t node_allocatable(agent_t *a, const char *resource);
int64_t meminfo(const char *key); /* a line of /proc/meminfo in bytes */

/* stats.c: what node and containers use, read only when somebody asks */
typedef struct usage {
  int64_t cpu_ns, memory, working_set;
} usage_t;
typedef struct sample {
  int64_t at_us;
  usage_t node;
  kg_doc_t *containers; /* runtime.stats: [{id, cpu_ns, memory_bytes, memory_ws}] */
} sample_t;
/* now and then: two samples, a second to a minute apart; NULL, NULL: there are none, error says why. */
typedef void (*stats_fn)(agent_t *a, const sample_t *then, const sample_t *now, const char *error, void *arg);
void stats_ask(agent_t *a, stats_fn fn, void *arg); /* fn is called later, once; also when the agent stops */
void stats_stop(agent_t *a);
/* Of container `id` in `s`; false: it was not there. */
bool stats_of(const sample_t *s, kg_str_t id, usage_t *u);
/* Cores in billionths between the two. */
int64_t stats_rate(const sample_t *then, const sample_t *now, int64_t cpu_then, int64_t cpu_now);
void node_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

/* static.c */
void static_start(agent_t *a);
void static_stop(agent_t *a);
bool static_known(const agent_t *a); /* the API was asked about each */
void static_settled(agent_t *a);     /* agent.c: called when that may have changed */
void static_adopt(agent_t *a, kg_view_t list);
bool static_is_mirror(kg_view_t object);
void static_mirror_seen(agent_t *a, kg_view_t object, bool deleted);
void static_forget(const pod_t *p); /* it is freed */

/* storage.c */
void storage_soon(agent_t *a); /* a pod's volumes are there: what it takes on disk is looked at if it has limits */

/* image_gc.c */
void images_look(agent_t *a); /* every five minutes, or at once when the disk is short: unused images go */

/* log_dirs.c */
char *pod_log_dir(const pod_t *p); /* malloc'ed; from here on it is ours */
void pod_logs_remove(const pod_t *p);
void log_dir_remove(const char *claim); /* what a link in claims_dir leads to */
void log_link(const box_t *b);          /* of its present container, for collectors of logs */
void log_unlink(const box_t *b, const char *id);
void log_links_sweep(const agent_t *a,
                     const pod_t *p); /* those into directories that have gone; p: of this pod alone */

/* rotate.c */
void rotate_soon(agent_t *a); /* something runs: its log is looked at now and then */

/* page.c, page_stats.c, page_logs.c: what a kubelet serves over HTTP */
void node_page(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void page_reply(agent_t *a, const kg_msg_t *m, int code, const char *type, kube_buf_t *body); /* frees body */
void page_summary(agent_t *a, const sample_t *then, const sample_t *now, kube_buf_t *b);      /* /stats/summary */
void page_usage(agent_t *a, const sample_t *now, bool cadvisor,
                kube_buf_t *b); /* /metrics/resource, /metrics/cadvisor */
void page_logs(agent_t *a, const kg_msg_t *m, const char *path);

/* logs.c, streams.c, portforward.c, relay.c */
void node_logs(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void node_exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void node_attach(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void node_portforward(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
/* Answers stream `m` with what a stream of the runtime brings, both ways; takes args. */
void relay_open(agent_t *a, const kg_msg_t *m, const char *topic, kg_doc_t *args);
box_t *asked_box(agent_t *a, const kg_msg_t *m, pod_t **pod); /* NULL: it was answered */

/* util.c */
void set_str(char **at, char *value); /* frees the old, takes the new */
char *format(const char *fmt, ...) KG_PRINTF(1, 2);
void go_duration(int64_t ms, char buf[32]); /* "1m20s" */
void now_text(agent_t *a, char buf[32]);
int64_t config_ms(const agent_t *a, const char *key, int64_t fallback); /* "10s" in the configuration */
#define VIEW_STR(v, ...) kg_view_str(kg_view_path(v, __VA_ARGS__, NULL))

#endif
