#include "pending.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "remote_internal.h"

#define FIRST_PAUSE_MS 250
#define GREETING_MS 2000 /* who has come says who it is by then */

struct kg_pending {
  struct kg_pending *next;
  kg_kernel_t *k;
  kg_plugin_spec_t spec; /* with copies */
  char **services;
  kg_remote_t *remote; /* bound; the thread's while it runs. NULL: to be tried again after the pause */
  int64_t pause_ms, since_us;
  kg_error_t why;
  pthread_t thread;
  bool waits;       /* the thread is to be joined */
  int stop;         /* eventfd: it must end */
  atomic_bool come; /* it has ended: there is something to do */
};

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static void call_manager(kg_kernel_t *k) {
  uint64_t one = 1;
  if (write(k->command_fd, &one, sizeof one) < 0) return; /* full: it will look anyway */
}

/* Somebody at the door, or the end of the pause: true. False: it is not waited for any more. */
static bool wait_for(kg_pending_t *p) {
  for (;;) {
    zmq_pollitem_t at[] = {{.fd = p->stop, .events = ZMQ_POLLIN},
                           {.socket = p->remote ? p->remote->port.socket : NULL, .events = ZMQ_POLLIN},
                           {.socket = p->remote ? p->remote->monitor.socket : NULL, .events = ZMQ_POLLIN}};
    int n = zmq_poll(at, p->remote ? 3 : 1, p->remote ? -1 : p->pause_ms);
    if (n < 0 && zmq_errno() != EINTR) return false;
    if (at[0].revents) return false;
    if (n == 0 || (p->remote && at[1].revents)) return true;
    if (p->remote && at[2].revents) kg_remote_look_at_connection(p->remote);
  }
}

static void *run(void *arg) {
  kg_pending_t *p = arg;
  if (wait_for(p)) {
    atomic_store(&p->come, true);
    call_manager(p->k);
  }
  return NULL;
}

static void wait_on(kg_pending_t *p) {
  atomic_store(&p->come, false);
  p->waits = pthread_create(&p->thread, NULL, run, p) == 0;
  if (!p->waits) kg_logf(p->k, KG_LOG_ERROR, p->spec.name, "no thread can be made to wait for it");
}

/* --- the list ----------------------------------------------------------------------------------------------------- */

static void free_pending(kg_pending_t *p) {
  uint64_t one = 1;
  if (p->waits && write(p->stop, &one, sizeof one) == (ssize_t)sizeof one) pthread_join(p->thread, NULL);
  kg_remote_free(p->remote);
  if (p->stop >= 0) close(p->stop);
  for (char **s = p->services; s && *s; s++) free(*s);
  free(p->services);
  kg_doc_unref(p->spec.config);
  free((char *)p->spec.name);
  free((char *)p->spec.lane);
  free((char *)p->spec.remote);
  free(p);
}

static kg_pending_t *copy_of(kg_kernel_t *k, const kg_plugin_spec_t *spec) {
  kg_pending_t *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  p->k = k;
  p->stop = eventfd(0, EFD_CLOEXEC);
  p->services = kg_names_copy(spec->services);
  p->spec = (kg_plugin_spec_t){.name = strdup(spec->name),
                               .lane = strdup(spec->lane ? spec->lane : "main"),
                               .config = kg_doc_ref(spec->config),
                               .services = (const char *const *)p->services,
                               .remote = strdup(spec->remote)};
  if (p->stop >= 0 && p->spec.name && p->spec.lane && p->spec.remote && (p->services || !spec->services)) return p;
  free_pending(p);
  return NULL;
}

static void unlink_pending(kg_kernel_t *k, kg_pending_t *p) {
  pthread_mutex_lock(&k->list);
  kg_pending_t **at = &k->pending;
  while (*at != p) at = &(*at)->next;
  *at = p->next;
  pthread_mutex_unlock(&k->list);
}

