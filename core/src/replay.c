/* A recording replayed into a plugin: the comparison of a shadow, fed from a file instead of a live plugin. */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "make.h"
#include "recording.h"
#include "remote_internal.h"
#include "shade.h"

#define AT_ONCE 256   /* requests that may be open while the recording is replayed as fast as possible */
#define STALL_MS 1000 /* without any word of the plugin, then it goes on all the same */
#define POLL_MS 1

typedef struct line {
  int64_t time_us;
  uint32_t number;
  bool got, sent;
  kg_msg_t *m; /* NULL: it was given already */
} line_t;

typedef struct replay {
  const kg_replay_spec_t *spec;
  const char *name;
  line_t *lines;
  size_t count, room, next;
  kg_shadow_t *shadow;
  int64_t began_us, word_us;
  uint64_t heard;
  bool complete, failed, strange;
  sem_t done;
  /* who is in the recording */
  char *names[32], *topics[256], *receivers[256]; /* receivers[i]: whose copy of events topics[i] counts */
  uint64_t requests[32];
  size_t nnames, ntopics;
} replay_t;

/* --- whose messages ----------------------------------------------------------------------------------------------- */

static int count_receiver(void *arg, const kg_recorded_t *r) {
  replay_t *p = arg;
  size_t i = 0;
  if (kg_msg_type(r->m) != KG_MSG_REQUEST || strncmp(kg_msg_topic(r->m), "plugin.", 7) == 0) return 0;
  while (i < p->nnames && strcmp(p->names[i], r->to) != 0) i++;
  if (i == 32) return 0;
  if (i == p->nnames && (p->names[i] = strdup(r->to)) != NULL) p->nnames++;
  p->requests[i]++;
  return 0;
}

static int choose(replay_t *p, kg_error_t *err) {
  char list[400] = "";
  size_t n = 0;
  for (size_t i = 0; i < p->nnames; i++) {
    if (p->spec->name && strcmp(p->spec->name, p->names[i]) == 0) p->name = p->names[i];
    if (n < sizeof list) n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", p->names[i]);
  }
  if (!p->spec->name && p->nnames == 1) p->name = p->names[0];
  if (p->name) return 0;
  if (!p->nnames) return kg_error_set(err, KG_EINVAL, "there is no request in the recording");
  if (p->spec->name)
    return kg_error_set(err, KG_ENOTFOUND, "the recording has no request to %s, but to %s", p->spec->name, list);
  return kg_error_set(err, KG_EINVAL, "the recording has requests to %s: say whose are to be replayed", list);
}

/* An event that several instances got was sent once. */
static bool is_a_copy(replay_t *p, const kg_recorded_t *r) {
  size_t i = 0;
  if (kg_msg_type(r->m) != KG_MSG_EVENT) return false;
  while (i < p->ntopics && strcmp(p->topics[i], kg_msg_topic(r->m)) != 0) i++;
  if (i < p->ntopics) return strcmp(p->receivers[i], r->to) != 0;
  if (i == 256) return false;
  p->topics[i] = strdup(kg_msg_topic(r->m));
  p->receivers[i] = strdup(r->to);
  if (p->topics[i] && p->receivers[i]) p->ntopics++;
  return false;
}

static int collect(void *arg, const kg_recorded_t *r) {
  replay_t *p = arg;
  line_t line = {.time_us = r->time_us, .number = (uint32_t)p->count, .got = strcmp(r->to, p->name) == 0};
  line.sent = strcmp(kg_msg_source(r->m), p->name) == 0 && !is_a_copy(p, r);
  if (kg_msg_type(r->m) != KG_MSG_EVENT && kg_msg_id(r->m) < KG_FIRST_REQUEST_ID) return p->strange = true;
  if ((!line.got && !line.sent) || strncmp(kg_msg_topic(r->m), "plugin.", 7) == 0) return 0;
  if (p->count == p->room) {
    size_t room = p->room ? p->room * 2 : 1024;
    line_t *more = realloc(p->lines, room * sizeof *more);
    if (!more) return p->failed = true;
    p->lines = more;
    p->room = room;
  }
  line.m = kg_msg_ref(r->m);
  p->lines[p->count++] = line;
  return 0;
}

static int by_time(const void *a, const void *b) {
  const line_t *x = a, *y = b;
  if (x->time_us != y->time_us) return x->time_us < y->time_us ? -1 : 1;
  return x->number < y->number ? -1 : 1;
}

static int read_all(replay_t *p, kg_error_t *err) {
  const kg_replay_spec_t *s = p->spec;
  if (kg_recording_read(s->data, s->size, count_receiver, p, NULL, err) < 0 || choose(p, err) < 0) return -1;
  if (kg_recording_read(s->data, s->size, collect, p, NULL, err) < 0) return -1;
  if (p->strange) return kg_error_set(err, KG_EINVAL, "a request in it has an id that no kernel gives (rule 14)");
  if (p->failed) return kg_error_set(err, KG_EFULL, "out of memory");
  qsort(p->lines, p->count, sizeof *p->lines, by_time); /* lanes tell the recorder in any order */
  return 0;
}

/* --- feeding ------------------------------------------------------------------------------------------------------ */

static void feed(replay_t *p, line_t *line) {
  if (!line->m) return;
  if (line->sent) kg_shadow_sent(p->shadow, line->m, line->time_us);
  if (line->m->deadline_ms) line->m->deadline_ms += kg_clock_us() / 1000; /* nobody else holds it yet */
  if (line->got) kg_shadow_got(p->shadow, line->m, line->time_us);
  kg_msg_unref(line->m);
  line->m = NULL;
}

