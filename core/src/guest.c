/* A process for one plugin: a kernel with one lane, in which the plugin and the link to the real kernel live. */
#include "guest.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <zmq.h>

#include "curve.h"
#include "deliver.h"
#include "make.h"
#include "manager.h"
#include "wire.h"

#define BATCH 32 /* the other side has something to do while these are worked off */
#define ENOUGH 1024
#define LIFE_FD 3
#define PULSE_FD 4
#define LINGER_MS 1000

typedef struct guest {
  kg_port_t port; /* first */
  kg_wire_t wire;
  kg_kernel_t *k;
  kg_ctx_t *link, *plugin;
  uint64_t farewell; /* id of host.destroy */
  bool ended, far;   /* far: the kernel is on another machine */
  kg_port_t monitor; /* of the connection, if far */
  sem_t done;
} guest_t;

/* --- to the kernel
 * ------------------------------------------------------------------------------------------------------------- */

static void end(guest_t *g) {
  if (g->ended) return;
  g->ended = true;
  sem_post(&g->done);
}

static int transmit(guest_t *g, const kg_msg_t *m, kg_error_t *err) {
  kg_port_unsent(g->link->lane, &g->port);
  return kg_wire_send(&g->wire, g->port.socket, m, m->id, g->link->lane->now_us / 1000, err);
}

static void flush(kg_lane_t *lane, kg_port_t *port) {
  (void)lane;
  guest_t *g = (guest_t *)port;
  kg_error_t err = {0};
  port->more = true; /* sending may take the news of a message that has come */
  if (kg_wire_flush(&g->wire, port->socket, &err) < 0)
    kg_logf(g->k, KG_LOG_ERROR, g->plugin->name, "messages to the kernel are lost: %s", err.text);
}

void kg_guest_tell(kg_ctx_t *ctx, const char *topic, const char *key, const char *value) {
  kg_doc_t *args = NULL;
  if (!ctx->k->link) return;
  if (key) {
    kg_pack_t p = kg_pack();
    kg_pack_map(&p);
    kg_pack_kv_str(&p, key, value);
    kg_pack_end(&p);
    args = kg_pack_doc(&p);
  }
  kg_msg_t *m = kg_make_event(ctx, topic, args, NULL, 0);
  /* By the queue, behind what the plugin has sent before. */
  if (m) kg_lane_post(ctx->lane, (kg_parcel_t){.to = kg_ctx_ref(ctx->k->link), .from = kg_ctx_ref(ctx), .m = m});
  kg_doc_unref(args);
}

/* --- steps of the plugin's life
 * ------------------------------------------------------------------------------------------------- */

static void activate(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane, (void)job;
  kg_instance_activate(ctx);
}

typedef struct step {
  const char *topic;
  kg_job_fn fn;
} step_t;

static const step_t steps[] = {
    {"host.create", kg_job_create},       {"host.activate", activate},      {"host.drain", kg_job_drain},
    {"host.hand_over", kg_job_hand_over}, {"host.accept", kg_job_accept},   {"host.resume", kg_job_resume},
    {"host.configure", kg_job_configure}, {"host.destroy", kg_job_destroy}, {NULL, NULL},
};

static void set_config(kg_ctx_t *ctx, kg_doc_t *config) {
  if (!config) return;
  kg_doc_unref(ctx->config);
  ctx->config = kg_doc_ref(config);
}

static void answer(guest_t *g, const kg_msg_t *m, const kg_job_t *job) {
  bool gives = strcmp(m->topic, "host.hand_over") == 0 && job->doc;
  kg_doc_t *doc = job->doc;
  kg_msg_t *back = job->rc < 0 ? kg_make_error(g->plugin, m->topic, m->id, job->err.code, job->err.text, NULL)
                               : kg_make_answer(g->plugin, m, KG_MSG_REPLY, 0, NULL, &doc, gives ? 1 : 0);
  if (back)
    kg_lane_post(g->link->lane, (kg_parcel_t){.to = kg_ctx_ref(g->link), .from = kg_ctx_ref(g->plugin), .m = back});
}

static void run_step(guest_t *g, const kg_msg_t *m) {
  const step_t *s = steps;
  kg_job_t job = {.k = g->k, .doc = kg_doc_ref(kg_msg_doc(m, 0)), .text = "the plugin was stopped"};
  while (s->topic && strcmp(s->topic, m->topic) != 0) s++;
  if (s->fn == kg_job_create) set_config(g->plugin, job.doc);
  if (s->fn == kg_job_destroy) g->farewell = m->id;
  atomic_store(&g->plugin->forced, kg_view_bool(kg_view_get(kg_msg_args(m), "forced"), false));
  kg_lane_enter(g->link->lane, g->plugin, m->topic + strlen("host."));
  if (s->fn)
    s->fn(g->link->lane, g->plugin, &job);
  else
    job.rc = kg_error_set(&job.err, KG_ENOTFOUND, "this host knows no step %s", m->topic);
  kg_lane_leave(g->link->lane, g->plugin, m->topic);
  answer(g, m, &job);
  kg_doc_unref(job.doc);
}

