#ifndef OCI_H
#define OCI_H
/*
 * Sandboxes and containers of one node. Everything runs in the lane's thread unless said otherwise; strings in
 * structures are malloc'ed and owned by them. What is on disk is written before it is done, so that a restart finds it:
 *   DATA/runtime/sandboxes/ID             record of a sandbox (msgpack)
 *   DATA/runtime/containers/ID/record     record of a container; beside it config.json, upper, work, rootfs,
 * conmon.pid, pid DATA/runtime/exits/ID                 exit code, written by conmon RUN/ns/ID/{net,ipc,uts,shm} the
 * sandbox's namespaces, bind mounts RUN/runc                              runc's own state
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "image.h"
#include "kogge/plugin.h"
#include "kube/json.h"
#include "kube/tree.h"

enum { PATH_SIZE = 512 };

typedef struct oci oci_t;
typedef struct sandbox sandbox_t;
typedef struct container container_t;

struct sandbox {
  sandbox_t *next;
  char *id;
  kg_doc_t *args; /* of sandbox.run */
  char *ip;       /* NULL: none (host network) */
  kg_doc_t *ips;  /* array */
  int64_t created_us;
  bool ready;
  bool making; /* sandbox.run is under way */
  bool host_net, host_ipc, host_pid;
};

typedef enum { C_CREATED, C_RUNNING, C_EXITED } state_t;

typedef struct creating creating_t; /* what container.create waits for */
typedef struct starting starting_t; /* what container.start waits for */

typedef struct waiter { /* a container.stop that waits for the end, or a create for what was left of it to go */
  struct waiter *next;
  kg_msg_t *request;
} waiter_t;

struct container {
  container_t *next;
  oci_t *oci;
  char *id, *sandbox, *name, *image, *log_path, *stop_signal;
  char *image_id, *image_ref; /* "sha256:..." of its configuration; "repository@sha256:...", or the same */
  char *more_images;          /* ids of those it has mounted, each with a newline after it; NULL: none */
  char *program, *kind;       /* the OCI runtime that made it, as oci_t.runc and oci_t.kind: no other knows it */
  kg_doc_t *user;             /* {uid, gid, additionalGids} of its first process; NULL: not known */
  int64_t attempt;
  state_t state;
  bool tty, oom, creating;
  bool removing; /* container.remove is under way */
  bool begun;    /* its start was asked for: it may have run, whatever else is known */
  pid_t pid, monitor;
  int64_t created_us, started_us, finished_us;
  int64_t exit_code;
  char *reason; /* NULL: what the exit code says */
  waiter_t *waiters;
  uint64_t kill_timer;
  int64_t grace_ms; /* left of the stop under way */
  starting_t *start;
  creating_t *work;
};

typedef struct watcher { /* a runtime.watch stream */
  struct watcher *next;
  kg_msg_t *request;
} watcher_t;

typedef struct proc proc_t;
typedef struct log_stream log_stream_t;
typedef struct exec_stream exec_stream_t;
typedef struct attach_stream attach_stream_t;

struct oci {
  kg_ctx_t *ctx;
  char *dir, *run, *runc, *conmon, *cgroup_root; /* runc: path of the OCI runtime; cgroup_root: "/kogge-..." */
  char *kind, *version;                          /* of the OCI runtime: "runc" or "crun"; NULL: not known yet */
  bool unified;                                  /* cgroup v2 only */
  bool moving;                                   /* cgroup_move.c: a thread is at it, */
  atomic_int moves;                              /* and makes so many more */
  int64_t least_oom_score;                       /* a container can get */
  images_t *images;
  sandbox_t *sandboxes;
  container_t *containers;
  watcher_t *watchers;
  proc_t *procs;
  log_stream_t *logs;
  exec_stream_t *execs;
  attach_stream_t *attaches;
  unsigned detaching; /* sandboxes that the network lets go now */
  int64_t leave_by;   /* drained: when it stops waiting */
  int exits_fd;       /* inotify on DATA/runtime/exits */
  int logs_fd;        /* inotify for followed logs; -1: none yet */
};

/* --- proc.c: processes that never block the lane
 * ------------------------------------------------------------------------- */

/* How it ended: exit code (128 + signal), what it wrote to standard output and error (at most 64 KB each,
 * NUL-terminated). */
typedef struct proc_end {
  int code;
  const char *out, *err;
} proc_end_t;
typedef void (*proc_fn)(oci_t *o, const proc_end_t *end, void *arg);
/* Starts argv[0] with its output caught; fn comes when it has ended. dir: working directory or NULL. -1 with a
 * sentence; fn is not called then. */
int proc_run(oci_t *o, const char *const *argv, const char *dir, proc_fn fn, void *arg, kg_error_t *err);
/* The same with a minimal environment and descriptor fd3 as the child's 3, announced as conmon's sync pipe. */
int proc_run_with(oci_t *o, const char *const *argv, const char *dir, int fd3, proc_fn fn, void *arg, kg_error_t *err);
/* Runs work(arg, said) in a thread of its own: it may block shortly and touches only what is in arg. What it returns
 * and writes to `said` come as the end's code and err. */
