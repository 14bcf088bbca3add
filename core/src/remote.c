#include "remote.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "registry.h"
#include "remote_internal.h"
#include "shade.h"

/* --- who is there
 * --------------------------------------------------------------------------------------------------------------- */

static const char *text_of(kg_view_t hello, const char *key, char **keep) {
  kg_str_t s = kg_view_str(kg_view_get(hello, key));
  return s.n && !memchr(s.p, 0, s.n) ? (*keep = kg_str_dup(s)) : NULL;
}

static int read_services(kg_remote_t *r, kg_view_t list) {
  size_t n = 0, count = kg_view_count(list);
  r->services = calloc(count + 1, sizeof *r->services);
  for (kg_iter_t it = kg_iter(list); r->services && n < count && kg_iter_next(&it);)
    if (!(r->services[n++] = kg_str_dup(kg_view_str(it.value)))) return -1;
  return r->services ? 0 : -1;
}

static int read_hello(kg_remote_t *r, kg_view_t hello, kg_error_t *err) {
  int64_t abi = kg_view_int(kg_view_get(hello, "abi"), 0);
  if (abi != KG_PLUGIN_ABI)
    return kg_error_set(err, KG_EINVAL, "its host speaks plugin interface %lld, this kernel %u", (long long)abi,
                        KG_PLUGIN_ABI);
  r->desc = (kg_plugin_t){.magic = KG_PLUGIN_MAGIC, .abi = KG_PLUGIN_ABI, .size = sizeof(kg_plugin_t)};
  r->desc.name = text_of(hello, "name", &r->texts[0]);
  r->desc.role = text_of(hello, "role", &r->texts[1]);
  r->desc.version = text_of(hello, "version", &r->texts[2]);
  r->desc.summary = text_of(hello, "summary", &r->texts[3]);
  if (read_services(r, kg_view_get(hello, "services")) < 0) return kg_error_set(err, KG_EFULL, "out of memory");
  r->desc.services = (const char *const *)r->services;
  r->accepts = kg_view_bool(kg_view_get(hello, "accepts"), false);
  if (r->desc.name && r->desc.role && r->desc.version) return 0;
  return kg_error_set(err, KG_EINVAL, "its host did not say which plugin it is");
}

int kg_remote_greet(kg_remote_t *r, int64_t wait_ms, kg_error_t *err) {
  int64_t until = kg_clock_us() + wait_ms * 1000;
  int fd = -1;
  for (kg_msg_t *m;;) {
    int got = kg_wire_recv(&r->wire, r->port.socket, kg_clock_us() / 1000, &m, &fd, err);
    if (got > 0) kg_remote_came_by(r, fd);
    if (got < 0) return -1;
    if (got > 0) { /* nothing else happens on this socket yet */
      bool hello = strcmp(m->topic, "host.hello") == 0;
      int rc = hello ? read_hello(r, kg_msg_args(m), err) : -1;
      if (!hello)
        kg_error_set(err, KG_EINVAL, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(kg_msg_args(m), "text"))));
      kg_msg_unref(m);
      return rc;
    }
    int64_t left = (until - kg_clock_us()) / 1000;
    zmq_pollitem_t p[] = {{.socket = r->port.socket, .events = ZMQ_POLLIN},
                          {.fd = r->proc.pidfd, .events = ZMQ_POLLIN}};
    if (left <= 0)
      return kg_error_set(err, KG_EDEADLINE, "its %s did not %s within %lld ms", r->own ? "process" : "host",
                          r->own ? "answer" : "come", (long long)wait_ms);
    zmq_poll(p, r->proc.pidfd < 0 ? 1 : 2, left);
    if (p[0].revents || !p[1].revents) continue;
    zmq_poll(p, 1, 50); /* its last words may still be on their way */
    if (p[0].revents) continue;
    char how[100];
    kg_process_end(&r->proc, how, sizeof how);
    return kg_error_set(err, KG_EINVAL, "its process %s before it said a word", how);
  }
}