/* What comes to the link: the kernel's steps, and whatever the plugin sends to anyone. */
static void pass(kg_lane_t *lane, kg_ctx_t *link, kg_parcel_t *p) {
  guest_t *g = link->self;
  kg_error_t err = {0};
  if (p->from == link) {
    run_step(g, p->m);
    return;
  }
  int rc = transmit(g, p->m, &err);
  if (rc != 0 && kg_msg_type(p->m) == KG_MSG_REQUEST && !kg_from_requester(p->m)) rc = -1;
  if (rc != 0 && kg_msg_type(p->m) == KG_MSG_REQUEST)
    kg_refuse(lane, p, rc > 0 ? KG_EFULL : KG_EUNAVAILABLE, rc > 0 ? "the kernel takes no more requests" : err.text);
  else if (rc != 0)
    kg_count(&g->plugin->n.dropped, 1);
  if (g->farewell && p->m->id == g->farewell && kg_msg_type(p->m) != KG_MSG_REQUEST) {
    flush(lane, &g->port);
    end(g);
  }
}

/* --- from the kernel
 * ----------------------------------------------------------------------------------------------------------- */

static void receive(kg_lane_t *lane, kg_port_t *port) {
  guest_t *g = (guest_t *)port;
  if (g->wire.holds) flush(lane, port); /* the news may be that it takes something again */
  for (int left = BATCH; left > 0 && lane->queue.count <= ENOUGH; left--) {
    kg_error_t err = {0};
    kg_msg_t *m;
    int got = kg_wire_recv(&g->wire, port->socket, lane->now_us / 1000, &m, NULL, &err);
    if (got == 0) {
      port->more = false;
      return;
    }
    if (got < 0) {
      kg_logf(g->k, KG_LOG_WARN, g->plugin->name, "a message of the kernel was refused: %s", err.text);
      continue;
    }
    bool step = kg_msg_type(m) == KG_MSG_REQUEST && m->id < 1ull << 40 && strcmp(m->service, "host") == 0;
    kg_parcel_t p = {.to = kg_ctx_ref(step ? g->link : g->plugin), .from = kg_ctx_ref(g->link), .m = m};
    kg_queue_push(&lane->queue, p);
  }
}

static void kernel_has_gone(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)fd, (void)events, (void)arg;
  _exit(0); /* at once: what the plugin still does, nobody would hear of */
}

static void connection(kg_lane_t *lane, kg_port_t *port) {
  (void)lane;
  zmq_msg_t z;
  zmq_msg_init(&z);
  /* Only DISCONNECTED is asked for. The agent starts this process again, which says hello. */
  if (zmq_msg_recv(&z, port->socket, ZMQ_DONTWAIT) >= 0) _exit(3);
  zmq_msg_close(&z);
  port->more = false;
}

static int watch_connection(guest_t *g, kg_error_t *err) {
  g->monitor.ready = connection;
  if (zmq_socket_monitor(g->port.socket, "inproc://monitor", ZMQ_EVENT_DISCONNECTED) == 0 &&
      (g->monitor.socket = zmq_socket(g->k->net, ZMQ_PAIR)) != NULL &&
      zmq_connect(g->monitor.socket, "inproc://monitor") == 0)
    return kg_port_open(g->link, &g->monitor, err);
  return kg_error_set(err, KG_EINTERNAL, "the connection cannot be watched: %s", zmq_strerror(zmq_errno()));
}

/* --- start
 * ---------------------------------------------------------------------------------------------------------------------
 */

static void attach(kg_lane_t *lane, kg_ctx_t *link, kg_job_t *job) {
  guest_t *g = job->arg;
  if (!g->far) {
    void *shared = mmap(NULL, sizeof(kg_pulse_t), PROT_READ | PROT_WRITE, MAP_SHARED, PULSE_FD, 0);
    if (shared != MAP_FAILED) lane->pulse = shared;
  }
  link->self = g;
  link->raw = pass;
  link->created = true;
  g->port.ready = receive;
  g->port.flush = flush;
  job->rc = kg_port_open(link, &g->port, &job->err);
  if (job->rc == 0)
    job->rc = g->far ? watch_connection(g, &job->err)
                     : kg_fd_watch(link, LIFE_FD, EPOLLIN | EPOLLRDHUP, kernel_has_gone, NULL, &job->err);
}

static void detach(kg_lane_t *lane, kg_ctx_t *link, kg_job_t *job) {
  (void)job;
  guest_t *g = link->self;
  kg_port_close(link, &g->port);
  if (g->monitor.socket) kg_port_close(link, &g->monitor);
  kg_lane_forget(link);
  lane->pulse = &lane->own_pulse;
}

