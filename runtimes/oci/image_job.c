/* Long work on images: a thread each, which tells the lane through an eventfd. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "image_store.h"

static void wake(const images_t *im) {
  uint64_t one = 1;
  while (write(im->events, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void job_say(job_t *j, const char *fmt, ...) {
  char line[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(line, sizeof line, fmt, args);
  va_end(args);
  pthread_mutex_lock(&j->lock);
  kube_buf_fmt(&j->progress, "%s\n", line);
  pthread_mutex_unlock(&j->lock);
  wake(j->im);
}

/* --- layers are made by one job at a time: fifty pods of one image pull it once ------------------------------------
 */

struct claim {
  claim_t *next;
  char hex[HEX + 1];
};

static claim_t **find_claim(images_t *im, const char *hex) {
  claim_t **at = &im->claims;
  while (*at && strcmp((*at)->hex, hex)) at = &(*at)->next;
  return at;
}

/* Woken by each end of a claim, and now and then to see whether the store closes. */
static void wait_for_claims(images_t *im) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec++;
  pthread_cond_timedwait(&im->claims_end, &im->claims_lock, &until);
}

bool layer_claim(job_t *j, const char *hex) {
  images_t *im = j->im;
  claim_t *c = calloc(1, sizeof *c);
  if (!c) return false;
  snprintf(c->hex, sizeof c->hex, "%s", hex);
  pthread_mutex_lock(&im->claims_lock);
  while (*find_claim(im, hex) && !atomic_load(&j->stop)) wait_for_claims(im);
  bool mine = !*find_claim(im, hex);
  if (mine) {
    c->next = im->claims;
    im->claims = c;
  }
  pthread_mutex_unlock(&im->claims_lock);
  if (!mine) free(c);
  return mine;
}

void layer_release(job_t *j, const char *hex) {
  images_t *im = j->im;
  pthread_mutex_lock(&im->claims_lock);
  claim_t **at = find_claim(im, hex), *c = *at;
  *at = c->next;
  free(c);
  pthread_cond_broadcast(&im->claims_end);
  pthread_mutex_unlock(&im->claims_lock);
}

int job_add(job_t *j, stored_t *image) {
  made_t **end = &j->made, *m = calloc(1, sizeof *m);
  if (!m) {
    stored_free(image);
    return -1;
  }
  m->image = image;
  while (*end) end = &(*end)->next; /* in the order of the archive */
  *end = m;
  return 0;
}

/* Who adds images shares the lock until the lane has written its records; who sweeps has it alone. */
static int lock_store(job_t *j) {
  char path[IMAGE_PATH];
  snprintf(path, sizeof path, "%s/lock", j->im->dir);
  j->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (j->lock_fd < 0) return kg_error_set(&j->err, KG_EINTERNAL, "%s cannot be opened: %s", path, strerror(errno));
  int how = j->work == sweep_store ? LOCK_EX | LOCK_NB : LOCK_SH;
  while (flock(j->lock_fd, how) < 0) {
    if (errno == EINTR) continue;
    return errno == EWOULDBLOCK ? 1 : kg_error_set(&j->err, KG_EINTERNAL, "%s: %s", path, strerror(errno));
  }
  return 0;
}

static void *run(void *arg) {
  job_t *j = arg;
  int locked = lock_store(j);
  j->result = locked < 0 ? -1 : locked > 0 ? 0 : j->work(j, &j->err); /* > 0: others sweep when they are done */
  atomic_store(&j->done, true);
  wake(j->im);
  return NULL;
}

static void job_free(job_t *j) {
  while (j->made) {
    made_t *m = j->made;
    j->made = m->next;
    stored_free(m->image);
    free(m);
  }
  kube_buf_free(&j->progress);
  pthread_mutex_destroy(&j->lock);
  kg_msg_unref(j->request);
  if (j->lock_fd >= 0) close(j->lock_fd);
  kg_doc_unref(j->auth);
  free(j->path);
  free(j->name);
  free(j);
}

/* --- what the lane makes of it ----------------------------------------------------------------------------------- */

static void show_progress(job_t *j) {
  pthread_mutex_lock(&j->lock);
  kube_buf_t text = j->progress;
  j->progress = (kube_buf_t){0};
  pthread_mutex_unlock(&j->lock);
  if (text.n && j->cli && j->request) cli_out(j->im, j->request, "err", text.p, text.n);
  kube_buf_free(&text);
}

static void answer_failure(job_t *j) {
  if (!j->cli) return kg_fail(j->im->ctx, j->request, j->err.code, "%s", j->err.text);
  char text[600];
  int n = snprintf(text, sizeof text, "kogge: %s\n", j->err.text);
  cli_out(j->im, j->request, "err", text, (size_t)n);
  cli_exit(j->im, j->request, 1);
}

