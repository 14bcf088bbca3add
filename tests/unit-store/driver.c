#include "driver.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

typedef struct node {
  struct node *next;
  kg_msg_t *m;
} node_t;

struct stream {
  driver_t *d;
  node_t *first, **end;
  uint64_t call;
};

typedef struct job {
  struct job *next;
  void (*run)(driver_t *d, struct job *j);
  const char *service, *topic;
  kg_doc_t *args, *doc;
  kg_msg_t *answer;
  stream_t *stream;
  uint32_t credit;
  bool manual, done;
  int *left;
} job_t;

struct driver {
  kg_kernel_t *k;
  kg_ctx_t *ctx;
  int fd;
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  job_t *jobs, **jobs_end;
};

static driver_t *creating; /* create() of the test's plugin has no other way to learn of its driver */

static void on_jobs(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)events, (void)arg;
  driver_t *d = self;
  uint64_t n;
  if (read(fd, &n, sizeof n) < 0) return;
  pthread_mutex_lock(&d->mutex);
  job_t *j = d->jobs;
  d->jobs = NULL;
  d->jobs_end = &d->jobs;
  pthread_mutex_unlock(&d->mutex);
  while (j) {
    job_t *next = j->next;
    j->run(d, j);
    j = next;
  }
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  *self = creating;
  creating->ctx = ctx;
  return kg_fd_watch(ctx, creating->fd, EPOLLIN, on_jobs, NULL, err);
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
}

static const kg_handler_t handlers[] = {{0}};
static const char *const services[] = {"driver", NULL};
static const kg_plugin_t plugin = {.magic = KG_PLUGIN_MAGIC,
                                   .abi = KG_PLUGIN_ABI,
                                   .size = sizeof(kg_plugin_t),
                                   .name = "driver",
                                   .role = "test",
                                   .version = "1",
                                   .summary = "Sends what a test wants.",
                                   .services = services,
                                   .handlers = handlers,
                                   .create = create,
                                   .start = start,
                                   .destroy = destroy};

driver_t *driver_new(const char *data_dir, const char *run_dir) {
  driver_t *d = calloc(1, sizeof *d);
  kg_error_t err = {0};
  kg_kernel_options_t o = {.data_dir = data_dir, .run_dir = run_dir, .plugin_path = PLUGINS, .log_level = KG_LOG_WARN};
  d->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  d->jobs_end = &d->jobs;
  pthread_mutex_init(&d->mutex, NULL);
  pthread_cond_init(&d->cond, NULL);
  d->k = kg_kernel_new(&o, &err);
  cr_assert(d->k, "%s", err.text);
  creating = d;
  kg_plugin_spec_t spec = {.name = "driver", .lane = "main", .descriptor = &plugin};
  cr_assert(kg_kernel_load(d->k, &spec, &err) == 0, "%s", err.text);
  return d;
}

static kg_doc_t *parse(const char *json) {
  if (!json) return NULL;
  kg_error_t err = {0};
  kg_doc_t *doc = kube_json_parse(json, strlen(json), NULL, NULL, &err);
  cr_assert(doc, "%s: %s", json, err.text);
  return doc;
}

void driver_load(driver_t *d, const char *name, const char *file, const char *config) {
  kg_error_t err = {0};
  kg_doc_t *doc = parse(config);
  kg_plugin_spec_t spec = {.name = name, .file = file, .lane = "main", .config = doc};
  cr_assert(kg_kernel_load(d->k, &spec, &err) == 0, "%s: %s", file, err.text);
  kg_doc_unref(doc);
}

kg_kernel_t *driver_kernel(driver_t *d) {
  return d->k;
}

void driver_free(driver_t *d) {
  kg_kernel_free(d->k);
  close(d->fd);
  free(d);
}

static void post(driver_t *d, job_t *j) {
  uint64_t one = 1;
  pthread_mutex_lock(&d->mutex);
  *d->jobs_end = j;
  d->jobs_end = &j->next;
  pthread_mutex_unlock(&d->mutex);
  cr_assert(write(d->fd, &one, sizeof one) == sizeof one);
}

static bool wait_until(driver_t *d, bool (*ready)(void *arg), void *arg, int ms) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += (ms % 1000) * 1000000L;
  if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
  int rc = 0;
  while (!ready(arg) && rc == 0) rc = pthread_cond_timedwait(&d->cond, &d->mutex, &until);
  return ready(arg);
}

static void on_answer(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx;
  driver_t *d = self;
  job_t *j = arg;
  pthread_mutex_lock(&d->mutex);
  j->answer = kg_msg_ref(m);
  j->done = true;
  if (j->left) --*j->left;
  pthread_cond_broadcast(&d->cond);
  pthread_mutex_unlock(&d->mutex);
}

static void send_job(driver_t *d, job_t *j) {
  kg_request_t r = {.service = j->service,
                    .topic = j->topic,
                    .args = j->args,
                    .docs = &j->doc,
                    .ndocs = j->doc ? 1 : 0,
                    .timeout_ms = 40000,
                    .fn = on_answer,
                    .arg = j};
  kg_send(d->ctx, &r);
}

static bool job_done(void *arg) {
  return ((job_t *)arg)->done;
}