kg_remote_t *kg_remote_open(kg_kernel_t *k, const kg_remote_spec_t *spec, kg_error_t *err) {
  kg_remote_t *r = calloc(1, sizeof *r);
  if (!r) {
    kg_error_set(err, KG_EFULL, "out of memory");
    return NULL;
  }
  r->k = k;
  r->proc = (kg_process_t){.pidfd = -1, .life = -1, .memory = -1};
  r->name = strdup(spec->name);
  r->file = strdup(spec->file ? spec->file : spec->listen ? spec->listen : "");
  r->dir = spec->dir ? strdup(spec->dir) : NULL;
  r->own = !spec->listen;
  if (kg_process_prepare(k, &r->proc, spec->name, spec->listen, err) == 0 &&
      (r->port.socket = kg_process_socket(k, &r->proc, err)) != NULL && (r->own || kg_remote_monitor(r, err) == 0) &&
      (!r->own || kg_process_start(k, &r->proc, r->name, r->file, r->dir, err) == 0))
    return r;
  kg_remote_free(r);
  return NULL;
}

void kg_remote_free(kg_remote_t *r) {
  if (!r) return;
  kg_remote_monitor_end(r);
  if (r->port.socket) zmq_close(r->port.socket);
  kg_wire_end(&r->wire);
  kg_process_free(&r->proc);
  for (size_t i = 0; i < sizeof r->texts / sizeof *r->texts; i++) free(r->texts[i]);
  for (char **s = r->services; s && *s; s++) free(*s);
  free(r->services);
  kg_table_free(&r->calls);
  kg_table_free(&r->steps);
  free(r->name);
  free(r->file);
  free(r->dir);
  free(r);
}

const kg_plugin_t *kg_remote_descriptor(const kg_remote_t *r) {
  return &r->desc;
}
const char *kg_remote_path(const kg_remote_t *r) {
  return r->file;
}
kg_pulse_t *kg_remote_pulse(kg_remote_t *r) {
  return r->proc.pulse;
}
pid_t kg_remote_pid(const kg_remote_t *r) {
  return r->proc.pid;
}
bool kg_remote_accepts(const kg_remote_t *r) {
  return r->accepts;
}
bool kg_remote_relays(const kg_remote_t *r, uint64_t id) {
  return kg_table_get(&r->calls, id) != NULL;
}
bool kg_remote_up(const kg_remote_t *r) {
  return atomic_load(&r->serving);
}
unsigned kg_remote_restarts(const kg_remote_t *r) {
  return atomic_load(&r->restarts);
}

/* --- steps of its life
 * ---------------------------------------------------------------------------------------------------------- */

static kg_doc_t *forced_args(void) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_bool(&p, "forced", true);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static int send_step(kg_ctx_t *ctx, kg_job_t *job, const char *topic, kg_doc_t *doc, kg_error_t *err) {
  kg_remote_t *r = ctx->remote;
  uint64_t id = ++r->last_step;
  kg_doc_t *args = kg_forced(ctx) ? forced_args() : NULL;
  kg_msg_t *m = kg_msg_new(&(kg_msg_init_t){.type = KG_MSG_REQUEST,
                                            .topic = topic,
                                            .source = "kernel",
                                            .service = "host",
                                            .args = args,
                                            .id = id,
                                            .flags = KG_FLAG_UP,
                                            .docs = &doc,
                                            .ndocs = doc ? 1 : 0});
  int rc = m && kg_table_put(&r->steps, id, job ? (void *)job : (void *)r) == 0
               ? kg_remote_send(r, m, id, err)
               : kg_error_set(err, KG_EFULL, "out of memory");
  kg_msg_unref(m);
  kg_doc_unref(args);
  if (rc != 0) kg_table_remove(&r->steps, id);
  return rc == 0 ? 0 : -1;
}

/* The kernel's own steps after a restart; there is no job to tell. */
static void own_step(kg_ctx_t *ctx, const char *topic, kg_doc_t *doc) {
  kg_error_t err = {0};
  if (send_step(ctx, NULL, topic, doc, &err) < 0)
    kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "%s could not be sent to its process: %s", topic, err.text);
}