static void answer_success(job_t *j) {
  kg_pack_t p = kg_pack();
  kube_buf_t text = {0};
  kg_pack_map(&p);
  kg_pack_key(&p, "images");
  kg_pack_array(&p);
  for (made_t *m = j->made; m; m = m->next) {
    stored_t *s = m->image;
    kg_pack_str(&p, s->nnames ? s->names[0] : s->id);
    kube_buf_fmt(&text, "%s\n", s->nnames ? s->names[0] : s->id);
  }
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  if (j->cli) {
    if (j->json && j->work != sweep_store)
      cli_json(j->im, j->request, args);
    else
      cli_out(j->im, j->request, "out", text.p, text.n);
    cli_exit(j->im, j->request, j->code);
  } else
    kg_reply(j->im->ctx, j->request, args, NULL, 0);
  kg_doc_unref(args);
  kube_buf_free(&text);
}

static void finish(job_t *j) {
  pthread_join(j->thread, NULL);
  show_progress(j);
  for (made_t *m = j->made; m && j->result == 0; m = m->next) j->result = images_take(j->im, m->image, &j->err);
  if (j->request && j->result == 0) answer_success(j);
  if (j->request && j->result < 0) answer_failure(j);
  images_t *im = j->im;
  job_free(j);
  if (im->unneeded && !im->jobs) images_sweep(im, NULL, 0);
}

static void on_events(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)self, (void)events;
  images_t *im = arg;
  uint64_t n;
  if (read(fd, &n, sizeof n) < 0) return;
  for (job_t **at = &im->jobs; *at;) {
    job_t *j = *at;
    if (!atomic_load(&j->done)) {
      show_progress(j);
      at = &j->next;
      continue;
    }
    *at = j->next;
    finish(j); /* may begin another: the list is looked at anew */
    at = &im->jobs;
  }
}

static job_t *job_new(images_t *im, const kg_msg_t *request, bool cli, int (*work)(job_t *j, kg_error_t *err)) {
  job_t *j = calloc(1, sizeof *j);
  if (!j) return NULL;
  *j = (job_t){.im = im, .work = work, .cli = cli, .lock_fd = -1};
  if (request) {
    kg_view_t auth = kg_view_get(kg_msg_args(request), "auth");
    j->auth = kg_view_there(auth) ? kg_doc_copy(auth.p, kg_view_span(auth)) : NULL;
    j->request = kg_msg_ref(request);
    j->json = cli && cli_wants_json(request);
  }
  pthread_mutex_init(&j->lock, NULL);
  return j;
}

/* Signals are the kernel's business, not this thread's. */
static int start_thread(job_t *j) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int why = pthread_create(&j->thread, NULL, run, j);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return why ? kg_error_set(&j->err, KG_EINTERNAL, "a thread cannot be started: %s", strerror(why)) : 0;
}

static void job_begin(job_t *j) {
  images_t *im = j->im;
  if (start_thread(j) < 0) {
    if (j->request) answer_failure(j);
    return job_free(j);
  }
  j->next = im->jobs;
  im->jobs = j;
}

void job_start(images_t *im, const kg_msg_t *request, bool cli, int (*work)(job_t *j, kg_error_t *err), kg_str_t path,
               kg_str_t name) {
  job_t *j = job_new(im, request, cli, work);
  if (!j) return kg_fail(im->ctx, request, KG_EINTERNAL, "out of memory");
  j->path = kg_str_dup(path);
  j->name = kg_str_dup(name);
  job_begin(j);
}

void images_sweep(images_t *im, const kg_msg_t *request, int code) {
  bool cli = request && !strcmp(kg_msg_topic(request), "cli.run");
  job_t *j = job_new(im, request, cli, sweep_store);
  im->unneeded = im->jobs != NULL; /* work under way keeps the lock: once more after it */
  if (!j) return request ? kg_fail(im->ctx, request, KG_EINTERNAL, "out of memory") : (void)0;
  j->code = code;
  job_begin(j);
}

int jobs_open(images_t *im, kg_error_t *err) {
  pthread_mutex_init(&im->claims_lock, NULL);
  pthread_cond_init(&im->claims_end, NULL);
  im->events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (im->events < 0) return kg_error_set(err, KG_EINTERNAL, "eventfd: %s", strerror(errno));
  return kg_fd_watch(im->ctx, im->events, EPOLLIN, on_events, im, err);
}

void images_stop(images_t *im) {
  for (job_t *j = im->jobs; j; j = j->next) atomic_store(&j->stop, true);
}

bool images_busy(const images_t *im) {
  return im->jobs;
}

void jobs_end(images_t *im) {
  images_stop(im);
  while (im->jobs) {
    job_t *j = im->jobs;
    im->jobs = j->next;
    pthread_join(j->thread, NULL);
    job_free(j);
  }
  if (im->events >= 0) {
    kg_fd_forget(im->ctx, im->events);
    close(im->events);
  }
}