int kg_pending_add(kg_kernel_t *k, const kg_plugin_spec_t *spec, kg_remote_t *remote, const kg_error_t *why) {
  kg_pending_t *p = copy_of(k, spec);
  if (!p) return -1;
  p->remote = remote;
  p->why = *why;
  p->since_us = kg_time_us(k);
  p->pause_ms = FIRST_PAUSE_MS;
  kg_logf(k, KG_LOG_WARN, spec->name, "%s: the kernel goes on without it and loads it when its host has come to %s",
          why->text, spec->remote);
  pthread_mutex_lock(&k->list);
  p->next = k->pending;
  k->pending = p;
  pthread_mutex_unlock(&k->list);
  wait_on(p);
  return 0;
}

bool kg_pending_has(kg_kernel_t *k, const char *name) {
  kg_pending_t *p = k->pending;
  while (p && strcmp(p->spec.name, name) != 0) p = p->next;
  return p != NULL;
}

bool kg_pending_drop(kg_kernel_t *k, const char *name) {
  bool found = false;
  for (kg_pending_t *p = k->pending, *next; p; p = next) {
    next = p->next;
    if (name && strcmp(p->spec.name, name) != 0) continue;
    unlink_pending(k, p);
    free_pending(p);
    found = true;
  }
  return found;
}

/* --- somebody has come -------------------------------------------------------------------------------------------- */

/* The source that kg_load_source() takes over, or none and p->why. */
static int greet(kg_pending_t *p, kg_source_t *src, kg_error_t *err) {
  kg_kernel_t *k = p->k;
  int64_t wait_ms = p->remote ? GREETING_MS : 0; /* at a new door nobody is expected yet */
  if (!p->remote &&
      !(p->remote = kg_remote_open(k, &(kg_remote_spec_t){.name = p->spec.name, .listen = p->spec.remote}, err)))
    return -1;
  if (kg_remote_greet(p->remote, wait_ms, err) < 0) return -1;
  *src = (kg_source_t){.desc = kg_remote_descriptor(p->remote), .remote = p->remote};
  p->remote = NULL;
  return 0;
}

static bool is_there(kg_pending_t *p) {
  kg_error_t err = {0};
  kg_source_t src;
  bool bound = p->remote != NULL;
  pthread_join(p->thread, NULL);
  p->waits = false;
  if (greet(p, &src, &err) == 0 && kg_load_source(p->k, &p->spec, &src, &err) == 0) {
    kg_logf(p->k, KG_LOG_INFO, p->spec.name, "its host has come to %s: it runs", p->spec.remote);
    return true;
  }
  if (p->remote && !bound && err.code == KG_EDEADLINE) { /* now there is a door */
    wait_on(p);
    return false;
  }
  kg_remote_free(p->remote);
  p->remote = NULL;
  if (strcmp(err.text, p->why.text) != 0)
    kg_logf(p->k, KG_LOG_WARN, p->spec.name, "%s: it is tried again and again", err.text);
  pthread_mutex_lock(&p->k->list); /* it is shown to those who ask for the list */
  p->why = err;
  pthread_mutex_unlock(&p->k->list);
  p->pause_ms = p->pause_ms * 2 < KG_LONGEST_PAUSE_MS ? p->pause_ms * 2 : KG_LONGEST_PAUSE_MS;
  wait_on(p);
  return false;
}

void kg_pending_look(kg_kernel_t *k) {
  for (kg_pending_t *p = k->pending, *next; p; p = next) {
    next = p->next;
    if (!atomic_load(&p->come) || !is_there(p)) continue;
    unlink_pending(k, p);
    free_pending(p);
  }
}

void kg_pending_pack(kg_pack_t *p, const kg_pending_t *list, int64_t now_us) {
  for (; list; list = list->next) {
    kg_pack_map(p);
    kg_pack_kv_str(p, "name", list->spec.name);
    kg_pack_kv_str(p, "plugin", "");
    kg_pack_kv_str(p, "role", "");
    kg_pack_kv_str(p, "version", "");
    kg_pack_kv_str(p, "lane", list->spec.lane);
    kg_pack_kv_str(p, "state", "awaited");
    kg_pack_kv_str(p, "file", list->spec.remote);
    kg_pack_kv_int(p, "uptime_ms", (now_us - list->since_us) / 1000);
    kg_pack_kv_str(p, "why", list->why.text);
    kg_pack_end(p);
  }
}