void kg_remote_step(kg_ctx_t *ctx, kg_job_t *job, const char *topic) {
  kg_remote_t *r = ctx->remote;
  bool gives = strcmp(topic, "host.accept") == 0 || strcmp(topic, "host.configure") == 0;
  r->ending |= strcmp(topic, "host.destroy") == 0;
  bool away = !r->own && r->connection < 0; /* who knocks meanwhile has not said a word yet */
  if (!r->port.socket || away) {
    if (r->ending)
      kg_remote_detach(ctx); /* it may be waiting for its next start */
    else
      job->rc = kg_error_set(&job->err, KG_EUNAVAILABLE, "its process is not there");
    return;
  }
  atomic_fetch_add(&job->refs, 1);
  job->later = true;
  if (send_step(ctx, job, topic, gives ? job->doc : NULL, &job->err) == 0) {
    if (r->ending) kg_remote_await_end(ctx);
    return;
  }
  job->rc = r->ending ? 0 : -1;
  job->later = false;
  kg_job_unref(job);
  if (r->ending) kg_remote_detach(ctx);
}

static void finish_step(kg_ctx_t *ctx, kg_job_t *job, const kg_msg_t *m) {
  if (kg_msg_type(m) == KG_MSG_ERROR)
    job->rc = kg_error_set(&job->err, kg_msg_code(m), "%s", kg_msg_text(m));
  else if (job->fn == kg_job_hand_over)
    job->doc = kg_doc_ref(kg_msg_doc(m, 0));
  else if (job->fn == kg_job_create)
    ctx->created = true;
  kg_job_finish(job);
  kg_job_unref(job);
}

void kg_remote_step_answered(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_remote_t *r = ctx->remote;
  void *what = kg_table_remove(&r->steps, kg_msg_id(m));
  if (what && what != r) {
    kg_job_t *job = what;
    if (r->ending) {
      r->last_job = job; /* done when the process has ended */
      if (!r->own) kg_remote_ended(ctx);
      return;
    }
    finish_step(ctx, job, m);
  } else if (what && kg_msg_type(m) == KG_MSG_ERROR) {
    kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "it could not start again: %s", kg_msg_text(m));
    kg_remote_kill(ctx);
  }
}

/* Whoever waits for a step of a process that has gone. */
static void fail_steps(kg_ctx_t *ctx, const char *why) {
  kg_remote_t *r = ctx->remote;
  uint64_t id;
  for (void *what; (what = kg_table_any(&r->steps, &id)) != NULL;) {
    kg_table_remove(&r->steps, id);
    if (what == r) continue;
    kg_job_t *job = what;
    if (!r->ending) job->rc = kg_error_set(&job->err, KG_EUNAVAILABLE, "%s", why);
    kg_job_finish(job);
    kg_job_unref(job);
  }
  if (!r->last_job) return;
  kg_job_finish(r->last_job);
  kg_job_unref(r->last_job);
  r->last_job = NULL;
}

/* --- the process comes and goes
 * ------------------------------------------------------------------------------------------------- */

static void process_ended(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)fd, (void)events, (void)arg;
  kg_remote_ended(ctx);
}

static int attach(kg_ctx_t *ctx, kg_error_t *err) {
  kg_remote_t *r = ctx->remote;
  r->port.ready = kg_remote_receive;
  r->port.flush = kg_remote_flush;
  r->ctx = ctx;
  r->up_since_us = kg_clock_us();
  if (kg_port_open(ctx, &r->port, err) < 0) return -1;
  if (!r->own) return kg_port_open(ctx, &r->monitor, err);
  return kg_fd_watch(ctx, r->proc.pidfd, EPOLLIN, process_ended, NULL, err);
}

void kg_remote_create(kg_ctx_t *ctx, kg_job_t *job) {
  ctx->raw = kg_remote_deliver;
  if (ctx->shade) kg_shade_begin(ctx);
  if (attach(ctx, &job->err) < 0) {
    job->rc = -1;
    return;
  }
  atomic_fetch_add(&job->refs, 1);
  job->later = true;
  if (send_step(ctx, job, "host.create", ctx->config, &job->err) == 0) return;
  job->rc = -1;
  job->later = false;
  kg_job_unref(job);
}

