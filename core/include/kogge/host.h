#ifndef KOGGE_HOST_H
#define KOGGE_HOST_H
/*
 * A kernel inside a program: for `kogge server`, for tests and for benchmarks; plugins do not use it. Every function
 * blocks its caller until the step is done or its deadline has passed, may be called from any thread that is no lane,
 * and calls of several threads are taken one after the other.
 */
#include "kogge/plugin.h"

typedef struct kg_kernel kg_kernel_t;

typedef struct kg_kernel_options {
  const char *data_dir;      /* absolute; NULL: run_dir. Made if it is missing */
  const char *run_dir;       /* absolute; NULL: a new directory under /tmp, removed by kg_kernel_free() */
  const char *plugin_path;   /* where plugin files are looked up, separated by ':'; NULL: nowhere */
  const char *trial_command; /* the `kogge` binary that tries unknown plugins in a process of its own; NULL: no trial */
  kg_level_t log_level;
  bool log_json;
  const char *log_file;     /* NULL: standard error */
  int crash_fd;             /* > 0: a crash in a lane writes "cNAME\n" of its plugin there; one kernel in a process */
  int64_t start_timeout_ms; /* 0: 30,000 */
  int64_t step_timeout_ms;  /* create(), destroy() and the like, which only compute; 0: 10,000 */
  int64_t drain_timeout_ms; /* 0: 5,000 */
  int64_t trial_timeout_ms; /* an unknown plugin must have ended its trial by then; 0: 10,000 */
  int64_t budget_ms;        /* a handler that runs longer is logged when it returns; 0: 50 */
  int64_t stuck_ms;         /* one that has not returned by then is logged too, again and again; 0: 1,000 */
} kg_kernel_options_t;

typedef struct kg_plugin_spec {
  const char *name;            /* instance name */
  const char *file;            /* path, or a name looked up in the plugin path; ignored if `descriptor` is set */
  const char *lane;            /* NULL: "main" */
  kg_doc_t *config;            /* a map, borrowed; NULL: empty */
  const char *const *services; /* NULL: the descriptor's */
  bool process;                /* a process of its own, which lane `lane` talks to */
  const char *remote;          /* tcp://ADDRESS:PORT where its host, on another machine, connects; file is ignored */
  bool patient; /* remote: does not fail when the host is not there within a second, but loads it when it has come */
  const kg_plugin_t *descriptor; /* a plugin that is part of the program (tests); must outlive the kernel */
} kg_plugin_spec_t;

/* NULL and a sentence on failure. The caller owns the kernel. */
KG_PUBLIC kg_kernel_t *kg_kernel_new(const kg_kernel_options_t *options, kg_error_t *err);
/* Stops all plugins in reverse order of their start (each within its drain deadline), ends the lanes, frees everything.
 */
KG_PUBLIC void kg_kernel_free(kg_kernel_t *k);

/* Loads a plugin and returns when it is ready and owns its names; nothing is left behind on failure. 1: it is `patient`
 * and will be loaded by kg_kernel_run_commands(). */
KG_PUBLIC int kg_kernel_load(kg_kernel_t *k, const kg_plugin_spec_t *spec, kg_error_t *err);
/* Drains and unloads. */
KG_PUBLIC int kg_kernel_unload(kg_kernel_t *k, const char *name, kg_error_t *err);
/*
 * Puts `file` (or `descriptor`, if not NULL) in the place of instance `name`, DESIGN section 5. On failure the old one
 * goes on and *err says why. `file`: a path, a name in the plugin path, or a bare word W that means ROLE-W.so. pause_us
 * (may be NULL): microseconds for which requests were held.
 */
KG_PUBLIC int kg_kernel_swap(kg_kernel_t *k, const char *name, const char *file, const kg_plugin_t *descriptor,
                             int64_t *pause_us, kg_error_t *err);
/* The same, and if the new one refuses what the old one holds, the old one gives it up: kg_forced(). */
KG_PUBLIC int kg_kernel_swap_by_force(kg_kernel_t *k, const char *name, const char *file, const kg_plugin_t *descriptor,
                                      int64_t *pause_us, kg_error_t *err);
/* A rebuilt file of the same name: a swap with itself. */
KG_PUBLIC int kg_kernel_reload(kg_kernel_t *k, const char *name, int64_t *pause_us, kg_error_t *err);
/*
 * A candidate beside a plugin that runs (PROTOCOL.md rules 20-24): in a process of its own it gets what the live one
 * gets; what it says is compared with what the live one says, and goes no further. It is listed as NAME.shadow, and
 * unloading that ends it. The strings are borrowed for the call; lists end with NULL and may be NULL.
 */
