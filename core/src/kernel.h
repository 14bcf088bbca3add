#ifndef KG_KERNEL_H
#define KG_KERNEL_H
/*
 * Inside the kernel. Three kinds of threads:
 *   lanes    run handlers; everything in kg_ctx below "lane only" is touched by the instance's lane alone;
 *   manager  the one thread at a time that holds kernel.manage: loads, swaps, stops; it waits, lanes never do;
 *   others   may only ask for lists.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "mapped.h"
#include "kogge/host.h"
#include "msg_internal.h"
#include "table.h"

#define KG_MAX_LANES 64
#define KG_MAX_HELD 65536  /* requests of one name that wait for the end of a swap: more get 507 at once */
#define KG_MAX_CALLS 65536 /* open requests of one instance: a flood ends at its source */
#define KG_MAX_FAILING (4 * KG_MAX_CALLS) /* with those whose failure it has not heard of: more are lost */
#define KG_MAX_EVENTS 65536               /* events that wait for one instance */

typedef struct kg_lane kg_lane_t;
typedef struct kg_job kg_job_t;
typedef struct kg_name kg_name_t;
typedef struct kg_sim kg_sim_t;
typedef struct kg_remote kg_remote_t;
typedef struct kg_shade kg_shade_t;
typedef struct kg_late kg_late_t;
typedef struct kg_pending kg_pending_t;

/* What travels to a lane: a message for an instance, or a job. Owns a reference of everything it points to. */
typedef struct kg_parcel {
  kg_ctx_t *to;
  kg_ctx_t *from; /* sender, to whom an answer goes; NULL: the kernel */
  kg_msg_t *m;
  kg_job_t *job;
} kg_parcel_t;
void kg_parcel_free(kg_parcel_t *p);

/* The way to another lane (mail.c). */
typedef struct kg_packet kg_packet_t;
typedef struct kg_outlet {
  void *socket;        /* ZeroMQ PUSH, inproc */
  kg_packet_t *packet; /* the last one that was sent */
} kg_outlet_t;

typedef struct kg_queue {
  kg_parcel_t *ring;
  size_t head, count, room;
} kg_queue_t;
int kg_queue_push(kg_queue_t *q, kg_parcel_t p); /* -1 out of memory; p was freed then */
bool kg_queue_pop(kg_queue_t *q, kg_parcel_t *p);
void kg_queue_free(kg_queue_t *q);

/* What a lane, or the process of a plugin, does just now: written by its thread, read by the watchdog. */
typedef struct kg_pulse {
  atomic_llong busy_since_us; /* 0: waits */
  atomic_ullong what[8];      /* the handler's topic, NUL-padded */
} kg_pulse_t;
void kg_pulse_set(kg_pulse_t *p, const char *what, int64_t now_us);
void kg_pulse_what(kg_pulse_t *p, char out[65]);

/* --- timers: one heap per lane ------------------------------------------------------------------------------ */
typedef struct kg_due {
  int64_t at_us;
  uint64_t seq;
  size_t place; /* in the heap, from 1; 0: not in it */
  void (*fire)(kg_lane_t *lane, struct kg_due *due);
} kg_due_t;
typedef struct kg_heap {
  kg_due_t **due; /* due[1] is the first */
  size_t count, room;
  uint64_t seq;
} kg_heap_t;
int kg_heap_add(kg_heap_t *h, kg_due_t *due, int64_t at_us);
void kg_heap_remove(kg_heap_t *h, kg_due_t *due); /* nothing if it is not in the heap */
void kg_heap_free(kg_heap_t *h);

/* --- instances ---------------------------------------------------------------------------------------------- */
typedef enum {
  KG_LOADED,
  KG_STARTING,
  KG_RUNNING,
  KG_DRAINING,
  KG_STOPPED, /* destroyed: what still arrives is refused */
} kg_state_t;
const char *kg_state_name(kg_state_t s);

/* Written by the instance's lane alone, read by anyone: kg_count() needs no locked instruction. */
typedef struct kg_counters {
  atomic_ullong requests, answered, failed, sent, replies, items, events, timers, late, dropped;
  atomic_ullong busy_us, slowest_us, over_budget;
} kg_counters_t;
static inline void kg_count(atomic_ullong *n, uint64_t by) {
  atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
}