enum { SAID_SIZE = 600 };
typedef int (*work_fn)(void *arg, char said[SAID_SIZE]); /* said: full of NULs */
int proc_thread(oci_t *o, work_fn work, proc_fn fn, void *arg, kg_error_t *err);
/* The same in a forked child: only what is safe after fork in a process with threads. */
int proc_fork(oci_t *o, work_fn work, proc_fn fn, void *arg, kg_error_t *err);
void procs_free(oci_t *o); /* forgets them; they run on */

/* --- sandbox.c
 * ----------------------------------------------------------------------------------------------------------- */

sandbox_t *sandbox_find(const oci_t *o, kg_str_t id);
void sandbox_run(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void sandbox_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void sandbox_remove(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
bool sandbox_shares_pid(const sandbox_t *s);           /* its containers are in one name space of processes, "pid" */
int pause_find(char path[PATH_SIZE], kg_error_t *err); /* the program kogge-pause */
void sandbox_drop_namespaces(const oci_t *o, const char *id);
void sandbox_shm_path(const oci_t *o, const sandbox_t *s, char path[PATH_SIZE]);
void sandbox_ns_path(const oci_t *o, const char *id, const char *ns, char path[PATH_SIZE]);
bool sandbox_alive(const oci_t *o, const sandbox_t *s); /* its network namespace is still mounted */
void sandbox_free(sandbox_t *s);
/* Asks the network to take its address back; s stays. */
void sandbox_detach(oci_t *o, const sandbox_t *s, kg_reply_fn fn, void *arg);

/* --- container.c
 * --------------------------------------------------------------------------------------------------------- */

container_t *container_find(const oci_t *o, kg_str_t id);
void container_create(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_free(container_t *c);
void container_unlink(container_t *c);
pid_t container_pid_file(const container_t *c, const char *name); /* in its directory; 0: not there */
const char *container_program(const container_t *c); /* of the OCI runtime that made it, if that is still installed */
void container_dir(const oci_t *o, const char *id, char path[PATH_SIZE]);
void container_uses(container_t *c, const char *image_id); /* keeps one more image from going */
void container_unuse_images(const container_t *c);         /* its own and those */
/* Mounts an image's layers; more: the options behind its lowerdir=... */
int overlay_mount(const image_t *image, const char *more, const char *path, kg_error_t *err);
/* image_mounts.c: those of args.mounts that are images, under dir */
int image_mounts_make(oci_t *o, container_t *c, kg_view_t args, const char *dir, kg_error_t *err);
/* Where the i-th of them, or the subPath of it that `mount` means, lies. */
int image_mount_source(kg_view_t mount, const char *dir, unsigned i, char path[PATH_SIZE], kg_error_t *err);
void container_mounts_drop(const char *dir); /* its root file system and its images */
char *runc_message(const char *said);        /* what runc means by its log lines; malloc'ed */

/* --- start.c ------------------------------------------------------------------------------------------------------ */

void container_start(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void start_end(container_t *c, const char *why); /* a start under way fails; NULL: nobody is answered any more */

/* --- ending.c: how containers end, by themselves or asked to
 * --------------------------------------------------------------- */

bool container_is_runc(const container_t *c); /* its first process is still the OCI runtime, not its program */
void container_stop(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_update(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_remove(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_reopen_log(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void container_kill(container_t *c, int signal);
void container_end(container_t *c, int64_t grace_ms); /* TERM, and KILL then; tells nobody */
void container_drop(container_t *c); /* what has ended: its mounts and files but its log, and what is known of it */
/* Reads the exit file if it is there; true if the container has ended by it. */
bool container_reap(container_t *c);
void container_ended(container_t *c, int64_t code, const char *reason); /* tells watchers and those who wait */
int exits_watch(oci_t *o, kg_error_t *err);
int exits_follow(oci_t *o, kg_error_t *err); /* its part, after kg_fd_forget() of exits_fd */
void exits_forget(oci_t *o);

/* --- leave.c: another one takes its place
 * --------------------------------------------------------------------------------------------------------------- */

void runtime_drain(kg_ctx_t *ctx, void *self);
void runtime_resume(kg_ctx_t *ctx, void *self);
int runtime_hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err);
int runtime_accept(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err);

/* --- disk.c ------------------------------------------------------------------------------------------------------- */

void runtime_disk(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

/* --- leftovers.c, at the start --------------------------------------------------------------------------------- */

void container_unfinished(container_t *c); /* made, never started: undone and forgotten */
void leftovers_remove(oci_t *o);           /* what no record speaks of */

/* --- bundle.c, user.c
 * ------------------------------------------------------------------------------------------------------ */

/* Writes config.json of the container into dir; says in c whom it runs as. */
int bundle_write(oci_t *o, const sandbox_t *s, container_t *c, kg_view_t args, const image_t *image, const char *dir,
                 kg_error_t *err);
/* propagation.c: whether the mount in which `from` lies lets others pass that way (Bidirectional, HostToContainer). */
int propagation_check(const container_t *c, kg_str_t from, kg_str_t way, kg_error_t *err);

/* bundle_volumes.c: calls add with each volume of the image's configuration that none of `mounts` covers: its path in
 * the container whose root is mounted at `root`, and on this machine. */
typedef void (*volume_fn)(void *arg, kg_str_t path, const char *place);
int bundle_volumes(const char *root, kg_view_t image, kg_view_t mounts, volume_fn add, void *arg, kg_error_t *err);
typedef struct user {
  uint32_t uid, gid;
  uint32_t groups[64];
  size_t ngroups;
  char home[128];
} user_t;
/* "", "name", "uid", "name:group", "uid:gid" as an image says it, looked up in root/etc/passwd and group. */
int user_find(const char *root, kg_str_t text, user_t *u, kg_error_t *err);

/* --- seccomp.c, devices.c: parts of config.json
 * ---------------------------------------------------------------------------- */

/* *profile: NULL if nothing is barred. caps: what the container has, "CAP_..." */
int seccomp_profile(kube_arena_t *a, kg_view_t security, const kube_node_t *caps, kube_node_t **profile,
                    kg_error_t *err);
kube_node_t *devices_of_host(kube_arena_t *a);

/* --- record.c
 * -------------------------------------------------------------------------------------------------------------- */

int record_sandbox(oci_t *o, const sandbox_t *s, kg_error_t *err);
int record_container(oci_t *o, const container_t *c, kg_error_t *err);
void records_read(oci_t *o); /* at start: what was there, and how it goes */
int write_whole(const char *path, const void *data, size_t n, int mode, kg_error_t *err); /* by rename */
char *read_whole(const char *path, size_t most, size_t *n); /* malloc'ed with a NUL; NULL: cannot be read */
int fd_path(int fd, char path[PATH_SIZE]);                  /* where an open file lies; 0 or errno */
int make_dirs(const char *path, int mode, kg_error_t *err);

/* --- list.c
 * ---------------------------------------------------------------------------------------------------------------- */

void runtime_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void runtime_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void watchers_tell(oci_t *o, const container_t *c, const char *type);
void watchers_free(oci_t *o);
void watchers_end(oci_t *o);                       /* tells them that there is another runtime now */
void pack_sandboxes(kg_pack_t *p, const oci_t *o); /* an array */
void pack_container(kg_pack_t *p, const container_t *c);

/* --- cgroup.c
 * -------------------------------------------------------------------------------------------------------------- */

void cgroup_detect(oci_t *o);
void cgroup_path(const oci_t *o, const char *uid, const char *container, char path[PATH_SIZE]); /* as runc wants it */
/* The group of a whole pod with what it may use altogether (args.resources of sandbox.run); best effort. */
void cgroup_pod(const oci_t *o, const sandbox_t *s);
/* What a container that runs, and its pod, may use from now on (args of container.update). */
int cgroup_update(const oci_t *o, const container_t *c, const sandbox_t *s, kg_view_t args, kg_error_t *err);
void sandbox_update(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
/* Where to write the number of the sandbox's first process. */
void cgroup_pause_procs(const oci_t *o, const sandbox_t *s, char path[PATH_SIZE]);
void cgroup_kill(const oci_t *o, const char *uid, const char *container); /* KILL to all its processes */
void cgroup_remove(const oci_t *o, const char *uid);                      /* of a whole pod */
void runtime_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

/* --- streams
 * --------------------------------------------------------------------------------------------------------------- */

/* stream.c: an item {fd: number, data}. Returns the credit left, or -1 as kg_stream_item. */
int stream_output(kg_ctx_t *ctx, const kg_msg_t *request, int number, const void *data, size_t n);
typedef struct stream_input {
  kube_buf_t rest; /* what the other side has not taken yet, */
  size_t taken;    /* without so much of its beginning */
  uint32_t owed;   /* items in it, granted again when they have gone */
  bool ended;
} stream_input_t;
void input_add(stream_input_t *in, const kg_msg_t *item, bool wanted); /* wanted: its data is kept */
bool input_waits(const stream_input_t *in);
void input_taken(kg_ctx_t *ctx, const kg_msg_t *request, stream_input_t *in); /* all of it: the next may come */

void runtime_exec(kg_ctx_t *ctx, void *self, const kg_msg_t *m); /* exec.c */
void execs_free(oci_t *o);
void runtime_attach(kg_ctx_t *ctx, void *self, const kg_msg_t *m); /* attach.c */
void attaches_free(oci_t *o);
void runtime_logs(kg_ctx_t *ctx, void *self, const kg_msg_t *m); /* logs.c */
void logs_ended(oci_t *o, const char *log_path);                 /* nothing more will be written there */
void logs_free(oci_t *o);

bool id_is_safe(kg_str_t id);                   /* a file name that runc takes, too */
char *text_of(kg_view_t args, const char *key); /* malloc'ed; NULL: absent or empty */

#endif