/* Everything that hangs on this life of the process, but not the instance itself. */
static void let_go(kg_ctx_t *ctx, const char *why) {
  kg_remote_t *r = ctx->remote;
  uint64_t id;
  atomic_store(&r->serving, false);
  kg_calls_drop(ctx);
  kg_wire_forget(&r->wire); /* it must not reach the next process */
  for (kg_table_t *t = &r->calls; kg_table_any(t, &id);) free(kg_table_remove(t, id));
  kg_served_drop(ctx, why);
  kg_subscriptions_remove(&ctx->k->registry, ctx);
  fail_steps(ctx, why);
}

static void close_socket(kg_ctx_t *ctx) {
  kg_remote_t *r = ctx->remote;
  kg_remote_monitor_end(r);
  if (!r->port.socket) return;
  kg_port_close(ctx, &r->port);
  zmq_close(r->port.socket);
  r->port.socket = NULL;
  kg_wire_end(&r->wire);
}

/* The watchdog looks at the shared memory under the list's lock: it must not vanish meanwhile. */
static void free_process(kg_remote_t *r) {
  pthread_mutex_lock(&r->k->list);
  kg_process_free(&r->proc);
  pthread_mutex_unlock(&r->k->list);
}

void kg_remote_detach(kg_ctx_t *ctx) {
  kg_remote_t *r = ctx->remote;
  if (r->proc.pidfd >= 0) kg_fd_forget(ctx, r->proc.pidfd);
  close_socket(ctx);
  free_process(r);
  let_go(ctx, "the plugin was stopped");
  kg_lane_forget(ctx);
}

void kg_remote_kill(kg_ctx_t *ctx) {
  if (ctx->remote->proc.pid) kill(ctx->remote->proc.pid, SIGKILL);
}

static void too_late(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  kg_remote_t *r = ctx->remote;
  if (!r->ending && atomic_load(&r->serving)) return;
  kg_logf(ctx->k, KG_LOG_WARN, ctx->name, "its process %s in time and is killed",
          r->ending ? "did not end" : "did not start");
  if (r->own)
    kg_remote_kill(ctx);
  else
    kg_remote_ended(ctx);
}

void kg_remote_await_end(kg_ctx_t *ctx) {
  kg_timer(ctx, KG_END_MS, 0, too_late, NULL);
}

static int prepare_process(kg_remote_t *r, kg_error_t *err) {
  pthread_mutex_lock(&r->k->list);
  int rc = kg_process_prepare(r->k, &r->proc, r->name, NULL, err);
  pthread_mutex_unlock(&r->k->list);
  return rc;
}

static void start_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self, (void)arg;
  kg_remote_t *r = ctx->remote;
  kg_error_t err = {0};
  free_process(r);
  if (prepare_process(r, &err) == 0 && (r->port.socket = kg_process_socket(r->k, &r->proc, &err)) != NULL &&
      kg_process_start(r->k, &r->proc, r->name, r->file, r->dir, &err) == 0 && attach(ctx, &err) == 0) {
    kg_timer_cancel(ctx, r->start_timer);
    r->start_timer = kg_timer(ctx, r->k->start_timeout_ms, 0, too_late, NULL);
    return;
  }
  kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "its process could not be started: %s", err.text);
  close_socket(ctx);
  free_process(r);
  kg_timer(ctx, KG_LONGEST_PAUSE_MS, 0, start_again, NULL);
}

static int64_t next_pause(kg_remote_t *r) {
  if (kg_clock_us() - r->up_since_us > KG_STABLE_MS * 1000) r->pause_ms = 0;
  r->pause_ms = r->pause_ms ? r->pause_ms * 2 : KG_FIRST_PAUSE_MS;
  if (r->pause_ms > KG_LONGEST_PAUSE_MS) r->pause_ms = KG_LONGEST_PAUSE_MS;
  return r->pause_ms;
}

/* What it did when it died, for the sentence. */
static void describe_end(kg_remote_t *r, char *out, size_t room) {
  char how[100] = "has gone", what[65] = "";
  if (r->proc.pulse && atomic_load(&r->proc.pulse->busy_since_us)) kg_pulse_what(r->proc.pulse, what);
  if (r->own) kg_process_end(&r->proc, how, sizeof how);
  snprintf(out, room, "plugin %s's process %s%s%s", r->name, how, *what ? " in the handler of " : "", what);
}