/* A request this instance sent. */
typedef struct kg_call {
  kg_due_t due; /* first: the deadline's timer */
  kg_ctx_t *ctx;
  uint64_t id;
  kg_reply_fn fn;
  void *arg;
  kg_ctx_t *server; /* NULL while the request is held: then the name decides */
  kg_name_t *name;
  bool stream, manual, starved, closed;
  bool relay; /* its callback hears of every credit, not only when it ran out */
  uint32_t window, handled, up_credit;
  char topic[];
} kg_call_t;

/* A request this instance has to answer. */
typedef struct kg_served {
  kg_msg_t *m;
  kg_ctx_t *from, *to; /* to: the instance itself; the answer takes both references with it */
  const kg_stream_events_t *ev;
  void *arg;
  bool cancelled, starved, ended;
  uint64_t credit;
  uint32_t taken; /* items from the requester not yet granted again */
} kg_served_t;

typedef struct kg_watch kg_watch_t;
typedef struct kg_timer_entry kg_timer_entry_t;

struct kg_ctx {
  atomic_uint refs; /* written by every lane that sends to it: what they only read lies in other cache lines */
  char apart[64 - sizeof(atomic_uint)];
  uint32_t number; /* unique in this kernel */
  kg_kernel_t *k;
  kg_lane_t *lane;
  char *name;
  const kg_plugin_t *desc;
  char *path;          /* the file it came from; "" if built in */
  kg_mapped_t *code;   /* of the loaded file, NULL if built in */
  char **wanted;       /* NULL-terminated names from the configuration, or NULL */
  kg_remote_t *remote; /* it lives in another process: this is its proxy; owned */
  kg_shade_t *shade;   /* and it is the shadow of another instance; owned */
  /* Set for instances that pass messages on: gets every parcel of ctx instead of the handlers. Own lane. */
  void (*raw)(kg_lane_t *lane, kg_ctx_t *ctx, kg_parcel_t *p);
  kg_ctx_t *predecessor; /* in a swap; borrowed, manager and own lane */
  atomic_int state;
  atomic_uint events_waiting; /* on their way to it: bounded, what is too much is counted */
  atomic_ullong events_lost;
  atomic_bool active, tracing;
  atomic_bool forced; /* its successor takes its place whatever it says: kg_forced() */
  kg_counters_t n;
  int64_t started_us;

  /* under kernel.life */
  bool ready, drained;
  kg_error_t not_ready;

  /* lane only */
  void *self;
  bool created;
  kg_ctx_t *shadow; /* gets a copy of all it gets and sends; a reference */
  kg_doc_t *config;
  kg_table_t calls;  /* id -> kg_call_t */
  kg_table_t served; /* id -> kg_served_t */
  uint64_t next_call, calls_lost;
  kg_timer_entry_t *timers;
  kg_watch_t *watches;
  kg_name_t **claims; /* names asked for with kg_serve() before it owns any */
  size_t nclaims;
};
void kg_ctx_free(kg_ctx_t *ctx); /* the last reference has gone */
static inline kg_ctx_t *kg_ctx_ref(kg_ctx_t *ctx) {
  if (ctx) atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
  return ctx;
}
static inline void kg_ctx_unref(kg_ctx_t *ctx) {
  if (ctx && atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) == 1) kg_ctx_free(ctx);
}

/* --- jobs: the manager asks a lane ---------------------------------------------------------------------------- */
typedef void (*kg_job_fn)(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job);
struct kg_job {
  atomic_uint refs;
  kg_job_fn fn;
  kg_kernel_t *k;
  atomic_int taken; /* 1: the lane has begun it, 2: nobody waits any more, it must not begin */
  bool later;       /* fn set it: kg_job_finish() comes from elsewhere */
  bool fence;       /* everything sent to this lane before is delivered first */
  kg_doc_t *doc;    /* in or out, owned */
  const char *text; /* in, static */
  const char *what; /* static: names the step */
  void *arg;        /* in */
  int64_t tap_us;   /* in: when a live plugin got the message `arg`, or minus when it sent it */
  int rc;           /* out */
  kg_error_t err;
  /* What the lane does next, at once, if this job succeeded and is over (a drain: if the instance is drained). Owned;
   * it gets this one's doc. Nobody is woken in between: so short is the pause of a swap. */
  kg_job_t *then;
  kg_ctx_t *then_to; /* borrowed */
  bool done, begun;  /* under kernel.life; begun: as what follows another job */
};
void kg_job_unref(kg_job_t *job);
void kg_job_finish(kg_job_t *job); /* wakes who waits for it; any thread */