kg_msg_t *driver_call(driver_t *d, const char *service, const char *topic, const char *args, const char *doc) {
  job_t j = {.run = send_job, .service = service, .topic = topic, .args = parse(args), .doc = parse(doc)};
  post(d, &j);
  pthread_mutex_lock(&d->mutex);
  bool ok = wait_until(d, job_done, &j, 15000);
  pthread_mutex_unlock(&d->mutex);
  cr_assert(ok, "%s was not answered", topic);
  kg_doc_unref(j.args);
  kg_doc_unref(j.doc);
  return j.answer;
}

static bool none_left(void *arg) {
  return *(int *)arg == 0;
}

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

int driver_burst(driver_t *d, const char *service, const char *topic, int n, driver_fill_fn fn, void *arg,
                 int64_t *took_us) {
  job_t *jobs = calloc((size_t)n, sizeof *jobs);
  int left = n, good = 0;
  for (int i = 0; i < n; i++) {
    char *args = NULL, *doc = NULL;
    fn(i, &args, &doc, arg);
    jobs[i] = (job_t){
        .run = send_job, .service = service, .topic = topic, .args = parse(args), .doc = parse(doc), .left = &left};
    free(args);
    free(doc);
  }
  int64_t start_us = now_us();
  for (int i = 0; i < n; i++) post(d, &jobs[i]);
  pthread_mutex_lock(&d->mutex);
  bool ok = wait_until(d, none_left, &left, 60000);
  pthread_mutex_unlock(&d->mutex);
  if (took_us) *took_us = now_us() - start_us;
  cr_assert(ok, "%d of %d requests were not answered", left, n);
  for (int i = 0; i < n; i++) {
    good += kg_msg_type(jobs[i].answer) == KG_MSG_REPLY;
    kg_msg_unref(jobs[i].answer);
    kg_doc_unref(jobs[i].args);
    kg_doc_unref(jobs[i].doc);
  }
  free(jobs);
  return good;
}

/* --- streams -------------------------------------------------------------------------------------------------------
 */

static void on_stream_item(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx;
  driver_t *d = self;
  stream_t *s = arg;
  node_t *n = calloc(1, sizeof *n);
  n->m = kg_msg_ref(m);
  pthread_mutex_lock(&d->mutex);
  *s->end = n;
  s->end = &n->next;
  pthread_cond_broadcast(&d->cond);
  pthread_mutex_unlock(&d->mutex);
}

static void finish_job(driver_t *d, job_t *j) {
  pthread_mutex_lock(&d->mutex);
  j->done = true;
  pthread_cond_broadcast(&d->cond);
  pthread_mutex_unlock(&d->mutex);
}

static void open_job(driver_t *d, job_t *j) {
  kg_request_t r = {.service = j->service,
                    .topic = j->topic,
                    .args = j->args,
                    .stream = true,
                    .credit = j->credit,
                    .manual_credit = j->manual,
                    .timeout_ms = -1,
                    .fn = on_stream_item,
                    .arg = j->stream};
  j->stream->call = kg_send(d->ctx, &r);
  finish_job(d, j);
}

static void credit_job(driver_t *d, job_t *j) {
  kg_credit(d->ctx, j->stream->call, j->credit);
  finish_job(d, j);
}

static void close_job(driver_t *d, job_t *j) {
  kg_cancel(d->ctx, j->stream->call);
  finish_job(d, j);
}

static void do_job(driver_t *d, job_t *j) {
  post(d, j);
  pthread_mutex_lock(&d->mutex);
  bool ok = wait_until(d, job_done, j, 15000);
  pthread_mutex_unlock(&d->mutex);
  cr_assert(ok, "the lane does not run");
  kg_doc_unref(j->args);
}

stream_t *driver_stream(driver_t *d, const char *service, const char *topic, const char *args, uint32_t credit,
                        bool manual) {
  stream_t *s = calloc(1, sizeof *s);
  s->d = d;
  s->end = &s->first;
  job_t j = {.run = open_job,
             .service = service,
             .topic = topic,
             .args = parse(args),
             .stream = s,
             .credit = credit,
             .manual = manual};
  do_job(d, &j);
  return s;
}

static bool has_item(void *arg) {
  return ((stream_t *)arg)->first != NULL;
}

kg_msg_t *stream_next(stream_t *s, int timeout_ms) {
  kg_msg_t *m = NULL;
  pthread_mutex_lock(&s->d->mutex);
  if (wait_until(s->d, has_item, s, timeout_ms)) {
    node_t *n = s->first;
    s->first = n->next;
    if (!s->first) s->end = &s->first;
    m = n->m;
    free(n);
  }
  pthread_mutex_unlock(&s->d->mutex);
  return m;
}

void stream_credit(stream_t *s, uint32_t n) {
  job_t j = {.run = credit_job, .stream = s, .credit = n};
  do_job(s->d, &j);
}

void stream_close(stream_t *s) {
  job_t j = {.run = close_job, .stream = s};
  do_job(s->d, &j);
  for (kg_msg_t *m; (m = stream_next(s, 0));) kg_msg_unref(m);
  free(s);
}

int64_t reply_int(const kg_msg_t *m, const char *key) {
  return kg_view_int(kg_view_get(kg_msg_args(m), key), -1);
}

char *doc_json(const kg_msg_t *m, size_t i) {
  return kg_view_to_json(kg_view_of(kg_msg_doc(m, i)));
}
