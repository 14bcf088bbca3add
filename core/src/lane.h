#ifndef KG_LANE_H
#define KG_LANE_H
/* A lane: one thread, one epoll loop, any number of instances. Except where said, functions run in the lane's thread.
 */
#include "kernel.h"

struct kg_watch {
  kg_ctx_t *ctx;
  kg_watch_t *prev, *next; /* of the same instance */
  int fd;
  uint32_t turn; /* tells an event of an earlier watch of the same number */
  kg_fd_fn fn;
  void *arg;
};

struct kg_timer_entry {
  kg_due_t due; /* first */
  kg_ctx_t *ctx;
  kg_timer_entry_t *prev, *next; /* of the same instance */
  uint64_t id;
  int64_t period_us;
  kg_timer_fn fn;
  void *arg;
};

/* A ZeroMQ socket in a lane's loop. ZMQ_FD tells of changes only: `more` stays set until a receive found nothing. */
typedef struct kg_port {
  struct kg_port *next;
  void *socket;
  bool more, unsent;
  void (*ready)(kg_lane_t *lane, struct kg_port *port); /* receives some, clears `more` when there is nothing left */
  void (*flush)(kg_lane_t *lane, struct kg_port *port); /* sends what waits; NULL: nothing ever does */
} kg_port_t;

struct kg_lane {
  kg_kernel_t *k;
  char name[64];
  unsigned index;
  pthread_t thread;
  bool stop;
  int epoll, inbox_fd;
  void *inbox;                       /* ZeroMQ PULL socket, inproc */
  kg_outlet_t outlets[KG_MAX_LANES]; /* to the other lanes, made when first needed */
  bool inbox_more, unsent;
  kg_port_t *ports;
  kg_queue_t queue;
  kg_heap_t heap;
  kg_table_t watches, timers; /* fd + 1 -> kg_watch_t, id -> kg_timer_entry_t */
  uint64_t last_timer;
  uint32_t last_turn;
  int64_t now_us;           /* when the last handler returned */
  uint64_t trimmed_busy_us; /* lane.c, give_back(): busy_us when memory was given back last */
  int64_t trim_next_us;
  uint64_t random[2];
  /* for reports of other threads */
  kg_pulse_t *_Atomic pulse, own_pulse;
  _Atomic(kg_ctx_t *) current;
  atomic_ullong messages, sleeps, busy_us;
};

/* Manager: makes the lane and starts its thread. */
kg_lane_t *kg_lane_start(kg_kernel_t *k, const char *name, kg_error_t *err);
/* Manager: ends the thread, waits for it and frees the lane. */
void kg_lane_stop(kg_lane_t *lane);
/* Manager: -1 if the lane could not be reached. Takes the parcel over. */
int kg_lane_post_from_manager(kg_kernel_t *k, kg_lane_t *lane, kg_parcel_t p);

/* Delivers to p.to in its lane: by the queue if it is this one, else by ZeroMQ. Takes the parcel over. */
void kg_lane_post(kg_lane_t *here, kg_parcel_t p);

/* The port's socket belongs to ctx; kg_port_close() comes before the socket is closed. */
int kg_port_open(kg_ctx_t *ctx, kg_port_t *port, kg_error_t *err);
void kg_port_close(kg_ctx_t *ctx, kg_port_t *port);
/* Something waits in the port: flush() comes at the end of the turn, and before any handler of a plugin. */
void kg_port_unsent(kg_lane_t *lane, kg_port_t *port);
/* What waits in ports is sent now. */
void kg_lane_flush(kg_lane_t *lane);

/* Bracket of every handler: measures, and says who is busy. `what` names the handler if it took too long. */
void kg_lane_enter(kg_lane_t *lane, kg_ctx_t *ctx, const char *what);
void kg_lane_leave(kg_lane_t *lane, kg_ctx_t *ctx, const char *what);

/* crash.c: a lane's thread at its begin and end; from kg_crash_report() on a crash in a lane writes "cNAME\n" to fd. */
void *kg_crash_lane(kg_lane_t *lane);
void kg_crash_lane_ends(void *stack);
void kg_crash_report(int fd);

/* The instance goes: its timers and descriptors. */
void kg_lane_forget(kg_ctx_t *ctx);

#endif
