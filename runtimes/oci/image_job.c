/* Long work on images: a thread each, which tells the lane through an eventfd. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
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

static void *run(void *arg) {
  job_t *j = arg;
  j->result = j->work(j, &j->err);
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
  if (j->request) kg_msg_unref(j->request);
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
  if (text.n && j->cli) cli_out(j->im, j->request, "err", text.p, text.n);
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
    cli_out(j->im, j->request, "out", text.p, text.n);
    cli_exit(j->im, j->request, 0);
  } else
    kg_reply(j->im->ctx, j->request, args, NULL, 0);
  kg_doc_unref(args);
  kube_buf_free(&text);
}

static void finish(job_t *j) {
  pthread_join(j->thread, NULL);
  show_progress(j);
  for (made_t *m = j->made; m && j->result == 0; m = m->next) j->result = images_take(j->im, m->image, &j->err);
  if (j->result == 0)
    answer_success(j);
  else
    answer_failure(j);
  job_free(j);
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
    finish(j);
  }
}

void job_start(images_t *im, const kg_msg_t *request, bool cli, int (*work)(job_t *j, kg_error_t *err), kg_str_t path,
               kg_str_t name) {
  job_t *j = calloc(1, sizeof *j);
  if (!j) return kg_fail(im->ctx, request, KG_EINTERNAL, "out of memory");
  j->im = im;
  j->work = work;
  j->cli = cli;
  j->path = kg_str_dup(path);
  j->name = kg_str_dup(name);
  kg_view_t auth = kg_view_get(kg_msg_args(request), "auth");
  j->auth = kg_view_there(auth) ? kg_doc_copy(auth.p, kg_view_span(auth)) : NULL;
  j->request = kg_msg_ref(request);
  pthread_mutex_init(&j->lock, NULL);
  int why = pthread_create(&j->thread, NULL, run, j);
  if (why) {
    kg_error_set(&j->err, KG_EINTERNAL, "a thread cannot be started: %s", strerror(why));
    answer_failure(j);
    return job_free(j);
  }
  j->next = im->jobs;
  im->jobs = j;
}

int jobs_open(images_t *im, kg_error_t *err) {
  im->events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (im->events < 0) return kg_error_set(err, KG_EINTERNAL, "eventfd: %s", strerror(errno));
  return kg_fd_watch(im->ctx, im->events, EPOLLIN, on_events, im, err);
}

void jobs_end(images_t *im) {
  for (job_t *j = im->jobs; j; j = j->next) atomic_store(&j->stop, true);
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