void kg_remote_ended(kg_ctx_t *ctx) {
  kg_remote_t *r = ctx->remote;
  char how[260];
  while (r->own && r->port.more && r->port.socket && !r->ending)
    kg_remote_receive(ctx->lane, &r->port); /* its last words */
  if (r->ending) {
    kg_remote_detach(ctx);
    return;
  }
  if (r->proc.pidfd >= 0) kg_fd_forget(ctx, r->proc.pidfd);
  describe_end(r, how, sizeof how);
  bool again = !ctx->shade && (atomic_load(&ctx->state) == KG_RUNNING || r->pause_ms);
  if (r->own) close_socket(ctx);
  let_go(ctx, how);
  if (!again) {
    kg_not_ready(ctx, "%s", how);
    if (ctx->shade) kg_shade_died(ctx, how);
    return;
  }
  atomic_fetch_add(&r->restarts, 1);
  int64_t pause = next_pause(r);
  if (!r->own) {
    kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "%s, it is waited for", how);
    return;
  }
  kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "%s, it starts again in %lld ms", how, (long long)pause);
  kg_timer(ctx, pause, 0, start_again, NULL);
}

/* --- what the host says of itself
 * ---------------------------------------------------------------------------------------------- */

static char *word(const kg_msg_t *m, const char *key) {
  kg_str_t s = kg_view_str(kg_view_get(kg_msg_args(m), key));
  return s.p && !memchr(s.p, 0, s.n) ? kg_str_dup(s) : NULL;
}

/* A host that is there again: it must still be the same plugin. */
static void hello_again(kg_ctx_t *ctx, const kg_msg_t *m) {
  kg_view_t hello = kg_msg_args(m);
  bool same = kg_str_is(kg_view_str(kg_view_get(hello, "role")), ctx->desc->role) &&
              kg_view_int(kg_view_get(hello, "abi"), 0) == KG_PLUGIN_ABI;
  if (!ctx->remote->own) let_go(ctx, "the plugin's host has started anew");
  if (same)
    own_step(ctx, "host.create", ctx->config);
  else
    kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "its process now hosts another plugin");
}

static void is_ready(kg_ctx_t *ctx) {
  kg_remote_t *r = ctx->remote;
  atomic_store(&r->serving, true);
  kg_ready(ctx);
  if (!kg_active(ctx)) return;
  kg_timer_cancel(ctx, r->start_timer);
  own_step(ctx, "host.activate", NULL);
  kg_logf(ctx->k, KG_LOG_INFO, ctx->name, "runs again in process %d", (int)r->proc.pid);
}

static void serve(kg_ctx_t *ctx, const char *service) {
  kg_error_t err = {0};
  if (kg_serve(ctx, service, &err) == 0) return;
  kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "%s", err.text);
  if (!kg_active(ctx)) kg_not_ready(ctx, "%s", err.text);
}

static void not_ready(kg_ctx_t *ctx, const char *why) {
  kg_not_ready(ctx, "%s", why);
  if (!kg_active(ctx)) return;
  kg_logf(ctx->k, KG_LOG_ERROR, ctx->name, "it could not start again: %s", why);
  kg_remote_kill(ctx);
}

void kg_remote_said(kg_ctx_t *ctx, const kg_msg_t *m) {
  const char *what = kg_msg_topic(m) + strlen("host.");
  char *prefix = word(m, "prefix"), *service = word(m, "service"), *text = word(m, "text");
  if (strcmp(what, "hello") == 0)
    hello_again(ctx, m);
  else if (strcmp(what, "ready") == 0)
    is_ready(ctx);
  else if (strcmp(what, "drained") == 0)
    kg_drained(ctx);
  else if (strcmp(what, "subscribe") == 0 && prefix)
    kg_subscribe(ctx, prefix);
  else if (strcmp(what, "serve") == 0 && service)
    serve(ctx, service);
  else if (strcmp(what, "not_ready") == 0 || strcmp(what, "refused") == 0)
    not_ready(ctx, text ? text : "");
  else
    atomic_fetch_add(&ctx->k->refused, 1);
  free(prefix);
  free(service);
  free(text);
}
