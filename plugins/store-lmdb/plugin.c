/* The store role on LMDB, behind the common front. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lmdb_store.h"

static void take_done(store_front_t *f) {
  lmdb_store_t *s = f->backend;
  pthread_mutex_lock(&s->mutex);
  store_op_t *op = s->done;
  s->done = NULL;
  s->done_end = &s->done;
  pthread_mutex_unlock(&s->mutex);
  while (op) {
    store_op_t *next = op->next;
    store_done(f, op);
    op = next;
  }
}

static void on_done(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)events, (void)arg;
  uint64_t n;
  if (read(fd, &n, sizeof n) == sizeof n) take_done(self);
}

static int start_writer(store_front_t *f, kg_error_t *err) {
  lmdb_store_t *s = f->backend;
  s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (s->event_fd < 0) return kg_error_set(err, KG_EINTERNAL, "store-lmdb: eventfd: %s", strerror(errno));
  if (kg_fd_watch(f->ctx, s->event_fd, EPOLLIN, on_done, NULL, err) < 0) return -1;
  s->quit = false;
  int rc = pthread_create(&s->thread, NULL, writer_main, s);
  if (rc) return kg_error_set(err, KG_EINTERNAL, "store-lmdb: cannot start the writer: %s", strerror(rc));
  s->thread_runs = true;
  return 0;
}

static void close_event_fd(store_front_t *f) {
  lmdb_store_t *s = f->backend;
  if (s->event_fd < 0) return;
  kg_fd_forget(f->ctx, s->event_fd);
  close(s->event_fd);
  s->event_fd = -1;
}

static int start(store_front_t *f, kg_error_t *err) {
  lmdb_store_t *s = f->backend;
  int rc = env_open(s, err);
  if (rc != 0) return rc;
  if (start_writer(f, err) < 0) {
    close_event_fd(f);
    env_close(s);
    return -1;
  }
  f->rev = s->rev;
  f->compacted = s->compacted;
  return 0;
}

static void stop(store_front_t *f) {
  lmdb_store_t *s = f->backend;
  pthread_mutex_lock(&s->mutex);
  s->quit = true;
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->mutex);
  pthread_join(s->thread, NULL);
  s->thread_runs = false;
  take_done(f);
  close_event_fd(f);
  env_close(s);
}

static void submit(store_front_t *f, store_op_t *op) {
  lmdb_store_t *s = f->backend;
  pthread_mutex_lock(&s->mutex);
  bool idle = !s->todo;
  *s->todo_end = op;
  s->todo_end = &op->next;
  if (idle) pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->mutex);
}

static void destroy_store(store_front_t *f) {
  lmdb_store_t *s = f->backend;
  pthread_mutex_destroy(&s->mutex);
  pthread_cond_destroy(&s->wake);
  pthread_rwlock_destroy(&s->grow);
  free(s->dir);
  free(s);
}

static const store_backend_t backend = {.name = "lmdb",
                                        .start = start,
                                        .stop = stop,
                                        .submit = submit,
                                        .range = read_range,
                                        .history = read_history,
                                        .value = read_value,
                                        .stats = read_stats,
                                        .recent = read_recent,
                                        .destroy = destroy_store};

static void init(lmdb_store_t *s) {
  pthread_condattr_t attr;
  pthread_mutex_init(&s->mutex, NULL);
  pthread_rwlock_init(&s->grow, NULL);
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&s->wake, &attr);
  pthread_condattr_destroy(&attr);
  s->todo_end = &s->todo;
  s->done_end = &s->done;
  s->lock_fd = s->event_fd = -1;
}

/* Configuration: dir (default DATA/store), sync (default true), mapSize in MiB (address space at first; it grows),
 * shrink in MiB (a file of this size, half of it free, is made anew after a compaction; 0: never). */
static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  lmdb_store_t *s = calloc(1, sizeof *s);
  if (!s) return kg_error_set(err, KG_EINTERNAL, "store-lmdb: out of memory");
  init(s);
  kg_view_t config = kg_config(ctx);
  kg_str_t dir = kg_view_str(kg_view_get(config, "dir"));
  int rc = dir.n ? asprintf(&s->dir, KG_STR_FMT, KG_STR_ARG(dir)) : asprintf(&s->dir, "%s/store", kg_data_dir(ctx));
  s->sync = kg_view_bool(kg_view_get(config, "sync"), true);
  s->map_size = (size_t)kg_view_int(kg_view_get(config, "mapSize"), 16384) << 20;
  s->shrink_bytes = (size_t)kg_view_int(kg_view_get(config, "shrink"), 8) << 20;
  store_front_t *f = rc > 0 ? store_front_new(ctx, &backend, s) : NULL;
  *self = f;
  if (f) return 0;
  free(rc > 0 ? s->dir : NULL);
  free(s);
  return kg_error_set(err, KG_EINTERNAL, "store-lmdb: out of memory");
}

static const char *const services[] = {"store", NULL};

KG_PLUGIN(.name = "store-lmdb", .config_keys = "dir sync mapSize shrink compaction", .role = "store",
          .version = "0.1.0", .summary = "Keeps the cluster's state in an LMDB database, durable before it answers.",
          .services = services, .handlers = store_handlers, .create = create, .start = store_front_start,
          .activate = store_front_activate, .drain = store_front_drain, .accept = store_front_accept,
          .resume = store_front_resume, .stats = store_front_stats, .destroy = store_front_destroy);