/* What the recorded one asked of others is known at once: the plugin may ask earlier. Streams only up to the first
 * work, so that it does not begin in the future. */
static void feed_early(replay_t *p) {
  bool working = false;
  kg_table_t streams = {0};
  for (size_t i = 0; i < p->count; i++) {
    const kg_msg_t *m = p->lines[i].m;
    kg_msg_type_t type = kg_msg_type(m);
    bool asks = p->lines[i].sent && type == KG_MSG_REQUEST;
    bool hears = p->lines[i].got && !kg_from_requester(m) && type != KG_MSG_EVENT && type != KG_MSG_REQUEST;
    working |= p->lines[i].got && !hears;
    if (asks && kg_msg_stream(m)) kg_table_put(&streams, kg_msg_id(m), p);
    bool stream = kg_table_get(&streams, kg_msg_id(m)) != NULL;
    if ((asks || hears) && !(stream && working) && !(p->lines[i].got && p->lines[i].sent)) feed(p, &p->lines[i]);
  }
  kg_table_free(&streams);
}

static bool may_go_on(replay_t *p) {
  double speed = p->spec->speed;
  int64_t now = kg_clock_us();
  if (kg_shadow_heard(p->shadow) != p->heard) {
    p->heard = kg_shadow_heard(p->shadow);
    p->word_us = now;
  }
  if (p->next == p->count) return false;
  int64_t since = p->lines[p->next].time_us - p->lines[0].time_us;
  if (speed > 0) return (double)(now - p->began_us) * speed >= (double)since;
  return kg_shadow_open(p->shadow) < AT_ONCE || now - p->word_us > STALL_MS * 1000;
}

/* All was fed: the last answers, or nobody says anything any more. */
static bool settled(replay_t *p) {
  if (!p->complete) {
    p->complete = true;
    p->word_us = kg_clock_us();
    kg_shadow_complete(p->shadow);
  }
  int64_t quiet_us = kg_clock_us() - p->word_us;
  return quiet_us > (kg_shadow_open(p->shadow) ? STALL_MS * 1000 : 100000);
}

static void go_on(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  replay_t *p = arg;
  if (!p->began_us) p->began_us = p->word_us = kg_clock_us();
  for (int left = AT_ONCE; left > 0 && may_go_on(p); left--) feed(p, &p->lines[p->next++]);
  if (kg_shade_is_dead(ctx->shade) || (p->next == p->count && settled(p)) || !kg_timer(ctx, POLL_MS, 0, go_on, p))
    sem_post(&p->done);
}

static void begin(kg_lane_t *lane, kg_ctx_t *ctx, kg_job_t *job) {
  (void)lane;
  if (!kg_timer(ctx, 0, 0, go_on, job->arg)) job->rc = kg_error_set(&job->err, KG_EFULL, "out of memory");
}

/* --- the kernel for it ------------------------------------------------------------------------------------------- */

static kg_doc_t *run(replay_t *p, kg_kernel_t *k, kg_ctx_t *ctx, kg_error_t *err) {
  kg_job_t *job = kg_job_new(k);
  if (!job) return NULL;
  job->arg = p;
  job = kg_run_job(ctx, begin, job, k->step_timeout_ms, "replay to", err);
  int rc = job ? job->rc : -1;
  if (job && rc < 0 && err) *err = job->err;
  kg_job_unref(job);
  if (rc < 0) return NULL;
  while (sem_wait(&p->done) < 0 && errno == EINTR) {
  }
  return kg_shade_report(ctx, err);
}

static kg_doc_t *with_kernel(replay_t *p, kg_kernel_t *k, kg_error_t *err) {
  const kg_replay_spec_t *o = p->spec;
  kg_shadow_spec_t spec = {.ignore = o->ignore, .by = o->by, .isolated = true};
  kg_shade_t *s = kg_shade_new(p->name, true, k->run_dir, &spec, err);
  if (!s) return NULL;
  p->shadow = kg_shade_comparison(s);
  feed_early(p);
  kg_ctx_t *ctx = kg_shade_start(k, p->name, o->file, NULL, o->config, s, err);
  if (!ctx) return NULL;
  if (kg_shade_activate(ctx, err) == 0 && kg_enlist(k, ctx) == 0) return run(p, k, ctx, err);
  kg_take_down(ctx, "the replay did not start", NULL);
  return NULL;
}

static void free_all(replay_t *p) {
  for (size_t i = 0; i < p->count; i++) kg_msg_unref(p->lines[i].m);
  for (size_t i = 0; i < p->nnames; i++) free(p->names[i]);
  for (size_t i = 0; i < p->ntopics; i++) free(p->topics[i]), free(p->receivers[i]);
  free(p->lines);
  sem_destroy(&p->done);
  free(p);
}

kg_doc_t *kg_replay(const kg_replay_spec_t *spec, kg_error_t *err) {
  replay_t *p = calloc(1, sizeof *p);
  kg_doc_t *report = NULL;
  if (!p) return NULL;
  p->spec = spec;
  sem_init(&p->done, 0, 0);
  if (read_all(p, err) == 0) {
    kg_kernel_t *k =
        kg_kernel_new(&(kg_kernel_options_t){.log_level = KG_LOG_WARN, .trial_command = spec->trial_command}, err);
    if (k) {
      pthread_mutex_lock(&k->manage);
      report = with_kernel(p, k, err);
      pthread_mutex_unlock(&k->manage);
      kg_kernel_free(k);
    }
  }
  free_all(p);
  return report;
}
