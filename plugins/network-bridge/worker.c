/* One thread that takes jobs in order; what is done comes back over an eventfd. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "network.h"

struct worker {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  job_t *waiting, **waiting_end, *finished, **finished_end;
  netlink_t *host;
  int host_ns, done_fd;
  size_t given; /* lane thread's own count */
  bool quit;
};

job_t *job_new(job_kind_t kind, const kg_msg_t *request, void (*done)(network_t *n, job_t *j)) {
  job_t *j = calloc(1, sizeof *j);
  if (!j) return NULL;
  j->kind = kind;
  j->request = request ? kg_msg_ref(request) : NULL;
  j->done = done;
  return j;
}

void job_free(job_t *j) {
  kg_msg_unref(j->request);
  free(j->id);
  free(j->netns);
  free(j->rules);
  free(j->udp.all);
  free(j->links);
  free(j);
}

static job_t *next_job(worker_t *w) {
  pthread_mutex_lock(&w->mutex);
  while (!w->waiting && !w->quit) pthread_cond_wait(&w->cond, &w->mutex);
  job_t *j = w->quit ? NULL : w->waiting;
  if (j && !(w->waiting = j->next)) w->waiting_end = &w->waiting;
  pthread_mutex_unlock(&w->mutex);
  return j;
}

static void finish(worker_t *w, job_t *j) {
  uint64_t one = 1;
  pthread_mutex_lock(&w->mutex);
  j->next = NULL;
  *w->finished_end = j;
  w->finished_end = &j->next;
  pthread_mutex_unlock(&w->mutex);
  while (write(w->done_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

static void *run(void *arg) {
  worker_t *w = arg;
  bool able = true;
  for (job_t *j; (j = next_job(w));) {
    if (able)
      able = work(j, w->host, w->host_ns);
    else
      kg_error_set(&j->err, KG_EINTERNAL, "the worker is lost in a pod's namespace: reload the plugin");
    finish(w, j);
  }
  return NULL;
}

static job_t *take_finished(worker_t *w) {
  pthread_mutex_lock(&w->mutex);
  job_t *j = w->finished;
  w->finished = NULL;
  w->finished_end = &w->finished;
  pthread_mutex_unlock(&w->mutex);
  return j;
}

static void on_done(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)events;
  network_t *n = self;
  worker_t *w = arg;
  uint64_t count;
  if (read(fd, &count, sizeof count) < 0) return;
  for (job_t *j = take_finished(w), *next; j; j = next) {
    next = j->next;
    w->given--;
    if (j->warning[0]) kg_log(ctx, KG_LOG_WARN, "%s", j->warning);
    j->done(n, j);
    job_free(j);
  }
  if (n->draining && !w->given) {
    n->draining = false;
    kg_drained(ctx);
  }
}

static int start_thread(worker_t *w, kg_error_t *err) {
  sigset_t all, before;
  sigfillset(&all); /* signals are the main thread's */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int code = pthread_create(&w->thread, NULL, run, w);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return code ? kg_error_set(err, KG_EINTERNAL, "the worker thread could not be started: %s", strerror(code)) : 0;
}

static void worker_free(worker_t *w) {
  netlink_close(w->host);
  if (w->host_ns >= 0) close(w->host_ns);
  if (w->done_fd >= 0) close(w->done_fd);
  pthread_mutex_destroy(&w->mutex);
  pthread_cond_destroy(&w->cond);
  free(w);
}

int worker_start(network_t *n, worker_t **out, kg_error_t *err) {
  worker_t *w = calloc(1, sizeof *w);
  if (!w) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  pthread_mutex_init(&w->mutex, NULL);
  pthread_cond_init(&w->cond, NULL);
  w->waiting_end = &w->waiting;
  w->finished_end = &w->finished;
  w->host_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  w->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  w->host = netlink_open(err);
  if (w->host_ns < 0 || w->done_fd < 0) kg_error_set(err, KG_EINTERNAL, "no descriptors: %s", strerror(errno));
  if (w->host && w->host_ns >= 0 && w->done_fd >= 0 && start_thread(w, err) == 0) {
    if (kg_fd_watch(n->ctx, w->done_fd, EPOLLIN, on_done, w, err) == 0) {
      *out = w;
      return 0;
    }
    worker_stop(n, w);
    return -1;
  }
  worker_free(w);
  return -1;
}

static void free_all(job_t *j) {
  for (job_t *next; j; j = next) {
    next = j->next;
    job_free(j);
  }
}

void worker_stop(network_t *n, worker_t *w) {
  if (!w) return;
  pthread_mutex_lock(&w->mutex);
  w->quit = true;
  pthread_cond_signal(&w->cond);
  pthread_mutex_unlock(&w->mutex);
  pthread_join(w->thread, NULL);
  kg_fd_forget(n->ctx, w->done_fd);
  free_all(w->waiting);
  free_all(w->finished);
  worker_free(w);
}

void worker_give(network_t *n, worker_t *w, job_t *j) {
  (void)n;
  j->next = NULL;
  pthread_mutex_lock(&w->mutex);
  *w->waiting_end = j;
  w->waiting_end = &j->next;
  w->given++;
  pthread_cond_signal(&w->cond);
  pthread_mutex_unlock(&w->mutex);
}

size_t worker_waiting(const worker_t *w) {
  return w ? w->given : 0;
}