/* --- names ---------------------------------------------------------------------------------------------------- */
struct kg_name {
  kg_name_t *next;
  char *name;
  kg_ctx_t *owner; /* owned reference; NULL: nobody */
  bool held;
  kg_queue_t queue; /* what is held */
};
typedef struct kg_subscription {
  kg_ctx_t *ctx; /* borrowed: removed before the instance goes */
  char *prefix;
  size_t n;
} kg_subscription_t;
typedef struct kg_registry {
  pthread_rwlock_t lock;
  kg_name_t *names[256];
  kg_subscription_t *subs;
  size_t nsubs;
} kg_registry_t;
void kg_registry_init(kg_registry_t *r);
void kg_registry_free(kg_registry_t *r);

/* --- the kernel ----------------------------------------------------------------------------------------------- */
typedef struct kg_log_sink {
  int fd;
  bool json, close_fd;
  atomic_int level;
} kg_log_sink_t;

/* A wish to see messages; owned by who asked for the trace. */
typedef struct kg_trace {
  struct kg_trace *next;
  char **globs; /* of topics, NULL-terminated */
  char *of;     /* only messages from or to this instance; NULL: all */
  bool whole;   /* with their envelopes and attachments */
} kg_trace_t;

struct kg_kernel {
  char *data_dir, *run_dir, *plugin_path, *trial_command;
  bool own_run_dir;
  int64_t start_timeout_ms, step_timeout_ms, drain_timeout_ms, trial_timeout_ms, budget_us;
  kg_log_sink_t log;
  void *zmq;
  kg_registry_t registry;
  pthread_mutex_t manage; /* one manager at a time */
  pthread_mutex_t life;
  pthread_cond_t changed;
  kg_lane_t *lanes[KG_MAX_LANES];
  atomic_uint nlanes;
  kg_outlet_t outlets[KG_MAX_LANES]; /* the manager's to the lanes */
  pthread_mutex_t list;              /* guards instances and pending */
  kg_ctx_t **instances;              /* in the order they were started */
  size_t ninstances;
  kg_pending_t *pending; /* plugins whose hosts have not come yet; changed by the manager */
  uint32_t last_number;
  kg_late_t *late; /* under manage: instances that have not ended in time */
  uint64_t *known; /* hashes of plugin files that were tried or loaded */
  size_t nknown;
  atomic_ullong refused; /* malformed or undeliverable messages */
  /* trace */
  pthread_mutex_t trace_lock;
  kg_trace_t *traces;
  kg_ctx_t *tracer; /* who gets the copies: borrowed, under trace_lock */
  atomic_int tracing;
  atomic_uint trace_waiting; /* copies on their way to the tracer: bounded, what is too much is counted */
  atomic_ullong trace_lost;
  /* commands of the control socket for the manager */
  pthread_mutex_t command_lock;
  struct kg_command *commands, **last_command;
  int command_fd;
  /* watchdog.c */
  pthread_t watchdog;
  bool watched;
  atomic_bool watch_parked, watch_stop;
  sem_t watch_wake;
  int64_t stuck_us;
  uint32_t last_host;
  void *net; /* ZeroMQ context of plugins in other processes; NULL until there is one */
  void *zap; /* REP socket that says whose CURVE key is known, and its thread */
  pthread_t guard;
  kg_ctx_t *link;                      /* in a plugin's own process: leads to the kernel; borrowed */
  void (*on_phase)(const char *phase); /* a trial says how far it is */
  kg_sim_t *sim;                       /* NULL: threads and the real clock */
};

/* log.c: any thread */
int kg_log_open(kg_log_sink_t *s, const char *file, kg_error_t *err);
void kg_log_close(kg_log_sink_t *s);
void kg_logf(kg_kernel_t *k, kg_level_t level, const char *who, const char *fmt, ...) KG_PRINTF(4, 5);
void kg_logv(kg_kernel_t *k, kg_level_t level, const char *who, const char *fmt, va_list ap);

/* watchdog.c: manager starts and stops it; a lane that wakes up wakes it */
void kg_watchdog_start(kg_kernel_t *k);
void kg_watchdog_stop(kg_kernel_t *k);
void kg_watchdog_wake(kg_kernel_t *k);

/* time */
int64_t kg_clock_us(void);
int64_t kg_time_us(const kg_kernel_t *k); /* what plugins see: virtual in a simulation */
int64_t kg_sim_wall_us(const kg_kernel_t *k);

#endif
