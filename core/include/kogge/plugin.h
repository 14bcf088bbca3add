#ifndef KOGGE_PLUGIN_H
#define KOGGE_PLUGIN_H
/*
 * What a plugin sees of the kernel. ABI changes:
 *   1  first version
 *
 * A plugin is a reactive state machine: a message, a timer or a ready descriptor comes in, messages go out, and the
 * handler returns. Handlers of one instance never run at the same time and always in the thread of its lane; every
 * function below must be called in that thread. A plugin takes time, randomness, configuration, logging and timers from
 * its context, keeps no writable statics, and talks to others by messages only.
 */
#include "kogge/doc.h"
#include "kogge/error.h"
#include "kogge/msg.h"
#include "kogge/pack.h"
#include "kogge/view.h"

#define KG_PLUGIN_MAGIC 0x4b4f4747u /* "KOGG" */
#define KG_PLUGIN_ABI 1u

typedef struct kg_ctx kg_ctx_t; /* one per instance, owned by the kernel, valid from create() to the end of destroy() */

/* A request or stream item has come for a service of this plugin. `m` is borrowed: kg_msg_ref() keeps it. Every request
 * must be answered exactly once in the end: kg_reply, kg_fail, or kg_stream_end. */
typedef void (*kg_handler_fn)(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

typedef struct kg_handler {
  const char *topic; /* exact ("store.get") or a prefix with a star at its end ("store.*"); the first match wins */
  kg_handler_fn fn;
} kg_handler_t;

/*
 * The one exported symbol: `kogge_plugin`, made with KG_PLUGIN(...). Named fields; what is NULL is not wanted.
 * Order of life: create, start, kg_ready(), ..., [drain, hand_over], destroy. In a swap the new instance goes through
 * create, start and kg_ready() while the old one still serves; then accept() gets the old one's state; then activate().
 */
typedef struct kg_plugin {
  uint32_t magic;   /* KG_PLUGIN_MAGIC */
  uint32_t abi;     /* KG_PLUGIN_ABI */
  size_t size;      /* sizeof(kg_plugin_t) at the plugin's compile time */
  const char *name; /* "scheduler-default" */
  const char *role; /* "scheduler": the contract it keeps, plugins/contracts/ROLE.md */
  const char *version;
  const char *summary;          /* one sentence for people */
  const char *const *services;  /* NULL-terminated default names it serves; the configuration may rename them */
  const kg_handler_t *handlers; /* ends with {0}; requests for its services and events it subscribed to */
  /* The keys its configuration may have, with a space between them; others are refused when it is loaded or given a new
   * configuration (not in a swap: that passes on the predecessor's). NULL: it looks itself. */
  const char *config_keys;

  /* Makes the instance: reads kg_config(), allocates, sends nothing. On failure fills *err, returns -1 and leaves
   * nothing. */
  int (*create)(kg_ctx_t *ctx, void **self, kg_error_t *err);
  /* Warms up: may send requests, open watches and sockets. It must lead to kg_ready() or kg_not_ready() within the
   * start deadline (config start_timeout, 30 s). It must not act on the world yet if `accept` is set: that begins with
   * activate(). A shadow counts on that: what a plugin with `accept` asks up to then goes to the real services
   * (PROTOCOL.md rule 23), and activate() is the last thing it does for real. */
  int (*start)(kg_ctx_t *ctx, void *self, kg_error_t *err);
  /* It owns its names now: act. Called once after kg_ready() at first load, after accept() in a swap. */
  void (*activate)(kg_ctx_t *ctx, void *self);
  /* No new requests come from now on; finish or hand over what is held, then kg_drained(). NULL: drained at once. By
   * force (kg_forced()) it comes once more. */
  void (*drain)(kg_ctx_t *ctx, void *self);
  /* Gives the state for the successor (caller owns the reference); NULL in *state: nothing to hand over. */
  int (*hand_over)(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err);
  /* Takes the predecessor's state (borrowed; absent if it had none) or refuses with a sentence. */
  int (*accept)(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err);
  /* The swap was rolled back: this instance, drained before, serves again. */
  void (*resume)(kg_ctx_t *ctx, void *self);
  /* New configuration, already validated as YAML; refuse with a sentence to keep the old one. NULL: needs a reload. */
  int (*configure)(kg_ctx_t *ctx, void *self, kg_view_t config, kg_error_t *err);
  /* Adds pairs to an open map for `kogge plugin stats`. */
  void (*stats)(kg_ctx_t *ctx, void *self, kg_pack_t *p);
  /* Frees everything. Outstanding requests, timers and descriptors were cancelled before, without callbacks. */
  void (*destroy)(kg_ctx_t *ctx, void *self);
} kg_plugin_t;

#define KG_PLUGIN(...)                                                                                                 \
  __attribute__((visibility("default"))) const kg_plugin_t kogge_plugin = {                                            \
      .magic = KG_PLUGIN_MAGIC, .abi = KG_PLUGIN_ABI, .size = sizeof(kg_plugin_t), __VA_ARGS__}

/* --- life ------------------------------------------------------------------------------------------------------ */

KG_PUBLIC void kg_ready(kg_ctx_t *ctx);                                           /* warmed up */
KG_PUBLIC void kg_not_ready(kg_ctx_t *ctx, const char *fmt, ...) KG_PRINTF(2, 3); /* give up, with a sentence */
KG_PUBLIC void kg_drained(kg_ctx_t *ctx);
/* In drain(): the successor refused what this one holds, and the operator wants it nevertheless (`kogge plugin swap
 * --force`): drained a second time, this one ends in the world what only it can look after. What has ended stays so,
 * also if nothing comes of the swap. */
KG_PUBLIC bool kg_forced(kg_ctx_t *ctx);
/* True from activate() until drain(). */
KG_PUBLIC bool kg_active(kg_ctx_t *ctx);

/* --- who and where --------------------------------------------------------------------------------------------- */

KG_PUBLIC const char *kg_name(kg_ctx_t *ctx);     /* instance name in the configuration */
KG_PUBLIC kg_view_t kg_config(kg_ctx_t *ctx);     /* its `config:` map, borrowed until configure() or destroy() */
KG_PUBLIC const char *kg_data_dir(kg_ctx_t *ctx); /* kernel's data directory, absolute, without a slash at the end */
KG_PUBLIC const char *kg_run_dir(kg_ctx_t *ctx);  /* same for run-time files (sockets, pid files) */

/* --- time, chance, log ----------------------------------------------------------------------------------------- */

KG_PUBLIC int64_t kg_now_ms(kg_ctx_t *ctx);  /* monotonic milliseconds; virtual in simulation */
KG_PUBLIC int64_t kg_now_us(kg_ctx_t *ctx);  /* monotonic microseconds */
KG_PUBLIC int64_t kg_wall_us(kg_ctx_t *ctx); /* microseconds since 1970 UTC */
KG_PUBLIC uint64_t kg_random(kg_ctx_t *ctx); /* seeded in simulation, not for secrets */

typedef enum { KG_LOG_ERROR, KG_LOG_WARN, KG_LOG_INFO, KG_LOG_DEBUG } kg_level_t;
KG_PUBLIC void kg_log(kg_ctx_t *ctx, kg_level_t level, const char *fmt, ...) KG_PRINTF(3, 4);

/* --- timers, descriptors --------------------------------------------------------------------------------------- */

typedef void (*kg_timer_fn)(kg_ctx_t *ctx, void *self, void *arg);
/* Calls fn after delay_ms, then every period_ms (0: once). Returns an id > 0. delay 0: after the current handler. */
KG_PUBLIC uint64_t kg_timer(kg_ctx_t *ctx, int64_t delay_ms, int64_t period_ms, kg_timer_fn fn, void *arg);
KG_PUBLIC void kg_timer_cancel(kg_ctx_t *ctx, uint64_t id); /* 0 and ids that have ended are ignored */

/* events: EPOLLIN, EPOLLOUT, ... (level-triggered unless EPOLLET). The descriptor stays the plugin's. */
typedef void (*kg_fd_fn)(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg);
KG_PUBLIC int kg_fd_watch(kg_ctx_t *ctx, int fd, uint32_t events, kg_fd_fn fn, void *arg, kg_error_t *err);
KG_PUBLIC int kg_fd_change(kg_ctx_t *ctx, int fd, uint32_t events);
KG_PUBLIC void kg_fd_forget(kg_ctx_t *ctx, int fd); /* before close() */

/* --- requests -------------------------------------------------------------------------------------------------- */

/* Gets the REPLY or ERROR of a request; for a stream every ITEM, then END or ERROR. `m` is borrowed. After REPLY, ERROR
 * or END it is not called again. A missed deadline comes as ERROR with KG_EDEADLINE, an unowned name as
 * KG_EUNAVAILABLE. */
typedef void (*kg_reply_fn)(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg);

typedef struct kg_request {
  const char *service;   /* "store" */
  const char *topic;     /* "store.range" */
  kg_doc_t *args;        /* a map, or NULL; borrowed: kg_send takes its own reference */
  kg_doc_t *const *docs; /* attachments, borrowed */
  size_t ndocs;
  int64_t timeout_ms; /* 0: 30,000 for requests, none for streams; -1: none */
  bool stream;        /* wants items */
  uint32_t credit;    /* stream: items that may come before more is granted; 0: 256 */
  bool manual_credit; /* stream: the caller grants with kg_credit(); else each item handled grants one more */
  kg_reply_fn fn;     /* NULL: nobody cares for the answer */
  void *arg;
} kg_request_t;

/* Sends; never blocks. Returns the call's id (> 0). All failures come to fn, later, never from inside this call; only
 * who has more than 262,144 requests open hears no more of further ones (PROTOCOL.md rule 7). */
KG_PUBLIC uint64_t kg_send(kg_ctx_t *ctx, const kg_request_t *r);
/* No further callback for this call; the other side gets CANCEL. Ended ids are ignored. */
KG_PUBLIC void kg_cancel(kg_ctx_t *ctx, uint64_t call);
KG_PUBLIC void kg_credit(kg_ctx_t *ctx, uint64_t call, uint32_t items);
/* Sends an item up a stream call (duplex), e.g. standard input of an exec. Returns the credit left, or -1: the call has
 * ended, or there is no credit: the call's fn gets a KG_MSG_CREDIT when there is some again. 64 items are free at the
 * start. kg_call_end() closes this direction. */
KG_PUBLIC int kg_call_item(kg_ctx_t *ctx, uint64_t call, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs);
KG_PUBLIC void kg_call_end(kg_ctx_t *ctx, uint64_t call);

/* --- answers --------------------------------------------------------------------------------------------------- */

/* Answers request `m` (or one kept with kg_msg_ref, which stays the caller's). args and docs are borrowed. A second
 * answer to one request is ignored and logged. */
KG_PUBLIC void kg_reply(kg_ctx_t *ctx, const kg_msg_t *m, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs);
KG_PUBLIC void kg_fail(kg_ctx_t *ctx, const kg_msg_t *m, int code, const char *fmt, ...) KG_PRINTF(4, 5);
/* An error with a document (the api role attaches a Status). */
KG_PUBLIC void kg_fail_doc(kg_ctx_t *ctx, const kg_msg_t *m, int code, const char *text, kg_doc_t *doc);

/* One item of the stream that request `m` opened. Returns the credit left, or -1: no credit (the item was not sent; the
 * stream's on_credit is called when there is some) or the reader is gone. */
KG_PUBLIC int kg_stream_item(kg_ctx_t *ctx, const kg_msg_t *m, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs);
KG_PUBLIC void kg_stream_end(kg_ctx_t *ctx, const kg_msg_t *m);

typedef struct kg_stream_events {
  void (*on_credit)(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg); /* may be NULL */
  /* The reader cancelled or died: free what belongs to the stream; no answer is due. */
  void (*on_cancel)(kg_ctx_t *ctx, void *self, const kg_msg_t *request, void *arg);
  /* An item (KG_MSG_ITEM) or the end (KG_MSG_END) from the reader's side of a duplex stream. May be NULL. */
  void (*on_item)(kg_ctx_t *ctx, void *self, const kg_msg_t *request, const kg_msg_t *item, void *arg);
  bool manual_credit; /* items from the reader's side are granted again by kg_stream_grant() only */
} kg_stream_events_t;
/* Says who hears of what happens to the stream that `m` opened. `ev` must outlive it (a static const). Items taken from
 * the reader's side grant one credit each when on_item returns, unless `manual_credit` is set. */
KG_PUBLIC void kg_stream_open(kg_ctx_t *ctx, const kg_msg_t *m, const kg_stream_events_t *ev, void *arg);
/* The reader's side may send so many items more: what came is worked off. Ended streams are ignored. */
KG_PUBLIC void kg_stream_grant(kg_ctx_t *ctx, const kg_msg_t *m, uint32_t items);

/* --- events ---------------------------------------------------------------------------------------------------- */

/* Events with this topic prefix come to the plugin's handlers table from now on. */
KG_PUBLIC void kg_subscribe(kg_ctx_t *ctx, const char *prefix);
KG_PUBLIC void kg_publish(kg_ctx_t *ctx, const char *topic, kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs);

/* --- names ----------------------------------------------------------------------------------------------------- */

/* Claims a further service name, e.g. "node/host1" or "cli/image". -1 if another instance owns it. In a swap the names
 * of the old instance pass to the new one by themselves. */
KG_PUBLIC int kg_serve(kg_ctx_t *ctx, const char *service, kg_error_t *err);

#endif