typedef struct kg_shadow_spec {
  const char *name, *file;   /* an instance, or a role that one instance has; a file as for kg_kernel_swap() */
  const char *const *reads;  /* globs of topics that it may ask of others at any time: they must not change anything */
  const char *const *ignore; /* globs of paths ("docs[0].metadata.*") where a difference does not count */
  const char *const *by;     /* names of arguments whose values are counted apart */
  bool with_state;           /* it takes the live one's state, as in a swap that is rolled back at its last step */
  bool isolated;             /* not even while it warms up may it ask others */
  int64_t patience_ms;       /* its request waits so long for an equal one of the live one; 0: 2,000 */
} kg_shadow_spec_t;
KG_PUBLIC int kg_kernel_shadow(kg_kernel_t *k, const kg_shadow_spec_t *spec, kg_error_t *err);
/* What came of it up to now; caller owns the reference. NULL and a sentence. `stop`: it also ends. */
KG_PUBLIC kg_doc_t *kg_kernel_shadow_report(kg_kernel_t *k, const char *name, bool stop, kg_error_t *err);
/*
 * Replays a recording (PROTOCOL.md rules 16-19) into a plugin in a process of its own, which is compared with the one
 * it was recorded of like a shadow, in a kernel made for that. Borrowed for the call. What came of it (the caller owns
 * the reference), or NULL and a sentence.
 */
typedef struct kg_replay_spec {
  const void *data; /* the file's bytes */
  size_t size;
  const char *name;                      /* whose messages are replayed; NULL: of the only one that got requests */
  const char *file;                      /* absolute path of the plugin */
  const char *trial_command;             /* the `kogge` binary */
  kg_doc_t *config;                      /* a map; NULL: empty */
  double speed;                          /* 1: as recorded, 2: twice as fast; 0: as fast as possible */
  const char *const *ignore, *const *by; /* as for a shadow */
} kg_replay_spec_t;
KG_PUBLIC kg_doc_t *kg_replay(const kg_replay_spec_t *spec, kg_error_t *err);
/* Hands new configuration to the instance; it may refuse. */
KG_PUBLIC int kg_kernel_configure(kg_kernel_t *k, const char *name, kg_doc_t *config, kg_error_t *err);
/* What runs, as `kogge plugin list` shows it: {plugins: [...], lanes: [...]}. Caller owns the reference. */
KG_PUBLIC kg_doc_t *kg_kernel_list(kg_kernel_t *k);

/* The service `kernel` and the socket RUN/kogge.sock. Its commands are done by kg_kernel_run_commands(), which the
 * program calls when kg_kernel_command_fd() can be read. */
KG_PUBLIC int kg_kernel_open_control(kg_kernel_t *k, kg_error_t *err);
KG_PUBLIC int kg_kernel_command_fd(kg_kernel_t *k);
KG_PUBLIC void kg_kernel_run_commands(kg_kernel_t *k);
/*
 * In a process of its own: loads the file, runs create(), start() and destroy() several times with nobody else on the
 * bus, and reports to descriptor `report` (`dir`: for its files, NULL: a new one): a line before each step, at last
 * "ok" or "bad SENTENCE". Returns the process's exit code.
 */
KG_PUBLIC int kg_trial_run(const char *file, const char *name, kg_doc_t *config, const char *dir, int report);
/* The inside of a plugin's own process: see kg_guest_run(). */
typedef struct kg_guest_options {
  const char *address;  /* of the kernel: ipc:// or tcp:// */
  const char *key_file; /* for tcp:// */
  const char *file, *name;
  const char *data_dir, *run_dir;
  kg_level_t log_level; /* to standard error */
  bool log_json;
  bool shadow; /* with ports and interfaces of its own */
  int64_t budget_ms;
} kg_guest_options_t;
/* Hosts one plugin until the kernel ends it (PROTOCOL.md rules 12-15). With ipc:// descriptor 3 is the pipe whose end
 * means the kernel has gone, 4 the memory shared with it. 0, or -1 and a sentence. */
KG_PUBLIC int kg_guest_run(const kg_guest_options_t *options, kg_error_t *err);
/* Makes a key for a plugin on another machine: DATA/bus/clients/NAME.key, to be taken there; its path is written to
 * `path`. Any thread, with or without a running kernel. */
KG_PUBLIC int kg_bus_key(const char *data_dir, const char *name, char *path, size_t room, kg_error_t *err);
/* Writes a line to the kernel's log. Any thread. */
KG_PUBLIC void kg_kernel_log(kg_kernel_t *k, kg_level_t level, const char *fmt, ...) KG_PRINTF(3, 4);

#endif