static int connect_to(guest_t *g, const kg_guest_options_t *o, kg_error_t *err) {
  int linger = LINGER_MS;
  int64_t size = KG_DOC_MAX_BYTES;
  int most = KG_WIRE_HWM;
  g->far = strncmp(o->address, "ipc://", 6) != 0;
  g->k->net = zmq_ctx_new();
  void *s = g->port.socket = g->k->net ? zmq_socket(g->k->net, ZMQ_DEALER) : NULL;
  if (!s) return kg_error_set(err, KG_EINTERNAL, "no socket can be made: %s", zmq_strerror(errno));
  zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof linger);
  zmq_setsockopt(s, ZMQ_SNDHWM, &most, sizeof most);
  zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &size, sizeof size);
  char plain[200];
  bool curve = strncmp(o->address, "tcp+plain://", 12) != 0; /* without CURVE only for measuring */
  if (!curve) snprintf(plain, sizeof plain, "tcp://%s", o->address + 12);
  if (g->far && curve && kg_curve_client(s, o->key_file, err) < 0) return -1;
  if (zmq_connect(s, curve ? o->address : plain) == 0) return 0;
  return kg_error_set(err, KG_EINVAL, "%s cannot be reached: %s", o->address, zmq_strerror(errno));
}

/* The first message, before the lane looks after the socket. */
static int say(guest_t *g, const char *name, const char *topic, kg_pack_t *p, kg_error_t *err) {
  kg_doc_t *args = kg_pack_doc(p);
  kg_msg_t *m = kg_msg_new(&(kg_msg_init_t){.type = KG_MSG_EVENT, .topic = topic, .source = name, .args = args});
  int rc = m ? kg_wire_send(&g->wire, g->port.socket, m, 0, 0, err) : -1;
  if (rc == 0) rc = kg_wire_flush(&g->wire, g->port.socket, err);
  kg_msg_unref(m);
  kg_doc_unref(args);
  return rc;
}

static int say_hello(guest_t *g, const char *name, const kg_plugin_t *d, kg_error_t *err) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "abi", d->abi);
  kg_pack_kv_str(&p, "name", d->name);
  kg_pack_kv_str(&p, "role", d->role);
  kg_pack_kv_str(&p, "version", d->version);
  kg_pack_kv_str(&p, "summary", d->summary);
  kg_pack_kv_int(&p, "pid", getpid());
  kg_pack_kv_bool(&p, "accepts", d->accept != NULL);
  kg_pack_key(&p, "services");
  kg_pack_array(&p);
  for (const char *const *s = d->services; s && *s; s++) kg_pack_str(&p, *s);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return say(g, name, "host.hello", &p, err);
}

static void say_refused(guest_t *g, const char *name, const kg_error_t *why) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "text", why->text);
  kg_pack_end(&p);
  say(g, name, "host.refused", &p, NULL);
}

static int host(guest_t *g, const kg_guest_options_t *o, kg_source_t *src, kg_error_t *err) {
  kg_lane_t *lane = kg_lane_named(g->k, "main", err);
  static const kg_plugin_t link = {.name = "link", .role = "link", .version = "1"};
  g->plugin = lane ? kg_instance_new(g->k, o->name, lane, src->desc, NULL) : NULL;
  g->link = lane ? kg_instance_new(g->k, "kernel", lane, &link, NULL) : NULL;
  if (!g->plugin || !g->link) return kg_error_set(err, KG_EFULL, "out of memory");
  /* Its own calls to itself must not be mistaken for the kernel's, whose numbers are small. */
  g->plugin->number = 1u << 23;
  g->k->link = g->link;
  kg_job_t *job = kg_job_new(g->k);
  if (!job) return kg_error_set(err, KG_EFULL, "out of memory");
  job->arg = g;
  if (say_hello(g, o->name, src->desc, err) < 0) return -1;
  job = kg_run_job(g->link, attach, job, 10000, "start", err);
  int rc = job ? job->rc : -1;
  if (job && rc < 0 && err) *err = job->err;
  kg_job_unref(job);
  if (rc < 0) return -1;
  while (sem_wait(&g->done) < 0 && errno == EINTR) {
  }
  return kg_do(g->link, detach, 10000, "end", err);
}

int kg_guest_run(const kg_guest_options_t *o, kg_error_t *err) {
  guest_t g = {0};
  kg_source_t src = {0};
  sem_init(&g.done, 0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (o->shadow) kg_own_network();
  g.k = kg_kernel_new(&(kg_kernel_options_t){.data_dir = o->data_dir,
                                             .run_dir = o->run_dir,
                                             .log_level = o->log_level,
                                             .log_json = o->log_json,
                                             .budget_ms = o->budget_ms},
                      err);
  if (!g.k) return -1;
  int rc = connect_to(&g, o, err);
  if (rc == 0 && kg_source_open(g.k, o->file, NULL, NULL, false, &src, err) < 0) {
    say_refused(&g, o->name, err);
    rc = -1;
  } else if (rc == 0) {
    rc = host(&g, o, &src, err);
  }
  kg_kernel_end_lanes(g.k);
  if (g.monitor.socket) zmq_close(g.monitor.socket);
  if (g.port.socket) zmq_close(g.port.socket);
  kg_wire_end(&g.wire);
  kg_kernel_free(g.k);
  kg_ctx_unref(g.plugin);
  kg_ctx_unref(g.link);
  kg_source_close(&src);
  sem_destroy(&g.done);
  return rc;
}
